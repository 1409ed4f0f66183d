"""What is measured."""

from __future__ import annotations

from scripts.bench.workloads import (
    beside,
    blob,
    computing,
    costs,
    distance,
    echo,
    many,
    memory,
    relay,
    settings,
    slow,
    threads,
    throughput,
)
from scripts.bench.workloads.base import Workload

WORKLOADS: dict[str, Workload] = {
    "throughput": throughput.run,
    "blob": blob.run,
    "echo": echo.run,
    "beside": beside.run,
    "computing": computing.run,
    "many": many.run,
    "memory": memory.run,
    "distance": distance.run,
    "relay": relay.run,
    "slow": slow.run,
    "settings": settings.run,
    "threads": threads.run,
    "costs": costs.run,
}
