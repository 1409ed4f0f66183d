"""What a policy lets cells send: asked by the target, and by each cell over whose child's link a stream comes."""

from __future__ import annotations

import pytest

from streamcell.errors import AuthenticationError, ErrorCode, Fault, StreamOutcomeUnknown
from streamcell.limits import HOPS, REMEMBERED_STREAMS
from streamcell.protocol.base.events import ReceiveFailed, StreamOpened
from streamcell.protocol.wire.description import StreamKind
from streamcell.protocol.wire.frames import Ack, Chunk, Frame, Lost, LostReason, Reset, ResumeQuery, StreamKey
from tests.core.harness import LARGE, SMALL, STREAMS, Net, Node, make_open
from tests.core.policies import ALL, EVERYTHING, allowing, hub_and, told
from tests.core.trees import receive

KINDS = [StreamKind.STREAM, StreamKind.BLOB, StreamKind.REQUEST]


def send(node: Node, target: str, kind: StreamKind, data: bytes = LARGE) -> int:
    return node.request(target, data) if kind is StreamKind.REQUEST else node.send(target, data, kind=kind)


def error_of(node: Node, stream_id: int, kind: StreamKind) -> BaseException:
    return node.request_error(stream_id) if kind is StreamKind.REQUEST else node.error(stream_id)


# --- to the cell itself ------------------------------------------------------------------------------


def test_what_may_be_sent_to_a_cell_arrives() -> None:
    net = Net()
    hub, site = hub_and(net, allowing("site", "hub", channels="c", topics="t"), "site")
    sent = [site.stream("hub", LARGE), site.send("hub", SMALL)]
    hub.answer = bytes.upper
    request = site.request("hub", b"abc")
    net.run()
    assert all(site.finished(each) for each in sent)
    assert site.replies(request) == [b"ABC"]
    assert {event.identity for event in hub.of(StreamOpened)} == {"site"}


@pytest.mark.parametrize("kind", KINDS)
def test_what_may_not_be_sent_to_a_cell_is_refused(kind: StreamKind) -> None:
    net = Net()
    hub, site = hub_and(net, allowing("site", "hub", channels="other"), "site")
    stream = send(site, "hub", kind)
    net.run()
    error = error_of(site, stream, kind)
    assert isinstance(error, AuthenticationError)
    assert error.fault is Fault.ORIGIN
    assert error.sentence == (
        f"the policy of hub (the policy) does not let site send the {kind.name.lower()} c/t to hub: no rule allows it; "
        "if it is to, have who runs hub change the policy"
    )
    assert told(hub) == [error.sentence]
    assert hub.of(StreamOpened) == []


def test_a_cell_that_may_send_nothing_is_told_when_it_asks() -> None:
    net = Net()
    hub, _site = hub_and(net, ALL, "site")
    key = StreamKey("site", net.nodes["site"].incarnation, 7)
    receive(net, hub, "site", ResumeQuery(key, "hub", 1, False, HOPS), ResumeQuery(key, "hub", 2, False, HOPS))
    net.run()
    words = net.sent("hub", Reset)
    assert [(word.attempt, word.code, word.fault) for word in words] == [
        (1, ErrorCode.AUTHENTICATION, Fault.ORIGIN),
        (2, ErrorCode.AUTHENTICATION, Fault.ORIGIN),
    ]
    assert "does not let site send anything to hub" in words[0].sentence
    assert len(told(hub)) == 1


def test_what_is_known_of_an_end_is_told_all_the_same() -> None:
    net = Net()
    hub, site = hub_and(net, EVERYTHING, "site")
    stream = site.stream("hub", SMALL)
    net.run()
    hub.change_policy(ALL)
    receive(net, hub, "site", ResumeQuery(site.key(stream), "hub", 9, False, HOPS))
    net.run()
    assert net.sent("hub", Ack)[-1].complete
    assert net.sent("hub", Reset) == []


def test_a_cell_may_send_itself_what_it_likes_and_ask_others() -> None:
    net = Net()
    hub, site = hub_and(net, ALL, "site")
    stream = hub.stream("hub", SMALL)
    site.answer = bytes.upper
    request = hub.request("site", b"abc")
    net.run()
    assert hub.finished(stream)
    assert hub.replies(request) == [b"ABC"]


def test_a_refusal_is_not_remembered_beyond_the_limit() -> None:
    net = Net()
    hub, _relay, _site = hub_and(net, ALL, "relay", "site")
    net.node("far").connect("relay")
    net.run()
    far = net.nodes["far"].incarnation
    keys = [StreamKey("far", far, 2 * number + 1) for number in range(REMEMBERED_STREAMS + 1)]
    receive(net, hub, "relay", *[ResumeQuery(key, "hub", 1, True, HOPS) for key in keys])
    net.advance(1.0)
    assert len(told(hub)) == REMEMBERED_STREAMS


def test_a_kind_that_is_not_known_is_not_allowed() -> None:
    net = Net()
    hub, site = hub_and(net, EVERYTHING, "site")
    opening = make_open(StreamKind.UNSPECIFIED, 0)
    receive(net, hub, "site", Chunk(site.key(1), "hub", 1, "c", "t", 0, 0, True, HOPS, 0, b"", opening))
    net.run()
    assert "it is of a kind that is not known there" in net.sent("hub", Reset)[0].sentence


@pytest.mark.parametrize("kind", [StreamKind.STREAM, StreamKind.BLOB])
def test_streams_end_that_may_not_be_sent_any_more(kind: StreamKind) -> None:
    net = Net()
    hub, site, other = hub_and(net, EVERYTHING, "site", "other")
    hub.auto_read = False
    streams = [site.send("hub", LARGE, kind=StreamKind.STREAM, size=None, end=False), site.stream("hub", LARGE)]
    kept = other.stream("hub", LARGE)
    net.run()
    hub.change_policy(allowing("other", "hub"))
    net.run()
    for stream in streams:
        error = site.error(stream)
        assert isinstance(error, AuthenticationError)
        assert "does not let site send the stream c/t to hub: no rule allows it" in error.sentence
        assert hub.receive_error(site.key(stream)).code is ErrorCode.AUTHENTICATION
    assert other.outcomes(kept) == []
    assert len(hub.of(ReceiveFailed)) == 2


def test_a_stream_that_waits_for_the_next_life_of_its_origin_ends_as_well() -> None:
    net = Net()
    hub, site = hub_and(net, EVERYTHING, "site")
    stream = site.stream("hub", LARGE, size=None, end=False, resume_id="r")
    site.supply(stream, LARGE)
    net.run()
    key = site.key(stream)
    net.restart("site")
    net.run()
    assert hub.of(ReceiveFailed) == []
    hub.change_policy(ALL)
    net.run()
    assert hub.receive_error(key).code is ErrorCode.AUTHENTICATION


def test_a_reply_that_comes_goes_on_whatever_the_policy_says_now() -> None:
    net = Net()
    hub, site = hub_and(net, EVERYTHING, "site")
    hub.auto_accept = False
    site.answer = lambda data: data * 100
    request = hub.request("site", LARGE[:40_000])
    net.run()
    (opened,) = hub.of(StreamOpened)
    hub.change_policy(ALL)
    hub.accept(opened.key, assemble=True)
    net.run()
    assert hub.replies(request) == [LARGE[:40_000] * 100]


# --- through a cell ----------------------------------------------------------------------------------


def through_hub(net: Net, policy: str) -> list[Node]:
    """Return a hub with a policy, and two cells below."""
    return hub_and(net, policy, "site", "server")


@pytest.mark.parametrize("kind", KINDS)
def test_what_may_pass_passes(kind: StreamKind) -> None:
    net = Net()
    _hub, site, server = through_hub(net, allowing("site", "server", kinds=kind.name.lower()))
    server.answer = bytes.upper
    stream = send(site, "server", kind)
    net.run()
    assert site.replies(stream) == [LARGE.upper()] if kind is StreamKind.REQUEST else site.finished(stream)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("policy", [ALL, allowing("site", "server", channels="other")])
def test_what_may_not_pass_is_refused_at_once(kind: StreamKind, policy: str) -> None:
    net = Net()
    hub, site, server = through_hub(net, policy)
    stream = send(site, "server", kind)
    net.run()
    error = error_of(site, stream, kind)
    assert isinstance(error, AuthenticationError)
    assert error.fault is Fault.ORIGIN
    assert error.sentence.startswith(
        f"hub, on the way to server, refuses stream {stream} (c/t): the policy of hub (the policy) does not let site "
    )
    assert error.sentence.endswith("if it is to, have who runs hub change the policy")
    assert len(told(hub)) == 1
    assert server.of(StreamOpened) == []
    assert hub.core.stats().relays == ()


def test_the_other_way_is_another_question() -> None:
    net = Net()
    _hub, site, server = through_hub(net, allowing("site", "server"))
    stream = server.stream("site", SMALL)
    net.run()
    assert isinstance(server.error(stream), AuthenticationError)
    assert site.of(StreamOpened) == []


def test_a_reply_passes_if_its_request_may() -> None:
    net = Net()
    hub, site, server = through_hub(net, EVERYTHING)
    requests = [site.request("server", SMALL, timeout_s=20.0), site.request("server", SMALL, timeout_s=20.0)]
    net.run()
    first, second = server.of(StreamOpened)
    hub.change_policy(allowing("site", "server", kinds="request"))
    passed = server.reply(first, SMALL)
    net.run()
    assert server.finished(passed)
    assert site.replies(requests[0]) == [SMALL]
    hub.change_policy(allowing("server", "site"))
    refused = server.reply(second, SMALL)
    net.run()
    error = server.error(refused)
    assert isinstance(error, AuthenticationError)
    assert "does not let server send the reply c/t to site: no rule allows it" in error.sentence
    net.advance(20.0)
    assert site.request_error(requests[1]).code is ErrorCode.TIMEOUT


@pytest.mark.parametrize("breaks", [False, True])
def test_the_reply_to_a_request_from_above_passes_as_that_did(breaks: bool) -> None:
    net = Net()
    root = net.node("root")
    hub, site = hub_and(net, ALL, "site")
    hub.connect("root")
    net.run()
    request = root.request("site", SMALL)
    net.run()
    (opened,) = site.of(StreamOpened)
    if breaks:
        net.stuck.update(end for end in net.peers if end[0] == "hub")
    site.reply(opened, LARGE)
    net.run()
    if breaks:
        net.cut_all()
        net.stuck.clear()
    hub.change_policy(ALL)
    net.advance(5.0)
    assert root.replies(request) == [LARGE]
    refused = site.send("root", SMALL)
    net.run()
    assert isinstance(site.error(refused), AuthenticationError)


def test_a_reply_that_begins_with_a_question_is_taken() -> None:
    net = Net()
    hub, site = hub_and(net, ALL, "site")
    request = hub.request("site", SMALL)
    net.run()
    (opened,) = site.of(StreamOpened)
    net.hold.update(end for end in net.peers if end[0] == "hub")
    site.reply(opened, SMALL)
    net.run()
    net.cut_all()
    net.hold.clear()
    net.advance(5.0)
    assert [frame for frame in net.sent("site", ResumeQuery) if frame.key.stream_id]
    assert hub.replies(request) == [SMALL]


def test_what_comes_from_above_is_for_the_target_to_judge() -> None:
    net = Net()
    root = net.node("root")
    hub, _site = hub_and(net, ALL, "site")
    hub.connect("root")
    net.run()
    stream = root.stream("site", SMALL)
    net.run()
    assert root.finished(stream)


def test_what_shows_life_to_a_cell_that_it_may_not_meet_is_dropped() -> None:
    net = Net()
    hub, _site, _server = through_hub(net, ALL)
    life = net.nodes["site"].incarnation
    before = len(net.sent("hub", Lost))
    receive(net, hub, "site", ResumeQuery.showing_life("site", life, "server"))
    net.run()
    assert len(net.sent("hub", Lost)) == before
    assert not [frame for frame in net.sent("hub", ResumeQuery) if frame.target == "server"]


def test_the_word_of_an_origin_that_gives_up_passes() -> None:
    net = Net()
    hub, site, server = through_hub(net, ALL)
    receive(net, hub, "site", Reset(site.key(1), "server", 1, False, ErrorCode.CANCELLED, Fault.ORIGIN, "no", HOPS))
    net.run()
    assert net.sent("hub", Reset)[-1].target == "server"
    assert server.of(ReceiveFailed) == []


def running(net: Net, kind: StreamKind = StreamKind.STREAM) -> tuple[Node, Node, Node, int]:
    """Return hub, site and server, and a stream of which the server has a part and waits for more."""
    hub, site, server = through_hub(net, EVERYTHING)
    if kind is StreamKind.STREAM:
        stream = site.send("server", None, kind=kind, size=None, end=False)
        site.supply(stream, SMALL)
    else:
        server.auto_release = False
        stream = send(site, "server", kind)
    net.run()
    return hub, site, server, stream


@pytest.mark.parametrize("policy", [ALL, allowing("site", "server", channels="other")])
def test_streams_that_pass_end_when_they_may_not_any_more(policy: str) -> None:
    net = Net()
    hub, site, server, stream = running(net)
    hub.change_policy(policy)
    net.advance(5.0)
    error = site.error(stream)
    assert isinstance(error, AuthenticationError)
    assert error.sentence.startswith(f"hub, on the way to server, refuses stream {stream} (c/t): the policy of hub")
    assert server.receive_error(site.key(stream)).code is ErrorCode.AUTHENTICATION
    assert hub.core.stats().relays == ()


def test_of_what_was_sent_whole_it_is_not_known_what_came_of_it() -> None:
    net = Net()
    hub, site, _server, stream = running(net, StreamKind.BLOB)
    hub.change_policy(ALL)
    net.advance(5.0)
    error = site.error(stream)
    assert isinstance(error, StreamOutcomeUnknown)
    assert error.sentence.endswith("All of it had been sent before, and may have been delivered")


def test_streams_that_pass_go_on_when_they_still_may() -> None:
    net = Net()
    hub, site, _server, stream = running(net)
    hub.change_policy(allowing("site", "server"))
    site.supply(stream, SMALL, end=True)
    net.run()
    assert site.finished(stream)
    assert net.sent("hub", Lost) == []


def test_what_was_only_asked_for_is_judged_by_the_two_cells() -> None:
    net = Net()
    hub, site, server = through_hub(net, EVERYTHING)
    net.mute.add("server")
    stream = site.send("server", LARGE)
    net.run()
    assert net.sent("hub", ResumeQuery)
    hub.change_policy(allowing("site", "server", channels="other"))
    net.run()
    assert site.outcomes(stream) == []
    hub.change_policy(ALL)
    net.run()
    assert isinstance(site.error(stream), AuthenticationError)
    assert server.of(StreamOpened) == []


def test_a_stream_that_was_refused_once_and_goes_on_may_be_refused_once_more() -> None:
    net = Net()
    hub, site, _server, stream = running(net)
    hub.change_policy(ALL)
    hub.change_policy(EVERYTHING)
    net.advance(1.0)
    assert site.outcomes(stream) == []
    site.supply(stream, SMALL)
    net.advance(1.0)
    hub.change_policy(ALL)
    hub.change_policy(EVERYTHING)
    net.advance(1.0)
    site.supply(stream, SMALL, end=True)
    net.advance(5.0)
    assert site.finished(stream)


def test_only_who_is_on_the_way_can_refuse() -> None:
    net = Net()
    _hub, site, _server, stream = running(net)
    net.node("liar").connect("hub")
    net.run()
    refused = Lost(site.key(stream), "server", 1, LostReason.REFUSED, "liar", HOPS, "a lie")
    receive(net, net.nodes["hub"], "liar", refused, refused)
    net.run()
    site.supply(stream, SMALL, end=True)
    net.run()
    assert site.finished(stream)


def test_nobody_is_asked_where_there_is_no_policy() -> None:
    net = Net()
    hub = net.node("hub")
    site, server = net.node("site"), net.node("server")
    site.connect("hub")
    server.connect("hub")
    net.run()
    hub.core.on_rules_changed(net.now)
    stream = site.stream("server", LARGE)
    net.run()
    assert site.finished(stream)
    hub.core.stop(net.now)
    hub.core.on_rules_changed(net.now)


@pytest.mark.parametrize("kind", STREAMS)
def test_a_relay_of_before_makes_a_refusal_a_loss(kind: StreamKind) -> None:
    """It does not know the reason, so that the origin asks again, for as long as it waits for anything."""
    net = Net()
    net.node("hub", policy=ALL)
    relay, site, server = net.node("relay"), net.node("site"), net.node("server")

    def older(sender: str, frame: Frame) -> Frame:
        if sender == "relay" and isinstance(frame, Lost):
            return Lost(frame.key, frame.target, frame.attempt, LostReason.UNSPECIFIED, frame.reporter, frame.hops_left)
        return frame

    net.tamper = older
    for node, parent in ((relay, "hub"), (server, "hub"), (site, "relay")):
        node.connect(parent)
        net.run()
    stream = site.send("server", SMALL, kind=kind, unreachable_timeout_s=20.0)
    net.advance(30.0)
    assert site.error(stream).code is ErrorCode.UNREACHABLE
    assert server.of(StreamOpened) == []
