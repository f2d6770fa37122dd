"""Statistics of sets against naive loops and scipy.spatial.distance."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch
from scipy.spatial.distance import cosine, euclidean, squareform
from sklearn.decomposition import PCA

from minilandscape.analysis import statistics
from minilandscape.analysis.angles import compare_sets, pairwise_angles, pairwise_distances, spread
from minilandscape.analysis.histograms import plot_shell_lengths
from minilandscape.analysis.kpca import kernel_pca
from minilandscape.analysis.statistics import ShellLengths, component_statistics, preferred_direction, shell_lengths

RNG = np.random.default_rng(0)
A, B = RNG.standard_normal((8, 40)), 2 * RNG.standard_normal((5, 40)) + 0.3
ORIGIN = RNG.standard_normal(40)


def distance(x: np.ndarray, y: np.ndarray) -> float:
    return math.sqrt(math.fsum((p - q) ** 2 for p, q in zip(x, y, strict=True)))


def angle(x: np.ndarray, y: np.ndarray, origin: np.ndarray) -> float:
    return math.degrees(math.acos(1 - cosine(x - origin, y - origin)))


def mean_and_std(values: list[float]) -> tuple[float, float]:
    mean = math.fsum(values) / len(values)
    return mean, math.sqrt(math.fsum((v - mean) ** 2 for v in values) / len(values))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_components(dtype: type) -> None:
    vectors: np.ndarray = (0.01 * A + 3).astype(dtype)  # a spread that is small beside the mean
    found = component_statistics(vectors)
    expected = mean_and_std([float(v) for v in vectors.ravel()])
    assert (found.mu, found.sigma) == pytest.approx(expected, rel=1e-12)


def test_shell_lengths() -> None:
    origin = 0.5 * (A.mean(axis=0) + B.mean(axis=0))
    found = shell_lengths(A, B)
    assert found.origin == pytest.approx(origin, rel=1e-12)
    assert found.lengths_a == pytest.approx([distance(v, origin) for v in A], rel=1e-12)
    assert found.lengths_b == pytest.approx([distance(v, origin) for v in B], rel=1e-12)
    assert found.centroid_distance == pytest.approx(distance(A.mean(axis=0), origin), rel=1e-12)
    assert found.centroid_distance == pytest.approx(distance(B.mean(axis=0), origin), rel=1e-12)


def test_shell_lengths_from_the_test_sets_centroids() -> None:
    test_a, test_b = A[:3] + 0.1, B[:2] - 0.2
    centroids = {"centroid_a": test_a.mean(axis=0), "centroid_b": test_b.mean(axis=0)}
    found = shell_lengths(A, B, **centroids)
    origin = 0.5 * (centroids["centroid_a"] + centroids["centroid_b"])
    assert found.lengths_a == pytest.approx([distance(v, origin) for v in A], rel=1e-12)
    assert found.centroid_distance == pytest.approx(distance(centroids["centroid_a"], origin), rel=1e-12)


def test_distances() -> None:
    within, between = pairwise_distances(A), pairwise_distances(A, B)
    assert within == pytest.approx([distance(v, w) for v, w in combinations(A, 2)], rel=1e-12)
    assert between.shape == (8, 5)
    assert between == pytest.approx(np.array([[euclidean(v, w) for w in B] for v in A]), rel=1e-12)
    assert squareform(within)[2, 5] == within[2 * 8 - 3 + 2]
    assert pairwise_distances(A[:1]).shape == (0,)


def test_distances_of_near_identical_points_keep_their_digits() -> None:
    base = 2.0**20 + np.zeros(100)
    step = 2.0**-30
    points = np.stack([base, base + step, base + 3 * step])
    expected = np.array([1, 3, 2]) * step * 10
    assert pairwise_distances(points) == pytest.approx(expected, rel=1e-14)
    assert pairwise_distances(points, points)[0] == pytest.approx([0, expected[0], expected[1]], rel=1e-14)


def test_angles() -> None:
    within, between = pairwise_angles(A, origin=ORIGIN), pairwise_angles(A, B, ORIGIN)
    assert within == pytest.approx([angle(v, w, ORIGIN) for v, w in combinations(A, 2)], rel=1e-12)
    assert between == pytest.approx(np.array([[angle(v, w, ORIGIN) for w in B] for v in A]), rel=1e-12)


def test_where_angles_are_seen_from_by_default() -> None:
    common = 0.5 * (A.mean(axis=0) + B.mean(axis=0))
    assert pairwise_angles(A, B) == pytest.approx(np.array([[angle(v, w, common) for w in B] for v in A]), rel=1e-12)
    assert pairwise_angles(A) == pytest.approx([angle(v, w, np.zeros(40)) for v, w in combinations(A, 2)], rel=1e-12)
    assert spread(A, B) == compare_sets(A, B).between
    assert spread(A) == spread(A, origin=np.zeros(40))


@pytest.mark.parametrize("radians", [1e-12, 1e-7, 1e-3, 1.0, np.pi / 2, 3.0])
def test_angles_are_accurate_from_parallel_to_opposite(radians: float) -> None:
    pair = np.array([[2.0, 0, 0], [5 * math.cos(radians), 0, 5 * math.sin(radians)]])
    assert pairwise_angles(pair)[0] == pytest.approx(math.degrees(radians), rel=1e-12)
    opposite = pairwise_angles(pair[:1], -pair[1:], origin=np.zeros(3))[0, 0]
    assert 180 - opposite == pytest.approx(math.degrees(radians), rel=1e-12, abs=1e-13)


def test_a_vector_at_the_origin_has_no_direction() -> None:
    found = pairwise_angles(A[:2], np.stack([ORIGIN, B[0]]), ORIGIN)
    assert np.isnan(found[:, 0]).all()
    assert np.isfinite(found[:, 1]).all()


def test_sets_compared() -> None:
    found = compare_sets(A, B)
    common = 0.5 * (A.mean(axis=0) + B.mean(axis=0))
    assert found.origin == pytest.approx(common, rel=1e-12)
    pairs = {
        "within_a": list(combinations(A, 2)),
        "within_b": list(combinations(B, 2)),
        "between": [(v, w) for v in A for w in B],
    }
    for name, chosen in pairs.items():
        part = getattr(found, name)
        assert part.distance == pytest.approx(mean_and_std([distance(v, w) for v, w in chosen]), rel=1e-12)
        assert part.angle == pytest.approx(mean_and_std([angle(v, w, common) for v, w in chosen]), rel=1e-12)
    assert found.random_angle == pytest.approx((90, 180 / math.pi / math.sqrt(40)))
    elsewhere = compare_sets(A, B, ORIGIN)
    assert elsewhere.between == spread(A, B, origin=ORIGIN)
    assert elsewhere.within_a == spread(A, origin=ORIGIN)


def test_random_directions_stand_at_right_angles() -> None:
    rng = np.random.default_rng(3)
    k, d = 30, 2000
    a, b = rng.standard_normal((k, d)), rng.standard_normal((k, d))
    independent = compare_sets(a, b, origin=np.zeros(d))
    mean, std = independent.random_angle
    for part in (independent.within_a, independent.within_b, independent.between):
        assert abs(part.angle[0] - mean) < 5 * std / k
        assert part.angle[1] == pytest.approx(std, rel=0.15)
    common = compare_sets(a, b)  # the common origin: cos θ is −1/(2K) on average
    for part in (common.within_a, common.within_b, common.between):
        assert part.angle[0] - 90 == pytest.approx(math.degrees(1 / (2 * k)), rel=0.15)


def test_float32_sets_are_measured_in_float64() -> None:
    single = A.astype(np.float32)
    assert pairwise_distances(single) == pytest.approx(pairwise_distances(single.astype(np.float64)), rel=1e-15)
    assert pairwise_angles(single).dtype == np.float64


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: component_statistics(A[0]), r"expected a set \(K, D\)"),
        (lambda: component_statistics(np.empty((0, 4))), r"expected a set \(K, D\)"),
        (lambda: pairwise_distances(A * np.nan), "not finite"),
        (lambda: pairwise_distances(A, B[:, :7]), "40 and 7 numbers"),
        (lambda: pairwise_angles(A, origin=ORIGIN[:3]), r"origin has shape \(3,\); expected \(40,\)"),
        (lambda: shell_lengths(A, B, centroid_b=B), "centroid_b has shape"),
        (lambda: spread(A[:1]), "a set of one vector"),
        (lambda: compare_sets(A, B[:1]), "a set of one vector"),
    ],
)
def test_what_does_not_do_is_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_drawn() -> None:
    axes = Figure().subplots()
    result = shell_lengths(A, B)
    assert plot_shell_lengths(axes, result, ("a", "b"), bins=10) is axes
    heights = [sum(bar.get_height() for bar in bars) for bars in axes.containers]
    assert heights == [8, 5]
    edges = [[bar.get_x() for bar in bars] for bars in axes.containers]
    assert edges[0] == edges[1]
    line = axes.lines[0]
    assert line.get_linestyle() == ":"
    assert list(line.get_xdata()) == [result.centroid_distance] * 2


def test_bars_of_single_vectors_are_wide_enough_and_equal_ones_are_told_apart() -> None:
    result = shell_lengths(1e3 * A[:1], 1e3 * B[:1])
    axes = plot_shell_lengths(Figure().subplots(), result, ("a", "b"))
    low, high = axes.get_xlim()
    for (bar,) in axes.containers:
        assert 0.01 < bar.get_width() / (high - low) < 0.5
        assert bar.get_x() <= result.lengths_a[0] <= bar.get_x() + bar.get_width()
        assert bar.get_height() == 1
    first, second = (patch for patch in axes.patches if isinstance(patch, StepPatch))
    assert first.get_linestyle() != second.get_linestyle()
    assert first.get_edgecolor() != second.get_edgecolor()


def test_every_vector_is_in_a_bar() -> None:
    rng = np.random.default_rng(4)
    for _ in range(60):
        a = 12 + 10 ** rng.uniform(-6, 1) * rng.random(rng.integers(1, 9))
        b = a.mean() + 10 ** rng.uniform(-6, 1) * rng.random(5)
        result = ShellLengths(a, b, np.zeros(1), float(rng.uniform(0, 12)))
        axes = plot_shell_lengths(Figure().subplots(), result)
        counts = [sum(bar.get_height() for bar in bars) for bars in axes.containers]
        assert counts == [len(a), len(b)]
        assert len(axes.containers[0]) <= 25


def test_a_preferred_direction_is_found_and_none_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    wide = np.exp(2 * rng.standard_normal(300))  # components of very different spread prefer no direction
    vectors = wide * rng.standard_normal((12, 300)) + 5
    none = preferred_direction(vectors)
    assert none.p > 0.05
    assert none.part == pytest.approx(PCA().fit(vectors).explained_variance_ratio_[0])
    assert none.part < 1.25 * none.random
    along = preferred_direction(vectors + 40 * rng.standard_normal((12, 1)) * rng.choice((-1, 1), 300))
    assert along.p == along.least == 1 / 201
    assert along.part > 2 * along.random
    shares = []
    for _ in range(400):  # the same signs, in the plainest way
        signed = (vectors - vectors.mean(axis=0)) * rng.choice((-1, 1), vectors.shape)
        shares.append(PCA().fit(signed).explained_variance_ratio_[0])
    assert preferred_direction(vectors, draws=400).random == pytest.approx(np.mean(shares), rel=0.02)
    monkeypatch.setattr(statistics, "BLOCK", 7)
    assert preferred_direction(vectors, draws=400).random == pytest.approx(np.mean(shares), rel=0.02)
    with pytest.raises(ValueError, match="expected at least 3"):
        preferred_direction(vectors[:2])
    with pytest.raises(ValueError, match="expected some that differ"):
        preferred_direction(np.ones((4, 5)))
    with pytest.raises(ValueError, match="expected some that differ"):
        preferred_direction(np.full((3, 5), 0.1))  # whose mean is another number


@pytest.mark.parametrize("exponent", [-990, -400, -83, -10, 0, 66, 400, 990])
def test_no_result_depends_on_the_unit(exponent: int) -> None:
    unit = 2.0**exponent  # exact: distances scale to the last digit, angles and p do not change at all
    a, b = A * unit, B * unit
    assert preferred_direction(a) == preferred_direction(A)
    assert np.array_equal(pairwise_distances(a), pairwise_distances(A) * unit)
    assert np.array_equal(pairwise_distances(a, b), pairwise_distances(A, B) * unit)
    assert np.array_equal(pairwise_angles(a, b), pairwise_angles(A, B))
    assert np.array_equal(pairwise_angles(a, origin=ORIGIN * unit), pairwise_angles(A, origin=ORIGIN))
    components, expected = component_statistics(a), component_statistics(A)
    assert (components.mu, components.sigma) == (expected.mu * unit, expected.sigma * unit)
    shells, shells_expected = shell_lengths(a, b), shell_lengths(A, B)
    assert np.array_equal(shells.lengths_a, shells_expected.lengths_a * unit)
    assert np.array_equal(shells.origin, shells_expected.origin * unit)
    assert shells.centroid_distance == shells_expected.centroid_distance * unit
    compared, compared_expected = compare_sets(a, b), compare_sets(A, B)
    assert compared.between.angle == compared_expected.between.angle
    assert compared.within_a.distance == tuple(unit * d for d in compared_expected.within_a.distance)


@pytest.mark.parametrize("factor", [1e-300, 1e-25, 1e20, 1e300])
def test_a_preferred_direction_is_one_in_any_unit(factor: float) -> None:
    whole = preferred_direction(A)
    scaled = preferred_direction(factor * A)
    assert scaled.part == pytest.approx(whole.part, rel=1e-9)
    assert scaled.random == pytest.approx(whole.random, rel=1e-5)
    assert scaled.p == whole.p


def test_vectors_of_one_component_have_one_direction_by_necessity() -> None:
    for seed in range(6):
        found = preferred_direction(np.random.default_rng(seed).standard_normal((3 + seed, 1)))
        assert (found.part, found.random, found.p) == pytest.approx((1, 1, 1), rel=1e-6)


def test_the_largest_numbers_there_are_have_statistics() -> None:
    vectors = np.array([[1.5e308, -1.0e308], [1.0e308, -1.5e308]])
    assert component_statistics(vectors).sigma == pytest.approx(np.sqrt(1.625) * 1e308, rel=1e-12)
    assert component_statistics(vectors).mu == pytest.approx(0, abs=1e293)
    assert pairwise_distances(vectors) == pytest.approx([np.sqrt(0.5) * 1e308], rel=1e-12)
    assert pairwise_angles(vectors) == pytest.approx([np.degrees(np.arccos(3 / 3.25))], rel=1e-12)
    assert component_statistics(np.full((2, 2), 5e-324)).mu == 5e-324


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (A + 1j, "are complex; expected real numbers"),
        (np.ma.array(A, mask=A > 1), "masked array with .* numbers masked"),
        (np.full((3, 4), "x"), "hold <U1 values"),
        ([[None, 1.0], [2.0, 3.0]], "hold object values|not finite"),
        ([[1.0], [2.0, 3.0]], "inhomogeneous|hold object values"),
    ],
)
def test_what_is_no_real_number_is_refused(bad: Any, message: str) -> None:
    calls: list[Callable[[Any], Any]] = [component_statistics, preferred_direction, pairwise_distances, kernel_pca]
    for call in [*calls, lambda x: spread(A, x), lambda x: shell_lengths(x, A)]:
        with pytest.raises(ValueError, match=message):
            call(bad)


def test_an_origin_that_is_complex_is_refused() -> None:
    with pytest.raises(ValueError, match="numbers of origin are complex"):
        pairwise_angles(A, origin=ORIGIN + 1j)


def test_what_is_a_real_number_is_read_in_any_type() -> None:
    expected = component_statistics(A)
    read_only = A.copy()
    read_only.setflags(write=False)
    for given in (A.tolist(), A + 0j, np.ma.array(A), A.astype(object), A.astype(">f8"), read_only):
        assert component_statistics(given) == expected
        assert np.array_equal(kernel_pca(given).projections, kernel_pca(A).projections)


def test_results_show_themselves() -> None:
    lengths, sets = shell_lengths(A, B), compare_sets(A, B)
    direction, components = preferred_direction(A, draws=19), component_statistics(A)
    for found in (lengths, sets, direction, components, sets.between):
        assert repr(found).startswith(f"<{type(found).__name__}: ")
        assert "\n" not in repr(found)
        assert len(repr(found)) < 400
        assert "<table>" in found._repr_html_()
    assert "smallest attainable p: 0.05" in direction.summary()
    assert "for independent directions" in sets.summary()
    assert "<svg" in lengths._repr_html_()
    axes = lengths.plot(labels=("L-BFGS-GSS", "SGD"))
    assert axes.get_ylabel() == "number of weight vectors"
    first, second = axes.containers
    assert first[0].get_hatch() != second[0].get_hatch()  # distinguished in grey
