"""The matrix {fault} x {point} x {kind}: transfers between real cells over real gRPC, with one fault at one point.

Points are bytes that have passed through the proxy, counted in a rehearsal without a fault, so a case is the same on a
fast and on a slow machine.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import itertools
import random
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

from streamcell import CellConfig, CoreCell, IterStream, Message, ReceivedStream, StreamCell, StreamFuture
from tests.adversity.toxics import FAULTS, HARMLESS
from tests.kit.cells import running
from tests.kit.payloads import pattern
from tests.kit.proxy import Proxy, Way, proxy_to
from tests.kit.waiting import PATIENCE_S, Box

CONFIG = CellConfig(
    chunk_bytes=64 * 1024,
    ping_after_s=0.1,
    control_ping_after_s=0.2,
    suspect_after_s=0.15,
    link_down_s=3 * PATIENCE_S,
    backoff_min_s=0.02,
    backoff_max_s=0.1,
    connect_timeout_s=0.5,
    hello_timeout_s=0.5,
)
SIZE = 1_500_000
KINDS = ("stream", "blob", "request")
# Where each fault strikes: the way, and how many bytes of the rehearsal's have passed.
POINTS: dict[str, tuple[Way, Callable[[int], int]]] = {
    # The preface and settings of HTTP/2, the call's headers, the Hello: a random byte of these, in a fresh connection.
    "handshake": (Way.UP, lambda takes: 0),
    "open": (Way.UP, lambda takes: 1),
    "first chunk": (Way.UP, lambda takes: 20_000),
    "middle": (Way.UP, lambda takes: takes // 2),
    "last chunk": (Way.UP, lambda takes: takes - 30_000),
    "final ack": (Way.DOWN, lambda takes: takes - takes // 20),
    # When all is settled and the cell says Goodbye.
    "close": (Way.UP, lambda takes: 1),
}
_HANDSHAKE_BYTES = 400
# A path that says less than in the rehearsal may not get as far as its last bytes: then the fault strikes where it
# would have been in what this one said, or earlier still.
_TRIES = 10


@dataclasses.dataclass(frozen=True)
class Case:
    """One cell of the matrix."""

    fault: str
    point: str
    kind: str

    def __str__(self) -> str:
        return f"{self.fault}, {self.point}, {self.kind}"


def all_cases() -> list[Case]:
    """Return the whole matrix."""
    return [Case(*names) for names in itertools.product(FAULTS, POINTS, KINDS)]


def some_cases() -> list[Case]:
    """Return a part in which each fault meets each point once, and each kind often."""
    pairs = itertools.product(enumerate(FAULTS), enumerate(POINTS))
    return [Case(fault, point, KINDS[(row + column) % 3]) for (row, fault), (column, point) in pairs]


@dataclasses.dataclass
class Record:
    """What came of the cases so far."""

    cases: int = 0
    strikes: int = 0
    wrong: int = 0
    unsettled: int = 0
    bytes_sent: int = 0
    bytes_resent: int = 0
    recoveries_s: list[float] = dataclasses.field(default_factory=list)

    def lines(self) -> list[str]:
        """Return a summary for people."""
        if not self.cases:
            return []
        share = self.bytes_resent / max(1, self.bytes_sent)
        recoveries = self.recoveries_s or [0.0]
        return [
            f"cases {self.cases}, faults injected {self.strikes}",
            f"bytes sent {self.bytes_sent:,}, sent again {self.bytes_resent:,} ({share:.1%})",
            f"recovery: median {statistics.median(recoveries):.3f} s, worst {max(recoveries):.3f} s "
            f"({len(self.recoveries_s)} times, from a whole path to a settled transfer)",
            f"wrong deliveries {self.wrong}, unsettled futures {self.unsettled}",
        ]


class Field:
    """A server behind a proxy; a site of its own for each case."""

    def __init__(self, server: CoreCell, proxy: Proxy, seed: int) -> None:
        self.record = Record()
        self._server = server
        self._proxy = proxy
        self._random = random.Random(seed)
        self._numbers = itertools.count()
        self._takes: dict[str, dict[Way, int]] = {}
        self._arrived: Box[tuple[int, str]] = Box()
        StreamCell(server).register_stream_cb("c", "stream", self._read)
        StreamCell(server).register_blob_cb("c", "blob", self._take)
        server.register_request_cb("c", "request", self._answer)

    def run(self, case: Case) -> None:
        """Run one case, and check it."""
        takes = self._rehearse(case.kind)
        way, position = POINTS[case.point]
        size = position(takes[way])
        for _ in range(_TRIES):
            before = self._proxy.passed[way]
            if self._run_once(case, way, size):
                return
            size = max(1, min(size * 9 // 10, position(self._proxy.passed[way] - before)))
        raise AssertionError(f"{case}: the fault never struck")

    def _run_once(self, case: Case, way: Way, size: int) -> bool:
        proxy, record = self._proxy, self.record
        number = next(self._numbers)
        data = pattern(SIZE, number)
        proxy.forget_healing()
        cuts = proxy.cuts
        fault = FAULTS[case.fault]
        site = CoreCell(f"site-{number}", connect=proxy.url, config=CONFIG)
        try:
            if case.point == "handshake":
                proxy.strike(way, self._random.randrange(1, _HANDSHAKE_BYTES), fault)
            site.start()
            site.wait_connected(PATIENCE_S)
            if case.point not in ("handshake", "close"):
                proxy.strike(way, size, fault)
            self._transfer(case, site, number, data)
            settled_at = time.monotonic()
            stats = site.stats().protocol
            record.bytes_sent += stats.bytes_sent
            record.bytes_resent += stats.bytes_retransmitted
            if case.point == "close":
                proxy.strike(way, size, fault)
        finally:
            site.stop(1.0 if case.point == "close" else 0.0)
            proxy.heal()
        struck = proxy.cuts - cuts
        if struck == 0:
            return False
        record.cases += 1
        record.strikes += struck
        healed_at = proxy.healed_at
        if case.point != "close" and healed_at is not None and case.fault not in HARMLESS:
            record.recoveries_s.append(max(0.0, settled_at - healed_at))
        return True

    def _rehearse(self, kind: str) -> dict[Way, int]:
        """Return how many bytes a transfer of a kind takes each way."""
        if kind not in self._takes:
            number = next(self._numbers)
            with running(CoreCell(f"site-{number}", connect=self._proxy.url, config=CONFIG)) as site:
                site.wait_connected(PATIENCE_S)
                before = dict(self._proxy.passed)
                self._transfer(Case("none", "none", kind), site, number, pattern(SIZE, number))
                self._takes[kind] = {way: self._proxy.passed[way] - before[way] for way in Way}
        return self._takes[kind]

    def _transfer(self, case: Case, site: CoreCell, number: int, data: bytes) -> None:
        """Send ``data`` and check that it arrives once, whole, and is confirmed."""
        try:
            _SENDERS[case.kind](site, number, data)
        except TimeoutError as error:
            self.record.unsettled += 1
            raise AssertionError(f"{case}: the future did not settle") from error
        arrived = [self._arrived.get()]
        while not self._arrived.is_empty():
            arrived.append(self._arrived.get())
        # What came of a case that has failed is its own affair.
        mine = [found for name, found in arrived if name == number]
        if mine != [digest(data)]:
            self.record.wrong += 1
            raise AssertionError(f"{case}: {arrived} arrived")

    def _read(self, future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        found = hashlib.sha256()
        for piece in stream.pieces():
            found.update(piece)
        self._arrived.put((int(stream.headers["n"]), found.hexdigest()))

    def _take(self, future: StreamFuture) -> None:
        self._arrived.put((int(future.get_headers()["n"]), digest(future.result())))

    def _answer(self, request: Message) -> Message:
        self._arrived.put((int(request.headers["n"]), digest(request.payload)))
        return Message({}, bytes(request.payload)[::-1])


def digest(data: Any) -> str:
    """Return the SHA-256 of some bytes."""
    return hashlib.sha256(data).hexdigest()


def _send_stream(site: CoreCell, number: int, data: bytes) -> None:
    pieces = (data[at : at + 30_000] for at in range(0, len(data), 30_000))
    future = StreamCell(site).send_stream("c", "stream", "server", Message({"n": number}, IterStream(pieces)))
    assert future.result(PATIENCE_S) == len(data)


def _send_blob(site: CoreCell, number: int, data: bytes) -> None:
    future = StreamCell(site).send_blob("c", "blob", "server", Message({"n": number}, data))
    assert future.result(PATIENCE_S) == len(data)


def _send_request(site: CoreCell, number: int, data: bytes) -> None:
    reply = site.send_request("c", "request", "server", Message({"n": number}, data), PATIENCE_S)
    assert bytes(reply.payload) == data[::-1]


_SENDERS: dict[str, Callable[[CoreCell, int, bytes], None]] = {
    "stream": _send_stream,
    "blob": _send_blob,
    "request": _send_request,
}


@contextlib.contextmanager
def field(seed: int) -> Iterator[Field]:
    """Run a server behind a proxy."""
    server = CoreCell("server", listen="grpc://127.0.0.1:0", config=CONFIG)
    with running(server), proxy_to(server.listen_urls[0], seed) as proxy:
        yield Field(server, proxy, seed)
