"""The public surface does not change unseen."""

from __future__ import annotations

from scripts.surface import FILE, lines


def test_the_public_surface_is_the_one_that_is_written_down() -> None:
    # After a change that is meant: python -m scripts.surface
    assert list(lines()) == FILE.read_text(encoding="utf-8").split("\n")


def test_what_only_the_package_uses_is_not_public() -> None:
    surface = FILE.read_text(encoding="utf-8").split()
    internal = {"runner", "in_thread", "begin_resume", "handle", "coat", "submit"}
    assert internal.isdisjoint(name.partition("(")[0].rstrip(":") for name in surface)
