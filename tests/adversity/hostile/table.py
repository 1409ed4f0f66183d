"""All attacks, in the order of their modules."""

from __future__ import annotations

from tests.adversity.hostile import floods, http2, lies, memory, names
from tests.adversity.hostile.attacks import ATTACKS, Attack

#: The modules that have them.
GROUPS = (lies, names, floods, memory, http2)

__all__ = ["ATTACKS", "GROUPS", "Attack"]
