"""How long a sender waits for its target, and when it shows life.

It waits as the application says: for the first Ack, and then for each that follows. Nothing is done here: the table
asks when a sender is to be looked at next, and what is due by then.
"""

from __future__ import annotations

from streamcell.protocol.flow.life_signs import LIFE_SIGNS_PER_TIMEOUT
from streamcell.protocol.sending.half import StreamSender
from streamcell.protocol.sending.states import SenderState


def due_at(sender: StreamSender, ask_again_s: float) -> float | None:
    """Return when a sender is to be looked at, or None. ``ask_again_s``: how long it waits for an answer."""
    idle = sender.spec.description.idle_timeout_s
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
        times.append(sender.spoke_at + idle / LIFE_SIGNS_PER_TIMEOUT)
    return min(times, default=None)


def has_waited_enough(sender: StreamSender, now: float) -> bool:
    """Return whether a sender has heard nothing for as long as it is to wait."""
    patience_s = sender.spec.description.idle_timeout_s if sender.acknowledged else sender.spec.unreachable_timeout_s
    return patience_s > 0 and now >= sender.heard_at + patience_s


def owes_life_sign(sender: StreamSender, now: float) -> bool:
    """Return whether a sender is to show that it is alive."""
    idle = sender.spec.description.idle_timeout_s
    return sender.speaks and idle > 0 and now >= sender.spoke_at + idle / LIFE_SIGNS_PER_TIMEOUT
