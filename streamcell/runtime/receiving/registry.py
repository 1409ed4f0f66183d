"""Who is called for which channel and topic."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from streamcell.fqcn import ANY, check_callback_name
from streamcell.protocol.wire.description import StreamKind

T = TypeVar("T")

_Name = tuple[str, str]


class CallbackRegistry(Generic[T]):
    """Callbacks by channel and topic, and by the kind of stream that they are for. Safe for use by several threads.

    Looked up in the order: exact name, (channel, ``*``), (``*``, ``*``). Of two callbacks of different kinds under one
    name the wanted kind wins; if there is only the other kind, that one is found.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._callbacks: dict[_Name, dict[StreamKind, T]] = {}
        #: Called, if set, in the thread that has registered something.
        self.on_registered: Callable[[], object] | None = None

    def register(self, channel: str, topic: str, kind: StreamKind, callback: T) -> None:
        """Register ``callback``, in place of an earlier one of this name and kind.

        Raises:
            UsageError: if channel or topic is not a name.
        """
        name = (check_callback_name(channel, "channel"), check_callback_name(topic, "topic"))
        with self._lock:
            # Readers take no lock: what they can see is never changed, only replaced.
            self._callbacks[name] = {**self._callbacks.get(name, {}), kind: callback}
        on_registered = self.on_registered
        if on_registered is not None:
            on_registered()

    def unregister(self, channel: str, topic: str, kind: StreamKind) -> bool:
        """Forget the callback of this name and kind; return whether there was one.

        Raises:
            UsageError: if channel or topic is not a name.
        """
        name = (check_callback_name(channel, "channel"), check_callback_name(topic, "topic"))
        with self._lock:
            left = dict(self._callbacks.get(name, {}))
            found = left.pop(kind, None) is not None
            if left:
                self._callbacks[name] = left
            else:
                self._callbacks.pop(name, None)
        return found

    def find(self, channel: str, topic: str, kind: StreamKind) -> tuple[StreamKind, T] | None:
        """Return the callback for a stream of ``kind``, and the kind that it was registered for; None without any."""
        for name in ((channel, topic), (channel, ANY), (ANY, ANY)):
            callbacks = self._callbacks.get(name)
            if callbacks:
                found = kind if kind in callbacks else next(iter(callbacks))
                return found, callbacks[found]
        return None
