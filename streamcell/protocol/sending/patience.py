"""How long a sender waits for its target, and when it shows life.

It waits as the application says: for the first Ack, and then for each that follows. Nothing is done here: a sender
asks when it is due next, and what is due by then.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from streamcell.errors import CellError
from streamcell.protocol.flow.life_signs import life_sign_s
from streamcell.protocol.sending import errors as send_errors
from streamcell.protocol.sending.states import SenderState

if TYPE_CHECKING:
    from streamcell.protocol.sending.half import StreamSender

_NEVER = math.inf
# Found once: a member of an enumeration is found slowly before Python 3.12.
_RESUMING, _BACKING_OFF = SenderState.RESUMING, SenderState.BACKING_OFF


def due_at(sender: StreamSender, ask_again_s: float) -> float | None:
    """Return when a sender is to be looked at, or None. ``ask_again_s``: how long it waits for an answer."""
    idle = sender.spec.description.idle_timeout_s
    patience_s = idle if sender.confirmed.acknowledged else sender.spec.unreachable_timeout_s
    due = sender.heard_at + patience_s if patience_s > 0 else _NEVER
    if _is_under_way(sender) and not sender.attempt.life_sign_due:
        due = min(due, sender.spoke_at + _life_sign_s(sender))
    state = sender.state
    if state is _RESUMING:
        if not sender.attempt.question_due:
            due = min(due, sender.spoke_at + ask_again_s)
    elif state is _BACKING_OFF:
        due = min(due, sender.backoff_until)
    return None if due == _NEVER else due


def fault_in_waiting(sender: StreamSender, now: float) -> CellError | None:
    """Return the error of a sender that has heard nothing for as long as it is to wait, or None."""
    acknowledged = sender.confirmed.acknowledged
    patience_s = sender.spec.description.idle_timeout_s if acknowledged else sender.spec.unreachable_timeout_s
    if patience_s <= 0 or now < sender.heard_at + patience_s:
        return None
    return send_errors.silent(sender) if acknowledged else send_errors.never_heard(sender)


def owes_life_sign(sender: StreamSender, now: float) -> bool:
    """Return whether a sender is to show that it is alive."""
    return _is_under_way(sender) and now >= sender.spoke_at + _life_sign_s(sender)


def _life_sign_s(sender: StreamSender) -> float:
    """Return after which silence a sender shows that it is alive: a neighbour has said how long it waits."""
    after_s, link = life_sign_s(sender.spec.description.idle_timeout_s), sender.link
    if link is not None and link.fqcn == sender.spec.target:
        return min(after_s, life_sign_s(link.terms.max_idle_timeout_s))
    return after_s


def _is_under_way(sender: StreamSender) -> bool:
    """Return whether silence about the stream would look like death."""
    return sender.attempt.opened or sender.state is SenderState.SEEKING
