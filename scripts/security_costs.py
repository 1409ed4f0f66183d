"""What TLS and sealing cost, beside the same without: ``python -m scripts.security_costs``.

All cells are in this process, so that its processor time is that of both ends. What is compared runs in turns, and a
ratio is the median of those of the rounds. Nothing leaves loopback.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import gc
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from streamcell import BytesStream, CoreCell, Message, ReceivedStream, StreamCell, StreamFuture, TLSConfig
from streamcell.protocol.wire.covered import Lives
from streamcell.security.authority import Authority, make_authority
from streamcell.security.credentials import Credentials
from streamcell.security.sealing.handshake import Initiator, Responder
from streamcell.security.sealing.session import Session

MIB = 1024 * 1024
STREAM_BYTES = 128 * MIB
ECHOES, ECHO_BYTES = 300, 1024
SESSIONS = 1_000
PATIENCE_S = 60.0
LOOPBACK = ("127.0.0.1",)


class Certificates:
    """An authority, and certificates of cells."""

    def __init__(self) -> None:
        self._now = dt.datetime.now(dt.UTC).replace(microsecond=0)
        made = make_authority("costs", self._now, 365)
        self._ca = made.certificate
        self._authority = Authority(made.certificate, made.key)

    def of(self, fqcn: str) -> TLSConfig:
        issued = self._authority.issue(fqcn, self._now, hosts=LOOPBACK, days=90)
        return TLSConfig(ca=self._ca, cert=issued.certificate, key=issued.key)


class Pair:
    """A cell that dials another one, and sends to it."""

    def __init__(self, certificates: Certificates, *, tls: bool, sealed: bool) -> None:
        self._stack = contextlib.ExitStack()
        self.sealed = sealed
        server, site = certificates.of("server"), certificates.of("site")
        url = "grpcs://127.0.0.1:0" if tls else "grpc://127.0.0.1:0"
        self.server = self._stack.enter_context(CoreCell("server", listen=url, tls=server))
        StreamCell(self.server).register_stream_cb("costs", "stream", read_all)
        self.server.register_request_cb("costs", "echo", lambda request: Message({}, bytes(request.payload)))
        self.site = self._stack.enter_context(CoreCell("site", connect=self.server.listen_urls, tls=site))
        self.site.wait_connected(PATIENCE_S)

    def stream(self) -> None:
        source = BytesStream(bytes(STREAM_BYTES))
        future = StreamCell(self.site).send_stream("costs", "stream", "server", Message({}, source), self.sealed)
        future.result(PATIENCE_S)

    def echo(self) -> None:
        for _ in range(ECHOES):
            message = Message({}, b"x" * ECHO_BYTES)
            self.site.send_request("costs", "echo", "server", message, PATIENCE_S, self.sealed)

    def close(self) -> None:
        self._stack.close()


def read_all(_future: StreamFuture, stream: ReceivedStream, _resume: bool) -> None:
    for _ in stream.pieces():
        pass


def processor_s(work: Callable[[], None]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def compare(works: Mapping[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Return the processor time of each round, in turns."""
    took: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()
    names = list(works)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            took[name].append(processor_s(works[name]))
    return took


def rate(took: Mapping[str, list[float]], name: str, beside: str) -> float:
    """Return how fast one is beside another, by processor time."""
    return round(statistics.median(b / a for a, b in zip(took[name], took[beside], strict=True)), 3)


def streams(certificates: Certificates, rounds: int) -> dict[str, float]:
    with pairs(certificates) as made:
        took = compare({name: pair.stream for name, pair in made.items()}, rounds)
        echoes = compare({name: made[name].echo for name in ("plain", "sealed")}, rounds)
    return {
        "tls_stream": rate(took, "tls", "plain"),
        "sealed_stream": rate(took, "sealed", "plain"),
        "sealed_stream_over_tls": rate(took, "sealed over tls", "plain"),
        "sealed_echo": rate(echoes, "sealed", "plain"),
        "plain_mib_s_of_processor": round(STREAM_BYTES / MIB / statistics.median(took["plain"]), 1),
    }


@contextlib.contextmanager
def pairs(certificates: Certificates) -> Iterator[dict[str, Pair]]:
    kinds = {"plain": (False, False), "tls": (True, False), "sealed": (False, True), "sealed over tls": (True, True)}
    made = {name: Pair(certificates, tls=tls, sealed=sealed) for name, (tls, sealed) in kinds.items()}
    try:
        yield made
    finally:
        for pair in made.values():
            pair.close()


def dials(certificates: Certificates, rounds: int) -> dict[str, float]:
    """Measure from the start of a cell to its Hello, with TLS beside without."""
    took: dict[str, list[float]] = {"grpc": [], "grpcs": []}
    configuration = certificates.of("hub"), certificates.of("site")
    with contextlib.ExitStack() as stack:
        hubs = {
            scheme: stack.enter_context(CoreCell("hub", listen=f"{scheme}://127.0.0.1:0", tls=configuration[0]))
            for scheme in took
        }
        for number in range(rounds + 1):
            for scheme in sorted(took, reverse=bool(number % 2)):
                cell = CoreCell("site", connect=hubs[scheme].listen_urls, tls=configuration[1])
                began = time.monotonic()
                with cell:
                    cell.wait_connected(PATIENCE_S)
                    if number:
                        took[scheme].append(time.monotonic() - began)
    plain, tls = (statistics.median(took[scheme]) * 1e3 for scheme in ("grpc", "grpcs"))
    return {"dial_plain_ms": round(plain, 1), "dial_mtls_ms": round(tls, 1), "dial_more_ms": round(tls - plain, 1)}


def first_bytes(certificates: Certificates, rounds: int) -> dict[str, float]:
    """Measure the first byte to a cell two relays away, sealed beside not sealed, and a round trip to it."""
    more, trips = [], []
    for number in range(rounds):
        with contextlib.ExitStack() as stack:
            hub = stack.enter_context(CoreCell("hub", listen="grpc://127.0.0.1:0"))
            relay = CoreCell("relay", listen="grpc://127.0.0.1:0", connect=hub.listen_urls)
            relay = stack.enter_context(relay)
            target = CoreCell("target", connect=hub.listen_urls, tls=certificates.of("target"))
            target = stack.enter_context(target)
            target.register_request_cb("costs", "echo", lambda request: Message({}, bytes(request.payload)))
            names = ("one", "other")
            cells = {
                name: stack.enter_context(CoreCell(name, connect=relay.listen_urls, tls=certificates.of(name)))
                for name in names
            }
            for cell in (relay, target, *cells.values()):
                cell.wait_connected(PATIENCE_S)
            sealed, plain = names if number % 2 else names[::-1]
            took = {}
            for name in names:
                began = time.monotonic()
                cells[name].send_request("costs", "echo", "target", Message({}, b"x"), PATIENCE_S, name == sealed)
                took[name] = time.monotonic() - began
            began = time.monotonic()
            cells[plain].send_request("costs", "echo", "target", Message({}, b"x"), PATIENCE_S)
            trips.append(time.monotonic() - began)
            more.append(took[sealed] - took[plain])
    trip_ms, more_ms = statistics.median(trips) * 1e3, statistics.median(more) * 1e3
    return {
        "first_sealed_more_ms": round(more_ms, 1),
        "round_trip_ms": round(trip_ms, 1),
        "first_sealed_beyond_two_trips_ms": round(more_ms - 2 * trip_ms, 1),
    }


def shake_hands(lives: Lives, one: Credentials, other: Credentials) -> tuple[Session, Session]:
    """Return the sessions of both sides."""
    now = dt.datetime.now(dt.UTC)
    initiator, responder = Initiator(lives, one), Responder(lives, other)
    flight = responder.feed(initiator.begin(), now)
    said = responder.feed(initiator.feed(flight.data, lives.responder_incarnation, now).data, now)
    agreed = initiator.feed(said.data, lives.responder_incarnation, now)
    if agreed.session is None or said.session is None:
        raise RuntimeError(f"there is no session: {agreed.fault or said.fault}")
    return agreed.session, said.session


def sessions(certificates: Certificates) -> dict[str, float]:
    """Measure the memory of sessions, and the processor time of the handshakes that lead to them."""
    one, other = Credentials(certificates.of("one")), Credentials(certificates.of("other"))

    def agree(number: int) -> tuple[Session, Session]:
        return shake_hands(Lives("one", 1, "other", 2, number.to_bytes(16, "big")), one, other)

    kept = [agree(number) for number in range(100)]
    gc.collect()
    before, began = resident_bytes(), time.process_time()
    kept += [agree(number) for number in range(100, 100 + SESSIONS)]
    handshake_ms = (time.process_time() - began) / SESSIONS * 1e3
    gc.collect()
    grown = resident_bytes() - before
    return {
        "handshake_both_ends_ms": round(handshake_ms, 2),
        "session_kib": round(grown / (2 * SESSIONS) / 1024, 2),
        "sessions_kept": 2 * len(kept),
    }


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m scripts.security_costs", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="of each comparison (%(default)s)")
    rounds = parser.parse_args().rounds
    certificates = Certificates()
    figures = {
        "rounds": rounds,
        **sessions(certificates),
        **dials(certificates, rounds),
        **first_bytes(certificates, rounds),
        **streams(certificates, rounds),
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
