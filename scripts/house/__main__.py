"""Prints the figures."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

from scripts.house import arrows, kits, names, states, walk, writes
from scripts.house.source import ROOT

FIGURES: dict[str, Callable[[Path], Iterator[str]]] = {
    "writes": writes.report,
    "states": states.report,
    "arrows": arrows.report,
    "walk": walk.report,
    "kits": kits.report,
    "names": names.report,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m scripts.house", description="Prints the figures of the house.")
    parser.add_argument(
        "figures", nargs="*", metavar="FIGURE", help=f"some of {', '.join(FIGURES)}; all if none is named"
    )
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout that is measured")
    arguments = parser.parse_args()
    for name in arguments.figures or FIGURES:
        if name not in FIGURES:
            parser.error(f"there is no figure {name}")
        print("\n".join(FIGURES[name](arguments.root.resolve())), end="\n\n")


if __name__ == "__main__":
    main()
