"""The trace of the Hessian from Hessian-vector products: Hutch++, or Hutchinson's estimate where that is better."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

#: Hutchinson's estimate takes the place of Hutch++ where its measured error is below this part of the other's.
BETTER = 0.5


def estimate_trace(
    product: Callable[[np.ndarray], np.ndarray],
    vectors: np.ndarray,
    images: np.ndarray,
    rng: np.random.Generator,
    probes: int,
) -> tuple[float, float]:
    """Estimate the trace and its standard error; (NaN, NaN) without probes.

    Hutch++ (Meyer, Musco, Musco and Woodruff, 2021) takes a third of the products for a random subspace, a third for
    the trace on it, and a third for a stochastic estimate on its complement. From the same products follows the
    estimate of Hutchinson (1990), (1/n) Σ sᵀ H s over random signs s of two thirds. Its variance, 2 Σ_{i≠j} H_ij², is
    the smaller one where the Hessian is nearly diagonal; it is returned where its measured error is less than half of
    the other's.

    Parameters
    ----------
    product
        H v of rows v (n, D).
    vectors, images
        (k, D): known eigenvectors v, and H v. The trace on their span is exact.
    rng
        Draws vectors of random signs.
    probes
        Products in all.
    """
    if not probes:
        return float("nan"), float("nan")

    def times(rows: np.ndarray) -> np.ndarray:
        return np.concatenate([product(row[None]) for row in rows]) if len(rows) else rows

    size, a_third = vectors.shape[1], probes // 3 if probes >= 3 else 0
    known = _orthonormal_rows(vectors)
    signs = rng.choice([-1.0, 1.0], (a_third, size))
    sketched = times(signs)
    sketch = _without(_without(sketched, known), known)
    sketch = _without(_orthonormal_rows(sketch), known)
    basis = np.concatenate([known, _orthonormal_rows(sketch)])
    # H of the known directions, which are combinations of the vectors.
    of_basis = np.concatenate([known @ np.linalg.pinv(vectors) @ images, times(basis[len(known) :])])
    rest = rng.choice([-1.0, 1.0], (probes - 2 * a_third, size))
    outside = _without(rest, basis)
    of_outside = times(outside)
    on_basis = float((basis * of_basis).sum())
    trace, error = _mean(on_basis + (outside * of_outside).sum(axis=1))
    plain = np.concatenate(
        [(signs * sketched).sum(axis=1), (rest * (of_outside + rest @ basis.T @ of_basis)).sum(axis=1)]
    )
    other, other_error = _mean(plain)
    return (other, other_error) if other_error < BETTER * error else (trace, error)


def _mean(samples: np.ndarray) -> tuple[float, float]:
    """The mean of samples and its standard error, NaN of one sample."""
    error = np.std(samples, ddof=1) / np.sqrt(len(samples)) if len(samples) > 1 else float("nan")
    return float(samples.mean()), float(error)


def _without(rows: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """The components of rows orthogonal to an orthonormal basis."""
    result: np.ndarray = rows - (rows @ basis.T) @ basis
    return result


def _orthonormal_rows(rows: np.ndarray) -> np.ndarray:
    """Compute an orthonormal basis of the rows' span."""
    _, sizes, basis = np.linalg.svd(rows, full_matrices=False)
    found: np.ndarray = basis[sizes > 1e-10 * sizes.max(initial=0)]
    return found
