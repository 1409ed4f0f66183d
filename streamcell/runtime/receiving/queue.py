"""The pieces of a received stream, between the engine and the thread that reads.

The bound is the credit that the core has given for the stream: the engine puts what the sender was allowed to send, and
credit is extended only by what :meth:`ReceiveQueue.take` has handed out. So nothing here waits on the engine's side.
"""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable
from typing import Protocol

from streamcell.digest import Digest, Hasher
from streamcell.errors import CellError, StreamIntegrityError
from streamcell.limits import KIB
from streamcell.protocol.wire.frames import Payload
from streamcell.runtime.engine.fork import Birthplace
from streamcell.runtime.threads.clock import Clock, monotonic
from streamcell.runtime.threads.waiting import check_may_wait

# Telling the engine costs as much as copying this many bytes, and credit comes in steps of some chunks anyway.
REPORT_BYTES = 64 * KIB
# Less than that is told after this time, and whatever is told then is urgent: a reader that takes little is slow, and
# must not look as if it took nothing.
REPORT_S = 0.05


class QueueOwner(Protocol):
    """What the queue tells. Called in the reading thread or on the engine, without a lock; none of it blocks."""

    def on_consumed(self, offset: int, *, urgent: bool) -> None:
        """Every byte below ``offset`` was handed out. If it is not ``urgent``, it may be told with the next news."""

    def on_end_reached(self, size_bytes: int) -> None:
        """The last byte was handed out and all are as the sender says. Comes once, instead of ``on_corrupt``."""

    def on_corrupt(self, error: StreamIntegrityError) -> None:
        """All bytes were handed out, and they are not what the sender has sent."""

    def on_closed(self, offset: int) -> None:
        """The reader closed the queue behind ``offset``. Comes once; the end may be reached later all the same."""


class ReceiveQueue:
    """Pieces in order. One thread reads at a time; the engine writes; ``close`` may be called in any thread.

    The end is reached when the last byte was handed out and the end is known; also if the queue was closed in between,
    since only then the digest can be judged. A failure is raised after what arrived before it was handed out, a
    discarding one at once, and then again by every further ``take``. Of end and failure the first one counts.
    """

    def __init__(self, owner: QueueOwner, hashing: bool, clock: Clock = monotonic) -> None:
        self._owner = owner
        self._clock = clock
        self._hash = Hasher() if hashing else None
        # Reentrant, because a stream that is collected as garbage closes its queue from anywhere.
        self._changed = threading.Condition(threading.RLock())
        self._pieces: collections.deque[Payload] = collections.deque()
        # How much of the first piece is handed out.
        self._head = 0
        self._reported = 0
        self._reported_at = clock()
        self._birthplace = Birthplace()
        # What is worth waking the engine for, and up to where and when it was woken.
        self._urgent_bytes = 0
        self._urged = 0
        self._urged_at = self._reported_at
        self._size: int | None = None
        self._digest: Digest | None = None
        self._error: CellError | None = None
        self._closed = False
        self._ended = False
        self._on_ready: Callable[[], None] | None = None
        #: The offset behind the last byte handed out.
        self.position = 0
        #: Whether the bytes of the whole stream were compared with the sender's digest, and are right.
        self.digest_checked = False

    # --- the engine's side

    def start_at(self, offset: int, prefix: Hasher | None) -> None:
        """Begin at ``offset``, before anything is put.

        Args:
            offset: the offset of the first byte.
            prefix: the hash of what lies below. Without it the digest of a stream that begins above 0 is not checked.
        """
        with self._changed:
            self.position = self._reported = self._urged = offset
            if self._hash is not None and offset > 0:
                self._hash = prefix

    def put(self, piece: Payload, urgent_bytes: int = 0) -> None:
        """Append the next bytes.

        Args:
            piece: the bytes.
            urgent_bytes: how much more must be handed out until that is urgent news.
        """
        with self._changed:
            self._urgent_bytes = urgent_bytes
            # An empty piece would look like the end.
            if self._closed or not len(piece):
                return
            self._pieces.append(piece)
            self._wake()

    def end(self, size_bytes: int, digest: Digest | None) -> None:
        """Say that all pieces were put, and what the sender says of them, if anything."""
        with self._changed:
            self._size = size_bytes
            self._digest = digest
            # Before the reader can see the end: it is none if the digest is wrong.
            reached = self._reach_end()
            self._wake()
        self._tell_end(reached)

    def fail(self, error: CellError, discard: bool) -> CellError | None:
        """Say that no more will come; with ``discard``, what was not read is not to be read.

        Returns:
            What the stream has failed with, now or before; None if the end was reached before.
        """
        with self._changed:
            if not self._ended and self._error is None:
                self._error = error
                if discard:
                    self._pieces.clear()
                self._wake()
            return self._error

    # --- the reader's side

    @property
    def closed(self) -> bool:
        """Whether the reader has closed the queue."""
        return self._closed

    @property
    def error(self) -> CellError | None:
        """What the stream failed with, and reading raises."""
        return self._error

    @property
    def waiting(self) -> int:
        """Pieces that were not yet handed out completely."""
        return len(self._pieces)

    def take(self, limit: int, *, wait: bool = True) -> Payload | None:
        """Return the next 1 to ``limit`` bytes as soon as there are any, as part of one piece; empty at the end.

        Args:
            limit: most bytes to return, at least 1.
            wait: whether to wait; if not, None is returned when there is nothing yet.

        Raises:
            CellError: the stream failed, and what arrived before was handed out.
            ValueError: the queue is closed.
        """
        with self._changed:
            if not self._await_piece(wait):
                return None
            if not self._pieces:
                return b""
            piece = self._split(min(limit, len(self._pieces[0]) - self._head))
        self._account(piece)
        return piece

    def take_line_part(self, limit: int) -> bytes:
        """As :meth:`take`, waiting, but stop behind the first newline."""
        with self._changed:
            self._await_piece(wait=True)
            if not self._pieces:
                return b""
            # A view cannot be searched.
            head = self._pieces[0] = bytes(self._pieces[0])
            newline = head.find(b"\n", self._head, self._head + limit)
            end = newline + 1 if newline >= 0 else min(len(head), self._head + limit)
            piece = bytes(self._split(end - self._head))
        self._account(piece)
        return piece

    def call_when_ready(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` once, in any thread, when ``take`` would not wait: at once if it would not now."""
        with self._changed:
            if not self._would_wait():
                callback()
            else:
                self._on_ready = callback

    def close(self) -> None:
        """Drop what was not read. A ``take`` that waits raises ValueError. May be called again."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._pieces.clear()
            self._wake()
        # Later it stays as it is.
        self._owner.on_closed(self.position)

    # --- inside

    def _would_wait(self) -> bool:
        return not (self._pieces or self._closed or self._error or self._size is not None)

    def _await_piece(self, wait: bool) -> bool:
        """Return whether there is a piece or the end; False only without ``wait``."""
        while self._would_wait():
            if not wait:
                return False
            self._birthplace.check()
            check_may_wait()
            self._changed.wait()
        if self._closed:
            raise ValueError("I/O operation on a closed stream")
        if not self._pieces and self._error is not None:
            raise self._error
        return True

    def _split(self, size: int) -> Payload:
        """Take ``size`` bytes off the first piece."""
        head = self._pieces[0]
        start, end = self._head, self._head + size
        if end == len(head):
            self._pieces.popleft()
            self._head = 0
            return head if not start else memoryview(head)[start:]
        self._head = end
        return memoryview(head)[start:end]

    def _account(self, piece: Payload) -> None:
        if self._hash is not None:
            self._hash.update(piece)
        with self._changed:
            if self._closed:
                # Another thread was faster, and has said where: this piece does not count.
                return
            self.position += len(piece)
            empty = not self._pieces
            position, last = self.position, self.position == self._size
            due = position - self._reported
        if last:
            with self._changed:
                reached = self._reach_end()
            self._tell_end(reached)
        elif due:
            now = self._clock()
            if due >= REPORT_BYTES or empty or now - self._reported_at >= REPORT_S:
                self._report(position, now)

    def _report(self, position: int, now: float) -> None:
        self._reported, self._reported_at = position, now
        urgent = position - self._urged >= self._urgent_bytes or now - self._urged_at >= REPORT_S
        if urgent:
            self._urged, self._urged_at = position, now
        self._owner.on_consumed(position, urgent=urgent)

    def _reach_end(self) -> bool:
        """Take note of the end if it is reached; by either side, because either may be the one to complete it."""
        if self._ended or self._error or self.position != self._size:
            return False
        if self._hash is not None and self._digest is not None:
            found = self._hash.digest()
            self.digest_checked = self._digest.matches(found)
            if not self.digest_checked:
                self._error = wrong_digest(found, self._digest)
        self._ended = self._error is None
        return True

    def _tell_end(self, reached: bool) -> None:
        if not reached:
            return
        if isinstance(self._error, StreamIntegrityError):
            self._owner.on_corrupt(self._error)
        else:
            self._owner.on_end_reached(self.position)

    def _wake(self) -> None:
        self._changed.notify_all()
        callback, self._on_ready = self._on_ready, None
        if callback is not None:
            callback()


def wrong_digest(found: Digest, said: Digest) -> StreamIntegrityError:
    """Return what a transfer fails with when its bytes are not what the sender sent."""
    return StreamIntegrityError(
        f"the bytes received have the digest {found}, the sender says {said}: the source changed "
        "while it was sent, or its digest was given wrongly"
    )
