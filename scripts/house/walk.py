"""The walk through the core: which functions one frame goes through, and how often the walk comes back.

Traced with `sys.setprofile`, from the call of the core's first verb to the end of its last one:

- chunk: one in the middle of a stream, from `receive` until its DataReceived was taken with `next_event`;
- ack: one in the middle of a stream, `receive` at the sender, and `next_event` until there is none;
- hello: the first of a new link, `receive` at the listener, and `next_event` until there is none;
- relay: a chunk in the middle of a stream, from `receive` at the relay until `frames_to_send` has it in a batch.

A *call* is the call of a Python function of `streamcell.protocol`, the verbs themselves included. Not counted: what
dataclasses and enumerations generate, comprehensions, and all but the first entry into a generator.

A *return to a module that was left* is counted in two ways. By calls: a call into a module that has been called before
in this walk, while the call before it went into another module; that is what a reader sees who follows the list of
calls. By control: also whenever a function of another module returns into one that waits for it; that is how often a
reader who steps through turns back to a file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from scripts.house.cores import Net, from_core, use_checkout
from scripts.house.source import ROOT

# The frame in the middle: the first so many are let through.
BEFORE_MIDDLE = 5
COMPREHENSIONS = frozenset({"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>"})


@dataclass(frozen=True)
class Call:
    """One call: the module below `streamcell.protocol`, the function with its class, and how deep it is."""

    module: str
    function: str
    depth: int


@dataclass
class Walk:
    """The calls of one walk in their order, and the modules that had control, one after the other."""

    calls: list[Call] = field(default_factory=list)
    control: list[str] = field(default_factory=list)

    @property
    def modules(self) -> set[str]:
        return {call.module for call in self.calls}

    @property
    def returns(self) -> int:
        """How often a call went to a module that the calls had left."""
        return comings_back([call.module for call in self.calls])

    @property
    def returns_of_control(self) -> int:
        """How often a module had control again."""
        return comings_back(self.control)

    def add(self, other: Walk) -> None:
        """Go on with another walk."""
        self.calls += other.calls
        self.control += other.control


def comings_back(modules: list[str]) -> int:
    """Return how often a way comes back to a module that it has left."""
    count, seen, before = 0, set[str](), ""
    for module in modules:
        count += module in seen and module != before
        seen.add(module)
        before = module
    return count


class Tracer:
    """Notes the calls of functions that are defined below a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._modules: dict[str, str | None] = {}

    @contextmanager
    def tracing(self, walk: Walk) -> Iterator[None]:
        """Add the calls of what is done inside to a walk."""
        entered: list[tuple[FrameType, str]] = []
        known: set[FrameType] = set()

        def note(frame: FrameType, event: str, _: object) -> None:
            if event == "call" and frame not in known:
                code = frame.f_code
                module = self._module_of(code.co_filename)
                if module is not None and code.co_name not in COMPREHENSIONS:
                    walk.calls.append(Call(module, code.co_qualname, len(entered)))
                    walk.control.append(module)
                    known.add(frame)
                    entered.append((frame, module))
            elif event == "return" and entered and entered[-1][0] is frame:
                entered.pop()
                walk.control += [module for _, module in entered[-1:]]

        sys.setprofile(note)
        try:
            yield
        finally:
            sys.setprofile(None)

    def _module_of(self, filename: str) -> str | None:
        if filename not in self._modules:
            path = Path(filename)
            inside = path.is_absolute() and path.resolve().is_relative_to(self._folder)
            name = ".".join(path.resolve().relative_to(self._folder).with_suffix("").parts) if inside else None
            self._modules[filename] = name
        return self._modules[filename]


def walks(root: Path = ROOT) -> dict[str, Walk]:
    """Let one frame of each kind go through the core of a checkout.

    Raises:
        LookupError: the frame never came, or the core has no such name any more.
        RuntimeError: streamcell was imported from another checkout already.
    """
    use_checkout(root)
    tracer = Tracer(root / "streamcell" / "protocol")
    return {
        "chunk": chunk_walk(tracer),
        "ack": ack_walk(tracer),
        "hello": hello_walk(tracer),
        "relay": relay_walk(tracer),
    }


def chunk_walk(tracer: Tracer) -> Walk:
    net = pair()
    wanted = from_core("DataReceived")

    def traced(name: str, lane: int, frame: Any, walk: Walk) -> None:
        core = net.cores[name]
        with tracer.tracing(walk):
            core.receive(lane, [frame], net.now)
            event = core.next_event()
            while not isinstance(event, wanted):
                event = core.next_event()
        net.handle(name, event)

    return walk_of(net, "target", from_core("Chunk"), traced)


def ack_walk(tracer: Tracer) -> Walk:
    return walk_of(net := pair(), "origin", from_core("Ack"), until_settled(tracer, net), first=0)


def hello_walk(tracer: Tracer) -> Walk:
    net = Net()
    net.add("target")
    net.add("origin")
    walk = Walk()
    watch(net, "target", from_core("Hello"), until_settled(tracer, net), walk, first=0)
    net.connect("origin", "target")
    return found(walk)


def relay_walk(tracer: Tracer) -> Walk:
    net = Net()
    for name in ("relay", "origin", "target"):
        net.add(name)
    net.connect("origin", "relay")
    net.connect("target", "relay")
    net.open_stream("origin", "target")
    kind = from_core("Chunk")

    def traced(name: str, lane: int, frame: Any, walk: Walk) -> None:
        core = net.cores[name]
        net.settle(name)
        net.collect(name)
        # Which lane it goes on by is seen from what the relay wakes; the writer of each then asks once.
        with tracer.tracing(walk):
            core.receive(lane, [frame], net.now)
        for ready in core.take_ready_lanes():
            trial = Walk()
            with tracer.tracing(trial):
                frames = core.frames_to_send(ready, net.now)
            if any(isinstance(each, kind) for each in frames):
                walk.add(trial)

    return walk_of(net, "relay", kind, traced, begun=True)


def pair() -> Net:
    """Return a listener and a cell that is connected to it."""
    net = Net()
    net.add("target")
    net.add("origin")
    net.connect("origin", "target")
    return net


Traced = Callable[[str, int, Any, Walk], None]


def until_settled(tracer: Tracer, net: Net) -> Traced:
    """Return what gives a core a frame and takes all events."""

    def traced(name: str, lane: int, frame: Any, walk: Walk) -> None:
        core = net.cores[name]
        events = []
        with tracer.tracing(walk):
            core.receive(lane, [frame], net.now)
            while (event := core.next_event()) is not None:
                events.append(event)
        for event in events:
            net.handle(name, event)

    return traced


def walk_of(net: Net, at: str, kind: type, traced: Traced, *, first: int = BEFORE_MIDDLE, begun: bool = False) -> Walk:
    """Let a stream run from its origin to its target, and trace one frame of a kind that a cell gets."""
    walk = Walk()
    watch(net, at, kind, traced, walk, first=first)
    if not begun:
        net.open_stream("origin", "target")
    net.run()
    return found(walk)


def watch(net: Net, at: str, kind: type, traced: Traced, walk: Walk, *, first: int) -> None:
    """Have one frame of a kind traced when a cell gets it, after so many that are not."""
    left = [first]

    def deliver(name: str, lane: int, frame: Any) -> None:
        if name == at and isinstance(frame, kind) and not walk.calls:
            left[0] -= 1
            if left[0] < 0:
                traced(name, lane, frame, walk)
                return
        net.receive(name, lane, frame)

    net.deliver = deliver


def found(walk: Walk) -> Walk:
    if not walk.calls:
        raise LookupError("the frame that was to be traced never came")
    return walk


def report(root: Path = ROOT, *, steps: bool = False) -> Iterator[str]:
    """Say how long each walk is; ``steps``: and where it leads."""
    yield "the walk of a frame through the core:"
    for name, walk in walks(root).items():
        returns = f"returns to a module that was left: {walk.returns} by calls, {walk.returns_of_control} by control"
        yield f"  {name}: {len(walk.calls)} calls in {len(walk.modules)} modules, {returns}"
        if steps:
            yield from (f"    {'  ' * call.depth}{call.module}: {call.function}" for call in walk.calls)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Traces one frame of each kind through the core.")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout that is measured")
    parser.add_argument("--steps", action="store_true", help="print the functions in their order")
    arguments = parser.parse_args()
    print("\n".join(report(arguments.root.resolve(), steps=arguments.steps)))
