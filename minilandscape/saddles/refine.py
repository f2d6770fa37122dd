"""The saddle near a start, found and verified."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..landscape import Evaluations, LandscapeDefaults, LandscapeError
from .descent import Descent, Known, Minimum, beside
from .model import Model
from .result import Saddle
from .search import FIRST_TRUST, Climb, Seen
from .spectrum import Spectrum, examine
from .surface import FEW, Surface

#: From a point, the landscape varies over so many of the lengths over which its curvature changes.
LENGTHS = 5
#: The length of the steps from a point, as a part of that.
FIRST_STEP = 0.03
#: From a point, a residual is small below this part of the gradients nearby, or of what the stiffest curvature makes
#: of a step.
RESIDUAL = 1e-6
#: A path is flat if its range is below this part of what its slope and curvature explain.
FLAT = 1e-4
#: The highest point of a path is too steep if its slope makes so many times its height over the distance of the ends.
STEEP = 300
#: From a point, the search may rise by so many times what its slope and curvature explain.
RISE = 10
#: Energies below this, or above its inverse, are taken in other units: their squares would be lost.
EXTREME = 1e-100
#: Stationary points with several negative eigenvalues that a climb leaves before it takes one.
HIGHER_POINTS = 5
#: Times that a residual turns out not to be small yet, once noise and stiffness are known.
CLOSER_LOOKS = 4
#: A curvature that changes its sign within this part of the distance of the ends belongs to a degenerate point.
DEGENERATE = 1e-3
#: A zero mode bends where its product is larger than so many times the error of an eigenvalue.
BENDS = 3
#: Zero modes turn by so much at most over a way as long as the distance of the ends.
TURNS = 10
#: Times that the residual is lowered tenfold where the minima are not told to be lower than the saddle.
CLOSER = 2
#: Eigenvalues in the result at most.
REPORTED = 6


@dataclass(frozen=True)
class Start:
    """Where a saddle search begins, and what is known of the surroundings.

    Attributes
    ----------
    point
        (D,).
    uphill
        (D,): the direction to climb along; None for the softest mode.
    onward
        (D,): the direction to the side that comes second in the result; None for the one that is climbed.
    ends
        The places among the known minima of those between which a path was searched; None of a point.
    scale, reach
        The distance of the ends, and its largest component; None of a point.
    small
        The residual that is small at a point of some value; None of a point.
    lowest, height
        The lowest value of the path, and the range of its values.
    same
        That the ends are the same configuration, if they are, in words.
    reason
        Why there is no saddle to be searched for; None if there may be one.
    leash
        A search that moves a component by more than this part of ``reach`` has left the path.
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
        The residual that was asked for; None where it follows from the start and the noise.
    known
        Minima that descents may end at.
    batch
        With so many free coordinates or fewer the products with all unit vectors go out together.
    sides
        The minima beside the saddle, in the order of the result.
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
        """Searches and verifies."""
        start, here = self.start, self._first()
        energy = self._energy(here)
        if energy is not None and (unit := unit_of(energy)) != 1:
            return self._in_other_units(unit)
        climb = self._climb(here, energy)
        if start.same is not None and energy is not None and start.height <= FLAT * energy:
            return self._result(climb, start.same, None)
        reason = start.reason or self._too_steep(here)
        if reason is None:
            reason, look = self._searched(climb)
        else:
            look = None
        if reason is not None and start.same is not None:  # they may be, and a saddle between them, as of an inversion
            reason = f"{start.same}; {reason}"
        return self._result(climb, reason, look)

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
        """How far a smooth landscape may rise over the length over which it varies; None where that is not needed."""
        surface, start = self.surface, self.start
        if start.scale is not None and start.same is None and EXTREME < start.height < 1 / EXTREME:
            return None
        guess = self._guess()
        noise = surface.measure(here.x, here.value, here.whole, guess / np.linalg.norm(guess))
        surface.scale = scale = start.scale or LENGTHS * noise.scale
        return float(np.abs(here.whole).max()) * scale + noise.curvature * scale**2

    def _climb(self, here: Seen, energy: float | None) -> Climb:
        surface, start = self.surface, self.start
        assert surface.scale is not None
        reach = start.reach or FIRST_STEP / FIRST_TRUST * surface.scale
        highest = 2 * here.value - start.lowest if start.ends is not None else here.value + RISE * (energy or np.inf)
        small = start.small
        if self.residual is not None:
            small = _whatever_the_value(self.residual)
        elif small is None:
            small = self._small_at_a_point(here)
        return Climb(
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
        """The residual that is small beside the slopes around a point."""
        surface, guess = self.surface, self._guess()
        assert surface.scale is not None
        largest = surface.residual(here.g)
        for side in (-1, 1):
            step = side * FIRST_STEP * surface.scale * guess / np.linalg.norm(guess)
            beside = Seen.at(surface, here.x + step)
            largest = max(largest, surface.residual(beside.g)) if beside.finite else largest
        return _whatever_the_value(RESIDUAL * largest)

    def _too_steep(self, here: Seen) -> str | None:
        """Why no saddle can be near the highest point of a path; None if one may be."""
        scale = self.surface.scale
        assert scale is not None
        height, slope = here.value - self.start.lowest, float(np.linalg.norm(here.g))
        if not slope * scale > STEEP * height:
            return None
        return (
            f"no saddle is near the highest point of the path: its gradient of {slope:.3g} takes it down its height of "
            f"{height:.3g} within {height / slope:.3g}, the endpoints being {scale:.3g} apart, as where atoms are "
            "pushed into each other; match like atoms of the endpoints, or find a lower path first"
        )

    def _in_other_units(self, unit: float) -> Saddle:
        """The saddle of values whose squares are no numbers: found of the values over a power of two."""
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
        scaled |= {name: getattr(found, name) * unit for name in ("tolerance", "noise")}
        spent, calls = self.surface.evaluations + Evaluations(), dict(found.calls or {})
        calls["search"] = spent.gradients - calls.get("verification", 0)
        return replace(found, **scaled, reason=words, evaluations=spent, calls=calls, rounds=self.surface.rounds)

    # The search ------------------------------------------------------------------------------------------------------

    def _searched(self, climb: Climb) -> tuple[str | None, Spectrum | None]:
        """Climbs to a point with one negative eigenvalue; why there is none, and what is known of its modes."""
        try:
            climb.begin(softest=self.start.uphill is None)
        except (LandscapeError, np.linalg.LinAlgError) as error:
            return f"the Hessian at a gradient of {climb.residual:.3g} could not be examined: {error}", None
        higher: tuple[Seen, Spectrum] | None = None
        for left in range(HIGHER_POINTS + 1):
            try:
                reason, look = self._arrived(climb)
                if higher is not None and (look is None or look.negative == 0):  # there is nothing beside it
                    climb.here, look = higher
                    return self._doubt(climb, look), look
                if look is None:
                    return reason, None
                higher = climb.here, look
                if look.negative < 2 or left == HIGHER_POINTS or not self._aside(climb, look):
                    break
            except (LandscapeError, np.linalg.LinAlgError) as error:
                return f"the Hessian at a gradient of {climb.residual:.3g} could not be examined: {error}", None
        assert look is not None
        return self._doubt(climb, look), look

    def _arrived(self, climb: Climb) -> tuple[str | None, Spectrum | None]:
        """Climbs until the residual is small, and looks at the modes there; why it did not become so."""
        look: Spectrum | None = None
        for _ in range(CLOSER_LOOKS):
            reason = climb.run()
            if reason is not None:
                return reason, None
            self.searched = self.surface.evaluations.gradients
            if not self.verify:
                return None, None
            look = self._look(climb)
            if look is not None and climb.arrived:
                break
        return (climb.stopped(), None) if look is None else (None, look)

    def _look(self, climb: Climb) -> Spectrum | None:
        """The modes here, which may tell that the residual is not small yet; None where the noise tells so."""
        surface, here = self.surface, climb.here
        if surface.measured_at is not here.x:
            surface.measure(here.x, here.value, here.whole)
            if not climb.arrived:
                return None
        look = examine(surface, here.x, here.whole, here.zero, climb.model, climb.followed)
        if self.start.small is None and self.residual is None:
            assert surface.scale is not None
            limit = min(climb.tolerance, RESIDUAL * FIRST_STEP * look.stiffest * surface.scale)
            climb.small = _whatever_the_value(limit)
        return look

    def _aside(self, climb: Climb, look: Spectrum) -> bool:
        """Leaves a point of higher index, where symmetry has led, along another negative mode than is followed."""
        surface = self.surface
        assert surface.scale is not None
        up = int(np.argmax(np.abs(look.vectors @ climb.followed)))
        climb.followed = look.vectors[up]
        other = look.vectors[int(up == 0)]
        there = Seen.at(surface, climb.here.x + FIRST_STEP * surface.scale * other)
        if not there.finite:
            return False
        climb.here, climb.trust = there, FIRST_TRUST * climb.reach
        climb.model = _model_of(look, climb)
        return True

    def _doubt(self, climb: Climb, look: Spectrum) -> str | None:
        """Why the stationary point is no saddle that can be told from others; None if it is one."""
        if look.unclear and climb.within_noise:
            return (
                f"an eigenvalue is zero within its error of {look.error:.3g}, to which the gradient's noise of "
                f"{climb.noise:.3g} adds: less noise is needed to tell its sign, unless the surface is flat there"
            )
        if look.unclear:
            return (
                f"an eigenvalue is zero within its error of {look.error:.3g}: the surface is flat or degenerate there; "
                "a direction that leaves the value alone belongs into the landscape's zero_modes"
            )
        if look.negative != 1:
            count = f"{'at least ' if look.negative > 1 and not look.proved else ''}{look.negative} eigenvalue"
            return f"{count}{'' if look.negative == 1 else 's'} negative; a saddle has exactly one"
        if not look.proved:
            return f"{look.products} products leave open whether a second eigenvalue is negative"
        try:
            return self._zero_mode_bends(climb, look) or self._degenerate(climb, look)
        except LandscapeError as failure:
            return f"the landscape beside the stationary point could not be evaluated: {failure}"

    def _zero_mode_bends(self, climb: Climb, look: Spectrum) -> str | None:
        here, surface = climb.here, self.surface
        if not len(here.zero):
            return None
        # What leaves the value alone may turn, as rotations do, and its products then hold a part of the gradient.
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
            f"a zero mode of the landscape bends: |H z| is {bends.max():.3g}, {most:.3g} at most was expected; "
            "zero_modes names directions that do not leave the value alone"
        )

    def _degenerate(self, climb: Climb, look: Spectrum) -> str | None:
        here, surface, modes = climb.here, self.surface, look.vectors[:2]
        assert surface.scale is not None
        step = max(DEGENERATE * surface.scale, surface.step)
        _, gradients = surface.stack(np.concatenate([here.x + step * modes, here.x - step * modes]))
        slopes = np.einsum("smd,md->sm", gradients.reshape(2, len(modes), -1), modes)
        bent = np.abs(slopes.sum(axis=0) - 2 * modes @ here.whole) / step
        if (bent < np.abs(look.values[:2])).all():
            return None
        return "the point is degenerate: the curvature along one of its lowest modes changes its sign close by"

    # The result ------------------------------------------------------------------------------------------------------

    def _result(self, climb: Climb, reason: str | None, look: Spectrum | None) -> Saddle:
        surface, D = self.surface, climb.here.x.size
        if self.searched == 0:
            self.searched = surface.evaluations.gradients
        values = np.zeros(0) if look is None else look.values[: min(look.sure, REPORTED)]
        mode = self._oriented(climb.followed if look is None else look.vectors[0])
        minima, minima_values, connects = np.full((2, D), np.nan), np.full(2, np.nan), False
        if reason is None and look is not None:
            reason, found = self._sides(climb, look, mode)
            connects, other_way = (False, False) if reason is not None else self._connects(found)
            if other_way:
                mode, found = -mode, found[::-1]
            self.sides = tuple(found)
            minima, minima_values = np.stack([m.point for m in found]), np.array([m.value for m in found])
        elif reason is None:
            reason = "not verified: its index and the minima beside it were not looked at"
        noise = climb.noise
        reached = "converged"
        if climb.within_noise:
            reached += (
                f" within the noise: gradients of {climb.tolerance:.3g} count as zero, since their noise is {noise:.3g}"
            )
        total = surface.evaluations.gradients
        return Saddle(
            point=climb.here.x,
            value=climb.here.value,
            residual=climb.residual,
            eigenvalues=values,
            zero_modes=len(climb.here.zero),
            mode=mode,
            minima=minima,
            minima_values=minima_values,
            connects_ends=connects,
            converged=reason is None,
            reason=reason or reached,
            evaluations=surface.evaluations + Evaluations(),
            tolerance=climb.tolerance,
            noise=noise,
            step=surface.step if surface.noise is not None else float("nan"),
            chance=1.0 if look is None else look.chance,
            products=0 if look is None else look.products,
            calls={"search": self.searched, "verification": total - self.searched},
            rounds=surface.rounds,
        )

    def _sides(self, climb: Climb, look: Spectrum, mode: np.ndarray) -> tuple[str | None, list[Minimum]]:
        """The minima on both sides; the saddle is approached closer where they are not told to be lower."""
        for again in range(CLOSER + 1):
            found = [self._descend(climb, look, way) for way in (-mode, mode)]
            reason = next((m.reason for m in found if m.reason is not None), None)
            if reason is not None:
                return reason, found
            reason = self._lower(climb, look, found)
            if reason is None or climb.at_noise or again == CLOSER:
                break
            climb.small = _whatever_the_value(0.1 * climb.tolerance)
            if climb.run() is not None:
                break
        return reason, found

    def _oriented(self, mode: np.ndarray) -> np.ndarray:
        onward = self.start.onward if self.start.onward is not None else self.start.uphill
        return -mode if onward is not None and mode @ onward < 0 else mode

    def _descend(self, climb: Climb, look: Spectrum, way: np.ndarray) -> Minimum:
        surface, saddle = self.surface, climb.here
        here = beside(surface, saddle, way, float(look.values[0]), climb.tolerance)
        if here is None:
            return Minimum(saddle.x, saddle.value, reason="the landscape cannot be evaluated where a descent begins")
        descent = Descent(
            surface, here, _model_of(look, climb).positive(), climb.reach, saddle.value, climb.tolerance, self.known
        )
        found = descent.run()
        if found.reason is None and found.known is None:
            known = self.known.at(surface, found)
            if known is None:
                known = self.known.add(found.point, found.value, found)
            found = replace(found, known=known)
        return found

    def _lower(self, climb: Climb, look: Spectrum, minima: list[Minimum]) -> str | None:
        """Why the minima may be no lower than the saddle; None if they are."""
        saddle = float(climb.here.g @ climb.here.g) / (2 * abs(float(look.values[0])))
        for minimum in minima:
            fall, explained = climb.here.value - minimum.value, saddle + minimum.uncertainty + self.surface.level
            if not fall > explained:
                return (
                    f"a descent ends {fall:.3g} below the saddle, and the gradients left explain {explained:.3g}: a "
                    "smaller residual or less noise is needed to tell them apart"
                )
        return None

    def _connects(self, minima: list[Minimum]) -> tuple[bool, bool]:
        """Whether the minima are the ends, and whether in the other order."""
        if self.start.ends is None:
            return False, False
        found = [minimum.known for minimum in minima]
        return set(found) == set(self.start.ends), found == list(self.start.ends)[::-1]


def _model_of(look: Spectrum, climb: Climb) -> Model:
    """The model that knows a spectrum."""
    return replace(climb.model, rows=look.vectors, inner=np.diag(look.values))


def _whatever_the_value(residual: float) -> Callable[[float], float]:
    """The same residual is small at all points."""
    return lambda value: residual


def unit_of(energy: float) -> float:
    """A power of two in which to take energies of this size: 1 unless their squares would be lost."""
    ordinary = EXTREME < energy < 1 / EXTREME or not 0 < energy < float("inf")
    return 1.0 if ordinary else 2.0 ** round(np.log2(energy))


class Rescaled(LandscapeDefaults):
    """A landscape with its values in other units."""

    def __init__(self, landscape: Any, unit: float) -> None:
        self.inner, self.unit = landscape, unit
        self.size, self.dtype, self.device = landscape.size, landscape.dtype, landscape.device
        self.displacement, self.zero_modes = landscape.displacement, landscape.zero_modes  # type: ignore[method-assign]
        self.residual = landscape.residual  # type: ignore[method-assign]

    def values_and_gradients(self, points: Any) -> tuple[np.ndarray, Any]:
        values, gradients = self.inner.values_and_gradients(points)
        return values / self.unit, gradients / self.unit
