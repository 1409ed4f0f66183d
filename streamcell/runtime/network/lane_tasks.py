"""The tasks of one lane: between the core and what carries the lane."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar, TypeVarTuple

from streamcell.errors import CellError, ProtocolError
from streamcell.limits import BATCH_BYTES, WRITTEN_FRAMES
from streamcell.protocol.wire.frames import Frame, Parts
from streamcell.runtime.threads.trace import CellLog
from streamcell.transport.base import Carrier, Codec, LaneClosed
from streamcell.transport.parts import size_of

# How long the last words on a lane may take: the other side reads at once if it reads at all.
FLUSH_S = 0.5
# A batch of no more than this was all that there was: what ends a batch before its time is many times as much.
FEW_FRAMES = WRITTEN_FRAMES // 4
SHORT_BATCH_BYTES = BATCH_BYTES // 4

_NO_MEMORY = "this process had no memory for what travels on the lane"

Args = TypeVarTuple("Args")
T = TypeVar("T")


class LaneHost(Protocol):
    """What a lane needs of the cell's runner."""

    def step(self, verb: Callable[[*Args, float], T], *args: *Args) -> T | None:
        """Call ``verb(*args, now)``, then do what follows from it, and return its result.

        None if the cell has ended, or ends because of a bug in there; the caller goes on.
        """

    def supervise(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run a task that, if it raises, ends the cell."""


class LaneCore(Protocol):
    """What the tasks of a lane need of the cell's core."""

    def frames_to_send(self, lane_id: int, now: float) -> list[Frame]:
        """Return the next batch of a lane, empty if there is nothing to say."""

    def receive(self, lane_id: int, frames: Sequence[Frame], now: float) -> None:
        """Take a batch that came."""

    def reject_batch(self, lane_id: int, sentence: str, now: float) -> None:
        """Take note of a batch that nobody can read, and why."""

    def dial_deferred(self, lane_id: int, wait_s: float, now: float) -> None:
        """Take note of how long to stay away from where a lane was dialled."""

    def lane_closed(self, lane_id: int, reason: str, refusal: CellError | None, now: float) -> None:
        """Take note of the end of a lane."""


class LaneTasks:
    """The tasks of one lane that is up.

    Each direction is a task of its own, which may wait on the carrier. They are never cancelled while they may: closing
    that ends them.
    """

    def __init__(
        self, lane_id: int, carrier: Carrier, codec: Codec, core: LaneCore, host: LaneHost, log: CellLog
    ) -> None:
        self._lane_id = lane_id
        self._carrier = carrier
        self._codec = codec
        self._core = core
        self._host = host
        self._log = log
        self._wake = asyncio.Event()
        self._draining = False
        #: Whether anything came on it.
        self.heard = False
        #: The address that was dialled, if it was.
        self.url = ""
        #: Why it has ended, once it has; empty if this side wanted it so.
        self.reason = ""
        self._stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def address(self) -> str:
        """Of the other side, in the words of the carrier."""
        return self._carrier.info.address

    @property
    def proof(self) -> bytes:
        """What the other side has proved its name with, if it has."""
        return self._carrier.info.proof

    def wake(self) -> None:
        """Say that there may be something to send."""
        self._wake.set()

    def drain(self) -> None:
        """End the lane when everything that there is was sent, or after a time."""
        self._draining = True
        self._wake.set()
        asyncio.get_running_loop().call_later(FLUSH_S, self.abort)

    def abort(self) -> None:
        """End the lane now."""
        if not self._stopped.done():
            self._stopped.set_result(None)
        self._wake.set()

    async def run(self) -> None:
        """Carry frames both ways until the lane ends, then tell the core."""
        loop = asyncio.get_running_loop()
        writing, reading = loop.create_task(self._write()), loop.create_task(self._read())
        directions = (writing, reading)
        for task in directions:
            # However this ends, by being cancelled as well: one of them may end later, and nobody waits for it then.
            task.add_done_callback(_take_exception)
        try:
            await asyncio.wait({*directions, self._stopped}, return_when=asyncio.FIRST_COMPLETED)
            if writing.done() and not self._draining and not self._stopped.done():
                # What the other side said last, perhaps why it refuses, may not have been read.
                await asyncio.wait({reading}, timeout=FLUSH_S)
        finally:
            # A direction that ends later does so because the lane is closed here.
            ended = [task for task in directions if task.done()]
            self.abort()
            await self._carrier.close()
            # One that waits for a peer that takes nothing ends with the connection, and is not waited for.
            await asyncio.wait(directions, timeout=FLUSH_S)
        self._report([task.exception() for task in ended])

    def _report(self, ended: Sequence[BaseException | None]) -> None:
        refusal = None
        for error in ended:
            if isinstance(error, LaneClosed):
                self.reason, refusal = str(error), error.refusal
                if error.retry_after_s > 0:
                    self._host.step(self._core.dial_deferred, self._lane_id, error.retry_after_s)
            elif isinstance(error, Exception):
                raise error
        reason = self.reason or "closed here"
        self._log.debug("the lane with %s has ended: %s", self._carrier.info.address, reason)
        self._host.step(self._core.lane_closed, self._lane_id, reason, refusal)

    async def _write(self) -> None:
        while not self._stopped.done():
            self._wake.clear()
            frames = self._host.step(self._core.frames_to_send, self._lane_id)
            if frames:
                try:
                    batch = self._codec.encode_batch(frames)
                    await self._carrier.send(batch)
                except MemoryError as error:
                    raise LaneClosed(_NO_MEMORY) from error
                if len(frames) > FEW_FRAMES or size_of(batch) > SHORT_BATCH_BYTES or self._draining:
                    continue
                # Who waits keeps nothing of what has gone: payloads that are lent, or many MiB.
                del batch
            elif self._draining:
                return
            del frames
            await self._wake.wait()

    async def _read(self) -> None:
        sentence = await self._read_batches()
        self._host.step(self._core.reject_batch, self._lane_id, sentence)
        # The writer says why, and ends the lane.
        await self._stopped

    async def _read_batches(self) -> str:
        """Hand on what comes, until a batch comes that breaks the rules of the wire; return which."""
        while True:
            try:
                await self._hand_on(await self._carrier.receive())
            except ProtocolError as error:
                return error.sentence
            except MemoryError as error:
                raise LaneClosed(_NO_MEMORY) from error

    async def _hand_on(self, batch: Parts) -> None:
        """Hand on a batch: if it has more frames than a writer puts into one, other lanes have their turns between."""
        turns = self._codec.decode_in_turns(batch)
        frames = next(turns, [])
        self.heard = True
        self._host.step(self._core.receive, self._lane_id, frames)
        while len(frames) == WRITTEN_FRAMES and (frames := next(turns, [])):
            await asyncio.sleep(0)
            if self._stopped.done():
                return
            self._host.step(self._core.receive, self._lane_id, frames)


def _take_exception(task: asyncio.Task[None]) -> None:
    """Take the exception of a task that nobody waits for any more."""
    if not task.cancelled():
        task.exception()
