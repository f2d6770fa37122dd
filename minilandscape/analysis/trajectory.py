"""The checkpoints of a training run: their principal plane, and their projection onto any plane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend import to_host
from ..landscape import vector

#: Directions whose singular values are below this part of the largest are rounding errors.
RANK = 1e-7


@dataclass(frozen=True)
class Trajectory:
    """The checkpoints of one training run on a plane.

    Attributes
    ----------
    points
        (K, 2): coordinates of the projections.
    values
        (K,): f at the checkpoints themselves.
    distance
        The largest distance of a checkpoint from the plane.
    variance
        (2,): the part of the checkpoints' variance along each axis of the plane.
    """

    points: np.ndarray
    values: np.ndarray
    distance: float
    variance: np.ndarray


def read_checkpoints(landscape: Any, checkpoints: Any) -> np.ndarray:
    """Stack the checkpoints of a run, (K, D) in float64.

    Parameters
    ----------
    landscape
        The landscape; of checkpoints that are no arrays, such as files and state dicts, its method ``vector`` makes
        some.
    checkpoints
        (K, D), or a sequence of vectors (D,) or checkpoints, in the order of training.

    Raises
    ------
    ValueError
        If there are fewer than two, or one has another size or is not finite.
    TypeError
        If one is neither an array nor anything that the landscape reads.
    """
    if isinstance(checkpoints, np.ndarray) and checkpoints.ndim == 2:
        found = [vector("trajectory", checkpoints, landscape)]
    elif isinstance(checkpoints, Sequence) and not isinstance(checkpoints, str):
        found = [_one(landscape, k, c)[None] for k, c in enumerate(checkpoints)]
    else:
        raise TypeError(f"trajectory is {type(checkpoints).__name__}; expected (K, D), or a list of checkpoints")
    n, sizes = sum(len(v) for v in found), sorted({v.shape[1] for v in found})
    if len(sizes) != 1 or n < 2:
        raise ValueError(
            f"trajectory has {n} checkpoints of {' and '.join(map(str, sizes)) or 'no'} coordinates; expected at least "
            "two of equal size"
        )
    stack = np.concatenate(found).astype(np.float64)
    if not np.isfinite(stack).all():
        raise ValueError(f"checkpoint {int(np.argmin(np.isfinite(stack).all(axis=1)))} of the trajectory is not finite")
    return stack


def _one(landscape: Any, k: int, checkpoint: Any) -> np.ndarray:
    """(D,) of one checkpoint."""
    numbers = isinstance(checkpoint, np.ndarray) or (
        isinstance(checkpoint, Sequence) and not isinstance(checkpoint, str)
    )
    if not numbers and hasattr(landscape, "vector"):
        checkpoint = landscape.vector(checkpoint)
    found = vector(f"checkpoint {k} of the trajectory", checkpoint, landscape)
    if found.ndim != 1:
        raise ValueError(f"checkpoint {k} of the trajectory has shape {found.shape}; expected one vector (D,)")
    return found


def offsets_from(landscape: Any, origin: np.ndarray, checkpoints: np.ndarray) -> np.ndarray:
    """(K, D): the displacements of checkpoints from an origin (D,)."""
    return np.stack([np.asarray(to_host(landscape.displacement(origin, c)), dtype=np.float64) for c in checkpoints])


def principal_axes(offsets: np.ndarray) -> np.ndarray:
    r"""Compute the first two principal components (2, D) of the checkpoints of a run.

    They are the first two right singular vectors of the centred offsets :math:`\theta_k - \theta_K` [1]_. The first
    points from the start of the run towards its end; the second to the side on which the run is farthest from the
    line.

    Parameters
    ----------
    offsets
        (K, D): checkpoints minus the last of them.

    Raises
    ------
    ValueError
        If the checkpoints are equal or lie on one line.

    References
    ----------
    .. [1] H. Li, Z. Xu, G. Taylor, C. Studer and T. Goldstein, "Visualizing the loss landscape of neural nets", NeurIPS
       (2018), section 7.
    """
    _, lengths, rows = np.linalg.svd(offsets - offsets.mean(axis=0), full_matrices=False)
    if len(lengths) < 2 or not lengths[1] > RANK * lengths[0]:
        raise ValueError(
            "the checkpoints of the trajectory lie on one line, and span no plane; give three that do not, or points"
        )
    axes = rows[:2].copy()
    along = offsets @ axes.T
    if along[0, 0] > along[-1, 0]:
        axes[0] = -axes[0]
    if along[np.abs(along[:, 1]).argmax(), 1] < 0:
        axes[1] = -axes[1]
    return axes


def projected(offsets: np.ndarray, axes: np.ndarray, values: np.ndarray) -> Trajectory:
    """Project checkpoints onto a plane through the origin of their offsets.

    Parameters
    ----------
    offsets
        (K, D) from the plane's origin.
    axes
        (2, D), linearly independent.
    values
        (K,) at the checkpoints.
    """
    inverse = np.linalg.pinv(axes)  # (D, 2); axes of filter-normalised directions are not orthonormal
    points = offsets @ inverse
    rest = offsets - points @ axes
    centred = offsets - offsets.mean(axis=0)
    total = float((centred**2).sum()) or 1.0
    units = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    variance = ((centred @ units.T) ** 2).sum(axis=0) / total
    return Trajectory(points, np.asarray(values, np.float64), float(np.linalg.norm(rest, axis=1).max()), variance)
