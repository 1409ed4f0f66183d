"""A dial has two limits: one for the connection, a longer one for the Hello on it. Cases 2.3 and 2.4.

A listener that has lost all its cells at once says Hello late to the last of them, or asks them to come later.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Iterator

import grpc
import pytest

from streamcell import CoreCell, LinkError
from streamcell.logs import flush
from tests.kit import answers
from tests.kit.cells import QUICK, running
from tests.kit.proxy import Proxy, proxy_to
from tests.kit.timing import scaled
from tests.kit.waiting import PATIENCE_S, eventually

RETRY_AFTER = "streamcell-retry-after-ms"


@pytest.fixture
def hub() -> Iterator[CoreCell]:
    with running(CoreCell("hub", listen="grpc://127.0.0.1:0", config=QUICK)) as cell:
        yield cell


def error_of(site: CoreCell, timeout_s: float) -> str:
    """Return what waiting for the link fails with."""
    with pytest.raises(LinkError) as raised:
        site.wait_connected(timeout_s)
    return str(raised.value)


def test_case_2_3_a_hello_may_come_later_than_a_connection(hub: CoreCell) -> None:
    way_s = scaled(1.5)
    config = dataclasses.replace(QUICK, connect_timeout_s=1.9 * way_s)
    with proxy_to(hub.listen_urls[0]) as proxy:
        # There and back again it takes longer than a connection may take.
        proxy.path.latency_s = way_s
        with running(CoreCell("site", connect=proxy.url, config=config)) as site:
            site.wait_connected(PATIENCE_S)


def test_case_2_3_the_limit_that_has_passed_is_named_and_the_address(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "streamcell.link")
    config = dataclasses.replace(QUICK, connect_timeout_s=scaled(0.3), hello_timeout_s=scaled(1.0))
    said_nothing = f"took the connection, and said no Hello within {config.hello_timeout_s:g} s (hello_timeout_s)"
    with Proxy("grpc://127.0.0.1:1") as proxy:
        for silent, limit in (
            (answers.silent_tcp, f"did not answer within {config.connect_timeout_s:g} s (connect_timeout_s)"),
            (answers.silent_http2, said_nothing),
            (answers.silent_grpc, said_nothing),
        ):
            proxy.answer(silent)
            caplog.clear()
            dialled = proxy.connections
            with running(CoreCell("site", connect=proxy.url, config=config)) as site:
                eventually(lambda dialled=dialled: proxy.connections >= dialled + 3)  # type: ignore[misc]
                assert proxy.url in error_of(site, 0)
                flush()
                # The log has it once.
                said = [record.getMessage() for record in caplog.records if "no lane" in record.getMessage()]
                assert said == [f"[cell=site] no lane: {proxy.url} {limit}"]


def test_case_2_3_who_waits_for_less_than_the_hello_may_take_is_told_what_is_waited_for() -> None:
    with Proxy("grpc://127.0.0.1:1") as proxy:
        proxy.answer(answers.silent_grpc)
        with running(CoreCell("site", connect=proxy.url, config=QUICK)) as site:
            eventually(lambda: f"{proxy.url} has taken site's connection" in error_of(site, 0.1))
            assert "has not said Hello yet, for which it gets 30 s (hello_timeout_s)" in error_of(site, 0)
            # And nobody dials beside it where there is no other address.
            assert proxy.connections == 1


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED])
def test_case_2_4_a_listener_that_has_too_much_to_do_says_when_to_come_again(
    hub: CoreCell, code: grpc.StatusCode
) -> None:
    wait_s = scaled(1.0)
    with proxy_to(hub.listen_urls[0]) as proxy:
        proxy.answer(answers.grpc_status(code, {RETRY_AFTER: str(round(1000 * wait_s))}))
        with running(CoreCell("site", connect=proxy.url, config=QUICK)) as site:
            eventually(lambda: proxy.connections == 1)
            began = time.monotonic()
            # The back-off of this cell is at most 0.05 s.
            eventually(lambda: proxy.connections == 2)
            assert time.monotonic() - began > 0.9 * wait_s
            proxy.answer(None)
            site.wait_connected(PATIENCE_S)


def test_case_2_4_a_listener_that_is_full_is_dialled_slowly_and_nobody_is_given_up(hub: CoreCell) -> None:
    config = dataclasses.replace(QUICK, backoff_max_s=scaled(0.2))
    with proxy_to(hub.listen_urls[0]) as proxy:
        proxy.answer(answers.grpc_status(grpc.StatusCode.RESOURCE_EXHAUSTED))
        with running(CoreCell("site", connect=proxy.url, config=config)) as site:
            began = time.monotonic()
            eventually(lambda: proxy.connections == 2)
            # Six times the longest usual back-off, or half of that.
            assert time.monotonic() - began > 0.9 * 3 * config.backoff_max_s
            assert "RESOURCE_EXHAUSTED" in error_of(site, 0)
            proxy.answer(None)
            # Who waits is not told that it is in vain.
            site.wait_connected(PATIENCE_S)
