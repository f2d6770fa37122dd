"""Landscapes of plain functions."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ..backend import to_host
from .jumps import Jump, largest_jump
from .protocol import Evaluations, LandscapeDefaults, LandscapeError, describe_point

#: Bytes of results that a FunctionLandscape caches.
MEMORY = 64 << 20


class FunctionLandscape(LandscapeDefaults):
    """A landscape made of a function of D coordinates.

    Parameters
    ----------
    f
        ``f(x) -> (value, gradient)`` for one point x (D,); or ``f(x) -> value``, with ``gradient`` given.
        With ``batched=True``: ``f(X) -> ((P,), (P, D))`` for a stack of points (P, D).
    size
        Number of coordinates D; None takes it from the first points that are evaluated.
    gradient
        None if f returns the gradient; a separate function ``gradient(x) -> (D,)``; or ``"autograd"`` for an f written
        with ``autograd.numpy``.
    batched
        Whether f, and the gradient function, accept stacks of points.
    workers
        Number of points (stacks, if batched) that are evaluated in parallel, in threads. More than 1 requires functions
        that may be called from several threads at the same time.
    zero_modes
        ``zero_modes(x) -> (Z, D)``: directions at x along which the value does not change, such as the rigid motions of
        a molecule; None for none. The verification of saddles excludes them.
    memory
        Bytes of a cache of results: f is not called again at a bit-identical point, except for a gradient that is
        requested after the value. The oldest results are dropped first. 0 caches nothing, which a random f requires.
        None takes 64 MiB, and 0 where f accepts stacks. :meth:`forget` clears the cache.

    Attributes
    ----------
    size
        D; 0 while it is unknown.
    evaluations
        Number of points at which f was called, an :class:`Evaluations`.

    Raises
    ------
    LandscapeError
        On evaluation, if f raises, or if it returns an array of the wrong shape or anything but real numbers (complex
        numbers with a non-zero imaginary part, masked numbers, strings, booleans, None). The message names the point.

    Examples
    --------
    >>> import numpy as np
    >>> import minilandscape as ml
    >>> land = ml.FunctionLandscape(lambda x: (np.sum(x**2), 2 * x), size=3)
    >>> land
    FunctionLandscape(<lambda>, D=3)
    >>> land.values(np.ones((2, 3)))
    array([3., 3.])
    """

    names_points = True

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
        if gradient is not None and not isinstance(gradient, str) and not callable(gradient):
            raise TypeError(f"gradient is {type(gradient).__name__}; expected None, a function, or 'autograd'")
        if size is not None and (not isinstance(size, (int, np.integer)) or size < 0):
            raise ValueError(f"size is {size!r}; expected the number of coordinates, or None")
        if not isinstance(workers, (int, np.integer)) or workers < 1:
            raise ValueError(f"workers is {workers!r}; expected a whole number, at least 1")
        if zero_modes is not None and not callable(zero_modes):
            raise TypeError(f"zero_modes is {type(zero_modes).__name__}; expected a function of a point, or None")
        memory = (0 if batched else MEMORY) if memory is None else memory
        if not memory >= 0:
            raise ValueError(f"memory is {memory}; expected a number of bytes, at least 0")
        self.size = int(size or 0)
        self._f = f
        self._batched = batched
        self._gradient = gradient
        self._f_and_gradient = _autograd(f, batched) if isinstance(gradient, str) else f
        self._pool = ThreadPoolExecutor(workers) if workers > 1 else None
        self._workers = workers
        self._zero_modes = zero_modes
        self._memory, self._known = memory, OrderedDict[bytes, tuple[float, np.ndarray | None]]()
        self.evaluations = Evaluations()

    def __repr__(self) -> str:
        """One line: the function, and D."""
        name = getattr(self._f, "__name__", type(self._f).__name__)
        return f"{type(self).__name__}({name}, D={self.size or 'unknown'})"

    def values(self, points: Any) -> np.ndarray:
        """Evaluate values: (P, D) -> (P,); cached ones are reused."""
        return self._remembered(points, gradient=False)[0]

    def values_and_gradients(self, points: Any) -> tuple[np.ndarray, np.ndarray]:
        """Evaluate values and gradients: (P, D) -> (P,), (P, D); cached ones are reused."""
        values, gradients = self._remembered(points, gradient=True)
        assert gradients is not None
        return values, gradients

    def zero_modes(self, point: Any) -> np.ndarray:
        """Return the zero modes at a point, (Z, D), checked; none where no function was given."""
        if self._zero_modes is None:
            return np.zeros((0, self.size))
        x = np.array(to_host(point), dtype=np.float64)
        try:
            modes = real_numbers(self._zero_modes(x.copy()))
        except Exception as error:
            raise LandscapeError(
                f"zero_modes raised {type(error).__name__} at {describe_point(x)}: {error}", x
            ) from error
        if not modes.size:
            return np.zeros((0, self.size))
        if modes.ndim != 2 or modes.shape[1] != self.size:
            raise LandscapeError(f"zero_modes returned an array of shape {modes.shape}; expected (Z, {self.size})", x)
        return modes

    def forget(self) -> None:
        """Clear the cache. Call it after a change of f, or of data and parameters that f reads."""
        self._known.clear()

    def jump(self, near: float, least: float) -> Jump | None:
        """Find two cached points, at most ``near`` apart, whose values contradict their gradients; None if no two do.

        That is so of a wrong gradient, and of an f that depends on the evaluations before, or has several branches.
        ``least`` is a deviation that is ignored, in units of f.
        """
        known = [(key, value, slope) for key, (value, slope) in self._known.items() if slope is not None]
        points, slopes = [np.frombuffer(key) for key, *_ in known], [slope for *_, slope in known]
        return largest_jump(points, [value for _, value, _ in known], slopes, near, least)

    def _remembered(self, points: Any, gradient: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """Return values and gradients (None if not requested), evaluated where they are not cached."""
        points = self._checked(points)
        if not self._memory:
            return self._together(points, gradient)
        keys = [point.tobytes() for point in points]
        found: dict[bytes, tuple[float, np.ndarray | None]] = {}
        new: dict[bytes, int] = {}
        for k, key in enumerate(keys):
            known = self._known.get(key)
            if known is None or (gradient and known[1] is None):
                new[key] = k
            else:
                found[key] = known
        keys_of_new = list(new)
        for part, values, slopes in self._evaluated(points[list(new.values())], gradient):
            for k, key in enumerate(keys_of_new[part]):
                # At once, since a later call may raise. A copy: a row of a large array would keep all of it.
                found[key] = self._known[key] = float(values[k]), None if slopes is None else slopes[k].copy()
        for key in keys:  # the newest last
            self._known.pop(key, None)
            self._known[key] = found[key]
        while len(self._known) * (16 * self.size + 400) > self._memory:
            self._known.popitem(last=False)
        values = np.array([found[key][0] for key in keys])
        return values, np.array([found[key][1] for key in keys]).reshape(points.shape) if gradient else None

    def _together(self, points: np.ndarray, gradient: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """Evaluate values, and gradients where they are requested."""
        values, gradients = np.empty(len(points)), np.empty_like(points) if gradient else None
        for part, value, slope in self._evaluated(points, gradient):
            values[part] = value
            if gradients is not None:
                gradients[part] = slope
        return values, gradients

    def _evaluated(self, points: np.ndarray, gradient: bool) -> Iterator[tuple[slice, np.ndarray, np.ndarray | None]]:
        """The points of one call after another, with their values, and gradients where f returns both or they are
        requested."""
        if gradient:
            self.evaluations.gradients += len(points)
        else:
            self.evaluations.values += len(points)
        parts = self._parts(points)
        stacks = [points[part] for part in parts]
        read = self._both if gradient else self._at_least_value
        results = map(read, stacks) if self._pool is None else self._pool.map(read, stacks)
        for part, (values, slopes) in zip(parts, results, strict=True):
            yield part, values, slopes

    def _both(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Evaluate values and gradients of the points of one call."""
        if callable(self._gradient):
            value = self._value(self._call(self._f, points), points)
            return value, self._slope(self._call(self._gradient, points), points)
        result = self._call(self._f_and_gradient, points)
        if not _is_pair(result):
            raise LandscapeError(
                f"at {describe_point(points[0])} the function returned {_kind(result)}; expected (value, gradient). "
                f"Of one that returns the value alone, ml.FunctionLandscape(f, size={points.shape[1]}, gradient=df) "
                "makes a landscape; gradient='autograd' differentiates it",
                points[0],
            )
        return self._value(result[0], points), self._slope(result[1], points)

    def _at_least_value(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Evaluate values of the points of one call, and gradients where the function returns both."""
        result = self._call(self._f, points)
        if self._gradient is None and _is_pair(result):
            return self._value(result[0], points), self._slope(result[1], points)
        return self._value(result, points), None

    def _call(self, function: Callable[[Any], Any], points: np.ndarray) -> Any:
        """Call the function at the point, or the stack of points, of one call."""
        try:
            # A copy: the function may write into its argument.
            return function(points.copy() if self._batched else points[0].copy())
        except LandscapeError as error:
            if error.point is None:
                error.point = points[0].copy()
            raise
        except Exception as error:
            raise LandscapeError(
                f"the function raised {type(error).__name__} at {describe_point(points[0])}: {error}", points[0]
            ) from error

    def _value(self, result: Any, points: np.ndarray) -> np.ndarray:
        value = self._numbers("value", "a number", result, points)
        if value.size != len(points) or value.ndim > 1:
            raise LandscapeError(
                f"the value at {describe_point(points[0])} has shape {value.shape}; "
                + (f"expected ({len(points)},)" if self._batched else "expected one number"),
                points[0],
            )
        return value.reshape(len(points))

    def _slope(self, result: Any, points: np.ndarray) -> np.ndarray:
        slope = self._numbers("gradient", "numbers", result, points)
        expected = points.shape if self._batched else (self.size,)
        if slope.shape != expected:
            raise LandscapeError(
                f"the gradient at {describe_point(points[0])} has shape {slope.shape}; expected {expected}", points[0]
            )
        return slope.reshape(points.shape)

    @staticmethod
    def _numbers(name: str, expected: str, result: Any, points: np.ndarray) -> np.ndarray:
        try:
            return real_numbers(result)
        except TypeError as error:
            where = describe_point(points[0])
            raise LandscapeError(f"the {name} at {where} is {error}; expected {expected}", points[0]) from None

    def _checked(self, points: Any) -> np.ndarray:
        points = read_stack(points, self.size)
        self.size = points.shape[1]
        return points

    def _parts(self, points: np.ndarray) -> list[slice]:
        """Divide points into calls: one call per point, or one per worker where f accepts stacks."""
        if not self._batched:
            return [slice(k, k + 1) for k in range(len(points))]
        cuts = np.linspace(0, len(points), min(self._workers, len(points)) + 1).astype(int)
        return [slice(a, b) for a, b in itertools.pairwise(cuts)]


def real_numbers(result: Any, dtype: Any = np.float64, copy: bool = True) -> np.ndarray:
    """Convert the numbers that a user's code returned to an array on the host.

    NumPy alone converts strings, reads None as NaN, ignores masks and drops imaginary parts. A copy by default, since
    many codes return the same work array, or the same list, every time.

    Raises
    ------
    TypeError
        If they are not real numbers; the message names their type.
    """
    if hasattr(result, "detach"):  # a PyTorch tensor that still records operations
        result = result.detach()
    for part in result if isinstance(result, list) else [result]:
        if isinstance(part, np.ma.MaskedArray) and np.ma.is_masked(part):
            raise TypeError(f"a masked array with {np.ma.count_masked(part)} of {np.ma.size(part)} numbers masked")
    try:
        array = to_host(result)
    except ValueError:  # lists of several lengths
        raise TypeError(_kind(result)) from None
    except Exception as error:  # of any kind: NumPy calls methods of the object
        raise TypeError(f"{type(result).__name__} ({error})") from None
    kind = array.dtype.kind
    if kind in "fiu":
        return array.astype(dtype, copy=copy)
    if kind == "c":
        if (array.imag != 0).any():
            raise TypeError("complex, with an imaginary part that is not 0")
        return array.real.astype(dtype)
    if kind == "O":
        return _from_objects(result, array).astype(dtype)
    raise TypeError(_kind(result) if kind in "US" else f"{_kind(result)} of dtype {array.dtype}")


def read_stack(points: Any, size: int, dtype: Any = np.float64) -> np.ndarray:
    """Convert points to a stack (P, D) on the host, without a copy where possible; a size of 0 accepts any D.

    Raises
    ------
    ValueError
        If they have another shape.
    TypeError
        If they are not real numbers.
    """
    try:
        stack = real_numbers(points, dtype, copy=False)
    except TypeError as error:
        raise TypeError(f"points are {error}; expected a stack (P, {size or 'D'}) of real numbers") from None
    if stack.ndim != 2 or (size and stack.shape[1] != size):
        raise ValueError(
            f"points have shape {stack.shape}; expected a stack (P, {size or 'D'}): one point x goes in as x[None]"
        )
    return stack


def _from_objects(result: Any, array: np.ndarray) -> np.ndarray:
    """Convert numbers of Python types such as fractions."""
    numbers = np.empty(array.shape)
    for place, number in np.ndenumerate(array):
        if not hasattr(number, "__float__") or isinstance(number, bool):
            inside = "" if array.ndim == 0 else f" with {type(number).__name__} in it"
            raise TypeError(f"{_kind(result)}{inside}")
        try:
            numbers[place] = float(number)
        except Exception as error:
            raise TypeError(f"{_kind(result)} ({error})") from None
    return numbers


def _is_pair(result: Any) -> bool:
    return isinstance(result, tuple) and len(result) == 2


def _kind(result: Any) -> str:
    """Name the type of a result for messages; of a tuple also its length."""
    return f"tuple of {len(result)}" if isinstance(result, tuple) else type(result).__name__


def _autograd(f: Callable[[Any], Any], batched: bool) -> Callable[[Any], Any]:
    """Make the function (value, gradient) of an f written with ``autograd.numpy``."""
    import autograd

    if not batched:
        return autograd.value_and_grad(f)

    def summed(x: Any) -> Any:
        # Each value depends on its own point only, so the gradient of the sum holds the gradient of each.
        return autograd.numpy.sum(f(x))

    return lambda x: (f(x), autograd.grad(summed)(x))
