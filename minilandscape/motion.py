"""Motions that leave a landscape's value alone: how far apart two points are but for those."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from .backend import to_host

#: Steps of the motion, each by this part of what is left to move, and how many at most.
STEP, MOST_STEPS = 0.25, 200
#: The motion ends where less than this part of the distance is left to be gained.
ENOUGH = 1e-5
#: A point that turns away by so little of the distance may stand on the far side, where no motion seems to help.
STUCK = 1e-2
#: It is then pushed by this part of the distance, which hardly leaves the motions' orbit.
KICK = 1e-3
#: Unit vectors are in a span, or depend on each other, within this.
RIGID = 1e-6


def distance_without_zero_modes(
    landscape: Any, a: np.ndarray, b: np.ndarray, zero_modes: Callable[[np.ndarray], np.ndarray]
) -> float:
    """Measure the distance of two points after b was moved along the zero modes, as :func:`moved_near` does it."""
    return float(np.linalg.norm(moved_near(landscape, a, b, zero_modes)))


def moved_near(
    landscape: Any, a: np.ndarray, b: np.ndarray, zero_modes: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Find the displacement (D,) from a to b after b was moved along the zero modes, in full, as near to a as it gets.

    Where the zero modes are the rigid motions of free atoms, that is a superposition (Kabsch, 1976). Elsewhere, as with
    frozen atoms, the point follows b' = P(b) (a − b), P(b) being the projection on the zero modes at b, by the
    classical Runge–Kutta method. The landscape is not evaluated. Mirror images, and atoms of one kind that were
    exchanged, stay apart.

    Parameters
    ----------
    landscape
        A complete one; its ``displacement`` is used.
    a, b
        (D,).
    zero_modes
        ``zero_modes(x) -> (Z, D)``, orthonormal.
    """

    def away(x: np.ndarray) -> np.ndarray:
        return np.asarray(to_host(landscape.displacement(x, a)), dtype=np.float64)

    def along(x: np.ndarray) -> np.ndarray:
        Z = zero_modes(x)
        motion: np.ndarray = Z.T @ (Z @ away(x))
        return motion

    def follow(x: np.ndarray) -> np.ndarray:
        for _ in range(MOST_STEPS):
            k1, left = along(x), float(np.linalg.norm(away(x)))
            if left <= ENOUGH * plain or np.linalg.norm(k1) <= ENOUGH * left:
                break
            k2 = along(x + 0.5 * STEP * k1)
            k3 = along(x + 0.5 * STEP * k2)
            x = x + STEP / 6 * (k1 + 2 * k2 + 2 * k3 + along(x + STEP * k3))
        return x

    found = -away(b)
    plain = float(np.linalg.norm(found))
    Z = zero_modes(b)
    if not len(Z) or plain == 0:
        return found
    if np.array_equal(-found, a - b) and _are_rigid(Z, b):
        return _nearer(found, _superposed(a, b) - a)
    found = _nearer(found, -away(follow(b)))
    # A turn by 180° stands where the distance is greatest, and every way leads down from there.
    if np.linalg.norm(found) > (1 - STUCK) * plain:
        kick = np.random.default_rng(0).standard_normal(len(Z))
        kick *= KICK * plain / (np.linalg.norm(kick) or 1.0)
        found = _nearer(found, -away(follow(b + Z.T @ kick)))
    return found


def _nearer(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return other if np.linalg.norm(other) < np.linalg.norm(one) else one


def _are_rigid(Z: np.ndarray, x: np.ndarray) -> bool:
    """Whether zero modes span the translations and rotations of atoms at x (3n,), and nothing else."""
    if x.size % 3:
        return False
    centred = x.reshape(-1, 3) - x.reshape(-1, 3).mean(axis=0)
    motions = [np.tile(axis, len(centred)) for axis in np.eye(3)]
    motions += [np.cross(axis, centred).ravel() for axis in np.eye(3)]
    sizes = np.linalg.norm(motions, axis=1, keepdims=True)
    units = np.array(motions) / np.where(sizes > 0, sizes, 1.0)
    spanned = np.linalg.norm(units - (units @ Z.T) @ Z, axis=1).max() < RIGID
    return bool(spanned and len(Z) <= np.linalg.matrix_rank(units, tol=RIGID))


def _superposed(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Atoms at b (3n,) after the translation and proper rotation that bring them nearest to those at a."""
    from scipy.spatial.transform import Rotation

    middle = a.reshape(-1, 3).mean(axis=0)
    p, q = a.reshape(-1, 3) - middle, b.reshape(-1, 3) - b.reshape(-1, 3).mean(axis=0)
    size = float(np.abs(p).max()) or 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of atoms on a line any turn about it will do
        rotation, _ = Rotation.align_vectors(p / size, q / size)
    moved: np.ndarray = (rotation.apply(q) + middle).ravel()
    return moved
