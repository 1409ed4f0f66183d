"""Lies about the streams of others: each kind of frame, in the liar's own name and in those of others, from each place.

What the liar names is real: streams that are open at that moment, with their ids, attempts and incarnations.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from streamcell.v1 import cell_pb2
from streamcell.v1.cell_pb2 import Ack, Credit, Frame, Lost, Reset, ResumeQuery, ResumeReply, StreamRef
from tests.adversity.hostile.attacks import LINKED, NAME_IN_USE, NOTHING, REFUSED, attack
from tests.adversity.hostile.hub import HUB
from tests.adversity.hostile.innocents import ALICE, BOB
from tests.adversity.hostile.liar import Liar
from tests.adversity.hostile.scene import Scene
from tests.adversity.stranger import batch, chunk
from tests.kit.waiting import let_time_pass

_EVERY_S = 0.05
_HOPS = 16
_FAR = 1 << 40
_REASONS = cell_pb2.LostReason.keys()
_STREAM = cell_pb2.STREAM_KIND_STREAM

Lie = Callable[[StreamRef, int], Iterator[Frame]]


def acks_complete(stream: StreamRef, life: int) -> Iterator[Frame]:
    """Say that a stream was delivered, whatever its size."""
    for size in (0, 1000, 1024, 200 << 10, 512 << 10, _FAR):
        yield Frame(
            ack=Ack(
                stream=stream, target_incarnation=life, received=size, consumed=size, complete=True, hops_left=_HOPS
            )
        )


def acks(stream: StreamRef, life: int) -> Iterator[Frame]:
    """Say that much was received, and consumed."""
    for size in (1, 4096, 100 << 10, _FAR):
        yield Frame(ack=Ack(stream=stream, target_incarnation=life, received=size, consumed=size, hops_left=_HOPS))


def resets_of_targets(stream: StreamRef, _life: int) -> Iterator[Frame]:
    """Give a stream up as its target does."""
    yield Frame(
        reset=Reset(
            stream=stream, from_target=True, code=cell_pb2.ERROR_CODE_REJECTED, sentence="a lie", hops_left=_HOPS
        )
    )


def resets_of_origins(stream: StreamRef, _life: int) -> Iterator[Frame]:
    """Give a stream up as its origin does."""
    yield Frame(reset=Reset(stream=stream, code=cell_pb2.ERROR_CODE_CANCELLED, sentence="a lie", hops_left=_HOPS))


def resume_replies(stream: StreamRef, life: int) -> Iterator[Frame]:
    """Steer a stream."""
    for attempt, unknown in itertools.product(range(stream.attempt, stream.attempt + 3), (False, True)):
        named = StreamRef(
            origin=stream.origin,
            origin_incarnation=stream.origin_incarnation,
            target=stream.target,
            stream_id=stream.stream_id,
            attempt=attempt,
        )
        yield Frame(
            resume_reply=ResumeReply(
                stream=named,
                target_incarnation=life,
                unknown=unknown,
                offset=0 if unknown else 7,
                probe=unknown,
                hops_left=_HOPS,
            )
        )


def losts(stream: StreamRef, reporter: str) -> Iterator[Frame]:
    """Say that frames were lost, for each reason there is."""
    for reason in _REASONS:
        yield Frame(lost=Lost(stream=stream, reason=reason, reporter=reporter, hops_left=_HOPS))


def credit(stream: StreamRef) -> Iterator[Frame]:
    """Let a stream go on without end."""
    yield Frame(credit=Credit(stream=stream, offset=_FAR))


def chunks(stream: StreamRef) -> Iterator[Frame]:
    """Put other bytes into a stream, in this attempt and in a later one."""
    opening = cell_pb2.Open(kind=_STREAM, idle_timeout_s=30, settled_below=_FAR)
    for attempt, sequence in ((stream.attempt, 1), (stream.attempt, 9), (stream.attempt + 1, 0)):
        named = StreamRef()
        named.CopyFrom(stream)
        named.attempt = attempt
        yield chunk(
            stream=named,
            channel="innocent",
            topic="lasting",
            sequence=sequence,
            offset=sequence * 4096,
            last=False,
            payload=b"lies" * 1024,
            open=None if sequence else opening,
        )


def resume_queries(stream: StreamRef) -> Iterator[Frame]:
    """Begin an attempt that its origin has not begun."""
    named = StreamRef()
    named.CopyFrom(stream)
    named.attempt += 5
    yield Frame(resume_query=ResumeQuery(stream=named, hops_left=_HOPS))


def in_name(name: str, stream: StreamRef) -> StreamRef:
    """Return a stream as if another cell were its target."""
    named = StreamRef()
    named.CopyFrom(stream)
    named.target = name
    return named


def _tell(scene: Scene, lie: Callable[[StreamRef], Iterator[Frame]], url: str = "", **more: Any) -> None:
    """Say the same of all streams of the innocents, again and again."""

    def act(liar: Liar) -> None:
        for stream in tuple(scene.victims()):
            liar.say(*lie(stream))

    scene.repeat(act, _EVERY_S, url, **more)


# --- in its own name: the gate lets these through, since the liar is announced where it is


@attack(REFUSED, NOTHING)
def acks_complete_in_its_own_name(scene: Scene) -> None:
    _tell(scene, lambda stream: acks_complete(in_name(scene.name, stream), 7))


@attack(REFUSED, NOTHING)
def acks_in_its_own_name(scene: Scene) -> None:
    _tell(scene, lambda stream: acks(in_name(scene.name, stream), 7))


@attack(REFUSED, NOTHING)
def resets_in_its_own_name(scene: Scene) -> None:
    _tell(scene, lambda stream: resets_of_targets(in_name(scene.name, stream), 7))


@attack(REFUSED, NOTHING)
def resume_replies_in_its_own_name(scene: Scene) -> None:
    _tell(scene, lambda stream: resume_replies(in_name(scene.name, stream), 7))


@attack(REFUSED, NOTHING)
def losts_in_its_own_name(scene: Scene) -> None:
    _tell(scene, lambda stream: losts(stream, scene.name))


@attack(REFUSED, NOTHING)
def credits_for_streams_of_others(scene: Scene) -> None:
    _tell(scene, lambda stream: itertools.chain(credit(stream), credit(in_name(scene.name, stream))))


# --- in the names of others


@attack(REFUSED)
def acks_complete_of_the_target(scene: Scene) -> None:
    _tell(scene, lambda stream: acks_complete(stream, scene.public["incarnations"].get(stream.target, 7)))


@attack(REFUSED)
def acks_of_the_target(scene: Scene) -> None:
    _tell(scene, lambda stream: acks(stream, scene.public["incarnations"].get(stream.target, 7)))


@attack(REFUSED)
def resets_of_both_ends(scene: Scene) -> None:
    _tell(scene, lambda stream: itertools.chain(resets_of_targets(stream, 7), resets_of_origins(stream, 7)))


@attack(REFUSED)
def resume_replies_of_the_target(scene: Scene) -> None:
    _tell(scene, lambda stream: resume_replies(stream, scene.public["incarnations"].get(stream.target, 7)))


@attack(REFUSED, NOTHING)
def losts_of_others(scene: Scene) -> None:
    _tell(scene, lambda stream: itertools.chain.from_iterable(losts(stream, name) for name in (HUB, ALICE, BOB, "")))


@attack(REFUSED)
def chunks_of_the_origin(scene: Scene) -> None:
    _tell(scene, chunks)


@attack(REFUSED)
def questions_of_the_origin(scene: Scene) -> None:
    _tell(scene, resume_queries)


@attack(REFUSED)
def answers_about_who_is_there(scene: Scene) -> None:
    def act(liar: Liar) -> None:
        for name, asker in itertools.permutations((ALICE, BOB, HUB), 2):
            cells = [cell_pb2.CellInfo(fqcn=name, incarnation=99)]
            reply = cell_pb2.QueryReply(asker=asker, responder=name, cells=cells, hops_left=_HOPS)
            query = cell_pb2.Query(query_id=5, asker=name, subject=asker, hops_left=_HOPS)
            liar.say(Frame(query_reply=reply), Frame(query=query))

    scene.repeat(act, _EVERY_S)


@attack(REFUSED, NOTHING)
def frames_of_the_tree_about_others(scene: Scene) -> None:
    def act(liar: Liar) -> None:
        for name in (ALICE, BOB, HUB):
            life = scene.public["incarnations"].get(name, 1)
            reply = cell_pb2.AnnounceReply(fqcn=name, incarnation=life, epoch=1, withdrawn=True)
            stale = cell_pb2.AnnounceReply(fqcn=name, incarnation=life, epoch=1, code=cell_pb2.ERROR_CODE_STALE)
            liar.say(
                Frame(withdraw=cell_pb2.Withdraw(fqcn=name, incarnation=life, epoch=1)),
                Frame(announce_reply=stale),
                Frame(announce_reply=reply),
                Frame(lanes_wanted=cell_pb2.LanesWanted(bulk_lanes=2**32 - 1)),
            )

    scene.repeat(act, _EVERY_S)


@attack(NOTHING)
def goodbyes_of_every_code(scene: Scene) -> None:
    codes = itertools.cycle(cell_pb2.ErrorCode.keys())
    scene.repeat(lambda liar: liar.say(Frame(goodbye=cell_pb2.Goodbye(code=next(codes), linked_fqcn=ALICE))), _EVERY_S)


# --- from other places


def _everything(scene: Scene, name: str) -> Callable[[StreamRef], Iterator[Frame]]:
    """Return all lies at once, in the name of a cell and in those of both ends."""

    def lies_about(stream: StreamRef) -> Iterator[Frame]:
        life = scene.public["incarnations"].get(stream.target, 7)
        for named in (in_name(name, stream), stream):
            for lie in (acks_complete, acks, resets_of_targets, resume_replies):
                yield from lie(named, life)
            yield from credit(named)
        for reporter in (name, stream.target, HUB):
            yield from losts(stream, reporter)
        yield from resets_of_origins(stream, life)
        yield from chunks(stream)
        yield from resume_queries(stream)

    return lies_about


@attack(REFUSED)
def everything_from_below_a_relay(scene: Scene) -> None:
    _tell(scene, _everything(scene, scene.name), scene.relay_url)


@attack(REFUSED)
def everything_over_a_shortcut(scene: Scene) -> None:
    _tell(scene, _everything(scene, scene.name), peer=True)


@attack(REFUSED, NAME_IN_USE, LINKED)
def everything_over_a_shortcut_in_the_name_of_an_innocent(scene: Scene) -> None:
    _tell(scene, _everything(scene, BOB), peer=True, fqcn=BOB, incarnation=scene.public["incarnations"][BOB])


@attack(REFUSED, from_parent=True)
def everything_from_the_parent(scene: Scene) -> None:
    lies_about = _everything(scene, scene.parent.fqcn)
    while scene.goes_on():
        for stream in tuple(scene.victims()):
            scene.parent.say_bytes(batch(*lies_about(stream)))
        let_time_pass(_EVERY_S)
