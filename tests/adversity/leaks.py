"""Cells that come and go leave nothing behind: no thread, no file, no task, no memory.

A program, `python -m tests.adversity.leaks NAME`: what other tests and what measures coverage leave in a process would
count as well.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from streamcell import CellConfig, CoreCell, Message, StreamCell, StreamError
from tests.kit.cells import CARRIERS, Carrier, Pair, connected_pair, running
from tests.kit.proxy import proxy_to
from tests.kit.waiting import PATIENCE_S, eventually

CYCLES = 200
CUTS = 1000
# What caches of the interpreter, of gRPC and of protobuf may take beside us, in all cycles together.
OBJECTS = 3000
MEMORY_BYTES = 48 << 20


def threads() -> int:
    """Return the number of threads of our own; others (gRPC's, those of other tests) come and go as they like."""
    return sum(thread.name.startswith(("server", "site")) for thread in threading.enumerate())


def open_files() -> int:
    """Return the number of open files, where that can be known."""
    return len(list(Path("/proc/self/fd").iterdir())) if sys.platform == "linux" else 0


def tasks() -> int:
    """Return the number of tasks that have not ended, on whatever loop."""
    return sum(isinstance(each, asyncio.Task) and not each.done() for each in gc.get_objects())


def objects() -> int:
    """Return the number of objects that are in use."""
    gc.collect()
    return len(gc.get_objects())


def resident_bytes() -> int:
    """Return the memory that the process takes, where that can be known."""
    if sys.platform != "linux":
        return 0
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def live(carrier: Carrier) -> None:
    """Let two cells live and do some of everything."""
    with connected_pair(carrier) as pair:
        pair.at_server.register_blob_cb("c", "t", lambda future: None)
        pair.at_server.register_stream_cb("c", "t", lambda future, stream, resume: stream.read(-1))
        pair.server.register_request_cb("c", "t", lambda request: Message({}, request.payload))
        streams = StreamCell(pair.site)
        assert streams.send_blob("c", "t", "server", Message({}, bytes(200_000))).result(PATIENCE_S) == 200_000
        assert streams.send_stream("c", "t", "server", Message({}, iter([b"12", b"3"]))).result(PATIENCE_S) == 3
        pair.site.send_request("c", "t", "server", Message(), PATIENCE_S)
        # This one ends by stop().
        streams.send_blob("c", "t", "missing", Message({}, bytes(200_000)))


def cells_that_come_and_go(name: str) -> None:
    for _ in range(CYCLES // 10):
        live(CARRIERS[name]())
    eventually(lambda: threads() == 0)
    had_files, had_tasks, had_objects, had_bytes = open_files(), tasks(), objects(), resident_bytes()
    for _ in range(CYCLES):
        live(CARRIERS[name]())
    eventually(lambda: threads() == 0, "threads are left")
    eventually(lambda: open_files() <= had_files, "files are left open")
    eventually(lambda: tasks() <= had_tasks, "tasks are left")
    eventually(lambda: objects() <= had_objects + OBJECTS, "objects are left")
    assert resident_bytes() <= had_bytes + MEMORY_BYTES


def transfers_that_come_and_go(name: str) -> None:
    with connected_pair(CARRIERS[name]()) as pair:
        pair.at_server.register_blob_cb("c", "t", lambda future: None)
        pair.at_server.register_stream_cb("c", "t", lambda future, stream, resume: stream.read(-1))
        send_some(pair, 200)
        had_files, had_objects, had_bytes = open_files(), objects(), resident_bytes()
        send_some(pair, 2000)
        eventually(lambda: objects() <= had_objects + OBJECTS, "objects are left")
        assert open_files() <= had_files
        assert resident_bytes() <= had_bytes + MEMORY_BYTES


def send_some(pair: Pair, count: int) -> None:
    """Send blobs and streams that arrive, and ones that are cancelled or refused."""
    message = Message({"header": "value"}, bytes(20_000))
    for start in range(0, count, 50):
        blobs = [pair.at_site.send_blob("c", "t", "server", message) for _ in range(start, start + 20)]
        streams = [pair.at_site.send_stream("c", "t", "server", message) for _ in range(start, start + 20)]
        refused = [pair.at_site.send_blob("c", "nobody", "server", message) for _ in range(5)]
        for future in [pair.at_site.send_blob("c", "t", "missing", message) for _ in range(5)]:
            future.cancel()
        assert {future.result(PATIENCE_S) for future in blobs + streams} == {20_000}
        assert all(isinstance(future.exception(PATIENCE_S), StreamError) for future in refused)


def cells_that_never_start_or_never_connect() -> None:
    nobody = Path(tempfile.gettempdir(), f"nobody-{os.getpid()}")

    def live_in_vain() -> None:
        CoreCell("never", listen="grpc://127.0.0.1:0")
        site = CoreCell("site", connect=f"unix://{nobody}")
        site.start()
        StreamCell(site).send_blob("c", "t", "missing", Message({}, bytes(200_000)))
        site.stop(0)

    for _ in range(5):
        live_in_vain()
    had_files, had_objects = open_files(), objects()
    for _ in range(50):
        live_in_vain()
    eventually(lambda: threads() == 0)
    eventually(lambda: open_files() <= had_files)
    eventually(lambda: objects() <= had_objects + OBJECTS)


def connections_that_are_cut_again_and_again() -> None:
    config = CellConfig(backoff_min_s=0.001, backoff_max_s=0.01, connect_timeout_s=5.0)
    server = CoreCell("server", listen="grpc://127.0.0.1:0", config=config)
    with running(server), proxy_to(server.listen_urls[0]) as proxy:
        site = CoreCell("site", connect=proxy.url, config=config)
        with running(site):
            StreamCell(server).register_blob_cb("c", "t", lambda future: None)
            streams = StreamCell(site)
            site.wait_connected(PATIENCE_S)

            def cut(count: int) -> None:
                for _ in range(count):
                    before = proxy.connections
                    future = streams.send_blob("c", "t", "server", Message({}, bytes(100_000)))
                    proxy.cut()
                    assert future.result(PATIENCE_S) == 100_000
                    eventually(lambda before=before: proxy.connections > before)  # type: ignore[misc]

            cut(50)
            had_threads, had_files, had_tasks = threads(), open_files(), tasks()
            had_objects, had_bytes = objects(), resident_bytes()
            cut(CUTS)
            eventually(lambda: threads() <= had_threads, "threads are left")
            eventually(lambda: open_files() <= had_files + 4, "files are left open")
            eventually(lambda: tasks() <= had_tasks + 8, "tasks are left")
            eventually(lambda: objects() <= had_objects + OBJECTS, "objects are left")
            assert resident_bytes() <= had_bytes + MEMORY_BYTES
            assert site.stats().protocol.reconnects >= CUTS


LIVES: dict[str, Callable[[], None]] = {
    **{f"cells over {name}": functools.partial(cells_that_come_and_go, name) for name in sorted(CARRIERS)},
    **{f"transfers over {name}": functools.partial(transfers_that_come_and_go, name) for name in sorted(CARRIERS)},
    "cells that never connect": cells_that_never_start_or_never_connect,
    "connections that are cut": connections_that_are_cut_again_and_again,
}

if __name__ == "__main__":
    LIVES[sys.argv[1]]()
