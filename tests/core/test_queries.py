"""Questions about the network: who is there, and by which hops a cell is reached."""

from __future__ import annotations

import pytest

from streamcell import limits
from streamcell.errors import ErrorCode, StreamTargetUnreachable
from streamcell.protocol.base.events import CellsListed, QueryFailed, QuestionsDropped, RouteTraced
from streamcell.protocol.wire.frames import CellInfo, Query, QueryReply
from streamcell.topology import ALL_CELLS, CellSelection, KnownCell, KnownCells
from tests.core.harness import Net, Node
from tests.core.trees import branches, receive, tree


def cells(net: Net, node: Node) -> dict[str, KnownCell]:
    number = node.core.ask_cells(ALL_CELLS, 5.0, net.now)
    net.run()
    (listed,) = [event for event in node.of(CellsListed) if event.query_id == number]
    return {cell.fqcn: cell for cell in listed.cells}


def hops(net: Net, node: Node, target: str) -> list[str]:
    number = node.core.ask_trace(target, 5.0, net.now)
    net.run()
    (traced,) = [event for event in node.of(RouteTraced) if event.query_id == number]
    return [hop.fqcn for hop in traced.hops]


def failure(net: Net, node: Node, number: int) -> BaseException:
    net.run()
    (failed,) = [event for event in node.of(QueryFailed) if event.query_id == number]
    return failed.error


@pytest.mark.parametrize("name", ["root", "left", "left-leaf"])
def test_every_cell_can_tell_which_cells_there_are(name: str) -> None:
    net = Net()
    nodes = branches(net)
    net.advance(7.0)
    known = cells(net, nodes[name])
    assert set(known) == set(nodes)
    assert {cell.incarnation for cell in known.values()} == {node.incarnation for node in nodes.values()}
    assert {cell.software for cell in known.values()} == {"test"}
    leaf = known["right-leaf"]
    assert leaf.address == "from-right-leaf"
    assert leaf.known_for_s == pytest.approx(7.0)
    assert known["root"].via == ("" if name == "root" else known["root"].via)


def test_a_large_tree_is_told_in_pieces() -> None:
    net = Net()
    names = {"root": ""} | {f"leaf-{number}": "root" for number in range(300)}
    nodes = tree(net, names)
    assert set(cells(net, nodes["leaf-7"])) == set(names)
    assert [reply.more for reply in net.sent("root", QueryReply)] == [True, False]


def page(net: Net, node: Node, selection: CellSelection) -> KnownCells:
    number = node.core.ask_cells(selection, 5.0, net.now)
    net.run()
    (listed,) = [event for event in node.of(CellsListed) if event.query_id == number]
    return listed.cells


def names_of(cells: KnownCells) -> list[str]:
    return [cell.fqcn for cell in cells]


@pytest.mark.parametrize("name", ["root", "left", "left-leaf"])
def test_cells_are_told_in_pages(name: str) -> None:
    net = Net()
    nodes = branches(net)
    seen: list[str] = []
    after = ""
    while True:
        cells = page(net, nodes[name], CellSelection(limit=2, after=after))
        assert cells.total == len(nodes)
        assert cells.told_by == "root"
        if not cells:
            break
        assert len(cells) <= 2
        seen += names_of(cells)
        after = seen[-1]
    assert seen == sorted(nodes)


@pytest.mark.parametrize("name", ["root", "left-leaf", "right"])
def test_cells_are_told_by_the_beginnings_of_their_names(name: str) -> None:
    net = Net()
    nodes = branches(net)
    left = page(net, nodes[name], CellSelection("left"))
    assert (names_of(left), left.total) == (["left", "left-leaf"], 2)
    some = page(net, nodes[name], CellSelection("right", 1))
    assert (names_of(some), some.total) == (["right"], 2)
    none = page(net, nodes[name], CellSelection("nobody"))
    assert (names_of(none), none.total) == ([], 0)


def test_what_is_not_asked_for_does_not_travel() -> None:
    net = Net()
    nodes = branches(net)
    page(net, nodes["left-leaf"], CellSelection("ri", 1))
    (reply,) = net.sent("root", QueryReply)
    assert [info.fqcn for info in reply.cells] == ["right"]
    assert (reply.more, reply.total) == (False, 2)


def test_an_older_cell_tells_all_and_the_asker_chooses() -> None:
    net = Net()
    nodes = branches(net)
    leaf = nodes["left-leaf"]
    net.mute.add("left")
    number = leaf.core.ask_cells(CellSelection("right", 1), 5.0, net.now)
    infos = tuple(CellInfo(name, 1) for name in ("root", "left", "right-leaf", "right"))
    leaf.core.receive(leaf.lane(), [QueryReply(number, "left-leaf", "root", infos, 1)], net.now)
    net.run()
    (listed,) = [event for event in leaf.of(CellsListed) if event.query_id == number]
    assert (names_of(listed.cells), listed.cells.total) == (["right"], 2)


@pytest.mark.parametrize("name", ["left", "left-leaf"])
def test_while_the_way_up_is_broken_the_cell_below_the_break_answers(name: str) -> None:
    net = Net()
    nodes = branches(net)
    net.kill("root")
    assert set(cells(net, nodes[name])) == {"root", "left", "left-leaf"}
    net.advance(40.0)
    assert set(cells(net, nodes[name])) == {"left", "left-leaf"}


def test_without_an_uplink_a_cell_tells_what_is_below_it() -> None:
    net = Net()
    nodes = branches(net)
    net.kill("root")
    net.advance(40.0)
    assert set(cells(net, nodes["left"])) == {"left", "left-leaf"}


def test_peers_are_told_by_their_peer() -> None:
    net = Net()
    nodes = branches(net)
    stranger = net.node("stranger")
    nodes["left-leaf"].connect_peer("stranger")
    net.run()
    assert "stranger" in cells(net, nodes["left-leaf"])
    assert "stranger" not in cells(net, nodes["root"])
    assert hops(net, nodes["left-leaf"], "stranger") == ["stranger"]
    # A peer that is asked tells what it knows itself.
    assert set(cells(net, stranger)) == {"stranger", "left-leaf"}


@pytest.mark.parametrize(
    ("origin", "target", "expected"),
    [
        ("left-leaf", "right-leaf", ["left", "root", "right", "right-leaf"]),
        ("left-leaf", "left", ["left"]),
        ("root", "left-leaf", ["left", "left-leaf"]),
        ("root", "root", []),
    ],
)
def test_each_hop_of_a_way_answers(origin: str, target: str, expected: list[str]) -> None:
    net = Net()
    nodes = branches(net)
    assert hops(net, nodes[origin], target) == expected


def test_round_trip_times_are_measured() -> None:
    net = Net()
    nodes = branches(net)
    number = nodes["left-leaf"].core.ask_trace("root", 5.0, net.now)
    while not nodes["left-leaf"].of(RouteTraced):
        net.now += 0.5
        net.step()
    (traced,) = nodes["left-leaf"].of(RouteTraced)
    assert traced.query_id == number
    times = [hop.round_trip_s for hop in traced.hops]
    assert 0 < times[0] < times[1]
    assert [hop.via for hop in traced.hops] == ["root", ""]


def test_a_way_that_ends_is_named() -> None:
    net = Net()
    nodes = branches(net)
    error = failure(net, nodes["left-leaf"], nodes["left-leaf"].core.ask_trace("nobody", 5.0, net.now))
    assert isinstance(error, StreamTargetUnreachable)
    assert "root knows no way" in str(error)
    lonely = net.node("lonely")
    error = failure(net, lonely, lonely.core.ask_trace("nobody", 5.0, net.now))
    assert isinstance(error, StreamTargetUnreachable)


def test_a_question_that_is_not_answered_in_time_fails() -> None:
    net = Net()
    nodes = branches(net)
    leaf = nodes["left-leaf"]
    net.mute.add("right-leaf")
    traced = leaf.core.ask_trace("right-leaf", 5.0, net.now)
    net.advance(6.0)
    error = failure(net, leaf, traced)
    assert getattr(error, "code", None) is ErrorCode.TIMEOUT
    assert "left and root and right answered" in str(error)
    net.mute.update(["root", "left"])
    for number in (leaf.core.ask_cells(ALL_CELLS, 2.0, net.now), leaf.core.ask_trace("root", 2.0, net.now)):
        net.advance(3.0)
        error = failure(net, leaf, number)
        assert getattr(error, "code", None) is ErrorCode.TIMEOUT
        assert "within 2 s" in str(error)


def test_a_way_that_goes_while_it_is_traced_is_not_found() -> None:
    net = Net()
    nodes = branches(net)
    leaf = nodes["left-leaf"]
    net.mute.add("left")
    number = leaf.core.ask_trace("root", 100.0, net.now)
    net.kill("left")
    net.advance(101.0)
    assert "nobody answered" in str(failure(net, leaf, number))


def test_questions_fail_when_the_cell_stops() -> None:
    net = Net()
    nodes = branches(net)
    net.mute.add("left")
    number = nodes["left-leaf"].core.ask_cells(ALL_CELLS, 5.0, net.now)
    nodes["left-leaf"].core.stop(net.now)
    assert getattr(failure(net, nodes["left-leaf"], number), "code", None) is ErrorCode.STOPPING


def test_frames_that_have_gone_too_far_go_no_further() -> None:
    net = Net()
    nodes = branches(net)
    left_lane = net.peers["left-leaf", nodes["left-leaf"].lane()][1]
    for frame in (
        Query(1, "left-leaf", "root", True, 0),
        Query(2, "left-leaf", "", False, 0),
        Query(3, "left-leaf", "root", False, 0),
        QueryReply(4, "root", "left-leaf", (), 0),
        QueryReply(5, "left", "left-leaf", (), 16),
    ):
        nodes["left"].core.receive(left_lane, [frame], net.now)
    net.run()
    assert [(reply.query_id, len(reply.cells)) for reply in net.sent("left", QueryReply)] == [(1, 1), (2, 3)]
    assert not net.sent("left", Query)


# Too many questions.


def questions(count: int, asker: str, subject: str = "") -> list[Query]:
    return [Query(number, asker, subject, True, 16) for number in range(count)]


def test_questions_beyond_what_one_cell_may_ask_are_dropped_and_told_of_once() -> None:
    net = Net()
    nodes = branches(net)
    receive(net, nodes["root"], "left", *questions(2 * limits.QUESTIONS_AT_ONCE, "left-leaf", "root"))
    net.run()
    assert len(net.sent("root", QueryReply)) == limits.QUESTIONS_AT_ONCE
    assert nodes["root"].of(QuestionsDropped) == [QuestionsDropped("left", "left-leaf")]
    # Others behind the same link are not concerned.
    receive(net, nodes["root"], "left", *questions(1, "left", "root"))
    net.advance(1.0)
    receive(net, nodes["root"], "left", *questions(100, "left-leaf", "root"))
    net.run()
    assert len(net.sent("root", QueryReply)) == limits.QUESTIONS_AT_ONCE + 1 + limits.QUESTIONS_PER_S
    assert len(nodes["root"].of(QuestionsDropped)) == 1


def test_all_behind_a_link_have_a_measure_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamcell.protocol.tree.askers.LINK_QUESTIONS_AT_ONCE", 10)
    net = Net()
    nodes = branches(net)
    for asker in ("left", "left-leaf"):
        receive(net, nodes["root"], "left", *questions(8, asker, "root"))
    net.run()
    assert len(net.sent("root", QueryReply)) == 10
    # A new link begins anew.
    net.restart("left")
    net.advance(5.0)
    receive(net, nodes["root"], "left", *questions(8, "left", "root"))
    net.run()
    assert len(net.sent("root", QueryReply)) == 18


def test_the_list_of_cells_is_made_once_a_second_when_many_ask() -> None:
    net = Net()
    nodes = branches(net)
    root = nodes["root"]
    receive(net, root, "left", *questions(limits.LISTINGS_AT_ONCE, "left"))
    net.run()
    net.node("late").connect("root")
    net.run()
    before = len(net.sent("root", QueryReply))
    receive(net, root, "left", *questions(1, "left"))
    net.advance(1.0)
    receive(net, root, "left", *questions(1, "left"))
    net.run()
    told = ["late" in {info.fqcn for info in reply.cells} for reply in net.sent("root", QueryReply)[before:]]
    assert told == [False, True]


def test_a_list_goes_out_only_where_there_is_room_for_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamcell.protocol.tree.queries.CELLS_TOLD", 1)
    monkeypatch.setattr("streamcell.protocol.links.outbox.ANSWERS", 12)
    net = Net()
    nodes = branches(net)
    net.stuck.update(("root", lane_id) for lane_id in net.lanes("root"))
    receive(net, nodes["root"], "left", *questions(3, "left"))
    net.stuck.clear()
    net.run()
    assert len(net.sent("root", QueryReply)) == 10


def test_lists_over_one_link_name_no_more_cells_than_are_worth_writing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamcell.protocol.tree.askers.CELLS_TOLD_AT_ONCE", 12)
    net = Net()
    nodes = branches(net)
    receive(net, nodes["root"], "left", *questions(3, "left"))
    net.run()
    assert len(net.sent("root", QueryReply)) == 2
    assert nodes["root"].of(QuestionsDropped) == [QuestionsDropped("left", "left")]
