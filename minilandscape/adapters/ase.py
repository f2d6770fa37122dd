"""ASE: atoms with a calculator as a landscape, and paths as images."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.geometry import find_mic
from ase.io import write

from ..analysis.symmetry import align_atoms
from ..landscape import FunctionLandscape, LandscapeError, describe_point
from ..paths import Path
from ..potentials import rigid_motions

#: Å by which cells and frozen atoms may differ, as rounding in files does.
SAME = 1e-6


class AseLandscape(FunctionLandscape):
    """The energy of atoms over the positions of those that are free, (x₁, y₁, z₁, x₂, …).

    Energies in eV, positions in Å, gradients (minus the forces) in eV/Å.

    Parameters
    ----------
    atoms
        Species, cell, boundary conditions and constraints; they are copied. Atoms under ``FixAtoms`` stay where they
        are and are no coordinates.
    calculator
        A calculator; or a function that makes one, which each worker calls for itself, since calculators are not
        thread-safe. None takes the atoms' own.
    workers
        How many points are evaluated side by side, in threads; more than 1 asks for a function that makes calculators.

    Raises
    ------
    ValueError
        If there is no calculator, a constraint is none of ``FixAtoms``, or there are workers and one calculator.
    """

    def __init__(self, atoms: Atoms, calculator: Any = None, workers: int = 1) -> None:
        others = [type(c).__name__ for c in atoms.constraints if not isinstance(c, FixAtoms)]
        if others:
            raise ValueError(f"the atoms have a constraint {others[0]}; FixAtoms is the one that can be left out of D")
        calculator = atoms.calc if calculator is None else calculator
        if calculator is None:
            raise ValueError("the atoms have no calculator; give one, or a function that makes one")
        makes = isinstance(calculator, type) or not hasattr(calculator, "get_potential_energy")
        if workers > 1 and not makes:
            raise ValueError("calculators are not thread-safe: give a function that makes one for each worker")
        fixed = np.zeros(len(atoms), dtype=bool)
        for constraint in atoms.constraints:
            fixed[constraint.index] = True
        self._atoms = atoms.copy()
        self._atoms.set_constraint()
        self._free = np.flatnonzero(~fixed)
        self._make: Callable[[], Any] = calculator if makes else lambda: calculator
        self._local = threading.local()
        super().__init__(self._evaluate, size=3 * len(self._free), workers=workers)

    def vector(self, atoms: Atoms) -> np.ndarray:
        """(D,): the free positions of other atoms of the same system.

        Raises
        ------
        ValueError
            If species, periodic boundary conditions, cell vectors of a periodic direction, or positions of frozen atoms
            (by the shortest way) are not the landscape's: no coordinate holds them, so energies would be another
            system's.
        """
        ours = self._atoms
        if len(atoms) != len(ours) or (atoms.numbers != ours.numbers).any():
            raise ValueError(f"the atoms are {atoms.symbols}; expected {ours.symbols}, in this order")
        if (atoms.pbc != ours.pbc).any():
            raise ValueError(f"the atoms have pbc {atoms.pbc.tolist()}; expected the landscape's, {ours.pbc.tolist()}")
        if (np.abs(atoms.cell - ours.cell)[ours.pbc] > SAME).any():
            raise ValueError(
                f"the atoms have the cell {atoms.cell.tolist()}; expected the landscape's, {ours.cell.tolist()}: make "
                "another landscape of these atoms, or relax them in this cell"
            )
        frozen = np.setdiff1d(np.arange(len(ours)), self._free)
        away = find_mic(atoms.positions[frozen] - ours.positions[frozen], ours.cell, ours.pbc)[1]
        if (away > SAME).any():
            k = frozen[away.argmax()]
            raise ValueError(
                f"frozen atoms stand elsewhere: atom {k} by {away.max():.3g} Å; expected them at the landscape's "
                "positions: relax the atoms under the same FixAtoms, or move all of them back together"
            )
        return np.array(atoms.positions[self._free].ravel())

    def atoms(self, point: Any) -> Atoms:
        """A copy of the atoms with the free ones at a point (D,)."""
        atoms = self._atoms.copy()
        atoms.positions[self._free] = np.asarray(point, dtype=np.float64).reshape(-1, 3)
        if len(self._free) < len(atoms):
            atoms.set_constraint(FixAtoms(np.setdiff1d(np.arange(len(atoms)), self._free)))
        return atoms

    def _evaluate(self, point: np.ndarray) -> tuple[float, np.ndarray]:
        if not hasattr(self._local, "atoms"):
            self._local.atoms = self._atoms.copy()
            self._local.atoms.calc = self._make()
        atoms = self._local.atoms
        atoms.positions[self._free] = point.reshape(-1, 3)
        try:
            return float(atoms.get_potential_energy()), -atoms.get_forces()[self._free].ravel()
        except Exception as error:
            raise LandscapeError(
                f"the calculator raised {type(error).__name__} at {describe_point(point)}: {error}", point
            ) from error

    def displacement(self, a: Any, b: Any) -> np.ndarray:
        """b − a, each atom by the shortest way where the cell is periodic."""
        away = np.asarray(b, dtype=np.float64) - np.asarray(a, dtype=np.float64)
        if self._atoms.pbc.any():
            away = find_mic(away.reshape(-1, 3), self._atoms.cell, self._atoms.pbc)[0].ravel()
        return away

    def align(self, a: Any, b: Any) -> np.ndarray:
        """b (D,) moved, turned as far as cell and frozen atoms allow, and like atoms matched, so that it lies near a.

        :func:`~minilandscape.analysis.symmetry.align_atoms` says which motions are used. A warning is given where two
        atoms clash on the straight line between the two.
        """
        frozen = np.setdiff1d(np.arange(len(self._atoms)), self._free)
        ours, theirs = self.atoms(a).positions, self.atoms(b).positions
        cell, pbc = np.asarray(self._atoms.cell), self._atoms.pbc
        aligned = align_atoms(ours, theirs, self._atoms.numbers, cell=cell, pbc=pbc, frozen=frozen)
        return np.array(aligned[self._free].ravel())

    def zero_modes(self, point: Any) -> np.ndarray:
        """Translations of atoms that are all free, and rotations where nothing is periodic."""
        if len(self._free) < len(self._atoms):
            return np.zeros((0, self.size))
        return rigid_motions(np.asarray(point, dtype=np.float64).reshape(-1, 3), not self._atoms.pbc.any())

    def images(self, path: Path, n: int | None = None) -> list[Atoms]:
        """A path as atoms with their energies and forces, at n equally spaced t (those of the path if None)."""
        points = path.points(path.t if n is None else np.linspace(0, 1, n))
        energies, gradients = self.values_and_gradients(points)
        images = []
        for point, energy, gradient in zip(points, energies, gradients, strict=True):
            atoms = self.atoms(point)
            forces = np.zeros((len(atoms), 3))
            forces[self._free] = -gradient.reshape(-1, 3)
            atoms.calc = SinglePointCalculator(atoms, energy=float(energy), forces=forces)
            images.append(atoms)
        return images

    def write(self, file: str | os.PathLike[str], path: Path, n: int | None = None) -> None:
        """Writes :meth:`images` to a trajectory that ASE's viewer and ``NEBTools`` read."""
        write(os.fspath(file), self.images(path, n))
