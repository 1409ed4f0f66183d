"""The messages of the protocol, generated from protos/streamcell/v1."""
