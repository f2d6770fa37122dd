"""The paper's statements, each asked of a campaign's numbers: what it says, what is seen, and a test of it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np
from scipy.stats import mannwhitneyu

from .plan import OPTIMIZERS

WEIGHTS = ("train", "test")
#: Figs. 6 and S4: L-BFGS-GSS's training weights, or its test weights, against SGD's test weights.
KPCA_FIGURES = {"train": "Fig. 6", "test": "Fig. S4"}
KERNEL_NAMES = {"rbf": "RBF", "narrow-rbf": "RBF, narrower than the paper's"}
#: The sets of Figs. 4 and S2 as (weights, landscape).
SETS = (("train", "train"), ("test", "train"), ("test", "test"))

#: A difference whose p is no larger is called one.
SIGNIFICANT = 0.05
#: Numbers agree if neither is larger than the other by more than this factor: Table 1's test losses, which the paper
#: calls comparable, differ by up to 1.21.
COMPARABLE = 1.25
#: Centroids are close if their distance is no more than this part of the vectors' own from their centroid.
CLOSE = 0.5
#: A path that rises no more above its higher end crosses no barrier; λ's price of length alone comes to some 1e-6.
NO_BARRIER = 1e-5
#: Two sets are apart where their separation along a component reaches this; 0.5 is none at all, 1 all of it.
APART = 0.9
#: Kernel PCA of fewer vectors than half of the paper's 48 a set is another experiment: what it misses tells nothing.
ENOUGH = 24
#: Permutations that are tried where there are too many to try all.
PERMUTATIONS = 20_000

#: How verdicts come about, for people.
RULES = (
    f"A difference counts from p = {SIGNIFICANT:g} down; one that is not clear tells nothing. Tests are two-sided and "
    "permute what is independent: runs; paths that share no run; and, of two quantities of the same runs or of paths "
    "between the same runs, signs. The least p is the smallest that so few of them allow. "
    f"By size: within a factor of {COMPARABLE:g} numbers are comparable, nearly the same, or not higher; "
    f"a rise above the higher end of no more than {NO_BARRIER:g} is no barrier; "
    f"centroids are close at {CLOSE:g} of the vectors' distance from their own; "
    f"there is no preferred direction where the first eigenvalue of the covariance is within a factor of "
    f"{COMPARABLE:g} of what random signs of all entries about the centroid leave. "
    f"Sets are apart where a threshold on PC1 tells them apart with an area under the ROC curve of at least {APART:g}, "
    f"clearly; that they are not is said from {ENOUGH} vectors a set on, half of the paper's. "
    "Losses that both optimisers were told to end at are imposed."
)


@dataclass(frozen=True)
class Comparison:
    """Whether one group lies above another.

    Attributes
    ----------
    first, second
        The groups' means; NaN where a run diverged, p being 1 then.
    p
        Two-sided, of a permutation; ``least`` is the smallest that so few allow.
    n
        How many there are in each group.
    """

    first: float
    second: float
    p: float
    least: float
    n: tuple[int, int]

    @property
    def difference(self) -> float:
        """First less second."""
        return self.first - self.second


def compare_runs(a: Any, b: Any) -> Comparison:
    """Permutes independent numbers between two groups; all ways where there are few enough, else random ones."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    pooled, n = np.concatenate([a, b]), len(a)
    if not np.isfinite(pooled).all():
        return _diverged(n, len(b))
    chosen, least = _ways(n, len(b))
    centred = pooled - pooled.mean()  # else the rounding of large numbers would decide between small differences
    of_a = centred[chosen].sum(axis=1)
    differences = of_a / n - (centred.sum() - of_a) / len(b)
    return Comparison(float(a.mean()), float(b.mean()), _p(np.abs(differences)), least, (n, len(b)))


def compare_same_runs(a: Any, b: Any) -> Comparison:
    """Flips the signs of differences within runs: two quantities of the same runs."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    n = len(a)
    if not np.isfinite([a, b]).all():
        return _diverged(n, n)
    if 2**n <= PERMUTATIONS:
        signs = np.array(list(itertools.product((1, -1), repeat=n)))
        least = 2 / 2**n
    else:
        signs = np.random.default_rng(0).choice((1, -1), (PERMUTATIONS, n))
        signs = np.concatenate([np.ones((1, n), dtype=int), signs])
        least = 1 / len(signs)
    return Comparison(float(a.mean()), float(b.mean()), _p(np.abs((signs * (a - b)).mean(axis=1))), least, (n, n))


def compare_centroids(a: np.ndarray, b: np.ndarray) -> Comparison:
    """Half the distance of two sets' centroids against the mean distance of the vectors from their own centroid.

    The test permutes the vectors: p is small where centroids of random groups of them do not lie as far apart.
    """
    n, both = len(a), np.concatenate([a, b]).astype(np.float64)
    if not np.isfinite(both).all():
        return _diverged(n, len(b))
    chosen, least = _ways(n, len(b))
    z = np.full((len(chosen), len(both)), -1 / len(b))
    np.put_along_axis(z, chosen, 1 / n, axis=1)
    centred = both - both.mean(axis=0)
    squares = ((z @ (centred @ centred.T)) * z).sum(axis=1)
    own = np.concatenate([np.linalg.norm(s - s.mean(axis=0, dtype=np.float64), axis=1) for s in (a, b)])
    half = 0.5 * float(np.sqrt(max(squares[0], 0.0)))
    return Comparison(half, float(own.mean()), _p(squares), least, (n, len(b)))


def _diverged(n: int, m: int) -> Comparison:
    return Comparison(float("nan"), float("nan"), 1.0, float("nan"), (n, m))


def _ways(n: int, m: int) -> tuple[np.ndarray, float]:
    """(ways, n): which of n + m are in the first group, as observed first; and the least p."""
    ways = comb(n + m, n)
    if ways <= PERMUTATIONS:
        return np.array(list(itertools.combinations(range(n + m), n))), (2 if n == m else 1) / ways
    rng = np.random.default_rng(0)
    chosen = np.array([rng.permutation(n + m)[:n] for _ in range(PERMUTATIONS)])
    return np.concatenate([np.arange(n)[None], chosen]), 1 / (PERMUTATIONS + 1)


def _p(statistics: np.ndarray) -> float:
    """The part that is as extreme as the first, which rounding must not make less than itself."""
    return float((statistics >= statistics[0] * (1 - 1e-9)).mean())


def disjoint(pairs: Sequence[Sequence[int]]) -> list[int]:
    """Places of pairs that share no run with an earlier one: the paths that are independent of each other."""
    used: set[int] = set()
    places = []
    for k, pair in enumerate(pairs):
        if not used.intersection(pair):
            used.update(pair)
            places.append(k)
    return places


@dataclass(frozen=True)
class Separation:
    """How well a threshold tells two groups apart.

    Attributes
    ----------
    area
        The larger area under the ROC curve, from 0.5 to 1.
    p
        Two-sided, of a permutation of the vectors (Mann–Whitney); ``least`` is the smallest that so few allow.
    """

    area: float
    p: float
    least: float


def separation(a: np.ndarray, b: np.ndarray) -> Separation:
    """How well a threshold tells a from b."""
    n, m = len(a), len(b)
    tied = len(np.unique(np.concatenate([a, b]))) < n + m
    test = mannwhitneyu(a, b, method="asymptotic" if tied else "exact")
    area = float(test.statistic) / (n * m)
    return Separation(max(area, 1 - area), float(test.pvalue), 2 / comb(n + m, n))


def verdict(claim: str, found: Comparison) -> str:
    """Of a statement: "seen", "not seen" or "cannot be told".

    Parameters
    ----------
    claim
        What the paper says of the first number against the second: "higher", "lower", "not higher", "comparable",
        "nearly the same", "less" (of the second against the first), "close" or "no direction".
    """
    first, second = found.first, found.second
    if not np.isfinite([first, second]).all():  # a run that diverged
        return "cannot be told"
    low, high = sorted((abs(first), abs(second)))
    if claim == "close":
        return "seen" if first <= CLOSE * second else "not seen"
    if claim in ("comparable", "nearly the same") and high <= COMPARABLE * low:
        return "seen"
    if claim == "no direction" and first <= COMPARABLE * second:
        return "seen"
    if found.p > SIGNIFICANT:
        return "seen" if claim == "not higher" and 0 < first <= COMPARABLE * second else "cannot be told"
    holds = {"higher": first > second, "lower": first < second, "not higher": first < second, "less": second < first}
    return "seen" if holds.get(claim, False) else "not seen"


def verdict_apart(claim: str, found: Separation, n: int) -> str:
    """Of "apart" or "not apart", with n vectors in the smaller set."""
    if found.area >= APART and found.p <= SIGNIFICANT:
        return "seen" if claim == "apart" else "not seen"
    if n < ENOUGH:
        return "cannot be told"
    if claim == "apart":
        return "not seen"
    return "seen" if found.p > SIGNIFICANT else "cannot be told"


def says_apart(model: str, weights: str, kernel: str) -> str:
    """Whether the paper sees L-BFGS and SGD vectors "apart" along PC1 or "not apart" (Figs. 6, S4).

    Of our own narrower RBF it says nothing; it is asked what the paper says of its RBF.
    """
    seen = kernel.endswith("rbf") and (weights == "train" or model in ("autoencoder", "lstm"))
    return "apart" if seen else "not apart"


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
        numbers ``first`` and ``second`` are; ``p``, ``least`` and ``n``.
    """
    return [*of_runs(model, found, sets), *of_paths(model, found), *of_kernels(model, found)]


def _entry(says: str, claim: str, of: str, result: Comparison, here: str | None = None) -> dict[str, Any]:
    here = verdict(claim, result) if here is None else here
    return {"says": says, "claim": claim, "here": here, "of": of, **vars(result), "n": list(result.n)}


def of_runs(model: str, found: Mapping[str, Any], sets: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The statements on losses, components, lengths and directions."""
    a, b = sets["lbfgs-gss"], sets["sgd"]
    both = "L-BFGS-GSS, SGD"
    imposed = all(reason == "loss floor" for o in OPTIMIZERS for reason in found["reasons"][o])
    entries = [
        _entry(
            "L-BFGS's training losses are considerably lower (Table 1)",
            "lower",
            both,
            compare_runs(a["train_loss"], b["train_loss"]),
            "imposed" if imposed else None,
        ),
        _entry(
            "test losses are comparable, but the autoencoder's in Table 1",
            "lower" if model == "autoencoder" else "comparable",
            both,
            compare_runs(a["test_loss"], b["test_loss"]),
        ),
    ]
    logs = compare_runs(*(np.log10(found["rise"][o]) for o in OPTIMIZERS))
    factors = Comparison(10**logs.first, 10**logs.second, logs.p, logs.least, logs.n)
    claim = "comparable" if model == "autoencoder" else "higher"
    says = "L-BFGS's test curves rise sharply after their minima, but the autoencoder's (Figs. 2, S1)"
    entries.append(_entry(says, claim, f"last test loss over the least: {both}", factors))
    for weights in WEIGHTS:
        sigmas = (found["sigma"][o][weights] for o in OPTIMIZERS)
        says = f"L-BFGS's components are more spread out (Table S1): {_adjective(weights)} weights"
        entries.append(_entry(says, "higher", f"σ: {both}", compare_runs(*sigmas)))
    lengths = found["lengths"]
    longer = compare_runs(lengths["train"]["lbfgs-gss"], lengths["train"]["sgd"])
    entries.append(_entry("L-BFGS's training vectors are longer (Fig. 5)", "higher", f"length: {both}", longer))
    # SGD's vectors are the same in both figures: the gap changes by as much as L-BFGS's own lengths.
    change = compare_same_runs(*(lengths[w]["lbfgs-gss"] for w in WEIGHTS))
    gaps = (change.first - longer.second, change.second - longer.second)
    says = "of test weights the gap is less for fcp and LeNet, nearly the same for autoencoder and LSTM (Fig. S3)"
    claim = "less" if model in ("fcp", "lenet") else "nearly the same"
    of = "gap of lengths: Fig. 5, Fig. S3"
    entries.append(_entry(says, claim, of, Comparison(*gaps, change.p, change.least, change.n)))
    says = "the centroids are close to each other against the spread (Fig. 5)"
    of = "half the centroids' distance, mean distance from the own centroid"
    entries.append(_entry(says, "close", of, compare_centroids(a["test"], b["test"])))
    for o, w in itertools.product(OPTIMIZERS, WEIGHTS) if "directions" in found else ():
        direction = found["directions"][o][w]
        name = "L-BFGS's" if o == "lbfgs-gss" else "SGD's"
        says = f"no preferred direction: {name} {_adjective(w)} weights"
        of = "first eigenvalue's part of the covariance: of the vectors, of random signs"
        n = (direction["n"], direction["n"])
        result = Comparison(direction["part"], direction["random"], direction["p"], direction["least"], n)
        entries.append(_entry(says, "no direction", of, result))
    return entries


def of_paths(model: str, found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The statements on barriers, of heights and of rises above the higher end, by both searches."""
    by_set = {(e["solver"], e["landscape"], e["optimizer"], e["weights"]): e for e in found["heights"]}
    entries = []
    for solver in dict.fromkeys(entry["solver"] for entry in found["heights"]):
        for what in ("height", "excess"):
            search = f"{what}, {found['searches'][solver]}"
            claim = "not higher" if model == "autoencoder" else "higher"
            for weights, where in SETS:
                says = f"barriers are lower for SGD, but the autoencoder's: {_adjective(weights)} weights on the "
                says += f"{_adjective(where)} landscape; {search}"
                groups = [_independent(by_set.get((solver, where, o, weights)), what) for o in OPTIMIZERS]
                entries += _compare_paths(says, claim, "L-BFGS-GSS, SGD", (what, solver), groups, compare_runs)
            claim = "higher" if model in ("fcp", "lstm") else "not higher"
            for o, name in zip(OPTIMIZERS, ("L-BFGS", "SGD"), strict=True):
                says = (
                    f"{name}'s barriers are higher between training than between test weights for fcp and LSTM only; "
                )
                says += search
                groups = [_independent(by_set.get((solver, "train", o, w)), what) for w in WEIGHTS]
                common = sorted(set(groups[0]) & set(groups[1]))
                groups = [{pair: group[pair] for pair in common} for group in groups]
                entries += _compare_paths(
                    says, claim, "training, test weights", (what, solver), groups, compare_same_runs
                )
    return entries


def _independent(entry: Mapping[str, Any] | None, what: str) -> dict[tuple[int, ...], tuple[float, bool]]:
    """Of the paths that share no run: the number, and whether the search came to its end, by pair."""
    if entry is None:
        return {}
    return {tuple(entry["pairs"][k]): (entry[what][k], entry["still"][k]) for k in disjoint(entry["pairs"])}


def _compare_paths(
    says: str, claim: str, of: str, asked: tuple[str, str], groups: Any, compare: Any
) -> list[dict[str, Any]]:
    what, solver = asked
    if any(len(group) < 2 for group in groups):
        return []
    numbers = [np.array([number for number, _ in group.values()]) for group in groups]
    if what == "height":
        return [_entry(says, claim, of, compare(*numbers))]
    barriers = [np.where(excess > NO_BARRIER, excess, 0.0) for excess in numbers]
    result = compare(*barriers)
    here = None
    if not any(barrier.any() for barrier in barriers):
        here = "seen" if claim == "not higher" else "not seen"
    elif solver == "still" and any(
        not still and number > NO_BARRIER for group in groups for number, still in group.values()
    ):
        here = "cannot be told"
    return [_entry(says, claim, of, result, here)]


def of_kernels(model: str, found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The statements on kernel PCA."""
    entries = []
    for weights, kernels in found["kpca"].items():
        for kernel, result in kernels.items():
            if "separation" in result:
                claim = says_apart(model, weights, kernel)
                first = Separation(**result["separation"][0])
                n = [result["n_first"], result["n"] - result["n_first"]]
                entries.append(
                    {
                        "says": f"kernel PCA, {KERNEL_NAMES.get(kernel, kernel)}, PC1 ({KPCA_FIGURES[weights]})",
                        "claim": claim,
                        "here": verdict_apart(claim, first, min(n)),
                        "of": "area under the ROC curve: PC1, PC2",
                        "first": first.area,
                        "second": result["separation"][1]["area"],
                        "p": first.p,
                        "least": first.least,
                        "n": n,
                    }
                )
    return entries


def _adjective(place: str) -> str:
    return "training" if place == "train" else place
