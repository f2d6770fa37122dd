"""The results of the paper's campaign: tables, heights, lengths and projections, as plain numbers; its statements."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np

from ..analysis.kpca import kernel_pca
from ..analysis.statistics import compare_sets, component_statistics, shell_lengths
from .plan import OPTIMIZERS, OTHER_FLOORS, SCAN, NetworkTasks, Plan
from .store import Store
from .task import Task

#: Table 1: mean training loss of the train weights, and test loss of the test weights.
TABLE_1 = {
    "fcp": {"lbfgs-gss": (1.26e-08, 9.69e-02), "sgd": (6.21e-04, 8.25e-02)},
    "lenet": {"lbfgs-gss": (3.35e-08, 4.17e-02), "sgd": (1.76e-05, 3.89e-02)},
    "autoencoder": {"lbfgs-gss": (1.69e-02, 1.65e-02), "sgd": (4.57e-02, 4.52e-02)},
    "lstm": {"lbfgs-gss": (1.63e-06, 1.55e-01), "sgd": (1.35e-02, 1.28e-01)},
}
#: Table S1: μ and σ of the components of the train, and of the test weights.
TABLE_S1 = {
    "fcp": {
        "sgd": ((-1.44e-03, 1.39e-01), (-3.17e-03, 1.03e-01)),
        "lbfgs-gss": ((-2.47e-03, 2.34e-01), (-4.11e-03, 1.22e-01)),
    },
    "lenet": {
        "sgd": ((-3.57e-03, 8.77e-02), (-2.83e-03, 7.06e-02)),
        "lbfgs-gss": ((1.04e-03, 1.08e-01), (2.33e-04, 8.00e-02)),
    },
    "autoencoder": {
        "sgd": ((-7.06e-03, 8.54e-02), (-7.07e-03, 8.54e-02)),
        "lbfgs-gss": ((-3.65e-02, 1.60e-01), (-3.65e-02, 1.61e-01)),
    },
    "lstm": {
        "sgd": ((1.35e-02, 3.24e-01), (1.16e-02, 2.59e-01)),
        "lbfgs-gss": ((1.06e-02, 7.33e-01), (2.92e-03, 4.76e-01)),
    },
}
#: The paper's kernels, and its RBF with 2σ² = N_prm / 64 in place of N_prm: between a few vectors N_prm is so wide that
#: the kernel is nearly linear.
KERNELS = ("rbf", "narrow-rbf", "linear", "polynomial", "sigmoid")
NARROWER = 64
WEIGHTS = ("train", "test")
#: Permutations that are tried where there are too many to try all.
PERMUTATIONS = 20_000


#: A difference whose p is no larger is called one.
SIGNIFICANT = 0.05
#: A difference is much smaller than another if it is no more than this part of it.
MUCH_SMALLER = 0.25
#: Two sets are apart where their separation along a component reaches this; 0.5 is none at all, 1 all of it.
APART = 0.9


def expected(model: str, test: str) -> str | None:
    """What the paper says of a difference; None if nothing.

    "higher", "lower", "about equal", "not higher", or "much smaller" than in the test before.
    """
    if test.startswith("train loss"):
        return "lower"
    if test.startswith("test loss"):  # "comparable", but not the autoencoder's in Table 1
        return "lower" if model == "autoencoder" else "about equal"
    if test.startswith("rise"):
        return "about equal" if model == "autoencoder" else "higher"
    if test.startswith("length"):
        return "much smaller" if "S3" in test and model in ("fcp", "lenet") else "higher"
    if "L-BFGS less SGD" in test:
        return "not higher" if model == "autoencoder" else "higher"
    if "train less test" in test:
        return "higher" if model in ("fcp", "lstm") else "not higher"
    return None


def expected_apart(model: str, weights: str, kernel: str) -> bool:
    """Whether the paper sees L-BFGS and SGD vectors apart along PC1 (Figs. 6, S4)."""
    return kernel.endswith("rbf") and (weights == "train" or model in ("autoencoder", "lstm"))


def verdict(test: Mapping[str, Any], paper: str | None, before: Mapping[str, Any] | None = None) -> str:
    """Of a statement: "seen", "not seen", "cannot be told", or "" where the paper says nothing.

    Parameters
    ----------
    test
        ``difference`` and ``p`` of a comparison.
    paper
        Of :func:`expected`.
    before
        The test that the difference should be much smaller than.
    """
    if paper is None:
        return ""
    if paper == "much smaller" and np.isfinite(test["difference"]):
        assert before is not None
        return "seen" if abs(test["difference"]) <= MUCH_SMALLER * abs(before["difference"]) else "not seen"
    difference, clear = test["difference"], test["p"] <= SIGNIFICANT
    if not np.isfinite(difference):  # a run that diverged
        return "cannot be told"
    if paper in ("higher", "lower"):
        if not clear:
            return "not seen" if difference == 0 else "cannot be told"
        return "seen" if (difference > 0) == (paper == "higher") else "not seen"
    return "not seen" if clear and (paper == "about equal" or difference > 0) else "seen"


@dataclass(frozen=True)
class Comparison:
    """Whether one group of runs lies above another.

    Attributes
    ----------
    difference
        Of the means, first less second; NaN where a run diverged, p being 1 then.
    p
        Two-sided, of a permutation of the runs; ``least`` is the smallest that so few runs allow.
    n
        Runs in each group.
    """

    difference: float
    p: float
    least: float
    n: tuple[int, int]

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return {"difference": self.difference, "p": self.p, "least": self.least, "n": list(self.n)}


def compare_runs(a: Any, b: Any) -> Comparison:
    """Permutes independent runs between two groups; all ways where there are few enough, else random ones."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    pooled, n = np.concatenate([a, b]), len(a)
    if not np.isfinite(pooled).all():
        return Comparison(float("nan"), 1.0, float("nan"), (n, len(b)))
    ways = comb(len(pooled), n)
    observed = a.mean() - b.mean()
    if ways <= PERMUTATIONS:
        chosen = np.array(list(itertools.combinations(range(len(pooled)), n)))
        least = 2 / ways if len(a) == len(b) else 1 / ways
    else:
        rng = np.random.default_rng(0)
        chosen = np.array([rng.permutation(len(pooled))[:n] for _ in range(PERMUTATIONS)])
        chosen = np.concatenate([np.arange(n)[None], chosen])
        least = 1 / len(chosen)
    of_a = pooled[chosen].sum(axis=1)
    differences = of_a / n - (pooled.sum() - of_a) / len(b)
    # Rounding must not let the observed arrangement count as less than itself.
    extreme = np.abs(differences) >= abs(observed) * (1 - 1e-9)
    return Comparison(float(observed), float(extreme.mean()), least, (n, len(b)))


def compare_same_runs(a: Any, b: Any) -> Comparison:
    """Flips the signs of differences within runs: two quantities of the same runs."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    n = len(a)
    if not np.isfinite([a, b]).all():
        return Comparison(float("nan"), 1.0, float("nan"), (n, n))
    d = a - b
    if 2**n <= PERMUTATIONS:
        signs = np.array(list(itertools.product((1, -1), repeat=n)))
        least = 2 / 2**n
    else:
        signs = np.random.default_rng(0).choice((1, -1), (PERMUTATIONS, n))
        signs = np.concatenate([np.ones((1, n), dtype=int), signs])
        least = 1 / len(signs)
    means = (signs * d).mean(axis=1)
    extreme = np.abs(means) >= abs(d.mean()) * (1 - 1e-9)
    return Comparison(float(d.mean()), float(extreme.mean()), least, (n, n))


def heights_by_run(pairs: list[list[int]], heights: Any, n: int) -> np.ndarray:
    """(n,): the mean height of the paths that end at each run; NaN where none does.

    Pairs share runs, so their heights are not independent. The runs are; each stands with the mean over its pairs.
    """
    sums, counts = np.zeros(n), np.zeros(n)
    for pair, height in zip(pairs, heights, strict=True):
        for k in pair:
            sums[k] += height
            counts[k] += 1
    return np.divide(sums, counts, out=np.full(n, np.nan), where=counts > 0)


def separation(x: np.ndarray, is_first: np.ndarray) -> float:
    """How well a threshold on x tells two groups apart: the larger area under the ROC curve, from 0.5 to 1."""
    below = (x[is_first][:, None] < x[~is_first][None]).mean()
    equal = (x[is_first][:, None] == x[~is_first][None]).mean()
    area = below + 0.5 * equal
    return float(max(area, 1 - area))


def collect(plan: Plan, store: Store) -> dict[str, Any]:
    """Everything that the report shows, as JSON; what is not finished is left out.

    Returns
    -------
    dict
        ``plan``, and by network: ``table1``, ``tableS1``, ``curves``, ``lengths``, ``kpca``, ``angles``, ``heights``,
        ``scan``, ``floors``, ``statements``.
    """
    networks = {}
    for model in plan.networks:
        if (found := _network(plan.network_tasks(model), store)) is not None:
            networks[model] = found
    return {"plan": plan.facts(), "networks": networks}


def _network(tasks: NetworkTasks, store: Store) -> dict[str, Any] | None:
    sets: dict[str, dict[str, np.ndarray]] = {}
    reasons: dict[str, list[str]] = {}
    for optimizer in OPTIMIZERS:
        result = store.read(tasks.set_of(optimizer))
        if result is None:
            return None
        sets[optimizer], reasons[optimizer] = result[0], result[1]["reasons"]
    found: dict[str, Any] = {
        "kept": tasks.network.kept,
        "reasons": reasons,
        "table1": {o: {w: _mean(sets[o][f"{w}_loss"]) for w in WEIGHTS} for o in OPTIMIZERS},
        "tableS1": {o: {w: vars(component_statistics(sets[o][w])) for w in WEIGHTS} for o in OPTIMIZERS},
        "curves": {o: _curves(tasks, store, o, sets[o]) for o in OPTIMIZERS},
        "rise": {o: (sets[o]["test_last"] / sets[o]["test_loss"]).tolist() for o in OPTIMIZERS},
        "lengths": {w: _lengths(sets, w) for w in WEIGHTS},
        "kpca": {w: {kernel: _projections(sets, w, kernel) for kernel in KERNELS} for w in WEIGHTS},
        "angles": {w: _angles(sets, w) for w in WEIGHTS},
        "heights": [
            {"landscape": where, "optimizer": o, "weights": w, "solver": solver, **_heights(paths, store)}
            for solver in tasks.solvers
            for where, o, w in tasks.sets
            if (paths := tasks.paths(where, o, w, solver))
        ],
    }
    if tasks.network.scans:
        found["scan"] = [
            {"optimizer": o, "lam": lam, **_heights([tasks.scan(o, lam)], store)} for o in OPTIMIZERS for lam in SCAN
        ]
        found["floors"] = _floors(tasks, store, sets["lbfgs-gss"])
    found["statements"] = _statements(tasks.model, found, sets)
    return found


def _mean(values: np.ndarray) -> dict[str, Any]:
    spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return {"mean": float(values.mean()), "sd": spread, "n": len(values), "all": values.tolist()}


def _curves(tasks: NetworkTasks, store: Store, optimizer: str, kept: dict[str, np.ndarray]) -> dict[str, Any]:
    """The curves of the best run, thinned to what a figure shows."""
    best = store.read(tasks.runs(optimizer)[int(kept["seeds"][0])])
    if best is None:
        return {}
    arrays, facts = best
    epochs = np.unique(np.linspace(0, len(arrays["train_loss"]) - 1, 600).astype(int))
    curves = {f"{w}_loss": arrays[f"{w}_loss"][epochs].tolist() for w in WEIGHTS}
    return {"epochs": epochs.tolist(), **curves, **{f"{w}_minimum": facts[f"{w}_minimum"] for w in WEIGHTS}}


def _lengths(sets: Any, weights: str) -> dict[str, Any]:
    """Fig. 5 for ``"train"`` (L-BFGS training against SGD test weights), Fig. S3 for ``"test"``."""
    a, b = sets["lbfgs-gss"], sets["sgd"]
    centroids = {"centroid_a": a["test"].mean(axis=0), "centroid_b": b["test"].mean(axis=0)}
    result = shell_lengths(a[weights], b["test"], **centroids)
    both = np.concatenate([a["test"], b["test"]]).astype(np.float64)
    spectrum = np.linalg.eigvalsh(_gram(both))[::-1]
    return {
        "lbfgs-gss": result.lengths_a.tolist(),
        "sgd": result.lengths_b.tolist(),
        "centroid_distance": result.centroid_distance,
        "covariance_spectrum": (spectrum[:-1] / spectrum.sum()).tolist(),
    }


def _gram(vectors: np.ndarray) -> np.ndarray:
    """Its eigenvalues are those of the covariance, but for a factor."""
    centred = vectors - vectors.mean(axis=0)
    gram: np.ndarray = centred @ centred.T
    return gram


def _projections(sets: Any, weights: str, kernel: str) -> dict[str, Any]:
    """Fig. 6 for ``"train"``, Fig. S4 for ``"test"``: L-BFGS-GSS first, then SGD."""
    a, b = sets["lbfgs-gss"][weights], sets["sgd"]["test"]
    points = np.concatenate([a, b])
    gamma = NARROWER / points.shape[1] if kernel == "narrow-rbf" else None
    try:
        result = kernel_pca(points, kernel=kernel.rpartition("-")[2], n_components=2, gamma=gamma)
    except ValueError as error:
        return {"error": str(error)}
    is_first = np.arange(len(a) + len(b)) < len(a)
    return {
        "projections": result.projections.tolist(),
        "n_first": len(a),
        "separation": [separation(result.projections[:, k], is_first) for k in range(2)],
    }


def _angles(sets: Any, weights: str) -> dict[str, Any]:
    result = compare_sets(sets["lbfgs-gss"][weights], sets["sgd"]["test"])
    within = {"lbfgs-gss": result.within_a, "sgd": result.within_b, "between": result.between}
    return {"random": result.random_angle, **{name: vars(spread) for name, spread in within.items()}}


def _heights(paths: list[Task], store: Store) -> dict[str, Any]:
    found: dict[str, list[Any]] = {key: [] for key in ("pairs", "height", "excess", "linear", "steps", "gradients")}
    converged = 0
    for task in paths:
        result = store.read(task)
        if result is None:
            continue
        arrays, facts = result
        found["pairs"].append(task.options["pair"])
        found["height"].append(facts["height"])
        found["excess"].append(facts["height"] - max(facts["height_ends"]))
        found["linear"].append(facts["height_linear"])
        found["steps"].append(len(arrays["history_height"]) - 1)
        found["gradients"].append(facts["evaluations"]["gradients"])
        converged += facts["converged"]
    return {**found, "converged": converged, "asked": len(paths)}


def _floors(tasks: NetworkTasks, store: Store, usual: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """What of the L-BFGS-GSS training set depends on the loss at which its runs end."""
    floors = []
    for floor in (tasks.network.loss_floor, *OTHER_FLOORS):
        other = None if floor == tasks.network.loss_floor else floor
        result = store.read(tasks.set_of("lbfgs-gss", other))
        if result is None:
            continue
        vectors = result[0]["train"]
        lengths = np.linalg.norm(vectors.astype(np.float64) - usual["test"].mean(axis=0), axis=1)
        of_floor: dict[str, Any] = {
            "floor": floor,
            "loss": _mean(result[0]["train_loss"]),
            "sigma": component_statistics(vectors).sigma,
            "length": _mean(lengths),
        }
        for solver in tasks.solvers:
            of_floor[solver] = _heights(tasks.paths("train", "lbfgs-gss", "train", solver, other), store)
        floors.append(of_floor)
    return sorted(floors, key=lambda entry: -entry["floor"])


def _statements(model: str, found: dict[str, Any], sets: Any) -> dict[str, Any]:
    """The tests behind the paper's statements, each comparing runs, with what the paper says and what is seen here."""
    a, b = sets["lbfgs-gss"], sets["sgd"]
    tests: dict[str, Any] = {
        "train loss, L-BFGS less SGD": compare_runs(a["train_loss"], b["train_loss"]).facts(),
        "test loss, L-BFGS less SGD": compare_runs(a["test_loss"], b["test_loss"]).facts(),
        "rise of the test curve, log10, L-BFGS less SGD": compare_runs(
            np.log10(a["test_last"] / a["test_loss"]), np.log10(b["test_last"] / b["test_loss"])
        ).facts(),
    }
    for weights, figure in (("train", "Fig. 5"), ("test", "Fig. S3")):
        lengths = found["lengths"][weights]
        name = f"length, L-BFGS {weights} less SGD test weights ({figure})"
        tests[name] = compare_runs(lengths["lbfgs-gss"], lengths["sgd"]).facts()
    by_run: dict[tuple[str, ...], np.ndarray] = {}
    for entry in found["heights"]:
        key = (entry["solver"], entry["landscape"], entry["optimizer"], entry["weights"])
        for what in ("height", "excess"):
            by_run[(what, *key)] = heights_by_run(entry["pairs"], entry[what], found["kept"])
    for solver in dict.fromkeys(entry["solver"] for entry in found["heights"]):
        for what in ("height", "excess"):
            for where, w in (("train", "train"), ("train", "test"), ("test", "test")):
                groups = [_finite(by_run[(what, solver, where, o, w)]) for o in OPTIMIZERS]
                if all(len(group) > 1 for group in groups):
                    name = f"{what} ({solver}), L-BFGS less SGD, {w} weights on the {where} landscape"
                    tests[name] = compare_runs(*groups).facts()
            for o in OPTIMIZERS:
                of_train, of_test = (by_run[(what, solver, "train", o, w)] for w in WEIGHTS)
                both = np.isfinite(of_train) & np.isfinite(of_test)
                if both.sum() > 1:
                    name = f"{what} ({solver}), {o}, train less test weights on the train landscape"
                    tests[name] = compare_same_runs(of_train[both], of_test[both]).facts()
    before = None
    for name, test in tests.items():
        paper = expected(model, name)
        test |= {"paper": paper, "here": verdict(test, paper, before)}
        before = test
    return tests


def _finite(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)]
