"""Statistics of sets of weight vectors: components (Table S1), lengths (Fig. 5), distances and angles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist, pdist

from ..display import Row, as_html, count, number, svg_of
from .arrays import real_numbers
from .described import Described
from .histograms import plot_shell_lengths

#: Components whose signs are drawn at a time.
BLOCK = 2048
#: Parts of the covariance that differ by less are equal: products of signs are computed in float32.
TIE = 1e-6
#: Sets are scaled where their largest component lies outside 2 to the power of ± this, since squares would leave the
#: range of float64.
SAFE = 300


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
class Spread(Described):
    """Mean and standard deviation of distances, and of angles in degrees, between the vectors of one or two sets."""

    distance: tuple[float, float]
    angle: tuple[float, float]

    def rows(self) -> list[Row]:
        """Describe distances and angles in labelled values."""
        return [(name, f"{number(m)} ± {d:.2g}", unit) for name, (m, d), unit in self._numbers()]

    def _numbers(self) -> tuple[tuple[str, tuple[float, float], str], ...]:
        return ("distance", self.distance, ""), ("angle", self.angle, "degrees")


@dataclass(frozen=True, repr=False)
class SetComparison(Described):
    """Distances and angles within two sets and between them, as :func:`compare_sets` returns.

    Attributes
    ----------
    within_a, within_b, between
        Each with ``distance`` and ``angle`` (degrees): mean and standard deviation (ddof 0) over the pairs.
    random_angle
        Mean and standard deviation for independent random directions in D dimensions: 90° and about 57.3°/√D.
    origin
        (D,): the vertex of the angles.
    """

    within_a: Spread
    within_b: Spread
    between: Spread
    random_angle: tuple[float, float]
    origin: np.ndarray

    def rows(self) -> list[Row]:
        """Describe the three pairs of sets in labelled values."""
        named = (("within a", self.within_a), ("within b", self.within_b), ("between", self.between))
        rows: list[Row] = []
        for name, spread_of in named:
            distance, angle = (value for _, value, _ in spread_of.rows())
            rows.append((name, f"{distance} at {angle}°", ""))
        mean, deviation = self.random_angle
        return [*rows, ("random", f"{number(mean)} ± {deviation:.2g}°", "for independent directions")]


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
    (vectors,), unit = _in_range(_set(vectors))
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
    a, b = _sets(a, b)
    centroid_a = _centroid(a) if centroid_a is None else _vector(centroid_a, a.shape[1], "centroid_a")
    centroid_b = _centroid(b) if centroid_b is None else _vector(centroid_b, a.shape[1], "centroid_b")
    (a, b, centroid_a, centroid_b), unit = _in_range(a, b, centroid_a, centroid_b)
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
    vectors = _set(vectors)
    if len(vectors) < 3:
        raise ValueError(f"the set has {len(vectors)} vectors; expected at least 3, since two always lie on a line")
    if draws < 1:
        raise ValueError(f"draws is {draws}; expected at least 1")
    (vectors,), _ = _in_range(vectors)
    centred = vectors - vectors.mean(axis=0)
    if np.abs(centred).max() <= 4 * np.finfo(float).eps * np.abs(vectors).max():  # rounding of the mean
        raise ValueError("all vectors of the set are equal; expected some that differ")
    centred = np.ldexp(centred, -_exponent(centred))  # products are computed in float32, whose range is narrow
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


def pairwise_distances(a: Any, b: Any = None) -> np.ndarray:
    """Compute the distances |a_i − a_j| within a set, or |a_i − b_j| between two.

    They are computed from differences, which is accurate for near-identical vectors.

    Parameters
    ----------
    a, b
        Sets (K, D), (L, D).

    Returns
    -------
    numpy.ndarray
        (K(K − 1)/2,) in the order (0, 1), (0, 2), …, (1, 2), … for one set; (K, L) for two.

    Raises
    ------
    ValueError
        If the sets are not finite, or differ in D.
    """
    if b is None:
        (a,), unit = _in_range(_set(a))
        return pdist(a) * unit
    (a, b), unit = _in_range(*_sets(a, b))
    return cdist(a, b) * unit


def pairwise_angles(a: Any, b: Any = None, origin: Any = None) -> np.ndarray:
    """Compute the angles in degrees between the directions ω_i − ω̄, within a set or between two.

    They are 2 atan2(|û − v̂|, |û + v̂|) of the unit vectors, which is accurate near 0° and 180°.

    Parameters
    ----------
    a, b
        Sets (K, D), (L, D).
    origin
        (D,): ω̄. None: the common origin ½(ω̄_a + ω̄_b) of two sets, or 0 for a single set.

    Returns
    -------
    numpy.ndarray
        In the order of :func:`pairwise_distances`; NaN for a vector at the origin, which has no direction.

    Raises
    ------
    ValueError
        If sets or origin are not finite, or differ in D.
    """
    if b is None:
        a = _set(a)
        u = _directions(a, np.zeros(a.shape[1]) if origin is None else _vector(origin, a.shape[1], "origin"))
        first, second = np.triu_indices(len(u), 1)
        return np.degrees(2 * np.arctan2(pdist(u), cdist(u, -u)[first, second]))
    a, b = _sets(a, b)
    vertex = 0.5 * _centroid(a) + 0.5 * _centroid(b) if origin is None else _vector(origin, a.shape[1], "origin")
    u, v = _directions(a, vertex), _directions(b, vertex)
    return np.degrees(2 * np.arctan2(cdist(u, v), cdist(u, -v)))


def spread(a: Any, b: Any = None, *, origin: Any = None) -> Spread:
    """Compute mean and standard deviation of distances and angles within a set, or between two.

    The vertex of the angles is ``origin``; None: the common origin ½(ω̄_a + ω̄_b) of two sets, or 0 for a single set, as
    in :func:`pairwise_angles`. Both numbers are NaN where a vector lies there. Independent random directions in D
    dimensions have angles of 90° with a standard deviation of about 57.3°/√D.

    Raises
    ------
    ValueError
        If there is one set of one vector, or as for :func:`pairwise_angles`.
    """
    distances = pairwise_distances(a, b)
    if not distances.size:
        raise ValueError("a set of one vector has no distances; expected a second set, or more vectors")
    angles = pairwise_angles(a, b, origin)
    (scaled,), unit = _in_range(distances)
    about = float(scaled.mean()) * unit, float(scaled.std()) * unit
    return Spread(about, (float(angles.mean()), float(angles.std())))


def compare_sets(a: Any, b: Any, origin: Any = None) -> SetComparison:
    r"""Compute mean and standard deviation of distances and angles within two sets and between them.

    Distances are |ω_i − ω_j|, angles those between the directions from the origin ω̄,

    .. math:: \cos \theta_{ij} = \frac{(\omega_i - \bar\omega) \cdot (\omega_j - \bar\omega)}
              {|\omega_i - \bar\omega| \, |\omega_j - \bar\omega|} .

    Parameters
    ----------
    a, b
        Sets (K_a, D) and (K_b, D) of at least two vectors.
    origin
        (D,): ω̄; None: the common origin ½(ω̄_a + ω̄_b).

    Returns
    -------
    SetComparison

    Raises
    ------
    ValueError
        If a set has one vector, or sets or origin are not finite or differ in D.

    Notes
    -----
    An origin computed from the sets is not independent of them: for K independent random vectors in each, cos θ is
    −1/(2K − 1) on average, within the sets and between them. All angles then lie above 90°: by 6.4° for K = 5, 0.6° for
    K = 48.

    Examples
    --------
    >>> import minilandscape as ml
    >>> found = ml.compare_sets([[1.0, 1.0], [1.0, -1.0]], [[-1.0, 1.0], [-1.0, -1.0]])
    >>> found.within_a.distance[0], round(found.within_a.angle[0]), round(found.between.angle[0])
    (2.0, 90, 135)
    """
    a, b = _sets(a, b)
    vertex = 0.5 * _centroid(a) + 0.5 * _centroid(b) if origin is None else _vector(origin, a.shape[1], "origin")
    within_a, within_b = (spread(vectors, origin=vertex) for vectors in (a, b))
    random_angle = (90.0, float(np.degrees(1 / np.sqrt(a.shape[1]))))
    return SetComparison(within_a, within_b, spread(a, b, origin=vertex), random_angle, vertex)


def _directions(vectors: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """Compute unit vectors from the origin to some vectors; NaN where a vector lies at the origin."""
    (vectors, origin), _ = _in_range(vectors, origin)
    relative = vectors - origin
    relative = np.ldexp(relative, -np.frexp(np.abs(relative).max(axis=1, keepdims=True))[1])  # rows of size about 1
    norms = np.linalg.norm(relative, axis=1, keepdims=True)
    return np.divide(relative, norms, out=np.full_like(relative, np.nan), where=norms > 0)


def _exponent(*arrays: np.ndarray) -> int:
    """The exponent of the next power of two above the largest number of some arrays; 0 where all are 0."""
    largest = max(max(float(array.max()), -float(array.min())) for array in arrays)
    return int(np.frexp(largest)[1])


def _in_range(*arrays: np.ndarray) -> tuple[tuple[np.ndarray, ...], float]:
    """Scale arrays so that their squares can be summed; return them and the unit, a power of two (no rounding)."""
    exponent = _exponent(*arrays)
    if abs(exponent) <= SAFE:
        return arrays, 1.0
    exponent = min(max(exponent, -1020), 1023)  # the unit must not be subnormal
    return tuple(np.ldexp(array, -exponent) for array in arrays), float(np.ldexp(1.0, exponent))


def _centroid(vectors: np.ndarray) -> np.ndarray:
    """The mean of a set (K, D)."""
    (scaled,), unit = _in_range(vectors)
    return np.asarray(scaled.mean(axis=0) * unit)


def _set(vectors: Any) -> np.ndarray:
    vectors = real_numbers(vectors, "vectors")
    if vectors.ndim != 2 or not vectors.size:
        raise ValueError(f"vectors have shape {vectors.shape}; expected a set (K, D)")
    if not np.isfinite(vectors).all():
        raise ValueError("vectors hold values that are not finite")
    return vectors


def _sets(a: Any, b: Any) -> tuple[np.ndarray, np.ndarray]:
    a, b = _set(a), _set(b)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"the sets have vectors of {a.shape[1]} and {b.shape[1]} numbers; expected equal sizes")
    return a, b


def _vector(vector: Any, size: int, name: str) -> np.ndarray:
    vector = real_numbers(vector, f"numbers of {name}")
    if vector.shape != (size,):
        raise ValueError(f"{name} has shape {vector.shape}; expected ({size},)")
    if not np.isfinite(vector).all():
        raise ValueError(f"{name} holds numbers that are not finite")
    return vector
