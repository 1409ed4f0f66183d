"""The sockets that a gRPC server listens at, which gRPC makes and shows nobody.

Two things need them. A forked child has copies of them, which keep the address busy when the parent has gone. And gRPC
stops accepting for good, without a word, when ``accept`` fails with anything but EMFILE: then connections wait there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import select
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Where a process finds its own descriptors, on Linux and macOS.
_OWN_DESCRIPTORS = Path("/dev/fd")
_MAPPED_IPV4 = "::ffff:"
_EVERY_ADDRESS = ("::", "0.0.0.0")


@dataclasses.dataclass(frozen=True, slots=True)
class ListeningSocket:
    """A socket that listens: its descriptor, what tells it from others that have the number later, and its address."""

    descriptor: int
    inode: int
    name: Any

    @property
    def is_open(self) -> bool:
        """Whether the descriptor is still this socket."""
        try:
            return os.fstat(self.descriptor).st_ino == self.inode
        except OSError:
            return False

    @property
    def is_waited_at(self) -> bool:
        """Whether somebody has connected and was not accepted yet."""
        if not self.is_open:
            return False
        poll = select.poll()
        poll.register(self.descriptor, select.POLLIN)
        return bool(poll.poll(0))

    def is_at(self, port: int) -> bool:
        """Return whether it listens at that TCP port, or, for 0, at none."""
        return (self.name[1] if isinstance(self.name, tuple) else 0) == port

    def has_accepted(self, local_name: Any) -> bool:
        """Return whether a connection with that local address was accepted here."""
        if isinstance(self.name, tuple) and isinstance(local_name, tuple):
            here, there = _plain(self.name[0]), _plain(local_name[0])
            return self.name[1] == local_name[1] and (here in _EVERY_ADDRESS or here == there)
        return bool(self.name == local_name)


def find_listening() -> list[ListeningSocket]:
    """Return all sockets of this process that listen; none where they cannot be found out."""
    found = []
    for descriptor, each in _own_sockets():
        if each.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            found.append(ListeningSocket(descriptor, os.fstat(descriptor).st_ino, each.getsockname()))
    return found


def close_copies(listening: tuple[ListeningSocket, ...]) -> None:
    """Close, in a forked child, what listens there and what was accepted there. The parent does not notice."""
    for descriptor, each in _own_sockets():
        with contextlib.suppress(OSError):
            name = each.getsockname()
            if name and any(where.has_accepted(name) for where in listening):
                os.close(descriptor)


def can_open() -> bool:
    """Return whether the system gives this process another descriptor."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _own_sockets() -> Iterator[tuple[int, socket.socket]]:
    """Yield the sockets of this process. They are not to be kept."""
    try:
        names = [each.name for each in _OWN_DESCRIPTORS.iterdir()]
    except OSError:
        return
    for name in names:
        with contextlib.suppress(OSError):
            descriptor = int(name)
            # Fails for what is no socket, or is closed meanwhile.
            each = socket.socket(fileno=descriptor)
            try:
                yield descriptor, each
            finally:
                each.detach()


def _plain(host: str) -> str:
    return host.removeprefix(_MAPPED_IPV4)
