"""The saddle near a path's maximum, or near a point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..backend import to_host
from ..landscape import as_landscape, vector
from ..motion import distance_without_zero_modes
from ..paths import Path
from ..saddles import Known, Refinement, Saddle, Start, Surface

#: A residual is small below this part of (height above the path's lowest value) / (distance of its ends).
RESIDUAL = 1e-6
#: Ends that lie within this part of their distance, zero modes left out, are the same configuration.
SAME = 1e-3
#: Ends without their zero modes nearer than this part of their distance have been moved as a whole.
MOVED = 1 / 3


def refine_saddle(
    landscape: Any, path: Path | Any, direction: Any = None, *, residual: float | None = None, verify: bool = True
) -> Saddle:
    """Search for the stationary point near a path's highest point, and verify what it is.

    Quasi-Newton steps go uphill along the mode of negative curvature and downhill along all others, within a trust
    radius [1]_. The model of the Hessian begins with one difference of gradients along the path's tangent, and learns
    from every step (the TS-BFGS update [2]_); the Hessian itself is multiplied with vectors only where the model shows
    no negative curvature or several. Then it is verified that exactly one eigenvalue is negative, by Lanczos iterations
    with H v = [∇f(x + hv) − ∇f(x)] / h, or with exact products where the landscape has ``hessian_products``, and the
    value is followed downhill on both sides.

    Parameters
    ----------
    landscape
        Anything that :func:`~minilandscape.landscape.as_landscape` takes; its zero modes are kept out.
    path
        Of :func:`find_path`; or a point (D,) to start from, which has no ends to connect.
    direction
        (D,): the uphill direction at the start; None takes the path's tangent, and the softest mode of a point.
    residual
        Convergence threshold for the largest component of the gradient (of atoms, the largest force), in the
        landscape's units. None takes 1e-6 of the values' range on the path over the distance of its ends, the range cut
        to the saddle's own height so that a spike does not count (from a point: 1e-6 of the largest component of the
        gradients nearby, and no more than 3e-8 of the stiffest eigenvalue times the length over which the landscape
        varies), but no less than three times the noise of the noisiest component. A threshold that is given is kept,
        whatever the noise.
    verify
        Whether index and minima are looked at; without it, nothing more than the residual is known.

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
    The noise of the gradients is measured at the stationary point (:func:`~minilandscape.noise.measure_noise`); the
    steps of the products and the errors of eigenvalues follow from it.

    Refused is what is not told from other stationary points: eigenvalues that are zero within the error of the
    products (directions that leave the value alone belong into ``zero_modes``), zero modes z with |H z| above that
    error, degenerate points, along whose two lowest modes the curvature changes its sign within 0.1 % of the distance
    of the ends, and minima that lie below the saddle by no more than the gradients left explain. With ten coordinates
    or more the chance to miss a second negative eigenvalue is ``chance``, one in a thousand. A descent that ends where
    the Hessian has a negative eigenvalue resumes from there. One that comes within 15 % of the distance of the ends
    from one of them, where the value is a parabola down to it, ends there if no eigenvalue is negative there.
    Gradients that do not add up to the fall of the values along a descent are refused too.

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
    """The complete landscape, and the start of a saddle search at a path's maximum."""
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
            f"the endpoints are the same configuration: they are {apart:.3g} apart once the landscape's zero modes, "
            f"such as rotations, are taken out of their distance of {whole:.3g}"
        )
    at_an_end = "the highest point of the path is its end: there is no barrier" if t in (0.0, 1.0) else None
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
    x = vector("the start", point, landscape).astype(np.float64)
    if x.ndim != 1 or not np.isfinite(x).all():
        raise ValueError(f"the start has shape {x.shape}; expected one finite point (D,), or a Path")
    return as_landscape(landscape, x.size), Start(x)


def _small_on_a_path(path: Path, scale: float) -> Callable[[float], float]:
    """The residual that is small at a point of some value: a spike of the path must not make everything small."""
    low, middle, high = (float(f(path.values)) for f in (np.min, np.median, np.max))
    return lambda value: RESIDUAL * min(high - low, max(middle - low, abs(value - low))) / scale


def distances(land: Any, ends: np.ndarray) -> tuple[float, float, float]:
    """The length over which a path varies: the distance of its ends, unless most of it is due to zero modes.

    Also returned are both distances: the plain one, and that without zero modes.
    """
    plain = float(np.linalg.norm(np.asarray(to_host(land.displacement(ends[0], ends[1])), dtype=np.float64)))
    least = distance_without_zero_modes(land, ends[0], ends[1], Surface(land).zero_modes)
    return (least if SAME < least / plain < MOVED else plain), plain, least


def range_without_spike(values: np.ndarray, most: float) -> float:
    """The range of some values, but no more than so many times that of their lower half: what lies above is a spike."""
    finite = values[np.isfinite(values)]
    low, middle, high = (float(f(finite)) for f in (np.min, np.median, np.max))
    return min(high - low, most * (middle - low)) if middle > low else high - low


def check_positive(name: str, number: Any, what: str) -> None:
    """Raises where an option is no positive, finite number."""
    real = isinstance(number, (int, float, np.integer, np.floating)) and not isinstance(number, bool)
    if not real or not (number > 0 and np.isfinite(number)):
        raise (ValueError if real else TypeError)(f"{name} is {number!r}; expected a positive, finite {what}")
