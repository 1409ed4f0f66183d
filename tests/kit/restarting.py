"""Transfers of which a part was read when one end is restarted, and callbacks that go on with the rest."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from streamcell import CellConfig, CellError, ReceivedStream, StreamFuture, StreamResumeError
from tests.kit.cells import Cells, Peer
from tests.kit.payloads import KIB, MIB, pattern
from tests.kit.waiting import PATIENCE_S, Box, eventually, wait_for

SIZE = 3 * MIB
# What the first life of the receiver has read when it ends.
READ = 1 * MIB
# Small chunks, and windows that do not grow, so that much is left to be sent when a cell ends.
SMALL = CellConfig(
    chunk_bytes=64 * KIB, max_window_bytes=256 * KIB, backoff_min_s=0.01, backoff_max_s=0.05, stop_grace_s=0
)
DIGEST = f"sha256:{hashlib.sha256(pattern(SIZE)).hexdigest()}"


class Part:
    """A stream callback that reads a part, keeps it as its application would on a disk, and then stands still."""

    def __init__(self, size: int = READ) -> None:
        self.file = io.BytesIO()
        self.futures = Box[StreamFuture]()
        self.has_read = threading.Event()
        self.ended = Box[CellError]()
        self._size = size
        self._gate = threading.Event()

    def __call__(self, future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        self.futures.put(future)
        assert not resume
        left = self._size
        while left:
            left -= self.file.write(stream.read(left))
        self.has_read.set()
        wait_for(self._gate)
        try:
            while piece := stream.read(MIB):
                self.file.write(piece)
        except CellError as error:
            self.ended.put(error)

    def go_on(self) -> None:
        self._gate.set()


class Rest:
    """A stream callback that goes on where it is told, and reads the rest."""

    def __init__(self, offset: int, have: BinaryIO | None = None) -> None:
        self.calls = Box[tuple[bool, str]]()
        self.outcomes = Box[tuple[int, bytes, bool]]()
        self.refused = Box[StreamResumeError]()
        self.results = Box[int]()
        self._offset = offset
        self._have = have

    def __call__(self, future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        self.calls.put((resume, stream.resume_id))
        try:
            stream.resume_from(self._offset, self._have)
        except StreamResumeError as error:
            self.refused.put(error)
        start = stream.get_pos()
        rest = stream.readall()
        self.results.put(future.result(PATIENCE_S))
        self.outcomes.put((start, rest, stream.digest_checked))


def begin(cells: Cells, source: Any, **more: Any) -> tuple[Peer, Peer, StreamFuture, Part]:
    """Return a sender, a receiver, and a transfer between them of which a part was read."""
    site, hub = cells.pair(sender=SMALL, receiver=SMALL)
    part = Part()
    cells.at_end.append(part.go_on)
    hub.on_stream(part)
    future = site.send_stream(hub, source, **more)
    wait_for(part.has_read)
    eventually(lambda: future.get_progress() >= READ)
    return site, hub, future, part


def restart_receiver(cells: Cells, hub: Peer, callback: Callable[..., Any] | None) -> Peer:
    cells.kill(hub)
    again = cells.make("server", listen=hub.listen_urls[0], config=SMALL)
    if callback is not None:
        again.on_stream(callback)
    again.start()
    return again


def restart_sender(cells: Cells, site: Peer, hub: Peer) -> Peer:
    cells.kill(site)
    return cells.dial(hub, config=SMALL)


def make_file(folder: Path, data: bytes = b"") -> Path:
    path = folder / "source"
    path.write_bytes(data or pattern(SIZE))
    return path
