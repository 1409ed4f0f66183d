"""Every place in which a program may call streamcell, and every public method to be called there."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from streamcell import CoreCell, Message, ReceivedStream, StreamCell, StreamFuture
from tests.kit.cells import Cells, making_cells, memory_carrier
from tests.kit.waiting import PATIENCE_S, Box

# What a call waits for comes that much after it has begun.
LATE_S = 0.02
# Called by streamcell only.
_NOT_PUBLIC = {"set_result", "set_exception", "set_running_or_notify_cancel"}

Call: TypeAlias = Callable[[], object]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a call."""

    name: str
    seconds: float
    result: object
    error: BaseException | None


class Later:
    """A source whose bytes come a moment after they were asked to."""

    def __init__(self) -> None:
        self._gate = threading.Event()

    def begin(self) -> bool:
        """Have the bytes come soon; return True."""
        timer = threading.Timer(LATE_S, self._gate.set)
        timer.daemon = True
        timer.start()
        return True

    def items(self) -> Iterator[bytes]:
        """Return what is sent."""
        if not self._gate.wait(PATIENCE_S):
            raise AssertionError("nobody has begun")
        yield b"one\ntwo\n"


class Scene:
    """Two connected cells, a spare one, and one more pair that nothing is done to."""

    def __init__(self, cells: Cells) -> None:
        self.cells = cells
        self.pair = pair = cells.pair()
        self.spare = cells.listen("spare")
        #: Called at the end.
        self.at_end: list[Call] = []
        self._numbers = itertools.count()
        self._streams: Box[ReceivedStream] = Box()
        pair.server.register_request_cb("scene", "echo", lambda request: Message({}, bytes(request.payload)))
        pair.at_server.register_blob_cb("scene", "*", lambda future: None)
        pair.at_server.register_stream_cb("scene", "read", lambda future, stream, resume: stream.read(-1))
        pair.at_server.register_stream_cb("scene", "keep", lambda future, stream, resume: self._streams.put(stream))

    def calls(self) -> list[tuple[str, Call]]:
        """Return every public method of the blocking classes, ready to be called with something to wait for."""
        kinds = (
            (CoreCell, self._cell_call),
            (StreamCell, self._stream_cell_call),
            (StreamFuture, self._future_call),
            (ReceivedStream, self._received_call),
        )
        return [(f"{kind.__name__}.{name}", make(name)) for kind, make in kinds for name in public_methods(kind)]

    def send_blob(self) -> StreamFuture:
        """Send something small."""
        return self.pair.at_site.send_blob("scene", "blob", "server", Message({}, b"blob"))

    def _cell_call(self, name: str) -> Call:
        site, url = self.pair.site, self.pair.server.listen_urls
        message = Message({}, b"hello")
        arguments: dict[str, tuple[Any, ...]] = {
            "broadcast_request": ("scene", "echo", ["server"], message),
            "connect": (url,),
            "disconnect": (url,),
            "fire_and_forget": ("scene", "echo", ["server"], message),
            "is_cell_connected": ("server",),
            "is_cell_reachable": ("server",),
            "register_request_cb": ("scene", "other", lambda request: None),
            "send_request": ("scene", "echo", "server", message),
            "set_cell_connected_cb": (print,),
            "set_cell_disconnected_cb": (print,),
            "trace": ("server",),
            "reload_security": (),
            "wait_connected": (PATIENCE_S,),
            "stop": (0,),
        }
        cell = site
        if name == "start":
            cell = self.cells.make(f"fresh-{next(self._numbers)}", listen="memory://")
        elif name == "stop":
            cell = self.spare
        return lambda: getattr(cell, name)(*arguments.get(name, ()))

    def _stream_cell_call(self, name: str) -> Call:
        streams = self.pair.at_site
        blob = ("scene", "blob", "server", Message({}, b"blob"))
        arguments: dict[str, tuple[Any, ...]] = {
            "register_blob_cb": ("scene", "other", print),
            "register_stream_cb": ("scene", "other", print),
            "send_blob": blob,
            "send_stream": ("scene", "read", "server", Message({}, iter([b"piece"]))),
            "unregister_blob_cb": ("scene", "other"),
            "unregister_stream_cb": ("scene", "other"),
        }
        return lambda: getattr(streams, name)(*arguments.get(name, ()))

    def _future_call(self, name: str) -> Call:
        later = Later()
        future = self.pair.at_site.send_stream("scene", "read", "server", Message({}, later.items()))
        arguments: dict[str, tuple[Any, ...]] = {"add_done_callback": (lambda future: None,)}
        return lambda: later.begin() and getattr(future, name)(*arguments.get(name, ()))

    def _received_call(self, name: str) -> Call:
        later = Later()
        self.pair.at_site.send_stream("scene", "keep", "server", Message({}, later.items()))
        stream = self._streams.get()
        arguments: dict[str, tuple[Any, ...]] = {
            "read": (-1,),
            "readinto": (bytearray(2),),
            "resume_from": (0,),
            "seek": (0,),
            "truncate": (0,),
            "write": (b"",),
            "writelines": ([],),
        }
        consume = list if name == "pieces" else _itself
        return lambda: later.begin() and consume(getattr(stream, name)(*arguments.get(name, ())))


def _itself(result: Any) -> Any:
    return result


def public_methods(kind: type) -> list[str]:
    """Return the methods that a program may call, the class's own and those of the classes above it."""
    names = (name for name in dir(kind) if not name.startswith("_") and name not in _NOT_PUBLIC)
    return [name for name in names if callable(getattr(kind, name))]


def make_all(calls: list[tuple[str, Call]]) -> list[Outcome]:
    """Make all calls in this thread."""
    return [outcome_of(name, call) for name, call in calls]


def outcome_of(name: str, call: Call) -> Outcome:
    """Make a call."""
    begun = time.monotonic()
    try:
        result, error = call(), None
    except Exception as raised:  # noqa: BLE001
        result, error = None, raised
    return Outcome(name, time.monotonic() - begun, result, error)


@contextlib.contextmanager
def scene() -> Iterator[Scene]:
    """Make the cells, and stop them at the end."""
    with making_cells(memory_carrier()) as cells:
        made = Scene(cells)
        try:
            yield made
        finally:
            for end in made.at_end:
                end()


# --- the places: each has ``act`` called where its name says


def in_a_done_callback(on: Scene, act: Call) -> None:
    on.send_blob().add_done_callback(lambda _: act())


def in_a_connected_callback(on: Scene, act: Call) -> None:
    on.pair.server.set_cell_connected_cb(lambda _: act())
    on.cells.make("late", connect=on.pair.server.listen_urls).start()


def in_a_stream_callback(on: Scene, act: Call) -> None:
    on.pair.at_server.register_stream_cb("place", "here", lambda future, stream, resume: act())
    on.pair.at_site.send_stream("place", "here", "server", Message({}, b"piece"))


def in_a_blob_callback(on: Scene, act: Call) -> None:
    on.pair.at_server.register_blob_cb("place", "here", lambda future: act())
    on.pair.at_site.send_blob("place", "here", "server", Message({}, b"blob"))


def in_into(on: Scene, act: Call) -> None:
    def into(size: int | None, headers: object) -> bytearray:
        act()
        return bytearray(size or 0)

    on.pair.at_server.register_blob_cb("place", "here", lambda future: None, into=into)
    on.pair.at_site.send_blob("place", "here", "server", Message({}, b"blob"))


def in_a_request_callback(on: Scene, act: Call) -> None:
    def answer(request: Message) -> None:
        act()

    on.pair.server.register_request_cb("place", "here", answer)
    on.pair.site.fire_and_forget("place", "here", "server", Message())


def in_a_source(on: Scene, act: Call) -> None:
    def items() -> Iterator[bytes]:
        act()
        yield b"piece"

    on.pair.at_site.send_stream("scene", "read", "server", Message({}, items()))


def in_a_signal_handler(on: Scene, act: Call) -> None:
    before = signal.signal(signal.SIGUSR1, lambda number, frame: act())
    # The handler runs in the main thread, which waits for the end of a transfer.
    later = Later()
    future = on.pair.at_site.send_stream("scene", "read", "server", Message({}, later.items()))

    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        later.begin()

    kill = threading.Timer(LATE_S, interrupt)
    kill.start()
    try:
        future.result(PATIENCE_S)
        kill.join()
    finally:
        signal.signal(signal.SIGUSR1, before)


class Heir(bytearray):
    """Bytes that do something when the last one lets go of them."""

    act: Callable[[], object]

    def __del__(self) -> None:
        self.act()


def in_a_destructor_on_the_engine(on: Scene, act: Call) -> None:
    acted = threading.Event()

    def acting() -> None:
        if threading.current_thread().name == "streamcell-engine":
            act()
            acted.set()

    # Larger than what is copied at the call: the engine lets go of it, unless another thread happens to be the last.
    while not acted.is_set():
        heir = Heir(3 << 20)
        heir.act = acting
        future = on.pair.at_site.send_blob("scene", "blob", "server", Message({}, heir))
        del heir
        future.exception(PATIENCE_S)
        del future
        acted.wait(LATE_S)


def in_a_logging_handler(on: Scene, act: Call) -> None:
    class Acting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            act()

    handler = Acting()
    logger = logging.getLogger("streamcell.stream")
    logger.addHandler(handler)
    on.at_end.append(lambda: logger.removeHandler(handler))
    have_the_engine_log(on)


def in_a_loggers_filter(on: Scene, act: Call) -> None:
    def acting(record: logging.LogRecord) -> bool:
        act()
        return True

    logger = logging.getLogger("streamcell.stream")
    logger.addFilter(acting)
    on.at_end.append(lambda: logger.removeFilter(acting))
    have_the_engine_log(on)


def in_a_factory_of_records(on: Scene, act: Call) -> None:
    factory = logging.getLogRecordFactory()

    def acting(*args: Any, **kwargs: Any) -> logging.LogRecord:
        act()
        return factory(*args, **kwargs)

    logging.setLogRecordFactory(acting)
    on.at_end.append(lambda: logging.setLogRecordFactory(factory))
    have_the_engine_log(on)


def have_the_engine_log(on: Scene) -> None:
    """Have the engine log a failure."""
    on.pair.at_site.send_blob("scene", "blob", "nobody", Message({}, b"blob"), unreachable_timeout=0.01)


def in_a_coroutine(_: Scene, act: Call) -> None:
    async def main() -> None:
        act()

    asyncio.run(main())


PLACES: dict[str, Callable[[Scene, Call], None]] = {
    name.removeprefix("in_"): place for name, place in list(globals().items()) if name.startswith("in_")
}
