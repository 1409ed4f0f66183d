"""How many streams may be open to one target.

Requests are counted apart from streams and blobs, so that neither can keep the other from starting. Replies are not
counted: the requests that they answer were. Beyond what any target takes of one origin nothing is opened.
"""

from __future__ import annotations

from collections import deque

from streamcell.config import CellConfig
from streamcell.limits import REQUESTS_OF_ORIGIN, STREAMS_OF_ORIGIN
from streamcell.protocol.sending.half import StreamSender
from streamcell.protocol.wire.description import StreamKind

# Found once: a member of an enumeration is found slowly before Python 3.12.
_REQUEST, _REPLY = StreamKind.REQUEST, StreamKind.REPLY


class _Slots:
    """The slots for one target and one sort of stream."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken: set[int] = set()
        self.waiting: deque[StreamSender] = deque()


class SlotTable:
    """Slots for each target; streams beyond them wait in order."""

    def __init__(self, config: CellConfig) -> None:
        self._config = config
        self._slots: dict[tuple[str, bool], _Slots] = {}

    def take(self, sender: StreamSender) -> bool:
        """Take a slot for a stream and return True, or put it in line."""
        if sender.spec.description.kind is _REPLY:
            return True
        key = self._key(sender)
        slots = self._slots.get(key)
        if slots is None:
            config = self._config
            slots = _Slots(
                min(config.max_requests_per_peer, REQUESTS_OF_ORIGIN)
                if key[1]
                else min(config.max_streams_per_peer, STREAMS_OF_ORIGIN)
            )
            self._slots[key] = slots
        if len(slots.taken) >= slots.most:
            slots.waiting.append(sender)
            return False
        slots.taken.add(sender.key.stream_id)
        return True

    def is_waiting(self, sender: StreamSender) -> bool:
        """Return whether a stream is in line."""
        slots = self._slots.get(self._key(sender))
        return slots is not None and sender in slots.waiting

    def release(self, sender: StreamSender) -> list[StreamSender]:
        """Give back a stream's slot, or its place in line, if it has one; return those that have got a slot now."""
        if sender.spec.description.kind is _REPLY:
            return []
        key = self._key(sender)
        slots = self._slots.get(key)
        if slots is None:
            return []
        if sender.key.stream_id in slots.taken:
            slots.taken.remove(sender.key.stream_id)
        elif sender in slots.waiting:
            slots.waiting.remove(sender)
        admitted = []
        while slots.waiting and len(slots.taken) < slots.most:
            following = slots.waiting.popleft()
            slots.taken.add(following.key.stream_id)
            admitted.append(following)
        if not slots.taken:
            del self._slots[key]
        return admitted

    def _key(self, sender: StreamSender) -> tuple[str, bool]:
        return sender.spec.target, sender.spec.description.kind is _REQUEST
