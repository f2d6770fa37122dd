"""L-BFGS-GSS at the bottom of float64, and on landscapes of every kind."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from minilandscape.landscape import Evaluations, FunctionLandscape
from minilandscape.optimizers import LandscapeLine, LbfgsState, lbfgs_gss

FUNCTIONS = {
    "bowl": lambda x: (float(x @ x), 2 * x),
    "quartic": lambda x: (float((x**4).sum()), 4 * x**3),
    "octic": lambda x: (float((x**8).sum()), 8 * x**7),
    "exponential": lambda x: (float(np.exp(-x).sum()), -np.exp(-x)),
}


@pytest.mark.parametrize("unit_step", [False, True])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_underflow_ends_the_run_without_a_warning(name: str, unit_step: bool) -> None:
    """Below the smallest normal number nothing can be divided by y·s any more."""
    f: Callable[[Any], Any] = FUNCTIONS[name]
    landscape = FunctionLandscape(f, size=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for state in lbfgs_gss(LandscapeLine(landscape, np.array([1.0, 0.7, -0.4])), unit_step=unit_step):
            assert np.isfinite(state.x).all()
            if state.iteration == 3000:
                break
    assert state.reason in ("zero gradient", "line search")
    assert state.value < 1e-100


def test_values_never_rise_and_states_are_never_changed() -> None:
    landscape = FunctionLandscape(FUNCTIONS["quartic"], size=3)
    states = []
    for state in lbfgs_gss(LandscapeLine(landscape, np.array([1.0, 0.7, -0.4]))):
        states.append((state, state.x.copy(), state.value))
        if state.iteration == 15:
            break
    values = [value for _, _, value in states]
    assert all(later < earlier for earlier, later in itertools.pairwise(values))
    for state, x, value in states:
        assert np.array_equal(state.x, x)
        assert landscape.values(x[None])[0] == pytest.approx(value, rel=1e-12)


def test_refresh_is_called_every_ten_accepted_steps() -> None:
    calls: list[int] = []

    class Counting(LandscapeLine):
        def refresh(self) -> None:
            calls.append(len(calls))

    line = Counting(FunctionLandscape(FUNCTIONS["octic"], size=3), np.array([1.0, 0.7, -0.4]))
    for state in lbfgs_gss(line):
        if state.iteration == 35:
            break
    assert len(calls) == 3


def test_an_object_with_the_required_methods_alone_will_do() -> None:
    class Bowl:
        size = 2

        def values_and_gradients(self, points: Any) -> tuple[np.ndarray, np.ndarray]:
            return (points**2).sum(axis=1), 2 * points

    *_, state = lbfgs_gss(LandscapeLine(Bowl(), np.ones(2)), loss_floor=1e-9)
    assert state.reason == "target loss"


@pytest.mark.parametrize("history", [0, 1, 2, 5, np.int64(3)])
def test_no_more_pairs_are_kept_than_asked_for(history: int) -> None:
    line = LandscapeLine(FunctionLandscape(FUNCTIONS["octic"], size=3), np.array([1.0, 0.7, -0.4]))
    kept = []
    for state in lbfgs_gss(line, history=history):
        kept.append(len(state.s))
        assert len(state.y) == len(state.s)
        if state.iteration == 12:
            break
    assert max(kept) == history  # the first pair of all is none: the step went beyond the bottom
    assert kept[2:] == [min(k, history) for k in range(1, len(kept) - 1)]


def test_without_pairs_every_step_is_along_the_gradient() -> None:
    f = FUNCTIONS["quartic"]
    before = None
    for state in lbfgs_gss(LandscapeLine(FunctionLandscape(f, size=3), np.array([1.0, 0.7, -0.4])), history=0):
        if before is not None:
            gradient, step = f(before)[1], before - state.x
            assert step @ gradient == pytest.approx(np.linalg.norm(step) * np.linalg.norm(gradient), rel=1e-12)
        before = state.x
        if state.iteration == 5:
            break


@pytest.mark.parametrize(("history", "error"), [(-1, ValueError), (2.5, TypeError)])
def test_a_history_that_is_no_number_of_pairs_is_refused(history: Any, error: type[Exception]) -> None:
    line = LandscapeLine(FunctionLandscape(FUNCTIONS["bowl"], size=3), np.ones(3))
    with pytest.raises(error):
        next(lbfgs_gss(line, history=history))


@pytest.mark.parametrize(("aside", "kept"), [(1e-2, 1), (1e-6, 0)])
def test_a_pair_at_right_angles_says_nothing_of_the_curvature(aside: float, kept: int) -> None:
    """y·s/(|y||s|) is about 2e-2 and 2e-6 where s leads along the valley and y across it."""
    curvatures = np.array([1.0, 1 / aside**2])
    land = FunctionLandscape(lambda x: (0.5 * float(x @ (curvatures * x)), curvatures * x), size=2)
    x, s = np.array([2.0, 3.0]), np.array([1.0, aside])
    pair = (np.array([1.0, 0.0]),), (curvatures * [1.0, 0.0],)
    state = LbfgsState(3, x, float(land.values(x[None])[0]), Evaluations(), *pair, (x - s, curvatures * (x - s)))
    _, after = itertools.islice(lbfgs_gss(LandscapeLine(land, x), state=state), 2)
    assert [*map(list, after.s)] == [[1.0, 0.0], pytest.approx(s)][: 2 * kept]


def test_a_unit_step_that_lowers_nothing_is_not_taken() -> None:
    """A pair that tells half of the curvature leads from one side of the bowl to the other, equally high."""
    land = FunctionLandscape(FUNCTIONS["bowl"], size=1)
    state = LbfgsState(1, np.ones(1), 1.0, Evaluations(), (np.ones(1),), (np.ones(1),))
    _, after = itertools.islice(lbfgs_gss(LandscapeLine(land, np.ones(1)), unit_step=True, state=state), 2)
    assert after.value < 0.5
