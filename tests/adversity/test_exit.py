"""A program that does not stop its cells exits all the same: soon, with code 0, without a word on stderr."""

from __future__ import annotations

import textwrap
import time

import pytest

from tests.kit.cells import Pair, connected_pair, grpc_carrier
from tests.kit.programs import Script, run_script
from tests.kit.timing import scaled
from tests.kit.waiting import Box

# The interpreter's own end takes some of it.
PROMPT_S = scaled(6.0)

ENDLESS = "IterStream(itertools.repeat(bytes(1 << 20)))"

PROGRAMS = {
    "never started": "CoreCell('server', listen='grpc://127.0.0.1:0')",
    "a listener": "server = CoreCell('server', listen='grpc://127.0.0.1:0'); server.start()",
    "a client without a server": "site = CoreCell('site', connect='grpc://127.0.0.1:1'); site.start()",
    "stopped": "server, site = connected_pair(); site.stop(); server.stop()",
    "idle": "server, site = connected_pair()",
    "idle for a while": "server, site = connected_pair(); time.sleep(0.3)",
    "after transfers": """
        server, site = connected_pair()
        StreamCell(server).register_blob_cb("c", "t", lambda future: None)
        for _ in range(20):
            StreamCell(site).send_blob("c", "t", "server", Message({}, bytes(3_000_000))).result(30)
        """,
    "in the middle of a stream": f"""
        server, site = connected_pair()
        reading = threading.Event()
        def read(future, stream, resume):
            for _ in stream.pieces():
                reading.set()
        StreamCell(server).register_stream_cb("c", "t", read)
        future = StreamCell(site).send_stream("c", "t", "server", Message({{}}, {ENDLESS}))
        reading.wait(30)
        """,
    "a callback is blocked": """
        server, site = connected_pair()
        reached = threading.Event()
        def block(*_):
            reached.set()
            threading.Event().wait()
        StreamCell(server).register_stream_cb("c", "t", block)
        future = StreamCell(site).send_stream("c", "t", "server", Message({}, bytes(3_000_000)))
        reached.wait(30)
        """,
    "a reader is blocked": """
        server, site = connected_pair()
        reached = threading.Event()
        def read(future, stream, resume):
            reached.set()
            stream.read(-1)
        def nothing():
            yield b"x"
            threading.Event().wait()
        StreamCell(server).register_stream_cb("c", "t", read)
        future = StreamCell(site).send_stream("c", "t", "server", Message({}, nothing()))
        reached.wait(30)
        """,
    "a done-callback is blocked": """
        server, site = connected_pair()
        reached = threading.Event()
        def block(future):
            reached.set()
            threading.Event().wait()
        StreamCell(server).register_blob_cb("c", "t", lambda future: None)
        StreamCell(site).send_blob("c", "t", "server", Message({}, b"")).add_done_callback(block)
        reached.wait(30)
        """,
    "requests are outstanding": """
        server, site = connected_pair()
        reached = threading.Semaphore(0)
        def block(request):
            reached.release()
            threading.Event().wait()
        server.register_request_cb("c", "t", block)
        def ask():
            try:
                site.send_request("c", "t", "server", Message(), 0)
            except CellError:
                pass
        for _ in range(5):
            threading.Thread(target=ask, daemon=True).start()
            reached.acquire(timeout=30)
        site.fire_and_forget("c", "t", "missing", Message())
        """,
    "the target is missing": """
        server, site = connected_pair()
        futures = [StreamCell(site).send_blob("c", "t", "missing", Message({}, bytes(3_000_000))) for _ in range(50)]
        """,
    "asyncio": """
        import asyncio
        from streamcell import aio
        async def main():
            server = aio.CoreCell("server", listen="grpc://127.0.0.1:0")
            await server.start()
            site = aio.CoreCell("site", connect=server.listen_urls)
            await site.start()
            await site.wait_connected(30)
        asyncio.run(main())
        """,
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_exit_without_stop(name: str) -> None:
    ended = run_script(f"{textwrap.dedent(PROGRAMS[name])}\nsay(time.monotonic())\n")
    took = time.monotonic() - float(ended.stdout or "nan")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert took < PROMPT_S


@pytest.mark.parametrize("end", ["sys.exit(0)", "raise SystemExit", "pass"])
def test_exit_of_one_side_is_heard_by_the_other(end: str) -> None:
    def talk(pair: Pair) -> None:
        events: Box[str] = Box()
        pair.server.set_cell_disconnected_cb(events.put)
        script = f"""
            other = CoreCell("other", connect={pair.server.listen_urls!r})
            other.start()
            other.wait_connected(30)
            say("connected")
            sys.stdin.readline()
            {end}
            """
        with Script(script) as program:
            assert program.hear() == "connected"
            assert pair.server.is_cell_connected("other")
            program.tell()
            assert program.end() == (0, "")
        # It has said Goodbye: no time is needed to find out.
        assert events.get(scaled(5.0)) == "other"
        assert not pair.server.is_cell_connected("other")

    with connected_pair(grpc_carrier()) as pair:
        talk(pair)


def test_an_exception_ends_the_program_as_always() -> None:
    ended = run_script("server, site = connected_pair()\nraise LookupError('mine')\n")
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == "LookupError: mine"
