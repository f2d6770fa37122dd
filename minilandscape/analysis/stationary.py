"""Collections of minima and saddles: duplicates merged, one file, and the files of topsearch and pele."""

from __future__ import annotations

import io
import os
import pickle
import sqlite3
import tempfile
from collections.abc import Callable, Iterable
from contextlib import closing
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from ..files import read_result, write_atomic, write_result
from ..landscape import describe_point
from .disconnectivity import DisconnectivityGraph, disconnectivity_graph


class StationaryPoints:
    """Minima, and saddles between pairs of them, several for a pair if need be.

    A point is taken for one that is there already if both its value and its place agree with it.

    Parameters
    ----------
    value_tolerance
        The largest difference of values, in their unit.
    distance_tolerance
        The largest distance.
    distance
        ``distance(a, b)`` between points (D,); None takes |b − a|. For molecules, one that aligns them first.
    """

    def __init__(
        self,
        value_tolerance: float = 1e-5,
        distance_tolerance: float = 1e-2,
        distance: Callable[[np.ndarray, np.ndarray], float] | None = None,
    ) -> None:
        for name, number in (("value_tolerance", value_tolerance), ("distance_tolerance", distance_tolerance)):
            if not number >= 0:
                raise ValueError(f"{name} is {number}; expected a number of at least 0")
        self.value_tolerance, self.distance_tolerance = value_tolerance, distance_tolerance
        self._distance = distance or (lambda a, b: float(np.linalg.norm(b - a)))
        self._minima: list[tuple[np.ndarray, float]] = []
        self._saddles: list[tuple[np.ndarray, float]] = []
        self._pairs: list[tuple[int, int]] = []

    @property
    def minima(self) -> np.ndarray:
        """(K, D)."""
        return self._stack(self._minima)

    @property
    def minima_values(self) -> np.ndarray:
        """(K,)."""
        return np.array([value for _, value in self._minima])

    @property
    def saddles(self) -> np.ndarray:
        """(S, D)."""
        return self._stack(self._saddles)

    @property
    def saddles_values(self) -> np.ndarray:
        """(S,)."""
        return np.array([value for _, value in self._saddles])

    @property
    def pairs(self) -> np.ndarray:
        """(S, 2): the minima that each saddle joins, the lower number first."""
        return np.array(self._pairs, dtype=np.int64).reshape(-1, 2)

    def add_minimum(self, point: Any, value: float) -> int:
        """Adds a minimum, or finds it; its number."""
        return self._add(self._minima, point, value, range(len(self._minima)))

    def add_saddle(self, point: Any, value: float, i: int, j: int) -> int:
        """Adds a saddle between minima i and j, or finds it among those of the pair; its number.

        Raises
        ------
        ValueError
            If there is no such minimum.
        """
        for k in (i, j):
            if not 0 <= k < len(self._minima):
                raise ValueError(f"a saddle joins {i} and {j}; expected two of {len(self._minima)} minima")
        pair = (min(i, j), max(i, j))
        number = self._add(self._saddles, point, value, [k for k, p in enumerate(self._pairs) if p == pair])
        if number == len(self._pairs):
            self._pairs.append(pair)
        return number

    def graph(self) -> DisconnectivityGraph:
        """The tree of the minima; saddles that join a minimum to itself are left out."""
        edges = [(i, j, v) for (i, j), v in zip(self._pairs, self.saddles_values, strict=True) if i != j]
        return disconnectivity_graph(self.minima_values, edges)

    def _stack(self, known: list[tuple[np.ndarray, float]]) -> np.ndarray:
        """Points as rows; minima without saddles have D all the same."""
        size = self._minima[0][0].size if self._minima else 0
        return np.array([point for point, _ in known], dtype=np.float64).reshape(len(known), size)

    def _add(self, known: list[tuple[np.ndarray, float]], point: Any, value: float, among: Iterable[int]) -> int:
        point, value = np.array(point, dtype=np.float64), float(value)
        size = self._minima[0][0].size if self._minima else point.size
        if point.ndim != 1 or point.size != size or not (np.isfinite(point).all() and np.isfinite(value)):
            raise ValueError(f"a point of shape {point.shape} and value {value}; expected finite numbers, ({size},)")
        for k in among:
            other, other_value = known[k]
            near = abs(value - other_value) <= self.value_tolerance
            if near and self._distance(other, point) <= self.distance_tolerance:
                return k
        known.append((point, value))
        return len(known) - 1

    # Files -------------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes an ``.npz`` that :func:`load_stationary_points` reads."""
        names = ("minima", "minima_values", "saddles", "saddles_values", "pairs")
        facts = {"value_tolerance": self.value_tolerance, "distance_tolerance": self.distance_tolerance}
        write_result(path, "stationary points", {name: getattr(self, name) for name in names}, facts)

    def write_topsearch(self, folder: str | os.PathLike[str]) -> None:
        """Writes ``min.data``, ``min.coords``, ``ts.data``, ``ts.coords`` and ``pairlist``, which topsearch reads.

        topsearch keeps one saddle a pair: the lowest is written. Values are written in full precision.

        Raises
        ------
        ValueError
            If one of the files exists, which may hold more than this collection.
        """
        lowest: dict[tuple[int, int], int] = {}
        for k, pair in enumerate(self._pairs):
            if pair not in lowest or self._saddles[k][1] < self._saddles[lowest[pair]][1]:
                lowest[pair] = k
        saddles = [(i, j, *self._saddles[k]) for (i, j), k in lowest.items()]
        tables = {
            "min.coords": [" ".join(map(repr, x.tolist())) for x, _ in self._minima],
            "ts.data": [f"{i} {j} {value!r}" for i, j, _, value in saddles],
            "ts.coords": [" ".join(map(repr, x.tolist())) for _, _, x, _ in saddles],
            "pairlist": [f"{i} {j}" for i, j in lowest],
            "min.data": [f"{k} {value!r}" for k, (_, value) in enumerate(self._minima)],  # nothing is read without it
        }
        files = {Path(folder) / name: "".join(f"{line}\n" for line in lines) for name, lines in tables.items()}
        for file in files:
            if file.exists():
                raise ValueError(f"{file} exists; name a new folder")
        try:
            for file, text in files.items():
                write_atomic(file, text.encode())
        except BaseException:
            for file in files:
                file.unlink(missing_ok=True)
            raise

    def write_pele(self, path: str | os.PathLike[str]) -> None:
        """Writes a database that pele reads (its schema version 2), whole or not at all.

        Raises
        ------
        ValueError
            If the file exists, which may hold more than this collection.
        """
        if Path(path).exists():
            raise ValueError(f"{path} exists; name a new file")
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "pele")
            with closing(sqlite3.connect(file)) as database, database:
                database.executescript(PELE_SCHEMA)
                for k, (x, value) in enumerate(self._minima):
                    row = (k + 1, value, pickle.dumps(x, protocol=2))
                    database.execute("INSERT INTO tbl_minima (_id, energy, coords, invalid) VALUES (?, ?, ?, 0)", row)
                for (i, j), (x, value) in zip(self._pairs, self._saddles, strict=True):
                    database.execute(
                        "INSERT INTO tbl_transition_states (energy, coords, _minimum1_id, _minimum2_id, invalid) "
                        "VALUES (?, ?, ?, ?, 0)",
                        (value, pickle.dumps(x, protocol=2), i + 1, j + 1),
                    )
            write_atomic(path, file.read_bytes())


PELE_SCHEMA = """
PRAGMA user_version = 2;
CREATE TABLE tbl_minima (
    _id INTEGER PRIMARY KEY, energy FLOAT, coords BLOB, fvib FLOAT, pgorder INTEGER, invalid INTEGER, user_data BLOB
);
CREATE TABLE tbl_transition_states (
    _id INTEGER PRIMARY KEY, energy FLOAT, coords BLOB,
    _minimum1_id INTEGER REFERENCES tbl_minima (_id), _minimum2_id INTEGER REFERENCES tbl_minima (_id),
    eigenval FLOAT, eigenvec BLOB, fvib FLOAT, pgorder INTEGER, invalid INTEGER, user_data BLOB
);
CREATE TABLE tbl_system_property (
    _id INTEGER PRIMARY KEY, property_name VARCHAR, int_value INTEGER, float_value FLOAT, string_value VARCHAR,
    pickle_value BLOB
);
"""


def _points(
    source: Any, minima: Any, values: Any, saddles: Any, saddle_values: Any, pairs: Any, options: dict[str, Any]
) -> StationaryPoints:
    """A collection of what a file holds, checked, nothing merged."""
    points = StationaryPoints(**options)
    points._minima = _checked(source, "minima", minima, values)
    points._saddles = _checked(source, "saddles", saddles, saddle_values)
    sizes = sorted({x.size for x, _ in points._minima + points._saddles})
    if len(sizes) > 1:
        raise ValueError(f"{source} holds points of {sizes[0]} and of {sizes[1]} coordinates; expected one number D")
    points._pairs = [(min(int(i), int(j)), max(int(i), int(j))) for i, j in pairs]
    if len(points._pairs) != len(points._saddles):
        raise ValueError(
            f"{source} holds {len(points._saddles)} saddles and {len(points._pairs)} pairs; expected as many"
        )
    for i, j in points._pairs:
        if not (i >= 0 and j < len(points._minima)):
            raise ValueError(
                f"{source}: a saddle joins the minima {i} and {j}; expected two of 0 to {len(points._minima) - 1}"
            )
    return points


def _checked(source: Any, kind: str, points: Any, values: Any) -> list[tuple[np.ndarray, float]]:
    if len(points) != len(values):
        raise ValueError(f"{source} holds values of {len(values)} {kind} and coordinates of {len(points)}")
    rows = [np.array(x, dtype=np.float64) for x in points]
    for x, value in zip(rows, values, strict=True):
        if x.ndim != 1 or not np.isfinite(x).all() or not (isinstance(value, (int, float)) and isfinite(value)):
            raise ValueError(
                f"{source}: one of the {kind} is {value} at {describe_point(x.ravel())}; expected finite numbers"
            )
    return [(x, float(value)) for x, value in zip(rows, values, strict=True)]


def load_stationary_points(path: str | os.PathLike[str]) -> StationaryPoints:
    """Reads what :meth:`StationaryPoints.save` wrote; ValueError names the file where it is damaged."""
    a, facts = read_result(path, "stationary points")
    options = {name: facts[name] for name in ("value_tolerance", "distance_tolerance")}
    return _points(path, a["minima"], a["minima_values"], a["saddles"], a["saddles_values"], a["pairs"], options)


def read_topsearch(folder: str | os.PathLike[str], **options: Any) -> StationaryPoints:
    """Reads topsearch's ``min.data``, ``min.coords``, ``ts.data`` and ``ts.coords``; options of StationaryPoints.

    topsearch itself writes values with five decimals. Minima come in the order of the numbers that ``min.data`` gives
    them, by which ``ts.data`` names them; topsearch counts from 0.

    Raises
    ------
    ValueError
        If a file is no table of finite numbers, files do not fit each other, or a saddle joins a number that is not
        there.
    """
    folder = Path(folder)

    def table(name: str, columns: int | None) -> np.ndarray:
        try:
            text = (folder / name).read_text(encoding="utf-8")
            rows = [[float(word) for word in line.split()] for line in text.splitlines() if line.strip()]
        except ValueError as error:
            raise ValueError(f"{folder / name} is no table of numbers: {error}") from None
        if len({len(row) for row in rows}) > 1 or (columns and rows and len(rows[0]) != columns):
            raise ValueError(f"{folder / name} has rows of {len(rows[0])} numbers or of several lengths")
        return np.array(rows).reshape(len(rows), len(rows[0]) if rows else columns or 0)

    minima, saddles = table("min.data", 2), table("ts.data", 3)
    coordinates, saddle_coordinates = table("min.coords", None), table("ts.coords", None)
    for kind, data, points in (("min", minima, coordinates), ("ts", saddles, saddle_coordinates)):
        if len(data) != len(points):
            raise ValueError(
                f"{folder / kind}.data has {len(data)} rows and {kind}.coords {len(points)}; expected as many"
            )
    order = np.argsort(minima[:, 0], kind="stable")
    place = {number: k for k, number in enumerate(minima[order, 0].tolist())}
    if len(place) != len(minima):
        raise ValueError(f"{folder / 'min.data'} gives {len(minima)} minima {len(place)} numbers; expected one to each")
    for i, j in saddles[:, :2].tolist():
        if not (i in place and j in place):
            raise ValueError(
                f"{folder / 'ts.data'}: a saddle joins {i:g} and {j:g}, which min.data does not both number"
            )
    pairs = [(place[i], place[j]) for i, j in saddles[:, :2].tolist()]
    return _points(folder, coordinates[order], minima[order, 1], saddle_coordinates, saddles[:, 2], pairs, options)


def read_pele(path: str | os.PathLike[str], **options: Any) -> StationaryPoints:
    """Reads a database of pele; options of StationaryPoints.

    Rows that pele marks invalid are left out, and saddles of minima that are. pele stores coordinates as pickled
    arrays. Nothing but an array of numbers is taken out of them: whatever else a pickle asks for is refused, so that a
    database from elsewhere cannot run code.

    Raises
    ------
    ValueError
        If the file is no database of pele, coordinates are no plain array, a number is missing or not finite, or a
        saddle joins a minimum that is not there.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with closing(sqlite3.connect(path)) as database:
            minima, saddles = (
                database.execute(f"SELECT {columns}, {_invalid(database, table)} FROM {table} ORDER BY _id").fetchall()
                for table, columns in (
                    ("tbl_minima", "energy, coords, _id"),
                    ("tbl_transition_states", "energy, coords, _minimum1_id, _minimum2_id"),
                )
            )
    except sqlite3.DatabaseError as error:
        raise ValueError(f"{path} is no database of pele: {error}") from None
    known = {key for _, _, key, _ in minima}
    for _, _, i, j, _ in saddles:
        if not {i, j} <= known:
            raise ValueError(f"{path}: a saddle joins the minima {i} and {j}, which are not both in tbl_minima")
    minima = [row for row in minima if not row[-1]]
    number = {key: k for k, (_, _, key, _) in enumerate(minima)}
    saddles = [row for row in saddles if not row[-1] and row[2] in number and row[3] in number]
    return _points(
        path,
        [_array(path, row[1]) for row in minima],
        [row[0] for row in minima],
        [_array(path, row[1]) for row in saddles],
        [row[0] for row in saddles],
        [(number[i], number[j]) for _, _, i, j, _ in saddles],
        options,
    )


def _invalid(database: sqlite3.Connection, table: str) -> str:
    """The column of the mark, which databases before pele's schema version 2 lack."""
    columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
    return "invalid" if "invalid" in columns else "0"


#: What the pickle of an array of numbers is made of.
_HARMLESS = {
    (module, name)
    for module in ("numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric")
    for name in ("_reconstruct", "_frombuffer", "scalar")
} | {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _HARMLESS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module, name)


def _array(path: Any, blob: bytes) -> np.ndarray:
    try:
        array = np.asarray(_ArraysOnly(io.BytesIO(blob)).load()).astype(np.float64, casting="same_kind")
    except Exception as error:
        raise ValueError(f"{path} holds coordinates that are no plain array: {error}") from None
    if array.ndim != 1:
        raise ValueError(f"{path} holds coordinates of shape {array.shape}; expected (D,)")
    return array
