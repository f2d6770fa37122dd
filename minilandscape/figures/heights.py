"""Histograms of heights, maxima and barriers of sets of paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..analysis.histograms import finish_histogram, outlined_bars, wide_edges

#: Barriers of 0 are drawn at this value on a logarithmic axis.
LEAST_BARRIER = 1e-8
#: Labels of what a histogram of paths shows.
SHOWN = {
    "height": "path height, Eq. (5)",
    "maximum": "maximum along the path",
    "barrier": "barrier, above the higher endpoint",
}


def plot_heights(
    axes: Any,
    heights: Sequence[Mapping[str, Any]],
    title: str = "",
    *,
    what: str = "height",
    bins: int = 24,
    least: float = LEAST_BARRIER,
) -> Any:
    """Draw histograms of path heights (Figs. 4, S2) on common bins; return the axes.

    Parameters
    ----------
    heights
        One entry per set: ``name``, ``colour``, and the numbers under the name ``what``.
    what
        ``"height"``, Eq. (5), the largest loss at the sample points; ``"maximum"``, the largest over continuous t; or
        ``"barrier"``, the maximum minus the loss of the higher endpoint.
    least
        Barriers up to this value share one bar.
    """
    shown = [np.asarray(entry[what], dtype=np.float64) for entry in heights]
    label = SHOWN[what]
    values = np.concatenate([*shown, np.zeros(0)])
    if not np.isfinite(values).all():
        raise ValueError(f"{what} holds values that are not finite; leave out the paths that met them")
    if values.size:
        low, high = float(values.min()), float(values.max())
        if what == "barrier" and low < least:
            shown = [np.maximum(numbers, least) for numbers in shown]
            label = f"barrier (up to {least:g} in one bar)"
            low, high = least, max(high, 100 * least)
        if low > 0 and high > 30 * low:
            edges = np.geomspace(low * 0.98, high * 1.02, bins + 1)
            _log_axis(axes, high / low)
        else:
            # Heights that agree better than can be drawn share one bar.
            width = max((high - low) / bins, 1e-3 * max(abs(low), abs(high))) or least
            edges = wide_edges(low, high, width)
            axes.set_xlim(edges[0] - width, edges[-1] + width)
            axes.locator_params(axis="x", nbins=5)
        for k, (entry, numbers) in enumerate(zip(heights, shown, strict=True)):
            outlined_bars(axes, numbers, edges, entry["colour"], f"{entry['name']} ({len(numbers)})", k)
        finish_histogram(axes)
    axes.set(xlabel=label, ylabel="paths", title=title)
    return axes


#: Largest ratio of numbers that are drawn with minor ticks.
MOST_MINOR = 1e4


def _log_axis(axes: Any, ratio: float) -> None:
    """Set a logarithmic axis whose tick labels do not overlap, over one decade or many."""
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

    axes.set_xscale("log")
    if ratio < 300:
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 3) if ratio > 60 else (1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
    if ratio > MOST_MINOR:  # over many decades they cost much time
        axes.xaxis.set_major_locator(LogLocator(numticks=7))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
