"""FourierPathFinder, Algorithm 2: a path as a straight line and a truncated sine series."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..landscape import as_landscape
from .methods import Fourier
from .problem import PathProblem, PathState


class FourierPathFinder:
    r"""Algorithm 2 of the paper as an iterator over its steps.

    :func:`find_path` iterates the same steps, ends them, and measures the path.

    Parameters
    ----------
    landscape
        A landscape or function that :func:`as_landscape` accepts.
    n_terms, n_points
        Number of sine terms N_F and of sample points M; 10 and 50 in the paper.
    lam, lr, objective, power, offset, solver
        As for :class:`Fourier`.

    Raises
    ------
    ValueError
        If options are out of range or contradict each other.

    Notes
    -----
    .. math:: \omega(t) = (1 - t)\, \omega_0 + t\, \omega_1 + \sum_{n=1}^{N_F} b_n \sin(n \pi t);

    every step updates b to lower L, Eq. (4).

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
        """Yield the straight line, then the path after every step; endless unless the solver converges."""
        problem = self.problem(start, end)
        return self.method.moves().states(problem, problem.zeros())

    def problem(self, start: Any, end: Any) -> PathProblem:
        """Make the problem between two points."""
        return self.method.problem(self.landscape, start, end)
