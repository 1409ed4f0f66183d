"""The ways to get bytes from one process to another that are compared, a module each.

A module is imported in the processes that need it, and nowhere else: what it builds on may not be installed.
"""

from __future__ import annotations

import importlib

from scripts.bench.peers.base import Peer
from scripts.bench.systems import Options


def make_peer(name: str, options: Options) -> Peer:
    """Return the peer of that module. Raises ImportError if what it builds on is not there."""
    module = importlib.import_module(f"scripts.bench.peers.{name}")
    peer: Peer = module.make(**options)
    return peer
