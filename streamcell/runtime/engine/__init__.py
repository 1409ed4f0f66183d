"""The one thread that owns the cores of a process, and the settings of that process."""
