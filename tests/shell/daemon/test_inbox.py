"""The inbox as its senders and its operator see it: over cells in memory, with real files."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamcell import (
    BytesStream,
    ErrorCode,
    IterStream,
    StreamCancelled,
    StreamFuture,
    StreamRejected,
    UsageError,
)
from streamcell.daemon.inbox import Inbox, InboxSettings
from tests.kit.cells import Pair, connected_pair, memory_carrier
from tests.kit.inboxes import MODE, MTIME_NS, Events, World
from tests.kit.payloads import pattern
from tests.kit.waiting import PATIENCE_S, Gate, eventually


@pytest.fixture
def pair() -> Iterator[Pair]:
    with connected_pair(memory_carrier()) as cells:
        yield cells


@pytest.fixture
def world(pair: Pair, tmp_path: Path) -> World:
    return World(pair, tmp_path / "inbox")


@pytest.mark.parametrize("size", [0, 1, 5_000_000])
def test_file_arrives_with_all_that_is_known_of_it(world: World, size: int) -> None:
    data = pattern(size)
    future = world.send("folder/file.bin", data, resume_id="this one", digest="sha256")
    assert future.result(PATIENCE_S) == size
    path = world.folder / "site/folder/file.bin"
    assert path.read_bytes() == data
    status = path.stat()
    assert stat.S_IMODE(status.st_mode) == MODE
    assert status.st_mtime_ns == MTIME_NS
    assert status.st_nlink == 1
    assert world.finished == ["folder/file.bin"]
    assert world.events.arrived.get() == path
    assert world.events.started.get() == "folder/file.bin"


def test_stream_of_unknown_size_arrives(world: World) -> None:
    source = (bytes([number]) * 1000 for number in range(200))
    assert world.send("unknown", IterStream(source)).result(PATIENCE_S) == 200_000
    assert (world.folder / "site/unknown").stat().st_size == 200_000
    assert world.names == ["unknown"]


def test_nothing_has_the_name_before_it_is_complete(world: World) -> None:
    with Gate() as gate:
        future = world.begin("late", gate, bytes(300_000), b"the end", resume_id="late")
        eventually(lambda: any((world.folder / "site").rglob("*.part")))
        assert world.finished == []
        gate.open()
        assert future.result(PATIENCE_S) == 300_007
    assert world.finished == ["late"]


def test_name_that_exists_is_numbered(world: World) -> None:
    for content in (b"one", b"two", b"three"):
        world.send("a.txt", content).result(PATIENCE_S)
    assert world.names == ["a (2).txt", "a (3).txt", "a.txt"]
    assert [(world.folder / "site" / name).read_bytes() for name in world.names] == [b"two", b"three", b"one"]


def test_name_that_exists_is_replaced_when_asked_for(pair: Pair, tmp_path: Path) -> None:
    world = World(pair, tmp_path / "inbox", replace=True)
    for content in (b"one", b"two"):
        world.send("a.txt", content).result(PATIENCE_S)
    assert world.names == ["a.txt"]
    assert (world.folder / "site/a.txt").read_bytes() == b"two"


def test_many_of_one_name_at_the_same_time_are_all_kept(world: World) -> None:
    futures = [world.send("same", str(number).encode()) for number in range(30)]
    for future in futures:
        future.result(PATIENCE_S)
    contents = {(world.folder / "site" / name).read_text() for name in world.names}
    assert contents == {str(number) for number in range(30)}


@pytest.mark.parametrize("name", ["../outside", "/etc/outside", "a/../../outside", "", b"..", "x" * 300])
def test_hostile_name_is_refused(world: World, name: str | bytes) -> None:
    assert isinstance(world.refusal(name), StreamRejected)
    assert world.finished == []
    assert not any(path.name == "outside" for path in world.folder.parent.rglob("*"))
    assert world.events.failed.get()


def test_odd_name_arrives_as_it_may_be_shown(world: World) -> None:
    for name in ("new\nline", b"caf\xe9", "文件.txt", "CON"):
        world.send(name).result(PATIENCE_S)
    assert world.names == sorted(["new%0Aline", "caf%E9", "文件.txt", "%43ON"])


@pytest.mark.parametrize(
    ("headers", "sentence"),
    [
        ({}, "has no name"),
        ({"name": 7}, "has no name"),
        ({"name": "x", "mtime_ns": "yesterday"}, "'mtime_ns' is not a whole number"),
        ({"name": "x", "mode": True}, "'mode' is not a whole number"),
    ],
)
def test_wrong_headers_are_refused(world: World, headers: dict[str, Any], sentence: str) -> None:
    assert sentence in world.refusal(headers=headers).sentence


def test_mode_and_time_may_be_left_out_and_set_user_id_never_arrives(world: World) -> None:
    world.send("plain", headers={"name": "plain"}).result(PATIENCE_S)
    world.send("suid", headers={"name": "suid", "mode": 0o6755}).result(PATIENCE_S)
    assert stat.S_IMODE((world.folder / "site/plain").stat().st_mode) & 0o111 == 0
    assert stat.S_IMODE((world.folder / "site/suid").stat().st_mode) & 0o7000 == 0


@pytest.mark.parametrize("place", ["site", "site/.streamcell", "site/sub"])
def test_symbolic_link_in_the_way_is_not_followed(world: World, tmp_path: Path, place: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    link = world.folder / place
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(outside)
    assert isinstance(world.refusal("sub/file"), StreamRejected)
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize("replace", [False, True])
def test_symbolic_link_of_the_same_name_is_not_written_through(pair: Pair, tmp_path: Path, replace: bool) -> None:
    world = World(pair, tmp_path / "inbox", replace=replace)
    outside = tmp_path / "outside"
    outside.write_text("untouched")
    (world.folder / "site").mkdir()
    (world.folder / "site/file").symlink_to(outside)
    world.send("file", b"new").result(PATIENCE_S)
    assert outside.read_text() == "untouched"
    assert world.names == (["file"] if replace else ["file", "file (2)"])


def test_folder_in_the_place_of_a_file_is_not_replaced(pair: Pair, tmp_path: Path) -> None:
    world = World(pair, tmp_path / "inbox", replace=True)
    (world.folder / "site/file").mkdir(parents=True)
    assert "cannot keep 'file'" in world.refusal("file").sentence
    assert (world.folder / "site/file").is_dir()


def test_too_little_space_is_refused_before_anything_is_written(pair: Pair, tmp_path: Path) -> None:
    world = World(pair, tmp_path / "inbox", min_free_bytes=1 << 60)
    error = world.refusal("big", pattern(100_000))
    assert "not enough space" in error.sentence
    assert "100,000 more bytes are needed" in error.sentence
    assert world.names == []


def test_space_is_watched_while_a_stream_of_unknown_size_arrives(pair: Pair, tmp_path: Path) -> None:
    world = World(pair, tmp_path / "inbox", min_free_bytes=1 << 60)
    sentence = world.refusal("endless", IterStream(bytes(1 << 20) for _ in range(100))).sentence
    # How much it still needs nobody knows.
    assert sentence == "there is not enough space in the inbox; make room there and send it again"
    assert world.names == []


@pytest.mark.parametrize(("resume_id", "left"), [("again", 1), ("", 0)])
def test_interrupted_transfer_leaves_its_bytes_only_if_it_can_be_begun_again(
    world: World, resume_id: str, left: int
) -> None:
    with Gate() as gate:
        future = world.begin("cut", gate, bytes(2_000_000), resume_id=resume_id)
        eventually(lambda: any(path.stat().st_size == 2_000_000 for path in world.folder.rglob("*.part")))
        future.cancel()
        with pytest.raises(StreamCancelled):
            future.result(PATIENCE_S)
    assert "cancelled" in world.events.failed.get()
    eventually(lambda: world.inbox.active() == 0)
    assert len(list(world.folder.rglob("*.part"))) == left
    assert world.finished == []


def test_wrong_digest_leaves_nothing(world: World) -> None:
    error = world.refusal("bad", b"some bytes", digest="sha256:" + "0" * 64, resume_id="bad")
    assert error.code is ErrorCode.INTEGRITY
    # The sender is told as soon as it is known.
    eventually(lambda: world.names == [])


def test_draining_inbox_ends_what_has_begun_and_refuses_what_is_new(world: World) -> None:
    with Gate() as gate:
        begun = world.begin("begun", gate, b"begun")
        eventually(lambda: world.inbox.active() == 1)
        world.inbox.begin_drain()
        assert world.refusal("new").code is ErrorCode.STOPPING
        assert not world.inbox.wait_idle(0.05)
        gate.open()
        assert begun.result(PATIENCE_S) == 5
    assert world.inbox.wait_idle(PATIENCE_S)
    assert world.names == ["begun"]


def test_second_transfer_of_the_same_file_waits_for_the_first(world: World) -> None:
    with Gate() as gate:
        first = world.begin("same", gate, b"first", resume_id="same")
        eventually(lambda: world.inbox.active() == 1)
        second = world.send("same", BytesStream(b"second"), resume_id="same")
        assert world.events.started.get_all(2) == ["same", "same"]
        assert not second.done()
        gate.open()
        assert first.result(PATIENCE_S) == 5
        assert second.result(PATIENCE_S) == 6
    contents = [(world.folder / "site" / name).read_bytes() for name in world.finished]
    assert sorted(contents) == [b"first", b"second"]


def test_work_files_that_nobody_came_back_for_are_removed(world: World) -> None:
    world.send("whole", resume_id="whole").result(PATIENCE_S)
    with Gate() as gate:
        future = world.begin("cut", gate, b"begun", resume_id="cut")
        eventually(lambda: world.inbox.active() == 1)
        eight_days_later = time.time() + 8 * 24 * 3600
        assert world.inbox.clean(time.time()) == 0
        # What is on its way stays, whatever its age.
        assert world.inbox.clean(eight_days_later) == 1
        future.cancel()
    eventually(lambda: world.inbox.active() == 0)
    assert world.inbox.clean(eight_days_later) == 1
    assert world.names == ["whole"]


def test_folder_that_cannot_be_used_is_an_error_at_once(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("not a folder")
    for folder in (file, file / "below"):
        with pytest.raises(UsageError, match="cannot be used"):
            Inbox(InboxSettings(folder=folder), Events())


def test_files_get_no_permission_that_the_umask_takes(pair: Pair, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        world = World(pair, tmp_path / "inbox")
        world.send("open", headers={"name": "open", "mode": 0o777}).result(PATIENCE_S)
    finally:
        os.umask(before)
    assert stat.S_IMODE((world.folder / "site/open").stat().st_mode) == 0o750


def test_threads_that_receive_do_not_disturb_each_other(world: World) -> None:
    contents = {f"folder-{number % 5}/file-{number}": pattern(70_000, number) for number in range(40)}
    futures: list[StreamFuture] = []
    senders = [
        threading.Thread(target=lambda item=item: futures.append(world.send(item[0], item[1], resume_id=item[0])))
        for item in contents.items()
    ]
    for thread in senders:
        thread.start()
    for thread in senders:
        thread.join(PATIENCE_S)
    for future in futures:
        assert future.result(PATIENCE_S) == 70_000
    assert set(world.finished) == contents.keys()
    for name, content in contents.items():
        assert (world.folder / "site" / name).read_bytes() == content
