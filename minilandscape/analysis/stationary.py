"""Collections of minima and saddles in which duplicates are merged."""

from __future__ import annotations

import operator
import os
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.spatial.distance import pdist

from ..display import as_html, number, svg_of, text_lines
from ..files import write_result
from ..formats import pathsample, pele, topsearch
from ..formats.contents import Contents, IncompleteWarning, Points, warn
from ..landscape import describe_point
from .disconnectivity import DisconnectivityGraph, disconnectivity_graph
from .shown_tree import points_rows

#: Default tolerances: parts of the scale of coordinates, of values, and of the range of values. Points closer than the
#: last part of the scale are equal whatever their values, which may be 0 up to rounding.
DISTANCE_PART, VALUE_PART, RANGE_PART, SAME_POINT = 1e-2, 1e-7, 1e-5, 1e-4
#: Coordinates that are all smaller than this are noise about the origin, or in a large unit.
SMALL = 1e-2
#: The largest scale of a collection of one point: larger coordinates may be due to an origin that is far off.
LARGE = 10.0
#: Largest number of points between which distances are computed for the scale.
SAMPLED = 32


class StationaryPoints:
    """A collection of minima, and of saddles between pairs of them; a pair may have several.

    A point that is added is a duplicate if both its value and its coordinates agree with those of a known point.

    Parameters
    ----------
    value_tolerance
        The largest difference of values that agree, in their unit. None: 1e-7 of the larger value plus 1e-5 of the
        interquartile range of the collection's values, which scales with the unit.
    distance_tolerance
        The largest distance of coordinates that agree, in their unit. None: 1e-2 of the scale below.
    distance
        ``distance(a, b)`` between points (D,); None: |b − a|. For molecules, a function that aligns them first. A
        distance in another unit than the coordinates requires ``distance_tolerance``.

    Attributes
    ----------
    minima, minima_values
        (K, D), (K,).
    saddles, saddle_values, pairs
        (S, D), (S,), and (S, 2): the two minima that each saddle connects.
    minima_properties, saddle_properties
        Further arrays from files of other programs, by name.
    metadata
        Numbers and words about the collection, such as the system properties of a database of pele.
    pairs_tried
        (T, 2): the pairs of minima between which topsearch tried a connection.
    left_out
        Sentences about contents of a file that were not read.

    Notes
    -----
    The scale is the median distance between the collection's points, each pair by its largest component, so that it
    does not depend on the origin. It is at most the largest coordinate of the two points that are compared, or of the
    collection's median point if that is larger, so that one point far off is no scale for the others. In a collection
    of one point it is that coordinate, at most 10.

    Without ``value_tolerance`` and ``distance``, two points closer than 1e-4 of the scale are equal whatever their
    values, since the value of a minimum may be 0 up to rounding. Where all coordinates are below 1e-2, noise about the
    origin cannot be distinguished from points in a large unit, and where the only other point has coordinates above 10,
    duplicates in a small unit cannot be distinguished from minima far from the origin: a warning then recommends
    ``distance_tolerance``.

    Examples
    --------
    >>> import minilandscape as ml
    >>> points = ml.StationaryPoints()
    >>> a, b = points.add_minimum([-1.0, 0.0], -3.0), points.add_minimum([1.0, 0.0], -2.0)
    >>> points.add_minimum([1.0, 1e-6], -2.0) == b  # a duplicate
    True
    >>> saddle = points.add_saddle([0.0, 0.5], 1.0, a, b)
    >>> points.graph().merge_energy(a, b)
    1.0
    """

    def __init__(
        self,
        value_tolerance: float | None = None,
        distance_tolerance: float | None = None,
        distance: Callable[[np.ndarray, np.ndarray], float] | None = None,
    ) -> None:
        for name, given in (("value_tolerance", value_tolerance), ("distance_tolerance", distance_tolerance)):
            if given is not None and not given >= 0:
                raise ValueError(f"{name} is {given}; expected a number of at least 0, or None")
        self.value_tolerance, self.distance_tolerance = value_tolerance, distance_tolerance
        self._distance = distance
        self._minima = self._saddles = Points(np.zeros(0), np.zeros((0, 0)))
        self._pairs = np.zeros((0, 2), dtype=np.int64)
        self._warned = self._distance_lost = False
        self.metadata: dict[str, Any] = {}
        self.pairs_tried = np.zeros((0, 2), dtype=np.int64)
        self.left_out: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """One line: the numbers of minima, saddles and coordinates, and the lowest value."""
        coordinates = f"{self._size} coordinates" if self._size else "no coordinates"
        minima, saddles = len(self._minima.values), len(self._saddles.values)
        lowest = f", the lowest {number(float(self._minima.values.min()), 8)}" if minima else ""
        return f"<StationaryPoints: {minima} minima{lowest}, {saddles} saddles, {coordinates}>"

    def summary(self) -> str:
        """Describe minima, saddles and connected components in lines of text."""
        return text_lines(points_rows(self))

    def _repr_html_(self) -> str:
        picture = svg_of(self.plot()) if len(self._minima.values) else ""
        return as_html("Stationary points", points_rows(self), picture)

    def plot(self, axes: Any = None, **options: Any) -> Any:
        """Draw the disconnectivity graph; options of :meth:`DisconnectivityGraph.plot`."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", IncompleteWarning)  # summary() counts what is left out
            graph = self.graph()
        return graph.plot(axes, **options)

    @property
    def minima(self) -> np.ndarray:
        """(K, D): coordinates of the minima; ValueError if some are unknown."""
        return self._known("minima", self._minima)

    @property
    def minima_values(self) -> np.ndarray:
        """(K,): values of the minima."""
        return self._minima.values.copy()

    @property
    def minima_properties(self) -> dict[str, np.ndarray]:
        """Properties of the minima from files of other programs: name to array (K,) or (K, m), NaN where unknown.

        ``log_product_frequencies`` is the logarithm of the product of the squared normal mode frequencies (PATHSAMPLE,
        pele's fvib). There are also ``point_group_order``, ``moments_of_inertia`` (K, 3) and ``further_columns``, which
        PATHSAMPLE's tables may have after these. Saddles of pele have the negative ``eigenvalue`` and its
        ``eigenvector`` (S, D).
        """
        return {name: column.copy() for name, column in self._minima.properties.items()}

    @property
    def saddles(self) -> np.ndarray:
        """(S, D): coordinates of the saddles; ValueError if some are unknown."""
        return self._known("saddles", self._saddles)

    @property
    def saddle_values(self) -> np.ndarray:
        """(S,): values of the saddles."""
        return self._saddles.values.copy()

    @property
    def saddle_properties(self) -> dict[str, np.ndarray]:
        """Properties of the saddles, as ``minima_properties``."""
        return {name: column.copy() for name, column in self._saddles.properties.items()}

    @property
    def pairs(self) -> np.ndarray:
        """(S, 2): the minima that each saddle connects, the lower number first."""
        return self._pairs.copy()

    @property
    def has_coordinates(self) -> bool:
        """Whether the coordinates of all minima and saddles are known."""
        return not (self._minima.unknown or self._saddles.unknown)

    def add_minimum(self, point: Any, value: float) -> int:
        """Add a minimum unless it is a duplicate; return its number.

        Raises
        ------
        ValueError
            If point or value is not finite, the size of the point differs from the others', or a minimum of this
            collection has no coordinates to compare with.
        """
        point, value = self._checked(point, value)
        index = self._find("minima", self._minima, point, value, np.arange(len(self._minima.values)))
        if index == len(self._minima.values):
            self._minima = self._minima.with_one_more(point, value)
        return index

    def add_saddle(self, point: Any, value: float, i: int, j: int) -> int:
        """Add a saddle between the minima i and j unless it is a duplicate of one of that pair; return its number.

        Raises
        ------
        ValueError
            If there is no such minimum, or as in ``add_minimum``.
        """
        i, j = operator.index(i), operator.index(j)
        for k in (i, j):
            if not 0 <= k < len(self._minima.values):
                raise ValueError(f"a saddle connects {i} and {j}; expected two of {len(self._minima.values)} minima")
        pair = (min(i, j), max(i, j))
        point, value = self._checked(point, value)
        among = np.flatnonzero((self._pairs == pair).all(axis=1))
        index = self._find("saddles", self._saddles, point, value, among)
        if index == len(self._pairs):
            self._saddles = self._saddles.with_one_more(point, value)
            self._pairs = np.concatenate([self._pairs, [pair]])
        return index

    def graph(self, below: str = "leave out") -> DisconnectivityGraph:
        """Build the disconnectivity graph of the minima.

        Saddles that connect a minimum to itself are ignored; ``left_out`` of the graph counts them.

        Parameters
        ----------
        below
            How to treat saddles below one of their minima, as in :func:`disconnectivity_graph`: "leave out", "minimum"
            or "refuse". An :class:`IncompleteWarning` and ``left_out`` of the graph count them.

        Returns
        -------
        DisconnectivityGraph
        """
        edges = self._pairs[:, 0] != self._pairs[:, 1]
        rows = np.column_stack([self._pairs[edges], self._saddles.values[edges]])
        graph = disconnectivity_graph(self.minima_values, list(map(tuple, rows.tolist())), below=below)
        warn(graph.left_out, "the tree", 2)
        if edges.all():
            return graph
        to_itself = f"{(~edges).sum()} of {len(edges)} saddles connect a minimum to itself and are no edges"
        return replace(graph, left_out=(*graph.left_out, to_itself))

    # Comparing ---------------------------------------------------------------------------------------------------

    @property
    def _size(self) -> int:
        """D; 0 in a collection without coordinates."""
        return self._minima.coordinates.shape[1] or self._saddles.coordinates.shape[1]

    def _known(self, kind: str, points: Points) -> np.ndarray:
        if points.unknown:
            raise ValueError(
                f"coordinates of {points.unknown} of {len(points.values)} {kind} are unknown: the file that was read "
                "has none; values, pairs and graph() need none"
            )
        return points.coordinates.copy() if len(points.values) else np.zeros((0, self._size))

    def _checked(self, point: Any, value: Any) -> tuple[np.ndarray, float]:
        if np.iscomplexobj(point):
            raise TypeError("a point is complex; expected real numbers")
        point, value = np.array(point, dtype=np.float64), float(value)
        size = self._size or point.size
        if point.ndim != 1 or point.size != size:
            raise ValueError(f"a point has shape {point.shape}; expected ({size},)")
        if not (np.isfinite(point).all() and np.isfinite(value)):
            raise ValueError(f"a point is {describe_point(point)} of value {value}; expected finite numbers")
        if not size:
            raise ValueError("a point has no coordinates; expected at least one")
        return point, value

    def _find(self, kind: str, known: Points, point: np.ndarray, value: float, among: np.ndarray) -> int:
        """The number of the first point of ``among`` that this one duplicates; the number of known points if none."""
        if not len(among):
            return len(known.values)
        others = known.rows(among)
        if others.unknown:
            raise ValueError(
                f"{known.unknown} of {len(known.values)} {kind} have no coordinates; expected those of all, to find "
                "out whether this point is a duplicate"
            )
        if self._distance_lost:
            self._warn_once(
                "this collection was saved with a distance function, which its file does not contain, and now compares "
                "by |b − a|: pass it to load_stationary_points(…, distance=…)"
            )
        extents = np.maximum(np.abs(others.coordinates).max(axis=1), np.abs(point).max())
        rows = self._known_rows()
        # The median of the points' largest coordinates, which a detached atom does not change.
        extents = np.maximum(extents, np.median(np.abs(rows).max(axis=1)))
        typical = _typical_distance(rows)
        scales = np.minimum(extents, LARGE if typical is None else typical)
        agree = self._values_agree(others.values, value)
        if self._distance is None:
            distances = np.linalg.norm(others.coordinates - point, axis=1)
            if self.value_tolerance is None:
                agree |= distances <= SAME_POINT * scales
        else:
            distances = np.full(len(among), np.inf)
            for k in np.flatnonzero(agree):  # an alignment may be expensive
                distances[k] = float(self._distance(others.coordinates[k].copy(), point.copy()))
        tolerance = DISTANCE_PART * scales if self.distance_tolerance is None else self.distance_tolerance
        found = np.flatnonzero(agree & (distances <= tolerance))
        if len(found):
            return int(among[found[0]])
        if self.distance_tolerance is None and (doubt := _doubt(distances, agree, extents, typical)):
            self._warn_once(
                f"a point at a distance of {distances.min():.3g} from another was added as a new one, but {doubt}: "
                "pass distance_tolerance=, the largest distance of duplicates"
            )
        return len(known.values)

    def _values_agree(self, values: np.ndarray, value: float) -> np.ndarray:
        tolerance: Any = self.value_tolerance
        if tolerance is None:
            tolerance = VALUE_PART * np.maximum(np.abs(values), abs(value)) + RANGE_PART * self._spread()
        return np.asarray(np.abs(values - value) <= tolerance)

    def _warn_once(self, text: str) -> None:
        """Warn the caller of add_minimum or add_saddle, once for each collection."""
        if not self._warned:
            self._warned = True
            warnings.warn(text, UserWarning, stacklevel=4)

    def _known_rows(self) -> np.ndarray:
        """The coordinates of all points that have some."""
        rows = np.concatenate([p.coordinates for p in (self._minima, self._saddles) if p.coordinates.shape[1]])
        return np.asarray(rows[~np.isnan(rows[:, 0])])

    def _spread(self) -> float:
        """The interquartile range of all values."""
        low, high = np.percentile(np.concatenate([self._minima.values, self._saddles.values]), [25, 75])
        return float(high - low)

    # Files -------------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write an ``.npz`` that :func:`load_stationary_points` reads; it does not contain ``distance``."""
        contents = self._contents()
        arrays: dict[str, np.ndarray] = {"pairs": contents.pairs, "pairs_tried": contents.pairs_tried}
        for kind, points in (("minima", contents.minima), ("saddle", contents.saddles)):
            arrays[f"{kind}_values"] = points.values
            arrays["minima" if kind == "minima" else "saddles"] = points.coordinates
            arrays |= {f"{kind}_properties.{name}": column for name, column in points.properties.items()}
        numbers = {
            "value_tolerance": self.value_tolerance,
            "distance_tolerance": self.distance_tolerance,
            "distance": self._distance is not None or self._distance_lost,
            "metadata": contents.metadata,
            "left_out": list(contents.left_out),
        }
        write_result(path, "stationary points", arrays, numbers)

    def write_pathsample(self, folder: str | os.PathLike[str], suffix: str = "") -> None:
        """Write ``min.data`` and ``ts.data`` of PATHSAMPLE and disconnectionDPS.

        ``points.min`` and ``points.ts`` are written where coordinates are known. An :class:`IncompleteWarning` names
        what is left out or assumed: PATHSAMPLE requires frequencies, point groups and moments of inertia, which are
        written as 1 where they are unknown.

        Raises
        ------
        ValueError
            If one of the files exists.
        """
        warn(pathsample.write(folder, self._contents(), suffix), folder, 2)

    def write_pele(self, path: str | os.PathLike[str]) -> None:
        """Write a database of pele (schema version 2), atomically.

        An :class:`IncompleteWarning` names what is left out.

        Raises
        ------
        ValueError
            If the file exists.
        """
        warn(pele.write(path, self._contents()), path, 2)

    def write_topsearch(self, folder: str | os.PathLike[str], suffix: str = "") -> None:
        """Write ``min.data``, ``min.coords``, ``ts.data``, ``ts.coords`` and ``pairlist`` of topsearch.

        All saddles are written, in full precision. Of several saddles between two minima, topsearch 0.0.3 keeps the
        last one, which is the lowest here; later versions keep all. An :class:`IncompleteWarning` names what is left
        out.

        Raises
        ------
        ValueError
            If one of the files exists, or coordinates are unknown, which topsearch requires.
        """
        warn(topsearch.write(folder, self._contents(), suffix), folder, 2)

    def _contents(self) -> Contents:
        return Contents(
            self._minima, self._saddles, self.pairs, dict(self.metadata), self.pairs_tried, tuple(self.left_out)
        )

    @classmethod
    def _from_contents(cls, source: Any, contents: Contents, options: dict[str, Any]) -> StationaryPoints:
        """Make a collection of the contents of the file ``source``: checked, without merging duplicates."""
        collection = cls(**options)
        for kind, points in (("minima", contents.minima), ("saddles", contents.saddles)):
            rows = points.coordinates
            damaged = np.isinf(rows).any(axis=1) | (np.isnan(rows).any(axis=1) & ~np.isnan(rows).all(axis=1))
            bad = np.flatnonzero(~np.isfinite(points.values) | damaged)
            if len(bad):
                raise ValueError(
                    f"{source}: one of the {kind} is {points.values[bad[0]]} at {describe_point(rows[bad[0]])}; "
                    "expected finite numbers"
                )
        n_minima, saddles = len(contents.minima.values), len(contents.saddles.values)
        pairs = np.asarray(contents.pairs, dtype=np.int64)
        if pairs.shape != (saddles, 2):
            raise ValueError(
                f"{source} holds {saddles} saddles and pairs of shape {pairs.shape}; expected one pair each"
            )
        beyond = np.flatnonzero(((pairs < 0) | (pairs >= n_minima)).any(axis=1))
        if len(beyond):
            i, j = pairs[beyond[0]]
            raise ValueError(f"{source}: a saddle connects the minima {i} and {j}; expected two of 0 to {n_minima - 1}")
        collection._minima, collection._saddles, collection._pairs = contents.minima, contents.saddles, np.sort(pairs)
        collection.metadata, collection.pairs_tried = contents.metadata, contents.pairs_tried
        collection.left_out = contents.left_out
        return collection


def _typical_distance(rows: np.ndarray) -> float | None:
    """The lower median distance between different points, by the largest component; None if there are no two."""
    if len(rows) > SAMPLED:
        rows = rows[np.linspace(0, len(rows) - 1, SAMPLED).astype(int)]
    distances = pdist(rows, "chebyshev")
    distances = distances[distances > 0]
    return float(np.quantile(distances, 0.5, method="lower")) if len(distances) else None


def _doubt(distances: np.ndarray, agree: np.ndarray, extents: np.ndarray, typical: float | None) -> str | None:
    """Say why a new point may be a duplicate, where the scale of the coordinates is unknown."""
    if max(distances.min(), extents.max()) < SMALL:
        return f"all coordinates are below {SMALL}"
    if typical is None and (agree & (distances <= DISTANCE_PART * extents)).any():
        return (
            "their values agree, and no other points tell whether they are far apart at coordinates as large as "
            f"{extents.max():.3g}"
        )
    return None
