"""The ways to get bytes from one process to another that are compared."""

from __future__ import annotations

from scripts.bench.peers.bare_grpc import BareGrpcPeer
from scripts.bench.peers.base import Peer
from scripts.bench.peers.cells import CellPeer

PEERS: dict[str, type[Peer]] = {"streamcell": CellPeer, "grpc.aio": BareGrpcPeer}
