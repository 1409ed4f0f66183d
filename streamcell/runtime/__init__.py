"""The shell around the core: the engine thread, worker threads, buffers, sources and time."""
