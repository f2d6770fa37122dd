"""How disconnectivity graphs are printed and drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..display import Row, aligned, count
from ..drawing import label, round_ticks

if TYPE_CHECKING:
    from .disconnectivity import DisconnectivityGraph
    from .stationary import StationaryPoints

#: The colour of branches that belong to several groups, and of all where none are given.
GREY = "0.2"
#: Inches for each minimum in a new figure, and the smallest and the largest width of a tree.
A_MINIMUM, NARROW, WIDE = 0.16, 4.5, 12.0
#: Labels stand upright where a minimum has less room than this for each of their letters, in inches.
A_LETTER = 0.075


def tree_rows(graph: DisconnectivityGraph) -> list[Row]:
    """Describe minima, merges and connected components in labelled values."""
    minima = graph.minima
    energies = [merge.energy for merge in graph.merges]
    scale = [*minima.tolist(), *energies]
    rows: list[Row] = [
        ("minima", f"{len(minima):,}", f"from {aligned(minima.min(), scale)} to {aligned(minima.max(), scale)}"),
    ]
    if energies:
        low, high = aligned(min(energies), scale), aligned(max(energies), scale)
        rows.append(("merges", f"{len(energies):,}", f"from {low} to {high}"))
    whole = graph.n_pieces == 1
    rows.append(("connected", "yes" if whole else "no", "" if whole else count(graph.n_pieces, "connected component")))
    rows += [("left out", sentence, "") for sentence in graph.left_out]
    return rows


def points_rows(points: StationaryPoints) -> list[Row]:
    """Describe minima and saddles of a collection in labelled values."""
    minima, saddles, pairs = points.minima_values, points.saddle_values, points.pairs
    scale = [*minima.tolist(), *saddles.tolist()]
    rows: list[Row] = []
    for name, values in (("minima", minima), ("saddles", saddles)):
        some = f"from {aligned(values.min(), scale)} to {aligned(values.max(), scale)}" if len(values) else ""
        rows.append((name, f"{len(values):,}", some))
    connected = {tuple(pair) for pair in pairs.tolist() if pair[0] != pair[1]}
    rows.append(("pairs", f"{len(connected):,}", "of minima connected by a saddle"))
    rows.append(("coordinates", "yes" if points.has_coordinates else "no", ""))
    return rows + [("left out", sentence, "") for sentence in points.left_out]


def plot_tree(
    graph: DisconnectivityGraph,
    axes: Any,
    labels: Sequence[str] | None,
    colours: Sequence[str] | None,
    groups: Mapping[str, str] | None,
    log: bool,
    quantity: tuple[str, str],
) -> Any:
    """Draw a tree on some axes, new ones if None; ``quantity`` is the name and the unit of the energies."""
    K = len(graph.minima)
    lowest, highest = _range(graph)
    if axes is None:
        from matplotlib.figure import Figure

        width = min(max(NARROW, A_MINIMUM * K), WIDE)
        axes = Figure(figsize=(width + 1.0, 4.8 if width < WIDE else 6.0), layout="constrained").subplots()
    ceiling = highest * 1.3 if log else highest + 0.05 * (highest - lowest or 1)
    place = _draw(graph, axes, colours, ceiling)
    if groups:
        for colour, name in groups.items():
            axes.plot([], [], color=colour, lw=2.5, label=name)
        axes.legend(
            frameon=False, ncols=len(groups), loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2, fontsize=9
        )
    if log:
        axes.set_yscale("log")
    else:
        round_ticks(axes.yaxis)
    axes.set(xticks=[], ylabel=label(*quantity))
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.margins(x=0.6 / max(1, K - 1))
    if labels is not None:
        _write_labels(graph, axes, labels, place)
    return axes


def _range(graph: DisconnectivityGraph) -> tuple[float, float]:
    tops = [merge.energy for merge in graph.merges]
    return float(graph.minima.min()), float(max([graph.minima.max(), *tops]))


def _write_labels(graph: DisconnectivityGraph, axes: Any, labels: Sequence[str], place: np.ndarray) -> None:
    """Name each minimum at the foot of its branch, upright where there is little room."""
    K, foot = len(labels), min(axes.get_ylim())  # a loss of 0 is named at the foot of a logarithmic axis
    room = axes.figure.get_figwidth() * axes.get_position().width / K
    upright = room < A_LETTER * max(map(len, labels), default=0)
    size = min(8.0, max(3.0, 72 * room / 1.1)) if upright else 8.0
    for k, text in enumerate(labels):
        axes.annotate(
            text,
            (place[k], max(graph.minima[k], foot)),
            (0, -5),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=size,
            rotation=90 if upright else 0,
        )
    if axes.get_yscale() != "log":  # room below for the names
        longest = max(map(len, labels), default=0)
        inches = (0.6 * size * longest if upright else 1.5 * size) / 72 + 0.1
        low, high = axes.get_ylim()
        axes.set_ylim(low - (high - low) * inches / axes.figure.get_figheight(), high)


def _draw(graph: DisconnectivityGraph, axes: Any, colours: Any, ceiling: float) -> np.ndarray:
    """Draw branches and minima as one collection each; return the places (K,) of the minima."""
    from matplotlib.collections import LineCollection
    from matplotlib.colors import to_rgba_array

    K, M = len(graph.minima), len(graph.merges)
    first = graph.places
    grey = to_rgba_array(GREY)
    rgba = np.concatenate([grey, grey.repeat(K, axis=0) if colours is None else to_rgba_array(list(colours))])
    rgba, inverse = np.unique(rgba, axis=0, return_inverse=True)
    mixed, *of_minima = inverse.ravel().tolist()
    x, foot = np.empty(K + M), np.concatenate([graph.minima, [merge.energy for merge in graph.merges]])
    top, colour = np.full(K + M, ceiling), of_minima + [mixed] * M
    x[:K] = first[:K]
    for node, (energy, left, right) in enumerate(graph.merges, K):
        x[node] = 0.5 * (x[left] + x[right])
        top[left] = top[right] = energy
        colour[node] = colour[left] if colour[left] == colour[right] else mixed
    branches = np.stack([np.column_stack([x, foot]), np.column_stack([x, top])], axis=1)
    sides = np.array([merge[1:] for merge in graph.merges], dtype=np.int64).reshape(M, 2)
    bars = np.stack([np.column_stack([x[k], foot[K:]]) for k in sides.T], axis=1)
    width = max(0.1, min(1.2, 120 / K))  # thin enough that branches of thousands of minima stay apart
    axes.add_collection(LineCollection(list(branches), colors=rgba[colour], linewidths=width))
    axes.add_collection(LineCollection(list(bars), colors=GREY, linewidths=width))
    axes.scatter(x[:K], graph.minima, s=(3.5 * width / 1.2) ** 2, c=rgba[of_minima], linewidths=0, zorder=3)
    axes.autoscale_view()
    return x[:K]
