"""Directions that span a plane through points and a path, random ones where these do not."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from ..backend import norm, to_host
from ..landscape import vector
from ..paths.result import Path
from .blocks import blocks_of

#: Points are equal where they lie closer than this part of the plane's extent, and on one line where the third lies
#: nearer to it than this part. Endpoints of a path may have been rounded to single precision.
SAME, ON_LINE = 1e-6, 1e-9


def given_points(points: Any, path: Path | None) -> np.ndarray:
    """(K, D): the points, or the start of the path."""
    if points is None and path is None:
        raise ValueError("no points, path or trajectory are given; expected one of them to span the plane")
    if path is not None and not isinstance(path, Path):
        raise TypeError(f"path is {type(path).__name__}; expected a Path, as find_path and load_path return")
    given = path.start if points is None else points  # type: ignore[union-attr]
    X = np.atleast_2d(vector("points", given, None)).astype(np.float64)
    if X.ndim != 2 or not 1 <= len(X) <= 3:
        raise ValueError(f"points have shape {X.shape}; expected (D,) or up to three rows (K, D)")
    if not np.isfinite(X).all():
        raise ValueError("points hold values that are not finite")
    if X.shape[1] < 2:
        raise ValueError(f"the points have {X.shape[1]} coordinate; a plane needs two")
    if path is not None and path.start.size != X.shape[1]:
        raise ValueError(f"the points have {X.shape[1]} coordinates, the path {path.start.size}")
    return X


def spanning(
    land: Any, X: np.ndarray, path: Path | None, n_given: int
) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray | None]:
    """Displacements of the other points from the first, the directions that are not random, and those of a path."""

    def displacement(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.asarray(to_host(land.displacement(a, b)), dtype=np.float64)

    if path is None:
        offsets = [displacement(X[0], x) for x in X[1:]]
        return offsets, offsets[:1] if len(X) < 3 and _on_one_line(offsets) else offsets, None
    # Added up from point to point: in a periodic cell the displacement from the first would jump by a period.
    points = path.points(path.t).astype(np.float64)
    on_path = np.cumsum(
        [displacement(X[0], points[0]), *(displacement(a, b) for a, b in itertools.pairwise(points))], axis=0
    )
    size = norm(on_path[-1] - on_path[0]) or float(norm(on_path, axis=1).max())

    def place(x: np.ndarray) -> np.ndarray:
        for end, offset in ((path.start, on_path[0]), (path.end, on_path[-1])):
            if norm(displacement(end.astype(np.float64), x)) <= SAME * size:
                return np.asarray(offset)
        return displacement(X[0], x)

    offsets = [place(x) for x in X[1:]]
    if n_given == 1:  # completed by those of the path's endpoints that the point is not
        endpoints = [on_path[0], on_path[-1]]
        reach = max(norm(each) for each in endpoints)
        offsets = [each for each in endpoints if norm(each) > SAME * reach]
    directions = list(offsets)
    if n_given < 3 and directions and _on_one_line(directions):
        directions = [directions[0], _third_point(path, on_path, directions[0])]
    if n_given < 3 and _on_one_line(directions):
        directions = directions[:1]
    return offsets, directions, on_path


def axes_of(
    land: Any, origin: np.ndarray, directions: list[np.ndarray], seed: int, alone: bool
) -> tuple[np.ndarray, int, bool | None]:
    """The axes (2, D), the number of random directions, and whether they are filter-normalised (None without any)."""
    rng = np.random.default_rng(seed)
    found = [_random_direction(land, origin, rng) for _ in range(2 - len(directions))]
    random = [direction for direction, _ in found]
    if alone and all(normalised for _, normalised in found):
        # Orthogonal axes would depend on the scale of each layer.
        return np.stack(random), 2, True
    # As long as the given direction, so that rounding does not put them on its line where distances are large.
    lengths = [norm(directions[0]) / norm(r) if directions else 1.0 for r in random]
    axes = _orthonormal([*directions, *(scale * r for scale, r in zip(lengths, random, strict=True))])
    return axes, len(random), found[0][1] if found else None


def _third_point(path: Path, on_path: np.ndarray, line: np.ndarray) -> np.ndarray:
    """The displacement of a path's highest point, or of the farthest from the straight line if the highest is on it."""
    unit = line / (norm(line) or 1.0)
    off = norm(on_path - np.outer(on_path @ unit, unit), axis=1)
    highest = int(np.argmax(path.values))
    chosen: np.ndarray = on_path[highest if off[highest] > 0.1 * off.max() else int(off.argmax())]
    return chosen


def _random_direction(land: Any, x: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, bool]:
    """A random direction, and whether it is filter-normalised with no change of biases; else it has length 1."""
    direction = rng.standard_normal(x.size)
    plain = direction / np.linalg.norm(direction)
    blocks = blocks_of(land)
    if not blocks:
        return plain, False
    for block in blocks:
        part = direction[block.start : block.stop]
        if len(block.shape) < 2:
            part[:] = 0
            continue
        rows, weights = (
            np.moveaxis(v.reshape(block.shape), getattr(block, "filter_axis", 0), 0)
            for v in (part, x[block.start : block.stop])
        )
        axes = tuple(range(1, rows.ndim))
        rows *= np.sqrt((weights**2).sum(axis=axes, keepdims=True) / (rows**2).sum(axis=axes, keepdims=True))
    # Where all weights are 0, the direction is 0 as well.
    return (direction, True) if direction.any() else (plain, False)


def _on_one_line(directions: list[np.ndarray]) -> bool:
    """Whether directions are parallel; fewer than two always are."""
    if len(directions) < 2:
        return True
    return not norm(_orthogonal_part(*directions)) > ON_LINE * max(norm(d) for d in directions)


def _orthogonal_part(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The component of the second vector that is orthogonal to the first."""
    axis = first / (norm(first) or 1.0)
    rest = second - (second @ axis) * axis
    rest -= (rest @ axis) * axis  # twice, since rounding spoils a small remainder
    return rest


def _orthonormal(directions: list[np.ndarray]) -> np.ndarray:
    first, second = directions
    if not first.any():
        raise ValueError("the first two points are equal: they span no plane")
    if _on_one_line(directions):
        raise ValueError("the points lie on one line: they span no plane")
    rest = _orthogonal_part(first, second)
    return np.stack([first / norm(first), rest / norm(rest)])
