"""Find the saddle near a start, and verify it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..landscape import Evaluations, LandscapeDefaults, LandscapeError
from .descent import Descent, Known, Minimum, beside
from .model import Model
from .result import Saddle
from .search import FIRST_TRUST, SaddleSearch, Seen
from .spectrum import Spectrum, examine
from .surface import FEW, Surface

#: Length scale of the landscape around a point, in units of the length over which its curvature changes.
LENGTHS = 5
#: Length of the steps from a point, relative to that.
FIRST_STEP = 0.03
#: Threshold of the gradient norm for a search from a point, relative to the gradients nearby, or to the change of the
#: gradient over a step along the stiffest mode.
RESIDUAL = 1e-6
#: A path is flat if its range is below this fraction of the range that its slope and curvature imply.
FLAT = 1e-4
#: The maximum of a path is too steep if slope times distance between the endpoints exceeds this many times its height.
STEEP = 300
#: Largest rise of a search from a point, relative to the rise that its slope and curvature imply.
RISE = 10
#: Energies below this, or above its inverse, are rescaled: their squares would under- or overflow.
EXTREME = 1e-100
#: Largest number of stationary points of higher index that a search leaves.
HIGHER_POINTS = 5
#: Largest number of times that the threshold is reduced once noise and stiffness are known.
CLOSER_LOOKS = 4
#: A point is degenerate if a curvature changes its sign within this fraction of the distance between the endpoints.
DEGENERATE = 1e-3
#: A zero mode is invalid if its product with H exceeds this many times the error of an eigenvalue.
BENDS = 3
#: Largest rotation of zero modes over the distance between the endpoints.
TURNS = 10
#: Largest number of times that the threshold is divided by ten where minima cannot be distinguished from the saddle.
CLOSER = 2
#: Largest number of eigenvalues in the result.
REPORTED = 6


@dataclass(frozen=True)
class Start:
    """The start of a saddle search.

    Attributes
    ----------
    point
        (D,): the start.
    uphill
        (D,): the uphill direction; None for the softest mode.
    onward
        (D,): the direction to the side that comes second in the result; None for ``uphill``.
    ends
        Indices of the endpoints of the path among the known minima; None for a search from a point.
    scale, reach
        The distance between the endpoints, and its largest component; None for a search from a point.
    small
        Threshold of the gradient norm, as a function of the value; None for a search from a point.
    lowest, height
        The lowest value on the path, and the range of its values.
    same
        The reason why the endpoints are the same configuration; None if they differ.
    reason
        Why a search is pointless; None if a saddle may exist.
    leash
        Largest displacement of a component, relative to ``reach``: beyond it the search has left the path.
    """

    point: np.ndarray
    uphill: np.ndarray | None = None
    onward: np.ndarray | None = None
    ends: tuple[int, int] | None = None
    scale: float | None = None
    reach: float | None = None
    small: Callable[[float], float] | None = None
    lowest: float = float("-inf")
    height: float = float("inf")
    same: str | None = None
    reason: str | None = None
    leash: float = float("inf")


@dataclass
class Refinement:
    """The search from a start, and its verification.

    Attributes
    ----------
    residual
        The requested threshold of the gradient norm; None where it follows from the start and the noise.
    known
        Minima at which descents may end.
    batch
        With at most this many free coordinates, the products with all unit vectors are computed in one batch.
    sides
        The minima on both sides of the saddle, in the order of the result.
    """

    landscape: Any
    start: Start
    residual: float | None = None
    known: Known = field(default_factory=Known)
    verify: bool = True
    batch: int = FEW
    surface: Surface = field(init=False)
    searched: int = field(init=False, default=0)
    sides: tuple[Minimum, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        self.surface = Surface(self.landscape, self.start.scale)
        self.surface.batch = self.batch

    def run(self) -> Saddle:
        """Search and verify."""
        start, here = self.start, self._first()
        energy = self._energy(here)
        if energy is not None and (unit := unit_of(energy)) != 1:
            return self._in_other_units(unit)
        search = self._search(here, energy)
        if start.same is not None and energy is not None and start.height <= FLAT * energy:
            return self._result(search, start.same, None)
        reason = start.reason or self._too_steep(here)
        if reason is None:
            reason, look = self._searched(search)
        else:
            look = None
        if reason is not None and start.same is not None:  # a saddle may exist, as of an inversion
            reason = f"{start.same}; {reason}"
        return self._result(search, reason, look)

    # The start -------------------------------------------------------------------------------------------------------

    def _first(self) -> Seen:
        values, gradients = self.surface.stack(self.start.point[None])
        here = Seen.of(self.surface, self.start.point, float(values[0]), gradients[0])
        if not here.finite:
            what = f"the value or gradient at the start of the saddle search is not finite ({here.value})"
            raise LandscapeError(what, self.start.point)
        return here

    def _guess(self) -> np.ndarray:
        if self.start.uphill is not None:
            return self.start.uphill
        return np.random.default_rng(0).standard_normal(self.start.point.size)

    def _energy(self, here: Seen) -> float | None:
        """Estimate the rise of a smooth landscape over its length scale; None where it is not required."""
        surface, start = self.surface, self.start
        if start.scale is not None and start.same is None and EXTREME < start.height < 1 / EXTREME:
            return None
        guess = self._guess()
        noise = surface.measure(here.x, here.value, here.whole, guess / np.linalg.norm(guess))
        surface.scale = scale = start.scale or LENGTHS * noise.scale
        return float(np.abs(here.whole).max()) * scale + noise.curvature * scale**2

    def _search(self, here: Seen, energy: float | None) -> SaddleSearch:
        surface, start = self.surface, self.start
        assert surface.scale is not None
        reach = start.reach or FIRST_STEP / FIRST_TRUST * surface.scale
        highest = 2 * here.value - start.lowest if start.ends is not None else here.value + RISE * (energy or np.inf)
        small = start.small
        if self.residual is not None:
            small = _constant(self.residual)
        elif small is None:
            small = self._small_at_a_point(here)
        return SaddleSearch(
            surface,
            here,
            self._guess(),
            reach,
            small,
            strict=self.residual is not None,
            highest=float(highest),
            leash=start.leash * reach,
        )

    def _small_at_a_point(self, here: Seen) -> Callable[[float], float]:
        """Make the threshold of the gradient norm from the slopes around a point."""
        surface, guess = self.surface, self._guess()
        assert surface.scale is not None
        largest = surface.residual(here.g)
        for side in (-1, 1):
            step = side * FIRST_STEP * surface.scale * guess / np.linalg.norm(guess)
            beside = Seen.at(surface, here.x + step)
            largest = max(largest, surface.residual(beside.g)) if beside.finite else largest
        return _constant(RESIDUAL * largest)

    def _too_steep(self, here: Seen) -> str | None:
        """Return the reason why no saddle can be near the maximum of a path; None if there may be one."""
        scale = self.surface.scale
        assert scale is not None
        height, slope = here.value - self.start.lowest, float(np.linalg.norm(here.g))
        if not slope * scale > STEEP * height:
            return None
        return (
            f"no saddle is near the maximum of the path: its gradient of {slope:.3g} removes its height of "
            f"{height:.3g} within {height / slope:.3g}, and the endpoints are {scale:.3g} apart; atoms may overlap "
            "there; match identical atoms of the endpoints, or find a path of lower maximum first"
        )

    def _in_other_units(self, unit: float) -> Saddle:
        """Search with values divided by a power of two, where their squares would under- or overflow."""
        start, small = self.start, self.start.small
        scaled_start = replace(
            start,
            small=None if small is None else lambda value: small(value * unit) / unit,
            lowest=start.lowest / unit,
            height=start.height / unit,
        )
        residual = None if self.residual is None else self.residual / unit
        inner = Refinement(
            Rescaled(self.landscape, unit), scaled_start, residual, self.known.times(1 / unit), self.verify, self.batch
        )
        try:
            found = inner.run()
        finally:
            self.surface.evaluations += inner.surface.evaluations
            self.surface.rounds += inner.surface.rounds
        back = inner.known.times(unit)
        self.known.points[:], self.known.values[:], self.known.verified[:] = back.points, back.values, back.verified
        self.sides = tuple(side.times(unit) for side in inner.sides)
        words = found.reason if found.reason == "converged" else f"{found.reason} (values in units of {unit:.6g})"
        scaled = {name: getattr(found, name) * unit for name in ("value", "residual", "eigenvalues", "minima_values")}
        scaled |= {name: getattr(found, name) * unit for name in ("tolerance", "noise", "value_error")}
        spent, calls = self.surface.evaluations + Evaluations(), dict(found.calls or {})
        calls["search"] = spent.gradients - calls.get("verification", 0)
        return replace(found, **scaled, reason=words, evaluations=spent, calls=calls, rounds=self.surface.rounds)

    # The search ------------------------------------------------------------------------------------------------------

    def _searched(self, search: SaddleSearch) -> tuple[str | None, Spectrum | None]:
        """Search for a point with one negative eigenvalue; returns the reason where there is none, and its spectrum."""
        try:
            search.begin(softest=self.start.uphill is None)
        except (LandscapeError, np.linalg.LinAlgError) as error:
            return f"the Hessian at a gradient of {search.residual:.3g} could not be examined: {error}", None
        higher: tuple[Seen, Spectrum] | None = None
        for left in range(HIGHER_POINTS + 1):
            try:
                reason, look = self._arrived(search)
                if higher is not None and (look is None or look.negative == 0):  # no saddle next to it
                    search.here, look = higher
                    return self._doubt(search, look), look
                if look is None:
                    return reason, None
                higher = search.here, look
                if look.negative < 2 or left == HIGHER_POINTS or not self._aside(search, look):
                    break
            except (LandscapeError, np.linalg.LinAlgError) as error:
                return f"the Hessian at a gradient of {search.residual:.3g} could not be examined: {error}", None
        assert look is not None
        return self._doubt(search, look), look

    def _arrived(self, search: SaddleSearch) -> tuple[str | None, Spectrum | None]:
        """Search until the gradient norm is below its threshold, and examine the modes there."""
        look: Spectrum | None = None
        for _ in range(CLOSER_LOOKS):
            reason = search.run()
            if reason is not None:
                return reason, None
            self.searched = self.surface.evaluations.gradients
            if not self.verify:
                return None, None
            look = self._look(search)
            if look is not None and search.arrived:
                break
        return (search.stopped(), None) if look is None else (None, look)

    def _look(self, search: SaddleSearch) -> Spectrum | None:
        """Examine the modes; may reduce the threshold. None where the noise shows that the search is not finished."""
        surface, here = self.surface, search.here
        if surface.measured_at is not here.x:
            surface.measure(here.x, here.value, here.whole)
            if not search.arrived:
                return None
        look = examine(surface, here.x, here.whole, here.zero, search.model, search.followed)
        if self.start.small is None and self.residual is None:
            assert surface.scale is not None
            limit = min(search.tolerance, RESIDUAL * FIRST_STEP * look.stiffest * surface.scale)
            search.small = _constant(limit)
        return look

    def _aside(self, search: SaddleSearch, look: Spectrum) -> bool:
        """Leave a point of higher index, reached because of symmetry, along another negative mode."""
        surface = self.surface
        assert surface.scale is not None
        up = int(np.argmax(np.abs(look.vectors @ search.followed)))
        search.followed = look.vectors[up]
        other = look.vectors[int(up == 0)]
        there = Seen.at(surface, search.here.x + FIRST_STEP * surface.scale * other)
        if not there.finite:
            return False
        search.here, search.trust = there, FIRST_TRUST * search.reach
        search.model = _model_of(look, search)
        return True

    def _doubt(self, search: SaddleSearch, look: Spectrum) -> str | None:
        """Return the reason why the stationary point is not verified as a saddle; None if it is."""
        if search.strict and search.tolerance < search.noise:
            return (
                f"the tolerance of {search.tolerance:.3g} is below the noise of the gradient, {search.noise:.3g}, "
                "which hides whether it is reached"
            )
        if look.unclear and search.within_noise:
            return (
                f"an eigenvalue is zero within its error of {look.error:.3g}, to which the noise of the gradient, "
                f"{search.noise:.3g}, contributes: its sign requires less noise, unless the surface is flat there"
            )
        if look.unclear:
            return (
                f"an eigenvalue is zero within its error of {look.error:.3g}: the surface is flat or degenerate there; "
                "a direction along which the value is constant belongs into the landscape's zero_modes"
            )
        if look.negative != 1:
            count = f"{'at least ' if look.negative > 1 and not look.verified else ''}{look.negative} eigenvalue"
            return f"{count}{'' if look.negative == 1 else 's'} negative; a saddle has exactly one"
        if not look.verified:
            return f"{look.products} Hessian-vector products do not verify that no second eigenvalue is negative"
        try:
            return self._zero_mode_bends(search, look) or self._degenerate(search, look)
        except LandscapeError as failure:
            return f"the landscape next to the stationary point could not be evaluated: {failure}"

    def _zero_mode_bends(self, search: SaddleSearch, look: Spectrum) -> str | None:
        here, surface = search.here, self.surface
        if not len(here.zero):
            return None
        # Zero modes may vary from point to point, as rotations do; their products then contain a part of the gradient.
        assert surface.scale is not None
        most = BENDS * look.error + TURNS * float(np.linalg.norm(here.whole)) / surface.scale
        n = len(here.zero)
        together = np.random.default_rng(0).choice([-1.0, 1.0], n) @ here.zero  # all at once, for one product
        if float(np.linalg.norm(surface.multiply(here.x, together[None], None))) <= most:
            return None
        bends = np.linalg.norm(surface.multiply(here.x, here.zero, None), axis=1)
        if n > 1 and (bends <= most).all():
            return None
        return (
            f"a zero mode of the landscape is invalid: |H z| is {bends.max():.3g}; expected at most {most:.3g}; "
            "zero_modes holds directions along which the value changes"
        )

    def _degenerate(self, search: SaddleSearch, look: Spectrum) -> str | None:
        here, surface, modes = search.here, self.surface, look.vectors[:2]
        assert surface.scale is not None
        step = max(DEGENERATE * surface.scale, surface.step)
        _, gradients = surface.stack(np.concatenate([here.x + step * modes, here.x - step * modes]))
        slopes = np.einsum("smd,md->sm", gradients.reshape(2, len(modes), -1), modes)
        bent = np.abs(slopes.sum(axis=0) - 2 * modes @ here.whole) / step
        if (bent < np.abs(look.values[:2])).all():
            return None
        return "the point is degenerate: the curvature along one of its lowest modes changes its sign nearby"

    # The result ------------------------------------------------------------------------------------------------------

    def _result(self, search: SaddleSearch, reason: str | None, look: Spectrum | None) -> Saddle:
        surface, D = self.surface, search.here.x.size
        if self.searched == 0:
            self.searched = surface.evaluations.gradients
        values = np.zeros(0) if look is None else look.values[: min(look.sure, REPORTED)]
        mode = self._oriented(search.followed if look is None else look.vectors[0])
        minima, minima_values, connects = np.full((2, D), np.nan), np.full(2, np.nan), False
        if reason is None and look is not None:
            reason, found = self._sides(search, look, mode)
            connects, other_way = (False, False) if reason is not None else self._connects(found)
            if other_way:
                mode, found = -mode, found[::-1]
            self.sides = tuple(found)
            minima, minima_values = np.stack([m.point for m in found]), np.array([m.value for m in found])
        elif reason is None:
            reason = "not verified: index and minima were not examined"
        noise = search.noise
        reached = "converged"
        if search.within_noise:
            reached += (
                f" within the noise: gradients of {search.tolerance:.3g} count as zero, as their noise is {noise:.3g}"
            )
        total = surface.evaluations.gradients
        return Saddle(
            point=search.here.x,
            value=search.here.value,
            residual=search.residual,
            eigenvalues=values,
            zero_modes=len(search.here.zero),
            mode=mode,
            minima=minima,
            minima_values=minima_values,
            connects_ends=connects,
            converged=reason is None,
            reason=reason or reached,
            evaluations=surface.evaluations + Evaluations(),
            tolerance=search.tolerance,
            noise=noise,
            step=surface.step if surface.noise is not None else float("nan"),
            chance=1.0 if look is None else look.chance,
            products=0 if look is None else look.products,
            calls={"search": self.searched, "verification": total - self.searched},
            rounds=surface.rounds,
            value_error=look.value_error(search.here.g) if look is not None and look.verified else float("nan"),
        )

    def _sides(self, search: SaddleSearch, look: Spectrum, mode: np.ndarray) -> tuple[str | None, list[Minimum]]:
        """Find the minima on both sides; the saddle is refined where they cannot be distinguished from it."""
        for again in range(CLOSER + 1):
            found = [self._descend(search, look, way) for way in (-mode, mode)]
            reason = next((m.reason for m in found if m.reason is not None), None)
            if reason is not None:
                return reason, found
            reason = self._lower(search, look, found)
            if reason is None or search.at_noise or again == CLOSER:
                break
            search.small = _constant(0.1 * search.tolerance)
            if search.run() is not None:
                break
        return reason, found

    def _oriented(self, mode: np.ndarray) -> np.ndarray:
        onward = self.start.onward if self.start.onward is not None else self.start.uphill
        return -mode if onward is not None and mode @ onward < 0 else mode

    def _descend(self, search: SaddleSearch, look: Spectrum, way: np.ndarray) -> Minimum:
        surface, saddle = self.surface, search.here
        here = beside(surface, saddle, way, float(look.values[0]), search.tolerance)
        if here is None:
            return Minimum(saddle.x, saddle.value, reason="the landscape cannot be evaluated at the start of a descent")
        descent = Descent(
            surface, here, _model_of(look, search).positive(), search.reach, saddle.value, search.tolerance, self.known
        )
        found = descent.run()
        if found.reason is None and found.known is None:
            known = self.known.at(surface, found)
            if known is None:
                known = self.known.add(found.point, found.value, found)
            found = replace(found, known=known)
        return found

    def _lower(self, search: SaddleSearch, look: Spectrum, minima: list[Minimum]) -> str | None:
        """Return the reason why the minima may not be lower than the saddle; None if they are."""
        saddle = float(search.here.g @ search.here.g) / (2 * abs(float(look.values[0])))
        for minimum in minima:
            fall, explained = search.here.value - minimum.value, saddle + minimum.uncertainty + self.surface.level
            if not fall > explained:
                return (
                    f"a descent ends {fall:.3g} below the saddle, and the remaining gradients explain {explained:.3g}: "
                    "distinguishing them requires a smaller threshold of the gradient norm, or less noise"
                )
        return None

    def _connects(self, minima: list[Minimum]) -> tuple[bool, bool]:
        """Decide whether the minima are the endpoints, and whether in reverse order."""
        if self.start.ends is None:
            return False, False
        found = [minimum.known for minimum in minima]
        return set(found) == set(self.start.ends), found == list(self.start.ends)[::-1]


def _model_of(look: Spectrum, search: SaddleSearch) -> Model:
    """Make the model of a spectrum."""
    return replace(search.model, rows=look.vectors, inner=np.diag(look.values))


def _constant(threshold: float) -> Callable[[float], float]:
    """Make a threshold that does not depend on the value."""
    return lambda value: threshold


def unit_of(energy: float) -> float:
    """Choose a power of two as the unit of energies of this size: 1 unless their squares would under- or overflow."""
    ordinary = EXTREME < energy < 1 / EXTREME or not 0 < energy < float("inf")
    return 1.0 if ordinary else 2.0 ** round(np.log2(energy))


class Rescaled(LandscapeDefaults):
    """A landscape whose values are divided by a unit."""

    def __init__(self, landscape: Any, unit: float) -> None:
        self.inner, self.unit = landscape, unit
        self.size, self.dtype, self.device = landscape.size, landscape.dtype, landscape.device
        self.displacement, self.zero_modes = landscape.displacement, landscape.zero_modes  # type: ignore[method-assign]
        self.residual = landscape.residual  # type: ignore[method-assign]

    def values_and_gradients(self, points: Any) -> tuple[np.ndarray, Any]:
        values, gradients = self.inner.values_and_gradients(points)
        return values / self.unit, gradients / self.unit
