"""The results of the paper's campaign: tables, heights, lengths and projections, as plain numbers."""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from ..analysis.kpca import kernel_pca
from ..analysis.permutation import compare_runs, separation
from ..analysis.statistics import compare_sets, component_statistics, preferred_direction, shell_lengths
from ..backend import one_blas_thread
from ..pairs.draw import disjoint
from ..paths.result import under_resolved
from ..tasks import Store, Task
from .plan import OPTIMIZERS, Plan
from .plan_tasks import OTHER_FLOORS, RESOLUTIONS, SCAN, NetworkTasks
from .printed import KEPT, N_PRM, TABLE_S1
from .statements import WEIGHTS, statements

#: The paper's kernels, and its RBF with 2σ² = N_prm / 64 in place of N_prm: between a few vectors N_prm is so wide that
#: the kernel is nearly linear.
KERNELS = ("rbf", "narrow-rbf", "linear", "polynomial", "sigmoid")
NARROWER = 64
#: A value costs this part of a gradient.
VALUE = 0.4
#: Of the networks' losses.
EPS = float(np.finfo(np.float32).eps)


def collect(plan: Plan, store: Store) -> dict[str, Any]:
    """The numbers of a campaign as JSON, those that the report shows among them; what is not finished is left out.

    Returns
    -------
    dict
        ``plan``, and by network: ``kept``, ``searches``, ``reasons`` (why the runs ended), ``seeds``, ``epochs``
        (of the minima), ``table1``, ``tableS1``, ``sigma`` (of each run), ``curves``, ``rise``, ``lengths``,
        ``directions``, ``angles``, ``kpca``, ``isotropic``, ``heights``, ``courses``, ``averages``, ``curvature``,
        ``resolutions``, ``scan``, ``floors``, ``statements``.
    """
    networks = {}
    # A threaded BLAS, SciPy's among them, adds in another order. The landscapes' own limit would end this one with it.
    with one_blas_thread(), threadpool_limits(limits=1, user_api="blas"):
        for model in plan.networks:
            if (found := _network(NetworkTasks(plan, model), store)) is not None:
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
        found["floors"] = _floors(tasks, store, _origin(sets))
    found["statements"] = statements(tasks.model, found, sets)
    return found


def _mean(values: np.ndarray) -> dict[str, Any]:
    spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return {"mean": float(values.mean()), "sd": spread, "n": len(values), "all": values.tolist()}


def _curves(tasks: NetworkTasks, store: Store, optimizer: str, kept: dict[str, np.ndarray]) -> dict[str, Any]:
    """The curves of the best run, thinned to what a figure shows."""
    best = store.read(tasks.runs(optimizer)[tasks.network.seeds(optimizer).index(int(kept["seeds"][0]))])
    if best is None:
        return {}
    arrays, facts = best
    last = len(arrays["train_loss"]) - 1
    even = np.linspace(0, last, 400), np.geomspace(1, max(last, 1), 400) - 1  # the figure's axis is logarithmic
    minima = [facts[f"{w}_minimum"]["epoch"] for w in WEIGHTS]
    epochs = np.unique(np.concatenate([*even, minima, [last]]).round().astype(int))
    curves = {f"{w}_loss": arrays[f"{w}_loss"][epochs].tolist() for w in WEIGHTS}
    return {"epochs": epochs.tolist(), **curves, **{f"{w}_minimum": facts[f"{w}_minimum"] for w in WEIGHTS}}


def _centroids(sets: Any) -> tuple[np.ndarray, np.ndarray]:
    """Of the test weights, wherever lengths and angles are seen from."""
    a, b = (sets[o]["test"].mean(axis=0, dtype=np.float64) for o in OPTIMIZERS)
    return a, b


def _origin(sets: Any) -> np.ndarray:
    a, b = _centroids(sets)
    return 0.5 * (a + b)


def _lengths(sets: Any, weights: str) -> dict[str, Any]:
    """Fig. 5 for ``"train"`` (L-BFGS training against SGD test weights), Fig. S3 for ``"test"``."""
    a, b = _centroids(sets)
    result = shell_lengths(sets["lbfgs-gss"][weights], sets["sgd"]["test"], centroid_a=a, centroid_b=b)
    return {
        "lbfgs-gss": result.lengths_a.tolist(),
        "sgd": result.lengths_b.tolist(),
        "centroid_distance": result.centroid_distance,
    }


def _projections(sets: Any, weights: str, kernel: str) -> dict[str, Any]:
    """Fig. 6 for ``"train"``, Fig. S4 for ``"test"``: L-BFGS-GSS first, then SGD."""
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
    """Distances and angles within and between the sets of Fig. 5 or S3, seen from the origin of their lengths."""
    a, b = sets["lbfgs-gss"], sets["sgd"]
    result = compare_sets(a[weights], b["test"], origin=_origin(sets))
    within = {"lbfgs-gss": result.within_a, "sgd": result.within_b, "between": result.between}
    return {"random": result.random_angle, **{name: vars(spread) for name, spread in within.items()}}


def _heights(paths: list[Task], store: Store) -> dict[str, Any]:
    """The numbers of paths, a list of each; and how many were asked for.

    ``height`` is Eq. (5), the largest value at the sample points, ``maximum`` the largest over continuous t,
    ``barrier`` the maximum minus the value of the higher endpoint, ``sum`` the cumulative loss of Eq. (4), of as many
    points as were asked for, ``still`` whether the search converged and left no barrier between its points.
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
        arrays, facts = result
        end, maximum = max(facts["height_ends"]), facts["dense_height"]
        numbers = (
            task.options["pair"],
            facts["height"],
            maximum,
            maximum - end,
            facts["height_linear"],
            facts["length"],
            facts["distance"],
            float(arrays["values"].mean()) * task.options["path"]["n_points"],
            facts.get("steps", len(arrays["history_height"]) - 1),
            facts["evaluations"]["gradients"],
            facts["evaluations"]["values"],
            facts["converged"] and not under_resolved(maximum, facts["height"], end, facts["height_linear"], EPS),
        )
        for name, number in zip(names, numbers, strict=True):
            found[name].append(number)
    return {**found, "asked": len(paths)}


def courses(paths: list[Task], store: Store) -> dict[str, Any] | None:
    """How barriers come down with the steps of a search: quartiles over the paths; None where none is finished.

    ``steps`` and, at each, ``low``, ``middle`` and ``high`` of Eq. (5) above the higher endpoint, of the path at that
    step, a finished search keeping its last one; ``cost``, gradients of the points of a path that a step takes on the
    average, a value counted as 0.4 of one.
    """
    curves, costs = [], []
    for task in paths:
        result = store.read(task)
        if result is None:
            continue
        arrays, facts = result
        heights = arrays["history_height"]
        curves.append(np.maximum(heights - max(facts["height_ends"]), 0.0))
        counts, points = facts["evaluations"], task.options["path"]["n_points"]
        steps = max(facts.get("steps", len(heights) - 1), 1)
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
    """Losses and accuracies on training and test images, by optimiser and weights; without what is not finished."""
    found: dict[str, Any] = {}
    for optimizer, weights in tasks.solutions if tasks.network.averages else ():
        if (result := store.read(tasks.losses(optimizer, weights))) is not None:
            numbers = {name: array.tolist() for name, array in result[0].items()}
            found.setdefault(optimizer, {})[weights] = {**numbers, "pairs": tasks.pairs(optimizer)}
    return found


def _curvature(tasks: NetworkTasks, store: Store) -> list[dict[str, Any]]:
    """Eigenvalues and traces of the Hessian by set, landscape and form: a list of each over the set's vectors."""
    found = []
    for optimizer, weights in tasks.solutions:
        places = range(min(tasks.network.curvatures, tasks.network.kept))
        results = [store.read(tasks.curvature(optimizer, weights, place)) for place in places]
        measured = [result[1] for result in results if result is not None]
        seeds = [place for place, result in zip(places, results, strict=True) if result is not None]
        for where, form in itertools.product(("train", "test"), ("plain", "scaled")) if measured else ():
            of = [facts[f"{where} {form}"] for facts in measured]
            entry = {"optimizer": optimizer, "weights": weights, "landscape": where, "form": form, "places": seeds}
            names = ("highest", "lowest", "trace", "trace_error", "converged")
            found.append({**entry, **{name: [one[name] for one in of] for name in names}})
    return found


@lru_cache(maxsize=8)
def isotropic(model: str) -> dict[str, Any]:
    """Whether lengths alone separate the sets of Fig. 6, along PC1 and PC2 of the RBF of 2σ² = N_prm.

    Of 48 and 48 vectors of independent normal components of mean 0 and Table S1's σ: L-BFGS-GSS's training weights and
    SGD's test weights.
    """
    rng = np.random.default_rng(0)
    sets = []
    for optimizer, k in (("lbfgs-gss", 0), ("sgd", 1)):
        sigma = TABLE_S1[model][optimizer][k][1]
        sets.append(sigma * rng.standard_normal((KEPT, N_PRM[model])))
    result = kernel_pca(np.concatenate(sets), "rbf", 2)
    parts = [separation(x[:KEPT], x[KEPT:]) for x in result.projections.T]
    return {"separation": [vars(part) for part in parts], "n": 2 * KEPT, "n_first": KEPT}


def _floors(tasks: NetworkTasks, store: Store, origin: np.ndarray) -> list[dict[str, Any]]:
    """What of the L-BFGS-GSS training set depends on its target loss, highest first.

    Each target but the first is compared with the one before: ``p_length``, of runs from the same initial vectors as
    far as both sets hold them, and ``p_adam``, ``p_still`` of maxima, between runs that need not be the same.
    """
    floors: list[dict[str, Any]] = []
    for floor in sorted((tasks.network.loss_floor, *OTHER_FLOORS), reverse=True):
        other = None if floor == tasks.network.loss_floor else floor
        result = store.read(tasks.set_of("lbfgs-gss", other))
        if result is None:
            continue
        vectors = result[0]["train"]
        lengths = np.linalg.norm(vectors - origin, axis=1)
        of_floor: dict[str, Any] = {
            "floor": floor,
            "seeds": result[0]["seeds"].tolist(),
            "loss": _mean(result[0]["train_loss"]),
            "sigma": component_statistics(vectors).sigma,
            "length": _mean(lengths),
        }
        for solver in tasks.solvers:
            of_floor[solver] = _heights(tasks.paths("train", "lbfgs-gss", "train", solver, other), store)
        if floors:
            before = floors[-1]
            seeds = before["seeds"], of_floor["seeds"]
            of_floor["p_length"] = compare_runs(before["length"]["all"], lengths, seeds).p
            for solver in tasks.solvers:
                higher, lower = (
                    [e[solver]["maximum"][k] for k in disjoint(e[solver]["pairs"])] for e in (before, of_floor)
                )
                if higher and lower:
                    of_floor[f"p_{solver}"] = compare_runs(higher, lower).p
        floors.append(of_floor)
    return floors
