"""The panels of the paper's figures; each function takes axes and numbers, and returns the axes."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..analysis.histograms import plot_shell_lengths
from ..analysis.shown_kpca import plot_kpca
from ..analysis.statistics import ShellLengths
from .names import OPTIMIZERS


def plot_loss_curves(axes: Sequence[Any], curves: Mapping[str, Mapping[str, Any]], title: str = "") -> Sequence[Any]:
    """Draw training and test loss against epochs on two axes (Figs. 2, S1), SGD red, L-BFGS-GSS blue.

    Dashed vertical lines mark the epochs of the minima, in the curves' colours.

    Parameters
    ----------
    axes
        Two Matplotlib axes, for training and test.
    curves
        By optimiser: ``epochs``, ``train_loss``, ``test_loss``, ``train_minimum`` and ``test_minimum``
        (``{"epoch": …}``).
    title
        Put before "training" and "test".
    """
    for ax, name in zip(axes, ("train", "test"), strict=True):
        for optimizer, (label, colour) in OPTIMIZERS.items():
            curve = curves.get(optimizer)
            if not curve:
                continue
            ax.semilogy(np.array(curve["epochs"]) + 1, curve[f"{name}_loss"], color=colour, label=label)
            ax.axvline(curve[f"{name}_minimum"]["epoch"] + 1, color=colour, ls="--", lw=0.9)
        ax.set_xscale("log")
        what = "training" if name == "train" else "test"
        ax.set(xlabel="epoch + 1", ylabel=f"{what} loss", title=f"{title} {what}".strip())
        if ax.get_legend_handles_labels()[0]:
            ax.legend(frameon=False, fontsize=8)
    return axes


def plot_lengths(axes: Any, lengths: Mapping[str, Any], weights: str, title: str = "") -> Any:
    """Draw |ω_i − ω̄| of L-BFGS-GSS (training or test weights) and SGD test weights (Figs. 5, S3)."""
    result = ShellLengths(
        np.array(lengths["lbfgs-gss"]), np.array(lengths["sgd"]), np.zeros(0), float(lengths["centroid_distance"])
    )
    labels = f"L-BFGS-GSS, {weights} weights", "SGD, test weights"
    plot_shell_lengths(axes, result, labels)
    axes.set_title(title)
    return axes


def plot_projections(axes: Any, result: Mapping[str, Any], weights: str, title: str = "") -> Any:
    """Draw PC1 and PC2 of L-BFGS-GSS (blue) and SGD test weights (red) (Figs. 6, S4)."""
    if "error" in result:
        text = textwrap.fill(result["error"], 40)
        axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=8, clip_on=True, transform=axes.transAxes)
        axes.set_title(title)
        return axes
    n, total = result["n_first"], len(result["projections"])
    labels = [f"L-BFGS-GSS, {weights} weights"] * n + ["SGD, test weights"] * (total - n)
    return plot_kpca(axes, result["projections"], labels, title=title)


def plot_figure1(axes: Sequence[Any], images: Any) -> Sequence[Any]:
    """Draw Fig. 1 on three axes: (a) some images, (b) a network's layers, (c) two minima in a shallow valley.

    Parameters
    ----------
    axes
        Three Matplotlib axes, the last one three-dimensional.
    images
        (N, 784), of which the first 24 are shown, or as many as there are.
    """
    tiles, layers, valley = axes
    shown = np.zeros((24, 28, 28))
    shown[: len(images)] = np.reshape(images[:24], (-1, 28, 28))
    rows = [np.concatenate(list(row), axis=1) for row in shown.reshape(3, 8, 28, 28)]
    tiles.imshow(np.concatenate(rows), cmap="gray_r")
    tiles.set(xticks=[], yticks=[], title="a")
    columns = [(0.0, 7, "input"), (1.0, 5, "hidden"), (2.0, 5, "hidden"), (3.0, 4, "output")]
    places = [[(x, (k - (n - 1) / 2)) for k in range(n)] for x, n, _ in columns]
    for left, right in itertools.pairwise(places):
        for start in left:
            for end in right:
                layers.plot(*zip(start, end, strict=True), color="0.75", lw=0.5, zorder=1)
    for (x, _, name), nodes in zip(columns, places, strict=True):
        layers.scatter(*zip(*nodes, strict=True), s=90, color="tab:blue", edgecolor="k", zorder=2)
        layers.text(x, -4.1, name, ha="center")
    layers.set(xlim=(-0.6, 3.6), ylim=(-4.6, 4), title="b")
    layers.axis("off")
    u, v = np.meshgrid(np.linspace(-2, 2, 80), np.linspace(-1.6, 1.6, 80))

    def surface(x: Any, y: Any) -> Any:
        return 0.12 * (x**2 - 1) ** 2 + 0.5 * (y - 0.3 * np.sin(1.5 * x)) ** 2

    valley.computed_zorder = False  # else the surface is drawn over the minima
    valley.plot_surface(u, v, surface(u, v), cmap="viridis", alpha=0.8, linewidth=0, zorder=1)
    minima = np.array([-1.0, 1.0])
    at = 0.3 * np.sin(1.5 * minima)
    valley.scatter(minima, at, surface(minima, at) + 0.05, color="red", s=40, depthshade=False, zorder=2)
    valley.set(title="c", xlabel=r"$\omega_1$", ylabel=r"$\omega_2$", zlabel="loss")
    valley.view_init(45, -70)
    return axes
