"""Distances between points after motions along zero modes, which do not change the value of a landscape."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from .backend import to_host

#: The motion is followed to this length at most, in units of its own rate, to this accuracy.
LONGEST, ACCURACY = 50.0, 1e-5
#: The motion ends where the relative decrease of the distance is below this.
ENOUGH = 1e-5
#: If the distance decreases by less than this fraction, the point may be at a maximum of the distance.
STUCK = 1e-2
#: It is then displaced by this fraction of the distance, which hardly leaves the orbit of the motions.
KICK = 1e-3
#: Tolerance for unit vectors to lie in a span, or to be linearly dependent.
RIGID = 1e-6


def distance_without_zero_modes(
    landscape: Any, a: np.ndarray, b: np.ndarray, zero_modes: Callable[[np.ndarray], np.ndarray]
) -> float:
    """Compute the distance between two points after b was moved along the zero modes (:func:`moved_near`)."""
    return float(np.linalg.norm(moved_near(landscape, a, b, zero_modes)))


def moved_near(
    landscape: Any, a: np.ndarray, b: np.ndarray, zero_modes: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Compute the displacement (D,) from a to b after b was moved along the zero modes as close to a as possible.

    Where the zero modes are the rigid motions of free atoms, the two configurations are superposed (Kabsch, 1976).
    Translations alone are subtracted. Else, for example with frozen atoms, b' = P(b) (a − b) is integrated by the
    Runge–Kutta method of Dormand and Prince with steps of its own, P(b) being the projection onto the zero modes at b.
    The landscape is not evaluated. Mirror images, and configurations in which identical atoms are exchanged, remain
    different.

    Parameters
    ----------
    landscape
        A complete landscape, whose ``displacement`` is used.
    a, b
        (D,): the points.
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
        from scipy.integrate import RK45

        motion = RK45(lambda _, y: along(y), 0.0, x, LONGEST, rtol=ACCURACY, atol=ACCURACY * plain)
        while motion.status == "running":
            motion.step()
            left = float(np.linalg.norm(away(motion.y)))
            if left <= ENOUGH * plain or np.linalg.norm(along(motion.y)) <= ENOUGH * left:
                break
        return np.asarray(motion.y)

    found = -away(b)
    plain = float(np.linalg.norm(found))
    Z = zero_modes(b)
    if not len(Z) or plain == 0:
        return found
    if np.array_equal(-found, a - b) and _are_rigid(Z, b):
        return _nearer(found, _superposed(a, b) - a)
    some = np.random.default_rng(0).standard_normal(len(Z))
    some *= plain / (np.linalg.norm(some) or 1.0)
    elsewhere = zero_modes(b + Z.T @ some)
    if np.linalg.norm(elsewhere - (elsewhere @ Z.T) @ Z) < RIGID:  # translations, which are the same everywhere
        return _nearer(found, -away(b + Z.T @ (Z @ away(b))))
    found = _nearer(found, -away(follow(b)))
    # After a rotation by 180° the distance is at its maximum, and decreases in every direction.
    if np.linalg.norm(found) > (1 - STUCK) * plain:
        found = _nearer(found, -away(follow(b + Z.T @ (KICK * some))))
    return found


def _nearer(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return other if np.linalg.norm(other) < np.linalg.norm(one) else one


def _are_rigid(Z: np.ndarray, x: np.ndarray) -> bool:
    """Decide whether zero modes span the translations and rotations of atoms at x (3n,), and nothing else."""
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
    """Superpose atoms at b (3n,) on those at a by a translation and a proper rotation."""
    from scipy.spatial.transform import Rotation

    middle = a.reshape(-1, 3).mean(axis=0)
    p, q = a.reshape(-1, 3) - middle, b.reshape(-1, 3) - b.reshape(-1, 3).mean(axis=0)
    if not (p.any() and q.any()):  # one atom, or all at one point
        return (q + middle).ravel()
    size = float(np.abs(p).max())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # for atoms on a line, any rotation about it is optimal
        rotation, _ = Rotation.align_vectors(p / size, q / size)
    moved: np.ndarray = (rotation.apply(q) + middle).ravel()
    return moved
