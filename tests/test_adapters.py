"""Adapters against the packages themselves, each where it is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize, rosen, rosen_der

import minilandscape as ml
from minilandscape.adapters import scipy as to_scipy
from minilandscape.potentials import LennardJones, MullerBrown, Rosenbrock, rigid_motions


def test_scipy_both_ways() -> None:
    found = minimize(to_scipy.objective(Rosenbrock(4)), np.full(4, 0.5), jac=True, method="L-BFGS-B")
    assert found.x == pytest.approx(np.ones(4), abs=1e-4)
    land = to_scipy.from_objective(lambda x, a: (a * rosen(x), a * rosen_der(x)), 3, (2.0,))
    values, gradients = land.values_and_gradients(np.array([[0.3, 0.2, -0.1]]))
    theirs = Rosenbrock(3).values_and_gradients(np.array([[0.3, 0.2, -0.1]]))
    assert values == pytest.approx(2 * theirs[0])
    assert gradients == pytest.approx(2 * theirs[1])


@pytest.mark.parametrize(
    "args", [2.0, (2.0,), np.array([2.0, 0.0]), (np.array([2.0, 0.0]),), [2.0, 0.0], {"a": 2.0}, ()]
)
def test_arguments_of_an_objective_are_scipys(args: Any) -> None:
    """What is no tuple is the one argument."""

    def fun(x: np.ndarray, a: Any = 2.0) -> tuple[float, np.ndarray]:
        factor = float(np.ravel(list(a.values()) if isinstance(a, dict) else a)[0])
        return factor * rosen(x), factor * rosen_der(x)

    x = np.array([0.3, 0.2, -0.1])
    values, _ = to_scipy.from_objective(fun, 3, args).values_and_gradients(x[None])
    assert values[0] == minimize(fun, x, args=args, jac=True, options={"maxiter": 0}).fun == 2 * rosen(x)
    apart = to_scipy.from_objective(lambda x, *a: fun(x, *a)[0], 3, args, jac=lambda x, *a: fun(x, *a)[1])
    assert apart.values_and_gradients(x[None])[1] == pytest.approx(2 * rosen_der(x)[None])
    with pytest.raises(ValueError, match="jac is '2-point'; expected True"):
        to_scipy.from_objective(fun, 3, args, jac="2-point")
    assert to_scipy.objective(Rosenbrock(3))(x.tolist())[0] == pytest.approx(rosen(x))  # type: ignore[arg-type]


def test_importing_the_package_imports_no_adapter() -> None:
    code = "import sys, minilandscape, minilandscape.paths; print('minilandscape.adapters' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


class TestAse:
    @pytest.fixture(autouse=True)
    def _installed(self) -> None:
        pytest.importorskip("ase")

    def test_a_cluster_is_our_lennard_jones(self) -> None:
        from ase import Atoms
        from ase.calculators.lj import LennardJones as AseLJ

        from minilandscape.adapters.ase import AseLandscape

        rng = np.random.default_rng(0)
        positions = 1.2 * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]]) + 0.05 * rng.standard_normal((4, 3))
        land = AseLandscape(Atoms("Ar4", positions), lambda: AseLJ(rc=1e3, smooth=False), workers=2)
        points = positions.ravel() + 0.02 * rng.standard_normal((5, 12))
        values, gradients = land.values_and_gradients(points)
        ours = LennardJones(4).values_and_gradients(points)
        assert values == pytest.approx(ours[0], rel=1e-6)
        assert gradients == pytest.approx(ours[1], rel=1e-6, abs=1e-8)
        assert land.zero_modes(points[0]).shape == (6, 12)
        assert land.vector(land.atoms(points[0])) == pytest.approx(points[0])
        turned = (points[0].reshape(4, 3) @ [[0, 1, 0], [-1, 0, 0], [0, 0, 1]] + 2.0)[[2, 0, 1, 3]].ravel()
        assert land.align(points[0], turned) == pytest.approx(points[0], abs=1e-6)

    def test_one_free_atom_has_no_curvature(self) -> None:
        from ase import Atoms
        from ase.calculators.lj import LennardJones as AseLJ

        from minilandscape.adapters.ase import AseLandscape

        land = AseLandscape(Atoms("Ar", [[0.0, 0, 0]]), AseLJ())
        for measure in (ml.curvature, ml.refine_saddle):
            with pytest.raises(ml.LandscapeError, match="all 3 directions"):
                measure(land, np.zeros(3))

    def test_what_is_frozen_stays_and_cells_are_respected(self, tmp_path: Path) -> None:
        from ase.build import fcc111
        from ase.calculators.emt import EMT
        from ase.constraints import FixAtoms, FixBondLength
        from ase.io import read
        from ase.mep import NEBTools

        from minilandscape.adapters.ase import AseLandscape

        slab = fcc111("Cu", (2, 2, 2), vacuum=5)
        slab.set_constraint(FixAtoms([0, 1, 2, 3]))
        land = AseLandscape(slab, EMT())
        assert land.size == 12
        x = land.vector(slab)
        assert ml.check_gradient(land, x + 0.05, tolerance=1e-5).passed
        assert len(land.zero_modes(x)) == 0
        jump = x + np.tile(slab.cell[0] * 0.9, 4)
        assert np.linalg.norm(land.displacement(x, jump)) == pytest.approx(2 * 0.1 * np.linalg.norm(slab.cell[0]))
        moved = x.copy()
        moved[0] += 0.4
        path = ml.find_path(land, x, moved, n_terms=2, n_points=5, steps=3, solver="lbfgs-gss")
        land.write(tmp_path / "path.traj", path)
        images = read(tmp_path / "path.traj", ":")
        assert len(images) == 5
        assert [image.get_potential_energy() for image in images] == pytest.approx(path.values, rel=1e-9)
        assert (images[2].positions[:4] == slab.positions[:4]).all()
        barrier, _ = NEBTools(images).get_barrier(fit=False)
        assert barrier == pytest.approx(path.height - path.height_ends[0], abs=1e-9)
        for wrong, message in self.of_another_system(slab):
            with pytest.raises(ValueError, match=message):
                land.vector(wrong)
        wrapped = slab.copy()
        wrapped.positions[0] += slab.cell[1]
        assert np.array_equal(land.vector(wrapped), x)
        with pytest.raises(TypeError, match=r"start is Atoms .* AseLandscape.vector\(start\) makes one"):
            ml.find_path(land, slab, slab)
        with pytest.raises(TypeError, match="the start is Atoms"):
            ml.refine_saddle(land, slab)
        slab.set_constraint(FixBondLength(0, 1))
        with pytest.raises(ValueError, match="FixBondLength"):
            AseLandscape(slab, EMT())
        slab.set_constraint()
        with pytest.raises(ValueError, match="no calculator"):
            AseLandscape(slab)
        with pytest.raises(ValueError, match="not thread-safe"):
            AseLandscape(slab, EMT(), workers=2)

    @staticmethod
    def of_another_system(slab: Any) -> list[tuple[Any, str]]:
        """What differs from a slab in no free coordinate, and what is said of it."""
        species, pbc, cell, frozen = (slab.copy() for _ in range(4))
        species.numbers[5] = 47
        pbc.pbc = True
        cell.set_cell(1.03 * cell.cell)
        frozen.set_constraint()
        frozen.positions[2, 0] += 1e-3
        return [
            (species, "expected Cu8"),
            (pbc, r"pbc \[True, True, True\]; expected"),
            (cell, "have the cell"),
            (frozen, "atom 2 by 0.001 Å"),
        ]


@pytest.mark.parametrize("points", [1, 8])
def test_torch_modules(points: int, small_mnist: Any) -> None:
    torch = pytest.importorskip("torch")
    from minilandscape.adapters.torch import TorchLandscape

    torch.manual_seed(0)
    layers = [torch.nn.Linear(784, 50, bias=False), torch.nn.ReLU(), torch.nn.Linear(50, 50, bias=False)]
    module = torch.nn.Sequential(*layers, torch.nn.ReLU(), torch.nn.Linear(50, 10, bias=False))
    data = small_mnist.train
    inputs, targets = torch.tensor(data.images), torch.tensor(data.labels)
    land = TorchLandscape(module, torch.nn.functional.cross_entropy, inputs, targets, batch=128, points=points)
    ours = ml.network_landscape("fcp", data)
    assert land.size == ours.size
    vectors = np.stack([ml.initial_vector("fcp", np.random.default_rng(k)) for k in range(3)])
    values, gradients = land.values_and_gradients(vectors)
    theirs = ours.values_and_gradients(vectors)
    assert values == pytest.approx(theirs[0], rel=1e-5)
    assert gradients == pytest.approx(theirs[1], rel=1e-3, abs=1e-6)
    assert land.values(vectors) == pytest.approx(values, rel=1e-5)
    assert np.array_equal(land.vector(land.load(vectors[1])), vectors[1])
    assert np.array_equal(land.vector(land.state_dict(vectors[2])), vectors[2])
    path = ml.find_path(land, vectors[0], vectors[1], n_points=5, n_terms=2, steps=2)
    assert path.metadata["objective"] == "maxflux"


def test_jax_functions() -> None:
    jax = pytest.importorskip("jax")
    from minilandscape.adapters.jax import JaxLandscape

    A, a = np.array([-200.0, -100, -170, 15]), np.array([-1, -1, -6.5, 0.7])
    b, c = np.array([0, 0, 11, 0.6]), np.array([-10, -10, -6.5, 0.7])
    x0, y0 = np.array([1, 0, -0.5, -1]), np.array([0, 0.5, 1.5, 1])

    def muller_brown(r: Any) -> Any:
        x, y = r[0] - x0, r[1] - y0
        return (A * jax.numpy.exp(a * x**2 + b * x * y + c * y**2)).sum()

    with jax.experimental.enable_x64() if hasattr(jax.experimental, "enable_x64") else jax.enable_x64(True):
        land = JaxLandscape(muller_brown, size=2)
        points = np.random.default_rng(0).uniform(-0.5, 1, (5, 2))
        values, gradients = land.values_and_gradients(points)
        ours = MullerBrown().values_and_gradients(points)
        assert values == pytest.approx(ours[0], rel=1e-10)
        assert gradients == pytest.approx(ours[1], rel=1e-10)
        path = ml.find_path(land, *MullerBrown.minima[:2], solver="auto")
        assert path.maximum == pytest.approx(-40.6648, abs=0.05)


def lj6_stationary_points() -> tuple[np.ndarray, np.ndarray]:
    """Two minima (2, 18) and a saddle (18,) of LJ6."""
    from minilandscape.analysis.atom_alignment import align_atoms

    land, minima = LennardJones(6), lj6_minima()
    path = ml.find_path(land, minima[0], align_atoms(minima[0], minima[1]), solver="auto")
    return minima, ml.refine_saddle(land, path).point


def test_topsearch_judges_clusters_without_their_zero_modes() -> None:
    """Six eigenvalues of a cluster are 0 to rounding, of either sign."""
    from minilandscape.adapters.topsearch import LandscapePotential

    def at(position: np.ndarray, bounds: bool = False) -> Any:
        return SimpleNamespace(position=position, at_bounds=lambda: np.bool_(bounds))

    minima, saddle = lj6_stationary_points()
    ours = LandscapePotential(LennardJones(6))
    for k, turn in enumerate((np.eye(3), np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0])):
        turned = [(x.reshape(-1, 3) @ turn + k).ravel() for x in (*minima, saddle)]
        assert [ours.check_valid_minimum(at(x)) for x in turned] == [True, True, False]
        assert [ours.check_valid_ts(at(x)) for x in turned] == [False, False, True]
    assert ours.check_valid_minimum(at(saddle, bounds=True))  # as topsearch has it: the gradient need not be zero there
    assert ours.check_valid_ts(at(minima[0], bounds=True))
    flat = LandscapePotential(ml.FunctionLandscape(lambda x: (x[0] ** 2, np.array([2 * x[0], 0.0])), size=2))
    assert not flat.check_valid_minimum(at(np.zeros(2)))
    assert not flat.check_valid_ts(at(np.zeros(2)))
    land = LennardJones(6)
    for unit, metre in ((1e-21, 3e-10), (1e6, 1.0), (1.0, 1e4)):  # whatever the units

        def scaled(x: np.ndarray, unit: float = unit, metre: float = metre) -> tuple[float, np.ndarray]:
            values, gradients = land.values_and_gradients(x[None] / metre)
            return unit * values[0], unit / metre * gradients[0]

        theirs = LandscapePotential(
            ml.FunctionLandscape(scaled, size=18, zero_modes=lambda x: rigid_motions(x.reshape(-1, 3)))
        )
        assert [theirs.check_valid_minimum(at(metre * x)) for x in (*minima, saddle)] == [True, True, False]
        assert [theirs.check_valid_ts(at(metre * x)) for x in (*minima, saddle)] == [False, False, True]


def test_topsearch_itself_agrees_about_clusters() -> None:
    pytest.importorskip("topsearch")
    from topsearch.data.coordinates import StandardCoordinates
    from topsearch.potentials.atomic import LennardJones as TheirLJ

    from minilandscape.adapters.topsearch import LandscapePotential, from_potential

    minima, saddle = lj6_stationary_points()
    theirs = from_potential(TheirLJ(), 18, zero_modes=lambda x: rigid_motions(x.reshape(-1, 3)), workers=2)
    ours = LandscapePotential(theirs)
    assert theirs.values(minima) == pytest.approx(LennardJones(6).values(minima), rel=1e-9)
    assert theirs.zero_modes(minima[0]).shape == (6, 18)
    coords = StandardCoordinates(ndim=18, bounds=[(-9.0, 9.0)] * 18)
    for x, valid in ((minima[0], (True, False)), (minima[1], (True, False)), (saddle, (False, True))):
        coords.position = x.copy()
        assert (ours.check_valid_minimum(coords), ours.check_valid_ts(coords)) == valid
        assert (TheirLJ().check_valid_minimum(coords), TheirLJ().check_valid_ts(coords)) == valid
    coords.position[0] = 9.0
    for potential in (ours, TheirLJ()):
        assert potential.check_valid_minimum(coords)
        assert potential.check_valid_ts(coords)


def test_topsearch_both_ways() -> None:
    pytest.importorskip("topsearch")
    from topsearch.data.coordinates import StandardCoordinates
    from topsearch.potentials.test_functions import Camelback

    from minilandscape.adapters.topsearch import LandscapePotential, from_potential

    land = from_potential(Camelback(), 2)
    path = ml.find_path(land, *ml_camelback().minima[:2], solver="auto")
    assert path.maximum == pytest.approx(0.5437186, abs=1e-3)
    ours = LandscapePotential(ml_camelback())
    point = np.array([0.3, -0.4])
    assert ours.function(point) == pytest.approx(Camelback().function(point), rel=1e-10)
    assert ours.gradient(point) == pytest.approx(Camelback().gradient(point), rel=1e-4)
    coords = StandardCoordinates(ndim=2, bounds=[(-3.0, 3.0), (-2.0, 2.0)])
    coords.position = ml_camelback().minima[0]
    assert ours.check_valid_minimum(coords)


def ml_camelback() -> Any:
    from minilandscape.potentials import Camelback

    return Camelback()


def test_pele_is_two_methods() -> None:
    """What a class must have to go for a potential of pele, with or without the package."""
    from minilandscape.adapters.pele import LandscapePotential, from_potential

    ours = LandscapePotential(LennardJones(3))
    coords = np.array([0, 0, 0, 1.1, 0, 0, 0.4, 1.2, 0.1])
    energy, gradient = ours.getEnergyGradient(coords)
    assert ours.getEnergy(coords) == energy
    assert np.array_equal(ours.getGradient(coords), gradient)
    again = from_potential(ours, 9)
    values, gradients = again.values_and_gradients(coords[None])
    assert (values[0], *gradients[0]) == (energy, *gradient)
    with pytest.raises(TypeError, match="no getEnergyGradient"):
        from_potential(object(), 9)


class TestPele:
    @pytest.fixture(autouse=True)
    def _installed(self) -> None:
        pytest.importorskip("pele")

    def test_its_potential_is_ours(self) -> None:
        from pele.potentials import LJ

        from minilandscape.adapters.pele import from_potential

        points = np.random.default_rng(1).uniform(-1.5, 1.5, (4, 18))
        theirs = from_potential(LJ(), 18, workers=1).values_and_gradients(points)
        ours = LennardJones(6).values_and_gradients(points)
        assert theirs[0] == pytest.approx(ours[0], rel=1e-10)
        assert theirs[1] == pytest.approx(ours[1], rel=1e-10)

    def test_a_saddle_of_ours_is_theirs(self) -> None:
        """Their two lowest minima of LJ6, joined by our path; their eigenvector following from its top stays there."""
        from pele.potentials import LJ
        from pele.transition_states import findTransitionState

        from minilandscape.adapters.pele import from_potential
        from minilandscape.analysis.atom_alignment import align_atoms

        potential = LJ()
        land = from_potential(potential, 18, zero_modes=lambda x: rigid_motions(x.reshape(-1, 3)))
        minima = lj6_minima()
        path = ml.find_path(land, minima[0], align_atoms(minima[0], minima[1]), solver="auto")
        saddle = ml.refine_saddle(land, path)
        assert saddle.converged
        assert saddle.value == pytest.approx(-12.079031, abs=1e-5)
        assert saddle.zero_modes == 6
        theirs = findTransitionState(path.points(path.maximum_t)[0], potential, eigenvec0=saddle.mode)
        assert theirs.energy == pytest.approx(saddle.value, abs=1e-6)
        assert theirs.eigenval == pytest.approx(saddle.eigenvalues[0], rel=1e-3)

    def test_their_optimisers_take_our_landscapes(self) -> None:
        from pele.optimize import lbfgs_cpp, lbfgs_py, modifiedfire_cpp

        from minilandscape.adapters.pele import LandscapePotential

        land = MullerBrown()
        for minimise in (lbfgs_cpp, lbfgs_py, modifiedfire_cpp):
            found = minimise(land.minima[0] + 0.05, LandscapePotential(land))
            assert found.coords == pytest.approx(land.minima[0], abs=1e-4)


def lj6_minima() -> np.ndarray:
    """(2, 18): the octahedron, and three tetrahedra face on face, relaxed by SciPy."""
    octahedron = 0.8 * np.concatenate([np.eye(3), -np.eye(3)])
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1.0]]) * 0.4
    caps = [2 / 3 * (corners.sum(axis=0) - corners[k]) - corners[k] for k in (0, 1)]
    start = np.array([octahedron, [*corners, *caps]]).reshape(2, 18)
    options = {"gtol": 1e-9, "maxiter": 5000}
    return np.array([minimize(to_scipy.objective(LennardJones(6)), x, jac=True, options=options).x for x in start])
