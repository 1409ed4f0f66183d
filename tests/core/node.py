"""A core with the lanes that it has, and an application on it."""

from __future__ import annotations

import dataclasses
import random
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from streamcell.config import CellConfig
from streamcell.digest import Digest
from streamcell.errors import CellError, ErrorCode, StreamResumeError
from streamcell.protocol.base.events import (
    DataEnded,
    DataReceived,
    Event,
    HandshakeOver,
    HandshakeWork,
    LaneDropped,
    LaneWanted,
    ReceiveFailed,
    ReceiveFinished,
    RequestEnded,
    SendFailed,
    SendFinished,
    SendPlaced,
    SendProgressed,
    SourceSeekWanted,
    SourceWanted,
    StreamAdmitted,
    StreamAdopted,
    StreamOpened,
    StreamPlaced,
    UplinkRefused,
)
from streamcell.protocol.cell import CellCore
from streamcell.protocol.wire.description import ReplyTo, StreamKind
from streamcell.protocol.wire.frames import LaneRole, StreamKey
from streamcell.security.policy.policy import Policy
from streamcell.security.policy.rules import PolicyRules
from streamcell.stats import LinkStats
from tests.core.samples import checksum, digest_of, make_spec
from tests.kit.fake_sealing import FakeSealer, Ledger
from tests.kit.strict_time import strict

EventT = TypeVar("EventT", bound=Event)


class Surroundings(Protocol):
    """What a node needs of the net that it is in."""

    now: float
    ledger: Ledger

    def dial(self, node: Node, wanted: LaneWanted) -> None: ...
    def drop(self, node: Node, lane_id: int, *, flush: bool) -> None: ...
    def lane_with_role(self, fqcn: str, role: LaneRole) -> int: ...


class Node:
    """A core, the lanes it has, and what an application on it saw.

    By itself the application accepts every stream, reads all of it at once and releases it. Each of these can be
    switched off, or done by ``on_opened``. Of a stream that awaits an offset it wants what ``choose`` says (None: it
    does not say): by itself all of it. ``data`` holds what it was given, behind what it had before if it chose to go
    on from there.
    """

    def __init__(
        self,
        net: Surroundings,
        fqcn: str,
        incarnation: int,
        config: CellConfig,
        policy: str | None = None,
        *,
        seals: bool = True,
        asks_passage: bool = False,
    ) -> None:
        self.rules = None if policy is None else PolicyRules(Policy.from_text(policy))
        self.net = net
        self.fqcn = fqcn
        self.incarnation = incarnation
        self.config = config
        self.core = strict(
            CellCore(
                fqcn=fqcn,
                incarnation=incarnation,
                config=config,
                checksum=checksum,
                random_bits=random.Random(incarnation).getrandbits,
                software="test",
                rules=self.rules,
                seals=seals,
                asks_passage=asks_passage,
            )
        )
        self.sealer = FakeSealer(self.core, net.ledger)
        self.dials: dict[int, tuple[str, ...]] = {}
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
        self.digests: dict[int, Digest | None] = {}
        self.auto_accept = True
        self.auto_read = True
        self.auto_release = True
        self.slow: set[StreamKey] = set()
        # Of what is read as it arrives: how far each was read, and which have all their bytes.
        self.assembled: set[StreamKey] = set()
        self.taken: dict[StreamKey, int] = {}
        self.whole: set[StreamKey] = set()
        self.answer: Callable[[bytes], bytes] | None = None
        self.on_opened: Callable[[StreamOpened], None] | None = None

    # What an application does.

    def connect(self, *listeners: str) -> int:
        """Dial the parent, at one of several places."""
        number = self.core.add_uplink(self.net.now, len(listeners))
        self.dials[number] = listeners
        return number

    def change_policy(self, text: str) -> None:
        """Have another policy count."""
        assert self.rules is not None
        self.rules.replace(Policy.from_text(text))
        self.core.on_rules_changed(self.net.now)

    def connect_peer(self, *listeners: str) -> int:
        """Dial a cell to which there shall be a peer link."""
        number = self.core.add_shortcut(self.net.now, len(listeners))
        self.dials[number] = listeners
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
        source_digest: Digest | None = None,
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
        self._feed(stream_id, data, StreamKind.REQUEST, piece=1 << 30, end=True, digest=None)
        return stream_id

    def reply(self, opened: StreamOpened, data: bytes, **fields: Any) -> int:
        key = opened.key
        fields.setdefault("sealed", opened.description.sealed)
        fields.setdefault("reply_to", ReplyTo(key.stream_id, key.origin_incarnation))
        return self.send(key.origin, data, kind=StreamKind.REPLY, **fields)

    def supply(self, stream_id: int, data: bytes, *, end: bool = False) -> None:
        self.core.supply(stream_id, [data], self.net.now)
        if end:
            self.core.end_source(stream_id, None, self.net.now)

    def accept(self, key: StreamKey, *, assemble: bool = False, reserve: bool = True) -> None:
        if assemble:
            self.assembled.add(key)
        self.core.accept(key, assemble=assemble, reserve=reserve, now=self.net.now)

    def read(self, key: StreamKey, size: int | None = None) -> None:
        """Take the bytes that have been delivered, or those below ``size``; the last one shows that all are right."""
        self.taken[key] = len(self.data[key]) if size is None else size
        self.core.consume(key, self.taken[key], self.net.now)
        self._approve(key)

    def _approve(self, key: StreamKey) -> None:
        if key in self.whole and self.taken.get(key, 0) >= len(self.data[key]):
            self.core.approve(key, self.net.now)

    def close(self, key: StreamKey) -> None:
        """Close the reader where it is."""
        self.core.close_receive(key, self.taken.get(key, 0), self.net.now)

    def _feed(
        self, stream_id: int, data: bytes | None, kind: StreamKind, *, piece: int, end: bool, digest: Digest | None
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
            and opened.description.reply_to is not None
            and opened.description.reply_to.request_id == stream_id
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

    def placements(self, stream_id: int) -> list[tuple[int, int]]:
        return [(event.offset, event.skipped) for event in self.of(SendPlaced) if event.stream_id == stream_id]

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
            case HandshakeWork() | HandshakeOver():
                self.sealer.handle(event, self.net.now)
            case _:
                self._handle_receiving(event)

    def _handle_receiving(self, event: Event) -> None:
        match event:
            case StreamOpened():
                self.opened[event.key] = event
                if self.on_opened is not None:
                    self.on_opened(event)
                elif self.auto_accept:
                    self.accept(event.key, assemble=event.description.kind is not StreamKind.STREAM)
            case StreamAdmitted() if self.auto_read:
                self.core.callback_started(event.key, self.net.now)
                self._choose(self.opened[event.key])
            case StreamPlaced():
                self.data[event.key] = bytearray(self.had.get(event.key, b"")[: event.offset])
                self.taken[event.key] = event.offset
            case StreamAdopted():
                self._rename(event.old_key, event.key)
            case DataReceived():
                self.data[event.key] += event.payload
                kind = self.opened[event.key].description.kind
                if self.auto_read and event.key not in self.slow and kind is StreamKind.STREAM:
                    self.read(event.key)
            case DataEnded():
                self._end(event)

    def _choose(self, opened: StreamOpened) -> None:
        if not opened.awaits_offset:
            return
        offset = 0 if self.choose is None else self.choose(opened)
        if offset is not None:
            digest = digest_of(self.had[opened.key][:offset]) if self.proves and offset else None
            self.core.choose_offset(opened.key, offset, digest, self.net.now)

    def _rename(self, old_key: StreamKey, key: StreamKey) -> None:
        self.data[key] = self.data.pop(old_key, bytearray())
        self.taken[key] = self.taken.pop(old_key, 0)
        if old_key in self.whole:
            self.whole.add(key)
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
        prefix = event.prefix_digest
        if offset > len(content) or not (prefix is None or prefix.matches(digest_of(content[:offset]))):
            offset = 0
        self.digests.setdefault(event.stream_id, None)
        self.sources[event.stream_id] = deque([content[offset:]] if content[offset:] else [])
        self.core.move_source(event.stream_id, offset, self.net.now)

    def _end(self, event: DataEnded) -> None:
        if event.key not in self.assembled:
            self.whole.add(event.key)
            self._approve(event.key)
        if not self.auto_release:
            return
        self.core.release(event.key, self.net.now)
        opened = self.opened[event.key]
        if (
            opened.description.kind is StreamKind.REQUEST
            and self.answer is not None
            and not opened.description.no_reply
        ):
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


def refusing(code: ErrorCode, sentence: str, node: Node) -> Callable[[StreamOpened], None]:
    """Return what an application without a callback, or with one that raises, does with a stream."""
    return lambda event: node.core.reject(event.key, code, sentence, node.net.now)


def roles(node: Node) -> list[str]:
    return [lane.role for link in node.links for lane in link.lanes]


def sending_states(node: Node) -> list[tuple[str, int]]:
    return [(send.state, send.attempt) for send in node.core.stats().sends]
