"""Symmetries: permuted networks compute the same; alignment undoes a permutation; molecules are superposed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minilandscape.analysis.symmetry import UNITS, align, align_atoms, permute
from minilandscape.networks import initial_vector, network_landscape
from minilandscape.potentials import LennardJones

MODELS = ("fcp", "lenet", "autoencoder", "lstm")


def orders(model: str, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {g: rng.permutation(s[x]) for s, axes in UNITS[model].values() for x, g in axes.items()}


@pytest.mark.parametrize("model", MODELS)
def test_permuted_units_compute_the_same(model: str, small_mnist: Any) -> None:
    land = network_landscape(model, small_mnist.train[:40], dtype="float64")
    w = initial_vector(model, np.random.default_rng(0), "float64")
    other = permute(model, w, orders(model, 1))
    assert np.abs(other - w).max() > 0.01
    assert land.values(other[None])[0] == pytest.approx(land.values(w[None])[0], rel=1e-12)
    assert land.outputs(other[None]) == pytest.approx(land.outputs(w[None]), abs=1e-12)


@pytest.mark.parametrize("model", MODELS)
def test_alignment_undoes_a_permutation_and_never_goes_away(model: str) -> None:
    rng = np.random.default_rng(0)
    a = initial_vector(model, rng, "float64")
    scrambled = permute(model, a + 1e-3 * rng.standard_normal(a.size) * np.abs(a), orders(model, 2))
    assert np.abs(align(model, a, scrambled) - a).max() < 0.02
    b = initial_vector(model, rng, "float64")
    nearer = align(model, a, b)
    assert np.linalg.norm(nearer - a) < np.linalg.norm(b - a)
    assert np.array_equal(np.sort(nearer), np.sort(b))
    with pytest.raises(ValueError, match="a has shape"):
        align(model, a[:-1], b)


def test_molecules_are_superposed() -> None:
    rng = np.random.default_rng(4)
    a = rng.standard_normal((7, 3))
    kinds = np.array([0, 0, 0, 1, 1, 2, 0])
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    turn[:, 0] *= np.sign(np.linalg.det(turn))
    swapped = np.array([6, 2, 0, 4, 3, 5, 1])
    b = (a @ turn + [3.0, -2, 1])[swapped]
    assert align_atoms(a, b, kinds) == pytest.approx(a, abs=1e-6)
    assert align_atoms(a.ravel(), b.ravel(), kinds).shape == (21,)
    mirrored = a * [-1, 1, 1]
    assert np.abs(align_atoms(a, mirrored, np.arange(7)) - a).max() > 0.1
    land = LennardJones(7)
    assert land.values(align_atoms(a, b).reshape(1, -1)) == pytest.approx(land.values(b.reshape(1, -1)))
    with pytest.raises(ValueError, match="expected as many"):
        align_atoms(a, b[:-1])
