"""Streams and blobs that arrive: from the first frame to the callback."""

from __future__ import annotations

import dataclasses
import functools
import logging
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

from streamcell.digest import Digest
from streamcell.errors import (
    CellError,
    ErrorCode,
    Fault,
    StreamCancelled,
    StreamError,
    StreamIntegrityError,
    StreamRejected,
    UsageError,
)
from streamcell.message import HeaderValue
from streamcell.protocol.base.events import DataEnded, DataReceived, StreamOpened
from streamcell.protocol.wire.description import StreamKind
from streamcell.protocol.wire.frames import StreamKey
from streamcell.runtime.context import CellContext
from streamcell.runtime.receiving.assembly import Assembly, IntoAssembly, make_assembly
from streamcell.runtime.receiving.memory import MemoryWait
from streamcell.runtime.receiving.queue import ReceiveQueue, wrong_digest
from streamcell.runtime.receiving.receives import Receiver
from streamcell.runtime.receiving.registry import CallbackRegistry
from streamcell.runtime.receiving.resuming import Resumption
from streamcell.runtime.threads.callbacks import (
    CallbackCancelled,
    call_user_code,
    copy_error,
    level_of_raised,
    raised_sentence,
)
from streamcell.runtime.threads.workers import WorkerPool
from streamcell.runtime.transfers import AnyFuture, Progress, TransferInfo, fail, level_for, succeed

# ``into(size, headers)`` returns the buffer to receive a blob into; ``size`` None: not known.
Into: TypeAlias = Callable[[int | None, dict[str, HeaderValue]], Any]

# These say that the source went wrong, not that anybody gave up: what arrived before is good and is read.
_SOURCE_CODES = frozenset({ErrorCode.SOURCE, ErrorCode.USAGE, ErrorCode.INTEGRITY})


@dataclasses.dataclass(frozen=True, slots=True)
class ReceiveCallback:
    """What is registered for a name. ``call`` runs in a pool thread, with the stream or blob that arrived."""

    call: Callable[[Any], object]
    into: Into | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Begun:
    """What ``call`` returns of a callback that it has only begun, and that holds no thread until it is done.

    Attributes:
        future: is done when the callback is.
        result: returns what the callback has returned, or raises; called once, when it is done. It waits for nothing,
            unless the future was cancelled or has failed with CallbackCancelled.
    """

    future: AnyFuture
    result: Callable[[], object]


class Incoming(Receiver):
    """What streams and blobs have in common: where they come from, and the callback that they are for."""

    def __init__(self, context: CellContext, event: StreamOpened, callback: ReceiveCallback, pool: WorkerPool) -> None:
        self.key = event.key
        self.info = TransferInfo(
            origin=event.key.origin,
            target=context.fqcn,
            channel=event.channel,
            topic=event.topic,
            description=event.description,
            progress=Progress(context.clock),
            stream_id=event.key.stream_id,
            identity=event.identity,
        )
        self.future = context.make_future(self.info, self, context.notifier)
        self._context = context
        self._party = event.party
        self._callback = callback
        self._pool = pool
        self._error: CellError | None = None
        context.futures.add(self.future)

    def cancel(self) -> None:
        """Stop the transfer."""
        raise NotImplementedError

    def wait_opened(self) -> None:
        """Do nothing: a stream that arrives is open."""

    def is_supplied_here(self) -> bool:
        """Return False: what arrives has its source elsewhere."""
        return False

    def on_adopted(self, key: StreamKey, /) -> None:
        """Go by the new key."""
        self.key = key
        self.info.stream_id = key.stream_id

    def _tell_core(self, verb: Callable[..., None], *args: Any) -> None:
        """Have a verb of the core called on the engine."""
        self._context.post(self._call_core, verb, args)

    def _call_core(self, verb: Callable[..., None], args: tuple[Any, ...], now: float) -> None:
        verb(self.key, *args, now)

    @property
    def _callback_name(self) -> str:
        return f"the callback for {self.info.channel}/{self.info.topic} at {self.info.target}"

    def _run_callback(self) -> None:
        """Call the callback in this thread, and see to it that it ends, be that later."""
        returned = self._call(self._callback.call, self)
        if isinstance(returned, Begun):
            returned.future.add_done_callback(functools.partial(self._on_done, returned.result))
        else:
            self._on_returned(returned)

    def _on_done(self, result: Callable[[], object], future: AnyFuture) -> None:
        """Take the result of a callback that holds no thread, in the thread that has settled it if nothing waits."""
        if future.cancelled() or isinstance(future.exception(), CallbackCancelled):
            self._pool.submit(functools.partial(self._take_result, result), self._party)
        else:
            self._take_result(result)

    def _take_result(self, result: Callable[[], object]) -> None:
        self._on_returned(self._call(result))

    def _call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call what is the callback or gives its result; return what that returned.

        The exception that it raises is not returned, because its traceback keeps the callback's variables alive, the
        stream among them; nor kept, since the traceback refers to this very frame as well.
        """
        what = self._callback_name
        returned, error = call_user_code(self._context.stream_log, self._level_of, what, function, *args)
        if error is None:
            return returned
        try:
            if self._level_of(error) > logging.DEBUG:
                self._context.failures.count_callback()
            if isinstance(error, StreamRejected):
                self._on_raised(copy_error(StreamRejected, what, error))
            else:
                self._on_raised(StreamRejected(raised_sentence(what, error)))
        finally:
            del error
        return None

    def _on_returned(self, returned: Any, /) -> None:
        """Do nothing: the callback has returned, or has raised and was heard."""

    def _on_raised(self, rejection: StreamRejected, /) -> None:
        """Do nothing about what the callback has raised, as the sender would be told it: it was logged."""

    def _level_of(self, raised: BaseException, /) -> int:
        """Return the level at which what the callback raised is logged."""
        return level_of_raised(raised)


class IncomingStream(Incoming):
    """A stream that is read as it arrives.

    The engine and this object never refer to the stream that the callback gets, so that it is closed when the
    application has dropped it.
    """

    def __init__(self, context: CellContext, event: StreamOpened, callback: ReceiveCallback) -> None:
        super().__init__(context, event, callback, context.pools.streams)
        self.resume = event.seen_before
        with_digest = event.description.digest is not None or event.description.digest_follows
        self.queue = ReceiveQueue(self, with_digest, context.clock)
        #: How it is chosen where the stream goes on; None if it begins at 0 in any case.
        self.resumption = Resumption(self) if event.awaits_offset else None
        self._discarded = False
        # Whether it fails for what the callback has raised, which is told where it is raised.
        self._rejected = False

    def cancel(self) -> None:
        """Stop reading, here and at the sender."""
        sentence = f"cancelled by the receiver {self.info.target}"
        self.queue.fail(StreamCancelled(sentence, fault=Fault.TARGET), discard=True)
        self._tell_core(self._context.core.cancel_receive, sentence)

    def in_thread(self, function: Callable[..., Any], *args: Any) -> AnyFuture:
        """Call what reads a file in a thread of the cell, as soon as the system gives one; the future gets the result.

        For event loops, any thread.
        """
        answer: AnyFuture = AnyFuture()
        self._context.pools.digests.submit(functools.partial(self._answer, answer, function, args), self._party)
        return answer

    # --- on the engine

    def on_admitted(self) -> None:
        """Call the callback as soon as a thread is free."""
        self._pool.submit(self._run, self._party)

    def on_placed(self, offset: int, /) -> None:
        """Begin there, and let those know who wait for that."""
        progress = self.info.progress
        progress.place(offset, max(0, offset - progress.received))
        if self.resumption is None:
            self.queue.start_at(offset, None)
        else:
            self.queue.start_at(offset, self.resumption.prefix_below(offset))
            self.resumption.settle(offset)

    def on_data(self, event: DataReceived, now: float, /) -> None:
        """Queue it for the reader."""
        self.info.progress.add(len(event.payload), now)
        self.queue.put(event.payload, event.report_bytes)

    def on_ended(self, event: DataEnded, _now: float, /) -> None:
        """Let the reader see the end."""
        self.info.size = event.size_bytes
        self.queue.end(event.size_bytes, event.digest)

    def on_finished(self) -> None:
        """Forget the future, which was settled when the end was reached: the core was told after that."""
        self._context.futures.discard(self.future)

    def on_failed(self, error: CellError, discard: bool, /) -> None:
        """Let the reader see the error, after what arrived before it."""
        self._error = error
        self._discarded = discard
        raised = self.queue.fail(error, discard)
        if self.resumption is not None:
            self.resumption.fail(error)
        self._context.futures.discard(self.future)
        # If the end was reached first, the future is settled by whoever has reached it.
        if raised is not None and fail(self.future, raised):
            told = self._rejected or isinstance(raised, StreamCancelled)
            level = logging.DEBUG if told else logging.WARNING
            level = level_for(raised, level)
            self._context.stream_log.log(level, "< %s from %s failed: %s", self.info.name, self.info.origin, raised)

    # --- in the thread that chooses

    def on_weighing(self) -> None:
        """Have the sender wait."""
        self._tell_core(self._context.core.weigh_offset)

    def on_chosen(self, offset: int, prefix_digest: Digest | None) -> None:
        """Have the sender go on there."""
        self._tell_core(self._context.core.choose_offset, offset, prefix_digest)

    # --- in the reading thread

    def on_consumed(self, offset: int, *, urgent: bool) -> None:
        """Let the sender go on: now, or with whatever calls the core next."""
        if urgent:
            self._tell_core(self._context.core.consume, offset)
        else:
            self._context.leave(self._call_core, self._context.core.consume, (offset,))

    def on_end_reached(self, size_bytes: int) -> None:
        """Settle the future with the number of bytes read, and the sender's with that; unless it was cancelled."""
        if succeed(self.future, size_bytes):
            self._tell_core(self._context.core.approve)

    def on_corrupt(self, error: StreamIntegrityError) -> None:
        """Fail the stream for both sides."""
        self._tell_core(self._context.core.fail_receive, error)

    def on_closed(self, offset: int) -> None:
        """Tell the core how far the reader came; it knows whether that is the end."""
        self._tell_core(self._context.core.close_receive, offset)

    # --- in a thread of the pool

    def _run(self) -> None:
        if not self._is_wanted():
            return
        self._tell_core(self._context.core.callback_started)
        if self.resumption is not None:
            self.resumption.enter(threading.get_ident())
        self._run_callback()

    def _on_returned(self, returned: Any, /) -> None:
        """Let the stream end."""
        if not self._rejected and self.resumption is not None:
            self._leave(self.resumption, returned)
        # If it was rejected, that has ended it already.
        self._tell_core(self._context.core.release)

    def _answer(self, answer: AnyFuture, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        what = f"what {self._callback_name} awaits"
        result, raised = call_user_code(self._context.stream_log, logging.DEBUG, what, function, *args)
        if raised is None:
            succeed(answer, result)
        else:
            fail(answer, raised)

    def _on_raised(self, rejection: StreamRejected, /) -> None:
        """Reject the stream, unless it was closed before; before the traceback goes, and closes it with itself."""
        if not self.queue.closed:
            self._reject(rejection)

    def _leave(self, resumption: Resumption, returned: Any) -> None:
        """Take what the callback returned as its choice of an offset."""
        try:
            resumption.leave(returned)
        except UsageError as error:
            self._context.stream_log.error("%s: %s", self._callback_name, error)
            self._context.failures.count_callback()
            self._reject(StreamRejected(f"{self._callback_name}: {error}"))

    def _reject(self, rejection: StreamRejected) -> None:
        """Fail the stream for both sides, for what the callback has done."""
        self._rejected = True
        self._tell_core(self._context.core.fail_receive, rejection)

    def _level_of(self, raised: BaseException, /) -> int:
        """Return DEBUG for what is no accident: what reading has raised, which is logged, and a refusal."""
        return logging.DEBUG if raised is self.queue.error or isinstance(raised, StreamRejected) else logging.ERROR

    def _is_wanted(self) -> bool:
        """Return whether the callback is to be called, although the stream may have failed while it waited for it."""
        error = self._error
        if error is None:
            return True
        return error.code in _SOURCE_CODES and not self._discarded and self.queue.waiting > 0


class IncomingBlob(Incoming):
    """A blob, which is put together before its callback is called."""

    def __init__(self, context: CellContext, event: StreamOpened, callback: ReceiveCallback) -> None:
        super().__init__(context, event, callback, context.pools.blobs)
        self._assembly: Assembly = make_assembly(event.description.size, context.buffers.allocate)
        self._memory = MemoryWait(context, event.description.size, f"{self.info.name} from {self.info.origin}")

    def cancel(self) -> None:
        """Do nothing: nobody has the future before it is settled."""

    def accept(self, now: float) -> None:
        """Accept the stream, once there is a buffer to receive it into. On the engine."""
        if self._callback.into is None:
            self._memory.admit(functools.partial(self._accept, reserve=True), self._fail, now)
        else:
            choose = functools.partial(self._choose_buffer, self._callback.into)
            self._context.pools.buffers.submit(choose, self._party)

    # --- on the engine

    def on_admitted(self) -> None:
        """Wait for the data."""

    def on_data(self, event: DataReceived, now: float, /) -> None:
        """Add it to what is there."""
        self.info.progress.add(len(event.payload), now)
        try:
            self._assembly.add(event.payload)
        except StreamError as error:
            self._fail(error, now)

    def on_ended(self, event: DataEnded, now: float, /) -> None:
        """Call the callback as soon as a thread is free."""
        self.info.size = event.size_bytes
        self._submit(event.digest, now)

    def on_finished(self) -> None:
        """Nothing is left to do."""

    def on_failed(self, error: CellError, _discard: bool, /) -> None:
        """Report it here, because no callback will."""
        self._error = error
        self._context.futures.discard(self.future)
        if fail(self.future, error):
            self._context.failures.count_blob()
            level = level_for(error, logging.ERROR)
            self._context.stream_log.log(level, "< %s from %s failed: %s", self.info.name, self.info.origin, error)

    def _submit(self, digest: Digest | None, _now: float) -> None:
        self._pool.submit(functools.partial(self._run, digest), self._party)

    def _fail(self, error: StreamError, now: float) -> None:
        self._context.core.fail_receive(self.key, error, now)

    def _accept(self, now: float, *, reserve: bool) -> None:
        self._context.core.accept(self.key, assemble=True, reserve=reserve, now=now)

    def _accept_into(self, assembly: Assembly, now: float) -> None:
        self._assembly = assembly
        self._accept(now, reserve=False)

    # --- in a thread of the pool

    def _choose_buffer(self, into: Into) -> None:
        what = f"into() for {self.info.channel}/{self.info.topic} at {self.info.target}"
        buffer, raised = call_user_code(
            self._context.stream_log, logging.ERROR, what, into, self.info.size, dict(self.info.description.headers)
        )
        if raised is not None:
            self._context.failures.count_callback()
            self._reject(raised_sentence(what, raised))
            return
        try:
            assembly = IntoAssembly(buffer, self.info.size)
        except StreamRejected as error:
            self._context.stream_log.error("%s: %s", what, error)
            self._reject(f"{what}: {error}")
            return
        self._context.post(self._accept_into, assembly)

    def _fail_from_here(self, error: StreamError, _now: float) -> None:
        self._tell_core(self._context.core.fail_receive, error)

    def _reject(self, sentence: str) -> None:
        self._tell_core(self._context.core.reject, ErrorCode.REJECTED, sentence)

    def _run(self, digest: Digest | None) -> None:
        if self._error is not None:
            return
        try:
            found = None if digest is None else self._assembly.digest()
            result = self._assembly.result()
        except MemoryError:
            now = self._context.clock()
            self._memory.again(functools.partial(self._submit, digest), self._fail_from_here, now)
            return
        self._memory.end()
        if found is not None and digest is not None and not digest.matches(found):
            self._tell_core(self._context.core.fail_receive, wrong_digest(found, digest))
            return
        self._context.futures.discard(self.future)
        if succeed(self.future, result):
            self._tell_core(self._context.core.release)
            self._run_callback()


class UnclaimedStream(Receiver):
    """A stream or blob that goes on after a restart of this cell, before its callback is registered."""

    def __init__(self, unclaimed: dict[StreamKey, StreamOpened], event: StreamOpened) -> None:
        self._unclaimed = unclaimed
        self._event = event
        unclaimed[event.key] = event

    def on_adopted(self, key: StreamKey, /) -> None:
        """Wait under the new key."""
        del self._unclaimed[self._event.key]
        self._event = dataclasses.replace(self._event, key=key)
        self._unclaimed[key] = self._event

    def on_failed(self, _error: CellError, _discard: bool, /) -> None:
        """Stop waiting."""
        self._unclaimed.pop(self._event.key, None)


class Incomings:
    """Opens streams and blobs that arrive, for the callbacks that are registered. On the engine."""

    def __init__(self, context: CellContext, registry: CallbackRegistry[ReceiveCallback]) -> None:
        self._context = context
        self._registry = registry
        self._unclaimed: dict[StreamKey, StreamOpened] = {}

    def take_unclaimed(self) -> list[StreamOpened]:
        """Return the streams that wait for a callback, to be opened again because one was registered."""
        unclaimed = list(self._unclaimed.values())
        self._unclaimed.clear()
        return unclaimed

    def open_stream(self, event: StreamOpened, now: float) -> Receiver | None:
        """Accept a stream or blob for its callback, or reject it."""
        found = self._registry.find(event.channel, event.topic, event.description.kind)
        core = self._context.core
        if found is None and event.seen_before:
            core.await_callback(event.key, now)
            return UnclaimedStream(self._unclaimed, event)
        if found is None:
            sentence = (
                f"{self._context.fqcn} has no callback for {event.channel}/{event.topic}: "
                "register one there before sending"
            )
            core.reject(event.key, ErrorCode.NO_CALLBACK, sentence, now)
            return None
        kind, callback = found
        if kind is StreamKind.STREAM:
            stream = IncomingStream(self._context, event, callback)
            core.accept(event.key, assemble=False, reserve=True, now=now)
            return stream
        blob = IncomingBlob(self._context, event, callback)
        blob.accept(now)
        return blob
