"""The target's side of agreeing where a stream begins."""

from __future__ import annotations

from streamcell.digest import Digest
from streamcell.protocol.base.machine import (
    step,
)
from streamcell.protocol.receiving.states import (
    AGREEMENT_TABLE,
    AgreementAction,
    AgreementInput,
    AgreementState,
)


class Agreement:
    """Where one received stream begins: at 0, unless its origin waits to be told otherwise.

    :ivar offset: what was chosen, once it was.
    :ivar prefix_digest: digest of what the application has below that, if it wants it compared.
    """

    __slots__ = (
        "due",
        "offset",
        "prefix_digest",
        "state",
    )

    def __init__(self, *, awaited: bool) -> None:
        self.state = AgreementState.OPEN if awaited else AgreementState.PLACED
        self.offset = 0
        self.prefix_digest: Digest | None = None
        self.due = False

    def __repr__(self) -> str:
        return f"<Agreement {self.state.name} at {self.offset}>"

    @property
    def placed(self) -> bool:
        """Whether it is known where the stream begins."""
        return self.state is AgreementState.PLACED

    @property
    def undecided(self) -> bool:
        """Whether the application has not chosen yet."""
        return self.state in (AgreementState.OPEN, AgreementState.WEIGHING)

    def step(self, event: AgreementInput) -> AgreementAction:
        """Advance the state and return what is to be done."""
        action, self.state = step(AGREEMENT_TABLE, self.state, event)
        return action

    def choose(self, offset: int, prefix_digest: Digest | None) -> None:
        """Take the application's choice; the first one counts."""
        if self.step(AgreementInput.CHOOSE) is AgreementAction.TELL:
            self.offset = offset
            self.prefix_digest = prefix_digest
            self.due = True

    def move(self, offset: int) -> None:
        """Have a new life of the origin told where the stream stands: at ``offset``, unless another is chosen."""
        placed = self.placed
        if self.step(AgreementInput.MOVED) is AgreementAction.TELL:
            self.due = True
            if placed:
                self.offset, self.prefix_digest = offset, None

    def repeat(self) -> None:
        """See to it that a choice that the origin may not know is told again."""
        self.due = self.state is AgreementState.CHOSEN
