"""Cores joined by lists of frames, in virtual time: what the tests of the core drive."""

from __future__ import annotations

import dataclasses
import hashlib
import random
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any, TypeVar

import crc32c

from streamcell.config import CellConfig
from streamcell.errors import CellError, ErrorCode, StreamResumeError
from streamcell.limits import KIB
from streamcell.protocol.cell import CellCore
from streamcell.protocol.context import Context
from streamcell.protocol.events import (
    DataEnded,
    DataReceived,
    Event,
    LaneDropped,
    LaneWanted,
    ReceiveFailed,
    ReceiveFinished,
    RequestEnded,
    SendFailed,
    SendFinished,
    SendProgressed,
    SourceSeekWanted,
    SourceWanted,
    StreamAdmitted,
    StreamAdopted,
    StreamOpened,
    StreamPlaced,
    UplinkRefused,
)
from streamcell.protocol.frames import Frame, LaneRole, Payload, StreamKey, StreamKind
from streamcell.protocol.lanes import LOOP_LANE
from streamcell.protocol.sender import SendSpec
from streamcell.protocol.stats import LinkStats

EventT = TypeVar("EventT", bound=Event)
FrameT = TypeVar("FrameT", bound=Frame)

# One end of a lane: the cell's name and its number for the lane.
End = tuple[str, int]
# The other end of a lane of which one end only is left.
NOWHERE: End = ("", 0)


def checksum(data: Payload, value: int) -> int:
    return crc32c.crc32c(data, value)


def make_context(fqcn: str = "me", incarnation: int = 1, **config: Any) -> Context:
    return Context(fqcn, incarnation, CellConfig(**config), checksum, random.Random(incarnation).getrandbits)


def make_spec(target: str = "server", kind: StreamKind = StreamKind.BLOB, **fields: Any) -> SendSpec:
    given: dict[str, Any] = {
        "channel": "c",
        "topic": "t",
        "size": None,
        "idle_timeout_s": 300.0,
        "unreachable_timeout_s": 120.0,
    }
    given.update(fields)
    return SendSpec(target=target, kind=kind, **given)


def pattern(size: int) -> bytes:
    """Bytes that show when one is missing, twice, or out of place."""
    return random.Random(size).randbytes(size)


def digest_of(data: bytes) -> str:
    """The digest of some bytes, as it travels."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Node:
    """A core, the lanes it has, and what an application on it saw.

    By itself the application accepts every stream, reads all of it at once and releases it. Each of these can be
    switched off, or done by ``on_opened``. Of a stream that awaits an offset it wants what ``choose`` says (None: it
    does not say): by itself all of it. ``data`` holds what it was given, behind what it had before if it chose to go
    on from there.
    """

    def __init__(self, net: Net, fqcn: str, incarnation: int, config: CellConfig) -> None:
        self.net = net
        self.fqcn = fqcn
        self.incarnation = incarnation
        self.config = config
        self.core = CellCore(
            fqcn=fqcn,
            incarnation=incarnation,
            config=config,
            checksum=checksum,
            random_bits=random.Random(incarnation).getrandbits,
            software="test",
        )
        self.dials: dict[int, str] = {}
        self.peers: set[int] = set()
        self.seen: list[Event] = []
        self.data: dict[StreamKey, bytearray] = defaultdict(bytearray)
        self.opened: dict[StreamKey, StreamOpened] = {}
        # What the application has of a stream from an earlier life, and where it wants it to go on.
        self.had: dict[StreamKey, bytes] = {}
        self.choose: Callable[[StreamOpened], int | None] | None = None
        self.proves = False
        self.contents: dict[int, bytes] = {}
        self.seekable = True
        self.on_seek: Callable[[SourceSeekWanted], None] | None = None
        self.sources: dict[int, deque[bytes]] = {}
        self.wanted: dict[int, int] = {}
        self.digests: dict[int, str] = {}
        self.auto_accept = True
        self.auto_read = True
        self.auto_release = True
        self.slow: set[StreamKey] = set()
        self.answer: Callable[[bytes], bytes] | None = None
        self.on_opened: Callable[[StreamOpened], None] | None = None

    # What an application does.

    def connect(self, listener: str) -> int:
        """Dial the parent."""
        number = self.core.add_uplink(self.net.now)
        self.dials[number] = listener
        return number

    def connect_peer(self, listener: str) -> int:
        """Dial a cell to which there shall be a peer link."""
        number = self.core.add_peer(self.net.now)
        self.dials[number] = listener
        self.peers.add(number)
        return number

    def send(
        self,
        target: str,
        data: bytes | None,
        *,
        kind: StreamKind = StreamKind.BLOB,
        piece: int = 1 << 30,
        end: bool = True,
        source_digest: str = "",
        **fields: Any,
    ) -> int:
        """Send ``data``: a stream in pieces as the core asks for them, anything else at once."""
        fields.setdefault("size", None if data is None else len(data))
        stream_id = self.core.open_stream(make_spec(target, kind, **fields), self.net.now)
        self._feed(stream_id, data, kind, piece=piece, end=end, digest=source_digest)
        return stream_id

    def stream(self, target: str, data: bytes | None, **fields: Any) -> int:
        return self.send(target, data, kind=StreamKind.STREAM, **fields)

    def request(self, target: str, data: bytes, timeout_s: float = 60.0, **fields: Any) -> int:
        fields.setdefault("size", len(data))
        spec = make_spec(target, StreamKind.REQUEST, **fields)
        stream_id = self.core.open_request(spec, timeout_s, self.net.now)
        self._feed(stream_id, data, StreamKind.REQUEST, piece=1 << 30, end=True, digest="")
        return stream_id

    def reply(self, opened: StreamOpened, data: bytes, **fields: Any) -> int:
        key = opened.key
        fields = {"reply_to": key.stream_id, "reply_to_incarnation": key.origin_incarnation, **fields}
        return self.send(key.origin, data, kind=StreamKind.REPLY, **fields)

    def supply(self, stream_id: int, data: bytes, *, end: bool = False) -> None:
        self.core.supply(stream_id, [data], self.net.now)
        if end:
            self.core.end_source(stream_id, "", self.net.now)

    def accept(self, key: StreamKey, *, assemble: bool = False, reserve: bool = True) -> None:
        self.core.accept(key, assemble=assemble, reserve=reserve, now=self.net.now)

    def read(self, key: StreamKey, size: int | None = None) -> None:
        """Take the bytes that have been delivered, or those below ``size``."""
        self.core.consume(key, len(self.data[key]) if size is None else size, self.net.now)

    def _feed(
        self, stream_id: int, data: bytes | None, kind: StreamKind, *, piece: int, end: bool, digest: str
    ) -> None:
        if data is None:
            return
        now = self.net.now
        if kind is StreamKind.STREAM and end:
            self.contents[stream_id] = data
            self.sources[stream_id] = deque(data[at : at + piece] for at in range(0, len(data), piece))
            self.digests[stream_id] = digest
            return
        self.core.supply(stream_id, [data] if data else [], now)
        if end:
            self.core.end_source(stream_id, digest, now)

    # What an application sees.

    def of(self, kind: type[EventT]) -> list[EventT]:
        return [event for event in self.seen if isinstance(event, kind)]

    def key(self, stream_id: int) -> StreamKey:
        return StreamKey(self.fqcn, self.incarnation, stream_id)

    def outcomes(self, stream_id: int) -> list[SendFinished | SendFailed]:
        return [
            event
            for event in self.seen
            if isinstance(event, SendFinished | SendFailed) and event.stream_id == stream_id
        ]

    def finished(self, stream_id: int) -> bool:
        return any(isinstance(event, SendFinished) for event in self.outcomes(stream_id))

    def error(self, stream_id: int) -> CellError:
        for event in self.outcomes(stream_id):
            if isinstance(event, SendFailed):
                return event.error
        raise AssertionError(f"stream {stream_id} of {self.fqcn} has not failed")

    def request_error(self, stream_id: int) -> CellError:
        for event in self.of(RequestEnded):
            if event.stream_id == stream_id:
                return event.error
        raise AssertionError(f"request {stream_id} of {self.fqcn} has not ended")

    def replies(self, stream_id: int) -> list[bytes]:
        """Return the replies to a request that arrived whole."""
        return [
            bytes(self.data[event.key])
            for event in self.of(DataEnded)
            if (opened := self.opened.get(event.key)) is not None
            and (opened.kind, opened.reply_to) == (StreamKind.REPLY, stream_id)
        ]

    def receive_error(self, key: StreamKey) -> CellError:
        return self.failure(key).error

    def failure(self, key: StreamKey) -> ReceiveFailed:
        for event in self.of(ReceiveFailed):
            if event.key == key:
                return event
        raise AssertionError(f"{key} has not failed at {self.fqcn}")

    def got(self, key: StreamKey) -> bytes | None:
        """Return the bytes of a stream that was received completely, or None."""
        ends = [event for event in self.of(ReceiveFinished) if event.key == key]
        assert len(ends) <= 1
        return bytes(self.data[key]) if ends else None

    def ends(self) -> list[DataEnded]:
        return self.of(DataEnded)

    def progress(self, stream_id: int) -> list[int]:
        return [event.received for event in self.of(SendProgressed) if event.stream_id == stream_id]

    def refusals(self) -> list[UplinkRefused]:
        return self.of(UplinkRefused)

    @property
    def links(self) -> tuple[LinkStats, ...]:
        return self.core.stats().links

    def lane(self, role: LaneRole = LaneRole.CONTROL) -> int:
        """Return this cell's number for its newest lane of a role."""
        return self.net.lane_with_role(self.fqcn, role)

    # Events.

    def settle_events(self) -> bool:
        busy = False
        while (event := self.core.next_event()) is not None:
            busy = True
            self.seen.append(event)
            self._handle(event)
        return busy

    def _handle(self, event: Event) -> None:
        match event:
            case LaneWanted():
                self.net.dial(self, event)
            case LaneDropped():
                self.net.drop(self, event.lane_id, flush=event.flush)
            case SourceWanted():
                self.wanted[event.stream_id] = event.size_bytes
                if event.stream_id in self.sources:
                    self._supply(event)
            case SourceSeekWanted():
                self._seek(event)
            case _:
                self._handle_receiving(event)

    def _handle_receiving(self, event: Event) -> None:
        match event:
            case StreamOpened():
                self.opened[event.key] = event
                if self.on_opened is not None:
                    self.on_opened(event)
                elif self.auto_accept:
                    self.accept(event.key, assemble=event.kind is not StreamKind.STREAM)
            case StreamAdmitted() if self.auto_read:
                self.core.callback_started(event.key, self.net.now)
                self._choose(self.opened[event.key])
            case StreamPlaced():
                self.data[event.key] = bytearray(self.had.get(event.key, b"")[: event.offset])
            case StreamAdopted():
                self._rename(event.old_key, event.key)
            case DataReceived():
                self.data[event.key] += event.payload
                if self.auto_read and event.key not in self.slow and self.opened[event.key].kind is StreamKind.STREAM:
                    self.read(event.key)
            case DataEnded():
                self._end(event)

    def _choose(self, opened: StreamOpened) -> None:
        if not opened.awaits_offset:
            return
        offset = 0 if self.choose is None else self.choose(opened)
        if offset is not None:
            digest = digest_of(self.had[opened.key][:offset]) if self.proves and offset else ""
            self.core.choose_offset(opened.key, offset, digest, self.net.now)

    def _rename(self, old_key: StreamKey, key: StreamKey) -> None:
        self.data[key] = self.data.pop(old_key, bytearray())
        self.opened[key] = dataclasses.replace(self.opened.pop(old_key), key=key)
        if old_key in self.had:
            self.had[key] = self.had.pop(old_key)
        if old_key in self.slow:
            self.slow.remove(old_key)
            self.slow.add(key)

    def _seek(self, event: SourceSeekWanted) -> None:
        """Move the source of a stream that was begun with all its content."""
        if self.on_seek is not None:
            self.on_seek(event)
            return
        content = self.contents[event.stream_id]
        if not self.seekable:
            error = StreamResumeError("the source cannot go back")
            self.core.abandon_source(event.stream_id, error, self.net.now)
            return
        offset = event.offset
        if offset > len(content) or event.prefix_digest not in ("", digest_of(content[:offset])):
            offset = 0
        self.digests.setdefault(event.stream_id, "")
        self.sources[event.stream_id] = deque([content[offset:]] if content[offset:] else [])
        self.core.move_source(event.stream_id, offset, self.net.now)

    def _end(self, event: DataEnded) -> None:
        if not self.auto_release:
            return
        self.core.release(event.key, self.net.now)
        opened = self.opened[event.key]
        if opened.kind is StreamKind.REQUEST and self.answer is not None and not opened.no_reply:
            self.reply(opened, self.answer(bytes(self.data[event.key])))

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
            self.core.end_source(event.stream_id, self.digests[event.stream_id], self.net.now)
            del self.sources[event.stream_id]


class Net:
    """Lanes between nodes. Frames arrive in the order of sending, unless ``hold`` keeps those of an end back.

    ``tamper`` sees each frame with the name of its sender and returns what arrives: the frame, another, or None.
    ``cut_at`` breaks the lane under the n-th frame that any cell sends, counted from 1, so that it and what follows
    it on that lane is lost. The writers of the ends in ``stuck`` get no turn.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.nodes: dict[str, Node] = {}
        self.peers: dict[End, End] = {}
        self.roles: dict[End, LaneRole] = {}
        self.frames: dict[End, deque[Frame]] = defaultdict(deque)
        self.refuse_dials: set[str] = set()
        self.refuse_roles: set[LaneRole] = set()
        self.mute: set[str] = set()
        self.hold: set[End] = set()
        self.stuck: set[End] = set()
        self.carried: list[tuple[str, int, Frame]] = []
        self.tamper: Callable[[str, Frame], Frame | None] | None = None
        self.cut_at: set[int] = set()
        self.measure = False
        self.largest_batch = 0
        self.awake: set[End] = set()
        self._turns = 0
        self._lives = 0

    def node(self, fqcn: str, config: CellConfig | None = None, incarnation: int | None = None) -> Node:
        self._lives += 1
        number = incarnation if incarnation is not None else self._lives << 20
        node = self.nodes[fqcn] = Node(self, fqcn, number, config or CellConfig())
        return node

    def pair(self, config: CellConfig | None = None, client_config: CellConfig | None = None) -> tuple[Node, Node]:
        """Return a listener and a cell that is connected to it."""
        server, client = self.node("server", config), self.node("client", client_config or config)
        client.connect("server")
        self.run()
        return server, client

    # Lanes.

    def dial(self, node: Node, wanted: LaneWanted) -> None:
        listener = node.dials[wanted.uplink]
        if listener in self.refuse_dials or wanted.role in self.refuse_roles or listener not in self.nodes:
            node.core.lane_closed(wanted.lane_id, "refused", None, self.now)
            return
        self.join(node, wanted.lane_id, self.nodes[listener], wanted.role)

    def join(self, node: Node, lane_id: int, other: Node, role: LaneRole) -> None:
        here, there = (node.fqcn, lane_id), (other.fqcn, 0)
        there = (other.fqcn, other.core.lane_accepted(f"from-{node.fqcn}", "", self.now))
        self.peers[here], self.peers[there] = there, here
        self.roles[here] = self.roles[there] = role
        node.core.lane_connected(lane_id, f"to-{other.fqcn}", "", self.now)

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

    def restart(self, fqcn: str) -> Node:
        """End a node without a word and start it again: a new life with the same configuration and uplinks."""
        before = self.kill(fqcn)
        node = self.node(fqcn, before.config)
        for number, listener in before.dials.items():
            if number in before.peers:
                node.connect_peer(listener)
            else:
                node.connect(listener)
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
            # A frame is a value that the writer encodes: what changes later at its sender does not change it.
            self.frames[peer].append(dataclasses.replace(kept))
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
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            total += sum(len(key) + len(str(item)) for key, item in getattr(value, "headers", ()))
    return total


def refusing(code: ErrorCode, sentence: str, node: Node) -> Callable[[StreamOpened], None]:
    """Return what an application without a callback, or with one that raises, does with a stream."""
    return lambda event: node.core.reject(event.key, code, sentence, node.net.now)


SMALL = pattern(1000)
# More than an initial credit, and not a whole number of chunks.
LARGE = pattern(700 * KIB + 13)
