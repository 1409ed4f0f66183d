"""The work of ``recv``: counting files that arrive, or copying one to standard output."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from streamcell.cli.streams import OUTPUT, write_all
from streamcell.cli.views import Result, View
from streamcell.core_cell import CoreCell
from streamcell.daemon.conventions import FILE_CHANNEL, FILE_TOPIC
from streamcell.daemon.names import shown
from streamcell.errors import CellError, StreamRejected
from streamcell.future import StreamFuture
from streamcell.stream import ReceivedStream
from streamcell.stream_cell import StreamCell


class ViewWatcher:
    """Shows files that arrive; sets ``end`` after the ``count``-th. A watcher of an inbox."""

    def __init__(self, view: View, count: int, end: threading.Event) -> None:
        self._view = view
        self._left = count
        self._end = end
        self._lock = threading.Lock()
        self._begun: dict[StreamFuture, float] = {}

    def on_started(self, name: str, future: StreamFuture) -> None:
        """Show it."""
        self._begun[future] = time.monotonic()
        self._view.start(shown(name), future)

    def on_arrived(self, name: str, future: StreamFuture, path: Path) -> None:
        """Count it, and show where it is."""
        with self._lock:
            self._left -= 1
            if self._left == 0:
                self._end.set()
        self._view.end(future, self._result(name, future, path=str(path)))

    def on_folder(self, name: str, future: StreamFuture, path: Path) -> None:
        """Show where it is. It is no file, and not counted."""
        self._view.end(future, self._result(f"{name}/", future, path=f"{path}/"))

    def on_failed(self, name: str, future: StreamFuture, sentence: str) -> None:
        """Show why."""
        self._view.end(future, self._result(name, future, error=sentence))

    def _result(self, name: str, future: StreamFuture, *, path: str = "", error: str = "") -> Result:
        now = time.monotonic()
        size, resumed_at = future.get_progress(), future.resumed_at
        sent, seconds = max(0, size - resumed_at), now - self._begun.pop(future, now)
        return Result(name, size, sent, resumed_at, seconds, future.origin, path, error)


class OutputReceiver:
    """Copies the first stream that arrives to standard output, then sets ``end``."""

    def __init__(self, end: threading.Event) -> None:
        self._end = end
        self._lock = threading.Lock()
        self._taken = False
        #: Whether all of it was written.
        self.complete = False
        #: Why not, in a sentence.
        self.error = ""

    def register(self, cell: CoreCell) -> None:
        """Receive what is sent to ``cell`` as a file."""
        StreamCell(cell).register_stream_cb(FILE_CHANNEL, FILE_TOPIC, self.receive)

    def receive(self, _future: StreamFuture, stream: ReceivedStream, _resume: bool) -> None:
        """Copy it; a stream callback."""
        with self._lock:
            if self._taken:
                raise StreamRejected("standard output takes one file only: receive into a folder instead")
            self._taken = True
        try:
            self._copy(stream)
            self.complete = True
        except CellError as error:
            self.error = error.sentence
            raise
        except OSError as error:
            self.error = f"standard output cannot be written to: {error.strerror}"
            raise StreamRejected(self.error) from error
        finally:
            self._end.set()

    def _copy(self, stream: ReceivedStream) -> None:
        for piece in stream.pieces():
            write_all(OUTPUT, piece)
