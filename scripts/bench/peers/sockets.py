"""Plain TCP sockets of Python: `sendall` there, `recv_into` the same buffer here, one byte back at the end."""

from __future__ import annotations

import socket
import threading

from scripts.bench.peers.base import MIB, WAIT_S, Client, Pieces, StreamOnlyClient, Tally

SIZE_BYTES = 8
CONFIRMATION = b"\x01"


class SocketClient(StreamOnlyClient):
    """The sending end."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def send_stream(self, pieces: Pieces) -> None:
        self._connection.sendall(pieces.size.to_bytes(SIZE_BYTES, "big"))
        while piece := pieces.take():
            self._connection.sendall(piece)
        if self._connection.recv(1) != CONFIRMATION:
            raise RuntimeError("the other end did not confirm all")


class SocketPeer:
    """One connection, on which streams follow each other."""

    def serve(self, tally: Tally) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, args=(listener, tally), daemon=True).start()
        return f"127.0.0.1:{listener.getsockname()[1]}"

    def connect(self, address: str) -> Client:
        host, _, port = address.rpartition(":")
        return SocketClient(socket.create_connection((host, int(port)), WAIT_S))

    def _accept(self, listener: socket.socket, tally: Tally) -> None:
        connection, _ = listener.accept()
        buffer = memoryview(bytearray(MIB))
        while header := connection.recv(SIZE_BYTES, socket.MSG_WAITALL):
            size = left = int.from_bytes(header, "big")
            while left:
                received = connection.recv_into(buffer, min(left, len(buffer)))
                if not received:
                    raise ConnectionError("the sender is gone")
                left -= received
            tally.add(size)
            connection.sendall(CONFIRMATION)


make = SocketPeer
