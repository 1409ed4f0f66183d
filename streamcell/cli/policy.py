"""``policy``: what a policy's file allows."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from streamcell.cli.options import AsJson, as_path
from streamcell.cli.outcome import HELP, ExitCode
from streamcell.fqcn import check_callback_name, check_fqcn
from streamcell.security.policy.policy import Policy, TransferKind

app = typer.Typer(
    name="policy", help="Look at what a policy allows.", epilog=HELP, rich_markup_mode=None, no_args_is_help=False
)


@app.callback()
def _options() -> None:
    """Keep ``check`` a word of its own: a Typer with one command would take its place."""


@app.command(epilog=HELP)
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", parser=as_path, help="The policy, in TOML.")],
    origin: Annotated[str, typer.Option("--from", metavar="NAME", help="The cell that sends.")],
    target: Annotated[str, typer.Option("--to", metavar="NAME", help="The cell that is to receive.")],
    channel: Annotated[str, typer.Option("--channel", metavar="TEXT", help="The channel.")],
    topic: Annotated[str, typer.Option("--topic", metavar="TEXT", help="The topic.")],
    kind: Annotated[TransferKind, typer.Option("--kind", help="What is sent.")] = TransferKind.STREAM,
    sealed: Annotated[bool, typer.Option("--sealed", help="It is sent with secure=True.")] = False,
    as_json: AsJson = False,
) -> ExitCode:
    """Say whether one cell may send something to another, and which rule decides; exit 1 if it may not."""
    policy = Policy.from_file(file)
    for warning in policy.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    names = (check_fqcn(origin), check_fqcn(target))
    where = (check_callback_name(channel, "--channel"), check_callback_name(topic, "--topic"))
    decision = policy.decide(*names, *where, kind, sealed=sealed)
    if as_json:
        print(json.dumps({"allowed": decision.allowed, "reason": decision.reason}))
    else:
        print(f"{'allowed' if decision.allowed else 'refused'}: {decision.reason}")
    return ExitCode.DONE if decision.allowed else ExitCode.FAILED
