"""Motions that leave a landscape's value alone: how far apart two points are but for those."""

from __future__ import annotations

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


def distance_without_zero_modes(
    landscape: Any, a: np.ndarray, b: np.ndarray, zero_modes: Callable[[np.ndarray], np.ndarray]
) -> float:
    """Measure the distance of two points after b was moved along the zero modes, in full, as near to a as it gets.

    The point follows b' = P(b) (a − b), P(b) being the projection on the zero modes at b, by the classical Runge–Kutta
    method: rigid motions of atoms become the translation and the proper rotation of a superposition (Kabsch, 1976),
    and any other continuous symmetry is followed as well. The landscape is not evaluated. Mirror images, and atoms of
    one kind that were exchanged, stay apart.

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

    plain = float(np.linalg.norm(away(b)))
    Z = zero_modes(b)
    if not len(Z) or plain == 0:
        return plain
    found = float(np.linalg.norm(away(follow(b))))
    # A turn by 180° stands where the distance is greatest, and every way leads down from there.
    if found > (1 - STUCK) * plain:
        kick = np.random.default_rng(0).standard_normal(len(Z))
        kick *= KICK * plain / (np.linalg.norm(kick) or 1.0)
        found = min(found, float(np.linalg.norm(away(follow(b + Z.T @ kick)))))
    return min(plain, found)
