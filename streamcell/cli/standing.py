"""``serve`` and ``recv``: cells that stay."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamcell.cli.options import (
    DEFAULT_WAIT_S,
    AsJson,
    Ca,
    Cert,
    Key,
    Parent,
    TokenFile,
    Verbose,
    Wait,
    as_path,
    tls_of,
)
from streamcell.cli.outcome import ExitCode, complain
from streamcell.cli.streams import check_output
from streamcell.errors import LinkError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamcell.cli.views import View
    from streamcell.daemon.settings import ServeSettings
    from streamcell.daemon.standalone import StandaloneCell

_logger = logging.getLogger("streamcell.daemon")

_STANDARD_OUTPUT = Path("-")
# Who has pressed Ctrl-C does not wait long.
_RECV_GRACE_S = 5.0
_REFRESH_S = 0.1

Listen = Annotated[
    list[str] | None,
    typer.Option("--listen", "-l", metavar="URL", help="Where others reach this cell: grpc://host:port. Repeatable."),
]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Listen without encryption where other machines can reach it.")
]
Replace = Annotated[
    bool, typer.Option("--replace", help="Replace a file that exists instead of numbering the new one.")
]
RequireSealed = Annotated[
    bool, typer.Option("--require-sealed", help="Refuse files that their senders have not sealed (send --secure).")
]


def serve(
    fqcn: Annotated[str | None, typer.Option("--fqcn", metavar="NAME", help="This cell's name.")] = None,
    listen: Listen = None,
    connect: Parent = None,
    insecure: Insecure = False,
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
    token_file: TokenFile = None,
    accept_tokens: Annotated[
        Path | None,
        typer.Option(
            "--accept-tokens", metavar="FILE", parser=as_path, help="Whose tokens are whose: lines of FQCN sha256:HEX."
        ),
    ] = None,
    policy: Annotated[
        Path | None,
        typer.Option(
            "--policy", metavar="FILE.toml", parser=as_path, help="Who may send what to whom, here and through."
        ),
    ] = None,
    inbox: Annotated[
        Path | None, typer.Option("--inbox", metavar="DIR", parser=as_path, help="Where files arrive.")
    ] = None,
    replace: Replace = False,
    require_sealed: RequireSealed = False,
    metrics: Annotated[
        str | None, typer.Option("--metrics", metavar="HOST:PORT", help="Serve metrics for Prometheus there.")
    ] = None,
    require_uplink: Annotated[
        bool,
        typer.Option("--require-uplink", help="End with 3 when the parent has not accepted this cell for 10 s."),
    ] = False,
    reflection: Annotated[bool, typer.Option("--reflection", help="Let generic gRPC tools list the services.")] = False,
    grace: Annotated[
        float | None, typer.Option("--grace", metavar="SECONDS", help="For transfers to end after SIGTERM (25).")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE.toml", parser=as_path, help="More settings; options win over it."),
    ] = None,
    verbose: Verbose = 0,
) -> int:
    """Run a standing cell: hub, relay or file drop.

    On SIGTERM or Ctrl-C it takes nothing new, lets what is under way end within its grace, and ends with 0. A second
    signal ends it at once. SIGHUP does the same as the first where it was started from a terminal; elsewhere it has the
    configuration file, the certificates, the tokens and the policy, if there are any, read again.
    """
    from streamcell.cli.cells import LOG_FORMAT
    from streamcell.daemon.settings import load_settings, parse_host_port

    options = {
        "fqcn": fqcn,
        "listen": tuple(listen) if listen else None,
        "connect": tuple(connect) if connect else None,
        "insecure": insecure or None,
        "tls_ca": ca,
        "tls_cert": cert,
        "tls_key": key,
        "token_file": token_file,
        "accept_tokens": accept_tokens,
        "policy": policy,
        "inbox_folder": inbox,
        "replace": replace or None,
        "require_sealed": require_sealed or None,
        "metrics": None if metrics is None else parse_host_port(metrics, "--metrics"),
        "reflection": reflection or None,
        "require_uplink": require_uplink or None,
        "grace_s": grace,
        "log_level": "DEBUG" if verbose else None,
    }
    settings = load_settings(config, options)
    logging.basicConfig(level=settings.log_level, format=LOG_FORMAT)
    return _serve(settings, None if config is None else lambda: load_settings(config, options))


def recv(
    own_name: Annotated[str, typer.Option("--as", metavar="NAME", help="This cell's name: what senders send to.")],
    into: Annotated[
        Path, typer.Option("--into", metavar="DIR", parser=as_path, help="Where files arrive; - is standard output.")
    ],
    connect: Parent = None,
    listen: Listen = None,
    insecure: Insecure = False,
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
    token_file: TokenFile = None,
    replace: Replace = False,
    require_sealed: RequireSealed = False,
    count: Annotated[int, typer.Option("--count", min=0, metavar="N", help="End after N files; 0: never.")] = 0,
    wait: Wait = DEFAULT_WAIT_S,
    as_json: AsJson = False,
    verbose: Verbose = 0,
) -> int:
    """Receive files into a folder, or one to standard output, until Ctrl-C or SIGTERM."""
    from streamcell.cli.cells import log_to_stderr
    from streamcell.daemon.inbox import InboxSettings
    from streamcell.daemon.settings import ServeSettings

    log_to_stderr(verbose)
    if not (connect or listen):
        raise UsageError("name a way to the others: --connect URL of the parent, or --listen URL for them to dial")
    to_output = into == _STANDARD_OUTPUT
    if to_output:
        if replace or require_sealed or count or as_json:
            raise UsageError(
                "--count, --replace, --require-sealed and --json are for a folder: standard output takes one file"
            )
        check_output()
    settings = ServeSettings(
        fqcn=own_name,
        listen=tuple(listen or ()),
        connect=tuple(connect or ()),
        insecure=insecure,
        tls=tls_of(ca, cert, key),
        token_file=token_file,
        inbox=None if to_output else InboxSettings(folder=into, replace=replace, require_sealed=require_sealed),
        grace_s=_RECV_GRACE_S,
    )
    if to_output:
        return _receive_to_output(settings, wait)
    return _receive_files(settings, count, wait, as_json=as_json)


def _serve(settings: ServeSettings, read_again: Callable[[], ServeSettings] | None) -> int:
    from streamcell.daemon.inbox import LogWatcher
    from streamcell.daemon.signals import EndSignals
    from streamcell.daemon.standalone import StandaloneCell

    standalone = StandaloneCell(settings, LogWatcher())
    with EndSignals(lambda: _reload(standalone, read_again)) as signals, standalone:
        standalone.start()
        for url in standalone.cell.listen_urls:
            print(f"{settings.fqcn} listens at {url}", flush=True)
        if settings.connect:
            print(f"{settings.fqcn} dials {', '.join(settings.connect)}", flush=True)
        if standalone.metrics_address is not None:
            print(f"metrics at http://{standalone.metrics_address}/metrics", flush=True)
        code = ExitCode.DONE
        try:
            standalone.run(signals.end)
        except LinkError as error:
            complain(error.sentence)
            code = ExitCode.UNREACHABLE
        print(f"{settings.fqcn} is draining", flush=True)
        standalone.drain(signals.hurry)
    print(f"{settings.fqcn} has ended", flush=True)
    return code


def _reload(standalone: StandaloneCell, read_again: Callable[[], ServeSettings] | None) -> None:
    if standalone.reload_security() and read_again is None:
        return
    if read_again is None:
        _logger.warning("SIGHUP: there is no configuration file to read again; --config names one")
        return
    try:
        rest = standalone.reload(read_again())
    except UsageError as error:
        _logger.warning("the configuration stays as it was: %s", error.sentence)
        return
    if rest:
        _logger.warning("the configuration was read again; a restart is needed for %s", ", ".join(rest))
    else:
        _logger.info("the configuration was read again")


def _receive_files(settings: ServeSettings, count: int, wait_s: float, *, as_json: bool) -> int:
    from streamcell.cli.reach import ParentWatch, first_link
    from streamcell.cli.receiving import ViewWatcher
    from streamcell.cli.views import make_view
    from streamcell.daemon.signals import EndSignals
    from streamcell.daemon.standalone import StandaloneCell

    signals = EndSignals()
    with make_view(as_json=as_json) as view:
        watcher = ViewWatcher(view, count, signals.end)
        # Until there is a link, a signal ends the program as it does any other.
        with StandaloneCell(settings, watcher) as standalone:
            standalone.start()
            with first_link(settings.connect, view.note):
                standalone.wait_connected(wait_s)
            with signals:
                _say_where(standalone, view)
                watch = ParentWatch(standalone.cell, view.note, dials=bool(settings.connect))
                while not signals.end.wait(_REFRESH_S):
                    view.refresh()
                    watch.look()
                standalone.drain(signals.hurry)
    return ExitCode.DONE


def _receive_to_output(settings: ServeSettings, wait_s: float) -> int:
    from streamcell.cli.reach import ParentWatch, first_link
    from streamcell.cli.receiving import OutputReceiver
    from streamcell.cli.views import PlainView
    from streamcell.daemon.inbox import LogWatcher
    from streamcell.daemon.signals import EndSignals
    from streamcell.daemon.standalone import StandaloneCell

    signals = EndSignals()
    receiver = OutputReceiver(signals.end)
    with StandaloneCell(settings, LogWatcher()) as standalone:
        receiver.register(standalone.cell)
        standalone.start()
        view = PlainView()
        with first_link(settings.connect, view.note):
            standalone.wait_connected(wait_s)
        with signals:
            _say_where(standalone, view)
            watch = ParentWatch(standalone.cell, view.note, dials=bool(settings.connect))
            while not signals.end.wait(_REFRESH_S):
                watch.look()
            standalone.drain(signals.hurry)
    if receiver.error:
        complain(receiver.error)
    return ExitCode.DONE if receiver.complete else ExitCode.FAILED


def _say_where(standalone: StandaloneCell, view: View) -> None:
    """Say what senders have to know. To standard error: standard output may be the file."""
    cell = standalone.cell
    where = " and ".join(f"listens at {url}" for url in cell.listen_urls) or "is linked"
    view.note(f"{cell.fqcn} {where}; waiting for files")
