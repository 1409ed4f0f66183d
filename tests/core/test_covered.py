"""What tags and codes cover: every field, each apart from the next."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamcell.digest import Digest
from streamcell.errors import ErrorCode, Fault
from streamcell.limits import HOPS
from streamcell.protocol.wire import covered
from streamcell.protocol.wire.covered import Lives, Place, Steering, in_bytes
from streamcell.protocol.wire.description import ReplyTo, StreamDescription, StreamKind
from streamcell.protocol.wire.frames import Ack, Lost, LostReason, Open, Reset, ResumeQuery, ResumeReply, StreamKey

SESSION = bytes(range(16))
KEY = StreamKey("site-1", 11, 7)
PLACE = Place(SESSION, KEY, "server", 2, "train", "model")
LIVES = Lives("site-1", 11, "server", 22, SESSION)
DIGEST = Digest("sha256:" + "0" * 64)

VALUES = st.lists(st.one_of(st.text(), st.binary(), st.integers(0, 2**64 - 1)), max_size=4)


def test_values_have_their_lengths_before_them() -> None:
    assert in_bytes("ab", "é", b"\0", True, False, 258, None) == (
        b"\2\0\0\0ab" + b"\2\0\0\0\xc3\xa9" + b"\1\0\0\0\0" + b"\1\0\0\0\1" + b"\1\0\0\0\0"
        b"\x08\0\0\0\2\1\0\0\0\0\0\0" + b"\0\0\0\0"
    )  # fmt: skip
    assert in_bytes("", 300.0) == b"\0\0\0\0\x08\0\0\0" + struct.pack("<d", 300.0)


@given(VALUES, VALUES)
def test_no_two_lists_give_the_same_bytes(one: list[Any], other: list[Any]) -> None:
    def plain(values: list[Any]) -> list[bytes]:
        return [
            value.encode() if isinstance(value, str) else struct.pack("<Q", value) if isinstance(value, int) else value
            for value in values
        ]

    assert (in_bytes("label", *one) == in_bytes("label", *other)) == (plain(one) == plain(other))


def test_keys_are_bound_to_lives_and_certificates() -> None:
    base = covered.covered_by_keys(LIVES, b"1" * 32, b"2" * 32)
    others = [
        covered.covered_by_keys(LIVES, b"2" * 32, b"1" * 32),
        *(covered.covered_by_keys(each, b"1" * 32, b"2" * 32) for each in changed(LIVES)),
    ]
    assert len({base, *others}) == len(others) + 1


def changed(values: Any) -> list[Any]:
    """The same tuple with one value changed, for each."""
    return [values._replace(**{name: another(getattr(values, name))}) for name in values._fields]


def another(value: Any) -> Any:
    if isinstance(value, StreamKey):
        return value._replace(stream_id=8)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return type(value)(value + 1)
    return value + (b"x" if isinstance(value, bytes) else "x")


OPENING = Open(
    StreamDescription(
        StreamKind.BLOB, 5, idle_timeout_s=300.0, resume_id="r", reply_to=ReplyTo(3, 4), traceparent="00-1"
    ),
    settled_below=6,
    settled=((8, 9),),
    target_incarnation=22,
)


def openings() -> list[Open]:
    """What differs from OPENING in one thing that is not hidden."""
    said = OPENING.description
    descriptions: list[dict[str, Any]] = [
        {"kind": StreamKind.REPLY},
        {"size": 6},
        {"size": None},
        {"idle_timeout_s": 301.0},
        {"resume_id": "s"},
        {"digest_follows": True},
        {"reply_to": None},
        {"reply_to": ReplyTo(4, 4)},
        {"reply_to": ReplyTo(3, 5)},
        {"no_reply": True},
        {"traceparent": "00-2"},
    ]
    own: list[dict[str, Any]] = [
        {"seen_before": True},
        {"awaits_offset": True},
        {"target_incarnation": 23},
        {"settled_below": 7},
        {"settled": ()},
        {"settled": ((8, 10),)},
    ]
    return [
        *(dataclasses.replace(OPENING, description=dataclasses.replace(said, **fields)) for fields in descriptions),
        *(dataclasses.replace(OPENING, **fields) for fields in own),
    ]


def test_an_opening_covers_all_that_is_not_hidden() -> None:
    every = [covered.covered_by_opening(covered.in_common(PLACE), each) for each in (OPENING, *openings())]
    every += [covered.covered_by_opening(covered.in_common(each), OPENING) for each in changed(PLACE)]
    assert len(set(every)) == len(every)


def test_an_opening_does_not_cover_what_is_hidden() -> None:
    said = dataclasses.replace(
        OPENING.description,
        headers=(("k", "v"),),
        source_stamp=b"s",
        digest=DIGEST,
        reply_to=ReplyTo(3, 4, ErrorCode.REJECTED, "no"),
    )
    hidden = dataclasses.replace(OPENING, description=said)
    assert covered.covered_by_opening(covered.in_common(PLACE), hidden) == covered.covered_by_opening(
        covered.in_common(PLACE), OPENING
    )


def test_a_chunk_covers_its_place() -> None:
    def place(sequence: int = 1, offset: int = 2, digest: Digest | None = None, *, last: bool = False) -> bytes:
        return covered.covered_by_chunk(covered.in_common(PLACE), sequence, offset, digest, last=last)

    every = [place(), place(2), place(offset=3), place(last=True), place(digest=DIGEST)]
    every += [covered.covered_by_chunk(covered.in_common(each), 1, 2, None, last=False) for each in changed(PLACE)]
    assert len(set(every)) == len(every)
    assert place(digest=DIGEST, last=True) == in_bytes(
        "chunk", SESSION, *KEY, "server", 2, "train", "model", 1, 2, True, DIGEST.text
    )


FRAMES: list[Steering] = [
    Ack(KEY, "server", 2, 22, 3, 4, False, HOPS),
    ResumeReply(KEY, "server", 2, 22, False, 3, HOPS),
    ResumeReply(KEY, "server", 2, 22, False, 3, HOPS, DIGEST),
    ResumeQuery(KEY, "server", 2, False, HOPS),
    ResumeQuery(KEY, "server", 2, False, HOPS, "r", b"s", DIGEST, 3, ((4, 5),)),
    Reset(KEY, "server", 2, False, ErrorCode.CANCELLED, Fault.ORIGIN, "no", HOPS),
    Lost(KEY, "server", 2, LostReason.CORRUPT, "server", HOPS),
]
CHANGES: dict[str, Callable[[Any], Any]] = {
    "code": lambda _: ErrorCode.STALE,
    "fault": lambda _: Fault.TARGET,
    "reason": lambda _: LostReason.LIMIT,
    "settled": lambda _: ((4, 6),),
    "prefix_digest": lambda _: Digest("sha256:" + "1" * 64),
    "digest": lambda _: Digest("sha256:" + "1" * 64),
}


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: type(frame).__name__)
def test_a_code_covers_every_field(frame: Steering) -> None:
    every = [covered.covered_by_code(SESSION, 22, each) for each in (frame, *variants(frame))]
    every += [covered.covered_by_code(b"another", 22, frame), covered.covered_by_code(SESSION, 23, frame)]
    assert len(set(every)) == len(every)
    fewer = dataclasses.replace(frame, hops_left=3)
    assert covered.covered_by_code(SESSION, 22, fewer) == every[0]


def variants(frame: Steering) -> list[Steering]:
    # The life of the target is that of the session.
    names = {field.name for field in dataclasses.fields(frame)} - {"hops_left", "target_incarnation", "seal"}
    return [
        dataclasses.replace(frame, **{name: CHANGES.get(name, another)(getattr(frame, name))}) for name in sorted(names)
    ]


def test_frames_of_different_kinds_cover_different_bytes() -> None:
    every = [covered.covered_by_code(SESSION, 22, frame) for frame in FRAMES]
    assert len(set(every)) == len(every)
