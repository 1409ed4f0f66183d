"""What is configured counts wherever nothing else is asked for. Case 1.8."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from streamcell import CellError, CoreCell, Message, RequestTimeout, StreamCell, StreamTargetUnreachable, aio
from streamcell.daemon.settings import load_settings
from tests.kit.cells import QUICK, Carrier, connected_pair, running
from tests.kit.fixtures import carrier
from tests.kit.waiting import PATIENCE_S, Gate

__all__ = ["carrier"]

SHORT = dataclasses.replace(QUICK, request_timeout_s=0.3)
# On a machine that is very busy the request itself may be late.
TOO_LATE = (RequestTimeout, StreamTargetUnreachable)


@pytest.fixture
def gate() -> Iterator[Gate]:
    with Gate() as gate:
        yield gate


def test_case_1_8_a_request_waits_as_long_as_is_configured(carrier: Carrier, gate: Gate) -> None:
    with connected_pair(carrier, config=SHORT) as pair, gate:
        pair.server.register_request_cb("c", "t", lambda request: gate.pass_through())
        with pytest.raises(TOO_LATE):
            pair.site.send_request("c", "t", "server", Message())
        replies = pair.site.broadcast_request("c", "t", ["server"], Message())
        assert isinstance(replies["server"], TOO_LATE)


def test_case_1_8_what_is_asked_for_counts_before(carrier: Carrier) -> None:
    with connected_pair(carrier, config=dataclasses.replace(SHORT, request_timeout_s=0.001)) as pair:
        pair.server.register_request_cb("c", "t", lambda request: request)
        for timeout in (PATIENCE_S, 0):
            assert pair.site.send_request("c", "t", "server", Message({"a": 1}), timeout).headers == {"a": 1}
            replies = pair.site.broadcast_request("c", "t", ["server"], Message({"a": 1}), timeout)
            assert not isinstance(replies["server"], CellError)


def test_case_1_8_a_coroutine_waits_as_long_as_is_configured(carrier: Carrier, gate: Gate) -> None:
    async def ask(server: CoreCell) -> None:
        site = aio.CoreCell("site", connect=server.listen_urls, network=carrier.network, config=SHORT)
        async with site:
            await site.wait_connected(PATIENCE_S)
            with pytest.raises(TOO_LATE):
                await site.send_request("c", "t", "server", Message())
            replies = await site.broadcast_request("c", "t", ["server"], Message())
            assert isinstance(replies["server"], TOO_LATE)

    server = carrier.cell("server", listen=carrier.url)
    server.register_request_cb("c", "t", lambda request: gate.pass_through())
    with running(server), gate:
        asyncio.run(ask(server))


METHODS: list[Callable[..., Any]] = [
    method
    for kind in (CoreCell, StreamCell, aio.CoreCell, aio.StreamCell)
    for name, method in inspect.getmembers(kind, inspect.isfunction)
    if not name.startswith("_")
]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: f"{method.__module__}.{method.__qualname__}")
def test_case_1_8_no_method_has_a_default_of_its_own_for_what_can_be_configured(method: Callable[..., Any]) -> None:
    configured = {"request": {"timeout"}, "stop": {"grace"}, "send_": {"idle_timeout", "unreachable_timeout"}}
    for name, parameter in inspect.signature(method).parameters.items():
        for part, names in configured.items():
            if part in method.__name__ and name in names:
                assert parameter.default is None


@pytest.mark.parametrize(
    ("said", "grace_s"),
    [("", 25.0), ("[cell]\nstop_grace_s = 7", 7.0), ("grace_s = 9\n[cell]\nstop_grace_s = 7", 9.0)],
)
def test_case_1_8_a_standing_cell_takes_the_grace_that_is_configured(tmp_path: Path, said: str, grace_s: float) -> None:
    path = tmp_path / "hub.toml"
    path.write_text('fqcn = "hub"\nlisten = ["grpc://127.0.0.1:0"]\n' + said, encoding="utf-8")
    assert load_settings(path, {}).grace_s == grace_s
    assert load_settings(path, {"grace_s": 3.0}).grace_s == 3.0
