"""What one sender's files may take of an inbox."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from streamcell import IterStream, Message, StreamRejected
from streamcell.daemon.conventions import FILE_CHANNEL, FOLDER_TOPIC, FileHeaders
from streamcell.daemon.file_system import FileSystem
from streamcell.daemon.folder import Folder
from streamcell.daemon.inbox import InboxSettings
from streamcell.daemon.quota import Limits, Quota
from tests.kit.cells import Cells, Pair, making_cells, memory_carrier
from tests.kit.inboxes import World, send_file
from tests.kit.waiting import PATIENCE_S, Gate, eventually


@pytest.fixture
def cells() -> Iterator[Cells]:
    with making_cells(memory_carrier()) as made:
        yield made


@pytest.fixture
def pair(cells: Cells) -> Pair:
    return cells.pair()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "inbox"


def refusal(world: World, name: str, payload: object = b"") -> str:
    error = world.refusal(name, payload)
    assert isinstance(error, StreamRejected)
    return error.sentence


def test_files_beyond_the_number_are_refused_until_some_are_taken_out(pair: Pair, folder: Path) -> None:
    world = World(pair, folder, quota_files=3)
    for name in ("a", "b", "c"):
        world.send(name).result(PATIENCE_S)
    sentence = refusal(world, "d")
    assert "the inbox keeps no more than 3 files and folders (quota_files) of site: have some taken out" in sentence
    assert world.names == world.finished == ["a", "b", "c"]
    (folder / "site" / "b").unlink()
    eventually(lambda: world.send("d").exception(PATIENCE_S) is None)
    assert world.finished == ["a", "c", "d"]


def test_folders_count_and_those_on_the_way_too(pair: Pair, folder: Path) -> None:
    world = World(pair, folder, quota_files=4)

    def make(name: str) -> BaseException | None:
        headers = FileHeaders(name).to_headers()
        sent = pair.at_site.send_stream(FILE_CHANNEL, FOLDER_TOPIC, "server", Message(headers, b""))
        return sent.exception(PATIENCE_S)

    assert make("one/two") is None
    assert make("one/two") is None
    world.send("one/file").result(PATIENCE_S)
    assert "quota_files" in refusal(world, "three/file")
    world.send("one/last").result(PATIENCE_S)
    assert isinstance(make("four"), StreamRejected)
    assert not (folder / "site" / "four").exists()


def test_bytes_beyond_the_limit_are_refused_before_they_travel(pair: Pair, folder: Path) -> None:
    world = World(pair, folder, quota_bytes=1000)
    world.send("a", bytes(600)).result(PATIENCE_S)
    assert "1,000 bytes (quota_bytes)" in refusal(world, "b", bytes(401))
    world.send("c", bytes(400)).result(PATIENCE_S)
    assert world.finished == ["a", "c"]


def test_what_has_come_of_a_file_counts(pair: Pair, folder: Path) -> None:
    world = World(pair, folder, quota_bytes=1000)
    with Gate() as gate:
        first = world.begin("a", gate, bytes(100), bytes(400))
        eventually(lambda: [path.stat().st_size for path in folder.glob("site/.streamcell/*.part")] == [100])
        assert "quota_bytes" in refusal(world, "b", bytes(950))
        world.send("c", bytes(400)).result(PATIENCE_S)
        gate.open()
        first.result(PATIENCE_S)
    assert world.finished == ["a", "c"]


def test_a_stream_of_unknown_size_is_stopped_at_the_limit(pair: Pair, folder: Path) -> None:
    world = World(pair, folder, quota_bytes=1000)
    assert "quota_bytes" in refusal(world, "a", IterStream(iter([bytes(600), bytes(600)])))
    assert world.names == []


def test_each_sender_has_a_quota_of_its_own(cells: Cells, folder: Path) -> None:
    pair = cells.pair()
    world = World(pair, folder, quota_files=1)
    world.send("a").result(PATIENCE_S)
    assert "of site" in refusal(world, "b")
    other = cells.dial(pair.server, "other")
    source = IterStream(iter([b"some bytes"]), headers={"name": "a"})
    assert send_file(other, "server", source).result(PATIENCE_S) == 10


def test_limits_may_change(pair: Pair, folder: Path) -> None:
    world = World(pair, folder)
    for name in ("a", "b"):
        world.send(name).result(PATIENCE_S)
    world.inbox.reload(InboxSettings(folder=folder, quota_files=2))
    assert "2 files" in refusal(world, "c")
    world.inbox.reload(InboxSettings(folder=folder, quota_files=3))
    world.send("c").result(PATIENCE_S)
    world.inbox.reload(InboxSettings(folder=folder))
    world.send("d").result(PATIENCE_S)
    assert world.finished == ["a", "b", "c", "d"]


def test_receipts_and_the_folder_of_work_files_count_for_nothing_partial_files_do(tmp_path: Path) -> None:
    work = tmp_path / ".streamcell"
    work.mkdir()
    (work / "1.done").write_bytes(bytes(100))
    (work / "2.part").write_bytes(bytes(10))
    (tmp_path / "file").write_bytes(bytes(5))
    quota = Quota(Limits(most_bytes=20, most_files=3))
    with Folder.open(tmp_path, FileSystem()) as folder:
        with quota.claim("site", folder, 5) as share:
            share.use(5)
        quota.begin_files("site", folder, 1)
        with pytest.raises(StreamRejected, match="quota_files"):
            quota.begin_files("site", folder, 1)
        with pytest.raises(StreamRejected, match="quota_bytes"), quota.claim("site", folder, 1):
            pass


def test_what_does_not_come_after_all_is_given_back(tmp_path: Path) -> None:
    quota = Quota(Limits(most_bytes=20))
    with Folder.open(tmp_path, FileSystem()) as folder:
        with quota.claim("site", folder, 20) as share:
            share.use(2)
        with quota.claim("site", folder, 18):
            pass
        with pytest.raises(StreamRejected), quota.claim("site", folder, 19):
            pass
