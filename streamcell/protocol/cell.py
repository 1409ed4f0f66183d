"""The core of a cell: frames, verbs and time in; frames, events and a deadline out.

Everything that makes delivery correct is here or below, and nothing of it waits, reads a clock, or does I/O. One
thread owns a core. After each call the owner takes the events (``next_event`` until None), wakes the writers of
``take_ready_lanes``, and sets its timer to ``next_deadline``. Handling an event may call the core again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from streamcell.config import CellConfig
from streamcell.digest import Digest
from streamcell.errors import CellError, ErrorCode, Fault, ProtocolError, StreamCancelled, StreamError
from streamcell.protocol.base.context import Context
from streamcell.protocol.base.events import Event
from streamcell.protocol.base.rules import Rules
from streamcell.protocol.flow.credit import WindowBudget
from streamcell.protocol.links.batches import Batches
from streamcell.protocol.links.carrier import CarrierInfo
from streamcell.protocol.links.kinds import LinkKind
from streamcell.protocol.links.lane import Lane
from streamcell.protocol.links.link import Link
from streamcell.protocol.links.settled_news import SettledNews
from streamcell.protocol.links.states import LaneState
from streamcell.protocol.links.table import LinkTable
from streamcell.protocol.receiving.table import ReceiveTable
from streamcell.protocol.relaying.table import RelayTable
from streamcell.protocol.requests import RequestTable, Standing
from streamcell.protocol.sealing.border import Border
from streamcell.protocol.sealing.table import SealingTable
from streamcell.protocol.sending.half import StreamSender
from streamcell.protocol.sending.spec import SendSpec
from streamcell.protocol.sending.table import SendTable
from streamcell.protocol.stats import cell_stats
from streamcell.protocol.tree.announcements import AnnouncementTable
from streamcell.protocol.tree.gate import Gate
from streamcell.protocol.tree.presence import Presence
from streamcell.protocol.tree.queries import QueryTable
from streamcell.protocol.tree.routes import RouteTable
from streamcell.protocol.wire.addressing import ROUTED, ends_of
from streamcell.protocol.wire.frames import (
    Ack,
    Announce,
    AnnounceReply,
    Chunk,
    Credit,
    Frame,
    Goodbye,
    Handshake,
    Hello,
    LanesWanted,
    Lost,
    Payload,
    Ping,
    Pong,
    Query,
    QueryReply,
    Reset,
    ResumeQuery,
    ResumeReply,
    StreamKey,
    Withdraw,
)
from streamcell.stats import CellStats
from streamcell.topology import CellSelection

# Before the Hellos nothing else is heard.
_FIRST_FRAMES = (Hello, Goodbye)
# Asked of each frame: found once, since a member of an enumeration is found slowly before Python 3.12.
_CLOSED, _GREETING = LaneState.CLOSED, LaneState.GREETING


class CellCore:
    """One cell as a value machine.

    :param fqcn: its name.
    :param incarnation: the number of this life, which no other life of a cell of that name has.
    :param checksum: CRC32C, called as ``checksum(data, value)`` to continue from ``value``.
    :param random_bits: returns that many random bits as a number.
    :param software: name and version, told to those who ask.
    :param rules: who may do what; None: whatever names allow.
    :param seals: whether it has what it takes to come to keys with other cells.
    :param asks_passage: whether the shell is to judge each attempt that comes from a child to pass through.
    """

    def __init__(
        self,
        *,
        fqcn: str,
        incarnation: int,
        config: CellConfig,
        checksum: Callable[[Payload, int], int],
        random_bits: Callable[[int], int],
        software: str = "",
        rules: Rules | None = None,
        seals: bool = False,
        asks_passage: bool = False,
    ) -> None:
        self._context = Context(fqcn, incarnation, config, checksum, random_bits, software, rules, asks_passage)
        self._links = LinkTable(self._context, self)
        self._lanes: Mapping[int, Lane] = self._links.lanes.by_id
        self._routes = RouteTable(self._context, self._links.links, self._links.loop)
        self._announcements = AnnouncementTable(self._context, self._routes, self)
        self._queries = QueryTable(self._context, self._links, self._routes)
        self._gate = Gate(self._context, self._routes)
        budget = WindowBudget(config.receive_budget_bytes)
        self._relays = RelayTable(self._context, self._routes, self._gate, budget)
        settled = SettledNews(self._context)
        self._sealing = SealingTable(self._context, self._routes, seals=seals)
        self._presence = Presence(self._context, self._routes, self._sealing, self)
        self._sealing.tell(self._presence)
        self._sends = SendTable(
            self._context, self._routes, self._gate, self._presence, settled, self._sealing, self._on_send_settled
        )
        self._batches = Batches(self._context, settled)
        self._requests = RequestTable(self._context, self._standing_of, self._sends.give_up)
        self._receives = ReceiveTable(self._context, self._routes, budget, self._requests, self._sealing.has_session)
        self._border = Border(self._context, self._sealing, self._receives)
        self._lane_handlers: dict[type, Callable[[Lane, Any, float], None]] = {
            Hello: self._links.handle_hello,
            Ping: self._handle_ping,
            Pong: lambda lane, frame, now: lane.on_pong(frame.nonce, now),
            Goodbye: self._handle_goodbye,
        }
        self._link_handlers: dict[type, Callable[[Link, Any, float], None]] = {
            LanesWanted: lambda link, frame, now: link.on_lanes_wanted(frame.bulk_lanes, now),
            Announce: self._announcements.handle_announce,
            AnnounceReply: self._announcements.handle_reply,
            Withdraw: self._announcements.handle_withdraw,
            Credit: self._handle_credit,
        }
        self._question_handlers: dict[type, Callable[[Link, Any, float], None]] = {
            Query: self._queries.handle_query,
            QueryReply: self._handle_query_reply,
            Handshake: self._sealing.handle_frame,
        }
        self._target_handlers: dict[type, Callable[[Link, Any, float], None]] = {
            Chunk: self._receives.on_chunk,
            ResumeQuery: self._receives.on_resume_query,
            Reset: self._receives.on_reset,
        }
        self._origin_handlers: dict[type, Callable[[Link, Any, float], None]] = {
            Ack: self._sends.handle_ack,
            Lost: self._sends.handle_lost,
            Reset: self._sends.handle_reset,
            ResumeReply: self._sends.handle_resume_reply,
        }

    # Links and lanes.

    def add_uplink(self, now: float, places: int = 1) -> int:
        """Begin to dial another cell, which may be reached at so many addresses; return the uplink's number."""
        return self._links.dialler.add_uplink(now, places).number

    def add_shortcut(self, now: float, places: int = 1) -> int:
        """Begin to dial a cell to which there shall be a shortcut; return the number of that uplink."""
        return self._links.dialler.add_uplink(now, places, LinkKind.SHORTCUT).number

    def add_place(self, uplink: int, beside: int, now: float) -> int:
        """Take note that the address ``beside`` of an uplink stands for one more; return what it is called."""
        return self._links.dialler.add_place(uplink, beside, now)

    def remove_place(self, uplink: int, place: int, _now: float) -> None:
        """Take note that an address of an uplink is no more, of which others are left. Lanes that lead there go on."""
        self._links.dialler.remove_place(uplink, place)

    def remove_shortcut(self, number: int, now: float) -> None:
        """End a shortcut that this cell has dialled."""
        self._links.dialler.remove_shortcut(number, now)

    def hurry_uplink(self, number: int, now: float) -> None:
        """Somebody waits for an uplink: dial soon where it was refused."""
        self._links.dialler.hurry(number, now)

    def lane_connected(self, lane_id: int, carrier: CarrierInfo, now: float) -> None:
        """A lane that was dialled is up."""
        self._links.lane_connected(lane_id, carrier, now)

    def lane_accepted(self, carrier: CarrierInfo, now: float) -> int:
        """A lane arrived; returns its id."""
        return self._links.lane_accepted(carrier, now)

    def note_shortage(self, sentence: str) -> None:
        """Refuse cells that have no link yet with this sentence, or take them again if it is empty."""
        self._links.reception.note_shortage(sentence)

    def lane_leaving(self, lane_id: int, now: float) -> None:
        """A lane that was dialled is about to end, its carrier says."""
        self._links.lane_leaving(lane_id, now)

    def dial_awaited(self, lane_id: int, limit_s: float, now: float) -> None:
        """A dial that the shell holds back, or begins only now, is to be awaited for so long from now."""
        self._links.dial_awaited(lane_id, limit_s, now)

    def dial_deferred(self, lane_id: int, wait_s: float, now: float) -> None:
        """Whoever answers where a lane was dialled asks to stay away for so long. ``lane_closed`` follows."""
        self._links.dial_deferred(lane_id, wait_s, now)

    def lane_denied(self, lane_id: int, sentence: str, now: float) -> None:
        """Who is at the other side of a lane has not the right to it any more: end it with a word that says why."""
        lane = self._links.lanes.by_id.get(lane_id)
        if lane is not None:
            self._links.cut_off(lane, ErrorCode.AUTHENTICATION, sentence, now)

    def lane_closed(self, lane_id: int, reason: str, refusal: CellError | None, now: float) -> None:
        """A lane has ended, or could not be dialled. ``refusal``: what answers there would end it again."""
        self._links.lane_closed(lane_id, reason, refusal, now)

    def receive(self, lane_id: int, frames: Sequence[Frame], now: float) -> None:
        """Take in the frames of a batch: what is about the lane, about the link, or of a stream or a question.

        What is behind a Goodbye, or behind what ends the lane, is dropped.

        A handler cuts the neighbour off by raising a :class:`ProtocolError` as its last act: with the code PROTOCOL for
        a broken rule, with LIMIT for a neighbour that is itself beyond a limit (never for one that passes on what comes
        of others). The sentence says which limit, and what to do. The lane ends with a Goodbye that says both, and the
        log has it once (:meth:`LinkTable.cut_off`: what becomes of the link). Neither is final.
        """
        lane = self._lanes.get(lane_id)
        if lane is None:
            return
        try:
            for frame in frames:
                if lane.goodbye is not None or lane.state is _CLOSED:
                    return
                kind = type(frame)
                if lane.state is _GREETING and kind not in _FIRST_FRAMES:
                    raise ProtocolError("the first frame on a lane must be a Hello")
                lane.on_heard(now, bulk=kind is Chunk)
                if kind in self._lane_handlers:
                    self._lane_handlers[kind](lane, frame, now)
                elif lane.link is not None:
                    if kind in ROUTED:
                        self._receive_routed(lane.link, frame, now)
                    else:
                        self._link_handlers[kind](lane.link, frame, now)
        except ProtocolError as error:
            link = lane.link
            self._links.cut_off(lane, error.code, error.sentence, now)
            if link is not None:
                self._receives.on_cut_off(link, error, now)

    def reject_batch(self, lane_id: int, sentence: str, now: float) -> None:
        """Say that a batch breaks the rules of the wire, so that it has no frames: whoever sent it is cut off."""
        lane = self._lanes.get(lane_id)
        if lane is not None and lane.listens:
            self._links.reject_batch(lane, sentence, now)

    def frames_to_send(self, lane_id: int, now: float) -> list[Frame]:
        """Return the next batch for a lane; empty: nothing now."""
        lane = self._lanes.get(lane_id)
        return [] if lane is None else self._border.seal(self._batches.take(lane, now))

    def take_ready_lanes(self) -> list[int]:
        """Return the lanes that may have got something to send since this was last asked."""
        ready = list(self._context.ready_lanes)
        self._context.ready_lanes.clear()
        return ready

    @property
    def sealing(self) -> SealingTable:
        """The sessions with other cells."""
        return self._sealing

    # Events and time.

    def next_event(self) -> Event | None:
        """Return the oldest event that was not yet taken, or None."""
        events = self._context.events
        return events.popleft() if events else None

    def next_deadline(self) -> float | None:
        """Return when ``handle_timeout`` is to be called, or None."""
        return self._context.deadlines.next_deadline()

    def handle_timeout(self, now: float) -> None:
        """Do what is due at ``now``."""
        self._context.deadlines.expire(now)

    # Sending.

    def open_stream(self, spec: SendSpec, now: float) -> int:
        """Begin to send a stream, and return its id."""
        return self._sends.open(spec, now).key.stream_id

    def open_request(self, spec: SendSpec, timeout_s: float, now: float) -> int:
        """Begin to send a request and to wait for its reply, for ``timeout_s`` in all (0: without end)."""
        stream_id = self._sends.next_id
        deadline = now + timeout_s if timeout_s > 0 else None
        sealed = spec.description.sealed and spec.target != self._context.fqcn
        self._requests.add(stream_id, spec.target, f"{spec.channel}/{spec.topic}", deadline, sealed=sealed)
        return self._sends.open(spec, now).key.stream_id

    def supply(self, stream_id: int, pieces: Sequence[Payload], now: float) -> None:
        """Give the next bytes of a stream. They must not change until it is settled."""
        self._sends.supply(stream_id, pieces, now)

    def end_source(self, stream_id: int, digest: Digest | None, now: float) -> None:
        """Say that the stream has no more bytes."""
        self._sends.end_source(stream_id, digest, now)

    def move_source(self, stream_id: int, offset: int, now: float) -> None:
        """Answer SourceSeekWanted: the source gives the bytes from ``offset`` on next."""
        self._sends.move_source(stream_id, offset, now)

    def abandon_source(self, stream_id: int, error: CellError, now: float) -> None:
        """Answer SourceSeekWanted: the source cannot go there."""
        self._sends.abandon_source(stream_id, error, now)

    def fail_source(self, stream_id: int, error: CellError, now: float) -> None:
        """Say that the stream's source failed. What was supplied before is delivered first."""
        self._sends.fail_source(stream_id, error, now)

    def cancel_send(self, stream_id: int, sentence: str, now: float) -> None:
        """Give up a stream, or a request and its reply."""
        self._sends.cancel(stream_id, sentence, now)
        self._requests.end(stream_id, StreamCancelled(sentence, fault=Fault.ORIGIN))

    def open_sends(self) -> int:
        """Return how many streams and requests of this cell are not settled."""
        return len(self._sends) + len(self._requests)

    def unreleased_receives(self) -> int:
        """Return how many streams the application has read to their ends and not released, so that nobody was told."""
        return self._receives.unreleased()

    # Receiving.

    def accept(self, key: StreamKey, *, assemble: bool, reserve: bool, now: float) -> None:
        """Take a stream that was offered: piece by piece, or assembled, with memory reserved for it or not."""
        self._receives.accept(key, now, assemble=assemble, reserve=reserve)

    def reject(self, key: StreamKey, code: ErrorCode, sentence: str, now: float) -> None:
        """Refuse a stream that was offered."""
        self._receives.reject(key, code, sentence, now)

    def await_callback(self, key: StreamKey, now: float) -> None:
        """Nobody takes the stream that was offered, but a callback may be registered for it yet."""
        self._receives.await_callback(key, now)

    def weigh_offset(self, key: StreamKey, now: float) -> None:
        """The application has begun to find out where a stream that awaits an offset is to go on."""
        self._receives.weigh_offset(key)

    def choose_offset(self, key: StreamKey, offset: int, prefix_digest: Digest | None, now: float) -> None:
        """Say where a stream that awaits an offset is to go on: once, and not for any other.

        ``prefix_digest``: digest of the bytes below, if they are to be compared.
        """
        self._receives.choose_offset(key, offset, prefix_digest)

    def callback_started(self, key: StreamKey, now: float) -> None:
        """The stream's callback runs: from now on the core speaks for it only while it has nothing to read."""
        self._receives.callback_started(key)

    def consume(self, key: StreamKey, offset: int, now: float) -> None:
        """The application has taken every byte below ``offset``."""
        self._receives.consume(key, offset, now)

    def approve(self, key: StreamKey, now: float) -> None:
        """Say of a stream that is read as it arrives: all was taken, the end is known, the digest is right.

        Of what is assembled, :meth:`release` says that as well.
        """
        self._receives.approve(key, now)

    def release(self, key: StreamKey, now: float) -> None:
        """The callback has returned, or the blob's callback has been started."""
        self._receives.release(key, now)

    def close_receive(self, key: StreamKey, offset: int, now: float) -> None:
        """The reader was closed behind ``offset``: at the size, as far as that is known, a release; else too early."""
        self._receives.close(key, offset, now)

    def fail_receive(self, key: StreamKey, error: CellError, now: float) -> None:
        """Give up a stream that is being received."""
        self._receives.fail(key, error, now)

    def cancel_receive(self, key: StreamKey, sentence: str, now: float) -> None:
        """Give up a stream that is being received because the application does not want it any more."""
        self._receives.fail(key, StreamCancelled(sentence, fault=Fault.TARGET), now)

    def judge_passage(self, key: StreamKey, attempt: int, refusal: str, now: float) -> None:
        """Answer PassageAsked: with why the attempt may not pass, or with nothing if it may."""
        self._relays.judge_passage(key, attempt, refusal, now)

    # The network.

    def ask_cells(self, selection: CellSelection, timeout_s: float, now: float) -> int:
        """Ask which cells there are. The answer is CellsListed or QueryFailed with the number that is returned."""
        return self._queries.ask_cells(selection, timeout_s, now)

    def ask_trace(self, target: str, timeout_s: float, now: float) -> int:
        """Ask by which hops a cell is reached. The answer is RouteTraced or QueryFailed with that number."""
        return self._queries.ask_trace(target, timeout_s, now)

    def is_cell_connected(self, fqcn: str) -> bool:
        """Return whether there is a link to that cell, with a lane that works, and both may use their names."""
        link = self._links.links.get(fqcn)
        return link is not None and link.announced and link.control_lane() is not None

    def is_cell_reachable(self, fqcn: str) -> bool:
        """Return whether there is a way to that cell, as far as is known here."""
        return self._routes.next_hop(fqcn) is not None

    # The whole cell.

    def stop(self, now: float) -> None:
        """End every stream and say Goodbye on every lane."""
        if self._context.stopped:
            return
        self._context.stop()
        error = StreamError(f"{self._context.fqcn} is stopping", ErrorCode.STOPPING)
        for sender in self._sends.senders():
            self._requests.end(sender.key.stream_id, error)
            self._sends.give_up(sender.key.stream_id, error, now)
        self._requests.end_all(error)
        self._receives.fail_all(error, now)
        self._relays.give_up_all()
        self._queries.fail_all(error)
        self._links.stop()

    def stats(self) -> CellStats:
        """Return a snapshot."""
        streams = self._sends.senders(), self._receives.receivers(), self._relays.streams()
        return cell_stats(self._context, self._links.links, *streams, self._routes.all(), self.sealing)

    # What the links report. There is one order in which the wings hear of it: what is received, what is sent, what
    # passes through, the tree, and last what follows from ways that are others now. The streams take back what the link
    # carried, and say so by the ways that there are, before the tree changes these; and no stream that goes another way
    # meets one that has yet to hear that its own is lost.

    def on_link_begun(self, link: Link, now: float) -> None:
        """The neighbour is to be told who is here, and tells who is there; of earlier streams it knows nothing."""
        self._sends.on_link_begun(link, now)
        self._relays.on_link_down(link)
        self._announcements.on_link_begun(link, now)

    def on_lane_up(self, link: Link, now: float) -> None:
        """Streams over this link can go, or go on."""
        self._receives.on_lane_up(link)
        self._sends.on_lane_up(link, now)
        self._relays.on_lane_up(link, now)
        self._sealing.on_ways_changed(None, now)
        if link.kind is LinkKind.SHORTCUT:
            self.on_ways_changed((link.fqcn,), now)

    def is_outdated(self, frame: Frame) -> bool:
        """Return whether a frame that a lane may have carried in vain need not be said again."""
        return (
            isinstance(frame, ResumeReply) and frame.target == self._context.fqcn and self._receives.is_outdated(frame)
        )

    def on_lane_lost(self, link: Link, lane_id: int, now: float) -> None:
        """Whatever was on the lane may be lost."""
        self._receives.on_lane_lost(link)
        self._sends.on_lane_lost(link, lane_id, now)
        self._relays.on_lane_lost(link, lane_id)
        self._announcements.on_lane_lost(link, now)
        self._queries.on_lane_lost(link)
        if link.kind is LinkKind.SHORTCUT:
            # Without a lane the way leads over the tree.
            self.on_ways_changed((link.fqcn,), now)

    def on_lane_emptied(self, link: Link, lane_id: int, now: float) -> None:
        """What was on the lane has arrived; streams that were bound to it go on by another."""
        self._sends.on_lane_emptied(link, lane_id, now)
        self._relays.on_lane_emptied(link, lane_id, now)

    def on_link_down(self, link: Link, now: float) -> None:
        """The way by this link is gone."""
        self._receives.on_link_down(link)
        self._relays.on_link_down(link)
        self._announcements.on_link_down(link, now)
        self._queries.on_link_down(link)
        self._sealing.on_link_down(link)
        self.on_ways_changed(None, now)

    def way_in_tree(self, fqcn: str) -> Link | None:
        """Return the link by which the tree leads to a cell, or None while there is no way."""
        return self._routes.way_to_holder(fqcn)

    # What the announcements report.

    def on_ways_changed(self, fqcns: Iterable[str] | None, now: float) -> None:
        """Frames for these cells, or for any, may go another way from now on."""
        self._receives.on_ways_changed(fqcns)
        self._sends.on_ways_changed(fqcns, now)
        self._relays.on_ways_changed(fqcns)
        self._sealing.on_ways_changed(fqcns, now)

    def on_life_confirmed(self, link: Link, fqcn: str, incarnation: int, now: float) -> None:
        """A cell has the name in this life. A neighbour has shown it; who dialled a shortcut may have done so late."""
        if link.fqcn == fqcn and (link.uplink is not None or link.kind is not LinkKind.SHORTCUT):
            self._presence.confirm(fqcn, incarnation, now)
        else:
            self._presence.hears(link, fqcn, incarnation, now)

    # What the lives of others report.

    def on_life_ended(self, fqcn: str, incarnation: int, now: float) -> None:
        """A life of a cell is over, and another one is there."""
        self._requests.note_life_ended(fqcn, incarnation, proved=True)
        self._receives.on_life_ended(fqcn, incarnation, now)

    # What the shell reports of the policy.

    def on_rules_changed(self, now: float) -> None:
        """The rules answer otherwise from now on: what they do not allow of all that there is ends."""
        if not self._context.stopped:
            self._links.on_rules_changed(now)
            self._announcements.on_rules_changed(now)
            self._relays.on_rules_changed()
            self._receives.on_rules_changed(now)

    # Frames in.

    def _receive_routed(self, link: Link, frame: Any, now: float) -> None:
        """Take in a frame that names a source and a destination, if it may come over this link, or pass it on."""
        kind = type(frame)
        source, destination = ends_of(frame)
        if not (self._routes.admits(link, source, destination) or self._gate.excuses(link, frame, source)):
            self._gate.refuse(link, frame, destination)
        elif kind in self._question_handlers:
            self._question_handlers[kind](link, frame, now)
        elif destination != self._context.fqcn:
            rules = self._context.rules
            if rules is None or not self._relays.refuses(rules, link, frame):
                self._relays.forward(link, frame, destination, now)
        elif frame.seal is None or (frame := self._border.open(link, frame, now)) is not None:
            self._receive_here(link, frame, source, now)

    def _receive_here(self, link: Link, frame: Any, source: str, now: float) -> None:
        """Take in a frame of a stream of which this cell is an end."""
        if type(frame) in self._origin_handlers and (not isinstance(frame, Reset) or frame.from_target):
            self._receive_from_target(link, frame, now)
        elif self._presence.hears(link, source, frame.key.origin_incarnation, now):
            self._target_handlers[type(frame)](link, frame, now)
        else:
            self._gate.say_lost(link, frame)

    def _receive_from_target(self, link: Link, frame: Any, now: float) -> None:
        """Take in what the target of a stream says, or a hop on the way to it."""
        speaks_of_itself = isinstance(frame, (Ack, ResumeReply))
        if self._context.is_own(frame.key):
            if speaks_of_itself:
                self._presence.hears(link, frame.target, frame.target_incarnation, now)
            self._origin_handlers[type(frame)](link, frame, now)
        elif speaks_of_itself:
            self._sends.answer_late_target(frame)

    def _handle_credit(self, link: Link, frame: Credit, now: float) -> None:
        if self._context.is_own(frame.key):
            self._sends.handle_credit(link, frame, now)
        else:
            self._relays.on_credit(link, frame, now)

    def _handle_query_reply(self, link: Link, frame: QueryReply, now: float) -> None:
        if frame.asker == self._context.fqcn:
            self._links.reception.contests.on_reply(link, frame, now)
            self._announcements.on_holder_reply(link, frame, now)
            self._presence.handle_reply(link, frame, now)
        self._queries.handle_reply(link, frame, now)

    def _handle_ping(self, lane: Lane, frame: Ping, now: float) -> None:
        lane.on_ping(frame.nonce)
        link = lane.link
        if link is not None and self._gate.speaks_for_itself(link):
            self._receives.note_settled(link, frame.settled_below, frame.settled, now)

    def _handle_goodbye(self, lane: Lane, frame: Goodbye, now: float) -> None:
        link = lane.link
        ends_life = link is not None and frame.code is ErrorCode.STOPPING and self._gate.speaks_for_itself(link)
        self._links.handle_goodbye(lane, frame, now)
        if link is not None and ends_life:
            self._requests.note_life_ended(link.fqcn, link.incarnation, proved=False)

    # Between the tables.

    def _standing_of(self, stream_id: int) -> Standing:
        sender = self._sends.get(stream_id)
        if sender is None or not sender.confirmed.acknowledged:
            queued = sender is not None and self._sends.waits_for_slot(sender)
            return Standing.QUEUED if queued else Standing.UNHEARD
        return Standing.WHOLE if sender.has_arrived else Standing.UNDER_WAY

    def _on_send_settled(self, sender: StreamSender, error: CellError | None) -> None:
        request = sender.spec.description.reply_to
        if request is not None:
            self._receives.on_reply_settled(sender.spec.target, request)
        if error is None:
            self._requests.acknowledge(sender.key.stream_id, sender.target_life or 0)
        else:
            self._requests.end(sender.key.stream_id, error)
