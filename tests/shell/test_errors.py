import concurrent.futures
import pickle

import pytest

import streamcell
from streamcell import (
    CellError,
    ErrorCode,
    Fault,
    StreamCancelled,
    StreamError,
    StreamTimeout,
    StreamUsageError,
    UsageError,
)
from streamcell.errors import SENTENCE_BYTES, error_from_wire, one_line

CLASSES = [
    value
    for name in streamcell.__all__
    if isinstance(value := getattr(streamcell, name), type) and issubclass(value, CellError)
]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_is_a_cell_error_with_a_code_and_a_sentence(kind: type[CellError]) -> None:
    error = kind("what happened")
    assert (str(error), error.sentence, error.code, error.fault) == (
        "what happened",
        "what happened",
        kind.default_code,
        Fault.UNSPECIFIED,
    )


@pytest.mark.parametrize("kind", CLASSES)
def test_errors_survive_pickling(kind: type[CellError]) -> None:
    error = pickle.loads(pickle.dumps(kind("what happened", ErrorCode.STALE, Fault.TARGET)))
    assert (type(error), str(error), error.code, error.fault) == (
        kind,
        "what happened",
        ErrorCode.STALE,
        Fault.TARGET,
    )


def test_families() -> None:
    assert issubclass(StreamCancelled, concurrent.futures.CancelledError)
    assert issubclass(UsageError, ValueError)
    assert issubclass(UsageError, TypeError)
    assert issubclass(StreamUsageError, StreamError)
    assert not issubclass(StreamTimeout, TimeoutError)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (ErrorCode.CANCELLED, StreamCancelled),
        (ErrorCode.NO_CALLBACK, streamcell.StreamRejected),
        (ErrorCode.REJECTED, streamcell.StreamRejected),
        (ErrorCode.TOO_LARGE, streamcell.BlobSizeError),
        (ErrorCode.SOURCE, StreamError),
        (ErrorCode.STOPPING, StreamError),
        (ErrorCode.REQUEST_FAILED, streamcell.RequestFailed),
    ],
)
def test_the_type_survives_the_wire(code: ErrorCode, kind: type[CellError]) -> None:
    error = error_from_wire(code, "what happened", Fault.TARGET)
    assert (type(error), error.code, error.fault) == (kind, code, Fault.TARGET)


def test_sentences_on_the_wire_are_one_short_line() -> None:
    assert one_line("two\n  lines") == "two lines"
    assert len(one_line("ä" * 10_000).encode()) <= SENTENCE_BYTES
    assert one_line("ä" * 10_000).endswith("...")
    assert one_line("bad \ud800 text") == "bad ? text"


def test_a_sentence_cannot_command_a_terminal() -> None:
    assert one_line("red \x1b[31m and\x07 bell\r\nnext line") == "red ?[31m and? bell next line"


def test_codes_and_faults_are_those_of_the_wire() -> None:
    error = StreamError("no", 17, 2)  # type: ignore[arg-type]
    assert (error.code, error.fault) == (ErrorCode.LIMIT, Fault.TARGET)
    assert StreamError(ValueError("no")).sentence == "no"  # type: ignore[arg-type]
    for code, fault, words in ((77, Fault.ORIGIN, "code .* ErrorCode, not 77"), (None, "x", "fault .* Fault, not 'x'")):
        with pytest.raises(UsageError, match=words):
            StreamError("no", code, fault)  # type: ignore[arg-type]
