"""Tests that take ``carrier`` or ``pair`` run over the in-memory network and over gRPC."""

from __future__ import annotations

from tests.kit.fixtures import carrier, pair

__all__ = ["carrier", "pair"]
