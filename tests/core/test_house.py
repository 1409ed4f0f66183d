"""The instruments of the house, on small packages of which the figures are known."""

from __future__ import annotations

import importlib
import textwrap
from pathlib import Path

import pytest

from scripts.house.arrows import find_arrows
from scripts.house.cost import ratio
from scripts.house.falling import Watch
from scripts.house.kits import find_kits
from scripts.house.names import docstrings, lines_of, shared_names
from scripts.house.source import ROOT, files_of
from scripts.house.states import find_tables
from scripts.house.walk import Tracer, Walk, comings_back, walks
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

    def put_label(box: Box, label: str) -> None:
        box.label = label

    def own(box: Box, timed: Timed) -> None:
        box.at = 1.0
        box.set_label("")
        timed.at = 1.0
"""

USER = """
    from typing import Any

    from house import things
    from house.things import Box, T, Timed, put_label

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
                put_label(other, "")
                things.put_label(other, "")
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
        ("setter", "things", "put_label"),
        ("setter", "things", "put_label"),
        ("assigned", "unknown", "at"),
        ("assigned", "things.Timed", "at"),
    ]
    assert writes.by_module() == {"house.things": 1, "house.user": 14}


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


# --- walk ----------------------------------------------------------------------------------------


def test_a_way_comes_back_to_what_it_has_left() -> None:
    assert comings_back([]) == 0
    assert comings_back(["cell", "cell", "links"]) == 0
    assert comings_back(["cell", "links", "cell", "cell", "links", "tree", "cell"]) == 3


def test_calls_are_traced_without_what_is_generated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_package(
        tmp_path,
        {
            "walked/__init__.py": "",
            "walked/top.py": """
                import dataclasses
                from walked.low import Low, each

                @dataclasses.dataclass
                class Value:
                    number: int

                def go() -> list[Value]:
                    low = Low()
                    return [Value(low.double(number)) for number in each()]
            """,
            "walked/low.py": """
                class Low:
                    def double(self, number: int) -> int:
                        return 2 * number

                def each():
                    yield 1
                    yield 2
            """,
        },
    )
    monkeypatch.syspath_prepend(tmp_path)
    go = importlib.import_module("walked.top").go
    walk = Walk()
    with Tracer(tmp_path / "walked").tracing(walk):
        go()
    go()
    assert [(call.module, call.function) for call in walk.calls] == [
        ("top", "go"),
        ("low", "each"),
        ("low", "Low.double"),
        ("low", "Low.double"),
    ]
    assert [call.depth for call in walk.calls] == [0, 1, 1, 1]
    assert walk.modules == {"top", "low"}
    # To `low` from `top`, again and again; by calls alone `low` is never left.
    assert walk.returns == 0
    assert walk.returns_of_control > 0


def test_every_walk_leads_through_the_core() -> None:
    found = walks(ROOT)
    assert list(found) == ["chunk", "ack", "hello", "relay"]
    for walk in found.values():
        assert walk.calls[0].function == "CellCore.receive"
        assert len(walk.modules) > 1
    assert found["chunk"].calls[-1].function == "CellCore.next_event"
    assert "CellCore.frames_to_send" in {call.function for call in found["relay"].calls}


# --- falling times -------------------------------------------------------------------------------


def test_falling_times_are_counted_from_outside_and_for_each_core() -> None:
    class Core:
        def receive(self, frames: int, now: float) -> int:
            self.expire(now=0.0)
            return frames

        def expire(self, *, now: float) -> None: ...

        def peek(self) -> None: ...

    watch = Watch()
    watch.wrap_all(Core)
    one, other = Core(), Core()
    assert one.receive(3, 5.0) == 3
    one.peek()
    other.receive(1, 4.0)
    one.expire(now=4.5)
    one.expire(now=5.0)
    assert watch.calls == 4
    (found,) = watch.falling
    assert found.startswith("expire from core/test_house.test_falling_times")
    assert found.endswith(", after receive")


# --- kits, names, cost ---------------------------------------------------------------------------


def test_kits_are_what_public_tests_get_cells_of(tmp_path: Path) -> None:
    makes = "from streamcell import CoreCell\n\ndef cell() -> CoreCell:\n    return CoreCell('a')\n"
    write_package(
        tmp_path,
        {
            "tests/kit/__init__.py": "",
            "tests/kit/cells.py": makes,
            "tests/kit/pairs.py": makes,
            "tests/other.py": makes,
            "tests/public/more.py": f"from tests.kit import cells\n{makes}",
            "tests/public/test_this.py": makes,
            "tests/adversity/program.py": makes,
        },
    )
    assert find_kits(files_of(tmp_path, "tests")) == ["tests.kit", "tests.other"]


def test_shared_names_comments_and_docstrings(tmp_path: Path) -> None:
    classes = "".join(f"class C{number}:\n    def take(self):\n        pass\n" for number in range(4))
    head = '"""A module.\n\nOf lines."""\n\n# One.\nTHING = 1  # Two.\n\n'
    text = f'{head}def f():\n    """A  module. Of lines."""\n{classes}'
    write_package(tmp_path, {"house/some.py": text})
    files = files_of(tmp_path, "house")
    assert shared_names(files) == {"take": ["C0", "C1", "C2", "C3"]}
    assert docstrings(files) == ["A module. Of lines.", "A module. Of lines."]
    assert lines_of(files[0]) == (2, 2 + 12)


def test_ratio_is_of_rounds() -> None:
    assert ratio([1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 1.0, 1.0, 2.0, 2.0]) == "2.000 (1.500 to 2.750)"
    assert ratio([3.0], [2.0]) == "1.500 (1.500 to 1.500)"
