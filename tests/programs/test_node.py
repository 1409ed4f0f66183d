"""The cell in JavaScript, examples/node, talks with a real one, and refuses what it has to."""

import json
import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts import vectors
from streamcell import (
    BytesStream,
    CellConfig,
    CoreCell,
    Message,
    ReceivedStream,
    StreamCell,
    StreamFuture,
    TLSConfig,
)
from streamcell.v1 import cell_pb2
from tests.kit.listener import INCARNATION, LIMIT_S, Listener
from tests.kit.node import EXAMPLE, MAIN, node
from tests.kit.programs import ROOT, Program, make_certificates, run
from tests.programs.documents import PORT, blocks, programs, section

__all__ = ["node"]

pytestmark = pytest.mark.node

CHECK_VECTORS = EXAMPLE / "check_vectors.js"
KIB = 1024
SECTION = section(ROOT / "docs/guide.md", "## From other languages")
(WALK,) = blocks(SECTION, "shell")
OUTPUT = blocks(SECTION, "text")[0].splitlines()
ECHO = next(program.code for program in programs() if program.file == "echo.py")


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as opened:
        yield opened


@pytest.fixture
def linked(node: str, listener: Listener) -> Iterator[tuple[Listener, cell_pb2.Hello, Program]]:
    """A listener that says what the test wants, and the program when both have said Hello."""
    with Program(MAIN, listener.address, interpreter=node) as program:
        hello = listener.say_hello()
        program.wait_for("linked to server")
        yield listener, hello, program


def incoming(hello: cell_pb2.Hello, **fields: Any) -> dict[str, Any]:
    """Returns a chunk that is a whole blob for the program, except for the given fields."""
    stream = {"origin": "server", "origin_incarnation": INCARNATION, "target": hello.fqcn, "stream_id": 1, "attempt": 1}
    stream |= fields.pop("stream", {})
    good = {"stream": stream, "channel": "node", "topic": "blob", "payload": b"bytes", **fields}
    return vectors.chunk({"settled_below": 1, **good.pop("opening", {})}, **good)


# --- with a real cell ----------------------------------------------------------------------------


def test_walk_through(node: str, tmp_path: Path) -> None:
    program = tmp_path / "echo.py"
    program.write_text(ECHO.replace(PORT, "grpc://127.0.0.1:0"), encoding="utf-8")
    with Program(program, cwd=tmp_path) as echo:
        address = echo.wait_for(r"listening at grpc://(\S+);")[1]
        commands = WALK.replace(PORT.removeprefix("grpc://"), address)
        assert commands != WALK
        lines = run("-ec", commands, interpreter="sh")
        echo.input.close()
        assert echo.wait() == 0
    assert [line for line in lines if line in OUTPUT] == OUTPUT
    assert [line for line in echo.lines if "Error" in line or "failed" in line] == []


def test_with_a_certificate(node: str, tmp_path: Path) -> None:
    make_certificates(tmp_path, "server", "node-1")
    files = {
        name: tmp_path / f"certs/{name}" for name in ("ca.pem", "server.pem", "server.key", "node-1.pem", "node-1.key")
    }
    tls = TLSConfig(ca=files["ca.pem"], cert=files["server.pem"], key=files["server.key"])
    with CoreCell("server", listen="grpcs://127.0.0.1:0", tls=tls, config=CellConfig(stop_grace_s=0)) as server:
        proved: queue.SimpleQueue[str] = queue.SimpleQueue()
        cell = StreamCell(server)

        def send_back(future: StreamFuture) -> None:
            proved.put(future.origin_identity)
            cell.send_blob("node", "blob", future.origin, Message(future.get_headers(), future.result()))

        def read_back(future: StreamFuture, stream: ReceivedStream, _resume: bool) -> None:
            proved.put(stream.origin_identity)
            cell.send_stream("node", "lines", future.origin, Message({}, BytesStream(stream.read(-1))))

        cell.register_blob_cb("node", "blob", send_back)
        cell.register_stream_cb("node", "lines", read_back)
        address = server.listen_urls[0].removeprefix("grpcs://")
        shown = [files[name] for name in ("ca.pem", "node-1.pem", "node-1.key")]
        lines = run(MAIN, address, "node-1", *shown, interpreter=node)
        assert lines[-2:] == ["the blob came back, with its 5 headers", "the stream came back"]
        assert [proved.get(timeout=LIMIT_S) for _ in range(2)] == ["node-1", "node-1"]
        with Program(MAIN, address, "node-2", *shown, interpreter=node) as liar:
            assert liar.wait() == 1
        assert any("the certificate proves node-1, and not node-2" in line for line in liar.lines), liar.lines


def test_program_of_its_readme(node: str) -> None:
    program = blocks((EXAMPLE / "README.md").read_text(encoding="utf-8"), "javascript")[0]
    with CoreCell("server", listen="grpc://127.0.0.1:0", config=CellConfig(stop_grace_s=0)) as server:
        headers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        StreamCell(server).register_blob_cb("train", "model", lambda future: headers.put(future.get_headers()))
        program = program.replace(PORT.removeprefix("grpc://"), server.listen_urls[0].removeprefix("grpc://"))
        assert run("--input-type=module", "-e", program, cwd=EXAMPLE, interpreter=node) == ["server has 5 bytes"]
        assert headers.get(timeout=LIMIT_S) == {"round": 7}


def test_it_tells_what_the_target_says(node: str) -> None:
    with CoreCell("server", listen="grpc://127.0.0.1:0", config=CellConfig(stop_grace_s=0)) as server:
        address = server.listen_urls[0].removeprefix("grpc://")
        with Program(MAIN, address, interpreter=node) as program:
            program.wait_for("failed: ERROR_CODE_NO_CALLBACK: .*node/blob")
            assert program.wait() == 1


def test_it_tells_that_it_is_refused(node: str) -> None:
    with CoreCell("server", listen="grpc://127.0.0.1:0", config=CellConfig(stop_grace_s=0)) as server:
        address = server.listen_urls[0].removeprefix("grpc://")
        with Program(MAIN, address, "server", interpreter=node) as program:
            program.wait_for("failed: ERROR_CODE_NAME_IN_USE: .*server")
            assert program.wait() == 1


def test_it_tells_that_nobody_is_there(node: str) -> None:
    with Program(MAIN, "127.0.0.1:1", interpreter=node) as program:
        program.wait_for("failed: 14 UNAVAILABLE")
        assert program.wait() == 1


# --- sending -------------------------------------------------------------------------------------


def test_it_stays_within_the_initial_credit_and_overshoots_a_later_one(linked: tuple[Any, Any, Any]) -> None:
    listener, _, _ = linked
    first = listener.hear_chunks()
    assert sum(len(chunk.payload) for chunk in first) == 256 * KIB
    assert [chunk.HasField("open") for chunk in first] == [True] + [False] * (len(first) - 1)
    listener.answer_pings()
    assert listener.hear_chunks() == [], "there is no more credit"
    listener.say(credit={"stream": first[0].stream, "offset": 256 * KIB + 1})
    [beyond] = listener.hear_chunks()
    assert (beyond.offset, len(beyond.payload)) == (256 * KIB, 64 * KIB)


def test_its_checksums_are_right(linked: tuple[Any, Any, Any]) -> None:
    listener, _, _ = linked
    for chunk in listener.hear_chunks():
        fields: dict[str, Any] = {"sequence": chunk.sequence, "offset": chunk.offset, "last": chunk.last}
        stream = {name.name: value for name, value in chunk.stream.ListFields()}
        again = vectors.chunk(stream=stream, payload=chunk.payload, **fields)
        assert again["chunk"]["checksum"] == chunk.checksum


def test_it_sends_again_what_was_lost(linked: tuple[Any, Any, Any]) -> None:
    listener, _, _ = linked
    stream = listener.hear("chunk").stream
    listener.say(lost={"stream": stream, "reason": cell_pb2.LOST_REASON_CORRUPT, "hops_left": 16})
    asked = listener.hear("resume_query").stream
    assert asked.attempt == 2
    listener.answer_pings()
    listener.say(resume_reply={"stream": asked, "target_incarnation": INCARNATION, "offset": 64 * KIB})
    again = listener.hear_chunks()
    assert [chunk.stream.attempt for chunk in again] == [2] * len(again)
    assert (again[0].sequence, again[0].offset, again[0].HasField("open")) == (0, 64 * KIB, True)
    end = again[-1].offset + len(again[-1].payload)
    assert end == 256 * KIB, "no more than the highest credit that was given before"


def test_it_gives_up_what_has_no_way(linked: tuple[Any, Any, Any]) -> None:
    listener, _, program = linked
    stream = listener.hear("chunk").stream
    listener.say(lost={"stream": stream, "reason": cell_pb2.LOST_REASON_NO_ROUTE, "reporter": "hub", "hops_left": 16})
    reset = listener.hear("reset")
    assert (reset.code, reset.from_target, reset.stream) == (cell_pb2.ERROR_CODE_UNREACHABLE, False, stream)
    program.wait_for("failed: hub knows no way to server")


# --- receiving -----------------------------------------------------------------------------------


def test_a_corrupt_chunk_is_not_taken_in_and_may_come_again(linked: tuple[Any, Any, Any]) -> None:
    listener, hello, _ = linked
    good = incoming(hello)
    stream = good["chunk"]["stream"]
    listener.say(**incoming(hello, payload=b"bites", checksum=good["chunk"]["checksum"]))
    assert listener.hear("lost").reason == cell_pb2.LOST_REASON_CORRUPT
    listener.say(resume_query={"stream": {**stream, "attempt": 2}, "hops_left": 16})
    reply = listener.hear("resume_reply")
    assert (reply.offset, reply.unknown, reply.target_incarnation) == (0, False, hello.incarnation)
    listener.say(**incoming(hello, stream={"attempt": 2}))
    while not (ack := listener.hear("ack")).complete:
        pass
    assert (ack.received, ack.consumed, ack.stream.attempt) == (5, 5, 2)


def test_an_offset_that_is_awaited_is_told(linked: tuple[Any, Any, Any]) -> None:
    listener, hello, _ = linked
    listener.say(**incoming(hello, payload=b"", opening={"awaits_offset": True}))
    reply = listener.hear("resume_reply")
    assert (reply.offset, reply.unknown, reply.stream.attempt) == (0, False, 1)
    listener.say(**incoming(hello, stream={"attempt": 2}))
    while not (ack := listener.hear("ack")).complete:
        pass
    assert (ack.consumed, ack.stream.attempt) == (5, 2)


def test_a_reset_is_not_answered(linked: tuple[Any, Any, Any]) -> None:
    listener, hello, _ = linked
    for target in (hello.fqcn, "somebody"):
        stream = incoming(hello, stream={"target": target})["chunk"]["stream"]
        listener.say(reset={"stream": stream, "code": cell_pb2.ERROR_CODE_CANCELLED})
    assert {frame.WhichOneof("kind") for frame in listener.hear_all()} <= {"chunk", "ping"}


def test_the_third_corrupt_chunk_ends_the_stream(linked: tuple[Any, Any, Any]) -> None:
    listener, hello, _ = linked
    for attempt in (1, 2, 3):
        listener.say(**incoming(hello, stream={"attempt": attempt}, checksum=1))
    reset = listener.hear("reset")
    assert (reset.code, reset.from_target, reset.stream.attempt) == (cell_pb2.ERROR_CODE_INTEGRITY, True, 3)


@pytest.mark.parametrize("size", [4, 6])
def test_a_wrong_size_ends_the_stream(linked: tuple[Any, Any, Any], size: int) -> None:
    listener, hello, _ = linked
    listener.say(**incoming(hello, opening={"size": size}))
    assert listener.hear("reset").code == cell_pb2.ERROR_CODE_INTEGRITY


def test_an_ended_stream_is_answered_until_it_is_settled(linked: tuple[Any, Any, Any]) -> None:
    listener, hello, _ = linked
    listener.say(**incoming(hello))
    while not listener.hear("ack").complete:
        pass
    listener.say(**incoming(hello, stream={"attempt": 2}))
    again = listener.hear("ack")
    assert (again.complete, again.stream.attempt) == (True, 2)
    listener.say(ping={"nonce": 5, "settled_below": 2})
    assert listener.hear("pong").nonce == 5
    listener.say(**incoming(hello))
    assert listener.hear("reset").code == cell_pb2.ERROR_CODE_STALE


def test_what_it_cannot_take_is_answered(linked: tuple[Any, Any, Any]) -> None:
    listener, hello, _ = linked
    listener.say(**incoming(hello, topic="unknown"))
    assert listener.hear("reset").code == cell_pb2.ERROR_CODE_NO_CALLBACK
    listener.say(**incoming(hello, stream={"stream_id": 2}, offset=5))
    assert listener.hear("lost").reason == cell_pb2.LOST_REASON_UNKNOWN_HERE
    listener.say(**incoming(hello, stream={"stream_id": 6}, opening={"target_incarnation": hello.incarnation - 1}))
    assert listener.hear("lost").reason == cell_pb2.LOST_REASON_OTHER_LIFE
    listener.say(**incoming(hello, stream={"stream_id": 3, "target": "somebody"}))
    assert listener.hear("lost").reason == cell_pb2.LOST_REASON_NO_ROUTE
    listener.say(resume_query={"stream": incoming(hello, stream={"stream_id": 4})["chunk"]["stream"]})
    assert listener.hear("resume_reply").unknown
    listener.say(resume_query={"stream": incoming(hello, stream={"target": "somebody"})["chunk"]["stream"]})
    assert listener.hear("lost").reason == cell_pb2.LOST_REASON_NO_ROUTE


def test_a_stream_that_was_given_up_before_its_first_chunk_is_not_delivered(linked: tuple[Any, Any, Any]) -> None:
    listener, hello, _ = linked
    chunk = incoming(hello)
    listener.say(reset={"stream": chunk["chunk"]["stream"], "code": cell_pb2.ERROR_CODE_CANCELLED})
    listener.say(**chunk)
    reset = listener.hear("reset")
    assert (reset.code, reset.from_target) == (cell_pb2.ERROR_CODE_CANCELLED, True)


def test_it_says_who_it_is(linked: tuple[Any, Any, Any]) -> None:
    listener, hello, _ = linked
    listener.say(query={"query_id": 2**63, "asker": "server", "hops_left": 16})
    reply = listener.hear("query_reply")
    assert (reply.query_id, [cell.fqcn for cell in reply.cells]) == (2**63, [hello.fqcn])


def test_a_batch_that_breaks_a_rule_ends_the_lane(linked: tuple[Any, Any, Any]) -> None:
    listener, _, program = linked
    [bad] = [vector for vector in vectors.refused() if vector["name"] == "A space in a name"]
    listener.say_bytes(bytes.fromhex(bad["parts"][0]["hex"]))
    program.wait_for("failed: .*refused: origin")
    assert program.wait() == 1


def test_the_first_frame_must_be_a_hello(node: str, listener: Listener) -> None:
    with Program(MAIN, listener.address, interpreter=node) as program:
        listener.hear("hello")
        listener.say(ping={"nonce": 1})
        program.wait_for("failed: .*not a hello")
        assert program.wait() == 1


# --- vectors -------------------------------------------------------------------------------------


def test_vectors_hold(node: str) -> None:
    lines = run(CHECK_VECTORS, interpreter=node)
    assert {line.split(":")[0] for line in lines} == set(vectors.files())


def spoilt(vector: dict[str, Any]) -> dict[str, Any]:
    """Returns the vector with something in it that is not so."""
    if "frames" in vector:
        return {**vector, "hex": vector["hex"].replace("6d6f64656c", "6d6f64656d")}
    if "parts" in vector:
        return {**vector, "field": "another"}
    return {**vector, "checksum": vector["checksum"] ^ 1}


@pytest.mark.parametrize("name", ["frames", "edge_cases", "refused", "checksums"])
def test_a_vector_that_does_not_hold_is_named(node: str, tmp_path: Path, name: str) -> None:
    for file, text in vectors.files().items():
        read = json.loads(text)
        if file == f"{name}.json":
            read[2] = spoilt(read[2])
        (tmp_path / file).write_text(json.dumps(read), encoding="utf-8")
    with Program(CHECK_VECTORS, tmp_path, interpreter=node) as program:
        assert program.wait() == 1
    bad = [line for line in program.lines if " checked" not in line]
    assert any(line.startswith(f"{name}.json, {read_name(tmp_path, name)}: ") for line in bad), program.lines


def read_name(folder: Path, name: str) -> str:
    return str(json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))[2]["name"])


def test_it_is_as_short_as_is_said() -> None:
    files = [(EXAMPLE / name).read_text(encoding="utf-8") for name in ("wire.js", "streams.js", "cell.js")]
    lines = [line.strip() for text in files for line in text.splitlines()]
    assert sum(1 for line in lines if line and not line.startswith(("//", "/**"))) < 400
