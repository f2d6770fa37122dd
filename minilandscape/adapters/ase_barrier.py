"""The barrier between two structures: relaxation, matching, the saddle, its imaginary frequency, files."""

from __future__ import annotations

import os
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path as File
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.geometry import find_mic
from ase.io import write
from ase.neighborlist import natural_cutoffs, neighbor_list
from ase.optimize import BFGS

from ..analysis.symmetry import ClashWarning, closest_approach
from ..connect import Connection, find_saddle
from ..landscape import LandscapeError
from ..motion import moved_near
from .ase_modes import wavenumber

#: The ends are relaxed to this part of the saddle's fmax, in so many steps at most.
ENDS, MOST_STEPS = 0.2, 1000
#: Ends are one structure where no atom is farther away than so many Å, and than this part of how far it was before.
TOGETHER, NEARER = 0.1, 0.2
#: Å within which no atom has moved.
SAME = 1e-3
#: Two atoms are bonded within so many sums of their covalent radii; beyond the second number no more.
BONDED, PARTED = 1.15, 1.5


@dataclass(frozen=True, repr=False)
class Barrier:
    """The barrier between two structures. Energies in eV, lengths in Å.

    Attributes
    ----------
    connection
        What :func:`~minilandscape.find_saddle` has found, with the points of the landscape.
    start, end
        As they were connected: relaxed, the end's atoms in the order and orientation of the start.
    saddle
        The highest saddle, with its energy and forces; None where there is none.
    minima
        The minima of the chain with their energies, from start to end.
    images
        The path through minima and saddles, with energies; empty where there is none.
    fmax
        The largest force of a free atom at the saddle, eV/Å.
    tolerance
        The fmax that counted as small.
    frequency
        The imaginary frequency at the saddle, cm⁻¹, as a positive number: of the lowest eigenvalue of the mass-weighted
        Hessian. NaN where that was not computed, as without verification.
    frequency_error
        How far that may be off for the iteration's sake, cm⁻¹.
    calls
        Energies and forces asked for: ``"relaxation"``, the four stages of :class:`Connection`, ``"frequency"``, and
        ``"total"``, the calculations that they took: a structure that comes up twice is calculated once.
    remarks
        What was done to the structures, a sentence each.
    """

    connection: Connection
    start: Atoms
    end: Atoms
    saddle: Atoms | None
    minima: tuple[Atoms, ...]
    images: tuple[Atoms, ...]
    fmax: float
    tolerance: float
    frequency: float
    frequency_error: float
    calls: dict[str, int]
    remarks: tuple[str, ...] = field(default=())

    @property
    def converged(self) -> bool:
        """Whether the saddle is verified and the chain leads from start to end."""
        return self.connection.converged

    @property
    def reason(self) -> str:
        """Why it is not converged; ``"converged"`` if it is."""
        return self.connection.reason

    @property
    def barrier_forward(self) -> float:
        """The saddle above the start, eV; NaN without a saddle."""
        return self.connection.barrier_forward

    @property
    def barrier_reverse(self) -> float:
        """The saddle above the end, eV; NaN without a saddle."""
        return self.connection.barrier_reverse

    @property
    def reaction_energy(self) -> float:
        """The end above the start, eV."""
        return float(self.connection.minima_values[-1] - self.connection.minima_values[0])

    @property
    def saddle_energy(self) -> float:
        """Of the calculator, eV; NaN without a saddle."""
        return float("nan") if self.connection.saddle is None else self.connection.saddle.value

    @property
    def connects(self) -> str:
        """Which minima the saddle connects."""
        if not self.converged:
            return "not verified"
        between = len(self.minima) - 2
        if between == 0:
            return "start and end"
        energies = self.connection.minima_values[1:-1] - self.connection.minima_values[0]
        named = ", ".join(f"{energy:+.4f}" for energy in energies)
        return f"start and end, by a chain through {between} more minim{'um' if between == 1 else 'a'} ({named} eV)"

    def __repr__(self) -> str:
        """One line: the barrier both ways, and whether it is verified."""
        return (
            f"<Barrier: forward {self.barrier_forward:.4f} eV, reverse {self.barrier_reverse:.4f} eV, {self.reason}, "
            f"{self.calls['total']} calculations>"
        )

    def write(self, prefix: str | os.PathLike[str]) -> list[str]:
        """Writes path and saddle, ``PREFIX_path`` and ``PREFIX_saddle`` with ``.traj`` and ``.extxyz``.

        The images of the path have energies; the saddle has energy and forces. Returns the files that were written.
        """
        parts: list[Any] = [list(self.images), self.saddle]
        named = zip(files_of(prefix), [part for part in parts for _ in ENDINGS], strict=True)
        written = {file: part for file, part in named if part}
        for file, part in written.items():
            File(file).parent.mkdir(parents=True, exist_ok=True)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Skipping unhashable")  # of info that some builders of slabs leave
                write(file, part)
        return list(written)

    def plot(self, axes: Any = None) -> Any:
        """Draws energy (eV, from the start's) over the length of the path (Å); returns the axes, new ones if None."""
        if not self.images:
            raise ValueError(f"there is no path to draw: {self.reason}")
        if axes is None:
            from matplotlib.figure import Figure

            axes = Figure(figsize=(6, 4), layout="constrained").subplots()
        assert self.connection.path is not None
        points, low = self.connection.path.points(self.connection.path.t), self.connection.minima_values[0]
        s = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
        energies = self.connection.path.values - low
        axes.plot(s, energies, ".-", ms=4)
        marked = np.isin(self.connection.path.values, self.connection.minima_values)
        marked[[0, -1]] = True
        axes.plot(s[marked], energies[marked], "k.", ms=9, label="minima")
        for k, saddle in enumerate(self.connection.saddles):
            at = s[np.abs(self.connection.path.values - saddle.value).argmin()]
            axes.plot(
                at, saddle.value - low, "C3x", label=None if k else "saddle" if self.converged else "not verified"
            )
        axes.axhline(0, color="0.6", lw=0.8, ls=":")
        axes.set(
            xlabel="path length (Å)",
            ylabel="energy above the start (eV)",
            title=f"forward {self.barrier_forward:.3f} eV, reverse {self.barrier_reverse:.3f} eV",
        )
        axes.legend(frameon=False)
        return axes

    def document(self) -> dict[str, Any]:
        """The numbers by name, as plain values."""
        names = ("barrier_forward", "barrier_reverse", "reaction_energy", "saddle_energy", "fmax", "tolerance")
        more = ("frequency", "frequency_error", "connects", "calls", "converged", "reason")
        saddles = self.connection.saddles
        return {
            **{name: getattr(self, name) for name in (*names, *more)},
            "minima_energies": self.connection.minima_values.tolist(),
            "saddle_energies": [saddle.value for saddle in saddles],
            "eigenvalues": [] if self.connection.saddle is None else self.connection.saddle.eigenvalues.tolist(),
            "remarks": list(self.remarks),
        }


class BarrierInterrupted(KeyboardInterrupt):
    """Ctrl-C in a search of a saddle.

    Attributes
    ----------
    ends
        Both ends, relaxed and matched.
    """

    def __init__(self, ends: tuple[Atoms, Atoms]) -> None:
        super().__init__("the search of the saddle was interrupted")
        self.ends = ends


#: Files that are written of a path and of a saddle.
ENDINGS = (".traj", ".extxyz")


def files_of(prefix: str | os.PathLike[str]) -> list[str]:
    """What :meth:`Barrier.write` writes where there is a path and a saddle."""
    return [f"{os.fspath(prefix)}_{part}{ending}" for part in ("path", "saddle") for ending in ENDINGS]


def search(
    landscape: Callable[[Atoms], Any],
    start: Atoms,
    end: Atoms,
    *,
    fmax: float,
    relax: bool,
    match: bool,
    images: Sequence[Atoms] | None,
    verify: bool,
    progress: Callable[[str], None],
) -> Barrier:
    """The barrier, on the landscape that is made of the start."""
    remarks: list[str] = []
    end, moved = same_order(start, end, match)
    if moved:
        remarks.append(f"{moved} atoms of the end were put into the start's order of species")
    land = landscape(start)
    a, b = land.vector(start), land.vector(end)
    before = _farthest(land, a, b, match)
    if relax:
        a, remark = _relaxed(land, a, "start", ENDS * fmax, progress)
        remarks += remark
        b, remark = _relaxed(land, b, "end", ENDS * fmax, progress)
        remarks += remark
    relaxation = land.evaluations.gradients
    _refuse_one_structure(land, a, b, before, relax, match)
    initial = None
    if images is not None:
        a, b, initial = _through_images(land, a, b, images, match)
        remarks.append(f"the path begins from {len(images)} images that were given")
    elif match:
        b, did = _matched(land, a, b)
        remarks += did
    if images is None:
        remarks += _what_clashes(land, a, a + moved_near(land, a, b, land.zero_modes))
    if not relax:
        remarks += _what_is_not_relaxed(land, a, b, fmax)
    try:
        found = find_saddle(land, a, b, tolerance=fmax, verify=verify, initial=initial, progress=progress)
    except KeyboardInterrupt as stopped:
        raise BarrierInterrupted((land.atoms(a), land.atoms(b))) from stopped
    calls = {"relaxation": relaxation, **found.calls, "frequency": 0}
    frequency, error = float("nan"), float("nan")
    saddle = found.saddle
    if saddle is not None and len(saddle.eigenvalues) and saddle.eigenvalues[0] < 0:
        progress("frequency of the saddle")
        try:
            mode = wavenumber(land, saddle.point, saddle.mode, saddle.step)
        except LandscapeError as failed:
            remarks.append(f"the imaginary frequency could not be computed: {failed}")
        else:
            frequency, error, calls["frequency"] = mode
    calls["total"] = land.evaluations.gradients
    path = found.path
    return Barrier(
        connection=found,
        start=_calculated(land, found.minima[0], float(found.minima_values[0])),
        end=_calculated(land, found.minima[-1], float(found.minima_values[-1])),
        saddle=None if saddle is None else _calculated(land, saddle.point, saddle.value, forces=True),
        minima=tuple(_calculated(land, *pair) for pair in zip(found.minima, found.minima_values, strict=True)),
        images=()
        if path is None
        else tuple(_calculated(land, *pair) for pair in zip(path.points(path.t), path.values, strict=True)),
        fmax=float("nan") if saddle is None else saddle.residual,
        tolerance=fmax if saddle is None else saddle.tolerance,
        frequency=frequency,
        frequency_error=error,
        calls=calls,
        remarks=tuple(remarks),
    )


# The ends ------------------------------------------------------------------------------------------------------------


def same_order(start: Atoms, end: Atoms, match: bool) -> tuple[Atoms, int]:
    """The end with its species, and its frozen atoms, at the start's places; how many atoms were moved."""
    for name, atoms in (("start", start), ("end", end)):
        if not isinstance(atoms, Atoms):
            raise TypeError(f"{name} is {type(atoms).__name__}; expected one ase.Atoms")
    if sorted(start.numbers) != sorted(end.numbers):
        formulas = f"the start is {start.get_chemical_formula()}, the end {end.get_chemical_formula()}"
        raise ValueError(f"{formulas}; expected the same atoms")
    ours, theirs = frozen_atoms(start, "start"), frozen_atoms(end, "end")
    if len(ours) != len(theirs):
        raise ValueError(
            f"{len(ours)} atoms of the start are frozen, {len(theirs)} of the end; expected the same FixAtoms in both"
        )
    if not match:
        if (start.numbers != end.numbers).any():
            raise ValueError(
                f"the start is {start.symbols}, the end {end.symbols}; matching would put them in one order"
            )
        if (ours != theirs).any():
            raise ValueError("other atoms are frozen at the end than at the start; matching would pair them by place")
        return end, 0
    order = np.full(len(start), -1)
    waiting = [int(k) for k in theirs]
    for k in ours:  # a frozen atom is the one that stands at its place
        alike = [j for j in waiting if end.numbers[j] == start.numbers[k]]
        if not alike:
            raise ValueError(f"no frozen {start.symbols[k]} is left at the end for atom {k} of the start")
        away = find_mic(end.positions[alike] - start.positions[k], start.cell, start.pbc)[1]
        order[k] = alike[int(np.argmin(away))]
        waiting.remove(int(order[k]))
    free: dict[int, list[int]] = defaultdict(list)
    for j in np.setdiff1d(np.arange(len(end)), theirs):
        free[int(end.numbers[j])].append(int(j))
    for k in np.setdiff1d(np.arange(len(start)), ours):
        if not free[int(start.numbers[k])]:
            raise ValueError(f"fewer {start.symbols[k]} are free at the end than at the start; expected as many")
        order[k] = free[int(start.numbers[k])].pop(0)
    moved = int((order != np.arange(len(order))).sum())
    if not moved:
        return end, 0
    sorted_end = end[order]
    sorted_end.set_constraint(FixAtoms(ours) if len(ours) else None)
    sorted_end.info, sorted_end.calc = dict(end.info), end.calc
    return sorted_end, moved


def frozen_atoms(atoms: Atoms, name: str) -> np.ndarray:
    """The indices of the atoms under FixAtoms; ValueError names another constraint."""
    others = [type(c).__name__ for c in atoms.constraints if not isinstance(c, FixAtoms)]
    if others:
        raise ValueError(f"the {name} has a constraint {others[0]}; expected FixAtoms alone, whose atoms are left out")
    return np.unique(np.concatenate([np.zeros(0, dtype=int), *(c.index for c in atoms.constraints)]))


class _OfLandscape(Calculator):
    """A landscape's energies, remembered and counted there, for ASE's optimisers."""

    def __init__(self, land: Any) -> None:
        super().__init__()
        self.implemented_properties = ["energy", "forces"]
        self.land, self.free = land, land.free

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        positions = self.atoms.positions  # type: ignore[union-attr]  # set by the line above
        (energy,), (gradient,) = self.land.values_and_gradients(positions[self.free].reshape(1, -1))
        forces = np.zeros(positions.shape)
        forces[self.free] = -gradient.reshape(-1, 3)
        self.results = {"energy": float(energy), "forces": forces}


def _relaxed(
    land: Any, point: np.ndarray, name: str, fmax: float, progress: Callable[[str], None]
) -> tuple[np.ndarray, list[str]]:
    """The minimum below an end, and what there is to say of the way."""
    atoms = land.atoms(point)
    bonds, counted = _bonds(atoms), land.evaluations.gradients
    atoms.calc = _OfLandscape(land)
    try:
        done = BFGS(atoms, logfile=None).run(fmax=fmax, steps=MOST_STEPS)
    except LandscapeError as error:
        raise LandscapeError(f"the {name} could not be relaxed: {error}", error.point) from error
    if not done:
        raise ValueError(
            f"the {name} is not relaxed to {fmax:g} eV/Å after {MOST_STEPS} steps; relax it with another optimiser, "
            "and give --no-relax (relax=False)"
        )
    energy = atoms.get_potential_energy()
    calls = land.evaluations.gradients - counted
    progress(f"{name} relaxed to {fmax:g} eV/Å: {energy:.6f} eV, {calls} calls")
    relaxed = np.array(atoms.positions[land.free].ravel())
    distances = atoms.get_all_distances(mic=bool(atoms.pbc.any()))
    limits = np.array(natural_cutoffs(atoms, mult=PARTED))
    lost = [f"{atoms.symbols[i]}{i}–{atoms.symbols[j]}{j}" for i, j in bonds if distances[i, j] > limits[i] + limits[j]]
    return relaxed, [f"the {name} has lost the bond {', '.join(lost)} in its relaxation"] if lost else []


def _bonds(atoms: Atoms) -> list[tuple[int, int]]:
    """Pairs of neighbours."""
    i, j = neighbor_list("ij", atoms, natural_cutoffs(atoms, mult=BONDED))
    return sorted({(int(k), int(m)) for k, m in zip(i, j, strict=True) if k < m})


def _farthest(land: Any, a: np.ndarray, b: np.ndarray, match: bool) -> float:
    """How far the atom is that is farthest from its place at the other end, Å, rigid motions left out."""
    near = _silently(land, a, b) if match else b
    way = moved_near(land, a, near, land.zero_modes)
    return float(land.residual(way))


def _silently(land: Any, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """b near to a, without a word of clashes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ClashWarning)
        return np.asarray(land.align(a, b))


def _refuse_one_structure(land: Any, a: np.ndarray, b: np.ndarray, before: float, relaxed: bool, match: bool) -> None:
    """ValueError where both ends are one structure, or have relaxed into one minimum."""
    after = _farthest(land, a, b, match)
    if after > max(min(TOGETHER, NEARER * before) if relaxed else 0.0, SAME):
        return
    advice = "; --no-match (match=False) tells like atoms that change places apart" if match else ""
    if before <= SAME:
        matched = ", once moved onto each other and like atoms matched" if match else ""
        raise ValueError(f"start and end are one structure{matched}; expected two minima{advice}")
    first, second = land.values(np.stack([a, b]))
    raise ValueError(
        f"both ends relax into one minimum: an atom is up to {before:.3g} Å from its place at the other end before, "
        f"{after:.2g} Å after, and the energies differ by {abs(second - first):.1g} eV; expected two minima of this "
        f"calculator{advice}"
    )


def _matched(land: Any, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """The end moved onto the start, its like atoms exchanged where that is the better pairing, and what was done.

    Pairings are judged by the bonds that would change: an order that a chemist has kept is the reaction that is meant,
    though other atoms may be nearer. Of pairings that change equally many the nearest is taken.
    """
    kept, nearest = a + moved_near(land, a, b, land.zero_modes), _silently(land, a, b)
    bonds = set(_bonds(land.atoms(a)))
    changed, changed_nearest = (len(bonds.symmetric_difference(_bonds(land.atoms(x)))) for x in (kept, nearest))
    before, apart, least = (float(np.linalg.norm(land.displacement(a, x))) for x in (b, kept, nearest))
    distances, others = (land.atoms(x).get_all_distances(mic=True) for x in (kept, nearest))
    exchanged = not np.allclose(distances, others, atol=SAME)
    if exchanged and (changed_nearest, least) < (changed, (1 - SAME) * apart):
        did = f"like atoms were exchanged and the end moved onto the start: {least:.3g} Å apart, {before:.3g} before"
        return nearest, [did]
    if not exchanged and least < apart:
        kept, apart = nearest, least
    moved = apart < before - SAME
    return kept, [f"the end was moved onto the start: {apart:.3g} Å apart, {before:.3g} before"] if moved else []


def _what_is_not_relaxed(land: Any, a: np.ndarray, b: np.ndarray, fmax: float) -> list[str]:
    """The forces at ends that are taken as they are, where they are not small."""
    _, gradients = land.values_and_gradients(np.stack([a, b]))
    largest = [land.residual(gradient) for gradient in gradients]
    names = [
        f"{name} ({force:.2g} eV/Å)" for name, force in zip(("start", "end"), largest, strict=True) if force > fmax
    ]
    if not names:
        return []
    return [
        f"the forces are not small at the {' and the '.join(names)}: barriers count from the structures as they are"
    ]


def _what_clashes(land: Any, a: np.ndarray, b: np.ndarray) -> list[str]:
    """That two atoms clash on the straight line, and where the path begins instead."""
    first, second = land.atoms(a), land.atoms(b)
    found = closest_approach(first.positions, second.positions, first.numbers, cell=first.cell.array, pbc=first.pbc)
    if not found.clash:
        return []
    i, j = found.atoms
    names = " and ".join(f"{first.symbols[k]}{k}" for k in (i, j))
    return [
        f"{names} come within {found.distance:.2g} Å on the straight line: the path begins from interpolated distances "
        "(IDPP)"
    ]


def _through_images(
    land: Any, a: np.ndarray, b: np.ndarray, images: Sequence[Atoms], match: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The ends moved onto the first and the last image, and the points of the path with them as its ends."""
    points = []
    for k, image in enumerate(images):
        try:
            points.append(land.vector(image))
        except ValueError as error:
            raise ValueError(f"image {k}: {error}") from error
    if len(points) < 3:
        raise ValueError(f"{len(points)} images were given; expected at least three, the ends among them")
    way = [points[0]]
    for point in points[1:]:
        way.append(way[-1] + land.displacement(way[-1], point))
    if match:
        a, b = _silently(land, way[0], a), _silently(land, way[-1], b)
    shift = land.displacement(way[0], a)
    a = way[0] + shift
    b = way[-1] + land.displacement(way[-1], b)
    return a, b, np.array([a, *way[1:-1], b])


def _calculated(land: Any, point: np.ndarray, energy: float, forces: bool = False) -> Atoms:
    """The structure at a point with its energy, and with its forces if asked."""
    atoms: Atoms = land.atoms(point)
    results: dict[str, Any] = {"energy": float(energy), "free_energy": float(energy)}
    if forces:
        (_,), (gradient,) = land.values_and_gradients(np.asarray(point)[None])
        results["forces"] = np.zeros((len(atoms), 3))
        results["forces"][land.free] = -gradient.reshape(-1, 3)
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms
