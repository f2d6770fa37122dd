"""The results of a campaign as plain numbers: tables, heights, lengths, projections, statements."""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from ..analysis.angles import compare_sets
from ..analysis.kpca import kernel_pca
from ..analysis.permutation import compare_runs, separation
from ..analysis.statistics import component_statistics, preferred_direction, shell_lengths
from ..backend import one_blas_thread
from ..pairs.draw import disjoint
from ..paths.result import under_resolved
from ..tasks import Store, Task
from .costs import VALUE
from .plan import OPTIMIZERS, Plan
from .plan_tasks import OTHER_TARGETS, RESOLUTIONS, SCAN, NetworkTasks
from .printed import KEPT, N_PRM, TABLE_S1
from .statements import WEIGHTS, statements

#: The paper's kernels, and its RBF with 2σ² = N_prm / 64: with N_prm the kernel of a few vectors is nearly linear.
KERNELS = ("rbf", "narrow-rbf", "linear", "polynomial", "sigmoid")
NARROWER = 64
#: Precision of the networks' losses.
EPS = float(np.finfo(np.float32).eps)


def collect(plan: Plan, store: Store) -> dict[str, Any]:
    """Return the numbers of a campaign as JSON, as far as its tasks are finished.

    Returns
    -------
    dict
        ``plan``, and ``networks``, by name: ``kept``, ``searches``, ``reasons`` (why the runs ended), ``seeds``,
        ``epochs`` (of the minima), ``table1``, ``tableS1``, ``sigma`` (of each run), ``curves``, ``rise``, ``lengths``,
        ``directions``, ``angles``, ``kpca``, ``isotropic``, ``heights``, ``courses``, ``averages``, ``curvature``,
        ``resolutions``, ``scan``, ``floors``, ``statements``.
    """
    networks = {}
    # A threaded BLAS, SciPy's included, adds in another order.
    with one_blas_thread(), threadpool_limits(limits=1, user_api="blas"):
        for model in plan.networks:
            if (found := _network(NetworkTasks(plan, model), store)) is not None:
                networks[model] = found
    return {"plan": plan.as_dict(), "networks": networks}


def _network(tasks: NetworkTasks, store: Store) -> dict[str, Any] | None:
    sets: dict[str, dict[str, np.ndarray]] = {}
    reasons: dict[str, list[str]] = {}
    for optimizer in OPTIMIZERS:
        result = store.read(tasks.set_of(optimizer))
        if result is None:
            return None
        sets[optimizer], reasons[optimizer] = result[0], result[1]["reasons"]
    found: dict[str, Any] = {
        "model": tasks.model,
        "kept": tasks.network.kept,
        "searches": tasks.network.searches,
        "reasons": reasons,
        "seeds": {o: sets[o]["seeds"].tolist() for o in OPTIMIZERS},
        "epochs": {o: {w: sets[o][f"{w}_epoch"].tolist() for w in WEIGHTS} for o in OPTIMIZERS},
        "table1": {o: {w: _mean(sets[o][f"{w}_loss"]) for w in WEIGHTS} for o in OPTIMIZERS},
        "tableS1": {o: {w: vars(component_statistics(sets[o][w])) for w in WEIGHTS} for o in OPTIMIZERS},
        "sigma": {o: {w: sets[o][w].std(axis=1, dtype=np.float64).tolist() for w in WEIGHTS} for o in OPTIMIZERS},
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
    found["courses"] = [
        {"landscape": where, "optimizer": o, "weights": w, "solver": solver, **course}
        for solver in tasks.solvers
        for where, o, w in tasks.sets
        if (course := courses(tasks.paths(where, o, w, solver), store)) is not None
    ]
    found["averages"] = _averages(tasks, store)
    found["curvature"] = _curvature(tasks, store)
    found["isotropic"] = isotropic(tasks.model)
    if tasks.network.resolutions:
        found["resolutions"] = [
            {"optimizer": o, name: n, "solver": s, **_heights([tasks.resolution(o, name, n, s)], store)}
            for s in tasks.solvers
            for o in OPTIMIZERS
            for name, n in RESOLUTIONS
        ]
    if tasks.network.kept > 2:
        found["directions"] = {o: {w: vars(preferred_direction(sets[o][w])) for w in WEIGHTS} for o in OPTIMIZERS}
    if tasks.network.scans:
        found["scan"] = [
            {"optimizer": o, "lam": lam, "solver": solver, **_heights([tasks.scan(o, lam, solver)], store)}
            for solver in tasks.solvers
            for o in OPTIMIZERS
            for lam in SCAN
        ]
        found["floors"] = _target_losses(tasks, store, _origin(sets))
    found["statements"] = statements(tasks.model, found, sets)
    return found


def _mean(values: np.ndarray) -> dict[str, Any]:
    spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return {"mean": float(values.mean()), "sd": spread, "n": len(values), "all": values.tolist()}


def _curves(tasks: NetworkTasks, store: Store, optimizer: str, kept: dict[str, np.ndarray]) -> dict[str, Any]:
    """Return the curves of the best run, thinned out for a figure."""
    best = store.read(tasks.runs(optimizer)[tasks.network.seeds(optimizer).index(int(kept["seeds"][0]))])
    if best is None:
        return {}
    arrays, metadata = best
    last = len(arrays["train_loss"]) - 1
    even = np.linspace(0, last, 400), np.geomspace(1, max(last, 1), 400) - 1  # the figure's axis is logarithmic
    minima = [metadata[f"{w}_minimum"]["epoch"] for w in WEIGHTS]
    epochs = np.unique(np.concatenate([*even, minima, [last]]).round().astype(int))
    curves = {f"{w}_loss": arrays[f"{w}_loss"][epochs].tolist() for w in WEIGHTS}
    return {"epochs": epochs.tolist(), **curves, **{f"{w}_minimum": metadata[f"{w}_minimum"] for w in WEIGHTS}}


def _centroids(sets: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the centroids of both sets of test weights, from which lengths and angles are measured."""
    a, b = (sets[o]["test"].mean(axis=0, dtype=np.float64) for o in OPTIMIZERS)
    return a, b


def _origin(sets: Any) -> np.ndarray:
    a, b = _centroids(sets)
    return 0.5 * (a + b)


def _lengths(sets: Any, weights: str) -> dict[str, Any]:
    """Return the lengths of Fig. 5 (``"train"``: L-BFGS-GSS's training, SGD's test weights) or Fig. S3 (``"test"``)."""
    a, b = _centroids(sets)
    result = shell_lengths(sets["lbfgs-gss"][weights], sets["sgd"]["test"], centroid_a=a, centroid_b=b)
    return {
        "lbfgs-gss": result.lengths_a.tolist(),
        "sgd": result.lengths_b.tolist(),
        "centroid_distance": result.centroid_distance,
    }


def _projections(sets: Any, weights: str, kernel: str) -> dict[str, Any]:
    """Return the projections of Fig. 6 (``"train"``) or Fig. S4 (``"test"``): L-BFGS-GSS first, then SGD."""
    a, b = sets["lbfgs-gss"][weights], sets["sgd"]["test"]
    points = np.concatenate([a, b])
    gamma = NARROWER / points.shape[1] if kernel == "narrow-rbf" else None
    try:
        result = kernel_pca(points, kernel=kernel.rpartition("-")[2], n_components=2, gamma=gamma)
    except ValueError as error:
        return {"error": str(error)}
    seeds = sets["lbfgs-gss"]["seeds"].tolist(), sets["sgd"]["seeds"].tolist()
    parts = [separation(x[: len(a)], x[len(a) :], seeds) for x in result.projections.T]
    return {
        "projections": result.projections.tolist(),
        "n_first": len(a),
        "n": len(points),
        "separation": [vars(part) for part in parts],
    }


def _angles(sets: Any, weights: str) -> dict[str, Any]:
    """Return distances and angles within and between the sets of Fig. 5 or S3, from the origin of their lengths."""
    a, b = sets["lbfgs-gss"], sets["sgd"]
    result = compare_sets(a[weights], b["test"], origin=_origin(sets))
    within = {"lbfgs-gss": result.within_a, "sgd": result.within_b, "between": result.between}
    return {"random": result.random_angle, **{name: vars(spread) for name, spread in within.items()}}


def _heights(paths: list[Task], store: Store) -> dict[str, Any]:
    """Return the numbers of paths, a list of each, and the number of paths in the plan.

    ``height`` is Eq. (5), the largest value at the sample points, ``maximum`` the largest over continuous t,
    ``barrier`` the maximum minus the value of the higher endpoint, ``sum`` the cumulative loss of Eq. (4) at the
    plan's number of sample points, ``still`` whether the search converged and is not under-resolved.
    """
    names = (
        "pairs",
        "height",
        "maximum",
        "barrier",
        "linear",
        "length",
        "distance",
        "sum",
        "steps",
        "gradients",
        "values",
        "still",
    )
    found: dict[str, list[Any]] = {name: [] for name in names}
    for task in paths:
        result = store.read(task)
        if result is None:
            continue
        arrays, metadata = result
        end, maximum = max(metadata["height_ends"]), metadata["dense_height"]
        numbers = (
            task.options["pair"],
            metadata["height"],
            maximum,
            maximum - end,
            metadata["height_linear"],
            metadata["length"],
            metadata["distance"],
            float(arrays["values"].mean()) * task.options["path"]["n_points"],
            metadata.get("steps", len(arrays["history_height"]) - 1),
            metadata["evaluations"]["gradients"],
            metadata["evaluations"]["values"],
            metadata["converged"]
            and not under_resolved(maximum, metadata["height"], end, metadata["height_linear"], EPS),
        )
        for name, number in zip(names, numbers, strict=True):
            found[name].append(number)
    return {**found, "asked": len(paths)}


def courses(paths: list[Task], store: Store) -> dict[str, Any] | None:
    """Return how barriers decrease with the steps of a search: quartiles over paths; None if none is finished.

    ``steps`` and, at each, ``low``, ``middle`` and ``high`` of Eq. (5) above the higher endpoint, for the path at that
    step, or the last one of a finished search; ``cost``, the mean number of gradients of all sample points per step, a
    value counted as 0.4 of one.
    """
    curves, costs = [], []
    for task in paths:
        result = store.read(task)
        if result is None:
            continue
        arrays, metadata = result
        heights = arrays["history_height"]
        curves.append(np.maximum(heights - max(metadata["height_ends"]), 0.0))
        counts, points = metadata["evaluations"], task.options["path"]["n_points"]
        steps = max(metadata.get("steps", len(heights) - 1), 1)
        costs.append((counts["gradients"] + VALUE * counts["values"]) / (points * steps))
    if not curves:
        return None
    longest = max(map(len, curves))
    steps = np.unique(np.concatenate([[0], np.geomspace(1, max(longest - 1, 1), 60)]).round().astype(int))
    at = np.array([[curve[min(step, len(curve) - 1)] for step in steps] for curve in curves])
    low, middle, high = np.quantile(at, (0.25, 0.5, 0.75), axis=0)
    numbers = {"steps": steps, "low": low, "middle": middle, "high": high}
    return {**{name: array.tolist() for name, array in numbers.items()}, "n": len(at), "cost": float(np.mean(costs))}


def _averages(tasks: NetworkTasks, store: Store) -> dict[str, Any]:
    """Return losses and accuracies on training and test images, by optimiser and weights."""
    found: dict[str, Any] = {}
    for optimizer, weights in tasks.solutions if tasks.network.averages else ():
        if (result := store.read(tasks.losses(optimizer, weights))) is not None:
            numbers = {name: array.tolist() for name, array in result[0].items()}
            found.setdefault(optimizer, {})[weights] = {**numbers, "pairs": tasks.pairs(optimizer)}
    return found


def _curvature(tasks: NetworkTasks, store: Store) -> list[dict[str, Any]]:
    """Return eigenvalues and traces of the Hessian by set, landscape and form, a list of each over the vectors."""
    found = []
    for optimizer, weights in tasks.solutions:
        places = range(min(tasks.network.curvatures, tasks.network.kept))
        results = [store.read(tasks.curvature(optimizer, weights, place)) for place in places]
        measured = [result[1] for result in results if result is not None]
        seeds = [place for place, result in zip(places, results, strict=True) if result is not None]
        for where, form in itertools.product(("train", "test"), ("plain", "scaled")) if measured else ():
            of = [metadata[f"{where} {form}"] for metadata in measured]
            entry = {"optimizer": optimizer, "weights": weights, "landscape": where, "form": form, "places": seeds}
            names = ("highest", "lowest", "trace", "trace_error", "converged")
            found.append({**entry, **{name: [one[name] for one in of] for name in names}})
    return found


@lru_cache(maxsize=8)
def isotropic(model: str) -> dict[str, Any]:
    """Return how far lengths alone separate the sets of Fig. 6, along PC1 and PC2 of the RBF of 2σ² = N_prm.

    From 48 and 48 vectors of independent normal components with mean 0 and Table S1's σ of L-BFGS-GSS's training
    weights and of SGD's test weights.
    """
    rng = np.random.default_rng(0)
    sets = []
    for optimizer, k in (("lbfgs-gss", 0), ("sgd", 1)):
        sigma = TABLE_S1[model][optimizer][k][1]
        sets.append(sigma * rng.standard_normal((KEPT, N_PRM[model])))
    result = kernel_pca(np.concatenate(sets), "rbf", 2)
    parts = [separation(x[:KEPT], x[KEPT:]) for x in result.projections.T]
    return {"separation": [vars(part) for part in parts], "n": 2 * KEPT, "n_first": KEPT}


def _target_losses(tasks: NetworkTasks, store: Store, origin: np.ndarray) -> list[dict[str, Any]]:
    """Return how L-BFGS-GSS's training weights depend on the target loss, highest first.

    Each target except the first is compared with the one before: ``p_length`` of the lengths, runs from the same
    initial weights being paired, and ``p_adam``, ``p_still`` of the maxima, without pairs.
    """
    targets: list[dict[str, Any]] = []
    for target in sorted((tasks.network.loss_floor, *OTHER_TARGETS), reverse=True):
        other = None if target == tasks.network.loss_floor else target
        result = store.read(tasks.set_of("lbfgs-gss", other))
        if result is None:
            continue
        vectors = result[0]["train"]
        lengths = np.linalg.norm(vectors - origin, axis=1)
        of_target: dict[str, Any] = {
            "floor": target,
            "seeds": result[0]["seeds"].tolist(),
            "loss": _mean(result[0]["train_loss"]),
            "sigma": component_statistics(vectors).sigma,
            "length": _mean(lengths),
        }
        for solver in tasks.solvers:
            of_target[solver] = _heights(tasks.paths("train", "lbfgs-gss", "train", solver, other), store)
        if targets:
            before = targets[-1]
            seeds = before["seeds"], of_target["seeds"]
            of_target["p_length"] = compare_runs(before["length"]["all"], lengths, seeds).p
            for solver in tasks.solvers:
                higher, lower = (
                    [e[solver]["maximum"][k] for k in disjoint(e[solver]["pairs"])] for e in (before, of_target)
                )
                if higher and lower:
                    of_target[f"p_{solver}"] = compare_runs(higher, lower).p
        targets.append(of_target)
    return targets
