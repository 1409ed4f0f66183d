"""One attack: what a liar can see and do, for how long, and what comes of it at the hub and at the innocents."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Self

from streamcell.v1 import cell_pb2
from tests.adversity.hostile.attacks import NOTHING, REFUSED, Attack
from tests.adversity.hostile.hub import HUB, Hub
from tests.adversity.hostile.innocents import ALICE, BOB, GENTLE_S, Innocents
from tests.adversity.hostile.liar import CutOff, Liar
from tests.adversity.hostile.parent import LyingParent
from tests.kit.payloads import GIB, MIB
from tests.kit.timing import scaled
from tests.kit.waiting import let_time_pass

# How often hub and innocents are looked at.
_LOOK_EVERY_S = 0.1
# How long the innocents may need for what they do meanwhile in less than a second. Only a test that fails comes near.
PATIENCE_S = scaled(30.0)
# After it was cut off a liar comes again.
_AGAIN_S = 0.05
# A hub that is larger than that has been shown to be, and the machine is needed for other things.
_TOO_LARGE_BYTES = GIB
_numbers = itertools.count(1)
# Until a hub has all that it keeps for innocents.
_WARM_ROUNDS = 30
# Of streams at the hub after an attack: more than the innocents have, and fewer than would be felt.
_LEFT_BEHIND = 20


@dataclasses.dataclass
class Sample:
    """What a process has cost at most since it was first looked at."""

    first: int
    most: int


class Scene:
    """What an attack gets: who is there, and whether it goes on.

    Args:
        hub: is attacked.
        innocents: send over it.
        parent: of the hub, if it is the liar.
        rounds: of each transfer of the innocents, for which the attack goes on.
        least_s: how long it goes on at least.
        patience_s: how long the innocents may take for their rounds, and the hub to tell the liar.
        ways: in which the liar may be told. It goes on until it was, where it sees that by itself.
    """

    def __init__(
        self,
        hub: Hub,
        innocents: Innocents,
        parent: LyingParent | None,
        *,
        rounds: int,
        least_s: float,
        patience_s: float,
        ways: tuple[str, ...] = (NOTHING,),
    ) -> None:
        self.hub = hub
        #: Of the liar: a new one each time, so that it has nothing of those before.
        self.name = f"liar-{next(_numbers)}"
        self._patience_s = patience_s
        self._ways = ways
        self.url, self.relay_url = hub.url, hub.relay_url
        #: What anybody may know.
        self.public = innocents.look()
        #: Ways in which the liar was told, each with a sentence if there was one.
        self.told: dict[str, str] = {}
        #: What an attack itself has found.
        self.wrong: list[str] = []
        self._innocents = innocents
        self._liars: list[Liar] = []
        self._began = time.monotonic()
        self._least_s = least_s
        self._goals = {name: done + rounds for name, done in self.public["done"].items()}
        self._next_look = 0.0
        self._is_over = False
        self.stands_still = False
        self._parent = parent

    @property
    def parent(self) -> LyingParent:
        """The parent of the hub, where that is the liar."""
        if self._parent is None:
            raise AssertionError("the hub has no parent in this attack")
        return self._parent

    def goes_on(self) -> bool:
        """Return whether the attack is to go on: until the innocents have done their rounds, or stand still."""
        now = time.monotonic()
        if self._is_over or now < self._next_look:
            return not self._is_over
        self.public = self._innocents.look()
        self._next_look = time.monotonic() + _LOOK_EVERY_S
        if now - self._began < self._least_s:
            return True
        if self.hub.resident_bytes() > _TOO_LARGE_BYTES:
            self._is_over = True
            return False
        is_done = all(self.public["done"][name] >= goal for name, goal in self._goals.items())
        is_late = now - self._began > self._patience_s
        self.stands_still = is_late and not is_done
        self._is_over = is_late or (is_done and self._is_told())
        return not self._is_over

    def _is_told(self) -> bool:
        if NOTHING in self._ways or REFUSED in self._ways:
            return True
        told = {way for liar in self._liars for way in tuple(liar.told)} | set(self.told)
        return any(each.startswith(way) for way in self._ways for each in told)

    def liar(self, url: str = "", fqcn: str = "", **more: Any) -> Liar:
        """Return a peer that has dialled the hub, or another cell."""
        liar = Liar(url or self.url, fqcn or self.name, **more)
        self._liars.append(liar)
        return liar

    def leave(self, liar: Liar) -> None:
        """Have a liar go, and keep what it was told."""
        liar.close()
        self._liars.remove(liar)
        self.told = {**liar.told, **self.told}
        if liar.status.partition(":")[0] not in {"OK", "CANCELLED"}:
            self.told.setdefault("call ends", liar.status)

    def repeat(self, act: Callable[[Liar], None], pause_s: float = 0.0, url: str = "", **more: Any) -> None:
        """Have a liar do something again and again, and come again each time that it is cut off."""
        while self.goes_on():
            liar = self.liar(url, **more)
            with contextlib.suppress(CutOff):
                while self.goes_on():
                    act(liar)
                    if pause_s:
                        let_time_pass(pause_s)
            self.leave(liar)
            let_time_pass(_AGAIN_S)

    def flood(self, make: Callable[[Liar], bytes], **more: Any) -> None:
        """Send one batch as often as it is taken."""
        made: dict[Liar, bytes] = {}

        def act(liar: Liar) -> None:
            if liar not in made:
                made.clear()
                made[liar] = make(liar)
            liar.say_bytes(made[liar])

        self.repeat(act, **more)

    def wait(self) -> None:
        """Only stay until it is over."""
        while self.goes_on():
            let_time_pass(_LOOK_EVERY_S)

    def victims(self) -> Iterator[cell_pb2.StreamRef]:
        """Yield the names of streams of the innocents that are open now."""
        for origin, target, number, attempt in self.public["streams"]:
            yield self.stream_of(origin, target, number, attempt)

    def stream_of(self, origin: str, target: str, number: int, attempt: int = 1) -> cell_pb2.StreamRef:
        """Return the name of a stream of an innocent."""
        return cell_pb2.StreamRef(
            origin=origin,
            origin_incarnation=self.public["incarnations"][origin],
            target=target,
            stream_id=number,
            attempt=attempt,
        )

    def expect_printable(self) -> None:
        """Look at the log of the hub: it must not have what a terminal obeys."""
        self.wrong += [f"the log has {line!a}" for line in self.hub.errors.all if not line.isprintable()]

    def incarnation_of(self, name: str) -> int:
        """Return the incarnation of an innocent, or of the hub."""
        return int(self.hub.look()["incarnation"] if name == HUB else self.public["incarnations"][name])

    def end(self) -> None:
        """Have all liars go."""
        for liar in tuple(self._liars):
            self.leave(liar)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of an attack. Sizes in bytes, times in seconds.

    Attributes:
        elapsed_s: how long it went on.
        done: transfers of the innocents meanwhile, by name.
        failed: what went wrong with them.
        stood_still: whether they did not come on.
        told: how the liar was told, with a sentence.
        refused: frames that the hub and the relay counted as refused.
        names_lost: innocents that had no way to them, or another one, in the end.
        before, most, after: the memory of the hub.
        hub_s: of the processor, for the hub.
        liar_s: of the processor, for this process.
    """

    elapsed_s: float
    done: dict[str, int]
    failed: list[str]
    stood_still: bool
    told: dict[str, str]
    refused: int
    names_lost: list[str]
    before: int
    most: int
    after: int
    hub_s: float
    liar_s: float

    @property
    def grown_mib(self) -> float:
        """By how much the hub has grown at most."""
        return (self.most - self.before) / MIB

    @property
    def left_mib(self) -> float:
        """By how much it is larger than before, 5 s after the end."""
        return (self.after - self.before) / MIB

    def is_told(self, ways: tuple[str, ...]) -> bool:
        """Return whether the liar was told in one of these ways."""
        return any(way == NOTHING or any(each.startswith(way) for each in self.told) for way in ways)


class Stage:
    """A hub and an innocent pair, for one attack after the other. A context manager."""

    def __init__(self, pause_s: float = GENTLE_S, parent: LyingParent | None = None) -> None:
        self._parent = parent
        with contextlib.ExitStack() as stack:
            self.hub = stack.enter_context(Hub(parent.url if parent else ""))
            self.innocents = stack.enter_context(Innocents(self.hub.url, pause_s))
            self._warm_up()
            self._processes = stack.pop_all()
        #: Whether all attacks on it have come to their ends, and did no harm.
        self.is_well = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """End both processes."""
        self._processes.close()

    def play(
        self, attack: Attack, *, rounds: int, least_s: float, settle_s: float = 0.0, patience_s: float = PATIENCE_S
    ) -> Outcome:
        """Do an attack beside the innocents, and then see that all are as well as before.

        Args:
            attack: is done.
            rounds: of each transfer of the innocents, during the attack and after it.
            least_s: how long it goes on at least.
            settle_s: how long the hub gets to give its memory back.
            patience_s: how long the innocents may take for their rounds.
        """
        hub, innocents = self.hub, self.innocents
        self.is_well = False
        before = hub.look()
        innocents.ask("go")
        scene = Scene(
            hub, innocents, self._parent, rounds=rounds, least_s=least_s, patience_s=patience_s, ways=attack.told
        )
        began, done, hub_s, liar_s = time.monotonic(), scene.public["done"], hub.processor_s(), time.process_time()
        with sampling(hub) as memory:
            attack.run(scene)
            elapsed_s = time.monotonic() - began
            hub_s, liar_s = hub.processor_s() - hub_s, time.process_time() - liar_s
            done = {name: count - done[name] for name, count in scene.public["done"].items()}
            scene.end()
        if not scene.stands_still:
            afterwards = Scene(hub, innocents, self._parent, rounds=rounds, least_s=0.0, patience_s=patience_s)
            afterwards.wait()
            scene.stands_still = afterwards.stands_still
        end = innocents.look()
        if not scene.stands_still:
            try:
                end = innocents.ask("rest", patience_s)
            except queue.Empty:
                scene.stands_still = True
        let_time_pass(settle_s)
        after = hub.look()
        told = dict(scene.told)
        if after["refused"] > before["refused"]:
            told[REFUSED] = next((line for line in hub.errors.all if "WARNING" in line and "refused" in line), "")
        outcome = Outcome(
            elapsed_s=elapsed_s,
            done=done,
            failed=[*scene.wrong, *end["failed"], *after["wrong"]],
            stood_still=scene.stands_still,
            told=told,
            refused=after["refused"] - before["refused"],
            names_lost=self._names_lost(end, after),
            before=memory.first,
            most=memory.most,
            after=hub.resident_bytes(),
            hub_s=hub_s,
            liar_s=liar_s,
        )
        # Streams of a liar that has gone last until they have been idle for long, and have threads as long as that: of
        # many liars, one after the other, they have all.
        is_free = after["receives"] < _LEFT_BEHIND
        self.is_well = is_free and not (outcome.failed or outcome.stood_still or outcome.names_lost)
        return outcome

    def _warm_up(self) -> None:
        """Send as the innocents will, so that what grows later grows for another reason."""
        self.innocents.ask("warm up")
        self.innocents.ask("go")
        Scene(self.hub, self.innocents, None, rounds=_WARM_ROUNDS, least_s=0.0, patience_s=PATIENCE_S).wait()
        self.innocents.ask("rest")

    def _names_lost(self, innocents: dict[str, Any], hub: dict[str, Any]) -> list[str]:
        return [
            f"{name}: {hub['routes'].get(name)}"
            for name in (ALICE, BOB)
            if hub["routes"].get(name, [0])[0] != innocents["incarnations"][name]
        ]


@contextlib.contextmanager
def sampling(hub: Hub) -> Iterator[Sample]:
    """Look at the memory of a hub all the time."""
    first = hub.resident_bytes()
    sample = Sample(first, first)
    end = threading.Event()

    def look() -> None:
        while not end.wait(0.02):
            sample.most = max(sample.most, hub.resident_bytes())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield sample
    finally:
        end.set()
        thread.join()


@contextlib.contextmanager
def stage_for(attack: Attack, pause_s: float = GENTLE_S) -> Iterator[Stage]:
    """Make a stage of its own for an attack."""
    with contextlib.ExitStack() as stack:
        parent = stack.enter_context(LyingParent()) if attack.from_parent else None
        yield stack.enter_context(Stage(pause_s, parent))


class Stages:
    """Keeps a stage from one attack to the next, for as long as nothing went wrong on it. A context manager."""

    def __init__(self) -> None:
        self._kept: Stage | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._kept is not None:
            self._kept.end()

    @contextlib.contextmanager
    def one_for(self, attack: Attack) -> Iterator[Stage]:
        """Give a stage on which nothing has gone wrong."""
        if attack.from_parent:
            with stage_for(attack) as stage:
                yield stage
            return
        stage, self._kept = self._kept or Stage(), None
        try:
            yield stage
        finally:
            if stage.is_well:
                self._kept = stage
            else:
                stage.end()
