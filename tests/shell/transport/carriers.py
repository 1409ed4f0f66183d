"""The carriers that there are, each with what a test of the conformance suite needs of it.

A further carrier is a line in ``CARRIERS``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from streamcell.transport.base import Network
from streamcell.transport.grpc.network import GrpcNetwork
from streamcell.transport.memory.network import MemoryNetwork


@dataclass(frozen=True)
class Place:
    """A network, what its carriers are called, where to listen on it, and where nobody does."""

    network: Network
    name: str
    url: str
    nobody: str


# By the name that its tests have. Each makes a network of its own; the folder is the test's.
CARRIERS: dict[str, Callable[[Path], Place]] = {
    "memory": lambda folder: Place(MemoryNetwork(), "memory", "memory://", "memory://nobody"),
    "copying": lambda folder: Place(MemoryNetwork(most_lent_bytes=0), "memory", "memory://", "memory://nobody"),
    "tcp": lambda folder: Place(GrpcNetwork(), "grpc", "grpc://127.0.0.1:0", "grpc://127.0.0.1:1"),
    "unix": lambda folder: Place(GrpcNetwork(), "grpc", f"unix://{folder}/cell", f"unix://{folder}/nobody"),
}
