"""Stationary points: duplicates, several saddles a pair, and the files of other packages."""

from __future__ import annotations

import itertools
import pickle
import re
import sqlite3
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minilandscape.analysis.stationary import StationaryPoints
from minilandscape.analysis.stationary_files import load_stationary_points, read_pathsample, read_pele, read_topsearch
from minilandscape.files import write_atomic, write_result
from minilandscape.formats.contents import IncompleteWarning, number
from minilandscape.potentials import MullerBrown


def muller_brown() -> StationaryPoints:
    land, points = MullerBrown(), StationaryPoints()
    a, b, c = (points.add_minimum(x, land.values(x[None])[0]) for x in land.minima)
    for x, (i, j) in zip(land.saddles, ((c, a), (b, c)), strict=True):
        points.add_saddle(x, land.values(x[None])[0], i, j)
    return points


def equal(a: StationaryPoints, b: StationaryPoints, digits: float = 0) -> None:
    for name in ("minima", "minima_values", "saddles", "saddle_values", "pairs"):
        assert getattr(a, name) == pytest.approx(getattr(b, name), abs=digits), name


def test_duplicates_agree_in_value_and_in_place() -> None:
    points = StationaryPoints(value_tolerance=1e-3, distance_tolerance=0.1)
    assert points.add_minimum([0.0, 0.0], 1.0) == 0
    assert points.add_minimum([0.05, 0.0], 1.0005) == 0
    assert points.add_minimum([0.05, 0.0], 1.01) == 1
    assert points.add_minimum([3.0, 0.0], 1.0) == 2
    assert points.add_saddle([1.0, 0.0], 2.0, 2, 0) == 0
    assert points.add_saddle([1.0, 0.01], 2.0, 0, 2) == 0
    assert points.add_saddle([1.0, 1.0], 2.0, 0, 2) == 1
    assert points.add_saddle([1.0, 0.0], 2.0, 0, 1) == 2
    assert points.pairs.tolist() == [[0, 2], [0, 2], [0, 1]]
    assert points.graph().merge_energies[1, 2] == 2.0
    around = StationaryPoints(1e-5, 1e-2, distance=lambda a, b: abs(np.linalg.norm(a) - np.linalg.norm(b)))
    assert [around.add_minimum(x, 0.0) for x in ([1.0, 0], [0, 1.0], [2.0, 0])] == [0, 0, 1]
    with pytest.raises(ValueError, match="expected two of 3 minima"):
        points.add_saddle([0.0, 0.0], 2.0, 0, 3)
    with pytest.raises(TypeError):
        points.add_saddle([0.0, 0.0], 2.0, 0, 1.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected finite numbers"):
        points.add_minimum([0.0, np.nan], 2.0)
    with pytest.raises(ValueError, match=r"a point has shape \(1,\); expected \(2,\)"):
        points.add_minimum([0.0], 2.0)
    with pytest.raises(TypeError, match="complex; expected real"):
        points.add_minimum(np.array([0.0, 1j]), 2.0)
    with pytest.raises(ValueError, match="no coordinates; expected at least one"):
        StationaryPoints().add_minimum([], 2.0)


def test_one_file(tmp_path: Path) -> None:
    points = muller_brown()
    points.save(tmp_path / "p.npz")
    equal(load_stationary_points(tmp_path / "p.npz"), points)
    assert points.graph().merge_energies[0, 1] == pytest.approx(-40.664844, abs=1e-6)
    assert repr(points) == "<StationaryPoints: 3 minima, the lowest -146.69952, 2 saddles, 2 coordinates>"
    assert repr(points.graph()) == "<DisconnectivityGraph: 3 minima, the lowest -146.69952, 1 connected component>"


def test_a_file_of_version_0_1_loads(tmp_path: Path) -> None:
    points = muller_brown()
    names = {"saddles_values": "saddle_values"}
    arrays = {name: getattr(points, names.get(name, name)) for name in ("minima", "minima_values", "saddles", "pairs")}
    arrays["saddles_values"] = points.saddle_values
    facts = {"value_tolerance": 1e-5, "distance_tolerance": 1e-2}
    write_result(tmp_path / "p.npz", "stationary points", arrays, facts)
    again = load_stationary_points(tmp_path / "p.npz")
    equal(again, points)
    assert (again.value_tolerance, again.distance_tolerance) == (1e-5, 1e-2)


@pytest.mark.parametrize("scale", [1.0, 1e-20, 1e12])
@pytest.mark.parametrize("length", [1.0, 1e-10, 1e4])
@pytest.mark.filterwarnings("ignore:a point")
def test_the_unit_makes_no_difference(scale: float, length: float) -> None:
    """Minima of an egg box found again and again, to 1e-4 of the period, in some unit of value and of length."""
    rng = np.random.default_rng(0)
    places = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [2.0, 1.0]])
    values = np.array([-2.0, -2.0, -1.5, 0.0])
    points = StationaryPoints()
    for k in [*range(4), *rng.integers(0, 4, 30)]:
        value = values[k] + 1e-7 * rng.standard_normal()
        assert points.add_minimum(length * (places[k] + 1e-4 * rng.standard_normal(2)), scale * value) == k
    for k, (i, j) in enumerate(itertools.combinations(range(4), 2)):
        for x, value in (((0.1, k), 1.0), ((0.1, k), 1.0 + 1e-9), ((0.5, k), 1.0), ((0.102, k), 1.01)):
            points.add_saddle(length * np.array(x), scale * value, i, j)
    assert len(points.saddle_values) == 3 * 6
    assert len(points.minima_values) == 4


@pytest.mark.parametrize("origin", [0.0, 1e3, 1e6])
@pytest.mark.filterwarnings("ignore:a point")
def test_the_origin_makes_no_difference(origin: float) -> None:
    """Minima 1 apart, of equal values (an egg box) or not (Müller–Brown), found again to 1e-5, about some origin."""
    rng = np.random.default_rng(0)
    eggs = np.array([[i, j, 0.0] for i in range(6) for j in range(6)])
    points = StationaryPoints()
    for k in [*range(36), *rng.integers(0, 36, 100)]:
        assert points.add_minimum(origin + eggs[k] + 1e-5 * rng.standard_normal(3), -2.0) == k
    land, points = MullerBrown(), StationaryPoints()
    for k in (0, 0, 1, 2, 0, 1, 2, 2):
        x = land.minima[k] + 1e-5 * rng.standard_normal(2)
        assert points.add_minimum(origin + x, land.values(x[None])[0]) == k


def test_two_minima_far_from_the_origin_ask_for_a_distance() -> None:
    points = StationaryPoints()
    assert points.add_minimum([1000.0, 0.0], -2.0) == 0
    assert points.add_minimum([1000.0, 1e-4], -2.0) == 0
    with pytest.warns(
        UserWarning, match="distance of 1 .* values agree, .* as large as 1e.03: pass distance_tolerance="
    ) as caught:
        assert points.add_minimum([1001.0, 0.0], -2.0) == 1
    assert caught[0].filename == __file__
    given = StationaryPoints(distance_tolerance=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [given.add_minimum(x, -2.0) for x in ([1000.0, 0.0], [1001.0, 0.0], [1001.0, 0.05])] == [0, 1, 1]


def test_one_point_far_off_does_not_swallow_the_others() -> None:
    """A cluster that an atom has left, and a saddle of colliding atoms, are no scale for the others."""
    points = StationaryPoints()
    rng = np.random.default_rng(0)
    places, values = rng.uniform(-1, 1, (6, 9)), [-2.0, -2.0, -1.9, -1.8, -1.7, -1.6]
    for k in range(3):
        points.add_minimum(places[k], values[k])
    far = places[0].copy()
    far[0] = 1e5
    assert points.add_minimum(far, -1.0) == 3
    points.add_saddle(places[0] / 2, 1e9, 0, 1)
    assert [points.add_minimum(places[k], values[k]) for k in (3, 4, 5)] == [4, 5, 6]
    assert points.add_minimum(places[1] + 1e-4, values[1]) == 1


def test_a_distance_is_asked_where_values_agree_alone() -> None:
    calls = []

    def distance(a: np.ndarray, b: np.ndarray) -> float:
        calls.append((a, b))
        a += 1  # it may do with its arguments what it likes
        return abs(np.linalg.norm(a - 1) - np.linalg.norm(b))

    points = StationaryPoints(distance=distance, distance_tolerance=1e-3)
    given = [([1.0, 0.0], -1.0), ([0.0, 2.0], -0.5), ([0.0, 1.0], -1.0), ([3.0, 0.0], -0.5), ([0.0, -1.0], -1.0)]
    assert [points.add_minimum(*point) for point in given] == [0, 1, 0, 2, 0]
    assert len(calls) == 3
    assert points.minima.tolist() == [[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]]
    points.minima[:] = 7.0
    points.minima_values[:] = 7.0
    assert points.minima_values.tolist() == [-1.0, -0.5, -0.5]


def test_a_file_keeps_no_distance_and_says_so(tmp_path: Path) -> None:
    points = StationaryPoints(distance=norms_apart)
    points.add_minimum([1.0, 0.0], -1.0)
    points.save(tmp_path / "p.npz")
    again = load_stationary_points(tmp_path / "p.npz", distance=norms_apart)
    assert again.add_minimum([0.0, 1.0], -1.0) == 0
    again.save(tmp_path / "q.npz")
    for name in ("p.npz", "q.npz"):
        without = load_stationary_points(tmp_path / name)
        with pytest.warns(UserWarning, match=r"load_stationary_points\(…, distance=…\)") as caught:
            assert without.add_minimum([0.0, 1.0], -1.0) == 1
        assert caught[0].filename == __file__


def norms_apart(a: np.ndarray, b: np.ndarray) -> float:
    return float(abs(np.linalg.norm(a) - np.linalg.norm(b)))


def test_a_minimum_of_value_0_at_the_origin_asks_for_a_unit() -> None:
    points = StationaryPoints()
    assert points.add_minimum([1e-9, 2e-9], 1e-18) == 0
    with pytest.warns(
        UserWarning,
        match="a distance of 5e-09 from another .* all coordinates are below 0.01: pass distance_tolerance=",
    ):
        assert points.add_minimum([-4e-9, 2e-9], 4e-18) == 1
    points = StationaryPoints()
    assert points.add_minimum([1.5, 0.0], 0.5) == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [points.add_minimum(x, 1e-18 * k) for k, x in enumerate([[1e-9, 2e-9], [-4e-9, 2e-9]])] == [1, 1]


def test_minima_without_saddles(tmp_path: Path) -> None:
    none, points = StationaryPoints(), StationaryPoints()
    points.add_minimum([1.0, 2.0, 3.0], 0.5)
    for k, collection in enumerate((none, points)):
        shapes = [getattr(collection, name).shape for name in ("minima", "saddles", "pairs")]
        assert shapes == [(k, 3 * k), (0, 3 * k), (0, 2)]
        collection.save(tmp_path / "p.npz")
        collection.write_topsearch(tmp_path / f"topsearch{k}")
        collection.write_pele(tmp_path / f"{k}.sqlite")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", IncompleteWarning)  # frequencies are unknown
            collection.write_pathsample(tmp_path / f"pathsample{k}")
        pathsample = read_pathsample(tmp_path / f"pathsample{k}")
        again = load_stationary_points(tmp_path / "p.npz")
        for read in (
            again,
            read_topsearch(tmp_path / f"topsearch{k}"),
            read_pele(tmp_path / f"{k}.sqlite"),
            pathsample,
        ):
            equal(read, collection)
            assert read.saddles.shape == collection.saddles.shape
    assert points.graph().merges == ()
    assert points.graph().n_pieces == 1


def test_topsearch_files(tmp_path: Path) -> None:
    points = muller_brown()
    points.write_topsearch(tmp_path)
    equal(read_topsearch(tmp_path), points)
    (tmp_path / "min.data").write_text("0 one\n")
    with pytest.raises(ValueError, match=r"min\.data is not a table of numbers"):
        read_topsearch(tmp_path)


def write_tables(folder: Path, **tables: str) -> None:
    """A chain of four minima on a line, their numbers with gaps and not in order; or other tables."""
    chain = {
        "min_data": "0 0.0\n5 0.9\n1 0.5\n3 0.7\n",
        "min_coords": "0 0\n5 0\n1 0\n3 0\n",
        "ts_data": "0 1 1.0\n3 1 2.0\n5 3 3.0\n",
        "ts_coords": "0.5 0\n2 0\n4 0\n",
    }
    for name, text in (chain | tables).items():
        (folder / name.replace("_", ".")).write_text(text)


def test_topsearchs_numbers_name_the_minima(tmp_path: Path) -> None:
    write_tables(tmp_path)
    points = read_topsearch(tmp_path)
    assert points.minima[:, 0].tolist() == [0, 1, 3, 5]
    assert points.minima_values.tolist() == [0, 0.5, 0.7, 0.9]
    assert points.pairs.tolist() == [[0, 1], [1, 2], [2, 3]]
    assert points.minima[points.pairs].mean(axis=1).tolist() == points.saddles.tolist()


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"min_data": "0 0.0\n5 0.9\n1 0.5\n1 0.7\n"}, r"min\.data gives 4 minima 3 numbers"),
        ({"min_coords": "0 0\n5 0\n1 0\n"}, r"min\.data has 4 rows and min\.coords 3"),
        ({"ts_coords": "0.5 0\n2 0\n4 0\n6 0\n"}, r"ts\.data has 3 rows and ts\.coords 4"),
        ({"ts_data": ""}, r"ts\.data has 0 rows and ts\.coords 3"),
        ({"ts_coords": "0.5 0 0\n2 0 0\n4 0 0\n"}, "points of 2 and of 3 coordinates"),
        ({"ts_coords": "0.5 0\n2\n4 0\n"}, "rows of 1, 2 numbers"),
        ({"ts_data": "0 1 1.0\n3 1.5 2.0\n5 3 3.0\n"}, r"line 2: the number of a minimum is 1\.5"),
        ({"ts_coords": "0.5 0\n2 nan\n4 0\n"}, "one of the saddles, in row 2, .* coordinates that are not finite"),
        ({"min_data": "0 0.0\n5 inf\n1 0.5\n3 0.7\n"}, r"one of the minima, in row 2, has the energy inf"),
        ({"min_coords": "0 0\nnan 0\n1 0\n3 0\n"}, r"one of the minima, in row 2, has the energy 0\.9 or coordinates"),
    ],
)
def test_topsearch_files_that_do_not_fit_are_refused(tmp_path: Path, tables: dict[str, str], message: str) -> None:
    write_tables(tmp_path, **tables)
    with pytest.raises(ValueError, match=message) as caught:
        read_topsearch(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_topsearchs_saddles_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    write_tables(tmp_path, ts_data="0 1 1.0\n2 1 2.0\n5 3 nan\n")
    with pytest.warns(IncompleteWarning) as caught:
        points = read_topsearch(tmp_path)
    assert points.pairs.tolist() == [[0, 1]]
    assert points.saddles.tolist() == [[0.5, 0]]
    assert points.left_out == (
        "1 of 3 saddles of ts.data connect a missing minimum: row 2",
        "1 of 3 saddles of ts.data have an energy that is not finite: row 3",
    )
    assert str(tmp_path) in str(caught[0].message)
    assert caught[0].filename == __file__
    points.save(tmp_path / "p.npz")
    assert load_stationary_points(tmp_path / "p.npz").left_out == points.left_out


def test_topsearchs_suffixes_pairs_and_further_columns(tmp_path: Path) -> None:
    points = muller_brown()
    a, b = points.pairs[1].tolist()
    points.add_saddle([0.5, 0.5], points.saddle_values[1] + 3, a, b)
    for suffix in (".disco", "0_1"):
        points.write_topsearch(tmp_path, suffix=suffix)
    assert len(list(tmp_path.iterdir())) == 10
    rows = (tmp_path / "ts.data.disco").read_text().split("\n")[:3]
    assert [float(row.split()[2]) for row in rows] == sorted(points.saddle_values)[::-1]  # the lowest of a pair is last
    for where in ((tmp_path, ".disco"), (tmp_path, "disco"), (tmp_path, "0_1"), (tmp_path / "min.data.disco",)):
        again = read_topsearch(*where)
        assert sorted(again.pairs.tolist()) == sorted(points.pairs.tolist())
        assert sorted(again.saddle_values) == sorted(points.saddle_values)
        assert again.pairs_tried.tolist() == np.unique(points.pairs, axis=0).tolist()
    with pytest.raises(FileNotFoundError, match=r"there is no file .*min\.data; suffixes there: '\.disco', '0_1'"):
        read_topsearch(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        read_topsearch(tmp_path / "nowhere")
    write_tables(tmp_path, min_data="0 0.0 0.1\n5 0.9 0.2\n1 0.5 0.3\n3 0.7 0.4\n")
    (tmp_path / "pairlist").write_text("0 5\n1 3\n")
    again = read_topsearch(tmp_path)
    assert again.minima_properties["further_columns"].tolist() == [[0.1], [0.3], [0.4], [0.2]]
    assert again.pairs_tried.tolist() == [[0, 3], [1, 2]]
    again.save(tmp_path / "p.npz")
    loaded = load_stationary_points(tmp_path / "p.npz")
    assert loaded.pairs_tried.tolist() == [[0, 3], [1, 2]]
    assert loaded.minima_properties["further_columns"].tolist() == [[0.1], [0.3], [0.4], [0.2]]


def test_topsearch_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network: Any = pytest.importorskip("topsearch.data.kinetic_transition_network")
    monkeypatch.chdir(tmp_path)
    points = muller_brown()
    points.write_topsearch(tmp_path)
    theirs = network.KineticTransitionNetwork()
    theirs.read_network(text_path=f"{tmp_path}/")
    assert (theirs.n_minima, theirs.n_ts) == (3, 2)
    assert theirs.get_ts_energy(0, 2) == pytest.approx(-40.664844, abs=1e-6)
    theirs.dump_network(".theirs")
    for name in ("min.data", "min.coords", "ts.data", "ts.coords"):
        (tmp_path / f"{name}.theirs").rename(tmp_path / name)
    equal(read_topsearch(tmp_path), points, 1e-5)


def test_peles_database(tmp_path: Path) -> None:
    """pele's schema version 2, as its storage module declares it: coordinates are pickled arrays."""
    points = muller_brown()
    points.write_pele(tmp_path / "p.sqlite")
    equal(read_pele(tmp_path / "p.sqlite"), points)
    with pytest.raises(ValueError, match="name a new file"):
        points.write_pele(tmp_path / "p.sqlite")
    with sqlite3.connect(tmp_path / "p.sqlite") as database:
        assert database.execute("PRAGMA user_version").fetchone() == (2,)
        (blob,) = database.execute("SELECT coords FROM tbl_minima WHERE _id = 1").fetchone()
        assert np.array_equal(pickle.loads(blob), points.minima[0])


def test_pele_itself(tmp_path: Path) -> None:
    storage: Any = pytest.importorskip("pele.storage")
    points = muller_brown()
    points.write_pele(tmp_path / "ours.sqlite")
    theirs = storage.Database(str(tmp_path / "ours.sqlite"), createdb=False)
    assert (theirs.number_of_minima(), theirs.number_of_transition_states()) == (3, 2)
    assert [m.energy for m in theirs.minima()] == pytest.approx(sorted(points.minima_values))
    assert min(t.energy for t in theirs.transition_states()) == pytest.approx(-72.248940, abs=1e-6)
    again = storage.Database(str(tmp_path / "theirs.sqlite"))
    minima = [again.addMinimum(float(v), x) for x, v in zip(points.minima, points.minima_values, strict=True)]
    for (i, j), x, v in zip(points.pairs, points.saddles, points.saddle_values, strict=True):
        again.addTransitionState(float(v), x, minima[i], minima[j])
    equal(read_pele(tmp_path / "theirs.sqlite"), points)


@pytest.mark.filterwarnings("ignore:the tree")
def test_pele_itself_converts_between_pathsample_and_its_databases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage: Any = pytest.importorskip("pele.storage")
    optim: Any = pytest.importorskip("pele.utils.optim_compatibility")
    points = read_pathsample(pathsample(tmp_path / "a"))
    points.write_pathsample(tmp_path / "b")
    monkeypatch.chdir(tmp_path / "b")
    theirs = storage.Database(str(tmp_path / "theirs.sqlite"))
    optim.OptimDBConverter(theirs).convert()
    read = read_pele(tmp_path / "theirs.sqlite")
    equal(read, points)
    for name in ("log_product_frequencies", "point_group_order"):
        assert np.array_equal(read.minima_properties[name], points.minima_properties[name])
        assert np.array_equal(read.saddle_properties[name], points.saddle_properties[name])
    (tmp_path / "c").mkdir()
    monkeypatch.chdir(tmp_path / "c")
    optim.WritePathsampleDB(theirs).write_db()
    again = read_pathsample(tmp_path / "c")  # in the order of energies
    assert again.minima_values == pytest.approx(sorted(points.minima_values), abs=1e-12)
    passes = [read.graph("minimum").merge_energies for read in (again, points)]
    assert passes[0] == pytest.approx(passes[1])


@pytest.mark.parametrize("kind", ["pele", "topsearch", "pathsample"])
@pytest.mark.filterwarnings("ignore::minilandscape.formats.contents.IncompleteWarning")
def test_files_of_others_are_written_whole_and_once(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points, out = muller_brown(), tmp_path / "new" / kind
    readers: dict[str, Any] = {"pele": read_pele, "topsearch": read_topsearch, "pathsample": read_pathsample}
    write, read = getattr(points, f"write_{kind}"), readers[kind]
    calls = []

    def interrupted(*args: Any, **options: Any) -> Any:
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return proper(*args, **options)

    target = f"minilandscape.formats.{'pele.pickle.dumps' if kind == 'pele' else 'contents.write_atomic'}"
    proper = pickle.dumps if kind == "pele" else write_atomic
    with monkeypatch.context() as patch:
        patch.setattr(target, interrupted)
        with pytest.raises(KeyboardInterrupt):
            write(out)
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]
    write(out)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert len(before) == {"pele": 1, "topsearch": 5, "pathsample": 4}[kind]
    points.add_minimum([5.0, 5.0], 3.0)
    with pytest.raises(ValueError, match="exists; name a new"):
        write(out)
    assert {file: file.read_bytes() for file in before} == before
    equal(read(out), muller_brown())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("tbl_minima SET energy = NULL WHERE _id = 2", "one of the minima, _id 2, is None"),
        ("tbl_minima SET energy = 9e999 WHERE _id = 2", "one of the minima, _id 2, is inf"),
        ("tbl_minima SET energy = 'low' WHERE _id = 2", "one of the minima, _id 2, is low"),
        ("tbl_minima SET coords = 'text' WHERE _id = 2", "no plain array"),
        ("tbl_minima SET coords = (:nan) WHERE _id = 2", "not finite"),
        ("tbl_minima SET coords = (:other) WHERE _id = 2", "points of 2 and of 3 coordinates"),
        ("tbl_minima SET coords = (:complex) WHERE _id = 2", "no plain array"),
    ],
)
def test_rows_of_pele_that_cannot_be_are_refused(tmp_path: Path, change: str, message: str) -> None:
    points, file = muller_brown(), tmp_path / "p.sqlite"
    points.write_pele(file)
    arrays = {"other": pickle.dumps(np.zeros(3)), "complex": pickle.dumps(np.zeros(2, complex))}
    arrays["nan"] = pickle.dumps(np.array([0, np.nan]))
    with sqlite3.connect(file) as database:
        database.execute(f"UPDATE {change}", {name: array for name, array in arrays.items() if f":{name}" in change})
    with pytest.raises(ValueError, match=message) as caught:
        read_pele(file)
    assert str(file) in str(caught.value)


def python2(array: np.ndarray) -> bytes:
    """An array as NumPy under Python 2 pickled it with protocol 2: its bytes as a string of that language."""
    content, kind = array.tobytes(), array.dtype.str.encode()
    return (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85U\x01b\x87Rq\x03(K\x01K"
        + bytes([array.size])
        + b"\x85cnumpy\ndtype\nq\x04U\x02"
        + kind[1:]
        + b"K\x00K\x01\x87Rq\x05(K\x03U\x01"
        + kind[:1]
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T"
        + len(content).to_bytes(4, "little")
        + content
        + b"tb."
    )


def peles_rows(file: Path, *changes: str, **values: Any) -> StationaryPoints:
    """A database of Müller–Brown after some changes, read; warnings are the caller's."""
    muller_brown().write_pele(file)
    with sqlite3.connect(file) as database:
        for change in changes:
            database.execute(change, {name: value for name, value in values.items() if f":{name}" in change})
    return read_pele(file)


def test_databases_of_python_2_and_of_the_first_schema(tmp_path: Path) -> None:
    points = muller_brown()
    blobs = {f"x{k}": python2(x) for k, x in enumerate(points.minima)}
    blobs |= {f"s{k}": python2(x.astype(">f8")) for k, x in enumerate(points.saddles)}
    changes = [f"UPDATE tbl_minima SET coords = :x{k} WHERE _id = {k + 1}" for k in range(3)]
    changes += [f"UPDATE tbl_transition_states SET coords = :s{k} WHERE _id = {k + 1}" for k in range(2)]
    tables = ("tbl_minima", "tbl_transition_states")
    changes += [f"ALTER TABLE {table} DROP COLUMN {column}" for table in tables for column in ("invalid", "user_data")]
    equal(peles_rows(tmp_path / "p.sqlite", *changes, **blobs), points)


@pytest.mark.parametrize(
    ("change", "left_out"),
    [
        (
            "tbl_transition_states SET _minimum2_id = 7",
            "2 of 2 saddles .* connect a missing minimum: rows 1, 2",
        ),
        ("tbl_transition_states SET _minimum1_id = NULL WHERE _id = 1", "1 of 2 saddles .* a missing minimum: row 1"),
        ("tbl_transition_states SET energy = NULL WHERE _id = 1", "1 of 2 saddles .* not finite: row 1"),
        ("tbl_transition_states SET invalid = 1 WHERE _id = 1", "1 of 2 saddles that pele marks invalid.*: row 1"),
        ("tbl_minima SET invalid = 1 WHERE _id = 1", "1 of 3 minima that pele marks invalid: row 1"),
        (
            "tbl_minima SET user_data = 'x' WHERE _id > 1",
            "user_data of 2 rows of tbl_minima, which are pickled objects",
        ),
        ("tbl_transition_states SET eigenvec = (:evil) WHERE _id = 1", "eigenvec of 1 saddles, no plain arrays: row 1"),
    ],
)
def test_what_pele_has_and_we_do_not_is_named(tmp_path: Path, change: str, left_out: str) -> None:
    with pytest.warns(IncompleteWarning, match=left_out) as caught:
        points = peles_rows(tmp_path / "p.sqlite", f"UPDATE {change}", evil=pickle.dumps(Evil()))
    assert caught[0].filename == __file__
    whole = muller_brown()
    if "rows 1, 2" in left_out:
        assert not len(points.saddles)
    elif "tbl_transition_states SET eigenvec" not in change and "user_data" not in change:
        assert np.array_equal(points.saddles, whole.saddles[1:])
        assert points.graph().merge_energies.max() in (np.inf, *whole.saddle_values)
    points.save(tmp_path / "p.npz")
    assert load_stationary_points(tmp_path / "p.npz").left_out == points.left_out
    assert not list(Path(tmp_path).glob("p.sqlite-*"))


def test_what_pele_marks_invalid_is_left_out(tmp_path: Path) -> None:
    points, tables = muller_brown(), ("tbl_minima", "tbl_transition_states")
    # As pele's script that brings databases to version 2 leaves it.
    equal(peles_rows(tmp_path / "a.sqlite", *(f"UPDATE {table} SET invalid = NULL" for table in tables)), points)
    with pytest.warns(IncompleteWarning):  # minimum 1 of 0 to 2, at the end of one saddle
        read = peles_rows(tmp_path / "b.sqlite", "UPDATE tbl_minima SET invalid = 1 WHERE _id = 2")
    assert np.array_equal(read.minima, points.minima[[0, 2]])
    assert read.pairs.tolist() == [[0, 1]]
    assert np.array_equal(read.saddles, points.saddles[:1])


def test_what_else_pele_holds_survives(tmp_path: Path) -> None:
    """Frequencies, point groups, the negative mode and plain system properties, through our file and back."""
    changes = [
        "UPDATE tbl_minima SET fvib = 10.5 + _id, pgorder = 2 * _id WHERE _id < 3",
        "UPDATE tbl_transition_states SET eigenvec = (:nothing)",
        "UPDATE tbl_transition_states SET fvib = _id, eigenval = -1.5, eigenvec = (:vector) WHERE _id = 2",
        "INSERT INTO tbl_system_property (property_name, int_value) VALUES ('natoms', 6)",
        "INSERT INTO tbl_system_property (property_name, string_value) VALUES ('potential', 'LJ')",
    ]
    blobs = {"vector": pickle.dumps(np.array([0.6, 0.8])), "nothing": pickle.dumps(np.array(None))}
    points = peles_rows(tmp_path / "p.sqlite", *changes, **blobs)
    assert points.left_out == ()
    points.save(tmp_path / "p.npz")
    again = load_stationary_points(tmp_path / "p.npz")
    again.write_pele(tmp_path / "q.sqlite")
    for read in (points, again, read_pele(tmp_path / "q.sqlite")):
        assert read.metadata == {"natoms": 6, "potential": "LJ"}
        nan = np.nan
        expected = {"log_product_frequencies": [11.5, 12.5, nan], "point_group_order": [2, 4, nan]}
        assert read.minima_properties.keys() == expected.keys()
        for name, column in expected.items():
            assert np.array_equal(read.minima_properties[name], column, equal_nan=True)
        assert np.array_equal(read.saddle_properties["eigenvalue"], [nan, -1.5], equal_nan=True)
        assert np.array_equal(read.saddle_properties["eigenvector"], [[nan, nan], [0.6, 0.8]], equal_nan=True)
    assert again.add_minimum([5.0, 5.0], 7.0) == 3
    assert np.isnan(again.minima_properties["point_group_order"][2:]).all()


def test_coordinates_that_pele_does_not_have(tmp_path: Path) -> None:
    points = peles_rows(tmp_path / "p.sqlite", "UPDATE tbl_minima SET coords = NULL WHERE _id = 2")
    assert not points.has_coordinates
    with pytest.raises(ValueError, match="coordinates of 1 of 3 minima are unknown"):
        _ = points.minima
    assert points.saddles.shape == (2, 2)
    with pytest.raises(ValueError, match="1 of 3 minima have no coordinates; expected those of all"):
        points.add_minimum([9.0, 9.0], 0.0)
    points.save(tmp_path / "p.npz")
    points.write_pele(tmp_path / "q.sqlite")
    for read in (load_stationary_points(tmp_path / "p.npz"), read_pele(tmp_path / "q.sqlite")):
        assert not read.has_coordinates
        assert np.array_equal(read.saddles, points.saddles)
        assert np.array_equal(read.graph().merge_energies, muller_brown().graph().merge_energies)
    with pytest.raises(ValueError, match="coordinates of 1 of 3 minima and 0 of 2 saddles are unknown; topsearch"):
        points.write_topsearch(tmp_path / "t")
    zeros = [f"UPDATE {table} SET coords = (:zero)" for table in ("tbl_minima", "tbl_transition_states")]
    with pytest.warns(IncompleteWarning, match="since pele's import of PATHSAMPLE"):
        points = peles_rows(tmp_path / "z.sqlite", *zeros, zero=pickle.dumps(np.zeros(1)))
    assert not points.has_coordinates


# PATHSAMPLE -------------------------------------------------------------------------------------------------------


MIN_DATA = """\
     -284.7719791087      120.5817102196     1      125.6028472146      137.5745972429      139.0546844620
     -226.7010909985      136.0261007743     2      122.9793078813      135.9914815393      138.4037063150
     -1.226701D+02        1.360261D+02       1      122.9793078813      135.9914815393      138.4037063150
"""
TS_DATA = """\
     -123.6901319777      134.5395715643         1         3         2      122.6412364322      135.8025452191     138.6
     -223.6901319777      134.5395715643         1         1         2      122.6412364322      135.8025452191     138.6
     -100.0000000000      134.5395715643         4         2         2      122.6412364322      135.8025452191     138.6
"""


def pathsample(folder: Path, minima: str = MIN_DATA, saddles: str = TS_DATA) -> Path:
    """PATHSAMPLE's tables in a folder; points of six coordinates, which count up through both files."""
    folder.mkdir(exist_ok=True)
    (folder / "min.data").write_text(minima)
    (folder / "ts.data").write_text(saddles)
    np.arange(18, dtype="<f8").tofile(folder / "points.min")
    np.arange(18, 36, dtype="<f8").tofile(folder / "points.ts")
    return folder


def test_pathsamples_files(tmp_path: Path) -> None:
    points = read_pathsample(pathsample(tmp_path / "a"))
    assert points.left_out == ()
    assert points.minima_values.tolist() == [-284.7719791087, -226.7010909985, -122.6701]
    assert points.pairs.tolist() == [[1, 2], [0, 1], [1, 1]]
    assert points.minima.tolist() == np.arange(18.0).reshape(3, 6).tolist()
    assert points.saddles.tolist() == np.arange(18.0, 36).reshape(3, 6).tolist()
    assert points.minima_properties["log_product_frequencies"].tolist() == [120.5817102196, 136.0261007743, 136.0261]
    assert points.minima_properties["point_group_order"].tolist() == [1, 2, 1]
    assert points.saddle_properties["moments_of_inertia"].tolist() == [[122.6412364322, 135.8025452191, 138.6]] * 3
    with pytest.warns(IncompleteWarning, match="1 of 2 barriers lie below one of their minima and are left out"):
        graph = points.graph()
    assert graph.n_pieces == 2
    assert graph.left_out[1] == "1 of 3 saddles connect a minimum to itself and are no edges"
    points.save(tmp_path / "p.npz")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_stationary_points(tmp_path / "p.npz").write_pathsample(tmp_path / "b", suffix=".new")
    again = read_pathsample(tmp_path / "b", ".new")
    equal(again, points)
    for one, other in ((points, again), (points, load_stationary_points(tmp_path / "p.npz"))):
        for kind in ("minima_properties", "saddle_properties"):
            assert {k: v.tolist() for k, v in getattr(one, kind).items()} == {
                k: v.tolist() for k, v in getattr(other, kind).items()
            }
    (tmp_path / "a" / "min.data").rename(tmp_path / "a" / "lj.min.data.x")
    (tmp_path / "a" / "ts.data").rename(tmp_path / "a" / "lj.ts.data.x")
    named = read_pathsample(tmp_path / "a" / "lj.min.data.x")
    assert named.pairs.tolist() == points.pairs.tolist()
    assert not named.has_coordinates
    with pytest.raises(FileNotFoundError, match=r"no file .*min\.data; expected .* are .*lj\.min\.data\.x: name one"):
        read_pathsample(tmp_path / "a")
    with pytest.raises(FileNotFoundError, match=r"expected a database of PATHSAMPLE$"):
        read_pathsample(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("minima", "saddles", "left_out", "message"),
    [
        (2, 3, r"points\.min holds 2 points of 6 coordinates; expected 3", "coordinates of 1 of 3 minima are unknown"),
        (3, 1, r"points\.ts holds 1 points of 6 coordinates; expected 3", "coordinates of 2 of 3 saddles are unknown"),
        (3, 0, r"points\.ts holds 0 points of 6 coordinates; expected 3", "coordinates of 3 of 3 saddles are unknown"),
        (0, 0, r"^$", "coordinates of 3 of 3 minima are unknown"),
        (
            5,
            4,
            r"coordinates are not read: .* hold 30 and 24 numbers.*size=",
            "coordinates of 3 of 3 minima are unknown",
        ),
    ],
)
def test_files_of_coordinates_may_be_short(
    tmp_path: Path, minima: int, saddles: int, left_out: str, message: str
) -> None:
    folder = pathsample(tmp_path / "a")
    np.arange(6.0 * minima).astype("<f8").tofile(folder / "points.min")
    np.arange(6.0 * saddles).astype("<f8").tofile(folder / "points.ts")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IncompleteWarning)
        points = read_pathsample(folder)
        sized = read_pathsample(folder, size=6)
    assert not points.has_coordinates
    assert re.search(left_out, " ".join(points.left_out))
    with pytest.raises(ValueError, match=message):
        assert points.minima.size + points.saddles.size
    points.save(tmp_path / "p.npz")
    again = load_stationary_points(tmp_path / "p.npz")
    assert again.add_saddle(np.arange(6.0), 3.0, 0, 2) == 3
    assert len(again.saddle_values) == len(again.pairs) == 4
    with pytest.raises(ValueError, match=message.replace("3 saddles", "4 saddles")):
        assert again.minima.size + again.saddles.size
    assert sized.has_coordinates == (minima >= 3 and saddles >= 3)


def test_pathsamples_rows_as_fortran_writes_them(tmp_path: Path) -> None:
    assert [number(word) for word in ("1.0D-03", "-1.234-100", "1.5d+2", "-2", "+0.5+101", "1E3")] == [
        1e-3,
        -1.234e-100,
        150.0,
        -2.0,
        0.5e101,
        1e3,
    ]
    assert np.isnan(number("********************"))
    for word in ("one", "1.0-", "1-2-3", "--1", "D", "-100-", ""):
        with pytest.raises(ValueError, match="float"):
            number(word)
    touching = f"{-284.77:25.15f}{120.58:25.15f}{1:6d}" + "".join(
        f"{x:20.10f}" for x in (12345678.0, 123456789.5, 223456789.5)
    )
    short = "-200.0\n"  # disconnectionDPS needs no more
    points = read_pathsample(
        pathsample(
            tmp_path / "a", f"{touching}\n{short}{MIN_DATA.splitlines()[0].replace('125.6028472146', '*' * 14)}\n"
        )
    )
    assert points.minima_values.tolist() == [-284.77, -200.0, -284.7719791087]
    moments = points.minima_properties["moments_of_inertia"]
    assert moments[0].tolist() == [12345678.0, 123456789.5, 223456789.5]
    assert np.isnan(moments[1]).all()
    assert np.isnan(moments[2]).tolist() == [True, False, False]
    with pytest.warns(IncompleteWarning, match=r"min\.data requires log product frequencies, .* written as 1"):
        points.write_pathsample(tmp_path / "b")
    assert (tmp_path / "b" / "min.data").read_text().split("\n")[1].split() == [
        "-200.0",
        "1.0",
        "1",
        "1.0",
        "1.0",
        "1.0",
    ]
    big = pathsample(tmp_path / "big")
    np.arange(18, dtype=">f8").tofile(big / "points.min")
    np.arange(18, 36, dtype=">f8").tofile(big / "points.ts")
    assert read_pathsample(big).minima.tolist() == np.arange(18.0).reshape(3, 6).tolist()


@pytest.mark.parametrize(
    ("minima", "saddles", "message"),
    [
        ("low 1 1\n", TS_DATA, r"min\.data, line 1 is not a row of numbers: low 1 1"),
        ("1 1 1\n\n**** 1 1\n", TS_DATA, r"min\.data, line 3: the energy is nan"),
        (MIN_DATA, "1 1 1 2\n", r"ts\.data, line 1 has 4 columns; expected at least 5"),
        (MIN_DATA, "1 1 1 1.5 2\n", r"ts\.data, line 1: the number of a minimum is 1\.5"),
    ],
)
def test_pathsamples_rows_that_cannot_be_are_refused(tmp_path: Path, minima: str, saddles: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_pathsample(pathsample(tmp_path / "a", minima, saddles))


def test_files_of_the_same_names_are_told_apart(tmp_path: Path) -> None:
    muller_brown().write_topsearch(tmp_path / "t")
    with pytest.raises(ValueError, match=r"as topsearch writes them; .* use read_topsearch"):
        read_pathsample(tmp_path / "t")
    with pytest.raises(ValueError, match=r"as PATHSAMPLE writes them; .* use read_pathsample"):
        read_topsearch(pathsample(tmp_path / "p"))


def test_pathsamples_saddles_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    saddles = "1.0 0 1 1 2\n2.0 0 1 1 4\n\n3.0 0 1 0 2\n******* 0 1 1 2\n"
    with pytest.warns(IncompleteWarning, match="2 of 4 saddles of ts.data connect a missing minimum: rows 2, 4"):
        points = read_pathsample(pathsample(tmp_path / "a", saddles=saddles))
    assert points.saddle_values.tolist() == [1.0]
    (tmp_path / "a" / "ts.data").unlink()
    with pytest.warns(IncompleteWarning, match=r"there is no ts\.data: no saddles"):
        assert read_pathsample(tmp_path / "a").graph().n_pieces == 3


class Evil:
    """A pickle that would run a command."""

    def __reduce__(self) -> Any:
        return eval, ("open('ran', 'w').close()",)


def test_a_database_cannot_run_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    points = muller_brown()
    points.write_pele("p.sqlite")
    with sqlite3.connect("p.sqlite") as database:
        database.execute("UPDATE tbl_minima SET coords = ? WHERE _id = 2", (pickle.dumps(Evil()),))
    with pytest.raises(ValueError, match="no plain array: it imports"):
        read_pele("p.sqlite")
    assert not Path("ran").exists()
    Path("text").write_text("no database at all, but long enough to be looked at as one")
    with pytest.raises(ValueError, match="is no database of pele"):
        read_pele("text")
    with pytest.raises(FileNotFoundError):
        read_pele("nothing")


def test_a_collection_shows_itself() -> None:
    points = muller_brown()
    assert "of minima connected by a saddle" in points.summary()
    assert "<svg" in points._repr_html_()
    assert points.plot(unit="eV").get_ylabel() == "energy (eV)"
    assert "<table>" in StationaryPoints()._repr_html_()
