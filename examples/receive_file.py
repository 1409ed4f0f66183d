#!/usr/bin/env python3
"""Receives files into a folder.

In one terminal: python examples/receive_file.py inbox --listen grpc://127.0.0.1:8004
The other half is send_file.py. With --count N it ends after N files. Kill either of them in the middle, start it again
with the same arguments, and the file goes on where it was: what has come so far is in a .part file.
"""

import argparse
import threading
from pathlib import Path

from streamcell import CoreCell, ReceivedStream, StreamCell, StreamFuture, StreamResumeError


class Inbox:
    """A folder that received files are written to."""

    def __init__(self, folder: Path, count: int) -> None:
        self._folder = folder
        self._arrived = threading.Semaphore(0)
        self._count = count
        folder.mkdir(parents=True, exist_ok=True)

    def receive(self, future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        """Write one file. What this raises reaches the sender, who has the answer when it returns."""
        name = Path(str(stream.headers["name"])).name  # never a path: the sender does not choose the folder
        part = self._folder / f"{name}.part"
        part.touch()
        with part.open("r+b") as file:
            try:
                # The sender compares what is here with what it has, before it agrees to go on behind it.
                stream.resume_from(part.stat().st_size, have=file)
            except StreamResumeError:
                file.seek(0)
                file.truncate()
            for piece in stream.pieces():
                file.write(piece)
        part.rename(self._folder / name)
        print(f"{name}: {stream.get_pos():,} bytes from {stream.origin}", flush=True)
        self._arrived.release()

    def wait(self) -> None:
        """Wait until as many files have come as were asked for (0: for ever)."""
        received = 0
        while self._count == 0 or received < self._count:
            self._arrived.acquire()
            received += 1


def main() -> None:
    parser = argparse.ArgumentParser(description="Receives files into a folder.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--listen", default="grpc://127.0.0.1:8004", help="port 0: any free port")
    parser.add_argument("--count", type=int, default=0, help="end after so many files")
    arguments = parser.parse_args()

    inbox = Inbox(arguments.folder, arguments.count)
    cell = CoreCell("server", listen=arguments.listen)
    StreamCell(cell).register_stream_cb("files", "*", inbox.receive)
    with cell:
        print(f"listening at {cell.listen_urls[0]}", flush=True)
        inbox.wait()


if __name__ == "__main__":
    main()
