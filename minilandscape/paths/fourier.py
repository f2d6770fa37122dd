"""FourierPathFinder, Algorithm 2: a path as a straight line and a truncated sine series."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..landscape import as_landscape
from .curve import Curve
from .meter import Meter
from .objectives import make_objective
from .problem import PathProblem, PathState
from .solvers import AdamSolver, FewPointsFirst, QuasiNewton, Solver
from .stages import Staged

SOLVERS = ("adam", "lbfgs-gss", "auto")
OBJECTIVES = ("sum", "maxflux", "smoothmax")


class FourierPathFinder:
    """Finds a path ω(t) = (1 − t) start + t end + Σ_n b_n sin(nπt) of low values (Eqs. 3–5, Algorithm 2).

    It minimises L over b at M equally spaced t: Σ_m F_m + λ Σ_m |ω(t_{m+1}) − ω(t_m)|² with F = (f − offset)^power,
    or another objective of the values and the steps between them.

    Parameters
    ----------
    landscape
        Anything that :func:`~minilandscape.landscape.as_landscape` takes.
    n_terms
        N_F; 0 leaves the straight line.
    n_points
        M, both endpoints included.
    lam
        λ of the sum. None takes the landscape's own default (1e-4 on networks), or else
        0.1 (M − 1) M · median_m(F_m − min F) / |end − start|² over the straight line.
    lr
        Adam's learning rate, which chooses that solver. None takes the landscape's own (1e-3 on networks), or
        |end − start| / (100 √D).
    objective
        ``"sum"``, Eq. (4); ``"maxflux"`` or ``"smoothmax"``, which weigh the top of the path, with β raised from
        stage to stage until the maximum falls no more. None takes the landscape's own: the sum on networks, else
        MaxFlux.
    power, offset
        Of the sum's summand.
    solver
        ``"adam"`` (Algorithm 2); ``"lbfgs-gss"`` on the scaled coefficients n·b_n; or ``"auto"``, the same at first
        on 1.5 N_F points only, each ten iterations of which count as one step, until ten of them lower L by less than
        1 % of all that was gained. None takes Adam for the sum, as the paper does, else ``"auto"``.

    Raises
    ------
    ValueError
        If options are out of range or do not go together.
    """

    def __init__(
        self,
        landscape: Any,
        n_terms: int = 10,
        n_points: int = 50,
        *,
        lam: float | None = None,
        lr: float | None = None,
        objective: str | None = None,
        power: float = 1,
        offset: float = 0.0,
        solver: str | None = None,
    ) -> None:
        n_terms, n_points = whole_number("n_terms", n_terms), whole_number("n_points", n_points)
        if n_terms < 0:
            raise ValueError(f"n_terms is {n_terms}; expected at least 0, the straight line")
        if n_points < 3:
            raise ValueError(f"n_points is {n_points}; expected at least 3, both endpoints included")
        lam, lr = (None if x is None else number(name, x) for name, x in (("lam", lam), ("lr", lr)))
        power, offset = number("power", power), number("offset", offset)
        if solver not in (None, *SOLVERS):
            raise ValueError(f"solver is {solver!r}; expected one of {', '.join(SOLVERS)}")
        if objective not in (None, *OBJECTIVES):
            raise ValueError(f"objective is {objective!r}; expected one of {', '.join(OBJECTIVES)}")
        landscape = as_landscape(landscape)
        objective = landscape.path_defaults["objective"] if objective is None else objective
        if solver is None:
            solver = "adam" if lr is not None or objective == "sum" else "auto"
        if lr is not None and solver != "adam":
            raise ValueError(f"lr belongs to the solver 'adam'; {solver!r} finds its own steps")
        for name, least_0 in (("lam", lam), ("lr", lr)):
            if least_0 is not None and least_0 < 0:
                raise ValueError(f"{name} is {least_0}; expected a number of at least 0")
        self.landscape, self.n_terms, self.n_points = landscape, n_terms, n_points
        if lam is None and objective == "sum":
            lam = landscape.path_defaults["lam"]
        self.objective, self.lr, self.solver = make_objective(objective, power, offset, lam), lr, solver

    def steps(self, start: Any, end: Any) -> Iterator[PathState]:
        """Yields the straight line, then the path after every step, without end unless the solver finds one."""
        problem = self.problem(start, end)
        return self.moves().states(problem, problem.zeros())

    def problem(
        self,
        start: Any,
        end: Any,
        basis: str = "sine",
        n_terms: int | None = None,
    ) -> PathProblem:
        """What is minimised between two points, in a family of curves."""
        n_terms = self.n_terms if n_terms is None else n_terms
        curve = Curve.of(basis, np.linspace(0, 1, self.n_points), n_terms)
        gradients = self.solver == "adam"
        return PathProblem.of(self.landscape, start, end, curve, self.objective, Meter(), with_gradients=gradients)

    def rate(self, problem: PathProblem) -> float | None:
        """Adam's learning rate; None where another solver is at work."""
        return AdamSolver(self.lr).rate(problem) if self.solver == "adam" else None

    def moves(self) -> Solver:
        """The solver, in stages where the objective has them."""
        one: Solver
        if self.solver == "adam":
            one = AdamSolver(self.lr)
        else:
            one = QuasiNewton() if self.solver == "lbfgs-gss" else FewPointsFirst()
        return Staged(one) if self.objective.staged else one


def whole_number(name: str, given: Any) -> int:
    """An option that counts something; ValueError where it is no whole number."""
    whole = np.ndim(given) == 0 and not isinstance(given, (bool, np.bool_, str, bytes))
    try:
        whole = whole and int(given) == given
    except (TypeError, ValueError, OverflowError):
        whole = False
    if not whole:
        raise ValueError(f"{name} is {given!r}; expected a whole number")
    return int(given)


def number(name: str, given: Any) -> float:
    """An option that measures something; ValueError where it is no finite number."""
    try:
        value = float("nan") if isinstance(given, (str, bytes)) or np.ndim(given) else float(given)
    except (TypeError, ValueError):
        value = float("nan")
    if not np.isfinite(value):
        raise ValueError(f"{name} is {given!r}; expected a finite number")
    return value
