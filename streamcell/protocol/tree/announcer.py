"""What a cell tells its parent: its own name and all below it.

One :class:`Announcement` for each name, as a state, not as a queue of events (see ``tree/states.py``); what is due is
written in the order in which it became so, parents before their children. Announcements are written before anything
else, since nothing of a cell is heard before its name; withdrawals after everything else, or the last words of a cell
that goes would not be heard.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

from streamcell.limits import BATCH_FRAMES
from streamcell.protocol.base.context import Context
from streamcell.protocol.base.machine import (
    step,
)
from streamcell.protocol.links.link import Link, Outbox
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


class Announcement:
    """One name that is announced."""

    def __init__(self, frame: Announce) -> None:
        self.frame = frame
        self.state = AnnouncementState.ANNOUNCING

    def step(self, event: AnnouncementInput) -> AnnouncementAction:
        """Advance the state and return what is to be done."""
        action, self.state = step(ANNOUNCEMENT_TABLE, self.state, event)
        return action

    @property
    def withdraws(self) -> bool:
        """Whether the cell is gone, and the parent has yet to say that it knows."""
        return self.state is AnnouncementState.WITHDRAWING

    def is_about(self, reply: AnnounceReply) -> bool:
        """Return whether ``reply`` answers what was said last."""
        return (self.frame.incarnation, self.frame.epoch) == (reply.incarnation, reply.epoch)

    def to_say(self) -> Announce | Withdraw:
        """Return the frame that says how things stand."""
        frame = self.frame
        if self.withdraws:
            return Withdraw(frame.fqcn, frame.incarnation, frame.epoch)
        return frame


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

    def take_control_frames(self) -> list[Announce | Withdraw]:
        """Return what is due, in order, and come back for the rest."""
        names = list(itertools.islice(self._names, _AT_A_TIME))
        for name in names:
            del self._names[name]
        if self._names:
            self._note_again()
        return [self._announcements[name].to_say() for name in names]


class Announcer:
    """Everything that the parent is to know. Without a parent that listens there is nothing to tell."""

    def __init__(self, context: Context) -> None:
        #: How often this life of the cell has got an uplink.
        self.epoch = 0
        self._context = context
        self._link: Link | None = None
        self._outbox = Outbox()
        self._announcements: dict[str, Announcement] = {}
        self._to_announce = _Due(self._announcements, self._note)
        self._to_withdraw = _Due(self._announcements, self._note)

    @property
    def link(self) -> Link | None:
        """The link to the parent that is told."""
        return self._link

    def begin(self, link: Link, routes: Iterable[Route]) -> None:
        """Tell a parent that knows nothing yet: this cell first, then those below."""
        self.end()
        self._link, self._outbox = link, link.outbox
        self.epoch += 1
        context = self._context
        me = Announce(context.fqcn, context.incarnation, self.epoch, (context.fqcn,), context.software)
        self._announce(me)
        for route in routes:
            self.announce(route)

    def end(self) -> None:
        """Forget the parent."""
        self._link, self._outbox = None, Outbox()
        self._announcements.clear()
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
            self._act(announcement, AnnouncementInput.GONE)

    def is_awaited(self, fqcn: str) -> bool:
        """Return whether the parent has still to say whether the name is free."""
        announcement = self._announcements.get(fqcn)
        return announcement is not None and announcement.state is AnnouncementState.ANNOUNCING

    def handle_reply(self, reply: AnnounceReply) -> AnnouncementAction:
        """Take in what the parent says; CONFIRM: the name was accepted, FORGET: it was refused, or is withdrawn."""
        announcement = self._announcements.get(reply.fqcn)
        if announcement is None or (announcement.withdraws and not announcement.is_about(reply)):
            if not reply.withdrawn and not reply.code:
                # An Announce that was overtaken by its Withdraw.
                self._outbox.post(Withdraw(reply.fqcn, reply.incarnation, reply.epoch))
            return AnnouncementAction.IGNORE
        if not announcement.is_about(reply):
            event = AnnouncementInput.OUTDATED
        elif reply.withdrawn:
            event = AnnouncementInput.WITHDRAWN
        elif reply.code:
            event = AnnouncementInput.REFUSED
        else:
            event = AnnouncementInput.ACCEPTED
        return self._act(announcement, event)

    def on_lane_lost(self) -> None:
        """Say again what the lane may have carried in vain."""
        for announcement in self._announcements.values():
            self._act(announcement, AnnouncementInput.LANE_LOST)

    def _announce(self, frame: Announce) -> None:
        if self._link is None:
            return
        announcement = self._announcements.get(frame.fqcn)
        if announcement is None:
            announcement = self._announcements[frame.fqcn] = Announcement(frame)
        announcement.frame = frame
        self._act(announcement, AnnouncementInput.ANNOUNCED)

    def _act(self, announcement: Announcement, event: AnnouncementInput) -> AnnouncementAction:
        action = announcement.step(event)
        name = announcement.frame.fqcn
        if action is not AnnouncementAction.IGNORE:
            self._to_announce.discard(name)
            self._to_withdraw.discard(name)
        if action is AnnouncementAction.FORGET:
            del self._announcements[name]
        elif action is AnnouncementAction.SAY:
            (self._to_withdraw if announcement.withdraws else self._to_announce).add(name)
            self._note()
        return action

    def _note(self) -> None:
        self._outbox.note_first(self._to_announce)
        self._outbox.note_last(self._to_withdraw)
