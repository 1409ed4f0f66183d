"""Settings that count for the whole process, whichever cell asks for them."""

from __future__ import annotations

import dataclasses
import logging
import threading

from streamcell.config import CellConfig
from streamcell.runtime.engine.allocator import set_switch_interval, tune_allocator
from streamcell.runtime.threads.trace import cell_log
from streamcell.transport.base import Network

_DEFAULTS = {field.name: field.default for field in dataclasses.fields(CellConfig)}


class ProcessSettings:
    """What the first cell that had a say has decided. Every other one is told if it wanted something else."""

    def __init__(self) -> None:
        # Reentrant, as a destructor may run anywhere.
        self._lock = threading.RLock()
        self._decided: dict[str, tuple[object, str]] = {}

    def apply(self, fqcn: str, config: CellConfig, network: Network) -> None:
        """Set what is not set yet; log what this cell asks for in vain. Any thread."""
        if self._decide(fqcn, "tune_allocator", config.tune_allocator) and config.tune_allocator:
            tune_allocator()
        if self._decide(fqcn, "switch_interval_s", config.switch_interval_s):
            set_switch_interval(config.switch_interval_s)
        # Set when the first channel or server of gRPC is made, which is this network's; others have none.
        batch_threads = getattr(network, "batch_threads", None)
        if batch_threads is not None:
            self._decide(fqcn, "batch_grpc_threads", batch_threads)

    def _decide(self, fqcn: str, name: str, value: object) -> bool:
        """Return whether nobody has decided before."""
        with self._lock:
            decided = self._decided.get(name)
            if decided is None:
                self._decided[name] = (value, fqcn)
                return True
        if decided[0] != value:
            # What is the default may not have been asked for.
            level = logging.INFO if value == _DEFAULTS[name] else logging.WARNING
            cell_log(fqcn).log(
                level,
                "%s=%s is not used: it is a setting of the process, and cell '%s', which started before, has set %s",
                name,
                value,
                decided[1],
                decided[0],
            )
        return False
