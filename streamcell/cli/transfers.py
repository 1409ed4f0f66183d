"""The work of ``send``: some files at a time, each until its receiver has it. Imports the public classes."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import time
from collections.abc import Iterable, Iterator

from streamcell.cli.sources import Source
from streamcell.cli.views import Result, View
from streamcell.daemon.conventions import FILE_CHANNEL
from streamcell.errors import CellError, ErrorCode
from streamcell.future import StreamFuture
from streamcell.stream_cell import StreamCell

# Small files wait for a round trip and a disk each; meanwhile the next ones are on their way.
AT_A_TIME = 4
_REFRESH_S = 0.1
# Between two tries to send to a receiver that is about to end.
_TRY_AGAIN_S = 1.0


@dataclasses.dataclass(slots=True)
class _Try:
    """A file that is being sent, or waits to be sent again."""

    source: Source
    begun_at: float
    #: When the receiver first said that it is ending; None: it has not, since bytes last moved.
    refused_at: float | None = None
    not_before: float = 0.0


class Transfers:
    """Sends files.

    Args:
        cell: on which.
        target: the cell that they go to.
        view: shows them.
        digest: compare a SHA-256 of the whole as well.
        wait_s: how long a receiver may be out of reach, or say that it is ending, before the first byte or between two.
    """

    def __init__(self, cell: StreamCell, target: str, view: View, *, digest: bool, wait_s: float) -> None:
        self._cell = cell
        self._target = target
        self._view = view
        self._digest = "sha256" if digest else ""
        self._wait_s = wait_s
        self._running: dict[StreamFuture, _Try] = {}
        self._again: collections.deque[_Try] = collections.deque()
        #: What failed, in order.
        self.errors: list[CellError | OSError] = []
        self.files = 0
        #: Those without files.
        self.folders = 0
        #: Of complete files.
        self.bytes = 0
        #: Of these, the bytes that have travelled now.
        self.sent_bytes = 0

    def run(self, sources: Iterable[Source]) -> None:
        """Send all of them; what failed is in ``errors``. Interrupted, it cancels what runs."""
        waiting = iter(sources)
        try:
            more = True
            while more or self._running or self._again:
                more = self._fill(waiting) if more else False
                self._start_again()
                concurrent.futures.wait(self._running, _REFRESH_S, concurrent.futures.FIRST_COMPLETED)
                for future in [future for future in self._running if future.done()]:
                    self._settle(future, self._running.pop(future))
                self._view.refresh()
        finally:
            for future in self._running:
                future.cancel()

    def _fill(self, waiting: Iterator[Source]) -> bool:
        """Begin as many as may run; return whether there are more."""
        while len(self._running) + len(self._again) < AT_A_TIME:
            source = next(waiting, None)
            if source is None:
                return False
            self._begin(_Try(source, time.monotonic()))
        return True

    def _start_again(self) -> None:
        now = time.monotonic()
        for _ in range(len(self._again)):
            attempt = self._again.popleft()
            if attempt.not_before <= now:
                self._begin(attempt)
            else:
                self._again.append(attempt)
        if self._again and not self._running:
            time.sleep(_REFRESH_S)

    def _begin(self, attempt: _Try) -> None:
        source = attempt.source
        try:
            message = source.open()
        except OSError as error:
            self._fail(attempt, None, f"it cannot be read: {error.strerror}", error)
            return
        future = self._cell.send_stream(
            FILE_CHANNEL,
            source.topic,
            self._target,
            message,
            resume_id=source.resume_id,
            digest=self._digest,
            unreachable_timeout=self._wait_s,
        )
        self._running[future] = attempt
        self._view.start(source.shown_name, future)

    def _settle(self, future: StreamFuture, attempt: _Try) -> None:
        error = future.exception()
        if error is None:
            result = self._result(attempt, future, future.result(), future.result())
            if attempt.source.is_folder:
                self.folders += 1
            else:
                self.files += 1
            self.bytes += result.size_bytes
            self.sent_bytes += result.sent_bytes
            self._view.end(future, result)
        elif not isinstance(error, CellError):
            raise error
        elif not self._try_again(future, attempt, error):
            self._fail(attempt, future, self._sentence(attempt.source, error), error)

    def _sentence(self, source: Source, error: CellError) -> str:
        """Return what went wrong in the words of those who run cells, not of those who program them."""
        if error.code is not ErrorCode.NO_CALLBACK:
            return error.sentence
        if source.is_folder:
            return f"{self._target} takes no folders without files: start it with --inbox DIR, in this version or later"
        return f"{self._target} takes no files: start it with --inbox DIR"

    def _try_again(self, future: StreamFuture, attempt: _Try, error: CellError) -> bool:
        """Send a file again whose receiver is ending, perhaps to be updated; return False if there is no point."""
        if error.code is not ErrorCode.STOPPING or not attempt.source.resume_id:
            return False
        now = time.monotonic()
        if attempt.refused_at is None or future.get_progress():
            attempt.refused_at = now
        if now - attempt.refused_at > self._wait_s:
            return False
        attempt.not_before = now + _TRY_AGAIN_S
        self._again.append(attempt)
        self._view.drop(future)
        self._view.note(f"{attempt.source.shown_name}: {self._target} is stopping; trying again")
        return True

    def _fail(self, attempt: _Try, future: StreamFuture | None, sentence: str, error: CellError | OSError) -> None:
        self.errors.append(error)
        received = 0 if future is None else future.get_progress()
        result = self._result(attempt, future, attempt.source.size_bytes or 0, received)
        self._view.end(future, dataclasses.replace(result, error=sentence))

    def _result(self, attempt: _Try, future: StreamFuture | None, size_bytes: int, received: int) -> Result:
        resumed_at = 0 if future is None else future.resumed_at
        seconds = time.monotonic() - attempt.begun_at
        return Result(
            attempt.source.shown_name, size_bytes, max(0, received - resumed_at), resumed_at, seconds, self._target
        )
