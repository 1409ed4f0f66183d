"""The lanes of one cell: dialling and accepting. Everything here runs on the engine."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from streamcell.errors import CellError
from streamcell.protocol.base.events import LaneDropped, LaneWanted, UplinkEnded
from streamcell.protocol.links.loop import LOOP_LANE
from streamcell.protocol.wire.frames import LaneRole
from streamcell.runtime.context import CellContext
from streamcell.runtime.network.dial_plan import DialPlan, Spot
from streamcell.runtime.network.lane_tasks import FLUSH_S, LaneHost, LaneTasks
from streamcell.runtime.threads.trace import CellLog
from streamcell.transport import codec as protobuf_codec
from streamcell.transport.address import Scheme, parse_address
from streamcell.transport.base import Carrier, Codec, LaneClosed, Network, Resolver
from streamcell.transport.memory.loop import LoopCarrier

_SHORTAGE = "{} has too few files and sockets left: raise its limit there (ulimit -n), or come back later"


class Lanes:
    """All lanes of one cell, by the core's number."""

    def __init__(
        self,
        context: CellContext,
        network: Network,
        host: LaneHost,
        log: CellLog,
        codec: Codec = protobuf_codec,
    ) -> None:
        self._context = context
        self._network = network
        self._resolver = network if isinstance(network, Resolver) else None
        self._codec = codec
        self._host = host
        self._log = log
        self._plans: dict[int, DialPlan] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._open: dict[int, LaneTasks] = {}

    def add_uplink(self, number: int, urls: Sequence[str]) -> DialPlan:
        """Note where the uplink ``number`` of the core leads."""
        for address in map(parse_address, urls):
            if address.scheme is not Scheme.GRPCS and not address.is_loopback:
                self._log.warning(
                    "dialling %s without encryption: everybody on the way can read and change it", address
                )
        plan = self._plans[number] = DialPlan(number, urls, in_order=self._context.config.connect_in_order)
        return plan

    def on_uplink_ended(self, event: UplinkEnded, _now: float) -> None:
        """Forget where it led. Its lanes end by themselves."""
        del self._plans[event.uplink]

    def on_lane_wanted(self, event: LaneWanted, _now: float) -> None:
        """Dial."""
        plan = self._plans[event.uplink]
        self._start(event.lane_id, self._dial(event.lane_id, plan, event.place, event.role))

    def on_lane_arrived(self, carrier: Carrier) -> None:
        """Take a lane that another cell has dialled."""
        self._host.step(self._accept, carrier)

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
                self._start(lane_id, self._carry(lane_id, self._note(lane_id, LoopCarrier())))

    def replace_dialled(self) -> None:
        """Dial another lane in the place of each that was dialled, which ends when that one is up."""
        for lane_id, lane in list(self._open.items()):
            if lane.url:
                self._host.step(self._context.core.lane_leaving, lane_id)

    def deny(self, find_fault: Callable[[bytes], str]) -> None:
        """End the lanes whose other sides are not believed any more.

        ``find_fault``: returns why what a side has proved does not count, as a sentence; empty if it does.
        """
        for lane_id, lane in list(self._open.items()):
            sentence = find_fault(lane.proof) if lane.proof else ""
            if sentence:
                self._log.warning("the lane with %s ends: %s", lane.address, sentence)
                self._host.step(self._context.core.lane_denied, lane_id, sentence)

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

    def _accept(self, carrier: Carrier, now: float) -> None:
        self._log.debug("< lane from %s", carrier.info.address)
        short = self._context.descriptors.are_short()
        self._context.core.note_shortage(_SHORTAGE.format(self._context.fqcn) if short else "")
        lane_id = self._context.core.lane_accepted(carrier.info, now)
        # Noted before the core's events are taken: one of them may drop the lane.
        self._start(lane_id, self._carry(lane_id, self._note(lane_id, carrier)))

    def _connect(self, lane_id: int, carrier: Carrier, now: float) -> LaneTasks:
        self._context.core.lane_connected(lane_id, carrier.info, now)
        return self._note(lane_id, carrier)

    def _note(self, lane_id: int, carrier: Carrier) -> LaneTasks:
        opened = LaneTasks(lane_id, carrier, self._codec, self._context.core, self._host, self._log)
        self._open[lane_id] = opened
        return opened

    async def _dial(self, lane_id: int, plan: DialPlan, place: int, role: LaneRole) -> None:
        # For the warning.
        self._context.descriptors.are_short()
        spot = plan.spot(place)
        spot.uses += 1
        try:
            # Further lanes go where the link is, whatever its host stands for now.
            if role is not LaneRole.CONTROL or await self._find(lane_id, plan, place, spot):
                await self._dial_spot(lane_id, plan, spot)
        finally:
            spot.uses -= 1

    async def _find(self, lane_id: int, plan: DialPlan, place: int, spot: Spot) -> bool:
        """Find out what a place stands for now; return whether it can be dialled."""
        if self._resolver is None:
            return True
        limit_s = self._context.config.connect_timeout_s
        try:
            records = await self._resolver.resolve(spot.url, limit_s)
        except asyncio.CancelledError:
            plan.note_failure(f"the host of {spot.url} was not found within {limit_s:g} s (connect_timeout_s)")
            raise
        except LaneClosed as closed:
            if spot.record:
                # Where it was may be where it is.
                return True
            self._note_failed_dial(lane_id, plan, str(spot), str(closed), closed.refusal)
            return False
        except CellError as error:
            self._note_failed_dial(lane_id, plan, str(spot), str(error), error)
            return False
        return self._host.step(self._learn, lane_id, plan, place, records) or False

    def _learn(self, lane_id: int, plan: DialPlan, place: int, records: Sequence[str], now: float) -> bool:
        core, number = self._context.core, plan.number
        stays = plan.learn(
            place,
            records,
            add=lambda beside: core.add_place(number, beside, now),
            remove=lambda each: core.remove_place(number, each, now),
        )
        if not stays:
            core.lane_closed(lane_id, f"{plan.spot(place)} is no address of that host any more", None, now)
            plan.forget(place)
            core.remove_place(number, place, now)
        return stays

    async def _dial_spot(self, lane_id: int, plan: DialPlan, spot: Spot) -> None:
        where = str(spot)
        self._log.debug("> dialling %s", where)
        limit_s = self._context.config.connect_timeout_s
        try:
            async with self._context.gangway.on_it(functools.partial(self._await_dial, lane_id)):
                if self._resolver is not None and spot.record:
                    carrier = await self._resolver.dial_record(spot.url, spot.record, limit_s)
                else:
                    carrier = await self._network.dial(spot.url, limit_s)
        except asyncio.CancelledError:
            # The core's patience has ended a moment before the network's.
            plan.note_failure(f"{where} did not answer within {limit_s:g} s (connect_timeout_s)")
            raise
        except LaneClosed as closed:
            if closed.retry_after_s > 0:
                self._host.step(self._context.core.dial_deferred, lane_id, closed.retry_after_s)
            self._note_failed_dial(lane_id, plan, where, str(closed), closed.refusal)
            return
        except CellError as error:
            # An address that this network cannot dial, now or later.
            self._note_failed_dial(lane_id, plan, where, str(error), error)
            return
        connected_at = asyncio.get_running_loop().time()
        opened = self._host.step(self._connect, lane_id, carrier)
        if opened is None:
            await carrier.close()
            return
        opened.url = where
        plan.note_lane(opened)
        carrier.watch(functools.partial(self._host.step, self._context.core.lane_leaving, lane_id))
        try:
            await self._carry(lane_id, opened)
        finally:
            plan.note_end(opened)
            reason = opened.reason or self._patience_ended(where, asyncio.get_running_loop().time() - connected_at)
            if reason and not opened.heard:
                self._tell_of_failure(plan, where, reason)

    def _await_dial(self, lane_id: int, *, held: bool) -> None:
        """Have the core wait for a dial that is held back here, and then for as long as for any that has begun."""
        config = self._context.config
        limit_s = config.hello_timeout_s if held else config.connect_timeout_s
        self._host.step(self._context.core.dial_awaited, lane_id, limit_s)

    def _note_failed_dial(self, lane_id: int, plan: DialPlan, url: str, reason: str, refusal: CellError | None) -> None:
        self._tell_of_failure(plan, url, reason)
        self._host.step(self._context.core.lane_closed, lane_id, reason, refusal)

    def _tell_of_failure(self, plan: DialPlan, url: str, reason: str) -> None:
        # What is down is dialled again and again: the log has it once, until it changes.
        self._log.log(logging.INFO if plan.is_news(url, reason) else logging.DEBUG, "no lane: %s", reason)
        plan.note_failure(reason)

    def _patience_ended(self, url: str, waited_s: float) -> str:
        """Return what to say of a lane that this side has ended, if that was because no Hello came."""
        limit_s = self._context.config.hello_timeout_s
        if waited_s < limit_s:
            return ""
        return f"{url} took the connection, and said no Hello within {limit_s:g} s (hello_timeout_s)"

    async def _carry(self, lane_id: int, opened: LaneTasks) -> None:
        try:
            await opened.run()
        finally:
            del self._open[lane_id]
