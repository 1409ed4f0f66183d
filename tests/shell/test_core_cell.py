import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from streamcell import (
    AuthenticationError,
    CellConfig,
    CoreCell,
    LinkError,
    Message,
    StreamCell,
    StreamError,
    UsageError,
    aio,
)
from streamcell.transport.memory.network import MemoryNetwork
from tests.kit.timing import scaled


@pytest.fixture
def network() -> MemoryNetwork:
    return MemoryNetwork()


@pytest.fixture
def server(network: MemoryNetwork) -> Iterator[CoreCell]:
    with CoreCell("server", listen="memory://server", network=network) as cell:
        yield cell


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"fqcn": "no name"}, "is not a cell name"),
        ({"tls": object()}, "tls must be a streamcell.security.settings.TLSConfig, not a object"),
        ({"policy": object()}, "policy must be a streamcell.security.policy.policy.Policy, not a object"),
        ({"authenticate": object()}, "authenticate must be callable"),
        ({"config": {}}, "config must be a streamcell.config.CellConfig, not a dict"),
        ({"listen": [5]}, "listen: 5 is not an address"),
        ({"connect": [None]}, "connect: None is not an address"),
        ({"connect": "grpc://127.0.0.1:0"}, "connect: grpc://127.0.0.1:0 cannot be dialled: port 0 is for listening"),
    ],
)
def test_wrong_arguments(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        CoreCell(**{"fqcn": "site-1", **wrong})


def test_a_cell_that_has_not_started(network: MemoryNetwork) -> None:
    cell = CoreCell("site-1", connect="memory://server", network=network)
    uses: list[Callable[[], Any]] = [
        cell.wait_connected,
        lambda: cell.is_cell_connected("server"),
        cell.stats,
        lambda: cell.send_request("channel", "topic", "server", Message()),
        lambda: cell.broadcast_request("channel", "topic", ["server"], Message()),
        lambda: cell.fire_and_forget("channel", "topic", ["server"], Message()),
        lambda: StreamCell(cell).send_blob("channel", "topic", "server", Message()),
        lambda: StreamCell(cell).send_stream("channel", "topic", "server", Message(payload=b"")),
    ]
    for use in uses:
        with pytest.raises(UsageError, match=r"has not been started: call start\(\) first"):
            use()
    assert (cell.listen_urls, repr(cell)) == ([], "<CoreCell site-1 has not been started>")
    cell.stop()
    with pytest.raises(UsageError, match="make a new CoreCell"):
        cell.start()


def test_a_cell_starts_once_and_stops_as_often_as_you_like(network: MemoryNetwork) -> None:
    cell = CoreCell("server", listen="memory://server", network=network)
    cell.start()
    assert (cell.listen_urls, repr(cell)) == (["memory://server"], "<CoreCell server is running>")
    with pytest.raises(UsageError, match="is running"):
        cell.start()
    cell.stop()
    cell.stop()
    assert repr(cell) == "<CoreCell server has been stopped>"
    with pytest.raises(UsageError, match="has been stopped: make a new CoreCell"):
        StreamCell(cell).send_blob("channel", "topic", "server", Message())


def test_a_start_that_fails_undoes_everything_and_may_be_repeated(network: MemoryNetwork, server: CoreCell) -> None:
    cell = CoreCell("other", listen=["memory://other", "memory://server"], network=network)
    with pytest.raises(LinkError, match="memory://server"):
        cell.start()
    with CoreCell("third", listen="memory://other", network=network):
        pass
    server.stop()
    cell.start()
    assert cell.listen_urls == ["memory://other", "memory://server"]
    cell.stop()


def test_a_name_may_be_used_again_after_the_stop(network: MemoryNetwork, server: CoreCell) -> None:
    for _ in range(3):
        with CoreCell("site-1", connect="memory://server", network=network) as site:
            site.wait_connected(scaled(5))
            assert site.is_cell_connected("server")


def test_waiting_for_an_uplink_that_there_is_not(network: MemoryNetwork, server: CoreCell) -> None:
    with pytest.raises(UsageError, match="has no uplink"):
        server.wait_connected()
    with (
        CoreCell("site-1", connect="memory://nowhere", network=network) as site,
        pytest.raises(
            LinkError, match=r"has no link to its parent after 0\.05 s: no cell listens at memory://nowhere; check"
        ),
    ):
        site.wait_connected(0.05)


def test_the_next_address_is_tried_when_a_dial_fails(network: MemoryNetwork, server: CoreCell) -> None:
    urls = ["memory://nowhere", "memory://server"]
    with CoreCell("site-1", connect=urls, network=network) as site:
        site.wait_connected(scaled(5))


def test_connection_callbacks(network: MemoryNetwork, server: CoreCell) -> None:
    connected, disconnected = threading.Event(), threading.Event()
    seen: list[tuple[str, int, str]] = []

    def note(event: threading.Event, name: str, number: int, *, word: str) -> None:
        seen.append((name, number, word))
        event.set()

    server.set_cell_connected_cb(lambda name, *args, **kwargs: note(connected, name, *args, **kwargs), 5, word="up")
    server.set_cell_disconnected_cb(
        lambda name, *args, **kwargs: note(disconnected, name, *args, **kwargs), 6, word="down"
    )
    with CoreCell("site-1", connect="memory://server", network=network):
        assert connected.wait(scaled(5))
    assert disconnected.wait(scaled(5))
    assert seen == [("site-1", 5, "up"), ("site-1", 6, "down")]


def test_nothing_is_sealed_without_certificates(server: CoreCell) -> None:
    with pytest.raises(AuthenticationError, match="no certificate"):
        server.send_request("channel", "topic", "site-1", Message(), secure=True)
    future = StreamCell(server).send_blob("channel", "topic", "site-1", Message(), secure=True)
    with pytest.raises(AuthenticationError, match="no certificate"):
        future.result(0)
    outcomes = server.fire_and_forget("channel", "topic", ["site-1"], Message(), secure=True)
    assert isinstance(outcomes["site-1"], AuthenticationError)


@pytest.mark.parametrize("callback", [None, 5, "name"])
def test_callbacks_can_be_called(server: CoreCell, callback: Any) -> None:
    streams = StreamCell(server)
    registrations: list[Callable[[], Any]] = [
        lambda: server.register_request_cb("channel", "topic", callback),
        lambda: server.set_cell_connected_cb(callback),
        lambda: server.set_cell_disconnected_cb(callback),
        lambda: streams.register_stream_cb("channel", "topic", callback),
        lambda: streams.register_blob_cb("channel", "topic", callback),
    ]
    for register in registrations:
        with pytest.raises(UsageError, match="must be callable"):
            register()


def test_stopping_settles_everything(network: MemoryNetwork, server: CoreCell) -> None:
    config = CellConfig(stop_grace_s=0)
    site = CoreCell("site-1", connect="memory://server", network=network, config=config)
    site.start()
    future = StreamCell(site).send_blob("channel", "topic", "nobody", Message())
    site.stop()
    with pytest.raises(StreamError, match="stop"):
        future.result(0)


def test_stopping_lets_open_sends_settle(network: MemoryNetwork, server: CoreCell) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def read_slowly(_future: object, stream: Any, _resume: bool) -> None:
        entered.set()
        go_on.wait(scaled(5))
        stream.read()

    StreamCell(server).register_stream_cb("channel", "topic", read_slowly)
    site = CoreCell("site-1", connect="memory://server", network=network)
    site.start()
    site.wait_connected(scaled(5))
    future = StreamCell(site).send_stream("channel", "topic", "server", Message(payload=b"abc"))
    assert entered.wait(scaled(5))
    stopping = threading.Thread(target=site.stop, args=(scaled(5),))
    stopping.start()
    go_on.set()
    assert future.result(scaled(5)) == 3
    stopping.join()


def test_a_snapshot_names_links_and_threads(network: MemoryNetwork, server: CoreCell) -> None:
    with CoreCell("site-1", connect="memory://server", network=network) as site:
        site.wait_connected(scaled(5))
        stats = site.stats()
        assert [link.fqcn for link in stats.protocol.links] == ["server"]
        kinds = ["stream", "into", "blob", "request", "source", "digest"]
        assert [pool.name for pool in stats.pools] == [f"site-1-{kind}" for kind in kinds]
        assert (stats.callbacks_failed, stats.blobs_failed, stats.done_callbacks_waiting) == (0, 0, 0)


def test_arguments_of_the_wrong_type() -> None:
    wrong_ones: list[dict[str, Any]] = [{"network": 1}, {"network": object()}, {"config": {}}]
    for wrong in wrong_ones:
        with pytest.raises(UsageError, match=next(iter(wrong))):
            CoreCell("site", **wrong)
    for cell in (None, "site", aio.CoreCell("site")):
        with pytest.raises(UsageError, match=r"must be a streamcell\.core_cell\.CoreCell, not a "):
            StreamCell(cell)  # type: ignore[arg-type]
    with pytest.raises(
        UsageError, match=r"must be a streamcell\.aio\.core_cell\.CoreCell, not a streamcell\.core_cell"
    ):
        aio.StreamCell(CoreCell("site"))  # type: ignore[arg-type]
