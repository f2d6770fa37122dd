"""The path that a search between two structures starts from: straight, IDPP, or geodesic."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list
from scipy.spatial.transform import Rotation

from ..analysis.atom_alignment import CLASH

#: Images of a first path, and how much closer two atoms may come on the straight line than at its ends.
IMAGES, CLOSER = 9, 0.8
#: Two atoms nearer than this part of the sum of their radii run through each other.
THROUGH = 0.05
#: Atoms that move along one line, or through each other, are moved aside by so much, Å.
ASIDE = 0.3
#: Geodesic paths of more atoms are smoothed image by image, as geodesic-interpolate's own command does.
MANY = 35
#: What a starting path may be asked for by.
KINDS = ("straight", "idpp", "geodesic")


@dataclass(frozen=True)
class StartingPath:
    """A path to start a search from.

    Attributes
    ----------
    kind
        ``"straight"``, ``"idpp"`` or ``"geodesic"``.
    points
        (K, D) with both ends; None for the straight line.
    fault
        What is wrong with it: two atoms nearer than half of the smallest distance of such atoms at the ends; None
        where nothing is.
    """

    kind: str
    points: np.ndarray | None
    fault: str | None = None


def start_path(land: Any, start: np.ndarray, end: np.ndarray, kind: str | None = None) -> StartingPath:
    """Choose a starting path between two points of a landscape of atoms, without evaluating it.

    The straight line where atoms are held or a cell is periodic, unless two atoms come closer on it than at its ends by
    a fifth. Else the image dependent pair potential (IDPP) [1]_ as ASE has it. Where that leads two atoms nearer than
    half of the smallest distance of such atoms at the ends, the geodesic in distances [2]_, if the package
    geodesic-interpolate is installed and nothing is held or periodic.

    Parameters
    ----------
    land
        An :class:`~minilandscape.adapters.ase.AseLandscape`.
    start, end
        (D,); the end moved near to the start.
    kind
        ``"straight"``, ``"idpp"`` or ``"geodesic"``; None chooses.

    Raises
    ------
    ValueError
        If a geodesic is asked for that cannot be made.

    References
    ----------
    .. [1] S. Smidstrup et al., "Improved initial guess for minimum energy path calculations", J. Chem. Phys. 140,
           214106 (2014).
    .. [2] X. Zhu, K. C. Thompson, T. J. Martínez, "Geodesic interpolation for reaction pathways", J. Chem. Phys. 150,
           164103 (2019).
    """
    line = start + np.linspace(0, 1, IMAGES)[:, None] * (end - start)
    if kind == "straight":
        return StartingPath("straight", None, _fault(land, line))
    if kind == "geodesic":
        points = _geodesic(land, start, end)
        return StartingPath("geodesic", points, _fault(land, points))
    bound = not land.components.all() or land.atoms(start).pbc.any()
    if kind is None and bound:
        nearest = np.array([_nearest_relative(land.atoms(point)) for point in line])
        if nearest[1:-1].min() > CLOSER * nearest[[0, -1]].min():
            return StartingPath("straight", None)
    points = _idpp(land, line)
    found = StartingPath("idpp", points, _fault(land, points))
    if kind is None and found.fault is not None and not bound:
        try:
            points = _geodesic(land, start, end)
        except ValueError:
            return found
        if (fault := _fault(land, points)) is None:
            return StartingPath("geodesic", points, fault)
    return found


def _idpp(land: Any, line: np.ndarray) -> np.ndarray:
    """Points (K, D) whose distances are interpolated between those of the ends, from the straight line."""
    from ase.mep.neb import idpp_interpolate

    t = np.linspace(0, 1, len(line))
    # Where atoms run through each other nothing tells them which way to go.
    nearest = min(_nearest_relative(land.atoms(point)) for point in line)
    if _on_a_line(np.concatenate([land.positions(point) for point in line])) or nearest < THROUGH:
        aside = ASIDE * np.random.default_rng(0).standard_normal(line.shape[1])
        line = line + np.outer(np.sin(np.pi * t), aside)
    images = [land.atoms(point) for point in line]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the band's default method, which is ASE's to choose here
        idpp_interpolate(images, traj=None, log=None, fmax=0.1, mic=bool(images[0].pbc.any()), steps=200)
    return np.array([image.positions[land.components] for image in images])


def _geodesic(land: Any, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Points (K, D) of the geodesic in scaled distances, both ends exactly as they are."""
    atoms = land.atoms(start)
    if atoms.pbc.any() or not land.components.all():
        raise ValueError(
            "a geodesic path knows neither cells nor constraints; expected straight or idpp for these structures"
        )
    if len(atoms) < 3:
        raise ValueError(f"a geodesic path needs three atoms or more; expected straight or idpp for {len(atoms)}")
    try:
        from geodesic_interpolate.geodesic import Geodesic
        from geodesic_interpolate.interpolation import redistribute
    except ModuleNotFoundError:
        raise ValueError("a geodesic path requires geodesic-interpolate: pip install geodesic-interpolate") from None
    ends, symbols = [land.positions(start), land.positions(end)], atoms.get_chemical_symbols()
    state = np.random.get_state()  # noqa: NPY002  # which the package draws from
    np.random.seed(0)  # noqa: NPY002
    try:
        images = redistribute(symbols, ends, IMAGES, tol=1e-2)
        smoother = Geodesic(symbols, images, 1.7, threshold=3, friction=1e-2)
        images = smoother.smooth(tol=2e-3, max_iter=30) if len(atoms) <= MANY else smoother.sweep(tol=2e-3, max_iter=15)
    except (ValueError, RuntimeError, np.linalg.LinAlgError) as error:
        raise ValueError(f"geodesic-interpolate found no path: {type(error).__name__}: {error}") from error
    finally:
        np.random.set_state(state)  # noqa: NPY002
    moved = _between(np.asarray(images), *ends)
    return np.asarray(moved.reshape(len(moved), -1)[:, land.components.ravel()])


def _between(images: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Images (K, n, 3) moved as a whole so that they lead from one structure to the other.

    geodesic-interpolate turns both ends; that is undone on the way, in parts.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of atoms on a line any turn about it will do
        begins, ends = (
            Rotation.align_vectors(to - to.mean(axis=0), image - image.mean(axis=0))[0]
            for to, image in ((first, images[0]), (last, images[-1]))
        )
    turn, moved = (ends * begins.inv()).as_rotvec(), []
    for t, image in zip(np.linspace(0, 1, len(images)), images, strict=True):
        centre = (1 - t) * first.mean(axis=0) + t * last.mean(axis=0)
        moved.append((Rotation.from_rotvec(t * turn) * begins).apply(image - image.mean(axis=0)) + centre)
    moved[0], moved[-1] = first, last
    return np.array(moved)


def _fault(land: Any, points: np.ndarray) -> str | None:
    """What is wrong with a path: two atoms that clash at its points."""
    first = land.atoms(points[0])
    if len(first) < 2:
        return None
    ways = np.array([land.atoms(point).get_all_distances(mic=bool(first.pbc.any())) for point in points])
    pairs = np.triu_indices(len(first), 1)
    between = ways[:, pairs[0], pairs[1]]
    at_ends = between[[0, -1]].min(axis=0)
    _, kinds = np.unique(np.sort(first.numbers[np.array(pairs)], axis=0), axis=1, return_inverse=True)
    kinds = kinds.ravel()
    smallest = np.full(kinds.max() + 1, np.inf)
    np.minimum.at(smallest, kinds, at_ends)
    parts = between.min(axis=0) / smallest[kinds]
    k = int(parts.argmin())
    if parts[k] >= CLASH:
        return None
    names = " and ".join(f"{first.symbols[int(i[k])]}{i[k]}" for i in pairs)
    return f"{names} come within {between[:, k].min():.2g} Å"


def _nearest_relative(atoms: Atoms) -> float:
    """The smallest distance of two atoms over the sum of their covalent radii."""
    radii = covalent_radii[atoms.numbers]
    i, j, d = neighbor_list("ijd", atoms, 3.0)
    return float((d / (radii[i] + radii[j])).min(initial=np.inf))


def _on_a_line(positions: np.ndarray) -> bool:
    """Whether positions (n, 3) lie on one line, within a hundredth of how far they reach."""
    sizes = np.linalg.svd(positions - positions.mean(axis=0), compute_uv=False)
    return bool(sizes[1] < 0.01 * sizes[0])
