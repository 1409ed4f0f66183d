"""Cores joined by lists of frames, in virtual time: what the tests of the core drive."""

from __future__ import annotations

import random
from collections import defaultdict, deque
from collections.abc import Callable

import crc32c

from streamcell.config import CellConfig
from streamcell.protocol.cell import CellCore
from streamcell.protocol.events import (
    DataEnded,
    DataReceived,
    Event,
    LaneDropped,
    LaneWanted,
    ReceiveFailed,
    SendFailed,
    SendFinished,
    SourceWanted,
    StreamAdmitted,
    StreamOpened,
)
from streamcell.protocol.frames import Frame, Payload, StreamKey, StreamKind
from streamcell.protocol.sender import SendSpec


def checksum(data: Payload, value: int) -> int:
    return crc32c.crc32c(data, value)


class Node:
    """A core, the lanes it has, and what an application on it saw."""

    def __init__(self, net: Net, fqcn: str, incarnation: int, config: CellConfig) -> None:
        self.net = net
        self.fqcn = fqcn
        self.incarnation = incarnation
        self.random = random.Random(incarnation)
        self.core = CellCore(
            fqcn=fqcn,
            incarnation=incarnation,
            config=config,
            checksum=checksum,
            random_bits=self.random.getrandbits,
            software="test",
        )
        self.dials: dict[int, str] = {}
        self.seen: list[Event] = []
        self.data: dict[StreamKey, bytearray] = defaultdict(bytearray)
        self.opened: dict[StreamKey, StreamOpened] = {}
        self.sources: dict[int, deque[bytes]] = {}
        self.auto_accept = True
        self.auto_read = True
        self.on_opened: Callable[[Node, StreamOpened], None] | None = None

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.seen if isinstance(event, kind)]

    def connect(self, listener: str) -> int:
        self.net.uplinks[self.fqcn, len(self.dials)] = listener
        number = self.core.add_uplink(self.net.now)
        self.dials[number] = listener
        return number

    def send(
        self,
        target: str,
        data: bytes | None,
        *,
        kind: StreamKind = StreamKind.BLOB,
        channel: str = "c",
        topic: str = "t",
        piece: int = 1 << 30,
        **more: object,
    ) -> int:
        fields: dict[str, object] = {"idle_timeout_s": 300.0, "unreachable_timeout_s": 120.0}
        fields.update(more)
        if "size" not in fields:
            fields["size"] = None if data is None else len(data)
        spec = SendSpec(target=target, channel=channel, topic=topic, kind=kind, **fields)  # type: ignore[arg-type]
        now = self.net.now
        stream_id = self.core.open_stream(spec, now)
        if data is not None and kind is StreamKind.STREAM:
            self.sources[stream_id] = deque(data[at : at + piece] for at in range(0, len(data), piece))
        elif data is not None:
            self.core.supply(stream_id, [data], now)
            self.core.end_source(stream_id, "", now)
        return stream_id

    def settle_events(self) -> bool:
        busy = False
        while (event := self.core.next_event()) is not None:
            busy = True
            self.seen.append(event)
            self._handle(event)
        return busy

    def _handle(self, event: Event) -> None:
        core, now = self.core, self.net.now
        if isinstance(event, LaneWanted):
            self.net.dial(
                self, event.lane_id, self.dials.get(event.uplink) or self.net.uplinks[self.fqcn, event.uplink]
            )
        elif isinstance(event, LaneDropped):
            self.net.drop(self, event.lane_id, flush=event.flush)
        elif isinstance(event, SourceWanted) and event.stream_id in self.sources:
            self._supply(event)
        elif isinstance(event, StreamOpened):
            self.opened[event.key] = event
            if self.on_opened is not None:
                self.on_opened(self, event)
            elif self.auto_accept:
                assemble = event.kind is not StreamKind.STREAM
                core.accept(event.key, assemble=assemble, reserve=True, now=now)
        elif isinstance(event, StreamAdmitted) and self.auto_read:
            core.callback_started(event.key, now)
        elif isinstance(event, DataReceived):
            self.data[event.key] += event.payload
            if self.auto_read and self.opened[event.key].kind is StreamKind.STREAM:
                core.consume(event.key, len(self.data[event.key]), now)
        elif isinstance(event, DataEnded) and self.auto_read:
            core.release(event.key, now)

    def _supply(self, event: SourceWanted) -> None:
        pieces = self.sources[event.stream_id]
        room = event.size_bytes
        while pieces and room > 0:
            piece = pieces.popleft()
            if len(piece) > room:
                pieces.appendleft(piece[room:])
                piece = piece[:room]
            room -= len(piece)
            self.core.supply(event.stream_id, [piece], self.net.now)
        if not pieces:
            self.core.end_source(event.stream_id, "", self.net.now)

    def result(self, stream_id: int) -> SendFinished | SendFailed | None:
        for event in self.seen:
            if isinstance(event, SendFinished | SendFailed) and event.stream_id == stream_id:
                return event
        return None

    def failure(self, key: StreamKey) -> ReceiveFailed | None:
        for event in self.seen:
            if isinstance(event, ReceiveFailed) and event.key == key:
                return event
        return None


class Net:
    """Lanes between nodes. Frames arrive in the order of sending, unless ``hold`` keeps a lane's frames back."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.nodes: dict[str, Node] = {}
        self.uplinks: dict[tuple[str, int], str] = {}
        self.peers: dict[tuple[str, int], tuple[str, int]] = {}
        self.frames: dict[tuple[str, int], deque[Frame]] = defaultdict(deque)
        self.refuse_dials: set[str] = set()
        self.hold: set[tuple[str, int]] = set()
        self.carried: list[tuple[str, int, Frame]] = []
        self.tamper: Callable[[str, Frame], Frame | None] | None = None

    def node(self, fqcn: str, config: CellConfig | None = None, incarnation: int | None = None) -> Node:
        number = incarnation if incarnation is not None else (len(self.nodes) + 1) << 20
        node = self.nodes[fqcn] = Node(self, fqcn, number, config or CellConfig())
        return node

    def pair(self, config: CellConfig | None = None) -> tuple[Node, Node]:
        server, client = self.node("server", config), self.node("client", config)
        client.connect("server")
        self.run()
        return server, client

    def dial(self, node: Node, lane_id: int, listener: str) -> None:
        if listener in self.refuse_dials or listener not in self.nodes:
            node.core.lane_closed(lane_id, "refused", None, self.now)
            return
        other = self.nodes[listener]
        other_id = other.core.lane_accepted(f"from-{node.fqcn}", "", self.now)
        self.peers[node.fqcn, lane_id] = (listener, other_id)
        self.peers[listener, other_id] = (node.fqcn, lane_id)
        node.core.lane_connected(lane_id, f"to-{listener}", "", self.now)

    def drop(self, node: Node, lane_id: int, *, flush: bool) -> None:
        if flush:
            self._collect(node, lane_id)
        self.close_after_delivery(node.fqcn, lane_id)

    def close_after_delivery(self, fqcn: str, lane_id: int) -> None:
        peer = self.peers.pop((fqcn, lane_id), None)
        self.nodes[fqcn].core.lane_closed(lane_id, "closed here", None, self.now)
        if peer is not None:
            self._deliver(peer)
            self.peers.pop(peer, None)
            self.frames.pop(peer, None)
            self.frames.pop((fqcn, lane_id), None)
            self.nodes[peer[0]].core.lane_closed(peer[1], "closed there", None, self.now)

    def cut(self, fqcn: str, lane_id: int) -> None:
        """Break a lane: what is on the way is lost."""
        peer = self.peers.pop((fqcn, lane_id), None)
        self.frames.pop((fqcn, lane_id), None)
        self.nodes[fqcn].core.lane_closed(lane_id, "cut", None, self.now)
        if peer is not None:
            self.peers.pop(peer, None)
            self.frames.pop(peer, None)
            self.nodes[peer[0]].core.lane_closed(peer[1], "cut", None, self.now)

    def cut_all(self) -> None:
        for fqcn, lane_id in list(self.peers):
            if (fqcn, lane_id) in self.peers:
                self.cut(fqcn, lane_id)

    def kill(self, fqcn: str) -> None:
        """End a node without a word."""
        for name, lane_id in list(self.peers):
            if name == fqcn:
                peer = self.peers.pop((name, lane_id))
                self.peers.pop(peer, None)
                self.frames.pop(peer, None)
                self.frames.pop((name, lane_id), None)
                self.nodes[peer[0]].core.lane_closed(peer[1], "killed", None, self.now)
        del self.nodes[fqcn]

    def lanes(self, fqcn: str) -> list[int]:
        return [lane_id for name, lane_id in self.peers if name == fqcn]

    def step(self) -> bool:
        """Let every node speak once and deliver it; returns whether anything happened."""
        busy = False
        for node in list(self.nodes.values()):
            busy |= node.settle_events()
            node.core.take_ready_lanes()
            for lane_id in self.lanes(node.fqcn):
                busy |= self._collect(node, lane_id)
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
        while True:
            deadlines = [at for node in self.nodes.values() if (at := node.core.next_deadline()) is not None]
            at = min(deadlines, default=end)
            if at > end:
                break
            self.now = max(self.now, at)
            for node in list(self.nodes.values()):
                node.core.handle_timeout(self.now)
            self.run()
        self.now = end

    def _collect(self, node: Node, lane_id: int) -> bool:
        peer = self.peers.get((node.fqcn, lane_id))
        frames = node.core.frames_to_send(lane_id, self.now)
        for frame in frames:
            self.carried.append((node.fqcn, lane_id, frame))
            kept = frame if self.tamper is None else self.tamper(node.fqcn, frame)
            if peer is not None and kept is not None:
                self.frames[peer].append(kept)
        return bool(frames)

    def _deliver(self, end: tuple[str, int]) -> bool:
        if end in self.hold or not self.frames.get(end):
            return False
        frames = list(self.frames.pop(end))
        self.nodes[end[0]].core.receive(end[1], frames, self.now)
        return True
