"""Kernel principal component analysis of sets of weight vectors or configurations (Sec. II.4 of the paper)."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from operator import index
from typing import Any

import numpy as np
import scipy.linalg
from scipy.spatial.distance import cdist, pdist

from ..display import as_html, number, svg_of, text_lines
from ..files import read_result, write_result
from .arrays import real_numbers
from .shown_kpca import kpca_rows, plot_kpca

KERNELS = ("linear", "polynomial", "sigmoid", "rbf")
_ARRAYS = ("projections", "eigenvalues", "eigenvectors", "points", "means")


@dataclass(frozen=True, repr=False)
class KernelPCA:
    """Principal components of N points in the feature space of a kernel.

    Returned by :func:`kernel_pca`.

    Attributes
    ----------
    projections
        (N, k): √λ_k α_k with |α_k| = 1, of the centred kernel matrix.
    eigenvalues
        (k,): λ_k, largest first.
    eigenvectors
        (N, k): α_k; the component of largest magnitude of each is positive.
    points
        (N, D): the points that were projected.
    means
        (N,): the mean over i of k(x_i, x_j), of k − 1 for the RBF kernel, by which new points are centred.
    kernel, parameters
        The kernel and its parameters.
    variance
        Σ λ over all components, the trace of the centred kernel matrix; NaN in files of version 0.1.

    Notes
    -----
    The paper prints PC_k(x) = Σ_i α_i k(x, x_i) with the uncentred kernel. For |α| = 1 that is √λ_k times the
    projection here, which is the usual one, plus a constant.

    Examples
    --------
    >>> import numpy as np
    >>> import minilandscape as ml
    >>> points = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 3.0], [1.0, 3.0]])
    >>> found = ml.kernel_pca(points, "linear")
    >>> found.explained.round(2).tolist()
    [0.9, 0.1]
    >>> bool(np.allclose(found.transform(points), found.projections))
    True
    """

    projections: np.ndarray
    eigenvalues: np.ndarray
    eigenvectors: np.ndarray
    points: np.ndarray
    means: np.ndarray
    kernel: str
    parameters: dict[str, float]
    variance: float = float("nan")

    def __repr__(self) -> str:
        """One line: the points, the kernel, and the part of the variance."""
        n, k = self.projections.shape
        part = float(self.explained.sum())
        of_all = f" with {number(100 * part, 3)} % of the variance" if np.isfinite(part) else ""
        return f"<KernelPCA: {k} component{'' if k == 1 else 's'} of {n} points, {self.kernel} kernel{of_all}>"

    @property
    def explained(self) -> np.ndarray:
        """(k,): the part λ_k / Σ λ of the variance in feature space that each component explains.

        NaN for the sigmoid kernel, which has negative eigenvalues, and for files of version 0.1.
        """
        total = float("nan") if self.kernel == "sigmoid" else self.variance
        return np.asarray(self.eigenvalues / total)

    def summary(self) -> str:
        """Describe kernel, eigenvalues and variances in lines of text."""
        return text_lines(kpca_rows(self))

    def _repr_html_(self) -> str:
        return as_html("Kernel PCA", kpca_rows(self), svg_of(self.plot()))

    def plot(
        self,
        axes: Any = None,
        labels: Sequence[str] | None = None,
        components: Sequence[int] | None = None,
        title: str = "",
    ) -> Any:
        """Draw the points in the plane of two components, a colour and a marker for each set.

        Parameters
        ----------
        axes
            Matplotlib axes; new ones if None.
        labels
            N names: the set of each point; None: one set.
        components
            Two of them, counted from 0, or one; None: the first two, or the only one.
        title
            Of the axes.

        Returns
        -------
        matplotlib.axes.Axes
        """
        if axes is None:
            from ..drawing import new_axes

            axes = new_axes(5.5, 4.5)
        labels = [""] * len(self.projections) if labels is None else labels
        components = tuple(range(min(2, len(self.eigenvalues)))) if components is None else components
        return plot_kpca(
            axes, self.projections, labels, components=components, title=title, explained=self.explained.tolist()
        )

    def transform(self, new_points: Any) -> np.ndarray:
        """Project new points (P, D) -> (P, k), centred like the points of the analysis.

        Raises
        ------
        ValueError
            If they are not finite points (P, D).
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
        """Write an ``.npz``, points included, that :func:`load_kernel_pca` reads."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        numbers = {"kernel": self.kernel, "parameters": self.parameters, "variance": self.variance}
        write_result(path, "kpca", arrays, numbers)


def load_kernel_pca(path: str | os.PathLike[str]) -> KernelPCA:
    """Read a result that :meth:`KernelPCA.save` wrote.

    Parameters
    ----------
    path
        The ``.npz``.

    Returns
    -------
    KernelPCA

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged or holds another kind of result; the message names it.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> import minilandscape as ml
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = os.path.join(folder, "kpca.npz")
    ...     ml.kernel_pca(np.eye(3), "linear").save(file)
    ...     found = ml.load_kernel_pca(file)
    >>> found.projections.shape
    (3, 2)
    """
    arrays, stored = read_result(path, "kpca")
    variance = stored.get("variance", float("nan"))
    return KernelPCA(**arrays, kernel=stored["kernel"], parameters=stored["parameters"], variance=variance)


def kernel_pca(
    points: Any,
    kernel: str = "rbf",
    n_components: int = 2,
    *,
    degree: float | None = None,
    coef0: float | None = None,
    gamma: float | None = None,
) -> KernelPCA:
    r"""Compute the first k principal components of N points in the feature space of a kernel.

    The kernel matrix K, K_ij = k(x_i, x_j), is centred [1]_, and the projections onto component k are

    .. math:: p_k = \sqrt{\lambda_k} \, \alpha_k, \qquad
              \tilde K \alpha_k = \lambda_k \alpha_k, \quad |\alpha_k| = 1, \qquad
              \tilde K = (1 - \tfrac{1}{N}) K (1 - \tfrac{1}{N}),

    where 1/N is the matrix with all elements 1/N. The component of α_k of largest magnitude is positive, as in
    scikit-learn. All arithmetic is in float64.

    Parameters
    ----------
    points
        (N, D).
    kernel
        ``"linear"`` x·x'; ``"polynomial"`` (γ x·x' + C)ⁿ; ``"sigmoid"`` tanh(γ x·x' + C); ``"rbf"`` exp(−γ|x − x'|²).
    n_components
        k, at most N − 1.
    degree
        n of the polynomial; None: 3.
    coef0
        C of the polynomial and the sigmoid; None: 1.
    gamma
        γ; None: 1 for the polynomial, 1/D for the sigmoid and the RBF kernel (the paper's 2σ² = N_prm).

    Returns
    -------
    KernelPCA

    Raises
    ------
    ValueError
        If the points are not finite numbers (N, D), a parameter does not belong to the kernel or is out of range, or
        the kernel overflows. If fewer than k eigenvalues are positive: the linear kernel has as many as the rank of the
        points, and the sigmoid kernel has negative ones. If the RBF kernel of all pairs is 0, so that all points are
        equally far from each other and any direction would be a component.
    TypeError
        If ``n_components`` is not an integer.

    Warns
    -----
    UserWarning
        If the eigenvalues of the last component and of the next one are equal, so that the last component is not
        unique.

    Notes
    -----
    The paper prints PC_k(x) = Σ_i α_i k(x, x_i) with the uncentred kernel: √λ_k times the projection here, plus a
    constant.

    The RBF kernel is computed as k − 1, which centring does not distinguish from k: near-identical points, whose k is 1
    to all digits, keep their components.

    References
    ----------
    .. [1] B. Schölkopf, A. Smola and K.-R. Müller, "Nonlinear component analysis as a kernel eigenvalue problem",
       Neural Comput. 10, 1299 (1998).

    Examples
    --------
    >>> import numpy as np
    >>> import minilandscape as ml
    >>> rng = np.random.default_rng(0)
    >>> sets = np.concatenate([rng.normal(-1, 0.1, (5, 20)), rng.normal(1, 0.1, (5, 20))])
    >>> found = ml.kernel_pca(sets, n_components=2)
    >>> first = found.projections[:, 0]
    >>> bool(first[:5].max() * first[5:].max() < 0)  # the sets are separated along the first component
    True
    """
    points = real_numbers(points, "points").copy()  # the result stores it
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
    # Eigenvalues of 0, up to rounding, and below belong to no component.
    positive = int((eigenvalues > n * np.finfo(float).eps * np.abs(K).max()).sum())
    if positive < n_components:
        raise ValueError(
            f"the {kernel} kernel has {positive} components on these points; expected at least {n_components}. "
            "Equal points, and points whose kernels differ by less than rounding, count once"
        )
    if n_components < n - 1:
        (following,) = scipy.linalg.eigh(centred, eigvals_only=True, subset_by_index=(n - n_components - 1,) * 2)
        if eigenvalues[-1] - following <= n * np.finfo(float).eps * eigenvalues[0]:
            warnings.warn(
                f"eigenvalues {n_components} and {n_components + 1} of the {kernel} kernel are equal: component "
                f"{n_components} is not unique; ask for more components or fewer",
                stacklevel=2,
            )
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(axis=0), range(n_components)])
    variance = float(np.trace(centred))
    return KernelPCA(vectors * np.sqrt(eigenvalues), eigenvalues, vectors, points, means, kernel, parameters, variance)


def _parameters(
    kernel: str, size: int, degree: float | None, coef0: float | None, gamma: float | None
) -> dict[str, float]:
    """The kernel's parameters for points of a size: those given, and the paper's for the others."""
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
    """Refuse points whose RBF kernel, given as k − 1, is the identity matrix up to rounding."""
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
    """Compute k(a_i, b_j), (len(a), len(b)); k − 1 for the RBF kernel, which centring does not distinguish from k."""
    # From differences pair by pair: far from the origin and for tight clusters, |x|² + |x'|² − 2x·x' would cancel. No
    # array of the size (pairs, D) is stored.
    with np.errstate(over="ignore", invalid="ignore"):  # checked below
        if kernel == "rbf":
            K = np.expm1(-parameters["gamma"] * cdist(a, b, "sqeuclidean"))
        elif kernel == "linear":
            centre = b.mean(axis=0)  # centring the kernel would remove it too, less accurately
            K = (a - centre) @ (b - centre).T
        else:
            inner = parameters["gamma"] * (a @ b.T) + parameters["coef0"]
            K = np.tanh(inner) if kernel == "sigmoid" else inner ** parameters["degree"]
    if not np.isfinite(K).all():
        raise ValueError(
            f"the {kernel} kernel is not finite on these points; scale them, or change its parameters ({parameters})"
        )
    return K
