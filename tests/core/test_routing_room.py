"""How many names a cell keeps a way to, and what becomes of those beyond."""

from __future__ import annotations

import pytest

from streamcell.errors import ErrorCode
from streamcell.protocol.wire.frames import Announce, AnnounceReply, Withdraw
from tests.core.harness import Net
from tests.core.trees import branches, hear, minimal, routes, tree


def test_a_cell_keeps_a_way_to_so_many_cells_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamcell.protocol.tree.announcements.ROUTES", 2)
    net = Net()
    nodes = tree(net, {"root": "", "a": "root", "b": "root"})
    minimal(net, nodes["root"], "c")
    assert routes(nodes["root"]) == {"a": "a", "b": "b"}
    assert not nodes["root"].core.is_cell_connected("c")


def test_many_cells_are_announced_in_several_batches() -> None:
    net = Net()
    nodes = branches(net)
    names = [f"small-{number}" for number in range(600)]
    for name in names:
        minimal(net, nodes["left"], name)
    net.restart("root")
    net.advance(6.0)
    assert set(names) < set(routes(net.nodes["root"]))


def many(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """So many cells behind one neighbour have room."""
    for module in ("announcements", "announcer"):
        monkeypatch.setattr(f"streamcell.protocol.tree.{module}.ROUTES_OF_NEIGHBOUR", most)


def test_names_beyond_the_room_of_the_parent_wait_and_are_told_when_others_are_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    many(monkeypatch, 3)
    net = Net()
    leaves = [f"leaf-{number}" for number in range(5)]
    nodes = tree(net, {"root": "", "relay": "root"} | dict.fromkeys(leaves, "relay"))
    assert set(routes(nodes["root"])) == {"relay", "leaf-0", "leaf-1"}
    # Nobody was refused: those that wait are there for all below the root.
    assert set(routes(nodes["relay"])) == set(leaves)
    assert all(nodes[leaf].core.is_cell_connected("relay") for leaf in leaves)
    nodes["leaf-3"].core.stop(net.now)
    net.run()
    nodes["leaf-0"].core.stop(net.now)
    net.run()
    assert set(routes(nodes["root"])) == {"relay", "leaf-1", "leaf-2"}
    # A new parent is told of as many.
    net.restart("root")
    net.advance(5.0)
    assert set(routes(net.nodes["root"])) == {"relay", "leaf-1", "leaf-2"}


def test_a_parent_without_room_lets_names_wait_and_they_are_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamcell.protocol.tree.announcements.ROUTES", 4)
    net = Net()
    nodes = tree(net, {"root": "", "relay": "root", "other": "root", "a": "relay", "b": "relay", "c": "relay"})
    assert set(routes(nodes["root"])) == {"relay", "other", "a", "b"}
    assert nodes["c"].core.is_cell_connected("relay")
    assert [(reply.fqcn, reply.code) for reply in net.sent("root", AnnounceReply) if reply.wait] == [
        ("c", ErrorCode.LIMIT)
    ]
    net.advance(31.0)
    assert len([reply for reply in net.sent("root", AnnounceReply) if reply.wait]) == 2
    nodes["other"].core.stop(net.now)
    net.advance(31.0)
    assert set(routes(nodes["root"])) == {"relay", "a", "b", "c"}
    nodes["c"].core.stop(net.now)
    net.run()
    assert set(routes(nodes["root"])) == {"relay", "a", "b"}


def test_names_wait_here_whose_place_the_parent_had_no_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    many(monkeypatch, 3)
    monkeypatch.setattr("streamcell.protocol.tree.announcements.ROUTES", 2)
    net = Net()
    leaves = [f"leaf-{number}" for number in range(4)]
    nodes = tree(net, {"root": "", "relay": "root"} | dict.fromkeys(leaves, "relay"))
    net.advance(31.0)
    assert set(routes(nodes["root"])) == {"relay", "leaf-0"}
    # Now the parent has room, and this cell may announce one more.
    monkeypatch.setattr("streamcell.protocol.tree.announcements.ROUTES", 5)
    net.advance(61.0)
    first, *waiting = sorted(set(leaves) - {"leaf-0"}, key=lambda leaf: leaf not in routes(nodes["root"]))
    assert set(routes(nodes["root"])) == {"relay", "leaf-0", first}
    nodes[first].core.stop(net.now)
    net.advance(31.0)
    assert len(set(routes(nodes["root"])) & set(waiting)) == 1


def test_who_announces_more_than_there_is_room_for_leaves_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamcell.protocol.tree.announcements.ROUTES_OF_NEIGHBOUR", 3)
    net = Net()
    nodes = tree(net, {"root": "", "a": "root", "b": "root"})
    made_up = [Announce(f"x-{number}", 1, 1, (f"x-{number}", "a")) for number in range(10)]
    net.hold = {end for end in net.peers if end[0] == "a"}
    hear(net, nodes["root"], "a", *made_up, *made_up)
    assert set(routes(nodes["root"])) == {"a", "b", "x-0", "x-1"}


def test_announcements_beyond_what_is_looked_at_wait_the_last_word_of_each_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streamcell.protocol.tree.arrivals.ANNOUNCEMENTS_AT_ONCE", 10)
    monkeypatch.setattr("streamcell.protocol.tree.arrivals.ANNOUNCEMENTS_PER_S", 20)
    net = Net()
    nodes = tree(net, {"root": "", "a": "root"})
    net.advance(10.0)
    net.refuse_dials.add("root")
    made_up = [Announce(f"x-{number}", 1, 1, (f"x-{number}", "a")) for number in range(30)]
    hear(net, nodes["root"], "a", *made_up)
    assert len(routes(nodes["root"])) == 11
    # Ten wait, of one of them another word has come; and of the rest not even that is remembered.
    hear(net, nodes["root"], "a", Withdraw("x-12", 1, 1))
    assert len(routes(nodes["root"])) == 11
    net.hold = set(net.peers)
    net.advance(2.0)
    assert set(routes(nodes["root"])) == {"a"} | {f"x-{number}" for number in range(20) if number != 12}
    refused = [frame.fqcn for frame in net.sent("root", AnnounceReply) if frame.wait]
    assert refused == [f"x-{number}" for number in range(20, 30)]


@pytest.mark.parametrize("way", ["ends", "begins anew"])
def test_what_waits_is_forgotten_when_a_link(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    monkeypatch.setattr("streamcell.protocol.tree.arrivals.ANNOUNCEMENTS_AT_ONCE", 2)
    monkeypatch.setattr("streamcell.protocol.tree.arrivals.ANNOUNCEMENTS_PER_S", 10)
    net = Net()
    nodes = tree(net, {"root": "", "a": "root"})
    net.advance(1.0)
    made_up = [Announce(f"x-{number}", 1, 1, (f"x-{number}", "a")) for number in range(4)]
    hear(net, nodes["root"], "a", *made_up)
    if way == "ends":
        nodes["a"].core.stop(net.now)
        net.advance(2.0)
        assert routes(nodes["root"]) == {}
    else:
        net.restart("a")
        net.advance(5.0)
        assert routes(nodes["root"]) == {"a": "a"}
