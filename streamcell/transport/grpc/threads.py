"""Starting gRPC's threads: whether they can be, and their scheduling class.

gRPC reads and writes sockets in threads of its own, the event engine's. Each packet that comes wakes one of them, and
on Linux a thread that wakes takes the processor from the one that runs there: from another of the same transfer, if
all processors are busy with it. It then finds the few bytes that have come by now, and wakes the next thread for them.
In the class for batch work (SCHED_BATCH, see sched(7)) it takes its turn, and finds more at a time. No other thread is
to wait like that: the one that passes on to asyncio what has been done, the event loop's, and those of the application.

Where the system refuses gRPC the thread or the sockets with which it passes that on, the process cannot use gRPC any
more: it takes note of the start before it tries, and has no way back. So it is tried here first whether there are any.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
import threading
from collections.abc import Iterator

from streamcell.transport.grpc.environment import aio


@contextlib.contextmanager
def starting_grpc_threads(*, batch: bool) -> Iterator[None]:
    """To be around the making of a channel or a server: the first of them starts the event engine.

    :param batch: whether its threads are to be of the class for batch work. They stay what the first channel or server
        of the process has made them, also if that was the application's.
    :raises OSError: if the system refuses this process a thread or an open file now.
    """
    _check_resources()
    # Starts the thread that passes on to asyncio, unless there is one, before the class is changed.
    try:
        aio.init_grpc_aio()
    except (OSError, RuntimeError, MemoryError, AttributeError) as error:
        # The last one is what gRPC raises each time after one of the others.
        raise OSError(
            errno.EAGAIN, f"gRPC could not start ({error}), and will not any more in this process: start it again"
        ) from error
    try:
        with _batch_class() if batch else contextlib.nullcontext():
            yield
    finally:
        aio.shutdown_grpc_aio()


def _check_resources() -> None:
    """Try to have what gRPC is about to need.

    :raises OSError: if it cannot be had.
    """
    for each in socket.socketpair():
        each.close()
    trial = threading.Thread(target=_do_nothing, name="streamcell-trial", daemon=True)
    try:
        trial.start()
    except (RuntimeError, MemoryError) as error:
        raise OSError(errno.EAGAIN, f"the system refuses a thread ({error})") from error
    trial.join()


def _do_nothing() -> None:
    """Be a thread."""


@contextlib.contextmanager
def _batch_class() -> Iterator[None]:
    """Have threads that this one starts meanwhile be of the class for batch work, if this one is of the ordinary."""
    entered = _enter_batch_class()
    try:
        yield
    finally:
        if entered:
            # Always allowed.
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def _enter_batch_class() -> bool:
    """Return whether this thread was of the ordinary class, and is now of that for batch work."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        if os.sched_getscheduler(0) != os.SCHED_OTHER:
            return False
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except OSError:
        # A sandbox may forbid both: it works without, too.
        return False
    return True
