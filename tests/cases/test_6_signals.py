"""SIGHUP: of a terminal that closed it asks for an orderly end, elsewhere for the configuration to be read again."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamcell.cli.outcome import ExitCode
from streamcell.daemon import signals
from streamcell.daemon.signals import EndSignals
from tests.kit.programs import LIMIT_S, STREAMCELL, Command, environment, hub, run_command
from tests.kit.waiting import PATIENCE_S, Box, eventually

# As a service manager starts it: without a terminal.
DETACHED = [sys.executable, "-c", "import os, sys; os.setsid(); os.execv(sys.argv[1], sys.argv[1:])"]
# As a shell starts it: with the terminal that it gets as standard input.
ON_TERMINAL = "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
ON_TERMINAL += "os.execv(sys.argv[1], sys.argv[1:])"
HUP, TERM, INT = signal.SIGHUP, signal.SIGTERM, signal.SIGINT


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (HUP, TERM, INT)}
    yield
    assert {number: signal.getsignal(number) for number in before} == before


def raise_signals(*numbers: signal.Signals) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize(
    ("numbers", "hurried"),
    [((HUP,), False), ((HUP, HUP), False), ((HUP, TERM), False), ((TERM, HUP), False), ((TERM, INT), True)],
)
def test_case_6_6_signals_that_ask_for_an_end(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, numbers: tuple[signal.Signals, ...], hurried: bool
) -> None:
    monkeypatch.setattr(signals, "has_terminal", lambda: terminal)
    with EndSignals() as watched:
        raise_signals(*numbers)
        assert watched.end.wait(PATIENCE_S)
        assert not hurried or watched.hurry.wait(PATIENCE_S)
    # At the end of the with everything that came was dealt with.
    assert watched.hurry.is_set() == hurried


def test_case_6_6_without_a_terminal_it_asks_for_what_can_be_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "has_terminal", lambda: False)
    asked: Box[str] = Box()
    with EndSignals(lambda: asked.put("again")) as watched:
        for _ in range(2):
            raise_signals(HUP)
            assert asked.get() == "again"
        assert not watched.end.is_set()


def test_case_6_6_where_it_is_ignored_it_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "has_terminal", lambda: True)
    before = signal.signal(HUP, signal.SIG_IGN)
    try:
        with EndSignals() as watched:
            raise_signals(HUP, HUP)
        assert not watched.end.is_set()
    finally:
        signal.signal(HUP, before)


@pytest.mark.parametrize("verb", ["serve", "recv"])
def test_case_6_6_terminal_that_closes_lets_transfers_end(tmp_path: Path, verb: str) -> None:
    main, terminal = pty.openpty()
    url = f"unix://{tmp_path}/socket"
    arguments = {
        "serve": ["serve", "--fqcn", "hub", "--listen", url, "--inbox", "inbox"],
        "recv": ["recv", "--as", "hub", "--listen", url, "--into", "inbox"],
    }[verb]
    program = subprocess.Popen(
        [sys.executable, "-c", ON_TERMINAL, *STREAMCELL, *arguments],
        cwd=tmp_path,
        env=environment() | {"TERM": "dumb"},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    try:
        os.close(terminal)
        with Command("send", "-", "--to", "hub", "--connect", url, "--as", "site", cwd=tmp_path) as sender:
            sender.input.write(b"the beginning, ")
            sender.input.flush()
            eventually(lambda: any((tmp_path / "inbox").rglob("*.part")), seconds=LIMIT_S)
            drain_terminal(main)
            os.close(main)
            main = -1
            sender.input.write(b"the end")
            sender.input.close()
            assert sender.wait() == ExitCode.DONE, sender.errors.all
        assert program.wait(LIMIT_S) == ExitCode.DONE
    finally:
        if main >= 0:
            os.close(main)
        program.kill()
        program.wait()
    assert (tmp_path / "inbox/site/stdin").read_bytes() == b"the beginning, the end"


def drain_terminal(main: int) -> None:
    """Take what was shown: a terminal that is full stops its program."""
    while select.select([main], [], [], 0)[0]:
        os.read(main, 65_536)


def test_case_6_6_configuration_is_read_again(tmp_path: Path) -> None:
    config = tmp_path / "hub.toml"
    inbox = '[inbox]\nfolder = "inbox"\n'
    config.write_text(inbox)
    with hub(tmp_path, "--config", "hub.toml", prefix=DETACHED) as (command, url):

        def send(content: str) -> None:
            (tmp_path / "x").write_text(content)
            arguments = ("send", "x", "--to", "hub", "--connect", url, "--as", "site")
            assert run_command(*arguments, cwd=tmp_path).returncode == ExitCode.DONE

        def reload(text: str, said: str) -> None:
            config.write_text(text)
            command.signal(HUP)
            command.errors.wait_for(said)

        send("one")
        reload('log_level = "DEBUG"\n' + inbox + "replace = true\n", "the configuration was read again$")
        send("two")
        assert files_of(tmp_path) == {"x": "two"}
        reload(inbox + "replace = maybe\n", "the configuration stays as it was: .*hub.toml")
        reload("[cell]\nchunk_bytes = 100000\n" + inbox, "read again; a restart is needed for config")
        send("three")
        assert files_of(tmp_path) == {"x": "two", "x (2)": "three"}
        reload(inbox + "min_free_bytes = 1_000_000_000_000_000_000\n", "the configuration was read again$")
        refused = run_command("send", "x", "--to", "hub", "--connect", url, "--as", "other", cwd=tmp_path)
        assert "not enough space" in refused.stderr.decode()
        command.signal(TERM)
        assert command.wait() == ExitCode.DONE


def test_case_6_6_without_a_configuration_there_is_nothing_to_read_again(tmp_path: Path) -> None:
    with hub(tmp_path, prefix=DETACHED) as (command, _):
        command.signal(HUP)
        command.errors.wait_for("SIGHUP: there is no configuration file to read again; --config names one$")
        command.signal(TERM)
        assert command.wait() == ExitCode.DONE
    assert not any("was read again" in line for line in command.errors.all)


def files_of(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (folder / "inbox/site").iterdir() if path.is_file()}
