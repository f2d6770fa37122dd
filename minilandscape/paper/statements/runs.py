"""Statements on training runs: losses, components, lengths, distances and directions of the vectors."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from ...analysis.permutation import (
    Comparison,
    compare_centroids,
    compare_distances,
    compare_runs,
    compare_same_runs,
)
from ..margin import COMPARABLE, against_margin
from ..plan import OPTIMIZERS
from .by_construction import by_construction
from .entry import BOTH, WEIGHTS, adjective, entry, optimizer_name


def of_runs(model: str, found: Mapping[str, Any], sets: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the statements on losses, components, lengths, distances and directions."""
    seeds = sets["lbfgs-gss"]["seeds"].tolist(), sets["sgd"]["seeds"].tolist()
    return [
        *_losses(model, found, sets, seeds),
        _rise(model, found),
        *_components(found, seeds),
        *_lengths(model, found, seeds),
        *_distances(sets, seeds),
        *_directions(found),
    ]


def _losses(
    model: str, found: Mapping[str, Any], sets: Mapping[str, Any], seeds: tuple[list[int], list[int]]
) -> list[dict[str, Any]]:
    """Table 1: L-BFGS-GSS's training losses are lower, the test losses comparable."""
    a, b = sets["lbfgs-gss"], sets["sgd"]
    compare = partial(compare_runs, seeds=seeds)
    train = compare(a["train_loss"], b["train_loss"])
    says = "L-BFGS-GSS's training losses are considerably lower (Table 1)"
    headline = "L-BFGS-GSS reaches lower training losses (Table 1)"
    of_train = entry("losses", says, "lower", BOTH, train, by_construction(found, train, "train"), headline)
    says = "test losses are comparable; in Table 1 the autoencoder's are lower with L-BFGS-GSS"
    headline = "early-stopping test losses are comparable (Table 1)"
    if model == "autoencoder":
        test = compare(a["test_loss"], b["test_loss"])
        return [of_train, entry("losses", says, "lower", BOTH, test, by_construction(found, test, "test"), headline)]
    test = against_margin(compare, a["test_loss"], b["test_loss"])
    return [of_train, entry("losses", says, "comparable", BOTH, test, headline=headline)]


def _rise(model: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """Figs. 2 and S1: L-BFGS-GSS's test loss rises after its minimum."""
    rise, of_sgd = (np.log10(found["rise"][o]) for o in OPTIMIZERS)
    test = compare_same_runs(rise, np.full(len(rise), np.log10(COMPARABLE)))
    factors = Comparison(10 ** float(rise.mean()), 10 ** float(of_sgd.mean()), test.p, test.least, test.n)
    claim = "does not rise" if model == "autoencoder" else "rises"
    says = "L-BFGS-GSS's test curves rise sharply after their minima, except the autoencoder's (Figs. 2, S1)"
    headline = "L-BFGS-GSS's test loss rises after its minimum, except the autoencoder's (Figs. 2, S1)"
    return entry("losses", says, claim, f"last test loss over the least: {BOTH}", factors, headline=headline)


def _components(found: Mapping[str, Any], seeds: tuple[list[int], list[int]]) -> list[dict[str, Any]]:
    """Table S1: the components of L-BFGS-GSS's vectors are more spread out."""
    entries = []
    for weights in WEIGHTS:
        a, b = (found["sigma"][o][weights] for o in OPTIMIZERS)
        wider = compare_runs(a, b, seeds)
        says = f"L-BFGS-GSS's components are more spread out (Table S1): {adjective(weights)} weights"
        headline = "L-BFGS-GSS's weights are more spread out (Table S1)" if weights == "train" else None
        entries.append(entry("vectors", says, "higher", f"mean σ of a run: {BOTH}", wider, headline=headline))
    return entries


def _lengths(model: str, found: Mapping[str, Any], seeds: tuple[list[int], list[int]]) -> list[dict[str, Any]]:
    """Figs. 5 and S3: L-BFGS-GSS's vectors are longer, of test weights by less for two networks."""
    lengths = found["lengths"]
    longer = compare_runs(lengths["train"]["lbfgs-gss"], lengths["train"]["sgd"], seeds)
    says = "L-BFGS-GSS's training vectors are longer (Fig. 5)"
    headline = "L-BFGS-GSS's training weights are longer (Fig. 5)"
    of_train = entry("vectors", says, "higher", f"length: {BOTH}", longer, headline=headline)
    # SGD's vectors are the same in both figures: the gap changes by as much as L-BFGS-GSS's own lengths.
    gap, gap_of_tests = (np.array(lengths[w]["lbfgs-gss"]) - longer.second for w in WEIGHTS)
    says = "of test weights the gap is less for fcp and LeNet, nearly the same for autoencoder and LSTM (Fig. S3)"
    of = "gap of lengths: Fig. 5, Fig. S3"
    if model in ("fcp", "lenet"):
        return [of_train, entry("vectors", says, "less", of, compare_same_runs(gap, gap_of_tests))]
    margin = against_margin(compare_same_runs, gap, gap_of_tests)
    return [of_train, entry("vectors", says, "nearly the same", of, margin)]


def _distances(sets: Mapping[str, Any], seeds: tuple[list[int], list[int]]) -> list[dict[str, Any]]:
    """Fig. 5: L-BFGS-GSS's vectors are more distant from one another; the centroids of both sets are close."""
    a, b = sets["lbfgs-gss"], sets["sgd"]
    entries = []
    for weights in WEIGHTS:
        says = f"L-BFGS-GSS's solutions are more distant from one another (Fig. 5): {adjective(weights)} weights"
        of = "mean distance within the set: L-BFGS-GSS, SGD's test weights"
        entries.append(entry("vectors", says, "higher", of, compare_distances(a[weights], b["test"], seeds)))
    says = "the centroids are close to each other against the spread (Fig. 5)"
    of = "half the centroids' distance, mean distance from the own centroid"
    centroids = compare_centroids(a["test"], b["test"], seeds)
    return [*entries, entry("vectors", says, "close", of, centroids, headline="the centroids are close (Fig. 5)")]


def _directions(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """No set has a preferred direction."""
    entries = []
    for o, w in itertools.product(OPTIMIZERS, WEIGHTS) if "directions" in found else ():
        direction = found["directions"][o][w]
        says = f"no preferred direction: {optimizer_name(o)}'s {adjective(w)} weights"
        of = "first eigenvalue's part of the covariance: of the vectors, of random signs"
        part, random, p, least = (direction[name] for name in ("part", "random", "p", "least"))
        result = Comparison(part, random, p, least, (direction["n"],))
        entries.append(entry("vectors", says, "no direction", of, result))
    return entries
