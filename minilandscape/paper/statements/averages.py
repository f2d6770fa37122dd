"""Statements on generalisation, and on averages of vectors."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from ...analysis.permutation import compare_runs
from ...pairs.draw import disjoint
from ..margin import against_margin
from ..plan import OPTIMIZERS
from .entry import BOTH, WEIGHTS, adjective, entry


def of_averages(model: str, found: Mapping[str, Any], seeds: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the statements on whether SGD's weights generalise better, and their averages lose less."""
    measured = found.get("averages", {})
    entries = []
    for weights in WEIGHTS:
        groups = [measured[o][weights] for o in OPTIMIZERS if weights in measured.get(o, {})]
        if len(groups) == len(OPTIMIZERS):
            if weights == "train":
                entries += _generalisation(model, groups, seeds)
            entries += _midpoints(groups, weights)
    return entries


def _generalisation(model: str, groups: list[Any], seeds: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Test losses and accuracies of training weights."""
    compare = partial(compare_runs, seeds=(seeds["lbfgs-gss"], seeds["sgd"]))
    entries = []
    for what, claim in (("loss", "higher"), ("accuracy", "lower")):
        first, second = (np.array(group[f"test_vectors_{what}"], dtype=np.float64) for group in groups)
        if np.isnan([*first, *second]).any():  # the autoencoder has no accuracy
            continue
        result = compare(first, second)
        if model == "autoencoder":
            claim, result = "not higher", against_margin(compare, first, second, both=False)
        says = f"SGD's training weights generalise better, except the autoencoder's: test {what}"
        headline = says if what == "loss" else None
        says += " of training weights"
        entries.append(entry("averages", says, claim, f"{what}: {BOTH}", result, headline=headline))
    return entries


def _midpoints(groups: list[Any], weights: str) -> list[dict[str, Any]]:
    """Rise of the loss at the midpoint of a pair, above the endpoint of higher loss."""
    entries = []
    for where in ("train", "test"):
        rises = []
        for group in groups:
            losses = np.array(group[f"{where}_vectors_loss"])
            pairs = np.array(group["pairs"]).reshape(-1, 2)
            rise = np.array(group[f"{where}_midpoints_loss"]) - losses[pairs].max(axis=1)
            rises.append(rise[disjoint(pairs.tolist())])
        if min(map(len, rises)) > 1:
            says = f"averages of two of SGD's vectors lose less: {adjective(weights)} weights, {adjective(where)} "
            says += "loss of the midpoint above the endpoint of higher loss"
            of = f"rise at the midpoint: {BOTH}"
            entries.append(entry("averages", says, "higher", of, compare_runs(*rises)))
    return entries
