"""Stationary points: duplicates, several saddles a pair, and the files of other packages."""

from __future__ import annotations

import pickle
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minilandscape.analysis.stationary import (
    StationaryPoints,
    load_stationary_points,
    read_pele,
    read_topsearch,
)
from minilandscape.files import write_atomic
from minilandscape.potentials import MullerBrown


def muller_brown() -> StationaryPoints:
    land, points = MullerBrown(), StationaryPoints()
    a, b, c = (points.add_minimum(x, land.values(x[None])[0]) for x in land.minima)
    for x, (i, j) in zip(land.saddles, ((c, a), (b, c)), strict=True):
        points.add_saddle(x, land.values(x[None])[0], i, j)
    return points


def equal(a: StationaryPoints, b: StationaryPoints, digits: float = 0) -> None:
    for name in ("minima", "minima_values", "saddles", "saddles_values", "pairs"):
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
    around = StationaryPoints(distance=lambda a, b: abs(np.linalg.norm(a) - np.linalg.norm(b)))
    assert [around.add_minimum(x, 0.0) for x in ([1.0, 0], [0, 1.0], [2.0, 0])] == [0, 0, 1]
    with pytest.raises(ValueError, match="expected two of 3 minima"):
        points.add_saddle([0.0, 0.0], 2.0, 0, 3)
    with pytest.raises(ValueError, match="expected finite numbers"):
        points.add_minimum([0.0, np.nan], 2.0)
    with pytest.raises(ValueError, match="expected finite numbers"):
        points.add_minimum([0.0], 2.0)


def test_one_file(tmp_path: Path) -> None:
    points = muller_brown()
    points.save(tmp_path / "p.npz")
    equal(load_stationary_points(tmp_path / "p.npz"), points)
    assert points.graph().merge_energies[0, 1] == pytest.approx(-40.664844, abs=1e-6)


def test_minima_without_saddles(tmp_path: Path) -> None:
    none, points = StationaryPoints(), StationaryPoints()
    points.add_minimum([1.0, 2.0, 3.0], 0.5)
    for k, collection in enumerate((none, points)):
        shapes = [getattr(collection, name).shape for name in ("minima", "saddles", "pairs")]
        assert shapes == [(k, 3 * k), (0, 3 * k), (0, 2)]
        collection.save(tmp_path / "p.npz")
        collection.write_topsearch(tmp_path / f"topsearch{k}")
        collection.write_pele(tmp_path / f"{k}.sqlite")
        again = load_stationary_points(tmp_path / "p.npz")
        for read in (again, read_topsearch(tmp_path / f"topsearch{k}"), read_pele(tmp_path / f"{k}.sqlite")):
            equal(read, collection)
            assert read.saddles.shape == collection.saddles.shape
    assert points.graph().merges == ()


def test_topsearch_files(tmp_path: Path) -> None:
    points = muller_brown()
    points.write_topsearch(tmp_path)
    equal(read_topsearch(tmp_path), points)
    (tmp_path / "min.data").write_text("0 one\n")
    with pytest.raises(ValueError, match=r"min\.data is no table of numbers"):
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
        ({"ts_data": "0 1 1.0\n2 1 2.0\n5 3 3.0\n"}, r"ts\.data: a saddle joins 2 and 1, which min\.data does not"),
        ({"min_data": "0 0.0\n5 0.9\n1 0.5\n1 0.7\n"}, r"min\.data gives 4 minima 3 numbers"),
        ({"min_coords": "0 0\n5 0\n1 0\n"}, r"min\.data has 4 rows and min\.coords 3"),
        ({"ts_coords": "0.5 0\n2 0\n4 0\n6 0\n"}, r"ts\.data has 3 rows and ts\.coords 4"),
        ({"ts_data": ""}, r"ts\.data has 0 rows and ts\.coords 3"),
        ({"ts_coords": "0.5 0 0\n2 0 0\n4 0 0\n"}, "points of 2 and of 3 coordinates"),
        ({"ts_coords": "0.5 0\n2\n4 0\n"}, "of several lengths"),
        ({"ts_data": "0 1 1.0\n3 1 nan\n5 3 3.0\n"}, r"one of the saddles is nan at \(2, 0\)"),
        ({"min_data": "0 0.0\n5 inf\n1 0.5\n3 0.7\n"}, r"one of the minima is inf at \(5, 0\)"),
        ({"min_coords": "0 0\nnan 0\n1 0\n3 0\n"}, r"minima is 0\.9 at \(nan, 0\); expected finite numbers"),
    ],
)
def test_topsearch_files_that_do_not_fit_are_refused(tmp_path: Path, tables: dict[str, str], message: str) -> None:
    write_tables(tmp_path, **tables)
    with pytest.raises(ValueError, match=message) as caught:
        read_topsearch(tmp_path)
    assert str(tmp_path) in str(caught.value)


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
    for (i, j), x, v in zip(points.pairs, points.saddles, points.saddles_values, strict=True):
        again.addTransitionState(float(v), x, minima[i], minima[j])
    equal(read_pele(tmp_path / "theirs.sqlite"), points)


@pytest.mark.parametrize("kind", ["pele", "topsearch"])
def test_files_of_others_are_written_whole_and_once(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points, out = muller_brown(), tmp_path / "new" / kind
    write, read = (points.write_pele, read_pele) if kind == "pele" else (points.write_topsearch, read_topsearch)
    calls = []

    def interrupted(*args: Any, **options: Any) -> Any:
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return proper(*args, **options)

    target = f"minilandscape.analysis.stationary.{'pickle.dumps' if kind == 'pele' else 'write_atomic'}"
    proper = pickle.dumps if kind == "pele" else write_atomic
    with monkeypatch.context() as patch:
        patch.setattr(target, interrupted)
        with pytest.raises(KeyboardInterrupt):
            write(out)
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]
    write(out)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert len(before) == (1 if kind == "pele" else 5)
    points.add_minimum([5.0, 5.0], 3.0)
    with pytest.raises(ValueError, match="exists; name a new"):
        write(out)
    assert {file: file.read_bytes() for file in before} == before
    equal(read(out), muller_brown())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("tbl_transition_states SET _minimum2_id = 7 WHERE _id = 1", "joins the minima 1 and 7, which are not both in"),
        ("tbl_transition_states SET _minimum1_id = NULL WHERE _id = 1", "joins the minima None and 3"),
        ("tbl_minima SET energy = NULL WHERE _id = 2", r"one of the minima is None at \(0\.62"),
        ("tbl_minima SET energy = 9e999 WHERE _id = 2", "one of the minima is inf"),
        ("tbl_minima SET energy = 'low' WHERE _id = 2", "one of the minima is low"),
        ("tbl_transition_states SET energy = NULL WHERE _id = 2", "one of the saddles is None"),
        ("tbl_minima SET coords = NULL WHERE _id = 2", "no plain array"),
        ("tbl_minima SET coords = (:other) WHERE _id = 2", "points of 2 and of 3 coordinates"),
        ("tbl_minima SET coords = (:complex) WHERE _id = 2", "no plain array"),
    ],
)
def test_rows_of_pele_that_cannot_be_are_refused(tmp_path: Path, change: str, message: str) -> None:
    points, file = muller_brown(), tmp_path / "p.sqlite"
    points.write_pele(file)
    arrays = {"other": pickle.dumps(np.zeros(3)), "complex": pickle.dumps(np.zeros(2, complex))}
    with sqlite3.connect(file) as database:
        database.execute(f"UPDATE {change}", {name: array for name, array in arrays.items() if f":{name}" in change})
    with pytest.raises(ValueError, match=message) as caught:
        read_pele(file)
    assert str(file) in str(caught.value)


def test_what_pele_marks_invalid_is_left_out(tmp_path: Path) -> None:
    points, file = muller_brown(), tmp_path / "p.sqlite"
    points.write_pele(file)
    with sqlite3.connect(file) as database:  # as pele's script that brings databases to version 2 leaves it
        database.execute("UPDATE tbl_minima SET invalid = NULL")
        database.execute("UPDATE tbl_transition_states SET invalid = NULL")
    equal(read_pele(file), points)
    with sqlite3.connect(file) as database:  # minimum 1 of 0 to 2, at the end of one saddle
        database.execute("UPDATE tbl_minima SET invalid = 1 WHERE _id = 2")
    read = read_pele(file)
    assert np.array_equal(read.minima, points.minima[[0, 2]])
    assert read.pairs.tolist() == [[0, 1]]
    assert np.array_equal(read.saddles, points.saddles[:1])
    with sqlite3.connect(file) as database:
        database.execute("UPDATE tbl_transition_states SET invalid = 1 WHERE _id = 1")
    assert not len(read_pele(file).saddles)
    with sqlite3.connect(file) as database:  # a database of version 1
        for table in ("tbl_minima", "tbl_transition_states"):
            database.execute(f"ALTER TABLE {table} DROP COLUMN invalid")
    equal(read_pele(file), points)


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
    with pytest.raises(ValueError, match="no plain array: it asks for"):
        read_pele("p.sqlite")
    assert not Path("ran").exists()
    Path("text").write_text("no database at all, but long enough to be looked at as one")
    with pytest.raises(ValueError, match="is no database of pele"):
        read_pele("text")
    with pytest.raises(FileNotFoundError):
        read_pele("nothing")
