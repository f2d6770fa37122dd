"""The imaginary frequency of a saddle: the lowest eigenvalue of the mass-weighted Hessian, from a few products."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import units
from ase.data import covalent_radii

#: Products at most, two calls each; the residual that is small as a part of the eigenvalue.
PRODUCTS, SMALL = 30, 0.05
#: Å by which atoms are displaced along a unit vector where the search has not measured a better step.
STEP = 0.01
#: Springs of the preconditioner at the distance of a bond, eV/Å², and how fast they fall off with it.
SPRING, FALL = 40.0, 3.5


@dataclass(frozen=True)
class ImaginaryMode:
    """The lowest eigenvalue of the mass-weighted Hessian.

    Attributes
    ----------
    frequency
        cm⁻¹, as a positive number; NaN where the eigenvalue is not negative.
    error
        How far that may be off for the iteration's sake, cm⁻¹.
    calls
        Points evaluated.
    mode
        (D,): the eigenvector in mass-weighted coordinates, of length 1.
    """

    frequency: float
    error: float
    calls: int
    mode: np.ndarray


def imaginary_mode(land: Any, point: np.ndarray, mode: np.ndarray, step: float) -> ImaginaryMode:
    """Compute the imaginary frequency of a saddle and its mode.

    Davidson's method on the mass-weighted Hessian, from the Cartesian mode, with products by two-sided differences and
    springs between neighbours for a preconditioner. Motions that leave the energy alone are left out.

    Parameters
    ----------
    point, mode
        (D,): the saddle, and about the lowest eigenvector of its Cartesian Hessian.
    step
        Of the differences, Å along a unit vector; not finite or 0 takes 0.01.
    """
    root = land.root_masses
    zero = np.linalg.qr((land.zero_modes(point) * root).T)[0].T
    step = step if np.isfinite(step) and step > 0 else STEP
    stiff = springs(land, point) / np.outer(root, root)

    def product(v: np.ndarray) -> np.ndarray:
        moved = v / root
        length = float(np.linalg.norm(moved))
        displacement = step / length * moved
        _, (up, down) = land.values_and_gradients(np.stack([point + displacement, point - displacement]))
        return without((up - down) * (length / (2 * step)) / root)

    def without(v: np.ndarray) -> np.ndarray:
        return v - zero.T @ (zero @ v)

    rows, products = np.zeros((0, point.size)), np.zeros((0, point.size))
    v = without(mode * root)
    while True:
        v = v / np.linalg.norm(v)
        rows, products = np.vstack([rows, v]), np.vstack([products, product(v)])
        inner = rows @ products.T
        values, vectors = np.linalg.eigh(0.5 * (inner + inner.T))
        low, ritz = float(values[0]), vectors[:, 0] @ rows
        residual = vectors[:, 0] @ products - low * ritz
        size = float(np.linalg.norm(residual))
        if (low < 0 and size <= SMALL * -low) or len(rows) >= min(PRODUCTS, point.size - len(zero)):
            break
        v = np.linalg.solve(stiff + abs(low) * np.eye(point.size), residual)
        for _ in range(2):
            v = without(v)
            v = v - rows.T @ (rows @ v)
        if not np.linalg.norm(v) > 1e-10 * size / abs(low):
            break
    gap = float(values[1]) - low if len(values) > 1 else abs(low)
    open_part = min(size, size**2 / gap)
    frequency = wavenumber(abs(low))
    error = 0.5 * frequency * open_part / abs(low)
    return ImaginaryMode(frequency if low < 0 else float("nan"), error, 2 * len(rows), ritz)


def wavenumber(eigenvalue: float) -> float:
    """cm⁻¹ of a positive eigenvalue in eV/(Å² amu): ħ √λ."""
    energy = units._hbar * 1e10 / np.sqrt(units._e * units._amu) * np.sqrt(eigenvalue)
    return float(energy / units.invcm)


def springs(land: Any, point: np.ndarray) -> np.ndarray:
    """Return the Hessian (D, D) of springs at rest between all atoms, stiff between near ones."""
    atoms = land.atoms(point)
    n, radii = len(atoms), covalent_radii[atoms.numbers]
    vectors = atoms.get_all_distances(mic=bool(atoms.pbc.any()), vector=True)
    r = np.linalg.norm(vectors, axis=2) + np.eye(n)
    stiffness = SPRING * np.exp(-FALL * (r / (radii[:, None] + radii) - 1)) * (1 - np.eye(n))
    unit = vectors / r[:, :, None]
    blocks = -stiffness[:, :, None, None] * unit[:, :, :, None] * unit[:, :, None, :]
    blocks[np.arange(n), np.arange(n)] = -blocks.sum(axis=1)
    free = land.components.ravel()
    return np.asarray(blocks.transpose(0, 2, 1, 3).reshape(3 * n, -1)[np.ix_(free, free)])
