"""A peer that speaks frames: one lane to a cell, made of gRPC and generated code alone. It keeps no rule by itself."""

from __future__ import annotations

import collections
import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Self

from streamcell.transport.grpc.environment import grpc
from streamcell.v1 import cell_pb2
from tests.adversity.stranger import batch, hello, open_lane
from tests.kit.timing import scaled

LIMIT_S = scaled(20)
#: Frames that make no batch too long.
BATCH_FRAMES = 4096
_CHANNEL: list[tuple[str, int]] = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
]
# Batches that wait to be sent: more would only be the liar's own memory.
_WAITING = 2
_KEPT = 1000


class CutOff(Exception):
    """The lane has ended."""


class Liar:
    """A dialler. A context manager: at its end it is gone, without a word.

    Args:
        url: of a cell.
        fqcn: that it says is its own.
        greeting: the frames that it begins with; not given: a good Hello.
        reads: whether it takes what it is sent.
        fields: of the Hello, other than usual.
    """

    def __init__(
        self,
        url: str,
        fqcn: str,
        *,
        greeting: Iterable[cell_pb2.Frame] | None = None,
        reads: bool = True,
        metadata: tuple[tuple[str, str], ...] = (),
        options: Iterable[tuple[str, int]] = (),
        **fields: object,
    ) -> None:
        self.fqcn = fqcn
        self.incarnation = (int(time.time() * 1000) << 20) | (time.perf_counter_ns() & 0xFFFFF)
        said = {"fqcn": fqcn, "incarnation": self.incarnation, **fields}
        self.incarnation = int(str(said["incarnation"]))
        #: How many frames of each kind have come.
        self.heard: collections.Counter[str] = collections.Counter()
        #: Goodbyes and Losts by their code or reason, with one sentence of each.
        self.told: dict[str, str] = {}
        self._frames: queue.Queue[cell_pb2.Frame] = queue.Queue(_KEPT)
        self._outgoing: queue.Queue[bytes | None] = queue.Queue(_WAITING)
        self._ended = threading.Event()
        self._channel = grpc.insecure_channel(url.removeprefix("grpc://"), options=[*_CHANNEL, *options])
        self._call: Any = open_lane(self._channel)(iter(self._outgoing.get, None), metadata=metadata)
        self._call.add_callback(self._ended.set)
        self._reading = threading.Thread(target=self._read)
        if reads:
            self._reading.start()
        self.say(*([hello(**said)] if greeting is None else greeting))

    @property
    def is_cut_off(self) -> bool:
        """Whether the lane has ended."""
        return self._ended.is_set()

    @property
    def status(self) -> str:
        """The status of the call that has ended, and what it says."""
        return f"{self._call.code().name}: {self._call.details()}"

    def say(self, *frames: cell_pb2.Frame) -> None:
        """Send frames, in one batch.

        Raises:
            CutOff: the lane has ended.
        """
        self.say_bytes(batch(*frames))

    def say_bytes(self, data: bytes) -> None:
        """Send a batch as it is. Waits until there is room on the way.

        Raises:
            CutOff: the lane has ended.
        """
        while not self._ended.is_set():
            with contextlib.suppress(queue.Full):
                return self._outgoing.put(data, timeout=0.05)
        raise CutOff

    def hear(self, kind: str, seconds: float = LIMIT_S) -> Any:
        """Wait for a frame of a kind, and drop those before it.

        Raises:
            CutOff: the lane has ended before.
            TimeoutError: none came in that time.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                frame = self._frames.get(timeout=0.05)
                if frame.WhichOneof("kind") == kind:
                    return getattr(frame, kind)
                continue
            if self._ended.is_set() and not self._reading.is_alive() and self._frames.empty():
                raise CutOff(self.status)
        raise TimeoutError(f"no {kind} came: {self.heard}, {self.told}")

    def wait_end(self, seconds: float = LIMIT_S) -> bool:
        """Wait until the lane has ended; return whether it has."""
        return self._ended.wait(seconds)

    def close(self) -> None:
        """Go."""
        self._call.cancel()
        with contextlib.suppress(queue.Full):
            self._outgoing.put(None, timeout=0.1)
        self._ended.wait(LIMIT_S)
        if self._reading.ident is not None:
            self._reading.join(LIMIT_S)
        self._channel.close()
        while self._outgoing.qsize():
            with contextlib.suppress(queue.Empty):
                self._outgoing.get_nowait()
        self._outgoing.put(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def stream(self, number: int = 1, target: str = "hub", **fields: object) -> cell_pb2.StreamRef:
        """Return the name of one of its own streams, except for the given fields."""
        own: dict[str, object] = {
            "origin": self.fqcn,
            "origin_incarnation": self.incarnation,
            "target": target,
            "stream_id": number,
            "attempt": 1,
        }
        return cell_pb2.StreamRef(**{**own, **fields})  # type: ignore[arg-type]

    def _read(self) -> None:
        with contextlib.suppress(grpc.RpcError):
            for answer in self._call:
                for frame in cell_pb2.ExchangeResponse.FromString(answer).frames:
                    self._take(frame)

    def _take(self, frame: cell_pb2.Frame) -> None:
        kind = str(frame.WhichOneof("kind"))
        self.heard[kind] += 1
        if kind == "goodbye":
            self.told.setdefault(f"goodbye {error_name(frame.goodbye.code)}", frame.goodbye.sentence)
        elif kind == "reset":
            self.told.setdefault(f"reset {error_name(frame.reset.code)}", frame.reset.sentence)
        elif kind == "lost":
            self.told.setdefault(f"lost {reason_name(frame.lost.reason)}", "")
        elif kind == "announce_reply" and frame.announce_reply.code:
            self.told.setdefault(f"refused {error_name(frame.announce_reply.code)}", frame.announce_reply.sentence)
        with contextlib.suppress(queue.Full):
            self._frames.put_nowait(frame)


def error_name(code: int) -> str:
    """Return the name of an error code, as in the documents."""
    return cell_pb2.ErrorCode.Name(code).removeprefix("ERROR_CODE_")


def reason_name(reason: int) -> str:
    """Return the name of a reason for which frames were lost."""
    return cell_pb2.LostReason.Name(reason).removeprefix("LOST_REASON_")


def many(make: Callable[[int], cell_pb2.Frame], first: int = 1, count: int = BATCH_FRAMES) -> bytes:
    """Return a batch of frames with numbers from ``first`` on."""
    return batch(*map(make, range(first, first + count)))
