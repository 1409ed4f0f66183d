from __future__ import annotations

from streamcell.limits import SETTLED_UNTOLD
from streamcell.protocol.links.kinds import LinkKind
from streamcell.protocol.links.settled_news import SettledNews
from streamcell.protocol.wire.frames import Ping, Pong
from tests.core.harness import make_lane, make_link


def settled(count: int) -> SettledNews:
    news = SettledNews()
    for stream_id in range(1, count + 1):
        news.add(stream_id)
    return news


def test_it_knows_what_is_settled() -> None:
    news = SettledNews()
    news.add(2)
    assert [stream_id in news for stream_id in (1, 2, 3)] == [False, True, False]


def test_a_neighbour_is_owed_a_word_after_many_and_again_after_many_more() -> None:
    link = make_link()
    news = settled(SETTLED_UNTOLD - 1)
    assert not news.is_owed(link)
    news.add(SETTLED_UNTOLD)
    assert news.is_owed(link)
    news.telling(link, Ping(1))
    assert not news.is_owed(link)
    for more in range(SETTLED_UNTOLD):
        assert not news.is_owed(link)
        news.add(SETTLED_UNTOLD + 1 + more)
    assert news.is_owed(link)


def test_each_neighbour_is_told_by_itself() -> None:
    first, second = make_link(), make_link("other")
    news = settled(SETTLED_UNTOLD)
    news.telling(first, Ping(1))
    assert (news.is_owed(first), news.is_owed(second)) == (False, True)


def test_a_ping_says_the_floor_and_the_runs_above() -> None:
    news = settled(3)
    news.add(5)
    assert news.telling(make_link(), Ping(1)) == Ping(1, 4, ((5, 5),))


def test_nothing_is_said_while_a_frame_waits_that_may_be_a_reset() -> None:
    link = make_link()
    link.outbox.post(Pong(1))
    news = settled(SETTLED_UNTOLD)
    assert not news.is_owed(link)
    assert news.take(link) == (0, ())
    link.outbox.clear()
    assert news.is_owed(link)
    assert news.take(link) == (SETTLED_UNTOLD + 1, ())


def test_nothing_is_said_while_a_lane_that_is_being_left_may_carry_a_reset() -> None:
    lane = make_lane(1)
    link = make_link("server", 1, LinkKind.CHILD, lane)
    news = settled(SETTLED_UNTOLD)
    assert news.is_owed(link)
    lane.on_replaced(make_lane(2), 0.0)
    assert not news.is_owed(link)
    assert news.take(link) == (0, ())
