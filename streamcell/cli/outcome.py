"""How a command ends: its exit code, and one sentence where it failed."""

from __future__ import annotations

import enum
import errno
import sys

from streamcell.cli.streams import lost_output
from streamcell.errors import CellError, ErrorCode, LinkError, NameInUse, StreamTargetUnreachable, UsageError


class ExitCode(enum.IntEnum):
    """What a command ends with."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    INTERRUPTED = 130
    # By another signal: 128 and its number, as a shell says it.
    HUNG_UP = 129
    TERMINATED = 143


HELP = (
    "Exit codes: 0 all was done; 1 a transfer or request failed or was refused; 2 the command or the configuration is "
    "wrong; 3 a cell or an address could not be reached or listened at; 129 ended by SIGHUP, 130 by Ctrl-C, 143 by "
    "SIGTERM."
)
# Standard output has a reader that has ended: it has what it wanted. "head" is one.
_READER_GONE = (errno.EPIPE, errno.ECONNRESET)


def exit_code_of(error: CellError) -> ExitCode:
    """Return what a command ends with that failed with ``error``."""
    if isinstance(error, UsageError):
        return ExitCode.USAGE
    if isinstance(error, StreamTargetUnreachable):
        return ExitCode.UNREACHABLE
    if isinstance(error, LinkError) and not isinstance(error, NameInUse) and error.code is ErrorCode.UNREACHABLE:
        return ExitCode.UNREACHABLE
    return ExitCode.FAILED


def end_of_signal(signalled: KeyboardInterrupt | SystemExit, advice: str) -> ExitCode:
    """Return what a command ends with that Ctrl-C or another signal has ended, after a word that says so."""
    code = ExitCode.INTERRUPTED if isinstance(signalled, KeyboardInterrupt) else ExitCode(int(signalled.code or 0))
    how = {ExitCode.HUNG_UP: "ended by SIGHUP", ExitCode.TERMINATED: "ended by SIGTERM"}.get(code, "interrupted")
    complain(f"{how}: {advice}" if advice else how)
    return code


def end_of_work(outcome: ExitCode) -> ExitCode:
    """Return what a command ends with that has moved files, after a word about results that could not be shown.

    What the command was to do is done, or not, whether or not somebody reads of it.
    """
    lost = lost_output()
    if lost is not None and lost.errno not in (*_READER_GONE, errno.EBADF):
        complain(_loss(lost))
    return outcome


def end_of_answer() -> ExitCode:
    """Return what a command ends with whose output is all that it does."""
    lost = lost_output()
    if lost is None or lost.errno in _READER_GONE:
        return ExitCode.DONE
    complain(_loss(lost))
    return ExitCode.FAILED


def _loss(lost: OSError) -> str:
    return f"standard output cannot be written to: {lost.strerror}"


def complain(sentence: str) -> None:
    """Tell the user what failed."""
    print(f"streamcell: {sentence}", file=sys.stderr, flush=True)
