"""How long the two halves of a stream wait for each other, and when they show life. Imports the halves and ``states``.

Nothing is done here: the tables of all streams ask when a half is to be looked at next, and what is due by then.
"""

from __future__ import annotations

from streamcell.protocol.receiver import StreamReceiver
from streamcell.protocol.sender import StreamSender
from streamcell.protocol.states import SenderState

# A part of the idle timeout after which an end that has nothing to say shows that it is alive.
_LIFE_SIGNS_PER_TIMEOUT = 4


# Senders. They wait as the application says: for the first Ack, and then for each that follows.


def sender_due_at(sender: StreamSender, ask_again_s: float) -> float | None:
    """Return when a sender is to be looked at, or None. ``ask_again_s``: how long it waits for an answer."""
    idle = sender.spec.idle_timeout_s
    times = []
    if sender.state is SenderState.BACKING_OFF:
        times.append(sender.backoff_until)
    elif sender.state is SenderState.RESUMING and not sender.query_due:
        times.append(sender.spoke_at + ask_again_s)
    if not sender.acknowledged:
        if sender.spec.unreachable_timeout_s > 0:
            times.append(sender.heard_at + sender.spec.unreachable_timeout_s)
    elif idle > 0:
        times.append(sender.heard_at + idle)
    if idle > 0 and sender.speaks and not sender.probe_due:
        times.append(sender.spoke_at + idle / _LIFE_SIGNS_PER_TIMEOUT)
    return min(times, default=None)


def has_waited_enough(sender: StreamSender, now: float) -> bool:
    """Return whether a sender has heard nothing for as long as it is to wait."""
    patience_s = sender.spec.idle_timeout_s if sender.acknowledged else sender.spec.unreachable_timeout_s
    return patience_s > 0 and now >= sender.heard_at + patience_s


def sender_owes_life_sign(sender: StreamSender, now: float) -> bool:
    """Return whether a sender is to show that it is alive."""
    idle = sender.spec.idle_timeout_s
    return sender.speaks and idle > 0 and now >= sender.spoke_at + idle / _LIFE_SIGNS_PER_TIMEOUT


# Receivers. They wait as the origin says, in the Open.


def receiver_due_at(receiver: StreamReceiver) -> float | None:
    """Return when a receiver is to be looked at, or None."""
    idle = receiver.opening.idle_timeout_s
    times = [] if receiver.ack_at is None else [receiver.ack_at]
    if receiver.unclaimed_until is not None:
        times.append(receiver.unclaimed_until)
    if idle > 0:
        times += [receiver.heard_at + idle, receiver.spoke_at + idle / _LIFE_SIGNS_PER_TIMEOUT]
    return min(times, default=None)


def origin_is_silent(receiver: StreamReceiver, now: float) -> bool:
    """Return whether nothing has come from the origin for the idle timeout."""
    idle = receiver.opening.idle_timeout_s
    return idle > 0 and now >= receiver.heard_at + idle


def receiver_owes_life_sign(receiver: StreamReceiver, now: float) -> bool:
    """Return whether a receiver is to show that it is alive, if there is nothing else that it has to say."""
    idle = receiver.opening.idle_timeout_s
    return idle > 0 and now >= receiver.spoke_at + idle / _LIFE_SIGNS_PER_TIMEOUT
