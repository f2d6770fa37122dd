"""What all figures share: colours, labels with units, round ticks, logarithmic scales, labels beside the lines.

The colours are those of Okabe and Ito, which people with any colour vision can tell apart. Line styles and markers
differ as well, so that a figure printed in grey can be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

#: Okabe and Ito's colours by name.
OKABE_ITO = {
    "black": "#000000",
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "green": "#009E73",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
    "orange": "#E69F00",
    "yellow": "#F0E442",
}
#: The colours of lines in the order in which they are given out; yellow is too light for a line on white.
COLOURS = tuple(OKABE_ITO[name] for name in ("blue", "vermillion", "green", "purple", "orange", "sky", "black"))
#: A path, the straight line, saddles and minima have the same colour in every figure.
PATH, STRAIGHT, SADDLE, MINIMUM = OKABE_ITO["blue"], "0.45", OKABE_ITO["vermillion"], OKABE_ITO["green"]
#: Line styles and markers in the same order.
STYLES = ("-", "--", "-.", (0, (1, 1)), (0, (6, 1.5)), (0, (4, 1, 1, 1, 1, 1)), (0, (2, 2)))
MARKERS = "osD^vPX"
#: Positive values that span more than this ratio are drawn on a logarithmic scale.
LOGARITHMIC = 50.0
#: Powers of ten that are named on an axis, at most.
MOST_TICKS = 8
#: The height of a line of text beside the lines of a figure, as a part of the axes' height.
LINE_OF_TEXT = 0.055


def new_axes(width: float = 6.4, height: float = 4.2) -> Any:
    """Make the axes of a figure of its own, in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained").subplots()


def label(quantity: str, unit: str = "") -> str:
    """Format the label of an axis: a quantity and its unit."""
    return f"{quantity} ({unit})" if unit else quantity


def round_ticks(axis: Any, most: int = 7) -> None:
    """Put ticks at round numbers, a few at most; the label of an axis says a common factor or offset."""
    from matplotlib.ticker import MaxNLocator, ScalarFormatter

    axis.set_major_locator(MaxNLocator(nbins=most, steps=[1, 2, 2.5, 5, 10]))
    formatter = ScalarFormatter(useMathText=True)
    formatter.set_powerlimits((-3, 4))
    axis.set_major_formatter(formatter)


def count_ticks(axis: Any) -> None:
    """Put ticks of a logarithmic axis at 1, 2 and 5 times powers of ten, as numbers that count something."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axis.set_minor_formatter(NullFormatter())


def spans_decades(values: Any) -> bool:
    """Whether some values are all positive and so different that a linear scale flattens the smallest."""
    values = np.asarray(values, dtype=np.float64)
    values = values[np.isfinite(values)]
    return bool(values.size and values.min() > 0 and values.max() > LOGARITHMIC * values.min())


def value_scale(axes: Any, values: Any) -> None:
    """Give the y axis the scale that shows some values: logarithmic where they span decades, else linear."""
    if spans_decades(values):
        axes.set_yscale("log")
    else:
        round_ticks(axes.yaxis)


def foot_of(heights: Any, rounding: float = 0.0) -> float:
    """Find the power of ten at which a logarithmic scale of some heights begins; 0 where a linear one shows them.

    Heights up to ``rounding`` count as 0. Where there are any, the scale has a power of ten more, whose foot stands for
    0.
    """
    heights = np.asarray(heights, dtype=np.float64)
    heights = heights[np.isfinite(heights)]
    positive = heights[heights > rounding]
    if not positive.size or positive.max() <= LOGARITHMIC * positive.min():
        return 0.0
    return float(10 ** (np.floor(np.log10(positive.min())) - bool((heights <= rounding).any())))


def logarithmic_from(axes: Any, foot: float, heights: Any) -> None:
    """Make the y axis logarithmic from a foot, which stands for 0 where there are such heights, to the highest."""
    from matplotlib.ticker import LogFormatterMathtext, NullLocator

    heights = np.asarray(heights, dtype=np.float64)
    heights = heights[np.isfinite(heights)]
    first, last = round(np.log10(foot)), int(np.floor(np.log10(heights.max())))
    every = -(-(last - first + 1) // MOST_TICKS)
    ticks = [10.0**n for n in range(last, first - 1, -every)]
    names = [LogFormatterMathtext()(tick) for tick in ticks]
    if (heights < foot).any():
        above = sum(tick > 2 * foot for tick in ticks)
        ticks, names = [*ticks[:above], foot], [*names[:above], "0"]
    axes.set_yscale("log")
    axes.set_yticks(ticks, names)
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylim(foot / 2, 2 * heights.max())


def apart(places: Sequence[float], least: float, low: float, high: float) -> np.ndarray:
    """Move places between two bounds so far apart that labels there do not overlap, each as little as possible."""
    order = np.argsort(places, kind="stable")
    least = min(least, (high - low) / max(1, len(places)))
    blocks: list[list[float]] = []  # the mean of the wished-for lowest places, and how many labels stand together
    for k in order:
        blocks.append([places[k], 1.0])
        while len(blocks) > 1 and blocks[-1][0] < blocks[-2][0] + least * blocks[-2][1]:
            place, n = blocks.pop()
            before, m = blocks[-1]
            blocks[-1] = [(before * m + (place - least * m) * n) / (m + n), m + n]
    moved = [place + least * k for place, n in blocks for k in range(int(n))]
    found = np.empty(len(places))
    found[order] = moved
    # At the bounds the labels stand in a row.
    ascending = np.sort(found)
    ascending = np.maximum(ascending, low + least * np.arange(len(places)))
    ascending = np.minimum(ascending, high - least * np.arange(len(places))[::-1])
    found[order] = ascending
    return found


def label_lines(axes: Any, labels: Sequence[tuple[float, str, str, str]], size: float = 8.5) -> None:
    """Write labels (y, text, colour, marker) to the right of the axes, beside the height of what they name.

    The text is dark, whatever the colour of the line: a marker and a thin leader show the colour.
    """
    to_axes = axes.transData + axes.transAxes.inverted()
    right = axes.get_xlim()[1]
    heights = [float(np.clip(to_axes.transform((right, y))[1], 0.0, 1.0)) for y, *_ in labels]
    places = apart(heights, LINE_OF_TEXT, 0.02, 0.98)
    for place, height, (_, text, colour, marker) in zip(places, heights, labels, strict=True):
        axes.annotate(
            text,
            xy=(1.0, height),
            xytext=(1.05 if marker else 1.03, place),
            xycoords="axes fraction",
            textcoords="axes fraction",
            color="0.15",
            fontsize=size,
            va="center",
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "lw": 0.6,
                "relpos": (0, 0.5),
                "shrinkA": 11 if marker else 1,
                "shrinkB": 0,
            },
            annotation_clip=False,
        )
        if marker:
            axes.scatter([1.033], [place], s=22, c=[colour], marker=marker, transform=axes.transAxes, clip_on=False)
