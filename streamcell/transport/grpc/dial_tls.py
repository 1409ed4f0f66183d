"""TLS of who dials, and why it was not let in."""

from __future__ import annotations

import asyncio
import dataclasses
import functools

from streamcell.errors import AuthenticationError
from streamcell.security.credentials import Credentials
from streamcell.transport.address import Address
from streamcell.transport.base import LaneClosed
from streamcell.transport.grpc.environment import grpc
from streamcell.transport.grpc.options import Options
from streamcell.transport.grpc.tls import channel_credentials

# Between two looks at why an address does not let this cell in.
_AGAIN_S = 60.0
_MOST_PROBE_S = 5.0
# Addresses of which it is remembered.
_REMEMBERED = 1024


@dataclasses.dataclass(frozen=True, slots=True)
class _Finding:
    fault: str
    is_final: bool
    at: float


class DialTLS:
    """What one cell's dials have in common: its certificates, and what was found out where they failed."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._findings: dict[Address, _Finding] = {}

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Return what a channel needs, as it stands now.

        :raises AuthenticationError: if the files cannot be read.
        """
        return channel_credentials(self._credentials.material)

    def options_for(self, address: Address, record: str) -> Options:
        """Return what a channel needs to look for another name than that of what it dials.

        ``record``: the address of the host that is dialled, if it is not gRPC that looks it up.
        """
        name = self._credentials.host_to_find(address.host, address.cell)
        return () if name == address.host and not record else (("grpc.ssl_target_name_override", name),)

    async def explain(self, address: Address, where: str, timeout_s: float) -> None:
        """Shake hands once more and say what is wrong, if it is TLS; at most once in a while for each address.

        :raises LaneClosed: with what was found.
        """
        loop = asyncio.get_running_loop()
        found = self._findings.get(address)
        if found is None or loop.time() >= found.at + _AGAIN_S:
            found = await self._find(address, min(timeout_s, _MOST_PROBE_S))
            if len(self._findings) >= _REMEMBERED:
                self._findings.clear()
            self._findings[address] = found
        if found.fault:
            sentence = f"{where} {found.fault}"
            raise LaneClosed(sentence, AuthenticationError(sentence) if found.is_final else None)

    def forget(self) -> None:
        """There are other certificates: what was found does not count any more."""
        self._findings.clear()

    async def _find(self, address: Address, timeout_s: float) -> _Finding:
        from streamcell.security.probe import probe

        loop = asyncio.get_running_loop()
        name = self._credentials.host_to_find(address.host, address.cell)
        look = functools.partial(probe, address.host, address.port, self._credentials.material, name, timeout_s)
        try:
            finding = await loop.run_in_executor(None, look)
        except RuntimeError:
            # There is no thread for it now.
            return _Finding("", False, -_AGAIN_S)
        return _Finding(finding.fault, finding.is_final, loop.time())
