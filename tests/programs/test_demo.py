"""The demo shows what it promises, and says so when it does not."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts import demo
from tests.kit.programs import LIMIT_S, ROOT, Program, run, unhappy

DEMO = ROOT / "scripts/demo.py"
SMALL = ("--tar-megabytes", "5", "--array-mebibytes", "8")


@pytest.fixture(autouse=True)
def temporary_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def test_demo_says_in_five_lines_what_happened(temporary_files: Path) -> None:
    lines = run(DEMO, *SMALL)
    # Log lines name their cell, progress is indented.
    packed, linked, stream, blob, verdict = (
        line for line in lines if "[cell=" not in line and not line.startswith("  ")
    )
    assert packed.startswith("packed: ")
    assert "grpc://127.0.0.1:" in linked
    assert "the same there" in stream
    assert "blob: 8,388,608 bytes" in blob
    assert verdict.startswith("all of it arrived")
    assert any(line.startswith("  blob: ") for line in lines), "progress is shown"
    assert unhappy(lines) == []
    assert list(temporary_files.iterdir()) == []


def test_demo_fails_if_the_receiving_process_does() -> None:
    receiver = demo.ReceivingProcess()
    try:
        assert receiver.hear(LIMIT_S)["url"]
        receiver.signal(signal.SIGKILL)
        with pytest.raises(demo.DemoFailed, match="has ended, with status -9"):
            receiver.hear(LIMIT_S)
    finally:
        receiver.end()


def test_receiving_process_ends_with_its_parent() -> None:
    # The demo is killed: its child must notice by itself. The child holds the output, which closes when both are gone.
    with Program(DEMO, "--tar-megabytes", "5", "--array-mebibytes", "512") as program:
        program.wait_for("stream: ")
        program.process.kill()
        program.wait()


def test_difference_is_a_failure() -> None:
    told = {"kind": "stream", "size": 3, "sha256": "aa"}
    demo.check(told, "stream", 3, "aa")
    for kind, size, sha256 in (("blob", 3, "aa"), ("stream", 4, "aa"), ("stream", 3, "ab")):
        with pytest.raises(demo.DemoFailed, match="what arrived is not what was sent"):
            demo.check(told, kind, size, sha256)


def test_failure_is_said_and_seen_in_the_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(tar_bytes: int, array_bytes: int) -> Iterator[str]:
        yield "a line"
        raise demo.DemoFailed("for a test")

    monkeypatch.setattr(demo, "demonstrate", fail)
    monkeypatch.setattr("sys.argv", ["demo.py"])
    assert demo.main() == 1
    assert capsys.readouterr() == ("a line\n", "the demo failed: for a test\n")


def test_small_library_is_packed_several_times(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    source.write_bytes(bytes(10_000))
    monkeypatch.setattr(demo, "library_files", lambda: iter([source]))
    with (tmp_path / "out.tar").open("wb") as target:
        packed = demo.pack(target, 100_000)
    assert packed.files > 1
    assert (tmp_path / "out.tar").stat().st_size == packed.size >= 100_000


def test_nothing_to_pack_is_a_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(demo, "library_files", lambda: iter([]))
    with (tmp_path / "out.tar").open("wb") as target, pytest.raises(demo.DemoFailed, match="no library"):
        demo.pack(target, 1)
