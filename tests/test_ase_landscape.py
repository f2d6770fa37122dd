"""Atoms as a landscape: energies that fit the forces, the system that is meant, zero modes, failures."""

from __future__ import annotations

import threading
from typing import Any, ClassVar

import numpy as np
import pytest

import minilandscape as ml
from minilandscape.potentials import LennardJones, rigid_motions

ase = pytest.importorskip("ase")

from ase import Atoms  # noqa: E402
from ase.build import add_adsorbate, fcc100, fcc111  # noqa: E402
from ase.calculators.calculator import Calculator, all_changes  # noqa: E402
from ase.calculators.emt import EMT  # noqa: E402
from ase.calculators.lj import LennardJones as AseLJ  # noqa: E402
from ase.calculators.singlepoint import SinglePointCalculator  # noqa: E402
from ase.constraints import FixAtoms  # noqa: E402
from ase.optimize import BFGS  # noqa: E402

from minilandscape.adapters.ase import AseLandscape, barrier  # noqa: E402

TETRAHEDRON = 2 ** (1 / 6) / np.sqrt(8) * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])


def lj() -> AseLJ:
    return AseLJ(rc=1e3, smooth=False)


class Smeared(Calculator):
    """One atom in a double well whose energy at 0 K is not what its forces are the derivatives of."""

    implemented_properties: ClassVar = ["energy", "free_energy", "forces"]
    calls = 0

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        type(self).calls += 1
        x, y, z = self.atoms.positions[0]
        free = (x**2 - 1) ** 2 + y**2 + z**2
        forces = -np.array([[4 * x * (x**2 - 1), 2 * y, 2 * z]])
        self.results = {"free_energy": free, "energy": free + 0.05 * np.cos(np.pi * x), "forces": forces}


class OnlyInResults(Smeared):
    """As tblite's: the free energy is named among the results alone."""

    implemented_properties: ClassVar = ["energy", "forces"]


class WithoutTheWord(Smeared):
    """Its method does not take force_consistent, and energy and forces fit."""

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        self.results["energy"] = self.results.pop("free_energy")

    def get_potential_energy(self, atoms: Any = None) -> Any:
        return self.get_property("energy", atoms)


@pytest.mark.parametrize("calculator", [Smeared, OnlyInResults, WithoutTheWord])
def test_energies_are_those_that_the_forces_belong_to(calculator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calculator, "calls", 0)
    land = AseLandscape(Atoms("H"), calculator)
    assert ml.check_gradient(land, np.random.default_rng(0).uniform(-1, 1, (3, 3)), tolerance=1e-8).passed
    assert calculator.calls == land.evaluations.values + land.evaluations.gradients
    path = ml.find_path(land, np.array([-1.0, 0, 0]), np.array([1.0, 0, 0]), n_points=11, n_terms=2, solver="lbfgs-gss")
    assert path.height_ends == pytest.approx([0, 0], abs=1e-12)
    assert path.maximum == pytest.approx(1.0, abs=1e-9)
    image = land.images(path)[5]
    assert image.get_potential_energy(force_consistent=True) == image.get_potential_energy() == path.values[5]


STATES: dict[str, Any] = {
    "initial charges": lambda atoms: atoms.set_initial_charges([1.0, 0, 0, 0]),
    "initial magnetic moments": lambda atoms: atoms.set_initial_magnetic_moments([0, 0, 0, 2.0]),
    "tags": lambda atoms: atoms.set_tags([0, 1, 0, 0]),
    r"1 for info\['charge'\]": lambda atoms: atoms.info.update(charge=1),
    r"3 for info\['spin'\]": lambda atoms: atoms.info.update(spin=3),
    r"2 for info\['multiplicity'\]": lambda atoms: atoms.info.update(multiplicity=2),
    "masses": lambda atoms: atoms.set_masses([40.0, 36.0, 40.0, 40.0]),
}


@pytest.mark.parametrize("name", STATES)
def test_atoms_in_another_state_are_refused_by_name(name: str) -> None:
    ours, theirs = Atoms("Ar4", TETRAHEDRON), Atoms("Ar4", TETRAHEDRON)
    STATES[name](theirs)
    with pytest.raises(ValueError, match=f"the atoms have .*{name}"):
        AseLandscape(ours, lj).vector(theirs)
    land = AseLandscape(theirs, lj)
    if name not in ("tags", "masses"):  # files that hold none say nothing of them
        with pytest.raises(ValueError, match="the atoms have"):
            land.vector(ours)
    assert np.array_equal(land.vector(theirs), TETRAHEDRON.ravel())
    assert np.array_equal(land.vector(land.atoms(2 * TETRAHEDRON.ravel())), 2 * TETRAHEDRON.ravel())


def test_moments_along_three_axes_are_other_moments() -> None:
    theirs = Atoms("Ar4", TETRAHEDRON, magmoms=np.ones((4, 3)))
    with pytest.raises(ValueError, match="initial magnetic moments"):
        AseLandscape(Atoms("Ar4", TETRAHEDRON), lj).vector(theirs)
    theirs = Atoms("Ar4", TETRAHEDRON, magmoms=[1, -1, 1, -1])
    ours = Atoms("Ar4", TETRAHEDRON, magmoms=[1, 1, 1, -1])
    with pytest.raises(ValueError, match=r"other initial magnetic moments .* atom 1 has -1\.0, expected 1\.0: set"):
        AseLandscape(ours, lj).vector(theirs)
    neutral = Atoms("Ar4", TETRAHEDRON, info={"charge": 0, "name": "tetrahedron"})
    assert len(AseLandscape(Atoms("Ar4", TETRAHEDRON), lj).vector(neutral)) == 12


def test_atoms_are_asked_for_by_name() -> None:
    with pytest.raises(TypeError, match=r"atoms is list; expected one ase\.Atoms"):
        AseLandscape(Atoms("Ar"), lj).vector([Atoms("Ar")])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"atoms is str; expected one ase\.Atoms"):
        AseLandscape("a.xyz", lj)  # type: ignore[arg-type]
    read = Atoms("Ar")
    read.calc = SinglePointCalculator(read, energy=0.0, forces=np.zeros((1, 3)))
    with pytest.raises(ValueError, match=r"SinglePointCalculator.; give one that calculates"):
        AseLandscape(read)
    with pytest.raises(ValueError, match="of 1 atoms 1 are frozen"):
        AseLandscape(Atoms("Ar", constraint=FixAtoms([0])), lj)
    land = AseLandscape(Atoms("Ar4", TETRAHEDRON), lj)
    for use in (land.atoms, land.zero_modes):
        with pytest.raises(ValueError, match=r"point has shape \(3,\); expected \(12,\)"):
            use(np.zeros(3))
    for make, message in (
        (lambda: None, "returned None"),
        (lambda: EMT, "returned <class"),
        (lambda x: x, "missing 1"),
    ):
        with pytest.raises(ml.LandscapeError, match=f"no calculator could be made: TypeError: .*{message}"):
            AseLandscape(Atoms("Ar"), make).values(np.zeros((1, 3)))
    with pytest.raises(TypeError, match="calculator is str; expected a calculator"):
        AseLandscape(Atoms("Ar"), "emt")


def turned(positions: Any) -> np.ndarray:
    q = np.linalg.qr(np.random.default_rng(7).standard_normal((3, 3)))[0]
    return np.asarray(positions) @ q + 3.0


def bent(degrees: float) -> np.ndarray:
    angle = np.deg2rad(degrees) / 2
    return 1.2 * np.array([[-np.cos(angle), np.sin(angle), 0], [0, 0, 0], [np.cos(angle), np.sin(angle), 0]])


class TestZeroModes:
    @pytest.mark.parametrize(("degrees", "count"), [(0, 5), (1e-7, 5), (0.1, 5), (0.5, 5), (3, 6), (10, 6), (75, 6)])
    @pytest.mark.parametrize("atoms", [3, 7])
    def test_linear_molecules_as_optimisers_leave_them(self, degrees: float, count: int, atoms: int) -> None:
        """A kink in the middle of a chain of any length."""
        arm = np.arange(1, (atoms - 1) // 2 + 1)[:, None]
        chain = np.concatenate([bent(degrees)[:1] * arm[::-1], np.zeros((1, 3)), bent(degrees)[2:] * arm])
        for unit in (1e-10, 1.0, 1e10):
            assert len(rigid_motions(unit * turned(chain))) == count

    def test_a_long_zigzag_chain_is_no_line(self) -> None:
        chain = np.array([[1.25 * k, 0.4 * (k % 2), 0] for k in range(600)])
        assert len(rigid_motions(turned(chain))) == 6
        assert len(rigid_motions(turned(chain * [1, 0, 0]))) == 5

    @pytest.mark.parametrize("degrees", [0.1, 0.5])
    def test_a_bent_linear_molecule_keeps_both_bends(self, degrees: float) -> None:
        """Springs of lengths and of the distance of the ends, whose Hessian on the line is known."""

        def springs(x: np.ndarray) -> tuple[float, np.ndarray]:
            r, g, value = x.reshape(3, 3), np.zeros((3, 3)), 0.0
            for i, j, length, k in ((0, 1, 1.15, 50.0), (1, 2, 1.15, 50.0), (0, 2, 3.025, 4.0)):
                away = r[j] - r[i]
                d = np.linalg.norm(away)
                value += 0.5 * k * (d - length) ** 2
                g[j] += k * (d - length) * away / d
                g[i] -= k * (d - length) * away / d
            return value, g.ravel()

        land = ml.FunctionLandscape(springs, 9, zero_modes=lambda x: rigid_motions(x.reshape(-1, 3)))
        straight, found = (ml.curvature(land, turned(bent(d)).ravel(), 4) for d in (0.0, degrees))
        assert found.zero_modes == straight.zero_modes == 5
        assert found.lowest == pytest.approx(straight.lowest, rel=2e-3)
        assert found.lowest[0] == pytest.approx(found.lowest[1], rel=2e-3)  # both bends
        assert found.trace == pytest.approx(straight.trace, rel=1e-3)

    @pytest.mark.parametrize(
        ("frozen", "count"), [([], 6), ([2], 3), ([1, 4], 1), ([0, 6], 1), ([0, 1, 4], 0), ([0, 1, 2, 3, 4], 0)]
    )
    def test_frozen_atoms_of_a_cluster(self, frozen: list[int], count: int) -> None:
        """At a minimum exactly the zero modes have no curvature, and along them no force anywhere."""
        rng = np.random.default_rng(3)
        grid = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]])
        atoms = Atoms("Ar7", 1.12 * turned(grid) + 0.02 * rng.standard_normal((7, 3)), constraint=FixAtoms(frozen))
        land = AseLandscape(atoms, lj)
        x = land.vector(atoms)
        modes = land.zero_modes(x)
        assert modes @ modes.T == pytest.approx(np.eye(count), abs=1e-12)
        _, gradients = land.values_and_gradients(x[None])
        assert np.abs(modes @ gradients[0]).max(initial=0) < 1e-9 * np.linalg.norm(gradients[0])
        atoms.calc = lj()
        BFGS(atoms, logfile=None).run(fmax=1e-7, steps=500)
        x = land.vector(atoms)
        h = 1e-4
        _, gradients = land.values_and_gradients(np.concatenate([x + h * np.eye(x.size), x - h * np.eye(x.size)]))
        eigenvalues = np.linalg.eigvalsh((gradients[: x.size] - gradients[x.size :]) / (2 * h))
        assert (np.abs(eigenvalues) < 1e-3).sum() == len(land.zero_modes(x)) == count

    def test_frozen_atoms_on_one_line_leave_the_rotation_about_it(self) -> None:
        line = np.array([[0.0, 0, 0], [0, 0, 1], [0, 0, 2.3]])
        beside = np.array([[1.0, 0, 0.5], [0.3, 1, 1.5]])
        positions = turned(np.concatenate([line, beside]))
        (mode,) = rigid_motions(positions, frozen=[0, 1, 2])
        axis = positions[2] - positions[0]
        expected = np.cross(axis, positions[3:] - positions[0]).ravel()
        assert abs(mode @ expected) == pytest.approx(np.linalg.norm(expected))
        off = positions.copy()
        off[1] += 0.01 * np.cross(axis, [1.0, 0, 0])
        assert len(rigid_motions(off, frozen=[0, 1, 2])) == 0
        # Free atoms on the line of the frozen ones do not turn about it, bent by half a degree or not.
        for degrees in (0, 0.5):
            assert len(rigid_motions(turned(bent(degrees)), frozen=[0, 2])) == 0
            assert len(rigid_motions(turned(bent(degrees)), frozen=[0])) == 2
        assert len(rigid_motions(turned(bent(5)), frozen=[0, 2])) == 1
        assert len(rigid_motions(turned(bent(5)), frozen=[0])) == 3

    def test_a_frozen_corner_of_the_tetrahedron(self) -> None:
        atoms = Atoms("Ar4", TETRAHEDRON, constraint=FixAtoms([0]))
        land = AseLandscape(atoms, lj)
        # The others on one side of a square: the saddle between two labellings is a rhombus.
        saddle = ml.refine_saddle(land, self.rhombus()[1:].ravel())
        assert saddle.converged, saddle.reason
        assert saddle.value == pytest.approx(-5.073421, abs=1e-6)
        assert saddle.zero_modes == 3
        free = ml.refine_saddle(LennardJones(4), self.rhombus().ravel())
        assert free.value == pytest.approx(saddle.value, abs=1e-9)
        assert free.zero_modes == 6

    @staticmethod
    def rhombus() -> np.ndarray:
        start = np.array([[0, 0.97, 0], [0.55, 0, 0.02], [-0.55, 0, 0], [0, -0.97, 0.01]])
        return start - start[0] + TETRAHEDRON[0]

    @pytest.mark.parametrize(
        ("frozen", "width", "count"),
        [([], 0.6, 4), ([], 0.0, 3), ([], 0.004, 3), ([0], 0.6, 1), ([0, 2], 0.6, 1), ([0, 1], 0.6, 0), ([0], 0.0, 0)],
    )
    def test_wires(self, frozen: list[int], width: float, count: int) -> None:
        """Periodic along one axis, which is no axis of coordinates: along zero modes there is no force."""
        q = np.linalg.qr(np.random.default_rng(1).standard_normal((3, 3)))[0]
        zigzag = np.array([[width * (k % 2), 0, 1.3 * k + 0.1 * (k == 3)] for k in range(4)])
        atoms = Atoms("Ar4", zigzag @ q, cell=np.diag([9, 8, 5.2]) @ q, pbc=[False, False, True])
        atoms.positions[1] += 2 * atoms.cell[2]  # another period of the same atom
        atoms.set_constraint(FixAtoms(frozen))
        land = AseLandscape(atoms, lambda: AseLJ(rc=2.0, smooth=True))
        x = land.vector(atoms)
        modes = land.zero_modes(x)
        assert modes @ modes.T == pytest.approx(np.eye(count), abs=1e-12)
        x = x + 0.05 * width * np.random.default_rng(2).standard_normal(x.size)
        _, gradients = land.values_and_gradients(x[None])
        assert np.abs(land.zero_modes(x) @ gradients[0]).max(initial=0) < 1e-9 * np.linalg.norm(gradients[0])

    @pytest.mark.parametrize(("pbc", "count"), [((True, True, False), 3), ((True, True, True), 3)])
    def test_slabs_and_crystals(self, pbc: tuple[bool, bool, bool], count: int) -> None:
        slab = fcc111("Cu", (2, 2, 1), vacuum=5)
        slab.pbc = pbc
        land = AseLandscape(slab, EMT)
        assert land.zero_modes(land.vector(slab)) == pytest.approx(np.tile(np.eye(3), 4) / 2)
        slab.set_constraint(FixAtoms([0]))
        assert len(AseLandscape(slab, EMT).zero_modes(slab.positions[1:].ravel())) == 0


class Fragile(Calculator):
    """Fails where the atom is far out, or computes NaN; from then on this calculator is wrong."""

    implemented_properties: ClassVar = ["energy", "forces"]
    made: ClassVar[list[Any]] = []

    def __init__(self) -> None:
        super().__init__()
        self.made.append(self)
        self.broken, self.strength = False, 1.0

    def reset(self) -> None:
        super().reset()
        self.broken = False

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        x = self.atoms.positions[0]
        scale = self.strength * (100.0 if self.broken else 1.0)
        if abs(x[0]) > 5:
            self.broken = True
            if x[0] < 0:
                scale = np.nan
            else:
                raise RuntimeError("the density did not converge")
        self.results = {"energy": scale * x @ x, "forces": -2 * scale * x[None]}


class InACell(Calculator):
    """A calculator of crystals alone."""

    implemented_properties = ("energy", "forces")

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        fractions = np.linalg.inv(self.atoms.cell.array)
        self.results = {"energy": fractions.sum(), "forces": np.zeros((len(self.atoms), 3))}


class TestFailures:
    def test_a_cell_that_is_missing_is_named(self) -> None:
        with pytest.raises(ml.LandscapeError, match="Singular matrix; the structure has no cell, which"):
            AseLandscape(Atoms("H"), InACell).values([[1.0, 0, 0]])
        assert AseLandscape(Atoms("H", cell=[2, 2, 2]), InACell).values([[1.0, 0, 0]]) == [1.5]

    @pytest.mark.parametrize("given", ["class", "calculator"])
    @pytest.mark.parametrize("far", [6.0, -6.0])
    def test_what_follows_a_failure_is_right(self, given: str, far: float, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Fragile, "made", [])
        land = AseLandscape(Atoms("H"), Fragile if given == "class" else Fragile())
        points = np.array([[1.0, 0, 0], [far, 0, 0], [2.0, 0, 0]])
        assert land.values(points[:1]) == [1.0]
        if far > 0:
            with pytest.raises(ml.LandscapeError, match=r"the calculator raised RuntimeError at .*density") as caught:
                land.values(points[:2])
            assert np.array_equal(caught.value.point, points[1])
        else:
            assert np.isnan(land.values(points[1:2])).all()
        values, gradients = land.values_and_gradients(points[2:])
        assert values == [4.0]
        assert gradients.tolist() == [[4.0, 0, 0]]
        assert len(Fragile.made) == (3 if given == "class" else 1)  # it fails twice, the second time in a new one

    def test_a_changed_calculator_shows_after_forget(self) -> None:
        calculator = Fragile()
        land = AseLandscape(Atoms("H"), calculator)
        point = np.array([[1.0, 2.0, 2.0]])
        assert land.values(point) == [9.0]
        calculator.strength = 2.0
        land.forget()
        assert land.values(point) == [18.0]

    def test_one_calculator_for_two_workers_is_refused(self) -> None:
        shared, both = Fragile(), threading.Barrier(2, timeout=20)

        def make() -> Fragile:
            both.wait()
            return shared

        land = AseLandscape(Atoms("H"), make, workers=2)
        with pytest.raises(ml.LandscapeError, match="returned one calculator to two workers"):
            land.values(np.eye(3)[:2])


@pytest.mark.parametrize("way", [-0.5, 0.5])
@pytest.mark.parametrize("rounding", [0.0, 1e-9, -1e-9])
def test_of_two_ways_as_short_the_files_own_is_taken(way: float, rounding: float) -> None:
    """An atom that hops half a cell goes where the end has it, whatever rounding makes the other way the shorter."""
    start = fcc100("Al", (2, 2, 2), vacuum=4)
    add_adsorbate(start, "Au", 1.7, "hollow")
    start.pbc = True
    side = start.cell[0, 0]
    land = AseLandscape(start, EMT())
    a = land.vector(start)
    b = a.copy()
    b[-3] += (way + rounding) * side
    assert land.displacement(a, b)[-3] == pytest.approx(way * side)
    assert land.displacement(b, a)[-3] == pytest.approx(-way * side)
    path = ml.find_path(land, a, b, initial=lambda t: a + t * (b - a), n_points=5, solver="adam", steps=1)
    assert path.end[-3] - path.start[-3] == pytest.approx(way * side)


@pytest.mark.parametrize("fault", ["raises", "not a number"])
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("k", [1, 2, 5, 20])
def test_a_calculation_that_fails_once_is_repeated(k: int, given: bool, fault: str) -> None:
    """Whichever it is, of the relaxation or of the search, and whether a calculator or its class is given."""
    calls = 0

    class Hiccup(EMT):
        def calculate(self, *args: Any, **kwargs: Any) -> None:
            nonlocal calls
            calls += 1
            if calls == k and fault == "raises":
                raise RuntimeError("node hiccup")
            super().calculate(*args, **kwargs)
            if calls == k:
                self.results["forces"] = np.full_like(self.results["forces"], np.nan)

    start = fcc100("Al", (2, 2, 1), vacuum=5.0)
    start.set_constraint(FixAtoms(range(4)))
    add_adsorbate(start, "Al", 1.7, "hollow")
    end = start.copy()
    end.positions[-1, 0] += start.cell[0, 0] / 2
    plain = barrier(start, end, EMT)
    found = barrier(start, end, Hiccup() if given else Hiccup)
    assert calls == found.calls["total"] == plain.calls["total"] + 1
    assert found.barrier_forward == pytest.approx(plain.barrier_forward, rel=1e-9)
    assert found.converged
