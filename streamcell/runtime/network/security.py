"""Certificates, tokens and policy of one cell while it runs: read again, and held against those who are linked.

Runs on the engine.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable
from typing import Protocol, TypeVar, runtime_checkable

from streamcell.errors import AuthenticationError, CellError
from streamcell.runtime.context import CellContext
from streamcell.runtime.network.lane_tasks import LaneHost
from streamcell.runtime.network.lanes import Lanes
from streamcell.runtime.network.sealing import Sealing
from streamcell.runtime.transfers import AnyFuture, fail, succeed
from streamcell.security.credentials import Credentials
from streamcell.security.policy.rules import PolicyRules
from streamcell.security.tokens import TokenFile, is_token_proof
from streamcell.transport.base import Network

T = TypeVar("T")
# What becomes of what cannot be used.
_CERTIFICATES_STAY = "the certificates of before stay in use"
_TOKENS_STAY = "the tokens of before stay in use"
_POLICY_STAYS = "the policy of before stays in use"

# Lanes that were dialled are replaced, so that each side looks at the other's certificate again, at least so often.
_ANEW_S = 3600.0
# How often the file of the tokens is looked at, if there are no certificates that say so.
_INTERVAL_S = 10.0
# Days before the end of this cell's own certificate on which the log says so.
_WARNINGS_DAYS = (30, 7, 1)


@runtime_checkable
class TLSNetwork(Protocol):
    """A network that keeps what it found out of certificates."""

    def on_credentials_changed(self) -> None:
        """There are other certificates."""


class Security:
    """What a cell does about certificates and its policy, from its start to its end.

    :param credentials: None: the cell has none.
    :param rules: the policy; None: the cell has none.
    :param tokens: the file of the tokens that it believes; None: there is none.
    """

    def __init__(
        self,
        credentials: Credentials | None,
        rules: PolicyRules | None,
        tokens: TokenFile | None,
        context: CellContext,
        lanes: Lanes,
        network: Network,
        sealing: Sealing,
    ) -> None:
        self._sealing = sealing
        self._credentials = credentials
        self._rules = rules
        self._tokens = tokens
        self._context = context
        self._lanes = lanes
        self._network = network
        self._task: asyncio.Task[None] | None = None
        # What was said last of what stays in use.
        self._reported: dict[str, str] = {}
        self._warned_days: int | None = None

    async def start(self, host: LaneHost) -> None:
        """Read the certificates, and look at them again from time to time.

        :raises AuthenticationError: if they cannot be used.
        """
        self._warn_of_idle_rules()
        credentials = self._credentials
        if credentials is not None:
            await _in_thread(credentials.reload)
            credentials.check_is_for(self._context.fqcn)
            self._warn_of_end()
        if self._tokens is not None:
            await _in_thread(self._tokens.reload)
        if credentials is not None or self._tokens is not None:
            self._task = host.supervise(self._watch(host), f"certificates of {self._context.fqcn}")

    def close(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()

    def reload(self, answer: AnyFuture, host: LaneHost) -> None:
        """Read certificates, tokens and policy again now, and end what is not believed, or not allowed, any more.

        ``answer`` gets None when that is done, at once if the cell has none of them; AuthenticationError or UsageError
        if one cannot be used, and what was before stays.
        """
        host.supervise(self._answer_reload(answer, host), f"reading what says who may do what to {self._context.fqcn}")

    async def _answer_reload(self, answer: AnyFuture, host: LaneHost) -> None:
        faults: list[CellError] = []
        for outcome, reload in (
            (_POLICY_STAYS, self._reload_policy),
            (_CERTIFICATES_STAY, self._reload_certificates),
            (_TOKENS_STAY, self._reload_tokens),
        ):
            try:
                await reload(host)
            except CellError as error:
                self._report(outcome, error.sentence)
                faults.append(error)
            else:
                self._report(outcome, "")
        self._recheck(host)
        self._context.futures.discard(answer)
        if faults:
            fail(answer, faults[0])
        else:
            succeed(answer, None)

    async def _reload_policy(self, host: LaneHost) -> None:
        rules = self._rules
        if rules is None:
            return
        policy = await _in_thread(rules.policy.read_again)
        if policy is not rules.policy:
            rules.replace(policy)
            self._context.log.info("the policy was read again, and counts from now on")
            self._warn_of_idle_rules()
            host.step(self._context.core.on_rules_changed)

    async def _reload_certificates(self, _host: LaneHost) -> None:
        if self._credentials is None:
            return
        if await _in_thread(self._credentials.reload):
            self._on_changed()

    async def _reload_tokens(self, _host: LaneHost) -> None:
        if self._tokens is not None and await _in_thread(self._tokens.reload):
            self._context.log.info("the tokens were read again, and count from now on")

    async def _watch(self, host: LaneHost) -> None:
        loop = asyncio.get_running_loop()
        anew_at = loop.time() + _ANEW_S
        interval_s = _INTERVAL_S if self._credentials is None else self._credentials.config.check_interval_s
        while True:
            await asyncio.sleep(interval_s)
            for outcome, reload in (
                (_CERTIFICATES_STAY, self._reload_certificates),
                (_TOKENS_STAY, self._reload_tokens),
            ):
                try:
                    await reload(host)
                except AuthenticationError as error:
                    self._report(outcome, error.sentence)
                else:
                    self._report(outcome, "")
            if loop.time() >= anew_at:
                anew_at = loop.time() + _ANEW_S
                self._lanes.replace_dialled()
            self._recheck(host)
            self._warn_of_end()

    def _on_changed(self) -> None:
        self._context.log.info("the certificates were read again, and count from the next connection on")
        if isinstance(self._network, TLSNetwork):
            self._network.on_credentials_changed()
        self._lanes.replace_dialled()

    def _recheck(self, host: LaneHost) -> None:
        now = dt.datetime.now(dt.UTC)
        self._lanes.deny(lambda proof: self._fault_in(proof, now))
        for lives, fault in self._sealing.recheck(now):
            peer = lives.responder if lives.initiator == self._context.fqcn else lives.initiator
            self._context.log.warning("keys for sealing with %s are dropped: %s", peer, fault)
            host.step(self._context.core.sealing.end, peer, lives.session_id)

    def _fault_in(self, proof: bytes, now: dt.datetime) -> str:
        if is_token_proof(proof):
            fault = "" if self._tokens is None else self._tokens.fault_in(proof)
            return fault and f"its token is not believed any more: {fault}"
        fault = "" if self._credentials is None else self._credentials.fault_in(proof, now)
        return fault and f"its certificate is not believed any more: {fault}"

    def _warn_of_idle_rules(self) -> None:
        if self._rules is not None:
            for warning in self._rules.policy.warnings:
                self._context.log.warning("%s", warning)

    def _report(self, outcome: str, fault: str) -> None:
        """Say in the log what cannot be used, once."""
        if fault and fault != self._reported.get(outcome):
            self._context.log.error("%s; %s", fault, outcome)
        self._reported[outcome] = fault

    def _warn_of_end(self) -> None:
        identity = self._credentials.material.identity if self._credentials is not None else None
        if identity is None or identity.expires_at is None:
            return
        left_days = (identity.expires_at - dt.datetime.now(dt.UTC).timestamp()) / 86_400
        passed = [days for days in _WARNINGS_DAYS if left_days < days]
        if passed and self._warned_days != min(passed):
            left = f"expires in {left_days:.1f} days" if left_days > 0 else "has expired"
            self._context.log.warning("the certificate of %s %s: renew it", self._context.fqcn, left)
        self._warned_days = min(passed, default=None)


async def _in_thread(reload: Callable[[], T]) -> T:
    """Read files where that may take its time; here, if there is no thread for it."""
    loop = asyncio.get_running_loop()
    try:
        return await loop.run_in_executor(None, reload)
    except RuntimeError:
        return reload()
