"""The streams that arrive at a cell, by key.

Each one is handled by an object of its own for its kind (streams and blobs in ``incoming``, requests and replies in
``requests``); this table hands it what the core says, in the core's order. Everything here runs on the engine.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

from streamcell.errors import CellError
from streamcell.protocol.base.events import (
    DataEnded,
    DataReceived,
    ReceiveFailed,
    ReceiveFinished,
    StreamAdmitted,
    StreamAdopted,
    StreamOpened,
    StreamPlaced,
)
from streamcell.protocol.wire.description import StreamKind
from streamcell.protocol.wire.frames import StreamKey
from streamcell.runtime.traffic import Traffic
from streamcell.stats import Direction


class Receiver:
    """What handles one stream that arrives: does nothing of itself. Called on the engine; none of it blocks."""

    def on_placed(self, offset: int, /) -> None:
        """The stream begins at ``offset``. Told only of one that was to choose an offset."""

    def on_adopted(self, key: StreamKey, /) -> None:
        """The stream goes on under another key, because its origin was restarted."""

    def on_admitted(self) -> None:
        """There is room for the stream; data follows."""

    def on_data(self, event: DataReceived, now: float, /) -> None:
        """The next bytes."""

    def on_ended(self, event: DataEnded, now: float, /) -> None:
        """That were all bytes."""

    def on_finished(self) -> None:
        """The core has done with the stream: everything was taken and released. Nothing follows."""

    def on_failed(self, error: CellError, discard: bool, /) -> None:
        """The stream will bring nothing more. Nothing follows."""


# Makes what handles a stream, or rejects the stream and returns None.
Opener: TypeAlias = Callable[[StreamOpened, float], Receiver | None]


class Gate(Protocol):
    """Who is asked whether a stream may open here."""

    def asks_about(self, event: StreamOpened) -> bool:
        """Return whether anybody is asked about it."""

    def ask_about_stream(self, event: StreamOpened, decide: Callable[[CellError | None, float], None]) -> None:
        """Ask; ``decide`` is called soon on the engine, with the refusal if there is one."""


class _Waiting(Receiver):
    """A stream of which it is not known yet whether it may open."""

    def __init__(self, event: StreamOpened) -> None:
        self.event = event
        self.over = False

    def on_adopted(self, key: StreamKey, /) -> None:
        """Open under the new key."""
        self.event = dataclasses.replace(self.event, key=key)

    def on_failed(self, _error: CellError, _discard: bool, /) -> None:
        """Open no more."""
        self.over = True


@dataclasses.dataclass(slots=True)
class _Open:
    """A stream that has not ended."""

    receiver: Receiver
    channel: str


class Receives:
    """All streams that one cell receives and that have not ended.

    :param gate: is asked first; None: nobody is.
    :param refuse: has the core give a stream up.
    """

    def __init__(
        self,
        openers: Mapping[StreamKind, Opener],
        traffic: Traffic,
        gate: Gate | None,
        refuse: Callable[[StreamKey, CellError, float], None],
    ) -> None:
        self._openers = openers
        self._traffic = traffic
        self._gate = gate
        self._refuse = refuse
        self._open: dict[StreamKey, _Open] = {}

    def on_stream_opened(self, event: StreamOpened, now: float) -> None:
        """Ask whether the stream may open, and find who handles it."""
        if self._gate is None or not self._gate.asks_about(event):
            self.open(event, now)
            return
        waiting = _Waiting(event)
        self._open[event.key] = _Open(waiting, event.channel)
        self._gate.ask_about_stream(event, functools.partial(self._on_decided, waiting))

    def _on_decided(self, waiting: _Waiting, refusal: CellError | None, now: float) -> None:
        event = waiting.event
        if waiting.over:
            return
        if refusal is not None:
            self._refuse(event.key, refusal, now)
            return
        del self._open[event.key]
        self.open(event, now)

    def open(self, event: StreamOpened, now: float) -> None:
        """Find who handles a stream that may open."""
        receiver = self._openers[event.description.kind](event, now)
        if receiver is not None:
            self._open[event.key] = _Open(receiver, event.channel)

    def on_stream_admitted(self, event: StreamAdmitted, _now: float) -> None:
        """Pass it on."""
        known = self._open.get(event.key)
        if known is not None:
            known.receiver.on_admitted()

    def on_stream_placed(self, event: StreamPlaced, _now: float) -> None:
        """Pass it on."""
        known = self._open.get(event.key)
        if known is not None:
            known.receiver.on_placed(event.offset)

    def on_stream_adopted(self, event: StreamAdopted, _now: float) -> None:
        """Pass it on, and know the stream by its new key."""
        known = self._open.pop(event.old_key, None)
        if known is not None:
            self._open[event.key] = known
            known.receiver.on_adopted(event.key)

    def on_data_received(self, event: DataReceived, now: float) -> None:
        """Pass it on."""
        known = self._open.get(event.key)
        if known is not None:
            self._traffic.count_bytes(Direction.RECEIVED, known.channel, len(event.payload))
            known.receiver.on_data(event, now)

    def on_data_ended(self, event: DataEnded, now: float) -> None:
        """Pass it on."""
        known = self._open.get(event.key)
        if known is not None:
            known.receiver.on_ended(event, now)

    def on_receive_finished(self, event: ReceiveFinished, _now: float) -> None:
        """Pass it on, for the last time."""
        known = self._open.pop(event.key, None)
        if known is not None:
            known.receiver.on_finished()

    def on_receive_failed(self, event: ReceiveFailed, _now: float) -> None:
        """Pass it on, for the last time."""
        known = self._open.pop(event.key, None)
        if known is not None:
            self._traffic.count_failure(Direction.RECEIVED, event.error)
            known.receiver.on_failed(event.error, event.discard)

    def close(self, error: CellError) -> None:
        """Fail all streams because the cell has ended."""
        left = list(self._open.values())
        self._open.clear()
        for known in left:
            known.receiver.on_failed(error, False)
