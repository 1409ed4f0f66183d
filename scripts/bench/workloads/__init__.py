"""What is measured."""

from __future__ import annotations

from scripts.bench.workloads import blob, echo, memory, throughput
from scripts.bench.workloads.base import Workload

WORKLOADS: dict[str, Workload] = {
    "throughput": throughput.run,
    "memory": memory.run,
    "blob": blob.run,
    "echo": echo.run,
}
