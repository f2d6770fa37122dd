"""The landscape: what every function of many variables looks like to the optimisers, path finders and analyses."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from .backend import array_module, to_device, to_host

Weights = np.ndarray | Callable[[np.ndarray], np.ndarray] | None

#: What a landscape that says nothing of its own wants from a path finder; None is worked out from the straight line.
PATH_DEFAULTS: dict[str, Any] = {"objective": "maxflux", "lam": None, "steps": None, "lr": None}


#: Bytes of results that a FunctionLandscape keeps.
MEMORY = 64 << 20


class LandscapeError(ArithmeticError):
    """A landscape could not be evaluated, or its values are not finite.

    Attributes
    ----------
    point
        The point, (D,), as a host array; None where it is not known.
    t
        Its place on the path, where there is one.
    best
        The best path so far, where a path finder was at work.
    """

    def __init__(self, message: str, point: Any = None, t: float | None = None) -> None:
        super().__init__(message)
        self.point = None if point is None else np.array(to_host(point))
        self.t = t
        self.best: Any = None


def vector(name: str, point: Any, landscape: Any) -> np.ndarray:
    """A point on the host; TypeError, which names it, where it does not hold real numbers."""
    array = to_host(point)
    if array.dtype.kind not in "biuf":
        makes = f": {type(landscape).__name__}.vector({name}) makes one" if hasattr(landscape, "vector") else ""
        raise TypeError(
            f"{name} is {type(point).__name__} ({array.dtype}); expected a vector of real numbers (D,){makes}"
        )
    return array


def describe_point(point: np.ndarray) -> str:
    """The first few coordinates of a point, for messages."""
    head = ", ".join(f"{x:.6g}" for x in point[:4])
    return f"({head})" if point.size <= 4 else f"({head}, …; {point.size} coordinates)"


@dataclass
class Evaluations:
    """How many points were evaluated.

    Attributes
    ----------
    values
        Points at which the value alone was computed.
    gradients
        Points at which value and gradient were computed.
    """

    values: int = 0
    gradients: int = 0

    def __add__(self, other: Evaluations) -> Evaluations:
        return Evaluations(self.values + other.values, self.gradients + other.gradients)

    def __sub__(self, other: Evaluations) -> Evaluations:
        return Evaluations(self.values - other.values, self.gradients - other.gradients)


@runtime_checkable
class Span(Protocol):
    """Points that are linear combinations of a few rows: ``points = coefficients (P, R) @ basis (R, D)``.

    Attributes
    ----------
    basis
        (R, D), the rows as they are now.
    evaluations
        The points evaluated so far, second forward passes included.
    """

    basis: Any
    evaluations: Evaluations

    def values(self, coefficients: np.ndarray) -> np.ndarray:
        """(P, R) -> (P,) float64 on the host."""

    def values_and_pullback(
        self, coefficients: np.ndarray, weights: Weights = None, rows: Sequence[int] | None = None
    ) -> tuple[np.ndarray, Any]:
        """Values (P,), and ``(weights[:, None] * coefficients).T @ gradients`` (len(rows), D) for some rows."""

    def replace(self, rows: Sequence[int], vectors: Any) -> None:
        """New vectors (len(rows), D) for some rows."""

    def combine(self, rows: Sequence[int], coefficients: np.ndarray) -> None:
        """The rows become combinations (len(rows), R) of the old rows."""


@runtime_checkable
class Landscape(Protocol):
    """A function of D variables with a gradient, over stacks of points.

    Attributes
    ----------
    size
        D.

    Notes
    -----
    Optional, with defaults that :func:`as_landscape` adds: ``dtype`` and ``device`` (float64 on the host) in which
    points arrive, ``span``, ``displacement``, ``zero_modes`` and ``path_defaults``; see :class:`LandscapeDefaults`.
    """

    size: int

    def values(self, points: Any) -> np.ndarray:
        """(P, D) -> (P,) float64 on the host."""

    def values_and_gradients(self, points: Any) -> tuple[np.ndarray, Any]:
        """(P, D) -> (P,) float64 on the host, (P, D) where the points are."""


class LandscapeDefaults:
    """What a landscape need not write itself."""

    size: int
    dtype: np.dtype = np.dtype(np.float64)
    device: str = "cpu"
    path_defaults: dict[str, Any] = PATH_DEFAULTS

    def values(self, points: Any) -> np.ndarray:
        """(P, D) -> (P,), from values and gradients where there is nothing cheaper."""
        return self.values_and_gradients(points)[0]

    def values_and_gradients(self, points: Any) -> tuple[np.ndarray, Any]:
        """(P, D) -> (P,), (P, D)."""
        raise TypeError(f"{type(self).__name__} has no gradient: give it a method values_and_gradients(points)")

    def span(self, basis: Any) -> Span:
        """The span of some rows (R, D); the rows are copied."""
        return PointSpan(self, basis)

    def displacement(self, a: Any, b: Any) -> Any:
        """b − a; the shortest way where there is a periodic cell."""
        return b - a

    def zero_modes(self, point: Any) -> Any:
        """(Z, D): directions that leave the value alone; none."""
        return array_module(point).zeros((0, self.size), dtype=self.dtype)


class PointSpan:
    """The span of any landscape: forms the points and evaluates them."""

    def __init__(self, landscape: Any, basis: Any) -> None:
        self._landscape = landscape
        basis = to_device(basis, landscape.device, landscape.dtype)
        if basis.ndim != 2 or (landscape.size and basis.shape[1] != landscape.size):
            raise ValueError(f"a span's rows have shape {basis.shape}; expected (R, {landscape.size or 'D'})")
        self.basis = basis.copy()
        self.evaluations = Evaluations()

    def _device(self, array: np.ndarray) -> Any:
        return to_device(array, self._landscape.device, self._landscape.dtype)

    def values(self, coefficients: np.ndarray) -> np.ndarray:
        self.evaluations.values += len(coefficients)
        return self._landscape.values(self._device(coefficients) @ self.basis)

    def values_and_pullback(
        self, coefficients: np.ndarray, weights: Weights = None, rows: Sequence[int] | None = None
    ) -> tuple[np.ndarray, Any]:
        self.evaluations.gradients += len(coefficients)
        values, gradients = self._landscape.values_and_gradients(self._device(coefficients) @ self.basis)
        pull = np.asarray(coefficients) if rows is None else np.asarray(coefficients)[:, list(rows)]
        if callable(weights):
            weights = weights(values)
        if weights is not None:
            pull = np.asarray(weights)[:, None] * pull
        return values, self._device(pull).T @ gradients

    def replace(self, rows: Sequence[int], vectors: Any) -> None:
        self.basis[list(rows)] = to_device(vectors, self._landscape.device, self._landscape.dtype)

    def combine(self, rows: Sequence[int], coefficients: np.ndarray) -> None:
        self.basis[list(rows)] = self._device(np.asarray(coefficients)) @ self.basis


class FunctionLandscape(LandscapeDefaults):
    """Any function of a vector as a landscape.

    Parameters
    ----------
    f
        ``f(x) -> (value, gradient)`` for one point x (D,); or ``f(x) -> value`` with ``gradient`` given.
        With ``batched=True``: ``f(X) -> ((P,), (P, D))`` for a stack (P, D).
    size
        D; None takes it from the first points that come.
    gradient
        None if f returns it; a function ``gradient(x) -> (D,)`` of its own; or ``"autograd"`` for an f written with
        ``autograd.numpy``.
    batched
        f, and the gradient, take stacks of points.
    workers
        How many points (stacks, if batched) are evaluated side by side, in threads. More than 1 asks for functions
        that may be called from several threads at a time.
    zero_modes
        ``zero_modes(x) -> (Z, D)``: directions at x that leave the value alone, such as a molecule's rigid motions;
        None for none. Saddle certificates leave them out.
    memory
        Bytes for results that are kept, so that f is never called twice at the same point, bit for bit; the oldest go
        first. 0 keeps nothing, as a random f may want. None takes 64 MiB, and 0 where f takes stacks.

    Attributes
    ----------
    evaluations
        The points at which f was called.

    Raises
    ------
    LandscapeError
        On evaluation, if f raises or returns something of the wrong shape; it names the point.

    Examples
    --------
    >>> import numpy as np
    >>> import minilandscape as ml
    >>> land = ml.FunctionLandscape(lambda x: (np.sum(x**2), 2 * x), size=3)
    >>> land.values(np.ones((2, 3)))
    array([3., 3.])
    """

    def __init__(
        self,
        f: Callable[[Any], Any],
        size: int | None = None,
        *,
        gradient: Callable[[Any], Any] | str | None = None,
        batched: bool = False,
        workers: int = 1,
        zero_modes: Callable[[np.ndarray], Any] | None = None,
        memory: int | None = None,
    ) -> None:
        if not callable(f):
            raise TypeError(f"f is {type(f).__name__}; expected a function of a point")
        if isinstance(gradient, str) and gradient != "autograd":
            raise ValueError(f"gradient is {gradient!r}; expected None, a function, or 'autograd'")
        if workers < 1:
            raise ValueError(f"workers is {workers}; expected at least 1")
        if zero_modes is not None and not callable(zero_modes):
            raise TypeError(f"zero_modes is {type(zero_modes).__name__}; expected a function of a point, or None")
        memory = (0 if batched else MEMORY) if memory is None else memory
        if memory < 0:
            raise ValueError(f"memory is {memory}; expected a number of bytes, at least 0")
        self.size = size or 0
        self._f = f
        self._batched = batched
        self._gradient = gradient
        self._f_and_gradient = _with_gradient(f, gradient, batched)
        self._pool = ThreadPoolExecutor(workers) if workers > 1 else None
        self._workers = workers
        self._zero_modes = zero_modes
        self._memory, self._known = memory, OrderedDict[bytes, tuple[float, np.ndarray | None]]()
        self.evaluations = Evaluations()

    def values(self, points: Any) -> np.ndarray:
        return self._remembered(points, gradient=False)[0]

    def values_and_gradients(self, points: Any) -> tuple[np.ndarray, np.ndarray]:
        values, gradients = self._remembered(points, gradient=True)
        assert gradients is not None
        return values, gradients

    def zero_modes(self, point: Any) -> np.ndarray:
        if self._zero_modes is None:
            return np.zeros((0, self.size))
        modes = np.asarray(self._zero_modes(np.array(point, dtype=np.float64)), dtype=np.float64)
        if modes.ndim != 2 or modes.shape[1] != self.size:
            raise LandscapeError(
                f"zero_modes returned an array of shape {modes.shape}; expected (Z, {self.size})", point
            )
        return modes

    def _remembered(self, points: Any, gradient: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """Values and gradients (None if not asked for), evaluated where they are not known."""
        points = self._checked(points)
        if not self._memory:
            return self._evaluated(points, gradient)
        keys = [point.tobytes() for point in points]
        found: dict[bytes, tuple[float, np.ndarray | None]] = {}
        new: dict[bytes, int] = {}
        for k, key in enumerate(keys):
            known = self._known.get(key)
            if known is None or (gradient and known[1] is None):
                new[key] = k
            else:
                found[key] = known
        if new:
            values, gradients = self._evaluated(points[list(new.values())], gradient)
            for k, key in enumerate(new):
                # A copy: a row of a large array would keep all of it.
                found[key] = float(values[k]), None if gradients is None else gradients[k].copy()
        for key in keys:  # the newest last
            self._known.pop(key, None)
            self._known[key] = found[key]
        while len(self._known) * (16 * self.size + 400) > self._memory:
            self._known.popitem(last=False)
        values = np.array([found[key][0] for key in keys])
        return values, np.array([found[key][1] for key in keys]).reshape(points.shape) if gradient else None

    def _evaluated(self, points: np.ndarray, gradient: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """Values, and gradients where they are asked for or come with the values anyway."""
        if not gradient:
            self.evaluations.values += len(points)
            results = self._call(self._f, points)
            if self._gradient is not None or not all(isinstance(r, tuple) and len(r) == 2 for r in results):
                results = [r[0] if self._gradient is None and isinstance(r, tuple) else r for r in results]
                return self._gather_values(results, points), None
        else:
            self.evaluations.gradients += len(points)
            results = self._call(self._f_and_gradient, points)
        return self._gather_both(results, points)

    def _gather_both(self, results: list[Any], points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        for where, result in zip(self._parts(points), results, strict=True):
            if not (isinstance(result, tuple) and len(result) == 2):
                point = points[where.start]
                raise LandscapeError(
                    f"at {describe_point(point)} the function returned {type(result).__name__}; expected (value, "
                    "gradient). Give the gradient as gradient=function or gradient='autograd' if it returns the value "
                    "alone",
                    point,
                )
        values = self._gather_values([r[0] for r in results], points)
        gradients = np.empty_like(points)
        for where, (_, gradient) in zip(self._parts(points), results, strict=True):
            try:
                gradient = np.asarray(gradient, dtype=np.float64)
            except (TypeError, ValueError):
                raise LandscapeError(
                    f"the gradient at {describe_point(points[where.start])} is {type(gradient).__name__}; "
                    "expected numbers",
                    points[where.start],
                ) from None
            expected = points[where].shape if self._batched else (self.size,)
            if gradient.shape != expected:
                raise LandscapeError(
                    f"the gradient at {describe_point(points[where][0])} has shape {gradient.shape}; "
                    f"expected {expected}",
                    points[where][0],
                )
            gradients[where] = gradient
        return values, gradients

    def _checked(self, points: Any) -> np.ndarray:
        points = np.asarray(to_host(points), dtype=np.float64)
        if points.ndim != 2 or (self.size and points.shape[1] != self.size):
            raise ValueError(
                f"points have shape {points.shape}; expected a stack (P, {self.size or 'D'}): "
                "one point x goes in as x[None]"
            )
        self.size = points.shape[1]
        return points

    def _parts(self, points: np.ndarray) -> list[slice]:
        """The calls that the points make: one a point, or one a worker where f takes stacks."""
        if not self._batched:
            return [slice(k, k + 1) for k in range(len(points))]
        cuts = np.linspace(0, len(points), min(self._workers, len(points)) + 1).astype(int)
        return [slice(a, b) for a, b in itertools.pairwise(cuts)]

    def _call(self, function: Callable[[Any], Any], points: np.ndarray) -> list[Any]:
        def one(where: slice) -> Any:
            # A copy: what the caller's function does to its argument stays its own.
            argument = points[where].copy() if self._batched else points[where.start].copy()
            try:
                return _own(function(argument))
            except LandscapeError:
                raise
            except Exception as error:
                raise LandscapeError(
                    f"the function raised {type(error).__name__} at {describe_point(points[where.start])}: {error}",
                    points[where.start],
                ) from error

        parts = self._parts(points)
        return [one(part) for part in parts] if self._pool is None else list(self._pool.map(one, parts))

    def _gather_values(self, results: list[Any], points: np.ndarray) -> np.ndarray:
        values = np.empty(len(points))
        for where, result in zip(self._parts(points), results, strict=True):
            try:
                # NumPy makes None a NaN, but it is a function that forgot to return.
                value = np.asarray("none" if result is None else result, dtype=np.float64)
            except (TypeError, ValueError):
                raise LandscapeError(
                    f"the value at {describe_point(points[where.start])} is {type(result).__name__}; expected a number",
                    points[where.start],
                ) from None
            expected = where.stop - where.start
            if value.size != expected or value.ndim > 1:
                raise LandscapeError(
                    f"the value at {describe_point(points[where.start])} has shape {value.shape}; "
                    + (f"expected ({expected},)" if self._batched else "expected one number"),
                    points[where.start],
                )
            values[where] = value
        return values


def _own(result: Any) -> Any:
    """A result that later calls cannot change: codes of all kinds return the same work array every time."""
    if isinstance(result, tuple):
        return tuple(_own(part) for part in result)
    return result.copy() if isinstance(result, np.ndarray) else result


def _with_gradient(
    f: Callable[[Any], Any], gradient: Callable[[Any], Any] | str | None, batched: bool
) -> Callable[[Any], Any]:
    """f and its gradient as one function that returns both."""
    if gradient is None:
        return f
    if callable(gradient):
        return lambda x: (f(x), gradient(x))
    import autograd

    if not batched:
        return autograd.value_and_grad(f)

    def summed(x: Any) -> Any:
        # The points of a stack do not see each other, so the sum's gradient holds each one's own.
        return autograd.numpy.sum(f(x))

    return lambda x: (f(x), autograd.grad(summed)(x))


class _Completed(LandscapeDefaults):
    """An object that has the required methods of a landscape, with the defaults for what it lacks."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        for name in ("size", "dtype", "device", "path_defaults", "span", "displacement", "zero_modes"):
            if hasattr(inner, name):
                setattr(self, name, getattr(inner, name))
        self.dtype = np.dtype(self.dtype)
        self.path_defaults = {**PATH_DEFAULTS, **self.path_defaults}

    def values(self, points: Any) -> np.ndarray:
        if not hasattr(self._inner, "values"):
            return self.values_and_gradients(points)[0]
        values = np.asarray(to_host(self._inner.values(points)), dtype=np.float64)
        if values.shape != (len(points),):
            raise LandscapeError(f"values returned shape {values.shape}; expected {(len(points),)}", points[0])
        return values

    def values_and_gradients(self, points: Any) -> tuple[np.ndarray, Any]:
        values, gradients = self._inner.values_and_gradients(points)
        values = np.asarray(to_host(values), dtype=np.float64)
        if not hasattr(gradients, "shape"):
            gradients = np.asarray(gradients)
        if values.shape != (len(points),) or gradients.shape != points.shape:
            raise LandscapeError(
                f"values_and_gradients returned shapes {values.shape} and {gradients.shape}; "
                f"expected {(len(points),)} and {tuple(points.shape)}",
                points[0],
            )
        return values, gradients


def as_landscape(obj: Any, size: int | None = None) -> Any:
    """The object as a landscape, with every default that it lacks.

    Parameters
    ----------
    obj
        A landscape, any object with ``size`` and ``values_and_gradients``, or a function ``f(x) -> (value, gradient)``.
    size
        D, for a function; checked otherwise.

    Raises
    ------
    TypeError
        If it is none of these.
    ValueError
        If its size is another.
    """
    if isinstance(obj, type):
        raise TypeError(f"{obj.__name__} is a class; expected an object of it, as {obj.__name__}() may make")
    if isinstance(obj, LandscapeDefaults):
        landscape: Any = obj
    elif hasattr(obj, "values_and_gradients") and hasattr(obj, "size"):
        landscape = _Completed(obj)
    elif callable(obj):
        landscape = FunctionLandscape(obj, size)
    else:
        raise TypeError(
            f"{type(obj).__name__} is no landscape: expected size and values_and_gradients(points), "
            "or a function of a point that returns (value, gradient)"
        )
    if size is not None and landscape.size not in (0, size):
        raise ValueError(f"the landscape has {landscape.size} coordinates, the point {size}")
    if size is not None and landscape.size == 0:  # a function that was left to learn it from its points
        landscape.size = size
    return landscape


@dataclass(frozen=True)
class GradientCheck:
    """What :func:`check_gradient` found, one entry a point and direction.

    Attributes
    ----------
    analytic, numeric
        (P, n) slopes along the directions: from the gradient, and from differences of values.
    relative_error
        (P, n): |analytic − numeric| over the larger of the two, or over what rounding alone can make of them.
    tolerance
        The largest relative error that passes.
    """

    analytic: np.ndarray
    numeric: np.ndarray
    relative_error: np.ndarray
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether every slope agrees."""
        return bool((self.relative_error <= self.tolerance).all())


def check_gradient(
    landscape: Any,
    points: Any,
    *,
    directions: Any = None,
    n_directions: int = 3,
    step: float | None = None,
    tolerance: float = 1e-6,
    seed: int = 0,
) -> GradientCheck:
    """Compares gradients with differences of values along random directions.

    The slope of f along a unit vector u is taken by the five-point formula
    [8 (f(x+hu) − f(x−hu)) − (f(x+2hu) − f(x−2hu))] / 12h and compared with g·u.

    Parameters
    ----------
    landscape
        Anything that :func:`as_landscape` takes.
    points
        (P, D) or (D,).
    directions
        (n, D) to use instead of random ones; made unit vectors.
    n_directions
        How many random ones.
    step
        h; None takes eps^(1/5) of the landscape's precision times the larger of 1 and the root mean square coordinate.
    tolerance
        The largest relative error that counts as agreement.
    seed
        Of the random directions.

    Raises
    ------
    ValueError
        If there is no point or no direction: nothing would have been compared.
    """
    points = np.atleast_2d(np.asarray(to_host(points)))
    if points.ndim != 2 or not points.size:
        raise ValueError(f"points have shape {points.shape}; expected a stack (P, D) of at least one point")
    landscape = as_landscape(landscape, points.shape[1])
    eps = float(np.finfo(landscape.dtype).eps)
    if directions is None:
        if n_directions < 1:
            raise ValueError(f"n_directions is {n_directions}; expected at least 1")
        directions = np.random.default_rng(seed).standard_normal((n_directions, points.shape[1]))
    directions = np.atleast_2d(np.asarray(directions, dtype=np.float64))
    if directions.shape[1:] != points.shape[1:] or not len(directions):
        raise ValueError(f"directions have shape {directions.shape}; expected (n, {points.shape[1]}), at least one")
    directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    analytic = np.empty((len(points), len(directions)))
    numeric, floor = np.empty_like(analytic), np.empty_like(analytic)
    for p, point in enumerate(np.asarray(points, dtype=np.float64)):
        h = step or eps**0.2 * max(1.0, float(np.sqrt(np.mean(point**2))))
        _, gradient = landscape.values_and_gradients(to_device(point[None], landscape.device, landscape.dtype))
        analytic[p] = directions @ np.asarray(to_host(gradient)[0], dtype=np.float64)
        offsets = h * np.array([-2.0, -1.0, 1.0, 2.0])
        stack = point + (offsets[:, None, None] * directions).reshape(-1, point.size)
        f = landscape.values(to_device(stack, landscape.device, landscape.dtype)).reshape(4, -1)
        numeric[p] = (8 * (f[2] - f[1]) - (f[3] - f[0])) / (12 * h)
        floor[p] = eps * np.abs(f).max(axis=0) / (h * tolerance)
    scale = np.maximum(np.maximum(np.abs(analytic), np.abs(numeric)), np.maximum(floor, np.finfo(float).tiny))
    return GradientCheck(analytic, numeric, np.abs(analytic - numeric) / scale, tolerance)
