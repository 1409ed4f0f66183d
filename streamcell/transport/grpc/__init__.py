"""Lanes over gRPC: the only modules that import it."""
