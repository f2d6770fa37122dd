"""Frequencies against ase.vibrations, partition functions against ase.thermochemistry, rates against the formula."""

from __future__ import annotations

import doctest
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from minilandscape_cli.structures import _rates, _rates_text

ase = pytest.importorskip("ase")

from ase import Atoms, units  # noqa: E402
from ase.build import add_adsorbate, fcc100, molecule  # noqa: E402
from ase.calculators.calculator import Calculator, all_changes  # noqa: E402
from ase.calculators.emt import EMT  # noqa: E402
from ase.constraints import FixAtoms, FixCartesian  # noqa: E402
from ase.optimize import BFGS  # noqa: E402
from ase.thermochemistry import IdealGasThermo  # noqa: E402
from ase.vibrations import Vibrations as AseVibrations  # noqa: E402

from minilandscape.adapters import ase_vibrations  # noqa: E402
from minilandscape.adapters.ase import Barrier, Vibrations, barrier, rate, vibrations  # noqa: E402
from minilandscape.landscape import LandscapeError  # noqa: E402


@pytest.fixture(scope="module")
def water() -> Atoms:
    atoms = molecule("H2O", calculator=EMT())
    BFGS(atoms, logfile=None).run(fmax=1e-5, steps=500)
    return atoms


def test_frequencies_are_those_of_ase(water: Atoms, tmp_path: Path) -> None:
    theirs = AseVibrations(water, name=str(tmp_path / "water"), delta=0.01)
    theirs.run()
    found = vibrations(water, EMT)
    assert found.frequencies == pytest.approx(theirs.get_frequencies().real[-3:], rel=1e-4)
    assert found.zero_point_energy == pytest.approx(theirs.get_energies().real[-3:].sum() / 2, rel=1e-4)
    assert found.source == "finite differences"
    assert found.calls == 18 + 1
    assert len(found.zero_frequencies) == 6
    assert np.abs(found.zero_frequencies).max() < 60  # of the differences' length: a turn of 0.01 Å is no straight line
    assert found.rotations == 3
    for mode, theirs_of_it in zip(found.modes, (theirs.get_mode(k) for k in (-3, -2, -1)), strict=True):
        cosine = (mode * theirs_of_it).sum() / np.linalg.norm(theirs_of_it)
        assert abs(cosine) == pytest.approx(1, abs=1e-4)


def test_isotopes_shift_frequencies(water: Atoms) -> None:
    heavy = water.copy()
    heavy.set_masses([15.999, 2.014, 2.014])
    light, ours = vibrations(water, EMT), vibrations(heavy, EMT)
    assert (light.frequencies / ours.frequencies > 1.3).all()
    # Teller and Redlich: the product of the ratios is that of the inertia and the masses alone.
    product = np.prod(light.frequencies / ours.frequencies)
    moments = np.prod(heavy.get_moments_of_inertia() / water.get_moments_of_inertia())
    whole = heavy.get_masses().sum() / water.get_masses().sum()
    masses = np.prod(heavy.get_masses() / water.get_masses())
    assert product == pytest.approx(np.sqrt(masses**3 / (moments * whole**3)), rel=1e-3)
    assert ours.inertia / light.inertia == pytest.approx(np.sqrt(moments * whole**3), rel=1e-9)


@pytest.mark.parametrize("held", [[FixAtoms([0])], [FixAtoms([0, 1])], [FixCartesian([1], mask=(False, False, True))]])
def test_a_partial_hessian_leaves_out_what_is_held(water: Atoms, held: list[Any]) -> None:
    atoms = water.copy()
    atoms.set_constraint(held)
    found, whole = vibrations(atoms, EMT), vibrations(water, EMT)
    free = np.ones((3, 3), dtype=bool)
    for constraint in held:
        free[constraint.index] = ~np.array(getattr(constraint, "mask", (True, True, True)))
    free = free.ravel()
    assert found.hessian == pytest.approx(whole.hessian[np.ix_(free, free)], abs=1e-6)
    root = np.sqrt(np.repeat(water.get_masses(), 3)[free])
    dense = np.linalg.eigvalsh(whole.hessian[np.ix_(free, free)] / np.outer(root, root))
    expected = 521.4709 * np.sqrt(dense[dense > 0.01])
    assert found.frequencies == pytest.approx(expected, rel=1e-3)
    assert (found.modes.reshape(-1, 9)[:, ~free] == 0).all()


class OwnHessian(EMT):
    """A calculator with a Hessian, which may be of another function."""

    factor: ClassVar[float] = 1.0

    def get_hessian(self, atoms: Atoms) -> np.ndarray:
        return self.factor * vibrations(atoms, EMT).hessian.reshape(len(atoms), 3, len(atoms), 3)


def test_a_calculators_own_hessian_is_taken_where_it_is_one(water: Atoms, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = vibrations(water, EMT)
    found = vibrations(water, OwnHessian)
    assert found.source == "calculator"
    assert found.calls == 3
    assert found.frequencies == pytest.approx(expected.frequencies, rel=1e-6)
    monkeypatch.setattr(OwnHessian, "factor", -1.0)
    wrong = vibrations(water, OwnHessian)
    assert wrong.source == "finite differences"
    assert wrong.frequencies == pytest.approx(expected.frequencies, rel=1e-6)

    def broken(self: Any, atoms: Any) -> Any:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(OwnHessian, "get_hessian", broken)
    with pytest.raises(LandscapeError, match=r"get_hessian raised RuntimeError at .*out of memory"):
        vibrations(water, OwnHessian)


def test_partition_functions_are_those_of_ase(water: Atoms) -> None:
    """Of one composition the Gibbs energies differ by −kT ln of the ratio, linear or not."""
    line = water.copy()
    line.positions = [[0, 0, 0], [0, 0, 1.0], [0, 0, -0.9]]
    frequencies = {3: np.array([700.0, 1800, 3300]), 2: np.array([400.0, 400, 2100, 3500])}
    found = []
    for atoms, kind in ((water, "nonlinear"), (line, "linear")):
        vibration = vibrations(atoms, EMT)
        vibration = replace(vibration, frequencies=frequencies[vibration.rotations])
        energies = vibration.frequencies * units.invcm
        theirs = IdealGasThermo(list(energies), kind, vibration.energy, atoms, symmetrynumber=1, spin=0)
        found.append((vibration, theirs))
    for temperature in (150.0, 300.0, 1500.0):
        kT = units.kB * temperature
        ours = [v.energy - kT * v.log_partition(temperature) for v, _ in found]
        gibbs = [theirs.get_gibbs_energy(temperature, 1e5, verbose=False) for _, theirs in found]
        assert ours[1] - ours[0] == pytest.approx(gibbs[1] - gibbs[0], abs=2e-6)


def made(energy: float, frequencies: list[float]) -> Vibrations:
    parts: dict[str, Any] = {"hessian": np.eye(1), "modes": np.zeros((1, 1, 3)), "zero_frequencies": np.zeros(0)}
    parts |= {"asymmetry": 0.0, "inertia": 1.0, "rotations": 0, "source": "by hand", "calls": 0}
    return Vibrations(energy, frequencies=np.array(frequencies), **parts)


def test_rates_by_hand() -> None:
    minimum, saddle, temperature = made(-1.0, [150.0, 300.0]), made(-0.6, [-90.0, 250.0]), 400.0
    kT, c = 8.617333e-5 * temperature, 2.99792458e10
    vineyard = c * 150 * 300 / 250 * np.exp(-0.4 / kT)
    assert rate(minimum, saddle, temperature, quantum=False) == pytest.approx(vineyard, rel=1e-5)
    x = 1.239842e-4 * np.array([150.0, 300.0, 250.0]) / kT
    q = np.exp(-x / 2) / (1 - np.exp(-x))
    eyring = kT / 4.135667696e-15 * q[2] / (q[0] * q[1]) * np.exp(-0.4 / kT)
    assert rate(minimum, saddle, temperature) == pytest.approx(eyring, rel=1e-5)
    # Where it is hot both are one.
    assert rate(minimum, saddle, 1e5) == pytest.approx(rate(minimum, saddle, 1e5, quantum=False), rel=1e-5)
    with pytest.raises(ValueError, match=r"minimum has the imaginary frequencies 90\.0i cm⁻¹; .* expects none"):
        rate(saddle, saddle, temperature)
    with pytest.raises(ValueError, match="saddle has the imaginary frequencies none"):
        rate(minimum, minimum, temperature)
    for bad in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="the temperature is"):
            rate(minimum, saddle, bad)


def hop() -> tuple[Atoms, Atoms]:
    """An adatom on a frozen layer of Al(100), not relaxed, that moves to the next hollow."""
    start = fcc100("Al", (2, 2, 1), vacuum=5.0)
    start.set_constraint(FixAtoms(range(4)))
    add_adsorbate(start, "Al", 1.7, "hollow")
    end = start.copy()
    end.positions[-1] += [start.cell[0, 0] / 2, 0, 0.03]
    return start, end


@pytest.fixture(scope="module")
def hop_found() -> Barrier:
    return barrier(*hop(), EMT)


FINE, BENT = made(-1.0, [150.0, 300.0]), made(-1.0, [-60.0, 300.0])
PUSHED = replace(FINE, fmax=0.07)
OVER = made(-0.6, [-90.0, 250.0])


@pytest.mark.parametrize(("start", "end"), list(product([FINE, BENT, PUSHED], repeat=2)))
def test_a_rate_is_given_where_it_is_valid_and_an_end_that_is_not_fine_is_named(
    start: Vibrations, end: Vibrations, hop_found: Barrier
) -> None:
    found = replace(hop_found, vibrations=(start, OVER, end), tolerance=0.05)
    rates, text = _rates(found, 300.0), _rates_text(found, 300.0)
    for way, name, minimum in (("forward", "start", start), ("reverse", "end", end)):
        number = None if minimum is BENT else rate(minimum, OVER, 300.0)
        assert rates[way] == number
        assert (f"{number or 0:.3g} s⁻¹ {way}" in text) == (number is not None)
        assert (f"the {name} has the imaginary frequencies 60.0i cm⁻¹" in text) == (minimum is BENT)
        assert rates["not_stationary"].get(name) == (0.07 if minimum is PUSHED else None)
        assert (f"the {name} (0.07 eV/Å)" in text) == (minimum is PUSHED)


def test_why_there_is_no_rate(hop_found: Barrier) -> None:
    with pytest.raises(ValueError, match=r"barrier\(\.\.\., vibrations=True\) computes them"):
        hop_found.rate(300.0)
    for known in ((), (FINE, OVER, FINE)):
        without = replace(hop_found, saddle=None, vibrations=known)
        assert _rates_text(without, 300.0).startswith("none: there is no saddle to go over")


def test_forces_at_the_ends_are_known_with_their_vibrations() -> None:
    """Ends that were not relaxed have them in the result, and in the remark."""
    start, end = hop()
    start.positions[-1] += [0.05, 0.02, 0.1]
    end.positions[-1] += [0.02, -0.05, 0.12]
    found = barrier(start, end, EMT, relax=False, vibrations=True)
    forces = {}
    for name, atoms in (("start", found.start.copy()), ("end", found.end.copy())):
        atoms.calc = EMT()
        forces[name] = float(np.linalg.norm(atoms.get_forces(), axis=1).max())
    assert max(forces.values()) > found.tolerance  # the search may have replaced an end by the minimum below it
    expected = {name: force for name, force in forces.items() if force > found.tolerance}
    assert found.not_stationary == pytest.approx(expected, rel=1e-6)
    assert "harmonic rates assume" in "".join(found.remarks)
    assert not barrier(start, end, EMT, vibrations=True).not_stationary


def test_the_examples_print_what_they_say() -> None:
    found = doctest.testmod(ase_vibrations)
    assert found.attempted > 8
    assert not found.failed


class Broken(Calculator):
    implemented_properties: ClassVar = ["energy", "forces"]

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        raise RuntimeError("no convergence")


def test_a_calculator_that_fails_is_one_sentence(water: Atoms) -> None:
    with pytest.raises(LandscapeError, match="the calculator raised RuntimeError"):
        vibrations(water, Broken)
    with pytest.raises(ValueError, match="step is 0; expected a length above 0"):
        vibrations(water, EMT, step=0)
