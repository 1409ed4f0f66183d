"""What every wing of the core stands on: what the parts share, events, deadlines, and how state tables are stepped."""
