"""The receiver cannot write any more: the sender is told, and nothing else suffers."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamcell import Message, StreamCell, StreamRejected
from tests.adversity.test_kill import connected_site
from tests.kit.cells import QUICK, running
from tests.kit.payloads import pattern
from tests.kit.programs import Script
from tests.kit.waiting import PATIENCE_S

# A file may grow to 1 MB; the signal that says so becomes an error of write().
RECEIVER = """
import resource
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
server = CoreCell("server", listen="grpc://127.0.0.1:0", config=QUICK)

def receive(future, stream, resume):
    with open({path!r}, "wb", buffering=0) as file:
        for piece in stream.pieces():
            written = 0
            while written < len(piece):
                written += file.write(piece[written:])

StreamCell(server).register_stream_cb("c", "t", receive)
server.start()
say(server.listen_urls[0])
sys.stdin.readline()
"""


def test_the_receiver_has_no_room_for_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with Script(RECEIVER.format(path=str(path))) as program, running(connected_site(program.hear(), QUICK)) as site:
        site.wait_connected(PATIENCE_S)
        streams = StreamCell(site)
        small = pattern(500_000)
        for _ in range(2):
            future = streams.send_stream("c", "t", "server", Message({}, pattern(5_000_000)))
            with pytest.raises(StreamRejected, match="File too large"):
                future.result(PATIENCE_S)
            # What fits arrives, before and after.
            assert streams.send_stream("c", "t", "server", Message({}, small)).result(PATIENCE_S) == len(small)
            assert path.read_bytes() == small
