#!/usr/bin/env python3
"""Sends files to receive_file.py.

In another terminal: python examples/send_file.py grpc://127.0.0.1:8004 some.iso other.tar
A digest is computed on the way and compared at the other end, beside the checksum that every chunk has. If this program
or the other one is killed and started again, a file goes on where it was: its name is the transfer's resume id.
"""

import argparse
import concurrent.futures
import sys
from pathlib import Path

from streamcell import CoreCell, FileStream, Message, StreamCell, StreamFuture


def show_progress(name: str, future: StreamFuture) -> None:
    """Print a line every second until the future has settled."""
    while concurrent.futures.wait([future], timeout=1.0).not_done:
        eta = "?" if future.eta is None else f"{future.eta:.0f} s"
        print(f"{name}: {future.get_progress():,} of {future.get_size():,} bytes, {eta} left", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Sends files to receive_file.py.")
    parser.add_argument("url")
    parser.add_argument("file", type=Path, nargs="+")
    arguments = parser.parse_args()

    with CoreCell("site-1", connect=arguments.url) as cell:
        sender = StreamCell(cell)
        cell.wait_connected(timeout=30)
        for path in arguments.file:
            message = Message({"name": path.name}, FileStream(path))
            future = sender.send_stream("files", "any", "server", message, digest="sha256", resume_id=path.name)
            show_progress(path.name, future)
            error = future.exception()
            if error is not None:
                print(f"{path.name}: {error}", file=sys.stderr)
                return 1
            print(f"{path.name}: the receiver has all {future.result():,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
