"""The innocent pair: two children of the hub, which send streams, blobs and requests to each other and to the hub.

A process of its own. It counts what has arrived, keeps what has failed, and has some transfers that last from ``go`` to
``rest``, for who wants to do them harm.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import operator
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from streamcell import CellError, CoreCell, IterStream, Message, StreamCell, StreamFuture
from tests.adversity.hostile.errands import CHANNEL, SINK, SIZES, Taker, payload_of
from tests.adversity.hostile.hub import HUB
from tests.adversity.hostile.talking import Talking, answer
from tests.kit.payloads import KIB, MIB, pattern
from tests.kit.timing import scaled
from tests.kit.waiting import PATIENCE_S, eventually

ALICE, BOB = "alice", "bob"
# Between two transfers of one errand, where the machine is shared with other tests.
GENTLE_S = 0.02
# A transfer takes no longer, however busy the hub: what is slower is found by who counts.
_LONG_S = 600.0
# How soon after its sender was told of success a callback has what has come.
_RECEIPT_S = scaled(10.0)
_PIECE = 4 * KIB
_PIECE_EVERY_S = 0.05
_HELD = 1000
_MUCH = 16 * MIB


class Innocents(Talking):
    """The process, and what it says of itself."""

    def __init__(self, url: str, pause_s: float = GENTLE_S) -> None:
        super().__init__("innocents", url, str(pause_s))

    def look(self) -> dict[str, Any]:
        """Return how they are now."""
        found: dict[str, Any] = self.ask("look")
        return found


class Errand:
    """One sort of transfer from one cell to another, again and again."""

    def __init__(self, name: str, send: Callable[[int], None]) -> None:
        self.name = name
        self.done = 0
        self.failed: list[str] = []
        self._send = send
        self._numbers = itertools.count(1)
        self._thread: threading.Thread | None = None

    def begin(self, rest: threading.Event, pause_s: float) -> None:
        """Go on until ``rest``."""
        self._thread = threading.Thread(target=self._run, args=(rest, pause_s), name=self.name)
        self._thread.start()

    def join(self) -> None:
        """Wait for the end of the last transfer."""
        if self._thread is not None:
            self._thread.join()

    def _run(self, rest: threading.Event, pause_s: float) -> None:
        while not rest.is_set():
            number = next(self._numbers)
            try:
                self._send(number)
            except (CellError, AssertionError, TimeoutError) as error:
                self.failed.append(f"{self.name} {number}: {error!r}")
            else:
                self.done += 1
            if pause_s:
                rest.wait(pause_s)


class Lasting:
    """Transfers that begin with ``go`` and end with ``rest``: nobody may end them before, in whatever way."""

    def __init__(self, alice: CoreCell, bob: CoreCell, rest: threading.Event) -> None:
        self._rest = rest
        self._alice, self._bob = alice, bob
        self._read: list[int] = []
        self._sent: list[tuple[str, StreamFuture]] = []
        self._reply: list[Any] = []
        self._asking = threading.Thread(target=self._ask)
        StreamCell(bob).register_stream_cb(CHANNEL, "lasting", self._read_all)
        StreamCell(bob).register_stream_cb(CHANNEL, "held", self._read_late)
        alice.register_request_cb(CHANNEL, "lasting", self._answer_late)

    def begin(self) -> None:
        """Begin them."""
        streams = StreamCell(self._alice)
        lasting = Message({}, IterStream(self._pieces()))
        held = Message({}, pattern(_HELD))
        self._read.clear()
        self._sent = [
            ("a lasting stream", streams.send_stream(CHANNEL, "lasting", BOB, lasting)),
            ("a stream that is held", streams.send_stream(CHANNEL, "held", BOB, held)),
        ]
        self._reply.clear()
        self._asking = threading.Thread(target=self._ask)
        self._asking.start()

    def ids(self) -> list[int]:
        """Return the stream ids of Alice's."""
        return [future.get_stream_id() for _, future in self._sent]

    def early(self) -> list[str]:
        """Return what ended before its time. To be called before ``rest``."""
        return [f"{name} ended early: {future!r}" for name, future in self._sent if future.done()] + [
            f"a lasting request ended early: {reply!r}" for reply in self._reply
        ]

    def end(self) -> list[str]:
        """Wait for their ends, after ``rest``, and return what was wrong."""
        wrong = []
        for name, future in self._sent:
            try:
                size = future.result(_LONG_S)
                eventually(partial(operator.contains, self._read, size), f"{name}: {size} of {self._read}", _RECEIPT_S)
            except (CellError, TimeoutError, AssertionError) as error:
                wrong.append(f"{name}: {error!r}")
        self._asking.join()
        return wrong + [repr(reply) for reply in self._reply if not isinstance(reply, Message)]

    def _pieces(self) -> Iterator[bytes]:
        while not self._rest.is_set():
            yield pattern(_PIECE)
            self._rest.wait(_PIECE_EVERY_S)

    def _read_all(self, _future: StreamFuture, stream: Any, _resume: bool) -> None:
        data = stream.read(-1)
        if data == pattern(_PIECE) * (len(data) // _PIECE):
            self._read.append(len(data))

    def _read_late(self, _future: StreamFuture, stream: Any, _resume: bool) -> None:
        self._rest.wait()
        if stream.read(-1) == pattern(_HELD):
            self._read.append(_HELD)

    def _ask(self) -> None:
        try:
            reply: Any = self._bob.send_request(CHANNEL, "lasting", ALICE, Message(None, b"when?"), _LONG_S)
        except CellError as error:
            reply = error
        self._reply.append(reply)

    def _answer_late(self, _request: Message) -> Message:
        self._rest.wait()
        return Message(None, b"now")


class World:
    """Both cells, and what they do."""

    def __init__(self, alice: CoreCell, bob: CoreCell, pause_s: float) -> None:
        self._cells = {ALICE: alice, BOB: bob}
        self._pause_s = pause_s
        self._rest = threading.Event()
        self._takers = {name: Taker(cell) for name, cell in self._cells.items()}
        self._lasting = Lasting(alice, bob, self._rest)
        self._wrong: list[str] = []
        self._errands = [
            self._errand(topic, origin, target)
            for topic, origin, target in (
                ("stream", ALICE, BOB),
                ("blob", ALICE, BOB),
                ("request", BOB, ALICE),
                ("stream", BOB, HUB),
                ("blob", ALICE, HUB),
                ("request", BOB, HUB),
            )
        ]

    def warm_up(self) -> bool:
        """Send as much at once as innocents may, so that the hub has all that it keeps for that."""
        sender = StreamCell(self._cells[ALICE])
        for target in (BOB, HUB):
            message = Message({}, pattern(_MUCH))
            sender.send_stream(CHANNEL, SINK, target, message).result(_LONG_S)
        return True

    def go(self) -> bool:
        """Begin to send."""
        self._rest.clear()
        self._lasting.begin()
        for errand in self._errands:
            errand.begin(self._rest, self._pause_s)
        return True

    def rest(self) -> dict[str, Any]:
        """End all transfers, and return how it went."""
        self._wrong += self._lasting.early()
        self._rest.set()
        for errand in self._errands:
            errand.join()
        self._wrong += self._lasting.end()
        return self.look()

    def look(self) -> dict[str, Any]:
        """Return how they are, and what anybody can see of them."""
        stats = {name: cell.stats().protocol for name, cell in self._cells.items()}
        wrong = self._wrong + [each for taker in self._takers.values() for each in taker.wrong]
        return {
            "done": {errand.name: errand.done for errand in self._errands},
            "failed": [each for errand in self._errands for each in errand.failed] + wrong,
            "incarnations": {name: each.incarnation for name, each in stats.items()},
            "streams": [
                [name, send.target, send.stream_id, send.attempt] for name, each in stats.items() for send in each.sends
            ],
            "lasting": self._lasting.ids(),
        }

    def _errand(self, topic: str, origin: str, target: str) -> Errand:
        cell = self._cells[origin]
        streams, taker = StreamCell(cell), self._takers.get(target)

        def send(number: int) -> None:
            data, headers = payload_of(topic, number), {"number": number}
            message = Message(headers, data)
            if topic == "request":
                reply = cell.send_request(CHANNEL, topic, target, message, _LONG_S)
                assert bytes(reply.payload) == data, "a reply with other bytes"
            else:
                sender = streams.send_stream if topic == "stream" else streams.send_blob
                assert sender(CHANNEL, topic, target, message).result(_LONG_S) == SIZES[topic]
            if taker is not None:
                eventually(lambda: taker.has(topic, number), f"{topic} {number} is said to have arrived", _RECEIPT_S)

        return Errand(f"{topic} {origin} to {target}", send)


def main() -> None:
    """Be the pair until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("pause_s", type=float)
    words = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    with CoreCell(ALICE, connect=words.url) as alice, CoreCell(BOB, connect=words.url) as bob:
        world = World(alice, bob, words.pause_s)
        alice.wait_connected(PATIENCE_S)
        bob.wait_connected(PATIENCE_S)
        answer(True, {"warm up": world.warm_up, "go": world.go, "rest": world.rest, "look": world.look})


if __name__ == "__main__":
    main()
