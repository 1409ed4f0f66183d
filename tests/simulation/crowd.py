"""A hub goes under many cells, and is there again: how long it takes until all are back, in virtual time.

The cells dial with the core's own uplinks, and the hub lets them in by the rules of the listener (``Admission``). What
is a model is the processor of the hub, which does one thing at a time, and what each thing costs it: a connection, a
call that has arrived, a Hello. Who hangs up before its turn has cost what was done for it until then.

``python -m tests.simulation.crowd [--cells 20000] [--seed 0] [--before]`` prints how it went.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import itertools
import random
from collections import deque
from collections.abc import Callable, Iterator

from streamcell.config import CellConfig
from streamcell.protocol.base.context import Context
from streamcell.protocol.base.events import LaneDropped, LaneWanted
from streamcell.protocol.links.carrier import CarrierInfo
from streamcell.protocol.links.table import LinkTable
from streamcell.transport.admission import Admission
from tests.core.by_hand import hello
from tests.core.samples import Told, checksum
from tests.simulation.agenda import Agenda

# What the hub's processor needs for a Hello, with all that follows from it. A connection, and a call that is taken in
# or sent away, cost together a quarter of that.
HELLO_S = 0.0025
_PART = 1 / 8
# How long the hub is away: a dial is refused at once.
AWAY_S = 1.0
LATENCY_S = 0.001
HUB = CarrierInfo("simulated", "hub")


@dataclasses.dataclass(slots=True, eq=False)
class Dial:
    """A dial on its way, as both ends see it. ``gone``: its cell has hung up."""

    cell: Cell
    lane_id: int
    gone: bool = False
    connected: bool = False


class Cell:
    """A cell that had a link to the hub: the core's uplink, and what the shell does for it."""

    def __init__(self, number: int, crowd: Crowd) -> None:
        chance = random.Random(number + 1_000_003 * crowd.seed)
        self._context = Context(f"cell-{number}", 1, crowd.config, checksum, chance.getrandbits)
        self._table = LinkTable(self._context, Told())
        self._crowd = crowd
        self._chance = chance
        self._dials: dict[int, Dial] = {}
        self.back_at: float | None = None
        self._table.dialler.add_uplink(crowd.agenda.now)
        [wanted] = [event for event in self._context.events if isinstance(event, LaneWanted)]
        self._context.events.clear()
        self._come_up(wanted.lane_id, 1)
        self._lane_id = wanted.lane_id

    def lose_link(self) -> None:
        """The hub is gone."""
        self._table.lane_closed(self._lane_id, "the connection broke", None, self._crowd.agenda.now)
        self._go_on()

    def on_connected(self, dial: Dial) -> None:
        """There is a connection: say Hello."""
        self._table.lane_connected(dial.lane_id, HUB, self._crowd.agenda.now)
        self._go_on()

    def on_sent_away(self, dial: Dial, retry_after_s: float) -> None:
        """The call has ended with the time at which to come again."""
        self._table.dial_deferred(dial.lane_id, retry_after_s, self._crowd.agenda.now)
        self.on_failed(dial)

    def on_failed(self, dial: Dial) -> None:
        """The dial has come to nothing."""
        if self._dials.pop(dial.lane_id, None) is not None:
            self._table.lane_closed(dial.lane_id, "no lane", None, self._crowd.agenda.now)
            self._go_on()

    def on_answered(self, dial: Dial) -> None:
        """The hub says Hello."""
        self._come_up(dial.lane_id, 2)
        self.back_at = self._crowd.agenda.now
        self._crowd.missing -= 1
        self._go_on()

    def _come_up(self, lane_id: int, hub_life: int) -> None:
        now = self._crowd.agenda.now
        lane = self._table.lanes.by_id[lane_id]
        self._table.lane_connected(lane_id, HUB, now)
        self._table.handle_hello(lane, hello("hub", incarnation=hub_life, link_id=bytes([hub_life] * 16)), now)

    def _go_on(self) -> None:
        """Do what the core wants, and see to it that it is called when something is due."""
        agenda, events = self._crowd.agenda, self._context.events
        while events:
            event = events.popleft()
            if isinstance(event, LaneWanted):
                dial = self._dials[event.lane_id] = Dial(self, event.lane_id)
                agenda.add(agenda.now + LATENCY_S * self._chance.random(), functools.partial(self._crowd.arrive, dial))
                agenda.add(agenda.now + self._context.config.connect_timeout_s, functools.partial(self._tire, dial))
            elif isinstance(event, LaneDropped):
                dropped = self._dials.pop(event.lane_id, None)
                if dropped is not None:
                    self._hang_up(dropped)
                self._table.lane_closed(event.lane_id, "closed here", None, agenda.now)
        due = self._context.deadlines.next_deadline()
        if self.back_at is None and due is not None:
            agenda.add(due, self._wake)

    def _wake(self) -> None:
        due = self._context.deadlines.next_deadline()
        if self.back_at is None and due is not None and due <= self._crowd.agenda.now:
            self._context.deadlines.expire(self._crowd.agenda.now)
            self._go_on()

    def _tire(self, dial: Dial) -> None:
        """The carrier gives up a dial that was not connected in time."""
        if not dial.connected and dial.lane_id in self._dials:
            self._hang_up(dial)
            self.on_failed(dial)

    def _hang_up(self, dial: Dial) -> None:
        dial.gone = True
        self._crowd.hear_of_end(dial)


@dataclasses.dataclass(slots=True)
class Task:
    """Something that the hub's processor does."""

    cost_s: float
    action: Callable[[], None]
    by_threads: bool = False


class Crowd:
    """The cells, and the hub, which has one processor for all that it does.

    :param hello_s: what a Hello costs the hub.
    :param admits: whether the hub has rules for whom it works on.
    :param eager: it takes in all calls that have arrived before it answers anybody; else one for each answer.
    :ivar missing: how many are not back yet.
    :ivar wasted_s: processor time for what was not answered.
    """

    def __init__(
        self,
        cells: int,
        seed: int,
        config: CellConfig,
        *,
        hello_s: float = HELLO_S,
        admits: bool = True,
        eager: bool = False,
    ) -> None:
        self.seed = seed
        self.config = config
        self.agenda = Agenda()
        self.missing = cells
        self.busy_s = self.wasted_s = 0.0
        self.sent_away = 0
        self._admission: Admission[Dial] | None = Admission() if admits else None
        self._eager = eager
        self._hello_s, self._part_s = hello_s, hello_s * _PART
        self._chance = random.Random(seed)
        # What is to be done: connections by gRPC's threads; calls and Hellos by the loop, in turns. Threads and loop
        # get the same time of the processor while both have something to do.
        self._connections: deque[Dial] = deque()
        self._calls: deque[Dial] = deque()
        self._hellos: deque[Dial] = deque()
        self._turns = itertools.cycle((self._take_call, self._answer))
        self._ahead_s = 0.0
        self._works = False
        self._up_at = self.agenda.now + AWAY_S
        self.cells = [Cell(number, self) for number in range(cells)]

    def run(self, most_s: float) -> float:
        """Take the hub away from all cells; return how long after its start all were back, or ``most_s``."""
        for cell in self.cells:
            cell.lose_link()
        for _ in range(round(most_s + AWAY_S)):
            self.agenda.run_until(self.agenda.now + 1.0, lambda: not self.missing)
            if not self.missing:
                return max(cell.back_at or 0.0 for cell in self.cells) - self._up_at
        return most_s

    def arrive(self, dial: Dial) -> None:
        """A cell dials."""
        if self.agenda.now < self._up_at:
            dial.cell.on_failed(dial)
        else:
            self._connections.append(dial)
            self._work()

    def hear_of_end(self, dial: Dial) -> None:
        """A dialler has hung up."""
        if self._admission is not None:
            following = self._admission.on_end(dial, self.agenda.now)
            if following is not None:
                self._hellos.append(following)

    def _work(self) -> None:
        """Do the next thing, if nothing is being done."""
        if self._works:
            return
        threads_first = self._ahead_s <= 0.0
        task = (self._connect() if threads_first else None) or self._loop() or self._connect()
        if task is None:
            return
        self._works = True
        self.busy_s += task.cost_s
        self.agenda.add(self.agenda.now + task.cost_s, functools.partial(self._rest, task))

    def _loop(self) -> Task | None:
        turns = (self._take_call, self._answer) if self._eager else itertools.islice(self._turns, 2)
        return next((task for turn in turns if (task := turn()) is not None), None)

    def _rest(self, task: Task) -> None:
        self._works = False
        both = bool(self._connections) and bool(self._calls or self._hellos)
        self._ahead_s = self._ahead_s + (task.cost_s if task.by_threads else -task.cost_s) if both else 0.0
        task.action()
        self._work()

    def _connect(self) -> Task | None:
        if not self._connections:
            return None
        dial = self._connections.popleft()
        return Task(self._part_s, functools.partial(self._on_connection, dial), by_threads=True)

    def _on_connection(self, dial: Dial) -> None:
        if dial.gone:
            self.wasted_s += self._part_s
            return
        dial.connected = True
        dial.cell.on_connected(dial)
        self._calls.append(dial)

    def _take_call(self) -> Task | None:
        while self._calls:
            dial = self._calls.popleft()
            if not dial.gone:
                return Task(self._part_s, functools.partial(self._on_call, dial))
        return None

    def _on_call(self, dial: Dial) -> None:
        if self._admission is None:
            self._hellos.append(dial)
            return
        now = self.agenda.now
        retry_after_s = self._admission.refuse("", now, self._chance.random())
        if retry_after_s is not None:
            self.sent_away += 1
            self.wasted_s += 2 * self._part_s
            dial.cell.on_sent_away(dial, retry_after_s)
        elif not dial.gone:
            mute = self._admission.on_arrival(dial, "", now)
            assert mute is None
            # Its Hello is here already.
            if self._admission.on_hello(dial):
                self._hellos.append(dial)

    def _answer(self) -> Task | None:
        while self._hellos:
            dial = self._hellos.popleft()
            # Without rules nobody looks whether the dialler is there still.
            if not dial.gone or self._admission is None:
                return Task(self._hello_s, functools.partial(self._on_hello, dial))
        return None

    def _on_hello(self, dial: Dial) -> None:
        if dial.gone:
            self.wasted_s += self._hello_s
        else:
            dial.cell.on_answered(dial)
        self.hear_of_end(dial)


# What cells did before: one limit from the dial to the Hello, and back-offs as short as ever.
BEFORE = CellConfig(connect_timeout_s=3.0, hello_timeout_s=3.0)
NOW = CellConfig()


def lines(crowd: Crowd, took_s: float) -> Iterator[str]:
    """Say how it went."""
    cells = len(crowd.cells)
    least_s = cells * HELLO_S
    times = sorted(cell.back_at for cell in crowd.cells if cell.back_at is not None)
    yield f"{cells} cells, {len(times)} back after {took_s:.1f} s; their Hellos alone cost {least_s:.1f} s"
    yield f"the hub worked {crowd.busy_s:.1f} s, {crowd.wasted_s:.1f} s in vain; sent away: {crowd.sent_away}"


def main() -> None:
    """Run one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--before", action="store_true", help="one limit for a dial, and no rules at the hub")
    parser.add_argument("--one-limit", action="store_true", help="one limit for a dial")
    parser.add_argument("--no-rules", action="store_true", help="no rules at the hub")
    parser.add_argument("--eager", action="store_true", help="the hub takes in all calls before it answers anybody")
    given = parser.parse_args()
    config = BEFORE if given.before or given.one_limit else NOW
    crowd = Crowd(given.cells, given.seed, config, admits=not (given.before or given.no_rules), eager=given.eager)
    took_s = crowd.run(4 * given.cells * HELLO_S)
    for line in lines(crowd, took_s):
        print(line)  # noqa: T201


if __name__ == "__main__":
    main()
