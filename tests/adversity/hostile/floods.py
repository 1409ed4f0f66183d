"""Floods: as many frames of one kind as a lane takes, each right in itself."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from streamcell.v1 import cell_pb2
from streamcell.v1.cell_pb2 import Announce, Credit, Frame, IdRun, Ping, Query, Reset, ResumeQuery, Withdraw
from tests.adversity.hostile.attacks import CALL_ENDS, LIMIT, LOST, LOST_LIMIT, NOTHING, PROTOCOL, RESET, attack
from tests.adversity.hostile.errands import CHANNEL, ECHO, SINK
from tests.adversity.hostile.innocents import BOB
from tests.adversity.hostile.liar import BATCH_FRAMES, CutOff, Liar, many
from tests.adversity.hostile.scene import Scene
from tests.adversity.stranger import batch, chunk
from tests.kit.waiting import let_time_pass

_HOPS = 16
_FAR = 1 << 40
_FEW = 500
_TINY = 50 * _FEW
_STREAM, _REQUEST = cell_pb2.STREAM_KIND_STREAM, cell_pb2.STREAM_KIND_REQUEST


def endlessly(
    scene: Scene, make: Callable[[Liar, int], Frame], count: int = _FEW, pause_s: float = 0.0, **more: Any
) -> None:
    """Send frames with rising numbers as fast as they are taken."""
    numbers = itertools.count(1)
    scene.repeat(lambda liar: liar.say(*(make(liar, next(numbers)) for _ in range(count))), pause_s, **more)


def opening(kind: cell_pb2.StreamKind, **fields: object) -> cell_pb2.Open:
    """Return an Open part of a stream that waits long."""
    usual: dict[str, object] = {"kind": kind, "idle_timeout_s": 3600.0}
    return cell_pb2.Open(**{**usual, **fields})  # type: ignore[arg-type]


def open_chunk(liar: Liar, number: int, **fields: object) -> Frame:
    """Return the first chunk of a stream that does not end, with one byte."""
    usual: dict[str, object] = {
        "stream": liar.stream(number),
        "channel": CHANNEL,
        "topic": SINK,
        "last": False,
        "payload": b"x",
        "open": opening(_STREAM),
    }
    return chunk(**{**usual, **fields})


# --- streams


@attack(LOST_LIMIT, LIMIT, bound_mib=64)
def opens_with_data(scene: Scene) -> None:
    endlessly(scene, open_chunk)


@attack(LOST_LIMIT, LIMIT, bound_mib=64)
def opens_without_data(scene: Scene) -> None:
    waiting = opening(_STREAM, awaits_offset=True, resume_id="x")
    endlessly(scene, lambda liar, number: open_chunk(liar, number, payload=b"", open=waiting))


@attack(LOST_LIMIT, LIMIT, bound_mib=64)
def opens_through_the_hub(scene: Scene) -> None:
    endlessly(scene, lambda liar, number: open_chunk(liar, number, stream=liar.stream(number, BOB)))


@attack(RESET, LOST_LIMIT, LIMIT, bound_mib=16)
def opens_that_nobody_wants(scene: Scene) -> None:
    endlessly(scene, lambda liar, number: open_chunk(liar, number, channel="nobody"))


@attack(LOST_LIMIT, LIMIT, bound_mib=64)
def requests_that_wait(scene: Scene) -> None:
    asked = opening(_REQUEST, size=2)
    endlessly(scene, lambda liar, number: open_chunk(liar, number, topic=ECHO, open=asked))


@attack(RESET, LOST_LIMIT, LIMIT, bound_mib=32)
def streams_that_end_and_are_never_settled(scene: Scene) -> None:
    endlessly(scene, lambda liar, number: open_chunk(liar, number, last=True))


@attack(RESET, LOST_LIMIT, LIMIT, bound_mib=64)
def streams_that_end_and_are_never_settled_through_the_hub(scene: Scene) -> None:
    endlessly(scene, lambda liar, number: open_chunk(liar, number, last=True, stream=liar.stream(number, BOB)))


@attack(LOST, LIMIT, bound_mib=32)
def streams_from_ever_new_lives(scene: Scene) -> None:
    """Each under an origin's incarnation of its own."""
    endlessly(scene, lambda liar, number: open_chunk(liar, 1, stream=liar.stream(1, origin_incarnation=number)))


@attack(NOTHING, LIMIT)
def tiny_chunks(scene: Scene) -> None:
    """All of one stream, a byte each, as far as its credit goes."""

    def act(liar: Liar) -> None:
        number = next(numbers)
        liar.say(open_chunk(liar, number))
        for first in range(1, _TINY, _FEW):
            liar.say(
                *(open_chunk(liar, number, sequence=at, offset=at, open=None) for at in range(first, first + _FEW))
            )

    numbers = itertools.count(1)
    scene.repeat(act)


@attack(NOTHING, LIMIT, PROTOCOL)
def empty_chunks(scene: Scene) -> None:
    """All of one stream, without a byte: they need no credit."""
    sequences = itertools.count(0)

    def act(liar: Liar) -> None:
        liar.say(
            *(
                open_chunk(liar, 1, sequence=at, payload=b"", open=None if at else opening(_STREAM))
                for at in itertools.islice(sequences, _FEW)
            )
        )

    scene.repeat(act)


@attack(NOTHING, LIMIT)
def chunks_with_wrong_checksums(scene: Scene) -> None:
    endlessly(scene, lambda liar, number: open_chunk(liar, number, checksum=1))


@attack(NOTHING, LIMIT)
def attempts_without_end(scene: Scene) -> None:
    """One stream, begun anew with each frame."""
    endlessly(scene, lambda liar, number: open_chunk(liar, 1, stream=liar.stream(1, attempt=number)))


# --- what is said about streams that there are not


@attack(NOTHING, LIMIT)
def resets_of_nothing(scene: Scene) -> None:
    def reset(liar: Liar, number: int) -> Frame:
        code = cell_pb2.ERROR_CODE_CANCELLED
        return Frame(reset=Reset(stream=liar.stream(number), code=code, sentence="x" * 200, hops_left=_HOPS))

    endlessly(scene, reset)


@attack(NOTHING, LIMIT, LOST_LIMIT)
def questions_about_nothing(scene: Scene) -> None:
    endlessly(scene, lambda liar, number: Frame(resume_query=ResumeQuery(stream=liar.stream(number), hops_left=_HOPS)))


@attack(NOTHING, LIMIT, LOST_LIMIT, bound_mib=32)
def questions_about_nothing_through_the_hub(scene: Scene) -> None:
    endlessly(
        scene, lambda liar, number: Frame(resume_query=ResumeQuery(stream=liar.stream(number, BOB), hops_left=_HOPS))
    )


@attack(NOTHING, LIMIT)
def credits_for_nothing(scene: Scene) -> None:
    scene.flood(lambda liar: many(lambda number: Frame(credit=Credit(stream=liar.stream(number), offset=_FAR))))


@attack(NOTHING, LIMIT, bound_mib=16)
def settled_runs(scene: Scene) -> None:
    """Ids with gaps between them, so that each is a run of its own."""

    def ping(_liar: Liar, number: int) -> Frame:
        runs = [IdRun(first=at, last=at) for at in range(32 * number, 32 * number + 32, 2)]
        return Frame(ping=Ping(nonce=number, settled_below=1, settled=runs))

    endlessly(scene, ping)


# --- questions and names


@attack(NOTHING, LIMIT)
def pings(scene: Scene) -> None:
    scene.flood(lambda _liar: many(lambda number: Frame(ping=Ping(nonce=number))))


@attack(NOTHING, LIMIT)
def queries_for_all_cells(scene: Scene) -> None:
    scene.flood(
        lambda liar: many(lambda number: Frame(query=Query(query_id=number, asker=liar.fqcn, hops_left=_HOPS))),
        capabilities=["routes"],
    )


@attack(NOTHING, LIMIT)
def queries_for_a_cell(scene: Scene) -> None:
    scene.flood(
        lambda liar: many(
            lambda number: Frame(
                query=Query(query_id=number, asker=liar.fqcn, subject=BOB, trace=True, hops_left=_HOPS)
            )
        ),
        capabilities=["routes"],
    )


@attack(LIMIT, NOTHING, bound_mib=64)
def announcements_of_ever_new_names(scene: Scene) -> None:
    def announce(liar: Liar, number: int) -> Frame:
        name = f"{'x' * 200}-{number}"
        return Frame(announce=Announce(fqcn=name, incarnation=number, epoch=1, path=[name, liar.fqcn]))

    endlessly(scene, announce, capabilities=["routes"])


@attack(LIMIT, NOTHING)
def announcements_and_withdrawals(scene: Scene) -> None:
    def come_and_go(liar: Liar, number: int) -> Frame:
        life = number // 2
        if number % 2:
            return Frame(withdraw=Withdraw(fqcn="x", incarnation=life, epoch=1))
        return Frame(announce=Announce(fqcn="x", incarnation=life, epoch=1, path=["x", liar.fqcn]))

    endlessly(scene, come_and_go, capabilities=["routes"])


@attack(LIMIT, CALL_ENDS, NOTHING, bound_mib=32)
def hellos(scene: Scene) -> None:
    """Ever new cells come, and go without a word."""
    numbers = itertools.count(1)
    while scene.goes_on():
        liars = [scene.liar(fqcn=f"x{next(numbers)}") for _ in range(20)]
        for liar in liars:
            scene.leave(liar)


# --- frames that say nothing


@attack(NOTHING, LIMIT, PROTOCOL)
def empty_frames(scene: Scene) -> None:
    scene.flood(lambda _liar: batch(*[Frame()] * BATCH_FRAMES))


@attack(NOTHING, LIMIT, PROTOCOL)
def frames_of_unknown_kinds(scene: Scene) -> None:
    unknown = b"\x0a\x04\xa2\x06\x01x" * BATCH_FRAMES
    scene.flood(lambda _liar: unknown)


@attack(NOTHING, LIMIT)
def empty_batches(scene: Scene) -> None:
    scene.flood(lambda _liar: b"")


@attack(PROTOCOL)
def too_many_frames_in_a_batch(scene: Scene) -> None:
    scene.flood(lambda _liar: batch(*[Frame(ping=Ping())] * (2 * BATCH_FRAMES)))


@attack(PROTOCOL)
def batches_that_nobody_can_read(scene: Scene) -> None:
    def act(liar: Liar) -> None:
        liar.say_bytes(b"\xff" * 1000)
        if liar.wait_end(5.0):
            raise CutOff
        let_time_pass(0.01)

    scene.repeat(act)
