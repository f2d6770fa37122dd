"""Superposition of two sets of points: assignments of like points, rotations, and rotations that pairs of points fix.

Rows are points, a rotation R acts as ``points @ R``, and ``kinds`` (n,) says which points are alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

#: Displacements of points in congruent sets, in parts of the median distance of nearest neighbours: from rounding, from
#: tolerances of optimisers, and from thermal motion or another model of the energy.
LEVELS = (1e-6, 1e-3, 0.05)
#: Lengths may differ by this part where a rotation is fixed by pairs of points of sets that are not congruent.
LOOSE = 0.3
#: Sorted distances to other points that are compared, at most.
FINGERPRINT = 32
#: Rotations that are tried for sets that are not congruent, and those of them that are refined.
MOST_FRAMES, REFINED = 2000, 30
#: Further random rotations from which superpositions start.
RANDOM = 60
#: Alternations of assignment and rotation at most.
ROUNDS = 50
#: Numbers in a table of distances at a time.
CHUNK = 4_000_000

#: Points z (n, 3) and x (n, 3) -> the rotation R for which z R is closest to x.
BestRotation = Callable[[np.ndarray, np.ndarray], np.ndarray]


def groups_of(kinds: np.ndarray) -> list[np.ndarray]:
    """List the indices of each kind."""
    _, inverse = np.unique(kinds, return_inverse=True)
    return [np.flatnonzero(inverse == k) for k in range(inverse.max() + 1)]


def assign(squares: np.ndarray, groups: Iterable[np.ndarray]) -> np.ndarray:
    """Assign each row to a column of its group so that the sum of ``squares`` (n, n) is smallest: (n,) columns."""
    order = np.arange(len(squares))
    for group in groups:
        if len(group) > 1:
            order[group] = group[linear_sum_assignment(squares[np.ix_(group, group)])[1]]
    return order


def kabsch(z: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Compute the proper rotation R for which z R is closest to x (Kabsch, 1976)."""
    u, _, vt = np.linalg.svd(z.T @ x)
    u[:, -1] *= np.sign(np.linalg.det(u @ vt)) or 1.0
    R: np.ndarray = u @ vt
    return R


def about(axis: np.ndarray) -> BestRotation:
    """Restrict rotations to those about a unit vector."""

    def best_rotation(z: np.ndarray, x: np.ndarray) -> np.ndarray:
        across = np.cross(axis, z)
        flat = z - np.outer(z @ axis, axis)
        return rotation(axis, float(np.arctan2((across * x).sum(), (flat * x).sum())))

    return best_rotation


def rotation(axis: np.ndarray, angle: float) -> np.ndarray:
    """Compute R that rotates rows about a unit vector by an angle (Rodrigues' formula)."""
    skew = np.cross(np.eye(3), axis)
    R: np.ndarray = np.eye(3) - np.sin(angle) * skew + (1 - np.cos(angle)) * skew @ skew
    return R


def random_rotation(rng: np.random.Generator) -> np.ndarray:
    """Draw a proper rotation from the uniform distribution."""
    q, r = np.linalg.qr(rng.standard_normal((3, 3)))
    q = q * np.sign(np.diag(r))
    q[:, 0] *= np.sign(np.linalg.det(q))
    R: np.ndarray = q
    return R


def spacing(x: np.ndarray) -> float:
    """Compute the median distance of nearest neighbours, or the radius of a single point."""
    if len(x) > 1:
        distances = cdist(x, x)
        np.fill_diagonal(distances, np.inf)
        found = float(np.median(distances.min(axis=1)))
        if found > 0:
            return found
    return float(np.linalg.norm(x, axis=1).max(initial=0))


def alternate(
    x: np.ndarray, z: np.ndarray, groups: list[np.ndarray], best_rotation: BestRotation = kabsch
) -> np.ndarray:
    """Permute and rotate z by alternating assignments and rotations until its distance from x does not decrease."""
    before = np.inf
    for _ in range(ROUNDS):
        z = z[assign(cdist(x, z, "sqeuclidean"), groups)]
        z = z @ best_rotation(z, x)
        apart = float(((x - z) ** 2).sum())
        if apart >= before * (1 - 1e-10):
            break
        before = apart
    return z


def superpose(x: np.ndarray, y: np.ndarray, kinds: np.ndarray, seed: int) -> np.ndarray:
    """Permute like points of y and rotate it about the origin so that it is close to x.

    Congruent sets are always superposed; for others the closest of many superpositions is returned.
    """
    groups = groups_of(kinds)
    unit = spacing(x)
    found = congruent(x, y, kinds, groups, unit)
    if found is not None:
        return found
    rng = np.random.default_rng(seed)
    starts = [y @ R for R in _likely(x, y, kinds, LOOSE * unit, rng)]
    starts += [y, *(y @ random_rotation(rng) for _ in range(RANDOM - 1))]
    return nearest(x, (alternate(x, z, groups) for z in starts))


def nearest(x: np.ndarray, candidates: Iterable[np.ndarray]) -> np.ndarray:
    """Choose the candidate closest to x; of equally close ones the first."""
    best, least = x, np.inf
    for z in candidates:
        apart = float(((x - z) ** 2).sum())
        if apart < least * (1 - 1e-9):
            best, least = z, apart
    return best


def congruent(
    x: np.ndarray, y: np.ndarray, kinds: np.ndarray, groups: list[np.ndarray], unit: float
) -> np.ndarray | None:
    """Permute and rotate y where it then differs from x by small displacements only; return None elsewhere.

    A proper rotation about the origin that maps one set to the other is determined by two points and their images. All
    pairs of possible images are tried, for the smallest level of displacements first.
    """
    for level in LEVELS:
        slack = level * unit
        best, least = None, np.inf
        for R in _promising(x, y, kinds, frames(x, y, kinds, 4 * slack)):
            z = alternate(x, y @ R, groups)
            if np.abs(x - z).max() <= 2 * slack:
                apart = float(((x - z) ** 2).sum())
                if apart < least:
                    best, least = z, apart
                if level == LEVELS[0]:
                    break
        if best is not None:
            return best
    return None


def _promising(x: np.ndarray, y: np.ndarray, kinds: np.ndarray, rotations: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the rotations with the smallest residual distances, chunk by chunk."""
    size = max(1, CHUNK // max(1, len(x) ** 2))
    for k in range(0, len(rotations), size):
        part = rotations[k : k + size]
        scores = rough(x, y, kinds, part)
        # A wrong rotation leaves points unmatched: its distance is many times that of the best.
        worth = np.argsort(scores, kind="stable")[:REFINED]
        yield from part[worth[scores[worth] <= 100 * scores[worth[0]] + np.finfo(float).tiny]]


def rough(x: np.ndarray, y: np.ndarray, kinds: np.ndarray, rotations: np.ndarray, cap: float = np.inf) -> np.ndarray:
    """Sum the squared distances, each at most ``cap``, from points of x to the nearest like points of y R: (F,)."""
    scores = np.zeros(len(rotations))
    for group in groups_of(kinds):
        rotated = (y[group] @ rotations).reshape(-1, 3)
        squares = cdist(x[group], rotated, "sqeuclidean").reshape(len(group), len(rotations), len(group))
        scores += np.minimum(squares.min(axis=2), cap).sum(axis=0)
    return scores


def frames(x: np.ndarray, y: np.ndarray, kinds: np.ndarray, slack: float, exact: bool = True) -> np.ndarray:
    """Compute the rotations (F, 3, 3) that map two points of y to two of x, with lengths equal up to ``slack``.

    With ``exact`` the distances of every point to all others must agree too, and there is no rotation where a point has
    no counterpart.
    """
    a, b = np.linalg.norm(x, axis=1), np.linalg.norm(y, axis=1)
    like = (kinds[:, None] == kinds) & (np.abs(a[:, None] - b) <= slack)
    if exact:
        like &= cdist(_fingerprints(x), _fingerprints(y), "chebyshev") <= slack
        if not like.any(axis=1).all():
            return np.zeros((0, 3, 3))
    if not a.max() > slack:
        return np.eye(3)[None]
    choices = like.sum(axis=1)
    i = _rarest(choices, a)
    across = np.linalg.norm(np.cross(x, x[i]), axis=1) / a[i]
    if not across.max() > slack:  # on a line
        return np.array([_onto(y[k], x[i]) for k in np.flatnonzero(like[i])]).reshape(-1, 3, 3)
    j = _rarest(choices, across)
    first, second = (k.ravel() for k in np.meshgrid(*(np.flatnonzero(like[k]) for k in (i, j)), indexing="ij"))
    apart = np.linalg.norm(y[first] - y[second], axis=1)
    fits = (np.abs(apart - np.linalg.norm(x[i] - x[j])) <= slack) & (first != second)
    ours, theirs = _axes(x[i][None], x[j][None]), _axes(y[first[fits]], y[second[fits]])
    rotations: np.ndarray = np.swapaxes(theirs, 1, 2) @ ours
    return rotations[np.isfinite(rotations).all(axis=(1, 2))]


def _likely(x: np.ndarray, y: np.ndarray, kinds: np.ndarray, slack: float, rng: np.random.Generator) -> np.ndarray:
    """Choose the best rotations fixed by pairs of points for sets that differ a little, or in a few points."""
    rotations = frames(x, y, kinds, slack, exact=False)
    if len(rotations) > MOST_FRAMES:
        rotations = rotations[np.sort(rng.choice(len(rotations), MOST_FRAMES, replace=False))]
    size = max(1, CHUNK // len(x) ** 2)
    # Capped, so that a few points that moved far do not dominate.
    scores = [rough(x, y, kinds, rotations[k : k + size], slack**2) for k in range(0, len(rotations), size)]
    best: np.ndarray = rotations[np.argsort(np.concatenate([np.zeros(0), *scores]), kind="stable")[:REFINED]]
    return best


def _rarest(choices: np.ndarray, size: np.ndarray) -> int:
    """Of points of at least half the largest size, the one with the fewest choices; of several the largest."""
    far = np.flatnonzero(size >= 0.5 * size.max())
    return int(far[np.lexsort((-size[far], choices[far]))[0]])


def _fingerprints(x: np.ndarray) -> np.ndarray:
    """(n, K): for each point some of its sorted distances to all points, invariant under rotation and permutation."""
    ordered = np.sort(cdist(x, x), axis=1)
    n = len(x)
    return ordered[:, np.unique(np.linspace(0, n - 1, min(n, FINGERPRINT)).astype(int))]


def _axes(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Compute right-handed orthonormal rows (F, 3, 3), the first along ``first``; not finite for parallel vectors."""
    with np.errstate(invalid="ignore", divide="ignore"):
        e1 = first / np.linalg.norm(first, axis=1, keepdims=True)
        e2 = second - (second * e1).sum(axis=1, keepdims=True) * e1
        e2 /= np.linalg.norm(e2, axis=1, keepdims=True)
    return np.stack([e1, e2, np.cross(e1, e2)], axis=1)


def _onto(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Compute a rotation that maps one vector to the direction of another."""
    helper = np.eye(3)[np.abs(target).argmin()]
    other = np.eye(3)[np.abs(source).argmin()]
    ours, theirs = _axes(target[None], helper[None]), _axes(source[None], other[None])
    R: np.ndarray = theirs[0].T @ ours[0]
    return R
