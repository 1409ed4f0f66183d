"""The handshakes by which a cell comes to keys with others, made in threads; and the keys as the core uses them.

Methods named ``on_*`` run on the engine.
"""

from __future__ import annotations

import datetime as dt
import functools
import logging
from typing import Any

from streamcell.digest import Digest
from streamcell.errors import AuthenticationError, ProtocolError
from streamcell.lines import NeighbourLog
from streamcell.protocol.base.events import HandshakeOver, HandshakeWork, SessionBegun, SessionFailed
from streamcell.protocol.base.keys import SessionKeys
from streamcell.protocol.wire.covered import Lives
from streamcell.protocol.wire.description import StreamDescription
from streamcell.protocol.wire.frames import Payload
from streamcell.runtime.context import CellContext
from streamcell.runtime.threads.trace import CellLog
from streamcell.runtime.threads.workers import WorkerPool
from streamcell.security.credentials import Credentials
from streamcell.transport.descriptions import hidden_of, with_hidden

# A handshake takes a millisecond of a processor: more threads would only take turns.
_THREADS = 2


class _AttemptKeys:
    """What seals and opens in one attempt."""

    __slots__ = ("_cipher",)

    def __init__(self, cipher: Any) -> None:
        self._cipher = cipher

    def seal(self, sequence: int, payload: Payload, covered: bytes, /) -> tuple[Payload, bytes]:
        """Return the payload sealed, and its tag."""
        data, tag = self._cipher.seal(sequence, payload, covered)
        return data, tag

    def open(self, sequence: int, sealed: Payload, tag: bytes, covered: bytes, /) -> Payload | None:
        """Return the payload, or None if it is not what was sealed."""
        payload: Payload | None = self._cipher.open(sequence, (sealed, tag), covered)
        return payload

    def seal_opening(self, description: StreamDescription, covered: bytes, /) -> bytes:
        """Return what a stream hides of its description, sealed."""
        sealed: bytes = self._cipher.seal_opening(hidden_of(description), covered)
        return sealed

    def open_opening(
        self, description: StreamDescription, sealed: bytes, covered: bytes, /
    ) -> StreamDescription | None:
        """Return a description with what was hidden; None if that is not what was sealed, or nothing that can be."""
        hidden = self._cipher.open_opening(sealed, covered)
        try:
            return None if hidden is None else with_hidden(description, hidden)
        except ProtocolError:
            return None


class _StreamKeys:
    """The keys of one stream."""

    __slots__ = ("_keys",)

    def __init__(self, keys: Any) -> None:
        self._keys = keys

    def of_attempt(self, attempt: int, /) -> _AttemptKeys:
        """Return what seals and opens in an attempt."""
        return _AttemptKeys(self._keys.content.of_attempt(attempt))

    def code(self, covered: bytes, /) -> bytes:
        """Return the code of what is covered."""
        code: bytes = self._keys.code.code(covered)
        return code

    def proves(self, code: bytes, covered: bytes, /) -> bool:
        """Return whether that is its code."""
        return bool(self._keys.code.proves(code, covered))

    def hide(self, what: str, value: str, /) -> Digest:
        """Return what shows nothing of a value."""
        hidden: Digest = self._keys.code.hide(what, value)
        return hidden


class _SessionKeys:
    """What was agreed with a life of another cell."""

    __slots__ = ("session",)

    def __init__(self, session: Any) -> None:
        self.session = session

    @property
    def peer_name(self) -> str:
        """The name that the other one has proved."""
        name: str = self.session.peer.name
        return name

    def keys_of(self, origin: str, stream_id: int, /) -> _StreamKeys:
        """Return the keys of a stream."""
        return _StreamKeys(self.session.keys_of(origin, stream_id))


class _Side:
    """This cell's side of a handshake that is under way. A thread makes it with its first part."""

    __slots__ = ("side",)

    def __init__(self) -> None:
        self.side: Any = None


class Sealing:
    """What a cell does for its handshakes, from its start to its end.

    :param credentials: None: the cell has none, and the core begins no handshake.
    """

    def __init__(self, credentials: Credentials | None, context: CellContext, log: CellLog) -> None:
        self._credentials = credentials
        self._context = context
        self._log = NeighbourLog(log)
        self._pool = WorkerPool(f"{context.fqcn}-handshake", _THREADS, context.starter)
        self._sides: dict[tuple[str, int, bytes], _Side] = {}

    def close(self) -> None:
        """Let the threads end."""
        self._pool.close()

    def on_work(self, event: HandshakeWork, _now: float) -> None:
        """Have the next part of a handshake made."""
        side = self._sides.setdefault(_key(event.lives), _Side())
        self._pool.submit(functools.partial(self._work, side, event))

    def on_over(self, event: HandshakeOver, _now: float) -> None:
        """Forget a handshake."""
        self._sides.pop(_key(event.lives), None)

    def on_begun(self, event: SessionBegun, now: float) -> None:
        """Say so."""
        peer = event.lives.responder if event.lives.initiator == self._context.fqcn else event.lives.initiator
        self._log.log(peer, now, logging.INFO, "keys for sealing are agreed with %s", peer)

    def on_failed(self, event: SessionFailed, now: float) -> None:
        """Say so. Why a stream of this cell fails is said with it."""
        level = logging.DEBUG if event.begins else logging.WARNING
        self._log.log(event.fqcn, now, level, "no keys for sealing with %s: %s", event.fqcn, event.error.sentence)

    def recheck(self, now: dt.datetime) -> list[tuple[Lives, str]]:
        """Return the sessions with cells that are not believed any more, and why. Runs on the engine."""
        if self._credentials is None:
            return []
        found = []
        for session in self._context.core.sealing.sessions():
            keys = session.keys
            fault = keys.session.fault_in(self._credentials, now) if isinstance(keys, _SessionKeys) else ""
            if fault:
                found.append((session.lives, fault))
        return found

    # In a thread.

    def _work(self, side: _Side, event: HandshakeWork) -> None:
        data, keys, fault = b"", None, ""
        try:
            data, keys, fault = self._make(side, event)
        except AuthenticationError as error:
            fault = error.sentence
        except ProtocolError as error:
            self._context.log.debug("a handshake is begun again: %s", error.sentence)
        self._context.post(self._on_made, event.lives, data, keys, fault)

    def _make(self, side: _Side, event: HandshakeWork) -> tuple[bytes, SessionKeys | None, str]:
        from streamcell.security.sealing.handshake import Initiator, Responder

        credentials, now = self._credentials, dt.datetime.now(dt.UTC)
        if credentials is None:
            raise AuthenticationError(f"{self._context.fqcn} has no certificates")
        if side.side is None:
            side.side = (Initiator if event.begins else Responder)(event.lives, credentials)
            if event.begins:
                return side.side.begin(), None, ""
        if event.begins:
            step = side.side.feed(event.data, event.lives.responder_incarnation, now)
        else:
            step = side.side.feed(event.data, now)
        return step.data, None if step.session is None else _SessionKeys(step.session), step.fault

    def _on_made(self, lives: Lives, data: bytes, keys: SessionKeys | None, fault: str, now: float) -> None:
        self._context.core.sealing.on_stepped(lives, data, keys, fault, now)


def _key(lives: Lives) -> tuple[str, int, bytes]:
    return lives.initiator, lives.initiator_incarnation, lives.session_id
