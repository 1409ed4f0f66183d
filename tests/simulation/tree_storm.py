"""Random histories of a random tree of cells in virtual time: links, relays and leaves break and come back.

The rules are those of ``storm.py``: while the storm lasts nothing wrong may be seen, after it everything must come to
its end, and the cells must work as on their first day. Here streams go between any two cells, through relays that are
cut and restarted, and cells move to other parents; wall clocks are set back and ahead between two lives.
"""

from __future__ import annotations

import dataclasses
import functools
import random
from collections import Counter, deque
from collections.abc import Callable

from streamcell.config import CellConfig
from streamcell.errors import ErrorCode
from streamcell.limits import KIB
from streamcell.protocol.base.events import ReceiveFailed, ReceiveFinished, SourceSeekWanted, StreamOpened
from streamcell.protocol.wire.description import StreamKind
from streamcell.protocol.wire.frames import StreamKey
from tests.core.harness import NOWHERE, Net, Node
from tests.simulation.clocks import WallClocks
from tests.simulation.lies import LIAR, OWN_IDS, Forger, Mark

CELLS = 12
SIZES = (0, 1, 1000, 40 * KIB, 100 * KIB, 300 * KIB, 700 * KIB)
STEPS = 60
STORM_S = 80.0
REQUEST_S = 250.0
HEAL_S = 500.0


@dataclasses.dataclass(slots=True)
class Transfer:
    """One stream, blob or request, and what was done to it."""

    origin: Node
    target: str
    stream_id: int
    kind: StreamKind
    data: bytes
    left: deque[bytes]
    harmed: bool = False

    @property
    def key(self) -> StreamKey:
        return self.origin.key(self.stream_id)


class Hearsay:
    """What a liar can find out."""

    def __init__(self, storm: TreeStorm) -> None:
        self._storm = storm

    def lives(self) -> dict[str, int]:
        """See lies.Scene."""
        return {name: node.incarnation for name, node in self._storm.net.nodes.items() if name != LIAR}

    def life_of_liar(self) -> int:
        """See lies.Scene."""
        return self._storm.net.nodes[LIAR].incarnation

    def marks(self) -> list[Mark]:
        """See lies.Scene."""
        return [
            Mark(transfer.key, transfer.target, len(transfer.data), self._attempt_of(transfer))
            for transfer in self._storm.transfers[-20:]
        ]

    def _attempt_of(self, transfer: Transfer) -> int:
        sends = {send.stream_id: send.attempt for send in transfer.origin.core.stats().sends}
        return sends.get(transfer.stream_id, 1)


class TreeStorm:
    """One history. With ``restarts`` cells are also killed and started again; else only relays without streams of
    their own are. With ``liar`` one leaf of the tree lies (``lies.py``)."""

    def __init__(self, seed: int, *, restarts: bool = False, liar: bool = False) -> None:
        self.seed = seed
        self.restarts = restarts
        self.liar = Forger(Hearsay(self), random.Random(seed)) if liar else None
        self.random = random.Random(seed)
        self.net = Net()
        self.wall_clocks = WallClocks(self.random)
        self.config = CellConfig(
            chunk_bytes=self.random.choice([8, 32, 256]) * KIB,
            receive_budget_bytes=self.random.choice([300, 1000]) * KIB,
            max_window_bytes=512 * KIB,
            read_ahead_bytes=64 * KIB,
            bulk_lanes=self.random.choice([0, 1, 2]),
        )
        self.parents = self._random_tree(self.random.randint(3, CELLS))
        honest = list(self.parents)
        if liar:
            self.parents[LIAR] = self.random.choice(honest)
        self.transfers: list[Transfer] = []
        self.lives: list[Node] = []
        self.history: list[str] = [f"tree {self.parents}"]
        for name in self.parents:
            self._begin_life(self.net.node(name, self.config, self.wall_clocks.begin_life(name, self.net.now)))
        for name, parent in self.parents.items():
            if parent:
                self.net.nodes[name].connect(parent)
        self.relays = sorted(set(self.parents.values()) - {""})
        # Cells that send and receive; in a storm without restarts the others are pure relays, which may be killed.
        talkers = [name for name in honest if restarts or name not in self.relays or self.random.random() < 0.5]
        self.talkers = talkers if len(talkers) > 1 else honest
        self.mortal = [name for name in self.parents if restarts or name not in self.talkers]

    def run(self) -> None:
        """Run the whole history, and check it."""
        try:
            self._rage()
            self._heal()
            self._check_end()
            self._check_that_all_still_works()
        except AssertionError as error:
            past = "\n  ".join(self.history[-60:])
            option = ", restarts=True" * self.restarts + ", liar=True" * (self.liar is not None)
            raise AssertionError(
                f"{error}\nreproduce with: TreeStorm({self.seed}{option}).run()\nhistory:\n  {past}"
            ) from error

    def _random_tree(self, count: int) -> dict[str, str]:
        names = [f"cell-{number}" for number in range(count)]
        parents = {names[0]: ""}
        for number in range(1, count):
            parents[names[number]] = names[self.random.randrange(max(0, number - 4), number)]
        return parents

    # Phase 1.

    def _rage(self) -> None:
        end = self.net.now + STORM_S
        actions: list[tuple[Callable[[], None], int]] = [
            (self._open, 8),
            (self._supply, 6),
            (self._some_steps, 14),
            (self._cut, 4),
            (self._cut_half, 1),
            (self._hold, 2),
            (self._let_go, 3),
            (self._read_a_little, 4),
            (self._pass_time, 4),
            (self._close_door, 1),
            (self._open_door, 2),
            (self._move, 1),
            (self._restart, 1),
            (self._peer, 1),
            (self._lie, 20 if self.liar is not None else 0),
        ]
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
        slow = random.Random(self.seed ^ node.incarnation)

        def on_opened(event: StreamOpened) -> None:
            if self._refuses_liar(node, event):
                return
            if event.description.kind is StreamKind.STREAM and slow.random() < 0.3:
                node.slow.add(event.key)
            node.accept(event.key, assemble=event.description.kind is not StreamKind.STREAM)

        node.on_opened = on_opened
        node.on_seek = lambda event: self._seek(node, event)

    def _refuses_liar(self, node: Node, event: StreamOpened) -> bool:
        lies = self.liar is not None and event.key.origin == LIAR and event.key.stream_id >= OWN_IDS
        if lies:
            node.core.reject(event.key, ErrorCode.REJECTED, "nobody wants to hear it", self.net.now)
        return lies

    def _lie(self) -> None:
        ends = [end for end in sorted(self.net.peers) if end[0] == LIAR and self.net.peers[end] != NOWHERE]
        if self.liar is None or not ends:
            return
        end, frames = self.random.choice(ends), self.liar.lies()
        self._note(f"{end} lies: {type(frames[0]).__name__}, {len(frames)} frames")
        self.net.frames[self.net.peers[end]].extend(frames)

    def _seek(self, node: Node, event: SourceSeekWanted) -> None:
        """Have a source give again what its restarted target needs."""
        for transfer in self.transfers:
            if transfer.origin is node and transfer.stream_id == event.stream_id:
                rest = transfer.data[event.offset :]
                transfer.left = deque(rest[at : at + 10 * KIB] for at in range(0, len(rest), 10 * KIB))
                node.core.move_source(event.stream_id, event.offset, self.net.now)
                self._give(transfer, len(transfer.left))
                if not rest:
                    node.core.end_source(event.stream_id, None, self.net.now)

    def _open(self) -> None:
        origin, target = self.random.sample(self.talkers, 2)
        node = self.net.nodes[origin]
        data = self.random.randbytes(self.random.choice(SIZES))
        kind = self.random.choice([StreamKind.STREAM, StreamKind.BLOB, StreamKind.REQUEST])
        pieces: deque[bytes] = deque()
        if kind is StreamKind.STREAM:
            step = self.random.choice([100, 10 * KIB, 1000 * KIB])
            pieces = deque(data[at : at + step] for at in range(0, len(data), step))
            stream_id = node.stream(target, None, size=len(data))
        elif kind is StreamKind.BLOB:
            stream_id = node.send(target, data)
        else:
            stream_id = node.request(target, data, REQUEST_S)
        self.transfers.append(Transfer(node, target, stream_id, kind, data, pieces))
        if kind is StreamKind.STREAM and not pieces:
            node.core.end_source(stream_id, None, self.net.now)
        self._note(f"open {kind.name} {stream_id} {origin} -> {target} {len(data)} bytes")

    def _supply(self) -> None:
        for transfer in self.transfers:
            if transfer.left and self.random.random() < 0.7:
                self._give(transfer, self.random.randrange(1, 20))

    def _give(self, transfer: Transfer, most: int) -> None:
        for _ in range(most):
            if not transfer.left:
                return
            piece = transfer.left.popleft()
            transfer.origin.supply(transfer.stream_id, piece, end=not transfer.left)

    def _some_steps(self) -> None:
        for _ in range(self.random.randrange(1, 12)):
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

    def _read_a_little(self) -> None:
        for node in self.net.nodes.values():
            for key in sorted(node.slow):
                if self.random.random() < 0.5:
                    node.read(key, self.random.randint(0, len(node.data[key])))

    def _pass_time(self) -> None:
        self.net.advance(self.random.choice([0.01, 0.1, 0.3, 1.0, 3.5, 6.0]))

    def _close_door(self) -> None:
        name = self.random.choice(self.relays)
        self._note(f"{name} refuses to be dialled")
        self.net.refuse_dials.add(name)

    def _open_door(self) -> None:
        self.net.refuse_dials.clear()

    def _move(self) -> None:
        """A cell finds another parent when its connection breaks."""
        movable = [name for name, parent in self.parents.items() if parent]
        name = self.random.choice(movable)
        elsewhere = [other for other in self.parents if other not in self._deep_below(name) and other != LIAR]
        parent = self.random.choice(elsewhere)
        self._note(f"{name} moves to {parent}")
        self.parents[name] = parent
        self.net.nodes[name].dials[0] = (parent,)
        for lane_id in self.net.lanes(name):
            self.net.hold.discard((name, lane_id))
            if self.random.random() < 0.5:
                self.net.cut(name, lane_id)
            else:
                # The other end does not know yet.
                self.net.cut_half(name, lane_id)

    def _deep_below(self, name: str) -> set[str]:
        below = {name}
        while True:
            more = {child for child, parent in self.parents.items() if parent in below} | below
            if more == below:
                return below
            below = more

    def _restart(self) -> None:
        if not self.mortal:
            return
        name = self.random.choice(self.mortal)
        self._note(f"restart {name}")
        for transfer in self.transfers:
            if name in (transfer.origin.fqcn, transfer.target):
                transfer.harmed = True
            if transfer.origin is self.net.nodes[name]:
                transfer.left.clear()
        self._begin_life(self.net.restart(name, self.wall_clocks.begin_life(name, self.net.now)))

    def _peer(self) -> None:
        name, other = self.random.sample(self.talkers, 2)
        if len(self.net.nodes[name].dials) < 3:
            self._note(f"peer link {name} - {other}")
            self.net.nodes[name].connect_peer(other)

    # Phase 2.

    def _heal(self) -> None:
        self._note("heal")
        net = self.net
        net.hold.clear()
        net.refuse_dials.clear()
        for node in self.net.nodes.values():
            node.on_opened = functools.partial(self._accept, node)
            for key in sorted(node.slow):
                node.read(key)
            node.slow.clear()
        for transfer in self.transfers:
            self._give(transfer, len(transfer.left))
        net.advance(HEAL_S)
        self._check_safety()

    def _accept(self, node: Node, event: StreamOpened) -> None:
        if not self._refuses_liar(node, event):
            node.accept(event.key, assemble=event.description.kind is not StreamKind.STREAM)

    # What must be so.

    def _check_safety(self) -> None:
        for transfer in self.transfers:
            holders = 0
            for node in self.lives:
                if node.fqcn != transfer.target or transfer.key not in node.opened:
                    continue
                data = node.data[transfer.key]
                assert transfer.data.startswith(data), f"{transfer.key} at {node.fqcn}: wrong bytes"
                if node.got(transfer.key) is not None:
                    holders += 1
                    assert len(data) == len(transfer.data), f"{transfer.key} ended early"
            again = self.restarts and transfer.kind is StreamKind.STREAM
            assert holders <= 1 or again, f"{transfer.key} was delivered twice"
            if transfer.origin.finished(transfer.stream_id):
                assert holders, f"{transfer.key} was reported done and is not"
        for node in self.net.nodes.values():
            for stream in node.core.stats().relays:
                most = stream.window_bytes + 1024 * KIB
                assert stream.held_bytes <= most, f"{node.fqcn} holds too much: {stream}"

    def _check_end(self) -> None:
        for transfer in self.transfers:
            alive = transfer.origin is self.net.nodes.get(transfer.origin.fqcn)
            outcomes = transfer.origin.outcomes(transfer.stream_id)
            assert len(outcomes) == 1 or not alive, f"{transfer.key} to {transfer.target}: {len(outcomes)} outcomes"
            harmed = transfer.harmed or sum(node.fqcn == transfer.target for node in self.lives) > 1
            if not harmed:
                assert transfer.origin.finished(transfer.stream_id), f"{transfer.key} failed: {outcomes}"
                if transfer.kind is StreamKind.REQUEST:
                    replies = transfer.origin.replies(transfer.stream_id)
                    assert replies == [transfer.data[::-1]], f"{transfer.key} has {len(replies)} replies"
        root = next(name for name, parent in self.parents.items() if not parent)
        for node in self.net.nodes.values():
            stats = node.core.stats()
            assert stats.sends == (), f"{node.fqcn} still sends {stats.sends}"
            assert stats.receives == (), f"{node.fqcn} still receives {stats.receives}"
            # What a liar begins and leaves is kept for as long as it asks, up to a limit.
            left = [stream for stream in stats.relays if stream.origin != LIAR]
            assert left == [], f"{node.fqcn} still relays {left}"
            known = {route.fqcn for route in stats.routes}
            assert known == self._deep_below(node.fqcn) - {node.fqcn}, f"{node.fqcn} knows {known}"
            assert all(route.confirmed for route in stats.routes)
            opened = Counter(event.key for event in node.of(StreamOpened))
            ended = Counter(event.key for event in node.seen if isinstance(event, ReceiveFinished | ReceiveFailed))
            assert max(opened.values(), default=1) == 1, f"{node.fqcn} was offered a stream twice: {opened}"
            assert all(ended[key] == 1 for key in opened), f"{node.fqcn} did not end each stream once: {ended}"
        assert len(self.net.nodes[root].core.stats().routes) == len(self.parents) - 1

    def _check_that_all_still_works(self) -> None:
        # Whom nobody believes any more may not be heard.
        names = [name for name in self.parents if name != LIAR]
        data = self.random.randbytes(400 * KIB)
        sent = []
        for origin in names:
            target = self.random.choice([name for name in names if name != origin])
            for kind in (StreamKind.STREAM, StreamKind.BLOB):
                node = self.net.nodes[origin]
                sent.append((node, target, node.send(target, data, kind=kind, piece=1000 * KIB)))
        self.net.advance(20.0)
        for node, target, stream_id in sent:
            got = self.net.nodes[target].got(node.key(stream_id))
            assert got == data, f"{node.fqcn} does not reach {target} any more"
        refused = [refusal for node in self.lives for refusal in node.refusals() if refusal.firm]
        assert refused == []
