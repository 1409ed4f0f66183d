"""Reading what is to be sent, ahead and in threads that may block. Imports values and siblings."""

from __future__ import annotations

import enum
import hashlib
import threading
from typing import Any, Protocol

from streamcell.errors import CellError, ErrorCode, Fault, StreamError, StreamUsageError
from streamcell.protocol.frames import Payload
from streamcell.runtime.callbacks import call_user_code, raised_sentence
from streamcell.runtime.payloads import flatten_buffer
from streamcell.runtime.trace import CellLog
from streamcell.runtime.workers import WorkerPool


class Source(Protocol):
    """What is read from: the application's ``Stream``."""

    def read(self, size: int) -> Any:
        """Return 1 to ``size`` bytes as anything with the buffer protocol; empty at the end. May block."""

    def close(self) -> Any:
        """Release what the source holds. Called once, in another thread than ``read`` perhaps, never during it."""


class SourceOwner(Protocol):
    """What a reader tells, in a thread of the pool; none of it blocks."""

    def on_piece(self, piece: bytes) -> None:
        """The next bytes of the source, never empty."""

    def on_end(self, digest: str) -> None:
        """The source has ended. ``digest`` is ``sha256:HEX`` if it was asked for, else empty."""

    def on_source_failed(self, error: CellError) -> None:
        """The source raised, or broke the rules. What it gave before is good."""


class _State(enum.Enum):
    """What a reader does. The source is used by one thread at a time, because only READING and STOPPING own one.

    ========  =====================  =======================  ==================
    state     ``want``               the reading thread       ``stop``
    ========  =====================  =======================  ==================
    IDLE      READING, starts it                              STOPPED, closes
    READING                          allowance used up: IDLE  STOPPING
                                     end or failure: ENDED
    ENDED                                                     STOPPED, closes
    STOPPING                         after its read: STOPPED,
                                     closes
    STOPPED
    ========  =====================  =======================  ==================
    """

    IDLE = enum.auto()
    READING = enum.auto()
    ENDED = enum.auto()
    STOPPING = enum.auto()
    STOPPED = enum.auto()


class SourceReader:
    """Reads one source as far as it is told to, and closes it exactly once.

    While there is nothing to read it holds no thread. Each piece is handed on at once, as ``bytes`` that the source
    cannot change any more. ``want`` and ``stop`` may be called in any thread.
    """

    def __init__(
        self,
        source: Source,
        owner: SourceOwner,
        pool: WorkerPool,
        *,
        name: str,
        chunk_bytes: int,
        hashing: bool,
        failure_level: int,
        log: CellLog,
    ) -> None:
        self._source = source
        self._owner = owner
        self._pool = pool
        self._name = name
        self._chunk_bytes = chunk_bytes
        self._hash = hashlib.sha256() if hashing else None
        self._level = failure_level
        self._log = log
        self._lock = threading.Lock()
        self._state = _State.IDLE
        self._allowance = 0

    def want(self, size_bytes: int) -> None:
        """Read up to ``size_bytes`` from now on, in place of what is left of an earlier allowance."""
        with self._lock:
            self._allowance = size_bytes
            if self._state is not _State.IDLE:
                return
            self._state = _State.READING
        self._pool.submit(self._read_ahead)

    def stop(self) -> None:
        """Close the source, after a ``read`` that runs; nothing is told to the owner from now on."""
        with self._lock:
            if self._state is _State.READING:
                self._state = _State.STOPPING
            if self._state in {_State.STOPPING, _State.STOPPED}:
                return
            self._state = _State.STOPPED
        self._pool.submit(self._close)

    def _read_ahead(self) -> None:
        while (size := self._next_size()) > 0:
            self._hand_on(*self._read(size))

    def _next_size(self) -> int:
        """Return how much to read now; 0 when the thread is to go."""
        with self._lock:
            if self._state is _State.READING:
                if self._allowance > 0:
                    return min(self._allowance, self._chunk_bytes)
                self._state = _State.IDLE
            if self._state is not _State.STOPPING:
                return 0
            self._state = _State.STOPPED
        self._close()
        return 0

    def _read(self, size: int) -> tuple[bytes, CellError | None]:
        given, raised = call_user_code(self._log, self._level, self._name, self._source.read, size)
        if isinstance(raised, StreamUsageError):
            return b"", raised
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
        return piece, None

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
        if self._hash is not None:
            self._hash.update(piece)
        with self._lock:
            if self._state is not _State.READING:
                return
            self._allowance -= len(piece)
            if error is not None or not piece:
                self._state = _State.ENDED
        if error is not None:
            self._owner.on_source_failed(error)
        elif piece:
            self._owner.on_piece(piece)
        else:
            self._owner.on_end(f"sha256:{self._hash.hexdigest()}" if self._hash else "")

    def _close(self) -> None:
        call_user_code(self._log, self._level, f"closing {self._name}", self._source.close)
