"""A notebook whose cells are run twice: what is in the way is named, and can be reached."""

from __future__ import annotations

import gc
import socket
from pathlib import Path

import pytest

import streamcell
from streamcell import CoreCell, LinkError, NameInUse
from tests.kit.cells import Carrier, grpc_carrier, memory_carrier, running
from tests.kit.programs import Script
from tests.kit.waiting import PATIENCE_S, eventually

FORMS = {
    "same": ("grpc://127.0.0.1:{port}", "grpc://127.0.0.1:{port}"),
    "wildcard second": ("grpc://127.0.0.1:{port}", "grpc://0.0.0.0:{port}"),
    "wildcard first": ("grpc://0.0.0.0:{port}", "grpc://127.0.0.1:{port}"),
    "name": ("grpc://127.0.0.1:{port}", "grpc://localhost:{port}"),
}


def make(fqcn: str, url: str) -> CoreCell:
    return CoreCell(fqcn, listen=url, insecure=True)


@pytest.mark.parametrize("form", FORMS)
def test_case_2_5_address_that_a_cell_of_this_process_has(form: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    first, second = (url.format(port=port) for url in FORMS[form])
    with running(make("server", first)), pytest.raises(LinkError) as caught:
        make("again", second).start()
    assert "Address already in use by cell 'server' of this process" in str(caught.value)
    assert "streamcell.running_cells()" in str(caught.value)


@pytest.mark.parametrize("kind", ["unix", "memory"])
def test_case_2_5_other_addresses_that_a_cell_of_this_process_has(kind: str, tmp_path: Path) -> None:
    carrier = (
        Carrier(f"unix://{tmp_path}/socket", grpc_carrier().network)
        if kind == "unix"
        else Carrier("memory://place", memory_carrier().network)
    )
    with running(carrier.cell("server", listen=carrier.url)), pytest.raises(LinkError) as caught:
        carrier.cell("again", listen=carrier.url).start()
    assert "in use by cell 'server' of this process" in str(caught.value)


def test_case_2_5_address_that_something_else_has() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        url = f"grpc://127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(LinkError, match=r"Address already in use; choose another address"):
            make("server", url).start()


def test_case_2_5_cell_that_was_lost_can_be_found_and_stopped(carrier: Carrier) -> None:
    before = len(streamcell.running_cells())
    server = carrier.cell("server", listen=carrier.url)
    assert len(streamcell.running_cells()) == before
    server.start()
    url = server.listen_urls[0]
    assert streamcell.running_cells()[-1] is server
    # What a notebook does when its cell is run again.
    server = carrier.cell("server", listen=url)
    gc.collect()
    with pytest.raises(LinkError):
        server.start()
    lost = streamcell.running_cells()[-1]
    assert (lost.fqcn, lost.listen_urls) == ("server", [url])
    assert lost is not server
    assert lost is streamcell.running_cells()[-1]
    lost.stop(0)
    assert len(streamcell.running_cells()) == before
    with running(server):
        assert server.listen_urls == [url]


def test_case_2_5_name_that_a_cell_of_this_process_has(carrier: Carrier) -> None:
    with running(carrier.cell("server", listen=carrier.url)) as server:
        first, second = (carrier.cell("site", connect=server.listen_urls) for _ in range(2))
        with running(first):
            first.wait_connected(PATIENCE_S)
            with running(second):
                eventually(lambda: "this process runs another cell 'site'" in str(refusal_of(second)))


def refusal_of(cell: CoreCell) -> NameInUse | None:
    """Return why the parent does not take the cell, if it has said so."""
    try:
        cell.wait_connected(0.01)
    except NameInUse as refusal:
        return refusal
    except LinkError:
        pass
    return None


def test_case_2_5_process_without_a_cell_and_forked_child_have_none() -> None:
    script = """
        import streamcell
        say(streamcell.running_cells())
        server, site = connected_pair()
        say(len(streamcell.running_cells()))
        if os.fork() == 0:
            say(streamcell.running_cells())
            os._exit(0)
        os.wait()
        """
    with Script(script) as program:
        assert [program.hear() for _ in range(3)] == ["[]", "2", "[]"]
        assert program.end() == (0, "")
