"""One source for several transfers: read once for all that keep up.

Each transfer has a :class:`SharedReader`, which is its source. What one of them reads first is kept until all have it,
or until that would be more than a window. Then the slowest are left behind: they re-read a source that can seek, each
for itself, and join the others again when they have caught up. A source that cannot seek is read no further until the
slowest has moved; then the threads of the others wait, which is why the readers of one source have a pool of their own.
They wait no longer when their transfer has ended.
"""

from __future__ import annotations

import bisect
import io
import logging
import threading
from collections.abc import Callable

from streamcell.errors import StreamUsageError
from streamcell.runtime.sending.payloads import flatten_buffer
from streamcell.runtime.sending.sources import Interruptible, Source
from streamcell.runtime.threads.callbacks import call_user_code
from streamcell.runtime.threads.trace import CellLog


class SharedSource:
    """Reads a source for several transfers, and closes it when the last of them has ended.

    The source is used by one thread at a time. What it raises is raised to every reader that comes to that point.

    Args:
        source: the application's stream. Offsets count from where it stands now.
        count: how many readers there are.
        window_bytes: how much is kept for those that are behind.
        log: gets what the source raises, at DEBUG: each transfer reports it as well.
        on_closed: called once, after the source was closed.
    """

    def __init__(
        self,
        source: Source,
        count: int,
        window_bytes: int,
        log: CellLog,
        on_closed: Callable[[], None],
    ) -> None:
        self._source = source
        self._base = source.get_pos()
        self._window_bytes = window_bytes
        self._log = log
        self._on_closed = on_closed
        # Guards everything below; notified after each change that somebody may wait for.
        self._changed = threading.Condition()
        self.readers = [SharedReader(self) for _ in range(count)]
        self._open = set(self.readers)
        # Those whose transfer has ended, while a thread may still be reading for them.
        self._leaving: set[SharedReader] = set()
        # The bytes from _start to _end as they came, with the offset of each piece.
        self._pieces: list[bytes] = []
        self._offsets: list[int] = []
        self._start = self._end = 0
        # What lies at _end when no bytes do.
        self._ended = False
        self._error: BaseException | None = None
        # Whether a thread reads the source, and at which offset the source stands (None: it raised).
        self._busy = False
        self._source_at: int | None = 0
        # Found out before the first read: it may block.
        self._can_seek = False

    def read(self, reader: SharedReader, size: int) -> bytes:
        """Return the next bytes for ``reader``; empty at the end, and once it is leaving.

        Raises:
            Exception: whatever the source raised there.
        """
        while True:
            with self._changed:
                if reader in self._leaving:
                    return b""
                offset = reader.position
                if self._start <= offset < self._end:
                    return self._advance(reader, self._kept(offset, size))
                if offset == self._end and self._error is not None:
                    raise self._error
                if offset == self._end and self._ended:
                    return b""
                if self._busy or (offset == self._end and not self._make_room(size)):
                    self._changed.wait()
                    continue
                self._busy = True
            piece, error = self._fetch(offset, size)
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                if offset == self._end:
                    self._keep(piece, error)
                elif error is not None:
                    raise error
                else:
                    return self._advance(reader, piece)

    def seek(self, reader: SharedReader, offset: int) -> None:
        """Have ``reader`` go on at ``offset``.

        Raises:
            io.UnsupportedOperation: those bytes are not kept any more, and the source cannot go back to them.
        """
        with self._changed:
            if not (self._can_seek or self._start <= offset <= self._end):
                raise io.UnsupportedOperation(f"the source cannot go to {offset}")
            reader.position = offset
            self._changed.notify_all()

    def interrupt(self, reader: SharedReader) -> None:
        """Take note that ``reader`` will leave; once all will, do not wait for the source any longer."""
        with self._changed:
            self._leaving.add(reader)
            self._changed.notify_all()
            if not self._open <= self._leaving:
                return
        if isinstance(self._source, Interruptible):
            self._source.interrupt()

    def leave(self, reader: SharedReader) -> None:
        """Read no more for ``reader``."""
        with self._changed:
            self._open.discard(reader)
            self._changed.notify_all()
            interrupted = bool(self._open) and self._open <= self._leaving
            ended = not self._open
        if interrupted and isinstance(self._source, Interruptible):
            self._source.interrupt()
        if ended:
            self._source.close()
            self._on_closed()

    def _fetch(self, offset: int, size: int) -> tuple[bytes, BaseException | None]:
        """Read the source at ``offset``, in the one thread that may."""
        if self._end == 0 and not self._can_seek:
            self._can_seek = self._seek_source(0) is None
        if self._source_at != offset:
            error = self._seek_source(offset)
            if error is not None:
                self._source_at = None
                return b"", error
        given, error = call_user_code(self._log, logging.DEBUG, "reading a shared source", self._source.read, size)
        self._source_at = None
        if error is not None:
            return b"", error
        try:
            piece = given if isinstance(given, bytes) else bytes(flatten_buffer(given))
        except StreamUsageError as wrong:
            return b"", wrong
        if len(piece) > size:
            return b"", StreamUsageError(
                f"the source returned {len(piece)} bytes from read({size}): return at most as many as asked for"
            )
        self._source_at = offset + len(piece)
        return piece, None

    def _seek_source(self, offset: int) -> BaseException | None:
        what = "seeking in a shared source"
        return call_user_code(self._log, logging.DEBUG, what, self._source.seek, self._base + offset)[1]

    # --- with the lock held

    def _keep(self, piece: bytes, error: BaseException | None) -> None:
        """Append what lies at the end."""
        self._error = error
        self._ended = error is None and not piece
        if piece:
            self._pieces.append(piece)
            self._offsets.append(self._end)
            self._end += len(piece)

    def _kept(self, offset: int, size: int) -> bytes:
        """Return up to ``size`` of the bytes at ``offset``, which are kept."""
        index = bisect.bisect_right(self._offsets, offset) - 1
        first = offset - self._offsets[index]
        return self._pieces[index][first : first + size]

    def _advance(self, reader: SharedReader, piece: bytes) -> bytes:
        reader.position += len(piece)
        self._drop_below(self._slowest())
        self._changed.notify_all()
        return piece

    def _slowest(self) -> int:
        """Return the lowest offset that is wanted. Below what is kept, if somebody was left behind, to catch up."""
        return min((each.position for each in self._open), default=self._end)

    def _make_room(self, size: int) -> bool:
        """Return whether ``size`` more bytes may be kept, leaving behind who is too slow if the source can seek."""
        excess = self._end - self._start + size - self._window_bytes
        if excess <= 0 or not self._pieces:
            return True
        if self._can_seek:
            self._drop_below(self._start + excess)
        else:
            self._drop_below(self._slowest())
        return not self._pieces or self._end - self._start + size <= self._window_bytes or self._can_seek

    def _drop_below(self, offset: int) -> None:
        """Forget the pieces that lie wholly below ``offset``."""
        count = bisect.bisect_right(self._offsets, offset) - 1 if offset < self._end else len(self._pieces)
        if count > 0:
            del self._pieces[:count], self._offsets[:count]
            self._start = self._offsets[0] if self._offsets else self._end


class SharedReader(Interruptible):
    """What one transfer reads: the source of a :class:`SharedSource` as if it were its own."""

    def __init__(self, shared: SharedSource) -> None:
        self._shared = shared
        #: The offset of what ``read`` returns next. Changed by the shared source.
        self.position = 0

    def read(self, size: int) -> bytes:
        """Return 1 to ``size`` bytes; empty at the end. Blocks while the source does, or while others lag behind."""
        return self._shared.read(self, size)

    def get_pos(self) -> int:
        """Return the offset of what ``read`` returns next, from where the source stood when it was shared."""
        return self.position

    def seek(self, offset: int) -> None:
        """Go to ``offset``."""
        self._shared.seek(self, offset)

    def interrupt(self) -> None:
        """Wait no longer for the source, unless others do."""
        self._shared.interrupt(self)

    def close(self) -> None:
        """Leave the others; the last one closes the source."""
        self._shared.leave(self)
