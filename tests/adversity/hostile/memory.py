"""Memory: what a peer can make a hub hold with little work of its own."""

from __future__ import annotations

import contextlib
import itertools

from streamcell.limits import REQUESTS_IN_EXCESS, REQUESTS_OF_ORIGIN
from streamcell.v1 import cell_pb2
from streamcell.v1.cell_pb2 import Announce, Frame, Header, HeaderValue, Ping, Query, ResumeQuery
from tests.adversity.hostile.attacks import LIMIT, LOST_LIMIT, NOTHING, PROTOCOL, RESET, TOLD_NAME_IN_USE, attack
from tests.adversity.hostile.errands import ECHO, SLOW
from tests.adversity.hostile.floods import endlessly, open_chunk, opening
from tests.adversity.hostile.innocents import BOB
from tests.adversity.hostile.liar import CutOff, Liar, many
from tests.adversity.hostile.scene import Scene
from tests.adversity.stranger import batch
from tests.kit.payloads import GIB, KIB, MIB
from tests.kit.waiting import let_time_pass

_STREAM, _BLOB = cell_pb2.STREAM_KIND_STREAM, cell_pb2.STREAM_KIND_BLOB
_INITIAL_CREDIT = 256 * KIB
_MOST_REQUESTS = REQUESTS_OF_ORIGIN + REQUESTS_IN_EXCESS
_HEADERS = [Header(key=f"{n:02}", value=HeaderValue(raw=bytes(100_000))) for n in range(10)]
_EVERY_S = 0.05
# What makes a terminal forget what is on it, and rings.
_ESCAPES = "\x1b[2J\x1b]0;title\x07\r\n\u202e\x9b31m"


def unknown_field(size: int) -> bytes:
    """Return a field that no message has, of so many bytes."""
    length = bytearray()
    left = size
    while left >= 0x80:
        length.append(left & 0x7F | 0x80)
        left >>= 7
    length.append(left)
    # Number 2000, with a length.
    return b"\x82\x7d" + bytes(length) + bytes(size)


@attack(PROTOCOL)
def padding_beside_the_frames(scene: Scene) -> None:
    numbers = itertools.count(1)
    padding = unknown_field(4 * MIB)
    scene.repeat(lambda liar: liar.say_bytes(batch(open_chunk(liar, next(numbers), topic=SLOW)) + padding))


@attack(PROTOCOL)
def padding_in_a_chunk(scene: Scene) -> None:
    numbers = itertools.count(1)
    padding = unknown_field(4 * MIB)

    def act(liar: Liar) -> None:
        padded = open_chunk(liar, next(numbers), topic=SLOW).chunk
        padded.MergeFromString(padding)
        liar.say(Frame(chunk=padded))

    scene.repeat(act)


@attack(LOST_LIMIT, LIMIT, RESET, bound_mib=320)
def small_payloads_of_large_messages(scene: Scene) -> None:
    """Each message has one small piece that is kept, and much that is not."""
    numbers = itertools.count(1)

    def act(liar: Liar) -> None:
        kept = open_chunk(liar, next(numbers), topic=SLOW, payload=bytes(10 * KIB))
        unwanted = [
            open_chunk(liar, next(numbers), channel="nobody", open=opening(_STREAM, headers=_HEADERS)) for _ in range(4)
        ]
        liar.say(kept, *unwanted)

    scene.repeat(act)


@attack(LOST_LIMIT, LIMIT, bound_mib=320)
def initial_credits(scene: Scene) -> None:
    """Streams without end, and of each what it may send before it is granted anything."""
    payload = bytes(_INITIAL_CREDIT)
    endlessly(scene, lambda liar, number: open_chunk(liar, number, topic=SLOW, payload=payload), count=8)


@attack(LOST_LIMIT, LIMIT, bound_mib=320)
def initial_credits_through_the_hub(scene: Scene) -> None:
    payload = bytes(_INITIAL_CREDIT)
    endlessly(
        scene,
        lambda liar, number: open_chunk(liar, number, stream=liar.stream(number, BOB), topic=SLOW, payload=payload),
        count=8,
    )


@attack(LOST_LIMIT, LIMIT, NOTHING)
def reservations_of_nearly_all_memory(scene: Scene) -> None:
    declared = opening(_BLOB, size=4 * GIB - 1)
    endlessly(scene, lambda liar, number: open_chunk(liar, number, topic="blob", open=declared), count=4, pause_s=0.1)


@attack(LOST_LIMIT, LIMIT, NOTHING, bound_mib=64)
def many_reservations(scene: Scene) -> None:
    """What is reserved for blobs is resident only as far as bytes have come."""
    declared = opening(_BLOB, size=8 * MIB)
    endlessly(scene, lambda liar, number: open_chunk(liar, number, topic="blob", open=declared))


@attack(LOST_LIMIT, LIMIT, NOTHING, bound_mib=64)
def streams_that_are_never_idle_too_long(scene: Scene) -> None:
    """One byte each, and an idle timeout of 0: more than there are threads to call callbacks in."""
    endless = opening(_STREAM, idle_timeout_s=0.0)

    def act(liar: Liar) -> None:
        for target in ("hub", BOB):
            for number in range(1, 101):
                liar.say(open_chunk(liar, number, stream=liar.stream(number, target), open=endless))
        while scene.goes_on():
            let_time_pass(_EVERY_S)

    scene.repeat(act)


@attack(LOST_LIMIT, LIMIT, bound_mib=320)
def large_headers(scene: Scene) -> None:
    large = opening(_STREAM, headers=_HEADERS)
    endlessly(scene, lambda liar, number: open_chunk(liar, number, topic=SLOW, open=large), count=4)


@attack(LOST_LIMIT, LIMIT, bound_mib=320)
def large_headers_through_the_hub(scene: Scene) -> None:
    large = opening(_STREAM, headers=_HEADERS)
    endlessly(
        scene,
        lambda liar, number: open_chunk(liar, number, stream=liar.stream(number, BOB), topic=SLOW, open=large),
        count=4,
    )


@attack(LOST_LIMIT, LIMIT, NOTHING, bound_mib=192)
def chunks_beyond_a_gap(scene: Scene) -> None:
    """A byte each, of many streams, all but the first of each after the beginning."""
    numbers = itertools.count(1)

    def act(liar: Liar) -> None:
        number = next(numbers)
        liar.say(
            open_chunk(liar, number, topic=SLOW),
            *(open_chunk(liar, number, topic=SLOW, sequence=at, offset=at, open=None) for at in range(2, 1000)),
        )

    scene.repeat(act)


@attack(LIMIT, TOLD_NAME_IN_USE, NOTHING, bound_mib=128)
def long_paths(scene: Scene) -> None:
    """Cells that are said to be far below, behind long names."""
    way = [f"{'y' * 240}{n}" for n in range(13)]

    def announce(liar: Liar, number: int) -> Frame:
        name = f"{'x' * 240}{number}"
        return Frame(announce=Announce(fqcn=name, incarnation=1, epoch=1, path=[name, *way, liar.fqcn]))

    endlessly(scene, announce, capabilities=["routes"])


@attack(NOTHING, LIMIT, bound_mib=32)
def pongs_that_are_never_read(scene: Scene) -> None:
    scene.flood(lambda _liar: many(lambda number: Frame(ping=Ping(nonce=number))), reads=False)


@attack(NOTHING, LIMIT, bound_mib=32)
def answers_that_are_never_read(scene: Scene) -> None:
    def ask(liar: Liar, number: int) -> Frame:
        if number % 2:
            return Frame(resume_query=ResumeQuery(stream=liar.stream(number), hops_left=16))
        return Frame(query=Query(query_id=number, asker=liar.fqcn, hops_left=16))

    endlessly(scene, ask, reads=False, capabilities=["routes"])


@attack(NOTHING, LIMIT, LOST_LIMIT, bound_mib=_MOST_REQUESTS * _INITIAL_CREDIT // MIB)
def replies_that_are_never_read(scene: Scene) -> None:
    """A reply is kept until it is settled: as many as one origin may have requests."""
    asked = opening(cell_pb2.STREAM_KIND_REQUEST, size=_INITIAL_CREDIT)
    payload = bytes(_INITIAL_CREDIT)
    endlessly(
        scene,
        lambda liar, number: open_chunk(liar, number, topic=ECHO, open=asked, payload=payload, last=True),
        count=8,
        reads=False,
    )


@attack(NOTHING, PROTOCOL)
def words_that_a_terminal_obeys(scene: Scene) -> None:
    def act(liar: Liar) -> None:
        liar.say(
            Frame(
                announce=Announce(
                    fqcn="x", incarnation=1, epoch=1, path=["x", liar.fqcn], software=_ESCAPES, address=_ESCAPES
                )
            ),
            open_chunk(liar, 1),
            Frame(reset=cell_pb2.Reset(stream=liar.stream(1), code=cell_pb2.ERROR_CODE_SOURCE, sentence=_ESCAPES)),
            Frame(goodbye=cell_pb2.Goodbye(code=cell_pb2.ERROR_CODE_REJECTED, sentence=_ESCAPES)),
        )
        liar.wait_end(1.0)
        raise CutOff

    scene.repeat(act, software=f"{_ESCAPES} 1.0", capabilities=["routes", _ESCAPES])
    scene.expect_printable()


@attack(NOTHING, LIMIT, LOST_LIMIT, bound_mib=64)
def many_lanes_with_little_each(scene: Scene) -> None:
    """As a crowd of liars: what one may hold is not to be multiplied by how many there are, beyond the bounds."""
    names = itertools.count(1)
    while scene.goes_on():
        liars = [scene.liar(fqcn=f"liar-{next(names)}") for _ in range(10)]
        with contextlib.suppress(CutOff):
            for liar in liars:
                liar.say(*(open_chunk(liar, number, topic=SLOW, payload=bytes(KIB)) for number in range(1, 65)))
        let_time_pass(_EVERY_S)
        for liar in liars:
            scene.leave(liar)
