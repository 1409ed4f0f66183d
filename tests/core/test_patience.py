from __future__ import annotations

import pytest

from streamcell.protocol.receiving import patience as receiver_patience
from streamcell.protocol.receiving.news import ACK_DELAY_S
from streamcell.protocol.sending import patience as sender_patience
from streamcell.protocol.sending.half import StreamSender
from streamcell.protocol.sending.states import (
    SenderInput,
)
from tests.core.harness import make_context, make_spec
from tests.core.one_receiver import NOW, OneReceiver, make_chunk

ASK_AGAIN_S = 2.0


def sender(*, idle_s: float = 40.0, unreachable_s: float = 100.0) -> StreamSender:
    made = StreamSender(make_context(), make_spec(idle_timeout_s=idle_s, unreachable_timeout_s=unreachable_s), 1)
    made.step(SenderInput.ADMITTED)
    return made


def due_at(of: StreamSender) -> float | None:
    return sender_patience.due_at(of, ASK_AGAIN_S)


def test_a_sender_waits_for_the_first_word_of_its_target_and_then_for_the_next() -> None:
    waiting = sender()
    waiting.heard_at = 1.0
    assert due_at(waiting) == 101.0
    assert [sender_patience.has_waited_enough(waiting, now) for now in (100.9, 101.0)] == [False, True]
    waiting.acknowledged = True
    assert due_at(waiting) == 41.0
    assert [sender_patience.has_waited_enough(waiting, now) for now in (40.9, 41.0)] == [False, True]


@pytest.mark.parametrize("acknowledged", [False, True])
def test_a_sender_without_timeouts_waits_for_ever(acknowledged: bool) -> None:
    patient = sender(idle_s=0, unreachable_s=0)
    patient.acknowledged = patient.opened = acknowledged
    assert due_at(patient) is None
    assert not sender_patience.has_waited_enough(patient, 1e9)
    assert not sender_patience.owes_life_sign(patient, 1e9)


def test_a_sender_shows_life_four_times_in_the_idle_timeout() -> None:
    quiet = sender()
    quiet.cut_chunk(0, ())
    quiet.spoke_at = 1.0
    assert due_at(quiet) == 11.0
    assert [sender_patience.owes_life_sign(quiet, now) for now in (10.9, 11.0)] == [False, True]
    quiet.probe_due = True
    assert due_at(quiet) == 100.0


def test_a_sender_that_has_sent_nothing_owes_no_sign_of_life() -> None:
    assert not sender_patience.owes_life_sign(sender(), 99.0)


def test_a_question_is_asked_again_once_it_was_put_on_a_lane() -> None:
    asking = sender()
    asking.step(SenderInput.PATH_LOST)
    asking.ask()
    assert due_at(asking) == 100.0
    asking.query_due = False
    asking.spoke_at = 1.0
    assert due_at(asking) == 1.0 + ASK_AGAIN_S


def test_a_sender_that_backs_off_is_due_at_the_end_of_that() -> None:
    backing_off = sender()
    backing_off.step(SenderInput.PATH_LOST)
    backing_off.step(SenderInput.PATH_LOST_AGAIN)
    backing_off.backoff_until = 3.0
    assert due_at(backing_off) == 3.0


def test_a_receiver_waits_for_its_origin_and_shows_life_four_times_meanwhile() -> None:
    quiet = OneReceiver(idle_timeout_s=40.0).half
    quiet.news.take_control_frames()
    quiet.handle_timer(NOW + 1.0)
    assert receiver_patience.due_at(quiet) == NOW + 10.0
    assert [receiver_patience.owes_life_sign(quiet, NOW + s) for s in (9.9, 10.0)] == [False, True]
    assert [receiver_patience.origin_is_silent(quiet, NOW + s) for s in (39.9, 40.0)] == [False, True]
    quiet.handle_timer(NOW + 35.0)
    assert receiver_patience.due_at(quiet) == NOW + 40.0


def test_a_receiver_without_timeout_is_due_only_for_what_it_has_to_say() -> None:
    patient = OneReceiver(idle_timeout_s=0.0)
    assert receiver_patience.due_at(patient.half) == NOW + ACK_DELAY_S
    patient.place(make_chunk(0, b"abc"))
    patient.says()
    assert receiver_patience.due_at(patient.half) is None
    assert not receiver_patience.origin_is_silent(patient.half, 1e9)
    assert not receiver_patience.owes_life_sign(patient.half, 1e9)


def test_a_receiver_that_nobody_takes_is_due_when_it_is_refused_and_sooner_for_an_ack() -> None:
    unclaimed = OneReceiver(idle_timeout_s=40.0)
    unclaimed.half.await_callback(NOW - 35.0)
    unclaimed.place(make_chunk(0, b"abc"))
    unclaimed.says()
    assert receiver_patience.due_at(unclaimed.half) == NOW + 5.0
    unclaimed.place(make_chunk(3, b"d", sequence=1))
    assert receiver_patience.due_at(unclaimed.half) == NOW + ACK_DELAY_S
