"""Kernel PCA projections (Figs. 6, S4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .statistics import short_names

COLOURS = ("blue", "red", "green", "orange", "purple", "brown", "pink", "gray", "olive", "cyan")
MARKERS = "os^Dv"
#: Names longer than this stand below each other, and more of them than this beside the points.
LONG, MANY = 24, 5


def plot_kpca(
    axes: Any,
    projections: Any,
    labels: Sequence[str],
    *,
    components: Sequence[int] = (0, 1),
    colours: Mapping[str, str] | None = None,
    title: str = "",
) -> Any:
    """Draws one or two components, one colour a set (Fig. 6: L-BFGS-GSS blue, SGD red); returns the axes.

    Parameters
    ----------
    axes
        Matplotlib axes.
    projections
        (N, k), of :func:`minilandscape.kernel_pca`.
    labels
        N names, one a point, of the set that it belongs to.
    components
        Which two, counted from 0; or one, drawn along one axis with a line for each set.
    colours
        Name to colour; by default blue, red, … in the order in which the names first appear.

    Raises
    ------
    ValueError
        If there are not as many labels as points, or not those components, one or two of them.
    """
    projections = np.asarray(projections)
    if len(components) not in (1, 2):
        raise ValueError(f"components are {tuple(components)}; expected one or two")
    if projections.ndim != 2 or not all(0 <= k < projections.shape[1] for k in components):
        raise ValueError(f"projections have shape {projections.shape}; expected (N, k) with components {components}")
    if len(labels) != len(projections):
        raise ValueError(f"{len(labels)} labels for {len(projections)} points; expected one a point")
    names = list(dict.fromkeys(labels))
    shown = short_names(names)
    for k, name in enumerate(names):
        colour = (colours or {}).get(name, f"tab:{COLOURS[k % len(COLOURS)]}")
        marker = MARKERS[k // len(COLOURS) % len(MARKERS)]
        own = projections[np.array([label == name for label in labels])]
        x = own[:, components[0]]
        y = own[:, components[1]] if len(components) == 2 else np.full(len(own), float(k))
        axes.plot(x, y, marker, color=colour, ms=5, alpha=0.8, label=shown[k])
    axes.set(xlabel=f"PC$_{components[0] + 1}$", title=title)
    axes.locator_params(axis="x", nbins=6)
    axes.xaxis.set_major_formatter("{x:g}")
    if len(components) == 1:
        axes.set_yticks(range(len(names)), shown)
        axes.set_ylim(len(names) - 0.5, -0.5)
        return axes
    axes.set_ylabel(f"PC$_{components[1] + 1}$")
    axes.yaxis.set_major_formatter("{x:g}")  # a common power of ten would stand in the title's place
    columns = 2 if max(map(len, shown)) <= LONG else 1
    if (rows := -(-len(names) // columns)) > MANY:
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
        return axes
    low, high = axes.get_ylim()  # the legend stands above the points
    axes.set_ylim(low, high + 0.1 * (high - low) * rows)
    axes.legend(frameon=False, fontsize=8, loc="upper left", ncols=columns)
    return axes
