"""Descents from a saddle to a minimum, and the list of known minima."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from ..landscape import LandscapeError
from ..motion import moved_near
from .model import Model
from .search import LEAST_TRUST, MOST_TRUST, Seen
from .spectrum import Spectrum, examine
from .surface import Surface

#: A descent ends at a wall: this many consecutive steps had to be reduced to below this fraction.
WALLS, CUT = 5, 1e-3
#: First displacement from the saddle, relative to the distance between the endpoints; its largest value where a smaller
#: one yields no slope.
PUSH, FARTHEST = 0.02, 0.1
#: Largest number of steps; largest component of the first one, relative to that of the displacement between the
#: endpoints; largest number of trials of one.
MOST_STEPS, FIRST, TRIALS = 1000, 0.1, 20
#: Largest number of points with a negative mode, such as saddles, from which a descent resumes.
SADDLES = 8
#: Values and gradients along a descent are consistent within this fraction of the decrease, over steps in which the
#: relative change of the gradient is below the second number.
CONSISTENT, SMOOTH = 0.05, 0.5
#: Where they are not, so many steps are integrated again with their midpoints.
MIDDLES = 5
#: Factor by which the threshold of the gradient norm is reduced after a point with a negative mode.
CLOSER = 10
#: Largest distance of a minimum from the point given for it, relative to the distance between the endpoints.
REACHED = 0.02
#: Largest distance of a minimum from the end of a descent, relative to the distance between the endpoints.
MOST_BESIDE = 0.15
#: A descent ends at a known minimum within this fraction of the distance between the endpoints, if the remaining
#: decrease agrees with a parabola within the second number and is below the third one, relative to the whole.
NEAR, PARABOLIC, MOST_LEFT = 0.15, 0.25, 0.5


@dataclass(frozen=True)
class Minimum:
    """A minimum, or a candidate for one.

    Attributes
    ----------
    point, value
        (D,): the point; f there.
    uncertainty, away
        Estimated decrease of f down to the stationary point, and the distance to it.
    reason
        Why it is not verified; None if it is.
    known
        Its index among the known minima; None if it is new.
    way
        Points (n, D) and values (n,) of the descent that led there, without the minimum; None where there was none.
    """

    point: np.ndarray
    value: float
    uncertainty: float = 0.0
    away: float = 0.0
    reason: str | None = None
    known: int | None = None
    way: tuple[np.ndarray, np.ndarray] | None = None

    def times(self, unit: float) -> Minimum:
        """Multiply all values by a unit."""
        way = None if self.way is None else (self.way[0], self.way[1] * unit)
        return replace(self, value=self.value * unit, uncertainty=self.uncertainty * unit, way=way)


@dataclass
class Known:
    """Candidates for minima, each of them verified when it is first reached.

    Attributes
    ----------
    points, values
        (D,) each; f there.
    verified
        The result of the verification; None before.
    scale
        The distance between the endpoints of a chain, of which a search may connect a part; 0 for a search by itself.
    """

    points: list[np.ndarray] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    verified: list[Minimum | None] = field(default_factory=list)
    scale: float = 0.0

    def add(self, point: np.ndarray, value: float, verified: Minimum | None = None) -> int:
        """Add a candidate; returns its index."""
        self.points.append(point)
        self.values.append(value)
        self.verified.append(verified)
        return len(self.points) - 1

    def times(self, unit: float) -> Known:
        """Multiply all values by a unit."""
        verified = [None if found is None else found.times(unit) for found in self.verified]
        return Known(list(self.points), [value * unit for value in self.values], verified, self.scale)

    def without(self, k: int) -> Known:
        """Exclude the k-th candidate; indices are kept."""
        points, values, verified = list(self.points), list(self.values), list(self.verified)
        verified[k] = Minimum(points[k], values[k], reason="excluded")
        return Known(points, values, verified, self.scale)

    def reached(self, surface: Surface, here: Seen, top: float) -> int | None:
        """Find the candidate that a descent is about to reach; None if there is none."""
        assert surface.scale is not None
        for k, (point, value) in enumerate(zip(self.points, self.values, strict=True)):
            verified = self.verified[k]
            left = here.value - value
            if (verified is not None and verified.reason is not None) or not left <= MOST_LEFT * (top - value):
                continue
            way = moved_near(surface.landscape, here.x, point, surface.zero_modes)
            expected = -0.5 * float(here.whole @ way)
            close = float(np.linalg.norm(way)) <= NEAR * surface.scale
            if close and abs(left - expected) <= PARABOLIC * abs(expected) + surface.level:
                return k
        return None

    def at(self, surface: Surface, minimum: Minimum) -> int | None:
        """Find the candidate that a minimum is; None for none.

        They may be 2 % of the distance between the endpoints apart, and as far as either may be from its stationary
        point.
        """
        assert surface.scale is not None
        most = MOST_BESIDE * max(surface.scale, self.scale)
        for k, (point, verified) in enumerate(zip(self.points, self.verified, strict=True)):
            if verified is not None and verified.reason is not None:
                continue
            away = float(np.linalg.norm(moved_near(surface.landscape, minimum.point, point, surface.zero_modes)))
            unsure = minimum.away + (0.0 if verified is None else verified.away)
            if away <= REACHED * surface.scale + min(unsure, most):
                return k
        return None

    def look(self, surface: Surface, k: int, model: Model, tolerance: float) -> Minimum:
        """Verify the k-th candidate."""
        found = self.verified[k]
        if found is None:
            here = Seen.at(surface, self.points[k])
            found = replace(_looked_at(surface, here, model, tolerance), known=k)
            assert surface.scale is not None
            # Along a soft mode, a small gradient leaves a point far from its stationary point.
            calm = surface.residual(here.g) <= max(tolerance, surface.unseen)
            if found.reason is None and found.away > (MOST_BESIDE if calm else REACHED) * surface.scale:
                found = replace(found, reason=f"the minimum may be {found.away:.3g} away from the given point")
            self.verified[k] = found
        return found


@dataclass
class Descent:
    """The state of a descent, along which the value never increases.

    Attributes
    ----------
    top
        The value of the saddle.
    tolerance
        Threshold of the gradient norm.
    """

    surface: Surface
    here: Seen
    model: Model
    reach: float
    top: float
    tolerance: float
    known: Known
    trust: float = field(init=False)
    fell: float = field(init=False, default=0.0)
    by_gradient: float = field(init=False, default=0.0)
    unsure: float = field(init=False, default=0.0)
    accounts: list[tuple[Seen, Seen]] = field(init=False, default_factory=list)
    walls: int = field(init=False, default=0)
    way: list[Seen] = field(init=False)

    def __post_init__(self) -> None:
        self.trust = FIRST * self.reach
        self.way = [self.here]

    def run(self) -> Minimum:
        """Descend to a minimum, or give the reason why there is none."""
        found = self._run()
        way = [seen for seen in self.way if seen.x is not found.point]
        return replace(found, way=(np.array([seen.x for seen in way]), np.array([seen.value for seen in way])))

    def _run(self) -> Minimum:
        for again in range(SADDLES):
            found = self._relax()
            if isinstance(found, Minimum):
                return found
            if found is not None:
                return Minimum(self.here.x, self.here.value, reason=found)
            try:
                look = _spectrum(self.surface, self.here, self.model)
                small = max(self.tolerance, self.surface.unseen)
                if not _negative(look, small, self.surface):
                    return _minimum(self.here, look, self.model)
                enclosed = self._leave(look.vectors[0], again)
            except (LandscapeError, np.linalg.LinAlgError) as error:
                reason = f"the Hessian where a descent ended could not be examined: {error}"
                return Minimum(self.here.x, self.here.value, reason=reason)
            if enclosed is not None:
                return enclosed
        reason = f"a descent reached {SADDLES} points with a negative eigenvalue and no minimum"
        return Minimum(self.here.x, self.here.value, reason=reason)

    def _leave(self, mode: np.ndarray, again: int) -> Minimum | None:
        """Move to the lower side of a point with a negative mode.

        Because of symmetry a descent may lead from one saddle to the next; with a large tolerance it may also end close
        to the first one. Where both sides are higher, as in a flat valley whose curvature changes its sign, the minimum
        lies between them.
        """
        assert self.surface.scale is not None
        push = 2**again * PUSH * self.surface.scale
        sides = [Seen.at(self.surface, self.here.x + side * push * mode) for side in (1, -1)]
        lower = [seen for seen in sides if seen.finite and seen.value < self.here.value + self.surface.level]
        if not lower:
            here = self.here
            if all(seen.finite and self._uphill(seen) for seen in sides):
                return Minimum(here.x, here.value, float(np.linalg.norm(here.g)) * push, push)
            reason = (
                "a descent ended where an eigenvalue is negative and no neighbouring point is lower: the valley levels "
                "off, or the gradient is not that of the values"
            )
            return Minimum(here.x, here.value, reason=reason)
        self.here = min(lower, key=lambda seen: seen.value)
        self.way.append(self.here)
        self.tolerance /= CLOSER
        self.trust = FIRST * self.reach
        return None

    def _uphill(self, seen: Seen) -> bool:
        """Decide whether the gradient at a neighbouring point is directed away from here, as the values imply."""
        return float(seen.g @ (seen.x - self.here.x)) > 0

    def _relax(self) -> Minimum | str | None:
        """Descend until the gradient norm is small (None), a known minimum is reached, or a reason to stop is found."""
        surface, ended = self.surface, f"the valley continues after {MOST_STEPS} steps"
        small = max(self.tolerance, surface.unseen)
        for _ in range(MOST_STEPS):
            if surface.residual(self.here.g) <= small:
                break
            known = self.known.reached(surface, self.here, self.top)
            if known is not None:
                minimum = self.known.look(surface, known, self.model, self.tolerance)
                if minimum.reason is None:
                    return self._inconsistent() or minimum
            if (reason := self._step()) is not None:
                ended = reason
                break
        size = surface.residual(self.here.g)
        if (reason := self._inconsistent()) is not None:
            return reason
        if size <= small:
            return None
        return f"a descent has not converged: its gradient norm is {size:.3g}; expected {small:.3g}; {ended}"

    def _inconsistent(self) -> str | None:
        """Check that the decrease of the value agrees with the integral of the gradient; the reason if it does not."""
        for _ in range(MIDDLES + 1):
            if abs(self.fell - self.by_gradient) <= CONSISTENT * max(self.fell, self.by_gradient) + self.unsure:
                return None
            if not self._looked_closer():
                break
        return (
            f"the gradient is not that of the values: along a descent these decreased by {self.fell:.3g}, the integral "
            f"of the gradient is {self.by_gradient:.3g}"
        )

    def _looked_closer(self) -> bool:
        """Integrate the least consistent step again by Simpson's rule; returns whether there was one."""
        if not self.accounts:
            return False
        k = int(np.argmax([abs(a.value - b.value - _fall(a, b)) for a, b in self.accounts]))
        a, b = self.accounts.pop(k)
        middle = Seen.at(self.surface, 0.5 * (a.x + b.x))
        if middle.finite:
            # Simpson's rule is one third of the trapezoidal rule plus two thirds of the midpoint rule.
            self.by_gradient += 2 / 3 * (-float((b.x - a.x) @ middle.g) - _fall(a, b))
        return middle.finite

    def _step(self) -> str | None:
        """Take a step downhill; returns the reason where there is none, or None."""
        surface, here = self.surface, self.here
        full = min(FIRST * self.reach, float(np.abs(self.model.step(here.g, np.inf)).max()))
        for _ in range(TRIALS if self.trust > LEAST_TRUST * self.reach else 0):
            step = self.model.step(here.g, self.trust)
            there = Seen.at(surface, here.x + step)
            if there.finite:
                self.model = self.model.updated(step, there.g - here.g).positive()
            # Close to a minimum, gradients resolve what values do not.
            little = min(abs(there.value - here.value), -float(step @ here.g))
            flat = little <= max(1e-14 * abs(here.value), surface.level)
            lower = there.value <= here.value + 1e-4 * float(step @ here.g)
            calmer = flat and surface.residual(there.g) < surface.residual(here.g)
            if there.finite and (lower or calmer):
                break
            self.trust = 0.3 * min(self.trust, float(np.abs(step).max()))
        else:
            return "the values do not decrease along the gradient: it is not that of the values, or the noise dominates"
        self._account(there)
        size = float(np.abs(step).max())
        self.walls = self.walls + 1 if size < CUT * full else 0
        if self.walls == WALLS:
            return "it is next to a wall, where the value rises steeply or cannot be evaluated"
        if size > 0.9 * self.trust:
            self.trust = min(1.5 * self.trust, MOST_TRUST * self.reach)
        self.here = there
        self.way.append(there)
        return None

    def _account(self, there: Seen) -> None:
        """Sum up the decrease by values and by gradients."""
        here = self.here
        if np.linalg.norm(there.g - here.g) <= SMOOTH * np.linalg.norm(here.g):
            self.fell += here.value - there.value
            self.by_gradient += _fall(here, there)
            self.unsure += self.surface.level
            self.accounts.append((here, there))


def _fall(a: Seen, b: Seen) -> float:
    """Estimate the decrease from a to b by the trapezoidal rule, from the gradients at both."""
    return -0.5 * float((b.x - a.x) @ (a.g + b.g))


def beside(surface: Surface, saddle: Seen, way: np.ndarray, curvature: float, tolerance: float) -> Seen | None:
    """Displace a saddle along its mode to the start of a descent; None where that point cannot be evaluated.

    The displacement is large enough for a slope above the threshold and for a decrease above the noise.
    """
    scale = surface.scale
    assert scale is not None
    slope = 2 * max(tolerance, surface.unseen) / abs(curvature)
    push = min(max(PUSH * scale, slope, float(np.sqrt(4 * surface.level / abs(curvature)))), FARTHEST * scale)
    here = Seen.at(surface, saddle.x + push * way)
    while not here.value < saddle.value and push > 1e-6 * scale:  # beyond the valley: reduce the displacement
        push *= 0.5
        here = Seen.at(surface, saddle.x + push * way)
    return here if here.finite else None


def _spectrum(surface: Surface, here: Seen, model: Model) -> Spectrum:
    return examine(surface, here.x, here.whole, here.zero, model, None)


def _negative(look: Spectrum, small: float, surface: Surface) -> bool:
    """Decide whether a mode is negative.

    Negative curvatures are ignored if they change the slope by less than the threshold over the distance between the
    endpoints, as in a valley that levels off.
    """
    assert surface.scale is not None
    return bool(len(look.values)) and bool(look.values[0] < -max(look.error, small / surface.scale))


def _minimum(here: Seen, look: Spectrum, model: Model) -> Minimum:
    """Make the result at a point without a negative mode, with an estimate of the distance to the stationary point."""
    if not look.verified:
        return Minimum(
            here.x, here.value, reason=f"{look.products} Hessian-vector products do not verify that it is a minimum"
        )
    knowing = replace(model, rows=look.vectors, inner=np.diag(np.maximum(look.values, look.error)))
    newton = knowing.step(here.g, np.inf)
    return Minimum(here.x, here.value, abs(0.5 * float(newton @ here.g)), float(np.linalg.norm(newton)))


def _looked_at(surface: Surface, here: Seen, model: Model, tolerance: float) -> Minimum:
    """Verify a point that was given as a minimum."""
    if not here.finite:
        return Minimum(here.x, here.value, reason="the landscape cannot be evaluated there")
    try:
        look = _spectrum(surface, here, model)
    except (LandscapeError, np.linalg.LinAlgError) as error:
        return Minimum(here.x, here.value, reason=f"the Hessian there could not be examined: {error}")
    if _negative(look, max(tolerance, surface.unseen), surface):
        return Minimum(here.x, here.value, reason="an eigenvalue is negative there")
    return _minimum(here, look, model)
