"""The path of a unix socket is longer than a socket's path can be: that is said at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamcell import CoreCell, UsageError
from streamcell.daemon.settings import load_settings
from tests.kit.cells import running
from tests.kit.programs import run_command
from tests.kit.waiting import PATIENCE_S

MOST_BYTES = 103


def url_of(folder: Path, size: int, fill: str = "x") -> str:
    """Return a URL whose path has ``size`` bytes."""
    left = size - len(f"{folder}/".encode())
    width = len(fill.encode())
    return f"unix://{folder}/{'y' * (left % width)}{fill * (left // width)}"


@pytest.mark.parametrize("fill", ["x", "ü"], ids=["ASCII", "two bytes each"])
@pytest.mark.parametrize("use", ["listen", "connect"])
def test_case_6_8_a_path_that_is_too_long(use: str, fill: str) -> None:
    url = url_of(Path("/tmp"), MOST_BYTES + 1, fill)
    with pytest.raises(UsageError, match=f"{use}: .* has a path of 104 bytes, at most 103") as raised:
        CoreCell("site", **{use: url})  # type: ignore[arg-type]
    assert "nearer to the root" in str(raised.value)


def test_case_6_8_in_a_file_of_settings(tmp_path: Path) -> None:
    settings = tmp_path / "cell.toml"
    settings.write_text(f'fqcn = "hub"\nlisten = "unix:///tmp/{"x" * 150}"\n')
    with pytest.raises(UsageError, match="a path of 155 bytes, at most 103"):
        load_settings(settings, {})


def test_case_6_8_on_the_command_line(tmp_path: Path) -> None:
    for command in (("serve", "--fqcn", "hub", "--listen"), ("ping", "hub", "--connect")):
        ended = run_command(*command, f"unix:///tmp/{'x' * 150}", cwd=tmp_path)
        assert (ended.returncode, ended.stderr.count(b"a path of 155 bytes, at most 103")) == (2, 1)


@pytest.mark.parametrize("short_name", [True, False])
def test_case_6_8_the_longest_path_works(tmp_path: Path, short_name: bool) -> None:
    folder = tmp_path
    if short_name:
        folder /= "d" * (MOST_BYTES - len(f"{tmp_path}//c"))
        folder.mkdir()
    url = url_of(folder, MOST_BYTES)
    with running(CoreCell("hub", listen=url)), running(CoreCell("site", connect=url)) as site:
        site.wait_connected(PATIENCE_S)
        assert site.is_cell_connected("hub")
    assert list(folder.iterdir()) == []
