"""The saddle certificate: climbs from a path's highest point to the stationary point, and proves what it is."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..backend import to_device, to_host
from ..files import read_result, write_result
from ..hessian import Differences
from ..landscape import Evaluations, LandscapeDefaults, LandscapeError, as_landscape, vector
from ..motion import distance_without_zero_modes
from .climb import FIRST_TRUST, RESIDUAL, Climb, whatever_the_value
from .descent import Descent, descend, settle
from .modes import Modes
from .result import Path

#: An end is reached when it lies within this part of the distance of the ends, and within so much where the residual
#: left at the minimum explains it.
REACHED, MOST_BESIDE = 0.02, 0.1
#: Ends that lie within this part of their distance, zero modes left out, are the same configuration.
SAME = 1e-3
#: Ends without their zero modes nearer than this part of their distance have been moved as a whole.
MOVED = 1 / 3
#: A path's range of values is no more than so many times that of its lower half: what lies above is a spike.
SPIKE = 50
#: From a point, the landscape varies over so many of the lengths over which its curvature changes.
LENGTHS = 5
#: A path is flat if its range is below this part of what its slope and curvature explain.
FLAT = 1e-4
#: The highest point of a path is too steep if its slope makes so many times its height over the distance of the ends.
STEEP = 300
#: From a point, the search may rise by so many times what its slope and curvature explain.
RISE = 10
#: Energies below this, or above its inverse, are taken in other units: their squares would be lost.
EXTREME = 1e-100
#: A path is looked at for minima in so many intervals at least.
INTERVALS = 49
#: Eigenvalues in the result at most.
REPORTED = 6
_MEASURED = ("tolerance", "noise", "step")


@dataclass(frozen=True, repr=False)
class Saddle:
    """A stationary point, and what was verified of it.

    Attributes
    ----------
    point, value
        (D,), and f there.
    residual
        The largest component of the gradient there.
    eigenvalues
        The lowest of the Hessian, ascending, zero modes left out.
    zero_modes
        How many directions were left out because they leave the value alone.
    mode
        (D,): the eigenvector of the lowest, towards the path's end (or along ``direction``).
    minima, minima_values
        (2, D), (2,): where the descents on both sides end, the side of the path's start first (from a point: the side
        that ``direction`` comes from).
    connects_ends
        Whether these are the path's ends, within 2 % of their distance, zero modes such as rotations left out in full.
        Atoms of one kind that were exchanged make another configuration.
    converged
        A small residual, exactly one negative eigenvalue, and on both sides a lower point with a small residual and no
        negative eigenvalue.
    reason
        Why not; ``"converged"`` if so, with more after it where the noise has set the tolerance.
    evaluations
        Points evaluated.
    tolerance
        The residual that counted as small; NaN in files of earlier versions, as the next two.
    noise
        That of the noisiest component of the gradient, as measured (:func:`~minilandscape.noise.measure_noise`).
    step
        h of the Hessian-vector products.
    """

    point: np.ndarray
    value: float
    residual: float
    eigenvalues: np.ndarray
    zero_modes: int
    mode: np.ndarray
    minima: np.ndarray
    minima_values: np.ndarray
    connects_ends: bool
    converged: bool
    reason: str
    evaluations: Evaluations
    tolerance: float = float("nan")
    noise: float = float("nan")
    step: float = float("nan")

    def __repr__(self) -> str:
        sides = ", connects the ends of the path" if self.connects_ends else ""
        return f"<Saddle: value {self.value:.8g}, residual {self.residual:.3g}, {self.reason}{sides}>"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes an ``.npz`` that :func:`load_saddle` reads."""
        arrays = {name: getattr(self, name) for name in ("point", "eigenvalues", "mode", "minima", "minima_values")}
        names = ("value", "residual", "zero_modes", "connects_ends", "converged", "reason", *_MEASURED)
        facts = {name: getattr(self, name) for name in names}
        write_result(path, "saddle", arrays, {**facts, "evaluations": vars(self.evaluations).copy()})


def load_saddle(path: str | os.PathLike[str]) -> Saddle:
    """Reads what :meth:`Saddle.save` wrote; ValueError names the file where it is damaged."""
    arrays, facts = read_result(path, "saddle")
    counts = Evaluations(**facts.pop("evaluations"))
    known: dict[str, Any] = {k: v for k, v in {**arrays, **facts}.items() if k not in ("format", "kind")}
    known |= {name: float("nan") for name in _MEASURED if known.get(name) is None}
    return Saddle(**known, evaluations=counts)


def refine_saddle(landscape: Any, path: Path | Any, direction: Any = None, *, residual: float | None = None) -> Saddle:
    """Search for the stationary point near a path's highest point, and verify what it is.

    Eigenvector following: along the lowest mode of the Hessian the step goes uphill, along all others downhill, each
    by its Newton length, within a trust radius. The Hessian is never formed beyond its products with vectors,
    H v = [∇f(x + hv) − ∇f(x − hv)] / 2h; with more than 60 coordinates its lowest modes come from Lanczos iterations,
    and the step in the rest from conjugate gradients. From the saddle the value is followed downhill on both sides.

    Parameters
    ----------
    landscape
        Anything that :func:`~minilandscape.landscape.as_landscape` takes; its zero modes are kept out.
    path
        Of :func:`find_path`; or a point (D,) to start from, which has no ends to connect.
    direction
        (D,): the uphill direction at the start; None takes the path's tangent, and the softest mode of a point.
    residual
        Convergence threshold for the largest component of the gradient, in the landscape's units. None takes 1e-6 of
        the values' range on the path over the distance of its ends, the range cut to the saddle's own height so that a
        spike does not count (from a point: 1e-6 of the largest component of the gradients nearby, and no more than 3e-8
        of the stiffest eigenvalue times the length over which the landscape varies), but no less than three times the
        noise of the noisiest component. A threshold that is given is kept, whatever the noise.

    Returns
    -------
    Saddle
        ``converged`` only if all of it is verified; ``reason`` says what is not.

    Raises
    ------
    LandscapeError
        If the start, or everything beside it, cannot be evaluated, or the landscape's zero modes are none or all
        directions.
    ValueError
        If the point or the direction is not finite or of another size, or the residual is not positive.
    TypeError
        If the point or the direction is no vector of real numbers, or the residual no number.

    Notes
    -----
    The noise of the gradients is measured first (:func:`~minilandscape.noise.measure_noise`), and again at the saddle
    where it matters; the step of the products and the errors of eigenvalues follow from it.

    Refused is what is not told from other stationary points: eigenvalues that are zero within the error of the
    products (directions that leave the value alone belong into ``zero_modes``), zero modes z with |H z| above that
    error, degenerate points, along whose two lowest modes the curvature changes its sign within 0.1 % of the distance
    of the ends, and minima that lie below the saddle by no more than the gradients left explain. With more than 60
    coordinates the chance to miss a second negative eigenvalue is one in a million. A descent that ends where the
    Hessian has a negative eigenvalue resumes from there. Gradients that do not add up to the fall of the values along a
    descent are refused too.
    """
    if residual is not None:
        _check_positive("residual", residual, "number")
    start = _start_of_path(landscape, path) if isinstance(path, Path) else _start_at_point(landscape, path)
    x, uphill = start.point, start.tangent
    if direction is not None:
        uphill = vector("the direction", direction, landscape).astype(np.float64)
        if uphill.shape != x.shape or not np.isfinite(uphill).all() or not uphill.any():
            raise ValueError(f"direction has shape {uphill.shape}; expected {x.shape}, finite and not zero")
    if uphill is not None and not uphill.any():
        uphill = None
    surface = Modes(start.landscape, start.scale)
    values, gradients = surface.stack(x[None])
    value, g = float(values[0]), gradients[0]
    if not (np.isfinite(value) and np.isfinite(g).all()):
        raise LandscapeError(f"the value or gradient at the start of the saddle search is not finite ({value})", x)
    guess = uphill if uphill is not None else np.random.default_rng(0).standard_normal(x.size)
    guess = guess / np.linalg.norm(guess)
    surface.measure(x, value, g, guess)
    surface.scale = scale = start.scale or LENGTHS * surface.noise.scale
    energy = _rise(surface, g, scale)
    if energy and not EXTREME < energy < 1 / EXTREME:
        unit = 2.0 ** round(np.log2(energy))
        return _in_other_units(unit, start.landscape, path, direction, residual, surface.evaluations)
    if residual is not None:
        tolerance = whatever_the_value(float(residual))
    else:
        tolerance = start.tolerance or _tolerance_at_point(surface, x, g, guess, scale)
    climb = Climb(
        surface,
        x,
        value,
        g,
        guess,
        scale,
        tolerance,
        from_a_slope=start.tolerance is None and residual is None,
        softest=uphill is None,
        strict=residual is not None,
        highest=2 * value - start.lowest if start.ends is not None else value + RISE * energy,
    )
    if start.same is not None and start.height <= FLAT * energy:
        reason: str | None = start.same
    else:
        reason = start.reason or _too_steep(climb, start.lowest) or climb.run() or climb.doubt()
        if reason is not None and start.same is not None:  # they may be, and a saddle between them, as of an inversion
            reason = f"{start.same}; {reason}"
    onward = uphill if start.tangent is None or not start.tangent.any() else start.tangent
    return _with_descents(climb, reason, start.ends, onward)


def _with_descents(climb: Climb, reason: str | None, ends: np.ndarray | None, onward: np.ndarray | None) -> Saddle:
    """The result of a search, with the minima on both sides if it has found a saddle: that is, if there is no reason
    why not."""
    surface, D = climb.surface, climb.x.size
    mode = climb.vectors[0] if len(climb.vectors) else np.zeros(D)
    if onward is not None and mode @ onward < 0:
        mode = -mode
    minima, minima_values = np.full((2, D), np.nan), np.full(2, np.nan)
    connects = False
    if reason is None:
        lowest = float(climb.values[0])
        descents = [
            descend(surface, climb.x, way, climb.value, lowest, climb.scale, climb.tolerance) for way in (-mode, mode)
        ]
        minima, minima_values = np.stack([d.point for d in descents]), np.array([d.value for d in descents])
        reason = next((d.reason for d in descents if d.reason is not None), None) or _lower(climb, descents)
        if reason is None and ends is not None:
            connects, other_way = _connects(surface, ends, descents, climb.scale)
            if other_way:
                mode, minima, minima_values = -mode, minima[::-1].copy(), minima_values[::-1].copy()
    noise = surface.noise.gradient_largest
    reached = "converged"
    if climb.within_noise:
        reached += (
            f" within the noise: gradients of {climb.tolerance:.3g} count as zero, since their noise is {noise:.3g}"
        )
    return Saddle(
        point=climb.x,
        value=climb.value,
        residual=float(np.abs(climb.g).max()),
        eigenvalues=climb.values[:REPORTED],
        zero_modes=len(climb.zero),
        mode=mode,
        minima=minima,
        minima_values=minima_values,
        connects_ends=connects,
        converged=reason is None,
        reason=reason or reached,
        evaluations=surface.evaluations,
        tolerance=climb.tolerance,
        noise=noise,
        step=surface.step,
    )


class _Rescaled(LandscapeDefaults):
    """A landscape with its values in other units."""

    def __init__(self, landscape: Any, unit: float) -> None:
        self.inner, self.unit = landscape, unit
        self.size, self.dtype, self.device = landscape.size, landscape.dtype, landscape.device
        self.displacement, self.zero_modes = landscape.displacement, landscape.zero_modes  # type: ignore[method-assign]

    def values_and_gradients(self, points: Any) -> tuple[np.ndarray, Any]:
        values, gradients = self.inner.values_and_gradients(points)
        return values / self.unit, gradients / self.unit


def _in_other_units(
    unit: float, land: Any, path: Any, direction: Any, residual: float | None, spent: Evaluations
) -> Saddle:
    """The saddle of values whose squares are no numbers: found of the values over a power of two, and multiplied."""
    if isinstance(path, Path):
        path = replace(path, values=path.values / unit)
    small = None if residual is None else float(residual) / unit
    found = refine_saddle(_Rescaled(land, unit), path, direction, residual=small)
    words = found.reason if found.reason == "converged" else f"{found.reason} (values in units of {unit:.6g})"
    scaled = {name: getattr(found, name) * unit for name in ("value", "residual", "eigenvalues", "minima_values")}
    scaled |= {name: getattr(found, name) * unit for name in ("tolerance", "noise")}
    return replace(found, **scaled, reason=words, evaluations=spent + found.evaluations)


def _check_positive(name: str, number: Any, what: str) -> None:
    real = isinstance(number, (int, float, np.integer, np.floating)) and not isinstance(number, bool)
    if not real or not (number > 0 and np.isfinite(number)):
        raise (ValueError if real else TypeError)(f"{name} is {number!r}; expected a positive, finite {what}")


@dataclass(frozen=True)
class _Start:
    """Where a saddle search begins, and what is known of the surroundings.

    Attributes
    ----------
    ends, tangent, scale, tolerance
        Of a path: its ends (2, D), its direction at the point, how far apart its ends are but for zero modes, and the
        residual that is small at a point of some value; None of a point.
    lowest
        The lowest value of the path; minus infinity of a point.
    height
        The range of the path's values.
    same
        That the ends are the same configuration, if they are, in words.
    reason
        Why there is no saddle to be searched for; None if there may be one.
    """

    landscape: Any
    point: np.ndarray
    ends: np.ndarray | None = None
    tangent: np.ndarray | None = None
    scale: float | None = None
    tolerance: Callable[[float], float] | None = None
    lowest: float = float("-inf")
    height: float = float("inf")
    same: str | None = None
    reason: str | None = None


def _start_of_path(landscape: Any, path: Path) -> _Start:
    land = as_landscape(landscape, path.start.size)
    ends = np.stack([path.start, path.end]).astype(np.float64)
    scale, whole, apart = _scale(land, ends)
    t = path.maximum_t if np.isfinite(path.maximum_t) else float(path.t[path.values.argmax()])
    around = np.clip([t - 1e-3, t + 1e-3], 0, 1)
    same = None
    if apart <= SAME * whole:
        same = (
            f"the endpoints are the same configuration: they are {apart:.3g} apart once the landscape's zero modes, "
            f"such as rotations, are taken out of their distance of {whole:.3g}"
        )
    at_an_end = "the highest point of the path is its end: there is no barrier" if t in (0.0, 1.0) else None
    return _Start(
        landscape=land,
        point=path.points(t)[0].astype(np.float64),
        ends=ends,
        tangent=np.subtract(*path.points(around)[::-1]).astype(np.float64),
        scale=scale,
        tolerance=_tolerance(path, scale),
        lowest=float(np.min(path.values)),
        height=float(np.ptp(path.values)),
        same=same,
        reason=at_an_end,
    )


def _start_at_point(landscape: Any, point: Any) -> _Start:
    x = vector("the start", point, landscape).astype(np.float64)
    if x.ndim != 1 or not np.isfinite(x).all():
        raise ValueError(f"the start has shape {x.shape}; expected one finite point (D,), or a Path")
    return _Start(as_landscape(landscape, x.size), x)


def _too_steep(climb: Climb, lowest: float) -> str | None:
    """Why no saddle can be near the highest point of a path; None if one may be."""
    height, slope = climb.value - lowest, float(np.linalg.norm(climb.g))
    if not slope * climb.scale > STEEP * height:
        return None
    return (
        f"no saddle is near the highest point of the path: its gradient of {slope:.3g} takes it down its height of "
        f"{height:.3g} within {height / slope:.3g}, the endpoints being {climb.scale:.3g} apart, as where atoms are "
        "pushed into each other; match like atoms of the endpoints, or find a lower path first"
    )


def _rise(surface: Modes, g: np.ndarray, scale: float) -> float:
    """How far a smooth landscape may rise over the length over which it varies."""
    return float(np.abs(g).max()) * scale + surface.noise.curvature * scale**2


def _lower(climb: Climb, descents: list[Descent]) -> str | None:
    """Why the minima may be no lower than the saddle; None if they are."""
    saddle = float(climb.g @ climb.g) / (2 * abs(float(climb.values[0])))
    for descent in descents:
        fall, explained = climb.value - descent.value, saddle + descent.uncertainty + climb.surface.level
        if not fall > explained:
            return (
                f"a descent ends {fall:.3g} below the saddle, and the gradients left explain {explained:.3g}: a "
                "smaller residual or less noise is needed to tell them apart"
            )
    return None


def _tolerance(path: Path, scale: float) -> Callable[[float], float]:
    """The residual that is small at a point of some value: a spike of the path must not make everything small."""
    low, middle, high = (float(f(path.values)) for f in (np.min, np.median, np.max))
    return lambda value: RESIDUAL * min(high - low, max(middle - low, abs(value - low))) / scale


def _tolerance_at_point(
    surface: Modes, x: np.ndarray, g: np.ndarray, guess: np.ndarray, scale: float
) -> Callable[[float], float]:
    """The residual that is small beside the slopes around a point."""
    largest = float(np.abs(g).max())
    for side in (-1, 1):
        beside = float(np.abs(surface.value_and_gradient(x + side * FIRST_TRUST * scale * guess)[1]).max())
        largest = max(largest, beside) if np.isfinite(beside) else largest
    return whatever_the_value(RESIDUAL * largest)


def _connects(surface: Modes, ends: np.ndarray, descents: list[Descent], scale: float) -> tuple[bool, bool]:
    """Whether the minima are the ends, and whether in the other order."""

    def is_near(end: np.ndarray, descent: Descent) -> bool:
        # With a large residual a descent ends beside its minimum.
        enough = REACHED * scale + min(descent.away, MOST_BESIDE * scale)
        return distance_without_zero_modes(surface.landscape, end, descent.point, surface.zero_modes) <= enough

    near = np.array([[is_near(end, descent) for descent in descents] for end in ends])
    same, other = bool(near[0, 0] and near[1, 1]), bool(near[0, 1] and near[1, 0])
    return same or other, other and not same


def split_at_minima(landscape: Any, path: Path, *, least: float = 0.02) -> np.ndarray:
    """The chain of minima that a path passes through: its start, what lies at its inner low points, and its end.

    Parameters
    ----------
    path
        Of :func:`find_path`.
    least
        How deep a low point has to lie below the lower of the peaks beside it, as a part of the values' range.

    Returns
    -------
    ndarray
        (K, D), K of at least 2; each low point followed downhill to a verified minimum, those left out that lead to
        where another did, zero modes left out.

    Raises
    ------
    ValueError
        If ``least`` is not positive and finite.

    Warns
    -----
    UserWarning
        If a low point led to no minimum: which, and why.

    Notes
    -----
    Low points are looked for at the path's M points, and between them where that makes fewer than 49 intervals. A
    minimum narrower than those is not seen; the certificate of the piece then does not connect its ends.
    """
    _check_positive("least", least, "part of the values' range")
    land = as_landscape(landscape, path.start.size)
    ends = np.stack([path.start, path.end]).astype(np.float64)
    scale, _, _ = _scale(land, ends)
    t, values = _finely(land, path)
    depth = least * _range(values)
    surface: Modes | None = None
    chain, left_out = [ends[0]], []
    for k in _low_points(values, depth):
        x = path.points(t[k])[0].astype(np.float64)
        if surface is None:
            surface = Modes(land, scale)
        value, g = surface.value_and_gradient(x)
        if not (np.isfinite(value) and np.isfinite(g).all()):
            left_out.append(f"t = {t[k]:.4g}: the landscape cannot be evaluated there")
            continue
        if not hasattr(surface, "noise"):
            surface.measure(x, value, g)
        found = settle(surface, x, value, g, scale, RESIDUAL * _range(values) / scale)
        if found.reason is not None:
            left_out.append(f"t = {t[k]:.4g}: {found.reason}")
        elif all(
            distance_without_zero_modes(land, other, found.point, surface.zero_modes) > REACHED * scale
            for other in [*chain, ends[1]]
        ):
            chain.append(found.point)
    if left_out:
        warnings.warn(
            f"{len(left_out)} of the path's low points led to no minimum and are left out; " + "; ".join(left_out),
            stacklevel=2,
        )
    return np.stack([*chain, ends[1]])


def _scale(land: Any, ends: np.ndarray) -> tuple[float, float, float]:
    """The length over which a path varies: the distance of its ends, unless most of it is due to zero modes.

    Also returned are both distances: the plain one, and that without zero modes.
    """
    plain = float(np.linalg.norm(np.asarray(to_host(land.displacement(ends[0], ends[1])), dtype=np.float64)))
    least = distance_without_zero_modes(land, ends[0], ends[1], Differences(land, 0.0).zero_modes)
    return (least if SAME < least / plain < MOVED else plain), plain, least


def _range(values: np.ndarray) -> float:
    """The range of a path's values, without a spike."""
    finite = values[np.isfinite(values)]
    low, middle, high = (float(f(finite)) for f in (np.min, np.median, np.max))
    return min(high - low, SPIKE * (middle - low)) if middle > low else high - low


def _low_points(values: np.ndarray, depth: float) -> list[int]:
    """Places of values that lie below the highest on both sides by a depth."""
    return [
        k
        for k in range(1, len(values) - 1)
        if values[k] <= values[k - 1]
        and values[k] < values[k + 1]
        and min(values[:k].max(), values[k + 1 :].max()) - values[k] >= depth
    ]


def _finely(land: Any, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """t and values of a path, with points put between its own where those are few."""
    parts = -(-INTERVALS // (len(path.t) - 1))
    between = np.concatenate([np.linspace(a, b, parts + 1)[1:-1] for a, b in zip(path.t[:-1], path.t[1:], strict=True)])
    if not between.size:
        return path.t, path.values
    more = land.values(to_device(path.points(between), land.device, land.dtype))
    order = np.argsort(t := np.concatenate([path.t, between]), kind="stable")
    return t[order], np.concatenate([path.values, np.where(np.isfinite(more), more, np.inf)])[order]
