"""One life of a cell, from start to stop: its core and all that serves it.

Everything here runs on the engine, except where it says otherwise.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import math
import secrets
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, TypeVarTuple

from streamcell.config import CellConfig
from streamcell.errors import CellError, LinkError, NameInUse
from streamcell.protocol.base import events
from streamcell.protocol.cell import CellCore
from streamcell.protocol.wire.description import StreamKind
from streamcell.runtime.buffers import IDLE_S, BufferPool
from streamcell.runtime.context import CellContext, FailureCounts, Pools
from streamcell.runtime.engine.engine import Engine
from streamcell.runtime.engine.residents import Resident
from streamcell.runtime.engine.stepper import Stepper
from streamcell.runtime.network.dial_plan import DialPlan
from streamcell.runtime.network.doorkeeper import Admit, Doorkeeper
from streamcell.runtime.network.lanes import Lanes
from streamcell.runtime.network.neighbours import (
    LinkCallbacks,
    Neighbours,
    not_accepted_error,
    not_connected_error,
    not_greeted_error,
)
from streamcell.runtime.network.peers import Peers
from streamcell.runtime.network.questions import Questions
from streamcell.runtime.network.sealing import Sealing
from streamcell.runtime.network.security import Security
from streamcell.runtime.network.tokens import CellTokens
from streamcell.runtime.receiving.incoming import Incomings, ReceiveCallback
from streamcell.runtime.receiving.receives import Receives
from streamcell.runtime.receiving.registry import CallbackRegistry
from streamcell.runtime.requests import RequestCallback, Requests
from streamcell.runtime.sending.sends import Sends
from streamcell.runtime.threads import trace
from streamcell.runtime.threads.clock import Clock, make_incarnation
from streamcell.runtime.threads.notifier import Notifier
from streamcell.runtime.threads.starter import RETRY_S
from streamcell.runtime.traffic import Traffic
from streamcell.runtime.transfers import AnyFuture, FutureFactory, OpenFutures, ended_error
from streamcell.security.credentials import Credentials
from streamcell.security.policy.policy import Policy
from streamcell.security.policy.rules import PolicyRules
from streamcell.security.tokens import Authenticate, Token
from streamcell.stats import RunningStats
from streamcell.transport.base import AddressInUse, Listener, Network
from streamcell.transport.checksum import checksum

Args = TypeVarTuple("Args")
T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CellSettings:
    """What a cell was made with."""

    fqcn: str
    listen: tuple[str, ...]
    connect: tuple[str, ...]
    insecure: bool
    config: CellConfig
    software: str
    credentials: Credentials | None = None
    policy: Policy | None = None
    admit: Admit | None = None
    admit_relayed: bool = False
    token: Token | None = dataclasses.field(default=None, repr=False)
    authenticate: Authenticate | None = None

    @property
    def can_seal(self) -> bool:
        """Whether it has what it takes to seal: a certificate, and authorities that it believes."""
        tls = None if self.credentials is None else self.credentials.config
        return tls is not None and tls.cert is not None and tls.ca is not None


@dataclasses.dataclass(frozen=True, slots=True)
class Callbacks:
    """What the application has registered. Outlives the life: callbacks are registered before the start."""

    streams: CallbackRegistry[ReceiveCallback]
    requests: CallbackRegistry[RequestCallback]
    links: LinkCallbacks


class CellLife:
    """A cell that runs, or has run: it starts once and stops once.

    Other threads use ``sends``, ``requests``, ``stepper``, ``notifier`` and ``listen_urls``, and what else there is in
    what they have the stepper call.
    """

    def __init__(
        self,
        resident: Resident,
        settings: CellSettings,
        callbacks: Callbacks,
        make_future: FutureFactory,
        network: Network,
        engine: Engine,
        clock: Clock,
    ) -> None:
        fqcn, config = settings.fqcn, settings.config
        log = trace.cell_log(fqcn)
        self._resident = resident
        self._settings = settings
        self._network = network
        self._engine = engine
        self._futures = OpenFutures()
        self._listeners: list[Listener] = []
        # The addresses of the parent, and the core's number for them.
        self._uplink_plan: DialPlan | None = None
        self._uplink_number = 0
        self._idle = asyncio.Event()
        # When a stop that waits for sends waits no longer, and the wait itself.
        self._stop_by = math.inf
        self._grace: asyncio.Timeout | None = None
        self._trim_timer: asyncio.TimerHandle | None = None
        self._ending: set[asyncio.Task[None]] = set()
        #: Whether it is over, for good.
        self.ended = False
        self.listen_urls: tuple[str, ...] = ()
        self.notifier = Notifier(f"{fqcn}-notifier", log, engine.starter)
        rules = None if settings.policy is None else PolicyRules(settings.policy)
        self.core = CellCore(
            fqcn=fqcn,
            incarnation=make_incarnation(),
            config=config,
            checksum=checksum,
            random_bits=secrets.randbits,
            software=settings.software,
            rules=rules,
            seals=settings.can_seal,
            asks_passage=settings.admit is not None and settings.admit_relayed,
        )
        self.stepper = Stepper(self.core, engine, clock, self._futures, log, self._on_broken)
        self._context = CellContext(
            fqcn=fqcn,
            config=config,
            clock=clock,
            core=self.core,
            post=self.stepper.post,
            leave=self.stepper.leave,
            ask=self.stepper.ask,
            later=functools.partial(engine.call_later, RETRY_S),
            pools=Pools.of(fqcn, config, engine.starter),
            buffers=BufferPool(config.idle_buffer_bytes, self._on_memory_returned),
            starter=engine.starter,
            descriptors=engine.descriptors,
            gangway=engine.gangway,
            notifier=self.notifier,
            futures=self._futures,
            make_future=make_future,
            failures=FailureCounts(),
            traffic=Traffic(),
            log=log,
            stream_log=trace.stream_log(fqcn),
        )
        link_log = trace.link_log(fqcn)
        # Who asks the application whether a stream may open, if it wants to be asked.
        self._doorkeeper = None if settings.admit is None else Doorkeeper(self._context, settings.admit, link_log)
        self.sends = Sends(self._context)
        self.requests = Requests(self._context, callbacks.requests, self.sends)
        self._registered = callbacks.streams
        self._incomings = incomings = Incomings(self._context, callbacks.streams)
        self._receives = Receives(
            {
                StreamKind.STREAM: incomings.open_stream,
                StreamKind.BLOB: incomings.open_stream,
                StreamKind.REQUEST: self.requests.open_request,
                StreamKind.REPLY: self.requests.open_reply,
            },
            self._context.traffic,
            self._doorkeeper,
            self.core.fail_receive,
        )
        self.neighbours = Neighbours(callbacks.links, self.notifier, self._futures, link_log)
        tokens = self._make_tokens(engine, link_log)
        if tokens is not None:
            self._network = network = tokens.on(network)
        self._tokens = tokens
        self._lanes = Lanes(self._context, network, self, link_log)
        self.peers = Peers(self.core, self._lanes)
        file = None if tokens is None else tokens.file
        self._sealing = Sealing(settings.credentials, self._context, link_log)
        self.security = Security(settings.credentials, rules, file, self._context, self._lanes, network, self._sealing)
        self.questions = Questions(self._context)
        self._connect_stepper()
        self._registered.on_registered = lambda: self.stepper.post(self._claim_streams)

    def _make_tokens(self, engine: Engine, log: trace.CellLog) -> CellTokens | None:
        settings = self._settings
        if settings.token is None and settings.authenticate is None:
            return None
        return CellTokens(settings.fqcn, settings.token, settings.connect, settings.authenticate, engine.starter, log)

    async def start(self) -> None:
        """Listen everywhere, and begin to dial.

        Raises:
            CellError: it cannot listen; everything is undone.
        """
        self._engine.add_guest(self)
        try:
            await self.security.start(self)
            for url in self._settings.listen:
                self._listeners.append(await self._listen(url))
        except BaseException:
            await self.close()
            raise
        self.listen_urls = tuple(listener.url for listener in self._listeners)
        self._engine.residents.add(self._resident)
        if self._settings.connect:
            self.step(self._add_uplink)

    async def stop(self, grace_s: float) -> None:
        """Let open sends, and streams that were read to their ends, settle for up to ``grace_s``, then end."""
        if not self.ended and grace_s > 0:
            self.stepper.watch(self._check_idle)
            self.step(self._check_idle_now)
            self.hurry(grace_s)
            try:
                async with asyncio.timeout_at(self._stop_by) as self._grace:
                    await self._idle.wait()
            except TimeoutError:
                self._context.log.info("stopping with streams that have not settled")
            self._grace = None
            self.stepper.watch(None)
        await self.close()

    def hurry(self, grace_s: float) -> None:
        """Have a stop, begun or to come, wait no longer than ``grace_s`` from now for sends."""
        self._stop_by = min(self._stop_by, self._engine.loop.time() + grace_s)
        if self._grace is not None:
            self._grace.reschedule(self._stop_by)

    async def close(self) -> None:
        """End now: streams are reset, the other cells told, listeners and lanes closed, futures settled."""
        if self.ended:
            return
        self.step(self.core.stop)
        self.security.close()
        self._sealing.close()
        await self._lanes.close()
        for listener in self._listeners:
            await listener.close()
        # What other threads have posted meanwhile meets a core that refuses.
        self.step(self.stepper.take_intents)
        self._end(ended_error(self._settings.fqcn))

    def fail(self, error: CellError) -> None:
        """End without another word, because the engine has died."""
        self._end(error)

    def leave_to_parent(self) -> None:
        """Close, in a forked child, what keeps the addresses busy at which the parent listens."""
        for listener in self._listeners:
            listener.leave_to_parent()

    def step(self, verb: Callable[[*Args, float], T], *args: *Args) -> T | None:
        """See Stepper.step."""
        return self.stepper.step(verb, *args)

    def supervise(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run a task that, if it raises, ends the cell."""
        task = self._engine.loop.create_task(coroutine, name=name)
        task.add_done_callback(self.stepper.on_task_done)
        return task

    def wait_connected(self, waiter: AnyFuture, now: float) -> None:
        """Settle ``waiter`` when the uplink is up, or never will be; have it dialled soon if it was refused."""
        self.neighbours.add_waiter(waiter)
        self.core.hurry_uplink(self._uplink_number, now)

    def check_connected(self, waited_s: float) -> None:
        """Raise unless the uplink is up.

        Raises:
            CellError: why not, after a wait of ``waited_s``.
        """
        if not self.neighbours.uplink_is_up:
            raise self._connection_error(waited_s)

    def stats(self) -> RunningStats:
        """Return a snapshot."""
        failures = self._context.failures
        return RunningStats(
            protocol=self.core.stats(),
            pools=self._context.pools.stats(),
            done_callbacks_waiting=self.notifier.waiting,
            callbacks_failed=failures.callbacks + self.notifier.failures,
            blobs_failed=failures.blobs,
            traffic=self._context.traffic.stats(),
        )

    def _connect_stepper(self) -> None:
        self.stepper.connect(
            {
                events.LaneWanted: self._lanes.on_lane_wanted,
                events.LaneDropped: self._lanes.on_lane_dropped,
                events.CellConnected: self.neighbours.on_cell_connected,
                events.CellDisconnected: self.neighbours.on_cell_disconnected,
                events.UplinkRefused: self._on_uplink_refused,
                events.UplinkEnded: self._on_uplink_ended,
                events.ProtocolBroken: self.neighbours.on_protocol_broken,
                events.SourceWanted: self.sends.on_source_wanted,
                events.SourceSeekWanted: self.sends.on_source_seek_wanted,
                events.SendProgressed: self.sends.on_send_progressed,
                events.SendPlaced: self.sends.on_send_placed,
                events.SendFinished: self.sends.on_send_finished,
                events.SendFailed: self.sends.on_send_failed,
                events.StreamOpened: self._receives.on_stream_opened,
                events.PassageAsked: self._on_passage_asked,
                events.StreamPlaced: self._receives.on_stream_placed,
                events.StreamAdopted: self._receives.on_stream_adopted,
                events.StreamAdmitted: self._receives.on_stream_admitted,
                events.DataReceived: self._receives.on_data_received,
                events.DataEnded: self._receives.on_data_ended,
                events.ReceiveFinished: self._receives.on_receive_finished,
                events.ReceiveFailed: self._receives.on_receive_failed,
                events.RequestEnded: self.requests.on_request_ended,
                events.FrameRefused: self.neighbours.on_frame_refused,
                events.AccessRefused: self.neighbours.on_access_refused,
                events.QuestionsDropped: self.neighbours.on_questions_dropped,
                events.LifeDoubted: self.neighbours.on_life_doubted,
                events.HandshakeWork: self._sealing.on_work,
                events.HandshakeOver: self._sealing.on_over,
                events.SessionBegun: self._sealing.on_begun,
                events.SessionFailed: self._sealing.on_failed,
                events.CellsListed: self.questions.on_cells_listed,
                events.RouteTraced: self.questions.on_route_traced,
                events.QueryFailed: self.questions.on_query_failed,
            },
            self._lanes.wake,
        )

    def _on_passage_asked(self, event: events.PassageAsked, now: float) -> None:
        if self._doorkeeper is not None:
            self._doorkeeper.on_passage_asked(event, now)

    def _on_uplink_ended(self, event: events.UplinkEnded, now: float) -> None:
        self._lanes.on_uplink_ended(event, now)
        self.neighbours.on_uplink_ended(event, now)

    def _connection_error(self, waited_s: float) -> CellError:
        refusal, plan, fqcn = self.neighbours.refusal, self._uplink_plan, self._settings.fqcn
        answering, greeting, reason = (
            ("", "", "") if plan is None else (plan.answering, plan.greeting, plan.last_failure)
        )
        if refusal is not None:
            return refusal
        if answering:
            return not_accepted_error(fqcn, answering, waited_s)
        if greeting:
            return not_greeted_error(fqcn, greeting, self._settings.config.hello_timeout_s, waited_s)
        return not_connected_error(fqcn, self._settings.connect, reason, waited_s)

    async def _listen(self, url: str) -> Listener:
        try:
            return await self._network.listen(url, self._lanes.on_lane_arrived, insecure=self._settings.insecure)
        except AddressInUse as error:
            resident = self._engine.residents.listening_at(url)
            if resident is None:
                raise
            raise LinkError(
                f"cannot listen at {error.where}: Address already in use by cell '{resident.fqcn}' of this process; "
                "stop that one first (streamcell.running_cells() gives it), or choose another address"
            ) from error

    def _on_uplink_refused(self, event: events.UplinkRefused, now: float) -> None:
        """Say where the other cell of this name is, if it is in this process."""
        error = event.error
        if isinstance(error, NameInUse) and self._engine.residents.namesake(self._resident) is not None:
            sentence = (
                f"{error.sentence}; this process runs another cell '{self._settings.fqcn}': "
                "streamcell.running_cells() gives it"
            )
            event = dataclasses.replace(event, error=NameInUse(sentence, error.code, error.fault))
        self.neighbours.on_uplink_refused(event, now)

    def _add_uplink(self, now: float) -> None:
        urls = self._settings.connect
        self._uplink_number = self.core.add_uplink(now, len(urls))
        self._uplink_plan = self._lanes.add_uplink(self._uplink_number, urls)

    def _claim_streams(self, now: float) -> None:
        """Open what goes on after a restart and was waiting for a callback."""
        for event in self._incomings.take_unclaimed():
            self._receives.open(event, now)

    def _check_idle_now(self, _now: float) -> None:
        """Do nothing: every step is followed by a look at what is open."""

    def _check_idle(self) -> None:
        if self.core.open_sends() == 0 and self.core.unreleased_receives() == 0:
            self._idle.set()

    def _on_memory_returned(self) -> None:
        """See to it that memory is not kept for long without use. In any thread, in a destructor perhaps."""
        self._engine.wake(self._arm_trim)

    def _arm_trim(self) -> None:
        if self._trim_timer is not None:
            self._trim_timer.cancel()
        self._trim_timer = None
        if not self.ended:
            self._trim_timer = self._engine.loop.call_later(IDLE_S, self._context.buffers.trim)

    def _on_broken(self, error: CellError) -> None:
        self._end(error)
        self._idle.set()
        task = self._engine.loop.create_task(self._abandon())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _abandon(self) -> None:
        """Close what a broken core has left open."""
        self._lanes.abort()
        await self._lanes.close()
        for listener in self._listeners:
            await listener.close()

    def _end(self, error: CellError) -> None:
        if self.ended:
            return
        self.ended = True
        self._registered.on_registered = None
        self.stepper.end()
        self._receives.close(error)
        self.sends.close()
        self._futures.close(error)
        self._context.pools.close()
        for asking in (self._doorkeeper, self._tokens):
            if asking is not None:
                asking.close()
        self._context.buffers.close()
        if self._trim_timer is not None:
            self._trim_timer.cancel()
        self.notifier.close()
        self._engine.remove_guest(self)
        self._engine.residents.remove(self._resident)
