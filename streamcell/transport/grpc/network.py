"""gRPC as a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from streamcell.errors import AuthenticationError, UsageError
from streamcell.transport.address import Address, Scheme, parse_address
from streamcell.transport.base import Carrier, Listener
from streamcell.transport.grpc import client as grpc_client
from streamcell.transport.grpc import server as grpc_server
from streamcell.transport.grpc.proxies import find_proxy
from streamcell.transport.grpc.records import Records

if TYPE_CHECKING:
    from streamcell.transport.grpc.serving import Service


class GrpcNetwork:
    """Carries lanes between machines and processes, over TCP or unix sockets.

    Addresses are ``grpc://host:port`` and ``unix:///path``. Any number of cells may share one, and it
    need not be closed.

    :param services: what listeners offer beside lanes; then it is one cell's own.
    :param batch_threads: see :func:`threads.starting_grpc_threads`.
    """

    def __init__(self, services: Sequence[Service] = (), *, batch_threads: bool = True) -> None:
        self._services = tuple(services)
        self._records = Records()
        #: What it wants gRPC's threads to be; a setting of the process.
        self.batch_threads = batch_threads

    async def dial(self, url: str, timeout_s: float) -> Carrier:
        """Return the carrier of a lane to the cell that listens at ``url``. See :class:`base.Network`."""
        return await grpc_client.dial(_grpc_address(url), timeout_s, batch_threads=self.batch_threads)

    async def resolve(self, url: str, timeout_s: float) -> tuple[str, ...]:
        """Return the records of the host of ``url``. See :class:`base.Resolver`.

        None of a host that is an address, of a unix socket, and of what is dialled through a proxy, which looks it up.
        """
        address = _grpc_address(url)
        if address.is_ip or not address.host or await find_proxy(address, timeout_s) is not None:
            return ()
        return await self._records.find(address, timeout_s)

    async def dial_record(self, url: str, record: str, timeout_s: float) -> Carrier:
        """Return the carrier of a lane to the cell at that record of the host. See :class:`base.Resolver`."""
        return await grpc_client.dial(_grpc_address(url), timeout_s, record=record, batch_threads=self.batch_threads)

    async def listen(self, url: str, on_lane: Callable[[Carrier], None], *, insecure: bool) -> Listener:
        """Listen at ``url``. See :class:`base.Network`."""
        address = _grpc_address(url)
        return await grpc_server.listen(
            address, on_lane, insecure=insecure, services=self._services, batch_threads=self.batch_threads
        )


def _grpc_address(url: str) -> Address:
    address = parse_address(url)
    if address.scheme is Scheme.GRPCS:
        raise AuthenticationError(
            f"{url} cannot be used: this version of streamcell has no TLS; use grpc:// or unix://"
        )
    if address.scheme is Scheme.MEMORY:
        raise UsageError(f"{url} is not on a network: use grpc://host:port or unix:///path")
    return address
