"""Something else than a cell answers at the port; ``scripts/answers`` runs all there is of that."""

from __future__ import annotations

import pytest

from tests.adversity.answering import Case, all_cases, try_out

# A few of each kind; the others differ by a number.
SOME = [
    Case("library", "UNIMPLEMENTED", linked=False),
    Case("library", "RESOURCE_EXHAUSTED", linked=True),
    Case("library", "HTTP 301", linked=False),
    Case("library", "HTTP/1 403", linked=True),
    Case("library", "no HTTP/2", linked=True, addresses=2),
    Case("library", "no Hello", linked=False),
    Case("serve", "PERMISSION_DENIED", linked=False),
    Case("serve", "HTTP 502", linked=True),
    Case("ping", "HTTP 404", linked=False),
    Case("ping", "no TCP", linked=False, addresses=2),
    Case("send", "HTTP/1 503", linked=False),
]


@pytest.mark.parametrize("case", SOME, ids=str)
def test_what_is_no_cell_is_named_and_left_behind(case: Case) -> None:
    assert case in set(all_cases())
    try_out(case)
