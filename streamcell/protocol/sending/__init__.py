"""The origin's half of streams."""
