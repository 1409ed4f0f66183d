"""Reading what is to be sent, ahead and in threads that may block."""

from __future__ import annotations

import abc
import enum
import logging
import threading
from typing import Any, NamedTuple, Protocol

from streamcell.digest import Digest, Hasher
from streamcell.errors import (
    CellError,
    ErrorCode,
    Fault,
    StreamError,
    StreamIntegrityError,
    StreamResumeError,
    StreamUsageError,
)
from streamcell.protocol.wire.frames import Payload
from streamcell.runtime.sending.payloads import flatten_buffer
from streamcell.runtime.threads.callbacks import call_user_code, copy_error, raised_sentence
from streamcell.runtime.threads.trace import CellLog
from streamcell.runtime.threads.workers import WorkerPool


class Source(Protocol):
    """What is read from: the application's ``Stream``."""

    def read(self, size: int) -> Any:
        """Return 1 to ``size`` bytes as anything with the buffer protocol; empty at the end. May block."""

    def get_pos(self) -> int:
        """Return where it stands, in its own count, which need not begin at 0."""

    def seek(self, offset: int) -> Any:
        """Go to a place in its own count, or raise. Called as ``read`` is."""

    def close(self) -> Any:
        """Release what the source holds. Called once, in another thread than ``read`` perhaps, never during it."""


class Interruptible(abc.ABC):
    """A source whose ``read`` can be told that nobody wants its bytes any more."""

    @abc.abstractmethod
    def interrupt(self) -> None:
        """Have a ``read`` that waits return, and any later one, with whatever. Called in any thread; never waits."""


class SourceOwner(Protocol):
    """What a reader tells, in a thread of the pool; none of it blocks."""

    def on_piece(self, piece: bytes) -> None:
        """The next bytes of the source, never empty."""

    def on_end(self, digest: Digest | None) -> None:
        """The source has ended. ``digest`` is of all that it gave, if that was asked for."""

    def on_source_moved(self, offset: int) -> None:
        """What ``seek`` asked for is done: the next piece begins at ``offset``, or at 0 if it does not fit there."""

    def on_source_stuck(self, error: CellError) -> None:
        """What ``seek`` asked for cannot be done."""

    def on_source_failed(self, error: CellError) -> None:
        """The source raised, or broke the rules. What it gave before is good."""


class _State(enum.Enum):
    """What a reader does. The source is used by one thread at a time, because only READING and STOPPING own one.

    ========  ===================  ===================  =======================  ==================
    state     ``want``             ``seek``             the reading thread       ``stop``
    ========  ===================  ===================  =======================  ==================
    IDLE      READING, starts it   READING, starts it                            STOPPED, closes
    READING                        after its read       nothing to do: IDLE      STOPPING
                                                        end or failure: ENDED
    ENDED                          READING, starts it                            STOPPED, closes
    STOPPING                                            after its read: STOPPED,
                                                        closes
    STOPPED
    ========  ===================  ===================  =======================  ==================
    """

    IDLE = enum.auto()
    READING = enum.auto()
    ENDED = enum.auto()
    STOPPING = enum.auto()
    STOPPED = enum.auto()


class _Seek(NamedTuple):
    """Where the source is to go, and the digest of what is to lie below, if that is to be compared."""

    offset: int
    prefix_digest: Digest | None


class SourceReader:
    """Reads one source as far as it is told to, and closes it exactly once.

    While there is nothing to read it holds no thread. Each piece is handed on at once, as ``bytes`` that the source
    cannot change any more. ``want``, ``seek`` and ``stop`` may be called in any thread.

    The digest is that of the whole stream, whatever is read again or passed over: bytes that were hashed are not hashed
    again, and those that were not are read for it.
    """

    def __init__(
        self,
        source: Source,
        owner: SourceOwner,
        pool: WorkerPool,
        *,
        name: str,
        size: int | None,
        chunk_bytes: int,
        hashing: bool,
        failure_level: int,
        log: CellLog,
    ) -> None:
        self._source = source
        self._owner = owner
        self._pool = pool
        self._name = name
        self._size = size
        self._chunk_bytes = chunk_bytes
        self._hash = Hasher() if hashing else None
        # In the count of the stream: where the source stands, how far it was read, and how far it was hashed.
        self._base = source.get_pos()
        self._position = 0
        self._reached = 0
        self._hashed = 0
        self._level = failure_level
        self._log = log
        self._lock = threading.Lock()
        self._state = _State.IDLE
        self._allowance = 0
        self._seek: _Seek | None = None
        # The thread that is in the source.
        self._thread = 0

    def want(self, size_bytes: int) -> None:
        """Read up to ``size_bytes`` from now on, in place of what is left of an earlier allowance."""
        with self._lock:
            self._allowance = size_bytes
            if self._state is not _State.IDLE:
                return
            self._state = _State.READING
        self._pool.submit(self._read_ahead)

    def seek(self, offset: int, prefix_digest: Digest | None) -> None:
        """Go to ``offset``, or to 0 if the source is shorter or another one below; what is read meanwhile is dropped.

        Args:
            offset: where the next piece is to begin.
            prefix_digest: of what is to lie below, if that is to be compared.
        """
        with self._lock:
            if self._state in {_State.STOPPING, _State.STOPPED}:
                return
            self._allowance = 0
            self._seek = _Seek(offset, prefix_digest)
            if self._state is _State.READING:
                return
            self._state = _State.READING
        self._pool.submit(self._read_ahead)

    def stop(self) -> None:
        """Close the source, after a ``read`` that runs; nothing is told to the owner from now on."""
        with self._lock:
            reading = self._state is _State.READING
            if reading:
                self._state = _State.STOPPING
            elif self._state in {_State.STOPPING, _State.STOPPED}:
                return
            else:
                self._state = _State.STOPPED
        if not reading:
            self._pool.submit(self._close)
        elif isinstance(self._source, Interruptible):
            self._source.interrupt()

    def is_used_here(self) -> bool:
        """Return whether this thread is in the source."""
        return self._thread == threading.get_ident()

    def _read_ahead(self) -> None:
        while (task := self._next_task()) is not None:
            self._thread = threading.get_ident()
            if isinstance(task, _Seek):
                moved = self._move(task)
                self._thread = 0
                self._tell_moved(*moved)
            else:
                piece = self._read(task)
                self._thread = 0
                self._hand_on(*piece)

    def _next_task(self) -> _Seek | int | None:
        """Return where to go, or how much to read, now; None when the thread is to go."""
        with self._lock:
            if self._state is _State.READING:
                if self._seek is not None:
                    seek, self._seek = self._seek, None
                    return seek
                if self._allowance > 0:
                    return min(self._allowance, self._chunk_bytes)
                self._state = _State.IDLE
            if self._state is not _State.STOPPING:
                return None
            self._state = _State.STOPPED
        self._close()
        return None

    def _read(self, size: int) -> tuple[bytes, CellError | None]:
        given, raised = call_user_code(self._log, self._level, self._name, self._source.read, size)
        if isinstance(raised, StreamUsageError):
            return b"", copy_error(StreamUsageError, self._name, raised)
        if isinstance(raised, StreamIntegrityError):
            return b"", copy_error(StreamIntegrityError, self._name, raised)
        if raised is not None:
            sentence = raised_sentence(self._name, raised)
            return b"", StreamError(sentence, ErrorCode.SOURCE, Fault.ORIGIN)
        try:
            piece = self._as_bytes(given)
        except StreamUsageError as error:
            return b"", error
        if len(piece) > size:
            return b"", StreamUsageError(
                f"{self._name} returned {len(piece)} bytes from read({size}): return at most as many as asked for"
            )
        self._note_read(piece)
        return piece, None

    def _note_read(self, piece: bytes) -> None:
        start = self._position
        self._position += len(piece)
        self._reached = max(self._reached, self._position)
        if self._hash is not None and self._position > self._hashed:
            self._hash.update(memoryview(piece)[self._hashed - start :])
            self._hashed = self._position

    def _as_bytes(self, given: Any) -> bytes:
        """Return what a read gave as bytes of our own: the source may reuse its buffer for the next read."""
        if isinstance(given, bytes):
            return given
        try:
            piece: Payload = flatten_buffer(given)
        except StreamUsageError as error:
            raise StreamUsageError(
                f"{self._name} returned a {type(given).__name__} from read(): return bytes, or "
                "anything else with the buffer protocol"
            ) from error
        return bytes(piece)

    def _hand_on(self, piece: bytes, error: CellError | None) -> None:
        """Tell the owner what a read has brought."""
        with self._lock:
            if self._state is not _State.READING or self._seek is not None:
                return
            self._allowance -= len(piece)
            if error is not None or not piece:
                self._state = _State.ENDED
        if error is not None:
            self._owner.on_source_failed(error)
        elif piece:
            self._owner.on_piece(piece)
        else:
            self._owner.on_end(None if self._hash is None else self._hash.digest())

    def _tell_moved(self, offset: int, error: CellError | None) -> None:
        """Tell the owner where the source stands now."""
        with self._lock:
            if self._state is not _State.READING:
                return
            if error is not None:
                self._state = _State.ENDED
        if error is not None:
            self._owner.on_source_stuck(error)
        else:
            self._owner.on_source_moved(offset)

    def _move(self, seek: _Seek) -> tuple[int, CellError | None]:
        """Return where the source stands in the end, or why it cannot go where it has to."""
        offset, prefix_digest = seek
        start = 0 if prefix_digest is not None else self._reading_start(offset)
        error = self._go_to(start)
        if isinstance(error, StreamResumeError) and self._position <= start:
            # What cannot seek can still be read up to there.
            start, error = self._position, None
        found = Hasher()
        while error is None and self._position < offset:
            piece, error = self._read(min(offset - self._position, self._chunk_bytes))
            if prefix_digest is not None:
                found.update(piece)
            if not piece:
                break
        agrees = prefix_digest is None or prefix_digest.matches(found.digest())
        fits = self._position == offset and agrees
        if error is None and not fits:
            offset, error = 0, self._go_to(0)
        return offset, error

    def _reading_start(self, offset: int) -> int:
        """Return from where on the source must be read up to ``offset``: to be hashed, or to see that it is as long."""
        start = offset
        if self._size is None:
            start = min(start, self._reached)
        if self._hash is not None:
            start = min(start, self._hashed)
        return start

    def _go_to(self, offset: int) -> CellError | None:
        if offset == self._position:
            return None
        what = f"seeking in {self._name}"
        _, raised = call_user_code(self._log, logging.DEBUG, what, self._source.seek, self._base + offset)
        if raised is None:
            self._position = offset
            return None
        if isinstance(raised, StreamIntegrityError):
            return copy_error(StreamIntegrityError, what, raised)
        return StreamResumeError(
            f"{self._name} cannot go from {self._position} to {offset}, where it is needed after a restart "
            f"({raised_sentence(what, raised)}): send something that can seek, such as a file",
            fault=Fault.ORIGIN,
        )

    def _close(self) -> None:
        call_user_code(self._log, self._level, f"closing {self._name}", self._source.close)
