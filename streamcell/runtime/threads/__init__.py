"""Threads and what they wait for: starting them, pools, callbacks, the clock."""
