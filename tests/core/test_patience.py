from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from streamcell.errors import ErrorCode
from streamcell.limits import LIFE_SIGN_S
from streamcell.protocol.base.events import SendFailed
from streamcell.protocol.receiving import patience as receiver_patience
from streamcell.protocol.receiving.news import ACK_DELAY_S
from streamcell.protocol.sending import patience as sender_patience
from streamcell.protocol.sending.states import SenderState
from streamcell.protocol.wire.frames import Ack, ResumeQuery
from tests.core.receivers import NOW, OneReceiver, make_chunk
from tests.core.senders import Origin

ASK_AGAIN_S = 2.0
CONFIG = {"backoff_max_s": ASK_AGAIN_S}


def origin(*, idle_s: float = 40.0, unreachable_s: float = 100.0, **fields: Any) -> Origin:
    return Origin(idle_timeout_s=idle_s, unreachable_timeout_s=unreachable_s, config=CONFIG, **fields).begin(
        ended=False
    )


def due_in(of: Origin) -> float | None:
    due_at = sender_patience.due_at(of.sender, ASK_AGAIN_S)
    return None if due_at is None else due_at - of.now


def waited_enough(of: Origin, seconds: float) -> bool:
    return sender_patience.fault_in_waiting(of.sender, of.now + seconds) is not None


def owes_life_sign(of: Origin, seconds: float) -> bool:
    return sender_patience.owes_life_sign(of.sender, of.now + seconds)


def test_a_sender_waits_for_the_first_word_of_its_target_and_then_for_the_next() -> None:
    waiting = origin()
    assert due_in(waiting) == 100.0
    assert [waited_enough(waiting, seconds) for seconds in (99.9, 100.0)] == [False, True]
    waiting.now += 50.0
    waiting.ack(0, 0)
    assert due_in(waiting) == 40.0
    assert [waited_enough(waiting, seconds) for seconds in (39.9, 40.0)] == [False, True]


def test_it_says_whether_the_target_was_never_heard_of_or_fell_silent() -> None:
    codes = []
    for acks in (0, 1):
        waiting = origin()
        for _ in range(acks):
            waiting.ack(0, 0)
        waiting.now += 100.0
        waiting.sender.handle_timer(waiting.now)
        (failed,) = waiting.told(SendFailed)
        codes.append(failed.error.code)
    assert codes == [ErrorCode.UNREACHABLE, ErrorCode.TIMEOUT]


@pytest.mark.parametrize("acknowledged", [False, True])
def test_a_sender_without_timeouts_waits_for_ever(acknowledged: bool) -> None:
    patient = origin(idle_s=0, unreachable_s=0)
    if acknowledged:
        patient.cut()
        patient.ack(0, 0)
    assert due_in(patient) == (LIFE_SIGN_S if acknowledged else None)
    assert not waited_enough(patient, 1e9)
    assert owes_life_sign(patient, LIFE_SIGN_S) is acknowledged


def test_a_sender_shows_life_four_times_in_the_idle_timeout() -> None:
    quiet = origin()
    quiet.cut()
    assert due_in(quiet) == 10.0
    assert [owes_life_sign(quiet, seconds) for seconds in (9.9, 10.0)] == [False, True]
    quiet.now += 10.0
    quiet.sender.handle_timer(quiet.now)
    # It is due no more while it waits for a lane.
    assert due_in(quiet) == 90.0
    assert [frame.probe for frame in quiet.speak()] == [True]
    assert due_in(quiet) == 10.0


def test_a_sender_shows_life_as_often_as_a_cell_may_ask_for_that_grants_little() -> None:
    long = origin(idle_s=1e6)
    long.cut()
    assert due_in(long) == LIFE_SIGN_S


def test_a_sender_shows_life_as_often_as_its_neighbour_needs_it() -> None:
    long = origin(idle_s=1e6)
    long.link.terms = dataclasses.replace(long.link.terms, max_idle_timeout_s=100.0)
    long.cut()
    assert due_in(long) == 25.0
    far = origin(idle_s=1e6, target="far")
    far.link.terms = long.link.terms
    far.cut()
    assert due_in(far) == LIFE_SIGN_S


def test_a_sender_that_has_sent_nothing_owes_no_sign_of_life() -> None:
    assert not owes_life_sign(origin(), 99.0)


def test_a_question_is_asked_again_once_it_was_put_on_a_lane() -> None:
    asking = origin()
    asking.cut()
    asking.lost()
    assert due_in(asking) == 100.0
    asking.now += 1.0
    asking.speak()
    assert due_in(asking) == ASK_AGAIN_S
    asking.posted()
    asking.now += ASK_AGAIN_S
    asking.sender.handle_timer(asking.now)
    assert [type(frame) for frame in asking.posted()] == [ResumeQuery]


def test_a_sender_that_backs_off_is_due_at_the_end_of_that() -> None:
    backing_off = origin()
    backing_off.cut()
    backing_off.lost()
    backing_off.lost()
    due = due_in(backing_off)
    assert due is not None
    assert 0 < due <= ASK_AGAIN_S
    backing_off.now += due
    backing_off.sender.handle_timer(backing_off.now)
    assert backing_off.sender.state is SenderState.RESUMING


def test_a_receiver_waits_for_its_origin_and_shows_life_four_times_meanwhile() -> None:
    quiet = OneReceiver(idle_timeout_s=40.0).half
    quiet.news.take_control_frames(1, NOW)
    quiet.handle_timer(NOW + 1.0)
    assert receiver_patience.due_at(quiet) == NOW + 10.0
    assert [receiver_patience.owes_life_sign(quiet, NOW + s) for s in (9.9, 10.0)] == [False, True]
    assert [receiver_patience.origin_is_silent(quiet, NOW + s) for s in (39.9, 40.0)] == [False, True]
    quiet.handle_timer(NOW + 35.0)
    assert receiver_patience.due_at(quiet) == NOW + 40.0


@pytest.mark.parametrize("asked_s", [0.0, 3601.0, 1e9])
def test_a_receiver_grants_no_more_than_it_is_configured_to(asked_s: float) -> None:
    patient = OneReceiver(idle_timeout_s=asked_s).half
    patient.news.take_control_frames(1, NOW)
    patient.handle_timer(NOW + 1.0)
    assert receiver_patience.due_at(patient) == NOW + LIFE_SIGN_S
    assert [receiver_patience.origin_is_silent(patient, NOW + s) for s in (3599.0, 3600.0)] == [False, True]


def test_a_receiver_repeats_its_ack_to_an_origin_that_says_nothing_though_its_own_reader_does_not_read() -> None:
    """The origin may have settled the stream: it answers then, and what the stream holds comes back."""
    stuck = OneReceiver(idle_timeout_s=40.0)
    stuck.half.on_accepted(NOW, assemble=False, reserve=False)
    stuck.half.on_callback_started()
    stuck.place(make_chunk(0, b"abc"))
    stuck.says()
    said = []
    for seconds in (10.0, 20.0, 30.0):
        stuck.half.handle_timer(NOW + seconds)
        said.append([type(frame) for frame in stuck.says()])
    assert said == [[], [Ack], [Ack]]


def test_a_receiver_that_nobody_takes_is_due_when_it_is_refused_and_sooner_for_an_ack() -> None:
    unclaimed = OneReceiver(idle_timeout_s=40.0)
    unclaimed.half.on_callback_awaited(NOW - 35.0)
    unclaimed.place(make_chunk(0, b"abc"))
    unclaimed.says()
    assert receiver_patience.due_at(unclaimed.half) == NOW + 5.0
    unclaimed.place(make_chunk(3, b"d", sequence=1))
    assert receiver_patience.due_at(unclaimed.half) == NOW + ACK_DELAY_S
