"""How a command ends: its exit code, and one sentence where it failed. Imports ``errors`` only."""

from __future__ import annotations

import enum
import sys

from streamcell.errors import CellError, ErrorCode, LinkError, NameInUse, StreamTargetUnreachable, UsageError


class ExitCode(enum.IntEnum):
    """What a command ends with."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    INTERRUPTED = 130


HELP = (
    "Exit codes: 0 all was done; 1 a transfer or request failed or was refused; 2 the command or the configuration is "
    "wrong; 3 a cell or an address could not be reached; 130 interrupted."
)


def exit_code_of(error: CellError) -> ExitCode:
    """Return what a command ends with that failed with ``error``."""
    if isinstance(error, UsageError):
        return ExitCode.USAGE
    if isinstance(error, StreamTargetUnreachable):
        return ExitCode.UNREACHABLE
    if isinstance(error, LinkError) and not isinstance(error, NameInUse) and error.code is ErrorCode.UNREACHABLE:
        return ExitCode.UNREACHABLE
    return ExitCode.FAILED


def complain(sentence: str) -> None:
    """Tell the user what failed."""
    print(f"streamcell: {sentence}", file=sys.stderr, flush=True)
