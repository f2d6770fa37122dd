"""Histograms of the barriers within sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..analysis.histograms import short_names
from ..drawing import COLOURS
from .heights import LEAST_BARRIER, plot_heights

if TYPE_CHECKING:
    from ..set_barriers import Barriers

#: Barriers up to this part of those of the straight lines share one bar, where that is less than networks' 1e-8.
PART = 1e-8


def _power_of_ten(value: float) -> float:
    """The largest power of ten up to a value; 0 where it is not above 0."""
    return float(10.0 ** np.floor(np.log10(value))) if value > 0 else 0.0


def barriers_figure(found: Barriers) -> Any:
    """Draw height, maximum and barrier of every path, a row for each search and a colour for each set."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 3.5 * len(found.searches) + 0.3), layout="constrained")
    rows = figure.subplots(len(found.searches), 3, squeeze=False)
    shown = short_names(found.sets)
    for row, (search, text) in zip(rows, found.searches.items(), strict=True):
        entries, lines = [], [0.0]
        for k, name in enumerate(found.sets):
            paths = found.of(name, search)
            if paths:
                entry: dict[str, Any] = {"name": shown[k], "colour": COLOURS[k % len(COLOURS)]}
                entries.append(entry | {w: [p[w] for p in paths] for w in ("height", "maximum", "barrier")})
                lines += [p["height_linear"] - max(p["value_i"], p["value_j"]) for p in paths]
        finite = [line for line in lines if np.isfinite(line)]
        least = min(LEAST_BARRIER, _power_of_ten(PART * max(finite))) or LEAST_BARRIER
        for ax, what in zip(row, ("height", "maximum", "barrier"), strict=True):
            plot_heights(ax, entries, text, what=what, least=least)
    return figure
