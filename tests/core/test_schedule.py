from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from streamcell.protocol.flow.schedule import RoundRobin, Standing

QUANTUM = 1000


@dataclasses.dataclass(eq=False)
class Member:
    name: str = ""
    chunk: int = 100
    left: int = 1 << 60
    eligible: bool = True
    sent: int = 0

    def standing_at(self, place: str) -> Standing:
        if self.left == 0:
            return Standing.GONE
        return Standing.READY if self.eligible else Standing.PASSES


def queue_of(*members: Member) -> RoundRobin[Member, str]:
    queue: RoundRobin[Member, str] = RoundRobin(QUANTUM)
    for member in members:
        queue.add(member)
    return queue


def take_turn(queue: RoundRobin[Member, str]) -> Member | None:
    member = queue.next("here")
    if member is not None:
        size = min(member.chunk, member.left)
        member.left -= size
        member.sent += size
        queue.next("here", taken=size)
    return member


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=8), st.integers(1, 500))
def test_members_get_the_same_share_however_large_their_chunks(chunks: list[int], turns: int) -> None:
    members = [Member(chunk=chunk) for chunk in chunks]
    queue = queue_of(*members)
    for _ in range(turns):
        assert take_turn(queue) is not None
    # Nobody is further ahead than a turn and what it overdrew.
    sent = [member.sent for member in members]
    assert max(sent) - min(sent) <= 2 * (QUANTUM + max(chunks))


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=8))
def test_everybody_is_served_to_the_end(lengths: list[int]) -> None:
    members = [Member(chunk=700, left=length) for length in lengths]
    queue = queue_of(*members)
    while take_turn(queue) is not None:
        pass
    assert [member.sent for member in members] == lengths
    assert len(queue.members) == 0


@given(st.lists(st.booleans(), min_size=1, max_size=8), st.integers(1, 50))
def test_who_is_not_eligible_keeps_a_place_and_is_not_served(eligible: list[bool], turns: int) -> None:
    members = [Member(eligible=flag) for flag in eligible]
    queue = queue_of(*members)
    for _ in range(turns):
        member = take_turn(queue)
        assert member is None or member.eligible
        assert (member is None) == (not any(eligible))
    assert len(queue.members) == len(members)
    for member in members:
        member.eligible = True
    for _ in range(20 * len(members)):
        take_turn(queue)
    assert all(member.sent > 0 for member in members)


def test_a_second_add_gives_no_second_place() -> None:
    member = Member(left=150)
    queue = queue_of(member, member)
    assert len(queue.members) == 1
    assert [take_turn(queue), take_turn(queue), take_turn(queue)] == [member, member, None]


def test_who_had_nothing_to_send_comes_back_at_the_end_and_without_debt() -> None:
    first, second = Member("first", chunk=5000, left=5000), Member("second")
    queue = queue_of(first, second)
    assert take_turn(queue) is first
    assert take_turn(queue) is second
    for _ in range(20):
        take_turn(queue)
    first.left = 5000
    queue.add(first)
    for _ in range(20):
        take_turn(queue)
    assert first.sent == 10_000


def test_who_overdrew_waits_until_it_is_paid_back() -> None:
    greedy, modest = Member("greedy", chunk=3 * QUANTUM), Member("modest", chunk=QUANTUM)
    queue = queue_of(greedy, modest)
    assert [member.name for _ in range(8) if (member := take_turn(queue))].count("greedy") == 2
