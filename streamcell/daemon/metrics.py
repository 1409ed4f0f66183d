"""Metrics for Prometheus, on a port of their own.

Nothing is counted here: each time somebody reads, the cell is asked for its counts.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from streamcell.core_cell import CoreCell
from streamcell.daemon.lag import LagMeter
from streamcell.daemon.settings import HostPort
from streamcell.errors import CellError, ErrorCode, LinkError
from streamcell.runtime.engine.descriptors import count_descriptors

if TYPE_CHECKING:
    from prometheus_client import Metric

    from streamcell.stats import CellStats, RunningStats


class CellCollector(Collector):
    """Turns a cell's snapshot into metrics, when they are read."""

    def __init__(self, cell: CoreCell, lag: LagMeter) -> None:
        self._cell = cell
        self._lag = lag

    def describe(self) -> list[Metric]:
        """Return nothing: the cell need not run when the collector is registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Return the metrics; none while the cell does not run."""
        try:
            stats = self._cell.stats()
        except CellError:
            return
        protocol = stats.protocol
        info = InfoMetricFamily("streamcell_cell", "The cell that these metrics are of.")
        info.add_metric((), {"fqcn": protocol.fqcn, "incarnation": str(protocol.incarnation)})
        yield info
        yield from _traffic(stats)
        yield from _streams(protocol)
        yield from _links(protocol)
        yield from _sealing(protocol)
        yield from _relays(protocol)
        yield _gauge("engine_lag_seconds", "How late the engine was when it was last asked.", self._lag.seconds)
        descriptors = count_descriptors()
        if descriptors is not None:
            yield _gauge("open_descriptors", "Files and sockets that the process has open.", descriptors.used)
            yield _gauge("most_descriptors", "Files and sockets that the process may have open.", descriptors.limit)
        yield _counter("callbacks_failed", "Callbacks that raised.", stats.callbacks_failed)


class MetricsServer:
    """The port that Prometheus reads."""

    def __init__(self, cell: CoreCell, lag: LagMeter) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(CellCollector(cell, lag))
        self._running: tuple[WSGIServer, threading.Thread] | None = None

    def start(self, address: HostPort) -> HostPort:
        """Listen; return where, with the real port.

        Raises:
            LinkError: it cannot listen there.
        """
        try:
            self._running = start_http_server(address.port, address.host, self._registry)
        except OSError as error:
            reason = error.strerror or str(error)
            raise LinkError(f"metrics cannot be served at {address}: {reason}; choose another port") from error
        except RuntimeError as error:
            raise LinkError(f"metrics cannot be served at {address} now: {error}", ErrorCode.LIMIT) from error
        return HostPort(address.host, self._running[0].server_port)

    def stop(self) -> None:
        """Stop listening."""
        if self._running is not None:
            server, thread = self._running
            server.shutdown()
            server.server_close()
            thread.join()


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"streamcell_{name}", text, value)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"streamcell_{name}", text, value)


def _traffic(stats: RunningStats) -> Iterator[Metric]:
    moved = CounterMetricFamily(
        "streamcell_payload_bytes",
        "Payload bytes: sent ones that the target has confirmed, and received ones.",
        labels=("direction", "channel"),
    )
    for (direction, channel), count in sorted(stats.traffic.payload_bytes.items()):
        moved.add_metric((direction.value, channel), count)
    yield moved
    failed = CounterMetricFamily(
        "streamcell_streams_failed", "Streams that failed, by error code.", labels=("direction", "code")
    )
    for (direction, code), count in sorted(stats.traffic.failures.items()):
        failed.add_metric((direction.value, code.name), count)
    yield failed


def _streams(protocol: CellStats) -> Iterator[Metric]:
    yield _by_direction(
        "streams_opened", "Streams of all kinds that were begun.", protocol.streams_opened, protocol.streams_accepted
    )
    yield _by_direction(
        "streams_finished", "Streams that were completed.", protocol.sends_finished, protocol.receives_finished
    )
    running = GaugeMetricFamily("streamcell_streams_running", "Streams under way.", labels=("direction",))
    running.add_metric(("sent",), len(protocol.sends))
    running.add_metric(("received",), len(protocol.receives))
    yield running
    yield _counter("resent_bytes", "Payload bytes that were sent more than once.", protocol.bytes_retransmitted)
    yield _counter("resumes", "Times that a stream went on after a break.", protocol.resumes)
    refused = "Hellos, names and attempts to send that were refused, by what was proved or by the policy."
    yield _counter("accesses_refused", refused, protocol.accesses_refused)
    yield _counter("corrupt_chunks", "Chunks that arrived with a wrong checksum.", protocol.corrupt_chunks)


def _sealing(protocol: CellStats) -> Iterator[Metric]:
    yield _gauge(
        "sealing_sessions", "Sessions with other cells, under whose keys streams are sealed.", protocol.sessions
    )
    handshakes = CounterMetricFamily(
        "streamcell_sealing_handshakes", "Handshakes for such keys that have ended.", labels=("outcome",)
    )
    handshakes.add_metric(("agreed",), protocol.handshakes_agreed)
    handshakes.add_metric(("failed",), protocol.handshakes_failed)
    yield handshakes
    unproven = "Frames about sealed streams that nothing proves, or that are not what was sealed."
    yield _counter("unproven_frames", unproven, protocol.frames_unproven)


def _links(protocol: CellStats) -> Iterator[Metric]:
    connected = [link for link in protocol.links if link.lanes]
    yield _gauge("peers", "Cells that this one is linked with now.", len(connected))
    yield _gauge("lanes", "Lanes of all links.", sum(len(link.lanes) for link in protocol.links))
    yield _counter("reconnects", "Times that a link came back.", protocol.reconnects)
    yield _counter("handovers", "Lanes left for a fresh one before their connections ended.", protocol.handovers)


def _relays(protocol: CellStats) -> Iterator[Metric]:
    yield _gauge("cells_below", "Cells that are reached over this one's children.", len(protocol.routes))
    yield _gauge("relayed_streams", "Streams between other cells that pass through now.", len(protocol.relays))
    yield _counter("relayed_bytes", "Payload bytes of streams between other cells.", protocol.bytes_relayed)
    yield _counter(
        "refused_frames",
        "Frames of neighbours that spoke for cells which they may not speak for.",
        protocol.frames_refused,
    )


def _by_direction(name: str, text: str, sent: int, received: int) -> Metric:
    family = CounterMetricFamily(f"streamcell_{name}", text, labels=("direction",))
    family.add_metric(("sent",), sent)
    family.add_metric(("received",), received)
    return family
