"""Received streams whose origin was restarted.

A stream with a resume id may go on: the next life of its origin sends it again under the same name. Until then, or
until its idle timeout, it waits here for its heir. Bytes are only put together from two lives if the source is
provably the same.
"""

from __future__ import annotations

from streamcell.errors import CellError, Fault, StreamIntegrityError, StreamResumeError
from streamcell.protocol.receiving.half import StreamReceiver
from streamcell.protocol.wire.description import StreamDescription
from streamcell.protocol.wire.frames import Chunk, Open, StreamKey

# What names a transfer across lives of its origin; the target is this cell.
_Name = tuple[str, str, str, str]


class Orphans:
    """The receivers that wait for a new life of their origin, at most one of each name."""

    def __init__(self) -> None:
        self._by_name: dict[_Name, StreamReceiver] = {}
        self._by_key: dict[StreamKey, StreamReceiver] = {}

    def receivers(self) -> list[StreamReceiver]:
        """Return all of them."""
        return list(self._by_name.values())

    def find(self, key: StreamKey) -> StreamReceiver | None:
        """Return the one of this stream, if it is here."""
        return self._by_key.get(key)

    def keep(self, receiver: StreamReceiver) -> StreamReceiver | None:
        """Keep a receiver; return the one of the same name that it takes the place of, if there was one."""
        receiver.news.on_way_lost()
        name = _name(receiver.key.origin, receiver.channel, receiver.topic, receiver.description.resume_id)
        before = self._by_name.pop(name, None)
        if before is not None:
            del self._by_key[before.key]
        self._by_name[name] = receiver
        self._by_key[receiver.key] = receiver
        return before

    def discard(self, receiver: StreamReceiver) -> bool:
        """Forget a receiver; return whether it was here."""
        if self._by_key.pop(receiver.key, None) is None:
            return False
        del self._by_name[_name(receiver.key.origin, receiver.channel, receiver.topic, receiver.description.resume_id)]
        return True

    def claim(self, chunk: Chunk, opening: Open) -> StreamReceiver | None:
        """Return the receiver that a new stream is the heir of, and forget it here."""
        if not opening.awaits_offset:
            return None
        receiver = self._by_name.get(_name(chunk.key.origin, chunk.channel, chunk.topic, opening.description.resume_id))
        if receiver is not None:
            self.discard(receiver)
        return receiver


def fault_in_adopting(receiver: StreamReceiver, new: StreamDescription) -> CellError | None:
    """Return why the new stream cannot go on where the old one stands, or None if its source is the same.

    A digest says more than a stamp: a file may have been copied to another place. Sizes prove nothing, but differ.
    """
    old = receiver.description
    name = f"{receiver.key.origin} was restarted and sends {new.resume_id!r} again"
    sizes_differ = None not in (receiver.progress.size, new.size) and receiver.progress.size != new.size
    for before, now in ((old.digest, new.digest), (old.source_stamp, new.source_stamp)):
        if before and now and not sizes_differ:
            if before == now:
                return None
            break
    else:
        if not sizes_differ:
            return StreamResumeError(
                f"{name}, but neither stamp nor digest shows that the source is the same: it starts again",
                fault=Fault.ORIGIN,
            )
    return StreamIntegrityError(
        f"{name}, but its source is another one than that of the {receiver.progress.received} bytes that came "
        "before: it starts again at 0",
        fault=Fault.ORIGIN,
    )


def _name(origin: str, channel: str, topic: str, resume_id: str) -> _Name:
    return origin, channel, topic, resume_id
