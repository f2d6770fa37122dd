"""Kernel PCA of sets of weight vectors (Sec. II.4)."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from operator import index
from typing import Any

import numpy as np
import scipy.linalg
from scipy.spatial.distance import cdist, pdist

from ..files import read_result, write_result
from .arrays import real_numbers

KERNELS = ("linear", "polynomial", "sigmoid", "rbf")
_ARRAYS = ("projections", "eigenvalues", "eigenvectors", "points", "means")


@dataclass(frozen=True)
class KernelPCA:
    """Principal components of N points in the feature space of a kernel.

    Attributes
    ----------
    projections
        (N, k): √λ_k α_k with |α_k| = 1, of the centred kernel.
    eigenvalues
        (k,): λ_k, largest first.
    eigenvectors
        (N, k): α_k, the component of largest size of each positive.
    points
        (N, D): what was projected.
    means
        (N,): the mean over the points x_i of k(x_i, x_j), of k − 1 for the RBF kernel, by which new points are centred.
    kernel, parameters
        The kernel and its numbers.

    Notes
    -----
    The paper prints PC_k(x) = Σ_i α_i k(x, x_i) with the uncentred kernel. For |α| = 1 that is √λ_k times the
    projection here, which is the usual one, plus a constant.
    """

    projections: np.ndarray
    eigenvalues: np.ndarray
    eigenvectors: np.ndarray
    points: np.ndarray
    means: np.ndarray
    kernel: str
    parameters: dict[str, float]

    def transform(self, new_points: Any) -> np.ndarray:
        """Projects new points (P, D) -> (P, k), centred like the old ones.

        Raises
        ------
        ValueError
            If they are not a stack of finite points of the old ones' size.
        """
        new_points = real_numbers(new_points, "new points")
        if new_points.ndim != 2 or new_points.shape[1] != self.points.shape[1]:
            raise ValueError(f"new points have shape {new_points.shape}; expected (P, {self.points.shape[1]})")
        if not np.isfinite(new_points).all():
            raise ValueError("new points hold values that are not finite")
        k = _kernel(new_points, self.points, self.kernel, self.parameters)
        centred = k - k.mean(axis=1, keepdims=True) - self.means + self.means.mean()
        return centred @ self.eigenvectors / np.sqrt(self.eigenvalues)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes an ``.npz``, the points included, that :func:`load_kernel_pca` reads."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        write_result(path, "kpca", arrays, {"kernel": self.kernel, "parameters": self.parameters})


def load_kernel_pca(path: str | os.PathLike[str]) -> KernelPCA:
    """Reads what :meth:`KernelPCA.save` wrote; ValueError names the file where it is damaged."""
    arrays, facts = read_result(path, "kpca")
    return KernelPCA(**arrays, kernel=facts["kernel"], parameters=facts["parameters"])


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

    Projections are √λ_k α_k with |α_k| = 1; the component of α_k of largest size is positive, as in scikit-learn.
    The arithmetic is in float64 whatever the type of the points.

    Parameters
    ----------
    points
        (N, D).
    kernel
        ``"linear"`` x·x'; ``"polynomial"`` (γ x·x' + C)ⁿ; ``"sigmoid"`` tanh(γ x·x' + C); ``"rbf"`` exp(−γ|x − x'|²).
    n_components
        k, N − 1 at most.
    degree
        n of the polynomial: 3.
    coef0
        C of the polynomial and the sigmoid: 1.
    gamma
        γ: 1 for the polynomial, 1/D for the sigmoid and the RBF kernel (2σ² = N_prm).

    Raises
    ------
    ValueError
        If the points are not a finite stack, a parameter does not belong to the kernel or is out of its range, the
        kernel overflows, or it has not that many positive eigenvalues: those of the linear kernel end with the
        points' rank, and the sigmoid has negative ones. If the RBF kernel of all pairs is 0: all points are equally
        far from each other then, and any direction would be a component.
    TypeError
        If ``n_components`` is not an integer.

    Warns
    -----
    UserWarning
        If the last component's eigenvalue is the next one's too, so that another component would do as well.

    Notes
    -----
    The paper prints PC_k(x) = Σ_i α_i k(x, x_i) with the uncentred kernel: √λ_k times the projection here, plus a
    constant.

    k − 1 takes the place of the RBF kernel k, from which centring takes any constant: near-identical points, whose k is
    1 to all digits, keep their components.
    """
    points = real_numbers(points, "points").copy()  # the result keeps it
    if points.ndim != 2 or len(points) < 2 or not points.shape[1]:
        raise ValueError(f"points have shape {points.shape}; expected (N, D) with N of at least 2")
    if not np.isfinite(points).all():
        raise ValueError("points hold values that are not finite")
    parameters = _parameters(kernel, points.shape[1], degree, coef0, gamma)
    n, n_components = len(points), index(n_components)
    if not 1 <= n_components < n:
        raise ValueError(f"n_components is {n_components}; {n} points have 1 to {n - 1}")
    K = _kernel(points, points, kernel, parameters)
    if kernel == "rbf" and n > 2:
        _refuse_identity(points, K, parameters["gamma"])
    means = K.mean(axis=0)
    centred = K - means - means[:, None] + means.mean()
    eigenvalues, vectors = scipy.linalg.eigh(centred, subset_by_index=(n - n_components, n - 1))
    eigenvalues, vectors = eigenvalues[::-1].copy(), vectors[:, ::-1]
    # 0 and below, or what rounding makes of 0: no component.
    positive = int((eigenvalues > n * np.finfo(float).eps * np.abs(K).max()).sum())
    if positive < n_components:
        raise ValueError(
            f"the {kernel} kernel has {positive} components on these points; {n_components} were asked for. "
            "Points that are the same, or whose kernels differ by less than rounding, count once"
        )
    if n_components < n - 1:
        (following,) = scipy.linalg.eigh(centred, eigvals_only=True, subset_by_index=(n - n_components - 1,) * 2)
        if eigenvalues[-1] - following <= n * np.finfo(float).eps * eigenvalues[0]:
            warnings.warn(
                f"eigenvalues {n_components} and {n_components + 1} of the {kernel} kernel are equal: component "
                f"{n_components} is one of many that would do; ask for more components or fewer",
                stacklevel=2,
            )
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(axis=0), range(n_components)])
    return KernelPCA(vectors * np.sqrt(eigenvalues), eigenvalues, vectors, points, means, kernel, parameters)


def _parameters(
    kernel: str, size: int, degree: float | None, coef0: float | None, gamma: float | None
) -> dict[str, float]:
    """The kernel's numbers on vectors of this size: those given, the paper's for the rest."""
    if kernel not in KERNELS:
        raise ValueError(f"kernel is {kernel!r}; expected one of {', '.join(KERNELS)}")
    defaults = {
        "linear": {},
        "polynomial": {"gamma": 1.0, "coef0": 1.0, "degree": 3.0},
        "sigmoid": {"gamma": 1 / size, "coef0": 1.0},
        "rbf": {"gamma": 1 / size},
    }[kernel]
    given = {"degree": degree, "coef0": coef0, "gamma": gamma}
    chosen = {name: float(value) for name, value in given.items() if value is not None}
    for name, value in chosen.items():
        if name not in defaults:
            raise ValueError(f"the {kernel} kernel has no {name}; it takes {', '.join(defaults) or 'no parameters'}")
        if not np.isfinite(value) or (name != "coef0" and value <= 0):
            raise ValueError(f"{name} is {value:g}; expected a finite number{'' if name == 'coef0' else ' above 0'}")
    return {**defaults, **chosen}


def _refuse_identity(points: np.ndarray, shifted: np.ndarray, gamma: float) -> None:
    """Refuses points whose RBF kernel, given as k − 1, is the identity to rounding."""
    n = len(points)
    nearest = 1 + shifted[~np.eye(n, dtype=bool)].max()  # the largest kernel of a pair
    if nearest > n * np.finfo(float).eps:
        return
    with np.errstate(over="ignore"):
        squares = pdist(points, "sqeuclidean")
    median = float(np.median(squares))
    advice = f"gamma={1 / median:.2g} is 1 / the median squared distance" if np.isfinite(median) else "scale them"
    raise ValueError(
        f"the rbf kernel of every two points is 0 with gamma {gamma:.3g}: all are equally far from each other, and the "
        f"components would be arbitrary; choose a smaller gamma ({advice})"
    )


def _kernel(a: np.ndarray, b: np.ndarray, kernel: str, parameters: dict[str, float]) -> np.ndarray:
    """k(a_i, b_j), (len(a), len(b)); k − 1 of the RBF kernel, which centring makes the same."""
    # Pair by pair from differences: neither a far origin nor tight clusters far apart cancel, as |x|² + |x'|² − 2x·x'
    # would, and nothing of the size of (pairs, D) is held.
    with np.errstate(over="ignore", invalid="ignore"):  # looked for below
        if kernel == "rbf":
            K = np.expm1(-parameters["gamma"] * cdist(a, b, "sqeuclidean"))
        elif kernel == "linear":
            centre = b.mean(axis=0)  # centring the kernel takes this out again, less accurately
            K = (a - centre) @ (b - centre).T
        else:
            inner = parameters["gamma"] * (a @ b.T) + parameters["coef0"]
            K = np.tanh(inner) if kernel == "sigmoid" else inner ** parameters["degree"]
    if not np.isfinite(K).all():
        raise ValueError(
            f"the {kernel} kernel is not finite on these points; scale them, or change its parameters ({parameters})"
        )
    return K
