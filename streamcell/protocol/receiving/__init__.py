"""The target's half of streams."""
