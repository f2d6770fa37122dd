"""The trace of the Hessian from Hessian-vector products, by Hutch++ (Meyer, Musco, Musco and Woodruff, 2021)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def estimate_trace(
    product: Callable[[np.ndarray], np.ndarray],
    vectors: np.ndarray,
    images: np.ndarray,
    rng: np.random.Generator,
    probes: int,
) -> tuple[float, float]:
    """Estimate the trace and its standard error; (NaN, NaN) without probes.

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
    # tr(Qᵀ H Q) for an orthonormal basis Q of the rows' span, whatever rows span it.
    trace = float(np.trace(np.linalg.pinv(vectors @ vectors.T, hermitian=True) @ (vectors @ images.T)))
    basis = _orthonormal_rows(vectors)
    if a_third:
        sketch = times(rng.choice([-1.0, 1.0], (a_third, size)))
        sketch = _orthonormal_rows(sketch - (sketch @ basis.T) @ basis)
        sketch = _orthonormal_rows(sketch - (sketch @ basis.T) @ basis)
        trace += float((sketch * times(sketch)).sum())
        basis = np.concatenate([basis, sketch])
    rest = rng.choice([-1.0, 1.0], (probes - 2 * a_third, size))
    rest -= (rest @ basis.T) @ basis
    samples = (rest * times(rest)).sum(axis=1)
    error = np.std(samples, ddof=1) / np.sqrt(len(samples)) if len(samples) > 1 else float("nan")
    return trace + float(samples.mean()), float(error)


def _orthonormal_rows(rows: np.ndarray) -> np.ndarray:
    """Compute an orthonormal basis of the rows' span."""
    _, sizes, basis = np.linalg.svd(rows, full_matrices=False)
    found: np.ndarray = basis[sizes > 1e-10 * sizes.max(initial=0)]
    return found
