"""A process that exits, in whatever way and whatever runs, ends by itself and leaves nothing on standard error."""

from __future__ import annotations

import textwrap

import pytest

from tests.kit.programs import run_script

PROGRAMS = {
    "a thread that is no daemon waits for a transfer": """
        server, site = connected_pair()
        gate = threading.Event()
        def read(future, stream, resume):
            gate.wait(30)
            stream.read(-1)
        StreamCell(server).register_stream_cb("c", "t", read)
        future = StreamCell(site).send_stream("c", "t", "server", Message({}, b"piece"))
        threading.Thread(target=lambda: say(future.result())).start()
        threading.Timer(0.1, gate.set).start()
        """,
    "callbacks exit": """
        server, site = connected_pair()
        import logging
        logging.getLogger("streamcell").setLevel(logging.CRITICAL)
        done = threading.Event()
        StreamCell(server).register_blob_cb("c", "t", lambda future: sys.exit(5))
        server.register_request_cb("c", "t", lambda request: sys.exit(5))
        site.fire_and_forget("c", "t", "server", Message())
        future = StreamCell(site).send_blob("c", "t", "server", Message({}, b"blob"))
        future.add_done_callback(lambda future: sys.exit(5))
        future.add_done_callback(lambda future: done.set())
        done.wait(30)
        say(future.result())
        """,
    "an exit handler of before asks and stops": """
        import atexit
        cells = []
        def at_exit():
            for cell in cells:
                try:
                    cell.stats()
                except CellError as error:
                    say("refused", error.code.name)
                cell.stop()
        atexit.register(at_exit)
        cells.extend(connected_pair())
        """,
    "an exit handler of later asks and stops": """
        import atexit
        cells = connected_pair()
        def at_exit():
            for cell in cells:
                say(cell.stats() is not None)
                cell.stop()
        atexit.register(at_exit)
        """,
}

SAID = {
    "a thread that is no daemon waits for a transfer": "5\n",
    "callbacks exit": "4\n",
    "an exit handler of before asks and stops": "refused STOPPING\nrefused STOPPING\n",
    "an exit handler of later asks and stops": "True\nTrue\n",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_case_3_6_process_that_exits(name: str) -> None:
    ended = run_script(textwrap.dedent(PROGRAMS[name]))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, SAID[name], "")
