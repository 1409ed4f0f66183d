"""Whether a thread may wait for the engine.

The engine never runs code of the application, but the interpreter may do so in its thread: destructors, callbacks of
weak references, hooks. What waits there for the engine would wait for ever, and every cell of the process with it.
"""

from __future__ import annotations

from streamcell.errors import UsageError
from streamcell.whereabouts import on_engine_thread


def check_may_wait(begun: str = "") -> None:
    """Raise if what is waited for cannot happen while this thread waits.

    Args:
        begun: what is done all the same, for the sentence.

    Raises:
        UsageError: this is the engine's thread.
    """
    if on_engine_thread():
        raise UsageError(
            f"{begun}this call waits for streamcell's own thread, and was made in that thread, by a destructor, a weak "
            "reference's callback or a hook of the interpreter: there only what returns at once may be called, such as "
            "send_blob, fire_and_forget or cancel; have another thread do the rest"
        )
