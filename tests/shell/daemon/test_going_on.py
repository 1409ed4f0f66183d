"""Files that are begun again: after either side has ended, at every point where it could."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamcell import BytesStream, Message, StreamCell
from streamcell.daemon.conventions import FILE_CHANNEL, FILE_TOPIC
from tests.kit.cells import CARRIERS, Carrier, running
from tests.kit.inboxes import DATA, SIZE, Ending, Life, files, work_files
from tests.kit.payloads import pattern
from tests.kit.waiting import PATIENCE_S, eventually


@pytest.fixture(params=CARRIERS)
def carrier(request: pytest.FixtureRequest) -> Carrier:
    return CARRIERS[request.param]()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "inbox"


@pytest.fixture
def interrupted(carrier: Carrier, folder: Path) -> Iterator[Path]:
    """An inbox with the first two thirds of the file."""
    with Life(carrier, folder) as life:
        error = life.send(Ending(DATA, stop_at=2_000_000)).exception(PATIENCE_S)
        assert "the sender is ended here" in str(error)
        eventually(lambda: ".part" in work_files(folder))
        eventually(lambda: work_files(folder)[".part"].stat().st_size == 2_000_000)
    yield folder
    assert (folder / "site/file").read_bytes() == DATA
    assert files(folder) == ["file"]
    assert work_files(folder).keys() == {".done"}


def test_only_what_is_missing_travels(carrier: Carrier, interrupted: Path) -> None:
    with Life(carrier, interrupted) as life:
        assert life.send(digest="sha256").result(PATIENCE_S) == SIZE
        assert life.received() == 1_000_000


def test_partial_file_with_other_bytes_is_not_trusted(carrier: Carrier, interrupted: Path) -> None:
    # As after a power failure: the length is there, the bytes are not.
    with work_files(interrupted)[".part"].open("r+b") as file:
        file.seek(1_000_000)
        file.write(bytes(1000))
    with Life(carrier, interrupted) as life:
        assert life.send().result(PATIENCE_S) == SIZE
        assert life.received() == SIZE


def test_partial_file_that_is_longer_than_the_file_is_not_trusted(carrier: Carrier, interrupted: Path) -> None:
    with work_files(interrupted)[".part"].open("ab") as file:
        file.write(bytes(SIZE))
    with Life(carrier, interrupted) as life:
        assert life.send().result(PATIENCE_S) == SIZE


def test_receiver_killed_before_the_file_had_its_name(carrier: Carrier, interrupted: Path) -> None:
    # All bytes and the receipt are there, the name is not.
    part = work_files(interrupted)[".part"]
    part.write_bytes(DATA)
    status = part.stat()
    receipt = '{"parts": ["file"], "size_bytes": %d, "mtime_ns": %d, "inode": %d}'
    part.with_suffix(".done").write_text(receipt % (SIZE, status.st_mtime_ns, status.st_ino))
    with Life(carrier, interrupted) as life:
        assert life.send().result(PATIENCE_S) == SIZE


def test_receiver_killed_between_name_and_forgetting_the_partial_file(carrier: Carrier, interrupted: Path) -> None:
    part = work_files(interrupted)[".part"]
    part.write_bytes(DATA)
    os.link(part, interrupted / "site/file")
    with Life(carrier, interrupted) as life:
        assert life.send().result(PATIENCE_S) == SIZE
        assert life.received() == 0


@pytest.mark.parametrize("damage", ["{", "[]", '{"parts": 7}', ""])
def test_receipt_that_cannot_be_read_is_ignored(carrier: Carrier, interrupted: Path, damage: str) -> None:
    work_files(interrupted)[".part"].with_suffix(".done").write_text(damage)
    with Life(carrier, interrupted) as life:
        assert life.send().result(PATIENCE_S) == SIZE


def test_file_that_is_there_is_not_sent_again(carrier: Carrier, folder: Path) -> None:
    for travelled in (SIZE, 0, 0):
        with Life(carrier, folder) as life:
            assert life.send().result(PATIENCE_S) == SIZE
            assert life.received() == travelled
    assert files(folder) == ["file"]


def test_file_that_is_there_is_found_under_its_number(carrier: Carrier, folder: Path) -> None:
    with Life(carrier, folder) as life:
        life.send(resume_id="first").result(PATIENCE_S)
        life.send(resume_id="second").result(PATIENCE_S)
    assert files(folder) == ["file", "file (2)"]
    with Life(carrier, folder) as life:
        life.send(resume_id="second").result(PATIENCE_S)
        assert life.received() == 0
    assert files(folder) == ["file", "file (2)"]


@pytest.mark.parametrize("change", ["content", "moved", "removed"])
def test_file_that_was_changed_here_is_sent_again(carrier: Carrier, folder: Path, change: str) -> None:
    with Life(carrier, folder) as life:
        life.send().result(PATIENCE_S)
    path = folder / "site/file"
    if change == "content":
        path.write_bytes(b"changed")
    elif change == "moved":
        path.rename(folder / "elsewhere")
    else:
        path.unlink()
    with Life(carrier, folder) as life:
        assert life.send().result(PATIENCE_S) == SIZE
        assert life.received() == SIZE
    assert files(folder) == (["file", "file (2)"] if change == "content" else ["file"])


def test_same_name_with_other_content_is_another_file(carrier: Carrier, folder: Path) -> None:
    with Life(carrier, folder) as life:
        life.send().result(PATIENCE_S)
    other = pattern(SIZE, seed=9)
    with Life(carrier, folder) as life:
        life.send(BytesStream(other, {"name": "file"})).result(PATIENCE_S)
    assert files(folder) == ["file", "file (2)"]
    assert (folder / "site/file").read_bytes() == DATA
    assert (folder / "site/file (2)").read_bytes() == other


def test_two_senders_with_one_resume_id_do_not_share_a_partial_file(carrier: Carrier, interrupted: Path) -> None:
    with Life(carrier, interrupted) as life:
        other = carrier.cell("other", connect=life.server.listen_urls)
        with running(other):
            other.wait_connected(PATIENCE_S)
            message = Message(None, BytesStream(b"short", {"name": "file"}))
            sent = StreamCell(other).send_stream(FILE_CHANNEL, FILE_TOPIC, "server", message, resume_id="the file")
            assert sent.result(PATIENCE_S) == 5
        assert (interrupted / "other/file").read_bytes() == b"short"
        assert life.send().result(PATIENCE_S) == SIZE
        assert life.received() == 1_000_005
