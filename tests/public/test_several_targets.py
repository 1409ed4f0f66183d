"""One call, several targets: a dictionary of futures, and one reading of the source."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

import pytest

from streamcell import (
    AuthenticationError,
    BytesStream,
    IterStream,
    Message,
    ReceivedStream,
    StreamFuture,
    StreamRejected,
    StreamTargetUnreachable,
    UsageError,
)
from tests.kit.cells import CHANNEL, QUICK, TOPIC, Cells, Peer
from tests.kit.payloads import KIB, MIB, Counted, pattern
from tests.kit.transfers import Reader, failure_of
from tests.kit.waiting import PATIENCE_S, Box, Gate, eventually

SITES = ["site-1", "site-2", "site-3"]
# Small windows, so that a slow target is soon a window behind.
NARROW = dataclasses.replace(QUICK, max_window_bytes=512 * KIB, chunk_bytes=64 * KIB)


class Recorded(Counted, BytesStream):
    """Bytes, of which is counted what was read."""


@pytest.fixture
def hub_and_sites(cells: Cells) -> tuple[Peer, dict[str, Peer]]:
    hub = cells.listen(config=NARROW)
    return hub, {name: cells.dial(hub, name, config=NARROW) for name in SITES}


def send(hub: Peer, source: object, names: list[str] | tuple[str, ...] = tuple(SITES)) -> dict[str, StreamFuture]:
    return hub.streams.send_stream(CHANNEL, TOPIC, names, Message({"round": 1}, source))


def register_readers(sites: dict[str, Peer], gate: Gate | None = None) -> dict[str, Reader]:
    """Have every site read what it gets, the second one when the gate is open."""
    readers = {name: Reader(when=gate if name == "site-2" else None) for name in SITES}
    for name, site in sites.items():
        site.on_stream(readers[name])
    return readers


def test_a_blob_goes_to_all(hub_and_sites: tuple[Peer, dict[str, Peer]]) -> None:
    hub, sites = hub_and_sites
    arrived = Box[tuple[str, int, bytes]]()
    for name, site in sites.items():
        site.on_blob(
            lambda future, name=name: arrived.put((name, future.get_headers()["round"], bytes(future.result())))
        )
    data = pattern(3 * MIB)
    futures = hub.streams.send_blob(CHANNEL, TOPIC, SITES, Message({"round": 7}, data))
    assert list(futures) == SITES
    assert {name: future.result(PATIENCE_S) for name, future in futures.items()} == dict.fromkeys(SITES, len(data))
    assert [future.target for future in futures.values()] == SITES
    assert sorted(arrived.get() for _ in SITES) == [(name, 7, data) for name in SITES]


def test_a_stream_is_read_once_for_all_that_keep_up(hub_and_sites: tuple[Peer, dict[str, Peer]]) -> None:
    hub, sites = hub_and_sites
    readers = register_readers(sites)
    source = Recorded(pattern(300 * KIB))
    futures = send(hub, source)
    for name, future in futures.items():
        assert future.result(PATIENCE_S) == 300 * KIB
        assert readers[name].outcomes.get() == (pattern(300 * KIB), None)
    assert source.given == 300 * KIB
    assert source.closed.get() == "closed"
    assert source.closed.is_empty()


def test_one_that_does_not_read_holds_up_nobody_if_the_source_can_seek(
    hub_and_sites: tuple[Peer, dict[str, Peer]], gate: Gate
) -> None:
    hub, sites = hub_and_sites
    readers = register_readers(sites, gate)
    data = pattern(6 * MIB)
    source = Recorded(data)
    futures = send(hub, source)
    for name in ("site-1", "site-3"):
        assert futures[name].result(PATIENCE_S) == len(data)
        assert readers[name].outcomes.get() == (data, None)
    assert not futures["site-2"].done()
    gate.open()
    assert futures["site-2"].result(PATIENCE_S) == len(data)
    assert readers["site-2"].outcomes.get() == (data, None)
    assert source.given > len(data)
    assert source.closed.get() == "closed"


def test_a_source_that_cannot_seek_goes_at_the_pace_of_the_slowest(
    hub_and_sites: tuple[Peer, dict[str, Peer]], gate: Gate
) -> None:
    hub, sites = hub_and_sites
    readers = register_readers(sites, gate)
    pieces = 96
    given = itertools.count()

    def produce() -> Iterator[bytes]:
        for number in range(pieces):
            next(given)
            yield number.to_bytes(4, "big") * (16 * KIB)

    futures = send(hub, IterStream(produce()))
    eventually(lambda: futures["site-1"].get_progress() >= 512 * KIB)
    assert not futures["site-1"].done()
    gate.open()
    for name, future in futures.items():
        assert future.result(PATIENCE_S) == pieces * 64 * KIB
        content, error = readers[name].outcomes.get()
        assert error is None
        assert content == b"".join(number.to_bytes(4, "big") * (16 * KIB) for number in range(pieces))
    assert next(given) == pieces


def test_each_target_fails_and_is_cancelled_for_itself(hub_and_sites: tuple[Peer, dict[str, Peer]], gate: Gate) -> None:
    hub, sites = hub_and_sites
    reader = Reader()
    sites["site-1"].on_stream(reader)
    sites["site-3"].on_stream(Reader(when=gate))
    data = pattern(2 * MIB)
    source = Recorded(data)
    futures = hub.streams.send_stream(CHANNEL, TOPIC, [*SITES, "nobody"], Message(None, source), optional=True)
    assert isinstance(failure_of(futures["site-2"]), StreamRejected)
    assert isinstance(failure_of(futures["nobody"]), StreamTargetUnreachable)
    assert futures["site-3"].cancel()
    assert futures["site-1"].result(PATIENCE_S) == len(data)
    assert reader.outcomes.get() == (data, None)
    assert source.closed.get() == "closed"
    assert source.closed.is_empty()


def test_what_the_source_raises_fails_all(hub_and_sites: tuple[Peer, dict[str, Peer]]) -> None:
    hub, sites = hub_and_sites
    readers = register_readers(sites)

    def produce() -> Iterator[bytes]:
        yield b"something"
        raise RuntimeError("the disk is gone")

    for name, future in send(hub, produce()).items():
        assert "the disk is gone" in str(failure_of(future))
        content, error = readers[name].outcomes.get()
        assert content == b"something"
        assert "the disk is gone" in str(error)


def test_more_targets_than_threads_for_sources(cells: Cells) -> None:
    config = dataclasses.replace(NARROW, source_threads=2)
    hub = cells.listen(config=config)
    reader = Reader()
    names = [f"site-{number}" for number in range(8)]
    for name in names:
        cells.dial(hub, name, config=NARROW).on_stream(reader)
    size = 2 * MIB
    futures = send(hub, IterStream(pattern(size)[start : start + 4096] for start in range(0, size, 4096)), names)
    assert [future.result(PATIENCE_S) for future in futures.values()] == [size] * len(names)
    assert {reader.outcomes.get() for _ in names} == {(pattern(size), None)}


def test_a_name_that_is_given_twice_gets_it_once(hub_and_sites: tuple[Peer, dict[str, Peer]]) -> None:
    hub, sites = hub_and_sites
    reader = Reader()
    sites["site-1"].on_stream(reader)
    futures = send(hub, [b"once"], ["site-1", "site-1"])
    assert [future.result(PATIENCE_S) for future in futures.values()] == [4]
    assert reader.outcomes.get() == (b"once", None)
    hub.meet(sites["site-1"])
    assert reader.outcomes.is_empty()


def test_one_name_in_a_list_gives_a_dictionary_too(hub_and_sites: tuple[Peer, dict[str, Peer]]) -> None:
    hub, sites = hub_and_sites
    reader = Reader()
    sites["site-1"].on_stream(reader)
    source = Recorded(pattern(100))
    assert send(hub, source, ["site-1"])["site-1"].result(PATIENCE_S) == 100
    assert source.closed.get() == "closed"


@pytest.mark.parametrize("names", [[], ["site-1", "no such..name"], ["site-1", 7]])
def test_wrong_names_are_an_error_before_anything_is_sent(
    hub_and_sites: tuple[Peer, dict[str, Peer]], names: list[str]
) -> None:
    hub, sites = hub_and_sites
    reader = Reader()
    sites["site-1"].on_stream(reader)
    source = Recorded(b"data")
    with pytest.raises(UsageError):
        send(hub, source, names)
    hub.meet(sites["site-1"])
    assert reader.futures.is_empty()
    assert source.closed.is_empty()


def test_secure_is_refused_for_each(hub_and_sites: tuple[Peer, dict[str, Peer]]) -> None:
    hub, _ = hub_and_sites
    source = Recorded(b"data")
    for what in (source, b"data"):
        futures = hub.streams.send_stream(CHANNEL, TOPIC, SITES, Message(None, what), secure=True)
        assert [type(failure_of(future)) for future in futures.values()] == [AuthenticationError] * 3
    assert source.closed.get() == "closed"


def test_an_argument_that_there_is_not_is_named(hub_and_sites: tuple[Peer, dict[str, Peer]]) -> None:
    hub, _ = hub_and_sites
    more: dict[str, object] = {"resume": "x"}
    with pytest.raises(UsageError, match=r"'resume'.*resume_id"):
        hub.streams.send_blob(CHANNEL, TOPIC, "site-1", Message(None, b""), **more)  # type: ignore[call-overload]


def test_streams_of_all_sizes_arrive_whole(hub_and_sites: tuple[Peer, dict[str, Peer]]) -> None:
    hub, sites = hub_and_sites
    arrived = Box[bytes]()

    def read(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        arrived.put(stream.read())

    for site in sites.values():
        site.on_stream(read)
    for size in (1, 1000, 65_535, 65_537, 200_000):
        futures = send(hub, IterStream([pattern(size)[: size // 3], pattern(size)[size // 3 :]]))
        assert [future.result(PATIENCE_S) for future in futures.values()] == [size] * 3
        assert {arrived.get() for _ in SITES} == {pattern(size)}
