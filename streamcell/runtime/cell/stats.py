"""Snapshots of a cell for people and metrics."""

from __future__ import annotations

import dataclasses

from streamcell.protocol.stats import CellStats
from streamcell.runtime.threads.workers import PoolStats
from streamcell.runtime.traffic import TrafficStats


@dataclasses.dataclass(frozen=True, slots=True)
class RunningStats:
    """What a cell is doing, as ``stats()`` returns it.

    Attributes:
        protocol: links, streams under way, and counts of bytes and streams since the start.
        pools: the threads for callbacks, requests, sources and digests, and what waits for them.
        done_callbacks_waiting: callbacks of futures and links that wait for the notifier thread.
        callbacks_failed: callbacks of any sort that raised.
        blobs_failed: blobs that did not arrive, so that no callback was called.
        traffic: bytes by channel, and failures by code.
    """

    protocol: CellStats
    pools: tuple[PoolStats, ...]
    done_callbacks_waiting: int
    callbacks_failed: int
    blobs_failed: int
    traffic: TrafficStats
