"""What happens when cells claim one name or one address, and when they live again."""

from __future__ import annotations

import pytest

from streamcell import LinkError, NameInUse
from streamcell.testing import FaultyNetwork
from tests.kit.cells import Cells, is_refused_its_name
from tests.kit.payloads import MIB, pattern
from tests.kit.timing import scaled
from tests.kit.transfers import reading_when
from tests.kit.waiting import PATIENCE_S, Box, Gate, eventually

# How long a cell waits for its uplink where it is known not to come up.
SHORT_S = scaled(0.3)


def test_second_cell_of_a_name_gets_name_in_use_with_the_first_ones_address_and_the_first_is_undisturbed(
    cells: Cells, gate: Gate
) -> None:
    hub = cells.listen()
    first = cells.dial(hub, "twin")
    told = Box[str]()
    hub.set_cell_disconnected_cb(told.put)
    first.set_cell_disconnected_cb(told.put)
    read = Box[bytes]()
    first.on_stream(reading_when(gate, read))
    under_way = hub.send_stream(first, pattern(4 * MIB))
    second = cells.make("twin", connect=hub.listen_urls[0])
    second.start()
    eventually(lambda: is_refused_its_name(second))
    with pytest.raises(NameInUse, match="twin") as caught:
        second.wait_connected(SHORT_S)
    (link,) = hub.stats().protocol.links
    assert any(lane.address in str(caught.value) for lane in link.lanes)
    assert not second.is_cell_connected("server")
    assert first.is_cell_connected("server")
    gate.open()
    assert under_way.result(PATIENCE_S) == 4 * MIB
    assert read.get() == pattern(4 * MIB)
    assert told.is_empty()


def test_second_cell_of_a_name_keeps_trying_and_gets_in_when_the_first_stops(cells: Cells) -> None:
    hub = cells.listen()
    first = cells.dial(hub, "twin")
    network = FaultyNetwork(cells.network)
    second = cells.make("twin", connect=hub.listen_urls[0], network=network)
    received = Box[bytes]()
    second.on_blob(lambda future: received.put(bytes(future.result())))
    second.start()
    eventually(lambda: network.dials >= 3)
    assert first.is_cell_connected("server")
    first.stop()
    second.wait_connected(PATIENCE_S)
    assert hub.send_blob("twin", b"data").result(PATIENCE_S) == 4
    assert received.get() == b"data"


def test_second_cell_of_a_name_takes_over_from_one_that_does_not_answer_and_keeps_it(cells: Cells) -> None:
    hub = cells.listen()
    network = FaultyNetwork(cells.network)
    first = cells.dial(hub, "twin", network=network)
    network.stall()
    second = cells.make("twin", connect=hub.listen_urls[0])
    received = Box[bytes]()
    second.on_blob(lambda future: received.put(bytes(future.result())))
    second.start()
    second.wait_connected(PATIENCE_S)
    # The first one comes back, and has to wait now.
    network.release()
    dials = network.dials
    eventually(lambda: network.dials >= dials + 3)
    assert not first.is_cell_connected("server")
    assert hub.send_blob("twin", b"data").result(PATIENCE_S) == 4
    assert received.get() == b"data"
    assert second.is_cell_connected("server")


def test_cell_that_dials_a_cell_of_its_own_name_gets_name_in_use(cells: Cells) -> None:
    hub = cells.listen()
    second = cells.make("server", connect=hub.listen_urls[0])
    second.start()
    eventually(lambda: is_refused_its_name(second))
    with pytest.raises(NameInUse, match="server"):
        second.wait_connected(SHORT_S)


def test_port_that_is_busy_is_a_link_error_at_start_that_names_it(cells: Cells, carrier_kind: str) -> None:
    hub = cells.listen()
    (url,) = hub.listen_urls
    other = cells.make("other", listen=url)
    with pytest.raises(LinkError) as caught:
        other.start()
    sentence = str(caught.value)
    if carrier_kind == "grpc":
        port = url.rpartition(":")[2]
        assert "127.0.0.1" in sentence
        assert port in sentence
        assert "in use" in sentence
    else:
        assert url in sentence
    # Whoever was there is not disturbed.
    hub.on_blob(lambda future: None)
    assert cells.dial(hub).send_blob(hub, b"data").result(PATIENCE_S) == 4


def test_cell_whose_port_was_busy_can_be_started_elsewhere_or_later(cells: Cells) -> None:
    hub = cells.listen()
    (url,) = hub.listen_urls
    unlucky = cells.make("other", listen=url)
    with pytest.raises(LinkError):
        unlucky.start()
    elsewhere = cells.listen("other")
    elsewhere.on_blob(lambda future: None)
    assert cells.dial(elsewhere).send_blob(elsewhere, b"data").result(PATIENCE_S) == 4
    hub.stop()
    unlucky.start()
    assert unlucky.listen_urls == [url]
    unlucky.on_blob(lambda future: None)
    assert cells.dial(unlucky).send_blob(unlucky, b"data").result(PATIENCE_S) == 4


def test_cell_that_was_stopped_is_created_again_with_its_name_and_address(cells: Cells) -> None:
    url = ""
    received = Box[bytes]()
    for life in range(4):
        hub = cells.listen(url=url)
        hub.on_blob(lambda future: received.put(bytes(future.result())))
        (url,) = hub.listen_urls
        site = cells.dial(hub)
        data = pattern(MIB, life)
        assert site.send_blob(hub, data).result(PATIENCE_S) == MIB
        assert received.get() == data
        site.stop()
        hub.stop()
