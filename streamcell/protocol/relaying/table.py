"""All streams that pass through a cell.

Frames of streams between other cells go on towards the one that they are for. Chunks wait here for credit and their
turn (``relay.py``); everything else is passed on at once. A relay keeps nothing across a break and ends no stream: when
it has lost something, or knows no way, it says Lost to the origin, which alone decides what is sent again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from streamcell.limits import HOPS, RELAYED_CHUNKS, RELAYED_STREAMS
from streamcell.protocol.base.context import Context, Count
from streamcell.protocol.flow.credit import Window, WindowBudget
from streamcell.protocol.links.link import Link
from streamcell.protocol.links.table import LinkTable
from streamcell.protocol.links.writing import Writing
from streamcell.protocol.relaying.passing import RelayStream
from streamcell.protocol.relaying.states import (
    RelayAction,
    RelayInput,
    RelayState,
)
from streamcell.protocol.tree.routes import RouteTable
from streamcell.protocol.wire.addressing import StreamFrame, destination_of, goes_to_target
from streamcell.protocol.wire.frames import (
    NO_STREAM,
    Ack,
    Chunk,
    Credit,
    Lost,
    LostReason,
    Reset,
    ResumeQuery,
    StreamKey,
)

_KeyT = TypeVar("_KeyT")
_Index = dict[Link, dict[StreamKey, RelayStream]]


class RelayTable:
    """Every stream between other cells that has passed here and is not known to have ended."""

    def __init__(
        self, context: Context, links: LinkTable, routes: RouteTable, writing: Writing, budget: WindowBudget
    ) -> None:
        self._context = context
        self._links = links
        self._routes = routes
        self._writing = writing
        self._budget = budget
        self._streams: dict[StreamKey, RelayStream] = {}
        self._by_up: _Index = {}
        self._by_down: _Index = {}
        self._by_target: dict[str, dict[StreamKey, RelayStream]] = {}

    def streams(self) -> list[RelayStream]:
        """Return all streams that pass through."""
        return list(self._streams.values())

    # Frames.

    def forward(self, link: Link, frame: StreamFrame, now: float) -> None:
        """Pass on a frame of a stream that is between other cells.

        :raises ProtocolError: if the peer broke the rules so that it is to be cut off.
        """
        way = self._routes.relay_hop(destination_of(frame))
        if way is None or way is link or frame.hops_left == 0:
            self._say_no_route(link, frame)
            return
        # What a lane has brought belongs to this cell alone: it is passed on, not copied.
        _count_hop(frame)
        if isinstance(frame, Chunk):
            self._take_chunk(link, way, frame, now)
        elif isinstance(frame, ResumeQuery) and not frame.probe:
            self._pass_query(link, way, frame, now)
        elif isinstance(frame, Ack) and not frame.complete:
            self._pass_ack(way, frame, now)
        else:
            if isinstance(frame, ResumeQuery) and self._has_lost(link, frame):
                self._say_lost(link, frame, LostReason.LANE_LOST)
            self._pass_word(link, way, frame, now)

    def handle_credit(self, link: Link, frame: Credit, now: float) -> None:
        """The next hop lets a stream go further."""
        stream = self._streams.get(frame.key)
        if stream is not None and stream.down is link and stream.attempt == frame.attempt:
            stream.extend_credit(frame.offset)
            self._speak(stream)
            self._pump(stream, now)

    def _take_chunk(self, link: Link, way: Link, chunk: Chunk, now: float) -> None:
        stream = self._streams.get(chunk.key)
        if stream is not None and chunk.attempt < stream.attempt:
            return
        link.remembered_window.heard(now)
        if chunk.open is not None:
            stream = self._enter(link, way, chunk, now)
        if stream is None or chunk.attempt != stream.attempt:
            self._say_lost(link, chunk, LostReason.LANE_LOST)
            return
        if chunk.open is not None and stream.step(RelayInput.OPENED) is RelayAction.BEGIN:
            stream.idle_timeout_s = chunk.open.idle_timeout_s
            stream.begin(chunk, Window(self._budget, self._context.config.max_window_bytes))
            self._speak(stream)
        if stream.state is RelayState.WAITING and stream.up is link:
            # Its first chunk went to an earlier life of this cell, or was lost on the way here.
            self._lose(stream, LostReason.LANE_LOST)
        if stream.up is not link:
            self._say_lost(link, chunk, LostReason.LANE_LOST)
            return
        if stream.state is not RelayState.FORWARDING:
            return
        stream.heard_at = now
        stream.push(chunk)
        if stream.chunks_held > RELAYED_CHUNKS:
            self._lose(stream, LostReason.LANE_LOST)
            return
        self._schedule(stream)
        self._pump(stream, now)

    def _pass_query(self, link: Link, way: Link, frame: ResumeQuery, now: float) -> None:
        stream = self._streams.get(frame.key)
        if stream is not None and frame.attempt < stream.attempt:
            return
        if self._enter(link, way, frame, now) is None or not self._links.answer(way, frame):
            self._say_lost(link, frame, LostReason.LANE_LOST)

    def _has_lost(self, link: Link, probe: ResumeQuery) -> bool:
        """Return whether the origin takes an attempt for living that could not go on here."""
        if probe.key.stream_id == NO_STREAM:
            return False
        stream = self._streams.get(probe.key)
        if stream is None or stream.attempt < probe.attempt:
            return True
        return stream.attempt == probe.attempt and (stream.state is RelayState.LOST or stream.up is not link)

    def _pass_ack(self, way: Link, frame: Ack, now: float) -> None:
        stream = self._streams.get(frame.key)
        if stream is None or frame.attempt != stream.attempt:
            self._links.answer(way, frame)
            return
        stream.heard_at = now
        stream.ack, stream.ack_due = frame, True
        way.outbox.note(stream)
        self._links.wake_control(way)

    def _pass_word(self, link: Link, way: Link, frame: StreamFrame, now: float) -> None:
        stream = self._streams.get(frame.key)
        self._links.answer(way, frame)
        if stream is None:
            return
        stream.heard_at = now
        if isinstance(frame, Ack | Reset) and link in (stream.up, stream.down):
            self._end(stream)
        elif isinstance(frame, Lost) and frame.attempt >= stream.attempt and stream.down is link:
            # The origin will begin anew: what is here is of no use to anybody.
            stream.step(RelayInput.LOST)
            self._clear(stream)

    # Attempts.

    def _enter(self, link: Link, way: Link, frame: Chunk | ResumeQuery, now: float) -> RelayStream | None:
        """Return the stream in the attempt of ``frame``, made if it was not known; None if there are too many."""
        stream = self._streams.get(frame.key)
        if stream is not None and stream.attempt == frame.attempt:
            return stream
        if stream is None:
            if len(self._streams) >= RELAYED_STREAMS:
                return None
            stream = self._streams[frame.key] = RelayStream(
                frame.key, frame.target, frame.attempt, link, way, self._handle_timer, self._on_turn
            )
            stream.idle_timeout_s = self._context.config.idle_timeout_s
        else:
            self._unlink(stream)
            stream.step(RelayInput.ENTERED)
            self._clear(stream)
            stream.attempt, stream.up, stream.down = frame.attempt, link, way
        self._link(stream)
        stream.heard_at = now
        self._schedule(stream)
        return stream

    def _lose(self, stream: RelayStream, reason: LostReason) -> None:
        """The present attempt is lost here: say so to the origin, once."""
        if stream.step(RelayInput.LOST) is not RelayAction.TELL_ORIGIN:
            return
        self._clear(stream)
        way = self._routes.relay_hop(stream.key.origin)
        if way is not None:
            me = self._context.fqcn
            self._links.post(way, Lost(stream.key, stream.target, stream.attempt, reason, me, HOPS))

    def _say_no_route(self, link: Link, frame: StreamFrame) -> None:
        if goes_to_target(frame) and not isinstance(frame, Reset):
            self._say_lost(link, frame, LostReason.NO_ROUTE)

    def _say_lost(self, link: Link, frame: StreamFrame, reason: LostReason) -> None:
        lost = Lost(frame.key, frame.target, frame.attempt, reason, self._context.fqcn, HOPS)
        self._links.answer(link, lost)

    # Writing.

    def _pump(self, stream: RelayStream, now: float) -> None:
        if stream.can_send():
            self._writing.offer(stream.down, stream, now, bulk=stream.bulk)

    def _on_turn(self, stream: RelayStream, size: int) -> None:
        self._context.counters.add(Count.BYTES_RELAYED, size)
        self._speak(stream)

    def _speak(self, stream: RelayStream) -> None:
        """Let the previous hop know how far it may go."""
        if stream.credit_due:
            stream.up.outbox.note(stream)
            self._links.wake_control(stream.up)

    # Links and ways.

    def on_lane_up(self, link: Link, now: float) -> None:
        """Streams over this link can go on."""
        for stream in list(self._by_down.get(link, {}).values()):
            self._pump(stream, now)

    def on_lane_lost(self, link: Link, lane_id: int) -> None:
        """What the lane carried may be lost: tell the origins; and repeat what the previous hop was told."""
        for stream in list(self._by_down.get(link, {}).values()):
            if lane_id in stream.lanes_used:
                stream.lanes_used.discard(lane_id)
                stream.lane_id = None
                if stream.unconfirmed:
                    self._lose(stream, LostReason.LANE_LOST)
        for stream in list(self._by_up.get(link, {}).values()):
            stream.credit_due = stream.told is not None
            stream.ack_due = stream.ack is not None
            link.outbox.note(stream)

    def on_lane_emptied(self, link: Link, lane_id: int, now: float) -> None:
        """What the lane carried has arrived, so its end concerns nobody, and nobody is bound to it."""
        for stream in list(self._by_down.get(link, {}).values()):
            stream.lanes_used.discard(lane_id)
            if stream.lane_id == lane_id:
                stream.lane_id = None
                self._pump(stream, now)

    def on_link_down(self, link: Link) -> None:
        """Streams over this link are lost; those that came over it will come another way, or not at all."""
        for stream in list(self._by_down.get(link, {}).values()):
            self._lose(stream, LostReason.LANE_LOST)
        for stream in [*self._by_down.get(link, {}).values(), *self._by_up.get(link, {}).values()]:
            self._end(stream)

    def on_ways_changed(self, targets: Iterable[str] | None) -> None:
        """An attempt has one way: those to these cells, or to any, that went another one are lost."""
        for target in list(self._by_target) if targets is None else targets:
            streams = self._by_target.get(target)
            if streams:
                way = self._routes.relay_hop(target)
                for stream in [stream for stream in streams.values() if stream.down is not way]:
                    self._lose(stream, LostReason.NO_ROUTE if way is None else LostReason.LANE_LOST)

    # Ends.

    def forget_all(self) -> None:
        """The cell stops."""
        for stream in self.streams():
            self._end(stream)

    def _end(self, stream: RelayStream) -> None:
        stream.step(RelayInput.ENDED)
        self._clear(stream)
        self._unlink(stream)
        del self._streams[stream.key]
        self._context.deadlines.cancel(stream)

    def _clear(self, stream: RelayStream) -> None:
        stream.clear()
        self._writing.withdraw(stream.down, stream)

    def _link(self, stream: RelayStream) -> None:
        self._by_up.setdefault(stream.up, {})[stream.key] = stream
        self._by_down.setdefault(stream.down, {})[stream.key] = stream
        self._by_target.setdefault(stream.target, {})[stream.key] = stream

    def _unlink(self, stream: RelayStream) -> None:
        _take_out(self._by_up, stream.up, stream.key)
        _take_out(self._by_down, stream.down, stream.key)
        _take_out(self._by_target, stream.target, stream.key)

    # Time.

    def _schedule(self, stream: RelayStream) -> None:
        if stream.idle_timeout_s > 0:
            self._context.deadlines.schedule(stream, stream.heard_at + stream.idle_timeout_s)

    def _handle_timer(self, stream: RelayStream, now: float) -> None:
        """Both ends would have shown that they live: without that they have given up, or are gone."""
        # Compared as it was scheduled: the difference of the two may be a rounding error short of the timeout.
        if stream.idle_timeout_s > 0 and now >= stream.heard_at + stream.idle_timeout_s:
            self._end(stream)
        else:
            self._schedule(stream)


def _count_hop(frame: StreamFrame) -> None:
    """Take one hop from those that a frame may still go.

    A chunk that follows the first one of its attempt goes on as it came: it has only the way of that one, which was
    counted, and which does not pass here twice.
    """
    if isinstance(frame, Chunk):
        if frame.open is None:
            return
        frame.encoded = None
    frame.hops_left -= 1


def _take_out(index: dict[_KeyT, dict[StreamKey, RelayStream]], key: _KeyT, stream_key: StreamKey) -> None:
    streams = index[key]
    del streams[stream_key]
    if not streams:
        del index[key]
