import asyncio
import concurrent.futures
import gc
import queue
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from streamcell import CellError, StreamCancelled, StreamError, StreamFuture, UsageError
from streamcell.protocol.wire.description import StreamDescription, StreamKind
from streamcell.runtime.threads.notifier import Notifier
from streamcell.runtime.threads.trace import cell_log
from streamcell.runtime.transfers import Progress, TransferInfo
from tests.kit.timing import scaled
from tests.shell.runtime.starters import STARTER


class FakeClock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Control:
    """Stands for the transfer."""

    def __init__(self, info: TransferInfo) -> None:
        self.info = info
        self.cancels = 0

    def cancel(self) -> None:
        self.cancels += 1

    def wait_opened(self) -> None:
        self.info.stream_id = 7

    def is_supplied_here(self) -> bool:
        return False


class Transfer:
    """A future and what it belongs to."""

    def __init__(self, notifier: Notifier, size: int | None) -> None:
        self.clock = FakeClock()
        self.info = TransferInfo(
            origin="site-1",
            target="server",
            channel="models",
            topic="weights",
            description=StreamDescription(StreamKind.BLOB, size, (("round", 3),)),
            progress=Progress(self.clock),
        )
        self.control = Control(self.info)
        self.future = StreamFuture(self.info, self.control, notifier)


@pytest.fixture
def notifier() -> Iterator[Notifier]:
    notifier = Notifier("notifier", cell_log("site-1"), STARTER)
    yield notifier
    notifier.close()


@pytest.fixture
def transfer(notifier: Notifier) -> Transfer:
    return Transfer(notifier, size=1000)


def test_it_says_what_it_is_of(transfer: Transfer) -> None:
    future = transfer.future
    assert (future.origin, future.target, future.channel, future.topic) == ("site-1", "server", "models", "weights")
    assert (future.get_size(), future.get_headers(), future.get_stream_id()) == (1000, {"round": 3}, 7)


def test_headers_are_a_copy(transfer: Transfer) -> None:
    transfer.future.get_headers()["round"] = 4
    assert transfer.future.get_headers() == {"round": 3}


def test_progress_rate_and_eta(transfer: Transfer) -> None:
    future = transfer.future
    assert (future.get_progress(), future.rate, future.eta) == (0, 0, None)
    transfer.info.progress.note(100, transfer.clock.now)
    transfer.clock.now += 1
    transfer.info.progress.note(200, transfer.clock.now)
    assert (future.get_progress(), future.rate) == (200, 200)
    assert future.eta == 4
    future.set_result(1000)
    assert future.eta == 0


def test_an_unknown_size_is_zero_and_has_no_eta(notifier: Notifier) -> None:
    transfer = Transfer(notifier, size=None)
    transfer.info.progress.note(100, transfer.clock.now)
    transfer.clock.now += 1
    assert (transfer.future.get_size(), transfer.future.eta) == (0, None)


def test_it_runs_until_it_ends(transfer: Transfer) -> None:
    future = transfer.future
    assert (future.running(), future.done(), future.cancelled()) == (True, False, False)
    future.set_result(5)
    assert (future.running(), future.done(), future.cancelled()) == (False, True, False)
    assert (future.result(), future.exception()) == (5, None)


def test_giving_up_to_wait_is_a_timeout_error_and_changes_nothing(transfer: Transfer) -> None:
    with pytest.raises(TimeoutError) as caught:
        transfer.future.result(timeout=0)
    assert not isinstance(caught.value, CellError)
    with pytest.raises(TimeoutError):
        transfer.future.exception(timeout=0)
    assert transfer.future.running()


def test_a_failure_is_raised(transfer: Transfer) -> None:
    error = StreamError("lost")
    transfer.future.set_exception(error)
    assert transfer.future.exception() is error
    with pytest.raises(StreamError, match="lost"):
        transfer.future.result()
    assert not transfer.future.cancel()
    assert transfer.control.cancels == 0


def test_cancelling_settles_at_once(transfer: Transfer) -> None:
    future = transfer.future
    assert future.cancel()
    assert (future.done(), future.cancelled(), future.running()) == (True, True, False)
    assert transfer.control.cancels == 1
    with pytest.raises(StreamCancelled, match="cancelled here") as caught:
        future.result()
    assert isinstance(caught.value, concurrent.futures.CancelledError)
    with pytest.raises(StreamCancelled):
        future.exception()


def test_cancelling_again_is_true_and_does_nothing(transfer: Transfer) -> None:
    transfer.future.cancel()
    assert transfer.future.cancel()
    assert transfer.control.cancels == 1


def test_the_other_side_cancelled(transfer: Transfer) -> None:
    error = StreamCancelled("cancelled by site-2")
    transfer.future.set_exception(error)
    assert not transfer.future.cancelled()
    assert transfer.future.exception() is error
    with pytest.raises(StreamCancelled, match="by site-2"):
        transfer.future.result()


@pytest.mark.parametrize("how", ["result", "failure", "cancel"])
def test_waiting_for_several(notifier: Notifier, how: str) -> None:
    first, second = Transfer(notifier, None), Transfer(notifier, None)
    waiting = threading.Thread(target=lambda: settle(first.future, how))
    waiting.start()
    done, not_done = concurrent.futures.wait(
        [first.future, second.future], scaled(5), concurrent.futures.FIRST_COMPLETED
    )
    waiting.join()
    assert (done, not_done) == ({first.future}, {second.future})
    assert next(concurrent.futures.as_completed([first.future, second.future], scaled(5))) is first.future


def settle(future: StreamFuture, how: str) -> None:
    if how == "result":
        future.set_result(1)
    elif how == "failure":
        future.set_exception(StreamError("lost"))
    else:
        future.cancel()


def test_it_can_be_awaited(transfer: Transfer) -> None:
    async def wait() -> Any:
        waiting = asyncio.wrap_future(transfer.future)
        asyncio.get_running_loop().call_soon(transfer.future.set_result, 5)
        return await waiting

    assert asyncio.run(wait()) == 5


def test_an_await_that_is_cancelled_cancels(transfer: Transfer) -> None:
    async def wait() -> None:
        task = asyncio.ensure_future(asyncio.wrap_future(transfer.future))
        asyncio.get_running_loop().call_soon(task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(wait())
    assert transfer.future.cancelled()
    assert transfer.control.cancels == 1


def test_done_callbacks_run_on_the_notifier_in_order_of_settling(notifier: Notifier) -> None:
    transfers = [Transfer(notifier, None) for _ in range(10)]
    called: queue.SimpleQueue[tuple[StreamFuture, int, str, str]] = queue.SimpleQueue()

    def callback(future: StreamFuture, number: int, *, word: str) -> None:
        called.put((future, number, word, threading.current_thread().name))

    for transfer in transfers:
        for number in range(2):
            transfer.future.add_done_callback(callback, number, word="word")
    for transfer in reversed(transfers):
        transfer.future.set_result(None)
    calls = [called.get(timeout=scaled(5)) for _ in range(20)]
    assert calls == [
        (transfer.future, number, "word", "notifier") for transfer in reversed(transfers) for number in range(2)
    ]


@pytest.mark.parametrize("callback", [None, "text"])
def test_callbacks_can_be_called(transfer: Transfer, callback: Any) -> None:
    with pytest.raises(UsageError, match="a done-callback must be callable"):
        transfer.future.add_done_callback(callback)


def test_a_done_callback_may_be_added_after_the_end(transfer: Transfer) -> None:
    called: queue.SimpleQueue[StreamFuture] = queue.SimpleQueue()
    transfer.future.cancel()
    transfer.future.add_done_callback(called.put)
    assert called.get(timeout=scaled(5)) is transfer.future


def test_what_a_done_callback_raises_is_logged(
    transfer: Transfer, notifier: Notifier, caplog: pytest.LogCaptureFixture
) -> None:
    done = threading.Event()

    def fail(_: StreamFuture) -> None:
        raise LookupError("broken")

    transfer.future.add_done_callback(fail)
    transfer.future.add_done_callback(lambda _: done.set())
    transfer.future.set_result(1)
    assert done.wait(scaled(5))
    (record,) = caplog.records
    assert "LookupError" in record.getMessage()
    assert record.exc_info is not None


def test_a_settled_future_does_not_keep_its_transfer_alive(notifier: Notifier) -> None:
    gc.disable()
    try:
        transfer = Transfer(notifier, None)
        control, future = weakref.ref(transfer.control), transfer.future
        future.set_result(1)
        del transfer
        # Without the collector: the transfer refers to the future, so that a reference back would be a cycle.
        assert control() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(("how", "state"), [("result", "done"), ("failure", "failed"), ("cancel", "cancelled")])
def test_its_repr_tells_the_state(transfer: Transfer, how: str, state: str) -> None:
    assert repr(transfer.future) == "<StreamFuture site-1->server models/weights stream=0 running 0/1000 bytes>"
    settle(transfer.future, how)
    assert f" {state} " in repr(transfer.future)
