"""A cell that lies: what it puts on its lanes beside what its own core says, in its own name and in those of others.

It knows what anybody may know or guess: who is there in which life, what streams there are, of which size and in which
attempt, and what the next ones will be called. It does not know the numbers of questions, nor the ids of links.

A liar is a real cell, so that it has a name, links and lanes, from a place that is chosen: below any cell, with a peer
link to another one or without, or above all. It is no hop of anybody's stream: who is can do as he likes with what is
not sealed.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Sequence
from typing import Protocol

import crc32c

from streamcell.errors import ErrorCode, Fault
from streamcell.limits import ANSWERS, HOPS
from streamcell.protocol.wire.description import ReplyTo, StreamDescription, StreamKind
from streamcell.protocol.wire.frames import (
    Ack,
    Announce,
    AnnounceReply,
    CellInfo,
    Chunk,
    Credit,
    Frame,
    Goodbye,
    HolderAnswer,
    LanesWanted,
    Lost,
    LostReason,
    Open,
    Ping,
    Pong,
    Query,
    QueryReply,
    Reset,
    ResumeQuery,
    ResumeReply,
    StreamKey,
    Withdraw,
)
from streamcell.protocol.wire.integrity import checksum_fields

LIAR = "liar"
# What a liar calls streams of its own.
OWN_IDS = 1_000_000
# The largest numbers of the wire.
_MOST, _FAR = 2**32 - 1, 2**64 - 1
# Most streams that are lied about at a time: the last ones.
_RECENT = 12
_FLOOD_FRAMES = 200


@dataclasses.dataclass(frozen=True, slots=True)
class Mark:
    """A stream that is lied about."""

    key: StreamKey
    target: str
    size: int
    attempt: int
    name: str = ""


# What is said of streams that are not sealed.
_REASONS = [reason for reason in LostReason if reason not in (LostReason.UNSPECIFIED, LostReason.NO_SESSION)]


class Scene(Protocol):
    """What a liar can find out."""

    def lives(self) -> dict[str, int]:
        """Return the honest cells, each with its present life."""
        ...

    def marks(self) -> Sequence[Mark]:
        """Return the streams that there are, the last ones last."""
        ...

    def life_of_liar(self) -> int:
        """Return the liar's own life."""
        ...


class Forger:
    """Makes frames that are not true, or not the liar's to say."""

    def __init__(self, scene: Scene, chance: random.Random) -> None:
        self._scene = scene
        self._random = chance
        self._own_ids = OWN_IDS
        self._kinds: list[Callable[[Mark], Frame]] = [
            *[self._ack] * 4,
            *[self._reset] * 3,
            *[self._resume_reply] * 3,
            *[self._lost] * 4,
            self._credit,
            *[self._chunk] * 3,
            *[self._own_chunk] * 2,
            *[self._resume_query] * 2,
            self._query,
            self._query_reply,
            self._ping,
            self._pong,
            self._lanes_wanted,
        ]
        self._of_names: list[Callable[[Mark], Frame]] = [*[self._announce] * 3, self._withdraw, self._announce_reply]

    def lies(self, *, of_names: bool = False) -> list[Frame]:
        """Return what is put on one lane at once: a few frames about one stream, or now and then very many.

        ``of_names``: or about who is there, which can take the name of a cell that stands still.
        """
        mark = self._mark()
        if of_names and self._random.random() < 0.2:
            return [self._random.choice(self._of_names)(mark) for _ in range(self._random.choice([1, 1, 3, 50]))]
        dice = self._random.random()
        if dice < 0.02:
            return [Goodbye(self._random.choice(list(ErrorCode)), "a lie", self._name(mark))]
        if dice < 0.03:
            return [Ping(number) for number in range(ANSWERS + 1)]
        count = self._random.randint(1, 4) if dice < 0.93 else _FLOOD_FRAMES
        make = self._random.choices(self._kinds, k=count if dice < 0.93 else 1)
        return [kind(self._mark() if self._random.random() < 0.2 else mark) for kind in make * (count // len(make))]

    # What is lied about.

    def _mark(self) -> Mark:
        marks, lives = self._scene.marks()[-_RECENT:], self._scene.lives()
        if marks and self._random.random() < 0.8:
            return self._random.choice(marks)
        # One that is to begin next, perhaps.
        origin, target = self._random.sample(sorted(lives), 2)
        ids = [mark.key.stream_id for mark in self._scene.marks() if mark.key[:2] == (origin, lives[origin])]
        key = StreamKey(origin, lives[origin], max(ids, default=0) + self._random.randint(0, 2))
        return Mark(key, target, self._random.choice([0, 1, 1000, 100_000]), 1)

    def _name(self, mark: Mark) -> str:
        """Return whose name is used: mostly the liar's own, or that of the one who might say so."""
        return self._random.choice([LIAR, LIAR, LIAR, mark.target, mark.target, *sorted(self._scene.lives())])

    def _life_of(self, name: str) -> int:
        life = self._scene.life_of_liar() if name == LIAR else self._scene.lives().get(name, 1)
        return self._random.choice([life] * 6 + [life + 1, 1])

    def _key(self, mark: Mark) -> StreamKey:
        other = mark.key._replace(origin_incarnation=mark.key.origin_incarnation + 1)
        return other if self._random.random() < 0.05 else mark.key

    def _attempt(self, mark: Mark) -> int:
        return self._random.choice([mark.attempt] * 6 + [max(0, mark.attempt - 1), mark.attempt + 1, _MOST])

    def _offset(self, mark: Mark) -> int:
        size = mark.size
        return self._random.choice([size, size, size, size // 2, 0, size + 1, _FAR])

    def _hops(self) -> int:
        return self._random.choice([HOPS, HOPS, HOPS, 1, 2, _MOST])

    # What is said.

    def _ack(self, mark: Mark) -> Ack:
        target, received, consumed = self._name(mark), self._offset(mark), self._offset(mark)
        complete = self._random.random() < 0.6
        if complete:
            received = consumed
        life = self._life_of(target)
        return Ack(self._key(mark), target, self._attempt(mark), life, received, consumed, complete, self._hops())

    def _reset(self, mark: Mark) -> Reset:
        by_target = self._random.random() < 0.7
        target = self._name(mark) if by_target else mark.target
        code, fault = self._random.choice(list(ErrorCode)), self._random.choice(list(Fault))
        return Reset(self._key(mark), target, self._attempt(mark), by_target, code, fault, "a lie", self._hops())

    def _resume_reply(self, mark: Mark) -> ResumeReply:
        target, unknown = self._name(mark), self._random.random() < 0.5
        life, probe = self._life_of(target), self._random.random() < 0.3
        return ResumeReply(
            self._key(mark),
            target,
            self._attempt(mark),
            life,
            unknown,
            0 if unknown else self._offset(mark),
            self._hops(),
            probe=probe,
        )

    def _lost(self, mark: Mark) -> Lost:
        reporter = self._name(mark) if self._random.random() < 0.9 else ""
        target = self._random.choice([mark.target, mark.target, reporter or LIAR])
        reason = self._random.choice(_REASONS)
        return Lost(self._key(mark), target, self._attempt(mark), reason, reporter, self._hops())

    def _credit(self, mark: Mark) -> Credit:
        return Credit(self._key(mark), self._name(mark), self._attempt(mark), self._offset(mark))

    def _chunk(self, mark: Mark) -> Chunk:
        """In the name of its origin."""
        offset = self._random.choice([0, mark.size // 2, mark.size])
        opening = None
        if self._random.random() < 0.5:
            kind, size = self._random.choice(list(StreamKind)), self._random.choice([None, mark.size])
            opening = Open(
                StreamDescription(kind, size), settled_below=self._random.choice([0, mark.key.stream_id + 9])
            )
        return self._made(self._key(mark), mark.target, self._attempt(mark), offset, opening)

    def _own_chunk(self, mark: Mark) -> Chunk:
        """In the liar's own name, as an answer to somebody's question, or what another's stream is called."""
        self._own_ids += 1
        key = StreamKey(LIAR, self._scene.life_of_liar(), self._own_ids)
        description = StreamDescription(
            self._random.choice(list(StreamKind)),
            self._random.choice([None, 1000]),
            resume_id=mark.name,
            reply_to=ReplyTo(mark.key.stream_id, mark.key.origin_incarnation),
        )
        opening = Open(description, settled_below=_FAR, awaits_offset=self._random.random() < 0.3)
        return self._made(key, self._random.choice([mark.target, mark.key.origin]), 1, 0, opening)

    def _made(self, key: StreamKey, target: str, attempt: int, offset: int, opening: Open | None) -> Chunk:
        payload = self._random.randbytes(self._random.choice([0, 10, 1000]))
        last = self._random.random() < 0.5
        fields = checksum_fields(key, attempt, 0, offset, last=last)
        checksum = crc32c.crc32c(fields, crc32c.crc32c(payload, 0))
        return Chunk(key, target, attempt, "c", "t", 0, offset, last, self._hops(), checksum, payload, opening)

    def _resume_query(self, mark: Mark) -> ResumeQuery:
        probe = self._random.random() < 0.5
        return ResumeQuery(self._key(mark), mark.target, self._attempt(mark), probe, self._hops(), mark.name)

    def _query(self, mark: Mark) -> Query:
        number, trace = self._random.getrandbits(64), self._random.random() < 0.5
        subject = self._random.choice(["", mark.target, mark.key.origin, LIAR])
        contested = bool(subject) and self._random.random() < 0.3
        return Query(number, self._name(mark), subject, trace, self._hops(), contested=contested, claim_id=contested)

    def _query_reply(self, mark: Mark) -> QueryReply:
        responder, holder = self._name(mark), self._random.choice(list(HolderAnswer))
        cells = (CellInfo(responder, self._life_of(responder)),)
        number = self._random.getrandbits(64)
        return QueryReply(number, mark.key.origin, responder, cells, self._hops(), holder=holder)

    def _ping(self, mark: Mark) -> Ping:
        below = self._random.choice([0, mark.key.stream_id + 1, _FAR])
        return Ping(self._random.getrandbits(64), below, ((mark.key.stream_id, mark.key.stream_id),))

    def _pong(self, mark: Mark) -> Pong:
        return Pong(self._random.getrandbits(64))

    def _announce(self, mark: Mark) -> Announce:
        name = self._random.choice([mark.target, mark.key.origin, f"{LIAR}-below"])
        path = self._random.choice([(name, LIAR), (name, mark.target, LIAR), (LIAR,)])
        return Announce(name, self._life_of(name), self._random.choice([1, 2, _FAR]), path)

    def _withdraw(self, mark: Mark) -> Withdraw:
        return Withdraw(mark.target, self._life_of(mark.target), self._random.choice([1, _FAR]))

    def _announce_reply(self, mark: Mark) -> AnnounceReply:
        code = self._random.choice(list(ErrorCode))
        return AnnounceReply(mark.target, self._life_of(mark.target), 1, code, "a lie", self._random.random() < 0.3)

    def _lanes_wanted(self, mark: Mark) -> LanesWanted:
        return LanesWanted(self._random.choice([0, 1, _MOST]))
