"""Cores joined by lists of frames, in virtual time: what the tests of the core drive."""

from __future__ import annotations

import dataclasses
from collections import defaultdict, deque
from collections.abc import Callable
from typing import TypeVar

from streamcell.config import CellConfig
from streamcell.protocol.base.events import LaneWanted
from streamcell.protocol.links.carrier import CarrierInfo
from streamcell.protocol.links.loop import LOOP_LANE
from streamcell.protocol.wire.frames import Frame, LaneRole, Open
from tests.core.node import Node, refusing, roles, sending_states
from tests.core.samples import (
    LARGE,
    SMALL,
    STREAMS,
    WHOLE,
    checksum,
    digest_of,
    make_context,
    make_lane,
    make_link,
    make_open,
    make_spec,
)
from tests.kit.fake_sealing import Ledger

__all__ = [
    "LARGE",
    "SMALL",
    "STREAMS",
    "WHOLE",
    "Net",
    "Node",
    "checksum",
    "digest_of",
    "frame_bytes",
    "make_context",
    "make_lane",
    "make_link",
    "make_open",
    "make_spec",
    "read_and_unreleased",
    "refusing",
    "roles",
    "sending_states",
]

FrameT = TypeVar("FrameT", bound=Frame)

# One end of a lane: the cell's name and its number for the lane.
End = tuple[str, int]
# The other end of a lane of which one end only is left.
NOWHERE: End = ("", 0)


class Net:
    """Lanes between nodes. Frames arrive in the order of sending, unless ``hold`` keeps those of an end back.

    ``tamper`` sees each frame with the name of its sender and returns what arrives: the frame, another, or None.
    ``cut_at`` breaks the lane under the n-th frame that any cell sends, counted from 1, so that it and what follows
    it on that lane is lost. The writers of the ends in ``stuck`` get no turn. ``on_dial`` answers dials instead.
    ``carriers`` says what a cell shows of itself where it dials.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.ledger = Ledger()
        self.nodes: dict[str, Node] = {}
        self.peers: dict[End, End] = {}
        self.roles: dict[End, LaneRole] = {}
        self.frames: dict[End, deque[Frame]] = defaultdict(deque)
        self.refuse_dials: set[str] = set()
        self.refuse_roles: set[LaneRole] = set()
        self.on_dial: Callable[[LaneWanted], None] | None = None
        self.mute: set[str] = set()
        self.hold: set[End] = set()
        self.stuck: set[End] = set()
        self.carried: list[tuple[str, int, Frame]] = []
        self.tamper: Callable[[str, Frame], Frame | None] | None = None
        self.cut_at: set[int] = set()
        self.measure = False
        self.largest_batch = 0
        self.awake: set[End] = set()
        self.carriers: dict[str, CarrierInfo] = {}
        self._turns = 0
        self._lives = 0

    def node(
        self,
        fqcn: str,
        config: CellConfig | None = None,
        incarnation: int | None = None,
        policy: str | None = None,
        *,
        asks_passage: bool = False,
    ) -> Node:
        self._lives += 1
        number = incarnation if incarnation is not None else self._lives << 20
        node = self.nodes[fqcn] = Node(self, fqcn, number, config or CellConfig(), policy, asks_passage=asks_passage)
        return node

    def pair(self, config: CellConfig | None = None, client_config: CellConfig | None = None) -> tuple[Node, Node]:
        """Return a listener and a cell that is connected to it."""
        server, client = self.node("server", config), self.node("client", client_config or config)
        client.connect("server")
        self.run()
        return server, client

    # Lanes.

    def dial(self, node: Node, wanted: LaneWanted) -> None:
        listener = node.dials[wanted.uplink][wanted.place]
        if self.on_dial is not None:
            self.on_dial(wanted)
            return
        if listener in self.refuse_dials or wanted.role in self.refuse_roles or listener not in self.nodes:
            node.core.lane_closed(wanted.lane_id, "refused", None, self.now)
            return
        self.join(node, wanted.lane_id, self.nodes[listener], wanted.role)

    def join(self, node: Node, lane_id: int, other: Node, role: LaneRole) -> None:
        shown = self.carriers.get(node.fqcn) or CarrierInfo("test", f"from-{node.fqcn}")
        here, there = (node.fqcn, lane_id), (other.fqcn, other.core.lane_accepted(shown, self.now))
        self.peers[here], self.peers[there] = there, here
        self.roles[here] = self.roles[there] = role
        node.core.lane_connected(lane_id, CarrierInfo("test", f"to-{other.fqcn}"), self.now)

    def drop(self, node: Node, lane_id: int, *, flush: bool) -> None:
        while flush and self._collect(node, lane_id):
            pass
        here = (node.fqcn, lane_id)
        peer = self.peers.get(here, NOWHERE)
        self._close(here, "closed here")
        if peer != NOWHERE:
            self._deliver(peer)
            self._close(peer, "closed there")

    def cut(self, fqcn: str, lane_id: int) -> None:
        """Break a lane: what is on the way is lost."""
        here = (fqcn, lane_id)
        peer = self.peers.get(here, NOWHERE)
        self._close(here, "cut")
        if peer != NOWHERE:
            self._close(peer, "cut")

    def cut_half(self, fqcn: str, lane_id: int) -> None:
        """Break a lane for one end only; the other hears nothing and does not know."""
        self.peers[self.peers[fqcn, lane_id]] = NOWHERE
        self._close((fqcn, lane_id), "cut")

    def _close(self, end: End, reason: str) -> None:
        self.peers.pop(end, None)
        self.frames.pop(end, None)
        if end[0] in self.nodes:
            self.nodes[end[0]].core.lane_closed(end[1], reason, None, self.now)

    def cut_all(self) -> None:
        for fqcn, lane_id in list(self.peers):
            if (fqcn, lane_id) in self.peers:
                self.cut(fqcn, lane_id)

    def kill(self, fqcn: str) -> Node:
        """End a node without a word."""
        node = self.nodes.pop(fqcn)
        for lane_id in self.lanes(fqcn):
            self.cut(fqcn, lane_id)
        return node

    def restart(self, fqcn: str, incarnation: int | None = None) -> Node:
        """End a node without a word and start it again: a new life with the same configuration and uplinks."""
        before = self.kill(fqcn)
        node = self.node(fqcn, before.config, incarnation)
        for number, listeners in before.dials.items():
            if number in before.peers:
                node.connect_peer(*listeners)
            else:
                node.connect(*listeners)
        return node

    def lanes(self, fqcn: str) -> list[int]:
        return [lane_id for name, lane_id in self.peers if name == fqcn]

    def lane_with_role(self, fqcn: str, role: LaneRole) -> int:
        return max(lane_id for (name, lane_id) in self.peers if name == fqcn and self.roles[name, lane_id] is role)

    def sent(self, fqcn: str, kind: type[FrameT]) -> list[FrameT]:
        """Return the frames of a kind that a cell put on its lanes."""
        return [frame for name, _, frame in self.carried if name == fqcn and isinstance(frame, kind)]

    # Time.

    def step(self) -> bool:
        """Let every node speak once and deliver it; returns whether anything happened."""
        busy = False
        for node in list(self.nodes.values()):
            busy |= node.settle_events()
            self._wake(node)
            lanes = self.lanes(node.fqcn)
            # The lanes' writers come first in turn.
            first = self._turns % len(lanes) if lanes else 0
            for lane_id in lanes[first:] + lanes[:first]:
                here = (node.fqcn, lane_id)
                if here in self.awake and here not in self.stuck:
                    busy |= self._collect(node, lane_id)
        self._turns += 1
        for end in list(self.peers):
            busy |= self._deliver(end)
        for node in list(self.nodes.values()):
            busy |= node.settle_events()
        return busy

    def run(self, most: int = 100_000) -> None:
        """Let everything happen that can happen without time going on."""
        for _ in range(most):
            if not self.step():
                return
        raise AssertionError("the cells never come to rest")

    def advance(self, seconds: float) -> None:
        """Let time go on, firing every deadline on the way."""
        end = self.now + seconds
        self.run()
        while (at := self.next_deadline()) is not None and at <= end:
            self._fire(at)
            self.run()
        self.now = end

    def run_until(self, condition: Callable[[], bool]) -> None:
        """Let things happen, one after the other, until something is so."""
        for _ in range(100_000):
            if condition():
                return
            if not self.step():
                at = self.next_deadline()
                assert at is not None, "nothing will ever happen"
                self._fire(at)
        raise AssertionError("it never came to be")

    def next_deadline(self) -> float | None:
        deadlines = [at for node in self.nodes.values() if (at := node.core.next_deadline()) is not None]
        return min(deadlines, default=None)

    def _fire(self, at: float) -> None:
        self.now = max(self.now, at)
        for node in list(self.nodes.values()):
            node.core.handle_timeout(self.now)

    def _collect(self, node: Node, lane_id: int) -> bool:
        """Do what a lane's writer does: write one batch, and sleep when there was none."""
        frames = node.core.frames_to_send(lane_id, self.now)
        if not frames:
            self.awake.discard((node.fqcn, lane_id))
        if self.measure:
            self.largest_batch = max(self.largest_batch, sum(map(frame_bytes, frames)))
        for frame in frames:
            if not self._carry(node.fqcn, lane_id, frame):
                break
        return bool(frames)

    def _wake(self, node: Node) -> None:
        for lane_id in node.core.take_ready_lanes():
            here = (node.fqcn, lane_id)
            self.awake.add(here)
            if lane_id == LOOP_LANE:
                # It ends where it begins.
                self.peers[here], self.roles[here] = here, LaneRole.CONTROL

    def _carry(self, fqcn: str, lane_id: int, frame: Frame) -> bool:
        self.carried.append((fqcn, lane_id, frame))
        peer = self.peers.get((fqcn, lane_id), NOWHERE)
        if len(self.carried) in self.cut_at:
            self._deliver(peer)
            self.cut(fqcn, lane_id)
            return False
        kept = frame if self.tamper is None else self.tamper(fqcn, frame)
        if peer != NOWHERE and kept is not None and fqcn not in self.mute:
            self.frames[peer].append(kept)
        return True

    def _deliver(self, end: End) -> bool:
        if end in self.hold or end not in self.peers or not self.frames.get(end):
            return False
        frames = list(self.frames.pop(end))
        self.nodes[end[0]].core.receive(end[1], frames, self.now)
        return True


def frame_bytes(frame: Frame) -> int:
    """Return about how many bytes a frame takes on the wire."""
    total = 0
    for field in dataclasses.fields(frame):
        value = getattr(frame, field.name)
        if isinstance(value, str | bytes | memoryview):
            total += len(value)
        elif isinstance(value, Open):
            total += sum(len(key) + len(str(item)) for key, item in value.description.headers)
    return total


def read_and_unreleased(data: bytes) -> tuple[Net, Node, Node, int]:
    """Return a listener and a cell, and the stream of the cell that the listener has read but not released."""
    net = Net()
    server, client = net.pair()
    server.auto_release = False
    stream_id = client.stream("server", data)
    net.run()
    return net, server, client, stream_id
