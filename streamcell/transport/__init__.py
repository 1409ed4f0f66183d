"""Lanes and what carries them: the codec, gRPC, and the in-memory network."""
