"""Pairings of the like atoms of two structures, judged by the bonds that change and by the distance."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.geometry import find_mic
from ase.neighborlist import natural_cutoffs, neighbor_list

from ..motion import moved_near

#: Two atoms are bonded within so many sums of their covalent radii.
BONDED = 1.15
#: A pairing is nearer where the distance decreases by more than this part.
NEARER = 1e-3
#: Exchanges that are tried at most before a pairing counts as the best of its neighbours, the most promising first.
TRIED = 100
#: Bonds between an atom and those that its signature counts, at most.
SHELLS = 4
#: Part of the smallest difference of two signatures that the largest distance counts for.
TIE = 0.1


def bonds_of(atoms: Atoms) -> list[tuple[int, int]]:
    """List the pairs of bonded atoms."""
    i, j = neighbor_list("ij", atoms, natural_cutoffs(atoms, mult=BONDED))
    return sorted({(int(k), int(m)) for k, m in zip(i, j, strict=True) if k < m})


class Pairings:
    """Pairings of like free atoms of ends with those of a start, at a (D,) of a landscape of atoms.

    A pairing is a point (D,): the end with its atoms in an order, moved onto the start. No energy is evaluated.
    """

    def __init__(self, land: Any, a: np.ndarray) -> None:
        self.land, self.a = land, a
        self.bonds = self._bonds(a)
        self.numbers = land.atoms(a).numbers
        free = land.components.all(axis=1)
        self.alike = (land.kinds[:, None] == land.kinds) & free[:, None] & free

    def judged(self, x: np.ndarray) -> tuple[int, float]:
        """Count the bonds that change from the start to x, and measure the distance, Å."""
        changed = int((self.bonds != self._bonds(x)).sum()) // 2
        return changed, float(np.linalg.norm(self.land.displacement(self.a, x)))

    def best(self, *points: np.ndarray) -> np.ndarray:
        """Find a pairing that changes few bonds, and of these a near one, from pairings and from atoms' neighbours."""
        starts = [*points, *(self.by_neighbours(x) for x in points)]
        return min((self.improved(x) for x in starts), key=self.judged)

    def improved(self, x: np.ndarray) -> np.ndarray:
        """Exchange two like atoms of x, or two groups, while fewer bonds change thereby, or as many over a shorter way.

        A group is an atom with those that are bonded to it alone, such as CH₂.
        """
        while (better := self._exchanged(x)) is not None or (better := self._exchanged_groups(x)) is not None:
            x = better
        return x

    def by_neighbours(self, x: np.ndarray) -> np.ndarray:
        """Pair atoms of the start with those of x that have similar neighbours; of equal ones those that are near."""
        from scipy.optimize import linear_sum_assignment

        ours, theirs = self._signatures(self.bonds), self._signatures(self._bonds(x))
        cost = np.abs(ours[:, None] - theirs).sum(axis=2).astype(np.float64)
        apart = self._apart(x)
        cost += TIE * apart / (apart.max() or 1.0)
        allowed = self.alike | np.eye(len(cost), dtype=bool)
        cost[~allowed] = (cost.max() + 1.0) * len(cost)
        return self._ordered(x, linear_sum_assignment(cost)[1])

    def in_place(self, x: np.ndarray) -> np.ndarray:
        """Pair like atoms of the start and of x so that the sum of squared distances is least, x not being moved."""
        return self._nearest(x, self.alike)

    def _exchanged(self, x: np.ndarray) -> np.ndarray | None:
        """x after the best exchange of two like atoms, or None where none is better."""
        fewer, apart = _fewer(self.bonds, self._bonds(x)), self._apart(x) ** 2
        farther = apart + apart.T - apart.diagonal() - apart.diagonal()[:, None]
        i, j = np.nonzero(np.triu(self.alike, 1) & (fewer >= 0))
        order = np.lexsort((farther[i, j], -fewer[i, j]))[:TRIED]
        least = (1 - NEARER) * float(np.linalg.norm(self.land.displacement(self.a, x)))
        for k, m in zip(i[order], j[order], strict=True):
            swapped = np.arange(len(apart))
            swapped[[k, m]] = m, k
            y = self._ordered(x, swapped)
            if fewer[k, m] > 0 or np.linalg.norm(self.land.displacement(self.a, y)) < least:
                return y
        return None

    def _exchanged_groups(self, x: np.ndarray) -> np.ndarray | None:
        """x after an exchange of two groups, or None where none is better."""
        theirs = self._bonds(x)
        changed, least = self.judged(x)
        orders = [self._groups_exchanged(theirs, int(k), int(m)) for k, m in self._centres(theirs)]
        counts = [int((self.bonds != theirs[np.ix_(order, order)]).sum()) // 2 for order in orders]
        for j in np.argsort(counts, kind="stable")[:TRIED]:
            if counts[j] > changed:
                return None
            y = self._leaves_paired(self._ordered(x, orders[j]))
            if counts[j] < changed or self.judged(y)[1] < (1 - NEARER) * least:
                return y
        return None

    def _centres(self, bonds: np.ndarray) -> np.ndarray:
        """(K, 2): pairs of like atoms with several bonds each, to one of which an atom is bonded alone."""
        several = bonds.sum(axis=1) > 1
        bears = (bonds @ ~several > 0) & several
        pairs = several[:, None] & several & (bears[:, None] | bears)
        return np.argwhere(np.triu(self.alike, 1) & pairs)

    def _groups_exchanged(self, bonds: np.ndarray, k: int, m: int) -> np.ndarray:
        """The order (n,) in which two atoms and like ones that are bonded to them alone have changed places."""
        order = np.arange(len(bonds))
        leaf = bonds.sum(axis=1) == 1
        waiting = np.flatnonzero(bonds[m] * leaf).tolist()
        order[[k, m]] = m, k
        for i in np.flatnonzero(bonds[k] * leaf).tolist():
            like = [j for j in waiting if self.alike[i, j]]
            if like:
                order[[i, like[0]]] = like[0], i
                waiting.remove(like[0])
        return order

    def _leaves_paired(self, x: np.ndarray) -> np.ndarray:
        """x with like atoms that are bonded to one and the same atom alone paired by distance."""
        bonds = self._bonds(x)
        leaf = bonds.sum(axis=1) == 1
        return self._nearest(x, self.alike & (bonds @ bonds > 0) & leaf[:, None] & leaf)

    def _nearest(self, x: np.ndarray, allowed: np.ndarray) -> np.ndarray:
        """x with its atoms paired by distance, among the pairs (n, n) that are allowed."""
        from scipy.optimize import linear_sum_assignment

        cost = self._apart(x) ** 2
        cost[~(allowed | np.eye(len(cost), dtype=bool))] = 1e3 * (1.0 + cost.max())
        return self._ordered(x, linear_sum_assignment(cost)[1])

    def _ordered(self, x: np.ndarray, order: np.ndarray) -> np.ndarray:
        """x with its atoms in an order (n,), moved onto the start."""
        y = self.land.positions(x)[order][self.land.components]
        return np.asarray(self.a + moved_near(self.land, self.a, y, self.land.zero_modes))

    def _bonds(self, x: np.ndarray) -> np.ndarray:
        """(n, n) of int: 1 where two atoms are bonded at x."""
        atoms = self.land.atoms(x)
        bonds = np.zeros((len(atoms), len(atoms)), dtype=np.int64)
        for i, j in bonds_of(atoms):
            bonds[i, j] = bonds[j, i] = 1
        return bonds

    def _apart(self, x: np.ndarray) -> np.ndarray:
        """(n, n): how far each atom of x is from each of the start, Å; a row for each of the start."""
        first, second = self.land.atoms(self.a), self.land.positions(x)
        return np.array([find_mic(second - r, first.cell, first.pbc)[1] for r in first.positions])

    def _signatures(self, bonds: np.ndarray) -> np.ndarray:
        """(n, SHELLS x elements): how many atoms of each element are 1, 2, ... bonds away, near ones weighed more."""
        elements = (self.numbers[:, None] == np.unique(self.numbers)).astype(np.int64)
        reached = np.eye(len(bonds), dtype=bool)
        signatures = []
        for shell in range(SHELLS):
            further = (reached.astype(np.int64) @ bonds > 0) | reached
            signatures.append((further & ~reached).astype(np.int64) @ elements * 2 ** (SHELLS - 1 - shell))
            reached = further
        return np.concatenate(signatures, axis=1)


def _fewer(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """(n, n): by how many fewer bonds change when two atoms of the other structure are exchanged."""
    common = ours @ theirs
    alone = common.diagonal()
    return 2 * (common + common.T - alone - alone[:, None] + 2 * ours * theirs)
