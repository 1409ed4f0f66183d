"""Snapshots of a core for people and metrics."""

from __future__ import annotations

import dataclasses

from streamcell.protocol.links.kinds import LinkKind
from streamcell.protocol.links.link import Lane, Link
from streamcell.protocol.receiving.half import StreamReceiver
from streamcell.protocol.relaying.passing import RelayedStream
from streamcell.protocol.sending.half import StreamSender
from streamcell.protocol.tree.routes import Route


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
    is_peer: bool
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
class RelayStats:
    """A stream between other cells that passes through. Offsets in bytes.

    ``granted``: how far the previous hop may send. ``held_bytes``: what waits here for its turn.
    """

    stream_id: int
    origin: str
    target: str
    state: str
    attempt: int
    forwarded: int
    credit: int
    granted: int
    held_bytes: int
    window_bytes: int


@dataclasses.dataclass(frozen=True, slots=True)
class RouteStats:
    """A cell below this one. ``via``: the neighbour that it is behind. ``confirmed``: it may use its name."""

    fqcn: str
    incarnation: int
    epoch: int
    via: str
    path: tuple[str, ...]
    confirmed: bool


@dataclasses.dataclass(frozen=True, slots=True)
class CellStats:
    """A whole cell. Byte counts are of payload, since the cell was made."""

    fqcn: str
    incarnation: int
    links: tuple[LinkStats, ...]
    sends: tuple[SendStats, ...]
    receives: tuple[ReceiveStats, ...]
    relays: tuple[RelayStats, ...]
    routes: tuple[RouteStats, ...]
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
    handovers: int
    corrupt_chunks: int
    bytes_relayed: int
    frames_refused: int


def lane_stats(lane: Lane) -> LaneStats:
    """Return a snapshot of a lane."""
    return LaneStats(lane.number, lane.role.name.lower(), lane.state.name.lower(), lane.address)


def link_stats(link: Link) -> LinkStats:
    """Return a snapshot of a link."""
    lanes = tuple(lane_stats(lane) for lane in link.lanes.values())
    is_parent, is_shortcut = link.kind is LinkKind.PARENT, link.kind is LinkKind.SHORTCUT
    return LinkStats(link.fqcn, link.incarnation, link.address, is_parent, is_shortcut, link.last_break, lanes)


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
        spec.description.size,
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
        receiver.progress.size,
        receiver.progress.received,
        receiver.progress.consumed,
        receiver.allowance.allowed_to_previous,
        receiver.allowance.window.size,
    )


def relay_stats(stream: RelayedStream) -> RelayStats:
    """Return a snapshot of a stream that passes through."""
    return RelayStats(
        stream.key.stream_id,
        stream.key.origin,
        stream.target,
        stream.state.name.lower(),
        stream.attempt,
        stream.branch.forwarded,
        stream.branch.allowed_by_next,
        stream.allowed_to_previous,
        stream.held_bytes,
        stream.window_bytes,
    )


def route_stats(route: Route) -> RouteStats:
    """Return a snapshot of a route."""
    return RouteStats(route.fqcn, route.incarnation, route.epoch, route.link.fqcn, route.path, route.confirmed)
