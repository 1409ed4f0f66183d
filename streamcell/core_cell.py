"""The cell of threaded programs."""

from __future__ import annotations

import functools
import importlib.metadata
import weakref
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

from streamcell.config import CellConfig
from streamcell.errors import CellError, UsageError
from streamcell.fqcn import check_fqcn
from streamcell.future import StreamFuture
from streamcell.logs import flush
from streamcell.message import Message
from streamcell.protocol.wire.description import StreamKind
from streamcell.runtime.cell.life import CellSettings
from streamcell.runtime.cell.runner import ANSWER_S, CellRunner
from streamcell.runtime.cell.stats import RunningStats
from streamcell.runtime.engine.engine import running_residents
from streamcell.runtime.requests import PendingRequest
from streamcell.runtime.sending.specs import check_callback, check_instance, check_timeout, check_wait
from streamcell.runtime.threads.waiting import answer_to, check_may_wait
from streamcell.topology import Hop, KnownCell
from streamcell.transport.address import check_can_be_dialled, parse_address
from streamcell.transport.base import Network


class CoreCell:
    """A named process that others can reach.

    Register callbacks, then :meth:`start` it, or use it as a context manager; nothing arrives earlier. A cell lives
    once: after :meth:`stop` make another one, with the same name if you like. All methods may be called in any thread.

    Args:
        fqcn: its name, for example ``site-1.job-7``.
        listen: where others can reach it: a URL or a list of them. ``grpc://host:port`` or ``unix:///path``; port 0
            takes a free one, see ``listen_urls``.
        connect: where its parent listens: a URL, or a list that is tried in turn.
        tls: not available in this version.
        insecure: allow listening without encryption on other addresses than loopback.
        policy: not available in this version.
        authenticate: not available in this version.
        config: limits and timeouts.
        network: what carries lanes, for tests and for listeners with more services; gRPC if not given.

    Raises:
        UsageError: an argument is wrong.
    """

    def __init__(
        self,
        fqcn: str,
        *,
        listen: str | Iterable[str] | None = None,
        connect: str | Iterable[str] | None = None,
        tls: object = None,
        insecure: bool = False,
        policy: object = None,
        authenticate: object = None,
        config: CellConfig | None = None,
        network: Network | None = None,
    ) -> None:
        for name, value in (("tls", tls), ("policy", policy), ("authenticate", authenticate)):
            if value is not None:
                raise UsageError(f"{name} is not available in this version of streamcell")
        if config is not None:
            check_instance(config, CellConfig, "config")
        if network is not None:
            for method in ("dial", "listen"):
                check_callback(getattr(network, method, None), f"{method} of the network")
        settings = CellSettings(
            fqcn=check_fqcn(fqcn),
            listen=as_urls(listen, "listen"),
            connect=as_urls(connect, "connect", dialled=True),
            insecure=insecure,
            config=config or CellConfig(),
            software=f"streamcell {importlib.metadata.version('streamcell')}",
        )
        find_network = functools.partial(_find_grpc_network, settings.config) if network is None else lambda: network
        #: For StreamCell and ``streamcell.aio``; not for applications.
        self.runner = CellRunner(settings, StreamFuture, find_network)
        self.runner.handle = weakref.ref(self)

    @property
    def fqcn(self) -> str:
        """The cell's name."""
        return self.runner.settings.fqcn

    @property
    def listen_urls(self) -> list[str]:
        """Where the cell listens, with real ports; empty before the start."""
        return list(self.runner.listen_urls)

    def start(self) -> None:
        """Start; returns when the cell listens. The uplink comes up later, see :meth:`wait_connected`.

        Raises:
            LinkError: it cannot listen there: host, port and reason are named. Nothing was started.
            CellError: the system refuses the process a thread or an open file (code LIMIT). Nothing was started; start
                it again when there is room.
            UsageError: it was started before, or a URL is wrong, or it was stopped while it started, by another thread
                or the handler of a signal, or this is a forked child.
        """
        answer_to(self.runner.begin_start)

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
        default = self.runner.settings.config.stop_grace_s
        stopped = self.runner.begin_stop(check_timeout(grace, "grace", default))
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
        timeout_s = check_wait(timeout, "timeout")
        check_may_wait()
        waiter = self.runner.begin_wait_connected()
        try:
            waiter.result(timeout_s)
        except TimeoutError:
            waiter.cancel()
            self.runner.end_wait_connected(timeout_s or 0.0).result()

    def is_cell_connected(self, name: str) -> bool:
        """Return whether there is a link between this cell and that one that works."""
        return bool(answer_to(self.runner.begin_is_connected, check_fqcn(name)))

    def is_cell_reachable(self, name: str) -> bool:
        """Return whether there is a way to that cell, as far as is known here."""
        return bool(answer_to(self.runner.begin_is_reachable, check_fqcn(name)))

    def connect(self, url: str | Iterable[str]) -> None:
        """Keep a peer link to the cell that listens there, from now on and until :meth:`disconnect`; returns at once.

        What the two cells send each other takes this short cut while it works, and the way through the tree while it
        does not. Nothing else travels over it: it makes neither the parent of the other. Both may ask for it: one link
        serves both, and lasts until both have ended it. Where something else listens, or the cell refuses, it is
        dialled again slowly; another call has it dialled soon.

        Args:
            url: where the peer listens, or a list that is tried in turn.

        Raises:
            UsageError: it is no URL, or the cell is not running.
        """
        self.runner.connect_peer(as_urls(url, "url", dialled=True))

    def disconnect(self, url: str | Iterable[str]) -> bool:
        """End the peer link that :meth:`connect` has made with the same argument; return whether there was one."""
        return bool(answer_to(self.runner.begin_disconnect, as_urls(url, "url")))

    def cells(self, timeout: float = ANSWER_S) -> list[KnownCell]:
        """Return every cell of the tree, this one included, by name; and the peers.

        The root of the tree is asked, since every cell is announced up to it. While the way up is broken, it is the
        cells below the break and the one just above it; here, where there is no uplink.

        Args:
            timeout: seconds to wait for the answer.

        Raises:
            StreamError: no answer in time (code TIMEOUT).
            UsageError: the cell is not running.
        """
        listed: list[KnownCell] = answer_to(self.runner.begin_cells, timeout)
        return listed

    def trace(self, target: str, timeout: float = ANSWER_S) -> list[Hop]:
        """Return the hops on the way to a cell, the nearest first and the cell itself last; empty for this cell.

        Args:
            target: the name of the cell.
            timeout: seconds to wait for all answers.

        Raises:
            StreamTargetUnreachable: a cell on the way knows no way to it; it is named.
            StreamError: a cell on the way did not answer in time (code TIMEOUT).
            UsageError: the cell is not running, or the name is none.
        """
        hops: list[Hop] = answer_to(self.runner.begin_trace, target, timeout)
        return hops

    def stats(self) -> RunningStats:
        """Return a snapshot of links, transfers, threads and counts."""
        snapshot: RunningStats = answer_to(self.runner.begin_stats)
        return snapshot

    def set_cell_connected_cb(self, cb: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Have ``cb(name, *args, **kwargs)`` called, on the cell's notifier thread, when a neighbour is there.

        A neighbour is the parent, a child or a peer. It is called when both may use their names: of a child when the
        cells above agree, of the parent when they have agreed to this cell's.
        """
        check_callback(cb, "the connected callback")
        self.runner.callbacks.links.connected = _bind(cb, args, kwargs)

    def set_cell_disconnected_cb(self, cb: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Have ``cb(name, *args, **kwargs)`` called, on the cell's notifier thread, when a neighbour is gone.

        That is when it has said so, or its link had no connection for ``link_down_s`` (30 s); not when a connection
        breaks and comes back.
        """
        check_callback(cb, "the disconnected callback")
        self.runner.callbacks.links.disconnected = _bind(cb, args, kwargs)

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
        registry = self.runner.callbacks.requests
        registry.register(channel, topic, StreamKind.REQUEST, _bind(cb, args, kwargs))

    def send_request(
        self,
        channel: str,
        topic: str,
        target: str,
        request: Message,
        timeout: float | None = None,
        secure: bool = False,
        optional: bool = False,
        *,
        copy: bool = False,
    ) -> Message:
        """Send a request and wait for the reply.

        Args:
            channel: the channel that the target's callback is registered for.
            topic: the topic that it is registered for.
            target: the name of the cell.
            request: headers and payload; a payload larger than a chunk must not change before this returns, unless
                ``copy`` is true.
            timeout: seconds in total; 0 for none, None for what is configured (``request_timeout_s``, 60 s).
            secure: seal end to end; needs certificates, which this version does not have.
            optional: failing is normal: log it at DEBUG, and fail at once if the target is not reachable now.
            copy: take a copy of the payload at the call.

        Returns:
            The reply; its payload is a read-only view.

        Raises:
            StreamTargetUnreachable: the target did not acknowledge the request in time.
            RequestTimeout: it did, and did not reply in time; or the request was never sent, because too many others
                to the target were under way (``max_requests_per_peer``).
            RequestFailed: its callback raised, or there is none.
            CellError: anything else that failed.
        """
        self.runner.check_may_wait_for_callbacks()
        pending = self.runner.begin_request(
            channel, topic, target, request, timeout, secure=secure, optional=optional, copy=copy
        )
        return self._wait_for_reply(pending)

    def broadcast_request(
        self,
        channel: str,
        topic: str,
        targets: str | Iterable[str],
        request: Message,
        timeout: float | None = None,
        secure: bool = False,
        optional: bool = False,
        *,
        copy: bool = False,
    ) -> dict[str, Message | CellError]:
        """Send a request to several cells at once and wait for all replies; see :meth:`send_request`.

        Returns:
            For each target its reply, or what failed; also that the name is none.

        Raises:
            UsageError: another argument is wrong, or the cell is not running. Nothing was sent to anybody.
        """
        self.runner.check_may_wait_for_callbacks()
        begun = self.runner.begin_broadcast(
            channel, topic, targets, request, timeout, secure=secure, optional=optional, copy=copy
        )
        try:
            return {target: self._reply_or_error(each) for target, each in begun.items()}
        except KeyboardInterrupt:
            self.runner.cancel_requests(begun.values())
            raise

    def fire_and_forget(
        self,
        channel: str,
        topic: str,
        targets: str | Iterable[str],
        message: Message,
        secure: bool = False,
        optional: bool = False,
        *,
        copy: bool = False,
    ) -> dict[str, CellError | None]:
        """Send a request to several cells without waiting for anything; their replies are not sent.

        A payload larger than a chunk belongs to the cell while the message is under way, and nothing tells when that
        ends: do not change it again, or have it copied with ``copy=True``.

        Returns:
            For each target None if the message was accepted here, or why not. What fails later is logged.

        Raises:
            UsageError: an argument other than one of the names is wrong, or the cell is not running.
        """
        return self.runner.fire(channel, topic, targets, message, secure=secure, optional=optional, copy=copy)

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
        return f"<CoreCell {self.fqcn} {self.runner.state.value}>"

    def _wait_for_reply(self, pending: PendingRequest) -> Message:
        try:
            reply: Message = pending.future.result()
        except KeyboardInterrupt:
            # Nobody waits any more.
            self.runner.cancel_requests([pending])
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
    runners = [each for each in running_residents() if isinstance(each, CellRunner)]
    return [_cell_of(runner) for runner in runners]


def _cell_of(runner: CellRunner) -> CoreCell:
    cell = runner.handle()
    if not isinstance(cell, CoreCell):
        cell = CoreCell.__new__(CoreCell)
        cell.runner = runner
        runner.handle = weakref.ref(cell)
    return cell


def as_urls(urls: object, what: str, *, dialled: bool = False) -> tuple[str, ...]:
    """Return no, one or several URLs as a tuple. ``dialled``: they are to be dialled, not listened at.

    Raises:
        UsageError: one of them is not a URL, or cannot be dialled.
    """
    if urls is None:
        return ()
    if not isinstance(urls, Iterable) or isinstance(urls, bytes):
        raise UsageError(f"{what} must be a URL or a list of them, not {urls!r:.100}")
    listed = (urls,) if isinstance(urls, str) else tuple(urls)
    for url in listed:
        try:
            address = parse_address(url)
            if dialled:
                check_can_be_dialled(address)
        except UsageError as error:
            raise UsageError(f"{what}: {error}") from None
    return listed


def _bind(callback: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[Any], Any]:
    """Return ``callback`` with what it is called with after its first argument."""

    def call(first: Any) -> Any:
        return callback(first, *args, **kwargs)

    return call


def _find_grpc_network(config: CellConfig) -> Network:
    """Return the network that cells use by themselves. gRPC is imported no earlier than that."""
    from streamcell.transport.grpc.network import GrpcNetwork

    return GrpcNetwork(batch_threads=config.batch_grpc_threads)
