"""How a chain of minima and saddles is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..display import aligned
from ..drawing import MINIMUM, PATH, SADDLE, label, new_axes, round_ticks

if TYPE_CHECKING:
    from .result import Connection


def plot_connection(found: Connection, axes: Any) -> Any:
    """Draw the value over the length of the path, minima and saddles labelled, on some axes, new ones if None.

    Between minima and saddles the path is that of the search; it may lie above the minimum-energy path.
    """
    if found.path is None:
        raise ValueError(f"there is no path to draw: {found.reason}")
    axes = new_axes() if axes is None else axes
    path = found.path
    points = path.points(path.t).astype(np.float64)
    lengths = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    axes.plot(lengths, path.values, ".-", color=PATH, lw=1.8, ms=4, label="path of the search, not relaxed")
    values = [*found.minima_values, *(saddle.value for saddle in found.saddles)]
    minima = [_place(path.values, value) for value in found.minima_values]
    saddles = [_place(path.values, saddle.value) for saddle in found.saddles]
    for places, heights, colour, marker, below in (
        (minima, found.minima_values, MINIMUM, "o", True),
        (saddles, np.array([saddle.value for saddle in found.saddles]), SADDLE, "^", False),
    ):
        kept = [k for k, place in enumerate(places) if place is not None]
        axes.plot([lengths[places[k]] for k in kept], heights[kept], marker, color=colour, ms=8, ls="none", zorder=3)
        for k in kept:
            axes.annotate(
                aligned(heights[k], values),
                (lengths[places[k]], heights[k]),
                xytext=(0, -11 if below else 9),
                textcoords="offset points",
                ha="center",
                va="top" if below else "bottom",
                fontsize=8.5,
            )
    quantity, units = path.metadata.get("quantity", "value"), path.metadata
    axes.set(
        xlabel=label("length along the path", units.get("length_unit", "")),
        ylabel=label(quantity, units.get("value_unit", "")),
    )
    round_ticks(axes.xaxis)
    round_ticks(axes.yaxis)
    axes.margins(x=0.08, y=0.15)
    axes.legend(frameon=False, fontsize="small")
    return axes


def _place(values: np.ndarray, value: float) -> int | None:
    """The sample point of a minimum or saddle; None where the path does not pass through it."""
    k = int(np.argmin(np.abs(values - value)))
    return k if np.isclose(values[k], value, rtol=1e-9, atol=1e-12 * float(np.ptp(values))) else None
