"""The standalone cell: hub, relay and file drop. May import all below it; ``cli`` is above it."""
