"""Errors: the classes that an application catches, their codes, and that they are the same at the other end."""

from __future__ import annotations

import concurrent.futures
import copy
import pickle
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import streamcell
from streamcell import (
    CellError,
    ErrorCode,
    Fault,
    IterStream,
    Message,
    ReceivedStream,
    StreamCancelled,
    StreamError,
    StreamFuture,
    StreamIntegrityError,
    StreamRejected,
    StreamUsageError,
    UsageError,
)
from tests.kit.cells import Carrier, Pair
from tests.kit.waiting import PATIENCE_S, Box

# Name: what it is a kind of, and its code.
CLASSES: dict[str, tuple[tuple[type[BaseException], ...], ErrorCode]] = {
    "CellError": ((Exception,), ErrorCode.INTERNAL),
    "StreamError": ((CellError,), ErrorCode.INTERNAL),
    "StreamTargetUnreachable": ((StreamError,), ErrorCode.UNREACHABLE),
    "StreamCancelled": ((StreamError, concurrent.futures.CancelledError), ErrorCode.CANCELLED),
    "StreamTimeout": ((StreamError,), ErrorCode.TIMEOUT),
    "BlobSizeError": ((StreamError,), ErrorCode.TOO_LARGE),
    "StreamRejected": ((StreamError,), ErrorCode.REJECTED),
    "StreamIntegrityError": ((StreamError,), ErrorCode.INTEGRITY),
    "StreamResumeError": ((StreamError,), ErrorCode.RESUME),
    "StreamOutcomeUnknown": ((StreamError,), ErrorCode.OUTCOME_UNKNOWN),
    "UsageError": ((CellError, ValueError, TypeError), ErrorCode.USAGE),
    "StreamUsageError": ((UsageError, StreamError, ValueError, TypeError), ErrorCode.USAGE),
    "LinkError": ((CellError,), ErrorCode.UNREACHABLE),
    "NameInUse": ((streamcell.LinkError,), ErrorCode.NAME_IN_USE),
    "AuthenticationError": ((CellError,), ErrorCode.AUTHENTICATION),
    "ProtocolError": ((CellError,), ErrorCode.PROTOCOL),
    "RequestTimeout": ((CellError,), ErrorCode.TIMEOUT),
    "RequestFailed": ((CellError,), ErrorCode.REQUEST_FAILED),
}


def error_class(name: str) -> type[CellError]:
    found: type[CellError] = getattr(streamcell, name)
    return found


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_hierarchy_and_code(name: str) -> None:
    bases, code = CLASSES[name]
    error = error_class(name)("what happened")
    assert isinstance(error, bases)
    assert (error.code, error.fault, error.sentence, str(error)) == (code, Fault.UNSPECIFIED, *["what happened"] * 2)


def test_all_exported_errors_are_in_the_table() -> None:
    exported = {name for name in streamcell.__all__ if isinstance(getattr(streamcell, name), type)}
    assert {name for name in exported if issubclass(getattr(streamcell, name), BaseException)} == set(CLASSES)


@pytest.mark.parametrize("name", ["StreamTimeout", "RequestTimeout"])
def test_a_failed_transfer_is_not_a_timeout_of_waiting(name: str) -> None:
    assert not issubclass(error_class(name), TimeoutError)


@pytest.mark.parametrize("name", sorted(CLASSES))
@pytest.mark.parametrize("duplicate", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy])
def test_copies_and_pickles_keep_everything(name: str, duplicate: Callable[[CellError], CellError]) -> None:
    error = error_class(name)("what happened", ErrorCode.STALE, Fault.NETWORK)
    same = duplicate(error)
    assert type(same) is type(error)
    assert (same.code, same.fault, same.sentence) == (ErrorCode.STALE, Fault.NETWORK, "what happened")


def test_names_of_codes_are_those_of_the_wire() -> None:
    assert [(code.name, code.value) for code in (ErrorCode.UNSPECIFIED, ErrorCode.REQUEST_FAILED)] == [
        ("UNSPECIFIED", 0),
        ("REQUEST_FAILED", 20),
    ]
    assert [code.value for code in ErrorCode] == list(range(len(ErrorCode)))


# --- the type survives the wire: (what the receiver does, what the sender's future fails with)


def reader_raises(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
    raise KeyError("no such model")


class Mute(Exception):
    """An error that raises when it is asked for its text."""

    def __str__(self) -> str:
        raise SystemExit(1)


class Bare(StreamRejected):
    """A refusal whose class forgets what a refusal has."""

    def __init__(self) -> None:
        pass


def reader_raises_what_cannot_be_told(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
    raise Mute


def reader_raises_what_has_no_code(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
    raise Bare


def reader_raises_what_is_no_unicode(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
    raise FileNotFoundError("caf\udce9.txt")


def reader_refuses_what_is_no_unicode(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
    raise StreamRejected("no caf\udce9.txt here")


def reader_refuses_with_nonsense(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
    raise StreamRejected("no", code=77, fault="x")  # type: ignore[arg-type]


def reader_closes(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
    stream.read(1)
    stream.close()


def reader_cancels(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
    stream.read(1)
    future.cancel()


@pytest.mark.parametrize(
    ("callback", "error", "code", "words"),
    [
        (reader_raises, StreamRejected, ErrorCode.REJECTED, ["KeyError", "no such model", "server"]),
        (reader_raises_what_cannot_be_told, StreamRejected, ErrorCode.REJECTED, ["raised Mute", "server"]),
        (reader_raises_what_has_no_code, StreamRejected, ErrorCode.REJECTED, ["raised Bare", "server"]),
        (reader_raises_what_is_no_unicode, StreamRejected, ErrorCode.REJECTED, ["caf?.txt"]),
        (reader_refuses_what_is_no_unicode, StreamRejected, ErrorCode.REJECTED, ["no caf?.txt here"]),
        (reader_refuses_with_nonsense, StreamRejected, ErrorCode.REJECTED, ["UsageError", "ErrorCode", "77"]),
        (reader_closes, StreamCancelled, ErrorCode.CANCELLED, ["server"]),
        (reader_cancels, StreamCancelled, ErrorCode.CANCELLED, ["server"]),
    ],
)
def test_what_the_reader_does_reaches_the_sender(
    pair: Pair, callback: Callable[..., None], error: type[CellError], code: ErrorCode, words: list[str]
) -> None:
    pair.at_server.register_stream_cb("c", "t", callback)
    future = pair.at_site.send_stream("c", "t", "server", Message({}, bytes(3_000_000)))
    raised = future.exception(PATIENCE_S)
    assert type(raised) is error
    assert raised.code is code
    assert all(word in str(raised) for word in words)
    assert "\n" not in str(raised)
    assert "Traceback" not in str(raised)
    assert not future.cancelled()


def a_source_that_raises(reading: threading.Event) -> Iterator[bytes]:
    yield b"good"
    reading.wait(PATIENCE_S)
    raise OSError("the disk is gone")


def a_source_that_raises_what_cannot_be_told(reading: threading.Event) -> Iterator[bytes]:
    yield b"good"
    reading.wait(PATIENCE_S)
    raise Mute


class Changed(StreamIntegrityError):
    """An error of ours without what it has to have."""

    def __init__(self) -> None:
        pass

    def __str__(self) -> str:
        raise SystemExit(1)


def a_source_that_raises_an_error_of_ours(reading: threading.Event) -> Iterator[bytes]:
    yield b"good"
    reading.wait(PATIENCE_S)
    raise Changed


def a_source_of_text(reading: threading.Event) -> Iterator[Any]:
    yield b"good"
    reading.wait(PATIENCE_S)
    yield "text"


@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        (a_source_that_raises, StreamError, ["OSError", "the disk is gone"]),
        (a_source_of_text, StreamUsageError, ["str"]),
        (a_source_that_raises_what_cannot_be_told, StreamError, ["raised Mute"]),
        (a_source_that_raises_an_error_of_ours, StreamIntegrityError, ["raised Changed"]),
    ],
    ids=["raises", "wrong type", "raises what has no text", "raises an error of ours"],
)
def test_what_the_source_does_reaches_the_reader(
    pair: Pair,
    source: Callable[[threading.Event], Iterator[Any]],
    error: type[CellError],
    words: list[str],
) -> None:
    reading = threading.Event()
    futures: Box[StreamFuture] = Box()
    read: Box[bytes] = Box()

    def read_all(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        futures.put(future)
        read.put(stream.read(4))
        reading.set()
        with pytest.raises(error):
            stream.read(-1)

    pair.at_server.register_stream_cb("c", "t", read_all)
    sent = pair.at_site.send_stream("c", "t", "server", Message({}, IterStream(source(reading))))
    assert read.get() == b"good"
    there = futures.get().exception(PATIENCE_S)
    here = sent.exception(PATIENCE_S)
    assert isinstance(here, error)
    assert type(there) is type(here)
    assert isinstance(there, CellError)
    assert there.code is here.code
    assert all(word in str(here) and word in str(there) for word in words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("", "t", "server", Message({}, b"")), ["channel"]),
        (("c", 3, "server", Message({}, b"")), ["topic", "3"]),
        (("c", "t" * 256, "server", Message({}, b"")), ["topic", "255"]),
        (("c", "t", "no such name!", Message({}, b"")), ["no such name!", "cell name"]),
        (("c", "t", None, Message({}, b"")), ["None", "name of a cell"]),
        (("c", "t", 1.5, Message({}, b"")), ["1.5", "name of a cell"]),
        (("c", "t", [[]], Message({}, b"")), ["[]", "name of a cell"]),
        (("c", "t", "server", b"bare"), ["bytes", "Message"]),
    ],
)
def test_wrong_arguments_are_refused_at_the_call(pair: Pair, arguments: tuple[object, ...], words: list[str]) -> None:
    for send in (pair.at_site.send_blob, pair.at_site.send_stream):
        with pytest.raises(UsageError) as raised:
            send(*arguments)  # type: ignore[call-overload]
        assert isinstance(raised.value, StreamError | ValueError | TypeError)
        assert isinstance(raised.value, StreamError)
        assert all(word in str(raised.value) for word in words)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("idle_timeout", -1),
        ("idle_timeout", "3"),
        ("unreachable_timeout", float("nan")),
        ("unreachable_timeout", True),
        ("digest", "md5"),
        ("digest", "sha256:12"),
        ("resume_id", 7),
        ("resume_id", "x" * 256),
        ("resume_id", "caf\udce9.txt"),
        ("resume_id", []),
        ("digest", []),
        ("idle_timeout", float("inf")),
        ("idle_timeout", 10**400),
    ],
)
def test_wrong_options_are_refused_at_the_call(pair: Pair, option: str, value: Any) -> None:
    for send in (pair.site.send_blob, pair.site.send_stream):
        with pytest.raises(StreamUsageError, match=option):
            send("server", b"1", **{option: value})


@pytest.mark.parametrize("before", [True, False], ids=["before start", "after stop"])
def test_a_cell_that_does_not_run_says_so(carrier: Carrier, before: bool) -> None:
    cell = carrier.cell("server", listen=carrier.url)
    if not before:
        cell.start()
        cell.stop()
    with pytest.raises(UsageError, match="not been started" if before else "has been stopped"):
        streamcell.StreamCell(cell).send_blob("c", "t", "server", Message({}, b"1"))
    for call in (cell.stats, lambda: cell.send_request("c", "t", "x", Message()), lambda: cell.is_cell_connected("x")):
        with pytest.raises(UsageError, match="server"):
            call()
