"""What both sorts of CoreCell are: how a cell is made, and how it sends requests."""

from __future__ import annotations

import abc
import functools
import importlib.metadata
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar, cast

from streamcell.coats.asking import Asking
from streamcell.config import CellConfig
from streamcell.errors import UsageError
from streamcell.fqcn import check_fqcn
from streamcell.future import StreamFuture
from streamcell.message import Message
from streamcell.runtime.cell.life import CellSettings
from streamcell.runtime.cell.runner import CellRunner
from streamcell.runtime.sending.specs import check_callback, check_instance
from streamcell.security.credentials import Credentials
from streamcell.security.policy.opening import Opening
from streamcell.security.policy.policy import Policy
from streamcell.security.settings import TLSConfig
from streamcell.security.tokens import Authenticate, Token, TokenFile, check_token
from streamcell.transport.address import Scheme, as_urls, parse_address
from streamcell.transport.base import Network

Reply_co = TypeVar("Reply_co", covariant=True)
Replies_co = TypeVar("Replies_co", covariant=True)
Outcomes_co = TypeVar("Outcomes_co", covariant=True)


class AnyCell(abc.ABC, Generic[Reply_co, Replies_co, Outcomes_co]):
    """A cell of either coat, which says what comes of a request: by a call that waits, or a coroutine."""

    def __init__(
        self,
        fqcn: str,
        *,
        listen: str | Iterable[str] | None = None,
        connect: str | Iterable[str] | None = None,
        tls: TLSConfig | None = None,
        insecure: bool = False,
        policy: Policy | None = None,
        authenticate: Authenticate | None = None,
        token: Token | None = None,
        admit: Callable[[Opening], object] | None = None,
        admit_relayed: bool = False,
        config: CellConfig | None = None,
        network: Network | None = None,
    ) -> None:
        """Make a cell, which does nothing before it is started.

        Args:
            fqcn: its name, for example ``site-1.job-7``.
            listen: where others can reach it: a URL or a list of them. ``grpc://host:port``, ``unix:///path``, or with
                ``tls`` ``grpcs://host:port``; port 0 takes a free one, see ``listen_urls``.
            connect: where its parent listens: a URL, or a list that is tried in turn, in an order of this cell's own,
                or as given with ``config.connect_in_order``. A host with several records is all of them.
                ``grpcs://NAME@host:port``: the certificate there has to be that of the cell NAME.
            tls: certificates, for addresses with TLS. Without it ``grpcs://`` can be dialled where the system believes
                the certificate, and nothing proves who this cell is.
            insecure: allow listening without encryption on other addresses than loopback.
            policy: who may be a neighbour of this cell, and who may send what to whom, here and through here.
                Without it whatever names allow; with it nothing that no rule allows.
            authenticate: called as ``authenticate(credentials)`` in a thread, or in the event loop, when a cell dials
                this one and shows a token: with the token, the name that the cell gives itself, and its address. It
                returns the name that the token proves, or raises AuthenticationError; whatever else it raises refuses
                as well, and so does an answer that takes more than 3 s. Who shows neither a token nor a certificate is
                refused. :func:`tokens_from_file` makes one.
            token: what to show to the parent, over TLS or within this machine; a function is called in a thread for
                each connection, and has 3 s to return it.
            admit: called as ``admit(opening)`` in a thread, or in the event loop, before a stream, blob or request of
                another cell opens here, with what is known of it. What it returns does not matter; what it raises is
                the refusal, as ``AuthenticationError("not on Mondays")``. If it raises anything but a CellError, or
                has not returned after 3 s, the stream is refused as well. Replies are not asked about.
            admit_relayed: whether ``admit`` is asked also about what comes from cells below, and only passes through.
            config: limits and timeouts.
            network: what carries lanes, for tests and for listeners with more services; gRPC if not given.

        Raises:
            UsageError: an argument is wrong.
        """
        if authenticate is not None:
            check_callback(authenticate, "authenticate")
        if token is not None and not callable(token):
            check_token(token)
        if policy is not None:
            check_instance(policy, Policy, "policy")
        if config is not None:
            check_instance(config, CellConfig, "config")
        if admit is not None:
            check_callback(admit, "admit")
        if admit_relayed and admit is None:
            raise UsageError("admit_relayed=True is of no use without admit: give the function that is to be asked")
        if tls is not None:
            check_instance(tls, TLSConfig, "tls")
        credentials = None if tls is None else Credentials(tls)
        if network is not None:
            for method in ("dial", "listen"):
                check_callback(getattr(network, method, None), f"{method} of the network")
        settings = CellSettings(
            fqcn=check_fqcn(fqcn),
            listen=as_urls(listen, "listen"),
            connect=as_urls(connect, "connect", dialled=True),
            insecure=insecure,
            config=config or CellConfig(),
            credentials=credentials,
            policy=policy,
            admit=None if admit is None else self._in_thread(admit),
            admit_relayed=admit_relayed,
            token=self._in_thread(token) if callable(token) else token,
            authenticate=self._judge_of(authenticate),
            software=f"streamcell {importlib.metadata.version('streamcell')}",
        )
        if token is not None:
            _check_hides_tokens(settings.connect)
        find_network = functools.partial(_find_network, settings.config, network, credentials)
        #: The cell itself, for the package's own modules.
        self.__streamcell__ = CellRunner(settings, StreamFuture, find_network)
        self._on_made()

    @property
    def fqcn(self) -> str:
        """The cell's name."""
        return self.__streamcell__.fqcn

    @property
    def listen_urls(self) -> list[str]:
        """Where the cell listens, with real ports; empty before the start."""
        return list(self.__streamcell__.listen_urls)

    def connect(self, url: str | Iterable[str]) -> None:
        """Keep a peer link to the cell that listens there, from now on and until :meth:`disconnect`; returns at once.

        What the two cells send each other takes this short cut while it works, and the way through the tree while it
        does not. Nothing else travels over it: it makes neither the parent of the other. Both may ask for it: one link
        serves both, and lasts until both have ended it. Where something else listens, or the cell refuses, it is
        dialled again slowly; another call has it dialled soon.

        Args:
            url: where the peer listens, or a list that is tried in turn, as the parent's.

        Raises:
            UsageError: it is no URL, or the cell is not running.
        """
        urls = as_urls(url, "url", dialled=True)
        self.__streamcell__.check_running()
        if not urls:
            raise UsageError("connect needs the address of the peer")
        self.__streamcell__.tell(lambda life, now: life.peers.connect(urls, now))

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
        traceparent: str | None = None,
    ) -> Reply_co:
        """Send a request and wait for the reply.

        Args:
            channel: the channel that the target's callback is registered for.
            topic: the topic that it is registered for.
            target: the name of the cell.
            request: headers and payload; a payload larger than a chunk must not change before this returns, unless
                ``copy`` is true.
            timeout: seconds in total; 0 for none, None for what is configured (``request_timeout_s``, 60 s).
            secure: seal it from end to end. Both ends need certificates: ``TLSConfig(ca=..., cert=..., key=...)``.
            optional: failing is normal: log it at DEBUG, and fail at once if the target is not reachable now.
            copy: take a copy of the payload at the call.
            traceparent: the span that the request belongs to, as W3C Trace Context writes it, in at most 256
                characters; the callback gets it as ``request.traceparent``.

        Returns:
            The reply; its payload is a read-only view.

        Raises:
            StreamTargetUnreachable: the target did not acknowledge the request in time.
            RequestTimeout: it did, and did not reply in time; or the request was never sent, because too many others
                to the target were under way (``max_requests_per_peer``).
            RequestFailed: its callback raised, or there is none.
            CellError: anything else that failed.
        """
        asking = Asking(
            channel=channel,
            topic=topic,
            request=request,
            timeout=timeout,
            secure=secure,
            optional=optional,
            copy=copy,
            traceparent=traceparent,
        )
        return self._ask(asking, target)

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
        traceparent: str | None = None,
    ) -> Replies_co:
        """Send a request to several cells at once and wait for all replies; see :meth:`send_request`.

        Returns:
            For each target its reply, or what failed; also that the name is none.

        Raises:
            UsageError: another argument is wrong, or the cell is not running. Nothing was sent to anybody.
        """
        asking = Asking(
            channel=channel,
            topic=topic,
            request=request,
            timeout=timeout,
            secure=secure,
            optional=optional,
            copy=copy,
            traceparent=traceparent,
        )
        return self._ask_each(asking, targets)

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
        traceparent: str | None = None,
    ) -> Outcomes_co:
        """Send a request to several cells without waiting for anything; their replies are not sent.

        A payload larger than a chunk belongs to the cell while the message is under way, and nothing tells when that
        ends: do not change it again, or have it copied with ``copy=True``.

        Returns:
            For each target None if the message was accepted here, or why not. What fails later is logged.

        Raises:
            UsageError: an argument other than one of the names is wrong, or the cell is not running.
        """
        asking = Asking(
            channel=channel,
            topic=topic,
            request=message,
            secure=secure,
            optional=optional,
            copy=copy,
            traceparent=traceparent,
        )
        return self._fire(asking, targets)

    def _judge_of(self, authenticate: Authenticate | None) -> Authenticate | None:
        # That of a file is known as what it is: it can be read again, and waits for nothing.
        if authenticate is None or isinstance(authenticate, TokenFile):
            return authenticate
        return self._in_thread(authenticate)

    def _in_thread(self, callback: Callable[..., Any]) -> Callable[..., Any]:
        """Return what a thread may call for a callback of the application."""
        return callback

    @abc.abstractmethod
    def _on_made(self) -> None:
        """Set up what this coat needs beside the cell."""

    @abc.abstractmethod
    def _ask(self, asking: Asking, target: str) -> Reply_co:
        """Begin, and wait for the reply."""

    @abc.abstractmethod
    def _ask_each(self, asking: Asking, targets: str | Iterable[str]) -> Replies_co:
        """Begin, and wait for each of the replies."""

    @abc.abstractmethod
    def _fire(self, asking: Asking, targets: str | Iterable[str]) -> Outcomes_co:
        """Begin, and wait for nothing."""


def bind(callback: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[Any], Any]:
    """Return ``callback`` with what it is called with after its first argument."""

    def call(first: Any) -> Any:
        return callback(first, *args, **kwargs)

    return call


def _check_hides_tokens(urls: Iterable[str]) -> None:
    """Check that nobody on a network can read a token that is shown there.

    :raises UsageError: if somebody can.
    """
    for url in urls:
        address = parse_address(url)
        if address.scheme is Scheme.GRPC and not address.is_loopback:
            raise UsageError(f"everybody on the way to {url} could read the token: use grpcs://, which is encrypted")


def _find_network(config: CellConfig, network: Network | None, credentials: Credentials | None) -> Network:
    """Return the network of a cell: gRPC, unless it was given another. gRPC is imported no earlier than that.

    :raises UsageError: if the cell has certificates, and its network cannot use them.
    """
    if network is None:
        from streamcell.transport.grpc.network import GrpcNetwork

        return GrpcNetwork(batch_threads=config.batch_grpc_threads, credentials=credentials)
    if credentials is None:
        return network
    with_credentials = getattr(network, "with_credentials", None)
    if with_credentials is None:
        raise UsageError(f"{type(network).__name__} has no TLS: leave tls away, or use another network")
    return cast("Network", with_credentials(credentials))
