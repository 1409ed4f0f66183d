"""Loggers that say which cell and stream they speak of. Imports the standard library only.

Logger names: ``streamcell.engine``, ``streamcell.cell`` (a cell's life, its callbacks), ``streamcell.link`` (lanes and
neighbours) and ``streamcell.stream`` (transfers). Arrows: ``<`` came in, ``>`` went out. Payloads are never logged.
"""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any, TypeAlias

_Adapter: TypeAlias = "logging.LoggerAdapter[logging.Logger]"


class CellLog(logging.LoggerAdapter):  # type: ignore[type-arg]
    """Adds the cell's name, and what else is known, in front of each record and as attributes of it."""

    def process(self, msg: object, kwargs: MutableMapping[str, Any]) -> tuple[str, MutableMapping[str, Any]]:
        """Put the context in front of the message; the arguments stay lazy."""
        extra = dict(self.extra or {})
        where = " ".join(f"{key}={value}" for key, value in extra.items())
        kwargs["extra"] = {**extra, **(kwargs.get("extra") or {})}
        return f"[{where.replace('%', '%%')}] {msg}", kwargs


def engine_log() -> logging.Logger:
    """Return the logger of what concerns the whole process."""
    return logging.getLogger("streamcell.engine")


def cell_log(fqcn: str) -> CellLog:
    """Return the logger of a cell's life."""
    return CellLog(logging.getLogger("streamcell.cell"), {"cell": fqcn})


def link_log(fqcn: str) -> CellLog:
    """Return the logger of a cell's links and lanes."""
    return CellLog(logging.getLogger("streamcell.link"), {"cell": fqcn})


def stream_log(fqcn: str) -> CellLog:
    """Return the logger of a cell's transfers."""
    return CellLog(logging.getLogger("streamcell.stream"), {"cell": fqcn})
