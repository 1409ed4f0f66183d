"""The cell that a command makes for itself."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from streamcell.cli.reach import first_link
from streamcell.core_cell import CoreCell
from streamcell.daemon.addresses import check_dialled
from streamcell.daemon.settings import DEFAULT_CONFIG
from streamcell.runtime.engine.allocator import use_one_arena
from streamcell.security.settings import TLSConfig
from streamcell.security.tokens import token_from_file

# For those who count: ``-v`` once, twice.
_LEVELS = (logging.CRITICAL, logging.INFO, logging.DEBUG)
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"


@contextlib.contextmanager
def dialled_cell(
    name: str, urls: Sequence[str], wait_s: float, tls: TLSConfig | None = None, token_file: Path | None = None
) -> Iterator[CoreCell]:
    """Make a cell that has dialled one of ``urls``, saying on standard error if that takes long; stop it at the end.

    Raises:
        LinkError: there is no link after ``wait_s`` seconds.
        UsageError: the name or a URL is wrong.
    """
    check_dialled(urls)
    use_one_arena()
    cell = CoreCell(name, connect=urls, tls=tls, token=token_of(token_file), config=DEFAULT_CONFIG)
    cell.start()
    try:
        with first_link(urls, lambda sentence: print(sentence, file=sys.stderr, flush=True)):
            cell.wait_connected(wait_s)
        yield cell
    finally:
        cell.stop(0)


def token_of(file: Path | None) -> Callable[[], str] | None:
    """Return what a cell shows as its token, None if no file holds one."""
    return None if file is None else token_from_file(file)


def log_to_stderr(verbosity: int) -> None:
    """Log as much as was asked for: what fails is told by the command itself."""
    logging.basicConfig(level=_LEVELS[min(verbosity, len(_LEVELS) - 1)], format=LOG_FORMAT)
    if not verbosity:
        # A proxy that cannot be used is no failure, and would be looked for in vain.
        logging.getLogger("streamcell.transport").setLevel(logging.WARNING)
