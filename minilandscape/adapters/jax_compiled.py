"""A JAX function of a point and of samples: compiled, over stacks of points, and summed over all samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from ..landscape import LandscapeError, describe_point
from .jax_operations import operations_of
from .jax_samples import Addition, Samples, rows_of

#: Samples of a point at a time at least, where there are several points: with fewer, calls take the time.
LEAST = 250
#: Bytes of intermediate results of a function without samples, beyond which it is evaluated at fewer points at a time.
MOST_BYTES = 1 << 30
#: An operation of which many points at a time are slower than one after the other, by its name in a traced function.
SLOW_TOGETHER = "conv_general_dilated"


class OverSamples:
    """A function of a point and of samples, summed over all samples; of a point alone without samples.

    Parts of the samples are calls of their own: in a compiled loop convolutions are 14 to 20 times as slow on a CPU.

    Parameters
    ----------
    function
        ``function(x, *arguments)`` of a point (D,), one real number.
    name
        What the function is called in messages.
    samples
        None where it depends on the point alone.
    tried
        Points at which is found out how the values of parts of the samples add up.
    batch
        Samples at a time at most, over all points together.

    Attributes
    ----------
    addition
        How values add up.
    operations
        Floating-point operations of the function of one sample, at least 2 for each coordinate.

    Raises
    ------
    ValueError
        If values do not add up and not all samples fit into a batch, or the function cannot be evaluated.
    """

    def __init__(
        self, function: Callable[..., Any], name: str, samples: Samples | None, tried: list[np.ndarray], batch: int
    ) -> None:
        self._function, self._name, self.samples, self._batch = function, name, samples, batch
        self._together, self.operations = True, 0.0
        self.addition = Addition(averaged=True)
        if samples is not None:
            self.addition = Addition.of(name, function, samples, tried, batch)
            traced = jax.make_jaxpr(function)(tried[0], *samples.rows(slice(0, 1)))
            self._together = SLOW_TOGETHER not in str(traced)
            self.operations = max(operations_of(traced.jaxpr), 2.0 * len(tried[0]))
        self.forget()

    def forget(self) -> None:
        """Drop what was compiled."""
        self._fitting: dict[tuple[int, int], int] = {}
        # Functions of their own: JAX keeps what it compiled by function.
        function, one = self._function, jax.value_and_grad(lambda x, *given: self._function(x, *given))

        def product(x: Any, v: Any, *given: Any) -> Any:
            return jax.jvp(jax.grad(lambda x: function(x, *given)), (x,), (v,))[1]

        self._values = jax.jit(lambda X, *given: (jax.vmap(lambda x: function(x, *given))(X), None))
        self._both = jax.jit(lambda X, *given: jax.vmap(lambda x: one(x, *given))(X))
        self._products = jax.jit(lambda V, x, *given: (None, jax.vmap(lambda v: product(x, v, *given))(V)))
        self._few = jax.jit(lambda X, indices, data: jax.vmap(lambda x, rows: one(x, *rows_of(data, rows)))(X, indices))

    def values(self, points: np.ndarray) -> np.ndarray:
        """Compute values (P,) at points (P, D)."""
        found = np.zeros(len(points))
        for part, values, _ in self._each(self._values, points):
            found[part] = values
        return found

    def values_and_gradients(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute values (P,) and gradients (P, D) at points (P, D)."""
        values, gradients = np.zeros(len(points)), np.zeros_like(points)
        for part, value, slope in self._each(self._both, points):
            values[part], gradients[part] = value, slope
        return values, gradients

    def products(self, x: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """Compute products (V, D) of the Hessian at a point (D,) with vectors (V, D)."""
        found = np.zeros_like(vectors)
        for part, _, products in self._each(self._products, vectors, x):
            found[part] = products
        return found

    def values_and_gradients_of_few(self, points: np.ndarray, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Estimate values (P,) and gradients (P, D) at points (P, D) from the samples (P, B) of each."""
        assert self.samples is not None
        values, gradients = np.zeros(len(points)), np.zeros_like(points)
        n_few = indices.shape[1]
        at_a_time = max(1, self._batch // n_few) if self._together else 1
        for start in range(0, len(points), at_a_time):
            part = slice(start, start + at_a_time)
            given = indices[part].astype(np.int32), self.samples.arrays()
            found, slopes = self._called(self._few, points[part], given, points[part])
            values[part], gradients[part] = self._numbers(found, points[part]), slopes
        scale = 1.0 if self.addition.averaged else self.samples.n / n_few
        return scale * values, (gradients if scale == 1 else gradients * gradients.dtype.type(scale))

    def _each(
        self, function: Callable[..., Any], points: np.ndarray, x: np.ndarray | None = None
    ) -> Iterator[tuple[slice, np.ndarray, Any]]:
        """Iterate over parts of a stack: the slice, and values and arrays of the function there, over all samples.

        With x the stack are vectors, and the function is one of both.
        """
        at_a_time = self._fitting_points(function, points, x) if self.samples is None else self._at_a_time(len(points))
        for start in range(0, len(points), at_a_time):
            part = slice(start, min(start + at_a_time, len(points)))
            n = part.stop - part.start
            padded = _padded(points[part])
            values, total = np.zeros(len(padded)), None
            for share, arguments in self._chunks(len(padded)):
                given = arguments if x is None else (x, *arguments)
                found, arrays = self._called(function, padded, given, padded if x is None else x[None])
                if x is None:
                    values += share * self._numbers(found, padded)
                if arrays is not None:
                    arrays = arrays if share == 1 else share * arrays
                    total = arrays if total is None else total + arrays
            yield part, values[:n], None if total is None else np.asarray(total)[:n]

    def _fitting_points(self, function: Callable[..., Any], points: np.ndarray, x: np.ndarray | None) -> int:
        """Return how many points at a time, a power of two, take no more memory than is allowed."""
        if not len(points):
            return 1
        key = id(function), _power_of_two(len(points))
        if key not in self._fitting:
            n, needed = key[1], 0
            try:
                compiled = function.lower(_padded(points), *([] if x is None else [x])).compile()  # type: ignore[attr-defined]
                needed = compiled.memory_analysis().temp_size_in_bytes
            except Exception:  # the call itself says what is wrong; some devices have no such analysis
                pass
            while n > 1 and needed > MOST_BYTES:
                n, needed = n // 2, needed // 2
            self._fitting[key] = n
        return self._fitting[key]

    def _at_a_time(self, n_points: int) -> int:
        """Return how many points at a time, a power of two, fit into a batch with enough samples of each."""
        assert self.samples is not None
        n = self.samples.n
        most = max(1, self._batch // (n if self.addition.whole else min(n, LEAST))) if self._together else 1
        return 1 << (min(most, _power_of_two(n_points)).bit_length() - 1)

    def _chunks(self, n_points: int) -> Iterator[tuple[float, tuple[Any, ...]]]:
        """Iterate over shares and arguments of all samples, in parts that fit into a batch over so many points."""
        if self.samples is None:
            yield 1.0, ()
            return
        n = self.samples.n
        for part, arguments in self.samples.chunks(n if self.addition.whole else max(1, self._batch // n_points)):
            yield self.addition.share(part, n), arguments

    def _called(self, function: Callable[..., Any], points: np.ndarray, given: tuple[Any, ...], at: np.ndarray) -> Any:
        """The result of a function of a stack; an error names the first of the points ``at``."""
        try:
            return jax.block_until_ready(function(points, *given))
        except Exception as error:
            head = str(error).strip().partition("\n")[0].rstrip(".")
            advice = ""
            if isinstance(error, jax.errors.ConcretizationTypeError | jax.errors.TracerArrayConversionError):
                advice = (
                    ". JAX compiles the function: write it with jax.numpy, and jax.numpy.where or jax.lax for what "
                    "depends on the point"
                )
            raise LandscapeError(
                f"{self._name} raised {type(error).__name__} at {describe_point(at[0])}: {head}{advice}", at[0]
            ) from error

    def _numbers(self, values: Any, points: np.ndarray) -> np.ndarray:
        """Values (P,) in float64; LandscapeError if they are no real numbers."""
        if not hasattr(values, "shape") or values.shape != (len(points),) or np.dtype(values.dtype).kind not in "fiu":
            what = f"shape {values.shape[1:]}, {values.dtype}" if hasattr(values, "shape") else type(values).__name__
            raise LandscapeError(
                f"the value at {describe_point(points[0])} is {what}; expected one real number", points[0]
            )
        return np.asarray(values, dtype=np.float64)


def _power_of_two(n: int) -> int:
    """The smallest power of two that is at least n."""
    return 1 << max(n - 1, 0).bit_length()


def _padded(points: np.ndarray) -> np.ndarray:
    """Points (P, D), and the first of them again until there are a power of two: each number is compiled once."""
    return np.concatenate([points, np.repeat(points[:1], _power_of_two(len(points)) - len(points), axis=0)])
