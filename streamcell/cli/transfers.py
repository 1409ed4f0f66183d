"""The work of ``send``: some files at a time, each until its receiver has it."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import time
from collections.abc import Collection, Iterable, Sequence

from streamcell.cli.reach import ParentWatch
from streamcell.cli.sources import Sendable
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
# Of what is not delivered: a screen has only so many lines.
_NAMED = 3
_GIVEN_UP = "it was not delivered before the command was ended"


@dataclasses.dataclass(slots=True)
class _Try:
    """A file that is being sent, or waits to be sent again."""

    source: Sendable
    begun_at: float
    #: When the receiver first said that it is ending; None: it has not, since bytes last moved.
    refused_at: float | None = None
    not_before: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class Manner:
    """How files are sent.

    Attributes:
        digest: compare a SHA-256 of the whole as well.
        wait_s: how long a receiver may be out of reach, or say that it is ending, before the first byte or between two.
        secure: they are sealed from end to end.
        several: they go to more than one cell.
    """

    digest: bool
    wait_s: float
    secure: bool = False
    several: bool = False


class Transfers:
    """Sends files to one cell; :func:`run` does so until all have ended.

    Args:
        cell: on which.
        target: the cell that they go to.
        sources: what is to be sent.
        view: shows them.
        manner: how.
    """

    def __init__(self, cell: StreamCell, target: str, sources: Iterable[Sendable], view: View, manner: Manner) -> None:
        self._cell = cell
        self.target = target
        self._waiting = iter(sources)
        self._more = True
        self._why_no_more: tuple[str, CellError] | None = None
        self._view = view
        self._manner = manner
        self._running: dict[StreamFuture, _Try] = {}
        self._again: collections.deque[_Try] = collections.deque()
        # What was refused as one before it was, by the reason, and which one that was.
        self._alike: dict[str, tuple[str, list[Result]]] = {}
        #: What failed, in order.
        self.errors: list[CellError | OSError] = []
        self.files = 0
        #: Those without files.
        self.folders = 0
        #: Of complete files.
        self.bytes = 0
        #: Of these, the bytes that have travelled now.
        self.sent_bytes = 0

    @property
    def running(self) -> Collection[StreamFuture]:
        """What is on its way."""
        return self._running.keys()

    def advance(self) -> bool:
        """Settle what has ended and begin as many as may run; return whether anything is left to wait for."""
        for future in [future for future in self._running if future.done()]:
            self._settle(future, self._running.pop(future))
        self._start_again()
        while self._more and len(self._running) + len(self._again) < AT_A_TIME:
            source = next(self._waiting, None)
            if source is None:
                self._more = False
            else:
                self._begin(_Try(source, time.monotonic()))
        if self._more or self._running or self._again:
            return True
        self._leave_rest()
        return False

    def take(self, source: Sendable, future: StreamFuture) -> None:
        """Look after a file that is on its way here already, and cannot be sent again."""
        self._note_begun(_Try(source, time.monotonic()), future)

    def refuse(self, source: Sendable, error: OSError) -> None:
        """Show that a file cannot be opened."""
        self._fail_to_open(_Try(source, time.monotonic()), error)

    def cancel(self) -> None:
        """Give up what is on its way."""
        for future in self._running:
            future.cancel()

    def leave(self) -> None:
        """Give up, and show what is not delivered: what is on its way, waits to be sent again, or was not begun."""
        left: list[Sendable] = []
        for future, attempt in self._running.items():
            if future.cancel():
                self._view.drop(future)
                left.append(attempt.source)
            else:
                self._settle(future, attempt)
        left += [*(attempt.source for attempt in self._again), *self._waiting]
        self._running.clear()
        self._again.clear()
        self._leave_alike()
        if left:
            unsent = [dataclasses.replace(self._unsent(source), error=_GIVEN_UP) for source in left]
            self._view.leave(unsent, f"{self.target}: not delivered: {_few(unsent)}")

    def _start_again(self) -> None:
        now = time.monotonic()
        for _ in range(len(self._again)):
            attempt = self._again.popleft()
            if attempt.not_before <= now:
                self._begin(attempt)
            else:
                self._again.append(attempt)

    def _begin(self, attempt: _Try) -> None:
        source = attempt.source
        try:
            message = source.open()
        except OSError as error:
            self._fail_to_open(attempt, error)
            return
        future = self._cell.send_stream(
            FILE_CHANNEL,
            source.topic,
            self.target,
            message,
            self._manner.secure,
            resume_id=source.resume_id,
            digest=digest_name(self._manner),
            unreachable_timeout=self._manner.wait_s,
        )
        self._note_begun(attempt, future)

    def _note_begun(self, attempt: _Try, future: StreamFuture) -> None:
        self._running[future] = attempt
        name = attempt.source.shown_name
        self._view.start(f"{name} to {self.target}" if self._manner.several else name, future)

    def _fail_to_open(self, attempt: _Try, error: OSError) -> None:
        self._fail(attempt, None, f"it cannot be read: {error.strerror}", error)

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
            sentence = self._sentence(attempt.source, error)
            self._fail(attempt, future, sentence, error)
            if self._is_hopeless(attempt, error):
                self._more, self._why_no_more = False, (sentence, error)

    def _is_hopeless(self, attempt: _Try, error: CellError) -> bool:
        """Return whether each of the others would wait as long, and fail as this one has."""
        if error.code is ErrorCode.NO_CALLBACK:
            # Earlier versions take files, and no folders without any.
            return not attempt.source.is_folder
        if error.code is ErrorCode.STOPPING:
            # What can be sent again has been tried for as long as may be.
            return attempt.refused_at is not None
        return error.code is ErrorCode.UNREACHABLE

    def _leave_alike(self) -> None:
        """Show what was refused for a reason that has been told."""
        for first, rest in self._alike.values():
            if rest:
                self._view.leave(rest, f"{self.target}: {len(rest)} more were refused as {first} was")
                rest.clear()

    def _leave_rest(self) -> None:
        """Show what was not even begun, when all that was has ended."""
        self._leave_alike()
        if self._why_no_more is None:
            return
        sentence, error = self._why_no_more
        left = [dataclasses.replace(self._unsent(source), error=sentence) for source in self._waiting]
        if left:
            self.errors += [error] * len(left)
            self._view.leave(left, f"{self.target}: {len(left)} more are not sent")

    def _sentence(self, source: Sendable, error: CellError) -> str:
        """Return what went wrong in the words of those who run cells, not of those who program them."""
        if error.code is not ErrorCode.NO_CALLBACK:
            return error.sentence
        if source.is_folder:
            return f"{self.target} takes no folders without files: start it with --inbox DIR, in this version or later"
        return f"{self.target} takes no files: start it with --inbox DIR"

    def _try_again(self, future: StreamFuture, attempt: _Try, error: CellError) -> bool:
        """Send a file again whose receiver is ending, perhaps to be updated; return False if there is no point."""
        if error.code is not ErrorCode.STOPPING or not attempt.source.resume_id:
            return False
        now = time.monotonic()
        if attempt.refused_at is None or future.get_progress():
            attempt.refused_at = now
        if now - attempt.refused_at > self._manner.wait_s:
            return False
        attempt.not_before = now + _TRY_AGAIN_S
        self._again.append(attempt)
        self._view.drop(future)
        self._view.note(f"{attempt.source.shown_name}: {self.target} is stopping; trying again")
        return True

    def _fail(self, attempt: _Try, future: StreamFuture | None, sentence: str, error: CellError | OSError) -> None:
        self.errors.append(error)
        received = 0 if future is None else future.get_progress()
        result = self._result(attempt, future, attempt.source.size_bytes or 0, received)
        result = dataclasses.replace(result, error=sentence)
        if future is None or not isinstance(error, CellError) or error.code is not ErrorCode.REJECTED:
            self._view.end(future, result)
            return
        first, rest = self._alike.setdefault(attempt.source.without_name(sentence), (result.shown_name, []))
        if first == result.shown_name:
            self._view.end(future, result)
        else:
            self._view.drop(future)
            rest.append(result)

    def _unsent(self, source: Sendable) -> Result:
        return self._result(_Try(source, time.monotonic()), None, source.size_bytes or 0, 0)

    def _result(self, attempt: _Try, future: StreamFuture | None, size_bytes: int, received: int) -> Result:
        resumed_at = 0 if future is None else future.resumed_at
        seconds = time.monotonic() - attempt.begun_at
        return Result(
            name=attempt.source.name,
            size_bytes=size_bytes,
            sent_bytes=max(0, received - resumed_at),
            resumed_at=resumed_at,
            seconds=seconds,
            peer=self.target,
            one_of_several=self._manner.several,
        )


def run(all_transfers: Sequence[Transfers], view: View, watch: ParentWatch) -> None:
    """Send what each of them has, side by side; what failed is in ``errors``.

    Ended by a signal, it cancels what runs and shows what is not delivered.
    """
    try:
        while unfinished := [transfers for transfers in all_transfers if transfers.advance()]:
            running = [future for transfers in unfinished for future in transfers.running]
            if running:
                concurrent.futures.wait(running, _REFRESH_S, concurrent.futures.FIRST_COMPLETED)
            else:
                time.sleep(_REFRESH_S)
            view.refresh()
            watch.look()
    except (KeyboardInterrupt, SystemExit):
        for transfers in all_transfers:
            transfers.leave()
        raise
    finally:
        for transfers in all_transfers:
            transfers.cancel()


def share(cell: StreamCell, source: Sendable, all_transfers: Sequence[Transfers], manner: Manner) -> None:
    """Send what can be read once only to all of them, reading it once."""
    try:
        message = source.open()
    except OSError as error:
        for transfers in all_transfers:
            transfers.refuse(source, error)
        return
    by_target = {transfers.target: transfers for transfers in all_transfers}
    futures = cell.send_stream(
        FILE_CHANNEL,
        source.topic,
        list(by_target),
        message,
        manner.secure,
        digest=digest_name(manner),
        unreachable_timeout=manner.wait_s,
    )
    for target, future in futures.items():
        by_target[target].take(source, future)


def _few(results: Sequence[Result]) -> str:
    """Return the names of some that stand for all."""
    names = ", ".join(result.shown_name for result in results[:_NAMED])
    return names if len(results) <= _NAMED else f"{names} and {len(results) - _NAMED} more"


def digest_name(manner: Manner) -> str:
    """Return what is to be compared of the whole; empty: nothing."""
    return "sha256" if manner.digest else ""
