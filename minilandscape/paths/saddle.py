"""The saddle certificate: climbs from a path's highest point to the stationary point, and proves what it is."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend import to_device, to_host
from ..files import read_result, write_result
from ..landscape import Evaluations, LandscapeError, as_landscape, vector
from .climb import FIRST_TRUST, RESIDUAL, Climb, whatever_the_value
from .descent import descend
from .modes import Modes
from .result import Path

#: An end is reached when it lies within this part of the distance of the ends.
REACHED = 0.02
#: A path is looked at for minima in so many intervals at least.
INTERVALS = 49
#: Eigenvalues in the result at most.
REPORTED = 6


@dataclass(frozen=True)
class Saddle:
    """A stationary point, and what is known of it.

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
        (D,): the eigenvector of the lowest.
    minima, minima_values
        (2, D), (2,): where the descents on both sides end, the side of the path's start first.
    connects_ends
        Whether these are the path's ends, within 2 % of their distance.
    converged
        A small residual, exactly one negative eigenvalue, and both descents finished.
    reason
        Why not; ``"converged"`` if so.
    evaluations
        Points evaluated.
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

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes an ``.npz`` that :func:`load_saddle` reads."""
        arrays = {name: getattr(self, name) for name in ("point", "eigenvalues", "mode", "minima", "minima_values")}
        names = ("value", "residual", "zero_modes", "connects_ends", "converged", "reason")
        facts = {name: getattr(self, name) for name in names}
        write_result(path, "saddle", arrays, {**facts, "evaluations": vars(self.evaluations).copy()})


def load_saddle(path: str | os.PathLike[str]) -> Saddle:
    """Reads what :meth:`Saddle.save` wrote; ValueError names the file where it is damaged."""
    arrays, facts = read_result(path, "saddle")
    counts = Evaluations(**facts.pop("evaluations"))
    known: dict[str, Any] = {k: v for k, v in {**arrays, **facts}.items() if k not in ("format", "kind")}
    return Saddle(**known, evaluations=counts)


def refine_saddle(landscape: Any, path: Path | Any, direction: Any = None, *, residual: float | None = None) -> Saddle:
    """Climbs to the stationary point near a path's highest point, and finds out what it is.

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
        (D,): the uphill direction at the start; None takes the path's tangent.
    residual
        The largest component of the gradient that counts as none; None takes 1e-6 of the values' range on the path
        over the distance of its ends, the range cut to the saddle's own height so that a spike does not count (of a
        point: 1e-6 of the largest component of the gradients there and 3 % of about the coordinates' size, but no less
        than one, on both sides, cut to what such a way makes of the stiffest eigenvalue where the climb ends).

    Returns
    -------
    Saddle
        ``converged`` only if all of it is proved; ``reason`` says what is not.

    Raises
    ------
    LandscapeError
        If the start itself cannot be evaluated, or the landscape's zero modes are none or all directions.
    ValueError
        If the point or the direction is not finite or of another size, or the residual is not positive.
    TypeError
        If the point is no vector of real numbers.

    Notes
    -----
    What cannot be told from a saddle of exactly one negative eigenvalue is refused: eigenvalues that are zero within
    the error of the differences (directions that leave the value alone belong into ``zero_modes``), zero modes z with
    |H z| above that error, and degenerate points, along whose two lowest modes the curvature changes its sign within
    0.1 % of the distance of the ends. With more than 60 coordinates the chance to miss a second negative eigenvalue is
    one in a million. A descent that comes to rest where the Hessian has a negative eigenvalue goes on from there.
    """
    if residual is not None and not (residual > 0 and np.isfinite(residual)):
        raise ValueError(f"residual is {residual}; expected a positive, finite number")
    if isinstance(path, Path):
        land = as_landscape(landscape, path.start.size)
        ends = np.stack([path.start, path.end]).astype(np.float64)
        scale = float(np.linalg.norm(np.asarray(to_host(land.displacement(ends[0], ends[1])), dtype=np.float64)))
        t = path.maximum_t if np.isfinite(path.maximum_t) else float(path.t[path.values.argmax()])
        x = path.points(t)[0].astype(np.float64)
        around = np.clip([t - 1e-3, t + 1e-3], 0, 1)
        tangent = np.subtract(*path.points(around)[::-1]).astype(np.float64)
        tolerance = _tolerance(path, scale)
        at_an_end = t in (0.0, 1.0)
    else:
        x = vector("the start", path, landscape).astype(np.float64)
        if x.ndim != 1 or not np.isfinite(x).all():
            raise ValueError(f"the start has shape {x.shape}; expected one finite point (D,), or a Path")
        land = as_landscape(landscape, x.size)
        ends, tangent, tolerance, at_an_end = None, None, None, False
        scale = max(1.0, float(np.sqrt((x**2).mean())))
    if direction is not None:
        tangent = np.asarray(to_host(direction), dtype=np.float64)
        if tangent.shape != x.shape or not np.isfinite(tangent).all() or not tangent.any():
            raise ValueError(f"direction has shape {tangent.shape}; expected {x.shape}, finite and not zero")
    eps = float(np.finfo(land.dtype).eps)
    surface = Modes(land, eps ** (1 / 3) * scale)
    values, gradients = surface.stack(x[None])
    value, g = float(values[0]), gradients[0]
    if not (np.isfinite(value) and np.isfinite(g).all()):
        raise LandscapeError(f"the value or gradient at the start of the climb is not finite ({value})", x)
    guess = tangent if tangent is not None and tangent.any() else np.random.default_rng(0).standard_normal(x.size)
    guess = guess / np.linalg.norm(guess)
    if tolerance is None:
        largest = np.abs(g).max()
        for side in (-1, 1):
            beside = np.abs(surface.value_and_gradient(x + side * FIRST_TRUST * scale * guess)[1]).max()
            largest = max(largest, beside) if np.isfinite(beside) else largest
        tolerance = whatever_the_value(RESIDUAL * float(largest))
    if residual is not None:
        tolerance = whatever_the_value(residual)
    climb = Climb(surface, x, value, g, guess, scale, tolerance, from_a_slope=ends is None and residual is None)
    reason = "the highest point of the path is its end: there is no barrier" if at_an_end else climb.run()
    reason = climb.doubt() if reason is None else reason
    values, vectors = climb.values, climb.vectors
    minima, minima_values = np.full((2, x.size), np.nan), np.full(2, np.nan)
    connects = False
    mode = vectors[0] if len(vectors) else np.zeros(x.size)
    if reason is None:
        if tangent is not None and mode @ tangent < 0:
            mode = -mode
        finished = True
        for k, sign in enumerate((-1, 1)):
            way = sign * mode
            found = descend(surface, climb.x, way, climb.value, scale, climb.tolerance)
            minima[k], minima_values[k], ended = found
            finished &= ended
        if not finished:
            reason = (
                "a descent has not come to rest: a valley goes on or ends at a wall, or the gradient is not that of "
                "the values"
            )
        elif ends is not None:
            connects = _connects(land, surface, ends, minima, scale)
    return Saddle(
        point=climb.x,
        value=climb.value,
        residual=float(np.abs(climb.g).max()),
        eigenvalues=values[:REPORTED],
        zero_modes=len(climb.zero),
        mode=mode,
        minima=minima,
        minima_values=minima_values,
        connects_ends=connects,
        converged=reason is None,
        reason=reason or "converged",
        evaluations=surface.evaluations,
    )


def _tolerance(path: Path, scale: float) -> Callable[[float], float]:
    """The residual that is small at a point of some value: a spike of the path must not make everything small."""
    low, middle, high = (float(f(path.values)) for f in (np.min, np.median, np.max))
    return lambda value: RESIDUAL * min(high - low, max(middle - low, abs(value - low))) / scale


def _connects(land: Any, surface: Modes, ends: np.ndarray, minima: np.ndarray, scale: float) -> bool:
    def apart(a: np.ndarray, b: np.ndarray) -> float:
        away = np.asarray(to_host(land.displacement(a, b)), dtype=np.float64)
        zero = surface.zero_modes(b)
        return float(np.linalg.norm(away - zero.T @ (zero @ away)))

    near = np.array([[apart(end, minimum) <= REACHED * scale for minimum in minima] for end in ends])
    return bool((near[0, 0] and near[1, 1]) or (near[0, 1] and near[1, 0]))


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
        (K, D), K of at least 2; each low point followed downhill to rest, those left out that come to rest where
        another did.

    Notes
    -----
    Low points are looked for at the path's M points, and between them where that makes fewer than 49 intervals. A
    minimum narrower than those is not seen; the certificate of the piece then does not connect its ends.
    """
    land = as_landscape(landscape, path.start.size)
    scale = float(np.linalg.norm(np.asarray(to_host(land.displacement(path.start, path.end)), dtype=np.float64)))
    span = float(np.ptp(path.values))
    surface = Modes(land, float(np.finfo(land.dtype).eps) ** (1 / 3) * scale)
    chain = [path.start.astype(np.float64)]
    t, values = _finely(land, path)
    for k in range(1, len(values) - 1):
        if not (values[k] <= values[k - 1] and values[k] < values[k + 1]):
            continue
        if min(values[:k].max(), values[k + 1 :].max()) - values[k] < least * span:
            continue
        x = path.points(t[k])[0].astype(np.float64)
        still = np.zeros_like(x)
        found, _, ended = descend(surface, x, still, float("inf"), scale, RESIDUAL * span / scale)
        others = [*chain, path.end]
        apart = [np.linalg.norm(np.asarray(to_host(land.displacement(found, o)), dtype=np.float64)) for o in others]
        if ended and min(apart) > REACHED * scale:
            chain.append(found)
    return np.stack([*chain, path.end.astype(np.float64)])


def _finely(land: Any, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """t and values of a path, with points put between its own where those are few."""
    parts = -(-INTERVALS // (len(path.t) - 1))
    between = np.concatenate([np.linspace(a, b, parts + 1)[1:-1] for a, b in zip(path.t[:-1], path.t[1:], strict=True)])
    if not between.size:
        return path.t, path.values
    more = land.values(to_device(path.points(between), land.device, land.dtype))
    order = np.argsort(t := np.concatenate([path.t, between]), kind="stable")
    return t[order], np.concatenate([path.values, np.where(np.isfinite(more), more, np.inf)])[order]
