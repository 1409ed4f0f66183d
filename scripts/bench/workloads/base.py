"""What a workload is: a function that measures and returns its raw figures and its lines of the table."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeAlias

from scripts.bench.report import Row


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a workload: everything that was measured, and what is shown of it."""

    figures: dict[str, Any]
    rows: list[Row]


# Called with whether it is to be quick.
Workload: TypeAlias = Callable[[bool], Outcome]
