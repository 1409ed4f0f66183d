"""Sealing for tests of the core: handshakes and keys as plain values, without cryptography.

Its handshake has the four parts of the true one. What is right in it are the names, the lives and the id that both
sides mean; a part that was changed, or that another handshake had, is none.
"""

from __future__ import annotations

import dataclasses
import hashlib

from streamcell.protocol.base.events import HandshakeOver, HandshakeWork
from streamcell.protocol.cell import CellCore
from streamcell.protocol.wire.covered import Lives

PARTS = 4


@dataclasses.dataclass(frozen=True)
class FakeKeys:
    """What two lives share: who has the same secret has the same keys."""

    secret: bytes
    peer_name: str


class FakeSealer:
    """What the shell does for the handshakes of one core.

    :param liars: cells that show the certificate of another one.
    """

    def __init__(self, core: CellCore, fqcn: str, liars: set[str] | None = None) -> None:
        self._core = core
        self._fqcn = fqcn
        self.liars = liars if liars is not None else set()
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
            step(lives, data, FakeKeys(hashlib.sha256(repr(lives).encode()).digest(), peer), "", now)
        else:
            step(lives, part(lives, number), None, "", now)


def part(lives: Lives, number: int) -> bytes:
    """A part of a handshake. Before the last two the responder's life is not a secret between the two."""
    bound = lives if number >= PARTS - 2 else lives._replace(responder_incarnation=0)
    return f"{number}".encode() + hashlib.sha256(repr(bound).encode()).digest()[:8]
