"""What calls say of who makes them: the token and the name in their metadata."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeAlias

from streamcell.security.identity import Identity

#: Of a token (RFC 6750, section 2.1), and of the name that a cell says is its own.
AUTHORIZATION, CELL = "authorization", "streamcell-cell"
_BEARER = "bearer "

Metadata: TypeAlias = tuple[tuple[str, str], ...]


class Tokens(Protocol):
    """What one cell shows to those whom it dials, and how it judges what those show who dial it. On the engine."""

    @property
    def fqcn(self) -> str:
        """The name of the cell."""
        ...

    @property
    def are_many(self) -> bool:
        """Whether so many callers wait for an answer that others had better come again."""
        ...

    @property
    def are_asked_for(self) -> bool:
        """Whether who dials this cell needs a token, or a certificate."""
        ...

    async def token_for(self, url: str, timeout_s: float) -> str:
        """Return the token to show there; empty: none.

        :raises AuthenticationError: if there is none to be had.
        """
        ...

    async def identify(self, token: str, fqcn: str, address: str, certified: Identity | None) -> Identity:
        """Return what a caller has proved.

        :param token: empty if it has shown none.
        :param certified: what its certificate proves, None if it has shown none.
        :raises AuthenticationError: if it has proved nothing, or two things.
        """
        ...


def metadata_of(token: str, fqcn: str) -> Metadata:
    """Return what a call carries to show a token."""
    return ((AUTHORIZATION, f"Bearer {token}"), (CELL, fqcn)) if token else ()


def shown_in(metadata: Iterable[tuple[str, str | bytes]] | None) -> tuple[str, str]:
    """Return the token that a call has shown, and the name that it says; empty what it does not."""
    said = {key: value for key, value in metadata or () if isinstance(value, str)}
    authorization = said.get(AUTHORIZATION, "")
    has_token = authorization[: len(_BEARER)].lower() == _BEARER
    return authorization[len(_BEARER) :].strip() if has_token else "", said.get(CELL, "")
