"""The receiving half of a stream.

A :class:`StreamReceiver` takes inputs (frames, what becomes of links, the application's verbs, memory, time), decides
by its table of states, changes its own fields only, and tells its keeper one thing: that it has ended, and with which
last word. What its origin sees of it is :class:`OriginSide`, of which each part has its own fields; here is what the
application sees, and the end.

A chunk's way: ``origin`` checks it, ``progress`` puts its bytes into order, what is in order becomes DataReceived
events here, and ``news`` weighs what the origin is to be told, and tells it when the link's writer asks.

What is true together: until the stream is admitted what has come in order waits in ``_undelivered``, and nothing is
consumed; from then on nothing waits there. What is assembled counts as consumed when it is delivered. ``reserves`` only
with ``allowance.assembled``. In ENDED nothing is due, nothing waits, and no deadline is set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from streamcell.digest import Digest
from streamcell.errors import CellError, ProtocolError, StreamCancelled
from streamcell.limits import HOPS
from streamcell.protocol.base.context import Count
from streamcell.protocol.base.events import (
    DataEnded,
    DataReceived,
    ReceiveFailed,
    ReceiveFinished,
    StreamAdmitted,
    StreamAdopted,
    StreamOpened,
)
from streamcell.protocol.base.machine import (
    step,
)
from streamcell.protocol.base.timers import Timed
from streamcell.protocol.flow.life_signs import granted_s
from streamcell.protocol.receiving import errors as receive_errors
from streamcell.protocol.receiving import patience
from streamcell.protocol.receiving.origin_side import OriginSide
from streamcell.protocol.receiving.states import (
    RECEIVER_TABLE,
    ReceiverAction,
    ReceiverInput,
    ReceiverState,
    StartingPointState,
)
from streamcell.protocol.wire.description import StreamKind
from streamcell.protocol.wire.frames import (
    Ack,
    Chunk,
    Lost,
    LostReason,
    Open,
    Payload,
    Reset,
    ResumeQuery,
    StreamKey,
)

if TYPE_CHECKING:
    from streamcell.protocol.flow.charges import Charge
    from streamcell.protocol.links.link import Link
    from streamcell.protocol.receiving.surroundings import Surroundings

# Of this part of the window the application tells at once that it was consumed: less than would ever leave the sender
# without credit.
_REPORT_WINDOW_PART = 8
# Asked for each chunk: found once, since a member of an enumeration is found slowly before Python 3.12.
_RECEIVING, _RECEIVED, _ENDED = ReceiverState.RECEIVING, ReceiverState.RECEIVED, ReceiverState.ENDED
_REPLY = StreamKind.REPLY
# The states in which the application is given what comes, or has all of it.
_ADMITTED = (_RECEIVING, _RECEIVED, ReceiverState.APPROVED)


class StreamReceiver(Timed):
    """The target's half of one stream."""

    __slots__ = (
        "_callback_started",
        "_charge",
        "_context",
        "_error",
        "_last_word",
        "_near",
        "_undelivered",
        "allowance",
        "channel",
        "description",
        "idle_timeout_s",
        "news",
        "origin",
        "party",
        "point",
        "progress",
        "released",
        "reserves",
        "spoke_at",
        "state",
        "topic",
        "unclaimed_until",
    )
    # Why it fails, and its last word if the origin has said that: set right before the step that fails it.
    _error: CellError
    _last_word: Reset | None

    def __init__(self, near: Surroundings, chunk: Chunk, opening: Open, link: Link, now: float, charge: Charge) -> None:
        super().__init__()
        self._near = near
        self._context = near.context
        self.channel = chunk.channel
        self.topic = chunk.topic
        self.description = opening.description
        self.idle_timeout_s = self._granted_s()
        self.state = ReceiverState.OFFERED
        self.origin = OriginSide(near, chunk, opening, link, now)
        self.party = self.origin.party
        # Its parts, of which much is asked here.
        self.progress = self.origin.progress
        self.point = self.origin.point
        self.allowance = self.origin.allowance
        self.news = self.origin.news
        self.reserves = False
        self.released = False
        self.spoke_at = now
        # Until when a stream that goes on after a restart waits for its callback to be registered.
        self.unclaimed_until: float | None = None
        self._undelivered: list[Payload] = []
        self._callback_started = False
        self._charge = charge

    def __repr__(self) -> str:
        return (
            f"<StreamReceiver {self.key.stream_id} from {self.key.origin} {self.state.name} attempt {self.attempt} "
            f"received {self.progress.received} consumed {self.progress.consumed} "
            f"allowed {self.allowance.allowed_to_previous}>"
        )

    @property
    def key(self) -> StreamKey:
        """What the stream is called by the life of its origin that sends it now."""
        return self.news.key

    @property
    def attempt(self) -> int:
        """The origin's present attempt, as far as is known: it rises, in each life of the origin."""
        return self.news.attempt

    @property
    def can_wait_for_heir(self) -> bool:
        """Whether it may go on when its origin was restarted: what is assembled starts anew instead."""
        return bool(self.description.resume_id) and not self.description.kind.whole and not self.allowance.assembled

    # What its origin says.

    def offer(self, opening: Open, now: float, *, anew: bool) -> bool:
        """Offer a stream that has just begun to the application, or give it up; return whether it was offered.

        ``anew``: bytes of an earlier stream of its name are of another source, so that it begins at 0.
        """
        kind, key = self.description.kind, self.news.key
        if anew:
            self.point.on_choice(0, None)
        if kind is StreamKind.UNSPECIFIED:
            self.give_up(receive_errors.unknown_kind(), now)
            return False
        if kind.whole and self._refuses_size(self.progress.size or 0, now):
            return False
        if kind is _REPLY and not self._near.requests.awaits(
            self.description.reply_to, key.origin, sealed=self.description.sealed
        ):
            self.give_up(receive_errors.not_awaited(), now)
            return False
        self._context.counters.add(Count.STREAMS_ACCEPTED)
        self._schedule()
        link = self.news.link
        self._context.events.append(
            StreamOpened(
                key,
                self.party,
                self.channel,
                self.topic,
                self.description,
                opening.seen_before,
                self.point.undecided,
                "" if link is None else link.carrier.identity,
            )
        )
        return True

    def go_on_as(self, chunk: Chunk, opening: Open, now: float, charge: Charge) -> None:
        """Go on as the stream of a new life of the origin, from what has come of the earlier one."""
        old_key = self.key
        self._charge.give_back()
        self._charge = charge
        self.description = opening.description
        self.idle_timeout_s = self._granted_s()
        self.origin.on_new_life(chunk, opening, now, admitted=self.state in _ADMITTED)
        self._schedule()
        self._context.events.append(StreamAdopted(old_key, chunk.key))

    def on_chunk(self, link: Link, chunk: Chunk, now: float) -> None:
        """A piece of the stream has come over ``link``.

        :raises ProtocolError: if the sender ignored its credit; the stream is given up.
        """
        news = self.news
        try:
            pieces = self.origin.take_in(link, chunk, now, admitted=self.state in _ADMITTED)
        except CellError as error:
            self.give_up(error, now)
            if isinstance(error, ProtocolError):
                raise
            return
        if pieces is None:
            return
        is_first = chunk.sequence == 0
        if is_first is not self.progress.whole:
            # What came whole in one chunk is about to be confirmed as complete; if not, it is said after ACK_DELAY_S.
            news.want_ack()
        if self.state is _RECEIVING:
            self._deliver(pieces, now)
        else:
            self._undelivered += pieces
        if self.released:
            self._confirm_if_released(now)
        if self.state is not _ENDED and news.tell(now, link):
            self._schedule()

    def on_forged_chunk(self, link: Link, chunk: Chunk, now: float) -> None:
        """A chunk is not what its origin has sealed: it is asked for again, as one with a wrong checksum."""
        try:
            self.origin.on_corrupt_chunk(link, chunk)
        except CellError as error:
            self.give_up(error, now)

    def on_query(self, link: Link, query: ResumeQuery, now: float) -> None:
        """The origin asks where to go on, or shows that it is alive."""
        self.origin.on_query(link, query, now, admitted=self.state in _ADMITTED)

    def on_reset(self, last_word: Reset, now: float) -> None:
        """The origin gave the stream up, which is remembered in these words."""
        self._error, self._last_word = receive_errors.reset_by_origin(last_word), last_word
        self.step(ReceiverInput.RESET, now)

    def on_origin_gone(self, error: CellError, now: float) -> None:
        """Nobody is there any more to be told: that life of the origin is over, or has settled the stream."""
        self._error, self._last_word = error, None
        self.step(ReceiverInput.RESET, now)

    # What the application says.

    def on_accepted(self, now: float, *, assemble: bool, reserve: bool) -> None:
        """The application wants the stream: piece by piece or assembled, with memory reserved for it or not."""
        if not assemble:
            self.step(ReceiverInput.ACCEPTED, now)
        elif reserve:
            self.step(ReceiverInput.ACCEPTED_TO_RESERVE, now)
        else:
            self.step(ReceiverInput.ACCEPTED_WHOLE, now)

    def on_callback_awaited(self, now: float) -> None:
        """Nobody takes the stream yet, but may soon: it is refused only after the idle timeout."""
        self.unclaimed_until = now + self.idle_timeout_s
        self._schedule()

    def on_start_chosen(self, offset: int, prefix_digest: Digest | None) -> None:
        """The origin is to go on at ``offset``, if it has the same bytes below that."""
        self.point.on_choice(offset, prefix_digest)
        self.news.speak()

    def on_callback_started(self) -> None:
        """The application's callback runs: from now on its silence is its own."""
        self._callback_started = True

    def on_consumed(self, offset: int, now: float) -> None:
        """The application has taken every byte below ``offset``."""
        if self.state in _ADMITTED and self.progress.consume(offset):
            self.allowance.move_on()
        if self.news.tell(now):
            self._schedule()

    def on_approved(self, now: float) -> None:
        """The application has taken every byte of the whole stream, and they are what the sender says."""
        if self.state in _ADMITTED and self.progress.consume(self.progress.received):
            self.allowance.move_on()
        self.news.tell(None)
        self.step(ReceiverInput.APPROVED, now)

    def on_released(self, now: float) -> None:
        """The application has done with the stream, as far as its end is concerned."""
        self.released = True
        self._confirm_if_released(now)

    def on_reader_closed(self, offset: int, now: float) -> None:
        """The reader was closed behind ``offset``: where the stream ends, as far as that is known by now, or not."""
        self.on_consumed(offset, now)
        if offset == self.progress.size:
            self.on_released(now)
        else:
            self.give_up(receive_errors.closed_early(self, self._context.fqcn), now)

    def give_up(self, error: CellError, now: float) -> None:
        """End the stream from this side, and tell its origin."""
        self._error = error
        self.step(ReceiverInput.GIVE_UP, now)

    # Memory.

    def on_admitted(self, now: float) -> None:
        """There is memory for the stream, so that its origin may go on."""
        self.step(ReceiverInput.ADMITTED, now)

    def on_memory_freed(self) -> None:
        """There may be memory for more of a blob whose size is not known."""
        self._take_more_memory()
        self.news.speak()

    @property
    def holds_memory(self) -> bool:
        """Whether it has memory reserved that is not full yet."""
        return self.reserves and self.state is ReceiverState.RECEIVING

    def standing(self) -> tuple[int, int, int] | None:
        """Return how it stands, which changes when it goes on; None while its origin cannot go on."""
        link, received = self.news.link, self.progress.received
        lane = None if link is None else link.control_lane()
        if lane is None or not self.allowance.told or received >= self.allowance.allowed_to_previous:
            return None
        return self.attempt, received, lane.lane_id

    def on_stalled(self, now: float) -> None:
        """Others get the memory that it made no use of: it is forgotten here, and its origin begins again."""
        link, fqcn = self.news.link, self._context.fqcn
        if link is not None:
            link.answer(Lost(self.key, fqcn, self.attempt, LostReason.LIMIT, fqcn, HOPS, seal=self.news.seal))
        self.on_origin_gone(receive_errors.stood_still(self, fqcn), now)

    # Time.

    def handle_timer(self, now: float) -> None:
        """Tell what was delayed, give up an origin that is silent for too long, and show life."""
        self.news.on_time(now)
        if patience.origin_is_silent(self, now):
            self.give_up(receive_errors.silent(self), now)
            return
        if self.unclaimed_until is not None and now >= self.unclaimed_until:
            self.give_up(receive_errors.nobody_registered(self, self._context.fqcn), now)
            return
        if patience.owes_life_sign(self, now):
            self.spoke_at = now
            self.point.repeat()
            if self._shows_life() or patience.origin_is_quiet(self, now):
                # An origin that has settled the stream says so again when it hears of it.
                self.news.want_ack()
            self.news.speak()
        self._schedule()

    def _schedule(self) -> None:
        self._context.deadlines.schedule(self, patience.due_at(self))

    def _granted_s(self) -> float:
        """Return how long the origin may be silent: as it asks for, or less."""
        return granted_s(self.description.idle_timeout_s, self._context.config.max_peer_idle_timeout_s)

    def _shows_life(self) -> bool:
        """Return whether silence of the application is no fault of it, so that the core speaks for it."""
        if not self._callback_started:
            return True
        return self.point.state is not StartingPointState.OPEN and self.progress.consumed == self.progress.received

    # What is received.

    def _deliver(self, pieces: Sequence[Payload], now: float) -> None:
        """Give the application what is in order, and its end."""
        progress, events = self.progress, self._context.events
        if self.allowance.assembled and self._refuses_size(progress.received, now):
            return
        if pieces:
            key, report_bytes = self.news.key, self.allowance.window.size // _REPORT_WINDOW_PART
            for payload in pieces:
                events.append(DataReceived(key, payload, report_bytes))
        if self.allowance.assembled:
            progress.consume(progress.received)
            if progress.size is None:
                self._take_more_memory()
        if progress.whole:
            self.step(ReceiverInput.ALL_RECEIVED, now)

    def _refuses_size(self, size: int, now: float) -> bool:
        """Give up what is to be assembled if it is larger than this cell takes; return whether it was."""
        most = self._near.memory.max_blob_bytes
        if size <= most:
            return False
        self.give_up(receive_errors.too_large(self._context.fqcn, most, size), now)
        return True

    def _take_more_memory(self) -> None:
        """Give a blob of unknown size the credit for one window more, when there is memory for it."""
        wanted = self.allowance.grow_assembled()
        if wanted > 0 and (not self.reserves or self._near.memory.take_more(self, wanted)):
            self.allowance.allow(self.allowance.allowed_ever + wanted)

    # What the table of states has done.

    def step(self, event: ReceiverInput, now: float) -> None:
        """Go over to the state that follows, and do what is to be done."""
        action, self.state = step(RECEIVER_TABLE, self.state, event)
        self.ACTS[action](self, now)

    def _ignore(self, now: float) -> None:
        """Nothing is to be done."""

    def _admit(self, now: float) -> None:
        self.unclaimed_until = None
        self.step(ReceiverInput.ADMITTED, now)

    def _assemble(self, now: float) -> None:
        if self._begins_assembly(now):
            self.step(ReceiverInput.ADMITTED, now)

    def _reserve(self, now: float) -> None:
        if self._begins_assembly(now):
            self.reserves = True
            self._near.memory.reserve(self, now)

    def _begins_assembly(self, now: float) -> bool:
        """Have what comes kept in the memory of blobs, from its first byte on; return whether it is not too much."""
        self.unclaimed_until = None
        self.allowance.assemble(self._near.memory.window_in_blobs(self.party))
        if self._refuses_size(self.progress.size or 0, now):
            return False
        self.on_start_chosen(0, None)
        return True

    def _begin_delivery(self, now: float) -> None:
        """Hand over what came before admission, and give the credit that admission means."""
        self._context.events.append(StreamAdmitted(self.news.key))
        link = self.news.link
        if not self.allowance.assembled:
            self.allowance.open_window(None if link is None else link.remembered_window)
        else:
            self._charge.give_back_credit()
            if self.progress.size is not None:
                self.allowance.allow(self.progress.size)
        pieces, self._undelivered = self._undelivered, []
        self._deliver(pieces, now)
        if self.state is not _ENDED:
            self.news.tell(None)

    def _end_data(self, now: float) -> None:
        self._near.memory.note_whole(self)
        self._context.events.append(DataEnded(self.news.key, self.progress.received, self.progress.digest))
        self._end_request(None)
        self._confirm_if_released(now)

    def _confirm_if_released(self, now: float) -> None:
        """Confirm the stream if the application has released it, and its origin has said that it ends there."""
        if not (self.released and self.progress.end_said):
            return
        if self.allowance.assembled and self.state is _RECEIVED:
            # It was checked before it was released.
            self.step(ReceiverInput.APPROVED, now)
        else:
            self.step(ReceiverInput.FINISHED, now)

    def _confirm(self, now: float) -> None:
        self._context.counters.add(Count.RECEIVES_FINISHED)
        self._context.events.append(ReceiveFinished(self.news.key, self.progress.received))
        self._part(self.news.ack(complete=True), now, say=True)

    def _reset_and_fail(self, now: float) -> None:
        self._tell_of_failure()
        last_word = Reset.by_target(self.key, self._context.fqcn, self.attempt, self._error, self.news.seal)
        self._part(last_word, now, say=True)

    def _fail(self, now: float) -> None:
        self._tell_of_failure()
        self._part(self._last_word, now, say=False)

    def _tell_of_failure(self) -> None:
        error = self._error
        self._context.counters.add(Count.RECEIVES_FAILED)
        self._context.events.append(ReceiveFailed(self.key, error, isinstance(error, StreamCancelled)))
        self._end_request(error)

    def _end_request(self, error: CellError | None) -> None:
        """The stream is whole, or has failed: if it is a reply, its request has ended with it."""
        if self.description.kind is _REPLY:
            reply_to, sealed = self.description.reply_to, self.description.sealed
            self._near.requests.on_reply_ended(reply_to, self.key.origin, error, sealed=sealed)

    def _part(self, last_word: Ack | Reset | None, now: float, *, say: bool) -> None:
        """Give back all that the stream holds. ``say``: the last word is one of this side, and new to the origin."""
        self.news.on_ended(last_word if say else None)
        self._context.deadlines.cancel(self)
        self._undelivered.clear()
        self.progress.forget_beyond_gap()
        self.allowance.window.close()
        self._near.keeper.on_receiver_ended(self, last_word)
        self._charge.give_back()
        self._near.memory.free(self, now)

    # What each action of the table does.
    ACTS: ClassVar[Mapping[ReceiverAction, Callable[[StreamReceiver, float], None]]] = {
        ReceiverAction.IGNORE: lambda self, now: self._ignore(now),
        ReceiverAction.ADMIT: lambda self, now: self._admit(now),
        ReceiverAction.ASSEMBLE: lambda self, now: self._assemble(now),
        ReceiverAction.RESERVE: lambda self, now: self._reserve(now),
        ReceiverAction.DELIVER: lambda self, now: self._begin_delivery(now),
        ReceiverAction.END_DATA: lambda self, now: self._end_data(now),
        ReceiverAction.CONFIRM_IF_RELEASED: lambda self, now: self._confirm_if_released(now),
        ReceiverAction.CONFIRM: lambda self, now: self._confirm(now),
        ReceiverAction.FAIL: lambda self, now: self._fail(now),
        ReceiverAction.RESET_AND_FAIL: lambda self, now: self._reset_and_fail(now),
    }
