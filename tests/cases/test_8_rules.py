"""What the wire's document says of rules that others stumbled over, asked of a real cell frame by frame."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

import pytest

from scripts import vectors
from streamcell import CellConfig, CoreCell, StreamCell
from streamcell.transport.grpc.environment import grpc
from streamcell.v1 import cell_pb2
from tests.kit.minimal_cell import MESSAGE_BYTES, Lane
from tests.kit.minimal_streams import INITIAL_CREDIT
from tests.kit.payloads import pattern
from tests.kit.waiting import PATIENCE_S

KIB = 1024
INCARNATION = 1 << 60
STREAM = {"origin": "raw", "origin_incarnation": INCARNATION, "target": "server", "stream_id": 1, "attempt": 1}


class Raw:
    """A lane on which a test says what it wants."""

    def __init__(self, url: str) -> None:
        self._lane = Lane(url)
        self._frames = (frame for response in self._lane.call for frame in response.frames)
        limits = cell_pb2.Limits(message_bytes=MESSAGE_BYTES, lanes=1)
        hello: dict[str, Any] = {"version_min": 1, "version_max": 1, "fqcn": "raw", "incarnation": INCARNATION}
        hello |= {"lane_number": 1, "lane_role": cell_pb2.LANE_ROLE_CONTROL, "lanes_held": [1], "limits": limits}
        self.say(hello=cell_pb2.Hello(**hello, initial_credit=INITIAL_CREDIT))
        #: The listener's Hello.
        self.hello = self.hear("hello")

    def say(self, **frame: Any) -> None:
        self._lane.post(**frame)

    def chunk(self, number: int, payload: bytes, **more: Any) -> None:
        """Send the chunk of a stream that begins at so many times 64 KiB."""
        opening = {"kind": cell_pb2.STREAM_KIND_STREAM, "settled_below": 1} if number == 0 else None
        fields = {"channel": "raw", "topic": "data", "last": False, "sequence": number, "offset": number * 64 * KIB}
        self.say(**vectors.chunk(opening, **{"stream": STREAM, "payload": payload} | fields | more))

    def query(self, **more: Any) -> None:
        self.say(resume_query={"stream": STREAM | more, "hops_left": 16})

    def hear(self, kind: str) -> Any:
        """Wait for a frame of a kind, and drop those before it."""
        for frame in self._frames:
            if frame.HasField(kind):
                return getattr(frame, kind)
        raise AssertionError(f"the lane ended without a {kind}")

    def hear_until(self, kind: str) -> list[str]:
        """Return the kinds of the frames up to one."""
        kinds: list[str] = []
        while kind not in kinds:
            kinds.append(str(next(self._frames).WhichOneof("kind")))
        return kinds

    def close(self) -> None:
        self._lane.close()


@pytest.fixture
def server() -> Iterator[CoreCell]:
    with CoreCell("server", listen="grpc://127.0.0.1:0", config=CellConfig(stop_grace_s=0)) as cell:
        yield cell


@pytest.fixture
def raw(server: CoreCell) -> Iterator[Raw]:
    lane = Raw(server.listen_urls[0])
    yield lane
    lane.close()


@pytest.fixture
def unread(server: CoreCell) -> Iterator[None]:
    """Take streams, and read nothing of them until the test has ended."""
    ended: queue.SimpleQueue[None] = queue.SimpleQueue()
    StreamCell(server).register_stream_cb("raw", "*", lambda future, stream, resume: ended.get())
    yield
    ended.put(None)


@pytest.mark.usefixtures("unread")
def test_case_8_1_an_attempt_gets_a_credit_though_there_is_none_to_add(raw: Raw) -> None:
    raw.chunk(0, pattern(64 * KIB))
    first = raw.hear("credit")
    raw.query(attempt=2)
    assert raw.hear("resume_reply").offset == 64 * KIB
    again = raw.hear("credit")
    assert (again.stream.attempt, again.offset) == (2, first.offset)


@pytest.mark.usefixtures("unread")
def test_case_8_4_credit_that_is_ignored_ends_the_lane_and_the_reset_comes_later(server: CoreCell, raw: Raw) -> None:
    raw.chunk(0, pattern(64 * KIB))
    raw.hear("ack")
    raw.chunk(200, b"far beyond")
    assert "reset" not in raw.hear_until("goodbye")
    with pytest.raises((grpc.RpcError, AssertionError)):
        raw.hear("reset")
    again = Raw(server.listen_urls[0])
    again.query(attempt=2)
    assert again.hear("reset").code == cell_pb2.ERROR_CODE_PROTOCOL
    again.close()


@pytest.mark.usefixtures("unread")
def test_case_8_4_a_reset_of_a_lower_attempt_counts(raw: Raw) -> None:
    raw.chunk(0, pattern(64 * KIB), stream=STREAM | {"attempt": 3})
    raw.hear("ack")
    raw.say(reset={"stream": STREAM, "code": cell_pb2.ERROR_CODE_CANCELLED, "hops_left": 16})
    raw.query(attempt=4)
    reset = raw.hear("reset")
    assert (reset.code, reset.stream.attempt, reset.from_target) == (cell_pb2.ERROR_CODE_CANCELLED, 4, True)


def test_case_8_4_a_ping_settles_ids_of_the_neighbour_that_sends_it(raw: Raw) -> None:
    raw.chunk(0, b"nobody wants it")
    assert raw.hear("reset").code == cell_pb2.ERROR_CODE_NO_CALLBACK
    raw.say(ping={"nonce": 5, "settled_below": 2})
    assert raw.hear("pong").nonce == 5
    raw.query(attempt=2)
    assert raw.hear("reset").code == cell_pb2.ERROR_CODE_STALE
    raw.query(stream_id=2)
    assert raw.hear("resume_reply").unknown


@pytest.mark.usefixtures("unread")
def test_case_8_4_on_the_only_lane_an_ack_comes_for_each_64_kib(raw: Raw) -> None:
    for number in range(4):
        raw.chunk(number, pattern(64 * KIB))
        while raw.hear("ack").received < (number + 1) * 64 * KIB:
            pass


@pytest.mark.usefixtures("unread")
def test_case_8_4_a_query_of_stream_0_wants_no_answer(raw: Raw) -> None:
    raw.say(resume_query={"stream": STREAM | {"stream_id": 0, "attempt": 0}, "probe": True, "hops_left": 16})
    raw.say(ping={"nonce": 5})
    assert "resume_reply" not in raw.hear_until("pong")


def test_case_8_4_what_is_for_another_life_is_not_taken(raw: Raw) -> None:
    opening = {"kind": cell_pb2.STREAM_KIND_BLOB, "settled_below": 1, "target_incarnation": 7}
    raw.say(**vectors.chunk(opening, stream=STREAM, channel="raw", topic="data", payload=b"for another"))
    assert raw.hear("lost").reason == cell_pb2.LOST_REASON_OTHER_LIFE


def test_case_8_4_the_answer_to_the_first_question_says_the_life(server: CoreCell, raw: Raw) -> None:
    raw.query()
    reply = raw.hear("resume_reply")
    assert (reply.unknown, reply.target_incarnation) == (True, raw.hello.incarnation)
    arrived: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    StreamCell(server).register_blob_cb("raw", "*", lambda future: arrived.put(bytes(future.result())))
    opening = {"kind": cell_pb2.STREAM_KIND_BLOB, "settled_below": 1, "target_incarnation": reply.target_incarnation}
    raw.say(**vectors.chunk(opening, stream=STREAM, channel="raw", topic="data", payload=b"for this one"))
    assert arrived.get(timeout=PATIENCE_S) == b"for this one"
