"""Reaction paths against the differential equation, and against Sella's."""

from __future__ import annotations

import doctest
from typing import Any, ClassVar

import numpy as np
import pytest

ase = pytest.importorskip("ase")

from ase import Atoms  # noqa: E402
from ase.build import add_adsorbate, fcc100  # noqa: E402
from ase.calculators.calculator import Calculator, all_changes  # noqa: E402
from ase.calculators.emt import EMT  # noqa: E402
from ase.constraints import FixAtoms, FixCartesian  # noqa: E402

from minilandscape.adapters import ase_irc  # noqa: E402
from minilandscape.adapters.ase import AseLandscape, ReactionPath, barrier, reaction_path  # noqa: E402


def hop() -> tuple[Atoms, Atoms]:
    start = fcc100("Al", (2, 2, 2), vacuum=5.0)
    start.set_constraint(FixAtoms([atom.index for atom in start if atom.tag == 2]))
    add_adsorbate(start, "Al", 1.7, "hollow")
    end = start.copy()
    end.positions[-1, 0] += start.cell[0, 0] / 2
    return start, end


class BentValley(Calculator):
    """Two atoms in a double well along a valley that bends, one coordinate of each being free."""

    implemented_properties: ClassVar = ["energy", "forces"]

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        x, y = self.atoms.positions[0, 0], self.atoms.positions[1, 1]
        off = y - 0.8 * x**2
        forces = np.zeros((2, 3))
        forces[0, 0] = -(4 * x * (x**2 - 1) - 2 * 5 * off * 1.6 * x)
        forces[1, 1] = -2 * 5 * off
        self.results = {"energy": (x**2 - 1) ** 2 + 5 * off**2, "forces": forces}


def valley(masses: list[float]) -> Atoms:
    atoms = Atoms("HH", [[0, 0, 0], [0, 0, 3]], masses=masses)
    atoms.set_constraint([FixCartesian(0, mask=[False, True, True]), FixCartesian(1, mask=[True, False, True])])
    return atoms


@pytest.mark.parametrize("masses", [[1.0, 1.0], [1.0, 16.0], [12.0, 1.0]])
def test_the_path_is_that_of_steepest_descent(masses: list[float]) -> None:
    """Each point lies on the solution of dq/ds = −g / |g|, which depends on the masses."""
    saddle = valley(masses)
    towards = valley(masses)
    towards.positions[0, 0] = 1.0
    found = reaction_path(saddle, BentValley, fmax=0.02, towards=towards)
    assert found.finished, found.reason
    land, root = AseLandscape(saddle, BentValley), np.sqrt(masses)

    def gradient(q: np.ndarray) -> np.ndarray:
        return land.values_and_gradients((q / root)[None])[1][0] / root

    points = np.array([land.vector(image) * root for image in found.images])
    assert points[0, 0] > 0 > points[-1, 0]
    for side, sign in ((points[: np.argmax(found.s >= 0)], 1.0), (points[np.argmax(found.s > 0) :], -1.0)):
        q, h = np.array([sign * 0.01, 0.0]), 0.01
        curve, g = [q], gradient(q)
        while np.linalg.norm(g * root) > 0.1 or len(curve) < 60:  # the midpoint rule
            half = gradient(q - 0.5 * h * g / np.linalg.norm(g))
            q = q - h * half / np.linalg.norm(half)
            curve, g = [*curve, q], gradient(q)
            assert len(curve) < 1000
        inner = np.linalg.norm(side - side[np.argmax(np.abs(side[:, 0]))], axis=1) > 0.1  # not at the minimum itself
        away = np.linalg.norm(side[:, None] - np.array(curve), axis=2).min(axis=1)
        assert away[inner].max() < 0.02 * abs(found.s).max()
    assert (np.diff(found.energies[found.s >= 0]) < 0).all()
    minimum = AseLandscape(saddle, BentValley).vector(found.images[0])
    assert minimum == pytest.approx([1.0, 0.8], abs=0.02)
    assert found.fmax[0] <= 0.02
    assert found.fmax[1] <= 0.02


def test_masses_matter() -> None:
    """Where the heavy atom lags behind the paths differ by more than their error."""
    ways = [reaction_path(valley(masses), BentValley, fmax=0.02) for masses in ([1.0, 1.0], [1.0, 100.0])]
    heights = []
    for way in ways:
        x = np.array([image.positions[0, 0] for image in way.images])
        y = np.array([image.positions[1, 1] for image in way.images])
        order = np.argsort(x)
        heights.append(np.interp(0.6, x[order], y[order]))
    assert heights[1] < heights[0] - 0.01


@pytest.fixture(scope="module")
def bridge() -> Atoms:
    """The saddle of an adatom's hop on Al(100)."""
    start, end = hop()
    return barrier(start, end, EMT, fmax=0.005).saddle


@pytest.fixture(scope="module")
def found(bridge: Atoms) -> ReactionPath:
    return reaction_path(bridge, EMT, fmax=0.02, towards=hop()[0])


def test_both_sides_of_a_hop_are_mirror_images(found: ReactionPath) -> None:
    assert found.finished, found.reason
    assert found.s[0] == pytest.approx(-found.s[-1], rel=0.02)
    assert found.energies[0] == pytest.approx(found.energies[-1], abs=1e-4)
    assert found.energies.max() - found.energies[0] == pytest.approx(0.2368, abs=1e-3)
    start = hop()[0]
    away = [image.positions[-1, 0] - start.positions[-1, 0] for image in (found.images[0], found.images[-1])]
    assert abs(away[0]) < 0.1 < abs(away[1])
    for image, energy in zip(found.images, found.energies, strict=True):
        again = image.copy()
        again.calc = EMT()
        assert image.get_potential_energy() == energy
        assert again.get_potential_energy(force_consistent=True) == pytest.approx(energy, abs=1e-9)
        assert np.allclose(again.get_forces(), image.get_forces(), atol=1e-8)
    axes = found.plot()
    assert axes.get_xlabel() == "reaction coordinate s (√amu Å)"
    assert f"{found.calls} calculations" in repr(found)


def test_sellas_path_ends_there_too(bridge: Atoms, found: ReactionPath) -> None:
    sella = pytest.importorskip("sella")
    atoms = bridge.copy()
    atoms.calc = EMT()
    irc = sella.IRC(atoms, logfile=None, dx=0.2, eta=1e-4, gamma=0.0)
    irc.run(fmax=0.02, steps=200)
    energy, positions = atoms.get_potential_energy(force_consistent=True), atoms.positions
    assert energy == pytest.approx(found.energies[0], abs=3e-4)
    ends = [np.abs(image.positions - positions).max() for image in (found.images[0], found.images[-1])]
    assert min(ends) < 0.05


def test_where_nothing_bends_down_there_is_no_path() -> None:
    minimum = valley([1.0, 1.0])
    minimum.positions[0, 0], minimum.positions[1, 1] = 1.0, 0.8
    with pytest.raises(ValueError, match="the curvature is nowhere negative"):
        reaction_path(minimum, BentValley)
    with pytest.raises(ValueError, match="fmax is 0"):
        reaction_path(minimum, BentValley, fmax=0)


class WithAWall(BentValley):
    """Cannot be calculated on one side."""

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        if self.atoms.positions[0, 0] > 0.5:
            raise RuntimeError("no convergence")


def test_a_side_that_meets_a_wall_ends_there() -> None:
    found = reaction_path(valley([1.0, 1.0]), WithAWall, fmax=0.02)
    assert not found.finished
    assert "side met a geometry that could not be calculated" in found.reason
    assert max(image.positions[0, 0] for image in found.images) <= 0.5
    assert min(found.energies[0], found.energies[-1]) == pytest.approx(0, abs=1e-3)


def test_the_example_prints_what_it_says() -> None:
    found = doctest.testmod(ase_irc)
    assert found.attempted > 4
    assert not found.failed


def test_a_barrier_draws_the_reaction_path_where_it_was_followed() -> None:
    start, end = hop()
    found = barrier(start, end, EMT, fmax=0.02, irc=True)
    assert found.converged, found.reason
    assert found.irc is not None
    line, _, ends = found.plot().lines[:3]
    assert (line.get_label(), ends.get_label()) == ("reaction path (IRC)", "ends of the reaction path")
    assert max(line.get_ydata()) == pytest.approx(found.barrier_forward, abs=1e-3)
    without = barrier(start, found.end, EMT, fmax=0.02)
    assert without.plot().lines[0].get_label() == "path of the search, not relaxed"
