"""Cells of ``streamcell.aio`` for tests."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from streamcell import aio
from tests.kit.cells import QUICK, Carrier
from tests.kit.waiting import PATIENCE_S


class AioPair:
    """Two connected cells of the running loop."""

    def __init__(self, server: aio.CoreCell, site: aio.CoreCell) -> None:
        self.server = server
        self.site = site
        self.at_server = aio.StreamCell(server)
        self.at_site = aio.StreamCell(site)


@contextlib.asynccontextmanager
async def aio_pair(carrier: Carrier) -> AsyncIterator[AioPair]:
    """Start two cells, wait until they are connected, and stop them at the end."""
    async with aio.CoreCell("server", listen=carrier.url, network=carrier.network, config=QUICK) as server:
        site = aio.CoreCell("site", connect=server.listen_urls, network=carrier.network, config=QUICK)
        async with site:
            await site.wait_connected(PATIENCE_S)
            yield AioPair(server, site)


def with_pair(carrier: Carrier, test: Callable[[AioPair], Awaitable[None]]) -> None:
    """Run a test on a loop of its own, within a time limit."""

    async def main() -> None:
        async with asyncio.timeout(2 * PATIENCE_S), aio_pair(carrier) as pair:
            await test(pair)

    asyncio.run(main())
