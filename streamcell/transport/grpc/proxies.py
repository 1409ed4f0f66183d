"""The proxy by which an address is dialled, as the environment names it.

gRPC reads ``grpc_proxy``, ``https_proxy`` and ``http_proxy`` itself, in small letters only, needs ``http://`` in front,
and knows neither ``*`` nor ports in ``no_proxy``. So what is dialled by which proxy is decided here, by the rules of
most programs; gRPC is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import ipaddress
import socket
import urllib.parse
import urllib.request
from collections.abc import Mapping

from streamcell.logs import get_logger
from streamcell.transport.address import Address

# Which of them counts, if several are set: the variables' names without "_proxy".
_KINDS = ("grpc", "https", "http", "all")
_DEFAULT_PORT = 3128

_logger = get_logger("streamcell.transport")


@dataclasses.dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy.

    :ivar url: as gRPC wants it, with the password if there is one.
    :ivar variable: what names it in the environment.
    """

    url: str
    variable: str

    def __str__(self) -> str:
        return f"the proxy {self.url.rpartition('@')[2].removeprefix('http://')} ({self.variable})"


async def find_proxy(address: Address, timeout_s: float) -> Proxy | None:
    """Return the proxy by which ``address`` is to be dialled; None: directly.

    A proxy is the way out of a network, never the way to this machine: neither to its loopback nor to any other address
    that it has. A name is looked up for that, for ``timeout_s`` at most, where a proxy is set.
    """
    if address.is_loopback:
        return None
    proxies = urllib.request.getproxies_environment()
    if _is_excepted(address, proxies):
        return None
    proxy = _configured(proxies)
    if proxy is None or await _is_own(address, timeout_s):
        return None
    return proxy


def _configured(proxies: Mapping[str, str]) -> Proxy | None:
    for kind in _KINDS:
        if proxies.get(kind):
            url = _as_http(f"{kind}_proxy", proxies[kind])
            if url is not None:
                return Proxy(url, f"{kind}_proxy")
    return None


@functools.cache
def _as_http(variable: str, value: str) -> str | None:
    """Return a proxy as gRPC wants it; None, with a warning when it is met first, if gRPC cannot use it."""
    url = value if "://" in value else f"http://{value}"
    parts = urllib.parse.urlsplit(url)
    port = None
    with contextlib.suppress(ValueError):
        port = parts.port or _DEFAULT_PORT
    if parts.scheme.lower() != "http" or not parts.hostname or port is None:
        said = value.rpartition("@")[2]
        _logger.warning("%s is not used: gRPC knows proxies of HTTP only, http://host:port, not %.100s", variable, said)
        return None
    who, at, _ = parts.netloc.rpartition("@")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"http://{who}{at}{host}:{port}"


def _is_excepted(address: Address, proxies: Mapping[str, str]) -> bool:
    """Return whether ``no_proxy`` names an address: by ``*``, a name or its end, an address, or a network."""
    listed = proxies.get("no_grpc") or proxies.get("no") or ""
    names = [name.strip() for name in listed.split(",")]
    if "*" in names:
        return True
    if not address.is_ip:
        return any(_is_name_of(name.lower(), address) for name in names)
    ip = ipaddress.ip_address(address.host)
    return address.host_and_port in names or any(ip in network for network in map(_as_network, names) if network)


def _is_name_of(name: str, address: Address) -> bool:
    """Return whether a name stands for an address: its own, or the end of it, with or without a port."""
    name = name.removesuffix(f":{address.port}").removeprefix(".")
    return name != "" and f".{address.host}".endswith(f".{name}")


def _as_network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_network(text.strip("[]"), strict=False)
    return None


async def _is_own(address: Address, timeout_s: float) -> bool:
    """Return whether an address is one of this machine."""
    if address.is_ip:
        return _can_be_bound(address.host)
    try:
        async with asyncio.timeout(timeout_s):
            loop = asyncio.get_running_loop()
            found = await loop.getaddrinfo(address.host, None, type=socket.SOCK_DGRAM)
    except (OSError, RuntimeError, TimeoutError):
        # Names beyond a proxy are often known to the proxy only; and the thread for looking one up may be refused.
        return False
    return any(_can_be_bound(str(sockaddr[0])) for *_, sockaddr in found)


def _can_be_bound(host: str) -> bool:
    """Return whether this machine has an address: only what it has can be bound."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True
