"""Which addresses a parent has, in which order, and what each of the core's places stands for."""

from __future__ import annotations

import pytest

from streamcell.runtime.network.dial_plan import DialPlan

HOST, OTHER = "grpc://hub.example:8004", "grpc://other.example:8004"


class Rig:
    """A plan, and a core that hands out the lowest number that is free."""

    def __init__(self, *urls: str, in_order: bool = True) -> None:
        self.plan = DialPlan(0, urls, in_order=in_order)
        self.order = list(range(len(urls)))

    def add(self, beside: int) -> int:
        number = min(set(range(len(self.order) + 1)) - set(self.order))
        self.order.insert(self.order.index(beside) + 1, number)
        return number

    def dial(self, place: int, *records: str) -> bool:
        """Begin to dial a place, and find its host to have these records."""
        self.plan.spot(place).uses += 1
        return self.plan.learn(place, records, self.add, self.order.remove)

    def end(self, place: int) -> None:
        self.plan.spot(place).uses -= 1

    def spots(self) -> list[str]:
        return [str(self.plan.spot(place)) for place in self.order]


def at(*records: str, url: str = HOST) -> list[str]:
    return [f"{url} ({record})" for record in records]


def test_a_host_is_all_of_its_records() -> None:
    rig = Rig(HOST, OTHER)
    assert rig.dial(0, "10.0.0.1", "10.0.0.2", "10.0.0.3")
    assert rig.spots() == [*at("10.0.0.1", "10.0.0.2", "10.0.0.3"), OTHER]
    assert rig.dial(1, "10.0.0.1")
    assert rig.spots()[3:] == at("10.0.0.1", url=OTHER)


def test_what_is_dialled_as_it_is_stays_one_place() -> None:
    rig = Rig("unix:///run/hub")
    assert rig.dial(0)
    assert rig.spots() == ["unix:///run/hub"]


def test_the_same_address_twice_is_one_place() -> None:
    rig = Rig(HOST, HOST)
    assert rig.dial(0, "10.0.0.1", "10.0.0.2")
    assert rig.spots() == at("10.0.0.1", "10.0.0.2")


def test_a_record_takes_the_place_of_one_that_is_gone() -> None:
    rig = Rig(HOST)
    rig.dial(0, "10.0.0.1")
    rig.end(0)
    assert rig.dial(0, "10.0.0.9")
    assert rig.spots() == at("10.0.0.9")


def test_of_records_that_are_gone_only_those_are_kept_where_lanes_lead() -> None:
    rig = Rig(HOST)
    rig.dial(0, "10.0.0.1", "10.0.0.2", "10.0.0.3")
    rig.dial(1, "10.0.0.1", "10.0.0.2", "10.0.0.3")
    rig.end(0)
    assert rig.dial(0, "10.0.0.1", "10.0.0.4")
    assert rig.spots() == at("10.0.0.1", "10.0.0.4", "10.0.0.2")
    # The number of the third is given to the new one.
    assert str(rig.plan.spot(2)) == f"{HOST} (10.0.0.4)"


def test_a_place_is_none_any_more_if_the_others_are_places_already() -> None:
    rig = Rig(HOST)
    rig.dial(0, "10.0.0.1", "10.0.0.2")
    rig.end(0)
    assert not rig.dial(0, "10.0.0.2")
    rig.plan.forget(0)
    with pytest.raises(KeyError):
        rig.plan.spot(0)


def test_a_lane_beside_another_one_leads_to_the_same_record_even_if_that_is_gone() -> None:
    rig = Rig(HOST)
    rig.dial(0, "10.0.0.1")
    assert rig.dial(0, "10.0.0.9")
    assert rig.spots() == at("10.0.0.1", "10.0.0.9")


def test_a_host_that_is_dialled_through_a_proxy_from_now_on_is_dialled_as_it_is() -> None:
    rig = Rig(HOST)
    rig.dial(0, "10.0.0.1", "10.0.0.2")
    rig.end(0)
    assert rig.dial(0)
    assert rig.spots() == [HOST]


def test_each_cell_has_an_order_of_its_own() -> None:
    urls = tuple(f"grpc://hub-{number}.example:8004" for number in range(5))
    orders = {tuple(Rig(*urls, in_order=False).spots()) for _ in range(100)}
    assert len(orders) > 10
    assert {tuple(sorted(order)) for order in orders} == {urls}
    assert {tuple(Rig(*urls).spots()) for _ in range(10)} == {urls}


def test_records_are_shuffled_too_but_the_resolver_says_which_kind_comes_first() -> None:
    records = ("2001:db8::1", "2001:db8::2", "2001:db8::3", "10.0.0.1", "10.0.0.2", "10.0.0.3")
    orders = set()
    for _ in range(100):
        rig = Rig(HOST, in_order=False)
        rig.dial(0, *records)
        orders.add(tuple(rig.spots()))
    assert len(orders) > 10
    for order in orders:
        assert set(order[:3]) == set(at(*records[:3]))
        assert set(order[3:]) == set(at(*records[3:]))


def test_the_log_has_once_why_an_address_cannot_be_had() -> None:
    plan = DialPlan(0, [HOST], in_order=True)
    assert [plan.is_news(HOST, reason) for reason in ("down", "down", "gone", "down")] == [True, False, True, True]
