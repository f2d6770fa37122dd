"""The energy along images that have energies and forces, as a curve."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from scipy.interpolate import CubicHermiteSpline

#: Å within which two images are one.
SAME = 1e-9


def profile(images: Sequence[Atoms]) -> tuple[np.ndarray, CubicHermiteSpline]:
    """Return lengths along a path and the energy as a function of the length.

    The energy is a cubic between neighbouring images, which has the energies of both and their slopes dE/ds = -F · d, F
    being the force and d the unit vector along x_{k+1} - x_{k-1}, as ASE's ``NEBTools`` has it.

    Parameters
    ----------
    images
        K structures with energy (eV) and forces (eV/Å), each as near to the one before as a periodic cell allows.

    Returns
    -------
    s
        (K,): the length up to each image, Å.
    energy
        Of a length, eV.
    """
    x, forces = (np.array(rows) for rows in ([i.positions for i in images], [i.calc.results["forces"] for i in images]))
    energies = np.array([image.calc.results["energy"] for image in images])
    s = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(x, axis=0), axis=(1, 2)))])
    apart = np.concatenate([[True], np.diff(s) > SAME])
    x, forces = x[apart], forces[apart]
    along = np.concatenate([x[1:2] - x[:1], x[2:] - x[:-2], x[-1:] - x[-2:-1]])
    along /= np.linalg.norm(along, axis=(1, 2), keepdims=True)
    return s, CubicHermiteSpline(s[apart], energies[apart], -(forces * along).sum(axis=(1, 2)))
