"""All streams that a cell sends: where each is found, and which may be under way.

A map with three indices: by stream id, for frames and for the application; by target, for ways that change; by the link
that a stream goes by, for what becomes of its lanes. It finds a sender and hands the input on; what that means, the
sender knows (``half.py``). A stream is in the map from ``open`` until it is settled, which it says itself. Those beyond
the slots of their target are in it, too, and are admitted when others settle (``slots.py``). What is said to a target
about streams that are settled, or of another life of this cell, is said here: no sender is left to say it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from streamcell.digest import Digest
from streamcell.errors import CellError, Fault, StreamCancelled
from streamcell.limits import SESSION_HEARD_S
from streamcell.protocol.base.context import Context, Count
from streamcell.protocol.links.link import Link
from streamcell.protocol.links.settled_news import SettledNews
from streamcell.protocol.sealing.table import SealingTable
from streamcell.protocol.sending import errors as send_errors
from streamcell.protocol.sending.half import StreamSender
from streamcell.protocol.sending.slots import SlotTable
from streamcell.protocol.sending.spec import SendSpec
from streamcell.protocol.sending.states import SenderState
from streamcell.protocol.sending.surroundings import Surroundings
from streamcell.protocol.tree.gate import Gate
from streamcell.protocol.tree.presence import Presence
from streamcell.protocol.tree.routes import RouteTable
from streamcell.protocol.wire.frames import (
    Ack,
    Credit,
    Lost,
    LostReason,
    Payload,
    Reset,
    ResumeQuery,
    ResumeReply,
    Seal,
)

_KeyT = TypeVar("_KeyT")
# Where an answer of the target is waited for, under whatever session.
_ASKING = (SenderState.RESUMING, SenderState.BACKING_OFF)


class SendTable:
    """Every sender that is not settled, by stream id.

    :param on_settled: called with each sender when it has settled, with the error if it failed.
    """

    def __init__(
        self,
        context: Context,
        routes: RouteTable,
        gate: Gate,
        presence: Presence,
        settled: SettledNews,
        sealing: SealingTable,
        on_settled: Callable[[StreamSender, CellError | None], None],
    ) -> None:
        self._senders: dict[int, StreamSender] = {}
        self._by_target: dict[str, dict[int, StreamSender]] = {}
        self._by_link: dict[Link, dict[int, StreamSender]] = {}
        self._slots = SlotTable(context.config)
        self._context = context
        self._routes = routes
        self._gate = gate
        self._presence = presence
        self._settled = settled
        self._sealing = sealing
        sealing.tell(self)
        self._on_settled = on_settled
        self._around = Surroundings(context, settled, self)

    def __len__(self) -> int:
        return len(self._senders)

    @property
    def next_id(self) -> int:
        """The id that the next stream will get."""
        return self._settled.last_id + 1

    def senders(self) -> list[StreamSender]:
        """Return all senders."""
        return list(self._senders.values())

    def get(self, stream_id: int) -> StreamSender | None:
        """Return the sender of a stream that is not settled."""
        return self._senders.get(stream_id)

    def waits_for_slot(self, sender: StreamSender) -> bool:
        """Return whether as many others to its target are under way as may be, so that it was not begun."""
        return self._slots.is_waiting(sender)

    # Verbs of the shell.

    def open(self, spec: SendSpec, now: float) -> StreamSender:
        """Begin a stream; it starts as soon as there is a slot and a way."""
        if spec.target == self._context.fqcn and spec.description.sealed:
            # Nothing of it leaves this cell.
            spec = dataclasses.replace(spec, description=dataclasses.replace(spec.description, sealed=False))
        stream_id = self._settled.begin(spec.target, sealed=spec.description.sealed)
        sender = StreamSender(self._around, spec, stream_id)
        self._senders[stream_id] = sender
        self._by_target.setdefault(spec.target, {})[stream_id] = sender
        self._context.counters.add(Count.STREAMS_OPENED)
        if self._context.stopped:
            sender.give_up(send_errors.stopped(self._context.fqcn), now)
        elif spec.optional and self._routes.next_hop(spec.target) is None:
            sender.give_up(send_errors.unreachable(sender, "there is no way to it now"), now)
        elif self._slots.take(sender):
            sender.admit(self._first_way(sender, now), now)
        return sender

    def _first_way(self, sender: StreamSender, now: float) -> Link | None:
        """Return the way that a stream begins by; None: there is none, or nothing yet that it is sealed under."""
        target = sender.spec.target
        if sender.spec.description.sealed and self._sealing.session_with(target, now) is None:
            self._sealing.want(target, now)
            return None
        return self._routes.next_hop(target)

    def _way_of(self, sender: StreamSender, way: Link | None) -> Link | None:
        """Return ``way``, unless the stream is sealed and there is nothing that it is sealed under."""
        sealed = sender.spec.description.sealed
        return None if sealed and self._sealing.newest_with(sender.spec.target) is None else way

    def supply(self, stream_id: int, pieces: Sequence[Payload], now: float) -> None:
        """Take bytes from the source."""
        sender = self._senders.get(stream_id)
        if sender is not None:
            sender.supply(pieces, now)

    def end_source(self, stream_id: int, digest: Digest | None, now: float) -> None:
        """Take note that the source has no more."""
        sender = self._senders.get(stream_id)
        if sender is not None:
            sender.end_source(digest, now)

    def fail_source(self, stream_id: int, error: CellError, now: float) -> None:
        """Take note that the source failed: what it gave before is delivered first, then the stream fails."""
        sender = self._senders.get(stream_id)
        if sender is not None:
            sender.fail_source(error, now)

    def move_source(self, stream_id: int, offset: int, now: float) -> None:
        """Take note that the source gives the bytes from ``offset`` on next."""
        sender = self._senders.get(stream_id)
        if sender is not None:
            sender.move_source(offset, now)

    def abandon_source(self, stream_id: int, error: CellError, now: float) -> None:
        """End a stream whose source cannot go where its target needs it."""
        sender = self._senders.get(stream_id)
        if sender is not None:
            sender.abandon_source(error, now)

    def cancel(self, stream_id: int, sentence: str, now: float) -> None:
        """End a stream because the application does not want it any more."""
        self.give_up(stream_id, StreamCancelled(sentence, fault=Fault.ORIGIN), now)

    def give_up(self, stream_id: int, error: CellError, now: float) -> None:
        """End a stream from this side."""
        sender = self._senders.get(stream_id)
        if sender is not None:
            sender.give_up(error, now)

    # Frames.

    def handle_credit(self, link: Link, frame: Credit, now: float) -> None:
        """The next hop lets a stream go further."""
        sender = self._senders.get(frame.key.stream_id)
        if sender is not None:
            sender.on_credit(link, frame, now)

    def handle_ack(self, link: Link, frame: Ack, now: float) -> None:
        """The target says what it has."""
        sender = self._senders.get(frame.key.stream_id)
        if sender is None:
            if not frame.complete:
                self._answer_settled(frame)
        elif self._is_from_target(sender, link, frame):
            sender.on_ack(frame, now)

    def handle_lost(self, link: Link, frame: Lost, now: float) -> None:
        """Something on the way of an attempt, or its target, lost frames of it. What is late is of an earlier one."""
        sender = self._senders.get(frame.key.stream_id)
        if sender is None or frame.attempt < sender.attempt.number:
            return
        is_known = frame.target == sender.spec.target and frame.attempt == sender.attempt.number
        if is_known and (sender.goes_by(link) or frame.reporter == frame.target):
            if frame.reason is LostReason.NO_SESSION and sender.spec.description.sealed:
                self._sealing.renew(frame.target, now)
            sender.on_lost(frame, now)
        elif sender.link is not None:
            self._gate.refuse_about_stream(link, frame)

    def handle_reset(self, link: Link, frame: Reset, now: float) -> None:
        """The target gave the stream up."""
        sender = self._senders.get(frame.key.stream_id)
        if sender is not None and self._is_from_target(sender, link, frame):
            sender.on_reset(frame, now)

    def handle_resume_reply(self, link: Link, frame: ResumeReply, now: float) -> None:
        """The target says where to go on."""
        sender = self._senders.get(frame.key.stream_id)
        if sender is None:
            if not frame.unknown:
                self._answer_settled(frame)
        elif self._is_from_target(sender, link, frame):
            sender.on_resume_reply(frame, now)

    def _is_from_target(self, sender: StreamSender, link: Link, frame: Ack | Reset | ResumeReply) -> bool:
        """Return whether a frame is one of the stream's target, in whose name it was let in, and refuse it if not.

        Of a sealed stream it must have proved that: without a seal it does nothing.
        """
        if sender.spec.description.sealed and frame.seal is None:
            self._context.counters.add(Count.FRAMES_UNPROVEN)
            return False
        if frame.target == sender.spec.target:
            return True
        self._gate.refuse_about_stream(link, frame)
        return False

    def _answer_settled(self, frame: Ack | ResumeReply) -> None:
        """The target holds a stream that is settled here: what ended it got lost, and is made up for."""
        link = self._routes.next_hop(frame.target)
        if link is not None and 0 < frame.key.stream_id <= self._settled.last_id:
            sentence = f"{self._context.fqcn} has settled stream {frame.key.stream_id}"
            settled = StreamCancelled(sentence, fault=Fault.ORIGIN)
            seal = None if frame.seal is None else Seal(frame.seal.session_id)
            link.answer(Reset.by_origin(frame.key, frame.target, frame.attempt, settled, seal))

    def answer_late_target(self, frame: Ack | ResumeReply) -> None:
        """A target holds a stream of another life of this cell: show it this one, with which that stream ends.

        Nothing else may tell it. Only neighbours hear of a new life by themselves.
        """
        link = self._routes.next_hop(frame.target)
        if link is not None:
            me, life = self._context.fqcn, self._context.incarnation
            link.answer(ResumeQuery.showing_life(me, life, frame.target))

    # Links.

    def on_link_begun(self, link: Link, now: float) -> None:
        """The neighbour remembers no stream that went by the link: it was restarted, or held the link for dead."""
        for sender in self._going_by(link):
            sender.on_link_begun(now)

    def on_lane_up(self, link: Link, now: float) -> None:
        """Streams over this link can go, or go on."""
        for sender in self._going_by(link):
            sender.on_lane_up(link, now)

    def on_ways_changed(self, targets: Iterable[str] | None, now: float) -> None:
        """Streams to these cells, or to any, may have another way, or none."""
        for target in list(self._by_target) if targets is None else targets:
            senders = self._by_target.get(target)
            if senders:
                way = self._routes.next_hop(target)
                for sender in list(senders.values()):
                    sender.on_way_changed(self._way_of(sender, way), now)

    def on_lane_lost(self, link: Link, lane_id: int, now: float) -> None:
        """What the lane carried may be lost."""
        for sender in self._going_by(link):
            sender.on_lane_lost(link, lane_id, now)

    def on_lane_emptied(self, link: Link, lane_id: int, now: float) -> None:
        """What the lane carried has arrived."""
        for sender in self._going_by(link):
            sender.on_lane_emptied(lane_id, now)

    def _going_by(self, link: Link) -> list[StreamSender]:
        """Return the streams that go by a link, in the order in which they were opened."""
        return [sender for _, sender in sorted(self._by_link.get(link, {}).items())]

    # Sessions.

    def on_session_begun(self, target: str, now: float) -> None:
        """There is something to seal under: streams that wait for it go on."""
        way = self._routes.next_hop(target)
        for sender in self._sealed_to(target):
            if way is not None and (sender.link is None or sender.state in _ASKING):
                sender.take_way(way, now)

    def on_session_failed(self, target: str, error: CellError, now: float) -> None:
        """There will be nothing to seal under: streams that wait for it fail."""
        for sender in self._sealed_to(target):
            if sender.link is None or sender.state in _ASKING:
                sender.give_up(error, now)

    def on_sessions_over(self, target: str, now: float) -> None:
        """There is nothing to seal under any more: streams wait for something else."""
        for sender in self._sealed_to(target):
            sender.on_way_changed(None, now)
            self._sealing.want(target, now)

    def _sealed_to(self, target: str) -> list[StreamSender]:
        """Return the sealed streams to a target that were begun."""
        senders = self._by_target.get(target, {}).values()
        return [each for each in senders if each.spec.description.sealed and each.state is not SenderState.QUEUED]

    # What senders ask, and report.

    def seal_for(self, target: str) -> Seal:
        """Return under what session frames to a target are sealed; an empty one has them dropped."""
        session = self._sealing.newest_with(target)
        return Seal(b"" if session is None else session.lives.session_id)

    def life_for(self, spec: SendSpec, now: float) -> int | None:
        """Return the life of the target that is there as far as this cell can know, or None.

        What is sealed is for the life that shares the session, as long as that is heard of.
        """
        target = spec.target
        if spec.description.sealed:
            session = self._sealing.newest_with(target)
            return None if session is None or now > session.heard_at + SESSION_HEARD_S else session.peer_life
        life = self._routes.life_of(target)
        return self._presence.life_of(target) if life is None else life

    def is_over(self, target: str, life: int) -> bool:
        """Return whether that life of the target is known to have ended."""
        return self._presence.is_over(target, life)

    def on_way_taken(self, sender: StreamSender, link: Link | None) -> None:
        """Find the sender by its new link from now on."""
        _take_out(self._by_link, sender.link, sender)
        if link is not None:
            self._by_link.setdefault(link, {})[sender.key.stream_id] = sender

    def on_sender_settled(self, sender: StreamSender, error: CellError | None, now: float) -> None:
        """Take a sender out, and let those begin that waited for its slot."""
        stream_id, target = sender.key.stream_id, sender.spec.target
        del self._senders[stream_id]
        _take_out(self._by_target, target, sender)
        _take_out(self._by_link, sender.link, sender)
        self._settled.add(target, stream_id, sender.link)
        for following in self._slots.release(sender):
            following.admit(self._first_way(following, now), now)
        self._on_settled(sender, error)


def _take_out(index: dict[_KeyT, dict[int, StreamSender]], key: _KeyT | None, sender: StreamSender) -> None:
    """Take a sender out of an index, and its key with the last one."""
    if key is None:
        return
    del index[key][sender.key.stream_id]
    if not index[key]:
        del index[key]
