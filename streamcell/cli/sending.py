"""``send``."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamcell.cli.options import (
    DEFAULT_WAIT_S,
    AsJson,
    Ca,
    Cert,
    Connect,
    Key,
    OwnName,
    TokenFile,
    Verbose,
    Wait,
    as_path,
    tls_of,
)
from streamcell.cli.outcome import ExitCode, end_of_signal, exit_code_of
from streamcell.cli.streams import check_input, is_closed_input
from streamcell.errors import CellError, UsageError

if TYPE_CHECKING:
    from streamcell.cli.sources import Found, Sendable
    from streamcell.cli.transfers import Manner, Transfers
    from streamcell.cli.views import View
    from streamcell.core_cell import CoreCell


def send(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH", parser=as_path, help="Files, folders with all that is in them, or - once."),
    ],
    to: Annotated[
        list[str], typer.Option("--to", metavar="NAME", help="The cell that gets them. Repeatable: each gets all.")
    ],
    connect: Connect,
    own_name: OwnName = None,
    name: Annotated[str | None, typer.Option("--name", help="The name that a single file or - arrives under.")] = None,
    digest: Annotated[bool, typer.Option("--digest", help="Compare a SHA-256 of each whole file as well.")] = False,
    secure: Annotated[
        bool,
        typer.Option("--secure", help="Seal it for the receiver: no cell on the way can read or change it."),
    ] = False,
    wait: Wait = DEFAULT_WAIT_S,
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
    verbose: Verbose = 0,
) -> int:
    """Send files to a cell's inbox, or standard input to its standard output.

    It ends well when the receiver has every file, checked and on its disk. Interrupted or killed, give the same command
    again: it goes on where the receiver stands.
    """
    from streamcell.cli.cells import dialled_cell, log_to_stderr
    from streamcell.cli.naming import absolute, command_name, proven_name, send_name
    from streamcell.cli.sources import STANDARD_INPUT, find_sources
    from streamcell.cli.transfers import Manner
    from streamcell.cli.views import make_view
    from streamcell.fqcn import check_fqcn

    log_to_stderr(verbose)
    tls = tls_of(ca, cert, key)
    if secure and (tls is None or tls.cert is None or tls.ca is None):
        raise UsageError(
            "--secure needs certificates, with which the two cells prove who they are: --ca, --cert, --key"
        )
    targets = sorted(set(to))
    for target in targets:
        check_fqcn(target)
    if paths.count(STANDARD_INPUT) > 1:
        raise UsageError("standard input can be sent once: give - one time only")
    if any(path == STANDARD_INPUT or is_closed_input(path) for path in paths):
        check_input()
    if name == "":
        raise UsageError("--name '' is no name: leave it out, or name what arrives")
    if name is not None and len(paths) > 1:
        raise UsageError("--name is for a single path: leave it out, or send one at a time")
    if own_name is None:
        named = [absolute(path) for path in paths if path != STANDARD_INPUT]
        # Standard input cannot be sent again, so that two of them at a time must not share a name.
        to_all = ",".join(targets)
        own_name = send_name(to_all, named) if named else command_name("send", to_all, str(os.getpid()))
        own_name = proven_name(own_name, tls)
    found = find_sources(paths, targets[0], name)
    manner = Manner(digest, wait, secure=secure, several=len(targets) > 1)
    began = time.monotonic()
    try:
        with dialled_cell(own_name, connect, wait, tls, token_file) as cell, make_view(as_json=as_json) as view:
            if found.left_out:
                _tell_left_out(found, view, as_json=as_json)
            transfers = _send_all(cell, targets, found.sources, view, manner)
    except (KeyboardInterrupt, SystemExit) as signalled:
        can_go_on = any(not source.is_read_once for source in found.sources)
        return end_of_signal(signalled, "give the same command again to go on" if can_go_on else "")
    if len(found.sources) * len(targets) != 1 and not as_json:
        _summarize(transfers, time.monotonic() - began)
    return _exit_code(transfers)


def _send_all(
    cell: CoreCell, targets: list[str], sources: list[Sendable], view: View, manner: Manner
) -> list[Transfers]:
    from streamcell.cli.reach import ParentWatch
    from streamcell.cli.transfers import Transfers, run, share
    from streamcell.stream_cell import StreamCell

    shared = [source for source in sources if source.is_read_once] if manner.several else []
    others = [source for source in sources if not source.is_read_once] if manner.several else sources
    transfers = [
        Transfers(StreamCell(cell), target, (source.for_target(target) for source in others), view, manner)
        for target in targets
    ]
    for source in shared:
        share(StreamCell(cell), source, transfers, manner)
    run(transfers, view, ParentWatch(cell, view.note))
    return transfers


def _tell_left_out(found: Found, view: View, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"left_out": found.left_out}), flush=True)
    else:
        view.note(f"left out: {found.left_out_text}")


def _summarize(transfers: list[Transfers], seconds: float) -> None:
    from streamcell.cli.text import rate_text, seconds_text

    size_bytes, sent_bytes = sum(each.bytes for each in transfers), sum(each.sent_bytes for each in transfers)
    folders, failed = sum(each.folders for each in transfers), sum(len(each.errors) for each in transfers)
    rate = f", {rate_text(sent_bytes / seconds)}" if sent_bytes else ""
    before = f"; {size_bytes - sent_bytes:,} bytes were there before" if size_bytes > sent_bytes else ""
    failures = f"; {failed} failed" if failed else ""
    without_files = f", {folders} folders without files" if folders else ""
    to_cells = f" to {len(transfers)} cells" if len(transfers) > 1 else ""
    files = f"{sum(each.files for each in transfers)} files{without_files}{to_cells}, {size_bytes:,} bytes"
    print(f"{files} in {seconds_text(seconds)}{rate}{before}{failures}", flush=True)


def _exit_code(transfers: list[Transfers]) -> ExitCode:
    """Return what one failure after the other has in common, if all have failed; else whether any has."""
    codes = {_exit_code_of(error) for each in transfers for error in each.errors}
    if not codes:
        return ExitCode.DONE
    arrived = any(each.files or each.folders for each in transfers)
    return ExitCode.FAILED if arrived or len(codes) > 1 else codes.pop()


def _exit_code_of(error: CellError | OSError) -> ExitCode:
    return exit_code_of(error) if isinstance(error, CellError) else ExitCode.FAILED
