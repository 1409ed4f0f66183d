#!/usr/bin/env python3
"""Two cells in one process: a stream, a blob, a request.

Run it: python examples/two_cells.py
"""

from streamcell import CoreCell, Message, ReceivedStream, StreamCell, StreamFuture


def lines_of_a_log(number: int) -> list[bytes]:
    return [f"step {step}: loss {1 / (step + 1):.4f}\n".encode() for step in range(number)]


def main() -> None:
    server = CoreCell("server", listen="grpc://127.0.0.1:0")
    received = StreamCell(server)

    def on_log(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
        last = b""
        for line in stream:
            last = line
        print(f"server: {stream.get_pos():,} bytes from {stream.origin}, the last line is {last.decode().strip()!r}")

    def on_weights(future: StreamFuture) -> None:
        weights = future.result()
        print(f"server: a blob of {len(weights):,} bytes, round {future.get_headers()['round']!r}")

    def on_question(request: Message) -> Message:
        return Message({"served_by": "server"}, bytes(request.payload).upper())

    received.register_stream_cb("train", "log", on_log)
    received.register_blob_cb("train", "weights", on_weights)
    server.register_request_cb("control", "*", on_question)

    with server, CoreCell("site-1", connect=server.listen_urls) as site:
        site.wait_connected(timeout=10)
        cell = StreamCell(site)

        # Any iterable of bytes is a stream, and so is a file that was opened in binary mode.
        log = cell.send_stream("train", "log", "server", Message(None, lines_of_a_log(100_000)))
        print(f"site-1: the server has read {log.result(timeout=30):,} bytes")

        weights = cell.send_blob("train", "weights", "server", Message({"round": 7}, bytearray(8 * 2**20)))
        print(f"site-1: the server holds {weights.result(timeout=30):,} bytes")

        reply = site.send_request("control", "shout", "server", Message(None, b"hello"), timeout=10)
        print(f"site-1: {bytes(reply.payload).decode()} from {reply.get_header('served_by')!r}")


if __name__ == "__main__":
    main()
