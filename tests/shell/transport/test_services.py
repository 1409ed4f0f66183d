"""Health and reflection beside lanes, read by their real clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from streamcell.transport.base import LaneClosed
from streamcell.transport.grpc.environment import aio, grpc
from streamcell.transport.grpc.network import GrpcNetwork
from streamcell.transport.grpc.services import HealthService, ReflectionService
from streamcell.transport.grpc.serving import Service
from tests.kit.timing import scaled
from tests.shell.transport.running import Arrivals, hear, open_pair, run, say
from tests.shell.transport.test_callers import NoTokens

CELL_SERVICE = "streamcell.v1.CellService"
States = health_pb2.HealthCheckResponse


def method(channel: Any, name: str, *, streaming: bool = False) -> Any:
    kind = channel.unary_stream if streaming else channel.unary_unary
    return kind(
        f"/grpc.health.v1.Health/{name}",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=States.FromString,
    )


async def ask(channel: Any, service: str) -> int:
    answer = await method(channel, "Check")(health_pb2.HealthCheckRequest(service=service), timeout=scaled(10))
    return int(answer.status)


class Listening:
    """A listener with services, and a client's channel to it."""

    def __init__(self, *services: Service) -> None:
        self._network = GrpcNetwork(services)

    async def __aenter__(self) -> Any:
        self._listener = await self._network.listen("grpc://127.0.0.1:0", Arrivals(), insecure=False)
        self._channel = aio.insecure_channel(self._listener.url.removeprefix("grpc://"))
        return self._channel

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()
        await self._listener.close()


async def tell(health: HealthService, serving: bool) -> None:
    """Tell it from another thread, as a daemon does."""
    await asyncio.to_thread(health.set_serving, serving)


def test_health_says_what_it_is_told() -> None:
    async def main() -> None:
        health = HealthService()
        async with Listening(health) as channel:
            for serving, state in ((True, States.SERVING), (False, States.NOT_SERVING), (True, States.SERVING)):
                await tell(health, serving)
                assert [await ask(channel, name) for name in ("", CELL_SERVICE)] == [States.SERVING, state]

    run(main())


def test_watchers_are_told_of_changes() -> None:
    async def main() -> None:
        health = HealthService()
        async with Listening(health) as channel:
            await tell(health, True)
            call = method(channel, "Watch", streaming=True)(health_pb2.HealthCheckRequest(service=CELL_SERVICE))
            states: AsyncIterator[Any] = call.__aiter__()
            assert (await anext(states)).status == States.SERVING
            await tell(health, False)
            assert (await anext(states)).status == States.NOT_SERVING
            call.cancel()

    run(main())


def test_in_the_end_nothing_is_served_whatever_is_told_then() -> None:
    async def main() -> None:
        health = HealthService()
        async with Listening(health) as channel:
            await tell(health, True)
            call = method(channel, "Watch", streaming=True)(health_pb2.HealthCheckRequest(service=""))
            states: AsyncIterator[Any] = call.__aiter__()
            assert (await anext(states)).status == States.SERVING
            await asyncio.to_thread(health.end_serving)
            await tell(health, True)
            assert (await anext(states)).status == States.NOT_SERVING
            assert [await ask(channel, name) for name in ("", CELL_SERVICE)] == [States.NOT_SERVING] * 2
            call.cancel()

    run(main())


def test_health_that_nobody_can_ask_does_nothing() -> None:
    HealthService().set_serving(False)
    HealthService().end_serving()


def test_reflection_lists_all_services() -> None:
    async def main() -> list[str]:
        async with Listening(HealthService(), ReflectionService()) as channel:
            reflect = channel.stream_stream(
                "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
                response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
            )
            call = reflect(timeout=scaled(10))
            await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
            await call.done_writing()
            answer = await call.read()
            names = [service.name for service in answer.list_services_response.service]
            assert await call.code() is not None
            return names

    names = run(main())
    assert sorted(names) == ["grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection", CELL_SERVICE]


def test_reflection_asks_as_lanes_do_and_health_does_not() -> None:
    async def main() -> None:
        network = GrpcNetwork((HealthService(), ReflectionService()), tokens=NoTokens())
        listener = await network.listen("grpc://127.0.0.1:0", lambda _: None, insecure=False)
        async with aio.insecure_channel(listener.url.removeprefix("grpc://")) as channel:
            reflect: Any = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
            call = reflect(metadata=(("authorization", "Bearer one"),), timeout=scaled(10))
            assert await call.code() is grpc.StatusCode.UNAUTHENTICATED
            assert await call.details() == "one is nobody's"
            assert await ask(channel, "") == States.SERVING
        await listener.close()

    run(main())


def test_lanes_work_beside_services() -> None:
    async def main() -> None:
        network = GrpcNetwork((HealthService(), ReflectionService()))
        async with await open_pair(network, "grpc://127.0.0.1:0") as pair:
            await say(pair.dialled, b"there")
            assert await hear(pair.arrived) == b"there"
            await pair.arrived.close()
            try:
                await hear(pair.dialled)
            except LaneClosed:
                return
            raise AssertionError("the lane is open")

    run(main())
