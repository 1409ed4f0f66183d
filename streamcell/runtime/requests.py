"""Requests that a cell sends and answers.

A request and its reply are streams of their own, assembled like blobs; the reply names the request's stream id. The
core keeps the time of a request; this module turns streams into messages and callbacks into replies.
"""

from __future__ import annotations

import concurrent.futures
import functools
import logging
from collections.abc import Callable
from typing import Any

from streamcell.errors import (
    CellError,
    ErrorCode,
    Fault,
    RequestFailed,
    RequestTimeout,
    StreamError,
    StreamRejected,
    UsageError,
    error_from_wire,
    one_line,
)
from streamcell.message import Headers, Message, freeze_headers
from streamcell.protocol.base.events import DataEnded, DataReceived, RequestEnded, StreamOpened
from streamcell.protocol.sending.spec import SendSpec
from streamcell.protocol.wire.description import ReplyTo, StreamDescription, StreamKind
from streamcell.protocol.wire.frames import Payload
from streamcell.runtime.context import CellContext
from streamcell.runtime.receiving.assembly import make_assembly
from streamcell.runtime.receiving.memory import MemoryWait
from streamcell.runtime.receiving.receives import Receiver
from streamcell.runtime.receiving.registry import CallbackRegistry
from streamcell.runtime.sending.payloads import flatten_payload
from streamcell.runtime.sending.sends import Sends
from streamcell.runtime.threads.callbacks import call_user_code, level_of, level_of_raised, raised_sentence
from streamcell.runtime.transfers import AnyFuture, ended_error, fail, level_for, succeed
from streamcell.stats import Direction

# ``callback(request)`` returns the reply, None for an empty one, or a future of either.
RequestCallback = Callable[[Message], Any]


class PendingRequest:
    """A request of this cell that waits for its reply."""

    def __init__(self, spec: SendSpec, payload: list[Payload], timeout_s: float) -> None:
        self.spec = spec
        self.payload = payload
        self.timeout_s = timeout_s
        self.stream_id = 0
        self.future: AnyFuture = concurrent.futures.Future()


class Requests:
    """The requests of one cell, in both directions. Methods named ``on_*`` and ``open_*`` run on the engine."""

    def __init__(
        self,
        context: CellContext,
        registry: CallbackRegistry[RequestCallback],
        sends: Sends,
    ) -> None:
        self._context = context
        self._registry = registry
        self._sends = sends
        self._pending: dict[int, PendingRequest] = {}

    def submit(self, spec: SendSpec, payload: list[Payload], timeout_s: float) -> PendingRequest:
        """Send a request; its future gets the reply as a Message, or the error. Never blocks."""
        request = PendingRequest(spec, payload, timeout_s)
        self._context.futures.add(request.future)
        if not self._context.post(self._open, request):
            self._settle(request, ended_error(self._context.fqcn))
        return request

    def cancel(self, request: PendingRequest) -> None:
        """Stop waiting for the reply, in any thread: the caller has gone away."""
        self._context.post(self._cancel, request)

    def on_request_ended(self, event: RequestEnded, _now: float) -> None:
        """There will be no reply."""
        request = self._pending.pop(event.stream_id, None)
        if request is not None:
            self._context.traffic.count_failure(Direction.SENT, event.error)
            self._settle(request, self._explain(as_request_error(event.error)))

    def open_request(self, event: StreamOpened, now: float) -> IncomingRequest | None:
        """Accept a request that arrives for its callback, or reject it."""
        found = self._registry.find(event.channel, event.topic, event.description.kind)
        core = self._context.core
        if found is None:
            sentence = (
                f"{self._context.fqcn} has no request callback for {event.channel}/{event.topic}: "
                "register one there before sending"
            )
            core.reject(event.key, ErrorCode.NO_CALLBACK, sentence, now)
            return None
        arriving = IncomingRequest(self._context, self._sends, event, found[1])
        arriving.accept(now)
        return arriving

    def open_reply(self, event: StreamOpened, now: float) -> IncomingReply | None:
        """Accept the reply to a request that still waits for one."""
        reply_to = event.description.reply_to
        core = self._context.core
        if reply_to is None or reply_to.request_id not in self._pending:
            core.reject(event.key, ErrorCode.STALE, "nobody waits for this reply", now)
            return None
        arriving = IncomingReply(self, self._context, event, reply_to)
        arriving.accept(now)
        return arriving

    def settle_reply(self, reply_to: ReplyTo, reply: Message) -> None:
        """Give a reply that is whole to whom it is for, or the error that it says."""
        request = self._pending.pop(reply_to.request_id, None)
        if request is None:
            return
        # Whoever replies has all of the request.
        self._context.traffic.count_bytes(Direction.SENT, request.spec.channel, request.spec.description.size or 0)
        if reply_to.code is not ErrorCode.UNSPECIFIED:
            error = error_from_wire(reply_to.code, reply_to.sentence, Fault.TARGET)
            self._settle(request, as_request_error(error))
            return
        self._settle(request, reply)

    def fail_reply(self, reply_to: ReplyTo, error: CellError) -> None:
        """Tell whom a reply was for that it cannot be had."""
        request = self._pending.pop(reply_to.request_id, None)
        if request is not None:
            self._settle(request, error)

    # --- on the engine

    def _explain(self, error: CellError) -> CellError:
        """Say with a timeout what here may have to do with it: whoever was asked may ask this cell in its turn."""
        pool = self._context.pools.requests.stats()
        if not isinstance(error, RequestTimeout) or not pool.exhausted:
            return error
        busy = f"all {pool.max_threads} request threads of {self._context.fqcn} are in use as well (request_threads)"
        waits = f", and {pool.waiting} requests wait for one" if pool.waiting else ""
        return RequestTimeout(f"{error.sentence}; {busy}{waits}", error.code, error.fault)

    def _open(self, request: PendingRequest, now: float) -> None:
        core = self._context.core
        if request.future.done():
            self._context.futures.discard(request.future)
            return
        try:
            stream_id = core.open_request(request.spec, request.timeout_s, now)
        except CellError as error:
            self._settle(request, error)
            return
        request.stream_id = stream_id
        self._pending[stream_id] = request
        if request.payload:
            core.supply(stream_id, request.payload, now)
        core.end_source(stream_id, None, now)
        request.payload = []

    def _cancel(self, request: PendingRequest, now: float) -> None:
        if request.stream_id in self._pending:
            sentence = f"cancelled by its sender {self._context.fqcn}"
            self._context.core.cancel_send(request.stream_id, sentence, now)

    def _settle(self, request: PendingRequest, outcome: Message | CellError) -> None:
        self._context.futures.discard(request.future)
        if isinstance(outcome, Message):
            succeed(request.future, outcome)
        elif fail(request.future, outcome):
            self._context.stream_log.log(
                level_for(outcome, level_of(request.spec.optional)),
                "> request %d %s/%s to %s failed: %s",
                request.stream_id,
                request.spec.channel,
                request.spec.topic,
                request.spec.target,
                outcome,
            )


class IncomingMessage(Receiver):
    """What requests and replies have in common: they are put together whole."""

    def __init__(self, context: CellContext, event: StreamOpened) -> None:
        self._context = context
        self._event = event
        self._assembly = make_assembly(event.description.size, context.buffers.allocate)
        self._memory = MemoryWait(
            context, event.description.size, f"a {event.description.kind.name.lower()} from {event.key.origin}"
        )

    def accept(self, now: float) -> None:
        """Accept it as soon as there is memory for it."""
        self._memory.admit(self._accept, self._fail, now)

    def on_admitted(self) -> None:
        """Wait for the data."""

    def on_data(self, event: DataReceived, now: float, /) -> None:
        """Add it to what is there."""
        try:
            self._assembly.add(event.payload)
        except StreamError as error:
            self._fail(error, now)

    def _accept(self, now: float) -> None:
        self._context.core.accept(self._event.key, assemble=True, reserve=True, now=now)

    def _fail(self, error: StreamError, now: float) -> None:
        self._context.core.fail_receive(self._event.key, error, now)


class IncomingReply(IncomingMessage):
    """The reply to a request of this cell. If it fails before it is whole, the core ends the request."""

    def __init__(self, requests: Requests, context: CellContext, event: StreamOpened, reply_to: ReplyTo) -> None:
        super().__init__(context, event)
        self._requests = requests
        self._reply_to = reply_to

    def on_ended(self, event: DataEnded, now: float, /) -> None:
        """Hand the reply over."""
        try:
            payload = self._assembly.result()
        except MemoryError:
            self._memory.again(functools.partial(self.on_ended, event), self._fail_whole, now)
            return
        self._memory.end()
        self._requests.settle_reply(self._reply_to, make_message(self._event, self._context.fqcn, payload))
        self._context.core.release(self._event.key, now)

    def on_finished(self) -> None:
        """Nothing is left to do."""

    def on_failed(self, _error: CellError, _discard: bool, /) -> None:
        """Leave it to the core, which ends the request."""

    def _fail_whole(self, error: StreamError, now: float) -> None:
        self._requests.fail_reply(self._reply_to, error)
        self._fail(error, now)


class IncomingRequest(IncomingMessage):
    """A request that arrives, and the reply to it."""

    def __init__(self, context: CellContext, sends: Sends, event: StreamOpened, callback: RequestCallback) -> None:
        super().__init__(context, event)
        self._sends = sends
        self._callback = callback
        self._failed = False
        # Whether all of it is there, and it waits for a thread.
        self._waits = False

    # --- on the engine

    def on_ended(self, _event: DataEnded, now: float, /) -> None:
        """Call the callback as soon as a thread is free."""
        self._submit(now)

    def on_finished(self) -> None:
        """Nothing is left to do."""

    def on_failed(self, error: CellError, _discard: bool, /) -> None:
        """See to it that the callback is not called any more."""
        self._failed = True
        pool = self._context.pools.requests.stats()
        if self._waits and pool.exhausted:
            self._context.stream_log.warning(
                "< request %s was given up before its callback was called: all %d request threads are in use "
                "(request_threads)",
                self._name,
                pool.max_threads,
            )
        self._context.stream_log.info("< request %s failed: %s", self._name, error)

    def _submit(self, _now: float) -> None:
        self._waits = True
        self._context.pools.requests.submit(self._run, self._event.party)

    def _release(self, now: float) -> None:
        self._context.core.release(self._event.key, now)

    # --- in a thread of the pool

    @property
    def _name(self) -> str:
        return f"{self._event.channel}/{self._event.topic} from {self._event.key.origin}"

    def _run(self) -> None:
        if self._failed:
            return
        self._waits = False
        try:
            payload = self._assembly.result()
        except MemoryError:
            self._memory.again(self._submit, self._fail_from_here, self._context.clock())
            return
        self._memory.end()
        self._context.post(self._release)
        request = make_message(self._event, self._context.fqcn, payload)
        what = f"the request callback for {self._event.channel}/{self._event.topic} at {self._context.fqcn}"
        answer, raised = call_user_code(self._context.stream_log, level_of_raised, what, self._callback, request)
        if raised is not None:
            self._note_raised(what, raised, level_of_raised(raised))
        elif isinstance(answer, concurrent.futures.Future):
            answer.add_done_callback(functools.partial(self._reply_deferred, what))
        else:
            self._reply(what, answer)

    def _fail_from_here(self, error: StreamError, _now: float) -> None:
        self._context.post(self._fail, error)

    def _reply_deferred(self, what: str, answer: AnyFuture) -> None:
        """Reply with what the callback's future has settled with, in the thread that settled it."""
        # That somebody has cancelled it is no accident; the end of an event loop does it to coroutines.
        cancelled = answer.cancelled()
        name = f"the future returned by {what}"

        def level_of_failure(raised: BaseException) -> int:
            return logging.DEBUG if cancelled else level_of_raised(raised)

        result, raised = call_user_code(self._context.stream_log, level_of_failure, name, answer.result)
        if raised is not None:
            self._note_raised(name, raised, level_of_failure(raised))
        else:
            self._reply(what, result)

    def _note_raised(self, what: str, raised: BaseException, level: int) -> None:
        if level > logging.DEBUG:
            self._context.failures.count_callback()
        self._reply_failure(raised_sentence(what, raised))

    def _reply(self, what: str, answer: Any) -> None:
        if answer is None:
            answer = Message()
        if not isinstance(answer, Message):
            sentence = f"{what} returned a {type(answer).__name__}: return a Message, None, or a Future of one"
            self._reply_failure(sentence)
            return
        try:
            headers = freeze_headers(answer.headers)
            payload, size = flatten_payload(answer.payload, self._context.config.chunk_bytes)
        except UsageError as error:
            self._context.stream_log.error("%s returned a bad reply: %s", what, error)
            self._reply_failure(f"{what} returned a bad reply: {error}")
            return
        self._send(headers, payload, size, ErrorCode.UNSPECIFIED, "")

    def _reply_failure(self, sentence: str) -> None:
        self._send((), [], 0, ErrorCode.REQUEST_FAILED, one_line(sentence))

    def _send(self, headers: Headers, payload: list[Payload], size: int, code: ErrorCode, sentence: str) -> None:
        if self._event.description.no_reply:
            return
        config = self._context.config
        spec = SendSpec(
            target=self._event.key.origin,
            channel=self._event.channel,
            topic=self._event.topic,
            description=StreamDescription(
                StreamKind.REPLY,
                size,
                headers,
                config.idle_timeout_s,
                reply_to=ReplyTo(self._event.key.stream_id, self._event.key.origin_incarnation, code, sentence),
                sealed=self._event.description.sealed,
            ),
            unreachable_timeout_s=config.unreachable_timeout_s,
        )
        # The requester may have stopped waiting; its own error says so.
        self._sends.submit(spec, payload, failure_level=logging.INFO)


def make_message(event: StreamOpened, target: str, payload: memoryview) -> Message:
    """Return a message that arrived."""
    message = Message(dict(event.description.headers), payload)
    message.origin = event.key.origin
    message.target = target
    message.channel = event.channel
    message.topic = event.topic
    message.traceparent = event.description.traceparent
    message.origin_identity = event.identity
    return message


def as_request_error(error: CellError) -> CellError:
    """Return what a request fails with: that its callback is missing or was not called is its failure."""
    if isinstance(error, StreamRejected):
        return RequestFailed(error.sentence, ErrorCode.REQUEST_FAILED, error.fault)
    return error
