"""Each fault at each point of each kind of transfer, over real gRPC; a summary stands at the end of the run.

A part of the matrix runs by itself; STREAMCELL_MATRIX=all runs all of it, STREAMCELL_MATRIX_SEED with another seed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.adversity.conftest import SUMMARIES
from tests.adversity.matrix import Case, Field, all_cases, field, some_cases
from tests.kit.timing import scaled

CASES = all_cases() if os.environ.get("STREAMCELL_MATRIX") == "all" else some_cases()
SEED = int(os.environ.get("STREAMCELL_MATRIX_SEED", "0"))


@pytest.fixture(scope="module")
def the_field(request: pytest.FixtureRequest) -> Iterator[Field]:
    with field(SEED) as made:
        yield made
    request.config.stash.setdefault(SUMMARIES, []).extend(["fault matrix:", *made.record.lines()])


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.timeout(scaled(120))
def test_a_transfer_survives(the_field: Field, case: Case) -> None:
    the_field.run(case)


def test_all_was_right(the_field: Field) -> None:
    assert (the_field.record.wrong, the_field.record.unsettled) == (0, 0)
