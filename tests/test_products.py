"""Products in blocks equal the products that they are cut from, whatever divides what."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from minilandscape.backend import Workspace
from minilandscape.networks import products


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A BLAS that takes small factors as they lie, so small that everything here is cut."""
    monkeypatch.setattr("minilandscape.backend.blas_multiplies_small_factors_in_place", lambda: True)
    monkeypatch.setattr(products, "UNPACKED", 4_000)
    monkeypatch.setattr(products, "UNPACKED_OUTPUTS", 200)
    products._divisor.cache_clear()
    yield
    products._divisor.cache_clear()


@pytest.mark.parametrize("n_rows", [1, 16, 97, 240])
@pytest.mark.parametrize("n_points", [1, 3])
def test_blocks_equal_the_whole(n_rows: int, n_points: int, small_blocks: None) -> None:
    rng = np.random.default_rng(n_rows)
    X, D = rng.normal(size=(1, n_rows, 12)), rng.normal(size=(n_points, n_rows, 9))
    W = rng.normal(size=(n_points, 12, 9))
    out = np.empty((n_points, n_rows, 9))
    np.testing.assert_allclose(products.rows_times(np, X, W, out), X @ W, rtol=1e-12, atol=1e-12)
    lying = np.ascontiguousarray(W.swapaxes(1, 2))
    out[...] = np.nan
    np.testing.assert_allclose(products.rows_times_transposed(np, X, lying, out), X @ W, rtol=1e-12, atol=1e-12)
    X = np.repeat(X, n_points, axis=0)
    into = np.empty((n_points, 9, 12))
    np.testing.assert_allclose(products.sum_over_rows(np, D, X, into), D.swapaxes(1, 2) @ X, rtol=1e-12, atol=1e-12)
    work = Workspace(np, np.float64)
    np.testing.assert_array_equal(products.transposed(work, "W", W), lying)


@pytest.mark.parametrize(("n", "per_row", "most", "expected"), [(240, 100, 15, 6), (97, 100, 96, 1), (10, 100, 5, 1)])
def test_a_block_count_divides(n: int, per_row: int, most: int, expected: int, small_blocks: None) -> None:
    assert products.blocks(np, n, per_row, most) == expected


def test_nothing_is_cut_where_blas_always_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minilandscape.backend.blas_multiplies_small_factors_in_place", lambda: False)
    products._divisor.cache_clear()
    assert products.blocks(np, 1000, 2500, 60) == 1
    products._divisor.cache_clear()


@pytest.mark.parametrize("variant", ["paper", "authors"])
@pytest.mark.parametrize("model", ["fcp", "lenet", "autoencoder", "lstm"])
def test_networks_in_blocks_compute_the_same(
    model: str, variant: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    from minilandscape.data import Images
    from minilandscape.networks import initial_vector, network_landscape

    rng = np.random.default_rng(1)
    images = Images(rng.random((48, 784), dtype=np.float32), rng.integers(0, 10, 48))
    points = np.stack([initial_vector(model, seed, np.float64) for seed in range(2)])

    def results() -> tuple[Any, Any]:
        return network_landscape(model, images, variant, dtype="float64").values_and_gradients(points)

    monkeypatch.setattr("minilandscape.backend.blas_multiplies_small_factors_in_place", lambda: False)
    products._divisor.cache_clear()
    values, gradients = results()
    request.getfixturevalue("small_blocks")
    for most in (4_000, 30_000, 200_000):  # each cuts other layers
        monkeypatch.setattr(products, "UNPACKED", most)
        products._divisor.cache_clear()
        in_blocks = results()
        np.testing.assert_allclose(in_blocks[0], values, rtol=1e-12)
        np.testing.assert_allclose(in_blocks[1], gradients, rtol=1e-9, atol=1e-14)
