"""The paper's statements, each asked of a campaign's numbers: what it says, what is seen, and a test of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from .comparisons import (
    COMPARABLE,
    Comparison,
    Separation,
    against_margin,
    compare_centroids,
    compare_distances,
    compare_runs,
    compare_same_runs,
    disjoint,
)
from .plan import OPTIMIZERS

WEIGHTS = ("train", "test")
#: Figs. 6 and S4: L-BFGS-GSS's training weights, or its test weights, against SGD's test weights.
KPCA_FIGURES = {"train": "Fig. 6", "test": "Fig. S4"}
#: The sets of Figs. 4 and S2 as (weights, landscape).
SETS = (("train", "train"), ("test", "train"), ("test", "test"))

#: A difference whose p is no larger is called one.
SIGNIFICANT = 0.05
#: Centroids are close if half their distance is no more than this part of the vectors' own from their centroid.
CLOSE = 0.5
#: A path that rises no more above its higher end crosses no barrier; λ's price of length alone comes to some 1e-6.
NO_BARRIER = 1e-5
#: Two sets are apart where the area under the ROC curve along a component reaches this, 0.5 being none at all and 1 all
#: of it, and their medians are as far apart, in standard deviations, as such an area takes of two normal distributions.
APART, GAP = 0.9, 1.8
#: A test loss whose minimum lies beyond this part of a run's epochs was still falling at its end.
STILL_FALLING = 0.9
#: Kernel PCA of fewer vectors than half of the paper's 48 a set is another experiment: what it misses tells nothing.
ENOUGH = 24

#: How verdicts come about, for people.
RULES = (
    f"A difference counts from p = {SIGNIFICANT:g} down; one that is not clear cannot be told. Tests are two-"
    "sided, but those of centroids and directions, and permute what is independent. Runs of both optimisers from "
    "the same initial vector change places with each other, all other runs are dealt out anew; so are paths that "
    "share no run, though some of the two optimisers begin from the same vectors; of two quantities of the same "
    "runs, or of paths between the same runs, the differences change their signs. The least p is the smallest "
    "that so few of them, or so many ways that are tried, allow. Numbers are comparable, nearly the same, or not "
    f"higher, within a factor of {COMPARABLE:g}, and p is of the test against that factor; curves rise by more "
    "than that factor, SGD's rise being for comparison. By size alone: a rise above the higher end of no more "
    f"than {NO_BARRIER:g}, anywhere along the path, is no barrier and counts as 0, and where no path crosses one "
    "neither set's are higher; centroids are close where half their distance, the dotted line of Fig. 5, is no "
    f"more than {CLOSE:g} of the vectors' mean distance from their own; there is no preferred direction where the "
    f"first eigenvalue of the covariance is within a factor of {COMPARABLE:g} of what random signs of all entries "
    "about the centroid leave; heights do not depend on λ within that factor. Sets are apart where an area under "
    f"the ROC curve of at least {APART:g} along PC1 is clear and their medians are at least {GAP:g} standard "
    f"deviations of the wider set apart, else not; that they are not is said from {ENOUGH} vectors a set on, half "
    "of the paper's. A search that was cut off, or has its barrier between its points, tells nothing of what is "
    "left at its end, unless that is no barrier by then, and its height counts where the order is the same with "
    "that of its higher end. That L-BFGS's number is the lower one is imposed where it lies below the training "
    "loss at which SGD was told to end; of test weights, where their loss was still falling then."
)


def verdict(claim: str, found: Comparison) -> str:
    """Of a statement: "seen", "not seen" or "cannot be told".

    Parameters
    ----------
    claim
        What the paper says of the first number against the second: "higher", "lower", "less" (of the second against the
        first), "close", "no direction" or "the same"; or, of a test against the margin, "comparable", "nearly the
        same", "not higher", "rises" or "does not rise".
    """
    first, second = found.first, found.second
    if not np.isfinite([first, second]).all():  # a run that diverged
        return "cannot be told"
    if claim == "close":
        return "seen" if first <= CLOSE * second else "not seen"
    if claim in ("no direction", "the same"):
        return "seen" if first <= COMPARABLE * second else "not seen"
    if found.p > SIGNIFICANT:
        return "cannot be told"
    above = first > COMPARABLE * second
    holds = {
        "higher": first > second,
        "lower": first < second,
        "less": second < first,
        "not higher": not above,
        "comparable": not above and second <= COMPARABLE * first,
        "nearly the same": not above and second <= COMPARABLE * first,
        "rises": first > COMPARABLE,
        "does not rise": first <= COMPARABLE,
    }
    return "seen" if holds[claim] else "not seen"


def verdict_apart(claim: str, found: Separation, n: int) -> str:
    """Of "apart" or "not apart", with n vectors in the smaller set."""
    apart = found.area >= APART and found.gap >= GAP and found.p <= SIGNIFICANT
    if not apart and n < ENOUGH:
        return "cannot be told"
    return "seen" if apart == (claim == "apart") else "not seen"


def statements(model: str, found: Mapping[str, Any], sets: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The paper's statements on a network.

    Parameters
    ----------
    found
        Of :func:`minilandscape.campaign.results.collect`, without them.
    sets
        The solutions of each optimiser.

    Returns
    -------
    list of dict
        ``says``, the statement; ``claim``, what it says of this network; ``here``, the verdict; ``of``, what the two
        numbers ``first`` and ``second`` are; ``p``, ``least`` and ``n``. Where there is no test, p is None.
    """
    return [*of_runs(model, found, sets), *of_paths(model, found), *of_scan(found), *of_kernels(model, found)]


def _entry(says: str, claim: str, of: str, result: Comparison, here: str | None = None) -> dict[str, Any]:
    here = verdict(claim, result) if here is None else here
    return {"says": says, "claim": claim, "here": here, "of": of, **vars(result), "n": list(result.n)}


def of_runs(model: str, found: Mapping[str, Any], sets: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The statements on losses, components, lengths, distances and directions."""
    a, b = sets["lbfgs-gss"], sets["sgd"]
    seeds = a["seeds"].tolist(), b["seeds"].tolist()
    compare = partial(compare_runs, seeds=seeds)
    both = "L-BFGS-GSS, SGD"
    losses = compare(a["train_loss"], b["train_loss"])
    here = _imposed(found, losses, "train")
    entries = [_entry("L-BFGS's training losses are considerably lower (Table 1)", "lower", both, losses, here)]
    says = "test losses are comparable; in Table 1 the autoencoder's are lower with L-BFGS"
    if model == "autoencoder":
        losses = compare(a["test_loss"], b["test_loss"])
        entries.append(_entry(says, "lower", both, losses, _imposed(found, losses, "test")))
    else:
        entries.append(_entry(says, "comparable", both, against_margin(compare, a["test_loss"], b["test_loss"])))
    rise, its = (np.log10(found["rise"][o]) for o in OPTIMIZERS)
    test = compare_same_runs(rise, np.full(len(rise), np.log10(COMPARABLE)))
    factors = Comparison(10 ** float(rise.mean()), 10 ** float(its.mean()), test.p, test.least, test.n)
    claim = "does not rise" if model == "autoencoder" else "rises"
    says = "L-BFGS's test curves rise sharply after their minima, but the autoencoder's (Figs. 2, S1)"
    entries.append(_entry(says, claim, f"last test loss over the least: {both}", factors))
    for weights in WEIGHTS:
        sigmas = (found["sigma"][o][weights] for o in OPTIMIZERS)
        says = f"L-BFGS's components are more spread out (Table S1): {_adjective(weights)} weights"
        entries.append(_entry(says, "higher", f"mean σ of a run: {both}", compare(*sigmas)))
    lengths = found["lengths"]
    longer = compare(lengths["train"]["lbfgs-gss"], lengths["train"]["sgd"])
    entries.append(_entry("L-BFGS's training vectors are longer (Fig. 5)", "higher", f"length: {both}", longer))
    # SGD's vectors are the same in both figures: the gap changes by as much as L-BFGS's own lengths.
    gap, gap_of_tests = (np.array(lengths[w]["lbfgs-gss"]) - longer.second for w in WEIGHTS)
    says = "of test weights the gap is less for fcp and LeNet, nearly the same for autoencoder and LSTM (Fig. S3)"
    of = "gap of lengths: Fig. 5, Fig. S3"
    if model in ("fcp", "lenet"):
        entries.append(_entry(says, "less", of, compare_same_runs(gap, gap_of_tests)))
    else:
        entries.append(_entry(says, "nearly the same", of, against_margin(compare_same_runs, gap, gap_of_tests)))
    for weights in WEIGHTS:
        says = f"L-BFGS's solutions are more distant from one another (Fig. 5): {_adjective(weights)} weights"
        of = "mean distance within the set: L-BFGS-GSS, SGD's test weights"
        entries.append(_entry(says, "higher", of, compare_distances(a[weights], b["test"], seeds)))
    says = "the centroids are close to each other against the spread (Fig. 5)"
    of = "half the centroids' distance, mean distance from the own centroid"
    entries.append(_entry(says, "close", of, compare_centroids(a["test"], b["test"], seeds)))
    for o, w in itertools.product(OPTIMIZERS, WEIGHTS) if "directions" in found else ():
        direction = found["directions"][o][w]
        says = f"no preferred direction: {_name(o)}'s {_adjective(w)} weights"
        of = "first eigenvalue's part of the covariance: of the vectors, of random signs"
        result = Comparison(
            direction["part"], direction["random"], direction["p"], direction["least"], (direction["n"],)
        )
        entries.append(_entry(says, "no direction", of, result))
    return entries


def _imposed(found: Mapping[str, Any], result: Comparison, weights: str) -> str | None:
    """ "imposed" where L-BFGS's number is clearly lower than any that SGD could reach, as it was told where to end.

    Of test weights that holds where the test loss was still falling when the runs ended.
    """
    told = sum(reason == "loss floor" for reason in found["reasons"]["sgd"]) > len(found["reasons"]["sgd"]) / 2
    if weights == "test":
        minima, ends = (float(np.mean(found["epochs"]["sgd"][w])) for w in ("test", "train"))
        told = told and minima >= STILL_FALLING * ends
    lower = result.first < min(result.second, found["table1"]["sgd"]["train"]["mean"])
    return "imposed" if told and lower and result.p <= SIGNIFICANT else None


def of_paths(model: str, found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The statements on barriers, of heights and of rises above the higher end, by both searches."""
    sets = {(e["solver"], e["landscape"], e["optimizer"], e["weights"]): e for e in found["heights"]}
    entries = []
    for solver in dict.fromkeys(entry["solver"] for entry in found["heights"]):
        for what in ("height", "excess"):
            search = f"{what}, {found['searches'][solver]}"
            claim = "not higher" if model == "autoencoder" else "higher"
            for weights, where in SETS:
                says = f"barriers are lower for SGD, but the autoencoder's: {_adjective(weights)} weights on the "
                says += f"{_adjective(where)} landscape; {search}"
                groups = [_independent(sets.get((solver, where, o, weights))) for o in OPTIMIZERS]
                imposed = partial(_imposed, found, weights=weights)
                entries += _compare_paths(says, claim, "L-BFGS-GSS, SGD", what, groups, compare_runs, imposed)
            claim = "higher" if model in ("fcp", "lstm") else "not higher"
            for o in OPTIMIZERS:
                says = f"{_name(o)}'s barriers are higher between training than between test weights for fcp and LSTM "
                says += f"only; {search}"
                groups = [_independent(sets.get((solver, "train", o, w))) for w in WEIGHTS]
                common = sorted(set(groups[0]) & set(groups[1]))
                groups = [{pair: group[pair] for pair in common} for group in groups]
                entries += _compare_paths(says, claim, "training, test weights", what, groups, compare_same_runs)
    return entries


def _independent(entry: Mapping[str, Any] | None) -> dict[tuple[int, ...], dict[str, Any]]:
    """Of the paths that share no run: height, excess, and whether the search was cut off, by pair."""
    if entry is None:
        return {}
    return {
        tuple(entry["pairs"][k]): {
            "height": entry["height"][k],
            "excess": entry["excess"][k],
            "cut off": entry["solver"] == "still" and not entry["still"][k],
        }
        for k in disjoint(entry["pairs"])
    }


def _compare_paths(
    says: str,
    claim: str,
    of: str,
    what: str,
    groups: list[Any],
    compare: Callable[[Any, Any], Comparison],
    imposed: Callable[[Comparison], str | None] = lambda result: None,
) -> list[dict[str, Any]]:
    """The entry of two groups of paths, none where there are too few."""
    if any(len(group) < 2 for group in groups):
        return []
    first, second = (np.array([path[what] for path in group.values()]) for group in groups)
    if what == "excess":
        first, second = (np.where(excess > NO_BARRIER, excess, 0.0) for excess in (first, second))
    result = compare(first, second)
    if claim == "not higher":
        result = against_margin(compare, first, second, both=False)
    here = None
    left = any(path["cut off"] and path["excess"] > NO_BARRIER for group in groups for path in group.values())
    if what == "excess" and not (first.any() or second.any()):
        here = "seen" if claim == "not higher" else "not seen"
    elif left and (what == "excess" or not _holds_at_least(result, groups)):
        here = "cannot be told"
    elif what == "height":
        here = imposed(result)
    return [_entry(says, claim, of, result, here)]


def _holds_at_least(result: Comparison, groups: list[Any]) -> bool:
    """Whether the means keep their order where paths that were cut off rise no more above their higher ends."""
    least = [
        float(np.mean([path["height"] - path["excess"] * path["cut off"] for path in group.values()]))
        for group in groups
    ]
    return least[0] > result.second if result.first > result.second else least[1] > result.first


def of_scan(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Whether heights depend on λ, of one pair, on which there is no test."""
    scans: dict[tuple[str, str], list[float]] = {}
    scanned = found.get("scan", ())
    for entry in scanned:
        scans.setdefault((entry["solver"], entry["optimizer"]), []).extend(entry["height"])
    entries = []
    for (solver, optimizer), heights in scans.items():
        lams = [e["lam"] for e in scanned if (e["solver"], e["optimizer"]) == (solver, optimizer) and e["height"]]
        if len(heights) > 1:
            says = f"heights do not depend on λ (Fig. 3), from {min(lams):.0e} to {max(lams):.0e}: a pair of "
            says += f"{_name(optimizer)}'s training weights; {found['searches'][solver]}"
            result = Comparison(max(heights), min(heights), 1.0, 1.0, (1,))
            entry = _entry(says, "the same", "highest, lowest height over λ", result)
            entries.append({**entry, "p": None, "least": None})
    return entries


def of_kernels(model: str, found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The statements on kernel PCA, and what they would be of our own narrower RBF."""
    entries = []
    for weights, kernels in found["kpca"].items():
        for kernel, result in kernels.items():
            if "separation" not in result or (weights == "test" and not kernel.endswith("rbf")):
                continue  # of other kernels the paper speaks on Fig. 6 only
            apart = kernel.endswith("rbf") and (weights == "train" or model in ("autoencoder", "lstm"))
            claim = "apart" if apart else "not apart"
            first = Separation(**result["separation"][0])
            n = [result["n_first"], result["n"] - result["n_first"]]
            here = verdict_apart(claim, first, min(n))
            if weights == "test" and not apart:
                before = found["kpca"]["train"][kernel].get("separation")
                if before is None or verdict_apart("apart", Separation(**before[0]), min(n)) != "seen":
                    here = "cannot be told"  # what was not there cannot disappear
            name = {"rbf": "RBF", "narrow-rbf": "beside the paper, RBF of 2σ² = N_prm / 64"}.get(kernel, kernel)
            entries.append(
                {
                    "says": f"kernel PCA, {name}, PC1 ({KPCA_FIGURES[weights]})",
                    "claim": claim,
                    "here": here,
                    "of": "area under the ROC curve, distance of the medians in standard deviations of the wider set",
                    "first": first.area,
                    "second": first.gap,
                    "p": first.p,
                    "least": first.least,
                    "n": n,
                }
            )
    return entries


def _name(optimizer: str) -> str:
    return "L-BFGS" if optimizer == "lbfgs-gss" else "SGD"


def _adjective(place: str) -> str:
    return "training" if place == "train" else place
