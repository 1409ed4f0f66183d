"""The sending half of a stream: what its states do about giving up, a Reset, and a lost path."""

from __future__ import annotations

import pytest

from streamcell.digest import Digest
from streamcell.errors import ErrorCode
from streamcell.protocol.base.events import SendFinished, SendPlaced, SendProgressed
from streamcell.protocol.sending.states import SenderState
from streamcell.protocol.wire.frames import Reset
from tests.core.senders import LIFE, Origin
from tests.kit.payloads import pattern

STATES = pytest.mark.parametrize("state", list(SenderState), ids=lambda state: state.name)


def led_to(state: SenderState) -> Origin:
    origin = Origin()
    if state is not SenderState.QUEUED:
        origin.begin(b"abc", ended=state is SenderState.FINISHING)
    if state is SenderState.SETTLED:
        origin.give_up()
    if state not in (SenderState.QUEUED, SenderState.SENDING, SenderState.SETTLED):
        origin.cut()
    if state is SenderState.AWAITING_OFFSET:
        origin.ack(3, 3)
    if state not in (SenderState.QUEUED, SenderState.SENDING, SenderState.FINISHING, SenderState.SETTLED):
        origin.lost()
    if state is SenderState.BACKING_OFF:
        origin.lost()
    elif state is SenderState.SEEKING:
        origin.reply(0, prefix_digest=Digest("sha256:00"))
    elif state is SenderState.AWAITING_OFFSET:
        origin.reply(None, life=LIFE + 1)
    assert origin.sender.state is state
    assert state.name in repr(origin.sender)
    return origin


@STATES
def test_giving_up_tells_the_target_where_it_may_know_the_stream(state: SenderState) -> None:
    origin = led_to(state)
    before = len(origin.owner.settled)
    origin.posted()
    origin.give_up()
    resets = [frame for frame in origin.posted() if isinstance(frame, Reset)]
    assert origin.sender.state is SenderState.SETTLED
    assert len(resets) == (state not in (SenderState.QUEUED, SenderState.SETTLED))
    assert len(origin.owner.settled) == before + (state is not SenderState.SETTLED)


@STATES
def test_a_reset_ends_what_the_target_can_know_without_a_word(state: SenderState) -> None:
    origin = led_to(state)
    before = len(origin.owner.settled)
    origin.reset()
    under_way = state not in (SenderState.QUEUED, SenderState.SETTLED)
    assert (origin.sender.state is SenderState.SETTLED) == (state is not SenderState.QUEUED)
    assert len(origin.owner.settled) == before + under_way
    assert [error.code for error in origin.owner.settled[before:] if error] == [ErrorCode.NO_CALLBACK] * under_way


@STATES
def test_a_lost_path_is_asked_about_where_something_was_on_it(state: SenderState) -> None:
    origin = led_to(state)
    attempt = origin.sender.attempt.number
    origin.ack(0, 0, life=origin.sender.target_life or LIFE)
    origin.lost()
    asks = state not in (SenderState.QUEUED, SenderState.SEEKING, SenderState.BACKING_OFF, SenderState.SETTLED)
    assert origin.sender.attempt.number == attempt + asks
    assert (origin.sender.state is state) == (not asks or state is SenderState.RESUMING)


def test_the_target_may_confirm_all_while_it_is_asked() -> None:
    origin = Origin().begin(b"abc")
    origin.ack(3, 3, complete=True)
    assert origin.owner.settled == []
    origin.cut()
    origin.lost()
    origin.ack(3, 2, complete=True)
    assert origin.owner.settled == []
    origin.ack(3, 3, complete=True, attempt=1)
    assert origin.told(SendFinished) == [SendFinished(7, 3)]
    assert origin.owner.settled == [None]


def test_going_on_says_how_much_the_target_had_that_was_not_on_its_way() -> None:
    origin = Origin(resume_id="name").begin(pattern(100))
    origin.cut()
    origin.reply(60)
    assert origin.told(SendPlaced) == [SendPlaced(7, 60, 60)]


def test_a_life_that_knows_nothing_takes_the_progress_back() -> None:
    origin = led_to(SenderState.AWAITING_OFFSET)
    assert origin.told(SendProgressed) == [SendProgressed(7, 3), SendProgressed(7, 0)]
    (offer,) = origin.cut()
    assert offer.open is not None
    assert (offer.open.seen_before, offer.open.awaits_offset, len(offer.payload)) == (True, True, 0)
    # Until it has chosen an offset, none of its Acks says how much it has.
    origin.ack(9, 9, life=LIFE + 1)
    assert origin.sender.confirmed.received == 0
