"""How soon a stream goes on after a break of the path, with the settings that cells have by default.

``scripts/recovery`` prints the times from the moment when the path is whole again to the next byte at the reader.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import queue
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from streamcell import CoreCell, IterStream, Message, ReceivedStream, StreamCell, StreamFuture
from tests.kit.cells import running
from tests.kit.proxy import Proxy, Way, proxy_to
from tests.kit.waiting import PATIENCE_S

_PIECE = bytes(10_000)
_PAUSE_S = 0.01


def down(proxy: Proxy, seconds: float) -> None:
    """Connections end, new ones are refused for a while."""
    proxy.path.refuses = True
    proxy.end_now()
    proxy.later(seconds, functools.partial(_up, proxy))


def _up(proxy: Proxy) -> None:
    proxy.path.refuses = False
    proxy.healed_now()


def hole(proxy: Proxy, seconds: float) -> None:
    """Nothing passes for a while, then all of it."""
    proxy.flow_now(False)
    proxy.later(seconds, functools.partial(_let_go, proxy, resets=False))


def hole_and_reset(proxy: Proxy, seconds: float) -> None:
    """Nothing passes for a while, then the connections are reset."""
    proxy.flow_now(False)
    proxy.later(seconds, functools.partial(_let_go, proxy, resets=True))


def _let_go(proxy: Proxy, *, resets: bool) -> None:
    proxy.flow_now(True)
    if resets:
        proxy.reset_now()
    proxy.healed_now()


BREAKS = (down, hole, hole_and_reset)


class Flow:
    """A stream that never ends, and when its pieces arrive."""

    def __init__(self, proxy: Proxy, server: CoreCell, site: CoreCell) -> None:
        self._proxy = proxy
        self._arrivals: queue.SimpleQueue[float] = queue.SimpleQueue()
        self._ended = threading.Event()
        StreamCell(server).register_stream_cb("c", "t", self._read)
        self._future = StreamCell(site).send_stream("c", "t", "server", Message({}, IterStream(self._source())))

    def _source(self) -> Iterator[bytes]:
        while not self._ended.wait(_PAUSE_S):
            yield _PIECE

    def _read(self, future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        for _ in stream.pieces():
            self._arrivals.put(time.monotonic())

    def measure(self, fault: Any, seconds: float) -> float:
        """Break the path and return how long the stream took to go on after that."""
        self._arrivals.get(timeout=PATIENCE_S)
        self._proxy.forget_healing()
        self._proxy.strike(Way.UP, 1, functools.partial(fault, seconds=seconds))
        while True:
            arrived = self._arrivals.get(timeout=seconds + 3 * PATIENCE_S)
            healed_at = self._proxy.healed_at
            if healed_at is not None and arrived > healed_at:
                return arrived - healed_at

    def end(self) -> None:
        """End the stream and see that it has arrived."""
        self._ended.set()
        self._future.result(PATIENCE_S)


def measure(lengths_s: list[float], times: int) -> dict[str, Any]:
    """Return the recovery times by the length of the break."""
    server = CoreCell("server", listen="grpc://127.0.0.1:0")
    found: dict[str, Any] = {}
    with running(server), proxy_to(server.listen_urls[0]) as proxy:
        site = CoreCell("site", connect=proxy.url)
        with running(site):
            site.wait_connected(PATIENCE_S)
            flow = Flow(proxy, server, site)
            for length_s in lengths_s:
                took = [flow.measure(fault, length_s) for fault, _ in itertools.product(BREAKS, range(times))]
                found[f"{length_s:g} s"] = {
                    "breaks": len(took),
                    "median_s": round(statistics.median(took), 3),
                    "worst_s": round(max(took), 3),
                }
            flow.end()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/recovery", description=__doc__)
    parser.add_argument("--lengths", type=float, nargs="+", default=[0.1, 1.0, 3.0, 15.0], metavar="SECONDS")
    parser.add_argument("--times", type=int, default=5, help="of each kind of break (%(default)s)")
    words = parser.parse_args()
    print(json.dumps(measure(words.lengths, words.times)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
