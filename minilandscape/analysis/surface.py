"""Planes through a landscape: values on a grid, the points that span it, and a path's projection onto it."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

import numpy as np

from ..backend import to_host
from ..files import read_result, write_result
from ..landscape import LandscapeError, as_landscape, vector
from ..paths.result import Path
from .blocks import blocks_of

#: Contours are drawn up to this quantile of the values: landscapes of molecules rise without bound.
HIGHEST_DRAWN = 0.9
#: Positive values that span more than this ratio are drawn on a logarithmic scale.
LOGARITHMIC = 50.0
#: Values that span no more than this part of themselves differ by rounding, and are drawn as one.
FLAT = 1e-13
#: Points are one where they lie closer than this part of the plane's extent, and on one line where a third lies nearer
#: to it. The ends of a path may have been rounded to single precision.
SAME, ON_LINE = 1e-6, 1e-9
_ARRAYS = ("origin", "axes", "x", "y", "values", "marks", "curve", "curve_values")


@dataclass(frozen=True)
class Surface:
    """Values on a plane of a landscape.

    Attributes
    ----------
    origin, axes
        (D,) and (2, D): the points are ``origin + x axes[0] + y axes[1]``. Orthonormal, but around one point with
        filter-normalised directions, which are the axes themselves: coordinates are in lengths of the filters.
    x, y, values
        (nx,), (ny,) and (ny, nx); NaN where the landscape could not be evaluated.
    marks
        (K, 2): the points that span the plane.
    curve, curve_values
        (M, 2), (M,): a path's shadow on the plane, and its own values; no rows without a path.
    curve_distance
        How far the path leaves the plane at most.
    facts
        Options and data; ``filter_normalised`` says whether random directions are, None where none are random, and
        ``held`` the names of the biases and other parameters of one dimension, which stay where they are then.
    """

    origin: np.ndarray
    axes: np.ndarray
    x: np.ndarray
    y: np.ndarray
    values: np.ndarray
    marks: np.ndarray
    curve: np.ndarray
    curve_values: np.ndarray
    curve_distance: float
    facts: dict[str, Any] = field(default_factory=dict)

    def points(self, x: Any, y: Any) -> np.ndarray:
        """Points (n, D) of the plane at coordinates (n,)."""
        x, y = np.atleast_1d(x), np.atleast_1d(y)
        moved: np.ndarray = self.origin + x[:, None] * self.axes[0] + y[:, None] * self.axes[1]
        return moved

    def plot(self, axes: Any = None, labels: Sequence[str] = "ABC") -> Any:
        """Draws the values as contours, the points and the path's shadow, on new axes if None; returns them."""
        import matplotlib
        from matplotlib.colors import LogNorm, Normalize
        from matplotlib.patheffects import withStroke

        if axes is None:
            from matplotlib.figure import Figure

            axes = Figure(figsize=(6.2, 5), layout="constrained").subplots()
        values = np.ma.masked_invalid(self.values)
        known = values.compressed()
        low, high = known.min(), np.quantile(known, HIGHEST_DRAWN)
        if high - low <= FLAT * abs(low):  # in the middle of the scale, and there between two levels
            reach = abs(low) or 1.0
            low, high = low - 0.45 * reach, low + 0.55 * reach
        logarithmic = low > 0 and high > LOGARITHMIC * low
        levels = np.geomspace(low, high, 25) if logarithmic else np.linspace(low, high, 25)
        norm = LogNorm(low, high) if logarithmic else Normalize(low, high)
        filled = axes.contourf(
            self.x, self.y, np.ma.clip(values, low, None), levels, norm=norm, cmap="viridis", extend="max"
        )
        lines = levels[::4]
        lines = lines[(lines > known.min()) & (lines < known.max())]
        if lines.size:
            with matplotlib.rc_context({"contour.negative_linestyle": "solid"}):
                axes.contour(self.x, self.y, values, lines, colors="k", linewidths=0.4, alpha=0.5)
        # Matplotlib's own writes once what the ticks share, and so tells apart those of nearly equal values.
        axes.figure.colorbar(filled, ax=axes, label="value", format="%.3g" if logarithmic else None)
        outlined = [withStroke(linewidth=3, foreground="0.2")]  # white is not seen where no value lies beneath
        if len(self.curve):
            extent = float(np.ptp(self.x))
            off = f"at most {self.curve_distance:.3g} off" if self.curve_distance > 1e-6 * extent else "in the plane"
            axes.plot(*self.curve.T, "-", color="w", lw=1.8, path_effects=outlined, label=f"path, {off}")
            axes.legend(loc="best", fontsize="small", facecolor="0.3", labelcolor="w")  # the line is white
        for mark, label in zip(self.marks, labels, strict=False):
            axes.plot(*mark, "o", color="tab:red", mec="w", ms=7, zorder=3)
            axes.annotate(
                label, mark, (6, 6), textcoords="offset points", color="w", weight="bold", path_effects=outlined
            )
        unit = "in lengths of the filters" if np.abs(np.linalg.norm(self.axes, axis=1) - 1).max() > 1e-6 else "distance"
        axes.set(xlabel=f"{unit}, along the first direction", ylabel="along the second", aspect="equal")
        return axes

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes an ``.npz`` that :func:`load_surface` reads."""
        facts = {"curve_distance": self.curve_distance, "facts": self.facts}
        write_result(path, "surface", {name: getattr(self, name) for name in _ARRAYS}, facts)


def load_surface(path: str | os.PathLike[str]) -> Surface:
    """Reads what :meth:`Surface.save` wrote; ValueError names the file where it is damaged."""
    arrays, facts = read_result(path, "surface")
    return Surface(**arrays, curve_distance=facts["curve_distance"], facts=facts["facts"])


def surface(
    landscape: Any,
    points: Any = None,
    *,
    path: Path | None = None,
    n: int = 51,
    margin: float | None = None,
    radius: float | None = None,
    seed: int | None = None,
    callback: Callable[[int, int], Any] | None = None,
) -> Surface:
    """Values of a landscape on the plane through up to three points.

    Three points span a plane (Garipov et al., 2018). What is missing is filled up. Where there is a path, a single
    point is joined by those of the path's ends that it is not, and two by the point of the path that stands highest, or
    farthest from the straight line where the highest stands on it. Else, and where all of these lie on one line, by
    random directions. On a network, and on any landscape that names the parts of its vectors, as PyTorch modules do,
    these are normalised filter by filter (Li et al., 2018): the weights that lead into a unit or channel have the
    length of the point's own, and biases and other parameters of one dimension stay. Multiplying a layer of ReLUs by a
    number and dividing the next by it then changes nothing. Where all weights are 0 they would vanish, and directions
    of length 1 in all parameters take their place, as on any other landscape. In a periodic cell a path is followed
    from point to point. The first direction leads from the first point to the second; the second is orthogonal to it,
    unless both are filter-normalised around one point.

    Parameters
    ----------
    landscape
        Anything that :func:`~minilandscape.landscape.as_landscape` takes.
    points
        (D,), or (K, D) with K up to 3.
    path
        Its projection is drawn; its endpoints are the points if ``points`` is None.
    n
        Grid points along each axis.
    margin
        Room around several points or a path, as a part of the plane's larger extent; None takes 0.25.
    radius
        Of the grid around a single point without a path, along random directions: in lengths of the filters where
        directions are filter-normalised, as a distance elsewhere; None takes 1.
    seed
        Of random directions, 0 if None. Refused where no direction is random.
    callback
        ``callback(rows, n)`` after every row of the grid.

    Returns
    -------
    Surface

    Raises
    ------
    ValueError
        If the points are not finite or too many, the first two are equal, or three lie on one line; or if
        ``margin``, ``radius`` or ``seed`` is given where it would change nothing.
    LandscapeError
        If no point of the grid can be evaluated.
    """
    X = _given(points, path)
    if (
        not isinstance(n, Integral)
        or n < 2
        or not (margin is None or 0 <= margin < np.inf)
        or not (radius is None or 0 < radius < np.inf)
    ):
        raise ValueError(
            f"n is {n}, margin {margin}, radius {radius}; "
            "expected a whole n of at least 2, a finite margin from 0 on, and a finite radius above 0"
        )
    alone = path is None and len(X) == 1
    if alone and margin is not None:
        raise ValueError(f"margin is {margin}, but a plane around one point has none; leave it out, or give radius")
    if not alone and radius is not None:
        raise ValueError(f"radius is {radius}, but serves around one point alone; leave it out, or give margin")
    land = as_landscape(landscape, X.shape[1])
    offsets, directions, on_path = _plane(land, X, path, len(X) if points is not None else 1)
    if seed is not None and len(directions) == 2:
        raise ValueError(f"seed is {seed}, but no direction of this plane is random; remove it")
    rng = np.random.default_rng(0 if seed is None else seed)
    found = [_random_direction(land, X[0], rng) for _ in range(2 - len(directions))]
    random = [direction for direction, _ in found]
    # Of the given direction's length, or a random one would seem to lie on its line where distances are large.
    lengths = [_length(directions[0]) / _length(r) if directions else 1.0 for r in random]
    by_filters = alone and all(normalised for _, normalised in found)
    axes = _orthonormal([*directions, *(scale * r for scale, r in zip(lengths, random, strict=True))])
    if by_filters:  # at right angles to each other they would depend on the scale of each layer
        axes = np.stack(random)
    marks = np.concatenate([np.zeros((1, 2)), np.array(offsets).reshape(-1, X.shape[1]) @ axes.T])
    marks[np.abs(marks) < 1e-12 * np.abs(marks).max()] = 0  # what rounding has left
    shadow = np.zeros((0, 2)) if on_path is None else on_path @ axes.T
    off = 0.0 if on_path is None else float(_lengths(on_path - shadow @ axes).max())
    if alone:
        reach = np.full(2, 1.0 if radius is None else radius)
        low, high = -reach, reach
    else:
        seen = np.concatenate([marks, shadow])
        low, high = seen.min(axis=0), seen.max(axis=0)
        extent = float((high - low).max())
        if len(random):  # nothing says how far to go along a random direction: as far as along the other
            low[1], high[1] = -extent / 2, extent / 2
        room = extent * (0.25 if margin is None else margin)
        low, high = low - room, high + room
    x, y = np.linspace(low[0], high[0], n), np.linspace(low[1], high[1], n)
    span = land.span(np.stack([X[0], *axes]))
    values = np.full((n, n), np.nan)
    failure: LandscapeError | None = None
    for k in range(n):
        coefficients = np.stack([np.ones(n), x, np.full(n, y[k])], axis=1)
        try:
            values[k] = span.values(coefficients)
        except LandscapeError:
            for m in range(n):  # one bad point must not cost the row
                try:
                    values[k, m] = span.values(coefficients[m : m + 1])[0]
                except LandscapeError as error:
                    failure = error
        if callback is not None:
            callback(k + 1, n)
    values[~np.isfinite(values)] = np.nan
    if np.isnan(values).all():
        raise LandscapeError(f"no point of the plane could be evaluated{f': {failure}' if failure else ''}", X[0])
    own = np.zeros(0) if path is None else np.asarray(path.values, dtype=np.float64)
    normalised = found[0][1] if random else None
    facts = {"n": n, "seed": (seed or 0) if random else None, "filter_normalised": normalised}
    if normalised:
        facts["held"] = [block.name for block in blocks_of(land) if len(block.shape) < 2]
    return Surface(X[0], axes, x, y, values, marks, shadow, own, off, facts)


def has_random_directions(landscape: Any, points: Any, path: Path | None = None) -> bool:
    """Whether :func:`surface` completes the plane of some points and a path by random directions.

    Raises
    ------
    ValueError
        As for :func:`surface`.
    """
    X = _given(points, path)
    directions = _plane(as_landscape(landscape, X.shape[1]), X, path, len(X) if points is not None else 1)[1]
    return len(directions) < 2


def _given(points: Any, path: Path | None) -> np.ndarray:
    """(K, D): the points, or the start of the path."""
    if points is None and path is None:
        raise ValueError("there is nothing to lay a plane through; give points or a path")
    if path is not None and not isinstance(path, Path):
        raise TypeError(f"path is {type(path).__name__}; expected a Path, as find_path and load_path return")
    given = path.start if points is None else points  # type: ignore[union-attr]
    X = np.atleast_2d(vector("points", given, None)).astype(np.float64)
    if X.ndim != 2 or not 1 <= len(X) <= 3 or not np.isfinite(X).all():
        raise ValueError(f"points have shape {X.shape}; expected (D,) or up to three finite rows (K, D)")
    if X.shape[1] < 2:
        raise ValueError(f"the points have {X.shape[1]} coordinate; a plane needs two")
    if path is not None and path.start.size != X.shape[1]:
        raise ValueError(f"the points have {X.shape[1]} coordinates, the path {path.start.size}")
    return X


def _plane(
    land: Any, X: np.ndarray, path: Path | None, n_given: int
) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray | None]:
    """Where the further points lie from the first, the directions that are not random, and where a path lies."""

    def away(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.asarray(to_host(land.displacement(a, b)), dtype=np.float64)

    if path is None:
        offsets = [away(X[0], x) for x in X[1:]]
        return offsets, offsets[:1] if len(X) < 3 and _on_one_line(offsets) else offsets, None
    # From point to point: in a periodic cell the shortest way from the first would jump by a period.
    points = path.points(path.t).astype(np.float64)
    on_path = np.cumsum([away(X[0], points[0]), *(away(a, b) for a, b in itertools.pairwise(points))], axis=0)
    size = _length(on_path[-1] - on_path[0]) or float(_lengths(on_path).max())

    def place(x: np.ndarray) -> np.ndarray:
        for end, offset in ((path.start, on_path[0]), (path.end, on_path[-1])):
            if _length(away(end.astype(np.float64), x)) <= SAME * size:
                return np.asarray(offset)
        return away(X[0], x)

    offsets = [place(x) for x in X[1:]]
    if n_given == 1:  # and those of the path's ends that the point is not
        ends = [on_path[0], on_path[-1]]
        reach = max(_length(end) for end in ends)
        offsets = [end for end in ends if _length(end) > SAME * reach]
    directions = list(offsets)
    if n_given < 3 and directions and _on_one_line(directions):
        directions = [directions[0], _aside(path, on_path, directions[0])]
    if n_given < 3 and _on_one_line(directions):
        directions = directions[:1]
    return offsets, directions, on_path


def _aside(path: Path, on_path: np.ndarray, line: np.ndarray) -> np.ndarray:
    """Where a path's highest point lies, or the farthest from its straight line if the highest stands on that."""
    unit = line / (_length(line) or 1.0)
    off = _lengths(on_path - np.outer(on_path @ unit, unit))
    highest = int(np.argmax(path.values))
    chosen: np.ndarray = on_path[highest if off[highest] > 0.1 * off.max() else int(off.argmax())]
    return chosen


def _random_direction(land: Any, x: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, bool]:
    """A random direction, and whether it is filter-normalised, biases left out; else of length 1."""
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
        rows, own = (
            np.moveaxis(v.reshape(block.shape), getattr(block, "filter_axis", 0), 0)
            for v in (part, x[block.start : block.stop])
        )
        axes = tuple(range(1, rows.ndim))
        rows *= np.sqrt((own**2).sum(axis=axes, keepdims=True) / (rows**2).sum(axis=axes, keepdims=True))
    # Where all weights are 0, nothing is left.
    return (direction, True) if direction.any() else (plain, False)


def _length(v: np.ndarray) -> float:
    """|v|, of numbers whose squares vanish or overflow as well."""
    return float(_lengths(v[None])[0])


def _lengths(rows: np.ndarray) -> np.ndarray:
    """(n,): the lengths of rows."""
    largest = float(np.abs(rows).max(initial=0)) or 1.0
    lengths: np.ndarray = largest * np.linalg.norm(rows / largest, axis=1)
    return lengths


def _on_one_line(directions: list[np.ndarray]) -> bool:
    """As fewer than two directions always are."""
    if len(directions) < 2:
        return True
    return not _length(_across(*directions)) > ON_LINE * max(_length(d) for d in directions)


def _across(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """What of the second stands at right angles to the first."""
    axis = first / (_length(first) or 1.0)
    rest = second - (second @ axis) * axis
    rest -= (rest @ axis) * axis  # once more, for the rounding of a small remainder
    return rest


def _orthonormal(directions: list[np.ndarray]) -> np.ndarray:
    first, second = directions
    if not first.any():
        raise ValueError("the first two points are equal: they span no plane")
    if _on_one_line(directions):
        raise ValueError("the points lie on one line: they span no plane")
    rest = _across(first, second)
    return np.stack([first / _length(first), rest / _length(rest)])
