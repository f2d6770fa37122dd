"""Atoms of two structures in one order: of species, of frozen places, and of what each atom carries."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from ase.geometry import find_mic

from .ase_constraints import constraints_of, free_components
from .ase_states import SAME, carried, classes, counted, differ, refuse_partial_occupancy, refuse_unknown_places

#: A structure is a molecule in a box where empty layers of so many Å part it from its images along every cell vector.
VACUUM = 5.0
#: Lengths, Å, and angles, degrees, of a cell.
CELL = ("a", "b", "c", "α", "β", "γ")
#: What atoms carry, by name: of the start and of the end.
States = dict[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Ordered:
    """The end in the start's order of atoms.

    Attributes
    ----------
    atoms
        The end.
    moved
        How many atoms were at another place in the order.
    guessed
        Whether which is which of like atoms is a guess, since the orders of the two differ.
    by_tags
        Whether tags told them apart.
    """

    atoms: Atoms
    moved: int = 0
    guessed: bool = False
    by_tags: bool = False

    def remarks(self) -> list[str]:
        """Say what was done."""
        if not self.moved:
            return []
        order = f"{self.moved} atoms of the end were put into the start's order of species{' and tags' * self.by_tags}"
        guess = "; which of the like atoms is which is a guess: number them alike in both files"
        return [f"{order}{guess * self.guessed}"]


def same_order(start: Atoms, end: Atoms, match: bool) -> Ordered:
    """Put the end's species, what its atoms carry, and its frozen atoms in the start's order."""
    for name, atoms in (("start", start), ("end", end)):
        if not isinstance(atoms, Atoms):
            raise TypeError(f"{name} is {type(atoms).__name__}; expected one ase.Atoms")
        refuse_partial_occupancy(atoms, f"the {name}")
        refuse_unknown_places(atoms, f"the {name}")
    _refuse_other_atoms(start, end)
    _refuse_another_cell(start, end)
    ours, theirs = free_components(start, "the atoms of the start"), free_components(end, "the atoms of the end")
    held = [int((~free).all(axis=1).sum()) for free in (ours, theirs)]
    if held[0] != held[1]:
        raise ValueError(
            f"{held[0]} atoms of the start are frozen, {held[1]} of the end; expected the same FixAtoms in both"
        )
    if match:
        return _matched(start, ours, end, theirs)
    if (start.numbers != end.numbers).any():
        raise ValueError(f"the start is {start.symbols}, the end {end.symbols}; matching would put them in one order")
    if (ours != theirs).any():
        raise ValueError("other atoms are held at the end than at the start; matching would pair them by place")
    return Ordered(end)


def remarks_on_periods(atoms: Atoms) -> list[str]:
    """Remark on a cell without periodic boundaries, as readers of some formats leave it, and on a molecule in a box."""
    if not atoms.cell.any():
        return []
    if not atoms.pbc.any():
        return [
            "the structure has a cell and no periodic boundaries, so it is calculated as a cluster: if it repeats, set "
            'them (atoms.pbc = True, or pbc="T T T" in an .extxyz file) at both ends'
        ]
    vacuum = _vacuum(atoms)
    if len(atoms) < 2 or atoms.constraints or not atoms.pbc.all() or vacuum < VACUUM:
        return []
    return [
        f"the structure is a molecule in a periodic box, over {int(vacuum)} Å from its images, and its orientation "
        "counts: without periodic boundaries (atoms.pbc = False at both ends) turned copies are one structure, and the "
        "search takes fewer calculations"
    ]


def _vacuum(atoms: Atoms) -> float:
    """The least, over the cell vectors, of the widest empty layer across each, Å."""
    heights = 1 / np.linalg.norm(np.linalg.inv(atoms.cell.complete()), axis=0)
    places = np.sort(atoms.get_scaled_positions(wrap=True), axis=0)
    widest = np.diff(places, axis=0, append=places[:1] + 1).max(axis=0)
    return float((widest * heights).min())


def _refuse_other_atoms(start: Atoms, end: Atoms) -> None:
    ours, theirs = Counter(start.symbols), Counter(end.symbols)
    if ours == theirs:
        return
    more = [
        f"{n} {symbol} more at the {name}"
        for name, counts in (("start", ours - theirs), ("end", theirs - ours))
        for symbol, n in counts.items()
    ]
    formulas = f"the start is {start.get_chemical_formula()}, the end {end.get_chemical_formula()}"
    raise ValueError(f"{formulas}; expected the same atoms: {', '.join(more)}")


def _refuse_another_cell(start: Atoms, end: Atoms) -> None:
    if (start.pbc != end.pbc).any():
        directions = [
            "".join(axis for axis, pbc in zip("abc", atoms.pbc, strict=True) if pbc) or "nothing"
            for atoms in (start, end)
        ]
        raise ValueError(
            f"the start is periodic along {directions[0]}, the end along {directions[1]}; expected the same"
        )
    if (np.abs(start.cell - end.cell)[start.pbc] > SAME).any():
        raise ValueError(f"{_how_cells_differ(start, end)}, as end.set_cell(start.cell, scale_atoms=True) does")


def _how_cells_differ(start: Atoms, end: Atoms) -> str:
    """Tell whether cells differ in lengths and angles or by orientation, and what to do."""
    ours, theirs = start.cell.cellpar(), end.cell.cellpar()
    periodic = start.pbc
    between = [periodic[1] and periodic[2], periodic[0] and periodic[2], periodic[0] and periodic[1]]
    smallest = max(float(ours[:3][periodic].min()), SAME)
    other = np.abs(theirs - ours) > np.repeat([SAME, np.degrees(SAME / smallest)], 3)
    other &= np.concatenate([periodic, between])
    if not other.any():
        apart = float(np.abs(start.cell - end.cell)[periodic].max())
        return (
            "the cells of start and end have the same lengths and angles in another orientation: their vectors differ "
            f"by up to {apart:.2g} Å; expected one cell: turn the end with its cell into that of the start"
        )
    named = ", ".join(_both(*each) for each in zip(CELL, ours, theirs, other, strict=True) if each[-1])
    return (
        f"the cells of start and end differ: {named}; expected one cell: relax both structures in it, or, where the "
        "difference is the rounding of a file, scale the end into that of the start"
    )


def _both(name: str, ours: float, theirs: float, _: bool) -> str:
    """Both values of a cell's length or angle, with the digits that tell them apart."""
    digits = next((n for n in range(4, 16) if f"{ours:.{n}g}" != f"{theirs:.{n}g}"), 16)
    return f"{name} is {ours:.{digits}g} at the start and {theirs:.{digits}g} at the end"


def _matched(start: Atoms, ours: np.ndarray, end: Atoms, theirs: np.ndarray) -> Ordered:
    """The end in the start's order: frozen atoms by their places, the others of one kind as they come."""
    order = _frozen_order(start, ours, end, theirs)
    states = {"free components": (ours, theirs), **_states(start, end)}
    both = np.concatenate([start.numbers, end.numbers]), *(np.concatenate(state) for state in states.values())
    kinds, others = np.split(classes(np.column_stack(both).astype(np.float64)), 2)
    here, there = np.flatnonzero(ours.any(axis=1)), np.flatnonzero(theirs.any(axis=1))
    if not np.array_equal(np.sort(kinds[here]), np.sort(others[there])):
        raise ValueError(_what_differs(start, here, end, there, states))
    order[here[np.argsort(kinds[here], kind="stable")]] = there[np.argsort(others[there], kind="stable")]
    moved = order != np.arange(len(order))
    if not moved.any():
        return Ordered(end)
    sorted_end = end[order]
    sorted_end.set_constraint(constraints_of(ours))
    sorted_end.info, sorted_end.calc = dict(end.info), end.calc
    guessed = len(np.unique(kinds[here])) < len(here)
    return Ordered(sorted_end, int(moved.sum()), guessed, "tags" in states)


def _frozen_order(start: Atoms, ours: np.ndarray, end: Atoms, theirs: np.ndarray) -> np.ndarray:
    """(n,): which frozen atom of the end stands at the place of each of the start; -1 for those that are free."""
    order = np.full(len(start), -1)
    waiting = [int(k) for k in np.flatnonzero(~theirs.any(axis=1))]
    for k in np.flatnonzero(~ours.any(axis=1)):
        alike = [j for j in waiting if end.numbers[j] == start.numbers[k]]
        if not alike:
            raise ValueError(f"no frozen {start.symbols[k]} is left at the end for atom {k} of the start")
        away = find_mic(end.positions[alike] - start.positions[k], start.cell, start.pbc)[1]
        order[k] = alike[int(np.argmin(away))]
        waiting.remove(int(order[k]))
    return order


def _states(start: Atoms, end: Atoms) -> States:
    """What tells like atoms apart, at the start and at the end: tags only where they are in another order."""
    states = {name: (ours, carried(end, end)[name]) for name, ours in carried(start, end).items()}
    if "tags" in states and not differ(*states["tags"]).any():
        del states["tags"]
    return {name: both for name, both in states.items() if both[0].shape == both[1].shape}


def _what_differs(start: Atoms, here: np.ndarray, end: Atoms, there: np.ndarray, states: States) -> str:
    """Name what the free atoms of the ends differ in, element by element."""
    for number in np.unique(start.numbers[here]):
        ours, theirs = here[start.numbers[here] == number], there[end.numbers[there] == number]
        symbol = chemical_symbols[number]
        if len(ours) != len(theirs):
            return f"{len(ours)} {symbol} are free at the start, {len(theirs)} at the end; expected as many"
        for name, (first, second) in states.items():
            counts = counted(first[ours]), counted(second[theirs])
            if counts[0] != counts[1]:
                return f"the {name} of {symbol} are {counts[0]} at the start, {counts[1]} at the end; expected the same"
    return f"like atoms of start and end differ in {', '.join(states)}, taken together; expected the same"
