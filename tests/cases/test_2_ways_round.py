"""Something answers where a cell was, or says nothing: another address is taken, and this one is dialled again."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator

import grpc
import pytest

from streamcell import CellConfig, CoreCell, LinkError, Message, ReceivedStream, StreamCell
from tests.kit import answers
from tests.kit.cells import QUICK, Carrier, running
from tests.kit.fixtures import carrier
from tests.kit.payloads import pattern
from tests.kit.proxy import Answer, Proxy, proxy_to
from tests.kit.timing import scaled
from tests.kit.waiting import PATIENCE_S, Box, Gate, eventually

__all__ = ["carrier"]

MIB = 1 << 20
# Is silent for as long before the next address is dialled.
DIAL_S = scaled(0.3)
PATIENT = dataclasses.replace(QUICK, connect_timeout_s=DIAL_S, hello_timeout_s=4 * DIAL_S)
SMALL = dataclasses.replace(QUICK, max_cells=1)
# Of two lanes, the one that breaks first may be dialled again where it was, while the other still holds the link.
ONE_LANE = dataclasses.replace(QUICK, bulk_lanes=0)
NO_CELL: dict[str, Answer] = {
    "UNIMPLEMENTED": answers.grpc_status(grpc.StatusCode.UNIMPLEMENTED),
    "RESOURCE_EXHAUSTED": answers.grpc_status(grpc.StatusCode.RESOURCE_EXHAUSTED),
    "UNAVAILABLE": answers.grpc_status(grpc.StatusCode.UNAVAILABLE),
    "404": answers.http_status(404),
    "403 of HTTP/1": answers.http1_status(403),
}


@pytest.fixture
def hub() -> Iterator[CoreCell]:
    with running(CoreCell("hub", listen="grpc://127.0.0.1:0", config=QUICK)) as cell:
        yield cell


@contextlib.contextmanager
def two_listening(carrier: Carrier, config: CellConfig = QUICK) -> Iterator[list[str]]:
    """Run two cells that listen, ``a``, with ``config``, and ``b``; give their addresses."""
    with (
        running(carrier.cell("a", listen=carrier.url, config=config)) as a,
        running(carrier.cell("b", listen=carrier.url)) as b,
    ):
        yield [*a.listen_urls, *b.listen_urls]


@pytest.mark.parametrize("answer", NO_CELL.values(), ids=NO_CELL)
def test_case_2_2_something_else_answers_where_the_listener_was(hub: CoreCell, answer: Answer) -> None:
    """What is under way goes on when the listener is back, however that was answered meanwhile."""
    data = pattern(4 * MIB)
    arrived: Box[bytes] = Box()

    def read(_future: object, stream: ReceivedStream, _resume: bool) -> None:
        gate.pass_through()
        arrived.put(stream.read(-1))

    with Gate() as gate, proxy_to(hub.listen_urls[0]) as proxy:
        StreamCell(hub).register_stream_cb("c", "t", read)
        with running(CoreCell("site", connect=proxy.url, config=QUICK)) as site:
            site.wait_connected(PATIENCE_S)
            future = StreamCell(site).send_stream("c", "t", "hub", Message({}, data))
            gate.wait_arrived()
            proxy.answer(answer)
            dialled = proxy.connections
            eventually(lambda: proxy.connections >= dialled + 3)
            proxy.answer(None)
            gate.open()
            assert future.result(PATIENCE_S) == len(data)
            assert arrived.get() == data


def test_case_2_2_a_first_dial_that_is_refused_is_told_at_once_and_goes_on(hub: CoreCell) -> None:
    config = dataclasses.replace(QUICK, backoff_refused_s=scaled(1.0))
    with proxy_to(hub.listen_urls[0]) as proxy:
        proxy.answer(answers.http_status(404))
        with running(CoreCell("site", connect=proxy.url, config=config)) as site:
            began = time.monotonic()
            with pytest.raises(LinkError, match="HTTP status 404") as refusal:
                site.wait_connected()
            assert time.monotonic() - began < PATIENCE_S
            assert proxy.url in str(refusal.value)
            proxy.answer(None)
            # By itself.
            eventually(lambda: site.is_cell_connected("hub"))


def test_case_2_2_who_waits_again_is_told_what_answers_now(hub: CoreCell) -> None:
    with proxy_to(hub.listen_urls[0]) as proxy:
        proxy.answer(answers.http_status(404))
        with running(CoreCell("site", connect=proxy.url, config=QUICK)) as site:
            for status in (404, 403):
                proxy.answer(answers.http_status(status))
                with pytest.raises(Exception, match=f"HTTP status {status}"):
                    site.wait_connected(PATIENCE_S)
            proxy.answer(None)
            site.wait_connected(PATIENCE_S)


@pytest.mark.parametrize("silent", answers.SILENCES.values(), ids=answers.SILENCES)
def test_case_2_3_the_first_address_says_nothing(hub: CoreCell, silent: Answer) -> None:
    with Proxy("grpc://127.0.0.1:1") as proxy:
        proxy.answer(silent)
        urls = [proxy.url, *hub.listen_urls]
        with running(CoreCell("site", connect=urls, config=PATIENT)) as site:
            site.wait_connected(PATIENCE_S)
            assert proxy.connections >= 1


@pytest.mark.parametrize("silent", answers.SILENCES.values(), ids=answers.SILENCES)
def test_case_2_3_the_address_where_the_link_was_says_nothing(hub: CoreCell, silent: Answer) -> None:
    """The first try goes to another address than the one that broke, and streams go on there."""
    data = pattern(4 * MIB)
    arrived: Box[bytes] = Box()

    def read(_future: object, stream: ReceivedStream, _resume: bool) -> None:
        gate.pass_through()
        arrived.put(stream.read(-1))

    with Gate() as gate, proxy_to(hub.listen_urls[0]) as proxy:
        StreamCell(hub).register_stream_cb("c", "t", read)
        with running(CoreCell("site", connect=[proxy.url, *hub.listen_urls], config=ONE_LANE)) as site:
            site.wait_connected(PATIENCE_S)
            future = StreamCell(site).send_stream("c", "t", "hub", Message({}, data))
            gate.wait_arrived()
            dialled = proxy.connections
            proxy.answer(silent)
            gate.open()
            assert future.result(PATIENCE_S) == len(data)
            assert arrived.get() == data
            assert proxy.connections == dialled


def test_case_2_3_both_addresses_are_silent_and_the_first_one_wakes(hub: CoreCell) -> None:
    with proxy_to(hub.listen_urls[0]) as first, Proxy("grpc://127.0.0.1:1") as second:
        first.answer(answers.silent_tcp)
        second.answer(answers.silent_grpc)
        with running(CoreCell("site", connect=[first.url, second.url], config=PATIENT)) as site:
            eventually(lambda: first.connections >= 2 and second.connections >= 2)
            first.answer(None)
            site.wait_connected(PATIENCE_S)


def test_case_2_4_a_full_hub_is_passed_over_and_tried_again(carrier: Carrier) -> None:
    with (
        running(carrier.cell("full", listen=carrier.url, config=SMALL)) as full,
        running(carrier.cell("first", connect=full.listen_urls)) as first,
    ):
        first.wait_connected(PATIENCE_S)
        with running(carrier.cell("next", connect=full.listen_urls)) as other:
            with pytest.raises(LinkError, match="max_cells"):
                other.wait_connected(scaled(0.5))
            first.stop(0)
            other.wait_connected(PATIENCE_S)


def test_case_2_4_a_full_hub_is_no_end_for_a_list(carrier: Carrier) -> None:
    with two_listening(carrier, SMALL) as urls, running(carrier.cell("first", connect=urls[0])) as first:
        first.wait_connected(PATIENCE_S)
        with running(carrier.cell("site", connect=urls)) as site:
            site.wait_connected(PATIENCE_S)
            assert site.is_cell_connected("b")


def test_case_2_4_a_name_that_is_taken_at_one_address_is_tried_at_the_next(carrier: Carrier) -> None:
    config = CellConfig(backoff_min_s=0.02, backoff_max_s=600.0, connect_in_order=True)
    with two_listening(carrier) as urls, running(carrier.cell("site", connect=urls[0])) as holder:
        holder.wait_connected(PATIENCE_S)
        with running(carrier.cell("site", connect=urls, config=config)) as site:
            site.wait_connected(PATIENCE_S)
            assert site.is_cell_connected("b")
