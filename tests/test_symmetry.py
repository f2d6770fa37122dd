"""Symmetries: permuted networks compute the same; alignment undoes a permutation; molecules are superposed."""

from __future__ import annotations

import itertools
import warnings
from time import perf_counter
from typing import Any

import numpy as np
import pytest

from minilandscape.analysis.atom_alignment import ClashWarning, align_atoms, closest_approach
from minilandscape.analysis.lattice import Lattice
from minilandscape.analysis.symmetry import UNITS, align, permute
from minilandscape.networks import initial_vector, network_landscape
from minilandscape.potentials import LennardJones

MODELS = ("fcp", "lenet", "autoencoder", "lstm")


def orders(model: str, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {g: rng.permutation(s[x]) for s, axes in UNITS[model].values() for x, g in axes.items()}


@pytest.mark.parametrize("model", MODELS)
def test_permuted_units_compute_the_same(model: str, small_mnist: Any) -> None:
    land = network_landscape(model, small_mnist.train[:40], dtype="float64")
    w = initial_vector(model, np.random.default_rng(0), "float64")
    other = permute(model, w, orders(model, 1))
    assert np.abs(other - w).max() > 0.01
    assert land.values(other[None])[0] == pytest.approx(land.values(w[None])[0], rel=1e-12)
    assert land.outputs(other[None]) == pytest.approx(land.outputs(w[None]), abs=1e-12)


@pytest.mark.parametrize("model", MODELS)
def test_alignment_undoes_a_permutation_and_never_goes_away(model: str) -> None:
    rng = np.random.default_rng(0)
    a = initial_vector(model, rng, "float64")
    scrambled = permute(model, a + 1e-3 * rng.standard_normal(a.size) * np.abs(a), orders(model, 2))
    assert np.abs(align(model, a, scrambled) - a).max() < 0.02
    b = initial_vector(model, rng, "float64")
    nearer = align(model, a, b)
    assert np.linalg.norm(nearer - a) < np.linalg.norm(b - a)
    assert np.array_equal(np.sort(nearer), np.sort(b))
    with pytest.raises(ValueError, match="a has shape"):
        align(model, a[:-1], b)


def test_molecules_are_superposed() -> None:
    rng = np.random.default_rng(4)
    a = rng.standard_normal((7, 3))
    kinds = np.array([0, 0, 0, 1, 1, 2, 0])
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    turn[:, 0] *= np.sign(np.linalg.det(turn))
    swapped = np.array([6, 2, 0, 4, 3, 5, 1])
    b = (a @ turn + [3.0, -2, 1])[swapped]
    assert align_atoms(a, b, kinds) == pytest.approx(a, abs=1e-6)
    assert align_atoms(a.ravel(), b.ravel(), kinds).shape == (21,)
    mirrored = a * [-1, 1, 1]
    assert np.abs(align_atoms(a, mirrored, np.arange(7), warn=False) - a).max() > 0.1
    land = LennardJones(7)
    assert land.values(align_atoms(a, b).reshape(1, -1)) == pytest.approx(land.values(b.reshape(1, -1)))
    with pytest.raises(ValueError, match="expected as many"):
        align_atoms(a, b[:-1])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"third": np.arange(50)}, "names the group 'third'; expected one of first, second, as fcp has them"),
        ({"first": [0, 1]}, r"the order of 'first' has shape \(2,\); expected a permutation of the 50 units of fcp"),
        ({"first": [0] * 50}, "the order of 'first' is no permutation; expected .* each of 0 to 49 once"),
        ({"second": np.arange(1, 51)}, "the order of 'second' is no permutation"),
        ({"second": np.arange(50.0)}, "the order of 'second' is no permutation"),
    ],
)
def test_what_is_no_order_of_a_group_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        permute("fcp", np.zeros(42_200), given)


def test_the_vector_that_is_not_finite_is_named() -> None:
    good = initial_vector("fcp", 0)
    bad = good.copy()
    bad[[7, 9]] = np.nan, np.inf
    with pytest.raises(ValueError, match="a is not finite in 2 of 42200 numbers, the first at 7"):
        align("fcp", bad, good)
    with pytest.raises(ValueError, match="b is not finite in 2 of 42200 numbers"):
        align("fcp", good, bad)


def test_three_atoms_have_the_shape_that_columns_have() -> None:
    a = np.random.default_rng(0).standard_normal((3, 3))
    assert align_atoms(a, a[[2, 0, 1]] + 1.0) == pytest.approx(a, abs=1e-6)


@pytest.mark.parametrize(
    ("a", "b", "kinds", "message"),
    [
        (np.ones((3, 4)), np.ones((3, 4)), None, r"a has shape \(3, 4\); expected \(3n,\), or \(n, 3\) with a row"),
        (np.ones(12), np.ones((3, 4)), None, r"b has shape \(3, 4\)"),
        (np.ones(4), np.ones(4), None, r"a has shape \(4,\)"),
        (np.ones((2, 2, 3)), np.ones(12), None, r"a has shape \(2, 2, 3\)"),
        (np.ones(0), np.ones(0), None, r"a has shape \(0,\)"),
        (
            np.ones(12),
            np.where(np.arange(12) == 4, np.nan, 1),
            None,
            "b is not finite in 1 of 12 numbers, the first at 4",
        ),
        (np.full((4, 3), np.inf), np.ones(12), None, "a is not finite in 12 of 12 numbers"),
        (np.ones(12), np.ones(12), [0, 1, 1], r"kinds has shape \(3,\); expected \(4,\), one for each atom"),
        (np.ones(12), np.ones(12), 6, r"kinds has shape \(\)"),
    ],
)
def test_what_are_no_atoms_is_refused(a: Any, b: Any, kinds: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        align_atoms(a, b, kinds)


def rotated(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    q = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    q[:, 0] *= np.sign(np.linalg.det(q))
    return x @ q


def relabelled(n: int, kinds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    order = np.arange(n)
    for kind in np.unique(kinds):
        order[kinds == kind] = rng.permutation(order[kinds == kind])
    return order


def cubic(n: int, even: bool = True, centre: float = 0.0) -> np.ndarray:
    """(n, 3): the sites of a cubic lattice, face-centred if even, that are nearest to a centre."""
    sites = np.array([p for p in itertools.product(range(-5, 6), repeat=3) if not (even and sum(p) % 2)], float)
    sites[:, 0] -= centre
    return sites[np.argsort(np.linalg.norm(sites, axis=1), kind="stable")[:n]]


def icosahedron() -> np.ndarray:
    p = (1 + 5**0.5) / 2
    shell = [v for s, t in itertools.product((1, -1), (p, -p)) for v in ((0, s, t), (s, t, 0), (t, 0, s))]
    return np.array([(0, 0, 0), *shell], float)


def fullerene() -> np.ndarray:
    p = (1 + 5**0.5) / 2
    corners = itertools.product(((0, 1, 3 * p), (1, 2 + p, 2 * p), (p, 2, 2 * p + 1)), *[(1, -1)] * 3, range(3))
    found = {tuple(np.round(np.roll(np.multiply(v, s), k), 9) + 0.0) for v, *s, k in corners}
    return np.array(sorted(found))


def ring(n: int) -> np.ndarray:
    angles = 2 * np.pi * np.arange(n) / n
    return np.c_[np.cos(angles), np.sin(angles), 0 * angles] * n / 6


CLUSTERS = {
    "one atom": np.zeros((1, 3)),
    "two atoms": np.array([[0, 0, 0], [0.3, 1, 0]]),
    "line": np.outer([0, 1, 2.5, 3, 5], [1, 2, 2.0]),
    "symmetric line": np.outer([-2, -1, 1, 2.0], [0, 0, 1.0]),
    "nearly a line": np.array([[-1, 0, 0], [0, 1e-3, 0], [1, 0, 0.0]]),
    "plane": np.c_[np.random.default_rng(0).standard_normal((20, 2)), np.zeros(20)],
    "ring": ring(40),
    "centred ring": np.r_[ring(6), np.zeros((1, 3))],
    "cube": cubic(27, even=False),
    "icosahedron": icosahedron(),
    "truncated octahedron": cubic(38, centre=1.0),
    "fullerene": fullerene(),
    "75 atoms": cubic(75),
    "glass": 3 * np.random.default_rng(1).standard_normal((75, 3)),
}


@pytest.mark.parametrize("name", CLUSTERS)
@pytest.mark.parametrize("noise", [0.0, 1e-4])
@pytest.mark.parametrize(("scale", "origin"), [(1, 5.0), (1e-10, 0), (1e150, 0), (1, 1e7)])
def test_congruent_clusters_are_brought_to_coincide(name: str, noise: float, scale: float, origin: float) -> None:
    x = CLUSTERS[name]
    for seed in range(4):
        rng = np.random.default_rng(seed)
        kinds = rng.integers(0, 1 + seed % 3, len(x))
        moved = noise * rng.standard_normal(x.shape)
        y = rotated(x + moved, rng)[relabelled(len(x), kinds, rng)]
        start = perf_counter()
        found = align_atoms(scale * x + origin, scale * y - 3 * origin, kinds)
        assert perf_counter() - start < 0.5  # milliseconds, on a machine with nothing else to do
        apart = np.linalg.norm((found - origin) / scale - x)
        assert apart < np.linalg.norm(moved) + 1e-9 * np.sqrt(x.size) + 1e-15 * origin * x.size


def test_mirror_images_are_not_brought_to_coincide() -> None:
    x = CLUSTERS["glass"][:20]
    assert np.linalg.norm(align_atoms(x, x * [-1, 1, 1], warn=False) - x) > 0.1
    flat = CLUSTERS["plane"]  # the mirror image of a plane is its back
    assert align_atoms(flat, flat * [-1, 1, 1]) == pytest.approx(flat, abs=1e-9)


def test_exact_matches_agree_with_pele() -> None:
    mindist = pytest.importorskip("pele.mindist")
    exact = mindist.ExactMatchCluster()
    rng = np.random.default_rng(2)
    for name in ("icosahedron", "truncated octahedron", "75 atoms", "glass"):
        x = CLUSTERS[name]
        y = rotated(x, rng)[rng.permutation(len(x))]
        z = align_atoms(x, y)
        assert exact(x.ravel().copy(), y.ravel().copy(), check_inversion=False)
        assert np.abs(z - x).max() < 1e-9


def test_of_unlike_clusters_the_nearest_of_many_superpositions_is_taken() -> None:
    """One atom of 38 hops to another site of the surface, and all are relabelled: 37 lie on theirs again."""
    rng = np.random.default_rng(3)
    x = cubic(38, centre=1.0)
    other = x.copy()
    sites = cubic(79, centre=1.0)
    other[37] = sites[np.argmax(np.linalg.norm(sites[38:] - x[37], axis=1)) + 38]
    y = rotated(other, rng)[rng.permutation(38)]
    hop = np.linalg.norm(other - other.mean(axis=0) - (x - x.mean(axis=0)))
    assert np.linalg.norm(align_atoms(x, y, warn=False) - x) <= hop * (1 + 1e-9)


@pytest.mark.parametrize(("origin", "scale"), [(0.0, 1.0), (1e7, 1.0), (0.0, 1e7), (0.0, 1e-10), (0.0, 1e100)])
def test_unlike_atoms_are_never_exchanged(origin: float, scale: float) -> None:
    rng = np.random.default_rng(5)
    x, kinds = 2 * rng.standard_normal((8, 3)), np.array([0, 1, 0, 1, 2, 2, 0, 1])
    y = rng.standard_normal((8, 3))
    found = align_atoms(scale * x + origin, scale * y + origin, kinds, warn=False) / scale
    # Distances from the centre tell which atom of y each row is.
    ours, theirs = (np.linalg.norm(v - v.mean(axis=0), axis=1) for v in (found, y))
    order = np.abs(ours[:, None] - theirs).argmin(axis=1)
    assert np.array_equal(np.sort(order), np.arange(8))
    assert np.array_equal(kinds[order], kinds)


CELLS = {
    "rectangular": (np.array([4.0, 5.0, 6.0]), True),
    "slanted": (np.array([[4.0, 0, 0], [3.8, 3, 0], [1, 2.9, 5]]), True),
    "slab": (np.array([[4.0, 0, 0], [2, 3.5, 0], [0, 0, 20]]), [True, True, False]),
    "wire": (np.array([[0.0, 0, 0], [0, 3.0, 0], [0, 0, 0]]), [False, True, False]),
}


def in_a_cell(name: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Atoms, their kinds, and translations of the lattice (K, 3) and of all atoms (3,)."""
    cell, pbc = CELLS[name]
    vectors = np.atleast_2d(np.diag(cell) if cell.ndim == 1 else cell)
    x = rng.random((9, 3)) @ (vectors + 3 * np.eye(3) * ~np.broadcast_to(pbc, 3)[:, None])
    lattice = rng.integers(-3, 4, (9, 3)) @ (vectors * np.broadcast_to(pbc, 3)[:, None])
    return x, np.array([0, 0, 0, 0, 1, 1, 1, 2, 2]), lattice, 7 * rng.standard_normal(3)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("scale", [1, 1e-10])
def test_in_a_cell_like_atoms_are_matched_under_the_nearest_images(name: str, scale: float) -> None:
    cell, pbc = CELLS[name]
    for seed in range(5):
        rng = np.random.default_rng(seed)
        x, kinds, lattice, shift = in_a_cell(name, rng)
        y = (x + lattice)[relabelled(9, kinds, rng)]
        noise = 1e-4 * rng.standard_normal((9, 3))
        for z in (y, y + shift):
            found = align_atoms(scale * x, scale * (z + noise), kinds, cell=scale * cell, pbc=pbc) / scale
            assert np.linalg.norm(found - x) < 1.2e-4 * np.sqrt(27)


@pytest.mark.parametrize("name", CELLS)
def test_frozen_atoms_stay_and_nothing_is_translated(name: str) -> None:
    cell, pbc = CELLS[name]
    rng = np.random.default_rng(7)
    x, kinds, lattice, shift = in_a_cell(name, rng)
    frozen = np.array([3, 6])
    order = np.arange(9)
    order[[0, 1, 2]], order[[4, 5]] = [2, 0, 1], [5, 4]
    y = (x + lattice)[order]
    found = align_atoms(x.ravel(), y.ravel(), kinds, cell=cell, pbc=pbc, frozen=frozen).reshape(-1, 3)
    assert found == pytest.approx(x, abs=1e-9)
    assert np.array_equal(found[frozen], x[frozen])
    mask = np.isin(np.arange(9), frozen)
    assert np.array_equal(align_atoms(x, y, kinds, cell=cell, pbc=pbc, frozen=mask), found)
    with pytest.raises(ValueError, match=r"the frozen atom \d is at .* expected equal positions"):
        align_atoms(x, y + shift, kinds, cell=cell, pbc=pbc, frozen=frozen)


@pytest.mark.parametrize(("n_frozen", "axis"), [(1, False), (2, True), (3, True), (3, False)])
def test_frozen_atoms_of_a_molecule_leave_the_rotations_that_they_can(n_frozen: int, axis: bool) -> None:
    rng = np.random.default_rng(8)
    line = np.array([1.0, 2, 2]) / 3
    for _ in range(5):
        x = rng.standard_normal((8, 3))
        if axis:
            x[:n_frozen] = np.outer(np.arange(n_frozen), line)
        around = np.array([np.cross(line, e) for e in np.eye(3)])  # v @ around = line x v
        half = np.eye(3) + 2 * around @ around  # by 180 degrees
        moved = x[n_frozen:] - x[0]
        if n_frozen == 1:
            moved = rotated(moved, rng)
        elif axis:
            moved = moved @ half
        y = np.r_[x[:n_frozen], rng.permutation(moved) + x[0]]
        assert align_atoms(x, y, frozen=np.arange(n_frozen)) == pytest.approx(x, abs=1e-9)


def test_the_shortest_displacement_is_the_shortest_of_many_images() -> None:
    rng = np.random.default_rng(9)
    images = np.array(list(itertools.product(range(-6, 7), repeat=3)))
    for _ in range(10):
        cell = 0.5 * rng.standard_normal((3, 3)) + 3 * np.eye(3)
        cell[2] += rng.integers(-2, 3, 2) @ cell[:2]
        away = 4 * rng.standard_normal((50, 3))
        found = Lattice(cell).shortest(away)
        best = np.linalg.norm(found[:, None] + images @ cell, axis=2).min(axis=1)
        assert np.linalg.norm(found, axis=1) == pytest.approx(best)
        turns = (found - away) @ np.linalg.inv(cell)
        assert turns == pytest.approx(np.round(turns), abs=1e-9)


@pytest.mark.parametrize("name", [None, *CELLS])
def test_the_closest_approach_against_many_points_of_the_line(name: str | None) -> None:
    cell, pbc = (None, None) if name is None else CELLS[name]
    lattice = Lattice(cell, pbc)
    images = lattice.images(2)
    i, j = np.triu_indices(5, 1)
    for seed in range(6):
        rng = np.random.default_rng(seed)
        x, y = 3 * rng.random((2, 5, 3))
        found = closest_approach(x, y, cell=cell, pbc=pbc)
        t = np.linspace(0, 1, 501)
        line = x + t[:, None, None] * lattice.shortest(y - x)
        apart = np.linalg.norm((line[:, j] - line[:, i])[..., None, :] + images, axis=-1).min(axis=-1)
        assert found.distance == pytest.approx(apart.min(), abs=5e-3)
        assert found.smallest == pytest.approx(min(apart[0].min(), apart[-1].min()))
        assert apart[np.abs(t - found.t).argmin()].min() == pytest.approx(found.distance, abs=2e-2)


def test_a_clash_on_the_straight_line_is_warned_of() -> None:
    tetrahedron = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * 2 ** (1 / 6) / 8**0.5
    with pytest.warns(
        ClashWarning, match=r"the atoms 0 and 1 come within .* of each other at t = 0\.5; .* endpoints is 1\.12"
    ):
        align_atoms(tetrahedron, tetrahedron[[1, 0, 2, 3]], np.arange(4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        align_atoms(tetrahedron, tetrahedron[[1, 0, 2, 3]], np.arange(4), warn=False)
        align_atoms(tetrahedron, tetrahedron[[1, 0, 3, 2]])
    # Short bonds of other kinds are none: the reference is what atoms of the same kinds have at the endpoints.
    a = np.array([[0, 0, 0], [0.7, 0, 0], [3.0, 3, 0], [5, 3, 0]])
    b = a.copy()
    b[2] -= [0, 1, 0]
    assert not closest_approach(a, b, ["H", "H", "Au", "Au"]).clash
    assert closest_approach(a[:1], b[:1]).distance == np.inf


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cell": np.eye(2)}, r"cell has shape \(2, 2\); expected \(3, 3\)"),
        ({"cell": np.ones((3, 3))}, "expected finite, independent ones"),
        ({"cell": np.ones(3), "pbc": [True, False]}, r"pbc has shape \(2,\); expected \(3,\)"),
        ({"pbc": True}, "expected finite, independent ones"),
        ({"cell": [1, np.inf, 1]}, "expected finite, independent ones"),
        ({"frozen": [4]}, r"frozen is \[4\]; expected \(4,\) of bool"),
        ({"frozen": [0.5]}, "or indices of some of the 4 atoms"),
        ({"frozen": [True, False]}, r"expected \(4,\) of bool"),
    ],
)
def test_cells_and_frozen_atoms_that_are_none_are_refused(options: dict[str, Any], message: str) -> None:
    x = np.random.default_rng(0).standard_normal((4, 3))
    with pytest.raises(ValueError, match=message):
        align_atoms(x, x, **options)


def test_a_slab_of_ase_is_aligned_with_its_frozen_atoms_kept() -> None:
    build, emt = pytest.importorskip("ase.build"), pytest.importorskip("ase.calculators.emt")
    from ase.constraints import FixAtoms

    from minilandscape.adapters.ase import AseLandscape

    slab = build.fcc100("Al", (2, 2, 3))
    build.add_adsorbate(slab, "Al", 1.7, "hollow")
    slab.center(axis=2, vacuum=4)
    slab.set_constraint(FixAtoms([atom.index for atom in slab if atom.tag > 1]))
    land = AseLandscape(slab, emt.EMT)
    a = land.vector(slab)
    b = (a.reshape(-1, 3)[[2, 0, 4, 1, 3]] + slab.cell[1] - 2 * slab.cell[0]).ravel()
    assert land.align(a, b) == pytest.approx(a, abs=1e-9)
    bulk = build.bulk("Cu", cubic=True) * (2, 2, 2)
    bulk.rattle(0.05, seed=1)
    land = AseLandscape(bulk, emt.EMT)
    a = land.vector(bulk)
    b = a.reshape(-1, 3)[np.random.default_rng(0).permutation(32)] + [1.3, -7, 2]
    assert land.align(a, b.ravel()) == pytest.approx(a, abs=1e-9)


@pytest.mark.parametrize("wrong", ["abc", None, np.ones((4, 3)) + 1j])
def test_atoms_that_are_no_real_numbers_are_refused(wrong: Any) -> None:
    x = np.random.default_rng(0).standard_normal((4, 3))
    for a, b, name in ((wrong, x, "a"), (x, wrong, "b")):
        with pytest.raises(TypeError, match=f"{name} is .* expected a vector of real numbers"):
            align_atoms(a, b)
    assert align_atoms(x, x[[1, 0, 2, 3]] + 1, np.array(["H", "H", 8, None], dtype=object)) == pytest.approx(x)


def test_an_approach_shows_itself() -> None:
    a = np.array([[0.0, 0, 0], [1, 0, 0], [0, 3, 0]])
    found = closest_approach(a, a[[1, 0, 2]])
    assert repr(found) == "<Approach: atoms 0 and 1, distance 0, smallest 1, clash yes>"
    assert "at t = 0.500" in found.summary()
    assert "<table>" in found._repr_html_()
