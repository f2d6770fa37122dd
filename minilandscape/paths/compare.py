"""All path methods on one pair: height against cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .problem import PathState
from .result import Path
from .search import METHODS, find_path

#: What each entry of a comparison runs.
ENTRIES: dict[str, dict[str, Any]] = {
    "linear": {"method": "linear"},
    "fourier, adam": {"method": "fourier", "solver": "adam"},
    "fourier, lbfgs-gss": {"method": "fourier", "solver": "lbfgs-gss"},
    "fourier, auto": {"method": "fourier", "solver": "auto"},
    "bezier": {"method": "bezier", "solver": "auto"},
    "polyline": {"method": "polyline", "solver": "auto"},
    "neb": {"method": "neb"},
    "autoneb": {"method": "autoneb"},
}


@dataclass(frozen=True)
class PathComparison:
    """Paths by method, and how their heights fell with the points evaluated.

    Attributes
    ----------
    paths
        By entry.
    curves
        By entry: (steps, 2), points evaluated and the height of the path then, at its own points.
    """

    paths: dict[str, Path]
    curves: dict[str, np.ndarray]

    def plot(self, axes: Any = None) -> Any:
        """Draws height above the higher end against points evaluated on some axes, new ones if None; returns them.

        Lines are heights at the paths' own points, which may miss the top between them; dots are the dense heights of
        the paths that are kept.
        """
        if axes is None:
            from matplotlib.figure import Figure

            axes = Figure(figsize=(7, 4.5), layout="constrained").subplots()
        higher = max(next(iter(self.paths.values())).height_ends)
        for name, curve in self.curves.items():
            if len(curve) > 1:
                (line,) = axes.plot(curve[:, 0], curve[:, 1] - higher, lw=1.2, label=name)
                axes.plot(curve[-1, 0], self.paths[name].dense_height - higher, "o", color=line.get_color(), ms=5)
        straight = next(iter(self.paths.values())).height_linear - higher
        axes.axhline(straight, color="0.5", lw=0.8, ls=":", label="straight line")
        axes.set(xlabel="points evaluated", ylabel="height above the higher end")
        if straight > 0:
            axes.set_yscale("symlog", linthresh=1e-3 * straight)
        axes.set_xscale("log")
        axes.legend(frameon=False, fontsize=8)
        return axes


def compare_methods(
    landscape: Any,
    start: Any,
    end: Any,
    budget: int,
    *,
    n_terms: int = 10,
    n_points: int = 50,
    n_images: int = 13,
    entries: tuple[str, ...] = tuple(ENTRIES),
) -> PathComparison:
    """Runs path methods on one pair until they stand still or have evaluated a number of points.

    Parameters
    ----------
    budget
        Points, with and without gradients, that each method may evaluate while it searches; the dense height at the
        end is not counted against it.
    n_terms, n_points, n_images
        N_F and M of the curves; images of the bands, both ends included.
    entries
        Names in :data:`ENTRIES`.

    Raises
    ------
    ValueError
        If a name is unknown or the budget below one path.
    """
    if budget < n_points:
        raise ValueError(f"the budget is {budget} points; expected at least the {n_points} of one path")
    paths, curves = {}, {}
    for name in entries:
        if name not in ENTRIES:
            raise ValueError(f"no entry is called {name!r}; expected some of {', '.join(ENTRIES)}")
        options = dict(ENTRIES[name])
        assert options["method"] in METHODS
        curve: list[tuple[int, float]] = []

        def note(state: PathState, curve: list[tuple[int, float]] = curve) -> None:
            spent = state.evaluations.gradients + state.evaluations.values
            curve.append((spent, state.height))

        banded = "neb" in options["method"]
        options |= {"n_terms": n_terms, "n_points": n_images if banded else n_points, "budget": budget}
        paths[name] = find_path(landscape, start, end, steps="auto", progress=note, **options)
        curves[name] = np.array(curve, dtype=np.float64).reshape(-1, 2)
    return PathComparison(paths, curves)
