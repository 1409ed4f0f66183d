"""Names that a second life claims: which claim an answer ends, and that each is decided once."""

from __future__ import annotations

from collections.abc import Callable

from streamcell.protocol.links.contest import CLAIM_S, ContestTable, Holder
from streamcell.protocol.wire.frames import CellInfo, Frame, Query, QueryReply
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
    ) -> None:
        self.incarnation = NEWCOMER
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

    def claim(
        self,
        fqcn: str,
        contender: str,
        *,
        place: str = "",
        life: int = HOLDER,
        now: float = 0.0,
        claim: Claim | None = None,
    ) -> None:
        holder = Holder(fqcn, life, make_link(fqcn, life), f"{fqcn}:1")
        made = claim or Claim(self.decided, f"{contender}{place}")
        self.contests.claim(contender, holder, place, made, now)

    def answer(self, fqcn: str, life: int, query: int = -1, now: float = 1.0) -> None:
        asked = self.asked[query]
        assert isinstance(asked, Query)
        self.contests.on_reply(QueryReply(asked.query_id, "me", fqcn, (CellInfo(fqcn, life),), 16), now)

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


def test_what_a_newcomer_says_of_itself_does_not_count() -> None:
    rig = Rig()
    rig.claim("a", "left")
    rig.answer("a", NEWCOMER)
    assert rig.decided == []


def test_a_holder_whose_way_is_gone_is_not_waited_for() -> None:
    rig = Rig()
    rig.claim("a", "left")
    rig.contests.on_holder_gone("b", 1.0)
    rig.pass_time(1.0)
    assert rig.decided == []
    rig.contests.on_holder_gone("a", 1.0)
    rig.pass_time(1.0)
    assert rig.decided == [("left", "free")]


def test_the_same_contender_asks_once_and_only_one_of_its_claims_gets_the_name() -> None:
    rig = Rig()
    rig.claim("a", "left", place=" first")
    rig.claim("a", "left", place=" second", now=1.0)
    assert len(rig.asked) == 1
    rig.pass_time(CLAIM_S)
    assert rig.decided == [("left second", "passed over"), ("left first", "free")]


def test_who_comes_again_after_a_question_without_an_answer_has_the_name() -> None:
    rig = Rig()
    rig.claim("a", "left", place=" first")
    rig.contests.leave(" first")
    rig.pass_time(CLAIM_S)
    assert rig.decided == []
    rig.claim("a", "left", place=" second", now=CLAIM_S + 1)
    assert rig.decided == [("left second", "free")]
    assert len(rig.asked) == 1


def test_a_question_is_not_remembered_for_ever() -> None:
    rig = Rig()
    rig.claim("a", "left", place=" first")
    rig.contests.leave(" first")
    rig.claim("a", "left", place=" second", now=20.0)
    assert len(rig.asked) == 2
    assert rig.decided == []


def test_a_name_that_has_another_holder_is_asked_about_anew() -> None:
    rig = Rig()
    rig.claim("a", "left")
    rig.claim("a", "right", life=HOLDER + 5)
    assert rig.decided == [("left", "passed over")]
    rig.answer("a", HOLDER + 5)
    assert rig.decided[1:] == [("right", "held at a:1")]


def test_a_claim_that_goes_while_another_is_decided_is_not_decided() -> None:
    rig = Rig()
    rig.claim("a", "left", claim=Claim(rig.decided, "left", lambda: rig.contests.forget("right")))
    rig.claim("a", "right")
    rig.pass_time(CLAIM_S)
    assert rig.decided == [("left", "free")]


def test_who_claims_anew_when_passed_over_is_not_passed_over_twice() -> None:
    rig = Rig()
    rig.claim(
        "a", "left", claim=Claim(rig.decided, "left", when_passed=lambda: rig.claim("a", "left", life=HOLDER + 5))
    )
    rig.claim("a", "right")
    rig.claim("a", "third", life=HOLDER + 5)
    assert rig.decided[0] == ("left", "passed over")
    rig.answer("a", HOLDER + 5, query=-2)
    rig.answer("a", HOLDER + 5)
    assert sorted(rig.decided[-2:]) == [("left", "held at a:1"), ("third", "held at a:1")]
