"""Stochastic Lanczos quadrature of a symmetric operator, the Krylov space of first iterations counted exactly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

#: The first iterations take the products of half the random vectors, and of so many at most.
LONGEST = 3
#: Random vectors are orthogonalised where they are more than this part of the dimension: else there is nothing to gain.
MANY = 0.01

Product = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Quadrature:
    """Nodes and weights of the density of eigenvalues.

    Attributes
    ----------
    nodes, weights
        (P, k + steps): for each random vector the k Ritz values of the first iterations, each of weight 1/D, and the
        Ritz values on the complement of their space. Weights add to 1.
    coupling
        (k,): the elements of the operator between the first Ritz vectors and that complement, which are neglected.
    orthogonal
        Whether the random vectors are orthogonal to each other.
    """

    nodes: np.ndarray
    weights: np.ndarray
    coupling: np.ndarray
    orthogonal: bool


def quadrature(
    product: Product, zero: np.ndarray, rng: np.random.Generator, probes: int, steps: int, breakdown: float
) -> Quadrature:
    """Estimate the density of eigenvalues of an operator on the orthogonal complement of some directions.

    The iterations from a first random vector span a space that holds the outlying eigenvectors. The density on it is
    known. Iterations from the other vectors estimate the density on its complement.

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
    longer = min(LONGEST, (probes - 1) // 2)
    removed, counted, coupling = zero, np.zeros(0), np.zeros(0)
    if longer:
        first = lanczos(product, zero, _random(rng, zero), min(longer * steps, free), breakdown)
        removed = np.concatenate([zero, first.basis]) if len(zero) else first.basis
        counted, coupling = first.values, first.last * first.components[-1]
    k, rest = len(counted), free - len(counted)
    if not rest:
        return Quadrature(counted[None], np.full((1, k), 1 / free), coupling, True)
    probes = min(probes - longer, rest)
    found = []
    orthogonal, outside = probes >= MANY * rest, removed
    for _ in range(probes):
        v = _random(rng, outside)
        outside = np.concatenate([outside, v[None]]) if orthogonal else outside
        found.append(lanczos(product, removed, v, min(steps, rest), breakdown))
    longest = max(len(run.values) for run in found)
    # Iterations that ended early are filled up by nodes without weight.
    nodes = np.stack([np.append(run.values, np.full(longest - len(run.values), run.values[-1])) for run in found])
    weights = np.stack([np.append(run.weights, np.zeros(longest - len(run.values))) for run in found])
    nodes = np.hstack([np.broadcast_to(counted, (probes, k)), nodes])
    weights = np.hstack([np.full((probes, k), 1 / free), rest / free * weights])
    return Quadrature(nodes, weights, coupling, orthogonal)


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
