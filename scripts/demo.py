#!/usr/bin/env python3
"""Shows what streamcell does: `make demo`.

Starts a receiving cell in a process of its own and sends it real files (this interpreter's library, packed as a tar) as
a stream and an array of numbers as a blob, with a progress bar. The far end computes the SHA-256 of what has arrived;
any difference, error or delay beyond the limits below ends with a status that is not 0.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import dataclasses
import hashlib
import io
import itertools
import json
import os
import queue
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

from streamcell import CellError, CoreCell, FileStream, Message, ReceivedStream, StreamCell, StreamFuture

START_S = 30.0
TRANSFER_S = 60.0
END_S = 10.0
# How often the progress is shown: on a terminal, and elsewhere.
BAR_S = 0.05
LINE_S = 1.0

MEGABYTE = 10**6
MEBIBYTE = 2**20


class DemoFailed(Exception):
    """Something did not go as it should; the text says what."""


# --- the receiving process -----------------------------------------------------------------------


def receive() -> None:
    """Run the receiving cell: tell its address and what arrives as lines of JSON; end when the input is closed."""
    telling = threading.Lock()

    def tell(**facts: object) -> None:
        with telling:
            print(json.dumps(facts), flush=True)

    def on_stream(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        digest = hashlib.sha256()
        for piece in stream.pieces():
            digest.update(piece)
        tell(kind="stream", size=stream.get_pos(), sha256=digest.hexdigest())

    def on_blob(future: StreamFuture) -> None:
        blob = future.result()
        tell(kind="blob", size=len(blob), sha256=hashlib.sha256(blob).hexdigest())

    with CoreCell("server", listen="grpc://127.0.0.1:0") as cell:
        receiver = StreamCell(cell)
        receiver.register_stream_cb("demo", "files", on_stream)
        receiver.register_blob_cb("demo", "array", on_blob)
        tell(url=cell.listen_urls[0])
        sys.stdin.read()


class ReceivingProcess:
    """The other process, as seen from this one. Ends with it, in whatever way."""

    def __init__(self) -> None:
        command = [sys.executable, __file__, "--role", "receiver"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._input = cast("IO[str]", self._process.stdin)
        self._output = cast("IO[str]", self._process.stdout)
        self._told: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def hear(self, timeout_s: float) -> dict[str, Any]:
        """Return the next thing that it tells."""
        try:
            line = self._told.get(timeout=timeout_s)
        except queue.Empty:
            raise DemoFailed(f"the receiving process was silent for {timeout_s:g} s") from None
        if line is None:
            raise DemoFailed(f"the receiving process has ended, with status {self._process.wait(END_S)}")
        facts: dict[str, Any] = json.loads(line)
        return facts

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def end(self) -> None:
        """Let it end by itself, or kill it."""
        self._input.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join()
        self._output.close()

    def _listen(self) -> None:
        for line in self._output:
            self._told.put(line)
        self._told.put(None)


# --- what is sent --------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Packed:
    """A tar that was written."""

    files: int
    size: int
    sha256: str


class HashingWriter(io.RawIOBase):
    """Writes to a file and computes the digest of it all."""

    def __init__(self, file: IO[bytes]) -> None:
        self.size = 0
        self.digest = hashlib.sha256()
        self._file = file

    def write(self, data: Any) -> int:
        self.size += len(data)
        self.digest.update(data)
        return self._file.write(data)


def pack(target: IO[bytes], least_bytes: int) -> Packed:
    """Pack the interpreter's library into a tar of at least ``least_bytes``, several times over if need be."""
    writer = HashingWriter(target)
    files = 0
    with tarfile.open(fileobj=writer, mode="w|") as tar:
        for copy in itertools.count(1):
            before = files
            for path in library_files():
                if writer.size >= least_bytes:
                    break
                with contextlib.suppress(OSError):  # not for us to read
                    tar.add(path, f"copy-{copy}{path}", recursive=False)
                    files += 1
            if writer.size >= least_bytes:
                break
            if files == before:
                raise DemoFailed("the interpreter has no library to send")
    return Packed(files, writer.size, writer.digest.hexdigest())


def library_files() -> Iterator[Path]:
    """Find the files of the standard library and of the installed packages."""
    for name in ("purelib", "stdlib"):
        for folder, _, names in os.walk(sysconfig.get_path(name)):
            yield from (Path(folder, each) for each in names)


def make_array(size: int) -> memoryview[float]:
    """Return random 4-byte floats as numpy would give them: a buffer with rows and columns."""
    rows = max(1, size // (4 * 8192))
    return memoryview(bytearray(os.urandom(rows * 4 * 8192))).cast("f", shape=[rows, 8192])


# --- progress ------------------------------------------------------------------------------------


def watch_with_bar(what: str, future: StreamFuture) -> None:
    """Show a bar with bytes, rate and time left, on a line of a terminal that is cleared in the end."""

    def show() -> None:
        width, size = 30, future.get_size() or 1
        filled = width * future.get_progress() // size
        print(f"\r\033[K[{'#' * filled:{width}}] {standing(what, future)}", end="", flush=True)

    try:
        wait_settled(what, future, BAR_S, show)
    finally:
        print("\r\033[K", end="", flush=True)


def watch_with_lines(what: str, future: StreamFuture) -> None:
    """Show a line now and then until the future has settled."""

    def show() -> None:
        print(f"  {standing(what, future)}", flush=True)

    wait_settled(what, future, LINE_S, show)


def standing(what: str, future: StreamFuture) -> str:
    """Return how far a transfer is."""
    left = "?" if future.eta is None else f"{future.eta:.0f} s"
    done, size = (f"{value / MEGABYTE:,.1f} MB" for value in (future.get_progress(), future.get_size()))
    return f"{what}: {done} of {size}, {future.rate / MEGABYTE:,.0f} MB/s, {left} left"


def wait_settled(what: str, future: StreamFuture, interval_s: float, show: Callable[[], None]) -> None:
    deadline = time.monotonic() + TRANSFER_S
    while concurrent.futures.wait([future], timeout=interval_s).not_done:
        show()
        if time.monotonic() > deadline:
            future.cancel()
            raise DemoFailed(f"the {what} was not through after {TRANSFER_S:g} s")
    show()


# --- the demo ------------------------------------------------------------------------------------


def check(told: dict[str, Any], kind: str, size: int, sha256: str) -> None:
    """Compare what has arrived with what was sent.

    Raises:
        DemoFailed: anything differs.
    """
    sent, arrived = (kind, size, sha256), (told.get("kind"), told.get("size"), told.get("sha256"))
    if arrived != sent:
        raise DemoFailed(f"what arrived is not what was sent: {arrived} instead of {sent}")


def transfer(what: str, send: Callable[[], StreamFuture], receiver: ReceivingProcess, sha256: str) -> str:
    """Send, watch, compare, and return the line that says so."""
    begun = time.perf_counter()
    future = send()
    watch = watch_with_bar if sys.stdout.isatty() else watch_with_lines
    watch(what, future)
    size = future.result(timeout=0)
    seconds = time.perf_counter() - begun
    check(receiver.hear(TRANSFER_S), what, size, sha256)
    rate = size / seconds / MEGABYTE
    return f"{what}: {size:,} bytes in {seconds:.2f} s ({rate:,.0f} MB/s), SHA-256 {sha256[:16]}... the same there"


def demonstrate(tar_bytes: int, array_bytes: int) -> Iterator[str]:
    """Do it all and tell what happened, in five lines, each when it has happened."""
    with contextlib.ExitStack() as stack:
        receiver = ReceivingProcess()
        stack.callback(receiver.end)
        begun = time.perf_counter()
        tar = stack.enter_context(tempfile.NamedTemporaryFile(prefix="streamcell-demo-", suffix=".tar"))
        packed = pack(tar.file, tar_bytes)
        tar.flush()
        seconds = time.perf_counter() - begun
        yield f"packed: {packed.files:,} files of this interpreter's library, {packed.size:,} bytes, {seconds:.1f} s"
        url = receiver.hear(START_S)["url"]
        cell = stack.enter_context(CoreCell("site-1", connect=url))
        cell.wait_connected(START_S)
        yield f"linked: cell site-1 (process {os.getpid()}) with cell server (process {receiver.pid}) at {url}"
        sender = StreamCell(cell)

        def send_files() -> StreamFuture:
            return sender.send_stream("demo", "files", "server", Message(None, FileStream(tar.name)))

        yield transfer("stream", send_files, receiver, packed.sha256)
        array = make_array(array_bytes)
        digest = hashlib.sha256(array).hexdigest()

        def send_array() -> StreamFuture:
            return sender.send_blob("demo", "array", "server", Message(None, array))

        yield transfer("blob", send_array, receiver, digest)
    yield "all of it arrived, in order, once, and the receiver said so"


def main() -> int:
    parser = argparse.ArgumentParser(description="Shows what streamcell does.")
    parser.add_argument("--role", choices=("sender", "receiver"), default="sender", help=argparse.SUPPRESS)
    parser.add_argument("--tar-megabytes", type=int, default=100, help="least size of the tar (default: 100)")
    parser.add_argument("--array-mebibytes", type=int, default=256, help="size of the array (default: 256)")
    arguments = parser.parse_args()
    if arguments.role == "receiver":
        receive()
        return 0
    try:
        for line in demonstrate(arguments.tar_megabytes * MEGABYTE, arguments.array_mebibytes * MEBIBYTE):
            print(line, flush=True)
    except (DemoFailed, CellError) as error:
        print(f"the demo failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
