"""Superposition of two sets of points: assignments of like points, rotations, and the frames that congruent sets share.

Rows are points, a rotation R acts as ``points @ R``, and ``kinds`` (n,) says which points are alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

#: Points of congruent sets lie this near to each other, in parts of the median distance of nearest neighbours:
#: rounding, what optimisers leave, and what thermal motion or another model of the energy may do.
LEVELS = (1e-6, 1e-3, 0.05)
#: Sets that are not congruent may share frames whose lengths differ by this part.
LOOSE = 0.3
#: Sorted distances to the other points that are compared, at most.
FINGERPRINT = 32
#: Frames that are looked at in sets that are not congruent, and those of them that are refined.
MOST_FRAMES, REFINED = 2000, 30
#: Random rotations that the superposition starts from besides.
RANDOM = 60
#: Alternations of assignment and rotation at most.
ROUNDS = 50
#: Numbers in a table of distances at a time.
CHUNK = 4_000_000

#: Points (n, 3), and those that they are brought near to -> the best rotation.
Turn = Callable[[np.ndarray, np.ndarray], np.ndarray]


def groups_of(kinds: np.ndarray) -> list[np.ndarray]:
    """The indices of each kind."""
    _, inverse = np.unique(kinds, return_inverse=True)
    return [np.flatnonzero(inverse == k) for k in range(inverse.max() + 1)]


def assign(squares: np.ndarray, groups: Iterable[np.ndarray]) -> np.ndarray:
    """(n,): the column of each row, within its group, for which the sum of ``squares`` (n, n) is least."""
    order = np.arange(len(squares))
    for group in groups:
        if len(group) > 1:
            order[group] = group[linear_sum_assignment(squares[np.ix_(group, group)])[1]]
    return order


def kabsch(z: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The proper rotation R that brings z R nearest to x (Kabsch, 1976)."""
    u, _, vt = np.linalg.svd(z.T @ x)
    u[:, -1] *= np.sign(np.linalg.det(u @ vt)) or 1.0
    turn: np.ndarray = u @ vt
    return turn


def about(axis: np.ndarray) -> Turn:
    """The best rotation about a unit vector instead of the best of all."""

    def turn(z: np.ndarray, x: np.ndarray) -> np.ndarray:
        across = np.cross(axis, z)
        flat = z - np.outer(z @ axis, axis)
        return rotation(axis, float(np.arctan2((across * x).sum(), (flat * x).sum())))

    return turn


def rotation(axis: np.ndarray, angle: float) -> np.ndarray:
    """R that turns rows about a unit vector by an angle (Rodrigues)."""
    skew = np.cross(np.eye(3), axis)
    turn: np.ndarray = np.eye(3) - np.sin(angle) * skew + (1 - np.cos(angle)) * skew @ skew
    return turn


def random_rotation(rng: np.random.Generator) -> np.ndarray:
    """A proper rotation, uniformly distributed."""
    q, r = np.linalg.qr(rng.standard_normal((3, 3)))
    q = q * np.sign(np.diag(r))
    q[:, 0] *= np.sign(np.linalg.det(q))
    turn: np.ndarray = q
    return turn


def spacing(x: np.ndarray) -> float:
    """The median distance of nearest neighbours; the radius where there is none."""
    if len(x) > 1:
        distances = cdist(x, x)
        np.fill_diagonal(distances, np.inf)
        found = float(np.median(distances.min(axis=1)))
        if found > 0:
            return found
    return float(np.linalg.norm(x, axis=1).max(initial=0))


def settle(x: np.ndarray, z: np.ndarray, groups: list[np.ndarray], turn: Turn = kabsch) -> np.ndarray:
    """z in another order and turned: assignment and rotation take turns until z comes no nearer to x."""
    before = np.inf
    for _ in range(ROUNDS):
        z = z[assign(cdist(x, z, "sqeuclidean"), groups)]
        z = z @ turn(z, x)
        apart = float(((x - z) ** 2).sum())
        if apart >= before * (1 - 1e-10):
            break
        before = apart
    return z


def superpose(x: np.ndarray, y: np.ndarray, kinds: np.ndarray, seed: int) -> np.ndarray:
    """y in another order of like points and turned about the origin, so that it lies near x.

    Congruent sets are always recognised; of others the nearest of many superpositions is returned.
    """
    groups = groups_of(kinds)
    unit = spacing(x)
    found = congruent(x, y, kinds, groups, unit)
    if found is not None:
        return found
    rng = np.random.default_rng(seed)
    starts = [y @ R for R in _likely(x, y, kinds, LOOSE * unit, rng)]
    starts += [y, *(y @ random_rotation(rng) for _ in range(RANDOM - 1))]
    return nearest(x, (settle(x, z, groups) for z in starts))


def nearest(x: np.ndarray, candidates: Iterable[np.ndarray]) -> np.ndarray:
    """The candidate that lies nearest to x; of equal ones the first."""
    best, least = x, np.inf
    for z in candidates:
        apart = float(((x - z) ** 2).sum())
        if apart < least * (1 - 1e-9):
            best, least = z, apart
    return best


def congruent(
    x: np.ndarray, y: np.ndarray, kinds: np.ndarray, groups: list[np.ndarray], unit: float
) -> np.ndarray | None:
    """y in another order and turned, where it then differs from x by small displacements alone; else None.

    A proper rotation about the origin that maps one set to the other maps two points of it to two others, and is
    known by them. All pairs that could be theirs are tried, at the smallest level of displacements first.
    """
    for level in LEVELS:
        slack = level * unit
        best, least = None, np.inf
        for R in _sorted(x, y, kinds, frames(x, y, kinds, 4 * slack)):
            z = settle(x, y @ R, groups)
            if np.abs(x - z).max() <= 2 * slack:
                apart = float(((x - z) ** 2).sum())
                if apart < least:
                    best, least = z, apart
                if level == LEVELS[0]:
                    break
        if best is not None:
            return best
    return None


def _sorted(x: np.ndarray, y: np.ndarray, kinds: np.ndarray, turns: np.ndarray) -> Iterator[np.ndarray]:
    """Rotations, of each chunk the best that are worth a closer look."""
    size = max(1, CHUNK // max(1, len(x) ** 2))
    for k in range(0, len(turns), size):
        part = turns[k : k + size]
        scores = rough(x, y, kinds, part)
        # A wrong frame leaves whole points unmatched: it is many times as far off as the best.
        worth = np.argsort(scores, kind="stable")[:REFINED]
        yield from part[worth[scores[worth] <= 100 * scores[worth[0]] + np.finfo(float).tiny]]


def rough(x: np.ndarray, y: np.ndarray, kinds: np.ndarray, turns: np.ndarray, cap: float = np.inf) -> np.ndarray:
    """(F,): sums of the squared distances, each at most cap, from points of x to the nearest like ones of y R."""
    scores = np.zeros(len(turns))
    for group in groups_of(kinds):
        turned = (y[group] @ turns).reshape(-1, 3)
        squares = cdist(x[group], turned, "sqeuclidean").reshape(len(group), len(turns), len(group))
        scores += np.minimum(squares.min(axis=2), cap).sum(axis=0)
    return scores


def frames(x: np.ndarray, y: np.ndarray, kinds: np.ndarray, slack: float, exact: bool = True) -> np.ndarray:
    """(F, 3, 3): the rotations that bring two points of y where two of x lie, lengths being equal up to a slack.

    With ``exact`` the distances of every point to all others must agree as well, and there is no frame at all where a
    point has no counterpart.
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
    turns: np.ndarray = np.swapaxes(theirs, 1, 2) @ ours
    return turns[np.isfinite(turns).all(axis=(1, 2))]


def _likely(x: np.ndarray, y: np.ndarray, kinds: np.ndarray, slack: float, rng: np.random.Generator) -> np.ndarray:
    """The best frames of sets that are not congruent: what moved a little, or in a few points, is found by them."""
    turns = frames(x, y, kinds, slack, exact=False)
    if len(turns) > MOST_FRAMES:
        turns = turns[np.sort(rng.choice(len(turns), MOST_FRAMES, replace=False))]
    size = max(1, CHUNK // len(x) ** 2)
    # Capped: a few points that moved far must not decide.
    scores = [rough(x, y, kinds, turns[k : k + size], slack**2) for k in range(0, len(turns), size)]
    best: np.ndarray = turns[np.argsort(np.concatenate([np.zeros(0), *scores]), kind="stable")[:REFINED]]
    return best


def _rarest(choices: np.ndarray, size: np.ndarray) -> int:
    """Of the points of at least half the largest size, the one with the fewest choices, and of these the largest."""
    far = np.flatnonzero(size >= 0.5 * size.max())
    return int(far[np.lexsort((-size[far], choices[far]))[0]])


def _fingerprints(x: np.ndarray) -> np.ndarray:
    """(n, K): for each point some of its sorted distances to all points, which any rotation and order leaves alone."""
    ordered = np.sort(cdist(x, x), axis=1)
    n = len(x)
    return ordered[:, np.unique(np.linspace(0, n - 1, min(n, FINGERPRINT)).astype(int))]


def _axes(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(F, 3, 3): right-handed orthonormal rows, the first along ``first``; not finite where the two are parallel."""
    with np.errstate(invalid="ignore", divide="ignore"):
        e1 = first / np.linalg.norm(first, axis=1, keepdims=True)
        e2 = second - (second * e1).sum(axis=1, keepdims=True) * e1
        e2 /= np.linalg.norm(e2, axis=1, keepdims=True)
    return np.stack([e1, e2, np.cross(e1, e2)], axis=1)


def _onto(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """A rotation that brings one vector onto the line of another."""
    helper = np.eye(3)[np.abs(target).argmin()]
    other = np.eye(3)[np.abs(source).argmin()]
    ours, theirs = _axes(target[None], helper[None]), _axes(source[None], other[None])
    turn: np.ndarray = theirs[0].T @ ours[0]
    return turn
