"""All streams that a cell sends.

Decides when a stream may start (slots for each target), when an attempt begins (a lane that carried unconfirmed bytes
broke, the way changed, the target said Lost), and when the origin gives up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from streamcell.errors import CellError, Fault, StreamCancelled
from streamcell.limits import SMALL_STREAM_BYTES
from streamcell.protocol.base.context import Context, Count
from streamcell.protocol.base.events import SendFailed, SendFinished, SendProgressed, SourceWanted
from streamcell.protocol.links.link import Lane, Link
from streamcell.protocol.links.table import LinkTable
from streamcell.protocol.links.writing import Writing
from streamcell.protocol.sending import errors as send_errors
from streamcell.protocol.sending import patience
from streamcell.protocol.sending.half import SendSpec, StreamSender
from streamcell.protocol.sending.resuming import Resuming
from streamcell.protocol.sending.settled_news import SettledNews
from streamcell.protocol.sending.slots import SlotTable
from streamcell.protocol.sending.states import (
    SenderAction,
    SenderInput,
    SenderState,
)
from streamcell.protocol.tree.presence import Presence
from streamcell.protocol.tree.routes import RouteTable
from streamcell.protocol.wire.frames import (
    Ack,
    Chunk,
    Credit,
    Lost,
    LostReason,
    Payload,
    Reset,
    ResumeQuery,
    ResumeReply,
)

# Where nothing is asked of the source: it is not known from where on, or nothing is needed.
_SOURCE_RESTS = (SenderState.QUEUED, SenderState.AWAITING_OFFSET, SenderState.SEEKING, SenderState.SETTLED)


class SendTable:
    """Every sender that is not settled, by stream id.

    :param on_settled: called with each sender when it has settled, with the error if it failed.
    """

    def __init__(
        self,
        context: Context,
        links: LinkTable,
        routes: RouteTable,
        presence: Presence,
        writing: Writing,
        settled: SettledNews,
        on_settled: Callable[[StreamSender, CellError | None], None],
    ) -> None:
        self._senders: dict[int, StreamSender] = {}
        self._by_target: dict[str, dict[int, StreamSender]] = {}
        self._slots = SlotTable(context.config)
        self._resuming = Resuming(context, self)
        self._context = context
        self._links = links
        self._routes = routes
        self._presence = presence
        self._writing = writing
        self._settled = settled
        self._on_settled = on_settled
        self._last_id = 0

    def __len__(self) -> int:
        return len(self._senders)

    @property
    def next_id(self) -> int:
        """The id that the next stream will get."""
        return self._last_id + 1

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
        self._last_id += 1
        sender = StreamSender(self._context, spec, self._last_id)
        sender.on_timer = self._handle_timer
        sender.on_turn = self._take_turn
        self._senders[self._last_id] = sender
        self._by_target.setdefault(spec.target, {})[self._last_id] = sender
        self._context.counters.add(Count.STREAMS_OPENED)
        if self._context.stopped:
            self.give_up(sender, send_errors.stopped(self._context.fqcn), now)
        elif spec.optional and self._routes.next_hop(spec.target) is None:
            self.give_up(sender, send_errors.unreachable(sender, "there is no way to it now"), now)
        elif self._slots.take(sender):
            self._start(sender, now)
        return sender

    def supply(self, stream_id: int, pieces: Sequence[Payload], now: float) -> None:
        """Take bytes from the source."""
        sender = self._fed(stream_id)
        if sender is None:
            return
        for piece in pieces:
            sender.buffer.append(piece)
            sender.wanted = max(0, sender.wanted - len(piece))
        declared = sender.spec.description.size
        if declared is not None and sender.buffer.end > declared:
            self.give_up(sender, send_errors.longer_than_declared(sender, declared), now)
            return
        self.pump(sender, now)

    def end_source(self, stream_id: int, digest: str, now: float) -> None:
        """Take note that the source has no more."""
        sender = self._fed(stream_id)
        if sender is None:
            return
        declared = sender.spec.description.size if sender.total is None else sender.total
        if declared is not None and sender.buffer.end != declared:
            self.give_up(sender, send_errors.other_end(sender, declared), now)
            return
        sender.source_ended = True
        sender.total = sender.buffer.end
        sender.wanted = 0
        sender.digest = digest
        self.pump(sender, now)

    def fail_source(self, stream_id: int, error: CellError, now: float) -> None:
        """Take note that the source failed: what it gave before is delivered first, then the stream fails."""
        sender = self._fed(stream_id)
        if sender is not None:
            sender.source_error = error
            self._end_failed_source(sender, now)

    def move_source(self, stream_id: int, offset: int, now: float) -> None:
        """Take note that the source gives the bytes from ``offset`` on next."""
        sender = self._senders.get(stream_id)
        if sender is not None:
            self._resuming.move_source(sender, offset, now)

    def abandon_source(self, stream_id: int, error: CellError, now: float) -> None:
        """End a stream whose source cannot go where its target needs it."""
        sender = self._senders.get(stream_id)
        if sender is not None and sender.state is SenderState.SEEKING:
            self.give_up(sender, error, now)

    def cancel(self, stream_id: int, sentence: str, now: float) -> None:
        """End a stream because the application does not want it any more."""
        sender = self._senders.get(stream_id)
        if sender is not None:
            self.give_up(sender, StreamCancelled(sentence, fault=Fault.ORIGIN), now)

    def _fed(self, stream_id: int) -> StreamSender | None:
        """Return the sender if what its source gives now counts."""
        sender = self._senders.get(stream_id)
        if sender is None or sender.source_ended or sender.source_error is not None:
            return None
        return None if sender.state is SenderState.SEEKING and not sender.keeps_all else sender

    def _end_failed_source(self, sender: StreamSender, now: float) -> None:
        if sender.source_error is not None and sender.received == sender.buffer.end:
            self.give_up(sender, sender.source_error, now)

    def give_up(self, sender: StreamSender, error: CellError, now: float) -> None:
        """End a stream from this side."""
        action = sender.step(SenderInput.GIVE_UP)
        if action is SenderAction.RESET_AND_FAIL and sender.link is not None:
            sender.link.outbox.post(sender.reset(error))
            self._links.wake_control(sender.link)
        self._settle(sender, error, now)

    # Frames.

    def handle_credit(self, link: Link, frame: Credit, now: float) -> None:
        """The next hop lets a stream go further."""
        sender = self._senders.get(frame.key.stream_id)
        if sender is None or sender.link is not link or frame.attempt != sender.attempt:
            return
        sender.extend_credit(frame.offset)
        self.pump(sender, now)

    def handle_ack(self, frame: Ack, now: float) -> None:
        """The target says what it has."""
        sender = self._senders.get(frame.key.stream_id)
        if sender is None:
            if not frame.complete:
                self._answer_settled(frame)
            return
        sender.heard_at = now
        if frame.complete:
            self._complete(sender, frame, now)
        elif frame.attempt == sender.attempt and self._same_life(sender, frame.target_incarnation, now):
            self._progress(sender, frame, now)

    def handle_lost(self, frame: Lost, now: float) -> None:
        """Something on the way, or the target, lost frames of the present attempt."""
        sender = self._senders.get(frame.key.stream_id)
        if sender is None or frame.attempt != sender.attempt:
            return
        if frame.reason is LostReason.OTHER_LIFE:
            sender.note_refused()
        if frame.reason is LostReason.NO_ROUTE and sender.spec.optional:
            error = send_errors.unreachable(sender, f"{frame.reporter} knows no way to it now")
            self.give_up(sender, error, now)
        else:
            self._lose_path(sender, now)

    def handle_reset(self, frame: Reset, now: float) -> None:
        """The target gave the stream up."""
        sender = self._senders.get(frame.key.stream_id)
        if sender is None or sender.step(SenderInput.RESET) is not SenderAction.FAIL:
            return
        self._settle(sender, send_errors.reset_by_target(sender, frame), now)

    def handle_resume_reply(self, frame: ResumeReply, now: float) -> None:
        """The target says where to go on."""
        sender = self._senders.get(frame.key.stream_id)
        if sender is None and not frame.unknown:
            self._answer_settled(frame)
        if sender is None or frame.attempt != sender.attempt:
            return
        if not frame.probe:
            self._resuming.handle_reply(sender, frame, now)
        elif frame.unknown and sender.acknowledged:
            self._lose_path(sender, now)

    def _answer_settled(self, frame: Ack | ResumeReply) -> None:
        """The target holds a stream that is settled here: what ended it got lost, and is made up for."""
        link = self._routes.next_hop(frame.target)
        if link is not None and frame.key.stream_id in self._settled:
            sentence = f"{self._context.fqcn} has settled stream {frame.key.stream_id}"
            settled = StreamCancelled(sentence, fault=Fault.ORIGIN)
            self._links.answer(link, Reset.by_origin(frame.key, frame.target, frame.attempt, settled))

    def answer_late_target(self, frame: Ack | ResumeReply) -> None:
        """A target holds a stream of another life of this cell: show it this one, with which that stream ends.

        Nothing else may tell it. Only neighbours hear of a new life by themselves.
        """
        link = self._routes.next_hop(frame.target)
        if link is not None:
            me, life = self._context.fqcn, self._context.incarnation
            self._links.answer(link, ResumeQuery.showing_life(me, life, frame.target))

    # Links.

    def on_link_begun(self, link: Link, now: float) -> None:
        """The neighbour remembers no stream that went by the link: it was restarted, or held the link for dead."""
        for sender in list(self._senders.values()):
            if sender.link is link and sender.opened:
                self._lose_path(sender, now)

    def on_lane_up(self, link: Link, now: float) -> None:
        """Streams over this link can go, or go on."""
        for sender in list(self._senders.values()):
            if sender.link is link:
                if sender.query_due or sender.probe_due:
                    link.outbox.note(sender)
                self.pump(sender, now)

    def on_ways_changed(self, targets: Iterable[str] | None, now: float) -> None:
        """Streams to these cells, or to any, may have another way, or none."""
        for target in list(self._by_target) if targets is None else targets:
            senders = self._by_target.get(target)
            if senders:
                way = self._routes.next_hop(target)
                for sender in list(senders.values()):
                    self._change_way(sender, way, now)

    def _change_way(self, sender: StreamSender, way: Link | None, now: float) -> None:
        if sender.link is way or sender.state in (SenderState.QUEUED, SenderState.SETTLED):
            return
        if way is not None:
            self._take_way(sender, way, now)
            self.pump(sender, now)
            return
        self._writing.withdraw(sender.link, sender)
        sender.link = None
        if sender.spec.optional:
            self.give_up(sender, send_errors.unreachable(sender, "there is no way to it any more"), now)

    def on_lane_lost(self, link: Link, lane_id: int, now: float) -> None:
        """Resume what the lane carried."""
        for sender in list(self._senders.values()):
            if sender.link is not link or lane_id not in sender.lanes_used:
                continue
            sender.lanes_used.discard(lane_id)
            if sender.state is SenderState.RESUMING:
                sender.query_due = True
                link.outbox.note(sender)
            elif sender.unconfirmed:
                self._lose_path(sender, now)
            else:
                sender.lane_id = None
                sender.probe_due = True
                link.outbox.note(sender)

    def on_lane_emptied(self, lane_id: int, now: float) -> None:
        """What the lane carried has arrived, so its end concerns nobody, and nobody is bound to it."""
        for sender in list(self._senders.values()):
            sender.lanes_used.discard(lane_id)
            if sender.lane_id == lane_id:
                sender.lane_id = None
                self.pump(sender, now)

    # Writers.

    def note_spoken(self, stream_id: int, lane_id: int, now: float) -> None:
        """A query or probe of the stream was put on a lane."""
        sender = self._senders[stream_id]
        sender.lanes_used.add(lane_id)
        sender.spoke_at = now
        self._schedule(sender)

    def _take_turn(
        self, sender: StreamSender, link: Link, lane: Lane, room: int | None, now: float, control: bool
    ) -> Chunk:
        if not sender.opened:
            sender.aim(self._life_of(sender.spec.target))
        settled_below, settled = self._settled.take(link) if control and not sender.opened else (0, ())
        chunk = sender.cut_chunk(settled_below, settled, room)
        self._sent_chunk(sender, lane, chunk, now)
        return chunk

    def _sent_chunk(self, sender: StreamSender, lane: Lane, chunk: Chunk, now: float) -> None:
        sender.lanes_used.add(lane.lane_id)
        sender.spoke_at = now
        sender.lane_id = None if sender.credited else lane.lane_id
        if chunk.open is not None:
            self._schedule(sender)
        if chunk.last:
            sender.step(SenderInput.LAST_SENT)
        else:
            self._want_source(sender)

    # Starting.

    def _life_of(self, target: str) -> int | None:
        """Return the life of the target that is there as far as this cell can know, or None."""
        life = self._routes.life_of(target)
        return self._presence.life_of(target) if life is None else life

    def _start(self, sender: StreamSender, now: float) -> None:
        sender.heard_at = sender.spoke_at = now
        self._schedule(sender)
        if sender.asks_offset:
            sender.step(SenderInput.ADMITTED_TO_ASK)
            self._resuming.ask_offset(sender, now)
        else:
            sender.step(SenderInput.ADMITTED)
        if sender.whole:
            sender.target_incarnation = self._life_of(sender.spec.target)
            if sender.target_incarnation is None:
                # Before anything is sent that must not arrive twice, the origin has to know who would get it.
                sender.step(SenderInput.PATH_LOST)
                sender.ask()
        link = self._routes.next_hop(sender.spec.target)
        if link is not None:
            self._take_way(sender, link, now)
        self.pump(sender, now)

    def _take_way(self, sender: StreamSender, link: Link, now: float) -> None:
        """Go by ``link`` from now on; what was sent another way is a new attempt."""
        self._writing.withdraw(sender.link, sender)
        sender.link = link
        sender.lanes_used.clear()
        if sender.state in (SenderState.SENDING, SenderState.AWAITING_OFFSET) and not sender.opened:
            if sender.asked:
                # The answer holds; but the question went another way, and with it the attempt.
                sender.raise_attempt()
            sender.begin(sender.next_offset, link.initial_credit)
        elif sender.state in (SenderState.SENDING, SenderState.AWAITING_OFFSET, SenderState.FINISHING):
            self._lose_path(sender, now)
        elif sender.step(SenderInput.BACKOFF_OVER) is SenderAction.QUERY:
            # There is news of a way: no need to wait any longer.
            self._query(sender)
        else:
            if sender.asked or sender.opened:
                # The question went another way, or the offer, and with it the attempt.
                self._query(sender)
            self._speak(sender)

    def pump(self, sender: StreamSender, now: float) -> None:
        """Put the stream where writers find it, if it can send, and ask its source for more, if there is room."""
        self._want_source(sender)
        link = sender.link
        if link is None or not sender.can_send():
            return
        size = sender.spec.description.size
        self._writing.offer(link, sender, now, bulk=size is None or size > SMALL_STREAM_BYTES)

    def _want_source(self, sender: StreamSender) -> None:
        if sender.state in _SOURCE_RESTS:
            return
        room = sender.source_room()
        if room > 0:
            sender.wanted = room
            self._context.events.append(SourceWanted(sender.key.stream_id, room))

    # Progress.

    def _progress(self, sender: StreamSender, frame: Ack, now: float) -> None:
        sender.acknowledged = sender.answered = True
        sender.lost_in_a_row = 0
        if not sender.placed:
            return
        sender.taken_up = True
        if frame.received > sender.buffer.end or frame.consumed > frame.received:
            self.give_up(sender, send_errors.confirmed_too_much(sender, frame), now)
            return
        before = sender.received
        sender.confirm(frame.received, frame.consumed)
        if sender.received != before:
            self._context.events.append(SendProgressed(sender.key.stream_id, sender.received))
        self._end_failed_source(sender, now)
        self.pump(sender, now)

    def _complete(self, sender: StreamSender, frame: Ack, now: float) -> None:
        if not sender.last_ever_sent or frame.consumed != sender.total:
            return
        sender.step(SenderInput.COMPLETE)
        sender.target_incarnation = frame.target_incarnation
        if sender.received != frame.received:
            self._context.events.append(SendProgressed(sender.key.stream_id, frame.received))
        self._settle(sender, None, now)

    # Attempts.

    def _lose_path(self, sender: StreamSender, now: float) -> None:
        again = sender.lost_in_a_row > 0
        action = sender.step(SenderInput.PATH_LOST_AGAIN if again else SenderInput.PATH_LOST)
        if action is SenderAction.IGNORE:
            return
        sender.lost_in_a_row += 1
        if action is SenderAction.WAIT:
            sender.opened = False
            sender.backoff_until = now + self._links.dialler.backoff(sender.lost_in_a_row)
            self._schedule(sender)
        else:
            self._query(sender)

    def _query(self, sender: StreamSender) -> None:
        self._context.counters.add(Count.RESUMES)
        sender.ask()
        self._speak(sender)

    def _speak(self, sender: StreamSender) -> None:
        if sender.link is not None:
            sender.link.outbox.note(sender)
            self._links.wake_control(sender.link)

    def _same_life(self, sender: StreamSender, incarnation: int, now: float) -> bool:
        """Return whether the target still is the one that the stream was begun with; if not, begin to ask."""
        if sender.target_incarnation is None:
            sender.target_incarnation = incarnation
        if sender.target_incarnation == incarnation:
            return True
        if not self._presence.is_over(sender.spec.target, incarnation):
            self._lose_path(sender, now)
        return False

    # Ending.

    def _settle(self, sender: StreamSender, error: CellError | None, now: float) -> None:
        stream_id = sender.key.stream_id
        del self._senders[stream_id]
        same_target = self._by_target[sender.spec.target]
        del same_target[stream_id]
        if not same_target:
            del self._by_target[sender.spec.target]
        self._settled.add(stream_id)
        self._context.deadlines.cancel(sender)
        self._writing.withdraw(sender.link, sender)
        if sender.link is not None and self._settled.is_owed(sender.link):
            # The writer of control frames says it, and on a link that carries bulk only nothing else wakes that.
            self._links.wake_control(sender.link)
        size = sender.total or 0
        sender.buffer.clear()
        if error is None:
            self._context.counters.add(Count.SENDS_FINISHED)
            self._context.events.append(SendFinished(stream_id, size))
        else:
            self._context.counters.add(Count.SENDS_FAILED)
            self._context.events.append(SendFailed(stream_id, error))
        for following in self._slots.release(sender):
            self._start(following, now)
        self._on_settled(sender, error)

    # Time.

    def _schedule(self, sender: StreamSender) -> None:
        due_at = patience.due_at(sender, self._context.config.backoff_max_s)
        if due_at is not None:
            self._context.deadlines.schedule(sender, due_at)

    def _handle_timer(self, sender: StreamSender, now: float) -> None:
        if patience.has_waited_enough(sender, now):
            error = send_errors.silent(sender) if sender.acknowledged else send_errors.never_heard(sender)
            self.give_up(sender, error, now)
            return
        if sender.state is SenderState.BACKING_OFF and now >= sender.backoff_until:
            sender.step(SenderInput.BACKOFF_OVER)
            self._query(sender)
        elif sender.state is SenderState.RESUMING and now >= sender.spoke_at + self._context.config.backoff_max_s:
            # Question and answer pass through many hands. Asked twice it changes nothing.
            sender.query_due = True
            self._speak(sender)
        elif patience.owes_life_sign(sender, now):
            sender.probe_due = True
            self._speak(sender)
        self._schedule(sender)
