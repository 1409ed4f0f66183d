"""What the cells for threads and the cells for event loops have in common: arguments, what they mean, and checks.

A verb is declared and explained here once. The coats say how they wait for its outcome: ``streamcell.core_cell`` and
``streamcell.stream_cell`` in the calling thread, ``streamcell.aio`` in a coroutine.
"""
