"""How many links one address may have, and how often it may ask for one."""

from __future__ import annotations

import pytest

from streamcell.config import CellConfig
from streamcell.errors import ErrorCode
from streamcell.protocol.wire.frames import Frame, Goodbye, Hello
from tests.core.by_hand import greet, hello, link_id_of
from tests.core.harness import Net

HERE, ELSEWHERE = "192.0.2.7", "192.0.2.8"


def refusal(said: list[Frame]) -> str:
    """Return with what sentence a lane was refused for a limit; empty: it was not."""
    (first, *_) = said
    if isinstance(first, Hello):
        return ""
    assert isinstance(first, Goodbye)
    assert first.code is ErrorCode.LIMIT
    return first.sentence


def test_one_address_has_so_many_links_and_others_have_theirs() -> None:
    net = Net()
    server = net.node("server", CellConfig(max_cells_per_address=2))
    said = [greet(net, server, hello(name), origin=HERE) for name in ("a", "b")]
    net.advance(10.0)
    assert refusal(greet(net, server, hello("c"), origin=HERE)[1]) == (
        "server has too many links from 192.0.2.7: come back later, or raise max_cells_per_address (2) there"
    )
    assert refusal(greet(net, server, hello("c"), origin=ELSEWHERE)[1]) == ""
    # A further lane of a link is not a further link, and this machine and proven names are not counted.
    link_id = link_id_of(said[0][1])
    assert refusal(greet(net, server, hello("a", lane_number=2, link_id=link_id), origin=HERE)[1]) == ""
    assert refusal(greet(net, server, hello("d"))[1]) == ""
    assert refusal(greet(net, server, hello("e"), origin=HERE, identity="e")[1]) == ""
    # One that goes makes room.
    server.core.receive(said[1][0], [Goodbye(ErrorCode.CANCELLED, "gone")], net.now)
    net.advance(10.0)
    assert refusal(greet(net, server, hello("f"), origin=HERE)[1]) == ""


def test_a_name_that_is_taken_over_from_elsewhere_counts_there() -> None:
    net = Net()
    server = net.node("server", CellConfig(max_cells_per_address=1))
    lane_id, _ = greet(net, server, hello("a"), origin=HERE)
    server.core.lane_closed(lane_id, "cut", None, net.now)
    assert refusal(greet(net, server, hello("a", incarnation=2), origin=ELSEWHERE)[1]) == ""
    net.advance(20.0)
    assert refusal(greet(net, server, hello("b"), origin=HERE)[1]) == ""
    assert refusal(greet(net, server, hello("c"), origin=ELSEWHERE)[1]) != ""


@pytest.mark.parametrize("origin", [HERE, ""])
def test_one_address_may_ask_so_often(origin: str) -> None:
    net = Net()
    server = net.node("server", CellConfig(max_cells_per_address=2))
    for incarnation in (1, 2, 3):
        lane_id, said = greet(net, server, hello("a", incarnation=incarnation), origin=origin)
        if incarnation == 3 and origin:
            assert refusal(said) == (
                "too many cells dial server from 192.0.2.7: come back later, or raise max_cells_per_address (2) there"
            )
        else:
            assert refusal(said) == ""
        server.core.lane_closed(lane_id, "cut", None, net.now)
    net.advance(11.0)
    assert refusal(greet(net, server, hello("a", incarnation=4), origin=origin)[1]) == ""
