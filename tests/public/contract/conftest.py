"""Fixtures of the contract's tests: every test runs over the in-memory network and over gRPC on loopback."""

from __future__ import annotations

from tests.kit.fixtures import carrier, carrier_kind, cells, either_pair, gate, network, pair

__all__ = ["carrier", "carrier_kind", "cells", "either_pair", "gate", "network", "pair"]
