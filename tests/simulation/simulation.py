"""One history: a network of cells in virtual time. Everything breaks for a while, then it heals, then all must be well.

A history follows from its seed and its options alone. While the storm lasts nothing wrong may be seen (safety); after
it everything must come to its end (liveness); then the cells must work as on their first day, and be silent after it.
"""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections import Counter

from streamcell.config import CellConfig
from streamcell.errors import CellError, ErrorCode
from streamcell.limits import INITIAL_CREDIT_BYTES, KIB
from streamcell.protocol.sending.spec import SendSpec
from streamcell.protocol.wire.description import ReplyTo, StreamDescription, StreamKind
from tests.kit.fake_sealing import Ledger
from tests.simulation.agenda import Agenda
from tests.simulation.checks import Checks, demand
from tests.simulation.clocks import WallClocks
from tests.simulation.faults import Faults
from tests.simulation.history import History
from tests.simulation.host import Host
from tests.simulation.liar import Liar
from tests.simulation.network import Network
from tests.simulation.plans import LIFE_SIGN_S, PATIENT_S, Plans, excuse_restart, waits_for_dead
from tests.simulation.rules import ChangingRules
from tests.simulation.storm import Storm
from tests.simulation.transfers import Reading, Source, Transfer

STEPS = 60
# Whom each cell dials: its parent, then its peers.
TOPOLOGIES: dict[str, dict[str, list[str]]] = {
    "pair": {"hub": [], "leaf": ["hub"]},
    "star": {"hub": [], "leaf-a": ["hub"], "leaf-b": ["hub"]},
    "chain": {"top": [], "middle": ["top"], "bottom": ["middle"]},
    "short cut": {"hub-a": [], "hub-b": ["hub-a"], "leaf": ["hub-a", "hub-b"]},
}
# A request whose target or reply is gone ends by its time.
REQUEST_S = 400.0
# What healing may take: dialling with back-off, suspects, a link that is down, and requests that nobody will answer.
HEAL_S = 500.0
# What fresh transfers may take on a network that is well.
WORK_S = 60.0
# What a link may say in silence: heartbeats, and bulk lanes that end.
SILENCE_S = 60.0
FRAMES_IN_SILENCE = 60
_TAIL_LINES = 60


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """What a history is made of, beside its seed.

    ``restarts``: cells are also killed and started anew. ``notices``: lanes also announce their ends. ``liar``: there
    is a cell that lies. ``policy``: cells have policies, which change. ``sealed``: most of what is sent is sealed.
    """

    steps: int = STEPS
    restarts: bool = True
    topology: str = ""
    notices: bool = False
    liar: bool = False
    policy: bool = False
    sealed: bool = False


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
        self.liar = Liar(self) if options.liar else None
        self.plans = Plans(self.random)
        self.rules = {name: ChangingRules(self.uplinks) for name in self.uplinks} if options.policy else {}
        self.ledger = Ledger()
        self._sealing = random.Random(seed)
        # How often each cell was ended.
        self.restarted: Counter[str] = Counter()
        self.wall_clocks = WallClocks(self.random)
        # The cell that had something to send when this was last asked: it is asked first.
        self._busy: Host | None = None
        self._begin_s = self.agenda.now
        self._storm = Storm(self)
        self.history.note(f"seed {seed}, {options}: {name}")
        if self.liar is not None:
            self.history.note(f"{self.liar}")

    def run(self) -> Outcome:
        """Run the whole history, and check it.

        :raises AssertionError: with the last lines of the history, if anything is wrong.
        """
        try:
            for cell in self.uplinks:
                self.begin_life(cell)
            self._storm.rage(self.options.steps)
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
        if options.notices:
            words.append("--notices")
        if options.policy:
            words.append("--policy")
        if options.liar:
            words.append("--liar")
        if options.sealed:
            words.append("--sealed")
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
            max_blob_bytes=1000 * KIB,
            request_budget_bytes=choice([200, 1000]) * KIB,
            receive_budget_bytes=1000 * KIB,
            max_window_bytes=512 * KIB,
            read_ahead_bytes=64 * KIB,
            bulk_lanes=choice([0, 1, 2]),
        )

    def begin_life(self, name: str) -> None:
        incarnation = self.wall_clocks.begin_life(name, self.agenda.now)
        host = Host(
            self.agenda,
            self.network,
            self,
            name,
            incarnation,
            self.config,
            list(self.uplinks[name]),
            self.ledger,
            self.rules.get(name),
        )
        self.network.hosts[name] = host
        host.start()

    def on_request_ended(self, transfer: Transfer) -> None:
        """See Checks."""
        self._excuse_wait(transfer, transfer.request_error)
        super().on_request_ended(transfer)
        self.history.note(f"{transfer} ended: {transfer.request_error!r}")

    def on_settled(self, transfer: Transfer) -> None:
        """See Checks."""
        self.history.note(f"{transfer} settled: {transfer.outcome!r}")
        self._excuse_wait(transfer, transfer.outcome)
        super().on_settled(transfer)

    def _excuse_wait(self, transfer: Transfer, outcome: CellError | str | None) -> None:
        """A request, or its reply, may find the memory taken by a cell that is gone, until that is known there."""
        if transfer.kind is StreamKind.REQUEST and isinstance(outcome, CellError):
            for name in (transfer.origin.name, transfer.target):
                if waits_for_dead(self.network.hosts[name].receipts.values(), self._neighbours(name)):
                    transfer.excuse(ErrorCode.TIMEOUT)

    def _neighbours(self, name: str) -> set[str]:
        return {*self.uplinks[name], *(other for other, dialled in self.uplinks.items() if name in dialled)}

    def send(self, transfer: Transfer, timeout_s: float, reply_to: ReplyTo | None = None) -> None:
        if self.options.sealed:
            request = transfer.answers
            chance = random.Random(f"{self.seed} {transfer.name}") if transfer.name else self._sealing
            transfer.sealed = chance.random() < 0.7 if request is None else request.sealed
        if transfer.sealed:
            # A cell that cannot be heard for long cannot show who it is. And of what was sent to one that was restarted
            # a moment ago nothing proves that the life before has not got it.
            transfer.excuse(ErrorCode.AUTHENTICATION)
            if self.restarted[transfer.target] and transfer.kind is not StreamKind.STREAM:
                transfer.excuse(ErrorCode.OUTCOME_UNKNOWN)
        spec = SendSpec(
            target=transfer.target,
            channel="c",
            topic="t",
            description=StreamDescription(
                transfer.kind,
                transfer.declared,
                idle_timeout_s=timeout_s,
                resume_id=transfer.name,
                source_stamp=transfer.stamp,
                digest=transfer.digest,
                reply_to=reply_to,
                sealed=transfer.sealed,
            ),
            unreachable_timeout_s=timeout_s,
            retry_unknown=transfer.retry_unknown,
            kept=transfer.source.kept,
        )
        # Before the core may ask for anything.
        transfer.origin.send(transfer, spec, min(timeout_s, REQUEST_S), self.add)
        self.history.note(
            f"{transfer}: {len(transfer.data)} bytes, declared {transfer.declared}, {transfer.reading.value}, "
            f"{transfer.source}"
        )

    def answer(self, host: Host, request: Transfer) -> None:
        """Answer a request, from the cell that has got it."""
        reply = self.plans.reply(host, request)
        if self.restarted[reply.target]:
            excuse_restart(reply)
        key = request.key
        self.send(reply, PATIENT_S, ReplyTo(key.stream_id, key.origin_incarnation))

    # Phase 2: all is well again.

    def _heal(self) -> None:
        self.history.note("all heals")
        self.faults.calm()
        for host in self.network.hosts.values():
            host.thaw()
        for name, rules in self.rules.items():
            rules.allow_all()
            self.network.hosts[name].on_rules_changed()
        for transfer in self.transfers.values():
            if transfer.reading in (Reading.SLOW, Reading.LATE):
                transfer.reading = Reading.EAGER
        for host in self.network.hosts.values():
            host.read_all()
        self._storm.let_go()
        if self.liar is not None:
            self.liar.go_on()
        self.agenda.run_until(self.agenda.now + HEAL_S, self._has_settled)
        # What was settled without the other side is told when the links are up; that an origin was restarted, to a
        # target that is no neighbour, when that one shows life.
        self.agenda.run_until(self.agenda.now + HEAL_S + LIFE_SIGN_S)
        self._forbid_relics()
        if any(host.core.stats().receives for host in self.network.hosts.values()):
            # A named stream whose origin was restarted waits for its heir as long as for anything.
            self.agenda.run_until(self.agenda.now + PATIENT_S)
        self.on_rest(list(self.network.hosts.values()))

    def _forbid_relics(self) -> None:
        """Of a life that is over nothing is left but named streams, which wait for their heirs."""
        for host in self.network.hosts.values():
            for receipt in host.receipts.values():
                transfer = receipt.transfer
                demand(
                    receipt.finished or receipt.failed or transfer.origin.alive or transfer.name != "",
                    f"{host.name} still has {transfer}, of a life that is over",
                )

    def _has_settled(self) -> bool:
        if self._busy is not None and self._busy.core.open_sends() > 0:
            return False
        self._busy = next((host for host in self.network.hosts.values() if host.core.open_sends() > 0), None)
        return self._busy is None

    def _work(self) -> None:
        """No memory, no credit and no slot was lost for good, and no lie costs anybody anything."""
        fresh = []
        if self.liar is not None:
            self.liar.go_on(of_names=True)
            self.liar.impersonate()
        for origin, target in self.pairs:
            host = self.network.hosts[origin]
            for kind, size in ((StreamKind.STREAM, 900 * KIB), (StreamKind.BLOB, self.config.blob_budget_bytes)):
                data = self.plans.data(size)
                fresh.append(Transfer(host, target, kind, data, size, Source(64 * KIB), Reading.EAGER))
                self.send(fresh[-1], PATIENT_S)
            request = self.plans.data(1000)
            fresh.append(Transfer(host, target, StreamKind.REQUEST, request, 1000, Source(1000), Reading.EAGER))
            self.send(fresh[-1], PATIENT_S)
        self._work_off(fresh)
        resumes = self._count_resumes()
        if self.liar is not None:
            self.liar.go_on(of_names=True)
        for origin, target in self.pairs:
            # Among others it may find no memory to grow; alone it does.
            host = self.network.hosts[origin]
            data = self.plans.data(900 * KIB)
            transfer = Transfer(host, target, StreamKind.STREAM, data, len(data), Source(64 * KIB), Reading.EAGER)
            self.send(transfer, PATIENT_S)
            self._work_off([transfer])
            window = self.receipts[transfer.key][-1].largest_window
            demand(window > INITIAL_CREDIT_BYTES, f"{transfer}: the window does not grow any more")
        again = self._count_resumes() - resumes
        demand(again == 0, f"{again} attempts were lost while nothing went wrong")
        if self.liar is not None:
            self.liar.leave()

    def _count_resumes(self) -> int:
        return sum(host.core.stats().resumes for host in self.network.hosts.values())

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
