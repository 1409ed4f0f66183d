"""What a link is to this cell: decided once, when the link is made.

The tree is made of PARENT and CHILD links: one dials, as a child, what is its parent from then on. A SHORTCUT is one
that either end may have dialled; nothing travels over it but what one of the two ends says to the other, and nothing
is announced over it. SELF leads from the cell to itself. Two cells have one link at most: where the tree has a link
between them there is no shortcut.
"""

from __future__ import annotations

import enum


class LinkKind(enum.Enum):
    """Who is at the other end of a link."""

    PARENT = enum.auto()
    CHILD = enum.auto()
    SHORTCUT = enum.auto()
    SELF = enum.auto()
