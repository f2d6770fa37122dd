"""Test systems: gradients, stationary points and their published values, and the barriers that paths find on them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize, rosen, rosen_der, rosen_hess

from minilandscape.landscape import check_gradient
from minilandscape.paths import find_path
from minilandscape.potentials import (
    AnaPot,
    Camelback,
    Fig3,
    LennardJones,
    Leps,
    LepsOscillator,
    MullerBrown,
    Rosenbrock,
    rigid_motions,
)

#: Values of the minima and of the saddles, where published or found by root search.
KNOWN: dict[Any, tuple[list[float], list[float]]] = {
    Fig3: ([0.108702, -0.000036], [0.624388, 0.637252]),
    MullerBrown: ([-146.699517, -108.166724, -80.767818], [-40.664844, -72.248940]),
    AnaPot: ([-0.513409, 0.985554], [2.809105]),
    Camelback: ([-0.215464, -1.031628], [0.543719]),
    LepsOscillator: ([-4.509176, -2.620287], [-0.875225]),
}


def hessian(land: Any, x: np.ndarray, h: float = 1e-5) -> np.ndarray:
    steps = h * np.eye(x.size)
    differences = land.values_and_gradients(x + steps)[1] - land.values_and_gradients(x - steps)[1]
    return (differences + differences.T) / (4 * h)


@pytest.mark.parametrize(
    "land",
    [
        Fig3(),
        MullerBrown(),
        Camelback(),
        AnaPot(),
        Leps(),
        LepsOscillator(),
        LennardJones(5),
        Rosenbrock(2),
        Rosenbrock(7),
    ],
    ids=lambda land: f"{type(land).__name__}{land.size}",
)
def test_gradients_agree_with_differences_and_stacks_with_points(land: Any) -> None:
    points = np.random.default_rng(0).uniform(0.5, 1.6, (6, land.size))
    if isinstance(land, LennardJones):  # atoms apart
        grid = 1.1 * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]])
        points = grid.ravel() + 0.1 * (points - 1)
    assert check_gradient(land, points, tolerance=1e-7).passed
    values, gradients = land.values_and_gradients(points)
    for k in range(len(points)):
        value, gradient = land.values_and_gradients(points[k : k + 1])
        assert value[0] == pytest.approx(values[k], rel=1e-14)
        assert gradient[0] == pytest.approx(gradients[k], rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("potential", KNOWN)
def test_stationary_points(potential: Any) -> None:
    land = potential()
    minima, saddles = KNOWN[potential]
    for points, values, negative in ((land.minima, minima, 0), (land.saddles, saddles, 1)):
        found, gradients = land.values_and_gradients(points)
        assert found == pytest.approx(values, abs=1e-6)
        assert np.abs(gradients).max() < 1e-8
        assert [(np.linalg.eigvalsh(hessian(land, x)) < 0).sum() for x in points] == [negative] * len(points)


def test_the_quartics_stationary_points_solve_its_cubic() -> None:
    """As its docstring says, by NumPy's roots of a polynomial, to 12 digits."""
    land = AnaPot()
    x = np.sort(np.roots([4, -6, -6, 5]).real)
    named = np.concatenate([land.minima, land.saddles])
    assert named[named[:, 0].argsort()] == pytest.approx(np.stack([x, 1 + x / 2 + x**2 / 2], axis=1), rel=1e-12)


def test_leps_has_valleys_and_a_saddle() -> None:
    values, gradients = Leps().values_and_gradients(np.concatenate([Leps.minima, Leps.saddles]))
    assert values == pytest.approx([-4.52, -3.650769, -3.176913], abs=6e-3)
    assert np.abs(gradients[2]).max() < 1e-8
    assert np.abs(gradients[:2]).max() < 0.01
    far = Leps().values(np.array([[0.742, 300.0], [-400.0, 1.0]]))
    assert far[0] == pytest.approx(-4.52, rel=1e-6)
    assert not np.isnan(far).any()


def test_lennard_jones_clusters() -> None:
    side = 2 ** (1 / 6)
    tetrahedron = side / np.sqrt(8) * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    land = LennardJones(4)
    value, gradient = land.values_and_gradients(tetrahedron.reshape(1, -1))
    assert value[0] == pytest.approx(-6, rel=1e-12)
    assert np.abs(gradient).max() < 1e-10
    modes = land.zero_modes(tetrahedron.ravel())
    assert modes.shape == (6, 12)
    assert modes @ modes.T == pytest.approx(np.eye(6), abs=1e-12)
    assert np.abs(hessian(land, tetrahedron.ravel()) @ modes.T).max() < 1e-4
    for unit in (1e-10, 1.0, 1e10):
        atoms = unit * np.array([[0.0, 0, 0], [0, 0, 1], [0, 0, 2.5]])
        assert len(rigid_motions(atoms)) == 5
        assert len(rigid_motions(atoms + unit * np.array([[0, 0, 0], [0, 1e-6, 0], [0, 0, 0]]))) == 5
        assert len(rigid_motions(atoms + unit * np.array([[0, 0, 0], [0, 1e-2, 0], [0, 0, 0]]))) == 6
    assert len(rigid_motions(np.ones((1, 3)))) == 3
    assert LennardJones(2).values(np.zeros((1, 6)))[0] == np.inf
    with pytest.raises(ValueError, match="expected a stack"):
        land.values(np.zeros((1, 11)))


def test_rigid_motions_are_those_that_leave_distances_and_frozen_atoms_alone() -> None:
    """Against the null space of translations and rotations on the frozen atoms, over shapes, numbers and units."""
    rng = np.random.default_rng(0)
    for trial in range(150):
        n = int(rng.integers(1, 7))
        atoms = rng.standard_normal((n, 3)) if trial % 3 else np.outer(rng.standard_normal(n), rng.standard_normal(3))
        atoms = rng.choice([1e-8, 1.0, 1e8]) * (atoms + rng.standard_normal(3))
        frozen = rng.permutation(n)[: rng.integers(0, n)]
        away = (atoms - atoms.mean(axis=0)) / (np.abs(atoms - atoms.mean(axis=0)).max() or 1)
        all_six = np.array([np.tile(e, (n, 1)) for e in np.eye(3)] + [np.cross(e, away) for e in np.eye(3)])
        _, sizes, rows = np.linalg.svd(all_six[:, frozen].reshape(6, -1).T)
        still = rows[(sizes > 1e-6).sum() :]
        moves = still @ np.delete(all_six, frozen, axis=1).reshape(6, -1)
        count = np.linalg.matrix_rank(moves, tol=1e-6)
        modes = rigid_motions(atoms, frozen=frozen)
        assert np.array_equal(modes, rigid_motions(atoms, frozen=np.isin(np.arange(n), frozen)))
        assert modes @ modes.T == pytest.approx(np.eye(count), abs=1e-9)
        assert moves @ modes.T @ modes == pytest.approx(moves, abs=1e-6)


@pytest.mark.parametrize(
    ("positions", "options", "message"),
    [
        (np.ones(6), {}, r"shape \(6,\); expected \(n, 3\)"),
        (np.ones((2, 3)), {"frozen": np.ones(3, dtype=bool)}, r"mask of shape \(3,\); expected \(2,\)"),
        (np.ones((2, 3)), {"period": 5.0}, r"period is 5\.0; expected"),
        (np.ones((2, 3)), {"period": np.zeros(3)}, "that is not 0"),
    ],
)
def test_rigid_motions_of_other_shapes_are_refused(positions: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rigid_motions(positions, **options)


@pytest.mark.parametrize("solver", ["adam", "lbfgs-gss", "auto"])
@pytest.mark.parametrize("potential", [Fig3, MullerBrown, Camelback, AnaPot, Leps, LepsOscillator])
def test_maxflux_finds_the_barrier_with_default_settings(potential: Any, solver: str) -> None:
    """From minimum to minimum within 0.1 % of the barrier, and never below the saddle."""
    land = potential()
    path = find_path(land, land.minima[0], land.minima[1], solver=solver)
    saddle = land.values(land.saddles[:1])[0]
    barrier = saddle - land.values(land.minima[:2]).max()
    assert path.metadata["objective"] == "maxflux"
    assert path.converged or path.reason == "steps"  # how many steps it takes depends on the last bits
    assert -1e-6 * barrier <= path.maximum - saddle <= 1e-3 * barrier


def test_rosenbrock_has_a_second_minimum() -> None:
    """As its docstring says, with 5 coordinates; SciPy finds it and knows the Hessian."""
    found = minimize(rosen, [-1, 1, 1, 1, 1], jac=rosen_der, hess=rosen_hess, method="trust-exact")
    value, gradient = Rosenbrock(5).values_and_gradients(found.x[None])
    assert value[0] == pytest.approx(3.9308, abs=1e-4)
    assert np.abs(gradient).max() < 1e-3
    assert np.linalg.eigvalsh(rosen_hess(found.x))[0] > 0.5
