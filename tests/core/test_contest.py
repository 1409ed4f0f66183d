"""Names that another one claims: which claim an answer ends, what counts as one, and that each is decided once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from streamcell.protocol.links.contest import CLAIM_S, ContestTable, Holder
from streamcell.protocol.links.link import Link
from streamcell.protocol.wire.frames import CellInfo, Frame, HolderAnswer, Query, QueryReply
from tests.core.samples import make_context, make_link

NEWCOMER, HOLDER = 2, 1


class Claim:
    """A newcomer that writes down what becomes of it."""

    def __init__(
        self,
        decided: list[tuple[str, str]],
        name: str,
        then: Callable[[], None] = lambda: None,
        when_passed: Callable[[], None] = lambda: None,
        *,
        life: int = NEWCOMER,
        claim_id: int = 0,
        may_be_both: bool = False,
    ) -> None:
        self.incarnation = life
        self.claim_id = claim_id
        self.may_be_both = may_be_both
        self._decided = decided
        self._name = name
        self._then = then
        self._when_passed = when_passed

    def on_name_free(self, holder: Holder, now: float) -> None:
        self._decided.append((self._name, "free"))
        self._then()

    def on_name_held(self, holder: Holder, now: float) -> None:
        self._decided.append((self._name, f"held at {holder.address}"))

    def on_passed_over(self, now: float) -> None:
        self._decided.append((self._name, "passed over"))
        self._when_passed()


class Rig:
    """Contests, what was asked, and what was decided."""

    def __init__(self) -> None:
        self.context = make_context()
        self.asked: list[Frame] = []
        self.decided: list[tuple[str, str]] = []
        self.contests: ContestTable[Claim] = ContestTable(self.context, lambda _link, frame: self.asked.append(frame))
        self.ways: dict[str, Link] = {}

    def way(self, fqcn: str) -> Link:
        return self.ways.setdefault(fqcn, make_link(fqcn, HOLDER))

    def claim(self, fqcn: str, place: str, *, life: int = HOLDER, now: float = 0.0, claim: Claim | None = None) -> None:
        holder = Holder(fqcn, life, self.way(fqcn), f"{fqcn}:1")
        self.contests.claim(holder, place, claim or Claim(self.decided, place), now)

    def question(self, number: int = -1) -> Query:
        asked = self.asked[number]
        assert isinstance(asked, Query)
        assert asked.contested
        return asked

    def answer(
        self,
        fqcn: str,
        *lives: int,
        question: int = -1,
        now: float = 1.0,
        holder: HolderAnswer = HolderAnswer.UNSPECIFIED,
        by: str = "",
        over: Link | None = None,
    ) -> None:
        asked = self.question(question)
        cells = tuple(CellInfo(fqcn, life) for life in lives)
        claim_id = 0 if holder is HolderAnswer.UNSPECIFIED else asked.claim_id
        reply = QueryReply(asked.query_id, "me", by or fqcn, cells, 16, holder=holder, claim_id=claim_id)
        self.contests.on_reply(over or self.way(fqcn), reply, now)

    def pass_time(self, now: float) -> None:
        self.context.deadlines.expire(now)


def test_an_answer_ends_the_claim_that_was_asked_about_alone() -> None:
    rig = Rig()
    rig.claim("a", "left")
    rig.claim("b", "right")
    rig.answer("b", HOLDER)
    assert rig.decided == [("right", "held at b:1")]
    rig.pass_time(CLAIM_S)
    assert rig.decided[1:] == [("left", "free")]


@pytest.mark.parametrize("holder", HolderAnswer)
def test_only_what_comes_over_the_way_to_the_holder_counts(holder: HolderAnswer) -> None:
    rig = Rig()
    rig.claim("a", "left")
    rig.answer("a", HOLDER, holder=holder, over=rig.way("liar"))
    assert rig.decided == []


@pytest.mark.parametrize("holder", [HolderAnswer.UNSPECIFIED, HolderAnswer.HERE, HolderAnswer.MOVED])
def test_another_cell_on_the_way_cannot_answer_for_the_holder(holder: HolderAnswer) -> None:
    rig = Rig()
    rig.claim("a", "left")
    rig.answer("a", HOLDER, holder=holder, by="between")
    assert rig.decided == []


def test_a_cell_on_the_way_that_has_no_lane_to_the_holder_says_so_and_the_name_is_free_at_once() -> None:
    rig = Rig()
    rig.claim("a", "left")
    rig.answer("a", holder=HolderAnswer.GONE, by="between")
    assert rig.decided == [("left", "free")]
    rig.pass_time(CLAIM_S)
    assert len(rig.decided) == 1


def test_the_end_of_the_way_leaves_nothing_to_a_claimant_that_is_gone() -> None:
    rig = Rig()
    rig.claim("a", "left")
    rig.contests.leave("left")
    rig.answer("a", holder=HolderAnswer.GONE, by="between")
    rig.claim("a", "left", now=2.0)
    assert (rig.decided, len(rig.asked)) == ([], 2)


def test_a_holder_that_knows_a_claim_as_its_own_hands_the_name_to_that_one() -> None:
    rig = Rig()
    rig.claim("a", "liar", claim=Claim(rig.decided, "liar", life=HOLDER, claim_id=7))
    rig.claim("a", "own", claim=Claim(rig.decided, "own", life=HOLDER, claim_id=8))
    rig.answer("a", holder=HolderAnswer.MOVED)
    assert rig.decided == [("own", "free"), ("liar", "passed over")]


def test_a_holder_that_does_not_know_a_claim_refuses_that_one_alone() -> None:
    rig = Rig()
    rig.claim("a", "liar", claim=Claim(rig.decided, "liar", life=HOLDER, claim_id=7))
    rig.claim("a", "own", claim=Claim(rig.decided, "own", life=HOLDER, claim_id=8))
    rig.answer("a", HOLDER, question=0, holder=HolderAnswer.HERE)
    assert rig.decided == [("liar", "held at a:1")]
    # Of the other claim it has not said anything, but it lives: the time begins anew.
    rig.pass_time(CLAIM_S)
    assert len(rig.decided) == 1
    rig.pass_time(1.0 + CLAIM_S)
    assert rig.decided[1:] == [("own", "free")]


def test_a_claim_is_asked_about_once_until_it_is_answered() -> None:
    rig = Rig()
    for _ in range(3):
        rig.claim("a", "left")
    assert len(rig.asked) == 1
    rig.answer("a", HOLDER, holder=HolderAnswer.HERE)
    rig.claim("a", "left", now=1.0)
    assert len(rig.asked) == 2


def test_a_claim_that_the_holder_knows_and_that_is_gone_changes_nothing() -> None:
    rig = Rig()
    rig.claim("a", "own", claim=Claim(rig.decided, "own", life=HOLDER, claim_id=8))
    rig.contests.leave("own")
    rig.answer("a", holder=HolderAnswer.MOVED)
    rig.claim("a", "liar", now=CLAIM_S + 1)
    assert (rig.decided, len(rig.asked)) == ([], 2)


def test_a_cell_of_before_that_may_be_both_is_believed_to_be_the_claimant() -> None:
    rig = Rig()
    rig.claim("a", "own", claim=Claim(rig.decided, "own", life=HOLDER, may_be_both=True))
    rig.answer("a", HOLDER)
    assert rig.decided == [("own", "free")]


@pytest.mark.parametrize("life", [HOLDER, NEWCOMER])
def test_a_cell_of_before_keeps_its_name_by_saying_who_it_is(life: int) -> None:
    rig = Rig()
    rig.claim("a", "left", claim=Claim(rig.decided, "left", life=life))
    rig.answer("a", HOLDER)
    assert rig.decided == [("left", "held at a:1")]


def test_what_a_newcomer_says_of_itself_does_not_count() -> None:
    rig = Rig()
    rig.claim("a", "left")
    rig.answer("a", NEWCOMER)
    assert rig.decided == []
    rig.pass_time(CLAIM_S)
    assert rig.decided == [("left", "free")]


def test_a_holder_whose_way_is_gone_is_not_waited_for() -> None:
    rig = Rig()
    rig.claim("a", "left")
    rig.contests.on_holder_gone("b", 1.0)
    rig.contests.on_way_lost(rig.way("b"), 1.0)
    rig.pass_time(1.0)
    assert rig.decided == []
    rig.contests.on_way_lost(rig.way("a"), 1.0)
    rig.pass_time(1.0)
    assert rig.decided == [("left", "free")]


def test_of_two_that_claim_a_name_the_first_gets_it() -> None:
    rig = Rig()
    rig.claim("a", "first")
    rig.claim("a", "second", now=1.0)
    assert len(rig.asked) == 1
    rig.pass_time(CLAIM_S)
    assert rig.decided == [("first", "free"), ("second", "passed over")]


def test_who_comes_again_after_a_question_without_an_answer_has_the_name() -> None:
    rig = Rig()
    rig.claim("a", "first")
    rig.contests.leave("first")
    rig.pass_time(CLAIM_S)
    assert rig.decided == []
    rig.claim("a", "second", now=CLAIM_S + 1)
    assert rig.decided == [("second", "free")]
    assert len(rig.asked) == 1


def test_who_leaves_before_the_answer_comes_has_not_shown_that_there_is_none() -> None:
    rig = Rig()
    rig.claim("a", "first")
    rig.contests.leave("first")
    rig.answer("a", HOLDER, holder=HolderAnswer.HERE)
    rig.claim("a", "second", now=CLAIM_S + 1)
    assert (rig.decided, len(rig.asked)) == ([], 2)


def test_a_question_is_not_remembered_for_ever() -> None:
    rig = Rig()
    rig.claim("a", "first")
    rig.contests.leave("first")
    rig.pass_time(CLAIM_S)
    rig.pass_time(20.0)
    rig.claim("a", "second", now=20.0)
    assert len(rig.asked) == 2
    assert rig.decided == []


def test_who_does_not_want_the_name_any_more_does_not_get_it() -> None:
    rig = Rig()
    rig.claim("a", "left")
    assert rig.contests.find("a", "left") is not None
    rig.contests.withdraw("a", "left")
    assert rig.contests.find("a", "left") is None
    assert rig.contests.find("b", "left") is None
    rig.pass_time(CLAIM_S)
    assert rig.decided == []


def test_who_waits_for_two_names_gets_both() -> None:
    rig = Rig()
    for name in ("a", "b"):
        rig.claim(name, "left", claim=Claim(rig.decided, name))
    rig.answer("a", holder=HolderAnswer.GONE, question=0, by="between")
    rig.answer("b", holder=HolderAnswer.GONE, by="between")
    assert rig.decided == [("a", "free"), ("b", "free")]


def test_two_names_behind_one_way_end_with_it() -> None:
    rig = Rig()
    rig.ways["b"] = rig.way("a")
    for name in ("a", "b"):
        rig.claim(name, "left", claim=Claim(rig.decided, name))
    rig.contests.on_way_lost(rig.way("a"), 1.0)
    rig.pass_time(1.0)
    assert rig.decided == [("a", "free"), ("b", "free")]


def test_a_name_that_has_another_holder_is_asked_about_anew() -> None:
    rig = Rig()
    rig.claim("a", "left")
    rig.claim("a", "right", life=HOLDER + 5)
    assert rig.decided == [("left", "passed over")]
    rig.answer("a", HOLDER + 5)
    assert rig.decided[1:] == [("right", "held at a:1")]


def test_who_claims_anew_when_passed_over_is_not_passed_over_twice() -> None:
    rig = Rig()
    rig.claim(
        "a", "left", claim=Claim(rig.decided, "left", when_passed=lambda: rig.claim("a", "left", life=HOLDER + 5))
    )
    rig.claim("a", "third", life=HOLDER + 5)
    assert rig.decided[0] == ("left", "passed over")
    rig.answer("a", HOLDER + 5)
    assert sorted(rig.decided[-2:]) == [("left", "held at a:1"), ("third", "held at a:1")]
