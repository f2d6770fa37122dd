"""The climb to a stationary point with one negative curvature, by quasi-Newton steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ..landscape import LandscapeError
from .model import Model
from .spectrum import softest_mode
from .surface import UNSEEN, Surface

#: The largest component of the first step, and of any step, as parts of that of the displacement of the ends.
FIRST_TRUST, MOST_TRUST = 0.05, 0.1
#: The distance between gradients that are subtracted to learn a curvature, as a part of the distance of the ends.
APART = 1e-3
#: Steps between two looks at a curvature, where the model has none or several that are negative.
LOOKS = 8
#: A step is taken back where the gradient grows by so many times and the model was wrong about its change by more than
#: this part of it; steps may be longer where it was wrong by less than that.
WORSE, WRONG, GOOD = 2.0, 1.0, 0.5
#: Where so many steps (half the number of coordinates, within these bounds) have not lowered the residual by a tenth,
#: the softest mode is learnt anew, so many times at most.
STALLS, MOST_STALLS, LESSONS = 50, 500, 4
#: Steps in all.
MOST_STEPS = 3000
#: The least trust, as a part of the first.
LEAST_TRUST = 1e-13


@dataclass(frozen=True)
class Seen:
    """A point and what was evaluated there.

    Attributes
    ----------
    x, value, whole
        (D,), f, and its gradient.
    zero
        (Z, D): the zero modes there.
    g
        The gradient without them.
    """

    x: np.ndarray
    value: float
    whole: np.ndarray
    zero: np.ndarray
    g: np.ndarray

    @classmethod
    def at(cls, surface: Surface, x: np.ndarray) -> Seen:
        """Evaluates x; what is not finite stays so."""
        value, gradient = surface.value_and_gradient(x)
        return cls.of(surface, x, value, gradient)

    @classmethod
    def of(cls, surface: Surface, x: np.ndarray, value: float, gradient: np.ndarray) -> Seen:
        """Takes what was evaluated."""
        zero = surface.zero_modes(x)
        return cls(x, value, gradient, zero, gradient - zero.T @ (zero @ gradient))

    @property
    def finite(self) -> bool:
        """Whether x is no wall."""
        return bool(np.isfinite(self.value) and np.isfinite(self.whole).all())


@dataclass
class Climb:
    """A climb on its way.

    Attributes
    ----------
    here
        Where it is.
    model
        What is known of the curvatures.
    followed
        (D,): the mode that is climbed.
    reach
        The largest component of the displacement of the ends, which steps are measured by.
    small
        The residual that is small at a point of some value.
    strict
        Whether that holds whatever the noise.
    highest
        A climb above this value has lost its way.
    leash
        So has one that has moved a component by more than this.
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
        """How large the gradient is here."""
        return self.surface.residual(self.here.g)

    @property
    def tolerance(self) -> float:
        """The residual that is small here: what was asked for, but no less than the noise lets be seen."""
        asked = self.small(self.here.value)
        return asked if self.strict else max(asked, self.surface.unseen)

    @property
    def noise(self) -> float:
        """That of the noisiest component of the gradient; NaN until it was measured."""
        return float("nan") if self.surface.noise is None else self.surface.noise.gradient_largest

    @property
    def within_noise(self) -> bool:
        """Whether the noise, not what was asked for, sets the residual that is small here."""
        return self.tolerance > self.small(self.here.value)

    @property
    def at_noise(self) -> bool:
        """Whether the residual that counts as small is no larger than what the noise lets be seen."""
        return self.tolerance <= self.surface.unseen

    @property
    def arrived(self) -> bool:
        """Whether the residual is small."""
        return self.residual <= self.tolerance

    def begin(self, *, softest: bool) -> None:
        """Learns the curvature along the mode that is followed; or, without a better guess, along the softest one."""
        here = self.here
        along = self.followed - here.zero.T @ (here.zero @ self.followed)
        self.followed = along / (float(np.linalg.norm(along)) or 1.0)
        self.model = self._difference(None)
        if softest:
            mode, self.model = softest_mode(self.surface, here.x, here.whole, here.zero, self.model, self.followed)
            self.followed = mode

    def _difference(self, model: Model | None, along: np.ndarray | None = None) -> Model:
        """The model that knows the change of the gradient along a direction from here."""
        assert self.surface.scale is not None
        along = self.followed if along is None else along
        step = APART * self.surface.scale * along
        for side in (1, -1):
            beside = Seen.at(self.surface, self.here.x + side * step)
            if beside.finite:
                change = side * (beside.g - self.here.g)
                return Model.of(step, change) if model is None else model.updated(step, change)
        raise LandscapeError("the landscape cannot be evaluated beside it", self.here.x)

    def run(self) -> str | None:
        """Climbs until the residual is small; why it did not become so, or None."""
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
                    self._step()
            except (LandscapeError, np.linalg.LinAlgError) as error:
                return f"the Hessian at a gradient of {self.residual:.3g} could not be examined: {error}"
            if float(np.abs(self.here.x - self.origin).max()) > self.leash:
                return f"the saddle search has left the path, at a residual of {self.residual:.3g}"
            if self.here.value > self.highest:
                return (
                    f"the saddle search has risen to {self.here.value:.6g}, far above where it began; the start is no "
                    "configuration near a saddle: atoms may be pushed into each other there. Match like atoms of the "
                    "endpoints, or find a lower path first"
                )
        return self.stopped()

    def stopped(self) -> str:
        """Where it stopped."""
        noise = self.surface.noise
        blurred = ""
        if noise is not None and self.tolerance < noise.gradient_largest:
            blurred = f", which the gradient's noise of {noise.gradient_largest:.3g} hides"
        return (
            f"the saddle search stopped at a value of {self.here.value:.6g} with a residual of {self.residual:.3g}, "
            f"the largest component of the gradient; expected {self.tolerance:.3g}{blurred}"
        )

    def _learn_again(self) -> None:
        """Measures the noise here, which may be why the gradient no longer falls; else learns the softest mode anew."""
        here = self.here
        self.surface.measure(here.x, here.value, here.whole)
        if not self.arrived:
            self.trust = FIRST_TRUST * self.reach
            mode, self.model = softest_mode(
                self.surface, here.x, here.whole, here.zero, self._difference(None), self.followed
            )
            self.followed = mode

    def _step(self) -> None:
        """Takes one step, or shortens the next one."""
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
        wrong = float(np.linalg.norm(change - expected) / np.linalg.norm(expected))
        if float(np.linalg.norm(change)) > self._noisy_change:
            self.model = self.model.updated(step, change)
        if self.surface.residual(there.g) > WORSE * self.residual and wrong > WRONG:
            self.trust = 0.3 * size
            return
        if size > 0.9 * self.trust and wrong < GOOD:
            self.trust = min(1.5 * self.trust, MOST_TRUST * self.reach)
        self.here, self.followed = there, up

    @property
    def _noisy_change(self) -> float:
        """A change of the gradient that may be noise alone; 0 until the noise was measured."""
        noise = self.surface.noise
        return 0.0 if noise is None else UNSEEN * noise.gradient * noise.size**0.5

    def _look_again(self) -> None:
        """Looks at a curvature where the model has none or several that are negative."""
        values, vectors = self.model.modes
        count = self.surface.evaluations.gradients
        if (values < 0).sum() == 1 or count - self.looked <= LOOKS or self.model.count < 2:
            return
        self.looked = count
        k = int(np.argmax(np.abs(vectors @ self.followed)))
        if (values < 0).any():  # another one than that is followed
            k = int(k == 0)
        self.model = self._difference(self.model, vectors[k])
