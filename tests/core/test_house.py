"""The instruments of the house, on small packages of which the figures are known."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from scripts.house.arrows import find_arrows
from scripts.house.states import find_tables
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


# --- states --------------------------------------------------------------------------------------

MACHINE = """
    import enum
    from collections.abc import Mapping
    from typing import TypeVar

    S = TypeVar("S", bound=enum.Enum)
    I = TypeVar("I", bound=enum.Enum)
    A = TypeVar("A", bound=enum.Enum)

    class State(enum.Enum):
        ON = enum.auto()
        OFF = enum.auto()

    class Input(enum.Enum):
        PRESS = enum.auto()

    class Action(enum.Enum):
        IGNORE = enum.auto()
        LIGHT = enum.auto()
        DARKEN = enum.auto()
        BUZZ = enum.auto()
        MATCHED = enum.auto()

    TABLE: Mapping[tuple[State, Input], tuple[Action, State]] = {
        (State.OFF, Input.PRESS): (Action.LIGHT, State.ON),
        (State.ON, Input.PRESS): (Action.DARKEN, State.OFF),
    }

    def step(table: Mapping[tuple[S, I], tuple[A, S]], state: S, event: I) -> tuple[A, S]:
        return table[state, event]
"""

LAMP = """
    from house.machine import TABLE, Action, Input, State, step

    class Lamp:
        def __init__(self) -> None:
            self.state = State.OFF

        def step(self, event: Input) -> Action:
            action, self.state = step(TABLE, self.state, event)
            return action

        def press(self) -> None:
            action, self.state = TABLE[self.state, Input.PRESS]
            {Action.LIGHT: print, Action.IGNORE: print}[action]()

        def hit(self) -> None:
            _, self.state = step(TABLE, self.state, Input.PRESS)
            self.state = TABLE[self.state, Input.PRESS][1]

    def use(lamp: Lamp) -> str:
        lamp.step(Input.PRESS)
        if lamp.step(Input.PRESS) is Action.DARKEN:
            return ""
        match lamp.step(Input.PRESS):
            case Action.MATCHED:
                return "matched"
        action = lamp.step(Input.PRESS)
        return action.name
"""


def test_actions_that_nobody_looks_at_and_steps_that_drop_them_are_found(tmp_path: Path) -> None:
    write_package(tmp_path, {"house/__init__.py": "", "house/machine.py": MACHINE, "house/lamp.py": LAMP})
    tables = find_tables(tmp_path, "house")
    assert list(tables) == ["house.machine.Action"]
    table = tables["house.machine.Action"]
    assert table.names == ["LIGHT", "DARKEN", "BUZZ", "MATCHED"]
    assert table.looked_at == {"LIGHT", "DARKEN", "MATCHED"}
    lines = [int(where.rpartition(":")[2]) for where in table.steps]
    assert lines == [13, 17, 18, 21, 22, 24, 27]
    assert [int(where.rpartition(":")[2]) for where in table.dropped] == [17, 18, 21]


# --- arrows --------------------------------------------------------------------------------------


def test_arrows_lead_between_rooms(tmp_path: Path) -> None:
    write_package(
        tmp_path,
        {
            "house/__init__.py": "",
            "house/top.py": "from house.wing import one, two\nimport house.leaf",
            "house/wing/__init__.py": "",
            "house/wing/one.py": "from house.wing.two import thing\nfrom house.leaf import leaf",
            "house/wing/two.py": "def later():\n    from house import leaf",
            "house/leaf.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from house.back import Back",
            "house/back.py": "import house.top",
        },
    )
    found = find_arrows(tmp_path, "house")
    assert found.rooms == ["back", "leaf", "top", "wing"]
    assert list(found.lines()) == [
        "back -> top (1)",
        "leaf -> back (1)",
        "top -> leaf (1), wing (2)",
        "wing -> leaf (2)",
    ]
    assert found.inside == 1
    assert found.back() == [
        ("back", "top"),
        ("leaf", "back"),
        ("top", "leaf"),
        ("top", "wing"),
        ("wing", "leaf"),
    ]
