"""What the environment says of proxies is honoured as far as gRPC can, for what is not on this machine."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamcell import CellConfig, CoreCell, LinkError
from streamcell.transport.address import parse_address
from streamcell.transport.grpc.proxies import find_proxy
from tests.kit import answers
from tests.kit.cells import running
from tests.kit.programs import run_command
from tests.kit.proxy import Proxy
from tests.kit.waiting import PATIENCE_S

# A name and an address that are nobody's (RFC 2606, RFC 5737).
FAR = "grpc://cell.invalid:8004"
FAR_IP = "grpc://192.0.2.7:8004"
VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy", "all_proxy", "no_proxy", "no_grpc_proxy")
QUICK = CellConfig(backoff_min_s=0.02, backoff_max_s=0.2)


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy("grpc://127.0.0.1:1") as running_proxy:
        yield running_proxy


def proxy_of(url: str) -> str:
    """Return the proxy by which an address is dialled, empty if none."""
    found = asyncio.run(find_proxy(parse_address(url), PATIENCE_S))
    return "" if found is None else found.url


@pytest.mark.parametrize(
    "variable", ["http_proxy", "HTTP_PROXY", "https_proxy", "grpc_proxy", "GRPC_PROXY", "ALL_PROXY"]
)
@pytest.mark.parametrize("scheme", ["http://", "HTTP://", ""], ids=["with a scheme", "in capitals", "without one"])
def test_case_6_7_every_spelling_leads_through_the_proxy(
    proxy: Proxy, variable: str, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, scheme + proxy.url.removeprefix("grpc://"))
    targets: list[str] = []
    with running(CoreCell("hub", listen="grpc://127.0.0.1:0")) as hub:
        proxy.answer(answers.tunnel_to(hub.listen_urls[0], targets))
        with running(CoreCell("site", connect=FAR, config=QUICK)) as site:
            site.wait_connected(PATIENCE_S)
    assert targets[0] == "cell.invalid:8004"


def own_addresses() -> list[str]:
    """Return this machine's name, and an address of it that is not the loopback's, if it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Nothing is sent: it only shows which address would be used.
            probe.connect(("192.0.2.7", 9))
            own = [str(probe.getsockname()[0])]
        except OSError:
            own = []
    return [socket.gethostname(), *own]


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost", *own_addresses()])
def test_case_6_7_this_machine_is_never_dialled_through_one(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.invalid:3128")
    assert proxy_of(f"grpc://{host}:8004") == ""
    assert proxy_of("unix:///run/cell.sock") == ""
    assert proxy_of(FAR) == "http://proxy.invalid:3128"


@pytest.mark.parametrize("variable", ["no_proxy", "NO_PROXY", "no_grpc_proxy"])
@pytest.mark.parametrize(
    ("excepted", "url", "direct"),
    [
        ("*", FAR, True),
        ("a, *", FAR_IP, True),
        ("cell.invalid", FAR, True),
        (".invalid", FAR, True),
        ("invalid", FAR, True),
        ("CELL.INVALID:8004", FAR, True),
        ("cell.invalid:80", FAR, False),
        ("ell.invalid", FAR, False),
        ("other.invalid, 192.0.2.7", FAR_IP, True),
        ("192.0.2.0/24", FAR_IP, True),
        ("192.0.2.7:8004", FAR_IP, True),
        ("192.0.3.0/24,x", FAR_IP, False),
        ("2001:db8::/32", "grpc://[2001:db8::1]:8004", True),
        ("[2001:db8::1]", "grpc://[2001:db8::1]:8004", True),
        ("", FAR, False),
    ],
)
def test_case_6_7_exceptions(
    variable: str, excepted: str, url: str, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "proxy.invalid:3128")
    monkeypatch.setenv(variable, excepted)
    assert (proxy_of(url) == "") == direct


@pytest.mark.parametrize(
    "value", ["socks5://user:secret@proxy.invalid:1080", "https://proxy.invalid:443", "http://:port"]
)
def test_case_6_7_what_grpc_cannot_use_is_said_once(
    value: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "streamcell")
    monkeypatch.setenv("https_proxy", value)
    monkeypatch.setenv("http_proxy", "proxy.invalid")
    for _ in range(3):
        assert proxy_of(FAR) == "http://proxy.invalid:3128"
    (said,) = [record.getMessage() for record in caplog.records]
    assert "https_proxy is not used" in said
    assert "secret" not in said


def test_case_6_7_an_error_names_the_proxy_that_was_in_the_way(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    host_and_port = proxy.url.removeprefix("grpc://")
    monkeypatch.setenv("http_proxy", f"http://user:secret@{host_and_port}")
    for answer in (answers.no_tunnel(403), answers.silent_tcp):
        proxy.answer(answer)
        config = CellConfig(backoff_min_s=0.02, backoff_max_s=0.2, connect_timeout_s=0.5)
        with running(CoreCell("site", connect=FAR, config=config)) as site:
            with pytest.raises(LinkError, match=f"through the proxy {host_and_port} .http_proxy.") as raised:
                site.wait_connected(1.5)
            assert "secret" not in str(raised.value)
            assert ",:" not in str(raised.value)


def test_case_6_7_a_command_tells_of_a_proxy_that_it_does_not_use(tmp_path: Path) -> None:
    def said(no_proxy: str) -> str:
        variables = {"all_proxy": "socks5://user:secret@proxy.invalid:1080", "no_proxy": no_proxy}
        return run_command(
            "ping", "hub", "-c", FAR_IP, "--wait", "0.5", cwd=tmp_path, variables=variables
        ).stderr.decode()

    warning, sentence = said("").splitlines()
    assert "all_proxy is not used" in warning
    assert "secret" not in warning
    assert "has no link to its parent" in sentence
    # Where it would not have been used anyway nothing is said of it.
    assert "all_proxy" not in said("192.0.2.0/24")
