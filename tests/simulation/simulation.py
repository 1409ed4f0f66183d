"""One history: a network of cells in virtual time. Everything breaks for a while, then it heals, then all must be well.

A history follows from its seed and its options alone. While the storm lasts nothing wrong may be seen (safety); after
it everything must come to its end (liveness); then the cells must work as on their first day, and be silent after it.
"""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from streamcell.config import CellConfig
from streamcell.errors import CellError, ErrorCode
from streamcell.limits import INITIAL_CREDIT_BYTES, KIB
from streamcell.protocol.frames import StreamKind
from streamcell.protocol.sender import SendSpec
from tests.simulation.agenda import Agenda
from tests.simulation.checks import Checks, demand
from tests.simulation.faults import MOMENTS, Faults, Trap
from tests.simulation.history import History
from tests.simulation.host import Host, digest_of
from tests.simulation.network import Break, Network
from tests.simulation.transfers import Reading, Source, Transfer

STEPS = 60
# Whom each cell dials: its parent, then its peers.
TOPOLOGIES: dict[str, dict[str, list[str]]] = {
    "pair": {"hub": [], "leaf": ["hub"]},
    "star": {"hub": [], "leaf-a": ["hub"], "leaf-b": ["hub"]},
    "chain": {"top": [], "middle": ["top"], "bottom": ["middle"]},
    "short cut": {"hub-a": [], "hub-b": ["hub-a"], "leaf": ["hub-a", "hub-b"]},
}
SIZES = (0, 1, 1000, 40 * KIB, 100 * KIB, 300 * KIB, 700 * KIB)
# Between two things that are done to the network: from amid a transfer to after every timer of a link.
PAUSES_S = (0.0005, 0.002, 0.01, 0.04, 0.1, 0.3, 1.0, 3.5, 9.0)
# Longer than a history in virtual time, so that no timeout is an excuse; and short enough that it often is one.
PATIENT_S = 2000.0
HASTY_S = 8.0
# A request whose target or reply is gone ends by its time.
REQUEST_S = 400.0
# What healing may take: dialling with back-off, suspects, a link that is down, and requests that nobody will answer.
HEAL_S = 500.0
# What fresh transfers may take on a network that is well.
WORK_S = 60.0
# What a link may say in silence: heartbeats, and bulk lanes that end.
SILENCE_S = 60.0
FRAMES_IN_SILENCE = 60
_DATA = random.Random(0).randbytes(2_000_000)
_TAIL_LINES = 60


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """What a history is made of, beside its seed. ``restarts``: cells are also killed and started anew."""

    steps: int = STEPS
    restarts: bool = True
    topology: str = ""


@dataclasses.dataclass(slots=True)
class Outcome:
    """What there is to say of a history that ended well. Counts can be added up."""

    histories: int = 1
    frames: int = 0
    virtual_s: float = 0.0
    transfers: Counter[str] = dataclasses.field(default_factory=Counter)
    faults: Counter[str] = dataclasses.field(default_factory=Counter)
    resumed: Counter[str] = dataclasses.field(default_factory=Counter)
    bytes_delivered: int = 0
    bytes_resent: int = 0

    def add(self, other: Outcome) -> None:
        """Add another outcome to this one."""
        self.histories += other.histories
        self.frames += other.frames
        self.virtual_s += other.virtual_s
        self.transfers += other.transfers
        self.faults += other.faults
        self.resumed += other.resumed
        self.bytes_delivered += other.bytes_delivered
        self.bytes_resent += other.bytes_resent


class Simulation(Checks):
    """One history."""

    def __init__(self, seed: int, options: Options = Options(), *, trace: bool = False) -> None:
        super().__init__()
        self.seed = seed
        self.options = options
        self.random = random.Random(seed)
        self.agenda = Agenda()
        self.history = History(self.agenda, trace=trace)
        self.faults = Faults(self.random, self.transfers)
        self.network = Network(self.agenda, self.history, self.faults, self.random)
        self.config = self._draw_config()
        name = options.topology or self.random.choice(sorted(TOPOLOGIES))
        self.uplinks = TOPOLOGIES[name]
        self.pairs = list(itertools.permutations(self.uplinks, 2))
        self._restarted: Counter[str] = Counter()
        self._lives = 0
        self._begin_s = self.agenda.now
        self._storm = self._draw_storm()
        self.history.note(f"seed {seed}, {options}: {name}")

    def run(self) -> Outcome:
        """Run the whole history, and check it.

        :raises AssertionError: with the last lines of the history, if anything is wrong.
        """
        try:
            for cell in self.uplinks:
                self._begin_life(cell)
            self._rage()
            self._heal()
            self._work()
            self._be_silent()
        except Exception as error:
            past = "\n  ".join(self.history.last(_TAIL_LINES))
            raise AssertionError(
                f"{type(error).__name__}: {error}\nreproduce with: {self._command()}\nhistory:\n  {past}"
            ) from error
        return self._outcome()

    def _command(self) -> str:
        options = self.options
        words = ["scripts/simulate", f"--seed {self.seed}", f"--steps {options.steps}"]
        if not options.restarts:
            words.append("--no-restarts")
        if options.topology:
            words.append(f"--topology '{options.topology}'")
        return " ".join([*words, "--trace"])

    def _outcome(self) -> Outcome:
        transfers: Counter[str] = Counter()
        for transfer in self.transfers.values():
            outcome = transfer.outcome
            transfers[outcome.code.name if isinstance(outcome, CellError) else "done" if outcome == "" else "died"] += 1
        return Outcome(
            frames=self.network.frames,
            virtual_s=self.agenda.now - self._begin_s,
            transfers=transfers,
            faults=self.faults.injected,
            resumed=self.resumed,
            bytes_delivered=self.bytes_delivered,
            bytes_resent=self.bytes_resent,
        )

    # What there is.

    def _draw_config(self) -> CellConfig:
        choice = self.random.choice
        return CellConfig(
            chunk_bytes=choice([8, 32, 256]) * KIB,
            max_streams_per_peer=choice([2, 1000]),
            max_requests_per_peer=choice([1, 1000]),
            blob_budget_bytes=choice([200, 1000]) * KIB,
            request_budget_bytes=choice([200, 1000]) * KIB,
            receive_budget_bytes=1000 * KIB,
            max_window_bytes=512 * KIB,
            read_ahead_bytes=64 * KIB,
            bulk_lanes=choice([0, 1, 2]),
        )

    def _begin_life(self, name: str) -> None:
        self._lives += 1
        host = Host(self.agenda, self.network, self, name, self._lives << 20, self.config, list(self.uplinks[name]))
        self.network.hosts[name] = host
        host.start()

    def _host(self) -> Host:
        return self.random.choice(list(self.network.hosts.values()))

    def on_request_ended(self, transfer: Transfer) -> None:
        """See Checks."""
        super().on_request_ended(transfer)
        self.history.note(f"{transfer} ended: {transfer.request_error!r}")

    def on_settled(self, transfer: Transfer) -> None:
        """See Checks."""
        self.history.note(f"{transfer} settled: {transfer.outcome!r}")
        super().on_settled(transfer)

    # Phase 1: the storm.

    def _draw_storm(self) -> tuple[list[Callable[[], None]], list[int]]:
        """Return what may be done to the network, each with its weight. Some histories know only some of it."""
        always: list[tuple[Callable[[], None], int]] = [(self._open, 8), (self._cut, 3), (self._set_trap, 5)]
        sometimes: list[tuple[Callable[[], None], int]] = [
            (self._stall, 3),
            (self._let_go, 3),
            (self._toggle_corruption, 2),
            (self._toggle_doubles, 2),
            (self._cancel_send, 1),
            (self._cancel_receive, 1),
            (self._toggle_door, 2),
            (self._freeze, 1),
            (self._jump, 1),
        ]
        if self.options.restarts:
            sometimes += [(self._restart, 3), (self._stop, 1)]
        chosen = always + [each for each in sometimes if self.random.random() < 0.6]
        return [action for action, _ in chosen], [weight for _, weight in chosen]

    def _rage(self) -> None:
        actions, weights = self._storm
        for action in self.random.choices(actions, weights, k=self.options.steps):
            self.agenda.run_until(self.agenda.now + self.random.choice(PAUSES_S) * self.random.random())
            action()

    def _note_fault(self, kind: str, text: str) -> None:
        self.faults.injected[kind] += 1
        self.history.note(text)

    def _open(self) -> None:
        origin, target = self.random.choice(self.pairs)
        kind = self.random.choice([StreamKind.STREAM, StreamKind.STREAM, StreamKind.BLOB, StreamKind.REQUEST])
        data = self._draw_data(self.random.choice(SIZES))
        transfer = Transfer(
            self.network.hosts[origin],
            target,
            kind,
            data,
            None if self.random.random() < 0.3 else len(data),
            self._draw_source(len(data), kind),
            self._draw_reading(kind),
        )
        transfer.retry_unknown = self.random.random() < 0.1
        if kind is StreamKind.STREAM and self.random.random() < 0.4:
            self._name(transfer)
        self._excuse_plan(transfer)
        hasty = self.random.random() < 0.15
        if hasty:
            transfer.excuse(ErrorCode.TIMEOUT, ErrorCode.UNREACHABLE)
        self._send(transfer, HASTY_S if hasty else PATIENT_S)

    def _draw_data(self, size: int) -> memoryview:
        start = self.random.randrange(len(_DATA) - size)
        return memoryview(_DATA)[start : start + size]

    def _draw_source(self, size: int, kind: StreamKind) -> Source:
        if kind is not StreamKind.STREAM:
            return Source(max(1, size))
        piece = self.random.choice([300, 10 * KIB, 1000 * KIB])
        # No slower than some ten seconds for all of it.
        pause_s = self.random.choice([0.0, 0.0, 0.01, 10.0 * piece / max(size, piece) * self.random.random()])
        if size // piece > 300:
            pause_s = 0.0
        kept = self.random.random() < 0.1
        return Source(
            piece,
            0.0 if kept else pause_s,
            fails=self.random.random() < 0.05,
            seekable=kept or self.random.random() < 0.8,
            kept=kept,
        )

    def _name(self, transfer: Transfer) -> None:
        """Let a transfer be known in later lives of its origin, and show what its source is, or not."""
        transfer.name = f"name-{len(self.transfers)}"
        self._show_source(transfer, stamp=self.random.random() < 0.7, digest=self.random.random() < 0.3)

    def _show_source(self, transfer: Transfer, *, stamp: bool, digest: bool) -> None:
        found = digest_of(transfer.data)
        transfer.stamp = found.encode() if stamp else b""
        transfer.digest = found if digest else ""

    def _draw_reading(self, kind: StreamKind) -> Reading:
        if kind is not StreamKind.STREAM:
            return Reading.REFUSES if self.random.random() < 0.05 else Reading.EAGER
        return self.random.choices(list(Reading), [10, 4, 2, 1, 1])[0]

    def _excuse_plan(self, transfer: Transfer) -> None:
        """Take note of what its own plan lets a transfer fail with."""
        if self.random.random() < 0.04:
            transfer.declared = len(transfer.data) + self.random.choice([-1, 1, 100_000])
            if transfer.declared < 0:
                transfer.declared = 1
            transfer.excuse(ErrorCode.INTEGRITY)
        if transfer.source.fails:
            transfer.excuse(ErrorCode.SOURCE)
        if transfer.reading is Reading.REFUSES:
            transfer.excuse(ErrorCode.REJECTED)
        elif transfer.reading is Reading.CLOSES:
            transfer.excuse(ErrorCode.CANCELLED)
        if self._restarted[transfer.target]:
            # A lane to the life that is over may swallow what is sent after it.
            self._excuse_restart(transfer)

    def _excuse_restart(self, transfer: Transfer) -> None:
        """A stream goes on, if its source can; what is delivered whole may have been delivered."""
        transfer.disturbed = True
        if transfer.kind is not StreamKind.STREAM:
            transfer.excuse(ErrorCode.OUTCOME_UNKNOWN)
        elif not transfer.source.seekable:
            transfer.excuse(ErrorCode.RESUME)
        self._excuse_silence(transfer)

    def _excuse_silence(self, transfer: Transfer) -> None:
        """A request may wait in vain for a reply that is gone."""
        request = transfer if transfer.answers is None else transfer.answers
        if request.kind is StreamKind.REQUEST:
            request.excuse(ErrorCode.TIMEOUT, ErrorCode.UNREACHABLE)

    def _send(self, transfer: Transfer, timeout_s: float, **more: Any) -> None:
        spec = SendSpec(
            target=transfer.target,
            channel="c",
            topic="t",
            kind=transfer.kind,
            size=transfer.declared,
            idle_timeout_s=timeout_s,
            unreachable_timeout_s=timeout_s,
            retry_unknown=transfer.retry_unknown,
            resume_id=transfer.name,
            source_stamp=transfer.stamp,
            digest=transfer.digest,
            kept=transfer.source.kept,
            **more,
        )
        # Before the core may ask for anything.
        transfer.origin.send(transfer, spec, min(timeout_s, REQUEST_S), self.add)
        self.history.note(
            f"{transfer}: {len(transfer.data)} bytes, declared {transfer.declared}, {transfer.reading.value}, "
            f"{transfer.source}"
        )

    def answer(self, host: Host, request: Transfer) -> None:
        """Answer a request, from the cell that has got it."""
        data = self._draw_data(self.random.choice(SIZES[:5]))
        reply = Transfer(
            host, request.origin.name, StreamKind.REPLY, data, len(data), Source(max(1, len(data))), Reading.EAGER
        )
        # Whoever gives up the request has no use for the reply, nor has a life that did not ask.
        reply.excuse(ErrorCode.CANCELLED)
        reply.excuses |= request.excuses
        reply.answers = request
        reply.retry_unknown = True
        if self._restarted[reply.target]:
            self._excuse_restart(reply)
        key = request.key
        self._send(reply, PATIENT_S, reply_to=key.stream_id, reply_to_incarnation=key.origin_incarnation)

    def _cut(self) -> None:
        ends = self.network.ends()
        if ends:
            end, how = self.random.choice(ends), self.random.choice(list(Break))
            self._note_fault("lane cut", f"cut {end}: {how.value}")
            self.network.break_lane(end, how)

    def _set_trap(self) -> None:
        moment = self.random.choice(sorted(MOMENTS))
        trap = Trap(
            moment, self.random.choice([0, 0, 0, 1, 5]), self.random.choice(list(Break)), self.random.random() < 0.4
        )
        self.faults.traps.append(trap)
        self.history.note(f"set {trap}")

    def _stall(self) -> None:
        ends = self.network.ends()
        if ends:
            end = self.random.choice(ends)
            self._note_fault("lane stalled", f"nothing arrives at {end}")
            end.stalled = True

    def _let_go(self) -> None:
        for end in self.network.ends():
            if end.stalled:
                end.stalled = False
                self.network.pump(end)

    def _toggle_corruption(self) -> None:
        self.faults.corrupts = 0.0 if self.faults.corrupts else self.random.choice([0.02, 0.3])

    def _toggle_doubles(self) -> None:
        self.faults.doubles = 0.0 if self.faults.doubles else self.random.choice([0.05, 0.3])

    def _toggle_door(self) -> None:
        if self.faults.closed_doors:
            self.faults.closed_doors.clear()
        else:
            name = self._host().name
            self._note_fault("door closed", f"{name} cannot be dialled")
            self.faults.closed_doors.append(name)

    def _running(self) -> list[Transfer]:
        return [
            transfer
            for transfer in self.transfers.values()
            if transfer.origin.alive and (transfer.outcome is None or transfer.kind is StreamKind.REQUEST)
        ]

    def _cancel_send(self) -> None:
        running = self._running()
        if running:
            transfer = self.random.choice(running)
            self._note_fault("cancelled by the origin", f"cancel {transfer} at its origin")
            transfer.excuse(ErrorCode.CANCELLED)
            self._excuse_silence(transfer)
            transfer.origin.cancel_send(transfer)

    def _cancel_receive(self) -> None:
        transfer = self.random.choice(self._running() or [None])
        if transfer is None:
            return
        host = self.network.hosts[transfer.target]
        if transfer.key in host.receipts:
            self._note_fault("cancelled by the target", f"cancel {transfer} at its target")
            transfer.excuse(ErrorCode.CANCELLED)
            host.cancel_receive(transfer.key)

    def _freeze(self) -> None:
        host, seconds = self._host(), self.random.choice([0.2, 4.0, 20.0])
        self._note_fault("process frozen", f"{host.name} stands still for {seconds} s")
        host.frozen_until = self.agenda.now + seconds

    def _jump(self) -> None:
        host, seconds = self._host(), self.random.choice([0.3, 7.0, 40.0])
        self._note_fault("clock jumped", f"the clock of {host.name} jumps by {seconds} s")
        host.jump(seconds)

    def _restart(self) -> None:
        """Kill a cell, preferably an end of a stream that is half way."""
        begun = [
            transfer
            for transfer in self._running()
            if transfer.kind is StreamKind.STREAM and any(each.consumed > 0 for each in self.receipts[transfer.key])
        ]
        if begun and self.random.random() < 0.7:
            transfer = self.random.choice(begun)
            host = self.network.hosts[self.random.choice([transfer.target, transfer.target, transfer.origin.name])]
        else:
            host = self._host()
        self._end_life(host, "killed", self.random.choice(list(Break)))

    def _stop(self) -> None:
        host = self._host()
        for transfer in self.transfers.values():
            if host.name in (transfer.target, transfer.origin.name):
                transfer.excuse(ErrorCode.STOPPING)
                self._excuse_silence(transfer)
        host.core.stop(host.now)
        host.settle()
        self._end_life(host, "stopped", Break.DELIVERED)

    def _end_life(self, host: Host, how: str, lanes: Break) -> None:
        """End a life, and begin the next one, which knows nothing of it."""
        self._note_fault(f"cell {how}", f"{host.name} is {how} and starts again; lanes: {lanes.value}")
        self._restarted[host.name] += 1
        host.alive = False
        for transfer in self.transfers.values():
            if host.name in (transfer.target, transfer.origin.name):
                self._excuse_restart(transfer)
        for end in list(host.ends.values()):
            if end.peer is not None:
                self.network.break_lane(end.peer if lanes is not Break.UNHEARD else end, lanes)
        self._begin_life(host.name)
        for transfer in list(self.transfers.values()):
            if transfer.origin is host and transfer.name and transfer.outcome is None and self.random.random() < 0.8:
                self._send_again(transfer)

    def _send_again(self, transfer: Transfer) -> None:
        """Let a new life of an origin send what an earlier one did not end, now and then from another source."""
        same = self.random.random() < 0.8
        size = len(transfer.data)
        data = transfer.data if same else self._draw_data(self.random.choice([size, size // 2]))
        again = Transfer(
            self.network.hosts[transfer.origin.name],
            transfer.target,
            transfer.kind,
            data,
            None if transfer.declared is None else len(data),
            self._draw_source(len(data), transfer.kind),
            self._draw_reading(transfer.kind),
            name=transfer.name,
        )
        self._show_source(again, stamp=bool(transfer.stamp), digest=bool(transfer.digest))
        self._excuse_plan(again)
        if not again.source.seekable:
            again.excuse(ErrorCode.RESUME)
        self._send(again, PATIENT_S)

    # Phase 2: all is well again.

    def _heal(self) -> None:
        self.history.note("all heals")
        self.faults.calm()
        for host in self.network.hosts.values():
            host.thaw()
        for transfer in self.transfers.values():
            if transfer.reading in (Reading.SLOW, Reading.LATE):
                transfer.reading = Reading.EAGER
        for host in self.network.hosts.values():
            host.read_all()
        self._let_go()
        self.agenda.run_until(self.agenda.now + HEAL_S, self._has_settled)
        # What was settled without the other side is told when the links are up.
        self.agenda.run_until(self.agenda.now + HEAL_S)
        if any(host.core.stats().receives for host in self.network.hosts.values()):
            # A named stream whose origin was restarted waits for its heir as long as for anything.
            self.agenda.run_until(self.agenda.now + PATIENT_S)
        self.on_rest(list(self.network.hosts.values()))

    def _has_settled(self) -> bool:
        return not any(host.core.open_sends() for host in self.network.hosts.values())

    def _work(self) -> None:
        """No memory, no credit and no slot was lost for good."""
        fresh = []
        for origin, target in self.pairs:
            host = self.network.hosts[origin]
            for kind, size in ((StreamKind.STREAM, 900 * KIB), (StreamKind.BLOB, self.config.blob_budget_bytes)):
                data = self._draw_data(size)
                fresh.append(Transfer(host, target, kind, data, size, Source(64 * KIB), Reading.EAGER))
                self._send(fresh[-1], PATIENT_S)
            request = self._draw_data(1000)
            fresh.append(Transfer(host, target, StreamKind.REQUEST, request, 1000, Source(1000), Reading.EAGER))
            self._send(fresh[-1], PATIENT_S)
        self._work_off(fresh)
        for origin, target in self.pairs:
            # Among others it may find no memory to grow; alone it does.
            host = self.network.hosts[origin]
            data = self._draw_data(900 * KIB)
            transfer = Transfer(host, target, StreamKind.STREAM, data, len(data), Source(64 * KIB), Reading.EAGER)
            self._send(transfer, PATIENT_S)
            self._work_off([transfer])
            window = self.receipts[transfer.key][-1].largest_window
            demand(window > INITIAL_CREDIT_BYTES, f"{transfer}: the window does not grow any more")

    def _work_off(self, transfers: list[Transfer]) -> None:
        self.agenda.run_until(self.agenda.now + WORK_S, self._has_settled)
        self.on_rest(list(self.network.hosts.values()))
        for transfer in transfers:
            demand(transfer.outcome == "", f"{transfer} does not work any more: {transfer.outcome!r}")

    def _be_silent(self) -> None:
        """Cells that have nothing to do say nothing."""
        self.agenda.run_until(self.agenda.now + SILENCE_S)
        before = self.network.frames
        self.agenda.run_until(self.agenda.now + SILENCE_S)
        said = self.network.frames - before
        demand(said <= FRAMES_IN_SILENCE * len(self.pairs), f"{said} frames in {SILENCE_S} s of silence")
