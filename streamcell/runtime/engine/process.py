"""Settings that count for the whole process, whichever cell asks for them."""

from __future__ import annotations

import dataclasses
import logging
import threading

from streamcell.config import ProcessSettings
from streamcell.runtime.engine.allocator import set_switch_interval, tune_allocator
from streamcell.runtime.threads.trace import cell_log

_DEFAULTS = dataclasses.asdict(ProcessSettings())


@dataclasses.dataclass(frozen=True, slots=True)
class Decision:
    """A value that counts, and the cell that has asked for it."""

    value: object
    by: str


class ProcessDecisions:
    """What the first cell that had a say has decided. Every other one is told if it wanted something else."""

    def __init__(self) -> None:
        # Reentrant, as a destructor may run anywhere.
        self._lock = threading.RLock()
        self._decisions: dict[str, Decision] = {}

    def apply(self, fqcn: str, wanted: ProcessSettings, batch_threads: bool | None) -> None:
        """Set what is not set yet; log what this cell asks for in vain. Any thread.

        Args:
            fqcn: the cell.
            wanted: what it asks for.
            batch_threads: the class that its network gives to gRPC's threads, with the first channel or server of gRPC
                that it makes; None: it uses none.
        """
        asked = dataclasses.asdict(wanted)
        del asked["batch_grpc_threads"]
        if batch_threads is not None:
            asked["batch_grpc_threads"] = batch_threads
        fresh = self._decide(fqcn, asked)
        if "tune_allocator" in fresh and wanted.tune_allocator:
            tune_allocator()
        if "switch_interval_s" in fresh:
            set_switch_interval(wanted.switch_interval_s)
        self._tell(fqcn, {name: value for name, value in asked.items() if self._decisions[name].value != value})

    def _decide(self, fqcn: str, asked: dict[str, object]) -> set[str]:
        """Return the names of what nobody has decided before; it is now."""
        with self._lock:
            fresh = asked.keys() - self._decisions.keys()
            self._decisions.update({name: Decision(asked[name], fqcn) for name in fresh})
        return fresh

    def _tell(self, fqcn: str, vain: dict[str, object]) -> None:
        """Leave one line of all that is not used: a warning, unless all of it are defaults, which nobody asked for."""
        if not vain:
            return
        counts = [(name, self._decisions[name]) for name in vain]
        cell_log(fqcn).log(
            logging.INFO if all(value == _DEFAULTS[name] for name, value in vain.items()) else logging.WARNING,
            "%s not used: settings of the process are decided by the cell that starts first, and so %s",
            ", ".join(f"{name}={value}" for name, value in vain.items()) + (" is" if len(vain) == 1 else " are"),
            " and ".join(f"{name}={decision.value} by cell '{decision.by}'" for name, decision in counts),
        )
