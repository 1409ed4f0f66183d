"""Paths that are long or narrow: windows grow to what the path needs, and control is never behind bulk."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import threading
from collections.abc import Iterable, Iterator

import pytest

from scripts.bench.proxy import NetworkPath
from streamcell import CellConfig, Message, ReceivedStream, StreamFuture
from streamcell.stats import ReceiveStats
from tests.adversity.distance import distance
from tests.kit.cells import QUICK, Pair, grpc_carrier, running
from tests.kit.payloads import pattern
from tests.kit.waiting import PATIENCE_S, Box, Gate, eventually

KIB = 1024
MIB = 1024 * KIB
INITIAL = 256 * KIB
PIECE = bytes(256 * KIB)

FAR = NetworkPath(round_trip_s=0.1)
NARROW = NetworkPath(bits_per_s=64_000_000)


@contextlib.contextmanager
def apart(path: NetworkPath, server_config: CellConfig = QUICK) -> Iterator[Pair]:
    """Start two cells with this path between them."""
    carrier = grpc_carrier()
    with (
        running(carrier.cell("server", listen=carrier.url, config=server_config)) as server,
        distance(server.listen_urls[0], path) as url,
        running(carrier.cell("site", connect=url)) as site,
    ):
        site.wait_connected(PATIENCE_S)
        yield Pair(site, server)


@pytest.fixture
def done() -> Iterator[threading.Event]:
    """Ends the sources of a test; set at the end in any case."""
    event = threading.Event()
    yield event
    event.set()


def until(done: threading.Event) -> Iterable[bytes]:
    return itertools.takewhile(lambda _: not done.is_set(), itertools.repeat(PIECE))


def discard(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
    for _ in stream.pieces():
        pass


def receives(pair: Pair) -> tuple[ReceiveStats, ...]:
    return pair.server.stats().protocol.receives


def test_window_grows_to_its_limit_while_the_reader_keeps_up(done: threading.Event) -> None:
    with apart(FAR) as pair:
        pair.at_server.register_stream_cb("c", "t", discard)
        future = pair.at_site.send_stream("c", "t", "server", Message({}, until(done)))
        most = CellConfig().max_window_bytes
        eventually(lambda: [each.window_bytes for each in receives(pair)] == [most], "the window has grown")
        # And the sender may use it: so far it may go beyond what was read.
        eventually(lambda: any(each.credit - each.consumed > most // 2 for each in receives(pair)))
        done.set()
        assert future.result(PATIENCE_S) == future.get_progress()


def test_a_stream_begins_with_the_window_that_the_one_before_could_use() -> None:
    with apart(FAR) as pair:
        windows: Box[int] = Box()

        def note_and_discard(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
            windows.put(receives(pair)[0].window_bytes)
            discard(future, stream, resume)

        pair.at_server.register_stream_cb("c", "t", note_and_discard)
        for _ in range(2):
            pair.at_site.send_stream("c", "t", "server", Message({}, itertools.repeat(PIECE, 48))).result(PATIENCE_S)
        first, second = windows.get_all(2)
        assert first == INITIAL
        # By the time that 5 1/2 of 12 MiB were read a window of 4 MiB was used up.
        assert second >= 4 * MIB


def test_window_stays_small_where_the_reader_is_the_slow_one(done: threading.Event) -> None:
    step, steps = 64 * KIB, 12
    with apart(FAR) as pair, Gate() as gate:
        windows: Box[int] = Box()

        def read_slowly(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
            for _ in range(steps):
                # Slower than the path: each time a whole window has come that was not read yet.
                unread_from = stream.get_pos()
                eventually(lambda unread_from=unread_from: receives(pair)[0].received >= unread_from + INITIAL)  # type: ignore[misc]
                stream.read(step)
                windows.put(receives(pair)[0].window_bytes)
            gate.pass_through()

        pair.at_server.register_stream_cb("c", "t", read_slowly)
        future = pair.at_site.send_stream("c", "t", "server", Message({}, until(done)))
        # Several windows were read by then.
        assert set(windows.get_all(steps)) == {INITIAL}
        assert future.cancel()


def test_windows_stay_small_where_many_streams_share_the_budget(done: threading.Event) -> None:
    budget = 4 * MIB
    with apart(FAR, dataclasses.replace(QUICK, receive_budget_bytes=budget)) as pair:
        pair.at_server.register_stream_cb("c", "t", discard)
        futures = [pair.at_site.send_stream("c", "t", "server", Message({}, until(done))) for _ in range(16)]
        taken: list[int] = []

        def all_have_come_far() -> bool:
            streams = receives(pair)
            taken.append(sum(each.window_bytes - INITIAL for each in streams))
            return len(streams) == 16 and all(each.consumed > 8 * INITIAL for each in streams)

        eventually(all_have_come_far, "every stream goes on")
        assert max(taken) == budget
        # What one of them gives back goes to those that go on.
        for future in futures[1:]:
            assert future.cancel()
        eventually(lambda: [each.window_bytes for each in receives(pair)] == [budget + INITIAL], "the last one grows")
        done.set()
        assert futures[0].result(PATIENCE_S) == futures[0].get_progress()


@pytest.mark.parametrize("path", [FAR, NARROW], ids=["far", "narrow"])
def test_everything_arrives_whole(path: NetworkPath) -> None:
    with apart(path) as pair:
        arrived: Box[tuple[str, bytes]] = Box()
        pair.at_server.register_stream_cb("c", "t", lambda future, stream, resume: arrived.put(("s", stream.read(-1))))
        pair.at_server.register_blob_cb("c", "b", lambda future: arrived.put(("b", bytes(future.result()))))
        data = pattern(3 * MIB + 5)
        futures = [
            pair.at_site.send_stream("c", "t", "server", Message({}, data)),
            pair.at_site.send_blob("c", "b", "server", Message({}, data)),
        ]
        assert [future.result(PATIENCE_S) for future in futures] == [len(data)] * 2
        assert sorted(arrived.get_all(2)) == [("b", data), ("s", data)]


@pytest.mark.parametrize("up", [True, False], ids=["from the dialler", "from the listener"])
def test_requests_and_small_blobs_pass_the_bulk_that_is_queued_on_a_narrow_path(
    done: threading.Event, up: bool
) -> None:
    with apart(NARROW) as pair:
        here, there = (pair.site, pair.server) if up else (pair.server, pair.site)
        sender, receiver = (pair.at_site, pair.at_server) if up else (pair.at_server, pair.at_site)
        receiver.register_stream_cb("c", "t", discard)
        receiver.register_blob_cb("c", "b", lambda future: None)
        there.register_request_cb("c", "r", lambda request: Message({}, request.payload))
        # More than the path carries in the time that anything here may take.
        streams = [sender.send_stream("c", "t", there.fqcn, Message({}, until(done))) for _ in range(2)]
        queued = 2 * MIB

        def is_queued() -> bool:
            sends = here.stats().protocol.sends
            return len(sends) == 2 and sum(each.sent - each.received for each in sends) >= queued

        for number in range(10):
            eventually(is_queued, "bulk waits in front of the path")
            data = pattern(1000, number)
            assert here.send_request("c", "r", there.fqcn, Message({}, data), PATIENCE_S).payload == data
            assert sender.send_blob("c", "b", there.fqcn, Message({}, data)).result(PATIENCE_S) == len(data)
            # The other way is not held up either.
            assert not any(stream.done() for stream in streams)
        assert here.stats().protocol.reconnects == 0
        for stream in streams:
            assert stream.cancel()
