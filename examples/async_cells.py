#!/usr/bin/env python3
"""Two cells in an asyncio program, through streamcell.aio.

Run it: python examples/async_cells.py
"""

import asyncio
from collections.abc import Iterator

from streamcell import Message, StreamCancelled
from streamcell.aio import CoreCell, ReceivedStream, StreamCell, StreamFuture


def measurements(number: int) -> Iterator[bytes]:
    return (f"{index},{index * index}\n".encode() for index in range(number))


async def on_measurements(future: StreamFuture, stream: ReceivedStream, resume: bool) -> None:
    try:
        async for _ in stream:
            pass
    except StreamCancelled as cancelled:
        print(f"server: {cancelled}")
    else:
        print(f"server: {stream.get_pos():,} bytes from {stream.origin}")


async def on_question(request: Message) -> Message:
    await asyncio.sleep(0)  # whatever takes time
    return Message({"length": len(request.payload)})


async def main() -> None:
    async with CoreCell("server", listen="grpc://127.0.0.1:0") as server:
        server.register_request_cb("control", "length", on_question)
        StreamCell(server).register_stream_cb("data", "measurements", on_measurements)
        async with CoreCell("site-1", connect=server.listen_urls) as site:
            await site.wait_connected(timeout=10)
            cell = StreamCell(site)

            # Sending returns at once; awaiting the future is what waits.
            future = await cell.send_stream("data", "measurements", "server", Message(None, measurements(50_000)))
            print(f"site-1: the server has read {await future:,} bytes")

            requests = (
                site.send_request("control", "length", "server", Message(None, bytes(size)), timeout=10)
                for size in (1, 10, 100)
            )
            print("site-1: replies", [reply.get_header("length") for reply in await asyncio.gather(*requests)])

            # Cancelling whoever awaits a transfer cancels the transfer.
            endless = await cell.send_stream("data", "measurements", "server", Message(None, measurements(10**12)))
            try:
                async with asyncio.timeout(0.2):
                    await endless
            except TimeoutError:
                print(f"site-1: the endless one was cancelled: {endless.cancelled()}")


if __name__ == "__main__":
    asyncio.run(main())
