"""The stage on mini-batches, with which the solver "auto" starts between networks over many images."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minilandscape as ml
from minilandscape.data import Images
from minilandscape.networks import MODELS, initial_vector, network_landscape
from minilandscape.optimizers import Adam
from minilandscape.paths import SearchInterrupted, batches, checkpoint
from minilandscape.paths.curve import Curve
from minilandscape.paths.endings import Ending
from minilandscape.paths.meter import Meter
from minilandscape.paths.objectives import PowerSum
from minilandscape.paths.problem import PathProblem
from minilandscape.paths.shown import path_rows

OPTIONS: dict[str, Any] = {"solver": "auto", "n_terms": 4, "n_points": 14}


@pytest.fixture(scope="module")
def images(small_mnist: Any) -> Images:
    both = small_mnist.train, small_mnist.test
    return Images(np.concatenate([of.images for of in both]), np.concatenate([of.labels for of in both]))


@pytest.fixture(scope="module")
def ends(images: Images) -> np.ndarray:
    """Two networks that have learned something."""
    land = network_landscape("fcp", images)
    points, adam = np.stack([initial_vector("fcp", seed) for seed in (0, 1)]), Adam(lr=0.01)
    for _ in range(30):
        adam.update(points, land.values_and_gradients(points)[1])
    return points


@pytest.fixture(autouse=True)
def _however_long_they_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "WORTHWHILE", 0)


def shorten(monkeypatch: pytest.MonkeyPatch, iterations: int) -> None:
    """Limit the iterations of the first round, and those of later ones accordingly."""
    monkeypatch.setattr(batches, "FIRST_ITERATIONS", iterations)
    monkeypatch.setattr(batches, "ITERATIONS", 2 * iterations)


def problem_of(land: Any, ends: np.ndarray, **options: Any) -> PathProblem:
    curve = Curve.of("sine", np.linspace(0, 1, 14), 4)
    return PathProblem.of(land, *ends, curve, PowerSum(**{"lam": 1e-4, **options}), Meter())


def test_a_search_between_networks_begins_on_mini_batches(
    images: Images, ends: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first round is one step, counted as the images that it has seen, and is the same in every search."""
    shorten(monkeypatch, 40)
    land = network_landscape("fcp", images)
    states: list[Any] = []
    path = ml.find_path(land, *ends, **OPTIONS, steps=3, progress=states.append)
    spent = states[1].evaluations - states[0].evaluations
    assert spent.gradients == -(-40 * batches.POINTS * batches.FEWEST // 400) < 12 == spent.values
    assert states[1].rounds - states[0].rounds == 40 + 1
    assert states[1].cumulative_loss < 0.7 * states[0].cumulative_loss
    again = ml.find_path(land, *ends, **OPTIONS, steps=3)
    assert np.array_equal(again.coefficients, path.coefficients)
    assert len(path.history["height"]) == 4


def test_rounds_follow_while_they_lower_the_path_by_much(
    images: Images, ends: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each may take twice the iterations. Where no round fits the budget, the search begins on few points."""
    shorten(monkeypatch, 50)
    monkeypatch.setattr(batches, "LEAST_ITERATIONS", 10**9)  # it takes them
    problem = problem_of(network_landscape("fcp", images), ends)
    assert [batches.round_cost(400, k) for k in range(3)] == [6, 12, 24]
    monkeypatch.setattr(batches, "LEFT", 1.5)
    monkeypatch.setattr(batches, "LEFT_IF_COSTLY", 1.5)
    states: list[Any] = []
    ml.find_path(problem.landscape, *ends, **OPTIONS, steps=3, progress=states.append)
    assert [b.rounds - a.rounds for a, b in pairwise(states)] == [51, 101, 201]
    monkeypatch.setattr(batches, "LEFT_IF_COSTLY", 1e-9)  # the third costs more than a gradient of L
    states.clear()
    ml.find_path(problem.landscape, *ends, **OPTIONS, steps=3, progress=states.append)
    assert states[2].rounds - states[1].rounds == 101
    assert states[3].rounds - states[2].rounds < 101
    monkeypatch.setattr(batches, "LEFT", 1e-9)
    states.clear()
    ml.find_path(problem.landscape, *ends, **OPTIONS, steps=3, progress=states.append)
    assert states[1].rounds - states[0].rounds == 51
    assert states[2].rounds - states[1].rounds < 51
    monkeypatch.setattr(batches, "FIRST_ITERATIONS", 10**6)
    states.clear()
    ml.find_path(problem.landscape, *ends, **OPTIONS, budget=400, steps=2, progress=states.append)
    assert states[-1].evaluations.values + states[-1].evaluations.gradients <= 400
    assert states[-1].objective < states[0].objective


@pytest.mark.parametrize("killed_at", [1, 2])
def test_a_search_that_is_killed_after_a_round_goes_on_with_the_same_bits(
    killed_at: int, images: Images, ends: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "EVERY", 0.0)
    shorten(monkeypatch, 20)
    land, again = network_landscape("fcp", images), list[int]()
    search = partial(ml.find_path, land, *ends, **OPTIONS, steps=5)
    whole, file = search(), tmp_path / "search.npz"

    def kill(state: Any) -> None:
        if state.step == killed_at + 1:
            raise KeyboardInterrupt

    with pytest.raises(SearchInterrupted):
        search(checkpoint=file, progress=kill)
    found = search(checkpoint=file, progress=lambda state: again.append(state.step))
    assert again[0] == killed_at + 1
    assert np.array_equal(found.coefficients, whole.coefficients)
    assert found.evaluations == whole.evaluations
    assert found.rounds == whole.rounds
    n_rounds = found.metadata["minibatch_rounds"]
    assert n_rounds == whole.metadata["minibatch_rounds"] >= killed_at
    assert f"of which {n_rounds} on mini-batches" in str(path_rows(found, None))
    assert all(np.array_equal(found.history[name], curve) for name, curve in whole.history.items())


def test_the_first_round_ends_when_its_estimates_are_low(images: Images, ends: np.ndarray) -> None:
    problem = problem_of(network_landscape("fcp", images), ends)
    line, before = problem.all_values(problem.span()).max(), problem.meter.rounds
    found = batches.lowered_on_batches(problem, problem.zeros(), line, 0)
    assert batches.LEAST_ITERATIONS <= problem.meter.rounds - before < batches.FIRST_ITERATIONS
    span = problem.span()
    span.replace(problem.curve.rows, found)
    left = problem.all_values(span).max() - problem.ends.max()
    assert left < 0.1 * (line - problem.ends.max())


def test_points_of_the_first_round_are_denser_where_estimates_are_high_and_next_to_the_endpoints() -> None:
    course, rng = batches._FirstRound(2.0, 2.0), np.random.default_rng(0)
    assert course.rate(np.full(batches.POINTS, 2.0), 1) == 1
    t = np.concatenate([course.drawn(rng)[0] for _ in range(2000)])
    assert np.mean(t < 0.01) == pytest.approx(np.arccos(1 - 2 * 0.01) / np.pi, rel=0.1)
    course, n = batches._FirstRound(3.0, 2.0), 0
    while not course.is_over(n):
        t, weights = course.drawn(rng)
        assert np.allclose(weights, 1 / batches.POINTS)
        n += 1
        rate = course.rate(2 + 0.5 * ((t > 0.4) & (t < 0.45)), n)
    assert n == batches.FIRST_ITERATIONS  # a barrier is left
    assert batches.LEAST_RATE < rate <= 1
    t = np.concatenate([course.drawn(rng)[0] for _ in range(2000)])
    assert np.mean((t > 0.35) & (t < 0.5)) > batches.FOCUS
    while course.rate(np.full(batches.POINTS, 2.0), n) > batches.LEAST_RATE:
        course.drawn(rng)
    assert course.is_over(batches.LEAST_ITERATIONS)
    assert not course.is_over(batches.LEAST_ITERATIONS - 1)


def test_later_rounds_draw_points_next_to_the_endpoints() -> None:
    rng, course = np.random.default_rng(0), batches._LaterRound(100)
    t, weights = zip(*(course.drawn(rng) for _ in range(500)), strict=True)
    *evenly, start, end = np.transpose(t)
    assert np.allclose(np.diff(evenly, axis=0), 1 / (batches.POINTS - 2))
    for away in (start, 1 - end):
        assert batches.NEAREST <= away.min() < 1e-3 < 0.02 < away.max() <= batches.FARTHEST
        assert np.median(away) == pytest.approx(np.sqrt(batches.NEAREST * batches.FARTHEST), rel=0.3)
    assert np.allclose(np.sum(weights, axis=1), 1 + 2 * batches.WEIGHT / batches.POINTS)
    rates = [course.rate(np.zeros(batches.POINTS), done) for done in range(101)]
    assert rates[0] == 1
    assert rates[50] == pytest.approx(0.5)
    assert rates[100] == 0


@pytest.mark.parametrize(("n", "n_batch"), [(400, 8), (401, 8), (500, 64), (6400, 64)])
def test_all_samples_are_drawn_before_any_is_drawn_again(n: int, n_batch: int) -> None:
    drawn, each = batches._drawn_samples(np.random.default_rng(0), n, n_batch), batches.POINTS * n_batch
    passes = np.concatenate([next(drawn).T.ravel() for _ in range(3 * n // each + 1)])[: 3 * n].reshape(3, n)
    assert next(drawn).shape == (batches.POINTS, n_batch)
    assert np.array_equal(np.sort(passes), np.tile(np.arange(n), (3, 1)))
    assert (passes[0] != passes[1]).any()


class Scaled:
    """A landscape in other units of its values."""

    def __init__(self, land: Any, unit: float) -> None:
        self.land, self.unit = land, unit
        self.size, self.n_samples, self.dtype = land.size, land.n_samples, land.dtype

    def values(self, points: Any) -> Any:
        return self.unit * self.land.values(points)

    def values_and_gradients(self, points: Any) -> Any:
        values, gradients = self.land.values_and_gradients(points)
        return self.unit * values, self.unit * gradients

    def batch_values_and_gradients(self, points: Any, indices: Any) -> Any:
        values, gradients = self.land.batch_values_and_gradients(points, indices)
        return self.unit * values, self.unit * gradients


@pytest.mark.parametrize("unit", [2.0**-20, 2.0**20])
def test_rounds_do_not_depend_on_the_units_of_the_values(unit: float, images: Images, ends: np.ndarray) -> None:
    land = network_landscape("fcp", images)
    one, other = (
        ml.find_path(Scaled(land, of), *ends, **OPTIONS, objective="sum", lam=1e-4 * of, steps=2) for of in (1.0, unit)
    )
    assert one.rounds == other.rounds > batches.LEAST_ITERATIONS
    np.testing.assert_allclose(one.coefficients, other.coefficients, rtol=1e-5, atol=1e-9)  # squares that underflow


def test_a_mini_batch_that_cannot_be_evaluated_ends_its_round(
    images: Images, ends: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    land, calls = Scaled(network_landscape("fcp", images), 1.0), list[int]()
    of_all = land.batch_values_and_gradients

    def batch(points: Any, indices: Any) -> Any:
        calls.append(len(points))
        values, gradients = of_all(points, indices)
        return (values * np.nan, gradients * np.nan) if len(calls) == 30 else (values, gradients)

    monkeypatch.setattr(land, "batch_values_and_gradients", batch)
    problem = problem_of(ml.as_landscape(land), ends)
    found = batches.lowered_on_batches(problem, problem.zeros(), 5.0, 0)
    assert len(calls) == 30
    assert np.isfinite(found).all()


def test_a_round_that_does_not_lower_the_path_is_left_out(
    images: Images, ends: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search then begins on few points, from the straight line."""
    shorten(monkeypatch, 10)
    land = network_landscape("fcp", images)
    monkeypatch.setattr(batches, "RATE", 100.0)
    after = ml.find_path(land, *ends, **OPTIONS, steps=2)
    monkeypatch.setattr(batches, "LEAST_SAMPLES", 401)
    without = ml.find_path(land, *ends, **OPTIONS, steps=2)
    np.testing.assert_allclose(after.coefficients, without.coefficients, rtol=1e-3, atol=1e-6)


def test_rounds_towards_a_target_barrier_follow_until_the_budget_is_spent(
    images: Images, ends: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that raises L, whose path is left out; without a target such a round is the last."""
    shorten(monkeypatch, 10)
    land, lowered, numbers = network_landscape("fcp", images), batches.lowered_on_batches, list[int]()

    def every_other(problem: PathProblem, b: Any, height: float, number: int) -> Any:
        numbers.append(number)
        return lowered(problem, b, height, number) if number % 2 == 0 else b + 1.0

    monkeypatch.setattr(batches, "lowered_on_batches", every_other)
    options: dict[str, Any] = {**OPTIONS, "objective": "sum", "lam": 1e-4, "budget": 700}
    states: list[Any] = []
    path = ml.find_path(land, *ends, **options, target_barrier=0.0, progress=states.append)
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > 4
    assert path.metadata["minibatch_rounds"] == len(numbers)
    rounds = states[: len(numbers) + 1]
    assert [state.step for state in rounds] == [0, *(number + 1 for number in numbers)]
    for before, after in pairwise(rounds):
        assert np.array_equal(before.coefficients, after.coefficients) == (after.step % 2 == 0)
        assert after.objective <= before.objective
    next_one = batches.round_cost(land.n_samples, len(numbers)) + 14
    spent = rounds[-1].evaluations.gradients + rounds[-1].evaluations.values
    assert spent + next_one > 700
    numbers.clear()
    ml.find_path(land, *ends, **options)
    assert numbers == [0, 1]
    numbers.clear()
    unlimited = {**options, "budget": None, "steps": 7}
    ml.find_path(land, *ends, **unlimited, target_barrier=0.0)
    assert numbers == list(range(batches.ROUNDS_TO_TARGET)), "more would cost more than they can gain"


def test_mini_batches_serve_means_over_many_images_alone(
    images: Images, ends: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    land = network_landscape("fcp", images)
    assert batches.has_batches(land)
    assert not batches.has_batches(network_landscape("fcp", images[:399]))
    assert not batches.has_batches(ml.FunctionLandscape(land.values_and_gradients, size=land.size, batched=True))
    shorten(monkeypatch, 10)
    begun: list[list[Any]] = []
    for power in (1.0, 2.0):
        begun.append([])
        ml.find_path(land, *ends, **OPTIONS, power=power, lam=1e-4, steps=1, progress=begun[-1].append)
    assert [len({11} & {b.rounds - a.rounds for a, b in pairwise(states)}) for states in begun] == [1, 0]


def test_searches_for_the_lowest_maximum_begin_on_mini_batches_too(
    images: Images, ends: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rounds follow while they lower the barrier; the search ends after one that leaves none over continuous t."""
    shorten(monkeypatch, 120)
    land, states = network_landscape("fcp", images), list[Any]()
    path = ml.find_path(land, *ends, objective="maxflux", n_points=14, progress=states.append)
    assert states[0].evaluations.gradients == 0
    assert batches.LEAST_ITERATIONS < states[1].rounds - states[0].rounds <= 120 + 1
    assert sorted({state.step for state in states}) == list(range(states[-1].step + 1))
    assert path.reason is Ending.NO_BARRIER
    assert path.maximum == max(path.values[[0, -1]])
    given = ml.find_path(land, *ends, objective="maxflux", n_points=14, steps=1, initial=path)
    assert given.rounds < batches.LEAST_ITERATIONS


@pytest.mark.parametrize("budget", [300, 400, 600])
def test_a_round_is_kept_where_the_budget_ends_while_its_maximum_is_measured(
    budget: int, images: Images, ends: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sample points show no barrier, so that the maximum between them is looked for."""
    shorten(monkeypatch, 60)
    land, lowered, done = network_landscape("fcp", images), batches.lowered_on_batches, list[int]()

    def noted(*of: Any) -> Any:
        done.append(1)
        return lowered(*of)

    monkeypatch.setattr(batches, "lowered_on_batches", noted)
    straight = land.values(ends[0] + np.linspace(0, 1, 9)[:, None] * (ends[1] - ends[0]))
    further = ends[0] + np.linspace(1, 3, 81)[:, None] * (ends[1] - ends[0])
    end = further[np.argmax(land.values(further) > 0.9 * straight.max())]  # nearly as high as the barrier
    path = ml.find_path(land, ends[0], end, objective="smoothmax", n_terms=4, n_points=6, budget=budget)
    assert done
    assert path.metadata["minibatch_rounds"] == len(done)


def test_rounds_run_on_a_gpu(
    images: Images, ends: np.ndarray, strict_cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten(monkeypatch, 3)
    problem = problem_of(network_landscape("fcp", images, device="gpu"), ends)
    b = batches.lowered_on_batches(problem, problem.zeros(), 5.0, 0)
    assert isinstance(b, strict_cupy.ndarray)
    assert problem.all_values(problem.span()).shape == (14,)
    states: list[Any] = []
    ml.find_path(problem.landscape, *ends, objective="maxflux", n_points=8, steps=2, progress=states.append)
    assert states[1].rounds - states[0].rounds == 4


@pytest.mark.parametrize(
    ("size", "n", "times", "begins"),
    [
        # FCP, seconds measured without and with mini-batches: JAX 8.2 and 8.6, 16 and 11; PyTorch 7 and 11, 16 and 13.
        (42_310, 2000, (6.36e-6, 2.5e-3), False),
        (42_310, 5000, (6.36e-6, 2.5e-3), True),
        (42_310, 5000, (6.36e-6, 1e-2), False),
        (42_310, 10_000, (6.36e-6, 1e-2), True),
        (42_310, 399, (1.0, 0.0), False),
        (42_310, 400, None, True),
    ],
)
def test_searches_begin_on_mini_batches_where_these_save_time(
    size: int, n: int, times: Any, begins: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()

    class Of:
        def values_and_gradients(self, points: Any) -> Any: ...
        def batch_values_and_gradients(self, points: Any, indices: Any) -> Any: ...

    land: Any = Of()
    land.size, land.n_samples = size, n
    if times:
        land.batch_times = times
    assert batches.has_batches(ml.as_landscape(land)) == begins


@pytest.mark.parametrize("model", MODELS)
def test_own_networks_begin_on_mini_batches_on_any_device(model: str, images: Images, strict_cupy: Any) -> None:
    for device in ("cpu", "gpu"):
        assert batches.has_batches(network_landscape(model, images, device=device))
