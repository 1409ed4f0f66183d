"""One handshake, as either of its two sides sees it.

It counts whose turn it is, and for how long. What the parts mean is for the shell to know, which makes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Protocol

from streamcell.limits import HANDSHAKE_S, HOPS
from streamcell.protocol.base.context import Context
from streamcell.protocol.base.events import HandshakeOver, HandshakeWork
from streamcell.protocol.base.keys import SessionKeys
from streamcell.protocol.base.machine import step
from streamcell.protocol.base.timers import Timed
from streamcell.protocol.links.link import Link
from streamcell.protocol.sealing.states import HANDSHAKE_TABLE, HandshakeAction, HandshakeInput, HandshakeState
from streamcell.protocol.wire.covered import Lives
from streamcell.protocol.wire.frames import Handshake as HandshakeFrame


class Keeper(Protocol):
    """Who has the handshake."""

    def way_to(self, fqcn: str) -> Link | None:
        """Return the link that leads to a cell, if it has a lane."""
        ...

    def on_agreed(self, handshake: Handshake, keys: SessionKeys, now: float) -> None:
        """It is done."""
        ...

    def on_failed(self, handshake: Handshake, fault: str, now: float) -> None:
        """It is over. ``fault``: why there will be none, a sentence; empty: another one may do better."""
        ...


class Handshake(Timed):
    """A handshake that is not over.

    :param lives: between whom; the responder's life is 0 until the initiator has heard of it.
    :param begins: whether this cell is the initiator.
    :ivar link: what it came over, if it was begun by another cell.
    :ivar begun_at: when.
    """

    # Set right before the step that shares them.
    _keys: SessionKeys

    def __init__(
        self, context: Context, keeper: Keeper, lives: Lives, link: Link | None, now: float, *, begins: bool
    ) -> None:
        super().__init__()
        self._context = context
        self._keeper = keeper
        self.lives = lives
        self.link = link
        self.begun_at = now
        self.begins = begins
        self.state = HandshakeState.WORKING
        # The number of the part that this cell makes next.
        self._number = 0 if begins else 1
        # What the next step of the state needs: the part that came, or is to be sent; what was wrong.
        self._data = b""
        self._fault = ""
        context.deadlines.schedule(self, now + HANDSHAKE_S)

    @property
    def peer(self) -> str:
        """The other side."""
        return self.lives.responder if self.begins else self.lives.initiator

    def begin(self, data: bytes, now: float) -> None:
        """Have the first part of this side made, in answer to what came, if anything did."""
        self._data = data
        self._work(now)

    def on_heard(self, frame: HandshakeFrame, now: float) -> None:
        """The other side has sent something."""
        life = self.lives.responder_incarnation
        if frame.refusal:
            self._fail(frame.refusal, now)
        elif frame.number == self._number - 1 and life in (0, frame.responder_incarnation):
            self.lives = self.lives._replace(responder_incarnation=frame.responder_incarnation)
            self._data = frame.data
            self._step(HandshakeInput.HEARD, now)

    def on_stepped(self, data: bytes, keys: SessionKeys | None, fault: str, now: float) -> None:
        """The shell has made the next part, or has come to the end; see :meth:`SealingTable.on_stepped`."""
        self._data = data
        if keys is not None:
            self._keys = keys
            self._step(HandshakeInput.AGREED, now)
        elif data and not fault:
            self._step(HandshakeInput.STEPPED, now)
        else:
            if data and self.state is HandshakeState.WORKING:
                self._say()
            self._fail(fault, now)

    def handle_timer(self, now: float) -> None:
        """It has taken too long: a part was lost, or nobody answers."""
        self._fail("", now)

    def _fail(self, fault: str, now: float) -> None:
        self._fault = fault
        self._step(HandshakeInput.FAILED, now)

    def _step(self, event: HandshakeInput, now: float) -> None:
        action, self.state = step(HANDSHAKE_TABLE, self.state, event)
        self.ACTS[action](self, now)

    # What the table of states has done.

    def _ignore(self, now: float) -> None:
        """Nothing follows."""

    def _work(self, _now: float) -> None:
        self._context.events.append(HandshakeWork(self.lives, self._data, self.begins))

    def _say(self) -> None:
        """Send a part. Without a way it is lost, as on the way, and the handshake runs out of time."""
        link = self._keeper.way_to(self.peer)
        if link is not None:
            link.answer(HandshakeFrame(*self._said(), self._number, self._data, HOPS))
        self._number += 2

    def _said(self) -> tuple[str, int, str, int, bool, bytes]:
        initiator, initiator_life, responder, responder_life, session_id = self.lives
        return initiator, initiator_life, responder, responder_life, not self.begins, session_id

    def _say_next(self, _now: float) -> None:
        self._say()

    def _share(self, now: float) -> None:
        if self._data:
            self._say()
        self._end()
        self._keeper.on_agreed(self, self._keys, now)

    def _give_up(self, now: float) -> None:
        self._end()
        self._keeper.on_failed(self, self._fault, now)

    def _end(self) -> None:
        self._context.deadlines.cancel(self)
        self._context.events.append(HandshakeOver(self.lives))

    ACTS: ClassVar[Mapping[HandshakeAction, Callable[[Handshake, float], None]]] = {
        HandshakeAction.IGNORE: lambda self, now: self._ignore(now),
        HandshakeAction.WORK: lambda self, now: self._work(now),
        HandshakeAction.SAY: lambda self, now: self._say_next(now),
        HandshakeAction.SHARE: lambda self, now: self._share(now),
        HandshakeAction.FAIL: lambda self, now: self._give_up(now),
    }
