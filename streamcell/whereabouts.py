"""Which thread this is.

The engine's thread serves every cell of the process, so nothing in it may wait, and no code of the application is to
run there. Some does all the same: the interpreter runs destructors, the callbacks of weak references and its own hooks
in whichever thread happens to cause them. Whatever waits for the engine asks here first.
"""

from __future__ import annotations

import threading

_here = threading.local()


def enter_engine_thread() -> None:
    """Say that the present thread is the engine's, until it ends."""
    _here.is_engine = True


def on_engine_thread() -> bool:
    """Return whether the present thread is the engine's."""
    return getattr(_here, "is_engine", False)
