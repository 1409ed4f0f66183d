"""What applications mean to do: transfers drawn by chance, and what each may truthfully fail with."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable

from streamcell.errors import ErrorCode
from streamcell.limits import KIB
from streamcell.protocol.wire.description import StreamKind
from tests.simulation.host import Host, digest_of
from tests.simulation.transfers import Data, Reading, Receipt, Source, Transfer

# Longer than a history in virtual time, so that no timeout is an excuse; and short enough that it often is one.
PATIENT_S = 2000.0
HASTY_S = 8.0
# A target that holds a stream shows life so often, and then hears of a new life of an origin that is no neighbour.
LIFE_SIGN_S = PATIENT_S / 4
SIZES = (0, 1, 1000, 40 * KIB, 100 * KIB, 300 * KIB, 700 * KIB)
_DATA = random.Random(0).randbytes(2_000_000)


class Plans:
    """Draws transfers."""

    def __init__(self, chance: random.Random) -> None:
        self.random = chance
        self._names = 0

    def transfer(self, origin: Host, target: str) -> Transfer:
        """Draw a transfer of any kind."""
        kind = self.random.choice([StreamKind.STREAM, StreamKind.STREAM, StreamKind.BLOB, StreamKind.REQUEST])
        data = self.data(self.random.choice(SIZES))
        transfer = Transfer(
            origin,
            target,
            kind,
            data,
            None if self.random.random() < 0.3 else len(data),
            self.source(len(data), kind),
            self.reading(kind),
        )
        transfer.retry_unknown = self.random.random() < 0.1
        if kind is StreamKind.STREAM and self.random.random() < 0.4:
            self._name(transfer)
        elif kind is StreamKind.STREAM:
            transfer.flawed = self.random.random() < 0.1
        self._excuse_plan(transfer)
        return transfer

    def again(self, transfer: Transfer, origin: Host) -> Transfer:
        """Draw what a new life of the origin sends under the same name: now and then from another source."""
        same = self.random.random() < 0.8
        size = len(transfer.data)
        data = transfer.data if same else self.data(self.random.choice([size, size // 2]))
        again = Transfer(
            origin,
            transfer.target,
            transfer.kind,
            data,
            None if transfer.declared is None else len(data),
            self.source(len(data), transfer.kind),
            self.reading(transfer.kind),
            name=transfer.name,
        )
        _show_source(again, stamp=bool(transfer.stamp), digest=bool(transfer.digest))
        self._excuse_plan(again)
        if not again.source.seekable:
            again.excuse(ErrorCode.RESUME)
        return again

    def reply(self, replier: Host, request: Transfer) -> Transfer:
        """Draw the reply to a request."""
        data = self.data(self.random.choice(SIZES[:5]))
        reply = Transfer(
            replier, request.origin.name, StreamKind.REPLY, data, len(data), Source(max(1, len(data))), Reading.EAGER
        )
        # Whoever gives up the request has no use for the reply, nor has a life that did not ask.
        reply.excuse(ErrorCode.CANCELLED)
        reply.excuses |= request.excuses
        reply.answers = request
        reply.retry_unknown = True
        return reply

    def data(self, size: int) -> Data:
        """Draw some bytes."""
        start = self.random.randrange(len(_DATA) - size)
        return Data(_DATA, start, size)

    def source(self, size: int, kind: StreamKind) -> Source:
        """Draw how the bytes are given."""
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
        self._names += 1
        transfer.name = f"name-{self._names}"
        _show_source(transfer, stamp=self.random.random() < 0.7, digest=self.random.random() < 0.3)

    def reading(self, kind: StreamKind) -> Reading:
        """Draw how the bytes are read."""
        if kind is not StreamKind.STREAM:
            return Reading.REFUSES if self.random.random() < 0.05 else Reading.EAGER
        return self.random.choices(list(Reading), [10, 4, 2, 1, 3, 1])[0]

    def _excuse_plan(self, transfer: Transfer) -> None:
        """Take note of what its own plan lets a transfer fail with."""
        if self.random.random() < 0.04:
            transfer.declared = len(transfer.data) + self.random.choice([-1, 1, 100_000])
            if transfer.declared < 0:
                transfer.declared = 1
            transfer.excuse(ErrorCode.INTEGRITY)
        if transfer.flawed:
            transfer.excuse(ErrorCode.INTEGRITY)
        if transfer.source.fails:
            transfer.excuse(ErrorCode.SOURCE)
        if transfer.reading is Reading.REFUSES:
            transfer.excuse(ErrorCode.REJECTED)
        elif transfer.reading is Reading.CLOSES:
            transfer.excuse(ErrorCode.CANCELLED)


def _show_source(transfer: Transfer, *, stamp: bool, digest: bool) -> None:
    found = digest_of(transfer.data[:])
    transfer.stamp = found.text.encode() if stamp else b""
    transfer.digest = found if digest else None


def excuse_restart(transfer: Transfer) -> None:
    """A stream goes on, if its source can; what is delivered whole may have been delivered."""
    transfer.disturbed = True
    if transfer.kind is not StreamKind.STREAM:
        transfer.excuse(ErrorCode.OUTCOME_UNKNOWN)
    elif not transfer.source.seekable:
        transfer.excuse(ErrorCode.RESUME)
    excuse_silence(transfer)


def excuse_rules(transfer: Transfer) -> None:
    """It may be denied, or its reply; and if that is told when all was sent, it may have been delivered."""
    transfer.excuse(ErrorCode.AUTHENTICATION, ErrorCode.OUTCOME_UNKNOWN)
    excuse_silence(transfer)


def waits_for_dead(receipts: Iterable[Receipt], neighbours: Collection[str]) -> bool:
    """Return whether memory for requests and replies is held by a life that is over, and was no neighbour's."""
    return any(
        receipt.admitted
        and not (receipt.finished or receipt.failed)
        and receipt.transfer.kind in (StreamKind.REQUEST, StreamKind.REPLY)
        and not receipt.transfer.origin.alive
        and receipt.transfer.origin.name not in neighbours
        for receipt in receipts
    )


def excuse_silence(transfer: Transfer) -> None:
    """A request may wait in vain for a reply that is gone."""
    request = transfer if transfer.answers is None else transfer.answers
    if request.kind is StreamKind.REQUEST:
        request.excuse(ErrorCode.TIMEOUT, ErrorCode.UNREACHABLE)
