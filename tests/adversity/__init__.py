"""The public classes while paths break or stall, processes die, systems refuse, and strangers talk nonsense."""
