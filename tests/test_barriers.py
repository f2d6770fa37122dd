"""Barriers within sets: random pairs of each set, in a folder that resumes with the same bits."""

from __future__ import annotations

import csv
import importlib
import itertools
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from minilandscape_cli.landscapes import of_module
from minilandscape_cli.main import main
from threadpoolctl import threadpool_limits

import minilandscape as ml
from minilandscape.data import Mnist, load_mnist
from minilandscape.figures.barriers import barriers_figure
from minilandscape.landscape.named import named_landscape
from minilandscape.pairs import NamedRecipe, NetworkRecipe

WELLS = """
import numpy as np

def energy(x):
    return (x[0] ** 2 - 1) ** 2 + x[1] ** 2, np.array([4 * x[0] * (x[0] ** 2 - 1), 2 * x[1]])
"""


def energy(x: np.ndarray) -> tuple[float, np.ndarray]:
    return (x[0] ** 2 - 1) ** 2 + x[1] ** 2, np.array([4 * x[0] * (x[0] ** 2 - 1), 2 * x[1]])


#: Three points in one well and two in the other: paths from well to well cross the saddle at 0, of value 1.
POINTS = np.array([[-1.0, 0.0], [-1.0, 0.2], [-0.9, 0.0], [1.0, 0.0], [1.0, 0.1]])


def run(folder: Path, sets: Any, **options: Any) -> Any:
    with ThreadPoolExecutor(1) as threads:
        return ml.barriers(energy, sets, folder, executor=threads, **options)


def contents(folder: Path) -> dict[str, bytes]:
    files = [*folder.glob("results/[!.]*"), *folder.glob("barriers.*")]
    return {path.name: path.read_bytes() for path in files}


def test_every_pair_once_with_the_barrier_between_its_wells(tmp_path: Path) -> None:
    found = run(tmp_path, {"wells": POINTS}, pairs=99)
    for search in ("adam", "converged"):
        rows = found.of("wells", search)
        assert sorted(sorted((row["i"], row["j"])) for row in rows) == sorted(
            map(list, itertools.combinations(range(5), 2))
        )
        for row in rows:
            endpoints = [energy(POINTS[row[k]])[0] for k in ("i", "j")]
            assert [row["value_i"], row["value_j"]] == pytest.approx(endpoints, abs=1e-15)
            across = POINTS[row["i"], 0] * POINTS[row["j"], 0] < 0
            assert row["barrier"] == pytest.approx(
                1 - max(endpoints) if across else 0, abs=0.02 if search == "adam" else 1e-3
            )
            assert row["maximum"] - row["barrier"] == pytest.approx(max(endpoints))
            assert row["maximum"] >= row["height"] - 1e-12
    pair = found.of("wells", "converged")[0]
    alone = ml.find_path(energy, POINTS[pair["i"]], POINTS[pair["j"]], steps="auto")
    assert (pair["height"], pair["maximum"], pair["length"]) == (alone.height, alone.maximum, alone.length)
    with (tmp_path / "barriers.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [float(row["barrier"]) for row in table] == [row["barrier"] for row in found.rows]
    axes = barriers_figure(found).axes
    assert [sum(bar.get_height() for bar in ax.containers[0]) for ax in axes] == [10] * 6


def test_more_pairs_are_added_to_those_that_are_there(tmp_path: Path) -> None:
    few = run(tmp_path, {"wells": POINTS}, pairs=2, searches=["converged"])
    seen: list[str] = []
    with ThreadPoolExecutor(1) as threads:
        more = ml.barriers(
            energy,
            {"wells": POINTS},
            tmp_path,
            pairs=4,
            searches=["converged"],
            executor=threads,
            progress=lambda task, how, done: seen.append(task.name),
        )
    assert more.rows[:2] == few.rows
    assert len(seen) == 2
    other = run(tmp_path, {"wells": POINTS}, pairs=4, seed=1, searches=["converged"])
    assert [(row["i"], row["j"]) for row in other.rows] != [(row["i"], row["j"]) for row in more.rows]


def test_two_sets_are_compared_on_paths_that_share_no_vector(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    near = POINTS[0] + 0.01 * rng.standard_normal((9, 2))
    both = np.concatenate([[-1, 0] + 0.01 * rng.standard_normal((4, 2)), [1, 0] + 0.01 * rng.standard_normal((4, 2))])
    found = run(tmp_path, {"near": near, "both": both}, pairs=12, searches="converged", n_points=15)
    test = found.compare("near", "both", "converged")
    assert test.n == (4, 4)  # of 9 and of 8 vectors
    assert test.first == pytest.approx(0, abs=1e-3)
    few = run(tmp_path, {"near": near, "both": both}, pairs=1, searches="converged", n_points=15)
    assert few.compare("near", "both", "converged") is None
    for given, message in (
        (("nera", "both", "converged"), "there is no set 'nera'; expected one of near, both"),
        (("near", "both", "adam"), "there is no search 'adam'; expected one of converged"),
        (("near", "both", "converged", "barier"), "there is no number 'barier'; expected one of value_i, .*barrier"),
        (("near", "near", "converged"), "near is compared with itself; expected two of the sets near, both"),
    ):
        with pytest.raises(ValueError, match=message):
            found.compare(*given)
    with pytest.raises(ValueError, match="there is no set 'all'; expected one of near, both"):
        found.of("all", "converged")


def test_what_cannot_be_connected_is_refused(tmp_path: Path) -> None:
    for sets, message in (
        ({"a": POINTS, "b": POINTS}, "b and a hold the same points"),
        ({"a": POINTS[:1]}, r"a has shape \(1, 2\); expected at least two points"),
        ({"a": POINTS, "b": np.eye(3, 4)}, "b holds points of 4 numbers, a of 2"),
        ({"a": POINTS[[0, 1, 2, 1]]}, "a: rows 1 and 3 are equal; expected different points"),
        ({"a": np.array([[0.0, 1.0], [-0.0, 1.0]])}, "a: rows 0 and 1 are equal"),
        ({"a": np.full((2, 2), np.nan)}, "a holds numbers that are not finite"),
        ({}, "no set is given"),
        ([str(tmp_path / "x.npy")] * 2, "a file is given twice"),
    ):
        with pytest.raises(ValueError, match=message):
            run(tmp_path, sets)
    for options, message in (
        ({"pairs": 0}, "pairs is 0; expected a whole number, at least 1"),
        ({"steps": 1.5}, "steps is 1.5"),
        ({"searches": ["neb"]}, "expected some of adam, converged"),
        ({"searches": "neb"}, r"searches are \('neb',\); expected some of adam, converged"),
    ):
        with pytest.raises(ValueError, match=message):
            run(tmp_path, {"a": POINTS}, **options)
    run(tmp_path, {"a": POINTS[1:]}, pairs=1, searches=["converged"])
    with (
        ThreadPoolExecutor(1) as threads,
        pytest.raises(ValueError, match=r"from when it was 0\.04 .* it is 0\.08 now"),
    ):
        ml.barriers(lambda x: tuple(2 * v for v in energy(x)), {"a": POINTS[1:]}, tmp_path, pairs=1, executor=threads)


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_a_landscape_that_has_changed_is_refused_though_its_first_point_has_the_same_value(
    tmp_path: Path, offset: float
) -> None:
    """A first point that is a minimum of 0 has that value whatever the scale."""

    def connected(scale: float, noise: float = 0.0) -> Any:
        def changed(x: np.ndarray) -> tuple[float, np.ndarray]:
            f, df = energy(x)
            return offset + scale * f + noise, scale * df

        with ThreadPoolExecutor(1) as threads:
            return ml.barriers(
                changed, {"a": POINTS[[0, 4, 3]]}, tmp_path, pairs=1, searches=["converged"], executor=threads
            )

    first = connected(1.0).rows
    assert connected(1.0, noise=1e-10).rows == first  # rounding on another machine
    for scale in (0.5, 2.0, -1.0):
        with pytest.raises(ValueError, match=r"at the first point of a, moved by 0\.3 of the way to the second; it is"):
            connected(scale)


def test_a_landscape_without_a_value_between_two_points_of_a_set_is_no_error(tmp_path: Path) -> None:
    def walled(x: np.ndarray) -> tuple[float, np.ndarray]:
        if -0.5 < x[0] < -0.3:
            raise ValueError("a wall")
        return energy(x)

    with ThreadPoolExecutor(1) as threads:
        sets = {"a": POINTS[[0, 3]]}
        found = ml.barriers(walled, sets, tmp_path, pairs=1, searches=["adam"], steps=1, executor=threads)
    assert len(found.tasks.failed) == 1


def test_an_energy_is_known_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my_wells.py").write_text(WELLS)
    np.save(tmp_path / "wells.npy", POINTS)
    np.save(tmp_path / "one.npy", POINTS[0])
    monkeypatch.chdir(tmp_path)
    recipe = pickle.loads(pickle.dumps(NamedRecipe("my_wells:energy", str(tmp_path))))
    assert recipe.landscape()(POINTS[0])[0] == 0
    command = ["barriers", "wells.npy", "--landscape", "my_wells:energy", "--pairs", "3", "--out", "out"]
    command += ["--search", "converged", "--workers", "1"]

    def ended(*options: str) -> int:
        with pytest.raises(SystemExit) as found:
            main([*command, *options])
        return int(found.value.code or 0)

    assert ended("--json") == 0
    document = json.loads(capsys.readouterr().out)
    (row,) = document["sets"]
    assert (row["paths"], row["converged"]) == (3, 3)
    same = run(tmp_path / "here", {"wells.npy": POINTS}, pairs=3, searches=["converged"])
    assert document["rows"] == same.rows
    for options, code, message in (
        (("--limit", "5"), 2, "options of networks, without effect on --landscape"),
        (("--steps", "5"), 2, "without effect on --search converged"),
        (("one.npy",), 1, "one.npy is one vector; expected a set of at least two"),
        (("wells.npy",), 2, "a file is given twice"),
    ):
        assert ended(*options) == code
        assert message in capsys.readouterr().err


NET = """
import torch

def make():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)).double()
    x = torch.randn(20, 3, dtype=torch.float64)
    return net, torch.nn.functional.cross_entropy, x, (x[:, 0] > 0).long()
"""


def test_a_module_is_made_in_the_worker_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch = pytest.importorskip("torch")
    (tmp_path / "my_net_of_barriers.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    my_net_of_barriers = importlib.import_module("my_net_of_barriers")
    rng = np.random.default_rng(0)
    np.save("net.npy", 0.3 * rng.standard_normal((3, 26)))
    states = ["a.pt", "b.pt"]
    for vector, state in zip(np.load("net.npy"), states, strict=False):
        net = my_net_of_barriers.make()[0]
        torch.nn.utils.vector_to_parameters(torch.as_tensor(vector), net.parameters())
        torch.save(net.state_dict(), state)
    command = ["barriers", "net.npy", *states, "--landscape", "my_net_of_barriers:make", "--pairs", "1", "--steps", "5"]
    with pytest.raises(SystemExit) as ended:
        main([*command, "--search", "adam", "--workers", "1", "--out", "out", "--json"])
    assert not ended.value.code
    row, of_states = json.loads(capsys.readouterr().out)["rows"]
    assert (row["set"], of_states["set"]) == ("net.npy", "a.pt to b.pt")
    land = named_landscape("my_net_of_barriers:make", str(tmp_path), of_module)
    endpoints = np.load("net.npy")[[row["i"], row["j"]]]
    assert [row["value_i"], row["value_j"]] == pytest.approx(land.values(endpoints), rel=1e-9)
    values = sorted(land.values(np.load("net.npy")[:2]))
    assert sorted([of_states["value_i"], of_states["value_j"]]) == pytest.approx(values, rel=1e-9)


def test_a_set_of_the_lstm_is_killed_and_resumed_bit_identically(small_mnist: Mnist, tmp_path: Path) -> None:
    images = {f"x_{name}": (getattr(small_mnist, name).images * 255).astype(np.uint8) for name in ("train", "test")}
    labels = {f"y_{name}": getattr(small_mnist, name).labels for name in ("train", "test")}
    np.savez(tmp_path / "digits.npz", **images, **labels)
    vectors = ml.initial_vector("lstm", 0) + 0.02 * np.stack([ml.initial_vector("lstm", seed) for seed in range(4)])
    np.save(tmp_path / "set.npy", vectors)
    code = "from minilandscape_cli.main import script; script()"
    command = [sys.executable, "-c", code, "barriers", "set.npy", "--pairs", "3", "--data", "digits.npz"]
    command += ["--limit", "8", "--points", "8", "--terms", "2", "--steps", "10", "--workers", "1", "--out"]
    one = {
        **os.environ,
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path, "env": one}
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = subprocess.Popen([*command, "killed"], **quiet)
    while process.poll() is None and len(list(killed.glob("results/[!.]*.npz"))) < 3:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(list(killed.glob("results/[!.]*.npz"))) < 7
    subprocess.run([*command, "killed"], check=True, **quiet)
    data = load_mnist(tmp_path / "digits.npz")
    recipe = NetworkRecipe("lstm", "paper", str(tmp_path / "digits.npz"), data.key, "train", 8)
    with threadpool_limits(1), ThreadPoolExecutor(1) as threads:
        found = ml.barriers(
            recipe,
            {"set.npy": np.load(tmp_path / "set.npy")},
            whole,
            pairs=3,
            n_points=8,
            n_terms=2,
            steps=10,
            executor=threads,
        )
    assert contents(killed) == contents(whole)
    assert len(found.rows) == 6
    row = found.rows[0]
    land = ml.network_landscape("lstm", data.train[:8])
    start, end = (np.load(tmp_path / "set.npy")[row[k]] for k in ("i", "j"))
    with threadpool_limits(1):
        alone = ml.find_path(land, start, end, n_points=8, n_terms=2, steps=10)
    assert (row["height"], row["maximum"]) == (alone.height, alone.maximum)
    assert os.listdir(killed / "checkpoints") == []


def test_a_landscapes_own_options_hold_in_every_search(tmp_path: Path) -> None:
    land = ml.FunctionLandscape(energy, size=2)
    land.path_defaults = {"objective": "sum", "n_terms": 3, "n_points": 11}
    minima = {"minima": np.array([[-1.0, 0.0], [1.0, 0.0]])}
    with ThreadPoolExecutor(1) as threads:
        found = ml.barriers(land, minima, tmp_path, steps=3, executor=threads)
        with pytest.raises(ValueError, match="n_points is 2; expected at least 3"):
            ml.barriers(land, minima, tmp_path, n_points=2, executor=threads)
    assert not found.tasks.failed
    assert {row["search"] for row in found.rows} == {"adam", "converged"}
    for file in (tmp_path / "results").glob("*pair*.npz"):
        with np.load(file) as arrays:
            assert len(arrays["values"]) == 11


def test_barriers_show_themselves(tmp_path: Path) -> None:
    found = run(tmp_path, {"a": POINTS, "b": POINTS[::-1] + 1e-3}, searches=["adam"])
    assert repr(found) == f"<Barriers: {len(found.rows)} paths in 2 sets>"
    head, *lines = found.summary().splitlines()
    assert head.split() == ["set", "search", "paths", "median", "barrier", "smallest", "largest", "converged"]
    assert [line.split()[:2] for line in lines] == [["a", "adam"], ["b", "adam"]]
    assert "<svg" in found._repr_html_()
    assert found.plot()[0].get_xlabel() == "path height, Eq. (5)"
