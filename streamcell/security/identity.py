"""Who a neighbour has proved to be."""

from __future__ import annotations

import dataclasses
import enum


class IdentitySource(enum.StrEnum):
    """What has proved it."""

    CERTIFICATE = "certificate"
    TOKEN = "token"


@dataclasses.dataclass(frozen=True, slots=True)
class Identity:
    """The name that a certificate or a token proves.

    Attributes:
        name: the cell's name.
        source: what has proved it.
        expires_at: until when, in seconds since 1970 (Unix time); None if that is not known.
        fingerprint: of the certificate: ``sha256:`` and 64 hexadecimal digits; empty for a token.
    """

    name: str
    source: IdentitySource
    expires_at: float | None = None
    fingerprint: str = ""

    def covers(self, fqcn: str) -> bool:
        """Return whether a cell that has proved this may speak as ``fqcn``: as itself, and as what is named below."""
        return fqcn == self.name or fqcn.startswith(f"{self.name}.")
