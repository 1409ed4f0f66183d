"""Every example runs, and does what it says."""

import hashlib
import random
from pathlib import Path

import pytest

from tests.kit.programs import ROOT, Program, run, unhappy

EXAMPLES = ROOT / "examples"
SINGLE = {
    "two_cells.py": ["the server has read 2,388,890 bytes", "a blob of 8,388,608 bytes, round 7", "HELLO"],
    "nvflare_port.py": ["received numbers.bin: 25165824 bytes", "sent: 25165824 bytes", "blob sent: 29 bytes"],
    "async_cells.py": ["the server has read 792,641 bytes", "replies [1, 10, 100]", "was cancelled: True"],
}
ROUNDS = "federated_round.py"
PAIR = {"send_file.py", "receive_file.py"}


def test_every_example_is_tested() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == SINGLE.keys() | PAIR | {ROUNDS}


@pytest.mark.parametrize("name", SINGLE)
def test_example(name: str) -> None:
    lines = run(EXAMPLES / name)
    assert unhappy(lines) == []
    for text in SINGLE[name]:
        assert any(text in line for line in lines), (text, lines)


def test_rounds_are_complete_though_a_site_is_killed() -> None:
    lines = run(EXAMPLES / ROUNDS, "--mib", "16")
    assert unhappy(lines) == []
    assert "site-2 was killed in the middle of its answer; starting it again" in lines
    for number in (1, 2, 3):
        assert f"round {number}: 3 results of 16,777,216 bytes, all as they should be" in lines
    assert lines[-1] == "all rounds are complete"


def test_files_arrive(tmp_path: Path) -> None:
    data = random.Random(1).randbytes(3_000_000)
    sent = [tmp_path / "one.bin", tmp_path / "empty.bin", tmp_path / "two.bin"]
    for path, content in zip(sent, (data, b"", data[::-1]), strict=True):
        path.write_bytes(content)
    inbox = tmp_path / "inbox"
    with Program(EXAMPLES / "receive_file.py", inbox, "--listen", "grpc://127.0.0.1:0", "--count", "3") as receiver:
        url = receiver.wait_for(r"listening at (grpc://\S+)")[1]
        lines = run(EXAMPLES / "send_file.py", url, *sent)
        assert receiver.wait() == 0
    assert unhappy(lines + receiver.lines) == []
    assert "one.bin: the receiver has all 3,000,000 bytes" in lines
    for path in sent:
        arrived = (inbox / path.name).read_bytes()
        assert hashlib.sha256(arrived).digest() == hashlib.sha256(path.read_bytes()).digest()


@pytest.mark.parametrize("same", [True, False])
def test_what_an_earlier_run_has_received_is_not_sent_again_if_it_is_the_same(tmp_path: Path, same: bool) -> None:
    data = random.Random(1).randbytes(3_000_000)
    source, inbox = tmp_path / "one.bin", tmp_path / "inbox"
    source.write_bytes(data)
    inbox.mkdir()
    (inbox / "one.bin.part").write_bytes(data[:2_000_000] if same else bytes(2_000_000))
    with Program(EXAMPLES / "receive_file.py", inbox, "--listen", "grpc://127.0.0.1:0", "--count", "1") as receiver:
        url = receiver.wait_for(r"listening at (grpc://\S+)")[1]
        assert "one.bin: the receiver has all 3,000,000 bytes" in run(EXAMPLES / "send_file.py", url, source)
        assert receiver.wait() == 0
    assert (inbox / "one.bin").read_bytes() == data


def test_sender_says_what_is_wrong(tmp_path: Path) -> None:
    # The file cannot be written at the other end: its folder is gone.
    inbox, source = tmp_path / "inbox", tmp_path / "some.bin"
    source.write_bytes(b"some bytes")
    with Program(EXAMPLES / "receive_file.py", inbox, "--listen", "grpc://127.0.0.1:0") as receiver:
        url = receiver.wait_for(r"listening at (grpc://\S+)")[1]
        inbox.rmdir()
        with Program(EXAMPLES / "send_file.py", url, source) as sender:
            assert sender.wait() == 1
    assert any("FileNotFoundError" in line for line in sender.lines), sender.lines
