"""Cores that are joined in one thread and in virtual time: what `walk` lets frames go through.

All that the instruments need to know of the core is here: the names of its verbs, frames and events. A name is looked
up in whatever module of `streamcell.protocol` defines it, so that code of before and after a move is driven alike.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import random
import sys
import zlib
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHUNK = 64 * 1024
STREAM_CHUNKS = 40

# One end of a lane.
End = tuple[str, int]


def use_checkout(root: Path) -> None:
    """Import streamcell from a checkout, whichever the installed one is.

    Raises:
        RuntimeError: it was imported from somewhere else already.
    """
    sys.path.insert(0, str(root))
    try:
        package = importlib.import_module("streamcell")
    finally:
        sys.path.remove(str(root))
    here = Path(str(package.__file__)).resolve()
    if not here.is_relative_to(root.resolve()):
        raise RuntimeError(f"streamcell was imported from {here} already: measure {root} in a process of its own")


def from_core(name: str) -> Any:
    """Return a class of the core by its name."""
    package = importlib.import_module("streamcell.protocol")
    for found in pkgutil.walk_packages(package.__path__, "streamcell.protocol."):
        module = importlib.import_module(found.name)
        thing = vars(module).get(name)
        if getattr(thing, "__module__", None) == found.name:
            return thing
    raise LookupError(
        f"no module of streamcell.protocol defines {name}: its name in scripts/house/cores.py is outdated"
    )


def _carrier(address: str) -> tuple[Any, ...]:
    """Return what a core is told of what carries a lane: one value, or, in older checkouts, address and identity."""
    try:
        return (from_core("CarrierInfo")("none", address),)
    except LookupError:
        return address, ""


class Net:
    """Cores by name, and the frames that are on their way between them, each delivered by itself.

    `deliver` may be replaced: it is called with the core, its lane and the frame.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.cores: dict[str, Any] = {}
        self.deliver: Callable[[str, int, Any], None] = self.receive
        self.chunks_wanted = STREAM_CHUNKS
        self._taken: Counter[Any] = Counter()
        self._other_end: dict[End, End] = {}
        self._on_the_way: deque[tuple[End, Any]] = deque()
        self._dials: dict[tuple[str, int], str] = {}
        self._handlers = {
            from_core("LaneWanted"): self._dial,
            from_core("SourceWanted"): self._supply,
            from_core("StreamOpened"): self._accept,
            from_core("DataReceived"): self._consume,
        }

    def add(self, name: str) -> Any:
        """Make a core."""
        config = importlib.import_module("streamcell.config").CellConfig()
        self.cores[name] = from_core("CellCore")(
            fqcn=name,
            incarnation=len(self.cores) + 1,
            config=config,
            checksum=zlib.crc32,
            random_bits=random.Random(len(self.cores)).getrandbits,
        )
        return self.cores[name]

    def connect(self, child: str, parent: str) -> None:
        """Let one cell dial another."""
        self._dials[child, self.cores[child].add_uplink(self.now)] = parent
        self.run()

    def open_stream(self, origin: str, target: str) -> int:
        """Begin a stream of a known size, of which the source has everything at once."""
        kind = from_core("StreamKind").STREAM
        what: dict[str, Any] = {"kind": kind, "size": self.chunks_wanted * CHUNK, "idle_timeout_s": 300.0}
        make = from_core("SendSpec")
        # Before there were descriptions, a spec had all of it.
        if "description" in inspect.signature(make).parameters:
            what = {"description": from_core("StreamDescription")(**what)}
        spec = make(target=target, channel="channel", topic="topic", unreachable_timeout_s=120.0, **what)
        stream_id: int = self.cores[origin].open_stream(spec, self.now)
        return stream_id

    def run(self) -> None:
        """Let everything happen that can happen without time going on."""
        while self.turn():
            pass

    def turn(self) -> bool:
        """Let every cell speak, then deliver what is on its way. Returns whether anything was."""
        for name in list(self.cores):
            self.settle(name)
            self.collect(name)
        busy = bool(self._on_the_way)
        while self._on_the_way:
            (name, lane), frame = self._on_the_way.popleft()
            self.deliver(name, lane, frame)
            self.settle(name)
        return busy

    def receive(self, name: str, lane: int, frame: Any) -> None:
        """Give a core a frame."""
        self.cores[name].receive(lane, [frame], self.now)

    def settle(self, name: str) -> None:
        """Do what the events of a core ask for, until there are none."""
        while (event := self.cores[name].next_event()) is not None:
            self.handle(name, event)

    def handle(self, name: str, event: Any) -> None:
        """Do what an event asks for."""
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(name, event)

    def collect(self, name: str) -> None:
        """Put what a core has to send on its way."""
        core = self.cores[name]
        for lane in core.take_ready_lanes():
            while frames := core.frames_to_send(lane, self.now):
                self._on_the_way.extend((self._other_end[name, lane], frame) for frame in frames)

    def lanes(self, name: str, other: str) -> list[int]:
        """Return the lanes that lead from one core to another."""
        return [lane for (here, lane), there in self._other_end.items() if (here, there[0]) == (name, other)]

    def _dial(self, name: str, event: Any) -> None:
        listener = self._dials[name, event.uplink]
        lane = self.cores[listener].lane_accepted(*_carrier(f"from-{name}"), self.now)
        here, there = (name, event.lane_id), (listener, lane)
        self._other_end[here], self._other_end[there] = there, here
        self.cores[name].lane_connected(event.lane_id, *_carrier(f"to-{listener}"), self.now)

    def _supply(self, name: str, event: Any) -> None:
        core = self.cores[name]
        for _ in range(min(self.chunks_wanted, event.size_bytes // CHUNK)):
            self.chunks_wanted -= 1
            core.supply(event.stream_id, [bytes(CHUNK)], self.now)
        if self.chunks_wanted == 0:
            core.end_source(event.stream_id, "", self.now)

    def _accept(self, name: str, event: Any) -> None:
        self.cores[name].accept(event.key, assemble=False, reserve=True, now=self.now)
        self.cores[name].callback_started(event.key, self.now)

    def _consume(self, name: str, event: Any) -> None:
        self._taken[event.key] += len(event.payload)
        self.cores[name].consume(event.key, self._taken[event.key], self.now)
