"""Frames about a stream count only from its ends, and from the hops of its way: nobody speaks of others' streams."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from streamcell.errors import ErrorCode, Fault
from streamcell.limits import HOPS
from streamcell.protocol.base.events import FrameRefused, RequestEnded, SendProgressed
from streamcell.protocol.wire.description import StreamKind
from streamcell.protocol.wire.frames import (
    Ack,
    Announce,
    Chunk,
    Credit,
    Goodbye,
    Lost,
    LostReason,
    Ping,
    Pong,
    Reset,
    ResumeQuery,
    ResumeReply,
    StreamKey,
)
from tests.core.by_hand import chunk, greet, hello
from tests.core.harness import LARGE, SMALL, Net, Node, make_open, sending_states
from tests.core.trees import receive, tree

MOST = 2**32 - 1
FAR = 2**64 - 1
Word = Ack | Lost | Reset | ResumeReply
Lie = Callable[[StreamKey, Node, int], Word]

# What somebody says of a stream whose target he is not, as its target would, or as a hop on its way.
LIES: dict[str, Lie] = {
    "ack": lambda key, liar, attempt: Ack(
        key, liar.fqcn, attempt, liar.incarnation, len(SMALL), len(SMALL), False, HOPS
    ),
    "complete": lambda key, liar, attempt: Ack(
        key, liar.fqcn, attempt, liar.incarnation, len(LARGE), len(LARGE), True, HOPS
    ),
    "reset": lambda key, liar, attempt: Reset(
        key, liar.fqcn, attempt, True, ErrorCode.REJECTED, Fault.TARGET, "a lie", HOPS
    ),
    "unknown": lambda key, liar, attempt: ResumeReply(key, liar.fqcn, attempt, liar.incarnation, True, 0, HOPS),
    "offset": lambda key, liar, attempt: ResumeReply(key, liar.fqcn, attempt, liar.incarnation, False, FAR, HOPS),
    "lost, as if the stream were the liar's": lambda key, liar, attempt: Lost(
        key, liar.fqcn, attempt, LostReason.OTHER_LIFE, liar.fqcn, HOPS
    ),
    "lost": lambda key, liar, attempt: Lost(key, "target", attempt, LostReason.NO_ROUTE, liar.fqcn, HOPS),
}
ATTEMPTS = (1, 2, 7, MOST)


def frozen_target(net: Net, parents: dict[str, str]) -> dict[str, Node]:
    """Let the cells of a tree connect, and have the cell ``target`` hear and say nothing from then on."""
    nodes = tree(net, parents)
    for lane_id in net.lanes("target"):
        end = ("target", lane_id)
        net.stuck.add(end)
        net.hold.update((end, net.peers[end]))
    return nodes


def thaw(net: Net) -> None:
    net.stuck.clear()
    net.hold.clear()
    net.run()


def attempt_of(origin: Node) -> int:
    """Return the attempt that the only stream of a cell is in."""
    ((_, attempt),) = sending_states(origin)
    return attempt


def refusals(node: Node) -> list[FrameRefused]:
    return [event for event in node.of(FrameRefused) if not event.early]


# Where the liar sits, who passes on or takes in what it says, and by which neighbour that comes there.
PLACES: dict[str, tuple[dict[str, str], str, str]] = {
    "beside both ends, below a relay": (
        {"hub": "", "origin": "hub", "target": "hub", "liar": "hub"},
        "hub",
        "liar",
    ),
    "beside the target, below the origin": ({"origin": "", "target": "origin", "liar": "origin"}, "origin", "liar"),
    "above both ends": (
        {"liar": "", "hub": "liar", "origin": "hub", "target": "hub"},
        "hub",
        "liar",
    ),
    "in another branch": (
        {"root": "", "left": "root", "origin": "left", "target": "left", "right": "root", "liar": "right"},
        "right",
        "liar",
    ),
}


@pytest.mark.parametrize("kind", [StreamKind.STREAM, StreamKind.BLOB, StreamKind.REQUEST])
@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("place", PLACES)
def test_nobody_else_can_speak_of_a_stream(place: str, lie: str, kind: StreamKind) -> None:
    parents, hearer, liar = PLACES[place]
    net = Net()
    nodes = frozen_target(net, parents)
    origin = nodes["origin"]
    stream_id = origin.send("target", LARGE, kind=kind, optional=False)
    net.run()
    before = sending_states(origin)
    for attempt in ATTEMPTS:
        receive(net, nodes[hearer], liar, LIES[lie](origin.key(stream_id), nodes["liar"], attempt))
        net.run()
    assert sending_states(origin) == before
    assert origin.of(SendProgressed) == []
    assert origin.outcomes(stream_id) == []
    thaw(net)
    assert origin.finished(stream_id)
    assert nodes["target"].got(origin.key(stream_id)) == LARGE
    assert origin.core.stats().bytes_retransmitted == 0


@pytest.mark.parametrize("place", PLACES)
def test_nothing_is_delivered_because_a_liar_says_so(place: str) -> None:
    """All was sent, and nothing has come."""
    parents, hearer, liar = PLACES[place]
    net = Net()
    nodes = frozen_target(net, parents)
    origin = nodes["origin"]
    stream_id = origin.stream("target", SMALL, optional=False)
    net.run()
    key, life = origin.key(stream_id), nodes["liar"].incarnation
    for attempt in ATTEMPTS:
        complete = Ack(key, "liar", attempt, life, len(SMALL), len(SMALL), True, HOPS)
        receive(net, nodes[hearer], liar, complete, dataclasses.replace(complete, target="target"))
        net.run()
    assert origin.outcomes(stream_id) == []
    thaw(net)
    assert origin.finished(stream_id)
    assert nodes["target"].got(key) == SMALL


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_refused_where_the_stream_is_known_counted_and_told_once(lie: str) -> None:
    net = Net()
    nodes = frozen_target(net, {"hub": "", "origin": "hub", "target": "hub", "liar": "hub"})
    origin, hub = nodes["origin"], nodes["hub"]
    key = origin.key(origin.send("target", LARGE))
    net.run()
    for _ in range(3):
        receive(net, hub, "liar", LIES[lie](key, nodes["liar"], attempt_of(origin)))
    net.run()
    assert hub.core.stats().frames_refused == 3
    assert refusals(hub) == [FrameRefused("liar", "liar", False, key)]
    assert origin.core.stats().frames_refused == 0
    assert origin.of(FrameRefused) == []


def test_what_no_relay_knows_is_refused_by_the_origin() -> None:
    """The relay was restarted, or the liar guesses what the next streams will be called."""
    net = Net()
    nodes = frozen_target(net, {"hub": "", "origin": "hub", "target": "hub", "liar": "hub"})
    origin, hub = nodes["origin"], nodes["hub"]
    stuck = ("origin", origin.lane())
    net.stuck.add(stuck)
    key = origin.key(origin.send("target", LARGE))
    net.run()
    before = sending_states(origin)
    for lie in LIES.values():
        receive(net, hub, "liar", lie(key, nodes["liar"], attempt_of(origin)))
    net.run()
    assert sending_states(origin) == before
    # That a hop of a stream has lost something was not even passed on by the one that knows nothing of it.
    assert origin.core.stats().frames_refused == len(LIES) - 1
    assert refusals(origin) == [FrameRefused("hub", "liar", False, key)]
    thaw(net)
    assert origin.finished(key.stream_id)


@pytest.mark.parametrize("name", ["target", "origin", "nobody", "hub"])
def test_nobody_speaks_in_the_name_of_another(name: str) -> None:
    net = Net()
    nodes = frozen_target(net, {"hub": "", "origin": "hub", "target": "hub", "liar": "hub"})
    origin, hub = nodes["origin"], nodes["hub"]
    key = origin.key(origin.send("target", LARGE))
    net.run()
    before = sending_states(origin)
    life = nodes[name].incarnation if name in nodes else 1
    for lie in LIES.values():
        word = dataclasses.replace(lie(key, nodes["liar"], attempt_of(origin)), target=name)
        if isinstance(word, Lost):
            word = dataclasses.replace(word, reporter=name)
        elif not isinstance(word, Reset):
            word = dataclasses.replace(word, target_incarnation=life)
        receive(net, hub, "liar", word)
    net.run()
    assert sending_states(origin) == before
    assert origin.outcomes(key.stream_id) == []
    assert hub.core.stats().frames_refused == len(LIES)
    thaw(net)
    assert nodes["target"].got(key) == LARGE


def test_an_origin_is_spoken_for_by_nobody_else() -> None:
    """Neither by a sibling, nor by the parent of both, nor over a peer link."""
    net = Net()
    nodes = tree(net, {"hub": "", "origin": "hub", "target": "hub", "liar": "hub"})
    nodes["liar"].connect_peer("target")
    net.run()
    origin, target = nodes["origin"], nodes["target"]
    stream_id = origin.stream("target", None)
    origin.supply(stream_id, SMALL)
    net.run()
    key = origin.key(stream_id)
    later = key._replace(stream_id=stream_id + 1)
    frames = (
        dataclasses.replace(chunk(key, b"forged", offset=len(SMALL), last=True), target="target"),
        dataclasses.replace(chunk(later, b"forged", last=True, opening=make_open(StreamKind.BLOB)), target="target"),
        ResumeQuery(key, "target", MOST, False, HOPS),
        ResumeQuery(later, "target", MOST, False, HOPS),
        Reset(key, "target", 1, False, ErrorCode.CANCELLED, Fault.ORIGIN, "forged", HOPS),
        Reset(later, "target", 1, False, ErrorCode.CANCELLED, Fault.ORIGIN, "forged", HOPS),
    )
    receive(net, nodes["hub"], "liar", *frames)
    receive(net, target, "liar", *frames)
    net.run()
    assert nodes["hub"].core.stats().frames_refused == len(frames)
    assert target.core.stats().frames_refused == len(frames)
    origin.supply(stream_id, SMALL, end=True)
    blob = origin.send("target", LARGE)
    net.run()
    assert origin.finished(stream_id)
    assert target.got(key) == SMALL + SMALL
    assert blob == later.stream_id
    assert target.got(later) == LARGE


def test_a_peer_link_carries_no_word_about_what_goes_another_way() -> None:
    net = Net()
    nodes = frozen_target(net, {"hub": "", "origin": "hub", "target": "hub", "liar": "hub"})
    origin = nodes["origin"]
    nodes["liar"].connect_peer("origin")
    net.run()
    key = origin.key(origin.send("target", LARGE, optional=False))
    net.run()
    before = sending_states(origin)
    for lie in LIES.values():
        receive(net, origin, "liar", lie(key, nodes["liar"], attempt_of(origin)))
    receive(net, origin, "liar", Credit(key, "target", attempt_of(origin), FAR))
    net.run()
    assert sending_states(origin) == before
    assert origin.core.stats().frames_refused == len(LIES)
    thaw(net)
    assert origin.finished(key.stream_id)


# A loss.


def test_a_loss_counts_from_the_next_hop_and_from_the_target_itself() -> None:
    net = Net()
    nodes = tree(net, {"origin": "", "relay": "origin", "target": "relay"})
    origin = nodes["origin"]
    key = origin.key(origin.stream("target", None))
    net.run()
    for attempt, reporter in ((1, "relay"), (2, "target")):
        lost = Lost(key, "target", attempt, LostReason.LANE_LOST, reporter, HOPS)
        receive(net, origin, "relay", lost, lost)
        net.run()
        assert attempt_of(origin) == attempt + 1
    # What is late is of an attempt that is over, and no lie.
    receive(net, origin, "relay", Lost(key, "target", 1, LostReason.LANE_LOST, "relay", HOPS))
    net.run()
    assert attempt_of(origin) == 3
    assert origin.core.stats().frames_refused == 0
    receive(net, origin, "relay", Lost(key, "target", MOST, LostReason.LANE_LOST, "relay", HOPS))
    assert origin.core.stats().frames_refused == 1


def test_a_loss_that_comes_when_there_is_no_way_is_no_lie() -> None:
    net = Net()
    nodes = tree(net, {"origin": "", "relay": "origin"})
    origin = nodes["origin"]
    key = origin.key(origin.stream("nobody", None))
    net.run()
    receive(net, origin, "relay", Lost(key, "nobody", 1, LostReason.NO_ROUTE, "relay", HOPS))
    assert origin.core.stats().frames_refused == 0
    assert attempt_of(origin) == 1


def test_a_relay_believes_in_a_loss_from_the_next_hop_and_from_the_target() -> None:
    net = Net()
    nodes = frozen_target(net, {"origin": "", "hub": "origin", "relay": "hub", "target": "relay", "liar": "hub"})
    origin, hub = nodes["origin"], nodes["hub"]
    key = origin.key(origin.stream("target", LARGE))
    net.run()
    lost = Lost(key, "target", 1, LostReason.LANE_LOST, "liar", HOPS)
    receive(net, hub, "liar", lost)
    # It never goes back where it came from.
    receive(net, hub, "origin", dataclasses.replace(lost, reporter="origin"))
    receive(net, hub, "liar", dataclasses.replace(lost, attempt=MOST))
    net.run()
    assert attempt_of(origin) == 1
    assert hub.core.stats().frames_refused == 2
    for attempt, reporter in ((1, "relay"), (2, "target")):
        # Said twice it is passed on once; what is late, never.
        receive(net, hub, "relay", *[dataclasses.replace(lost, attempt=attempt, reporter=reporter)] * 2)
        receive(net, hub, "relay", dataclasses.replace(lost, attempt=attempt - 1, reporter=reporter))
        # The second time in a row the origin rests before it asks again.
        net.advance(1.0)
        assert attempt_of(origin) == attempt + 1
    assert [word.attempt for word in net.sent("hub", Lost) if word.reporter != "hub"] == [1, 2]
    assert hub.core.stats().frames_refused == 2


def test_a_loss_of_a_stream_that_a_relay_knows_is_kept_until_it_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("ANSWERS", "WORDS"):
        monkeypatch.setattr(f"streamcell.protocol.links.outbox.{limit}", 3)
    net = Net()
    nodes = frozen_target(net, {"origin": "", "hub": "origin", "relay": "hub", "target": "relay"})
    origin, hub = nodes["origin"], nodes["hub"]
    keys = [origin.key(origin.stream("target", None)) for _ in range(20)]
    net.run()
    net.stuck.update(("hub", lane_id) for lane_id in net.lanes("hub"))
    # Others have filled what waits for the lane.
    receive(net, hub, "relay", *[Ack(key, "relay", 1, 1, 0, 0, False, HOPS) for key in keys])
    half = len(keys) // 2
    receive(net, hub, "relay", *[Lost(key, "target", 1, LostReason.LANE_LOST, "relay", HOPS) for key in keys[:half]])
    hub_lanes = [lane_id for lane_id in net.lanes("hub") if net.peers["hub", lane_id][0] == "relay"]
    for lane_id in hub_lanes:
        net.cut("hub", lane_id)
    net.stuck.clear()
    net.run()
    lost = [(word.key, word.reporter) for word in net.sent("hub", Lost) if word.attempt == 1]
    assert sorted(key for key, _ in lost) == sorted(keys)
    assert {reporter for _, reporter in lost} == {"relay", "hub"}


# What the true target, or the true origin, may not say.


def test_who_confirms_more_than_was_sent_or_less_than_it_says_is_not_believed() -> None:
    net = Net()
    origin, target = net.pair()[1], net.nodes["server"]
    origin.on_seek = None
    stuck = {("server", lane_id) for lane_id in net.lanes("server")}
    net.stuck.update(stuck)
    blob = origin.send("server", LARGE)
    net.run()
    key = origin.key(blob)
    size = len(LARGE)
    for received, consumed in ((FAR, size), (size + 1, size), (FAR, FAR), (size, size - 1), (0, 0)):
        receive(net, origin, "server", Ack(key, "server", 1, target.incarnation, received, consumed, True, HOPS))
        net.run()
    assert origin.outcomes(blob) == []
    assert origin.of(SendProgressed) == []
    # Nor is what it says has come, but was only given by the source.
    receive(net, origin, "server", Ack(key, "server", 1, target.incarnation, size, size, False, HOPS))
    net.run()
    error = origin.error(blob)
    assert (error.code, error.fault) == (ErrorCode.PROTOCOL, Fault.TARGET)


@pytest.mark.parametrize("hops", [0, 1, HOPS, 2**32 - 1])
def test_no_frame_takes_more_hops_than_any_may(hops: int) -> None:
    net = Net()
    nodes = tree(net, {"hub": "", "origin": "hub", "target": "hub"})
    key = nodes["origin"].key(99)
    reset = Reset(key, "target", 1, False, ErrorCode.CANCELLED, Fault.ORIGIN, "no more", hops)
    query = ResumeQuery(key, "target", 1, True, hops)
    opened = dataclasses.replace(chunk(key, opening=make_open(StreamKind.STREAM)), target="target", hops_left=hops)
    for frame in (opened, query, reset):
        receive(net, nodes["hub"], "origin", frame)
        net.run()
    kinds = type(opened) | ResumeQuery | Reset
    passed = [word.hops_left for name, _, word in net.carried if name == "hub" and isinstance(word, kinds)]
    assert passed == ([min(hops, HOPS) - 1] * 3 if hops else [])


def test_offsets_at_the_end_of_all_numbers_go_no_further() -> None:
    """Nothing is passed on, or granted, that no frame can hold."""
    net = Net()
    nodes = frozen_target(net, {"hub": "", "liar": "hub", "target": "hub"})
    hub, key = nodes["hub"], nodes["liar"].key(99)
    opened = dataclasses.replace(
        chunk(key, bytes(1000), offset=FAR - 10, opening=make_open(StreamKind.STREAM)), target="target"
    )
    receive(net, hub, "liar", opened)
    net.run()
    receive(net, hub, "target", Credit(key, "target", 1, FAR))
    net.run()
    receive(net, hub, "liar", dataclasses.replace(opened, sequence=1, offset=FAR, open=None, payload=bytes(100)))
    net.run()
    said = [word.offset for word in net.sent("hub", Credit)] + [word.offset for word in net.sent("hub", Chunk)]
    assert FAR in said
    assert max(said) == FAR
    thaw(net)
    assert nodes["target"].core.stats().receives == ()
    assert [word.reason for word in net.sent("target", Lost)] == [LostReason.UNKNOWN_HERE] * 2


def test_a_stream_has_one_target_whatever_its_origin_says() -> None:
    net = Net()
    nodes = frozen_target(net, {"hub": "", "liar": "hub", "target": "hub", "other": "hub"})
    liar, hub = nodes["liar"], nodes["hub"]
    key = liar.key(liar.stream("target", None))
    net.run()
    for attempt in ATTEMPTS:
        receive(
            net,
            hub,
            "liar",
            ResumeQuery(key, "other", attempt, False, HOPS),
            Reset(key, "other", attempt, False, ErrorCode.CANCELLED, Fault.ORIGIN, "another", HOPS),
        )
    net.run()
    assert nodes["other"].core.stats().receives == ()
    assert [stream.target for stream in hub.core.stats().relays] == ["target"]
    assert hub.core.stats().frames_refused == 2 * len(ATTEMPTS)


# Names that are not accepted.


def claim(net: Net, hub: Node, victim: Node) -> int:
    """Have a stranger greet a hub with the name and the life of a cell elsewhere, and say nothing more of itself."""
    lane_id, _ = greet(net, hub, hello(victim.fqcn, incarnation=victim.incarnation, capabilities=("routes",)))
    return lane_id


def test_who_only_says_hello_in_the_name_of_a_cell_settles_none_of_its_streams() -> None:
    net = Net()
    nodes = tree(net, {"root": "", "hub": "root", "victim": "root"})
    hub, victim = nodes["hub"], nodes["victim"]
    stream_id = victim.stream("hub", None)
    victim.supply(stream_id, SMALL)
    request = hub.request("victim", SMALL)
    net.run()
    lane_id = claim(net, hub, victim)
    lost = Lost(victim.key(stream_id), "hub", 1, LostReason.LANE_LOST, "victim", HOPS)
    hub.core.receive(
        lane_id, [lost, Ping(1, settled_below=99), Goodbye(ErrorCode.STOPPING, "the victim stops")], net.now
    )
    net.run()
    victim.supply(stream_id, SMALL, end=True)
    net.run()
    assert hub.got(victim.key(stream_id)) == SMALL + SMALL
    assert hub.of(RequestEnded) == []
    assert hub.core.stats().sends == ()
    assert request not in [event.stream_id for event in hub.of(RequestEnded)]


@pytest.mark.parametrize("life", [0, 1], ids=["its own life", "another life"])
def test_who_only_announces_a_cell_says_nothing_of_its_life(life: int) -> None:
    """While the cells above are asked whether the name is free. Else each stream would be sent to that life first."""
    net = Net()
    nodes = tree(net, {"root": "", "hub": "root", "liar": "hub", "target": "root"})
    hub, target = nodes["hub"], nodes["target"]
    before = hub.send("target", SMALL)
    net.run()
    root_end = net.peers["hub", hub.lane()]
    announced = Announce("target", target.incarnation + life, 2, ("target", "liar"))
    net.hold.add(root_end)
    receive(net, hub, "liar", announced)
    stream_id = hub.stream("target", SMALL)
    net.run()
    net.hold.clear()
    net.run()
    assert hub.finished(before)
    assert hub.finished(stream_id)
    assert hub.core.stats().resumes == 0


def test_who_only_says_hello_in_the_name_of_a_cell_is_told_of_no_loss() -> None:
    """What it says has been lost of others' streams is dropped, as all that it says before its name is accepted."""
    net = Net()
    nodes = frozen_target(net, {"root": "", "hub": "root", "origin": "hub", "target": "root"})
    origin, hub = nodes["origin"], nodes["hub"]
    key = origin.key(origin.stream("target", LARGE))
    net.run()
    lane_id = claim(net, hub, nodes["target"])
    lost = Lost(key, "target", 1, LostReason.LANE_LOST, "target", HOPS)
    hub.core.receive(lane_id, [lost], net.now)
    net.run()
    assert attempt_of(origin) == 1
    thaw(net)
    assert origin.finished(key.stream_id)


# Questions without end.


def test_who_asks_and_does_not_read_the_answers_is_cut_off() -> None:
    net = Net()
    server, client = net.pair()
    lane_id = net.peers["client", client.lane()][1]
    server.core.receive(lane_id, [Ping(number) for number in range(1024)], net.now)
    net.run()
    assert len(net.sent("server", Pong)) == 1024
    server.core.receive(lane_id, [Ping(number) for number in range(1025)], net.now)
    net.run()
    (goodbye,) = net.sent("server", Goodbye)
    assert (goodbye.code, "1024 Pings" in goodbye.sentence) == (ErrorCode.LIMIT, True)
    # After the longest back-off it comes again.
    net.advance(90.0)
    assert client.core.is_cell_connected("server")


def test_answers_that_nobody_reads_are_dropped_and_the_stream_goes_on() -> None:
    net = Net()
    server, client = net.pair()
    lane_id = net.peers["client", client.lane()][1]
    net.stuck.add(("server", lane_id))
    questions = [ResumeQuery(client.key(1000 + number), "server", 1, False, HOPS) for number in range(5000)]
    server.core.receive(lane_id, questions, net.now)
    stream_id = client.send("server", LARGE)
    net.run()
    net.stuck.clear()
    net.run()
    assert len(net.sent("server", ResumeReply)) == 1024
    assert client.finished(stream_id)
