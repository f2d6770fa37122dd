"""topsearch's files: ``min.data``, ``min.coords``, ``ts.data``, ``ts.coords`` and ``pairlist``."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from .contents import Contents, Points, lines, number, usable_saddles, whole, write_new_files

NAMES = ("min.data", "min.coords", "ts.data", "ts.coords", "pairlist", "attempted.coords")


def read(folder: str | os.PathLike[str], suffix: str = "") -> Contents:
    """Read a network of topsearch, its minima in the order of their numbers.

    Parameters
    ----------
    folder
        Folder of the files, or ``min.data`` itself, with its suffix.
    suffix
        Text after the names, with or without its dot.

    Raises
    ------
    FileNotFoundError
        If there is no ``min.data`` with this suffix; the message names the suffixes that exist.
    ValueError
        If a file is not a table of finite numbers, or files do not match each other.
    """
    files, left_out = _files(folder, suffix), []
    # Development versions of topsearch wrote further columns.
    minima, saddles = _table(files["min.data"], 2, more=True), _table(files["ts.data"], 3, more=True)
    if minima.shape[1] >= 6 and (minima[:, 0] % 1).any():
        raise ValueError(
            f"{files['min.data']} begins with energies, as PATHSAMPLE writes them; expected numbers of minima first: "
            "use read_pathsample"
        )
    if not files["ts.data"].is_file():
        left_out.append(f"there is no {files['ts.data'].name}: no saddles")
    numbers = [whole(k, files["min.data"], row) for row, k in enumerate(minima[:, 0].tolist(), 1)]
    order = np.argsort(numbers, kind="stable")
    place = {numbers[k]: position for position, k in enumerate(order)}
    if len(place) != len(minima):
        raise ValueError(f"{files['min.data']} gives {len(minima)} minima {len(place)} numbers; expected one to each")
    pairs = [
        [place.get(whole(k, files["ts.data"], row), -1) for k in pair]
        for row, pair in enumerate(saddles[:, :2].tolist(), 1)
    ]
    tried = [
        [place.get(whole(k, files["pairlist"], row), -1) for k in pair]
        for row, pair in enumerate(_table(files["pairlist"], 2).tolist(), 1)
    ]
    if any(min(pair) < 0 for pair in tried):
        left_out.append(f"pairs of {files['pairlist'].name} with a missing minimum")
        tried = [pair for pair in tried if min(pair) >= 0]
    coordinates = []
    for kind, data in (("min", minima), ("ts", saddles)):
        coordinates.append(_coordinates(files, kind, len(data)))
        if len(data) and not coordinates[-1].size and files[f"{kind}.coords"].is_file():
            left_out.append(f"coordinates: {files[f'{kind}.coords'].name} is empty")
    sizes = [rows.shape[1] for rows, data in zip(coordinates, (minima, saddles), strict=True) if len(data)]
    if len(set(sizes) - {0}) > 1:
        raise ValueError(f"{folder} holds points of {sizes[0]} and of {sizes[1]} coordinates; expected one D")
    _finite(files["min.data"], "minima", minima[:, 1], coordinates[0])
    _finite(files["ts.data"], "saddles", np.zeros(len(saddles)), coordinates[1])
    if files["attempted.coords"].is_file() and files["attempted.coords"].stat().st_size:
        left_out.append(f"{files['attempted.coords'].name}, starting points of searches")
    contents = Contents(
        Points(minima[order, 1], coordinates[0][order], _further(minima[order, 2:])),
        Points(saddles[:, 2], coordinates[1], _further(saddles[:, 3:])),
        np.array(pairs, dtype=np.int64).reshape(-1, 2),
        pairs_tried=np.array(tried, dtype=np.int64).reshape(-1, 2),
        left_out=tuple(left_out),
    )
    return usable_saddles(contents, files["ts.data"].name, range(1, len(saddles) + 1))


def write(folder: str | os.PathLike[str], contents: Contents, suffix: str = "") -> list[str]:
    """Write a network of topsearch in full precision; return sentences about what was left out.

    Of several saddles of a pair the lowest comes last: release 0.0.3 keeps the last one, later versions keep all.

    Raises
    ------
    ValueError
        If coordinates are unknown, which topsearch requires.
    """
    minima, saddles = contents.minima, contents.saddles
    if minima.unknown or saddles.unknown:
        raise ValueError(
            f"coordinates of {minima.unknown} of {len(minima.values)} minima and {saddles.unknown} of "
            f"{len(saddles.values)} saddles are unknown; topsearch requires coordinates"
        )
    order = np.argsort(-saddles.values, kind="stable")
    pairs, saddles = contents.pairs[order], saddles.rows(order)
    tried = contents.pairs_tried if len(contents.pairs_tried) else np.unique(pairs, axis=0)
    tables = {
        "min.coords": [" ".join(map(repr, x)) for x in minima.coordinates.tolist()],
        "ts.data": [
            f"{i} {j} {value!r}" for (i, j), value in zip(pairs.tolist(), saddles.values.tolist(), strict=True)
        ],
        "ts.coords": [" ".join(map(repr, x)) for x in saddles.coordinates.tolist()],
        "pairlist": [f"{i} {j}" for i, j in tried.tolist()],
        "min.data": [
            f"{k} {value!r}" for k, value in enumerate(minima.values.tolist())
        ],  # last, since it is required for reading
    }
    write_new_files(
        {
            Path(folder) / f"{name}{suffix}": "".join(f"{row}\n" for row in rows).encode()
            for name, rows in tables.items()
        }
    )
    others = [*minima.properties, *(name for name in saddles.properties if name not in minima.properties)]
    others += list(contents.metadata)
    return [f"{', '.join(others)}: not written, since the format has no columns for them"] if others else []


def _files(folder: str | os.PathLike[str], suffix: str) -> dict[str, Path]:
    """The files by their standard names; a suffix may be given without its dot."""
    folder = Path(folder)
    if not folder.is_dir() and folder.name.startswith("min.data"):
        folder, suffix = folder.parent, folder.name.removeprefix("min.data") + suffix
    for ending in (suffix, f".{suffix}"):
        if (folder / f"min.data{ending}").is_file():
            return {name: folder / f"{name}{ending}" for name in NAMES}
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}; expected one with topsearch's files")
    others = sorted(file.name.removeprefix("min.data") for file in folder.glob("min.data*"))
    have = f"; suffixes there: {', '.join(map(repr, others[:8]))}" if others else ""
    raise FileNotFoundError(f"there is no file {folder / f'min.data{suffix}'}{have}")


def _further(columns: np.ndarray) -> dict[str, np.ndarray]:
    return {"further_columns": columns} if columns.size else {}


def _table(file: Path, columns: int | None, more: bool = False) -> np.ndarray:
    """Read a table (n, columns), or with more columns; empty where there is no file."""
    rows = []
    for line, text in lines(file) if file.is_file() else []:
        try:
            rows.append([number(word) for word in text.split()])
        except ValueError:
            raise ValueError(f"{file} is not a table of numbers: line {line} is {text.strip()[:80]}") from None
    wrong = columns and rows and (len(rows[0]) < columns or (len(rows[0]) > columns and not more))
    if wrong or len({len(row) for row in rows}) > 1:
        expected = columns or "equally many in each row"
        raise ValueError(
            f"{file} has rows of {', '.join(map(str, sorted({len(row) for row in rows})))} numbers; expected {expected}"
        )
    return np.array(rows).reshape(len(rows), len(rows[0]) if rows else columns or 0)


def _coordinates(files: dict[str, Path], kind: str, number: int) -> np.ndarray:
    """Read coordinates (n, D); D = 0 where there is no file, or an empty one."""
    file, data = files[f"{kind}.coords"], files[f"{kind}.data"]
    rows = _table(file, None)
    if not len(rows):
        return np.zeros((number, 0))
    if len(rows) != number:
        raise ValueError(f"{data} has {number} rows and {file.name} {len(rows)}; expected as many")
    return rows


def _finite(file: Path, kind: str, values: np.ndarray, coordinates: np.ndarray) -> None:
    bad = np.flatnonzero(~(np.isfinite(values) & np.isfinite(coordinates).all(axis=1)))
    if len(bad):
        raise ValueError(
            f"{file}: one of the {kind}, in row {bad[0] + 1}, has the energy {values[bad[0]]:g} or coordinates "
            "that are not finite; expected finite numbers"
        )
