"""What can go wrong, as exceptions with the wire's codes.

Every error carries ``code`` (the number that travels in frames), ``fault`` (who caused it) and one sentence that says
what happened, where, and what to do about it. The type survives the wire: :func:`error_from_wire` turns the code that
a peer sent into the exception class that the peer raised.
"""

from __future__ import annotations

import concurrent.futures
import enum
from typing import Any, TypeVar


class ErrorCode(enum.IntEnum):
    """The wire's error codes (``ErrorCode`` in ``cell.proto``)."""

    UNSPECIFIED = 0
    INTERNAL = 1
    PROTOCOL = 2
    USAGE = 3
    UNREACHABLE = 4
    CANCELLED = 5
    TIMEOUT = 6
    TOO_LARGE = 7
    REJECTED = 8
    NO_CALLBACK = 9
    INTEGRITY = 10
    RESUME = 11
    OUTCOME_UNKNOWN = 12
    STALE = 13
    NAME_IN_USE = 14
    AUTHENTICATION = 15
    VERSION = 16
    LIMIT = 17
    SOURCE = 18
    STOPPING = 19
    REQUEST_FAILED = 20


class Fault(enum.IntEnum):
    """Who caused an error (``Fault`` in ``cell.proto``)."""

    UNSPECIFIED = 0
    ORIGIN = 1
    TARGET = 2
    NETWORK = 3


class CellError(Exception):
    """Base of everything that streamcell raises.

    :ivar code: the wire's error code.
    :ivar fault: who caused it.
    """

    default_code = ErrorCode.INTERNAL

    def __init__(self, sentence: str, code: ErrorCode | None = None, fault: Fault = Fault.UNSPECIFIED) -> None:
        super().__init__(str(sentence))
        self.code: ErrorCode = self.default_code if code is None else _member(ErrorCode, code, "code")
        self.fault: Fault = _member(Fault, fault, "fault")

    @property
    def sentence(self) -> str:
        """What happened, where, and what to do."""
        return str(self.args[0]) if self.args else ""

    def __str__(self) -> str:
        return self.sentence

    def __reduce__(self) -> tuple[type[CellError], tuple[str, ErrorCode, Fault]]:
        return type(self), (self.sentence, self.code, self.fault)


_Enum = TypeVar("_Enum", bound=enum.IntEnum)


def _member(kind: type[_Enum], value: Any, what: str) -> _Enum:
    if isinstance(value, kind):
        return value
    try:
        return kind(value)
    except ValueError:
        raise UsageError(f"the {what} of an error must be one of {kind.__name__}, not {value!r:.100}") from None


class StreamError(CellError):
    """A stream, blob or message failed."""


class StreamTargetUnreachable(StreamError):
    """The target could not be reached in time."""

    default_code = ErrorCode.UNREACHABLE


class StreamCancelled(StreamError, concurrent.futures.CancelledError):
    """The transfer was cancelled by either side, or closed by the reader before the end."""

    default_code = ErrorCode.CANCELLED


class StreamTimeout(StreamError):
    """The other end was silent for the idle timeout. Not a ``TimeoutError``."""

    default_code = ErrorCode.TIMEOUT


class BlobSizeError(StreamError):
    """The blob is larger than the receiver's limit."""

    default_code = ErrorCode.TOO_LARGE


class StreamRejected(StreamError):
    """The receiver's callback raised, or there is no callback."""

    default_code = ErrorCode.REJECTED


class StreamIntegrityError(StreamError):
    """Declared size, checksum or digest do not agree with the bytes."""

    default_code = ErrorCode.INTEGRITY


class StreamResumeError(StreamError):
    """The stream cannot go on after a restart."""

    default_code = ErrorCode.RESUME


class StreamOutcomeUnknown(StreamError):
    """It cannot be known whether the target got it."""

    default_code = ErrorCode.OUTCOME_UNKNOWN


class UsageError(CellError, ValueError, TypeError):
    """The library was called wrongly. Nothing was done."""

    default_code = ErrorCode.USAGE


class StreamUsageError(UsageError, StreamError):
    """``send_stream`` or ``send_blob`` was called wrongly, or a source misbehaved."""

    default_code = ErrorCode.USAGE


class LinkError(CellError):
    """A link could not be made, or was refused."""

    default_code = ErrorCode.UNREACHABLE


class NameInUse(LinkError):
    """Another living cell holds the name."""

    default_code = ErrorCode.NAME_IN_USE


class AuthenticationError(CellError):
    """The peer, or this cell, could not prove who it is, or may not do what it tried."""

    default_code = ErrorCode.AUTHENTICATION


class ProtocolError(CellError):
    """The peer broke the rules of the wire."""

    default_code = ErrorCode.PROTOCOL


class RequestTimeout(CellError):
    """The target has the request and did not reply in time, or too many others to it were under way to send it."""

    default_code = ErrorCode.TIMEOUT


class RequestFailed(CellError):
    """The request's callback raised over there, or there is none."""

    default_code = ErrorCode.REQUEST_FAILED


# Codes that are not named here become a plain StreamError.
_STREAM_ERRORS: dict[ErrorCode, type[CellError]] = {
    ErrorCode.PROTOCOL: ProtocolError,
    ErrorCode.USAGE: StreamUsageError,
    ErrorCode.UNREACHABLE: StreamTargetUnreachable,
    ErrorCode.CANCELLED: StreamCancelled,
    ErrorCode.TIMEOUT: StreamTimeout,
    ErrorCode.TOO_LARGE: BlobSizeError,
    ErrorCode.REJECTED: StreamRejected,
    ErrorCode.NO_CALLBACK: StreamRejected,
    ErrorCode.INTEGRITY: StreamIntegrityError,
    ErrorCode.RESUME: StreamResumeError,
    ErrorCode.OUTCOME_UNKNOWN: StreamOutcomeUnknown,
    ErrorCode.NAME_IN_USE: NameInUse,
    ErrorCode.AUTHENTICATION: AuthenticationError,
    ErrorCode.REQUEST_FAILED: RequestFailed,
}

# The largest sentence that travels in a frame, in bytes of UTF-8: enough for two names and what to do.
SENTENCE_BYTES = 1024


def one_line(text: str) -> str:
    """Return ``text`` on one line and within :data:`SENTENCE_BYTES` bytes, as frames carry it.

    What is not printable becomes a question mark, so that no peer can send commands to the terminal that shows a log.
    """
    flat = " ".join(text.split())
    if not flat.isprintable():
        flat = "".join(character if character.isprintable() else "?" for character in flat)
    encoded = flat.encode("utf-8", "replace")
    if len(encoded) <= SENTENCE_BYTES:
        return encoded.decode("utf-8")
    return encoded[: SENTENCE_BYTES - 3].decode("utf-8", "ignore") + "..."


def error_from_wire(code: ErrorCode, sentence: str, fault: Fault = Fault.UNSPECIFIED) -> CellError:
    """Return the exception that a stream's error code stands for."""
    return _STREAM_ERRORS.get(code, StreamError)(sentence, code, fault)
