"""All path methods on one pair: height against cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..landscape import as_landscape
from .method import Method, chosen, options_of
from .methods import METHODS
from .problem import PathState
from .result import Path
from .search import as_method, check_budget, find_path

#: What a comparison runs, by label: every method, curves with the cheapest solver, the paper's with each.
ENTRIES: dict[str, Method] = {label: each for method in METHODS.values() for label, each in method.variants().items()}
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
        By label, of the methods that came to an end.
    curves
        By label: (steps, 2), points evaluated and the height of the path then, at its own points.
    errors
        By label, what the other methods raised.
    """

    paths: dict[str, Path]
    curves: dict[str, np.ndarray]
    errors: dict[str, Exception] = field(default_factory=dict)

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
        searched = {name: curve for name, curve in self.curves.items() if name in self.paths and len(curve) > 1}
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


class ComparisonInterrupted(KeyboardInterrupt):
    """A comparison was interrupted; ``finished`` is that of the methods that had come to an end, one at least."""

    def __init__(self, finished: PathComparison) -> None:
        super().__init__("interrupted")
        self.finished = finished


def compare_methods(
    landscape: Any,
    start: Any,
    end: Any,
    budget: int,
    *,
    methods: str | Method | Sequence[str | Method] = tuple(ENTRIES),
    progress: Callable[[str, PathState], None] | None = None,
    **options: Any,
) -> PathComparison:
    """Runs path methods on one pair to convergence, or until they have evaluated a number of points.

    Parameters
    ----------
    landscape, start, end
        As of :func:`find_path`.
    budget
        Points, with and without gradients, that each method may evaluate while it searches. The path that it begins
        with is evaluated in any case, and the maximum at the end is not counted.
    methods
        One or more: labels of :data:`ENTRIES`, names of methods, or objects such as ``ml.Neb(images=9, climb=False)``,
        whose label is what is written.
    progress
        Called with the label of a method and every state of its search.
    **options
        ``n_terms``, ``n_points``, ``images``, ``objective``, …: each goes to those methods that have it and leave it at
        its default.

    Returns
    -------
    PathComparison
        A method that raises leaves its error and its curve so far; the others continue.

    Raises
    ------
    ValueError
        If an option is out of range or belongs to none of the methods, a name is unknown, or the budget is below one
        path; before anything is evaluated.
    ComparisonInterrupted
        If Ctrl-C comes once a method has come to its end; its ``finished`` is the comparison so far.
    Exception
        What the first method raised, if none comes to its end.

    Examples
    --------
    >>> import minilandscape as ml
    >>> from minilandscape.potentials import MullerBrown
    >>> land = MullerBrown()
    >>> methods = "linear", ml.Neb(images=7), ml.Neb(images=7, climb=False)
    >>> found = ml.compare_methods(land, *land.minima[:2], 2000, methods=methods)
    >>> for label, path in found.paths.items():
    ...     print(f"{label:27} {path.maximum:8.3f}")
    linear                        12.676
    Neb(images=7)                -40.665
    Neb(images=7, climb=False)   -39.704
    """
    asked = planned(landscape, budget, methods, options)
    found = PathComparison({}, {})
    for label, method in asked.items():
        curve: list[tuple[int, float]] = []

        def note(state: PathState, label: str = label, curve: list[tuple[int, float]] = curve) -> None:
            curve.append((state.evaluations.gradients + state.evaluations.values, state.height))
            if progress is not None:
                progress(label, state)

        searched: dict[str, Any] = {"budget": budget, "steps": "auto"} if method.searches else {}
        try:
            found.paths[label] = find_path(landscape, start, end, method, progress=note, **searched)
        except KeyboardInterrupt as interrupt:
            if not found.paths:
                raise
            raise ComparisonInterrupted(found) from interrupt
        except Exception as error:  # of whatever kind: what the others have found is worth more
            found.errors[label] = error
        found.curves[label] = np.array(curve, dtype=np.float64).reshape(-1, 2)
    if not found.paths:
        raise next(iter(found.errors.values()))
    return found


def planned(
    landscape: Any, budget: Any, methods: str | Method | Sequence[str | Method], options: Mapping[str, Any]
) -> dict[str, Method]:
    """Methods by label, with those of some options that they have and leave open; nothing is evaluated.

    Raises
    ------
    ValueError
        As of :func:`compare_methods`.
    """
    asked = _labelled([methods] if isinstance(methods, (str, Method)) else methods)
    for name, value in options.items():
        if value is not None:
            asked = _with_option(asked, name, value)
    complete = as_landscape(landscape)
    check_budget(budget, max(method.on(complete).samples for method in asked.values()))
    return asked


def _labelled(methods: Sequence[str | Method]) -> dict[str, Method]:
    """Methods by label; ValueError where there are none, one is unknown, or two are the same."""
    asked: dict[str, Method] = {}
    for each in methods or [""]:
        if isinstance(each, str) and each not in (*ENTRIES, *METHODS):
            raise ValueError(f"no method is called {each!r}; expected some of {_listed(ENTRIES)}")
        label = each if isinstance(each, str) else repr(each)
        if label in asked:
            raise ValueError(f"{label} is given twice; give it once")
        asked[label] = ENTRIES[label] if label in ENTRIES else as_method(each, {})
    return asked


def _with_option(methods: dict[str, Method], name: str, value: Any) -> dict[str, Method]:
    """Methods, those with an option that they have and leave open; ValueError where there is none."""
    users = [label for label, each in methods.items() if name in options_of(each) and name not in chosen(each)]
    if not users:
        raise ValueError(f"{name} has no effect on {_listed(methods)}; remove it")
    with_it = {}
    for label in users:
        try:
            with_it[label] = replace(methods[label], **{name: value})
        except ValueError as error:
            raise ValueError(f"{label}: {error}") from None
    return methods | with_it


def _listed(labels: Iterable[str]) -> str:
    return ", ".join(map(repr, labels))
