"""One life of a simulated cell: its core, and an application that sends, reads and answers as the transfers plan it."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import crc32c

from streamcell.config import CellConfig
from streamcell.digest import Digest
from streamcell.errors import ErrorCode, Fault, StreamError, StreamIntegrityError, StreamResumeError
from streamcell.protocol.base.events import (
    DataEnded,
    DataReceived,
    Event,
    HandshakeOver,
    HandshakeWork,
    LaneDropped,
    LaneWanted,
    PassageAsked,
    ReceiveFailed,
    ReceiveFinished,
    RequestEnded,
    SendFailed,
    SendFinished,
    SourceSeekWanted,
    SourceWanted,
    StreamAdmitted,
    StreamAdopted,
    StreamOpened,
    StreamPlaced,
)
from streamcell.protocol.cell import CellCore
from streamcell.protocol.sending.spec import SendSpec
from streamcell.protocol.wire.description import StreamKind
from streamcell.protocol.wire.frames import Frame, Payload, StreamKey
from tests.kit.fake_sealing import FakeSealer, Ledger
from tests.kit.strict_time import strict
from tests.simulation.agenda import Agenda
from tests.simulation.lies import LIAR
from tests.simulation.rules import ChangingRules
from tests.simulation.transfers import Reading, Receipt, Transfer

if TYPE_CHECKING:
    from tests.simulation.network import End, Network

# A slow reader reads a part of what is there, and then does something else for a while.
_SLOW_PAUSE_S = 0.25
_CLOSES_AT = 0.5
# How often what was read is on the disk before the next thing happens.
_SAVES = 0.5
# How long it takes to find out whether what was read is right, and how often nobody reads on before that.
_COMPARING_S = (0.0, 0.01, 1.0)
_RELEASES_FIRST = 0.5
# How long it takes to say whether an attempt may pass.
_THINKING_S = (0.0, 0.01, 2.9)


class Observer(Protocol):
    """Who watches what a cell does, and judges it."""

    def on_frame_sent(self, end: End, frame: Frame) -> None: ...

    def on_wanted(self, transfer: Transfer, size: int) -> None: ...

    def on_settled(self, transfer: Transfer) -> None: ...

    def on_opened(self, host: Host, event: StreamOpened) -> Receipt: ...

    def on_placed(self, receipt: Receipt, offset: int) -> None: ...

    def on_adopted(self, host: Host, receipt: Receipt, key: StreamKey) -> None: ...

    def check_memory(self, host: Host) -> None: ...

    def on_data(self, host: Host, receipt: Receipt, payload: Payload) -> None: ...

    def on_data_ended(self, receipt: Receipt, size: int) -> None: ...

    def on_receive_finished(self, receipt: Receipt) -> None: ...

    def on_receive_failed(self, receipt: Receipt, event: ReceiveFailed) -> None: ...

    def on_request_ended(self, transfer: Transfer) -> None: ...

    def answer(self, host: Host, request: Transfer) -> None: ...


def checksum(data: Payload, value: int) -> int:
    """Return the CRC32C of ``data``, continued from ``value``."""
    return crc32c.crc32c(data, value)


class Host:
    """A life of a cell. ``uplinks``: whom it dials, its parent first, then peers."""

    def __init__(
        self,
        agenda: Agenda,
        network: Network,
        observer: Observer,
        name: str,
        incarnation: int,
        config: CellConfig,
        uplinks: list[str],
        ledger: Ledger,
        rules: ChangingRules | None = None,
    ) -> None:
        self.rules = rules
        self.observer = observer
        self.name = name
        self.incarnation = incarnation
        self.config = config
        self.uplinks = uplinks
        self.alive = True
        # How far its clock is ahead of the others', and until when its process stands still.
        self.ahead_s = 0.0
        self.frozen_until = 0.0
        self.ends: dict[int, End] = {}
        self.dialling: set[int] = set()
        self.sent: dict[int, Transfer] = {}
        self.receipts: dict[StreamKey, Receipt] = {}
        self.core = strict(
            CellCore(
                fqcn=name,
                incarnation=incarnation,
                config=config,
                checksum=checksum,
                random_bits=random.Random(incarnation).getrandbits,
                software="simulation",
                seals=True,
                rules=rules,
                asks_passage=rules is not None,
            )
        )
        self._sealer = FakeSealer(self.core, ledger)
        self._agenda = agenda
        self._network = network
        self._timer_at: float | None = None
        # Whether memory was reserved in this step.
        self._admitted = False
        self._chance = random.Random(incarnation)
        self._handlers: dict[type[Event], Callable[[Any], None]] = {
            HandshakeWork: self._on_handshake_work,
            HandshakeOver: lambda event: self._sealer.handle(event, self.now),
            LaneWanted: lambda event: network.dial(self, event),
            LaneDropped: lambda event: network.drop(self, event.lane_id, flush=event.flush),
            SourceWanted: self._on_source_wanted,
            SourceSeekWanted: self._on_seek_wanted,
            SendFinished: self._on_send_finished,
            SendFailed: self._on_send_failed,
            StreamOpened: self._on_opened,
            PassageAsked: self._on_passage_asked,
            StreamAdmitted: self._on_admitted,
            StreamPlaced: self._on_placed,
            StreamAdopted: self._on_adopted,
            DataReceived: self._on_data,
            DataEnded: self._on_data_ended,
            ReceiveFinished: self._on_receive_finished,
            ReceiveFailed: self._on_receive_failed,
            RequestEnded: self._on_request_ended,
        }

    @property
    def now(self) -> float:
        """What its clock says."""
        return self._agenda.now + self.ahead_s

    def start(self) -> None:
        """Begin to dial."""
        for number, _ in enumerate(self.uplinks):
            if number == 0:
                self.core.add_uplink(self.now)
            else:
                self.core.add_shortcut(self.now)
        self.settle()

    def settle(self) -> None:
        """Do what a shell does after each call into the core."""
        core, handlers = self.core, self._handlers
        while (event := core.next_event()) is not None:
            kind = type(event)
            if kind in handlers:
                handlers[kind](event)
        if self._admitted:
            self._admitted = False
            self.observer.check_memory(self)
        for lane_id in core.take_ready_lanes():
            end = self.ends.get(lane_id)
            if end is not None:
                self._network.wake(end)
        deadline = core.next_deadline()
        if deadline is not None and (self._timer_at is None or deadline - self.ahead_s < self._timer_at):
            at = max(self._agenda.now, deadline - self.ahead_s)
            if self._timer_at is None or at < self._timer_at:
                self._timer_at = at
                self._agenda.add(at, functools.partial(self._expire, at))

    def on_rules_changed(self) -> None:
        """Its policy is another one."""
        self.core.on_rules_changed(self.now)
        self.settle()

    def _on_passage_asked(self, event: PassageAsked) -> None:
        """Let the application think about it."""
        at = self._agenda.now + self._chance.choice(_THINKING_S)
        self._agenda.add(at, functools.partial(self._judge, event))

    def _judge(self, event: PassageAsked) -> None:
        if self.alive and self.rules is not None:
            self.core.judge_passage(event.key, event.attempt, self.rules.judge(self._chance), self.now)
            self.settle()

    def jump(self, seconds: float) -> None:
        """Let its clock jump ahead."""
        self.ahead_s += seconds
        self._timer_at = None
        self.settle()

    def thaw(self) -> None:
        """Let its process go on."""
        self.frozen_until = 0.0
        for end in list(self.ends.values()):
            self._network.pump(end)
            self._network.wake(end)
        self._timer_at = None
        self.settle()

    def _expire(self, at: float) -> None:
        if at != self._timer_at or not self.alive:
            return
        if self.frozen_until > self._agenda.now:
            self._timer_at = self.frozen_until
            self._agenda.add(self.frozen_until, functools.partial(self._expire, self.frozen_until))
            return
        self._timer_at = None
        deadline = self.core.next_deadline()
        if deadline is not None and deadline <= self.now + 1e-9:
            self.core.handle_timeout(max(self.now, deadline))
        self.settle()

    # Sending.

    def send(self, transfer: Transfer, spec: SendSpec, timeout_s: float, note: Callable[[Transfer], None]) -> None:
        """Begin a transfer. ``note`` is called when it has its id, before anything else happens."""
        if transfer.kind is StreamKind.REQUEST:
            transfer.stream_id = self.core.open_request(spec, timeout_s, self.now)
        else:
            transfer.stream_id = self.core.open_stream(spec, self.now)
        self.sent[transfer.stream_id] = transfer
        note(transfer)
        if transfer.kind is not StreamKind.STREAM or transfer.source.kept:
            transfer.source.wanted = len(transfer.data)
            self._give(transfer)
        self.settle()

    def cancel_send(self, transfer: Transfer) -> None:
        """Give up a transfer."""
        self.core.cancel_send(transfer.stream_id, "cancelled by the simulation", self.now)
        self.settle()

    def _on_source_wanted(self, event: SourceWanted) -> None:
        transfer = self.sent[event.stream_id]
        if transfer.kind is StreamKind.STREAM and not transfer.source.kept:
            self.observer.on_wanted(transfer, event.size_bytes)
            transfer.source.wanted = event.size_bytes
            self._take_turn(transfer)

    def _take_turn(self, transfer: Transfer) -> None:
        """Let the source give something, now or after its pause."""
        source = transfer.source
        if source.waiting:
            return
        if source.pause_s == 0:
            self._give(transfer)
            return
        source.waiting = True
        self._agenda.add(self._agenda.now + source.pause_s, functools.partial(self._give_later, transfer))

    def _give_later(self, transfer: Transfer) -> None:
        if self.frozen_until > self._agenda.now:
            self._agenda.add(self.frozen_until, functools.partial(self._give_later, transfer))
            return
        transfer.source.waiting = False
        if self.alive and transfer.outcome is None:
            self._give(transfer)
            self.settle()

    def _give(self, transfer: Transfer) -> None:
        source = transfer.source
        stream_id = transfer.stream_id
        end = len(transfer.data)
        pieces = []
        while source.wanted > 0 and source.given < end:
            size = min(source.piece, source.wanted, end - source.given)
            pieces.append(transfer.data[source.given : source.given + size])
            source.given += size
            source.wanted -= size
            if source.pause_s > 0:
                break
        if pieces:
            self.core.supply(stream_id, pieces, self.now)
        if source.given < end:
            if source.wanted > 0:
                self._take_turn(transfer)
        elif source.fails:
            self.core.fail_source(stream_id, StreamError("the disk is gone", ErrorCode.SOURCE, Fault.ORIGIN), self.now)
        else:
            self.core.end_source(stream_id, None, self.now)

    def _on_seek_wanted(self, event: SourceSeekWanted) -> None:
        transfer = self.sent[event.stream_id]
        source = transfer.source
        source.waiting = True
        pause_s = self._chance.choice([0.0, 0.05, 1.0])
        self._agenda.add(self._agenda.now + pause_s, functools.partial(self._seek, transfer, event))

    def _seek(self, transfer: Transfer, event: SourceSeekWanted) -> None:
        if not self.alive or transfer.outcome is not None:
            return
        if self.frozen_until > self._agenda.now:
            self._agenda.add(self.frozen_until, functools.partial(self._seek, transfer, event))
            return
        source = transfer.source
        source.waiting = False
        if not source.seekable:
            error = StreamResumeError("the source cannot go back")
            self.core.abandon_source(event.stream_id, error, self.now)
        else:
            prefix, found = event.prefix_digest, digest_of(transfer.data[: event.offset])
            agrees = event.offset <= len(transfer.data) and (prefix is None or prefix.matches(found))
            source.given = event.offset if agrees else 0
            source.wanted = 0
            self.core.move_source(event.stream_id, source.given, self.now)
        self.settle()

    def _on_handshake_work(self, event: HandshakeWork) -> None:
        self._sealer.handle(event, self.now)

    def _on_send_finished(self, event: SendFinished) -> None:
        self._settle_transfer(self.sent[event.stream_id], "")

    def _on_send_failed(self, event: SendFailed) -> None:
        self._settle_transfer(self.sent[event.stream_id], event.error)

    def _settle_transfer(self, transfer: Transfer, outcome: Any) -> None:
        if transfer.outcome is not None:
            raise AssertionError(f"{transfer} has settled twice: {transfer.outcome!r}, {outcome!r}")
        transfer.outcome = outcome
        self.observer.on_settled(transfer)

    def _on_request_ended(self, event: RequestEnded) -> None:
        transfer = self.sent[event.stream_id]
        if transfer.request_error is not None:
            raise AssertionError(f"{transfer} has ended twice")
        transfer.request_error = event.error
        self.observer.on_request_ended(transfer)

    # Receiving.

    def _on_opened(self, event: StreamOpened) -> None:
        if event.key.origin == LIAR:
            self.core.reject(event.key, ErrorCode.REJECTED, "nobody wants to hear it", self.now)
            return
        if event.key in self.receipts:
            raise AssertionError(f"{self.name} was offered {event.key} twice")
        receipt = self.receipts[event.key] = self.observer.on_opened(self, event)
        if receipt.transfer.reading is Reading.REFUSES:
            self.core.reject(event.key, ErrorCode.REJECTED, "the application does not want it", self.now)
        else:
            self.core.accept(
                event.key, assemble=event.description.kind is not StreamKind.STREAM, reserve=True, now=self.now
            )

    def _on_admitted(self, event: StreamAdmitted) -> None:
        receipt = self.receipts[event.key]
        receipt.admitted = self._admitted = True
        if receipt.transfer.kind is not StreamKind.STREAM:
            return
        self.core.callback_started(event.key, self.now)
        if receipt.awaits_offset:
            self.core.weigh_offset(event.key, self.now)
            pause_s = self._chance.choice([0.0, 0.0, 0.1, 2.0])
            self._agenda.add(self._agenda.now + pause_s, functools.partial(self._choose, receipt))
        if receipt.transfer.reading is Reading.SLOW:
            self._read_later(receipt)

    def _choose(self, receipt: Receipt) -> None:
        """Go on where the disk has it: as it is, if the stream is the same, else if a digest shows that it is."""
        if not self.alive or receipt.failed:
            return
        saved = receipt.saved
        receipt.chosen = self._chance.choice([saved.size, saved.size, self._chance.randint(0, saved.size), 0])
        compare = receipt.chosen > 0 and (not receipt.resume or self._chance.random() < 0.3)
        digest = digest_of(saved.data[: receipt.chosen]) if compare else None
        self.core.choose_offset(receipt.key, receipt.chosen, digest, self.now)
        self.settle()

    def _on_placed(self, event: StreamPlaced) -> None:
        receipt = self.receipts[event.key]
        self.observer.on_placed(receipt, event.offset)
        receipt.delivered = receipt.consumed = event.offset
        receipt.saved.data = receipt.transfer.data
        receipt.saved.size = event.offset

    def _on_adopted(self, event: StreamAdopted) -> None:
        receipt = self.receipts[event.key] = self.receipts.pop(event.old_key)
        self.observer.on_adopted(self, receipt, event.key)

    def _on_data(self, event: DataReceived) -> None:
        receipt = self.receipts[event.key]
        self.observer.on_data(self, receipt, event.payload)
        receipt.delivered += len(event.payload)
        if receipt.transfer.kind is not StreamKind.STREAM:
            receipt.consumed = receipt.delivered
            return
        reading = receipt.transfer.reading
        if reading is Reading.CLOSES and receipt.delivered >= _CLOSES_AT * len(receipt.transfer.data):
            self.core.close_receive(event.key, receipt.consumed, self.now)
        elif reading in (Reading.EAGER, Reading.CLOSES, Reading.LEAVES):
            self._read(receipt, receipt.delivered)
            if reading is Reading.LEAVES and receipt.consumed == receipt.transfer.declared and not receipt.released:
                receipt.released = True
                self.core.close_receive(event.key, receipt.consumed, self.now)

    def _read(self, receipt: Receipt, offset: int) -> None:
        receipt.consumed = offset
        if self._chance.random() < _SAVES:
            receipt.saved.size = offset
        self.core.consume(receipt.key, offset, self.now)
        self._reach_end(receipt)

    def _reach_end(self, receipt: Receipt) -> None:
        """Begin to find out whether all is right, when all was read."""
        if not receipt.ended or receipt.consumed < receipt.delivered or receipt.reached or receipt.failed:
            return
        # A careful application saves before it says that it is done.
        receipt.reached = True
        receipt.saved.size = receipt.consumed
        if receipt.transfer.kind is not StreamKind.STREAM:
            receipt.approved = True
            self._release(receipt)
            return
        pause_s = self._chance.choice(_COMPARING_S)
        self._agenda.add(self._agenda.now + pause_s, functools.partial(self._approve, receipt))
        if self._chance.random() < _RELEASES_FIRST:
            self._release(receipt)

    def _release(self, receipt: Receipt) -> None:
        if not receipt.released:
            receipt.released = True
            self.core.release(receipt.key, self.now)

    def _approve(self, receipt: Receipt) -> None:
        """Say that all is right, or not."""
        if not self.alive or receipt.failed:
            return
        if self.frozen_until > self._agenda.now:
            self._agenda.add(self.frozen_until, functools.partial(self._approve, receipt))
            return
        if receipt.transfer.flawed:
            self.core.fail_receive(receipt.key, StreamIntegrityError("another digest"), self.now)
        else:
            receipt.approved = True
            self.core.approve(receipt.key, self.now)
            self._release(receipt)
        self.settle()

    def _read_later(self, receipt: Receipt) -> None:
        pause_s = _SLOW_PAUSE_S * self._chance.random()
        self._agenda.add(self._agenda.now + pause_s, functools.partial(self._read_a_little, receipt))

    def _read_a_little(self, receipt: Receipt) -> None:
        if not self.alive or receipt.failed or receipt.reached:
            return
        if self.frozen_until <= self._agenda.now:
            unread = receipt.delivered - receipt.consumed
            self._read(receipt, receipt.consumed + unread // 2 + unread % 2)
            self.settle()
        self._read_later(receipt)

    def read_all(self) -> None:
        """Read what slow and late readers have left lying."""
        for receipt in list(self.receipts.values()):
            if receipt.transfer.kind is StreamKind.STREAM and receipt.transfer.reading is Reading.EAGER:
                self._read(receipt, receipt.delivered)
        self.settle()

    def cancel_receive(self, key: StreamKey) -> None:
        """Give up a stream that comes in."""
        self.core.cancel_receive(key, "cancelled by the simulation", self.now)
        self.settle()

    def _on_data_ended(self, event: DataEnded) -> None:
        receipt = self.receipts[event.key]
        self.observer.on_data_ended(receipt, event.size_bytes)
        receipt.ended = True
        self._reach_end(receipt)
        if receipt.transfer.kind is StreamKind.REQUEST:
            self.observer.answer(self, receipt.transfer)

    def _on_receive_finished(self, event: ReceiveFinished) -> None:
        receipt = self.receipts[event.key]
        self.observer.on_receive_finished(receipt)
        receipt.finished = True

    def _on_receive_failed(self, event: ReceiveFailed) -> None:
        receipt = self.receipts.get(event.key)
        # A reply that nobody waits for is refused before it is offered.
        if receipt is not None:
            self.observer.on_receive_failed(receipt, event)
            receipt.failed = True


def digest_of(data: memoryview) -> Digest:
    """Return the digest of some bytes."""
    return Digest.of([data])
