"""The minima that a path passes."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ..backend import to_device
from ..display import count
from ..landscape import as_landscape
from ..motion import distance_without_zero_modes
from ..paths import Path
from ..saddles import REACHED, Known, Surface
from .refine import RESIDUAL, check_positive, distances, range_without_spike
from .valley import minimum_below

#: A range of values is limited to this many times the range of its lower half: higher values count as spikes.
SPIKE = 50
#: Smallest number of intervals in which minima of the path are located.
INTERVALS = 49
#: Step in t for the direction of the path.
APART = 1e-3


def split_at_minima(landscape: Any, path: Path, *, least: float = 0.02) -> np.ndarray:
    """Find the chain of minima along a path: its start, the minima below its inner low points, and its end.

    Parameters
    ----------
    landscape
        A landscape or function that :func:`as_landscape` accepts.
    path
        A path of :func:`find_path`.
    least
        Smallest depth of a low point below the lower of its two neighbouring peaks, relative to the range of the
        values.

    Returns
    -------
    ndarray
        (K, D), K ≥ 2: the start, verified minima, and the end. Each low point is followed downhill to a minimum;
        minima that were found before, up to zero modes, are omitted.

    Raises
    ------
    ValueError
        If ``least`` is not positive and finite.
    TypeError
        If ``path`` is not a :class:`Path`.

    Warns
    -----
    UserWarning
        If a low point did not lead to a minimum: its t, and the reason.

    Notes
    -----
    Low points are located at the M sample points, and at points between them where that makes fewer than 49 intervals.
    A narrower minimum is missed; the saddle of its segment then does not connect the endpoints of the segment.

    Examples
    --------
    >>> import minilandscape as ml
    >>> from minilandscape.potentials import MullerBrown
    >>> land = MullerBrown()
    >>> path = ml.find_path(land, *land.minima[:2])
    >>> ml.split_at_minima(land, path).round(3)
    array([[-0.558,  1.442],
           [-0.05 ,  0.467],
           [ 0.623,  0.028]])
    """
    check_positive("least", least, "part of the values' range")
    if not isinstance(path, Path):
        raise TypeError(
            f"path is {type(path).__name__}; expected a Path, as find_path returns it or a Connection holds it in .path"
        )
    land = as_landscape(landscape, path.start.size)
    ends = np.stack([path.start, path.end]).astype(np.float64)
    scale, _, _ = distances(land, ends)
    t, values = _finely(land, path)
    height = range_without_spike(values, SPIKE)
    depth = least * height
    surface, reach = Surface(land, scale), float(np.abs(path.end - path.start).max())
    chain, omitted = [ends[0]], []
    for k in _low_points(values, depth):
        x, before = path.points([t[k], t[k] - APART]).astype(np.float64)
        found = minimum_below(surface, x, before - x, reach, RESIDUAL * height / scale, Known())
        if found.reason is not None:
            omitted.append(f"t = {t[k]:.4g}: {found.reason}")
        elif all(
            distance_without_zero_modes(land, other, found.point, surface.zero_modes) > REACHED * scale
            for other in [*chain, ends[1]]
        ):
            chain.append(found.point)
    if omitted:
        warnings.warn(
            f"{count(len(omitted), 'low point')} of the path led to no minimum: " + "; ".join(omitted),
            stacklevel=2,
        )
    return np.stack([*chain, ends[1]])


def _low_points(values: np.ndarray, depth: float) -> list[int]:
    """Find the positions of values that lie below the highest values on both sides by a depth."""
    return [
        k
        for k in range(1, len(values) - 1)
        if values[k] <= values[k - 1]
        and values[k] < values[k + 1]
        and min(values[:k].max(), values[k + 1 :].max()) - values[k] >= depth
    ]


def _finely(land: Any, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return t and values of a path, with additional points between its sample points where these are few."""
    parts = -(-INTERVALS // (len(path.t) - 1))
    between = np.concatenate([np.linspace(a, b, parts + 1)[1:-1] for a, b in zip(path.t[:-1], path.t[1:], strict=True)])
    if not between.size:
        return path.t, path.values
    more = land.values(to_device(path.points(between), land.device, land.dtype))
    order = np.argsort(t := np.concatenate([path.t, between]), kind="stable")
    return t[order], np.concatenate([path.values, np.where(np.isfinite(more), more, np.inf)])[order]
