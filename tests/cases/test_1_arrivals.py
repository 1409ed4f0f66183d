"""Whether a file has arrived is one fact: whatever shows it, however often it is sent, and whoever ends meanwhile."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streamcell import BytesStream, ErrorCode, IterStream, StreamError, StreamFuture
from streamcell.cli.outcome import ExitCode
from streamcell.daemon.inbox import Inbox, InboxSettings
from streamcell.daemon.settings import ServeSettings
from streamcell.daemon.standalone import StandaloneCell
from tests.kit.cells import CARRIERS, Carrier, connected_pair, grpc_carrier
from tests.kit.inboxes import Ending, Events, Life, World, files, send_file, work_files
from tests.kit.payloads import pattern
from tests.kit.programs import Command, run_command
from tests.kit.waiting import PATIENCE_S, Box, Gate, eventually

SMALL = pattern(300_000)
TAIL = b"one line more\n"


@pytest.fixture(params=CARRIERS)
def carrier(request: pytest.FixtureRequest) -> Carrier:
    return CARRIERS[request.param]()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "inbox"


# --- 1.3: what shows an arrival does not decide it


class Clumsy(Events):
    """A watcher that raises, whatever it is told."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def on_started(self, name: str, future: StreamFuture) -> None:
        super().on_started(name, future)
        raise self.error

    def on_arrived(self, name: str, future: StreamFuture, path: Path) -> None:
        super().on_arrived(name, future, path)
        raise self.error

    def on_failed(self, name: str, future: StreamFuture, sentence: str) -> None:
        super().on_failed(name, future, sentence)
        raise self.error


@pytest.mark.parametrize(
    "error", [UnicodeEncodeError("ascii", "☃", 0, 1, "no"), BrokenPipeError(), KeyError("x"), SystemExit(1)]
)
def test_case_1_3_watcher_that_raises_decides_nothing(carrier: Carrier, folder: Path, error: BaseException) -> None:
    with connected_pair(carrier) as pair:
        world = World(pair, folder)
        world.events = Clumsy(error)
        Inbox(InboxSettings(folder=folder), world.events).register(pair.at_server)
        for number in range(2):
            assert world.send(f"grüße-☃-{number}.txt", SMALL).result(PATIENCE_S) == len(SMALL)
        assert "leads out of the inbox" in world.refusal("../x").sentence
    assert files(folder) == ["grüße-☃-0.txt", "grüße-☃-1.txt"]


def test_case_1_3_receiving_ends_after_its_count_where_names_cannot_be_shown(tmp_path: Path) -> None:
    names = ["grüße-☃.txt", "plain.txt"]
    for name in names:
        (tmp_path / name).write_bytes(SMALL)
    ascii_only = ["env", "PYTHONIOENCODING=ascii"]
    arguments = ("recv", "--as", "box", "--listen", "grpc://127.0.0.1:0", "--into", "BOX", "--count", "2")
    with Command(*arguments, cwd=tmp_path, prefix=ascii_only) as receiver:
        url = receiver.errors.wait_for(r"box listens at (\S+);")[1]
        sent = run_command("send", *names, "--to", "box", "--connect", url, "--as", "lab", cwd=tmp_path)
        assert sent.returncode == ExitCode.DONE, sent.stderr
        assert receiver.wait() == ExitCode.DONE, receiver.errors.all
    assert files_of(tmp_path / "BOX/lab") == dict.fromkeys(names, SMALL)


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


# --- 1.4: a file that has changed since it arrived is sent as it is now


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("digest", ["", "sha256"])
@pytest.mark.parametrize("name", ["grow.log", "logs/today/grow.log"])
def test_case_1_4_only_the_tail_of_a_grown_file_travels(
    carrier: Carrier, folder: Path, replace: bool, digest: str, name: str
) -> None:
    content = SMALL
    for travelled in (len(SMALL), len(TAIL), 0, len(TAIL)):
        if travelled == len(TAIL):
            content += TAIL
        with Life(carrier, folder, replace=replace) as life:
            source = BytesStream(content, {"name": name})
            assert life.send(source, digest=digest).result(PATIENCE_S) == len(content)
            assert life.received() == travelled
    stem = folder / "site" / name
    expected = {"grow.log": content}
    if not replace:
        expected = {"grow.log": SMALL, "grow (2).log": SMALL + TAIL, "grow (3).log": content}
    assert files_of(stem.parent) == expected
    assert work_files(folder).keys() == {".done"}


CHANGED: dict[str, tuple[bytes, bytes]] = {
    "shrunk": (SMALL, SMALL[:-5000]),
    "same size, other content": (SMALL, pattern(len(SMALL), seed=3)),
    "rotated and longer": (SMALL, pattern(2 * len(SMALL), seed=3)),
    "grown from nothing": (b"", SMALL),
    "emptied": (SMALL, b""),
    "empty twice": (b"", b""),
    "much longer": (b"first\n", b"first\n" + SMALL),
}


@pytest.mark.parametrize("change", CHANGED)
@pytest.mark.parametrize("digest", ["", "sha256"])
def test_case_1_4_changed_file_arrives_as_it_is(folder: Path, change: str, digest: str) -> None:
    before, after = CHANGED[change]
    carrier = CARRIERS["memory"]()
    for content in (before, after, after):
        with Life(carrier, folder) as life:
            assert life.send(BytesStream(content, {"name": "a"}), digest=digest).result(PATIENCE_S) == len(content)
    expected = {"a": before} if before == after else {"a": before, "a (2)": after}
    assert files_of(folder / "site") == expected


@pytest.mark.parametrize("grown", [False, True])
def test_case_1_4_stream_of_unknown_size_sent_again(carrier: Carrier, folder: Path, grown: bool) -> None:
    second = SMALL + TAIL if grown else SMALL
    for content, travelled in ((SMALL, len(SMALL)), (second, len(second) - len(SMALL))):
        with Life(carrier, folder) as life:
            pieces = (content[start : start + 7000] for start in range(0, len(content), 7000))
            assert life.send(IterStream(pieces, 0, {"name": "a"})).result(PATIENCE_S) == len(content)
            assert life.received() == travelled
    assert files_of(folder / "site") == ({"a": SMALL, "a (2)": second} if grown else {"a": SMALL})


def edit(path: Path) -> None:
    path.write_bytes(b"edited here")


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"appended here")


def replace_by_other(path: Path) -> None:
    status = path.stat()
    path.unlink()
    path.write_bytes(bytes(status.st_size))
    os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))


def rename(path: Path) -> None:
    path.rename(path.with_name("renamed"))


@pytest.mark.parametrize("change", [edit, append, replace_by_other, rename, Path.unlink])
def test_case_1_4_what_was_changed_at_the_receiver_is_left_alone(
    folder: Path, change: Callable[[Path], object]
) -> None:
    carrier = CARRIERS["memory"]()
    with Life(carrier, folder) as life:
        life.send(BytesStream(SMALL, {"name": "a"})).result(PATIENCE_S)
    change(folder / "site/a")
    before = files_of(folder / "site")
    with Life(carrier, folder) as life:
        assert life.send(BytesStream(SMALL + TAIL, {"name": "a"})).result(PATIENCE_S) == len(SMALL + TAIL)
    after = files_of(folder / "site")
    new = "a (2)" if "a" in before else "a"
    assert after == before | {new: SMALL + TAIL}


def test_case_1_4_receipt_that_was_cleaned_away(folder: Path) -> None:
    carrier = CARRIERS["memory"]()
    with Life(carrier, folder, keep_days=1.0) as life:
        life.send(BytesStream(SMALL, {"name": "a"})).result(PATIENCE_S)
        eventually(lambda: life.inbox.active() == 0)
        assert life.inbox.clean(time.time() + 2 * 24 * 3600) == 1
    with Life(carrier, folder) as life:
        assert life.send(BytesStream(SMALL + TAIL, {"name": "a"})).result(PATIENCE_S) == len(SMALL + TAIL)


def test_case_1_4_grown_file_that_is_interrupted_goes_on(carrier: Carrier, folder: Path) -> None:
    grown = SMALL + pattern(600_000, seed=5)
    with Life(carrier, folder) as life:
        life.send(BytesStream(SMALL, {"name": "file"})).result(PATIENCE_S)
    with Life(carrier, folder) as life:
        # Stands in front of the tail first, so that it is known how far it gets.
        assert life.send(Ending(grown, stop_at=500_000)).exception(PATIENCE_S)
        eventually(lambda: any(path.stat().st_size == 500_000 for path in folder.rglob("*.part")))
    with Life(carrier, folder) as life:
        assert life.send(BytesStream(grown, {"name": "file"})).result(PATIENCE_S) == len(grown)
        assert life.received() == len(grown) - 500_000
    assert files_of(folder / "site") == {"file": SMALL, "file (2)": grown}


@pytest.mark.parametrize("receipt", [True, False])
def test_case_1_4_file_that_has_its_name_already_is_not_written_to(folder: Path, receipt: bool) -> None:
    """As if the receiver had been killed between the name and the end of the partial file, which are one file."""
    carrier = CARRIERS["memory"]()
    with Life(carrier, folder) as life:
        life.send(BytesStream(SMALL, {"name": "a"})).result(PATIENCE_S)
    done = work_files(folder)[".done"]
    os.link(folder / "site/a", done.with_suffix(".part"))
    if not receipt:
        done.unlink()
    with Life(carrier, folder) as life:
        life.send(BytesStream(SMALL + TAIL, {"name": "a"})).result(PATIENCE_S)
        assert life.received() == len(TAIL)
    assert files_of(folder / "site") == {"a": SMALL, "a (2)": SMALL + TAIL}


# --- 1.6: what is given up is not there, and what is there is confirmed


class Standing:
    """A standing cell with an inbox, and a cell that sends to it."""

    def __init__(self, folder: Path, grace_s: float) -> None:
        self.events = Events()
        settings = ServeSettings(
            fqcn="hub", listen=("grpc://127.0.0.1:0",), inbox=InboxSettings(folder=folder), grace_s=grace_s
        )
        self.standalone = StandaloneCell(settings, self.events)
        self.hurry = threading.Event()
        self.drained: Box[bool] = Box()

    def __enter__(self) -> Standing:
        self.standalone.start()
        self.site = grpc_carrier().cell("site", connect=self.standalone.cell.listen_urls)
        self.site.start()
        self.site.wait_connected(PATIENCE_S)
        return self

    def __exit__(self, *_: object) -> None:
        self.site.stop(0)
        self.standalone.stop()

    def begin_drain(self) -> None:
        """Drain in another thread, as SIGTERM has it done in the main one."""
        threading.Thread(target=lambda: self.drained.put(self.standalone.drain(self.hurry))).start()

    def send(self, content: bytes = SMALL) -> StreamFuture:
        return send_file(self.site, "hub", BytesStream(content, {"name": "a"}))


@pytest.fixture
def syncing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bool], Gate]]:
    """Have syncing of files, or of folders, wait at a gate from when it is called."""
    real = os.fsync
    gates: list[Gate] = []

    def wait_at_gate(of_folders: bool) -> Gate:
        gate = Gate()
        gates.append(gate)

        def fsync(descriptor: int) -> None:
            if stat.S_ISDIR(os.fstat(descriptor).st_mode) == of_folders:
                gate.pass_through()
            real(descriptor)

        monkeypatch.setattr(os, "fsync", fsync)
        return gate

    yield wait_at_gate
    for gate in gates:
        gate.open()


@pytest.mark.parametrize("how", ["grace", "second signal"])
def test_case_1_6_file_that_is_synced_beyond_the_grace_is_given_up(
    folder: Path, syncing: Callable[[bool], Gate], how: str
) -> None:
    with Standing(folder, 0.0 if how == "grace" else 1000.0) as standing:
        gate = syncing(False)
        future = standing.send()
        gate.wait_arrived()
        standing.begin_drain()
        if how == "second signal":
            standing.hurry.set()
        error = future.exception(PATIENCE_S)
        assert isinstance(error, StreamError)
        assert error.code is ErrorCode.STOPPING
        assert standing.drained.get() is False
        gate.open()
        assert "the inbox is being closed" in standing.events.failed.get()
        assert standing.events.arrived.is_empty()
    assert files(folder) == []
    with Standing(folder, 0.0) as standing:
        assert standing.send().result(PATIENCE_S) == len(SMALL)
    assert files_of(folder / "site") == {"a": SMALL}


def test_case_1_6_file_that_has_its_name_is_waited_for_beyond_the_grace(
    folder: Path, syncing: Callable[[bool], Gate]
) -> None:
    with Standing(folder, 0.0) as standing:
        standing.send(b"makes the folders").result(PATIENCE_S)
        standing.events.arrived.get()
        gate = syncing(True)
        future = standing.send()
        gate.wait_arrived()
        standing.begin_drain()
        assert not future.done()
        gate.open()
        assert future.result(PATIENCE_S) == len(SMALL)
        assert standing.events.arrived.get() == folder / "site/a (2)"
        standing.drained.get()
    assert files_of(folder / "site") == {"a": b"makes the folders", "a (2)": SMALL}
