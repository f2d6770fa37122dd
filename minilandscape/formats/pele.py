"""pele's databases, of every schema and of Python 2 and 3."""

from __future__ import annotations

import io
import os
import pickle
import sqlite3
import tempfile
from contextlib import closing
from math import isfinite, nan
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np

from ..files import write_atomic
from .contents import Contents, Points, listed, stacked, usable_saddles

SCHEMA = """
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
CREATE INDEX idx_transition_states ON tbl_transition_states (_minimum1_id, _minimum2_id);
"""
MINIMA, SADDLES, SYSTEM = "tbl_minima", "tbl_transition_states", "tbl_system_property"
#: Columns with one number for each point, and the names of the properties.
NUMBERS = {"fvib": "log_product_frequencies", "pgorder": "point_group_order", "eigenval": "eigenvalue"}


def read(path: str | os.PathLike[str]) -> Contents:
    """Read a database of pele.

    Its coordinates are pickled arrays. Only arrays of numbers are accepted, so that a database from elsewhere cannot
    run code.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not a database of pele, coordinates are not a plain array, or the energy of a minimum is not a
        number.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path}; expected a database of pele")
    try:
        with closing(sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True)) as database:
            minima, saddles = _rows(database, MINIMA), _rows(database, SADDLES)
            metadata, left_out = _system(database)
            left_out += _other_tables(database)
    except sqlite3.Error as error:
        raise ValueError(f"{path} is no database of pele: {error}") from None
    left_out += _checked(path, MINIMA, minima, ("_id", "energy", "coords"))
    left_out += _checked(path, SADDLES, saddles, ("_id", "energy", "coords", "_minimum1_id", "_minimum2_id"))
    for row in minima:
        if not (isinstance(row["energy"], int | float) and isfinite(row["energy"])):
            raise ValueError(
                f"{path}: the energy of one of the minima, _id {row['_id']}, is {row['energy']}; "
                "expected a finite number"
            )
    minima, saddles, invalid = _valid(minima, saddles)
    coordinates, placeholders = _coordinates(path, minima + saddles)
    vectors, unreadable = _eigenvectors(path, saddles)
    number = {row["_id"]: k for k, row in enumerate(minima)}
    pairs = [[number.get(row[column], -1) for column in ("_minimum1_id", "_minimum2_id")] for row in saddles]
    contents = Contents(
        Points(_numbers(minima, "energy"), coordinates[: len(minima)], _properties(minima)),
        Points(_numbers(saddles, "energy"), coordinates[len(minima) :], _properties(saddles) | vectors),
        np.array(pairs, dtype=np.int64).reshape(-1, 2),
        metadata,
        left_out=(*left_out, *invalid, *placeholders, *unreadable),
    )
    return usable_saddles(contents, SADDLES, [row["_id"] for row in saddles])


def _checked(path: Any, table: str, rows: list[dict[str, Any]], needed: tuple[str, ...]) -> list[str]:
    """Check that rows have the required columns; return a sentence about contents that are not read."""
    missing = [column for column in needed if rows and column not in rows[0]]
    if missing:
        raise ValueError(f"{path} is no database of pele: {table} has no column {missing[0]}")
    with_data = sum(row.get("user_data") is not None for row in rows)
    return [f"user_data of {with_data} rows of {table}, which are pickled objects"] if with_data else []


def _valid(
    minima: list[dict[str, Any]], saddles: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[str]]:
    """Remove rows that pele marks invalid, and saddles of such minima; return also sentences about them."""
    bad = {row["_id"] for row in minima if row.get("invalid")}
    bad_saddles = {
        row["_id"] for row in saddles if row.get("invalid") or {row["_minimum1_id"], row["_minimum2_id"]} & bad
    }
    notes = []
    if bad:
        notes.append(f"{len(bad)} of {len(minima)} minima that pele marks invalid: {listed(sorted(bad))}")
    if bad_saddles:
        notes.append(
            f"{len(bad_saddles)} of {len(saddles)} saddles that pele marks invalid, or whose minimum it does: "
            f"{listed(sorted(bad_saddles))}"
        )
    kept = [row for row in minima if row["_id"] not in bad]
    return kept, [row for row in saddles if row["_id"] not in bad_saddles], notes


def _coordinates(path: Any, rows: list[dict[str, Any]]) -> tuple[np.ndarray, list[str]]:
    """(n, D), NaN where a row has none."""
    coordinates = [_array(path, row["coords"]) for row in rows]
    if len(rows) > 1 and all(x is not None and x.size == 1 and x[0] == 0 for x in coordinates):
        notes = ["coordinates, since pele's import of PATHSAMPLE's files wrote a single 0 for each point instead"]
        return np.zeros((len(rows), 0)), notes
    return stacked(coordinates, path), []


def write(path: str | os.PathLike[str], contents: Contents) -> list[str]:
    """Write a database of pele's schema version 2 atomically; return sentences about what was left out."""
    if Path(path).exists():
        raise ValueError(f"{path} exists; name a new file")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "pele")
        with closing(sqlite3.connect(file)) as database, database:
            database.executescript(SCHEMA)
            for table, points in ((MINIMA, contents.minima), (SADDLES, contents.saddles)):
                for k, row in enumerate(_columns(points)):
                    if table == SADDLES:
                        row["_minimum1_id"], row["_minimum2_id"] = (int(minimum) + 1 for minimum in contents.pairs[k])
                    names = ", ".join(row)
                    marks = ", ".join("?" * len(row))
                    database.execute(
                        f"INSERT INTO {table} (_id, invalid, {names}) VALUES (?, 0, {marks})", (k + 1, *row.values())
                    )
            for name, value in contents.metadata.items():
                column, plain = _plain(value)
                database.execute(f"INSERT INTO {SYSTEM} (property_name, {column}) VALUES (?, ?)", (name, plain))
        write_atomic(path, file.read_bytes())
    notes = ["pairs_tried are not written, since pele has no columns for them"] if len(contents.pairs_tried) else []
    for kind, points in (("minima", contents.minima), ("saddles", contents.saddles)):
        without_column = (
            "moments_of_inertia",
            "further_columns",
            *(("eigenvalue", "eigenvector") if kind == "minima" else ()),
        )
        unsupported = [name for name in without_column if name in points.properties]
        if unsupported:
            notes.append(f"{' and '.join(unsupported)} of {kind} are not written, since pele has no columns for them")
    return notes


def _plain(value: Any) -> tuple[str, Any]:
    """The column of a system property, and its content."""
    if isinstance(value, Integral):
        return "int_value", int(value)
    return ("float_value", float(value)) if isinstance(value, Real) else ("string_value", str(value))


def _columns(points: Points) -> list[dict[str, Any]]:
    """The columns and contents of every point."""
    rows = []
    for k, value in enumerate(points.values.tolist()):
        row: dict[str, Any] = {"energy": value}
        if points.coordinates.shape[1] and not np.isnan(points.coordinates[k]).any():
            row["coords"] = pickle.dumps(points.coordinates[k], protocol=2)
        for column, name in NUMBERS.items():
            if name in points.properties and not np.isnan(points.properties[name][k]):
                row[column] = float(points.properties[name][k])
        if "pgorder" in row:
            row["pgorder"] = int(row["pgorder"])
        vectors = points.properties.get("eigenvector")
        if vectors is not None and not np.isnan(vectors[k]).any():
            row["eigenvec"] = pickle.dumps(vectors[k], protocol=2)
        rows.append(row)
    return rows


def _rows(database: sqlite3.Connection, table: str) -> list[dict[str, Any]]:
    cursor = database.execute(f"SELECT * FROM {table} ORDER BY _id")
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def _tables(database: sqlite3.Connection) -> list[str]:
    names = database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    return [name for (name,) in names if not name.startswith("sqlite_")]


def _system(database: sqlite3.Connection) -> tuple[dict[str, Any], list[str]]:
    """System properties that are plain numbers or text, and a sentence about the others."""
    if SYSTEM not in _tables(database):
        return {}, []
    metadata, pickled = {}, []
    for row in _rows(database, SYSTEM):
        plain = [row[name] for name in ("int_value", "float_value", "string_value") if row.get(name) is not None]
        if plain:
            metadata[str(row["property_name"])] = plain[0]
        elif row.get("pickle_value") is not None:
            pickled.append(str(row["property_name"]))
    return metadata, [f"system properties that are pickled objects: {', '.join(pickled)}"] if pickled else []


def _other_tables(database: sqlite3.Connection) -> list[str]:
    """Sentences about tables with rows that are not read."""
    counts = {
        table: database.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0]
        for table in _tables(database)
        if table not in (MINIMA, SADDLES, SYSTEM)
    }
    return [f"table {table} of {count} rows" for table, count in counts.items() if count]


def _numbers(rows: list[dict[str, Any]], column: str) -> np.ndarray:
    """(n,): NaN where a row has no number."""
    numbers = [row.get(column) for row in rows]
    return np.array([x if isinstance(x, int | float) else nan for x in numbers], dtype=np.float64)


def _properties(rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    properties = {name: _numbers(rows, column) for column, name in NUMBERS.items()}
    return {name: column for name, column in properties.items() if not np.isnan(column).all()}


def _eigenvectors(path: Any, rows: list[dict[str, Any]]) -> tuple[dict[str, np.ndarray], list[str]]:
    """(S, D), NaN where a saddle has none, if any has one; a sentence about those that are not plain arrays."""
    vectors: list[np.ndarray | None] = []
    unreadable = []
    for row in rows:
        try:
            vectors.append(_array(path, row.get("eigenvec")))
        except ValueError:
            vectors.append(None)
            unreadable.append(row["_id"])
    notes = [f"eigenvec of {len(unreadable)} saddles, no plain arrays: {listed(unreadable)}"] if unreadable else []
    known = any(vector is not None for vector in vectors)
    return {"eigenvector": stacked(vectors, path)} if known else {}, notes


#: The functions and classes in the pickle of an array of numbers.
_HARMLESS = {
    (module, name)
    for module in ("numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric")
    for name in ("_reconstruct", "_frombuffer", "scalar")
} | {("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _HARMLESS:
            raise pickle.UnpicklingError(f"it imports {module}.{name}")
        return super().find_class(module, name)


def _array(path: Any, blob: Any) -> np.ndarray | None:
    """Read a pickled array of numbers, flattened to (D,); None for NULL and for array(None)."""
    if blob is None:
        return None
    try:
        # Python 2 pickled the bytes of an array as text, which latin1 decodes one by one.
        loaded = _ArraysOnly(io.BytesIO(blob), encoding="latin1").load()
        array = np.asarray(loaded)
        if array.dtype.hasobject and array.size == 1 and array.item() is None:
            return None  # written by pele for an eigenvector that was not given
        if array.dtype.kind not in "fiu" or not array.size:
            raise ValueError(f"it holds {type(loaded).__name__} of {array.dtype}")
    except Exception as error:
        raise ValueError(f"{path} holds coordinates that are no plain array: {error}") from None
    array = array.astype(np.float64).ravel()
    if not np.isfinite(array).all():
        raise ValueError(f"{path} holds coordinates that are not finite; expected finite numbers")
    return array
