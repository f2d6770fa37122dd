"""The barrier between two minima in one call: right saddles, chains, walls, noise, rotated endpoints, refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import minilandscape as ml
from minilandscape.analysis.atom_alignment import align_atoms
from minilandscape.connect import ConnectionInterrupted, find_saddle, load_connection
from minilandscape.connect.chain import Chain
from minilandscape.connect.link import Link
from minilandscape.landscape import FunctionLandscape, LandscapeDefaults
from minilandscape.potentials import AnaPot, Camelback, Fig3, LennardJones, Leps, LepsOscillator, MullerBrown
from minilandscape.saddles import Known, Minimum, Surface


class Counting(LandscapeDefaults):
    """A landscape that counts the points and the batches that it is asked for."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.size = inner, inner.size
        self.points = self.rounds = 0

    def values_and_gradients(self, points: Any) -> Any:
        self.points += len(points)
        self.rounds += 1
        return self.inner.values_and_gradients(points)

    def zero_modes(self, point: Any) -> Any:
        return self.inner.zero_modes(point)


def is_minimum(land: Any, x: np.ndarray, gradient: float) -> bool:
    """Whether the gradient is small and the dense Hessian has no negative eigenvalue except zero modes."""
    h = 1e-5 * np.eye(x.size)
    hessian = (land.values_and_gradients(x + h)[1] - land.values_and_gradients(x - h)[1]) / 2e-5
    small = np.abs(land.values_and_gradients(x[None])[1]).max() <= gradient
    return bool(small and np.linalg.eigvalsh(0.5 * (hessian + hessian.T))[0] > -1e-3)


@pytest.mark.parametrize("potential", [AnaPot, Camelback, Fig3, Leps, LepsOscillator, MullerBrown])
def test_known_barriers(potential: Any, tmp_path: Path) -> None:
    land = Counting(potential())
    start, end = land.inner.minima[:2]
    found = find_saddle(land, start, end)
    assert found.converged, found.reason
    assert found.saddle is not None
    low, high = land.inner.values(np.stack([start, land.inner.saddles[0]]))
    assert found.saddle.value == pytest.approx(high, rel=1e-6)
    assert found.barrier_forward == pytest.approx(high - low, rel=1e-6)
    assert found.saddle.converged
    assert found.calls["total"] == land.points == sum(n for stage, n in found.calls.items() if stage != "total")
    assert found.rounds == land.rounds
    assert (found.minima[0] == start).all()
    for k, (minimum, value) in enumerate(zip(found.minima, found.minima_values, strict=True)):
        given = k in (0, len(found.minima) - 1)  # LEPS's are on their way to infinity
        assert given or is_minimum(land.inner, minimum, max(10 * found.saddle.tolerance, 1e-3))
        assert value == pytest.approx(land.inner.values(minimum[None])[0])
    path = found.path
    assert path is not None
    assert path.maximum == pytest.approx(found.saddle.value, rel=1e-9)
    assert path.values == pytest.approx(land.inner.values(path.points(path.t)), rel=1e-9, abs=1e-9)
    found.save(tmp_path / "found.npz")
    again = load_connection(tmp_path / "found.npz")
    assert repr(again) == repr(found)
    assert np.array_equal(again.minima, found.minima)
    assert again.path is not None
    assert np.array_equal(again.path.coefficients, path.coefficients)
    assert again.calls == found.calls


def test_a_chain_through_other_minima() -> None:
    """Müller–Brown passes a third minimum: by default its lower saddle is left alone, for the path stays below."""
    land = MullerBrown()
    first = find_saddle(land, *land.minima[:2])
    assert [saddle.value for saddle in first.saddles] == pytest.approx([-40.66484351], abs=1e-3)
    assert first.minima == pytest.approx(land.minima[[0, 2, 1]], abs=1e-3)
    assert first.reason.startswith("converged; one pair of the chain not searched")
    both = find_saddle(land, *land.minima[:2], every=True)
    assert both.converged, both.reason
    assert [saddle.value for saddle in both.saddles] == pytest.approx([-40.66484351, -72.24894012], abs=1e-3)
    assert both.calls["pieces"] > first.calls["pieces"]
    back = find_saddle(land, land.minima[1], land.minima[0], every=True)
    assert [saddle.value for saddle in back.saddles] == pytest.approx([-72.24894012, -40.66484351], abs=1e-3)
    assert back.barrier_forward == pytest.approx(both.barrier_reverse, abs=1e-3)


def test_without_verification_nothing_is_claimed() -> None:
    land = MullerBrown()
    found = find_saddle(land, *land.minima[:2], verify=False)
    assert found.saddle is not None
    assert found.saddle.value == pytest.approx(-40.66484351, abs=1e-3)
    assert not found.converged
    assert found.reason == "not verified"
    assert not found.saddle.converged
    assert found.saddle.eigenvalues.size == 0
    assert found.calls["verification"] == 0


@pytest.mark.parametrize("initial", ["points", "function", "path"])
def test_a_path_to_begin_from(initial: str) -> None:
    """Of two saddles, at y = ±1, the one on the side of the path that is given."""

    def f(X: Any) -> Any:
        x, y = X.T
        value = (x**2 + y**2 - 1) ** 2 + 0.1 * y**2
        return value, np.stack([4 * x * (x**2 + y**2 - 1), 4 * y * (x**2 + y**2 - 1) + 0.2 * y], axis=1)

    land, ends = FunctionLandscape(f, size=2, batched=True), np.array([[-1.0, 0], [1.0, 0]])
    for side in (1, -1):
        given: dict[str, Any] = {
            "points": np.array([ends[0], [-0.6, 0.7 * side], [0, 0.9 * side], [0.6, 0.7 * side], ends[1]]),
            "function": lambda t, side=side: np.array([-np.cos(np.pi * t), side * np.sin(np.pi * t)]),
        }
        given["path"] = ml.find_path(land, *ends, initial=given["points"], steps=2)
        found = find_saddle(land, *ends, initial=given[initial])
        assert found.converged, found.reason
        assert found.saddle is not None
        assert found.saddle.point == pytest.approx([0, side * 0.95**0.5], abs=1e-3)
        assert found.barrier_forward == pytest.approx(0.0975, abs=1e-6)


def quadratic(X: Any) -> Any:
    return 0.5 * (X**2).sum(axis=1), X.copy()


def line(f: Any) -> Counting:
    """A landscape of one coordinate, of (value, slope)."""
    return Counting(FunctionLandscape(lambda X: (f(X[:, 0])[0], f(X)[1]), size=1, batched=True))


def double_well(x: Any) -> Any:
    return (x**2 - 1) ** 2, 4 * x * (x**2 - 1)


@pytest.mark.parametrize("every", [False, True])
def test_minima_of_a_lattice(every: bool) -> None:
    """All five points lie in minima; the highest of the four peaks is one of those between."""

    def f(x: Any) -> Any:
        high, wave = 1 + 0.5 * np.exp(-((x - 1.5) ** 2)), np.sin(np.pi * x) ** 2
        return high * wave, -2 * (x - 1.5) * (high - 1) * wave + high * np.pi * np.sin(2 * np.pi * x)

    land = line(f)
    found = find_saddle(land, [0.0], [4.0], every=every)
    peaks = [f(np.linspace(k, k + 1, 10001))[0].max() for k in range(4)]
    assert found.converged, found.reason
    assert found.barrier_forward == pytest.approx(1.5, rel=1e-6)
    assert (found.calls["total"], found.rounds) == (land.points, land.rounds)
    if every:
        assert [saddle.value for saddle in found.saddles] == pytest.approx(peaks, rel=1e-5)
        assert found.minima[:, 0] == pytest.approx([0, 1, 2, 3, 4], abs=1e-3)
        assert found.reason == "converged"
    assert found.path is not None
    assert np.abs(np.diff(found.path.points(found.path.t)[:, 0])).min() > 0
    split = ml.split_at_minima(land, found.path)
    assert split[:, 0] == pytest.approx([0, 1, 2, 3, 4], abs=1e-3)
    tiny = line(lambda x: tuple(1e-200 * a for a in f(x)))
    assert ml.split_at_minima(tiny, found.path)[:, 0] == pytest.approx([0, 1, 2, 3, 4], abs=1e-3)
    with pytest.raises(TypeError, match="path is Connection; expected a Path"):
        ml.split_at_minima(land, found)  # type: ignore[arg-type]


@pytest.mark.parametrize("width", [0.05, 0.02])
def test_two_minima_without_a_rise_between_are_searched(width: float) -> None:
    """A peak beside the points that a coarse path is looked at: nothing rises there, and still the two are minima."""

    def f(x: Any) -> Any:
        (well, slope), peak = double_well(x), 3 * np.exp(-((x - 0.37) ** 2) / (2 * width**2))
        return 0.05 * well + peak, 0.05 * slope - (x - 0.37) / width**2 * peak

    land = line(f)
    found = find_saddle(land, [-1.0], [1.0])
    assert found.converged, found.reason
    assert found.barrier_forward == pytest.approx(f(np.linspace(-1, 1, 100001))[0].max(), rel=1e-5)
    assert (found.calls["total"], found.rounds) == (land.points, land.rounds)


def test_the_barrier_is_that_above_the_minimum_where_an_end_was_hardly_relaxed() -> None:
    found = find_saddle(line(double_well), [-1.0], [0.94])
    assert found.converged, found.reason
    assert found.minima[[0, -1], 0] == pytest.approx([-1, 1], abs=1e-3)
    assert found.barrier_reverse == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("curvature", "aside", "tolerance"), [(0.002, 0.2, 1e-3), (0.003, 0.25, 1e-3)])
def test_a_soft_mode_makes_no_second_minimum_of_an_end(curvature: float, aside: float, tolerance: float) -> None:
    """An end that is relaxed to the tolerance, and yet far from its stationary point along the soft mode."""

    def f(r: Any) -> Any:
        x, y = r
        return (x**2 - 1) ** 2 + curvature * y**2 / 2, np.array([4 * x * (x**2 - 1), curvature * y])

    end = np.array([1.0, aside])
    assert abs(f(end)[1]).max() < tolerance
    found = find_saddle(f, np.array([-1.0, 0.0]), end, tolerance=tolerance)
    assert found.reason == "converged"
    assert np.array_equal(found.minima, [[-1.0, 0.0], end])
    assert found.barrier_reverse == pytest.approx(1 - f(end)[0], abs=1e-4)


def test_two_minima_are_one_within_what_either_may_be_off() -> None:
    """Beside each other, they are the pair of a search, whose distance says nothing of how large a distance is."""
    surface = Surface(MullerBrown(), scale=0.1)
    known = Known([np.zeros(2)], [0.0], [Minimum(np.zeros(2), 0.0, away=0.08)], scale=2.0)
    near, far = (Minimum(np.array([x, 0.0]), 0.0, away=0.02) for x in (0.1, 0.11))
    assert known.at(surface, near) == 0
    assert known.at(surface, far) is None


@pytest.mark.parametrize("unit", [1e-300, 1e-120, 1e120])
def test_energies_whose_squares_are_no_numbers(unit: float) -> None:
    land = line(lambda x: tuple(unit * a for a in double_well(x)))
    found = find_saddle(land, [-1.0], [1.0])
    assert found.converged, found.reason
    assert found.barrier_forward / unit == pytest.approx(1, rel=1e-6)
    assert found.saddle is not None
    assert found.saddle.connects_ends
    assert found.minima_values / unit == pytest.approx([0, 0], abs=1e-6)
    assert (found.calls["total"], found.rounds) == (land.points, land.rounds)
    assert found.path is not None
    assert found.path.values.max() / unit == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("seed", [211, 312, 335, 366, 386])
def test_rough_landscapes(seed: int) -> None:
    """Descents whose steps are long beside the bumps: the gradient, which is right, is not blamed."""
    rng = np.random.default_rng(seed)
    centres, high, wide = rng.uniform(-1, 1, (25, 2)), rng.uniform(-1, 1, 25), rng.uniform(0.06, 0.25, 25)

    def f(X: Any) -> Any:
        away = X[:, None, :] - centres
        bumps = high * np.exp(-(away**2).sum(axis=2) / (2 * wide**2))
        r2 = (X**2).sum(axis=1)
        slopes = -((bumps / wide**2)[:, :, None] * away).sum(axis=1) + 1.2 * r2[:, None] * X
        return bumps.sum(axis=1) + 0.3 * r2**2, slopes

    from scipy.optimize import minimize

    land = FunctionLandscape(f, size=2, batched=True)
    minima: list[np.ndarray] = []
    for guess in rng.uniform(-1, 1, (8, 2)):
        found = minimize(lambda x: f(x[None])[0][0], guess, jac=lambda x: f(x[None])[1][0], options={"gtol": 1e-9}).x
        if all(np.linalg.norm(found - other) > 1e-3 for other in minima):
            minima.append(found)
    found = find_saddle(land, *minima[:2])
    assert found.converged, found.reason
    h = 1e-5 * np.eye(2)
    for saddle in found.saddles:
        hessian = (f(saddle.point + h)[1] - f(saddle.point - h)[1]) / 2e-5
        low, high_one = np.linalg.eigvalsh(0.5 * (hessian + hessian.T))
        assert low < 0 < high_one
    assert found.path is not None
    assert found.saddle is not None
    assert f(found.path.points(np.linspace(0, 1, 1000)))[0].max() <= found.saddle.value + 0.02 * found.barrier_forward


@pytest.mark.parametrize("a", [0.08, 0.3])
def test_the_barrier_is_right_however_high_the_straight_line(a: float) -> None:
    """A bent valley in ten dimensions, stiff on its sides, whose other end is far below."""
    c = np.geomspace(0.1, 1000, 9)
    # 10 (3 y⁴ − 4 (1 + a) y³ + 6 a y²) has minima at 0 and 1, and between them a maximum at a.
    top = 10 * (2 * a**3 - a**4)

    def f(X: Any) -> Any:
        y, z = X[:, 0], X[:, 1:] - 0.3 * X[:, :1] ** 2
        value = 10 * (3 * y**4 - 4 * (1 + a) * y**3 + 6 * a * y**2) + 0.5 * (c * z * z).sum(axis=1)
        along = 120 * y * (y - a) * (y - 1) - 0.6 * y * (c * z).sum(axis=1)
        return value, np.concatenate([along[:, None], c * z], axis=1)

    found = find_saddle(FunctionLandscape(f, size=10, batched=True), np.zeros(10), np.r_[1.0, 0.3 * np.ones(9)])
    assert found.converged, found.reason
    assert found.barrier_forward == pytest.approx(top, rel=2e-6)


def test_a_wrong_gradient_is_said_to_be_wrong() -> None:
    found = find_saddle(line(lambda x: (double_well(x)[0], 1.5 * double_well(x)[1])), [-1.0], [1.0])
    assert not found.converged
    assert "the gradient is not that of the values" in found.reason


@pytest.mark.parametrize("seed", [2, 5])
def test_noise_as_large_as_the_barrier_claims_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def f(x: Any) -> Any:
        value, slope = double_well(x[0])
        noise = 0.1 * rng.standard_normal(3)
        return value + 0.5 * x[1] ** 2 + noise[0], np.array([slope, x[1]]) + noise[1:]

    found = find_saddle(FunctionLandscape(f, size=2, memory=0), [-1.0, 0.0], [1.0, 0.0])
    assert not found.converged or found.barrier_forward == pytest.approx(1, abs=0.5)
    assert "zero_modes" not in found.reason


def test_forces_given_for_gradients_are_suspected() -> None:
    found = find_saddle(line(lambda x: (double_well(x)[0], -double_well(x)[1])), [-1.0], [1.0])
    assert not found.converged
    assert found.reason.endswith("does it return the force instead?")


def test_an_interruption_carries_the_chain_so_far() -> None:
    land, lines = MullerBrown(), []

    def progress(line: str) -> None:
        lines.append(line)
        if len(lines) == 3:
            raise KeyboardInterrupt

    with pytest.raises(ConnectionInterrupted) as stopped:
        find_saddle(land, *land.minima[:2], every=True, progress=progress)
    best = stopped.value.best
    assert not best.converged
    assert best.reason == "the chain is incomplete: interrupted"
    assert [saddle.value for saddle in best.saddles] == pytest.approx([-40.66484351], abs=1e-3)
    assert best.minima == pytest.approx(land.minima[[0, 2, 1]], abs=1e-3)
    assert np.isnan([best.barrier_forward, best.barrier_reverse]).all()  # what is missing may be higher


def test_the_path_through_a_chain_does_not_cross_the_cell() -> None:
    """On a ring of length 1 the way to the third minimum is shorter around the other side; the path continues."""

    class Ring(LandscapeDefaults):
        size = 2

        def values_and_gradients(self, points: Any) -> Any:
            x, y = 6 * np.pi * points[:, 0], points[:, 1]
            value = 1 - np.cos(x) + 30 * y**2
            return value, np.stack([6 * np.pi * np.sin(x), 60 * y], axis=1)

        def displacement(self, a: Any, b: Any) -> Any:
            way = np.asarray(b) - np.asarray(a)
            return np.stack([way[..., 0] - np.round(way[..., 0]), way[..., 1]], axis=-1)

    land = Ring()
    found = find_saddle(land, [0.0, 0.0], [2 / 3, 0.0], initial=np.array([[0, 0], [0.2, 0], [0.4, 0], [2 / 3, 0]]))
    assert found.path is not None
    along = found.path.points(np.linspace(0, 1, 500))
    assert found.minima.shape == (3, 2)
    assert land.values(along).max() == pytest.approx(2, rel=1e-4)
    assert np.abs(np.diff(along[:, 0])).max() < 0.02


def test_symmetry_is_left() -> None:
    """The top of the straight line is a maximum in every direction, where the gradient is exactly zero."""

    def ring(X: Any) -> Any:
        x, y = X.T
        value = (x**2 + y**2 - 1) ** 2 + 0.1 * y**2
        return value, np.stack([4 * x * (x**2 + y**2 - 1), 4 * y * (x**2 + y**2 - 1) + 0.2 * y], axis=1)

    found = find_saddle(FunctionLandscape(ring, size=2, batched=True), [-1.0, 0.0], [1.0, 0.0])
    assert found.converged, found.reason
    assert found.barrier_forward == pytest.approx(0.0975, abs=1e-6)


@pytest.mark.parametrize("raises", [False, True])
def test_a_straight_line_through_a_wall(raises: bool) -> None:
    """Everything within 0.3 of the middle cannot be evaluated; the saddles lie beside it."""

    def f(r: Any) -> Any:
        x, y = r
        if x**2 + y**2 < 0.09:
            if raises:
                raise RuntimeError("no energy there")
            return np.nan, np.full(2, np.nan)
        s = x**2 + y**2 - 1
        return s**2 + 0.1 * y**2, np.array([4 * x * s, 4 * y * s + 0.2 * y])

    found = find_saddle(FunctionLandscape(f, size=2), [-1.0, 0.0], [1.0, 0.0])
    assert found.converged, found.reason
    assert found.barrier_forward == pytest.approx(0.0975, abs=1e-6)


@pytest.mark.parametrize(("end", "away"), [("start", 0.02), ("start", 0.05), ("end", -0.05), ("end", 0.02)])
def test_ends_that_are_not_relaxed_are_named(end: str, away: float) -> None:
    """They are kept, or replaced by the minimum below; no minimum is in the chain twice."""

    def f(x: np.ndarray) -> tuple[float, np.ndarray]:
        a, b = x
        side = b - 0.5 * a * a
        return (a * a - 1) ** 2 + 0.3 * a + 2 * side**2, np.array([4 * a * (a * a - 1) + 0.3 - 4 * a * side, 4 * side])

    a, b = np.array([-1.03558, 0.536213]), np.array([0.960119, 0.460914])
    relaxed = find_saddle(FunctionLandscape(f, size=2), a, b)
    assert relaxed.reason == "converged"
    moved = np.array([away, 0.0])
    found = find_saddle(FunctionLandscape(f, size=2), *((a + moved, b) if end == "start" else (a, b + moved)))
    assert found.converged
    assert len(found.minima) == len(np.unique(np.round(found.minima, 6), axis=0)) == 2
    kept = np.allclose(found.minima[0 if end == "start" else -1], (a if end == "start" else b) + moved)
    assert (f"the {end} is not relaxed" if kept else f"the {end} was replaced by the minimum below it") in found.reason
    if not kept:
        assert found.barrier_forward == pytest.approx(relaxed.barrier_forward, abs=1e-4)
        given, minimum = (a + moved, found.minima[0]) if end == "start" else (b + moved, found.minima[-1])
        far, lower = np.linalg.norm(minimum - given), f(given)[0] - f(minimum)[0]
        named = f"{far:.3g} away from the {end} as given and {lower:.3g} lower than that"
        assert named in found.reason


@pytest.mark.parametrize(("steep", "named"), [(0.008, False), (0.08, True)])
def test_an_end_is_relaxed_where_it_meets_the_threshold_of_the_highest_saddle(steep: float, named: bool) -> None:
    """Which is the threshold that is shown: a lower saddle between shallow minima may need a smaller one."""
    land = MullerBrown()
    chain = Chain(land, None, True, True, 12, lambda line: None)
    chain.run(land.minima[0], land.minima[1], None)
    saddles = [link.saddle for link in chain.links if link is not None and link.saddle is not None]
    highest = max(saddle.value for saddle in saddles)
    thresholds = [0.05 if saddle.value == highest else 0.005 for saddle in saddles]
    assert sorted(thresholds) == [0.005, 0.05]
    pairs = zip(saddles, thresholds, strict=True)
    chain.links = [Link(replace(saddle, tolerance=small)) for saddle, small in pairs]
    chain.smallest, chain.steep[1] = 0.005, steep
    said = chain._of_ends(0, 1)
    assert said == (
        [
            "the end is not relaxed to the saddle's threshold of 0.05, its largest gradient component is 0.08: the "
            "barrier counts from it as it is"
        ]
        if named
        else []
    )


@pytest.mark.parametrize("off", [0.0, 0.01])
@pytest.mark.parametrize("saddle", range(2))
@pytest.mark.parametrize("minimum", range(3))
def test_an_endpoint_that_is_a_saddle_is_no_minimum(minimum: int, saddle: int, off: float) -> None:
    """The chain ends in minima alone, in either order, whether the endpoint is the saddle exactly or nearly."""
    land = MullerBrown()
    ends = land.minima[minimum], land.saddles[saddle] + off
    values = land.values(land.minima)
    for names, (a, b) in (("end", ends), ("start", ends[::-1])):
        found = find_saddle(land, a, b)
        assert found.converged, found.reason
        for value in found.minima_values:
            assert np.abs(values - value).min() < 1e-2
        assert min(found.barrier_forward, found.barrier_reverse) > 8
        assert f"the {names} is a saddle itself" in found.reason or f"the {names} was replaced by" in found.reason


def test_an_endpoint_that_is_a_saddle_by_symmetry_leads_to_the_mirror_image() -> None:
    """No descent starts by itself where symmetry makes the gradient exactly 0."""

    def f(x: np.ndarray) -> tuple[float, np.ndarray]:
        height, rest = x[0], x[1:]
        return (height**2 - 1) ** 2 + 3 * float(rest @ rest), np.concatenate([[4 * height * (height**2 - 1)], 6 * rest])

    land = FunctionLandscape(f, size=4)
    for ends in ([1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]):
        a, b = (np.array([height, 0.0, 0.0, 0.0]) for height in ends)
        found = find_saddle(land, a, b)
        assert found.converged
        assert (found.barrier_forward, found.barrier_reverse) == pytest.approx((1, 1), abs=1e-6)
        assert len(found.saddles) == 1
        assert "is a saddle itself, and no minimum" in found.reason


def test_a_tolerance_below_the_noise_is_refused() -> None:
    land = MullerBrown()
    a, b = land.minima[:2]

    def rounded(x: np.ndarray) -> tuple[float, np.ndarray]:
        (value,), (gradient,) = land.values_and_gradients(np.asarray(x, dtype=np.float32).astype(float)[None])
        return float(np.float32(value)), np.round(gradient, 3)

    found = find_saddle(FunctionLandscape(rounded, size=2), a, b, tolerance=1e-9)
    assert not found.converged
    assert "noise" in found.reason


def test_ends_that_are_none_are_refused() -> None:
    land = MullerBrown()
    a, b = land.minima[:2]
    with pytest.raises(ValueError, match="the start is not a minimum: its largest gradient component, "):
        find_saddle(land, a + 0.5, b)
    with pytest.raises(ValueError, match="start and end are equal"):
        find_saddle(land, a, a)
    with pytest.raises(ValueError, match=r"shapes \(2,\) and \(3,\)"):
        find_saddle(land, a, np.zeros(3))
    with pytest.raises(ValueError, match="not finite"):
        find_saddle(land, a, [np.nan, 0])
    with pytest.raises(ValueError, match="expected a positive, finite number"):
        find_saddle(land, a, b, tolerance=0)
    with pytest.raises(TypeError, match="expected a positive, finite number"):
        find_saddle(land, a, b, tolerance="0.1")  # type: ignore[arg-type]


@pytest.mark.parametrize("apart", [1e-16, 1e-12, 1e-9, 1e-6, 1e-3])
def test_two_copies_of_one_minimum_are_named_where_no_relaxation_helps(apart: float) -> None:
    """The advice was to relax what lies 1e-16 from the minimum."""
    land, a = MullerBrown(), MullerBrown().minima[0]
    with pytest.raises(ValueError, match="unless they are one minimum: the value does not rise between them"):
        find_saddle(land, a, a + apart * np.array([3.0, -4.0]))
    with pytest.raises(ValueError, match=r"relax both endpoints first$"):
        find_saddle(land, a + 0.5, land.minima[1])


def test_a_first_path_between_other_ends_is_refused() -> None:
    """Its endpoints would else be taken for start and end, and the barrier be counted from them."""
    land = MullerBrown()
    a, b, c = land.minima[:3]
    there, space = np.linspace(a, b, 5), FunctionLandscape(quadratic, size=3, batched=True)
    given: list[tuple[Any, str]] = [
        (there[::-1], "initial has another start"),
        (there[1:-1], "initial has another start"),
        (lambda t: a + t * (c - a), "initial has another end"),
        (ml.find_path(land, a, c, steps=1), "initial has another end"),
        (
            ml.find_path(space, -np.ones(3), np.ones(3), "linear"),
            "3 coord",
        ),
        (np.zeros((3, 3)), r"initial has shape \(3, 3\); expected a Path, points \(K, 2\)"),
        (lambda t: np.zeros(3), r"initial has shape \(2, 3\)"),
        (lambda t: a * np.nan, "not finite"),
        ([[1, 2], [3]], "initial holds something that is not a point|initial has shape"),
        ("neb", "initial is 'neb'; expected a Path"),
        (3.0, "initial is 3.0; expected a Path"),
    ]
    for initial, message in given:
        with pytest.raises(ValueError, match=message):
            find_saddle(land, a, b, initial=initial)
    with pytest.raises(ValueError, match="initial is a path in 3 coordinates; the endpoints have 2"):
        ml.find_path(land, a, b, initial=ml.find_path(space, -np.ones(3), np.ones(3), "linear"))
    assert find_saddle(land, a, b, initial=iter(there)).converged
    with pytest.raises(TypeError, match="progress is True; expected a function"):
        find_saddle(land, a, b, progress=True)  # type: ignore[arg-type]


def test_what_the_function_raises_is_said() -> None:
    def f(x: Any) -> Any:
        if x[0] > 0.9:
            raise RuntimeError("no convergence of the cycles")
        return quadratic(x[None])[0][0], x

    with pytest.raises(ml.LandscapeError, match=r"the end cannot be evaluated: .* no convergence of the cycles"):
        find_saddle(FunctionLandscape(f, size=2), [-1.0, 0.0], [1.0, 0.0])
    with pytest.raises(ml.LandscapeError, match=r"the start cannot be evaluated: .*expected \(value, gradient\)"):
        find_saddle(lambda x: x[0] ** 2, [-1.0, 0.0], [1.0, 0.0])


@pytest.fixture(scope="module")
def lj6() -> tuple[np.ndarray, np.ndarray]:
    land = LennardJones(6)
    octahedron = 0.79 * np.concatenate([np.eye(3), -np.eye(3)]).ravel()
    capped = [[0.56, 0, 0], [-0.28, 0.49, 0], [-0.28, -0.49, 0], [0, 0, 0.9], [0, 0, -0.9], [0.75, 0.75, 0.8]]

    def relaxed(x: np.ndarray) -> np.ndarray:
        from scipy.optimize import minimize

        def f(x: np.ndarray) -> Any:
            values, gradients = land.values_and_gradients(x[None])
            return values[0], gradients[0]

        point: np.ndarray = minimize(f, x, jac=True, method="BFGS", options={"gtol": 1e-8}).x
        return point

    start = relaxed(octahedron)
    return start, align_atoms(start, relaxed(np.array(capped).ravel()), warn=False)


class Disturbed(Counting):
    """LJ6 in single precision, or with random errors of the forces."""

    def __init__(self, sigma: float | None) -> None:
        super().__init__(LennardJones(6))
        self.sigma, self.rng = sigma, np.random.default_rng(3)

    def values_and_gradients(self, points: Any) -> Any:
        values, gradients = super().values_and_gradients(points)
        if self.sigma is None:
            return (a.astype(np.float32).astype(np.float64) for a in (values, gradients))
        return (a + self.sigma * self.rng.standard_normal(a.shape) for a in (values, gradients))


@pytest.mark.parametrize("sigma", [0.0, None, 1e-5, 1e-4])
@pytest.mark.parametrize("angle", [0.0, 0.7])
def test_noise_and_turned_ends(lj6: Any, sigma: float | None, angle: float) -> None:
    start, end = lj6
    end = Rotation.from_rotvec([angle, -angle, 0.3 * angle]).apply(end.reshape(-1, 3)).ravel()
    found = find_saddle(Disturbed(sigma), start, end)
    assert found.converged, found.reason
    assert found.saddle is not None
    assert found.saddle.value == pytest.approx(-12.079031275, abs=2e-5 if sigma is None else 1e-5 + 3 * sigma)
    assert found.barrier_forward == pytest.approx(0.633030982, abs=2e-5 if sigma is None else 1e-5 + 6 * sigma)
    assert found.saddle.connects_ends


def test_exact_products_are_used() -> None:
    """f = (x² − 1)² + ½ Σ c y², whose products are known: none is formed by differences of gradients."""
    c = np.geomspace(1, 50, 29)

    class Exact(LandscapeDefaults):
        size, products = 30, 0

        def values_and_gradients(self, points: Any) -> Any:
            x, y = points[:, 0], points[:, 1:]
            value = (x**2 - 1) ** 2 + 0.5 * (c * y**2).sum(axis=1)
            return value, np.concatenate([(4 * x * (x**2 - 1))[:, None], c * y], axis=1)

        def hessian_products(self, point: Any, vectors: Any) -> Any:
            self.products += len(vectors)
            return vectors * np.r_[12 * point[0] ** 2 - 4, c]

    land, end = Exact(), np.eye(30)[0]
    found = find_saddle(land, -end, end)
    assert found.converged, found.reason
    assert found.saddle is not None
    assert land.products >= found.saddle.products > 0
    assert found.saddle.eigenvalues[0] == pytest.approx(-4, rel=1e-6)


def test_few_calls_however_many_coordinates() -> None:
    """The chance to miss a second negative eigenvalue is reported, and the products that made it so."""
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.standard_normal((300, 300)))[0]
    c = np.geomspace(0.5, 50, 299)

    def f(X: Any) -> Any:
        Y = X @ Q
        x, y = Y[:, 0], Y[:, 1:]
        value = (x**2 - 1) ** 2 + 0.5 * (c * y**2).sum(axis=1)
        return value, np.concatenate([(4 * x * (x**2 - 1))[:, None], c * y], axis=1) @ Q.T

    found = find_saddle(FunctionLandscape(f, size=300, batched=True), -Q[:, 0], Q[:, 0])
    assert found.converged, found.reason
    assert found.saddle is not None
    assert 0 < found.saddle.chance <= 1e-3
    assert found.saddle.products < 300
    assert found.barrier_forward == pytest.approx(1, abs=1e-6)


def test_an_adatom_that_hops_diagonally_takes_two_hops() -> None:
    """On Al(100) with ASE's EMT, whose own band calls the on-top site a saddle: two bridge hops by way of a hollow."""
    pytest.importorskip("ase")
    from ase.build import add_adsorbate, fcc100
    from ase.calculators.emt import EMT
    from ase.constraints import FixAtoms
    from ase.optimize import BFGS

    from minilandscape.adapters.ase import AseLandscape

    slab = fcc100("Al", size=(2, 2, 3))
    add_adsorbate(slab, "Al", 1.7, "hollow")
    slab.center(axis=2, vacuum=4.0)
    slab.set_constraint(FixAtoms(mask=slab.get_tags() > 1))
    slab.calc = EMT()
    ends = []
    for shift in (np.zeros(3), slab.cell[0] / 2, (slab.cell[0] + slab.cell[1]) / 2):
        moved = slab.copy()
        moved.calc = EMT()
        moved.positions[-1] += shift
        BFGS(moved, logfile=None).run(fmax=0.01)
        ends.append(moved)
    land = AseLandscape(slab)
    start, hop, diagonal = (land.vector(atoms) for atoms in ends)
    one = find_saddle(land, start, hop, tolerance=0.01)
    assert one.converged, one.reason
    assert one.barrier_forward == pytest.approx(0.2364, abs=2e-4)
    two = find_saddle(land, start, diagonal, tolerance=0.01)
    assert two.converged, two.reason
    assert two.barrier_forward == pytest.approx(0.2364, abs=3e-4)


def test_atoms_that_change_places_go_around_each_other() -> None:
    """On the straight line two of them coincide, beside frozen ones; there the pair potential has no gradient."""
    pytest.importorskip("ase")
    from ase.build import fcc100
    from ase.calculators.emt import EMT
    from ase.constraints import FixAtoms

    from minilandscape.adapters.ase import AseLandscape

    slab = fcc100("Al", size=(2, 2, 2), vacuum=4.0)
    slab.set_constraint(FixAtoms(mask=slab.get_tags() > 1))
    slab.calc = EMT()
    land = AseLandscape(slab)
    start = land.vector(slab)
    end = start.reshape(-1, 3)[[1, 0, 2, 3]].ravel()
    path = land.initial_path(start, end)
    assert path is not None
    assert np.isfinite(path).all()
    away = np.linalg.norm(path[:, :3] - path[:, 3:6], axis=1)
    assert away.min() > 1.5


def test_hydrogen_goes_around_carbon_and_nitrogen() -> None:
    """HCN to HNC with GFN2-xTB at its default accuracy; on the straight line hydrogen runs through both atoms."""
    pytest.importorskip("tblite")
    from ase import Atoms
    from ase.optimize import BFGS
    from tblite.ase import TBLite

    from minilandscape.adapters.ase import AseLandscape

    ends = []
    for hydrogen in (1.57, -1.65):
        atoms = Atoms("CNH", [(0, 0, 0.5), (0, 0, -0.65), (0, 0, hydrogen)], calculator=TBLite(verbosity=0))
        BFGS(atoms, logfile=None).run(fmax=0.005)
        ends.append(atoms)
    land = AseLandscape(ends[0], ends[0].calc)
    found = find_saddle(land, *(land.vector(atoms) for atoms in ends), tolerance=0.05)
    assert found.converged, found.reason
    assert found.saddle is not None
    assert found.barrier_forward == pytest.approx(3.175, abs=3e-3)
    assert found.saddle.connects_ends


def test_a_batch_trades_calls_for_rounds(lj6: Any) -> None:
    few, many = (find_saddle(Counting(LennardJones(6)), *lj6, batch=batch) for batch in (0, 12))
    for found in (few, many):
        assert found.converged, found.reason
        assert found.barrier_forward == pytest.approx(0.633030982, abs=1e-5)
    assert many.rounds < few.rounds
    assert few.saddle is not None
    assert many.saddle is not None
    assert many.saddle.chance == 0
    with pytest.raises(ValueError, match=r"batch is 1\.5; expected a whole number"):
        find_saddle(LennardJones(6), *lj6, batch=1.5)  # type: ignore[arg-type]
