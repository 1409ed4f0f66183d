"""Settings of the process that decide how fast large buffers move.

glibc gives every freed buffer of 1 MiB back to the kernel, which then clears and maps it anew for the next one: that
costs more than the transfer. Raising M_MMAP_THRESHOLD and M_TRIM_THRESHOLD together keeps such buffers in the heap
(one of the two alone is worse than none). See mallopt(3).
"""

from __future__ import annotations

import ctypes
import os
import sys

from streamcell.limits import MIB

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8

# Above the largest message that a lane carries.
MMAP_THRESHOLD_BYTES = 8 * MIB
# Free heap that the process keeps in each arena: some dozens of chunks in flight.
TRIM_THRESHOLD_BYTES = 64 * MIB
# One for the threads that move data, and another for those that have to wait for none of them.
ARENAS = 2

_ARENAS_VARIABLE = "MALLOC_ARENA_MAX"


def tune_allocator() -> bool:
    """Set both thresholds and the number of arenas for the whole process; return whether a glibc took them.

    The thresholds count for each arena. With as many as glibc makes by itself, eight for each core, the memory of a
    process would grow with the length of its streams, as one thread after the other frees what another has allocated.
    What the environment asks for by ``MALLOC_ARENA_MAX`` is left as it is.
    """
    options = [(_M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES), (_M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES)]
    if _ARENAS_VARIABLE not in os.environ:
        options.append((_M_ARENA_MAX, ARENAS))
    return _set_options(*options)


def use_one_arena() -> bool:
    """Have all threads of the process share one heap, and leave it so; return whether there is a glibc that does.

    A buffer that one thread frees then serves the next allocation of any other. For programs that do little but move
    data: threads that compute in C beside it would wait for each other. To be called before threads are started.
    """
    if os.environ.setdefault(_ARENAS_VARIABLE, "1") != "1":
        return False
    return _set_options((_M_ARENA_MAX, 1))


def set_switch_interval(seconds: float) -> None:
    """Set how long a running thread keeps the interpreter from the others; 0 leaves it alone."""
    if seconds > 0:
        sys.setswitchinterval(seconds)


def _set_options(*options: tuple[int, int]) -> bool:
    if not sys.platform.startswith("linux"):
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return False
    mallopt = libc.mallopt
    mallopt.argtypes = [ctypes.c_int, ctypes.c_int]
    mallopt.restype = ctypes.c_int
    taken = [mallopt(option, value) for option, value in options]
    return all(taken)
