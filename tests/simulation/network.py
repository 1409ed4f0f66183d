"""Lanes between simulated cells: each a pair of queues with a delay and a bandwidth, which can break in many ways.

Frames of one lane arrive in their order; lanes overtake each other. What a fault does to single frames is decided by
:class:`Weather`; this module carries out what it is told.
"""

from __future__ import annotations

import enum
import functools
import random
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from streamcell.protocol.base.events import LaneWanted
from streamcell.protocol.links.carrier import CarrierInfo
from streamcell.protocol.wire.frames import Chunk, Frame, LaneRole
from streamcell.runtime.network.lane_tasks import FEW_FRAMES, SHORT_BATCH_BYTES
from tests.simulation.agenda import Agenda
from tests.simulation.history import History

if TYPE_CHECKING:
    from tests.simulation.host import Host

# What is on the way before a writer has to wait, as with the buffers of sockets.
_IN_FLIGHT_BYTES = 512 * 1024
_FRAME_BYTES = 64
_LATENCIES_S = (0.0002, 0.003, 0.04)
_BANDWIDTHS = (3e6, 30e6, 300e6)


class Break(enum.Enum):
    """How a lane breaks."""

    LOST = "what is on the way is lost, both ends hear of it"
    DELIVERED = "what is on the way arrives, both ends hear of it"
    UNHEARD = "one end hears of it, the other hears nothing more"


class Door(enum.Enum):
    """What becomes of a dial."""

    OPEN = "there is a connection"
    REFUSES = "nobody listens"
    SWALLOWS = "nothing is heard, until the dialler has waited enough"
    BUSY = "there is a connection, and whoever answers asks to come again later"


class Weather(Protocol):
    """What happens to single frames and to dialling."""

    def pass_frame(self, end: End, frame: Frame, arriving: list[Frame]) -> Break | None:
        """Add to ``arriving`` what arrives of a frame; return how the lane breaks with it, if it does."""
        ...

    def door_of(self, listener: str) -> Door:
        """Return what becomes of a dial to a cell."""
        ...

    def retry_after_s(self) -> float:
        """Return how long one stays away who is asked to come again later."""
        ...


class End:
    """One end of a lane: a cell in one of its lives, and its number for the lane. ``peer`` None: nobody is there."""

    def __init__(self, network: Network, host: Host, lane_id: int, role: LaneRole) -> None:
        self.host = host
        self.lane_id = lane_id
        self.role = role
        self.peer: End | None = None
        self.latency_s = 0.0
        self.bytes_per_s = 0.0
        self.stalled = False
        # Whether nothing ever arrives here any more, though the lane seems to live.
        self.deaf = False
        self.closed = False
        # What is on the way to this end: when it arrives, frames (None: the end of the lane) and their size.
        self.inbox: deque[tuple[float, list[Frame] | None, int]] = deque()
        self.last_arrival = 0.0
        # What this end has written and the other has not taken; whether its writer has a turn to come, or no room.
        self.in_flight = 0
        self.awake = False
        self.full = False
        # Turns of its writer and of its reader.
        self.write = functools.partial(network.write, self)
        self.pump = functools.partial(network.pump, self)

    def __str__(self) -> str:
        return f"{self.host.name}/{self.lane_id}"


class Network:
    """All lanes."""

    def __init__(self, agenda: Agenda, history: History, weather: Weather, chance: random.Random) -> None:
        self.hosts: dict[str, Host] = {}
        self.frames = 0
        self._agenda = agenda
        self._history = history
        self._weather = weather
        self._random = chance

    def ends(self) -> list[End]:
        """Return the ends of all lanes that are up, in a settled order."""
        return [end for host in self.hosts.values() for end in host.ends.values()]

    # Coming and going.

    def dial(self, host: Host, wanted: LaneWanted) -> None:
        """Begin to dial; whether anybody answers turns out later."""
        host.dialling.add(wanted.lane_id)
        latency_s = self._random.choice(_LATENCIES_S)
        self._agenda.add(self._agenda.now + latency_s, functools.partial(self._connect, host, wanted, latency_s))

    def _connect(self, host: Host, wanted: LaneWanted, latency_s: float) -> None:
        if not host.alive or wanted.lane_id not in host.dialling:
            return
        name = host.uplinks[wanted.uplink]
        listener = self.hosts.get(name)
        if listener is not None and self._wait_for(listener, functools.partial(self._connect, host, wanted, latency_s)):
            return
        if self._wait_for(host, functools.partial(self._connect, host, wanted, latency_s)):
            return
        door = self._weather.door_of(name) if listener is not None else Door.REFUSES
        if door is Door.SWALLOWS:
            return
        host.dialling.discard(wanted.lane_id)
        if listener is None or door is not Door.OPEN:
            if door is Door.BUSY:
                host.core.lane_connected(wanted.lane_id, CarrierInfo("test", f"to-{name}"), host.now)
                host.core.dial_deferred(wanted.lane_id, self._weather.retry_after_s(), host.now)
            host.core.lane_closed(wanted.lane_id, "refused", None, host.now)
            host.settle()
            return
        here = End(self, host, wanted.lane_id, wanted.role)
        there_id = listener.core.lane_accepted(CarrierInfo("test", f"from-{host.name}"), listener.now)
        there = End(self, listener, there_id, wanted.role)
        here.peer, there.peer = there, here
        here.latency_s = there.latency_s = latency_s
        here.bytes_per_s = there.bytes_per_s = self._random.choice(_BANDWIDTHS)
        host.ends[here.lane_id], listener.ends[there.lane_id] = here, there
        host.core.lane_connected(wanted.lane_id, CarrierInfo("test", f"to-{name}"), host.now)
        listener.settle()
        host.settle()

    def drop(self, host: Host, lane_id: int, *, flush: bool) -> None:
        """Close a lane because its core wants that, after everything that is left to say if ``flush``."""
        host.dialling.discard(lane_id)
        end = host.ends.get(lane_id)
        while flush and end is not None and not end.closed:
            frames = host.core.frames_to_send(lane_id, host.now)
            if not frames:
                break
            self._carry(end, frames)
        if end is None or end.closed:
            host.core.lane_closed(lane_id, "closed here", None, host.now)
            return
        if end.peer is not None:
            self._put(end.peer, None, 0, end)
            end.peer.peer = None
        self._finish(end, "closed here")

    def break_lane(self, end: End, how: Break) -> None:
        """Break a lane."""
        peer = end.peer
        for each in (end, peer):
            if each is None:
                continue
            if how is Break.DELIVERED:
                each.inbox = deque((self._agenda.now, frames, size) for _, frames, size in each.inbox)
                each.stalled = False
            elif how is Break.LOST or each is end:
                each.inbox.clear()
            each.peer = None
            if how is not Break.UNHEARD or each is end:
                each.inbox.append((self._agenda.now, None, 0))
        for each in (end, peer):
            if each is not None:
                self.pump(each)

    def _finish(self, end: End, reason: str) -> None:
        """Tell a core that its lane has ended."""
        end.closed = True
        end.inbox.clear()
        if end.peer is not None:
            end.peer.peer = None
            end.peer = None
        del end.host.ends[end.lane_id]
        end.host.core.lane_closed(end.lane_id, reason, None, end.host.now)
        end.host.settle()

    def _wait_for(self, host: Host, action: Callable[[], None]) -> bool:
        """Put ``action`` off if the cell's process stands still; returns whether it does."""
        if host.frozen_until <= self._agenda.now:
            return False
        self._agenda.add(host.frozen_until, action)
        return True

    # Writing.

    def wake(self, end: End) -> None:
        """Let the lane's writer ask for frames."""
        if not end.awake and not end.closed:
            end.awake = True
            self._agenda.add(self._agenda.now, end.write)

    def write(self, end: End) -> None:
        """Let a lane's writer have its turn. As the runtime's it comes back when it is woken, or after a long batch."""
        host = end.host
        if end.closed or not host.alive or self._wait_for(host, end.write):
            return
        end.awake = False
        end.full = end.in_flight > _IN_FLIGHT_BYTES
        if end.full:
            return
        frames = host.core.frames_to_send(end.lane_id, host.now)
        if frames:
            size = self._carry(end, frames)
            if len(frames) > FEW_FRAMES or size > SHORT_BATCH_BYTES:
                self._come_back(end, size)
            host.settle()

    def _come_back(self, end: End, size: int) -> None:
        """Let a writer have another turn when its batch has left, unless the lane broke under it."""
        if not end.closed:
            end.awake = True
            self._agenda.add(self._agenda.now + size / end.bytes_per_s, end.write)

    def _carry(self, end: End, frames: list[Frame]) -> int:
        """Put a batch on its way, and return its size."""
        arriving: list[Frame] = []
        broken: Break | None = None
        size = 0
        on_frame_sent = end.host.observer.on_frame_sent
        self.frames += len(frames)
        for frame in frames:
            size += _FRAME_BYTES
            if isinstance(frame, Chunk):
                size += len(frame.payload)
            on_frame_sent(end, frame)
            if broken is not None:
                continue
            before = len(arriving)
            broken = self._weather.pass_frame(end, frame, arriving)
            if self._history.trace:
                fate = "" if arriving[before:] == [frame] else f" arrives as {len(arriving) - before}"
                there = str(end.peer) if end.peer is not None else "nobody"
                self._history.note_frame(end.host.name, end.lane_id, there, frame, fate)
        # Where nobody is at the other end, the buffers fill up.
        end.in_flight += size
        if end.peer is not None:
            self._put(end.peer, arriving, size, end)
        if broken is not None:
            self._history.note(f"the lane {end} breaks under {type(frames[0]).__name__}...: {broken.value}")
            self.break_lane(end, broken)
        return size

    def slip_in(self, end: End, frames: list[Frame], *, at_once: bool) -> None:
        """Put frames on a lane that the core at its end has not said; ``at_once``: they overtake what is on its way."""
        if end.peer is None:
            return
        if self._history.trace:
            for frame in frames:
                self._history.note_frame(end.host.name, end.lane_id, str(end.peer), frame, " which is a lie")
        if at_once:
            end.peer.host.core.receive(end.peer.lane_id, frames, end.peer.host.now)
            end.peer.host.settle()
            return
        size = _FRAME_BYTES * len(frames)
        end.in_flight += size
        self._put(end.peer, frames, size, end)

    def _put(self, peer: End, frames: list[Frame] | None, size: int, end: End) -> None:
        arrival = max(peer.last_arrival, self._agenda.now + end.latency_s * (0.5 + self._random.random()))
        peer.last_arrival = arrival
        peer.inbox.append((arrival, frames, size))
        self._agenda.add(arrival, peer.pump)

    # Reading.

    def pump(self, end: End) -> None:
        """Deliver what has arrived."""
        host = end.host
        if end.deaf:
            end.inbox.clear()
        while end.inbox and not end.stalled and host.alive and end.inbox[0][0] <= self._agenda.now:
            if self._wait_for(host, end.pump):
                return
            _, frames, size = end.inbox.popleft()
            if frames is None:
                self._finish(end, "the lane broke")
                return
            if end.peer is not None:
                end.peer.in_flight -= size
                if end.peer.full:
                    self.wake(end.peer)
            host.core.receive(end.lane_id, frames, host.now)
            host.settle()
