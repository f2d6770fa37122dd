"""Find and verify the saddle near the maximum of a path, or near a point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..backend import to_host
from ..landscape import as_landscape, one_point, vector
from ..motion import distance_without_zero_modes
from ..paths import Path
from ..saddles import Known, Refinement, Saddle, Start, Surface

#: Default threshold of the gradient norm, relative to (rise above the lowest value of the path) / (distance between
#: the endpoints).
RESIDUAL = 1e-6
#: Endpoints whose distance without zero modes is below this fraction of their distance are the same configuration.
SAME = 1e-3
#: If the distance without zero modes is below this fraction of the distance, most of the latter is a rigid motion.
MOVED = 1 / 3


def refine_saddle(
    landscape: Any, path: Path | Any, direction: Any = None, *, residual: float | None = None, verify: bool = True
) -> Saddle:
    r"""Search for the saddle near the maximum of a path, or near a point, and verify it.

    Parameters
    ----------
    landscape
        A landscape or function that :func:`as_landscape` accepts; its zero modes are excluded.
    path
        A path of :func:`find_path`; or a point (D,), a search from which does not check which minima are connected.
    direction
        (D,): the uphill direction at the start; None takes the tangent of the path, or the softest mode at a point.
    residual
        Convergence threshold for the gradient norm: the largest absolute component, in units of value per length; for
        atoms the largest force (ASE's fmax). None takes 1e-6 of the range of the values on the path over the distance
        between its endpoints, the range being limited to the height of the saddle so that a spike has no effect. From a
        point, it takes 1e-6 of the largest component of the gradients nearby, and at most 3e-8 of the largest
        eigenvalue times the length over which the landscape varies. The default is at least three times the noise of
        the noisiest component. A given threshold is used whatever the noise.
    verify
        Whether to verify the index and the minima; without verification only the gradient norm is known.

    Returns
    -------
    Saddle
        ``converged`` is true only if the saddle is verified; otherwise ``reason`` says what is not.

    Raises
    ------
    LandscapeError
        If the start, or every point next to it, cannot be evaluated, or the zero modes of the landscape are invalid.
    ValueError
        If the point or the direction is not finite or has another size, or the residual is not positive.
    TypeError
        If the point or the direction is not a vector of real numbers, or the residual is not a number.

    Notes
    -----
    The search is eigenvector following: quasi-Newton steps go uphill along the mode of negative curvature and downhill
    along all others, within a trust radius [1]_. With the eigenpairs (λ_i, v_i) of a model of the Hessian, uphill mode
    1, and a shift μ ≥ 0 that limits the step,

    .. math:: \Delta x = \frac{v_1 \cdot g}{|\lambda_1| + \mu} v_1
              - \sum_{i > 1} \frac{v_i \cdot g}{|\lambda_i| + \mu} v_i.

    The model starts from one finite difference of gradients along the tangent of the path, and is updated in every step
    (TS-BFGS [2]_). Hessian-vector products are computed only where the model has no negative eigenvalue or several.

    Then Lanczos iterations verify that exactly one eigenvalue is negative, with the products
    H v = [∇f(x + hv) − ∇f(x)] / h, or with exact ones where the landscape has ``hessian_products``. Finally the value
    is followed downhill on both sides. The noise of the gradients is measured at the stationary point
    (:func:`measure_noise`); the finite-difference steps and the errors of the eigenvalues follow from it.

    A saddle is not verified where it cannot be distinguished from other stationary points: where an eigenvalue is zero
    within the error of the products (directions along which the value is constant belong into ``zero_modes``); where
    |H z| is above that error for a zero mode z; where the curvature along one of the two lowest modes changes its sign
    within 0.1 % of the distance between the endpoints (a degenerate point); and where the difference in value between
    saddle and minimum is within the error that the remaining gradients explain. With more than 12 coordinates the
    probability to miss a second negative eigenvalue is ``chance``, 0.001.

    A descent that ends where the Hessian has a negative eigenvalue is resumed from there. A descent that comes within
    15 % of the distance between the endpoints to one of them, where the value is parabolic down to it, ends there if no
    eigenvalue is negative there. A saddle is not verified either where the gradients along a descent do not add up to
    the decrease of the value, within 5 %.

    References
    ----------
    .. [1] T. Helgaker, "Transition-state optimizations by trust-region image minimization", Chem. Phys. Lett. 182, 503
       (1991).
    .. [2] J. M. Bofill, "Remarks on the updated Hessian matrix methods", Int. J. Quantum Chem. 94, 324 (2003).

    Examples
    --------
    >>> import minilandscape as ml
    >>> from minilandscape.potentials import MullerBrown
    >>> land = MullerBrown()
    >>> path = ml.find_path(land, *land.minima[:2])
    >>> saddle = ml.refine_saddle(land, path)
    >>> round(saddle.value, 6), saddle.converged
    (-40.664844, True)
    """
    if residual is not None:
        check_positive("residual", residual, "number")
        residual = float(residual)
    land, start = start_of_path(landscape, path) if isinstance(path, Path) else _start_at_point(landscape, path)
    if direction is not None:
        uphill = vector("the direction", direction, landscape).astype(np.float64)
        if uphill.shape != start.point.shape or not np.isfinite(uphill).all() or not uphill.any():
            raise ValueError(f"direction has shape {uphill.shape}; expected {start.point.shape}, finite and not zero")
        start = replace(start, uphill=uphill)
    known = Known()
    if isinstance(path, Path):
        for point, value in zip((path.start, path.end), path.height_ends, strict=True):
            known.add(point.astype(np.float64), value)
    return Refinement(land, start, residual, known, verify).run()


def start_of_path(landscape: Any, path: Path, places: tuple[int, int] = (0, 1)) -> tuple[Any, Start]:
    """Make the complete landscape, and the start of a saddle search at the maximum of a path."""
    land = as_landscape(landscape, path.start.size)
    ends = np.stack([path.start, path.end]).astype(np.float64)
    scale, whole, apart = distances(land, ends)
    t = path.maximum_t if np.isfinite(path.maximum_t) else float(path.t[path.values.argmax()])
    around = np.clip([t - 1e-3, t + 1e-3], 0, 1)
    tangent = np.subtract(*path.points(around)[::-1]).astype(np.float64)
    displacement = np.abs(to_host(land.displacement(ends[0], ends[1])))
    same = None
    if apart <= SAME * whole:
        same = (
            f"the endpoints are the same configuration: their distance is {whole:.3g}, and {apart:.3g} without the "
            f"landscape's zero modes, such as rotations"
        )
    at_an_end = "the maximum of the path is at an endpoint: there is no barrier" if t in (0.0, 1.0) else None
    start = Start(
        point=path.points(t)[0].astype(np.float64),
        uphill=tangent if tangent.any() else None,
        onward=tangent if tangent.any() else None,
        ends=places,
        scale=scale,
        reach=float(displacement.max()) * scale / whole,
        small=_small_on_a_path(path, scale),
        lowest=float(np.min(path.values)),
        height=float(np.ptp(path.values)),
        same=same,
        reason=at_an_end,
    )
    return land, start


def _start_at_point(landscape: Any, point: Any) -> tuple[Any, Start]:
    x = one_point("the start", point, landscape, "one point (D,), or a Path")
    return as_landscape(landscape, x.size), Start(x)


def _small_on_a_path(path: Path, scale: float) -> Callable[[float], float]:
    """Make the threshold of the gradient norm as a function of the value; a spike of the path has no effect on it."""
    low, middle, high = (float(f(path.values)) for f in (np.min, np.median, np.max))
    return lambda value: RESIDUAL * min(high - low, max(middle - low, abs(value - low))) / scale


def distances(land: Any, ends: np.ndarray) -> tuple[float, float, float]:
    """Compute the length scale of a path: the distance between its endpoints, without zero modes if these dominate it.

    Also returned are both distances: the plain one, and the one without zero modes.
    """
    plain = float(np.linalg.norm(np.asarray(to_host(land.displacement(ends[0], ends[1])), dtype=np.float64)))
    least = distance_without_zero_modes(land, ends[0], ends[1], Surface(land).zero_modes)
    return (least if SAME < least / plain < MOVED else plain), plain, least


def range_without_spike(values: np.ndarray, most: float) -> float:
    """Compute the range of values, limited to a multiple of the range of their lower half: higher ones are spikes."""
    finite = values[np.isfinite(values)]
    low, middle, high = (float(f(finite)) for f in (np.min, np.median, np.max))
    return min(high - low, most * (middle - low)) if middle > low else high - low


def check_positive(name: str, number: Any, what: str) -> None:
    """Raise where an option is not a positive, finite number."""
    real = isinstance(number, (int, float, np.integer, np.floating)) and not isinstance(number, bool)
    if not real or not (number > 0 and np.isfinite(number)):
        raise (ValueError if real else TypeError)(f"{name} is {number!r}; expected a positive, finite {what}")
