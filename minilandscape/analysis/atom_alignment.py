"""Configurations of atoms: permutations of like atoms with rotations and translations, and close approaches."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..display import Row, number
from ..landscape import vector
from . import superposition
from .arrays import check_finite
from .described import Described
from .lattice import Lattice

#: Positions of frozen atoms are equal, or on one line, within this part of the configuration's extent.
SAME = 1e-6
#: Rotations about an axis from which superpositions start, besides those suggested by pairs of atoms.
ANGLES = 24
#: Atoms clash that come closer than this part of the smallest distance of such atoms at the endpoints.
CLASH = 0.5


class ClashWarning(UserWarning):
    """Two atoms come very close to each other on the straight line between two configurations."""


@dataclass(frozen=True, repr=False)
class Approach(Described):
    """The closest approach of two atoms on the straight line between two configurations.

    Attributes
    ----------
    distance, t
        The distance of the two atoms, in the unit of the coordinates, and its position on the line (0 to 1).
    atoms
        Their indices.
    smallest
        The smallest distance of two atoms of these kinds at the two endpoints.
    """

    distance: float
    t: float
    atoms: tuple[int, int]
    smallest: float

    def rows(self) -> list[Row]:
        """Describe distance, atoms and clash in labelled values."""
        i, j = self.atoms
        return [
            ("atoms", f"{i} and {j}", ""),
            ("distance", number(self.distance), f"at t = {self.t:.3f}"),
            ("smallest", number(self.smallest), "distance of such atoms at the endpoints"),
            ("clash", "yes" if self.clash else "no", ""),
        ]

    @property
    def clash(self) -> bool:
        """Whether they come closer than half the smallest distance at the endpoints."""
        return self.distance < CLASH * self.smallest


def align_atoms(
    a: Any,
    b: Any,
    kinds: Any = None,
    *,
    cell: Any = None,
    pbc: Any = None,
    frozen: Any = None,
    seed: int = 0,
    warn: bool = True,
) -> np.ndarray:
    r"""Translate, rotate and permute the atoms of a configuration b (3n,) so that it is close to a.

    Only symmetries of the energy are used. For a free molecule or cluster the distance

    .. math:: |x_a - P x_b R - 1 s^T|

    is minimised over permutations P of like atoms, proper rotations R (mirror images remain different) and translations
    s. Congruent configurations, up to displacements of a twentieth of the distance between neighbours, are always
    superposed. For others the closest of many local minima is returned; each of these alternates between rotation [1]_
    and assignment until the distance does not decrease.

    In a periodic cell distances are those of the nearest images, and there is no rotation. Frozen atoms do not move:
    like atoms among the others are permuted, and the motions that remain are used: rotations about a single frozen
    atom, or about the line through all frozen atoms, where nothing is periodic; translations where no atom is frozen.

    Parameters
    ----------
    a, b
        (3n,) or (n, 3), a row for each atom, frozen atoms included.
    kinds
        (n,): equal for atoms that may be exchanged, such as chemical symbols; None: all atoms are alike.
    cell, pbc
        The cell (3, 3) or (3,), and whether each direction is periodic, (3,) or one for all (None: all three where a
        cell is given).
    frozen
        (n,) of bool, or the indices of the atoms that do not move; None: no atom is frozen.
    seed
        Seed of the random rotations from which superpositions of configurations that are not congruent start.
    warn
        Whether to give a :class:`ClashWarning` where two atoms clash on the straight line from a to the result
        (:func:`closest_approach`).

    Returns
    -------
    numpy.ndarray
        Shaped like b. In a periodic cell each atom is the image nearest to its counterpart in a.

    Raises
    ------
    ValueError
        If a or b has another shape or is not finite, the numbers of atoms of a, b and ``kinds`` differ, frozen atoms
        have different positions, or cell or pbc is invalid.
    TypeError
        If a or b holds no real numbers.

    References
    ----------
    .. [1] W. Kabsch, "A solution for the best rotation to relate two sets of vectors", Acta Cryst. A 32, 922 (1976).

    Examples
    --------
    >>> import numpy as np
    >>> import minilandscape as ml
    >>> a = np.array([[0.0, 0, 0], [1, 0, 0], [0, 2, 0]])
    >>> bool(np.allclose(ml.align_atoms(a, a[[2, 0, 1]] + 5), a))
    True
    """
    x, y, kinds = _two_configurations(a, b, kinds)
    is_frozen = _frozen(frozen, len(x))
    lattice = Lattice(cell, pbc)
    centre = x.mean(axis=0)
    extent = max(float(np.abs(x - centre).max()), float(np.abs(lattice.vectors).max(initial=0))) or 1.0
    moved = lattice.shortest(y[is_frozen] - x[is_frozen])
    if (np.abs(moved) > SAME * extent).any():
        k = np.flatnonzero(is_frozen)[np.abs(moved).max(axis=1).argmax()]
        raise ValueError(
            f"the frozen atom {k} is at {x[k].tolist()} in a and at {y[k].tolist()} in b; expected equal positions"
        )
    # In units of the extent, so that squares neither underflow nor overflow.
    if lattice:
        small = Lattice(np.asarray(cell, dtype=np.float64) / extent, pbc)
        aligned = _in_a_cell((x - centre) / extent, (y - centre) / extent, kinds, is_frozen, small)
    elif is_frozen.any():
        centre = x[is_frozen].mean(axis=0)
        aligned = _about_frozen((x - centre) / extent, (y - centre) / extent, kinds, is_frozen, seed)
    else:
        aligned = superposition.superpose((x - centre) / extent, (y - y.mean(axis=0)) / extent, kinds, seed)
    aligned = aligned * extent + centre
    aligned[is_frozen] = x[is_frozen]
    if warn:
        _warn(closest_approach(x, aligned, kinds, cell=cell, pbc=pbc))
    result: np.ndarray = aligned.reshape(np.shape(b))
    return result


def closest_approach(a: Any, b: Any, kinds: Any = None, *, cell: Any = None, pbc: Any = None) -> Approach:
    """Find the two atoms that come closest to each other on the straight line from a to b, (3n,) each.

    Distances are compared relative to the smallest distance of two atoms of the same kinds at the endpoints.

    Parameters
    ----------
    a, b, kinds, cell, pbc
        As for :func:`align_atoms`. In a periodic cell each atom moves along its shortest displacement.

    Returns
    -------
    Approach
        With ``distance``, ``t``, ``atoms`` and ``clash``. The distance is infinite for fewer than two atoms.

    Raises
    ------
    ValueError
        As for :func:`align_atoms`.

    Examples
    --------
    >>> import numpy as np
    >>> import minilandscape as ml
    >>> a = np.array([[0.0, 0, 0], [1, 0, 0], [0, 3, 0]])
    >>> found = ml.closest_approach(a, a[[1, 0, 2]])  # two atoms pass through each other
    >>> found.atoms, found.t, found.clash
    ((0, 1), 0.5, True)
    """
    x, y, kinds = _two_configurations(a, b, kinds)
    lattice = Lattice(cell, pbc)
    if len(x) < 2:
        return Approach(np.inf, 0.0, (0, 0), np.inf)
    i, j = np.triu_indices(len(x), 1)
    shift = lattice.shortest(y - x)
    start, along = x[j] - x[i], shift[j] - shift[i]
    near, far = lattice.shortest(start), lattice.shortest(start + along)
    at_endpoints = np.minimum(np.linalg.norm(near, axis=1), np.linalg.norm(far, axis=1))
    least, t = _nearest_on_lines(near, along)
    _take_less(least, t, slice(None), *_nearest_on_lines(far - along, along))
    # Where two atoms move far past each other, another image may come closer than those nearest at the endpoints.
    passing = np.flatnonzero(np.linalg.norm(along, axis=1) > 0.25 * at_endpoints)
    for image in lattice.images(2)[1:]:
        _take_less(least, t, passing, *_nearest_on_lines(near[passing] + image, along[passing]))
    _, kind = np.unique(kinds, return_inverse=True)
    code = np.minimum(kind[i], kind[j]) * (kind.max() + 1) + np.maximum(kind[i], kind[j])
    smallest = np.full(code.max() + 1, np.inf)
    np.minimum.at(smallest, code, at_endpoints)
    parts = np.divide(least, smallest[code], out=np.ones_like(least), where=smallest[code] > 0)
    k = int(parts.argmin())
    return Approach(float(least[k]), float(t[k]), (int(i[k]), int(j[k])), float(smallest[code[k]]))


def _nearest_on_lines(start: np.ndarray, along: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Minimise |start + t along| over t from 0 to 1: rows (n, 3) -> distances (n,) and t (n,)."""
    squares = (along**2).sum(axis=1)
    t = np.divide(-(start * along).sum(axis=1), squares, out=np.zeros_like(squares), where=squares > 0)
    t = np.clip(t, 0, 1)
    return np.linalg.norm(start + t[:, None] * along, axis=1), t


def _take_less(least: np.ndarray, t: np.ndarray, where: Any, distance: np.ndarray, at: np.ndarray) -> None:
    """Replace distances, and their t, by smaller ones."""
    less = distance < least[where]
    least[where], t[where] = np.where(less, distance, least[where]), np.where(less, at, t[where])


def _warn(found: Approach) -> None:
    if found.clash:
        i, j = found.atoms
        warnings.warn(
            f"on the straight line between the two configurations the atoms {i} and {j} come within "
            f"{found.distance:.3g} of each other at t = {found.t:.3g}; the smallest distance of such atoms at the "
            f"endpoints is {found.smallest:.3g}. Energies may be extreme there: start a path search from a path on "
            "which these atoms avoid each other",
            ClashWarning,
            stacklevel=3,
        )


def _in_a_cell(x: np.ndarray, y: np.ndarray, kinds: np.ndarray, is_frozen: np.ndarray, lattice: Lattice) -> np.ndarray:
    """Permute like atoms of y and take the images nearest to their counterparts; translate where none is frozen."""
    free = np.flatnonzero(~is_frozen)
    groups = [free[group] for group in superposition.groups_of(kinds[free])] if free.size else []

    def matched(z: np.ndarray) -> np.ndarray:
        order = np.arange(len(x))
        for group in groups:
            squares = (lattice.shortest(z[group] - x[group][:, None]) ** 2).sum(axis=2)
            order[group] = group[superposition.assign(squares, [np.arange(len(group))])]
        return x + lattice.shortest(z[order] - x)

    if is_frozen.any():
        return matched(y)

    def translated(z: np.ndarray) -> np.ndarray:
        before = np.inf
        for _ in range(superposition.ROUNDS):
            z = matched(z)
            z = z - (z - x).mean(axis=0)
            apart = float(((z - x) ** 2).sum())
            if apart >= before * (1 - 1e-10):
                break
            before = apart
        return z

    # A translation that superposes congruent configurations maps some like atom to the first atom of a kind.
    fewest = min(groups, key=len)
    shifts: Iterator[np.ndarray] = (x[fewest[0]] - y[k] for k in fewest)
    return superposition.nearest(x, (translated(y + shift) for shift in (np.zeros(3), *shifts)))


def _about_frozen(x: np.ndarray, y: np.ndarray, kinds: np.ndarray, is_frozen: np.ndarray, seed: int) -> np.ndarray:
    """Permute like free atoms of y and rotate it as far as frozen atoms allow, whose centre is the origin."""
    free = ~is_frozen
    ours, theirs, alike = x[free], y[free], kinds[free]
    result = x.copy()
    if not free.any():
        return result
    _, sizes, axes = np.linalg.svd(x[is_frozen], full_matrices=False)
    groups = superposition.groups_of(alike)
    if sizes[0] <= SAME:
        result[free] = superposition.superpose(ours, theirs, alike, seed)
    elif len(sizes) == 1 or sizes[1] <= SAME:
        best_rotation = superposition.about(axes[0])
        angles = [*_angles(ours, theirs, alike, axes[0]), *np.linspace(0, 2 * np.pi, ANGLES, endpoint=False)]
        starts = (theirs @ superposition.rotation(axes[0], angle) for angle in angles)
        result[free] = superposition.nearest(
            ours, (superposition.alternate(ours, z, groups, best_rotation) for z in starts)
        )
    else:
        result[free] = theirs[superposition.assign(((ours[:, None] - theirs) ** 2).sum(axis=2), groups)]
    return result


def _angles(x: np.ndarray, y: np.ndarray, kinds: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """Angles of rotations about an axis that bring some like atom of y towards the atom of x farthest from the axis."""
    helper = np.cross(axis, np.eye(3)[np.abs(axis).argmin()])
    first = helper / np.linalg.norm(helper)
    plane = np.stack([first, np.cross(axis, first)])
    p, q = x @ plane.T, y @ plane.T
    i = int((p**2).sum(axis=1).argmax())
    like = kinds == kinds[i]
    angles: np.ndarray = np.arctan2(p[i, 1], p[i, 0]) - np.arctan2(q[like, 1], q[like, 0])
    return angles


def _two_configurations(a: Any, b: Any, kinds: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n, 3), (n, 3) and (n,), checked."""
    x, y = _positions("a", a), _positions("b", b)
    if x.shape != y.shape:
        raise ValueError(f"a has {len(x)} atoms and b {len(y)}; expected as many")
    kinds = np.zeros(len(x), dtype=int) if kinds is None else np.asarray(kinds)
    if kinds.shape != (len(x),):
        raise ValueError(f"kinds has shape {kinds.shape}; expected ({len(x)},), one for each atom")
    numbers: dict[Any, int] = {}  # of kinds of any type, such as symbols beside numbers
    return x, y, np.array([numbers.setdefault(kind, len(numbers)) for kind in kinds.tolist()])


def _frozen(frozen: Any, n: int) -> np.ndarray:
    """(n,) of bool."""
    if frozen is None:
        return np.zeros(n, dtype=bool)
    frozen = np.asarray(frozen)
    if frozen.dtype == bool and frozen.shape == (n,):
        return frozen
    if frozen.ndim == 1 and (not frozen.size or (frozen.dtype.kind in "iu" and -n <= frozen.min() <= frozen.max() < n)):
        is_frozen = np.zeros(n, dtype=bool)
        is_frozen[frozen.astype(int)] = True
        return is_frozen
    raise ValueError(
        f"frozen is {frozen.tolist()}; expected ({n},) of bool, one for each atom, or indices of some of the {n} atoms"
    )


def _positions(name: str, atoms: Any) -> np.ndarray:
    """(3n,) or (n, 3) -> (n, 3). (3, n) is refused: it would be read as other atoms."""
    positions = vector(name, atoms, None).astype(np.float64)
    flat = positions.ndim == 1 and positions.size % 3 == 0
    rows = positions.ndim == 2 and positions.shape[1] == 3
    if not positions.size or not (flat or rows):
        raise ValueError(f"{name} has shape {positions.shape}; expected (3n,), or (n, 3) with a row for each atom")
    check_finite(name, positions)
    return positions.reshape(-1, 3)
