"""What must be so at every moment of a history, judged from what applications see and what cells say on the wire.

Nothing here trusts the core under test: whether a transfer is done is decided by what its target's application did.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING

from streamcell.errors import CellError, ErrorCode
from streamcell.limits import INITIAL_CREDIT_BYTES
from streamcell.protocol.base.events import ReceiveFailed, StreamOpened
from streamcell.protocol.wire.description import StreamKind
from streamcell.protocol.wire.frames import Chunk, Credit, Frame, Payload, StreamKey
from tests.simulation.lies import LIAR
from tests.simulation.transfers import Data, Receipt, Saved, Transfer

if TYPE_CHECKING:
    from tests.simulation.host import Host
    from tests.simulation.network import End


_NOTHING = Data(b"", 0, 0)


class Violation(AssertionError):
    """A promise was broken."""


def demand(condition: bool, sentence: str) -> None:
    """Raise a Violation unless ``condition`` holds. Where it is asked for each frame, no sentence is made in vain."""
    if not condition:
        raise Violation(sentence)


@dataclasses.dataclass(slots=True)
class Attempt:
    """What a cell, the origin or a relay, has sent in one attempt of one stream, and how far it was allowed to go."""

    number: int
    start: int
    end: int
    sequence: int = 0
    granted: int = 0

    @property
    def credit(self) -> int:
        return max(self.start + INITIAL_CREDIT_BYTES, self.granted)


class Checks:
    """Everything that was ever sent in a history, by key, and the lives that were offered it.

    :ivar bytes_delivered: to applications.
    :ivar bytes_resent: put on a lane more than once.
    """

    def __init__(self) -> None:
        self.transfers: dict[StreamKey, Transfer] = {}
        self.receipts: dict[StreamKey, list[Receipt]] = {}
        # By target, origin, and name or key: what is on the disks of applications.
        self.disks: dict[tuple[str, str, str], Saved] = {}
        # Where streams went on after a restart.
        self.resumed: Counter[str] = Counter()
        self.bytes_delivered = 0
        self.bytes_resent = 0
        # By stream and the cell that sends its chunks on: the attempt it is in. And by attempt: the credit that it got.
        self._attempts: dict[tuple[StreamKey, str], Attempt] = {}
        self._grants: dict[tuple[StreamKey, str, int], int] = {}

    def add(self, transfer: Transfer) -> None:
        """Take note of a transfer that was begun."""
        self.transfers[transfer.key] = transfer
        self.receipts[transfer.key] = []

    def attempt_of(self, key: StreamKey) -> int:
        """Return the attempt in which the origin of a stream has last sent a chunk."""
        attempt = self._attempts.get((key, key.origin))
        return 1 if attempt is None else attempt.number

    # At the origin.

    def on_wanted(self, transfer: Transfer, size: int) -> None:
        """A source is asked for no more than may lie between it and the reader."""
        config = transfer.origin.config
        consumed = max((receipt.consumed for receipt in self.receipts[transfer.key]), default=0)
        held = transfer.source.given + size - consumed
        most = config.max_window_bytes + config.read_ahead_bytes + INITIAL_CREDIT_BYTES + config.chunk_bytes
        if held > most:
            raise Violation(f"{transfer}: the origin holds {held} bytes, {most} are allowed")

    def on_settled(self, transfer: Transfer) -> None:
        """A success is one; a failure has a reason."""
        if isinstance(transfer.outcome, CellError):
            code = transfer.outcome.code
            demand(
                code in transfer.excuses,
                f"{transfer} failed with {code.name}, which nobody gave a reason for: {transfer.outcome}",
            )
            return
        done = [receipt for receipt in self.receipts[transfer.key] if receipt.released and receipt.approved]
        demand(bool(done), f"{transfer} was reported done, and no application has got it")

    def on_request_ended(self, transfer: Transfer) -> None:
        """A request that fails has a reason, and no reply."""
        error = transfer.request_error
        demand(transfer.replies == 0, f"{transfer} has failed, and got a reply")
        if error is not None:
            demand(
                error.code in transfer.excuses,
                f"{transfer} ended with {error.code.name}, which nobody gave a reason for: {error}",
            )

    def on_chunk_sent(self, sender: str, chunk: Chunk) -> None:
        """Chunks of an attempt lie end to end, within credit; a new attempt repeats at most a window of a stream."""
        transfer = self.transfers[chunk.key]
        end = chunk.offset + len(chunk.payload)
        hop = chunk.key, sender
        attempt = self._attempts.get(hop)
        if attempt is None or attempt.number != chunk.attempt:
            sent = attempt.end if attempt is not None else 0
            # A relay forgets a stream whose last word has passed; then a late copy of an early chunk is new to it.
            later = attempt is None or chunk.attempt > attempt.number
            if not later and sender == chunk.key.origin:
                raise Violation(f"{transfer}: attempt {chunk.attempt} came again")
            if chunk.open is None:
                raise Violation(f"{transfer}: attempt {chunk.attempt} begins without an Open part")
            if sender == chunk.key.origin:
                self._note_resent(transfer, sent - chunk.offset)
            attempt = self._attempts[hop] = Attempt(chunk.attempt, chunk.offset, chunk.offset)
        # A relay may still send an attempt on when its next hop grants the next one, which it got another way.
        attempt.granted = self._grants.get((chunk.key, sender, chunk.attempt), attempt.granted)
        # A relay sends them on in the order in which they come, by several lanes perhaps.
        if sender == chunk.key.origin and (chunk.offset != attempt.end or chunk.sequence != attempt.sequence):
            raise Violation(
                f"{transfer}: chunk {chunk.sequence} at {chunk.offset} follows {attempt.sequence} at {attempt.end}"
            )
        if end > chunk.offset >= attempt.credit:
            raise Violation(f"{transfer}: sent at {chunk.offset} with a credit of {attempt.credit}")
        if attempt.granted == 0 and end > attempt.start + INITIAL_CREDIT_BYTES:
            raise Violation(f"{transfer}: sent up to {end} before the first Credit")
        attempt.end = max(attempt.end, end)
        attempt.sequence += 1

    def _note_resent(self, transfer: Transfer, size: int) -> None:
        if size <= 0:
            return
        self.bytes_resent += size
        config = transfer.origin.config
        most = config.max_window_bytes + INITIAL_CREDIT_BYTES + config.chunk_bytes
        demand(
            transfer.kind is not StreamKind.STREAM or transfer.disturbed or size <= most,
            f"{transfer}: {size} bytes are sent again, more than a window",
        )

    # At the target.

    def on_opened(self, host: Host, event: StreamOpened) -> Receipt:
        """What is offered was sent, to this cell, and is what it was."""
        transfer = self.transfers.get(event.key)
        if transfer is None:
            raise Violation(f"{host.name} was offered {event.key}, which nobody has sent")
        demand(transfer.target == host.name, f"{transfer} was offered to {host.name}")
        demand(not _is_denied(host, transfer), f"{transfer} was offered, and is denied")
        demand(
            transfer.declared == event.description.size,
            f"{transfer} was offered with a size of {event.description.size}",
        )
        before = self.receipts[event.key]
        demand(
            not event.seen_before or bool(before),
            f"{transfer} is said to go on, and no life of its target has seen it",
        )
        disk = self.disks.setdefault(
            (host.name, transfer.origin.name, transfer.name or str(event.key)), Saved(_NOTHING)
        )
        receipt = Receipt(transfer, event.key, disk, event.seen_before, event.awaits_offset)
        if not event.awaits_offset:
            disk.data, disk.size = transfer.data, 0
        before.append(receipt)
        return receipt

    def on_placed(self, receipt: Receipt, offset: int) -> None:
        """A stream goes on where its reader wants it, and has it from the same source; or at 0."""
        transfer = receipt.transfer
        demand(receipt.awaits_offset or offset == 0, f"{transfer} was placed at {offset}, and nobody had asked")
        demand(offset in (0, receipt.chosen), f"{transfer} was placed at {offset} instead of {receipt.chosen}")
        demand(receipt.delivered == 0, f"{transfer} was placed at {offset} after {receipt.delivered} bytes")
        chosen = receipt.chosen
        # Beyond what was declared, wrongly, there is nothing to go on at.
        fits = transfer.declared is None or chosen <= transfer.declared
        same = fits and receipt.saved.data[:chosen] == transfer.data[:chosen]
        demand(same or offset == 0, f"{transfer} goes on at {offset} behind bytes of another source")
        demand(not same or offset == chosen, f"{transfer} begins again, instead of going on at {chosen}")
        # It counts from now on: the next life of the origin may be told the same again, before any byte has come.
        receipt.chosen = offset
        self.resumed["at the reader's offset" if offset else "at 0"] += 1

    def on_adopted(self, host: Host, receipt: Receipt, key: StreamKey) -> None:
        """A stream goes on in a new life of its origin only if the source is the same."""
        old, new = receipt.transfer, self.transfers[key]
        demand(old.origin is not new.origin and old.name == new.name != "", f"{new} took the place of {old}")
        demand(old.data[:] == new.data[:], f"{new} took the place of {old}, which had another source")
        # It is the same call of the same callback that reads on.
        self.resumed["in the same call"] += 1
        new.reading = old.reading
        new.excuses |= old.excuses
        receipt.transfer = new
        receipt.key = key
        self.receipts[key].append(receipt)

    def on_credit_sent(self, host: Host, sender: str, frame: Credit) -> None:
        """The credit of streams is within their windows, and all windows within the cell's budget."""
        grant = frame.key, sender, frame.attempt
        self._grants[grant] = max(self._grants.get(grant, 0), frame.offset)
        forwarded = self._attempts.get((frame.key, host.name))
        if forwarded is not None and forwarded.number == frame.attempt:
            held = frame.offset - forwarded.end
            if held > host.config.max_window_bytes:
                raise Violation(f"{host.name}: a credit of {held} ahead of what it forwarded")
        receipt = host.receipts.get(frame.key)
        if receipt is None or receipt.transfer.kind is not StreamKind.STREAM:
            return
        window = frame.offset - receipt.consumed
        receipt.credit = max(receipt.credit, frame.offset)
        receipt.largest_window = max(receipt.largest_window, window)
        config = host.config
        if window > config.max_window_bytes:
            raise Violation(f"{receipt.transfer}: a credit of {window} ahead of the reader")
        ahead = sum(
            max(0, each.credit - each.consumed - INITIAL_CREDIT_BYTES)
            for each in host.receipts.values()
            if each.admitted and not (each.finished or each.failed)
        )
        # Half as much again is there for those who come when others hold all of it.
        if ahead > config.receive_budget_bytes + config.receive_budget_bytes // 2:
            raise Violation(f"{host.name} has given credit for {ahead} bytes in all")

    def check_memory(self, host: Host) -> None:
        """What one origin sends to be assembled fits into the budgets, unless it is one thing; all of it, nearly."""
        config = host.config
        for budget, kinds in (
            (config.blob_budget_bytes, (StreamKind.BLOB,)),
            (config.request_budget_bytes, (StreamKind.REQUEST, StreamKind.REPLY)),
        ):
            sizes: dict[str, list[int]] = {}
            for receipt in host.receipts.values():
                transfer = receipt.transfer
                if transfer.kind in kinds and receipt.admitted and not (receipt.finished or receipt.failed):
                    sizes.setdefault(transfer.key.origin, []).append(transfer.declared or 0)
            beyond = any(sum(each) > budget and len(each) != 1 for each in sizes.values())
            if beyond or sum(map(sum, sizes.values())) > budget + config.max_blob_bytes:
                raise Violation(f"{host.name} assembles {sizes} with a budget of {budget}")

    def on_data(self, host: Host, receipt: Receipt, payload: Payload) -> None:
        """Every byte, in order, once, and no more of them than the window allows."""
        transfer = receipt.transfer
        start, end = receipt.delivered, receipt.delivered + len(payload)
        if receipt.ended or receipt.failed:
            raise Violation(f"{transfer}: data after the end")
        if not receipt.admitted:
            raise Violation(f"{transfer}: data before it was admitted")
        if _is_denied(host, transfer):
            raise Violation(f"{transfer}: data of what is denied")
        if not transfer.data.has_at(start, payload):
            raise Violation(f"{transfer}: wrong bytes at {start} to {end}")
        self.bytes_delivered += len(payload)
        if transfer.kind is StreamKind.STREAM:
            unread = end - receipt.consumed
            most = host.config.max_window_bytes + transfer.origin.config.chunk_bytes
            if unread > most:
                raise Violation(f"{transfer}: {unread} bytes wait for the reader, {most} are allowed")

    def on_data_ended(self, receipt: Receipt, size: int) -> None:
        """The end is the end, and what is delivered whole is delivered once."""
        transfer = receipt.transfer
        demand(
            receipt.delivered == size == len(transfer.data) and not transfer.source.fails,
            f"{transfer} ended at {receipt.delivered} ({size}) of {len(transfer.data)} bytes",
        )
        demand(transfer.declared in (None, size), f"{transfer} ended at {size}, {transfer.declared} were declared")
        demand(not (receipt.ended or receipt.failed), f"{transfer} ended twice")
        if transfer.kind is not StreamKind.STREAM and not transfer.retry_unknown:
            lives = sum(each.ended for each in self.receipts[transfer.key])
            demand(lives == 0, f"{transfer} was delivered twice")
        if transfer.answers is not None:
            request = transfer.answers
            # One that ended before has no use for it.
            request.replies += request.request_error is None
            demand(request.replies <= 1, f"{request} got two replies")

    def on_receive_finished(self, receipt: Receipt) -> None:
        """A received stream is finished when its application says so."""
        transfer = receipt.transfer
        demand(receipt.released, f"{transfer} was finished before the application had released it")
        demand(receipt.approved, f"{transfer} was finished before the application had found it right")
        demand(not (receipt.finished or receipt.failed), f"{transfer} ended twice at the target")

    def on_receive_failed(self, receipt: Receipt, event: ReceiveFailed) -> None:
        """A failure has a reason."""
        transfer = receipt.transfer
        demand(not (receipt.finished or receipt.failed), f"{transfer} ended twice at the target")
        code = event.error.code
        # An origin's life that is over takes its streams with it; and what has given up may be known as settled only.
        # So may what has succeeded: the final Ack of an earlier life of the target, which a path has held back, counts
        # (wire.md, Attempts), and it may come when the stream has been offered to the next life.
        done = transfer.outcome == "" and any(each.finished for each in self.receipts[transfer.key])
        settled = code is ErrorCode.CANCELLED and (bool(transfer.excuses) or done)
        demand(
            code in transfer.excuses or settled or not transfer.origin.alive,
            f"{transfer} failed at the target with {code.name}, which nobody gave a reason for: {event.error}",
        )

    # On the wire.

    def on_frame_sent(self, end: End, frame: Frame) -> None:
        """Judge a frame that a cell has put on a lane. What a liar sends is nobody's transfer."""
        if isinstance(frame, Chunk):
            if frame.key.origin != LIAR:
                self.on_chunk_sent(end.host.name, frame)
        elif isinstance(frame, Credit) and end.peer is not None:
            self.on_credit_sent(end.host, end.peer.host.name, frame)

    # At the end.

    def on_rest(self, hosts: list[Host]) -> None:
        """Everything has settled, once, and nothing is left."""
        for transfer in self.transfers.values():
            if not transfer.origin.alive:
                continue
            if transfer.outcome is None:
                raise Violation(f"{transfer} has not settled")
            if transfer.kind is StreamKind.REQUEST:
                ends = transfer.replies + (transfer.request_error is not None)
                if ends != 1:
                    raise Violation(f"{transfer} has {transfer.replies} replies and error {transfer.request_error!r}")
            if not transfer.excuses and transfer.outcome != "":
                raise Violation(f"{transfer} failed: {transfer.outcome!r}")
        for host in hosts:
            stats = host.core.stats()
            demand(stats.sends == (), f"{host.name} still sends {stats.sends}")
            demand(stats.receives == (), f"{host.name} still receives {stats.receives}")
            demand(host.core.open_sends() == 0, f"{host.name} still waits for {host.core.open_sends()} requests")
            for receipt in host.receipts.values():
                if not (receipt.finished or receipt.failed):
                    raise Violation(f"{receipt.transfer} has no end at its target")


def _is_denied(host: Host, transfer: Transfer) -> bool:
    """Return whether the policy of a target, as it is now, does not let somebody send it something."""
    rules, kind = host.rules, transfer.kind
    if rules is None or kind is StreamKind.REPLY:
        return False
    return bool(rules.fault_in_sending(transfer.origin.name, host.name, "c", "t", kind, False))
