"""What a stream is: said once by its origin, the same in each attempt, and told to its target's application.

A :class:`StreamDescription` is made where an application asks for a stream and is handed on whole: in the spec of the
sending half, in the first chunk of each attempt, in the event that offers the stream. Who only passes it on names none
of its fields. So a new property of a stream is a field here, a line each where it is encoded and decoded, and whoever
gives and reads it.
"""

from __future__ import annotations

import dataclasses
import enum

from streamcell.digest import Digest
from streamcell.errors import ErrorCode
from streamcell.limits import TRACEPARENT_BYTES
from streamcell.message import Headers


class StreamKind(enum.IntEnum):
    """What a stream is to the application."""

    UNSPECIFIED = 0
    STREAM = 1
    BLOB = 2
    REQUEST = 3
    REPLY = 4

    @property
    def whole(self) -> bool:
        """Whether the target assembles it and hands it over in one piece."""
        return self in _WHOLE


_WHOLE = (StreamKind.BLOB, StreamKind.REQUEST, StreamKind.REPLY)


@dataclasses.dataclass(frozen=True, slots=True)
class ReplyTo:
    """Which request a reply answers, and whether it could.

    Ids of requests start anew in each life of a cell, so ``incarnation`` says which life has asked. With a ``code``
    the request has failed at its target, and ``sentence`` says why; what the reply carries counts for nothing then.
    """

    request_id: int
    incarnation: int
    code: ErrorCode = ErrorCode.UNSPECIFIED
    sentence: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class StreamDescription:
    """What the origin of a stream says of it. It does not change while the stream is under way.

    ``size`` None: not known beforehand. ``idle_timeout_s`` 0: never. ``digest`` is of all its bytes and known
    beforehand; with ``digest_follows`` it is in the last chunk instead. ``source_stamp`` and ``digest`` show to a
    target that has a part already whether the source is still the same. ``no_reply``: of a request that wants none.
    ``sealed``: it is sealed between its ends. That is not said, but shown by each of its frames.
    ``traceparent``: the span that it belongs to at its sender, for whoever traces; see :func:`is_traceparent`.
    """

    kind: StreamKind
    size: int | None = None
    headers: Headers = ()
    idle_timeout_s: float = 0.0
    resume_id: str = ""
    source_stamp: bytes = b""
    digest: Digest | None = None
    digest_follows: bool = False
    reply_to: ReplyTo | None = None
    no_reply: bool = False
    traceparent: str = ""
    sealed: bool = False


def is_traceparent(text: str) -> bool:
    """Return whether a text can be a ``traceparent`` of W3C Trace Context, of whatever version, or is empty.

    It is not looked into: what its parts are is for those who trace. It is visible ASCII and of limited length, so that
    it may stand in any header and log.
    """
    return len(text) <= TRACEPARENT_BYTES and all("!" <= character <= "~" for character in text)
