"""Snapshots of a core for people and metrics. Imports L0 and the smaller parts of ``protocol``."""

from __future__ import annotations

import dataclasses

from streamcell.protocol.link import Lane, Link
from streamcell.protocol.receiver import StreamReceiver
from streamcell.protocol.sender import StreamSender


@dataclasses.dataclass(frozen=True, slots=True)
class LaneStats:
    """One lane of a link."""

    number: int
    role: str
    state: str
    address: str


@dataclasses.dataclass(frozen=True, slots=True)
class LinkStats:
    """The link to one neighbour. ``last_break``: why a lane of it ended last, in the words of its carrier."""

    fqcn: str
    incarnation: int
    address: str
    is_uplink: bool
    last_break: str
    lanes: tuple[LaneStats, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class SendStats:
    """A stream that is being sent. Offsets in bytes."""

    stream_id: int
    target: str
    channel: str
    topic: str
    state: str
    attempt: int
    size_bytes: int | None
    sent: int
    received: int
    consumed: int
    credit: int


@dataclasses.dataclass(frozen=True, slots=True)
class ReceiveStats:
    """A stream that is being received. Offsets in bytes."""

    stream_id: int
    origin: str
    channel: str
    topic: str
    state: str
    attempt: int
    size_bytes: int | None
    received: int
    consumed: int
    credit: int
    window_bytes: int


@dataclasses.dataclass(frozen=True, slots=True)
class CellStats:
    """A whole cell. Byte counts are of payload, since the cell was made."""

    fqcn: str
    incarnation: int
    links: tuple[LinkStats, ...]
    sends: tuple[SendStats, ...]
    receives: tuple[ReceiveStats, ...]
    bytes_sent: int
    bytes_received: int
    bytes_retransmitted: int
    streams_opened: int
    streams_accepted: int
    sends_finished: int
    sends_failed: int
    receives_finished: int
    receives_failed: int
    resumes: int
    reconnects: int
    corrupt_chunks: int


def lane_stats(lane: Lane) -> LaneStats:
    """Return a snapshot of a lane."""
    return LaneStats(lane.number, lane.role.name.lower(), lane.state.name.lower(), lane.address)


def link_stats(link: Link) -> LinkStats:
    """Return a snapshot of a link."""
    lanes = tuple(lane_stats(lane) for lane in link.lanes.values())
    return LinkStats(link.fqcn, link.incarnation, link.address, link.uplink is not None, link.last_break, lanes)


def send_stats(sender: StreamSender) -> SendStats:
    """Return a snapshot of a sender."""
    spec = sender.spec
    return SendStats(
        sender.key.stream_id,
        spec.target,
        spec.channel,
        spec.topic,
        sender.state.name.lower(),
        sender.attempt,
        spec.size,
        sender.next_offset,
        sender.received,
        sender.consumed,
        sender.credit,
    )


def receive_stats(receiver: StreamReceiver) -> ReceiveStats:
    """Return a snapshot of a receiver."""
    return ReceiveStats(
        receiver.key.stream_id,
        receiver.key.origin,
        receiver.channel,
        receiver.topic,
        receiver.state.name.lower(),
        receiver.attempt,
        receiver.size,
        receiver.received,
        receiver.consumed,
        receiver.credit,
        receiver.window.size,
    )
