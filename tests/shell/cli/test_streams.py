"""Standard streams that never fail, on descriptors of the test's own."""

from __future__ import annotations

import errno
import io
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamcell.cli.streams import SteadyStream, lost_output, steady_streams, write_all
from tests.kit.waiting import PATIENCE_S

SIZE = 1_000_000


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """The reading and the writing end of a pipe; the test may close either."""
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError as error:
            assert error.errno == errno.EBADF  # noqa: PT017 - closed by the test


def test_lines_arrive_as_they_are_printed(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    stream = SteadyStream(writing, "ascii")
    print("one ☃", file=stream)
    assert os.read(reading, 100) == b"one \\u2603\n"
    assert stream.lost is None
    assert (stream.fileno(), stream.isatty(), stream.was_closed) == (writing, False, False)


def test_a_reader_that_has_gone_is_remembered(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    os.close(reading)
    stream = SteadyStream(writing, "utf-8")
    for _ in range(3):
        print("line", file=stream)
    assert stream.lost is not None
    assert stream.lost.errno == errno.EPIPE


def test_a_stream_that_was_closed_takes_everything() -> None:
    stream = SteadyStream(None, "utf-8")
    print("line", file=stream)
    assert stream.lost is not None
    assert (stream.lost.errno, stream.was_closed, stream.isatty()) == (errno.EBADF, True, False)
    with pytest.raises(io.UnsupportedOperation):
        stream.fileno()


def test_a_pipe_that_does_not_block_is_waited_for(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    os.set_blocking(writing, False)
    writer = threading.Thread(target=write_all, args=(writing, bytes(SIZE)))
    writer.start()
    read = 0
    while read < SIZE:
        read += len(os.read(reading, SIZE))
    writer.join(PATIENCE_S)
    assert not writer.is_alive()


def test_streams_of_the_process_are_put_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with (tmp_path / "output").open("w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        # As Python has it where the descriptor was closed.
        monkeypatch.setattr(sys, "stderr", None)
        assert lost_output() is None
        with steady_streams():
            assert isinstance(sys.stdout, SteadyStream)
            assert isinstance(sys.stderr, SteadyStream)
            assert sys.stderr.was_closed
            assert lost_output() is None
        assert [sys.stdout, sys.stderr] == [output, None]
