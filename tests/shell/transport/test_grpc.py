"""What is particular to gRPC: refusals, broken connections, and peers of other makes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from streamcell.errors import AuthenticationError, ErrorCode, LinkError
from streamcell.limits import MESSAGE_BYTES, MIB
from streamcell.transport.base import Carrier, LaneClosed, Listener
from streamcell.transport.grpc.environment import grpc
from streamcell.transport.grpc.options import Options, server_options
from tests.kit.proxy import proxy_to
from tests.kit.timing import scaled
from tests.shell.transport.grpc_lanes import LOOPBACK, NETWORK
from tests.shell.transport.running import Arrivals, hear, open_pair, read_to_end, run, say, until

# Over real connections, some with waits that are part of the promise: not in the quick check.
pytestmark = pytest.mark.slow

METHOD = "/streamcell.v1.CellService/Exchange"


# --- dialling what is no cell --------------------------------------------------------------------


@contextlib.asynccontextmanager
async def tcp_server(
    handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def test_a_server_that_says_nothing_fails_when_the_time_is_over() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            pass
        writer.close()

    async def scenario() -> None:
        async with tcp_server(silent) as port:
            started = asyncio.get_running_loop().time()
            with pytest.raises(LaneClosed, match=r"did not answer within 0\.3 s"):
                await NETWORK.dial(f"grpc://127.0.0.1:{port}", 0.3)
            assert asyncio.get_running_loop().time() - started < scaled(2)

    run(scenario())


def test_a_server_of_another_protocol_fails() -> None:
    async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    async def scenario() -> None:
        async with tcp_server(web) as port:
            with pytest.raises(LaneClosed):
                await NETWORK.dial(f"grpc://127.0.0.1:{port}", scaled(1))

    run(scenario())


Handler = Callable[[object, "grpc.aio.ServicerContext[bytes, bytes]"], Awaitable[None]]


@contextlib.asynccontextmanager
async def grpc_server(handler: Handler | None) -> AsyncIterator[str]:
    """A server of another make, that may not even be a cell."""
    server = grpc.aio.server(options=[("grpc.max_send_message_length", -1)])
    if handler is not None:
        method: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(handler)
        service = grpc.method_handlers_generic_handler("streamcell.v1.CellService", {"Exchange": method})
        server.add_generic_rpc_handlers((service,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"grpc://127.0.0.1:{port}"
    finally:
        await server.stop(None)


async def refusal_of(url: str) -> LaneClosed:
    """Dials, says hello, and returns how the lane ends."""
    with pytest.raises(LaneClosed) as caught:
        await say_hello(url)
    return caught.value


async def say_hello(url: str) -> None:
    lane = await NETWORK.dial(url, scaled(3))
    try:
        await say(lane, b"hello")
        while True:
            await hear(lane)
    finally:
        await lane.close()


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        (grpc.StatusCode.RESOURCE_EXHAUSTED, LinkError, ErrorCode.LIMIT),
        (grpc.StatusCode.UNAUTHENTICATED, AuthenticationError, ErrorCode.AUTHENTICATION),
        (grpc.StatusCode.PERMISSION_DENIED, AuthenticationError, ErrorCode.AUTHENTICATION),
        (grpc.StatusCode.UNIMPLEMENTED, LinkError, ErrorCode.PROTOCOL),
    ],
)
@pytest.mark.parametrize("reading", [True, False])
def test_a_refusal_is_told_from_a_broken_lane(
    status: grpc.StatusCode, error: type[LinkError], code: ErrorCode, reading: bool
) -> None:
    async def refuse(_: object, context: "grpc.aio.ServicerContext[bytes, bytes]") -> None:
        if reading:
            await context.read()
        await context.abort(status, "not you\nhere")

    async def scenario() -> None:
        async with grpc_server(refuse) as url:
            closed = await refusal_of(url)
        assert type(closed.refusal) is error
        assert closed.refusal.code is code
        assert "not you here" in closed.refusal.sentence
        assert url in closed.refusal.sentence

    run(scenario())


def test_what_is_no_cell_is_a_refusal() -> None:
    async def scenario() -> None:
        async with grpc_server(None) as url:
            closed = await refusal_of(url)
        assert isinstance(closed.refusal, LinkError)
        assert "not a cell" in closed.refusal.sentence

    run(scenario())


@pytest.mark.parametrize("status", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL])
def test_other_ends_of_a_call_are_no_refusals(status: grpc.StatusCode) -> None:
    async def fail(_: object, context: "grpc.aio.ServicerContext[bytes, bytes]") -> None:
        await context.abort(status, "for a while")

    async def scenario() -> None:
        async with grpc_server(fail) as url:
            closed = await refusal_of(url)
        assert closed.refusal is None
        assert "for a while" in str(closed)

    run(scenario())


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED])
@pytest.mark.parametrize(
    ("said", "retry_after_s"), [("2500", 2.5), ("", 0.0), ("-1", 0.0), ("1e9", 0.0), ("9" * 10, 0)]
)
@pytest.mark.parametrize("reading", [True, False])
def test_a_status_may_say_how_long_to_stay_away(
    code: grpc.StatusCode, said: str, retry_after_s: float, reading: bool
) -> None:
    async def refuse(_: object, context: "grpc.aio.ServicerContext[bytes, bytes]") -> None:
        if reading:
            await context.read()
        await context.abort(code, "later", trailing_metadata=(("streamcell-retry-after-ms", said),))

    async def scenario() -> None:
        async with grpc_server(refuse) as url:
            closed = await refusal_of(url)
        assert "later" in str(closed)
        assert closed.retry_after_s == retry_after_s

    run(scenario())


def test_a_status_of_another_kind_says_nothing_of_that() -> None:
    async def refuse(_: object, context: "grpc.aio.ServicerContext[bytes, bytes]") -> None:
        await context.abort(
            grpc.StatusCode.UNIMPLEMENTED, "no", trailing_metadata=(("streamcell-retry-after-ms", "2500"),)
        )

    async def scenario() -> None:
        async with grpc_server(refuse) as url:
            assert (await refusal_of(url)).retry_after_s == 0.0

    run(scenario())


def test_a_refusal_is_seen_by_a_sender_too() -> None:
    async def refuse(_: object, context: "grpc.aio.ServicerContext[bytes, bytes]") -> None:
        await context.read()
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "not you")

    async def send_for_ever(lane: Carrier) -> None:
        while True:
            await say(lane, bytes(MIB))

    async def scenario() -> None:
        async with grpc_server(refuse) as url:
            for _ in range(10):
                lane = await NETWORK.dial(url, scaled(3))
                with pytest.raises(LaneClosed) as caught:
                    await send_for_ever(lane)
                assert isinstance(caught.value.refusal, AuthenticationError)
                await lane.close()

    run(scenario())


def test_a_message_over_the_limit_is_not_received() -> None:
    async def send_too_much(_: object, context: "grpc.aio.ServicerContext[bytes, bytes]") -> None:
        with contextlib.suppress(grpc.aio.InternalError):  # the other side hangs up
            await context.write(bytes(MESSAGE_BYTES + 1))
        await context.read()

    async def scenario() -> None:
        async with grpc_server(send_too_much) as url:
            closed = await refusal_of(url)
        assert isinstance(closed.refusal, LinkError)
        assert closed.refusal.code is ErrorCode.LIMIT

    run(scenario())


# --- peers of other makes that dial --------------------------------------------------------------


@contextlib.asynccontextmanager
async def raw_call(
    url: str,
) -> AsyncIterator["grpc.aio.StreamStreamCall[bytes, bytes]"]:
    channel = grpc.aio.insecure_channel(url.removeprefix("grpc://"), options=[("grpc.max_send_message_length", -1)])
    async with channel:
        call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(METHOD)()
        yield call


async def listen_for_lanes() -> tuple[Listener, Arrivals]:
    arrivals = Arrivals()
    return await NETWORK.listen(LOOPBACK, arrivals, insecure=False), arrivals


def test_a_dialler_that_sends_too_much_is_cut_off_alone() -> None:
    async def scenario() -> None:
        listener, arrivals = await listen_for_lanes()
        async with raw_call(listener.url) as call:
            writing = asyncio.create_task(call.write(bytes(MESSAGE_BYTES + 1)))
            lane = await arrivals.lanes.get()
            with pytest.raises(LaneClosed):
                await hear(lane)
            await lane.close()
            assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            await asyncio.gather(writing, return_exceptions=True)
        await (await NETWORK.dial(listener.url, scaled(3))).close()
        await listener.close()

    run(scenario())


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_a_message_that_would_grow_when_it_is_read_is_not_read(compression: grpc.Compression) -> None:
    async def scenario() -> None:
        listener, arrivals = await listen_for_lanes()
        async with grpc.aio.insecure_channel(listener.url.removeprefix("grpc://"), compression=compression) as channel:
            call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(METHOD)()
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await call.write(bytes(5 * MIB))
            # Which of its codes gRPC takes is chance.
            assert await call.code() in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INTERNAL)
        assert arrivals.lanes.empty()
        await listener.close()

    run(scenario())


def test_a_call_with_a_lot_of_metadata_is_refused() -> None:
    async def scenario() -> None:
        listener, arrivals = await listen_for_lanes()
        async with grpc.aio.insecure_channel(listener.url.removeprefix("grpc://")) as channel:
            call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(METHOD)(
                metadata=(("x-much", "y" * 20_000),)
            )
            assert await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert arrivals.lanes.empty()
        await listener.close()

    run(scenario())


def test_a_connection_has_few_calls() -> None:
    async def scenario() -> None:
        listener, arrivals = await listen_for_lanes()
        async with grpc.aio.insecure_channel(listener.url.removeprefix("grpc://")) as channel:
            calls: list[grpc.aio.StreamStreamCall[bytes, bytes]] = [channel.stream_stream(METHOD)() for _ in range(9)]
            lanes = [await arrivals.lanes.get() for _ in range(4)]
            # Which calls got the room is chance. By the time that this has been there a fifth one would have arrived.
            reading: list[asyncio.Future[object]] = [asyncio.ensure_future(call.read()) for call in calls]
            for lane in lanes:
                await say(lane, b"hello")
            await until(lambda: sum(each.done() for each in reading) == len(lanes))
            assert arrivals.lanes.empty()
            for each in reading:
                each.cancel()
            await asyncio.wait(reading)
        # The last of them may have got the room of the first.
        while not arrivals.lanes.empty():
            lanes.append(arrivals.lanes.get_nowait())
        await asyncio.gather(listener.close(), *(lane.close() for lane in lanes))

    run(scenario())


def test_a_dialler_that_goes_away_ends_its_lane() -> None:
    async def send_on(lane: Carrier) -> None:
        # There may be room for one batch more.
        while True:
            await say(lane, b"too late")

    async def scenario() -> None:
        listener, arrivals = await listen_for_lanes()
        async with raw_call(listener.url) as call:
            await call.write(b"hello")
            lane = await arrivals.lanes.get()
            assert await hear(lane) == b"hello"
            receiving = asyncio.create_task(hear(lane))
            call.cancel()
            with pytest.raises(LaneClosed):
                await receiving
            with pytest.raises(LaneClosed):
                await send_on(lane)
            await lane.close()
        await listener.close()

    run(scenario())


def test_a_dialler_that_never_reads_does_not_hold_up_closing() -> None:
    async def scenario() -> None:
        listener, arrivals = await listen_for_lanes()
        async with raw_call(listener.url) as call:
            await call.write(b"hello")
            lane = await arrivals.lanes.get()

            async def send_for_ever() -> None:
                while True:
                    await say(lane, bytes(MIB))

            sending = asyncio.create_task(send_for_ever())
            await asyncio.wait({sending}, timeout=scaled(0.3))
            await lane.close()
            await listener.close()
            # A call of grpc.aio ends when all that has arrived was read.
            with contextlib.suppress(grpc.aio.AioRpcError):
                async for _ in call:
                    pass
            with pytest.raises(LaneClosed):
                await sending

    run(scenario())


# --- connections that break ----------------------------------------------------------------------


@pytest.mark.parametrize("busy", [True, False])
def test_a_broken_connection_ends_the_lane_on_both_sides(busy: bool) -> None:
    async def send_for_ever(lane: Carrier) -> None:
        while True:
            await say(lane, bytes(MIB))

    async def scenario() -> None:
        listener, arrivals = await listen_for_lanes()
        with proxy_to(listener.url) as proxy:
            dialled = await NETWORK.dial(proxy.url, scaled(3))
            await say(dialled, b"hello")
            arrived = await arrivals.lanes.get()
            assert await hear(arrived) == b"hello"
            waiting: list[asyncio.Task[object]] = [
                asyncio.create_task(read_to_end(dialled)),
                asyncio.create_task(read_to_end(arrived)),
            ]
            if busy:
                waiting += [
                    asyncio.create_task(send_for_ever(dialled)),
                    asyncio.create_task(send_for_ever(arrived)),
                ]
            await asyncio.wait(waiting, timeout=scaled(0.2))
            proxy.cut()
            await asyncio.wait(waiting)
            for task in waiting[2:]:
                assert isinstance(task.exception(), LaneClosed)
            for lane in (dialled, arrived):
                with pytest.raises(LaneClosed) as caught:
                    await hear(lane)
                assert caught.value.refusal is None
                await lane.close()
        await listener.close()

    run(scenario())


def test_closing_a_lane_to_a_peer_that_has_stopped_is_bounded() -> None:
    async def stopped(_: object, context: "grpc.aio.ServicerContext[bytes, bytes]") -> None:
        await asyncio.Event().wait()

    async def scenario() -> None:
        async with grpc_server(stopped) as url:
            lane = await NETWORK.dial(url, scaled(3))

            async def send_for_ever() -> None:
                while True:
                    await say(lane, bytes(MIB))

            waiting = (asyncio.create_task(send_for_ever()), asyncio.create_task(hear(lane)))
            await asyncio.wait(waiting, timeout=scaled(0.3))
            await lane.close()
            for task in waiting:
                with pytest.raises(LaneClosed, match="closed here"):
                    await task

    run(scenario())


# --- connections that are told to go away --------------------------------------------------------


def short_lived(age_ms: int, grace_ms: int) -> Options:
    return (
        *server_options(),
        ("grpc.max_connection_age_ms", age_ms),
        ("grpc.max_connection_age_grace_ms", grace_ms),
    )


def test_the_end_of_a_connection_is_told_while_the_lane_still_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamcell.transport.grpc.server.server_options", lambda: short_lived(100, 60_000))

    async def scenario() -> None:
        async with await open_pair(NETWORK, LOOPBACK) as pair:
            told: asyncio.Queue[None] = asyncio.Queue()
            pair.dialled.watch(lambda: told.put_nowait(None))
            pair.arrived.watch(lambda: told.put_nowait(None))
            await told.get()
            for sender, receiver in (pair.dialled, pair.arrived), (pair.arrived, pair.dialled):
                await say(sender, b"still here")
                assert await hear(receiver) == b"still here"
            assert told.empty()

    run(scenario())


def test_a_connection_that_breaks_has_not_announced_it() -> None:
    async def scenario() -> None:
        pair = await open_pair(NETWORK, LOOPBACK)
        told: list[None] = []
        pair.dialled.watch(lambda: told.append(None))
        await pair.listener.close()
        with pytest.raises(LaneClosed):
            await hear(pair.dialled)
        await pair.dialled.close()
        pair.dialled.watch(lambda: told.append(None))
        assert told == []

    run(scenario())
