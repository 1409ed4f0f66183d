"""Where cells listen and are dialled: URLs to values and back."""

from __future__ import annotations

import dataclasses
import enum
import ipaddress
import re
from collections.abc import Iterable

from streamcell.errors import UsageError
from streamcell.fqcn import is_fqcn

_URL = re.compile(r"([a-z]+)://(.*)", re.ASCII | re.DOTALL)
_HOST_AND_PORT = re.compile(
    r"(?:(?P<cell>[^@/]*)@)?(?:\[(?P<ipv6>[^\[\]]+)\]|(?P<host>[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,252})))"
    r":(?P<port>[0-9]{1,5})/?",
    re.ASCII,
)
_MEMORY_NAME = re.compile(r"[A-Za-z0-9._~-]{0,255}", re.ASCII)
_NUMBERS_AND_DOTS = re.compile(r"[0-9.]+", re.ASCII)
_MAX_PORT = 65535
# What every kernel takes as a socket's path: 104 bytes with a zero at the end on macOS and BSD, 108 on Linux. One limit
# for all, so that what is written into a file works wherever that goes.
SOCKET_PATH_BYTES = 103
_FORMS = "use grpc://host:port or unix:///path"


class Scheme(enum.StrEnum):
    """What carries the lanes."""

    GRPC = "grpc"
    GRPCS = "grpcs"
    UNIX = "unix"
    MEMORY = "memory"


@dataclasses.dataclass(frozen=True, slots=True)
class Address:
    """Where a cell listens. ``str()`` gives the URL back.

    :ivar cell: with TLS: the cell whose certificate is to be shown there; empty: one for the host.
    :ivar host: a name or an IP address without brackets; empty unless the scheme is gRPC's.
    :ivar port: 0 when listening: any free port.
    :ivar name: the socket's path, or the name in memory; empty if the scheme is gRPC's.
    """

    scheme: Scheme
    host: str = ""
    port: int = 0
    name: str = ""
    cell: str = ""

    @property
    def host_and_port(self) -> str:
        """Host and port as gRPC and people write them, IPv6 in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only processes of this machine can reach it. Unix sockets and memory count."""
        if self.scheme in (Scheme.UNIX, Scheme.MEMORY) or self.host == "localhost":
            return True
        ip = _as_ip(self.host)
        if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
            return ip.ipv4_mapped.is_loopback
        return ip is not None and ip.is_loopback

    @property
    def is_wildcard(self) -> bool:
        """Whether it stands for all addresses of this machine."""
        ip = _as_ip(self.host)
        return ip is not None and ip.is_unspecified

    @property
    def is_ip(self) -> bool:
        """Whether the host is an IP address, not a name."""
        return _as_ip(self.host) is not None

    def __str__(self) -> str:
        if self.scheme in (Scheme.UNIX, Scheme.MEMORY):
            return f"{self.scheme}://{self.name}"
        cell = f"{self.cell}@" if self.cell else ""
        return f"{self.scheme}://{cell}{self.host_and_port}"


def parse_address(url: object) -> Address:
    """Return the address that ``url`` stands for.

    :raises UsageError: if it is not one of the four forms, with what is wrong.
    """
    match = _URL.fullmatch(url) if isinstance(url, str) else None
    if match is None or match[1] not in tuple(Scheme):
        raise UsageError(f"{url!r:.300} is not an address: {_FORMS}")
    scheme, rest = Scheme(match[1]), match[2]
    if scheme is Scheme.UNIX:
        # A '%' is beyond gRPC, which decodes the path once or twice as it is.
        if not rest.startswith("/") or rest.endswith("/") or "\0" in rest or "%" in rest:
            raise UsageError(f"{url!r:.300} needs the absolute path of a socket, without '%': unix:///path")
        size = len(rest.encode("utf-8", "surrogatepass"))
        if size > SOCKET_PATH_BYTES:
            raise UsageError(
                f"{url!r:.300} has a path of {size} bytes, at most {SOCKET_PATH_BYTES} are possible for a socket: "
                "use a folder nearer to the root"
            )
        return Address(scheme, name=rest)
    if scheme is Scheme.MEMORY:
        if _MEMORY_NAME.fullmatch(rest) is None:
            raise UsageError(f"{url!r:.300} needs a name of letters, digits, '.', '_', '~' and '-'")
        return Address(scheme, name=rest)
    return _parse_host_and_port(str(url), scheme, rest)


def check_can_be_dialled(address: Address) -> None:
    """Check that ``address`` is not one for listening only.

    :raises UsageError: if it is.
    """
    if address.host and not address.port:
        raise UsageError(f"{address} cannot be dialled: port 0 is for listening, where it takes a free port")


def _parse_host_and_port(url: str, scheme: Scheme, rest: str) -> Address:
    match = _HOST_AND_PORT.fullmatch(rest)
    if match is None:
        raise UsageError(
            f"{url!r:.300} needs a host and a port, and nothing else: {scheme}://host:port, "
            f"or {scheme}://[::1]:port for an IPv6 address"
        )
    cell: str = match["cell"] or ""
    if match["cell"] is not None and (scheme is not Scheme.GRPCS or not is_fqcn(cell)):
        raise UsageError(
            f"{url!r:.300} names {cell!r:.100} before '@': only grpcs:// can have that, and then it is the name of the "
            "cell that listens there"
        )
    port = int(match["port"])
    if port > _MAX_PORT:
        raise UsageError(f"{url!r:.300} has port {port}: ports end at {_MAX_PORT}")
    host: str = match["ipv6"] or match["host"]
    if match["ipv6"] or _NUMBERS_AND_DOTS.fullmatch(host):
        try:
            ip = ipaddress.ip_address(host)
        except ValueError as error:
            raise UsageError(f"{url!r:.300} has a malformed IP address: {error}") from error
        if match["ipv6"] and ip.version != 6:
            raise UsageError(f"{url!r:.300} has an IPv4 address in brackets")
        return Address(scheme, str(ip), port, cell=cell)
    return Address(scheme, host.lower(), port, cell=cell)


def _as_ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def as_urls(urls: object, what: str, *, dialled: bool = False) -> tuple[str, ...]:
    """Return no, one or several URLs as a tuple. ``dialled``: they are to be dialled, not listened at.

    Raises:
        UsageError: one of them is not a URL, or cannot be dialled.
    """
    if urls is None:
        return ()
    if not isinstance(urls, Iterable) or isinstance(urls, bytes):
        raise UsageError(f"{what} must be a URL or a list of them, not {urls!r:.100}")
    listed = (urls,) if isinstance(urls, str) else tuple(urls)
    for url in listed:
        try:
            address = parse_address(url)
            if dialled:
                check_can_be_dialled(address)
        except UsageError as error:
            raise UsageError(f"{what}: {error}") from None
    return listed


def origin_of(peer: str) -> str:
    """Return where a connection comes from, by what gRPC says of its other end, without the port.

    Of IPv6 that is the network of 64 bits, which one customer has whole. Empty: from this machine.
    """
    host, colon, port = peer.rpartition(":")
    if not (colon and port.isdecimal()):
        return ""
    try:
        address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        if mapped is None:
            return "" if address.is_loopback else str(ipaddress.ip_network((address, 64), strict=False))
        address = mapped
    return "" if address.is_loopback else str(address)
