"""From the parts of a core to snapshots of them; :mod:`streamcell.stats` says what their fields mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from streamcell.protocol.base.context import Context
from streamcell.protocol.links.kinds import LinkKind
from streamcell.protocol.links.lane import Lane
from streamcell.protocol.links.link import Link
from streamcell.protocol.receiving.half import StreamReceiver
from streamcell.protocol.relaying.passing import RelayedStream
from streamcell.protocol.sealing.table import SealingTable
from streamcell.protocol.sending.half import StreamSender
from streamcell.protocol.tree.routes import Route
from streamcell.stats import CellStats, LaneStats, LinkStats, ReceiveStats, RelayStats, RouteStats, SendStats


def cell_stats(
    context: Context,
    links: Mapping[str, Link],
    senders: Iterable[StreamSender],
    receivers: Iterable[StreamReceiver],
    relayed: Iterable[RelayedStream],
    routes: Iterable[Route],
    sealing: SealingTable,
) -> CellStats:
    """Return a snapshot of a cell."""
    return CellStats(
        context.fqcn,
        context.incarnation,
        tuple(link_stats(link) for link in links.values()),
        tuple(send_stats(sender) for sender in senders),
        tuple(receive_stats(receiver) for receiver in receivers),
        tuple(relay_stats(stream) for stream in relayed),
        tuple(route_stats(route) for route in routes),
        **context.counters.snapshot(),
        handshakes=sealing.handshakes(),
        sessions=len(sealing.sessions()),
    )


def lane_stats(lane: Lane) -> LaneStats:
    """Return a snapshot of a lane."""
    carrier = lane.carrier
    return LaneStats(lane.number, lane.role.name.lower(), lane.state.name.lower(), carrier.name, carrier.address)


def link_stats(link: Link) -> LinkStats:
    """Return a snapshot of a link."""
    lanes = tuple(lane_stats(lane) for lane in link.lanes.values())
    is_parent, is_shortcut = link.kind is LinkKind.PARENT, link.kind is LinkKind.SHORTCUT
    return LinkStats(
        link.fqcn, link.incarnation, link.address, link.carrier.identity, is_parent, is_shortcut, link.last_break, lanes
    )


def send_stats(sender: StreamSender) -> SendStats:
    """Return a snapshot of a sender."""
    spec = sender.spec
    return SendStats(
        sender.key.stream_id,
        spec.target,
        spec.channel,
        spec.topic,
        sender.state.name.lower(),
        sender.attempt.number,
        spec.description.size,
        sender.attempt.next_offset,
        sender.confirmed.received,
        sender.confirmed.consumed,
        sender.attempt.allowed_by_next,
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
        stream.grant.allowed_to_previous,
        stream.held_bytes,
        stream.grant.window_bytes,
    )


def route_stats(route: Route) -> RouteStats:
    """Return a snapshot of a route."""
    return RouteStats(route.fqcn, route.incarnation, route.epoch, route.link.fqcn, route.path, route.confirmed)
