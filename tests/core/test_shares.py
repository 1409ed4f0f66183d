"""Who gets how much of what many want, and in which order."""

from __future__ import annotations

from streamcell.limits import INITIAL_CREDIT_BYTES, MIB
from streamcell.protocol.flow.credit import Window, WindowBudget
from streamcell.protocol.flow.shares import Line, Shares
from streamcell.protocol.wire.addressing import Party

A, B, C = ("a", "a"), ("b", "b"), ("c", "c")


def filled(shares: Shares, line: Line[int], count: int = 100) -> list[str]:
    """Serve those whose turn it is, one unit each, while there is room; return their names."""
    served: list[str] = []
    while (party := line.next_party(1)) is not None and shares.has_room(party, 1) and len(served) < count:
        line.take(party)
        shares.take(party, 1)
        served.append(party[1])
    return served


def shares_and_line(capacity: int, spare: int) -> tuple[Shares, Line[int]]:
    shares = Shares(capacity, spare)
    return shares, Line(shares)


def test_one_that_is_alone_gets_everything_and_no_more() -> None:
    shares, line = shares_and_line(8, 4)
    for number in range(20):
        line.join(A, number)
    assert filled(shares, line) == ["a"] * 8
    assert (len(line), line.has_others(A), line.has_others(B)) == (12, False, True)


def test_one_that_comes_late_gets_half_of_the_spare_and_the_next_half_of_the_rest() -> None:
    shares, line = shares_and_line(8, 4)
    for party in (A, B, C):
        for number in range(20):
            line.join(party, number)
        filled(shares, line)
    assert (shares.used, shares.room(A) < 1, shares.room(B) < 1, shares.room(C) < 1) == (11, True, True, True)
    assert shares.room(("d", "d")) == 1


def test_what_comes_free_goes_to_who_holds_less_than_half() -> None:
    shares, line = shares_and_line(8, 0)
    for number in range(20):
        line.join(A, number)
    filled(shares, line)
    for number in range(20):
        line.join(B, number)
    served = []
    for _ in range(8):
        shares.give_back(A, 1)
        served += filled(shares, line)
    assert served == ["b", "b", "b", "b", "a", "a", "a", "a"]
    shares.give_back(B, 1)
    assert filled(shares, line) == ["b"]


def test_where_everybody_holds_half_it_is_the_first_ones_turn() -> None:
    shares, line = shares_and_line(3, 0)
    shares.take(A, 2)
    shares.take(B, 2)
    line.join(B, 0)
    line.join(A, 0)
    assert line.next_party() == B


def test_those_behind_one_neighbour_share_as_neighbours_do() -> None:
    shares, line = shares_and_line(6, 0)
    one, two = ("hub", "hub.one"), ("hub", "hub.two")
    for number in range(20):
        line.join(one, number)
    assert filled(shares, line) == ["hub.one"] * 6
    line.join(two, 0)
    shares.give_back(one, 1)
    assert filled(shares, line) == ["hub.two"]
    shares.give_back(one, 4)
    line.join(A, 0)
    assert filled(shares, line) == ["hub.one", "a", "hub.one", "hub.one"]


def test_who_leaves_the_line_is_not_served() -> None:
    _, line = shares_and_line(6, 0)
    line.join(A, 1)
    line.join(A, 2)
    line.leave(A, 1)
    assert line.first_of(A) == 2
    line.leave(A, 2)
    assert (line.next_party(), len(line)) == (None, 0)


def test_something_of_no_size_is_not_held() -> None:
    shares = Shares(1, 0)
    shares.take(A, 0)
    shares.give_back(A, 0)
    assert shares.takes_first(A, 1)
    shares.take(A, 1)
    assert not shares.takes_first(A, 0)


def short_of(budget: WindowBudget) -> Party | None:
    return budget.short


def grown(window: Window, rounds: int = 10) -> int:
    """Let a reader keep up for a while."""
    consumed = 0
    for _ in range(rounds):
        consumed += window.size
        window.grow(consumed, consumed)
    return window.size


def test_windows_of_one_origin_do_not_take_what_others_need_to_begin() -> None:
    """The first, which holds all and reads no further, keeps it; the others go on out of the spare."""
    budget = WindowBudget(8 * MIB)
    assert grown(Window(budget, A, 32 * MIB)) == 8 * MIB + INITIAL_CREDIT_BYTES
    assert grown(Window(budget, B, 32 * MIB)) == 2 * MIB + INITIAL_CREDIT_BYTES
    assert grown(Window(budget, C, 32 * MIB)) == MIB + INITIAL_CREDIT_BYTES


def test_a_window_beyond_half_does_not_grow_while_another_origin_is_short() -> None:
    budget = WindowBudget(8 * MIB)
    first, second, third = Window(budget, A, 5 * MIB), Window(budget, B, 32 * MIB), Window(budget, A, 32 * MIB)
    grown(first)
    grown(second)
    assert short_of(budget) == B
    first.close()
    assert grown(third) >= 4 * MIB
    size = third.size
    assert budget.free_bytes > 0
    assert grown(third) == size
    # Alone again it may have everything.
    second.close()
    assert short_of(budget) is None
    assert grown(third) == 8 * MIB + INITIAL_CREDIT_BYTES


def test_the_fair_share_of_a_window_is_counted_by_neighbour_origin_and_window() -> None:
    budget = WindowBudget(8 * MIB)
    hub = [Window(budget, ("hub", f"hub.{number}"), MIB) for number in range(4)]
    leaf = [Window(budget, A, MIB) for _ in range(2)]
    assert budget.excess(A, 8 * MIB) == 0
    budget.take(A, 9 * MIB)
    assert budget.excess(A, 8 * MIB) == 6 * MIB
    assert budget.excess(("hub", "hub.0"), 8 * MIB) == 7 * MIB
    for window in [*hub, *leaf]:
        window.close()
    assert budget.short is None


def test_who_was_short_is_forgotten_once_it_has_what_it_wants() -> None:
    budget = WindowBudget(8 * MIB)
    budget.enter(A)
    assert (budget.take(A, 9 * MIB), short_of(budget)) == (8 * MIB, A)
    budget.give_back(A, 4 * MIB)
    assert (budget.take(A, MIB), short_of(budget)) == (MIB, None)
