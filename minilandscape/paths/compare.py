"""All path methods on one pair: height against cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .fourier import FourierPathFinder
from .problem import PathState
from .result import Path
from .search import UNUSED, check_budget, find_path

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
#: What tells curves apart that lie upon each other.
STYLES = ("-", "--", "-.", (0, (1, 1)), (0, (6, 1.5)), (0, (4, 1, 1, 1, 1, 1)), (0, (2, 2)))
MARKERS = "osD^vPX"
#: Heights that span more than this ratio are drawn on a logarithmic scale.
LOGARITHMIC = 50.0


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

        Lines are heights at the paths' own points, which may miss the top between them. Each leads on to a marker, the
        maximum of the path that is kept. The scale is logarithmic, but for a linear piece about 0, where the
        heights span more than a factor of 50.
        """
        if axes is None:
            from matplotlib.figure import Figure

            axes = Figure(figsize=(8.5, 4.8), layout="constrained").subplots()
        first = next(iter(self.paths.values()))
        higher = max(first.height_ends)
        straight = first.height_linear - higher
        drawn = [straight]
        searched = {name: curve for name, curve in self.curves.items() if len(curve) > 1}
        for k, (name, curve) in enumerate(searched.items()):
            heights, dense = curve[:, 1] - higher, self.paths[name].maximum - higher
            style, marker = STYLES[k % len(STYLES)], MARKERS[k % len(MARKERS)]
            look = {"ls": style, "marker": marker, "lw": 1.5, "ms": 6}
            (line,) = axes.plot(curve[:, 0], heights, markevery=[], label=f"{name}: {dense:.4g}", **look)
            axes.plot([curve[-1, 0]] * 2, [heights[-1], dense], color=line.get_color(), markevery=[1], **look)
            drawn += [dense, *heights]
        axes.axhline(straight, color="0.5", lw=1, ls=":", label=f"straight line: {straight:.4g}")
        axes.set(xlabel="points evaluated", ylabel="height above the higher end", xscale="log")
        axes.set_title(
            "lines: at the path's own points; markers and numbers: the maximum of the path kept", fontsize="small"
        )
        _fit_heights(axes, np.array(drawn))
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
        return axes


def _fit_heights(axes: Any, heights: np.ndarray) -> None:
    """A scale on which low heights are told apart, with room above the highest, and none below 0 where none is."""
    top, positive = heights.max(), heights[heights > 0]
    if positive.size and top > LOGARITHMIC * max(heights.min(), 0):
        linear = 10 ** np.floor(np.log10(max(positive.min(), 1e-3 * top)))
        axes.set_yscale("symlog", linthresh=linear)
        axes.set_ylim(min(heights.min(), 0) - 0.2 * linear, 2 * top)


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
        Points, with and without gradients, that each method may evaluate while it searches. The path that it begins
        with is evaluated in any case, and the maximum at the end is not counted.
    n_terms, n_points, n_images
        N_F and M of the curves; images of the bands, both ends included.
    entries
        Names in :data:`ENTRIES`, at least one.

    Raises
    ------
    ValueError
        If options do not do, a name is unknown, or the budget below one path; before anything is evaluated.
    """
    check_budget(budget, max(n_points, n_images))
    for name in entries or [""]:
        if name not in ENTRIES:
            raise ValueError(f"no entry is called {name!r}; expected some of {', '.join(ENTRIES)}")
    for n in (n_points, n_images):
        FourierPathFinder(landscape, n_terms, n)
    paths, curves = {}, {}
    for name in entries:
        options = dict(ENTRIES[name])
        method = options["method"]
        curve: list[tuple[int, float]] = []

        def note(state: PathState, curve: list[tuple[int, float]] = curve) -> None:
            spent = state.evaluations.gradients + state.evaluations.values
            curve.append((spent, state.height))

        options |= {"n_points": n_images if "neb" in method else n_points, "budget": budget}
        options |= {k: v for k, v in {"n_terms": n_terms, "steps": "auto"}.items() if k not in UNUSED.get(method, ())}
        paths[name] = find_path(landscape, start, end, progress=note, **options)
        curves[name] = np.array(curve, dtype=np.float64).reshape(-1, 2)
    return PathComparison(paths, curves)
