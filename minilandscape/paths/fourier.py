"""FourierPathFinder, Algorithm 2: a path as a straight line and a truncated sine series."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..landscape import as_landscape
from .methods import Fourier
from .problem import PathProblem, PathState


class FourierPathFinder:
    """Steps of the paper's Algorithm 2: ω(t) = (1 − t) start + t end + Σ_n b_n sin(nπt), with L falling over b.

    :func:`find_path` drives the same steps, ends them, and measures the path.

    Parameters
    ----------
    landscape
        Anything that :func:`~minilandscape.landscape.as_landscape` takes.
    n_terms, n_points
        N_F and M, the paper's 10 and 50.
    lam, lr, objective, power, offset, solver
        As of :class:`Fourier`.

    Raises
    ------
    ValueError
        If options are out of range or do not go together.

    Examples
    --------
    >>> import itertools
    >>> import minilandscape as ml
    >>> from minilandscape.potentials import Fig3
    >>> finder = ml.FourierPathFinder(Fig3(), objective="sum")
    >>> heights = [state.height for state in itertools.islice(finder.steps(Fig3.START, Fig3.END), 20)]
    >>> heights[-1] < heights[0]
    True
    """

    def __init__(self, landscape: Any, n_terms: int = 10, n_points: int = 50, **options: Any) -> None:
        self.landscape = as_landscape(landscape)
        self.method = Fourier(n_terms=n_terms, n_points=n_points, **options).on(self.landscape)

    def steps(self, start: Any, end: Any) -> Iterator[PathState]:
        """Yields the straight line, then the path after every step, without end unless the solver finds one."""
        problem = self.problem(start, end)
        return self.method.moves().states(problem, problem.zeros())

    def problem(self, start: Any, end: Any) -> PathProblem:
        """What is minimised between two points."""
        return self.method.problem(self.landscape, start, end)
