"""Find the barrier between two minima in one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..landscape import as_landscape, displacement_between, two_points
from .chain import Chain
from .refine import check_positive
from .result import Connection


def find_saddle(
    landscape: Any,
    start: Any,
    end: Any,
    *,
    tolerance: float | None = None,
    verify: bool = True,
    every: bool = False,
    batch: int = 12,
    initial: Any = None,
    progress: Callable[[str], None] | None = None,
) -> Connection:
    """Find the saddle between two minima, and verify that it connects them.

    Parameters
    ----------
    landscape
        A landscape or function that :func:`as_landscape` accepts.
    start, end
        (D,): two relaxed minima.
    tolerance
        Convergence threshold for the gradient norm: the largest absolute component, in units of value per length; for
        atoms the largest force (ASE's fmax). None takes (height above the higher endpoint) / (distance between the
        endpoints) · 1e-3 / √D, which leaves an error of about one millionth of the barrier (more only along modes that
        are far softer than that of the barrier), but at least three times the noise of the gradient.
    verify
        Whether to verify the saddle. If False, the search ends at the first stationary point, whose index and minima
        are unknown.
    every
        Whether to search the saddles between all pairs of minima of the chain, not only those that may be the highest.
    batch
        With at most this many free coordinates, an index is verified with one batch of products, one for each
        coordinate: more evaluations in far fewer batches. That is faster where points are evaluated in parallel, by
        workers or by a landscape that accepts stacks; 0 makes the fewest evaluations.
    initial
        The initial path: a :class:`Path`, points (K, D) with both endpoints, or a function of t. None takes the
        straight line, or ``landscape.initial_path(start, end)`` where there is such a method.
    progress
        A function that is called with a line of text at every stage.

    Returns
    -------
    Connection
        ``converged`` is true only if the chain leads from start to end and its highest saddle is verified.

    Raises
    ------
    ValueError
        If the endpoints are not two different, finite vectors, or the gradient at one of them is above 30 % of the
        largest on the first path.
    TypeError
        If an endpoint is not a vector of real numbers, or ``progress`` is not a function.
    LandscapeError
        If an endpoint cannot be evaluated.
    ConnectionInterrupted
        At Ctrl-C: a KeyboardInterrupt whose ``best`` is the chain so far.

    Notes
    -----
    A saddle search (eigenvector following) starts from the maximum of a coarse path, five points with their gradients.
    It is verified that exactly one eigenvalue of the Hessian is negative at the saddle, and both sides are followed
    downhill. Where they end at other minima, the remaining pairs are searched in the same way until the chain leads
    from start to end; a pair is not searched where a coarse path between the two stays below the saddle. Where the
    search from the coarse path fails, a better path is searched first (:func:`find_path`), unless values at
    neighbouring points contradict their gradients, as those of a wrong gradient do: then the search ends, and
    ``reason`` says so. Free molecules are superposed before.

    The barrier of a chain is that of its highest saddle, an upper bound: other chains may be lower. Whether a pair
    requires a search is decided by five points with their gradients, or by nine where five show no rise; ``reason``
    gives the number of such pairs. A barrier narrower than a tenth of the distance between the endpoints may be missed
    between those points, and between the steps of a descent. To check a chain for one, take the largest of
    ``land.values(found.path.points(np.linspace(0, 1, 300)))``.

    Examples
    --------
    >>> import minilandscape as ml
    >>> from minilandscape.potentials import MullerBrown
    >>> land = MullerBrown()
    >>> found = ml.find_saddle(land, land.minima[0], land.minima[1])
    >>> round(found.saddle.value, 4), round(found.barrier_forward, 3), found.converged
    (-40.6648, 106.035, True)
    """
    if progress is not None and not callable(progress):
        raise TypeError(f"progress is {progress!r}; expected a function of a line of text, such as print")
    if not isinstance(batch, (int, np.integer)) or batch < 0:
        raise ValueError(f"batch is {batch!r}; expected a whole number of at least 0")
    if tolerance is not None:
        check_positive("tolerance", tolerance, "number")
        tolerance = float(tolerance)
    a, b = two_points(start, end, landscape)
    land = as_landscape(landscape, a.size)
    displacement_between(land, a, b)
    return Chain(land, tolerance, verify, every, batch, progress or (lambda line: None)).run(a, b, initial)
