"""What streams take from the budget of windows before anything is granted to them."""

from __future__ import annotations

import pytest

from streamcell.limits import FREE_HEADERS_BYTES, HEADER_OBJECTS_BYTES, INITIAL_CREDIT_BYTES, KIB, MIB
from streamcell.message import Headers
from streamcell.protocol.flow.charges import charge, first_bytes, headers_bytes
from streamcell.protocol.flow.credit import WindowBudget
from streamcell.protocol.wire.description import StreamKind
from tests.core.samples import make_open

PARTY = ("neighbour", "origin")
FEW: Headers = (("k", b"v" * 1000),)
MANY: Headers = (("k", b"v" * 100 * KIB),)


def free_after(credit: int, *, is_free: bool, headers: Headers = (), envelope: bytes = b"") -> int:
    budget = WindowBudget(MIB)
    opening = make_open(StreamKind.STREAM, headers=headers, sealing_envelope=envelope)
    assert charge(budget, PARTY, credit, opening, is_free=is_free) is not None
    return MIB - budget.free_bytes


def test_a_stream_brings_no_more_than_its_size_before_its_first_credit() -> None:
    assert [first_bytes(size) for size in (None, MIB, 5, -5)] == [INITIAL_CREDIT_BYTES, INITIAL_CREDIT_BYTES, 5, 0]


@pytest.mark.parametrize(
    ("value", "size"), [(b"abcd", 4), ("abcd", 4), ("äbcd", 16), (17, 0), (1.5, 0), (True, 0)], ids=repr
)
def test_headers_count_as_what_they_take(value: bytes | str | float, size: int) -> None:
    assert headers_bytes((("key", value), ("k", value))) == 4 + 2 * (size + HEADER_OBJECTS_BYTES)


def test_what_is_free_is_not_taken() -> None:
    assert free_after(1000, is_free=True) == 0
    assert free_after(1000, is_free=True, headers=FEW) == 0
    assert free_after(1000, is_free=True, headers=MANY) == headers_bytes(MANY) - FREE_HEADERS_BYTES
    assert free_after(1000, is_free=True, envelope=bytes(20 * KIB)) == 20 * KIB - FREE_HEADERS_BYTES
    assert free_after(1000, is_free=False, headers=FEW) == 1000 + headers_bytes(FEW)
    assert free_after(0, is_free=False) == 0


def test_each_part_is_given_back_once() -> None:
    budget = WindowBudget(MIB)
    opening = make_open(StreamKind.STREAM, headers=MANY)
    taken = charge(budget, PARTY, 1000, opening, is_free=False)
    assert taken is not None
    for _ in range(2):
        taken.give_back_headers()
        assert budget.free_bytes == MIB - 1000
    for _ in range(2):
        taken.give_back_credit()
        assert budget.free_bytes == MIB
    taken.give_back()
    assert budget.free_bytes == MIB


def test_where_nothing_is_left_only_what_brings_nothing_may_begin() -> None:
    budget = WindowBudget(MIB)
    large, small = make_open(StreamKind.STREAM, headers=MANY), make_open(StreamKind.STREAM)
    assert budget.take_whole(PARTY, MIB)
    assert charge(budget, PARTY, 1, small, is_free=False) is None
    assert charge(budget, PARTY, 0, large, is_free=True) is None
    assert charge(budget, PARTY, 0, small, is_free=False) is not None


def test_headers_larger_than_the_budget_find_room_when_nobody_else_holds_any() -> None:
    budget = WindowBudget(50 * KIB)
    opening = make_open(StreamKind.STREAM, headers=MANY)
    taken = charge(budget, PARTY, 0, opening, is_free=True)
    assert taken is not None
    assert budget.free_bytes == 25 * KIB
