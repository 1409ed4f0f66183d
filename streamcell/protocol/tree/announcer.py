"""What a cell tells its parent: its own name and all below it.

One :class:`Announcement` for each name, as a state, not as a queue of events (see ``tree/states.py``); what is due is
written in the order in which it became so, parents before their children. Announcements are written before anything
else, since nothing of a cell is heard before its name; withdrawals after everything else, or the last words of a cell
that goes would not be heard.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar, Protocol

from streamcell.limits import BATCH_FRAMES, ROUTES_OF_NEIGHBOUR
from streamcell.protocol.base.context import Context
from streamcell.protocol.base.machine import (
    step,
)
from streamcell.protocol.base.timers import Timed
from streamcell.protocol.links.link import Link
from streamcell.protocol.links.outbox import Outbox
from streamcell.protocol.tree.routes import Route
from streamcell.protocol.tree.states import (
    ANNOUNCEMENT_TABLE,
    AnnouncementAction,
    AnnouncementInput,
    AnnouncementState,
)
from streamcell.protocol.wire.frames import Announce, AnnounceReply, Withdraw

# Most announcements written at a time, so that a large tree does not keep everything else waiting.
_AT_A_TIME = BATCH_FRAMES // 8
# How soon names for which the parent had no room are said again.
_ROOM_AGAIN_S = 30.0


class NameKeeper(Protocol):
    """Who has the names that are announced, and hears what the parent says of them."""

    def on_name_accepted(self, reply: AnnounceReply, now: float) -> None:
        """The parent agrees that the name is that cell's."""
        ...

    def on_name_lost(self, reply: AnnounceReply, now: float) -> None:
        """The parent has refused the name, or knows that the cell is gone."""
        ...

    def on_name_undecided(self, reply: AnnounceReply, now: float) -> None:
        """The parent has no room for the name now, and so does not say whether it is free."""
        ...


class Announcement:
    """One name that is announced.

    :ivar frame: what the parent is to know.
    """

    __slots__ = ("_announcer", "_answer", "_now", "frame", "state")

    def __init__(self, announcer: Announcer, frame: Announce) -> None:
        self.frame = frame
        self.state = AnnouncementState.ANNOUNCING
        self._announcer = announcer
        # What the next action is about: what the parent said last, and when.
        self._answer = AnnounceReply(frame.fqcn, frame.incarnation, frame.epoch)
        self._now = 0.0

    @property
    def withdraws(self) -> bool:
        """Whether the cell is gone, and the parent has yet to say that it knows."""
        return self.state is AnnouncementState.WITHDRAWING

    def to_say(self) -> Announce | Withdraw:
        """Return the frame that says how things stand."""
        frame = self.frame
        if self.withdraws:
            return Withdraw(frame.fqcn, frame.incarnation, frame.epoch)
        return frame

    def on_announced(self, frame: Announce) -> None:
        """The cell is there, or something about it has changed."""
        self.frame = frame
        self._step(AnnouncementInput.ANNOUNCED)

    def on_held_back(self) -> None:
        """There is no room for the name."""
        self._step(AnnouncementInput.HELD_BACK)

    def on_room(self) -> None:
        """There may be room for the name."""
        self._step(AnnouncementInput.ROOM)

    def on_cell_gone(self) -> None:
        """The cell is not below any more."""
        self._step(AnnouncementInput.GONE)

    def on_lane_lost(self) -> None:
        """What was said may not have arrived."""
        self._step(AnnouncementInput.LANE_LOST)

    def is_answered_by(self, reply: AnnounceReply) -> bool:
        """Return whether ``reply`` answers what was said last."""
        return (self.frame.incarnation, self.frame.epoch) == (reply.incarnation, reply.epoch)

    def on_reply(self, reply: AnnounceReply, now: float) -> None:
        """The parent says something of the name, perhaps of an earlier life or epoch of the cell."""
        self._answer, self._now = reply, now
        if not self.is_answered_by(reply):
            self._step(AnnouncementInput.OUTDATED)
        elif reply.withdrawn:
            self._step(AnnouncementInput.WITHDRAWN)
        elif reply.wait:
            self.on_held_back()
            self._announcer.on_held_back(reply, now)
        elif reply.code:
            self._step(AnnouncementInput.REFUSED)
        else:
            self._step(AnnouncementInput.ACCEPTED)

    # Actions of the table.

    def _step(self, event: AnnouncementInput) -> None:
        action, self.state = step(ANNOUNCEMENT_TABLE, self.state, event)
        self.ACTS[action](self)

    def _ignore(self) -> None:
        pass

    def _say(self) -> None:
        self._announcer.say(self)

    def _confirm(self) -> None:
        self._announcer.hush(self)
        self._announcer.keeper.on_name_accepted(self._answer, self._now)

    def _wait(self) -> None:
        self._announcer.hold_back(self)

    def _forget(self) -> None:
        self._announcer.remove(self)
        self._announcer.keeper.on_name_lost(self._answer, self._now)

    # What is done in each step.
    ACTS: ClassVar[Mapping[AnnouncementAction, Callable[[Announcement], None]]] = {
        AnnouncementAction.IGNORE: lambda self: self._ignore(),
        AnnouncementAction.SAY: lambda self: self._say(),
        AnnouncementAction.CONFIRM: lambda self: self._confirm(),
        AnnouncementAction.WAIT: lambda self: self._wait(),
        AnnouncementAction.FORGET: lambda self: self._forget(),
    }


class _Due:
    """Names of which something is to be said, in order."""

    def __init__(self, announcements: dict[str, Announcement], note_again: Callable[[], None]) -> None:
        self._announcements = announcements
        self._note_again = note_again
        self._names: dict[str, None] = {}

    def add(self, name: str) -> None:
        """Put a name at the end."""
        self.discard(name)
        self._names[name] = None

    def discard(self, name: str) -> None:
        """Take a name out."""
        self._names.pop(name, None)

    def clear(self) -> None:
        """Take all names out."""
        self._names.clear()

    def take_control_frames(self, lane_id: int, now: float) -> list[Announce | Withdraw]:
        """Return what is due, in order, and come back for the rest."""
        names = list(itertools.islice(self._names, _AT_A_TIME))
        for name in names:
            del self._names[name]
        if self._names:
            self._note_again()
        return [self._announcements[name].to_say() for name in names]


class Announcer(Timed):
    """Everything that the parent is to know. Without a parent that listens there is nothing to tell.

    The parent has room for so many names of one neighbour. Those beyond wait, and are told when others are gone.
    """

    def __init__(self, context: Context, keeper: NameKeeper) -> None:
        super().__init__()
        self.keeper = keeper
        self._context = context
        # How often this life of the cell has got an uplink.
        self._epoch = 0
        self._link: Link | None = None
        self._outbox = Outbox()
        self._announcements: dict[str, Announcement] = {}
        self._to_announce = _Due(self._announcements, self._note)
        self._to_withdraw = _Due(self._announcements, self._note)
        self._waiting: dict[str, Announcement] = {}

    @property
    def link(self) -> Link | None:
        """The link to the parent that is told."""
        return self._link

    def on_parent_begun(self, link: Link, routes: Iterable[Route]) -> None:
        """There is a parent that knows nothing yet: tell of this cell first, then of those below."""
        self.on_parent_gone()
        self._link, self._outbox = link, link.outbox
        self._epoch += 1
        context = self._context
        me = Announce(context.fqcn, context.incarnation, self._epoch, (context.fqcn,), context.software)
        self._announce(me)
        for route in routes:
            self.announce(route)

    def on_parent_gone(self) -> None:
        """Nobody is to be told anything."""
        self._link, self._outbox = None, Outbox()
        self._announcements.clear()
        self._waiting.clear()
        self._context.deadlines.cancel(self)
        self._to_announce.clear()
        self._to_withdraw.clear()

    def announce(self, route: Route) -> None:
        """Tell of a cell below, or that something about it has changed."""
        path = (*route.path, self._context.fqcn)
        self._announce(Announce(route.fqcn, route.incarnation, route.epoch, path, route.software, route.address))

    def withdraw(self, fqcn: str) -> None:
        """Tell that a cell is not below any more."""
        announcement = self._announcements.get(fqcn)
        if announcement is not None:
            announcement.on_cell_gone()

    def is_awaited(self, fqcn: str) -> bool:
        """Return whether the parent has still to say whether the name is free."""
        announcement = self._announcements.get(fqcn)
        return announcement is not None and announcement.state is AnnouncementState.ANNOUNCING

    def on_reply(self, reply: AnnounceReply, now: float) -> None:
        """Take in what the parent says of a name."""
        announcement = self._announcements.get(reply.fqcn)
        if announcement is not None and not (announcement.withdraws and not announcement.is_answered_by(reply)):
            announcement.on_reply(reply, now)
        elif not reply.withdrawn and not reply.code:
            # An Announce that was overtaken by its Withdraw.
            self._outbox.post(Withdraw(reply.fqcn, reply.incarnation, reply.epoch))

    def on_lane_lost(self) -> None:
        """Say again what the lane may have carried in vain."""
        for announcement in self._announcements.values():
            announcement.on_lane_lost()

    def _announce(self, frame: Announce) -> None:
        if self._link is None:
            return
        announcement = self._announcements.get(frame.fqcn)
        if announcement is None:
            has_room = self._has_room()
            announcement = self._announcements[frame.fqcn] = Announcement(self, frame)
            if not has_room:
                announcement.on_held_back()
        announcement.on_announced(frame)

    def _has_room(self) -> bool:
        return len(self._announcements) - len(self._waiting) < ROUTES_OF_NEIGHBOUR

    def _fill_room(self) -> None:
        """Tell of those who have waited longest, as far as there is room, but not of all at once."""
        for announcement in list(itertools.islice(self._waiting.values(), _AT_A_TIME)):
            if not self._has_room():
                return
            del self._waiting[announcement.frame.fqcn]
            announcement.on_room()

    def on_held_back(self, reply: AnnounceReply, now: float) -> None:
        """The parent has no room for a name: ask again later, and decide here meanwhile."""
        self._context.deadlines.schedule(self, now + _ROOM_AGAIN_S)
        self.keeper.on_name_undecided(reply, now)

    def handle_timer(self, now: float) -> None:
        """The parent may have room again."""
        self._fill_room()
        if self._waiting:
            self._context.deadlines.schedule(self, now + _ROOM_AGAIN_S)

    # For the announcements.

    def say(self, announcement: Announcement) -> None:
        """How things stand with a name is to be said, behind what is due already."""
        self.hush(announcement)
        (self._to_withdraw if announcement.withdraws else self._to_announce).add(announcement.frame.fqcn)
        self._note()

    def hush(self, announcement: Announcement) -> None:
        """Nothing is to be said of a name."""
        self._waiting.pop(announcement.frame.fqcn, None)
        self._to_announce.discard(announcement.frame.fqcn)
        self._to_withdraw.discard(announcement.frame.fqcn)

    def hold_back(self, announcement: Announcement) -> None:
        """There is no room for a name."""
        self.hush(announcement)
        self._waiting[announcement.frame.fqcn] = announcement

    def remove(self, announcement: Announcement) -> None:
        """The parent knows that a name is not announced any more, or will not have it."""
        self.hush(announcement)
        del self._announcements[announcement.frame.fqcn]
        self._fill_room()

    def _note(self) -> None:
        self._outbox.note_first(self._to_announce)
        self._outbox.note_last(self._to_withdraw)
