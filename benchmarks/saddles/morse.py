"""Pairs with the Morse potential as an ASE calculator, for cells at right angles."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from scipy.spatial import cKDTree

#: Å beyond the cut at which pairs are listed; they are listed anew once an atom has moved by half of it.
SKIN = 0.6


class Morse(Calculator):
    """E = Σ_pairs u(r) − u(cut) for r < cut, u(r) = D (e^(−2α(r−r₀)) − 2 e^(−α(r−r₀))), eV and Å.

    Distances are those of the nearest images in the cell's periodic directions, which must be at least twice the cut.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

    def __init__(self, depth: float, alpha: float, r0: float, cut: float) -> None:
        super().__init__()
        self.depth, self.alpha, self.r0, self.cut = depth, alpha, r0, cut
        self._listed: np.ndarray | None = None

    def calculate(self, atoms: Atoms | None = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        """Energy and forces."""
        super().calculate(atoms, properties, system_changes)
        x, cell = self.atoms.positions, self.atoms.cell
        if not cell.orthorhombic:
            raise ValueError(f"the cell is {cell.tolist()}; expected one at right angles")
        box = np.where(self.atoms.pbc, cell.lengths(), np.inf)
        if (box < 2 * self.cut).any():
            raise ValueError(f"the cell is {cell.lengths()}; expected at least {2 * self.cut} in periodic directions")
        i, j = self._pairs(x, box, anew="cell" in system_changes or "pbc" in system_changes)
        away = x[i] - x[j]
        away -= np.where(np.isfinite(box), box, 0) * np.rint(away / box)
        r = np.sqrt((away**2).sum(axis=1))
        near = r < self.cut
        i, j, away, r = i[near], j[near], away[near], r[near]
        e, at_cut = (np.exp(-self.alpha * (d - self.r0)) for d in (r, self.cut))
        energy = self.depth * ((e * e - 2 * e).sum() - len(r) * (at_cut * at_cut - 2 * at_cut))
        pull = (2 * self.depth * self.alpha * (e * e - e) / r)[:, None] * away
        forces = [np.bincount(i, part, len(x)) - np.bincount(j, part, len(x)) for part in pull.T]
        self.results = {"energy": float(energy), "forces": np.stack(forces, axis=1)}

    def _pairs(self, x: np.ndarray, box: np.ndarray, anew: bool) -> tuple[np.ndarray, np.ndarray]:
        """The pairs (i, j) of which some may be nearer than the cut."""
        listed = self._listed
        if anew or listed is None or len(listed) != len(x) or np.linalg.norm(x - listed, axis=1).max() > SKIN / 2:
            # An open direction is as a periodic one that is empty for longer than the cut.
            low, high = x.min(axis=0), x.max(axis=0)
            lengths = np.where(np.isfinite(box), box, high - low + 2 * (self.cut + SKIN))
            tree = cKDTree((x - low) % lengths, boxsize=lengths)
            self._i, self._j = tree.query_pairs(self.cut + SKIN, output_type="ndarray").T
            self._listed = x.copy()
        return self._i, self._j
