"""Whom a cell dials: the lanes on their way there, the link, and the waiting between tries.

A dial has two limits. There has to be a connection soon (``connect_timeout_s``); the Hello on it may take longer
(``hello_timeout_s``), since a listener that has lost all its cells at once comes to the last of them late.

An uplink may have several places. Whichever way a dial ends, the next place is next, at once; the one that failed has
a back-off of its own. A place that is silent for as long as a connection may take, without one or on one, is passed
over before it is given up: the next one is dialled beside it, and the first Hello wins. After a break of the whole link
the first try goes to another place than the one that broke. A link that is silent on all its lanes is dialled once more
where it is, then elsewhere.

An uplink of a shortcut rests while there is another link to the cell that it dials: of two that have dialled each
other one link is kept, and where the tree has a link between them, there is no shortcut.
"""

from __future__ import annotations

import math
from typing import Protocol

from streamcell.errors import CellError, ErrorCode
from streamcell.limits import RETRY_AFTER_S
from streamcell.protocol.base.context import Context, Count
from streamcell.protocol.base.events import LaneWanted, UplinkEnded, UplinkRefused
from streamcell.protocol.base.timers import Timed
from streamcell.protocol.links.greeting import Terms, make_hello, refusal_of
from streamcell.protocol.links.kinds import LinkKind
from streamcell.protocol.links.lane import Lane
from streamcell.protocol.links.link import Link
from streamcell.protocol.links.places import Places
from streamcell.protocol.links.states import LaneState
from streamcell.protocol.wire.frames import Goodbye, Hello, LaneRole

# The first try of a link that has ended is left to who dialled it: that one waits as after one failure.
_REST_ENDS = 2
# How many times its limit the carrier has to say that there is no connection: one, and a little.
_CARRIER_LIMITS = 1.2
# Refusals that the listener would say again: only another version or another proof of who this is changes them.
_FIRM = (ErrorCode.AUTHENTICATION, ErrorCode.VERSION)


class UplinkKeeper(Protocol):
    """What an uplink asks of the tables."""

    def open_lane(self, uplink: Uplink, role: LaneRole, number: int, place: int, now: float) -> Lane:
        """Make a lane that is to be dialled."""
        ...

    def find_link(self, fqcn: str) -> Link | None:
        """Return the link to a neighbour."""
        ...

    def make_link(self, hello: Hello, kind: LinkKind, link_id: bytes, now: float, *, uplink: Uplink) -> Link:
        """Make the link to who says this Hello."""
        ...


class _Dial:
    """A lane on its way. ``late_at``: when it is waited for no longer by those who can do without it."""

    __slots__ = ("lane", "late", "late_at")

    def __init__(self, lane: Lane, late_at: float) -> None:
        self.lane = lane
        self.late_at = late_at
        self.late = False


class Uplink(Timed):
    """What a dialler knows of whom it dials. It keeps a control lane there, and as many bulk lanes as are wanted.

    :ivar kind: what its link is to this cell: PARENT or SHORTCUT.
    :ivar link: the link that it has, if any: at ``place``, where it also was last.
    """

    __slots__ = (
        "_bulk_failures",
        "_bulk_retry_at",
        "_bulk_wanted",
        "_context",
        "_dials",
        "_ended",
        "_keeper",
        "_next_lane_number",
        "_places",
        "_rests_on",
        "_soonest",
        "_was_linked",
        "kind",
        "link",
        "number",
        "place",
    )

    def __init__(
        self,
        context: Context,
        keeper: UplinkKeeper,
        number: int,
        places: int = 1,
        kind: LinkKind = LinkKind.PARENT,
    ) -> None:
        super().__init__()
        self._context = context
        self._keeper = keeper
        self.number = number
        self.kind = kind
        self.link: Link | None = None
        self.place = 0
        self._places = Places(context, places)
        # No control lane is dialled before, wherever.
        self._soonest = -math.inf
        # Whether a cell has answered, so that what other things answer there is for a while.
        self._was_linked = False
        self._ended = False
        # Another link to the cell that was dialled, which makes this one needless while it lasts.
        self._rests_on: Link | None = None
        self._next_lane_number = 1
        self._dials: dict[int, _Dial] = {}
        self._bulk_wanted = 0
        self._bulk_failures = 0
        self._bulk_retry_at = -math.inf

    def __repr__(self) -> str:
        return f"<Uplink {self.number} link {self.link!r} dialling {sorted(self._dials)} {self._places!r}>"

    # Dialling.

    def handle_timer(self, now: float) -> None:
        """Dial what may be dialled by now."""
        self.tend(now)

    def tend(self, now: float) -> None:
        """Dial what is missing, now or when the back-off is over."""
        if self._context.stopped or self._ended or self._rests_on is not None:
            return
        self._note_late_bulk(now)
        if self._count_ready_lanes(LaneRole.CONTROL) > 0:
            self._tend_bulk(now)
        elif not self._expects_hello(now):
            self._tend_control(now)

    def want_bulk_lanes(self, count: int, now: float) -> None:
        """Keep ``count`` bulk lanes from now on."""
        self._bulk_wanted = count
        self.tend(now)

    @property
    def gets_bulk_lanes(self) -> bool:
        """Whether the last bulk lane that was dialled has come up, or may still do so soon."""
        return self._bulk_failures == 0 and not any(dial.late for dial in self._dials_of(LaneRole.BULK))

    def hurry(self, now: float) -> None:
        """Somebody waits for the answer: dial where one was refused after the usual wait, and not the long one."""
        for place in self._places:
            place.hurry()
        self.tend(now)

    def _expects_hello(self, now: float) -> bool:
        """Return whether a control lane is on its way that is not late. One that is: its place has failed for now."""
        for dial in self._dials_of(LaneRole.CONTROL):
            if not dial.late:
                if now < dial.late_at:
                    self._context.deadlines.schedule(self, dial.late_at)
                    return True
                dial.late = True
                self._postpone(dial.lane.place, now)
        return False

    def _note_late_bulk(self, now: float) -> None:
        """Let bulk go on the control lane while a lane of its own is on its way for long."""
        for dial in self._dials_of(LaneRole.BULK):
            if dial.late:
                continue
            if now < dial.late_at:
                self._context.deadlines.schedule(self, dial.late_at)
            else:
                dial.late = True
                if self.link is not None:
                    self.link.on_dial_failed(now)

    def _tend_control(self, now: float) -> None:
        place = self._next_place(now)
        if place is None:
            return
        at = max(self._soonest, self._places[place].retry_at)
        if now < at:
            self._context.deadlines.schedule(self, at)
        else:
            self._dial(LaneRole.CONTROL, place, now)

    def _tend_bulk(self, now: float) -> None:
        under_way = self._dials_of(LaneRole.BULK)
        missing = self._bulk_wanted - self._count_ready_lanes(LaneRole.BULK) - len(under_way)
        if missing > 0 and now < self._bulk_retry_at:
            self._context.deadlines.schedule(self, self._bulk_retry_at)
            return
        for _ in range(missing):
            self._dial(LaneRole.BULK, self.place, now)

    def _dial(self, role: LaneRole, place: int, now: float) -> None:
        limit_s = self._context.config.connect_timeout_s
        number = self._next_lane_number
        self._next_lane_number += 1
        lane = self._keeper.open_lane(self, role, number, place, now)
        lane.await_hello(now + _CARRIER_LIMITS * limit_s)
        self._dials[number] = _Dial(lane, now + limit_s)
        self._context.deadlines.schedule(self, now + limit_s)
        self._context.events.append(LaneWanted(lane.lane_id, self.number, role, place))

    def _dials_of(self, role: LaneRole) -> list[_Dial]:
        return [dial for dial in self._dials.values() if dial.lane.role is role]

    # Places.

    def add_place(self, beside: int, now: float) -> int:
        """There is one more place where ``beside`` was thought to be one, to be dialled after it; return its number."""
        number = self._places.add(beside)
        self.tend(now)
        return number

    def remove_place(self, number: int) -> None:
        """A place is no more; there are others. What is on its way there, or up, goes on."""
        self._places.remove(number)

    def _next_place(self, now: float) -> int | None:
        """Return where to dial next, if there is a place that is not being dialled.

        While the link has lanes that is where the link is, since elsewhere may be another cell; until all of them are
        silent, and a dial there has come to nothing.
        """
        busy = {dial.lane.place for dial in self._dials_of(LaneRole.CONTROL)}
        return self._places.next_free(busy, now, self.place if self._stays() else None)

    def _stays(self) -> bool:
        """Return whether the link may be had again where it is."""
        lanes = self._lanes_up()
        silent = all(lane.state is LaneState.SUSPECT for lane in lanes)
        return bool(lanes) and not (silent and self._places[self.place].failures)

    def _postpone(self, number: int, now: float) -> None:
        """Wait before a place is dialled again, longer each time, and go on to the next one."""
        self._places[number].on_failure(now)
        self._places.pass_by(number)
        if not self._was_linked and self._places[number].refusal is None and len(self._places) > 1:
            # What answers at another record of the same host may be all that there is.
            refusal = self._places.find_refusal()
            if refusal is not None:
                self._tell_of_refusal(refusal, firm=True)

    # What its lanes ask, and tell.

    def _lanes_up(self) -> list[Lane]:
        return list(self.link.lanes.values()) if self.link is not None else []

    def _count_ready_lanes(self, role: LaneRole) -> int:
        """Return how many lanes of a role are up and trusted."""
        return sum(lane.role is role and lane.usable and lane.state is LaneState.READY for lane in self._lanes_up())

    def lanes_held(self) -> tuple[int, ...]:
        """Return the numbers of the lanes that are up or under way."""
        return tuple(sorted({*self._dials, *(lane.number for lane in self._lanes_up())}))

    def lanes_leaving(self, role: LaneRole) -> tuple[int, ...]:
        """Return the numbers of the lanes of a role whose connections are about to end."""
        leaving = (lane for lane in self._lanes_up() if lane.role is role and lane.state is LaneState.LEAVING)
        return tuple(lane.number for lane in leaving)

    def hello_on(self, lane: int, role: LaneRole, lanes_replaced: tuple[int, ...], claim_id: int) -> Hello:
        """Return what to say first on the lane of this number."""
        link_id = self.link.link_id if self.link is not None else b""
        is_shortcut = self.kind is LinkKind.SHORTCUT
        return make_hello(
            self._context,
            lane,
            role,
            link_id,
            lanes_held=self.lanes_held(),
            lanes_replaced=lanes_replaced,
            shortcut=is_shortcut,
            claim_id=claim_id,
        )

    def has_said(self, claim_id: int, listener: str) -> bool:
        """Return whether a Hello of this uplink, not answered yet, has that number, and may well be for that cell."""
        if self.link is not None and self.link.fqcn != listener:
            return False
        return any(dial.lane.claim_id == claim_id for dial in self._dials.values())

    def on_lane_idle(self) -> None:
        """Nothing uses a bulk lane any more: none is kept."""
        self._bulk_wanted = 0

    def on_lane_silent(self, lane: Lane, now: float) -> None:
        """Dial a fresh lane beside a silent one, unless one of its role is under way."""
        if not self._dials_of(lane.role):
            self._dial(lane.role, self.place, now)
        if lane.link is not None and len(self._places) > 1:
            # Whether the others are silent as well tells whether to look for the link elsewhere.
            for other in list(lane.link.lanes.values()):
                other.ask_for_sign_of_life(now)

    def on_lane_leaving(self, lane: Lane, now: float) -> None:
        """Dial a lane in place of one that is about to end: at once, unless that one has only just come up."""
        soonest = lane.opened_at + self._context.config.backoff_min_s
        if lane.role is LaneRole.CONTROL:
            self._soonest = max(self._soonest, soonest)
        else:
            self._bulk_retry_at = max(self._bulk_retry_at, soonest)
        self.tend(now)

    def on_lane_ended(self, lane: Lane, now: float) -> None:
        """A lane has ended: one that had not got as far as the Hello has failed."""
        dial = self._dials.pop(lane.number, None)
        if dial is None:
            return
        if lane.role is LaneRole.BULK:
            self._bulk_failures += 1
            self._bulk_retry_at = max(self._bulk_retry_at, now + self._context.dial_backoff_s(self._bulk_failures))
            self._context.deadlines.schedule(self, self._bulk_retry_at)
        elif not dial.late or self._places[lane.place].refused_last:
            self._postpone(lane.place, now)
        if self.link is not None:
            self.link.on_dial_failed(now)

    # What its link asks, and tells.

    def is_doubtful(self, now: float) -> bool:
        """Return whether the link may be broken off at once, since it was so where it is."""
        return self._places[self.place].is_doubtful(now)

    def on_lane_broken(self, lane: Lane, now: float) -> None:
        """A lane of the link broke: the first try comes soon, but not at once, or lanes that break early would race.

        If it was the last one of the link, that try goes elsewhere, where there is an elsewhere.
        """
        soon = now + self._context.config.backoff_min_s * self._context.jitter()
        if lane.role is LaneRole.CONTROL:
            self._context.counters.add(Count.RECONNECTS)
            self._soonest = soon
        else:
            self._bulk_retry_at = soon
        if not self._lanes_up():
            self._places.pass_by(self.place)

    def on_link_down(self, now: float) -> None:
        """The link is given up: what follows is new."""
        self.link = None
        self.tend(now)

    def on_name_refused(self, link: Link, code: ErrorCode, sentence: str, now: float) -> None:
        """The parent does not take this cell's name: leave it, and try again later."""
        link.dismiss(ErrorCode.CANCELLED, f"{self._context.fqcn} was refused: {sentence}", now)
        self._note_name_refused(self.place, refusal_of(code, sentence))
        self._postpone(self.place, now)
        self.tend(now)

    # Frames of the listener, and what its carrier says.

    def on_hello(self, lane: Lane, hello: Hello, now: float) -> None:
        """The listener says Hello on a lane: it is one of the link, of a new one, or of none."""
        link = self.link
        proven = lane.carrier.identity
        if proven and proven != hello.fqcn:
            sentence = f"the certificate there is that of {proven}, and the cell says that it is {hello.fqcn}"
            self.on_fault(lane, ErrorCode.AUTHENTICATION, sentence, now)
            return
        if lane.role is not LaneRole.CONTROL:
            if link is None or link.link_id != hello.link_id or link.incarnation != hello.incarnation:
                lane.give_up(now)
                return
        elif link is None or link.fqcn != hello.fqcn:
            if link is not None:
                link.retire(now)
            stranger = self._keeper.find_link(hello.fqcn)
            if stranger is not None and self.kind is LinkKind.SHORTCUT and not stranger.gives_way():
                self._rest_on(stranger)
                lane.give_up(now)
                return
            if stranger is not None:
                stranger.retire(now)
            link = self.link = self._keeper.make_link(hello, self.kind, hello.link_id, now, uplink=self)
        else:
            link.renew(hello, now)
        self._on_welcome(lane)
        lane.on_greeted(link, now)
        link.on_lane_joined(lane, Terms.of(hello), now)
        if lane.role is LaneRole.CONTROL:
            self._end_other_dials(now)
        self.tend(now)

    def on_goodbye(self, lane: Lane, frame: Goodbye, now: float) -> None:
        """The listener ends the lane, or the link."""
        link = lane.link
        if frame.code is ErrorCode.UNSPECIFIED:
            self._rest_on(self._keeper.find_link(frame.linked_fqcn))
            lane.give_up(now)
            return
        if frame.code is not ErrorCode.STOPPING:
            self._note_refusal(lane, refusal_of(frame.code, frame.sentence), now)
        lane.give_up(now)
        if link is not None:
            self._leave(link, now, left=frame.code in (ErrorCode.STOPPING, ErrorCode.CANCELLED))

    def on_fault(self, lane: Lane, code: ErrorCode, sentence: str, now: float) -> None:
        """What the listener has said cannot be accepted: the lane, and its link, end with a Goodbye that says why."""
        self._note_refusal(lane, refusal_of(code, sentence), now)
        lane.refuse(code, sentence, now)
        if lane.link is not None:
            self._leave(lane.link, now, left=False)

    def await_dial(self, lane: Lane, limit_s: float, now: float) -> None:
        """A lane is to be connected within so long from now; before that its place has not failed."""
        dial = self._dials.get(lane.number)
        if dial is not None and lane.state is LaneState.DIALLING:
            lane.await_hello(now + _CARRIER_LIMITS * limit_s)
            dial.late_at = now + limit_s
            self._context.deadlines.schedule(self, dial.late_at)

    def on_dial_refused(self, lane: Lane, error: CellError) -> None:
        """What answers where a lane was dialled would end it again, the carrier says."""
        if lane.role is LaneRole.CONTROL:
            self._refuse(lane.place, error, firm=error.code is not ErrorCode.LIMIT)

    def on_dial_deferred(self, lane: Lane, wait_s: float, now: float) -> None:
        """Whoever answers where a lane was dialled has too much to do now, and says how long to stay away."""
        if lane.role is LaneRole.CONTROL:
            self._places[lane.place].on_deferral(wait_s)
        else:
            self._bulk_retry_at = max(self._bulk_retry_at, now + min(wait_s, RETRY_AFTER_S))

    def _on_welcome(self, lane: Lane) -> None:
        self._dials.pop(lane.number, None)
        if lane.role is not LaneRole.CONTROL:
            self._bulk_failures = 0
            return
        self._was_linked = True
        self.place = lane.place
        for index, place in enumerate(self._places):
            place.on_welcome(here=index == lane.place)

    def _end_other_dials(self, now: float) -> None:
        """A control lane is up: those that are on their way to other places are not wanted any more."""
        for dial in self._dials_of(LaneRole.CONTROL):
            del self._dials[dial.lane.number]
            dial.lane.refuse(ErrorCode.CANCELLED, f"{self._context.fqcn} has got a link elsewhere", now)

    def _leave(self, link: Link, now: float, *, left: bool) -> None:
        """One of the two ends has ended a link that was up: wait before that place is dialled again."""
        link.retire(now, left=left)
        self._postpone(self.place, now)
        self.tend(now)

    # Refusals.

    def _note_refusal(self, lane: Lane, error: CellError, now: float) -> None:
        """Take note of why a lane, and its link, is ended by one of the two ends.

        What two ends cannot read of each other is a refusal when it has come so often that it is no chance any more.
        """
        if error.code is ErrorCode.PROTOCOL:
            self._note_answer(lane.place, error, firm=self._places[lane.place].on_break(now))
        elif error.code is ErrorCode.LIMIT:
            self._refuse(lane.place, error, firm=False)
        elif error.code is ErrorCode.NAME_IN_USE or lane.link is not None:
            self._note_name_refused(lane.place, error)
        else:
            self._refuse(lane.place, error, firm=error.code in _FIRM)

    def _refuse(self, place: int, error: CellError, *, firm: bool) -> None:
        """Whoever is at that place refuses; ``firm``: it would do so again, so those who wait need not any longer.

        Nobody is given up for that: what answers may be something in the way, and a cell may be mended. But it is
        dialled slowly, unless a cell has answered before. Where there is no room it is dialled slowly in any case.
        """
        self._note_answer(place, error, firm=firm and not self._was_linked)

    def _note_name_refused(self, place: int, error: CellError) -> None:
        """A cell there has said Hello, or would, but this one may not have its name: wait as long as after failures."""
        self._places[place].on_refusal(error, self._context.config.backoff_max_s, firm=False)
        self._tell_of_refusal(error, firm=False)

    def _note_answer(self, place: int, error: CellError, *, firm: bool) -> None:
        least_s = None
        if firm:
            least_s = self._context.config.backoff_refused_s * 2 * self._context.jitter()
        elif error.code is ErrorCode.LIMIT and not self._places[place].refused_last:
            least_s = self._context.longest_dial_backoff_s()
        self._places[place].on_refusal(error, least_s, firm=firm)
        self._tell_of_refusal(error, firm=firm)

    def _tell_of_refusal(self, error: CellError, *, firm: bool) -> None:
        """Tell whoever waits; nobody need wait any longer when whoever answers has refused, wherever it is dialled."""
        everywhere = firm and self._places.find_refusal() is not None
        is_shortcut = self.kind is LinkKind.SHORTCUT
        self._context.events.append(UplinkRefused(self.number, error, everywhere, is_shortcut))

    # Resting, and the end.

    def _rest_on(self, link: Link | None) -> None:
        """There is another link to the cell that was dialled for a shortcut: dial no more while that one lasts."""
        if self.kind is LinkKind.SHORTCUT and self.link is None and link is not None and link.lasts:
            self._rests_on = link

    def on_other_link_ended(self, link: Link, now: float) -> None:
        """Dial again what rests on a link that does not last, but leave the first try to who has dialled that one."""
        if self._rests_on is link and not link.lasts:
            self._rests_on = None
            self._soonest = now + self._context.backoff_s(_REST_ENDS)
            self.tend(now)

    def close(self, now: float) -> None:
        """Dial no more, and end the link."""
        self._ended = True
        link = self.link
        self.stop()
        for dial in list(self._dials.values()):
            dial.lane.give_up(now)
        self._context.events.append(UplinkEnded(self.number))
        if link is not None:
            link.dismiss(ErrorCode.CANCELLED, f"{self._context.fqcn} ends the peer link", now)

    def stop(self) -> None:
        """The cell stops: nothing is due any more."""
        self._context.deadlines.cancel(self)
