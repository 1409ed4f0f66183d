"""The program ``streamcell``: its verbs, and how they end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from typer.exceptions import TyperException

from streamcell import __version__
from streamcell.cli import asking, certs, policy, sending, standing
from streamcell.cli.outcome import HELP, ExitCode, complain, end_of_answer, end_of_work, exit_code_of
from streamcell.errors import CellError

_NAME = "streamcell"

app = typer.Typer(
    name=_NAME,
    help="Send files and streams between named cells, and know that they arrived.",
    epilog=HELP,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for _verb in (standing.serve, sending.send, standing.recv, asking.ping, asking.cells, asking.bench):
    app.command(epilog=HELP)(_verb)
app.add_typer(certs.app)
app.add_typer(policy.app)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"{_NAME} {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and end.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Take what stands before the verb."""


def run(arguments: Sequence[str]) -> int:
    """Run a command; return the exit code. What fails is one sentence on standard error."""
    try:
        # Who asks for nothing is shown what there is.
        ended = app(list(arguments) or ["--help"], prog_name=_NAME, standalone_mode=False)
    except TyperException as error:
        return _wrong_usage(error)
    except CellError as error:
        complain(error.sentence)
        return exit_code_of(error)
    if not arguments:
        return ExitCode.USAGE
    if isinstance(ended, ExitCode):
        return end_of_work(ended)
    if ended == ExitCode.INTERRUPTED:
        # Typer's code for Ctrl-C, and not that of a verb, which would have told what to do.
        complain("interrupted")
        return ExitCode.INTERRUPTED
    return end_of_answer()


def _wrong_usage(error: TyperException) -> int:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else _NAME
    sentence = error.format_message().rstrip(".")
    if sentence:
        complain(f"{sentence[0].lower()}{sentence[1:]}; '{command} --help' tells what there is")
    return ExitCode.USAGE
