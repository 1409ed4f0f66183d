"""``send``. Imports typer, the work and the views."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamcell.cli.options import DEFAULT_WAIT_S, AsJson, Connect, OwnName, Verbose, Wait, as_path
from streamcell.cli.outcome import ExitCode, complain, exit_code_of
from streamcell.cli.streams import check_input
from streamcell.errors import CellError, UsageError

if TYPE_CHECKING:
    from streamcell.cli.sources import Found
    from streamcell.cli.transfers import Transfers
    from streamcell.cli.views import View


def send(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH", parser=as_path, help="Files, folders with all that is in them, or - once."),
    ],
    to: Annotated[str, typer.Option("--to", metavar="NAME", help="The cell that gets them.")],
    connect: Connect,
    own_name: OwnName = None,
    name: Annotated[str | None, typer.Option("--name", help="The name that a single file or - arrives under.")] = None,
    digest: Annotated[bool, typer.Option("--digest", help="Compare a SHA-256 of each whole file as well.")] = False,
    wait: Wait = DEFAULT_WAIT_S,
    as_json: AsJson = False,
    verbose: Verbose = 0,
) -> int:
    """Send files to a cell's inbox, or standard input to its standard output.

    It ends well when the receiver has every file, checked and on its disk. Interrupted or killed, give the same command
    again: it goes on where the receiver stands.
    """
    from streamcell.cli.cells import dialled_cell, log_to_stderr
    from streamcell.cli.naming import absolute, command_name, send_name
    from streamcell.cli.sources import STANDARD_INPUT, find_sources
    from streamcell.cli.transfers import Transfers
    from streamcell.cli.views import make_view
    from streamcell.fqcn import check_fqcn
    from streamcell.stream_cell import StreamCell

    log_to_stderr(verbose)
    check_fqcn(to)
    if paths.count(STANDARD_INPUT) > 1:
        raise UsageError("standard input can be sent once: give - one time only")
    if STANDARD_INPUT in paths:
        check_input()
    if name == "":
        raise UsageError("--name '' is no name: leave it out, or name what arrives")
    if name is not None and len(paths) > 1:
        raise UsageError("--name is for a single path: leave it out, or send one at a time")
    if own_name is None:
        named = [absolute(path) for path in paths if path != STANDARD_INPUT]
        # Standard input cannot be sent again, so that two of them at a time must not share a name.
        own_name = send_name(to, named) if named else command_name("send", to, str(os.getpid()))
    found = find_sources(paths, to, name)
    began = time.monotonic()
    try:
        with dialled_cell(own_name, connect, wait) as cell, make_view(as_json=as_json) as view:
            transfers = Transfers(StreamCell(cell), to, view, digest=digest, wait_s=wait)
            if found.left_out:
                _tell_left_out(found, view, as_json=as_json)
            transfers.run(found.sources)
    except KeyboardInterrupt:
        complain("interrupted: give the same command again to go on")
        return ExitCode.INTERRUPTED
    if len(found.sources) != 1 and not as_json:
        _summarize(transfers, time.monotonic() - began)
    return max((_exit_code_of(error) for error in transfers.errors), default=ExitCode.DONE)


def _tell_left_out(found: Found, view: View, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"left_out": found.left_out}), flush=True)
    else:
        view.note(f"left out: {found.left_out_text}")


def _summarize(transfers: Transfers, seconds: float) -> None:
    from streamcell.cli.text import rate_text, seconds_text

    rate = f", {rate_text(transfers.sent_bytes / seconds)}" if transfers.sent_bytes else ""
    there = transfers.bytes - transfers.sent_bytes
    before = f"; {there:,} bytes were there before" if there else ""
    failures = f"; {len(transfers.errors)} failed" if transfers.errors else ""
    folders = f", {transfers.folders} folders without files" if transfers.folders else ""
    files = f"{transfers.files} files{folders}, {transfers.bytes:,} bytes"
    print(f"{files} in {seconds_text(seconds)}{rate}{before}{failures}", flush=True)


def _exit_code_of(error: CellError | OSError) -> ExitCode:
    return exit_code_of(error) if isinstance(error, CellError) else ExitCode.FAILED
