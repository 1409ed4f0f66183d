"""All streams that a cell receives.

A map with indices: it finds the receiver that an input is for, hands it on, and takes a receiver out when that says
that it has ended. It decides what is a new stream and what is one that was seen before (DESIGN: Once).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

from streamcell.digest import Digest
from streamcell.errors import CellError, ErrorCode, StreamIntegrityError
from streamcell.limits import CORRUPT_CHUNKS, PAST_LIVES, STREAMS_OF_FREE_CREDIT, STREAMS_OF_ORIGIN
from streamcell.protocol.base.context import Context, Count
from streamcell.protocol.base.rules import fault_in_opening, fault_in_pair, fault_in_stream
from streamcell.protocol.flow.charges import Charge
from streamcell.protocol.flow.credit import WindowBudget
from streamcell.protocol.links.link import Link
from streamcell.protocol.receiving import errors as receive_errors
from streamcell.protocol.receiving.half import StreamReceiver
from streamcell.protocol.receiving.lives import OriginLife, PastLives, Registrar, Who
from streamcell.protocol.receiving.memory import ReceiveMemory
from streamcell.protocol.receiving.orphans import Orphans, fault_in_adopting
from streamcell.protocol.receiving.states import (
    ReceiverState,
)
from streamcell.protocol.receiving.surroundings import Surroundings
from streamcell.protocol.receiving.watch import ReservationWatch
from streamcell.protocol.receiving.ways import Ways
from streamcell.protocol.requests import RequestTable
from streamcell.protocol.tree.routes import RouteTable
from streamcell.protocol.wire.description import ReplyTo, StreamKind
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
    Seal,
    StreamKey,
)

_REPLY = StreamKind.REPLY
# So many lives begin before those are looked for that may be forgotten.
_BEGUN_LIVES = 1024


class ReceiveTable:
    """Every receiver that has not ended, and the last word about those that have, by origin.

    Of an origin what is sealed and what is not are remembered apart, so that nothing that is said in plain, and may be
    made up on the way, has to do with a sealed stream. An id stands for one stream all the same.

    :param shares_keys: whether there are keys that a cell has proved its name with.
    """

    def __init__(
        self,
        context: Context,
        routes: RouteTable,
        budget: WindowBudget,
        requests: RequestTable,
        shares_keys: Callable[[str], bool],
    ) -> None:
        self._lives: dict[Who, OriginLife] = {}
        self._past = PastLives()
        self._orphans = Orphans()
        self._registrar = Registrar(context.fqcn, context.incarnation)
        self._ways = Ways()
        self._memory = ReceiveMemory(context.config, budget)
        self._near = Surroundings(context, self._ways, self._memory, requests, self)
        self._context = context
        self._routes = routes
        self._shares_keys = shares_keys
        # Of sealed streams of which only chunks have come that were changed on the way: how many, and which request the
        # stream answers.
        self._forged: dict[StreamKey, tuple[int, ReplyTo | None]] = {}
        self._fqcn = context.fqcn
        self._watch = ReservationWatch(context, self._memory, self._lives.values, self._is_reachable)
        # Lives that have begun since those were looked for that nobody leads to.
        self._begun = 0

    def receivers(self) -> list[StreamReceiver]:
        """Return all receivers."""
        return self._linked() + self._orphans.receivers()

    def unreleased(self) -> int:
        """Return how many streams were read to their ends, and are held by the application all the same."""
        return sum(receiver.state is ReceiverState.APPROVED for receiver in self._linked())

    def find(self, key: StreamKey) -> StreamReceiver | None:
        """Return the receiver of a stream that has not ended."""
        for sealed in (False, True):
            life = self._lives.get((key.origin, sealed))
            if life is not None and life.incarnation == key.origin_incarnation and key.stream_id in life.receivers:
                return life.receivers[key.stream_id]
        return self._orphans.find(key)

    def on_receiver_ended(self, receiver: StreamReceiver, last_word: Ack | Reset | None) -> None:
        """Take it out, and keep its last word until its origin says that it is settled."""
        key = receiver.key
        life = self._lives.get((key.origin, receiver.description.sealed))
        if self._orphans.discard(receiver) or life is None or life.incarnation != key.origin_incarnation:
            return
        life.on_stream_ended(key.stream_id, last_word)

    def _linked(self) -> list[StreamReceiver]:
        """Return the receivers whose origin is still the one that began them."""
        return [receiver for life in self._lives.values() for receiver in life.receivers.values()]

    # Verbs of the shell.

    def accept(self, key: StreamKey, now: float, *, assemble: bool, reserve: bool) -> None:
        """The application wants the stream."""
        receiver = self.find(key)
        if receiver is not None:
            receiver.on_accepted(now, assemble=assemble, reserve=reserve)
            self._watch.on_accepted(now)

    def reject(self, key: StreamKey, code: ErrorCode, sentence: str, now: float) -> None:
        """The application does not want the stream."""
        self.fail(key, receive_errors.rejected(code, sentence), now)

    def await_callback(self, key: StreamKey, now: float) -> None:
        """Nobody takes the stream yet, but may soon."""
        receiver = self.find(key)
        if receiver is not None:
            receiver.on_callback_awaited(now)

    def weigh_offset(self, key: StreamKey) -> None:
        """The application is at finding out where the stream is to go on."""
        receiver = self.find(key)
        if receiver is not None:
            receiver.point.on_weighing()

    def choose_offset(self, key: StreamKey, offset: int, prefix_digest: Digest | None) -> None:
        """The origin is to go on at ``offset``, if it has the same bytes below that."""
        receiver = self.find(key)
        if receiver is not None:
            receiver.on_start_chosen(offset, prefix_digest)

    def callback_started(self, key: StreamKey) -> None:
        """The application's callback runs."""
        receiver = self.find(key)
        if receiver is not None:
            receiver.on_callback_started()

    def consume(self, key: StreamKey, offset: int, now: float) -> None:
        """The application has taken every byte below ``offset``."""
        receiver = self.find(key)
        if receiver is not None:
            receiver.on_consumed(offset, now)

    def approve(self, key: StreamKey, now: float) -> None:
        """The application has taken every byte of the whole stream, and they are what the sender says."""
        receiver = self.find(key)
        if receiver is not None:
            receiver.on_approved(now)

    def release(self, key: StreamKey, now: float) -> None:
        """The application has done with the stream, as far as its end is concerned."""
        receiver = self.find(key)
        if receiver is not None:
            receiver.on_released(now)

    def close(self, key: StreamKey, offset: int, now: float) -> None:
        """The reader was closed behind ``offset``."""
        receiver = self.find(key)
        if receiver is not None:
            receiver.on_reader_closed(offset, now)

    def fail(self, key: StreamKey, error: CellError, now: float) -> None:
        """End a stream from this side."""
        receiver = self.find(key)
        if receiver is not None:
            receiver.give_up(error, now)

    def fail_all(self, error: CellError, now: float) -> None:
        """End every stream from this side."""
        for receiver in self.receivers():
            receiver.give_up(error, now)

    # Frames.

    def on_chunk(self, link: Link, chunk: Chunk, now: float) -> None:
        """A piece of a stream for this cell.

        :raises ProtocolError: if the peer broke the rules so that it is to be cut off.
        """
        key = chunk.key
        if chunk.open is not None and chunk.open.sealing_envelope:
            # It was sealed, and somebody on the way has taken the seal away.
            self._context.counters.add(Count.FRAMES_UNPROVEN)
            link.answer(Lost.by_target(chunk, LostReason.CORRUPT))
            return
        life = self._life_of(chunk, now)
        if chunk.open is not None:
            self._note_settled(life, link, key.origin, chunk.open.settled_below, chunk.open.settled, now)
        receiver = life.receivers.get(key.stream_id)
        if receiver is None:
            receiver = self._open(life, link, chunk, now) if self._has_id(life, link, chunk, now) else None
        if receiver is not None:
            receiver.on_chunk(link, chunk, now)

    def on_forged_chunk(self, link: Link, chunk: Chunk, now: float) -> None:
        """A chunk is not what its origin has sealed, or not all of it."""
        receiver = self.find(chunk.key)
        if receiver is not None and receiver.description.sealed:
            receiver.on_forged_chunk(link, chunk, now)
            return
        # Nothing is known of the stream yet, and nothing is to be remembered of it but this.
        self._context.counters.add(Count.CORRUPT_CHUNKS)
        if len(self._forged) >= STREAMS_OF_ORIGIN:
            self._forged.clear()
        forged, answered = self._forged.pop(chunk.key, (0, None))
        if chunk.open is not None:
            answered = chunk.open.description.reply_to
        if forged + 1 < CORRUPT_CHUNKS:
            self._forged[chunk.key] = forged + 1, answered
            link.answer(Lost.by_target(chunk, LostReason.CORRUPT))
            return
        seal = None if chunk.seal is None else Seal(chunk.seal.session_id)
        error = receive_errors.corrupted(chunk, self._fqcn)
        link.answer(Reset.by_target(chunk.key, self._fqcn, chunk.attempt, error, seal))
        self._near.requests.on_reply_ended(answered, chunk.key.origin, error, sealed=True)

    def _has_id(self, life: OriginLife, link: Link, frame: Chunk | ResumeQuery | Reset, now: float) -> bool:
        """Return whether the id of a stream that is not open is its own, and not that of one that came the other way.

        Of two streams with one id the one that came in plain was made up by somebody. If it was there first, the
        application may have it, and neither goes on.
        """
        key, sealed = frame.key, frame.seal is not None
        other = self._lives.get((key.origin, not sealed))
        if other is None or other.incarnation != key.origin_incarnation or life.has_ended(key.stream_id):
            return True
        made_up = other.receivers.get(key.stream_id)
        if made_up is None and key.stream_id not in other.ended:
            return True
        self._context.counters.add(Count.FRAMES_UNPROVEN)
        if not sealed:
            return False
        if made_up is not None:
            made_up.on_origin_gone(receive_errors.made_up(made_up), now)
        if not isinstance(frame, Reset):
            self._end_at_once(life, link, frame, receive_errors.id_is_taken(frame, self._fqcn))
        return False

    def on_resume_query(self, link: Link, frame: ResumeQuery, now: float) -> None:
        """The origin asks where to go on, or shows that it is alive.

        :raises ProtocolError: if the neighbour, which is the origin, is to be cut off.
        """
        origin, life = frame.key.origin, self._life_of(frame, now)
        if frame.key.stream_id == NO_STREAM:
            # A cell that shows which life of it there is wants no answer.
            self._note_settled(life, link, origin, frame.settled_below, frame.settled, now)
            return
        receiver = life.receivers.get(frame.key.stream_id)
        if receiver is None and not self._has_id(life, link, frame, now):
            return
        fault = self._fault_in_asking(life, frame) if receiver is None else ""
        if receiver is not None:
            receiver.on_query(link, frame, now)
        elif fault:
            self._refuse(life, link, frame, fault, now)
        elif frame.probe or (life.has_slot() and self._may_remember_more(life, link, origin, now)):
            life.note_asked(frame)
            link.answer(self._registrar.answer_query(life, frame))
        else:
            link.answer(Lost.by_target(frame, LostReason.LIMIT))

    def on_reset(self, link: Link, frame: Reset, now: float) -> None:
        """The origin gave the stream up.

        :raises ProtocolError: if the neighbour, which is the origin, is to be cut off.
        """
        life = self._life_of(frame, now)
        last_word = dataclasses.replace(frame, from_target=True)
        receiver = life.receivers.get(frame.key.stream_id)
        if receiver is not None:
            receiver.on_reset(last_word, now)
        elif self._has_id(life, link, frame, now) and self._may_remember_more(life, link, frame.key.origin, now):
            # It overtook the first chunk, which is to call no callback any more.
            life.on_stream_ended(frame.key.stream_id, last_word)

    def note_settled(self, link: Link, below: int, runs: IdRuns, now: float) -> None:
        """The neighbour says in a Ping which of its streams are settled.

        :raises ProtocolError: if it is to be cut off.
        """
        life = self._lives.get((link.fqcn, False))
        if life is not None and life.incarnation == link.incarnation:
            self._note_settled(life, link, link.fqcn, below, runs, now)

    def _note_settled(self, life: OriginLife, link: Link, origin: str, below: int, runs: IdRuns, now: float) -> None:
        for stream_id in life.settle(below, runs):
            receiver = life.receivers.get(stream_id)
            # The memory that the end of one gives back may have ended another.
            if receiver is not None:
                receiver.on_origin_gone(receive_errors.gave_up(receiver), now)
        if runs:
            self._may_remember_more(life, link, origin, now)

    def _may_remember_more(self, life: OriginLife, link: Link, origin: str, now: float) -> bool:
        """Return whether more may be remembered of a life, of which something came over ``link``.

        :raises ProtocolError: if not, and the neighbour is the origin itself.
        """
        has_room = life.has_room(now)
        if not has_room and link.fqcn == origin:
            raise receive_errors.remembered_too_much(origin, self._fqcn)
        return has_room

    def on_reply_settled(self, origin: str, request: ReplyTo) -> None:
        """This cell has nothing more to say to a request of another."""
        for life in self._lives_of(origin, request.incarnation):
            life.answering.pop(request.request_id, None)

    # Links.

    def on_lane_up(self, link: Link) -> None:
        """Say what was waiting for a lane."""
        for news in self._ways.by(link):
            news.speak()

    def on_lane_lost(self, link: Link) -> None:
        """Repeat what the lane may have lost: the state, or the last word, of every stream that came by the link."""
        for news in self._ways.by(link):
            news.repeat()
        for life in self._lives_of(link.fqcn):
            for last_word in life.ended.values():
                link.say(last_word)

    def on_link_down(self, link: Link) -> None:
        """Streams from this neighbour wait for it to come back, or fail by their timers."""
        for news in self._ways.by(link):
            news.on_way_lost()

    def on_ways_changed(self, origins: Iterable[str] | None) -> None:
        """What is said to these cells, or to any, may have another way."""
        for origin in [origin for origin, _ in self._lives] if origins is None else origins:
            lives = [life for life in self._lives_of(origin) if life.receivers]
            way = self._routes.next_hop(origin) if lives else None
            if way is None:
                continue
            for life in lives:
                for receiver in life.receivers.values():
                    receiver.news.on_way_changed(way)

    def is_outdated(self, reply: ResumeReply) -> bool:
        """Return whether an answer of this cell that a lane may have carried in vain need not be said again."""
        life = self._lives.get((reply.key.origin, reply.seal is not None))
        return life is None or life.incarnation != reply.key.origin_incarnation or life.is_outdated(reply)

    def on_cut_off(self, link: Link, error: CellError, now: float) -> None:
        """A neighbour was cut off for what it did: nothing is kept for its own streams."""
        for life in self._lives_of(link.fqcn, link.incarnation):
            for receiver in list(life.receivers.values()):
                receiver.give_up(receive_errors.cut_off(receiver, error), now)

    def _is_reachable(self, fqcn: str) -> bool:
        return self._routes.next_hop(fqcn) is not None

    # Lives of origins.

    def on_life_ended(self, origin: str, incarnation: int, now: float) -> None:
        """A life of a cell is over: forget what is left of it."""
        for sealed in (False, True):
            life = self._lives.get((origin, sealed))
            if life is not None and life.incarnation == incarnation:
                self._forget_life((origin, sealed), now)

    def _lives_of(self, origin: str, incarnation: int | None = None) -> list[OriginLife]:
        """Return what is remembered of an origin, or of one life of it."""
        both = (self._lives.get((origin, False)), self._lives.get((origin, True)))
        return [life for life in both if life is not None and incarnation in (None, life.incarnation)]

    def _life_of(self, frame: Chunk | ResumeQuery | Reset, now: float) -> OriginLife:
        """Return what is remembered of the origin's life, which is the one that is there (``presence.py``)."""
        key = frame.key
        who = key.origin, frame.seal is not None
        life = self._lives.get(who)
        if life is not None and life.incarnation == key.origin_incarnation:
            return life
        return self._begin_life(who, key.origin_incarnation, now)

    def _begin_life(self, who: Who, incarnation: int, now: float) -> OriginLife:
        if who in self._lives:
            self._forget_life(who, now)
        life = self._lives[who] = self._past.begin(who, incarnation)
        life.heard_at = now
        self._begun += 1
        if self._begun >= _BEGUN_LIVES:
            self._begun = 0
            self._forget_those_long_gone()
        return life

    def _forget_those_long_gone(self) -> None:
        """Keep only the least of the lives that were heard of longest ago, of cells that no own route leads to.

        But of what was sealed all while there are keys to open it with: somebody may have recorded it.
        """
        gone = [
            (life.heard_at, who)
            for who, life in self._lives.items()
            if not life.receivers and not self._routes.leads_to(who[0]) and not (who[1] and self._shares_keys(who[0]))
        ]
        for _, who in sorted(gone)[: max(0, len(gone) - PAST_LIVES)]:
            self._past.bury(who, self._lives.pop(who))

    def _forget_life(self, who: Who, now: float) -> None:
        """The origin was restarted: what has no name that its next life may use will not go on."""
        life = self._lives.pop(who)
        self._past.bury(who, life)
        for receiver in life.receivers.values():
            self._memory.leave_line(receiver)
        for receiver in life.receivers.values():
            if not receiver.can_wait_for_heir:
                receiver.on_origin_gone(receive_errors.origin_restarted(receiver), now)
            else:
                for gone, error in self._orphans.keep(receiver):
                    gone.on_origin_gone(error, now)

    # New streams.

    def _open(self, life: OriginLife, link: Link, chunk: Chunk, now: float) -> StreamReceiver | None:
        """Make a receiver for a stream that is new, or answer for one that is not."""
        if life.is_late(chunk):
            return None
        opening, refusal = chunk.open, self._registrar.answer_chunk(life, chunk)
        if refusal is not None:
            link.answer(refusal)
        if opening is None or refusal is not None:
            return None
        fault_by_rules = self._fault_in_opening(chunk, opening)
        if fault_by_rules:
            self._refuse(life, link, chunk, fault_by_rules, now)
            return None
        charge = self._charge(life, link, chunk, opening, now)
        if charge is None:
            link.answer(Lost.by_target(chunk, LostReason.LIMIT))
            return None
        orphan = self._orphans.claim(chunk, opening)
        fault = None if orphan is None else fault_in_adopting(orphan, opening.description)
        if orphan is not None and fault is None:
            life.on_stream_begun(chunk.key.stream_id, orphan)
            orphan.go_on_as(chunk, opening, now, charge)
            return orphan
        if orphan is not None and fault is not None:
            orphan.on_origin_gone(fault, now)
        receiver = StreamReceiver(self._near, chunk, opening, link, now, charge)
        life.on_stream_begun(chunk.key.stream_id, receiver)
        return receiver if receiver.offer(opening, now, anew=isinstance(fault, StreamIntegrityError)) else None

    # What the policy says. A cell may send itself what it likes, and a reply that is awaited is one to its own request.

    def on_rules_changed(self, now: float) -> None:
        """Give up the streams that may not be sent here any more."""
        rules, me = self._context.rules, self._fqcn
        if rules is None:
            return
        for receiver in self.receivers():
            origin, kind = receiver.key.origin, receiver.description.kind
            if origin == me or kind is _REPLY:
                continue
            sealed = receiver.description.sealed
            fault = fault_in_stream(rules, me, origin, me, receiver.channel, receiver.topic, kind, sealed)
            if fault:
                self._tell_of_refusal(receiver.news.link, origin, fault)
                receiver.give_up(receive_errors.not_allowed(fault), now)

    def _fault_in_opening(self, chunk: Chunk, opening: Open) -> str:
        rules = self._context.rules
        if rules is None or chunk.key.origin == self._fqcn or opening.description.kind is _REPLY:
            return ""
        return fault_in_opening(rules, self._fqcn, chunk, opening)

    def _fault_in_asking(self, life: OriginLife, frame: ResumeQuery) -> str:
        """Return why a question about a stream is not answered; what is known of its end may be told all the same."""
        rules = self._context.rules
        if rules is None or frame.key.origin == self._fqcn or life.has_ended(frame.key.stream_id):
            return ""
        fault = fault_in_pair(rules, self._fqcn, frame.key.origin, self._fqcn)
        return "" if fault and self._near.requests.waits_for(frame.key.origin) else fault

    def _refuse(self, life: OriginLife, link: Link, frame: Chunk | ResumeQuery, fault: str, now: float) -> None:
        """End a stream that its origin may not send here.

        :raises ProtocolError: if the neighbour, which is the origin, is to be cut off.
        """
        key = frame.key
        if not self._may_remember_more(life, link, key.origin, now):
            link.answer(Lost.by_target(frame, LostReason.LIMIT))
            return
        self._tell_of_refusal(link, key.origin, fault)
        self._end_at_once(life, link, frame, receive_errors.not_allowed(fault))

    def _end_at_once(self, life: OriginLife, link: Link, frame: Chunk | ResumeQuery, error: CellError) -> None:
        """Say the last word about a stream that does not begin here."""
        seal = None if frame.seal is None else Seal(frame.seal.session_id)
        last_word = Reset.by_target(frame.key, self._fqcn, frame.attempt, error, seal)
        life.on_stream_ended(frame.key.stream_id, last_word)
        link.answer(last_word)

    def _tell_of_refusal(self, link: Link | None, origin: str, fault: str) -> None:
        fqcn, address = (origin, "") if link is None else (link.fqcn, link.address)
        self._context.on_access_refused(fqcn, address, fault)

    # Room.

    def _charge(self, life: OriginLife, link: Link, chunk: Chunk, opening: Open, now: float) -> Charge | None:
        """Return what a new stream is charged with; None: there is no room for it.

        :raises ProtocolError: if the neighbour, which is the origin, is to be cut off.
        """
        origin = chunk.key.origin
        if not (self._may_remember_more(life, link, origin, now) and life.may_open(opening.description.kind)):
            return None
        is_free = len(life.receivers) < STREAMS_OF_FREE_CREDIT
        return self._memory.charge(link.party_of(origin), opening, is_free=is_free)
