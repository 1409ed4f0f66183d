"""All streams that a cell receives.

Decides what is a new stream and what is one that was seen before (DESIGN: Once), when one is complete, and when its
origin is told where it stands.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

from streamcell.errors import CellError, ErrorCode, ProtocolError, StreamCancelled, StreamIntegrityError
from streamcell.limits import CORRUPT_CHUNKS
from streamcell.protocol.base.context import Context, Count
from streamcell.protocol.base.events import (
    DataEnded,
    DataReceived,
    ReceiveFailed,
    ReceiveFinished,
    StreamAdmitted,
    StreamAdopted,
)
from streamcell.protocol.flow.credit import WindowBudget
from streamcell.protocol.links.link import Link
from streamcell.protocol.links.table import LinkTable
from streamcell.protocol.receiving import errors as receive_errors
from streamcell.protocol.receiving import patience
from streamcell.protocol.receiving.half import ACK_DELAY_S, CorruptChunk, StreamReceiver, TooManyGaps
from streamcell.protocol.receiving.lives import OriginLife, PastLives, Registrar
from streamcell.protocol.receiving.memory import ReceiveMemory
from streamcell.protocol.receiving.orphans import Orphans, fault_in_adopting, is_orphan
from streamcell.protocol.receiving.placing import Placing
from streamcell.protocol.receiving.states import (
    ReceiverAction,
    ReceiverInput,
    ReceiverState,
)
from streamcell.protocol.tree.routes import RouteTable
from streamcell.protocol.wire.description import StreamDescription, StreamKind
from streamcell.protocol.wire.frames import (
    NO_STREAM,
    Ack,
    Chunk,
    IdRuns,
    Lost,
    LostReason,
    Open,
    Reset,
    ResumeQuery,
    ResumeReply,
    StreamKey,
)


class ReceiveTable:
    """Every receiver that has not ended, and the last word about those that have, by origin.

    :param awaits_reply: tells whether a reply to that request is awaited from that cell.
    :param on_reply_ended: called with the request's id when a reply is whole (None), or failed.
    """

    def __init__(
        self,
        context: Context,
        links: LinkTable,
        routes: RouteTable,
        budget: WindowBudget,
        awaits_reply: Callable[[int, str], bool],
        on_reply_ended: Callable[[int, CellError | None], None],
    ) -> None:
        self._lives: dict[str, OriginLife] = {}
        self._past = PastLives()
        self._orphans = Orphans()
        self._registrar = Registrar(context.fqcn, context.incarnation)
        self.placing = Placing(context, self, self._registrar)
        self._memory = ReceiveMemory(context, budget, self)
        self._context = context
        self._links = links
        self._routes = routes
        self._awaits_reply = awaits_reply
        self._on_reply_ended = on_reply_ended

    def receivers(self) -> list[StreamReceiver]:
        """Return all receivers."""
        return self._linked() + self._orphans.receivers()

    def unreleased(self) -> int:
        """Return how many streams were read to their ends, and are held by the application all the same."""
        return sum(receiver.state is ReceiverState.APPROVED for receiver in self._linked())

    def _linked(self) -> list[StreamReceiver]:
        """Return the receivers whose origin is still the one that began them."""
        return [receiver for life in self._lives.values() for receiver in life.receivers.values()]

    # Verbs of the shell.

    def accept(self, key: StreamKey, now: float, *, assemble: bool, reserve: bool) -> None:
        """The application wants the stream."""
        receiver = self.find(key)
        if receiver is None or receiver.step(ReceiverInput.ACCEPTED) is not ReceiverAction.ADMIT:
            return
        receiver.unclaimed_until = None
        receiver.assemble = assemble
        if assemble:
            self._memory.assemble(receiver)
            if self._memory.refuse_size(receiver, receiver.size or 0, now):
                return
            self.placing.choose(key, 0, None)
        receiver.reserves = assemble and reserve
        if receiver.reserves:
            self._memory.reserve(receiver, now)
        else:
            self.begin(receiver, now)

    def reject(self, key: StreamKey, code: ErrorCode, sentence: str, now: float) -> None:
        """The application does not want the stream."""
        receiver = self.find(key)
        if receiver is not None:
            self.give_up(receiver, receive_errors.rejected(code, sentence), now)

    def await_callback(self, key: StreamKey, now: float) -> None:
        """Nobody takes the stream yet, but may soon: it is refused only after the idle timeout."""
        receiver = self.find(key)
        if receiver is not None and receiver.description.idle_timeout_s > 0:
            receiver.unclaimed_until = now + receiver.description.idle_timeout_s
            self._schedule(receiver)

    def callback_started(self, key: StreamKey) -> None:
        """The application's callback runs: from now on its silence is its own."""
        receiver = self.find(key)
        if receiver is not None:
            receiver.callback_started = True

    def consume(self, key: StreamKey, offset: int, now: float) -> None:
        """The application has taken every byte below ``offset``."""
        receiver = self.find(key)
        if receiver is not None:
            receiver.consume(offset)
            self.speak(receiver)
            self._delay_ack(receiver, now)

    def approve(self, key: StreamKey, now: float) -> None:
        """The application has taken every byte of the whole stream, and they are what the sender says."""
        receiver = self.find(key)
        if receiver is not None:
            receiver.consume(receiver.received)
            receiver.step(ReceiverInput.APPROVED)
            self.speak(receiver)
            self._finish_if_done(receiver, now)

    def release(self, key: StreamKey, now: float) -> None:
        """The application has done with the stream, as far as its end is concerned."""
        receiver = self.find(key)
        if receiver is not None:
            receiver.released = True
            self._finish_if_done(receiver, now)

    def close(self, key: StreamKey, offset: int, now: float) -> None:
        """The reader was closed behind ``offset``: where the stream ends, as far as that is known by now, or not."""
        receiver = self.find(key)
        if receiver is None:
            return
        self.consume(key, offset, now)
        if offset == receiver.size:
            self.release(key, now)
        else:
            self.give_up(receiver, receive_errors.closed_early(receiver, self._context.fqcn), now)

    def fail(self, key: StreamKey, error: CellError, now: float) -> None:
        """End a stream from this side."""
        receiver = self.find(key)
        if receiver is not None:
            self.give_up(receiver, error, now)

    def fail_all(self, error: CellError, now: float) -> None:
        """End every stream from this side."""
        for receiver in self.receivers():
            self.give_up(receiver, error, now)

    # Frames.

    def handle_chunk(self, link: Link, chunk: Chunk, now: float) -> None:
        """A piece of a stream for this cell.

        :raises ProtocolError: if the peer broke the rules so that it is to be cut off.
        """
        life = self._life_of(chunk.key, now)
        if chunk.open is not None:
            self._note_settled(life, chunk.open.settled_below, chunk.open.settled, now)
        receiver = life.receivers.get(chunk.key.stream_id)
        if receiver is None:
            receiver = self._open(life, link, chunk, now)
        if receiver is None or chunk.attempt < receiver.attempt:
            return
        if receiver.link is not link:
            self._take_way(receiver, link)
        receiver.heard_at = now
        if not receiver.agreement.placed and not self.placing.takes(receiver, link, chunk, now):
            return
        if chunk.attempt > receiver.attempt:
            receiver.enter_attempt(chunk.attempt, chunk.offset)
        self._place(receiver, link, chunk, now)

    def handle_resume_query(self, link: Link, frame: ResumeQuery, now: float) -> None:
        """The origin asks where to go on, or shows that it is alive."""
        life = self._life_of(frame.key, now)
        if frame.key.stream_id == NO_STREAM:
            # A cell that shows which life of it there is wants no answer.
            return
        receiver = life.receivers.get(frame.key.stream_id)
        if receiver is None:
            life.note_asked(frame)
            link.outbox.post(self._registrar.answer_query(life, frame))
        elif frame.attempt >= receiver.attempt:
            if receiver.link is not link:
                self._take_way(receiver, link)
            receiver.heard_at = now
            self.placing.answer_query(receiver, link, frame)
            self.speak(receiver)
        self._links.wake_control(link)

    def handle_reset(self, frame: Reset, now: float) -> None:
        """The origin gave the stream up."""
        life = self._life_of(frame.key, now)
        last_word = dataclasses.replace(frame, from_target=True)
        stream_id = frame.key.stream_id
        receiver = life.receivers.get(stream_id)
        if receiver is not None:
            receiver.step(ReceiverInput.RESET)
            self._end(receiver, last_word, receive_errors.reset_by_origin(frame), now)
        elif stream_id not in life.settled:
            # It overtook the first chunk, which is to call no callback any more.
            life.ended.setdefault(stream_id, last_word)

    def note_settled(self, origin: str, incarnation: int, below: int, runs: IdRuns, now: float) -> None:
        """The neighbour says in a Ping which of its streams are settled."""
        life = self._lives.get(origin)
        if life is not None and life.incarnation == incarnation:
            self._note_settled(life, below, runs, now)

    # Links.

    def on_life_ended(self, origin: str, incarnation: int, now: float) -> None:
        """A life of a cell is over: forget what is left of it."""
        life = self._lives.get(origin)
        if life is not None and life.incarnation == incarnation:
            self._forget_life(origin, now)

    def on_lane_up(self, link: Link) -> None:
        """Say what was waiting for a lane."""
        for receiver in self._linked():
            if receiver.link is link:
                self.speak(receiver)

    def on_ways_changed(self, origins: Iterable[str] | None) -> None:
        """What is said to these cells, or to any, may have another way; what was said before may not have found any."""
        for origin in list(self._lives) if origins is None else origins:
            life = self._lives.get(origin)
            way = self._routes.next_hop(origin) if life is not None and life.receivers else None
            if life is None or way is None:
                continue
            for receiver in life.receivers.values():
                if receiver.link is not way:
                    self._take_way(receiver, way)
                receiver.ack_due = True
                self.speak(receiver)

    def _take_way(self, receiver: StreamReceiver, link: Link) -> None:
        """Speak to the origin by ``link`` from now on: what was said another way may be of no use to anybody there."""
        if receiver.link is not None:
            receiver.link.outbox.forget(receiver)
        receiver.link = link
        receiver.repeat()
        self.speak(receiver)

    def is_outdated(self, reply: ResumeReply) -> bool:
        """Return whether an answer of this cell that a lane may have carried in vain need not be said again."""
        life = self._lives.get(reply.key.origin)
        return life is None or life.incarnation != reply.key.origin_incarnation or life.is_outdated(reply)

    def on_lane_lost(self, link: Link) -> None:
        """Repeat what the lane may have lost: the state, or the last word, of every stream that came by the link."""
        for receiver in self._linked():
            if receiver.link is link:
                receiver.repeat()
                self.speak(receiver)
        life = self._lives.get(link.fqcn)
        if life is not None:
            for last_word in life.ended.values():
                link.outbox.post(last_word)

    def on_link_down(self, link: Link) -> None:
        """Streams from this neighbour wait for it to come back, or fail by their timers."""
        for receiver in self._linked():
            if receiver.link is link:
                receiver.link = None

    # Opening.

    def find(self, key: StreamKey) -> StreamReceiver | None:
        """Return the receiver of a stream that has not ended."""
        life = self._lives.get(key.origin)
        if life is None or life.incarnation != key.origin_incarnation:
            return self._orphans.find(key)
        return life.receivers.get(key.stream_id)

    def _life_of(self, key: StreamKey, now: float) -> OriginLife:
        """Return what is remembered of the origin's life, which is the one that is there (``presence.py``)."""
        life = self._lives.get(key.origin)
        if life is not None and life.incarnation == key.origin_incarnation:
            return life
        if life is not None:
            self._forget_life(key.origin, now)
        life = self._lives[key.origin] = self._past.begin(key.origin, key.origin_incarnation)
        return life

    def _forget_life(self, origin: str, now: float) -> None:
        """The origin was restarted: what has no name that its next life may use will not go on."""
        life = self._lives.pop(origin)
        self._past.bury(origin, life)
        for receiver in life.receivers.values():
            if not is_orphan(receiver):
                self._lose(receiver, receive_errors.origin_restarted(receiver), now)
            elif (before := self._orphans.add(receiver)) is not None:
                self._lose(before, receive_errors.replaced(before), now)

    def _lose(self, receiver: StreamReceiver, error: CellError, now: float) -> None:
        """End a stream whose origin is not there any more to be told."""
        receiver.step(ReceiverInput.RESET)
        self._fail(receiver, error, now)

    def _open(self, life: OriginLife, link: Link, chunk: Chunk, now: float) -> StreamReceiver | None:
        """Make a receiver for a stream that is new, or answer for one that is not."""
        if life.is_late(chunk):
            return None
        opening, refusal = chunk.open, self._registrar.refuse(life, chunk)
        if refusal is not None:
            link.outbox.post(refusal)
            self._links.wake_control(link)
        if opening is None or refusal is not None:
            return None
        orphan = self._orphans.claim(chunk, opening)
        fault = None if orphan is None else fault_in_adopting(orphan, opening.description)
        if orphan is not None and fault is None:
            return self._adopt(orphan, life, chunk, opening, now)
        if orphan is not None and fault is not None:
            self._lose(orphan, fault, now)
        receiver = StreamReceiver(self._context, chunk, opening, self._memory.window())
        receiver.link = link
        receiver.heard_at = receiver.spoke_at = now
        receiver.ack_at = now + ACK_DELAY_S
        receiver.on_timer = self._handle_timer
        life.receivers[chunk.key.stream_id] = receiver
        description = opening.description
        if description.kind is StreamKind.UNSPECIFIED:
            self.give_up(receiver, receive_errors.unknown_kind(), now)
            return None
        if isinstance(fault, StreamIntegrityError):
            receiver.agreement.choose(0, None)
        if description.kind.whole and self._memory.refuse_size(receiver, description.size or 0, now):
            return None
        if description.kind is StreamKind.REPLY and self._awaited_id(description, chunk.key.origin) is None:
            self.give_up(receiver, receive_errors.not_awaited(), now)
            return None
        self._context.counters.add(Count.STREAMS_ACCEPTED)
        self._schedule(receiver)
        self._context.events.append(receiver.opened())
        return receiver

    def _adopt(
        self, receiver: StreamReceiver, life: OriginLife, chunk: Chunk, opening: Open, now: float
    ) -> StreamReceiver:
        """Let a receiver of an earlier life of the origin go on with what this one sends."""
        old_key = receiver.adopt(chunk, opening)
        life.receivers[chunk.key.stream_id] = receiver
        receiver.heard_at = now
        self._schedule(receiver)
        self._context.events.append(StreamAdopted(old_key, chunk.key))
        return receiver

    def _awaited_id(self, reply: StreamDescription, replier: str) -> int | None:
        """Return the id of the request that a reply answers, or None unless this life has asked ``replier`` and waits.

        Ids of requests start anew in each life.
        """
        to = reply.reply_to
        if to is None or to.incarnation != self._context.incarnation:
            return None
        return to.request_id if self._awaits_reply(to.request_id, replier) else None

    def say_lost(self, link: Link, chunk: Chunk, reason: LostReason) -> None:
        """Tell the origin that a chunk did not get through."""
        link.outbox.post(Lost.of(chunk, reason, self._context.fqcn))
        self._links.wake_control(link)

    # Taking in.

    def _place(self, receiver: StreamReceiver, link: Link, chunk: Chunk, now: float) -> None:
        link.remembered_window.heard(now)
        try:
            receiver.place(chunk, on_shared_lane=not link.has_bulk_lane())
        except CorruptChunk:
            self.note_corrupt(receiver, link, chunk, now)
            return
        except TooManyGaps:
            self.say_lost(link, chunk, LostReason.LANE_LOST)
            return
        except StreamIntegrityError as error:
            self.give_up(receiver, error, now)
            return
        except ProtocolError as error:
            self.give_up(receiver, error, now)
            raise
        self._deliver(receiver, now)
        self._finish_if_done(receiver, now)
        self.speak(receiver)
        self._delay_ack(receiver, now)

    def note_corrupt(self, receiver: StreamReceiver, link: Link, chunk: Chunk, now: float) -> None:
        """A chunk has a wrong checksum: ask for it again, but not for ever."""
        self._context.counters.add(Count.CORRUPT_CHUNKS)
        receiver.corrupt_chunks += 1
        if receiver.corrupt_chunks < CORRUPT_CHUNKS:
            self.say_lost(link, chunk, LostReason.CORRUPT)
            return
        self.give_up(receiver, receive_errors.corrupted(chunk, self._context.fqcn), now)

    def _deliver(self, receiver: StreamReceiver, now: float) -> None:
        if receiver.state is not ReceiverState.RECEIVING:
            return
        if receiver.assemble and self._memory.refuse_size(receiver, receiver.received, now):
            return
        for payload in receiver.take_pending():
            self._context.events.append(DataReceived(receiver.key, payload, receiver.report_bytes))
        if receiver.assemble and receiver.size is None:
            self._memory.grow(receiver)
        if receiver.all_received and receiver.step(ReceiverInput.ALL_RECEIVED) is ReceiverAction.END_DATA:
            self._memory.note_whole(receiver)
            self._context.events.append(DataEnded(receiver.key, receiver.received, receiver.digest))
            self._note_reply(receiver, None)
            self._finish_if_done(receiver, now)

    def _note_reply(self, receiver: StreamReceiver, error: CellError | None) -> None:
        """If a reply that is waited for has ended, its request has ended with it."""
        if receiver.description.kind is not StreamKind.REPLY:
            return
        request_id = self._awaited_id(receiver.description, receiver.key.origin)
        if request_id is not None:
            self._on_reply_ended(request_id, error)

    def begin(self, receiver: StreamReceiver, now: float) -> None:
        """Hand over what came before admission, and give the credit that admission means."""
        receiver.step(ReceiverInput.ADMITTED)
        self._context.events.append(StreamAdmitted(receiver.key))
        if not receiver.assemble:
            receiver.open_window()
        elif receiver.size is not None:
            receiver.extend_credit(receiver.size)
        self._deliver(receiver, now)
        self.speak(receiver)

    # Ending.

    def _finish_if_done(self, receiver: StreamReceiver, now: float) -> None:
        if not (receiver.released and receiver.ended):
            return
        if receiver.assemble:
            # It was checked before it was released.
            receiver.step(ReceiverInput.APPROVED)
        if receiver.step(ReceiverInput.FINISHED) is not ReceiverAction.CONFIRM:
            return
        last_word = receiver.ack(complete=True)
        self._context.counters.add(Count.RECEIVES_FINISHED)
        self._context.events.append(ReceiveFinished(receiver.key, receiver.received))
        self._bury(receiver, last_word, now)
        self._post_last_word(receiver, last_word)

    def give_up(self, receiver: StreamReceiver, error: CellError, now: float) -> None:
        """End a stream from this side, and tell its origin."""
        if receiver.step(ReceiverInput.GIVE_UP) is not ReceiverAction.RESET_AND_FAIL:
            return
        last_word = receiver.reset(error)
        self._end(receiver, last_word, error, now)
        self._post_last_word(receiver, last_word)

    def _post_last_word(self, receiver: StreamReceiver, last_word: Ack | Reset) -> None:
        if receiver.link is not None:
            receiver.link.outbox.post(last_word)
            self._links.wake_control(receiver.link)

    def _end(self, receiver: StreamReceiver, last_word: Reset, error: CellError, now: float) -> None:
        self._bury(receiver, last_word, now)
        self._fail(receiver, error, now)

    def _fail(self, receiver: StreamReceiver, error: CellError, now: float) -> None:
        self._context.counters.add(Count.RECEIVES_FAILED)
        discard = isinstance(error, StreamCancelled)
        self._context.events.append(ReceiveFailed(receiver.key, error, discard))
        self._note_reply(receiver, error)
        self._drop(receiver, now)

    def _bury(self, receiver: StreamReceiver, last_word: Ack | Reset, now: float) -> None:
        if not self._orphans.discard(receiver):
            life = self._lives[receiver.key.origin]
            del life.receivers[receiver.key.stream_id]
            if receiver.key.stream_id not in life.settled:
                life.ended[receiver.key.stream_id] = last_word
        self._drop(receiver, now)

    def _drop(self, receiver: StreamReceiver, now: float) -> None:
        if receiver.link is not None:
            # Its last word says it all.
            receiver.link.outbox.forget(receiver)
        self._context.deadlines.cancel(receiver)
        receiver.forget_payload()
        self._memory.free(receiver, now)

    def _note_settled(self, life: OriginLife, below: int, runs: IdRuns, now: float) -> None:
        fresh = life.settled.add_below(below)
        for first, last in runs:
            fresh += life.settled.add(first, last)
        for first, last in fresh:
            for stream_id in life.known_ids(first, last):
                self._forget_settled(life, stream_id, now)

    def _forget_settled(self, life: OriginLife, stream_id: int, now: float) -> None:
        life.ended.pop(stream_id, None)
        life.asked.pop(stream_id, None)
        receiver = life.receivers.get(stream_id)
        # The memory that the end of one gives back may have ended another.
        if receiver is None or receiver.step(ReceiverInput.RESET) is not ReceiverAction.FAIL:
            return
        del life.receivers[stream_id]
        self._fail(receiver, receive_errors.gave_up(receiver), now)

    # Speaking and time.

    def speak(self, receiver: StreamReceiver) -> None:
        """Let a receiver say what it has to say."""
        if receiver.link is not None and receiver.has_news:
            receiver.link.outbox.note(receiver)
            self._links.wake_control(receiver.link)

    def _delay_ack(self, receiver: StreamReceiver, now: float) -> None:
        """See to it that news too small for an Ack of its own is told soon all the same."""
        if receiver.state is ReceiverState.ENDED or receiver.ack_due or receiver.ack_at is not None:
            return
        if receiver.owes_ack:
            receiver.ack_at = now + ACK_DELAY_S
            self._context.deadlines.schedule(receiver, receiver.ack_at)

    def _schedule(self, receiver: StreamReceiver) -> None:
        due_at = patience.due_at(receiver)
        if due_at is not None:
            self._context.deadlines.schedule(receiver, due_at)

    def _handle_timer(self, receiver: StreamReceiver, now: float) -> None:
        if receiver.ack_at is not None and now >= receiver.ack_at:
            receiver.ack_at = None
            receiver.ack_due = receiver.owes_ack
            self.speak(receiver)
        if patience.origin_is_silent(receiver, now):
            self.give_up(receiver, receive_errors.silent(receiver), now)
            return
        if receiver.unclaimed_until is not None and now >= receiver.unclaimed_until:
            self.give_up(receiver, receive_errors.nobody_registered(receiver, self._context.fqcn), now)
            return
        if patience.owes_life_sign(receiver, now):
            receiver.spoke_at = now
            receiver.agreement.repeat()
            receiver.ack_due |= receiver.shows_life
            self.speak(receiver)
        self._schedule(receiver)
