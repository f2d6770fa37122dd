"""Saddle search by eigenvector following: quasi-Newton steps to a point with one negative eigenvalue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ..landscape import LandscapeError
from .model import Model
from .spectrum import softest_mode
from .surface import UNSEEN, Surface

#: Largest component of the first step, and of any step, relative to that of the displacement between the endpoints.
FIRST_TRUST, MOST_TRUST = 0.05, 0.1
#: Finite-difference step for a curvature, relative to the distance between the endpoints.
APART = 1e-3
#: Evaluations between two measurements of a curvature where the model has no negative eigenvalue or several.
LOOKS = 8
#: A step is rejected if the gradient norm grows by the first factor and the relative error of its predicted change is
#: above the second; the trust radius may grow if that error is below the third.
WORSE, WRONG, GOOD = 2.0, 1.0, 0.5
#: Where half as many steps as a search waits have not lowered the gradient norm, the trust radius may grow too if the
#: error is below this fraction of the gradient: along a soft valley, changes are as small as the errors of stiff modes.
SMALL = 0.1
#: If this many steps (half the number of coordinates, within these bounds) have not lowered the gradient norm by 10 %,
#: the softest mode is computed again, at most this many times.
STALLS, MOST_STALLS, LESSONS = 50, 500, 4
#: Largest number of steps.
MOST_STEPS = 3000
#: Smallest trust radius, relative to the unit of steps.
LEAST_TRUST = 1e-13


@dataclass(frozen=True)
class Seen:
    """A point with its value and gradient.

    Attributes
    ----------
    x, value, whole
        (D,): the point; f and its full gradient there.
    zero
        (Z, D): the zero modes there.
    g
        (D,): the gradient without its components along zero modes.
    """

    x: np.ndarray
    value: float
    whole: np.ndarray
    zero: np.ndarray
    g: np.ndarray

    @classmethod
    def at(cls, surface: Surface, x: np.ndarray) -> Seen:
        """Evaluate x; values that are not finite are kept."""
        value, gradient = surface.value_and_gradient(x)
        return cls.of(surface, x, value, gradient)

    @classmethod
    def of(cls, surface: Surface, x: np.ndarray, value: float, gradient: np.ndarray) -> Seen:
        """Make it of a value and a gradient that were evaluated before."""
        zero = surface.zero_modes(x)
        return cls(x, value, gradient, zero, gradient - zero.T @ (zero @ gradient))

    @property
    def finite(self) -> bool:
        """Whether value and gradient are finite."""
        return bool(np.isfinite(self.value) and np.isfinite(self.whole).all())


@dataclass
class SaddleSearch:
    """The state of a saddle search.

    Attributes
    ----------
    here
        The current point.
    model
        The quadratic model of the surface.
    followed
        (D,): the mode that is followed uphill.
    reach
        The largest component of the displacement between the endpoints, the unit of steps.
    small
        Threshold of the gradient norm, as a function of the value.
    strict
        Whether the threshold applies whatever the noise.
    highest
        The search fails above this value.
    leash
        The search fails if a component has moved by more than this.
    """

    surface: Surface
    here: Seen
    followed: np.ndarray
    reach: float
    small: Callable[[float], float]
    strict: bool = False
    highest: float = float("inf")
    leash: float = float("inf")
    model: Model = field(init=False)
    trust: float = field(init=False)
    looked: int = field(init=False, default=-LOOKS)
    origin: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.origin = self.here.x
        self.trust = FIRST_TRUST * self.reach

    @property
    def residual(self) -> float:
        """The gradient norm at the current point: largest absolute component, or largest force."""
        return self.surface.residual(self.here.g)

    @property
    def tolerance(self) -> float:
        """The threshold of the gradient norm at the current point, at least the limit set by the noise."""
        asked = self.small(self.here.value)
        return asked if self.strict else max(asked, self.surface.unseen)

    @property
    def noise(self) -> float:
        """The standard deviation of the noisiest gradient component; NaN before it is measured."""
        return float("nan") if self.surface.noise is None else self.surface.noise.gradient_largest

    @property
    def within_noise(self) -> bool:
        """Whether the noise sets the threshold at the current point."""
        return self.tolerance > self.small(self.here.value)

    @property
    def at_noise(self) -> bool:
        """Whether the threshold does not exceed the limit set by the noise."""
        return self.tolerance <= self.surface.unseen

    @property
    def arrived(self) -> bool:
        """Whether the gradient norm is below its threshold."""
        return self.residual <= self.tolerance

    def begin(self, *, softest: bool) -> None:
        """Measure the curvature along the followed mode; without a better guess, along the softest mode."""
        here = self.here
        along = self.followed - here.zero.T @ (here.zero @ self.followed)
        self.followed = along / (float(np.linalg.norm(along)) or 1.0)
        self.model = self._difference(None)
        if softest:
            mode, self.model = softest_mode(self.surface, here.x, here.whole, here.zero, self.model, self.followed)
            self.followed = mode

    def _difference(self, model: Model | None, along: np.ndarray | None = None) -> Model:
        """Update the model by the change of the gradient along a direction."""
        assert self.surface.scale is not None
        along = self.followed if along is None else along
        step = APART * self.surface.scale * along
        for side in (1, -1):
            beside = Seen.at(self.surface, self.here.x + side * step)
            if beside.finite:
                change = side * (beside.g - self.here.g)
                return Model.of(step, change) if model is None else model.updated(step, change)
        raise LandscapeError("the landscape cannot be evaluated next to it", self.here.x)

    def run(self) -> str | None:
        """Step until the gradient norm is below its threshold; return the reason why it is not, or None."""
        least, stalled, learnt = float("inf"), 0, 0
        patience = min(max(STALLS, self.here.x.size // 2), MOST_STALLS)
        for _ in range(MOST_STEPS):
            if self.arrived:
                return None
            if self.residual < 0.9 * least:
                least, stalled = self.residual, 0
            stalled += 1
            try:
                if stalled > patience or self.trust < LEAST_TRUST * self.reach:
                    if learnt == LESSONS:
                        break
                    learnt, stalled = learnt + 1, 0
                    self._learn_again()
                else:
                    self._step(in_a_valley=stalled > patience // 2)
            except (LandscapeError, np.linalg.LinAlgError) as error:
                return f"the Hessian at a gradient of {self.residual:.3g} could not be examined: {error}"
            if float(np.abs(self.here.x - self.origin).max()) > self.leash:
                return f"the saddle search has left the path, at a gradient norm of {self.residual:.3g}"
            if self.here.value > self.highest:
                return (
                    f"the saddle search has risen to {self.here.value:.6g}, far above its start, which is not near a "
                    "saddle: atoms may overlap there. Match identical atoms of the endpoints, or find a path of lower "
                    "maximum first"
                )
        return self.stopped()

    def stopped(self) -> str:
        """Describe the point at which the search stopped."""
        noise = self.surface.noise
        blurred = ""
        if noise is not None and self.tolerance < noise.gradient_largest:
            blurred = f", below the noise of the gradient, {noise.gradient_largest:.3g}"
        return (
            f"the saddle search stopped at a value of {self.here.value:.6g}, gradient norm {self.residual:.3g}; "
            f"expected {self.tolerance:.3g}{blurred}"
        )

    def _learn_again(self) -> None:
        """Measure the noise, which may be why the gradient norm stalls; else compute the softest mode again."""
        here = self.here
        self.surface.measure(here.x, here.value, here.whole)
        if not self.arrived:
            self.trust = FIRST_TRUST * self.reach
            mode, self.model = softest_mode(
                self.surface, here.x, here.whole, here.zero, self._difference(None), self.followed
            )
            self.followed = mode

    def _step(self, in_a_valley: bool) -> None:
        """Take one step, or reduce the trust radius."""
        self._look_again()
        values, vectors = self.model.modes
        up = vectors[0] if (values < 0).sum() == 1 else vectors[int(np.argmax(np.abs(vectors @ self.followed)))]
        step = self.model.step(self.here.g, self.trust, up)
        there = Seen.at(self.surface, self.here.x + step)
        size = float(np.abs(step).max())
        if not there.finite:
            self.trust = 0.3 * size
            return
        change, expected = there.g - self.here.g, self.model.times(step)
        error = float(np.linalg.norm(change - expected))
        wrong = error / float(np.linalg.norm(expected))
        good = wrong < GOOD or (in_a_valley and error < SMALL * float(np.linalg.norm(self.here.g)))
        if float(np.linalg.norm(change)) > self._noisy_change:
            self.model = self.model.updated(step, change)
        if self.surface.residual(there.g) > WORSE * self.residual and wrong > WRONG:
            self.trust = 0.3 * size
            return
        if size > 0.9 * self.trust and good:
            self.trust = min(1.5 * self.trust, MOST_TRUST * self.reach)
        self.here, self.followed = there, up

    @property
    def _noisy_change(self) -> float:
        """The norm of a change of the gradient that may be noise; 0 before the noise is measured."""
        noise = self.surface.noise
        return 0.0 if noise is None else UNSEEN * noise.gradient * noise.size**0.5

    def _look_again(self) -> None:
        """Measure a curvature where the model has no negative eigenvalue or several."""
        values, vectors = self.model.modes
        count = self.surface.evaluations.gradients
        if (values < 0).sum() == 1 or count - self.looked <= LOOKS or self.model.count < 2:
            return
        self.looked = count
        k = int(np.argmax(np.abs(vectors @ self.followed)))
        if (values < 0).any():  # another mode than the followed one
            k = int(k == 0)
        self.model = self._difference(self.model, vectors[k])
