"""What a transfer shows of itself while it runs, and how its future settles."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import logging
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from streamcell.errors import CellError, ErrorCode, StreamError
from streamcell.protocol.wire.description import StreamDescription
from streamcell.runtime.threads.clock import Clock
from streamcell.runtime.threads.notifier import Notifier

AnyFuture: TypeAlias = concurrent.futures.Future[Any]

# The rate is that of the last seconds, taken from samples that are this far apart at least.
RATE_WINDOW_S = 5.0
RATE_SAMPLE_S = 0.1


class Progress:
    """How many bytes the target has, and how fast they come. Written by the engine, read by any thread.

    ``received`` counts from the start of the stream. The ``resumed_at`` bytes that the target had before the transfer
    began do not count for the rate.
    """

    __slots__ = ("_clock", "_samples", "received", "resumed_at")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._samples: collections.deque[tuple[float, int]] | None = None
        self.received = 0
        self.resumed_at = 0

    def place(self, offset: int, skipped: int) -> None:
        """Take note that the target goes on at ``offset``, and had ``skipped`` of the bytes below before."""
        self.resumed_at = skipped if self._samples is None else min(self.resumed_at, offset)
        self._shift(skipped)

    def note(self, received: int, now: float) -> None:
        """Take note that the target has ``received`` bytes."""
        if received < self.received:
            # It has lost some. That takes nothing from how fast they come.
            self._shift(received - self.received)
        if self._samples is None:
            self._samples = collections.deque([(now, self.received)])
        elif now - self._samples[-1][0] >= RATE_SAMPLE_S:
            self._samples.append((now, self.received))
            while len(self._samples) > 1 and self._samples[1][0] < now - RATE_WINDOW_S:
                self._samples.popleft()
        self.received = received

    def add(self, size: int, now: float) -> None:
        """Take note that ``size`` more bytes have arrived."""
        self.note(self.received + size, now)

    def _shift(self, size: int) -> None:
        if self._samples is not None:
            self._samples = collections.deque((at, received + size) for at, received in self._samples)
        self.received += size

    @property
    def rate(self) -> float:
        """Bytes a second over the last seconds."""
        if self._samples is None:
            return 0.0
        now = self._clock()
        # The oldest sample within the window; without one, the newest: nothing has arrived since.
        recent = [sample for sample in list(self._samples) if sample[0] >= now - RATE_WINDOW_S]
        if not recent:
            return 0.0
        since, received = recent[0]
        return max(0.0, (self.received - received) / (now - since)) if now > since else 0.0


@dataclasses.dataclass(slots=True)
class TransferInfo:
    """What is known of one stream, blob or message on its way, on the side of the sender or of the receiver.

    The engine changes it; any thread may read it. ``size`` is the number of bytes as declared, and at the receiver the
    true one at the end; None while it is not known. ``stream_id`` is 0 before the engine has opened the stream.
    """

    origin: str
    target: str
    channel: str
    topic: str
    description: StreamDescription
    progress: Progress
    stream_id: int = 0
    identity: str = ""
    size: int | None = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.size = self.description.size

    @property
    def name(self) -> str:
        """What the stream is called in logs."""
        return f"stream {self.stream_id} {self.channel}/{self.topic}"


class AboutTransfer:
    """What the futures and the streams of an application tell of a transfer, those for threads and those for loops."""

    # What the package itself has of it.
    __streamcell__: TransferInfo

    @property
    def origin(self) -> str:
        """The cell that sends."""
        return self.__streamcell__.origin

    @property
    def origin_identity(self) -> str:
        """What the neighbour that it came by has proved to be called; empty if nothing, and of what is sent.

        A child that has proved a name speaks for itself and for what is below it. What comes from the parent is vouched
        for by the parent, whose name is known if it was dialled as ``grpcs://NAME@host:port``.
        """
        return self.__streamcell__.identity

    @property
    def target(self) -> str:
        """The cell that receives."""
        return self.__streamcell__.target

    @property
    def channel(self) -> str:
        """The channel that it was sent on."""
        return self.__streamcell__.channel

    @property
    def topic(self) -> str:
        """The topic that it was sent on."""
        return self.__streamcell__.topic

    @property
    def resume_id(self) -> str:
        """The name that the sender gave to the transfer across restarts, or empty."""
        return self.__streamcell__.description.resume_id

    @property
    def traceparent(self) -> str:
        """The span that the transfer belongs to at its sender, as it was given there; or empty."""
        return self.__streamcell__.description.traceparent

    @property
    def sealed(self) -> bool:
        """Whether it is sealed from end to end: sent with ``secure=True``."""
        return self.__streamcell__.description.sealed


class TransferControl(Protocol):
    """What a future can do about its transfer. The future lets go of it when it settles, so that no cycle remains."""

    def cancel(self) -> None:
        """Stop the transfer because its future was cancelled. Any thread; returns at once."""

    def wait_opened(self) -> None:
        """Wait until the engine has opened the stream, or failed to.

        Raises:
            UsageError: this is the engine's thread.
        """

    def is_supplied_here(self) -> bool:
        """Return whether this thread reads the source of the transfer at this moment."""


# The application's future is made by the layer above, which knows its class.
FutureFactory: TypeAlias = Callable[[TransferInfo, TransferControl, Notifier], AnyFuture]


def ended_error(fqcn: str) -> StreamError:
    """Return what fails when it is begun after the cell has ended."""
    return StreamError(f"cell {fqcn} has been stopped", ErrorCode.STOPPING)


def succeed(future: AnyFuture, result: Any) -> bool:
    """Settle ``future`` with a result; return False if it was settled already, by a cancel for instance."""
    try:
        future.set_result(result)
    except concurrent.futures.InvalidStateError:
        return False
    return True


def fail(future: AnyFuture, error: BaseException) -> bool:
    """Settle ``future`` with an error; return False if it was settled already."""
    try:
        future.set_exception(error)
    except concurrent.futures.InvalidStateError:
        return False
    return True


def level_for(error: CellError, level: int) -> int:
    """Return the level at which a failure is logged that would be logged at ``level``: stopping is nobody's failure."""
    return logging.INFO if error.code is ErrorCode.STOPPING else level


class OpenFutures:
    """The futures of a cell that are not settled, so that all of them can be failed when the cell ends.

    Any thread may add; the engine closes. A future that is added after that fails at once.
    """

    def __init__(self) -> None:
        self._futures: set[AnyFuture] = set()
        self._error: CellError | None = None

    def add(self, future: AnyFuture) -> None:
        """Keep ``future`` until :meth:`discard`."""
        self._futures.add(future)
        if self._error is not None:
            fail(future, self._error)

    def discard(self, future: AnyFuture) -> None:
        """Forget ``future``, which is settled."""
        self._futures.discard(future)

    def close(self, error: CellError) -> None:
        """Fail every future that is not settled, and all that are added later."""
        self._error = error
        while self._futures:
            fail(self._futures.pop(), error)
