"""Settings of a standing cell: from a file, from options, and what is said of wrong ones."""

from pathlib import Path
from typing import Any

import pytest

from streamcell import CellConfig, UsageError
from streamcell.daemon.inbox import InboxSettings
from streamcell.daemon.settings import HostPort, ServeSettings, load_settings, parse_host_port

WHOLE = """
fqcn = "hub"
listen = ["grpc://127.0.0.1:8004", "unix:///tmp/hub.sock"]
connect = "grpc://parent:8004"
insecure = true
grace_s = 10
reflection = true
answers = false
log_level = "WARNING"

[inbox]
folder = "/var/lib/inbox"
replace = true
min_free_bytes = 1_000_000
keep_days = 0.5

[metrics]
listen = "[::1]:9464"

[policy]
file = "/etc/streamcell/policy.toml"

[cell]
chunk_bytes = 65536
idle_timeout_s = 60
"""


def load(tmp_path: Path, text: str, **options: Any) -> ServeSettings:
    path = tmp_path / "hub.toml"
    path.write_text(text, encoding="utf-8")
    return load_settings(path, options)


def test_everything_can_be_written_in_a_file(tmp_path: Path) -> None:
    assert load(tmp_path, WHOLE) == ServeSettings(
        fqcn="hub",
        listen=("grpc://127.0.0.1:8004", "unix:///tmp/hub.sock"),
        connect=("grpc://parent:8004",),
        insecure=True,
        grace_s=10,
        reflection=True,
        answers=False,
        log_level="WARNING",
        inbox=InboxSettings(folder=Path("/var/lib/inbox"), replace=True, min_free_bytes=1_000_000, keep_days=0.5),
        metrics=HostPort("::1", 9464),
        policy=Path("/etc/streamcell/policy.toml"),
        config=CellConfig(chunk_bytes=65536, idle_timeout_s=60, switch_interval_s=0.0005),
    )


def test_options_win_over_the_file(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        WHOLE,
        fqcn="other",
        listen=("grpc://127.0.0.1:1",),
        grace_s=1.0,
        inbox_folder=Path("in"),
        replace=None,
    )
    assert (settings.fqcn, settings.listen, settings.grace_s) == ("other", ("grpc://127.0.0.1:1",), 1.0)
    assert settings.inbox == InboxSettings(folder=Path("in"), replace=True, min_free_bytes=1_000_000, keep_days=0.5)
    assert settings.connect == ("grpc://parent:8004",)


def test_a_folder_on_the_command_line_completes_the_section(tmp_path: Path) -> None:
    path = tmp_path / "hub.toml"
    path.write_text(NAMED + "[inbox]\nmin_free_bytes = 5")
    settings = load_settings(path, {"inbox_folder": tmp_path})
    assert settings.inbox == InboxSettings(folder=tmp_path, min_free_bytes=5)


def test_options_do_without_a_file() -> None:
    settings = load_settings(None, {"fqcn": "hub", "listen": ("grpc://127.0.0.1:0",)})
    assert settings == ServeSettings(fqcn="hub", listen=("grpc://127.0.0.1:0",))
    assert settings.inbox is None
    assert settings.config.switch_interval_s == 0.0005


NAMED = 'fqcn = "hub"\nlisten = "grpc://127.0.0.1:0"\n'

# What is wrong in a file, and what its user is told.
BAD = [
    ("fqcn = hub", "is not TOML: Invalid value (at line 1, column 8)"),
    ('listen = "grpc://127.0.0.1:0"', "the cell has no name: give it one with --fqcn NAME"),
    ('fqcn = "hub"', "neither listens nor dials: give it 'listen'"),
    ('fqcn = "a b"\nlisten = "grpc://127.0.0.1:0"', "'a b' is not a cell name"),
    ('fqcn = "hub"\nlisten = "http://127.0.0.1:0"', "listen: "),
    (NAMED + 'conect = "grpc://parent:8004"', "hub.toml: 'conect' is not known: did you mean connect?"),
    (NAMED + 'insecure = "yes"', "hub.toml: insecure must be true or false, not 'yes'"),
    (NAMED + "grace_s = -1", "hub.toml: grace_s must be a number that is not negative, not -1"),
    (NAMED + "grace_s = 86400", "grace_s must be between 0 and 3600 seconds, not 86400"),
    (NAMED + 'log_level = "LOUD"', "the log level must be one of DEBUG, INFO, WARNING, ERROR, not 'LOUD'"),
    (
        NAMED + "[inbox]\nreplace = true",
        'hub.toml: [inbox] has no folder: write folder = "DIR" there, or give --inbox DIR',
    ),
    (NAMED + '[inbox]\nfolder = "x"\nmin_free_bytes = 0.5', "[inbox] min_free_bytes must be a whole number, not 0.5"),
    (NAMED + "[inbox]\nfolder = 7", "[inbox] folder must be a string in quotes, not 7"),
    (NAMED + "[metrics]\nlisten = 9464", "[metrics] listen must be a string in quotes, not 9464"),
    (NAMED + '[metrics]\nlisten = "9464"', "[metrics] listen must be HOST:PORT, for example 127.0.0.1:9464"),
    (NAMED + "[policy]\n", 'hub.toml: [policy] has no file: write file = "policy.toml" there'),
    (NAMED + "[metrics]\n", 'hub.toml: [metrics] has no address: write listen = "HOST:PORT" there'),
    (NAMED + "metrics = true", "hub.toml: metrics must be a section: write [metrics]"),
    (NAMED + "[cell]\nchunk_bytes = 1", "hub.toml: [cell] chunk_bytes must be between 1024 and 4194304, not 1"),
    (NAMED + "[cell]\nchunk_byte = 65536", "hub.toml: [cell] 'chunk_byte' is not known: did you mean chunk_bytes?"),
    (NAMED + "listening = 1\n", "'listening' is not known: did you mean listen?"),
]


@pytest.mark.parametrize(("text", "sentence"), BAD)
def test_wrong_file_is_told_in_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(tmp_path, text)
    assert sentence in caught.value.sentence
    assert "\n" not in caught.value.sentence


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.toml cannot be read: No such file"):
        load_settings(tmp_path / "none.toml", {})
    (tmp_path / "latin.toml").write_bytes(b'fqcn = "caf\xe9"')
    with pytest.raises(UsageError, match=r"latin\.toml is not TOML"):
        load_settings(tmp_path / "latin.toml", {})


def test_replace_needs_an_inbox() -> None:
    with pytest.raises(UsageError, match="--inbox DIR"):
        load_settings(None, {"fqcn": "hub", "listen": ("grpc://127.0.0.1:0",), "replace": True})


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:0", HostPort("127.0.0.1", 0)), ("host.example:65535", HostPort("host.example", 65535))],
)
def test_host_and_port(text: str, address: HostPort) -> None:
    assert parse_host_port(text, "--metrics") == address
    assert str(address) == text
    assert str(HostPort("::1", 80)) == "[::1]:80"


@pytest.mark.parametrize("text", ["", "host", ":80", "host:", "host:65536", "::1:80", "ho st:80", "host:80/metrics"])
def test_wrong_host_and_port(text: str) -> None:
    with pytest.raises(UsageError, match="--metrics must be HOST:PORT"):
        parse_host_port(text, "--metrics")
