"""Frames made by Hypothesis, and protobuf messages taken apart and put together by hand."""

from collections.abc import Iterator

from hypothesis import strategies as st

from streamcell.digest import Digest
from streamcell.errors import ErrorCode, Fault, one_line
from streamcell.message import Headers, HeaderValue
from streamcell.protocol.wire import frames
from streamcell.protocol.wire.description import ReplyTo, StreamDescription, StreamKind
from streamcell.topology import CellSelection
from streamcell.transport.codec import LARGE_BYTES

uint32 = st.integers(0, 2**32 - 1)
uint64 = st.integers(0, 2**64 - 1)
seconds = st.floats(0, 1e9)
fqcns = st.from_regex(r"[A-Za-z0-9_~-]{1,8}(\.[A-Za-z0-9_~-]{1,8}){0,2}", fullmatch=True)
optional_fqcns = st.one_of(st.just(""), fqcns)
texts = st.text(max_size=40)
names = st.text(min_size=1, max_size=40)
sentences = st.from_regex(r"([a-zé]{1,9}( [a-z]{1,9}){0,5})?", fullmatch=True)
selections = st.builds(CellSelection, optional_fqcns, uint32, optional_fqcns)
labels = st.text(max_size=40).map(one_line)
keys = st.builds(frames.StreamKey, fqcns, uint64, uint64)
error_codes = st.sampled_from(ErrorCode)
refs = {"key": keys, "target": fqcns, "attempt": uint32}


def _sorted_headers(headers: dict[str, HeaderValue]) -> Headers:
    return tuple(sorted(headers.items()))


headers = st.dictionaries(
    texts,
    st.one_of(
        texts,
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False),
        st.booleans(),
        st.binary(max_size=40),
    ),
    max_size=5,
).map(_sorted_headers)


def _run(pair: tuple[int, int]) -> tuple[int, int]:
    return min(pair), max(pair)


runs = st.lists(st.tuples(uint64, uint64).map(_run), max_size=16).map(tuple)
small_payloads = st.binary(max_size=200)


def _filled(size: int, byte: int) -> memoryview:
    return memoryview(bytes([byte]) * size)


large_payloads = st.builds(_filled, st.integers(LARGE_BYTES - 300, LARGE_BYTES + 300), st.integers(0, 255))

seals = st.none() | st.builds(frames.Seal, st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16))
digests = st.none() | st.builds(Digest, texts.filter(bool))

# One that says nothing is none.
replies_to = st.builds(ReplyTo, uint64, uint64, error_codes, sentences).filter(lambda to: to != ReplyTo(0, 0))

descriptions = st.builds(
    StreamDescription,
    kind=st.sampled_from(StreamKind),
    size=st.none() | uint64,
    headers=headers,
    idle_timeout_s=seconds,
    resume_id=texts,
    source_stamp=st.binary(max_size=256),
    digest=digests,
    digest_follows=st.booleans(),
    reply_to=st.none() | replies_to,
    no_reply=st.booleans(),
    traceparent=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=256),
)

opens = st.builds(
    frames.Open,
    description=descriptions,
    settled_below=uint64,
    settled=runs,
    seen_before=st.booleans(),
    awaits_offset=st.booleans(),
    target_incarnation=uint64,
    sealing_envelope=st.binary(max_size=40),
)


def _chunks(payloads: st.SearchStrategy[frames.Payload]) -> st.SearchStrategy[frames.Chunk]:
    return st.builds(
        frames.Chunk,
        **refs,
        channel=names,
        topic=names,
        sequence=uint64,
        offset=uint64,
        last=st.booleans(),
        hops_left=uint32,
        checksum=uint32,
        payload=payloads,
        open=st.none() | opens,
        digest=digests,
        seal=seals,
    )


small_chunks = _chunks(small_payloads)
large_chunks = _chunks(large_payloads)

small_frames: st.SearchStrategy[frames.Frame] = st.one_of(
    small_chunks,
    st.builds(
        frames.Hello,
        fqcn=fqcns,
        incarnation=uint64,
        version_min=uint32,
        version_max=uint32,
        lane_number=uint32,
        lane_role=st.sampled_from(frames.LaneRole),
        link_id=st.sampled_from([b"", bytes(range(16))]),
        lanes_held=st.lists(uint32, max_size=64).map(tuple),
        capabilities=st.lists(texts, max_size=64).map(tuple),
        message_bytes=uint64,
        lanes=uint32,
        initial_credit=uint64,
        max_idle_timeout_s=seconds,
    ),
    st.builds(frames.LanesWanted, uint32),
    st.builds(frames.Announce, fqcns, uint64, uint64, st.lists(fqcns, max_size=16).map(tuple)),
    st.builds(frames.AnnounceReply, fqcns, uint64, uint64, error_codes, sentences),
    st.builds(frames.Withdraw, fqcns, uint64, uint64),
    st.builds(frames.Credit, **refs, offset=uint64),
    st.builds(
        frames.Ack,
        **refs,
        target_incarnation=uint64,
        received=uint64,
        consumed=uint64,
        complete=st.booleans(),
        hops_left=uint32,
        seal=seals,
    ),
    st.builds(
        frames.Lost,
        **refs,
        reason=st.sampled_from(frames.LostReason),
        reporter=optional_fqcns,
        hops_left=uint32,
        seal=seals,
    ),
    st.builds(
        frames.Reset,
        **refs,
        from_target=st.booleans(),
        code=error_codes,
        fault=st.sampled_from(Fault),
        sentence=sentences,
        hops_left=uint32,
        seal=seals,
    ),
    st.builds(
        frames.ResumeQuery,
        **refs,
        probe=st.booleans(),
        hops_left=uint32,
        resume_id=texts,
        source_stamp=st.binary(max_size=256),
        digest=digests,
        settled_below=uint64,
        settled=runs,
        seal=seals,
    ),
    st.builds(
        frames.ResumeReply,
        **refs,
        target_incarnation=uint64,
        unknown=st.booleans(),
        offset=uint64,
        hops_left=uint32,
        prefix_digest=digests,
        probe=st.booleans(),
        seal=seals,
    ),
    st.builds(frames.Query, uint64, fqcns, optional_fqcns, st.booleans(), uint32, selections),
    st.builds(
        frames.QueryReply,
        uint64,
        fqcns,
        fqcns,
        st.lists(
            st.builds(frames.CellInfo, fqcns, uint64, optional_fqcns, labels, labels, seconds),
            max_size=3,
        ).map(tuple),
        uint32,
        st.booleans(),
        uint32,
    ),
    st.builds(
        frames.Handshake,
        initiator=fqcns,
        initiator_incarnation=uint64,
        responder=fqcns,
        responder_incarnation=uint64,
        from_responder=st.booleans(),
        session_id=st.binary(min_size=16, max_size=16),
        number=uint32,
        data=st.binary(max_size=40),
        hops_left=uint32,
        refusal=sentences,
    ),
    st.builds(frames.Ping, uint64, uint64, runs),
    st.builds(frames.Pong, uint64),
    st.builds(frames.Goodbye, error_codes, sentences, optional_fqcns),
)

batches = st.lists(small_frames | large_chunks, max_size=6)


def varint(value: int) -> bytes:
    encoded = b""
    while value >= 0x80:
        encoded += bytes([value & 0x7F | 0x80])
        value >>= 7
    return encoded + bytes([value])


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position


def field(number: int, value: bytes) -> bytes:
    """A field of a message that holds bytes, text or another message."""
    return varint(number << 3 | 2) + varint(len(value)) + value


def split_fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Takes a valid message apart: number and encoding of each field."""
    position = 0
    while position < len(message):
        start = position
        tag, position = read_varint(message, position)
        match tag & 7:
            case 0:
                _, position = read_varint(message, position)
            case 1:
                position += 8
            case 2:
                size, position = read_varint(message, position)
                position += size
            case _:
                position += 4
        yield tag >> 3, message[start:position]
