"""From the arguments of a call to what the core is told to send.

The blocking and the asyncio classes share these checks, so that both refuse the same things with the same words.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

from streamcell.config import LONGEST_TIMEOUT_S, CellConfig
from streamcell.digest import ALGORITHM, Digest
from streamcell.errors import AuthenticationError, StreamUsageError, UsageError
from streamcell.fqcn import check_callback_name, check_fqcn, check_name
from streamcell.limits import SOURCE_STAMP_BYTES, TRACEPARENT_BYTES
from streamcell.message import HeaderValue, Message, freeze_headers
from streamcell.protocol.sending.spec import SendSpec
from streamcell.protocol.wire.description import StreamDescription, StreamKind, is_traceparent
from streamcell.protocol.wire.frames import Payload
from streamcell.runtime.sending.payloads import flatten_payload

# The wire has one bit more: credit lies a window beyond an offset, and has to fit, too.
_LARGEST_OFFSET = (1 << 63) - 1


class SendMore(TypedDict, total=False):
    """The keywords of ``send_stream`` and ``send_blob``.

    ``resume_id`` names the transfer across restarts of this cell: sent again under the same name it goes on where the
    target stands, if the source is provably the same. ``idle_timeout``: seconds of silence of the other end after which
    it fails; 0 never, None as configured. ``unreachable_timeout``: seconds to wait for the target's first sign of life;
    0 for ever, None as configured. ``digest``: ``sha256`` to have it computed and checked, or ``sha256:HEX`` if it is
    known. ``retry_unknown``: send again if it cannot be known whether it was delivered. ``copy``: take a copy of the
    payload, which must be bytes, at the call. ``traceparent``: the span that it belongs to, as W3C Trace Context writes
    it, in at most 256 characters; the receiver gets it as it is. ``reliable`` is ignored; every send is.
    """

    resume_id: str
    idle_timeout: float | None
    unreachable_timeout: float | None
    digest: str
    retry_unknown: bool
    copy: bool
    traceparent: str | None
    reliable: bool


def make_send_spec(
    config: CellConfig,
    kind: StreamKind,
    channel: str,
    topic: str,
    target: str,
    size: int | None,
    headers: Mapping[str, HeaderValue],
    more: SendMore,
    *,
    optional: bool = False,
    sealed: bool = False,
    stamp: object = b"",
    kept: bool = False,
) -> SendSpec:
    """Return what the core is told of a stream or blob.

    Args:
        config: the cell's.
        kind: what it is.
        channel: the callback's name.
        topic: its second part.
        target: the cell's name.
        size: in bytes, or None.
        headers: the application's.
        more: what was given beside.
        optional: whether failing is normal.
        sealed: whether it is sealed from end to end.
        stamp: what tells whether the source is still the same, as its ``get_stamp`` gave it.
        kept: whether all bytes are there already and stay.

    Raises:
        StreamUsageError: an argument is wrong; the sentence names it.
    """
    try:
        resume_id = _check_resume_id(more.get("resume_id"))
        given, follows = _check_digest(more.get("digest"))
        return SendSpec(
            target=check_fqcn(target),
            channel=check_callback_name(channel, "channel"),
            topic=check_callback_name(topic, "topic"),
            description=StreamDescription(
                kind,
                size,
                freeze_headers(headers),
                check_timeout(more.get("idle_timeout"), "idle_timeout", config.idle_timeout_s, meaning_of_0="never"),
                resume_id=resume_id,
                source_stamp=_check_stamp(stamp) if resume_id else b"",
                digest=given,
                digest_follows=follows,
                traceparent=_check_traceparent(more.get("traceparent")),
                sealed=sealed,
            ),
            unreachable_timeout_s=check_timeout(
                more.get("unreachable_timeout"),
                "unreachable_timeout",
                config.unreachable_timeout_s,
                meaning_of_0="never",
            ),
            optional=bool(optional),
            retry_unknown=bool(more.get("retry_unknown")),
            kept=kept,
        )
    except StreamUsageError:
        raise
    except UsageError as error:
        raise StreamUsageError(error.sentence) from error


def make_request(
    config: CellConfig,
    channel: str,
    topic: str,
    request: Message,
    *,
    optional: bool,
    copy: bool,
    no_reply: bool,
    sealed: bool = False,
    traceparent: object = None,
) -> tuple[SendSpec, list[Payload]]:
    """Return what the core is told of a request, and its payload. Whom it is for is said by :func:`address`.

    Raises:
        UsageError: an argument is wrong; the sentence names it.
    """
    message = check_message(request)
    payload, size = flatten_payload(message.payload, config.chunk_bytes, copy=copy)
    spec = SendSpec(
        target="",
        channel=check_callback_name(channel, "channel"),
        topic=check_callback_name(topic, "topic"),
        description=StreamDescription(
            StreamKind.REQUEST,
            size,
            freeze_headers(message.headers),
            config.idle_timeout_s,
            no_reply=no_reply,
            traceparent=_check_traceparent(traceparent),
            sealed=sealed,
        ),
        unreachable_timeout_s=config.unreachable_timeout_s,
        optional=bool(optional),
    )
    return spec, payload


def address(spec: SendSpec, target: str) -> SendSpec:
    """Return a request for one cell.

    Raises:
        UsageError: that is not the name of a cell.
    """
    return dataclasses.replace(spec, target=check_fqcn(target))


def as_names(names: str | Iterable[str]) -> list[str]:
    """Return one name or several as a list, each once. Whether each is a name of a cell is checked elsewhere.

    Raises:
        StreamUsageError: it is neither.
    """
    if isinstance(names, str):
        return [names]
    # Whatever the types say: this is what checks them.
    given: object = names
    listed: list[Any] = list(given) if isinstance(given, Iterable) else [given]
    for name in listed:
        if not isinstance(name, str):
            raise StreamUsageError(
                f"a target must be the name of a cell, not {name!r:.100}: give a name or a list of names"
            )
    return list(dict.fromkeys(listed))


def check_message(message: object) -> Message:
    """Return ``message`` if it is one.

    Raises:
        StreamUsageError: it is something else.
    """
    if not isinstance(message, Message):
        raise StreamUsageError(f"a {type(message).__name__} cannot be sent: put it into a Message(headers, payload)")
    return message


def check_timeout(value: object, name: str, default: float, *, meaning_of_0: str = "none") -> float:
    """Return a timeout in seconds, or ``default`` for None.

    Raises:
        UsageError: it is not a number, or negative, or not finite.
    """
    if value is None:
        return default
    # The comparison is false for nan.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LONGEST_TIMEOUT_S:
        raise UsageError(
            f"{name} must be a number of seconds up to {LONGEST_TIMEOUT_S:g}, or 0 for {meaning_of_0}, "
            f"not {value!r:.100}"
        )
    return float(value)


def check_wait(value: object, name: str) -> float | None:
    """Return how long somebody waits, in seconds; None: as long as it takes.

    Raises:
        UsageError: it is not a number, or negative, or not finite.
    """
    return None if value is None else check_timeout(value, name, 0, meaning_of_0="only a look")


def check_whole(value: Any, what: str) -> int:
    """Return a size or an offset in bytes.

    Raises:
        UsageError: it is not a whole number from 0, or larger than what can travel.
    """
    try:
        number = -1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = -1
    if not 0 <= number <= _LARGEST_OFFSET:
        raise UsageError(f"{what} must be a whole number from 0 to {_LARGEST_OFFSET}, not {value!r:.100}")
    return number


def check_instance(value: object, kind: type, name: str) -> None:
    """Check that an argument is of the type that it has to be.

    Raises:
        UsageError: it is of another.
    """
    if not isinstance(value, kind):
        # With their modules: the blocking and the asyncio classes have the same names.
        wanted, given = (f"{each.__module__}.{each.__qualname__}" for each in (kind, type(value)))
        raise UsageError(f"{name} must be a {wanted}, not a {given.removeprefix('builtins.')}")


def check_callback(callback: object, what: str) -> None:
    """Check that ``callback`` can be called.

    Raises:
        UsageError: it cannot.
    """
    if not callable(callback):
        raise UsageError(f"{what} must be callable, not a {type(callback).__name__}")


def not_secure_error(fqcn: str) -> AuthenticationError:
    """Return what sending with ``secure=True`` fails with where this cell has not what it takes."""
    return AuthenticationError(
        f"cell {fqcn} has no certificate, or no authority to believe, so it cannot send with secure=True: give it "
        "TLSConfig(ca=..., cert=..., key=...)"
    )


def _check_digest(digest: object) -> tuple[Digest | None, bool]:
    """Return the digest if it is given, and whether it is to be computed."""
    if digest is None or digest == "":
        return None, False
    if digest == ALGORITHM:
        return None, True
    try:
        if isinstance(digest, str):
            return Digest.parse(digest), False
    except ValueError:
        pass
    raise UsageError(
        f"digest must be 'sha256' (compute it) or 'sha256:' and 64 hexadecimal digits, not {digest!r:.100}"
    )


def _check_stamp(stamp: object) -> bytes:
    if not isinstance(stamp, bytes) or len(stamp) > SOURCE_STAMP_BYTES:
        raise UsageError(f"get_stamp() of a stream must return at most {SOURCE_STAMP_BYTES} bytes, not {stamp!r:.100}")
    return stamp


def _check_traceparent(traceparent: object) -> str:
    if traceparent is None:
        return ""
    if not isinstance(traceparent, str) or not is_traceparent(traceparent):
        raise UsageError(
            f"traceparent must be a string of at most {TRACEPARENT_BYTES} visible ASCII characters, as W3C Trace "
            f"Context writes it, not {traceparent!r:.100}"
        )
    return traceparent


def _check_resume_id(resume_id: object) -> str:
    if resume_id is None:
        return ""
    if not isinstance(resume_id, str):
        raise UsageError(f"resume_id must be a string, not {resume_id!r:.100}")
    return check_name(resume_id, "resume_id")
