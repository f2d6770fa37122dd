"""Planes through a landscape: values on a grid, the points that span it, and the projection of a path onto it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import Any

import numpy as np

from ..backend import norm
from ..display import as_html, number, svg_of, text_lines
from ..files import read_result, write_result
from ..landscape import as_landscape
from ..paths.result import Path
from .blocks import blocks_of
from .grid import LOSS, fill_rows
from .page import write_surface_page
from .plane import axes_of, given_points, spanning
from .shown_surface import plot_surface, surface_rows
from .trajectory import Trajectory, offsets_from, principal_axes, projected, read_checkpoints

#: Room around several points or a path, as a part of the plane's larger extent; radius of the grid around one point.
MARGIN, RADIUS = 0.25, 1.0
_ARRAYS = ("origin", "axes", "x", "y", "values", "marks", "curve", "curve_values")
#: How many rows of an interrupted surface have been evaluated, in its metadata.
ROWS = "rows"
#: A value of an interrupted surface and the landscape's differ by no more than these parts of the largest value and of
#: the range: those of float32 networks are rounded.
SAME = 1e-5, 1e-3
#: What stands before the names of metrics, and the names of a trajectory's arrays, in a file.
METRIC, TRAJECTORY = "metric ", ("trajectory points", "trajectory values", "trajectory variance")


class SurfaceInterrupted(KeyboardInterrupt):
    """Raised at Ctrl-C; ``best`` is the surface so far, NaN in the rows that are not evaluated."""

    def __init__(self, best: Surface) -> None:
        super().__init__("interrupted")
        self.best = best


@dataclass(frozen=True, repr=False)
class Surface:
    """Values of a landscape on a plane.

    Returned by :func:`surface`.

    Attributes
    ----------
    origin, axes
        (D,) and (2, D): the points are ``origin + x axes[0] + y axes[1]``. The axes are orthonormal, except around one
        point with filter-normalised directions, which are the axes themselves: coordinates are then relative to the
        norms of the filters.
    x, y
        (nx,), (ny,): coordinates of the grid, in the unit of the landscape's coordinates or of the filters' norms.
    values
        (ny, nx): f; NaN where the landscape could not be evaluated.
    marks
        (K, 2): the points that span the plane.
    curve, curve_values
        (M, 2), (M,): the projection of a path onto the plane, and the values along the path itself; no rows without a
        path.
    curve_distance
        The largest distance of the path from the plane.
    metadata
        Options and data. ``filter_normalised`` says whether random directions are, None where none are random, and
        ``held`` names the biases and other one-dimensional parameters, which filter-normalised directions do not
        change.

    metrics
        (ny, nx) each by name: other quantities of a landscape that measures some, such as ``"accuracy"``,
        ``"test loss"`` and ``"test accuracy"``.
    trajectory
        The projection of the checkpoints of a training run; None without one.

    Examples
    --------
    >>> import minilandscape as ml
    >>> from minilandscape.potentials import MullerBrown
    >>> land = MullerBrown()
    >>> found = ml.surface(land, land.minima, n=21)
    >>> found.values.shape, found.marks.shape
    ((21, 21), (3, 2))
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
    metadata: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, np.ndarray] = field(default_factory=dict)
    trajectory: Trajectory | None = None

    def __repr__(self) -> str:
        """One line: the grid, the range of the values, and what was drawn onto the plane."""
        ny, nx = self.values.shape
        path = f", path at most {number(self.curve_distance, 3)} from the plane" if len(self.curve) else ""
        low, high = (number(float(f(self.values))) for f in (np.nanmin, np.nanmax))
        return f"<Surface: {nx} x {ny} values from {low} to {high}, {len(self.marks)} points{path}>"

    def points(self, x: Any, y: Any) -> np.ndarray:
        """Compute the points (n, D) of the plane at coordinates x (n,) and y (n,); (…, n, D) at arrays (…, n)."""
        x, y = np.atleast_1d(x), np.atleast_1d(y)
        moved: np.ndarray = self.origin + x[..., None] * self.axes[0] + y[..., None] * self.axes[1]
        return moved

    def summary(self) -> str:
        """Describe the grid, the values and the path in lines of text."""
        return text_lines(surface_rows(self))

    def _repr_html_(self) -> str:
        return as_html("Surface", surface_rows(self), svg_of(self.plot()))

    def plot(self, axes: Any = None, labels: Sequence[str] = "ABC", quantity: str | None = None) -> Any:
        """Draw the values as contours, with the points and the projections of path and trajectory.

        Values above their 90 % quantile have one colour, since energies of molecules rise without bound. The scale is
        logarithmic where positive values span decades. Both axes have the same scale unless the plane is more than
        three times as long as it is wide.

        Parameters
        ----------
        axes
            Matplotlib axes; new ones if None.
        labels
            Names of the points.
        quantity
            The name of a metric that is drawn in place of the values.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        ValueError
            If there is no such metric.
        """
        if quantity is None:
            return plot_surface(self, axes, labels)
        if quantity not in self.metrics:
            known = ", ".join(self.metrics) or "none: surface(…, metrics=True) evaluates them"
            raise ValueError(f"quantity is {quantity!r}; expected one of the metrics, {known}")
        named = self.metadata | {"quantity": quantity, "unit": ""}
        return plot_surface(replace(self, values=self.metrics[quantity], metadata=named), axes, labels)

    def save_page(self, file: str | os.PathLike[str], labels: Sequence[str] = "ABC", title: str = "surface") -> None:
        """Write an interactive page of the surface in three dimensions: one HTML file that works offline.

        It turns, zooms, cuts high values off, switches between linear and logarithmic heights and between the values
        and the metrics, and shows path, trajectory and points.

        Parameters
        ----------
        file
            The ``.html``.
        labels
            Names of the points.
        title
            Title of the page.
        """
        write_surface_page(self, file, labels, title)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write an ``.npz`` that :func:`load_surface` reads."""
        numbers = {"curve_distance": self.curve_distance, "metadata": self.metadata}
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        arrays |= {METRIC + name: values for name, values in self.metrics.items()}
        if self.trajectory is not None:
            run = self.trajectory
            arrays |= dict(zip(TRAJECTORY, (run.points, run.values, run.variance), strict=True))
            numbers["trajectory_distance"] = run.distance
        write_result(path, "surface", arrays, numbers)


def load_surface(path: str | os.PathLike[str]) -> Surface:
    """Read a result that :meth:`Surface.save` wrote.

    Parameters
    ----------
    path
        The ``.npz``.

    Returns
    -------
    Surface

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
    >>> from minilandscape.potentials import MullerBrown
    >>> land = MullerBrown()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = os.path.join(folder, "surface.npz")
    ...     ml.surface(land, land.minima, n=5).save(file)
    ...     found = ml.load_surface(file)
    >>> found.values.shape
    (5, 5)
    """
    arrays, stored = read_result(path, "surface")
    metadata = stored["facts"] if "facts" in stored else stored["metadata"]  # the name in version 0.1
    metrics = {name.removeprefix(METRIC): arrays.pop(name) for name in list(arrays) if name.startswith(METRIC)}
    run = [arrays.pop(name) for name in TRAJECTORY if name in arrays]
    trajectory = Trajectory(run[0], run[1], stored["trajectory_distance"], run[2]) if run else None
    known: dict[str, Any] = {**arrays, "curve_distance": stored["curve_distance"], "metadata": metadata}
    return Surface(**known, metrics=metrics, trajectory=trajectory)


def surface(
    landscape: Any,
    points: Any = None,
    *,
    path: Path | None = None,
    trajectory: Any = None,
    metrics: bool = False,
    n: int = 51,
    margin: float | None = None,
    radius: float | None = None,
    seed: int | None = None,
    callback: Callable[[int, int], Any] | None = None,
    resume: Surface | None = None,
) -> Surface:
    r"""Evaluate a landscape on the plane through up to three points, on a grid (n, n).

    The plane through the points a, b and c [1]_ is

    .. math:: f(a + x \, u + y \, v), \qquad
              u = \frac{b - a}{|b - a|}, \quad
              v = \frac{(c - a) - [(c - a) \cdot u] \, u}{|(c - a) - [(c - a) \cdot u] \, u|}.

    Fewer points are completed:

    * with a path, by those of its endpoints that are not among the points, and then by the point of the path with the
      highest value, or by the one farthest from the straight line if the highest lies on that line;
    * else, and where all of these lie on one line, by random directions.

    Random directions are filter-normalised [2]_ on networks and on all landscapes with named parameter blocks, such as
    PyTorch modules: the weights that lead into each unit or channel have the norm of the point's weights there, and
    biases and other one-dimensional parameters are not changed. Scaling the weights of a layer of ReLUs up and those of
    the next layer down, which does not change the network's function, then does not change the picture either. On other
    landscapes, and where all weights are 0, random directions have length 1.

    Parameters
    ----------
    landscape
        Anything that :func:`~minilandscape.landscape.as_landscape` accepts.
    points
        (D,), or (K, D) with K up to 3.
    path
        A path whose projection is drawn. Without ``points``, its endpoints span the plane. In a periodic cell it is
        unwrapped from point to point.
    trajectory
        Checkpoints of one training run in their order, (K, D) or a list of what ``landscape.vector`` reads, whose
        projection is drawn. Without points and path the plane is that of their first two principal components through
        the last of them [2]_.
    metrics
        Whether to evaluate the other quantities too that the landscape measures, such as accuracies on training and
        test data of PyTorch modules.
    n
        Grid points along each axis.
    margin
        Room around several points or a path, as a part of the plane's larger extent; None: 0.25.
    radius
        Half the width of the grid around a single point without a path, in norms of the filters where directions are
        filter-normalised, else as a distance; None: 1.
    seed
        Seed of the random directions; None: 0. Invalid where no direction is random.
    callback
        Called as ``callback(rows, n)`` after every row of the grid.
    resume
        What an interrupted call with the same arguments has left: its rows are not evaluated again.

    Returns
    -------
    Surface

    Raises
    ------
    ValueError
        If the points are not finite or more than three, the first two are equal, or three lie on one line; or if
        ``margin``, ``radius`` or ``seed`` is given where it has no effect.
        If checkpoints of a trajectory lie on one line and no points are given; or if ``metrics`` is True where the
        landscape measures nothing; or if ``resume`` is of another plane, grid or landscape.
    TypeError
        If ``path`` is no :class:`~minilandscape.Path`, or ``trajectory`` no sequence of checkpoints.
    LandscapeError
        If no point of the grid can be evaluated.
    SurfaceInterrupted
        At Ctrl-C after the first row: a KeyboardInterrupt whose ``best`` is the surface so far.

    References
    ----------
    .. [1] T. Garipov, P. Izmailov, D. Podoprikhin, D. Vetrov and A. G. Wilson, "Loss surfaces, mode connectivity, and
       fast ensembling of DNNs", NeurIPS (2018).
    .. [2] H. Li, Z. Xu, G. Taylor, C. Studer and T. Goldstein, "Visualizing the loss landscape of neural nets", NeurIPS
       (2018).

    Examples
    --------
    >>> import minilandscape as ml
    >>> from minilandscape.potentials import MullerBrown
    >>> land = MullerBrown()
    >>> path = ml.find_path(land, land.minima[0], land.minima[1], method="linear")
    >>> found = ml.surface(land, path=path, n=21)
    >>> found.curve.shape == (len(path.t), 2)
    True
    """
    checkpoints = None if trajectory is None else read_checkpoints(landscape, trajectory)
    principal = checkpoints is not None and points is None and path is None
    X = given_points(checkpoints[-1:] if principal else points, path)  # type: ignore[index]
    alone = path is None and len(X) == 1 and not principal
    _check_options(n, margin, radius, alone)
    land = as_landscape(landscape, X.shape[1])
    if metrics and not hasattr(land, "measure"):
        raise ValueError(f"metrics is True, but {type(landscape).__name__} has no method measure; remove it")
    run = np.zeros((0, X.shape[1])) if checkpoints is None else offsets_from(land, X[0], checkpoints)
    offsets: list[Any] = []
    if principal:
        directions, on_path = list(principal_axes(run)), None
    else:
        offsets, directions, on_path = spanning(land, X, path, len(X) if points is not None else 1)
    if seed is not None and len(directions) == 2:
        raise ValueError(f"seed is {seed}, but no direction of this plane is random; remove it")
    axes, n_random, normalised = axes_of(land, X[0], directions, 0 if seed is None else seed, alone)
    marks = np.concatenate([np.zeros((1, 2)), np.array(offsets).reshape(-1, X.shape[1]) @ axes.T])
    marks[np.abs(marks) < 1e-12 * np.abs(marks).max()] = 0  # rounding errors
    projection = np.zeros((0, 2)) if on_path is None else on_path @ axes.T
    distance = 0.0 if on_path is None else float(norm(on_path - projection @ axes, axis=1).max())
    drawn = None if checkpoints is None else projected(run, axes, land.values(checkpoints.astype(land.dtype)))
    if alone:
        high = np.full(2, RADIUS if radius is None else radius)
        low = -high
    else:
        seen = np.concatenate([marks, projection, *([] if drawn is None else [drawn.points])])
        low, high = _window(seen, n_random > 0, MARGIN if margin is None else margin)
    x, y = np.linspace(low[0], high[0], n), np.linspace(low[1], high[1], n)
    along = np.zeros(0) if path is None else np.asarray(path.values, dtype=np.float64)
    metadata: dict[str, Any] = {"n": n, "seed": (seed or 0) if n_random else None, "filter_normalised": normalised}
    if normalised:
        metadata["held"] = [block.name for block in blocks_of(land) if len(block.shape) < 2]
    if principal:
        metadata["principal_components"] = True
    metadata |= _quantities(land, path)
    empty = np.full((n, n), np.nan)
    found = Surface(X[0], axes, x, y, empty, marks, projection, along, distance, metadata, {}, drawn)
    return _filled(found, land, metrics, resume, callback)


def _filled(
    found: Surface, land: Any, metrics: bool, resume: Surface | None, callback: Callable[[int, int], Any] | None
) -> Surface:
    """Evaluate the grid of a surface without values, or the rows that an interrupted one lacks."""
    values: dict[str, np.ndarray] = {} if resume is None else _rows_of(resume, found, land)
    done = first = 0 if resume is None else resume.metadata[ROWS]

    def with_values(**more: int) -> Surface:
        measured = {name: grid for name, grid in values.items() if name != LOSS}
        return replace(found, values=values[LOSS], metrics=measured, metadata={**found.metadata, **more})

    try:
        rows = np.stack([found.origin, *found.axes])
        for done in fill_rows(values, land, rows, found.x, found.y, metrics, first):
            if callback is not None:
                callback(done, len(found.y))
    except KeyboardInterrupt as interrupt:
        if not done:
            raise
        raise SurfaceInterrupted(with_values(**{ROWS: done})) from interrupt
    return with_values()


def _check_options(n: Any, margin: float | None, radius: float | None, alone: bool) -> None:
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
    if alone and margin is not None:
        raise ValueError(f"margin is {margin}, but has no effect around one point; remove it, or give radius")
    if not alone and radius is not None:
        raise ValueError(f"radius is {radius}, but has an effect around one point alone; remove it, or give margin")


def _window(seen: np.ndarray, random: bool, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """The lower left and upper right corner of the grid around some points (n, 2) of the plane."""
    low, high = seen.min(axis=0), seen.max(axis=0)
    extent = float((high - low).max())
    if random:  # as far along a random direction as along the other
        low[1], high[1] = -extent / 2, extent / 2
    room = extent * margin
    return low - room, high + room


def _rows_of(resume: Surface, like: Surface, land: Any) -> dict[str, np.ndarray]:
    """Copy the values of an interrupted surface by name; ValueError where those of this plane are others."""
    same = resume.values.shape == like.values.shape and ROWS in resume.metadata
    for name in ("origin", "axes", "x", "y", "marks", "curve", "curve_values"):
        a, b = getattr(resume, name), getattr(like, name)
        same = same and a.shape == b.shape and np.allclose(a, b, rtol=1e-6, atol=1e-9 * float(np.abs(b).max(initial=0)))
    known = resume.values[~np.isnan(resume.values)]
    if same and known.size:
        k, m = np.argwhere(~np.isnan(resume.values))[-1]
        now = float(land.values(like.points(like.x[m], like.y[k]).astype(land.dtype))[0])
        same = abs(now - known[-1]) <= SAME[0] * np.abs(known).max() + SAME[1] * np.ptp(known)
    if not same:
        raise ValueError("resume is of another plane, grid or landscape; expected what this call left when interrupted")
    return {LOSS: resume.values.copy()} | {name: values.copy() for name, values in resume.metrics.items()}


def _quantities(land: Any, path: Path | None) -> dict[str, str]:
    """What is measured, and its units, as far as the landscape or a path says."""
    known = {} if path is None else path.metadata
    default = {"quantity": "loss"} if blocks_of(land) else {}
    named = {name: getattr(land, name, None) or known.get(name) for name in ("quantity", "unit", "length_unit")}
    return default | {name: str(value) for name, value in named.items() if value}


def has_random_directions(landscape: Any, points: Any, path: Path | None = None) -> bool:
    """Check whether :func:`surface` completes the plane of some points and a path by random directions.

    Raises
    ------
    ValueError
        As for :func:`surface`.
    """
    X = given_points(points, path)
    directions = spanning(as_landscape(landscape, X.shape[1]), X, path, len(X) if points is not None else 1)[1]
    return len(directions) < 2
