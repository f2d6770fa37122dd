"""Curvature against exact Hessians, autograd's and analytic ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import autograd
import autograd.numpy as anp
import numpy as np
import pytest

import minilandscape as ml
from minilandscape.potentials import LennardJones, MullerBrown, rigid_motions


def energy(x: Any, n: int) -> Any:
    """Lennard-Jones, written once more for autograd."""
    r = anp.reshape(x, (n, 3))
    i, j = np.triu_indices(n, 1)
    s = 1 / anp.sum((r[i] - r[j]) ** 2, axis=1) ** 3
    return anp.sum(4 * (s**2 - s))


def grid(n: int) -> np.ndarray:
    """(3n,): a disturbed cubic lattice."""
    sites = np.array(np.meshgrid(*[np.arange(4.0)] * 3)).reshape(3, -1).T[:n]
    return (1.1 * sites + 0.02 * np.random.default_rng(0).standard_normal((n, 3))).ravel()


@pytest.mark.parametrize("n", [5, 30])  # the whole spectrum, and Lanczos iterations
def test_against_autograd(n: int) -> None:
    x = grid(n)
    H = autograd.hessian(energy)(x, n)
    modes = rigid_motions(x.reshape(-1, 3))
    P = np.eye(x.size) - modes.T @ modes
    exact = np.delete(np.linalg.eigvalsh(P @ H @ P + 1e6 * modes.T @ modes), np.arange(-6, 0))
    products: list[int] = []
    found = ml.curvature(LennardJones(n), x, 4, probes=200, callback=products.append)
    assert found.converged
    assert found.zero_modes == 6
    assert found.lowest == pytest.approx(exact[:4], abs=1e-4 * exact[-1])
    assert found.highest == pytest.approx(exact[::-1][:4], rel=1e-4)
    for values, vectors in ((found.lowest, found.lowest_modes), (found.highest, found.highest_modes)):
        assert np.linalg.norm(vectors @ P @ H @ P - values[:, None] * vectors, axis=1).max() < 1e-2 * exact[-1]
    if n == 5:
        assert found.trace == pytest.approx(np.trace(P @ H @ P), rel=1e-6)
        assert found.trace_error == 0
    else:
        assert abs(found.trace - np.trace(P @ H @ P)) < 4 * found.trace_error < 0.1 * found.trace
        assert products == list(range(1, len(products) + 1))
        assert found.evaluations.gradients == 1 + 2 * len(products)
    assert found.value == pytest.approx(energy(x, n))
    assert found.gradient_norm == pytest.approx(np.linalg.norm(autograd.grad(energy)(x, n)), rel=1e-8)


def test_atoms_nearly_on_a_line_have_two_bends() -> None:
    """A turn about the line, from which an atom is 2e-8 away, is the other bend."""
    x = np.array([-1.0, 0, 0, 1.0, 0, 0, 0, 1.7e-8, 0]) * 1.12
    exact = np.linalg.eigvalsh(autograd.hessian(energy)(x, 3))
    found = ml.curvature(LennardJones(3), x, 2)
    assert found.zero_modes == 5
    assert found.lowest == pytest.approx(exact[:2], rel=1e-5)


def test_a_network_has_the_hessian_that_its_gradients_say(small_mnist: Any) -> None:
    """Rayleigh quotients along the eigenvectors, from values alone: f(x + hv) + f(x - hv) - 2 f(x)."""
    land = ml.network_landscape("fcp", small_mnist.train[:100], "authors", dtype="float64")  # smooth
    x = ml.initial_vector("fcp", 0, np.float64)
    found = ml.curvature(land, x, 2, probes=2)
    assert found.converged
    assert found.highest[0] > found.highest[1] > 0 > found.lowest[1] > found.lowest[0]
    h = 1e-3
    for value, v in ((found.highest[0], found.highest_modes[0]), (found.lowest[0], found.lowest_modes[0])):
        ahead, at, behind = land.values(np.stack([x + h * v, x, x - h * v]))
        assert (ahead + behind - 2 * at) / h**2 == pytest.approx(value, rel=0.02, abs=1e-3 * found.highest[0])


@pytest.mark.parametrize(
    "exact",
    [
        np.r_[[-1.0] * 4, np.linspace(0.1, 10, 196)],
        np.r_[np.linspace(-1, 5, 194), [9.0] * 6],
        np.repeat(np.linspace(1, 100, 100), 2),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_repeated_eigenvalues_are_counted(exact: np.ndarray, turned: bool) -> None:
    D = exact.size
    Q = np.linalg.qr(np.random.default_rng(3).standard_normal((D, D)))[0] if turned else np.eye(D)
    H = Q.T * exact @ Q

    def f(X: Any) -> Any:
        return 0.5 * (X @ H * X).sum(axis=1), X @ H

    found = ml.curvature(ml.FunctionLandscape(f, D, batched=True), np.zeros(D), 5, probes=0)
    assert found.converged
    assert found.lowest == pytest.approx(np.sort(exact)[:5], rel=1e-3, abs=1e-3)
    assert found.highest == pytest.approx(np.sort(exact)[::-1][:5], rel=1e-3)
    for values, modes in ((found.lowest, found.lowest_modes), (found.highest, found.highest_modes)):
        assert modes @ modes.T == pytest.approx(np.eye(5), abs=1e-2)
        assert np.linalg.norm(modes @ H - values[:, None] * modes, axis=1).max() < 0.01


def test_single_precision_is_not_called_converged(small_mnist: Any) -> None:
    land = ml.network_landscape("fcp", small_mnist.train[:100], "paper", dtype="float32")
    found = ml.curvature(land, ml.initial_vector("fcp", 0), 2, probes=0, tolerance=1e-5)
    assert not found.converged
    assert np.isnan(found.trace)


def test_what_it_refuses() -> None:
    land = MullerBrown()
    for n in (0, 2.5):
        with pytest.raises(ValueError, match=f"n is {n}; expected a whole number, at least 1"):
            ml.curvature(land, land.minima[0], n)  # type: ignore[arg-type]
    for step in (1e-300, 1e-17):
        with pytest.raises(ValueError, match=r"lost beside a coordinate of 1\.44"):
            ml.curvature(land, land.minima[0], step=step)
    for wrong in ("abc", np.ones(2) + 1j):
        with pytest.raises(TypeError, match=r"the point is .* expected a vector of real numbers"):
            ml.curvature(land, wrong)
    for number in (0, np.inf, np.nan):
        for name in ("tolerance", "step"):
            with pytest.raises(ValueError, match="expected positive, finite numbers"):
                ml.curvature(land, land.minima[0], **{name: number})
    with pytest.raises(ValueError, match=r"shape \(1, 2\)"):
        ml.curvature(land, land.minima[:1])
    with pytest.raises(ValueError, match="landscape has 2 coordinates, the point 3"):
        ml.curvature(land, np.zeros(3))
    with pytest.raises(ml.LandscapeError, match="not finite"):
        ml.curvature(lambda x: (np.nan, x), np.zeros(3))
    with pytest.raises(ml.LandscapeError, match="times a random vector is zero"):
        ml.curvature(lambda x: (1.0, 0 * x), np.zeros(100))


def test_it_plots_saves_and_loads(tmp_path: Path) -> None:
    land = MullerBrown()
    found = ml.curvature(land, land.saddles[0])
    assert found.lowest[0] < 0 < found.highest[0]
    found.save(tmp_path / "c.npz")
    again = ml.load_curvature(tmp_path / "c.npz")
    assert np.array_equal(again.lowest, found.lowest)
    assert (again.trace, again.evaluations) == (found.trace, found.evaluations)
    assert len(found.plot().containers) == 2
