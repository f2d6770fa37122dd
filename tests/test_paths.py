"""FourierPathFinder against finite differences, known saddles, and the paper's Fig. 3."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path as FilePath
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from minilandscape.connect import refine_saddle
from minilandscape.figures.figure3 import figure3
from minilandscape.files import read_result, write_result
from minilandscape.landscape import Evaluations, FunctionLandscape, LandscapeError, check_gradient
from minilandscape.networks import initial_vector, network_landscape
from minilandscape.paths import (
    Ending,
    FourierPathFinder,
    SearchInterrupted,
    compare_methods,
    find_path,
    load_path,
    maximum,
    stages,
)
from minilandscape.paths.bases import BASES, sine_basis
from minilandscape.paths.compare import ENTRIES
from minilandscape.paths.maximum import path_maximum
from minilandscape.paths.rules import Rule
from minilandscape.paths.solvers import AdamSolver, FewPointsFirst, QuasiNewton
from minilandscape.potentials import Camelback, Fig3, LepsOscillator, MullerBrown

START, END = np.array(Fig3.START), np.array(Fig3.END)


def test_fig3_gradient_and_stationary_points() -> None:
    land = Fig3()
    points = np.random.default_rng(0).uniform(-1, 1, (5, 2))
    assert check_gradient(land, points, tolerance=1e-8).passed
    stationary = [(-0.61380, -0.53542), (0.48810, -0.02226), (-0.16473, -0.06992), (0.05289, -0.68816)]
    values, gradients = land.values_and_gradients(np.array(stationary))
    assert values == pytest.approx([0.108702, -0.000036, 0.624388, 0.637252], abs=2e-6)
    assert np.abs(gradients).max() < 1e-3


def test_figure_3_has_the_papers_heights() -> None:
    result = figure3()
    assert result.linear.height == pytest.approx(1.102, abs=1e-3)
    for lam, height in ((10, 0.646), (100, 0.640), (1000, 0.652)):
        assert result.paths[lam].height == pytest.approx(height, abs=0.006)


@pytest.mark.parametrize("lam", [0.0, 3.0])
@pytest.mark.parametrize(("power", "offset"), [(1, 0.0), (2, 0.0), (1.5, -0.5)])
def test_the_gradient_of_L_agrees_with_differences(lam: float, power: float, offset: float) -> None:
    finder = FourierPathFinder(Fig3(), n_terms=4, n_points=17, objective="sum", lam=lam, power=power, offset=offset)
    problem = finder.problem(START, END)
    rng, span, C = np.random.default_rng(1), problem.span(), problem.curve.C

    def L(b: np.ndarray) -> float:
        span.replace(problem.curve.rows, b)
        values = problem.all_values(span)
        points = C @ span.basis
        return float(((values - offset) ** power).sum() + lam * (np.diff(points, axis=0) ** 2).sum())

    b, direction = 0.1 * rng.standard_normal((2, 4, 2))
    span.replace(problem.curve.rows, b)
    values, _, gradient = problem.gradient(span, C, b)
    assert problem.state(0, b, values).objective == pytest.approx(L(b), rel=1e-12)
    h = 1e-3
    slope = (
        8 * (L(b + h * direction) - L(b - h * direction)) - L(b + 2 * h * direction) + L(b - 2 * h * direction)
    ) / (12 * h)
    assert (gradient * direction).sum() == pytest.approx(slope, rel=1e-7)


@pytest.mark.parametrize("objective", ["maxflux", "smoothmax"])
def test_objectives_of_the_top_agree_with_their_formulas_and_differences(objective: str) -> None:
    problem = FourierPathFinder(Fig3(), n_terms=4, n_points=17, objective=objective).problem(START, END)
    beta, kappa = 7.0, 0.3
    problem = replace(problem, objective=replace(problem.objective, beta=beta, kappa=kappa))  # type: ignore[type-var]
    b, direction = 0.1 * np.random.default_rng(1).standard_normal((2, 4, 2))

    def L(b: np.ndarray) -> float:
        points = problem.curve.C @ np.concatenate([[START, END], b])
        f, steps = Fig3().values(points), np.linalg.norm(np.diff(points, axis=0), axis=1)
        arcs = np.full(17, 1 / 17)
        if objective == "maxflux":
            arcs = 0.5 * (np.concatenate([[0], steps]) + np.concatenate([steps, [0]]))
        return float(np.log((arcs * np.exp(beta * f)).sum()) / beta + kappa * ((steps / steps.mean() - 1) ** 2).mean())

    span = problem.span()
    span.replace(problem.curve.rows, b)
    _, value, gradient = problem.gradient(span, problem.curve.C, b)
    assert value == pytest.approx(L(b), rel=1e-12)
    h = 1e-3
    slope = (
        8 * (L(b + h * direction) - L(b - h * direction)) - L(b + 2 * h * direction) + L(b - 2 * h * direction)
    ) / (12 * h)
    assert (gradient * direction).sum() == pytest.approx(slope, rel=1e-7)


@pytest.mark.parametrize("solver", ["adam", "lbfgs-gss"])
def test_the_ends_stay_exactly_fixed(solver: str, small_mnist: Any) -> None:
    land = network_landscape("fcp", small_mnist.train)
    start, end = (initial_vector("fcp", np.random.default_rng(s)) for s in (1, 2))
    path = find_path(land, start, end, n_points=9, steps=6, solver=solver)
    assert np.array_equal(path.points([0.0, 1.0]), np.stack([start, end]))
    assert path.height_ends == pytest.approx(land.values(np.stack([start, end])), rel=1e-6)
    assert path.values == pytest.approx(land.values(path.points(path.t).astype(np.float32)), rel=1e-4)
    assert path.length == pytest.approx(np.linalg.norm(np.diff(path.points(path.t), axis=0), axis=1).sum(), rel=1e-4)


def test_counts_are_exact() -> None:
    land = FunctionLandscape(lambda x: Fig3().values_and_gradients(x), size=2, batched=True)
    finder = FourierPathFinder(land, n_points=50, objective="sum")
    for state in finder.steps(START, END):
        if state.step == 20:
            break
    assert (state.evaluations.values, state.evaluations.gradients) == (2, 48 * 21)
    land = FunctionLandscape(lambda x: Fig3().values_and_gradients(x), size=2, batched=True)
    path = find_path(land, START, END, steps=100, objective="sum")
    assert path.evaluations == land.evaluations
    assert path.evaluations.gradients == 4800
    assert path.evaluations.values >= 50
    assert len(path.history["height"]) == 101


@pytest.mark.parametrize("solver", ["adam", "lbfgs-gss"])
def test_history_and_the_path_kept(solver: str) -> None:
    path = find_path(Fig3(), START, END, n_points=40, objective="sum", power=2, lam=100, solver=solver)
    assert path.converged
    assert path.reason is Ending.CONVERGED
    assert len(path.history["penalty"]) == len(path.history["height"]) > path.best_step
    assert path.history["height"][path.best_step] == path.height
    assert path.history["length"][path.best_step] == pytest.approx(path.length)
    assert path.height_linear == path.history["height"][0] > path.height
    assert path.maximum >= path.height
    dense = Fig3().values(path.points(np.linspace(0, 1, 5001))).max()
    assert path.maximum == pytest.approx(dense, abs=2e-3)


@pytest.mark.parametrize("solver", ["adam", "lbfgs-gss"])
@pytest.mark.parametrize("lam", [0.0, 1.0])
def test_the_path_kept_has_the_lowest_L(solver: str, lam: float) -> None:
    path = find_path(Fig3(), START, END, objective="sum", lam=lam, solver=solver)
    L = path.history["cumulative_loss"] + path.history["penalty"]
    assert path.best_step == L.argmin()
    assert path.values.sum() == pytest.approx(path.history["cumulative_loss"][path.best_step], rel=1e-12)


def test_the_dense_height_sees_a_peak_that_the_points_miss() -> None:
    def two_peaks(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        away = points[:, :1] - np.array([0.25, 0.7571])
        bumps = np.array([1.0, 1.5]) * np.exp(-((away / np.array([0.1, 0.012])) ** 2))
        slope = (-2 * bumps * away / np.array([0.1, 0.012]) ** 2).sum(axis=1)
        return bumps.sum(axis=1), np.stack([slope, 0 * slope], axis=1)

    land = FunctionLandscape(two_peaks, size=2, batched=True)
    path = find_path(land, np.zeros(2), np.array([1.0, 0.0]), method="linear", n_points=40)
    assert path.height < 1 < 1.49 < path.maximum <= 1.5
    assert path.maximum_t == pytest.approx(0.7571, abs=2e-3)
    assert path.evaluations == land.evaluations


def test_a_straight_line_has_no_coefficients() -> None:
    path = find_path(Fig3(), START, END, method="linear")
    assert path.coefficients.shape == (0, 2)
    assert path.points(0.5) == pytest.approx((START + END)[None] / 2, rel=1e-12)
    assert path.evaluations.gradients == 0


@pytest.mark.parametrize("t", [1.5, -1e-3, np.nan])
def test_a_path_has_no_points_beyond_its_ends(t: float) -> None:
    with pytest.raises(ValueError, match="expected numbers from 0"):
        find_path(Fig3(), START, END, method="linear").points([0.5, t])


def test_a_power_below_one_stays_finite_at_the_offset() -> None:
    bowl = FunctionLandscape(lambda x: (float(x @ x), 2 * x), size=2)
    path = find_path(
        bowl, np.array([1.0, 0.0]), np.array([-1.0, 0.0]), n_points=51, objective="sum", power=0.5, steps=5
    )
    assert path.values == pytest.approx((path.points(path.t) ** 2).sum(axis=1), abs=1e-12)
    assert len(path.history["height"]) == 6


@pytest.mark.parametrize("solver", ["adam", "lbfgs-gss"])
def test_a_function_that_raises_is_told_where(solver: str) -> None:
    calls = 0

    def f(x: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal calls
        calls += 1
        if calls > 400:
            raise RuntimeError("no more")
        values, gradients = Fig3().values_and_gradients(x[None])
        return float(values[0]), gradients[0]

    with pytest.raises(LandscapeError, match=r"t = .*no more") as caught:
        find_path(FunctionLandscape(f, size=2), START, END, steps=50, solver=solver)
    assert solver != "adam" or caught.value.t in np.linspace(0, 1, 16)
    assert 0 < caught.value.t < 1
    assert caught.value.best.height < 1.11


def test_a_hole_between_the_points_keeps_the_path() -> None:
    def f(x: np.ndarray) -> tuple[float, np.ndarray]:
        away = x[0] - 0.5
        return (float("inf") if abs(away) < 0.01 else float(-(away**2))), np.array([-2 * away, 0.0])

    with pytest.raises(LandscapeError, match=r"t = 0\.5 is inf") as caught:
        find_path(FunctionLandscape(f, size=2), np.zeros(2), np.array([1.0, 0.0]), method="linear", n_points=4)
    assert caught.value.best.height == pytest.approx(-1 / 36)


def test_both_solvers_agree_on_a_quadratic() -> None:
    scales = np.array([1.0, 4.0, 9.0])
    bowl = FunctionLandscape(lambda x: (float(x @ (scales * x)), 2 * scales * x), size=3)
    ends = np.array([1.0, 0.2, 0.3]), np.array([-0.4, 0.5, -0.3])
    adam, quasi_newton = (
        find_path(bowl, *ends, solver=s, objective="sum", lam=0.5, steps=400) for s in ("adam", "lbfgs-gss")
    )
    assert quasi_newton.height == pytest.approx(adam.height, rel=1e-3)
    L = [(p.history["cumulative_loss"] + p.history["penalty"]).min() for p in (adam, quasi_newton)]
    assert L[1] == pytest.approx(L[0], rel=1e-3)


def test_numpys_whole_numbers_are_steps_and_options_are_kept() -> None:
    path = find_path(Fig3(), START, END, steps=np.int64(3), lr=0.02, objective="sum", lam=1.0)
    assert len(path.history["height"]) == 4
    assert {name: path.metadata[name] for name in ("objective", "lr", "lam", "steps")} == {
        "objective": "sum",
        "lr": 0.02,
        "lam": 1.0,
        "steps": 3,
    }


def test_both_solvers_come_to_one_height() -> None:
    adam, quasi_newton = (
        find_path(Fig3(), START, END, objective="sum", power=2, lam=100, n_points=100, solver=solver)
        for solver in ("adam", "lbfgs-gss")
    )
    assert quasi_newton.height == pytest.approx(adam.height, abs=2e-3)
    assert quasi_newton.evaluations.gradients < adam.evaluations.gradients


def test_save_and_load(tmp_path: FilePath) -> None:
    path = find_path(Fig3(), START, END, steps=5)
    path.save(tmp_path / "p.npz")
    again = load_path(tmp_path / "p.npz")
    assert again.height == path.height
    assert again.evaluations == path.evaluations
    assert again.metadata == path.metadata
    assert np.array_equal(again.points([0.3]), path.points([0.3]))
    first = (tmp_path / "p.npz").read_bytes()
    find_path(Fig3(), START, END, steps=5).save(tmp_path / "q.npz")
    assert (tmp_path / "q.npz").read_bytes() == first
    (tmp_path / "p.npz").write_bytes(first[:100])
    with pytest.raises(ValueError, match=r"p\.npz"):
        load_path(tmp_path / "p.npz")


def test_a_file_of_version_0_1_is_read(tmp_path: FilePath) -> None:
    path = find_path(Fig3(), START, END, steps=2)
    path.save(tmp_path / "p.npz")
    arrays, described = read_result(tmp_path / "p.npz", "path")
    for new, old in (("maximum", "dense_height"), ("maximum_t", "dense_t"), ("metadata", "facts")):
        described[old] = described.pop(new)
    del described["rounds"]
    named = {name: described[name] for name in described if name not in ("format", "kind")}
    write_result(tmp_path / "old.npz", "path", arrays, named)
    again = load_path(tmp_path / "old.npz")
    assert again.rounds is None
    assert (again.maximum, again.maximum_t, again.metadata) == (path.maximum, path.maximum_t, path.metadata)


def test_a_path_of_numpys_numbers_or_of_an_interrupted_search_is_saved(tmp_path: FilePath) -> None:
    options: dict[str, Any] = {"n_terms": np.int64(5), "offset": np.float32(0), "objective": "sum"}
    find_path(Fig3(), START, END, steps=2, **options).save(tmp_path / "p.npz")
    assert load_path(tmp_path / "p.npz").metadata["n_terms"] == 5

    def stop(state: Any) -> None:
        if state.step == 4:
            raise KeyboardInterrupt

    with pytest.raises(SearchInterrupted) as stopped:
        find_path(Fig3(), START, END, progress=stop)
    stopped.value.best.save(tmp_path / "p.npz")
    again = load_path(tmp_path / "p.npz")
    assert again.reason is Ending.INTERRUPTED
    assert again.metadata == stopped.value.best.metadata
    assert again.metadata["lam"] is None
    assert refine_saddle(Fig3(), again).value == pytest.approx(0.624388, abs=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"end": START}, "equal"),
        ({"end": np.zeros(3)}, "one size"),
        ({"end": np.array([np.nan, 0])}, "end is not finite: coordinate"),
        ({"method": "magic"}, "expected one of fourier"),
        ({"solver": "newton"}, "expected one of adam"),
        ({"solver": "lbfgs-gss", "lr": 0.1}, "lr belongs"),
        ({"objective": "mean"}, "expected one of sum"),
        ({"steps": "many"}, "whole number or 'auto'"),
        ({"n_points": 2}, "at least 3"),
        ({"lam": -1.0}, "at least 0"),
        ({"power": 2, "offset": 0.5}, "offset"),
    ],
)
def test_what_does_not_do_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_path(**{"landscape": Fig3(), "start": START, "end": END, "steps": 3, **arguments})


@pytest.mark.parametrize(
    ("method", "given"),
    [
        ("linear", {"n_terms": 3, "solver": "auto", "lr": 0.1, "steps": 77, "objective": "sum", "lam": 5.0}),
        ("linear", {"power": 2, "offset": -1.0, "budget": 1000, "initial": np.zeros((3, 2))}),
        ("neb", {"n_terms": 3, "solver": "lbfgs-gss", "objective": "sum", "power": 3, "offset": -1000.0, "lam": 5.0}),
        ("autoneb", {"lr": 0.1}),
    ],
)
def test_options_that_a_method_makes_no_use_of_are_refused(method: str, given: dict[str, Any]) -> None:
    for name, value in given.items():
        with pytest.raises(ValueError, match=f"{name} has no effect on the method '{method}': remove it"):
            find_path(Fig3(), START, END, method, **{name: value})
    known = find_path(Fig3(), START, END, method, n_points=7).metadata
    assert not set(given) & set(known)
    assert known["method"] == method
    assert known["n_points" if method == "linear" else "images"] == 7


def test_values_that_are_not_finite_name_the_point_and_keep_the_best() -> None:
    calls = 0

    def f(x: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal calls
        calls += 1
        values, gradients = Fig3().values_and_gradients(x[None])
        return (float("nan") if calls > 60 else float(values[0])), gradients[0]

    with pytest.raises(LandscapeError, match="t = ") as caught:
        find_path(FunctionLandscape(f, size=2), START, END, n_points=20, steps=100)
    assert caught.value.point.shape == (2,)
    assert caught.value.best.height < 1.11


class Units:
    """A problem in which L has so much left, and whose gradient has so large a part of what is allowed."""

    def __init__(self, left: float = np.inf, stationary: bool = True) -> None:
        self.remaining, self.stationary = lambda state: left, lambda state: stationary


def ending(objectives: list[float], solver: Any, reference: float = -np.inf, **units: Any) -> Ending | None:
    """What the rule says of some L_0 … L_k at the last."""
    rule = Rule(Units(**units), solver, reference)  # type: ignore[arg-type]
    found = None
    for L in objectives:
        found = rule(SimpleNamespace(objective=L))  # type: ignore[arg-type]
    return found


def test_a_search_is_converged_where_it_gains_little_and_its_gradient_vanishes() -> None:
    adam, few = AdamSolver(), FewPointsFirst()
    assert ending([1.0 / (k + 1) for k in range(200)], adam) is None
    assert ending([1.0] + [0.0] * 50, adam) is None
    assert ending([1.0] + [0.0] * 100, adam) is Ending.CONVERGED
    assert ending([1.0] + [0.0] * 100, adam, stationary=False) is None
    assert ending([1.0] + [0.0] * 101, adam, stationary=False) is Ending.STALLED
    assert ending([1.0] + [0.0] * 10, QuasiNewton()) is Ending.CONVERGED
    deep = [1e3] + [0.1 - 0.001 * k for k in range(20)]  # little of what there was, much of what there is
    assert ending(deep, few) is Ending.CONVERGED
    assert ending(deep, few, left=0.07) is None
    assert ending(deep[1:], few) is None
    assert ending(deep[1:], few, reference=1e3) is Ending.CONVERGED  # where a search resumes from a path
    slow = [1e3, *np.linspace(0.2, 0.1, 14), 0.1, 0.1]  # for two steps only
    assert ending(slow, few, left=0.09) is None
    assert ending(slow, QuasiNewton(), left=0.09) is Ending.CONVERGED
    assert ending([*slow, *[0.1] * 9], few, left=0.09) is Ending.CONVERGED


def test_auto_ends_where_nothing_stands_above_the_ends() -> None:
    stiff = np.geomspace(1e-4, 1, 40)  # far down, for long
    land = FunctionLandscape(lambda x: (x**2 @ stiff, 2 * stiff * x), size=40, batched=True)
    ends = np.random.default_rng(0).standard_normal((2, 40)) + 3
    path = find_path(land, *ends, objective="sum", lam=0, solver="auto")
    assert (path.reason, path.converged, path.height) == (Ending.NO_BARRIER, True, max(path.height_ends))
    assert len(path.history["height"]) == 11
    path = find_path(land, *ends, objective="sum", lam=0, solver="lbfgs-gss")
    assert (path.reason, len(path.history["height"])) == (Ending.NO_BARRIER, 11)


@pytest.mark.parametrize("options", [{"solver": s} for s in ("adam", "lbfgs-gss", "auto")] + [{"method": "neb"}])
@pytest.mark.parametrize("objective", ["maxflux", "sum"])
def test_units_do_not_matter(options: dict[str, Any], objective: str) -> None:
    """Energies in joules, coordinates in metres, or both so large that slopes are tiny."""
    land = Camelback()
    options = {**options, "n_points": 25} | ({} if "method" in options else {"objective": objective})
    heights = []
    for energy, length in ((1.0, 1.0), (1e-19, 1.0), (1e5, 1.0), (1.0, 1e10), (1e-19, 1e-10)):

        def f(points: np.ndarray, energy: float = energy, length: float = length) -> tuple[np.ndarray, np.ndarray]:
            values, gradients = land.values_and_gradients(points / length)
            return energy * values, energy * gradients / length

        scaled = FunctionLandscape(f, size=2, batched=True)
        heights.append(find_path(scaled, *(length * land.minima[:2]), **options).maximum / energy)
    assert heights == pytest.approx([heights[0]] * 5, rel=1e-6)
    assert heights[0] == pytest.approx(0.5437, abs=1e-3)


def double_well(x: np.ndarray) -> tuple[float, np.ndarray]:
    return (x[0] ** 2 - 1) ** 2 + x[1] ** 2, np.array([4 * x[0] * (x[0] ** 2 - 1), 2 * x[1]])


@pytest.mark.parametrize("solver", ["lbfgs-gss", "auto"])
@pytest.mark.parametrize("objective", ["maxflux", "smoothmax"])
@pytest.mark.parametrize("scale", [1e-12, 1, 1e6])
def test_a_stage_without_a_way_down_is_not_the_end(solver: str, objective: str, scale: float) -> None:
    """Its straight line is the lowest path, so L-BFGS soon finds nothing lower."""

    def f(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = double_well(x)
        return scale * value, scale * gradient

    options: dict[str, Any] = {"solver": solver, "objective": objective}
    path = find_path(f, np.array([-1.0, 0.0]), np.array([1.0, 0.0]), **options)
    assert (path.converged, path.reason) == (True, Ending.CONVERGED)
    assert path.maximum == pytest.approx(scale, rel=1e-9)
    again = find_path(f, np.array([-1.0, 0.0]), np.array([1.0, 0.0]), initial=path, **options)
    assert (again.converged, again.reason) == (True, Ending.CONVERGED)


@pytest.mark.parametrize("solver", ["lbfgs-gss", "auto"])
@pytest.mark.parametrize(("factor", "reason"), [(-1.0, "line search"), (np.nan, "not finite")])
def test_a_wrong_gradient_has_not_converged(solver: str, factor: float, reason: str) -> None:
    def f(x: np.ndarray) -> tuple[float, np.ndarray]:
        values, gradients = Fig3().values_and_gradients(x[None])
        return float(values[0]), factor * gradients[0]

    if solver == "auto" and np.isnan(factor):
        with pytest.raises(LandscapeError, match=r"the gradient at t = 0\.\d+ holds nan, at \("):
            find_path(f, START, END, solver=solver)
        return
    path = find_path(f, START, END, solver=solver)
    assert (path.converged, path.reason) == (False, reason)


def test_a_height_that_falls_until_the_last_stage_has_not_converged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "MOST_STAGES", 1)
    path = find_path(MullerBrown(), *MullerBrown.minima[:2], solver="auto")
    assert (path.converged, path.reason) == (False, "stages")


def test_a_function_learns_its_size_from_the_ends() -> None:
    land = FunctionLandscape(lambda x: tuple(a[0] for a in Fig3().values_and_gradients(x[None])))
    assert find_path(land, START, END, steps=3).start.size == 2


def test_a_trial_step_into_a_wall_is_refused_not_fatal() -> None:
    """Half of the plane is forbidden; the unit steps of L-BFGS-GSS run into it and are taken back."""

    def walled(x: Any) -> tuple[float, Any]:
        if x[1] > 0.3:
            return float("nan"), np.full(2, np.nan)
        value = 0.01 * x[1] ** 2 - 3 * x[1] * (1 - x[0] ** 2)
        return value, np.array([6 * x[0] * x[1], 0.02 * x[1] - 3 * (1 - x[0] ** 2)])

    land = FunctionLandscape(walled, size=2)
    path = find_path(
        land, np.array([-1.0, 0.0]), np.array([1.0, 0.0]), solver="lbfgs-gss", objective="sum", lam=1e-3, steps=30
    )
    assert path.values == pytest.approx(land.values(path.points(path.t)), abs=1e-12)
    assert path.points(path.t)[:, 1].max() > 0.2
    finder = FourierPathFinder(land, solver="lbfgs-gss", objective="sum", lam=1e-3)
    for state in itertools.islice(finder.steps([-1.0, 0], [1.0, 0]), 25):
        assert state.values == pytest.approx(land.values(points_of(state, [-1.0, 0], [1.0, 0])), abs=1e-12)


def points_of(state: Any, start: Any, end: Any) -> np.ndarray:
    C = sine_basis(np.linspace(0, 1, len(state.values)), len(state.coefficients))
    return C @ np.concatenate([[start, end], state.coefficients])


@pytest.mark.parametrize("method", ["fourier", "bezier", "polyline", "neb", "autoneb"])
@pytest.mark.parametrize("potential", [Fig3, MullerBrown, LepsOscillator])
def test_every_method_finds_the_barrier(method: str, potential: Any, tmp_path: FilePath) -> None:
    land = potential()
    options: dict[str, Any] = {"n_points": 13} if "neb" in method else {"solver": "auto"}
    path = find_path(land, land.minima[0], land.minima[1], method=method, **options)
    saddle, low = land.values(land.saddles[:1])[0], land.values(land.minima[:1])[0]
    assert path.maximum == pytest.approx(saddle, abs=1e-3 * (saddle - low))
    assert path.points([0.0, 1.0]) == pytest.approx(land.minima[:2], abs=1e-12)
    assert land.values(path.points(path.t)) == pytest.approx(path.values, abs=1e-9)
    path.save(tmp_path / "p.npz")
    again = load_path(tmp_path / "p.npz")
    assert np.array_equal(again.points([0.3, 0.77]), path.points([0.3, 0.77]))


def test_bases_reach_zero_at_both_ends_and_hold_their_curves() -> None:
    t = np.linspace(0, 1, 41)
    for basis in BASES.values():
        C = basis(t, 7)
        assert C.shape == (41, 9)
        assert not C[[0, -1], 2:].any()
        assert C[:, :2].sum(axis=1) == pytest.approx(np.ones(41))
    points = np.random.default_rng(0).standard_normal((5, 2))
    line = points[0] + np.arange(1, 4)[:, None] / 4 * (points[-1] - points[0])
    rows = np.concatenate([points[[0, -1]], points[1:-1] - line])
    curve = points
    for _ in range(4):  # De Casteljau, at t = 0.3
        curve = 0.7 * curve[:-1] + 0.3 * curve[1:]
    assert BASES["bernstein"](np.array([0.3]), 3) @ rows == pytest.approx(curve, abs=1e-12)
    vertices = [np.interp(t, np.linspace(0, 1, 5), points[:, k]) for k in range(2)]
    assert BASES["hat"](t, 3) @ rows == pytest.approx(np.stack(vertices, axis=1), abs=1e-12)


def test_a_band_counts_and_names_what_is_not_finite() -> None:
    land = FunctionLandscape(Fig3().values_and_gradients, size=2, batched=True)
    path = find_path(land, START, END, method="neb", n_points=7, steps=20)
    assert path.evaluations == land.evaluations
    assert path.evaluations.values >= 2
    assert path.evaluations.gradients == 5 * len(path.history["height"])
    walled = FunctionLandscape(lambda x: (np.nan if abs(x[0]) < 0.1 else x @ x, 2 * x), size=2)
    with pytest.raises(LandscapeError, match=r"the value at t = 0\.5 is nan, at \(-0\.065, -0\.28\)") as caught:
        find_path(walled, START, END, method="neb", n_points=9, steps=5)
    assert caught.value.t == 0.5


class AfterSomeCalls:
    """Fig. 3, which does something else after so many points."""

    def __init__(self, calls: int, then: Callable[[float, np.ndarray], Any]) -> None:
        self.left, self.then = calls, then

    def __call__(self, x: np.ndarray) -> Any:
        self.left -= 1
        values, gradients = Fig3().values_and_gradients(x[None])
        return (float(values[0]), gradients[0]) if self.left >= 0 else self.then(float(values[0]), gradients[0])


def interrupt(value: float, gradient: np.ndarray) -> Any:
    raise KeyboardInterrupt


@pytest.mark.parametrize("method", ["fourier", "neb", "autoneb"])
def test_every_search_that_ends_early_keeps_its_path(method: str) -> None:
    last, calls = (2, 60) if method == "fourier" else (5, 200)

    def stop(state: Any) -> None:
        if state.step == last:
            raise KeyboardInterrupt

    def check(path: Any) -> None:
        assert Fig3().values(path.points(path.t)) == pytest.approx(path.values, rel=1e-9)
        assert path.height == path.history["height"][path.best_step] < 1.11
        assert np.isnan(path.maximum_t)

    with pytest.raises(SearchInterrupted) as stopped:
        find_path(Fig3(), START, END, method=method, progress=stop)
    assert len(stopped.value.best.history["height"]) == last + 1
    assert stopped.value.best.reason == "interrupted"
    check(stopped.value.best)
    with pytest.raises(SearchInterrupted) as stopped:
        find_path(AfterSomeCalls(calls, interrupt), START, END, method=method)
    check(stopped.value.best)
    with pytest.raises(LandscapeError, match=r"value at t = 0\.\d+ is nan, at \(") as caught:
        find_path(AfterSomeCalls(calls, lambda f, g: (np.nan, g)), START, END, method=method)
    assert caught.value.best.reason == "not finite"
    check(caught.value.best)
    with pytest.raises(LandscapeError, match=r"t = 0\.\d+, the function raised ZeroDivisionError") as caught:
        find_path(AfterSomeCalls(calls, lambda f, g: 1 / 0), START, END, method=method)
    check(caught.value.best)


@pytest.mark.parametrize("method", ["fourier", "neb", "autoneb"])
def test_a_gradient_that_is_not_finite_is_called_one(method: str) -> None:
    def f(x: np.ndarray) -> tuple[float, np.ndarray]:
        values, gradients = Fig3().values_and_gradients(x[None])
        return float(values[0]), np.array([gradients[0, 0], np.nan if x[0] > 0 else gradients[0, 1]])

    with pytest.raises(LandscapeError, match=r"the gradient at t = 0\.\d+ holds nan, at \(0\.") as caught:
        find_path(f, START, END, method=method, objective="sum" if method == "fourier" else None)
    assert caught.value.point[0] > 0
    assert caught.value.t == pytest.approx((caught.value.point[0] - START[0]) / (END[0] - START[0]), rel=1e-6)


@pytest.mark.parametrize(("n_points", "steps"), [(5, 3), (5, 10), (10, 0), (10, 10), (6, "auto")])
def test_the_maximum_of_a_band_is_that_of_its_piecewise_linear_path(n_points: int, steps: Any) -> None:
    """Between few images the piecewise-linear path rises far above them."""
    land = MullerBrown()
    path = find_path(land, *land.minima[:2], method="neb", n_points=n_points, steps=steps)
    dense = land.values(path.points(np.linspace(0, 1, 20_001))).max()
    assert path.maximum == pytest.approx(dense, abs=1e-4)
    assert land.values(path.points(path.maximum_t)) == pytest.approx(path.maximum, abs=1e-9)
    assert path.best_step == len(path.history["height"]) - 1


@pytest.mark.parametrize("method", ["neb", "autoneb"])
@pytest.mark.parametrize("n_points", [8, 9])
@pytest.mark.parametrize("aside", [0.0, 1e-3])
def test_a_band_that_begins_relaxed_climbs_at_once(method: str, n_points: int, aside: float) -> None:
    ends = np.array([[-1.0, aside], [1.0, aside]])
    path = find_path(double_well, *ends, method=method, n_points=n_points)
    assert (path.converged, path.reason) == (True, Ending.CONVERGED)
    assert path.height == pytest.approx(1, rel=1e-7)
    assert path.evaluations.gradients < 3000


@pytest.mark.parametrize(("n_points", "reason"), [(12, "under-resolved"), (50, "converged")])
def test_a_barrier_between_the_points_is_no_end_of_a_search(n_points: int, reason: str) -> None:
    """Ten terms can move so few points down both sides of a barrier that none is left on it."""

    def double_well(x: np.ndarray) -> tuple[float, np.ndarray]:
        return (x[0] ** 2 - 1) ** 2 + x[1] ** 2, np.array([4 * x[0] * (x[0] ** 2 - 1), 2 * x[1]])

    ends = np.array([[-1.0, 0.0], [1.0, 0.0]])
    options: dict[str, Any] = {"solver": "auto", "objective": "sum", "lam": 1e-3}
    path = find_path(double_well, *ends, n_points=n_points, steps="auto", **options)
    assert (path.reason, path.converged) == (reason, reason == "converged")
    assert path.maximum == pytest.approx(1, abs=1e-6)
    if reason == "under-resolved":
        assert path.height < 1e-5
        finer = find_path(double_well, *ends, n_points=50, steps="auto", initial=path, **options)
        assert (np.diff(finer.history["cumulative_loss"] + finer.history["penalty"]) <= 1e-9).all()
        assert (finer.reason, finer.converged) == (Ending.CONVERGED, True)
        assert finer.height > 0.9


@pytest.mark.parametrize("method", ["neb", "autoneb"])
@pytest.mark.parametrize("slope", [0.0, 1.0])
def test_a_band_without_a_top_has_nothing_to_climb(method: str, slope: float) -> None:
    def valley(x: np.ndarray) -> tuple[float, np.ndarray]:
        away = x[1] - np.sin(3 * x[0])
        return slope * (x[0] + 10 * away**2), slope * np.array([1 - 60 * away * np.cos(3 * x[0]), 20 * away])

    path = find_path(valley, np.zeros(2), np.array([1.0, np.sin(3)]), method=method, n_points=9)
    assert (path.converged, path.reason, path.maximum) == (True, Ending.NO_BARRIER, slope)
    assert path.evaluations.gradients < 3000


def test_a_top_between_the_images_of_a_band_is_a_barrier() -> None:
    def f(x: np.ndarray) -> tuple[float, np.ndarray]:
        bump = np.exp(-(((x[0] - 0.95) / 0.02) ** 2))
        return x[0] + 2 * bump, np.array([1 - 4 * bump * (x[0] - 0.95) / 0.02**2, 0.0])

    path = find_path(f, np.zeros(2), np.array([1.0, 0.0]), method="neb", n_points=9)
    assert path.maximum > path.height == max(path.height_ends)
    assert (path.reason, path.converged, path.under_resolved) == (Ending.UNDER_RESOLVED, False, True)


@pytest.mark.parametrize("method", ["neb", "autoneb"])
def test_bands_of_many_images_stand_still(method: str) -> None:
    """Also where a band rests at tangents that jump, with forces that do not vanish until an image climbs."""
    for potential, n_points in ((MullerBrown, 50), (MullerBrown, 6), (Fig3, 13)):
        land = potential()
        path = find_path(land, *land.minima[:2], method=method, n_points=n_points)
        assert path.converged
        assert path.height == pytest.approx(land.values(land.saddles[:1])[0], rel=1e-7)
        assert path.evaluations.gradients < 1100 * n_points


@pytest.mark.parametrize("budget", [100, 600, 3000])
@pytest.mark.parametrize("objective", ["maxflux", "sum"])
def test_no_search_takes_more_points_than_its_budget(
    budget: int, objective: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    land = MullerBrown()
    counted = FunctionLandscape(land.values_and_gradients, size=2, batched=True, memory=0)
    spent: list[int] = []

    def noting(problem: Any, b: Any, values: Any) -> Any:
        spent.append(counted.evaluations.values + counted.evaluations.gradients)
        return path_maximum(problem, b, values)

    monkeypatch.setattr(maximum, "path_maximum", noting)
    for name, method in ENTRIES.items():
        if not method.searches:
            continue
        counted.evaluations, spent[:] = Evaluations(), []
        band = "neb" in name
        method = replace(method, images=13) if band else replace(method, objective=objective, n_terms=10, n_points=50)
        n_points = 13 if band else 50
        path = find_path(counted, *land.minima[:2], method, budget=budget, steps="auto")
        cost = path.evaluations.values + path.evaluations.gradients
        assert (spent[-1] if spent else cost) <= budget, name
        if not path.converged:
            assert path.reason in (Ending.BUDGET, Ending.STEPS, Ending.NOT_STATIONARY), name
        if path.reason is Ending.BUDGET:
            assert spent[-1] >= 0.5 * budget, name
        assert len(path.t) == n_points or budget == 100, name


def test_methods_are_compared_within_a_budget() -> None:
    land = MullerBrown()
    result = compare_methods(land, land.minima[0], land.minima[1], 3000)
    assert set(result.paths) == set(result.curves)
    for name, path in result.paths.items():
        curve = result.curves[name]
        if name == "linear":
            continue
        assert curve[-1, 0] <= 3000
        assert curve[0, 1] <= path.height_linear + 1e-9
        assert (np.diff(curve[:, 0]) >= 0).all()
        assert path.maximum < 0 < path.height_linear
    assert result.plot().get_xscale() == "log"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"budget": 10}, "the budget is 10 points; expected at least the"),
        ({"budget": 20, "n_points": 7, "images": 30}, "expected at least the 30"),
        ({"budget": float("nan")}, "the budget is nan"),
        ({"budget": 600.5}, "the budget is 600.5"),
        ({"methods": ("linear", "string")}, "no method is called 'string'"),
        ({"methods": ()}, "no method is given; expected some of 'fourier, adam', 'fourier"),
        ({"methods": ("neb", "neb")}, "neb is given twice"),
        ({"images": 2}, "neb: images is 2"),
        ({"n_terms": -1}, "fourier, adam: n_terms is -1"),
        ({"lr": 0.1}, "fourier, lbfgs-gss: lr belongs to the solver 'adam'"),
        ({"nterms": 3}, "nterms has no effect on"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_evaluated(
    arguments: dict[str, Any], message: str
) -> None:
    land = FunctionLandscape(double_well, size=2)
    with pytest.raises(ValueError, match=message):
        compare_methods(land, *np.array([[-1.0, 0.1], [1.0, 0.1]]), **{"budget": 100, **arguments})
    assert land.evaluations == Evaluations()
    if "budget" in arguments and "n_points" not in arguments:
        with pytest.raises(ValueError, match=message):
            find_path(land, np.array([-1.0, 0.1]), np.array([1.0, 0.1]), budget=arguments["budget"])


@pytest.mark.parametrize("solver", ["adam", "lbfgs-gss", "auto"])
@pytest.mark.parametrize("objective", ["sum", "maxflux"])
def test_a_search_goes_on_from_a_path(solver: str, objective: str, tmp_path: FilePath) -> None:
    land, options = Fig3(), {"solver": solver, "objective": objective, "n_terms": 10, "n_points": 50}
    first = find_path(land, START, END, steps=6, **options)
    first.save(tmp_path / "p.npz")
    second = find_path(land, START, END, initial=load_path(tmp_path / "p.npz"), **options)
    assert second.history["height"][0] == pytest.approx(first.height, rel=1e-9)
    assert second.height_linear == pytest.approx(first.height_linear, rel=1e-12)
    assert second.metadata["lam"] == first.metadata["lam"]
    if objective == "maxflux":
        assert second.maximum <= first.maximum + 1e-9
    else:
        before, after = ((p.history["cumulative_loss"] + p.history["penalty"]).min() for p in (first, second))
        assert after <= before
    with pytest.raises(ValueError, match="another end"):
        find_path(land, START, START + 0.1, n_terms=10, initial=first)
    with pytest.raises(ValueError, match="10 terms, the search 4: give n_terms=10"):
        find_path(land, START, END, n_terms=4, initial=first)
