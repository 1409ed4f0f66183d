"""Names that are claimed by a second life: which claim an answer ends, and that each is decided once."""

from __future__ import annotations

from typing import cast

from streamcell.protocol.links.link import Link
from streamcell.protocol.links.table import LinkTable
from streamcell.protocol.tree.claims import Claim, ClaimTable
from streamcell.protocol.tree.routes import Route
from streamcell.protocol.wire.frames import Announce, CellInfo, Frame, Query, QueryReply
from tests.core.harness import make_context, make_link


class Posts:
    """Links that keep what is posted."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def post(self, _link: Link, frame: Frame) -> None:
        self.frames.append(frame)


class Asked:
    """A table of claims, and what was decided of them."""

    def __init__(self) -> None:
        self.posts = Posts()
        self.decided: list[tuple[str, str]] = []
        self.table = ClaimTable(make_context(), cast("LinkTable", self.posts), self.decide)

    def decide(self, claim: Claim, holder: str, now: float) -> None:
        self.decided.append((claim.frame.fqcn, holder))

    def ask(self, fqcn: str, newcomer: Link) -> Query:
        address = f"address of {fqcn}"
        holder = Route(fqcn, 1, 1, (fqcn,), make_link(fqcn), "", address, 0.0, lambda route, now: None)
        self.table.ask(newcomer, Announce(fqcn, 2, 1, (fqcn,)), holder, 0.0)
        query = self.posts.frames[-1]
        assert isinstance(query, Query)
        return query


def test_an_answer_ends_the_claim_that_was_asked_about_alone() -> None:
    asked = Asked()
    queries = {name: asked.ask(name, make_link("newcomer", 2)) for name in ("a", "b")}
    reply = QueryReply(queries["b"].query_id, "me", "b", (CellInfo("b", 1),), 16)
    asked.table.handle_reply(reply, 1.0)
    assert asked.decided == [("b", "address of b")]
    asked.table.hurry("c", 2.0)
    asked.table.hurry("a", 2.0)
    assert asked.decided == [("b", "address of b"), ("a", "")]


def test_a_claim_that_goes_while_another_is_decided_is_not_decided() -> None:
    asked = Asked()
    first, second = make_link("left", 2), make_link("right", 2)
    asked.ask("a", first)
    asked.ask("a", second)

    def decide(claim: Claim, holder: str, now: float) -> None:
        asked.decided.append((claim.link.fqcn, holder))
        asked.table.forget(second if claim.link is first else first)

    asked.table = ClaimTable(make_context(), cast("LinkTable", asked.posts), decide)
    asked.ask("a", first)
    asked.ask("a", second)
    asked.table.hurry("a", 1.0)
    assert asked.decided == [("left", "")]
