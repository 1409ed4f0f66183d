"""A signal ends a command in good order: its cell says Goodbye, and what is not delivered is said."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest

from streamcell import ReceivedStream, StreamCell, StreamFuture
from streamcell.cli.interrupts import ending_signals
from streamcell.cli.outcome import ExitCode
from streamcell.daemon.conventions import FILE_CHANNEL, FILE_TOPIC
from tests.kit.cells import grpc_carrier, running
from tests.kit.programs import LIMIT_S, Command, hub
from tests.kit.waiting import PATIENCE_S, Box, Gate, eventually

HUP, INT, TERM = signal.SIGHUP, signal.SIGINT, signal.SIGTERM
ENDS = {
    HUP: (ExitCode.HUNG_UP, "ended by SIGHUP"),
    INT: (ExitCode.INTERRUPTED, "interrupted"),
    TERM: (ExitCode.TERMINATED, "ended by SIGTERM"),
}
# As a shell starts what is to outlive the terminal.
NOHUP = [
    sys.executable,
    "-c",
    "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])",
]


def ends_of(sender: Command) -> list[str]:
    """Return what a command has said at its end; before that, if it took long, it has said how far it was."""
    return [line for line in sender.errors.all if "not delivered" in line or line.startswith("streamcell: ")]


@pytest.mark.parametrize("number", ENDS)
def test_case_6_7_send_says_goodbye_and_what_is_not_delivered(tmp_path: Path, number: signal.Signals) -> None:
    code, word = ENDS[number]
    for name in ("a", "b", "c", "d"):
        (tmp_path / name).write_bytes(b"content")
    files = ("-", "a", "b", "c", "d")
    with hub(tmp_path) as (standing, url):
        with Command("send", *files, "--to", "hub", "-c", url, "--as", "site", cwd=tmp_path) as sender:
            # What cannot end before its input does; the others do.
            sender.input.write(b"the beginning")
            sender.input.flush()
            for _ in range(4):
                sender.output.wait_for("7 bytes to hub")
            sender.signal(number)
            assert sender.wait() == code
        assert ends_of(sender) == [
            "hub: not delivered: stdin",
            f"streamcell: {word}: give the same command again to go on",
        ]
        standing.errors.wait_for("site has left")


@pytest.mark.parametrize("as_json", [False, True])
def test_case_6_7_what_is_not_delivered_is_told_for_each_target(tmp_path: Path, *, as_json: bool) -> None:
    (tmp_path / "folder").mkdir()
    for letter in "abcdef":
        (tmp_path / "folder" / letter).write_bytes(b"content")
    arrived: Box[str] = Box()
    left: Box[str] = Box()
    hub = grpc_carrier().cell("hub", listen="grpc://127.0.0.1:0")
    hub.set_cell_disconnected_cb(left.put)
    with Gate() as gate, running(hub), running(grpc_carrier().cell("far", connect=hub.listen_urls)) as far:
        far.wait_connected(PATIENCE_S)

        def take(future: StreamFuture, stream: ReceivedStream, _resume: bool) -> None:
            arrived.put(future.target)
            gate.pass_through()
            stream.readall()

        for cell in (hub, far):
            StreamCell(cell).register_stream_cb(FILE_CHANNEL, FILE_TOPIC, take)
        given = ("send", "folder", "--to", "hub", "--to", "far", "-c", *hub.listen_urls, "--as", "site")
        with Command(*given, *(["--json"] if as_json else []), cwd=tmp_path) as sender:
            # Four at a time; the other two of each wait.
            arrived.get_all(8)
            sender.signal(TERM)
            assert sender.wait() == ExitCode.TERMINATED
        gate.open()
        assert left.get() == "site"
    last = "streamcell: ended by SIGTERM: give the same command again to go on"
    if as_json:
        told = [json.loads(line) for line in sender.output.all]
        assert sorted((each["peer"], each["name"]) for each in told) == sorted(
            (to, f"folder/{letter}") for to in ("hub", "far") for letter in "abcdef"
        )
        assert {each["error"] for each in told} == {"it was not delivered before the command was ended"}
        assert ends_of(sender) == [last]
    else:
        names = "folder/a, folder/b, folder/c and 3 more"
        assert ends_of(sender) == [*(f"{to}: not delivered: {names}" for to in ("far", "hub")), last]
        assert sender.output.all == []


@pytest.mark.parametrize("verb", [("ping", "hub"), ("cells",), ("recv", "--as", "x", "--into", "in")])
@pytest.mark.parametrize("number", [HUP, TERM])
def test_case_6_7_other_verbs_end_so_too(tmp_path: Path, number: signal.Signals, verb: tuple[str, ...]) -> None:
    with Command(*verb, "-c", "grpc://127.0.0.1:1", "--wait", "1000", "-v", cwd=tmp_path) as command:
        command.errors.wait_for("no lane: grpc://127.0.0.1:1")
        command.signal(number)
        assert command.wait() == ENDS[number][0]
    assert not any("Traceback" in line for line in command.errors.all)


def test_case_6_7_a_hang_up_that_is_ignored_stays_so(tmp_path: Path) -> None:
    with (
        hub(tmp_path) as (_, url),
        Command("send", "-", "--to", "hub", "-c", url, "--as", "site", cwd=tmp_path, prefix=NOHUP) as sender,
    ):
        sender.input.write(b"the beginning, ")
        sender.input.flush()
        eventually(lambda: any((tmp_path / "inbox").rglob("*.part")), seconds=LIMIT_S)
        sender.signal(HUP)
        sender.input.write(b"the end")
        sender.input.close()
        assert sender.wait() == ExitCode.DONE, sender.errors.all
    assert (tmp_path / "inbox/site/stdin").read_bytes() == b"the beginning, the end"


def test_case_6_7_handlers_are_put_back() -> None:
    before = {number: signal.getsignal(number) for number in (HUP, TERM)}
    with pytest.raises(SystemExit) as raised, ending_signals():
        signal.raise_signal(TERM)
    assert raised.value.code == ExitCode.TERMINATED
    assert {number: signal.getsignal(number) for number in before} == before
