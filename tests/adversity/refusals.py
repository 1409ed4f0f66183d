"""The system says no: each call to it that a run makes fails once, with each error that it may have.

``scripts/refusals`` does all of it; a part, the same each time, is among the tests. A run sends files, streams and
blobs both ways between two cells. One call is refused; then the cells have to live, everything has to settle, what
succeeded has to be there whole, what failed must not be there, and the same run without a refusal has to succeed.
"""

from __future__ import annotations

import argparse
import dataclasses
import errno
import json
import logging
import mmap
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

from streamcell import CellConfig, CoreCell, FileStream, Message, StreamCell, StreamError, StreamFuture
from streamcell.daemon.conventions import FILE_CHANNEL, FILE_TOPIC, FileHeaders
from streamcell.daemon.inbox import Inbox, InboxSettings, LogWatcher
from streamcell.runtime.buffers import BufferPool
from tests.kit.cells import CARRIERS, Carrier, connected_pair
from tests.kit.payloads import pattern
from tests.kit.refusing import never, only, refusing
from tests.kit.waiting import PATIENCE_S

MIB = 1 << 20
CONFIG = CellConfig(backoff_min_s=0.02, backoff_max_s=0.2, connect_timeout_s=5.0, idle_buffer_bytes=0)
_CHANNEL = "refusals"


@dataclasses.dataclass(frozen=True)
class Call:
    """Something that is asked of the system, and what it may be refused with."""

    title: str
    owner: Any
    name: str
    errors: tuple[BaseException, ...]


def _system_errors(*names: str) -> tuple[BaseException, ...]:
    return tuple(OSError(getattr(errno, name), os.strerror(getattr(errno, name))) for name in names)


CALLS = (
    Call("Thread.start", threading.Thread, "start", (RuntimeError("can't start new thread"), MemoryError())),
    Call(
        "os.open",
        os,
        "open",
        _system_errors("EMFILE", "ENFILE", "ENOMEM", "EACCES", "EIO", "ENOSPC", "EDQUOT", "EROFS", "ESTALE"),
    ),
    Call("os.fsync", os, "fsync", _system_errors("EIO", "ENOSPC", "EDQUOT", "EINVAL", "EROFS", "ENOSYS")),
    Call("os.fchmod", os, "fchmod", _system_errors("EPERM", "EIO", "EROFS", "ENOSYS", "EOPNOTSUPP")),
    Call("os.utime", os, "utime", _system_errors("EPERM", "EACCES", "EROFS", "ENOSYS", "EIO")),
    Call("os.link", os, "link", _system_errors("EPERM", "EMLINK", "ENOSPC", "EDQUOT", "EIO", "EOPNOTSUPP", "ENOSYS")),
    Call("os.replace", os, "replace", _system_errors("ENOSPC", "EIO", "EACCES", "EROFS", "EDQUOT")),
    Call("os.fstatvfs", os, "fstatvfs", _system_errors("EIO", "ENOSYS", "ENOMEM", "ESTALE")),
    Call("mmap.mmap", mmap, "mmap", _system_errors("ENOMEM", "EAGAIN")),
    Call("BufferPool.allocate", BufferPool, "allocate", (MemoryError(),)),
)


class Side:
    """One of two cells: an inbox, and what else it has received, by name."""

    def __init__(self, cell: CoreCell, folder: Path, *, replace: bool) -> None:
        self.cell = cell
        self.streams = StreamCell(cell)
        self.folder = folder
        self.arrived: dict[str, bytes] = {}
        self._inbox = Inbox(InboxSettings(folder=folder, replace=replace, min_free_bytes=0), LogWatcher())
        self._inbox.register(self.streams)
        self.streams.register_stream_cb(_CHANNEL, "stream", self._take_stream)
        self.streams.register_blob_cb(_CHANNEL, "blob", self._take_blob)

    def close(self) -> None:
        """Let go of the inbox."""
        self._inbox.wait_idle(PATIENCE_S)
        self._inbox.close()

    def _take_stream(self, future: StreamFuture, stream: Any, _resume: bool) -> None:
        self.arrived[str(future.get_headers()["name"])] = stream.read(-1)

    def _take_blob(self, future: StreamFuture) -> None:
        self.arrived[str(future.get_headers()["name"])] = bytes(future.result())


class World:
    """Two cells, and what they send each other in one round after the other."""

    def __init__(self, carrier: Carrier, folder: Path, *, replace: bool) -> None:
        self._carrier = carrier
        self._folder = folder
        self._replace = replace
        self._rounds = 0
        self._file = folder / "source"
        self._file.write_bytes(pattern(200_000))

    def run(self, before: Callable[[], Any]) -> Generator[list[str], None, None]:
        """Connect the cells, call ``before``, and yield what was wrong with each round that is asked for."""
        with connected_pair(self._carrier, config=CONFIG) as pair:
            sides = [Side(cell, self._folder / cell.fqcn, replace=self._replace) for cell in (pair.server, pair.site)]
            try:
                before()
                while True:
                    yield self._round(sides)
            finally:
                for side in sides:
                    side.close()

    def _round(self, sides: list[Side]) -> list[str]:
        self._rounds += 1
        sent: list[tuple[str, Side, bytes, StreamFuture]] = []
        for here, there in (sides, sides[::-1]):
            sent += self._send(here, there)
        wrong = []
        for name, there, data, future in sent:
            try:
                future.result(PATIENCE_S)
            except TimeoutError:
                wrong.append(f"{name}: hangs")
                continue
            except StreamError as error:
                if self._find(name, there, future) is not None:
                    wrong.append(f"{name}: is there and is said to have failed: {error}")
                else:
                    wrong.append(f"failed: {name}: {error}")
                continue
            if not self._wait_for(name, there, data, future):
                wrong.append(f"{name}: is said to have arrived and has not")
        return wrong

    def _send(self, here: Side, there: Side) -> Iterator[tuple[str, Side, bytes, StreamFuture]]:
        target, file = there.cell.fqcn, self._file.read_bytes()
        for number, resume_id in enumerate(("", f"{target} {self._rounds}")):
            name = f"folder/file {self._rounds}.{number}"
            headers = FileHeaders(name, 1_700_000_000_000_000_000, 0o640).to_headers()
            message = Message(headers, FileStream(self._file))
            future = here.streams.send_stream(FILE_CHANNEL, FILE_TOPIC, target, message, resume_id=resume_id)
            yield name, there, file, future
        for topic, data in (("stream", pattern(300_000)), ("blob", pattern(5 * MIB)), ("blob", pattern(1_500_000))):
            name = f"{topic} {self._rounds}.{len(data)}"
            send = here.streams.send_stream if topic == "stream" else here.streams.send_blob
            yield name, there, data, send(_CHANNEL, topic, target, Message({"name": name}, data))

    def _find(self, name: str, there: Side, future: StreamFuture) -> bytes | None:
        if future.topic != FILE_TOPIC:
            return there.arrived.get(name)
        path = there.folder / ("site" if there.cell.fqcn == "server" else "server") / name
        return path.read_bytes() if path.exists() else None

    def _wait_for(self, name: str, there: Side, data: bytes, future: StreamFuture) -> bool:
        # A blob's callback runs after its sender was told.
        deadline = time.monotonic() + PATIENCE_S
        while (found := self._find(name, there, future)) is None and time.monotonic() < deadline:
            time.sleep(0.002)
        return found == data


class Faults(logging.Handler):
    """Keeps what the log calls a bug."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        if "bug" in record.getMessage() or "should not" in record.getMessage():
            self.said.append(record.getMessage())


@dataclasses.dataclass
class Tally:
    """What was done and found."""

    runs: int = 0
    refused: int = 0
    failed_transfers: int = 0
    wrong: list[str] = dataclasses.field(default_factory=list)


def count_calls(call: Call, carrier: str, *, replace: bool) -> int:
    """Return how many such calls a run makes."""
    with tempfile.TemporaryDirectory() as folder:
        rounds = World(CARRIERS[carrier](), Path(folder), replace=replace)
        with refusing(call.owner, call.name, MemoryError, never) as counted:
            running = rounds.run(lambda: setattr(counted, "calls", 0))
            next(running)
            calls = counted.calls
            running.close()
    return calls


def refuse_one(call: Call, carrier: str, number: int, error: BaseException, tally: Tally, *, replace: bool) -> None:
    """Refuse one call of a run, and look at what comes of it."""
    where = f"{call.title} {number} over {carrier}, {type(error).__name__}: {error}"
    faults = Faults()
    logger = logging.getLogger("streamcell")
    logger.addHandler(faults)
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            refusing(call.owner, call.name, lambda: _copy(error), only(number)) as refusal,
        ):
            running = World(CARRIERS[carrier](), Path(folder), replace=replace).run(
                lambda: setattr(refusal, "calls", 0)
            )
            found = next(running)
            refusal.end()
            failed = [each for each in found if each.startswith("failed: ")]
            tally.failed_transfers += len(failed)
            tally.wrong += [f"{where}: {each}" for each in found if each not in failed]
            # One refusal is one transfer's.
            tally.wrong += [f"{where}: {each}" for each in failed[1:]]
            tally.wrong += [f"{where}: afterwards {each}" for each in next(running)]
            running.close()
    finally:
        logger.removeHandler(faults)
    tally.runs += 1
    tally.refused += len(refusal.refused)
    tally.wrong += [f"{where}: {each}" for each in faults.said]


def _copy(error: BaseException) -> BaseException:
    return type(error)(*error.args)


def refuse_all(calls: Iterable[Call], carriers: Iterable[str], *, step: int = 1) -> Tally:
    """Refuse each call of a run with each of its errors, or every ``step``-th such pair."""
    tally = Tally()
    index = 0
    for carrier in carriers:
        for call in calls:
            # Only what replaces files renames them.
            replace = call.name == "replace"
            count = count_calls(call, carrier, replace=replace)
            for number in range(1, count + 1):
                for error in call.errors:
                    index += 1
                    if index % step == 0:
                        refuse_one(call, carrier, number, error, tally, replace=replace)
    return tally


def main() -> int:
    """Do all of it, and print what was found."""
    parser = argparse.ArgumentParser(prog="scripts/refusals", description=__doc__)
    parser.add_argument("--step", type=int, default=1, help="only every so many pairs of call and error (%(default)s)")
    parser.add_argument("--carrier", choices=sorted(CARRIERS), action="append", help="over this one; all if not given")
    words = parser.parse_args()
    began = time.monotonic()
    tally = refuse_all(CALLS, words.carrier or sorted(CARRIERS), step=words.step)
    print(json.dumps({**dataclasses.asdict(tally), "elapsed_s": round(time.monotonic() - began, 1)}, indent=1))
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
