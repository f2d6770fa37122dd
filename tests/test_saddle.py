"""The verification of saddles: known saddles, refusals, symmetries, periodic cells, many coordinates."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from minilandscape.analysis.atom_alignment import align_atoms
from minilandscape.analysis.curvature import curvature
from minilandscape.connect import refine_saddle, split_at_minima
from minilandscape.landscape import FunctionLandscape, LandscapeDefaults, LandscapeError
from minilandscape.motion import distance_without_zero_modes
from minilandscape.networks import network_landscape
from minilandscape.paths import find_path
from minilandscape.potentials import Camelback, Fig3, LennardJones, Leps, LepsOscillator, MullerBrown
from minilandscape.saddles import load_saddle, search
from minilandscape.training import train_together


@pytest.mark.parametrize("potential", [Fig3, MullerBrown, Camelback, Leps, LepsOscillator])
def test_known_saddles(potential: Any, tmp_path: Path) -> None:
    land = potential()
    path = find_path(land, land.minima[0], land.minima[1], solver="auto")
    saddle = refine_saddle(land, path)
    assert saddle.converged, saddle.reason
    assert saddle.reason == "converged"
    assert saddle.value == pytest.approx(land.values(land.saddles[:1])[0], abs=1e-8)
    assert saddle.point == pytest.approx(land.saddles[0], abs=1e-6)
    _, gradients = land.values_and_gradients(np.concatenate([saddle.point[None], saddle.minima]))
    assert np.abs(gradients[0]).max() == pytest.approx(saddle.residual, rel=1e-6)
    assert np.abs(gradients).max() < 1e-3
    h, v = 1e-4, saddle.mode
    f = land.values(saddle.point + h * np.array([[-1], [0], [1]]) * v)
    assert (f[0] - 2 * f[1] + f[2]) / h**2 == pytest.approx(saddle.eigenvalues[0], rel=1e-3)
    assert saddle.eigenvalues[0] < 0 < saddle.eigenvalues[1]
    if potential in (Fig3, LepsOscillator):
        assert saddle.connects_ends
        assert saddle.minima == pytest.approx(land.minima[:2], abs=1e-4)
    saddle.save(tmp_path / "s.npz")
    again = load_saddle(tmp_path / "s.npz")
    assert np.array_equal(again.point, saddle.point)
    assert (again.value, again.evaluations, again.reason) == (saddle.value, saddle.evaluations, saddle.reason)


@pytest.mark.parametrize("n_points", [8, 9])
def test_few_points_do_not_hide_a_minimum(n_points: int) -> None:
    land = MullerBrown()
    path = find_path(land, land.minima[0], land.minima[1], n_points=n_points, solver="auto")
    assert split_at_minima(land, path) == pytest.approx(land.minima[[0, 2, 1]], abs=1e-6)


def test_a_path_through_an_intermediate_minimum_is_split_there() -> None:
    land = MullerBrown()
    path = find_path(land, land.minima[0], land.minima[1], solver="auto")
    assert not refine_saddle(land, path).connects_ends
    chain = split_at_minima(land, path)
    assert chain == pytest.approx(land.minima[[0, 2, 1]], abs=1e-6)
    saddles = []
    for start, end in itertools.pairwise(chain):
        saddle = refine_saddle(land, find_path(land, start, end, solver="auto"))
        assert saddle.converged
        assert saddle.connects_ends
        saddles.append(saddle.value)
    assert saddles == pytest.approx([-40.66484351, -72.24894012], abs=1e-6)


def test_zero_modes_are_named_and_kept_out() -> None:
    """LJ4 from one labelling to another; the symmetric path leads to a planar point of higher index, which is left."""
    side = 2 ** (1 / 6)
    tetrahedron = side / np.sqrt(8) * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1.0]])
    land = LennardJones(4)
    path = find_path(land, tetrahedron.ravel(), (tetrahedron * [-1, 1, 1]).ravel(), solver="auto")
    saddle = refine_saddle(land, path)
    assert saddle.converged, saddle.reason
    assert saddle.value == pytest.approx(-5.073420858462, abs=1e-5)
    assert saddle.zero_modes == 6
    assert (saddle.eigenvalues < 0).sum() == 1
    assert saddle.minima_values == pytest.approx([-6, -6], abs=1e-6)


@pytest.mark.parametrize("size", [20, 200])
def test_many_coordinates(size: int) -> None:
    """A double well along a random direction, stiff and soft modes across: by the whole spectrum, and by Lanczos."""
    rng = np.random.default_rng(2)
    Q = np.linalg.qr(rng.standard_normal((size, size)))[0]
    stiffness = np.geomspace(0.5, 300, size - 1)

    def f(X: Any) -> Any:
        Y = X @ Q
        x, rest = Y[:, 0], Y[:, 1:] - 0.2 * np.sin(Y[:, :1])
        value = (x**2 - 1) ** 2 + 0.3 * x + 0.5 * (stiffness * rest**2).sum(axis=1)
        by_x = 4 * x * (x**2 - 1) + 0.3 - 0.2 * np.cos(x) * (stiffness * rest).sum(axis=1)
        return value, np.concatenate([by_x[:, None], stiffness * rest], axis=1) @ Q.T

    land = FunctionLandscape(f, size=size, batched=True)
    low, top, high = np.sort(np.roots([4, 0, -4, 0.3]).real)

    def at(x: float) -> np.ndarray:
        point: np.ndarray = np.concatenate([[x], np.full(size - 1, 0.2 * np.sin(x))]) @ Q.T
        return point

    start, end = at(low), at(high)
    saddle = refine_saddle(land, find_path(land, start, end, n_points=20, solver="auto"))
    assert saddle.converged, saddle.reason
    assert saddle.value == pytest.approx((top**2 - 1) ** 2 + 0.3 * top, abs=1e-8)
    assert saddle.connects_ends


def test_a_periodic_cell() -> None:
    """The shortest way leads over the border, and so do the descents."""

    class Cell(LandscapeDefaults):
        size = 2

        def values_and_gradients(self, points: Any) -> Any:
            x, y = points.T
            return -np.cos(x) - np.cos(y), np.sin(points)

        def displacement(self, a: Any, b: Any) -> Any:
            return (b - a + np.pi) % (2 * np.pi) - np.pi

    path = find_path(Cell(), np.array([3.0 + np.pi + 0.14, 0.0]), np.array([0.0, 6.283185307]), solver="auto")
    assert path.length < 1
    path = find_path(Cell(), np.array([2 * np.pi, 0.0]), np.array([3.9 * np.pi, 0.0]), method="linear")
    assert path.length == pytest.approx(0.1 * np.pi, rel=1e-6)
    saddle = refine_saddle(Cell(), np.array([3.0, 0.1]), direction=np.array([1.0, 0.0]))
    assert saddle.converged
    assert saddle.value == pytest.approx(0, abs=1e-8)
    assert not saddle.connects_ends


def test_it_never_says_converged_when_it_is_not() -> None:

    def three_valleys(r: Any) -> Any:
        return r[0] ** 3 - 3 * r[0] * r[1] ** 2, np.array([3 * r[0] ** 2 - 3 * r[1] ** 2, -6 * r[0] * r[1]])

    def walled(r: Any) -> Any:
        return np.nan if r[0] > 0.5 else -((r[0] - 1) ** 2), np.array([2 - 2 * r[0], 0.0])

    monkey = FunctionLandscape(three_valleys, size=2)
    assert not refine_saddle(monkey, np.array([0.02, 0.01])).converged
    slope = FunctionLandscape(lambda r: (r[0], np.array([1.0, 0.0])), size=2)
    found = refine_saddle(slope, np.zeros(2))
    assert not found.converged
    assert re.search(r"gradient norm .*\b1\b", found.reason)
    bowl = FunctionLandscape(lambda r: (r @ r, 2 * r), size=2)
    assert not refine_saddle(bowl, np.array([0.3, 0.4])).converged
    path = find_path(bowl, np.array([-1.0, 0.0]), np.array([2.0, 0.0]), solver="auto")
    assert "at an endpoint" in refine_saddle(bowl, path).reason
    wall = FunctionLandscape(walled, size=2)
    assert not refine_saddle(wall, np.zeros(2)).converged
    with pytest.raises(LandscapeError, match="start of the saddle search"):
        refine_saddle(wall, np.ones(2))
    with pytest.raises(ValueError, match=r"the start has shape \(1, 2\); expected one point \(D,\), or a Path"):
        refine_saddle(bowl, np.array([[1.0, 2.0]]))


def test_a_network_in_single_precision_ends_honestly(small_mnist: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "MOST_STEPS", 2)
    runs = train_together("fcp", small_mnist, [0, 1], optimizer="sgd", epochs=3)
    land = network_landscape("fcp", small_mnist.train[:20])
    path = find_path(land, runs[0].train_weights, runs[1].train_weights, n_points=9, steps=3)
    saddle = refine_saddle(land, path, residual=1e-9)
    assert not saddle.converged
    assert "gradient norm" in saddle.reason
    assert saddle.residual > 1e-9


def wells(curvatures: Any) -> FunctionLandscape:
    """½ Σ c x² with a quartic wall where c is negative: index-one saddles between the wells of every such direction."""
    c = np.asarray(curvatures, dtype=np.float64)
    quartic = np.where(c < 0, -c, 0)

    def f(X: Any) -> Any:
        return (0.5 * c * X**2 + 0.25 * quartic * X**4).sum(axis=1), c * X + quartic * X**3

    return FunctionLandscape(f, size=c.size, batched=True)


@pytest.mark.parametrize("second", [-1.0, -0.5])
@pytest.mark.parametrize("size", [20, 200])
def test_symmetry_does_not_hide_a_second_negative_mode(size: int, second: float) -> None:
    """The straight path tops at index two, on an axis that its Krylov space never leaves; the saddles lie beside it."""
    land = wells(np.r_[-1, second, np.linspace(1, 50, size - 2)])
    end = np.eye(size)[0]
    saddle = refine_saddle(land, find_path(land, -end, end, method="linear"))
    assert saddle.converged, saddle.reason
    assert saddle.value == pytest.approx(second / 4, abs=1e-8)
    hessian = np.array([land.values_and_gradients(saddle.point + s * 1e-5 * np.eye(size))[1] for s in (1, -1)])
    spectrum = np.linalg.eigvalsh((hessian[0] - hessian[1]) / 2e-5)
    assert (spectrum < 0).sum() == 1
    assert saddle.eigenvalues[:2] == pytest.approx(spectrum[: len(saddle.eigenvalues[:2])], rel=0.05)


def test_a_stiff_system_of_a_thousand_coordinates() -> None:
    land = wells(np.r_[-1, np.geomspace(1, 1e3, 999)])
    start = 0.01 * np.random.default_rng(0).standard_normal(1000)
    saddle = refine_saddle(land, start, direction=np.eye(1000)[0])
    assert saddle.converged, saddle.reason
    assert saddle.value == pytest.approx(0, abs=1e-6)
    assert saddle.minima_values == pytest.approx([-0.25, -0.25], abs=1e-5)


def test_descents_end_at_minima() -> None:
    """Past (±1, 0), saddles themselves, by symmetry: f = (x² − 1)² + (1 − 2x²) y²/2 + y⁴/2, lowest at −1/4."""

    def ridge(X: Any) -> Any:
        x, y = X.T
        c = 1 - 2 * x**2
        gradient = np.stack([4 * x * (x**2 - 1) - 2 * x * y**2, c * y + 2 * y**3], axis=1)
        return (x**2 - 1) ** 2 + 0.5 * c * y**2 + 0.5 * y**4, gradient

    land = FunctionLandscape(ridge, size=2, batched=True)
    saddle = refine_saddle(land, find_path(land, np.array([-1.0, 0]), np.array([1.0, 0]), method="linear"))
    assert saddle.converged, saddle.reason
    assert saddle.value == pytest.approx(1, abs=1e-10)
    assert saddle.minima_values == pytest.approx([-0.25, -0.25], abs=1e-8)
    assert not saddle.connects_ends


def degenerate(name: str) -> FunctionLandscape:
    def f(X: Any) -> Any:
        x, y = X.T
        double, slope = -(x**2) + x**4, -2 * x + 4 * x**3
        if name == "monkey":
            r2 = x**2 + y**2
            gradient = np.stack([3 * x**2 - 3 * y**2, -6 * x * y], axis=1) + 4 * X * r2[:, None]
            return x**3 - 3 * x * y**2 + r2**2, gradient
        if name == "cusp":
            return double + y**3 + y**4, np.stack([slope, 3 * y**2 + 4 * y**3], axis=1)
        return double, np.stack([slope, 0 * y], axis=1)

    return FunctionLandscape(f, size=2, batched=True)


@pytest.mark.parametrize(("name", "reason"), [("monkey", "degenerate"), ("cusp", "degenerate"), ("flat", "zero_modes")])
def test_degenerate_points_are_refused(name: str, reason: str) -> None:
    saddle = refine_saddle(degenerate(name), np.array([0.1, 0.3]))
    assert not saddle.converged
    assert reason in saddle.reason


@pytest.mark.parametrize("raises", [False, True])
def test_a_wall_beside_the_saddle_ends_a_descent(raises: bool) -> None:
    def f(r: Any) -> Any:
        if r[0] > 0.003:
            if raises:
                raise RuntimeError("outside")
            return np.nan, np.full(2, np.nan)
        return (r[0] ** 2 - 1) ** 2 + r[1] ** 2, np.array([4 * r[0] * (r[0] ** 2 - 1), 2 * r[1]])

    saddle = refine_saddle(FunctionLandscape(f, size=2), np.array([-0.2, 0.1]), direction=np.array([1.0, 0.0]))
    assert not saddle.converged
    assert "descent" in saddle.reason
    assert saddle.value == pytest.approx(1, abs=1e-8)
    assert saddle.evaluations.gradients < 1000


@pytest.mark.parametrize(("energy", "length"), [(1e-12, 1.0), (1e12, 1.0), (1.0, 1e-9), (1.0, 1e9)])
def test_any_unit(energy: float, length: float) -> None:
    inner = MullerBrown()

    class Scaled(LandscapeDefaults):
        size = 2

        def values_and_gradients(self, points: Any) -> Any:
            values, gradients = inner.values_and_gradients(points / length)
            return energy * values, energy / length * gradients

    a, _, b = inner.minima * length
    saddle = refine_saddle(Scaled(), find_path(Scaled(), a, b, solver="auto"))
    assert saddle.converged, saddle.reason
    assert saddle.connects_ends
    assert saddle.value / energy == pytest.approx(-40.66484351, abs=1e-6)


def test_evaluations_are_exact_and_a_saddle_is_taken_as_a_start() -> None:
    land = MullerBrown()
    counted = FunctionLandscape(land.values_and_gradients, size=2, batched=True)
    saddle = refine_saddle(counted, land.saddles[0])
    assert saddle.converged, saddle.reason
    assert saddle.evaluations == counted.evaluations
    again = refine_saddle(land, land.saddles[0])
    assert np.array_equal(again.minima, saddle.minima)
    for wrong in (np.ones(3), np.zeros(2), np.array([np.nan, 1])):
        with pytest.raises(ValueError, match="direction has shape"):
            refine_saddle(land, land.saddles[0], wrong)
    for residual in (0.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="expected a positive, finite number"):
            refine_saddle(land, land.saddles[0], residual=residual)


def test_a_verification_that_failed_is_saved_as_well(tmp_path: Path) -> None:
    found = refine_saddle(wells([1, 2]), np.array([0.3, 0.4]))
    found.save(tmp_path / "s.npz")
    again = load_saddle(tmp_path / "s.npz")
    assert (again.converged, again.reason) == (False, found.reason)
    assert np.isnan(again.minima).all()


def test_a_flat_landscape_is_called_flat() -> None:
    found = refine_saddle(lambda x: (1.0, np.zeros_like(x)), np.zeros(100))
    assert not found.converged
    assert "the landscape is flat there" in found.reason


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("soft", [(-3e-4, np.geomspace(1, 1e3, 118)), (-0.05, np.r_[1, np.geomspace(1e2, 1e5, 117)])])
def test_a_soft_negative_mode_is_not_missed(soft: Any, seed: int) -> None:
    """f = Σ c y²/2 + y⁴/4, y = Q x, near 0, where two curvatures are negative: it is left, or called what it is."""
    c = np.r_[-1, soft[0], soft[1]]
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((c.size, c.size)))[0]

    def f(X: Any) -> Any:
        y = X @ Q.T
        return (0.5 * c * y**2 + 0.25 * y**4).sum(axis=1), (c * y + y**3) @ Q

    start = 1e-9 * rng.standard_normal(c.size)
    saddle = refine_saddle(FunctionLandscape(f, size=c.size, batched=True), start, direction=Q[0])
    exact = np.sort(c + 3 * (Q @ saddle.point) ** 2)
    if not saddle.converged:  # which of the two depends on rounding
        assert (exact < 0).sum() == 2
        assert "2 eigenvalues negative" in saddle.reason
        return
    assert (exact < 0).sum() == 1
    assert saddle.eigenvalues[0] == pytest.approx(exact[0], rel=0.01)
    assert all(0.9 * exact[1] < value < 2 * exact[1] for value in saddle.eigenvalues[1:2])  # where it is known


@pytest.mark.parametrize(("size", "seed"), [(80, 0), (80, 2), (200, 1)])
def test_vectors_that_are_nearly_dependent_do_not_magnify_the_noise(size: int, seed: int) -> None:
    """A molecule's curvatures, some soft and some stiff, and forces that repeat to 2e-5 only."""
    rng, noise = np.random.default_rng(seed), np.random.default_rng(seed + 1)
    Q = np.linalg.qr(rng.standard_normal((size, size)))[0]
    c = np.r_[-0.15, np.geomspace(0.1, 80, size - 1)]

    def f(X: Any) -> Any:
        y = X @ Q.T
        slope = c * y + np.pad(0.2 * y[:, :1] ** 3, [(0, 0), (0, size - 1)])
        return (0.5 * c * y**2).sum(axis=1) + 0.05 * y[:, 0] ** 4, slope @ Q + 2e-5 * noise.standard_normal(X.shape)

    start = Q.T @ np.r_[0.05, 0.02 * rng.standard_normal(size - 1)]
    land = FunctionLandscape(f, size=size, batched=True)
    saddle = refine_saddle(land, start, direction=Q[0], residual=0.01)
    assert saddle.converged, saddle.reason
    assert saddle.eigenvalues[0] == pytest.approx(-0.15, rel=0.1)


def test_two_bends_of_a_line_of_atoms_are_two() -> None:
    """LJ3 on a line, bent by as little as an optimiser leaves: the turn about the line is the other bend."""
    land = LennardJones(3)

    def line(r: float, aside: float = 0.0) -> np.ndarray:
        return np.array([-r, 0, 0, 0, aside, 0, r, 0, 0])

    r = minimize(lambda r: land.values(line(r[0])[None])[0], [1.12], tol=1e-14).x[0]
    for aside in (0.0, 1e-6):
        saddle = refine_saddle(land, line(r, aside))
        assert (saddle.converged, saddle.zero_modes) == (False, 5)
        assert saddle.eigenvalues[0] < 0
        assert saddle.eigenvalues[1] == pytest.approx(saddle.eigenvalues[0], rel=1e-3)


@pytest.mark.parametrize("size", [3, 70])
def test_zero_modes_that_are_none_are_refused(size: int) -> None:
    c = np.r_[1.0, -1.0, -0.5, np.ones(size - 3)]

    def f(X: Any) -> Any:
        return (0.5 * c * X**2 + 0.25 * X**4).sum(axis=1), c * X + X**3

    third = np.eye(size)[2:3]
    land = FunctionLandscape(f, size=size, batched=True, zero_modes=lambda x: third)
    saddle = refine_saddle(land, np.r_[0.01, 0.01, np.zeros(size - 2)], np.eye(size)[1])
    assert saddle.zero_modes == 1
    assert not saddle.converged
    assert "|H z| is 0.5" in saddle.reason


def test_a_steep_start_does_not_make_every_slope_small() -> None:
    """LJ22 with atoms pushed into each other: where it is verified Newton's step, of the dense Hessian, is none."""
    land = LennardJones(22)
    grid = 1.12 * np.array(np.meshgrid(*[np.arange(3.0)] * 3)).reshape(3, -1).T[:22].ravel()
    verified = 0
    for seed in range(3):  # which of them end at a saddle may depend on the last bits
        start = grid + 0.25 * np.random.default_rng(seed).standard_normal(grid.size)
        saddle = refine_saddle(land, start)
        verified += saddle.converged
        x, h = saddle.point, 1e-5 * np.eye(start.size)
        hessian = (land.values_and_gradients(x + h)[1] - land.values_and_gradients(x - h)[1]) / 2e-5
        step = np.linalg.lstsq(hessian, land.values_and_gradients(x[None])[1][0], rcond=1e-6)[0]
        assert not saddle.converged or (np.abs(step).max() < 1e-4 and saddle.residual < 1e-4)
    assert verified


def test_a_start_beside_a_narrow_saddle_is_not_taken_for_it() -> None:
    inner, unit = MullerBrown(), 1e-3

    def f(X: Any) -> Any:
        values, gradients = inner.values_and_gradients(X / unit)
        return values, gradients / unit

    land = FunctionLandscape(f, size=2, batched=True)
    saddle = refine_saddle(land, unit * (inner.saddles[0] + 0.01))
    assert saddle.point / unit == pytest.approx(inner.saddles[0], abs=1e-5)


class Named(LandscapeDefaults):
    """A saddle of three coordinates with the given zero modes."""

    size = 3

    def __init__(self, modes: Any) -> None:
        self.modes = modes

    def values_and_gradients(self, points: Any) -> Any:
        c = np.array([1.0, -1.0, 2.0])
        return (0.5 * c * points**2 + 0.25 * points**4).sum(axis=1), c * points + points**3

    def zero_modes(self, point: Any) -> Any:
        return self.modes() if callable(self.modes) else self.modes


@pytest.mark.parametrize("measure", [refine_saddle, curvature])
@pytest.mark.parametrize(
    ("modes", "message"),
    [
        (lambda: 1 // 0, "zero_modes raised ZeroDivisionError at"),
        (np.full((1, 3), np.nan), r"shape \(1, 3\), with values that are not finite; expected finite directions"),
        (np.ones((2, 6)), r"shape \(2, 6\); expected finite directions \(Z, 3\)"),
        (np.ones((2, 5)), r"shape \(2, 5\); expected"),
        (np.eye(3), "all 3 directions at .* are zero modes"),
    ],
)
def test_zero_modes_that_cannot_be_are_named(modes: Any, message: str, measure: Any) -> None:
    with pytest.raises(LandscapeError, match=message):
        measure(Named(modes), np.array([0.1, 0.1, 0.1]))


def test_no_zero_modes_are_an_empty_list_too() -> None:
    assert refine_saddle(Named([]), np.array([0.1, 0.1, 0.1])).converged


OCTAHEDRON = 0.79 * np.concatenate([np.eye(3), -np.eye(3)]).ravel()
#: A trigonal bipyramid with a cap on one face.
CAPPED = np.array([[0.56, 0, 0], [-0.28, 0.49, 0], [-0.28, -0.49, 0], [0, 0, 0.9], [0, 0, -0.9], [0.75, 0.75, 0.8]])


@pytest.fixture(scope="module")
def lj6() -> tuple[np.ndarray, np.ndarray, Any]:
    """The two minima of LJ6, and a crude path between them."""
    land = LennardJones(6)

    def relaxed(x: np.ndarray) -> np.ndarray:
        def f(x: np.ndarray) -> Any:
            values, gradients = land.values_and_gradients(x[None])
            return values[0], gradients[0]

        point: np.ndarray = minimize(f, x, jac=True, method="BFGS", options={"gtol": 1e-8}).x
        return point

    start, end = relaxed(OCTAHEDRON), relaxed(CAPPED.ravel())
    end = align_atoms(start, end)
    return start, end, find_path(land, start, end, solver="lbfgs-gss", n_points=12, n_terms=10, budget=300)


class Noisy(LandscapeDefaults):
    """LJ6 whose numbers are disturbed, and which counts its points."""

    size = 18

    def __init__(self, disturb: Any = lambda numbers: numbers, positions: Any = np.asarray) -> None:
        self.disturb, self.positions, self.inner, self.points = disturb, positions, LennardJones(6), 0

    def values_and_gradients(self, points: Any) -> Any:
        self.points += len(points)
        values, gradients = self.inner.values_and_gradients(self.positions(points))
        return self.disturb(values), self.disturb(gradients)

    def zero_modes(self, point: Any) -> np.ndarray:
        return self.inner.zero_modes(point)


def rounded(numbers: Any) -> Any:
    return numbers.astype(np.float32).astype(np.float64)


def random(sigma: float) -> Any:
    rng = np.random.default_rng(3)
    return lambda numbers: numbers + sigma * rng.standard_normal(numbers.shape)


@pytest.mark.parametrize(
    ("land", "noise"),
    [
        (Noisy(), 1e-14),
        (Noisy(rounded), 1e-8),
        (Noisy(positions=rounded), 3e-6),
        (Noisy(rounded, rounded), 3e-6),
        (Noisy(random(1e-8)), 1e-8),
        (Noisy(random(1e-6)), 1e-6),
        (Noisy(random(1e-5)), 1e-5),
        (Noisy(random(1e-4)), 1e-4),
        (Noisy(random(1e-3)), 1e-3),
    ],
)
def test_steps_and_tolerances_follow_the_noise(lj6: Any, land: Noisy, noise: float) -> None:
    """LJ6 in single precision, and with random errors of the forces: the saddle −12.079031 with its eigenvalues."""
    saddle = refine_saddle(land, lj6[2])
    assert saddle.converged, saddle.reason
    assert saddle.connects_ends
    assert saddle.zero_modes == 6
    assert saddle.evaluations.gradients == land.points < 400
    assert saddle.value == pytest.approx(-12.079031275, abs=1e-6 + 3 * noise)
    assert saddle.eigenvalues[:2] == pytest.approx([-10.021254, 38.070161], rel=1e-6 + 9 * noise ** (2 / 3))
    assert saddle.minima_values == pytest.approx([-12.712062257, -12.302927530], abs=1e-6 + 3 * noise)
    assert saddle.residual <= saddle.tolerance
    assert noise / 30 < saddle.noise < 10 * noise
    assert ("within the noise" in saddle.reason) == (noise > 5e-7)


class Restarted(Noisy):
    """Errors that stay as they are where the next point is near, as those of a self-consistent cycle that restarts."""

    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.sigma, self.rng, self.error, self.last = sigma, np.random.default_rng(0), np.zeros(18), np.full(18, np.inf)

    def values_and_gradients(self, points: Any) -> Any:
        values, gradients = super().values_and_gradients(points)
        for point, gradient in zip(points, gradients, strict=True):
            new = min(1.0, float(np.linalg.norm(point - self.last)) / 5e-3)
            self.error = (1 - new) * self.error + new * self.sigma * self.rng.standard_normal(18)
            gradient += self.error
            self.last = point
        return values, gradients


@pytest.mark.parametrize("sigma", [1e-6, 3e-5, 1e-3])
def test_errors_that_outlast_a_point(lj6: Any, sigma: float) -> None:
    saddle = refine_saddle(Restarted(sigma), lj6[2])
    assert saddle.converged, saddle.reason
    assert saddle.connects_ends
    assert saddle.value == pytest.approx(-12.079031275, abs=1e-8 + 3 * sigma)
    assert saddle.eigenvalues[:2] == pytest.approx([-10.021254, 38.070161], rel=6 * sigma ** (2 / 3))
    assert sigma / 10 < saddle.noise < 10 * sigma


@pytest.mark.parametrize("sigma", [0.0, 1e-5, 1e-3])
def test_noise_does_not_hide_a_false_zero_mode(lj6: Any, sigma: float) -> None:
    class Mistaken(Noisy):
        def zero_modes(self, point: Any) -> np.ndarray:
            return np.concatenate([self.inner.zero_modes(point), np.arange(18.0)[None] % 3.7])

    saddle = refine_saddle(Mistaken(random(sigma)), lj6[2])
    assert not saddle.converged
    assert "a zero mode of the landscape is invalid" in saddle.reason


def test_a_residual_below_the_noise_is_refused_with_the_reason(lj6: Any) -> None:
    saddle = refine_saddle(Noisy(random(1e-5)), lj6[2], residual=1e-9)
    assert not saddle.converged
    assert "expected 1e-09, below the noise of the gradient" in saddle.reason
    assert saddle.value == pytest.approx(-12.07903, abs=1e-4)


def double_well(r: Any) -> Any:
    return (r[0] ** 2 - 1) ** 2 + r[1] ** 2, np.array([4 * r[0] * (r[0] ** 2 - 1), 2 * r[1]])


@pytest.mark.parametrize("potential", ["double well", Fig3, MullerBrown, Camelback, Leps, LepsOscillator, "LJ6"])
def test_minima_of_a_converged_saddle_are_minima(potential: Any, lj6: Any) -> None:
    """No negative eigenvalue of the dense Hessian, and a value below the saddle's; or it is not converged."""
    land: Any
    if potential == "LJ6":
        land, path = LennardJones(6), lj6[2]
    elif potential == "double well":
        land = FunctionLandscape(double_well, size=2)
        path = find_path(land, np.array([-1.0, 0]), np.array([1.0, 0]), method="linear", n_points=9)
    else:
        land = potential()
        path = find_path(land, *land.minima[:2], solver="auto", n_points=15, budget=300)
    h = 1e-5 * np.eye(land.size)
    for residual in (1e-8, 1e-5, 1e-3, 0.05, 0.1, 0.3):
        saddle = refine_saddle(land, path, residual=residual)
        assert saddle.converged, saddle.reason
        for point, value in zip(saddle.minima, saddle.minima_values, strict=True):
            zero = land.zero_modes(point)
            keep = np.linalg.svd(np.concatenate([zero, np.zeros((1, land.size))]))[2][len(zero) :]
            ahead, behind = (land.values_and_gradients(point + sign * h)[1] for sign in (1, -1))
            assert np.linalg.eigvalsh(keep @ (ahead - behind) @ keep.T / 2e-5)[0] > -1e-6
            assert value == pytest.approx(land.values(point[None])[0])
            assert saddle.value - value > residual * 1e-3
        if potential in ("double well", "LJ6"):
            assert saddle.connects_ends


def test_distances_without_zero_modes_are_those_of_a_superposition() -> None:
    """Against SciPy's Kabsch, half turns included; nothing but the zero modes is taken out."""
    rng = np.random.default_rng(0)
    for n, turn in itertools.product((2, 3, 8), (0, 1, 3, 5)):
        land = LennardJones(n)
        a = rng.standard_normal((n, 3))
        rotation = Rotation.random(random_state=turn) if turn < 3 else Rotation.from_rotvec(np.pi * np.eye(3)[turn - 3])
        b = rotation.apply(a + 0.1 * rng.standard_normal((n, 3))) + 5
        found = distance_without_zero_modes(land, a.ravel(), b.ravel(), land.zero_modes)
        if n > 2:
            best = Rotation.align_vectors(a - a.mean(0), b - b.mean(0))[1]
            assert found == pytest.approx(best, rel=1e-3)
        assert distance_without_zero_modes(land, a.ravel(), rotation.apply(a).ravel(), land.zero_modes) < 1e-6
        if n > 3:
            mirrored = (a * [1, 1, -1]).ravel()
            assert distance_without_zero_modes(land, a.ravel(), mirrored, land.zero_modes) > 0.1
    plain = FunctionLandscape(double_well, size=2)
    assert distance_without_zero_modes(plain, np.zeros(2), np.ones(2), plain.zero_modes) == pytest.approx(2**0.5)


@pytest.mark.parametrize("angle", [0.5, 2.0, np.pi])
def test_distances_without_other_zero_modes(angle: float) -> None:
    """Rotations about one frozen atom, at the origin; about an axis; and translations along one direction."""
    rng = np.random.default_rng(1)
    a = rng.standard_normal((5, 3))
    land = FunctionLandscape(lambda x: (0.0, 0 * x), size=15)

    def turns(axes: Any) -> Any:
        def modes(x: np.ndarray) -> np.ndarray:
            rows = np.array([np.cross(axis, x.reshape(-1, 3)).ravel() for axis in axes])
            return np.linalg.svd(rows, full_matrices=False)[2]

        return modes

    axis = rng.standard_normal(3)
    axis /= np.linalg.norm(axis)
    turned = Rotation.from_rotvec(angle * axis).apply(a)
    bent = turned + 0.01 * rng.standard_normal((5, 3))
    for zero in (turns(np.eye(3)), turns([axis])):
        assert distance_without_zero_modes(land, a.ravel(), turned.ravel(), zero) < 1e-3 * np.linalg.norm(turned - a)
    apart = distance_without_zero_modes(land, a.ravel(), bent.ravel(), turns(np.eye(3)))
    assert apart == pytest.approx(Rotation.align_vectors(a, bent)[1], rel=0.01)
    row = np.tile(np.eye(3)[2], 5)[None] / 5**0.5
    for aside in (0.0, 1.0):
        moved = (a + np.array([aside, 0, 7])).ravel()
        found = distance_without_zero_modes(land, a.ravel(), moved, lambda x: row)
        assert found == pytest.approx(5**0.5 * aside, abs=1e-12)


def test_endpoints_are_reached_whatever_the_rotation(lj6: Any) -> None:
    start, end, _ = lj6
    land = LennardJones(6)
    turned = Rotation.from_rotvec([0.5, -0.3, 0.4]).apply(end.reshape(-1, 3)).ravel() + 3
    path = find_path(land, start, turned, solver="lbfgs-gss", n_points=12, n_terms=10, budget=300)
    saddle = refine_saddle(land, path)
    assert saddle.converged, saddle.reason
    assert saddle.value == pytest.approx(-12.079031275, abs=1e-8)
    assert saddle.connects_ends


@pytest.mark.parametrize("angle", [1e-3, 0.7])
def test_one_rotated_configuration_is_no_pair_of_endpoints(lj6: Any, angle: float) -> None:
    """A flat path ends the search before it begins; the straight line of a wide turn rises, and then falls back."""
    start, land = lj6[0], LennardJones(6)
    counted = FunctionLandscape(land.values_and_gradients, size=18, batched=True, zero_modes=land.zero_modes)
    turned = Rotation.from_rotvec([angle, 0, 0]).apply(start.reshape(-1, 3)).ravel()
    saddle = refine_saddle(counted, find_path(land, start, turned, method="linear"))
    assert not saddle.converged
    assert "the same configuration" in saddle.reason
    assert angle > 0.1 or "match identical atoms" not in saddle.reason
    assert saddle.evaluations == counted.evaluations
    assert counted.evaluations.gradients < (20 if angle < 0.1 else 3000)


def test_colliding_atoms_end_the_search_at_once() -> None:
    """Two atoms of LJ4 exchanged, and all turned a little: on the straight line they nearly meet."""
    side = 2 ** (1 / 6) / np.sqrt(8)
    start = side * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1.0]])
    end = Rotation.from_rotvec([0.02, 0.01, 0.03]).apply(start[[1, 0, 2, 3]])
    path = find_path(LennardJones(4), start.ravel(), end.ravel(), method="linear", n_points=51)
    assert path.maximum > 1e10
    saddle = refine_saddle(LennardJones(4), path)
    assert not saddle.converged
    assert "match identical atoms" in saddle.reason
    assert saddle.evaluations.gradients < 50


@pytest.mark.parametrize("sign", [1, -1])
def test_minima_are_in_the_order_of_the_ends(sign: int) -> None:
    land = Fig3()
    path = find_path(land, *land.minima[:2], solver="auto", n_points=15)
    t = path.maximum_t
    tangent = np.subtract(*path.points([t + 1e-3, t - 1e-3]))
    for direction in (None, sign * tangent, (sign * tangent).tolist(), (sign * tangent).astype(np.float32)):
        saddle = refine_saddle(land, path, direction)
        assert saddle.connects_ends
        assert saddle.minima == pytest.approx(land.minima[:2], abs=1e-4)
        assert saddle.mode @ (land.minima[1] - land.minima[0]) > 0
    point = refine_saddle(land, land.saddles[0], sign * tangent)
    assert point.minima[::sign] == pytest.approx(land.minima[:2], abs=1e-4)


@pytest.mark.parametrize(
    ("inner", "energy", "length"),
    [
        (MullerBrown(), 1e-20, 1.0),
        (MullerBrown(), 1e20, 1.0),
        (MullerBrown(), 1.0, 1e-10),
        (MullerBrown(), 1.0, 1e10),
        (Leps(), 1e-20, 1e10),
        (LennardJones(4), 1e20, 1e-10),
    ],
)
def test_units_do_not_matter(inner: Any, energy: float, length: float) -> None:
    """From a point and from a path: the same steps, as many evaluations, the same reasons."""

    class Scaled(LandscapeDefaults):
        size = inner.size

        def __init__(self, energy: float, length: float) -> None:
            self.energy, self.length = energy, length

        def values_and_gradients(self, points: Any) -> Any:
            values, gradients = inner.values_and_gradients(points / self.length)
            return self.energy * values, self.energy / self.length * gradients

        def zero_modes(self, point: Any) -> np.ndarray:
            return inner.zero_modes(point / self.length)

    if inner.size == 2:
        start, end, near = inner.minima[0], inner.minima[1], inner.saddles[0] + 0.03
    else:
        side = 2 ** (1 / 6) / np.sqrt(8)
        start = side * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1.0]])
        start, end = start.ravel(), (start * [-1, 1, 1]).ravel()
        rhombus = 1.12 * np.array([[0.5, 0, 0], [-0.5, 0, 0], [0, 0.75**0.5, 0], [0, -(0.75**0.5), 0]])
        near = rhombus.ravel() + 0.02 * np.random.default_rng(0).standard_normal(12)
    for from_path in (True, False):
        found = []
        for e, ell in ((1.0, 1.0), (energy, length)):
            land = Scaled(e, ell)
            path = find_path(land, start * ell, end * ell, method="linear", n_points=11)
            saddle = refine_saddle(land, path if from_path else near * ell)
            found.append(
                (saddle.converged, saddle.value / e, saddle.residual * ell / e, saddle.eigenvalues * ell**2 / e)
            )
            assert saddle.step < ell
        assert from_path or found[0][0]
        if found[0][0]:  # what wanders instead depends on the last bits
            assert found[1][0]
            assert found[1][1] == pytest.approx(found[0][1], rel=1e-6)
            assert found[1][3][:1] == pytest.approx(found[0][3][:1], rel=1e-4)


def test_a_file_of_an_earlier_version_has_no_noise(tmp_path: Path) -> None:
    land = MullerBrown()
    saddle = refine_saddle(land, land.saddles[0], residual=np.float32(1e-3))
    saddle.save(tmp_path / "s.npz")
    again = load_saddle(tmp_path / "s.npz")
    for name, value in vars(saddle).items():
        assert np.array_equal(getattr(again, name), value), name
    with np.load(tmp_path / "s.npz") as file:
        arrays = dict(file)
    (metadata,) = [name for name, array in arrays.items() if array.dtype.kind in "USu" or array.ndim == 0]
    document = (
        json.loads(str(arrays[metadata])) if arrays[metadata].dtype.kind == "U" else json.loads(bytes(arrays[metadata]))
    )
    for name in ("tolerance", "noise", "step"):
        del document[name]
    arrays[metadata] = (
        np.array(json.dumps(document))
        if arrays[metadata].dtype.kind == "U"
        else np.frombuffer(json.dumps(document).encode(), np.uint8)
    )
    np.savez(tmp_path / "old.npz", **arrays)
    old = load_saddle(tmp_path / "old.npz")
    assert np.isnan([old.tolerance, old.noise, old.step]).all()
    assert old.value == saddle.value
    assert repr(saddle) == "Saddle(D=2, value=-40.6648, one negative eigenvalue, verified)"


def test_results_are_repeated_and_inputs_stay() -> None:
    land = LennardJones(4)
    x = np.random.default_rng(1).standard_normal(12)
    x.setflags(write=False)
    direction = np.ones(12, dtype=np.float32)
    direction.setflags(write=False)
    one = refine_saddle(land, x, direction)
    other = refine_saddle(land, x.tolist(), direction.tolist())
    assert np.array_equal(one.point, other.point)
    assert np.array_equal(one.minima, other.minima, equal_nan=True)
    assert one.evaluations == other.evaluations


def test_what_a_split_omits_is_reported() -> None:
    """A valley that goes down for ever beside the path."""

    def f(r: Any) -> Any:
        return -np.cos(r[0]) + 0.1 * r[1], np.array([np.sin(r[0]), 0.1])

    land = FunctionLandscape(f, size=2)
    path = find_path(land, np.array([0.0, 0.0]), np.array([4 * np.pi, 0.0]), method="linear", n_points=41)
    with pytest.warns(UserWarning, match="1 low point of the path led to no minimum: .* the valley continues"):
        chain = split_at_minima(land, path)
    assert len(chain) == 2
    for least in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="least is"):
            split_at_minima(land, path, least=least)


def test_a_wall_is_named_as_why_a_descent_ended() -> None:
    def f(r: Any) -> Any:
        value, gradient = double_well(r)
        return (np.nan if r[0] > 0.4 else value), gradient

    saddle = refine_saddle(FunctionLandscape(f, size=2), np.array([0.1, 0.1]))
    assert not saddle.converged
    assert "next to a wall" in saddle.reason


def test_a_gradient_that_jumps_is_no_missed_mode() -> None:
    """Jumps of 1e-6 at places 1e-4 apart, as of a cutoff, beside curvatures of 1 to 50."""
    c = np.r_[-1, np.linspace(1, 50, 79)]

    def f(X: Any) -> Any:
        jumps = 1e-6 * np.sign(np.sin(3e4 * X))
        return (0.5 * c * X**2).sum(axis=1) + 0.25 * X[:, 0] ** 4, c * X + jumps + np.eye(80)[0] * X**3

    land = FunctionLandscape(f, size=80, batched=True)
    saddle = refine_saddle(land, 0.01 * np.random.default_rng(0).standard_normal(80), np.eye(80)[0])
    assert saddle.converged, saddle.reason
    assert saddle.minima_values == pytest.approx([-0.25, -0.25], abs=1e-5)
    assert saddle.evaluations.gradients < 5000


@pytest.mark.parametrize("energy", [1e-290, 1e-200, 1e200, 1e290])
def test_values_whose_squares_are_no_numbers(energy: float) -> None:
    inner = MullerBrown()

    def f(X: Any) -> Any:
        values, gradients = inner.values_and_gradients(X)
        return energy * values, energy * gradients

    land = FunctionLandscape(f, size=2, batched=True)
    saddle = refine_saddle(land, inner.saddles[0] + 0.01)
    assert saddle.converged, saddle.reason
    assert saddle.value / energy == pytest.approx(-40.66484351, abs=1e-7)
    assert saddle.minima_values / energy == pytest.approx([-80.767818, -146.699517], abs=1e-5)
    assert saddle.eigenvalues / energy == pytest.approx(refine_saddle(inner, inner.saddles[0]).eigenvalues, rel=1e-5)
    assert saddle.evaluations == land.evaluations


@pytest.mark.parametrize("factor", [0.5, 0.9, 1.1, 2.0])
def test_a_gradient_of_another_length_is_not_that_of_the_values(factor: float) -> None:
    inner = MullerBrown()
    land = FunctionLandscape(
        inner.values, size=2, batched=True, gradient=lambda X: factor * inner.values_and_gradients(X)[1]
    )
    saddle = refine_saddle(land, inner.saddles[0] + 0.01)
    assert not saddle.converged
    assert "the gradient is not that of the values" in saddle.reason


def test_one_coordinate() -> None:
    land = FunctionLandscape(lambda x: ((x[0] ** 2 - 1) ** 2, 4 * x * (x**2 - 1)), size=1)
    for start in ([0.1], find_path(land, np.array([-1.0]), np.array([1.0]), method="linear", n_points=8)):
        saddle = refine_saddle(land, start)
        assert saddle.converged, saddle.reason
        assert saddle.value == pytest.approx(1)
        assert np.abs(saddle.minima) == pytest.approx(np.ones((2, 1)), abs=1e-5)


def test_arguments_that_are_no_numbers_are_named() -> None:
    land = MullerBrown()
    for residual in ("1e-3", True, [1e-3]):
        with pytest.raises(TypeError, match=r"residual is .*; expected a positive, finite number"):
            refine_saddle(land, land.saddles[0], residual=residual)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="the direction is str"):
        refine_saddle(land, land.saddles[0], "x")


def test_a_large_residual_leaves_the_ends_recognised_with_many_coordinates() -> None:
    """80 coordinates, soft ones among them: descents end at minima, beside them by what the residual explains."""
    c, bend = np.geomspace(0.3, 50, 79), 0.1 * np.random.default_rng(0).standard_normal(79)

    def f(X: Any) -> Any:
        x, rest = X[:, 0], X[:, 1:] - bend * X[:, :1] ** 2
        by_x = x**3 - x - 2 * x * (c * bend * rest).sum(axis=1)
        value = 0.25 * x**4 - 0.5 * x**2 + 0.5 * (c * rest**2).sum(axis=1)
        return value, np.concatenate([by_x[:, None], c * rest], axis=1)

    land = FunctionLandscape(f, size=80, batched=True)
    start, end = np.r_[-1, bend], np.r_[1, bend]
    path = find_path(land, start, end, method="linear", n_points=9)
    for residual in (1e-5, 1e-3, 0.02, 0.1):
        saddle = refine_saddle(land, path, residual=residual)
        assert saddle.converged, saddle.reason
        assert (saddle.minima_values < -0.2).all()
        assert saddle.connects_ends


def with_a_soft_mode(size: int, soft: float, seed: int) -> tuple[FunctionLandscape, np.ndarray]:
    """Two wells, a saddle of value 0 at the origin, curvatures from 1 to 30 and a soft one; and the modes (rows)."""
    modes = np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))[0]
    inner = wells(np.r_[-1, soft, np.geomspace(1, 30, size - 2)])

    def f(X: Any) -> Any:
        values, gradients = inner.values_and_gradients(X @ modes.T)
        return values, gradients @ modes

    return FunctionLandscape(f, size=size, batched=True), modes


@pytest.mark.parametrize("seed", [100, 101, 102])
@pytest.mark.parametrize("size", [10, 40, 100])
def test_a_soft_mode_leaves_an_error_of_the_value_that_is_said(size: int, seed: int) -> None:
    """A small gradient along a mode of a thousandth of the others' curvature leaves the value far off."""
    land, modes = with_a_soft_mode(size, 1e-3, seed)
    start = modes[1] * 3 + 0.02 * np.random.default_rng(seed).standard_normal(size)
    saddle = refine_saddle(land, start, modes[0], residual=4e-3)
    assert saddle.converged, saddle.reason
    assert saddle.value > 0.01 * 0.25
    assert saddle.value_error == pytest.approx(saddle.value, rel=0.5)
    (said,) = [line for line in saddle.summary().splitlines() if line.startswith("error")]
    part = saddle.value_error / (saddle.value - saddle.minima_values.max())
    assert f"{part:.0%} of the barrier" in said
    assert "a smaller residual reduces it" in said
    again = refine_saddle(land, saddle.point, modes[0], residual=1e-8)
    assert again.value_error < 1e-8
    assert again.value == pytest.approx(0, abs=1e-8)
    assert "of the barrier" not in again.summary()


def saddle_of_lj(n: int) -> tuple[Any, np.ndarray]:
    """A cluster of n atoms, and one of its saddles."""
    land, rng = LennardJones(n), np.random.default_rng(n)

    def f(x: np.ndarray) -> Any:
        values, gradients = land.values_and_gradients(x[None])
        return values[0], gradients[0]

    for _ in range(30):
        start = minimize(f, rng.uniform(-1, 1, 3 * n) * n ** (1 / 3) / 1.5, jac=True, method="L-BFGS-B").x
        saddle = refine_saddle(land, start + 0.1 * rng.standard_normal(3 * n), residual=1e-3)
        if saddle.converged:
            return land, saddle.point
    raise AssertionError("no saddle")


def mueller_brown() -> tuple[Any, np.ndarray]:
    return MullerBrown(), MullerBrown().saddles[0]


def soft_mode() -> tuple[Any, np.ndarray]:
    return with_a_soft_mode(60, 1e-3, 103)[0], np.zeros(60)


@pytest.mark.parametrize("residual", [1e-4, 1e-2])
@pytest.mark.parametrize("made", [mueller_brown, soft_mode, *(lambda n=n: saddle_of_lj(n) for n in (6, 8))])
def test_the_error_of_a_value_is_that_of_a_finer_search(made: Any, residual: float) -> None:
    """Every start is left with another gradient below the threshold; the value is off by about what is said."""
    land, point = made()
    for seed in range(2):
        aside = np.random.default_rng(seed).standard_normal(point.size)
        loose = refine_saddle(land, point + 0.01 * aside / np.linalg.norm(aside), residual=residual)
        fine = refine_saddle(land, loose.point, loose.mode, residual=1e-10, verify=False)
        assert loose.residual <= residual
        assert loose.eigenvalues[0] < 0
        assert fine.residual <= 1e-10
        assert np.linalg.norm(fine.point - loose.point) < 0.2
        rounding = 1e-13 * abs(fine.value) + 1e-14
        assert abs(loose.value - fine.value) <= 2 * loose.value_error + rounding
        assert loose.value_error < 100 * residual
