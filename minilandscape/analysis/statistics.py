"""Statistics of sets of weight vectors: components (Table S1), lengths (Fig. 5), preferred directions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from ..display import Row, as_html, count, number, svg_of
from .described import Described
from .histograms import plot_shell_lengths
from .sets import as_set, as_sets, as_vector, centroid, exponent, in_range

#: Components whose signs are drawn at a time.
BLOCK = 2048
#: Parts of the covariance that differ by less are equal: products of signs are computed in float32.
TIE = 1e-6


@dataclass(frozen=True, repr=False)
class Components(Described):
    """Mean μ and standard deviation σ of all components of a set (Table S1), as :func:`component_statistics` returns.

    Attributes
    ----------
    mu, sigma
        μ and σ, in the unit of the components.
    """

    mu: float
    sigma: float

    def rows(self) -> list[Row]:
        """Describe μ and σ in labelled values."""
        return [("mu", number(self.mu), "mean of all components"), ("sigma", number(self.sigma), "standard deviation")]


@dataclass(frozen=True, repr=False)
class ShellLengths(Described):
    """Distances of the vectors of two sets from their common origin (Fig. 5), as :func:`shell_lengths` returns.

    Attributes
    ----------
    lengths_a, lengths_b
        (K_a,), (K_b,): |ω_i − ω̄|.
    origin
        (D,): ω̄, midway between the centroids.
    centroid_distance
        |ω̄_a − ω̄| = |ω̄_b − ω̄|, the dotted line of the figure.
    """

    lengths_a: np.ndarray
    lengths_b: np.ndarray
    origin: np.ndarray
    centroid_distance: float

    def rows(self) -> list[Row]:
        """Describe the lengths in labelled values."""
        rows = [
            (f"lengths {name}", f"{number(float(v.mean()))} ± {float(v.std()):.2g}", count(len(v), "vector"))
            for name, v in (("a", self.lengths_a), ("b", self.lengths_b))
        ]
        return [*rows, ("centroids", number(self.centroid_distance), "from the common origin")]

    def _repr_html_(self) -> str:
        return as_html("Lengths", self.rows(), svg_of(self.plot()))

    def plot(self, axes: Any = None, labels: tuple[str, str] = ("set a", "set b"), bins: int = 24) -> Any:
        """Draw the histograms of both sets on common bins, and the distance of the centroids as a dotted line.

        Parameters
        ----------
        axes
            Matplotlib axes; new ones if None.
        labels
            Names of the sets.
        bins
            Number of bins, at most.

        Returns
        -------
        matplotlib.axes.Axes
        """
        if axes is None:
            from ..drawing import new_axes

            axes = new_axes(5.5, 4.0)
        return plot_shell_lengths(axes, self, labels, bins=bins)


@dataclass(frozen=True, repr=False)
class Direction(Described):
    """Whether a set has a preferred direction, as :func:`preferred_direction` returns.

    Attributes
    ----------
    part
        The first eigenvalue of the covariance over the sum of all.
    random
        Its mean over sets without a preferred direction.
    p
        The p-value: the part of such sets, the given one included, for which it is at least as large.
    least
        The smallest attainable p, 1/(draws + 1).
    n
        Number of vectors in the set.
    """

    part: float
    random: float
    p: float
    least: float
    n: int

    def rows(self) -> list[Row]:
        """Describe the test in labelled values."""
        return [
            ("part", number(self.part, 3), f"of the variance of {count(self.n, 'vector')} along one direction"),
            ("random", number(self.random, 3), "expected without a preferred direction"),
            ("p", number(self.p, 3), f"smallest attainable p: {number(self.least, 3)}"),
        ]


def component_statistics(vectors: Any) -> Components:
    r"""Compute the mean μ and the standard deviation σ of all components of a set (Table S1).

    .. math:: \mu = \frac{1}{K D} \sum_{i,d} \omega_{id}, \qquad
              \sigma^2 = \frac{1}{K D} \sum_{i,d} (\omega_{id} - \mu)^2

    Parameters
    ----------
    vectors
        A set (K, D).

    Returns
    -------
    Components
        With ``mu`` and ``sigma``.

    Raises
    ------
    ValueError
        If the set is not an array (K, D) of finite numbers.

    Examples
    --------
    >>> import minilandscape as ml
    >>> found = ml.component_statistics([[1.0, 2.0], [3.0, 6.0]])
    >>> found.mu, round(found.sigma, 3)
    (3.0, 1.871)
    """
    (vectors,), unit = in_range(as_set(vectors))
    mu = float(vectors.mean())
    squares = sum(float(((row - mu) ** 2).sum()) for row in vectors)  # row by row: no second stack in memory
    return Components(mu * unit, float(np.sqrt(squares / vectors.size)) * unit)


def shell_lengths(a: Any, b: Any, *, centroid_a: Any = None, centroid_b: Any = None) -> ShellLengths:
    r"""Compute the distances of the vectors of two sets from their common origin (Fig. 5).

    .. math:: |\omega_i - \bar\omega|, \qquad \bar\omega = \tfrac{1}{2} (\bar\omega_a + \bar\omega_b)

    Parameters
    ----------
    a, b
        Sets (K_a, D) and (K_b, D).
    centroid_a, centroid_b
        (D,): ω̄_a and ω̄_b; None: the means of a and b. In Fig. 5 both are means of the early-stopping weights (the
        paper's "test weights"), also where the lengths are those of training weights.

    Returns
    -------
    ShellLengths

    Raises
    ------
    ValueError
        If sets or centroids are not finite, or differ in D.

    Examples
    --------
    >>> import minilandscape as ml
    >>> found = ml.shell_lengths([[1.0, 1.0], [1.0, -1.0]], [[-1.0, 2.0], [-1.0, -2.0]])
    >>> found.origin.tolist(), found.centroid_distance, found.lengths_a.round(3).tolist()
    ([0.0, 0.0], 1.0, [1.414, 1.414])
    """
    a, b = as_sets(a, b)
    centroid_a = centroid(a) if centroid_a is None else as_vector(centroid_a, a.shape[1], "centroid_a")
    centroid_b = centroid(b) if centroid_b is None else as_vector(centroid_b, a.shape[1], "centroid_b")
    (a, b, centroid_a, centroid_b), unit = in_range(a, b, centroid_a, centroid_b)
    origin = 0.5 * (centroid_a + centroid_b)
    from_a, from_b = (cdist(vectors, origin[None])[:, 0] * unit for vectors in (a, b))
    apart = float(0.5 * np.linalg.norm(centroid_a - centroid_b))
    return ShellLengths(from_a, from_b, origin * unit, apart * unit)


def preferred_direction(vectors: Any, draws: int = 200, seed: int = 0) -> Direction:
    r"""Test whether the vectors of a set scatter along one direction more than by chance.

    The statistic is the largest eigenvalue of the covariance over the sum of all,

    .. math:: \lambda_1 \Big/ \sum_k \lambda_k \quad \text{of} \quad
              \sum_i (\omega_i - \bar\omega)(\omega_i - \bar\omega)^T .

    It is compared with that of vectors s_i ∘ (ω_i − ω̄) with random signs s_i for all components. These keep the spread
    of each component and the distance of each vector from the centroid; correlations between vectors are removed.

    Parameters
    ----------
    vectors
        A set (K, D) with K of at least 3.
    draws
        Number of sets of random signs.
    seed
        Seed of the signs.

    Returns
    -------
    Direction
        With the statistic ``part``, its mean ``random`` over the draws, and the p-value ``p``.

    Raises
    ------
    ValueError
        If the set is not finite, has fewer than 3 vectors (two always lie on a line), all vectors are equal, or
        ``draws`` is below 1.

    Examples
    --------
    >>> import numpy as np
    >>> import minilandscape as ml
    >>> rng = np.random.default_rng(0)
    >>> along = np.outer(rng.standard_normal(10), np.ones(50)) + 0.1 * rng.standard_normal((10, 50))
    >>> found = ml.preferred_direction(along)
    >>> found.p == found.least, ml.preferred_direction(rng.standard_normal((10, 50))).p > 0.05
    (True, True)
    """
    vectors = as_set(vectors)
    if len(vectors) < 3:
        raise ValueError(f"the set has {len(vectors)} vectors; expected at least 3, since two always lie on a line")
    if draws < 1:
        raise ValueError(f"draws is {draws}; expected at least 1")
    (vectors,), _ = in_range(vectors)
    centred = vectors - vectors.mean(axis=0)
    if np.abs(centred).max() <= 4 * np.finfo(float).eps * np.abs(vectors).max():  # rounding of the mean
        raise ValueError("all vectors of the set are equal; expected some that differ")
    centred = np.ldexp(centred, -exponent(centred))  # products are computed in float32, whose range is narrow
    part = _first_part(centred @ centred.T)
    others = [_first_part(products) for products in _of_random_signs(centred, draws, np.random.default_rng(seed))]
    extreme = 1 + sum(other >= part - TIE for other in others)
    return Direction(part, float(np.mean(others)), extreme / (draws + 1), 1 / (draws + 1), len(vectors))


def _first_part(products: np.ndarray) -> float:
    """The largest eigenvalue of the covariance over the sum of all, from the inner products (K, K)."""
    products = products - products.mean(axis=0)  # of vectors about their centroid
    spectrum = np.linalg.eigvalsh(products - products.mean(axis=1, keepdims=True))
    return float(spectrum[-1] / spectrum.sum())


def _of_random_signs(vectors: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """(draws, K, K): the inner products of vectors whose components are given random signs."""
    products = np.zeros((draws, len(vectors), len(vectors)))
    for start in range(0, vectors.shape[1], BLOCK):  # a block stays in the cache for all draws
        block = np.ascontiguousarray(vectors[:, start : start + BLOCK], dtype=np.float32)
        bits, size = block.view(np.uint32), block.size
        for k in range(draws):
            signs = np.unpackbits(np.frombuffer(rng.bytes(-(-size // 8)), np.uint8), count=size)
            signed = (bits ^ (signs.astype(np.uint32) << 31).reshape(bits.shape)).view(np.float32)
            products[k] += signed @ signed.T
    return products
