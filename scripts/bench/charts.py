"""Charts of what was measured, as SVG and PNG. The only module that needs matplotlib."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import NullFormatter

from scripts.bench.report import GIB

Figures: TypeAlias = Mapping[str, Any]
# For each label of a series all values of it.
Values: TypeAlias = Mapping[str, Sequence[float]]

COLOURS = ("#1f5fa8", "#e08a2e", "#5b9a57")
WIDTH_INCHES, DOTS_PER_INCH = 8.0, 110
FONT_POINTS = 9.0


@dataclasses.dataclass(frozen=True)
class Chart:
    """A pair of files, ``name`` with the two endings, and what they show."""

    name: str
    title: str


def draw(figures: Figures, folder: Path) -> list[Chart]:
    """Draw what the figures of a run suffice for, and return what was drawn."""
    drawn = []
    for workload, chart, fill in CHARTS:
        if workload not in figures:
            continue
        # With the salt the same figures make the same file.
        with mpl.rc_context({"svg.hashsalt": "streamcell", "font.size": FONT_POINTS}):
            figure = Figure(layout="constrained")
            fill(figure, figures[workload])
            figure.suptitle(chart.title)
            save(figure, folder / chart.name)
        drawn.append(chart)
    return drawn


def save(figure: Figure, path: Path) -> None:
    figure.savefig(path.with_suffix(".svg"), metadata={"Date": None, "Creator": None})
    figure.savefig(path.with_suffix(".png"), dpi=DOTS_PER_INCH, metadata={"Software": None})
    svg = path.with_suffix(".svg")
    # matplotlib leaves blanks at ends of lines.
    svg.write_text("".join(f"{line.rstrip()}\n" for line in svg.read_text("utf-8").splitlines()), "utf-8")


def values_of(rounds: Mapping[str, Sequence[Figures | None]], labels: Sequence[str], name: str) -> Values:
    """Return what was measured under that name; systems without any are left out, the tables name them."""
    found = {label: [each[name] for each in rounds[label] if each is not None] for label in labels}
    return {label: values for label, values in found.items() if values}


def bars(axes: Axes, series: Mapping[str, Values], unit: str, *, log: bool = False) -> None:
    """Draw medians with whiskers over the range, a group for each label, a colour for each series.

    They are bars; on a logarithmic scale, which has no zero, dots.
    """
    labels = list(dict.fromkeys(label for values in series.values() for label in values))
    height = 0.8 / len(series)
    for number, (values, colour) in enumerate(zip(series.values(), COLOURS, strict=False)):
        shown = [label for label in labels if label in values]
        at = [labels.index(label) + (number - (len(series) - 1) / 2) * height for label in shown]
        medians = [statistics.median(values[label]) for label in shown]
        below = [median - min(values[label]) for median, label in zip(medians, shown, strict=True)]
        above = [max(values[label]) - median for median, label in zip(medians, shown, strict=True)]
        if not log:
            axes.barh(at, medians, height * 0.9, color=colour)
        axes.errorbar(
            medians,
            at,
            xerr=[below, above],
            fmt="o" if log else "none",
            color=colour,
            ecolor=colour if log else "#444444",
            elinewidth=1.0,
            capsize=2.0,
        )
    if len(series) > 1:
        handles = [Patch(color=colour) for _, colour in zip(series, COLOURS, strict=False)]
        axes.legend(handles, list(series), frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.set_xlabel(unit)
    if log:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlim(1)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.grid(axis="x", color="#dddddd")


def draw_stream(figure: Figure, figures: Figures) -> None:
    figure.set_size_inches(WIDTH_INCHES, 5.0)
    installed = values_of(figures["rounds"], figures["installed"], "gib_per_s")
    tuned = values_of(figures["rounds"], figures["tuned"][1:], "gib_per_s")
    tuned = {label.removesuffix(", tuned"): values for label, values in tuned.items()}
    series = {"as installed": installed, "with streamcell's allocator settings": tuned}
    bars(figure.subplots(), series, "GiB/s")


def draw_processor(figure: Figure, figures: Figures) -> None:
    figure.set_size_inches(WIDTH_INCHES, 4.5)
    names = {"sender": "sender_processor_s_per_gib", "receiver": "receiver_processor_s_per_gib"}
    series = {end: values_of(figures["rounds"], figures["installed"], name) for end, name in names.items()}
    bars(figure.subplots(), series, "processor seconds for each GiB")


def draw_blob(figure: Figure, figures: Figures) -> None:
    figure.set_size_inches(WIDTH_INCHES, 4.0)
    names = {"the first, into fresh memory": "first", "the later ones": "later"}
    series = {title: values_of(figures["rounds"], figures["systems"], name) for title, name in names.items()}
    bars(figure.subplots(), series, "GiB/s")


def draw_echo(figure: Figure, figures: Figures) -> None:
    figure.set_size_inches(WIDTH_INCHES, 2.8)
    times, rates = figure.subplots(1, 2)
    names = {"median": "median_ms", "99 of 100 below": "slow_ms"}
    labels = figures["systems"]
    bars(
        times, {title: values_of(figures["rounds"], labels, name) for title, name in names.items()}, "ms, one at a time"
    )
    bars(rates, {"": values_of(figures["rounds"], labels, "per_s")}, "a second, many under way")
    rates.set_yticklabels([])


def draw_beside(figure: Figure, figures: Figures) -> None:
    figure.set_size_inches(WIDTH_INCHES, 3.0)
    series = {
        title: values_of(figures[path]["rounds"], figures[path]["systems"], "slow_ms")
        for title, path in {"loopback": "loopback", "64 Mbit/s": "narrow"}.items()
    }
    bars(figure.subplots(), series, "ms, 99 of 100 round trips are below", log=True)


def draw_memory(figure: Figure, figures: Figures) -> None:
    figure.set_size_inches(WIDTH_INCHES, 3.0)
    axes = figure.subplots()
    growth = {int(size) / GIB: ends for size, ends in figures["growth_mib"].items()}
    for end, colour in zip(("receiver", "sender"), COLOURS, strict=False):
        points = [(size, value) for size, ends in growth.items() for value in ends[end]]
        axes.plot([size for size, _ in points], [value for _, value in points], "o", color=colour, label=end)
    axes.set_xscale("log", base=2)
    axes.set_xticks(list(growth), [f"{size:g} GiB" for size in growth])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("length of the stream")
    axes.set_ylabel("MiB")
    axes.legend(frameon=False)


# The workload whose figures a chart needs, and what draws it.
CHARTS: tuple[tuple[str, Chart, Callable[[Figure, Figures], None]], ...] = (
    ("throughput", Chart("performance-stream", "A stream, discarded by its reader"), draw_stream),
    ("throughput", Chart("performance-processor", "Processor time of a stream"), draw_processor),
    ("blob", Chart("performance-blob", "Large blobs"), draw_blob),
    ("echo", Chart("performance-echo", "A blob of 1 KiB and back"), draw_echo),
    ("beside", Chart("performance-beside", "A blob of 1 KiB and back, beside a long stream"), draw_beside),
    ("memory", Chart("performance-memory", "Memory that a stream adds (streamcell)"), draw_memory),
)
