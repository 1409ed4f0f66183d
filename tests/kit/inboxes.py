"""Inboxes for tests: over a pair of cells, and over the lives of a receiver and a sender that end and begin again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from streamcell import (
    BytesStream,
    CoreCell,
    IterStream,
    Message,
    Stream,
    StreamCell,
    StreamError,
    StreamFuture,
)
from streamcell.daemon.conventions import FILE_CHANNEL, FILE_TOPIC, FileHeaders
from streamcell.daemon.inbox import Inbox, InboxSettings, LogWatcher
from tests.kit.cells import Carrier, Pair
from tests.kit.payloads import pattern
from tests.kit.waiting import PATIENCE_S, Box, Gate

MODE, MTIME_NS = 0o640, 1_234_567_890_123_456_789
SIZE = 3_000_000
DATA = pattern(SIZE)


class Events:
    """A watcher that remembers."""

    def __init__(self) -> None:
        self.started: Box[str] = Box()
        self.arrived: Box[Path] = Box()
        self.failed: Box[str] = Box()

    def on_started(self, name: str, _future: StreamFuture) -> None:
        self.started.put(name)

    def on_arrived(self, _name: str, _future: StreamFuture, path: Path) -> None:
        self.arrived.put(path)

    def on_folder(self, _name: str, _future: StreamFuture, path: Path) -> None:
        self.arrived.put(path)

    def on_failed(self, _name: str, _future: StreamFuture, sentence: str) -> None:
        self.failed.put(sentence)


class World:
    """A pair of cells, the first of which has an inbox."""

    def __init__(self, pair: Pair, folder: Path, **settings: Any) -> None:
        self.pair = pair
        self.folder = folder
        self.events = Events()
        self.inbox = Inbox(InboxSettings(folder=folder, **settings), self.events)
        self.inbox.register(pair.at_server)

    def send(self, name: str | bytes | None, payload: Any = b"some bytes", **more: Any) -> StreamFuture:
        headers = more.pop("headers", None)
        if headers is None:
            headers = FileHeaders(name or "", MTIME_NS, MODE).to_headers()
        return self.pair.at_site.send_stream(FILE_CHANNEL, FILE_TOPIC, "server", Message(headers, payload), **more)

    def begin(self, name: str, gate: Gate, first: bytes, rest: bytes = b"", **more: Any) -> StreamFuture:
        """Send what stands still at the gate behind its first bytes, and wait until it stands there."""

        def source() -> Iterator[bytes]:
            yield first
            gate.pass_through()
            yield rest

        future = self.send(name, IterStream(source()), **more)
        gate.wait_arrived()
        return future

    def refusal(self, name: str | bytes | None = "name", payload: Any = b"some bytes", **more: Any) -> StreamError:
        error = self.send(name, payload, **more).exception(PATIENCE_S)
        assert isinstance(error, StreamError)
        return error

    @property
    def names(self) -> list[str]:
        """Every file below the sender's folder, work files too."""
        below = self.folder / "site"
        return sorted(str(path.relative_to(below)) for path in below.rglob("*") if not path.is_dir())

    @property
    def finished(self) -> list[str]:
        return [name for name in self.names if not name.startswith(".streamcell/")]


class Ending(Stream):
    """A source that ends in the middle, as a sender that is killed."""

    def __init__(self, data: bytes, stop_at: int) -> None:
        super().__init__(len(data), {"name": "file"})
        self._data = data
        self._stop_at = stop_at

    def read(self, size: int) -> bytes:
        position = self.get_pos()
        if position >= self._stop_at:
            raise OSError("the sender is ended here")
        piece = self._data[position : min(self._stop_at, position + size)]
        self._pos += len(piece)
        return piece


class Life:
    """One life of a receiver with an inbox, and of a sender."""

    def __init__(self, carrier: Carrier, folder: Path, **settings: Any) -> None:
        self._carrier = carrier
        self._settings = InboxSettings(folder=folder, **settings)

    def __enter__(self) -> Life:
        self.inbox = Inbox(self._settings, LogWatcher())
        self.server: CoreCell = self._carrier.cell("server", listen=self._carrier.url)
        self.inbox.register(StreamCell(self.server))
        self.server.start()
        self.site: CoreCell = self._carrier.cell("site", connect=self.server.listen_urls)
        self.site.start()
        self.site.wait_connected(PATIENCE_S)
        return self

    def __exit__(self, *_: object) -> None:
        self.site.stop(0)
        self.server.stop(0)
        self.inbox.wait_idle(PATIENCE_S)
        self.inbox.close()

    def send(self, source: Any = None, resume_id: str = "the file", **more: Any) -> StreamFuture:
        source = BytesStream(DATA, {"name": "file"}) if source is None else source
        return send_file(self.site, "server", source, resume_id=resume_id, **more)

    def received(self) -> int:
        """Return how many bytes of files have travelled in this life."""
        counts = self.server.stats().traffic.payload_bytes
        return sum(count for (_, channel), count in counts.items() if channel == FILE_CHANNEL)


def send_file(cell: CoreCell, target: str, source: Stream, resume_id: str = "the file", **more: Any) -> StreamFuture:
    """Send what has its name among its headers to an inbox."""
    message = Message(None, source)
    return StreamCell(cell).send_stream(FILE_CHANNEL, FILE_TOPIC, target, message, resume_id=resume_id, **more)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "site").iterdir() if path.is_file())


def work_files(folder: Path) -> dict[str, Path]:
    return {path.suffix: path for path in folder.rglob(".streamcell/*")}
