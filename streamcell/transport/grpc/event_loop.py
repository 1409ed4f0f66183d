"""What an event loop that carries gRPC needs.

All loops of a process that use ``grpc.aio`` watch one socket of its poller, and each byte on it wakes them all: the one
that reads it does the work, the others find nothing, which raises ``BlockingIOError`` and is logged with a traceback
although nothing is wrong (https://github.com/grpc/grpc/issues/25364). It concerns applications that use ``grpc.aio``
on a loop of their own beside ours.
"""

from __future__ import annotations

import asyncio
from typing import Any

# What asyncio says of a loop that has ended, when gRPC has news for it.
_ENDED = "Event loop is closed"
_HANDLER = "PollerCompletionQueue._handle_events"


def quiet_empty_wakeups(loop: asyncio.AbstractEventLoop) -> None:
    """Have ``loop`` log every error but that of a wake-up which another loop has dealt with."""
    loop.set_exception_handler(_handle_exception)


def _concerns_another_loop(error: object) -> bool:
    """Return whether there was nothing to do, or only for a loop that has ended, where nobody waits for it."""
    return isinstance(error, BlockingIOError) or (isinstance(error, RuntimeError) and str(error) == _ENDED)


def _handle_exception(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    spurious = _concerns_another_loop(context.get("exception")) and _HANDLER in repr(context.get("handle"))
    if not spurious:
        loop.default_exception_handler(context)
