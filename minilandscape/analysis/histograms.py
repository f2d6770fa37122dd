"""Histograms that are distinguished in colour and in grey, and those of lengths (Figs. 5, S3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..drawing import OKABE_ITO, round_ticks

if TYPE_CHECKING:
    from .statistics import ShellLengths

#: Colours of the two sets: as in the paper L-BFGS-GSS is blue and SGD red.
TWO = (OKABE_ITO["blue"], OKABE_ITO["vermillion"])


def plot_shell_lengths(
    axes: Any,
    result: ShellLengths,
    labels: tuple[str, str] = ("L-BFGS-GSS", "SGD"),
    *,
    bins: int = 24,
    colours: tuple[str, str] = TWO,
) -> Any:
    """Draw both histograms of |ω_i − ω̄| on common bins, and a dotted line at |ω̄_a − ω̄| (Fig. 5); return the axes.

    Parameters
    ----------
    axes
        Matplotlib axes.
    result
        Of :func:`minilandscape.shell_lengths`.
    labels, colours
        Of the first and the second set.
    bins
        Number of bins over the lengths of both, at most.
    """
    sets = (result.lengths_a, result.lengths_b)
    lengths = np.concatenate(sets)
    low, high = float(lengths.min()), float(lengths.max())
    # Lengths that differ by less than can be drawn beside the dotted line, or at all, share one visible bar.
    reach = max(high, result.centroid_distance) - min(low, result.centroid_distance)
    width = max((high - low) / bins, 0.01 * reach, 1e-4 * high) or 1.0
    edges = wide_edges(low, high, width)
    for k, (values, label, colour) in enumerate(zip(sets, short_names(labels), colours, strict=True)):
        outlined_bars(axes, values, edges, colour, label, k)
    if reach < width:
        axes.set_xlim(low - 5 * width, high + 5 * width)
    axes.axvline(result.centroid_distance, ymax=0.85, color="k", ls=":", label="centroids")  # below the legend
    axes.set(xlabel=r"distance from the common origin, $|\omega_i - \bar\omega|$", ylabel="number of weight vectors")
    round_ticks(axes.xaxis)
    finish_histogram(axes)
    return axes


def wide_edges(low: float, high: float, width: float) -> np.ndarray:
    """Compute the edges of bins of some width, centred on the range that they cover."""
    n = max(1, int(np.ceil((high - low) / width * (1 - 1e-9))))
    edges = 0.5 * (low + high) + width * (np.arange(n + 1) - 0.5 * n)
    edges[0], edges[-1] = min(edges[0], low), max(edges[-1], high)  # rounding must leave nothing out
    return edges


def outlined_bars(axes: Any, values: np.ndarray, edges: np.ndarray, colour: str, label: str, k: int) -> None:
    """Draw the k-th histogram on some axes; gaps in its outline and its hatching keep equal bars apart."""
    hatch = ("", "///", "\\\\\\", "...")[k % 4]
    counts, _, _ = axes.hist(values, edges, color=colour, alpha=0.55, label=label, hatch=hatch, edgecolor=colour, lw=0)
    axes.stairs(counts, edges, color=colour, ls="-" if k == 0 else (0, (4 - min(k, 3), 1 + 2 * k)), lw=1.5)


def short_names(names: Sequence[str], longest: int = 40) -> list[str]:
    """Shorten names of files by the folders that all of them share, and to a length that can be drawn."""
    parts = [name.split("/") for name in names]
    common = 0
    while all(len(part) > common + 1 and part[common] == parts[0][common] for part in parts):
        common += 1
    shorter = ["/".join(part[common:]) for part in parts]
    shorter = [name if len(name) <= longest else "…" + name[1 - longest :] for name in shorter]
    # Matplotlib reads dollars as formulas and hides what begins with an underscore; a thin space before it keeps it.
    return [("\u2009" if name.startswith("_") else "") + name.replace("$", r"\$") for name in shorter]


def finish_histogram(axes: Any) -> None:
    """Put whole numbers on the axis of counts, and the legend above the bars."""
    axes.yaxis.get_major_locator().set_params(integer=True)
    handles, names = axes.get_legend_handles_labels()
    columns = 2 if max(map(len, names)) <= 30 else 1
    axes.legend(handles, names, frameon=False, fontsize=7, loc="upper left", ncols=columns)
    rows = -(-len(names) // columns)
    axes.set_ylim(top=axes.get_ylim()[1] * (1 + 0.09 * rows))
