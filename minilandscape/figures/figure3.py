"""Fig. 3: paths of low maximum on a two-dimensional landscape."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ..drawing import OKABE_ITO, STRAIGHT, label_lines, round_ticks
from ..paths import Path, find_path
from ..potentials import Fig3

LAMBDAS = (10, 100, 1000)
COLOURS = (OKABE_ITO["blue"], OKABE_ITO["vermillion"], OKABE_ITO["green"])
MARKERS = "osD"


@dataclass(frozen=True)
class Figure3:
    """The straight line of Fig. 3 and its paths by λ."""

    linear: Path
    paths: dict[int, Path]


@lru_cache(maxsize=4)
def figure3(power: float = 2, steps: int = 2000) -> Figure3:
    """Compute Fig. 3: the straight line, and FourierPathFinder's paths for λ = 10, 100, 1000.

    N_F = 10, M = 100, Adam with a learning rate of 0.01.

    Parameters
    ----------
    power
        Power of f in the sum. The paper's heights (0.646, 0.640, 0.652) are those of Σ f², which its authors' code
        minimises; Σ f, as in Eq. (4), gives about 0.68 to 0.73.
    steps
        Iterations of Adam.
    """
    landscape, endpoints = Fig3(), (np.array(Fig3.START), np.array(Fig3.END))
    common: dict[str, Any] = {"n_points": Fig3.N_POINTS, "objective": "sum", "power": power}
    paths = {lam: find_path(landscape, *endpoints, lam=lam, lr=0.01, steps=steps, **common) for lam in LAMBDAS}
    return Figure3(find_path(landscape, *endpoints, method="linear", n_points=Fig3.N_POINTS), paths)


def plot_figure3(result: Figure3, axes: Any) -> Any:
    """Draw Fig. 3a (the landscape and the paths) and 3b (values along t) on two axes; return them."""
    from matplotlib.patheffects import withStroke

    plane, profile = axes
    x, y = np.linspace(-1.1, 1.1, 201), np.linspace(-1.1, 0.9, 201)
    grid = np.stack(np.meshgrid(x, y), axis=-1)
    f = Fig3().values(grid.reshape(-1, 2)).reshape(grid.shape[:2])
    filled = plane.contourf(x, y, f, np.linspace(0, 1.7, 35), cmap="gray", extend="max", alpha=0.9)
    bar = plane.figure.colorbar(filled, ax=plane, label="f(x, y)")
    round_ticks(bar.ax.yaxis)
    shown: list[tuple[Path, str, str, str, str]] = [(result.linear, STRAIGHT, "--", "", "straight line")]
    for lam, colour, marker in zip(LAMBDAS, COLOURS, MARKERS, strict=True):
        shown.append((result.paths[lam], colour, "-", marker, f"λ = {lam}"))
    light = [withStroke(linewidth=3.5, foreground="w")]
    labels = []
    for k, (path, colour, style, marker, label) in enumerate(shown):
        points = path.points(path.t)
        looks: dict[str, Any] = {"color": colour, "marker": marker, "ms": 4, "label": label, "lw": 1.6}
        dark = "k" if k == 0 else colour
        plane.plot(*points.T, style, markevery=(5 * k, 20), path_effects=light, **(looks | {"color": dark}))
        profile.plot(path.t, path.values, style, markevery=(5 * k, 20), **looks)
        top = int(path.values.argmax())
        profile.plot(path.t[top], path.height, "k^", ms=6, zorder=3)
        labels.append((path.height, f"{label}: $H_{k}$ = {path.height:.3f}", colour, marker))
    for name, point in (("w1", Fig3.START), ("w2", Fig3.END)):
        plane.plot(*point, "o", color="w", mec="k", ms=7, zorder=4)
        plane.annotate(f"$w_{name[1]}$", point, (6, -12), textcoords="offset points", path_effects=light)
    plane.set(xlabel="x", ylabel="y", title="a", aspect="equal")
    profile.set(xlabel="position along the path, t", ylabel="f(x(t), y(t))", title="b", xlim=(-0.02, 1.02))
    for axis in (plane.xaxis, plane.yaxis, profile.xaxis, profile.yaxis):
        round_ticks(axis)
    plane.legend(fontsize=8, loc="upper left")
    label_lines(profile, labels)
    return axes
