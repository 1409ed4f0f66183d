"""A large file, while the receiver and the sender are killed and started again.

How large: STREAMCELL_TEST_FILE_BYTES, 1 GiB for the full proof; by default what a quick machine sends in a second.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
from pathlib import Path

import pytest

from streamcell.cli.outcome import ExitCode
from tests.kit.programs import LIMIT_S, Command, certificate, hub, make_certificates, run_command
from tests.kit.waiting import eventually

FILE_BYTES = int(os.environ.get("STREAMCELL_TEST_FILE_BYTES", "200000000"))


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """A file in which every block differs."""
    path = tmp_path / "big.bin"
    block = random.Random(3).randbytes(1_000_000)
    with path.open("wb") as file:
        for number in range(FILE_BYTES // len(block)):
            file.write(number.to_bytes(8, "big") + block[8:])
    return path


class Partial:
    """The partial file in an inbox, as it grows."""

    def __init__(self, inbox: Path) -> None:
        self._inbox = inbox

    @property
    def size(self) -> int:
        sizes = [path.stat().st_size for path in self._inbox.rglob("*.part")]
        return sizes[0] if sizes else 0

    def wait_for(self, part: float) -> None:
        """Wait until so much of the file is there."""
        wanted = int(part * FILE_BYTES)
        eventually(lambda: self.size >= wanted, f"only {self.size} of {wanted} bytes", LIMIT_S)


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.mark.timeout(300)
def test_file_goes_on_through_kills_of_both_sides(tmp_path: Path, big: Path) -> None:
    partial = Partial(tmp_path / "inbox")
    send = ("send", "big.bin", "--to", "hub", "--digest", "--connect")
    with hub(tmp_path) as (first_hub, url), Command(*send, url, cwd=tmp_path) as first_sender:
        partial.wait_for(0.1)
        first_hub.kill()
        stood = partial.size
        # The sender waits for the receiver's next life, which goes on.
        with hub(tmp_path, listen=url) as (second_hub, _):
            partial.wait_for(0.3)
            assert partial.size >= stood
            first_sender.kill()
            stood = partial.size
            with Command(*send, url, cwd=tmp_path) as second_sender:
                partial.wait_for(0.5)
                assert partial.size >= stood
                second_hub.kill()
                second_sender.kill()
        stood = partial.size
        with hub(tmp_path, listen=url), Command(*send, url, cwd=tmp_path) as third_sender:
            assert partial.size >= stood
            assert third_sender.wait() == ExitCode.DONE, third_sender.errors.all
    (folder,) = (tmp_path / "inbox").iterdir()
    arrived = [path for path in folder.iterdir() if path.is_file()]
    assert [path.name for path in arrived] == ["big.bin"]
    assert digest(arrived[0]) == digest(big)
    assert list(folder.rglob("*.part")) == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize("sealed", [False, True], ids=["plain", "sealed"])
def test_file_goes_on_through_kills_of_hub_and_receiver_and_sender(tmp_path: Path, big: Path, sealed: bool) -> None:
    partial = Partial(tmp_path / "received")
    of_receiver: tuple[str, ...] = ()
    of_sender: tuple[str, ...] = ()
    if sealed:
        # The hub has no certificate, and nothing to open what goes through it.
        make_certificates(tmp_path, "office", "lab")
        of_receiver = ("--require-sealed", *certificate("office"))
        of_sender = ("--secure", *certificate("lab"))
    with contextlib.ExitStack() as ends:
        hub_command, url = ends.enter_context(hub(tmp_path))
        receive = ("recv", "--as", "office", "--connect", url, "--into", "received", *of_receiver)
        send = ("send", "big.bin", "--to", "office", "--connect", url, "--as", "lab", *of_sender)
        receiver = ends.enter_context(Command(*receive, cwd=tmp_path))
        receiver.errors.wait_for("office is linked")
        sender = ends.enter_context(Command(*send, cwd=tmp_path))
        partial.wait_for(0.1)
        hub_command.kill()
        stood = partial.size
        ends.enter_context(hub(tmp_path, listen=url))
        partial.wait_for(0.3)
        receiver.kill()
        stood = max(stood, partial.size)
        receiver = ends.enter_context(Command(*receive, cwd=tmp_path))
        partial.wait_for(0.5)
        sender.kill()
        assert partial.size >= stood
        sender = ends.enter_context(Command(*send, cwd=tmp_path))
        assert sender.wait() == ExitCode.DONE, sender.errors.all
        receiver.output.wait_for(r"received/lab/big\.bin: [\d,]+ bytes")
    arrived = [path.name for path in (tmp_path / "received/lab").iterdir() if path.is_file()]
    assert arrived == ["big.bin"]
    assert digest(tmp_path / "received/lab/big.bin") == digest(big)


def test_file_that_has_arrived_is_not_sent_again(tmp_path: Path) -> None:
    path = tmp_path / "some.bin"
    path.write_bytes(random.Random(4).randbytes(3_000_000))
    with hub(tmp_path, "--metrics", "127.0.0.1:0") as (command, url):
        command.output.wait_for(r"metrics at (\S+)")
        arguments = ("send", "some.bin", "--to", "hub", "--connect", url, "--as", "site")
        for _ in range(2):
            ended = run_command(*arguments, cwd=tmp_path)
            assert ended.returncode == ExitCode.DONE, ended.stderr
        names = [entry.name for entry in (tmp_path / "inbox/site").iterdir() if entry.is_file()]
        assert names == ["some.bin"]
        # Another content under the same name is another file.
        path.write_bytes(random.Random(5).randbytes(3_000_000))
        assert run_command(*arguments, cwd=tmp_path).returncode == ExitCode.DONE
        # And so it is sent again after the receiver has moved it away.
        (tmp_path / "inbox/site/some (2).bin").rename(tmp_path / "taken.bin")
        assert run_command(*arguments, cwd=tmp_path).returncode == ExitCode.DONE
    names = sorted(entry.name for entry in (tmp_path / "inbox/site").iterdir() if entry.is_file())
    assert names == ["some (2).bin", "some.bin"]
    assert digest(tmp_path / "inbox/site/some (2).bin") == digest(path) == digest(tmp_path / "taken.bin")


def test_receiver_that_is_restarted_in_good_order_is_waited_for(tmp_path: Path, big: Path) -> None:
    partial = Partial(tmp_path / "inbox")
    with (
        hub(tmp_path, "--grace", "0.1") as (first_hub, url),
        Command("send", "big.bin", "--to", "hub", "--connect", url, cwd=tmp_path) as sender,
    ):
        partial.wait_for(0.1)
        first_hub.process.terminate()
        assert first_hub.wait() == ExitCode.DONE
        stood = partial.size
        sender.errors.wait_for("hub is stopping; trying again")
        with hub(tmp_path, listen=url):
            assert partial.size >= stood
            assert sender.wait() == ExitCode.DONE, sender.errors.all
    (folder,) = (tmp_path / "inbox").iterdir()
    assert digest(folder / "big.bin") == digest(big)
