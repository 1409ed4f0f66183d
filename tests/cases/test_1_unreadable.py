"""One cell cannot read what another sent: both say so, and one damaged message is not the end."""

from __future__ import annotations

import logging

import pytest

from streamcell import CellConfig, CoreCell, Message, ProtocolError, StreamCell
from streamcell.testing import Direction, FaultyNetwork, InMemoryNetwork
from streamcell.transport.grpc.network import GrpcNetwork
from streamcell.v1 import cell_pb2
from tests.kit import answers
from tests.kit.cells import QUICK, running
from tests.kit.payloads import pattern
from tests.kit.proxy import Proxy
from tests.kit.waiting import PATIENCE_S, Box, eventually

MIB = 1 << 20
HELLO = cell_pb2.Frame(
    hello=cell_pb2.Hello(
        version_min=1,
        version_max=1,
        fqcn="hub",
        incarnation=1 << 40,
        lane_number=1,
        lane_role=cell_pb2.LANE_ROLE_CONTROL,
        link_id=b"0123456789abcdef",
        limits=cell_pb2.Limits(message_bytes=6 * MIB, lanes=1),
        initial_credit=256 * 1024,
    )
)
UNREADABLE = b"\x0a\xff\xff\xff\xff\xff"
BOTH_WAYS = pytest.mark.parametrize("direction", Direction)


@pytest.fixture(params=["memory", "grpc"])
def network(request: pytest.FixtureRequest) -> FaultyNetwork:
    return InMemoryNetwork() if request.param == "memory" else FaultyNetwork(GrpcNetwork())


def listen_url(network: FaultyNetwork) -> str:
    return "memory://" if isinstance(network, InMemoryNetwork) else "grpc://127.0.0.1:0"


@pytest.mark.parametrize("greets", [True, False], ids=["after its Hello", "instead of a Hello"])
def test_case_1_5_a_parent_that_cannot_be_read(greets: bool) -> None:
    """Waiting tells at once, when it was no chance, who could not read whom."""
    with Proxy("grpc://127.0.0.1:1") as proxy:
        said = [answers.batch(HELLO)] if greets else []
        proxy.answer(answers.saying(*said, UNREADABLE))
        with running(CoreCell("site", connect=proxy.url, config=QUICK)) as site:
            # Before that the link may be found up, for as long as it takes to read what follows the Hello.
            eventually(lambda: proxy.connections >= 2)
            with pytest.raises(ProtocolError, match=f"site cannot read what {'hub' if greets else proxy.url} sent"):
                site.wait_connected(PATIENCE_S)
            assert not site.is_cell_connected("hub")
            assert proxy.connections <= 6


def test_case_1_5_a_parent_that_cannot_be_read_once_and_is_silent_then() -> None:
    with Proxy("grpc://127.0.0.1:1") as proxy:
        proxy.answer(answers.saying(answers.batch(HELLO), UNREADABLE))
        with running(CoreCell("site", connect=proxy.url, config=QUICK)) as site:
            eventually(lambda: proxy.connections >= 2)
            proxy.answer(answers.silent_grpc)
            eventually(lambda: not site.is_cell_connected("hub"))
            dialled = proxy.connections
            with pytest.raises(ProtocolError, match="site cannot read what hub sent"):
                site.wait_connected(0.3)
            eventually(lambda: proxy.connections > dialled, seconds=PATIENCE_S)


@BOTH_WAYS
def test_case_1_5_one_damaged_message_does_not_sever_a_cell(
    network: FaultyNetwork, direction: Direction, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "streamcell")
    reader, culprit = ("hub", "site") if direction is Direction.TO_LISTENER else ("site", "hub")
    hub = CoreCell("hub", listen=listen_url(network), config=QUICK, network=network)
    with running(hub), running(CoreCell("site", connect=hub.listen_urls, config=QUICK, network=network)) as site:
        site.wait_connected(PATIENCE_S)
        hub.register_request_cb("c", "t", lambda request: Message({}, request.payload))
        for number in range(2):
            network.corrupt_batch(direction=direction)
            reply = site.send_request("c", "t", "hub", Message({}, bytes([number])), PATIENCE_S)
            assert bytes(reply.payload) == bytes([number])
            site.wait_connected(PATIENCE_S)
    sentence = f"{reader} cannot read what {culprit} sent"
    for cell in ("hub", "site"):
        assert any(sentence in str(record.msg % record.args) for record in caplog.records), cell


@BOTH_WAYS
def test_case_1_5_bulk_that_is_damaged_goes_on(network: FaultyNetwork, direction: Direction) -> None:
    """In the middle of a stream, in the direction of the bytes and of what is said about them."""
    arrived: Box[bytes] = Box()
    hub = CoreCell("hub", listen=listen_url(network), config=QUICK, network=network)
    data = pattern(8 * MIB)
    with running(hub), running(CoreCell("site", connect=hub.listen_urls, config=QUICK, network=network)) as site:
        site.wait_connected(PATIENCE_S)
        StreamCell(hub).register_stream_cb("c", "t", lambda future, stream, resume: arrived.put(stream.read(-1)))
        network.corrupt_batch(6, direction=direction)
        assert StreamCell(site).send_stream("c", "t", "hub", Message({}, data)).result(PATIENCE_S) == len(data)
        assert arrived.get() == data


@BOTH_WAYS
def test_case_1_5_the_third_within_a_minute_is_told_and_dialled_slowly(
    network: FaultyNetwork, direction: Direction
) -> None:
    config = CellConfig(backoff_min_s=0.02, backoff_max_s=0.2, backoff_refused_s=1000.0)
    for batch in (1, 2, 3):
        network.corrupt_batch(batch, direction=direction)
    hub = CoreCell("hub", listen=listen_url(network), config=config, network=network)
    with running(hub), running(CoreCell("site", connect=hub.listen_urls, config=config, network=network)) as site:
        with pytest.raises(ProtocolError, match="cannot read what"):
            site.wait_connected(PATIENCE_S)
        assert network.dials == 3
        # Who waits again has it dialled all the same.
        site.wait_connected(PATIENCE_S)
