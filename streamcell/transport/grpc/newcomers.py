"""The lanes that have arrived at a listener and were not answered yet. Whom it works on decides ``admission.py``."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Protocol

from streamcell.logs import get_logger
from streamcell.transport.admission import Admission

# How long who has said Hello is taken to be worked on at most: its answer may have to wait for another cell.
PLACE_S = 1.0
# How long nobody was sent away when a crowd is over.
_CALM_S = 10.0

_logger = get_logger("streamcell.transport")


class Newcomer(Protocol):
    """A lane that has arrived."""

    #: The address that it comes from, without the port; empty: one of this machine.
    origin: str

    def send_away(self, retry_after_s: float) -> None:
        """End it, and say when to come again."""


class Newcomers:
    """The newcomers of one listener. On the engine's loop.

    :param name: where it listens.
    """

    def __init__(self, name: Callable[[], str]) -> None:
        self._name = name
        self._admission: Admission[Newcomer] = Admission()
        self._turns: dict[Newcomer, asyncio.Future[None]] = {}
        self._timers: dict[Newcomer, asyncio.TimerHandle] = {}
        # Since a crowd began.
        self._sent_away = 0
        self._sent_away_at = 0.0

    def refuse(self, origin: str) -> float | None:
        """Return after how many seconds another one may come again; None: there is room for it."""
        now = asyncio.get_running_loop().time()
        retry_after_s = self._admission.refuse(origin, now, random.random())
        if retry_after_s is not None:
            self._note_crowd(now)
        return retry_after_s

    def on_arrival(self, newcomer: Newcomer) -> None:
        """Take in a lane for which there is room. One that says nothing may have to go for that."""
        now = asyncio.get_running_loop().time()
        mute = self._admission.on_arrival(newcomer, newcomer.origin, now)
        if mute is not None:
            self._note_crowd(now)
            mute.send_away(self._admission.tell_time(now, random.random()))

    async def wait_turn(self, newcomer: Newcomer) -> None:
        """Its Hello has come: wait until it is worked on, or has gone."""
        if self._admission.on_hello(newcomer):
            self._limit(newcomer)
            return
        self._turns[newcomer] = asyncio.get_running_loop().create_future()
        try:
            await self._turns[newcomer]
        finally:
            del self._turns[newcomer]

    def on_end(self, newcomer: Newcomer) -> None:
        """It was answered, or has gone."""
        timer = self._timers.pop(newcomer, None)
        if timer is not None:
            timer.cancel()
        self._call(newcomer)
        following = self._admission.on_end(newcomer, asyncio.get_running_loop().time())
        if following is not None:
            self._limit(following)
            self._call(following)

    def _call(self, newcomer: Newcomer) -> None:
        """Have who waits for its turn go on."""
        turn = self._turns.get(newcomer)
        if turn is not None and not turn.done():
            turn.set_result(None)

    def _limit(self, newcomer: Newcomer) -> None:
        if self._admission.holds_place(newcomer):
            self._timers[newcomer] = asyncio.get_running_loop().call_later(PLACE_S, self.on_end, newcomer)

    def _note_crowd(self, now: float) -> None:
        """Leave a trace of a crowd, once at its beginning and once when it is over."""
        if not self._sent_away:
            _logger.warning(
                "%s: more cells come than can be answered: those that are too many are told when to come again",
                self._name(),
            )
            asyncio.get_running_loop().call_later(_CALM_S, self._look_for_calm)
        self._sent_away += 1
        self._sent_away_at = now

    def _look_for_calm(self) -> None:
        loop = asyncio.get_running_loop()
        calm_at = self._sent_away_at + _CALM_S
        if loop.time() < calm_at:
            loop.call_at(calm_at, self._look_for_calm)
            return
        _logger.info("%s: the crowd is over; %d times a cell was told to come again", self._name(), self._sent_away)
        self._sent_away = 0
