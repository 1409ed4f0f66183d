"""Binding a gRPC server to an address, and why it fails.

gRPC alone says only that it failed, takes over a unix socket that a living server listens at, and
is content when one of a name's several addresses is free.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import errno
import os
import secrets
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from streamcell.errors import ErrorCode, LinkError
from streamcell.transport.address import SOCKET_PATH_BYTES, Address, Scheme
from streamcell.transport.base import AddressInUse
from streamcell.transport.grpc.accepting import ListeningSocket, find_listening

if TYPE_CHECKING:
    from grpc import ServerCredentials
    from grpc.aio import Server

_SOCKET_MODE = 0o600
# Where Linux shows a process its open folders, by number.
_OPEN_FOLDERS = "/proc/self/fd"
_ADVICE = "choose another address, or end what uses it"
# A name may stand for addresses of families that this machine does not have.
_NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


@dataclasses.dataclass(frozen=True, slots=True)
class Binding:
    """Where a server is bound.

    :ivar address: with the real port.
    :ivar sockets: those that listen there, as far as they can be found out.
    :ivar inode: device and inode of the unix socket's name.
    """

    address: Address
    sockets: tuple[ListeningSocket, ...] = ()
    inode: tuple[int, int] | None = None

    def release(self) -> None:
        """Remove the unix socket, unless another server has taken its place."""
        path = Path(self.address.name)
        if self.inode is not None and _inode(path) == self.inode:
            path.unlink(missing_ok=True)


async def bind(server: Server, address: Address, credentials: ServerCredentials | None = None) -> Binding:
    """Bind ``server``, which is not yet started, to ``address``; with ``credentials``: with TLS.

    :raises LinkError: if the address is busy or cannot be used. The server may then be bound to a
        part of it: start and stop it.
    """
    before = set(find_listening())
    if address.scheme is Scheme.UNIX:
        try:
            binding = _bind_unix(server, address)
        except OSError as error:
            raise LinkError(f"cannot listen at {address}: {error.strerror}") from error
    else:
        binding = Binding(await _bind_tcp(server, address, credentials))
    sockets = tuple(each for each in find_listening() if each not in before and each.is_at(binding.address.port))
    return dataclasses.replace(binding, sockets=sockets)


async def _bind_tcp(server: Server, address: Address, credentials: ServerCredentials | None) -> Address:
    port = address.port
    bound = 0
    for host in await _ip_addresses(address):
        part = Address(address.scheme, host, port)
        try:
            if credentials is None:
                port = server.add_insecure_port(part.host_and_port)
            else:
                port = server.add_secure_port(part.host_and_port, credentials)
            bound += 1
        except RuntimeError as error:
            reason = _why_not(host, port)
            missing = reason is not None and reason.errno in _NO_SUCH_ADDRESS
            if (missing and address.host != host) or (bound and address.port == 0):
                continue
            if reason is not None and reason.errno == errno.EADDRINUSE:
                raise AddressInUse(f"{host} port {port}", os.strerror(errno.EADDRINUSE)) from error
            said = "it is busy or not allowed" if reason is None else reason.strerror
            raise LinkError(f"cannot listen at {host} port {port}: {said}; {_ADVICE}") from error
    if not bound:
        raise LinkError(f"cannot listen at {address}: this machine has no such address")
    return dataclasses.replace(address, port=port)


async def _ip_addresses(address: Address) -> list[str]:
    if address.host == "localhost":
        return ["127.0.0.1", "::1"]
    if address.is_ip:
        return [address.host]
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise LinkError(f"cannot listen at {address}: {error.strerror}") from error
    except RuntimeError as error:
        # The name is looked up in a thread.
        raise LinkError(f"cannot listen at {address} now: {error}", ErrorCode.LIMIT) from error
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


def _why_not(host: str, port: int) -> OSError | None:
    """Return why ``host`` and ``port`` cannot be bound; None if they can now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        return error
    return None


def _bind_unix(server: Server, address: Address) -> Binding:
    path = Path(address.name)
    _remove_stale_socket(path)
    # The socket is made in a directory that is closed to others, and shows itself when its mode is
    # right: there is no moment in which another user could connect.
    with tempfile.TemporaryDirectory(prefix=".", dir=path.parent) as directory:
        # gRPC removes what has the name when the server ends, by which time the name may lead elsewhere.
        hidden = Path(directory, secrets.token_hex(4))
        with _short_name(hidden) as name:
            try:
                server.add_insecure_port(f"unix:{quote(name)}")
            except RuntimeError as error:
                raise LinkError(f"cannot listen at {address}: {error}") from error
        hidden.chmod(_SOCKET_MODE)
        inode = _inode(hidden)
        hidden.rename(path)
    return Binding(address, inode=inode)


@contextlib.contextmanager
def _short_name(path: Path) -> Iterator[str]:
    """Give a name by which a socket can be made at ``path``, which may be longer than a socket's path may be.

    :raises OSError: if there is none: on systems without ``/proc``.
    """
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES:
        yield str(path)
        return
    if not Path(_OPEN_FOLDERS).is_dir():
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"{_OPEN_FOLDERS}/{folder}/{path.name}"
    finally:
        os.close(folder)


def _remove_stale_socket(path: Path) -> None:
    """Remove the socket that a dead server has left at ``path``.

    :raises LinkError: if something else is there, or a living server.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise LinkError(f"cannot listen at {path}: there is a file that is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except BlockingIOError:
            pass  # so many wait to be accepted that it must be alive
    raise AddressInUse(f"unix socket {path}", os.strerror(errno.EADDRINUSE))


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino
