"""The streams that arrive at a cell, by key. Imports the core, values and siblings.

Each one is handled by an object of its own for its kind (streams and blobs in ``incoming``, requests and replies in
``requests``); this table hands it what the core says, in the core's order. Everything here runs on the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from streamcell.errors import CellError
from streamcell.protocol.events import (
    DataEnded,
    DataReceived,
    ReceiveFailed,
    ReceiveFinished,
    StreamAdmitted,
    StreamAdopted,
    StreamOpened,
    StreamPlaced,
)
from streamcell.protocol.frames import StreamKey, StreamKind
from streamcell.runtime.traffic import Direction, Traffic


class Receiver:
    """What handles one stream that arrives: does nothing of itself. Called on the engine; none of it blocks."""

    def on_placed(self, offset: int, /) -> None:
        """The stream begins at ``offset``. Told only of one that was to choose an offset."""

    def on_adopted(self, key: StreamKey, /) -> None:
        """The stream goes on under another key, because its origin was restarted."""

    def on_admitted(self) -> None:
        """There is room for the stream; data follows."""

    def on_data(self, event: DataReceived, /) -> None:
        """The next bytes."""

    def on_ended(self, event: DataEnded, /) -> None:
        """That were all bytes."""

    def on_finished(self) -> None:
        """The core has done with the stream: everything was taken and released. Nothing follows."""

    def on_failed(self, error: CellError, discard: bool, /) -> None:
        """The stream will bring nothing more. Nothing follows."""


# Makes what handles a stream, or rejects the stream and returns None.
Opener: TypeAlias = Callable[[StreamOpened], Receiver | None]


class Receives:
    """All streams that one cell receives and that have not ended."""

    def __init__(self, openers: Mapping[StreamKind, Opener], traffic: Traffic) -> None:
        self._openers = openers
        self._traffic = traffic
        self._open: dict[StreamKey, Receiver] = {}
        self._channels: dict[StreamKey, str] = {}

    def on_stream_opened(self, event: StreamOpened) -> None:
        """Find who handles the stream."""
        receiver = self._openers[event.kind](event)
        if receiver is not None:
            self._open[event.key] = receiver
            self._channels[event.key] = event.channel

    def on_stream_admitted(self, event: StreamAdmitted) -> None:
        """Pass it on."""
        receiver = self._open.get(event.key)
        if receiver is not None:
            receiver.on_admitted()

    def on_stream_placed(self, event: StreamPlaced) -> None:
        """Pass it on."""
        receiver = self._open.get(event.key)
        if receiver is not None:
            receiver.on_placed(event.offset)

    def on_stream_adopted(self, event: StreamAdopted) -> None:
        """Pass it on, and know the stream by its new key."""
        receiver = self._open.pop(event.old_key, None)
        if receiver is not None:
            self._open[event.key] = receiver
            receiver.on_adopted(event.key)

    def on_data_received(self, event: DataReceived) -> None:
        """Pass it on."""
        receiver = self._open.get(event.key)
        if receiver is not None:
            self._traffic.count_bytes(Direction.RECEIVED, self._channels[event.key], len(event.payload))
            receiver.on_data(event)

    def on_data_ended(self, event: DataEnded) -> None:
        """Pass it on."""
        receiver = self._open.get(event.key)
        if receiver is not None:
            receiver.on_ended(event)

    def on_receive_finished(self, event: ReceiveFinished) -> None:
        """Pass it on, for the last time."""
        receiver = self._forget(event.key)
        if receiver is not None:
            receiver.on_finished()

    def on_receive_failed(self, event: ReceiveFailed) -> None:
        """Pass it on, for the last time."""
        receiver = self._forget(event.key)
        if receiver is not None:
            self._traffic.count_failure(Direction.RECEIVED, event.error)
            receiver.on_failed(event.error, event.discard)

    def close(self, error: CellError) -> None:
        """Fail all streams because the cell has ended."""
        receivers = list(self._open.values())
        self._open.clear()
        self._channels.clear()
        for receiver in receivers:
            receiver.on_failed(error, False)

    def _forget(self, key: StreamKey) -> Receiver | None:
        self._channels.pop(key, None)
        return self._open.pop(key, None)
