"""The way down from beside a saddle to a minimum, and what is known of minima."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from ..landscape import LandscapeError
from ..motion import moved_near
from .model import Model
from .search import LEAST_TRUST, MOST_TRUST, Seen
from .spectrum import Spectrum, examine
from .surface import Surface

#: A descent ends where so many steps in a row had to be cut a thousandfold and more: it stands before a wall.
WALLS, CUT = 5, 1e-3
#: A descent leaves the saddle by this part of the distance of the ends, and by so much if less shows no slope.
PUSH, FARTHEST = 0.02, 0.1
#: Steps at most, the largest component of the first one as a part of that of the ends' displacement, trials of one.
MOST_STEPS, FIRST, TRIALS = 1000, 0.1, 20
#: Points with a negative mode, such as saddles, that a descent goes on from.
SADDLES = 8
#: The values along a descent and its gradients agree within this part of the fall, over steps that change the gradient
#: by no more than this part of itself.
CONSISTENT, SMOOTH = 0.2, 0.5
#: Where they do not, the middles of so many steps are looked at before the gradient is blamed.
MIDDLES = 5
#: Where a point with a negative mode is left, the residual that counts as small is lowered so many times.
CLOSER = 10
#: A minimum lies within this part of the distance of the ends from a point that is given for one.
REACHED = 0.02
#: A minimum beside which a descent has ended may lie within this part of the distance of the ends from the end.
MOST_BESIDE = 0.15
#: A descent ends at a known minimum from within this part of the distance of the ends, if the fall that is left is that
#: of a parabola with the slope here within this part, and less than this part of the whole.
NEAR, PARABOLIC, MOST_LEFT = 0.15, 0.25, 0.5


@dataclass(frozen=True)
class Minimum:
    """A point that is, or was taken for, a minimum.

    Attributes
    ----------
    point, value
        (D,), and f there.
    uncertainty, away
        How much lower f may be at the stationary point itself, and how far away that may be.
    reason
        Why it is no verified minimum; None if it is.
    known
        Its place among those that were known before; None if it is new.
    way
        The points (n, D) and values (n,) of the descent that led there, without the minimum itself; None where there
        was none.
    """

    point: np.ndarray
    value: float
    uncertainty: float = 0.0
    away: float = 0.0
    reason: str | None = None
    known: int | None = None
    way: tuple[np.ndarray, np.ndarray] | None = None

    def times(self, unit: float) -> Minimum:
        """The same with values so many times as large."""
        way = None if self.way is None else (self.way[0], self.way[1] * unit)
        return replace(self, value=self.value * unit, uncertainty=self.uncertainty * unit, way=way)


@dataclass
class Known:
    """Points that may be minima, each looked at when it is first reached.

    Attributes
    ----------
    points, values
        (D,) and f of each.
    verified
        What a look has found; None before.
    """

    points: list[np.ndarray] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    verified: list[Minimum | None] = field(default_factory=list)

    def add(self, point: np.ndarray, value: float, verified: Minimum | None = None) -> int:
        """Its place."""
        self.points.append(point)
        self.values.append(value)
        self.verified.append(verified)
        return len(self.points) - 1

    def times(self, unit: float) -> Known:
        """The same points with values so many times as large."""
        verified = [None if found is None else found.times(unit) for found in self.verified]
        return Known(list(self.points), [value * unit for value in self.values], verified)

    def without(self, k: int) -> Known:
        """The others at their places, with nothing at the k-th."""
        points, values, verified = list(self.points), list(self.values), list(self.verified)
        verified[k] = Minimum(points[k], values[k], reason="left out")
        return Known(points, values, verified)

    def reached(self, surface: Surface, here: Seen, top: float) -> int | None:
        """The one in whose valley a descent is, so near that nothing else is to be expected; None if there is none."""
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
        """The one that a minimum is, within 2 % of the distance of the ends; None if it is none of them."""
        assert surface.scale is not None
        for k, (point, verified) in enumerate(zip(self.points, self.verified, strict=True)):
            if verified is not None and verified.reason is not None:
                continue
            away = float(np.linalg.norm(moved_near(surface.landscape, minimum.point, point, surface.zero_modes)))
            if away <= REACHED * surface.scale + min(minimum.away, MOST_BESIDE * surface.scale):
                return k
        return None

    def look(self, surface: Surface, k: int, model: Model, tolerance: float) -> Minimum:
        """What the k-th point is."""
        found = self.verified[k]
        if found is None:
            here = Seen.at(surface, self.points[k])
            found = replace(_looked_at(surface, here, model, tolerance), known=k)
            assert surface.scale is not None
            if found.reason is None and found.away > REACHED * surface.scale:
                found = replace(found, reason=f"the minimum may be {found.away:.3g} away from the point that was given")
            self.verified[k] = found
        return found


@dataclass
class Descent:
    """A descent on its way, which never rises.

    Attributes
    ----------
    top
        The value of the saddle.
    tolerance
        The residual that is small.
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
        """Goes down to a minimum, or says why there is none."""
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
        reason = f"a descent met {SADDLES} points with a negative eigenvalue and no minimum"
        return Minimum(self.here.x, self.here.value, reason=reason)

    def _leave(self, mode: np.ndarray, again: int) -> Minimum | None:
        """Goes to the lower side of a point with a negative mode.

        Symmetry leads from a saddle to the next one as well as to a minimum; a large tolerance ends beside the first.
        Where both sides are higher, as in a flat valley whose curvature changes its sign, the minimum lies between.
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
                "a descent ended where an eigenvalue is negative and nothing lower lies beside: the valley levels off, "
                "or the gradient is not that of the values"
            )
            return Minimum(here.x, here.value, reason=reason)
        self.here = min(lower, key=lambda seen: seen.value)
        self.way.append(self.here)
        self.tolerance /= CLOSER
        self.trust = FIRST * self.reach
        return None

    def _uphill(self, seen: Seen) -> bool:
        """Whether the gradient at a point beside leads away from here, as the values do."""
        return float(seen.g @ (seen.x - self.here.x)) > 0

    def _relax(self) -> Minimum | str | None:
        """Goes down until the gradient is small: None. A known minimum may be met before, or a reason to give up."""
        surface, ended = self.surface, f"the valley goes on after {MOST_STEPS} steps"
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
        residual = surface.residual(self.here.g)
        if (reason := self._inconsistent()) is not None:
            return reason
        if residual <= small:
            return None
        return f"a descent has not converged: its residual is {residual:.3g}, {small:.3g} was expected; {ended}"

    def _inconsistent(self) -> str | None:
        """That the values along the way do not fall as the gradient says, if so."""
        for _ in range(MIDDLES + 1):
            if abs(self.fell - self.by_gradient) <= CONSISTENT * max(self.fell, self.by_gradient) + self.unsure:
                return None
            if not self._looked_closer():
                break
        return (
            f"the gradient is not that of the values: along a descent these fell by {self.fell:.3g}, the gradient adds "
            f"up to {self.by_gradient:.3g}"
        )

    def _looked_closer(self) -> bool:
        """Counts the step that explains its fall the worst by Simpson's rule; whether there was one."""
        if not self.accounts:
            return False
        k = int(np.argmax([abs(a.value - b.value - _fall(a, b)) for a, b in self.accounts]))
        a, b = self.accounts.pop(k)
        middle = Seen.at(self.surface, 0.5 * (a.x + b.x))
        if middle.finite:
            # Simpson's rule is a third of the trapezoid's, and two thirds of that of the middle.
            self.by_gradient += 2 / 3 * (-float((b.x - a.x) @ middle.g) - _fall(a, b))
        return middle.finite

    def _step(self) -> str | None:
        """Takes a step down; why there is none, or None."""
        surface, here = self.surface, self.here
        full = min(FIRST * self.reach, float(np.abs(self.model.step(here.g, np.inf)).max()))
        for _ in range(TRIALS if self.trust > LEAST_TRUST * self.reach else 0):
            step = self.model.step(here.g, self.trust)
            there = Seen.at(surface, here.x + step)
            if there.finite:
                self.model = self.model.updated(step, there.g - here.g).positive()
            # At the bottom values no longer resolve what gradients do.
            little = min(abs(there.value - here.value), -float(step @ here.g))
            flat = little <= max(1e-14 * abs(here.value), surface.level)
            lower = there.value <= here.value + 1e-4 * float(step @ here.g)
            calmer = flat and surface.residual(there.g) < surface.residual(here.g)
            if there.finite and (lower or calmer):
                break
            self.trust = 0.3 * min(self.trust, float(np.abs(step).max()))
        else:
            return "the values do not fall along the gradient: it is not theirs, or the noise hides it"
        self._account(there)
        size = float(np.abs(step).max())
        self.walls = self.walls + 1 if size < CUT * full else 0
        if self.walls == WALLS:
            return "it stands before a wall, where the landscape rises at once or cannot be evaluated"
        if size > 0.9 * self.trust:
            self.trust = min(1.5 * self.trust, MOST_TRUST * self.reach)
        self.here = there
        self.way.append(there)
        return None

    def _account(self, there: Seen) -> None:
        """Adds up what the values and the gradients say of the fall."""
        here = self.here
        if np.linalg.norm(there.g - here.g) <= SMOOTH * np.linalg.norm(here.g):
            self.fell += here.value - there.value
            self.by_gradient += _fall(here, there)
            self.unsure += self.surface.level
            self.accounts.append((here, there))


def _fall(a: Seen, b: Seen) -> float:
    """By how much the value falls from a to b, as the gradients at both say."""
    return -0.5 * float((b.x - a.x) @ (a.g + b.g))


def beside(surface: Surface, saddle: Seen, way: np.ndarray, curvature: float, tolerance: float) -> Seen | None:
    """The point from where a descent begins: a push along a mode of this curvature; None where that is a wall.

    Far enough for a slope that is not small, and for a fall that the noise does not hide.
    """
    scale = surface.scale
    assert scale is not None
    slope = 2 * max(tolerance, surface.unseen) / abs(curvature)
    push = min(max(PUSH * scale, slope, float(np.sqrt(4 * surface.level / abs(curvature)))), FARTHEST * scale)
    here = Seen.at(surface, saddle.x + push * way)
    while not here.value < saddle.value and push > 1e-6 * scale:  # pushed beyond the valley: stay nearer
        push *= 0.5
        here = Seen.at(surface, saddle.x + push * way)
    return here if here.finite else None


def _spectrum(surface: Surface, here: Seen, model: Model) -> Spectrum:
    return examine(surface, here.x, here.whole, here.zero, model, None)


def _negative(look: Spectrum, small: float, surface: Surface) -> bool:
    """Whether a mode is negative, but for curvatures that change the slope by no more than a small one over the
    distance of the ends, as in a valley that levels off."""
    assert surface.scale is not None
    return bool(len(look.values)) and bool(look.values[0] < -max(look.error, small / surface.scale))


def _minimum(here: Seen, look: Spectrum, model: Model) -> Minimum:
    """A point without a negative mode, and how far from it the stationary point may be."""
    if not look.proved:
        return Minimum(here.x, here.value, reason=f"{look.products} products leave open whether it is a minimum")
    knowing = replace(model, rows=look.vectors, inner=np.diag(np.maximum(look.values, look.error)))
    newton = knowing.step(here.g, np.inf)
    return Minimum(here.x, here.value, abs(0.5 * float(newton @ here.g)), float(np.linalg.norm(newton)))


def _looked_at(surface: Surface, here: Seen, model: Model, tolerance: float) -> Minimum:
    """What a point is that was given for a minimum."""
    if not here.finite:
        return Minimum(here.x, here.value, reason="the landscape cannot be evaluated there")
    try:
        look = _spectrum(surface, here, model)
    except (LandscapeError, np.linalg.LinAlgError) as error:
        return Minimum(here.x, here.value, reason=f"the Hessian there could not be examined: {error}")
    if _negative(look, max(tolerance, surface.unseen), surface):
        return Minimum(here.x, here.value, reason="an eigenvalue is negative there")
    return _minimum(here, look, model)
