"""What a standalone cell is made with: from a file and from options, to one checked value.

Every error is a UsageError with one sentence that names the place and says what to write there.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from streamcell.config import EARLIER_NAMES, CellConfig
from streamcell.daemon.addresses import check_dialled, check_listened
from streamcell.daemon.inbox import InboxSettings
from streamcell.errors import UsageError
from streamcell.fqcn import check_fqcn
from streamcell.security.settings import TLSConfig

# Less than the 30 s that orchestrators give a process between SIGTERM and SIGKILL.
DEFAULT_GRACE_S = 25.0
# Where the library leaves the interpreter alone: here nothing else runs in the process.
DEFAULT_SWITCH_INTERVAL_S = 0.0005
DEFAULT_CONFIG = CellConfig(switch_interval_s=DEFAULT_SWITCH_INTERVAL_S)
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_MOST_GRACE_S = 3600.0

_HOST_AND_PORT = re.compile(
    r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9._-]+)):(?P<port>[0-9]{1,5})", re.ASCII
)


@dataclasses.dataclass(frozen=True, slots=True)
class HostPort:
    """Where a server listens. Port 0: any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """A standalone cell.

    Attributes:
        fqcn: its name.
        listen: where others can reach it.
        connect: where its parent listens.
        insecure: listen without encryption on other addresses than loopback.
        tls: certificates, for addresses with TLS.
        token_file: holds the token that is shown to the parent; None: there is none.
        accept_tokens: the file that says whose tokens are whose; None: no tokens are asked for.
        policy: the file of the policy; None: whatever names allow.
        grace_s: how long transfers may take to end after SIGTERM.
        inbox: where files arrive; None: no inbox.
        metrics: where Prometheus may read; None: nowhere.
        reflection: let generic gRPC tools list the services.
        require_uplink: end when the parent has not accepted this cell for some time.
        answers: answer ``ping`` and ``bench``.
        log_level: of what is logged.
        config: limits and timeouts of the cell.
    """

    fqcn: str
    listen: tuple[str, ...] = ()
    connect: tuple[str, ...] = ()
    insecure: bool = False
    tls: TLSConfig | None = None
    token_file: Path | None = None
    accept_tokens: Path | None = None
    policy: Path | None = None
    grace_s: float = DEFAULT_GRACE_S
    inbox: InboxSettings | None = None
    metrics: HostPort | None = None
    reflection: bool = False
    require_uplink: bool = False
    answers: bool = True
    log_level: str = "INFO"
    config: CellConfig = DEFAULT_CONFIG

    def __post_init__(self) -> None:
        check_fqcn(self.fqcn)
        has_certificate = self.tls is not None and self.tls.cert is not None
        can_seal = has_certificate and self.tls is not None and self.tls.ca is not None
        check_listened(self.listen, insecure=self.insecure, has_certificate=has_certificate)
        check_dialled(self.connect)
        if not self.listen and not self.connect:
            raise UsageError(
                f"cell {self.fqcn} neither listens nor dials: give it 'listen' (where others reach it), 'connect' "
                "(where its parent listens), or both"
            )
        if self.inbox is not None and self.inbox.require_sealed and not can_seal:
            raise UsageError(
                f"cell {self.fqcn} is to take only files that are sealed, and cannot open them: give it certificates, "
                "with --ca, --cert and --key or in [tls]"
            )
        if self.require_uplink and not self.connect:
            raise UsageError(f"cell {self.fqcn} requires a parent and has none: give it 'connect' (where that listens)")
        if not 0 <= self.grace_s <= _MOST_GRACE_S:
            raise UsageError(f"grace_s must be between 0 and {_MOST_GRACE_S:g} seconds, not {self.grace_s!r}")
        if self.log_level not in LOG_LEVELS:
            raise UsageError(f"the log level must be one of {', '.join(LOG_LEVELS)}, not {self.log_level!r}")

    def with_changes(self, settings: ServeSettings) -> ServeSettings:
        """Return these settings with what may change while a cell runs as in ``settings``."""
        inbox = self.inbox
        if inbox is not None and settings.inbox is not None:
            inbox = dataclasses.replace(settings.inbox, folder=inbox.folder)
        return dataclasses.replace(self, grace_s=settings.grace_s, log_level=settings.log_level, inbox=inbox)

    def differences(self, settings: ServeSettings) -> tuple[str, ...]:
        """Return the names of the settings that differ from those of ``settings``."""
        names = (field.name for field in dataclasses.fields(self))
        return tuple(name for name in names if getattr(self, name) != getattr(settings, name))


def load_settings(path: Path | None, options: Mapping[str, Any]) -> ServeSettings:
    """Return the settings of a file, where there is one, with the options of the command line over them.

    Args:
        path: a TOML file, as docs/operations.md describes it.
        options: fields of :class:`ServeSettings`, and ``inbox_folder``, ``replace`` and ``require_sealed``; None: not
            given.

    Raises:
        UsageError: something in them is wrong.
    """
    fields, inbox = ({}, None) if path is None else _read_file(path)
    given = {key: value for key, value in options.items() if value is not None}
    of_tls = {name: given.pop(f"tls_{name}", None) for name in ("ca", "cert", "key")}
    fields["tls"] = _tls(fields.pop("tls", {}), {name: path for name, path in of_tls.items() if path is not None})
    of_inbox = {"folder": given.pop("inbox_folder", None)}
    of_inbox |= {name: given.pop(name, None) for name in ("replace", "require_sealed")}
    fields.update(given)
    fields["inbox"] = _inbox(path, inbox, {key: value for key, value in of_inbox.items() if value})
    if "fqcn" not in fields:
        raise UsageError('the cell has no name: give it one with --fqcn NAME, or with fqcn = "NAME" in the file')
    return ServeSettings(**fields)


def _tls(section: dict[str, Any], given: dict[str, Any]) -> TLSConfig | None:
    """Return what a file's section says about certificates, and what was given over it; None: nothing."""
    values = {**section, **given}
    return TLSConfig(**values) if values else None


def _inbox(path: Path | None, section: dict[str, Any] | None, given: dict[str, Any]) -> InboxSettings | None:
    """Return the settings of an inbox out of a file's section, None if it has none, and what was given over it."""
    if section is None and not given:
        return None
    values = {**(section or {}), **given}
    if "folder" in values:
        return InboxSettings(**values)
    if section is None:
        raise UsageError(
            "--replace and --require-sealed are about files in the inbox: name its folder with --inbox DIR"
        )
    raise UsageError(f'{path}: [inbox] has no folder: write folder = "DIR" there, or give --inbox DIR')


def parse_host_port(text: str, what: str) -> HostPort:
    """Return where a server shall listen.

    Raises:
        UsageError: it is not HOST:PORT.
    """
    found = _HOST_AND_PORT.fullmatch(text)
    if found is None or int(found["port"]) > 65535:
        raise UsageError(f"{what} must be HOST:PORT, for example 127.0.0.1:9464, not {text!r:.100}")
    return HostPort(found["ipv6"] or found["host"], int(found["port"]))


# --- the file -------------------------------------------------------------------------------------


def _read_file(path: Path) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return the fields of the cell and those of its inbox, None if nothing is said of one."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"the configuration {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"the configuration {path} is not TOML: {error}") from error
    try:
        return _read_table(table)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def _read_table(table: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    _check_keys(table, {*_TOP, *_SECTIONS}, "")
    fields = {key: read(table[key], key) for key, read in _TOP.items() if key in table}
    sections = {name: _section(table, name) for name in _SECTIONS}
    inbox = _read_section(sections["inbox"], "inbox", _INBOX) if "inbox" in table else None
    metrics = _read_section(sections["metrics"], "metrics", {"listen": _text})
    if "metrics" in table:
        if not metrics:
            raise UsageError('[metrics] has no address: write listen = "HOST:PORT" there')
        fields["metrics"] = parse_host_port(metrics["listen"], "[metrics] listen")
    if "tls" in table:
        fields["tls"] = _read_section(sections["tls"], "tls", _TLS)
    if "policy" in table:
        policy = _read_section(sections["policy"], "policy", {"file": _path})
        if not policy:
            raise UsageError('[policy] has no file: write file = "policy.toml" there')
        fields["policy"] = policy["file"]
    tokens = _read_section(sections["tokens"], "tokens", {"show": _path, "accept": _path})
    fields |= {_OF_TOKENS[key]: path for key, path in tokens.items()}
    if sections["cell"]:
        fields["config"] = config = _read_cell(sections["cell"])
        if "stop_grace_s" in sections["cell"]:
            # The same for any cell; what is said of this one counts before.
            fields.setdefault("grace_s", config.stop_grace_s)
    return fields, inbox


def _read_cell(section: dict[str, Any]) -> CellConfig:
    names = {field.name for field in dataclasses.fields(CellConfig)} | EARLIER_NAMES.keys()
    _check_keys(section, names, "[cell] ")
    try:
        return CellConfig(**{"switch_interval_s": DEFAULT_SWITCH_INTERVAL_S, **section})
    except UsageError as error:
        raise UsageError(f"[cell] {error.sentence.replace('CellConfig.', '')}") from error


def _section(table: dict[str, Any], name: str) -> dict[str, Any]:
    section = table.get(name, {})
    if not isinstance(section, dict):
        raise UsageError(f"{name} must be a section: write [{name}] and its values below it")
    return section


def _read_section(
    section: dict[str, Any], name: str, readers: Mapping[str, Callable[[Any, str], Any]]
) -> dict[str, Any]:
    _check_keys(section, set(readers), f"[{name}] ")
    return {key: readers[key](value, f"[{name}] {key}") for key, value in section.items()}


def _check_keys(table: Mapping[str, Any], known: set[str], where: str) -> None:
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            advice = f"did you mean {near[0]}?" if near else f"there is {', '.join(sorted(known))}"
            raise UsageError(f"{where}{key!r:.60} is not known: {advice}")


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise UsageError(f"{what} must be a string in quotes, not {value!r:.60}")
    return value


def _texts(value: Any, what: str) -> tuple[str, ...]:
    listed = value if isinstance(value, list) else [value]
    return tuple(_text(each, what) for each in listed)


def _switch(value: Any, what: str) -> bool:
    if not isinstance(value, bool):
        raise UsageError(f"{what} must be true or false, not {value!r:.60}")
    return value


def _number(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise UsageError(f"{what} must be a number that is not negative, not {value!r:.60}")
    return value


def _whole(value: Any, what: str) -> int:
    if not isinstance(_number(value, what), int):
        raise UsageError(f"{what} must be a whole number, not {value!r:.60}")
    return int(value)


def _path(value: Any, what: str) -> Path:
    return Path(_text(value, what)).expanduser()


_TOP: dict[str, Callable[[Any, str], Any]] = {
    "fqcn": _text,
    "listen": _texts,
    "connect": _texts,
    "insecure": _switch,
    "grace_s": _number,
    "reflection": _switch,
    "require_uplink": _switch,
    "answers": _switch,
    "log_level": _text,
}
_SECTIONS = ("inbox", "metrics", "tls", "tokens", "policy", "cell")
_OF_TOKENS = {"show": "token_file", "accept": "accept_tokens"}
_TLS: dict[str, Callable[[Any, str], Any]] = {
    "ca": _path,
    "cert": _path,
    "key": _path,
    "require_client_cert": _switch,
    "server_name": _text,
    "identity": _text,
    "check_interval_s": _number,
}
_INBOX: dict[str, Callable[[Any, str], Any]] = {
    "folder": _path,
    "replace": _switch,
    "min_free_bytes": _whole,
    "keep_days": _number,
    "quota_bytes": _whole,
    "quota_files": _whole,
    "require_sealed": _switch,
}
