"""The tokens of one cell: those that it shows, and the application's judgement about those that it is shown.

Both may be functions of the application. They are called in threads of their own kind, never on the engine, and waited
for ``ANSWER_S`` at most. What fails refuses.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable
from typing import Protocol, TypeVar, cast, runtime_checkable

from streamcell.errors import AuthenticationError, CellError, UsageError
from streamcell.fqcn import is_fqcn
from streamcell.runtime.threads.callbacks import call_user_code
from streamcell.runtime.threads.starter import ThreadStarter
from streamcell.runtime.threads.trace import CellLog
from streamcell.runtime.threads.workers import WorkerPool
from streamcell.security.identity import Identity, IdentitySource
from streamcell.security.tokens import Authenticate, Credentials, Token, TokenFile, check_token
from streamcell.transport.base import Network

T = TypeVar("T")

# What the application may take: a look into a table, or a question to a service near by.
ANSWER_S = 3.0
# Threads that ask: enough that some may wait for a slow service.
_THREADS = 8
# How many calls may be under way, those included that nobody waits for any more; who comes beyond is to come again.
_MOST_CALLS = 64


@runtime_checkable
class TokenNetwork(Protocol):
    """A network whose calls can carry tokens."""

    def with_tokens(self, tokens: CellTokens) -> Network:
        """Return the same network for a cell with tokens of its own."""


class CellTokens:
    """What one cell does about tokens. Methods are called on the engine.

    :param shown_at: the URLs of those who are shown ``token``: the parent's. Nobody else is.
    """

    def __init__(
        self,
        fqcn: str,
        token: Token | None,
        shown_at: tuple[str, ...],
        authenticate: Authenticate | None,
        starter: ThreadStarter,
        log: CellLog,
    ) -> None:
        self.fqcn = fqcn
        self._token = token
        self._shown_at = frozenset(shown_at)
        self._authenticate = authenticate
        self._log = log
        self._pool = WorkerPool(f"{fqcn}-tokens", _THREADS, starter)
        self._calls = 0

    @property
    def are_asked_for(self) -> bool:
        """Whether who dials this cell needs a token, or a certificate."""
        return self._authenticate is not None

    @property
    def file(self) -> TokenFile | None:
        """The file that says whose tokens are whose, if that is how they are judged."""
        return self._authenticate if isinstance(self._authenticate, TokenFile) else None

    @property
    def are_many(self) -> bool:
        """Whether so many callers wait for an answer that others had better come again."""
        return self._calls >= _MOST_CALLS

    def on(self, network: Network) -> Network:
        """Return a network with these tokens.

        :raises UsageError: if it has no place for them.
        """
        if not isinstance(network, TokenNetwork):
            raise UsageError(
                f"{type(network).__name__} carries no tokens: leave token and authenticate away, or use another network"
            )
        return network.with_tokens(self)

    def close(self) -> None:
        """Let the threads end as soon as they are idle."""
        self._pool.close()

    async def token_for(self, url: str, timeout_s: float) -> str:
        """Return the token to show there; empty: none. See :class:`callers.Tokens`."""
        token = self._token
        if token is None or url not in self._shown_at:
            return ""
        if isinstance(token, str):
            return token
        what = f"the function that gives the token of {self.fqcn}"
        found = await self._ask(token, what, min(timeout_s / 2, ANSWER_S))
        try:
            return check_token(found)
        except UsageError as error:
            raise AuthenticationError(f"{what} has returned something else: {error.sentence}") from error

    async def identify(self, token: str, fqcn: str, address: str, certified: Identity | None) -> Identity:
        """Return what a caller has proved. See :class:`callers.Tokens`."""
        if not token:
            if certified is None:
                raise AuthenticationError(
                    f"{self.fqcn} wants a token, and was shown none: give token=, or --token-file"
                )
            return certified
        proved = await self._judge(Credentials(token, fqcn if is_fqcn(fqcn) else "", address))
        if certified is not None and certified.name != proved.name:
            raise AuthenticationError(
                f"the token is that of {proved.name}, and the certificate that of {certified.name}: show one of them, "
                "or both of one cell"
            )
        return certified or proved

    async def _judge(self, shown: Credentials) -> Identity:
        authenticate = self._authenticate
        if authenticate is None:
            raise AuthenticationError(f"{self.fqcn} takes no tokens")
        name = await self._ask(functools.partial(authenticate, shown), f"authenticate of {self.fqcn}", ANSWER_S)
        if not isinstance(name, str) or not is_fqcn(name):
            self._log.error("authenticate has returned %.100r, which is no name of a cell: nobody is let in", name)
            raise AuthenticationError(f"{self.fqcn} cannot look at tokens now: its log says why")
        return Identity(name, IdentitySource.TOKEN)

    async def _ask(self, function: Callable[[], T], what: str, timeout_s: float) -> T:
        """Return what a function of the application returns, called in a thread.

        :raises AuthenticationError: if it raises, or has not returned in time.
        """
        if self.are_many:
            raise AuthenticationError(f"{what} has not answered {_MOST_CALLS} calls yet: it is not called again")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        self._calls += 1

        def settle(result: T | None, raised: BaseException | None) -> None:
            self._calls -= 1
            if answer.done():
                return
            if raised is None:
                answer.set_result(cast("T", result))
            elif isinstance(raised, CellError):
                answer.set_exception(AuthenticationError(raised.sentence))
            else:
                answer.set_exception(AuthenticationError(f"{what} has failed: its log says why"))

        def run() -> None:
            # Nobody may wait any more.
            result, raised = (None, None) if answer.done() else call_user_code(self._log, _level_of, what, function)
            try:
                loop.call_soon_threadsafe(settle, result, raised)
            except RuntimeError:
                # The loop has ended meanwhile, and nobody waits.
                return

        self._pool.submit(run)
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError as error:
            self._log.error("%s has not returned within %g s", what, timeout_s)
            raise AuthenticationError(f"{what} has not answered within {timeout_s:g} s") from error


def _level_of(raised: BaseException) -> int:
    """Return the level at which what was raised is logged with its traceback: a refusal is told otherwise."""
    return logging.DEBUG if isinstance(raised, CellError) else logging.ERROR
