"""Files and sockets run out: it is said, newcomers are refused with a sentence, and who is there goes on."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from streamcell import CoreCell
from tests.kit.cells import grpc_carrier, running
from tests.kit.programs import hub
from tests.kit.waiting import PATIENCE_S, eventually

# As many as a process of its own has open for itself, and the reserve, and room for some cells.
HARD_LIMIT = 64
CELLS = 24


def limited(options: str) -> list[str]:
    """Return what runs a command with a limit of its own."""
    return ["sh", "-c", f'ulimit {options} && exec "$@"', "sh"]


def open_descriptors(process_id: int) -> int:
    """Return how many files and sockets a process has open."""
    return len(list(Path(f"/proc/{process_id}/fd").iterdir()))


def connected(cells: Sequence[CoreCell]) -> list[CoreCell]:
    """Return those that have a link to the hub."""
    return [cell for cell in cells if cell.is_cell_connected("hub")]


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_case_3_4_newcomers_are_refused_when_few_descriptors_are_left(tmp_path: Path) -> None:
    with hub(tmp_path, prefix=limited(f"-n {HARD_LIMIT}")) as (command, url), contextlib.ExitStack() as stack:
        cells = [stack.enter_context(running(grpc_carrier().cell(f"c{n}", connect=url))) for n in range(CELLS)]
        told = command.errors.wait_for(r"(\d+) of the (\d+) files and sockets that this process may open are open")
        assert int(told[2]) == HARD_LIMIT
        eventually(lambda: len(connected(cells)) >= 4)
        there = connected(cells)
        # Those that are there are served, and there is a reserve for what the hub has to open itself.
        for cell in there:
            assert "hub" in [known.fqcn for known in cell.cells(PATIENCE_S)]
        assert len(connected(cells)) < CELLS
        assert open_descriptors(command.process.pid) < HARD_LIMIT
        # Those that were refused have gone on dialling, and are taken when others have left.
        refused = [cell for cell in cells if cell not in connected(cells)]
        for cell in there[:4]:
            cell.stop(0)
        eventually(lambda: bool(connected(refused)))
        # Cells without a link are quick to stop.
        command.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_case_3_4_the_standing_cell_raises_its_soft_limit(tmp_path: Path) -> None:
    with hub(tmp_path, prefix=limited("-S -n 32")) as (command, url), contextlib.ExitStack() as stack:
        cells = [stack.enter_context(running(grpc_carrier().cell(f"c{n}", connect=url))) for n in range(CELLS)]
        for cell in cells:
            cell.wait_connected(PATIENCE_S)
        assert open_descriptors(command.process.pid) > 32
        assert not [line for line in command.errors.all if "files and sockets" in line]
        command.kill()
