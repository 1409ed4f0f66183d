"""A long or narrow path between two cells: the benchmark's proxy, on a loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar
from urllib.parse import urlsplit

from scripts.bench.proxy import NetworkPath, Proxy
from tests.kit.waiting import PATIENCE_S

T = TypeVar("T")


@contextlib.contextmanager
def distance(target_url: str, path: NetworkPath) -> Iterator[str]:
    """Put a path in front of a cell that listens on this machine, and yield the address at its other end."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="distance", daemon=True)
    thread.start()

    def call(coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(PATIENCE_S)

    proxy = Proxy(urlsplit(target_url).port or 0, path)
    try:
        yield f"grpc://127.0.0.1:{call(proxy.start())}"
        call(proxy.stop())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE_S)
        loop.close()
