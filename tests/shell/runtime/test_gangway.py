"""How many cells of a process are connecting at a time."""

from __future__ import annotations

import asyncio

from streamcell.runtime.engine.gangway import Gangway
from tests.shell.transport.running import run, until


class Dial:
    """Something that connects when it is told to."""

    def __init__(self, gangway: Gangway) -> None:
        self.told: list[bool] = []
        self.begun = False
        self.connected = asyncio.Event()
        self.task = asyncio.create_task(self._run(gangway))

    async def _run(self, gangway: Gangway) -> None:
        async with gangway.on_it(self._note):
            self.begun = True
            await self.connected.wait()

    def _note(self, *, held: bool) -> None:
        self.told.append(held)


def test_those_beyond_the_places_wait_and_are_told() -> None:
    async def scenario() -> None:
        gangway = Gangway(2, 600.0)
        dials = [Dial(gangway) for _ in range(4)]
        await until(lambda: dials[2].told == [True])
        assert [each.begun for each in dials] == [True, True, False, False]
        assert dials[0].told == []
        dials[0].connected.set()
        await until(lambda: dials[2].begun)
        assert dials[2].told == [True, False]
        assert not dials[3].begun
        # One that is given up gives its place back, and one that waits wants none.
        dials[1].task.cancel()
        await until(lambda: dials[3].begun)
        late = Dial(gangway)
        await until(lambda: late.told == [True])
        late.task.cancel()
        for each in dials:
            each.connected.set()
        await asyncio.wait([each.task for each in (*dials, late)])

    run(scenario())


def test_one_whose_address_does_not_answer_does_not_keep_others_waiting() -> None:
    async def scenario() -> None:
        gangway = Gangway(1, 0.01)
        dials = [Dial(gangway) for _ in range(3)]
        await until(lambda: all(each.begun for each in dials))
        for each in dials:
            each.connected.set()
        await asyncio.wait([each.task for each in dials])
        # Each has given its place back once.
        gangway = Gangway(1, 600.0)
        first, second = Dial(gangway), Dial(gangway)
        await until(lambda: second.told == [True])
        for each in (first, second):
            each.connected.set()
        await asyncio.wait([first.task, second.task])

    run(scenario())
