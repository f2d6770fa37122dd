"""What a path minimises: Eq. (4) with a power of the value above an offset, MaxFlux, and the smooth maximum.

An objective is a function of the values f_m at the M points and of the lengths l_k of the M − 1 steps between them.
Its gradient with respect to the path's coefficients follows from its derivatives by both:
Σ_m ∂L/∂f_m g_m ∂ω_m/∂b + Σ_k ∂L/∂l_k ∂l_k/∂b.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

#: How far below the offset values may lie, as a part of the straight line's range.
SLACK = 1e-3
#: The first β of a staged objective, and the factor from stage to stage, in units of 1 / (median f − lowest f).
FIRST_BETA, NEXT_BETA = 3.0, 3.0
#: Weight of unequal steps, in units of the same scale.
EQUAL_STEPS = 10.0
#: A rise of the path is far below the straight line's scale where so many times the rise is.
SOFT_RISE = 10.0
#: β × rise from which on the top of a path outweighs the rest of it.
WEIGHS = 6.0
#: Values of the straight line that stand higher than so many times its median, both above its lowest, are spikes: what
#: is measured in units of the straight line's values leaves them out.
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
        The part of L that no value enters: λ Σ l², or that of unequal steps.
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
        λ; None until :meth:`settle` knows the straight line.
    """

    power: float = 1.0
    offset: float = 0.0
    lam: float | None = None
    name = "sum"
    #: Set for objectives that are minimised at one β after another.
    staged = False

    def __post_init__(self) -> None:
        if not self.power > 0:
            raise ValueError(f"power is {self.power}; expected a number above 0")

    @property
    def linear(self) -> bool:
        """Whether ∂L/∂f is 1 whatever the values are."""
        return self.power == 1

    @property
    def needs_line(self) -> bool:
        """Whether the straight line has to be known before anything else."""
        return self.lam is None or self.power != 1

    def settle(self, line_values: np.ndarray, distance: float) -> PowerSum:
        """With λ = 0.1 (M − 1) M · median_m(F_m − min F) / distance² of the straight line, where none is given.

        Raises
        ------
        ValueError
            If the offset lies well above some value on the straight line.
        """
        self._check(line_values)
        if self.lam is not None:
            return self
        F, M = self.summands(line_values), len(line_values)
        return replace(self, lam=0.1 * (M - 1) * M * median_above(F) / distance**2)

    def at_fewer_points(self, n_points: int, of: int) -> PowerSum:
        """With a λ that weighs the steps as heavily against n_points values as now against ``of``."""
        return replace(self, lam=(self.lam or 0.0) * n_points * (n_points - 1) / (of * (of - 1)))

    def terms(self, values: np.ndarray, lengths: np.ndarray) -> Terms:
        """L and its derivatives."""
        lam = self.lam or 0.0
        penalty = lam * float((lengths**2).sum())
        value = float(self.summands(values).sum()) + penalty
        return Terms(value, self._slopes(values), 2 * lam * lengths, penalty)

    def left(self, value: float, values: np.ndarray, chord: np.ndarray, line_lengths: np.ndarray) -> float:
        """How far L lies above that of a straight line with the values ``chord``; how far it differs where below."""
        above = value - self.terms(chord, line_lengths).value
        return above if above > 0 else float(np.abs(self.summands(values) - self.summands(chord)).sum())

    def summands(self, values: np.ndarray) -> np.ndarray:
        """F (P,)."""
        if self.power == 1:
            return values - self.offset
        return self._above(values) ** self.power

    def _slopes(self, values: np.ndarray) -> np.ndarray:
        if self.power == 1:
            return np.ones_like(values)
        above = self._above(values)
        if self.power > 1:
            return self.power * above ** (self.power - 1)
        # A root is infinitely steep at the offset; below it, it counts as flat.
        slopes = np.power(above, self.power - 1, out=np.zeros_like(above), where=above > 0)
        return self.power * slopes

    def _check(self, line_values: np.ndarray) -> None:
        finite = line_values[np.isfinite(line_values)]
        if self.power == 1 or not finite.size:
            return
        lowest, span = finite.min(), np.ptp(finite)
        if lowest - self.offset < -SLACK * span:
            raise ValueError(
                f"power {self.power:g} acts on f - offset, and f goes down to {lowest:.6g} on the straight line: "
                f"give an offset of at most that (offset is {self.offset:g})"
            )

    def _above(self, values: np.ndarray) -> np.ndarray:
        above = values - self.offset
        return above if float(self.power).is_integer() else np.maximum(above, 0)


@dataclass(frozen=True)
class SoftTop:
    """(1/β) log Σ_m a_m e^{β f_m}, which weighs the top of the path, and a penalty of unequal steps.

    MaxFlux (Huo and Straub, 1997) has a_m = |Δω_m|, half the sum of the two adjoining steps: the path along which most
    goes over the barrier at the temperature 1/β. The smooth maximum has a_m = 1/M. As β grows both tend to max f.

    The penalty is κ Σ_k (l_k/l̄ − 1)² / (M − 1), which is 0 for equal steps.

    Attributes
    ----------
    name
        ``"maxflux"`` or ``"smoothmax"``.
    beta, kappa
        β and κ; 0 until :meth:`settle` knows the straight line.
    scale
        median f − lowest f over the straight line, in whose units β and κ are chosen.
    """

    name: str
    beta: float = 0.0
    kappa: float = 0.0
    scale: float = 1.0
    lam: float | None = None
    staged = True
    linear = False
    needs_line = True

    def settle(self, line_values: np.ndarray, distance: float) -> SoftTop:
        """With κ, and β of the first stage, or of the stage that a search resumes at."""
        scale = median_above(line_values) or float(np.ptp(line_values[np.isfinite(line_values)])) or 1.0
        return replace(self, beta=self.beta or FIRST_BETA / scale, kappa=EQUAL_STEPS * scale, scale=scale)

    def sharper(self, rise: float) -> SoftTop:
        """With the β of the next stage, after a path that rises so far above its chord.

        A straight line through a clash has a scale that says nothing of the barrier. Where the rise is far below it, β
        and κ go by the rise.
        """
        rise = min(rise, self.scale) or self.scale
        beta = max(NEXT_BETA * self.beta, FIRST_BETA / rise)
        return replace(self, beta=beta, kappa=EQUAL_STEPS * min(self.scale, SOFT_RISE * rise))

    def weighs_the_top(self, rise: float) -> bool:
        """Whether β is large enough for a path of this rise to tell its top from the rest."""
        return self.beta * rise >= WEIGHS

    def at_fewer_points(self, n_points: int, of: int) -> SoftTop:
        """The same."""
        return self

    def left(self, value: float, values: np.ndarray, chord: np.ndarray, line_lengths: np.ndarray) -> float:
        """How far the values lie from ``chord``, a straight line in value from end to end, at most."""
        return float(np.abs(values - chord).max())

    def terms(self, values: np.ndarray, lengths: np.ndarray) -> Terms:
        """L and its derivatives."""
        n = len(lengths)
        mean = lengths.mean()
        unequal = lengths / mean - 1
        penalty = self.kappa * float((unequal**2).sum()) / n
        # l̄ depends on every l: Σ_k u_k (l_k/l̄)/n is taken off.
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
            # L up to a constant: lengths are measured in steps of the whole path's unit.
            value = top + np.log(total) / self.beta
        else:
            weights = e / e.sum()
            value = top + np.log(e.mean()) / self.beta
        return Terms(float(value) + penalty, weights, by_lengths, penalty)


def median_above(values: Any) -> float:
    """median_m(F_m − min F), values that are not finite left out."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite - finite.min())) if finite.size else 0.0


def capped(line_values: np.ndarray) -> np.ndarray:
    """The straight line's values with its spikes, and what is not finite, cut down to :data:`SPIKE` medians."""
    finite = line_values[np.isfinite(line_values)]
    median = median_above(line_values)
    if not finite.size or not median > 0:
        return line_values
    top = finite.min() + SPIKE * median
    return np.where(np.isfinite(line_values), np.minimum(line_values, top), top)


def make_objective(name: str, power: float = 1, offset: float = 0.0, lam: float | None = None) -> PowerSum | SoftTop:
    """An objective by name.

    Raises
    ------
    ValueError
        If there is none of that name, or power, offset or λ are given for one that has none.
    """
    if name == "sum":
        if power == 1 and offset != 0:
            raise ValueError("offset has no effect at power 1, where it shifts L as a whole; remove it or give a power")
        return PowerSum(power, offset, lam)
    if name not in ("maxflux", "smoothmax"):
        raise ValueError(f"objective is {name!r}; expected one of sum, maxflux, smoothmax")
    if lam is not None:
        raise ValueError(f"lam belongs to the objective 'sum' (this one is {name}, which keeps its steps equal itself)")
    if power != 1 or offset != 0:
        raise ValueError(f"power and offset belong to the objective 'sum' (this one is {name})")
    return SoftTop(name)
