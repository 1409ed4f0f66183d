"""Random histories of a star of cells in virtual time: everything breaks for a while, then it heals.

A history follows from its seed alone. While the storm lasts, nothing wrong may be seen (safety); after it, everything
must come to its end (liveness), and the cells must work as on their first day.
"""

from __future__ import annotations

import dataclasses
import random
from collections import Counter, deque
from collections.abc import Callable

from streamcell.config import CellConfig
from streamcell.errors import ErrorCode
from streamcell.limits import CORRUPT_CHUNKS, KIB
from streamcell.protocol.events import (
    ReceiveFailed,
    ReceiveFinished,
    RequestEnded,
    SourceSeekWanted,
    StreamAdopted,
    StreamOpened,
)
from streamcell.protocol.frames import Chunk, Frame, StreamKey, StreamKind
from tests.unit.protocol.harness import Net, Node, digest_of

HUB = "hub"
LEAVES = ("leaf-a", "leaf-b")
SIZES = (0, 1, 1000, 40 * KIB, 100 * KIB, 300 * KIB, 700 * KIB)
STEPS = 60
# Virtual time of the storm: below the timeouts, so that none of them is an excuse.
STORM_S = 80.0
REQUEST_S = 200.0
# What healing may take: dialling with back-off, suspects, a link that is down, and the timeouts of what was lost.
HEAL_S = 400.0


@dataclasses.dataclass(slots=True)
class Transfer:
    """One stream, blob or request, and what was done to it."""

    origin: Node
    target: str
    stream_id: int
    kind: StreamKind
    data: bytes
    # What its source has not given yet.
    left: deque[bytes]
    # What its application calls it, in every life; and what shows in every life that the source is the same.
    name: str = ""
    resume_id: str = ""
    stamp: bytes = b""
    piece: int = 1
    seeks: list[SourceSeekWanted] = dataclasses.field(default_factory=list)
    cancelled: bool = False
    restarted: bool = False

    def cut(self, offset: int = 0) -> None:
        """Let the source give what lies above ``offset`` next."""
        self.left = deque(self.data[at : at + self.piece] for at in range(offset, len(self.data), self.piece))

    @property
    def key(self) -> StreamKey:
        return self.origin.key(self.stream_id)


class Storm:
    """One history."""

    def __init__(self, seed: int, *, restarts: bool = False) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.net = Net()
        self.net.tamper = self._tamper
        self.config = CellConfig(
            chunk_bytes=self.random.choice([8, 32, 256]) * KIB,
            max_streams_per_peer=self.random.choice([2, 1000]),
            max_requests_per_peer=self.random.choice([1, 1000]),
            blob_budget_bytes=self.random.choice([200, 1000]) * KIB,
            request_budget_bytes=self.random.choice([200, 1000]) * KIB,
            receive_budget_bytes=1000 * KIB,
            max_window_bytes=512 * KIB,
            read_ahead_bytes=64 * KIB,
            bulk_lanes=self.random.choice([0, 1, 2]),
        )
        self.transfers: list[Transfer] = []
        # What an application has of a stream in files that outlive its cell: by the cell and the stream's name.
        self.disk: dict[tuple[str, str], bytes] = {}
        self.lives: list[Node] = []
        self.corrupted: Counter[StreamKey] = Counter()
        self.corrupt = False
        self.calm = False
        self.restarts = restarts
        self.history: list[str] = []
        for name in (HUB, *LEAVES):
            self._begin_life(self.net.node(name, self.config))
        for leaf in LEAVES:
            self.net.nodes[leaf].connect(HUB)

    def run(self) -> None:
        """Run the whole history, and check it."""
        try:
            self._rage()
            self._heal()
            self._check_end()
            self._check_that_all_still_works()
        except AssertionError as error:
            past = "\n  ".join(self.history[-40:])
            option = ", restarts=True" if self.restarts else ""
            raise AssertionError(
                f"{error}\nreproduce with: Storm({self.seed}{option}).run()\nhistory:\n  {past}"
            ) from error

    # Phase 1.

    def _rage(self) -> None:
        end = self.net.now + STORM_S
        actions: list[tuple[Callable[[], None], int]] = [
            (self._open, 6),
            (self._supply, 6),
            (self._some_steps, 12),
            (self._cut, 3),
            (self._cut_half, 1),
            (self._hold, 2),
            (self._let_go, 3),
            (self._start_corrupting, 1),
            (self._stop_corrupting, 2),
            (self._cancel_send, 1),
            (self._cancel_receive, 1),
            (self._read_a_little, 4),
            (self._pass_time, 4),
            (self._close_door, 1),
            (self._open_door, 2),
        ]
        if self.restarts:
            actions.append((self._restart, 1))
        chosen = self.random.choices([action for action, _ in actions], [weight for _, weight in actions], k=STEPS)
        for action in chosen:
            action()
            self._check_safety()
            if self.net.now > end:
                return

    def _note(self, text: str) -> None:
        self.history.append(f"{self.net.now - 1000.0:8.3f} {text}")

    def _begin_life(self, node: Node) -> None:
        self.lives.append(node)
        node.answer = lambda request: request[::-1]
        node.choose = lambda event: self._choose(node, event)
        node.on_seek = lambda event: self._seek(node, event)
        node.proves = self.random.random() < 0.5
        slow = random.Random(self.seed ^ node.incarnation)

        def on_opened(event: StreamOpened) -> None:
            if not self.calm and event.kind is StreamKind.STREAM and slow.random() < 0.3:
                node.slow.add(event.key)
            node.accept(event.key, assemble=event.kind is not StreamKind.STREAM)

        node.on_opened = on_opened

    def _open(self) -> None:
        leaf = self.random.choice(LEAVES)
        origin, target = self.random.choice([(HUB, leaf), (leaf, HUB)])
        node = self.net.nodes[origin]
        data = self.random.randbytes(self.random.choice(SIZES))
        kind = self.random.choice([StreamKind.STREAM, StreamKind.BLOB, StreamKind.REQUEST])
        size = None if self.random.random() < 0.3 else len(data)
        transfer = Transfer(node, target, 0, kind, data, deque(), name=f"{kind.name} {len(self.transfers)}")
        if kind is StreamKind.STREAM:
            transfer.piece = self.random.choice([100, 10 * KIB, 1000 * KIB])
            transfer.resume_id = self.random.choice(["", transfer.name])
            transfer.stamp = self.random.choice([b"", b"the same"])
            self._begin(transfer, size)
        elif kind is StreamKind.BLOB:
            transfer.stream_id = node.send(target, data, size=size)
        else:
            transfer.stream_id = node.request(target, data, REQUEST_S, size=size)
        self.transfers.append(transfer)
        self._note(
            f"open {kind.name} {transfer.stream_id} {origin} -> {target} {len(data)} bytes, declared {size}, "
            f"resume id {transfer.resume_id!r}, stamp {transfer.stamp!r}"
        )

    def _begin(self, transfer: Transfer, size: int | None) -> None:
        """Begin a stream, whose source gives nothing yet."""
        transfer.cut()
        transfer.stream_id = transfer.origin.stream(
            transfer.target,
            None,
            size=size,
            headers=(("name", transfer.name),),
            resume_id=transfer.resume_id,
            source_stamp=transfer.stamp,
        )
        if not transfer.left:
            transfer.origin.core.end_source(transfer.stream_id, "", self.net.now)

    def _choose(self, node: Node, event: StreamOpened) -> int:
        """Go on behind what is on the disk, or somewhere before."""
        had = self.disk.get((node.fqcn, str(dict(event.headers)["name"])), b"")
        node.had[event.key] = had
        offset = self.random.choice([0, len(had), len(had), self.random.randint(0, len(had))])
        self._note(f"{node.fqcn} has {len(had)} bytes of {event.key}, wants it from {offset} on")
        return offset

    def _seek(self, node: Node, event: SourceSeekWanted) -> None:
        """Answer later, when sources are looked at."""
        for transfer in self.transfers:
            if transfer.origin is node and transfer.stream_id == event.stream_id:
                transfer.seeks.append(event)

    def _answer_seeks(self) -> None:
        for transfer in self.transfers:
            while transfer.seeks:
                event = transfer.seeks.pop()
                offset = event.offset
                if event.prefix_digest not in ("", digest_of(transfer.data[:offset])):
                    offset = 0
                self._note(f"the source of {transfer.key} moves to {offset}")
                transfer.cut(offset)
                transfer.origin.core.move_source(transfer.stream_id, offset, self.net.now)
                if not transfer.left:
                    transfer.origin.core.end_source(transfer.stream_id, "", self.net.now)

    def _supply(self) -> None:
        if self.random.random() < 0.7:
            self._answer_seeks()
        for transfer in self.transfers:
            if transfer.left and self.random.random() < 0.7:
                self._give(transfer, self.random.randrange(1, 20))

    def _give(self, transfer: Transfer, most: int) -> None:
        node = transfer.origin
        for _ in range(most):
            if not transfer.left:
                return
            node.supply(transfer.stream_id, transfer.left.popleft(), end=not transfer.left)

    def _some_steps(self) -> None:
        for _ in range(self.random.randrange(1, 8)):
            self.net.step()

    def _random_end(self) -> tuple[str, int] | None:
        return self.random.choice(sorted(self.net.peers)) if self.net.peers else None

    def _cut(self) -> None:
        if end := self._random_end():
            self._note(f"cut {end}")
            self.net.hold.discard(end)
            self.net.cut(*end)

    def _cut_half(self) -> None:
        if end := self._random_end():
            self._note(f"cut half {end}")
            self.net.cut_half(*end)

    def _hold(self) -> None:
        if end := self._random_end():
            self._note(f"hold {end}")
            self.net.hold.add(end)

    def _let_go(self) -> None:
        self.net.hold.clear()

    def _start_corrupting(self) -> None:
        self.corrupt = True

    def _stop_corrupting(self) -> None:
        self.corrupt = False

    def _tamper(self, name: str, frame: Frame) -> Frame:
        if self.corrupt and isinstance(frame, Chunk) and len(frame.payload) > 0 and self.random.random() < 0.1:
            self.corrupted[frame.key] += 1
            payload = bytearray(frame.payload)
            payload[self.random.randrange(len(payload))] ^= 1 << self.random.randrange(8)
            return dataclasses.replace(frame, payload=bytes(payload))
        return frame

    def _cancel_send(self) -> None:
        if self.transfers:
            transfer = self.random.choice(self.transfers)
            transfer.cancelled = True
            transfer.left.clear()
            self._note(f"cancel send {transfer.key}")
            transfer.origin.core.cancel_send(transfer.stream_id, "cancelled by the storm", self.net.now)

    def _cancel_receive(self) -> None:
        if self.transfers:
            transfer = self.random.choice(self.transfers)
            target = self.net.nodes[transfer.target]
            if transfer.key in target.opened:
                transfer.cancelled = True
                self._note(f"cancel receive {transfer.key}")
                target.core.cancel_receive(transfer.key, "cancelled by the storm", self.net.now)

    def _read_a_little(self) -> None:
        for node in self.net.nodes.values():
            for key in sorted(node.slow):
                if self.random.random() < 0.5:
                    node.read(key, self.random.randint(0, len(node.data[key])))

    def _pass_time(self) -> None:
        self.net.advance(self.random.choice([0.01, 0.1, 0.3, 1.0, 3.5, 6.0]))

    def _close_door(self) -> None:
        self._note("the hub refuses to be dialled")
        self.net.refuse_dials.add(HUB)

    def _open_door(self) -> None:
        self.net.refuse_dials.clear()

    def _restart(self) -> None:
        name = self.random.choice((HUB, *LEAVES))
        self._note(f"restart {name}")
        for transfer in self.transfers:
            if name in (transfer.origin.fqcn, transfer.target):
                transfer.restarted = True
            if transfer.origin is self.net.nodes[name]:
                transfer.left.clear()
                transfer.seeks.clear()
        before = self.net.nodes[name]
        for transfer in self.transfers:
            if transfer.target == name and transfer.kind is StreamKind.STREAM and transfer.key in before.opened:
                # The disk has what was synced: some of what was delivered, never more.
                data = bytes(before.data[transfer.key])
                self.disk[name, transfer.name] = data[
                    : self.random.choice([len(data), self.random.randint(0, len(data))])
                ]
        node = self.net.restart(name)
        self._begin_life(node)
        for transfer in list(self.transfers):
            if transfer.origin is before and transfer.resume_id and not transfer.cancelled:
                again = dataclasses.replace(transfer, origin=node, restarted=False, seeks=[])
                self._begin(again, len(again.data))
                self.transfers.append(again)
                self._note(f"{name} sends {transfer.key} again as {again.key}")

    # Phase 2.

    def _heal(self) -> None:
        self._note("heal")
        net = self.net
        self.calm = True
        net.hold.clear()
        net.refuse_dials.clear()
        self.corrupt = False
        for node in net.nodes.values():
            for key in sorted(node.slow):
                node.read(key)
            node.slow.clear()
        # Sources that have to move tell so only when the cells are connected again.
        for _ in range(int(HEAL_S)):
            self._answer_seeks()
            for transfer in self.transfers:
                self._give(transfer, len(transfer.left))
            net.advance(1.0)
        self._check_safety()

    # What must be so.

    def _holders(self, transfer: Transfer) -> list[Node]:
        """Return the lives of the target that got all of a transfer."""
        return [node for node in self.lives if node.fqcn == transfer.target and node.got(transfer.key) is not None]

    def _check_safety(self) -> None:
        for transfer in self.transfers:
            for node in self.lives:
                if node.fqcn == transfer.target and transfer.key in node.opened:
                    data = node.data[transfer.key]
                    assert transfer.data.startswith(data), f"{transfer.key} at {node.fqcn}: wrong bytes"
                    if node.got(transfer.key) is not None:
                        assert len(data) == len(transfer.data), f"{transfer.key} ended early"
            holders = self._holders(transfer)
            # A stream that a life of its target never acknowledged starts anew with the next one.
            again = self.restarts and transfer.kind is StreamKind.STREAM
            assert len(holders) <= 1 or again, f"{transfer.key} was delivered twice"
            if transfer.origin.finished(transfer.stream_id):
                assert holders, f"{transfer.key} was reported done and is not"

    def _check_end(self) -> None:
        for transfer in self.transfers:
            alive = transfer.origin is self.net.nodes.get(transfer.origin.fqcn)
            outcomes = transfer.origin.outcomes(transfer.stream_id)
            assert len(outcomes) == 1 or not alive, f"{transfer.key} has {len(outcomes)} outcomes"
            if alive and transfer.kind is StreamKind.REQUEST:
                self._check_reply(transfer)
            if not self._harmed(transfer):
                assert transfer.origin.finished(transfer.stream_id), f"{transfer.key} failed: {outcomes}"
        for node in self.net.nodes.values():
            stats = node.core.stats()
            assert stats.sends == (), f"{node.fqcn} still sends {stats.sends}"
            assert stats.receives == (), f"{node.fqcn} still receives {stats.receives}"
            assert node.core.open_sends() == 0
            heirs = {event.old_key: event.key for event in node.of(StreamAdopted)}
            opened = Counter(last_heir(event.key, heirs) for event in node.of(StreamOpened))
            ended = Counter(event.key for event in node.seen if isinstance(event, ReceiveFinished | ReceiveFailed))
            assert max(opened.values(), default=1) == 1, f"{node.fqcn} was offered a stream twice: {opened}"
            assert all(ended[key] == 1 for key in opened), f"{node.fqcn} did not end each stream once: {ended}"

    def _check_reply(self, transfer: Transfer) -> None:
        replies = transfer.origin.replies(transfer.stream_id)
        errors = [event for event in transfer.origin.of(RequestEnded) if event.stream_id == transfer.stream_id]
        assert len(replies) <= 1
        assert all(reply == transfer.data[::-1] for reply in replies), f"request {transfer.key} got a strange reply"
        # A reply that came whole ends the request; what happened to the request's own stream then does not count.
        assert len(errors) <= 1
        assert replies or errors, f"request {transfer.key} was forgotten"
        harmed = self._harmed(transfer) or bool(self.corrupted)
        assert harmed or replies, f"request {transfer.key} failed: {errors[0].error!r}"

    def _harmed(self, transfer: Transfer) -> bool:
        """Return whether something was done to a transfer that may end it."""
        ended = transfer.cancelled or self.corrupted[transfer.key] >= CORRUPT_CHUNKS
        if transfer.kind is StreamKind.STREAM:
            # It goes on after a restart of its target, and a new life of its origin sends it anew.
            return ended or transfer.origin is not self.net.nodes.get(transfer.origin.fqcn)
        ended = ended or transfer.restarted
        # A lane to a life that is over may have swallowed what was begun after the restart, too.
        return ended or self.lives_of(transfer.target) > 1

    def lives_of(self, fqcn: str) -> int:
        return sum(node.fqcn == fqcn for node in self.lives)

    def _check_that_all_still_works(self) -> None:
        """No memory, no credit and no slot was lost for good."""
        hub = self.net.nodes[HUB]
        data = self.random.randbytes(self.config.blob_budget_bytes)
        for leaf in LEAVES:
            node = self.net.nodes[leaf]
            for origin, target in ((hub, node), (node, hub)):
                for kind in (StreamKind.STREAM, StreamKind.BLOB):
                    ids = [origin.send(target.fqcn, data, kind=kind, piece=1000 * KIB) for _ in range(3)]
                    self.net.advance(10.0)
                    for stream_id in ids:
                        assert target.got(origin.key(stream_id)) == data, f"{origin.fqcn} does not work any more"
        assert not any(event.error.code is ErrorCode.PROTOCOL for node in self.lives for event in node.refusals())


def last_heir(key: StreamKey, heirs: dict[StreamKey, StreamKey]) -> StreamKey:
    """Return the key that a stream has in the end."""
    while key in heirs:
        key = heirs[key]
    return key
