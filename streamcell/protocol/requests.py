"""Requests that wait for their replies.

A request is a stream of its own, and so is its reply; what ties them is the request's stream id. A request ends once:
with the reply whole, with the failure of either stream, or when its time is over.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

from streamcell.errors import (
    CellError,
    ErrorCode,
    Fault,
    RequestTimeout,
    StreamOutcomeUnknown,
    StreamTargetUnreachable,
)
from streamcell.protocol.base.context import Context
from streamcell.protocol.base.events import RequestEnded
from streamcell.protocol.base.timers import Timed
from streamcell.protocol.wire.description import ReplyTo


class Standing(enum.Enum):
    """How far the stream of a request has come that is not complete: what to say when its time is over."""

    QUEUED = "waits here for a slot"
    UNHEARD = "nothing was heard of it"
    UNDER_WAY = "the target knows of it"
    WHOLE = "the target has all of it, and has not called the callback"


class Request(Timed):
    """One request that waits for its reply. ``deadline`` None: it may wait for ever."""

    def __init__(self, stream_id: int, target: str, name: str, deadline: float | None, *, sealed: bool) -> None:
        super().__init__()
        # Whether only a reply counts that is sealed, too.
        self.sealed = sealed
        self.stream_id = stream_id
        self.target = target
        self.name = name
        self.deadline = deadline
        # The life of the target that has the whole request; None while none is known to.
        self.holder: int | None = None
        self.on_timer: Callable[[Request, float], None] | None = None

    def handle_timer(self, now: float) -> None:
        """Pass the deadline on to the table."""
        if self.on_timer is not None:
            self.on_timer(self, now)


class RequestTable:
    """The requests of one cell.

    :param standing: tells how far the stream of a request has come that is under way.
    :param give_up: gives up the stream of a request whose time is over, if it is still under way.
    """

    def __init__(
        self,
        context: Context,
        standing: Callable[[int], Standing],
        give_up: Callable[[int, CellError, float], None],
    ) -> None:
        self._requests: dict[int, Request] = {}
        self._context = context
        self._standing = standing
        self._give_up = give_up

    def __len__(self) -> int:
        return len(self._requests)

    def add(self, stream_id: int, target: str, name: str, deadline: float | None, *, sealed: bool = False) -> None:
        """Wait for the reply to a request, until ``deadline``."""
        request = Request(stream_id, target, name, deadline, sealed=sealed)
        request.on_timer = self._expire
        self._requests[stream_id] = request
        if deadline is not None:
            self._context.deadlines.schedule(request, deadline)

    def awaits(self, reply: ReplyTo | None, origin: str, *, sealed: bool = False) -> bool:
        """Return whether what a stream of ``origin`` says that it answers is a request of this life, still awaited."""
        return self._awaited(reply, origin, sealed=sealed) is not None

    def waits_for(self, fqcn: str) -> bool:
        """Return whether any reply of that cell is awaited."""
        return any(request.target == fqcn for request in self._requests.values())

    def acknowledge(self, stream_id: int, incarnation: int) -> None:
        """Note that this life of the target has the request."""
        request = self._requests.get(stream_id)
        if request is not None:
            request.holder = incarnation

    def note_life_ended(self, fqcn: str, incarnation: int, *, proved: bool) -> None:
        """That life of a cell replies no more: stop waiting for it where it had the request.

        :param proved: it is as certain as it can be; if not, what was sealed is still waited for.
        """
        for request in list(self._requests.values()):
            if request.target == fqcn and request.holder == incarnation and (proved or not request.sealed):
                self.end(request.stream_id, _outcome_unknown(request))

    def on_reply_ended(
        self, reply: ReplyTo | None, origin: str, error: CellError | None, *, sealed: bool = False
    ) -> None:
        """A reply is whole (None), or failed: if its sender was restarted, nobody knows what came of the request."""
        request = self._awaited(reply, origin, sealed=sealed)
        if request is None:
            return
        restarted = error is not None and error.code is ErrorCode.RESUME
        self.end(request.stream_id, _outcome_unknown(request) if restarted else error)

    def _awaited(self, reply: ReplyTo | None, origin: str, *, sealed: bool) -> Request | None:
        """Return the request that a reply is for. Ids of requests start anew in each life.

        Of one that was sealed only a reply that is sealed is one.
        """
        if reply is None or reply.incarnation != self._context.incarnation:
            return None
        request = self._requests.get(reply.request_id)
        if request is None or request.target != origin or (request.sealed and not sealed):
            return None
        return request

    def end(self, stream_id: int, error: CellError | None) -> None:
        """Stop waiting: the reply is whole (None), or there will be none."""
        request = self._requests.pop(stream_id, None)
        if request is None:
            return
        self._context.deadlines.cancel(request)
        if error is not None:
            self._context.events.append(RequestEnded(stream_id, error))

    def end_all(self, error: CellError) -> None:
        """Stop waiting for every reply."""
        for stream_id in list(self._requests):
            self.end(stream_id, error)

    def _expire(self, request: Request, now: float) -> None:
        standing = Standing.UNDER_WAY if request.holder is not None else self._standing(request.stream_id)
        error = _timed_out(request, standing)
        self.end(request.stream_id, error)
        self._give_up(request.stream_id, error, now)


def _timed_out(request: Request, standing: Standing) -> CellError:
    target, name = request.target, request.name
    if standing is Standing.UNHEARD:
        return StreamTargetUnreachable(
            f"{target} did not acknowledge the request {name} in time: check its name, and that it runs and is "
            "connected",
            fault=Fault.NETWORK,
        )
    if standing is Standing.QUEUED:
        return RequestTimeout(
            f"the request {name} was not sent in time: as many others to {target} are under way as may be at a time "
            "(max_requests_per_peer)",
            fault=Fault.ORIGIN,
        )
    if standing is Standing.WHOLE:
        return RequestTimeout(
            f"{target} has the request {name} and did not call its callback in time: all request threads of {target} "
            "are in use (request_threads), or it stands still; callbacks that wait for requests of their own keep "
            "theirs",
            fault=Fault.TARGET,
        )
    return RequestTimeout(f"{target} got the request {name} and did not reply in time", fault=Fault.TARGET)


def _outcome_unknown(request: Request) -> StreamOutcomeUnknown:
    return StreamOutcomeUnknown(
        f"{request.target} has ended after it got the request {request.name} and before its reply was whole: what came "
        "of the request cannot be known",
        fault=Fault.TARGET,
    )
