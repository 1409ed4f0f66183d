"""How long an end of a stream is waited for, and how often it shows that it is alive.

An origin asks for an idle timeout. Another cell, which keeps something for the stream, grants at most as much as it is
configured to: else whoever asks for one without end has it kept without end, also when its life is over. Far cells do
not know what is granted. So an end shows its life so often that it would do for the least that may be granted.
"""

from __future__ import annotations

from streamcell.limits import LIFE_SIGN_S

# A part of the idle timeout after which an end that has nothing to say shows that it is alive.
LIFE_SIGNS_PER_TIMEOUT = 4


def granted_s(asked_s: float, most_s: float) -> float:
    """Return how long a cell waits for the origin of a stream that asks for so much (0: without end), in seconds."""
    return most_s if asked_s <= 0 else min(asked_s, most_s)


def life_sign_s(idle_timeout_s: float) -> float:
    """Return after which silence, in seconds, an end shows its life to one that waits for so long (0: for ever)."""
    return LIFE_SIGN_S if idle_timeout_s <= 0 else min(idle_timeout_s / LIFE_SIGNS_PER_TIMEOUT, LIFE_SIGN_S)
