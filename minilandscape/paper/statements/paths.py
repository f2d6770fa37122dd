"""Statements on paths: heights, maxima and barriers, by both searches."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from ...analysis.permutation import Comparison, compare_runs, compare_same_runs
from ...pairs.draw import disjoint
from ..margin import against_margin
from ..plan import NO_BARRIER, OPTIMIZERS
from ..verdicts import Verdict
from .by_construction import by_construction
from .entry import BOTH, WEIGHTS, adjective, entry, optimizer_name

#: The sets of Figs. 4 and S2 as (weights, landscape).
SETS = (("train", "train"), ("test", "train"), ("test", "test"))
#: What is compared of paths: Eq. (5), the maximum over continuous t, and that above the higher endpoint.
OF_PATHS = ("height", "maximum", "barrier")
PLURAL = {"height": "heights", "maximum": "maxima", "barrier": "barriers"}
#: The statements on paths that answer the paper's main question, by (search, what, weights, landscape).
HEADLINES = {
    ("adam", "height", "train", "train"): (
        "paths between SGD's training weights are lower, except the autoencoder's (Fig. 4)"
    ),
    ("adam", "height", "test", "test"): (
        "paths between SGD's early-stopping weights are lower on test data, except the autoencoder's (Fig. S2)"
    ),
    ("adam", "barrier", "train", "train"): "SGD's training weights have lower barriers, except the autoencoder's",
    ("still", "barrier", "train", "train"): "SGD's training weights have lower barriers, except the autoencoder's",
}


def of_paths(model: str, found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the statements on heights, maxima and barriers, by search."""
    sets = {(e["solver"], e["landscape"], e["optimizer"], e["weights"]): e for e in found["heights"]}
    solvers = dict.fromkeys(entry["solver"] for entry in found["heights"])
    entries = []
    for solver, what in itertools.product(solvers, OF_PATHS):
        about = {"search": solver, "what": what}
        new = [
            *_between_optimizers(model, found, sets, solver, what),
            *_between_weights(model, found, sets, solver, what),
        ]
        entries += [{**e, **about} for e in new]
    return entries


def _between_optimizers(
    model: str, found: Mapping[str, Any], sets: Mapping[Any, Any], solver: str, what: str
) -> list[dict[str, Any]]:
    """Figs. 4 and S2: SGD's paths are lower, except the autoencoder's."""
    search = found["searches"][solver]
    claim = "not higher" if model == "autoencoder" else "higher"
    entries = []
    for weights, where in SETS:
        says = f"{PLURAL[what]} are lower for SGD, except the autoencoder's: {adjective(weights)} weights on the "
        says += f"{adjective(where)} landscape; {search}"
        groups = [_independent(sets.get((solver, where, o, weights))) for o in OPTIMIZERS]
        new = _compare(says, claim, BOTH, what, groups, compare_runs, partial(by_construction, found, weights=weights))
        headline = HEADLINES.get((solver, what, weights, where))
        entries += [{**e, "headline": f"{headline}: {search}"} if headline else e for e in new]
    return entries


def _between_weights(
    model: str, found: Mapping[str, Any], sets: Mapping[Any, Any], solver: str, what: str
) -> list[dict[str, Any]]:
    """Paths between training weights are higher than between test weights for two networks only."""
    claim = "higher" if model in ("fcp", "lstm") else "not higher"
    entries = []
    for o in OPTIMIZERS:
        says = f"{optimizer_name(o)}'s {PLURAL[what]} are higher between training than between test weights for fcp "
        says += f"and LSTM only; {found['searches'][solver]}"
        groups = [_independent(sets.get((solver, "train", o, w))) for w in WEIGHTS]
        common = sorted(set(groups[0]) & set(groups[1]))
        groups = [{pair: group[pair] for pair in common} for group in groups]
        entries += _compare(says, claim, "training, test weights", what, groups, compare_same_runs)
    return entries


def _independent(paths: Mapping[str, Any] | None) -> dict[tuple[int, ...], dict[str, Any]]:
    """Return by pair height, maximum, barrier, and whether the search was cut off, of paths that share no run."""
    if paths is None:
        return {}
    return {
        tuple(paths["pairs"][k]): {
            **{what: paths[what][k] for what in OF_PATHS},
            "cut off": paths["solver"] == "still" and not paths["still"][k],
        }
        for k in disjoint(paths["pairs"])
    }


def _compare(
    says: str,
    claim: str,
    of: str,
    what: str,
    groups: list[Any],
    compare: Callable[[Any, Any], Comparison],
    constructed: Callable[[Comparison], Verdict | None] = lambda result: None,
) -> list[dict[str, Any]]:
    """Return the entry of two groups of paths, none where there are too few."""
    if any(len(group) < 2 for group in groups):
        return []
    first, second = (np.array([path[what] for path in group.values()]) for group in groups)
    if what == "barrier":
        first, second = (np.where(barrier > NO_BARRIER, barrier, 0.0) for barrier in (first, second))
    result = compare(first, second)
    if claim == "not higher":
        result = against_margin(compare, first, second, both=False)
    here = None
    unfinished = any(path["cut off"] and path["barrier"] > NO_BARRIER for group in groups for path in group.values())
    if what == "barrier" and not (first.any() or second.any()):
        here = Verdict.NO_BARRIER
    elif unfinished and (what == "barrier" or not _order_is_certain(result, what, groups)):
        here = Verdict.INCONCLUSIVE
    elif what != "barrier":
        here = constructed(result)
    return [entry("paths", says, claim, of, result, here)]


def _order_is_certain(result: Comparison, what: str, groups: list[Any]) -> bool:
    """Return whether the means keep their order if paths that were cut off come down to their higher endpoint."""
    least = [
        float(
            np.mean([path["maximum"] - path["barrier"] if path["cut off"] else path[what] for path in group.values()])
        )
        for group in groups
    ]
    return least[0] > result.second if result.first > result.second else least[1] > result.first
