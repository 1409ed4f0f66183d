"""What a port serves: the service that carries lanes, by its name, and the interface of others beside it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from grpc.aio import Server

CELL_SERVICE = "streamcell.v1.CellService"


class Service(Protocol):
    """Something that a listener offers beside lanes. One object serves all listeners of a cell."""

    @property
    def names(self) -> tuple[str, ...]:
        """The full names of the gRPC services that it adds."""
        ...

    def add_to(self, server: Server, names: Iterable[str]) -> None:
        """Add it to a server that has not started, which has the services ``names``. On the engine's loop."""
        ...
