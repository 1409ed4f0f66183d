"""What ``stats()`` of a cell returns: snapshots for people and metrics.

Bytes are bytes of payload. Offsets count them from the start of the stream.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping

from streamcell.errors import ErrorCode


class Direction(enum.StrEnum):
    """From this cell or to it."""

    SENT = "sent"
    RECEIVED = "received"


@dataclasses.dataclass(frozen=True, slots=True)
class LaneStats:
    """One lane of a link: a connection of its own for some of what the two cells say.

    Attributes:
        number: within the link; 0 until it is known.
        role: ``control`` or ``bulk``.
        state: how far it is, as a word in small letters; it carries frames while it is ``ready``.
        carrier: what carries it: ``grpc``, or ``memory`` in tests; empty until it is there.
        address: where it comes from or was dialled, in the words of what carries it.
    """

    number: int
    role: str
    state: str
    carrier: str
    address: str


@dataclasses.dataclass(frozen=True, slots=True)
class LinkStats:
    """The link to one neighbour.

    Attributes:
        fqcn: the neighbour.
        incarnation: which life of it.
        address: where it was dialled, or comes from.
        identity: what it has proved to be called; empty: nothing.
        is_uplink: whether it is the parent.
        is_peer: whether the link is a short cut to a peer, so that the neighbour is neither parent nor child.
        last_break: why a lane of it ended last, in the words of its carrier; empty if none has.
        lanes: those that there are now.
    """

    fqcn: str
    incarnation: int
    address: str
    identity: str
    is_uplink: bool
    is_peer: bool
    last_break: str
    lanes: tuple[LaneStats, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class SendStats:
    """A stream that is being sent.

    Attributes:
        stream_id: its number at this cell.
        target: the cell that it is for.
        channel: the channel that it is sent on.
        topic: the topic that it is sent on.
        state: how far it is, as a word in small letters.
        attempt: which one this is, from 1: a target that was restarted is sent it anew.
        size_bytes: of the whole; None while it is not known.
        sent: the offset up to which it was sent.
        received: the offset up to which the target has it.
        consumed: the offset up to which the target's application has taken it.
        credit: the offset up to which the next cell on the way takes it.
    """

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
    """A stream that is being received.

    Attributes:
        stream_id: its number at its origin.
        origin: the cell that sends it.
        channel: the channel that it was sent on.
        topic: the topic that it was sent on.
        state: how far it is, as a word in small letters.
        attempt: which one of its origin this is, from 1.
        size_bytes: of the whole; None while it is not known.
        received: the offset up to which it is here.
        consumed: the offset up to which the application has taken it.
        credit: the offset up to which the previous cell on the way may send it.
        window_bytes: how much may be under way, or wait here for the application.
    """

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
    """A stream between other cells that passes through.

    Attributes:
        stream_id: its number at its origin.
        origin: the cell that sends it.
        target: the cell that it is for.
        state: how far it is, as a word in small letters.
        attempt: which one of its origin this is, from 1.
        forwarded: the offset up to which it was passed on.
        credit: the offset up to which the next cell on the way takes it.
        granted: the offset up to which the previous one may send it.
        held_bytes: what waits here for its turn.
        window_bytes: how much may.
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
    """A cell below this one.

    Attributes:
        fqcn: its name.
        incarnation: which life of it.
        epoch: which of its announcements this is from; a later one counts more.
        via: the neighbour that it is behind; itself, if it is a child.
        path: the cells that its announcement came through, itself first, the neighbour last.
        confirmed: whether it may use its name.
    """

    fqcn: str
    incarnation: int
    epoch: int
    via: str
    path: tuple[str, ...]
    confirmed: bool


@dataclasses.dataclass(frozen=True, slots=True)
class CellStats:
    """What the cell does on the wire. What follows ``routes`` counts from the start of the cell, but for the last two.

    Attributes:
        fqcn: its name.
        incarnation: which life of it; another one after each start.
        links: to its neighbours.
        sends: streams that it sends, requests and replies among them.
        receives: streams that it receives, requests and replies among them.
        relays: streams between others that pass through.
        routes: the cells below.
        bytes_sent: sent, those included that were sent again.
        bytes_received: received, each byte once.
        bytes_retransmitted: those of them that were sent again.
        streams_opened: streams that were begun here.
        streams_accepted: streams of others that were taken.
        sends_finished: those of the former that have arrived.
        sends_failed: those that have not.
        receives_finished: those of the latter that were taken to their ends.
        receives_failed: those that were not.
        resumes: times that a stream of this cell was to go on after a break.
        reconnects: times that the main lane of a link was dialled again after it had ended.
        handovers: lanes that were left for a fresh one before their connections ended.
        corrupt_chunks: chunks whose checksum was wrong; they are sent again.
        bytes_relayed: passed on for others.
        frames_refused: frames of neighbours that spoke for cells which they may not speak for.
        accesses_refused: Hellos, names and attempts to send that were refused, by what was proved or by the policy.
        frames_unproven: frames about sealed streams that nothing proves, or that are not what was sealed.
        handshakes_agreed: handshakes after which this cell and another one had keys to seal with.
        handshakes_failed: those after which they had none; another one may have followed.
        handshakes: that are under way now.
        sessions: the keys that there are now; one session serves all streams of two cells, for an hour at most.
    """

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
    accesses_refused: int
    frames_unproven: int = 0
    handshakes_agreed: int = 0
    handshakes_failed: int = 0
    handshakes: int = 0
    sessions: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class PoolStats:
    """The threads of a cell for one sort of work.

    Attributes:
        name: of the pool; its threads are called so.
        max_threads: that there may be; for work of other cells half as many more where one of them holds many.
        threads: that there are.
        running: those of them that work.
        waiting: jobs that wait for one.
    """

    name: str
    max_threads: int
    threads: int
    running: int
    waiting: int

    @property
    def exhausted(self) -> bool:
        """Whether a job that is submitted now waits until another one has ended."""
        return self.running >= self.max_threads


@dataclasses.dataclass(frozen=True, slots=True)
class TrafficStats:
    """Counts since the start; streams of all kinds, requests and replies among them.

    Attributes:
        payload_bytes: sent ones that the target has confirmed, and received ones, each once. By direction and channel;
            after the first 64 channels of a direction the others are counted together as ``(other)``.
        failures: streams that failed, by direction and error code.
    """

    payload_bytes: Mapping[tuple[Direction, str], int]
    failures: Mapping[tuple[Direction, ErrorCode], int]


@dataclasses.dataclass(frozen=True, slots=True)
class RunningStats:
    """What a cell is doing, as ``stats()`` returns it.

    Attributes:
        protocol: links, streams under way, and counts of bytes and streams since the start.
        pools: the threads for callbacks, requests, sources and digests, and what waits for them.
        done_callbacks_waiting: callbacks of futures and links that wait for the notifier thread.
        callbacks_failed: callbacks of any sort that raised.
        blobs_failed: blobs that did not arrive, so that no callback was called.
        traffic: bytes by channel, and failures by code.
    """

    protocol: CellStats
    pools: tuple[PoolStats, ...]
    done_callbacks_waiting: int
    callbacks_failed: int
    blobs_failed: int
    traffic: TrafficStats
