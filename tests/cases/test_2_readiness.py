"""Readiness that means something: not before the parent has accepted the cell's name."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import grpc
import pytest
from grpc_health.v1 import health_pb2

from streamcell import CellConfig, CoreCell
from streamcell.cli.app import run
from streamcell.daemon import standalone
from streamcell.daemon.inbox import LogWatcher
from streamcell.daemon.settings import ServeSettings
from streamcell.daemon.standalone import StandaloneCell
from streamcell.errors import UsageError
from tests.kit.cells import QUICK, running
from tests.kit.waiting import PATIENCE_S, eventually

SERVICE = "streamcell.v1.CellService"
SERVING, NOT_SERVING = "SERVING", "NOT_SERVING"


@pytest.fixture
def hub() -> Iterator[CoreCell]:
    with running(CoreCell("hub", listen="grpc://127.0.0.1:0", config=QUICK)) as cell:
        yield cell


def settings(url: str, config: CellConfig = QUICK, *, require_uplink: bool = False) -> ServeSettings:
    return ServeSettings(
        fqcn="office",
        listen=("grpc://127.0.0.1:0",),
        connect=(url,),
        config=config,
        grace_s=0,
        require_uplink=require_uplink,
    )


def health(cell: CoreCell) -> list[str]:
    """Return what a cell says of its life, and of its readiness."""
    with grpc.insecure_channel(str(urlsplit(cell.listen_urls[0]).netloc)) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        answers = [check(health_pb2.HealthCheckRequest(service=name), timeout=PATIENCE_S) for name in ("", SERVICE)]
    return [str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)) for answer in answers]


def test_case_2_6_a_name_that_is_taken_is_not_ready_until_it_is_free(hub: CoreCell) -> None:
    holder = CoreCell("office", connect=hub.listen_urls, config=QUICK)
    with running(holder), StandaloneCell(settings(hub.listen_urls[0]), LogWatcher()) as office:
        holder.wait_connected(PATIENCE_S)
        office.start()
        assert health(office.cell) == [SERVING, NOT_SERVING]
        holder.stop(0)
        eventually(lambda: health(office.cell) == [SERVING, SERVING])


def test_case_2_6_a_parent_that_goes_takes_readiness_with_it() -> None:
    first = CoreCell("hub", listen="grpc://127.0.0.1:0", config=QUICK)
    with running(first):
        url = first.listen_urls[0]
        with StandaloneCell(settings(url), LogWatcher()) as office:
            office.start()
            eventually(lambda: health(office.cell) == [SERVING, SERVING])
            first.stop(0)
            eventually(lambda: health(office.cell) == [SERVING, NOT_SERVING])
            with running(CoreCell("hub", listen=url, config=QUICK)):
                eventually(lambda: health(office.cell) == [SERVING, SERVING])


def test_case_2_6_a_cell_without_a_parent_is_ready() -> None:
    root = ServeSettings(fqcn="root", listen=("grpc://127.0.0.1:0",))
    with StandaloneCell(root, LogWatcher()) as hub:
        hub.start()
        assert health(hub.cell) == [SERVING, SERVING]


@pytest.mark.parametrize("why", ["the name is taken", "nobody is there", "the parent goes"])
def test_case_2_6_a_cell_that_requires_its_parent_ends_without(
    hub: CoreCell, why: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(standalone, "UPLINK_AWAY_S", 0.5)
    name = "hub" if why == "the name is taken" else "office"
    url = "grpc://127.0.0.1:1" if why == "nobody is there" else hub.listen_urls[0]
    going = threading.Thread(target=stop_when_linked if why == "the parent goes" else str, args=(hub,))
    going.start()
    code = run(["serve", "--fqcn", name, "--connect", url, "--require-uplink"])
    said = capsys.readouterr()
    assert code == 3
    assert f"{name} is not to run without its parent" in said.err
    assert "after 0 s" not in said.err
    assert f"{name} has ended" in said.out
    if why == "the name is taken":
        assert "the name hub is held" in said.err
    going.join(PATIENCE_S)


def stop_when_linked(hub: CoreCell) -> None:
    eventually(lambda: hub.is_cell_connected("office"))
    hub.stop(0)


def test_case_2_6_to_require_a_parent_needs_one() -> None:
    with pytest.raises(UsageError, match="requires a parent and has none"):
        ServeSettings(fqcn="root", listen=("grpc://127.0.0.1:0",), require_uplink=True)
