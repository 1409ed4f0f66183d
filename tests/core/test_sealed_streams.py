"""Streams, blobs, requests and replies that are sealed between their ends, and cells on the way that lie."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from streamcell.errors import AuthenticationError, ErrorCode, Fault, StreamIntegrityError
from streamcell.limits import CORRUPT_CHUNKS, HOPS, INITIAL_CREDIT_BYTES
from streamcell.protocol.base.events import SendFailed, StreamOpened
from streamcell.protocol.wire.description import StreamKind
from streamcell.protocol.wire.frames import (
    Ack,
    Chunk,
    Frame,
    Lost,
    LostReason,
    Reset,
    ResumeQuery,
    ResumeReply,
    Seal,
)
from tests.core.harness import LARGE, SMALL, Net, Node, digest_of
from tests.core.policies import ALL, hub_and
from tests.core.trees import branches, receive

ONE, OTHER = "left-leaf", "right-leaf"
SEALED = (Chunk, Ack, Lost, Reset, ResumeQuery, ResumeReply)


def tampering(change: Callable[[Frame], Frame | None]) -> Callable[[str, Frame], Frame | None]:
    """Have the root change what it passes on."""
    return lambda fqcn, frame: change(frame) if fqcn == "root" else frame


def sealed_as(frame: Any, seal: Seal | None) -> Frame:
    changed: Frame = dataclasses.replace(frame, seal=seal)
    return changed


def got(node: Node) -> list[bytes]:
    return [bytes(data) for data in node.data.values()]


def pair_over_a_tree() -> tuple[Net, Node, Node]:
    net = Net()
    nodes = branches(net)
    return net, nodes[ONE], nodes[OTHER]


def test_a_sealed_stream_arrives_and_nobody_on_the_way_sees_it() -> None:
    net, one, other = pair_over_a_tree()
    stream = one.stream(OTHER, LARGE, headers=(("secret", "header"),), sealed=True, source_digest=digest_of(LARGE))
    net.run()
    assert one.finished(stream)
    assert got(other) == [LARGE]
    (opened,) = other.of(StreamOpened)
    assert opened.description.sealed
    assert opened.description.headers == (("secret", "header"),)
    for fqcn, _, frame in net.carried:
        if fqcn not in (ONE, OTHER) and isinstance(frame, Chunk):
            assert bytes(frame.payload)[:8] not in LARGE or not frame.payload
            assert b"secret" not in (b"" if frame.open is None else frame.open.sealing_envelope)
            assert frame.open is None or frame.open.description.headers == ()
    sealed = [frame for _, _, frame in net.carried if isinstance(frame, SEALED)]
    assert all(frame.seal is not None and len(frame.seal.proof) == 16 for frame in sealed)
    assert one.core.stats().frames_unproven == other.core.stats().frames_unproven == 0


@pytest.mark.parametrize("data", [b"", SMALL, LARGE])
def test_a_sealed_blob_arrives(data: bytes) -> None:
    net, one, other = pair_over_a_tree()
    blob = one.send(OTHER, data, sealed=True)
    net.run()
    assert one.finished(blob)
    assert b"".join(got(other)) == data


def test_a_sealed_request_is_answered_sealed() -> None:
    net, one, other = pair_over_a_tree()
    other.answer = bytes.upper
    request = one.request(OTHER, b"abc", sealed=True)
    net.run()
    assert one.replies(request) == [b"ABC"]
    chunks = net.sent(OTHER, Chunk)
    assert all(frame.seal is not None for frame in chunks)


def test_plain_and_sealed_streams_go_side_by_side() -> None:
    net, one, other = pair_over_a_tree()
    sent = [one.stream(OTHER, LARGE, sealed=sealed) for sealed in (True, False, True)]
    net.run()
    assert all(one.finished(stream) for stream in sent)
    assert [opened.description.sealed for opened in other.of(StreamOpened)] in (
        [False, True, True],
        [True, False, True],
    )


def test_a_session_serves_both_ways() -> None:
    net, one, other = pair_over_a_tree()
    one.send(OTHER, SMALL, sealed=True)
    net.run()
    other.send(ONE, SMALL, sealed=True)
    net.run()
    assert got(one) == got(other) == [SMALL]
    assert len(one.core.sealing.sessions()) == 1


def test_to_itself_nothing_is_sealed() -> None:
    net = Net()
    node = net.node("root")
    blob = node.send("root", SMALL, sealed=True)
    net.run()
    assert node.finished(blob)


def test_a_target_that_cannot_seal_gets_nothing() -> None:
    net, one, _ = pair_over_a_tree()
    net.nodes["root"].core.sealing.seals = False
    stream = one.stream("root", LARGE, sealed=True)
    net.run()
    assert isinstance(one.error(stream), AuthenticationError)
    assert net.sent(ONE, Chunk) == []


def test_it_goes_on_after_each_broken_lane() -> None:
    net, one, other = pair_over_a_tree()
    stream = one.stream(OTHER, LARGE, sealed=True)
    net.run_until(lambda: bool(other.data) and len(got(other)[0]) > INITIAL_CREDIT_BYTES // 2)
    for fqcn in (ONE, "left", "root"):
        for lane in net.lanes(fqcn)[:1]:
            net.cut(fqcn, lane)
        net.advance(5.0)
    net.advance(60.0)
    assert one.finished(stream)
    assert got(other) == [LARGE]


@pytest.mark.parametrize("kind", [StreamKind.STREAM, StreamKind.BLOB])
def test_it_goes_on_with_another_life_of_its_target(kind: StreamKind) -> None:
    net, one, other = pair_over_a_tree()
    other.auto_accept = False
    stream = one.send(OTHER, LARGE, kind=kind, sealed=True, retry_unknown=True)
    net.run()
    fresh = net.restart(OTHER)
    net.advance(120.0)
    assert one.finished(stream), one.outcomes(stream)
    assert got(fresh) == [LARGE]


def test_it_goes_on_after_a_restart_of_its_origin() -> None:
    net, one, other = pair_over_a_tree()
    fields = {"sealed": True, "resume_id": "r", "source_stamp": b"s"}
    one.stream(OTHER, LARGE[: len(LARGE) // 2], end=False, **fields)
    net.run()
    fresh = net.restart(ONE)
    net.advance(30.0)
    stream = fresh.stream(OTHER, LARGE, **fields)
    net.advance(60.0)
    assert fresh.finished(stream)
    assert any(data == LARGE for data in got(other))


def test_the_end_of_sessions_costs_an_attempt() -> None:
    net, one, other = pair_over_a_tree()
    stream = one.stream(OTHER, LARGE, sealed=True)
    net.run_until(lambda: bool(other.data))
    for node, peer in ((one, OTHER), (other, ONE)):
        for session in node.core.sealing.sessions():
            node.core.sealing.end(peer, session.lives.session_id, net.now)
    net.advance(60.0)
    assert one.finished(stream)
    assert got(other) == [LARGE]


def test_a_target_that_has_forgotten_the_session() -> None:
    net, one, other = pair_over_a_tree()
    stream = one.stream(OTHER, LARGE, sealed=True)
    net.run_until(lambda: bool(other.data))
    for session in other.core.sealing.sessions():
        other.core.sealing.end(ONE, session.lives.session_id, net.now)
    net.advance(60.0)
    assert one.finished(stream)
    assert got(other) == [LARGE]
    assert {frame.reason for frame in net.sent(OTHER, Lost)} == {LostReason.NO_SESSION}


# --- cells on the way that lie ---------------------------------------------------------------------


def flip(payload: bytes | memoryview) -> bytes:
    return bytes([payload[0] ^ 1]) + bytes(payload[1:])


CHANGES: dict[str, Callable[[Chunk], Frame | None]] = {
    "payload": lambda chunk: dataclasses.replace(chunk, payload=flip(chunk.payload)) if chunk.payload else chunk,
    "offset": lambda chunk: dataclasses.replace(chunk, offset=chunk.offset + 1),
    "sequence": lambda chunk: dataclasses.replace(chunk, sequence=chunk.sequence + 1),
    "last": lambda chunk: dataclasses.replace(chunk, last=not chunk.last),
    "topic": lambda chunk: dataclasses.replace(chunk, topic="other"),
    "tag": lambda chunk: dataclasses.replace(chunk, seal=Seal(chunk.seal.session_id if chunk.seal else b"", bytes(16))),
    "session": lambda chunk: dataclasses.replace(chunk, seal=Seal(bytes(16), bytes(16))),
    "no seal": lambda chunk: dataclasses.replace(chunk, seal=None),
    "headers": lambda chunk: dataclasses.replace(
        chunk, open=None if chunk.open is None else dataclasses.replace(chunk.open, sealing_envelope=b"x" * 40)
    ),
    "size": lambda chunk: (
        chunk
        if chunk.open is None
        else dataclasses.replace(
            chunk,
            open=dataclasses.replace(chunk.open, description=dataclasses.replace(chunk.open.description, size=7)),
        )
    ),
    "dropped": lambda chunk: None,
}


@pytest.mark.parametrize("kind", [StreamKind.STREAM, StreamKind.BLOB])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("which", [0, 1, 3])
def test_a_chunk_that_is_changed_once_costs_an_attempt(kind: StreamKind, change: str, which: int) -> None:
    net, one, other = pair_over_a_tree()
    seen: list[Chunk] = []

    def tamper(frame: Frame) -> Frame | None:
        if not isinstance(frame, Chunk):
            return frame
        seen.append(frame)
        return CHANGES[change](frame) if len(seen) == which + 1 else frame

    net.tamper = tampering(tamper)
    stream = one.send(OTHER, LARGE, kind=kind, sealed=True)
    net.advance(400.0)
    if one.finished(stream):
        assert got(other) == [LARGE]
    else:
        assert isinstance(one.outcomes(stream)[0], SendFailed)


@pytest.mark.parametrize("change", [name for name in CHANGES if name not in ("dropped", "no seal", "session")])
def test_chunks_that_are_always_changed_end_the_stream_at_both_ends(change: str) -> None:
    net, one, other = pair_over_a_tree()
    net.tamper = tampering(lambda frame: CHANGES[change](frame) if isinstance(frame, Chunk) else frame)
    stream = one.stream(OTHER, LARGE, sealed=True)
    net.advance(1000.0)
    assert not one.finished(stream)
    assert all(data != LARGE for data in got(other))


def test_a_changed_stream_is_given_up_for_integrity() -> None:
    net, one, _ = pair_over_a_tree()
    seen: list[Frame] = []

    def tamper(frame: Frame) -> Frame | None:
        if isinstance(frame, Chunk) and frame.open is None:
            seen.append(frame)
            return CHANGES["payload"](frame)
        return frame

    net.tamper = tampering(tamper)
    stream = one.stream(OTHER, LARGE, sealed=True)
    net.advance(100.0)
    assert isinstance(one.error(stream), StreamIntegrityError)


def test_a_request_whose_reply_is_always_changed_ends_with_it() -> None:
    net, one, other = pair_over_a_tree()
    other.answer = lambda data: LARGE

    def tamper(frame: Frame) -> Frame | None:
        return CHANGES["tag"](frame) if isinstance(frame, Chunk) and frame.key.origin == OTHER else frame

    net.tamper = tampering(tamper)
    request = one.request(OTHER, b"abc", timeout_s=1000.0, sealed=True)
    net.advance(200.0)
    assert isinstance(one.request_error(request), StreamIntegrityError)


def test_a_stream_of_which_nothing_right_has_come_ends_for_its_origin() -> None:
    net, one, other = pair_over_a_tree()
    one.send(OTHER, SMALL, sealed=True)
    net.run()
    (session,) = other.core.sealing.sessions()
    made_up = Chunk(one.key(50), OTHER, 1, "c", "t", 1, 1, False, HOPS, 0, b"x")
    for _ in range(CORRUPT_CHUNKS):
        receive(net, other, "right", sealed_as(made_up, Seal(session.lives.session_id, bytes(16))))
    net.run()
    (reset,) = net.sent(OTHER, Reset)
    assert (reset.key.stream_id, reset.code) == (50, ErrorCode.INTEGRITY)
    assert [opened.key.stream_id for opened in other.of(StreamOpened)] == [1]


def test_of_many_streams_that_are_changed_once_all_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamcell.protocol.receiving.table.STREAMS_OF_ORIGIN", 2)
    net, one, other = pair_over_a_tree()
    seen: set[int] = set()

    def tamper(frame: Frame) -> Frame | None:
        if not isinstance(frame, Chunk) or frame.key.stream_id in seen:
            return frame
        seen.add(frame.key.stream_id)
        return CHANGES["tag"](frame)

    net.tamper = tampering(tamper)
    sent = [one.send(OTHER, SMALL, sealed=True) for _ in range(6)]
    net.advance(60.0)
    assert all(one.finished(stream) for stream in sent)
    assert got(other) == [SMALL] * 6


FORGED: dict[str, Callable[[Chunk, int], Frame]] = {
    "complete": lambda chunk, life: Ack(
        chunk.key, OTHER, chunk.attempt, life, len(LARGE), len(LARGE), True, HOPS, None
    ),
    "ack": lambda chunk, life: Ack(chunk.key, OTHER, chunk.attempt, life, 10, 10, False, HOPS),
    "reset": lambda chunk, life: Reset(
        chunk.key, OTHER, chunk.attempt, True, ErrorCode.REJECTED, Fault.TARGET, "no", HOPS
    ),
    "unknown": lambda chunk, life: ResumeReply(chunk.key, OTHER, chunk.attempt, life + 1, True, 0, HOPS),
    "go on": lambda chunk, life: ResumeReply(chunk.key, OTHER, chunk.attempt, life, False, len(LARGE), HOPS),
    "other life": lambda chunk, life: Lost(chunk.key, OTHER, chunk.attempt, LostReason.OTHER_LIFE, OTHER, HOPS),
    "no session": lambda chunk, life: Lost(chunk.key, OTHER, chunk.attempt, LostReason.NO_SESSION, OTHER, HOPS),
}


@pytest.mark.parametrize("kind", [StreamKind.STREAM, StreamKind.BLOB])
@pytest.mark.parametrize("proof", [None, bytes(16)])
@pytest.mark.parametrize("what", FORGED)
def test_what_is_forged_in_the_name_of_the_target_does_nothing(
    kind: StreamKind, what: str, proof: bytes | None
) -> None:
    net, one, other = pair_over_a_tree()
    forged: list[Frame] = []

    def tamper(frame: Frame) -> Frame | None:
        if isinstance(frame, Chunk) and frame.seal is not None and not forged:
            made = FORGED[what](frame, other.incarnation)
            seal = None if proof is None else Seal(frame.seal.session_id, proof)
            forged.append(sealed_as(made, seal))
            receive(net, one, "left", forged[0])
        return frame

    net.tamper = tampering(tamper)
    stream = one.send(OTHER, LARGE, kind=kind, sealed=True)
    net.advance(60.0)
    assert forged
    assert one.finished(stream), one.outcomes(stream)
    assert got(other) == [LARGE]


def test_what_is_forged_in_the_name_of_the_origin_does_nothing() -> None:
    net, one, other = pair_over_a_tree()
    stream = one.stream(OTHER, LARGE, sealed=True)
    net.run_until(lambda: bool(other.data))
    key = one.key(stream)
    for frame in (
        Reset(key, OTHER, 1, False, ErrorCode.CANCELLED, Fault.ORIGIN, "no", HOPS),
        ResumeQuery(key, OTHER, 9, False, HOPS),
        Chunk(key, OTHER, 9, "c", "t", 0, 0, True, HOPS, 0, b""),
    ):
        receive(net, other, "right", frame)
    net.advance(60.0)
    assert one.finished(stream)
    assert got(other) == [LARGE]
    assert other.core.stats().frames_unproven == 3


def test_a_recorded_stream_is_not_taken_again() -> None:
    net, one, other = pair_over_a_tree()
    blob = one.send(OTHER, SMALL, sealed=True)
    net.run()
    assert one.finished(blob)
    recorded = net.sent("root", Chunk)
    for _ in range(3):
        receive(net, other, "right", *(dataclasses.replace(frame, hops_left=HOPS) for frame in recorded))
        net.advance(10.0)
    assert len(other.of(StreamOpened)) == 1


def test_a_recorded_stream_is_not_taken_by_another_life() -> None:
    net, one, _ = pair_over_a_tree()
    one.send(OTHER, SMALL, sealed=True)
    net.run()
    recorded = net.sent("root", Chunk)
    fresh = net.restart(OTHER)
    net.advance(30.0)
    receive(net, fresh, "right", *recorded)
    net.advance(10.0)
    assert fresh.of(StreamOpened) == []


def test_a_plain_reply_to_a_sealed_request_is_none() -> None:
    net, one, other = pair_over_a_tree()
    other.on_opened = lambda opened: None
    request = one.request(OTHER, b"abc", timeout_s=20.0, sealed=True)
    net.run()
    (opened,) = other.of(StreamOpened)
    reply = other.reply(opened, b"forged", sealed=False)
    net.run()
    assert other.error(reply).sentence == "nobody waits for this reply any more"
    assert one.replies(request) == []


def test_what_came_sealed_goes_on_sealed_only() -> None:
    net, one, other = pair_over_a_tree()
    fields = {"resume_id": "r", "source_stamp": b"s"}
    one.stream(OTHER, LARGE[: len(LARGE) // 2], end=False, sealed=True, **fields)
    net.run()
    fresh = net.restart(ONE)
    net.advance(30.0)
    plain = fresh.stream(OTHER, LARGE, **fields)
    net.advance(60.0)
    assert fresh.finished(plain)
    assert sorted(map(len, got(other))) == [len(LARGE) // 2, len(LARGE)]


def test_a_policy_wants_streams_to_be_sealed() -> None:
    net = Net()
    policy = ALL + "[[allow]]\nfrom = ['one']\nto = ['hub']\nsealed = 'required'\n"
    _, one = hub_and(net, policy, "one")
    plain, sealed = one.send("hub", SMALL), one.send("hub", SMALL, sealed=True)
    net.run()
    assert isinstance(one.error(plain), AuthenticationError)
    assert one.finished(sealed)


def test_a_prefix_is_compared_without_being_seen() -> None:
    net, one, other = pair_over_a_tree()
    other.proves = True

    def choose(opened: StreamOpened) -> int:
        other.had[opened.key] = LARGE[: len(LARGE) // 2]
        return len(LARGE) // 2

    other.choose = choose
    stream = one.stream(OTHER, LARGE, sealed=True, resume_id="r")
    net.run()
    assert one.finished(stream)
    told = [frame.prefix_digest for frame in net.sent(OTHER, ResumeReply) if frame.prefix_digest is not None]
    assert told
    assert all(digest.text.startswith("hidden:") for digest in told)


def test_many_streams_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamcell.protocol.sealing.border._AT_HAND", 2)
    net, one, other = pair_over_a_tree()
    sent = [one.stream(OTHER, LARGE, sealed=True) for _ in range(5)]
    net.run()
    assert all(one.finished(stream) for stream in sent)
    assert sorted(map(len, got(other))) == [len(LARGE)] * 5


def test_an_optional_stream_waits_for_its_session() -> None:
    net, one, other = pair_over_a_tree()
    blob = one.send(OTHER, SMALL, sealed=True, optional=True)
    net.run()
    assert one.finished(blob)
    assert got(other) == [SMALL]


def test_a_code_for_another_life_proves_nothing() -> None:
    net, one, other = pair_over_a_tree()
    net.tamper = tampering(
        lambda frame: dataclasses.replace(frame, target_incarnation=7) if isinstance(frame, Ack) else frame
    )
    one.stream(OTHER, LARGE, sealed=True)
    net.run()
    assert one.core.stats().frames_unproven > 0
    assert got(other)


def test_what_ended_is_said_under_the_session_that_is_asked_by() -> None:
    net, one, other = pair_over_a_tree()
    dropped: list[Ack] = []

    def tamper(frame: Frame) -> Frame | None:
        if isinstance(frame, Ack) and frame.complete and not dropped:
            dropped.append(frame)
            return None
        return frame

    net.tamper = tampering(tamper)
    blob = one.send(OTHER, SMALL, sealed=True)
    net.run()
    assert dropped
    for session in other.core.sealing.sessions():
        other.core.sealing.end(ONE, session.lives.session_id, net.now)
    net.advance(400.0)
    assert one.finished(blob)
