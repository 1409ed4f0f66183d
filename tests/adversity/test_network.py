"""Hub, relays and leaves in processes of their own, while they are stopped, killed and moved."""

from __future__ import annotations

import hashlib
import signal

from streamcell import CoreCell, LinkError, Message, NameInUse, StreamCell, StreamFuture
from tests.kit.cells import QUICK, running
from tests.kit.payloads import pattern
from tests.kit.programs import Script
from tests.kit.proxy import Way, proxy_to
from tests.kit.waiting import PATIENCE_S, Box, eventually

# A cell that only passes on, and says where it listens.
RELAY = """
relay = CoreCell({name!r}, listen={listen!r}, connect={connect!r}, config=QUICK)
relay.start()
say(relay.listen_urls[0])
sys.stdin.readline()
"""
# A leaf that only dials out: it says the digest of each stream and blob that it gets, and answers requests.
LEAF = """
leaf = CoreCell({name!r}, connect={connect!r}, config=QUICK)

def read(future, stream, resume):
    digest = hashlib.sha256()
    for piece in stream.pieces():
        digest.update(piece)
    say(digest.hexdigest())

streams = StreamCell(leaf)
streams.register_stream_cb("c", "stream", read)
streams.register_blob_cb("c", "blob", lambda future: say(hashlib.sha256(future.result()).hexdigest()))
leaf.register_request_cb("c", "echo", lambda request: Message(None, bytes(request.payload)))
leaf.start()
leaf.wait_connected(30)
say("connected")
sys.stdin.readline()
"""
ANYWHERE = "grpc://127.0.0.1:0"
MIB = 1 << 20


def relay_script(name: str, connect: str | list[str] | None = None, listen: str = ANYWHERE) -> str:
    return RELAY.format(name=name, listen=listen, connect=connect)


def leaf_script(name: str, *connect: str) -> str:
    return LEAF.format(name=name, connect=list(connect))


def site(name: str, *connect: str) -> CoreCell:
    return CoreCell(name, connect=list(connect), config=QUICK)


def send_stream(cell: CoreCell, target: str, data: bytes) -> StreamFuture:
    return StreamCell(cell).send_stream("c", "stream", target, Message(None, data))


def test_a_leaf_that_can_only_dial_out_is_reached_by_everybody() -> None:
    with Script(relay_script("hub")) as hub:
        url = hub.hear()
        with Script(leaf_script("leaf", url)) as leaf, running(site("site", url)) as cell:
            assert leaf.hear() == "connected"
            cell.wait_connected(PATIENCE_S)
            data = pattern(20 * MIB)
            future = send_stream(cell, "leaf", data)
            assert leaf.hear() == hashlib.sha256(data).hexdigest()
            assert future.result(PATIENCE_S) == len(data)
            reply = cell.send_request("c", "echo", "leaf", Message(None, data), PATIENCE_S)
            assert bytes(reply.payload) == data
            assert [hop.fqcn for hop in cell.trace("leaf", PATIENCE_S)] == ["hub", "leaf"]


def test_a_cell_whose_parent_dies_goes_to_another_one_with_its_streams() -> None:
    with (
        Script(relay_script("hub")) as hub,
        Script(relay_script("first", url := hub.hear())) as first,
        Script(relay_script("second", url)) as second,
    ):
        urls = [first.hear(), second.hear()]
        with Script(leaf_script("leaf", *urls)) as leaf, running(site("site", url)) as cell:
            assert leaf.hear() == "connected"
            cell.wait_connected(PATIENCE_S)
            with proxy_to(url) as slow, running(site("through", slow.url)) as other:
                other.wait_connected(PATIENCE_S)
                data = pattern(64 * MIB)
                future = send_stream(other, "leaf", data)
                eventually(lambda: future.get_progress() > 0)
                first.signal(signal.SIGKILL)
                assert leaf.hear() == hashlib.sha256(data).hexdigest()
                assert future.result(PATIENCE_S) == len(data)
                assert slow.passed[Way.UP] > len(data)
            assert [hop.fqcn for hop in cell.trace("leaf", PATIENCE_S)] == ["hub", "second", "leaf"]


def test_fifty_transfers_survive_a_restart_of_the_hub() -> None:
    arrived: Box[str] = Box()
    with Script(relay_script("hub")) as hub:
        url = hub.hear()
        receiver, sender = site("receiver", url), site("sender", url)
        streams = StreamCell(receiver)
        streams.register_stream_cb(
            "c", "stream", lambda future, stream, resume: arrived.put(hashlib.sha256(stream.read(-1)).hexdigest())
        )
        streams.register_blob_cb("c", "blob", lambda future: arrived.put(hashlib.sha256(future.result()).hexdigest()))
        with running(receiver), running(sender):
            receiver.wait_connected(PATIENCE_S)
            sender.wait_connected(PATIENCE_S)
            blocks = [pattern(2 * MIB + number, number) for number in range(50)]
            out = StreamCell(sender)
            futures = [
                out.send_stream("c", "stream", "receiver", Message(None, block))
                if number % 2
                else out.send_blob("c", "blob", "receiver", Message(None, block))
                for number, block in enumerate(blocks)
            ]
            eventually(lambda: any(future.get_progress() > 0 for future in futures))
            hub.signal(signal.SIGKILL)
            hub.wait()
            with Script(relay_script("hub", listen=url)) as again:
                assert again.hear() == url
                assert [future.result(PATIENCE_S) for future in futures] == [len(block) for block in blocks]
                digests = sorted(hashlib.sha256(block).hexdigest() for block in blocks)
                assert sorted(arrived.get_all(50)) == digests
                assert arrived.is_empty()


def test_a_second_cell_of_a_name_in_another_branch_is_refused_and_gets_in_later() -> None:
    with (
        Script(relay_script("hub")) as hub,
        Script(relay_script("left", url := hub.hear())) as left,
        Script(relay_script("right", url)) as right,
        Script(leaf_script("twin", left.hear())) as first,
    ):
        assert first.hear() == "connected"
        with running(site("twin", right.hear())) as second:
            eventually(lambda: is_refused_its_name(second))
            first.kill()
            second.wait_connected(PATIENCE_S)


def test_a_target_behind_two_relays_that_stands_still_for_a_while_costs_nothing() -> None:
    with (
        Script(relay_script("hub")) as hub,
        Script(relay_script("relay", url := hub.hear())) as relay,
        Script(leaf_script("leaf", relay.hear())) as leaf,
        running(site("site", url)) as cell,
    ):
        assert leaf.hear() == "connected"
        cell.wait_connected(PATIENCE_S)
        data = pattern(64 * MIB)
        leaf.signal(signal.SIGSTOP)
        future = send_stream(cell, "leaf", data)
        # All that the hops may hold has been sent.
        eventually(lambda: stands_still(cell))
        assert not future.done()
        leaf.signal(signal.SIGCONT)
        assert leaf.hear() == hashlib.sha256(data).hexdigest()
        assert future.result(PATIENCE_S) == len(data)
        assert cell.stats().protocol.bytes_retransmitted == 0


def is_refused_its_name(cell: CoreCell) -> bool:
    try:
        cell.wait_connected(0.05)
    except NameInUse:
        return True
    except LinkError:
        return False
    return False


def stands_still(cell: CoreCell) -> bool:
    sends = cell.stats().protocol.sends
    return bool(sends) and sends[0].sent > 0 and sends[0].sent >= sends[0].credit


def test_a_relay_between_a_fast_sender_and_a_slow_reader_holds_a_window_and_others_go_on() -> None:
    relay = CoreCell("relay", listen=ANYWHERE, config=QUICK)
    with running(relay):
        slow, sender = site("slow", *relay.listen_urls), site("sender", *relay.listen_urls)
        turns: Box[None] = Box()
        done: Box[int] = Box()

        def read(future: StreamFuture, stream: object, resume: bool) -> None:
            total = 0
            while True:
                turns.get()
                piece = stream.read(256 * 1024)  # type: ignore[attr-defined]
                if not piece:
                    break
                total += len(piece)
            done.put(total)

        StreamCell(slow).register_stream_cb("c", "stream", read)
        StreamCell(slow).register_blob_cb("c", "blob", lambda future: None)
        with running(slow), running(sender):
            slow.wait_connected(PATIENCE_S)
            sender.wait_connected(PATIENCE_S)
            data = pattern(48 * MIB)
            future = send_stream(sender, "slow", data)
            eventually(lambda: len(relay.stats().protocol.relays) == 1)
            for turn in range(len(data) // (64 * 1024)):
                turns.put(None)
                if turn % 40 == 0:
                    # Others are not held up, and the reading goes on between the looks.
                    assert (
                        StreamCell(sender).send_blob("c", "blob", "slow", Message(None, b"x")).result(PATIENCE_S) == 1
                    )
                    for stream in relay.stats().protocol.relays:
                        assert stream.held_bytes <= stream.window_bytes + MIB
            assert done.get() == len(data)
            assert future.result(PATIENCE_S) == len(data)
            assert relay.stats().protocol.relays == ()
            assert sender.stats().protocol.bytes_retransmitted == 0
