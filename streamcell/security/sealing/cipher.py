"""AES-256-GCM of one attempt of a stream."""

from __future__ import annotations

from typing import Final, NamedTuple, NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from streamcell.protocol.wire.frames import Payload

TAG_BYTES: Final = 16
_NONCE_BYTES = 12
# Chunks have their sequences, which are below 2^64.
_NONCE_OF_OPENING = (1 << 95).to_bytes(_NONCE_BYTES, "big")
# Up to this size it takes less to join what is sealed with its tag than to work in steps.
_JOINED_BYTES = 64 * 1024


class Sealed(NamedTuple):
    """What was sealed: as long as what it hides, and the tag."""

    data: Payload
    tag: bytes


class AttemptCipher:
    """Seals and opens the Open part and the chunks of an attempt. Has no ``repr`` and cannot be pickled.

    Whoever seals must use each sequence once, and never for other bytes: two payloads under one sequence show what they
    have in common, and let others forge (RFC 5116, section 5.1.1).

    May be used in any thread; large payloads are worked on without the interpreter's lock.
    """

    __slots__ = ("_aead", "_key")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._aead = AESGCM(key)

    def __repr__(self) -> str:
        return "<AttemptCipher>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an AttemptCipher stays in the memory of its process")

    def seal(self, sequence: int, payload: Payload, covered: bytes) -> Sealed:
        """Seal the payload of a chunk, bound to what is ``covered``."""
        whole = memoryview(self._aead.encrypt(_nonce(sequence), payload, covered))
        return Sealed(whole[:-TAG_BYTES], bytes(whole[-TAG_BYTES:]))

    def open(self, sequence: int, sealed: tuple[Payload, bytes], covered: bytes) -> bytes | None:
        """Return the payload of a chunk; None if it was not sealed with this key, and bound to what is ``covered``."""
        return self._opened(_nonce(sequence), Sealed(*sealed), covered)

    def seal_opening(self, hidden: bytes, covered: bytes) -> bytes:
        """Seal what an Open part hides; the tag is at the end."""
        return self._aead.encrypt(_NONCE_OF_OPENING, hidden, covered)

    def open_opening(self, sealed: bytes, covered: bytes) -> bytes | None:
        """Return what an Open part hides; None if it was not sealed with this key, and bound to what is ``covered``."""
        if len(sealed) < TAG_BYTES:
            return None
        return self._opened(_NONCE_OF_OPENING, Sealed(sealed[:-TAG_BYTES], sealed[-TAG_BYTES:]), covered)

    def _opened(self, nonce: bytes, sealed: Sealed, covered: bytes) -> bytes | None:
        if len(sealed.tag) != TAG_BYTES:
            return None
        try:
            if len(sealed.data) <= _JOINED_BYTES:
                return self._aead.decrypt(nonce, b"".join(sealed), covered)
            steps = Cipher(algorithms.AES(self._key), modes.GCM(nonce, sealed.tag)).decryptor()
            steps.authenticate_additional_data(covered)
            # Nobody has it before the tag was looked at.
            payload = steps.update(sealed.data)
            steps.finalize()
        except InvalidTag:
            return None
        return payload


def _nonce(sequence: int) -> bytes:
    return sequence.to_bytes(_NONCE_BYTES, "big")
