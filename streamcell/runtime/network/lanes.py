"""The lanes of one cell: dialling, accepting, writing and reading.

Everything here runs on the engine. A lane is one task, with a task each for its two directions; whatever ends one
direction ends the lane, and the core decides what follows.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar, TypeVarTuple

from streamcell.errors import CellError, ProtocolError
from streamcell.limits import BATCH_BYTES, WRITTEN_FRAMES
from streamcell.protocol.base.events import LaneDropped, LaneWanted, UplinkEnded
from streamcell.protocol.links.lanes import LOOP_LANE
from streamcell.runtime.context import CellContext
from streamcell.runtime.threads.trace import CellLog
from streamcell.transport.base import Lane, LaneClosed, Network
from streamcell.transport.codec import decode_batch, encode_batch
from streamcell.transport.memory import LoopLane

# How long the last words on a lane may take: the other side reads at once if it reads at all.
FLUSH_S = 0.5
# A batch of no more than this was all that there was: what ends a batch before its time is many times as much.
FEW_FRAMES = WRITTEN_FRAMES // 4
SHORT_BATCH_BYTES = BATCH_BYTES // 4


_From = TypeVar("_From")
_To = TypeVar("_To")
Args = TypeVarTuple("Args")
T = TypeVar("T")


_SHORTAGE = "{} has too few files and sockets left: raise its limit there (ulimit -n), or come back later"


class LaneHost(Protocol):
    """What a lane needs of the cell's runner."""

    def step(self, verb: Callable[[*Args, float], T], *args: *Args) -> T | None:
        """Call ``verb(*args, now)``, then do what follows from it, and return its result.

        None if the cell has ended, or ends because of a bug in there; the caller goes on.
        """

    def supervise(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run a task that, if it raises, ends the cell."""


class DialPlan:
    """The addresses at which one parent or peer may be reached, and what came of dialling them.

    Which one is dialled when, the core decides.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        self.urls = urls
        self._told: dict[str, str] = {}
        #: Why the last dial failed, for those who wait.
        self.last_failure = ""
        #: Lanes that are up.
        self.open_lanes: list[OpenLane] = []

    def note_failure(self, reason: str) -> None:
        """Take note of why a dial failed, for those who wait."""
        if not self.answering:
            self.last_failure = reason

    def is_news(self, url: str, reason: str) -> bool:
        """Return whether an address has not failed for that reason just before."""
        before, self._told[url] = self._told.get(url), reason
        return reason != before

    def note_lane(self, lane: OpenLane) -> None:
        """Take note of a lane that is up."""
        self.open_lanes.append(lane)
        self._told.clear()

    @property
    def answering(self) -> str:
        """The address where who listens has taken a lane that is up, and says something; else empty. Any thread."""
        return next((lane.url for lane in tuple(self.open_lanes) if lane.heard), "")


class OpenLane:
    """One lane that is up.

    Each direction is a task of its own, which may wait on the lane. They are never cancelled while they may: closing
    the lane ends them.
    """

    def __init__(self, lane_id: int, lane: Lane, host: LaneHost, context: CellContext, log: CellLog) -> None:
        self._lane_id = lane_id
        self._lane = lane
        self._host = host
        self._context = context
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
            await self._lane.close()
            # One that waits for a peer that takes nothing ends with the connection, and is not waited for.
            await asyncio.wait(directions, timeout=FLUSH_S)
        self._report([task.exception() for task in ended])

    def _report(self, ended: Sequence[BaseException | None]) -> None:
        refusal = None
        for error in ended:
            if isinstance(error, LaneClosed):
                self.reason, refusal = str(error), error.refusal
            elif isinstance(error, Exception):
                raise error
        reason = self.reason or "closed here"
        self._log.debug("the lane with %s has ended: %s", self._lane.peer.address, reason)
        self._host.step(self._context.core.lane_closed, self._lane_id, reason, refusal)

    async def _write(self) -> None:
        while not self._stopped.done():
            self._wake.clear()
            frames = self._host.step(self._context.core.frames_to_send, self._lane_id)
            if frames:
                batch = _in_memory(encode_batch, frames)
                await self._lane.send(batch)
                if len(frames) > FEW_FRAMES or len(batch) > SHORT_BATCH_BYTES or self._draining:
                    continue
            elif self._draining:
                return
            await self._wake.wait()

    async def _read(self) -> None:
        while True:
            batch = await self._lane.receive()
            try:
                frames = _in_memory(decode_batch, batch)
            except ProtocolError as error:
                self._host.step(self._context.core.reject_batch, self._lane_id, error.sentence)
                # The writer says why, and ends the lane.
                await self._stopped
                return
            self.heard = True
            self._host.step(self._context.core.receive, self._lane_id, frames)


def _in_memory(make: Callable[[_From], _To], source: _From) -> _To:
    """Return ``make(source)``. Without memory for it the lane ends, and what it carried is sent again on the next.

    :raises LaneClosed: if there is none.
    """
    try:
        return make(source)
    except MemoryError as error:
        raise LaneClosed("this process had no memory for what travels on the lane") from error


def _take_exception(task: asyncio.Task[None]) -> None:
    """Take the exception of a task that nobody waits for any more."""
    if not task.cancelled():
        task.exception()


class Lanes:
    """All lanes of one cell, by the core's number."""

    def __init__(self, context: CellContext, network: Network, host: LaneHost, log: CellLog) -> None:
        self._context = context
        self._network = network
        self._host = host
        self._log = log
        self._plans: dict[int, DialPlan] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._open: dict[int, OpenLane] = {}

    def add_uplink(self, number: int, urls: Sequence[str]) -> DialPlan:
        """Note where the uplink ``number`` of the core leads."""
        plan = self._plans[number] = DialPlan(urls)
        return plan

    def on_uplink_ended(self, event: UplinkEnded, _now: float) -> None:
        """Forget where it led. Its lanes end by themselves."""
        del self._plans[event.uplink]

    def on_lane_wanted(self, event: LaneWanted, _now: float) -> None:
        """Dial."""
        plan = self._plans[event.uplink]
        self._start(event.lane_id, self._dial(event.lane_id, plan, plan.urls[event.place]))

    def on_lane_arrived(self, lane: Lane) -> None:
        """Take a lane that another cell has dialled."""
        self._host.step(self._accept, lane)

    def on_lane_dropped(self, event: LaneDropped, _now: float) -> None:
        """Close a lane, or stop dialling it."""
        lane = self._open.get(event.lane_id)
        task = self._tasks.get(event.lane_id)
        if lane is None:
            if task is not None:
                task.cancel()
        elif event.flush:
            lane.drain()
        else:
            lane.abort()

    def wake(self, lane_ids: Sequence[int]) -> None:
        """Wake the writers of these lanes."""
        for lane_id in lane_ids:
            lane = self._open.get(lane_id)
            if lane is not None:
                lane.wake()
            elif lane_id == LOOP_LANE:
                self._start(lane_id, self._carry(lane_id, self._note(lane_id, LoopLane())))

    def abort(self) -> None:
        """End all lanes now, without another word."""
        for lane in self._open.values():
            lane.abort()
        for lane_id, task in self._tasks.items():
            if lane_id not in self._open:
                task.cancel()

    async def close(self) -> None:
        """Wait until the lanes that are being dropped have ended; end all others."""
        loop = self._open.get(LOOP_LANE)
        if loop is not None:
            loop.abort()
        tasks = list(self._tasks.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=2 * FLUSH_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, lane_id: int, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self._host.supervise(coroutine, f"lane {lane_id} of {self._context.fqcn}")
        self._tasks[lane_id] = task
        task.add_done_callback(lambda _: self._tasks.pop(lane_id, None))

    def _accept(self, lane: Lane, now: float) -> None:
        peer = lane.peer
        self._log.debug("< lane from %s", peer.address)
        short = self._context.descriptors.are_short()
        self._context.core.note_shortage(_SHORTAGE.format(self._context.fqcn) if short else "")
        lane_id = self._context.core.lane_accepted(peer.address, peer.identity, now)
        # Noted before the core's events are taken: one of them may drop the lane.
        self._start(lane_id, self._carry(lane_id, self._note(lane_id, lane)))

    def _connect(self, lane_id: int, lane: Lane, now: float) -> OpenLane:
        peer = lane.peer
        self._context.core.lane_connected(lane_id, peer.address, peer.identity, now)
        return self._note(lane_id, lane)

    def _note(self, lane_id: int, lane: Lane) -> OpenLane:
        opened = self._open[lane_id] = OpenLane(lane_id, lane, self._host, self._context, self._log)
        return opened

    async def _dial(self, lane_id: int, plan: DialPlan, url: str) -> None:
        # For the warning.
        self._context.descriptors.are_short()
        self._log.debug("> dialling %s", url)
        limit_s = self._context.config.dial_timeout_s
        try:
            lane = await self._network.dial(url, limit_s)
        except asyncio.CancelledError:
            # The core's patience has ended a moment before the network's.
            plan.note_failure(f"{url} did not answer within {limit_s:g} s")
            raise
        except LaneClosed as closed:
            self._note_failed_dial(lane_id, plan, url, str(closed), closed.refusal)
            return
        except CellError as error:
            # An address that this network cannot dial, now or later.
            self._note_failed_dial(lane_id, plan, url, str(error), error)
            return
        opened = self._host.step(self._connect, lane_id, lane)
        if opened is None:
            await lane.close()
            return
        opened.url = url
        plan.note_lane(opened)
        lane.watch(functools.partial(self._host.step, self._context.core.lane_leaving, lane_id))
        try:
            await self._carry(lane_id, opened)
        finally:
            plan.open_lanes.remove(opened)
            if not opened.heard:
                plan.note_failure(opened.reason or f"whoever listens at {url} does not answer")

    def _note_failed_dial(self, lane_id: int, plan: DialPlan, url: str, reason: str, refusal: CellError | None) -> None:
        # What is down is dialled again and again: the log has it once, until it changes.
        self._log.log(logging.INFO if plan.is_news(url, reason) else logging.DEBUG, "no lane: %s", reason)
        plan.note_failure(reason)
        self._host.step(self._context.core.lane_closed, lane_id, reason, refusal)

    async def _carry(self, lane_id: int, opened: OpenLane) -> None:
        try:
            await opened.run()
        finally:
            del self._open[lane_id]
