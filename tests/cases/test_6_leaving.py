"""A cell that leaves is no broken link, and who waits for its parent says so."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamcell import CoreCell, StreamCell
from streamcell.cli.outcome import ExitCode
from streamcell.daemon.conventions import FILE_CHANNEL, FILE_TOPIC
from tests.kit.cells import CARRIERS, Carrier, connected_pair, grpc_carrier, running
from tests.kit.programs import Command
from tests.kit.waiting import eventually


@pytest.fixture(params=CARRIERS)
def carrier(request: pytest.FixtureRequest) -> Carrier:
    return CARRIERS[request.param]()


@pytest.mark.parametrize("leaver", ["site", "server"])
def test_case_6_5_a_cell_that_says_goodbye_has_left(
    carrier: Carrier, leaver: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with connected_pair(carrier) as pair:
        eventually(lambda: pair.server.is_cell_connected("site"))
        {"site": pair.site, "server": pair.server}[leaver].stop(0)
        eventually(lambda: any(f"{leaver} has left" in record.getMessage() for record in caplog.records))
    assert not any("is down" in record.getMessage() for record in caplog.records)


@pytest.fixture
def url() -> Iterator[str]:
    """Where a hub listens, and after it another one."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="cell-") as folder:
        yield f"unix://{folder}/socket"


def hub(url: str) -> CoreCell:
    """Return a hub that has not been started."""
    return grpc_carrier().cell("hub", listen=url)


@pytest.mark.parametrize("into", ["folder", "-"])
def test_case_6_5_recv_says_that_it_waits(url: str, tmp_path: Path, into: str) -> None:
    with running(hub(url)) as first, Command("recv", "--as", "far", "-c", url, "--into", into, cwd=tmp_path) as recv:
        recv.errors.wait_for("^far is linked; waiting for files$")
        first.stop(0)
        recv.errors.wait_for("^(hub|the parent) is out of reach; waiting$")
        with running(hub(url)):
            recv.errors.wait_for("^linked again with hub$")
    assert len(recv.errors.all) == 3


@pytest.mark.parametrize("verb", [["send", "file", "--to", "far"], ["recv", "--as", "far", "--into", "in"]])
def test_case_6_5_a_hub_that_is_not_there_yet_is_waited_for_aloud(url: str, tmp_path: Path, verb: list[str]) -> None:
    (tmp_path / "file").write_bytes(b"content")
    with Command(*verb, "-c", url, "--wait", "60", cwd=tmp_path) as command:
        command.errors.wait_for(f"^no link to {url} yet; waiting$")


def test_case_6_5_send_says_that_it_waits(url: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    far = grpc_carrier().cell("far", connect=url)
    StreamCell(far).register_stream_cb(FILE_CHANNEL, FILE_TOPIC, lambda _future, stream, _resume: stream.readall())
    command = ("send", "file", "--to", "far", "-c", url, "--as", "lab", "--wait", "60", "-v")
    with running(hub(url)) as first, Command(*command, cwd=tmp_path) as send:
        # It waits for a cell that is not there yet.
        send.errors.wait_for("connected with hub$")
        first.stop(0)
        send.errors.wait_for("^(hub|the parent) is out of reach; waiting$")
        with running(hub(url)):
            send.errors.wait_for("^linked again with hub$")
            with running(far):
                assert send.wait() == ExitCode.DONE
