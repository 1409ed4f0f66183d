"""gRPC as a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from streamcell.errors import AuthenticationError, UsageError
from streamcell.security.credentials import Credentials
from streamcell.security.settings import TLSConfig
from streamcell.transport.address import Address, Scheme, parse_address
from streamcell.transport.base import Carrier, LaneClosed, Listener
from streamcell.transport.grpc import client as grpc_client
from streamcell.transport.grpc import server as grpc_server
from streamcell.transport.grpc.callers import Metadata, Tokens, metadata_of
from streamcell.transport.grpc.dial_tls import DialTLS
from streamcell.transport.grpc.proxies import find_proxy
from streamcell.transport.grpc.records import Records

if TYPE_CHECKING:
    from streamcell.transport.grpc.serving import Service


class GrpcNetwork:
    """Carries lanes between machines and processes, over TCP or unix sockets.

    Addresses are ``grpc://host:port``, ``grpcs://host:port`` and ``unix:///path``. Any number of cells may share one,
    and it need not be closed.

    :param services: what listeners offer beside lanes; then it is one cell's own.
    :param batch_threads: see :func:`threads.starting_grpc_threads`.
    :param credentials: of one cell, for addresses with TLS; without them any listener that the system believes can be
        dialled.
    :param tokens: of one cell; None: it neither shows any nor asks for any.
    """

    def __init__(
        self,
        services: Sequence[Service] = (),
        *,
        batch_threads: bool = True,
        credentials: Credentials | None = None,
        tokens: Tokens | None = None,
    ) -> None:
        self._services = tuple(services)
        self._credentials = credentials
        self._tokens = tokens
        self._tls = DialTLS(credentials or Credentials(TLSConfig()))
        self._records = Records()
        #: What it wants gRPC's threads to be; a setting of the process.
        self.batch_threads = batch_threads

    async def dial(self, url: str, timeout_s: float) -> Carrier:
        """Return the carrier of a lane to the cell that listens at ``url``. See :class:`base.Network`."""
        return await self.dial_record(url, "", timeout_s)

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
        address = _grpc_address(url)
        return await grpc_client.dial(
            address,
            timeout_s,
            record=record,
            batch_threads=self.batch_threads,
            tls=self._tls if address.scheme is Scheme.GRPCS else None,
            metadata=await self._metadata_for(url, timeout_s),
        )

    async def listen(self, url: str, on_lane: Callable[[Carrier], None], *, insecure: bool) -> Listener:
        """Listen at ``url``. See :class:`base.Network`."""
        address = _grpc_address(url)
        credentials = self._credentials_for(address)
        return await grpc_server.listen(
            address,
            on_lane,
            insecure=insecure,
            services=self._services,
            batch_threads=self.batch_threads,
            credentials=credentials,
            tokens=self._tokens,
        )

    def with_credentials(self, credentials: Credentials) -> GrpcNetwork:
        """Return the same network for a cell with certificates of its own."""
        return GrpcNetwork(
            self._services, batch_threads=self.batch_threads, credentials=credentials, tokens=self._tokens
        )

    def with_tokens(self, tokens: Tokens) -> GrpcNetwork:
        """Return the same network for a cell with tokens of its own."""
        return GrpcNetwork(
            self._services, batch_threads=self.batch_threads, credentials=self._credentials, tokens=tokens
        )

    def on_credentials_changed(self) -> None:
        """There are other certificates: what was found out about refusals may have changed."""
        self._tls.forget()

    async def _metadata_for(self, url: str, timeout_s: float) -> Metadata:
        if self._tokens is None:
            return ()
        try:
            return metadata_of(await self._tokens.token_for(url, timeout_s), self._tokens.fqcn)
        except AuthenticationError as error:
            sentence = f"{url} cannot be dialled without a token: {error.sentence}"
            raise LaneClosed(sentence, AuthenticationError(sentence)) from error

    def _credentials_for(self, address: Address) -> Credentials | None:
        if address.scheme is not Scheme.GRPCS:
            return None
        if address.cell:
            raise UsageError(f"{address} cannot be listened at: the name of a cell is for those who dial")
        if self._credentials is None:
            raise UsageError(
                f"listening at {address} needs a certificate: give tls=TLSConfig(ca=..., cert=..., key=...)"
            )
        self._credentials.check_can_listen(str(address))
        return self._credentials


def _grpc_address(url: str) -> Address:
    address = parse_address(url)
    if address.scheme is Scheme.MEMORY:
        raise UsageError(f"{url} is not on a network: use grpc://host:port or unix:///path")
    return address
