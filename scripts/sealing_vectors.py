"""What sealing makes of fixed keys: the vectors of protos/vectors/sealing.json.

Only TLS is not in them, since a handshake makes keys of its own: a foreign cell takes them from its library by the
exporter (RFC 8446, section 7.5), with the label and the context that are shown.
"""

from __future__ import annotations

import hashlib
from typing import Any

from streamcell.digest import Digest
from streamcell.errors import ErrorCode, Fault
from streamcell.limits import HOPS
from streamcell.protocol.wire import covered
from streamcell.protocol.wire.covered import Lives, Place, Steering
from streamcell.protocol.wire.description import StreamDescription, StreamKind
from streamcell.protocol.wire.frames import Ack, Lost, LostReason, Open, Reset, ResumeQuery, ResumeReply, StreamKey
from streamcell.security.sealing.keys import CodeSecret, ContentSecret

Json = dict[str, Any]

SESSION = bytes(range(16))
# Not on the wire anywhere: the TLS library gives them.
CONTENT_SECRET = bytes(range(0x20, 0x40))
CODE_SECRET = bytes(range(0x40, 0x60))
CERTIFICATES = [hashlib.sha256(name).digest() for name in (b"certificate of site-1", b"certificate of server")]


def sealing(origin_life: int, target_life: int) -> list[Json]:
    """Returns the vectors for streams between site-1 and server in these lives, under a session that site-1 began."""
    lives = Lives("site-1", origin_life, "server", target_life, SESSION)
    key = StreamKey("site-1", origin_life, 7)
    place = Place(SESSION, key, "server", 1, "train", "model")
    back = Place(SESSION, StreamKey("server", target_life, 7), "site-1", 2, "train", "model")
    context = covered.covered_by_keys(lives, *CERTIFICATES)
    return [
        {"name": "What the secrets of a session are bound to", "label": "EXPORTER-streamcell-v1 content"}
        | {"bytes": context.hex()},
        *(_chunk(name, *parts) for name, *parts in _chunks(place, back)),
        _opening(place, target_life),
        *(_code(frame, target_life) for frame in _frames(key, target_life)),
        *(_hidden(what, value) for what, value in (("digest", "sha256:" + "0" * 64), ("stamp", b"\x01\x02"))),
    ]


def _chunks(place: Place, back: Place) -> list[tuple[Any, ...]]:
    digest = Digest("hmac-sha256:" + "0" * 64)
    return [
        ("The first chunk of a stream", place, 0, 0, None, False, b"hello"),
        ("The last chunk, which is empty and has a digest", place, 1, 5, digest, True, b""),
        ("A chunk the other way, in a second attempt", back, 3, 2**33, None, False, bytes(range(40))),
    ]


def _chunk(
    name: str, place: Place, sequence: int, offset: int, digest: Digest | None, last: bool, payload: bytes
) -> Json:
    bound = covered.covered_by_chunk(covered.in_common(place), sequence, offset, digest, last=last)
    sealed = _content(place).of_attempt(place.attempt).seal(sequence, payload, bound)
    return {
        "name": name,
        **_key(place),
        "nonce": f"{sequence:024x}",
        "bytes": bound.hex(),
        "payload": payload.hex(),
        "sealed": bytes(sealed.data).hex(),
        "tag": sealed.tag.hex(),
    }


def _opening(place: Place, target_life: int) -> Json:
    said = StreamDescription(StreamKind.BLOB, 5, idle_timeout_s=300.0, resume_id="model-1")
    bound = covered.covered_by_opening(
        covered.in_common(place), Open(said, 7, ((9, 12),), target_incarnation=target_life)
    )
    hidden = b"what is hidden"
    sealed = _content(place).of_attempt(place.attempt).seal_opening(hidden, bound)
    return {
        "name": "What an Open part hides",
        **_key(place),
        "nonce": f"{1 << 95:024x}",
        "bytes": bound.hex(),
        "payload": hidden.hex(),
        "sealed": sealed[:-16].hex(),
        "tag": sealed[-16:].hex(),
    }


def _frames(key: StreamKey, target_life: int) -> list[Steering]:
    digest = Digest("hmac-sha256:" + "0" * 64)
    return [
        Ack(key, "server", 1, target_life, 5, 5, True, HOPS),
        ResumeQuery(key, "server", 2, False, HOPS, "model-1", b"", digest),
        ResumeReply(key, "server", 2, target_life, False, 3, HOPS, digest),
        Reset(key, "server", 2, True, ErrorCode.REJECTED, Fault.TARGET, "no", HOPS),
        Lost(key, "server", 2, LostReason.CORRUPT, "server", HOPS),
    ]


def _code(frame: Steering, target_life: int) -> Json:
    bound = covered.covered_by_code(SESSION, target_life, frame)
    key = CodeSecret(CODE_SECRET).of_stream(7, from_initiator=True)
    return {
        "name": f"The code of {type(frame).__name__}",
        "secret": CODE_SECRET.hex(),
        "expanded": [covered.in_bytes("mac", 1, 7).hex()],
        "bytes": bound.hex(),
        "code": key.code(bound).hex(),
    }


def _hidden(what: str, value: str | bytes) -> Json:
    key = CodeSecret(CODE_SECRET).of_stream(7, from_initiator=True)
    return {
        "name": f"What a {what} is hidden as",
        "secret": CODE_SECRET.hex(),
        "expanded": [covered.in_bytes("mac", 1, 7).hex()],
        "bytes": covered.in_bytes(f"hide {what}", value).hex(),
        "hidden": key.hide(what, value).text,
    }


def _content(place: Place) -> Any:
    by_initiator = place.key.origin == "site-1"
    return ContentSecret(CONTENT_SECRET).of_stream(place.key.stream_id, from_initiator=by_initiator)


def _key(place: Place) -> Json:
    """Returns the secret, and by what it is expanded to the key of an attempt, one after the other."""
    by_initiator = place.key.origin == "site-1"
    steps = [
        covered.in_bytes("content", int(by_initiator), place.key.stream_id),
        covered.in_bytes("chunk", place.attempt),
    ]
    return {"secret": CONTENT_SECRET.hex(), "expanded": [step.hex() for step in steps]}
