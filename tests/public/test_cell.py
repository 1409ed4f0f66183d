"""A cell's life: where it listens, whom it is connected with, and what it says of itself."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import os
import re
import socket
import stat
import threading
from pathlib import Path
from typing import Any

import grpc
import pytest

from streamcell import (
    CellError,
    CoreCell,
    LinkError,
    Message,
    StreamCell,
    StreamError,
    UsageError,
)
from streamcell.testing import FaultyNetwork, InMemoryNetwork
from tests.kit.cells import QUICK, Carrier, Pair, running
from tests.kit.waiting import PATIENCE_S, Box, Gate, eventually

# --- where it listens


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def exchange(server: CoreCell, url: str) -> None:
    """Connect with ``server`` at ``url`` and send a blob."""
    StreamCell(server).register_blob_cb("c", "t", lambda future: None)
    with running(CoreCell("site", connect=url, config=QUICK)) as site:
        site.wait_connected(PATIENCE_S)
        assert StreamCell(site).send_blob("c", "t", "server", Message({}, b"123")).result(PATIENCE_S) == 3


@pytest.mark.parametrize(
    ("url", "prefix"),
    [
        ("grpc://127.0.0.1:0", "grpc://127.0.0.1:"),
        ("grpc://localhost:0", "grpc://localhost:"),
        ("grpc://[::1]:0", "grpc://[::1]:"),
    ],
)
def test_free_ports(url: str, prefix: str) -> None:
    if "[" in url and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    cell = CoreCell("server", listen=url)
    assert cell.listen_urls == []
    with running(cell):
        (real,) = cell.listen_urls
        assert real.startswith(prefix)
        assert 0 < int(real.rpartition(":")[2]) < 65_536
        exchange(cell, real)


def test_a_unix_socket_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "cell.sock"
    umask = os.umask(0)
    try:
        with running(CoreCell("server", listen=f"unix://{path}")) as cell:
            assert cell.listen_urls == [f"unix://{path}"]
            mode = path.lstat().st_mode
            assert stat.S_ISSOCK(mode)
            assert stat.S_IMODE(mode) == 0o600
            exchange(cell, cell.listen_urls[0])
    finally:
        os.umask(umask)
    assert list(tmp_path.iterdir()) == []


def test_several_addresses(tmp_path: Path) -> None:
    urls = ["grpc://127.0.0.1:0", f"unix://{tmp_path}/s", "grpc://127.0.0.1:0"]
    with running(CoreCell("server", listen=iter(urls))) as cell:
        first, second, third = cell.listen_urls
        assert first != third
        for url in (first, second, third):
            exchange(cell, url)


def test_the_next_address_is_tried(carrier: Carrier) -> None:
    with running(carrier.cell("server", listen=carrier.url)) as server:
        nobody = carrier.nobody
        with running(carrier.cell("site", connect=[nobody, *server.listen_urls])) as site:
            site.wait_connected(PATIENCE_S)
            assert site.is_cell_connected("server")


@pytest.mark.parametrize(
    "url",
    [
        "", "127.0.0.1:80", "http://127.0.0.1:80", "grpc://", "grpc://:80", "grpc://host", "grpc://host:", "grpc://host:x",
        "grpc://host:65536", "grpc://host:80/path", "grpc://user@host:80", "grpc://::1:80", "grpc://[::1]", "grpc://[1.2.3.4]:5",
        "grpc://1.2.3:80", "grpc://[::g]:80", "unix://", "unix://relative", "unix:///dir/", "tcp://h:1", "GRPC://h:1",
    ],
)  # fmt: skip
@pytest.mark.parametrize("how", ["listen", "connect"])
def test_malformed_urls(url: str, how: str) -> None:
    with pytest.raises(UsageError, match=re.escape(repr(url))):
        CoreCell("server", **{how: url})  # type: ignore[arg-type]


@pytest.mark.parametrize("urls", [3, [3], b"grpc://h:1", ["grpc://h:1", None]])
@pytest.mark.parametrize("how", ["listen", "connect"])
def test_urls_that_are_no_strings(urls: Any, how: str) -> None:
    with pytest.raises(UsageError, match=how):
        CoreCell("server", **{how: urls})


@pytest.mark.parametrize("url", ["grpc://0.0.0.0:0", "grpc://[::]:0"])
def test_plaintext_for_other_machines_must_be_asked_for(url: str, caplog: pytest.LogCaptureFixture) -> None:
    if "[" in url and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    with pytest.raises(UsageError, match="insecure=True"):
        CoreCell("server", listen=url).start()
    with running(CoreCell("server", listen=url, insecure=True)) as cell:
        eventually(lambda: "without encryption" in caplog.text)
        host = "[::1]" if "[" in url else "127.0.0.1"
        exchange(cell, f"grpc://{host}:{cell.listen_urls[0].rpartition(':')[2]}")


@pytest.mark.parametrize(
    ("url", "warned"),
    [("grpc://192.0.2.1:8004", True), ("grpcs://192.0.2.1:8004", False), ("grpc://127.0.0.1:1", False)],
)
def test_who_dials_other_machines_in_plaintext_is_warned_once(
    url: str, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with running(CoreCell("site-1", connect=[url, "grpc://127.0.0.1:1"])) as cell:
        eventually(lambda: bool(cell.stats()))
    lines = [record.getMessage() for record in caplog.records if "without encryption" in record.getMessage()]
    assert lines == (
        [f"[cell=site-1] dialling {url} without encryption: everybody on the way can read and change it"] * warned
    )


# --- its life


def test_a_cell_lives_once(carrier: Carrier) -> None:
    cell = carrier.cell("server", listen=carrier.url)
    assert "has not been started" in repr(cell)
    cell.start()
    assert "is running" in repr(cell)
    with pytest.raises(UsageError, match="new CoreCell"):
        cell.start()
    cell.stop()
    cell.stop()
    assert "has been stopped" in repr(cell)
    with pytest.raises(UsageError, match="new CoreCell"):
        cell.start()


def test_context_manager(carrier: Carrier) -> None:
    with carrier.cell("server", listen=carrier.url) as server:
        assert server.listen_urls
        with pytest.raises(UsageError, match="new CoreCell"), server:
            pass
    assert "has been stopped" in repr(server)


def test_stop_before_start(carrier: Carrier) -> None:
    cell = carrier.cell("server", listen=carrier.url)
    cell.stop()
    with pytest.raises(UsageError, match="has been stopped"):
        cell.start()


def test_stop_in_many_threads(pair: Pair) -> None:
    threads = [threading.Thread(target=pair.site.stop) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


@pytest.mark.parametrize("grace", [-1, "1", float("nan"), True])
def test_bad_timeouts(pair: Pair, grace: Any) -> None:
    with pytest.raises(UsageError, match="grace"):
        pair.site.stop(grace)


# --- connections


def test_is_cell_connected_and_reachable(pair: Pair) -> None:
    for cell, other in ((pair.site, "server"), (pair.server, "site")):
        assert cell.is_cell_connected(other)
        assert cell.is_cell_reachable(other)
        assert not cell.is_cell_connected("nobody")
        for ask in (cell.is_cell_connected, cell.is_cell_reachable):
            with pytest.raises(UsageError, match="cell name"):
                ask("bad name!")


def test_connection_callbacks_of_the_child(carrier: Carrier) -> None:
    events: Box[str] = Box()
    server = carrier.cell("server", listen=carrier.url)
    server.start()
    site = carrier.cell("site", connect=server.listen_urls)
    site.set_cell_connected_cb(lambda name: events.put(f"{name} is there"))
    site.set_cell_disconnected_cb(lambda name: events.put(f"{name} has gone"))
    with running(site):
        assert events.get() == "server is there"
        server.stop(0)
        assert events.get() == "server has gone"
        with running(carrier.cell("server", listen=server.listen_urls)):
            site.wait_connected(PATIENCE_S)
            assert events.get() == "server is there"
            assert site.is_cell_connected("server")


def test_wait_connected_gives_up_and_the_cell_goes_on(carrier: Carrier) -> None:
    url = "memory://later" if carrier.url == "memory://" else free_url()
    with running(carrier.cell("site", connect=url)) as site:
        assert not site.is_cell_connected("server")
        with pytest.raises(LinkError, match=url) as raised:
            site.wait_connected(0.05)
        assert "site" in str(raised.value)
        with running(carrier.cell("server", listen=url)):
            site.wait_connected(PATIENCE_S)
            site.wait_connected()
            assert site.is_cell_connected("server")


def test_the_log_tells_once_of_a_parent_that_is_down(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "streamcell.link")
    network = InMemoryNetwork()

    def levels() -> list[str]:
        return [record.levelname for record in caplog.records if "no lane: " in record.getMessage()]

    with running(CoreCell("site", connect="memory://hub", network=network, config=QUICK)) as site:
        eventually(lambda: len(levels()) >= 3)
        assert levels()[:3] == ["INFO", "DEBUG", "DEBUG"]
        with running(CoreCell("hub", listen="memory://hub", network=network, config=QUICK)):
            site.wait_connected(PATIENCE_S)
            caplog.clear()
        eventually(lambda: len(levels()) >= 2)
        assert levels()[:2] == ["INFO", "DEBUG"]


def test_a_parent_that_does_not_hear_the_cells_above_is_not_called_absent() -> None:
    memory = InMemoryNetwork()
    above = FaultyNetwork(memory)
    with (
        running(CoreCell("hub", listen="memory://hub", network=memory)),
        running(CoreCell("relay", listen="memory://relay", connect="memory://hub", network=above)) as relay,
    ):
        relay.wait_connected(PATIENCE_S)
        above.stall()
        with running(CoreCell("site", connect="memory://relay", network=memory)) as site:
            eventually(lambda: "memory://relay has taken site's link" in str(connection_error(site)))
            with pytest.raises(StreamError, match=r"within 0\.1 s which cells there are: the question went up"):
                relay.cells(0.1)
            above.release()
            site.wait_connected(PATIENCE_S)


def free_url() -> str:
    """Return an address that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"grpc://127.0.0.1:{probe.getsockname()[1]}"


def test_wait_connected_only_looks(pair: Pair, carrier: Carrier) -> None:
    for _ in range(50):
        pair.site.wait_connected(0)
    with running(carrier.cell("lost", connect=carrier.nobody)) as lost:
        for _ in range(3):
            with pytest.raises(LinkError, match="has no link to its parent"):
                lost.wait_connected(0)


@pytest.mark.parametrize("timeout", [-1, "1", [], 10**400, *map(float, ("nan", "inf", "-inf"))])
def test_wait_connected_takes_a_number_of_seconds(pair: Pair, timeout: Any) -> None:
    with pytest.raises(UsageError, match="timeout must be a number of seconds"):
        pair.site.wait_connected(timeout)


def test_wait_connected_without_an_uplink(pair: Pair) -> None:
    with pytest.raises(UsageError, match="uplink"):
        pair.server.wait_connected(1)


def test_wait_connected_of_a_cell_that_is_stopped(carrier: Carrier) -> None:
    site = carrier.cell("site", connect=carrier.nobody)
    errors: Box[BaseException] = Box()

    def wait() -> None:
        try:
            site.wait_connected()
        except CellError as error:
            errors.put(error)

    with running(site):
        thread = threading.Thread(target=wait)
        thread.start()
    assert isinstance(errors.get(), CellError)
    thread.join(PATIENCE_S)


def connection_error(cell: CoreCell) -> CellError:
    with pytest.raises(LinkError) as raised:
        cell.wait_connected(0.05)
    return raised.value


def test_what_is_no_cell_refuses_for_good() -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        with running(CoreCell("site", connect=f"grpc://127.0.0.1:{port}", config=QUICK)) as site:
            error = refusal(site)
        server.stop(0).wait()
    assert isinstance(error, LinkError)
    assert "not a cell" in str(error)


def test_an_address_where_no_cell_listens_is_passed_over_for_the_next() -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as pool, running(CoreCell("hub", listen="grpc://127.0.0.1:0")) as hub:
        server = grpc.server(pool)
        urls = [f"grpc://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}", *hub.listen_urls]
        server.start()
        with running(CoreCell("site", connect=urls, config=QUICK)) as site:
            site.wait_connected(PATIENCE_S)
            assert site.is_cell_connected("hub")
            hub.stop(0)
            # Nobody is left, and one of them may come back.
            eventually(lambda: not site.is_cell_connected("hub"))
            with running(CoreCell("hub", listen=urls[1])):
                site.wait_connected(PATIENCE_S)
        server.stop(0).wait()


def test_addresses_of_which_none_leads_to_a_cell_refuse_for_good() -> None:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        servers = [grpc.server(pool) for _ in range(2)]
        urls = [f"grpc://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}" for server in servers]
        for server in servers:
            server.start()
        with running(CoreCell("site", connect=urls, config=QUICK)) as site:
            assert "not a cell" in str(refusal(site))
        for server in servers:
            server.stop(0).wait()


def test_an_address_that_cannot_be_dialled_refuses_for_good() -> None:
    url = "memory://name"
    with running(CoreCell("site", connect=url)) as site:
        assert url in str(refusal(site))
        assert site.stats().protocol.fqcn == "site"


def refusal(cell: CoreCell) -> CellError:
    """Return what waiting without end is answered with."""
    with pytest.raises(CellError) as raised:
        cell.wait_connected()
    return raised.value


# --- what it says of itself


def test_stats_are_a_snapshot(pair: Pair) -> None:
    pair.at_server.register_blob_cb("c", "t", lambda future: None)
    before = pair.site.stats()
    pair.at_site.send_blob("c", "t", "server", Message({}, bytes(100_000))).result(PATIENCE_S)
    after = pair.site.stats()
    assert (before.protocol.bytes_sent, after.protocol.bytes_sent) == (0, 100_000)
    assert (after.protocol.fqcn, after.protocol.sends_finished, after.protocol.sends) == ("site", 1, ())
    (link,) = after.protocol.links
    assert (link.fqcn, link.is_uplink) == ("server", True)
    assert link.lanes
    there = pair.server.stats().protocol
    assert (there.bytes_received, there.streams_accepted) == (100_000, 1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        after.callbacks_failed = 1  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        after.protocol.fqcn = ""  # type: ignore[misc]


def test_stats_of_what_is_under_way(pair: Pair) -> None:
    with Gate() as gate:
        pair.at_server.register_stream_cb("c", "t", lambda future, stream, resume: gate.pass_through())
        future = pair.at_site.send_stream("c", "t", "server", Message({}, bytes(3_000_000)))
        gate.wait_arrived()
        (send,) = pair.site.stats().protocol.sends
        (receive,) = pair.server.stats().protocol.receives
        assert (send.stream_id, send.target, send.channel, send.topic) == (future.get_stream_id(), "server", "c", "t")
        assert (receive.stream_id, receive.origin, receive.size_bytes) == (future.get_stream_id(), "site", 3_000_000)
        assert any(pool.running for pool in pair.server.stats().pools)
        future.cancel()
