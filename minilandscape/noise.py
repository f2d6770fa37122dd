"""Measure the noise of values and gradients at a point, and choose finite-difference steps by it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import comb, isfinite, sqrt
from typing import Any

import numpy as np

from .backend import to_device, to_host
from .landscape import Evaluations, LandscapeError, as_landscape, describe_point, one_point

#: Sample points of a difference table besides the point itself, and how many lie behind it: fewer than ahead, since
#: rounding errors of opposite sign on both sides would cancel.
POINTS, BEHIND = 6, 2
#: Order of evaluation: the noise of a calculation that restarts from its last result must not vary smoothly.
ORDER = (4, 1, 5, 2, 0, 3)
#: Spacing of the first difference table, and the largest spacing, relative to the given length.
SPACING, MOST_SPACING = 1e-4, 1e-2
#: Spacing of a second table where the relative noise of the gradient is above a limit: about the finite-difference
#: step that follows from it; and that limit.
SPACING_OF_NOISE, NOISY = 3e-3, 1e-12
#: Estimates from two orders of differences agree if their ratio is below this.
AGREE = 4
#: Largest number of tables; factors by which the next one is finer or coarser.
MOST_TABLES, FINER, COARSER = 8, 100, 10
#: The gradient counts as linear if its second differences are below this fraction of the first differences.
BENT = 0.1
#: Smallest finite-difference step, relative to the length over which the curvature changes.
LEAST_STEP = 1e-4
#: The same for one-sided differences: longer, so that discontinuities of a gradient, as at a cutoff, matter less.
LEAST_ONE_SIDED = 3e-4
#: Upper bound of that length, relative to the given length.
REACH = 1 / 3
#: A change of the curvature over more than this many spacings is measured with coarser tables; their largest number.
FAR, MOST_FARTHER = 1e5, 6
#: Curvature is resolved if the first differences are this many times the noise.
VISIBLE = 10


@dataclass(frozen=True, repr=False)
class Noise:
    """The noise of values and gradients at a point: standard deviations, in the landscape's units, never zero.

    Noise is the part of the difference between two evaluations at nearly the same point that no smooth function
    explains: rounding errors, self-consistent iterations that were stopped, random numbers.

    Attributes
    ----------
    value
        Standard deviation of f.
    gradient
        Standard deviation of the gradient components: root mean square over all of them.
    gradient_largest
        Standard deviation of the noisiest gradient component.
    curvature
        |H u| along the unit vector u of the measurement, whose components are all of similar size.
    length
        Length over which the curvature along u changes by 100 %; infinite where no change was resolved.
    scale
        Length over which f varies: the given one, or a shorter one where f is not smooth over it.
    spacing
        Distance between the sample points.
    size
        Number of coordinates D.
    evaluations
        Numbers of function evaluations.

    Examples
    --------
    >>> import numpy as np
    >>> import minilandscape as ml
    >>> from minilandscape.potentials import MullerBrown
    >>> noise = ml.measure_noise(MullerBrown(), np.array([-0.8, 0.6]))
    >>> 1e-15 < noise.gradient <= noise.gradient_largest < 1e-11
    True
    """

    value: float
    gradient: float
    gradient_largest: float
    curvature: float
    length: float
    scale: float
    spacing: float
    size: int
    evaluations: Evaluations = field(default_factory=Evaluations)

    def __repr__(self) -> str:
        """One line: D, and the standard deviations of the value and of the gradient components."""
        return f"Noise(D={self.size}, value={self.value:.2g}, gradient={self.gradient:.2g})"


def measure_noise(
    landscape: Any,
    point: Any,
    *,
    scale: float | None = None,
    direction: Any = None,
    known: tuple[float, Any] | None = None,
) -> Noise:
    r"""Measure the noise of values and gradients at a point by difference tables along a line.

    Parameters
    ----------
    landscape
        A landscape or function that :func:`as_landscape` accepts.
    point
        (D,): the point x.
    scale
        A length over which f varies, such as the distance between two endpoints: the first spacing is 1e-4 of it. None
        takes the root mean square of the coordinates, or 1 where that is 0, and measures over longer distances where no
        change of the curvature is resolved.
    direction
        (D,): a direction of interest. The line of the measurement is inclined towards it, and ``length`` is that of the
        slope along this direction where that is shorter.
    known
        (value, gradient) at the point, where they are known; they are not evaluated again.

    Returns
    -------
    Noise
        Standard deviations. Values and gradients that are all exact in single precision are taken to be rounded to it,
        whatever the dtype.

    Raises
    ------
    LandscapeError
        If the point, or every point next to it, cannot be evaluated.
    ValueError
        If the point is not one finite vector, or the scale not a positive, finite number.

    Notes
    -----
    Differences Δ^k of order k of equally spaced samples f(x + i h u), i = −2, …, 4, vanish as h^k where f is smooth.
    Noise of variance σ² gives them [1]_

    .. math:: \operatorname{E} (\Delta^k f)^2 = \frac{(2k)!}{(k!)^2} \sigma^2.

    The order is raised until the estimates of σ agree; the spacing h is raised where the samples do not differ, and
    lowered where they are not smooth. No point is evaluated twice.

    References
    ----------
    .. [1] J. J. Moré and S. M. Wild, "Estimating computational noise", SIAM J. Sci. Comput. 33, 1292 (2011).

    Examples
    --------
    >>> import numpy as np
    >>> import minilandscape as ml
    >>> from minilandscape.potentials import MullerBrown
    >>> noise = ml.measure_noise(MullerBrown(), np.array([-0.8, 0.6]))
    >>> 1e-15 < noise.gradient < 1e-11
    True
    """
    x = one_point("the point", point, landscape)
    if scale is not None and not (scale > 0 and isfinite(scale)):
        raise ValueError(f"scale is {scale}; expected a positive, finite length")
    land = as_landscape(landscape, x.size)
    probe = _Probe(land, x, known, direction)
    # A spacing has to move every coordinate by several units in the last place.
    least = 32 * probe.eps * float(np.abs(x).max()) * sqrt(x.size)
    length = float(scale) if scale is not None else float(np.sqrt(np.mean(x**2))) or 1.0
    best = probe.search(max(SPACING * length, least), least, MOST_SPACING * length)
    reach = min(length, best.spacing / SPACING)
    if best.gradient > NOISY * (best.curvature * reach + np.abs(probe.gradient).max()):
        best = probe.coarser_noise(best, SPACING_OF_NOISE * reach)
    bends = best.length if scale is not None else probe.length(best)
    if scale is None and isfinite(bends):
        reach = bends
    return Noise(
        value=best.value,
        gradient=best.gradient,
        gradient_largest=best.gradient_largest,
        curvature=best.curvature,
        length=bends,
        scale=reach,
        spacing=best.spacing,
        size=x.size,
        evaluations=probe.evaluations,
    )


def product_step(noise: Noise, scale: float | None = None) -> tuple[float, float]:
    r"""Choose the step h of Hessian-vector products by finite differences of gradients, and estimate their error.

    Parameters
    ----------
    noise
        The result of :func:`measure_noise`.
    scale
        A length over which f varies, an upper bound of l below. None takes the one of the noise measurement.

    Returns
    -------
    step, error
        h, and the expected norm of the error of H v: the sign of a smaller curvature along v is uncertain.

    Notes
    -----
    The error of the two-sided difference

    .. math:: H v \approx \frac{\nabla f(x + h v) - \nabla f(x - h v)}{2 h}, \qquad |v| = 1,

    has a contribution √(D/2) σ / h of the noise σ of the gradient components, and a contribution |H v| (h / l)² / 6 of
    the change of the curvature over a length l. The step minimises their sum, and is at least 1e-4 l.

    Examples
    --------
    >>> import numpy as np
    >>> import minilandscape as ml
    >>> from minilandscape.potentials import MullerBrown
    >>> step, error = ml.product_step(ml.measure_noise(MullerBrown(), np.array([-0.8, 0.6])))
    >>> 1e-7 < step < 1e-2 and error < 1e-4
    True
    """
    length = bending_length(noise, scale)
    spread = sqrt(noise.size) * noise.gradient
    step = length * min(max((2 * _relative(noise, length)) ** (1 / 3), LEAST_STEP), 1.0)
    return step, spread / (sqrt(2) * step) + noise.curvature * (step / length) ** 2 / 6


def one_sided_step(noise: Noise, scale: float | None = None) -> float:
    """Choose the step h of one-sided products [∇f(x + h v) − ∇f(x)] / h, whose error is √(2D) σ / h + |H v| h / 2l."""
    length = bending_length(noise, scale)
    return length * min(max(2 * sqrt(_relative(noise, length)), LEAST_ONE_SIDED), 1.0)


def bending_length(noise: Noise, scale: float | None = None) -> float:
    """Estimate the length l over which the curvature along any direction changes by 100 %."""
    reach = noise.scale if scale is None else min(noise.scale, float(scale))
    # The curvature along a few coordinates changes over shorter lengths than that along all of them, as measured.
    return min(REACH * reach, noise.length / sqrt(noise.size))


def _relative(noise: Noise, length: float) -> float:
    """The noise of the gradient relative to its change over a length."""
    return sqrt(noise.size) * noise.gradient / (noise.curvature * length) if noise.curvature > 0 else 0.0


@dataclass(frozen=True)
class _Table:
    """The estimates of a difference table of one spacing."""

    value: float
    gradient: float
    gradient_largest: float
    curvature: float
    length: float
    spacing: float
    #: Whether a smooth contribution is left in the highest differences.
    unsteady: bool
    #: Whether that is so, or the gradient is far from linear: a finer table is required.
    rough: bool
    #: Whether the slope of the gradient is below the noise: a coarser table is required.
    unresolved: bool
    #: Whether more than half of the samples are equal.
    same: bool
    #: Whether the noise of the gradient is above its rounding errors.
    above_rounding: bool


class _Probe:
    """A landscape along a line through a point."""

    def __init__(self, landscape: Any, x: np.ndarray, known: tuple[float, Any] | None, direction: Any) -> None:
        self.landscape, self.x = landscape, x
        self.eps = float(np.finfo(landscape.dtype).eps)
        self.evaluations = Evaluations()
        rng = np.random.default_rng(0)  # components of about the same size: all of them move
        along = rng.choice([-1.0, 1.0], x.size) * rng.uniform(0.5, 1.0, x.size)
        self.along = along / np.linalg.norm(along)
        self.direction = None
        if direction is not None:
            self.direction = np.asarray(to_host(direction), dtype=np.float64)
            self.direction = self.direction / np.linalg.norm(self.direction)
            along = self.along + self.direction
            self.along = along / np.linalg.norm(along)
        if known is None:
            values, gradients = self._evaluate(x[None])
            known = float(values[0]), gradients[0]
        self.value = float(known[0])
        self.gradient = np.asarray(to_host(known[1]), dtype=np.float64)
        if not (isfinite(self.value) and np.isfinite(self.gradient).all()):
            raise LandscapeError(f"the value or the gradient at {describe_point(x)} is not finite ({self.value})", x)

    def _evaluate(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.evaluations.gradients += len(points)
        points = to_device(points, self.landscape.device, self.landscape.dtype)
        values, gradients = self.landscape.values_and_gradients(points)
        return np.asarray(to_host(values), dtype=np.float64), np.asarray(to_host(gradients), dtype=np.float64)

    def table(self, spacing: float) -> _Table | None:
        """Compute the table of one spacing; None where a sample point cannot be evaluated."""
        offsets = np.delete(np.arange(POINTS + 1) - BEHIND, BEHIND)
        values, gradients = np.empty(POINTS), np.empty((POINTS, self.x.size))
        order = list(ORDER)
        try:
            values[order], gradients[order] = self._evaluate(self.x + np.outer(spacing * offsets[order], self.along))
        except LandscapeError:
            return None
        values = np.insert(values, BEHIND, self.value)
        gradients = np.insert(gradients, BEHIND, self.gradient, axis=0)
        if not (np.isfinite(values).all() and np.isfinite(gradients).all()):
            return None
        value, _, _ = _estimate(values[:, None], self._rounding(values))
        gradient, largest, steady = _estimate(gradients, self._rounding(gradients))
        unit = float(np.abs(gradients).max()) or 1.0  # squares of numbers × 1e±200 would be lost
        scaled, spread = gradients / unit, sqrt(self.x.size) * gradient / unit
        rise, bend, length = _bend(scaled, spread)
        if self.direction is not None:
            length = min(length, _bend(scaled @ self.direction[:, None], largest / unit)[2])
        same = bool((np.diff(gradients, axis=0) == 0).mean() > 0.5)
        above = gradient > 100 * self._rounding(gradients)
        unresolved = same or rise < VISIBLE * spread
        rough = not steady or (bend > VISIBLE * spread and bend > BENT * rise)
        return _Table(
            value,
            gradient,
            largest,
            unit * rise / spacing,
            spacing * length,
            spacing,
            not steady,
            rough,
            unresolved,
            same,
            above,
        )

    def search(self, spacing: float, least: float, most: float) -> _Table:
        """Find the first table that is smooth and resolves the slope of the gradient, or else the best one."""
        best: _Table | None = None
        finer = coarser = False
        for _ in range(MOST_TABLES):
            table = self.table(spacing)
            if coarser and best is not None and (table is None or table.gradient > AGREE * best.gradient):
                break  # noise does not depend on the spacing: this growth is the variation of the function
            if table is not None and (best is None or best.unsteady or not table.rough):
                best = table
            if (table is None or table.rough) and not coarser and spacing > least:
                finer, spacing = True, max(spacing / FINER, least)
            elif table is not None and table.unresolved and not finer and spacing * COARSER <= most:
                structure = self._finer_structure(table, least) if not coarser and table.above_rounding else None
                if structure is not None:
                    finer, best, spacing = True, structure, max(structure.spacing / FINER, least)
                    if not structure.rough:
                        break
                else:
                    coarser, spacing = True, min(spacing * (FINER if table.same else COARSER), most)
            else:
                break
        if best is None:
            raise LandscapeError(f"the landscape cannot be evaluated next to {describe_point(self.x)}", self.x)
        return best

    def length(self, table: _Table) -> float:
        """Estimate the length over which the curvature is constant, with coarser tables where one is too fine."""
        for _ in range(MOST_FARTHER):
            if table.length <= FAR * table.spacing:
                break
            coarser = self.table(FINER * table.spacing)
            if coarser is None or coarser.rough:
                break
            table = coarser
        return table.length

    def coarser_noise(self, table: _Table, spacing: float) -> _Table:
        """Compute a coarser table, and use its noise if that is larger: restarted iterations agree at close points."""
        coarser = self.table(spacing) if spacing > FINER**0.5 * table.spacing else None
        noisier = coarser is not None and not coarser.unsteady and coarser.gradient > table.gradient
        if coarser is None or not noisier or coarser.gradient > AGREE**2 * table.gradient:
            return table
        return replace(
            table,
            value=max(table.value, coarser.value),
            gradient=coarser.gradient,
            gradient_largest=max(table.gradient_largest, coarser.gradient_largest),
        )

    def _finer_structure(self, table: _Table, least: float) -> _Table | None:
        """Compute a much finer table, and return it if scatter turns out to be a fine structure and not noise."""
        fine = self.table(sqrt(table.spacing * least) or table.spacing / FINER**2)
        return fine if fine is not None and not fine.same and fine.gradient * AGREE < table.gradient else None

    def _rounding(self, numbers: np.ndarray) -> float:
        """Estimate the rounding error of some numbers: that of single precision where all are exact in it."""
        digits = np.frexp(numbers)[0]
        single = not (digits * 2**24 % 1).any() and (digits * 2**12 % 1).any()
        eps = max(self.eps, float(np.finfo(np.float32).eps)) if single else self.eps
        return max(eps * float(np.abs(numbers).max()) / sqrt(12), float(np.finfo(np.float64).tiny))


def _bend(gradients: np.ndarray, spread: float) -> tuple[float, float, float]:
    """Compute first and second differences of samples of the gradient (POINTS + 1, n), and a length in spacings."""
    rise, bend, twist = (sqrt(float((np.diff(gradients, k, axis=0) ** 2).sum(axis=1).mean())) for k in (1, 2, 3))
    length = float("inf")
    if bend > VISIBLE * spread:
        length = rise / bend
    if twist > VISIBLE * spread:
        length = min(length, sqrt(rise / twist))
    return rise, bend, length


def _estimate(samples: np.ndarray, rounding: float) -> tuple[float, float, bool]:
    """Estimate the noise of samples (POINTS + 1, n): root mean square over columns, the largest, and reliability.

    Estimates are reliable if those of several orders of differences agree, or if they are rounding errors.
    """
    scale = float(np.abs(samples).max()) or 1.0  # squares of values × 1e-200 would be lost
    differences = samples / scale
    sigmas, columns = [], []
    for k in range(1, POINTS + 1):
        differences = np.diff(differences, axis=0)
        variance = (differences**2).mean(axis=0) / comb(2 * k, k)
        sigmas.append(scale * sqrt(float(variance.mean())))
        columns.append(scale * sqrt(float(variance.max())))
    steady = [k for k in range(POINTS - 1) if max(sigmas[k:]) <= AGREE * min(sigmas[k:])]
    # The middle one of those that agree: the first may hold a smooth contribution, the last has one sample.
    k = steady[0] + int(np.argsort(sigmas[steady[0] :])[(POINTS - steady[0]) // 2]) if steady else POINTS - 1
    sigma, largest = max(sigmas[k], rounding), max(columns[k], rounding)
    return sigma, largest, bool(steady) or sigma <= 100 * rounding
