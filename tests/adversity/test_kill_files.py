"""Files that arrive although the receiver, the sender, or both are killed on the way, at points that a seed chooses."""

from __future__ import annotations

import dataclasses
import hashlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streamcell import CoreCell, FileStream, Message, StreamCell, StreamFuture
from tests.kit.cells import QUICK, running
from tests.kit.payloads import pattern
from tests.kit.programs import Script
from tests.kit.timing import scaled
from tests.kit.waiting import PATIENCE_S

SIZE = 24 << 20
KILLS = 5
WINDOW = 1 << 20
CHUNK = 64 << 10
CONFIG = dataclasses.replace(QUICK, chunk_bytes=CHUNK, max_window_bytes=WINDOW, unreachable_timeout_s=scaled(60.0))
ANYWHERE = "grpc://127.0.0.1:0"

SETUP = f"""
import dataclasses
from pathlib import Path
from streamcell import FileStream, StreamResumeError

config = dataclasses.replace(
    QUICK, chunk_bytes={CHUNK}, max_window_bytes={WINDOW}, unreachable_timeout_s={scaled(60.0)}
)

def die():
    os.kill(os.getpid(), signal.SIGKILL)
"""

# Writes what arrives behind what it has, and kills itself when it has written more than so many bytes.
RECEIVER = (
    SETUP
    + """
path, deadly = Path({path!r}), {deadly}

def on_file(future, stream, resume):
    path.touch()
    with path.open("r+b", buffering=0) as file:
        try:
            stream.resume_from(os.fstat(file.fileno()).st_size, have=file)
        except StreamResumeError as error:
            say("from 0 because", error)
            file.truncate(0)
            file.seek(0)
        for piece in stream.pieces():
            file.write(piece)
            if file.tell() > deadly:
                die()
        # Before the end is confirmed.
        if deadly == {size}:
            die()
        say("complete", hashlib.sha256(path.read_bytes()).hexdigest(), stream.digest_checked)

server = CoreCell("server", listen={url!r}, config=config)
StreamCell(server).register_stream_cb("files", "*", on_file)
server.start()
say(server.listen_urls[0])
threading.Event().wait({patience})
"""
)

# Sends a file, and kills itself when more than so many bytes of it were read.
SENDER = (
    SETUP
    + """
class Deadly(FileStream):
    def read(self, size):
        if self.get_pos() > {deadly}:
            die()
        return super().read(size)

site = CoreCell("site", connect={url!r}, config=config)
site.start()
message = Message(None, Deadly({path!r}))
future = StreamCell(site).send_stream("files", "one", "server", message, resume_id="one", digest="sha256")
say("sent", future.result({patience}))
threading.Event().wait({patience})
"""
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(pattern(SIZE))
    return path


def deadly_offsets(seed: int) -> list[int]:
    """Return where to die, rising, so that each life gets further than the one before, and in the end at the end."""
    return [*sorted(random.Random(seed).sample(range(SIZE), KILLS - 1)), SIZE]


def digest() -> str:
    return hashlib.sha256(pattern(SIZE)).hexdigest()


def receiver(copy: Path, url: str, deadly: int) -> str:
    return RECEIVER.format(path=str(copy), url=url, deadly=deadly, size=SIZE, patience=3 * PATIENCE_S)


def sender(path: Path, url: str, deadly: int) -> str:
    return SENDER.format(path=str(path), url=url, deadly=deadly, patience=PATIENCE_S)


def dies(program: Script) -> None:
    """Wait for a program to kill itself."""
    code, errors = program.end()
    assert code == -9, errors


@pytest.mark.parametrize("seed", range(2))
def test_the_receiver_is_killed_again_and_again(source: Path, tmp_path: Path, seed: int) -> None:
    copy, url = tmp_path / "copy", ANYWHERE
    future: StreamFuture | None = None
    site: CoreCell | None = None
    try:
        for deadly in deadly_offsets(seed):
            with Script(receiver(copy, url, deadly)) as program:
                url = program.hear()
                if site is None:
                    site = CoreCell("site", connect=url, config=CONFIG)
                    site.start()
                    message = Message(None, FileStream(source))
                    future = StreamCell(site).send_stream("files", "one", "server", message, digest="sha256")
                dies(program)
        assert site is not None
        assert future is not None
        with Script(receiver(copy, url, SIZE + 1)) as program:
            program.hear()
            assert program.hear() == f"complete {digest()} True"
            assert future.result(PATIENCE_S) == SIZE
        assert site.stats().protocol.bytes_sent <= SIZE + KILLS * (WINDOW + CHUNK)
    finally:
        if site is not None:
            site.stop(0)


@pytest.mark.parametrize("seed", range(2))
def test_the_sender_is_killed_again_and_again(source: Path, seed: int) -> None:
    calls: list[bool] = []
    received = hashlib.sha256()
    ended: list[StreamFuture] = []

    def on_file(future: StreamFuture, stream: Any, resume: bool) -> None:
        calls.append(resume)
        for piece in stream.pieces():
            received.update(piece)
        assert stream.digest_checked
        ended.append(future)

    server = CoreCell("server", listen=ANYWHERE, config=CONFIG)
    StreamCell(server).register_stream_cb("files", "*", on_file)
    with running(server):
        url = server.listen_urls[0]
        for deadly in deadly_offsets(seed)[:-1]:
            with Script(sender(source, url, deadly)) as program:
                dies(program)
        with Script(sender(source, url, SIZE)) as program:
            assert program.hear() == f"sent {SIZE}"
        # One call got it all.
        assert calls == [False]
        assert received.hexdigest() == digest()
        assert ended[0].result(PATIENCE_S) == SIZE


@pytest.mark.parametrize("seed", range(2))
def test_both_are_killed_again_and_again(source: Path, tmp_path: Path, seed: int) -> None:
    copy, url = tmp_path / "copy", ANYWHERE
    chance = random.Random(seed)
    programs: dict[str, Script] = {}
    scripts: dict[str, Callable[[int], str]] = {
        "receiver": lambda deadly: receiver(copy, url, deadly),
        "sender": lambda deadly: sender(source, url, deadly),
    }
    try:
        programs["receiver"] = Script(scripts["receiver"](SIZE + 1))
        url = programs["receiver"].hear()
        for offset in deadly_offsets(seed)[:-1]:
            # One of them dies by itself; the other is killed as well, or not.
            victim = chance.choice(["receiver", "sender"])
            for name in ("receiver", "sender"):
                if name in programs:
                    programs.pop(name).kill()
                programs[name] = Script(scripts[name](offset if name == victim else SIZE + 1))
                if name == "receiver":
                    assert programs[name].hear() == url
            dies(programs.pop(victim))
        for name in list(programs):
            if chance.random() < 0.5:
                programs.pop(name).kill()
        if "receiver" not in programs:
            programs["receiver"] = Script(scripts["receiver"](SIZE + 1))
            assert programs["receiver"].hear() == url
        if "sender" not in programs:
            programs["sender"] = Script(scripts["sender"](SIZE + 1))
        assert programs["receiver"].hear() == f"complete {digest()} True"
        assert programs["sender"].hear() == f"sent {SIZE}"
        assert hashlib.sha256(copy.read_bytes()).hexdigest() == digest()
    finally:
        for program in programs.values():
            program.kill()
