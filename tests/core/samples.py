"""What the tests of the core send and hand in, made with one call."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import crc32c

from streamcell.config import CellConfig
from streamcell.digest import Digest
from streamcell.limits import KIB
from streamcell.protocol.base.context import Context
from streamcell.protocol.links.kinds import LinkKind
from streamcell.protocol.links.lane import Lane
from streamcell.protocol.links.link import Link
from streamcell.protocol.links.states import LaneState
from streamcell.protocol.sending.spec import SendSpec
from streamcell.protocol.wire.description import StreamDescription, StreamKind
from streamcell.protocol.wire.frames import Frame, LaneRole, Open, Payload
from tests.kit.payloads import pattern


def checksum(data: Payload, value: int) -> int:
    return crc32c.crc32c(data, value)


def make_context(fqcn: str = "me", incarnation: int = 1, **config: Any) -> Context:
    return Context(fqcn, incarnation, CellConfig(**config), checksum, random.Random(incarnation).getrandbits)


class Told:
    """Whom lanes and links tell what becomes of them: takes note of it, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int | str]] = []

    def on_lane_ended(self, lane: Lane, now: float, *, lost: bool) -> None:
        self.told.append(("lost" if lost else "parted", lane.lane_id))

    def way_in_tree(self, fqcn: str) -> Link | None:
        return None

    def on_last_lane_lost(self, link: Link, now: float) -> None:
        self.told.append(("no lane", link.fqcn))

    def on_link_ended(self, link: Link, now: float) -> None:
        self.told.append(("ended", link.fqcn))

    def on_link_begun(self, link: Link, now: float) -> None:
        self.told.append(("begun", link.fqcn))

    def on_lane_up(self, link: Link, now: float) -> None:
        self.told.append(("lane up", link.fqcn))

    def on_lane_lost(self, link: Link, lane_id: int, now: float) -> None:
        self.told.append(("lane lost", lane_id))

    def on_lane_emptied(self, link: Link, lane_id: int, now: float) -> None:
        self.told.append(("lane emptied", lane_id))

    def on_link_down(self, link: Link, now: float) -> None:
        self.told.append(("down", link.fqcn))

    def is_outdated(self, frame: Frame) -> bool:
        return False


def make_lane(
    number: int = 1, role: LaneRole = LaneRole.CONTROL, state: LaneState = LaneState.READY, **fields: Any
) -> Lane:
    """A lane that has the number as its id as well."""
    return Lane(make_context(), Told(), number, state, role=role, number=number, **fields)


def make_link(
    fqcn: str = "server", incarnation: int = 1, kind: LinkKind = LinkKind.CHILD, *lanes: Lane, **fields: Any
) -> Link:
    """A link with these lanes."""
    link = Link(make_context(), Told(), Told(), kind, fqcn, incarnation, b"", **fields)
    link.lanes.update((lane.number, lane) for lane in lanes)
    return link


def make_spec(target: str = "server", kind: StreamKind = StreamKind.BLOB, **fields: Any) -> SendSpec:
    """What to send: fields of the spec and of the description in it."""
    given: dict[str, Any] = {"channel": "c", "topic": "t", "idle_timeout_s": 300.0, "unreachable_timeout_s": 120.0}
    description, others = _split({**given, **fields})
    return SendSpec(target=target, description=StreamDescription(kind, **description), **others)


def make_open(kind: StreamKind, size: int | None = None, **fields: Any) -> Open:
    """What a first chunk says: fields of it and of the description in it."""
    description, others = _split(fields)
    return Open(StreamDescription(kind, size, **description), **others)


def _split(fields: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part the fields of a description from others."""
    names = {field.name for field in dataclasses.fields(StreamDescription)}
    described = {name: value for name, value in fields.items() if name in names}
    return described, {name: value for name, value in fields.items() if name not in names}


def digest_of(data: bytes) -> Digest:
    """The digest of some bytes."""
    return Digest.of([data])


SMALL = pattern(1000)
# More than an initial credit, and not a whole number of chunks.
LARGE = pattern(700 * KIB + 13)

# Without requests and replies.
STREAMS = (StreamKind.STREAM, StreamKind.BLOB)
# Handed to the application when all is there.
WHOLE = (StreamKind.BLOB, StreamKind.REQUEST)
