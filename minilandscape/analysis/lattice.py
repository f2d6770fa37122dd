"""Shortest displacements under periodic boundary conditions."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np


class Lattice:
    """The translations of a periodic cell.

    Parameters
    ----------
    cell
        (3, 3), a row for each vector, or (3,) for a rectangular cell; None where nothing is periodic.
    pbc
        Whether each of the three directions is periodic: (3,), or one for all. None: all three where there is a cell.

    Raises
    ------
    ValueError
        If cell or pbc has another shape, or the periodic vectors are not finite or not independent.
    """

    def __init__(self, cell: Any = None, pbc: Any = None) -> None:
        periodic = np.asarray(cell is not None if pbc is None else pbc, dtype=bool)
        if periodic.shape not in ((), (3,)):
            raise ValueError(f"pbc has shape {periodic.shape}; expected (3,), or one for all directions")
        periodic = np.broadcast_to(periodic, (3,))
        vectors = np.zeros((3, 3)) if cell is None else np.asarray(cell, dtype=np.float64)
        vectors = np.diag(vectors) if vectors.shape == (3,) else vectors
        if vectors.shape != (3, 3):
            raise ValueError(f"cell has shape {vectors.shape}; expected (3, 3) with a row for each vector, or (3,)")
        vectors = vectors[periodic]
        lengths = np.linalg.norm(vectors, axis=1)
        if not (np.isfinite(vectors).all() and (lengths > 0).all()) or (
            len(vectors) and np.linalg.svd(vectors / lengths[:, None], compute_uv=False).min() < 1e-10
        ):
            raise ValueError(
                f"the periodic vectors of the cell are {vectors.tolist()}; expected finite, independent ones"
            )
        self.vectors = _reduced(vectors)
        self._inverse = np.linalg.pinv(self.vectors) if len(vectors) else np.zeros((3, 0))
        products = self.vectors @ self.vectors.T
        slant = np.abs(products - np.diag(np.diag(products))).max(initial=0)
        self._oblique = bool(slant > 1e-12 * np.abs(products).max(initial=0))

    def __bool__(self) -> bool:
        """Whether anything is periodic."""
        return len(self.vectors) > 0

    def images(self, reach: int) -> np.ndarray:
        """List the translations (K, 3) by up to ``reach`` vectors in each direction; the zero translation is first."""
        counts = sorted(itertools.product(range(-reach, reach + 1), repeat=len(self.vectors)), key=lambda k: any(k))
        return np.array(counts, dtype=np.float64).reshape(len(counts), -1) @ self.vectors

    def shortest(self, displacements: np.ndarray) -> np.ndarray:
        """Replace displacements (…, 3) by the shortest ones that differ from them by a lattice translation."""
        if not self:
            return displacements
        near = displacements - np.round(displacements @ self._inverse) @ self.vectors
        if not self._oblique:
            return near
        best, least = near.copy(), (near**2).sum(axis=-1)
        for shift in self.images(1)[1:]:  # enough in a reduced cell
            other = near + shift
            squares = (other**2).sum(axis=-1)
            shorter = squares < least * (1 - 1e-12)
            best[shorter], least[shorter] = other[shorter], squares[shorter]
        return best


def _reduced(vectors: np.ndarray) -> np.ndarray:
    """Reduce lattice vectors until no sum or difference with others is shorter (Minkowski)."""
    vectors = vectors.copy()
    changed = True
    while changed:
        changed = False
        for k in range(len(vectors)):
            others = np.delete(vectors, k, axis=0)
            for other in others:
                steps = np.round(vectors[k] @ other / (other @ other))
                if steps and np.linalg.norm(vectors[k] - steps * other) < np.linalg.norm(vectors[k]) * (1 - 1e-12):
                    vectors[k] -= steps * other
                    changed = True
            for signs in itertools.product((-1, 0, 1), repeat=len(others)):
                shorter = vectors[k] + np.array(signs) @ others
                if np.linalg.norm(shorter) < np.linalg.norm(vectors[k]) * (1 - 1e-12):
                    vectors[k] = shorter
                    changed = True
    return vectors
