"""What type checkers know of both coats: read by mypy with the tests, not run."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any, assert_type

import streamcell
from streamcell import CellError, Hop, KnownCells, Message, StreamFuture, aio


def threads(cell: streamcell.CoreCell, streams: streamcell.StreamCell, message: Message) -> None:
    assert_type(streams.send_stream("c", "t", "target", message), StreamFuture)
    assert_type(streams.send_stream("c", "t", ["target"], message, False, True), dict[str, StreamFuture])
    assert_type(streams.send_blob("c", "t", "target", message, digest="sha256", copy=True), StreamFuture)
    assert_type(streams.send_blob("c", "t", ("target",), message), dict[str, StreamFuture])
    assert_type(cell.send_request("c", "t", "target", message, 5.0, copy=True), Message)
    assert_type(cell.broadcast_request("c", "t", ["target"], message), dict[str, Message | CellError])
    assert_type(cell.fire_and_forget("c", "t", {"target"}, message), dict[str, CellError | None])
    assert_type(cell.is_cell_connected("target"), bool)
    assert_type(cell.is_cell_reachable(name="target"), bool)
    assert_type(cell.disconnect(["grpc://localhost:1"]), bool)
    assert_type(cell.cells(timeout=1), KnownCells)
    assert_type(cell.trace("target", 1.0), list[Hop])
    assert_type(cell.stats().protocol.fqcn, str)
    with cell as entered:
        assert_type(entered, streamcell.CoreCell)
    # What is wrong is found.
    streams.send_stream("c", "t", "target", message, resume="r")  # type: ignore[call-overload]
    cell.send_request("c", "t", ["target"], message)  # type: ignore[arg-type]
    cell.trace(5)  # type: ignore[arg-type]
    cell.stats(1)  # type: ignore[call-arg]


async def event_loops(cell: aio.CoreCell, streams: aio.StreamCell, message: Message) -> None:
    assert_type(await streams.send_stream("c", "t", "target", message), aio.StreamFuture)
    task_of_many = asyncio.create_task(streams.send_blob("c", "t", ["target"], message))
    assert_type(task_of_many, asyncio.Task[dict[str, aio.StreamFuture]])
    assert_type(await streams.send_stream("c", "t", ["target"], message, False, True), dict[str, aio.StreamFuture])
    assert_type(await streams.send_blob("c", "t", "target", message, digest="sha256", copy=True), aio.StreamFuture)
    assert_type(await streams.send_blob("c", "t", ("target",), message), dict[str, aio.StreamFuture])
    assert_type(await cell.send_request("c", "t", "target", message, 5.0, copy=True), Message)
    assert_type(await cell.broadcast_request("c", "t", ["target"], message), dict[str, Message | CellError])
    assert_type(await cell.fire_and_forget("c", "t", {"target"}, message), dict[str, CellError | None])
    assert_type(await cell.is_cell_connected("target"), bool)
    assert_type(await cell.is_cell_reachable(name="target"), bool)
    assert_type(await cell.disconnect(["grpc://localhost:1"]), bool)
    assert_type(await cell.cells(timeout=1), KnownCells)
    assert_type(await cell.trace("target", 1.0), list[Hop])
    assert_type((await cell.stats()).protocol.fqcn, str)
    task = asyncio.create_task(cell.stats())
    assert_type(dataclasses.asdict(await task), dict[str, Any])
    async with cell as entered:
        assert_type(entered, aio.CoreCell)
    # What is wrong is found.
    await streams.send_stream("c", "t", "target", message, resume="r")  # type: ignore[call-overload]
    await cell.send_request("c", "t", ["target"], message)  # type: ignore[arg-type]
    await cell.trace(5)  # type: ignore[arg-type]
    await cell.stats(1)  # type: ignore[call-arg]
