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


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"third": np.arange(50)}, "names the group 'third'; expected one of first, second, as fcp has them"),
        ({"first": [0, 1]}, r"the order of 'first' has shape \(2,\); expected a permutation of the 50 units of fcp"),
        ({"first": [0] * 50}, "the order of 'first' is no permutation; expected .* each of 0 to 49 once"),
        ({"second": np.arange(1, 51)}, "the order of 'second' is no permutation"),
        ({"second": np.arange(50.0)}, "the order of 'second' is no permutation"),
    ],
)
def test_what_is_no_order_of_a_group_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        permute("fcp", np.zeros(42_200), given)


def test_the_vector_that_is_not_finite_is_named() -> None:
    good = initial_vector("fcp", 0)
    bad = good.copy()
    bad[[7, 9]] = np.nan, np.inf
    with pytest.raises(ValueError, match="a is not finite in 2 of 42200 numbers, the first at 7"):
        align("fcp", bad, good)
    with pytest.raises(ValueError, match="b is not finite in 2 of 42200 numbers"):
        align("fcp", good, bad)


def test_three_atoms_have_the_shape_that_columns_have() -> None:
    a = np.random.default_rng(0).standard_normal((3, 3))
    assert align_atoms(a, a[[2, 0, 1]] + 1.0) == pytest.approx(a, abs=1e-6)


@pytest.mark.parametrize(
    ("a", "b", "kinds", "message"),
    [
        (np.ones((3, 4)), np.ones((3, 4)), None, r"a has shape \(3, 4\); expected \(3n,\), or \(n, 3\) with a row"),
        (np.ones(12), np.ones((3, 4)), None, r"b has shape \(3, 4\)"),
        (np.ones(4), np.ones(4), None, r"a has shape \(4,\)"),
        (np.ones((2, 2, 3)), np.ones(12), None, r"a has shape \(2, 2, 3\)"),
        (np.ones(0), np.ones(0), None, r"a has shape \(0,\)"),
        (
            np.ones(12),
            np.where(np.arange(12) == 4, np.nan, 1),
            None,
            "b is not finite in 1 of 12 numbers, the first at 4",
        ),
        (np.full((4, 3), np.inf), np.ones(12), None, "a is not finite in 12 of 12 numbers"),
        (np.ones(12), np.ones(12), [0, 1, 1], r"kinds has shape \(3,\); expected \(4,\), one for each atom"),
        (np.ones(12), np.ones(12), 6, r"kinds has shape \(\)"),
    ],
)
def test_what_are_no_atoms_is_refused(a: Any, b: Any, kinds: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        align_atoms(a, b, kinds)
