"""Samples of a JAX function: arrays that share their first axis, and how losses over parts of them add up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from .labels import rows_with_other_labels

#: The samples on which a function is tried.
TRIED = 32
#: The samples at most on which it is tried for the labels that those lack, and how many of them at a time.
MOST, AT_A_TIME = 1024, 256
#: A loss of so many samples is what its parts make it within so many times the precision, and within a part of it.
ROUNDING, ALIKE = 1000, 1e-8


class Samples:
    """Arrays whose first axis counts the samples.

    Parameters
    ----------
    data
        A tuple or list of arrays, or of trees of arrays, each an argument of its own; anything else is one argument.
    name
        What the data are called in messages.

    Attributes
    ----------
    n
        The number of samples.

    Raises
    ------
    TypeError
        If there is no array, or something else.
    ValueError
        If the arrays differ in length, or have none.
    """

    def __init__(self, data: Any, name: str = "data") -> None:
        leaves, self._structure = jax.tree_util.tree_flatten(tuple(data) if type(data) in (tuple, list) else (data,))
        others = [leaf for leaf in leaves if not _counts_samples(leaf)]
        if others or not leaves:
            what = _described(others[0]) if others else "no array"
            raise TypeError(f"{name} holds {what}; expected arrays of numbers whose first axis counts the samples")
        self._leaves = [np.array(leaf) for leaf in leaves]
        lengths = sorted({len(leaf) for leaf in self._leaves})
        if len(lengths) != 1 or not lengths[0]:
            raise ValueError(
                f"arrays of {name} have {' and '.join(map(str, lengths))} samples; expected one number, at least 1"
            )
        self.n = lengths[0]
        self._placed: dict[np.dtype, tuple[Any, ...]] = {}

    def rows(self, rows: Any) -> tuple[Any, ...]:
        """Return the arguments of some samples, a slice or an array of indices of any shape."""
        return rows_of(self.arrays(), rows)

    def with_other_labels(self, rows: np.ndarray) -> np.ndarray:
        """Return indices of samples that hold whole numbers which some samples lack."""
        return rows_with_other_labels(self._leaves, rows, MOST)

    def chunks(self, most: int) -> Iterator[tuple[int, tuple[Any, ...]]]:
        """Iterate over the numbers and arguments of so many samples at a time at most, in their order."""
        size = -(-self.n // -(-self.n // most))
        for start in range(0, self.n, size):
            part = slice(start, min(start + size, self.n))
            yield part.stop - part.start, self.rows(part)

    def arrays(self) -> tuple[Any, ...]:
        """Return the arguments of all samples on the device, in the precision that JAX has at the time of the call."""
        precision = np.dtype(jax.numpy.zeros(0).dtype)
        if precision not in self._placed:
            placed = [jax.numpy.asarray(leaf) for leaf in self._leaves]
            self._placed = {precision: tuple(jax.tree_util.tree_unflatten(self._structure, placed))}
        return self._placed[precision]


def _counts_samples(leaf: Any) -> bool:
    """Whether a leaf is an array of numbers with a first axis; those of JAX's own precisions are not NumPy's."""
    if not (hasattr(leaf, "shape") and hasattr(leaf, "dtype") and leaf.shape):
        return False
    return any(jax.numpy.issubdtype(leaf.dtype, kind) for kind in (jax.numpy.number, np.bool_))


def _described(leaf: Any) -> str:
    """Shape and precision of an array, the type of anything else."""
    if hasattr(leaf, "shape") and hasattr(leaf, "dtype"):
        return f"an array of shape {tuple(leaf.shape)} in {leaf.dtype}"
    return type(leaf).__name__


def rows_of(arguments: tuple[Any, ...], rows: Any) -> tuple[Any, ...]:
    """Return the arguments of some samples, a slice or an array of indices, of those of all samples."""
    return tuple(jax.tree_util.tree_map(lambda leaf: leaf[rows], each) for each in arguments)


@dataclass(frozen=True)
class Addition:
    """How the values of a function over parts of the samples make up that over all of them.

    Attributes
    ----------
    averaged
        Whether it is their mean, weighted by the numbers of samples, and not their sum.
    whole
        Whether it is neither, so that all samples are evaluated at once.
    """

    averaged: bool
    whole: bool = False

    def share(self, part: int, n: int) -> float:
        """Return the weight of the value of some of n samples."""
        return part / n if self.averaged else 1.0

    @classmethod
    def of(
        cls, name: str, function: Callable[..., Any], samples: Samples, points: Sequence[Any], batch: int
    ) -> Addition:
        """Find out how values add up, from a few samples at some points.

        Raises
        ------
        ValueError
            If they neither average nor add up and not all samples fit into a batch, if the function raises, or if no
            value tried is finite.
        """
        rows = np.unique(np.linspace(0, samples.n - 1, min(TRIED, samples.n)).round().astype(int))
        quarter = -(-len(rows) // 4)
        pairs: list[tuple[np.ndarray, ...]] = [(rows[:quarter], rows[quarter:]), (rows[::2], rows[1::2])]
        if len(rows) == 1:
            pairs = [(rows,)]  # one sample: the value is its mean
        others = samples.with_other_labels(rows)
        for start in range(0, len(others), AT_A_TIME):  # parts with the labels that these samples lack
            more = others[start : start + AT_A_TIME]
            both = np.concatenate([rows, more])
            pairs += [(rows, more), (both[::2], both[1::2])]
        tried = [_Trial.of(name, function, x, samples, parts) for x in points for parts in pairs]
        tried = [each for each in tried if np.isfinite(each.whole)]
        differs = [each for each in tried if not each.is_near(each.mean)]
        if tried and not differs:
            return cls(averaged=True)
        if tried and all(each.is_near(float(each.values.sum())) for each in tried):
            return cls(averaged=False)
        if samples.n <= batch:
            return cls(averaged=False, whole=True)
        if not tried:
            raise ValueError(f"{name} is not finite on {len(rows)} samples, at any parameters tried")
        raise ValueError(
            f"{name} of {differs[0].sizes.sum()} samples is {differs[0].whole:.6g}, the mean over two parts of them "
            f"{differs[0].mean:.6g}: values would depend on batch={batch}. Expected a mean over the samples, or a sum; "
            f"for any other give batch={samples.n}, all samples at once"
        )


@dataclass(frozen=True)
class _Trial:
    """The value of some samples, and the numbers and values of parts of them."""

    whole: np.ndarray
    sizes: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, name: str, function: Any, x: Any, samples: Samples, parts: Sequence[np.ndarray]) -> _Trial:
        whole = _number(name, function, x, samples, np.concatenate(parts))
        values = [float(_number(name, function, x, samples, part)) for part in parts]
        return cls(whole, np.array([len(part) for part in parts]), np.array(values))

    @property
    def mean(self) -> float:
        return float(self.sizes @ self.values / self.sizes.sum())

    def is_near(self, made: float) -> bool:
        """Whether the value is what is made of those of the parts, except for rounding."""
        precision = float(np.finfo(self.whole.dtype).eps) if self.whole.dtype.kind == "f" else 0.0
        size = max(abs(float(self.whole)), float(np.abs(self.values).max()))
        return abs(float(self.whole) - made) <= max(ALIKE, ROUNDING * precision) * size


def _number(name: str, function: Callable[..., Any], x: Any, samples: Samples, rows: np.ndarray) -> np.ndarray:
    """The value of some samples at a point."""
    arguments = samples.rows(rows)
    try:
        value = function(x, *arguments)
    except Exception as error:
        shapes = ", ".join(str(np.shape(leaf)) for leaf in jax.tree_util.tree_leaves(arguments))
        raise ValueError(f"{name} raised {type(error).__name__} on samples of shape {shapes}: {error}") from error
    if not hasattr(value, "dtype") or np.shape(value) or np.dtype(value.dtype).kind not in "fiu":
        what = (
            f"of shape {np.shape(value)} in {value.dtype}" if hasattr(value, "dtype") else f"a {type(value).__name__}"
        )
        raise ValueError(f"{name} is {what}; expected one real number, such as the mean over the samples")
    return np.asarray(value)
