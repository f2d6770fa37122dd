"""Objectives of a path: Eq. (4) with a power of the value above an offset, MaxFlux, and the smooth maximum.

An objective is a function of the values f_m at the M sample points and of the lengths l_k of the M − 1 segments. Its
gradient with respect to the path's coefficients follows from its derivatives by both:
Σ_m ∂L/∂f_m g_m ∂ω_m/∂b + Σ_k ∂L/∂l_k ∂l_k/∂b.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

#: Largest distance of values below the offset, relative to the range on the straight line.
SLACK = 1e-3
#: The first β of a staged objective, and the factor from stage to stage, in units of 1 / (median f − lowest f).
FIRST_BETA, NEXT_BETA = 3.0, 3.0
#: Weight of the penalty of unequal segments, in units of the same scale.
EQUAL_SEGMENTS = 10.0
#: A rise of the path is far below the scale of the straight line if this many times the rise is below it.
SOFT_RISE = 10.0
#: β × rise from which on the maximum of a path dominates the objective.
DOMINATES = 6.0
#: Values on the straight line above this many times the median, both above the minimum, are spikes, which are cut off
#: where the straight line serves as a unit.
SPIKE = 10.0


class Terms(NamedTuple):
    """An objective at one path.

    Attributes
    ----------
    value
        L.
    by_values
        ∂L/∂f (M,).
    by_lengths
        ∂L/∂l (M − 1,).
    penalty
        The part of L that does not depend on values: λ Σ l², or the penalty of unequal segments.
    """

    value: float
    by_values: np.ndarray
    by_lengths: np.ndarray
    penalty: float


@dataclass(frozen=True)
class PowerSum:
    """Σ_m F_m + λ Σ_k l_k² with F = (f − offset)^power; power 1 is Eq. (4).

    Attributes
    ----------
    power, offset
        With a power other than 1, values should lie above the offset.
    lam
        λ; None before :meth:`fitted`.
    """

    power: float = 1.0
    offset: float = 0.0
    lam: float | None = None
    name = "sum"
    #: Whether the objective is minimised in stages of increasing β.
    staged = False

    def __post_init__(self) -> None:
        if not self.power > 0:
            raise ValueError(f"power is {self.power}; expected a number above 0")

    @property
    def linear(self) -> bool:
        """Whether ∂L/∂f is 1 for all values."""
        return self.power == 1

    @property
    def needs_line(self) -> bool:
        """Whether the objective depends on the straight line."""
        return self.lam is None or self.power != 1

    def fitted(self, line_values: np.ndarray, distance: float) -> PowerSum:
        """Choose λ = 0.1 (M − 1) M · median_m(F_m − min F) / distance² on the straight line, where none is given.

        Raises
        ------
        ValueError
            If the offset is above values on the straight line by more than the tolerance.
        """
        self._check(line_values)
        if self.lam is not None:
            return self
        F, M = self.summands(line_values), len(line_values)
        return replace(self, lam=0.1 * (M - 1) * M * median_above(F) / distance**2)

    def at_fewer_points(self, n_points: int, of: int) -> PowerSum:
        """Rescale λ so that the penalty has the same weight relative to n_points values as to ``of``."""
        return replace(self, lam=(self.lam or 0.0) * n_points * (n_points - 1) / (of * (of - 1)))

    def terms(self, values: np.ndarray, lengths: np.ndarray) -> Terms:
        """Compute L and its derivatives."""
        lam = self.lam or 0.0
        penalty = lam * float((lengths**2).sum())
        value = float(self.summands(values).sum()) + penalty
        return Terms(value, self._slopes(values), 2 * lam * lengths, penalty)

    def remaining(self, value: float, values: np.ndarray, reference: np.ndarray, line_lengths: np.ndarray) -> float:
        """Compute L minus that of a straight line with the values ``reference``; where negative, the distance in F."""
        above = value - self.terms(reference, line_lengths).value
        return above if above > 0 else float(np.abs(self.summands(values) - self.summands(reference)).sum())

    def summands(self, values: np.ndarray) -> np.ndarray:
        """Compute the summands F (P,)."""
        if self.power == 1:
            return values - self.offset
        return self._above(values) ** self.power

    def _slopes(self, values: np.ndarray) -> np.ndarray:
        if self.power == 1:
            return np.ones_like(values)
        above = self._above(values)
        if self.power > 1:
            return self.power * above ** (self.power - 1)
        # The slope of a root is infinite at the offset; below the offset it is set to 0.
        slopes = np.power(above, self.power - 1, out=np.zeros_like(above), where=above > 0)
        return self.power * slopes

    def _check(self, line_values: np.ndarray) -> None:
        finite = line_values[np.isfinite(line_values)]
        if self.power == 1 or not finite.size:
            return
        lowest, span = finite.min(), np.ptp(finite)
        if lowest - self.offset < -SLACK * span:
            raise ValueError(
                f"power {self.power:g} acts on f - offset, and the lowest f on the straight line is {lowest:.6g}: "
                f"give an offset of at most that (offset is {self.offset:g})"
            )

    def _above(self, values: np.ndarray) -> np.ndarray:
        above = values - self.offset
        return above if float(self.power).is_integer() else np.maximum(above, 0)


@dataclass(frozen=True)
class SoftTop:
    """(1/β) log Σ_m a_m e^{β f_m}, which emphasises the maximum of the path, and a penalty of unequal segments.

    MaxFlux (Huo and Straub, 1997) has a_m = |Δω_m|, half the sum of the two adjacent segments: the path of largest flux
    at temperature 1/β. The smooth maximum has a_m = 1/M. Both converge to max f as β increases.

    The penalty is κ Σ_k (l_k/l̄ − 1)² / (M − 1), which is 0 for equal segments.

    Attributes
    ----------
    name
        ``"maxflux"`` or ``"smoothmax"``.
    beta, kappa
        β and κ; 0 before :meth:`fitted`.
    scale
        median f − min f on the straight line, the unit of β and κ.
    """

    name: str
    beta: float = 0.0
    kappa: float = 0.0
    scale: float = 1.0
    lam: float | None = None
    staged = True
    linear = False
    needs_line = True

    def fitted(self, line_values: np.ndarray, distance: float) -> SoftTop:
        """Choose κ, and β of the first stage unless a search resumes at another one."""
        scale = median_above(line_values) or float(np.ptp(line_values[np.isfinite(line_values)])) or 1.0
        return replace(self, beta=self.beta or FIRST_BETA / scale, kappa=EQUAL_SEGMENTS * scale, scale=scale)

    def sharper(self, rise: float) -> SoftTop:
        """Raise β for the next stage, after a path with this rise above the endpoint interpolation.

        The scale of a straight line through overlapping atoms is no measure of the barrier. Where the rise is far below
        it, β and κ follow the rise.
        """
        rise = min(rise, self.scale) or self.scale
        beta = max(NEXT_BETA * self.beta, FIRST_BETA / rise)
        return replace(self, beta=beta, kappa=EQUAL_SEGMENTS * min(self.scale, SOFT_RISE * rise))

    def maximum_dominates(self, rise: float) -> bool:
        """Decide whether β is large enough for the maximum to dominate L on a path of this rise."""
        return self.beta * rise >= DOMINATES

    def at_fewer_points(self, n_points: int, of: int) -> SoftTop:
        """Return the objective unchanged."""
        return self

    def remaining(self, value: float, values: np.ndarray, reference: np.ndarray, line_lengths: np.ndarray) -> float:
        """Compute the largest distance of the values from ``reference``, the endpoint interpolation."""
        return float(np.abs(values - reference).max())

    def terms(self, values: np.ndarray, lengths: np.ndarray) -> Terms:
        """Compute L and its derivatives."""
        n = len(lengths)
        mean = lengths.mean()
        unequal = lengths / mean - 1
        penalty = self.kappa * float((unequal**2).sum()) / n
        # l̄ depends on every l: Σ_k u_k (l_k/l̄)/n is subtracted.
        by_lengths = 2 * self.kappa / n / mean * (unequal - (unequal * lengths).sum() / (n * mean))
        top = values.max()
        if not np.isfinite(top):
            return Terms(float("inf"), np.full_like(values, np.nan), by_lengths, penalty)
        e = np.exp(self.beta * (values - top))
        if self.name == "maxflux":
            arcs = np.zeros(n + 1)
            arcs[:-1] += 0.5 * lengths
            arcs[1:] += 0.5 * lengths
            total = float((arcs * e).sum())
            weights = arcs * e / total
            by_arcs = e / total / self.beta
            by_lengths = by_lengths + 0.5 * (by_arcs[:-1] + by_arcs[1:])
            # L up to a constant that depends on the unit of length.
            value = top + np.log(total) / self.beta
        else:
            weights = e / e.sum()
            value = top + np.log(e.mean()) / self.beta
        return Terms(float(value) + penalty, weights, by_lengths, penalty)


def median_above(values: Any) -> float:
    """Compute median_m(F_m − min F) over the finite values."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite - finite.min())) if finite.size else 0.0


def capped(line_values: np.ndarray) -> np.ndarray:
    """Limit values on the straight line, those that are not finite included, to :data:`SPIKE` medians."""
    finite = line_values[np.isfinite(line_values)]
    median = median_above(line_values)
    if not finite.size or not median > 0:
        return line_values
    top = finite.min() + SPIKE * median
    return np.where(np.isfinite(line_values), np.minimum(line_values, top), top)


def make_objective(name: str, power: float = 1, offset: float = 0.0, lam: float | None = None) -> PowerSum | SoftTop:
    """Make an objective by name.

    Raises
    ------
    ValueError
        If the name is unknown, or power, offset or λ have no effect on the objective.
    """
    if name == "sum":
        if power == 1 and offset != 0:
            raise ValueError("offset has no effect at power 1, where it shifts L as a whole; remove it or give a power")
        return PowerSum(power, offset, lam)
    if name not in ("maxflux", "smoothmax"):
        raise ValueError(f"objective is {name!r}; expected one of sum, maxflux, smoothmax")
    if lam is not None:
        raise ValueError(f"lam belongs to the objective 'sum' (this one is {name}, which penalises unequal segments)")
    if power != 1 or offset != 0:
        raise ValueError(f"power and offset belong to the objective 'sum' (this one is {name})")
    return SoftTop(name)
