"""What a search says of its end is so: mirror lines, clashes, wrong gradients, any unit, walls."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from minilandscape.connect import refine_saddle
from minilandscape.landscape import FunctionLandscape, LandscapeDefaults, LandscapeError
from minilandscape.networks import network_landscape
from minilandscape.paths import Ending, SearchInterrupted, find_path
from minilandscape.paths.batches import RoundMemory
from minilandscape.paths.curve import Curve
from minilandscape.paths.meter import Meter
from minilandscape.paths.objectives import PowerSum
from minilandscape.paths.problem import PathProblem
from minilandscape.paths.record import Keeps, Record
from minilandscape.potentials import AnaPot, Camelback, Fig3, LennardJones, Leps, LepsOscillator, MullerBrown
from minilandscape.training import train

SEARCHES: list[dict[str, Any]] = [
    {},
    {"solver": "lbfgs-gss"},
    {"solver": "adam"},
    {"objective": "smoothmax"},
    {"objective": "sum", "solver": "auto"},
    {"objective": "sum", "solver": "adam"},
    {"method": "bezier"},
    {"method": "polyline"},
    {"method": "neb", "n_points": 13},
    {"method": "autoneb", "n_points": 13},
]


def named(options: dict[str, Any]) -> str:
    return "-".join(map(str, options.values())) or "defaults"


def ring(x: np.ndarray) -> tuple[float, np.ndarray]:
    """Two ways round a hill, mirror images of each other; saddles 0.0975 at (0, ±0.974679)."""
    away = x @ x - 1
    return float(away**2 + 0.1 * x[1] ** 2), 4 * away * x + np.array([0, 0.2 * x[1]])


def egg_box(x: np.ndarray) -> tuple[float, np.ndarray]:
    return -float(np.cos(2 * np.pi * x).sum()), 2 * np.pi * np.sin(2 * np.pi * x)


TETRAHEDRON = 2 ** (1 / 6) / np.sqrt(8) * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=float)


@pytest.mark.parametrize("options", SEARCHES, ids=named)
@pytest.mark.parametrize(
    ("f", "start", "end", "right"),
    [
        (ring, [-1.0, 0.0], [1.0, 0.0], 0.0975),
        (egg_box, [0.0, 0.0], [1.0, 1.0], 0.0),
        (LennardJones(4), TETRAHEDRON.ravel(), (TETRAHEDRON * [-1, 1, 1]).ravel(), -5.073421),
    ],
    ids=["ring", "egg box", "tetrahedron and its mirror image"],
)
def test_a_search_leaves_a_mirror_line_or_says_that_it_is_on_one(
    options: dict[str, Any], f: Any, start: Any, end: Any, right: float
) -> None:
    """The gradient across the line is exactly 0, and nothing else ever leaves it."""
    path = find_path(f, np.array(start), np.array(end), **options)
    if path.converged and options.get("objective") != "sum":
        assert path.maximum == pytest.approx(right, abs=5e-3)
    if options.get("objective") == "sum" and path.converged:  # it has left the line, though not for the lowest saddle
        assert path.maximum < 0.2
    assert path.converged or path.reason in (Ending.HIGHER_INDEX, Ending.STALLED)
    if not options:
        assert path.converged
        again = find_path(f, np.array(start), np.array(end))
        assert np.array_equal(path.coefficients, again.coefficients)
        assert refine_saddle(f, path).value == pytest.approx(path.maximum, abs=2e-3)


@pytest.mark.parametrize("options", SEARCHES, ids=named)
@pytest.mark.parametrize("height", [1e3, 1e6, 1e9])
def test_a_spike_on_the_straight_line_makes_nothing_small(options: dict[str, Any], height: float) -> None:
    def f(x: np.ndarray) -> tuple[float, np.ndarray]:
        spike = height * np.exp(-(x[0] ** 2 + (x[1] - 0.02) ** 2) / 0.02**2)
        slope = np.array([4 * x[0] * (x[0] ** 2 - 1), 2 * x[1]])
        return (x[0] ** 2 - 1) ** 2 + x[1] ** 2 + spike, slope - spike * 2 * (x - [0, 0.02]) / 0.02**2

    if options.get("solver") == "lbfgs-gss" or options.get("method") == "polyline":  # these need more
        options = {**options, "n_points": 50, "n_terms": 10}
    path = find_path(f, np.array([-1.0, 0.0]), np.array([1.0, 0.0]), **options)
    if path.converged:
        assert 1 - 1e-6 <= path.maximum <= 1.02
    assert path.converged or options.get("solver") == "adam" or options.get("objective") == "sum"


@pytest.mark.parametrize("options", [s for s in SEARCHES if s.get("solver") != "adam"], ids=named)
@pytest.mark.parametrize("n_points", [7, 12])
def test_a_clash_of_atoms_is_not_converged_far_above_the_saddle(options: dict[str, Any], n_points: int) -> None:
    """Two atoms of a cluster exchanged, on a straight line that runs them into each other."""
    turn = np.array([[np.cos(0.05), -np.sin(0.05), 0], [np.sin(0.05), np.cos(0.05), 0], [0, 0, 1]])
    end = (TETRAHEDRON[[1, 0, 2, 3]] @ turn).ravel()
    options = {**options, "n_points": n_points, "budget": 5000}
    path = find_path(LennardJones(4), TETRAHEDRON.ravel(), end, **options)
    assert not path.converged or path.maximum == pytest.approx(-5.073421, abs=0.05)


def scaled(land: Any, values: float, lengths: float = 1.0) -> FunctionLandscape:
    def f(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        value, gradient = land.values_and_gradients(points / lengths)
        return values * value, values / lengths * gradient

    return FunctionLandscape(f, size=land.size, batched=True, memory=0)


@pytest.mark.parametrize("options", [{}, *SEARCHES[1:5], *SEARCHES[6:]], ids=named)
@pytest.mark.parametrize("unit", [1e-200, 1e-30, 1e30, 1e300])
def test_no_unit_of_the_values_makes_a_search_converged(options: dict[str, Any], unit: float) -> None:
    land, start, end = Fig3(), np.array(Fig3.START), np.array(Fig3.END)
    path, plain = find_path(scaled(land, unit), start, end, **options), find_path(land, start, end, **options)
    assert path.maximum / unit == pytest.approx(plain.maximum, rel=2e-3)
    assert (path.reason, path.under_resolved) == (plain.reason, plain.under_resolved)


@pytest.mark.parametrize("objective", ["maxflux", "smoothmax", "sum"])
@pytest.mark.parametrize(("sign", "lr"), [(-1.0, None), (1.0, 10.0)])
def test_adam_on_a_wrong_gradient_or_at_a_wild_rate_is_not_converged(
    sign: float, lr: float | None, objective: str
) -> None:
    def f(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, gradients = Fig3().values_and_gradients(points)
        return values, sign * gradients

    land = FunctionLandscape(f, size=2, batched=True)
    path = find_path(land, np.array(Fig3.START), np.array(Fig3.END), solver="adam", lr=lr, objective=objective)
    assert not path.converged
    assert len(path.history["height"]) < 1000, "it should not go on for long"


IN_THE_PLANE = [Fig3(), MullerBrown(), Camelback(), AnaPot(), Leps(), LepsOscillator()]


@pytest.mark.parametrize("land", IN_THE_PLANE, ids=lambda land: type(land).__name__)
@pytest.mark.parametrize("method", ["fourier", "bezier", "polyline", "neb", "autoneb"])
def test_the_maximum_of_a_converged_path_is_the_saddle(method: str, land: Any) -> None:
    """To 0.1 % of the range of the values; and no path has a maximum below that of 20,001 points."""
    each = itertools.product(["maxflux", "smoothmax"], ["lbfgs-gss", "auto"])
    curves = [{"objective": objective, "solver": solver} for objective, solver in each]
    saddle, lowest = land.values(land.saddles[:1])[0], land.values(land.minima[:2]).min()
    for options in [{}] if "neb" in method else curves:
        path = find_path(land, *land.minima[:2], method=method, **options)
        densest = land.values(path.points(np.linspace(0, 1, 20_001))).max()
        assert path.maximum >= densest - 2e-6 * (densest - lowest), options
        assert path.converged or path.reason is Ending.NOT_STATIONARY, options
        if path.converged:
            assert path.maximum <= saddle + 1e-3 * (saddle - lowest), options


@pytest.mark.parametrize("options", SEARCHES, ids=named)
@pytest.mark.parametrize("land", [Camelback(), Leps(), MullerBrown()], ids=lambda land: type(land).__name__)
def test_what_is_converged_falls_no_more(options: dict[str, Any], land: Any) -> None:
    """A hundred more steps lower neither the maximum nor L by more than 1 % of what they are above the endpoints."""
    path = find_path(land, *land.minima[:2], **options)
    if not path.converged:
        assert path.reason in (Ending.NOT_STATIONARY, Ending.STALLED, Ending.STEPS)
        return
    more = find_path(land, *land.minima[:2], initial=path, **{**options, "steps": 100})
    assert path.maximum - more.maximum <= 0.01 * path.barrier
    if options.get("objective") != "sum":
        assert path.maximum == pytest.approx(land.values(land.saddles[:1])[0], abs=0.01 * path.barrier)


@pytest.fixture(scope="module")
def deep_ends(small_mnist: Any) -> list[np.ndarray]:
    """Two weight vectors for 30 images, with losses of 1e-6."""
    return [train("fcp", small_mnist.cut(30), seed=s, epochs=200, loss_floor=1e-6).train_weights for s in (0, 1)]


@pytest.mark.parametrize("solver", ["lbfgs-gss", "auto"])
def test_a_search_between_deep_endpoints_is_not_called_still_while_it_falls(
    solver: str, small_mnist: Any, deep_ends: list[np.ndarray]
) -> None:
    """Losses of 1e-6, where 1e-4 of the straight line's is a hundred times as high."""
    land, options = network_landscape("fcp", small_mnist.train[:30]), {"n_points": 12, "n_terms": 4, "solver": solver}
    path = find_path(land, *deep_ends, **options)
    assert max(path.height_ends) < 1e-5
    more = find_path(land, *deep_ends, **options, initial=path, steps=60)
    if path.converged:
        assert path.maximum - more.maximum <= 0.05 * max(path.barrier, 2e-5 * path.height_linear)


class Box(LandscapeDefaults):
    """A valley that exists in a box only; beyond it the object raises."""

    size = 2

    def __init__(self, error: type[Exception], limit: float = 0.12) -> None:
        self.error, self.limit, self.outside = error, limit, 0

    def values_and_gradients(self, points: Any) -> Any:
        if (np.abs(points[:, 1]) > self.limit).any():
            self.outside += 1
            raise self.error("outside of the box")
        bend = points[:, 1] - 0.1 * np.cos(np.pi * points[:, 0] / 2)
        values = 5 * bend**2 + (1 - points[:, 0] ** 2) ** 2
        by_x = 10 * bend * 0.05 * np.pi * np.sin(np.pi * points[:, 0] / 2) - 4 * points[:, 0] * (1 - points[:, 0] ** 2)
        return values, np.stack([by_x, 10 * bend], axis=1)


@pytest.mark.parametrize("error", [LandscapeError, RuntimeError, ValueError])
@pytest.mark.parametrize("solver", ["lbfgs-gss", "auto"])
def test_a_trial_step_that_raises_is_a_wall(solver: str, error: type[Exception]) -> None:
    """The first trial steps run out of the box."""
    land = Box(error)
    path = find_path(as_object(land), np.array([-1.0, 0.0]), np.array([1.0, 0.0]), solver=solver)
    assert path.maximum == pytest.approx(1, abs=1e-3)
    assert land.outside > 0
    assert path.metadata["walls"] >= land.outside
    assert "outside of the box" in path.metadata["last_wall"]


@pytest.mark.parametrize("error", [LandscapeError, ValueError])
@pytest.mark.parametrize("method", ["neb", "autoneb"])
def test_a_band_goes_around_a_wall(method: str, error: type[Exception]) -> None:
    land = Box(error, 0.1001)
    path = find_path(as_object(land), np.array([-1.0, 0.0]), np.array([1.0, 0.0]), method, n_points=13)
    assert path.converged
    assert path.maximum == pytest.approx(1, abs=1e-6)
    assert path.metadata["walls"] >= land.outside > 0


def test_a_band_with_forces_that_do_not_vanish_ends() -> None:
    """Errors of the forces beyond what counts as none."""
    land, rng = MullerBrown(), np.random.default_rng(0)

    def f(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, gradients = land.values_and_gradients(points)
        return values, gradients + rng.normal(size=gradients.shape)

    path = find_path(FunctionLandscape(f, size=2, batched=True), *land.minima[:2], "neb", n_points=7)
    assert path.reason is Ending.STALLED
    assert path.maximum == pytest.approx(land.values(land.saddles[:1])[0], abs=0.5)


def as_object(land: Any) -> Any:
    """A landscape of another package, which knows nothing of ours."""

    class Foreign:
        size = land.size

        def values_and_gradients(self, points: Any) -> Any:
            return land.values_and_gradients(points)

    return Foreign()


def test_an_interrupted_search_that_was_resumed_keeps_what_it_was_given() -> None:
    """The first steps at a new β lead up before they lead down."""
    land = MullerBrown()
    given = find_path(land, *land.minima[:2], steps=4)

    def stop(state: Any) -> None:
        if state.step == 1:
            raise KeyboardInterrupt

    with pytest.raises(SearchInterrupted) as stopped:
        find_path(land, *land.minima[:2], initial=given, progress=stop)
    assert stopped.value.best.maximum <= given.maximum + 1e-9
    resumed = find_path(land, *land.minima[:2], initial=given, steps=3)
    assert resumed.maximum <= given.maximum + 1e-9
    assert resumed.metadata["beta"] >= given.metadata["beta"]


@pytest.mark.parametrize("objective", ["maxflux", "smoothmax"])
@pytest.mark.parametrize("budget", [60, 100, 400])
def test_second_passes_of_a_network_count_against_the_budget(objective: str, budget: int, small_mnist: Any) -> None:
    land = network_landscape("lstm", small_mnist.train[:50])
    ends = np.random.default_rng(0).uniform(-0.6, 0.6, (2, land.size)).astype(np.float32)
    spent: list[int] = []

    def note(state: Any) -> None:
        spent.append(state.evaluations.values + state.evaluations.gradients)

    path = find_path(land, *ends, n_points=20, objective=objective, budget=budget, steps="auto", progress=note)
    assert path.reason in (Ending.BUDGET, Ending.NO_BARRIER)
    assert spent[-1] <= max(budget, 2 * 18 + 2)


@pytest.mark.parametrize("terms", [0, 1, 5])
def test_no_terms_leave_the_straight_line(terms: int) -> None:
    path = find_path(Fig3(), np.array(Fig3.START), np.array(Fig3.END), n_terms=terms, n_points=11)
    assert (path.reason is Ending.STRAIGHT_LINE) == (terms == 0)
    assert path.coefficients.shape == (terms, 2)
    assert terms or path.height == path.height_linear


@pytest.mark.parametrize("budget", range(160, 360, 20))
def test_a_search_that_leaves_a_mirror_line_keeps_to_its_budget(budget: int) -> None:
    """What was spent on looking at the maximum counts against the search that resumes from there."""

    def mirror(x: np.ndarray) -> tuple[float, np.ndarray]:
        away = x @ x - 1
        return float(away**2 + 0.1 * x[1] ** 2), 4 * away * x + np.array([0, 0.2 * x[1]])

    spent: list[int] = []

    def note(state: Any) -> None:
        spent.append(state.evaluations.values + state.evaluations.gradients)

    options: dict[str, Any] = {"n_points": 12, "n_terms": 3}
    ends = np.array([[-1.0, 0.0], [1.0, 0.0]])
    given = find_path(mirror, *ends, "polyline", steps=25, **options)
    path = find_path(mirror, *ends, "polyline", initial=given, budget=budget, progress=note, **options)
    assert max(spent) <= budget
    assert path.reason == "budget"


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("calls", [200, 230, 260, 290])
def test_a_band_that_ends_early_is_no_higher_between_its_images_than_what_was_given(calls: int, error: Any) -> None:
    land, made = MullerBrown(), 0
    given = find_path(land, *land.minima[:2], "neb", n_points=8, steps=25)

    def f(x: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal made
        made += 1
        if made >= calls:
            raise error
        values, gradients = land.values_and_gradients(x[None])
        return values[0], gradients[0]

    with pytest.raises((SearchInterrupted, LandscapeError)) as stopped:
        find_path(FunctionLandscape(f, memory=0), *land.minima[:2], "neb", n_points=8, initial=given)
    best = stopped.value.best  # type: ignore[union-attr]
    dense = [land.values(path.points(np.linspace(0, 1, 20_001))).max() for path in (best, given)]
    assert dense[0] <= dense[1] + 1e-3


@pytest.mark.parametrize("budget", [8, 15, 24])
def test_a_band_that_still_grew_is_compared_with_the_straight_line_at_its_own_points(budget: int) -> None:
    land = MullerBrown()
    path = find_path(land, *land.minima[:2], "autoneb", n_points=8, budget=budget)
    assert len(path.t) < 8
    assert path.height_linear == pytest.approx(
        land.values(path.start + path.t[:, None] * (path.end - path.start)).max(), rel=1e-12
    )


@pytest.mark.parametrize(
    "place", [0.0005, 0.002, 0.0041, 0.012, 0.0373, 0.3, 0.5, 0.71, 0.9, 0.98, 0.98735, 0.997, 0.9996]
)
@pytest.mark.parametrize("n_points", [20, 50])
def test_the_maximum_of_a_loss_is_seen_next_to_its_deep_endpoints(place: float, n_points: int) -> None:
    """A barrier a seventh as wide as its distance from an endpoint, or as half of a segment, between sample points."""
    away = min(place, 1 - place)
    width = min(0.05 * away, 0.25 / (n_points - 1))

    def f(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        bump = np.exp(-(((x[:, 0] - place) / width) ** 2))
        slope = np.stack([-2 * (x[:, 0] - place) / width**2 * bump, 2 * x[:, 1]], axis=1)
        return bump + x[:, 1] ** 2, slope

    land = FunctionLandscape(f, size=2, batched=True, memory=0)
    land.narrow_minima = True
    path = find_path(land, [0.0, 0.0], [1.0, 0.0], "linear", n_points=n_points)
    assert path.maximum == pytest.approx(1.0, abs=1e-3)
    assert path.maximum_t == pytest.approx(place, abs=0.1 * width)


@pytest.mark.parametrize("place", [0.004, 0.29])
def test_a_path_after_rounds_is_the_result_where_the_one_of_lowest_sum_hides_a_barrier(place: float) -> None:
    """Sample points of the straight line miss a narrow barrier; the path of the rounds avoids it, at a larger L."""

    def f(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        width = np.array([0.25 * min(place, 0.05), 1e-4])
        away = (x - [place, 0.0]) / width
        bump = np.exp(-(away**2).sum(axis=1))
        return bump + x[:, 1] ** 2, -2 * away / width * bump[:, None] + np.stack([0 * x[:, 0], 2 * x[:, 1]], axis=1)

    land = FunctionLandscape(f, size=2, batched=True, memory=0)
    land.narrow_minima = True
    curve = Curve.of("sine", np.linspace(0, 1, 20), 4)
    problem = PathProblem.of(land, [0.0, 0.0], [1.0, 0.0], curve, PowerSum(lam=1e-4), Meter())
    record = Record(problem, Keeps.LOWEST, {})
    for step, (bend, memory) in enumerate([(0.1, RoundMemory(0, 1.0)), (0.0, None)]):
        b, span = np.array([[0.0, bend], *3 * [[0.0, 0.0]]]), problem.span()
        span.replace(curve.rows, b)
        record.add(problem.state(step, b, problem.all_values(span), memory=memory))
    assert record.best is not None
    assert record.best.step == 1
    record.measure_maximum()
    assert record.best.step == 0
    assert record.best.top == pytest.approx(0.01, rel=0.01)


def hill(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute a hill between (0, 0) and (1, 0), which is lower: a path beside the hill has no barrier."""
    a, b = x.T
    top = np.exp(-((a - 0.5) ** 2) / 0.02 - b**2 / 0.18)
    by_a = -top * (a - 0.5) / 0.01 - 0.3 + 0.2 * a
    by_b = -top * b / 0.09 + 0.2 * b
    return top - 0.3 * a + 0.1 * (a**2 + b**2), np.stack([by_a, by_b], 1)


@pytest.mark.parametrize("solver", ["auto", "lbfgs-gss", "adam"])
@pytest.mark.parametrize("objective", ["maxflux", "smoothmax", "sum"])
def test_a_barrier_between_sample_points_is_none_that_is_not_there(objective: str, solver: str) -> None:
    """A search ends without a barrier where none is left over continuous t, not where the sample points show none."""
    land = FunctionLandscape(hill, size=2, batched=True)
    options: dict[str, Any] = {"objective": objective, "solver": solver, "n_points": 12, "n_terms": 4}
    path = find_path(land, [0, 0.01], [1, 0.02], **options, lam=0.0 if objective == "sum" else None)
    dense = land.values(path.points(np.linspace(0, 1, 20_001)))
    rise, line = dense.max() - max(path.height_ends), path.height_linear - max(path.height_ends)
    assert rise <= path.barrier + 1e-9
    assert (path.reason is Ending.NO_BARRIER) == (rise <= 2e-5 * line)
    if objective != "sum":
        assert path.reason is Ending.NO_BARRIER


@pytest.mark.parametrize("solver", ["auto", "lbfgs-gss"])
def test_a_path_that_runs_off_is_not_called_converged(solver: str) -> None:
    """On a plane that falls without end a sum has no minimum."""
    land = FunctionLandscape(
        lambda x: (
            x[:, 0] + np.exp(-(x[:, 1] ** 2)),
            np.stack([np.ones(len(x)), -2 * x[:, 1] * np.exp(-(x[:, 1] ** 2))], 1),
        ),
        size=2,
        batched=True,
    )
    path = find_path(land, [0, 0.0], [1, 0.1], objective="sum", lam=0, solver=solver, n_points=12, n_terms=4)
    assert (path.reason, path.converged) == (Ending.RAN_OFF, False)
    assert path.length > 1e6
