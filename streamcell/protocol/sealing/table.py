"""All sessions of a cell, and the handshakes by which it comes to others.

A session is between two lives, and serves streams both ways; whoever needs one first begins the handshake. If two
handshakes cross, there are two sessions, which does no harm. One that fails is tried again under another id, for
``HANDSHAKES_S``: parts may be lost with a lane, and whoever is asked may be busy.

What others begin here is bounded, in all, over each link and of each cell. It costs the one who begins it as much.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from streamcell.errors import AuthenticationError, CellError
from streamcell.limits import (
    HANDSHAKES,
    HANDSHAKES_OF_NEIGHBOUR,
    HANDSHAKES_OF_ONE,
    HANDSHAKES_S,
    SESSION_S,
    SESSIONS,
    SESSIONS_OF_ONE,
)
from streamcell.protocol.base.context import Context, Count
from streamcell.protocol.base.events import SessionBegun, SessionFailed
from streamcell.protocol.base.keys import SessionKeys
from streamcell.protocol.base.rules import fault_in_pair
from streamcell.protocol.base.timers import Timed
from streamcell.protocol.links.kinds import LinkKind
from streamcell.protocol.links.link import Link
from streamcell.protocol.sealing.handshake import Handshake
from streamcell.protocol.tree.askers import Askers
from streamcell.protocol.tree.routes import RouteTable
from streamcell.protocol.wire.addressing import destination_of
from streamcell.protocol.wire.covered import Lives
from streamcell.protocol.wire.frames import Handshake as HandshakeFrame

_ID_BITS = 128
# A session is replaced no sooner, whatever is said of it.
_RENEW_S = 1.0


class Session:
    """Keys that this cell shares with a life of another one.

    :ivar peer: the other one's name; ``peer_life``: its incarnation.
    :ivar begun_at: when the handshake began: the other one was there then, or later.
    :ivar heard_at: when it was heard of.
    """

    __slots__ = ("begun_at", "heard_at", "keys", "lives", "peer", "peer_life")

    def __init__(self, lives: Lives, keys: SessionKeys, begun_at: float, now: float, *, begins: bool) -> None:
        self.lives = lives
        self.keys = keys
        self.begun_at = begun_at
        self.heard_at = now
        self.peer = lives.responder if begins else lives.initiator
        self.peer_life = lives.responder_incarnation if begins else lives.initiator_incarnation

    def is_fresh(self, now: float) -> bool:
        """Return whether new streams may be sealed under it."""
        return now < self.begun_at + SESSION_S


class _Wish(Timed):
    """A session that this cell wants with another, and has not yet: handshake after handshake, for so long."""

    def __init__(self, table: SealingTable, context: Context, fqcn: str) -> None:
        super().__init__()
        self._table = table
        self._context = context
        self.fqcn = fqcn
        self.handshake: Handshake | None = None
        self._tries = 0
        self._since: float | None = None

    def handle_timer(self, now: float) -> None:
        """Try again."""
        self.go_on(now)

    def wait_until(self, at: float) -> None:
        """Begin then, if nothing has begun."""
        self._context.deadlines.schedule(self, at)

    def go_on(self, now: float) -> None:
        """Begin a handshake, unless there is one, or no way."""
        if self.handshake is None and self._table.way_to(self.fqcn) is not None:
            self._context.deadlines.cancel(self)
            self._since = now if self._since is None else self._since
            self.handshake = self._table.begin_handshake(self.fqcn, now)

    def on_failed(self, now: float) -> bool:
        """A handshake came to nothing; return whether there will be another one. Time without a way does not count."""
        self.handshake = None
        if self._table.way_to(self.fqcn) is None:
            self._since = None
            return True
        self._tries += 1
        again_at = now + self._context.backoff_s(self._tries)
        if again_at >= (self._since or now) + HANDSHAKES_S:
            return False
        self._context.deadlines.schedule(self, again_at)
        return True


class SessionObserver(Protocol):
    """Who uses the sessions."""

    def on_session_begun(self, fqcn: str, now: float) -> None:
        """There is a session with a cell, or another one."""
        ...

    def on_session_failed(self, fqcn: str, error: CellError, now: float) -> None:
        """There will be none, though this cell wanted it."""
        ...

    def on_sessions_over(self, fqcn: str, now: float) -> None:
        """There is none with a cell any more."""
        ...


class SealingTable:
    """Sessions by cell and id, handshakes by who has begun them and id, and which sessions are wanted.

    :ivar seals: whether this cell has what it takes.
    """

    def __init__(self, context: Context, routes: RouteTable, *, seals: bool) -> None:
        self._context = context
        self._routes = routes
        self._observers: list[SessionObserver] = []
        self.seals = seals
        self._askers = Askers(context)
        self._sessions: dict[str, dict[bytes, Session]] = {}
        self._count = 0
        self._handshakes: dict[tuple[str, int, bytes], Handshake] = {}
        self._wishes: dict[str, _Wish] = {}
        # Those of which another life is said to be there than the one that has proved itself.
        self._doubted: set[str] = set()

    def tell(self, observer: SessionObserver) -> None:
        """From now on tell somebody else, too."""
        self._observers.append(observer)

    # Sessions.

    def newest_with(self, fqcn: str) -> Session | None:
        """Return the newest session with a cell, or None."""
        return next(reversed(self._sessions.get(fqcn, {}).values()), None)

    def session_with(self, fqcn: str, now: float) -> Session | None:
        """Return the newest session with a cell that new streams may be sealed under, or None."""
        session = self.newest_with(fqcn)
        return session if session is not None and session.is_fresh(now) else None

    def find(self, fqcn: str, session_id: bytes) -> Session | None:
        """Return the session of that id with a cell, or None."""
        return self._sessions.get(fqcn, {}).get(session_id)

    def has_session(self, fqcn: str) -> bool:
        """Return whether there is a session with a cell."""
        return fqcn in self._sessions

    def proved_life(self, fqcn: str) -> int | None:
        """Return the life of a cell that there are sessions with. Of no cell there are some with two."""
        newest = self.newest_with(fqcn)
        return None if newest is None else newest.peer_life

    def note_heard(self, session: Session, now: float) -> None:
        """Something has come that the other one has sealed."""
        session.heard_at = now

    def sessions(self) -> list[Session]:
        """Return all sessions."""
        return [session for sessions in self._sessions.values() for session in sessions.values()]

    def handshakes(self) -> int:
        """Return how many handshakes are under way."""
        return len(self._handshakes)

    def want(self, fqcn: str, now: float) -> None:
        """Have a session made with a cell: SessionBegun or SessionFailed follows. While there is no way it waits."""
        if not self.seals:
            sentence = f"{self._context.fqcn} cannot seal: give it TLSConfig(ca=..., cert=..., key=...)"
            self._fail(fqcn, AuthenticationError(sentence), now)
        elif fqcn not in self._wishes:
            self._wish(fqcn).go_on(now)

    def _wish(self, fqcn: str) -> _Wish:
        wish = self._wishes.get(fqcn)
        if wish is None:
            wish = self._wishes[fqcn] = _Wish(self, self._context, fqcn)
        return wish

    def renew(self, fqcn: str, now: float) -> None:
        """Have another one made, since the other cell says that it does not know one; unless the newest is of just now.

        What it says may be late, and of an earlier one; and nothing proves that it is the cell that says so.
        """
        newest = self.newest_with(fqcn)
        if newest is None or now >= newest.begun_at + _RENEW_S:
            self.want(fqcn, now)

    def doubt(self, fqcn: str, now: float) -> None:
        """Have another one made, since somebody says that another life of the cell is there.

        If it is, it proves that; and if no life does, nothing is believed any more to have proved its name.
        """
        self._doubted.add(fqcn)
        newest = self.newest_with(fqcn)
        if newest is not None and now < newest.begun_at + _RENEW_S:
            self._wish(fqcn).wait_until(newest.begun_at + _RENEW_S)
        else:
            self.want(fqcn, now)

    def end(self, fqcn: str, session_id: bytes, now: float) -> None:
        """Use a session no more: who has proved the name is not to be believed any more, or is gone."""
        sessions = self._sessions.get(fqcn, {})
        if sessions.pop(session_id, None) is not None:
            self._count -= 1
            if not sessions:
                del self._sessions[fqcn]
                for observer in self._observers:
                    observer.on_sessions_over(fqcn, now)

    def _add(self, session: Session, now: float) -> None:
        mine = self._sessions.setdefault(session.peer, {})
        mine[session.lives.session_id] = session
        self._count += 1
        for other in list(mine.values()):
            if other.peer_life != session.peer_life:
                self.end(session.peer, other.lives.session_id, now)
        if len(mine) > SESSIONS_OF_ONE:
            self.end(session.peer, next(iter(mine)), now)
        if self._count > SESSIONS:
            # The cell with which the oldest was made; who is missed begins anew.
            oldest = next(iter(self._sessions))
            self.end(oldest, next(iter(self._sessions[oldest])), now)

    # Handshakes that this cell begins.

    def begin_handshake(self, fqcn: str, now: float) -> Handshake:
        """Begin a handshake under a new id."""
        context = self._context
        session_id = context.random_bits(_ID_BITS).to_bytes(_ID_BITS // 8, "big")
        lives = Lives(context.fqcn, context.incarnation, fqcn, 0, session_id)
        handshake = Handshake(context, self, lives, None, now, begins=True)
        self._handshakes[_key(lives)] = handshake
        handshake.begin(b"", now)
        return handshake

    def on_ways_changed(self, fqcns: Iterable[str] | None, now: float) -> None:
        """There may be a way to these cells, or to any."""
        for fqcn in list(self._wishes) if fqcns is None else fqcns:
            wish = self._wishes.get(fqcn)
            if wish is not None:
                wish.go_on(now)

    def on_link_down(self, link: Link) -> None:
        """A link is gone, and whoever asked by it."""
        self._askers.forget(link)

    # Frames, and what the shell brings.

    def handle_frame(self, link: Link, frame: HandshakeFrame, now: float) -> None:
        """Take in a part of a handshake, or pass it on."""
        destination = destination_of(frame)
        if not frame.from_responder:
            rules, me = self._context.rules, self._context.fqcn
            is_asked = destination == me or link.kind is LinkKind.CHILD
            fault = fault_in_pair(rules, me, frame.initiator, frame.responder) if rules and is_asked else ""
            if fault:
                link.answer(frame.refused(fault))
            if fault or not self._askers.may_ask(link, frame.initiator, now):
                return
        if destination != self._context.fqcn:
            way = self._routes.relay_hop(destination)
            if way is not None and way is not link and frame.hops_left > 0:
                way.answer(frame.one_hop_on())
            return
        handshake = self._handshakes.get((frame.initiator, frame.initiator_incarnation, frame.session_id))
        if handshake is None:
            self._on_first(link, frame, now)
        elif handshake.begins == frame.from_responder and frame.responder == handshake.lives.responder:
            handshake.on_heard(frame, now)

    def on_stepped(self, lives: Lives, data: bytes, keys: SessionKeys | None, fault: str, now: float) -> None:
        """Answer HandshakeWork: with the next part, with the keys and what is still to be sent, or with what is wrong.

        :param data: what the other side is sent; empty: nothing.
        :param fault: why there will be no session, a sentence. With none, and nothing else: what came was no part of
            this handshake, and another one may do better.
        """
        handshake = self._handshakes.get(_key(lives))
        if handshake is not None:
            handshake.on_stepped(data, keys, fault, now)

    def _on_first(self, link: Link, frame: HandshakeFrame, now: float) -> None:
        """Another cell begins a handshake."""
        context = self._context
        if frame.from_responder or frame.number or frame.responder_incarnation not in (0, context.incarnation):
            return
        if not self.seals:
            link.answer(frame.refused(f"{context.fqcn} cannot seal: it has no certificates"))
        elif self._has_room(link, frame.initiator):
            lives = Lives(
                frame.initiator, frame.initiator_incarnation, context.fqcn, context.incarnation, frame.session_id
            )
            handshake = self._handshakes[_key(lives)] = Handshake(context, self, lives, link, now, begins=False)
            handshake.begin(frame.data, now)

    def _has_room(self, link: Link, initiator: str) -> bool:
        """Return whether a cell may begin one more here. If not, it begins again when it has heard nothing."""
        begun = [handshake for handshake in self._handshakes.values() if not handshake.begins]
        return (
            len(begun) < HANDSHAKES
            and sum(handshake.link is link for handshake in begun) < HANDSHAKES_OF_NEIGHBOUR
            and sum(handshake.peer == initiator for handshake in begun) < HANDSHAKES_OF_ONE
        )

    # What handshakes ask, and report.

    def way_to(self, fqcn: str) -> Link | None:
        """Return the link that leads to a cell, if it has a lane."""
        link = self._routes.next_hop(fqcn)
        return link if link is not None and link.control_lane() is not None else None

    def on_agreed(self, handshake: Handshake, keys: SessionKeys, now: float) -> None:
        """There is a session, unless another life has proved since the handshake began that it is the one there."""
        session = Session(handshake.lives, keys, handshake.begun_at, now, begins=handshake.begins)
        newest = self.newest_with(session.peer)
        if newest is not None and newest.peer_life != session.peer_life and newest.begun_at > session.begun_at:
            self.on_failed(handshake, "", now)
            return
        del self._handshakes[_key(handshake.lives)]
        self._doubted.discard(session.peer)
        self._add(session, now)
        self._context.counters.add(Count.HANDSHAKES_AGREED)
        self._context.events.append(SessionBegun(handshake.lives, keys.peer_name))
        wish = self._wishes.pop(handshake.peer, None)
        if wish is not None:
            # The other one may have begun it; what this cell has begun goes on, since both are to have it or neither.
            self._context.deadlines.cancel(wish)
        for observer in self._observers:
            observer.on_session_begun(handshake.peer, now)

    def on_failed(self, handshake: Handshake, fault: str, now: float) -> None:
        """A handshake came to nothing."""
        del self._handshakes[_key(handshake.lives)]
        self._context.counters.add(Count.HANDSHAKES_FAILED)
        peer = handshake.peer
        wish = self._wishes.get(peer)
        if not handshake.begins:
            if fault:
                self._context.events.append(SessionFailed(peer, AuthenticationError(fault), False))
        elif wish is not None and (fault or not wish.on_failed(now)):
            del self._wishes[peer]
            sentence = fault or (
                f"{peer} has not come to keys with {self._context.fqcn} within {HANDSHAKES_S:.0f} s: it may be of a "
                "version that cannot seal, or be busy, or a cell on the way holds something back or changes it"
            )
            self._fail(peer, AuthenticationError(sentence), now)

    def _fail(self, fqcn: str, error: CellError, now: float) -> None:
        if fqcn in self._doubted:
            self._doubted.discard(fqcn)
            for session in list(self._sessions.get(fqcn, {}).values()):
                self.end(fqcn, session.lives.session_id, now)
        self._context.events.append(SessionFailed(fqcn, error, True))
        for observer in self._observers:
            observer.on_session_failed(fqcn, error, now)


def _key(lives: Lives) -> tuple[str, int, bytes]:
    return lives.initiator, lives.initiator_incarnation, lives.session_id
