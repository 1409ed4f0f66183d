"""Memory that is reserved and not used, while others wait for some; and what a neighbour held that was cut off."""

from __future__ import annotations

from streamcell.config import CellConfig
from streamcell.errors import ErrorCode
from streamcell.limits import KIB
from streamcell.protocol.base.events import ReceiveFailed
from streamcell.protocol.wire.frames import Goodbye, Lost, LostReason
from tests.core.by_hand import chunk, hello
from tests.core.harness import Net, Node
from tests.core.trees import receive
from tests.kit.payloads import pattern

BLOB = pattern(100 * KIB)
# For one of them, and one more as a spare.
CONFIG = CellConfig(blob_budget_bytes=100 * KIB, max_blob_bytes=100 * KIB, unreachable_timeout_s=60.0)


def hall() -> tuple[Net, Node, list[Node]]:
    """A server, and three cells of which each would fill the memory that there is for all but one blob."""
    net = Net()
    server = net.node("server", CONFIG)
    others = [net.node(name) for name in ("first", "second", "third")]
    for other in others:
        other.connect("server")
    net.run()
    return net, server, others


def declare(node: Node) -> int:
    """Begin a blob, and bring nothing of it."""
    return node.send("server", None, size=len(BLOB), end=False)


def lost(net: Net) -> list[tuple[str, int]]:
    return [(frame.key.origin, frame.attempt) for frame in net.sent("server", Lost) if frame.reason is LostReason.LIMIT]


def test_what_makes_no_use_of_its_memory_begins_again_behind_those_who_wait() -> None:
    net, server, (first, second, third) = hall()
    idle = [declare(first), declare(second)]
    net.advance(100.0)
    # Nobody waits.
    assert lost(net) == []
    waiting = third.send("server", BLOB)
    net.advance(9.0)
    assert not third.finished(waiting)
    net.advance(10.0)
    assert third.finished(waiting)
    # That was enough.
    assert [origin for origin, _ in lost(net)] == ["first"]
    assert {failed.error.code for failed in server.of(ReceiveFailed)} == {ErrorCode.LIMIT}
    # They come through when they have something to bring.
    for node, stream_id in ((first, idle[0]), (second, idle[1])):
        node.supply(stream_id, BLOB, end=True)
    net.advance(20.0)
    assert [first.finished(idle[0]), second.finished(idle[1])] == [True, True]


def test_what_goes_on_slowly_keeps_its_memory() -> None:
    net, _server, (first, second, third) = hall()
    slow = [(node, declare(node)) for node in (first, second)]
    waiting = third.send("server", BLOB)
    for part in range(10):
        net.advance(8.0)
        for node, stream_id in slow:
            node.supply(stream_id, BLOB[part * 10 * KIB : (part + 1) * 10 * KIB], end=part == 9)
    net.advance(1.0)
    assert lost(net) == []
    assert all(node.finished(stream_id) for node, stream_id in slow)
    assert third.finished(waiting)


def test_one_that_was_told_so_has_longer_the_next_time() -> None:
    net, _server, (first, second, third) = hall()
    declare(first)
    declare(second)
    third.send("server", BLOB)
    net.advance(19.0)
    assert [origin for origin, _ in lost(net)] == ["first"]
    # It is back, and another waits again.
    for _ in range(4):
        third.send("server", BLOB)
    net.advance(19.0)
    assert [origin for origin, _ in lost(net)].count("first") == 1


def test_a_lane_that_breaks_begins_the_time_anew() -> None:
    net, _server, (first, second, third) = hall()
    declare(first)
    declare(second)
    third.send("server", BLOB)
    net.advance(8.0)
    for node in (first, second):
        net.cut(node.fqcn, node.lane())
    net.advance(8.0)
    assert lost(net) == []


def test_an_origin_that_nothing_leads_to_gives_its_memory_to_those_who_wait() -> None:
    net, server, (first, second, third) = hall()
    declare(first)
    declare(second)
    net.run()
    net.kill("first")
    net.kill("second")
    net.advance(40.0)
    waiting = third.send("server", BLOB)
    net.advance(55.0)
    assert not third.finished(waiting)
    assert server.of(ReceiveFailed) == []
    net.advance(20.0)
    assert third.finished(waiting)


def test_the_streams_of_a_neighbour_that_was_cut_off_fail_at_once() -> None:
    net = Net()
    server, client = net.pair()
    server.auto_read = False
    held, other = client.stream("server", None), client.stream("server", None)
    net.run()
    far = chunk(client.key(held), b"x", offset=64 * 1024 * KIB)
    receive(net, server, "client", far)
    net.run()
    codes = {failed.key: failed.error.code for failed in server.of(ReceiveFailed)}
    assert codes == {client.key(held): ErrorCode.PROTOCOL, client.key(other): ErrorCode.PROTOCOL}
    assert server.core.stats().receives == ()
    # What it is told when it asks.
    net.advance(60.0)
    assert client.error(other).code is ErrorCode.PROTOCOL


def test_a_neighbour_that_was_cut_off_before_it_sent_anything_held_nothing() -> None:
    net = Net()
    server, client = net.pair()
    receive(net, server, "client", hello("client", incarnation=client.incarnation))
    net.run()
    assert [said.code for said in net.sent("server", Goodbye)] == [ErrorCode.PROTOCOL]
    assert server.of(ReceiveFailed) == []
