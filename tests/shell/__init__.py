"""Each module outside of the protocol by itself: runtime, transport, daemon, command line, values."""
