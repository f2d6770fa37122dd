"""Stochastic Lanczos quadrature of a symmetric operator, with the outlying eigenvalues counted exactly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

#: Eigenvectors of the first iterations are deflated where their residual is below this part of their eigenvalue. The
#: error of a moment is of second order in it.
CONVERGED = 1e-3
#: With fewer random vectors than this none of them is spent on outlying eigenvectors.
FEWEST = 4
#: The first iterations take the products of one in so many random vectors, and of so many at most.
PART, LONGEST = 8, 3
#: Random vectors are orthogonalised where they are more than this part of the dimension: else there is nothing to gain.
MANY = 0.01

Product = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Quadrature:
    """Nodes and weights of the density of eigenvalues.

    Attributes
    ----------
    nodes, weights
        (P, k + steps): for each random vector the eigenvalues that were deflated, each of weight 1/D, and the Ritz
        values of the rest. Weights add to 1.
    deflated
        k.
    orthogonal
        Whether the random vectors are orthogonal to each other.
    """

    nodes: np.ndarray
    weights: np.ndarray
    deflated: int
    orthogonal: bool


def quadrature(
    product: Product, zero: np.ndarray, rng: np.random.Generator, probes: int, steps: int, breakdown: float
) -> Quadrature:
    """Estimate the density of eigenvalues of an operator on the orthogonal complement of some directions.

    The iterations from a first random vector find the outlying eigenvectors, whose eigenvalues are counted exactly.
    Iterations from the others estimate the density of the operator on the complement of these.

    Parameters
    ----------
    product
        A v of a vector (D,).
    zero
        (Z, D): orthonormal directions that are left out.
    rng
        Draws the random vectors.
    probes
        Random vectors in all.
    steps
        Lanczos iterations for each.
    breakdown
        Iterations end where the next vector is shorter than this part of the largest coefficient.
    """
    free = zero.shape[1] - len(zero)
    longer = max(1, min(LONGEST, probes // PART))
    first = lanczos(product, zero, _random(rng, zero), min(longer * steps, free), breakdown)
    if probes >= FEWEST:
        outliers, vectors = first.converged()
    else:
        outliers, vectors = np.zeros(0), np.zeros((0, zero.shape[1]))
    removed = np.concatenate([zero, vectors])
    k, rest = len(outliers), free - len(outliers)
    if not rest:
        return Quadrature(outliers[None], np.full((1, k), 1 / free), k, True)
    found = [] if k else [first]  # of which longer iterations have more nodes
    probes = min(probes - (longer if k else 0), rest)
    orthogonal = probes >= MANY * rest
    drawn = np.zeros((0, zero.shape[1])) if k else first.basis[:1]
    while len(found) < probes:
        v = _random(rng, np.concatenate([removed, drawn]) if orthogonal else removed)
        drawn = np.concatenate([drawn, v[None]]) if orthogonal else drawn
        found.append(lanczos(product, removed, v, min(steps, rest), breakdown))
    longest = max(len(run.values) for run in found)
    # Iterations that ended early are filled up by nodes without weight.
    nodes = np.stack([np.append(run.values, np.full(longest - len(run.values), run.values[-1])) for run in found])
    weights = np.stack([np.append(run.weights, np.zeros(longest - len(run.values))) for run in found])
    nodes = np.hstack([np.broadcast_to(outliers, (len(found), k)), nodes])
    weights = np.hstack([np.full((len(found), k), 1 / free), rest / free * weights])
    return Quadrature(nodes, weights, k, orthogonal)


@dataclass(frozen=True)
class Lanczos:
    """What Lanczos iterations found.

    Attributes
    ----------
    values, weights
        (m,): Ritz values, and the squared first components of their vectors in the basis.
    components
        (m, m): these vectors, in columns.
    basis
        (m, D).
    last
        The length of the vector that would come next; 0 where the basis spans an invariant subspace.
    """

    values: np.ndarray
    weights: np.ndarray
    components: np.ndarray
    basis: np.ndarray
    last: float

    def converged(self) -> tuple[np.ndarray, np.ndarray]:
        """The Ritz values and vectors (k, D) that are eigenvalues and eigenvectors."""
        residuals = self.last * np.abs(self.components[-1])
        good = residuals <= CONVERGED * np.abs(self.values)
        good &= np.abs(self.values) > CONVERGED * np.abs(self.values).max(initial=0)
        return self.values[good], self.components[:, good].T @ self.basis


def lanczos(product: Product, removed: np.ndarray, v: np.ndarray, steps: int, breakdown: float) -> Lanczos:
    """Run Lanczos iterations from a unit vector v (D,) on the complement of orthonormal directions (Z, D)."""
    basis = np.zeros((steps, v.size))
    basis[0] = v
    diagonal: list[float] = []
    off_diagonal: list[float] = []
    while True:
        known = basis[: len(diagonal) + 1]
        w = product(known[-1])
        diagonal.append(float(w @ known[-1]))
        for _ in range(2):  # twice, since rounding spoils a small remainder
            w = w - known.T @ (known @ w)
            w -= removed.T @ (removed @ w)
        length = float(np.linalg.norm(w))
        ended = length <= breakdown * max(map(abs, [*diagonal, *off_diagonal]))
        if ended or len(diagonal) == steps:
            break
        off_diagonal.append(length)
        basis[len(diagonal)] = w / length
    values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(off_diagonal, 1) + np.diag(off_diagonal, -1))
    return Lanczos(values, vectors[0] ** 2, vectors, basis[: len(diagonal)], 0.0 if ended else length)


def _random(rng: np.random.Generator, removed: np.ndarray) -> np.ndarray:
    """A random unit vector orthogonal to some orthonormal directions."""
    v = rng.standard_normal((removed.shape[1],))
    for _ in range(2):
        v -= removed.T @ (removed @ v)
    unit: np.ndarray = v / np.linalg.norm(v)
    return unit
