"""The paper's statements, each asked of a campaign's numbers: what it says, the verdict, and a test of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from ..analysis.permutation import (
    Comparison,
    Separation,
    compare_centroids,
    compare_distances,
    compare_runs,
    compare_same_runs,
)
from ..pairs.draw import disjoint
from .margin import COMPARABLE, against_margin
from .plan import OPTIMIZERS
from .verdicts import NO_BARRIER, SIGNIFICANT, STILL_FALLING, Verdict, verdict, verdict_apart

WEIGHTS = ("train", "test")
#: Figs. 6 and S4: L-BFGS-GSS's training weights, or its test weights, against SGD's test weights.
KPCA_FIGURES = {"train": "Fig. 6", "test": "Fig. S4"}
#: The sets of Figs. 4 and S2 as (weights, landscape).
SETS = (("train", "train"), ("test", "train"), ("test", "test"))
#: What is compared of paths: Eq. (5), the maximum over continuous t, and that above the higher endpoint.
OF_PATHS = ("height", "maximum", "barrier")
PLURAL = {"height": "heights", "maximum": "maxima", "barrier": "barriers"}
#: The topics of statements, in the order of the paper.
TOPICS = {
    "losses": "Losses",
    "paths": "Barriers",
    "scan": "Heights against λ, N_F and M",
    "vectors": "Components, lengths and directions",
    "kernels": "Kernel PCA",
    "curvature": "Sharpness",
    "averages": "Generalisation and averages",
}


def statements(model: str, found: Mapping[str, Any], sets: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The paper's statements on a network.

    Parameters
    ----------
    found
        Of :func:`minilandscape.paper.results.collect`, without them.
    sets
        The solutions of each optimiser.

    Returns
    -------
    list of dict
        ``topic``, one of :data:`TOPICS`; ``says``, the statement; ``claim``, what it says of this network; ``here``,
        the :class:`~minilandscape.paper.verdicts.Verdict`; ``of``, what the two numbers ``first`` and ``second``
        are; ``p``, ``least`` and ``n``. Where there is no test, p is None. Statements on paths also have ``search`` and
        ``what``. Those that answer the paper's main questions have a ``headline``.
    """
    seeds = {o: sets[o]["seeds"].tolist() for o in OPTIMIZERS}
    return [
        *of_runs(model, found, sets),
        *of_paths(model, found),
        *of_scan(found),
        *of_kernels(model, found),
        *of_curvature(found, seeds),
        *of_averages(model, found, seeds),
    ]


def _entry(
    topic: str,
    says: str,
    claim: str,
    of: str,
    result: Comparison,
    here: Verdict | None = None,
    headline: str | None = None,
) -> dict[str, Any]:
    here = verdict(claim, result) if here is None else here
    entry = {"topic": topic, "says": says, "claim": claim, "here": here, "of": of}
    return {**entry, **vars(result), "n": list(result.n), **({"headline": headline} if headline else {})}


def of_runs(model: str, found: Mapping[str, Any], sets: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The statements on losses, components, lengths, distances and directions."""
    a, b = sets["lbfgs-gss"], sets["sgd"]
    seeds = a["seeds"].tolist(), b["seeds"].tolist()
    compare = partial(compare_runs, seeds=seeds)
    both = "L-BFGS-GSS, SGD"
    losses = compare(a["train_loss"], b["train_loss"])
    here = _imposed(found, losses, "train")
    says = "L-BFGS-GSS's training losses are considerably lower (Table 1)"
    entries = [
        _entry("losses", says, "lower", both, losses, here, "L-BFGS-GSS reaches lower training losses (Table 1)")
    ]
    says = "test losses are comparable; in Table 1 the autoencoder's are lower with L-BFGS-GSS"
    headline = "early-stopping test losses are comparable (Table 1)"
    if model == "autoencoder":
        losses = compare(a["test_loss"], b["test_loss"])
        entries.append(_entry("losses", says, "lower", both, losses, _imposed(found, losses, "test"), headline))
    else:
        margin = against_margin(compare, a["test_loss"], b["test_loss"])
        entries.append(_entry("losses", says, "comparable", both, margin, headline=headline))
    rise, its = (np.log10(found["rise"][o]) for o in OPTIMIZERS)
    test = compare_same_runs(rise, np.full(len(rise), np.log10(COMPARABLE)))
    factors = Comparison(10 ** float(rise.mean()), 10 ** float(its.mean()), test.p, test.least, test.n)
    claim = "does not rise" if model == "autoencoder" else "rises"
    says = "L-BFGS-GSS's test curves rise sharply after their minima, except the autoencoder's (Figs. 2, S1)"
    headline = "L-BFGS-GSS's test loss rises after its minimum, except the autoencoder's (Figs. 2, S1)"
    entries.append(_entry("losses", says, claim, f"last test loss over the least: {both}", factors, headline=headline))
    for weights in WEIGHTS:
        sigmas = (found["sigma"][o][weights] for o in OPTIMIZERS)
        says = f"L-BFGS-GSS's components are more spread out (Table S1): {_adjective(weights)} weights"
        shown = "L-BFGS-GSS's weights are more spread out (Table S1)" if weights == "train" else None
        of = f"mean σ of a run: {both}"
        entries.append(_entry("vectors", says, "higher", of, compare(*sigmas), headline=shown))
    lengths = found["lengths"]
    longer = compare(lengths["train"]["lbfgs-gss"], lengths["train"]["sgd"])
    says, headline = (
        "L-BFGS-GSS's training vectors are longer (Fig. 5)",
        "L-BFGS-GSS's training weights are longer (Fig. 5)",
    )
    entries.append(_entry("vectors", says, "higher", f"length: {both}", longer, headline=headline))
    # SGD's vectors are the same in both figures: the gap changes by as much as L-BFGS-GSS's own lengths.
    gap, gap_of_tests = (np.array(lengths[w]["lbfgs-gss"]) - longer.second for w in WEIGHTS)
    says = "of test weights the gap is less for fcp and LeNet, nearly the same for autoencoder and LSTM (Fig. S3)"
    of = "gap of lengths: Fig. 5, Fig. S3"
    if model in ("fcp", "lenet"):
        entries.append(_entry("vectors", says, "less", of, compare_same_runs(gap, gap_of_tests)))
    else:
        margin = against_margin(compare_same_runs, gap, gap_of_tests)
        entries.append(_entry("vectors", says, "nearly the same", of, margin))
    for weights in WEIGHTS:
        says = f"L-BFGS-GSS's solutions are more distant from one another (Fig. 5): {_adjective(weights)} weights"
        of = "mean distance within the set: L-BFGS-GSS, SGD's test weights"
        distances = compare_distances(a[weights], b["test"], seeds)
        entries.append(_entry("vectors", says, "higher", of, distances))
    says = "the centroids are close to each other against the spread (Fig. 5)"
    of = "half the centroids' distance, mean distance from the own centroid"
    centroids = compare_centroids(a["test"], b["test"], seeds)
    entries.append(_entry("vectors", says, "close", of, centroids, headline="the centroids are close (Fig. 5)"))
    for o, w in itertools.product(OPTIMIZERS, WEIGHTS) if "directions" in found else ():
        direction = found["directions"][o][w]
        says = f"no preferred direction: {_name(o)}'s {_adjective(w)} weights"
        of = "first eigenvalue's part of the covariance: of the vectors, of random signs"
        result = Comparison(
            direction["part"], direction["random"], direction["p"], direction["least"], (direction["n"],)
        )
        entries.append(_entry("vectors", says, "no direction", of, result))
    return entries


def _imposed(found: Mapping[str, Any], result: Comparison, weights: str) -> Verdict | None:
    """By construction, where L-BFGS-GSS's number is significantly lower than any that SGD reaches at its target loss.

    Of test weights that holds where the test loss was still falling when the runs ended.
    """
    told = sum(reason == "loss floor" for reason in found["reasons"]["sgd"]) > len(found["reasons"]["sgd"]) / 2
    if weights == "test":
        minima, ends = (float(np.mean(found["epochs"]["sgd"][w])) for w in ("test", "train"))
        told = told and minima >= STILL_FALLING * ends
    lower = result.first < min(result.second, found["table1"]["sgd"]["train"]["mean"])
    return Verdict.BY_CONSTRUCTION if told and lower and result.p <= SIGNIFICANT else None


def of_paths(model: str, found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The statements on heights, maxima and barriers, by both searches."""
    sets = {(e["solver"], e["landscape"], e["optimizer"], e["weights"]): e for e in found["heights"]}
    entries = []
    for solver, what in itertools.product(dict.fromkeys(entry["solver"] for entry in found["heights"]), OF_PATHS):
        about = {"search": solver, "what": what}
        search = found["searches"][solver]
        claim = "not higher" if model == "autoencoder" else "higher"
        for weights, where in SETS:
            says = f"{PLURAL[what]} are lower for SGD, except the autoencoder's: {_adjective(weights)} weights on the "
            says += f"{_adjective(where)} landscape; {search}"
            groups = [_independent(sets.get((solver, where, o, weights))) for o in OPTIMIZERS]
            imposed = partial(_imposed, found, weights=weights)
            new = _compare_paths(says, claim, "L-BFGS-GSS, SGD", what, groups, compare_runs, imposed)
            headline = HEADLINES.get((solver, what, weights, where))
            if headline:
                about["headline"] = f"{headline}: {search}"
            entries += [{**e, **about} for e in new]
            about.pop("headline", None)
        claim = "higher" if model in ("fcp", "lstm") else "not higher"
        for o in OPTIMIZERS:
            says = (
                f"{_name(o)}'s {PLURAL[what]} are higher between training than between test weights for fcp and LSTM "
            )
            says += f"only; {search}"
            groups = [_independent(sets.get((solver, "train", o, w))) for w in WEIGHTS]
            common = sorted(set(groups[0]) & set(groups[1]))
            groups = [{pair: group[pair] for pair in common} for group in groups]
            new = _compare_paths(says, claim, "training, test weights", what, groups, compare_same_runs)
            entries += [{**e, **about} for e in new]
    return entries


#: The statements on paths that answer the paper's main question, by (search, what, weights, landscape).
HEADLINES = {
    (
        "adam",
        "height",
        "train",
        "train",
    ): "paths between SGD's training weights are lower, except the autoencoder's (Fig. 4)",
    (
        "adam",
        "height",
        "test",
        "test",
    ): "paths between SGD's early-stopping weights are lower on test data, except the autoencoder's (Fig. S2)",
    ("adam", "barrier", "train", "train"): "SGD's training weights have lower barriers, except the autoencoder's",
    ("still", "barrier", "train", "train"): "SGD's training weights have lower barriers, except the autoencoder's",
}


def _independent(entry: Mapping[str, Any] | None) -> dict[tuple[int, ...], dict[str, Any]]:
    """Of as many paths as possible that share no run, by pair: height, maximum, barrier, and whether the search was cut
    off."""
    if entry is None:
        return {}
    return {
        tuple(entry["pairs"][k]): {
            **{what: entry[what][k] for what in OF_PATHS},
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
    imposed: Callable[[Comparison], Verdict | None] = lambda result: None,
) -> list[dict[str, Any]]:
    """The entry of two groups of paths, none where there are too few."""
    if any(len(group) < 2 for group in groups):
        return []
    first, second = (np.array([path[what] for path in group.values()]) for group in groups)
    if what == "barrier":
        first, second = (np.where(barrier > NO_BARRIER, barrier, 0.0) for barrier in (first, second))
    result = compare(first, second)
    if claim == "not higher":
        result = against_margin(compare, first, second, both=False)
    here = None
    left = any(path["cut off"] and path["barrier"] > NO_BARRIER for group in groups for path in group.values())
    if what == "barrier" and not (first.any() or second.any()):
        here = Verdict.NO_BARRIER
    elif left and (what == "barrier" or not _holds_at_least(result, what, groups)):
        here = Verdict.INCONCLUSIVE
    elif what != "barrier":
        here = imposed(result)
    return [_entry("paths", says, claim, of, result, here)]


def _holds_at_least(result: Comparison, what: str, groups: list[Any]) -> bool:
    """Whether the means keep their order where paths that were cut off come down to their endpoints of higher loss."""
    least = [
        float(
            np.mean([path["maximum"] - path["barrier"] if path["cut off"] else path[what] for path in group.values()])
        )
        for group in groups
    ]
    return least[0] > result.second if result.first > result.second else least[1] > result.first


def of_scan(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Whether heights depend on λ, N_F or M, of one pair, on which there is no test."""
    return [*_of_lam(found), *_of_resolutions(found)]


#: What is varied, for people.
VARIED = {"n_terms": "N_F", "n_points": "M"}


def _of_resolutions(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    entries = []
    varied = [e for e in found.get("resolutions", ()) if e["height"]]
    for solver, optimizer, name in itertools.product(found["searches"], OPTIMIZERS, VARIED):
        of = [e for e in varied if (e["solver"], e["optimizer"]) == (solver, optimizer) and name in e]
        if len(of) > 1:
            numbers = [e[name] for e in of]
            says = f"maxima do not depend on {VARIED[name]}, from {min(numbers)} to {max(numbers)}: a pair of "
            says += f"{_name(optimizer)}'s training weights; {found['searches'][solver]}"
            maxima = [e["maximum"][0] for e in of]
            result = Comparison(max(maxima), min(maxima), 1.0, 1.0, (1,))
            what = f"highest, lowest maximum over {VARIED[name]}"
            entries.append({**_entry("scan", says, "the same", what, result), "p": None, "least": None})
    return entries


def _of_lam(found: Mapping[str, Any]) -> list[dict[str, Any]]:
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
            entry = _entry("scan", says, "the same", "highest, lowest height over λ", result)
            entries.append({**entry, "p": None, "least": None})
    return entries


def of_kernels(model: str, found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The statements on kernel PCA, and what they would be of our own narrower RBF; PC2 is told beside PC1."""
    entries = []
    for weights, kernels in found["kpca"].items():
        for kernel, result in kernels.items():
            if "separation" not in result or (weights == "test" and not kernel.endswith("rbf")):
                continue  # of other kernels the paper speaks on Fig. 6 only
            n = [result["n_first"], result["n"] - result["n_first"]]
            name = {"rbf": "RBF", "narrow-rbf": "beside the paper, RBF of 2σ² = N_prm / 64"}.get(kernel, kernel)
            for k, separation in enumerate(result["separation"]):
                claim = _kernel_claim(model, kernel, weights, k)
                component = Separation(**separation)
                here = verdict_apart(claim, component, min(n))
                if weights == "test" and claim == "not apart" and k == 0:
                    before = found["kpca"]["train"][kernel].get("separation")
                    was = before is not None and verdict_apart("apart", Separation(**before[0]), min(n))
                    if was is not Verdict.REPRODUCED:
                        here = Verdict.INCONCLUSIVE  # what was not there cannot disappear
                entries.append(
                    {
                        "topic": "kernels",
                        "says": f"kernel PCA, {name}, PC{k + 1} ({KPCA_FIGURES[weights]})",
                        "claim": claim,
                        "here": here,
                        "of": OF_SEPARATION,
                        "first": component.area,
                        "second": component.gap,
                        "p": component.p,
                        "least": component.least,
                        "n": n,
                    }
                )
                if (headline := KERNEL_HEADLINES.get((kernel, weights, k))) is not None:
                    entries[-1]["headline"] = headline
    return entries


OF_SEPARATION = "area under the ROC curve, distance of the medians in standard deviations of the wider set"
KERNEL_HEADLINES = {
    ("rbf", "train", 0): "kernel PCA (RBF) separates the optimisers along PC1 (Fig. 6)",
    ("rbf", "test", 0): "… of early-stopping weights, the autoencoder's and the LSTM's alone (Fig. S4)",
}


#: Forms of the Hessian, for people.
FORMS = {"plain": "Hessian", "scaled": "scale-free Hessian, diag|ω| H diag|ω|"}


def of_curvature(found: Mapping[str, Any], seeds: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The headline of the paper: whether L-BFGS-GSS's minima are sharper, by largest eigenvalue and by trace."""
    by = {(e["optimizer"], e["weights"], e["landscape"], e["form"]): e for e in found.get("curvature", ())}
    entries = []
    for weights, where, form, what in itertools.product(WEIGHTS, ("train", "test"), FORMS, ("highest", "trace")):
        both = [by.get((o, weights, where, form)) for o in OPTIMIZERS]
        if any(entry is None or len(entry[what]) < 2 for entry in both):
            continue
        a, b = (entry[what] for entry in both if entry is not None)
        of_seeds = [[seeds[e["optimizer"]][k] for k in e["places"]] for e in both if e is not None]
        result = compare_runs(a, b, (of_seeds[0], of_seeds[1]))
        whole = what == "trace" or all(all(e["converged"]) for e in both if e is not None)
        name = "largest eigenvalue" if what == "highest" else "trace"
        says = (
            f"L-BFGS-GSS's minima are sharper: {_adjective(weights)} weights, {_adjective(where)} loss, {name} of the "
        )
        says += FORMS[form]
        headline = SHARP.get((weights, where, form, what))
        here = None if whole else Verdict.INCONCLUSIVE
        entries.append(_entry("curvature", says, "higher", f"{name}: L-BFGS-GSS, SGD", result, here, headline))
    return entries


#: The statements on curvature that answer the paper's main question, by (weights, landscape, form, what).
SHARP = {
    ("train", "train", "plain", "highest"): "L-BFGS-GSS's training weights are sharper: largest Hessian eigenvalue",
    ("test", "train", "plain", "highest"): "… and its early-stopping weights",
}


def of_averages(model: str, found: Mapping[str, Any], seeds: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Whether SGD's weights generalise better, and whether averages of them lose less."""
    measured = found.get("averages", {})
    entries = []
    both = "L-BFGS-GSS, SGD"
    for weights in WEIGHTS:
        groups = [measured.get(o, {}).get(weights) for o in OPTIMIZERS]
        if any(group is None for group in groups):
            continue
        a, b = groups
        if weights == "train":
            for what, claim in (("loss", "higher"), ("accuracy", "lower")):
                numbers = [np.array(group[f"test_vectors_{what}"], dtype=np.float64) for group in (a, b)]
                if np.isnan(numbers).any():  # the autoencoder has no accuracy
                    continue
                claim = "not higher" if model == "autoencoder" else claim
                compare = partial(compare_runs, seeds=(seeds["lbfgs-gss"], seeds["sgd"]))
                first, second = numbers
                result = compare(first, second)
                if claim == "not higher":
                    result = against_margin(compare, first, second, both=False)
                says = "SGD's training weights generalise better, except the autoencoder's: "
                says += f"test {what} of training weights"
                headline = "SGD's training weights generalise better, except the autoencoder's: test loss"
                shown = headline if what == "loss" else None
                entries.append(_entry("averages", says, claim, f"{what}: {both}", result, headline=shown))
        for where in ("train", "test"):
            losses = []
            for group in (a, b):
                ends = np.array(group[f"{where}_vectors_loss"])
                pairs = np.array(group["pairs"]).reshape(-1, 2)
                rise = np.array(group[f"{where}_midpoints_loss"]) - ends[pairs].max(axis=1)
                losses.append(rise[disjoint(pairs.tolist())])
            if min(map(len, losses)) > 1:
                says = f"averages of two of SGD's vectors lose less: {_adjective(weights)} weights, "
                says += f"{_adjective(where)} loss of the midpoint above the endpoint of higher loss"
                entries.append(
                    _entry("averages", says, "higher", f"rise at the midpoint: {both}", compare_runs(*losses))
                )
    return entries


def _kernel_claim(model: str, kernel: str, weights: str, component: int) -> str:
    """What the paper says of a component: the RBF kernel separates along the first, other kernels do not."""
    apart = component == 0 and kernel.endswith("rbf") and (weights == "train" or model in ("autoencoder", "lstm"))
    return "apart" if apart else "not apart"


def _name(optimizer: str) -> str:
    return "L-BFGS-GSS" if optimizer == "lbfgs-gss" else "SGD"


def _adjective(place: str) -> str:
    return "training" if place == "train" else place
