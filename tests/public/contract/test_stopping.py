"""What happens when a cell stops, or its process forks or exits (CONTRACT sections 1 and 3)."""

from __future__ import annotations

import concurrent.futures
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from streamcell import CellError, ErrorCode, StreamError
from tests.public.contract.world import (
    MIB,
    WAIT_S,
    Inbox,
    Pair,
    Reader,
    failure_of,
    pattern,
    reading_when,
    stream_failure_of,
    wait_until,
)

ROOT = Path(__file__).resolve().parents[2]


def test_stop_lets_what_is_under_way_settle_for_its_grace(pair: Pair, gate: threading.Event) -> None:
    sender, receiver = pair
    read = Inbox[bytes]()
    receiver.on_stream(reading_when(gate, read))
    sent = sender.send_stream(receiver, pattern(4 * MIB))
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        stopping = pool.submit(sender.cell.stop, WAIT_S)
        wait_until(lambda: "stopped" in repr(sender.cell) or "being stopped" in repr(sender.cell))
        # New sends are refused meanwhile.
        with pytest.raises(CellError):
            sender.send_blob(receiver, b"late").result(WAIT_S)
        assert not stopping.done()
        gate.set()
        assert sent.result(WAIT_S) == 4 * MIB
        stopping.result(WAIT_S)
    assert read.get() == pattern(4 * MIB)


@pytest.mark.parametrize("grace", [0, 0.01])
def test_a_later_stop_with_a_shorter_grace_shortens_the_one_that_waits(pair: Pair, grace: float) -> None:
    sender, _ = pair
    sent = sender.send_blob("nobody", b"data")
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        stopping = [pool.submit(sender.cell.stop, 100 * WAIT_S)]
        wait_until(lambda: "being stopped" in repr(sender.cell))
        stopping.append(pool.submit(sender.cell.stop, 200 * WAIT_S))
        sender.cell.stop(grace)
        for stopped in stopping:
            stopped.result(WAIT_S)
    assert stream_failure_of(sent).code is ErrorCode.STOPPING


@pytest.mark.parametrize("who", ["sender", "receiver"])
def test_stop_settles_every_future_on_both_sides_when_its_grace_is_over(
    pair: Pair, gate: threading.Event, who: str
) -> None:
    sender, receiver = pair
    reader = Reader(when=gate)
    receiver.on_stream(reader)
    sent = sender.send_stream(receiver, pattern(8 * MIB))
    received = reader.futures.get()
    stopped = sender if who == "sender" else receiver
    stopped.cell.stop(grace=0)
    for future in (sent, received):
        error = stream_failure_of(future)
        assert error.code is ErrorCode.STOPPING
        assert stopped.fqcn in str(error)
    gate.set()
    _, raised = reader.outcomes.get()
    assert raised is not None
    assert raised.code is ErrorCode.STOPPING


def test_stop_settles_what_waits_for_an_unknown_target(pair: Pair) -> None:
    sender, _ = pair
    futures = [sender.send_blob("nobody", b"data"), sender.send_stream("nobody", iter([b"data"]))]
    sender.cell.stop(grace=0)
    for future in futures:
        assert isinstance(failure_of(future), StreamError)


def test_cell_that_is_used_as_a_context_manager_is_stopped_at_the_end(pair: Pair) -> None:
    _, receiver = pair
    with pytest.raises(CellError, match="hub"):
        # It runs already, so that it cannot be started again.
        receiver.cell.__enter__()
    receiver.cell.__exit__(None, None, None)
    with pytest.raises(CellError, match="hub"):
        receiver.cell.stats()


PROLOGUE = """
import contextlib, os, sys, threading
from streamcell import CellError, CoreCell, Message, StreamCell, UsageError
from streamcell.testing import InMemoryNetwork

network, url = (InMemoryNetwork(), "memory://") if sys.argv[1] == "memory" else (None, "grpc://127.0.0.1:0")
hub = CoreCell("hub", listen=url, network=network)
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
assert cell.send_blob("c", "t", "hub", Message(None, b"data")).result(60) == 4
"""

# What a process has under way when it ends.
UNDER_WAY = """
cell.send_stream("c", "blocks", "hub", Message(None, produces()))
cell.send_stream("c", "blocks", "hub", Message(None, bytes(8 << 20)))
cell.send_stream("c", "t", "nobody", Message(None, bytes(8 << 20)))

def ask():
    with contextlib.suppress(CellError):
        site.send_request("c", "blocks", "hub", Message(), 0)

threading.Thread(target=ask, daemon=True).start()
started.wait()
"""


def run(network_kind: str, script: str) -> subprocess.CompletedProcess[str]:
    """Run a program that has two cells."""
    command = [sys.executable, "-c", PROLOGUE + script, network_kind]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=WAIT_S, check=False)


@pytest.mark.parametrize(
    ("ending", "code"), [("", 0), ("sys.exit(3)", 3), ("raise SystemExit(4)", 4), ("os._exit(5)", 5), ("1 / 0", 1)]
)
def test_process_that_exits_without_stop_exits(network_kind: str, ending: str, code: int) -> None:
    ended = run(network_kind, UNDER_WAY + ending)
    assert ended.returncode == code
    if ending != "1 / 0":
        assert "Traceback" not in ended.stderr
    else:
        assert ended.stderr.count("Traceback") == 1


FORK = """
child = os.fork()
if child == 0:
    for use in (
        lambda: cell.send_blob("c", "t", "hub", Message(None, b"data")),
        lambda: site.send_request("c", "t", "hub", Message()),
        lambda: site.stats(),
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
assert cell.send_blob("c", "t", "hub", Message(None, b"data")).result(60) == 4
site.stop()
hub.stop()
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="there is no fork here")
@pytest.mark.parametrize("under_way", ["", UNDER_WAY])
def test_process_that_forks_after_the_first_cell_has_a_child_that_may_not_use_streamcell_and_lives(
    network_kind: str, under_way: str
) -> None:
    ended = run(network_kind, under_way + FORK.replace("site.stop()", "site.stop(0)"))
    assert ended.returncode == 0, ended.stderr
    assert "the child says hello" in ended.stdout
