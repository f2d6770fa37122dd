"""Readers of collections of minima and saddles: one file, and the files of PATHSAMPLE, pele and topsearch."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from ..files import read_result
from ..formats import pathsample, pele, topsearch
from ..formats.contents import Contents, Points, warn
from .stationary import StationaryPoints


def load_stationary_points(
    path: str | os.PathLike[str], *, distance: Callable[[np.ndarray, np.ndarray], float] | None = None
) -> StationaryPoints:
    """Read a collection that :meth:`StationaryPoints.save` wrote.

    Parameters
    ----------
    path
        The ``.npz``.
    distance
        The distance function of the collection, if it had one, which the file does not contain. Without it, points
        that are added are compared by |b − a|, after a warning.

    Returns
    -------
    StationaryPoints

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged or holds another kind of result; the message names it.

    Examples
    --------
    >>> import os, tempfile
    >>> import minilandscape as ml
    >>> points = ml.StationaryPoints()
    >>> points.add_minimum([0.0, 1.0], -1.0)
    0
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     points.save(os.path.join(folder, "points.npz"))
    ...     ml.load_stationary_points(os.path.join(folder, "points.npz"))
    <StationaryPoints: 1 minima, the lowest -1, 0 saddles, 2 coordinates>
    """
    a, stored = read_result(path, "stationary points")
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
        stored.get("metadata", {}),
        a.get("pairs_tried", np.zeros((0, 2), dtype=np.int64)),
        tuple(stored.get("left_out", ())),
    )
    options = {name: stored[name] for name in ("value_tolerance", "distance_tolerance")}
    collection = StationaryPoints._from_contents(path, contents, {**options, "distance": distance})
    collection._distance_lost = stored.get("distance", False) and distance is None
    return collection


def read_pathsample(
    folder: str | os.PathLike[str], suffix: str = "", *, size: int | None = None, **options: Any
) -> StationaryPoints:
    """Read a database of PATHSAMPLE: ``min.data``, ``ts.data``, ``points.min`` and ``points.ts``.

    Log products of frequencies, point group orders and moments of inertia are in ``minima_properties`` and
    ``saddle_properties``. The files of coordinates may be absent or shorter than the tables. Duplicates are not merged.
    Rows that cannot be used, such as a saddle of a missing minimum, are named in ``left_out`` and in an
    :class:`IncompleteWarning`. Other files of the folder, such as ``min.A``, are not read.

    Parameters
    ----------
    folder
        Folder of the files; or ``min.data`` itself, also under a longer name that contains this one
        (``collagen.min.data``).
    suffix
        Text after the names, such as ``.fastest``.
    size
        D, where the lengths of the files of coordinates do not determine it.
    options
        Parameters of :class:`StationaryPoints`.

    Returns
    -------
    StationaryPoints

    Raises
    ------
    FileNotFoundError
        If there is no ``min.data``.
    ValueError
        If a row of ``min.data`` has no finite energy, or a row of ``ts.data`` is not made of numbers.

    Examples
    --------
    >>> import tempfile, warnings
    >>> import minilandscape as ml
    >>> points = ml.StationaryPoints()
    >>> a, b = points.add_minimum([-1.0, 0.0], -3.0), points.add_minimum([1.0, 0.0], -2.0)
    >>> saddle = points.add_saddle([0.0, 0.5], 1.0, a, b)
    >>> with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")  # frequencies and point groups are unknown
    ...     points.write_pathsample(folder)
    ...     found = ml.read_pathsample(folder)
    >>> found.minima_values.tolist(), found.pairs.tolist()
    ([-3.0, -2.0], [[0, 1]])
    """
    return _read(folder, pathsample.read(folder, suffix, size), options)


def read_topsearch(folder: str | os.PathLike[str], suffix: str = "", **options: Any) -> StationaryPoints:
    """Read a network of topsearch: ``min.data``, ``min.coords``, ``ts.data``, ``ts.coords`` and ``pairlist``.

    Minima are in the order of their numbers in ``min.data``, which count from 0 and by which ``ts.data`` names them.
    topsearch 0.0.3 writes values with five decimals. Saddles that cannot be used are named in ``left_out`` and in an
    :class:`IncompleteWarning`.

    Parameters
    ----------
    folder
        Folder of the files, or ``min.data`` itself.
    suffix
        Text after the names (``min.data.disco``), with or without its dot.
    options
        Parameters of :class:`StationaryPoints`.

    Returns
    -------
    StationaryPoints

    Raises
    ------
    FileNotFoundError
        If there is no such ``min.data``.
    ValueError
        If a file is not a table of finite numbers, or files do not match each other.

    Examples
    --------
    >>> import tempfile
    >>> import minilandscape as ml
    >>> points = ml.StationaryPoints()
    >>> a, b = points.add_minimum([-1.0, 0.0], -3.0), points.add_minimum([1.0, 0.0], -2.0)
    >>> saddle = points.add_saddle([0.0, 0.5], 1.0, a, b)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     points.write_topsearch(folder)
    ...     found = ml.read_topsearch(folder)
    >>> found.minima_values.tolist(), found.pairs.tolist()
    ([-3.0, -2.0], [[0, 1]])
    """
    return _read(folder, topsearch.read(folder, suffix), options)


def read_pele(path: str | os.PathLike[str], **options: Any) -> StationaryPoints:
    """Read a database of pele, of any schema and of Python 2 or 3.

    Rows that pele marks invalid are left out, and so are saddles whose minima are invalid or missing; ``left_out`` and
    an :class:`IncompleteWarning` name them. pele stores coordinates as pickled arrays: only arrays of numbers are
    accepted, so that a database from elsewhere cannot run code.

    Parameters
    ----------
    path
        The SQLite file.
    options
        Parameters of :class:`StationaryPoints`.

    Returns
    -------
    StationaryPoints

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not a database of pele, coordinates are not a plain array, or the energy of a minimum is not a
        number.

    Examples
    --------
    >>> import os, tempfile
    >>> import minilandscape as ml
    >>> points = ml.StationaryPoints()
    >>> a, b = points.add_minimum([-1.0, 0.0], -3.0), points.add_minimum([1.0, 0.0], -2.0)
    >>> saddle = points.add_saddle([0.0, 0.5], 1.0, a, b)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     points.write_pele(os.path.join(folder, "points.sqlite"))
    ...     found = ml.read_pele(os.path.join(folder, "points.sqlite"))
    >>> found.minima_values.tolist(), found.pairs.tolist()
    ([-3.0, -2.0], [[0, 1]])
    """
    return _read(path, pele.read(path), options)


def _read(source: Any, contents: Contents, options: dict[str, Any]) -> StationaryPoints:
    points = StationaryPoints._from_contents(source, contents, options)
    warn(points.left_out, source, 3)
    return points
