"""What goes on after a restart of the sender, and sources that change."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from streamcell import BytesStream, FileStream, IterStream, StreamIntegrityError, StreamResumeError
from streamcell.testing import FaultyNetwork
from tests.kit.cells import TOPIC, Cells
from tests.kit.payloads import pattern
from tests.kit.restarting import DIGEST, READ, SIZE, SMALL, Rest, begin, make_file, restart_receiver, restart_sender
from tests.kit.transfers import failure_of
from tests.kit.waiting import PATIENCE_S


def test_call_that_waits_goes_on_with_the_same_file(cells: Cells, tmp_path: Path) -> None:
    path = make_file(tmp_path)
    site, hub, _future, part = begin(cells, FileStream(path), resume_id="name", digest="sha256")
    again = restart_sender(cells, site, hub)
    future = again.send_stream(hub, FileStream(path), resume_id="name", digest="sha256")
    part.go_on()
    assert future.result(PATIENCE_S) == SIZE
    assert part.file.getvalue() == pattern(SIZE)
    received = part.futures.get()
    assert received.result(PATIENCE_S) == SIZE
    assert received.get_stream_id() == future.get_stream_id()
    assert part.futures.is_empty()
    # What was there was not sent again.
    assert again.stats().protocol.bytes_sent <= SIZE - READ


def test_call_that_waits_goes_on_with_the_same_digest(cells: Cells) -> None:
    site, hub, _future, part = begin(cells, BytesStream(pattern(SIZE)), resume_id="name", digest=DIGEST)
    again = restart_sender(cells, site, hub)
    future = again.send_stream(hub, IterStream([pattern(SIZE)]), resume_id="name", digest=DIGEST)
    part.go_on()
    assert future.result(PATIENCE_S) == SIZE
    assert part.file.getvalue() == pattern(SIZE)
    assert part.futures.get().result(PATIENCE_S) == SIZE


def test_call_that_waits_goes_on_through_many_restarts_and_breaks(
    cells: Cells, network: FaultyNetwork, tmp_path: Path
) -> None:
    path = make_file(tmp_path)
    site, hub, future, part = begin(cells, FileStream(path), resume_id="name")
    for _ in range(3):
        site = restart_sender(cells, site, hub)
        future = site.send_stream(hub, FileStream(path), resume_id="name")
        network.cut()
    part.go_on()
    assert future.result(PATIENCE_S) == SIZE
    assert part.file.getvalue() == pattern(SIZE)


@pytest.mark.parametrize("proof", ["stamp", "digest"])
def test_call_that_waits_fails_when_the_source_is_another_one(cells: Cells, tmp_path: Path, proof: str) -> None:
    other = pattern(SIZE, seed=1)
    path = make_file(tmp_path)
    digest = DIGEST if proof == "digest" else ""
    site, hub, _future, part = begin(cells, FileStream(path), resume_id="name", digest=digest)
    rest = Rest(READ)
    hub.on_stream(rest)
    again = restart_sender(cells, site, hub)
    path.unlink()
    path = make_file(tmp_path, other)
    digest = f"sha256:{hashlib.sha256(other).hexdigest()}" if proof == "digest" else ""
    future = again.send_stream(hub, FileStream(path), resume_id="name", digest=digest)
    part.go_on()
    assert isinstance(part.ended.get(), StreamIntegrityError)
    # It is called anew, and from 0, whatever it wants.
    assert rest.calls.get() == (False, "name")
    rest.refused.get()
    start, data, _ = rest.outcomes.get()
    assert (start, data) == (0, other)
    assert future.result(PATIENCE_S) == SIZE


def test_call_that_waits_fails_without_proof(cells: Cells) -> None:
    site, hub, _future, part = begin(cells, BytesStream(pattern(SIZE)), resume_id="name")
    rest = Rest(READ, part.file)
    hub.on_stream(rest)
    again = restart_sender(cells, site, hub)
    future = again.send_stream(hub, BytesStream(pattern(SIZE)), resume_id="name")
    part.go_on()
    error = part.ended.get()
    assert isinstance(error, StreamResumeError)
    assert "neither stamp nor digest" in str(error)
    assert rest.outcomes.get() == (READ, pattern(SIZE)[READ:], False)
    assert future.result(PATIENCE_S) == SIZE


def test_stream_without_resume_id_fails_as_soon_as_its_sender_is_back(cells: Cells) -> None:
    site, hub, _future, part = begin(cells, BytesStream(pattern(SIZE)))
    part.go_on()
    restart_sender(cells, site, hub)
    assert "restarted" in str(part.ended.get())


def test_name_counts_only_for_the_same_topic(cells: Cells, tmp_path: Path) -> None:
    path = make_file(tmp_path)
    site, hub, _future, part = begin(cells, FileStream(path), resume_id="name")
    rest = Rest(0)
    hub.on_stream(rest, topic="another")
    again = restart_sender(cells, site, hub)
    assert again.send_stream(hub, FileStream(path), resume_id="name", topic="another").result(PATIENCE_S) == SIZE
    assert rest.outcomes.get() == (0, pattern(SIZE), False)
    assert part.ended.is_empty()
    again.send_stream(hub, FileStream(path), resume_id="name", topic=TOPIC)
    part.go_on()
    assert part.futures.get().result(PATIENCE_S) == SIZE


def test_with_no_call_waiting_a_new_one_may_go_on(cells: Cells, tmp_path: Path) -> None:
    path = make_file(tmp_path)
    site, hub, _future, part = begin(cells, FileStream(path), resume_id="name", digest="sha256")
    cells.kill(site)
    rest = Rest(READ, part.file)
    hub = restart_receiver(cells, hub, rest)
    again = cells.dial(hub, config=SMALL)
    future = again.send_stream(hub, FileStream(path), resume_id="name", digest="sha256")
    # This life of the sender has sent nothing that was acknowledged.
    assert rest.calls.get() == (False, "name")
    assert rest.outcomes.get() == (READ, pattern(SIZE)[READ:], True)
    assert future.result(PATIENCE_S) == SIZE
    assert again.stats().protocol.bytes_sent == SIZE - READ


# The file changes.


@pytest.mark.parametrize("change", ["time", "content", "shorter"])
def test_file_that_changes_while_it_is_sent_fails_both_sides(cells: Cells, tmp_path: Path, change: str) -> None:
    path = make_file(tmp_path)
    _site, _hub, future, part = begin(cells, FileStream(path))
    if change == "time":
        path.touch()
    elif change == "content":
        with path.open("r+b") as file:
            file.write(b"x")
    else:
        with path.open("r+b") as file:
            file.truncate(SIZE - 1)
    part.go_on()
    assert isinstance(failure_of(future), StreamIntegrityError)
    assert isinstance(part.ended.get(), StreamIntegrityError)
    assert "changed" in str(failure_of(future))
