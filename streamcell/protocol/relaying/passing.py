"""A stream that passes through a cell in the middle.

A :class:`RelayedStream` belongs to one attempt at a time, which has one way: it comes over the link ``up`` and goes on
over that of its :class:`Branch`. It holds chunks of that attempt, never more than the window that it has given upwards,
and one chunk; it opens none of them. It is over when the stream's last word passes, when both ends have been silent for
the stream's idle timeout, or when a link goes down.

What happens to a chunk: :meth:`~RelayedStream.on_chunk` holds it and puts the stream where the writers of the next link
find it; :meth:`~RelayedStream.take_chunk` gives it to one of them, and lets the previous hop go further.

Together are true: in FORWARDING and ASKING there is a window, and the initial credit and headers are counted
(``charges.py``); in every other state nothing is held or counted, and no credit counts. In ASKING nothing goes on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import ClassVar, Protocol

from streamcell.errors import ProtocolError
from streamcell.limits import (
    CHUNK_PAYLOAD_BYTES,
    INITIAL_CREDIT_BYTES,
    RELAYED_CHUNKS,
    RELAYED_SILENCE_S,
    SMALL_STREAM_BYTES,
)
from streamcell.protocol.base.context import Context, Count
from streamcell.protocol.base.events import PassageAsked
from streamcell.protocol.base.machine import step
from streamcell.protocol.base.rules import Rules, fault_in_pair, fault_in_stream
from streamcell.protocol.base.timers import Timed
from streamcell.protocol.flow.charges import Charge, charge, first_bytes
from streamcell.protocol.flow.credit import Window, WindowBudget
from streamcell.protocol.flow.schedule import Standing
from streamcell.protocol.links.kinds import LinkKind
from streamcell.protocol.links.lane import Lane
from streamcell.protocol.links.link import Link
from streamcell.protocol.relaying.branch import Branch
from streamcell.protocol.relaying.grant import Grant
from streamcell.protocol.relaying.held import Held
from streamcell.protocol.relaying.states import RELAY_TABLE, RelayAction, RelayInput, RelayState
from streamcell.protocol.tree.routes import RouteTable
from streamcell.protocol.wire.description import StreamKind
from streamcell.protocol.wire.frames import Ack, Chunk, Credit, Lost, LostReason, Open, ResumeQuery


class Keeper(Protocol):
    """Who keeps the streams that pass through."""

    def has_free_credit(self, link: Link) -> bool:
        """Return whether the streams that come over a link are so few that their initial credit is free."""

    def on_stream_over(self, stream: RelayedStream) -> None:
        """A stream has passed, or is given up: it is to be forgotten."""


@dataclasses.dataclass(frozen=True, slots=True)
class Surroundings:
    """What a relayed stream asks and tells."""

    context: Context
    routes: RouteTable
    budget: WindowBudget
    keeper: Keeper


class RelayedStream(Timed):
    """One stream, as the relay sees it.

    It lets the previous hop go no further than the next one lets it go itself (``grant.allowed_to_previous`` follows
    ``branch.allowed_by_next``): an origin is not to take the memory of a relay for the target's.

    :ivar attempt: the highest attempt of which a beginning has come.
    :ivar up: the link to the previous hop, over which this attempt comes.
    """

    __slots__ = (
        "_ack",
        "_ack_due",
        "_bulk",
        "_charge",
        "_heard_at",
        "_held",
        "_idle_timeout_s",
        "_loss",
        "_loss_due",
        "_name",
        "_near",
        "_told_by",
        "attempt",
        "branch",
        "grant",
        "key",
        "state",
        "target",
        "up",
    )

    def __init__(self, near: Surroundings, frame: Chunk | ResumeQuery, up: Link, down: Link, now: float) -> None:
        super().__init__()
        self.key = frame.key
        self.target = frame.target
        self.state = RelayState.WAITING
        self.attempt = frame.attempt
        self.up = up
        self.branch = Branch(down)
        self.grant = Grant()
        self._near = near
        self._idle_timeout_s = _bounded(near.context.config.idle_timeout_s)
        self._held = Held()
        # Channel, topic and kind, as the first chunk has said last; None before.
        self._name: tuple[str, str, StreamKind, bool] | None = None
        # What is taken for what it may bring before the first Credit; only in FORWARDING.
        self._charge: Charge | None = None
        self._bulk = True
        # What the previous hop is to be told beside a Credit.
        self._ack: Ack | None = None
        self._ack_due = False
        # Of which attempt the origin is to hear that it is lost, and why; only in LOST, until it was written.
        self._loss: Lost | None = None
        self._loss_due = False
        # The link that was asked last to have all this written.
        self._told_by = up
        self._heard_at = now
        self._schedule()

    def __repr__(self) -> str:
        return (
            f"<RelayedStream {self.key.stream_id} {self.key.origin} to {self.target} {self.state.name} "
            f"attempt {self.attempt} forwarded {self.branch.forwarded} holds {self._held.bytes}>"
        )

    # What can be asked.

    @property
    def held_bytes(self) -> int:
        """Payload bytes that wait to go on."""
        return self._held.bytes

    def can_send(self) -> bool:
        """Return whether the next chunk may go on: its first byte lies within the credit, or it has none."""
        front = self._held.front
        if front is None or self.state is not RelayState.FORWARDING:
            return False
        return front.offset < self.branch.allowed_by_next or len(front.payload) == 0

    def standing_at(self, lane: Lane) -> Standing:
        """Return whether the next chunk may go on that lane."""
        front, branch = self._held.front, self.branch
        if front is None or branch.link is not lane.link or self.state is not RelayState.FORWARDING:
            return Standing.GONE
        if front.offset >= branch.allowed_by_next and len(front.payload) > 0:
            return Standing.GONE
        return Standing.READY if branch.lane_id is None or branch.lane_id == lane.lane_id else Standing.PASSES

    def goes_by(self, link: Link) -> bool:
        """Return whether its way leads over ``link``."""
        return self.branch.link is link

    def is_lost_to(self, link: Link, attempt: int) -> bool:
        """Return whether an attempt that the origin, behind ``link``, takes for living cannot go on here."""
        if self.attempt != attempt:
            return self.attempt < attempt
        return self.state is RelayState.LOST or self.up is not link

    # What comes from the origin.

    def enter_attempt(self, attempt: int, up: Link, down: Link, now: float) -> None:
        """A higher attempt begins, which may have another way. What is held of the one before is of no use."""
        self._step(RelayInput.ENTERED)
        self.attempt, self.up, self.branch = attempt, up, Branch(down)
        self._heard_at = now
        self._schedule()

    def on_chunk(self, link: Link, chunk: Chunk, now: float) -> bool:
        """Take in a chunk of the present attempt; return whether it came by the attempt's way.

        :raises ProtocolError: if the previous hop ignored its credit.
        """
        if chunk.open is not None and self.state is RelayState.WAITING:
            self._open(chunk, chunk.open)
        elif chunk.open is not None:
            # The first has said it all, and its headers are kept but once.
            chunk = dataclasses.replace(chunk, open=None)
        if self.up is not link:
            return False
        if self.state is RelayState.WAITING:
            # Its first chunk went to an earlier life of this cell, or was lost on the way here.
            self.lose(LostReason.LANE_LOST)
        if self.state is not RelayState.FORWARDING and self.state is not RelayState.ASKING:
            return True
        self._heard_at = now
        size = len(chunk.payload)
        end = chunk.offset + size
        if size > 0 and chunk.offset >= self.grant.allowed_to_previous + CHUNK_PAYLOAD_BYTES:
            raise ProtocolError(
                f"stream {self.key.stream_id} from {self.key.origin} came with offset {chunk.offset} at a credit of "
                f"{self.grant.allowed_to_previous}"
            )
        if size > 0 and not self.grant.takes(end):
            self.lose(LostReason.LIMIT)
        elif self._held.push(chunk) > RELAYED_CHUNKS:
            self.lose(LostReason.LANE_LOST)
        elif self.can_send():
            self.branch.link.offer(self, now, bulk=self._bulk)
        return True

    # What comes from the target, or from the next hop.

    def on_credit(self, offset: int, now: float) -> None:
        """The next hop lets the present attempt go further."""
        self.branch.on_credit(offset)
        self._extend_grant()
        self.offer(now)

    def on_ack(self, way: Link, frame: Ack, now: float) -> None:
        """The target says how far it has come. ``way`` leads to the origin, which gets the latest Ack only."""
        self._heard_at = now
        self._ack, self._ack_due = frame, True
        self._speak_by(way)

    def on_life_sign(self, now: float) -> None:
        """One of the two ends has said something that is passed on at once."""
        self._heard_at = now

    def on_last_word(self, link: Link) -> None:
        """The final Ack or a Reset has passed, unless it came by a way that the stream does not go."""
        if link is self.up or link is self.branch.link:
            self._step(RelayInput.ENDED)

    def on_loss_beyond(self, frame: Lost, now: float) -> None:
        """The next hop, or the target, has lost an attempt: what is here is of no use, and the origin is told, once."""
        self._heard_at = now
        told = frame.attempt == self.attempt and self.state is RelayState.LOST
        if frame.attempt >= self.attempt and not told:
            self._loss = frame
            self._step(RelayInput.LOST)

    # What happens to links and ways.

    def lose(self, reason: LostReason, sentence: str = "") -> None:
        """The present attempt cannot go on here: the origin is told, once."""
        if self.state is not RelayState.LOST:
            self._loss = Lost.of(self, reason, self._near.context.fqcn, sentence)
            self._step(RelayInput.LOST)

    def on_judged(self, refusal: str, now: float) -> None:
        """The application says whether the present attempt may pass."""
        if self.state is not RelayState.ASKING:
            return
        if refusal:
            self.lose(LostReason.REFUSED, refusal)
        else:
            self._step(RelayInput.OPENED)
            self.offer(now)

    def fault_in(self, rules: Rules) -> str:
        """Return why it may not pass by these rules, as far as is known what it is; empty if it may."""
        me = self._near.context.fqcn
        return fault_in_passing(rules, me, self.key.origin, self.target, self._name, self.branch.link)

    def on_lane_lost(self, lane_id: int) -> None:
        """A lane of the next link broke; what it carried may be lost."""
        if not self.branch.on_lane_lost(lane_id):
            return
        received = -1 if self._ack is None else self._ack.received
        if not self.branch.is_confirmed_at(received):
            self.lose(LostReason.LANE_LOST)

    def on_lane_emptied(self, lane_id: int, now: float) -> None:
        """What a lane of the next link carried has arrived, so its end concerns nobody, and nobody is bound to it."""
        if self.branch.on_lane_emptied(lane_id):
            self.offer(now)

    def repeat_news(self) -> None:
        """A lane of the previous link broke: what the previous hop was told may be lost, and is said again."""
        self.grant.repeat()
        self._ack_due = self._ack is not None
        self._speak_by(self.up)

    def give_up(self) -> None:
        """There is nobody any more to pass the stream on to, or to get it from."""
        self._step(RelayInput.ENDED)

    # What goes out.

    def offer(self, now: float) -> None:
        """Put the stream where the writers of its link find it, if its next chunk may go."""
        if self.can_send():
            self.branch.link.offer(self, now, bulk=self._bulk)

    def take_chunk(self, link: Link, lane: Lane, room: int | None, now: float, *, control: bool) -> Chunk:
        """Return the next chunk; only when ``can_send``."""
        held, branch, grant = self._held, self.branch, self.grant
        chunk = held.pop()
        if chunk.open is not None and self._charge is not None:
            self._charge.give_back_headers()
        branch.on_forwarded(chunk, lane.lane_id)
        grant.extend(branch.forwarded, held.arrived, branch.credit)
        self._near.context.counters.add(Count.BYTES_RELAYED, len(chunk.payload))
        if grant.due:
            self._speak_by(self.up)
        return chunk

    def take_control_frames(self, lane_id: int, now: float) -> list[Credit | Ack | Lost]:
        """Return what is due, as things stand now: that the attempt is lost, or its Credit and Ack."""
        frames: list[Credit | Ack | Lost] = []
        if self._loss_due and self._loss is not None:
            self._loss_due = False
            frames.append(self._loss)
        credit = self.grant.take()
        if credit is not None:
            frames.append(Credit(self.key, self.target, self.attempt, credit))
        if self._ack_due and self._ack is not None:
            self._ack_due = False
            frames.append(self._ack)
        return frames

    def _extend_grant(self) -> None:
        """Let the previous hop go further, if the next one does and there is room for it here."""
        self.grant.extend(self.branch.forwarded, self._held.arrived, self.branch.credit)
        if self.grant.due:
            self._speak_by(self.up)

    def _speak_by(self, way: Link) -> None:
        """Have what is due written on a lane of this link."""
        if self._told_by is not way:
            self._told_by.outbox.forget(self)
            self._told_by = way
        way.outbox.note(self)
        way.wake_control()

    # Time.

    def handle_timer(self, now: float) -> None:
        """Both ends would have shown that they live: without that they have given up, or are gone."""
        # Compared as it was scheduled: the difference of the two may be a rounding error short of the timeout.
        if now >= self._heard_at + self._idle_timeout_s:
            self.give_up()
        else:
            self._schedule()

    def _schedule(self) -> None:
        self._near.context.deadlines.schedule(self, self._heard_at + self._idle_timeout_s)

    # Actions of the table.

    def _step(self, event: RelayInput) -> None:
        action, self.state = step(RELAY_TABLE, self.state, event)
        self.ACTS[action](self)

    def _ignore(self) -> None:
        pass

    def _clear(self) -> None:
        """Drop everything that belongs to the present attempt."""
        self.grant.close()
        self.grant = Grant()
        if self._charge is not None:
            self._charge.give_back()
            self._charge = None
        self._held = Held()
        self._ack = None
        self._ack_due = self._loss_due = False
        self.branch = self.branch.after_loss()
        self._told_by.outbox.forget(self)

    def _begin(self) -> None:
        """The attempt goes by this relay: let the previous hop go beyond its initial credit, if the next one does."""
        self._extend_grant()

    def _open(self, chunk: Chunk, opening: Open) -> None:
        """The first chunk of an attempt has come: take it on, if there is room for what it may bring."""
        party = self.up.party_of(self.key.origin)
        # A chunk that is the last one brings all that is left, whether that was known before or not.
        size = chunk.offset + len(chunk.payload) if chunk.last else opening.description.size
        is_free = self._near.keeper.has_free_credit(self.up)
        credit = INITIAL_CREDIT_BYTES if is_free else first_bytes(None if size is None else size - chunk.offset)
        self._charge = charge(self._near.budget, party, credit, opening, is_free=is_free)
        if self._charge is None:
            self.lose(LostReason.LIMIT)
            return
        self._take_terms(chunk, opening, credit)
        context, description = self._near.context, opening.description
        if not context.asks_passage or self.up.kind is not LinkKind.CHILD or description.kind is StreamKind.REPLY:
            self._step(RelayInput.OPENED)
            return
        self._step(RelayInput.ASKED)
        identity = self.up.carrier.identity
        context.events.append(
            PassageAsked(self.key, self.attempt, self.target, party, chunk.channel, chunk.topic, description, identity)
        )

    def _take_terms(self, chunk: Chunk, opening: Open, credit: int) -> None:
        """Take over what the first chunk of an attempt says; ``credit``: what may come before the first Credit."""
        near, size = self._near, opening.description.size
        self._name = chunk.channel, chunk.topic, opening.description.kind, chunk.seal is not None
        self._idle_timeout_s = _bounded(opening.description.idle_timeout_s)
        # Chunks that follow only note when they came: the deadline looks at that when it is there.
        self._schedule()
        self._bulk = size is None or size > SMALL_STREAM_BYTES
        self._held = Held(chunk.offset)
        self.branch.begin_at(chunk.offset)
        window = Window(near.budget, self.up.party_of(self.key.origin), near.context.config.max_window_bytes)
        if self._bulk and not chunk.last:
            window.begin_as(self.up.remembered_window, None if size is None else size - chunk.offset)
        self.grant.open(window, chunk.offset, credit, grows=self._bulk)

    def _tell_origin(self) -> None:
        """The present attempt is lost here: drop it, and say so, if there is a way to say it."""
        self._clear()
        way = self._near.routes.relay_hop(self.key.origin)
        if way is not None:
            self._loss_due = True
            self._speak_by(way)

    def _forget(self) -> None:
        if self._loss_due and self._loss is not None:
            # It is not known here any more, and what is left to say is a word like others.
            self._told_by.say(self._loss)
        self._clear()
        self._near.context.deadlines.cancel(self)
        self._near.keeper.on_stream_over(self)

    # What is done in each step.
    ACTS: ClassVar[Mapping[RelayAction, Callable[[RelayedStream], None]]] = {
        RelayAction.IGNORE: lambda self: self._ignore(),
        RelayAction.CLEAR: lambda self: self._clear(),
        RelayAction.BEGIN: lambda self: self._begin(),
        RelayAction.TELL_ORIGIN: lambda self: self._tell_origin(),
        RelayAction.FORGET: lambda self: self._forget(),
    }


def _bounded(idle_timeout_s: float) -> float:
    """Return for how long a stream is kept that asks for this silence; 0 asks for no end."""
    return min(idle_timeout_s or RELAYED_SILENCE_S, RELAYED_SILENCE_S)


def fault_in_passing(
    rules: Rules, me: str, origin: str, target: str, name: tuple[str, str, StreamKind, bool] | None, way: Link | None
) -> str:
    """Return what to say of a child's stream that may not pass here, a whole sentence; empty if it may.

    Nobody is asked here about a request that comes from above, and so nobody about its reply, which goes back there. A
    question that goes there may be about such a reply.

    :param name: channel, topic, kind, and whether it is sealed; None: it is only asked where to go on.
    :param way: where it goes on.
    """
    goes_up = way is None or way.kind is not LinkKind.CHILD
    if name is None:
        return "" if goes_up else fault_in_pair(rules, me, origin, target)
    if goes_up and name[2] is StreamKind.REPLY:
        return ""
    return fault_in_stream(rules, me, origin, target, *name)
