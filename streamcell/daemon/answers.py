"""What a standalone cell answers to ``ping`` and ``bench``."""

from __future__ import annotations

from streamcell.core_cell import CoreCell
from streamcell.daemon.conventions import ECHO_TOPIC, MEASURE_CHANNEL, SINK_TOPIC
from streamcell.future import StreamFuture
from streamcell.message import Message
from streamcell.stream import ReceivedStream
from streamcell.stream_cell import StreamCell


def register_answers(cell: CoreCell) -> None:
    """Have ``cell`` echo requests, and read and drop streams, on their topics."""
    cell.register_request_cb(MEASURE_CHANNEL, ECHO_TOPIC, _echo)
    StreamCell(cell).register_stream_cb(MEASURE_CHANNEL, SINK_TOPIC, _drop)


def _echo(request: Message) -> Message:
    return Message(None, request.payload)


def _drop(_future: StreamFuture, stream: ReceivedStream, _resume: bool) -> None:
    for _piece in stream.pieces():
        pass
