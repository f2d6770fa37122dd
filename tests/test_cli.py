"""The command line: its contract, its errors, its exit codes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import typer
from command_line import run
from minilandscape_cli import path_lines
from minilandscape_cli.main import app
from minilandscape_cli.options import UsageError
from minilandscape_cli.output import check_outputs

from minilandscape.analysis.kpca import KERNELS
from minilandscape.analysis.surface import load_surface
from minilandscape.backend import DEVICES, DTYPES
from minilandscape.networks import MODELS, VARIANTS, initial_vector
from minilandscape.paths import Ending, PathComparison, compare_methods, find_path, load_path
from minilandscape.paths.methods import METHODS, OBJECTIVES, SOLVERS
from minilandscape.paths.search import without_effect
from minilandscape.potentials import MullerBrown
from minilandscape.training import OPTIMIZERS, train


@pytest.fixture
def folder(tmp_path: Path, small_mnist: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a small data set."""
    monkeypatch.chdir(tmp_path)
    np.savez(
        tmp_path / "data.npz",
        x_train=small_mnist.train.images,
        y_train=small_mnist.train.labels,
        x_test=small_mnist.test.images,
        y_test=small_mnist.test.labels,
    )
    return tmp_path


def run_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    code = run(*arguments, "--json")
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return json.loads(captured.out)


def test_train_evaluate_connect(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = ("train", "fcp", "--variant", "authors", "--data", "data.npz", "--epochs", "8")
    for seed in ("0", "1"):
        facts = run_json(capsys, *train, "--seed", seed, "--out", f"run{seed}")
        assert facts["train_minimum"]["epoch"] == 8
    assert sorted(p.name for p in (folder / "run0").iterdir()) == ["run.json", "test.npy", "train.npy"]
    rows = run_json(capsys, "evaluate", "run0/train.npy", "run1/test.npy", "--data", "data.npz")
    assert [row["variant"] for row in rows] == ["authors", "authors"]
    first = json.loads((folder / "run0/run.json").read_text())
    assert rows[0]["train"]["loss"] == pytest.approx(first["train_minimum"]["loss"], rel=1e-5)
    assert 0 <= rows[0]["test"]["accuracy"] <= 1
    ends = ("connect", "run0/train.npy", "run1/train.npy", "--data", "data.npz", "--limit", "200")
    path = run_json(capsys, *ends, "--steps", "5", "--out", "p.npz", "--plot", "p.png")
    assert path["height"] <= path["height_linear"]
    assert len(path["losses"]) == 50
    assert len(path["history"]["height"]) == 6
    assert path["evaluations"]["gradients"] == 240
    assert path["data"]["n_images"] == 200
    assert "not MNIST's own" in path["data"]["remark"]
    assert "n_images" in rows[0]["test"]
    for limit, said in (((), "all 300 training"), (("--limit", "20"), "the first 20 of 300 training")):
        assert run("connect", "run0/train.npy", "run1/train.npy", "--data", "data.npz", "--steps", "1", *limit) == 0
        assert f"landscape: the loss over {said} images" in capsys.readouterr().err
    assert run("evaluate", "run0/train.npy", "--data", "data.npz") == 0
    title, heads, row = capsys.readouterr().out.splitlines()
    assert title == "fcp (authors): losses over 300 training and 100 test images"
    assert heads.split() == ["weights", "train", "loss", "train", "accuracy", "test", "loss", "test", "accuracy"]
    assert row.split()[0] == "run0/train.npy"
    assert float(row.split()[1]) == pytest.approx(rows[0]["train"]["loss"], rel=1e-3)
    assert (folder / "p.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "p.npz").exists()
    assert run("connect", "run0/train.npy", "run1/train.npy", "--data", "data.npz", "--variant", "paper") == 1
    assert "contradicts" in capsys.readouterr().err


def test_the_variant_is_found_or_said_to_be_assumed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = ("train", "fcp", "--optimizer", "sgd", "--data", "data.npz", "--epochs", "0")
    for variant, seeds in (("authors", "0-1"), ("paper", "2-3")):
        assert run(*train, "--variant", variant, "--seeds", seeds, "--out", variant) == 0
    vectors = np.load("authors/train.npy")
    np.save("authors/double.npy", vectors.astype(np.float64))
    np.save("authors/mean.npy", vectors.mean(axis=0))
    np.save("paper/mean.npy", vectors.mean(axis=0))
    np.save("alone.npy", vectors[0])
    capsys.readouterr()

    def settled(*arguments: str) -> tuple[str, str]:
        assert run("evaluate", *arguments, "--data", "data.npz", "--split", "test", "--json") == 0
        captured = capsys.readouterr()
        return json.loads(captured.out)[0]["variant"], captured.err.splitlines()[0]

    assert settled("authors/double.npy:1") == ("authors", "variant authors, from run.json beside authors/double.npy")
    assert settled("authors/mean.npy") == (
        "authors",
        "variant authors, assumed: run.json beside authors/mean.npy names it, though of other vectors; "
        "--variant names another",
    )
    assert settled("authors/mean.npy", "--variant", "paper") == ("paper", "variant paper, from --variant")
    assert settled("alone.npy")[1].startswith("variant paper, assumed: no run.json beside alone.npy")
    variant, note = settled("alone.npy", "authors/train.npy:0")
    assert (variant, note) == (
        "authors",
        "variant authors, from run.json beside authors/train.npy; assumed of alone.npy",
    )
    for refused in (("paper/train.npy:0",), ("paper/mean.npy",), ("--variant", "paper")):
        assert run("evaluate", "authors/train.npy:0", *refused, "--data", "data.npz") == 1
        assert "names the variant" in capsys.readouterr().err
    assert settled("paper/mean.npy", "authors/train.npy", "--variant", "authors")[0] == "authors"


def test_a_missing_device_is_refused_before_the_data_are_read(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    np.save("a.npy", initial_vector("fcp", 0))
    for command in (("evaluate", "a.npy"), ("surface", "a.npy"), ("train", "fcp")):
        assert run(*command, "--device", "gpu", "--data", "nowhere") == 1
        assert "device 'gpu'" in capsys.readouterr().err


def test_a_killed_run_goes_on_with_the_same_bits(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = ["train", "fcp", "--variant", "authors", "--data", "data.npz", "--epochs", "400", "--loss-floor", "0"]
    code = (
        "import minilandscape.training.loop as t; t.CHECKPOINT_EVERY = 0\n"
        f"from minilandscape_cli.main import main; main({[*train, '--out', 'killed']!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (folder / "killed/checkpoint-0-0.npz").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert (folder / "killed/checkpoint-0-0.npz").exists()
    assert not (folder / "killed/run.json").exists()
    for out in ("killed", "whole"):
        assert run(*train, "--out", out) == 0
    for name in ("train.npy", "test.npy", "run.json"):
        assert (folder / "killed" / name).read_bytes() == (folder / "whole" / name).read_bytes()
    assert sorted(p.name for p in (folder / "killed").iterdir()) == ["run.json", "test.npy", "train.npy"]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no POSIX signals")
def test_an_interrupted_search_keeps_its_best_path(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (0, 1):
        np.save(f"{seed}.npy", initial_vector("fcp", np.random.default_rng(seed)))
    command = [sys.executable, "-m", "minilandscape_cli.main", "connect", "0.npy", "1.npy", "--data", "data.npz"]
    process = subprocess.Popen(
        [*command, "--steps", "1000000", "--out", "p.npz"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell has its background jobs, and so these tests there, ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stderr is not None
    assert process.stderr.readline().startswith("variant paper, assumed: no run.json beside 0.npy")
    assert process.stderr.readline().startswith("data:")  # the search begins
    time.sleep(5)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert "interrupted" in error.splitlines()[-1]
    path = load_path("p.npz")
    assert path.reason == "interrupted"
    assert path.history["cumulative_loss"][path.best_step] < path.history["cumulative_loss"][0]


def test_a_search_that_meets_a_nan_keeps_its_best_path_and_goes_on_in_the_same_file(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = """
import numpy as np
calls = 0
def f(x):
    global calls
    calls += 1
    value = (x[0] ** 2 - 1) ** 2 + (x[1] - 0.5 * x[0]) ** 2
    slope = 2 * (x[1] - 0.5 * x[0])
    return (np.nan if calls > LIMIT else value), np.array([4 * x[0] * (x[0] ** 2 - 1) - 0.5 * slope, slope])
"""
    for name, limit in (("short", "60"), ("long", "np.inf")):
        Path(f"{name}.py").write_text(text.replace("LIMIT", limit))
    np.save("a.npy", np.array([-1.0, 0.4]))
    np.save("b.npy", np.array([1.0, 0.6]))
    common = ("connect", "a.npy", "b.npy", "--points", "20", "--terms", "3", "--out", "p.npz", "--landscape")
    assert run(*common, "short:f") == 1
    error = capsys.readouterr().err.splitlines()
    assert error[-2] == "the best path so far is in p.npz; --from p.npz resumes from it"
    assert "is nan" in error[-1]
    height = load_path("p.npz").height
    assert run(*common, "long:f", "--from", "p.npz") == 0
    assert load_path("p.npz").height < height


@pytest.mark.parametrize("as_json", [False, True])
def test_a_search_that_finds_no_saddle_has_failed(
    folder: Path, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    """A script must see it; all that is known is printed and written first."""
    (folder / "uphill.py").write_text(
        "import numpy as np\n\n\ndef f(x):\n    return ((x**2 - 1) ** 2).sum(), -4 * x * (x**2 - 1)\n"
    )
    np.save("a.npy", -np.ones(2))
    np.save("b.npy", np.ones(2))
    more = ("--json",) if as_json else ()
    assert run("connect", "a.npy", "b.npy", "--landscape", "uphill:f", "--saddle", "--out", "s.npz", *more) == 1
    printed, said = capsys.readouterr()
    assert said.splitlines()[-1] == "minilandscape: no saddle was found"
    assert (folder / "s.npz").exists()
    if as_json:
        assert "does it return the force instead?" in json.loads(printed)["reason"]
    else:
        assert "not found" in printed
        assert "does it return the force instead?" in printed


def test_what_an_interrupt_keeps_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "slow.py").write_text(
        "import numpy as np\n"
        "calls = 0\n"
        "def f(x):\n"
        "    global calls\n"
        "    calls += 1\n"
        "    if calls % 40 == 0: raise KeyboardInterrupt\n"
        "    return (x[0]**2 - 1)**2 + x[1]**2, np.array([4 * x[0] * (x[0]**2 - 1), 2 * x[1]])\n"
    )
    np.save("a.npy", np.array([-1.0, 0.3]))
    np.save("b.npy", np.array([1.0, -0.2]))
    ends = ("connect", "a.npy", "b.npy", "--landscape", "slow:f")
    assert run(*ends) == 130
    assert capsys.readouterr().err.splitlines()[-2:] == [
        "no path is kept, since --out names no file",
        "minilandscape: interrupted",
    ]
    assert run(*ends, "--out", "p.npz") == 130
    assert "the best path so far is in p.npz" in capsys.readouterr().err
    assert load_path("p.npz").reason == "interrupted"

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("minilandscape.training.train_to_folder", interrupted)
    train = ("train", "fcp", "--data", "data.npz", "--out", "r")
    assert run(*train) == 130
    assert capsys.readouterr().err.splitlines()[-2:] == ["nothing is kept so far", "minilandscape: interrupted"]
    (folder / "r").mkdir()
    (folder / "r/checkpoint-0-0.npz").touch()
    assert run(*train) == 130
    assert "r keeps what is done; the same command resumes it" in capsys.readouterr().err


def test_an_interrupted_surface_resumes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    energy = "def f(x):\n    global calls\n    calls += 1\n    {}\n    return float(x @ x), 2 * x\n"
    (folder / "often.py").write_text("calls = 0\n" + energy.format("if calls == 30: raise KeyboardInterrupt"))
    (folder / "never.py").write_text("calls = 0\n" + energy.format("pass"))
    np.save("p.npy", np.array([[-1.0, 0.3], [1.0, -0.2], [0.5, 0.9]]))
    command = ("surface", "p.npy:0", "p.npy:1", "p.npy:2", "--n", "7", "--landscape")
    assert run(*command, "often:f") == 130
    assert "no row is kept, since --out names no file" in capsys.readouterr().err
    sys.modules.pop("often")
    assert run(*command, "often:f", "--out", "s.npz") == 130
    assert "4 of 7 rows are kept in s.npz; the same command resumes" in capsys.readouterr().err
    assert run(*command, "often:f", "--margin", "2", "--out", "s.npz") == 1
    assert "s.npz holds the rows of an interrupted surface; remove it to start anew" in capsys.readouterr().err
    assert run(*command, "never:f", "--out", "s.npz") == 1
    assert "s.npz holds the rows of an interrupted surface of other data" in capsys.readouterr().err
    assert run(*command, "often:f", "--out", "s.npz") == 0
    assert "4 of 7 rows are in s.npz" in capsys.readouterr().err
    assert run(*command, "never:f", "--out", "whole.npz") == 0
    found, whole = load_surface("s.npz"), load_surface("whole.npz")
    assert np.array_equal(found.values, whole.values)
    assert found.metadata == {**whole.metadata, "data": found.metadata["data"]}


def test_an_interrupted_curvature_says_what_it_has(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "twice.py").write_text(
        "def f(x):\n    if x[0] == 5: raise KeyboardInterrupt\n    return float(x @ x), 2 * x\n"
    )
    np.save("p.npy", np.array([[-1.0, 0.3], [5.0, -0.2]]))
    assert run("curvature", "p.npy", "--landscape", "twice:f", "--json") == 130
    points = json.loads(capsys.readouterr().out)["points"]
    assert [(point["row"], point["highest"][0]) for point in points] == [(0, pytest.approx(2))]


def test_an_interrupt_among_the_saddles_keeps_the_whole_path(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    (folder / "dish.py").write_text("def f(x): return float(x @ x), 2 * x\n")
    np.save("a.npy", np.array([-1.0, 0.3]))
    np.save("b.npy", np.array([1.0, -0.2]))
    monkeypatch.setattr("minilandscape.connect.split_at_minima", interrupted)
    ends = ("connect", "a.npy", "b.npy", "--landscape", "dish:f", "--steps", "2", "--split-at-minima")
    assert run(*ends, "--out", "p.npz") == 130
    assert "the best path so far is in p.npz" in capsys.readouterr().err
    assert np.array_equal(load_path("p.npz").start, np.load("a.npy"))


def test_outputs_that_cannot_be_written_are_refused_first(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (0, 1):
        np.save(f"{seed}.npy", initial_vector("fcp", np.random.default_rng(seed)))
    ends = ("connect", "0.npy", "1.npy", "--data", "data.npz", "--steps", "1", "--limit", "20")
    before = sorted(folder.iterdir())
    assert run(*ends, "--out", "p.npz", "--plot", "p.xyz") == 2
    assert "expected a name that ends in .png" in capsys.readouterr().err
    assert run(*ends, "--out", "data.npz/p.npz") == 1
    assert "cannot be written" in capsys.readouterr().err
    assert run("figure3", "--steps", "5", "--out", "data.npz/f.png") == 1
    assert sorted(folder.iterdir()) == before
    assert run(*ends, "--out", "new/p.npz", "--plot", "new/p.svg") == 0
    assert sorted(p.name for p in (folder / "new").iterdir()) == ["p.npz", "p.svg"]


def test_inputs_are_not_overwritten(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINILANDSCAPE_DATA", "named.npz")
    (folder / "data.npz").rename("named.npz")
    (folder / "data.npz").symlink_to("named.npz")
    (folder / "link.npz").hardlink_to("named.npz")
    for name in ("a.npy", "b.npy", "a.npz", "b.png"):
        with open(name, "wb") as file:
            np.save(file, np.zeros((2, 4)))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for command in (
        ("connect", "a.npz:0", "b.npy:0", "--out", "a.npz"),
        ("connect", "a.npy", "b.npy", "--from", "b.png", "--plot", "./b.png"),
        ("connect", "a.npy", "b.npy", "--data", "data.npz", "--out", str(folder / "data.npz")),
        ("surface", "--path", "a.npz", "--out", "a.npz"),
        ("surface", "b.png:0", "--plot", "b.png"),
        ("compare", "a.npy:0", "b.png:1", "--plot", "b.png"),
        ("curvature", "b.png:1", "--plot", "b.png"),
        ("kpca", "a.npy", "b.png", "--plot", "b.png"),
        ("statistics", "a.npy", "a.npy", "--centroids", "b.npy", "b.png", "--plot", "b.png"),
        ("demo", "--data", "b.png", "--out", "b.png"),
        ("connect", "a.npy:0", "b.npy:0", "--out", "named.npz"),
        ("surface", "a.npy:0", "--out", "link.npz"),
    ):
        assert run(*command) == 2, command
        assert "would be overwritten" in capsys.readouterr().err, command
    check_outputs(folder / "c.NPZ", suffix=".npz")
    for command in (("connect", "a.npy", "b.npy", "--out", "c.npy"), ("surface", "a.npy:0", "--out", "c")):
        assert run(*command) == 2
        assert "expected one that ends in .npz" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_finished_run_is_not_repeated_nor_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = (
        "train",
        "fcp",
        "--optimizer",
        "sgd",
        "--data",
        "data.npz",
        "--epochs",
        "2",
        "--seeds",
        "3-4",
        "--out",
        "r",
    )
    assert run(*train) == 0
    before = (folder / "r/train.npy").read_bytes()
    assert np.load(folder / "r/train.npy").shape == (2, 42_200)
    assert run(*train) == 0
    assert "nothing to do" in capsys.readouterr().err
    assert run(*train, "--lr", "0.2") == 1
    assert "other options" in capsys.readouterr().err
    np.savez("other.npz", **{**np.load("data.npz"), "y_test": np.zeros(100, int)})
    assert run(*(a.replace("data.npz", "other.npz") for a in train)) == 1
    assert "other data" in capsys.readouterr().err
    assert (folder / "r/train.npy").read_bytes() == before
    assert sorted(p.name for p in (folder / "r").iterdir()) == ["run.json", "test.npy", "train.npy"]
    rows = run_json(capsys, "evaluate", "r/train.npy:1", "--data", "data.npz", "--split", "test")
    assert rows[0]["row"] == 1
    assert "train" not in rows[0]


def test_bad_weight_files_are_refused_in_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = initial_vector("fcp", np.random.default_rng(0))
    np.save(folder / "good.npy", good)
    np.save(folder / "long.npy", np.append(good, 0))
    np.save(folder / "nan.npy", np.where(np.arange(good.size) == 7, np.nan, good))
    np.save(folder / "object.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.save(folder / "lstm.npy", initial_vector("lstm", np.random.default_rng(0)))
    (folder / "empty.npy").write_bytes(b"")
    before = sorted(folder.iterdir())
    for bad, message in {
        "long.npy": "fcp 42200",
        "nan.npy": "not finite",
        "object.npy": "Python objects",
        "lstm.npy": "of one model",
        "empty.npy": "is empty",
        "missing.npy": "does not exist",
    }.items():
        assert run("connect", "good.npy", bad, "--data", "data.npz", "--out", "p.npz", "--plot", "p.png") == 1
        captured = capsys.readouterr()
        line, *hint = captured.err.strip().splitlines()
        assert line.startswith("minilandscape: ")
        assert message in line
        assert ("    def f(x):" in "\n".join(hint)) == (bad == "long.npy")
        assert captured.out == ""
    assert sorted(folder.iterdir()) == before


def test_files_of_another_kind_are_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("a.npy", initial_vector("fcp", 0))
    for command in (("connect", "a.npy", "a.npy", "--from", "a.npy"), ("surface", "--path", "a.npy")):
        assert run(*command, "--data", "data.npz") == 1
        assert "a.npy holds vectors (.npy); expected a path (.npz)" in capsys.readouterr().err
    assert run("surface", "--path", ".") == 1
    assert "is a folder; expected a path" in capsys.readouterr().err
    train = ("train", "fcp", "--data", "data.npz", "--epochs", "0", "--out", "r")
    assert run(*train) == 0
    (folder / "r/test.npy").unlink()
    assert run(*train) == 1
    assert "r holds a run.json without test.npy; bring that back" in capsys.readouterr().err


def test_more_images_than_there_are_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ("--data", "data.npz", "--train-size", "100000")
    assert run("train", "fcp", *more, "--epochs", "0", "--out", "r") == 0
    assert "--train-size asks for 100,000 images; there are 300, and all of them are used" in capsys.readouterr().err
    assert run("surface", "r/train.npy", "--data", "data.npz", "--limit", "400", "--n", "2") == 0
    assert "--limit asks for 400 images; there are 300" in capsys.readouterr().err


def test_figure3_and_ones_own_landscape(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = run_json(capsys, "figure3", "--steps", "300", "--out", "f.png")
    assert document["height_linear"] == pytest.approx(1.102, abs=1e-3)
    for lam, height in (("10", 0.646), ("100", 0.640), ("1000", 0.652)):
        assert document["heights"][lam] == pytest.approx(height, abs=0.006)
    assert (folder / "f.png").exists()
    (folder / "double_well.py").write_text(
        "import numpy as np\n"
        "def make():\n"
        "    return lambda x: ((x[0]**2 - 1)**2 + x[1]**2, np.array([4 * x[0] * (x[0]**2 - 1), 2 * x[1]]))\n"
    )
    np.save("a.npy", np.array([-1.0, 0.0]))
    np.save("b.npy", np.array([1.0, 0.0]))
    path = run_json(capsys, "connect", "a.npy", "b.npy", "--landscape", "double_well:make", "--solver", "lbfgs-gss")
    assert path["maximum"] == pytest.approx(1.0, abs=1e-3)
    assert path["converged"]


@pytest.mark.parametrize("method", METHODS)
def test_advice_names_options_that_the_method_takes(method: str) -> None:
    """A band was told to take more --terms, which it refuses."""
    given = {"method": method, "solver": "adam", "climb": False, "steps": 5}
    for reason in [Ending.STRAIGHT_LINE] if method == "linear" else Ending:
        metadata = {name: value for name, value in given.items() if not without_effect(METHODS[method], {name: value})}
        said = path_lines._advice(SimpleNamespace(reason=reason, t=np.zeros(5), metadata=metadata | {"method": method}))
        named = set(re.findall("--(terms|points|objective|power|offset|lam|solver|lr|climb)", said))
        options = {{"terms": "n_terms", "points": "n_points"}.get(name, name): 1 for name in named}
        assert not without_effect(METHODS[method], options), said


def test_what_landscape_may_name(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "energies.py").write_text(
        "import numpy as np\n"
        "class Bowl:\n"
        "    size = 2\n"
        "    def values_and_gradients(self, X): return np.sum(X**2, axis=1), 2 * X\n"
        "class Named(Bowl):\n"
        "    def __init__(self, name): pass\n"
        "def f(x): return float(x @ x), 2 * x\n"
        "def two(x, y): return 0.0\n"
        "def breaks(): return 1 / 0\n"
        "def ends(): raise SystemExit(3)\n"
        "def forgets(): f\n"
        "bowl, number = Bowl(), 7\n"
    )
    np.save("a.npy", np.ones(2))
    point = ("curvature", "a.npy", "--landscape")
    for name in ("f", "Bowl", "bowl"):
        (found,) = run_json(capsys, *point, f"energies:{name}", "--eigenvalues", "1")["points"]
        assert found["value"] == pytest.approx(2)
    for name, message in {
        "two": "takes the arguments (x, y); expected a function that makes a landscape",
        "Named": "takes the arguments (name); expected",
        "number": "energies:number is int; expected",
        "breaks": "breaks() raised ZeroDivisionError: division by zero",
        "ends": "ends() raised SystemExit: 3",
        "forgets": "forgets() returned NoneType; expected a landscape, or a function of a point",
    }.items():
        assert run(*point, f"energies:{name}") == 1
        assert message in capsys.readouterr().err
    # The current folder comes first, as with python -m: before a module of Python's own.
    (folder / "tabnanny.py").write_text("def f(x): return float(x @ x), 2 * x\n")
    monkeypatch.delitem(sys.modules, "tabnanny", raising=False)
    (found,) = run_json(capsys, *point, "tabnanny:f", "--eigenvalues", "1")["points"]
    monkeypatch.delitem(sys.modules, "tabnanny")
    assert found["value"] == pytest.approx(2)
    (folder / "leaves.py").write_text("raise SystemExit\n")
    for spec, code, message in (
        ("leaves:f", 1, "leaves raised SystemExit"),
        ("energies.py:f", 1, "a module is named without .py: energies:f"),
        ("../energies:f", 2, "expected MODULE:NAME"),
    ):
        assert run(*point, spec) == code
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("train", "resnet"), 2, "expected one of fcp"),
        (("train", "fcp", "--lr", "0.1"), 2, "finds its step lengths"),
        (("train", "fcp", "--seeds", "4-2"), 2, "A-B"),
        (("train", "fcp", "--seeds", "5"), 2, "seeds 0 to 4 are --seeds 0-4, the seed 5 alone is --seed 5"),
        (("train", "fcp", "--seeds", "0"), 2, "A-B"),
        (("connect", "a.npy", "b.npy", "--solver", "lbfgs-gss", "--lr", "1"), 2, "lr belongs"),
        (("connect", "a.npy", "b.npy", "--split", "both"), 2, "train or test"),
        (("connect", "a.npy", "b.npy", "--method", "string"), 2, "--method is 'string'; expected one of fourier, "),
        (("surface", "a.npy", "--device", "tpu"), 2, "; expected one of cpu or gpu"),
        (("curvature", "a.npy", "--dtype", "float16"), 2, "--dtype is 'float16'"),
        (("evaluate", "a.npy", "--variant", "mine"), 2, "--variant is 'mine'"),
        (("kpca", "a.npy", "--kernel", "cosine"), 2, "--kernel is 'cosine'"),
        (("train", "fcp", "--optimizer", "lion"), 2, "--optimizer is 'lion'"),
        (("evaluate", "a.npy", "--data", "nowhere"), 1, "a.npy does not exist"),
        (("evaluate", "a.npy", "--split", "test", "--train-size", "9"), 2, "--train-size: of the training images"),
        (("surface", "a.npy", "--split", "test", "--train-size", "9"), 2, "--train-size: of the training images"),
        (
            ("reproduce", "--scale", "smoke", "--out", "c", "--scheduler", "tcp://h:1", "--workers", "2"),
            2,
            "--workers: ",
        ),
        (("nonsense",), 2, "nonsense"),
        (("connect", "a.npy", "b.npy", "--landscape", "e:f", "--device", "cpu"), 2, "--device: options of networks"),
        (("surface", "a.npy", "--landscape", "e:f", "--limit", "5", "--split", "test"), 2, "--split, --limit: "),
        (("curvature", "a.npy", "--landscape", "e:f", "--variant", "paper"), 2, "--variant: "),
        (("compare", "a.npy", "b.npy", "--landscape", "e:f", "--data", "d.npz"), 2, "--data: "),
        (("connect", "a.npy", "b.npy", "--method", "neb", "--solver", "adam", "--terms", "77"), 2, "--terms, --solver"),
        (
            ("connect", "a.npy", "b.npy", "--method", "neb", "--images", "5"),
            2,
            "the number of images of a band is --po",
        ),
        (
            ("connect", "a.npy", "b.npy", "--method", "linear", "--from", "p.npz"),
            2,
            "--from: without effect on the method linear",
        ),
        (("curvature", "a.npy", "--step", "-1"), 2, "--step is -1.0; expected a finite number above 0"),
        (("curvature", "a.npy", "--step", "nan"), 2, "--step is nan; expected a finite number above 0"),
        (("surface", "a.npy", "b.npy", "--radius", "2"), 2, "--radius: "),
        (
            ("surface", "a.npy", "--margin", "0.25"),
            2,
            "--margin: has no effect around one point",
        ),
        (("surface", "a.npy", "b.npy", "--margin", "inf"), 2, "--margin is inf; expected a finite number"),
        (("surface", "a.npy", "--radius", "inf"), 2, "--radius is inf; expected a finite number"),
        (("surface", "a.npy", "b.npy", "c.npy", "--seed", "0"), 2, "--seed: of random directions"),
        (("train", "fcp", "--batch-size", "32"), 2, "--batch-size: "),
        (("train", "fcp", "--seeds", "0-1", "--seed", "3"), 2, "--seed: "),
    ],
)
def test_wrong_usage(
    arguments: tuple[str, ...], code: int, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == code
    assert message in capsys.readouterr().err
    assert [p.name for p in folder.iterdir()] == ["data.npz"]


@pytest.mark.parametrize(
    ("command", "option", "names"),
    [
        ("train", "model", MODELS),
        ("train", "optimizer", OPTIMIZERS),
        ("evaluate", "model", ("auto", *MODELS)),
        ("evaluate", "variant", VARIANTS),
        ("evaluate", "device", DEVICES),
        ("evaluate", "dtype", DTYPES),
        ("connect", "method", METHODS),
        ("connect", "objective", OBJECTIVES),
        ("connect", "solver", SOLVERS),
        ("kpca", "kernel", KERNELS),
    ],
)
def test_names_that_options_take_are_the_librarys(command: str, option: str, names: tuple[str, ...]) -> None:
    commands: Any = typer.main.get_command(app)
    (parameter,) = [p for p in commands.commands[command].params if p.name == option]
    with pytest.raises(UsageError) as refused:
        parameter.callback(typer.Context(commands), parameter, "none of them")
    expected = str(refused.value).partition("expected one of ")[2]
    assert sorted(expected.replace(" or ", ", ").split(", ")) == sorted(names)


def test_kpca_and_statistics(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    sets = {"a.npy": rng.standard_normal((6, 40)), "b.npy": 2 * rng.standard_normal((5, 40))}
    for name, vectors in sets.items():
        np.save(name, vectors)
    document = run_json(capsys, "kpca", "a.npy", "b.npy", "--plot", "k.png")
    assert [len(row["projections"]) for row in document["sets"]] == [6, 5]
    document = run_json(capsys, "kpca", "a.npy", "b.npy", "--components", "1", "--plot", "one.png")
    assert [len(row["projections"][0]) for row in document["sets"]] == [1, 1]
    assert (folder / "one.png").exists()
    assert run("kpca", "a.npy", "b.npy", "--degree", "2") == 2
    assert "--degree: without effect on the rbf kernel; remove it" in capsys.readouterr().err
    document = run_json(capsys, "statistics", "a.npy", "b.npy", "--plot", "l.png")
    assert document["sets"][1]["sigma"] == pytest.approx(sets["b.npy"].std())
    assert document["within_b"]["distance"][0] > document["within_a"]["distance"][0]
    assert (folder / "k.png").exists()
    assert (folder / "l.png").exists()
    same = run_json(capsys, "statistics", "a.npy", "b.npy", "--centroids", "a.npy", "a.npy")
    assert same["centroid_distance"] == 0
    np.save("c.npy", np.zeros(7))
    assert run("statistics", "a.npy", "c.npy") == 1
    assert "of one model" in capsys.readouterr().err
    assert run("statistics", "a.npy", "--plot", "x.png") == 2


def test_an_angle_that_does_not_exist_is_not_printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("one.npy", np.array([0.5, 0.5, 0, 0]))
    np.save("two.npy", np.array([[1.0, 0, 0, 0], [0.0, 1, 0, 0]]))
    assert run("statistics", "one.npy", "two.npy") == 0
    text = capsys.readouterr().out
    assert "nan" not in text
    assert text.splitlines()[-1] == (
        "between the two  distance 0.7071 ± 0, no angle, since a vector at the common origin has no direction"
    )
    assert "within two.npy   distance 1.414 ± 0, angle 180.0 ± 0.0 degrees" in text
    assert run_json(capsys, "statistics", "one.npy", "two.npy")["between"]["angle"] == [None, None]


@pytest.mark.parametrize("command", ["statistics", "kpca", "barriers"])
def test_a_set_is_not_compared_with_itself(command: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Training and early-stopping weights are equal where the test loss only falls."""
    for name in ("a.npy", "copy.npy"):
        np.save(name, np.eye(3, 4))
    more = ("--landscape", "energies:bowl", "--out", "found") if command == "barriers" else ()
    (folder / "energies.py").write_text("def bowl(x): return float(x @ x), 2 * x")
    for files in (("a.npy", "a.npy"), ("a.npy", "./a.npy")):
        assert run(command, *files, *more) in (1, 2)
        assert re.search("given twice|hold the same points; expected each set once", capsys.readouterr().err)
    assert run(command, "a.npy", "copy.npy", *more) == (command == "barriers")
    assert re.search("and (a|copy).npy hold (equal vectors|the same points; expected)", capsys.readouterr().err)


def test_the_demo_names_the_images_that_it_used(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from minilandscape import demo

    def quick(data: Any, say: Any) -> demo.Demo:
        run = train("fcp", data, optimizer="sgd", epochs=1, variant="authors")
        land = MullerBrown()
        path = find_path(land, *land.minima[:2], method="linear")
        paths = {name: path for name in demo.COLOURS}
        return demo.Demo({name: [run, run] for name in demo.COLOURS}, paths, paths)

    monkeypatch.setattr(demo, "run_demo", quick)
    assert run("demo", "--data", "data.npz", "--out", "d.png") == 0
    assert capsys.readouterr().out.startswith("fcp (authors' variant), the first 300 images; ")


def test_info_and_version(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert set(run_json(capsys, "info")) == {"versions", "devices", "data"}
    assert run("--version") == 0
    assert capsys.readouterr().out.startswith("minilandscape ")


def test_info_shows_a_wrong_environment(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "cache").mkdir()
    (folder / "cache" / "openml.npz").write_bytes(b"junk")
    (folder / "empty.npz").touch()
    monkeypatch.setenv("MINILANDSCAPE_CACHE", str(folder / "cache"))
    monkeypatch.setenv("MINILANDSCAPE_DATA", str(folder / "empty.npz"))
    monkeypatch.setenv("MINILANDSCAPE_THREADS", "abc")
    document = run_json(capsys, "info")
    assert document["devices"]["cpu"].startswith("MINILANDSCAPE_THREADS is 'abc'; expected")
    named, _, openml, _ = document["data"]
    assert (named["found"], openml["found"]) == (False, False)
    assert "empty.npz is empty" in named["note"]
    assert "openml.npz is damaged" in openml["note"]
    assert run("info") == 0
    assert "cpu            MINILANDSCAPE_THREADS is 'abc'" in capsys.readouterr().out


def test_the_plot_of_a_comparison_tells_its_curves_apart() -> None:
    land = MullerBrown()
    names = ("linear", "fourier, auto", "bezier", "polyline", "neb")
    found = compare_methods(land, *land.minima[:2], 400, methods=names)
    axes = found.plot()
    assert axes.get_yscale() == "linear"
    labelled = {line.get_label().partition(":")[0]: line for line in axes.lines if line.get_label()[0] != "_"}
    assert list(labelled) == [*names[1:], "straight line"]
    assert len({(line.get_linestyle(), line.get_marker()) for line in labelled.values()}) == 5
    joins = [line for line in axes.lines if line.get_label()[0] == "_"]
    for name, join in zip(names[1:], joins, strict=True):
        higher = max(found.paths[name].height_ends)
        assert join.get_ydata() == pytest.approx(
            [found.curves[name][-1, 1] - higher, found.paths[name].maximum - higher]
        )


def test_the_plot_of_a_comparison_is_logarithmic_down_to_what_is_there() -> None:
    land = MullerBrown()
    line = find_path(land, *land.minima[:2], method="linear")
    low = {f"method {k}": 10.0**-k for k in range(1, 7)} | {"none": 0.0, "rounding": 1e-17}
    paths = {name: replace(line, values=np.array([0.1, 0.0]), maximum=0.1 + m) for name, m in low.items()}
    paths = {name: replace(path, height_linear=1.1) for name, path in paths.items()}
    curves = {name: np.array([[50, 1.1], [100, 0.2], [200, 0.1 + m]]) for name, m in low.items()}
    axes = PathComparison(paths, curves).plot()
    axes.figure.draw_without_rendering()
    assert axes.get_yscale() == "log"
    ends = {line.get_label().partition(":")[0]: line.get_ydata()[-1] for line in axes.lines[::2] if line.get_label()}
    places = [axes.transAxes.inverted().transform(axes.transData.transform((50, ends[name])))[1] for name in low]
    assert -np.diff(places[:7]) == pytest.approx(np.full(6, 1 / 8), rel=0.2)  # methods stand clear of each other
    names = {label.get_text(): place for label, place in zip(axes.get_yticklabels(), axes.get_yticks(), strict=True)}
    assert names.pop("0") == ends["none"] == ends["rounding"] == pytest.approx(1e-7)
    assert [float(place) for place in names.values()] == pytest.approx([10.0**-k for k in range(7)])
    low_end, high_end = axes.get_ylim()
    assert low_end < 1e-7
    assert high_end > 1
    # Without a barrier anywhere there is nothing to take a logarithm of.
    flat = {name: replace(path, maximum=0.1, height_linear=0.1) for name, path in paths.items()}
    axes = PathComparison(flat, {name: np.array([[50, 0.1], [100, 0.1]]) for name in paths}).plot()
    assert axes.get_yscale() == "linear"


def test_a_trace_or_an_error_that_does_not_exist_is_not_printed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "wide.py").write_text(
        "import numpy as np\na = np.arange(1.0, 101)\ndef make():\n"
        "    return lambda x: (float(x @ (a * x)) / 2 + x[0] * x[1], a * x + np.r_[x[1], x[0], 0 * x[2:]])\n"
    )
    np.save("x.npy", np.ones(100))
    command = ("curvature", "x.npy", "--landscape", "wide:make", "--eigenvalues", "1")
    number = r"trace +\d+(\.\d+)?"
    for probes, form in (("0", None), ("1", number), ("6", number + r" ± \d+(\.\d+)?")):
        assert run(*command, "--probes", probes) == 0
        lines = [line.strip() for line in capsys.readouterr().out.splitlines() if line.startswith("trace")]
        assert len(lines) == (form is not None)
        for line in lines:
            assert re.fullmatch(str(form), line)
            assert float(line.split()[1]) == pytest.approx(5050, rel=0.1)
    found = run_json(capsys, *command, "--probes", "0")["points"][0]
    assert (found["trace"], found["trace_error"]) == (None, None)


def test_curvature_and_surface(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(2):
        np.save(f"v{seed}.npy", initial_vector("fcp", seed))
    (folder / "bowl.py").write_text(
        "import numpy as np\na = np.arange(1.0, 5)\ndef make():\n    return lambda x: (float(x @ (a * x)), 2 * a * x)\n"
    )
    np.save("set.npy", np.array([[0.0, 0, 0, 1], [1.0, 0, 0, 0]]))
    found = run_json(capsys, "curvature", "set.npy", "--landscape", "bowl:make", "--eigenvalues", "2")
    assert [point["row"] for point in found["points"]] == [0, 1]
    assert found["points"][0]["highest"] == pytest.approx([8, 6])
    assert found["points"][0]["lowest"] == pytest.approx([2, 4])
    assert (found["points"][1]["value"], found["points"][1]["trace"]) == pytest.approx((1, 20))
    assert run("curvature", "set.npy", "--landscape", "bowl:make", "--plot", "c.png") == 2
    assert run("curvature", "set.npy:0", "--landscape", "bowl:make", "--plot", "c.png") == 0
    text = capsys.readouterr().out
    assert re.search(r"^highest +8, 6, 4, 2$", text, re.MULTILINE)
    assert re.search(r"^wrote +c.png$", text, re.MULTILINE)
    for option in ("--seed", "--probes"):
        assert run("curvature", "set.npy", "--landscape", "bowl:make", option, "0") == 2
        assert f"{option}: of random vectors" in capsys.readouterr().err

    path = ("connect", "v0.npy", "v1.npy", "--data", "data.npz", "--limit", "50", "--steps", "3", "--out", "p.npz")
    assert run(*path) == 0
    capsys.readouterr()
    grid = ("surface", "--path", "p.npz", "--data", "data.npz", "--limit", "50", "--n", "5")
    found = run_json(capsys, *grid, "--out", "s.npz", "--plot", "s.png")
    assert (len(found["values"]), len(found["marks"]), len(found["curve"])) == (5, 2, 50)
    assert found["data"]["n_images"] == 50
    assert (folder / "s.npz").exists()
    assert (folder / "s.png").exists()
    assert run_json(capsys, "surface", "v0.npy", *grid[1:])["values"] == found["values"]
    assert run("surface", "v0.npy", "--data", "data.npz", "--limit", "50", "--n", "3") == 0
    captured = capsys.readouterr()
    assert "nothing was written" in captured.err
    assert "filter-normalised" in captured.out
    assert run("surface", "set.npy:0", "--landscape", "bowl:make", "--n", "3", "--seed", "1") == 0
    assert "of length 1" in capsys.readouterr().out
    assert run(*grid, "--seed", "0") == 2
    assert "--seed: of random directions, which this plane does not have" in capsys.readouterr().err
    assert run("surface", "v0.npy", "set.npy:0", "--landscape", "bowl:make") == 1
    assert "expected vectors of one landscape" in capsys.readouterr().err
    assert run("surface") == 2
    assert run("surface", *["v0.npy"] * 4) == 2


def test_rows_of_sets_and_files_that_are_named_like_them(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "hollow.py").write_text("def f(x): return float(x @ x), 2 * x\n")
    np.save("set.npy", np.array([[1.0, 0.0], [2.0, 0.0]]))
    point = ("--landscape", "hollow:f", "--eigenvalues", "1")
    for row, value in ((0, 1), (1, 4)):
        assert run_json(capsys, "curvature", f"set.npy:{row}", *point)["points"][0]["value"] == pytest.approx(value)
    for row, message in (("2", "holds 2 vectors; row 2 was asked for (the first is 0)"), ("-1", "does not exist")):
        assert run("curvature", f"set.npy:{row}", *point) == 1
        assert message in capsys.readouterr().err
    if sys.platform != "win32":
        np.save("odd.npy", np.array([3.0, 0.0]))
        Path("odd.npy").rename("set.npy:1")
        assert run_json(capsys, "curvature", "set.npy:1", *point)["points"][0]["value"] == pytest.approx(9)
