"""Compare path methods on one pair: height against cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..display import as_html, count, number, svg_of, text_table
from ..landscape import as_landscape
from .method import Method, chosen, options_of
from .methods import METHODS
from .problem import PathState
from .result import Path
from .search import as_method, check_budget, find_path
from .shown import comparison_table, plot_comparison

#: The methods of a comparison by label: curves with the solver of fewest evaluations, Fourier with every solver.
ENTRIES: dict[str, Method] = {label: each for method in METHODS.values() for label, each in method.variants().items()}


@dataclass(frozen=True, repr=False)
class PathComparison:
    """Paths found by several methods, and how their heights fell with the number of evaluations.

    Attributes
    ----------
    paths
        The path of each method that finished, by label.
    curves
        By label: (iterations, 2), points evaluated so far and the height of the path then, at its sample points.
    errors
        The exception that each other method raised, by label.

    Examples
    --------
    >>> import minilandscape as ml
    >>> from minilandscape.potentials import MullerBrown
    >>> land = MullerBrown()
    >>> found = ml.compare_methods(land, *land.minima[:2], 2000, methods=("linear", "neb"))
    >>> found
    PathComparison(2 methods, lowest barrier 67.502 by neb)
    """

    paths: dict[str, Path]
    curves: dict[str, np.ndarray]
    errors: dict[str, Exception] = field(default_factory=dict)

    def __repr__(self) -> str:
        """One line: the number of methods, and the lowest barrier."""
        name = min(self.paths, key=lambda each: self.paths[each].barrier, default=None)
        best = "" if name is None else f", lowest barrier {number(self.paths[name].barrier)} by {name}"
        return f"PathComparison({count(len(self.curves), 'method')}{best})"

    def _repr_html_(self) -> str:
        """A table and a figure for notebooks."""
        table = comparison_table(self)
        rows = [(row[0], row[1], " · ".join(row[2:])) for row in table]
        return as_html(repr(self), rows, svg_of(self.plot()) if self.paths else "")

    def summary(self) -> str:
        """Describe the methods in a table of text: barrier, maximum, iterations, evaluations, convergence."""
        return text_table(comparison_table(self))

    def plot(self, axes: Any = None) -> Any:
        """Draw the height above the higher endpoint against the number of evaluations; return the Matplotlib axes.

        Lines show heights at the paths' sample points, which may miss the maximum between them. Each ends at a marker:
        the barrier of the path that is kept. The scale is logarithmic where the heights span more than a factor of 50;
        heights of 0 are then drawn at its foot, at a tick labelled 0. ``axes`` are drawn on; None makes a figure of its
        own.
        """
        return plot_comparison(self, axes)


class ComparisonInterrupted(KeyboardInterrupt):
    """Raised at Ctrl-C; ``finished`` is the comparison of the methods that have finished, at least one."""

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
    """Run several path methods on one pair, to convergence or until a number of evaluations.

    Parameters
    ----------
    landscape, start, end
        As for :func:`find_path`.
    budget
        Largest number of points, with and without gradients, that each method may evaluate in its search. The initial
        path is evaluated in any case, and the measurement of the maximum is not counted.
    methods
        One or more labels such as ``"fourier, adam"``, names of methods, or objects such as
        ``ml.Neb(images=9, climb=False)``, whose label is their representation.
    progress
        A function that is called with the label of a method and every state of its search.
    **options
        ``n_terms``, ``n_points``, ``images``, ``objective``, …: each is passed to the methods that have it and leave it
        at its default.

    Returns
    -------
    PathComparison
        ``summary()`` is a table, ``plot()`` a figure. Of a method that raises, ``errors`` holds the exception; the
        others continue.

    Raises
    ------
    ValueError
        If an option is out of range or belongs to none of the methods, a name is unknown, or the budget is below one
        path; before anything is evaluated.
    ComparisonInterrupted
        At Ctrl-C, once a method has finished; its ``finished`` is the comparison so far.
    Exception
        The exception of the first method, if none finishes.

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
        except Exception as error:  # of any kind: the results of the other methods are kept
            found.errors[label] = error
        found.curves[label] = np.array(curve, dtype=np.float64).reshape(-1, 2)
    if not found.paths:
        raise next(iter(found.errors.values()))
    return found


def planned(
    landscape: Any, budget: Any, methods: str | Method | Sequence[str | Method], options: Mapping[str, Any]
) -> dict[str, Method]:
    """Select methods by label, and set the options that they have and leave open; nothing is evaluated.

    Raises
    ------
    ValueError
        As for :func:`compare_methods`.
    """
    asked = _labelled([methods] if isinstance(methods, (str, Method)) else methods)
    for name, value in options.items():
        if value is not None:
            asked = _with_option(asked, name, value)
    complete = as_landscape(landscape)
    check_budget(budget, max(method.on(complete).samples for method in asked.values()))
    return asked


def _labelled(methods: Sequence[str | Method]) -> dict[str, Method]:
    """Make methods by label; ValueError where there are none, one is unknown, or two are the same."""
    asked: dict[str, Method] = {}
    if not methods:
        raise ValueError(f"no method is given; expected some of {_listed(ENTRIES)}")
    for each in methods:
        if isinstance(each, str) and each not in (*ENTRIES, *METHODS):
            raise ValueError(f"no method is called {each!r}; expected some of {_listed(ENTRIES)}")
        label = each if isinstance(each, str) else repr(each)
        if label in asked:
            raise ValueError(f"{label} is given twice; give it once")
        asked[label] = ENTRIES[label] if label in ENTRIES else as_method(each, {})
    return asked


def _with_option(methods: dict[str, Method], name: str, value: Any) -> dict[str, Method]:
    """Set an option of the methods that have it and leave it open; ValueError where there are none."""
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
