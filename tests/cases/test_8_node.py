"""The cell in JavaScript: what paces it on a lane that carries everything, and how it notices silence and loss."""

from __future__ import annotations

import hashlib
import queue
from collections.abc import Iterator
from typing import Any

import pytest

from scripts import vectors
from streamcell import CoreCell, ReceivedStream, StreamCell, StreamFuture
from streamcell.v1 import cell_pb2
from tests.kit.listener import INCARNATION, Listener
from tests.kit.node import EXAMPLE, node
from tests.kit.programs import Program, run
from tests.kit.proxy import proxy_to
from tests.kit.waiting import PATIENCE_S

__all__ = ["node"]

pytestmark = pytest.mark.node

KIB = 1024
SIZE = 3_000_000
# Sends a stream, or blob, to a cell, and says what became of it.
SEND = """
import { Cell } from './cell.js';
const [address, name, target, kind, times] = process.argv.slice(1);
const cell = new Cell(name, JSON.parse(times));
const peer = await cell.connect(address);
console.log(`linked to ${peer}`);
const data = Buffer.alloc(SIZE, 'streamcell ');
const read = (offset, most) => data.subarray(offset, offset + most);
await cell.send(kind, target, 'node', 'data', { read, size: data.length })
  .then((size) => console.log(`sent ${size}`), (error) => console.log(`failed: ${error.message}`));
await cell.close();
""".replace("SIZE", str(SIZE))
DATA = (b"streamcell " * (SIZE // 11 + 1))[:SIZE]


def sending(node: str, url: str, target: str, kind: str = "STREAM", *, name: str = "node-1", times: str = "{}") -> Any:
    """Run the program that sends."""
    address = url.removeprefix("grpc://")
    arguments = ("--input-type=module", "-e", SEND, address, name, target, kind, times)
    return Program(*arguments, cwd=EXAMPLE, interpreter=node)


@pytest.fixture
def linked(node: str) -> Iterator[tuple[Listener, cell_pb2.Hello, Program]]:
    """A listener that says what the test wants, and the program that sends a stream to it."""
    with Listener() as listener, sending(node, listener.address, "server") as program:
        hello = listener.say_hello()
        program.wait_for("linked to server")
        yield listener, hello, program


def test_case_8_2_a_shared_lane_is_paced_by_pongs(linked: tuple[Listener, cell_pb2.Hello, Program]) -> None:
    listener, _, _ = linked
    first = listener.hear_chunks()
    stream = first[0].stream
    assert sum(len(chunk.payload) for chunk in first) == 256 * KIB
    listener.say(credit={"stream": stream, "offset": SIZE})
    listener.say(ack={"stream": stream, "target_incarnation": INCARNATION, "received": 256 * KIB, "hops_left": 16})
    assert listener.hear_chunks() == [], "an Ack comes from the target, and says nothing of the lane"
    for step in range(1, 5):
        assert listener.answer_pings(most=1) == 1
        [chunk] = listener.hear_chunks()
        assert (chunk.offset, len(chunk.payload)) == ((3 + step) * 64 * KIB, 64 * KIB)
    assert listener.answer_pings() == 4, "a Ping follows each 64 KiB"


def incoming(hello: cell_pb2.Hello, number: int, *, attempt: int = 1, sequence: int | None = None, **more: Any) -> Any:
    """Return the chunk of a stream for the program that begins at so many times 64 KiB."""
    stream = {"origin": "server", "origin_incarnation": INCARNATION, "target": hello.fqcn, "stream_id": 1}
    sequence = number if sequence is None else sequence
    opening = {"settled_below": 1, "kind": cell_pb2.STREAM_KIND_STREAM} if sequence == 0 else None
    fields = {"stream": stream | {"attempt": attempt}, "channel": "node", "topic": "data", "last": False}
    payload = DATA[number * 64 * KIB : (number + 1) * 64 * KIB]
    return vectors.chunk(
        opening, **fields | {"sequence": sequence, "offset": number * 64 * KIB, "payload": payload} | more
    )


@pytest.fixture
def reader(node: str) -> Iterator[tuple[Listener, cell_pb2.Hello]]:
    """A listener that says what the test wants, and a program that takes a stream, but of that nothing."""
    code = SEND.split("const peer")[0] + "cell.register('STREAM', 'node', 'data', () => new Promise(() => {}));"
    with Listener() as listener:
        code += "await cell.connect(address);"
        arguments = ("--input-type=module", "-e", code, listener.address, "node-1", "", "", "{}")
        with Program(*arguments, cwd=EXAMPLE, interpreter=node):
            yield listener, listener.say_hello()


def test_case_8_1_it_says_a_credit_in_every_attempt(reader: tuple[Listener, cell_pb2.Hello]) -> None:
    """Also when it has none to add: how little the origin has begun with it cannot know."""
    listener, hello = reader
    for number in range(14):
        listener.say(**incoming(hello, number))
    first = listener.hear("credit")
    assert (first.stream.attempt, first.offset) == (1, 1024 * KIB)
    listener.say(resume_query={"stream": incoming(hello, 0, attempt=2)["chunk"]["stream"], "hops_left": 16})
    assert listener.hear("resume_reply").offset == 14 * 64 * KIB
    again = listener.hear("credit")
    assert (again.stream.attempt, again.offset) == (2, 1024 * KIB)


def test_case_8_4_chunks_beyond_a_gap_are_kept(reader: tuple[Listener, cell_pb2.Hello]) -> None:
    """They may come by several lanes of a link in between, and do not come again within the attempt."""
    listener, hello = reader
    for number in (0, 2, 3, 1):
        listener.say(**incoming(hello, number))
    while (ack := listener.hear("ack")).received < 4 * 64 * KIB:
        pass
    assert (ack.received, ack.stream.attempt) == (4 * 64 * KIB, 1)


def test_case_8_4_what_an_earlier_attempt_has_left_is_not_taken_in(reader: tuple[Listener, cell_pb2.Hello]) -> None:
    listener, hello = reader
    late = incoming(hello, 0)
    listener.say(resume_query={"stream": late["chunk"]["stream"] | {"attempt": 2}, "hops_left": 16})
    assert listener.hear("resume_reply").unknown
    listener.say(**late)
    assert listener.hear_all() == []
    listener.say(**incoming(hello, 0, attempt=2))
    assert listener.hear("ack").stream.attempt == 2


def test_case_8_4_a_reset_of_a_lower_attempt_counts(reader: tuple[Listener, cell_pb2.Hello]) -> None:
    listener, hello = reader
    chunk = incoming(hello, 0, attempt=3)
    listener.say(**chunk)
    listener.hear("ack")
    stream = chunk["chunk"]["stream"]
    listener.say(reset={"stream": stream | {"attempt": 1}, "code": cell_pb2.ERROR_CODE_CANCELLED, "hops_left": 16})
    listener.say(resume_query={"stream": stream | {"attempt": 4}, "hops_left": 16})
    reset = listener.hear("reset")
    assert (reset.stream.attempt, reset.code) == (4, cell_pb2.ERROR_CODE_CANCELLED)


@pytest.mark.parametrize("kind", ["STREAM", "BLOB"])
def test_case_8_2_lives_that_follow_each_other_send_through_a_hub(node: str, kind: str) -> None:
    """A cell behind a hub asks which life is there, and says Lost meanwhile: that is no reason to give up."""
    digests: queue.SimpleQueue[str] = queue.SimpleQueue()

    def on_stream(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        digests.put(hashlib.sha256(stream.read(-1)).hexdigest())

    with CoreCell("hub", listen="grpc://127.0.0.1:0") as hub, CoreCell("sink", connect=hub.listen_urls[0]) as sink:
        StreamCell(sink).register_stream_cb("node", "data", on_stream)
        StreamCell(sink).register_blob_cb(
            "node", "data", lambda future: digests.put(hashlib.sha256(future.result()).hexdigest())
        )
        sink.wait_connected(PATIENCE_S)
        for _ in range(3):
            with sending(node, hub.listen_urls[0], "sink", kind) as program:
                program.wait_for(f"^sent {SIZE}$")
                assert program.wait() == 0
            assert digests.get(timeout=PATIENCE_S) == hashlib.sha256(DATA).hexdigest()


def test_case_8_2_what_must_not_arrive_twice_begins_with_the_question(node: str) -> None:
    with Listener() as listener, sending(node, listener.address, "behind", "BLOB"):
        listener.say_hello()
        asked = listener.hear("resume_query").stream
        assert listener.hear_chunks() == []
        listener.say(resume_reply={"stream": asked, "target_incarnation": 7, "unknown": True})
        first = listener.hear("chunk")
        assert (first.stream, first.open.target_incarnation) == (asked, 7)


@pytest.mark.parametrize("under_way", [True, False])
def test_case_8_3_a_path_that_swallows_everything_is_noticed(node: str, under_way: bool) -> None:
    times = '{"pingMs": 100, "idlePingMs": 200, "answerMs": 300}'
    with CoreCell("server", listen="grpc://127.0.0.1:0") as server, proxy_to(server.listen_urls[0]) as proxy:
        if under_way:
            StreamCell(server).register_stream_cb("node", "data", lambda future, stream, resume: proxy.abandon())
            with sending(node, proxy.url, "server", times=times) as program:
                program.wait_for("failed: server does not answer")
                assert program.wait() == 0
        else:
            code = SEND.split("const data")[0] + "await cell.ended.catch((error) => console.log(error.message));"
            address = proxy.url.removeprefix("grpc://")
            arguments = ("--input-type=module", "-e", code, address, "node-1", "", "", times)
            with Program(*arguments, cwd=EXAMPLE, interpreter=node) as program:
                program.wait_for("linked to server")
                proxy.abandon()
                program.wait_for("server does not answer")
                assert program.wait() == 0


def test_case_8_3_an_idle_lane_that_answers_is_kept(node: str) -> None:
    times = '{"pingMs": 20, "idlePingMs": 20, "answerMs": 5000}'
    code = SEND.split("const data")[0] + "cell.ended.catch((error) => console.log(error.message));"
    with Listener() as listener:
        arguments = ("--input-type=module", "-e", code, listener.address, "node-1", "", "", times)
        with Program(*arguments, cwd=EXAMPLE, interpreter=node) as program:
            listener.say_hello()
            for _ in range(3):
                listener.hear("ping")
                listener.answer_pings()
            assert program.process.poll() is None
            assert not [line for line in program.lines if "answer" in line]


def test_case_8_2_a_rate_needs_a_target(node: str) -> None:
    with Program(EXAMPLE / "rate.js", "127.0.0.1:1", interpreter=node) as program:
        program.wait_for("to which cell")
        assert program.wait() == 2


def test_case_8_2_the_rate_is_measured(node: str) -> None:
    with CoreCell("hub", listen="grpc://127.0.0.1:0") as hub:
        StreamCell(hub).register_stream_cb("node", "rate", lambda future, stream, resume: stream.read(-1))
        lines = run(EXAMPLE / "rate.js", hub.listen_urls[0].removeprefix("grpc://"), "hub", "1", interpreter=node)
    [line] = lines
    assert line.startswith("hub: ")
