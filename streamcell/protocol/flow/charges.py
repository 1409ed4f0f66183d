"""What a stream takes from the budget of windows before anything is granted to it.

Its origin may send the initial credit by itself, and headers with the first chunk of each attempt. So much is kept for
each stream of which something comes, and costs who sends it little. The initial credit of the first streams is free:
it is what it costs to be reachable. Small headers of them are free, too: most streams have no others.
"""

from __future__ import annotations

from streamcell.limits import FREE_HEADERS_BYTES, HEADER_OBJECTS_BYTES, INITIAL_CREDIT_BYTES
from streamcell.message import Headers, HeaderValue
from streamcell.protocol.flow.credit import WindowBudget
from streamcell.protocol.wire.addressing import Party
from streamcell.protocol.wire.frames import Open

# Headers count as this part of the budget at most, so that they find room when nobody else holds anything.
_HEADERS_PART = 2
# Characters of which none is ASCII take so many bytes each, and so do all of a text in which one is far from it.
_WIDEST_CHARACTER = 4


class Charge:
    """Bytes of the budget that one stream has taken; it gives each of them back once."""

    __slots__ = ("_budget", "_credit", "_headers", "_party")

    def __init__(self, budget: WindowBudget, party: Party, credit: int, headers: int) -> None:
        self._budget = budget
        self._party = party
        self._credit = credit
        self._headers = headers

    def give_back_credit(self) -> None:
        """What has come is counted elsewhere, or gone."""
        credit, self._credit = self._credit, 0
        self._budget.give_back(self._party, credit)

    def give_back_headers(self) -> None:
        """The headers are gone."""
        headers, self._headers = self._headers, 0
        self._budget.give_back(self._party, headers)

    def give_back(self) -> None:
        """The stream has ended."""
        self.give_back_credit()
        self.give_back_headers()


def first_bytes(remaining: int | None) -> int:
    """Return how many bytes of payload come before the first Credit, of so many that are to come (None: not known)."""
    return INITIAL_CREDIT_BYTES if remaining is None else max(0, min(remaining, INITIAL_CREDIT_BYTES))


def charge(budget: WindowBudget, party: Party, credit: int, opening: Open, *, is_free: bool) -> Charge | None:
    """Take what a stream brings from the budget; None: there is not as much left.

    :param credit: payload that may come before the first Credit. ``is_free``: that is free, and a few headers are.
    """
    headers = opening.description.headers
    size = len(opening.sealing_envelope) + (headers_bytes(headers) if headers else 0)
    if is_free:
        credit, size = 0, max(0, size - FREE_HEADERS_BYTES)
    size = min(size, budget.capacity_bytes // _HEADERS_PART)
    if credit + size and not budget.take_whole(party, credit + size):
        return None
    return Charge(budget, party, credit, size)


def headers_bytes(headers: Headers) -> int:
    """Return about how much memory headers take, and no less."""
    return sum(_value_bytes(key) + _value_bytes(value) + HEADER_OBJECTS_BYTES for key, value in headers)


def _value_bytes(value: HeaderValue) -> int:
    if isinstance(value, str):
        return len(value) if value.isascii() else _WIDEST_CHARACTER * len(value)
    return len(value) if isinstance(value, bytes) else 0
