"""Where a stream that a cell receives begins: at 0, unless its origin waits to be told otherwise.

The target's side of going on after a restart: the application chooses an offset, the origin is told until it goes on
there, or at 0 if it cannot agree. The states, and what each input means in them, are in ``states.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from streamcell.digest import Digest
from streamcell.limits import HOPS
from streamcell.protocol.base.context import Context
from streamcell.protocol.base.machine import (
    step,
)
from streamcell.protocol.receiving.states import (
    STARTING_POINT_TABLE,
    StartingPointAction,
    StartingPointInput,
    StartingPointState,
)
from streamcell.protocol.wire.frames import ResumeReply, Seal, StreamKey

_OPEN, _WEIGHING, _PLACED = StartingPointState.OPEN, StartingPointState.WEIGHING, StartingPointState.PLACED


class StartingPoint:
    """Where one received stream begins, and how far its two ends are in agreeing on that.

    :ivar offset: what was chosen, once it was.
    :ivar prefix_digest: digest of what the application has below that, if it wants it compared.
    :ivar due: the origin is to be told; only while it is CHOSEN.
    """

    __slots__ = ("_proposal", "due", "offset", "prefix_digest", "state")

    def __init__(self, *, awaited: bool) -> None:
        self.state = _OPEN if awaited else _PLACED
        self.offset = 0
        self.prefix_digest: Digest | None = None
        self.due = False
        # The offset and the digest that the input is about which is being taken in.
        self._proposal: tuple[int, Digest | None] = (0, None)

    def __repr__(self) -> str:
        return f"<StartingPoint {self.state.name} at {self.offset}>"

    @property
    def placed(self) -> bool:
        """Whether it is known where the stream begins."""
        return self.state is _PLACED

    @property
    def undecided(self) -> bool:
        """Whether the application has not chosen yet."""
        return self.state is _OPEN or self.state is _WEIGHING

    def allows(self, offset: int, received: int) -> bool:
        """Return whether the origin may go on at ``offset``.

        That is where it was told to, or at 0 if it could not agree: but what an earlier life of it sent cannot be taken
        back from its reader.
        """
        return offset == self.offset or offset == received == 0

    # Inputs.

    def on_weighing(self) -> None:
        """The application has begun to find out what it has."""
        self._step(StartingPointInput.WEIGH)

    def on_choice(self, offset: int, prefix_digest: Digest | None) -> None:
        """The application has chosen; the first choice counts."""
        self._proposal = (offset, prefix_digest)
        self._step(StartingPointInput.CHOOSE)

    def on_new_life(self, received: int) -> None:
        """A new life of the origin is to go on where the stream stands, unless another place is chosen."""
        self._proposal = (received, None)
        self._step(StartingPointInput.MOVED)

    def on_origin_went_on(self) -> None:
        """The first bytes have come from where :meth:`allows` lets them."""
        self._step(StartingPointInput.WENT_ON)

    def repeat(self) -> None:
        """See to it that a choice that the origin may not know is told again."""
        self.due = self.state is StartingPointState.CHOSEN

    def tell(self, key: StreamKey, attempt: int, context: Context, seal: Seal | None) -> ResumeReply:
        """Return the frame that tells the origin what was chosen."""
        self.due = False
        return ResumeReply(
            key,
            context.fqcn,
            attempt,
            target_incarnation=context.incarnation,
            unknown=False,
            offset=self.offset,
            hops_left=HOPS,
            prefix_digest=self.prefix_digest,
            seal=seal,
        )

    # What the table of states has done.

    def _step(self, event: StartingPointInput) -> None:
        action, self.state = step(STARTING_POINT_TABLE, self.state, event)
        self.ACTS[action](self)

    def _adopt_proposal(self) -> None:
        self.offset, self.prefix_digest = self._proposal
        self.due = True

    def _tell_again(self) -> None:
        self.due = True

    def _stop_telling(self) -> None:
        self.due = False

    def _ignore(self) -> None:
        """Nothing is to be done."""

    # What each action of the table does.
    ACTS: ClassVar[Mapping[StartingPointAction, Callable[[StartingPoint], None]]] = {
        StartingPointAction.IGNORE: lambda self: self._ignore(),
        StartingPointAction.TELL: lambda self: self._adopt_proposal(),
        StartingPointAction.TELL_AGAIN: lambda self: self._tell_again(),
        StartingPointAction.STOP_TELLING: lambda self: self._stop_telling(),
    }
