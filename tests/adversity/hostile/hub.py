"""The hub that is attacked: a process of its own, with the standing cell of the command line, and a relay below it."""

from __future__ import annotations

import argparse
import logging
from typing import Any

from streamcell import CoreCell
from streamcell.daemon.inbox import LogWatcher
from streamcell.daemon.settings import ServeSettings
from streamcell.daemon.standalone import StandaloneCell
from tests.adversity.hostile.errands import Taker
from tests.adversity.hostile.talking import Talking, answer
from tests.kit.waiting import PATIENCE_S

HUB, RELAY = "hub", "relay"
_ANY_PORT = "grpc://127.0.0.1:0"


class Hub(Talking):
    """The process, and what it says of itself."""

    def __init__(self, connect: str = "") -> None:
        super().__init__("hub", connect)
        self.url: str = self.ready["hub"]
        self.relay_url: str = self.ready["relay"]

    def look(self) -> dict[str, Any]:
        """Return how it is now."""
        found: dict[str, Any] = self.ask("look")
        return found


def serve(connect: str) -> None:
    """Be the hub until standard input ends."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    settings = ServeSettings(fqcn=HUB, listen=(_ANY_PORT,), connect=(connect,) if connect else ())
    with StandaloneCell(settings, LogWatcher()) as standing:
        taker = Taker(standing.cell)
        standing.start()
        url = standing.cell.listen_urls[0]
        with CoreCell(RELAY, listen=_ANY_PORT, connect=url) as relay:
            relay.wait_connected(PATIENCE_S)

            def look() -> dict[str, Any]:
                return {"counts": taker.counts(), "wrong": taker.wrong, **_state_of(standing.cell, relay)}

            answer({"hub": url, "relay": relay.listen_urls[0]}, {"look": look})


def _state_of(hub: CoreCell, relay: CoreCell) -> dict[str, Any]:
    stats = hub.stats().protocol
    return {
        "incarnation": stats.incarnation,
        "refused": stats.frames_refused + relay.stats().protocol.frames_refused,
        "routes": {route.fqcn: [route.incarnation, route.epoch, route.via] for route in stats.routes},
        "links": [link.fqcn for link in stats.links],
        "receives": len(stats.receives),
        "relays": len(stats.relays),
    }


def main() -> None:
    """Be the hub."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("connect", help="where its parent listens; empty: it has none")
    serve(parser.parse_args().connect)


if __name__ == "__main__":
    main()
