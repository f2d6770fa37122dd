"""Collections of minima and saddles: duplicates merged, one file, and the files of PATHSAMPLE, pele and topsearch."""

from __future__ import annotations

import operator
import os
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..files import read_result, write_result
from ..formats import pathsample, pele, topsearch
from ..formats.contents import Contents, IncompleteWarning, Points, warn
from ..landscape import describe_point
from .disconnectivity import DisconnectivityGraph, disconnectivity_graph

#: Tolerances that are not given: parts of the size of coordinates, of values and of the spread of values; and the part
#: of the size of coordinates within which two points are one whatever their values, which may be 0 to rounding.
PLACE, SIZE, SPREAD, SAME_PLACE = 1e-2, 1e-7, 1e-5, 1e-4
#: Coordinates that are all smaller than this are noise about the origin, or in units of their own.
SMALL = 1e-2


class StationaryPoints:
    """Minima, and saddles between pairs of them, several saddles for a pair if need be.

    A point that is added counts as one that is there already if both its value and its place agree with it.

    Parameters
    ----------
    value_tolerance
        The largest difference of values that agree, in their unit. None: 1e-7 of the larger value plus 1e-5 of the
        spread of the collection's values (their interquartile range), so that the unit makes no difference.
    distance_tolerance
        The largest distance of places that agree, in the unit of the coordinates. None: 1e-2 of the largest coordinate
        of the two points, or of the median point of the collection, if that is larger.
    distance
        ``distance(a, b)`` between points (D,); None takes |b − a|. For molecules, one that aligns them first. A
        distance that is no length in the unit of the coordinates needs a ``distance_tolerance``.

    Attributes
    ----------
    metadata
        Numbers and words about the whole, such as the system properties of a database of pele.
    pairs_tried
        (T, 2): the pairs of minima between which topsearch has tried a connection.
    left_out
        Sentences about what the file that was read holds and this collection does not.

    Notes
    -----
    Without ``value_tolerance`` and ``distance``, two points nearer than 1e-4 of the largest coordinate are one whatever
    their values: the value of a minimum may be 0 to rounding. Where all coordinates are below 1e-2, noise about the
    origin cannot be told from points in a small unit: a warning then asks for ``distance_tolerance``.
    """

    def __init__(
        self,
        value_tolerance: float | None = None,
        distance_tolerance: float | None = None,
        distance: Callable[[np.ndarray, np.ndarray], float] | None = None,
    ) -> None:
        for name, number in (("value_tolerance", value_tolerance), ("distance_tolerance", distance_tolerance)):
            if number is not None and not number >= 0:
                raise ValueError(f"{name} is {number}; expected a number of at least 0, or None")
        self.value_tolerance, self.distance_tolerance = value_tolerance, distance_tolerance
        self._distance = distance
        self._minima = self._saddles = Points(np.zeros(0), np.zeros((0, 0)))
        self._pairs = np.zeros((0, 2), dtype=np.int64)
        self._warned = self._distance_lost = False
        self.metadata: dict[str, Any] = {}
        self.pairs_tried = np.zeros((0, 2), dtype=np.int64)
        self.left_out: tuple[str, ...] = ()

    def __repr__(self) -> str:
        coordinates = f"{self._size} coordinates" if self._size else "no coordinates"
        return (
            f"<StationaryPoints: {len(self._minima.values)} minima, {len(self._saddles.values)} saddles, {coordinates}>"
        )

    @property
    def minima(self) -> np.ndarray:
        """(K, D): coordinates; ValueError if those of one minimum are unknown."""
        return self._known("minima", self._minima)

    @property
    def minima_values(self) -> np.ndarray:
        """(K,)."""
        return self._minima.values.copy()

    @property
    def minima_properties(self) -> dict[str, np.ndarray]:
        """What else is known of the minima, from the files of other programs: name to an array (K,) or (K, m), NaN
        where a minimum has none.

        ``log_product_frequencies`` is the logarithm of the product of the squared normal mode frequencies (PATHSAMPLE,
        pele's fvib), ``point_group_order`` and ``moments_of_inertia`` (K, 3) are what they say, ``further_columns``
        those that PATHSAMPLE's tables have beyond these. Of saddles there are also ``eigenvalue``, the negative one,
        and ``eigenvector`` (S, D), from pele.
        """
        return {name: column.copy() for name, column in self._minima.properties.items()}

    @property
    def saddles(self) -> np.ndarray:
        """(S, D): coordinates; ValueError if those of one saddle are unknown."""
        return self._known("saddles", self._saddles)

    @property
    def saddle_values(self) -> np.ndarray:
        """(S,)."""
        return self._saddles.values.copy()

    @property
    def saddle_properties(self) -> dict[str, np.ndarray]:
        """As ``minima_properties``."""
        return {name: column.copy() for name, column in self._saddles.properties.items()}

    @property
    def pairs(self) -> np.ndarray:
        """(S, 2): the minima that each saddle connects, the lower number first."""
        return self._pairs.copy()

    @property
    def has_coordinates(self) -> bool:
        """Whether the coordinates of all points are known."""
        return not (self._minima.unknown or self._saddles.unknown)

    def add_minimum(self, point: Any, value: float) -> int:
        """Adds a minimum, or finds it; returns its number.

        Raises
        ------
        ValueError
            If point or value are not finite, the point has another size than the others, or a minimum of this
            collection has no coordinates to be compared with.
        """
        point, value = self._checked(point, value)
        number = self._find("minima", self._minima, point, value, np.arange(len(self._minima.values)))
        if number == len(self._minima.values):
            self._minima = self._minima.with_one_more(point, value)
        return number

    def add_saddle(self, point: Any, value: float, i: int, j: int) -> int:
        """Adds a saddle between minima i and j, or finds it among those of the pair; returns its number.

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
        number = self._find("saddles", self._saddles, point, value, among)
        if number == len(self._pairs):
            self._saddles = self._saddles.with_one_more(point, value)
            self._pairs = np.concatenate([self._pairs, [pair]])
        return number

    def graph(self, below: str = "leave out") -> DisconnectivityGraph:
        """Makes the tree of the minima. Saddles that connect a minimum to itself are no edges of it; its ``left_out``
        counts them.

        Parameters
        ----------
        below
            What becomes of saddles below one of their minima, as in :func:`disconnectivity_graph`: "leave out",
            "minimum" or "refuse". An :class:`IncompleteWarning` and the graph's ``left_out`` say how many there are.
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
        if point.ndim != 1 or point.size != size or not (np.isfinite(point).all() and np.isfinite(value)):
            raise ValueError(f"a point of shape {point.shape} and value {value}; expected finite numbers, ({size},)")
        if not size:
            raise ValueError("a point has no coordinates; expected at least one")
        return point, value

    def _find(self, kind: str, known: Points, point: np.ndarray, value: float, among: np.ndarray) -> int:
        """The number of the first of some points that is this one; how many points there are if none is."""
        if not len(among):
            return len(known.values)
        others = known.rows(among)
        if others.unknown:
            raise ValueError(
                f"{known.unknown} of {len(known.values)} {kind} have no coordinates; expected those of all, to tell "
                "whether this point is one of them"
            )
        if self._distance_lost:
            self._warn_once(
                "this collection had a distance of its own, which its file does not keep, and compares by |b − a|: "
                "load_stationary_points(…, distance=…) takes it"
            )
        extents = np.maximum(np.abs(others.coordinates).max(axis=1), np.abs(point).max())
        extents = np.maximum(extents, self._usual_extent())
        agree = self._values_agree(others.values, value)
        if self._distance is None:
            distances = np.linalg.norm(others.coordinates - point, axis=1)
            if self.value_tolerance is None:
                agree |= distances <= SAME_PLACE * extents
        else:
            distances = np.full(len(among), np.inf)
            for k in np.flatnonzero(agree):  # an alignment takes time
                distances[k] = float(self._distance(others.coordinates[k].copy(), point.copy()))
        tolerance = PLACE * extents if self.distance_tolerance is None else self.distance_tolerance
        found = np.flatnonzero(agree & (distances <= tolerance))
        if len(found):
            return int(among[found[0]])
        if self.distance_tolerance is None and max(distances.min(), extents.max()) < SMALL:
            self._warn_once(
                f"a point {distances.min():.3g} from another was kept as a new one, where all coordinates are below "
                f"{SMALL}: distance_tolerance= says in your unit how far apart two results for one point may be"
            )
        return len(known.values)

    def _values_agree(self, values: np.ndarray, value: float) -> np.ndarray:
        tolerance: Any = self.value_tolerance
        if tolerance is None:
            tolerance = SIZE * np.maximum(np.abs(values), abs(value)) + SPREAD * self._spread()
        return np.asarray(np.abs(values - value) <= tolerance)

    def _warn_once(self, text: str) -> None:
        """Warns whoever called add_minimum or add_saddle, once for a collection."""
        if not self._warned:
            self._warned = True
            warnings.warn(text, UserWarning, stacklevel=4)

    def _usual_extent(self) -> float:
        """The median of the points' largest coordinates, which an atom that has gone astray does not move."""
        rows = np.concatenate([p.coordinates for p in (self._minima, self._saddles) if p.coordinates.shape[1]])
        known = rows[~np.isnan(rows[:, 0])]
        return float(np.median(np.abs(known).max(axis=1))) if len(known) else 0.0

    def _spread(self) -> float:
        """The interquartile range of all values."""
        low, high = np.percentile(np.concatenate([self._minima.values, self._saddles.values]), [25, 75])
        return float(high - low)

    # Files -------------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes an ``.npz`` that :func:`load_stationary_points` reads; it cannot keep ``distance``."""
        contents = self._contents()
        arrays: dict[str, np.ndarray] = {"pairs": contents.pairs, "pairs_tried": contents.pairs_tried}
        for kind, points in (("minima", contents.minima), ("saddle", contents.saddles)):
            arrays[f"{kind}_values"] = points.values
            arrays["minima" if kind == "minima" else "saddles"] = points.coordinates
            arrays |= {f"{kind}_properties.{name}": column for name, column in points.properties.items()}
        facts = {
            "value_tolerance": self.value_tolerance,
            "distance_tolerance": self.distance_tolerance,
            "distance": self._distance is not None or self._distance_lost,
            "metadata": contents.metadata,
            "left_out": list(contents.left_out),
        }
        write_result(path, "stationary points", arrays, facts)

    def write_pathsample(self, folder: str | os.PathLike[str], suffix: str = "") -> None:
        """Writes ``min.data`` and ``ts.data`` for PATHSAMPLE and disconnectionDPS, ``points.min`` and ``points.ts``
        where coordinates are known.

        An :class:`IncompleteWarning` names what is left out or had to be assumed: PATHSAMPLE needs frequencies, point
        groups and moments of inertia, which are 1 where they are unknown.

        Raises
        ------
        ValueError
            If one of the files exists, which may hold more than this collection.
        """
        warn(pathsample.write(folder, self._contents(), suffix), folder, 2)

    def write_pele(self, path: str | os.PathLike[str]) -> None:
        """Writes a database that pele reads (its schema version 2), whole or not at all.

        An :class:`IncompleteWarning` names what is left out.

        Raises
        ------
        ValueError
            If the file exists, which may hold more than this collection.
        """
        warn(pele.write(path, self._contents()), path, 2)

    def write_topsearch(self, folder: str | os.PathLike[str], suffix: str = "") -> None:
        """Writes ``min.data``, ``min.coords``, ``ts.data``, ``ts.coords`` and ``pairlist``, each with the suffix.

        All saddles are written, in full precision. topsearch 0.0.3 keeps the last of several between two minima, which
        is the lowest here; its later code keeps all. An :class:`IncompleteWarning` names what is left out.

        Raises
        ------
        ValueError
            If one of the files exists, which may hold more than this collection; or coordinates are unknown, without
            which topsearch reads nothing.
        """
        warn(topsearch.write(folder, self._contents(), suffix), folder, 2)

    def _contents(self) -> Contents:
        return Contents(
            self._minima, self._saddles, self.pairs, dict(self.metadata), self.pairs_tried, tuple(self.left_out)
        )


def _collection(source: Any, contents: Contents, options: dict[str, Any]) -> StationaryPoints:
    """A collection of what a file holds, checked, nothing merged."""
    collection = StationaryPoints(**options)
    for kind, points in (("minima", contents.minima), ("saddles", contents.saddles)):
        rows = points.coordinates
        damaged = np.isinf(rows).any(axis=1) | (np.isnan(rows).any(axis=1) & ~np.isnan(rows).all(axis=1))
        bad = np.flatnonzero(~np.isfinite(points.values) | damaged)
        if len(bad):
            raise ValueError(
                f"{source}: one of the {kind} is {points.values[bad[0]]} at {describe_point(rows[bad[0]])}; "
                "expected finite numbers"
            )
    number, saddles = len(contents.minima.values), len(contents.saddles.values)
    pairs = np.asarray(contents.pairs, dtype=np.int64)
    if pairs.shape != (saddles, 2):
        raise ValueError(f"{source} holds {saddles} saddles and pairs of shape {pairs.shape}; expected one pair each")
    beyond = np.flatnonzero(((pairs < 0) | (pairs >= number)).any(axis=1))
    if len(beyond):
        i, j = pairs[beyond[0]]
        raise ValueError(f"{source}: a saddle connects the minima {i} and {j}; expected two of 0 to {number - 1}")
    collection._minima, collection._saddles, collection._pairs = contents.minima, contents.saddles, np.sort(pairs)
    collection.metadata, collection.pairs_tried = contents.metadata, contents.pairs_tried
    collection.left_out = contents.left_out
    return collection


def load_stationary_points(
    path: str | os.PathLike[str], *, distance: Callable[[np.ndarray, np.ndarray], float] | None = None
) -> StationaryPoints:
    """Reads what :meth:`StationaryPoints.save` wrote; ValueError names the file where it is damaged.

    Parameters
    ----------
    distance
        That of the collection, if it had one of its own: a file does not keep it. Points that are added without it are
        compared by |b − a|, after a warning.
    """
    a, facts = read_result(path, "stationary points")
    if "saddles_values" in a:  # as version 0.1 wrote it
        a["saddle_values"] = a.pop("saddles_values")
    kinds = []
    for kind, coordinates in (("minima", "minima"), ("saddle", "saddles")):
        values, rows = a[f"{kind}_values"], a[coordinates]
        if values.ndim != 1 or rows.ndim != 2 or len(rows) != len(values):
            raise ValueError(
                f"{path} holds values of {len(values)} {kind} points and coordinates of {len(rows)}; expected as many"
            )
        prefix = f"{kind}_properties."
        properties = {name.removeprefix(prefix): column for name, column in a.items() if name.startswith(prefix)}
        kinds.append(Points(values, rows, properties))
    contents = Contents(
        kinds[0],
        kinds[1],
        a["pairs"],
        facts.get("metadata", {}),
        a.get("pairs_tried", np.zeros((0, 2), dtype=np.int64)),
        tuple(facts.get("left_out", ())),
    )
    options = {name: facts[name] for name in ("value_tolerance", "distance_tolerance")}
    collection = _collection(path, contents, {**options, "distance": distance})
    collection._distance_lost = facts.get("distance", False) and distance is None
    return collection


def read_pathsample(
    folder: str | os.PathLike[str], suffix: str = "", *, size: int | None = None, **options: Any
) -> StationaryPoints:
    """Reads PATHSAMPLE's ``min.data``, ``ts.data``, ``points.min`` and ``points.ts``; options of StationaryPoints.

    The log products of frequencies, point group orders and moments of inertia are in ``minima_properties`` and
    ``saddle_properties``. The files of coordinates may be absent or shorter than the tables. Nothing is merged. What
    cannot be used, such as a saddle of a minimum that is not there, is named in ``left_out`` and in an
    :class:`IncompleteWarning`. Other files of the folder, such as ``min.A``, are not looked at.

    Parameters
    ----------
    folder
        Of the files, or ``min.data`` itself under whatever name has this in it (``collagen.min.data``).
    suffix
        What follows the names, such as ``.fastest``.
    size
        D, where the lengths of the files of coordinates do not tell.

    Raises
    ------
    FileNotFoundError
        If there is no ``min.data``.
    ValueError
        If a row of ``min.data`` has no finite energy, or one of ``ts.data`` is no row of numbers.
    """
    return _read(folder, pathsample.read(folder, suffix, size), options)


def read_topsearch(folder: str | os.PathLike[str], suffix: str = "", **options: Any) -> StationaryPoints:
    """Reads topsearch's ``min.data``, ``min.coords``, ``ts.data``, ``ts.coords`` and ``pairlist``; options of
    StationaryPoints.

    topsearch 0.0.3 itself writes values with five decimals. Minima come in the order of the numbers that ``min.data``
    gives them, by which ``ts.data`` names them; topsearch counts from 0. Saddles that cannot be used are named in
    ``left_out`` and in an :class:`IncompleteWarning`.

    Parameters
    ----------
    folder
        Of the files, or ``min.data`` itself.
    suffix
        What follows the names (``min.data.disco``), with or without its dot.

    Raises
    ------
    FileNotFoundError
        If there is no such ``min.data``.
    ValueError
        If a file is no table of finite numbers, or files do not fit each other.
    """
    return _read(folder, topsearch.read(folder, suffix), options)


def read_pele(path: str | os.PathLike[str], **options: Any) -> StationaryPoints:
    """Reads a database of pele, of any schema, and of Python 2 too; options of StationaryPoints.

    Rows that pele marks invalid are left out, and saddles of minima that are, or that are not there; ``left_out`` and
    an :class:`IncompleteWarning` name them. pele stores coordinates as pickled arrays. Nothing but an array of numbers
    is taken out of them: whatever else a pickle asks for is refused, so that a database from elsewhere cannot run code.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If the file is no database of pele, coordinates are no plain array, or the energy of a minimum is no number.
    """
    return _read(path, pele.read(path), options)


def _read(source: Any, contents: Contents, options: dict[str, Any]) -> StationaryPoints:
    points = _collection(source, contents, options)
    warn(points.left_out, source, 3)
    return points


__all__ = [
    "IncompleteWarning",
    "StationaryPoints",
    "load_stationary_points",
    "read_pathsample",
    "read_pele",
    "read_topsearch",
]
