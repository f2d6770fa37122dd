"""Barriers between two structures: by the command and in Python, whatever the order and the images of the atoms."""

from __future__ import annotations

import doctest
import json
import re
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from command_line import run
from minilandscape_cli.options import spread_options

ase = pytest.importorskip("ase")

from ase import Atoms  # noqa: E402
from ase.build import add_adsorbate, bulk, fcc100, molecule  # noqa: E402
from ase.calculators.calculator import Calculator, all_changes  # noqa: E402
from ase.calculators.emt import EMT  # noqa: E402
from ase.calculators.lj import LennardJones  # noqa: E402
from ase.constraints import FixAtoms, FixBondLengths, FixCartesian  # noqa: E402
from ase.geometry import find_mic  # noqa: E402
from ase.io import read, write  # noqa: E402
from ase.optimize import BFGS  # noqa: E402
from ase.vibrations import Vibrations  # noqa: E402

from minilandscape.adapters.ase import AseLandscape, barrier  # noqa: E402
from minilandscape.adapters.ase_calculators import named_calculator, options_of  # noqa: E402
from minilandscape.adapters.ase_modes import imaginary_mode  # noqa: E402
from minilandscape.adapters.ase_order import remarks_on_periods, same_order  # noqa: E402
from minilandscape.landscape import LandscapeError  # noqa: E402


def hop() -> tuple[Atoms, Atoms]:
    """An adatom on Al(100) that moves to the next hollow; one layer is frozen."""
    start = fcc100("Al", (2, 2, 2), vacuum=5.0)
    start.set_constraint(FixAtoms([atom.index for atom in start if atom.tag == 2]))
    add_adsorbate(start, "Al", 1.7, "hollow")
    start.info = {}  # where the sites are, which no file holds
    start.set_tags(None)
    end = start.copy()
    end.positions[-1, 0] += start.cell[0, 0] / 2
    return start, end


@pytest.fixture(scope="module")
def found() -> Any:
    return barrier(*hop(), EMT, fmax=0.01)


def test_a_barrier_shows_itself(found: Any) -> None:
    """A notebook's table has the rows of the summary and the profile beside it."""
    html = found._repr_html_()
    assert "<svg" in html
    for line in found.summary().splitlines():
        assert f">{line.split()[0]}" in html
        assert len(line) > len(line.split()[0])


def test_a_hop_by_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], found: Any
) -> None:
    """Barrier as in Python, though the end's atoms come in another order and one lies beyond the cell's edge."""
    monkeypatch.chdir(tmp_path)
    start, end = hop()
    order = np.array([0, 1, 2, 3, 8, 5, 6, 7, 4])  # the adatom and one of the upper layer
    end = end[order]
    end.positions[5] += end.cell[0] - end.cell[1]
    write("start.traj", start)
    write("both.extxyz", [start, end])
    line = ("connect", "start.traj", "both.extxyz@1", "--calculator", "emt", "--fmax", "0.01")
    assert run(*line, "--out", "new/hop", "--plot", "hop.svg") == 0
    printed, said = capsys.readouterr()
    for name in ("barrier", "reaction", "saddle", "frequency", "connects", "calls", "converged", "wrote"):
        assert f"\n{name} " in f"\n{printed}"
    assert float(printed.split()[1]) == pytest.approx(found.barrier_forward, abs=2e-4)
    assert ["connects", "start", "and", "end"] in [line.split() for line in printed.splitlines()]
    assert "like atoms were exchanged" in said
    assert Path("hop.svg").stat().st_size > 0
    images = read("new/hop_path.traj", ":")
    energies = [image.get_potential_energy() for image in images]
    assert max(energies) - energies[0] == pytest.approx(found.barrier_forward, rel=1e-3)
    saddle = read("new/hop_saddle.extxyz")
    assert np.abs(saddle.get_forces()).max() <= 0.01
    assert run(*line, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["converged"]
    assert document["barrier_reverse"] == pytest.approx(found.barrier_reverse, rel=1e-3)
    assert document["calls"]["total"] >= document["calls"]["relaxation"]


def test_the_numbers_are_those_of_the_structures(found: Any, tmp_path: Path) -> None:
    assert found.converged
    assert found.connects == "start and end"
    for atoms in (found.start, found.saddle, found.end):
        again = atoms.copy()
        again.calc = EMT()
        assert again.get_potential_energy(force_consistent=True) == pytest.approx(
            atoms.get_potential_energy(), rel=1e-12
        )
        assert np.linalg.norm(again.get_forces(), axis=1).max() <= 0.01
    energies = [atoms.get_potential_energy() for atoms in (found.start, found.saddle, found.end)]
    assert found.barrier_forward == pytest.approx(energies[1] - energies[0], rel=1e-9)
    assert found.barrier_reverse == pytest.approx(energies[1] - energies[2], rel=1e-9)
    assert found.reaction_energy == pytest.approx(energies[2] - energies[0], abs=1e-9)
    stages = sum(n for stage, n in found.calls.items() if stage != "total")
    assert stages - 8 <= found.calls["total"] <= stages  # the relaxed ends come up again
    saddle = found.saddle.copy()
    saddle.calc = EMT()
    vibrations = Vibrations(saddle, indices=range(4, 9), name=str(tmp_path / "modes"), nfree=4, delta=0.01)
    vibrations.run()
    frequencies = vibrations.get_frequencies()
    assert found.frequency == pytest.approx(frequencies[0].imag, rel=0.01)
    assert frequencies[1].imag < 1
    axes = found.plot()
    assert axes.get_xlabel() == "path length (Å)"
    assert max(axes.lines[0].get_ydata()) == pytest.approx(found.barrier_forward, rel=1e-6)


def test_every_calculation_is_counted() -> None:
    calls = 0

    class Counted(EMT):
        def calculate(self, *args: Any, **kwargs: Any) -> None:
            nonlocal calls
            calls += 1
            super().calculate(*args, **kwargs)

    assert barrier(*hop(), Counted, fmax=0.1).calls["total"] == calls


class Smeared(Calculator):
    """One atom in a double well, with an energy beside the one that its forces are the derivatives of."""

    implemented_properties: ClassVar = ["energy", "free_energy", "forces"]

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        x, y, z = self.atoms.positions[0]
        free = (x**2 - 1) ** 2 + y**2 + z**2
        forces = np.array([[-4 * x * (x**2 - 1), -2 * y, -2 * z], [0, 0, 0]])
        self.results = {"free_energy": free, "energy": free + 0.05 * np.cos(np.pi * x), "forces": forces}


def test_a_barrier_counts_from_the_energies_that_the_forces_belong_to() -> None:
    """1.000 above 0 in the free energy; 1.05 above −0.05 in the other one. The files have it as both."""
    start = Atoms("HHe", [[-1.01, 0, 0], [3, 0, 0]], cell=3 * [10.0], pbc=True, constraint=FixAtoms([1]))
    end = start.copy()
    end.positions[0, 0] = 0.98
    smeared = barrier(start, end, Smeared, fmax=1e-3)
    assert smeared.converged
    assert [smeared.barrier_forward, smeared.saddle_energy] == pytest.approx([1, 1], abs=1e-5)
    for image in (smeared.saddle, *smeared.images):
        assert image.get_potential_energy() == image.get_potential_energy(force_consistent=True)


class Springs(Calculator):
    """A quadratic form over all coordinates."""

    implemented_properties: ClassVar = ["energy", "forces"]
    hessian: ClassVar = np.zeros(0)

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        x = self.atoms.positions.ravel()
        self.results = {"energy": 0.5 * x @ self.hessian @ x, "forces": -(self.hessian @ x).reshape(-1, 3)}


def test_the_imaginary_frequency_is_of_the_mass_weighted_hessian(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the dense eigenvalues, where the Cartesian mode is far from that one."""
    rng = np.random.default_rng(1)
    atoms = Atoms("HCNOAu", positions=3 * rng.standard_normal((5, 3)), pbc=True, cell=[30, 30, 30])
    atoms.set_constraint(FixAtoms([1]))
    free = np.setdiff1d(np.arange(15), [3, 4, 5])
    q = np.linalg.qr(rng.standard_normal((15, 15)))[0]
    hessian = q @ np.diag([-6.0, *np.linspace(2, 60, 14)]) @ q.T
    shifted = atoms.positions.ravel()
    monkeypatch.setattr(Springs, "hessian", hessian)
    land = AseLandscape(atoms, Springs)
    root = np.sqrt(np.repeat(atoms.get_masses(), 3)[free])
    dense = np.linalg.eigvalsh(hessian[np.ix_(free, free)] / np.outer(root, root))
    values, vectors = np.linalg.eigh(hessian[np.ix_(free, free)])
    assert values[0] < 0
    assert dense[0] < 0
    found = imaginary_mode(land, shifted[free], vectors[:, 0], 0.01)
    right = 521.4709 * np.sqrt(-dense[0])  # cm^-1 of 1 eV/(Å² amu)
    assert found.frequency == pytest.approx(right, rel=1e-3)
    assert abs(found.frequency - right) <= found.error + 1e-4 * right
    assert found.calls == land.evaluations.gradients <= 2 * len(free)


def test_exchanges_that_would_make_another_reaction_are_not_made() -> None:
    """A rotation about a bond is one, though the nearest pairing of like atoms would break bonds."""
    from minilandscape.adapters.ase_ends import bonds_of, matched

    gauche = Atoms("CCCC", [[0.72, 0.55, 0.13], [-0.72, 0.55, -0.13], [1.53, -0.49, -0.09], [-1.53, -0.49, 0.09]])
    trans = Atoms("CCCC", [[-0.61, -0.40, 0], [0.61, 0.40, 0], [-1.84, 0.11, 0], [1.84, -0.11, 0]])
    for first, second in ((gauche, trans), (trans, gauche)):
        land = AseLandscape(first, EMT)
        near, _ = matched(land, land.vector(first), land.vector(second))
        assert bonds_of(land.atoms(near)) == bonds_of(first)
        near, did = matched(land, land.vector(first), land.vector(second[[2, 1, 0, 3]]))
        assert bonds_of(land.atoms(near)) == bonds_of(first)
        assert "like atoms were exchanged" in did[0]


def formamide() -> tuple[Atoms, Atoms]:
    """Formamide and formimidic acid, numbered alike: hydrogen 5 moves from nitrogen to oxygen."""
    amide = [[0, 0, 0], [1.06, 0.60, 0], [-1.17, 0.65, 0], [0, -1.10, 0], [-2.03, 0.15, 0], [-1.20, 1.66, 0]]
    imidic = [[0, 0, 0], [1.17, 0.66, 0], [-1.05, 0.65, 0], [0, -1.10, 0], [-1.90, 0.10, 0], [1.05, 1.62, 0]]
    return Atoms("CONH3", amide), Atoms("CONH3", imidic)


def test_an_end_in_any_order_is_paired_for_the_same_reaction() -> None:
    """The pairing of few bonds and a short way is found, though neither the files' order nor the nearest is it."""
    from minilandscape.adapters.ase_ends import matched
    from minilandscape.adapters.ase_pairing import Pairings

    start, end = formamide()
    land = AseLandscape(start, EMT)
    a = land.vector(start)
    right, _ = matched(land, a, land.vector(end))
    assert np.allclose(land.atoms(right).get_all_distances(), end.get_all_distances())  # numbered alike: as it is
    assert Pairings(land, a).judged(right)[0] == 2
    rng = np.random.default_rng(0)
    orders = [[0, 3, 2, 5, 1, 4], *(rng.permutation(6) for _ in range(30))]
    for order in orders:
        other = same_order(start, end[order], match=True)
        assert other.moved > 0
        assert other.guessed
        near, _ = matched(land, a, land.vector(other.atoms), guessed=True)
        assert np.allclose(near, right, atol=1e-6)


def test_an_order_that_was_kept_yields_to_fewer_bonds_only() -> None:
    """The nearest of equally good pairings replaces a guess, not the order of files that agree in it."""
    from minilandscape.adapters.ase_ends import matched

    start, end = formamide()
    land = AseLandscape(start, EMT)
    a, b = land.vector(start), land.vector(end[[0, 1, 2, 3, 5, 4]])  # 2 bonds change too, over a longer way
    kept, _ = matched(land, a, b)
    assert np.allclose(land.atoms(kept).get_all_distances(), land.atoms(b).get_all_distances())
    near, did = matched(land, a, b, guessed=True)
    assert np.linalg.norm(near - a) < 0.6 * np.linalg.norm(kept - a)
    assert "like atoms were exchanged" in did[0]
    many = land.vector(end[[0, 1, 2, 4, 5, 3]])  # 4 bonds change or more
    near, did = matched(land, a, many)
    assert np.linalg.norm(near - a) < 0.6 * np.linalg.norm(kept - a)
    assert "like atoms were exchanged" in did[0]


def test_a_search_knows_whether_the_order_of_like_atoms_is_a_guess(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of one order are told from those whose species had to be sorted."""
    from minilandscape.adapters import ase_search

    class Asked(Exception):
        pass

    def matched(land: Any, a: np.ndarray, b: np.ndarray, guessed: bool) -> Any:
        raise Asked(guessed)

    monkeypatch.setattr(ase_search, "matched", matched)
    start, end = formamide()
    for order, guessed in (([0, 1, 2, 3, 5, 4], "False"), ([0, 3, 2, 5, 1, 4], "True")):
        with pytest.raises(Asked, match=guessed):
            barrier(start, end[order], EMT, relax=False)


def test_an_exchange_counts_the_bonds_that_change() -> None:
    """The gain of an exchange is that of the exchanged bonds counted anew."""
    from minilandscape.adapters.ase_pairing import _fewer

    rng = np.random.default_rng(1)
    ours, theirs = (np.triu(rng.integers(0, 2, (7, 7)), 1) for _ in range(2))
    ours, theirs = ours + ours.T, theirs + theirs.T
    changed, fewer = np.abs(ours - theirs).sum() // 2, _fewer(ours, theirs)
    for i, j in np.argwhere(~np.eye(7, dtype=bool)):
        order = np.arange(7)
        order[[i, j]] = j, i
        assert fewer[i, j] == changed - np.abs(ours - theirs[np.ix_(order, order)]).sum() // 2


def test_shuffled_ends_of_a_slab_an_isomerisation_and_an_inversion_are_paired() -> None:
    """Frozen atoms stay, the hop remains the hop, and the inversion keeps its bonds."""
    from minilandscape.adapters.ase_ends import bonds_of, matched

    ammonia = Atoms("NH3", [[0, 0, 0.3], [0.94, 0, 0], [-0.47, 0.81, 0], [-0.47, -0.81, 0]])
    turned = ammonia.copy()
    turned.positions[0, 2] = -0.3
    hcn = Atoms("CNH", [[0, 0, 0.50], [0, 0, -0.65], [0, 0, 1.57]])
    hnc = Atoms("CNH", [[0, 0, 0.74], [0, 0, -0.43], [0, 0, -1.43]])
    rng = np.random.default_rng(2)
    for start, end in (hop(), (ammonia, turned), (hcn, hnc)):
        land = AseLandscape(start, EMT)
        a = land.vector(start)
        right, _ = matched(land, a, land.vector(end))
        for _ in range(5):
            other = same_order(start, end[rng.permutation(len(end))], match=True)
            near, _ = matched(land, a, land.vector(other.atoms), guessed=other.guessed)
            assert bonds_of(land.atoms(near)) == bonds_of(land.atoms(right))
            assert np.linalg.norm(near - a) == pytest.approx(np.linalg.norm(right - a), abs=1e-4)


def claisen() -> tuple[Atoms, Atoms]:
    """Allyl vinyl ether and 4-pentenal, numbered alike (Baker and Chan, 1996), to a tenth of an ångström."""
    ether = [
        [-2.4, 0.8, 0.1],
        [-1.5, 0, -0.5],
        [-0.6, -0.9, 0.3],
        [0.7, -0.8, -0.1],
        [1.3, 0.3, 0.2],
        [2.6, 0.6, -0.1],
        [-2.5, 0.9, 1.2],
        [-3, 1.5, -0.5],
        [-1.5, -0.1, -1.6],
        [-0.9, -2, 0.1],
        [-0.7, -0.7, 1.4],
        [3, 1.5, 0.2],
        [3.1, -0.1, -0.8],
        [0.8, 1, 0.9],
    ]
    pentenal = [
        [-0.7, -1.1, -0.2],
        [-1.5, 0, 0.5],
        [-2.2, 0.9, -0.2],
        [2.2, 1, 0.2],
        [1.4, 0.3, -0.4],
        [0.8, -1, 0.1],
        [-0.8, -1, -1.3],
        [-1.1, -2.1, 0.1],
        [-1.4, 0.1, 1.6],
        [-2.7, 1.7, 0.4],
        [-2.3, 0.9, -1.3],
        [1.3, -1.8, -0.3],
        [1, -1, 1.2],
        [1.1, 0.5, -1.4],
    ]
    return Atoms("C3OC2H8", ether), Atoms("C3OC2H8", pentenal)


@pytest.mark.parametrize("turned", [False, True])
def test_groups_change_places_as_a_whole(turned: bool) -> None:
    """The Claisen rearrangement, where both ends of an allyl group may bond to carbon: the nearer one is found."""
    from minilandscape.adapters.ase_ends import matched
    from minilandscape.adapters.ase_pairing import Pairings

    start, end = claisen()[::-1] if turned else claisen()
    land = AseLandscape(start, EMT)
    a = land.vector(start)
    pairings = Pairings(land, a)
    right = pairings.judged(matched(land, a, land.vector(end))[0])
    assert right[0] == 2
    for seed in range(3):
        other = same_order(start, end[np.random.default_rng(seed).permutation(14)], match=True)
        near, _ = matched(land, a, land.vector(other.atoms), guessed=other.guessed)
        assert pairings.judged(near)[0] == 2
        assert pairings.judged(near)[1] == pytest.approx(right[1], rel=1e-3)


def layers() -> tuple[Atoms, Atoms]:
    """The hop with a tag for each layer, as ASE's builder sets them."""
    start, end = hop()
    for atoms in (start, end):
        atoms.set_tags([2] * 4 + [1] * 4 + [0])
    return start, end


CARRIED: dict[str, Any] = {
    "tags": lambda atoms, values: atoms.set_tags(values),
    "initial charges": lambda atoms, values: atoms.set_initial_charges(values),
    "initial magnetic moments": lambda atoms, values: atoms.set_initial_magnetic_moments(values),
    "masses": lambda atoms, values: atoms.set_masses(26 + np.array(values)),
}


@pytest.mark.parametrize("name", CARRIED)
def test_what_atoms_carry_is_shuffled_with_them(name: str) -> None:
    """And tells like atoms apart; only ends on which the same atoms cannot carry the same are refused."""
    start, end = hop()
    values = np.array([2, 2, 2, 2, 1, 1, 3, 1, 0])
    for atoms in (start, end):
        CARRIED[name](atoms, values)
    found = barrier(start, end, EMT, verify=False)
    order = np.random.default_rng(0).permutation(9)
    shuffled = barrier(start, end[order], EMT, verify=False)
    assert shuffled.barrier_forward == pytest.approx(found.barrier_forward, abs=1e-3)
    away = shuffled.end.positions - found.end.positions
    assert find_mic(away, start.cell, start.pbc)[1].max() < 0.01
    assert "were put into the start's order of species" in shuffled.remarks[0]
    with pytest.raises(ValueError, match=f"the atoms have other {name} than"):
        barrier(start, end[[0, 1, 2, 3, 5, 6, 4, 7, 8]], EMT, match=False)
    values[4] = 3
    CARRIED[name](end, values)
    with pytest.raises(ValueError, match=rf"the {name} of Al are .* at the start, .*; expected the same"):
        barrier(start, end, EMT)
    with pytest.raises(ValueError, match=rf"the {name} of Al are"):
        barrier(start, end[order], EMT)


def test_tags_in_one_order_tell_no_atoms_apart() -> None:
    """Tags that a builder or a copy left are no reason against an exchange; those that moved with atoms are."""
    start, end = layers()
    exchanged = end.copy()
    exchanged.positions[[5, 8]] = end.positions[[8, 5]]
    found = barrier(start, exchanged, EMT, verify=False)
    assert any("like atoms were exchanged" in remark for remark in found.remarks)
    assert found.barrier_forward == pytest.approx(barrier(start, end, EMT, verify=False).barrier_forward, abs=1e-3)
    shuffled = same_order(start, end[[0, 1, 2, 3, 8, 4, 5, 6, 7]], match=True)
    assert shuffled.by_tags
    assert shuffled.guessed  # of the four of the upper layer
    assert shuffled.remarks()[0].startswith("5 atoms of the end were put into the start's order of species and tags;")
    for atoms in (start, end):
        atoms.set_tags(range(9))
    shuffled = same_order(start, end[[0, 1, 2, 3, 8, 4, 5, 6, 7]], match=True)
    assert np.array_equal(shuffled.atoms.positions, end.positions)
    assert not shuffled.guessed
    end.set_tags(None)  # as of a file that holds none
    assert same_order(start, end, match=True).moved == 0


def test_what_differs_in_no_single_thing_differs_together() -> None:
    start, end = hop()
    for atoms, charges in ((start, [1, 0]), (end, [0, 1])):
        atoms.set_initial_charges([0] * 7 + charges)
        atoms.set_initial_magnetic_moments([0] * 7 + [2, 0])
    with pytest.raises(ValueError, match=r"in free components, initial charges, .* taken together; expected the same"):
        same_order(start, end, match=True)
    start, end = hop()
    end.set_constraint([*end.constraints, FixCartesian(5, mask=(False, False, True))])
    with pytest.raises(ValueError, match=r"the free components of Al are xyz \(5 atoms\) at the start, xy \(1 "):
        same_order(start, end, match=True)


class InBatches(EMT):
    """A calculator that takes several structures in one call."""

    batches: ClassVar[list[int]] = []

    def calculate_batch(self, structures: list[Atoms]) -> tuple[list[float], list[np.ndarray]]:
        self.batches.append(len(structures))
        for atoms in structures:
            atoms.calc = EMT()
        energies = [atoms.get_potential_energy(force_consistent=True) for atoms in structures]
        return energies, [atoms.get_forces() for atoms in structures]

    def calculate(self, *_: Any, **__: Any) -> None:
        raise AssertionError("one structure alone was asked for")


def test_points_of_one_step_go_out_in_one_call(monkeypatch: pytest.MonkeyPatch, found: Any) -> None:
    monkeypatch.setattr(InBatches, "batches", [])
    batched = barrier(*hop(), InBatches, fmax=0.01)
    assert batched.barrier_forward == pytest.approx(found.barrier_forward, rel=1e-9)
    assert sum(InBatches.batches) == batched.calls["total"]
    relaxation = batched.calls["relaxation"]
    assert InBatches.batches[:relaxation] == [1] * relaxation
    assert InBatches.batches[relaxation] in (3, 4, 5)  # of five points two are the ends, which may have been moved
    assert len(InBatches.batches) - relaxation <= batched.connection.rounds + batched.calls["frequency"]


def test_batches_of_another_shape_and_failures_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InBatches, "calculate_batch", lambda self, structures: (np.zeros(1), np.zeros((1, 3))))
    land = AseLandscape(hop()[0], InBatches)
    point = land.vector(hop()[0])
    with pytest.raises(
        LandscapeError, match=r"shapes \(1,\) and \(1, 3\); expected energies \(1,\) and forces \(1, 9, 3\)"
    ):
        land.values(point[None])

    def broken(self: Any, structures: Any) -> Any:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(InBatches, "calculate_batch", broken)
    with pytest.raises(LandscapeError, match="calculate_batch raised RuntimeError with 2 structures: out of memory"):
        land.values(np.stack([point, point + 0.1]))


def test_ends_that_are_no_two_minima_are_refused() -> None:
    start, end = hop()
    near = start.copy()
    near.positions[-1] += [0.3, 0.2, 0.1]
    with pytest.raises(ValueError, match="both ends relax into one minimum"):
        barrier(start, near, EMT)
    with pytest.raises(ValueError, match="start and end are one structure"):
        barrier(start, start, EMT, relax=False)
    with pytest.raises(ValueError, match="is Al9, the end Al8; expected the same atoms"):
        barrier(start, end[:-1], EMT)
    with pytest.raises(ValueError, match=r"expected the same atoms: 1 Al more at the start, 1 Cu more at the end"):
        barrier(start, end[:-1] + Atoms("Cu", [[0, 0, 9.0]]), EMT)
    wider, turned, open_ = end.copy(), end.copy(), end.copy()
    wider.cell[0] *= 1.1
    turned.rotate(10, "z", rotate_cell=True)
    open_.pbc = [True, False, False]
    with pytest.raises(ValueError, match=r"differ: a is 5\.728 at the start and 6\.3 at the end; expected one cell"):
        barrier(start, wider, EMT)
    with pytest.raises(ValueError, match=r"the same lengths and angles in another orientation"):
        barrier(start, turned, EMT)
    with pytest.raises(ValueError, match="the start is periodic along ab, the end along a; expected the same"):
        barrier(start, open_, EMT)
    with pytest.raises(ValueError, match="start and end are one structure"):
        barrier(Atoms("Al"), Atoms("Al", [[1.0, 0, 0]]), EMT)
    with pytest.raises(ValueError, match="4 atoms of the start are frozen, 0 of the end"):
        barrier(start, Atoms(end, constraint=[]), EMT)
    for atoms in (start, end):
        atoms.set_constraint(FixBondLengths([[0, 1]]))
    with pytest.raises(ValueError, match="the atoms of the start have a constraint FixBondLengths, which a "):
        barrier(start, end, EMT)


@pytest.mark.parametrize("pbc", [(True, True, True), (True, True, False), (False, True, False)])
@pytest.mark.parametrize("size", [3.0, 10.0, 77.7])
@pytest.mark.parametrize("part", [1e-1, 1e-4, 1e-5])
def test_cells_that_differ_are_told_by_what_differs(pbc: tuple[bool, ...], size: float, part: float) -> None:
    """Lengths and angles with the digits that tell them apart, or the orientation; the advice removes either."""
    start = Atoms("Al2", [[0, 0, 0], [0, 0, 2.0]], cell=[size, 1.1 * size, 1.3 * size, 90, 90, 80], pbc=pbc)
    known = [*pbc, pbc[1] and pbc[2], pbc[0] and pbc[2], pbc[0] and pbc[1]]
    for axis in range(6):
        end, sizes = start.copy(), start.cell.cellpar()
        sizes[axis] *= 1 + part
        end.set_cell(sizes)
        end.rotate(90, "z", rotate_cell=True)
        with pytest.raises(ValueError, match="expected one cell") as refused:
            same_order(start, end, match=True)
        said = re.search(rf"{'abcαβγ'[axis]} is (\S+) at the start and (\S+) at the end", str(refused.value))
        assert (said is not None and said[1] != said[2]) == known[axis], refused.value
        assert ("another orientation" in str(refused.value)) != known[axis]
        end.set_cell(start.cell, scale_atoms=True)
        same_order(start, end, match=True)


def swapped_water() -> tuple[Atoms, Atoms]:
    """Its hydrogens exchanged, which a half turn does too."""
    start = molecule("H2O")
    return start, start[[0, 2, 1]]


def hop_to_its_own_image() -> tuple[Atoms, Atoms]:
    start = fcc100("Al", (1, 1, 3), vacuum=5.0)
    start.set_constraint(FixAtoms(range(3)))
    add_adsorbate(start, "Al", 1.7, "hollow")
    end = start.copy()
    end.positions[-1] += start.cell[0]
    return start, end


def exchanged_in_a_cluster() -> tuple[Atoms, Atoms]:
    """No turn exchanges two of these."""
    start = Atoms("Al5", [[0, 0, 0], [2.9, 0, 0], [1.2, 2.6, 0], [1.3, 0.9, 2.4], [3.9, 2.5, 1.1]])
    return start, start[[1, 0, 2, 3, 4]]


@pytest.mark.parametrize("relax", [True, False])
@pytest.mark.parametrize("ends", [swapped_water, hop_to_its_own_image, exchanged_in_a_cluster])
def test_an_option_is_advised_where_it_helps(ends: Any, relax: bool) -> None:
    with pytest.raises(ValueError, match=r"start and end are one structure|relax into one minimum") as refused:
        barrier(*ends(), EMT, relax=relax)
    advised = "--no-match" in str(refused.value)
    try:
        barrier(*ends(), EMT, relax=relax, match=False, verify=False)
        helps = True
    except ValueError as again:
        helps = "one structure" not in str(again) and "one minimum" not in str(again)
    assert advised == helps


class Well(Calculator):
    """Two wells at x = ±1 Å that an external potential makes, 0.4 eV apart; atoms that are held feel nothing."""

    implemented_properties: ClassVar = ["energy", "forces"]

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        x, y, z = self.atoms.positions[0]
        forces = np.zeros((len(self.atoms), 3))
        forces[0] = -4 * x * (x**2 - 1) - 0.2, -2 * y, -2 * z
        self.results = {"energy": (x**2 - 1) ** 2 + 0.2 * x + y**2 + z**2, "forces": forces}


@pytest.mark.parametrize("pbc", [True, False])
@pytest.mark.parametrize("match", [True, False])
def test_motions_that_are_assumed_to_be_free_are_named_where_they_are_not(match: bool, pbc: bool) -> None:
    """And what is advised leaves none."""
    start, end = (Atoms("H", [[x, 0, 0]], cell=[20, 20, 20], pbc=pbc) for x in (-1, 1))
    said = r"differ by 0\.4 eV, though translations are taken to leave the energy alone: where an external potential"
    with pytest.raises(ValueError, match=said) as refused:
        barrier(start, end, Well, match=match)
    assert "--no-match" not in str(refused.value)
    far = Atoms("He3", [[9, 9, 9], [9, 9, 5], [9, 5, 5]], constraint=FixAtoms(range(3)))
    ends = [atoms + far for atoms in (start, end)]
    for atoms in ends:
        atoms.set_constraint(FixAtoms([1, 2, 3]))
    found = barrier(*ends, Well, match=match)
    assert found.converged
    assert found.reaction_energy == pytest.approx(0.4, abs=0.02)


@pytest.mark.parametrize("fmax", [0.02, 0.6, 5.0])
def test_a_threshold_that_was_not_asked_for_is_explained(fmax: float) -> None:
    start, end = hop()
    for atoms in (start, end):
        atoms.set_constraint(FixAtoms(range(8)))
    found = barrier(start, end, EMT, fmax=fmax)
    assert found.saddle is not None
    assert found.document()["asked"] == found.asked == fmax
    assert (found.tolerance < 0.9 * fmax) == (fmax == 5.0)
    used = found.tolerance
    for asked, why in (
        (used, ")"),
        (10 * used, f"; asked for: {10 * used:.3g}, at which the saddle could not be told from its minima)"),
        (used / 2, f"; asked for: {used / 2:.3g}, which the noise of the forces hides)"),
    ):
        assert f"(threshold {used:.3g}{why}" in replace(found, asked=asked).summary()


def test_an_error_of_the_energy_is_said_where_it_matters(found: Any) -> None:
    """The estimate is that of the highest saddle; below 1 % of the lower barrier there is no line."""
    assert 0 <= found.document()["value_error"] == found.value_error == found.connection.saddle.value_error
    lower = min(found.barrier_forward, found.barrier_reverse)
    for part in (0.005, 0.03):
        saddle = replace(found.connection.saddle, value_error=part * lower)
        others = tuple(each for each in found.connection.saddles if each is not found.connection.saddle)
        off = replace(found, connection=replace(found.connection, saddles=(saddle, *others)))
        lines = {
            what: [line for line in each.summary().splitlines() if line.startswith("error")]
            for what, each in (("fmax", off), ("tolerance", off.connection))
        }
        for what, said in lines.items():
            assert len(said) == (part > 0.01)
            assert all("3% of the barrier" in line and f"a smaller {what} reduces it" in line for line in said)
        assert all(f"about {0.03 * lower:.2g} eV" in line for line in lines["fmax"])


def test_forces_that_are_left_after_a_relaxation_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minilandscape.adapters.ase_ends.MOST_STEPS", 0)
    start, end = (Atoms("Al2", [[0, 0, 0], [0, 0, z]]) for z in (2, 3))
    with pytest.raises(ValueError, match=r"forces of 4\.\d+ eV/Å after 0 steps; expected 0\.01, a fifth of fmax: give"):
        barrier(start, end, EMT)


def test_a_rearrangement_of_one_structure_keeps_its_order() -> None:
    """A vacancy of a crystal hops: both ends are one structure up to a translation and the order of the atoms."""
    crystal = bulk("Al", cubic=True) * (2, 2, 2)
    start, end = crystal.copy(), crystal.copy()
    neighbour = int(crystal.get_distances(0, range(1, 32), mic=True).argmin()) + 1
    end.positions[neighbour] = crystal.positions[0]
    del start[0]
    del end[0]
    hops = barrier(start, end, EMT, fmax=0.02)
    assert hops.converged, hops.reason
    assert "their order is kept" in hops.remarks[0]
    land = AseLandscape(start, EMT)
    way = np.linalg.norm(land.forces(land.displacement(land.vector(hops.start), land.vector(hops.end))), axis=1)
    assert way.argmax() == neighbour - 1
    assert way.max() > 2.0
    assert hops.barrier_forward == pytest.approx(hops.barrier_reverse, abs=1e-4)
    assert barrier(start, end, EMT, fmax=0.02, match=False).barrier_forward == pytest.approx(
        hops.barrier_forward, abs=2e-4
    )
    # Files in different orders: the same hop.
    seen: list[str] = []
    other = end[np.random.default_rng(0).permutation(31)]
    shuffled = barrier(start, other, EMT, fmax=0.02, progress=seen.append, notify=seen.append)
    assert "in different orders" in shuffled.remarks[0]
    # Said before the saddle is searched.
    assert seen.index(shuffled.remarks[0]) < next(k for k, text in enumerate(seen) if text.startswith("first path"))
    assert shuffled.converged
    assert shuffled.barrier_forward == pytest.approx(hops.barrier_forward, abs=2e-4)
    few = barrier(start, end[[4, *range(1, 4), 0, *range(5, 31)]], EMT, fmax=0.02)  # two atoms have changed places
    assert few.barrier_forward == pytest.approx(hops.barrier_forward, abs=2e-4)
    exchanged = start[[1, 0, *range(2, 31)]]
    with pytest.raises(ValueError, match="start and end are one structure"):
        barrier(start, exchanged, EMT, relax=False)


def test_a_path_of_ones_own(found: Any) -> None:
    """The images of a band, which go over the bridge beside the straight line's, or over an atom."""
    images = [image.copy() for image in found.images[:: max(1, len(found.images) // 6)]]
    images = [*images[:-1], found.end.copy()]
    again = barrier(*hop(), EMT, initial=images, fmax=0.02)
    assert again.barrier_forward == pytest.approx(found.barrier_forward, abs=2e-3)
    assert "begins from" in again.remarks[0]
    with pytest.raises(ValueError, match="2 images were given"):
        barrier(*hop(), EMT, initial=images[:2])


def test_a_calculator_that_fails_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    start, end = hop()
    write("a.xyz", start)
    write("b.xyz", end)
    write("x.xyz", Atoms("XeAl", [[0, 0, 0], [3, 0, 0]]))
    Path("own.py").write_text("import no_such\n")
    Path("two.py").write_text("from ase.calculators.emt import EMT\n\n\nclass Mine(EMT):\n    pass\n\n\none = Mine()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    line = ("connect", "a.xyz", "b.xyz")
    assert run(*line) == 2
    assert "add --calculator emt, lj, gfn1-xtb, gfn2-xtb or MODULE:CLASS" in capsys.readouterr().err
    for more, code, said in (
        (("--calculator", "foo"), 1, "is 'foo'; expected emt, lj, gfn1-xtb, gfn2-xtb, or MODULE:CLASS"),
        (("--calculator", "GFN2_xtb"), 1, "is 'GFN2_xtb' (did you mean gfn2-xtb?); expected emt"),
        (("--calculator", "Morse"), 1, "(did you mean ase.calculators.morse:MorsePotential?); expected emt"),
        (("--calculator", "no_such:Thing"), 1, "no module named 'no_such' here or installed"),
        (("--calculator", "ase.calculator.emt:EMT"), 1, "installed (did you mean ase.calculators.emt:EMT?)"),
        (("--calculator", "tblit.ase:TBLite"), 1, "installed (did you mean tblite.ase:TBLite?)"),
        (("--calculator", "owm:Own"), 1, "installed (did you mean own:Own?)"),
        (("--calculator", "own:Own"), 1, "no module named 'no_such' here or installed"),
        (("--calculator", "two.py"), 1, "is 'two.py' (did you mean two:Mine?); expected emt"),
        (("--calculator", "./two.py:Mine"), 1, "is './two.py:Mine' (did you mean two:Mine?); expected emt"),
        (("--calculator", "ase.calculators.emt"), 1, "(did you mean ase.calculators.emt:EMT?); expected emt"),
        (("--calculator", "two:one"), 1, "calculator two:one: one is one Mine; expected a class, or a function that"),
        (("--calculator", "ase.calculators.emt:Nothing"), 1, "has no 'Nothing' to make"),
        (("--calculator", "ase.calculators.emt:EMTT"), 1, "has no 'EMTT' (did you mean EMT?) to make"),
        (("--calculator", "emt", "--calculator-options", "speed=9"), 1, "EMT has no option 'speed'"),
        (("--calculator", "emt", "--calculator-options", "charge"), 1, "'charge' is no option of a calculator"),
        (("--calculator", "emt", "--steps", "5"), 2, "--steps: without effect"),
        (("--calculator", "emt", "--fmax", "0"), 2, "--fmax is 0.0"),
        (("--no-relax",), 2, "--no-relax"),
    ):
        assert run(*line, *more) == code, more
        error = capsys.readouterr().err.splitlines()[-1]
        assert said in error or said == "--no-relax", error
    assert run("connect", "a.xyz@0", "b.xyz@3", "--calculator", "emt") == 1
    assert "b.xyz holds 1 structure, counted from 0; there is no @3" in capsys.readouterr().err
    write("y.xyz", [start, end])
    assert run("connect", "y.xyz", "y.xyz", "--calculator", "emt") == 2
    assert "y.xyz is given for both endpoints; y.xyz holds 2 structures: y.xyz@0 to y.xyz@1" in capsys.readouterr().err
    assert run("connect", "x.xyz", "x.xyz@0", "--calculator", "emt") == 1
    assert "Xe" in capsys.readouterr().err


def test_files_that_do_not_do_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is wrong with a file, an index or an option is said, and what was meant."""
    monkeypatch.chdir(tmp_path)
    start, end = hop()
    write("a.traj", start)
    write("b.traj", [start, end])
    Path("empty.xyz").touch()
    Path("note.txt").write_text("hello")
    Path("mixed.cif").write_text(
        "data_x\n_cell_length_a 4\n_cell_length_b 4\n_cell_length_c 4\n_cell_angle_alpha 90\n_cell_angle_beta 90\n"
        "_cell_angle_gamma 90\n_symmetry_space_group_name_H-M 'P 1'\nloop_\n_atom_site_label\n_atom_site_type_symbol\n"
        "_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n_atom_site_occupancy\n"
        "Cu1 Cu 0 0 0 0.75\nAu1 Au 0 0 0 0.25\nCu2 Cu 0.5 0.5 0 1\n"
    )
    for first, second, more, said in (
        ("a.traj", "bb.traj", (), "bb.traj does not exist (did you mean b.traj?)"),
        ("a.traj", ".", (), ". is a folder; expected a file that ASE reads"),
        ("a.traj", "b.traj@last", (), "b.traj@last: 'last' is no index; expected a number, as b.traj@0"),
        ("a.traj", "b.traj@2", (), "b.traj holds 2 structures, counted from 0; there is no @2"),
        ("a.traj", "b.traj@:", (), "b.traj@: names 2 structures; expected one, as b.traj@0"),
        ("a.traj", "empty.xyz", (), "empty.xyz is empty; expected a file that ASE reads"),
        ("note.txt", "b.traj", (), "ASE does not know the format of note.txt; expected a name that says it"),
        ("mixed.cif", "mixed.cif@0", (), "the start has sites of partial occupancy: 0.75 Cu, 0.25 Au at site 0; expec"),
        ("a.traj", "b.traj", ("--images", "idp"), "--images is 'idp' (did you mean idpp?); expected a file"),
        ("a.traj", "b.traj", ("--images", "c.traj"), "c.traj does not exist (did you mean "),
    ):
        assert run("connect", first, second, "--calculator", "emt", *more) == 1
        assert said in capsys.readouterr().err.splitlines()[-1]
    options = ("--calculator", "emt", "--calculator-options")
    assert run("connect", "a.traj", "b.traj", *options, "asap_cutof=1") == 1
    assert "has no option 'asap_cutof' (did you mean asap_cutoff?)" in capsys.readouterr().err
    for spaced in (("asap_cutoff", "=", "1"), ("asap_cutoff=", "1")):
        assert run("connect", "a.traj", "b.traj", *options, *spaced) == 2
        assert "expects NAME=VALUE without spaces, as charge=1" in capsys.readouterr().err
    Path("picky.py").write_text(
        "from ase.calculators.emt import EMT\n\n\nclass Picky(EMT):\n    default_parameters = {'charge': 0}\n\n"
        "    def calculate(self, *_):\n        raise TypeError('must be real number, not str')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert run("connect", "a.traj", "b.traj", "--calculator", "picky:Picky", "--calculator-options", "charge=x") == 1
    assert capsys.readouterr().err.splitlines()[-1].endswith("not str; --calculator-options are charge=x")


@pytest.mark.parametrize("name", ["con", "extxyz", "traj"])
def test_a_cell_without_periodic_boundaries_is_named(
    name: str, found: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A format that is always periodic is read so; what others say is taken, and the cell remarked on."""
    monkeypatch.chdir(tmp_path)
    for periodic in (True, False):
        for file, atoms in zip("ab", hop(), strict=True):
            atoms.pbc = periodic
            write(f"{file}.{name}", atoms, format="eon" if name == "con" else name)
        assert run("connect", f"a.{name}", f"b.{name}", "--calculator", "emt", "--json") in (0, 1)
        printed, said = capsys.readouterr()
        forward, remarks = json.loads(printed)["barrier_forward"], json.loads(printed)["remarks"]
        read_so = periodic or name == "con"
        assert ("calculated as a cluster: if it repeats" in "".join(remarks)) == (not read_so)
        assert ("a.con is taken as periodic along all three cell vectors" in said) == (name == "con")
        assert (abs(forward - found.barrier_forward) < 5e-3) == read_so


@pytest.mark.parametrize("pbc", list(product([False, True], repeat=3)))
@pytest.mark.parametrize("cell", [None, [9, 9, 9], [[9, 0, 0], [0, 0, 0], [0, 0, 0]]])
def test_a_cell_is_remarked_on_where_nothing_is_periodic(pbc: tuple[bool, ...], cell: Any) -> None:
    atoms = Atoms("Al2", [[0, 0, 0], [0, 0, 2.0]], cell=cell, pbc=pbc)
    cluster = any("calculated as a cluster" in said for said in remarks_on_periods(atoms))
    assert cluster == (cell is not None and not any(pbc))


@pytest.mark.parametrize("shift", [0.0, 4.9, 8.7])
@pytest.mark.parametrize(
    ("cell", "pbc", "held", "alone"),
    [
        ([9, 9, 9], True, False, True),
        ([[9, 0, 0], [4, 9, 0], [3, 4, 9]], True, False, True),
        ([[0, 9, 0], [9, 0, 0], [0, 0, 9]], True, False, True),  # left-handed
        ([9, 9, 6], True, False, False),  # a wire
        ([9, 9, 9], [True, True, False], False, False),
        ([9, 9, 9], True, True, False),
    ],
)
def test_a_molecule_in_a_periodic_box_is_named(cell: Any, pbc: Any, held: bool, alone: bool, shift: float) -> None:
    """Wherever it lies in the box, across a face too; not where anything else keeps it from turning."""
    atoms = Atoms("HCN", [[0, 0, 0], [0, 0, 1.07], [0, 0, 2.22]], cell=cell, pbc=pbc)
    atoms.positions += shift
    atoms.wrap()
    atoms.constraints = [FixAtoms([0])] if held else []
    assert any("a molecule in a periodic box" in said for said in remarks_on_periods(atoms)) == alone


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("relax", [True, False])
@pytest.mark.parametrize("which", ["start", "end"])
@pytest.mark.parametrize(("k", "apart"), [(4, 0.0), (7, 0.0), (5, 1e-3), (6, np.nan)])
def test_atoms_at_one_place_or_at_none_are_named(k: int, apart: float, which: str, relax: bool) -> None:
    """With the structure that they are in, whatever the calculator says of it."""
    structures = dict(zip(("start", "end"), hop(), strict=True))
    structures[which].positions[8] = structures[which].positions[k] + [0, 0, apart]

    class Strict(EMT):
        def calculate(self, atoms: Any = None, *args: Any, **kwargs: Any) -> None:
            if atoms.get_all_distances()[np.triu_indices(len(atoms), 1)].min() < 0.1:
                raise RuntimeError("atoms too close")
            super().calculate(atoms, *args, **kwargs)

    nowhere = rf"the {which} has no place for 1 atom, the first Al8 at \["
    said = nowhere if np.isnan(apart) else f"Al{k} and Al8 are {apart:.2g} Å apart"
    for calculator in (Strict,) if apart > 0 else (EMT, Strict):
        with pytest.raises((ValueError, LandscapeError), match=said) as failed:
            barrier(structures["start"], structures["end"], calculator, relax=relax)
        assert f"the {which} " in str(failed.value)
        assert "nan, nan, nan)" not in str(failed.value)


def test_a_charge_that_a_file_says_and_a_calculator_does_not_read() -> None:
    from minilandscape.adapters.ase_calculators import what_to_know

    class Charged(EMT):
        default_parameters: ClassVar = {"charge": None, "multiplicity": None}

    plain, cation = hop()[0], hop()[0]
    cation.info.update(charge=1, multiplicity=1, name="cation")
    assert what_to_know(Charged(), plain, plain) == []
    (said,) = what_to_know(Charged(), cation, cation)
    assert said.startswith("the files say charge=1, which Charged does not read: give --calculator-options charge=1")
    assert what_to_know(Charged(charge=1), cation, cation) == []
    assert what_to_know(EMT(), cation, cation) == []


def test_what_a_calculator_prints_is_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, atoms in zip("ab", hop(), strict=True):
        write(f"{name}.traj", atoms)
    Path("loud.py").write_text(
        "from ase.calculators.emt import EMT\n\n\n"
        "class Loud(EMT):\n"
        "    def __init__(self):\n        super().__init__()\n        print('initialised')\n\n"
        "    def calculate(self, *args):\n        print('step')\n        super().calculate(*args)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert run("connect", "a.traj", "b.traj", "--calculator", "loud:Loud", "--json") == 0
    printed, said = capsys.readouterr()
    assert json.loads(printed)["converged"]
    assert "initialised" in said
    assert "step" in said


def test_an_interrupt_keeps_the_relaxed_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], found: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    start, end = hop()
    write("a.traj", [start, end])

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    line = ("--calculator", "emt", "--fmax", "0.01", "--out", "new/hop")
    with monkeypatch.context() as patched:
        patched.setattr("minilandscape.adapters.ase_search.find_saddle", interrupted)
        assert run("connect", "a.traj@0", "a.traj@1", *line[:-2]) == 130
        assert "nothing is kept" in capsys.readouterr().err
        assert run("connect", "a.traj@0", "a.traj@1", *line) == 130
    said = capsys.readouterr().err.splitlines()[-2]
    more = said.partition(": connect ")[2].removesuffix(" resumes from them").split()
    assert run("connect", *more, *line, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["barrier_forward"] == pytest.approx(found.barrier_forward, rel=1e-3)
    assert document["calls"]["relaxation"] == 0
    assert document["remarks"] == []
    assert run("connect", "a.traj@0", "a.traj@1", "--calculator", "emt", "--no-relax") == 0
    assert "the largest forces are above 0.05 eV/Å at the start (" in capsys.readouterr().err


def test_options_of_a_calculator() -> None:
    assert options_of(["charge=-1", "method=GFN1-xTB", "a=[1, 2]", "on=true", "file=a=b"]) == {
        "charge": -1,
        "method": "GFN1-xTB",
        "a": [1, 2],
        "on": True,
        "file": "a=b",
    }
    spread = spread_options(["a", "b", "--calculator-options", "k=v", "c=d", "--out", "x"])
    assert spread == ["a", "b", "--calculator-options", "k=v", "--calculator-options", "c=d", "--out", "x"]
    assert spread_options(["--calculator-options=k=v", "x=y"]) == ["--calculator-options=k=v", "x=y"]


def test_emt_is_a_potential_of_metals() -> None:
    """What ASE's documentation says of its parameters for H, C, N and O is said where they are used."""
    from minilandscape.adapters.ase_calculators import what_to_know

    class Mine(EMT):
        pass

    aluminium, organic = hop()[0], Atoms("PtOCH")
    assert what_to_know(EMT(), aluminium, aluminium) == []
    assert what_to_know(Springs(), organic, organic) == []
    (said,) = what_to_know(Mine(), organic, organic)
    assert "its parameters for H, C, O are not for any serious use" in said
    assert what_to_know(LennardJones(), aluminium, aluminium) == []
    (said,) = what_to_know(LennardJones(), organic, organic)
    assert said.endswith("does not tell Pt, O, C, H apart")
    start, end = hop()
    for atoms in (start, end):
        atoms.symbols[-1] = "N"
        atoms.set_constraint(FixAtoms(range(8)))
    assert "for N are not for any serious use" in barrier(start, end, EMT, verify=False).remarks[0]


@pytest.mark.parametrize(
    ("name", "method"), [("gfn1-xtb", "GFN1-xTB"), ("gfn2-xtb", "GFN2-xTB"), ("GFN1-xTB", "GFN1-xTB")]
)
def test_short_names_are_methods_of_tblite(name: str, method: str) -> None:
    theirs = pytest.importorskip("tblite.ase").TBLite(method=method, verbosity=0)
    energies = []
    for calculator in (named_calculator(name)(), theirs):
        water = Atoms("OHH", [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
        water.calc = calculator
        energies.append(water.get_potential_energy())
    assert energies[0] == energies[1]


def test_hydrogen_moves_round_a_molecule() -> None:
    """HCN to HNC, where on the straight line nuclei run through each other."""
    pytest.importorskip("tblite")
    start = Atoms("CNH", [[0, 0, 0.50], [0, 0, -0.65], [0, 0, 1.57]])
    end = Atoms("HNC", [[0, 0, -1.43], [0, 0, -0.43], [0, 0, 0.74]])
    reaction = barrier(start, end, named_calculator("gfn2-xtb"), fmax=0.02)
    assert reaction.converged
    assert reaction.connects == "start and end"
    assert not any("exchanged" in remark for remark in reaction.remarks)
    assert any("(IDPP)" in remark for remark in reaction.remarks)
    assert reaction.saddle is not None
    h, c, n = (reaction.saddle.positions[reaction.saddle.symbols.index(name)] for name in ("H", "C", "N"))
    bend = np.degrees(np.arccos((h - c) @ (n - c) / np.linalg.norm(h - c) / np.linalg.norm(n - c)))
    assert 30 < bend < 110
    assert reaction.barrier_forward == pytest.approx(3.175, abs=0.002)
    assert reaction.reaction_energy == pytest.approx(0.868, abs=0.002)
    assert reaction.frequency == pytest.approx(1421.5, rel=0.01)


def test_the_example_prints_what_it_says() -> None:
    import minilandscape.adapters.ase as adapter

    found = doctest.testmod(adapter)
    assert found.attempted > 5
    assert not found.failed


def test_the_end_is_what_ases_optimisers_find(found: Any) -> None:
    start = hop()[0]
    start.calc = EMT()
    BFGS(start, logfile=None).run(fmax=0.002)
    assert found.start.get_potential_energy() == pytest.approx(start.get_potential_energy(), abs=1e-5)
