"""Keys as the core has them: it knows what they are for, and nothing of how they do it.

The shell gives them when a handshake is done (``security/sealing``), and tests give others.
"""

from __future__ import annotations

from typing import Protocol


class SessionKeys(Protocol):
    """What two lives of cells share."""

    @property
    def peer_name(self) -> str:
        """The name that the other one has proved: its own, or one that it is below."""
        ...
