"""Atoms with an ASE calculator as a landscape, and paths as their images."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.geometry import find_mic
from ase.io import write
from scipy.spatial.transform import Rotation

from ..analysis.atom_alignment import align_atoms
from ..connect.result import path_through
from ..landscape import FunctionLandscape, LandscapeError, describe_point
from ..motion import moved_near
from ..paths import Ending, Path
from .ase_constraints import constraints_of, free_components, zero_modes
from .ase_start import start_path
from .ase_states import (
    SAME,
    closest_atoms,
    kinds_of,
    refuse_another_state,
    refuse_partial_occupancy,
    refuse_unknown_places,
)
from .ase_workers import Calculators, energy_of_the_forces


class AseLandscape(FunctionLandscape):
    """The energy of atoms over the positions of those that are free, (x₁, y₁, z₁, x₂, …).

    Energies in eV, positions in Å, gradients (minus the forces) in eV/Å. The energy is the one that the forces belong
    to: ``free_energy`` where the calculator has it, as with smeared occupations.

    Parameters
    ----------
    atoms
        Species, cell, boundary conditions, constraints, initial charges and magnetic moments; they are copied. Atoms
        under ``FixAtoms`` and components under ``FixCartesian`` stay where they are and are no coordinates.
    calculator
        A function that makes a calculator, such as its class, which each worker calls for itself, since calculators are
        not thread-safe. A calculation that fails is repeated once with a new one, since some do not survive their own
        failure. Or one calculator, whose ``reset()`` is called instead. None takes the atoms' own. A calculator
        with a method ``calculate_batch(list_of_atoms) -> energies (P,), forces (P, n, 3)`` is given all points that
        are evaluated together in one call; its energies are those that the forces belong to.
    workers
        How many points are evaluated side by side, in threads; more than 1 requires a function that makes calculators.

    Raises
    ------
    ValueError
        If there is no calculator, a constraint does not hold Cartesian components, sites are occupied in part, or there
        are workers and one calculator.

    Attributes
    ----------
    kinds
        (n,): atoms of one number may be exchanged where structures are aligned: those of one element, initial charge,
        magnetic moment and mass. To tell more atoms apart, number them so.

    Examples
    --------
    >>> import minilandscape as ml
    >>> from ase.build import molecule
    >>> from ase.calculators.emt import EMT
    >>> land = AseLandscape(molecule("CO"), EMT)
    >>> land.size
    6
    >>> longer = molecule("CO")
    >>> longer.positions[0] *= 1.1
    >>> path = land.path([molecule("CO"), longer])  # as the images of a band
    >>> path.values.shape
    (2,)
    """

    quantity, value_unit, length_unit = "energy", "eV", "Å"

    def __init__(self, atoms: Atoms, calculator: Any = None, workers: int = 1) -> None:
        if not isinstance(atoms, Atoms):
            raise TypeError(f"atoms is {type(atoms).__name__}; expected one ase.Atoms")
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
        refuse_partial_occupancy(atoms, "the structure")
        refuse_unknown_places(atoms, "the structure")
        self._components = free_components(atoms)
        if not self._components.any():
            raise ValueError(f"of {len(atoms)} atoms {len(atoms)} are frozen; expected at least one that is free")
        self._atoms = atoms.copy()
        self._atoms.set_constraint()
        self.kinds = kinds_of(self._atoms)
        self._calculators = Calculators(calculator, makes)
        super().__init__(self._evaluate, size=int(self._components.sum()), workers=workers)

    @property
    def components(self) -> np.ndarray:
        """(n, 3) of bool: which Cartesian components are coordinates, in the order of the atoms."""
        return self._components

    @property
    def calculations(self) -> int:
        """Number of structures that were calculated; each calculation gives energy and forces."""
        return self.evaluations.values + self.evaluations.gradients

    @property
    def calculator(self) -> Any:
        """The calculator of this thread; None where it cannot be made, which an evaluation tells with its point."""
        try:
            return self._calculators.own()
        except Exception:
            return None

    @property
    def _partly(self) -> np.ndarray:
        """(n,) of bool: the atoms that are held in some of their components."""
        return np.asarray(self._components.any(axis=1) & ~self._components.all(axis=1))

    def positions(self, point: Any) -> np.ndarray:
        """Return the positions (n, 3) of all atoms at a point (D,)."""
        x = np.asarray(point, dtype=np.float64)
        if x.shape != (self.size,):
            raise ValueError(
                f"the point has shape {x.shape}; expected ({self.size},), the free components of every atom"
            )
        positions = self._atoms.positions.copy()
        positions[self._components] = x
        return positions

    def forces(self, gradient: Any) -> np.ndarray:
        """Return the forces (n, 3) of a gradient (D,), 0 where components are held."""
        forces = np.zeros(self._components.shape)
        forces[self._components] = -np.asarray(gradient, dtype=np.float64)
        return forces

    @property
    def root_masses(self) -> np.ndarray:
        """(D,): the square root of the mass that each coordinate moves, √amu."""
        return np.sqrt(np.repeat(self._atoms.get_masses()[:, None], 3, axis=1)[self._components])

    def vector(self, atoms: Atoms) -> np.ndarray:
        """Return the free components (D,) of other atoms of the same system.

        Raises
        ------
        ValueError
            If species, periodic boundary conditions, cell vectors of a periodic direction, components that are held
            (by the shortest way), initial charges or magnetic moments, tags or masses (where the atoms have any), or
            the charge or spin in ``atoms.info`` are not the landscape's: no coordinate holds them, so energies would be
            another system's.
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
        refuse_another_state(atoms, ours)
        refuse_unknown_places(atoms, "the structure")
        away = find_mic(atoms.positions - ours.positions, ours.cell, ours.pbc)[0]
        held = (np.abs(away) * ~self._components).max(axis=1)
        if held.max() > SAME:
            k = int(held.argmax())
            raise ValueError(
                f"frozen atoms stand elsewhere: atom {k} by {held.max():.3g} Å; expected them at the landscape's "
                "positions: relax the atoms under the same constraints, or move all of them back together"
            )
        # Of an atom that is held in part the image is known.
        positions = np.where(self._partly[:, None], ours.positions + away, atoms.positions)
        return np.array(positions[self._components])

    def points(self, images: Iterable[Atoms]) -> np.ndarray:
        """Return structures as points (K, D), as of an ASE NEB, each as near to the one before as the cell allows.

        Raises
        ------
        ValueError
            If one of them is not of this system (:meth:`vector`); its place is named.
        """
        way: list[np.ndarray] = []
        for k, image in enumerate(images):
            try:
                point = self.vector(image)
            except ValueError as error:
                raise ValueError(f"image {k}: {error}") from error
            way.append(way[-1] + self.displacement(way[-1], point) if way else point)
        return np.array(way).reshape(-1, self.size)

    def path(self, images: Iterable[Atoms]) -> Path:
        """Make a path through structures, such as the images of an ASE NEB, with this landscape's energies.

        Straight between neighbours, which are evaluated as they are. :func:`~minilandscape.refine_saddle` takes it,
        and ``initial=`` of the path finders.
        """
        points = self.points(images)
        if len(points) < 2:
            raise ValueError(f"{len(points)} images were given; expected at least two")
        whole = [(point, float(value)) for point, value in zip(points, self.values(points), strict=True)]
        path = path_through(self, [whole[0], whole[-1]], [whole[1:-1]])
        return replace(path, converged=False, reason=Ending.STEPS, metadata={"method": "images"})

    def atoms(self, point: Any) -> Atoms:
        """Copy the atoms, with their constraints, to a point (D,)."""
        atoms = self._at(point)
        atoms.set_constraint(constraints_of(self._components))
        return atoms

    def _at(self, point: Any) -> Atoms:
        """A copy of the atoms without constraints, whose forces are those of the calculator."""
        atoms = self._atoms.copy()
        atoms.positions = self.positions(point)
        return atoms

    def forget(self) -> None:
        """Drop remembered results, and the calculators that were made; one that was given is reset.

        Call it after a change of the calculator's own parameters.
        """
        super().forget()
        self._calculators.renew()

    def known_gradients(self, points: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Return gradients (K, D) at points with their values (K,), turned from remembered ones where points turned.

        What is evaluated is only a point of a value that is not remembered.
        """
        known = {value: (key, gradient) for key, (value, gradient) in self._known.items() if gradient is not None}
        found = np.full(points.shape, np.nan)
        for k, value in enumerate(values):
            if float(value) in known:
                key, gradient = known[float(value)]
                turned = self._turned(np.frombuffer(key), gradient, points[k])
                found[k] = np.nan if turned is None else turned
        missing = ~np.isfinite(found).all(axis=1)
        if missing.any():
            found[missing] = self.values_and_gradients(points[missing])[1]
        return found

    def _turned(self, x: np.ndarray, gradient: np.ndarray, y: np.ndarray) -> np.ndarray | None:
        """The gradient at y, which is x moved as a whole; None where it is another structure."""
        ours, theirs = (positions - positions.mean(axis=0) for positions in (self.positions(x), self.positions(y)))
        step = self.displacement(x, y)
        if self._components.all():  # a translation leaves the forces alone
            step = step.reshape(-1, 3) - step.reshape(-1, 3).mean(axis=0)
        if np.abs(step).max() <= SAME:
            return gradient
        if self._atoms.pbc.any() or self._partly.any():
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of atoms on a line any turn about it will do
            turn, _ = Rotation.align_vectors(theirs, ours)
        if np.abs(turn.apply(ours) - theirs).max() > SAME:
            return None
        return np.asarray(-turn.apply(self.forces(gradient))[self._components])

    def _parts(self, points: np.ndarray) -> list[slice]:
        """One call for all points where the calculator takes them."""
        self._batched = self._workers == 1 and self._calculators.take_batches()
        return super()._parts(points)

    def _evaluate(self, point: np.ndarray) -> tuple[Any, np.ndarray]:
        """Calculate, and once more what fails: the fault may be the machine's, or an earlier failure's."""
        calculate = self._calculate_batch if point.ndim == 2 else self._calculate
        calculator = self._calculator_for(point)
        try:
            energy, gradient = calculate(calculator, point)
            if np.isfinite(energy).all() and np.isfinite(gradient).all():
                return energy, gradient
        except LandscapeError:
            pass
        self.evaluations.gradients += 1 if point.ndim == 1 else len(point)
        return calculate(self._calculator_for(point), point)

    def _calculator_for(self, point: np.ndarray) -> Any:
        """This thread's calculator, for a point (D,) or points (P, D)."""
        try:
            return self._calculators.own()
        except Exception as error:
            first = np.atleast_2d(point)[0]
            raise LandscapeError(f"no calculator could be made: {type(error).__name__}: {error}", first) from error

    def _calculate(self, calculator: Any, point: np.ndarray) -> tuple[Any, np.ndarray]:
        """The energy and the gradient (D,) at one point."""
        atoms = self._at(point)
        atoms.calc = calculator
        try:
            # Forces first: codes that compute what they are asked for compute the energy with them.
            forces = atoms.get_forces()
            energy = energy_of_the_forces(atoms)
        except Exception as error:
            self._calculators.failed()
            needs_cell = isinstance(error, (np.linalg.LinAlgError, ZeroDivisionError)) and not atoms.cell.any()
            hint = "; the structure has no cell, which this calculator may need" if needs_cell else ""
            hint += f"; {near}" if (near := closest_atoms(atoms)) else ""
            raise LandscapeError(
                f"the calculator raised {type(error).__name__} at {describe_point(point)}: {error}{hint}", point
            ) from error
        if not (np.isfinite(energy) and np.isfinite(forces).all()):
            self._calculators.failed()
        return energy, -forces[self._components]

    def _calculate_batch(self, calculator: Any, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Energies (P,) and gradients (P, D) by one call."""
        structures = [self._at(point) for point in points]
        try:
            energies, forces = calculator.calculate_batch(structures)
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
        return energies, -forces[:, self._components]

    def calculator_hessian(self, point: Any) -> np.ndarray | None:
        """Return the calculator's own Hessian (D, D), eV/Å² (``get_hessian(atoms)``); None where it has none."""
        get = getattr(self.calculator, "get_hessian", None)
        if get is None:
            return None
        atoms = self._at(point)
        try:
            whole = np.asarray(get(atoms), dtype=np.float64)
        except NotImplementedError:
            return None
        except Exception as error:
            self._calculators.failed()
            raise LandscapeError(
                f"the calculator's get_hessian raised {type(error).__name__} at {describe_point(point)}: {error}", point
            ) from error
        n, free = 3 * len(atoms), self._components.ravel()
        return whole.reshape(n, n)[np.ix_(free, free)] if whole.size == n * n else None

    def displacement(self, a: Any, b: Any) -> np.ndarray:
        """Subtract a from b (D,), each atom by the shortest way where the cell is periodic.

        Where b's own way is one of several that are equally short, as half a cell to either side, it is taken.
        """
        away = np.asarray(b, dtype=np.float64) - np.asarray(a, dtype=np.float64)
        if self._atoms.pbc.any():
            plain = np.zeros(self._components.shape)
            plain[self._components] = away
            shortest, lengths = find_mic(plain, self._atoms.cell, self._atoms.pbc)
            # Another image of an atom that is held in part may stand where it is held not.
            elsewhere = (np.abs(shortest * ~self._components) > SAME).any(axis=1)
            as_short = np.linalg.norm(plain, axis=1) <= lengths + SAME
            away = np.where((elsewhere | as_short)[:, None], plain, shortest)[self._components]
        return away

    def align(self, a: Any, b: Any) -> np.ndarray:
        """Move b (D,), turn it as far as cell and frozen atoms allow, and match like atoms, so that it lies near a.

        :func:`~minilandscape.align_atoms` says which motions are used. Where atoms are held in part,
        b is moved along the motions that are left, and no atoms are exchanged. A warning is given where two atoms clash
        on the straight line between the two.
        """
        if self._partly.any():
            return np.asarray(a, dtype=np.float64) + moved_near(self, np.asarray(a), np.asarray(b), self.zero_modes)
        frozen = np.flatnonzero(~self._components.any(axis=1))
        cell, pbc = np.asarray(self._atoms.cell), self._atoms.pbc
        ours, theirs = self.positions(a), self.positions(b)
        aligned = align_atoms(ours, theirs, self.kinds, cell=cell, pbc=pbc, frozen=frozen)
        return np.array(aligned[self._components])

    def initial_path(self, start: Any, end: Any) -> np.ndarray | None:
        """Choose points (K, D) of a path without a clash, or None for the straight line, where that has none.

        :func:`~minilandscape.adapters.ase_start.start_path` says which.
        """
        return start_path(self, np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)).points

    def residual(self, gradient: Any) -> float:
        """Return the largest force of an atom, ASE's fmax, of a gradient (D,); components that are held have none."""
        return float(np.linalg.norm(self.forces(gradient), axis=1).max())

    def zero_modes(self, point: Any) -> np.ndarray:
        """Return the motions of all atoms together that leave the energy alone: (Z, D), orthonormal.

        Without frozen atoms, translations; rotations where nothing is periodic, and about the axis of a wire, which is
        periodic along one. One frozen atom leaves the rotations about it, several on one line that about the line; a
        component that is held leaves the motions without it. Atoms on a line have no rotation about it; see
        :func:`~minilandscape.potentials.rigid_motions`.
        """
        cell, pbc = np.asarray(self._atoms.cell), np.asarray(self._atoms.pbc)
        return zero_modes(self.positions(point), self._components, cell, pbc)

    def calculated(self, point: Any, energy: float, gradient: Any = None) -> Atoms:
        """Copy the atoms to a point with their energy, and their forces where a gradient (D,) is given."""
        atoms = self.atoms(point)
        # Both energies, so that whoever asks for the one that fits the forces finds it.
        results: dict[str, Any] = {"energy": float(energy), "free_energy": float(energy)}
        if gradient is not None:
            results["forces"] = self.forces(gradient)
        atoms.calc = SinglePointCalculator(atoms, **results)
        return atoms

    def images(self, path: Path, n: int | None = None) -> list[Atoms]:
        """Return a path as atoms with their energies and forces, at n equally spaced t (those of the path if None)."""
        points = path.points(path.t if n is None else np.linspace(0, 1, n))
        energies, gradients = self.values_and_gradients(points)
        images = []
        for point, energy, gradient in zip(points, energies, gradients, strict=True):
            images.append(self.calculated(point, energy, gradient))
        return images

    def write(self, file: str | os.PathLike[str], path: Path, n: int | None = None) -> None:
        """Write :meth:`images` to a trajectory that ASE's viewer and ``NEBTools`` read."""
        write(os.fspath(file), self.images(path, n))
