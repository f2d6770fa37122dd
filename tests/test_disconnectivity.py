"""Disconnectivity graphs against brute force, known clusters and SciPy."""

from __future__ import annotations

import itertools
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.cluster.hierarchy import cophenet, linkage
from scipy.spatial.distance import squareform

from minilandscape.analysis.disconnectivity import disconnectivity_graph
from minilandscape.connect import refine_saddle, split_at_minima
from minilandscape.paths import find_path
from minilandscape.potentials import MullerBrown


def test_lj6_merges_at_its_saddle() -> None:
    graph = disconnectivity_graph([-12.712062, -12.302928], [(0, 1, -12.079031), (1, 0, -11.9)])
    assert graph.merge_energies[0, 1] == -12.079031
    assert len(graph.merges) == 1
    assert graph.order() == [0, 1]


@pytest.mark.parametrize("seed", range(4))
def test_merge_energies_are_the_lowest_passes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    minima = rng.uniform(-3, 0, 6)
    barriers = np.full((6, 6), np.nan)
    for i, j in itertools.combinations(range(6), 2):
        if rng.random() < 0.6:
            barriers[i, j] = max(minima[i], minima[j]) + rng.uniform(0, 2)
    graph = disconnectivity_graph(minima, barriers)
    # By brute force: the least, over all chains of minima, of the highest barrier on the chain.
    either = np.fmin(barriers, barriers.T)
    for i, j in itertools.combinations(range(6), 2):
        others = [k for k in range(6) if k not in (i, j)]
        chains = [(i, *middle, j) for n in range(5) for middle in itertools.permutations(others, n)]
        tops = [np.max([either[a, b] for a, b in itertools.pairwise(chain)]) for chain in chains]
        lowest = min((top for top in tops if np.isfinite(top)), default=np.inf)
        assert graph.merge_energies[i, j] == pytest.approx(lowest)
    for i, j in itertools.product(range(6), range(6)):
        assert graph.merge_energy(i, j) == graph.merge_energies[i, j]
    shuffled = rng.permutation(6)
    again = disconnectivity_graph(minima[shuffled], either[np.ix_(shuffled, shuffled)])
    assert again.merge_energies == pytest.approx(graph.merge_energies[np.ix_(shuffled, shuffled)])


def test_it_is_single_linkage() -> None:
    rng = np.random.default_rng(5)
    distances = squareform(rng.uniform(1, 2, 45))
    graph = disconnectivity_graph(np.zeros(10), np.where(distances > 0, distances, np.nan))
    theirs = squareform(cophenet(linkage(squareform(distances), "single")))
    assert graph.merge_energies == pytest.approx(theirs)


@pytest.mark.parametrize(
    ("minima", "barriers", "message"),
    [
        ([0.0, 1.0], [(0, 1, 0.5)], "lies below the minimum 1"),
        ([0.0, 1.0, 2.0], [(0, 1, -50.0), (1, 2, 1e9)], "barrier -50 between 0 and 1 lies below the minimum 1"),
        ([-40000.0, -39999.99], [(0, 1, -40000.0)], r"barrier -40000 .* lies below the minimum -39999\.99"),
        ([1e6, 1e6], np.array([[np.nan, 1e6 + 0.5], [1e6 + 1.2, np.nan]]), r"is 1000000\.5 and .* is 1000001\.2"),
        ([0.0, 1.0], [(0, 2, 3.0)], "expected two of the minima 0 to 1"),
        ([0.0, 1.0], [(0, 1, np.inf)], "expected a finite energy"),
        ([0.0, np.nan], [], "expected finite values"),
        ([0.0, 1.0], np.zeros((2, 4)), r"expected \(2, 2\)"),
        ([0.0, 1.0], np.array([[np.nan, 2.0], [3.0, np.nan]]), r"barriers\[0, 1\] is 2 and barriers\[1, 0\] is 3"),
        ([-3.0, -2.0, -1.0], np.array([(1, 2, 0.5), (2, 3, 0.7), (1, 3, 0.9)]), "neither a symmetric matrix nor"),
        ([-3.0, -2.0, -1.0], np.array([(0, 1, 2.0), (1, 0, 1.0), (2, 1, 0.0)]), "both a symmetric matrix and"),
    ],
)
def test_what_cannot_be_is_refused(minima: Any, barriers: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        disconnectivity_graph(minima, barriers)


@pytest.mark.parametrize("offset", [0.0, -40000.0, 1e6])
def test_what_rounding_leaves_is_drawn_at_the_minimum(offset: float) -> None:
    """Barriers that are as high as a minimum, in single precision: of the minima, and one step below."""
    minima = offset + np.array([-1.5, -0.7, -0.3, 0.0])
    single = minima.astype(np.float32)
    below = np.nextafter(single, np.float32(-np.inf)).astype(np.float64)
    matrix = np.full((4, 4), np.nan)
    for k in (0, 1, 2):
        higher = max(minima[k], minima[k + 1])
        matrix[k, k + 1], matrix[k + 1, k] = higher, below[k + 1]
    graph = disconnectivity_graph(minima, matrix)
    energies = [merge.energy for merge in graph.merges]
    assert energies == sorted(energies)
    assert energies == pytest.approx(minima[1:], rel=1e-15)


def test_an_array_of_rows_is_told_from_a_matrix() -> None:
    minima, rows = [-3.0, -2.0, -1.0], np.array([(0, 1, 0.5), (0, 2, 0.7), (1, 2, 0.9)])
    matrix = np.array([[np.nan, 0.5, 0.7], [0.5, np.nan, 0.9], [0.7, 0.9, np.nan]])
    expected = disconnectivity_graph(minima, [(0, 1, 0.5), (0, 2, 0.7)]).merge_energies
    for barriers in (rows, rows[:2], rows.tolist(), matrix, np.triu(matrix, 1) + np.tril(np.full((3, 3), np.nan))):
        assert np.array_equal(disconnectivity_graph(minima, barriers).merge_energies, expected)


def test_a_matrix_may_be_lists_in_a_list() -> None:
    for K in (2, 3, 4):
        minima, matrix = np.arange(K) - 5.0, np.full((K, K), np.nan)
        matrix[np.arange(K - 1), np.arange(1, K)] = matrix[np.arange(1, K), np.arange(K - 1)] = np.arange(1.0, K)
        expected = disconnectivity_graph(minima, matrix).merge_energies
        assert expected[0, 1] == 1
        without = [[None if np.isnan(x) else x for x in row] for row in matrix.tolist()]
        frame = SimpleNamespace(__array__=lambda dtype=None, copy=None, matrix=matrix: matrix)
        for lists in (matrix.tolist(), list(matrix), without, frame):
            assert np.array_equal(disconnectivity_graph(minima.tolist(), lists).merge_energies, expected)
    ambiguous = [[0, 1, 2.0], [1, 0, 1.0], [2, 1, 0.0]]
    with pytest.raises(ValueError, match="both a symmetric matrix and"):
        disconnectivity_graph([-3.0, -2.0, -1.0], ambiguous)
    rows = (tuple(row) for row in ambiguous)
    assert disconnectivity_graph([-3.0, -2.0, -1.0], rows).merge_energies[0, 1] == 1
    with pytest.raises(ValueError, match=r"a barrier is \(nan, 2\); expected \(i, j, energy\)"):
        disconnectivity_graph([0.0, 1.0], ((np.nan, 2), (2, np.nan)))


def test_a_barrier_below_its_minimum_need_not_cost_the_tree() -> None:
    minima, barriers = [0.0, 1.0, 2.0, 0.5], [(0, 1, 0.5), (1, 2, 2.5), (0, 3, 0.7), (3, 2, 1.9)]
    with pytest.raises(
        ValueError, match=r"barrier 0\.5 between 0 and 1 .* minimum 1, and 1 of the 4 .* below='leave out'"
    ):
        disconnectivity_graph(minima, [*barriers[:3], (3, 2, 1.99)])
    without = disconnectivity_graph(minima, barriers, below="leave out")
    assert [m.energy for m in without.merges] == [0.7, 2.5]
    assert without.n_pieces == 2
    assert "2 of 4 barriers lie below one of their minima and are left out" in without.left_out[0]
    raised = disconnectivity_graph(minima, barriers, below="minimum")
    assert [m.energy for m in raised.merges] == [0.7, 1.0, 2.0]
    assert "raised to it: the barrier 0.5 between 0 and 1 lies below the minimum 1" in raised.left_out[0]
    assert disconnectivity_graph(minima, barriers[1:3]).left_out == ()
    with pytest.raises(ValueError, match="below is 'drop'; expected one of 'refuse', 'minimum', 'leave out'"):
        disconnectivity_graph(minima, barriers, below="drop")


@pytest.mark.parametrize("seed", range(3))
def test_merges_do_not_depend_on_the_order_of_what_is_given(seed: int) -> None:
    """Ties everywhere: minima apart, barriers of three energies, shuffled and renumbered."""
    rng = np.random.default_rng(seed)
    K = 12
    minima = -1 - rng.permutation(K).astype(float)
    edges = [(int(i), int(j), float(rng.integers(0, 3))) for i, j in rng.integers(0, K, (20, 2)) if i != j]
    graph = disconnectivity_graph(minima, edges)
    groups = [(m.energy, graph.members(m.left), graph.members(m.right)) for m in graph.merges]
    for _ in range(5):
        number = rng.permutation(K)  # of each minimum, its new number
        given = [edges[k] for k in rng.permutation(len(edges))]
        renumbered = np.empty(K)
        renumbered[number] = minima
        again = disconnectivity_graph(renumbered, [(number[j], number[i], e) for i, j, e in given])
        old = np.argsort(number)
        assert old[again.order()].tolist() == graph.order()
        assert [
            (m.energy, sorted(old[again.members(m.left)]), sorted(old[again.members(m.right)])) for m in again.merges
        ] == groups


def test_rows_of_merges_name_nodes() -> None:
    graph = disconnectivity_graph([-1.0, -3.0, -2.0, 0.0], [(0, 1, 1.0), (2, 1, 0.5)])
    assert graph.merges == ((0.5, 1, 2), (1.0, 4, 0))
    assert np.array(graph.merges).shape == (2, 3)
    assert [graph.members(node) for node in range(6)] == [[0], [1], [2], [3], [1, 2], [0, 1, 2]]
    assert graph.n_pieces == 2
    with pytest.raises(ValueError, match="node 6 is not there; expected one of 0 to 5"):
        graph.members(6)
    with pytest.raises(ValueError, match="minima 0 and 4 are not both there; expected two of 0 to 3"):
        graph.merge_energy(0, 4)


def test_a_long_funnel_takes_time_and_memory_as_its_length() -> None:
    """A chain in which every minimum joins all those below it: 40 times the minima, some 40 times the time."""

    def seconds(K: int) -> float:
        minima = -np.arange(K, 0.0, -1)
        extra = rng.integers(0, K, (K, 2))
        edges = [(k, k + 1, minima[k + 1] + 0.5) for k in range(K - 1)]
        edges += [(i, j, float(e)) for (i, j), e in zip(extra.tolist(), rng.uniform(1, 2, K), strict=True) if i != j]
        start = time.process_time()
        graph = disconnectivity_graph(minima, edges)
        assert graph.order() == list(range(K))
        taken = time.process_time() - start
        assert len(graph.merges) == K - 1
        assert graph.members(graph.merges[-1].left) == list(range(K - 1))
        assert graph.merge_energy(0, K - 1) == graph.merges[-1].energy
        assert len(graph.plot().collections[0].get_segments()) == 2 * K - 1
        return taken

    rng = np.random.default_rng(0)
    short = max(seconds(1_000), 0.005)
    assert seconds(40_000) < 400 * short  # the square would be 1,600 times, and caches make it 80


def test_what_is_masked_is_not_known() -> None:
    matrix = np.ma.masked_invalid([[np.nan, 2.0, np.nan], [2.0, np.nan, 3.0], [np.nan, 3.0, np.nan]])
    matrix.data[0, 2] = matrix.data[2, 0] = 1.0
    graph = disconnectivity_graph([0.0, 0.5, 0.2], matrix)
    assert [merge.energy for merge in graph.merges] == [2.0, 3.0]
    with pytest.raises(ValueError, match="expected finite values"):
        disconnectivity_graph(np.ma.masked_equal([0.0, 9.0], 9.0), [])


def test_complex_numbers_are_refused() -> None:
    with pytest.raises(TypeError, match="barriers are complex; expected real"):
        disconnectivity_graph([0.0, 1.0], np.array([[0, 2 + 1j], [2 + 1j, 0]]))
    with pytest.raises(TypeError, match="minima are complex; expected real"):
        disconnectivity_graph(np.array([0, 1j]), [])


def test_what_cannot_be_drawn_is_refused() -> None:
    graph = disconnectivity_graph([0.0, 1.0, 2.0], [(0, 1, 3.0), (1, 2, 4.0)])
    with pytest.raises(ValueError, match="there are 1 labels; expected 3, one for each minimum"):
        graph.plot(labels=["a"])
    with pytest.raises(ValueError, match="there are 4 colours; expected 3, one for each minimum"):
        graph.plot(colours=list("rgbk"))
    axes = graph.plot(log=True, labels=list("abc"))
    assert [text.xy[1] for text in axes.texts] == pytest.approx([axes.get_ylim()[0], 1, 2])
    branches = [segment[:, 1].tolist() for segment in axes.collections[0].get_segments()]
    assert [0, 3] in branches
    assert 0 < axes.get_ylim()[0] < 1
    assert axes.get_ylim()[1] > 4
    for minima, barriers in (([-5.0, -3.0], [(0, 1, -1.0)]), ([-1.0, 0.0], [(0, 1, 1.0)]), ([0.0, 0.0], [(0, 1, 0.0)])):
        with pytest.raises(ValueError, match="logarithmic axis: remove log"):
            disconnectivity_graph(minima, barriers).plot(log=True)


def test_the_tree_is_drawn_without_crossings() -> None:
    minima = np.array([1e-8, 1e-3, 2e-8, 5e-4, 1e-2])
    edges = [(0, 2, 1e-6), (1, 3, 2e-3), (0, 1, 5e-2)]
    graph = disconnectivity_graph(minima, edges)
    assert graph.merge_energies[0, 4] == np.inf
    assert graph.order() == [0, 2, 3, 1, 4]
    axes = graph.plot(labels=list("abcde"), colours=["r", "b", "r", "b", "g"], groups={"r": "deep"}, log=True)
    assert axes.get_yscale() == "log"
    branches, bars, feet = axes.collections
    assert sorted(bar[0, 1] for bar in bars.get_segments()) == pytest.approx([1e-6, 2e-3, 5e-2])
    assert all(bar[0, 1] == bar[1, 1] for bar in bars.get_segments())
    places = {k: x for x, k in enumerate(graph.order())}
    assert feet.get_offsets().tolist() == [[places[k], minima[k]] for k in range(5)]
    for k, (foot, top) in enumerate(branches.get_segments()[:5]):
        assert foot.tolist() == [places[k], minima[k]]
        assert k == 4 or top[1] == min(m.energy for m in graph.merges if k in m[1:])
    red, blue, grey = (tuple(branches.get_colors()[k]) for k in (0, 1, 7))
    assert [tuple(c) for c in branches.get_colors()[[2, 3, 5, 6]]] == [red, blue, red, blue]
    assert grey not in (red, blue)
    tints = [[1.0, 0, 0], [0, 0, 1.0], [1.0, 0, 0], [0, 0, 1.0], [0, 1.0, 0]]
    for colours in (tints, np.array(tints)):
        drawn = graph.plot(colours=colours).collections[0].get_colors()
        assert drawn[:6, :3].tolist() == [*tints, tints[0]]


def test_from_paths_to_a_tree() -> None:
    land = MullerBrown()
    path = find_path(land, land.minima[0], land.minima[1], solver="auto")
    chain = split_at_minima(land, path)
    edges = []
    for k, (start, end) in enumerate(itertools.pairwise(chain)):
        edges.append((k, k + 1, refine_saddle(land, find_path(land, start, end, solver="auto")).value))
    graph = disconnectivity_graph(land.values(chain), edges)
    assert graph.merge_energies[0, 2] == pytest.approx(-40.664844, abs=1e-5)
    assert graph.merge_energies[1, 2] == pytest.approx(-72.248940, abs=1e-5)


def test_a_tree_shows_itself() -> None:
    graph = disconnectivity_graph([-3.0, -2.0, 1.0], [(0, 1, 0.5)])
    assert repr(graph) == "<DisconnectivityGraph: 3 minima, the lowest -3, 2 connected components>"
    assert "2 connected components" in graph.summary()
    assert "<svg" in graph._repr_html_()
    assert graph.plot(quantity="energy", unit="eV").get_ylabel() == "energy (eV)"


def test_names_of_a_hundred_minima_do_not_overlap() -> None:
    rng = np.random.default_rng(0)
    minima = rng.random(100)
    edges = [(int(rng.integers(k)), k, 1 + rng.random()) for k in range(1, 100)]
    axes = disconnectivity_graph(minima, edges).plot(labels=[f"{value:.3f}" for value in minima])
    axes.figure.draw_without_rendering()
    boxes = sorted((text.get_window_extent() for text in axes.texts), key=lambda box: box.x0)
    assert all(left.x1 <= right.x0 + 1 for left, right in itertools.pairwise(boxes))
    assert min(box.y0 for box in boxes) >= 0
