"""The sans-I/O core: what makes delivery correct, as values. No clock, thread, lock, socket or random source."""
