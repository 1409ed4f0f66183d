"""HTTP/2 and gRPC: what comes before any frame of this protocol."""

from __future__ import annotations

import contextlib
import gzip
import socket
import struct
from collections.abc import Callable
from urllib.parse import urlsplit

from tests.adversity.hostile.attacks import CALL_ENDS, CONNECTION_ENDS, NOTHING, attack
from tests.adversity.hostile.liar import CutOff, Liar
from tests.adversity.hostile.raw_http2 import (
    CANCEL,
    CONTINUATION,
    DATA,
    END_HEADERS,
    HEADERS,
    PING,
    RST_STREAM,
    SETTINGS,
    Gone,
    RawConnection,
    call_headers,
    frame,
    literal,
    message,
)
from tests.adversity.hostile.scene import Scene
from tests.adversity.stranger import batch, hello
from tests.kit.payloads import KIB, MIB
from tests.kit.waiting import let_time_pass

_EVERY_S = 0.05
_FRAME_BYTES = 16 * KIB
_MANY = 200
_BOMB_BYTES = 256 * MIB


def _connect(scene: Scene, act: Callable[[RawConnection], None]) -> None:
    """Do something on one connection after the other."""
    while scene.goes_on():
        try:
            with RawConnection(scene.url) as connection:
                act(connection)
        except Gone as gone:
            scene.told.setdefault(CONNECTION_ENDS, str(gone))
        except OSError as error:
            scene.told.setdefault(CONNECTION_ENDS, str(error))
            let_time_pass(_EVERY_S)


def _open_call(connection: RawConnection, number: int, *more: tuple[str, str]) -> None:
    connection.send(frame(HEADERS, END_HEADERS, number, call_headers(*more)))


def _put(connection: RawConnection, number: int, data: bytes) -> None:
    for first in range(0, len(data), _FRAME_BYTES):
        connection.send(frame(DATA, 0, number, data[first : first + _FRAME_BYTES]))


@attack(CALL_ENDS, CONNECTION_ENDS, NOTHING)
def a_message_that_grows_when_it_is_inflated(scene: Scene) -> None:
    bomb = message(gzip.compress(bytes(_BOMB_BYTES)), compressed=True)

    def act(connection: RawConnection) -> None:
        _open_call(connection, 1, ("grpc-encoding", "gzip"))
        _put(connection, 1, bomb)
        connection.read(0.2)

    _connect(scene, act)


@attack(CONNECTION_ENDS, NOTHING)
def headers_that_go_on_and_on(scene: Scene) -> None:
    """CONTINUATION after CONTINUATION, and never an end."""

    def act(connection: RawConnection) -> None:
        connection.send(frame(HEADERS, 0, 1, call_headers()))
        while scene.goes_on():
            connection.send(frame(CONTINUATION, 0, 1, literal("x-flood", "y" * 10_000)))

    _connect(scene, act)


@attack(CONNECTION_ENDS, NOTHING)
def headers_that_go_on_in_empty_frames(scene: Scene) -> None:
    def act(connection: RawConnection) -> None:
        connection.send(frame(HEADERS, 0, 1, call_headers()))
        while scene.goes_on():
            connection.send(frame(CONTINUATION, 0, 1) * 1000)

    _connect(scene, act)


@attack(CONNECTION_ENDS, NOTHING)
def calls_that_are_reset_at_once(scene: Scene) -> None:
    def act(connection: RawConnection) -> None:
        number = 1
        while scene.goes_on():
            batch_of_calls = b"".join(
                frame(HEADERS, END_HEADERS, each, call_headers())
                + frame(RST_STREAM, 0, each, CANCEL.to_bytes(4, "big"))
                for each in range(number, number + 2 * _MANY, 2)
            )
            number += 2 * _MANY
            connection.send(batch_of_calls)

    _connect(scene, act)


@attack(CONNECTION_ENDS, NOTHING)
def many_calls_on_one_connection(scene: Scene) -> None:
    greeting = message(batch(hello()))

    def act(connection: RawConnection) -> None:
        for number in range(1, 2 * _MANY, 2):
            _open_call(connection, number)
            connection.send(frame(DATA, 0, number, greeting))
        connection.read(0.2)

    _connect(scene, act)


@attack(CALL_ENDS)
def much_metadata(scene: Scene) -> None:
    words = tuple((f"x-{n}", "y" * 4000) for n in range(20))

    def act(liar: Liar) -> None:
        if liar.wait_end(5.0):
            raise CutOff

    scene.repeat(act, metadata=words)


@attack(CONNECTION_ENDS, NOTHING)
def settings_without_end(scene: Scene) -> None:
    table_size = struct.pack(">HI", 1, 4096)

    def act(connection: RawConnection) -> None:
        while scene.goes_on():
            connection.send(frame(SETTINGS, 0, 0, table_size) * 100)

    _connect(scene, act)


@attack(CONNECTION_ENDS, NOTHING)
def pings_of_http2_without_end(scene: Scene) -> None:
    def act(connection: RawConnection) -> None:
        while scene.goes_on():
            connection.send(frame(PING, 0, 0, bytes(8)) * 100)

    _connect(scene, act)


@attack(NOTHING, CONNECTION_ENDS, bound_mib=16)
def connections_without_a_call(scene: Scene) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(_MANY):
            with contextlib.suppress(OSError):
                stack.enter_context(RawConnection(scene.url))
        scene.wait()


@attack(NOTHING, CONNECTION_ENDS, bound_mib=16)
def connections_that_say_nothing(scene: Scene) -> None:
    place = urlsplit(scene.url)
    with contextlib.ExitStack() as stack:
        for _ in range(_MANY):
            stack.enter_context(socket.create_connection((str(place.hostname), int(place.port or 0))))
        scene.wait()


@attack(NOTHING, CALL_ENDS, bound_mib=64)
def calls_without_a_hello(scene: Scene) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(_MANY // 4):
            connection = stack.enter_context(RawConnection(scene.url))
            with contextlib.suppress(Gone):
                for number in (1, 3, 5, 7):
                    _open_call(connection, number)
        scene.wait()


@attack(NOTHING, CALL_ENDS, CONNECTION_ENDS, bound_mib=64)
def messages_that_never_end(scene: Scene) -> None:
    """Each declares what is allowed, and brings all of it but the last byte."""
    part = message(bytes(1 * MIB), declared=6 * MIB)

    def act(connection: RawConnection) -> None:
        for number in (1, 3, 5, 7):
            _open_call(connection, number)
            _put(connection, number, part[: 60 * KIB])
        connection.read(0.2)

    _connect(scene, act)


@attack(CALL_ENDS)
def a_message_that_is_too_large(scene: Scene) -> None:
    def act(liar: Liar) -> None:
        liar.say_bytes(bytes(6 * MIB + 1))
        if liar.wait_end(5.0):
            raise CutOff

    scene.repeat(act)
