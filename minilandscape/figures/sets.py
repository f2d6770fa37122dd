"""Figures of solution sets: kernel PCA (Fig. 6) and lengths (Fig. 5)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..analysis.kpca import KernelPCA
from ..analysis.statistics import Lengths

COLOURS = ("tab:blue", "tab:red")


def plot_kernel_pca(result: KernelPCA, sizes: tuple[int, ...], labels: tuple[str, ...], axes: Any) -> Any:
    """Draws the first two components, one colour a set (Fig. 6: L-BFGS-GSS blue, SGD red); returns the axes.

    Parameters
    ----------
    sizes
        How many of the points belong to each set, in their order.
    """
    start = 0
    second = result.projections[:, 1] if result.projections.shape[1] > 1 else np.zeros(len(result.points))
    for k, (size, label) in enumerate(zip(sizes, labels, strict=True)):
        part = slice(start, start + size)
        colour = COLOURS[k] if k < len(COLOURS) else f"C{k + 2}"
        axes.plot(result.projections[part, 0], second[part], "o", color=colour, ms=5, alpha=0.8, label=label)
        start += size
    axes.set(xlabel="PC$_1$", ylabel="PC$_2$", title=f"{result.kernel} kernel")
    axes.legend(frameon=False)
    return axes


def plot_lengths(result: Lengths, labels: tuple[str, str], axes: Any) -> Any:
    """Draws the histograms of distances from the common origin, a dotted line at the centroids' (Fig. 5)."""
    bins = np.histogram_bin_edges(np.concatenate([result.a, result.b]), bins=24)
    for lengths, colour, label in zip((result.a, result.b), ("tab:blue", "lightcoral"), labels, strict=True):
        axes.hist(lengths, bins, color=colour, alpha=0.8, label=label)
    axes.axvline(result.centroid_distance, color="k", ls=":", label="centroids")
    axes.set(xlabel=r"$|\omega_i - \bar\omega|$", ylabel="vectors")
    axes.legend(frameon=False)
    return axes
