from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from streamcell.limits import INITIAL_CREDIT_BYTES, KIB, MIB
from streamcell.protocol.flow.credit import RememberedWindow, Window, WindowBudget

ALONE = ("origin", "origin")


class WindowMachine(RuleBasedStateMachine):
    """Windows of one budget that grow and close in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.budget = WindowBudget(3 * MIB)
        self.remembered = RememberedWindow()
        self.windows: list[tuple[Window, int]] = []

    @rule(begins=st.booleans(), remaining=st.none() | st.integers(0, 4 * MIB))
    def open(self, begins: bool, remaining: int | None) -> None:
        window = Window(self.budget, ALONE, 2 * MIB)
        if begins:
            free = self.budget.free_bytes
            window.begin_as(self.remembered, remaining)
            assert window.size <= max(INITIAL_CREDIT_BYTES, self.remembered.size)
            assert remaining is None or window.size <= max(INITIAL_CREDIT_BYTES, remaining)
            assert free - self.budget.free_bytes <= free // 2
        self.windows.append((window, 0))

    @rule(choice=st.integers(0, 50), part=st.sampled_from([0.25, 0.5, 1.0, 4.0]), unread=st.booleans())
    def read(self, choice: int, part: float, unread: bool) -> None:
        if self.windows:
            window, consumed = self.windows.pop(choice % len(self.windows))
            credit = consumed + window.size
            consumed += int(window.size * part)
            before = window.size
            window.grow(consumed, consumed + (window.size if unread else 0))
            assert window.size <= 4 * before
            assert not unread or window.size <= before
            # A window that yields to others takes no credit back.
            assert consumed + window.size >= credit
            self.windows.append((window, consumed))

    @rule(choice=st.integers(0, 50))
    def close(self, choice: int) -> None:
        if self.windows:
            self.windows.pop(choice % len(self.windows))[0].close()

    @invariant()
    def nothing_is_lost_or_made(self) -> None:
        taken = sum(window.size - INITIAL_CREDIT_BYTES for window, _ in self.windows)
        assert self.budget.free_bytes == 3 * MIB - taken
        assert self.budget.free_bytes >= 0
        assert all(INITIAL_CREDIT_BYTES <= window.size <= 2 * MIB for window, _ in self.windows)
        assert self.remembered.size <= 2 * MIB

    def teardown(self) -> None:
        """All of what may be given ahead is there again when every window is closed."""
        for window, _ in self.windows:
            window.close()
        self.remembered.raise_to(2 * MIB)
        window = Window(self.budget, ALONE, 2 * MIB)
        window.begin_as(self.remembered, None)
        assert window.size == INITIAL_CREDIT_BYTES + 3 * MIB // 4


WindowMachine.TestCase.settings = settings(max_examples=50, stateful_step_count=30)
TestWindows = WindowMachine.TestCase


def test_a_window_grows_to_its_maximum_when_the_reader_keeps_up() -> None:
    window, consumed = Window(WindowBudget(64 * MIB), ALONE, MIB), 0
    for _ in range(20):
        consumed += window.size
        window.grow(consumed, consumed)
    assert window.size == MIB


def test_a_window_stays_small_when_the_reader_is_slow() -> None:
    window, consumed = Window(WindowBudget(64 * MIB), ALONE, MIB), 0
    for _ in range(100):
        consumed += 16 * KIB
        window.grow(consumed, consumed + window.size)
    assert window.size == INITIAL_CREDIT_BYTES


def test_an_empty_budget_lets_no_window_grow() -> None:
    window = Window(WindowBudget(0), ALONE, MIB)
    window.grow(INITIAL_CREDIT_BYTES, INITIAL_CREDIT_BYTES)
    assert window.size == INITIAL_CREDIT_BYTES


def test_a_window_above_its_fair_share_gives_back_what_others_want() -> None:
    """The credit that it has given, what was consumed plus its size, never falls."""
    budget = WindowBudget(1000 * KIB)
    first = Window(budget, ALONE, 10_000 * KIB)
    consumed = 0
    while budget.free_bytes > 0:
        consumed += first.size
        first.grow(consumed, consumed)
    second = Window(budget, ALONE, 10_000 * KIB)
    largest = first.size
    credit = consumed + first.size
    wanted = 0
    for _ in range(20):
        wanted += second.size
        second.grow(wanted, wanted)
        consumed += 100 * KIB
        first.grow(consumed, consumed)
        assert consumed + first.size >= credit
        credit = consumed + first.size
    assert first.size < largest
    assert first.size - INITIAL_CREDIT_BYTES >= 500 * KIB - 100 * KIB
    assert second.size > INITIAL_CREDIT_BYTES
    for window in (first, second, first):
        window.close()
    assert budget.free_bytes == 1000 * KIB


def test_a_burst_that_has_just_come_does_not_keep_a_window_small() -> None:
    window = Window(WindowBudget(64 * MIB), ALONE, MIB)
    window.grow(window.size, 2 * window.size)
    assert window.size == INITIAL_CREDIT_BYTES
    window.grow(window.size + window.size // 2, 2 * window.size)
    assert window.size == 4 * INITIAL_CREDIT_BYTES


def test_a_window_reaches_32_mib_in_four_windows() -> None:
    window, consumed = Window(WindowBudget(256 * MIB), ALONE, 32 * MIB), 0
    sizes = []
    for _ in range(5):
        sizes.append(window.size)
        consumed += window.size
        window.grow(consumed, consumed)
    assert sizes == [256 * KIB, MIB, 4 * MIB, 16 * MIB, 32 * MIB]


def test_a_window_that_found_no_memory_asks_again_soon() -> None:
    budget = WindowBudget(INITIAL_CREDIT_BYTES)
    window, other = Window(budget, ALONE, MIB), Window(budget, ALONE, MIB)
    other.grow(other.size, other.size)
    window.grow(window.size, window.size)
    assert window.size == INITIAL_CREDIT_BYTES
    other.close()
    window.grow(window.size + 1, window.size + 1)
    assert window.size == 2 * INITIAL_CREDIT_BYTES


def remembered(size: int) -> RememberedWindow:
    memory = RememberedWindow()
    memory.raise_to(size)
    return memory


def test_what_a_stream_has_used_is_remembered_and_no_more() -> None:
    memory = RememberedWindow()
    window = Window(WindowBudget(256 * MIB), ALONE, 32 * MIB)
    window.begin_as(memory, None)
    used = []
    for consumed in (256 * KIB, 256 * KIB + MIB, 5 * MIB, 8 * MIB, 40 * MIB, 80 * MIB):
        window.grow(consumed, consumed)
        used.append(memory.size)
    # The last window but one had 16 MiB, of which 3 MiB were consumed by 8 MiB; it grew to 32 MiB at 40 MiB.
    assert used == [256 * KIB, MIB, 3 * MIB + 768 * KIB, 3 * MIB + 768 * KIB, 16 * MIB, 32 * MIB]


def test_a_stream_begins_with_what_others_have_used() -> None:
    window = Window(WindowBudget(256 * MIB), ALONE, 32 * MIB)
    window.begin_as(remembered(8 * MIB), None)
    assert window.size == 8 * MIB
    # And goes on to grow once it has used it.
    window.grow(8 * MIB - 1, 8 * MIB - 1)
    assert window.size == 8 * MIB
    window.grow(8 * MIB, 8 * MIB)
    assert window.size == 32 * MIB


def test_a_window_is_no_larger_than_the_rest_of_its_stream_and_the_maximum() -> None:
    budget = WindowBudget(256 * MIB)
    sizes = []
    for remaining, most in ((2 * MIB, 32 * MIB), (100 * KIB, 32 * MIB), (None, MIB)):
        window = Window(budget, ALONE, most)
        window.begin_as(remembered(8 * MIB), remaining)
        sizes.append(window.size)
    assert sizes == [2 * MIB, INITIAL_CREDIT_BYTES, MIB]


def test_half_of_the_budget_is_never_given_ahead() -> None:
    budget, memory = WindowBudget(64 * MIB), remembered(32 * MIB)
    windows = [Window(budget, ALONE, 32 * MIB) for _ in range(1000)]
    for window in windows:
        window.begin_as(memory, None)
    assert 32 * MIB <= budget.free_bytes < 33 * MIB
    # Who goes on still grows: out of the other half.
    windows[-1].grow(INITIAL_CREDIT_BYTES, INITIAL_CREDIT_BYTES)
    assert windows[-1].size == 4 * INITIAL_CREDIT_BYTES
    # What has been used, or is over, makes room for others to begin.
    before = budget.free_bytes
    windows[0].grow(windows[0].size, windows[0].size)
    windows[1].close()
    late = Window(budget, ALONE, 32 * MIB)
    late.begin_as(memory, None)
    assert late.size > 8 * MIB
    assert before > budget.free_bytes > 0
    for window in [*windows, late]:
        window.close()
    assert budget.free_bytes == 64 * MIB


def test_a_slow_reader_gives_back_what_it_was_given_ahead_and_is_remembered() -> None:
    budget, memory = WindowBudget(256 * MIB), remembered(32 * MIB)
    window = Window(budget, ALONE, 32 * MIB)
    window.begin_as(memory, None)
    consumed = 0
    while consumed < 64 * MIB:
        credit = consumed + window.size
        consumed += 32 * KIB
        window.grow(consumed, credit)
        # Credit never falls.
        assert consumed + window.size >= credit
    assert window.size == memory.size == INITIAL_CREDIT_BYTES
    assert budget.free_bytes == 256 * MIB
    # It grows again once it keeps up.
    consumed += window.size
    window.grow(consumed, consumed)
    assert window.size == 4 * INITIAL_CREDIT_BYTES


def test_a_burst_does_not_cost_a_window_what_it_was_given() -> None:
    window = Window(WindowBudget(256 * MIB), ALONE, 32 * MIB)
    window.begin_as(remembered(32 * MIB), None)
    window.grow(8 * MIB, 32 * MIB)
    assert window.size == 32 * MIB


def test_a_window_that_was_used_stays_where_the_reader_becomes_slow() -> None:
    window = Window(WindowBudget(256 * MIB), ALONE, 32 * MIB)
    window.begin_as(remembered(32 * MIB), None)
    window.grow(32 * MIB, 32 * MIB)
    window.grow(33 * MIB, 65 * MIB)
    assert window.size == 32 * MIB


def test_windows_that_yield_to_others_are_remembered_as_they_are() -> None:
    budget, memory = WindowBudget(4 * MIB), remembered(32 * MIB)
    window = Window(budget, ALONE, 32 * MIB)
    window.begin_as(memory, None)
    window.grow(window.size, window.size)
    other = Window(budget, ALONE, 32 * MIB)
    other.grow(INITIAL_CREDIT_BYTES, INITIAL_CREDIT_BYTES)
    window.grow(16 * MIB, 16 * MIB)
    assert memory.size == window.size == INITIAL_CREDIT_BYTES + 2 * MIB


def test_what_was_learnt_is_forgotten_after_a_long_silence() -> None:
    memory = remembered(MIB)
    for now in (10.0, 70.0, 130.0):
        memory.heard(now)
        assert memory.size == MIB
    memory.heard(190.1)
    assert memory.size == 0


@pytest.mark.parametrize(("size", "step"), [(INITIAL_CREDIT_BYTES, 64 * KIB), (32 * MIB, 4 * MIB)])
def test_a_credit_is_worth_a_frame_when_it_moves_by_an_eighth_or_64_kib(size: int, step: int) -> None:
    window = Window(WindowBudget(256 * MIB), ALONE, 32 * MIB)
    window.begin_as(remembered(size), None)
    assert window.step_bytes == step


def test_consumption_counts_from_where_the_stream_begins_here() -> None:
    budget, memory = WindowBudget(4 * MIB), RememberedWindow()
    window = Window(budget, ALONE, 32 * MIB)
    window.begin_as(memory, None)
    window.start_at(100 * MIB)
    window.grow(100 * MIB + INITIAL_CREDIT_BYTES, 100 * MIB + INITIAL_CREDIT_BYTES)
    assert (window.size, memory.size) == (4 * INITIAL_CREDIT_BYTES, INITIAL_CREDIT_BYTES)
