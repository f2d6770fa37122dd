"""The demonstration: two networks for each optimiser, connected by low-loss paths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .data import Mnist
from .networks import network_landscape
from .paths import Path, find_path
from .training import Run, train

COLOURS = {"sgd": "tab:orange", "lbfgs-gss": "tab:blue"}


@dataclass(frozen=True)
class Demo:
    """For each optimiser two runs and two paths: after 100 Adam iterations, and run to convergence."""

    runs: dict[str, list[Run]]
    adam: dict[str, Path]
    converged: dict[str, Path]


def run_demo(data: Mnist, say: Callable[[str], None] = print, *, sgd_epochs: int = 60, iterations: int = 300) -> Demo:
    """Train FCP (authors' variant) from two starts with SGD and with L-BFGS-GSS, and connect each pair.

    Parameters
    ----------
    data
        Images; at most the first 4,000 training images are used.
    say
        Called with a line of text before each training and each search.
    sgd_epochs, iterations
        Lengths of the runs of SGD and of L-BFGS-GSS.
    """
    runs: dict[str, list[Run]] = {}
    adam: dict[str, Path] = {}
    converged: dict[str, Path] = {}
    data = data.cut(4000)
    land = network_landscape("fcp", data.train, variant="authors")
    for optimizer, epochs in (("sgd", sgd_epochs), ("lbfgs-gss", iterations)):
        say(f"training two networks by {optimizer}")
        common: dict[str, Any] = {"optimizer": optimizer, "epochs": epochs, "variant": "authors"}
        runs[optimizer] = [train("fcp", data, seed=seed, **common) for seed in (0, 1)]
        say(f"connecting the two networks trained by {optimizer}")
        start, end = (run.train_weights for run in runs[optimizer])
        adam[optimizer] = find_path(land, start, end)
        converged[optimizer] = find_path(land, start, end, solver="auto")
    return Demo(runs, adam, converged)


def plot_demo(demo: Demo) -> Any:
    """Draw the loss curves, the losses along the paths, and the paths' heights against the iterations."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 5), layout="constrained")
    curves, along, heights = figure.subplots(1, 3)
    for optimizer, colour in COLOURS.items():
        run = demo.runs[optimizer][0]
        curves.semilogy(run.curves["train_loss"], color=colour, label=f"{optimizer}, training")
        curves.semilogy(run.curves["test_loss"], color=colour, ls="--", label=f"{optimizer}, test")
        for path, style, name in ((demo.adam, "--", "100 Adam iterations"), (demo.converged, "-", "to convergence")):
            p = path[optimizer]
            along.semilogy(p.t, p.values, style, color=colour, label=f"{optimizer}, {name}")
            heights.semilogy(p.history["height"], style, color=colour, label=f"{optimizer}, {name}")
        along.plot([0, 1], demo.adam[optimizer].height_ends, "o", color=colour)
        along.axhline(demo.adam[optimizer].height_linear, color=colour, ls=":", label=f"{optimizer}, straight line")
        heights.axhline(max(demo.adam[optimizer].height_ends), color=colour, lw=0.8, ls=":")
    curves.set(xlabel="epoch (sgd) or iteration (lbfgs-gss)", ylabel="loss", title="Training")
    along.set(xlabel="t", ylabel="training loss", title="Along the paths")
    heights.set(xlabel="iteration", ylabel="path height", title="Height against iterations (dotted: higher endpoint)")
    for axes in (curves, along, heights):  # below: the curves leave no room
        axes.legend(fontsize=8, frameon=False, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.15))
    return figure
