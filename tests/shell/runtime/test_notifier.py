import queue
import threading

from streamcell.runtime.threads.notifier import Notifier
from streamcell.runtime.threads.trace import cell_log
from tests.kit.timing import scaled
from tests.shell.runtime.starters import STARTER


def make_notifier() -> Notifier:
    return Notifier("notifier", cell_log("site-1"), STARTER)


def test_callbacks_run_in_order_on_one_thread_with_their_arguments() -> None:
    notifier = make_notifier()
    called: queue.SimpleQueue[tuple[int, int, str]] = queue.SimpleQueue()

    def callback(number: int, *, word: str) -> None:
        called.put((threading.get_ident(), number, word))

    for number in range(50):
        notifier.post("a callback", callback, number, word="word")
    calls = [called.get(timeout=scaled(5)) for _ in range(50)]
    assert [(number, word) for _, number, word in calls] == [(number, "word") for number in range(50)]
    assert len({ident for ident, _, _ in calls}) == 1
    notifier.close()


def test_a_callback_that_raises_is_counted_and_the_next_one_runs() -> None:
    notifier = make_notifier()
    done = threading.Event()
    notifier.post("a callback", int, "not a number")
    notifier.post("a callback", done.set)
    assert done.wait(scaled(5))
    assert notifier.failures == 1
    notifier.close()


def test_callbacks_that_wait_are_counted() -> None:
    notifier = make_notifier()
    entered, go_on = threading.Event(), threading.Event()

    def block() -> None:
        entered.set()
        go_on.wait(scaled(5))

    notifier.post("a callback", block)
    assert entered.wait(scaled(5))
    notifier.post("a callback", block)
    assert notifier.waiting == 1
    go_on.set()
    notifier.close()
