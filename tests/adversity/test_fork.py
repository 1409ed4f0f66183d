"""Forking: a child that was forked after the first cell may do anything but use streamcell; before it, all works."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit.programs import ROOT, environment, run_script
from tests.kit.waiting import PATIENCE_S

# In the child: everything raises UsageError, and the child ends as any other process does.
AFTER = """
server, site = connected_pair()
StreamCell(server).register_blob_cb("c", "t", lambda future: None)
future = StreamCell(site).send_blob("c", "missing", "missing", Message({}, b""))
arriving = queue.Queue()
waiting = threading.Event()
StreamCell(server).register_stream_cb("c", "s", lambda future, stream, resume: arriving.put(stream))
StreamCell(site).send_stream("c", "s", "server", Message({}, iter(waiting.wait, True)))
stream = arriving.get(timeout=30)

def fails(call):
    try:
        call()
    except UsageError as error:
        return "fork" in str(error)
    return False

def child():
    # Anything else works: threads, output, subprocesses.
    thread = threading.Thread(target=sorted, args=([2, 1],))
    thread.start()
    thread.join()
    uses = [
        server.stats,
        lambda: server.is_cell_connected("site"),
        lambda: site.wait_connected(1),
        lambda: StreamCell(site).send_blob("c", "t", "server", Message({}, b"")),
        lambda: StreamCell(site).send_stream("c", "t", "server", Message({}, b"")),
        lambda: site.send_request("c", "t", "server", Message()),
        lambda: site.fire_and_forget("c", "t", "server", Message()),
        lambda: CoreCell("new", listen="grpc://127.0.0.1:0").start(),
        lambda: site.stop(),
        lambda: future.result(),
        lambda: future.exception(),
        lambda: stream.read(),
    ]
    assert all(fails(use) for use in uses), [fails(use) for use in uses]
    # What neither reaches a cell nor waits for one is as harmless as elsewhere.
    repr(server), repr(future), server.listen_urls, future.done(), future.get_progress(), future.cancel()
    StreamCell(CoreCell("new")).register_blob_cb("c", "t", print)

for number in range(20):
    pid = os.fork()
    if pid == 0:
        child()
        sys.exit(0)
    assert os.waitpid(pid, 0)[1] == 0, number

# The parent has not noticed.
assert StreamCell(site).send_blob("c", "t", "server", Message({}, b"123")).result(30) == 3
site.stop()
server.stop()
say("done")
"""

BEFORE = """
read_end, write_end = os.pipe()
if os.fork() == 0:
    url = os.read(read_end, 1000).decode()
    site = CoreCell("site", connect=url)
    site.start()
    site.wait_connected(30)
    assert StreamCell(site).send_blob("c", "t", "server", Message({}, bytes(3_000_000))).result(30) == 3_000_000
    sys.exit(0)
server = CoreCell("server", listen="grpc://127.0.0.1:0")
arrived = threading.Event()
StreamCell(server).register_blob_cb("c", "t", lambda future: arrived.set())
server.start()
os.write(write_end, server.listen_urls[0].encode())
assert os.wait()[1] == 0
assert arrived.wait(30)
say("done")
"""

# A module, because a spawned process imports the one that it was started from.
SPAWN = """
import multiprocessing
import sys

from streamcell import CoreCell, Message, StreamCell


def work(url: str) -> None:
    with CoreCell("site", connect=url) as site:
        site.wait_connected(30)
        assert StreamCell(site).send_blob("c", "t", "server", Message({}, bytes(3_000_000))).result(30) == 3_000_000


if __name__ == "__main__":
    server = CoreCell("server", listen="grpc://127.0.0.1:0")
    StreamCell(server).register_blob_cb("c", "t", lambda future: None)
    server.start()
    process = multiprocessing.get_context(sys.argv[1]).Process(target=work, args=server.listen_urls)
    process.start()
    process.join(60)
    assert process.exitcode == 0, process.exitcode
    print("done")
"""


@pytest.mark.parametrize("script", [AFTER, BEFORE], ids=["after the first cell", "before the first cell"])
def test_fork(script: str) -> None:
    ended = run_script(script)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "done\n", "")


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_multiprocessing(method: str, tmp_path: Path) -> None:
    module = tmp_path / "program.py"
    module.write_text(SPAWN)
    ended = subprocess.run(
        [sys.executable, str(module), method],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE_S,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "done\n", "")


def test_a_forked_child_that_ends_by_an_exception() -> None:
    ended = run_script(
        """
        server, site = connected_pair()
        pid = os.fork()
        if pid == 0:
            raise SystemExit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        """
    )
    assert (ended.returncode, ended.stderr) == (0, "")
