"""Looking hosts up: what is found, in which order, and what is said when nothing is."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import pytest

from streamcell.transport.address import parse_address
from streamcell.transport.base import LaneClosed
from streamcell.transport.grpc.network import GrpcNetwork
from streamcell.transport.grpc.records import Records
from tests.kit.timing import scaled
from tests.kit.waiting import PATIENCE_S

HUB = parse_address("grpc://hub.example:8004")


class Names:
    """A name server for the system's look-up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.records: list[str] = []
        self.configured_only: list[str] | None = None
        self.asked: list[str] = []
        self.error: Exception | None = None
        self.gate: threading.Event | None = None
        monkeypatch.setattr(socket, "getaddrinfo", self._getaddrinfo)

    def _getaddrinfo(self, host: str, _port: object, *, type: int, flags: int) -> list[Any]:  # noqa: A002
        self.asked.append(host)
        if self.gate is not None:
            self.gate.wait(PATIENCE_S)
        records = self.records if self.configured_only is None or not flags else self.configured_only
        if self.error is not None or not records:
            raise self.error or socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(None, type, 6, "", (record, 0)) for record in records for _ in range(2)]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    for name in ("grpc_proxy", "https_proxy", "http_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return Names(monkeypatch)


def find(timeout_s: float = PATIENCE_S) -> tuple[str, ...]:
    return asyncio.run(Records().find(HUB, timeout_s))


def test_all_are_found_once_in_the_order_of_the_system(names: Names) -> None:
    names.records = ["2001:db8::1", "10.0.0.2", "10.0.0.1"]
    assert find() == ("2001:db8::1", "10.0.0.2", "10.0.0.1")


def test_kinds_that_this_machine_does_not_have_are_found_only_if_there_is_no_other(names: Names) -> None:
    names.records, names.configured_only = ["2001:db8::1", "10.0.0.1"], ["10.0.0.1"]
    assert find() == ("10.0.0.1",)
    names.configured_only = []
    assert find() == ("2001:db8::1", "10.0.0.1")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "was not found: Name or service not known"),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "was not found: Temporary failure"),
        (UnicodeError("label too long"), "was not found: it is no name of a host"),
    ],
)
def test_a_host_that_is_not_found_is_named(names: Names, error: Exception, sentence: str) -> None:
    names.error = error
    with pytest.raises(LaneClosed, match=f"the host of grpc://hub.example:8004 {sentence}") as closed:
        find()
    assert closed.value.refusal is None


def test_a_name_server_that_does_not_answer_is_waited_for_no_longer_than_is_allowed_and_asked_once(
    names: Names,
) -> None:
    names.records, names.gate = ["10.0.0.1"], threading.Event()

    async def scenario() -> None:
        assert names.gate is not None
        records = Records()
        for _ in range(2):
            with pytest.raises(LaneClosed, match=r"was not found within 0\.05 s .connect_timeout_s"):
                await records.find(HUB, 0.05)
        waiting = [asyncio.create_task(records.find(HUB, PATIENCE_S)) for _ in range(2)]
        await asyncio.sleep(0)
        names.gate.set()
        assert await asyncio.gather(*waiting) == [("10.0.0.1",)] * 2
        assert names.asked == ["hub.example"]
        # And anew for the next dial.
        await records.find(HUB, PATIENCE_S)
        assert names.asked == ["hub.example"] * 2

    asyncio.run(scenario())


def test_what_another_loop_waited_for_is_looked_up_again(names: Names) -> None:
    names.records, gate = ["10.0.0.1"], threading.Event()
    names.gate = gate
    records = Records()
    with pytest.raises(LaneClosed):
        asyncio.run(records.find(HUB, 0.05))
    names.gate = None
    assert asyncio.run(records.find(HUB, scaled(5))) == ("10.0.0.1",)
    gate.set()


def test_a_thread_that_cannot_be_had_is_no_end(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    names.records = ["10.0.0.1"]
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(LaneClosed, match="cannot be looked up now: can't start new thread"):
            find()
    assert find() == ("10.0.0.1",)


@pytest.mark.parametrize("url", ["grpc://127.0.0.1:1", "grpc://[::1]:1", "unix:///run/cell"])
def test_what_is_an_address_is_not_looked_up(names: Names, url: str) -> None:
    assert asyncio.run(GrpcNetwork().resolve(url, 1)) == ()
    assert names.asked == []


def test_what_is_dialled_through_a_proxy_is_looked_up_there(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "proxy.example:3128")
    monkeypatch.setattr("streamcell.transport.grpc.proxies._is_own", _never)
    assert asyncio.run(GrpcNetwork().resolve(str(HUB), 1)) == ()
    assert names.asked == []


async def _never(*_: object) -> bool:
    return False
