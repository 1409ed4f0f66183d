"""``accept`` fails, in gRPC's own threads: the listener lives on, and streams go on."""

from __future__ import annotations

import concurrent.futures
import errno
from collections.abc import Sequence

import pytest

from tests.adversity.syscalls import can_refuse_accept
from tests.kit.programs import run_script
from tests.kit.timing import scaled

# What accept(2) may fail with that is not the caller's mistake.
ERRORS = ("EMFILE", "ENFILE", "ENOMEM", "ENOBUFS", "EPROTO", "EPERM", "ECONNABORTED", "ENETDOWN")

SCRIPT = """
import tempfile
from tests.adversity.syscalls import refuse_accept
refuse_accept({error}, {refused}.__contains__)
with tempfile.TemporaryDirectory() as folder:
    server = CoreCell("server", listen={url!r}.format(folder), config=QUICK)
    StreamCell(server).register_stream_cb("c", "s", lambda future, stream, resume: stream.read(-1))
    server.start()
    first = CoreCell("first", connect=server.listen_urls, config=QUICK)
    first.start()
    first.wait_connected(60)
    gate = threading.Event()
    pieces = itertools.chain([bytes(300_000)], iter(gate.wait, True), [bytes(300_000)])
    future = StreamCell(first).send_stream("c", "s", "server", Message({{}}, pieces))
    second = CoreCell("second", connect=server.listen_urls, config=QUICK)
    second.start()
    second.wait_connected(60)
    assert StreamCell(second).send_stream("c", "s", "server", Message({{}}, bytes(300_000))).result(60) == 300_000
    gate.set()
    say(future.result(60), first.is_cell_connected("server"))
    for cell in (first, second, server):
        cell.stop(0)
"""


def outcome(error: str, url: str, refused: set[int]) -> str:
    """Run the script; return what it says, or what went wrong."""
    ended = run_script(SCRIPT.format(error=getattr(errno, error), url=url, refused=refused))
    return ended.stdout if ended.returncode == 0 else f"{error}: {ended.stderr}"


@pytest.mark.skipif(not can_refuse_accept(), reason="needs Linux's seccomp on a machine whose numbers are known")
@pytest.mark.timeout(scaled(240))
@pytest.mark.parametrize(("refused", "errors"), [({1}, ERRORS), ({3, 4}, ERRORS[:3])], ids=["the first", "later ones"])
def test_the_listener_survives_a_refused_accept(refused: set[int], errors: Sequence[str]) -> None:
    """Whatever it is refused with. The waits overlap, since most of the time is waiting."""
    urls = ("grpc://127.0.0.1:0", "unix://{}/s")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        outcomes = pool.map(lambda pair: outcome(pair[1], urls[pair[0] % 2], refused), enumerate(errors))
        assert list(outcomes) == ["600000 True\n"] * len(errors)
