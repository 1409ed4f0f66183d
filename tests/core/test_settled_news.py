"""What each target is told of the streams to it that are settled."""

from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from streamcell.limits import SETTLED_RUNS, SETTLED_TARGETS, SETTLED_UNTOLD
from streamcell.protocol.flow.settled import SettledIds
from streamcell.protocol.links.kinds import LinkKind
from streamcell.protocol.links.link import Link
from streamcell.protocol.links.settled_news import SettledNews
from streamcell.protocol.wire.frames import Frame, Ping, Pong, ResumeQuery
from tests.core.samples import make_context, make_lane, make_link


def made() -> SettledNews:
    return SettledNews(make_context())


def end_one(news: SettledNews, link: Link | None, target: str = "far") -> None:
    news.add(target, news.begin(target), link)


def said(link: Link) -> list[Frame]:
    return link.outbox.take(1000, 1, 0.0)


def told(*frames: Frame) -> SettledIds:
    """Return what whoever hears these frames knows."""
    known = SettledIds()
    for frame in frames:
        assert isinstance(frame, ResumeQuery | Ping)
        assert len(frame.settled) <= SETTLED_RUNS
        known.add_below(frame.settled_below)
        for first, last in frame.settled:
            known.add(first, last)
    return known


def test_a_far_target_is_told_at_every_256th_end() -> None:
    news, link = made(), make_link("hub")
    for round_ in (1, 2):
        for _ in range(SETTLED_UNTOLD - 1):
            end_one(news, link)
        assert said(link) == []
        end_one(news, link)
        (frame,) = said(link)
        assert isinstance(frame, ResumeQuery)
        assert (frame.key.stream_id, frame.target, frame.probe) == (0, "far", True)
        assert (frame.settled_below, frame.settled) == (round_ * SETTLED_UNTOLD + 1, ())


def test_a_neighbour_is_told_by_a_ping_too_which_those_of_before_understand() -> None:
    news, link = made(), make_link("server")
    for _ in range(SETTLED_UNTOLD):
        end_one(news, link, "server")
    query, ping = said(link)
    assert isinstance(query, ResumeQuery)
    assert isinstance(ping, Ping)
    assert ping.settled_below == query.settled_below == SETTLED_UNTOLD + 1


@given(st.sets(st.integers(1, 600), max_size=200))
def test_all_is_told_in_as_many_frames_as_it_takes(ended: set[int]) -> None:
    news, link = made(), make_link("hub")
    ids = [news.begin("far") for _ in range(600)]
    for stream_id in sorted(ended):
        news.add("far", stream_id, link)
    for _ in range(SETTLED_UNTOLD - len(ended)):
        end_one(news, link)
    known = told(*said(link))
    assert [stream_id in known for stream_id in ids] == [stream_id in ended for stream_id in ids]
    assert 601 in known


def test_streams_to_others_make_no_gap() -> None:
    news, link = made(), make_link("hub")
    for _ in range(SETTLED_UNTOLD):
        news.begin("other")
        end_one(news, link)
    (frame,) = said(link)
    assert isinstance(frame, ResumeQuery)
    assert (frame.settled_below, frame.settled) == (2 * SETTLED_UNTOLD + 1, ())


def test_chunks_and_pings_say_all_while_few_streams_are_open() -> None:
    news, link = made(), make_link("hub")
    for _ in range(SETTLED_RUNS):
        news.begin("far")
        end_one(news, link)
    assert news.take(link, "far") == (1, tuple((number, number) for number in range(2, 2 * SETTLED_RUNS + 1, 2)))


def test_chunks_and_pings_say_the_floor_and_in_turn_the_runs_that_were_told() -> None:
    news, link = made(), make_link("hub")
    assert news.take(link, "far") == (0, ())
    for _ in range(SETTLED_UNTOLD):
        news.begin("far")
        end_one(news, link)
    assert news.take(link, "far") == (0, ())
    frames = said(link)
    assert len(frames) == SETTLED_UNTOLD // SETTLED_RUNS
    again = [Ping(0, *news.take(link, "far")) for _ in frames]
    assert {ping.settled_below for ping in again} == {1}
    known = told(*again)
    assert all((stream_id in known) is (stream_id % 2 == 0) for stream_id in range(1, 2 * SETTLED_UNTOLD + 1))


def test_a_ping_tells_the_neighbour_of_its_own_streams() -> None:
    news, link = made(), make_link("server")
    news.begin("far")
    end_one(news, link, "server")
    assert news.telling(link, Ping(5)) == Ping(5, 3, ())
    assert news.telling(make_link("other"), Ping(6)) == Ping(6)


def test_nothing_is_said_before_a_frame_that_may_be_a_reset() -> None:
    news, link = made(), make_link("hub")
    for _ in range(SETTLED_UNTOLD):
        end_one(news, link)
    link.outbox.post(Pong(1))
    assert news.take(link, "far") == (0, ())
    pong, query = said(link)
    assert isinstance(pong, Pong)
    assert isinstance(query, ResumeQuery)


def test_nothing_is_said_while_a_lane_that_is_being_left_may_carry_a_reset() -> None:
    lane = make_lane(1)
    link = make_link("hub", 1, LinkKind.CHILD, lane)
    news = made()
    lane.on_replaced(make_lane(2), 0.0)
    for _ in range(SETTLED_UNTOLD):
        end_one(news, link)
    assert said(link) == []
    assert news.take(link, "far") == (0, ())
    end_one(news, other := make_link("hub"))
    assert len(said(other)) == 1


def test_what_has_no_way_is_told_when_there_is_one() -> None:
    news, link = made(), make_link("hub")
    for _ in range(2 * SETTLED_UNTOLD):
        end_one(news, None)
    end_one(news, link)
    (frame,) = said(link)
    assert isinstance(frame, ResumeQuery)
    assert frame.settled_below == 2 * SETTLED_UNTOLD + 2


def test_of_too_many_targets_the_one_is_forgotten_to_which_nothing_is_under_way() -> None:
    news, link = made(), make_link("hub")
    open_id = news.begin("busy")
    for number in range(SETTLED_TARGETS):
        end_one(news, link, f"idle-{number}")
    assert news.take(link, "busy")[0] == open_id
    assert news.take(link, "idle-0")[0] > 0
    end_one(news, link, "one-more")
    assert news.take(link, "idle-0") == (0, ())
    assert news.take(link, "idle-1")[0] > 0
    assert news.take(link, "busy")[0] == open_id


def test_the_sign_of_life_travels_as_any() -> None:
    frame = ResumeQuery.telling_settled("client", 7, "far", 5, ((7, 9),))
    assert frame.one_hop_on() == dataclasses.replace(frame, hops_left=frame.hops_left - 1)
