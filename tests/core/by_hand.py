"""Frames that are made by hand, and neighbours that are played by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from streamcell.limits import MESSAGE_BYTES
from streamcell.protocol.links.carrier import CarrierInfo
from streamcell.protocol.wire.frames import Chunk, Frame, Hello, LaneRole, Lost, LostReason, Open, StreamKey
from streamcell.protocol.wire.integrity import checksum_fields
from tests.core.harness import Net, Node, checksum

# Of a link.


def hello(fqcn: str = "client", **fields: Any) -> Hello:
    given: dict[str, Any] = {
        "incarnation": 1,
        "version_min": 1,
        "version_max": 1,
        "lane_number": 1,
        "lane_role": LaneRole.CONTROL,
        "message_bytes": MESSAGE_BYTES,
        "lanes": 2,
        "initial_credit": 256 * 1024,
    }
    given.update(fields)
    return Hello(fqcn, **given)


def greet(net: Net, node: Node, *frames: Frame, identity: str = "", origin: str = "") -> tuple[int, list[Frame]]:
    """Play a dialler by hand; returns the listener's number for the lane and what it says on it."""
    lane_id = node.core.lane_accepted(CarrierInfo("test", "stranger", identity, origin=origin), net.now)
    node.core.receive(lane_id, frames, net.now)
    said: list[Frame] = []
    while batch := node.core.frames_to_send(lane_id, net.now):
        said += batch
    return lane_id, said


def link_id_of(said: list[Frame]) -> bytes:
    (answer,) = [word for word in said if isinstance(word, Hello)]
    return answer.link_id


def changing(name: str, **fields: Any) -> Callable[[str, Frame], Frame]:
    def tamper(sender: str, frame: Frame) -> Frame:
        return dataclasses.replace(frame, **fields) if isinstance(frame, Hello) and sender == name else frame

    return tamper


# Of a stream.


def chunk(
    key: StreamKey, payload: bytes = b"", *, offset: int = 0, last: bool = False, opening: Open | None = None
) -> Chunk:
    fields = checksum_fields(key, 1, 0, offset, last=last)
    total = checksum(fields, checksum(payload, 0))
    return Chunk(key, "server", 1, "c", "t", 0, offset, last, 16, total, payload, opening)


def lost(node: Node, stream_id: int, attempt: int = 1) -> Lost:
    return Lost(node.key(stream_id), "server", attempt, LostReason.NO_ROUTE, "relay", 16)


def answers(net: Net, server: Node, client: Node, frame: Frame) -> list[Frame]:
    """Let the server take in a frame of the client, and return what it says."""
    end = net.peers["client", client.lane()]
    before = len(net.carried)
    server.core.receive(end[1], [frame], net.now)
    net.run()
    return [frame for name, _, frame in net.carried[before:] if name == "server"]
