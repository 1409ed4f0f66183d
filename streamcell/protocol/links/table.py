"""The tables of a cell's links: who makes lanes, uplinks and links, and whom a frame about them is for.

What they do is theirs (``lane.py``, ``link.py``, ``uplink.py``, and for lanes that arrive ``reception.py``). What
becomes of streams and routes when a link changes is not decided in this wing: the :class:`LinkObserver` is told.
"""

from __future__ import annotations

from streamcell.errors import CellError, ErrorCode, ProtocolError
from streamcell.protocol.base.context import Context
from streamcell.protocol.base.events import LaneDropped, ProtocolBroken
from streamcell.protocol.links.carrier import NO_CARRIER, CarrierInfo
from streamcell.protocol.links.dialling import Dialler
from streamcell.protocol.links.greeting import fault_in
from streamcell.protocol.links.kinds import LinkKind
from streamcell.protocol.links.lane import Lane
from streamcell.protocol.links.lanes import LaneTable
from streamcell.protocol.links.link import Link, LinkObserver
from streamcell.protocol.links.loop import make_loop
from streamcell.protocol.links.reception import Reception
from streamcell.protocol.links.rights import fault_in_link
from streamcell.protocol.links.states import LaneState
from streamcell.protocol.links.uplink import Uplink
from streamcell.protocol.wire.frames import Goodbye, Hello, LaneRole

# Codes by which one end says that it cannot accept what the other has sent.
_CUT_OFF = (ErrorCode.PROTOCOL, ErrorCode.LIMIT)


class LinkTable:
    """All lanes, links and uplinks of one cell.

    :ivar links: the links to other cells, by name.
    :ivar loop: the link of the cell to itself.
    """

    def __init__(self, context: Context, observer: LinkObserver) -> None:
        self.links: dict[str, Link] = {}
        self.loop, loop_lane = make_loop(context, self, observer)
        self.lanes = LaneTable(context, self, loop_lane)
        self.dialler = Dialler(context, self)
        self.reception = Reception(context, self)
        self._context = context
        self._observer = observer

    # Verbs of the shell.

    def lane_connected(self, lane_id: int, carrier: CarrierInfo, now: float) -> None:
        """Greet on a lane that was dialled."""
        lane = self.lanes.by_id.get(lane_id)
        if lane is not None and lane.uplink is not None:
            lane.on_connected(carrier, now)

    def lane_accepted(self, carrier: CarrierInfo, now: float) -> int:
        """Take in a lane that arrived, and return its id."""
        lane = self.lanes.accept(carrier, now)
        if self._context.stopped:
            lane.refuse(ErrorCode.STOPPING, f"{self._context.fqcn} is stopping", now)
        return lane.lane_id

    def lane_leaving(self, lane_id: int, now: float) -> None:
        """The carrier of a lane that was dialled says that it is about to end."""
        lane = self.lanes.by_id.get(lane_id)
        if lane is not None:
            lane.on_leaving(now)

    def dial_awaited(self, lane_id: int, limit_s: float, now: float) -> None:
        """Await a dial that does not begin at once for so long from now."""
        lane = self.lanes.by_id.get(lane_id)
        if lane is not None and lane.uplink is not None:
            lane.uplink.await_dial(lane, limit_s, now)

    def dial_deferred(self, lane_id: int, wait_s: float, now: float) -> None:
        """Take note that whoever answers where a lane was dialled asks not to be dialled again for some time."""
        lane = self.lanes.by_id.get(lane_id)
        if lane is not None and lane.uplink is not None:
            lane.uplink.on_dial_deferred(lane, wait_s, now)

    def lane_closed(self, lane_id: int, reason: str, refusal: CellError | None, now: float) -> None:
        """Take note that the carrier of a lane has ended or could not be made."""
        lane = self.lanes.by_id.get(lane_id)
        if lane is None or lane.link is self.loop:
            return
        if refusal is not None and lane.uplink is not None:
            lane.uplink.on_dial_refused(lane, refusal)
        lane.on_carrier_ended(reason, now)
        self.lanes.remove(lane)

    def on_rules_changed(self, now: float) -> None:
        """End the links of those who have dialled and may not be neighbours any more."""
        for link in list(self.links.values()):
            sentence = fault_in_link(self._context, link)
            if sentence:
                self._context.on_access_refused(link.fqcn, link.address, sentence)
                link.dismiss(ErrorCode.AUTHENTICATION, sentence, now)

    def stop(self) -> None:
        """Say Goodbye on every lane.

        Only one lane of each link says that the cell stops, after everything that is left to say: the neighbour drops
        the link when it reads that, and with it what is still on its way on other lanes.
        """
        last = {link.control_lane() for link in self.links.values()}
        for lane in self.lanes.all():
            code = ErrorCode.STOPPING if lane.link is None or lane in last else ErrorCode.UNSPECIFIED
            lane.say_goodbye(code, f"{self._context.fqcn} is stopping")
        self.dialler.stop()

    # Frames.

    def handle_hello(self, lane: Lane, hello: Hello, now: float) -> None:
        """Take in the first frame of a lane.

        :raises ProtocolError: if it is not the first.
        """
        if lane.state is not LaneState.GREETING:
            raise ProtocolError("a second Hello came on the lane")
        fault = fault_in(hello, self._context.fqcn)
        if fault is not None:
            self.cut_off(lane, *fault, now)
        elif lane.uplink is not None:
            lane.uplink.on_hello(lane, hello, now)
        else:
            self.reception.on_hello(lane, hello, now)

    def handle_goodbye(self, lane: Lane, frame: Goodbye, now: float) -> None:
        """The other side ends the lane, or the link."""
        link = lane.link
        if lane.uplink is not None:
            lane.uplink.on_goodbye(lane, frame, now)
            return
        lane.give_up(now)
        if frame.code in _CUT_OFF:
            # It comes again, and finds its names as after any break.
            self._tell_of_break(lane, frame.sentence, by_neighbour=False)
        elif link is not None and frame.code is not ErrorCode.UNSPECIFIED:
            link.retire(now, left=frame.code in (ErrorCode.STOPPING, ErrorCode.CANCELLED))

    def reject_batch(self, lane: Lane, sentence: str, now: float) -> None:
        """What came on a lane cannot be read."""
        who = lane.carrier.address if lane.link is None else lane.link.fqcn
        self.cut_off(lane, ErrorCode.PROTOCOL, f"{self._context.fqcn} cannot read what {who} sent: {sentence}", now)

    def cut_off(self, lane: Lane, code: ErrorCode, sentence: str, now: float) -> None:
        """Cut off a neighbour that broke a rule, or went beyond a limit: its lane ends with a Goodbye that says so.

        With a lane that this cell has dialled the link ends, and is dialled again. A neighbour that dialled keeps the
        link here as after any break, with its names, until it has come again or the link is down. What a cell has said
        to itself, and cannot take, is lost with the lane, and no more.
        """
        if lane.link is self.loop:
            self._tell_of_break(lane, sentence, by_neighbour=True)
            self._context.events.append(LaneDropped(lane.lane_id, False))
            return
        if lane.link is not None:
            lane.link.on_lane_broken(lane, sentence)
        if lane.uplink is not None:
            lane.uplink.on_fault(lane, code, sentence, now)
            return
        if code in _CUT_OFF:
            self._tell_of_break(lane, sentence, by_neighbour=True)
        lane.refuse(code, sentence, now)

    def _tell_of_break(self, lane: Lane, sentence: str, *, by_neighbour: bool) -> None:
        if lane.link is not None:
            lane.link.on_rules_broken(lane, sentence, by_neighbour=by_neighbour)
        else:
            self._context.events.append(ProtocolBroken("", lane.carrier.address, sentence, by_neighbour))

    # What lanes report.

    def on_lane_ended(self, lane: Lane, now: float, *, lost: bool) -> None:
        """Let everybody know who has to do with the lane. Only then is another one dialled."""
        uplink, link = lane.uplink, lane.link
        self.reception.contests.leave(lane.lane_id)
        if uplink is not None:
            uplink.on_lane_ended(lane, now)
        if link is not None:
            link.on_lane_ended(lane, now, lost=lost)
        if uplink is not None:
            uplink.tend(now)

    # What uplinks, and the reception, ask.

    def open_lane(self, uplink: Uplink, role: LaneRole, number: int, place: int, now: float) -> Lane:
        """Make a lane that is to be dialled."""
        return self.lanes.dial(uplink, role, number, place, now)

    def find_link(self, fqcn: str) -> Link | None:
        """Return the link to a neighbour, or None."""
        return self.links.get(fqcn)

    def way_in_tree(self, fqcn: str) -> Link | None:
        """Return the link by which the tree leads to a cell, or None while there is no way."""
        return self._observer.way_in_tree(fqcn)

    def make_link(
        self,
        hello: Hello,
        kind: LinkKind,
        link_id: bytes,
        now: float,
        *,
        uplink: Uplink | None = None,
        carrier: CarrierInfo = NO_CARRIER,
    ) -> Link:
        """Make the link to who says this Hello."""
        link = self.links[hello.fqcn] = Link(
            self._context,
            self,
            self._observer,
            kind,
            hello.fqcn,
            hello.incarnation,
            link_id,
            now=now,
            uplink=uplink,
            carrier=carrier,
        )
        return link

    # What links report.

    def on_last_lane_lost(self, link: Link, now: float) -> None:
        """Nobody is there to answer to a claim of its name, and a shortcut that another end has dialled is over."""
        self.reception.contests.on_way_lost(link, now)
        self.dialler.on_link_ended(link, now)

    def on_link_ended(self, link: Link, now: float) -> None:
        """Forget a link that is down."""
        del self.links[link.fqcn]
        self.reception.on_link_ended(link)
        self.dialler.on_link_ended(link, now)
