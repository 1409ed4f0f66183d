"""What is done with each chunk, by itself: a process that measures it in one thread, tells it, and ends.

`python -m scripts.bench.costs MIB ROUNDS`. Each thing is done with so many different chunks of 1 MiB, one after
the other, as in a transfer; the answer has the seconds for each chunk, of each round.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Sequence

from streamcell.limits import HOPS, MIB
from streamcell.protocol.wire.frames import Chunk, StreamKey
from streamcell.runtime.buffers import BufferPool
from streamcell.runtime.engine.allocator import tune_allocator
from streamcell.transport.checksum import checksum
from streamcell.transport.codec import decode_batch, encode_batch
from streamcell.transport.parts import join


def make_chunks(count: int) -> list[Chunk]:
    data = memoryview(os.urandom(MIB) * count)
    payloads = [data[at : at + MIB] for at in range(0, len(data), MIB)]
    key = StreamKey("site-1", 1, 1)
    return [
        Chunk(key, "server", 1, "bench", "stream", number, number * MIB, False, HOPS, 0, payload)
        for number, payload in enumerate(payloads)
    ]


def seconds_for_each(work: Callable[[], object], count: int) -> float:
    begun = time.perf_counter()
    work()
    return (time.perf_counter() - begun) / count


def copy_into(buffer: memoryview, chunks: Sequence[Chunk]) -> None:
    for number, chunk in enumerate(chunks):
        buffer[number * MIB : (number + 1) * MIB] = chunk.payload


def measure(count: int, rounds: int) -> dict[str, list[float]]:
    """Return the seconds that each thing took for a chunk, in each round."""
    chunks = make_chunks(count)
    messages = [join(encode_batch([chunk])) for chunk in chunks]
    warm = memoryview(bytearray(count * MIB))
    # Keeps nothing, so that what it gives was never touched.
    fresh = BufferPool(0, lambda: None)
    works: dict[str, Callable[[], object]] = {
        "checksum": lambda: [checksum(chunk.payload) for chunk in chunks],
        # Each message is dropped before the next one, as by a writer.
        "join": lambda: sum(len(join(encode_batch([chunk]))) for chunk in chunks),
        "take apart": lambda: [decode_batch([message]) for message in messages],
        "copy": lambda: copy_into(warm, chunks),
        "copy into fresh memory": lambda: copy_into(fresh.allocate(count * MIB), chunks),
        "sha256": lambda: [hashlib.sha256(chunk.payload) for chunk in chunks],
    }
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()
    for _ in range(rounds):
        for name, work in works.items():
            seconds[name].append(seconds_for_each(work, count))
    return seconds


if __name__ == "__main__":
    tune_allocator()
    print(json.dumps(measure(int(sys.argv[1]), int(sys.argv[2]))), flush=True)
