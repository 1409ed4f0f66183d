"""Whatever public method is called wherever a program may call it: it answers or refuses, and the others go on."""

from __future__ import annotations

import asyncio
import contextlib
import io
import threading
import time
from collections.abc import Awaitable, Callable, Iterator

import pytest

from streamcell import CellError, Message, UsageError, aio
from tests.adversity import aio_places
from tests.adversity.places import PLACES, Call, Outcome, Scene, make_all, scene
from tests.kit.aio_cells import aio_pair
from tests.kit.cells import connected_pair, memory_carrier
from tests.kit.timing import scaled
from tests.kit.waiting import PATIENCE_S, Box

MOST_S = scaled(5.0)

# A method that cannot do what is asked of it may say so, in the words of its kind.
REFUSALS = (CellError, io.UnsupportedOperation, NotImplementedError, TimeoutError, ValueError)


@contextlib.contextmanager
def others_that_do_not_wait() -> Iterator[None]:
    """Have two other cells of the process talk all the time; none of their requests may take long."""
    ended = threading.Event()
    waits: list[float] = []

    def talk() -> None:
        while not ended.is_set():
            begun = time.monotonic()
            pair.site.send_request("other", "echo", "server", Message(), PATIENCE_S)
            waits.append(time.monotonic() - begun)
            ended.wait(0.01)

    with connected_pair(memory_carrier()) as pair:
        pair.server.register_request_cb("other", "echo", lambda request: None)
        talking = threading.Thread(target=talk, daemon=True)
        talking.start()
        yield
        ended.set()
        talking.join(PATIENCE_S)
        assert not talking.is_alive()
    assert max(waits) < MOST_S


def outcomes_in(place: Callable[[Scene, Call], None], on: Scene) -> list[Outcome]:
    """Make all calls in a place, once, and return what became of them."""
    box: Box[list[Outcome]] = Box()
    calls = iter([on.calls()])

    def act() -> None:
        for each in calls:
            box.put(make_all(each))

    place(on, act)
    return box.get()


@pytest.mark.parametrize("name", PLACES)
def test_every_method_answers_or_refuses_wherever_it_is_called(name: str) -> None:
    with scene() as on, others_that_do_not_wait():
        outcomes = outcomes_in(PLACES[name], on)
    assert {outcome.name for outcome in outcomes} >= {"CoreCell.stats", "StreamFuture.result", "ReceivedStream.read"}
    late = [outcome for outcome in outcomes if outcome.seconds >= MOST_S]
    wrong = [each for each in outcomes if each.error is not None and not isinstance(each.error, REFUSALS)]
    assert (late, wrong) == ([], [])
    refused = {each.name for each in outcomes if isinstance(each.error, UsageError)}
    if name == "a_destructor_on_the_engine":
        assert refused >= {"CoreCell.stats", "CoreCell.send_request", "StreamFuture.result", "ReceivedStream.read"}
    else:
        assert refused == set()


async def aio_outcomes_in(place: Callable[[aio_places.Scene, aio_places.Act], Awaitable[None]]) -> list[Outcome]:
    """Make all calls of the other coat in a place, once, and return what became of them."""
    carrier = memory_carrier()
    box: asyncio.Queue[list[Outcome]] = asyncio.Queue()
    async with aio_pair(carrier) as pair, aio.CoreCell("spare", network=carrier.network) as spare:
        on = aio_places.Scene(carrier, pair, spare)
        calls = iter([await on.calls()])

        async def act() -> None:
            for each in calls:
                await box.put(await aio_places.make_all(each))

        await place(on, act)
        outcomes = await asyncio.wait_for(box.get(), PATIENCE_S)
        for cell in aio.running_cells():
            await cell.stop(0)
        return outcomes


@pytest.mark.parametrize("name", aio_places.AIO_PLACES)
def test_every_coroutine_answers_wherever_it_is_awaited(name: str) -> None:
    with others_that_do_not_wait():
        outcomes = asyncio.run(aio_outcomes_in(aio_places.AIO_PLACES[name]))
    assert {outcome.name for outcome in outcomes} >= {"CoreCell.stats", "StreamFuture", "ReceivedStream.read"}
    late = [outcome for outcome in outcomes if outcome.seconds >= MOST_S]
    refusals = (*REFUSALS, asyncio.InvalidStateError)
    wrong = [each for each in outcomes if each.error is not None and not isinstance(each.error, refusals)]
    assert (late, wrong) == ([], [])
