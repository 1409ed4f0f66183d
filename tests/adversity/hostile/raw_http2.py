"""A client of HTTP/2 made of a socket: what gRPC would never send. Frames as in RFC 9113, headers as in RFC 7541."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.adversity.stranger import EXCHANGE
from tests.kit.timing import scaled

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
ACK, END_STREAM, END_HEADERS = 0x1, 0x1, 0x4
CANCEL = 8
LIMIT_S = scaled(5)
_HEAD = struct.Struct(">HBBBI")
_READ_BYTES = 1 << 16


class Gone(Exception):
    """The other side has ended the connection."""


class RawConnection:
    """A connection. A context manager: at its end it is closed."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self._socket = socket.create_connection((str(place.hostname), int(place.port or 0)), LIMIT_S)
        self._unread = b""
        #: What the other side said in its GOAWAY.
        self.goaway = b""
        self.send(PREFACE + frame(SETTINGS, 0, 0))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes as they are, and read what has come.

        Raises:
            Gone: the connection has ended.
        """
        try:
            self._socket.settimeout(LIMIT_S)
            self._socket.sendall(data)
        except OSError as error:
            raise Gone(self.goaway) from error
        self.read(0.0)

    def read(self, seconds: float) -> None:
        """Read what comes in that time, and keep nothing but a GOAWAY.

        Raises:
            Gone: the connection has ended.
        """
        deadline = time.monotonic() + seconds
        while True:
            self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                came = self._socket.recv(_READ_BYTES)
            except TimeoutError:
                return
            except OSError as error:
                raise Gone(self.goaway) from error
            if not came:
                raise Gone(self.goaway)
            self._unread += came
            self._take()

    def wait_end(self, seconds: float = LIMIT_S) -> bool:
        """Wait until the other side ends the connection; return whether it does."""
        with contextlib.suppress(Gone):
            self.read(seconds)
            return False
        return True

    def _take(self) -> None:
        while len(self._unread) >= 9:
            high, low, kind, _, _ = _HEAD.unpack(self._unread[:9])
            end = 9 + (high << 8 | low)
            if len(self._unread) < end:
                return
            payload, self._unread = self._unread[9:end], self._unread[end:]
            if kind == GOAWAY:
                self.goaway = payload[8:] or payload
            elif kind == SETTINGS and payload:
                self._socket.sendall(frame(SETTINGS, ACK, 0))


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return a frame of HTTP/2."""
    size = len(payload)
    return _HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload


def literal(name: str, value: str) -> bytes:
    """Return a header that is written out, without an index."""
    return b"\x00" + _text(name) + _text(value)


def call_headers(*more: tuple[str, str]) -> bytes:
    """Return the headers of a call of Exchange."""
    usual = (
        (":method", "POST"),
        (":scheme", "http"),
        (":path", EXCHANGE),
        (":authority", "hub"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    )
    return b"".join(literal(name, value) for name, value in (*usual, *more))


def message(data: bytes, *, compressed: bool = False, declared: int | None = None) -> bytes:
    """Return a message of gRPC, with the length that it is to declare."""
    return struct.pack(">BI", compressed, len(data) if declared is None else declared) + data


def _text(text: str) -> bytes:
    data = text.encode()
    if len(data) < 127:
        return bytes([len(data)]) + data
    left, length = len(data) - 127, bytearray(b"\x7f")
    while left >= 128:
        length.append(left & 127 | 128)
        left >>= 7
    length.append(left)
    return bytes(length) + data
