"""What is sent with ``secure=True``: sealed from end to end, through a cell that has no keys."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from streamcell import (
    AuthenticationError,
    CellConfig,
    CellError,
    CoreCell,
    Message,
    StreamCell,
    StreamFuture,
    StreamIntegrityError,
    TLSConfig,
)
from streamcell.protocol.relaying.table import RelayTable
from streamcell.protocol.wire.frames import Ack, Chunk, Seal
from streamcell.transport.codec import encode_batch
from streamcell.transport.parts import join
from tests.kit.certificates import DAY, NOW, TestAuthority
from tests.kit.waiting import PATIENCE_S, eventually

AUTHORITY = TestAuthority()
OTHER = TestAuthority("another authority")
QUICK = CellConfig(backoff_min_s=0.02, backoff_max_s=0.2)
SECRET = b"what nobody else is to read; " * 4000


@dataclasses.dataclass
class Ends:
    """A hub without certificates, and two cells below it that have some."""

    hub: CoreCell
    one: CoreCell
    two: CoreCell
    arrived: list[tuple[bytes, dict[str, Any], bool]]

    def send(self, payload: bytes, secure: bool = True, **more: Any) -> StreamFuture:
        return StreamCell(self.one).send_blob(
            "c", "blob", "two", Message({"name": "a header"}, payload), secure=secure, **more
        )


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as opened:
        yield opened


def dialling(stack: contextlib.ExitStack, fqcn: str, url: str, tls: TLSConfig | None) -> CoreCell:
    cell = stack.enter_context(CoreCell(fqcn, connect=url, tls=tls, config=QUICK))
    cell.wait_connected(PATIENCE_S)
    return cell


def make_ends(
    stack: contextlib.ExitStack,
    one: TLSConfig | None = None,
    two: TLSConfig | None = None,
) -> Ends:
    hub = stack.enter_context(CoreCell("hub", listen="grpc://127.0.0.1:0", config=QUICK))
    url = hub.listen_urls[0]
    arrived: list[tuple[bytes, dict[str, Any], bool]] = []
    cell = dialling(stack, "two", url, two or AUTHORITY.config("two"))
    streams = StreamCell(cell)
    streams.register_blob_cb(
        "c", "blob", lambda future: arrived.append((bytes(future.result()), future.get_headers(), future.sealed))
    )
    streams.register_stream_cb(
        "c",
        "stream",
        lambda future, stream, _resume: arrived.append((stream.read(-1), future.get_headers(), stream.sealed)),
    )
    cell.register_request_cb("c", "upper", lambda request: Message({}, bytes(request.payload).upper()))
    return Ends(hub, dialling(stack, "one", url, one or AUTHORITY.config("one")), cell, arrived)


def test_a_blob_a_stream_and_a_request(stack: contextlib.ExitStack) -> None:
    ends = make_ends(stack)
    blob = ends.send(SECRET)
    assert blob.sealed
    assert blob.result(PATIENCE_S) == len(SECRET)
    stream = StreamCell(ends.one).send_stream("c", "stream", "two", Message({"name": "a header"}, SECRET), secure=True)
    assert stream.result(PATIENCE_S) == len(SECRET)
    eventually(lambda: len(ends.arrived) == 2)
    assert ends.arrived == [(SECRET, {"name": "a header"}, True)] * 2
    reply = ends.one.send_request("c", "upper", "two", Message({}, b"abc"), timeout=PATIENCE_S, secure=True)
    assert reply.payload == b"ABC"
    plain = ends.send(b"for all", secure=False)
    plain.result(PATIENCE_S)
    assert not plain.sealed
    eventually(lambda: ends.arrived[2:] == [(b"for all", {"name": "a header"}, False)])


def test_digests_are_compared(stack: contextlib.ExitStack) -> None:
    ends = make_ends(stack)
    assert ends.send(SECRET, digest="sha256").result(PATIENCE_S) == len(SECRET)
    with pytest.raises(CellError, match="digest"):
        ends.send(SECRET, digest="sha256:" + "0" * 64).result(PATIENCE_S)


def test_several_targets(stack: contextlib.ExitStack) -> None:
    ends = make_ends(stack)
    three = dialling(stack, "three", ends.hub.listen_urls[0], AUTHORITY.config("three"))
    got: list[bytes] = []
    StreamCell(three).register_blob_cb("c", "blob", lambda future: got.append(bytes(future.result())))
    message = Message({}, SECRET)
    for future in StreamCell(ends.one).send_blob("c", "blob", ["two", "three"], message, secure=True).values():
        assert future.result(PATIENCE_S) == len(SECRET)
    eventually(lambda: got == [SECRET] and len(ends.arrived) == 1)
    replies = ends.one.broadcast_request("c", "upper", ["two"], Message({}, b"abc"), timeout=PATIENCE_S, secure=True)
    assert isinstance(replies["two"], Message)


def test_to_oneself(stack: contextlib.ExitStack) -> None:
    ends = make_ends(stack)
    assert StreamCell(ends.two).send_blob("c", "blob", "two", Message({}, SECRET), secure=True).result(PATIENCE_S)


def windows(data: bytes) -> set[bytes]:
    """All pieces of eight bytes in a row."""
    return {data[start : start + 8] for start in range(len(data) - 7)}


def test_whoever_passes_it_on_reads_nothing(stack: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = make_ends(stack)
    passed: list[bytes] = []

    def record(frame: Any) -> Any:
        passed.append(join(encode_batch([frame])))
        return frame

    lying(monkeypatch, record)
    content = os.urandom(200_000)
    for future in (ends.send(content), ends.send(content, digest="sha256")):
        assert future.result(PATIENCE_S) == len(content)
    seen = b"|".join(passed)
    assert len(seen) > 2 * len(content)
    assert windows(content) & windows(seen) == set()
    assert b"a header" not in seen
    assert hashlib.sha256(content).hexdigest().encode() not in seen


# --- what is missing, or not to be believed ------------------------------------------------------


def failure(future: StreamFuture) -> str:
    with pytest.raises(AuthenticationError) as caught:
        future.result(PATIENCE_S)
    return caught.value.sentence


def test_no_certificate_there(stack: contextlib.ExitStack) -> None:
    ends = make_ends(stack)
    plain = dialling(stack, "plain", ends.hub.listen_urls[0], None)
    future = StreamCell(ends.one).send_blob("c", "blob", plain.fqcn, Message({}, SECRET), secure=True)
    assert failure(future) == "plain cannot seal: it has no certificates"


def test_no_authority_here(stack: contextlib.ExitStack) -> None:
    issued = AUTHORITY.issue("one")
    ends = make_ends(stack, one=TLSConfig(cert=issued.certificate, key=issued.key))
    assert "one has no certificate, or no authority to believe" in failure(ends.send(SECRET))
    assert ends.arrived == []


def test_another_authority_there(stack: contextlib.ExitStack) -> None:
    ends = make_ends(stack, two=OTHER.config("two"))
    assert (
        "the certificate that was shown for two is not to be believed: it was issued by 'CN=another authority'"
        in failure(ends.send(SECRET))
    )


def test_another_authority_here(stack: contextlib.ExitStack) -> None:
    issued = OTHER.issue("one")
    ends = make_ends(stack, one=TLSConfig(ca=AUTHORITY.ca, cert=issued.certificate, key=issued.key))
    assert "two says: the certificate that was shown for one is not to be believed" in failure(ends.send(SECRET))


def test_a_certificate_that_has_expired(stack: contextlib.ExitStack) -> None:
    issued = AUTHORITY.issue("two", now=NOW - 20 * DAY, days=10)
    expired = TLSConfig(ca=AUTHORITY.ca, cert=issued.certificate, key=issued.key)
    assert "the certificate that was shown for two is not to be believed: it expired on" in failure(
        make_ends(stack, two=expired).send(SECRET)
    )


def test_requests_say_the_same(stack: contextlib.ExitStack) -> None:
    ends = make_ends(stack, two=OTHER.config("two"))
    with pytest.raises(AuthenticationError, match="not to be believed"):
        ends.one.send_request("c", "upper", "two", Message({}, b"abc"), timeout=PATIENCE_S, secure=True)


# --- a hub that lies -----------------------------------------------------------------------------


def lying(monkeypatch: pytest.MonkeyPatch, lie: Callable[[Any], Any]) -> None:
    """Have relays pass on something else: every cell of this process, of which only the hub is one."""
    forward = RelayTable.forward

    def lies(self: RelayTable, link: Any, frame: Any, destination: str, now: float) -> None:
        told = lie(frame)
        if told is not None:
            forward(self, link, told, destination, now)

    monkeypatch.setattr(RelayTable, "forward", lies)


def test_what_a_hub_changes_is_not_taken(stack: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = make_ends(stack)
    content = os.urandom(3_000_000)
    count = 0

    def lie(frame: Any) -> Any:
        nonlocal count
        if not isinstance(frame, Chunk) or not frame.payload:
            return frame
        count += 1
        if count != 2:
            return frame
        changed = bytearray(frame.payload)
        changed[7] ^= 1
        return dataclasses.replace(frame, payload=bytes(changed), encoded=None)

    lying(monkeypatch, lie)
    assert ends.send(content).result(PATIENCE_S) == len(content)
    eventually(lambda: [content for content, _, _ in ends.arrived] == [content])


def test_a_hub_cannot_say_that_it_has_arrived(stack: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = make_ends(stack)

    def lie(frame: Any) -> Any:
        if isinstance(frame, Chunk):
            return None
        if isinstance(frame, Ack):
            size = len(SECRET)
            return dataclasses.replace(frame, received=size, consumed=size, complete=True, seal=None)
        return frame

    lying(monkeypatch, lie)
    future = ends.send(SECRET, unreachable_timeout=2.0)
    assert isinstance(future.exception(PATIENCE_S), CellError)
    assert ends.arrived == []


def test_a_hub_cannot_take_the_seal_away(stack: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = make_ends(stack)
    lying(
        monkeypatch,
        lambda frame: (
            dataclasses.replace(frame, seal=Seal(frame.seal.session_id, bytes(16)))
            if isinstance(frame, Chunk) and frame.seal is not None
            else frame
        ),
    )
    assert isinstance(ends.send(SECRET).exception(PATIENCE_S), StreamIntegrityError)
    assert ends.arrived == []
