"""What a peer has to be able to do. Both ends live in processes of their own, which end without closing anything."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

MIB = 2**20
# No single transfer takes longer, on whatever machine.
WAIT_S = 600.0

# The names of the two ends, where ends have names. NVFlare asks for these.
RECEIVER, SENDER = "server", "site-1"
# The names of what is between them, and of a second receiver that takes its time.
RELAY, SLOW = "relay", "slow"


class Pieces:
    """The payload of a stream: so many bytes, out of the same memory over and over. For one reading thread."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.given = 0
        self._pieces: dict[int, bytes] = {}

    def take(self, most: int = MIB) -> bytes:
        """Return the next bytes, ``most`` of them if there are as many; nothing at the end."""
        size = min(most, self.size - self.given)
        self.given += size
        if size not in self._pieces:
            self._pieces[size] = bytes(range(256)) * (size // 256) + bytes(size % 256)
        return self._pieces[size]


class Tally:
    """What a receiving end has got: transfers that it read to their end, and their bytes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.transfers = 0
        self.bytes = 0

    def add(self, size: int) -> None:
        with self._lock:
            self.transfers += 1
            self.bytes += size


class EchoClock:
    """Times of echoes that come back in any order, with a limit to how many are under way."""

    def __init__(self, outstanding: int) -> None:
        self.took: list[float] = []
        self._free = threading.Semaphore(outstanding)
        self._back = threading.Semaphore(0)
        self._sent_at: dict[int, float] = {}

    def start(self, number: int) -> None:
        """Wait until there is room for one more, and note that it starts."""
        if not self._free.acquire(timeout=WAIT_S):
            raise TimeoutError("an echo did not come back")
        self._sent_at[number] = time.perf_counter()

    def came_back(self, number: int) -> None:
        self.took.append(time.perf_counter() - self._sent_at.pop(number))
        self._free.release()
        self._back.release()

    def wait_for(self, count: int) -> None:
        for _ in range(count):
            if not self._back.acquire(timeout=WAIT_S):
                raise TimeoutError("an echo did not come back")


class Client(Protocol):
    """The sending end, connected. A method that a peer does not offer raises NotImplementedError."""

    def send_stream(self, pieces: Pieces) -> None:
        """Send the pieces to a reader that discards them; return when it confirmed that it has read all."""
        ...

    def send_blob(self, blob: bytearray) -> None:
        """Send a blob; return when the other end confirmed that it holds all of it."""
        ...

    def echo(self, size_bytes: int, count: int, outstanding: int) -> Sequence[float]:
        """Send so many blobs that come back, up to ``outstanding`` at a time; return the seconds that each took."""
        ...

    def send_many(self, size_bytes: int, count: int) -> None:
        """Start so many streams at once; return when the other end confirmed that it has read all of each."""
        ...


class StreamOnlyClient:
    """Base of those that offer a stream and nothing else."""

    def send_blob(self, blob: bytearray) -> None:
        raise NotImplementedError

    def echo(self, size_bytes: int, count: int, outstanding: int) -> Sequence[float]:
        raise NotImplementedError

    def send_many(self, size_bytes: int, count: int) -> None:
        raise NotImplementedError


class Peer(Protocol):
    """One way to get bytes from one process to another."""

    def serve(self, tally: Tally) -> str:
        """Begin to receive, until the process ends; return the address."""
        ...

    def connect(self, address: str) -> Client:
        """Connect to the process that serves there, or to the relay before it."""
        ...


class RelayPeer(Peer, Protocol):
    """One that can also pass bytes on."""

    def relay(self, address: str) -> str:
        """Begin to pass on to the process that serves there what comes for it; return the address for senders."""
        ...


class SlowClient(Client, Protocol):
    """One that can also send to the slow receiver."""

    def begin_slow_stream(self, pieces: Pieces) -> Callable[[], object]:
        """Begin to send the pieces to the slow receiver, and return what cancels it."""
        ...


class SlowPeer(RelayPeer, Protocol):
    """One that can also have a second, slow receiver behind the relay."""

    def receive_slowly(self, address: str, tally: Tally, bytes_per_s: float) -> None:
        """Begin to receive, by the relay that listens there, and read no faster than that."""
        ...
