"""A peer that lies and floods, against a real hub over which an innocent pair sends all the time."""
