"""How long a receiver waits for its origin, and when it shows life.

It waits as the origin says of the stream, within what this cell grants. Nothing is done here: a receiver asks when it
is to look next, and what is due by then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamcell.protocol.flow.life_signs import life_sign_s

if TYPE_CHECKING:
    from streamcell.protocol.receiving.half import StreamReceiver


def due_at(receiver: StreamReceiver) -> float:
    """Return when a receiver is to be looked at."""
    idle = receiver.idle_timeout_s
    due = min(receiver.origin.heard_at + idle, receiver.spoke_at + life_sign_s(idle))
    if receiver.news.ack_at is not None:
        due = min(due, receiver.news.ack_at)
    if receiver.unclaimed_until is not None:
        due = min(due, receiver.unclaimed_until)
    return due


def origin_is_silent(receiver: StreamReceiver, now: float) -> bool:
    """Return whether nothing has come from the origin for the idle timeout."""
    return now >= receiver.origin.heard_at + receiver.idle_timeout_s


def origin_is_quiet(receiver: StreamReceiver, now: float) -> bool:
    """Return whether the origin would have shown twice by now that it lives: it may have settled the stream."""
    return now >= receiver.origin.heard_at + 2 * life_sign_s(receiver.idle_timeout_s)


def owes_life_sign(receiver: StreamReceiver, now: float) -> bool:
    """Return whether a receiver is to show that it is alive, if there is nothing else that it has to say."""
    return now >= receiver.spoke_at + life_sign_s(receiver.idle_timeout_s)
