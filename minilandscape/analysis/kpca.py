"""Kernel PCA of sets of weight vectors (Sec. II.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg

KERNELS = ("linear", "polynomial", "sigmoid", "rbf")


@dataclass(frozen=True)
class KernelPCA:
    """Principal components of N points in the feature space of a kernel.

    Attributes
    ----------
    projections
        (N, k): √λ_k α_k with |α_k| = 1, of the centred kernel.
    eigenvalues
        (k,): λ_k, largest first.
    vectors
        (N, k): α_k, the largest component of each positive.
    points
        (N, D): what was projected.
    kernel, parameters
        The kernel and its numbers.

    Notes
    -----
    The paper prints PC_k(x) = Σ_i α_i k(x, x_i) with the uncentred kernel. For |α| = 1 that is √λ_k times the
    projection here, plus a constant.
    """

    projections: np.ndarray
    eigenvalues: np.ndarray
    vectors: np.ndarray
    points: np.ndarray
    kernel: str
    parameters: dict[str, float]

    def transform(self, new_points: Any) -> np.ndarray:
        """Projects new points (P, D) -> (P, k), centred like the old ones."""
        new_points = np.asarray(new_points, dtype=np.float64)
        if new_points.ndim != 2 or new_points.shape[1] != self.points.shape[1]:
            raise ValueError(f"new points have shape {new_points.shape}; expected (P, {self.points.shape[1]})")
        K = _kernel(self.points, self.points, self.kernel, self.parameters)
        k = _kernel(new_points, self.points, self.kernel, self.parameters)
        centred = k - k.mean(axis=1, keepdims=True) - K.mean(axis=0) + K.mean()
        return centred @ self.vectors / np.sqrt(self.eigenvalues)


def kernel_pca(
    points: Any,
    kernel: str = "rbf",
    n_components: int = 2,
    *,
    degree: float | None = None,
    coef0: float | None = None,
    gamma: float | None = None,
) -> KernelPCA:
    """Kernel PCA on the centred kernel matrix, by ``scipy.linalg.eigh``.

    Parameters
    ----------
    points
        (N, D).
    kernel
        ``"linear"`` x·x'; ``"polynomial"`` (γ x·x' + C)ⁿ; ``"sigmoid"`` tanh(γ x·x' + C); ``"rbf"`` exp(−γ|x − x'|²).
    n_components
        k.
    degree
        n of the polynomial: 3.
    coef0
        C of the polynomial and the sigmoid: 1.
    gamma
        γ: 1 for the polynomial, 1/D for the sigmoid and the RBF kernel (2σ² = N_prm).

    Raises
    ------
    ValueError
        If a parameter does not belong to the kernel, or there are not that many components.
    """
    points = np.asarray(points, dtype=np.float64)
    if points.ndim != 2 or len(points) < 2:
        raise ValueError(f"points have shape {points.shape}; expected (N, D) with N of at least 2")
    if not np.isfinite(points).all():
        raise ValueError("points hold values that are not finite")
    if kernel not in KERNELS:
        raise ValueError(f"kernel is {kernel!r}; expected one of {', '.join(KERNELS)}")
    defaults = {
        "linear": {},
        "polynomial": {"gamma": 1.0, "coef0": 1.0, "degree": 3.0},
        "sigmoid": {"gamma": 1 / points.shape[1], "coef0": 1.0},
        "rbf": {"gamma": 1 / points.shape[1]},
    }[kernel]
    given = {name: v for name, v in (("degree", degree), ("coef0", coef0), ("gamma", gamma)) if v is not None}
    for name in given:
        if name not in defaults:
            raise ValueError(f"the {kernel} kernel has no {name}; it takes {', '.join(defaults) or 'no parameters'}")
    parameters = {**defaults, **given}
    if not 1 <= n_components < len(points):
        raise ValueError(f"n_components is {n_components}; {len(points)} points have 1 to {len(points) - 1}")
    K = _kernel(points, points, kernel, parameters)
    mean = K.mean(axis=0)
    centred = K - mean - mean[:, None] + K.mean()
    n = len(points)
    eigenvalues, vectors = scipy.linalg.eigh(centred, subset_by_index=(n - n_components, n - 1))
    eigenvalues, vectors = eigenvalues[::-1], vectors[:, ::-1]
    # 0 and below, or what rounding makes of 0: no component.
    positive = int((eigenvalues > n * np.finfo(float).eps * np.abs(K).max()).sum())
    if positive < n_components:
        raise ValueError(
            f"the {kernel} kernel has {positive} components on these points; {n_components} were asked for"
        )
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(axis=0), range(n_components)])
    return KernelPCA(vectors * np.sqrt(eigenvalues), eigenvalues, vectors, points, kernel, parameters)


def _kernel(a: np.ndarray, b: np.ndarray, kernel: str, parameters: dict[str, float]) -> np.ndarray:
    """k(a_i, b_j), (len(a), len(b))."""
    if kernel == "rbf":
        centre = b.mean(axis=0)  # far from the origin, squares would cancel
        a, b = a - centre, b - centre
        squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
        return np.exp(-parameters["gamma"] * np.maximum(squares, 0))
    products = a @ b.T
    if kernel == "linear":
        return products
    inner = parameters["gamma"] * products + parameters["coef0"]
    return np.tanh(inner) if kernel == "sigmoid" else inner ** parameters["degree"]
