import asyncio
import logging

import pytest

from streamcell.transport.grpc.event_loop import quiet_empty_wakeups


class PollerCompletionQueue:
    """Has the name of the one in gRPC."""

    def _handle_events(self) -> None:
        raise BlockingIOError


def fail(error: BaseException) -> None:
    raise error


def errors_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    caplog.clear()
    return found


def test_an_empty_wakeup_is_not_logged_and_everything_else_is(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        quiet_empty_wakeups(loop)
        wake_up = getattr(PollerCompletionQueue(), "_handle_events")  # noqa: B009
        loop.call_soon(wake_up)
        await asyncio.sleep(0)
        assert errors_of(caplog) == []
        for error in (BlockingIOError("of somebody else"), RuntimeError("Event loop is closed"), ValueError("wrong")):
            loop.call_soon(fail, error)
            await asyncio.sleep(0)
            (message,) = errors_of(caplog)
            assert "Exception in callback" in message

    asyncio.run(main())
