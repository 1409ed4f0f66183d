from __future__ import annotations

import dataclasses

import pytest

from streamcell.limits import TRACEPARENT_BYTES
from streamcell.protocol.wire.description import StreamDescription, StreamKind, is_traceparent
from tests.core.harness import SMALL, Net

W3C = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize("text", ["", W3C, f"{W3C}-of-a-later-version", "!" * TRACEPARENT_BYTES, "~"])
def test_a_traceparent_is_not_looked_into(text: str) -> None:
    assert is_traceparent(text)


@pytest.mark.parametrize("text", ["!" * (TRACEPARENT_BYTES + 1), " ", f"{W3C}\n", "\x7f", "é", "\0"])
def test_a_traceparent_is_short_and_visible(text: str) -> None:
    assert not is_traceparent(text)


def test_a_description_does_not_change() -> None:
    description = StreamDescription(StreamKind.STREAM, 5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        description.size = 6  # type: ignore[misc]


def test_what_is_told_to_the_target_is_the_description_that_was_given() -> None:
    net = Net()
    server, client = net.pair()
    stream_id = client.send("server", SMALL, headers=(("a", 1),), traceparent=W3C)
    net.run()
    description = server.opened[client.key(stream_id)].description
    assert description == StreamDescription(StreamKind.BLOB, len(SMALL), (("a", 1),), 300.0, traceparent=W3C)
