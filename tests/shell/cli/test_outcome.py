"""Exit codes."""

import pytest

from streamcell import (
    CellError,
    ErrorCode,
    LinkError,
    NameInUse,
    StreamIntegrityError,
    StreamRejected,
    StreamTargetUnreachable,
    StreamUsageError,
    UsageError,
)
from streamcell.cli.outcome import HELP, ExitCode, exit_code_of


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x"), ExitCode.USAGE),
        (StreamUsageError("x"), ExitCode.USAGE),
        (LinkError("x"), ExitCode.UNREACHABLE),
        (StreamTargetUnreachable("x"), ExitCode.UNREACHABLE),
        (NameInUse("x"), ExitCode.FAILED),
        (LinkError("x", ErrorCode.LIMIT), ExitCode.FAILED),
        (StreamRejected("x"), ExitCode.FAILED),
        (StreamIntegrityError("x"), ExitCode.FAILED),
        (CellError("x"), ExitCode.FAILED),
    ],
)
def test_exit_code(error: CellError, code: ExitCode) -> None:
    assert exit_code_of(error) is code


def test_help_names_every_code() -> None:
    assert all(f" {code.value} " in HELP for code in ExitCode)
