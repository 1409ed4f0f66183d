#!/usr/bin/env python3
"""A program written for NVFlare's StreamCell, ported: only the imports and the cells' constructors have changed.

Before:

    from nvflare.fuel.f3.cellnet.core_cell import CoreCell
    from nvflare.fuel.f3.message import Message
    from nvflare.fuel.f3.stream_cell import StreamCell
    from nvflare.fuel.f3.streaming.stream_types import Stream, StreamFuture

    server = CoreCell("server", "tcp://localhost:1234", secure=False, credentials={})
    site = CoreCell("site-1", "tcp://localhost:1234", secure=False, credentials={})

What else differs is in docs/nvflare.md.
"""

import hashlib
import threading
import time

from streamcell import CoreCell, Message, Stream, StreamCell, StreamFuture

CHANNEL, TOPIC = "stream_channel", "stream_topic"
SIZE = 24 * 1024 * 1024


class CountingStream(Stream):
    """A source that makes its bytes up as it goes."""

    def __init__(self, size: int) -> None:
        super().__init__(size, {"origin_of_bytes": "counter"})
        self.left = size
        self.digest = hashlib.sha256()

    def read(self, size: int) -> bytes:
        count = min(size, self.left)
        self.left -= count
        data = bytes(count % 251 for count in range(256)) * (count // 256) + bytes(count % 256)
        self.digest.update(data)
        return data


class Receiver:
    """Takes streams and blobs of any name."""

    def __init__(self, stream_cell: StreamCell) -> None:
        self.digests: dict[str, str] = {}
        self.done = threading.Event()
        stream_cell.register_stream_cb("*", "*", self.stream_cb)
        stream_cell.register_blob_cb("*", "*", self.blob_cb, "an argument", keyword="and another")

    def stream_cb(self, stream_future: StreamFuture, stream: Stream, resume: bool) -> int:
        """Hand the stream to a thread and return, as programs for NVFlare do."""
        file_name = str(stream_future.get_headers()["file"])
        threading.Thread(target=self.read_stream, args=(stream_future, stream, file_name)).start()
        return 0

    def read_stream(self, stream_future: StreamFuture, stream: Stream, file_name: str) -> None:
        digest = hashlib.sha256()
        while True:
            data = stream.read(1024 * 1024)
            if not data:
                break
            digest.update(data)
        self.digests[file_name] = digest.hexdigest()
        print(f"received {file_name}: {stream_future.result(timeout=30)} bytes")
        self.done.set()

    def blob_cb(self, stream_future: StreamFuture, positional: str, keyword: str) -> None:
        blob = stream_future.result()
        sid = stream_future.get_stream_id()
        print(f"blob {sid}: {len(blob)} bytes, headers {stream_future.get_headers()}, {positional} {keyword}")


def main() -> None:
    server = CoreCell("server", listen="grpc://127.0.0.1:0")
    receiver = Receiver(StreamCell(server))
    server.start()
    site = CoreCell("site-1", connect=server.listen_urls)
    site.start()
    stream_cell = StreamCell(site)

    stream = CountingStream(SIZE)
    future = stream_cell.send_stream(CHANNEL, TOPIC, "server", Message({"file": "numbers.bin"}, stream))
    while not future.done():
        time.sleep(0.2)
        print(f"progress: {future.get_progress()} of {future.get_size()}")
    print(f"sent: {future.result()} bytes")
    if not receiver.done.wait(30) or receiver.digests["numbers.bin"] != stream.digest.hexdigest():
        raise SystemExit("what arrived is not what was sent")

    payload = [b"a list ", bytearray(b"of buffers "), memoryview(b"is one blob")]
    blob_future = stream_cell.send_blob(CHANNEL, TOPIC, "server", Message({"round": 1}, payload), secure=False)
    print(f"blob sent: {blob_future.result(timeout=30)} bytes")

    site.stop()
    server.stop()


if __name__ == "__main__":
    main()
