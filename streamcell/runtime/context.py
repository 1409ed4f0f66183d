"""What the parts of one cell's runner share."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import threading
from collections.abc import Callable
from typing import Protocol, Self, TypeVar, TypeVarTuple

from streamcell.config import CellConfig
from streamcell.protocol.cell import CellCore
from streamcell.runtime.buffers import BufferPool
from streamcell.runtime.engine.descriptors import DescriptorWatch
from streamcell.runtime.engine.gangway import Gangway
from streamcell.runtime.threads.clock import Clock
from streamcell.runtime.threads.notifier import Notifier
from streamcell.runtime.threads.starter import ThreadStarter
from streamcell.runtime.threads.trace import CellLog
from streamcell.runtime.threads.workers import WorkerPool
from streamcell.runtime.traffic import Traffic
from streamcell.runtime.transfers import FutureFactory, OpenFutures
from streamcell.stats import PoolStats

Args = TypeVarTuple("Args")
T = TypeVar("T")


# Of the threads for what other cells send: so many more for those that hold few when all are taken. None beside one.
_SPARE_PART = 2


class Post(Protocol):
    """How other threads reach the engine."""

    def __call__(self, intent: Callable[[*Args, float], object], *args: *Args) -> bool:
        """Have ``intent(*args, now)`` run on the engine, in order; return False if it never will: the cell is over."""


class Leave(Protocol):
    """Has something run on the engine with the next step of the cell, without causing one."""

    def __call__(self, intent: Callable[[*Args, float], object], *args: *Args) -> None:
        """Have ``intent(*args, now)`` run then, in order with what is posted. Any thread."""


class Ask(Protocol):
    """How other threads get an answer from the engine."""

    def __call__(self, question: Callable[[*Args, float], T], *args: *Args) -> concurrent.futures.Future[T]:
        """Have ``question(*args, now)`` run on the engine; the future gets its result, or fails with the cell."""


class Later(Protocol):
    """Has something done again that the system refuses now."""

    def __call__(self, attempt: Callable[[], object]) -> None:
        """Have ``attempt()`` called on the engine in a moment, outside of any step. Any thread."""


class FailureCounts:
    """How often the application's code failed. Safe for use by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.callbacks = 0
        self.blobs = 0

    def count_callback(self) -> None:
        """A callback raised."""
        with self._lock:
            self.callbacks += 1

    def count_blob(self) -> None:
        """A blob did not arrive, so that its callback was not called."""
        with self._lock:
            self.blobs += 1


@dataclasses.dataclass(slots=True)
class Pools:
    """The threads of one cell, by what may hold up what runs in them, so that none takes them from the others.

    A stream's callback waits for a source elsewhere; what chooses a blob's buffer, perhaps for the callback of another
    blob; a blob's callback for nothing that comes by the cell; a source for what it reads from; a digest for nothing.
    """

    streams: WorkerPool
    buffers: WorkerPool
    blobs: WorkerPool
    requests: WorkerPool
    sources: WorkerPool
    digests: WorkerPool

    @classmethod
    def of(cls, fqcn: str, config: CellConfig, starter: ThreadStarter) -> Self:
        """Make the pools of a cell."""

        def for_peers(work: str, threads: int) -> WorkerPool:
            return WorkerPool(f"{fqcn}-{work}", threads, starter, spare_threads=threads // _SPARE_PART)

        return cls(
            streams=for_peers("stream", config.callback_threads),
            buffers=for_peers("into", config.callback_threads),
            blobs=for_peers("blob", config.callback_threads),
            requests=for_peers("request", config.request_threads),
            sources=WorkerPool(f"{fqcn}-source", config.source_threads, starter),
            digests=WorkerPool(f"{fqcn}-digest", config.source_threads, starter),
        )

    def close(self) -> None:
        """Let the threads end as soon as they are idle."""
        for pool in self._all():
            pool.close()

    def stats(self) -> tuple[PoolStats, ...]:
        """Return the figures of all pools."""
        return tuple(pool.stats() for pool in self._all())

    def _all(self) -> tuple[WorkerPool, ...]:
        return self.streams, self.buffers, self.blobs, self.requests, self.sources, self.digests


@dataclasses.dataclass(slots=True)
class CellContext:
    """The identity of a cell and what it runs on.

    ``core`` may be used on the engine only, and only after the cell has started; ``traffic`` on the engine only; the
    rest in any thread.
    """

    fqcn: str
    config: CellConfig
    clock: Clock
    core: CellCore
    post: Post
    leave: Leave
    ask: Ask
    later: Later
    pools: Pools
    buffers: BufferPool
    starter: ThreadStarter
    descriptors: DescriptorWatch
    gangway: Gangway
    notifier: Notifier
    futures: OpenFutures
    make_future: FutureFactory
    failures: FailureCounts
    traffic: Traffic
    log: CellLog
    stream_log: CellLog
