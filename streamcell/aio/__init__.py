"""The same cells for asyncio programs, on their own loop.

What waits is a coroutine; what does not (registering callbacks, closing a stream) is a plain method. A coroutine that
is cancelled while it awaits a transfer cancels the transfer. Callbacks may be coroutine functions: these run on the
loop that the cell was started on, and get the classes of this module. Other callables run in threads as those of
``streamcell.CoreCell`` do, and get its classes.
"""

from __future__ import annotations

from streamcell.aio.core_cell import CoreCell, running_cells
from streamcell.aio.stream_cell import StreamCell
from streamcell.aio.transfers import ReceivedStream, StreamFuture

__all__ = ["CoreCell", "ReceivedStream", "StreamCell", "StreamFuture", "running_cells"]
