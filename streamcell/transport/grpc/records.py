"""The addresses that a host has, looked up anew for each dial.

gRPC looks hosts up itself, and dials all of their addresses, but always in the same order, and believes the first that
speaks HTTP/2. A cell wants to know them: one that takes connections and says nothing must not hide the others.

The system's look-up blocks, for long if no name server answers. So it has a thread of its own, which nobody waits for
when the process ends; a name is looked up once at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import TypeAlias

from streamcell.transport.address import Address
from streamcell.transport.base import LaneClosed

_Found: TypeAlias = "tuple[str, ...] | OSError"


class Records:
    """What is being looked up. Used on one event loop at a time."""

    def __init__(self) -> None:
        self._pending: dict[str, asyncio.Future[_Found]] = {}

    async def find(self, address: Address, timeout_s: float) -> tuple[str, ...]:
        """Return the IP addresses of a host, in the order in which the system prefers them.

        :raises LaneClosed: if there is none, or none is found within ``timeout_s``.
        """
        try:
            pending = self._pending.get(address.host)
            if pending is None or pending.get_loop() is not asyncio.get_running_loop():
                pending = self._begin(address.host)
            async with asyncio.timeout(timeout_s):
                found = await asyncio.shield(pending)
        except TimeoutError as error:
            raise LaneClosed(
                f"the host of {address} was not found within {timeout_s:g} s (connect_timeout_s): ask the name server"
            ) from error
        except (RuntimeError, MemoryError) as error:
            raise LaneClosed(f"the host of {address} cannot be looked up now: {error}") from error
        if isinstance(found, OSError):
            raise LaneClosed(
                f"the host of {address} was not found: {found.strerror}; check its name, and the name server"
            ) from found
        return found

    def _begin(self, host: str) -> asyncio.Future[_Found]:
        loop = asyncio.get_running_loop()
        pending: asyncio.Future[_Found] = loop.create_future()

        def look_up() -> None:
            found = _look_up(host)
            # Unless the loop has been closed meanwhile.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(settle, found)

        def settle(found: _Found) -> None:
            if self._pending.get(host) is pending:
                del self._pending[host]
            pending.set_result(found)

        threading.Thread(target=look_up, name="streamcell-look-up", daemon=True).start()
        self._pending[host] = pending
        return pending


def _look_up(host: str) -> _Found:
    """Return the addresses of a host, of the kinds that this machine has as well if there are such."""
    error = OSError(0, "it has no address")
    for flags in (socket.AI_ADDRCONFIG, 0) if host != "localhost" else (0,):
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=flags)
        except UnicodeError:
            return OSError(0, "it is no name of a host")
        except OSError as failed:
            error = failed
        else:
            return tuple(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
    return error
