"""The optimisers against scipy, dense BFGS, PyTorch and plain formulas."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import scipy.optimize

from minilandscape.landscape import FunctionLandscape
from minilandscape.networks import initial_vector, network_landscape
from minilandscape.optimizers import (
    Adam,
    LandscapeLine,
    golden_section,
    lbfgs_gss,
    search_step,
    sgd,
    two_loop,
)


@pytest.mark.parametrize(("a", "b"), [(-3.0, 5.0), (5.0, -3.0), (1.2, 9.0), (-8.0, 1.6), (1.0, 1.6)])
def test_golden_section_finds_the_minimum_of_any_bracket(a: float, b: float) -> None:
    found = golden_section(lambda u: (u - 1.5) ** 2 + 2, a, b, tolerance=1e-12, evaluations=200)
    assert found.u == pytest.approx(1.5, abs=1e-5)
    assert found.evaluations <= 200


@pytest.mark.parametrize(("a", "b", "minimum"), [(2.0, 4.0, 2.0), (-4.0, -2.0, -2.0)])
def test_golden_section_goes_to_an_end(a: float, b: float, minimum: float) -> None:
    assert golden_section(lambda u: u**2, a, b).u == pytest.approx(minimum, abs=1e-3)


def test_golden_section_agrees_with_scipy_and_keeps_its_budget() -> None:
    def f(u: float) -> float:
        return float(np.cosh(u - 0.7) + 0.1 * u)

    theirs = scipy.optimize.golden(f, brack=(-1, 0.5, 3), tol=1e-9)
    assert golden_section(f, -1, 3, inner=(0.5, f(0.5)), tolerance=1e-14).u == pytest.approx(theirs, abs=1e-6)
    calls: list[float] = []
    found = golden_section(lambda u: calls.append(u) or f(u), -1, 3, evaluations=7, tolerance=0)
    assert len(calls) == found.evaluations == 7
    assert found.value == min(map(f, calls))
    with pytest.raises(ValueError, match="lie between"):
        golden_section(f, 0, 1, inner=(2, f(2)))
    with pytest.raises(ValueError, match="finite"):
        golden_section(f, 0, np.inf)


def test_values_that_are_not_finite_are_walls() -> None:
    found = golden_section(lambda u: np.nan if u > 1 else (u - 0.9) ** 2, 0, 5, tolerance=1e-10)
    assert found.u == pytest.approx(0.9, abs=1e-3)
    assert search_step(lambda u: np.inf if u > 0.01 else -u, 0.0).u > 0


@pytest.mark.parametrize("scale", [1e-3, 0.05, 0.2, 1.0, 4.0, 60.0])
def test_search_step_lowers_the_value_within_six_evaluations(scale: float) -> None:
    calls: list[float] = []
    found = search_step(lambda u: calls.append(u) or (u / scale - 1) ** 2, 1.0)
    assert len(calls) == found.evaluations <= 6
    assert found.value == (found.u / scale - 1) ** 2 < 1
    assert found.value == min((u / scale - 1) ** 2 for u in calls)


def test_search_step_stays_where_nothing_is_lower() -> None:
    found = search_step(lambda u: u, 0.0)
    assert (found.u, found.value, found.evaluations) == (0.0, 0.0, 6)


def test_two_loop_is_dense_bfgs() -> None:
    rng = np.random.default_rng(0)
    M = rng.standard_normal((8, 8))
    A = M @ M.T + np.eye(8)
    s = tuple(rng.standard_normal((5, 8)))
    y = tuple(A @ v for v in s)
    H = np.eye(8) * (s[-1] @ y[-1]) / (y[-1] @ y[-1])
    for a, b in zip(s, y, strict=True):
        V = np.eye(8) - np.outer(b, a) / (a @ b)
        H = V.T @ H @ V + np.outer(a, a) / (a @ b)
    g = rng.standard_normal(8)
    assert two_loop(g, s, y) == pytest.approx(H @ g, rel=1e-10)


def rosenbrock(size: int) -> FunctionLandscape:
    """Every call is counted."""
    return FunctionLandscape(lambda x: (scipy.optimize.rosen(x), scipy.optimize.rosen_der(x)), size=size, memory=0)


@pytest.mark.parametrize("unit_step", [False, True])
def test_lbfgs_gss_minimises_rosenbrock(unit_step: bool) -> None:
    landscape = rosenbrock(6)
    for state in lbfgs_gss(LandscapeLine(landscape, np.full(6, -1.0)), unit_step=unit_step):
        if state.iteration == 400:
            break
    assert state.value < 1e-12 or scipy.optimize.minimize(
        scipy.optimize.rosen, state.x, jac=scipy.optimize.rosen_der
    ).fun == pytest.approx(state.value, abs=1e-10)
    assert landscape.evaluations == state.evaluations


def test_lbfgs_gss_stops_with_its_reason() -> None:
    bowl = FunctionLandscape(lambda x: (float(x @ x), 2 * x), size=3)
    *_, floor = lbfgs_gss(LandscapeLine(bowl, np.ones(3)), loss_floor=1e-6)
    assert floor.reason == "target loss"
    assert floor.value <= 1e-6
    *_, zero = lbfgs_gss(LandscapeLine(bowl, np.zeros(3)))
    assert zero.reason == "zero gradient"
    uphill = FunctionLandscape(lambda x: (float(x @ x), -2 * x), size=3)
    *_, stuck = lbfgs_gss(LandscapeLine(uphill, np.ones(3)))
    assert stuck.reason == "line search"


def test_lbfgs_gss_resumes_with_the_same_bits(small_mnist: Any) -> None:
    landscape = network_landscape("fcp", small_mnist.train)
    start = initial_vector("fcp", np.random.default_rng(1))
    states = {}
    for state in lbfgs_gss(LandscapeLine(landscape, start)):
        states[state.iteration] = state
        if state.iteration == 25:
            break
    for resumed in lbfgs_gss(LandscapeLine(landscape, states[10].x), state=states[10]):
        if resumed.iteration == 25:
            break
    assert np.array_equal(resumed.x, states[25].x)
    assert resumed.evaluations == states[25].evaluations
    assert resumed.value == states[25].value < states[0].value / 2


def test_lbfgs_gss_runs_to_the_bottom_of_float32(small_mnist: Any) -> None:
    landscape = network_landscape("fcp", small_mnist.train[:60])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = []
        for state in lbfgs_gss(LandscapeLine(landscape, initial_vector("fcp", np.random.default_rng(1)))):
            values.append(state.value)
            if state.iteration == 600:
                break
    assert values[-1] < 1e-12
    assert landscape.values(state.x[None]) == pytest.approx([values[-1]], rel=1e-3)
    assert (np.diff(values) <= 0).all()


def test_sgd_is_the_plain_loop_and_resumes(small_mnist: Any) -> None:
    landscape = network_landscape("fcp", small_mnist.train, dtype="float64")
    start = initial_vector("fcp", np.random.default_rng(1), np.float64)
    states = sgd(landscape, start, np.random.default_rng(7), lr=0.2, batch_size=64)
    first, second, third = next(states), next(states), next(states)
    assert np.array_equal(first.x, start)
    x, rng = start.copy(), np.random.default_rng(7)
    order = rng.permutation(300)
    for k in range(0, 300, 64):
        x -= 0.2 * landscape.batch_values_and_gradients(x[None], order[k : k + 64])[1][0]
    assert second.x == pytest.approx(x, rel=1e-12)
    assert second.evaluations.gradients == 5
    again = sgd(landscape, start, np.random.default_rng(99), lr=0.2, batch_size=64, state=second)
    next(again)
    assert np.array_equal(next(again).x, third.x)


def test_adam_is_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 4))
    parameter = torch.tensor(x.copy(), requires_grad=True)
    theirs, ours = torch.optim.Adam([parameter], lr=0.03), Adam(lr=0.03)
    for _ in range(20):
        g = rng.standard_normal((3, 4))
        parameter.grad = torch.tensor(g)
        theirs.step()
        ours.update(x, g)
    assert x == pytest.approx(parameter.detach().numpy(), rel=1e-12)
