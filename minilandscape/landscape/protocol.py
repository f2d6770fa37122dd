"""The protocol of a landscape: a function of many variables as optimisers, path finders and analyses see it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ..backend import array_module, to_device, to_host

Weights = np.ndarray | Callable[[np.ndarray], np.ndarray] | None

#: The default options of a path search on a landscape without defaults of its own; None leaves a choice to the search.
PATH_DEFAULTS: dict[str, Any] = {
    "objective": "maxflux",
    "lam": None,
    "steps": None,
    "lr": None,
    "n_terms": None,
    "n_points": None,
    "images": None,
}


class LandscapeError(ArithmeticError):
    """Raised where a landscape cannot be evaluated, or where its values are not finite.

    Attributes
    ----------
    point
        (D,): the point, as a host array; None where it is unknown.
    t
        Its position along the path, from 0 to 1; None outside a path search.
    best
        The best path so far, a :class:`Path`; None outside a path search, or before there is a path.

    Examples
    --------
    >>> import math
    >>> import minilandscape as ml
    >>> land = ml.FunctionLandscape(lambda x: (math.sqrt(x[0]), 0.5 / x**0.5), size=1)
    >>> try:
    ...     land.values([[-1.0]])
    ... except ml.LandscapeError as error:
    ...     print(error)
    the function raised ValueError at (-1): math domain error
    """

    def __init__(self, message: str, point: Any = None, t: float | None = None) -> None:
        super().__init__(message)
        self.point = None if point is None else np.array(to_host(point))
        self.t = t
        self.best: Any = None


def vector(name: str, point: Any, landscape: Any) -> np.ndarray:
    """Convert a point to a host array; an error that names it where it does not hold real numbers, or ragged rows."""
    try:
        array = to_host(point)
    except ValueError as error:
        raise ValueError(f"{name}: no array of numbers can be made of it, as of rows of different lengths") from error
    if array.dtype.kind not in "biuf":
        hint = f": {type(landscape).__name__}.vector({name}) makes one" if hasattr(landscape, "vector") else ""
        raise TypeError(
            f"{name} is {type(point).__name__} ({array.dtype}); expected a vector of real numbers (D,){hint}"
        )
    return array


def one_point(name: str, point: Any, landscape: Any, expected: str = "one vector (D,)") -> np.ndarray:
    """Convert a point to a host array (D,) in float64; ValueError where it is no single vector, or not finite."""
    x = vector(name, point, landscape).astype(np.float64)
    if x.ndim != 1 or not x.size:
        raise ValueError(f"{name} has shape {x.shape}; expected {expected}")
    if not np.isfinite(x).all():
        bad = int(np.isfinite(x).argmin())
        raise ValueError(f"{name} is not finite: coordinate {bad} is {x[bad]}")
    return x


def two_points(start: Any, end: Any, landscape: Any) -> tuple[np.ndarray, np.ndarray]:
    """Convert endpoints to host arrays (D,) in float64; ValueError where they differ in size, or as ``one_point``."""
    a, b = one_point("start", start, landscape), one_point("end", end, landscape)
    if a.shape != b.shape:
        raise ValueError(f"start and end have shapes {a.shape} and {b.shape}; expected two vectors (D,) of one size")
    return a, b


def displacement_between(landscape: Any, a: Any, b: Any) -> Any:
    """Compute the displacement between two points of a complete landscape; ValueError where they are equal."""
    displacement = landscape.displacement(a, b)
    if not to_host(displacement).any():
        raise ValueError("start and end are equal; expected two different points")
    return displacement


def describe_point(point: np.ndarray) -> str:
    """Format the first few coordinates of a point for messages."""
    head = ", ".join(f"{x:.6g}" for x in point[:4])
    return f"({head})" if point.size <= 4 else f"({head}, …; {point.size} coordinates)"


@dataclass
class Evaluations:
    """Numbers of function evaluations; they can be added and subtracted.

    Attributes
    ----------
    values
        Number of points at which only the value was computed.
    gradients
        Number of points at which value and gradient were computed.

    Examples
    --------
    >>> import minilandscape as ml
    >>> ml.Evaluations(10, 5) + ml.Evaluations(values=2)
    Evaluations(values=12, gradients=5)
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
        (R, D): the current rows.
    evaluations
        Points evaluated so far, second forward passes included.
    """

    basis: Any
    evaluations: Evaluations

    def values(self, coefficients: np.ndarray) -> np.ndarray:
        """Evaluate points with coefficients (P, R): values (P,), float64 on the host."""

    def values_and_pullback(
        self, coefficients: np.ndarray, weights: Weights = None, rows: Sequence[int] | None = None
    ) -> tuple[np.ndarray, Any]:
        """Evaluate values (P,), and pull the gradients back to some rows.

        The pullback is ``(weights[:, None] * coefficients).T @ gradients``, (len(rows), D).
        """

    def replace(self, rows: Sequence[int], vectors: Any) -> None:
        """Replace some rows by vectors (len(rows), D)."""

    def combine(self, rows: Sequence[int], coefficients: np.ndarray) -> None:
        """Replace some rows by linear combinations (len(rows), R) of the old rows."""


@runtime_checkable
class Landscape(Protocol):
    """A function of D variables with a gradient, over stacks of points.

    Attributes
    ----------
    size
        D.

    Notes
    -----
    Optional, with defaults that :func:`as_landscape` adds: ``values``, ``dtype`` and ``device`` (float64 on the host)
    in which points arrive, ``span``, ``displacement``, ``zero_modes``, ``residual``, ``forget``, ``path_defaults`` and
    ``narrow_minima``; see :class:`LandscapeDefaults`.

    Optional, without a default: ``hessian_products(point, vectors)``, (D,) and (V, D) -> (V, D), exact Hessian-vector
    products; where it is missing, or None, finite differences of gradients are used. ``blocks``, a sequence of the
    named parts of a parameter vector, each with ``name``, ``shape``, ``start`` and ``stop``. And, where the value is a
    mean over samples, ``n_samples`` with ``batch_values_and_gradients(points, indices)``, (P, D) and (P, B) -> (P,) and
    (P, D): the mean over B samples of its own at each point. Searches then start with such mini-batches; where there is
    ``batch_times`` too, only if they save time. It holds estimates in seconds: of the gradient of one sample at one
    point, and of a call with a mini-batch besides. And ``jump(near, least)``, which finds two evaluated points whose
    values contradict their gradients; see :meth:`FunctionLandscape.jump`.
    """

    size: int

    def values(self, points: Any) -> np.ndarray:
        """(P, D) -> (P,) float64 on the host."""

    def values_and_gradients(self, points: Any) -> tuple[np.ndarray, Any]:
        """(P, D) -> (P,) float64 on the host, (P, D) where the points are."""


class LandscapeDefaults:
    """Default methods and attributes of a landscape.

    Attributes
    ----------
    names_points
        Whether every exception of its methods is a ``LandscapeError`` that names the point; :func:`as_landscape` wraps
        landscapes whose exceptions do not.
    narrow_minima
        Whether barriers may be narrower than a hundredth of a path, as next to networks of very low loss. Maxima of
        paths are then measured between all sample points, and next to the endpoints.
    quantity, value_unit, length_unit
        The name of the values, their unit and that of lengths, for the labels of figures and summaries.
    """

    size: int
    names_points = False
    dtype: np.dtype = np.dtype(np.float64)
    device: str = "cpu"
    path_defaults: dict[str, Any] = PATH_DEFAULTS
    narrow_minima: bool = False
    quantity: str = "value"
    value_unit: str = ""
    length_unit: str = ""

    def values(self, points: Any) -> np.ndarray:
        """Evaluate values: (P, D) -> (P,); computes gradients too where a class does not override this method."""
        return self.values_and_gradients(points)[0]

    def values_and_gradients(self, points: Any) -> tuple[np.ndarray, Any]:
        """Evaluate values and gradients: (P, D) -> (P,), (P, D)."""
        raise TypeError(f"{type(self).__name__} has no gradient: give it a method values_and_gradients(points)")

    def span(self, basis: Any) -> Span:
        """Make the span of rows (R, D); the rows are copied."""
        return PointSpan(self, basis)

    def displacement(self, a: Any, b: Any) -> Any:
        """Compute the displacement b − a; the shortest one (minimum image) in a periodic cell."""
        return b - a

    def zero_modes(self, point: Any) -> Any:
        """Return the directions along which the value does not change, (Z, D); here none."""
        return array_module(point).zeros((0, self.size), dtype=self.dtype)

    def residual(self, gradient: Any) -> float:
        """Compute the norm of a gradient (D,): its largest absolute component; for atoms, the largest force (fmax)."""
        return float(np.abs(to_host(gradient)).max(initial=0))

    def forget(self) -> None:
        """Clear cached results; does nothing where none are cached."""


def units_of(landscape: Any) -> dict[str, str]:
    """Collect what a landscape's values are called, and the units of values and lengths, where it names them."""
    defaults = {"quantity": "value", "value_unit": "", "length_unit": ""}
    given = {name: str(getattr(landscape, name, default)) for name, default in defaults.items()}
    return {name: text for name, text in given.items() if text != defaults[name]}


class PointSpan:
    """The span of any landscape: computes the points and evaluates them."""

    def __init__(self, landscape: Any, basis: Any) -> None:
        self._landscape = landscape
        basis = to_device(basis, landscape.device, landscape.dtype)
        if basis.ndim != 2 or (landscape.size and basis.shape[1] != landscape.size):
            raise ValueError(f"a span's rows have shape {basis.shape}; expected (R, {landscape.size or 'D'})")
        self.basis = basis.copy()
        self.evaluations = Evaluations()
        self._last: Any = None

    def _device(self, array: np.ndarray) -> Any:
        return to_device(array, self._landscape.device, self._landscape.dtype)

    def values(self, coefficients: np.ndarray) -> np.ndarray:
        """Evaluate points with coefficients (P, R): values (P,)."""
        self.evaluations.values += len(coefficients)
        return self._landscape.values(self._device(coefficients) @ self.basis)

    def values_and_pullback(
        self, coefficients: np.ndarray, weights: Weights = None, rows: Sequence[int] | None = None
    ) -> tuple[np.ndarray, Any]:
        """Evaluate values (P,) and ``(weights[:, None] * coefficients).T @ gradients`` for some rows."""
        self.evaluations.gradients += len(coefficients)
        self._last = None
        values, gradients = self._landscape.values_and_gradients(self._device(coefficients) @ self.basis)
        self._last = np.asarray(coefficients), values, gradients
        return values, self.pulled_again(weights, rows)

    def pulled_again(self, weights: Weights = None, rows: Sequence[int] | None = None) -> Any:
        """Compute the pullback of the last gradients with other weights, without evaluating again."""
        coefficients, values, gradients = self._last
        pull = coefficients if rows is None else coefficients[:, list(rows)]
        if callable(weights):
            weights = weights(values)
        if weights is not None:
            pull = np.asarray(weights)[:, None] * pull
        return self._device(pull).T @ gradients

    def replace(self, rows: Sequence[int], vectors: Any) -> None:
        """Replace some rows by vectors."""
        self.basis[list(rows)] = to_device(vectors, self._landscape.device, self._landscape.dtype)

    def combine(self, rows: Sequence[int], coefficients: np.ndarray) -> None:
        """Replace some rows by linear combinations of the old rows."""
        self.basis[list(rows)] = self._device(np.asarray(coefficients)) @ self.basis
