"""What happens when a cell stops, or its process forks or exits."""

from __future__ import annotations

import concurrent.futures
import subprocess
import sys
from pathlib import Path

import pytest

from streamcell import ErrorCode, StreamError, UsageError
from tests.kit.cells import Pair
from tests.kit.payloads import MIB, pattern
from tests.kit.transfers import Reader, failure_of, reading_when, stream_failure_of
from tests.kit.waiting import PATIENCE_S, Box, Gate, eventually

ROOT = Path(__file__).resolve().parents[2]


def test_stop_lets_what_is_under_way_settle_for_its_grace(pair: Pair, gate: Gate) -> None:
    sender, receiver = pair
    read = Box[bytes]()
    receiver.on_stream(reading_when(gate, read))
    sent = sender.send_stream(receiver, pattern(4 * MIB))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        stopping = pool.submit(sender.stop, PATIENCE_S)
        eventually(lambda: "is being stopped" in repr(sender))
        # New sends are refused meanwhile.
        with pytest.raises(UsageError, match="being stopped"):
            sender.send_blob(receiver, b"late")
        assert not stopping.done()
        gate.open()
        assert sent.result(PATIENCE_S) == 4 * MIB
        stopping.result(PATIENCE_S)
    assert read.get() == pattern(4 * MIB)


@pytest.mark.parametrize("grace", [0, 0.01])
def test_a_later_stop_with_a_shorter_grace_shortens_the_one_that_waits(pair: Pair, grace: float) -> None:
    sender, _ = pair
    sent = sender.send_blob("nobody", b"data")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        stopping = [pool.submit(sender.stop, 100 * PATIENCE_S)]
        eventually(lambda: "being stopped" in repr(sender))
        stopping.append(pool.submit(sender.stop, 200 * PATIENCE_S))
        sender.stop(grace)
        for stopped in stopping:
            stopped.result(PATIENCE_S)
    assert stream_failure_of(sent).code is ErrorCode.STOPPING


@pytest.mark.parametrize("who", ["sender", "receiver"])
def test_stop_settles_every_future_on_both_sides_when_its_grace_is_over(pair: Pair, gate: Gate, who: str) -> None:
    sender, receiver = pair
    reader = Reader(when=gate)
    receiver.on_stream(reader)
    sent = sender.send_stream(receiver, pattern(8 * MIB))
    received = reader.futures.get()
    stopped = sender if who == "sender" else receiver
    stopped.stop(grace=0)
    for future in (sent, received):
        error = stream_failure_of(future)
        assert error.code is ErrorCode.STOPPING
        assert stopped.fqcn in str(error)
    gate.open()
    _, raised = reader.outcomes.get()
    assert raised is not None
    assert raised.code is ErrorCode.STOPPING


def test_stop_settles_what_waits_for_an_unknown_target(pair: Pair) -> None:
    sender, _ = pair
    futures = [sender.send_blob("nobody", b"data"), sender.send_stream("nobody", iter([b"data"]))]
    sender.stop(grace=0)
    for future in futures:
        assert isinstance(failure_of(future), StreamError)


PROLOGUE = """
import contextlib, os, sys, threading
from streamcell import CellError, CoreCell, Message, StreamCell, UsageError
from streamcell.testing import InMemoryNetwork

network, url = (InMemoryNetwork(), "memory://") if sys.argv[1] == "memory" else (None, "grpc://127.0.0.1:0")
hub = CoreCell("server", listen=url, network=network)
started, never = threading.Event(), threading.Event()

def blocks(*args):
    started.set()
    never.wait()

def produces():
    yield b"first"
    never.wait()

StreamCell(hub).register_stream_cb("c", "blocks", blocks)
StreamCell(hub).register_blob_cb("c", "t", lambda future: None)
hub.register_request_cb("c", "blocks", blocks)
hub.start()
site = CoreCell("site", connect=hub.listen_urls[0], network=network)
site.start()
site.wait_connected(60)
cell = StreamCell(site)
assert cell.send_blob("c", "t", "server", Message(None, b"data")).result(60) == 4
"""

# What a process has under way when it ends.
UNDER_WAY = """
cell.send_stream("c", "blocks", "server", Message(None, produces()))
cell.send_stream("c", "blocks", "server", Message(None, bytes(8 << 20)))
cell.send_stream("c", "t", "nobody", Message(None, bytes(8 << 20)))

def ask():
    with contextlib.suppress(CellError):
        site.send_request("c", "blocks", "server", Message(), 0)

threading.Thread(target=ask, daemon=True).start()
started.wait()
"""


def run(carrier_kind: str, script: str) -> subprocess.CompletedProcess[str]:
    """Run a program that has two cells."""
    command = [sys.executable, "-c", PROLOGUE + script, carrier_kind]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


@pytest.mark.parametrize(
    ("ending", "code"), [("", 0), ("sys.exit(3)", 3), ("raise SystemExit(4)", 4), ("os._exit(5)", 5), ("1 / 0", 1)]
)
def test_process_that_exits_without_stop_exits(carrier_kind: str, ending: str, code: int) -> None:
    ended = run(carrier_kind, UNDER_WAY + ending)
    assert ended.returncode == code
    if ending != "1 / 0":
        assert "Traceback" not in ended.stderr
    else:
        assert ended.stderr.count("Traceback") == 1


FORK = """
child = os.fork()
if child == 0:
    for use in (
        lambda: cell.send_blob("c", "t", "server", Message(None, b"data")),
        lambda: site.send_request("c", "t", "server", Message()),
        lambda: site.stats().protocol,
        lambda: CoreCell("new", listen=url, network=network).start(),
    ):
        try:
            use()
        except UsageError as error:
            assert "fork" in str(error), error
        else:
            raise SystemExit("a forked child could use streamcell")
    # Anything else works.
    thread = threading.Thread(target=print, args=("the child says hello",))
    thread.start()
    thread.join()
    sys.exit(7)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 7, status
# The parent goes on as if nothing had happened.
assert cell.send_blob("c", "t", "server", Message(None, b"data")).result(60) == 4
site.stop()
hub.stop()
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="there is no fork here")
@pytest.mark.parametrize("under_way", ["", UNDER_WAY])
def test_process_that_forks_after_the_first_cell_has_a_child_that_may_not_use_streamcell_and_lives(
    carrier_kind: str, under_way: str
) -> None:
    ended = run(carrier_kind, under_way + FORK.replace("site.stop()", "site.stop(0)"))
    assert ended.returncode == 0, ended.stderr
    assert "the child says hello" in ended.stdout
