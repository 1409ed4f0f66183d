"""What may answer at a port in place of a cell: a status of gRPC or of HTTP, or silence. For ``Proxy.answer``.

HTTP/2 in as many frames as that takes (RFC 9113), with header fields that need no table (RFC 7541, 6.2.2).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import grpc

from streamcell.v1 import cell_pb2
from tests.kit.proxy import Answer

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS, _PING = 0, 1, 4, 6
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
# Where ":status" stands in the static table.
_STATUS = 8
_GRPC = {"content-type": "application/grpc"}
# What is sent on a stream of HTTP/2 when a call begins there.
_AnswerCall = Callable[[int], bytes]


def grpc_status(code: grpc.StatusCode, metadata: Mapping[str, str] | None = None) -> Answer:
    """Answer each call with a status of gRPC."""
    number: int = code.value[0]
    fields = {**_GRPC, "grpc-status": str(number), "grpc-message": "made up on the way", **(metadata or {})}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _converse(reader, writer, lambda stream: _headers(stream, 200, fields, _END_STREAM))

    return answer


def http_status(status: int) -> Answer:
    """Answer each call as a web server or a load balancer does, over HTTP/2."""
    fields = {"content-type": "text/html", "location": "https://login.example/"}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _converse(reader, writer, lambda stream: _headers(stream, status, fields, _END_STREAM))

    return answer


def http1_status(status: int) -> Answer:
    """Answer as a web server does that knows no HTTP/2."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(len(_PREFACE))
        writer.write(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()

    return answer


async def silent_tcp(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Take connections, and say nothing."""
    await _swallow(reader)


async def silent_http2(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Speak HTTP/2, and do not answer calls."""
    await _converse(reader, writer, lambda _: b"")


async def silent_grpc(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take calls, and say nothing on them: no Hello."""
    await _converse(reader, writer, lambda stream: _headers(stream, 200, _GRPC))


def tunnel_to(url: str, targets: list[str]) -> Answer:
    """Be an HTTP proxy: connect whoever asks with ``url``, whatever was asked for, and note that in ``targets``."""
    there = urlsplit(url)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        targets.append((await reader.readuntil(b"\r\n\r\n")).split()[1].decode())
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        there_reader, there_writer = await asyncio.open_connection(there.hostname, there.port)
        try:
            await asyncio.gather(_pass_on(reader, there_writer), _pass_on(there_reader, writer))
        finally:
            there_writer.close()

    return answer


def no_tunnel(status: int) -> Answer:
    """Be an HTTP proxy that connects nobody."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()

    return answer


def saying(*batches: bytes) -> Answer:
    """Take calls, say some batches on each, and nothing more."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _converse(reader, writer, lambda stream: _headers(stream, 200, _GRPC) + _messages(stream, batches))

    return answer


def batch(*frames: cell_pb2.Frame) -> bytes:
    """Return what a listener says in one batch."""
    return cell_pb2.ExchangeResponse(frames=frames).SerializeToString()


SILENCES: dict[str, Answer] = {"TCP": silent_tcp, "HTTP/2": silent_http2, "Hello": silent_grpc}


async def _converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer_call: _AnswerCall) -> None:
    """Speak HTTP/2 with who dialled, and answer each call as soon as it begins."""
    await reader.readexactly(len(_PREFACE))
    writer.write(_frame(_SETTINGS, 0, 0, b""))
    while True:
        head = await reader.readexactly(9)
        payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
        kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
        if kind == _SETTINGS and not flags & _ACK:
            writer.write(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING and not flags & _ACK:
            writer.write(_frame(_PING, _ACK, 0, payload))
        elif kind == _HEADERS:
            writer.write(answer_call(stream))
        await writer.drain()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def _swallow(reader: asyncio.StreamReader) -> None:
    while await reader.read(65536):
        pass


def _headers(stream: int, status: int, fields: dict[str, str], flags: int = 0) -> bytes:
    block = bytes([_STATUS]) + _text(str(status))
    for name, value in fields.items():
        block += b"\0" + _text(name) + _text(value)
    return _frame(_HEADERS, flags | _END_HEADERS, stream, block)


def _messages(stream: int, batches: tuple[bytes, ...]) -> bytes:
    return b"".join(_frame(_DATA, 0, stream, b"\0" + len(message).to_bytes(4, "big") + message) for message in batches)


def _text(text: str) -> bytes:
    return bytes([len(text)]) + text.encode("ascii")


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
