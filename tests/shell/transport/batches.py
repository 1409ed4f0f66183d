"""Batches of frames for the tests of the codec, made by it and by protobuf."""

from collections.abc import Sequence

from streamcell.protocol.wire import frames
from streamcell.protocol.wire.frames import Chunk, Frame, StreamKey
from streamcell.transport.codec import decode_batch, encode_batch
from streamcell.transport.parts import join
from streamcell.v1 import cell_pb2

KEY = StreamKey("site-1", 7, 3)
REF = cell_pb2.StreamRef(origin="site-1", origin_incarnation=7, target="server", stream_id=3, attempt=1)
# Field 127, which no message has.
LATER_FIELD = b"\xf8\x07\x01"


def chunk(payload: frames.Payload = b"", opening: frames.Open | None = None) -> Chunk:
    return Chunk(KEY, "server", 1, "channel", "topic", 0, 0, True, 16, 5, payload, opening)


def encode(batch: Sequence[Frame]) -> bytes:
    """The bytes of a batch."""
    return join(encode_batch(batch))


def decode(data: bytes) -> list[Frame]:
    """The frames of a batch that has come in one part."""
    return decode_batch([data])


def batch_of(**kind: object) -> bytes:
    """A batch with one frame, made by protobuf from messages or from dicts."""
    return cell_pb2.ExchangeRequest(frames=[kind]).SerializeToString()


def batch_of_opening(**opening: object) -> bytes:
    """A batch with a chunk that opens a stream with the given fields."""
    fields = {"stream": REF, "channel": "c", "topic": "t", "open": {"kind": 1, **opening}}
    return batch_of(chunk=fields)
