"""Memory that blobs are received into, used again.

The first touch of fresh memory costs more than receiving into it: 0.3 GiB/s against 1 and more (docs/performance.md).
So large buffers go back to a pool when the last view of them is dropped. Buffers are never filled with zeros first, so
that what nothing has come for takes no memory.
"""

from __future__ import annotations

import collections
import contextlib
import ctypes
import mmap
import pickle
import threading
import weakref
from collections.abc import Callable

from streamcell.limits import MIB

# From here on a mapping of its own is faster than the heap, and worth keeping.
POOLED_FROM_BYTES = 4 * MIB
# Huge pages are quicker, but the first byte makes one of 2 MiB resident. They begin behind as much in small pages: what
# is resident is at most twice what has come, also of blobs that are declared and then do not come.
_SMALL_PAGED_BYTES = 2 * MIB
# How long idle memory is kept after the last use.
IDLE_S = 10.0
# Sizes are rounded up to one of four steps between powers of two, so that a buffer fits blobs of about its size.
_STEPS_BITS = 2

_new_bytearray = ctypes.pythonapi.PyByteArray_FromStringAndSize
_new_bytearray.argtypes = [ctypes.c_char_p, ctypes.c_ssize_t]
_new_bytearray.restype = ctypes.py_object


class BufferPool:
    """Gives out buffers and takes them back by itself.

    A buffer is lent as a view of a lease; every view made of it keeps the lease alive, and the end of the lease gives
    the memory back, in whichever thread that happens.

    Args:
        most_idle_bytes: most memory that is kept while nobody uses it; 0: none.
        on_returned: called when memory came back, in any thread, even in a destructor: must not block. It should see to
            it that :meth:`trim` is called after ``IDLE_S``.
    """

    def __init__(self, most_idle_bytes: int, on_returned: Callable[[], None]) -> None:
        self._on_returned = on_returned
        # Reentrant, because leases may end anywhere, also in here.
        self._lock = threading.RLock()
        self._idle: collections.deque[mmap.mmap] = collections.deque()
        self._idle_bytes = 0
        self._most_idle_bytes = most_idle_bytes

    @property
    def idle_bytes(self) -> int:
        """Memory that waits for its next use."""
        return self._idle_bytes

    def can_lend(self, size: int) -> bool:
        """Return whether the system would give memory for ``size`` bytes now."""
        if size < POOLED_FROM_BYTES:
            return True
        rounded = round_up(size)
        with self._lock:
            if any(len(memory) == rounded for memory in self._idle):
                return True
        try:
            self._map(rounded).close()
        except MemoryError:
            return False
        return True

    def allocate(self, size: int) -> memoryview:
        """Return a writable view of ``size`` bytes, which hold whatever was there.

        Raises:
            MemoryError: the system refuses the memory.
        """
        if size < POOLED_FROM_BYTES:
            raw: bytearray = _new_bytearray(None, size)
            return memoryview(raw)
        rounded = round_up(size)
        memory = self._take(rounded) or self._map(rounded)
        lease = (ctypes.c_ubyte * size).from_buffer(memory)
        weakref.finalize(lease, self._give_back, memory).atexit = False
        return pickle.PickleBuffer(lease).raw()

    def trim(self) -> None:
        """Give all idle memory back to the system."""
        with self._lock:
            self._idle.clear()
            self._idle_bytes = 0

    def close(self) -> None:
        """Keep nothing from now on. Buffers that are lent stay valid."""
        self._most_idle_bytes = 0
        self.trim()

    def _map(self, size: int) -> mmap.mmap:
        """Get fresh memory; if the system refuses it, after giving back what is idle."""
        try:
            return _map(size)
        except OSError:
            self.trim()
        try:
            return _map(size)
        except OSError as error:
            raise MemoryError(f"{size} bytes: {error.strerror}") from error

    def _take(self, size: int) -> mmap.mmap | None:
        with self._lock:
            for memory in self._idle:
                if len(memory) == size:
                    self._idle.remove(memory)
                    self._idle_bytes -= size
                    return memory
        return None

    def _give_back(self, memory: mmap.mmap) -> None:
        with self._lock:
            if len(memory) <= self._most_idle_bytes:
                self._idle.append(memory)
                self._idle_bytes += len(memory)
            while self._idle_bytes > self._most_idle_bytes:
                # What is dropped is unmapped with its last reference.
                self._idle_bytes -= len(self._idle.popleft())
        self._on_returned()


def round_up(size: int) -> int:
    """Return the size of the buffer that is lent for ``size`` bytes."""
    step = 1 << max(0, size.bit_length() - 1 - _STEPS_BITS)
    return -(-size // step) * step


def _map(size: int) -> mmap.mmap:
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        # Some kernels have no huge pages.
        with contextlib.suppress(OSError):
            memory.madvise(mmap.MADV_NOHUGEPAGE, 0, _SMALL_PAGED_BYTES)
            memory.madvise(mmap.MADV_HUGEPAGE, _SMALL_PAGED_BYTES)
    return memory
