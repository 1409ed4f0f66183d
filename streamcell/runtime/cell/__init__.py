"""A cell from start to end."""
