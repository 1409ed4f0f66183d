"""The table of all attacks: what each is, and what is to come of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.adversity.hostile.scene import Scene

#: How the liar is told: a Goodbye with one of these codes, ...
LIMIT = "goodbye LIMIT"
PROTOCOL = "goodbye PROTOCOL"
NAME_IN_USE = "goodbye NAME_IN_USE"
LINKED = "goodbye UNSPECIFIED"
TOLD_NAME_IN_USE = "refused NAME_IN_USE"
#: ... its frames are counted as refused, and warned of; ...
REFUSED = "frames refused"
#: ... each stream is answered so that it may come again later; or not at all, since it is dropped; ...
LOST_LIMIT = "lost LIMIT"
LOST = "lost"
RESET = "reset"
#: ... the call ends with a status of gRPC, or the connection; ...
CALL_ENDS = "call ends"
CONNECTION_ENDS = "connection ends"
#: ... or nothing is said, since it harms nobody, or is dropped as any such frame may be.
NOTHING = "nothing"


@dataclasses.dataclass(frozen=True)
class Attack:
    """Something that a peer does to a hub.

    Attributes:
        group: what sort of attack it is; the module that has it.
        name: what it is, in a few words.
        run: does it for as long as the scene goes on.
        told: the ways in which the liar may be told; one of them has to be seen.
        from_parent: whether the hub has dialled the liar, and not the liar the hub.
        bound_mib: what the limits let it hold at the hub, beside 64 MiB for everything else.
    """

    group: str
    name: str
    run: Callable[[Scene], None]
    told: tuple[str, ...]
    from_parent: bool
    bound_mib: int

    def __str__(self) -> str:
        return f"{self.group}: {self.name}"


#: All of them, in the order of their modules.
ATTACKS: list[Attack] = []


def attack(
    *told: str, from_parent: bool = False, bound_mib: int = 0
) -> Callable[[Callable[[Scene], None]], Callable[[Scene], None]]:
    """Put a function into the table, under its own name."""

    def add(run: Callable[[Scene], None]) -> Callable[[Scene], None]:
        group = run.__module__.rpartition(".")[2]
        ATTACKS.append(Attack(group, run.__name__.replace("_", " "), run, told, from_parent, bound_mib))
        return run

    return add
