"""Showing transfers: bars on a terminal, lines elsewhere, JSON when asked for.

Results go to standard output; what is only of interest while it happens goes to standard error.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID
from rich.table import Column
from rich.text import Text

from streamcell.cli.text import left_text, percent_text, rate_text, seconds_text, shortened, size_text
from streamcell.daemon.names import shown
from streamcell.future import StreamFuture

# Between two lines about one transfer where there is no terminal.
PLAIN_INTERVAL_S = 5.0
_NAME_WIDTH = 20
# Where there are fewer columns, numbers go before bars.
_WIDE = 70
_SHORT_NAME_WIDTH = 10
# The rate of what is smaller tells of the round trip, not of the way.
_RATE_FROM_BYTES = 1_000_000
_REFRESHES_A_SECOND = 8
# Terminals on which nothing can be drawn twice.
_DUMB = ("dumb", "unknown")


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """A transfer that has ended.

    Attributes:
        name: the file's, exactly; bytes that are not UTF-8 as ``os.fsdecode`` has them.
        size_bytes: of the whole file.
        sent_bytes: of those that have travelled now.
        resumed_at: of those that were there before, from an earlier try.
        seconds: how long it took.
        peer: the cell at the other end.
        path: where it is, at the receiver; empty at the sender.
        error: one sentence; empty if it succeeded.
        one_of_several: others have other peers, so that the peer is always shown.
    """

    name: str
    size_bytes: int
    sent_bytes: int
    resumed_at: int
    seconds: float
    peer: str
    path: str = ""
    error: str = ""
    one_of_several: bool = False

    @property
    def sentence(self) -> str:
        """The result for people."""
        if self.error:
            where = f" to {self.peer}" if self.one_of_several else ""
            return f"{self.shown_name}{where}: {self.error}"
        what = f"{self.path}: {self.size_bytes:,} bytes"
        if not self.path:
            what = f"{self.shown_name}: {self.size_bytes:,} bytes to {self.peer}"
        if self.was_there:
            return f"{what}, already there"
        rate = f", {rate_text(self.sent_bytes / self.seconds)}" if self.sent_bytes >= _RATE_FROM_BYTES else ""
        before = f"; {self.resumed_at:,} of them were there before" if self.resumed_at else ""
        return f"{what} in {seconds_text(self.seconds)}{rate}{before}"

    @property
    def shown_name(self) -> str:
        """The name for people."""
        return shown(self.name)

    @property
    def was_there(self) -> bool:
        """Whether the whole file was there already."""
        return 0 < self.size_bytes == self.resumed_at

    def to_json(self) -> str:
        """The result for programs, in one line, of ASCII only."""
        values = dataclasses.asdict(self)
        del values["one_of_several"]
        return json.dumps({key: value for key, value in values.items() if value != ""})


class View(Protocol):
    """Shows transfers. A context manager; all methods may be called in any thread."""

    def __enter__(self) -> View: ...

    def __exit__(self, *_: object) -> None: ...

    def start(self, name: str, future: StreamFuture) -> None:
        """A transfer begins."""

    def end(self, future: StreamFuture | None, result: Result) -> None:
        """A transfer has ended; without a future if it never began."""

    def leave(self, results: Sequence[Result], sentence: str) -> None:
        """Some will not begin: all of them for programs, one sentence for people."""

    def drop(self, future: StreamFuture) -> None:
        """Show no more of a transfer that has not ended for good."""

    def note(self, sentence: str) -> None:
        """Say something else."""

    def refresh(self) -> None:
        """Show how far transfers are. To be called several times a second."""


class PlainView:
    """Lines: each result, and every few seconds how far each transfer is."""

    def __init__(self, *, as_json: bool = False) -> None:
        self._as_json = as_json
        self._lock = threading.Lock()
        self._shown: dict[StreamFuture, tuple[str, float]] = {}

    def __enter__(self) -> PlainView:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left to show."""

    def start(self, name: str, future: StreamFuture) -> None:
        """Remember it."""
        with self._lock:
            self._shown[future] = name, time.monotonic()

    def end(self, future: StreamFuture | None, result: Result) -> None:
        """Print the result."""
        with self._lock:
            if future is not None:
                self._shown.pop(future, None)
            print_result(result, as_json=self._as_json)

    def leave(self, results: Sequence[Result], sentence: str) -> None:
        """Print all of them, or the sentence."""
        if not self._as_json:
            self.note(sentence)
            return
        with self._lock:
            for result in results:
                print_result(result, as_json=True)

    def drop(self, future: StreamFuture) -> None:
        """Forget it."""
        with self._lock:
            self._shown.pop(future, None)

    def note(self, sentence: str) -> None:
        """Print it."""
        with self._lock:
            print(sentence, file=sys.stderr, flush=True)

    def refresh(self) -> None:
        """Print a line for each transfer of which none was printed for some seconds."""
        now = time.monotonic()
        with self._lock:
            for future, (name, since) in self._shown.items():
                if now - since >= PLAIN_INTERVAL_S:
                    self._shown[future] = name, now
                    print(progress_line(name, future), file=sys.stderr, flush=True)


class TerminalView:
    """A bar for each transfer that runs, and a line for each that has ended above them."""

    def __init__(self, *, as_json: bool = False) -> None:
        self._as_json = as_json
        self._lock = threading.Lock()
        self._console = Console(stderr=True)
        self._tasks: dict[StreamFuture, TaskID] = {}
        narrow = self._console.width < _WIDE
        self._name_width = _SHORT_NAME_WIDTH if narrow else _NAME_WIDTH
        name = _NameColumn(table_column=Column(width=self._name_width, no_wrap=True))
        wide = (BarColumn(bar_width=None), _AmountColumn(), _RateColumn(), _TimeColumn())
        self._progress = Progress(
            name,
            *((_AmountColumn(), _RateColumn()) if narrow else wide),
            console=self._console,
            refresh_per_second=_REFRESHES_A_SECOND,
            transient=True,
            # Results are for standard output, wherever that goes.
            redirect_stdout=False,
            redirect_stderr=False,
            expand=True,
        )

    def __enter__(self) -> TerminalView:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take the bars away."""
        self._progress.stop()

    def start(self, name: str, future: StreamFuture) -> None:
        """Add a bar."""
        with self._lock:
            total = future.get_size() or None
            self._tasks[future] = self._progress.add_task(shortened(name, self._name_width), total=total, future=future)

    def end(self, future: StreamFuture | None, result: Result) -> None:
        """Take the bar away and print the result above the others."""
        if future is not None:
            self.drop(future)
        with self._lock:
            if sys.stdout.isatty() and not self._as_json:
                self._print(result.sentence, "red" if result.error else None)
            else:
                print_result(result, as_json=self._as_json)

    def leave(self, results: Sequence[Result], sentence: str) -> None:
        """Print all of them, or the sentence above the bars."""
        if not self._as_json:
            self.note(sentence)
            return
        with self._lock:
            for result in results:
                print_result(result, as_json=True)

    def drop(self, future: StreamFuture) -> None:
        """Take the bar away."""
        with self._lock:
            task = self._tasks.pop(future, None)
            if task is not None:
                self._progress.remove_task(task)
                # Otherwise it would be shown once more below what is printed next.
                self._progress.refresh()

    def note(self, sentence: str) -> None:
        """Print it above the bars."""
        with self._lock:
            self._print(sentence, "dim")

    def refresh(self) -> None:
        """Move the bars."""
        with self._lock:
            for future, task in self._tasks.items():
                self._progress.update(task, completed=future.get_progress(), total=future.get_size() or None)

    def _print(self, sentence: str, style: str | None) -> None:
        # Names of files are no markup.
        self._console.print(sentence, style=style, markup=False, highlight=False, soft_wrap=True)


def make_view(*, as_json: bool = False) -> View:
    """Return what suits where standard error goes."""
    moves_its_cursor = sys.stderr.isatty() and os.environ.get("TERM") not in _DUMB
    return TerminalView(as_json=as_json) if moves_its_cursor else PlainView(as_json=as_json)


def print_result(result: Result, *, as_json: bool) -> None:
    """Print a result where no terminal shows it: success to standard output, failure to standard error."""
    if as_json:
        print(result.to_json(), flush=True)
    else:
        print(result.sentence, file=sys.stderr if result.error else sys.stdout, flush=True)


def progress_line(name: str, future: StreamFuture) -> str:
    """Return how far a transfer is, in one line."""
    done, size = future.get_progress(), future.get_size()
    so_far = f"{percent_text(done, size)} of {size_text(size)}" if size else size_text(done)
    eta = future.eta
    left = f", {left_text(eta)}" if eta is not None else ""
    return f"{name}: {so_far}, {rate_text(future.rate)}{left}"


class _FutureColumn(ProgressColumn):
    """Shows something of a transfer's future."""

    # How often it is looked at.
    max_refresh = 1 / _REFRESHES_A_SECOND

    def render(self, task: Task) -> Text:
        return Text(self.show(task.fields["future"]), justify="right", no_wrap=True)

    def show(self, future: StreamFuture) -> str:
        raise NotImplementedError


class _NameColumn(_FutureColumn):
    def render(self, task: Task) -> Text:
        return Text(task.description, no_wrap=True)


class _AmountColumn(_FutureColumn):
    def show(self, future: StreamFuture) -> str:
        done, size = future.get_progress(), future.get_size()
        return f"{percent_text(done, size):>5} of {size_text(size)}" if size else size_text(done)


class _RateColumn(_FutureColumn):
    def show(self, future: StreamFuture) -> str:
        return rate_text(future.rate)


class _TimeColumn(_FutureColumn):
    def show(self, future: StreamFuture) -> str:
        eta = future.eta
        return "" if eta is None else left_text(eta)
