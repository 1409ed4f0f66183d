"""Received streams whose origin was restarted.

A stream with a resume id may go on: the next life of its origin sends it again under the same name. Until then, or
until its idle timeout, it waits here for its heir. Bytes are only put together from two lives if the source is
provably the same.
"""

from __future__ import annotations

from collections.abc import Iterator

from streamcell.errors import CellError, Fault, StreamIntegrityError, StreamResumeError
from streamcell.limits import STREAMS_IN_EXCESS, STREAMS_OF_ORIGIN
from streamcell.protocol.receiving import errors as receive_errors
from streamcell.protocol.receiving.half import StreamReceiver
from streamcell.protocol.wire.description import StreamDescription
from streamcell.protocol.wire.frames import Chunk, Open, StreamKey

# What names a transfer across lives of its origin; the target is this cell. What is sealed has names of its own: bytes
# that anybody on the way may have made up are not what it goes on from, nor the other way round.
_Name = tuple[str, str, str, str, bool]


class Orphans:
    """The receivers that wait for a new life of their origin, at most one of each name."""

    def __init__(self) -> None:
        self._by_name: dict[_Name, StreamReceiver] = {}
        self._by_key: dict[StreamKey, StreamReceiver] = {}
        # In the order in which they came.
        self._by_origin: dict[str, dict[StreamKey, StreamReceiver]] = {}

    def receivers(self) -> list[StreamReceiver]:
        """Return all of them."""
        return list(self._by_name.values())

    def find(self, key: StreamKey) -> StreamReceiver | None:
        """Return the one of this stream, if it is here."""
        return self._by_key.get(key)

    def keep(self, receiver: StreamReceiver) -> Iterator[tuple[StreamReceiver, CellError]]:
        """Keep a receiver; yield those that are not kept any more, and what they are to fail with.

        That is the one of the same name, or, of more than may be open from one origin, the one that has waited longest.
        """
        receiver.news.on_way_lost()
        key = receiver.key
        before = self._by_name.get(_name_of(receiver))
        if before is not None:
            self.discard(before)
        self._by_name[_name_of(receiver)] = receiver
        self._by_key[key] = receiver
        others = self._by_origin.setdefault(key.origin, {})
        others[key] = receiver
        if before is not None:
            yield before, receive_errors.replaced(before)
        elif len(others) > STREAMS_OF_ORIGIN + STREAMS_IN_EXCESS:
            oldest = next(iter(others.values()))
            self.discard(oldest)
            yield oldest, receive_errors.origin_restarted(oldest)

    def discard(self, receiver: StreamReceiver) -> bool:
        """Forget a receiver; return whether it was here."""
        key = receiver.key
        if self._by_key.pop(key, None) is None:
            return False
        del self._by_name[_name_of(receiver)]
        others = self._by_origin[key.origin]
        del others[key]
        if not others:
            del self._by_origin[key.origin]
        return True

    def claim(self, chunk: Chunk, opening: Open) -> StreamReceiver | None:
        """Return the receiver that a new stream is the heir of, and forget it here."""
        if not opening.awaits_offset:
            return None
        receiver = self._by_name.get(_name(chunk.key.origin, chunk.channel, chunk.topic, opening.description))
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


def _name_of(receiver: StreamReceiver) -> _Name:
    return _name(receiver.key.origin, receiver.channel, receiver.topic, receiver.description)


def _name(origin: str, channel: str, topic: str, description: StreamDescription) -> _Name:
    return origin, channel, topic, description.resume_id, description.sealed
