"""Random pairs of a set, and the largest selection of pairs that share no member."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp


def draw_pairs(k: int, n: int, pairing: str, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Draw n random distinct pairs of k places, all pairs if there are fewer: "random", or in "rounds" of partners."""
    n = min(n, k * (k - 1) // 2)
    if pairing == "random":
        i, j = np.triu_indices(k, 1)
        pairs = rng.permuted(np.stack([i, j], axis=1)[rng.permutation(len(i))], axis=1)
        return [(int(a), int(b)) for a, b in pairs[:n]]  # a larger n begins with the same pairs
    chosen: dict[tuple[int, int], tuple[int, int]] = {}
    while len(chosen) < n:
        order = rng.permutation(k)
        for i, j in zip(order[::2].tolist(), order[1::2].tolist(), strict=False):
            if len(chosen) < n:
                chosen.setdefault((min(i, j), max(i, j)), (i, j))
    return list(chosen.values())


def disjoint(pairs: Sequence[Sequence[int]]) -> list[int]:
    """Return the places of the largest selection of pairs that share no run; their paths are independent.

    The first pairs that share none are taken if they are as many, as those of one round are.
    """
    used: set[int] = set()
    places = []
    for k, pair in enumerate(pairs):
        if not used.intersection(pair):
            used.update(pair)
            places.append(k)
    runs = sorted({run for pair in pairs for run in pair})
    if len(places) >= len(runs) // 2:
        return places
    # The maximum matching of a graph: each run is in at most one chosen pair.
    rows = {run: k for k, run in enumerate(runs)}
    taken = np.zeros((len(runs), len(pairs)))
    for k, (i, j) in enumerate(pairs):
        taken[[rows[i], rows[j]], k] = 1
    found = milp(-np.ones(len(pairs)), integrality=1, bounds=Bounds(0, 1), constraints=LinearConstraint(taken, ub=1))
    assert found.success
    return np.flatnonzero(found.x > 0.5).tolist()
