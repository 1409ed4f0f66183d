"""The parent of the hub, which is the liar this time: a listener that greets, takes every name, and then lies."""

from __future__ import annotations

import queue
import threading
from typing import Self

from tests.kit.listener import Listener

PARENT = "server"
_LOOK_EVERY_S = 0.2


class LyingParent(Listener):
    """A listener that takes the names which are announced to it. A context manager, as its base."""

    def __init__(self) -> None:
        super().__init__()
        self.fqcn = PARENT
        self.url = f"grpc://{self.address}"
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._take_names)

    def __enter__(self) -> Self:
        super().__enter__()
        self._thread.start()
        return self

    def __exit__(self, *words: object) -> None:
        self._end.set()
        self._thread.join()
        super().__exit__(*words)

    def _take_names(self) -> None:
        greeted = False
        while not self._end.is_set():
            try:
                if not greeted:
                    self.say_hello()
                    greeted = True
                announced = self.hear("announce", _LOOK_EVERY_S)
            except queue.Empty:
                continue
            self.say(
                announce_reply={
                    "fqcn": announced.fqcn,
                    "incarnation": announced.incarnation,
                    "epoch": announced.epoch,
                }
            )
