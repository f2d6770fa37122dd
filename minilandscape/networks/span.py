"""Combinations of a few points of a network's landscape, which share the first layer's products."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from ..backend import Workspace, joined, to_device
from ..landscape import Evaluations, Weights
from .products import matmul

#: Bytes of first-layer products that a span keeps between evaluations.
KEPT_PRODUCTS = 256 << 20
#: Points, about, whose gradients are mixed in one product.
MIXED_POINTS = 16
#: Combinations after which a span computes its products afresh, since each one rounds.
FRESH_AFTER = 10


class NetworkSpan:
    """Points that are linear combinations of a few rows, over a :class:`~.landscape.NetworkLandscape`.

    The first layer is linear in its weights, so its products are computed once a row and mixed for the points; in the
    backward pass the points' gradients are mixed first and multiplied once a row. That pays where the first layer is
    wide, or the rows are few (:attr:`~minilandscape.networks.network.Network.mixed_rows`); elsewhere the points are
    multiplied one by one, and share what is unfolded from the images. Products are kept between calls where they fit
    into :data:`KEPT_PRODUCTS` bytes.
    """

    #: Weights that are a function of the values cost another forward pass.
    weighs_in_a_second_pass = True

    def __init__(self, landscape: Any, basis: Any) -> None:
        basis = to_device(basis, landscape.device, landscape.dtype)
        if basis.ndim != 2 or basis.shape[1] != landscape.size:
            raise ValueError(f"a span's rows have shape {tuple(basis.shape)}; expected (R, {landscape.size})")
        self.basis = basis.copy()
        self.evaluations = Evaluations()
        self._landscape = landscape
        self._record = landscape.recorder()
        self._products: dict[int, Any] = {}
        self.refresh()

    def refresh(self) -> None:
        """Has the next evaluation compute all products afresh."""
        self._stale = set(range(len(self.basis)))
        self._pending: np.ndarray | None = None
        self._combined = 0

    def replace(self, rows: Sequence[int], vectors: Any) -> None:
        """New vectors (len(rows), D) for some rows; the products of the others stay."""
        rows = self._checked(rows)
        self._put(rows, self._device(vectors))
        self._stale.update(rows)

    def combine(self, rows: Sequence[int], coefficients: np.ndarray) -> None:
        """Rows become combinations (len(rows), R) of the old ones, and so do their products."""
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
        """Mean losses (P,) of the points ``coefficients (P, R) @ basis``."""
        coefficients = np.asarray(coefficients, dtype=np.float64)
        self.evaluations.values += len(coefficients)
        sums, _ = self._evaluate(coefficients, None)
        return sums / self._landscape.n_images

    def values_and_pullback(
        self, coefficients: np.ndarray, weights: Weights = None, rows: Sequence[int] | None = None
    ) -> tuple[np.ndarray, Any]:
        """Mean losses (P,), and ``(weights[:, None] * coefficients).T @ gradients`` for some rows (len(rows), D).

        Weights that are a function of the values cost a second forward pass, which is counted.
        """
        coefficients = np.asarray(coefficients, dtype=np.float64)
        if callable(weights):
            weights = weights(self.values(coefficients))
        pull = coefficients if rows is None else coefficients[:, list(rows)]
        if weights is not None:
            pull = np.asarray(weights, dtype=np.float64)[:, None] * pull
        self.evaluations.gradients += len(coefficients)
        sums, total = self._evaluate(coefficients, pull)
        total *= 1 / self._landscape.n_images
        return sums / self._landscape.n_images, total

    def _checked(self, rows: Sequence[int]) -> list[int]:
        """Rows by their numbers from 0; a slice would take one that does not exist for none."""
        numbers = range(len(self.basis))
        return [numbers[row] for row in rows]

    def _put(self, rows: list[int], vectors: Any) -> None:
        vectors, begin = self._landscape.xp.broadcast_to(vectors, (len(rows), self._landscape.size)), 0
        for run in runs_of(rows):
            length = run.stop - run.start
            self.basis[run] = vectors[begin : begin + length]
            begin += length

    def _device(self, array: Any) -> Any:
        return to_device(array, self._landscape.device, self._landscape.dtype)

    def _evaluate(self, coefficients: np.ndarray, pull: np.ndarray | None) -> tuple[np.ndarray, Any]:
        land, xp, network = self._landscape, self._landscape.xp, self._landscape.network
        n_points, n_rows = coefficients.shape if coefficients.ndim == 2 else (0, 0)
        if n_rows != len(self.basis):
            raise ValueError(f"coefficients have shape {coefficients.shape}; expected (P, {len(self.basis)})")
        keeps = n_rows * land.n_images * network.first_floats * land.dtype.itemsize <= KEPT_PRODUCTS
        mixes = n_rows <= network.mixed_rows and (keeps or n_points > n_rows)
        first = network.n_first
        formed = first if mixes else 0  # of the points themselves only the parameters from here on are needed
        stale = sorted(self._stale)
        given: dict[str, Any] = {"mix": coefficients}
        given |= {} if pull is None else {"pull_T": pull.T}
        given |= {} if self._pending is None else {"pending": self._pending}

        def make_pass(*arrays: Any) -> Any:
            return partial(chunk_pass, **dict(zip(given, arrays, strict=True)))

        def chunk_pass(inputs: Any, total: Any, mix: Any, pull_T: Any = None, pending: Any = None) -> tuple[Any, Any]:
            work, products, d_rows = land.work, None, None
            inputs = network.open(work, inputs)
            if mixes:
                products = self._chunk_products(inputs, stale, pending, keeps)
            all_sums, all_correct = [], []
            block = land.block(inputs.labels.shape[-1])
            group = block * -(-MIXED_POINTS // block)  # points whose gradients are mixed in one product
            for start in range(0, n_points, group):
                part = slice(start, min(start + group, n_points))
                points = _product(xp, mix[part], self.basis[:, formed:], work, "points")
                gradients: Any = None
                if pull is not None:
                    gradients = work("gradients", *points.shape)
                if mixes:
                    Z_group = _product(xp, mix[part], products, work, "mixed")
                    dZ_group: Any = None if pull is None else work("dZ_group", *Z_group.shape)
                for begin in range(0, len(points), block):
                    few = slice(begin, begin + block)
                    Z = Z_group[few] if mixes else network.first(work, inputs, points[few, :first])
                    sums, correct, backward = land.rest_of_network(
                        inputs, Z, points[few, first - formed :], pull is not None
                    )
                    all_sums.append(sums)
                    all_correct.append(correct)
                    if backward is None:
                        continue
                    dZ, gradients[few, first - formed :] = backward()
                    if mixes:
                        dZ_group[few] = dZ
                    else:
                        gradients[few, :first] = 0
                        network.first_backward(work, inputs, dZ, gradients[few, :first])
                if pull is None:
                    continue
                weights = pull_T[:, part]
                total[:, formed:] += _product(xp, weights, gradients, work, "pulled")
                if mixes:
                    mixed = _product(xp, weights, dZ_group, work, "d_mixed")
                    if d_rows is None:
                        d_rows = work("d_rows", *mixed.shape)
                        d_rows[...] = mixed
                    else:
                        d_rows += mixed
            if d_rows is not None:
                network.first_backward(work, inputs, d_rows, total[:, :first])
            return joined(all_sums), joined(all_correct)

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

    def _chunk_products(self, inputs: Any, stale: list[int], pending: Any, keeps: bool) -> Any:
        """The first layer's products of all rows for one chunk, (R, …), kept ones where they are current."""
        land = self._landscape
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


def runs_of(rows: Sequence[int]) -> list[slice]:
    """Rows that follow each other as slices, which on a GPU are views where a list of numbers is a transfer."""
    runs: list[slice] = []
    for row in rows:
        if runs and runs[-1].stop == row:
            runs[-1] = slice(runs[-1].start, row + 1)
        else:
            runs.append(slice(row, row + 1))
    return runs


def _product(xp: Any, weights: Any, stack: Any, work: Workspace, name: str) -> Any:
    """``weights (K, P) @ stack (P, …)`` in the work array ``name``."""
    flat = stack if stack.ndim == 2 else stack.reshape(len(stack), -1)
    out = work(name, len(weights), flat.shape[1])
    if len(stack) == 1 and xp is np:  # BLAS is slow at this one
        xp.multiply(weights, flat, out=out)
    else:
        matmul(weights, flat, out=out)
    return out.reshape(len(weights), *stack.shape[1:])
