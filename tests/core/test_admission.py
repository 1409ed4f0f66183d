"""The memory for what is assembled: in order for one origin, in turns for several."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from streamcell.protocol.flow.admission import Admission
from streamcell.protocol.wire.addressing import Party
from streamcell.protocol.wire.frames import StreamKey

CAPACITY = 100
LARGEST = 3 * CAPACITY
ALONE = ("origin", "origin")
# Three neighbours; behind the first there are two origins.
PARTIES = (("hub", "hub.a"), ("hub", "hub.b"), ("leaf", "leaf"), ("far", "far"))


def key(number: int, origin: str = "origin") -> StreamKey:
    return StreamKey(origin, 1, number)


class AdmissionMachine(RuleBasedStateMachine):
    """Blobs that wait, grow and go, against a list of those that are there."""

    def __init__(self) -> None:
        super().__init__()
        self.admission = Admission(CAPACITY, LARGEST)
        self.number = 0
        self.waiting: dict[StreamKey, int | None] = {}
        self.admitted: dict[StreamKey, int] = {}
        self.unknown: list[StreamKey] = []

    @rule(size=st.none() | st.integers(0, 2 * CAPACITY))
    def request(self, size: int | None) -> None:
        self.number += 1
        name = key(self.number)
        if self.admission.request(name, ALONE, size):
            assert not self.waiting
            self.admitted[name] = size or 0
            if size is None:
                self.unknown.append(name)
        else:
            self.waiting[name] = size

    @rule()
    def admit(self) -> None:
        first = next(iter(self.waiting), None)
        admitted = self.admission.next_admitted()
        assert admitted in (None, first)
        if admitted is not None:
            size = self.waiting.pop(admitted)
            self.admitted[admitted] = size or 0
            if size is None:
                self.unknown.append(admitted)
        else:
            # Only what does not fit beside others has to wait.
            need = (self.waiting[first] or 0) if first is not None else 0
            assert first is None or (self.admitted and self.used + need > CAPACITY)

    @rule(choice=st.integers(0, 20), size=st.integers(1, CAPACITY))
    def grow(self, choice: int, size: int) -> None:
        if self.unknown:
            chosen = self.unknown[choice % len(self.unknown)]
            granted = self.admission.grow(chosen, size, contested=False)
            assert granted == (self.used + size <= CAPACITY or chosen == self.unknown[0])
            if granted:
                self.admitted[chosen] += size

    @rule(choice=st.integers(0, 20))
    def release(self, choice: int) -> None:
        known = [*self.admitted, *self.waiting]
        if known:
            chosen = known[choice % len(known)]
            self.admission.release(chosen)
            self.admitted.pop(chosen, None)
            self.waiting.pop(chosen, None)
            if chosen in self.unknown:
                self.unknown.remove(chosen)

    @property
    def used(self) -> int:
        return sum(self.admitted.values())

    @invariant()
    def the_budget_is_kept_but_for_one(self) -> None:
        # Beyond it goes the one that is served alone, and the oldest of unknown size.
        oldest = self.unknown[0] if self.unknown else None
        rest = {name: size for name, size in self.admitted.items() if name != oldest}
        largest = max(rest.values(), default=0)
        assert sum(rest.values()) - largest <= CAPACITY

    def teardown(self) -> None:
        """Everybody who waits is served in the end, in order."""
        order = list(self.waiting)
        served = []
        while self.waiting:
            while (admitted := self.admission.next_admitted()) is not None:
                served.append(admitted)
                del self.waiting[admitted]
                self.admitted[admitted] = 0
            chosen = next(iter(self.admitted))
            del self.admitted[chosen]
            self.admission.release(chosen)
        assert served == order


AdmissionMachine.TestCase.settings = settings(max_examples=50, stateful_step_count=40)
TestAdmission = AdmissionMachine.TestCase


class Memory:
    """Blobs that ask for memory, and which of them have got some since that was asked last."""

    def __init__(self) -> None:
        self.admission = Admission(CAPACITY, LARGEST)
        self._admitted: list[StreamKey] = []

    def ask(self, party: Party, number: int, size: int | None) -> None:
        name = key(number, party[1])
        if self.admission.request(name, party, size):
            self._admitted.append(name)

    def release(self, party: Party, number: int) -> None:
        self.admission.release(key(number, party[1]))

    def admitted(self) -> list[tuple[str, int]]:
        while (name := self.admission.next_admitted()) is not None:
            self._admitted.append(name)
        admitted, self._admitted = self._admitted, []
        return [(name.origin, name.stream_id) for name in admitted]


@given(st.lists(st.integers(1, LARGEST), max_size=20))
def test_sizes_that_are_declared_never_exceed_the_budget_but_alone(sizes: list[int]) -> None:
    memory = Memory()
    for number, size in enumerate(sizes):
        memory.ask(ALONE, number, size)
    admitted: dict[int, int] = {}
    served = 0
    while served < len(sizes):
        for _, number in memory.admitted():
            admitted[number] = sizes[number]
            served += 1
        assert sum(admitted.values()) <= CAPACITY or len(admitted) == 1
        first = next(iter(admitted))
        del admitted[first]
        memory.release(ALONE, first)


def test_a_small_one_does_not_overtake_a_large_one_that_waits() -> None:
    memory = Memory()
    for number, size in enumerate([60, 60, 1]):
        memory.ask(ALONE, number, size)
    assert memory.admitted() == [("origin", 0)]
    memory.release(ALONE, 0)
    assert memory.admitted() == [("origin", 1), ("origin", 2)]


def test_releasing_what_is_not_there_is_nothing() -> None:
    memory = Memory()
    memory.release(ALONE, 1)
    memory.ask(ALONE, 2, CAPACITY)
    assert memory.admitted() == [("origin", 2)]


class SharedMachine(RuleBasedStateMachine):
    """Blobs of several origins, against a list of what each holds."""

    def __init__(self) -> None:
        super().__init__()
        self.admission = Admission(CAPACITY, LARGEST)
        self.number = 0
        self.waiting: dict[StreamKey, tuple[Party, int]] = {}
        self.admitted: dict[StreamKey, tuple[Party, int]] = {}

    @rule(party=st.sampled_from(PARTIES), size=st.integers(0, LARGEST))
    def request(self, party: Party, size: int) -> None:
        self.number += 1
        name = key(self.number, party[1])
        if self.admission.request(name, party, size):
            assert not self.waiting
            self.note_admitted(name, party, size)
        else:
            self.waiting[name] = party, size

    @rule()
    def admit(self) -> None:
        name = self.admission.next_admitted()
        if name is not None:
            self.note_admitted(name, *self.waiting.pop(name))

    def note_admitted(self, name: StreamKey, party: Party, size: int) -> None:
        used = self.used()
        others = {waiting[0] for waiting, _ in self.waiting.values() if waiting[0] != party[0]}
        if 2 * self.used(party[0]) >= CAPACITY:
            # Nobody who holds less was passed over for one who holds half.
            assert all(2 * self.used(neighbour) >= CAPACITY for neighbour in others)
        alone = used == self.used(party[0])
        assert not alone or used == 0 or used + size <= CAPACITY or not self.used_by(party)
        self.admitted[name] = party, size

    @rule(choice=st.integers(0, 20))
    def release(self, choice: int) -> None:
        known = [*self.admitted, *self.waiting]
        if known:
            chosen = known[choice % len(known)]
            self.admission.release(chosen)
            self.admitted.pop(chosen, None)
            self.waiting.pop(chosen, None)

    def used(self, neighbour: str | None = None) -> int:
        return sum(size for party, size in self.admitted.values() if neighbour in (None, party[0]))

    def used_by(self, party: Party) -> int:
        return sum(size for holder, size in self.admitted.values() if holder == party)

    @invariant()
    def the_bound_is_kept(self) -> None:
        assert self.admission.used_bytes == self.used() <= CAPACITY + LARGEST
        assert self.admission.waiting == len(self.waiting)

    def teardown(self) -> None:
        """Everybody who waits is served in the end."""
        while self.waiting:
            while (name := self.admission.next_admitted()) is not None:
                self.admitted[name] = self.waiting.pop(name)
            if self.admitted:
                chosen = next(iter(self.admitted))
                del self.admitted[chosen]
                self.admission.release(chosen)


SharedMachine.TestCase.settings = settings(max_examples=50, stateful_step_count=40)
TestSharedAdmission = SharedMachine.TestCase


def test_one_that_holds_nothing_takes_a_blob_where_another_holds_all() -> None:
    memory, flood, late = Memory(), ("flood", "flood"), ("late", "late")
    for number in range(4):
        memory.ask(flood, number, 50)
    assert memory.admitted() == [("flood", 0), ("flood", 1)]
    memory.ask(late, 0, LARGEST)
    memory.ask(late, 1, 1)
    assert memory.admitted() == [("late", 0)]
    # The others of both wait until that is over.
    memory.release(flood, 0)
    assert memory.admitted() == []
    memory.release(late, 0)
    memory.ask(late, 2, 48)
    assert memory.admitted() == [("late", 1), ("late", 2)]
    memory.release(flood, 1)
    assert memory.admitted() == [("flood", 2)]


def full_memory() -> Memory:
    """Return a memory of which nothing is left, the spare included."""
    memory = Memory()
    memory.ask(("full", "full"), 0, CAPACITY)
    memory.ask(("more", "more"), 0, LARGEST)
    assert len(memory.admitted()) == 2
    return memory


def freed(memory: Memory) -> list[str]:
    memory.release(("more", "more"), 0)
    memory.release(("full", "full"), 0)
    return [origin for origin, _ in memory.admitted()]


def test_what_comes_free_goes_round_by_origin() -> None:
    memory = full_memory()
    for party, count in ((("a", "a"), 20), (("b", "b"), 3)):
        for number in range(count):
            memory.ask(party, number, 10)
    assert memory.admitted() == []
    assert freed(memory) == ["a", "b", "a", "b", "a", "b", "a", "a", "a", "a"]


def test_a_child_with_many_names_has_the_turns_of_one() -> None:
    memory = full_memory()
    for number in range(50):
        memory.ask(("child", f"child.{number}"), 0, 10)
    for number in range(5):
        memory.ask(("leaf", "leaf"), number, 10)
    assert freed(memory).count("leaf") == 5


def test_many_names_leave_half_of_the_spare_to_other_neighbours() -> None:
    memory = Memory()
    for number in range(1000):
        memory.ask(("child", f"child.{number}"), 0, 10)
    memory.admitted()
    assert memory.admission.used_bytes == CAPACITY + LARGEST // 2
    memory.ask(("leaf", "leaf"), 0, LARGEST // 2)
    assert memory.admitted() == [("leaf", 0)]


def test_one_that_holds_half_grows_no_further_while_others_wait_to_grow() -> None:
    memory = Memory()
    admission = memory.admission
    for party in (("a", "a"), ("b", "b")):
        for number in range(2):
            memory.ask(party, number, None)
    assert len(memory.admitted()) == 4
    assert admission.grow(key(1, "a"), 50, contested=True)
    assert not admission.grow(key(1, "a"), 10, contested=True)
    assert admission.grow(key(1, "a"), 10, contested=False)
    assert admission.grow(key(1, "b"), 10, contested=True)
    # The oldest goes on in any case, so that somebody comes to an end.
    assert admission.grow(key(0, "a"), 100, contested=True)
    memory.ask(("c", "c"), 0, LARGEST)
    assert not admission.grow(key(1, "a"), 1, contested=False)
