"""Kernel PCA projections (Figs. 6, S4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

COLOURS = ("tab:blue", "tab:red", "tab:green", "tab:orange", "tab:purple")


def plot_kpca(
    axes: Any,
    projections: Any,
    labels: Sequence[str],
    *,
    components: tuple[int] | tuple[int, int] = (0, 1),
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
        If there are not as many labels as points, or not those components.
    """
    projections = np.asarray(projections)
    if projections.ndim != 2 or not all(0 <= k < projections.shape[1] for k in components):
        raise ValueError(f"projections have shape {projections.shape}; expected (N, k) with components {components}")
    if len(labels) != len(projections):
        raise ValueError(f"{len(labels)} labels for {len(projections)} points; expected one a point")
    names = list(dict.fromkeys(labels))
    for k, name in enumerate(names):
        colour = (colours or {}).get(name, COLOURS[k % len(COLOURS)])
        own = projections[np.array([label == name for label in labels])]
        x = own[:, components[0]]
        y = own[:, components[1]] if len(components) == 2 else np.full(len(own), float(k))
        axes.plot(x, y, "o", color=colour, ms=5, alpha=0.8, label=name)
    axes.set(xlabel=f"PC$_{components[0] + 1}$", title=title)
    axes.locator_params(axis="x", nbins=6)
    if len(components) == 1:
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        return axes
    axes.set_ylabel(f"PC$_{components[1] + 1}$")
    low, high = axes.get_ylim()  # the legend stands above the points
    axes.set_ylim(low, high + 0.1 * (high - low) * -(-len(names) // 2))
    axes.legend(frameon=False, fontsize=8, loc="upper left", ncols=2)
    return axes
