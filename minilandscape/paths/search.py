"""find_path: a search of any method, how long it goes on, and its best path as a result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from inspect import signature
from math import ceil
from typing import Any

import numpy as np

from ..backend import to_device, to_host
from ..landscape import Evaluations, LandscapeError
from .fourier import LEAST_STEPS, MOST_STEPS, FourierPathFinder, stands_still
from .neb import band_states
from .problem import BudgetSpentError, PathState, Problem, path_maximum
from .result import HISTORY, Path

METHODS = ("fourier", "linear", "bezier", "polyline", "neb", "autoneb")
#: The basis of each path family.
FAMILIES = {"fourier": "sine", "linear": "sine", "bezier": "bernstein", "polyline": "hat"}
#: Options that a method makes no use of, and so refuses; its facts say nothing of them.
OF_CURVES = ("n_terms", "solver", "lr", "initial")
UNUSED = {
    "linear": (*OF_CURVES, "steps"),
    **dict.fromkeys(("neb", "autoneb"), (*OF_CURVES, "objective", "power", "offset", "lam")),
}


class SearchInterrupted(KeyboardInterrupt):
    """A search was interrupted; ``best`` is the best path so far."""

    def __init__(self, best: Path) -> None:
        super().__init__("interrupted")
        self.best = best


def find_path(
    landscape: Any,
    start: Any,
    end: Any,
    method: str = "fourier",
    *,
    n_terms: int = 10,
    n_points: int = 50,
    lam: float | None = None,
    steps: int | str | None = None,
    lr: float | None = None,
    objective: str | None = None,
    power: float = 1,
    offset: float = 0.0,
    solver: str = "adam",
    budget: int | None = None,
    initial: Path | None = None,
    progress: Callable[[PathState], None] | None = None,
) -> Path:
    """A low path between two points: the one with the lowest L of all steps, or a band as its last step left it.

    Parameters
    ----------
    method
        ``"fourier"`` (:class:`FourierPathFinder`, which explains the other options); ``"linear"``, the straight line;
        ``"bezier"`` and ``"polyline"``, the same with n_terms control points of a Bézier curve or corners of a polygon
        (Garipov et al., 2018); ``"neb"``, a nudged elastic band of n_points images with a climbing one, and
        ``"autoneb"``, which inserts them where the band is worst (Kolsbjerg et al., 2016; Draxler et al., 2018). Bands
        have no objective, terms or solver; their path is the polygon through the images. Options that a method makes no
        use of (:data:`UNUSED`) are refused.
    steps
        How many; ``"auto"`` goes on until L stands still, and, with the solver of that name, until nothing on the path
        stands above its ends (reason ``"no barrier"``), but no shorter than ten steps (100 of Adam), nor longer than
        500 (10,000 of Adam) (reason ``"steps"``). Where the barrier then stands between the path's points, the solver
        ``"auto"`` says so (reason ``"between points"``): go on with more of them, this path being ``initial``. None
        takes the landscape's own number (100 Adam steps on networks), else ``"auto"``. A band ends sooner where its
        forces vanish, and after 10,000 steps at most.
    budget
        Points, with and without gradients, that the search may evaluate: it ends (reason ``"budget"``) before it would
        take more, once it has a path. The maximum at the end is not counted against it.
    initial
        A path between the same ends and of the same family to go on from, such as the ``best`` of a search that was
        interrupted; None begins with the straight line. Terms that it lacks are 0. What was gained, which tells when L
        stands still, is measured from the straight line all the same.
    progress
        Called with every state.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        If options or ends do not do.
    TypeError
        If an end is no vector of real numbers, such as atoms in place of their positions.
    LandscapeError
        If a value or a gradient on the path is not finite; its ``best`` is the best path so far. (A gradient ends the
        solvers other than Adam with a path, whose reason is ``"not finite"``.)
    SearchInterrupted
        If Ctrl-C comes once there is a path; its ``best`` is the best so far.
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; expected one of {', '.join(METHODS)}")
    _refuse_unused(method, locals())
    if budget is not None:
        check_budget(budget, n_points)
    finder = FourierPathFinder(
        landscape, n_terms, n_points, lam=lam, lr=lr, objective=objective, power=power, offset=offset, solver=solver
    )
    solver = finder.solver
    banded = method in ("neb", "autoneb")
    no_terms = 0 if method == "linear" or banded else None
    problem = finder.problem(start, end, FAMILIES.get(method, "sine"), no_terms)
    if steps is None:
        steps = (problem.landscape.path_defaults.get("steps") if solver == "adam" else None) or "auto"
    if method == "linear":
        steps = 0
    whole = isinstance(steps, (int, np.integer)) and steps >= 0
    if not (steps == "auto" or whole):
        raise ValueError(f"steps is {steps!r}; expected a whole number or 'auto'")
    steps = int(steps) if whole else "auto"
    most = MOST_STEPS[solver] if steps == "auto" else int(steps)
    facts = {
        "method": method,
        "solver": solver,
        "n_terms": n_terms,
        "n_points": n_points,
        "power": power,
        "offset": offset,
        "steps": steps,
    }
    began = -np.inf
    if initial is not None:
        problem.b = _initial_terms(problem, initial)
        # λ and β's scale come from the straight line, whatever the search begins with, and so does what was gained.
        line = problem.all_values()
        problem.settle(line)
        problem.height_linear = float(line.max())
        began = problem.straight(line)
    if banded:
        most = MOST_STEPS["adam"] if steps == "auto" else int(steps)
        return _banded(problem, n_points - 2, most, budget, facts, progress)
    states: list[PathState] = []
    best: PathState | None = None
    before: PathState | None = None
    objectives: list[float] = []
    reason = "straight line" if method == "linear" else "steps"

    def chord() -> float | None:
        """Only for auto: when the others stand still is theirs by contract."""
        return problem.chord() if solver == "auto" and problem.settled and not problem.objective.staged else None

    def no_barrier(state: PathState, best: PathState) -> bool:
        """Nothing on the path stands above its ends, whose height no path can lower; for auto alone, as well."""
        asked = solver == "auto" and not problem.objective.staged and state.step >= LEAST_STEPS[solver]
        return asked and best.height <= problem.ends.max()

    def kept(reason: str) -> Path | None:
        """What there is, if the search ends early."""
        if best is None:
            return None
        return _result(problem, states, best, False, reason, facts, (best.height, float("nan")))

    with _keeping(kept):
        for state in _within(budget, problem, finder.states(problem, most)):
            if state is None:
                reason = "budget"
                break
            if states and states[-1].stage != state.stage and state.reason is None:
                states[-1], before, best, objectives = _counted(state), best, state, [state.objective]
                continue
            if state.reason is not None and problem.objective.staged:
                best, reason = state, state.reason
                break
            if states and states[-1].step == state.step:  # says why it ends
                reason = state.reason or reason
                break
            states.append(_counted(state))
            objectives.append(state.objective)
            if best is None or state.objective < best.objective:
                best = state
            if progress is not None:
                progress(state)
            if state.reason is not None:
                reason = state.reason
                break
            if steps == "auto" and not problem.objective.staged and stands_still(objectives, solver, chord(), began):
                reason = "stands still"
                break
            if steps == "auto" and no_barrier(state, best):
                reason = "no barrier"
                break
            if state.step >= most:
                break
        assert best is not None
        problem.budget = None
        top = path_maximum(problem, best)
        if before is not None and reason != "stands still":  # cut off in a stage that may have done no good yet
            top_before = path_maximum(problem, before)
            if top_before[0] < top[0]:
                best, top = before, top_before
    if problem.objective.staged:  # L of one stage says nothing of the next one's
        converged = reason == "stands still"
    else:
        converged = reason == "no barrier" or stands_still(objectives, solver, chord(), began)
    path = _result(problem, states, best, converged, reason, facts, top)
    if solver == "auto" and not problem.objective.staged and converged and path.under_resolved:
        reason = "between points" if reason in ("stands still", "no barrier") else reason
        path = replace(path, converged=False, reason=reason)
    return path


@contextmanager
def _keeping(kept: Callable[[str], Path | None]) -> Iterator[None]:
    """Errors and interruptions carry the best path so far, ``kept(reason)``, where there is one."""
    try:
        yield
    except LandscapeError as error:
        error.best = kept("not finite")
        raise
    except KeyboardInterrupt as interrupt:
        best = kept("interrupted")
        if best is None:
            raise
        raise SearchInterrupted(best) from interrupt


def check_budget(budget: Any, n_points: int) -> None:
    """ValueError where a budget is no number of points, or below one path."""
    if not (isinstance(budget, (int, np.integer)) and budget >= n_points):
        raise ValueError(f"the budget is {budget} points; expected at least the {n_points} of one path")


def _within(budget: int | None, problem: Problem, states: Iterator[PathState]) -> Iterator[PathState | None]:
    """The states, and None where the budget is spent; the first one, without which there is no path, comes anyway."""
    try:
        for state in states:
            problem.budget = budget
            yield state
    except BudgetSpentError:
        yield None


def _refuse_unused(method: str, options: dict[str, Any]) -> None:
    """ValueError where options that the method makes no use of are not :func:`find_path`'s own."""
    own = {name: parameter.default for name, parameter in signature(find_path).parameters.items()}
    if given := [name for name in UNUSED.get(method, ()) if options[name] != own[name]]:
        raise ValueError(f"the method {method!r} makes no use of {', '.join(given)}: leave it out")


def _counted(state: PathState) -> PathState:
    """A state for the history, without its coefficients."""
    return replace(state, coefficients=None)


def _initial_terms(problem: Problem, initial: Path) -> Any:
    """b (N_F, D) of a path to go on from, checked."""
    if initial.basis != problem.basis:
        raise ValueError(f"initial is a path in the basis {initial.basis!r}; this family's is {problem.basis!r}")
    if initial.basis != "sine" and len(initial.coefficients) != len(problem.b):
        raise ValueError(f"initial has {len(initial.coefficients)} terms, not {len(problem.b)}")
    for name in ("start", "end"):
        ours, theirs = to_host(getattr(problem, name)), getattr(initial, name)
        if ours.shape != theirs.shape or not np.allclose(ours, theirs, rtol=1e-6, atol=1e-12):
            raise ValueError(f"initial has another {name}; expected a path between the same two points")
    b = np.zeros(problem.b.shape)
    n = min(len(b), len(initial.coefficients))
    b[:n] = initial.coefficients[:n]
    return to_device(b, problem.landscape.device, problem.landscape.dtype)


def _result(
    problem: Problem,
    states: list[PathState],
    best: PathState,
    converged: bool,
    reason: str,
    facts: dict[str, Any],
    top: tuple[float, float],
) -> Path:
    """``top`` is the maximum and its t."""
    facts = {**facts, "objective": problem.objective.name, "lam": problem.objective.lam, "lr": problem.lr}
    unused = UNUSED.get(facts["method"], ())
    return Path(
        start=to_host(problem.start),
        end=to_host(problem.end),
        coefficients=to_host(best.coefficients),
        t=problem.t,
        values=best.values,
        height_linear=states[0].height if problem.height_linear is None else problem.height_linear,
        length=best.length,
        history={name: np.array([getattr(state, name) for state in states]) for name in HISTORY},
        best_step=best.step,
        maximum=top[0],
        maximum_t=top[1],
        evaluations=problem.span.evaluations + Evaluations(),
        converged=converged,
        reason=reason,
        facts={name: fact for name, fact in facts.items() if name not in unused},
        basis=problem.basis,
    )


def _banded(
    problem: Problem,
    n_images: int,
    steps: int,
    budget: int | None,
    facts: dict[str, Any],
    progress: Callable[[PathState], None] | None,
) -> Path:
    """A nudged elastic band in the same terms as the other paths."""
    states: list[PathState] = []
    last: PathState | None = None
    reason = "steps"
    grows = facts["method"] == "autoneb"
    if budget is not None:
        # A band that grows until half of its steps are over has three quarters of its images on average.
        steps = min(steps, ceil(budget / (0.75 if grows else 1) / n_images))

    def kept(reason: str) -> Path | None:
        if last is None:
            return None
        unknown = (last.height, float("nan"))
        return _result(problem.polygon(last.coefficients), states, last, False, reason, facts, unknown)

    with _keeping(kept):
        for state in _within(budget, problem, band_states(problem, n_images, steps, grows=grows)):
            if state is None:
                reason = "budget"
                break
            last = state
            states.append(_counted(state))
            if progress is not None:
                progress(state)
        assert last is not None
        problem.budget = None
        polygon = problem.polygon(last.coefficients)
        top = path_maximum(polygon, replace(last, coefficients=polygon.b))
    reason = last.reason or reason
    if reason == "no barrier" and top[0] > problem.ends.max():  # but between the images
        reason = "stands still"
    return _result(polygon, states, last, last.reason is not None, reason, facts, top)
