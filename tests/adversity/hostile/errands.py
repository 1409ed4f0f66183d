"""What innocents send each other: known bytes under a number, and who takes them looks at each byte and counts."""

from __future__ import annotations

import collections
import threading
from typing import Any

from streamcell import CoreCell, Message, StreamCell, StreamFuture
from tests.kit.payloads import KIB, pattern

CHANNEL = "innocent"
#: Topics for whoever comes: what is read, and nothing else; what is read slowly; requests that are sent back.
SINK, SLOW, ECHO = "sink", "slow", "echo"
_SLOWLY_S = 0.5
#: By topic, how many bytes there are.
SIZES = {"stream": 512 * KIB, "blob": 200 * KIB, "request": 1 * KIB}
# So that the bytes of different numbers differ, and making them costs nothing.
_PATTERNS = 8


def payload_of(topic: str, number: int) -> bytes:
    """Return what is sent under a number."""
    return pattern(SIZES[topic], number % _PATTERNS)


class Taker:
    """Takes what innocents send to a cell: each number once, and every byte as it was."""

    def __init__(self, cell: CoreCell) -> None:
        self._lock = threading.Lock()
        self._taken: dict[str, set[int]] = {topic: set() for topic in SIZES}
        #: What was not as it should be.
        self.wrong: list[str] = []
        streams = StreamCell(cell)
        streams.register_stream_cb(CHANNEL, "stream", self._take_stream)
        streams.register_blob_cb(CHANNEL, "blob", self._take_blob)
        streams.register_stream_cb(CHANNEL, SINK, lambda _future, stream, _resume: collections.deque(stream, 0))
        streams.register_stream_cb(CHANNEL, SLOW, _read_slowly)
        cell.register_request_cb(CHANNEL, ECHO, lambda request: Message(None, request.payload))
        cell.register_request_cb(CHANNEL, "request", self._answer)

    def counts(self) -> dict[str, int]:
        """Return how many have come whole, by topic."""
        with self._lock:
            return {topic: len(numbers) for topic, numbers in self._taken.items()}

    def has(self, topic: str, number: int) -> bool:
        """Return whether this one has come whole."""
        with self._lock:
            return number in self._taken[topic]

    def _take_stream(self, future: StreamFuture, stream: Any, _resume: bool) -> None:
        self._take("stream", future.get_headers(), stream.read(-1))

    def _take_blob(self, future: StreamFuture) -> None:
        self._take("blob", future.get_headers(), future.result())

    def _answer(self, request: Message) -> Message:
        self._take("request", request.headers, request.payload)
        return Message(request.headers, request.payload)

    def _take(self, topic: str, headers: Any, data: Any) -> None:
        number = headers["number"]
        with self._lock:
            if bytes(data) != payload_of(topic, number):
                self.wrong.append(f"{topic} {number} came with other bytes")
            elif number in self._taken[topic]:
                self.wrong.append(f"{topic} {number} came twice")
            self._taken[topic].add(number)


def _read_slowly(_future: StreamFuture, stream: Any, _resume: bool) -> None:
    while stream.read(1):
        threading.Event().wait(_SLOWLY_S)
