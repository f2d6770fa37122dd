"""Curvature against exact Hessians, autograd's and analytic ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import autograd
import autograd.numpy as anp
import numpy as np
import pytest

import minilandscape as ml
from minilandscape.analysis.trace import estimate_trace
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
    probes = None if n == 5 else 200
    found = ml.curvature(LennardJones(n), x, 4, probes=probes, callback=products.append)
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
        assert 2 * len(products) < found.evaluations.gradients < 2 * len(products) + 50  # noise and step are measured
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
@pytest.mark.parametrize("rotated", [False, True])
def test_repeated_eigenvalues_are_counted(exact: np.ndarray, rotated: bool) -> None:
    D = exact.size
    Q = np.linalg.qr(np.random.default_rng(3).standard_normal((D, D)))[0] if rotated else np.eye(D)
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


@pytest.mark.parametrize("D", [3, 10, 80])
def test_products_of_no_symmetric_matrix_are_named(D: int) -> None:
    """A wrong gradient has no Hessian: nothing is missing from the spectrum, and no finite-difference step helps."""
    A = np.diag(np.arange(1.0, D + 1))
    A[0, 1] = 0.2

    def wrong(x: np.ndarray) -> tuple[float, np.ndarray]:
        return 0.5 * float(x @ A @ x), A @ x

    found = ml.curvature(wrong, np.ones(D), 2)
    assert not found.converged
    assert "the gradient has kinks, or is wrong" in found.reason


@pytest.mark.parametrize("D", [2, 10, 40])
@pytest.mark.parametrize("centre", [1.0, 30.0, 1000.0])
def test_a_whole_spectrum_in_single_precision_names_the_noise(D: int, centre: float) -> None:
    """The whole spectrum misses no eigenvalue: where residuals are too large, the noise of float32 is the reason."""

    def single(x: np.ndarray) -> tuple[float, np.ndarray]:
        y = np.asarray(x).astype(np.float32) - np.float32(centre)
        return float(((y**2 - 1) ** 2).sum()), (4 * y * (y**2 - 1)).astype(np.float64)

    x = centre + np.linspace(-0.8, 0.9, D)
    found = ml.curvature(single, x, 1)
    assert found.converged or "noise of the gradients" in found.reason, found.reason
    exact = 12 * (x.astype(np.float32) - centre) ** 2 - 4
    error = max(abs(found.lowest[0] - exact.min()), abs(found.highest[0] - exact.max()))
    assert error <= max(*found.lowest_residuals, *found.highest_residuals) + 1e-3 * np.abs(exact).max()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("step", [None, 1e-2])
def test_kinks_are_not_called_a_wrong_gradient(seed: int, step: float | None) -> None:
    rng = np.random.default_rng(seed)
    X, Y = rng.standard_normal((20, 4)), rng.standard_normal(20)

    def net(x: np.ndarray) -> tuple[float, np.ndarray]:
        W, w = x[:20].reshape(5, 4), x[20:]
        Z = X @ W.T
        r = np.maximum(Z, 0) @ w - Y
        return float(0.5 * r @ r / 20), np.r_[((r[:, None] * w * (Z > 0)).T @ X).ravel(), np.maximum(Z, 0).T @ r] / 20

    x = rng.standard_normal(25)
    assert ml.check_gradient(net, x).passed
    found = ml.curvature(net, x, 1, step=step)
    assert found.converged or "kinks" in found.reason, found.reason


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


def quadratic(H: np.ndarray, extra: Any = None, length: float = 1.0, value: float = 1.0, **options: Any) -> Any:
    """xᵀ H x / 2 over stacks, with more added to value and gradient, in other units."""

    def f(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        X = X / length
        values, gradients = 0.5 * (X @ H * X).sum(axis=1), X @ H
        if extra is not None:
            more = extra(X)
            values, gradients = values + more[0], gradients + more[1]
        return value * values, value / length * gradients

    return ml.FunctionLandscape(f, len(H), batched=True, **options)


def matrix(exact: np.ndarray) -> np.ndarray:
    Q = np.linalg.qr(np.random.default_rng(3).standard_normal((exact.size, exact.size)))[0]
    return Q.T * exact @ Q


@pytest.mark.parametrize("D", [12, 90])  # the whole spectrum, and Lanczos iterations
@pytest.mark.parametrize(("length", "value"), [(1e-10, 1), (1e10, 1), (1, 1e20), (1, 1e-20)])
def test_results_scale_with_the_units(D: int, length: float, value: float) -> None:
    H = matrix(np.linspace(-2, 30, D))

    def waves(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return 0.1 * np.cos(X).sum(axis=1), -0.1 * np.sin(X)

    x = 0.3 * np.random.default_rng(0).standard_normal(D)
    exact = np.linalg.eigvalsh(H - 0.1 * np.diag(np.cos(x)))
    unit = value / length**2
    options: dict[str, Any] = {} if D == 12 else {"probes": 300}
    found = ml.curvature(quadratic(H, waves, length, value), length * x, 2, **options)
    assert found.converged, found.reason
    assert found.lowest / unit == pytest.approx(exact[:2], rel=1e-3)
    assert found.highest / unit == pytest.approx(exact[::-1][:2], rel=1e-3)
    assert found.trace / unit == pytest.approx(exact.sum(), rel=1e-6 if D == 12 else 0.1)
    assert found.gradient_norm / (value / length) == pytest.approx(np.linalg.norm(H @ x - 0.1 * np.sin(x)))


@pytest.mark.parametrize("D", [10, 120])
@pytest.mark.parametrize("near", [1e-5, 1e-6])
def test_a_step_does_not_reach_over_kinks(D: int, near: float) -> None:
    """Kinks at that distance along all coordinates, between which the Hessian is H."""
    H = matrix(np.linspace(-0.5, 5, D))

    def kinks(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        over = np.maximum(np.abs(X - 1) - near, 0)
        return 1e-4 * over.sum(axis=1), 1e-4 * np.sign(X - 1) * (over > 0)

    land, x = quadratic(H, kinks), np.ones(D)
    options: dict[str, Any] = {} if D == 10 else {"probes": 0}
    found = ml.curvature(land, x, 2, **options)
    assert found.converged, found.reason
    assert found.step < near
    assert found.lowest == pytest.approx(np.linalg.eigvalsh(H)[:2], rel=1e-3)
    assert found.highest == pytest.approx(np.linalg.eigvalsh(H)[::-1][:2], rel=1e-3)
    across = ml.curvature(land, x, 2, step=20 * near, **options)
    assert not across.converged
    assert "give a smaller step" in across.reason


@pytest.mark.parametrize("D", [10, 80])
def test_the_step_follows_the_noise_of_the_gradients(D: int) -> None:
    H, rng = matrix(np.linspace(-1, 40, D)), np.random.default_rng(1)

    def noise(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return 1e-8 * rng.standard_normal(len(X)), 3e-5 * rng.standard_normal(X.shape)

    options: dict[str, Any] = {} if D == 10 else {"probes": 0}
    x = rng.standard_normal(D)
    found = ml.curvature(quadratic(H, noise), x, 2, **options)
    assert found.step > 1e-3
    assert found.highest[0] == pytest.approx(40, rel=0.01)
    assert found.lowest[0] == pytest.approx(-1, abs=0.4)
    tiny = ml.curvature(quadratic(H, noise), x, 2, step=1e-5, **options)
    assert not tiny.converged
    assert "the noise of the gradients" in tiny.reason


@pytest.mark.parametrize("probes", [5, 20])
@pytest.mark.parametrize("shape", ["even", "decay", "both signs", "diagonal"])
def test_the_trace_is_as_far_off_as_its_error_says(shape: str, probes: int) -> None:
    """A standard error from a few sums was too small by chance: the trace was up to 40 of them off."""
    D, rng = 120, np.random.default_rng(0)
    spectra = {
        "even": np.linspace(0.1, 50, D),
        "decay": 1e3 / np.arange(1, D + 1) ** 1.5,
        "both signs": np.cos(np.arange(D)),
    }
    Q = np.linalg.qr(rng.normal(size=(D, D)))[0]
    H = np.diag(np.arange(1.0, D + 1)) if shape == "diagonal" else (Q * spectra[shape]) @ Q.T
    _, modes = np.linalg.eigh(H)
    known = modes[:, [0, 1, -2, -1]].T
    found = [
        estimate_trace(lambda v: v @ H, known, known @ H, np.random.default_rng(seed), probes) for seed in range(100)
    ]
    off, errors = np.array([trace - np.trace(H) for trace, _ in found]), np.array([error for _, error in found])
    if shape == "diagonal":
        assert np.abs(off).max() < 1e-9 * np.trace(H)
        assert errors.max() < 1e-9 * np.trace(H)
    else:
        assert 0.8 < np.sqrt(np.mean((off / errors) ** 2)) < 1.25
        assert np.abs(off / errors).max() < 4.5


@pytest.mark.parametrize("n", [3, 100])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("flat", [30, 50, 300])
def test_flat_directions_are_not_counted_as_negative(flat: int, dtype: Any, n: int) -> None:
    """Exact products give eigenvalues of 0 either sign, and residuals that are as small by rounding."""
    D = 2 * flat
    Q = np.linalg.qr(np.random.default_rng(0).normal(size=(D, D)))[0]
    H = ((Q * np.repeat([0.0, 1.0], flat)) @ Q.T).astype(dtype)

    class Flat:
        size = D

        def __init__(self) -> None:
            self.dtype = np.dtype(dtype)

        def values(self, points: Any) -> Any:
            return 0.5 * ((points @ H) * points).sum(axis=1)

        def values_and_gradients(self, points: Any) -> Any:
            return self.values(points), points @ H

        def hessian_products(self, point: Any, vectors: Any) -> Any:
            return np.asarray(vectors, dtype=dtype) @ H

    found = ml.curvature(Flat(), np.ones(D), min(n, flat))
    assert found.exact
    assert "0 eigenvalues" in found.summary()
    assert np.abs(found.lowest).max() <= found.lowest_residuals.max() < 1e-3


def test_options_of_random_vectors_are_refused_where_nothing_is_random() -> None:
    land = MullerBrown()
    for option, given in (
        ({"seed": 0}, "^seed is 0, but of 2"),
        ({"probes": 20}, "^probes is 20, but of 2"),
        ({"probes": 0, "seed": 3}, "^probes is 0 and seed is 3, but of 2"),
    ):
        with pytest.raises(
            ValueError, match=given + " coordinates all of the spectrum is computed, and nothing is random"
        ):
            ml.curvature(land, land.minima[0], **option)
    wide = quadratic(np.diag(np.linspace(1, 2, 70)))
    assert ml.curvature(wide, np.ones(70), 2, probes=3, seed=1).trace == pytest.approx(105, rel=0.05)


def test_it_plots_saves_and_loads(tmp_path: Path) -> None:
    land = MullerBrown()
    found = ml.curvature(land, land.saddles[0])
    assert found.lowest[0] < 0 < found.highest[0]
    found.save(tmp_path / "c.npz")
    again = ml.load_curvature(tmp_path / "c.npz")
    assert np.array_equal(again.lowest, found.lowest)
    assert (again.trace, again.evaluations) == (found.trace, found.evaluations)
    axes = found.plot()
    assert len(axes.containers) == 2
    assert all(tick == round(tick) for tick in axes.get_xticks())


def test_a_result_shows_itself() -> None:
    land = MullerBrown()
    found = ml.curvature(land, land.saddles[0])
    assert repr(found) == "<Curvature: lowest eigenvalue -750.86, highest 490.24, trace -260.62, converged>"
    lines = [line.split() for line in found.summary().splitlines()]
    assert ["negative", "1", "eigenvalue"] in lines
    assert ["converged", "yes"] in lines
    assert "<svg" in found._repr_html_()


def test_eigenvalues_that_span_decades_are_all_seen() -> None:
    eigenvalues = np.array([-2.0, 1e-3, 5.0, 4e3])
    axes = ml.curvature(lambda x: (0.5 * (eigenvalues * x) @ x, eigenvalues * x), np.ones(4)).plot()
    assert axes.get_yscale() == "symlog"
    heights = axes.transData.transform([(1.0, y) for y in eigenvalues])[:, 1]
    height = axes.get_window_extent().height
    assert np.diff(heights).min() > 0.03 * height
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert "0" in names
    assert len(names) < 12
    assert ml.curvature(MullerBrown(), MullerBrown().saddles[0]).plot().get_yscale() == "linear"
