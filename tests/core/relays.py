"""A line of three cells for the tests of relays, and chunks for the one in the middle."""

from __future__ import annotations

import dataclasses
from typing import Any

from streamcell.protocol.wire.description import StreamKind
from streamcell.protocol.wire.frames import Chunk, Lost
from streamcell.protocol.wire.integrity import checksum_fields
from tests.core.harness import SMALL, Net, Node, checksum
from tests.core.samples import make_open
from tests.core.trees import tree

LINE = {"root": "", "relay": "root", "leaf": "relay"}


def line(net: Net, **config: int) -> tuple[Node, Node, Node]:
    """Return root, relay and leaf, connected."""
    nodes = tree(net, LINE, **config)
    return nodes["root"], nodes["relay"], nodes["leaf"]


def chunk(node: Node, target: str, **fields: Any) -> Chunk:
    """Return a chunk that opens a stream of ``node``, except for the given fields."""
    given: dict[str, Any] = {
        "attempt": 1,
        "channel": "c",
        "topic": "t",
        "sequence": 0,
        "offset": 0,
        "last": False,
        "hops_left": 16,
        "checksum": 0,
        "payload": SMALL,
        "open": make_open(StreamKind.STREAM, idle_timeout_s=10.0),
    }
    given.update(fields)
    made = Chunk(node.key(given.pop("stream_id", 99)), target, **given)
    checked = checksum_fields(made.key, made.attempt, made.sequence, made.offset, last=made.last)
    return dataclasses.replace(made, checksum=checksum(checked, checksum(made.payload, 0)))


def losses(net: Net) -> list[tuple[int, int]]:
    """Return the stream ids and attempts of which the relay has said that they are lost."""
    return [(lost.key.stream_id, lost.attempt) for lost in net.sent("relay", Lost)]
