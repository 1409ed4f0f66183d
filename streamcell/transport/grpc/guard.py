"""Reflection for those only who could have a lane."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

from streamcell.errors import AuthenticationError
from streamcell.transport.grpc.environment import aio, grpc

if TYPE_CHECKING:
    from grpc import HandlerCallDetails
    from grpc.aio import ServicerContext

_REFLECTION = "/grpc.reflection."


class ReflectionGuard(aio.ServerInterceptor):
    """Asks who calls reflection, as whoever opens a lane is asked.

    :param identify: raises AuthenticationError for who proves nothing; called with the call and its address.
    """

    def __init__(self, identify: Callable[[ServicerContext[Any, Any], str], Awaitable[object]]) -> None:
        self._identify = identify

    async def intercept_service(
        self,
        continuation: Callable[[HandlerCallDetails], Awaitable[Any]],
        handler_call_details: HandlerCallDetails,
    ) -> Any:
        """Return what handles a call."""
        handler: Any = await continuation(handler_call_details)
        if handler is None or not handler_call_details.method.startswith(_REFLECTION):
            return handler

        async def guarded(requests: AsyncIterator[Any], context: ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            try:
                await self._identify(context, context.peer())
            except AuthenticationError as error:
                await context.abort(grpc.StatusCode.UNAUTHENTICATED, error.sentence)
            async for reply in handler.stream_stream(requests, context):
                yield reply

        return grpc.stream_stream_rpc_method_handler(guarded, handler.request_deserializer, handler.response_serializer)
