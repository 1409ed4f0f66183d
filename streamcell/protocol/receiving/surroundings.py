"""What all receivers of a cell share."""

from __future__ import annotations

import dataclasses
from typing import Protocol

from streamcell.protocol.base.context import Context
from streamcell.protocol.receiving.half import StreamReceiver
from streamcell.protocol.receiving.memory import ReceiveMemory
from streamcell.protocol.receiving.ways import Ways
from streamcell.protocol.requests import RequestTable
from streamcell.protocol.wire.frames import Ack, Reset


class ReceiverKeeper(Protocol):
    """What a receiver needs of the table that it is in."""

    def on_receiver_ended(self, receiver: StreamReceiver, last_word: Ack | Reset | None) -> None:
        """It has ended. ``last_word``: what the origin is told whenever it asks; None: it will not."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Surroundings:
    """Where a receiver stands.

    :ivar requests: the requests of this cell, of which some of the streams that come are the replies.
    """

    context: Context
    ways: Ways
    memory: ReceiveMemory
    requests: RequestTable
    keeper: ReceiverKeeper
