"""The links of a cell: greeting, joining, and what becomes of a link when its lanes do.

What happens to streams when a link changes is not decided here: the :class:`LinkObserver` is told.
"""

from __future__ import annotations

from typing import Protocol

from streamcell.errors import (
    CellError,
    ErrorCode,
)
from streamcell.limits import INITIAL_CREDIT_BYTES, LINKS
from streamcell.protocol.base.context import Context
from streamcell.protocol.base.events import CellConnected, CellDisconnected, LaneDropped, ProtocolBroken
from streamcell.protocol.links.dialling import Dialler
from streamcell.protocol.links.doubles import Doubles
from streamcell.protocol.links.greeting import ROUTES_CAPABILITY, fault_in, make_hello, refusal_of
from streamcell.protocol.links.handover import Handover, HandoverObserver
from streamcell.protocol.links.kinds import LinkKind
from streamcell.protocol.links.lanes import LaneTable
from streamcell.protocol.links.link import Lane, Link
from streamcell.protocol.links.states import (
    LaneAction,
    LaneInput,
    LaneState,
)
from streamcell.protocol.links.uplink import Uplink
from streamcell.protocol.wire.frames import (
    AnnounceReply,
    Frame,
    Goodbye,
    Hello,
    LaneRole,
    LanesWanted,
    Ping,
    Pong,
)

_LINK_ID_BITS = 128
# How long a link has to last before it is believed in, after a break that was no break of the network.
_PROVES_ITSELF_S = 1.0
# Refusals that the listener would say again: only another version or another proof of who this is changes them.
_FIRM = (ErrorCode.AUTHENTICATION, ErrorCode.VERSION)


class LinkObserver(HandoverObserver, Protocol):
    """Who is told what happens to links. Called in the middle of a step: must not call back into LinkTable's verbs."""

    def on_link_begun(self, link: Link, now: float) -> None:
        """A link is there, of which the other end knows nothing yet. A lane is up."""
        ...

    def on_lane_up(self, link: Link, now: float) -> None:
        """A lane of the link can be written."""
        ...

    def is_outdated(self, frame: Frame) -> bool:
        """Return whether a frame that a lane may have carried in vain need not be said again."""
        ...

    def on_lane_lost(self, link: Link, lane_id: int, now: float) -> None:
        """A lane broke; whatever was on it may be lost."""
        ...

    def on_link_down(self, link: Link, now: float) -> None:
        """The link is given up."""
        ...


class LinkTable:
    """All lanes, links and uplinks of one cell."""

    def __init__(self, context: Context, observer: LinkObserver) -> None:
        self.links: dict[str, Link] = {}
        self.lanes = LaneTable(context, self)
        self.dialler = Dialler(context, self.lanes)
        self.handover = Handover(context, self.lanes, self.dialler, observer)
        self.doubles = Doubles(context, self.lanes, self.links, self)
        #: Why no further cell is taken, though there is room for its link; empty: it is.
        self.shortage = ""
        self._context = context
        self._observer = observer

    # Verbs of the shell.

    def lane_connected(self, lane_id: int, address: str, identity: str, now: float) -> None:
        """Greet on a lane that was dialled."""
        lane = self.lanes.get(lane_id)
        if lane is None or lane.uplink is None or lane.step(LaneInput.CONNECTED) is not LaneAction.GREET:
            return
        lane.address, lane.identity, lane.opened_at = address, identity, now
        link = lane.uplink.link
        link_id = link.link_id if link is not None else b""
        lane.replaces = lane.uplink.lanes_leaving(lane.role)
        lane.own_frames.append(make_hello(self._context, lane, link_id, lane.uplink.lanes_held()))
        lane.greeted_by = self.dialler.greeted_by(lane.uplink, lane, now)
        self._context.deadlines.schedule(lane, lane.greeted_by)
        self.lanes.wake(lane)

    def lane_accepted(self, address: str, identity: str, now: float) -> int:
        """Take in a lane that arrived, and return its id. Its Hello is awaited for the dial timeout."""
        lane = self.lanes.open(LaneState.GREETING, LaneRole.UNSPECIFIED, 0, now)
        lane.address, lane.identity = address, identity
        if self._context.stopped:
            self.lanes.refuse(lane, ErrorCode.STOPPING, f"{self._context.fqcn} is stopping", now)
        return lane.lane_id

    def lane_closed(self, lane_id: int, reason: str, refusal: CellError | None, now: float) -> None:
        """Take note that the carrier of a lane has ended or could not be made."""
        lane = self.lanes.get(lane_id)
        if lane is None:
            return
        if lane.link is not None and lane.goodbye is None:
            lane.link.last_break = reason
        if refusal is not None and lane.uplink is not None and lane.role is LaneRole.CONTROL:
            self.dialler.refuse(lane.uplink, lane.place, refusal, firm=True)
        self.lanes.forget(lane, now)

    def stop(self) -> None:
        """Say Goodbye on every lane.

        Only one lane of each link says that the cell stops, after everything that is left to say: the neighbour drops
        the link when it reads that, and with it what is still on its way on other lanes.
        """
        last = {link.control_lane() for link in self.links.values()}
        for lane in self.lanes.all():
            code = ErrorCode.STOPPING if lane.link is None or lane in last else ErrorCode.UNSPECIFIED
            self.lanes.say_goodbye(lane, code, f"{self._context.fqcn} is stopping")
        self.dialler.stop()

    def hurry_uplink(self, number: int, now: float) -> None:
        """Somebody waits for this uplink to come up, or to be refused again."""
        self.dialler.hurry(self.dialler.uplinks[number], now)

    def remove_shortcut(self, number: int, now: float) -> None:
        """End a shortcut that this side has dialled, and dial it no more."""
        uplink = self.dialler.uplinks[number]
        link = uplink.link
        self.dialler.end(uplink, now)
        if link is not None:
            self.refuse_link(link, ErrorCode.CANCELLED, f"{self._context.fqcn} ends the peer link", now)

    # For the streams and the routes.

    def post(self, link: Link, frame: Frame) -> None:
        """Have a frame sent once."""
        link.outbox.post(frame)
        self.wake_control(link)

    def answer(self, link: Link, frame: Frame) -> bool:
        """Have the answer to a frame sent, or the frame of another cell, unless too many wait. Returns whether."""
        answered = link.outbox.answer(frame)
        self.wake_control(link)
        return answered

    def announce_up(self, link: Link, now: float) -> None:
        """Tell the application that a neighbour is there, if it was not told yet.

        Where one of the two could not read the other just before, the link has to last for a moment first: it may be
        up again and again, and never be of use.
        """
        uplink = link.uplink
        if link.announced or link.announce_at is not None:
            return
        if uplink is not None and uplink.places[uplink.place].is_doubtful(now):
            link.announce_at = now + _PROVES_ITSELF_S
            self._context.deadlines.schedule(link, link.announce_at)
        else:
            self._announce(link)

    def refuse_link(self, link: Link, code: ErrorCode, sentence: str, now: float) -> None:
        """End a link with a Goodbye that says why."""
        for lane in [each for each in link.lanes.values() if each.usable]:
            self.lanes.refuse(lane, code, sentence, now)
        self._retire(link, now)

    def give_up_uplink(self, link: Link, code: ErrorCode, sentence: str, now: float) -> None:
        """The parent does not take this cell's name: leave it, and try again later."""
        uplink = next(uplink for uplink in self.dialler.uplinks.values() if uplink.link is link)
        self.refuse_link(link, ErrorCode.CANCELLED, f"{self._context.fqcn} was refused: {sentence}", now)
        self.dialler.refuse_name(uplink, uplink.place, refusal_of(code, sentence))
        self.dialler.wait_after_refusal(uplink, uplink.place, now)

    def wake_control(self, link: Link) -> None:
        """Wake the writer that control frames go by."""
        lane = link.control_lane()
        if lane is not None:
            self.lanes.wake(lane)

    def wake_all(self, link: Link) -> None:
        """Wake all writers of a link."""
        for lane in link.lanes.values():
            self.lanes.wake(lane)

    def allows_bulk_lanes(self, link: Link) -> bool:
        """Return whether bulk has lanes of its own on this link, up or to come."""
        if self._most_bulk_lanes(link) == 0:
            return False
        return not link.bulk_overdue if link.uplink is None else link.uplink.bulk_failures == 0

    def want_bulk_lanes(self, link: Link, now: float) -> None:
        """See to it that the link has its bulk lanes, opened by the side that can."""
        most = self._most_bulk_lanes(link)
        if most == 0 or link.count_bulk_lanes() >= most:
            return
        if link.uplink is not None:
            self.dialler.want_bulk_lanes(link.uplink, most, now)
        elif not link.bulk_asked:
            link.bulk_asked = True
            link.bulk_due_at = now + self._context.config.dial_timeout_s
            self._context.deadlines.schedule(link, link.bulk_due_at)
            link.outbox.post(LanesWanted(most))
            self.wake_control(link)

    def _most_bulk_lanes(self, link: Link) -> int:
        return max(0, min(self._context.config.bulk_lanes, link.neighbours_lanes - 1))

    # Frames.

    def handle_hello(self, lane: Lane, hello: Hello, now: float) -> None:
        """Take in the first frame of a lane."""
        if lane.state is not LaneState.GREETING:
            self.fail_lane(lane, ErrorCode.PROTOCOL, "a second Hello came on the lane", now)
            return
        fault = fault_in(hello, self._context.fqcn)
        if fault is not None:
            self.fail_lane(lane, *fault, now)
        elif lane.uplink is not None:
            self._handle_listener_hello(lane, lane.uplink, hello, now)
        else:
            self._handle_dialler_hello(lane, hello, now)

    def handle_lanes_wanted(self, link: Link, frame: LanesWanted, now: float) -> None:
        """Open bulk lanes for the listener. If it asks for lanes that are up here, they may be so at this end only."""
        if frame.bulk_lanes > 0 and link.uplink is not None:
            self.want_bulk_lanes(link, now)
            for lane in list(link.lanes.values()):
                if lane.role is LaneRole.BULK:
                    self.lanes.ping(lane, now)

    def handle_ping(self, lane: Lane, frame: Ping) -> None:
        """Answer on the same lane."""
        lane.own_frames.append(Pong(frame.nonce))
        self.lanes.wake(lane)

    def handle_goodbye(self, lane: Lane, frame: Goodbye, now: float) -> None:
        """The other side ends the lane, or the link."""
        link, uplink = lane.link, lane.uplink
        if frame.code is ErrorCode.UNSPECIFIED:
            if uplink is not None:
                self.dialler.rest(uplink, self.links.get(frame.linked_fqcn))
            self.lanes.drop(lane, now)
            return
        if link is not None:
            link.left = frame.code in (ErrorCode.STOPPING, ErrorCode.CANCELLED)
        if uplink is not None:
            if frame.code is not ErrorCode.STOPPING:
                self._note_refusal(uplink, lane, refusal_of(frame.code, frame.sentence), now)
            self.lanes.drop(lane, now)
            self._leave(uplink, link, now)
            return
        self.lanes.drop(lane, now)
        if frame.code is ErrorCode.PROTOCOL:
            # It comes again, and finds its names as after any break.
            self._tell_of_break(lane, frame.sentence, by_neighbour=False)
        elif link is not None:
            self._retire(link, now)

    def cut_off(self, lane: Lane, sentence: str, now: float) -> None:
        """What came on a lane cannot be read. What a cell cannot read of its own is lost with the lane, and no more."""
        who = lane.address if lane.link is None else lane.link.fqcn
        sentence = f"{self._context.fqcn} cannot read what {who} sent: {sentence}"
        if lane is self.lanes.loop:
            self._tell_of_break(lane, sentence, by_neighbour=True)
            self._context.events.append(LaneDropped(lane.lane_id, False))
        else:
            self.fail_lane(lane, ErrorCode.PROTOCOL, sentence, now)

    def fail_lane(self, lane: Lane, code: ErrorCode, sentence: str, now: float) -> None:
        """Cut off a neighbour that broke the rules: its lane ends with a Goodbye that says so."""
        if lane.link is not None:
            lane.link.last_break = sentence
        if lane.uplink is not None:
            self._note_refusal(lane.uplink, lane, refusal_of(code, sentence), now)
        elif code is ErrorCode.PROTOCOL:
            self._tell_of_break(lane, sentence, by_neighbour=True)
        self.lanes.refuse(lane, code, sentence, now)
        if lane.uplink is not None:
            self._leave(lane.uplink, lane.link, now)

    def _note_refusal(self, uplink: Uplink, lane: Lane, error: CellError, now: float) -> None:
        """Take note of why a lane, and its link, is ended by one of the two ends."""
        if error.code is ErrorCode.PROTOCOL:
            self.dialler.note_break(uplink, lane.place, error, now)
        elif error.code is ErrorCode.NAME_IN_USE or lane.link is not None:
            self.dialler.refuse_name(uplink, lane.place, error)
        else:
            self.dialler.refuse(uplink, lane.place, error, firm=error.code in _FIRM)

    def _leave(self, uplink: Uplink, link: Link | None, now: float) -> None:
        """A link that was dialled is over, if there was one: the application hears of it, and what follows is new."""
        if link is not None:
            self._retire(link, now)
            self.dialler.wait_after_refusal(uplink, uplink.place, now)

    def _tell_of_break(self, lane: Lane, sentence: str, *, by_neighbour: bool) -> None:
        link = lane.link
        if link is not None:
            if link.told_of_break:
                return
            link.told_of_break = True
        fqcn = "" if link is None else link.fqcn
        self._context.events.append(ProtocolBroken(fqcn, lane.address, sentence, by_neighbour))

    # Greeting.

    def _handle_listener_hello(self, lane: Lane, uplink: Uplink, hello: Hello, now: float) -> None:
        link = uplink.link
        if lane.role is not LaneRole.CONTROL:
            if link is None or link.link_id != hello.link_id or link.incarnation != hello.incarnation:
                self.lanes.drop(lane, now)
                return
        elif link is None or link.fqcn != hello.fqcn:
            if link is not None:
                self._retire(link, now)
            stranger = self.links.get(hello.fqcn)
            if stranger is not None and uplink.kind is LinkKind.SHORTCUT and not self._gives_way(stranger):
                self.dialler.rest(uplink, stranger)
                self.lanes.drop(lane, now)
                return
            if stranger is not None:
                self._retire(stranger, now)
            link = uplink.link = self._new_link(hello, uplink.kind, uplink, now)
        else:
            self._renew(link, hello, now)
        self.dialler.succeeded(uplink, lane)
        lane.step(LaneInput.HELLO)
        self._join(link, lane, hello, now)
        if lane.role is LaneRole.CONTROL:
            self.dialler.end_others(uplink, now)
        self.dialler.tend(uplink, now)

    def _gives_way(self, link: Link) -> bool:
        """Return whether a link makes room for a shortcut to the same cell that this one has dialled.

        Of two that have dialled each other one is kept; one that has no lane has been given up by who dialled it.
        """
        if link.kind is not LinkKind.SHORTCUT or link.uplink is not None:
            return False
        return self._context.fqcn < link.fqcn or not link.lanes

    def _handle_dialler_hello(self, lane: Lane, hello: Hello, now: float) -> None:
        lane.number, lane.replaces = hello.lane_number, hello.lanes_replaced
        lane.role = LaneRole.BULK if hello.lane_role is LaneRole.BULK else LaneRole.CONTROL
        known = self.links.get(hello.fqcn)
        if known is not None and known.kind is LinkKind.SHORTCUT and not hello.peer:
            # The tree comes first.
            self._retire(known, now)
            known = None
        if (
            known is not None
            and hello.link_id == known.link_id
            and hello.incarnation == known.incarnation
            and lane.identity == known.identity
        ):
            self._join_known(lane, known, hello, now)
        elif lane.role is LaneRole.BULK:
            self.lanes.refuse(lane, ErrorCode.UNSPECIFIED, "the link is not known: open a control lane", now)
        elif known is not None and hello.peer and (known.kind is not LinkKind.SHORTCUT or known.uplink is not None):
            sentence = f"{self._context.fqcn} has a link to you already"
            self.lanes.refuse(lane, ErrorCode.UNSPECIFIED, sentence, now, linked=True)
        elif known is not None and known.kind is LinkKind.PARENT:
            sentence = (
                f"{hello.fqcn} is the uplink of {self._context.fqcn}: do not dial a cell below, or use another name"
            )
            self.lanes.refuse(lane, ErrorCode.NAME_IN_USE, sentence, now)
        elif known is not None and known.incarnation != hello.incarnation and known.control_lane() is not None:
            self.doubles.ask_holder(lane, known, hello, now)
        elif known is None and len(self.links) >= LINKS:
            self.lanes.refuse(lane, ErrorCode.LIMIT, f"{self._context.fqcn} has {LINKS} links already", now)
        elif known is None and self.shortage:
            self.lanes.refuse(lane, ErrorCode.LIMIT, self.shortage, now)
        else:
            self.grant(lane, hello, now)

    def _join_known(self, lane: Lane, link: Link, hello: Hello, now: float) -> None:
        if lane.number in link.lanes:
            self.lanes.refuse(lane, ErrorCode.PROTOCOL, f"lane number {lane.number} is in use: numbers only rise", now)
            return
        if lane.number > link.highest_number():
            for other in list(link.lanes.values()):
                if other.number not in hello.lanes_held:
                    self.lanes.drop(other, now)
        self._answer(lane, link, hello, now)

    def grant(self, lane: Lane, hello: Hello, now: float) -> None:
        """Give the name to this lane's cell, in place of whoever had it."""
        link = self.links.get(hello.fqcn)
        kind = LinkKind.SHORTCUT if hello.peer else LinkKind.CHILD
        if link is not None and (link.kind is not kind or link.uplink is not None):
            # It took the place of the one whose name was claimed, and what a link is does not change.
            self._retire(link, now)
            link = None
        if link is None:
            link = self._new_link(hello, kind, None, now)
        else:
            self._renew(link, hello, now)
        link.fresh = True
        link.told_of_break = False
        link.link_id = self._context.random_bits(_LINK_ID_BITS).to_bytes(_LINK_ID_BITS // 8, "big")
        link.identity = lane.identity
        self._answer(lane, link, hello, now)

    def _answer(self, lane: Lane, link: Link, hello: Hello, now: float) -> None:
        if lane.step(LaneInput.HELLO) is LaneAction.IGNORE:
            lane.step(LaneInput.GRANTED)
        lane.own_frames.append(make_hello(self._context, lane, link.link_id, ()))
        self._join(link, lane, hello, now)

    def _new_link(self, hello: Hello, kind: LinkKind, uplink: Uplink | None, now: float) -> Link:
        link = Link(hello.fqcn, hello.incarnation, hello.link_id, kind, uplink)
        link.on_timer = self._link_timer
        link.up_since = now
        self.links[hello.fqcn] = link
        return link

    def _renew(self, link: Link, hello: Hello, now: float) -> None:
        """Carry a link over to a new link id, or to a new life of the neighbour."""
        if link.link_id != hello.link_id or link.incarnation != hello.incarnation:
            link.fresh = True
            for other in list(link.lanes.values()):
                self.lanes.drop(other, now)
            # Announcements are made anew: an answer to earlier ones would be taken for theirs.
            link.outbox.take_back(AnnounceReply)
        if link.incarnation != hello.incarnation:
            link.incarnation = hello.incarnation
            self._announce_down(link)
        link.link_id = hello.link_id

    def _join(self, link: Link, lane: Lane, hello: Hello, now: float) -> None:
        lane.link = link
        link.lanes[lane.number] = lane
        link.address = lane.address
        link.initial_credit = min(hello.initial_credit, INITIAL_CREDIT_BYTES)
        link.message_bytes = hello.message_bytes
        link.neighbours_lanes = hello.lanes
        link.lanes_lost_at = None
        if lane.role is LaneRole.BULK:
            link.bulk_overdue = False
        self.lanes.note_heard(lane, now)
        for other in link.lanes.values():
            if other.state is not LaneState.SUSPECT:
                continue
            if other.role is lane.role:
                self.lanes.doubt(other, now)
            elif other.uplink is None:
                # What was said about it may have gone by a lane that was as bad.
                self.on_lane_silent(other, now)
        link.announces = ROUTES_CAPABILITY in hello.capabilities
        link.software = hello.software
        self._context.deadlines.cancel(lane)
        lane.used_at = now
        self.lanes.watch(lane, now)
        self.handover.joined(link, lane, now)
        self.wake_all(link)
        if link.fresh:
            link.fresh = False
            link.up_since = now
            self._observer.on_link_begun(link, now)
        if not link.down:
            self._observer.on_lane_up(link, now)

    # What becomes of lanes.

    def on_lane_silent(self, lane: Lane, now: float) -> None:
        """Dial a fresh lane beside the silent one. The listener has the dialler do it, which may not miss anything."""
        if lane.uplink is not None:
            self.dialler.dial_beside(lane.uplink, lane, now)
            if lane.link is not None and len(lane.uplink.places) > 1:
                # Whether the others are silent as well tells whether to look for the link elsewhere.
                for other in list(lane.link.lanes.values()):
                    self.lanes.ping(other, now)
        elif lane.link is not None and lane.role is LaneRole.BULK:
            lane.link.outbox.post(LanesWanted(max(1, self._most_bulk_lanes(lane.link))))
            self.wake_control(lane.link)

    def on_lane_idle(self, lane: Lane, now: float) -> None:
        """Close a bulk lane that nothing used for long; it is dialled again when bulk comes."""
        if lane.uplink is not None:
            lane.uplink.bulk_wanted = 0
            self.lanes.refuse(lane, ErrorCode.UNSPECIFIED, "the lane was idle", now)

    def on_claim_expired(self, lane: Lane, now: float) -> None:
        """A newcomer has waited long enough for the holder of its name."""
        self.doubles.expire(lane, now)

    def on_lane_ended(self, lane: Lane, now: float) -> None:
        """Do what the end of a lane means for its link and its uplink."""
        self.doubles.forget(lane)
        link, uplink = lane.link, lane.uplink
        failed = uplink is not None and self.dialler.failed(uplink, lane, now)
        if link is not None and link.lanes.get(lane.number) is lane:
            del link.lanes[lane.number]
            self._link_lost_lane(link, lane, now)
        elif failed and uplink is not None and uplink.link is not None:
            # Bulk that waited for this lane may go on the control lane meanwhile.
            self._observer.on_lane_up(uplink.link, now)
        if uplink is not None:
            self.dialler.tend(uplink, now)

    def _link_lost_lane(self, link: Link, lane: Lane, now: float) -> None:
        if self._context.stopped:
            return
        if not lane.emptied:
            for frame in lane.carried:
                if not self._observer.is_outdated(frame):
                    link.outbox.post(frame)
            if link.uplink is not None:
                self.dialler.broke(link.uplink, lane, now)
        link.bulk_asked = False
        if not link.lanes:
            # A lane that was given up for its silence took that time already.
            link.lanes_lost_at = now if lane.pinged_at is None else lane.heard_at
            self._context.deadlines.schedule(link, link.lanes_lost_at + self._context.config.link_down_s)
            self.doubles.hurry(link, now)
            self.dialler.end_rest(link, now)
        if not lane.emptied:
            self._observer.on_lane_lost(link, lane.lane_id, now)
        if link.bulk.waits():
            # Streams that have had no turn on this lane do not hear of its end, and rely on another one.
            self.want_bulk_lanes(link, now)
        self.wake_control(link)

    # Links.

    def _link_timer(self, link: Link, now: float) -> None:
        if link.bulk_due_at is not None and now >= link.bulk_due_at:
            link.bulk_due_at = None
            link.bulk_overdue = not link.has_bulk_lane()
            # Bulk that waited for a lane of its own goes on the control lane meanwhile.
            self._observer.on_lane_up(link, now)
        if link.bulk_due_at is not None:
            self._context.deadlines.schedule(link, link.bulk_due_at)
        if link.announce_at is not None and now >= link.announce_at:
            link.announce_at = None
            self._announce(link)
        if link.announce_at is not None:
            self._context.deadlines.schedule(link, link.announce_at)
        if link.lanes_lost_at is None:
            return
        down_at = link.lanes_lost_at + self._context.config.link_down_s
        if now >= down_at:
            self._take_down(link, now)
        else:
            self._context.deadlines.schedule(link, down_at)

    def _retire(self, link: Link, now: float) -> None:
        for lane in list(link.lanes.values()):
            self.lanes.drop(lane, now)
        self._take_down(link, now)

    def _take_down(self, link: Link, now: float) -> None:
        link.down = True
        self._context.deadlines.cancel(link)
        del self.links[link.fqcn]
        if link.uplink is not None:
            link.uplink.link = None
        self.dialler.end_rest(link, now)
        link.outbox.clear()
        self._announce_down(link)
        self._observer.on_link_down(link, now)
        if link.uplink is not None:
            self.dialler.tend(link.uplink, now)

    def _announce(self, link: Link) -> None:
        link.announced = True
        self._context.events.append(CellConnected(link.fqcn, _number_of_parent(link)))

    def _announce_down(self, link: Link) -> None:
        link.announce_at = None
        if not link.announced:
            return
        link.announced = False
        self._context.events.append(CellDisconnected(link.fqcn, _number_of_parent(link), link.left))


def _number_of_parent(link: Link) -> int | None:
    return link.uplink.number if link.uplink is not None and link.kind is LinkKind.PARENT else None
