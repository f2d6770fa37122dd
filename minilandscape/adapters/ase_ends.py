"""The two ends of a barrier: relaxed, and moved onto each other."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.geometry import find_mic
from ase.neighborlist import natural_cutoffs
from ase.optimize import BFGS

from ..analysis.atom_alignment import ClashWarning
from ..landscape import LandscapeError
from ..motion import moved_near
from .ase_pairing import Pairings, bonds_of
from .ase_states import closest_atoms

#: Steps of a relaxation at most.
MOST_STEPS = 1000
#: Ends are one structure where no atom is farther away than so many Å, and than this part of how far it was before.
TOGETHER, NEARER = 0.1, 0.2
#: A rearrangement of one structure moves no more than this part of the atoms, or one, by more than so many Å.
FEW, FAR = 0.25, 1.0
#: A pairing by nearness replaces that of the files where its sum of squared distances is smaller than this part.
MUCH_NEARER = 0.5
#: Å within which no atom has moved.
SAME = 1e-3
#: eV by which the energies of one structure do not differ.
DIFFERENT = 1e-2
#: Two atoms that were bonded are no more beyond so many sums of their covalent radii.
PARTED = 1.5


class _OfLandscape(Calculator):
    """A landscape's energies, remembered and counted there, for ASE's optimisers."""

    def __init__(self, land: Any) -> None:
        super().__init__()
        self.implemented_properties = ["energy", "forces"]
        self.land = land

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        positions = self.atoms.positions  # type: ignore[union-attr]  # set by the line above
        energy, gradient = finite(self.land, positions[self.land.components])
        self.results = {"energy": float(energy), "forces": self.land.forces(gradient)}


def finite(land: Any, point: np.ndarray) -> tuple[float, np.ndarray]:
    """The energy and the gradient (D,) at a point; LandscapeError where a number of them is not finite."""
    (energy,), (gradient,) = land.values_and_gradients(point[None])
    if np.isfinite(energy) and np.isfinite(gradient).all():
        return float(energy), gradient
    near = closest_atoms(land.atoms(point))
    raise LandscapeError(f"energy or forces are not finite{f': {near}' if near else ''}", point)


def relaxed(
    land: Any, point: np.ndarray, name: str, fmax: float, progress: Callable[[str], None]
) -> tuple[np.ndarray, list[str]]:
    """Relax an end; return the minimum (D,), and remarks about the bonds that are lost."""
    atoms = land.atoms(point)
    bonds, counted = bonds_of(atoms), land.calculations
    atoms.calc = _OfLandscape(land)
    try:
        done = BFGS(atoms, logfile=None).run(fmax=fmax, steps=MOST_STEPS)
    except LandscapeError as error:
        raise LandscapeError(f"the {name} could not be relaxed: {error}", error.point) from error
    if not done:
        left = float(np.linalg.norm(atoms.get_forces(), axis=1).max())
        raise ValueError(
            f"the {name} has forces of {left:.2g} eV/Å after {MOST_STEPS} steps; expected {fmax:g}, a fifth of fmax: "
            "give a larger one, or relax it with another optimiser and give --no-relax (relax=False)"
        )
    energy = atoms.get_potential_energy()
    calls = land.calculations - counted
    progress(f"{name} relaxed to {fmax:g} eV/Å: {energy:.6f} eV, {calls} calls")
    minimum = np.array(atoms.positions[land.components])
    distances = atoms.get_all_distances(mic=bool(atoms.pbc.any()))
    limits = np.array(natural_cutoffs(atoms, mult=PARTED))
    lost = [f"{atoms.symbols[i]}{i}–{atoms.symbols[j]}{j}" for i, j in bonds if distances[i, j] > limits[i] + limits[j]]
    return minimum, [f"the {name} has lost the bond {', '.join(lost)} in its relaxation"] if lost else []


def farthest(land: Any, a: np.ndarray, b: np.ndarray, match: bool) -> float:
    """Measure how far the farthest atom is from its place at the other end, Å, rigid motions left out."""
    near = aligned(land, a, b) if match else b
    way = moved_near(land, a, near, land.zero_modes)
    return float(land.residual(way))


def aligned(land: Any, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Align b with a, without a warning of clashes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ClashWarning)
        return np.asarray(land.align(a, b))


def refuse_one_structure(
    land: Any, given: tuple[np.ndarray, np.ndarray], ends: tuple[np.ndarray, np.ndarray], relax: bool, match: bool
) -> None:
    """Raise ValueError where both ends, which were given as two points, are or have become one structure."""
    one = _one_structure(land, given, ends, relax, match)
    if one is None:
        return
    before, after = one
    helps = match and _one_structure(land, given, ends, relax, match=False) is None
    advice = "; --no-match (match=False) tells like atoms that change places apart" if helps else ""
    energies = land.values(np.stack(ends))
    apart = float(abs(energies[1] - energies[0]))
    if apart > DIFFERENT:
        advice = _what_is_assumed(land, ends[0], apart) + advice
    if before <= SAME:
        matched = ", once moved onto each other and like atoms matched" if match else ", once moved onto each other"
        raise ValueError(f"start and end are one structure{matched}; expected two minima{advice}")
    raise ValueError(
        f"both ends relax into one minimum: an atom is up to {before:.3g} Å from its place at the other end before, "
        f"{after:.2g} Å after, and the energies differ by {apart:.1g} eV; expected two minima of this "
        f"calculator{advice}"
    )


def _one_structure(
    land: Any, given: tuple[np.ndarray, np.ndarray], ends: tuple[np.ndarray, np.ndarray], relax: bool, match: bool
) -> tuple[float, float] | None:
    """How far the farthest atom was and is from its place at the other end, Å; None of two structures."""
    after = farthest(land, *ends, match)
    if after > (TOGETHER if relax else SAME):
        return None
    before = farthest(land, *given, match)
    return (before, after) if after <= max(min(TOGETHER, NEARER * before) if relax else 0.0, SAME) else None


def _what_is_assumed(land: Any, a: np.ndarray, apart: float) -> str:
    """Say which motions are taken to leave the energy alone, where the energies of the ends show that one does not."""
    modes = len(land.zero_modes(a))
    differ = f"; their energies differ by {apart:.2g} eV, though"
    if not modes:
        return f"{differ} exchanges of like atoms are taken to leave the energy alone"
    if not land.components.all():
        motions = "the motions of the whole that constraints allow"
    else:
        motions = "translations and rotations" if modes > 3 else "translations"
    return (
        f"{differ} {motions} are taken to leave the energy alone: where an external potential acts on the atoms, add "
        "three that are held (FixAtoms), not on one line, which leave no such motion"
    )


def rearranges(land: Any, a: np.ndarray, b: np.ndarray) -> bool:
    """Tell whether b, in its order of atoms, is a plausible rearrangement of a where both are one structure.

    As the hop of a vacancy, or ammonia turned inside out: bonds are kept where there are any, or few atoms move far,
    and there is more to it than an exchange in place.
    """
    way = np.linalg.norm(land.forces(moved_near(land, a, b, land.zero_modes)), axis=1)
    first, second = land.atoms(a), land.atoms(a + moved_near(land, a, b, land.zero_modes))
    if way.max() <= TOGETHER:
        return False
    apart = np.array([find_mic(second.positions - r, first.cell, first.pbc)[1] for r in first.positions])
    apart[first.numbers[:, None] != second.numbers] = np.inf
    if apart.min(axis=1).max() <= TOGETHER:
        return False
    few, bonds = max(1, int(FEW * len(first))), bonds_of(first)
    return (bool(bonds) and bonds == bonds_of(second)) or int((way > FAR).sum()) <= few


def rearrangement(land: Any, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, str] | None:
    """Choose an order of b's atoms where both ends are one structure, and say which; None if no order is plausible.

    The nearest pairing of all would be no motion at all. The order of the files is taken, unless atoms paired with the
    nearest of their kind, in the frame of the files, have much shorter ways: the files are in different orders then.
    """
    near = Pairings(land, a).in_place(b)
    squares = [float((moved_near(land, a, x, land.zero_modes) ** 2).sum()) for x in (near, b)]
    keeps, one = rearranges(land, a, b), "start and end are one structure once like atoms are exchanged"
    if rearranges(land, a, near) and (not keeps or squares[0] < MUCH_NEARER * squares[1]):
        return near, (
            f"{one}, and in different orders: each atom is paired with the nearest of its kind where the files have "
            "it, and the barrier is that of this rearrangement; --no-match (match=False) keeps the order"
        )
    if keeps:
        return b, f"{one}: their order is kept, and the barrier is that of the rearrangement"
    return None


def matched(land: Any, a: np.ndarray, b: np.ndarray, guessed: bool = False) -> tuple[np.ndarray, list[str]]:
    """Move the end onto the start, exchange like atoms where that is the better pairing; say what was done.

    Pairings are judged by the bonds that would change: an order that a chemist has kept is the reaction that is meant,
    though other atoms may be nearer. Of pairings that change equally many the nearest is taken. Where the order of like
    atoms was guessed, every pairing that is found competes; else one that is neither the files' nor the nearest has to
    change fewer bonds.
    """
    kept, nearest = a + moved_near(land, a, b, land.zero_modes), aligned(land, a, b)
    pairings = Pairings(land, a)
    (changed, apart), (changed_nearest, least) = pairings.judged(kept), pairings.judged(nearest)
    before = float(np.linalg.norm(land.displacement(a, b)))
    distances, others = (land.atoms(x).get_all_distances(mic=True) for x in (kept, nearest))
    same = np.allclose(distances, others, atol=SAME)
    exchanged = not same and (changed_nearest, least) < (changed, (1 - SAME) * apart)
    if exchanged or (same and least < apart):
        kept, changed, apart = nearest, changed_nearest, least
    found = pairings.best(kept, nearest) if guessed or changed else kept
    changed_found, least = pairings.judged(found)
    if (changed_found, least) < (changed, (1 - SAME) * apart if guessed else 0.0):
        kept, apart, exchanged = found, least, True
    if exchanged:
        return kept, [
            f"like atoms were exchanged and the end moved onto the start: {apart:.3g} Å apart, {before:.3g} before"
        ]
    moved = apart < before - SAME
    return kept, [f"the end was moved onto the start: {apart:.3g} Å apart, {before:.3g} before"] if moved else []


def _residual(land: Any, name: str, point: np.ndarray) -> float:
    try:
        return float(land.residual(finite(land, point)[1]))
    except LandscapeError as error:
        raise LandscapeError(f"the {name} cannot be calculated: {error}", error.point) from error


def what_is_not_relaxed(land: Any, a: np.ndarray, b: np.ndarray, fmax: float, rates: bool) -> list[str]:
    """Name the forces at ends that are taken as they are, where they are not small, and what they do to rates."""
    largest = [_residual(land, name, point) for name, point in (("start", a), ("end", b))]
    names = [
        f"{name} ({force:.2g} eV/Å)" for name, force in zip(("start", "end"), largest, strict=True) if force > fmax
    ]
    if not names:
        return []
    of_rates = ", and harmonic rates assume that there are no forces" if rates else ""
    return [
        f"the largest forces are above {fmax:g} eV/Å at the {' and the '.join(names)}: where the search does not "
        f"replace an end by the minimum below it, barriers count from the structure as it is{of_rates}"
    ]
