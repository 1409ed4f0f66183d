"""The configuration of a cell, and what its process has once: frozen values, checked when they are made."""

from __future__ import annotations

import dataclasses

from streamcell import limits
from streamcell.errors import UsageError


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSettings:
    """What a process has once, for all of its cells and for the rest of the program. Units are in the names.

    An application gives them with the configuration of a cell. The first cell that starts decides, for as long as the
    process lives; a later one that asks for something else is told so in the log.

    Attributes:
        tune_allocator: set two thresholds and the number of arenas of glibc, when the first cell starts.
        batch_grpc_threads: give gRPC's threads the class for batch work, when a cell starts them (Linux).
        switch_interval_s: the interpreter's switch interval; 0 leaves it alone.

    :raises UsageError: when made with a value out of range; the sentence names the field and the range.
    """

    tune_allocator: bool = True
    batch_grpc_threads: bool = True
    switch_interval_s: float = 0.0

    def __post_init__(self) -> None:
        _check(self)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CellConfig(ProcessSettings):
    """What an application may choose for a cell, and with it for its process. Units are in the names.

    ``dial_timeout_s`` is an earlier name of ``connect_timeout_s``: it may be given in its place, and is not kept.

    :raises UsageError: when made with a value out of range; the sentence names the field and the range. Or with both
        names of one value, and they say different things.
    """

    # Data path. Chunks of 1 MiB are where throughput on loopback stops rising.
    chunk_bytes: int = limits.MIB
    max_window_bytes: int = 32 * limits.MIB
    read_ahead_bytes: int = 8 * limits.MIB
    bulk_lanes: int = 1

    # Memory. Streams and relaying; blobs; requests and replies: none of them can starve another.
    receive_budget_bytes: int = 256 * limits.MIB
    blob_budget_bytes: int = 4 * limits.GIB
    request_budget_bytes: int = 1 * limits.GIB
    max_blob_bytes: int = 4 * limits.GIB
    # Buffers of blobs that were dropped, kept for a while for the next ones.
    idle_buffer_bytes: int = 1 * limits.GIB

    # Concurrency. Threads are started when needed and end when idle.
    callback_threads: int = 64
    request_threads: int = 32
    source_threads: int = 64
    max_streams_per_peer: int = 1024
    max_requests_per_peer: int = 256
    # Those that have a link here, which bounds what strangers can make it hold. Each takes a descriptor or two.
    max_cells: int = 4000
    # Of them those of one address that is not this machine's. Raise it where many cells are behind one router (NAT).
    max_cells_per_address: int = 1024

    # Time.
    idle_timeout_s: float = 300.0
    # How long an idle timeout of a stream that others send here is granted at most.
    max_peer_idle_timeout_s: float = 3600.0
    unreachable_timeout_s: float = 120.0
    request_timeout_s: float = 60.0
    ping_after_s: float = 5.0
    control_ping_after_s: float = 15.0
    suspect_after_s: float = 3.0
    link_down_s: float = 30.0
    idle_lane_s: float = 60.0
    # A dial: until there is a connection of HTTP/2, and from then on to the other side's Hello. A listener that has
    # lost all its cells at once comes to the last of them late; who hangs up before has cost it the work in vain.
    connect_timeout_s: float = 3.0
    hello_timeout_s: float = 30.0
    # Whether a list of addresses is dialled as it was given. By default each cell has an order of its own, so that many
    # cells do not all come to the first one.
    connect_in_order: bool = False
    backoff_min_s: float = 0.2
    # Of dials: after a few failures in a row the waits go beyond (``base/context.py``).
    backoff_max_s: float = 5.0
    # How long to wait, up to twice that, before what refuses is dialled again where no cell has answered yet.
    backoff_refused_s: float = 30.0
    stop_grace_s: float = 5.0
    dial_timeout_s: dataclasses.InitVar[float | None] = None

    def __post_init__(self, dial_timeout_s: float | None) -> None:
        _check(self)
        if dial_timeout_s is not None:
            self._take_earlier_name("dial_timeout_s", dial_timeout_s)
        if self.backoff_min_s > self.backoff_max_s:
            raise UsageError("CellConfig.backoff_min_s is larger than backoff_max_s")

    @property
    def process(self) -> ProcessSettings:
        """What of it concerns the whole process."""
        return ProcessSettings(
            **{field.name: getattr(self, field.name) for field in dataclasses.fields(ProcessSettings)}
        )

    def _take_earlier_name(self, earlier_name: str, value: float) -> None:
        """Set a field by the name that it had before, unless it was set by the one that it has."""
        name = EARLIER_NAMES[earlier_name]
        _check_value(f"CellConfig.{earlier_name}", value, name)
        kept = getattr(self, name)
        if kept not in (value, type(self).__dataclass_fields__[name].default):
            raise UsageError(
                f"CellConfig.{earlier_name} is an earlier name of {name}, and the two differ ({value:g} and {kept:g}): "
                f"give {name} only"
            )
        object.__setattr__(self, name, value)


# Names that a field had before, which a constructor takes as well.
EARLIER_NAMES = {"dial_timeout_s": "connect_timeout_s"}

# Some thirty years: timers everywhere can count that.
LONGEST_TIMEOUT_S = 1e9

_TIB = 1024 * limits.GIB
# The lowest and the highest value of each number; what is not here is a switch.
_RANGES: dict[str, tuple[float, float]] = {
    "chunk_bytes": (1024, limits.CHUNK_PAYLOAD_BYTES),
    "max_window_bytes": (limits.INITIAL_CREDIT_BYTES, limits.GIB),
    "read_ahead_bytes": (1024, limits.GIB),
    "bulk_lanes": (0, limits.LANES - 1),
    "receive_budget_bytes": (limits.INITIAL_CREDIT_BYTES, _TIB),
    "blob_budget_bytes": (1, _TIB),
    "request_budget_bytes": (1, _TIB),
    "max_blob_bytes": (1, _TIB),
    "idle_buffer_bytes": (0, _TIB),
    "callback_threads": (1, 10_000),
    "request_threads": (1, 10_000),
    "source_threads": (1, 10_000),
    "max_streams_per_peer": (1, 1_000_000),
    "max_requests_per_peer": (1, 1_000_000),
    "max_cells": (1, 1_000_000),
    "max_cells_per_address": (1, 1_000_000),
    "idle_timeout_s": (0, LONGEST_TIMEOUT_S),
    "max_peer_idle_timeout_s": (limits.LEAST_GRANTED_TIMEOUT_S, LONGEST_TIMEOUT_S),
    "unreachable_timeout_s": (0, LONGEST_TIMEOUT_S),
    "request_timeout_s": (0, LONGEST_TIMEOUT_S),
    "ping_after_s": (0.01, 3600),
    "control_ping_after_s": (0.01, 3600),
    "suspect_after_s": (0.01, 3600),
    "link_down_s": (0.01, 1e6),
    "idle_lane_s": (0.01, 1e6),
    "connect_timeout_s": (0.01, 3600),
    "hello_timeout_s": (0.01, 3600),
    "backoff_min_s": (0.001, 3600),
    "backoff_max_s": (0.001, 3600),
    "backoff_refused_s": (0.001, 3600),
    "stop_grace_s": (0, 3600),
    "switch_interval_s": (0, 1),
}


def _check(settings: ProcessSettings) -> None:
    """Check every field.

    Raises:
        UsageError: one is out of range.
    """
    kind = type(settings).__name__
    for field in dataclasses.fields(settings):
        name, value = field.name, getattr(settings, field.name)
        if name not in _RANGES:
            if not isinstance(value, bool):
                raise UsageError(f"{kind}.{name} must be True or False, not {value!r}")
            continue
        _check_value(f"{kind}.{name}", value, name)


def _check_value(what: str, value: object, name: str) -> None:
    """Check a value that is to be that of the field ``name``."""
    low, high = _RANGES[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise UsageError(f"{what} must be between {low} and {high}, not {value!r}")
    if not name.endswith("_s") and not isinstance(value, int):
        raise UsageError(f"{what} must be a whole number, not {value!r}")
