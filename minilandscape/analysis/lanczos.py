"""Extreme eigenvalues of the Hessian from Hessian-vector products: Lanczos iterations, and checks of what they find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from ..hessian import Differences, Exact
from ..landscape import LandscapeError, describe_point

#: Products are compared with those at a step smaller by this factor.
FINER = 4


class Products:
    """Hessian-vector products at a point, with zero modes projected out; they are counted."""

    def __init__(
        self, differences: Differences, x: np.ndarray, zero: np.ndarray, callback: Callable[[int], Any] | None
    ) -> None:
        self.differences, self.x, self.zero = differences, x, zero
        self._callback, self.done = callback, 0

    def __call__(self, v: np.ndarray) -> np.ndarray:
        """Compute H v for rows v (n, D)."""
        Hv = self.differences.products(self.x, v - (v @ self.zero.T) @ self.zero)
        if not np.isfinite(Hv).all():
            raise LandscapeError(f"the gradient beside {describe_point(self.x)} is not finite", self.x)
        self.done += len(v)
        if self._callback is not None:
            self._callback(self.done)
        result: np.ndarray = Hv - (Hv @ self.zero.T) @ self.zero
        return result

    def at(self, v: np.ndarray, step: float) -> np.ndarray:
        """Compute H v with another finite-difference step, one row after another."""
        usual, self.differences.step = self.differences.step, step
        try:
            return np.concatenate([self(row[None]) for row in v])
        finally:
            self.differences.step = usual

    def change(self, v: np.ndarray, step: float) -> float:
        """Compute the largest difference between products at a step and at a quarter of it."""
        changes = np.linalg.norm(self.at(v, step) - self.at(v, step / FINER), axis=1)
        return float(changes.max())


@dataclass(frozen=True)
class End:
    """Eigenvalues at one end of the spectrum.

    Attributes
    ----------
    values, vectors
        (k,) from the end inwards, and unit eigenvectors (k, D).
    residuals
        (k,): |H v − λ v|.
    changed
        (k,): the difference between products with each vector at the step and at a quarter of it.
    images
        (k, D): H v.
    """

    values: np.ndarray
    residuals: np.ndarray
    vectors: np.ndarray
    changed: np.ndarray
    images: np.ndarray


def residual_limit(eigenvalues: Any, largest: float, tolerance: float) -> Any:
    """Compute the largest residual of a converged eigenvalue, for each of some eigenvalues."""
    return tolerance * np.maximum(np.abs(eigenvalues), 1e-3 * largest)


def verified(products: Products, eigenvalues: np.ndarray, vectors: np.ndarray) -> End:
    """Compute residuals by exact products, or by finite differences at the step and at a quarter of it."""
    if not len(vectors):
        return End(eigenvalues, np.zeros(0), vectors, np.zeros(0), vectors)
    step = products.differences.step
    at_step = products.at(vectors, step)
    finer = at_step if isinstance(products.differences, Exact) else products.at(vectors, step / FINER)
    residuals = [np.linalg.norm(Hv - eigenvalues[:, None] * vectors, axis=1) for Hv in (at_step, finer)]
    changed = np.linalg.norm(finer - at_step, axis=1)
    return End(eigenvalues, np.maximum(*residuals), vectors, changed, at_step)


def lanczos_ends(
    products: Products, n: int, rng: np.random.Generator, tolerance: float
) -> tuple[list[tuple[np.ndarray, np.ndarray]], bool]:
    """Compute n eigenvalues and eigenvectors (rows) at each end, the lowest first; and whether none was overlooked."""
    x, zero = products.x, products.zero
    D, complete = x.size, True
    start = rng.standard_normal(D)
    start -= zero.T @ (zero @ start)
    size = float(np.linalg.norm(products(start[None]))) / float(np.linalg.norm(start))
    if not size > 0:
        raise LandscapeError(f"the Hessian at {describe_point(x)} times a random vector is zero", x)

    def scaled(v: np.ndarray) -> np.ndarray:
        """In units of a typical product: ARPACK considers eigenvalues below 4e-11 converged at once."""
        return products(v) / size

    # Zero modes have the eigenvalue 0 here. They are removed from what is found.
    operator = LinearOperator((D, D), matvec=lambda v: scaled(v.reshape(1, -1))[0], dtype=np.float64)
    ends = [_one_end(operator, which, n, zero, start, tolerance) for which in ("SA", "LA")]
    most = max(float(np.abs(eigenvalues).max(initial=0)) for eigenvalues, _ in ends)
    for k, which in enumerate(("SA", "LA")):
        if len(ends[k][0]):
            eigenvalues, vectors, none_missing = _with_repeated(scaled, which, zero, *ends[k], most, rng, tolerance)
            ends[k] = (eigenvalues, vectors)
            complete &= none_missing
    return [(size * eigenvalues, vectors) for eigenvalues, vectors in ends], complete


def _one_end(
    operator: Any, which: str, n: int, zero: np.ndarray, start: np.ndarray, tolerance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Compute n eigenvalues at one end, from there inwards, and eigenvectors (rows), zero modes removed."""
    D, k = operator.shape[0], n + len(zero)
    try:
        values, vectors = eigsh(
            operator, k=k, which=which, v0=start, ncv=min(D - 1, max(4 * k, 40)), maxiter=50, tol=tolerance
        )
    except ArpackNoConvergence as stopped:
        values, vectors = stopped.eigenvalues, stopped.eigenvectors
    no_zero_mode = np.linalg.norm(zero @ vectors, axis=0) < 0.5
    values, vectors = values[no_zero_mode], vectors[:, no_zero_mode]
    order = np.argsort(values if which == "SA" else -values)[:n]
    return values[order], vectors[:, order].T


def _with_repeated(
    products: Callable[[np.ndarray], np.ndarray],
    which: str,
    zero: np.ndarray,
    values: np.ndarray,
    vectors: np.ndarray,
    largest: float,
    rng: np.random.Generator,
    tolerance: float,
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Complete one end by the further eigenvectors of repeated eigenvalues; return also whether none is missing.

    Lanczos iterations from one start find one eigenvector of each eigenvalue. What was found is deflated, its
    eigenvalues moved beyond the other end of the spectrum, and the iterations restart from another random vector until
    they find nothing beyond the last of the n eigenvalues.
    """
    sign, D = (1 if which == "SA" else -1), vectors.shape[1]
    for _ in range(2 * len(values)):
        deflated = np.concatenate([zero, vectors])

        def product(v: np.ndarray, deflated: np.ndarray = deflated) -> np.ndarray:
            along = deflated @ v.ravel()
            Hv = products((v.ravel() - deflated.T @ along)[None])[0]
            result: np.ndarray = Hv - deflated.T @ (deflated @ Hv - sign * largest * along)
            return result

        operator = LinearOperator((D, D), matvec=product, dtype=np.float64)
        try:
            value, vector = eigsh(
                operator, k=1, which=which, v0=rng.standard_normal(D), ncv=min(D - 1, 40), maxiter=50, tol=tolerance
            )
        except ArpackNoConvergence:
            return values, vectors, False
        if sign * (values[-1] - value[0]) <= residual_limit(values[-1], largest, tolerance):
            return values, vectors, True
        # Near kinks of the gradient the iterations may return a vector that is no eigenvector.
        residual = np.linalg.norm(products(vector.T)[0] - value[0] * vector[:, 0])
        if residual > residual_limit(value[0], largest, tolerance):
            continue
        values, vectors = np.append(values, value), np.concatenate([vectors, vector.T])
        order = np.argsort(sign * values)[: len(values) - 1]
        values, vectors = values[order], vectors[order]
    return values, vectors, False
