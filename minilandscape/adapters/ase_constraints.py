"""Constraints of ASE that leave coordinates out, and the motions of all atoms together that they leave."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms, FixCartesian

from ..potentials import rigid_motions

#: Constraints that may hold Cartesian components and nothing else.
HELD = ("FixAtoms", "FixCartesian", "FixScaled", "FixedPlane", "FixedLine")
#: A force, motion or curvature smaller than this part of the largest is none.
NONE = 1e-6


def free_components(atoms: Atoms, name: str = "the atoms") -> np.ndarray:
    """Find the Cartesian components that constraints leave free.

    Parameters
    ----------
    atoms
        Under ``FixAtoms``, ``FixCartesian``, or ``FixScaled``, ``FixedPlane`` and ``FixedLine`` along Cartesian axes.
    name
        Of the atoms, in messages.

    Returns
    -------
    ndarray
        (n, 3) of bool.

    Raises
    ------
    ValueError
        If there is another constraint, or one along directions that are no Cartesian axes.
    """
    free = np.ones((len(atoms), 3), dtype=bool)
    origin = Atoms(atoms.numbers, np.zeros((len(atoms), 3)), cell=atoms.cell, pbc=atoms.pbc)
    for constraint in atoms.constraints:
        kind = type(constraint).__name__
        if kind not in HELD:
            raise ValueError(
                f"{name} have a constraint {kind}, which a search does not keep; expected FixAtoms or FixCartesian, "
                "which hold Cartesian components"
            )
        # What a constraint leaves of a step is asked of it: versions of ASE name its parts differently. Forces do not
        # tell: FixScaled mixes them in skewed cells, and takes one axis for another where vectors are swapped.
        moved = np.tile(np.eye(3)[:, None], (1, len(atoms), 1))
        for each in moved:
            constraint.adjust_positions(origin, each)
        used = (np.abs(moved) > NONE).any(axis=0)
        directions = np.linalg.matrix_rank(moved.transpose(1, 0, 2), tol=NONE)
        if (used.sum(axis=1) != directions).any():
            k = int(np.flatnonzero(used.sum(axis=1) != directions)[0])
            raise ValueError(
                f"{name} have a constraint {kind} on atom {k} along directions that are no Cartesian axes; turn the "
                "structure so that they are, or use FixAtoms"
            )
        free &= used
    return free


def constraints_of(free: np.ndarray) -> list[Any]:
    """Make the constraints (FixAtoms, FixCartesian) that leave free what a mask (n, 3) says."""
    whole = np.flatnonzero(~free.any(axis=1))
    constraints: list[Any] = [FixAtoms(whole)] if len(whole) else []
    some = np.flatnonzero(free.any(axis=1) & ~free.all(axis=1))
    for held in np.unique(~free[some], axis=0):
        constraints.append(FixCartesian(some[(~free[some] == held).all(axis=1)], mask=held.tolist()))
    return constraints


def zero_modes(positions: np.ndarray, free: np.ndarray, cell: np.ndarray, pbc: np.ndarray) -> np.ndarray:
    """Find the motions of all atoms together that leave the energy alone.

    Translations; rotations where nothing is periodic, and about the axis of a wire. Of these, those that move no
    component that is held: where atoms are held whole see :func:`~minilandscape.potentials.rigid_motions`.

    Parameters
    ----------
    positions, free
        (n, 3), and which components are coordinates, (n, 3) of bool.
    cell, pbc
        (3, 3), (3,).

    Returns
    -------
    ndarray
        (Z, D), orthonormal, over the D components that are free.
    """
    periods = cell[pbc & cell.any(axis=1)]
    period, turn = (periods[0] if len(periods) == 1 else None), len(periods) < 2
    some = free.any(axis=1)
    if (free[some]).all():
        return rigid_motions(positions, turn, frozen=np.flatnonzero(~some), period=period)
    motions = rigid_motions(positions, turn, period=period).reshape(-1, *positions.shape)
    motions = _not_held(motions, positions, ~free)[:, free]
    return np.linalg.svd(motions, full_matrices=False)[2][: len(motions)] if len(motions) else motions


def _not_held(motions: np.ndarray, positions: np.ndarray, held: np.ndarray) -> np.ndarray:
    """The motions (K, n, 3) that move no component that is held, to the second order."""
    moved = motions[:, held].T
    left, sizes, rows = np.linalg.svd(moved)
    rank = int((sizes > NONE * sizes.max(initial=0)).sum())
    motions = np.tensordot(rows[rank:], motions, 1)
    if not len(motions):
        return motions
    # Beside the first order: two atoms above each other whose heights are held cannot be turned about a horizontal
    # axis. u = v + w × r gives the acceleration w × u; what the motions that are left can undo of it is no obstacle.
    basis = generators(positions - positions.mean(axis=0)).reshape(6, -1)
    spins = np.linalg.lstsq(basis.T, motions.reshape(len(motions), -1).T, rcond=NONE)[0][:3].T
    bent = np.cross(spins[:, None, None], motions[None])[:, :, held]
    bent = 0.5 * (bent + bent.transpose(1, 0, 2))
    bent = bent - (bent @ left[:, :rank]) @ left[:, :rank].T
    mixed, sizes, _ = np.linalg.svd(bent.reshape(len(motions), -1))
    largest = float(np.linalg.norm(spins, axis=1).max())
    stuck = int((sizes > NONE * max(largest, NONE)).sum())
    return np.asarray(np.tensordot(mixed[:, stuck:].T, motions, 1))


def generators(positions: np.ndarray) -> np.ndarray:
    """Return the rotations about the origin, and the translations, of positions (n, 3): (6, n, 3)."""
    turns = [np.cross(axis, positions) for axis in np.eye(3)]
    return np.array(turns + [np.tile(axis, (len(positions), 1)) for axis in np.eye(3)])
