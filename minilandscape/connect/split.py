"""The minima that a path passes."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ..backend import to_device
from ..landscape import as_landscape
from ..motion import distance_without_zero_modes
from ..paths import Path
from ..saddles import REACHED, Known, Surface
from .refine import RESIDUAL, check_positive, distances, range_without_spike
from .valley import minimum_below

#: A path's range of values is no more than so many times that of its lower half: what lies above is a spike.
SPIKE = 50
#: A path is looked at for minima in so many intervals at least.
INTERVALS = 49
#: The direction of a path is that between points so far apart in t.
APART = 1e-3


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
    TypeError
        If ``path`` is no :class:`Path`.

    Warns
    -----
    UserWarning
        If a low point led to no minimum: which, and why.

    Notes
    -----
    Low points are looked for at the path's M points, and between them where that makes fewer than 49 intervals. A
    minimum narrower than those is not seen; the certificate of the piece then does not connect its ends.
    """
    check_positive("least", least, "part of the values' range")
    if not isinstance(path, Path):
        raise TypeError(
            f"path is {type(path).__name__}; expected a Path, of find_path or as a Connection has it in path"
        )
    land = as_landscape(landscape, path.start.size)
    ends = np.stack([path.start, path.end]).astype(np.float64)
    scale, _, _ = distances(land, ends)
    t, values = _finely(land, path)
    height = range_without_spike(values, SPIKE)
    depth = least * height
    surface, reach = Surface(land, scale), float(np.abs(path.end - path.start).max())
    chain, left_out = [ends[0]], []
    for k in _low_points(values, depth):
        x, before = path.points([t[k], t[k] - APART]).astype(np.float64)
        found = minimum_below(surface, x, before - x, reach, RESIDUAL * height / scale, Known())
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
