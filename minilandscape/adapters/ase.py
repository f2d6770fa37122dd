"""ASE: atoms with a calculator as a landscape, and paths as images."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.data import covalent_radii
from ase.geometry import find_mic
from ase.io import write
from ase.neighborlist import neighbor_list

from ..analysis.symmetry import align_atoms
from ..landscape import FunctionLandscape, LandscapeError, describe_point
from ..paths import Path
from ..potentials import rigid_motions
from .ase_barrier import Barrier, search

__all__ = ["AseLandscape", "Barrier", "barrier"]

#: Å by which cells and frozen atoms may differ, as rounding in files does.
SAME = 1e-6


#: Images of a first path, and how much closer two atoms may come on the straight line than at its ends.
IMAGES, CLOSER = 9, 0.8
#: Two atoms nearer than this part of the sum of their radii run through each other.
THROUGH = 0.05
#: Atoms that move along one line, or through each other, are moved aside by so much, Å.
ASIDE = 0.3


class AseLandscape(FunctionLandscape):
    """The energy of atoms over the positions of those that are free, (x₁, y₁, z₁, x₂, …).

    Energies in eV, positions in Å, gradients (minus the forces) in eV/Å. The energy is the one that the forces belong
    to: ``free_energy`` where the calculator has it, as with smeared occupations.

    Parameters
    ----------
    atoms
        Species, cell, boundary conditions, constraints, initial charges and magnetic moments; they are copied. Atoms
        under ``FixAtoms`` stay where they are and are no coordinates.
    calculator
        A function that makes a calculator, such as its class, which each worker calls for itself, since calculators are
        not thread-safe, and which is called once more after a calculation that failed, since some do not survive their
        own failure. Or one calculator, whose ``reset()`` is called instead. None takes the atoms' own. A calculator
        with a method ``calculate_batch(list_of_atoms) -> energies (P,), forces (P, n, 3)`` is given all points that
        are evaluated together in one call; its energies are those that the forces belong to.
    workers
        How many points are evaluated side by side, in threads; more than 1 asks for a function that makes calculators.

    Raises
    ------
    ValueError
        If there is no calculator, a constraint is none of ``FixAtoms``, or there are workers and one calculator.
    """

    quantity, value_unit, length_unit = "energy", "eV", "Å"

    def __init__(self, atoms: Atoms, calculator: Any = None, workers: int = 1) -> None:
        if not isinstance(atoms, Atoms):
            raise TypeError(f"atoms is {type(atoms).__name__}; expected one ase.Atoms")
        others = [type(c).__name__ for c in atoms.constraints if not isinstance(c, FixAtoms)]
        if others:
            raise ValueError(f"the atoms have a constraint {others[0]}; FixAtoms is the one that can be left out of D")
        calculator = atoms.calc if calculator is None else calculator
        if calculator is None:
            raise ValueError("the atoms have no calculator; give one, or a function that makes one")
        if isinstance(calculator, SinglePointCalculator):
            raise ValueError(
                "the atoms' calculator is what a file holds of one calculation (SinglePointCalculator); give one that "
                "calculates"
            )
        makes = isinstance(calculator, type) or not hasattr(calculator, "get_potential_energy")
        if makes and not callable(calculator):
            raise TypeError(
                f"calculator is {type(calculator).__name__}; expected a calculator, or a function that makes one"
            )
        if workers > 1 and not makes:
            raise ValueError("calculators are not thread-safe: give a function that makes one for each worker")
        fixed = np.zeros(len(atoms), dtype=bool)
        for constraint in atoms.constraints:
            fixed[constraint.index] = True
        if fixed.all():
            raise ValueError(f"of {len(atoms)} atoms {fixed.sum()} are frozen; expected at least one that is free")
        self._atoms = atoms.copy()
        self._atoms.set_constraint()
        self._free, self._frozen = np.flatnonzero(~fixed), np.flatnonzero(fixed)
        self._calculators = _Calculators(calculator, makes)
        super().__init__(self._evaluate, size=3 * len(self._free), workers=workers)

    @property
    def free(self) -> np.ndarray:
        """(D / 3,): the indices of the atoms whose positions are coordinates."""
        return self._free

    def vector(self, atoms: Atoms) -> np.ndarray:
        """(D,): the free positions of other atoms of the same system.

        Raises
        ------
        ValueError
            If species, periodic boundary conditions, cell vectors of a periodic direction, positions of frozen atoms
            (by the shortest way), initial charges or magnetic moments, tags (where the atoms have any), or the charge
            or spin in ``atoms.info`` are not the landscape's: no coordinate holds them, so energies would be another
            system's.
        """
        ours = self._atoms
        if not isinstance(atoms, Atoms):
            raise TypeError(f"atoms is {type(atoms).__name__}; expected one ase.Atoms")
        if len(atoms) != len(ours) or (atoms.numbers != ours.numbers).any():
            raise ValueError(f"the atoms are {atoms.symbols}; expected {ours.symbols}, in this order")
        if (atoms.pbc != ours.pbc).any():
            raise ValueError(f"the atoms have pbc {atoms.pbc.tolist()}; expected the landscape's, {ours.pbc.tolist()}")
        if (np.abs(atoms.cell - ours.cell)[ours.pbc] > SAME).any():
            raise ValueError(
                f"the atoms have the cell {atoms.cell.tolist()}; expected the landscape's, {ours.cell.tolist()}: make "
                "another landscape of these atoms, or relax them in this cell"
            )
        _refuse_another_state(atoms, ours)
        frozen = self._frozen
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
        atoms.positions[self._free] = self._rows(point)
        if len(self._frozen):
            atoms.set_constraint(FixAtoms(self._frozen))
        return atoms

    def forget(self) -> None:
        """Drops remembered results, and the calculators that were made; one that was given is reset.

        Call it after a change of the calculator's own parameters.
        """
        super().forget()
        self._calculators.renew()

    def _rows(self, point: Any) -> np.ndarray:
        """(D,) -> (D / 3, 3)."""
        x = np.asarray(point, dtype=np.float64)
        if x.shape != (self.size,):
            raise ValueError(f"the point has shape {x.shape}; expected ({self.size},), x, y and z of every free atom")
        return x.reshape(-1, 3)

    def _parts(self, points: np.ndarray) -> list[slice]:
        """One call for all points where the calculator takes them."""
        self._batched = self._workers == 1 and self._calculators.take_batches()
        return super()._parts(points)

    def _evaluate(self, point: np.ndarray) -> tuple[Any, np.ndarray]:
        if point.ndim == 2:
            return self._evaluate_batch(point)
        atoms = self._atoms.copy()
        atoms.positions[self._free] = point.reshape(-1, 3)
        try:
            atoms.calc = self._calculators.own()
        except Exception as error:
            raise LandscapeError(f"no calculator could be made: {type(error).__name__}: {error}", point) from error
        try:
            # Forces first: codes that compute what they are asked for compute the energy with them.
            forces = atoms.get_forces()
            energy = _energy_of_the_forces(atoms)
        except Exception as error:
            self._calculators.failed()
            raise LandscapeError(
                f"the calculator raised {type(error).__name__} at {describe_point(point)}: {error}", point
            ) from error
        if not (np.isfinite(energy) and np.isfinite(forces).all()):
            self._calculators.failed()
        return energy, -forces[self._free].ravel()

    def _evaluate_batch(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Energies (P,) and gradients (P, D) by one call."""
        structures = [self._atoms.copy() for _ in points]
        for atoms, point in zip(structures, points, strict=True):
            atoms.positions[self._free] = point.reshape(-1, 3)
        try:
            energies, forces = self._calculators.own().calculate_batch(structures)
            energies, forces = (np.asarray(result, dtype=np.float64) for result in (energies, forces))
        except Exception as error:
            self._calculators.failed()
            raise LandscapeError(
                f"calculate_batch raised {type(error).__name__} with {len(points)} structures: {error}", points[0]
            ) from error
        expected = (len(points),), (len(points), len(self._atoms), 3)
        if (energies.shape, forces.shape) != expected:
            raise LandscapeError(
                f"calculate_batch returned arrays of shapes {energies.shape} and {forces.shape}; expected energies "
                f"{expected[0]} and forces {expected[1]}",
                points[0],
            )
        return energies, -forces[:, self._free].reshape(points.shape)

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

    def initial_path(self, start: Any, end: Any) -> np.ndarray | None:
        """Points (K, D) of a path without clashes: of the image dependent pair potential (IDPP), as ASE has it.

        None for the straight line, which serves where atoms are frozen or a cell is periodic, unless two atoms come
        closer on it than at its ends by a fifth.

        References
        ----------
        .. [1] S. Smidstrup et al., "Improved initial guess for minimum energy path calculations", J. Chem. Phys. 140,
           214106 (2014).
        """
        from ase.mep.neb import idpp_interpolate

        way = np.asarray(end, dtype=np.float64) - np.asarray(start, dtype=np.float64)
        t = np.linspace(0, 1, IMAGES)
        line = start + t[:, None] * way
        nearest = np.array([_nearest_relative(self.atoms(point)) for point in line])
        if (len(self._frozen) or self._atoms.pbc.any()) and nearest[1:-1].min() > CLOSER * nearest[[0, -1]].min():
            return None
        # Where atoms run through each other nothing tells them which way to go.
        if _on_a_line(line.reshape(-1, 3)) or nearest.min() < THROUGH:
            line = line + np.outer(np.sin(np.pi * t), ASIDE * np.random.default_rng(0).standard_normal(self.size))
        images = [self.atoms(point) for point in line]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the band's default method, which is ASE's to choose here
            idpp_interpolate(images, traj=None, log=None, fmax=0.1, mic=bool(self._atoms.pbc.any()), steps=200)
        return np.array([image.positions[self._free].ravel() for image in images])

    def residual(self, gradient: Any) -> float:
        """The largest force of a free atom, ASE's fmax, of a gradient (D,)."""
        return float(np.linalg.norm(self._rows(gradient), axis=1).max())

    def zero_modes(self, point: Any) -> np.ndarray:
        """(Z, D), orthonormal: the motions of all atoms together that leave the energy alone.

        Without frozen atoms, translations; rotations where nothing is periodic, and about the axis of a wire, which is
        periodic along one. One frozen atom leaves the rotations about it, several on one line that about the line.
        Atoms on a line have none about it; see :func:`~minilandscape.potentials.rigid_motions`.
        """
        positions = self._atoms.positions.copy()
        positions[self._free] = self._rows(point)
        periods = self._atoms.cell[self._atoms.pbc & self._atoms.cell.any(1)]
        period = periods[0] if len(periods) == 1 else None
        return rigid_motions(positions, len(periods) < 2, frozen=self._frozen, period=period)

    def images(self, path: Path, n: int | None = None) -> list[Atoms]:
        """A path as atoms with their energies and forces, at n equally spaced t (those of the path if None)."""
        points = path.points(path.t if n is None else np.linspace(0, 1, n))
        energies, gradients = self.values_and_gradients(points)
        images = []
        for point, energy, gradient in zip(points, energies, gradients, strict=True):
            atoms = self.atoms(point)
            forces = np.zeros((len(atoms), 3))
            forces[self._free] = -gradient.reshape(-1, 3)
            # Both, so that whoever asks for the energy that fits the forces finds it.
            atoms.calc = SinglePointCalculator(atoms, energy=float(energy), free_energy=float(energy), forces=forces)
            images.append(atoms)
        return images

    def write(self, file: str | os.PathLike[str], path: Path, n: int | None = None) -> None:
        """Writes :meth:`images` to a trajectory that ASE's viewer and ``NEBTools`` read."""
        write(os.fspath(file), self.images(path, n))


def barrier(
    start: Atoms,
    end: Atoms,
    calculator: Any = None,
    *,
    fmax: float = 0.05,
    relax: bool = True,
    match: bool = True,
    images: Sequence[Atoms] | None = None,
    verify: bool = True,
    workers: int = 1,
    progress: Callable[[str], None] | None = None,
) -> Barrier:
    """Find the verified saddle between two structures, and the barrier both ways.

    Both ends are relaxed (ASE's BFGS, to a fifth of ``fmax``), the end is matched and moved onto the start, and
    :func:`~minilandscape.find_saddle` searches the saddle and verifies it. The imaginary frequency there is that of the
    mass-weighted Hessian, from a few products with it.

    Parameters
    ----------
    start, end
        The same atoms in two structures, in any order, with the same cell and FixAtoms.
    calculator
        As in :class:`AseLandscape`: best a function that makes one, such as ``EMT``. None takes the start's own.
    fmax
        The largest force that is small at the saddle, eV/Å.
    relax
        Whether to relax the ends. Without, barriers count from the ends as they are.
    match
        Whether like atoms may be exchanged and the end moved and turned onto the start. Without, the order of the atoms
        is kept.
    images
        A path to begin from, as the images of a band with both ends, in the start's order of atoms.
    verify
        Without, the search ends at the first stationary point, of which neither the mode nor the minima are known.
    workers
        Calculations side by side, in threads.
    progress
        Called with a line of text at every stage.

    Returns
    -------
    Barrier
        ``converged`` only if the saddle is verified and leads from start to end.

    Raises
    ------
    ValueError
        If the ends are not the same system, are not relaxed, or relax into one minimum.
    LandscapeError
        If the calculator fails at an end.

    Examples
    --------
    >>> from ase.build import add_adsorbate, fcc100
    >>> from ase.calculators.emt import EMT
    >>> from ase.constraints import FixAtoms
    >>> start = fcc100("Al", (2, 2, 2), vacuum=5.0)
    >>> start.set_constraint(FixAtoms(range(8)))
    >>> end = start.copy()
    >>> add_adsorbate(start, "Al", 1.7, "hollow")
    >>> add_adsorbate(end, "Al", 1.7, "hollow", offset=(1, 0))
    >>> found = barrier(start, end, EMT)
    >>> round(found.barrier_forward, 3), found.connects
    (0.257, 'start and end')
    """
    if not fmax > 0:
        raise ValueError(f"fmax is {fmax}; expected a force above 0, in eV/Å")
    calculator = start.calc if calculator is None and isinstance(start, Atoms) else calculator
    return search(
        partial(AseLandscape, calculator=calculator, workers=workers),
        start,
        end,
        fmax=float(fmax),
        relax=relax,
        match=match,
        images=images,
        verify=verify,
        progress=progress or (lambda line: None),
    )


class _Calculators:
    """The calculator of each thread."""

    def __init__(self, calculator: Any, makes: bool) -> None:
        self._given, self._makes = calculator, makes
        self._lock, self._by_thread = threading.Lock(), dict[int, Any]()

    def own(self) -> Any:
        """This thread's calculator, made where it has none."""
        thread = threading.get_ident()
        if not self._makes:
            return self._given
        if thread not in self._by_thread:
            made = self._given()
            if not hasattr(made, "get_potential_energy") or isinstance(made, type):
                raise TypeError(f"the function returned {made!r}; expected a calculator")
            with self._lock:
                if any(made is other for other in self._by_thread.values()):
                    raise TypeError(
                        "the function returned one calculator to two workers, and calculators are not thread-safe; "
                        "expected a function that makes a new one every time"
                    )
                self._by_thread[thread] = made
        return self._by_thread[thread]

    def take_batches(self) -> bool:
        """Whether this thread's calculator has ``calculate_batch``."""
        try:
            return callable(getattr(self.own(), "calculate_batch", None))
        except Exception:  # which the evaluation tells with its point
            return False

    def failed(self) -> None:
        """Puts this thread's calculator away after a calculation that failed."""
        if self._makes:
            self._by_thread.pop(threading.get_ident(), None)
        else:
            self.renew()

    def renew(self) -> None:
        """Puts all calculators away."""
        self._by_thread.clear()
        if hasattr(self._given, "reset") and not self._makes:
            self._given.reset()


def _energy_of_the_forces(atoms: Atoms) -> float:
    """The free energy where the calculator has it, which forces are the derivatives of; else the energy."""
    try:
        return float(atoms.get_potential_energy(force_consistent=True))
    except (PropertyNotImplementedError, TypeError):  # the latter by calculators that do not know the word
        energy = float(atoms.get_potential_energy())
    # Some name it among their results only.
    free = getattr(atoms.calc, "results", {}).get("free_energy")
    return energy if free is None else float(free)


def _refuse_another_state(atoms: Atoms, ours: Atoms) -> None:
    """ValueError where charges, magnetic moments or tags differ, which energies may depend on."""
    advice = "set them to the landscape's, or make another landscape of these atoms"
    states = [
        ("initial charges", atoms.get_initial_charges(), ours.get_initial_charges()),
        ("initial magnetic moments", atoms.get_initial_magnetic_moments(), ours.get_initial_magnetic_moments()),
    ]
    if atoms.has("tags"):  # files that hold none say nothing of them
        states.append(("tags", atoms.get_tags(), ours.get_tags()))
    for name, theirs, expected in states:
        if theirs.shape != expected.shape or (np.abs(theirs - expected) > SAME).any():
            raise ValueError(
                f"the atoms have the {name} {theirs.tolist()}; expected the landscape's, {expected.tolist()}: {advice}"
            )
    for name, default in (("charge", 0), ("spin", None), ("multiplicity", None)):
        named, known = np.asarray(atoms.info.get(name, default)), np.asarray(ours.info.get(name, default))
        if not np.array_equal(named, known):
            raise ValueError(f"the atoms have {named} for info[{name!r}]; expected the landscape's, {known}: {advice}")


def _nearest_relative(atoms: Atoms) -> float:
    """The smallest distance of two atoms over the sum of their covalent radii."""
    radii = covalent_radii[atoms.numbers]
    i, j, d = neighbor_list("ijd", atoms, 3.0)
    return float((d / (radii[i] + radii[j])).min(initial=np.inf))


def _on_a_line(positions: np.ndarray) -> bool:
    """Whether positions (n, 3) lie on one line, within a hundredth of how far they reach."""
    sizes = np.linalg.svd(positions - positions.mean(axis=0), compute_uv=False)
    return bool(sizes[1] < 0.01 * sizes[0])
