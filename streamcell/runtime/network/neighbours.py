"""Who is connected, and who waits to hear of it. Runs on the engine."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from typing import Any

from streamcell.errors import CellError, LinkError
from streamcell.lines import NeighbourLog
from streamcell.protocol.base.events import (
    AccessRefused,
    CellConnected,
    CellDisconnected,
    FrameRefused,
    LifeDoubted,
    ProtocolBroken,
    QuestionsDropped,
    UplinkEnded,
    UplinkRefused,
)
from streamcell.runtime.threads.notifier import Notifier
from streamcell.runtime.threads.trace import CellLog
from streamcell.runtime.transfers import AnyFuture, OpenFutures, fail, succeed


@dataclasses.dataclass(slots=True)
class LinkCallbacks:
    """What the application wants called with the name of a neighbour. Set in any thread."""

    connected: Callable[[str], Any] | None = None
    disconnected: Callable[[str], Any] | None = None


class Neighbours:
    """The links of one cell, as the application sees them."""

    def __init__(self, callbacks: LinkCallbacks, notifier: Notifier, futures: OpenFutures, log: CellLog) -> None:
        self._callbacks = callbacks
        self._notifier = notifier
        self._futures = futures
        self._log = NeighbourLog(log)
        self._uplink_is_up = False
        self._refusal: CellError | None = None
        # What each uplink was refused with last, for the log.
        self._told: dict[int, str] = {}
        self._waiters: list[AnyFuture] = []

    @property
    def uplink_is_up(self) -> bool:
        """Whether every cell above has accepted this one."""
        return self._uplink_is_up

    @property
    def refusal(self) -> CellError | None:
        """Why the parent does not take this cell, if it said so last."""
        return self._refusal

    def add_waiter(self, waiter: AnyFuture) -> None:
        """Settle ``waiter`` when the uplink is up, or when what answers there would refuse again."""
        self._futures.discard(waiter)
        if self._uplink_is_up:
            succeed(waiter, None)
        else:
            self._futures.add(waiter)
            # A program may ask again and again: those that were given up meanwhile are forgotten here.
            waiting = [each for each in self._waiters if not each.done()]
            for given_up in set(self._waiters).difference(waiting):
                self._futures.discard(given_up)
            self._waiters = [*waiting, waiter]

    def on_cell_connected(self, event: CellConnected, now: float) -> None:
        """Tell the application."""
        proved = f", which has proved to be {event.identity}" if event.identity else ""
        self._log.log(event.fqcn, now, logging.INFO, "< connected with %s%s", event.fqcn, proved)
        if event.uplink is not None:
            self._uplink_is_up = True
            self._refusal = None
            self._told.pop(event.uplink, None)
            for waiter in self._take_waiters():
                succeed(waiter, None)
        if self._callbacks.connected is not None:
            self._notifier.post("the connected callback", self._callbacks.connected, event.fqcn)

    def on_cell_disconnected(self, event: CellDisconnected, now: float) -> None:
        """Tell the application."""
        sentence = "< %s has left" if event.left else "< the link with %s is down"
        self._log.log(event.fqcn, now, logging.INFO, sentence, event.fqcn)
        if event.uplink is not None:
            self._uplink_is_up = False
        if self._callbacks.disconnected is not None:
            callback = self._callbacks.disconnected
            self._notifier.post("the disconnected callback", callback, event.fqcn)

    def on_uplink_refused(self, event: UplinkRefused, now: float) -> None:
        """Leave a trace once, until it changes; tell those who wait, if it would be refused again."""
        who = "a peer" if event.shortcut else "the parent"
        sentence = event.error.sentence
        told, self._told[event.uplink] = self._told.get(event.uplink), sentence
        level = logging.DEBUG if told == sentence else logging.ERROR if event.firm else logging.WARNING
        self._log.log(who, now, level, "no link with %s, which is dialled again: %s", who, sentence)
        if event.shortcut:
            return
        self._refusal = event.error
        if event.firm:
            for waiter in self._take_waiters():
                fail(waiter, event.error)

    def on_uplink_ended(self, event: UplinkEnded, _now: float) -> None:
        """Forget what it was refused with."""
        self._told.pop(event.uplink, None)

    def on_protocol_broken(self, event: ProtocolBroken, now: float) -> None:
        """Leave a trace of a fault in one of the two cells. Anybody can connect and talk nonsense: that is no fault."""
        if not event.by_neighbour:
            sentence = "< %s ended the link for what this cell had sent: %s"
            self._log.log(event.fqcn, now, logging.WARNING, sentence, event.fqcn, event.sentence)
        elif event.fqcn:
            self._log.log(event.fqcn, now, logging.WARNING, "> %s is cut off: %s", event.fqcn, event.sentence)
        else:
            self._log.log("", now, logging.INFO, "> a stranger at %s is cut off: %s", event.address, event.sentence)

    def on_frame_refused(self, event: FrameRefused, now: float) -> None:
        """Leave a trace of a neighbour that sends what it may not, or not yet."""
        if event.early:
            self._log.log(
                event.fqcn,
                now,
                logging.DEBUG,
                "< %s sent a frame of %s before that name was accepted here: dropped, it comes again",
                event.fqcn,
                event.source,
            )
        elif event.about is not None:
            self._log.log(
                event.fqcn,
                now,
                logging.WARNING,
                "< %s sent a frame in which %s speaks of stream %d of %s, of which it is no end, or which goes another "
                "way: dropped, and so are others like it",
                event.fqcn,
                event.source or "nobody",
                event.about.stream_id,
                event.about.origin,
            )
        else:
            self._log.log(
                event.fqcn,
                now,
                logging.WARNING,
                "< %s sent a frame in the name of %s, which is not behind it: dropped, and so are others like it",
                event.fqcn,
                event.source,
            )

    def on_access_refused(self, event: AccessRefused, now: float) -> None:
        """Leave a trace of what somebody wants and may not have."""
        where = f" at {event.address}" if event.address else ""
        self._log.log(event.fqcn, now, logging.WARNING, "> refused to %s%s: %s", event.fqcn, where, event.sentence)

    def on_questions_dropped(self, event: QuestionsDropped, now: float) -> None:
        """Leave a trace of a neighbour behind which more is asked than is answered."""
        self._log.log(
            event.fqcn,
            now,
            logging.WARNING,
            "< more questions come by way of %s than are answered, of %s and perhaps others: the rest is dropped; look "
            "what asks there so often which cells there are, or by which way one is reached",
            event.fqcn,
            event.asker,
        )

    def on_life_doubted(self, event: LifeDoubted, now: float) -> None:
        """Leave a trace of a cell that was restarted, or of what an earlier life of it has left on the way."""
        self._log.log(
            event.fqcn,
            now,
            logging.INFO,
            "< by way of %s something came of another life of %s (%d) than the one that is known: dropped; the cell is "
            "asked which life of it there is",
            event.fqcn,
            event.source,
            event.incarnation,
        )

    def _take_waiters(self) -> list[AnyFuture]:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            self._futures.discard(waiter)
        return waiters


def not_connected_error(fqcn: str, urls: tuple[str, ...], reason: str, waited_s: float) -> LinkError:
    """Return what waiting for the uplink fails with when its time is over."""
    # The reason names the address that was dialled last.
    where = "" if reason and len(urls) == 1 else f" at {' or '.join(urls)}"
    because = f": {reason}" if reason else ""
    after = f" after {waited_s:g} s" if waited_s else ""
    return LinkError(f"{fqcn} has no link to its parent{where}{after}{because}; check that a cell listens there")


def not_greeted_error(fqcn: str, url: str, limit_s: float, waited_s: float) -> LinkError:
    """Return the same where something has taken the connection, and may say Hello yet."""
    after = f" within {waited_s:g} s" if waited_s else " yet"
    return LinkError(
        f"{url} has taken {fqcn}'s connection, but has not said Hello{after}, for which it gets {limit_s:g} s "
        f"(hello_timeout_s): it has too much to do, or is no cell; {fqcn} goes on trying, check what listens there"
    )


def not_accepted_error(fqcn: str, url: str, waited_s: float) -> LinkError:
    """Return the same where the parent is there, but could not say yet that this cell may have its name."""
    return LinkError(
        f"the cell at {url} has taken {fqcn}'s link, but has not heard within {waited_s:g} s from the cells above it "
        "whether that name is free; check that those run"
    )
