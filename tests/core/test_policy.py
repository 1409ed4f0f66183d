"""Whom a policy lets be a neighbour, and what it lets those announce and ask."""

from __future__ import annotations

import pytest

from streamcell.errors import AuthenticationError
from streamcell.protocol.base.events import (
    CellConnected,
    CellDisconnected,
    CellsListed,
    QueryFailed,
    RouteTraced,
)
from streamcell.protocol.wire.frames import Announce, Query, QueryReply
from streamcell.topology import ALL_CELLS
from tests.core.by_hand import greet, hello
from tests.core.harness import LARGE, Net, Node
from tests.core.policies import ALL, EVERYTHING, hub_and, refusal, shows, told
from tests.core.trees import receive, routes

FINGERPRINT = "sha256:" + "0" * 64

# --- neighbours --------------------------------------------------------------------------------------


def test_a_neighbour_that_no_rule_allows_is_told_so() -> None:
    net = Net()
    hub, site = hub_and(net, 'version = 1\n[[link]]\ncells = ["site-*"]\n', "other")
    error = refusal(site)
    assert isinstance(error, AuthenticationError)
    assert "the policy of hub (the policy) does not let other be its neighbour: no [[link]] allows it" in str(error)
    assert "have who runs hub change the policy" in str(error)
    assert site.refusals()[-1].firm
    assert told(hub) == [error.sentence]
    assert hub.links == ()


def test_a_neighbour_that_a_rule_allows_is_let_in() -> None:
    net = Net()
    hub, site = hub_and(net, 'version = 1\n[[link]]\ncells = ["site-*"]\n', "site-1")
    assert site.of(CellConnected) == [CellConnected("hub", 0)]
    assert routes(hub) == {"site-1": "site-1"}
    below = net.node("site-1.job")
    shows(net, "site-1.job", "site-1")
    below.connect("hub")
    net.run()
    assert set(routes(hub)) == {"site-1", "site-1.job"}
    liar = net.node("site-2")
    shows(net, "site-2", "site-1")
    liar.connect("hub")
    net.run()
    assert "the token proves site-1, and not site-2" in str(refusal(liar))


@pytest.mark.parametrize(
    ("address", "is_let_in"),
    [("10.1.2.3:99", True), ("[::ffff:10.1.2.3]:99", True), ("192.0.2.1:99", False), ("unix:/x", False)],
)
def test_neighbours_by_their_addresses(address: str, is_let_in: bool) -> None:
    net = Net()
    shows(net, "site", "site", address)
    _, site = hub_and(net, 'version = 1\n[[link]]\ncells = ["*"]\naddresses = ["10.0.0.0/8"]\n', "site")
    assert bool(site.of(CellConnected)) is is_let_in


def test_who_has_proved_nothing_has_a_name_below_the_listener_or_one_that_a_rule_gives() -> None:
    net = Net()
    for name in ("hub.a", "guest-1", "site"):
        shows(net, name)
    policy = 'version = 1\n[[link]]\ncells = ["*"]\nannounce = ["guest-*"]\n'
    hub, below, guest, site = hub_and(net, policy, "hub.a", "guest-1", "site")
    assert set(routes(hub)) == {"hub.a", "guest-1"}
    assert below.of(CellConnected)
    assert guest.of(CellConnected)
    assert "nothing proves that this is site: a certificate is needed for that, or a [[link]]" in str(refusal(site))


def test_a_neighbour_without_a_name_is_called_by_its_address() -> None:
    net = Net()
    shows(net, "site")
    _, site = hub_and(net, 'version = 1\n[[link]]\ncells = ["site"]\n', "site")
    assert "does not let a cell at 10.0.0.1:4000 that has proved no name be its neighbour" in str(refusal(site))


def test_a_certificate_that_is_denied() -> None:
    net = Net()
    shows(net, "site", "site", fingerprint=FINGERPRINT)
    policy = EVERYTHING + f'[[deny]]\nfingerprint = "{FINGERPRINT}"\n'
    _, site = hub_and(net, policy, "site")
    assert "its certificate is denied by [[deny]] number 1" in str(refusal(site))


def test_further_lanes_are_looked_at_as_well() -> None:
    net = Net()
    policy = EVERYTHING.replace("relay =", 'addresses = ["10.0.0.0/8"]\nrelay =')
    hub, site = hub_and(net, policy, "site")
    shows(net, "site", "site", "192.0.2.1:99")
    site.stream("hub", LARGE)
    net.run()
    assert any("no [[link]] allows it" in sentence for sentence in told(hub))
    assert len(hub.links[0].lanes) == 1


def test_a_cell_asks_nobody_about_whom_it_dials_itself() -> None:
    net = Net()
    net.node("hub")
    site = net.node("site", policy="version = 1\n")
    site.connect("hub")
    net.run()
    assert site.of(CellConnected) == [CellConnected("hub", 0)]
    site.change_policy("version = 1\n")
    net.run()
    assert site.of(CellDisconnected) == []


def test_links_end_that_no_rule_allows_any_more() -> None:
    net = Net()
    hub, site, other = hub_and(net, EVERYTHING, "site", "other")
    hub.change_policy(EVERYTHING.replace('cells = ["*", "**"]', 'cells = ["other"]'))
    net.run()
    assert [link.fqcn for link in hub.links] == ["other"]
    assert "does not let site be its neighbour" in str(refusal(site))
    assert other.of(CellDisconnected) == []
    hub.change_policy(EVERYTHING)
    net.advance(60.0)
    assert {link.fqcn for link in hub.links} == {"site", "other"}


def test_a_link_without_a_lane_ends_as_well() -> None:
    net = Net()
    hub, site = hub_and(net, EVERYTHING, "site")
    net.refuse_dials.add("hub")
    net.cut_all()
    net.run()
    hub.change_policy("version = 1\n")
    net.run()
    assert hub.links == ()
    assert site.links != ()


def test_who_waits_for_a_name_is_looked_at_again() -> None:
    net = Net()
    hub, _site = hub_and(net, EVERYTHING, "site")
    net.mute.add("site")
    shows(net, "site", "site")
    _, said = greet(net, hub, hello("site", incarnation=7), identity="site")
    assert said == []
    hub.change_policy(EVERYTHING.replace('["*", "**"]', '["other"]'))
    net.advance(5.0)
    assert "no [[link]] allows it" in told(hub)[-1]
    assert hub.links == ()


# --- names -------------------------------------------------------------------------------------------

RELAYING = """version = 1
[[link]]
cells = ["relay"]
announce = ["{name}", "other"]
relay = ["ward.*"]
"""


def test_what_a_neighbour_may_announce() -> None:
    net = Net()
    hub, relay = hub_and(net, RELAYING, "relay")
    for name in ("ward.1", "ward", "relay.x", "other"):
        net.node(name).connect("relay")
    net.run()
    assert set(routes(hub)) == {"relay", "ward.1"}
    assert set(routes(relay)) == {"ward.1"}
    error = refusal(net.nodes["ward"])
    assert "the policy of hub (the policy) does not let relay, which has proved relay, announce ward" in str(error)
    assert "relay.NAME, or have who runs hub add the name to relay in a [[link]] of the policy" in str(error)


def test_without_a_policy_a_neighbour_announces_what_its_proof_is_for() -> None:
    net = Net()
    hub, relay = net.node("hub"), net.node("relay")
    shows(net, "relay", "relay")
    relay.connect("hub")
    net.run()
    for name in ("ward", "relay.x"):
        net.node(name).connect("relay")
    net.run()
    assert set(routes(hub)) == {"relay", "relay.x"}
    assert "relay has proved relay, so that it cannot announce ward" in str(refusal(net.nodes["ward"]))
    assert told(hub) == [refusal(net.nodes["ward"]).sentence]


def test_names_go_that_may_not_be_announced_any_more() -> None:
    net = Net()
    hub, relay = hub_and(net, RELAYING, "relay")
    ward = net.node("ward.1")
    ward.connect("relay")
    net.run()
    assert set(routes(hub)) == {"relay", "ward.1"}
    hub.change_policy(RELAYING.replace("ward.*", "hall.*"))
    net.run()
    assert set(routes(hub)) == {"relay"}
    assert routes(relay) == {}
    assert "does not let relay" in str(refusal(ward))
    hub.change_policy(RELAYING.replace('"{name}", ', ""))
    net.run()
    assert routes(hub) == {}
    assert "announce relay" in str(refusal(relay))
    hub.change_policy(RELAYING)
    net.advance(60.0)
    assert set(routes(hub)) == {"relay", "ward.1"}


def test_a_refusal_that_a_lane_has_lost_is_said_again() -> None:
    net = Net()
    hub, relay = hub_and(net, RELAYING, "relay")
    ward = net.node("ward.1")
    ward.connect("relay")
    net.run()
    here = ("relay", next(lane for name, lane in net.peers if name == "relay" and net.peers[name, lane][0] == "hub"))
    net.hold.add(here)
    hub.change_policy(RELAYING.replace("ward.*", "hall.*"))
    net.run()
    assert set(routes(relay)) == {"ward.1"}
    net.cut(*here)
    net.advance(2.0)
    assert routes(relay) == {}
    assert "does not let relay" in str(refusal(ward))


def test_who_waits_for_a_name_that_it_announces_is_looked_at_again() -> None:
    net = Net()
    hub, _relay, _second = hub_and(net, RELAYING.replace('"relay"]', '"relay", "second"]'), "relay", "second")
    ward = net.node("ward.1")
    ward.connect("relay")
    net.run()
    net.mute.add("ward.1")
    receive(net, hub, "second", Announce("ward.1", 77, 1, ("ward.1", "second")))
    net.run()
    hub.change_policy(RELAYING)
    net.advance(6.0)
    assert "second" not in routes(hub).values()


# --- questions ---------------------------------------------------------------------------------------


def names(net: Net, node: Node) -> set[str]:
    node.core.ask_cells(ALL_CELLS, 5.0, net.now)
    net.run()
    return {cell.fqcn for cell in node.of(CellsListed)[-1].cells}


def asking(net: Net, right: str) -> list[Node]:
    """Return root, hub with a policy, site below that and job below the site, and a cell beside the site."""
    root = net.node("root")
    policy = EVERYTHING.replace('query = "all"', f'query = "{right}"')
    hub, site, job, beside = net.node("hub", policy=policy), net.node("site"), net.node("job"), net.node("beside")
    for name in ("site", "beside"):
        shows(net, name, name)
    for node, parent in ((hub, "root"), (site, "hub"), (beside, "hub"), (job, "site")):
        node.connect(parent)
        net.run()
    return [root, hub, site, job]


@pytest.mark.parametrize(
    ("right", "known"),
    [
        ("all", {"root", "hub", "site", "job", "beside"}),
        ("own", {"hub", "site", "job"}),
        ("none", {"hub", "site", "job"}),
    ],
)
def test_which_cells_a_neighbour_hears_of(right: str, known: set[str]) -> None:
    net = Net()
    root, hub, site, job = asking(net, right)
    # What it knows itself it need not ask for.
    assert names(net, site) == known
    assert names(net, hub) == names(net, root) == {"root", "hub", "site", "job", "beside"}
    assert names(net, job) == (known if right != "none" else {"job", "site"})


@pytest.mark.parametrize("right", ["own", "none"])
def test_ways_are_shown_to_those_who_may_ask(right: str) -> None:
    net = Net()
    _root, _hub, site, job = asking(net, right)
    for target in ("beside", "nobody", "root"):
        number = site.core.ask_trace(target, 5.0, net.now)
        net.run()
        (failed,) = [event for event in site.of(QueryFailed) if event.query_id == number]
        assert f"{target} cannot be reached from site: hub knows no way to it" in str(failed.error)
    number = job.core.ask_trace("hub", 5.0, net.now)
    net.run()
    traced = [[hop.fqcn for hop in event.hops] for event in job.of(RouteTraced) if event.query_id == number]
    assert traced == [["site", "hub"]]


def test_which_life_there_is_hears_who_deals_with_a_cell() -> None:
    net = Net()
    hub, _site, _other = hub_and(
        net, ALL.replace('"all"', '"none"') + '[[allow]]\nfrom=["site"]\nto=["other"]\n', "site", "other"
    )
    receive(net, hub, "site", Query.by(1, "site", "other"), Query.by(2, "site", "hub"))
    receive(net, hub, "other", Query.by(3, "other", "site"))
    net.run()
    assert {frame.query_id for frame in net.sent("hub", QueryReply)} == {1, 3}
