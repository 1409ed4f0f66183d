"""Where gRPC listens: ports, names of hosts, and unix sockets."""

import errno
import logging
import os
import socket
import stat
from pathlib import Path

import pytest

from streamcell.errors import LinkError, UsageError
from streamcell.transport.base import Listener
from tests.kit.timing import scaled
from tests.shell.transport.grpc_lanes import LOOPBACK, NETWORK, listen
from tests.shell.transport.running import hear, open_pair, run, say

# Over real connections: not in the quick check.
pytestmark = pytest.mark.slow


def port_of(listener: Listener) -> int:
    return int(listener.url.rpartition(":")[2])


# --- binding -------------------------------------------------------------------------------------


def test_a_busy_port_is_named_with_host_port_and_reason() -> None:
    async def scenario() -> None:
        listener = await listen(LOOPBACK)
        port = port_of(listener)
        for host in ("127.0.0.1", "localhost"):
            with pytest.raises(LinkError) as caught:
                await listen(f"grpc://{host}:{port}")
            assert "127.0.0.1" in str(caught.value)
            assert str(port) in str(caught.value)
            assert os.strerror(errno.EADDRINUSE) in str(caught.value)
        await listener.close()

    run(scenario())


def test_a_failed_listener_lets_go_of_what_it_had_bound() -> None:
    async def scenario() -> None:
        with socket.socket() as busy, socket.socket() as second:
            busy.bind(("127.0.0.1", 0))
            busy.listen()
            port = busy.getsockname()[1]
            with pytest.raises(LinkError):
                await listen(f"grpc://localhost:{port}")
            busy.close()
            second.bind(("127.0.0.1", port))

    run(scenario())


@pytest.mark.parametrize("url", ["grpc://192.0.2.1:0", "grpc://no-such-host.invalid:1"])
def test_an_address_of_another_machine_cannot_be_used(url: str) -> None:
    async def scenario() -> None:
        with pytest.raises(LinkError, match="cannot listen at"):
            await listen(url, insecure=True)

    run(scenario())


def test_localhost_listens_on_the_loopback_addresses_that_there_are() -> None:
    async def scenario() -> None:
        listener = await listen("grpc://localhost:0")
        assert listener.url.startswith("grpc://localhost:")
        lane = await NETWORK.dial(f"grpc://127.0.0.1:{port_of(listener)}", scaled(3))
        await lane.close()
        await listener.close()

    run(scenario())


def test_plaintext_beyond_loopback_must_be_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        with pytest.raises(UsageError, match="insecure=True"):
            await listen("grpc://0.0.0.0:0")
        assert not caplog.records
        listener = await listen("grpc://0.0.0.0:0", insecure=True)
        await listener.close()

    run(scenario())
    [warning] = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert warning.name == "streamcell.transport"
    assert "without encryption" in warning.getMessage()


def test_a_listener_with_tls_needs_certificates() -> None:
    async def scenario() -> None:
        with pytest.raises(UsageError, match="needs a certificate"):
            await listen("grpcs://127.0.0.1:0")
        with pytest.raises(UsageError, match="for those who dial"):
            await listen("grpcs://hub@127.0.0.1:0")

    run(scenario())


def test_port_0_cannot_be_dialled_nor_can_memory() -> None:
    async def scenario() -> None:
        with pytest.raises(UsageError, match="port 0"):
            await NETWORK.dial(LOOPBACK, 1)
        with pytest.raises(UsageError, match="not on a network"):
            await NETWORK.dial("memory://hub", 1)

    run(scenario())


# --- unix sockets --------------------------------------------------------------------------------


def test_a_unix_socket_is_for_its_owner_only_and_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "cell"

    def check() -> None:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert list(tmp_path.iterdir()) == [path]

    async def scenario() -> None:
        listener = await listen(f"unix://{path}")
        check()
        await listener.close()

    run(scenario())
    assert list(tmp_path.iterdir()) == []


def test_a_unix_socket_may_have_an_odd_name(tmp_path: Path) -> None:
    async def scenario() -> None:
        directory = tmp_path / "a ?#b"
        directory.mkdir()
        async with await open_pair(NETWORK, f"unix://{directory}/ü c#d") as pair:
            await say(pair.dialled, b"hello")
            assert await hear(pair.arrived) == b"hello"

    run(scenario())


def test_a_socket_that_a_dead_server_left_is_replaced(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "cell"
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        async with await open_pair(NETWORK, f"unix://{path}"):
            pass

    run(scenario())


def test_a_file_that_is_not_a_socket_is_left_alone(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "cell"
        path.write_text("precious")
        with pytest.raises(LinkError, match="not a socket"):
            await listen(f"unix://{path}")
        assert path.read_text() == "precious"

    run(scenario())


def test_the_socket_of_another_server_is_not_removed(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "cell"
        first = await listen(f"unix://{path}")
        path.unlink()
        async with await open_pair(NETWORK, f"unix://{path}"):
            await first.close()
            assert path.is_socket()

    run(scenario())


def test_a_path_that_cannot_be_used_is_an_error(tmp_path: Path) -> None:
    async def scenario() -> None:
        with pytest.raises(LinkError, match="No such file"):
            await listen(f"unix://{tmp_path}/nowhere/cell")

    run(scenario())
    assert list(tmp_path.iterdir()) == []
