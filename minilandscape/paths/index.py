"""Find a second negative mode at the maximum of a path, and bend the path along it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend import norm, to_device, to_host
from ..landscape import LandscapeError
from .problem import PathProblem, PathState

#: Finite-difference step, relative to the distance between the endpoints: large enough for noisy forces, as only a sign
#: is required.
STEP = 1e-3
#: Largest number of Hessian-vector products.
PRODUCTS = 30
#: A curvature counts as negative below minus this fraction of the largest known curvature, by central differences.
NEGATIVE = 2e-4
#: A stationary point is near within this fraction of the distance between the endpoints.
NEAR = 0.05
#: Displacements of a path along a second negative mode, relative to the distance between the endpoints.
BENDS = (0.1, 0.02, 0.005)


@dataclass(frozen=True)
class SecondMode:
    """A direction perpendicular to the path of negative curvature at its maximum.

    Attributes
    ----------
    t, direction
        Position of the maximum, and the unit vector (D,).
    stationary
        Whether slope over curvature is below :data:`NEAR`: a stationary point of that index is near.
    """

    t: float
    direction: np.ndarray
    stationary: bool


@dataclass(frozen=True)
class Top:
    """The maximum of a path.

    Attributes
    ----------
    t, x, tangent
        Position, the point (D,), and the unit tangent of the path there.
    zero
        (Z, D): the zero modes there, orthonormal.
    gradient
        (D,): the gradient there.
    """

    t: float
    x: np.ndarray
    tangent: np.ndarray
    zero: np.ndarray
    gradient: np.ndarray

    @classmethod
    def of(cls, problem: PathProblem, t: float, x: np.ndarray, tangent: np.ndarray) -> Top:
        """Evaluate the gradient at the maximum."""
        zero = np.atleast_2d(to_host(problem.landscape.zero_modes(x))).reshape(-1, x.size)
        return cls(t, x, tangent / (norm(tangent) or 1.0), _orthonormal(zero.astype(np.float64)), _gradient(problem, x))


def look_across(problem: PathProblem, top: Top) -> tuple[float, SecondMode | None]:
    """Estimate the decrease of the maximum in a step perpendicular to the path, and find a second negative mode.

    Davidson iterations with finite differences of gradients compute the second lowest mode of the Hessian without zero
    modes. They start with the tangent, the perpendicular gradient, and a fixed random direction, which breaks
    symmetries of the path. The decrease is that of a Newton step in the subspace with absolute curvatures. With more
    than 30 coordinates a soft mode may be missed.
    """
    starts = _starts(top)
    n = min(PRODUCTS, top.x.size - len(top.zero))
    V, HV = np.zeros((0, top.x.size)), np.zeros((0, top.x.size))
    values, y, before = np.zeros(0), np.zeros((0, 0)), np.inf
    h = STEP * problem.distance()
    for k in range(n):
        new = starts[k] if k < len(starts) else HV.T @ y[:, 1] - values[1] * (V.T @ y[:, 1])
        size = norm(new)
        new = _across(new, np.concatenate([top.zero, V]), unit=False)
        if norm(new) <= 1e-8 * size:
            break
        v = new / norm(new)
        V = np.concatenate([V, v[None]])
        Hv = _product(problem, top, v, h)
        HV = np.concatenate([HV, _across(Hv, top.zero, unit=False)[None]])
        T = V @ HV.T
        values, y = np.linalg.eigh(0.5 * (T + T.T))
        if k > 5 and values[1] < 0 and abs(values[1] - before) <= 1e-2 * abs(values[1]):
            break
        before = values[1] if k else np.inf
    return _fall(top.gradient, V, HV), _second_mode(problem, top, V, values, y)


def _product(problem: PathProblem, top: Top, v: np.ndarray, h: float) -> np.ndarray:
    """Compute H v by a one-sided finite difference, on the other side where there is a wall."""
    try:
        return (_gradient(problem, top.x + h * v) - top.gradient) / h
    except LandscapeError as error:
        problem.meter.note_wall(str(error))
        return (top.gradient - _gradient(problem, top.x - h * v)) / h


def _starts(top: Top) -> list[np.ndarray]:
    across = _across(top.gradient, _orthonormal(np.concatenate([top.zero, top.tangent[None]])), unit=False)
    random = np.random.default_rng(1).standard_normal(top.x.size)
    rounding = norm(across) <= 1e-6 * norm(top.gradient)
    return [top.tangent, random] if rounding else [top.tangent, across, random]


def _fall(g: np.ndarray, V: np.ndarray, HV: np.ndarray) -> float:
    """½ Σ (g·u)² / |κ| over the curvatures κ across the first row of V."""
    if len(V) < 2:
        return 0.0
    T = V[1:] @ HV[1:].T
    curvatures, u = np.linalg.eigh(0.5 * (T + T.T))
    along = u.T @ (V[1:] @ g)
    size = np.maximum(np.abs(curvatures), 1e-8 * np.abs(curvatures).max() or 1.0)
    return float(0.5 * (along * (along / size)).sum())


def _second_mode(problem: PathProblem, top: Top, V: np.ndarray, values: np.ndarray, y: np.ndarray) -> SecondMode | None:
    if len(values) < 2 or not values[1] < -NEGATIVE * float(np.abs(values).max()):
        return None
    along = top.tangent @ (V.T @ y[:, :2])  # the direction perpendicular to the path in the plane of both modes
    mode = V.T @ (y[:, :2] @ np.array([along[1], -along[0]]))
    mode, h = _across(mode, _orthonormal(np.concatenate([top.zero, top.tangent[None]]))), STEP * problem.distance()
    ahead, behind = (_gradient(problem, top.x + side * h * mode) for side in (1, -1))
    curvature = float(mode @ (ahead - behind)) / (2 * h)
    if not curvature < -NEGATIVE * float(np.abs(values).max()):
        return None
    return SecondMode(top.t, mode, abs(float(mode @ top.gradient)) <= NEAR * problem.distance() * abs(curvature))


def bent_down(problem: PathProblem, state: PathState, mode: SecondMode, *, by_height: bool = False) -> Any | None:
    """Bend a path along a second negative mode: b (N, D) if L (or the height) is lower there, else None."""
    curve, land, span = problem.curve, problem.landscape, problem.span()
    b = to_device(state.coefficients, land.device, land.dtype)
    shape = to_device(np.outer(curve.bump(mode.t), mode.direction), land.device, land.dtype)
    for bend in BENDS:
        found, least = None, state.height if by_height else state.objective
        for side in (bend, -bend):
            bent = b + shape * (side * problem.distance())
            span.replace(curve.rows, bent)
            values = problem.trial_values(span, curve.C)
            L = float(values.max()) if by_height else problem.terms(values, bent).value
            if np.isfinite(values).all() and least > L:
                found, least = bent, L
        if found is not None:
            return found
    return None


def _gradient(problem: PathProblem, x: np.ndarray) -> np.ndarray:
    problem.meter.spend(1)
    problem.meter.count(1)
    point = to_device(x[None], problem.landscape.device, problem.landscape.dtype)
    _, gradients = problem.landscape.values_and_gradients(point)
    g = to_host(gradients)[0].astype(np.float64)
    if not np.isfinite(g).all():
        raise LandscapeError("the gradient next to the maximum of the path is not finite", x)
    return g


def _orthonormal(rows: np.ndarray) -> np.ndarray:
    _, sizes, basis = np.linalg.svd(rows, full_matrices=False)
    kept: np.ndarray = basis[sizes > 1e-8 * sizes.max(initial=0)]
    return kept.reshape(-1, rows.shape[1])


def _across(v: np.ndarray, aside: np.ndarray, unit: bool = True) -> np.ndarray:
    for _ in range(2):
        v = v - aside.T @ (aside @ v)
    return v / (norm(v) or 1.0) if unit else v
