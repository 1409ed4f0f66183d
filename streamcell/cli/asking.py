"""``ping``, ``cells`` and ``bench``: what can be learned of other cells."""

from __future__ import annotations

import json
import os
import sys
from typing import Annotated

import typer

from streamcell.cli.options import AsJson, Ca, Cert, Connect, Key, OwnName, TokenFile, Verbose, Wait, tls_of
from streamcell.cli.streams import lost_output
from streamcell.config import LONGEST_TIMEOUT_S
from streamcell.errors import one_line
from streamcell.security.settings import TLSConfig
from streamcell.topology import CellSelection

_ASK_WAIT_S = 10.0
# Cells that are shown unless more are asked for: more are no picture.
_CELLS_SHOWN = 500

Target = Annotated[str, typer.Argument(metavar="NAME", help="The cell that is asked.")]


def ping(
    target: Target,
    connect: Connect,
    own_name: OwnName = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How often.")] = 4,
    interval: Annotated[
        float, typer.Option("--interval", min=0.0, max=LONGEST_TIMEOUT_S, metavar="SECONDS", help="Between two.")
    ] = 0.5,
    wait: Wait = _ASK_WAIT_S,
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
    verbose: Verbose = 0,
) -> None:
    """Ask a cell for a sign of life, and tell how long it takes."""
    from streamcell.cli.cells import dialled_cell, log_to_stderr
    from streamcell.cli.measuring import find_way, ping_cell
    from streamcell.cli.text import milliseconds_text

    log_to_stderr(verbose)
    tls = tls_of(ca, cert, key)
    times: list[float] = []
    with dialled_cell(own_name or _own_name("ping", tls), connect, wait, tls, token_file) as cell:
        for seconds in ping_cell(cell, target, count, interval, wait):
            times.append(seconds)
            if not as_json:
                print(f"{target} answered in {milliseconds_text(seconds)}", flush=True)
            if lost_output() is not None:
                # Nobody reads of further ones.
                return
        way = find_way(cell, target, wait)
    if as_json:
        print(json.dumps({"target": target, "round_trips_s": times, "way": way}))
        return
    if count > 1:
        shortest, mean, longest = min(times), sum(times) / len(times), max(times)
        print(
            f"{len(times)} answers: shortest {milliseconds_text(shortest)}, mean {milliseconds_text(mean)}, "
            f"longest {milliseconds_text(longest)}"
        )
    if len(way) > 1:
        print(f"by way of {', '.join(way[:-1])}")


def cells(
    connect: Connect,
    own_name: OwnName = None,
    prefix: Annotated[
        str, typer.Option("--prefix", metavar="TEXT", help="Only cells whose names begin with this, as in 'site-1.'.")
    ] = "",
    limit: Annotated[
        int, typer.Option("--limit", min=0, max=2**31, metavar="NUMBER", help="At most so many; 0: all.")
    ] = _CELLS_SHOWN,
    after: Annotated[str, typer.Option("--after", metavar="NAME", help="Only cells behind this one, by name.")] = "",
    wait: Wait = _ASK_WAIT_S,
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
    verbose: Verbose = 0,
) -> None:
    """Show the tree of cells that one belongs to."""
    from streamcell.cli.cells import dialled_cell, log_to_stderr
    from streamcell.cli.tree import branches_for, counted, find_tree, tree_lines

    log_to_stderr(verbose)
    tls = tls_of(ca, cert, key)
    with dialled_cell(own_name or _own_name("cells", tls), connect, wait, tls, token_file) as cell:
        found = find_tree(cell, wait, CellSelection(prefix, limit, after))
    if as_json:
        for each in found.cells:
            print(json.dumps(each.to_values()))
    else:
        lines = list(tree_lines(found.cells, branches_for(sys.stdout.encoding)))
        width = max((len(line) for line, _ in lines), default=0)
        for line, each in lines:
            # What others say of themselves is shown as text, whatever it is.
            said = [one_line(each.known.software), one_line(each.known.address)]
            if verbose:
                said.append(f"proved: {one_line(each.known.identity) or 'nothing'}")
            print("  ".join(filter(None, [line.ljust(width), *said])))
    if found.total > len(found.cells):
        print(counted(found), file=sys.stderr)


def bench(
    target: Target,
    connect: Connect,
    own_name: OwnName = None,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.1, max=LONGEST_TIMEOUT_S, metavar="SECONDS", help="For each part.")
    ] = 3.0,
    wait: Wait = _ASK_WAIT_S,
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
    verbose: Verbose = 0,
) -> None:
    """Measure throughput and round trip to a cell that 'serve' or 'recv' runs."""
    from streamcell.cli.cells import dialled_cell, log_to_stderr
    from streamcell.cli.measuring import measure_round_trips, measure_throughput
    from streamcell.cli.text import milliseconds_text, rate_text

    log_to_stderr(verbose)
    tls = tls_of(ca, cert, key)
    with dialled_cell(own_name or _own_name("bench", tls), connect, wait, tls, token_file) as cell:
        times = measure_round_trips(cell, target, seconds, wait)
        rate = measure_throughput(cell, target, seconds, wait)
    median, slow = times[len(times) // 2], times[len(times) * 99 // 100]
    if as_json:
        figures = {"target": target, "bytes_per_s": rate, "round_trip_s": {"median": median, "p99": slow}}
        print(json.dumps(figures))
    else:
        print(f"throughput  {rate_text(rate)}")
        print(
            f"round trip  median {milliseconds_text(median)}, 99 % below {milliseconds_text(slow)} ({len(times)} times)"
        )


def _own_name(verb: str, tls: TLSConfig | None) -> str:
    from streamcell.cli.naming import command_name, proven_name

    return proven_name(command_name(verb, str(os.getpid())), tls)
