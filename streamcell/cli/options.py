"""Options that several verbs have in common. Imports typer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer


def as_path(text: str) -> Path:
    """Return a path that was given. An empty one, of a variable that is not set perhaps, is none: Path("") is "."."""
    if not text:
        raise typer.BadParameter("'' is no path")
    return Path(text)


Connect: TypeAlias = Annotated[
    str,
    typer.Option(
        "--connect",
        "-c",
        metavar="URL",
        envvar="STREAMCELL_CONNECT",
        help="Where the parent listens: grpc://host:port.",
    ),
]
Wait: TypeAlias = Annotated[
    float, typer.Option("--wait", min=0.0, metavar="SECONDS", help="How long a cell may be out of reach.")
]
Verbose: TypeAlias = Annotated[
    int, typer.Option("--verbose", "-v", count=True, help="Log what happens to standard error; twice: everything.")
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
OwnName: TypeAlias = Annotated[
    str | None, typer.Option("--as", metavar="NAME", help="This cell's name; made from host and user if not given.")
]

DEFAULT_WAIT_S = 30.0
