"""What ends leaves nothing on standard error: cells whose hub stands still or dies, and processes that just leave."""

from __future__ import annotations

import signal

from tests.kit.programs import Script

HUB = """
    hub = CoreCell("hub", listen="grpc://127.0.0.1:0", config=QUICK)
    StreamCell(hub).register_stream_cb("c", "t", lambda future, stream, resume: stream.read(-1))
    hub.start()
    say(hub.listen_urls[0])
    sys.stdin.readline()
    """

CELLS = """
    import gc
    url = sys.stdin.readline().strip()
    cells = [CoreCell(f"site-{{number}}", connect=url, config=QUICK) for number in range({count})]
    for cell in cells:
        cell.start()
    for cell in cells:
        cell.wait_connected(30)
    endless = itertools.repeat(bytes(100_000))
    sent = [StreamCell(cell).send_stream("c", "t", "hub", Message({{}}, endless)) for cell in cells]
    say("sending")
    sys.stdin.readline()
    ending = [threading.Thread(target=cell.stop, args=(0,)) for cell in cells]
    for thread in ending:
        thread.start()
    for thread in ending:
        thread.join()
    say("stopped")
    sys.stdin.readline()
    gc.collect()
    """


def test_case_3_6_cells_that_stop_while_their_hub_stands_still_and_then_dies() -> None:
    with Script(HUB) as hub, Script(CELLS.format(count=8)) as cells:
        cells.tell(hub.hear())
        assert cells.hear() == "sending"
        hub.signal(signal.SIGSTOP)
        cells.tell()
        assert cells.hear() == "stopped"
        hub.kill()
        cells.tell()
        assert cells.end() == (0, "")


def test_case_3_6_cells_that_stop_after_their_hub_has_died() -> None:
    with Script(HUB) as hub, Script(CELLS.format(count=8)) as cells:
        cells.tell(hub.hear())
        assert cells.hear() == "sending"
        hub.kill()
        cells.tell()
        assert cells.hear() == "stopped"
        cells.tell()
        assert cells.end() == (0, "")
