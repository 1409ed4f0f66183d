"""The cell of threaded programs."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

from streamcell.coats import questions
from streamcell.coats.asking import Asking
from streamcell.coats.cell import AnyCell, bind
from streamcell.coats.questions import answered
from streamcell.errors import CellError
from streamcell.logs import flush
from streamcell.message import Message
from streamcell.protocol.wire.description import StreamKind
from streamcell.runtime.cell.runner import CellRunner
from streamcell.runtime.engine.engine import running_residents
from streamcell.runtime.requests import PendingRequest
from streamcell.runtime.sending.specs import check_callback, check_timeout, check_wait
from streamcell.runtime.threads.waiting import check_may_wait


class CoreCell(AnyCell[Message, dict[str, Message | CellError], dict[str, CellError | None]]):
    """A named process that others can reach.

    Register callbacks, then :meth:`start` it, or use it as a context manager; nothing arrives earlier. A cell lives
    once: after :meth:`stop` make another one, with the same name if you like. All methods may be called in any thread.
    """

    def _on_made(self) -> None:
        self.__streamcell__.handle = weakref.ref(self)

    def start(self) -> None:
        """Start; returns when the cell listens. The uplink comes up later, see :meth:`wait_connected`.

        Raises:
            LinkError: it cannot listen there: host, port and reason are named. Nothing was started.
            CellError: the system refuses the process a thread or an open file (code LIMIT). Nothing was started; start
                it again when there is room.
            UsageError: it was started before, or a URL is wrong, or it was stopped while it started, by another thread
                or the handler of a signal, or this is a forked child.
        """
        check_may_wait()
        self.__streamcell__.begin_start().result()

    def stop(self, grace: float | None = None) -> None:
        """Refuse new sends, let open ones settle for up to ``grace`` seconds, then end.

        May be called again, also while another call waits, or after one was interrupted: the grace that ends first
        counts for all of them. While :meth:`start` runs, it waits for the end of that, which fails with UsageError.
        A callback that has read its stream to the end is waited for in the same way, and its sender hears of success.
        Afterwards every future of the cell is settled, and what it has logged has reached the handlers of the log (if
        they take no longer than a second). Other callbacks that run are not waited for; their streams fail.

        Args:
            grace: seconds; as configured (5) if not given.

        Raises:
            UsageError: this is a destructor that runs in the engine's thread: the cell is being stopped, and nobody
                waits for it. Or this is a forked child.
        """
        default = self.__streamcell__.settings.config.stop_grace_s
        stopped = self.__streamcell__.begin_stop(check_timeout(grace, "grace", default))
        check_may_wait("the cell is being stopped; ")
        stopped.result()
        flush()

    def wait_connected(self, timeout: float | None = None) -> None:
        """Wait until the uplink is up and every cell above has accepted this cell's name.

        Args:
            timeout: seconds; None waits as long as it takes, 0 only looks.

        Raises:
            LinkError: it is not up after ``timeout``; the cell goes on trying. NameInUse is one.
            CellError: whoever answers refuses this cell and would do so again; at once, unless there was a link
                before. The cell goes on trying, slowly, and another call has it try soon. ProtocolError: one of the two
                could not read the other, three times within a minute; at once, too.
            UsageError: the cell is not running, or has no uplink, or ``timeout`` is no number of seconds.
        """
        runner, timeout_s = self.__streamcell__, check_wait(timeout, "timeout")
        check_may_wait()
        waiter = runner.begin_wait_connected()
        try:
            waiter.result(timeout_s)
        except TimeoutError:
            waiter.cancel()
            runner.ask(lambda life, _now: life.check_connected(timeout_s or 0.0)).result()

    is_cell_connected = answered(questions.is_cell_connected)
    is_cell_reachable = answered(questions.is_cell_reachable)
    disconnect = answered(questions.disconnect)
    cells = answered(questions.cells)
    trace = answered(questions.trace)
    stats = answered(questions.stats)
    reload_security = answered(questions.reload_security)

    def set_cell_connected_cb(self, cb: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Have ``cb(name, *args, **kwargs)`` called, on the cell's notifier thread, when a neighbour is there.

        A neighbour is the parent, a child or a peer. It is called when both may use their names: of a child when the
        cells above agree, of the parent when they have agreed to this cell's.
        """
        check_callback(cb, "the connected callback")
        self.__streamcell__.callbacks.links.connected = bind(cb, args, kwargs)

    def set_cell_disconnected_cb(self, cb: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Have ``cb(name, *args, **kwargs)`` called, on the cell's notifier thread, when a neighbour is gone.

        That is when it has said so, or its link had no connection for ``link_down_s`` (30 s); not when a connection
        breaks and comes back.
        """
        check_callback(cb, "the disconnected callback")
        self.__streamcell__.callbacks.links.disconnected = bind(cb, args, kwargs)

    def register_request_cb(self, channel: str, topic: str, cb: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Have ``cb(request, *args, **kwargs)`` answer requests, in a thread that it may block.

        It returns the reply as a :class:`Message`, None for an empty one, or a ``concurrent.futures.Future`` of either.
        A payload of the reply that is larger than a chunk must not change any more.
        What it raises reaches the requester as RequestFailed.

        Args:
            channel: the channel, or ``*`` for any.
            topic: the topic, or ``*`` for any.
            cb: replaces an earlier one of this name.
            *args: passed on.
            **kwargs: passed on.
        """
        check_callback(cb, "a request callback")
        registry = self.__streamcell__.callbacks.requests
        registry.register(channel, topic, StreamKind.REQUEST, bind(cb, args, kwargs))

    def _ask(self, asking: Asking, target: str) -> Message:
        self.__streamcell__.check_may_wait_for_callbacks()
        return self._wait_for_reply(asking.begin(self.__streamcell__, target))

    def _ask_each(self, asking: Asking, targets: str | Iterable[str]) -> dict[str, Message | CellError]:
        self.__streamcell__.check_may_wait_for_callbacks()
        begun = asking.begin_each(self.__streamcell__, targets)
        try:
            return {target: self._reply_or_error(each) for target, each in begun.items()}
        except KeyboardInterrupt:
            self.__streamcell__.cancel_requests(begun.values())
            raise

    def _fire(self, asking: Asking, targets: str | Iterable[str]) -> dict[str, CellError | None]:
        return asking.fire(self.__streamcell__, targets)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<CoreCell {self.fqcn} {self.__streamcell__.state.value}>"

    def _wait_for_reply(self, pending: PendingRequest) -> Message:
        try:
            reply: Message = pending.future.result()
        except KeyboardInterrupt:
            # Nobody waits any more.
            self.__streamcell__.cancel_requests([pending])
            raise
        return reply

    def _reply_or_error(self, begun: PendingRequest | CellError) -> Message | CellError:
        if isinstance(begun, CellError):
            return begun
        try:
            return self._wait_for_reply(begun)
        except CellError as error:
            return error


def running_cells() -> list[CoreCell]:
    """Return all cells that run in this process, in the order of their starts.

    Cells of ``streamcell.aio`` are among them, as cells for threads; see ``streamcell.aio.running_cells``. A cell runs
    until it is stopped, whatever becomes of the object that has started it. As long as that is there it is what you
    get: streamcell refers to it weakly, and does not keep it alive. Afterwards it is another object for the same cell.
    """
    return [cell_of(each) for each in running_residents() if isinstance(each, CellRunner)]


def cell_of(runner: CellRunner) -> CoreCell:
    """Return what the application has of the cell, or make it if there is nothing. For the package itself."""
    cell = runner.handle()
    if not isinstance(cell, CoreCell):
        cell = CoreCell.__new__(CoreCell)
        cell.__streamcell__ = runner
        runner.handle = weakref.ref(cell)
    return cell
