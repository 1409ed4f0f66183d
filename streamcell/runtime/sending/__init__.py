"""What the application sends: its arguments, sources, and their threads."""
