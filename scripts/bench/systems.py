"""What is compared: a peer with its settings. Also how the two ends of a measurement are told which one they are."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, TypeAlias

from streamcell import CellConfig

Options: TypeAlias = dict[str, Any]

# The library's default; bare gRPC gets as many connections where the two are compared.
LANES = CellConfig().bulk_lanes


@dataclasses.dataclass(frozen=True)
class System:
    """A peer (a module of `peers`) with its settings, and the label that tables show."""

    label: str
    peer: str
    options: Options = dataclasses.field(default_factory=dict)
    # Whether both processes get streamcell's allocator settings. streamcell makes them itself.
    tuned: bool = False
    # Whether gRPC's threads in both processes are of the class that streamcell gives them. streamcell does it itself.
    batch_threads: bool = False

    def text(self) -> str:
        """Return the system as an argument of a command line."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def parse(cls, text: str) -> System:
        return cls(**json.loads(text))


def cells(label: str = "streamcell", **options: Any) -> System:
    """Return streamcell; the options are fields of CellConfig, ``into`` and ``checksums``."""
    return System(label, "cells", options)


def bare_grpc(calls: int) -> System:
    return System(f"grpc.aio, {calls} {'call' if calls == 1 else 'calls'}", "bare_grpc", {"calls": calls})


def tuned(system: System) -> System:
    """Return the same system with streamcell's allocator settings in both processes."""
    return dataclasses.replace(system, label=f"{system.label}, tuned", tuned=True)


def with_batch_threads(system: System) -> System:
    """Return the same system with gRPC's threads of the class that streamcell gives them, in both processes."""
    return dataclasses.replace(system, label=f"{system.label}, batch threads", batch_threads=True)


STREAMCELL = cells()
NVFLARE_GRPC = System("NVFlare grpc://", "nvflare", {"scheme": "grpc"})
NVFLARE_TCP = System("NVFlare tcp://", "nvflare", {"scheme": "tcp"})
FLIGHT = System("Arrow Flight", "flight")
SOCKETS = System("TCP sockets", "sockets")
