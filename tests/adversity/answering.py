"""Who answers at the port: each status and each silence against each user of a cell, before and after a link.

One case: something else than the hub answers at the address, is noticed, and goes away again. Then everything has to be
as if it had never been there. ``scripts/answers`` runs all of them.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import itertools
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc

from streamcell import CellConfig, CellError, CoreCell
from streamcell.cli.app import run
from streamcell.daemon.inbox import InboxSettings, LogWatcher
from streamcell.daemon.settings import ServeSettings
from streamcell.daemon.standalone import StandaloneCell
from tests.kit import answers
from tests.kit.cells import running
from tests.kit.proxy import Answer, Proxy, proxy_to
from tests.kit.waiting import PATIENCE_S, eventually

_HTTP = (301, 403, 404, 502, 503)
STATUSES: dict[str, Answer] = {
    **{code.name: answers.grpc_status(code) for code in grpc.StatusCode},
    **{f"HTTP {status}": answers.http_status(status) for status in _HTTP},
    **{f"HTTP/1 {status}": answers.http1_status(status) for status in _HTTP},
}
ANSWERS: dict[str, Answer] = STATUSES | {f"no {name}": answer for name, answer in answers.SILENCES.items()}
CONFIG = CellConfig(
    backoff_min_s=0.02,
    backoff_max_s=0.2,
    backoff_refused_s=0.2,
    connect_timeout_s=0.5,
    hello_timeout_s=0.5,
    connect_in_order=True,
)
# Short enough for what is to fail; a command has to have seen one dial end that nobody answers.
_WAIT_S = 1.0
_SILENT_WAIT_S = 4.5


@dataclasses.dataclass(frozen=True)
class Case:
    """``linked``: the cell had a link before; ``addresses``: of how many the first is the one that is answered at."""

    user: str
    answer: str
    linked: bool
    addresses: int = 1

    def __str__(self) -> str:
        when = "was linked" if self.linked else "first dial"
        return f"{self.user}, {self.answer}, {when}, addresses: {self.addresses}"


def all_cases() -> Iterator[Case]:
    """Give every combination that there is: ``ping`` and ``send`` end with their first link."""
    for user, answer in itertools.product(("library", "serve", "ping", "send"), ANSWERS):
        yield Case(user, answer, linked=False)
        if user in {"library", "serve"}:
            yield Case(user, answer, linked=True)
        if answer not in STATUSES:
            yield from (Case(user, answer, linked, 2) for linked in (False, True) if user == "library" or not linked)


def try_out(case: Case) -> float:
    """Run one case; return how long it took, from the end of the answer, until there was a link.

    :raises AssertionError: it did not come, or what was said did not name what answered.
    """
    with tempfile.TemporaryDirectory() as folder:
        settings = ServeSettings(
            fqcn="hub", listen=("grpc://127.0.0.1:0",), inbox=InboxSettings(folder=Path(folder, "inbox")), grace_s=0
        )
        with StandaloneCell(settings, LogWatcher()) as hub:
            hub.start()
            url = hub.cell.listen_urls[0]
            with proxy_to(url) as proxy:
                urls = [proxy.url, url][: case.addresses]
                if not case.linked:
                    proxy.answer(ANSWERS[case.answer])
                return _USERS[case.user](case, proxy, urls, Path(folder))


def _use_library(case: Case, proxy: Proxy, urls: list[str], _folder: Path) -> float:
    with running(CoreCell("site", connect=urls, config=CONFIG)) as site:
        return _watch(case, proxy, site)


def _use_serve(case: Case, proxy: Proxy, urls: list[str], _folder: Path) -> float:
    settings = ServeSettings(fqcn="site", connect=tuple(urls), grace_s=0, config=CONFIG)
    with StandaloneCell(settings, LogWatcher()) as site:
        site.start()
        return _watch(case, proxy, site.cell)


def _watch(case: Case, proxy: Proxy, site: CoreCell) -> float:
    if case.linked:
        site.wait_connected(PATIENCE_S)
        proxy.answer(ANSWERS[case.answer])
    if case.addresses == 1:
        dialled = proxy.connections
        eventually(lambda: proxy.connections >= dialled + 2)
        if not case.linked:
            _assert_named(case, _refusal(site), proxy.url)
        proxy.answer(None)
    began = time.monotonic()
    site.wait_connected(PATIENCE_S)
    eventually(lambda: site.is_cell_connected("hub"))
    return time.monotonic() - began


def _refusal(site: CoreCell) -> str:
    try:
        site.wait_connected(_WAIT_S)
    except CellError as error:
        return error.sentence
    raise AssertionError("there is a link with what is no cell")


def _use_command(arguments: list[str]) -> Callable[[Case, Proxy, list[str], Path], float]:
    def use(case: Case, proxy: Proxy, urls: list[str], folder: Path) -> float:
        Path(folder, "file").write_bytes(b"content")
        command = [each.format(folder=folder) for each in arguments]
        connects = [part for url in urls for part in ("--connect", url)]
        if case.addresses == 1:
            wait_s = _WAIT_S if case.answer in STATUSES else _SILENT_WAIT_S
            code, said = _run([*command, *connects, "--wait", str(wait_s)])
            assert code in {1, 3}, f"{case}: ended with {code}"
            _assert_named(case, said, proxy.url)
            proxy.answer(None)
        began = time.monotonic()
        code, said = _run([*command, *connects, "--wait", str(PATIENCE_S)])
        assert code == 0, f"{case}: {said}"
        return time.monotonic() - began

    return use


def _run(arguments: list[str]) -> tuple[int, str]:
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = run(arguments)
    return code, said.getvalue()


def _assert_named(case: Case, said: str, url: str) -> None:
    """Check that a sentence says where, and what answered."""
    kind, _, number = case.answer.partition(" ")
    if kind == "no":
        words = ["did not answer", "said no Hello", "has not said Hello"]
    elif number:
        words = [f"HTTP status {number}"]
    else:
        words = [kind, "made up on the way", "ended the lane"]
    flat = " ".join(said.split())
    assert url in flat, f"{case}: {said}"
    assert any(word in flat for word in words), f"{case}: {said}"


_USERS: dict[str, Callable[[Case, Proxy, list[str], Path], float]] = {
    "library": _use_library,
    "serve": _use_serve,
    "ping": _use_command(["ping", "hub"]),
    "send": _use_command(["send", "{folder}/file", "--to", "hub"]),
}


def main() -> int:
    """Run all cases, and print how many passed and how long they took to come back."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--user", choices=_USERS, help="only this one")
    only = parser.parse_args().user
    logging.disable(logging.CRITICAL)
    times, failures = [], 0
    for case in all_cases():
        if only in {None, case.user}:
            try:
                times.append(try_out(case))
            except (AssertionError, CellError, TimeoutError) as error:
                failures += 1
                print(f"FAILED {case}: {error}", flush=True)
    times.sort()
    print(f"cases: {len(times) + failures}, failed: {failures}")
    if times:
        print(f"back within: half {times[len(times) // 2]:.2f} s, all {times[-1]:.2f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
