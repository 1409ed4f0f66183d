"""Settings that count for the whole process: who asks for another value than the one that counts is told."""

from __future__ import annotations

import pytest

from tests.kit.programs import Script

SCRIPT = """
    import logging
    class Saying(logging.Handler):
        def emit(self, record):
            if "settings of the process" in record.getMessage():
                say(record.levelname, record.getMessage())
    logging.getLogger("streamcell").addHandler(Saying())
    logging.getLogger("streamcell").setLevel(logging.INFO)
    def start(name, **config):
        cell = CoreCell(name, listen="grpc://127.0.0.1:0", config=CellConfig(**config))
        cell.start()
        return cell
    {start}
    say("ended", sys.getswitchinterval())
    """

SAID = "not used: settings of the process are decided by the cell that starts first, and so"

CASES = {
    "another interval": (
        "start('hub'); start('late', switch_interval_s=0.0005)",
        [f"WARNING [cell=late] switch_interval_s=0.0005 is {SAID} switch_interval_s=0.0 by cell 'hub'", "ended 0.005"],
    ),
    "none where there is one": (
        "start('hub', switch_interval_s=0.001); start('late')",
        [f"INFO [cell=late] switch_interval_s=0.0 is {SAID} switch_interval_s=0.001 by cell 'hub'", "ended 0.001"],
    ),
    "the same": ("start('hub', switch_interval_s=0.001); start('late', switch_interval_s=0.001)", ["ended 0.001"]),
    "after the first has ended": (
        "start('hub').stop(); start('late', switch_interval_s=0.0005)",
        [f"WARNING [cell=late] switch_interval_s=0.0005 is {SAID} switch_interval_s=0.0 by cell 'hub'", "ended 0.005"],
    ),
    "the allocator and the threads of gRPC": (
        "start('hub'); start('late', tune_allocator=False, batch_grpc_threads=False)",
        [
            f"WARNING [cell=late] tune_allocator=False, batch_grpc_threads=False are {SAID} tune_allocator=True by "
            "cell 'hub' and batch_grpc_threads=True by cell 'hub'",
            "ended 0.005",
        ],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_case_3_9_cell_that_asks_for_another_value_is_told(name: str) -> None:
    script, said = CASES[name]
    with Script(SCRIPT.format(start=script)) as program:
        assert [program.hear() for _ in said] == said
        assert program.end() == (0, "")
