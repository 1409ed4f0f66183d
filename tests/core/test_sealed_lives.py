"""Restarts that a cell on the way makes up, beside those that there are: keys prove which life is there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from streamcell.errors import AuthenticationError, StreamIntegrityError
from streamcell.limits import HANDSHAKES_S, HOPS, PAST_LIVES, SETTLED_UNTOLD
from streamcell.protocol.base.events import RequestEnded, StreamOpened
from streamcell.protocol.wire.frames import (
    Ack,
    Chunk,
    Frame,
    Handshake,
    Query,
    QueryReply,
    Reset,
    ResumeQuery,
    Seal,
    StreamKey,
)
from streamcell.protocol.wire.integrity import checksum_fields
from tests.core.harness import LARGE, SMALL, Net, Node, checksum
from tests.core.test_sealed_streams import ONE, OTHER, got, pair_over_a_tree, tampering
from tests.core.trees import branches, receive, tree

LIE = 7


def lying_about(fqcn: str) -> Callable[[str, Frame], Frame | None]:
    """Have the root say of a cell that another life of it is there."""

    def change(frame: Frame) -> Frame:
        if isinstance(frame, QueryReply) and frame.responder == fqcn:
            return dataclasses.replace(
                frame, cells=tuple(dataclasses.replace(cell, incarnation=LIE) for cell in frame.cells)
            )
        return frame

    return tampering(change)


def forged_ack(node: Node, stream: int) -> Ack:
    return Ack(node.key(stream), OTHER, 1, LIE, 1, 1, False, HOPS)


def forged_chunk(origin: str = ONE) -> Chunk:
    """A piece of a stream in plain of a life that there is not."""
    return Chunk(StreamKey(origin, LIE, 99), OTHER, 1, "c", "t", 0, 0, True, HOPS, 0, b"")


def test_a_restart_of_the_target_that_is_made_up_ends_no_request() -> None:
    net, one, other = pair_over_a_tree()
    other.on_opened = lambda opened: None
    request = one.request(OTHER, b"abc", timeout_s=200.0, sealed=True)
    net.run()
    net.tamper = lying_about(OTHER)
    for _ in range(5):
        receive(net, one, "left", forged_ack(one, request))
        net.advance(2.0)
    assert [frame for frame in net.sent(ONE, Query) if frame.subject == OTHER]
    assert one.of(RequestEnded) == []
    (opened,) = other.of(StreamOpened)
    other.reply(opened, b"ABC", sealed=True)
    net.advance(30.0)
    assert one.replies(request) == [b"ABC"]


def test_a_restart_of_the_origin_that_is_made_up_ends_no_stream() -> None:
    net, one, other = pair_over_a_tree()
    stream = one.stream(OTHER, LARGE, sealed=True)
    net.run_until(lambda: bool(other.data))
    net.tamper = lying_about(ONE)
    for _ in range(5):
        receive(net, other, "right", forged_chunk())
        net.advance(2.0)
    assert [frame for frame in net.sent(OTHER, Query) if frame.subject == ONE]
    assert one.finished(stream)
    assert got(other) == [LARGE]
    assert len(other.of(StreamOpened)) == 1


def test_what_is_made_up_of_a_cell_that_is_forgotten_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    net, one, other = pair_over_a_tree()
    one.send(OTHER, SMALL, sealed=True)
    net.run()
    monkeypatch.setattr("streamcell.protocol.tree.presence.LIVES", 0)
    receive(net, other, "right", forged_chunk("stranger"), forged_chunk())
    net.advance(1.0)
    assert other.core.sealing.proved_life(ONE) == one.incarnation
    assert len(other.of(StreamOpened)) == 1


def test_what_is_made_up_again_and_again_is_looked_into_once_a_second() -> None:
    net, one, other = pair_over_a_tree()
    one.send(OTHER, SMALL, sealed=True)
    net.advance(5.0)
    net.tamper = lying_about(ONE)
    for _ in range(100):
        receive(net, other, "right", forged_chunk())
        net.advance(0.05)
    begun = [frame for frame in net.sent(OTHER, Handshake) if frame.number == 0]
    assert 1 <= len(begun) <= 6


def test_a_stream_under_way_stays_when_no_later_session_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    net, one, other = pair_over_a_tree()
    stream = one.stream(OTHER, LARGE[:10], end=False, size=len(LARGE), sealed=True)
    net.run()
    monkeypatch.setattr("streamcell.protocol.sealing.table.SESSION_S", 0.5)
    net.advance(1.0)
    net.tamper = tampering(lambda frame: None if isinstance(frame, Handshake) else frame)
    blob = one.send(OTHER, SMALL, sealed=True)
    net.advance(2 * HANDSHAKES_S)
    assert isinstance(one.error(blob), AuthenticationError)
    assert one.outcomes(stream) == []
    net.tamper = None
    one.supply(stream, LARGE[10:], end=True)
    net.run()
    assert got(other) == [LARGE]


def test_a_word_under_a_session_that_is_not_known_does_nothing() -> None:
    net, one, _ = pair_over_a_tree()
    stream = one.stream(OTHER, LARGE, sealed=True)
    receive(net, one, "left", dataclasses.replace(forged_ack(one, stream), seal=Seal(bytes(16), bytes(16))))
    assert one.core.stats().frames_unproven == 1
    net.run()
    assert one.finished(stream)


def test_a_restart_counts_when_the_new_life_has_proved_itself() -> None:
    net, one, other = pair_over_a_tree()
    other.on_opened = lambda opened: None
    request = one.request(OTHER, b"abc", timeout_s=200.0, sealed=True)
    net.run()
    fresh = net.restart(OTHER)
    net.advance(30.0)
    blob = one.send(OTHER, SMALL, sealed=True)
    net.advance(30.0)
    assert one.finished(blob)
    assert one.core.sealing.proved_life(OTHER) == fresh.incarnation
    (ended,) = one.of(RequestEnded)
    assert ended.stream_id == request


def test_a_new_life_that_cannot_seal_is_believed_when_it_has_said_so() -> None:
    net = Net()
    nodes = tree(net, {"root": "", "leaf": "root"})
    sealed = nodes["leaf"].send("root", SMALL, sealed=True)
    net.advance(5.0)
    assert nodes["leaf"].finished(sealed)
    fresh = net.restart("leaf")
    fresh.core.sealing.seals = False
    net.advance(5.0)
    plain = fresh.send("root", SMALL)
    net.advance(HANDSHAKES_S)
    assert fresh.finished(plain)
    assert nodes["root"].core.sealing.sessions() == []


def test_the_last_part_of_a_handshake_of_an_earlier_life_proves_nothing() -> None:
    net = Net()
    nodes = branches(net)
    held: list[Handshake] = []

    def hold(frame: Frame) -> Frame | None:
        if isinstance(frame, Handshake) and frame.number == 2 and not held:
            held.append(frame)
            return None
        return frame

    net.tamper = tampering(hold)
    nodes[ONE].core.sealing.want(OTHER, net.now)
    net.run_until(lambda: bool(held))
    fresh = net.restart(ONE)
    net.advance(1.0)
    blob = fresh.send(OTHER, SMALL, sealed=True)
    net.run()
    assert fresh.finished(blob)
    other = nodes[OTHER]
    receive(net, other, "right", dataclasses.replace(held[0], hops_left=HOPS))
    net.run()
    assert other.core.sealing.proved_life(ONE) == fresh.incarnation
    assert other.core.stats().handshakes_failed == 1
    blob = other.send(ONE, SMALL, sealed=True)
    net.run()
    assert other.finished(blob)


def plain_chunk(node: Node, net: Net, stream_id: int, settled_below: int) -> Chunk:
    """Return what anybody on the way could make up: an empty blob of a cell in plain, and news of what is settled."""
    opened = [chunk for chunk in net.sent(node.fqcn, Chunk) if chunk.open is not None and chunk.seal is None]
    first = opened[-1]
    assert first.open is not None
    key, opening = node.key(stream_id), dataclasses.replace(first.open, settled_below=settled_below)
    fields = checksum_fields(key, first.attempt, first.sequence, first.offset, last=first.last)
    total = checksum(fields, checksum(first.payload, 0))
    return dataclasses.replace(first, key=key, open=opening, checksum=total)


def test_news_in_plain_settle_no_sealed_stream() -> None:
    net, one, other = pair_over_a_tree()
    one.send(OTHER, b"", sealed=False)
    stream = one.stream(OTHER, LARGE, sealed=True)
    net.run_until(lambda: any(other.data.values()))
    receive(net, other, "right", plain_chunk(one, net, 50, settled_below=60))
    net.run()
    assert one.finished(stream)
    later = one.stream(OTHER, LARGE, sealed=True)
    net.run()
    assert one.finished(later)
    assert got(other).count(LARGE) == 2


def test_a_stream_in_plain_with_the_id_of_a_sealed_one_does_nothing() -> None:
    net, one, other = pair_over_a_tree()
    one.send(OTHER, b"")
    stream = one.stream(OTHER, LARGE, sealed=True)
    net.run_until(lambda: any(other.data.values()))
    for _ in range(2):
        # While it goes on, and when it is over.
        receive(net, other, "right", plain_chunk(one, net, stream, settled_below=0))
        net.run()
    assert one.finished(stream)
    assert len(other.of(StreamOpened)) == 2
    assert other.core.stats().frames_unproven == 2


@pytest.mark.parametrize("ended", [False, True])
def test_a_stream_in_plain_that_has_the_id_first_ends_both(ended: bool) -> None:
    net, one, other = pair_over_a_tree()
    one.send(OTHER, b"")
    net.run()
    if not ended:
        other.on_opened = lambda opened: None
    receive(net, other, "right", plain_chunk(one, net, 2, settled_below=0))
    net.run()
    stream = one.stream(OTHER, LARGE, sealed=True)
    assert stream == 2
    net.run()
    assert isinstance(one.error(stream), StreamIntegrityError)
    assert LARGE not in got(other)
    if not ended:
        assert isinstance(other.receive_error(one.key(stream)), StreamIntegrityError)


def test_who_has_lost_the_word_that_an_id_was_taken_is_told_again() -> None:
    net, one, other = pair_over_a_tree()
    one.send(OTHER, b"")
    net.run()
    receive(net, other, "right", plain_chunk(one, net, 2, settled_below=0))
    net.run()
    lost: list[Frame] = []

    def lose(frame: Frame) -> Frame | None:
        if isinstance(frame, Reset) and not lost:
            lost.append(frame)
            return None
        return frame

    net.tamper = tampering(lose)
    stream = one.stream(OTHER, LARGE, sealed=True)
    net.advance(400.0)
    assert lost
    assert isinstance(one.error(stream), StreamIntegrityError)


def test_a_sealed_stream_that_is_given_up_ends_one_in_plain_with_its_id() -> None:
    net, one, other = pair_over_a_tree()
    one.send(OTHER, b"")
    net.run()
    other.on_opened = lambda opened: None
    receive(net, other, "right", plain_chunk(one, net, 2, settled_below=0))
    net.tamper = tampering(lambda frame: None if isinstance(frame, Chunk | ResumeQuery) else frame)
    stream = one.stream(OTHER, LARGE, sealed=True)
    net.run()
    one.core.cancel_send(stream, "enough", net.now)
    net.run()
    assert isinstance(other.receive_error(one.key(stream)), StreamIntegrityError)


def test_a_sealed_stream_of_which_the_seal_was_taken_away_costs_an_attempt() -> None:
    net, one, other = pair_over_a_tree()
    seen: list[Chunk] = []

    def strip(frame: Frame) -> Frame:
        if isinstance(frame, Chunk) and frame.open is not None and not seen:
            seen.append(frame)
            return dataclasses.replace(frame, seal=None)
        return frame

    net.tamper = tampering(strip)
    stream = one.stream(OTHER, LARGE, sealed=True)
    net.run()
    assert one.finished(stream)
    assert got(other) == [LARGE]
    assert len(other.of(StreamOpened)) == 1


def test_what_is_settled_is_told_under_the_seal_too() -> None:
    net, one, other = pair_over_a_tree()
    for _ in range(SETTLED_UNTOLD + 1):
        one.send(OTHER, b"", sealed=True)
        net.run()
    assert [frame for frame in net.sent(ONE, ResumeQuery) if frame.settled_below > 1 and frame.seal is not None]
    recorded = [chunk for chunk in net.sent("root", Chunk) if chunk.key == one.key(1)]
    receive(net, other, "right", *(dataclasses.replace(chunk, hops_left=HOPS) for chunk in recorded))
    net.run()
    assert len(other.of(StreamOpened)) == SETTLED_UNTOLD + 1


def test_what_was_sealed_is_remembered_as_long_as_it_can_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamcell.protocol.receiving.table._BEGUN_LIVES", 1)
    monkeypatch.setattr("streamcell.protocol.receiving.table.PAST_LIVES", 0)
    monkeypatch.setattr("streamcell.protocol.receiving.lives.PAST_LIVES", 0)
    assert PAST_LIVES > 0
    net, one, other = pair_over_a_tree()
    one.send(OTHER, SMALL, sealed=True)
    net.run()
    recorded = net.sent("root", Chunk)
    net.kill(ONE)
    net.advance(1.0)
    net.nodes["left"].send(OTHER, SMALL)
    net.run()
    receive(net, other, "right", *(dataclasses.replace(chunk, hops_left=HOPS) for chunk in recorded))
    net.run()
    assert len(other.of(StreamOpened)) == 2
