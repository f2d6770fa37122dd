"""Distances and angles within sets of weight vectors and between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist, pdist

from ..display import Row, number
from .described import Described
from .sets import as_set, as_sets, as_vector, centroid, in_range


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
        (a,), unit = in_range(as_set(a))
        return pdist(a) * unit
    (a, b), unit = in_range(*as_sets(a, b))
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
        a = as_set(a)
        u = _directions(a, np.zeros(a.shape[1]) if origin is None else as_vector(origin, a.shape[1], "origin"))
        first, second = np.triu_indices(len(u), 1)
        return np.degrees(2 * np.arctan2(pdist(u), cdist(u, -u)[first, second]))
    a, b = as_sets(a, b)
    vertex = 0.5 * centroid(a) + 0.5 * centroid(b) if origin is None else as_vector(origin, a.shape[1], "origin")
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
    (scaled,), unit = in_range(distances)
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
    a, b = as_sets(a, b)
    vertex = 0.5 * centroid(a) + 0.5 * centroid(b) if origin is None else as_vector(origin, a.shape[1], "origin")
    within_a, within_b = (spread(vectors, origin=vertex) for vectors in (a, b))
    random_angle = (90.0, float(np.degrees(1 / np.sqrt(a.shape[1]))))
    return SetComparison(within_a, within_b, spread(a, b, origin=vertex), random_angle, vertex)


def _directions(vectors: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """Compute unit vectors from the origin to some vectors; NaN where a vector lies at the origin."""
    (vectors, origin), _ = in_range(vectors, origin)
    relative = vectors - origin
    relative = np.ldexp(relative, -np.frexp(np.abs(relative).max(axis=1, keepdims=True))[1])  # rows of size about 1
    norms = np.linalg.norm(relative, axis=1, keepdims=True)
    return np.divide(relative, norms, out=np.full_like(relative, np.nan), where=norms > 0)
