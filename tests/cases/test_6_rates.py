"""Rate and time left count what travels in this attempt, and results say what was there before."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamcell import CoreCell, Message, ReceivedStream, StreamCell, StreamFuture, aio
from streamcell.cli.app import run
from streamcell.cli.outcome import ExitCode
from streamcell.daemon.conventions import FILE_CHANNEL, FILE_TOPIC
from streamcell.daemon.inbox import InboxSettings, LogWatcher
from streamcell.daemon.settings import ServeSettings
from streamcell.daemon.standalone import StandaloneCell
from tests.kit.cells import CARRIERS, QUICK, Carrier, connected_pair, grpc_carrier, running
from tests.kit.waiting import PATIENCE_S, Box, Gate, eventually

THERE = 4_000_000
DATA = bytes(THERE + 1)
# One byte travels. That 4 MB were there before would be a million bytes a second for seconds.
MOST_RATE = 10_000


@pytest.fixture(params=CARRIERS)
def carrier(request: pytest.FixtureRequest) -> Carrier:
    return CARRIERS[request.param]()


@pytest.mark.parametrize("there", [THERE, len(DATA)])
def test_case_6_2_rate_of_what_travels(carrier: Carrier, there: int) -> None:
    received: Box[StreamFuture] = Box()
    with connected_pair(carrier) as pair, Gate() as gate:

        def receive(future: StreamFuture, stream: ReceivedStream, _resume: bool) -> None:
            stream.resume_from(there)
            received.put(future)
            gate.pass_through()
            stream.readall()

        pair.at_server.register_stream_cb("files", "any", receive)
        sent = pair.at_site.send_stream("files", "any", "server", Message(None, DATA), resume_id="one")
        for future in (received.get(), sent):
            eventually(lambda future=future: future.get_progress() == len(DATA))  # type: ignore[misc]
            assert future.rate < MOST_RATE
            assert future.resumed_at == there
            assert future.eta in (0, None)
        gate.open()
        assert sent.result(PATIENCE_S) == len(DATA)
        assert sent.resumed_at == there


def test_case_6_2_rate_of_what_travels_for_coroutines(carrier: Carrier) -> None:
    async def check() -> None:
        reading = asyncio.Event()

        async def receive(_future: aio.StreamFuture, stream: aio.ReceivedStream, _resume: bool) -> None:
            await stream.resume_from(THERE)
            await reading.wait()
            assert len([bytes(piece) async for piece in stream]) == 1

        options: dict[str, Any] = {"network": carrier.network, "config": QUICK}
        async with (
            aio.CoreCell("server", listen=carrier.url, **options) as server,
            aio.CoreCell("site", connect=server.listen_urls, **options) as site,
        ):
            aio.StreamCell(server).register_stream_cb("files", "any", receive)
            await site.wait_connected(PATIENCE_S)
            message = Message(None, DATA)
            future = await aio.StreamCell(site).send_stream("files", "any", "server", message, resume_id="one")
            await asyncio.to_thread(eventually, lambda: future.get_progress() == len(DATA))
            assert future.rate < MOST_RATE
            assert future.resumed_at == THERE
            reading.set()
            assert await future == len(DATA)

    asyncio.run(check())


def test_case_6_2_nothing_was_there_before(carrier: Carrier) -> None:
    with connected_pair(carrier) as pair:
        pair.at_server.register_stream_cb("files", "any", lambda _future, stream, _resume: stream.readall())
        future = pair.at_site.send_stream("files", "any", "server", Message(None, DATA), resume_id="one")
        assert future.result(PATIENCE_S) == len(DATA)
        assert future.resumed_at == 0


# --- the command line -----------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "big.bin"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def office() -> Iterator[CoreCell]:
    """A cell that has the first bytes of everything that is sent to it."""

    def receive(_future: StreamFuture, stream: ReceivedStream, _resume: bool) -> None:
        stream.resume_from(THERE)
        stream.readall()

    with running(grpc_carrier().cell("office", listen="grpc://127.0.0.1:0")) as cell:
        StreamCell(cell).register_stream_cb(FILE_CHANNEL, FILE_TOPIC, receive)
        yield cell


def test_case_6_2_a_file_that_is_there_already(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inbox = InboxSettings(folder=tmp_path / "inbox")
    settings = ServeSettings(fqcn="hub", listen=("grpc://127.0.0.1:0",), inbox=inbox, grace_s=0)
    with StandaloneCell(settings, LogWatcher()) as hub:
        hub.start()
        command = ["send", str(file), "--to", "hub", "-c", hub.cell.listen_urls[0], "--as", "lab"]
        assert run([*command, "--json"]) == ExitCode.DONE
        first = json.loads(capsys.readouterr().out)
        assert run(command) == ExitCode.DONE
        assert capsys.readouterr().out == "big.bin: 4,000,001 bytes to hub, already there\n"
        assert run([*command, "--json"]) == ExitCode.DONE
        again = json.loads(capsys.readouterr().out)
    assert (first["size_bytes"], first["sent_bytes"], first["resumed_at"]) == (len(DATA), len(DATA), 0)
    assert (again["size_bytes"], again["sent_bytes"], again["resumed_at"]) == (len(DATA), 0, len(DATA))


def test_case_6_2_a_file_that_goes_on(file: Path, office: CoreCell, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["send", str(file), "--to", "office", "-c", office.listen_urls[0], "--as", "lab"]
    assert run(command) == ExitCode.DONE
    shown = capsys.readouterr().out
    assert shown.startswith("big.bin: 4,000,001 bytes to office in ")
    # One byte tells nothing of the way.
    assert "/s" not in shown
    assert shown.endswith("; 4,000,000 of them were there before\n")
    assert run([*command, "--json", "--as", "other"]) == ExitCode.DONE
    result = json.loads(capsys.readouterr().out)
    assert (result["sent_bytes"], result["resumed_at"]) == (1, THERE)


def test_case_6_2_summary_of_files_that_are_there(
    file: Path, office: CoreCell, capsys: pytest.CaptureFixture[str]
) -> None:
    file.with_name("other.bin").write_bytes(DATA)
    command = ["send", str(file), str(file.with_name("other.bin")), "--to", "office", "-c", office.listen_urls[0]]
    assert run(command) == ExitCode.DONE
    summary = capsys.readouterr().out.splitlines()[-1]
    assert summary.startswith("2 files, 8,000,002 bytes in ")
    assert summary.endswith("; 8,000,000 bytes were there before")
