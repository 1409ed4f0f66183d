"""What the senders of one cell share, and what one knows of the table that it is in."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Protocol

from streamcell.errors import CellError
from streamcell.protocol.base.context import Context
from streamcell.protocol.links.link import Link
from streamcell.protocol.links.settled_news import SettledNews
from streamcell.protocol.sending.spec import SendSpec
from streamcell.protocol.wire.frames import Seal

if TYPE_CHECKING:
    from streamcell.protocol.sending.half import StreamSender


class SenderOwner(Protocol):
    """The table of all senders, as one of them knows it."""

    def life_for(self, spec: SendSpec, now: float) -> int | None:
        """Return the life of the target that is there as far as this cell can know, or None."""
        ...

    def is_over(self, target: str, life: int) -> bool:
        """Return whether that life of the target is known to have ended."""
        ...

    def seal_for(self, target: str) -> Seal:
        """Return under what session frames to a target are sealed."""
        ...

    def on_way_taken(self, sender: StreamSender, link: Link | None) -> None:
        """The sender leaves the link that it went by, and goes by another one, or by none."""
        ...

    def on_sender_settled(self, sender: StreamSender, error: CellError | None, now: float) -> None:
        """The sender is finished, and has said so to the application: with an error, or with success."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Surroundings:
    """What all senders of one cell share: where they write, and whom they ask and tell."""

    context: Context
    news: SettledNews
    owner: SenderOwner
