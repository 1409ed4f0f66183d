"""What the system refuses for a moment: the cell waits for it, says so, and goes on."""

from __future__ import annotations

import errno
import logging
import mmap
import os
import signal
import socket
from pathlib import Path

import pytest

from streamcell import CellError, ErrorCode, Message, StreamCell, StreamError
from streamcell.runtime.buffers import BufferPool
from streamcell.transport import codec
from tests.kit.cells import Pair, grpc_carrier, running
from tests.kit.fixtures import carrier, pair
from tests.kit.payloads import pattern
from tests.kit.programs import Script, run_script
from tests.kit.refusing import always, first, no_threads, refusing
from tests.kit.timing import scaled
from tests.kit.waiting import PATIENCE_S, Box, eventually

__all__ = ["carrier", "pair"]

MIB = 1 << 20


def test_case_3_1_a_thread_is_refused_once(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    """Each of the threads that a transfer starts, at both ends, is refused a few times."""
    caplog.set_level(logging.INFO, "streamcell")
    arrived: Box[bytes] = Box()
    told: Box[object] = Box()
    pair.at_server.register_blob_cb("c", "b", lambda future: arrived.put(bytes(future.result())))
    pair.at_server.register_stream_cb("c", "s", lambda future, stream, resume: arrived.put(stream.read(-1)))
    pair.server.register_request_cb("c", "r", lambda request: Message({}, request.payload))
    data = pattern(3 * MIB)
    with no_threads(first(4)) as refusal:
        blob = pair.at_site.send_blob("c", "b", "server", Message({}, data))
        stream = pair.at_site.send_stream("c", "s", "server", Message({}, iter([data])))
        blob.add_done_callback(told.put)
        assert blob.result(PATIENCE_S) == stream.result(PATIENCE_S) == len(data)
        assert pair.site.send_request("c", "r", "server", Message({}, b"1"), PATIENCE_S).payload == b"1"
        assert arrived.get_all(2) == [data, data]
        told.get()
    assert len(refusal.refused) == 4
    said = [record.getMessage() for record in caplog.records if record.name == "streamcell.engine"]
    assert said.count("threads can be had again") == sum("refuses a thread" in line for line in said) > 0
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_case_3_1_threads_are_refused_for_long(pair: Pair) -> None:
    """Nothing arrives as long as no thread can be had, and nothing is lost."""
    arrived: Box[bytes] = Box()
    pair.at_server.register_blob_cb("c", "b", lambda future: arrived.put(bytes(future.result())))
    data = pattern(300_000)
    with no_threads(always) as refusal:
        futures = [pair.at_site.send_blob("c", "b", "server", Message({}, data)) for _ in range(10)]
        eventually(lambda: len(refusal.refused) >= 3)
        assert not any(future.done() for future in futures)
        # The cells live, and do what needs no thread.
        assert pair.site.is_cell_connected("server")
        refusal.end()
        assert [future.result(PATIENCE_S) for future in futures] == [len(data)] * 10
    assert arrived.get_all(10) == [data] * 10


def test_case_3_1_the_engine_is_refused_its_thread() -> None:
    """A start that fails says why, leaves nothing half done, and may be tried again."""
    ended = run_script(
        """
        import logging
        really_start = threading.Thread.start

        def refuse(thread):
            raise RuntimeError("can't start new thread")

        server = CoreCell("server", listen="grpc://localhost:0", config=QUICK)
        threading.Thread.start = refuse
        for _ in range(3):
            try:
                server.start()
            except CellError as error:
                say(error)
        threading.Thread.start = really_start
        assert threading.active_count() == 1
        server.start()
        StreamCell(server).register_blob_cb("c", "b", lambda future: None)
        site = CoreCell("site", connect=server.listen_urls, config=QUICK)
        site.start()
        say(StreamCell(site).send_blob("c", "b", "server", Message({}, b"123")).result(30))
        """
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    *refusals, done = ended.stdout.splitlines()
    assert len(refusals) == 3
    assert all("the system refuses this process a thread" in line and "start it again" in line for line in refusals)
    assert done == "3"


def test_case_3_1_what_listening_needs_is_refused() -> None:
    """So it is with what gRPC needs: the start fails with a sentence, and the next one works."""
    with running(grpc_carrier().cell("server", listen="grpc://127.0.0.1:0")):
        site = grpc_carrier().cell("site", listen="grpc://127.0.0.1:0")
        with (
            no_threads(first(1)) as refusal,
            pytest.raises(CellError, match=r"cannot listen at .* the system refuses a thread"),
        ):
            site.start()
        assert refusal.refused == ["streamcell-engine"]
        with (
            refusing(socket, "socketpair", lambda: OSError(errno.EMFILE, "Too many open files"), first(1)),
            pytest.raises(CellError, match=r"cannot listen at .* Too many open files"),
        ):
            site.start()
        with running(site):
            assert site.listen_urls


def test_case_3_1_what_dialling_needs_is_refused() -> None:
    """A dial that cannot be made is made again."""
    server = grpc_carrier().cell("server", listen="grpc://127.0.0.1:0")
    with running(server):
        StreamCell(server).register_blob_cb("c", "b", lambda future: None)
        site = grpc_carrier().cell("site", connect=server.listen_urls)
        with (
            refusing(socket, "socketpair", lambda: OSError(errno.EMFILE, "Too many open files"), first(2)) as refusal,
            running(site),
        ):
            site.wait_connected(PATIENCE_S)
            future = StreamCell(site).send_blob("c", "b", "server", Message({}, bytes(MIB)))
            assert future.result(PATIENCE_S) == MIB
            assert len(refusal.refused) == 2


# --- memory


def no_memory() -> BaseException:
    return OSError(errno.ENOMEM, "Cannot allocate memory")


def test_case_3_1_memory_is_refused_for_a_moment(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    """A blob, a request and a reply that are too large for the heap wait until they can have their buffers."""
    caplog.set_level(logging.INFO, "streamcell")
    arrived: Box[bytes] = Box()
    pair.at_server.register_blob_cb("c", "b", lambda future: arrived.put(bytes(future.result())))
    pair.server.register_request_cb("c", "r", lambda request: Message({}, request.payload))
    data = pattern(6 * MIB)
    with refusing(mmap, "mmap", no_memory, first(6)) as refusal:
        assert pair.at_site.send_blob("c", "b", "server", Message({}, data)).result(PATIENCE_S) == len(data)
        assert arrived.get() == data
    assert len(refusal.refused) == 6
    for number in range(1, 8, 2):
        # Each is asked for twice before it counts as refused.
        with refusing(mmap, "mmap", no_memory, {number, number + 1}.__contains__):
            reply = pair.site.send_request("c", "r", "server", Message({}, data), PATIENCE_S)
            assert reply.payload == data
    said = [record.getMessage() for record in caplog.records if record.name == "streamcell.stream"]
    assert sum("waits for memory" in line for line in said) == sum("has the memory" in line for line in said) > 0
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("refused", range(1, 5))
def test_case_3_1_a_buffer_is_refused_when_the_bytes_are_there(pair: Pair, refused: int) -> None:
    """What is kept meanwhile is put in its place."""
    arrived: Box[bytes] = Box()
    pair.at_server.register_blob_cb("c", "b", lambda future: arrived.put(bytes(future.result())))
    pair.server.register_request_cb("c", "r", lambda request: Message({}, request.payload))
    data = pattern(2 * MIB + 1)
    with refusing(BufferPool, "allocate", MemoryError, first(refused)) as refusal:
        assert pair.at_site.send_blob("c", "b", "server", Message({}, data)).result(PATIENCE_S) == len(data)
        assert arrived.get() == data
        assert pair.site.send_request("c", "r", "server", Message({}, data), PATIENCE_S).payload == data
    assert len(refusal.refused) == refused


def test_case_3_1_memory_is_refused_for_good(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The sender is told, and nothing else suffers."""
    monkeypatch.setattr("streamcell.runtime.receiving.memory.PATIENCE_S", 0.3)
    pair.at_server.register_blob_cb("c", "b", lambda future: None)
    pair.server.register_request_cb("c", "r", lambda request: Message({}, bytes(int(request.headers["size"]))))
    large = bytes(9 * MIB)
    with refusing(mmap, "mmap", no_memory, always):
        future = pair.at_site.send_blob("c", "b", "server", Message({}, large))
        beside = pair.at_site.send_blob("c", "b", "server", Message({}, bytes(MIB)))
        assert beside.result(PATIENCE_S) == MIB
        with pytest.raises(StreamError, match=r"server has no memory for what was sent \(9,437,184 bytes\)") as raised:
            future.result(PATIENCE_S)
        assert raised.value.code is ErrorCode.LIMIT
        for headers, payload in (({"size": 1}, large), ({"size": len(large)}, b"")):
            with pytest.raises(CellError, match="has no memory for what was sent"):
                pair.site.send_request("c", "r", "server", Message(headers, payload), PATIENCE_S)
    assert pair.at_site.send_blob("c", "b", "server", Message({}, large)).result(PATIENCE_S) == len(large)
    assert "bug" not in caplog.text


@pytest.mark.parametrize("name", ["decode_in_turns", "encode_batch"])
def test_case_3_1_there_is_no_memory_for_what_travels(pair: Pair, name: str) -> None:
    """The lane ends and is dialled again; the blob arrives."""
    arrived: Box[bytes] = Box()
    pair.at_server.register_blob_cb("c", "b", lambda future: arrived.put(bytes(future.result())))
    data = pattern(3 * MIB)
    with refusing(codec, name, MemoryError, {5, 9}.__contains__) as refusal:
        assert pair.at_site.send_blob("c", "b", "server", Message({}, data)).result(PATIENCE_S) == len(data)
    assert arrived.get() == data
    assert refusal.refused


def test_case_3_1_a_process_may_not_have_so_much_memory() -> None:
    """The limit of the system itself: the blob is refused before its bytes travel, the cell goes on."""
    receiver = """
        import resource
        import streamcell.runtime.receiving.memory
        streamcell.runtime.receiving.memory.PATIENCE_S = 0.3
        server = CoreCell("server", listen="grpc://127.0.0.1:0", config=QUICK)
        StreamCell(server).register_blob_cb("c", "b", lambda future: say(len(future.result())))
        server.start()
        say(server.listen_urls[0])
        size = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (size + (1 << 29), size + (1 << 29)))
        sys.stdin.readline()
    """
    with Script(receiver) as program, running(grpc_carrier().cell("site", connect=program.hear())) as site:
        site.wait_connected(PATIENCE_S)
        streams = StreamCell(site)
        for size in (5 * MIB, 1 << 30, 5 * MIB):
            future = streams.send_blob("c", "b", "server", Message({}, bytes(size)))
            if size < 1 << 29:
                assert future.result(PATIENCE_S) == size
                assert program.hear() == str(size)
            else:
                with pytest.raises(StreamError, match="server has no memory for what was sent"):
                    future.result(PATIENCE_S)


# --- forking

PARENT = """
server = CoreCell("server", listen={url!r}, config=QUICK)
server.start()
site = CoreCell("site", connect=server.listen_urls, config=QUICK)
site.start()
site.wait_connected(30)

def child():
    say(os.getpid())
    sys.stdin.readline()

{fork}
sys.stdin.readline()
"""

FORKS = {
    "os.fork": """
if os.fork() == 0:
    say(server.listen_urls[0])
    child()
    os._exit(0)
""",
    "multiprocessing": """
import multiprocessing
say(server.listen_urls[0])
multiprocessing.get_context("fork").Process(target=child).start()
""",
    "subprocess": """
import subprocess
say(server.listen_urls[0])
say(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], preexec_fn=lambda: None).pid)
""",
}


@pytest.mark.parametrize("fork", FORKS)
@pytest.mark.parametrize("scheme", ["tcp", "every address", "unix"])
def test_case_3_3_the_address_is_free_when_the_parent_was_killed(fork: str, scheme: str, tmp_path: Path) -> None:
    """A child that lives on does not keep the address busy, nor the connections of its parent's neighbours."""
    url = {"tcp": "grpc://127.0.0.1:0", "every address": "grpc://localhost:0", "unix": f"unix://{tmp_path}/s"}[scheme]
    with Script(PARENT.format(url=url, fork=FORKS[fork])) as program:
        url = program.hear()
        child = int(program.hear())
        try:
            with running(grpc_carrier().cell("far", connect=url)) as far:
                far.wait_connected(PATIENCE_S)
                program.signal(signal.SIGKILL)
                # The end of the connection is seen at once, not by silence.
                eventually(lambda: not far.is_cell_connected("server"), seconds=scaled(2.5))
                # The system closes what a process had open one after the other: who listens may be last.
                program.wait_for_end()
                with running(grpc_carrier().cell("server", listen=url)) as again:
                    eventually(lambda: again.is_cell_connected("far"))
        finally:
            os.kill(child, signal.SIGKILL)


def test_case_3_3_the_parent_goes_on_and_foreign_sockets_stay_open() -> None:
    """What the child closes is closed there alone, and only what was the cell's."""
    ended = run_script(
        """
        import socket
        mine = socket.create_server(("127.0.0.1", 0))
        server, site = connected_pair()
        StreamCell(server).register_blob_cb("c", "b", lambda future: None)
        for number in range(20):
            pid = os.fork()
            if pid == 0:
                mine.getsockname()
                socket.create_connection(mine.getsockname()).close()
                os._exit(7)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
            assert StreamCell(site).send_blob("c", "b", "server", Message({}, bytes(300_000))).result(30) == 300_000
        late = CoreCell("late", connect=server.listen_urls, config=QUICK)
        late.start()
        late.wait_connected(30)
        say(site.stats().protocol.reconnects)
        """
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "0\n", "")
