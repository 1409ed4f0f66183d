"""The instruments of the house, on small packages of which the figures are known."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from scripts.house.writes import Writes, find_writes


def write_package(root: Path, files: dict[str, str]) -> None:
    for name, source in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source), encoding="utf-8")


# --- writes --------------------------------------------------------------------------------------

THINGS = """
    from typing import Protocol, TypeVar

    class Timed(Protocol):
        at: float

    T = TypeVar("T", bound=Timed)

    class Box:
        def __init__(self) -> None:
            self.at = 0.0
            self.label = ""
            self.items: list[int] = []

        @property
        def size(self) -> int:
            return len(self.items)

        @size.setter
        def size(self, size: int) -> None:
            del self.items[size:]

        def set_label(self, label: str) -> None:
            '''In disguise.'''
            self.label = label

        def name_it(self, label: str) -> None:
            if label:
                self.label = label

        def reset(self) -> None:
            self.at = 0.0

    def own(box: Box, timed: Timed) -> None:
        box.at = 1.0
        box.set_label("")
        timed.at = 1.0
"""

USER = """
    from typing import Any

    from house.things import Box, T, Timed

    class Holder(Box):
        def __init__(self) -> None:
            super().__init__()
            self.at = 2.0
            self.inner = Box()

        def write(self, other: "Box | None", anything: Any, named: T) -> None:
            self.inner.at = 1.0
            self.inner.at += 1.0
            self.at, self.inner.label = 0.0, ""
            for self.inner.at in (1.0, 2.0):
                pass
            if other is not None:
                other.size = 0
                del other.label
                setattr(other, "at", 3.0)
                object.__setattr__(other, "at", 3.0)
                vars(other)
                other.__dict__["at"] = 3.0
                other.set_label("x")
                other.name_it("x")
                other.reset()
                other.items.append(1)
                other.items[0] = 1
            anything.at = 1.0
            named.at = 1.0
            self.at: float = 5.0
            setattr(self, "at", 3.0)
"""


@pytest.fixture(scope="module")
def writes(tmp_path_factory: pytest.TempPathFactory) -> Writes:
    root = tmp_path_factory.mktemp("writes")
    write_package(root, {"house/__init__.py": "", "house/things.py": THINGS, "house/user.py": USER})
    return find_writes(root, "house")


def test_every_way_to_write_from_outside_is_counted(writes: Writes) -> None:
    found = [(each.way, each.owner.removeprefix("house."), each.attribute) for each in writes.counted]
    assert found == [
        # A protocol's object is of a class somewhere else, even beside the protocol.
        ("assigned", "things.Timed", "at"),
        ("assigned", "things.Box", "at"),
        ("augmented", "things.Box", "at"),
        ("assigned", "things.Box", "label"),
        ("target of for or with", "things.Box", "at"),
        ("assigned", "things.Box", "size"),
        ("deleted", "things.Box", "label"),
        ("setattr", "things.Box", "at"),
        ("setattr", "things.Box", "at"),
        ("__dict__", "things.Box", "__dict__"),
        ("setter", "things.Box", "set_label"),
        ("assigned", "unknown", "at"),
        ("assigned", "things.Timed", "at"),
    ]
    assert writes.by_module() == {"house.things": 1, "house.user": 12}


def test_what_stands_beside_the_law_is_told(writes: Writes) -> None:
    assert [(each.attribute, each.way) for each in writes.in_containers] == [
        ("items", "append()"),
        ("items", "item assigned"),
    ]
    assert [each.attribute for each in writes.constants] == ["reset"]
