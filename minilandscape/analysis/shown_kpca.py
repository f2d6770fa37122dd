"""How kernel PCA is printed and drawn (Figs. 6, S4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..display import Row, count, number
from ..drawing import COLOURS, MARKERS, round_ticks
from .histograms import short_names

if TYPE_CHECKING:
    from .kpca import KernelPCA

#: Longer names are put below each other; more rows of names than this stand beside the points.
LONG, MANY = 24, 5


def kpca_rows(found: KernelPCA) -> list[Row]:
    """Describe kernel and components in labelled values."""
    parameters = ", ".join(f"{name} = {number(value, 4)}" for name, value in found.parameters.items())
    rows: list[Row] = [
        ("points", f"{len(found.points):,}", f"in {count(found.points.shape[1], 'dimension')}"),
        ("kernel", found.kernel, parameters),
    ]
    for k, (value, part) in enumerate(zip(found.eigenvalues, found.explained, strict=True)):
        of_all = f"{100 * part:.3g} % of the variance" if np.isfinite(part) else ""
        rows.append((f"component {k + 1}", f"eigenvalue {number(float(value))}", of_all))
    return rows


def plot_kpca(
    axes: Any,
    projections: Any,
    labels: Sequence[str],
    *,
    components: Sequence[int] = (0, 1),
    colours: Mapping[str, str] | None = None,
    title: str = "",
    explained: Sequence[float] | None = None,
) -> Any:
    """Draw one or two components, a colour and a marker for each set; return the axes.

    Parameters
    ----------
    axes
        Matplotlib axes.
    projections
        (N, k), of :func:`minilandscape.kernel_pca`.
    labels
        N names: the set of each point.
    components
        Which two, counted from 0; or one, drawn along one axis with a row for each set.
    colours
        Name to colour; by default in the order in which the names first appear (Fig. 6: L-BFGS-GSS blue, SGD red).
    title
        Of the axes.
    explained
        (k,): the part of the variance of each component, for the axes.

    Raises
    ------
    ValueError
        If the number of labels is not N, or a component does not exist, or not one or two are given.
    """
    projections = np.asarray(projections)
    if len(components) not in (1, 2):
        raise ValueError(f"components are {tuple(components)}; expected one or two")
    if projections.ndim != 2 or not all(0 <= k < projections.shape[1] for k in components):
        raise ValueError(f"projections have shape {projections.shape}; expected (N, k) with components {components}")
    if len(labels) != len(projections):
        raise ValueError(f"{len(labels)} labels for {len(projections)} points; expected one for each point")
    names = list(dict.fromkeys(labels))
    shown = short_names(names)
    for k, name in enumerate(names):
        colour = (colours or {}).get(name, COLOURS[k % len(COLOURS)])
        # Neighbours differ in both, and colour and marker together repeat after as many sets as possible.
        marker = MARKERS[(k + k // len(COLOURS)) % len(MARKERS)]
        of_set = projections[np.array([label == name for label in labels])]
        x = of_set[:, components[0]]
        y = of_set[:, components[1]] if len(components) == 2 else np.full(len(of_set), float(k))
        axes.plot(x, y, marker, color=colour, ms=5.5, mec="w", mew=0.4, alpha=0.9, label=shown[k])
    axes.set(xlabel=_name(components[0], explained), title=title)
    round_ticks(axes.xaxis)
    if len(components) == 1:
        axes.set_yticks(range(len(names)), shown)
        axes.set_ylim(len(names) - 0.5, -0.5)
        return axes
    axes.set_ylabel(_name(components[1], explained))
    round_ticks(axes.yaxis)
    _legend(axes, shown)
    return axes


def _name(component: int, explained: Sequence[float] | None) -> str:
    """The label of an axis: the component and its part of the variance."""
    part = float("nan") if explained is None else float(explained[component])
    return f"kPC$_{{{component + 1}}}$" + (f" ({100 * part:.2g} % of the variance)" if np.isfinite(part) else "")


def _legend(axes: Any, shown: Sequence[str]) -> None:
    """Name the sets above the points, or beside them where there are many; a single set without a name is not named."""
    if list(shown) == [""]:
        return
    columns = 2 if max(map(len, shown)) <= LONG else 1
    if (rows := -(-len(shown) // columns)) > MANY:
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
        return
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.1 * (high - low) * rows)
    axes.legend(frameon=False, fontsize=8, loc="upper left", ncols=columns)
