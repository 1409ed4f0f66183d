"""A cell made of nothing but the page "What a minimal cell must do" (docs/wire.md), protobuf and gRPC: one lane."""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Callable
from typing import Any

from streamcell.transport.grpc.environment import grpc
from streamcell.v1 import cell_pb2
from tests.kit.minimal_streams import CHUNK_BYTES, INITIAL_CREDIT, Incoming, Outgoing, backoff_s, checksum, key_of
from tests.kit.timing import scaled

LIMIT_S = scaled(20)
HELLO_S = scaled(30)
CLOSE_S = scaled(3)
SHARED_LANE_BYTES = 262_144
MESSAGE_BYTES = 6 * 2**20
FEW_FAILURES = 5
REFUSED = (cell_pb2.ERROR_CODE_VERSION, cell_pb2.ERROR_CODE_AUTHENTICATION)


def dial_backoff_s(failures: int) -> float:
    """Return how long to wait before the next dial."""
    beyond = failures - FEW_FAILURES
    return backoff_s(failures) if beyond <= 0 else min(30.0, 5.0 * 2.0 ** min(beyond, 10)) * random.uniform(0.5, 1)


def retry_after_s(error: grpc.RpcError) -> float:
    """Return for how long whoever has refused a call asks not to be called again."""
    metadata: Any = error.trailing_metadata()
    said = dict(metadata or ()).get("streamcell-retry-after-ms", "")
    busy = error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
    return min(300.0, int(said) / 1000) * random.uniform(1, 1.5) if busy and said.isdecimal() else 0.0


class Lane:
    """One call of Exchange, and what is on its way there."""

    def __init__(self, url: str) -> None:
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", MESSAGE_BYTES)]
        self._channel = grpc.insecure_channel(url.removeprefix("grpc://"), options=options)
        exchange = self._channel.stream_stream(
            "/streamcell.v1.CellService/Exchange",
            request_serializer=cell_pb2.ExchangeRequest.SerializeToString,
            response_deserializer=cell_pb2.ExchangeResponse.FromString,
        )
        self._outgoing: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.call = exchange(iter(self._outgoing.get, None))
        self.dialled_at = self.heard_at = time.monotonic()
        self.pinged_at: float | None = None
        self.is_up = self.awaits_answer = False
        # Bytes of bulk: put on the lane, before the last Ping, and before the last Pong.
        self.sent = self.marked = self.read = 0
        self._marks: dict[int, int] = {}

    @property
    def room(self) -> int:
        """How much bulk may go."""
        return SHARED_LANE_BYTES - (self.sent - self.read)

    def post(self, **frame: Any) -> None:
        self.awaits_answer |= "chunk" in frame or "resume_query" in frame or "query" in frame
        self._outgoing.put(cell_pb2.ExchangeRequest(frames=[cell_pb2.Frame(**frame)]))

    def ping(self, settled_below: int) -> None:
        nonce = random.getrandbits(64)
        self._marks[nonce] = self.marked = self.sent
        self.post(ping=cell_pb2.Ping(nonce=nonce, settled_below=settled_below))

    def on_pong(self, nonce: int) -> None:
        self.read = max(self.read, self._marks.pop(nonce, 0))

    def hear(self) -> None:
        self.heard_at, self.pinged_at, self.awaits_answer = time.monotonic(), None, False

    def end(self) -> None:
        """Send what is left, and end the call."""
        self._outgoing.put(None)

    def close(self) -> None:
        self.call.cancel()
        self.end()
        self._channel.close()


class MinimalCell:
    """The steps of the page. ``kill()``: its process is gone; ``close()``: it leaves."""

    def __init__(
        self, fqcn: str, url: str, *, ping_s: float = 5.0, idle_ping_s: float = 15.0, answer_s: float = 3.0
    ) -> None:
        self.fqcn = fqcn
        self.incarnation = (int(time.time() * 1000) << 20) + random.getrandbits(20)
        #: Frames in the order in which they were handled.
        self.heard: queue.SimpleQueue[Any] = queue.SimpleQueue()
        #: How each stream that was sent has ended, by its id: None or the code of a Reset.
        self.ended: queue.SimpleQueue[tuple[int, int | None]] = queue.SimpleQueue()
        self.lanes_dialled = 0
        self.chunks_to_spoil = 0
        self._url = url
        self._times = ping_s, idle_ping_s, answer_s
        self._incoming: dict[tuple[str, int, int], Incoming] = {}
        self._settled_below: dict[tuple[str, int], int] = {}
        self._sends: dict[int, Outgoing] = {}
        self._next_id = 1
        self._link_id = b""
        self._peer: Any = None
        self._failures = 0
        self._least_wait_s = 0.0
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._lane = self._dial()
        self._threads = [threading.Thread(target=self._read), threading.Thread(target=self._watch)]
        for thread in self._threads:
            thread.start()
        self.hear("hello")

    def hear(self, kind: str) -> Any:
        """Wait for a frame of a kind, and drop those before it."""
        while (frame := self.heard.get(timeout=LIMIT_S)).WhichOneof("kind") != kind:
            pass
        return getattr(frame, kind)

    @property
    def received(self) -> dict[tuple[str, int], bytes]:
        """What came of each stream that is not settled, by origin and id."""
        return {(origin, number): bytes(known.data) for (origin, _, number), known in self._incoming.items()}

    def send(self, kind: cell_pb2.StreamKind, topic: str, payload: bytes, target: str = "") -> int:
        """Send a stream, to the neighbour if not said otherwise, and return its id."""
        with self._lock:
            stream_id = self._next_id
            self._next_id += 1
            stream = cell_pb2.StreamRef(
                origin=self.fqcn,
                origin_incarnation=self.incarnation,
                target=target or self._peer.fqcn,
                stream_id=stream_id,
                attempt=1,
            )
            opening = cell_pb2.Open(kind=kind, size=len(payload), idle_timeout_s=LIMIT_S)
            send = self._sends[stream_id] = Outgoing(stream, topic, payload, opening)
            if stream.target == self._peer.fqcn:
                opening.target_incarnation = self._peer.incarnation
            elif send.is_whole:
                self._post(resume_query=send.ask())
            self._pump()
        return stream_id

    def query(self) -> Any:
        self._post(query=cell_pb2.Query(query_id=5, asker=self.fqcn, hops_left=16))
        return self.hear("query_reply")

    def close(self) -> None:
        with self._lock:
            self._closed.set()
            self._post(goodbye=cell_pb2.Goodbye(code=cell_pb2.ERROR_CODE_STOPPING, sentence="done"))
            self._lane.end()
        # The other side ends the call, if it hears of it.
        self._threads[0].join(CLOSE_S)
        self._lane.close()
        self._join()

    def kill(self) -> None:
        """End without a word."""
        with self._lock:
            self._closed.set()
            self._lane.close()
        self._join()

    def _join(self) -> None:
        for thread in self._threads:
            thread.join(LIMIT_S)

    def _post(self, **frame: Any) -> None:
        self._lane.post(**frame)

    # Lanes.

    def _dial(self) -> Lane:
        lane = Lane(self._url)
        self.lanes_dialled += 1
        lane.post(
            hello=cell_pb2.Hello(
                version_min=1,
                version_max=1,
                fqcn=self.fqcn,
                incarnation=self.incarnation,
                link_id=self._link_id,
                lane_number=self.lanes_dialled,
                lane_role=cell_pb2.LANE_ROLE_CONTROL,
                lanes_held=[self.lanes_dialled],
                limits=cell_pb2.Limits(message_bytes=MESSAGE_BYTES, lanes=1),
                initial_credit=INITIAL_CREDIT,
            )
        )
        return lane

    def _read(self) -> None:
        """Read one lane after the other."""
        while True:
            lane = self._lane
            try:
                for response in lane.call:
                    with self._lock:
                        lane.hear()
                        for frame in response.frames:
                            self._handle(lane, frame)
                    for frame in response.frames:
                        self.heard.put(frame)
            except grpc.RpcError as error:
                with self._lock:
                    self._least_wait_s = max(self._least_wait_s, retry_after_s(error))
            lane.close()
            with self._lock:
                self._failures = 0 if lane.is_up and not self._least_wait_s else self._failures + 1
                wait_s = max(self._least_wait_s, dial_backoff_s(max(1, self._failures)))
                self._least_wait_s = 0.0
            if self._closed.wait(wait_s):
                return
            with self._lock:
                self._lane = self._dial()

    def _watch(self) -> None:
        """Notice silence, and ask what is to be asked again."""
        ping_s, idle_ping_s, answer_s = self._times
        while not self._closed.wait(ping_s / 10):
            with self._lock:
                lane, now = self._lane, time.monotonic()
                if not lane.is_up:
                    if now >= lane.dialled_at + HELLO_S:
                        lane.call.cancel()
                    continue
                if lane.pinged_at is not None:
                    if now >= lane.pinged_at + answer_s:
                        lane.call.cancel()
                elif now >= lane.heard_at + (ping_s if lane.awaits_answer else idle_ping_s):
                    lane.pinged_at = now
                    lane.ping(self._lowest_unsettled())
                for send in self._sends.values():
                    if send.lost_until is not None and now >= send.lost_until:
                        self._post(resume_query=send.ask())
                    elif send.ask_again_at is not None and now >= send.ask_again_at:
                        self._post(resume_query=send.question())

    def _handle(self, lane: Lane, frame: Any) -> None:
        kind = str(frame.WhichOneof("kind"))
        if not lane.is_up and kind not in ("hello", "goodbye"):
            lane.call.cancel()
            return
        handlers: dict[str, Callable[[Any], None]] = {
            "hello": self._on_hello,
            "goodbye": self._on_goodbye,
            "ping": self._on_ping,
            "pong": self._on_pong,
            "query": self._on_query,
            "credit": self._on_credit,
            "ack": self._on_ack,
            "lost": self._on_lost,
            "reset": self._on_reset,
            "resume_reply": self._on_resume_reply,
            "chunk": self._on_chunk,
            "resume_query": self._on_resume_query,
        }
        if kind in handlers:
            handlers[kind](getattr(frame, kind))

    def _on_hello(self, hello: Any) -> None:
        self._lane.is_up = True
        self._peer, self._link_id = hello, hello.link_id
        for send in self._sends.values():
            if send.opening.target_incarnation == 0 and send.stream.target == hello.fqcn:
                send.opening.target_incarnation = hello.incarnation
            self._post(resume_query=send.ask())
        for incoming in self._incoming.values():
            if incoming.last_word is not None:
                self._post(**incoming.answer(incoming.stream.attempt))
            elif incoming.is_known:
                self._confirm(incoming)

    def _on_goodbye(self, goodbye: Any) -> None:
        if goodbye.code != cell_pb2.ERROR_CODE_UNSPECIFIED:
            self._link_id = b""
        if goodbye.code == cell_pb2.ERROR_CODE_NAME_IN_USE:
            self._least_wait_s = 5.0
        elif goodbye.code in REFUSED:
            self._least_wait_s = 30.0
        elif goodbye.code == cell_pb2.ERROR_CODE_LIMIT:
            self._least_wait_s = random.uniform(15, 30)
        self._lane.end()

    def _on_ping(self, ping: Any) -> None:
        self._post(pong=cell_pb2.Pong(nonce=ping.nonce))
        self._forget(self._peer.fqcn, self._peer.incarnation, ping.settled_below)

    def _on_pong(self, pong: Any) -> None:
        self._lane.on_pong(pong.nonce)
        self._pump()

    def _on_query(self, query: Any) -> None:
        if query.subject in ("", self.fqcn):
            me = cell_pb2.CellInfo(fqcn=self.fqcn, incarnation=self.incarnation)
            names = {"asker": query.asker, "responder": self.fqcn}
            reply = cell_pb2.QueryReply(query_id=query.query_id, cells=[me], hops_left=16, **names)
            self._post(query_reply=reply)

    # Sending.

    def _lowest_unsettled(self) -> int:
        return min((*self._sends, self._next_id))

    def _find_send(self, frame: Any, *, any_attempt: bool = False) -> Outgoing | None:
        """Return the sender of the stream, if the frame is of its attempt."""
        send = self._sends.get(frame.stream.stream_id)
        if send is None or frame.stream.origin_incarnation != self.incarnation:
            return None
        return send if any_attempt or frame.stream.attempt == send.stream.attempt else None

    def _pump(self) -> None:
        for send in self._sends.values():
            while chunk := send.next_chunk(self._lane.room, self._lowest_unsettled()):
                self._post(chunk=chunk)
                if send.is_bulk:
                    self._lane.sent += len(chunk.payload)
                if self._lane.sent - self._lane.marked >= CHUNK_BYTES:
                    self._lane.ping(self._lowest_unsettled())

    def _on_credit(self, credit: Any) -> None:
        send = self._find_send(credit)
        if send is not None:
            send.granted = max(send.granted, credit.offset)
            if not send.is_asking:
                send.credit = send.ceiling = max(send.credit, send.granted)
            self._pump()

    def _on_ack(self, ack: Any) -> None:
        send = self._find_send(ack, any_attempt=True)
        if send is None:
            return
        if ack.complete:
            if send.may_be_there and ack.consumed == len(send.payload):
                self._settle(ack.stream.stream_id, None)
        elif ack.stream.attempt == send.stream.attempt:
            send.is_acknowledged, send.losses = True, 0
            if send.opening.target_incarnation in (0, ack.target_incarnation):
                send.opening.target_incarnation = ack.target_incarnation
            elif not send.is_asking:
                send.lose(cell_pb2.LOST_REASON_UNSPECIFIED)

    def _on_lost(self, lost: Any) -> None:
        send = self._find_send(lost)
        if send is not None and send.lost_until is None:
            send.lose(lost.reason)

    def _on_resume_reply(self, reply: Any) -> None:
        send = self._find_send(reply)
        if send is None or reply.probe or send.ask_again_at is None:
            return
        fault = send.start_over(reply.target_incarnation) if reply.unknown else None
        if fault is not None:
            self._post(reset=cell_pb2.Reset(stream=send.stream, code=fault, hops_left=16))
            self._settle(reply.stream.stream_id, fault)
            return
        send.opening.target_incarnation = reply.target_incarnation
        send.begin(reply.offset)
        self._pump()

    def _settle(self, stream_id: int, code: int | None) -> None:
        del self._sends[stream_id]
        self.ended.put((stream_id, code))
        self._pump()

    def _on_reset(self, reset: Any) -> None:
        if not reset.from_target:
            reset.from_target = True
            incoming = self._find(reset.stream)
            if incoming.last_word is None:
                incoming.last_word = cell_pb2.Frame(reset=reset)
        elif self._find_send(reset, any_attempt=True) is not None:
            self._settle(reset.stream.stream_id, reset.code)

    # Receiving, in the order of the page's table.

    def _find(self, stream: Any) -> Incoming:
        return self._incoming.setdefault(key_of(stream), Incoming(stream))

    def _is_answered(self, stream: Any) -> bool:
        """Answer a frame to which the stream itself says nothing any more; return whether it was one."""
        incoming = self._incoming.get(key_of(stream))
        if stream.target != self.fqcn:
            self._post_lost(stream, cell_pb2.LOST_REASON_NO_ROUTE)
        elif stream.stream_id == 0:
            pass
        elif incoming is not None and incoming.last_word is not None:
            self._post(**incoming.answer(stream.attempt))
        elif stream.stream_id < self._settled_below.get((stream.origin, stream.origin_incarnation), 0):
            code = cell_pb2.ERROR_CODE_STALE
            self._post(reset=cell_pb2.Reset(stream=stream, from_target=True, code=code, hops_left=16))
        else:
            return incoming is not None and stream.attempt < incoming.stream.attempt
        return True

    def _on_resume_query(self, query: Any) -> None:
        stream = query.stream
        if self._is_answered(stream):
            return
        incoming = self._find(stream)
        if not query.probe:
            incoming.stream = stream
        self._post(
            resume_reply=cell_pb2.ResumeReply(
                stream=stream,
                target_incarnation=self.incarnation,
                unknown=not incoming.is_known,
                offset=len(incoming.data),
                probe=query.probe,
                hops_left=16,
            )
        )
        if incoming.is_known:
            self._confirm(incoming)

    def _on_chunk(self, chunk: Any) -> None:
        stream = chunk.stream
        if chunk.HasField("open"):
            self._forget(stream.origin, stream.origin_incarnation, chunk.open.settled_below)
        if self._is_answered(stream):
            return
        incoming = self._find(stream)
        if not incoming.is_known:
            if chunk.open.target_incarnation not in (0, self.incarnation):
                self._post_lost(stream, cell_pb2.LOST_REASON_OTHER_LIFE)
                return
            if chunk.offset > 0 or not chunk.HasField("open"):
                self._post_lost(stream, cell_pb2.LOST_REASON_UNKNOWN_HERE)
                return
        incoming.is_known, incoming.stream = True, stream
        if self.chunks_to_spoil > 0:
            self.chunks_to_spoil -= 1
            chunk.payload = chunk.payload[::-1]
        if chunk.checksum != checksum(chunk.payload, stream, chunk.sequence, chunk.offset, last=chunk.last):
            self._post_lost(stream, cell_pb2.LOST_REASON_CORRUPT)
        elif chunk.offset > len(incoming.data):
            self._post_lost(stream, cell_pb2.LOST_REASON_LANE_LOST)
        else:
            incoming.data += chunk.payload[len(incoming.data) - chunk.offset :]
            self._confirm(incoming, complete=chunk.last)

    def _confirm(self, incoming: Incoming, *, complete: bool = False) -> None:
        size = len(incoming.data)
        ack = cell_pb2.Ack(
            stream=incoming.stream,
            target_incarnation=self.incarnation,
            received=size,
            consumed=size,
            complete=complete,
            hops_left=16,
        )
        if complete:
            incoming.last_word = cell_pb2.Frame(ack=ack)
        else:
            self._post(credit=cell_pb2.Credit(stream=incoming.stream, offset=size + INITIAL_CREDIT))
        self._post(ack=ack)

    def _post_lost(self, stream: Any, reason: cell_pb2.LostReason) -> None:
        self._post(lost=cell_pb2.Lost(stream=stream, reason=reason, reporter=self.fqcn, hops_left=16))

    def _forget(self, origin: str, incarnation: int, below: int) -> None:
        key = origin, incarnation
        self._settled_below[key] = max(below, self._settled_below.get(key, 0))
        for known in [known for known in self._incoming if known[:2] == key and known[2] < below]:
            del self._incoming[known]
