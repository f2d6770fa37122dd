"""All path methods on one pair: height against cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .fourier import FourierPathFinder
from .problem import PathState
from .result import Path
from .search import METHODS, check_budget, find_path

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
#: Terms and sample points of the curves, images of the bands.
TERMS, POINTS, IMAGES = 10, 50, 13
#: What tells curves apart that lie upon each other.
STYLES = ("-", "--", "-.", (0, (1, 1)), (0, (6, 1.5)), (0, (4, 1, 1, 1, 1, 1)), (0, (2, 2)))
MARKERS = "osD^vPX"
#: Heights that span more than this ratio are drawn on a logarithmic scale.
LOGARITHMIC = 50.0
#: Heights below so many rounding errors of the endpoints' values are drawn as 0.
ROUNDING = 16
#: Powers of ten that are named on an axis, at most.
MOST_TICKS = 8


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
        """Draws height above the higher endpoint against function evaluations; returns the axes.

        Lines are heights at the paths' sample points, which may miss the top between them. Each leads on to a marker,
        the barrier of the path that is kept: its maximum above the higher endpoint. The scale is logarithmic where the
        heights span more than a factor of 50. Heights of 0, which it has not, then stand at its foot, on a tick that
        says 0.

        Parameters
        ----------
        axes
            Matplotlib axes; new ones if None.
        """
        if axes is None:
            from matplotlib.figure import Figure

            axes = Figure(figsize=(8.5, 4.8), layout="constrained").subplots()
        first = next(iter(self.paths.values()))
        higher = max(first.height_ends)
        straight = first.height_linear - higher
        searched = {name: curve for name, curve in self.curves.items() if len(curve) > 1}
        drawn = [straight]
        for name, curve in searched.items():
            drawn += [self.paths[name].maximum - higher, *(curve[:, 1] - higher)]
        heights = np.array(drawn)[np.isfinite(drawn)]
        foot = _foot(heights, ROUNDING * float(np.finfo(first.start.dtype).eps) * abs(higher))
        for k, (name, curve) in enumerate(searched.items()):
            barrier = self.paths[name].maximum - higher
            look = {"ls": STYLES[k % len(STYLES)], "marker": MARKERS[k % len(MARKERS)], "lw": 1.5, "ms": 6}
            shown = np.maximum([*(curve[:, 1] - higher), barrier], foot)
            spent = curve[:, 0]
            (line,) = axes.plot(spent, shown[:-1], markevery=[], label=f"{name}: {max(barrier, 0):.4g}", **look)
            axes.plot([spent[-1]] * 2, shown[-2:], color=line.get_color(), markevery=[1], **look)
        axes.axhline(max(straight, foot), color="0.5", lw=1, ls=":", label=f"straight line: {max(straight, 0):.4g}")
        axes.set(xlabel="function evaluations", ylabel="height above the higher endpoint", xscale="log")
        axes.set_title("lines: heights at the sample points; markers and numbers: barriers", fontsize="small")
        if foot > 0:
            _scale_to(axes, foot, heights)
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
        return axes


def _foot(heights: np.ndarray, rounding: float) -> float:
    """Where a logarithmic scale of some heights begins, a power of ten; 0 where a linear one shows them."""
    seen = heights[heights > rounding]
    if not seen.size or seen.max() <= LOGARITHMIC * seen.min():
        return 0.0
    return float(10 ** (np.floor(np.log10(seen.min())) - bool((heights <= rounding).any())))


def _scale_to(axes: Any, foot: float, heights: np.ndarray) -> None:
    """A logarithmic scale from its foot, which stands for 0 where there are such heights, to above the highest."""
    from matplotlib.ticker import LogFormatterMathtext, NullLocator

    first, last = round(np.log10(foot)), int(np.floor(np.log10(heights.max())))
    every = -(-(last - first + 1) // MOST_TICKS)
    ticks = [10.0**n for n in range(last, first - 1, -every)]
    names = [LogFormatterMathtext()(tick) for tick in ticks]
    if (heights < foot).any():
        above = sum(tick > 2 * foot for tick in ticks)
        ticks, names = [*ticks[:above], foot], [*names[:above], "0"]
    axes.set_yscale("log")
    axes.set_yticks(ticks, names)
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylim(foot / 2, 2 * heights.max())


def compare_methods(
    landscape: Any,
    start: Any,
    end: Any,
    budget: int,
    *,
    n_terms: int | None = None,
    n_points: int | None = None,
    n_images: int | None = None,
    entries: tuple[str, ...] = tuple(ENTRIES),
) -> PathComparison:
    """Runs path methods on one pair to convergence, or until they have evaluated a number of points.

    Parameters
    ----------
    budget
        Points, with and without gradients, that each method may evaluate while it searches. The path that it begins
        with is evaluated in any case, and the maximum at the end is not counted.
    n_terms, n_points
        N_F and M of the curves: 10 and 50.
    n_images
        Images of the bands, both ends included: 13.
    entries
        Names in :data:`ENTRIES`, at least one.

    Raises
    ------
    ValueError
        If an option is out of range or belongs to none of the entries, a name is unknown, or the budget is below one
        path; before anything is evaluated.
    """
    for name in entries or [""]:
        if name not in ENTRIES:
            raise ValueError(f"no entry is called {name!r}; expected some of {', '.join(ENTRIES)}")
    methods = [ENTRIES[name]["method"] for name in entries]
    users = {
        "n_terms": [method for method in methods if "n_terms" not in METHODS[method].without_effect],
        "n_points": [method for method in methods if "neb" not in method],
        "n_images": [method for method in methods if "neb" in method],
    }
    for name, number in {"n_terms": n_terms, "n_points": n_points, "n_images": n_images}.items():
        if number is not None and not users[name]:
            raise ValueError(f"{name} has no effect on {', '.join(entries)}; remove it")
    n_terms, n_points, n_images = (
        default if number is None else number
        for number, default in ((n_terms, TERMS), (n_points, POINTS), (n_images, IMAGES))
    )
    for n in (n_points, n_images):
        FourierPathFinder(landscape, n_terms, n)
    check_budget(budget, max(n for n, used in ((n_points, "n_points"), (n_images, "n_images")) if users[used]))
    paths, curves = {}, {}
    for name in entries:
        options = dict(ENTRIES[name])
        method = options["method"]
        curve: list[tuple[int, float]] = []

        def note(state: PathState, curve: list[tuple[int, float]] = curve) -> None:
            spent = state.evaluations.gradients + state.evaluations.values
            curve.append((spent, state.height))

        options |= {"n_points": n_images if "neb" in method else n_points}
        others = {"budget": budget, "n_terms": n_terms, "steps": "auto"}
        options |= {k: v for k, v in others.items() if k not in METHODS[method].without_effect}
        paths[name] = find_path(landscape, start, end, progress=note, **options)
        curves[name] = np.array(curve, dtype=np.float64).reshape(-1, 2)
    return PathComparison(paths, curves)
