"""A blob that is received into a buffer of the application is judged by its own bytes. Case 1.1."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest

from streamcell import Message, StreamFuture, StreamIntegrityError
from tests.kit.cells import Pair
from tests.kit.fixtures import carrier, pair
from tests.kit.payloads import pattern
from tests.kit.waiting import PATIENCE_S, Box

__all__ = ["carrier", "pair"]

SIZE = 6000
DATA = pattern(SIZE)
GIVEN = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
WRONG = "sha256:" + 64 * "0"

BUFFERS: dict[str, Any] = {
    "as large": lambda: bytearray(SIZE),
    "larger": lambda: bytearray(b"\xff" * (2 * SIZE)),
    "of two dimensions": lambda: np.ones((SIZE, 2), dtype=">f8"),
}


@pytest.fixture(params=BUFFERS)
def buffer(request: pytest.FixtureRequest) -> Any:
    return BUFFERS[request.param]()


@pytest.fixture
def arrived(pair: Pair, buffer: Any) -> Box[StreamFuture]:
    box: Box[StreamFuture] = Box()
    pair.at_server.register_blob_cb("data", "blob", box.put, into=lambda size, headers: buffer)
    return box


@pytest.mark.parametrize("digest", ["sha256", GIVEN], ids=["computed", "given"])
@pytest.mark.parametrize("payload", [DATA, [DATA[:7], DATA[7:]]], ids=["whole", "in parts"])
def test_case_1_1_a_blob_in_a_larger_buffer_is_right(
    pair: Pair, arrived: Box[StreamFuture], buffer: Any, digest: str, payload: Any
) -> None:
    sent = pair.at_site.send_blob("data", "blob", "server", Message({}, payload), digest=digest)
    assert sent.result(PATIENCE_S) == SIZE
    assert arrived.get().result(PATIENCE_S) is buffer
    assert memoryview(buffer).cast("B")[:SIZE] == DATA


def test_case_1_1_a_blob_in_a_larger_buffer_is_wrong(pair: Pair, arrived: Box[StreamFuture]) -> None:
    sent = pair.at_site.send_blob("data", "blob", "server", Message({}, DATA), digest=WRONG)
    with pytest.raises(StreamIntegrityError, match=f"received have the digest {GIVEN}, the sender says {WRONG}"):
        sent.result(PATIENCE_S)
    assert arrived.is_empty()
