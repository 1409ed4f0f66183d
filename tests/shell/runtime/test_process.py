"""What concerns the whole process: its allocator, its forks, its exit. Most of it is seen from outside only."""

import subprocess
import sys

import pytest

from streamcell.runtime.engine.allocator import set_switch_interval, tune_allocator, use_one_arena
from tests.kit.timing import scaled


def run_python(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-X", "dev", "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=scaled(30),
        check=False,
    )


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc has mallopt")
def test_the_allocator_takes_its_settings() -> None:
    program = "from streamcell.runtime.engine.allocator import *; print(tune_allocator(), use_one_arena())"
    assert run_python(program).stdout == "True True\n"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc has mallopt")
def test_the_number_of_arenas_that_the_environment_asks_for_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_ARENA_MAX", "3")
    program = "from streamcell.runtime.engine.allocator import *; print(tune_allocator(), use_one_arena())"
    assert run_python(program).stdout == "True False\n"


def test_other_systems_have_nothing_to_tune(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not tune_allocator()
    assert not use_one_arena()


def test_the_switch_interval_is_set_or_left_alone() -> None:
    before = sys.getswitchinterval()
    try:
        set_switch_interval(0)
        assert sys.getswitchinterval() == before
        set_switch_interval(0.001)
        assert sys.getswitchinterval() == pytest.approx(0.001)
    finally:
        sys.setswitchinterval(before)


CELLS = """
import gc, logging, os, sys, threading, time
from streamcell import CoreCell, Message, StreamCell, UsageError
from streamcell.transport.memory.network import MemoryNetwork

# On a busy machine asyncio's debug mode warns of each step that took long.
logging.getLogger("asyncio").setLevel(logging.ERROR)
network = MemoryNetwork()
server = CoreCell("server", listen="memory://server", network=network)
site = CoreCell("site-1", connect="memory://server", network=network)
streams = StreamCell(site)
"""

EXIT = """
entered = threading.Event()

def never_returns(future, stream, resume):
    stream.read(1)
    entered.set()
    threading.Event().wait()

def endless():
    while True:
        yield b"x" * 1000

StreamCell(server).register_stream_cb("channel", "topic", never_returns)
server.start()
site.start()
future = streams.send_stream("channel", "topic", "server", Message(payload=endless()))
future.add_done_callback(lambda future: threading.Event().wait())
entered.wait()
sys.exit(int(sys.argv[1]))
"""


@pytest.mark.parametrize("status", [0, 3])
def test_the_process_exits_without_stop(status: int) -> None:
    run = run_python(CELLS + EXIT, str(status))
    assert (run.returncode, run.stderr) == (status, "")


FORK = """
server.start()
site.start()
site.wait_connected()
child = os.fork()
if child == 0:
    uses = [
        lambda: streams.send_blob("channel", "topic", "server", Message()),
        lambda: site.send_request("channel", "topic", "server", Message()),
        lambda: site.is_cell_connected("server"),
        site.stats,
        site.stop,
        CoreCell("other", connect="memory://server", network=network).start,
    ]
    for use in uses:
        try:
            use()
            print("no error", flush=True)
        except UsageError as error:
            print("fork" in str(error), flush=True)
    gc.collect()
    sys.exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
print(site.is_cell_connected("server"))
"""


@pytest.mark.skipif(not hasattr(sys, "getswitchinterval") or sys.platform == "win32", reason="needs fork")
def test_a_forked_child_cannot_use_cells_and_exits_well() -> None:
    run = run_python(CELLS + FORK)
    assert run.stdout.split() == ["True"] * 6 + ["7", "True"]
    assert run.returncode == 0


BEFORE_START = """
child = os.fork()
server.start()
print(server.listen_urls, flush=True)
if child == 0:
    sys.exit(5)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_child_that_was_forked_before_the_first_start_is_free() -> None:
    run = run_python(CELLS + BEFORE_START)
    assert sorted(run.stdout.replace("]", "] ").split()) == ["5", "['memory://server']", "['memory://server']"]


def test_grpc_is_not_imported_before_a_cell_starts() -> None:
    program = CELLS + 'print("grpc" in sys.modules)'
    assert run_python(program).stdout == "False\n"
