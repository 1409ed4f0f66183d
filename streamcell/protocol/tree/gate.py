"""Which frames may come over a link, and what becomes of the others.

Who made a frame is for its link to vouch for: the cells that have been announced over it (``routes.py``). A shortcut
carries nothing but the frames of its two ends.

Whether who made it may say that of a stream is for those to decide that know the stream: its origin, and the relays on
its way (:meth:`Gate.refuse_about_stream`).
"""

from __future__ import annotations

from streamcell.protocol.base.context import Context, Count
from streamcell.protocol.base.events import FrameRefused
from streamcell.protocol.links.kinds import LinkKind
from streamcell.protocol.links.link import Link
from streamcell.protocol.tree.routes import RouteTable
from streamcell.protocol.wire.addressing import RoutedFrame, StreamFrame, source_of
from streamcell.protocol.wire.frames import NO_STREAM, Chunk, Lost, LostReason, QueryReply, ResumeQuery


class Gate:
    """Where frames with a source and a destination come in."""

    def __init__(self, context: Context, routes: RouteTable) -> None:
        self._context = context
        self._routes = routes

    def excuses(self, link: Link, frame: RoutedFrame, source: str) -> bool:
        """Return whether a frame may come over a link whose neighbour may not speak for its source.

        A name that the cells above have not agreed on yet may be contested already.
        """
        return isinstance(frame, QueryReply) and self._routes.leads_back(link, source)

    def speaks_for_itself(self, link: Link) -> bool:
        """Return whether the neighbour has the name that its link has."""
        return self._routes.admits(link, link.fqcn, self._context.fqcn)

    def refuse(self, link: Link, frame: RoutedFrame, destination: str) -> None:
        """Drop a frame in the name of a cell that is not behind the link: a lie, or one that overtook the news.

        For the second case the origin is told, by the way that the frame came.
        """
        source = source_of(frame)
        if self._is_early(link, source, destination):
            self._context.events.append(FrameRefused(link.fqcn, source, True))
        else:
            self._context.counters.add(Count.FRAMES_REFUSED)
            link.on_frame_refused(source)
        self.say_lost(link, frame)

    def refuse_about_stream(self, link: Link, frame: StreamFrame) -> None:
        """Drop a frame about a stream of which its maker is no end, or not where the stream goes: a lie."""
        self._context.counters.add(Count.FRAMES_REFUSED)
        link.on_frame_refused(source_of(frame), frame.key)

    def say_lost(self, link: Link, frame: RoutedFrame) -> None:
        """Have the origin of a chunk or a question that is not taken in ask again, by the way that it came."""
        if isinstance(frame, Chunk | ResumeQuery) and frame.key.stream_id != NO_STREAM:
            reason = LostReason.OTHER_LIFE if self._is_misled(frame) else LostReason.LANE_LOST
            link.answer(Lost.of(frame, reason, self._context.fqcn))

    def _is_misled(self, frame: Chunk | ResumeQuery) -> bool:
        """Return whether an attempt was for another life of this cell, which also says that no life has got it."""
        context = self._context
        return (
            isinstance(frame, Chunk) and frame.target == context.fqcn and frame.is_for_another_life(context.incarnation)
        )

    def _is_early(self, link: Link, source: str, destination: str) -> bool:
        """Return whether the news that makes a frame right is surely on its way, as after each restart."""
        if link.kind is LinkKind.SHORTCUT:
            return source == link.fqcn and destination in ("", self._context.fqcn)
        route = self._routes.get(source)
        return source == link.fqcn if route is None else route.link is link
