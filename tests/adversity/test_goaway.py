"""A server that ends connections when they have reached an age, as load balancers make them do: nothing is lost."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator

import pytest

from streamcell import CellConfig, CoreCell, IterStream, Message, ReceivedStream, StreamCell, StreamFuture
from streamcell.transport.grpc.options import Options, server_options
from tests.kit.cells import running
from tests.kit.payloads import pattern
from tests.kit.waiting import PATIENCE_S, Box, Gate, eventually

# gRPC adds a tenth in either direction. At the end of the grace the calls of the connection are ended.
AGE_MS = 300
# Too short to move over on a busy machine, and long enough.
NO_GRACE_MS = 1
GRACE_MS = 60_000
CONFIG = CellConfig(chunk_bytes=64 * 1024, backoff_min_s=0.01, backoff_max_s=0.05, connect_timeout_s=5.0)
CONNECTIONS = 4


def short_lived(grace_ms: int) -> Options:
    return (
        *server_options(),
        ("grpc.max_connection_age_ms", AGE_MS),
        ("grpc.max_connection_age_grace_ms", grace_ms),
    )


@pytest.mark.parametrize("upwards", [True, False])
@pytest.mark.parametrize("grace_ms", [NO_GRACE_MS, GRACE_MS])
def test_connections_that_are_told_to_go_away(monkeypatch: pytest.MonkeyPatch, upwards: bool, grace_ms: int) -> None:
    monkeypatch.setattr("streamcell.transport.grpc.server.server_options", lambda: short_lived(grace_ms))
    data = pattern(3_000_000)
    digests: Box[str] = Box()
    with Gate() as gate:
        server = CoreCell("server", listen="grpc://127.0.0.1:0", config=CONFIG)
        with running(server):
            site = CoreCell("site", connect=server.listen_urls, config=CONFIG)
            origin, target = (site, server) if upwards else (server, site)

            def read(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
                digest = hashlib.sha256()
                for piece in stream.pieces():
                    digest.update(piece)
                digests.put(digest.hexdigest())

            def source() -> Iterator[bytes]:
                """Give something now and then until there were enough connections."""
                pause = threading.Event()
                for at in range(0, len(data), 30_000):
                    yield data[at : at + 30_000]
                    if at < len(data) // 2:
                        pause.wait(0.02)
                    else:
                        gate.pass_through()

            def connections() -> int:
                """Count those that the site left or lost."""
                protocol = site.stats().protocol
                return protocol.reconnects + protocol.handovers

            StreamCell(target).register_stream_cb("c", "t", read)
            with running(site):
                site.wait_connected(PATIENCE_S)
                message = Message({}, IterStream(source()))
                future = StreamCell(origin).send_stream("c", "t", target.fqcn, message)
                eventually(lambda: connections() >= CONNECTIONS)
                gate.open()
                assert future.result(PATIENCE_S) == len(data)
                if grace_ms == GRACE_MS:
                    # Everything moved over in time: the stream saw no break.
                    sent = origin.stats().protocol
                    assert (sent.bytes_retransmitted, sent.resumes) == (0, 0)
                    assert site.stats().protocol.reconnects == 0
    assert digests.get() == hashlib.sha256(data).hexdigest()
    assert digests.is_empty()
