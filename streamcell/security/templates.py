"""Which URI in a certificate stands for which cell."""

from __future__ import annotations

import hashlib

from streamcell.errors import UsageError
from streamcell.fqcn import is_fqcn

PLACE = "{fqcn}"
DEFAULT_TEMPLATE = f"streamcell:{PLACE}"
# Names that no resolver knows (RFC 6761, section 6.4), so that nothing else is called so.
_HOSTS = ".cell.invalid"
_HOST_DIGITS = 32


class IdentityTemplate:
    """A URI with a place for a cell's name, as in ``streamcell:{fqcn}`` or ``spiffe://example.org/{fqcn}``.

    It is matched exactly, with no wildcards.

    :raises UsageError: if it is no URI with exactly one place.
    """

    def __init__(self, text: object) -> None:
        if not isinstance(text, str) or text.count(PLACE) != 1 or ":" not in text.partition(PLACE)[0]:
            raise UsageError(
                f"identity must be a URI with {PLACE} once in it, for example {DEFAULT_TEMPLATE!r} or "
                f"'spiffe://example.org/{PLACE}', not {text!r:.200}"
            )
        self.text = text
        self._before, _, self._behind = text.partition(PLACE)

    def uri_of(self, fqcn: str) -> str:
        """Return the URI that stands for a cell."""
        return f"{self._before}{fqcn}{self._behind}"

    def name_in(self, uri: str) -> str | None:
        """Return the name of the cell that ``uri`` stands for, or None if it is no such URI.

        The name need not be well-formed: see :func:`is_fqcn`.
        """
        if not uri.startswith(self._before) or not uri.endswith(self._behind):
            return None
        if len(uri) < len(self._before) + len(self._behind):
            return None
        return uri[len(self._before) : len(uri) - len(self._behind)]

    def cell_in(self, uri: str) -> str | None:
        """Return the name of the cell that ``uri`` stands for, or None if there is none of such a name."""
        name = self.name_in(uri)
        return name if name is not None and is_fqcn(name) else None


def host_of_cell(fqcn: str) -> str:
    """Return the DNS name by which a cell's certificate is checked where the cell is dialled by its name.

    gRPC checks nothing but DNS names and IP addresses, and a cell's name may be too long for one.
    """
    digits = hashlib.sha256(b"streamcell\0" + fqcn.encode("ascii")).hexdigest()
    return digits[:_HOST_DIGITS] + _HOSTS


def is_wildcard_of_cells(host: str) -> bool:
    """Return whether a DNS name in a certificate would stand for every cell."""
    return host.startswith("*") and host.lower().rstrip(".").endswith(_HOSTS)
