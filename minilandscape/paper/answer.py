"""The figures that answer the paper's question: barriers by search, and against the cost of a search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..figures.heights import LEAST_BARRIER
from .names import OPTIMIZERS
from .plan import NO_BARRIER

#: Where each optimiser's points stand beside the search's place.
ASIDE = {"lbfgs-gss": -0.08, "sgd": 0.08}
#: Room below the curves for a legend, as a part of their height.
ROOM = 0.3


def plot_answer(axes: Any, network: Mapping[str, Any], title: str = "") -> Any:
    """Draw the barriers between training weights by search, straight line first; return the axes.

    Medians over the paths with bars from the lower to the upper quartile, on the training landscape.

    Parameters
    ----------
    axes
        Matplotlib axes.
    network
        What :func:`minilandscape.paper.results.collect` found of one network.
    """
    chosen = [e for e in network["heights"] if (e["landscape"], e["weights"]) == ("train", "train") and e["height"]]
    searches = list(dict.fromkeys(entry["solver"] for entry in chosen))
    for optimizer, (label, colour) in OPTIMIZERS.items():
        of_optimizer = {entry["solver"]: entry for entry in chosen if entry["optimizer"] == optimizer}
        if not of_optimizer:
            continue
        first = next(iter(of_optimizer.values()))
        higher = np.subtract(first["maximum"], first["barrier"])
        shown = [np.subtract(first["linear"], higher), *(np.array(of_optimizer[s]["barrier"]) for s in of_optimizer)]
        places = [0, *(1 + searches.index(solver) for solver in of_optimizer)]
        low, middle, high = (
            [max(float(np.quantile(barriers, q)), LEAST_BARRIER) for barriers in shown] for q in (0.25, 0.5, 0.75)
        )
        x = np.array(places) + ASIDE[optimizer]
        bars = np.subtract(middle, low), np.subtract(high, middle)
        label = f"{label} ({len(shown[0])} path{'' if len(shown[0]) == 1 else 's'})"
        axes.errorbar(x, middle, bars, fmt="o-", color=colour, ms=5, lw=1.2, capsize=3, label=label)
    axes.set_yscale("log")
    axes.set_ylim(bottom=LEAST_BARRIER / 2)
    names = [
        "straight line",
        *(network["searches"][solver].replace(" to ", "\nto ").replace(", ", ",\n") for solver in searches),
    ]
    axes.set_xticks(range(len(names)), names, fontsize=8)
    axes.set_xlim(-0.4, len(names) - 0.6)
    axes.axhline(NO_BARRIER, color="0.5", lw=0.8, ls=":", label=f"no barrier: up to {NO_BARRIER:g}")
    axes.set(ylabel="barrier", title=title)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8)
    return axes


def plot_courses(axes: Any, network: Mapping[str, Any], title: str = "") -> Any:
    """Draw barriers between training weights against the cost of a search; return the axes.

    Eq. (5) above the higher endpoint, on the training landscape: medians over the paths, and their quartiles shaded.
    Adam solid, the second search dashed.

    Parameters
    ----------
    axes
        Matplotlib axes.
    network
        What :func:`minilandscape.paper.results.collect` found of one network.
    """
    styles = dict(zip(network["searches"], ("-", "--"), strict=False))
    for course in network.get("courses", ()):
        if (course["landscape"], course["weights"]) != ("train", "train"):
            continue
        name, colour = OPTIMIZERS[course["optimizer"]]
        # At the first step the straight line has cost one gradient of all points.
        x = 1 + np.array(course["steps"]) * course["cost"]
        low, middle, high = (np.maximum(course[name], LEAST_BARRIER) for name in ("low", "middle", "high"))
        label = f"{name}, {network['searches'][course['solver']]}"
        axes.plot(x, middle, styles[course["solver"]], color=colour, lw=1.4, label=label)
        axes.fill_between(x, low, high, color=colour, alpha=0.18, lw=0)
    axes.set(xscale="log", yscale="log", xlabel="cost, gradients of all points of a path", ylabel="barrier, Eq. (5)")
    axes.axhline(NO_BARRIER, color="0.5", lw=0.8, ls=":")
    axes.set_title(title)
    if axes.get_legend_handles_labels()[0]:
        low, high = axes.get_ylim()
        axes.set_ylim(low * (low / high) ** ROOM, high)
        axes.legend(frameon=False, fontsize=7, loc="lower left")
    return axes
