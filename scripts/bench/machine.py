"""What the figures were measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from pathlib import Path
from typing import Any

import psutil

# Those that are not installed are not named.
PACKAGES = ("streamcell", "grpcio", "protobuf", "nvflare", "pyarrow")
# How long the machine is watched before the start.
SAMPLE_S = 1.0


def describe() -> dict[str, Any]:
    """Return processor, cores, memory, versions, and how busy the machine was at the start."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := version(name))},
        "load_before": load(),
        "busy_before": psutil.cpu_percent(SAMPLE_S),
    }


def load() -> float:
    """Return the load of the last minute."""
    return round(os.getloadavg()[0], 2)


def processor() -> str:
    info = Path("/proc/cpuinfo")
    found = (
        re.search(r"^model name\s*: (.*)$", info.read_text(encoding="utf-8"), re.MULTILINE) if info.exists() else None
    )
    return found[1] if found else platform.processor()


def version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def line(machine: dict[str, Any]) -> str:
    """Return the description in one line."""
    packages = ", ".join(f"{name} {found}" for name, found in machine["packages"].items())
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}, "
        f"Python {machine['python']}, {packages}; "
        f"before: load {machine['load_before']}, processors {machine['busy_before']:.0f} % busy"
        + (f"; after: load {machine['load_after']}" if "load_after" in machine else "")
    )
