"""The benchmarks run, and notice a side that computes something else."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks import __main__, network_paths
from benchmarks.saddles import program
from benchmarks.saddles.methods import METHODS, Found, Method
from benchmarks.saddles.systems import names, system
from minilandscape.landscape import Evaluations
from minilandscape.networks import initial_vector, network_landscape

ROOT = Path(__file__).parent.parent
TINY = ("--quick", "--images", "96", "--only", "fcp (paper), loss", "--only", "autoencoder (paper), SGD")
#: Another side, ours with a gradient that is one percent too long.
WRONG_SIDE = """
import sys
from benchmarks.sides import ours

class Wrong(ours.Side):
    def gradient(self):
        results = super().gradient()[""]()
        return {"": lambda: {**results, "gradient": 1.01 * results["gradient"]}}

import benchmarks.__main__ as program
program.available = lambda device: ({"minilandscape": ours.Side, "PyTorch": Wrong}, {})
sys.exit(program.main(sys.argv[1:]))
"""


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_the_sides_agree(tmp_path: Path) -> None:
    done = run("-m", "benchmarks", *TINY, "--memory", "--json", tmp_path / "table.json")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "table.json").read_text())
    names = {"fcp (paper), loss", "fcp (paper), loss + gradient", "autoencoder (paper), SGD step of 64"}
    assert set(record["rows"]) == names
    assert all(name in done.stdout for name in names)
    gradient = record["rows"]["fcp (paper), loss + gradient"]
    assert gradient["memory"] > 2**24
    assert gradient["flops"] == 2 * 96 * (2 * 784 * 50 + 3 * (50 * 50 + 50 * 10))
    for side, package in (("PyTorch", "torch"), ("JAX", "jax")):
        assert (side in gradient["times"]) == (importlib.util.find_spec(package) is not None)
        assert (side in gradient["times"]) != (side in record["missing"])


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs PyTorch")
def test_line_search_and_path_agree_with_the_authors() -> None:
    rows = ("fcp (paper), L-BFGS", "fcp (paper), path", "lstm (paper), L-BFGS")
    only = [argument for row in rows for argument in ("--only", row)]
    done = run("-m", "benchmarks", "--quick", "--images", "64", *only)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "all sides agree in 3 rows" in done.stdout


def test_a_wrong_side_is_caught() -> None:
    done = run("-c", WRONG_SIDE, *TINY)
    assert done.returncode == 1, done.stderr
    assert "fcp (paper), loss + gradient: PyTorch  differs from minilandscape in gradient by 1.0e-02" in done.stdout
    assert done.stdout.count("WRONG") == 1


def test_unknown_row() -> None:
    done = run("-m", "benchmarks", "--only", "perceptron", "--quick")
    assert done.returncode != 0
    assert "no row is called perceptron" in done.stderr


def test_the_profile_accounts_for_the_time(tmp_path: Path) -> None:
    done = run("-m", "benchmarks", "profile", *TINY, "--only", "lenet (paper), loss", "--json", tmp_path / "p.json")
    assert done.returncode == 0, done.stderr
    profiles = json.loads((tmp_path / "p.json").read_text())["profiles"]
    assert {"fcp (paper), loss + gradient", "lenet (paper), loss", "autoencoder (paper), SGD step of 64"} <= set(
        profiles
    )
    for name, found in profiles.items():
        assert found["products"] > 0, name
        assert found["elements"] > 0, name
        assert found["sums"] > 0, name
        assert 0 <= found["rest"] < 1, name
        assert found["at rate"] < found["one"], name


def test_systems_have_converged_ends_and_are_counted() -> None:
    for name in names():
        found = system(name)
        land = found.landscape()
        values, gradients = land.values_and_gradients(np.stack([found.start, found.end]))
        assert max(map(found.largest_force, gradients)) < found.tolerance, name
        land.values(found.start[None])
        assert (land.calls, land.rounds, found.landscape().calls) == (3, 2, 0), name
        assert found.barrier is None or found.barrier > max(0, values[1] - values[0]), name


@pytest.mark.parametrize("pbc", [True, False, [True, False, False]])
def test_morse_pairs_agree_with_a_loop_and_with_differences(pbc: Any) -> None:
    """Over all images of a small cell, while atoms move further than the list of pairs allows for."""
    ase = pytest.importorskip("ase")
    from benchmarks.saddles.morse import Morse

    rng = np.random.default_rng(0)
    cell, cut = np.array([5.0, 5.5, 6.0]), 2.4
    atoms = ase.Atoms("Pt12", cell * rng.random((12, 3)), cell=cell, pbc=pbc)
    atoms.calc = Morse(0.7, 1.6, 1.5, cut)
    grid = np.stack(np.meshgrid(*[[-2, -1, 0, 1, 2]] * 3), axis=-1).reshape(-1, 3)
    images = grid[(grid[:, ~atoms.pbc] == 0).all(axis=1)] * cell

    def pair(r: Any) -> Any:
        return 0.7 * (np.exp(-3.2 * (r - 1.5)) - 2 * np.exp(-1.6 * (r - 1.5)))

    for _ in range(3):
        energy = 0.0
        for i in range(12):
            for j in range(i):
                r = np.linalg.norm(atoms.positions[i] - atoms.positions[j] + images, axis=1)
                energy += (pair(r[r < cut]) - pair(cut)).sum()
        assert atoms.get_potential_energy() == pytest.approx(energy, rel=1e-12)
        way, x = rng.standard_normal((12, 3)), atoms.positions.copy()
        slope = -(atoms.get_forces() * way).sum()
        ends = []
        for h in (1e-5, -1e-5):
            atoms.positions = x + h * way
            ends.append(atoms.get_potential_energy())
        assert slope == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6)
        atoms.positions = x + rng.standard_normal((12, 3))


def test_quick_saddles_are_right_and_stored(tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    file = tmp_path / "saddles.json"
    assert program.main(["--quick", "--out", str(file)]) == 0
    printed = capsys.readouterr().out
    stored = json.loads(file.read_text())["results"]
    for name in program.QUICK:
        result = stored[name]["minilandscape"]
        assert result["barrier"] == pytest.approx(system(name).barrier, rel=1e-3), name
        assert 0 < result["calls"] < result["verified"] < 200, name
        assert 0 < result["rounds"] <= result["verified"], name
        assert f"{name:26}minilandscape" in printed

    def fails(*_: Any) -> Found:
        raise ArithmeticError("searched again")

    monkeypatch.setitem(METHODS, "minilandscape", Method(fails))
    assert program.main(["--quick", "--out", str(file)]) == 0
    assert capsys.readouterr().out == printed
    assert program.main(["--quick", "--only", "fig3"]) == 1
    failed = capsys.readouterr().out
    assert "not converged, ArithmeticError: searched again" in failed
    assert "not right: fig3" in failed


def test_a_barrier_that_is_not_the_known_one_is_not_right(capsys: Any, monkeypatch: Any) -> None:
    known = system("camelback")
    for off, code in ((0.9, 0), (1.1, 1), (-1.1, 1)):
        moved = replace(known, barrier=known.barrier + off * known.within)
        monkeypatch.setattr(program, "system", lambda name, data, moved=moved: moved)
        assert program.main(["--quick", "--only", "camelback"]) == code
        assert ("not right: camelback" in capsys.readouterr().out) == bool(code)


def test_bands_and_this_project_come_to_the_saddle_of_lj6() -> None:
    """Within what forces below the tolerance leave. Methods that need Sella are left out: it takes long to import."""
    found = system("lj6")
    for name, method in METHODS.items():
        if method.missing or "sella" in method.packages:
            continue
        land = found.landscape()
        result = method.search(found, land)
        start = land.values(found.start[None])[0]
        assert result.converged, name
        assert result.value - start == pytest.approx(found.barrier, rel=5e-3), name
        assert (result.verified or result.calls) == land.calls - 1, name


def test_searches_between_networks_are_followed_until_they_stay_down(
    tmp_path: Path, small_mnist: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row for each pair and search, once; the cost is that of the first path after which none is up again."""
    weights = {seed: 2 * initial_vector("fcp", seed) for seed in range(3)}
    monkeypatch.setattr(network_paths, "load_mnist", lambda where: small_mnist)
    monkeypatch.setattr(network_paths, "trained", lambda *of: (weights, 60))
    table = tmp_path / "table.csv"
    more = ["--networks", "fcp", "--optimizers", "sgd", "--pairs", "2", "--cap", "400"]
    for _ in range(2):
        network_paths.main([*more, "--searches", "lbfgs-gss", "--runs", str(tmp_path), "--table", str(table)])
    rows = list(csv.DictReader(table.open()))
    assert [(row["pair"], row["search"]) for row in rows] == [("0-1", "lbfgs-gss"), ("1-2", "lbfgs-gss")]
    for row in rows:
        assert (row["cost"], row["ended"]) == ("20", "followed"), "the straight line of untrained networks is down"

    land = network_landscape("fcp", small_mnist.train[:60])
    watch = network_paths.Watch(land, weights[0], weights[1], 1e9, 1e9)
    excess = iter([1.0, 0.005, 0.5, 0.009, 0.001])
    monkeypatch.setattr(watch, "dense", lambda state: watch.higher + next(excess))
    for spent in (0, 10, 20, 30, 40):
        watch(SimpleNamespace(evaluations=Evaluations(0, spent), values=np.array([watch.higher + (spent == 0)])))
    assert (watch.line, watch.first, watch.cost) == (1.0, 10, 30)


def test_path_steps_of_pytorch_modules_agree_with_a_loop(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    from benchmarks import modules

    threads = torch.get_num_threads()
    try:
        assert __main__.main(["modules", "--quick"]) == 0
        printed = capsys.readouterr().out
        for name in modules.MODULES:
            (line,) = (line for line in printed.splitlines() if name in line)
            seconds, *ratios = [cell.split()[0] for cell in line.split("|")[2:-1]]
            assert float(seconds) > 0
            assert [float(ratio) > 0 for ratio in ratios] == [True, True]
        at_point = modules.Task.at_point

        def wrong(*of: Any) -> tuple[float, np.ndarray]:
            value, gradient = at_point(*of)
            return value, 1.0001 * gradient

        monkeypatch.setattr(modules.Task, "at_point", wrong)
        assert __main__.main(["modules", "--quick", "--only", "of the examples"]) == 1
        message = "the loop, 60 at a time, differs from minilandscape in gradient by 1.0e-04"
        assert message in capsys.readouterr().out
    finally:
        torch.set_num_threads(threads)
    with pytest.raises(SystemExit):
        __main__.main(["modules", "--only", "perceptron"])
    assert "no module is called perceptron" in capsys.readouterr().err


def test_searches_between_modules_have_a_row_with_and_without_mini_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In PyTorch and JAX; the rounds are there only with them, and no row is measured again."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("jax")
    from benchmarks import mini_batches

    small = mini_batches.Case(lambda: mini_batches.perceptron(2, 6, 2), 400, 20, moons=True)
    few = {"small": small, "small in JAX": replace(small, framework="JAX"), "left out": small}
    monkeypatch.setattr(mini_batches, "cases", lambda: few)
    table, threads = tmp_path / "table.csv", torch.get_num_threads()
    try:
        for _ in range(2):
            assert __main__.main(["mini-batches", "--only", "small", "--table", str(table)]) == 0
    finally:
        torch.set_num_threads(threads)
    rows = list(csv.DictReader(table.open()))
    kinds = [(row["case"], row["mini_batches"]) for row in rows]
    assert kinds == [(name, kind) for name in ("small", "small in JAX") for kind in ("with", "without")]
    for row in rows:
        assert (int(row["rounds"]) > 0) == (row["mini_batches"] == "with") == bool(row["ratio"])
        assert int(row["parameters"]) == 3 * 6 + 7 * 2
    ours, jax = rows[0], rows[2]
    assert float(ours["line"]) == pytest.approx(float(jax["line"]), rel=1e-3), "both are the same function"
    with pytest.raises(SystemExit):
        __main__.main(["mini-batches", "--only", "ResNet", "--table", str(table)])
