"""All streams that pass through a cell.

Frames of streams between other cells go on towards the one that they are for. Chunks wait here for credit and their
turn (``passing.py``); everything else is passed on at once. A relay keeps nothing across a break and ends no stream:
when it has lost something, or knows no way, it says Lost to the origin, which alone decides what is sent again.

The table finds the stream that a frame belongs to and hands the frame on. It knows of each stream by which links and
to which cell it goes, so that what happens to a link or to a way visits those streams alone.

A stream has one target: whoever names another one under its key is no end of it, and is refused (``gate.py``).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from streamcell.limits import RELAYED_STREAMS, RELAYED_STREAMS_OF_NEIGHBOUR, STREAMS_OF_FREE_CREDIT
from streamcell.protocol.base.context import Context
from streamcell.protocol.base.rules import Rules
from streamcell.protocol.flow.credit import WindowBudget
from streamcell.protocol.links.kinds import LinkKind
from streamcell.protocol.links.link import Link
from streamcell.protocol.relaying.passing import RelayedStream, Surroundings, fault_in_passing
from streamcell.protocol.tree.gate import Gate
from streamcell.protocol.tree.routes import RouteTable
from streamcell.protocol.wire.addressing import StreamFrame, goes_to_target
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
_Index = dict[Link, dict[StreamKey, RelayedStream]]


class RelayTable:
    """Every stream between other cells that has passed here and is not known to have ended."""

    def __init__(self, context: Context, routes: RouteTable, gate: Gate, budget: WindowBudget) -> None:
        self._context = context
        self._fqcn = context.fqcn
        self._routes = routes
        self._gate = gate
        self._near = Surroundings(context, routes, budget, self)
        self._streams: dict[StreamKey, RelayedStream] = {}
        self._by_up: _Index = {}
        self._by_down: _Index = {}
        self._by_target: dict[str, dict[StreamKey, RelayedStream]] = {}

    def streams(self) -> list[RelayedStream]:
        """Return all streams that pass through."""
        return list(self._streams.values())

    # Frames.

    def forward(self, link: Link, frame: StreamFrame, destination: str, now: float) -> None:
        """Pass on a frame of a stream that is between other cells.

        :raises ProtocolError: if the peer broke the rules so that it is to be cut off.
        """
        way = self._routes.relay_hop(destination)
        if way is None or way is link or frame.hops_left == 0:
            self._say_no_route(link, frame)
            return
        stream = self._streams.get(frame.key)
        if stream is not None and stream.target != frame.target:
            self._gate.refuse_about_stream(link, frame)
            return
        frame = frame.one_hop_on()
        if isinstance(frame, Chunk):
            if stream is None or frame.attempt != stream.attempt:
                stream = self._begin_attempt(stream, link, way, frame, now)
            if stream is None:
                return
            link.remembered_window.heard(now)
            if not stream.on_chunk(link, frame, now):
                self._say_lost(link, frame, LostReason.LANE_LOST)
        elif isinstance(frame, Ack) and not frame.complete:
            if stream is not None and frame.attempt == stream.attempt:
                stream.on_ack(way, frame, now)
            else:
                way.say(frame)
        elif isinstance(frame, ResumeQuery) and not frame.probe:
            self._pass_question(stream, link, way, frame, now)
        elif isinstance(frame, Lost):
            self._pass_loss(stream, link, way, frame, now)
        else:
            if isinstance(frame, ResumeQuery) and _is_vain(stream, link, frame):
                self._say_lost(link, frame, LostReason.LANE_LOST)
            self._pass_word(stream, link, way, frame, now)

    def refuses(self, rules: Rules, link: Link, frame: StreamFrame) -> bool:
        """Refuse what a child sends and may not; return whether it was. What follows the first chunk is as that was."""
        name = None
        if isinstance(frame, Chunk) and frame.open is not None:
            name = frame.channel, frame.topic, frame.open.description.kind, frame.seal is not None
        elif not isinstance(frame, ResumeQuery):
            return False
        if link.kind is not LinkKind.CHILD:
            return False
        way = self._routes.relay_hop(frame.target)
        fault = fault_in_passing(rules, self._fqcn, frame.key.origin, frame.target, name, way)
        if fault and frame.key.stream_id != NO_STREAM:
            self._context.on_access_refused(link.fqcn, link.address, fault)
            link.answer(Lost.of(frame, LostReason.REFUSED, self._fqcn, fault))
        return bool(fault)

    def judge_passage(self, key: StreamKey, attempt: int, refusal: str, now: float) -> None:
        """The application says whether an attempt may pass."""
        stream = self._streams.get(key)
        if stream is not None and stream.attempt == attempt:
            stream.on_judged(refusal, now)

    def on_rules_changed(self) -> None:
        """Refuse the streams of children that may not pass any more."""
        rules = self._context.rules
        if rules is None:
            return
        for stream in self.streams():
            fault = stream.fault_in(rules) if stream.up.kind is LinkKind.CHILD else ""
            if fault:
                self._context.on_access_refused(stream.up.fqcn, stream.up.address, fault)
                stream.lose(LostReason.REFUSED, fault)

    def on_credit(self, link: Link, frame: Credit, now: float) -> None:
        """The next hop lets a stream go further."""
        stream = self._streams.get(frame.key)
        if stream is not None and stream.goes_by(link) and stream.attempt == frame.attempt:
            stream.on_credit(frame.offset, now)

    def _begin_attempt(
        self, stream: RelayedStream | None, link: Link, way: Link, chunk: Chunk, now: float
    ) -> RelayedStream | None:
        """Return the stream in the attempt that a chunk opens; None: it is late, or lost, of which the origin hears."""
        if stream is not None and chunk.attempt < stream.attempt:
            return None
        if chunk.open is None:
            self._say_lost(link, chunk, LostReason.LANE_LOST)
            return None
        if stream is None and self._is_full(link):
            self._say_lost(link, chunk, LostReason.LIMIT)
            return None
        return self._enter(stream, link, way, chunk, now)

    def _pass_question(
        self, stream: RelayedStream | None, link: Link, way: Link, frame: ResumeQuery, now: float
    ) -> None:
        """A question begins an attempt, unless it is the question of the present one that is asked again."""
        if stream is not None and frame.attempt < stream.attempt:
            return
        if stream is None and self._is_full(link):
            self._say_lost(link, frame, LostReason.LIMIT)
            return
        if stream is None or frame.attempt > stream.attempt:
            self._enter(stream, link, way, frame, now)
        if not way.say(frame):
            self._say_lost(link, frame, LostReason.LANE_LOST)

    def _pass_loss(self, stream: RelayedStream | None, link: Link, way: Link, frame: Lost, now: float) -> None:
        """A loss is known to the hops that the attempt goes by, and to its target.

        Of an attempt that was not begun here no hop behind this one has anything, and this cell itself says so to
        whoever takes it for living.
        """
        by_target = frame.reporter == frame.target
        if stream is None:
            if by_target:
                way.say(frame)
        elif by_target or stream.goes_by(link):
            stream.on_loss_beyond(frame, now)
        elif frame.attempt >= stream.attempt:
            self._gate.refuse_about_stream(link, frame)

    def _pass_word(self, stream: RelayedStream | None, link: Link, way: Link, frame: StreamFrame, now: float) -> None:
        way.say(frame)
        if stream is None:
            return
        stream.on_life_sign(now)
        if isinstance(frame, (Ack, Reset)):
            stream.on_last_word(link)

    def _say_no_route(self, link: Link, frame: StreamFrame) -> None:
        if goes_to_target(frame) and not isinstance(frame, Reset):
            self._say_lost(link, frame, LostReason.NO_ROUTE)

    def _say_lost(self, link: Link, frame: StreamFrame, reason: LostReason) -> None:
        link.answer(Lost.of(frame, reason, self._fqcn))

    # Links and ways.

    def on_lane_up(self, link: Link, now: float) -> None:
        """Streams over this link can go on."""
        for stream in list(self._by_down.get(link, {}).values()):
            stream.offer(now)

    def on_lane_lost(self, link: Link, lane_id: int) -> None:
        """What the lane carried may be lost: tell the origins; and repeat what the previous hop was told."""
        for stream in list(self._by_down.get(link, {}).values()):
            stream.on_lane_lost(lane_id)
        for stream in list(self._by_up.get(link, {}).values()):
            stream.repeat_news()

    def on_lane_emptied(self, link: Link, lane_id: int, now: float) -> None:
        """What the lane carried has arrived."""
        for stream in list(self._by_down.get(link, {}).values()):
            stream.on_lane_emptied(lane_id, now)

    def on_link_down(self, link: Link) -> None:
        """Streams over this link are lost; those that came over it will come another way, or not at all."""
        going = list(self._by_down.get(link, {}).values())
        for stream in going:
            stream.lose(LostReason.LANE_LOST)
        for stream in [*going, *self._by_up.get(link, {}).values()]:
            stream.give_up()

    def on_ways_changed(self, targets: Iterable[str] | None) -> None:
        """An attempt has one way: those to these cells, or to any, that went another one are lost."""
        for target in list(self._by_target) if targets is None else targets:
            streams = self._by_target.get(target)
            if streams:
                way = self._routes.relay_hop(target)
                reason = LostReason.NO_ROUTE if way is None else LostReason.LANE_LOST
                for stream in [stream for stream in streams.values() if way is None or not stream.goes_by(way)]:
                    stream.lose(reason)

    def give_up_all(self) -> None:
        """The cell stops."""
        for stream in self.streams():
            stream.give_up()

    # Which streams there are.

    def _is_full(self, link: Link) -> bool:
        """Return whether no stream more may come over a link."""
        return len(self._streams) >= RELAYED_STREAMS or len(self._by_up.get(link, ())) >= RELAYED_STREAMS_OF_NEIGHBOUR

    def has_free_credit(self, link: Link) -> bool:
        """Return whether the streams that come over a link are so few that their initial credit is free."""
        return len(self._by_up.get(link, ())) <= STREAMS_OF_FREE_CREDIT

    def _enter(
        self, stream: RelayedStream | None, link: Link, way: Link, frame: Chunk | ResumeQuery, now: float
    ) -> RelayedStream:
        """Return the stream in the attempt that a frame begins, made if it was not known."""
        if stream is not None:
            self._unlink(stream)
            stream.enter_attempt(frame.attempt, link, way, now)
        else:
            stream = self._streams[frame.key] = RelayedStream(self._near, frame, link, way, now)
        self._by_up.setdefault(link, {})[stream.key] = stream
        self._by_down.setdefault(way, {})[stream.key] = stream
        self._by_target.setdefault(stream.target, {})[stream.key] = stream
        return stream

    def on_stream_over(self, stream: RelayedStream) -> None:
        """A stream has passed, or is given up."""
        del self._streams[stream.key]
        self._unlink(stream)

    def _unlink(self, stream: RelayedStream) -> None:
        _take_out(self._by_up, stream.up, stream.key)
        _take_out(self._by_down, stream.branch.link, stream.key)
        _take_out(self._by_target, stream.target, stream.key)


def _is_vain(stream: RelayedStream | None, link: Link, probe: ResumeQuery) -> bool:
    """Return whether the origin takes an attempt for living that cannot go on here."""
    return probe.key.stream_id != NO_STREAM and (stream is None or stream.is_lost_to(link, probe.attempt))


def _take_out(index: dict[_KeyT, dict[StreamKey, RelayedStream]], key: _KeyT, stream_key: StreamKey) -> None:
    streams = index[key]
    del streams[stream_key]
    if not streams:
        del index[key]
