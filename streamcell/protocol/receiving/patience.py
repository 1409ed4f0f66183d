"""How long a receiver waits for its origin, and when it shows life.

It waits as the origin says of the stream. Nothing is done here: a receiver asks when it is to look next, and what is
due by then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamcell.protocol.flow.life_signs import LIFE_SIGNS_PER_TIMEOUT

if TYPE_CHECKING:
    from streamcell.protocol.receiving.half import StreamReceiver


def due_at(receiver: StreamReceiver) -> float | None:
    """Return when a receiver is to be looked at, or None."""
    idle = receiver.description.idle_timeout_s
    due = receiver.news.ack_at
    if idle > 0:
        looks_at = min(receiver.origin.heard_at + idle, receiver.spoke_at + idle / LIFE_SIGNS_PER_TIMEOUT)
        due = looks_at if due is None else min(due, looks_at)
    if receiver.unclaimed_until is not None:
        due = receiver.unclaimed_until if due is None else min(due, receiver.unclaimed_until)
    return due


def origin_is_silent(receiver: StreamReceiver, now: float) -> bool:
    """Return whether nothing has come from the origin for the idle timeout."""
    idle = receiver.description.idle_timeout_s
    return idle > 0 and now >= receiver.origin.heard_at + idle


def owes_life_sign(receiver: StreamReceiver, now: float) -> bool:
    """Return whether a receiver is to show that it is alive, if there is nothing else that it has to say."""
    idle = receiver.description.idle_timeout_s
    return idle > 0 and now >= receiver.spoke_at + idle / LIFE_SIGNS_PER_TIMEOUT
