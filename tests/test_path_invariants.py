"""What holds for every path: it is what it says, whatever the method, the objective, the sizes and the landscape."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest

from minilandscape.landscape import Evaluations, FunctionLandscape
from minilandscape.networks import initial_vector, network_landscape
from minilandscape.paths import Path, find_path, load_path
from minilandscape.potentials import Camelback, LennardJones, Leps

#: Samples of a path that is looked at closely.
SAMPLES = 20_001
SOLVERS = ("adam", "lbfgs-gss", "auto")
OBJECTIVES = ("sum", "maxflux", "smoothmax")
SIZES = ((3, 0), (3, 5), (4, 1), (7, 2), (15, 14), (13, 30), (50, 10), (200, 3))


def lj6() -> tuple[np.ndarray, np.ndarray]:
    """The octahedron of six atoms, and another labelling of it that lies near."""
    octahedron = (
        2 ** (1 / 6)
        * np.sqrt(0.5)
        * np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], dtype=float)
    )
    turn = np.array([[np.cos(0.5), -np.sin(0.5), 0], [np.sin(0.5), np.cos(0.5), 0], [0, 0, 1]])
    moved = octahedron @ turn
    moved[4] += [0.25, 0.1, 0.0]
    return octahedron.ravel(), moved.ravel()


class Case:
    """A landscape that counts on its own account, and two endpoints."""

    def __init__(self, name: str, small_mnist: Any) -> None:
        self.name, self.rtol = name, 1e-12
        if name == "fcp":
            land = network_landscape("fcp", small_mnist.train[:100])
            self.land, self.rtol = CountedSpans(land), 2e-5  # single precision, and products that are kept
            self.f = land.values
            self.ends = [initial_vector("fcp", np.random.default_rng(s)) for s in (1, 2)]
            return
        potential: Any = {"camelback": Camelback(), "leps": Leps(), "lj6": LennardJones(6)}[name]
        self.land = FunctionLandscape(potential.values_and_gradients, potential.size, batched=True, memory=0)
        self.f = potential.values
        self.ends = list(lj6()) if name == "lj6" else list(potential.minima[:2].copy())

    @property
    def counted(self) -> Evaluations:
        """What the landscape itself has counted."""
        return self.land.evaluations


class CountedSpans:
    """A network whose spans add up what they evaluate."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.spans = inner, []
        self.alone = Evaluations()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def span(self, basis: Any) -> Any:
        self.spans.append(self.inner.span(basis))
        return self.spans[-1]

    def values_and_gradients(self, points: Any) -> Any:
        self.alone += Evaluations(0, len(points))
        return self.inner.values_and_gradients(points)

    @property
    def evaluations(self) -> Evaluations:
        return sum((span.evaluations for span in self.spans), self.alone)


def cases() -> Iterator[Any]:
    """Every solver with every objective and every size on one landscape, and every landscape with some of them."""
    for (n_points, n_terms), solver, objective in itertools.product(SIZES, SOLVERS, OBJECTIVES):
        options = {"n_points": n_points, "n_terms": n_terms, "solver": solver, "objective": objective}
        yield "camelback", {**options, "steps": 12 if solver == "adam" else "auto"}
    for name, solver, objective in itertools.product(("leps", "lj6"), SOLVERS, OBJECTIVES):
        for n_points, n_terms in ((50, 10), (7, 3)):
            options = {"n_points": n_points, "n_terms": n_terms, "solver": solver, "objective": objective}
            yield name, {**options, "steps": 30 if solver == "adam" else "auto"}
    for solver, objective in itertools.product(SOLVERS, OBJECTIVES):
        yield "fcp", {"n_points": 9, "n_terms": 3, "solver": solver, "objective": objective, "steps": 7}
    yield "fcp", {"n_points": 20, "budget": 160, "objective": "maxflux", "steps": "auto"}
    for name, method, n_points in itertools.product(("camelback", "leps", "lj6"), ("neb", "autoneb"), (3, 13)):
        yield name, {"method": method, "n_points": n_points, "steps": 60}
    for name, method, objective in itertools.product(("camelback", "lj6"), ("bezier", "polyline"), OBJECTIVES):
        yield name, {"method": method, "n_points": 21, "n_terms": 5, "objective": objective, "steps": 25}
    for name in ("camelback", "leps", "lj6", "fcp"):
        yield name, {"method": "linear", "n_points": 17}


def label(value: Any) -> str:
    return "-".join(str(v) for v in value.values()) if isinstance(value, dict) else str(value)


@pytest.mark.parametrize(("name", "options"), list(cases()), ids=label)
def test_a_path_is_what_it_says(name: str, options: dict[str, Any], small_mnist: Any, tmp_path: FilePath) -> None:
    case = Case(name, small_mnist)
    ends = [end.copy() for end in case.ends]
    path = find_path(case.land, *case.ends, **options)
    assert path.evaluations == case.counted
    assert 2 <= path.rounds <= path.evaluations.values + path.evaluations.gradients
    if "budget" in options:
        assert path.evaluations.values + path.evaluations.gradients <= options["budget"] + after_the_search(path)
    check(path, case)
    for ours, before in zip(case.ends, ends, strict=True):  # untouched, and not shared
        assert np.array_equal(ours, before)
        ours += 1
    assert np.array_equal(path.points([0.0, 1.0]).astype(ends[0].dtype), np.stack(ends))
    path.save(tmp_path / "p.npz")
    again = load_path(tmp_path / "p.npz")
    assert_same(path, again)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("method", ["fourier", "bezier", "polyline"])
def test_a_search_ends_at_its_target_barrier(method: str, objective: str, small_mnist: Any) -> None:
    ends_at_its_target({"method": method, "objective": objective, "n_points": 21, "n_terms": 5}, small_mnist)


@pytest.mark.parametrize("method", ["neb", "autoneb"])
def test_a_band_ends_at_its_target_barrier(method: str, small_mnist: Any) -> None:
    ends_at_its_target({"method": method, "n_points": 13}, small_mnist)


def ends_at_its_target(options: dict[str, Any], small_mnist: Any) -> None:
    """The barrier over continuous t is what ends it, at fewer evaluations; out of reach, the search is another's."""
    case = Case("camelback", small_mnist)
    options = {**options, "steps": "auto"}
    far = find_path(case.land, *case.ends, **options)
    line = find_path(case.land, *case.ends, "linear", n_points=options["n_points"])
    target = far.barrier + 0.2 * (line.barrier - far.barrier)
    case = Case("camelback", small_mnist)
    path = find_path(case.land, *case.ends, **options, target_barrier=target)
    assert path.reason == "target barrier"
    assert not path.converged
    assert far.barrier < path.barrier <= target
    assert path.evaluations == case.counted
    assert sum(vars(path.evaluations).values()) < sum(vars(far.evaluations).values())
    check(path, case)
    never = find_path(case.land, *case.ends, **options, target_barrier=0.5 * far.barrier)
    assert (never.reason, never.maximum) == (far.reason, far.maximum)
    assert never.evaluations == far.evaluations


@pytest.mark.parametrize("target", [-0.1, float("nan"), float("inf"), "0.1", True])
def test_a_target_barrier_is_a_number_of_at_least_0(target: Any, small_mnist: Any) -> None:
    case = Case("camelback", small_mnist)
    with pytest.raises(ValueError, match=r"target_barrier is .*; expected a number of at least 0"):
        find_path(case.land, *case.ends, target_barrier=target)


def after_the_search(path: Path) -> int:
    """What the maximum of the final path may take: a few rounds of halving."""
    return 4 * len(path.t) + 60


def check(path: Path, case: Case) -> None:
    """Values, heights, lengths and the maximum against the landscape itself."""
    dtype = path.start.dtype
    f = case.f(path.points(path.t).astype(dtype))
    size = np.abs(f).max()
    assert path.values == pytest.approx(f, rel=case.rtol, abs=case.rtol * size)
    assert path.height == path.values.max()
    line = case.f((path.start + path.t[:, None] * (path.end - path.start.astype(np.float64))).astype(dtype))
    assert path.height_linear == pytest.approx(line.max(), rel=case.rtol * 10, abs=case.rtol * size)
    assert path.height_ends == pytest.approx(case.f(np.stack(case.ends)), rel=case.rtol, abs=case.rtol * size)
    steps = np.linalg.norm(np.diff(path.points(path.t), axis=0), axis=1)
    assert path.length == pytest.approx(steps.sum(), rel=max(case.rtol, 1e-9))
    assert path.history["height"][path.best_step] == pytest.approx(path.height, rel=case.rtol, abs=case.rtol * size)
    assert path.history["length"][path.best_step] == pytest.approx(path.length, rel=max(case.rtol, 1e-9))
    assert not (path.converged and path.under_resolved)
    assert path.converged == path.reason.converged
    samples = 501 if case.name == "fcp" else SAMPLES
    dense = case.f(path.points(np.linspace(0, 1, samples)).astype(dtype)).max()
    tolerance = 1e-5 * np.ptp(f) + case.rtol * size
    assert path.maximum >= path.height - case.rtol * size
    assert dense - path.maximum <= tolerance
    at = case.f(path.points(path.maximum_t).astype(dtype))[0]
    assert path.maximum == pytest.approx(at, rel=case.rtol, abs=case.rtol * size)
    higher = max(path.height_ends)
    assert path.barrier == pytest.approx(path.maximum - higher)
    assert path.barrier >= -case.rtol * size


def assert_same(a: Path, b: Path) -> None:
    for name in ("start", "end", "coefficients", "t", "values"):
        assert np.array_equal(getattr(a, name), getattr(b, name)), name
    for name, curve in a.history.items():
        assert np.array_equal(curve, b.history[name]), name
    names = ("height", "height_linear", "length", "maximum", "maximum_t", "best_step", "converged", "reason")
    for name in (*names, "under_resolved", "evaluations", "rounds", "metadata", "basis", "barrier"):
        assert getattr(a, name) == getattr(b, name), name
    assert type(a.reason) is type(b.reason)


@pytest.mark.parametrize("method", ["fourier", "bezier", "polyline", "neb", "autoneb"])
@pytest.mark.parametrize("objective", [None, "smoothmax", "sum"])
@pytest.mark.parametrize("name", ["camelback", "leps", "lj6"])
def test_what_is_given_is_never_made_worse(method: str, objective: str | None, name: str, small_mnist: Any) -> None:
    """A search that is resumed, again and again, a few steps at a time."""
    if objective is not None and "neb" in method:
        pytest.skip("bands have no objective")
    case = Case(name, small_mnist)
    options: dict[str, Any] = {"method": method, "n_points": 15} | ({} if "neb" in method else {"n_terms": 4})
    options |= {} if objective is None else {"objective": objective}
    path = find_path(case.land, *case.ends, steps=40, **options)
    for steps in (0, 1, 3, 7, "auto"):
        more = find_path(case.land, *case.ends, steps=steps, initial=path, **options)
        if objective == "sum":  # L decides
            L = [p.history["cumulative_loss"][p.best_step] + p.history["penalty"][p.best_step] for p in (path, more)]
            assert L[1] <= L[0] + 1e-12 * abs(L[0])
        else:
            assert more.maximum <= path.maximum + 1e-9 * abs(path.maximum)
        check(more, case)
        path = more


@pytest.mark.parametrize("kind", ["path", "points", "inner points", "function"])
@pytest.mark.parametrize("method", ["fourier", "bezier", "polyline", "neb"])
def test_a_search_begins_from_a_path_of_any_kind(kind: str, method: str) -> None:
    """Over the higher of two passes, where a search from the straight line takes the lower one."""

    def ring(x: np.ndarray) -> tuple[float, np.ndarray]:
        away = x @ x - 1
        return float(away**2 + 0.2 * x[1]), 4 * away * x + np.array([0, 0.2])

    ends = np.array([[-1.0, 0.0], [1.0, 0.0]])

    def above(t: float) -> np.ndarray:
        return np.array([2 * t - 1, 0.7 * np.sin(np.pi * t)])

    points = np.array([above(t) for t in np.linspace(0, 1, 9)])
    given: Any = {
        "path": find_path(ring, *ends, "neb", n_points=9, steps=0, initial=points),
        "points": points,
        "inner points": list(points[1:-1]),
        "function": above,
    }[kind]
    options: dict[str, Any] = {"n_points": 13} if method == "neb" else {"n_points": 31, "n_terms": 7}
    path = find_path(ring, *ends, method, initial=given, **options)
    assert path.points(0.5)[0, 1] > 0.9
    assert path.maximum == pytest.approx(0.1973, abs=2e-3)  # the saddle near (0, 0.974)
    assert find_path(ring, *ends, method, **options).points(0.5)[0, 1] < -0.5
