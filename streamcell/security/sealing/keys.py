"""Keys of a session and of its streams. They are in memory only, in no ``repr``, and cannot be pickled."""

from __future__ import annotations

import hmac
from typing import Final, NoReturn

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from streamcell.digest import Digest
from streamcell.protocol.wire.covered import in_bytes
from streamcell.security.sealing.cipher import AttemptCipher

SECRET_BYTES: Final = 32
CODE_BYTES: Final = 16
_HASH = "sha256"
# How a digest is written that only those can make who have the key.
_KEYED = "hmac-sha256:"


class Secret:
    """Bytes that must not be seen."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} stays in the memory of its process")

    def _expand(self, *info: str | int) -> bytes:
        label, *values = info
        expand = HKDFExpand(hashes.SHA256(), SECRET_BYTES, in_bytes(str(label), *values))
        return expand.derive(self._secret)


class ContentSecret(Secret):
    """From what the keys for the contents of a session's streams are made."""

    def of_stream(self, stream_id: int, *, from_initiator: bool) -> ContentKey:
        """Return the key of a stream. ``from_initiator``: its origin has begun the session's handshake."""
        return ContentKey(self._expand("content", int(from_initiator), stream_id))


class ContentKey(Secret):
    """From what the keys for the attempts of a stream are made. To be dropped when the stream has ended."""

    def of_attempt(self, attempt: int) -> AttemptCipher:
        """Return what seals and opens in an attempt."""
        return AttemptCipher(self._expand("chunk", attempt))


class CodeSecret(Secret):
    """From what the keys for codes of authentication of a session's streams are made."""

    def of_stream(self, stream_id: int, *, from_initiator: bool) -> CodeKey:
        """Return the key of a stream. ``from_initiator``: its origin has begun the session's handshake."""
        return CodeKey(self._expand("mac", int(from_initiator), stream_id))


class CodeKey(Secret):
    """Proves that the other end has made a frame. To be dropped when the stream's id is settled."""

    def code(self, covered: bytes) -> bytes:
        """Return the code of authentication of what is covered."""
        return hmac.digest(self._secret, covered, _HASH)[:CODE_BYTES]

    def proves(self, code: bytes, covered: bytes) -> bool:
        """Return whether that is the code of what is covered. It takes as long if it is not."""
        return hmac.compare_digest(self.code(covered), code)

    def hide(self, what: str, value: str | bytes) -> Digest:
        """Return what shows nothing of a value, and by which whoever has the value and the key can tell it again.

        :param what: ``"digest"``, ``"prefix"`` or ``"stamp"``: that values of two sorts are equal is not seen.
        """
        return Digest(_KEYED + hmac.digest(self._secret, in_bytes(f"hide {what}", value), _HASH).hex())
