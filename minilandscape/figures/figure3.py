"""Fig. 3: low paths on a two-dimensional landscape."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ..paths import Path, find_path
from ..potentials import Fig3

LAMBDAS = (10, 100, 1000)
COLOURS = ("tab:blue", "tab:orange", "tab:green")


@dataclass(frozen=True)
class Figure3:
    """The straight line of Fig. 3 and its paths by λ."""

    linear: Path
    paths: dict[int, Path]


@lru_cache(maxsize=4)
def figure3(power: float = 2, steps: int = 2000) -> Figure3:
    """Computes Fig. 3: the straight line, and FourierPathFinder's paths for λ = 10, 100, 1000.

    N_F = 10, M = 100, Adam at a learning rate of 0.01.

    Parameters
    ----------
    power
        Of the summand. The paper's heights (0.646, 0.640, 0.652) belong to Σ f², which its authors' code minimises;
        Σ f, as Eq. (4) reads, gives about 0.68 to 0.73.
    steps
        Of Adam.
    """
    landscape, ends = Fig3(), (np.array(Fig3.START), np.array(Fig3.END))
    common: dict[str, Any] = {"n_points": Fig3.N_POINTS, "objective": "sum", "power": power}
    paths = {lam: find_path(landscape, *ends, lam=lam, lr=0.01, steps=steps, **common) for lam in LAMBDAS}
    return Figure3(find_path(landscape, *ends, method="linear", n_points=Fig3.N_POINTS), paths)


def plot_figure3(result: Figure3, axes: Any) -> Any:
    """Draws Fig. 3a (the landscape and the paths) and 3b (values along t) on two axes; returns them."""
    plane, profile = axes
    x, y = np.linspace(-1.1, 1.1, 201), np.linspace(-1.1, 0.9, 201)
    grid = np.stack(np.meshgrid(x, y), axis=-1)
    f = Fig3().values(grid.reshape(-1, 2)).reshape(grid.shape[:2])
    filled = plane.contourf(x, y, f, 30, cmap="cividis")
    plane.figure.colorbar(filled, ax=plane, label="f(x, y)")
    shown = [(result.linear, "tab:blue", "--", "straight line")]
    shown += [(result.paths[lam], c, "-", f"λ = {lam}") for lam, c in zip(LAMBDAS, COLOURS, strict=True)]
    for k, (path, colour, style, label) in enumerate(shown):
        points = path.points(path.t)
        plane.plot(*points.T, style, color=colour, label=label, lw=1.2)
        top = int(path.values.argmax())
        profile.plot(path.t, path.values, style, color=colour, label=label, lw=1.2)
        if style == "-":
            plane.plot(*points.T, ".", color=colour, ms=3)
            profile.plot(path.t, path.values, ".", color=colour, ms=3)
        profile.plot(path.t[top], path.height, "ko", ms=5)
        profile.annotate(
            f"$H_{k}$ = {path.height:.3f}",
            (path.t[top], path.height),
            ((4, 4), (-14, 20), (-52, 6), (6, 5))[k],
            textcoords="offset points",
            fontsize=8,
        )
    for name, point in (("w1", Fig3.START), ("w2", Fig3.END)):
        plane.plot(*point, "wo", mec="k", ms=6)
        plane.annotate(f"$w_{name[1]}$", point, (6, -10), textcoords="offset points", color="w")
    plane.set(xlabel="x", ylabel="y", title="a")
    profile.set(xlabel="t", ylabel="f(x(t), y(t))", title="b")
    plane.legend(fontsize=8, loc="upper left")
    profile.legend(fontsize=8, frameon=False)
    return axes
