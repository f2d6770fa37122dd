"""Linear combinations of a few parameter vectors of a network, which share the products of the first layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..backend import Workspace, concatenated, to_device
from ..landscape import Evaluations, Weights
from .products import matmul

#: The most bytes of first-layer products that a span keeps between evaluations.
KEPT_PRODUCTS = 256 << 20
#: About so many points have their gradients mixed in one product.
MIXED_POINTS = 16
#: A span computes its products anew after this many combinations, since each one rounds.
FRESH_AFTER = 10


class NetworkSpan:
    """Points that are linear combinations of a few rows, over a :class:`~.landscape.NetworkLandscape`.

    The first layer is linear in its weights. Its products are therefore computed once for each row and mixed for the
    points; in the backward pass the points' gradients are mixed first and multiplied once for each row. This is faster
    if the first layer is wide or there are few rows (:attr:`~minilandscape.networks.network.Network.mixed_rows`);
    otherwise each point has a product of its own, and the points share only what is unfolded from the images. Products
    are kept between calls if they take at most :data:`KEPT_PRODUCTS` bytes.

    Attributes
    ----------
    basis
        (R, D), the rows, on the landscape's device.
    evaluations
        Points evaluated so far.
    """

    #: Weights given as a function of the values cost a second forward pass.
    weighs_in_a_second_pass = True

    def __init__(self, landscape: Any, basis: Any) -> None:
        basis = to_device(basis, landscape.device, landscape.dtype)
        if basis.ndim != 2 or basis.shape[1] != landscape.size:
            raise ValueError(f"a span's rows have shape {tuple(basis.shape)}; expected (R, {landscape.size})")
        self.basis = basis.copy()
        self.evaluations = Evaluations()
        self.landscape = landscape
        self._record = landscape.recorder()
        self._products: dict[int, Any] = {}
        self.refresh()

    def refresh(self) -> None:
        """Have the next evaluation compute all products anew."""
        self._stale = set(range(len(self.basis)))
        self._pending: np.ndarray | None = None
        self._combined = 0

    def replace(self, rows: Sequence[int], vectors: Any) -> None:
        """Replace some rows by vectors (len(rows), D); the products of the others stay."""
        rows = self._checked(rows)
        self._put(rows, self._device(vectors))
        self._stale.update(rows)

    def combine(self, rows: Sequence[int], coefficients: np.ndarray) -> None:
        """Replace some rows, and their products, by combinations (len(rows), R) of all the old ones."""
        rows, coefficients = self._checked(rows), np.asarray(coefficients, dtype=np.float64)
        self._put(rows, matmul(self._device(coefficients), self.basis))
        self._combined += 1
        if self._combined >= FRESH_AFTER:
            self.refresh()
            return
        if self._pending is None:
            self._pending = np.eye(len(self.basis))
        self._pending[rows] = coefficients @ self._pending
        stale = np.isin(np.arange(len(self.basis)), list(self._stale))
        for row, used in zip(rows, (coefficients[:, stale] != 0).any(axis=1), strict=True):
            (self._stale.add if used else self._stale.discard)(row)

    def values(self, coefficients: np.ndarray) -> np.ndarray:
        """Return the mean losses (P,) of the points ``coefficients (P, R) @ basis``."""
        coefficients = np.asarray(coefficients, dtype=np.float64)
        self.evaluations.values += len(coefficients)
        sums, _ = self._evaluate(coefficients, None)
        return sums / self.landscape.n_samples

    def values_and_pullback(
        self, coefficients: np.ndarray, weights: Weights = None, rows: Sequence[int] | None = None
    ) -> tuple[np.ndarray, Any]:
        """Return mean losses (P,) and gradients by some rows, ``(weights[:, None] * coefficients).T @ gradients``.

        The gradients are (len(rows), D). Weights given as a function of the values cost a second forward pass, which
        is counted.
        """
        coefficients = np.asarray(coefficients, dtype=np.float64)
        if callable(weights):
            weights = weights(self.values(coefficients))
        pull = coefficients if rows is None else coefficients[:, list(rows)]
        if weights is not None:
            pull = np.asarray(weights, dtype=np.float64)[:, None] * pull
        self.evaluations.gradients += len(coefficients)
        sums, total = self._evaluate(coefficients, pull)
        total *= 1 / self.landscape.n_samples
        return sums / self.landscape.n_samples, total

    def _checked(self, rows: Sequence[int]) -> list[int]:
        """Return rows by their numbers from 0; IndexError if there is no such row, which a slice would not notice."""
        numbers = range(len(self.basis))
        return [numbers[row] for row in rows]

    def _put(self, rows: list[int], vectors: Any) -> None:
        vectors, begin = self.landscape.xp.broadcast_to(vectors, (len(rows), self.landscape.size)), 0
        for run in runs_of(rows):
            length = run.stop - run.start
            self.basis[run] = vectors[begin : begin + length]
            begin += length

    def _device(self, array: Any) -> Any:
        return to_device(array, self.landscape.device, self.landscape.dtype)

    def _evaluate(self, coefficients: np.ndarray, pull: np.ndarray | None) -> tuple[np.ndarray, Any]:
        """Return the losses (P,) summed over the images, and the rows' gradients (K, D) if ``pull`` (P, K) is given."""
        land, network = self.landscape, self.landscape.network
        n_points, n_rows = coefficients.shape if coefficients.ndim == 2 else (0, 0)
        if n_rows != len(self.basis):
            raise ValueError(f"coefficients have shape {coefficients.shape}; expected (P, {len(self.basis)})")
        keeps = n_rows * land.n_samples * network.first_floats * land.dtype.itemsize <= KEPT_PRODUCTS
        mixes = n_rows <= network.mixed_rows and (keeps or n_points > n_rows)
        stale = sorted(self._stale)
        given: dict[str, Any] = {"mix": coefficients}
        given |= {} if pull is None else {"pull_T": pull.T}
        given |= {} if self._pending is None else {"pending": self._pending}

        def make_pass(*arrays: Any) -> Any:
            return _ChunkPass(self, mixes, keeps, stale, **dict(zip(given, arrays, strict=True)))

        key = tuple(stale), tuple(given), mixes, keeps
        arrays = (np.ascontiguousarray(array, dtype=land.dtype) for array in given.values())
        try:
            sums, _, total = land.run(self._record, key, make_pass, 0 if pull is None else pull.shape[1], *arrays)
        except BaseException:  # Ctrl-C as well: some chunks have the new products, and some the old ones
            self.refresh()
            raise
        if mixes and keeps:
            self._stale, self._pending = set(), None
        return sums, total

    def chunk_products(self, inputs: Any, stale: list[int], pending: Any, keeps: bool) -> Any:
        """Return the first layer's products of all rows for one chunk, (R, …); kept ones if they are current."""
        land = self.landscape
        network, first = land.network, land.network.n_first
        kept = self._products.get(id(inputs.labels))
        if kept is None or len(stale) == len(self.basis):
            products = network.first(land.work, inputs, self.basis[:, :first])
            if not keeps:
                return products
            if kept is None:
                kept = self._products[id(inputs.labels)] = products.copy()
            else:
                kept[...] = products
            return kept
        if pending is not None:
            kept[...] = matmul(pending, kept.reshape(len(kept), -1)).reshape(kept.shape)
        for run in runs_of(stale):
            kept[run] = network.first(land.work, inputs, self.basis[run, :first])
        return kept


class _ChunkPass:
    """The points ``mix @ basis`` over a chunk of images: their losses, and their gradients pulled back to the rows.

    Parameters
    ----------
    span
        The span whose basis (R, D) is combined.
    mixes
        Whether the rows' products of the first layer are mixed for the points.
    keeps
        Whether those products are kept between calls.
    stale
        Rows whose products have to be computed.
    mix
        (P, R)
    pull_T
        (K, P), how the points' gradients are summed for K rows; None computes no gradients.
    pending
        (R, R), how kept products of earlier rows combine to those of the rows now; None leaves them.
    """

    def __init__(
        self,
        span: NetworkSpan,
        mixes: bool,
        keeps: bool,
        stale: list[int],
        mix: Any,
        pull_T: Any = None,
        pending: Any = None,
    ) -> None:
        self._span, self._mixes, self._keeps, self._stale = span, mixes, keeps, stale
        self._mix, self._pull_T, self._pending = mix, pull_T, pending
        self._land = span.landscape
        self._network, self._work, self._xp = self._land.network, self._land.work, self._land.xp
        self._first = self._network.n_first
        #: Parameters from here on are formed for each point; those of a mixed first layer are not needed.
        self._formed = self._first if mixes else 0

    def __call__(self, inputs: Any, total: Any) -> tuple[Any, Any]:
        """Add the rows' gradients to ``total`` (K, D); returns losses and correct answers (P,), summed over images."""
        inputs, products, d_rows = self._network.open(self._work, inputs), None, None
        if self._mixes:
            products = self._span.chunk_products(inputs, self._stale, self._pending, self._keeps)
        block = self._land.block(inputs.labels.shape[-1])
        group = block * -(-MIXED_POINTS // block)  # points whose gradients are mixed in one product
        results: list[tuple[Any, Any]] = []
        for start in range(0, len(self._mix), group):
            part = slice(start, min(start + group, len(self._mix)))
            d_mixed = self._group(inputs, products, part, block, total, results)
            if d_mixed is None:
                continue
            if d_rows is None:
                d_rows = self._work("d_rows", *d_mixed.shape)
                d_rows[...] = d_mixed
            else:
                d_rows += d_mixed
        if d_rows is not None:
            self._network.first_backward(self._work, inputs, d_rows, total[:, : self._first])
        sums, correct = zip(*results, strict=True)
        return concatenated(sums), concatenated(correct)

    def _group(
        self, inputs: Any, products: Any, part: slice, block: int, total: Any, results: list[tuple[Any, Any]]
    ) -> Any:
        """Evaluate a group of points block by block.

        Returns the gradients by the rows' products of the first layer, (K, …); None without a mixed first layer or
        without gradients.
        """
        xp, work, mix, wanted = self._xp, self._work, self._mix[part], self._pull_T is not None
        points = _product(xp, mix, self._span.basis[:, self._formed :], work, "points")
        Z_group: Any = _product(xp, mix, products, work, "mixed") if self._mixes else None
        gradients: Any = work("gradients", *points.shape) if wanted else None
        dZ_group: Any = work("dZ_group", *Z_group.shape) if wanted and self._mixes else None
        rest = self._first - self._formed
        for begin in range(0, len(points), block):
            few = slice(begin, begin + block)
            Z = Z_group[few] if self._mixes else self._network.first(work, inputs, points[few, : self._first])
            sums, correct, backward = self._land.rest_of_network(inputs, Z, points[few, rest:], wanted)
            results.append((sums, correct))
            if backward is None:
                continue
            dZ, gradients[few, rest:] = backward()
            if self._mixes:
                dZ_group[few] = dZ
            else:
                gradients[few, : self._first] = 0
                self._network.first_backward(work, inputs, dZ, gradients[few, : self._first])
        if not wanted:
            return None
        weights = self._pull_T[:, part]
        total[:, self._formed :] += _product(xp, weights, gradients, work, "pulled")
        return _product(xp, weights, dZ_group, work, "d_mixed") if self._mixes else None


def runs_of(rows: Sequence[int]) -> list[slice]:
    """Return consecutive rows as slices: on a GPU these are views, where a list of numbers would be a transfer."""
    runs: list[slice] = []
    for row in rows:
        if runs and runs[-1].stop == row:
            runs[-1] = slice(runs[-1].start, row + 1)
        else:
            runs.append(slice(row, row + 1))
    return runs


def _product(xp: Any, weights: Any, stack: Any, work: Workspace, name: str) -> Any:
    """Return ``weights (K, P) @ stack (P, …)`` in the work array ``name``."""
    flat = stack if stack.ndim == 2 else stack.reshape(len(stack), -1)
    out = work(name, len(weights), flat.shape[1])
    if len(stack) == 1 and xp is np:  # BLAS is slow at this one
        xp.multiply(weights, flat, out=out)
    else:
        matmul(weights, flat, out=out)
    return out.reshape(len(weights), *stack.shape[1:])
