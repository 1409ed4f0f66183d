"""Sealing for tests of the core: handshakes and keys as plain values, without cryptography.

Its handshake has the four parts of the true one. What is right in it are the names, the lives and the id that both
sides mean; a part that was changed, or that another handshake had, is none.
"""

from __future__ import annotations

import dataclasses
import hashlib
import pickle

from streamcell.digest import Digest
from streamcell.protocol.base.events import HandshakeOver, HandshakeWork
from streamcell.protocol.cell import CellCore
from streamcell.protocol.wire.covered import Lives
from streamcell.protocol.wire.description import StreamDescription
from streamcell.protocol.wire.frames import Payload

PARTS = 4


# What makes a payload another one, of the same length.
_MASK = bytes(value ^ 0xA5 for value in range(256))


class NonceReused(AssertionError):
    """Something was sealed under a key and a number that something else was sealed under."""


class Ledger:
    """What was sealed by anybody: each key and number may come once."""

    def __init__(self) -> None:
        self._sealed: set[tuple[bytes, int]] = set()

    def note(self, key: bytes, number: int) -> None:
        """Take note of one more."""
        if (key, number) in self._sealed:
            raise NonceReused(f"number {number} twice under one key")
        self._sealed.add((key, number))


class FakeAttemptKeys:
    """Seals so that it can be seen whether key, number, payload and what is covered are right."""

    def __init__(self, key: bytes, ledger: Ledger) -> None:
        self._key = key
        self._ledger = ledger

    def seal(self, sequence: int, payload: Payload, covered: bytes, /) -> tuple[Payload, bytes]:
        """Seal once."""
        self._ledger.note(self._key, sequence)
        return bytes(payload).translate(_MASK), _digest(self._key, sequence, bytes(payload), covered)

    def open(self, sequence: int, sealed: Payload, tag: bytes, covered: bytes, /) -> Payload | None:
        """Open what is right."""
        payload = bytes(sealed).translate(_MASK)
        return payload if tag == _digest(self._key, sequence, payload, covered) else None

    def seal_opening(self, description: StreamDescription, covered: bytes, /) -> bytes:
        """Seal what is hidden."""
        self._ledger.note(self._key, -1)
        hidden = pickle.dumps(
            (description.headers, description.source_stamp, description.digest, description.reply_to), protocol=5
        )
        return hidden.translate(_MASK) + _digest(self._key, -1, hidden, covered)

    def open_opening(
        self, description: StreamDescription, sealed: bytes, covered: bytes, /
    ) -> StreamDescription | None:
        """Open what is right."""
        hidden = sealed[:-16].translate(_MASK)
        if sealed[-16:] != _digest(self._key, -1, hidden, covered):
            return None
        headers, stamp, digest, reply_to = pickle.loads(hidden)
        return dataclasses.replace(description, headers=headers, source_stamp=stamp, digest=digest, reply_to=reply_to)


class FakeStreamKeys:
    """The keys of a stream."""

    def __init__(self, secret: bytes, ledger: Ledger) -> None:
        self._secret = secret
        self._ledger = ledger

    def of_attempt(self, attempt: int, /) -> FakeAttemptKeys:
        """A key for each attempt."""
        return FakeAttemptKeys(_digest(self._secret, attempt), self._ledger)

    def code(self, covered: bytes, /) -> bytes:
        """A code that only this key makes."""
        return _digest(self._secret, "code", covered)

    def proves(self, code: bytes, covered: bytes, /) -> bool:
        """Whether it is right."""
        return code == self.code(covered)

    def hide(self, what: str, value: str, /) -> Digest:
        """What shows nothing."""
        return Digest(f"hidden:{_digest(self._secret, what, value).hex()}")


@dataclasses.dataclass(frozen=True)
class FakeKeys:
    """What two lives share: who has the same secret has the same keys."""

    secret: bytes
    peer_name: str
    ledger: Ledger

    def keys_of(self, origin: str, stream_id: int, /) -> FakeStreamKeys:
        """The keys of a stream."""
        return FakeStreamKeys(_digest(self.secret, origin, stream_id), self.ledger)


def _digest(*values: object) -> bytes:
    return hashlib.sha256(repr(values).encode()).digest()[:16]


class FakeSealer:
    """What the shell does for the handshakes of one core.

    :ivar liars: cells that show the certificate of another one.
    """

    def __init__(self, core: CellCore, ledger: Ledger) -> None:
        self._core = core
        self._ledger = ledger
        self.liars: set[str] = set()
        self._parts: dict[tuple[str, int, bytes], int] = {}

    @property
    def under_way(self) -> int:
        """How many handshakes it keeps something for."""
        return len(self._parts)

    def handle(self, event: HandshakeWork | HandshakeOver, now: float) -> None:
        """Make the next part, or forget the handshake."""
        lives = event.lives
        key = (lives.initiator, lives.initiator_incarnation, lives.session_id)
        if isinstance(event, HandshakeOver):
            self._parts.pop(key, None)
            return
        number = self._parts.get(key, 0 if event.begins else 1)
        self._parts[key] = number + 2
        peer = lives.responder if event.begins else lives.initiator
        step = self._core.sealing.on_stepped
        heard = event.data
        if number > 0 and heard not in (part(lives, number - 1), b"refused"):
            step(lives, b"", None, "", now)
        elif heard == b"refused":
            step(lives, b"", None, f"{peer} says: no", now)
        elif number >= 2 and peer in self.liars:
            fault = f"the certificate that was shown for {peer} is that of another"
            step(lives, b"" if event.begins else b"refused", None, fault, now)
        elif number >= PARTS - 1:
            data = b"" if event.begins else part(lives, number)
            step(lives, data, FakeKeys(_digest(lives), peer, self._ledger), "", now)
        else:
            step(lives, part(lives, number), None, "", now)


def part(lives: Lives, number: int) -> bytes:
    """A part of a handshake. Before the last two the responder's life is not a secret between the two."""
    bound = lives if number >= PARTS - 2 else lives._replace(responder_incarnation=0)
    return f"{number}".encode() + hashlib.sha256(repr(bound).encode()).digest()[:8]
