"""Options that several verbs have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from streamcell.config import LONGEST_TIMEOUT_S
from streamcell.security.settings import TLSConfig


def as_path(text: str) -> Path:
    """Return a path that was given. An empty one, of a variable that is not set perhaps, is none: Path("") is "."."""
    if not text:
        raise typer.BadParameter("'' is no path")
    return Path(text)


_CONNECT = typer.Option(
    "--connect",
    "-c",
    metavar="URL",
    envvar="STREAMCELL_CONNECT",
    help="Where the parent listens: grpc://host:port. Repeatable: if one does not answer, the next is dialled.",
)
Connect: TypeAlias = Annotated[list[str], _CONNECT]
Parent: TypeAlias = Annotated[list[str] | None, _CONNECT]
Wait: TypeAlias = Annotated[
    float,
    typer.Option(
        "--wait", min=0.1, max=LONGEST_TIMEOUT_S, metavar="SECONDS", help="How long a cell may be out of reach."
    ),
]
Verbose: TypeAlias = Annotated[
    int, typer.Option("--verbose", "-v", count=True, help="Log what happens to standard error; twice: everything.")
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
OwnName: TypeAlias = Annotated[
    str | None, typer.Option("--as", metavar="NAME", help="This cell's name; made from host and user if not given.")
]

Ca: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--ca",
        metavar="FILE",
        envvar="STREAMCELL_CA",
        parser=as_path,
        help="The authorities that are believed, for grpcs://.",
    ),
]
Cert: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--cert", metavar="FILE", envvar="STREAMCELL_CERT", parser=as_path, help="This cell's certificate, with --key."
    ),
]
Key: TypeAlias = Annotated[
    Path | None, typer.Option("--key", metavar="FILE", envvar="STREAMCELL_KEY", parser=as_path, help="Its key.")
]

TokenFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        envvar="STREAMCELL_TOKEN_FILE",
        parser=as_path,
        help="The token that is shown to the parent.",
    ),
]

DEFAULT_WAIT_S = 30.0


def tls_of(ca: Path | None, cert: Path | None, key: Path | None) -> TLSConfig | None:
    """Return what the options say about certificates, None if they say nothing.

    :raises UsageError: if one of a pair is missing.
    """
    if ca is None and cert is None and key is None:
        return None
    return TLSConfig(ca=ca, cert=cert, key=key)
