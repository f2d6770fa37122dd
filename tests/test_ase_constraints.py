"""Constraints that leave coordinates out, those that are refused, and the motions that are left."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

import minilandscape as ml
from minilandscape.potentials import rigid_motions

ase = pytest.importorskip("ase")

from ase import Atoms, constraints  # noqa: E402
from ase.build import bulk, fcc100, fcc111, molecule  # noqa: E402
from ase.calculators.emt import EMT  # noqa: E402
from ase.calculators.lj import LennardJones as AseLJ  # noqa: E402
from ase.constraints import FixAtoms, FixCartesian, FixScaled  # noqa: E402
from ase.optimize import BFGS  # noqa: E402

from minilandscape.adapters.ase import AseLandscape, barrier  # noqa: E402
from minilandscape.adapters.ase_constraints import constraints_of, free_components  # noqa: E402


def lj() -> AseLJ:
    return AseLJ(rc=1e3, smooth=False)


def turned(positions: Any) -> np.ndarray:
    q = np.linalg.qr(np.random.default_rng(7).standard_normal((3, 3)))[0]
    return np.asarray(positions) @ q + 3.0


def cluster() -> Atoms:
    grid = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]])
    return Atoms("Ar7", 1.12 * turned(grid) + 0.02 * np.random.default_rng(3).standard_normal((7, 3)))


def x(atoms: Any) -> FixCartesian:
    return FixCartesian(atoms, mask=[True, False, False])


def z(atoms: Any) -> FixCartesian:
    return FixCartesian(atoms, mask=[False, False, True])


#: Constraints of seven atoms, and how many motions of all together they leave: six, less one for each that they hold,
#: where they do not hold one twice.
HELD: dict[str, tuple[list[Any], int]] = {
    "one height": ([z([0])], 5),
    "two heights": ([z([0, 3])], 4),
    "three heights": ([z([0, 3, 5])], 3),
    "all heights": ([z(range(7))], 3),
    "one line": ([FixCartesian([2], mask=[True, True, False])], 4),
    "an atom and the height of another": ([FixAtoms([1]), z([4])], 2),
    "an atom, and two components of another": ([FixAtoms([1]), FixCartesian([4], mask=[True, False, True])], 1),
    "two atoms and a height": ([FixAtoms([0, 6]), z([3])], 0),
    "heights here, x there": ([z([0, 1]), x([2, 3])], 2),
}


@pytest.mark.parametrize("name", HELD)
def test_zero_modes_are_the_motions_without_energy(name: str) -> None:
    """At a minimum exactly the zero modes have no curvature, and elsewhere no force lies along them."""
    held, count = HELD[name]
    atoms = cluster()
    atoms.set_constraint(held)
    land = AseLandscape(atoms, lj)
    point = land.vector(atoms)
    assert land.size == 21 - sum(c.get_removed_dof(atoms) for c in held)
    modes = land.zero_modes(point)
    assert modes @ modes.T == pytest.approx(np.eye(count), abs=1e-12)
    _, gradients = land.values_and_gradients(point[None])
    assert np.abs(modes @ gradients[0]).max(initial=0) < 1e-9 * np.linalg.norm(gradients[0])
    atoms.calc = lj()
    BFGS(atoms, logfile=None).run(fmax=1e-7, steps=1000)
    point = land.vector(atoms)
    h = 1e-4
    moves = h * np.eye(point.size)
    _, gradients = land.values_and_gradients(np.concatenate([point + moves, point - moves]))
    eigenvalues = np.linalg.eigvalsh((gradients[: point.size] - gradients[point.size :]) / (2 * h))
    assert (np.abs(eigenvalues) < 1e-3).sum() == len(land.zero_modes(point)) == count


def test_what_holds_to_the_first_order_only_is_no_zero_mode() -> None:
    """Two atoms above each other whose heights are held stretch their distance where they are turned aside."""
    atoms = Atoms("Ar3", [[0, 0, 0], [0, 0, 1.12], [0.9, 0.1, 0.5]], constraint=z([0, 1]))
    land = AseLandscape(atoms, lj)
    modes = land.zero_modes(land.vector(atoms))
    assert len(modes) == 3
    for mode in modes:  # two translations and the turn about the vertical
        step = np.zeros((3, 3))
        step[land.components] = mode
        relative = step[0] - step[1]
        assert np.abs(relative).max() < 1e-12
    tilted = atoms.copy()
    tilted.positions[1] += [0.3, 0.2, 0]
    assert len(AseLandscape(tilted, lj).zero_modes(land.vector(tilted))) == 4


def test_in_a_cell_translations_along_free_components_are_left() -> None:
    atoms = bulk("Al", cubic=True)
    for held, count in (([z([0])], 2), ([x([0]), z([1])], 1), ([FixAtoms([2]), z([1])], 0), ([], 3)):
        atoms.set_constraint(held)
        land = AseLandscape(atoms, EMT)
        modes = land.zero_modes(land.vector(atoms))
        assert modes @ modes.T == pytest.approx(np.eye(count), abs=1e-12)


def test_constraints_along_components_are_read_and_written() -> None:
    slab = fcc100("Al", (2, 2, 2), vacuum=5.0)
    slab.set_constraint([FixAtoms([0, 1]), z([2, 3]), x([4]), FixCartesian([5], mask=[True, True, True])])
    free = free_components(slab)
    assert free.sum(axis=1).tolist() == [0, 0, 2, 2, 2, 0, 3, 3]
    slab.set_constraint(constraints_of(free))
    assert (free_components(slab) == free).all()
    land = AseLandscape(slab, EMT)
    atoms = land.atoms(land.vector(slab) + 0.1)
    assert np.allclose(atoms.positions - slab.positions, 0.1 * free)
    assert (free_components(atoms) == free).all()
    assert (land.forces(land.values_and_gradients(land.vector(slab)[None])[1][0])[~free] == 0).all()


@pytest.mark.parametrize(
    ("make", "order", "held", "free"),
    [
        (fcc100, [0, 1, 2], [False, True, True], "x"),
        (fcc100, [2, 0, 1], [False, True, True], "z"),  # whose first vector lies along z
        (fcc100, [2, 0, 1], [True, False, False], "xy"),
        (fcc111, [0, 1, 2], [False, True, True], "x"),  # b is askew, a is not
        (fcc111, [0, 1, 2], [True, True, False], "z"),
        (fcc111, [0, 1, 2], [False, False, True], "xy"),
        (fcc111, [0, 1, 2], [True, False, True], None),
        (fcc111, [0, 1, 2], [True, False, False], None),
    ],
)
def test_selective_dynamics_hold_vectors_of_the_cell(make: Any, order: list[int], held: list[bool], free: Any) -> None:
    """VASP's selective dynamics, which ASE reads as FixScaled: it moves an atom along the vectors that are free."""
    slab = make("Al", (2, 2, 2), vacuum=5.0)
    slab.set_cell(slab.cell[order])
    slab.set_constraint([FixAtoms(range(7)), FixScaled(7, mask=held)])
    if free is None:
        with pytest.raises(ValueError, match="FixScaled on atom 7 along directions that are no Cartesian axes"):
            free_components(slab)
        return
    components = free_components(slab)
    assert "".join(np.array(list("xyz"))[components[7]]) == free
    assert not components[:7].any()
    moved = slab.copy()
    moved.set_positions(slab.positions + 0.1)
    assert (np.abs(moved.positions - slab.positions) > 1e-9).tolist() == components.tolist()
    land = AseLandscape(slab, EMT)
    point = land.vector(slab) + 0.02
    step = 1e-4 * np.eye(len(point))
    values = land.values_and_gradients(np.concatenate([point + step, point - step]))[0].reshape(2, -1)
    assert land.values_and_gradients(point[None])[1][0] == pytest.approx((values[0] - values[1]) / 2e-4, rel=1e-4)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: constraints.FixBondLengths([[0, 1]]), "FixBondLengths"),
        (lambda: constraints.FixInternals(bonds=[[1.0, [0, 1]]]), "FixInternals"),
        (lambda: constraints.FixCom(), "FixCom"),
        (lambda: constraints.Hookean(0, 1, 5.0, rt=1.0), "Hookean"),
        (lambda: constraints.ExternalForce(0, 1, 0.1), "ExternalForce"),
        (lambda: constraints.FixedPlane(0, [1, 1, 0]), "FixedPlane on atom 0 along directions"),
    ],
)
def test_other_constraints_are_refused_by_name(make: Any, name: str) -> None:
    atoms = molecule("H2O")
    atoms.set_constraint(make())
    with pytest.raises(ValueError, match=f"have a constraint {name}") as refused:
        AseLandscape(atoms, EMT)
    assert "which a search does not keep; expected FixAtoms" in str(refused.value) or "along directions" in name
    with pytest.raises(ValueError, match=f"the atoms of the start have a constraint {name}"):
        barrier(atoms, atoms, EMT)


@pytest.mark.parametrize("held", list(product([False, True], repeat=3))[1:-1])
def test_free_components_are_named_by_their_axes(held: tuple[bool, bool, bool]) -> None:
    start = molecule("H2O")
    end = start.copy()
    end.set_constraint(FixCartesian(1, mask=held))
    free = "".join(axis for axis, each in zip("xyz", held, strict=True) if not each)
    with pytest.raises(ValueError, match="the free components of H are xyz") as refused:
        barrier(start, end, EMT)
    assert f" {free} (1 atom)" in str(refused.value)


def test_a_component_that_is_held_elsewhere_is_refused() -> None:
    slab = fcc100("Al", (2, 2, 2), vacuum=5.0)
    slab.set_constraint([FixAtoms([0, 1, 2, 3]), z([4])])
    land = AseLandscape(slab, EMT)
    moved = slab.copy()
    moved.positions[4] += [0.1, 0.1, 0]
    assert np.linalg.norm(land.vector(moved) - land.vector(slab)) == pytest.approx(0.1 * np.sqrt(2))
    moved.positions[4] += moved.cell[0]  # another image of it
    assert np.linalg.norm(land.vector(moved) - land.vector(slab)) == pytest.approx(0.1 * np.sqrt(2))
    moved.positions[4, 2] += 0.01
    with pytest.raises(ValueError, match=r"frozen atoms stand elsewhere: atom 4 by 0\.01 Å"):
        land.vector(moved)


def test_a_barrier_under_components() -> None:
    """An adatom on a surface whose upper layer moves up and down alone: the dense Hessian has one negative value."""
    from ase.build import add_adsorbate

    start = fcc100("Al", (2, 2, 2), vacuum=5.0)
    add_adsorbate(start, "Al", 1.7, "hollow")
    start.set_constraint([FixAtoms(range(4)), FixCartesian(range(4, 8), mask=[True, True, False])])
    start.info, start.arrays["tags"] = {}, np.zeros(9, dtype=int)
    end = start.copy()
    end.positions[-1, 0] += start.cell[0, 0] / 2
    found = barrier(start, end, EMT, fmax=0.01)
    assert found.converged, found.reason
    land = AseLandscape(start, EMT)
    assert land.size == 7
    point = land.vector(found.saddle)
    moves = 1e-3 * np.eye(7)
    _, gradients = land.values_and_gradients(np.concatenate([point + moves, point - moves]))
    assert (np.linalg.eigvalsh((gradients[:7] - gradients[7:]) / 2e-3) < 0).sum() == 1
    free = barrier(*(Atoms(a, constraint=FixAtoms(range(4))) for a in (start, end)), EMT, fmax=0.01)
    assert found.barrier_forward > free.barrier_forward > 0.2  # what is held does not give way


@pytest.mark.parametrize("degrees", [0.0, 0.1, 0.5])
def test_a_nearly_linear_molecule_with_one_height_held(degrees: float) -> None:
    """Of the five motions of a line one is held, up to half a degree."""
    angle = np.deg2rad(degrees) / 2
    bent = 1.2 * np.array([[-np.cos(angle), np.sin(angle), 0], [0, 0, 0], [np.cos(angle), np.sin(angle), 0]])
    land = AseLandscape(Atoms("Ar3", turned(bent), constraint=z([0])), lj)
    assert len(rigid_motions(turned(bent))) == 5
    assert len(land.zero_modes(land.vector(land.atoms(np.array(turned(bent)[land.components]))))) == 4


def test_a_saddle_of_a_cluster_with_one_frozen_atom_and_a_height() -> None:
    """LJ4's rhombus, whose energy does not depend on how the cluster is held."""
    rhombus = np.array([[0, 0.97, 0], [0.55, 0, 0.02], [-0.55, 0, 0], [0, -0.97, 0.01]])
    for held, zero in (([FixAtoms([0])], 3), ([FixAtoms([0]), z([3])], 2), ([z([0])], 5)):
        atoms = Atoms("Ar4", turned(rhombus), constraint=held)
        land = AseLandscape(atoms, lj)
        saddle = ml.refine_saddle(land, land.vector(atoms))
        assert saddle.converged, saddle.reason
        assert saddle.value == pytest.approx(-5.073421, abs=1e-6)
        assert saddle.zero_modes == zero
