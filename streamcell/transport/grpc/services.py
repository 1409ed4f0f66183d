"""Standard services beside the cell's own on its port: health and reflection.

The companions belong to the extra ``daemon``; this module is imported only where they are asked for.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any

from streamcell.transport.grpc.serving import CELL_SERVICE

if TYPE_CHECKING:
    from grpc.aio import Server

# How long telling the state may take: the engine stands still if it takes longer, and then nobody hears it either.
_SET_S = 5.0


class HealthService:
    """``grpc.health.v1.Health``: whether the cell lives and is of use, for orchestrators and load balancers.

    For the empty name, which stands for the whole server, it says SERVING as long as it can be asked (liveness). For
    the cell's own service it says what it is told (readiness). In the end both say NOT_SERVING, as servers of gRPC do
    that shut down in good order: many ask for the empty name where they mean readiness.
    """

    def __init__(self) -> None:
        from grpc_health.v1 import health

        self._health = health
        self._servicer = health.aio.HealthServicer()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The service's name."""
        return (self._health.SERVICE_NAME,)

    def add_to(self, server: Server, _names: Iterable[str]) -> None:
        """Add it to a server; for the whole server it says SERVING, for the cell nothing until it is told."""
        from grpc_health.v1 import health_pb2_grpc

        self._loop = asyncio.get_running_loop()
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    def set_serving(self, serving: bool) -> None:
        """Say SERVING or NOT_SERVING of the cell's service from now on; returns when it is said.

        Any thread but the engine's.

        Before the cell has started, or where it listens nowhere, nobody asks, and nothing is done.
        """
        self._say(lambda: self._set(serving))

    def end_serving(self) -> None:
        """Say NOT_SERVING of everything from now on, for good; returns when it is said.

        As :meth:`set_serving`, which does nothing from now on.
        """
        self._say(self._servicer.enter_graceful_shutdown)

    def _say(self, what: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if self._loop is None:
            return
        said = asyncio.run_coroutine_threadsafe(what(), self._loop)
        concurrent.futures.wait([said], _SET_S)

    async def _set(self, serving: bool) -> None:
        from grpc_health.v1 import health_pb2

        states = health_pb2.HealthCheckResponse
        state = states.SERVING if serving else states.NOT_SERVING
        await self._servicer.set(CELL_SERVICE, state)


class ReflectionService:
    """``grpc.reflection.v1alpha.ServerReflection``: lets generic tools list the services and their messages."""

    def __init__(self) -> None:
        from grpc_reflection.v1alpha import reflection

        self._reflection = reflection

    @property
    def names(self) -> tuple[str, ...]:
        """The service's name."""
        return (self._reflection.SERVICE_NAME,)

    def add_to(self, server: Server, names: Iterable[str]) -> None:
        """Add it to a server."""
        self._reflection.enable_server_reflection(tuple(names), server)
