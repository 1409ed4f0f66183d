"""A host with several records is all of them, looked up anew at each dial. Cases 2.3 and 2.4.

What is at them, and what the name server says, changes.
"""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from streamcell import CoreCell, LinkError
from tests.kit import answers
from tests.kit.cells import QUICK, running
from tests.kit.proxy import Answer, Proxy
from tests.kit.timing import scaled
from tests.kit.waiting import PATIENCE_S, eventually

HOST = "hub.example"
FIRST, SECOND = "127.0.0.1", "::1"
CONFIG = dataclasses.replace(QUICK, connect_timeout_s=scaled(0.5))
# In the order in which they are dialled first.
Records = list[str]


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> Records:
    """What the name server says of the host."""
    for name in ("grpc_proxy", "https_proxy", "http_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    found: Records = [FIRST, SECOND]
    look_up: Callable[..., list[Any]] = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *arguments: Any, **options: Any) -> list[Any]:
        if host != HOST:
            return look_up(host, port, *arguments, **options)
        if not found:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [look_up(record, port, *arguments, type=socket.SOCK_STREAM)[0] for record in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return found


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """What is at the first record: it decides about the port."""
    with Proxy("grpc://127.0.0.1:1") as running_proxy:
        yield running_proxy


def port_of(proxy: Proxy) -> str:
    return proxy.url.rpartition(":")[2]


def url_of(proxy: Proxy) -> str:
    return f"grpc://{HOST}:{port_of(proxy)}"


def hub_at_second(proxy: Proxy, name: str = "hub") -> CoreCell:
    return CoreCell(name, listen=f"grpc://[{SECOND}]:{port_of(proxy)}", config=QUICK)


ANSWERS: dict[str, Answer] = {
    **{f"no {name}": silence for name, silence in answers.SILENCES.items()},
    "full": answers.grpc_status(grpc.StatusCode.RESOURCE_EXHAUSTED),
    "no cell": answers.http_status(404),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_case_2_3_one_record_does_not_hide_the_others(proxy: Proxy, records: Records, answer: Answer) -> None:
    proxy.answer(answer)
    with running(hub_at_second(proxy)), running(CoreCell("site", connect=url_of(proxy), config=CONFIG)) as site:
        site.wait_connected(PATIENCE_S)
        assert site.is_cell_connected("hub")
        assert proxy.connections >= 1


def test_case_2_3_an_error_names_the_host_and_the_record(records: Records) -> None:
    with (
        running(CoreCell("site", connect=f"grpc://{HOST}:1", config=CONFIG)) as site,
        pytest.raises(LinkError, match=rf"grpc://{HOST}:1 \((127\.0\.0\.1|::1)\): .*refused"),
    ):
        site.wait_connected(scaled(1))


def test_case_2_3_a_record_that_comes_later_is_dialled_and_one_that_goes_is_not(proxy: Proxy, records: Records) -> None:
    records[:] = [FIRST]
    proxy.answer(answers.silent_tcp)
    with running(hub_at_second(proxy)), running(CoreCell("site", connect=url_of(proxy), config=CONFIG)) as site:
        eventually(lambda: proxy.connections == 1)
        records[:] = [SECOND]
        site.wait_connected(PATIENCE_S)
        dialled = proxy.connections
        records[:] = [SECOND, FIRST]
        assert site.is_cell_connected("hub")
        assert proxy.connections == dialled


def test_case_2_3_a_host_that_is_not_known_is_named_and_looked_up_again(proxy: Proxy, records: Records) -> None:
    del records[:]
    with running(hub_at_second(proxy)), running(CoreCell("site", connect=url_of(proxy), config=CONFIG)) as site:
        with pytest.raises(LinkError, match=f"the host of {url_of(proxy)} was not found: Temporary failure in name"):
            site.wait_connected(scaled(0.5))
        records[:] = [SECOND]
        site.wait_connected(PATIENCE_S)


def test_case_2_3_a_name_server_that_is_down_is_no_end_for_who_knows_the_way(proxy: Proxy, records: Records) -> None:
    records[:] = [SECOND]
    with running(CoreCell("site", connect=url_of(proxy), config=CONFIG)) as site:
        for _ in range(2):
            with running(hub_at_second(proxy)):
                eventually(lambda: site.is_cell_connected("hub"))
            del records[:]


def test_case_2_3_who_refuses_at_one_record_while_nobody_is_at_the_other_is_told_at_once(
    proxy: Proxy, records: Records
) -> None:
    proxy.answer(answers.http_status(404))
    for order in ([FIRST, SECOND], [SECOND, FIRST]):
        records[:] = order
        with (
            running(CoreCell("site", connect=url_of(proxy), config=CONFIG)) as site,
            pytest.raises(LinkError, match="HTTP status 404"),
        ):
            site.wait_connected()


def test_case_2_4_each_cell_takes_the_addresses_in_an_order_of_its_own() -> None:
    config = dataclasses.replace(QUICK, connect_in_order=False)
    with (
        running(CoreCell("hub-a", listen="grpc://127.0.0.1:0")) as first,
        running(CoreCell("hub-b", listen="grpc://127.0.0.1:0")) as second,
    ):
        urls = [*first.listen_urls, *second.listen_urls]

        def parent_of(number: int, in_order: bool) -> str:
            settings = dataclasses.replace(config, connect_in_order=in_order)
            with running(CoreCell(f"site-{number}", connect=urls, config=settings)) as site:
                site.wait_connected(PATIENCE_S)
                return "hub-a" if site.is_cell_connected("hub-a") else "hub-b"

        # Once in a million times all would have the same.
        assert {parent_of(number, False) for number in range(20)} == {"hub-a", "hub-b"}
        assert {parent_of(number, True) for number in range(3)} == {"hub-a"}
