"""The climb to a stationary point by eigenvector following, and the doubts whether it is a saddle."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..landscape import LandscapeError
from .modes import Modes

#: A residual is small below this part of (height above the path's lowest value) / (distance of its ends).
RESIDUAL = 1e-6
#: A curvature that changes its sign within this part of the distance of the ends belongs to a degenerate point.
NEAR = 1e-3
#: Zero modes turn by so much at most over a way as long as the distance of the ends.
TURNS = 10
#: The longest first step, as a part of the distance of the ends.
FIRST_TRUST = 0.03
#: Stationary points with several negative eigenvalues that a climb leaves before it takes one.
HIGHER_POINTS = 5
#: Curvatures that differ by no more than this part are those of a degenerate pair.
ALIKE = 0.05
#: Products of the conjugate gradients for the step across, at most.
MOST_PRODUCTS = 200
#: The climb ends when so many steps have not lowered the residual by a tenth.
STALLS = 25
#: Steps at most.
MOST_STEPS = 100
#: Where the curvature has fallen so many times, the noise may have fallen as well.
SOFTER = 10


def whatever_the_value(tolerance: float) -> Callable[[float], float]:
    """The same residual is small at all points."""
    return lambda value: tolerance


class Climb:
    """Eigenvector following from x.

    Attributes
    ----------
    x, value, whole, g
        Where it is, the value and the gradient there, and the gradient without the zero modes.
    zero
        The zero modes there (rows).
    values, vectors
        Eigenvalues and eigenvectors (rows) of the Hessian, the lowest that are known.
    softest
        Whether the first step goes up along the softest mode, there being no better guess.
    strict
        Whether the tolerance holds whatever the noise.
    highest
        A search that rises above this value has lost its way.
    """

    def __init__(
        self,
        surface: Modes,
        x: np.ndarray,
        value: float,
        gradient: np.ndarray,
        guess: np.ndarray,
        scale: float,
        tolerance: Callable[[float], float],
        *,
        from_a_slope: bool = False,
        softest: bool = False,
        strict: bool = False,
        highest: float = float("inf"),
    ) -> None:
        self.surface, self.x, self.value, self.whole = surface, x, value, gradient
        self.from_a_slope, self.strict, self.highest = from_a_slope, strict, highest
        self.softest = softest
        self.guess, self.scale, self.limit = guess, scale, tolerance
        self.values, self.vectors = np.zeros(0), np.zeros((0, x.size))
        self._project()

    @property
    def tolerance(self) -> float:
        """The residual that is small here: what was asked for, but no less than the noise lets be seen."""
        asked = self.limit(self.value)
        return asked if self.strict else max(asked, self.surface.unseen)

    @property
    def within_noise(self) -> bool:
        """Whether the noise, not what was asked for, sets the residual that is small here."""
        return self.tolerance > self.limit(self.value)

    def _look(self, x: np.ndarray) -> None:
        self.x = x
        self.value, self.whole = self.surface.value_and_gradient(x)
        self._project()

    def _project(self) -> None:
        """The gradient without the zero modes."""
        self.zero = self.surface.zero_modes(self.x)
        self.g = self.whole - self.zero.T @ (self.zero @ self.whole)

    def doubt(self) -> str | None:
        """Why the stationary point is no saddle that can be told from others; None if it is one."""
        values, error = self.values, self.surface.error(self.values)
        if (np.abs(values[:2]) <= error).any():
            return (
                f"an eigenvalue is zero within its error of {error:.3g}: the surface is flat or degenerate there; a "
                "direction that leaves the value alone belongs into the landscape's zero_modes"
            )
        negative = int((values < 0).sum())
        if negative != 1:
            several = len(values) < self.x.size - len(self.zero) and negative == len(values)
            count = f"{'at least ' if several else ''}{negative} eigenvalue{'' if negative == 1 else 's'}"
            return f"{count} negative; a saddle has exactly one"
        step, modes = max(NEAR * self.scale, self.surface.step), self.vectors[:2]
        try:
            bends = np.linalg.norm(self.surface.products(self.x, self.zero), axis=1) if len(self.zero) else np.zeros(1)
            # What leaves the value alone may turn, as rotations do, and its products then hold a part of the gradient.
            most = error + TURNS * float(np.linalg.norm(self.whole)) / self.scale
            if not (bends <= most).all():
                return (
                    f"a zero mode of the landscape bends: |H z| is {bends.max():.3g}, {most:.3g} at most was expected; "
                    "zero_modes names directions that do not leave the value alone"
                )
            _, gradients = self.surface.stack(np.concatenate([self.x + step * modes, self.x - step * modes]))
        except LandscapeError as failure:
            return f"the landscape beside the stationary point could not be evaluated: {failure}"
        slopes = np.einsum("smd,md->sm", gradients.reshape(2, len(modes), -1), modes)
        bent = np.abs(slopes.sum(axis=0) - 2 * modes @ self.whole) / step
        if not (bent < np.abs(values[:2])).all():
            return "the point is degenerate: the curvature along one of its lowest modes changes its sign close by"
        return None

    def _small(self) -> bool:
        """Whether the residual is small beside the curvature too: a slope as steep as the start's may be any."""
        if self.from_a_slope:
            stiffest = max(self.surface.stiffest, float(np.abs(self.values).max()))
            self.limit = whatever_the_value(min(self.tolerance, RESIDUAL * FIRST_TRUST * stiffest * self.scale))
        return bool(np.abs(self.g).max() <= self.tolerance)

    def run(self) -> str | None:
        """Climbs; why no stationary point was reached, or None."""
        trust, left = FIRST_TRUST * self.scale, 0
        followed = self.guess
        least, stalled, looked_again = float("inf"), 0, False
        for _ in range(MOST_STEPS):
            if np.abs(self.g).max() < 0.9 * least:
                least, stalled = float(np.abs(self.g).max()), 0
            elif (stalled := stalled + 1) > STALLS:
                if not self._noisier():
                    break
                stalled = 0
            try:
                arrived = bool(np.abs(self.g).max() <= self.tolerance)
                if arrived and not looked_again and self._far_from_start():
                    looked_again = True
                    self.surface.measure(self.x, self.value, self.whole)
                    arrived = bool(np.abs(self.g).max() <= self.tolerance)
                self.surface.known = None if arrived else self.whole
                self.values, self.vectors = self.surface.lowest(self.x, self.zero, None if arrived else followed)
                arrived = arrived and self._small()
                # Where not just one mode is negative, the one along the path is climbed, not the softest beside it.
                one = (self.values < 0).sum() == 1
                up = 0 if one or self.softest else self._mode_along(followed)
                self.softest = False  # which mode that is may change from here on
                step, saddle_like = (None, True) if arrived else self._step(up, trust)
            except (LandscapeError, RuntimeError, np.linalg.LinAlgError) as error:
                return f"the Hessian at a gradient of {np.abs(self.g).max():.3g} could not be examined: {error}"
            before = self.x, self.value, self.g, self.zero, self.whole
            if step is None:
                if len(self.values) < 2 or self.values[1] >= -self.surface.error(self.values) or left == HIGHER_POINTS:
                    return None
                # A point of higher index, where symmetry has led: another negative mode leads down from it.
                left += 1
                followed = self.vectors[up]
                self._look(self.x + FIRST_TRUST * self.scale * self.vectors[int(up == 0)])
                if not (np.isfinite(self.value) and np.isfinite(self.g).all()):
                    self.x, self.value, self.g, self.zero, self.whole = before
                    return None
                continue
            size = float(np.linalg.norm(step))
            if size > trust:
                step, size = step * (trust / size), trust
            predicted = float(np.linalg.norm(self.g))
            self._look(self.x + step)
            index_one = saddle_like and self.values[0] < 0 and (len(self.values) == 1 or self.values[1] > 0)
            grew = float(np.linalg.norm(self.g)) > predicted
            if not (np.isfinite(self.value) and np.isfinite(self.g).all()) or (grew and index_one):
                self.x, self.value, self.g, self.zero, self.whole = before
                trust = 0.3 * size
                if trust < 1e-12 * self.scale:
                    if not self._noisier():
                        break
                    trust = FIRST_TRUST * self.scale
                continue
            if self.value > self.highest:
                return (
                    f"the saddle search has risen to {self.value:.6g}, far above where it began; the start is no "
                    "configuration near a saddle: atoms may be pushed into each other there. Match like atoms of the "
                    "endpoints, or find a lower path first"
                )
            trust = min(2 * trust, 4 * FIRST_TRUST * self.scale)
            followed = self.vectors[up]
        after = f", after {left} stationary points with several negative eigenvalues" if left else ""
        noise = self.surface.noise.gradient_largest
        blurred = f", which the gradient's noise of {noise:.3g} hides" if self.tolerance < noise else ""
        return (
            f"the saddle search stopped at a value of {self.value:.6g} with a residual of {np.abs(self.g).max():.3g}, "
            f"the largest component of the gradient; expected {self.tolerance:.3g}{blurred}{after}"
        )

    def _noisier(self) -> bool:
        """Whether the noise here is why the gradient no longer falls."""
        try:
            self.surface.measure(self.x, self.value, self.whole)
        except LandscapeError:
            return False
        return bool(np.abs(self.g).max() <= self.tolerance)

    def _far_from_start(self) -> bool:
        """Whether the noise may be another than where it was measured, and matters."""
        softer = self.surface.noise.curvature > SOFTER * float(np.abs(self.values).max(initial=0)) > 0
        return self.within_noise or softer

    def _step(self, up: int, trust: float) -> tuple[np.ndarray, bool]:
        """Uphill along one mode, downhill along all others, each by its Newton length; whether all else curves up."""
        along = self.vectors @ self.g
        floor = 1e-8 * float(np.abs(self.values).max()) or 1.0
        lengths = -along / np.maximum(np.abs(self.values), floor)
        lengths[up] *= -1
        if along[up] == 0 and self.values[up] > 0:  # on a ridge's side without a slope: leave it
            lengths[up] = FIRST_TRUST * self.scale
        step: np.ndarray = self.vectors.T @ lengths
        known = np.concatenate([self.vectors, self.zero])
        if len(known) == self.x.size:
            return step, True
        across, curves_up = self._across(known, trust)
        return step + across, curves_up

    def _mode_along(self, followed: np.ndarray) -> int:
        """Which mode to climb. Of a degenerate pair, such as the bends of atoms on a line, any two are modes: they are
        turned until one lies along the mode that was followed, or half of the step there would lead back."""
        up = int(np.argmax(np.abs(self.vectors @ followed)))
        alike = np.flatnonzero(np.abs(self.values - self.values[up]) <= ALIKE * abs(self.values[up]))
        parts = self.vectors[alike] @ followed
        if len(alike) == 1 or not parts.any():
            return up
        turn = np.linalg.qr(np.column_stack([parts, np.eye(len(alike))]))[0]
        self.vectors[alike] = turn.T @ self.vectors[alike]
        return int(alike[0])

    def _across(self, known: np.ndarray, trust: float) -> tuple[np.ndarray, bool]:
        """Downhill in the rest by conjugate gradients, which follow a negative curvature down instead of up."""
        p = known.T @ (known @ self.g) - self.g
        r, step = p, np.zeros_like(p)
        enough = max(0.01 * float(np.linalg.norm(r)), 1e-10 * float(np.linalg.norm(self.g)))
        for _ in range(MOST_PRODUCTS):
            if np.linalg.norm(r) <= enough:
                break
            Hp = self.surface.products(self.x, p[None])[0]
            if not np.isfinite(Hp).all():
                raise LandscapeError("the gradient is not finite beside it", self.x)
            Hp = Hp - known.T @ (known @ Hp)
            curvature = float(p @ Hp)
            if curvature <= 0:
                return step + p * (trust / np.linalg.norm(p)), False
            new = r - float(r @ r) / curvature * Hp
            step = step + float(r @ r) / curvature * p
            p = new + float(new @ new) / float(r @ r) * p
            r = new
        return step, True
