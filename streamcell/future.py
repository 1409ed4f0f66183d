"""The future of a transfer."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable
from typing import Any

from streamcell.errors import StreamCancelled, UsageError
from streamcell.message import HeaderValue
from streamcell.runtime.engine.fork import Birthplace
from streamcell.runtime.sending.specs import check_callback
from streamcell.runtime.threads.notifier import Notifier
from streamcell.runtime.threads.waiting import check_may_wait
from streamcell.runtime.transfers import AboutTransfer, TransferControl, TransferInfo


class StreamFuture(AboutTransfer, concurrent.futures.Future[Any]):
    """What becomes of a stream or blob, and how far it is. You get it from ``send_*`` and in callbacks; never make one.

    When and with what it settles is said at ``send_stream``, ``send_blob`` and the ``register_*`` methods. Works with
    ``concurrent.futures.wait`` and ``as_completed`` and with ``asyncio.wrap_future``. Safe for use by several threads.
    """

    def __init__(self, info: TransferInfo, control: TransferControl, notifier: Notifier) -> None:
        super().__init__()
        self.__streamcell__ = info
        # Only until the end: it refers to this future.
        self._control: TransferControl | None = control
        self._notifier = notifier
        self._birthplace = Birthplace()
        self._callbacks_lock = threading.RLock()
        self._callbacks: list[Callable[[], None]] | None = []

    @property
    def resumed_at(self) -> int:
        """How many bytes the target had when this transfer began: they are not sent again. 0 if it knew nothing of it.

        ``get_progress()`` counts them, ``rate`` and ``eta`` do not.
        """
        return self.__streamcell__.progress.resumed_at

    @property
    def rate(self) -> float:
        """Bytes a second that have travelled over the last seconds."""
        return self.__streamcell__.progress.rate

    @property
    def eta(self) -> float | None:
        """Seconds until the end at the present rate; None if size or rate are not known."""
        if self.done():
            return 0.0
        size, rate = self.__streamcell__.size, self.rate
        if size is None or rate <= 0:
            return None
        return max(0, size - self.get_progress()) / rate

    def get_stream_id(self) -> int:
        """Return the stream's number at its origin; 0 if it was never opened."""
        control = self._control
        if not self.__streamcell__.stream_id and control is not None:
            control.wait_opened()
        return self.__streamcell__.stream_id

    def get_headers(self) -> dict[str, HeaderValue]:
        """Return a copy of the headers."""
        return dict(self.__streamcell__.description.headers)

    def get_size(self) -> int:
        """Return the number of payload bytes as declared, or 0 if that is not known."""
        return self.__streamcell__.size or 0

    def get_progress(self) -> int:
        """Return how many bytes the target has received. May fall at the sender if the target restarted."""
        return self.__streamcell__.progress.received

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the end and return the result, or raise what the transfer failed with.

        Args:
            timeout: seconds to wait; None waits for the end.

        Raises:
            TimeoutError: the end did not come within ``timeout``. The transfer goes on.
            StreamCancelled: one of the two sides cancelled; ``cancelled()`` tells whether it was this one.
            CellError: the transfer failed.
            UsageError: the end would never come: this is a forked child, the engine's thread, or the thread that reads
                the transfer's source.
        """
        self._check_may_wait()
        try:
            return super().result(timeout)
        except concurrent.futures.CancelledError:
            if self.cancelled():
                raise self._cancelled_error() from None
            raise

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the end and return what the transfer failed with, or None if it succeeded.

        Args:
            timeout: seconds to wait; None waits for the end.

        Raises:
            TimeoutError: the end did not come within ``timeout``. The transfer goes on.
            StreamCancelled: this future was cancelled.
            UsageError: the end would never come: this is a forked child, the engine's thread, or the thread that reads
                the transfer's source.
        """
        self._check_may_wait()
        try:
            return super().exception(timeout)
        except concurrent.futures.CancelledError:
            raise self._cancelled_error() from None

    def running(self) -> bool:
        """Return whether the transfer has not ended yet."""
        return not self.done()

    def cancel(self) -> bool:
        """Cancel the transfer at any time before its end; the other side's future fails with StreamCancelled.

        Returns:
            True if this future is cancelled now; False if it had ended already.
        """
        with self._callbacks_lock:
            control = self._control
            if self.cancelled():
                return True
            if not super().cancel():
                return False
            # Without this, concurrent.futures.wait() would not take notice.
            self.set_running_or_notify_cancel()
            self._post_callbacks()
        if control is not None:
            control.cancel()
        return True

    def add_done_callback(self, fn: Callable[..., object], *args: Any, **kwargs: Any) -> None:
        """Have ``fn(future, *args, **kwargs)`` called after the end, also if that is past.

        Callbacks run one after the other on the cell's notifier thread, in the order in which futures settled. One that
        blocks holds up those of other transfers of the cell; one that raises is logged.

        Raises:
            UsageError: ``fn`` cannot be called.
        """
        check_callback(fn, "a done-callback")

        def post() -> None:
            self._notifier.post("a done-callback", fn, self, *args, **kwargs)

        with self._callbacks_lock:
            if self._callbacks is not None:
                self._callbacks.append(post)
                return
        post()

    def set_result(self, result: Any) -> None:
        """Settle with a result. Called by streamcell only."""
        super().set_result(result)
        self._post_callbacks()

    def set_exception(self, exception: BaseException | None) -> None:
        """Settle with an error. Called by streamcell only."""
        super().set_exception(exception)
        self._post_callbacks()

    def __repr__(self) -> str:
        info = self.__streamcell__
        state = "running"
        if self.cancelled():
            state = "cancelled"
        elif self.done():
            state = "failed" if super().exception() else "done"
        return (
            f"<StreamFuture {info.origin}->{info.target} {info.channel}/{info.topic} "
            f"stream={info.stream_id} {state} {self.get_progress()}/{info.size} bytes>"
        )

    def _check_may_wait(self) -> None:
        self._birthplace.check()
        if self.done():
            return
        check_may_wait()
        control = self._control
        if control is not None and control.is_supplied_here():
            raise UsageError(
                f"the transfer from {self.origin} to {self.target} cannot end before its source does, "
                "which is being read in this thread: wait for the result in another one"
            )

    def _post_callbacks(self) -> None:
        """Have the callbacks run, once, and let go of the transfer. In the thread that settles the future."""
        with self._callbacks_lock:
            self._control = None
            callbacks, self._callbacks = self._callbacks or [], None
            # Posted under the lock, so that one added now cannot overtake those added before.
            for post in callbacks:
                post()

    def _cancelled_error(self) -> StreamCancelled:
        info = self.__streamcell__
        return StreamCancelled(
            f"the transfer from {info.origin} to {info.target} on {info.channel}/{info.topic} was cancelled here"
        )
