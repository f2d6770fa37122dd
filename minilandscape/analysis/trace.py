"""The trace of the Hessian from Hessian-vector products: Hutch++, or Hutchinson's estimate where that is better."""

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

    Hutch++ (Meyer, Musco, Musco and Woodruff, 2021) takes a third of the products for a random subspace, a third for
    the trace on it, and a third for a stochastic estimate on its complement. From the same products follows the
    estimate of Hutchinson (1990), (1/n) Σ sᵀ H s over random signs s of two thirds, which has the smaller error where
    the Hessian is nearly diagonal or few products are taken. The estimate with the smaller error is returned.

    The variance of sᵀ H s is 2 Σ_{i≠j} H_ij², and that of its i-th term s_i (H s)_i is Σ_{j≠i} H_ij²: twice the sum of
    the terms' measured variances is the measured variance of their sum. The spread of a few sums alone may be small by
    chance, and the smaller of two such spreads often is.

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
    trace, error = _hutchinson(rest, _without(of_outside, basis))
    of_rest = of_outside + rest @ basis.T @ of_basis
    plain, plain_error = _hutchinson(np.concatenate([signs, rest]), np.concatenate([sketched, of_rest]))
    better = plain_error < (np.inf if np.isnan(error) else error)
    return (plain, plain_error) if better else (on_basis + trace, error)


def _hutchinson(signs: np.ndarray, images: np.ndarray) -> tuple[float, float]:
    """The mean of sᵀ A s over vectors s (n, D) of random signs, from their images A s; and its error, NaN of one."""
    terms, n = signs * images, len(signs)
    error = np.sqrt(2 * terms.var(axis=0, ddof=1).sum() / n) if n > 1 else float("nan")
    return float(terms.sum(axis=1).mean()), float(error)


def _without(rows: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """The components of rows orthogonal to an orthonormal basis."""
    result: np.ndarray = rows - (rows @ basis.T) @ basis
    return result


def _orthonormal_rows(rows: np.ndarray) -> np.ndarray:
    """Compute an orthonormal basis of the rows' span."""
    _, sizes, basis = np.linalg.svd(rows, full_matrices=False)
    found: np.ndarray = basis[sizes > 1e-10 * sizes.max(initial=0)]
    return found
