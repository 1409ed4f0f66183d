"""The sending half of a stream: what the origin of one stream knows, decides and says.

**States**: see ``states.py``. SENDING, FINISHING, AWAITING_OFFSET have an attempt with a place; RESUMING, BACKING_OFF
and SEEKING one that sends nothing more, or not yet. It is finished when SETTLED: confirmed as a whole, or given up.

**What is true together** is in one object: :class:`Attempt` (offsets, and what the next hop allows; a new one when the
way or the target failed), :class:`Confirmed` (what the target's life has; a new one for a life that knows nothing),
:class:`SourceSide` (what the source gave). Below ``confirmed.consumed`` only what is delivered whole is kept.

**Inputs** are named for what happened. Each asks the table of states, whose actions are methods here, and leaves the
sender where it is found next: in the link's queue with chunks, in its outbox with questions, among the deadlines.
**An Ack** is for the present attempt, or it says COMPLETE and is for all. **A chunk** is cut when a lane's writer has
given it its turn, and not before: what it says of attempt, life and end is as of that moment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from streamcell.digest import Digest
from streamcell.errors import CellError
from streamcell.limits import SMALL_STREAM_BYTES
from streamcell.protocol.base.context import Count
from streamcell.protocol.base.events import SendFailed, SendFinished, SendPlaced, SendProgressed
from streamcell.protocol.base.machine import step
from streamcell.protocol.base.timers import Timed
from streamcell.protocol.flow.schedule import Standing
from streamcell.protocol.sending import errors as send_errors
from streamcell.protocol.sending import patience, starting_point
from streamcell.protocol.sending.attempt import Attempt
from streamcell.protocol.sending.confirmed import Confirmed
from streamcell.protocol.sending.cutting import ChunkCutter
from streamcell.protocol.sending.source_side import SourceSide
from streamcell.protocol.sending.spec import SendSpec
from streamcell.protocol.sending.starting_point import AT_THE_START, StartingPoint
from streamcell.protocol.sending.states import SENDER_TABLE, SenderAction, SenderInput, SenderState
from streamcell.protocol.sending.surroundings import Surroundings
from streamcell.protocol.wire.frames import (
    Ack,
    Chunk,
    Credit,
    Lost,
    LostReason,
    Open,
    Payload,
    Reset,
    ResumeQuery,
    ResumeReply,
    Seal,
    StreamKey,
)

if TYPE_CHECKING:
    from streamcell.protocol.links.lane import Lane
    from streamcell.protocol.links.link import Link

# Asked for each chunk: found once, since a member of an enumeration is found slowly before Python 3.12.
_QUEUED, _SENDING, _AWAITING_OFFSET = SenderState.QUEUED, SenderState.SENDING, SenderState.AWAITING_OFFSET
_GONE, _READY, _PASSES = Standing.GONE, Standing.READY, Standing.PASSES
# Where nothing is asked of the source: it is not known from where on, or nothing is needed.
_SOURCE_RESTS = (SenderState.QUEUED, SenderState.AWAITING_OFFSET, SenderState.SEEKING, SenderState.SETTLED)


class StreamSender(Timed):
    """The origin's half of one stream.

    :ivar lane_id: the lane that it is bound to, so that nothing overtakes its first chunks: until the first Credit.
    :ivar target_life: the life of the target that the stream is for; None if any may have it.
    :ivar heard_at: when the target was heard of; ``spoke_at``: when this end spoke; ``backoff_until``: it asks again.
    """

    __slots__ = (
        "_around",
        "_bulk",
        "_cutter",
        "_failure",
        "_lost_in_a_row",
        "_starting_point",
        "attempt",
        "backoff_until",
        "confirmed",
        "heard_at",
        "keeps_all",
        "key",
        "lane_id",
        "link",
        "source",
        "spec",
        "spoke_at",
        "state",
        "target_life",
        "whole",
    )

    def __init__(self, around: Surroundings, spec: SendSpec, stream_id: int) -> None:
        super().__init__()
        context = around.context
        self._around = around
        self.spec = spec
        self.key = StreamKey(context.fqcn, context.incarnation, stream_id)
        # Whether the target gets it in one piece, and whether every byte stays here until the stream is settled.
        self.whole = spec.description.kind.whole
        self.keeps_all = spec.keeps_all
        self._bulk = spec.description.size is None or spec.description.size > SMALL_STREAM_BYTES
        self.state = _QUEUED
        self.link: Link | None = None
        self.lane_id: int | None = None
        self.attempt = Attempt()
        self.confirmed = Confirmed(placed=self.whole or not spec.description.resume_id)
        self.source = SourceSide(context, spec, stream_id)
        self._cutter = ChunkCutter(context, spec, self.key)
        self.target_life: int | None = None
        self._lost_in_a_row = 0  # since the target was heard of last
        # What the next step of the state needs to know: where the attempt is to begin; what the stream fails with.
        self._starting_point = AT_THE_START
        self._failure: CellError | None = None
        self.heard_at = 0.0
        self.spoke_at = 0.0
        self.backoff_until = 0.0

    def __repr__(self) -> str:
        return (
            f"<StreamSender {self.key.stream_id} to {self.spec.target} {self.state.name} attempt {self.attempt.number} "
            f"sent {self.attempt.next_offset} received {self.confirmed.received} consumed {self.confirmed.consumed}>"
        )

    @property
    def has_arrived(self) -> bool:
        """Whether the target has every byte and the end, as far as it has said."""
        return self.attempt.last_sent and self.confirmed.received == self.source.total

    def _step(self, event: SenderInput, now: float) -> None:
        """Advance the state, and do what follows."""
        action, self.state = step(SENDER_TABLE, self.state, event)
        self.ACTS[action](self, now)

    # What the application and its source do.

    def admit(self, way: Link | None, now: float) -> None:
        """There is a slot: begin, by ``way`` if there is one."""
        self.heard_at = self.spoke_at = now
        self._schedule()
        if self.whole:
            self.target_life = self._around.owner.life_for(self.spec, now)
        if not self.confirmed.placed:
            self._step(SenderInput.ADMITTED_TO_ASK, now)
        elif self.whole and self.target_life is None:
            self._step(SenderInput.ADMITTED_UNAIMED, now)
        else:
            self._step(SenderInput.ADMITTED, now)
        if way is None:
            self._pump(now)
        else:
            self.take_way(way, now)

    def supply(self, pieces: Sequence[Payload], now: float) -> None:
        """The source gives bytes."""
        if self.source.counts:
            could_send = self.can_send()
            self._after_source(self.source.take_in(pieces), now, could_send=could_send)

    def end_source(self, digest: Digest | None, now: float) -> None:
        """The source has no more."""
        if self.source.counts:
            could_send = self.can_send()
            self._after_source(self.source.end(digest), now, could_send=could_send)

    def fail_source(self, error: CellError, now: float) -> None:
        """The source failed: what it gave before is delivered first, then the stream fails."""
        if self.source.counts:
            self.source.fail(error)
            self._end_with_source(now)

    def move_source(self, offset: int, now: float) -> None:
        """The source gives the bytes from ``offset`` on next."""
        if self.state is not SenderState.SEEKING:
            return
        self.source.go_to(offset)
        self._starting_point = StartingPoint(offset)
        self._step(SenderInput.GO_ON, now)

    def abandon_source(self, error: CellError, now: float) -> None:
        """The source cannot go where the target needs it."""
        if self.state is SenderState.SEEKING:
            self.give_up(error, now)

    def give_up(self, error: CellError, now: float) -> None:
        """End the stream from this side."""
        self._failure = error
        self._step(SenderInput.GIVE_UP, now)

    def _after_source(self, fault: CellError | None, now: float, *, could_send: bool) -> None:
        if fault is not None:
            self.give_up(fault, now)
        elif could_send and not self._bulk:
            # Writers know of it already.
            self._want_source()
        else:
            self._pump(now)

    def _end_with_source(self, now: float) -> None:
        """Fail when the target has all that a source gave that has failed."""
        error = self.source.error
        if error is not None and self.confirmed.received == self.source.buffer.end:
            self.give_up(error, now)

    def _want_source(self) -> None:
        """Ask the source for more, if there is room."""
        if self.state not in _SOURCE_RESTS:
            attempt = self.attempt
            self.source.ask(attempt.next_offset, attempt.allowed_by_next - self.confirmed.consumed)

    # Frames.

    def on_ack(self, frame: Ack, now: float) -> None:
        """The target says what it has. What may be sent does not change by that, but what the source may give does."""
        self.heard_at = now
        if frame.complete:
            self._on_last_ack(frame, now)
            return
        attempt, confirmed, buffer = self.attempt, self.confirmed, self.source.buffer
        life = frame.target_incarnation
        if frame.attempt != attempt.number or not (life == self.target_life or self._adopts_life(life, now)):
            return
        self._lost_in_a_row = 0
        if not (attempt.answered and confirmed.taken_up):
            attempt.note_answer()
            confirmed.acknowledge()
            if not confirmed.placed:
                # The two do not mean the same by an offset yet.
                return
        if frame.received > max(attempt.next_offset, self._cutter.sent_end) or frame.consumed > frame.received:
            self.give_up(send_errors.confirmed_too_much(self, frame), now)
            return
        received, consumed = confirmed.received, confirmed.consumed
        confirmed.extend(frame.received, frame.consumed)
        if frame.consumed > consumed and not self.keeps_all:
            # Never what this attempt is to send, though the target may have it from an earlier one.
            buffer.drop_below(min(frame.consumed, attempt.next_offset))
        if frame.received > received:
            self._around.context.events.append(SendProgressed(self.key.stream_id, frame.received))
        if self.source.error is not None:
            self._end_with_source(now)
        self._want_source()

    def _on_last_ack(self, frame: Ack, now: float) -> None:
        """The target has all and has released it. Any attempt may have brought that about, once an end was sent."""
        if not self.attempt.end_sent or not frame.received <= frame.consumed == self.source.total:
            return
        self.target_life = frame.target_incarnation
        if self.confirmed.received != frame.received:
            self._around.context.events.append(SendProgressed(self.key.stream_id, frame.received))
        self._step(SenderInput.COMPLETE, now)

    def on_credit(self, link: Link, frame: Credit, now: float) -> None:
        """The next hop lets the stream go further. From now on it may go by any lane."""
        if link is self.link and frame.attempt == self.attempt.number:
            self.lane_id = None
            self.attempt.extend(frame.offset)
            self._pump(now)

    def on_lost(self, frame: Lost, now: float) -> None:
        """Something on the way, or the target, lost frames of an attempt."""
        if frame.attempt != self.attempt.number:
            return
        limit = frame.reason is LostReason.LIMIT
        if starting_point.shows_refusal(self, frame):
            self.attempt.note_refused()
        # It waits as in line: whoever has no room for it lives, and will have none at once.
        self.heard_at = now if limit else self.heard_at
        fault = send_errors.fault_in_loss(self, frame)
        if fault is not None:
            self.give_up(fault, now)
        else:
            self._lose_path(now, rest=limit)

    def on_reset(self, frame: Reset, now: float) -> None:
        """The target gave the stream up."""
        self._failure = send_errors.reset_by_target(self, frame)
        self._step(SenderInput.RESET, now)

    def on_resume_reply(self, frame: ResumeReply, now: float) -> None:
        """The target says where to go on, or that this life of it cannot say; or answers a sign of life."""
        if frame.attempt != self.attempt.number:
            return
        if frame.probe:
            if frame.unknown and self.confirmed.acknowledged:
                self._lose_path(now)
        elif frame.unknown:
            if self.state is SenderState.RESUMING:
                self._start_over(frame.target_incarnation, now)
        elif starting_point.is_expected(self, frame):
            # Another life that knows the stream got it from 0, when the one before had answered that it had nothing.
            self.target_life = frame.target_incarnation
            self.heard_at = now
            self._go_to(starting_point.named_by(frame, self.spec.description.size), now)

    def _adopts_life(self, life: int, now: float) -> bool:
        """Return whether the stream is for a life that was not known for it; if it was begun with another, ask."""
        if self.target_life is None:
            self.target_life = life
            return True
        if not self._around.owner.is_over(self.spec.target, life):
            self._lose_path(now)
        return False

    def _start_over(self, life: int, now: float) -> None:
        """Begin anew with a life of the target that does not know the stream."""
        fault = starting_point.fault_in_starting_over(self, life)
        if fault is not None:
            self.give_up(fault, now)
            return
        before = self.confirmed
        # One that was only offered to that life, or that it did not hear to begin, has left nothing there.
        seen = before.seen_before or (before.taken_up and life != self.target_life)
        if before.received:
            self._around.context.events.append(SendProgressed(self.key.stream_id, 0))
        self.confirmed = Confirmed(placed=self.whole or not (seen or self.spec.description.resume_id), seen_before=seen)
        # It would not be sent again if any life could have it.
        self.attempt.start_over(end_counts=not self.whole or self.spec.retry_unknown)
        self.target_life = life
        self.heard_at = now
        if not self.confirmed.placed:
            self._step(SenderInput.UNKNOWN, now)
            self._pump(now)
        else:
            self._starting_point = AT_THE_START
            self._step(SenderInput.GO_ON, now)

    def _go_to(self, point: StartingPoint, now: float) -> None:
        self._starting_point = point
        if point.is_kept(self.source.buffer, whole=self.whole):
            self._step(SenderInput.GO_ON, now)
        elif self.whole:
            self.give_up(send_errors.not_kept(self, point.offset), now)
        else:
            self._step(SenderInput.SEEK, now)

    # Ways and lanes.

    def on_way_changed(self, way: Link | None, now: float) -> None:
        """There may be another way to the target, or none."""
        if way is self.link or self.state in (SenderState.QUEUED, SenderState.SETTLED):
            return
        if way is not None:
            self.take_way(way, now)
            return
        self._go_by(None)
        if self.spec.optional:
            self.give_up(send_errors.unreachable(self, "there is no way to it any more"), now)

    def take_way(self, link: Link, now: float) -> None:
        """Go by ``link`` from now on; what was sent another way is a new attempt."""
        self._go_by(link)
        attempt = self.attempt
        attempt.leave_way()
        if self.state in (SenderState.RESUMING, SenderState.SEEKING):
            if attempt.asked or attempt.opened:
                # The question went another way, or the offer, and with it the attempt.
                self._step(SenderInput.WAY_CHANGED, now)
            self._speak()
        elif self.state is SenderState.BACKING_OFF:
            # There is news of a way: no need to wait any longer.
            self._step(SenderInput.BACKOFF_OVER, now)
        elif attempt.opened:
            self._lose_path(now)
        else:
            if attempt.asked:
                # The answer holds; but the question went another way, and with it the attempt.
                self.attempt = attempt.following()
            self._begin_at(attempt.next_offset, link.initial_credit)
        self._pump(now)

    def on_link_begun(self, now: float) -> None:
        """The neighbour remembers no stream that went by the link: it was restarted, or held the link for dead."""
        if self.attempt.opened:
            self._lose_path(now)

    def on_lane_up(self, link: Link, now: float) -> None:
        """What waits for a lane of its link can go, or go on."""
        if self.attempt.says_something:
            link.outbox.note(self)
        self._pump(now)

    def on_lane_lost(self, link: Link, lane_id: int, now: float) -> None:
        """What a lane of its link carried may be lost: ask where to go on, or whether the stream is still known."""
        if not self.attempt.leave_lane(lane_id):
            return
        if self.state is SenderState.RESUMING:
            self.attempt.owe_question()
            link.outbox.note(self)
        elif self.attempt.is_unconfirmed(self.confirmed.received):
            self._lose_path(now)
        else:
            self.lane_id = None
            self.attempt.owe_life_sign()
            link.outbox.note(self)

    def on_lane_emptied(self, lane_id: int, now: float) -> None:
        """What a lane carried has arrived, so its end does not matter, and nothing is bound to it."""
        self.attempt.leave_lane(lane_id)
        if self.lane_id == lane_id:
            self.lane_id = None
            self._pump(now)

    def _go_by(self, link: Link | None) -> None:
        if self.link is not None:
            self.link.outbox.forget(self)
        self._around.owner.on_way_taken(self, link)
        self.link = link

    def _lose_path(self, now: float, *, rest: bool = False) -> None:
        again = rest or self._lost_in_a_row > 0
        self._step(SenderInput.PATH_LOST_AGAIN if again else SenderInput.PATH_LOST, now)

    def _pump(self, now: float) -> None:
        """Be where writers find it, if it can send, and ask the source for more, if there is room."""
        self._want_source()
        if self.link is not None and self.can_send():
            self.link.offer(self, now, bulk=self._bulk)

    def _speak(self) -> None:
        """Be where the writer of control frames finds it."""
        if self.link is not None:
            self.link.outbox.note(self)
            self.link.wake_control()

    # What writers ask for.

    def can_send(self) -> bool:
        """Return whether a chunk may be cut now."""
        attempt = self.attempt
        if self.link is None:
            return False
        if not attempt.opened:
            return self.state is _SENDING or self.state is _AWAITING_OFFSET
        if self.state is not _SENDING:
            return False
        if attempt.next_offset < self.source.buffer.end:
            return attempt.next_offset < attempt.allowed_by_next
        return self.source.ended

    def standing_at(self, lane: Lane) -> Standing:
        """Return whether the next chunk may go on that lane."""
        if self.link is not lane.link or not self.can_send():
            return _GONE
        return _READY if self.lane_id is None or self.lane_id == lane.lane_id else _PASSES

    def goes_by(self, link: Link) -> bool:
        """Return whether its way leads over ``link``."""
        return self.link is link

    def take_chunk(self, link: Link, lane: Lane, room: int | None, now: float, *, control: bool) -> Chunk:
        """Return the next chunk, of at most ``room`` bytes; only when ``can_send``."""
        attempt = self.attempt
        opening = None if attempt.opened else self._open_part(link, now, control=control)
        offers = self.state is _AWAITING_OFFSET
        chunk = self._cutter.cut(attempt, self.source, lane.lane_id, room, opening, self._seal(), offers=offers)
        self.lane_id = lane.lane_id if attempt.credit_heard == 0 else None
        self.spoke_at = now
        if opening is not None:
            self._schedule()
        if chunk.last:
            self._step(SenderInput.LAST_SENT, now)
        else:
            self._want_source()
        return chunk

    def _open_part(self, link: Link, now: float, *, control: bool) -> Open:
        """Return what the first chunk of an attempt says.

        The first attempt is for the life that is there as far as is known, any other for the life that has answered the
        question which it began with.
        """
        if self.attempt.number == 1:
            life = self._around.owner.life_for(self.spec, now)
            self.target_life = self.target_life if life is None else life
        settled_below, settled = self._around.news.take(link, self.spec.target) if control else (0, ())
        return self._cutter.open_part(self, settled_below, settled)

    def take_control_frames(self, lane_id: int, now: float) -> list[ResumeQuery]:
        """Return the question or sign of life that is due, and goes on a lane now."""
        attempt = self.attempt
        if not attempt.says_something:
            return []
        probe = not attempt.take_question(lane_id)
        self.spoke_at = now
        self._schedule()
        spec = self.spec
        return [ResumeQuery.about(self.key, spec.target, attempt.number, spec.description, self._seal(), probe=probe)]

    def _seal(self) -> Seal | None:
        return self._around.owner.seal_for(self.spec.target) if self.spec.description.sealed else None

    # What the states have done: the actions of the table.

    def _ignore(self, now: float) -> None:
        """Do nothing: what the state became is all."""

    def _offer(self, now: float) -> None:
        """Offer the stream to a life of the target that is to choose where it goes on, and may give credit then."""
        self._begin_at(0, 0)

    def _ask(self, now: float) -> None:
        """Begin an attempt with a question: the first also, if nobody knows who would get what must not come twice."""
        self.attempt = self.attempt.following(question_due=True)
        self.lane_id = None

    def _query_at_once(self, now: float) -> None:
        self._lost_in_a_row += 1
        self._query(now)

    def _query(self, now: float) -> None:
        self._around.context.counters.add(Count.RESUMES)
        self._ask(now)
        self._speak()

    def _wait(self, now: float) -> None:
        self._lost_in_a_row += 1
        self.attempt.pause()
        self.backoff_until = now + self._around.context.backoff_s(self._lost_in_a_row)
        self._schedule()

    def _have_source_moved(self, now: float) -> None:
        self.source.ask_to_move(self._starting_point.offset, self._starting_point.prefix_digest)

    def _go_on(self, now: float) -> None:
        offset = self._starting_point.offset
        if self.attempt.opened:
            # The offer was this attempt's first chunk, and its only one.
            self.attempt = self.attempt.following()
        skipped = max(0, offset - max(self.confirmed.received, self.attempt.next_offset))
        self._begin_at(offset, self.link.initial_credit if self.link is not None else 0)
        self.confirmed.place(offset)
        self._around.context.events.append(SendPlaced(self.key.stream_id, self.confirmed.received, skipped))
        self._pump(now)

    def _reset_and_fail(self, now: float) -> None:
        error = self._failure
        if self.link is not None and error is not None:
            self.link.post(Reset.by_origin(self.key, self.spec.target, self.attempt.number, error, self._seal()))
        self._end(error, now)

    def _begin_at(self, offset: int, initial_credit: int) -> None:
        self.attempt.begin_at(offset, initial_credit, placed=self.confirmed.placed)
        self.lane_id = None

    def _end(self, error: CellError | None, now: float) -> None:
        context = self._around.context
        context.deadlines.cancel(self)
        if self.link is not None:
            self.link.outbox.forget(self)
        self.source.buffer.clear()
        if error is None:
            context.counters.add(Count.SENDS_FINISHED)
            context.events.append(SendFinished(self.key.stream_id, self.source.total or 0))
        else:
            context.counters.add(Count.SENDS_FAILED)
            context.events.append(SendFailed(self.key.stream_id, error))
        self._around.owner.on_sender_settled(self, error, now)

    # Time.

    def handle_timer(self, now: float) -> None:
        """Give up, ask again, or show life, whatever is due."""
        fault = patience.fault_in_waiting(self, now)
        if fault is not None:
            self.give_up(fault, now)
            return
        if self.state is SenderState.BACKING_OFF and now >= self.backoff_until:
            self._step(SenderInput.BACKOFF_OVER, now)
        elif self.state is SenderState.RESUMING and now >= self.spoke_at + self._around.context.config.backoff_max_s:
            # Question and answer pass through many hands. Asked twice it changes nothing.
            self.attempt.owe_question()
            self._speak()
        elif patience.owes_life_sign(self, now):
            self.attempt.owe_life_sign()
            self._speak()
        self._schedule()

    def _schedule(self) -> None:
        due_at = patience.due_at(self, self._around.context.config.backoff_max_s)
        if due_at is not None:
            self._around.context.deadlines.schedule(self, due_at)

    #: What each action of the table of states is.
    ACTS: ClassVar[Mapping[SenderAction, Callable[[StreamSender, float], None]]] = {
        SenderAction.IGNORE: lambda self, now: self._ignore(now),
        SenderAction.ASK_FOR_LIFE: lambda self, now: self._ask(now),
        SenderAction.QUERY_AT_ONCE: lambda self, now: self._query_at_once(now),
        SenderAction.QUERY: lambda self, now: self._query(now),
        SenderAction.WAIT: lambda self, now: self._wait(now),
        SenderAction.OFFER: lambda self, now: self._offer(now),
        SenderAction.MOVE_SOURCE: lambda self, now: self._have_source_moved(now),
        SenderAction.CONTINUE: lambda self, now: self._go_on(now),
        SenderAction.SUCCEED: lambda self, now: self._end(None, now),
        SenderAction.FAIL: lambda self, now: self._end(self._failure, now),
        SenderAction.RESET_AND_FAIL: lambda self, now: self._reset_and_fail(now),
    }
