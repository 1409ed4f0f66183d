"""Lanes inside one process: the network for tests and examples, and the lane of a cell to itself."""
