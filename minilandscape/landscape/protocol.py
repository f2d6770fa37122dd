"""What every function of many variables looks like to the optimisers, path finders and analyses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ..backend import array_module, to_device, to_host

Weights = np.ndarray | Callable[[np.ndarray], np.ndarray] | None

#: The options of a path search on a landscape that says nothing of its own; None leaves them to the search.
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
    Optional, with defaults that :func:`as_landscape` adds: ``values``, ``dtype`` and ``device`` (float64 on the host)
    in which points arrive, ``span``, ``displacement``, ``zero_modes``, ``residual``, ``forget`` and ``path_defaults``;
    see :class:`LandscapeDefaults`.

    Optional, without a default: ``hessian_products(point, vectors)``, (D,) and (V, D) -> (V, D), the exact products of
    the Hessian at a point with some vectors; where it is missing, or None, finite differences of gradients take its
    place. And ``blocks``, a sequence of the named parts of a
    vector, each with ``name``, ``shape``, ``start`` and ``stop``.
    """

    size: int

    def values(self, points: Any) -> np.ndarray:
        """(P, D) -> (P,) float64 on the host."""

    def values_and_gradients(self, points: Any) -> tuple[np.ndarray, Any]:
        """(P, D) -> (P,) float64 on the host, (P, D) where the points are."""


class LandscapeDefaults:
    """What a landscape need not write itself.

    Attributes
    ----------
    names_points
        Whether whatever its methods raise is a ``LandscapeError`` that names the point; :func:`as_landscape` sees to it
        where they do not.
    """

    size: int
    names_points = False
    dtype: np.dtype = np.dtype(np.float64)
    device: str = "cpu"
    path_defaults: dict[str, Any] = PATH_DEFAULTS
    quantity: str = "value"
    value_unit: str = ""
    length_unit: str = ""

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

    def residual(self, gradient: Any) -> float:
        """How large a gradient (D,) is: its largest component; of atoms, the largest force."""
        return float(np.abs(to_host(gradient)).max(initial=0))

    def forget(self) -> None:
        """Drops remembered results; nothing where none are kept."""


class PointSpan:
    """The span of any landscape: forms the points and evaluates them."""

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
        """(P, R) -> (P,)."""
        self.evaluations.values += len(coefficients)
        return self._landscape.values(self._device(coefficients) @ self.basis)

    def values_and_pullback(
        self, coefficients: np.ndarray, weights: Weights = None, rows: Sequence[int] | None = None
    ) -> tuple[np.ndarray, Any]:
        """Values (P,), and ``(weights[:, None] * coefficients).T @ gradients`` for some rows."""
        self.evaluations.gradients += len(coefficients)
        self._last = None
        values, gradients = self._landscape.values_and_gradients(self._device(coefficients) @ self.basis)
        self._last = np.asarray(coefficients), values, gradients
        return values, self.pulled_again(weights, rows)

    def pulled_again(self, weights: Weights = None, rows: Sequence[int] | None = None) -> Any:
        """The pullback of the gradients that were evaluated last, with other weights."""
        coefficients, values, gradients = self._last
        pull = coefficients if rows is None else coefficients[:, list(rows)]
        if callable(weights):
            weights = weights(values)
        if weights is not None:
            pull = np.asarray(weights)[:, None] * pull
        return self._device(pull).T @ gradients

    def replace(self, rows: Sequence[int], vectors: Any) -> None:
        """New vectors for some rows."""
        self.basis[list(rows)] = to_device(vectors, self._landscape.device, self._landscape.dtype)

    def combine(self, rows: Sequence[int], coefficients: np.ndarray) -> None:
        """The rows become combinations of the old rows."""
        self.basis[list(rows)] = self._device(np.asarray(coefficients)) @ self.basis
