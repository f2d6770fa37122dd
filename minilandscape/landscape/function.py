"""Any function of a vector as a landscape."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ..backend import to_host
from .protocol import Evaluations, LandscapeDefaults, LandscapeError, describe_point

#: Bytes of results that a FunctionLandscape keeps.
MEMORY = 64 << 20


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
        Bytes for results that are kept, so that f is never called twice at the same point, bit for bit, but for a
        gradient of its own that is asked for after the value; the oldest go first. 0 keeps nothing, as a random f may
        want. None takes 64 MiB, and 0 where f takes stacks.

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
        """(P, D) -> (P,), known ones from memory."""
        return self._remembered(points, gradient=False)[0]

    def values_and_gradients(self, points: Any) -> tuple[np.ndarray, np.ndarray]:
        """(P, D) -> (P,), (P, D), known ones from memory."""
        values, gradients = self._remembered(points, gradient=True)
        assert gradients is not None
        return values, gradients

    def zero_modes(self, point: Any) -> np.ndarray:
        """(Z, D): the directions that were named, checked; none where none were."""
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
