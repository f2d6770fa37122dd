"""Starting paths: straight, IDPP, geodesic, images of one's own; the cheapest without a clash."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import numpy as np
import pytest

import minilandscape as ml

ase = pytest.importorskip("ase")

from ase import Atoms  # noqa: E402
from ase.build import add_adsorbate, bulk, fcc100, molecule  # noqa: E402
from ase.calculators.calculator import all_changes  # noqa: E402
from ase.calculators.emt import EMT  # noqa: E402
from ase.constraints import FixAtoms  # noqa: E402
from ase.mep import NEB, NEBTools  # noqa: E402
from ase.utils.forcecurve import fit_images  # noqa: E402

from minilandscape.adapters import ase_start  # noqa: E402
from minilandscape.adapters.ase import AseLandscape, Barrier, barrier  # noqa: E402
from minilandscape.adapters.ase_profile import profile  # noqa: E402
from minilandscape.adapters.ase_start import start_path  # noqa: E402
from minilandscape.paths import SearchInterrupted  # noqa: E402


def hop() -> tuple[Atoms, Atoms]:
    start = fcc100("Al", (2, 2, 2), vacuum=5.0)
    start.set_constraint(FixAtoms([atom.index for atom in start if atom.tag == 2]))
    add_adsorbate(start, "Al", 1.7, "hollow")
    start.info = {}
    start.set_tags(None)
    end = start.copy()
    end.positions[-1, 0] += start.cell[0, 0] / 2
    return start, end


def hydrogen_cyanide() -> tuple[Atoms, Atoms]:
    first = Atoms("HCN", [[0, 0, -1.07], [0, 0, 0], [0, 0, 1.15]])
    return first, Atoms("HCN", [[0, 0, 2.17], [0, 0, 0], [0, 0, 1.17]])


def landscape(first: Atoms, last: Atoms) -> tuple[AseLandscape, np.ndarray, np.ndarray]:
    land = AseLandscape(first, EMT)
    return land, land.vector(first), land.vector(last)


def test_a_slab_begins_straight_unless_atoms_come_close() -> None:
    land, a, b = landscape(*hop())
    found = start_path(land, a, b)
    assert (found.kind, found.points, found.fault) == ("straight", None, None)
    exchanged = a.reshape(-1, 3)[[1, 0, 2, 3, 4]].ravel()
    around = start_path(land, a, exchanged)
    assert around.kind == "idpp"
    assert around.fault is None
    straight = start_path(land, a, exchanged, "straight")
    assert straight.fault is not None
    assert "come within" in straight.fault
    assert land.evaluations.gradients == land.evaluations.values == 0


def test_a_molecule_begins_from_interpolated_distances() -> None:
    land, a, b = landscape(*hydrogen_cyanide())
    found = start_path(land, a, b)
    assert found.kind == "idpp"
    assert found.points is not None
    assert np.allclose(found.points[[0, -1]], [a, b])
    nearest = min(land.atoms(point).get_all_distances()[np.triu_indices(3, 1)].min() for point in found.points)
    assert nearest > 0.5


def test_a_geodesic_leads_from_one_end_to_the_other() -> None:
    pytest.importorskip("geodesic_interpolate")
    state = np.random.get_state()[1].copy()  # noqa: NPY002  # what the package draws from
    first, last = hydrogen_cyanide()
    last.rotate(20, "x")
    last.translate([0.3, 0.1, 0])
    land, a, b = landscape(first, last)
    found = start_path(land, a, b, "geodesic")
    assert found.kind == "geodesic"
    assert found.fault is None
    assert found.points is not None
    assert np.array_equal(found.points[[0, -1]], [a, b])
    steps = np.linalg.norm(np.diff(found.points, axis=0), axis=1)
    assert steps.max() < 4 * steps.mean()
    bonds = [land.atoms(point).get_distance(1, 2) for point in found.points]
    assert max(bonds) < 1.6  # which IDPP does not keep
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    slab, a, b = landscape(*hop())
    with pytest.raises(ValueError, match="a geodesic path knows neither cells nor constraints"):
        start_path(slab, a, b, "geodesic")


def test_a_clash_in_the_cheap_path_takes_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Geodesic where IDPP clashes; IDPP with its fault named where there is no geodesic."""
    land, a, b = landscape(*hydrogen_cyanide())
    line = a + np.linspace(0, 1, 9)[:, None] * (b - a)
    monkeypatch.setattr(ase_start, "_idpp", lambda land, line: line)
    monkeypatch.setattr(
        ase_start,
        "_geodesic",
        lambda land, start, end: (
            line + 0.7 * np.sin(np.linspace(0, np.pi, 9))[:, None] * np.tile([1, 0, 0, 0, 0, 0, 0, 0, 0], (9, 1))
        ),
    )
    assert start_path(land, a, b).kind == "geodesic"

    def missing(*_: Any) -> np.ndarray:
        raise ValueError("not installed")

    monkeypatch.setattr(ase_start, "_geodesic", missing)
    found = start_path(land, a, b)
    assert found.kind == "idpp"
    assert found.fault is not None
    assert "H0 and" in found.fault


@pytest.fixture(scope="module")
def found() -> Barrier:
    return barrier(*hop(), EMT, fmax=0.01)


def band() -> Any:
    start, end = hop()
    images = NEB([start, *(start.copy() for _ in range(3)), end], method="improvedtangent")
    images.interpolate()
    return images


def test_a_path_is_given_in_any_way(found: Barrier) -> None:
    land = AseLandscape(hop()[0], EMT)
    for initial in ("straight", "idpp", band(), band().images, land.points(band().images)):
        again = barrier(*hop(), EMT, fmax=0.01, initial=initial)
        assert again.converged, again.reason
        assert again.barrier_forward == pytest.approx(found.barrier_forward, abs=2e-4)
        assert any("the path begins from" in remark for remark in again.remarks)
    assert not any("begins" in remark for remark in found.remarks)
    for bad, message in (
        ("curved", "initial is 'curved'; expected straight, idpp, geodesic, structures, or points"),
        (np.zeros((5, 4)), r"initial has shape \(5, 4\)"),
        (band().images[:2], "2 images were given; expected at least three"),
        (3, "initial has shape"),
        ([*band().images[:2], molecule("H2O")], "image 2: the atoms are"),
    ):
        with pytest.raises(ValueError, match=message):
            barrier(*hop(), EMT, initial=bad)


@pytest.mark.parametrize("skipped", [0, 1, 2])
@pytest.mark.parametrize("way", [1, -1])
@pytest.mark.parametrize("cells", [0, 1])
def test_images_that_do_not_lead_from_start_to_end_are_named(way: int, skipped: int, cells: int) -> None:
    """Reversed ones, and those that stop short, with how far; in whatever image of the cell."""
    images = [image.copy() for image in band().images][: -skipped or None][::way]
    for image in images:
        image.positions[-1] += cells * image.cell[1]
    start, end = hop()
    remarks = barrier(start, end, EMT, initial=images, verify=False).remarks
    said = [remark for remark in remarks if "(farthest atom)" in remark]
    assert bool(said) == (skipped > 0 or way < 0)
    assert all(("lead from the end to the start" in remark) == (way < 0) for remark in said)
    if way > 0 and said:
        step = float(np.linalg.norm(end.positions[-1] - start.positions[-1])) / (len(band().images) - 1)
        apart = float(re.search(r"the last (\S+) Å from the end", said[0])[1])
        assert apart == pytest.approx(skipped * step, abs=0.2)


def test_images_have_energies_and_forces(found: Barrier) -> None:
    """Those of the calculator at each, without a calculation more; ASE's tools take them."""
    for image in found.images:
        again = image.copy()
        again.calc = EMT()
        energy = again.get_potential_energy(force_consistent=True)
        assert image.get_potential_energy() == pytest.approx(energy, abs=1e-9)
        assert np.allclose(image.get_forces(), again.get_forces(), atol=1e-6)
    assert found.calls["images"] <= 2
    assert NEBTools(list(found.images)).get_barrier()[0] == pytest.approx(found.barrier_forward, rel=0.02)


def test_the_profile_is_that_of_ases_tools(found: Barrier) -> None:
    """The curve between the images has their energies and slopes, as a band's in ASE; images that repeat are one."""
    theirs = fit_images(list(found.images))
    s, curve = profile(found.images)
    assert s == pytest.approx(theirs.path, abs=1e-9)
    assert curve(theirs.fit_path) - curve(0) == pytest.approx(theirs.fit_energies, abs=1e-7)
    assert curve.derivative()(s[[0, -1]]) == pytest.approx([0, 0], abs=0.02)
    again, repeated = profile([found.images[0], *found.images])
    assert again == pytest.approx([0, *s])
    assert repeated(s) == pytest.approx(curve(s), abs=1e-12)
    axes = found.plot()
    line, dots = axes.lines[:2]
    assert line.get_label() == "path of the search, not relaxed"
    assert len(line.get_xdata()) > 400
    assert np.isin(dots.get_xdata(), line.get_xdata()).all()
    assert max(line.get_ydata()) == pytest.approx(found.barrier_forward, abs=1e-3)


@pytest.mark.parametrize("held", [[], [0], [0, 1]])
def test_forces_turn_with_a_molecule(held: list[int]) -> None:
    """Descents turn a free molecule, or one about frozen atoms; its forces follow without being calculated."""
    atoms = molecule("CH3OH")
    atoms.rattle(0.05, seed=1)
    atoms.set_constraint(FixAtoms(held))
    turned = Atoms(atoms, constraint=[])
    axis = atoms.positions[1] - atoms.positions[0] if len(held) == 2 else [1, 2, 3]
    turned.rotate(40, axis, center=atoms.positions[0])
    land = AseLandscape(atoms, EMT)
    x, y = land.vector(atoms), turned.positions[land.components]
    ((value,), _), calculated = land.values_and_gradients(x[None]), land.evaluations.gradients
    ours = land.known_gradients(y[None], np.array([value]))[0]
    assert land.evaluations.gradients == calculated
    assert ours == pytest.approx(land.values_and_gradients(y[None])[1][0], abs=1e-6)
    other = x + 0.1 * np.random.default_rng(0).standard_normal(x.size)  # another structure of that value
    ours = land.known_gradients(other[None], np.array([value]))[0]
    assert ours == pytest.approx(land.values_and_gradients(other[None])[1][0], abs=1e-12)


def test_forces_move_with_a_crystal_that_is_translated() -> None:
    """By any vector and across the cell's edge; with an atom held there is no such motion."""
    crystal = bulk("Cu", cubic=True)
    crystal.rattle(0.05, seed=1)
    moved = crystal.copy()
    moved.translate([0.3, -0.2, 1.1])
    moved.wrap()
    for held in ([], [0]):
        crystal.set_constraint(FixAtoms(held))
        land = AseLandscape(crystal, EMT)
        x, y = land.vector(crystal), moved.positions[land.components]
        ((value,), (gradient,)), calculated = land.values_and_gradients(x[None]), land.evaluations.gradients
        found = land.known_gradients(y[None], np.array([value]))[0]
        assert land.evaluations.gradients == calculated + len(held)
        assert np.allclose(found, gradient, atol=1e-9) == (not held)


def test_an_asen_band_is_a_path() -> None:
    land = AseLandscape(hop()[0], EMT)
    images = band().images
    images[-1].positions[-1, 0] -= 0.01  # half a cell away either way is as near
    wrapped = [image.copy() for image in images]
    for image in wrapped[1::2]:
        image.positions[-1] += image.cell[0]
    path = land.path(wrapped)
    assert not path.converged
    assert path.values == pytest.approx(land.values(land.points(images)))
    steps = np.linalg.norm(np.diff(path.points(path.t), axis=0), axis=1)
    assert steps[:3] == pytest.approx(np.full(3, steps[0]))
    saddle = ml.refine_saddle(land, path)
    assert saddle.value - land.values(land.vector(images[0])[None])[0] > 0.1
    resumed = ml.find_path(land, path.start, path.end, method="neb", n_points=5, initial=path, steps=3)
    assert resumed.maximum <= path.maximum + 1e-9


class Interrupted(EMT):
    """Ctrl-C at the twenty-fifth calculation."""

    calls: ClassVar[int] = 0

    def calculate(self, *args: Any, **kwargs: Any) -> None:
        type(self).calls += 1
        if type(self).calls == 25:
            raise KeyboardInterrupt
        super().calculate(*args, **kwargs)


def test_an_interrupted_band_resumes(monkeypatch: pytest.MonkeyPatch, found: Barrier) -> None:
    monkeypatch.setattr(Interrupted, "calls", 0)
    land, again = AseLandscape(found.start, Interrupted), AseLandscape(found.start, EMT)
    start, end = land.vector(found.start), land.vector(found.end)
    with pytest.raises(SearchInterrupted) as stopped:
        ml.find_path(land, start, end, method="neb", n_points=5)
    best = stopped.value.best
    assert not best.converged
    resumed = ml.find_path(again, start, end, method="neb", n_points=5, initial=best)
    assert resumed.converged, resumed.reason
    assert resumed.maximum <= best.maximum
    assert resumed.barrier == pytest.approx(found.barrier_forward, abs=1e-3)


class Fails(EMT):
    """Cannot be calculated where the adatom stands over the bridge, higher than the valley's floor."""

    failed: ClassVar[int] = 0

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        if atoms is not None and atoms.positions[-1, 2] < atoms.positions[4:8, 2].mean() + 1.62:
            type(self).failed += 1
            raise RuntimeError("SCF not converged")
        super().calculate(atoms, properties, system_changes)


def test_a_geometry_that_fails_is_a_wall(monkeypatch: pytest.MonkeyPatch, found: Barrier) -> None:
    """The straight line passes it, and the barrier is found all the same."""
    monkeypatch.setattr(Fails, "failed", 0)
    start, end = hop()
    images = [image.copy() for image in band().images]
    for image in images[1:-1]:
        image.positions[-1, 2] -= 0.3
    around = barrier(start, end, Fails, fmax=0.01, initial=images)
    assert Fails.failed > 0
    assert around.converged, around.reason
    assert around.barrier_forward == pytest.approx(found.barrier_forward, abs=2e-4)
