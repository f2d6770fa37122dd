"""The path methods, each with its own options: what a search minimises, how it moves, and which path it keeps.

A method is a frozen dataclass. Its fields are its options, and there is no other list of them: :func:`find_path`, the
command line and a comparison of methods ask the objects. To add a method, write its class and its line in
:data:`METHODS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import Any, ClassVar, Self

import numpy as np

from ..landscape import PATH_DEFAULTS
from .bands import Relaxed
from .curve import Curve
from .meter import Meter
from .method import Choice, Method, Number, Switch, Whole, objective_on, option, own_default
from .objectives import PowerSum, SoftTop, make_objective
from .problem import PathProblem
from .record import Keeps
from .solvers import AdamSolver, FewPointsFirst, QuasiNewton, Solver
from .stages import Staged, ToTheTop

#: A growing band has this part of its images on average.
GROWING = 0.75
#: The defaults of a landscape that says nothing of its own: terms of a curve, and sample points along it, with the sum,
#: as in the paper, and with an objective that weighs the top of the path. Networks have those of the paper in their
#: ``path_defaults``.
TERMS, POINTS = 10, 50
TERMS_TO_THE_TOP, POINTS_TO_THE_TOP = 5, 16
#: The default of bands on every landscape that says nothing of its own, both endpoints included.
IMAGES = 13

SOLVERS = ("adam", "lbfgs-gss", "auto")
OBJECTIVES = ("sum", "maxflux", "smoothmax")


def _default(with_the_sum: int, else_: int) -> str:
    return f"Default: {with_the_sum} with the objective sum, else {else_}."


_SAMPLES = "Sample points along the path, M, both endpoints included."
_POINTS = Whole(f"{_SAMPLES} {_default(POINTS, POINTS_TO_THE_TOP)}", 3, "both endpoints included")


@dataclass(frozen=True, kw_only=True, repr=False)
class _Curve(Method):
    """Curves with terms, whose coefficients a solver moves."""

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
        Choice("sum (Eq. 4; the default on networks), maxflux (the default elsewhere) or smoothmax.", OBJECTIVES)
    )
    power: float = option(Number("The sum is that of (f - offset)^power. Default: 1."), 1.0)
    offset: float = option(Number("See --power; not above the lowest value on the straight line. Default: 0."), 0.0)
    lam: float | None = option(
        Number("Weight of the squared steps. Default: 1e-4 on networks, else from the straight line.", 0)
    )
    solver: str | None = option(
        Choice(
            "adam (Algorithm 2; the default for the objective sum), lbfgs-gss, or auto (the fewest evaluations; "
            "the default elsewhere).",
            SOLVERS,
        )
    )
    lr: float | None = option(Number("Adam's learning rate. Default: 1e-3 on networks, else |B - A|/(100 sqrt(D)).", 0))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lr is not None and self.solver not in (None, "adam"):
            raise ValueError(f"lr belongs to the solver 'adam'; {self.solver!r} finds its own steps")
        # What the sum refuses, every objective does.
        make_objective(self.objective or "sum", self.power, self.offset, self.lam)

    @classmethod
    def variants(cls) -> dict[str, Self]:
        """With the solver that takes the fewest evaluations."""
        return {cls.name: cls(solver="auto")}

    def on(self, landscape: Any) -> Self:
        """The same method, every option that was left open chosen by the landscape."""
        objective = own_default(landscape, "objective", self.objective, PATH_DEFAULTS["objective"])
        total = objective == "sum"
        adam = self.lr is not None or total
        return replace(
            self,
            n_terms=own_default(landscape, "n_terms", self.n_terms, TERMS if total else TERMS_TO_THE_TOP),
            n_points=own_default(landscape, "n_points", self.n_points, POINTS if total else POINTS_TO_THE_TOP),
            objective=objective,
            lam=own_default(landscape, "lam", self.lam, None) if total else self.lam,
            solver=self.solver or ("adam" if adam else "auto"),
        )

    @property
    def samples(self) -> int:
        """M, once it is chosen."""
        assert self.n_points is not None
        return self.n_points

    def _minimised(self) -> PowerSum | SoftTop:
        assert self.objective is not None
        return make_objective(self.objective, self.power, self.offset, self.lam)

    def problem(self, landscape: Any, start: Any, end: Any, beta: float = 0.0) -> PathProblem:
        """What is minimised between two points."""
        assert self.n_terms is not None
        curve = Curve.of(self.basis, np.linspace(0, 1, self.samples), self.n_terms)
        objective = self._minimised()
        if isinstance(objective, SoftTop):
            objective = replace(objective, beta=beta)
        first = self.solver == "adam" or isinstance(self.moves(), ToTheTop)
        return PathProblem.of(landscape, start, end, curve, objective, Meter(), with_gradients=first)

    def moves(self) -> Solver:
        """The solver, in stages where the objective has them."""
        staged, one = self._minimised().staged, self._one()
        if staged and isinstance(one, FewPointsFirst):
            return ToTheTop()
        return Staged(one) if staged else one

    def _one(self) -> Solver:
        if self.solver == "adam":
            return AdamSolver(self.lr)
        return QuasiNewton() if self.solver == "lbfgs-gss" else FewPointsFirst()

    @property
    def keeps(self) -> Keeps:
        """The path with the lowest L, or of the lowest maximum of all stages."""
        return Keeps.STAGES if self._minimised().staged else Keeps.LOWEST

    def steps_on(self, landscape: Any) -> Any:
        """The landscape's own number of Adam steps."""
        return landscape.path_defaults.get("steps") if self.solver == "adam" else None

    def metadata(self, problem: PathProblem) -> dict[str, Any]:
        """The options, λ and the learning rate as they were used."""
        lr = AdamSolver(self.lr).rate(problem) if self.solver == "adam" else None
        return {**super().metadata(problem), "lam": problem.objective.lam, "lr": lr}


@dataclass(frozen=True, kw_only=True, repr=False)
class Fourier(_Curve):
    """Paths ω(t) = (1 − t) start + t end + Σ_n b_n sin(nπt) (Eq. 3), the paper's.

    A search minimises L over b at M equally spaced t: Σ_m F_m + λ Σ_m |ω(t_{m+1}) − ω(t_m)|² with
    F = (f − offset)^power, or another objective of the values and the steps between them.

    Parameters
    ----------
    n_terms
        N_F; 0 leaves the straight line. None takes the landscape's own: 10 on networks. Elsewhere it is 10 with the
        sum, else 5.
    n_points
        M, both endpoints included. None takes the landscape's own: 50 on networks. Elsewhere it is 50 with the sum,
        else 16.
    objective
        ``"sum"``, Eq. (4); ``"maxflux"`` or ``"smoothmax"``, which weigh the top of the path, with β raised from
        stage to stage until the maximum falls no more. None takes the landscape's own: the sum on networks, else
        MaxFlux.
    power, offset
        Of the sum's summand.
    lam
        λ of the sum. None takes the landscape's own (1e-4 on networks), or else
        0.1 (M − 1) M · median_m(F_m − min F) / |end − start|² over the straight line.
    solver
        ``"adam"`` (Algorithm 2); ``"lbfgs-gss"`` on the scaled coefficients n·b_n; or ``"auto"``. With the sum that is
        the same at first on 1.5 N_F points only, each ten iterations of which count as one step, until ten of them
        lower L by less than 1 % of all that was gained. With MaxFlux and the smooth maximum it takes L-BFGS steps
        bounded by a tenth of the distance between the endpoints, and once β tells the top of the path from the rest
        it lowers the maximum itself, with one or two gradients a step. None takes Adam for the sum, as the paper does,
        else ``"auto"``.
    lr
        Adam's learning rate, which chooses that solver. None takes the landscape's own (1e-3 on networks), or
        |end − start| / (100 √D).

    Raises
    ------
    ValueError
        If options are out of range or do not go together.

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
        """With each solver."""
        return {f"{cls.name}, {solver}": cls(solver=solver) for solver in SOLVERS}


@dataclass(frozen=True, kw_only=True, repr=False)
class Bezier(_Curve):
    """Bézier curves (Garipov et al., 2018).

    Parameters
    ----------
    n_terms
        Control points between the endpoints.
    n_points, objective, power, offset, lam, solver, lr
        As of :class:`Fourier`.
    """

    name: ClassVar[str] = "bezier"
    basis: ClassVar[str] = "bernstein"


@dataclass(frozen=True, kw_only=True, repr=False)
class Polyline(_Curve):
    """Piecewise-linear paths (the polygonal chains of Garipov et al., 2018).

    Parameters
    ----------
    n_terms
        Vertices between the endpoints.
    n_points, objective, power, offset, lam, solver, lr
        As of :class:`Fourier`.
    """

    name: ClassVar[str] = "polyline"
    basis: ClassVar[str] = "hat"


@dataclass(frozen=True, kw_only=True, repr=False)
class Linear(Method):
    """The straight line between the endpoints; nothing is searched.

    Parameters
    ----------
    n_points
        M, both endpoints included. None takes the landscape's own: 50 on networks.
    """

    name: ClassVar[str] = "linear"
    basis: ClassVar[str] = "sine"
    searches: ClassVar[bool] = False

    n_points: int | None = option(_POINTS)

    def on(self, landscape: Any) -> Self:
        """The same, its number of points chosen by the landscape where it was left open."""
        return replace(self, n_points=own_default(landscape, "n_points", self.n_points, POINTS))

    @property
    def samples(self) -> int:
        """M, once it is chosen."""
        assert self.n_points is not None
        return self.n_points

    def problem(self, landscape: Any, start: Any, end: Any, beta: float = 0.0) -> PathProblem:
        """The straight line, and the landscape's own objective on it."""
        curve = Curve.of(self.basis, np.linspace(0, 1, self.samples), 0)
        return PathProblem.of(landscape, start, end, curve, objective_on(landscape), Meter())


@dataclass(frozen=True, kw_only=True, repr=False)
class _Band(Method):
    """Nudged elastic bands, whose images move by forces of their own: there is no objective."""

    basis: ClassVar[str] = "hat"
    synonyms: ClassVar[Mapping[str, str]] = {"n_points": "images"}
    #: Whether images are inserted where the band is worst.
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
        """The same, its number of images chosen by the landscape where it was left open."""
        return replace(self, images=own_default(landscape, "images", self.images, IMAGES))

    @property
    def samples(self) -> int:
        """The images, once they are chosen."""
        assert self.images is not None
        return self.images

    def problem(self, landscape: Any, start: Any, end: Any, beta: float = 0.0) -> PathProblem:
        """The images' piecewise-linear path, and the straight line, in whose units forces are measured."""
        curve = Curve.of(self.basis, np.linspace(0, 1, self.samples), self.samples - 2)
        return PathProblem.of(landscape, start, end, curve, objective_on(landscape), Meter()).with_line()

    def moves(self) -> Solver:
        """L-BFGS on all images at once."""
        return Relaxed(grows=self.grows, climb=self.climb)

    @property
    def keeps(self) -> Keeps:
        """The last band."""
        return Keeps.LAST

    def planned(self, last: int | None, budget: int | None) -> int | None:
        """Steps, half of which a band may take to relax: no more than the budget pays for."""
        if budget is None:
            return last
        paid = ceil(budget / (GROWING if self.grows else 1) / (self.samples - 2))
        return min(self.moves().most_steps if last is None else last, paid)


@dataclass(frozen=True, kw_only=True, repr=False)
class Neb(_Band):
    """The nudged elastic band, with improved tangents and a climbing image (Henkelman et al., 2000), relaxed by L-BFGS.

    Parameters
    ----------
    images
        Both endpoints included. None takes the landscape's own.
    climb
        Whether the highest image climbs to the saddle, once the band is relaxed. Without it the maximum of the band is
        that of the piecewise-linear path through its images.

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
    """A band that begins with three images and inserts others where it is worst (Kolsbjerg et al., 2016).

    Draxler et al. (2018) use it on networks.

    Parameters
    ----------
    images, climb
        As of :class:`Neb`; the images are those that it ends with.
    """

    name: ClassVar[str] = "autoneb"
    grows: ClassVar[bool] = True


#: By name. Everything that lists methods or their options reads this.
METHODS: dict[str, type[Method]] = {each.name: each for each in (Fourier, Linear, Bezier, Polyline, Neb, AutoNeb)}
