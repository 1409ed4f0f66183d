"""One receiving half by itself: its chunks, what becomes of them, and what it says."""

from __future__ import annotations

from typing import Any, TypeVar

from streamcell.errors import CellError
from streamcell.limits import MIB
from streamcell.protocol.base.events import DataReceived, Event, ReceiveFailed
from streamcell.protocol.flow.credit import WindowBudget
from streamcell.protocol.receiving.half import StreamReceiver
from streamcell.protocol.receiving.memory import ReceiveMemory
from streamcell.protocol.receiving.surroundings import Surroundings
from streamcell.protocol.receiving.ways import Ways
from streamcell.protocol.requests import RequestTable, Standing
from streamcell.protocol.wire.description import StreamKind
from streamcell.protocol.wire.frames import Ack, Chunk, Credit, Frame, LaneRole, Reset, StreamKey
from streamcell.protocol.wire.integrity import checksum_fields
from tests.core.harness import checksum, make_context, make_open
from tests.core.samples import make_lane, make_link

EventT = TypeVar("EventT", bound=Event)
KEY = StreamKey("origin", 1, 1)
NOW = 1000.0


def make_chunk(
    offset: int, payload: bytes, *, sequence: int = 0, attempt: int = 1, last: bool = False, **more: Any
) -> Chunk:
    fields = checksum_fields(KEY, attempt, sequence, offset, last=last)
    total = checksum(fields, checksum(payload, 0))
    return Chunk(KEY, "me", attempt, "c", "t", sequence, offset, last, 16, total, payload, **more)


class OneReceiver:
    """A receiver that was offered, and the link that its origin is behind. It is its keeper."""

    def __init__(
        self,
        kind: StreamKind = StreamKind.STREAM,
        size: int | None = None,
        *,
        window: int = 32 * MIB,
        budget: int = 64 * MIB,
        max_blob_bytes: int = 64 * MIB,
        **opening: Any,
    ) -> None:
        self.context = make_context(max_window_bytes=window, max_blob_bytes=max_blob_bytes)
        self.budget = WindowBudget(budget)
        self.ended: list[Ack | Reset | None] = []
        requests = RequestTable(self.context, lambda stream_id: Standing.UNHEARD, lambda stream_id, error, now: None)
        near = Surroundings(self.context, Ways(), ReceiveMemory(self.context.config, self.budget), requests, self)
        self.link = make_link("origin")
        self.link.lanes[1] = make_lane(1, LaneRole.BULK)
        described = make_open(kind, size, **opening)
        charge = near.memory.charge(("origin", "origin"), described, is_free=True)
        assert charge is not None
        self.half = StreamReceiver(near, make_chunk(0, b""), described, self.link, NOW, charge)
        self.half.offer(described, NOW, anew=False)

    def on_receiver_ended(self, receiver: StreamReceiver, last_word: Ack | Reset | None) -> None:
        assert receiver is self.half
        self.ended.append(last_word)

    def accepted(self, *, assemble: bool = False, reserve: bool = False) -> OneReceiver:
        self.half.on_accepted(NOW, assemble=assemble, reserve=reserve)
        return self

    def place(self, *chunks: Chunk) -> bytes:
        """Let chunks come, and return the bytes that are given out for them."""
        for chunk in chunks:
            self.half.on_chunk(self.link, chunk, NOW)
        return b"".join(event.payload for event in self.take_events(DataReceived))

    def take_events(self, kind: type[EventT]) -> list[EventT]:
        events = list(self.context.events)
        self.context.events.clear()
        return [event for event in events if isinstance(event, kind)]

    def failure(self) -> CellError:
        (failed,) = self.take_events(ReceiveFailed)
        return failed.error

    def says(self) -> list[Frame]:
        """Return what the link's writer gets."""
        return self.link.outbox.take(1000, 1, NOW)

    def acks(self) -> list[tuple[int, int]]:
        return [(frame.received, frame.consumed) for frame in self.says() if isinstance(frame, Ack)]

    def credits(self) -> list[int]:
        return [frame.offset for frame in self.says() if isinstance(frame, Credit)]

    def widen(self, size: int) -> None:
        """Let the window grow as if all of it were used again and again, and tell of it."""
        window = self.half.allowance.window
        while window.size < size:
            window.grow(window.size * 100, window.size * 100)
        self.half.allowance.allow(window.size)
        self.half.news.speak()
        assert self.credits() != []
