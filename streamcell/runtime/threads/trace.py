"""Loggers that say which cell and stream they speak of.

Logger names: ``streamcell.engine``, ``streamcell.cell`` (a cell's life, its callbacks), ``streamcell.link`` (lanes and
neighbours) and ``streamcell.stream`` (transfers). Arrows: ``<`` came in, ``>`` went out. Payloads are never logged.
"""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any, TypeAlias

from streamcell.logs import get_logger

_Adapter: TypeAlias = "logging.LoggerAdapter[logging.Logger]"


class CellLog(logging.LoggerAdapter):  # type: ignore[type-arg]
    """Adds the cell's name, and what else is known, in front of each record and as attributes of it.

    Channels, topics, sentences and much else come from other cells: texts and errors among the arguments are escaped,
    so that nobody can forge a line of the log, or command the terminal that shows it.
    """

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log ``msg % args``, if somebody wants to see it."""
        if self.isEnabledFor(level):
            kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
            super().log(level, msg, *map(_printable, args), **kwargs)

    def process(self, msg: object, kwargs: MutableMapping[str, Any]) -> tuple[str, MutableMapping[str, Any]]:
        """Put the context in front of the message; the arguments stay lazy."""
        extra = dict(self.extra or {})
        where = " ".join(f"{key}={value}" for key, value in extra.items())
        kwargs["extra"] = {**extra, **(kwargs.get("extra") or {})}
        return f"[{where.replace('%', '%%')}] {msg}", kwargs


def _printable(argument: object) -> object:
    """Return an argument of a record without characters that mean something to a terminal or a reader of lines."""
    if not isinstance(argument, str | BaseException):
        return argument
    text = str(argument)
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def engine_log() -> logging.Logger:
    """Return the logger of what concerns the whole process."""
    return get_logger("streamcell.engine")


def cell_log(fqcn: str) -> CellLog:
    """Return the logger of a cell's life."""
    return CellLog(get_logger("streamcell.cell"), {"cell": fqcn})


def link_log(fqcn: str) -> CellLog:
    """Return the logger of a cell's links and lanes."""
    return CellLog(get_logger("streamcell.link"), {"cell": fqcn})


def stream_log(fqcn: str) -> CellLog:
    """Return the logger of a cell's transfers."""
    return CellLog(get_logger("streamcell.stream"), {"cell": fqcn})
