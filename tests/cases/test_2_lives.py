"""Cells that come back with a clock behind that of their earlier life, as machines do that have no battery for it."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from streamcell import BytesStream, Message, StreamCell, StreamOutcomeUnknown
from tests.kit import programs
from tests.kit.cells import Cells, Peer, grpc_carrier, running
from tests.kit.payloads import KIB, pattern
from tests.kit.restarting import DIGEST, READ, SIZE, Rest, begin, restart_receiver, restart_sender
from tests.kit.transfers import Reader
from tests.kit.waiting import PATIENCE_S, Box, Gate, eventually, wait_for

# What the clock says at the start of each further life, in seconds since that of the first: back, between, the same.
LEAPS_S = (-3600, -1800, 0)
_PARENTS = {"root": "", "relay": "root", "far": "root", "site": "relay"}


class WallClock:
    """The clock that lives are numbered by. It says what the test sets it to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead_s = 0
        begin_ns = time.time_ns()
        monkeypatch.setattr(time, "time_ns", lambda: begin_ns + self.ahead_s * 10**9)


@pytest.fixture
def wall_clock(monkeypatch: pytest.MonkeyPatch) -> WallClock:
    """The clock of this machine."""
    return WallClock(monkeypatch)


class Tree:
    """A root, a relay and a far cell below it, and a site below the relay."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self._urls: dict[str, str] = {}
        self._peers: dict[str, Peer] = {}
        self._blobs: dict[str, Box[bytes]] = {}
        self._readers: dict[str, Reader] = {}
        for name in _PARENTS:
            self._begin(name)

    def restart(self, name: str) -> None:
        """End a cell as if it had been killed, and begin its next life at the same address."""
        self._cells.kill(self._peers[name])
        self._begin(name)

    def exchange(self, name: str, other: str) -> None:
        """Send one of each kind from a cell to another."""
        here, there = self._peers[name], self._peers[other]
        data = pattern(200 * KIB)
        blob, stream = here.send_blob(there, data), here.send_stream(there, data, topic="stream")
        assert here.request(there, b"question").payload == b"question"
        assert (blob.result(PATIENCE_S), stream.result(PATIENCE_S)) == (len(data), len(data))
        assert self._blobs[other].get() == data
        assert self._readers[other].outcomes.get() == (data, None)

    def _begin(self, name: str) -> None:
        parent = self._urls.get(_PARENTS[name])
        listen = self._urls.get(name, self._cells.listen_url) if name in _PARENTS.values() else None
        peer = self._peers[name] = self._cells.make(name, listen=listen, connect=parent)
        blobs, reader = self._blobs[name], self._readers[name] = Box[bytes](), Reader()
        peer.on_blob(lambda future: blobs.put(bytes(future.result())))
        peer.on_stream(reader, topic="stream")
        peer.on_request(lambda request: request)
        peer.start()
        if listen is not None:
            self._urls[name] = peer.listen_urls[0]
        if parent is not None:
            peer.wait_connected(PATIENCE_S)


@pytest.mark.parametrize("restarted", ["root", "relay", "far", "site"])
def test_case_2_1_every_cell_with_its_clock_behind(cells: Cells, wall_clock: WallClock, restarted: str) -> None:
    tree = Tree(cells)
    tree.exchange("site", "far")
    tree.exchange("far", "site")
    for wall_clock.ahead_s in LEAPS_S:
        tree.restart(restarted)
        # A neighbour above and below, and one that is further away, in both directions.
        for pair in (("site", "relay"), ("relay", "root"), ("site", "far")):
            tree.exchange(*pair)
            tree.exchange(*reversed(pair))


@pytest.mark.parametrize("ahead_s", LEAPS_S)
def test_case_2_1_a_named_stream_goes_on_in_the_next_life_of_its_origin(
    cells: Cells, wall_clock: WallClock, ahead_s: int
) -> None:
    site, hub, _, part = begin(cells, BytesStream(pattern(SIZE)), resume_id="name", digest=DIGEST)
    wall_clock.ahead_s = ahead_s
    again = restart_sender(cells, site, hub)
    future = again.send_stream(hub, BytesStream(pattern(SIZE)), resume_id="name", digest=DIGEST)
    part.go_on()
    assert future.result(PATIENCE_S) == SIZE
    assert part.file.getvalue() == pattern(SIZE)
    assert again.stats().protocol.bytes_sent <= SIZE - READ


@pytest.mark.parametrize("ahead_s", LEAPS_S)
def test_case_2_1_a_stream_goes_on_in_the_next_life_of_its_target(
    cells: Cells, wall_clock: WallClock, ahead_s: int
) -> None:
    _, hub, future, _ = begin(cells, BytesStream(pattern(SIZE)))
    wall_clock.ahead_s = ahead_s
    rest = Rest(READ)
    restart_receiver(cells, hub, rest)
    assert future.result(PATIENCE_S) == SIZE
    assert rest.outcomes.get()[:2] == (READ, pattern(SIZE)[READ:])


def test_case_2_1_a_request_that_the_life_before_got_does_not_wait(
    cells: Cells, wall_clock: WallClock, gate: Gate
) -> None:
    hub = cells.listen()
    site, far = cells.dial(hub, "site"), cells.dial(hub, "far")
    asked = threading.Event()

    def never_answer(_request: Message) -> None:
        asked.set()
        gate.pass_through()

    cells.at_end.append(gate.open)
    far.on_request(never_answer)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(site.request, far)
        wait_for(asked)
        wall_clock.ahead_s = -3600
        cells.kill(far)
        cells.dial(hub, "far").send_blob(site, b"here again", topic="nothing")
        with pytest.raises(StreamOutcomeUnknown):
            answer.result(PATIENCE_S)


def test_case_2_1_a_line_says_that_another_life_was_heard_of(
    cells: Cells, wall_clock: WallClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "streamcell")
    hub = cells.listen()
    far = cells.dial(hub, "far")
    got = Box[bytes]()
    far.on_blob(lambda future: got.put(bytes(future.result())))
    site = cells.dial(hub, "site")
    assert site.send_blob(far, b"first").result(PATIENCE_S) == 5
    wall_clock.ahead_s = -3600
    cells.kill(site)
    site = cells.dial(hub, "site")
    for _ in range(3):
        assert site.send_blob(far, b"again").result(PATIENCE_S) == 5
    eventually(lambda: "another life of site" in caplog.text)
    assert caplog.text.count("another life of site") == 1


LIFE = """
real_ns = time.time_ns
time.time_ns = lambda: real_ns() + int({ahead_s} * 10**9)
cell = CoreCell("site-1", connect="{url}", config=QUICK)
cell.start()
cell.wait_connected(20)
future = StreamCell(cell).send_blob("case", "2.1", "server", Message({{}}, b"{word}"))
say(future.result(20))
os._exit(0)
"""


def test_case_2_1_processes_that_are_killed() -> None:
    got = Box[bytes]()
    carrier = grpc_carrier()
    with running(carrier.cell("server", listen=carrier.url)) as hub:
        StreamCell(hub).register_blob_cb("case", "2.1", lambda future: got.put(bytes(future.result())))
        for word, ahead_s in (("first", 0), ("second", -3600), ("third", -1800)):
            done = programs.run_script(LIFE.format(ahead_s=ahead_s, url=hub.listen_urls[0], word=word))
            assert (done.stdout.strip(), done.stderr) == (str(len(word)), "")
            assert got.get() == word.encode()
