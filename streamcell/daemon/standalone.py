"""The standalone cell: hub, relay or file drop, from its start to its drained end.

States: made, running, draining, ended; :meth:`StandaloneCell.drain` leads from running to the end by way of draining.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import math
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from streamcell.core_cell import CoreCell
from streamcell.daemon.answers import register_answers
from streamcell.daemon.inbox import Inbox, Watcher
from streamcell.daemon.lag import LagMeter
from streamcell.daemon.readiness import Readiness
from streamcell.daemon.settings import HostPort, ServeSettings
from streamcell.errors import CellError, LinkError, UsageError
from streamcell.runtime.engine.allocator import use_one_arena
from streamcell.runtime.engine.descriptors import raise_limit
from streamcell.security.policy.policy import Policy
from streamcell.security.tokens import token_from_file, tokens_from_file
from streamcell.stream_cell import StreamCell
from streamcell.transport.grpc.network import GrpcNetwork

if TYPE_CHECKING:
    from streamcell.daemon.metrics import MetricsServer
    from streamcell.transport.grpc.services import HealthService
    from streamcell.transport.grpc.serving import Service

_logger = logging.getLogger("streamcell.daemon")

# How often files that nobody came back for are looked for.
CLEAN_EVERY_S = 3600.0
# How long the parent may be without having accepted a cell that requires it: two tries of a name that is in use, which
# after a crash is free when its holder has been asked.
UPLINK_AWAY_S = 10.0
# How often that is looked at.
_LOOK_AT_UPLINK_S = 0.5
# How often it is looked whether transfers have ended.
_LOOK_S = 0.05
# How long the threads of an inbox may take to notice that their streams have failed.
_LET_GO_S = 1.0


class StandaloneCell:
    """A cell with what a process of its own needs: inbox, answers, health, metrics.

    A context manager: at its end it is stopped, without grace if it was not drained.

    Args:
        settings: what it does.
        watcher: is told of files that arrive.

    Raises:
        UsageError: what was asked for is not installed, the policy has mistakes, or the inbox cannot be used.
    """

    def __init__(self, settings: ServeSettings, watcher: Watcher) -> None:
        use_one_arena()
        raise_limit()
        self._settings = settings
        self._health: HealthService | None = None
        services = self._make_services()
        self.cell = CoreCell(
            settings.fqcn,
            listen=settings.listen or None,
            connect=settings.connect or None,
            insecure=settings.insecure,
            tls=settings.tls,
            token=None if settings.token_file is None else token_from_file(settings.token_file),
            authenticate=None if settings.accept_tokens is None else tokens_from_file(settings.accept_tokens),
            policy=None if settings.policy is None else Policy.from_file(settings.policy),
            config=settings.config,
            network=GrpcNetwork(services, batch_threads=settings.config.batch_grpc_threads),
        )
        self._readiness = Readiness(self.cell, self._health, has_uplink=bool(settings.connect))
        self._inbox: Inbox | None = None
        if settings.inbox is not None:
            self._inbox = Inbox(settings.inbox, watcher)
            self._inbox.register(StreamCell(self.cell))
        if settings.answers:
            register_answers(self.cell)
        self._lag: LagMeter | None = None
        self._metrics: MetricsServer | None = None
        #: Where metrics are served, with the real port; None: nowhere.
        self.metrics_address: HostPort | None = None

    def start(self) -> None:
        """Start everything.

        Raises:
            LinkError: an address cannot be listened at.
            UsageError: an address is not acceptable.
        """
        self.cell.start()
        self._readiness.look()
        if self._settings.metrics is not None:
            self._start_metrics(self._settings.metrics)

    def wait_connected(self, timeout_s: float) -> None:
        """Wait for the link to the parent, if there is to be one.

        Raises:
            LinkError: it is not there after ``timeout_s``.
        """
        if self._settings.connect:
            self.cell.wait_connected(timeout_s)

    def run(self, end: threading.Event) -> None:
        """Look after the inbox until ``end`` is set.

        Raises:
            LinkError: the uplink is required, and the parent has not accepted this cell for some time.
        """
        began, began_at = time.time(), time.monotonic()
        pause_s = _LOOK_AT_UPLINK_S if self._settings.require_uplink else CLEAN_EVERY_S
        clean_at = -math.inf
        while True:
            if self._inbox is not None and time.monotonic() >= clean_at:
                # A clock that is set ahead makes no file old, and one that is set back none that comes after that.
                self._inbox.clean(min(time.time(), began + time.monotonic() - began_at))
                clean_at = time.monotonic() + CLEAN_EVERY_S
            if end.wait(pause_s):
                return
            if self._settings.require_uplink and self._readiness.away_s() > UPLINK_AWAY_S:
                raise LinkError(
                    f"{self._settings.fqcn} is not to run without its parent, which has not accepted it for "
                    f"{UPLINK_AWAY_S:g} s: {self._readiness.why_away()}"
                )

    def reload_security(self) -> bool:
        """Read certificates and policy again; return whether there are any. The log has what is wrong with them."""
        if self._settings.tls is None and self._settings.policy is None:
            return False
        with contextlib.suppress(CellError):
            self.cell.reload_security()
        return True

    def reload(self, settings: ServeSettings) -> tuple[str, ...]:
        """Take over what may change while the cell runs; return the names of what differs and needs a restart.

        What may change: the grace, the log level, and of an inbox everything but its folder.
        """
        before, self._settings = self._settings, self._settings.with_changes(settings)
        if self._inbox is not None and self._settings.inbox is not None:
            self._inbox.reload(self._settings.inbox)
        if before.log_level != settings.log_level:
            logging.getLogger().setLevel(settings.log_level)
        return self._settings.differences(settings)

    def drain(self, hurry: threading.Event) -> bool:
        """Take nothing new, let what is under way end within the grace, and stop.

        Args:
            hurry: when it is set, stop at once.

        Returns:
            Whether everything that was under way has ended well in time.
        """
        self._readiness.begin_drain()
        deadline = time.monotonic() + self._settings.grace_s
        idle = self._wait_idle(deadline, hurry)
        if not idle:
            self._give_up(hurry)
        self.stop(0.0 if hurry.is_set() else max(0.0, deadline - time.monotonic()))
        return idle

    def stop(self, grace_s: float = 0.0) -> None:
        """Stop, giving what this cell sends ``grace_s`` to end. May be called again."""
        if self._metrics is not None:
            self._metrics.stop()
            self._metrics = None
        if self._lag is not None:
            self._lag.stop()
            self._lag = None
        if self._inbox is not None:
            # Whoever stops without draining, too: no file gets its name whose sender cannot be told.
            self._inbox.give_up()
            self._inbox.wait_named(_LET_GO_S)
        self.cell.stop(grace_s)
        if self._inbox is not None and self._inbox.wait_idle(_LET_GO_S):
            self._inbox.close()
            self._inbox = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _wait_idle(self, deadline: float, hurry: threading.Event) -> bool:
        if self._inbox is not None:
            self._inbox.begin_drain()
        arriving = self._arriving()
        if arriving:
            _logger.info("draining; streams on their way here: %d", arriving)
        while arriving:
            if time.monotonic() >= deadline or hurry.wait(_LOOK_S):
                return False
            arriving = self._arriving()
        return True

    def _give_up(self, hurry: threading.Event) -> None:
        """Give up what has not arrived. What is just given its name does arrive, and its sender hears so."""
        if self._inbox is not None:
            self._inbox.give_up()
            while not self._inbox.wait_named(_LOOK_S):
                if hurry.wait(_LOOK_S):
                    break
        arriving = self._arriving()
        if arriving:
            _logger.warning("streams that had not arrived: %d; their senders can go on later", arriving)

    def _arriving(self) -> int:
        """Return how many streams arrive, up to the moment when their senders are told that they are complete."""
        return len(self.cell.stats().protocol.receives)

    def _make_services(self) -> list[Service]:
        services: list[Service] = []
        if _is_installed("grpc_health"):
            from streamcell.transport.grpc.services import HealthService

            self._health = HealthService()
            services.append(self._health)
        if self._settings.reflection:
            if not _is_installed("grpc_reflection"):
                raise _not_installed("reflection")
            from streamcell.transport.grpc.services import ReflectionService

            services.append(ReflectionService())
        return services

    def _start_metrics(self, address: HostPort) -> None:
        if not _is_installed("prometheus_client"):
            raise _not_installed("metrics")
        from streamcell.daemon.metrics import MetricsServer

        lag = LagMeter()
        lag.start()
        self._lag = lag
        metrics = MetricsServer(self.cell, lag)
        self.metrics_address = metrics.start(address)
        self._metrics = metrics


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _not_installed(what: str) -> UsageError:
    return UsageError(f"{what} needs packages that are not installed: pip install 'streamcell[daemon]'")
