"""``certs``: a small certificate authority for cells, and why two of them will not connect."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamcell.cli.options import AsJson, as_path
from streamcell.cli.outcome import HELP, ExitCode
from streamcell.errors import UsageError
from streamcell.security.extra import check_extra

if TYPE_CHECKING:
    from streamcell.security.authority import Authority
    from streamcell.security.settings import TLSConfig

_FOLDER = Path("certs")
_AUTHORITY = ("ca.pem", "ca.key")
_PROBE_S = 5.0

app = typer.Typer(
    name="certs",
    help="Make, renew and look at the certificates that prove which cell is which.",
    epilog=HELP,
    rich_markup_mode=None,
)

Folder = Annotated[
    Path, typer.Option("--dir", metavar="DIR", parser=as_path, help="Where the authority is: ca.pem and ca.key.")
]
Days = Annotated[int, typer.Option("--days", min=1, max=36_500, metavar="DAYS", help="How long it holds.")]
Force = Annotated[bool, typer.Option("--force", help="Replace files that are there.")]


@app.command(epilog=HELP)
def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", parser=as_path, help="Where to keep it.")] = _FOLDER,
    name: Annotated[str, typer.Option("--name", metavar="TEXT", help="What it is called, for people.")] = "streamcell",
    days: Days = 3650,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Make an authority: ca.pem for every cell, and ca.key, which signs and stays here."""
    check_extra()
    from streamcell.security.authority import make_authority
    from streamcell.security.files import CERTIFICATE_MODE, KEY_MODE, make_folder, write_files

    made = make_authority(name, _now(), days)
    make_folder(folder)
    certificate, key = (folder / each for each in _AUTHORITY)
    write_files([(key, made.key, KEY_MODE), (certificate, made.certificate, CERTIFICATE_MODE)], force=force)
    _tell_of(certificate, made.certificate, key, as_json=as_json)


@app.command(epilog=HELP)
def issue(
    fqcn: Annotated[str, typer.Argument(metavar="NAME", help="The cell's name, such as 'site-1'.")],
    folder: Folder = _FOLDER,
    hosts: Annotated[
        list[str] | None,
        typer.Option("--host", metavar="NAME|IP", help="Under which it is dialled, if it listens. Repeatable."),
    ] = None,
    days: Days = 90,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", parser=as_path, help="Where to put it; --dir if not given.")
    ] = None,
    spiffe: Annotated[
        str | None, typer.Option("--spiffe", metavar="DOMAIN", help="Name the cell by spiffe://DOMAIN/NAME.")
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Make a key for a cell, and its certificate: NAME.key and NAME.pem."""
    check_extra()
    from streamcell.security.authority import spiffe_template
    from streamcell.security.files import CERTIFICATE_MODE, KEY_MODE, make_folder, write_files

    template = None if spiffe is None else spiffe_template(spiffe)
    made = _authority(folder).issue(fqcn, _now(), hosts=hosts or (), days=days, template=template)
    target = folder if out is None else out
    make_folder(target)
    certificate, key = target / f"{fqcn}.pem", target / f"{fqcn}.key"
    write_files([(key, made.key, KEY_MODE), (certificate, made.certificate, CERTIFICATE_MODE)], force=force)
    _tell_of(certificate, made.certificate, key, as_json=as_json)


@app.command(epilog=HELP)
def renew(
    cert: Annotated[Path, typer.Argument(metavar="CERT", parser=as_path, help="The cell's certificate.")],
    folder: Folder = _FOLDER,
    days: Days = 90,
    as_json: AsJson = False,
) -> None:
    """Replace a cell's certificate by one that holds longer, for the same names and the same key.

    Cells that run take it by themselves.
    """
    check_extra()
    from streamcell.security.certificates import read, read_certificates
    from streamcell.security.files import CERTIFICATE_MODE, write_files

    old = read_certificates(read(cert), str(cert))[0]
    made = _authority(folder).renew(old, _now(), days)
    write_files([(cert, made, CERTIFICATE_MODE)], force=True)
    _tell_of(cert, made, None, as_json=as_json)


@app.command(epilog=HELP)
def show(
    file: Annotated[Path, typer.Argument(metavar="FILE", parser=as_path, help="A certificate in PEM.")],
    as_json: AsJson = False,
) -> None:
    """Tell of each certificate in a file whom it is for, who has issued it, and until when it holds."""
    check_extra()
    from streamcell.security.certificates import read, read_certificates, values_of

    for certificate in read_certificates(read(file), str(file)):
        values = values_of(certificate)
        if as_json:
            print(json.dumps(values))
        else:
            width = max(map(len, values))
            for what, value in values.items():
                shown = ", ".join(value) if isinstance(value, list) else value
                print(f"{what.replace('_', ' '):{width}}  {shown}")


@app.command(epilog=HELP)
def check(
    cert: Annotated[Path, typer.Option("--cert", metavar="FILE", parser=as_path, help="This cell's certificate.")],
    key: Annotated[Path, typer.Option("--key", metavar="FILE", parser=as_path, help="Its key.")],
    ca: Annotated[Path, typer.Option("--ca", metavar="FILE", parser=as_path, help="The authorities it believes.")],
    url: Annotated[
        str | None, typer.Option("--url", metavar="URL", help="Where the other cell listens: grpcs://host:port.")
    ] = None,
    identity: Annotated[
        str | None, typer.Option("--identity", metavar="TEMPLATE", help="The URI that stands for a cell's name.")
    ] = None,
    as_json: AsJson = False,
) -> ExitCode:
    """Say why two cells will not connect, a line for each reason; exit 1 if there is one."""
    check_extra()
    from streamcell.security.settings import TLSConfig
    from streamcell.security.templates import DEFAULT_TEMPLATE
    from streamcell.security.trials import try_files

    faults = try_files(cert, key, ca, identity or DEFAULT_TEMPLATE, _now())
    if url is not None:
        faults += _try_url(url, TLSConfig(ca=ca, cert=cert, key=key))
    for fault in faults:
        print(json.dumps({"fault": fault}) if as_json else fault)
    if not faults and not as_json:
        print("nothing is wrong")
    return ExitCode.FAILED if faults else ExitCode.DONE


def _try_url(url: str, config: TLSConfig) -> list[str]:
    from streamcell.security.templates import host_of_cell
    from streamcell.security.trials import try_listener
    from streamcell.transport.address import Scheme, check_can_be_dialled, parse_address

    address = parse_address(url)
    check_can_be_dialled(address)
    if address.scheme is not Scheme.GRPCS:
        raise UsageError(f"{url} has no TLS that could be checked: use grpcs://host:port")
    name = host_of_cell(address.cell) if address.cell else address.host
    return try_listener(url, address.host, address.port, name, config, _PROBE_S)


def _authority(folder: Path) -> Authority:
    from streamcell.security.authority import Authority
    from streamcell.security.certificates import read

    certificate, key = (folder / each for each in _AUTHORITY)
    if not certificate.exists():
        raise UsageError(f"there is no authority in {folder}: make one with 'streamcell certs init {folder}'")
    return Authority(read(certificate), read(key), where=str(certificate), key_where=str(key))


def _tell_of(path: Path, pem: bytes, key: Path | None, *, as_json: bool) -> None:
    from streamcell.security.certificates import read_certificates, values_of

    values = values_of(read_certificates(pem, str(path))[0])
    if as_json:
        print(json.dumps({"certificate": str(path), "key": None if key is None else str(key), **values}))
        return
    print(f"{path}: {values['names'] or values['subject']}, until {values['valid_until']}")
    if key is not None:
        print(f"{key}: its key, to be kept secret")


def _now() -> datetime:
    return datetime.now(UTC)
