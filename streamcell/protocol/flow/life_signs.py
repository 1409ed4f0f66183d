"""How often an end of a stream shows that it is alive."""

from __future__ import annotations

# A part of the idle timeout after which an end that has nothing to say shows that it is alive.
LIFE_SIGNS_PER_TIMEOUT = 4
