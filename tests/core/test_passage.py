"""An application is asked whether an attempt that comes from a child may pass."""

from __future__ import annotations

import pytest

from streamcell.errors import AuthenticationError
from streamcell.limits import INITIAL_CREDIT_BYTES
from streamcell.protocol.base.events import PassageAsked, StreamOpened
from streamcell.protocol.wire.description import StreamKind
from streamcell.protocol.wire.frames import Chunk, Lost
from tests.core.harness import LARGE, SMALL, Net, Node
from tests.core.policies import shows


def through_hub(net: Net) -> tuple[Node, Node, Node]:
    """Return a hub that asks, and two cells below."""
    hub, site, server = net.node("hub", asks_passage=True), net.node("site"), net.node("server")
    shows(net, "site", "site")
    for node in (site, server):
        node.connect("hub")
        net.run()
    return hub, site, server


def passed(net: Net) -> list[Chunk]:
    return [chunk for chunk in net.sent("hub", Chunk) if chunk.target == "server"]


@pytest.mark.parametrize("kind", [StreamKind.STREAM, StreamKind.BLOB, StreamKind.REQUEST])
@pytest.mark.parametrize("data", [b"", SMALL, LARGE])
def test_an_attempt_waits_until_it_is_known_that_it_may_pass(kind: StreamKind, data: bytes) -> None:
    net = Net()
    hub, site, server = through_hub(net)
    server.answer = bytes.upper
    stream = site.request("server", data) if kind is StreamKind.REQUEST else site.send("server", data, kind=kind)
    net.run()
    (asked,) = hub.of(PassageAsked)
    assert (asked.key, asked.target, asked.channel, asked.topic) == (site.key(stream), "server", "c", "t")
    assert (asked.description.kind, asked.identity, asked.party) == (kind, "site", ("site", "site"))
    assert passed(net) == []
    (held,) = hub.core.stats().relays
    assert held.held_bytes == min(len(data), INITIAL_CREDIT_BYTES)
    hub.core.judge_passage(asked.key, asked.attempt, "", net.now)
    net.run()
    # A reply is not asked about.
    assert len(hub.of(PassageAsked)) == 1
    assert site.replies(stream) == [data.upper()] if kind is StreamKind.REQUEST else site.finished(stream)


def test_an_attempt_that_may_not_pass_fails() -> None:
    net = Net()
    hub, site, server = through_hub(net)
    stream = site.stream("server", LARGE)
    net.run()
    (asked,) = hub.of(PassageAsked)
    hub.core.judge_passage(asked.key, asked.attempt, "not on Mondays", net.now)
    net.run()
    error = site.error(stream)
    assert isinstance(error, AuthenticationError)
    assert error.sentence == f"hub, on the way to server, refuses stream {stream} (c/t): not on Mondays"
    assert server.of(StreamOpened) == []
    assert hub.core.stats().relays == ()


def test_an_answer_about_an_earlier_attempt_or_another_stream_counts_for_nothing() -> None:
    net = Net()
    hub, site, _server = through_hub(net)
    stream = site.stream("server", LARGE)
    net.run()
    (asked,) = hub.of(PassageAsked)
    net.cut_all()
    net.advance(2.0)
    later = hub.of(PassageAsked)[-1]
    assert later.attempt > asked.attempt
    hub.core.judge_passage(asked.key, asked.attempt, "too late", net.now)
    hub.core.judge_passage(site.key(stream + 1), 1, "nobody", net.now)
    net.run()
    assert passed(net) == []
    hub.core.judge_passage(later.key, later.attempt, "", net.now)
    hub.core.judge_passage(later.key, later.attempt, "twice", net.now)
    net.run()
    assert site.finished(stream)


def test_a_way_that_goes_while_it_is_asked_is_lost_as_any() -> None:
    net = Net()
    hub, site, _server = through_hub(net)
    stream = site.stream("server", LARGE)
    net.run()
    (asked,) = hub.of(PassageAsked)
    net.kill("server")
    net.advance(40.0)
    assert net.sent("hub", Lost)
    hub.core.judge_passage(asked.key, asked.attempt, "", net.now)
    net.run()
    assert passed(net) == []
    assert site.outcomes(stream) == []


def test_what_comes_from_above_is_not_asked_about() -> None:
    net = Net()
    root = net.node("root")
    hub, _site, server = through_hub(net)
    hub.connect("root")
    net.run()
    stream = root.stream("server", SMALL)
    net.run()
    assert root.finished(stream)
    assert hub.of(PassageAsked) == []
    assert len(server.of(StreamOpened)) == 1
