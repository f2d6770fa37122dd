"""How a chain of minima and saddles is drawn."""

from __future__ import annotations

from collections.abc import Iterable
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
    for heights, colour, marker, below in (
        (found.minima_values, MINIMUM, "o", True),
        (np.array([saddle.value for saddle in found.saddles]), SADDLE, "^", False),
    ):
        kept = [(lengths[k], f) for k, f in zip(_places(path.values, heights), heights, strict=True) if k is not None]
        axes.plot([x for x, _ in kept], [f for _, f in kept], marker, color=colour, ms=8, ls="none", zorder=3)
        for x, f in kept:
            axes.annotate(
                aligned(f, values),
                (x, f),
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


def _places(values: np.ndarray, wanted: Iterable[float]) -> list[int | None]:
    """The sample points of minima or saddles in the order of the chain; None where the path does not pass through one.

    Several may have the same value, as in a symmetric reaction: each is looked for beyond the one before.
    """
    places: list[int | None] = []
    beyond = 0
    for value in wanted:
        off = np.abs(values[beyond:] - value)
        near = off <= 1e-9 * abs(value) + 1e-12 * float(np.ptp(values))
        if not near.any():
            places.append(None)
            continue
        first = int(near.argmax())
        stop = first + int(np.append(near[first:], False).argmin())  # neighbours may have nearly the same value
        places.append(beyond + first + int(off[first:stop].argmin()))
        beyond += stop
    return places
