"""The path methods with their options: the objective, the solver, and which path is the result.

A method is a frozen dataclass whose fields are its options. There is no other list of options: :func:`find_path`, the
command line and comparisons read the fields. To add a method, write its class and add it to :data:`METHODS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import Any, ClassVar, Self

import numpy as np

from ..landscape import PATH_DEFAULTS
from .bands import Relaxed
from .batches import has_batches
from .curve import Curve
from .meter import Meter
from .method import Choice, Method, Number, Switch, Whole, default_on, objective_on, option
from .objectives import PowerSum, SoftTop, make_objective
from .problem import PathProblem
from .record import Keeps
from .solvers import AdamSolver, FewPointsFirst, QuasiNewton, Solver
from .stages import MaximumDescent, Staged

#: Average number of images of a growing band, relative to the whole band.
GROWING = 0.75
#: Defaults on landscapes without ``path_defaults``: number of terms and of sample points with the objective sum, as in
#: the paper, and with the objectives that emphasise the maximum. Networks have those of the paper.
TERMS, POINTS = 10, 50
TERMS_TO_THE_TOP, POINTS_TO_THE_TOP = 5, 16
#: Default number of images of a band on landscapes without ``path_defaults``, both endpoints included.
IMAGES = 13

SOLVERS = ("adam", "lbfgs-gss", "auto")
OBJECTIVES = ("sum", "maxflux", "smoothmax")


def _default(with_the_sum: int, else_: int) -> str:
    return f"Default: {with_the_sum} with the objective sum, else {else_}."


_SAMPLES = "Sample points along the path, M, both endpoints included."
_POINTS = Whole(f"{_SAMPLES} {_default(POINTS, POINTS_TO_THE_TOP)}", 3, "both endpoints included")


@dataclass(frozen=True, kw_only=True, repr=False)
class _Curve(Method):
    """Curves with a number of terms, whose coefficients a solver optimises."""

    n_terms: int | None = option(
        Whole(
            "Sine terms N_F, control points of a Bézier curve, or vertices of a polyline. "
            + _default(TERMS, TERMS_TO_THE_TOP),
            0,
            "the straight line",
        )
    )
    n_points: int | None = option(_POINTS)
    objective: str | None = option(
        Choice(
            "sum (Eq. 4; the default on the paper's networks), maxflux (the default elsewhere) or smoothmax.",
            OBJECTIVES,
        )
    )
    power: float = option(Number("The sum is that of (f - offset)^power. Default: 1."), 1.0)
    offset: float = option(Number("See --power; not above the lowest value on the straight line. Default: 0."), 0.0)
    lam: float | None = option(
        Number("Weight of the squared steps. Default: 1e-4 on the paper's networks, else from the straight line.", 0)
    )
    solver: str | None = option(
        Choice(
            "adam (Algorithm 2; the default for the objective sum), lbfgs-gss, or auto (the fewest evaluations; "
            "the default elsewhere).",
            SOLVERS,
        )
    )
    lr: float | None = option(
        Number("Adam's learning rate. Default: 1e-3 on the paper's networks, else |B - A|/(100 sqrt(D)).", 0)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lr is not None and self.solver not in (None, "adam"):
            raise ValueError(f"lr belongs to the solver 'adam'; {self.solver!r} finds its own steps")
        # Options that the sum rejects are rejected with every objective.
        make_objective(self.objective or "sum", self.power, self.offset, self.lam)

    @classmethod
    def variants(cls) -> dict[str, Self]:
        """List the variants to compare: the solver with the fewest evaluations."""
        return {cls.name: cls(solver="auto")}

    def on(self, landscape: Any) -> Self:
        """Fill in the options that were not given, by the defaults of the landscape."""
        objective = default_on(landscape, "objective", self.objective, PATH_DEFAULTS["objective"])
        total = objective == "sum"
        adam = self.lr is not None or total
        return replace(
            self,
            n_terms=default_on(landscape, "n_terms", self.n_terms, TERMS if total else TERMS_TO_THE_TOP),
            n_points=default_on(landscape, "n_points", self.n_points, POINTS if total else POINTS_TO_THE_TOP),
            objective=objective,
            lam=default_on(landscape, "lam", self.lam, None) if total else self.lam,
            solver=self.solver or ("adam" if adam else "auto"),
        )

    @property
    def samples(self) -> int:
        """M, the number of sample points, once it is known."""
        assert self.n_points is not None
        return self.n_points

    def _minimised(self) -> PowerSum | SoftTop:
        assert self.objective is not None
        return make_objective(self.objective, self.power, self.offset, self.lam)

    def problem(self, landscape: Any, start: Any, end: Any, beta: float = 0.0) -> PathProblem:
        """Make the problem between two points."""
        assert self.n_terms is not None
        curve = Curve.of(self.basis, np.linspace(0, 1, self.samples), self.n_terms)
        objective = self._minimised()
        if isinstance(objective, SoftTop):
            objective = replace(objective, beta=beta)
        first = self.solver == "adam" or (isinstance(self.moves(), MaximumDescent) and not has_batches(landscape))
        return PathProblem.of(landscape, start, end, curve, objective, Meter(), with_gradients=first)

    def moves(self) -> Solver:
        """Make the solver, in stages for an objective that has stages."""
        staged, one = self._minimised().staged, self._one()
        if staged and isinstance(one, FewPointsFirst):
            return MaximumDescent()
        return Staged(one) if staged else one

    def _one(self) -> Solver:
        if self.solver == "adam":
            return AdamSolver(self.lr)
        return QuasiNewton() if self.solver == "lbfgs-gss" else FewPointsFirst()

    @property
    def keeps(self) -> Keeps:
        """The path of lowest L, or of lowest maximum where there are stages."""
        return Keeps.STAGES if self._minimised().staged else Keeps.LOWEST

    def steps_on(self, landscape: Any) -> Any:
        """Return the default number of Adam iterations of the landscape."""
        return landscape.path_defaults.get("steps") if self.solver == "adam" else None

    def metadata(self, problem: PathProblem) -> dict[str, Any]:
        """Collect the options, with the values of λ and the learning rate that were used."""
        lr = AdamSolver(self.lr).rate(problem) if self.solver == "adam" else None
        return {**super().metadata(problem), "lam": problem.objective.lam, "lr": lr}


@dataclass(frozen=True, kw_only=True, repr=False)
class Fourier(_Curve):
    r"""Paths as a straight line plus a sine series: the FourierPathFinder of the paper (Eqs. 3 and 4, Algorithm 2).

    Parameters
    ----------
    n_terms
        Number of sine terms N_F; 0 is the straight line. None takes the landscape's default: 10 on the paper's
        networks, and elsewhere 10 with the objective sum, 5 with others.
    n_points
        Number of sample points M, both endpoints included. None takes the landscape's default: 50 on the paper's
        networks, and elsewhere 50 with the objective sum, 16 with others.
    objective
        ``"sum"``, Eq. (4); or ``"maxflux"`` or ``"smoothmax"``, which emphasise the maximum of the path: their inverse
        temperature β is raised in stages until the maximum no longer decreases. None takes the default of the
        landscape: the sum on the paper's networks, MaxFlux elsewhere.
    power, offset
        Exponent and offset of the summand of the sum, F = (f − offset)^power.
    lam
        Weight λ of the sum. None takes the default of the landscape (1e-4 on the paper's networks), or elsewhere
        0.1 (M − 1) M · median_m(F_m − min F) / |end − start|² on the straight line.
    solver
        ``"adam"`` (Algorithm 2), ``"lbfgs-gss"`` on the scaled coefficients n·b_n, or ``"auto"``, which takes the
        fewest evaluations. None takes Adam for the sum, as in the paper, and ``"auto"`` for other objectives.
    lr
        Learning rate of Adam; it implies that solver. None takes the landscape's default (1e-3 on the paper's
        networks), or elsewhere |end − start| / (100 √D).

    Raises
    ------
    ValueError
        If options are out of range or contradict each other.

    Notes
    -----
    The path, with coefficients b_n, is

    .. math:: \omega(t) = (1 - t)\, \omega_0 + t\, \omega_1 + \sum_{n=1}^{N_F} b_n \sin(n \pi t).

    A search minimises over b, at M equally spaced t_m,

    .. math:: L = \sum_m F(\omega(t_m)) + \lambda \sum_m |\omega(t_{m+1}) - \omega(t_m)|^2,

    or another objective of the values and of the lengths of the segments.

    With the sum, the solver ``"auto"`` runs L-BFGS-GSS first on 1.5 N_F points, ten iterations being recorded as one,
    until ten of them lower L by less than 1 % of the total decrease; then on all points. Between networks over 400
    images or more, the first stage is Adam instead, at six random points of the path, each with a mini-batch of 8 to
    64 images, in rounds that are recorded as one step each. The first draws more points where the path is high, and
    ends when a running estimate of the barrier is 0.4 % of the straight line's, after 60 to 660 iterations; the next
    have 960, 1,920, … iterations. Another round follows one that took a fifth off what L lies above that of the
    endpoints, or half if it costs more than a gradient of L, and if it fits the budget. Without a budget none that
    costs so much follows the third. If sample points of the path of lowest L miss its barrier, the result is the path
    after the last round, where that has the lower maximum.

    With MaxFlux and the smooth maximum ``"auto"`` takes L-BFGS steps that move no point by more than a tenth of the
    distance between the endpoints. Once β is large enough for the maximum to dominate, it lowers the maximum itself,
    with one or two gradients per iteration.

    Examples
    --------
    >>> import minilandscape as ml
    >>> from minilandscape.potentials import MullerBrown
    >>> land = MullerBrown()
    >>> path = ml.find_path(land, *land.minima[:2], ml.Fourier(n_terms=6, n_points=20))
    >>> round(path.maximum, 2)
    -40.66
    """

    name: ClassVar[str] = "fourier"
    basis: ClassVar[str] = "sine"

    @classmethod
    def variants(cls) -> dict[str, Self]:
        """List the variants to compare: one for each solver."""
        return {f"{cls.name}, {solver}": cls(solver=solver) for solver in SOLVERS}


@dataclass(frozen=True, kw_only=True, repr=False)
class Bezier(_Curve):
    r"""Paths as Bézier curves (Garipov et al., 2018).

    Parameters
    ----------
    n_terms
        Number of control points between the endpoints.
    n_points, objective, power, offset, lam, solver, lr
        As for :class:`Fourier`.

    Notes
    -----
    With N control points θ_k between the endpoints θ_0 and θ_{N+1},

    .. math:: \omega(t) = \sum_{k=0}^{N+1} \binom{N+1}{k} t^k (1 - t)^{N+1-k}\, \theta_k.

    References
    ----------
    .. [1] T. Garipov et al., "Loss surfaces, mode connectivity, and fast ensembling of DNNs", NeurIPS (2018).

    Examples
    --------
    >>> import minilandscape as ml
    >>> from minilandscape.potentials import MullerBrown
    >>> land = MullerBrown()
    >>> path = ml.find_path(land, *land.minima[:2], ml.Bezier(n_terms=4))
    >>> round(path.maximum, 2)
    -40.66
    """

    name: ClassVar[str] = "bezier"
    basis: ClassVar[str] = "bernstein"


@dataclass(frozen=True, kw_only=True, repr=False)
class Polyline(_Curve):
    """Piecewise-linear paths (the polygonal chains of Garipov et al., 2018).

    Parameters
    ----------
    n_terms
        Number of vertices between the endpoints, at equally spaced t.
    n_points, objective, power, offset, lam, solver, lr
        As for :class:`Fourier`.

    Examples
    --------
    >>> import minilandscape as ml
    >>> from minilandscape.potentials import MullerBrown
    >>> land = MullerBrown()
    >>> path = ml.find_path(land, *land.minima[:2], ml.Polyline(n_terms=6))
    >>> round(path.maximum, 2)
    -40.66
    """

    name: ClassVar[str] = "polyline"
    basis: ClassVar[str] = "hat"


@dataclass(frozen=True, kw_only=True, repr=False)
class Linear(Method):
    """The straight line between the endpoints, which is evaluated without a search.

    Parameters
    ----------
    n_points
        Number of sample points M, both endpoints included. None takes the default of the landscape, else 50.

    Examples
    --------
    >>> import minilandscape as ml
    >>> from minilandscape.potentials import MullerBrown
    >>> land = MullerBrown()
    >>> path = ml.find_path(land, *land.minima[:2], ml.Linear())
    >>> round(path.maximum, 2)
    12.68
    """

    name: ClassVar[str] = "linear"
    basis: ClassVar[str] = "sine"
    searches: ClassVar[bool] = False

    n_points: int | None = option(_POINTS)

    def on(self, landscape: Any) -> Self:
        """Fill in the number of sample points by the default of the landscape."""
        return replace(self, n_points=default_on(landscape, "n_points", self.n_points, POINTS))

    @property
    def samples(self) -> int:
        """M, the number of sample points, once it is known."""
        assert self.n_points is not None
        return self.n_points

    def problem(self, landscape: Any, start: Any, end: Any, beta: float = 0.0) -> PathProblem:
        """Make the problem of the straight line, with the default objective of the landscape."""
        curve = Curve.of(self.basis, np.linspace(0, 1, self.samples), 0)
        return PathProblem.of(landscape, start, end, curve, objective_on(landscape), Meter())


@dataclass(frozen=True, kw_only=True, repr=False)
class _Band(Method):
    """Nudged elastic bands, whose images move along projected forces: there is no objective."""

    basis: ClassVar[str] = "hat"
    synonyms: ClassVar[Mapping[str, str]] = {"n_points": "images"}
    #: Whether images are inserted where the values of neighbours differ most.
    grows: ClassVar[bool] = False

    images: int | None = option(
        Whole(
            f"Images of a band (neb, autoneb), both endpoints included. Default: {IMAGES}.",
            3,
            "both endpoints included",
        )
    )
    climb: bool = option(
        Switch("Whether the highest image of a relaxed band climbs to the saddle. Default: yes."), True
    )

    def on(self, landscape: Any) -> Self:
        """Fill in the number of images by the default of the landscape."""
        return replace(self, images=default_on(landscape, "images", self.images, IMAGES))

    @property
    def samples(self) -> int:
        """The number of images, once it is known."""
        assert self.images is not None
        return self.images

    def problem(self, landscape: Any, start: Any, end: Any, beta: float = 0.0) -> PathProblem:
        """Make the problem of the piecewise-linear path, with the straight line, in whose units forces are measured."""
        curve = Curve.of(self.basis, np.linspace(0, 1, self.samples), self.samples - 2)
        return PathProblem.of(landscape, start, end, curve, objective_on(landscape), Meter()).with_line()

    def moves(self) -> Solver:
        """Make the solver: L-BFGS on all images together."""
        return Relaxed(grows=self.grows, climb=self.climb)

    @property
    def keeps(self) -> Keeps:
        """The band of the last iteration."""
        return Keeps.LAST

    def planned(self, last: int | None, budget: int | None) -> int | None:
        """Plan the number of iterations within a budget; a band may relax in half of them."""
        if budget is None:
            return last
        paid = ceil(budget / (GROWING if self.grows else 1) / (self.samples - 2))
        return min(self.moves().most_steps if last is None else last, paid)


@dataclass(frozen=True, kw_only=True, repr=False)
class Neb(_Band):
    r"""The nudged elastic band (NEB) with improved tangents and a climbing image, relaxed by L-BFGS.

    Parameters
    ----------
    images
        Number of NEB images, both endpoints included. None takes the default of the landscape, else 13.
    climb
        Whether the highest image climbs to the saddle once the band is relaxed. Else the maximum is that of the
        piecewise-linear path through the images.

    Notes
    -----
    The force on image i, with tangent τ_i and spring constant k, is

    .. math:: F_i = -\nabla f(x_i) + (\nabla f(x_i) \cdot \tau_i)\, \tau_i
              + k\, (|x_{i+1} - x_i| - |x_i - x_{i-1}|)\, \tau_i;

    that on the climbing image is :math:`-\nabla f + 2 (\nabla f \cdot \tau)\, \tau`.

    References
    ----------
    .. [1] G. Henkelman and H. Jónsson, "Improved tangent estimate in the nudged elastic band method", J. Chem. Phys.
       113, 9978 (2000).
    .. [2] G. Henkelman, B. P. Uberuaga and H. Jónsson, "A climbing image nudged elastic band method", J. Chem. Phys.
       113, 9901 (2000).

    Examples
    --------
    >>> import minilandscape as ml
    >>> from minilandscape.potentials import MullerBrown
    >>> land = MullerBrown()
    >>> path = ml.find_path(land, *land.minima[:2], ml.Neb(images=9))
    >>> round(path.maximum, 2)
    -40.66
    """

    name: ClassVar[str] = "neb"


@dataclass(frozen=True, kw_only=True, repr=False)
class AutoNeb(_Band):
    """A nudged elastic band that starts with three images and inserts others where neighbours differ most (AutoNEB).

    Parameters
    ----------
    images, climb
        As for :class:`Neb`; ``images`` is the final number.

    References
    ----------
    .. [1] E. L. Kolsbjerg, M. N. Groves and B. Hammer, "An automated nudged elastic band method", J. Chem. Phys. 145,
       094107 (2016).
    .. [2] F. Draxler et al., "Essentially no barriers in neural network energy landscape", ICML (2018).

    Examples
    --------
    >>> import minilandscape as ml
    >>> from minilandscape.potentials import MullerBrown
    >>> land = MullerBrown()
    >>> path = ml.find_path(land, *land.minima[:2], ml.AutoNeb(images=9))
    >>> round(path.maximum, 2)
    -40.66
    """

    name: ClassVar[str] = "autoneb"
    grows: ClassVar[bool] = True


#: All methods by name, for everything that lists methods or their options.
METHODS: dict[str, type[Method]] = {each.name: each for each in (Fourier, Linear, Bezier, Polyline, Neb, AutoNeb)}
