"""Tests that take ``carrier`` or ``pair`` run over the in-memory network and over gRPC."""

from __future__ import annotations

from tests.kit.fixtures import carrier, carrier_kind, cells, either_pair, gate, network, pair

__all__ = ["carrier", "carrier_kind", "cells", "either_pair", "gate", "network", "pair"]
