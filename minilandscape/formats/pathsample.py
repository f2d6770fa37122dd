"""PATHSAMPLE's files: ``min.data``, ``ts.data``, ``points.min`` and ``points.ts``."""

from __future__ import annotations

import os
from itertools import accumulate, pairwise
from math import nan
from pathlib import Path

import numpy as np

from .contents import Contents, Points, lines, number, usable_saddles, whole, write_new_files

#: Columns of a table: energy, log product of frequencies and point group order, in ``ts.data`` the two minima, and the
#: moments of inertia. disconnectionDPS, which reads the same files, needs the first of ``min.data`` alone and the first
#: five of ``ts.data``.
COLUMNS = {"min.data": 6, "ts.data": 8}
NEEDED = {"min.data": 1, "ts.data": 5}
#: Field widths of the Fortran formats, today's and the one before, for lines in which large numbers touch.
WIDTHS = {
    "min.data": ((25, 25, 6, 20, 20, 20), (20, 20, 6, 20, 20, 20)),
    "ts.data": ((25, 25, 10, 10, 10, 20, 20, 20), (20, 20, 10, 10, 10, 20, 20, 20)),
}


def read(folder: str | os.PathLike[str], suffix: str = "", size: int | None = None) -> Contents:
    """Read a database of PATHSAMPLE.

    Parameters
    ----------
    folder
        Folder of the files; or ``min.data`` itself, also under a longer name that contains this one.
    suffix
        Text after the names, such as ``.fastest``.
    size
        D; None infers it from the lengths of the files of coordinates.

    Raises
    ------
    FileNotFoundError
        If there is no ``min.data``.
    ValueError
        If a line of it has no energy, or a line of ``ts.data`` lacks an energy or two minima.
    """
    if size is not None and not size > 0:
        raise ValueError(f"size is {size}; expected the number of coordinates of a point, or None")
    files, left_out = _files(folder, suffix), []
    if not files["min.data"].is_file():
        folder = files["min.data"].parent
        others = sorted(str(file) for file in folder.glob("*min.data*")) if folder.is_dir() else []
        there = f"; there are {', '.join(others[:8])}: name one of these" if others else ""
        raise FileNotFoundError(f"there is no file {files['min.data']}; expected a database of PATHSAMPLE{there}")
    at, minima, minima_further = _table(files["min.data"], "min.data")
    if len(minima) and np.isnan(minima[:, 2:]).all() and np.array_equal(minima[:, 0], np.arange(len(minima))):
        raise ValueError(
            f"{files['min.data']} holds numbers and energies of minima, as topsearch writes them; expected energies "
            "first: use read_topsearch"
        )
    bad = np.flatnonzero(~np.isfinite(minima[:, 0]))
    if len(bad):
        raise ValueError(
            f"{files['min.data']}, line {at[bad[0]]}: the energy is {minima[bad[0], 0]}; expected a finite number"
        )
    if files["ts.data"].is_file():
        at, saddles, saddles_further = _table(files["ts.data"], "ts.data")
    else:
        at, saddles, saddles_further = [], np.zeros((0, 8)), np.zeros((0, 0))
        left_out.append(f"there is no {files['ts.data'].name}: no saddles")
    pairs = [[whole(k, files["ts.data"], line) for k in row[3:5]] for line, row in zip(at, saddles, strict=True)]
    numbered = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    coordinates, notes = _coordinates(files, len(minima), len(saddles), size)
    contents = Contents(
        Points(minima[:, 0], coordinates[0], _properties(minima[:, 1:3], minima[:, 3:6], minima_further)),
        Points(saddles[:, 0], coordinates[1], _properties(saddles[:, 1:3], saddles[:, 5:8], saddles_further)),
        np.where((numbered >= 1) & (numbered <= len(minima)), numbered - 1, -1),
        left_out=(*left_out, *notes),
    )
    return usable_saddles(contents, files["ts.data"].name, at)


def write(folder: str | os.PathLike[str], contents: Contents, suffix: str = "") -> list[str]:
    """Write a database of PATHSAMPLE; return sentences about what was assumed or left out.

    Coordinates are written where all points have them. Numbers have full precision.
    """
    files, minima, saddles = _files(folder, suffix), contents.minima, contents.saddles
    ts, notes = _text("ts.data", saddles, contents.pairs + 1)
    rows, more = _text("min.data", minima, np.zeros((len(minima.values), 0), dtype=np.int64))
    content, notes = {files["ts.data"]: ts}, more + notes
    unknown = minima.unknown + saddles.unknown
    if not unknown:
        content[files["points.min"]] = minima.coordinates.astype("<f8").tobytes()
        content[files["points.ts"]] = saddles.coordinates.astype("<f8").tobytes()
    elif unknown < len(minima.values) + len(saddles.values):
        notes.append(f"points.min and points.ts are not written: {unknown} points have no coordinates")
    others = [*contents.metadata, *(["pairs_tried"] if len(contents.pairs_tried) else [])]
    if others:
        notes.append(f"{', '.join(others)}: not written, since the format has no columns for them")
    write_new_files(content | {files["min.data"]: rows})  # last, since it is required for reading
    return notes


def _text(name: str, points: Points, pairs: np.ndarray) -> tuple[bytes, list[str]]:
    """A table, and sentences about what was assumed or left out."""
    notes, (columns, assumed) = [], _columns(points)
    if len(points.values) and assumed:
        notes.append(
            f"{name} requires {', '.join(assumed)}, which some of the {len(points.values)} points lack: written as 1, "
            "so that rates computed from these files are meaningless"
        )
    unsupported = [other for other in ("eigenvalue", "eigenvector") if other in points.properties]
    if unsupported:
        notes.append(f"{' and '.join(unsupported)} of {name} are not written, since the format has no columns for them")
    rows = []
    for value, (product, order, *others), pair in zip(
        points.values.tolist(), columns.tolist(), pairs.tolist(), strict=True
    ):
        words = [f"{value!r:>25}", f"{product!r:>25}", f"{int(order):>9}", *(f"{k:>9}" for k in pair)]
        rows.append(" ".join([*words, *(f"{x!r:>19}" for x in others)]) + "\n")
    return "".join(rows).encode(), notes


def _files(folder: str | os.PathLike[str], suffix: str) -> dict[str, Path]:
    """The four files by their standard names."""
    folder, names = Path(folder), ("min.data", "ts.data", "points.min", "points.ts")
    if folder.is_dir() or "min.data" not in folder.name:
        return {name: folder / f"{name}{suffix}" for name in names}
    head, _, tail = folder.name.rpartition("min.data")
    return {name: folder.parent / f"{head}{name}{tail}{suffix}" for name in names}


# Tables ------------------------------------------------------------------------------------------------------------


def _table(file: Path, name: str) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Line numbers (n,), the format's columns (n, C), NaN where a line has none, and further columns (n, m)."""
    at, rows, columns = [], [], COLUMNS[name]
    for line, text in lines(file):
        text = text.rstrip()
        words = text.split()
        if len(words) < columns and len(text) in map(sum, WIDTHS[name]):
            widths = next(w for w in WIDTHS[name] if sum(w) == len(text))
            words = [text[a:b].strip() for a, b in pairwise(accumulate((0, *widths)))]
        if len(words) < NEEDED[name]:
            raise ValueError(f"{file}, line {line} has {len(words)} columns; expected at least {NEEDED[name]}")
        try:
            rows.append([number(word) for word in words])
        except ValueError:
            raise ValueError(f"{file}, line {line} is not a row of numbers: {text.strip()[:80]}") from None
        at.append(line)
    most = max([columns, *map(len, rows)])
    table = np.array([row + [nan] * (most - len(row)) for row in rows]).reshape(len(rows), most)
    return at, table[:, :columns], table[:, columns:]


def _properties(before: np.ndarray, moments: np.ndarray, further: np.ndarray) -> dict[str, np.ndarray]:
    columns = {
        "log_product_frequencies": before[:, 0],
        "point_group_order": before[:, 1],
        "moments_of_inertia": moments,
        "further_columns": further,
    }
    return {name: column for name, column in columns.items() if column.size and not np.isnan(column).all()}


def _columns(points: Points) -> tuple[np.ndarray, list[str]]:
    """The columns (n, 5 + m) besides energy and minima, 1 where unknown; and the names of columns with unknowns."""
    n, assumed = len(points.values), []
    columns = []
    for name, width in (("log_product_frequencies", 1), ("point_group_order", 1), ("moments_of_inertia", 3)):
        column = points.properties.get(name, np.full((n, width), nan)).reshape(n, width)
        known = np.isfinite(column)
        if not known.all():
            assumed.append(name.replace("_", " "))
        columns.append(np.where(known, column, 1.0))
    columns.append(points.properties.get("further_columns", np.zeros((n, 0))))
    return np.concatenate(columns, axis=1), assumed


# Coordinates -------------------------------------------------------------------------------------------------------


def _coordinates(
    files: dict[str, Path], minima: int, saddles: int, size: int | None
) -> tuple[tuple[np.ndarray, np.ndarray], list[str]]:
    """Coordinates (n, D) of minima and saddles, NaN where a file has none; sentences about what was not read."""
    numbers, notes = {}, []
    for name, points in (("points.min", minima), ("points.ts", saddles)):
        content = files[name].read_bytes() if files[name].is_file() else b""
        if len(content) % 8:
            raise ValueError(f"{files[name]} holds {len(content)} bytes; expected whole numbers of 8 bytes")
        numbers[name] = (_doubles(content), points)
    lengths = [(len(array), points) for array, points in numbers.values()]
    D = _size(lengths) if size is None else size
    if D is None:
        notes.append(
            f"coordinates are not read: {files['points.min'].name} and {files['points.ts'].name} hold "
            f"{lengths[0][0]} and {lengths[1][0]} numbers, which do not match {minima} minima and {saddles} saddles; "
            "pass size=, the number of coordinates of a point"
        )
        D = 0
    result = []
    for name, (array, points) in numbers.items():
        records = len(array) // D if D else 0
        coordinates = np.full((points, D), nan)
        coordinates[:records] = array[: records * D].reshape(-1, D)[:points] if D else 0
        if D and (records != points or array.size % D):
            notes.append(f"{files[name].name} holds {array.size / D:.6g} points of {D} coordinates; expected {points}")
        if D and not np.isfinite(coordinates[: min(records, points)]).all():
            raise ValueError(f"{files[name]} holds coordinates that are not finite")
        result.append(coordinates)
    return (result[0], result[1]), notes


def _doubles(content: bytes) -> np.ndarray:
    """Read numbers of 8 bytes in the byte order that gives fewer implausible ones."""
    little, big = (np.frombuffer(content, dtype=order).astype(np.float64) for order in ("<f8", ">f8"))

    def implausible(numbers: np.ndarray) -> int:
        with np.errstate(invalid="ignore"):
            sizes = np.abs(numbers)
            return int((~(sizes < 1e30) | ((sizes > 0) & (sizes < 1e-60))).sum())

    return big if implausible(big) < implausible(little) else little


def _size(lengths: list[tuple[int, int]]) -> int | None:
    """Infer D from the numbers in files of minima and saddles; 0 without any, None where no D is possible.

    A file may hold only the first points, as it does while a program runs: D is then inferred from the other file.
    """
    if not any(length for length, _ in lengths):
        return 0
    for length, points in lengths:
        if length and points and length % points == 0:
            D = length // points
            if all(other % D == 0 and other <= D * number for other, number in lengths):
                return D
    return None
