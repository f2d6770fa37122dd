"""Search a path with any method."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..landscape import as_landscape, units_of
from .checkpoint import Checkpoint
from .drive import Search
from .method import Method, options_of
from .methods import METHODS
from .problem import PathState
from .record import Keeps, Record
from .result import Path


def find_path(
    landscape: Any,
    start: Any,
    end: Any,
    method: str | Method = "fourier",
    *,
    steps: int | str | None = None,
    budget: int | None = None,
    target_barrier: float | None = None,
    initial: Any = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Callable[[PathState], None] | None = None,
    **options: Any,
) -> Path:
    r"""Find a path of low maximum value between two points.

    Parameters
    ----------
    landscape
        A landscape or function that :func:`as_landscape` accepts.
    start, end
        (D,): the endpoints; they are copied.
    method
        A name, or an object with its options: ``"fourier"`` or :class:`Fourier`, the method of the paper; ``"linear"``
        or :class:`Linear`, the straight line; ``"bezier"`` and ``"polyline"`` (:class:`Bezier`, :class:`Polyline`),
        other families of curves; ``"neb"`` (:class:`Neb`), a nudged elastic band, and ``"autoneb"``
        (:class:`AutoNeb`), a band to which images are added.
    **options
        The options of a method that is given by name: ``n_terms``, ``n_points``, ``objective``, ``power``, ``offset``,
        ``lam``, ``solver`` and ``lr`` for curves (see :class:`Fourier`); ``images``, also called ``n_points``, and
        ``climb`` for bands (see :class:`Neb`). None takes the default of the landscape. Options that a method does not
        have raise an error.
    steps
        Number of iterations; ``"auto"`` runs to convergence, in at least 10 iterations (Adam 100) and at most 500 (Adam
        and bands 10,000). None takes the landscape's default (100 iterations of Adam on the paper's networks), else
        ``"auto"``.
    budget
        Largest number of points, with and without gradients, that the search may evaluate, after the initial path. The
        measurement of the maximum of the final path, and of the modes there, is not counted.
    target_barrier
        The search ends with the first path of lowest L that rises above the higher endpoint by at most this value. The
        maximum over continuous t is measured once all sample points lie so low. With the objective "sum", rounds on
        mini-batches follow until a ``budget`` is spent, or six without a budget. None searches on.
    initial
        The initial path: a :class:`Path` of any family between the same endpoints, such as the ``best`` of an
        interrupted search; points (K, D); or a function of t. An objective with stages resumes at the β of a given
        path. The result is never worse than the initial path. None starts from the straight line.
    checkpoint
        A file to which a search with the objective sum writes its state every 30 seconds. If the file exists, the
        search resumes from it, bit-identically. Remove it once the path is saved.
    progress
        A function that is called with every state of the search.

    Returns
    -------
    Path
        The path of lowest L of all iterations (of lowest maximum of all stages, or the band of the last iteration).
        ``converged`` and ``reason`` are the verified state of convergence.

    Raises
    ------
    ValueError
        If an option or endpoint is invalid.
    TypeError
        If an endpoint is not a vector of real numbers (for example ``Atoms`` instead of positions), or no method has an
        option of that name.
    LandscapeError
        If a value or a gradient on the path is not finite; its ``best`` is the best path so far. Trial steps that
        cannot be evaluated are rejected, and counted in ``metadata["walls"]``.
    SearchInterrupted
        At Ctrl-C, once there is a path; its ``best`` is the best path so far.

    Notes
    -----
    A path is

    .. math:: \omega(t) = (1 - t)\, \omega_0 + t\, \omega_1 + \sum_n b_n \varphi_n(t), \qquad 0 \le t \le 1,

    with sines, Bernstein polynomials or hat functions :math:`\varphi_n` that vanish at both endpoints. The
    maximum of the result is measured over continuous t, whatever the number of sample points. ``converged`` is true
    only if the objective is stationary, the sample points resolve the maximum, and the maximum has no second
    negative mode.

    References
    ----------
    .. [1] arXiv:2602.21276, Eqs. (3) to (5) and Algorithm 2.

    Examples
    --------
    >>> import minilandscape as ml
    >>> from minilandscape.potentials import MullerBrown
    >>> land = MullerBrown()
    >>> path = ml.find_path(land, *land.minima[:2])
    >>> round(path.maximum, 2), path.converged
    (-40.66, True)
    >>> ml.find_path(land, *land.minima[:2], ml.Neb(images=9)).maximum < -40.66
    True
    """
    landscape = as_landscape(landscape)
    asked = as_method(method, options).on(landscape)
    if not asked.searches:
        given: dict[str, Any] = {"steps": steps, "budget": budget, "target_barrier": target_barrier}
        given |= {"initial": initial, "checkpoint": checkpoint}
        refuse([name for name, value in given.items() if value is not None], asked)
    if budget is not None:
        check_budget(budget, asked.samples)
    check_target(target_barrier)
    steps = _checked_steps(asked.steps_on(landscape) if steps is None else steps)
    if checkpoint is not None and asked.keeps is not Keeps.LOWEST:
        raise ValueError("checkpoint serves the objective 'sum'; resume others from a path (initial)")
    problem = asked.problem(landscape, start, end, _left_off(initial, asked))
    metadata = {"method": asked.name, **asked.metadata(problem)}
    if asked.searches:
        metadata["steps"] = steps
    if initial is not None:
        problem = problem.with_line()
    target = {} if target_barrier is None else {"target_barrier": float(target_barrier)}
    problem = replace(problem, target=target.get("target_barrier"))
    record = Record(problem, asked.keeps, {**metadata, **target, **units_of(landscape)})
    moves = asked.moves() if asked.searches else None
    last = None if steps == "auto" else int(steps)
    search = Search(problem, moves, record, last, asked.planned(last, budget), progress)
    if checkpoint is not None:
        search.checkpoint = Checkpoint.of(checkpoint, problem, metadata)
    return search.run(initial, budget)


def _left_off(initial: Any, method: Method) -> float:
    """Return the β of an initial path with the same objective; 0 where there is none."""
    if not isinstance(initial, Path) or initial.metadata.get("objective") != getattr(method, "objective", None):
        return 0.0
    return float(initial.metadata.get("beta", 0.0))


def as_method(method: Any, options: Mapping[str, Any]) -> Method:
    """Make a method of its name and options, None being an option that is not given; or return an object unchanged.

    Raises
    ------
    ValueError
        If there is no such method, an option has no effect on it or is out of range, or options come with an object.
    TypeError
        If no method has an option of that name, or the method is neither a name nor an object.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if isinstance(method, Method):
        if given:
            raise ValueError(f"{', '.join(given)}: options of a method by name; give them to {method!r} itself")
        return method
    if isinstance(method, type) and issubclass(method, Method):
        raise TypeError(f"method is the class {method.__name__}; expected an object, {method.__name__}()")
    if not isinstance(method, str):
        raise TypeError(f"method is {method!r}; expected one of {', '.join(METHODS)}, or an object, such as Neb()")
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; expected one of {', '.join(METHODS)}")
    return METHODS[method](**_renamed(METHODS[method], given))


def without_effect(method: type[Method], names: Iterable[str]) -> list[str]:
    """List the options that a method does not have."""
    known = {*options_of(method), *method.synonyms}
    return [name for name in names if name not in known]


def _renamed(method: type[Method], given: dict[str, Any]) -> dict[str, Any]:
    """Rename options to the names of a method."""
    useless = without_effect(method, given)
    known = {name for each in METHODS.values() for name in options_of(each)}
    if unknown := [name for name in useless if name not in known]:
        takes = ", ".join(options_of(method))
        raise TypeError(f"find_path has no option {unknown[0]!r}; the method {method.name!r} takes {takes}")
    refuse(useless, method)
    renamed = {method.synonyms.get(name, name): value for name, value in given.items()}
    if len(renamed) < len(given):
        name = next(name for name in given if name in method.synonyms)
        raise ValueError(f"{name} and {method.synonyms[name]} are one option of the method {method.name!r}; give one")
    return renamed


def refuse(names: Sequence[str], method: Method | type[Method]) -> None:
    """Raise ValueError where options have no effect on a method."""
    if names:
        has, them = ("has", "it") if len(names) == 1 else ("have", "them")
        raise ValueError(f"{', '.join(names)} {has} no effect on the method {method.name!r}: remove {them}")


def check_budget(budget: Any, n_points: int) -> None:
    """Raise ValueError where a budget is not a number of points, or below one path."""
    if not (isinstance(budget, (int, np.integer)) and budget >= n_points):
        raise ValueError(f"the budget is {budget} points; expected at least the {n_points} of one path")


def check_target(target: Any) -> None:
    """Raise ValueError where a target barrier is not a number of at least 0."""
    number = isinstance(target, (int, float, np.integer, np.floating)) and not isinstance(target, bool)
    if target is not None and not (number and 0 <= target < np.inf):
        raise ValueError(f"target_barrier is {target!r}; expected a number of at least 0")


def _checked_steps(steps: Any) -> int | str:
    if isinstance(steps, (int, np.integer)) and not isinstance(steps, bool) and steps >= 0:
        return int(steps)
    if steps is None or steps == "auto":
        return "auto"
    raise ValueError(f"steps is {steps!r}; expected a whole number or 'auto'")
