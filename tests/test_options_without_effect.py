"""An option changes what a command does, or it is refused.

Every option of a command is given to several lines of that command. Either the answer, the files included, is another
one, or the line is wrong usage that names the option.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from minilandscape_cli.main import app, main

from minilandscape.landscape import FunctionLandscape
from minilandscape.networks import initial_vector
from minilandscape.paths import compare_methods, find_path
from minilandscape.tasks import Store, run_tasks
from minilandscape.training import train

COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
#: Lines that work, and in whose place an option is to make a difference.
LINES = {
    "train": [
        "fcp --data data.npz --epochs 2 --out r",
        "fcp --data data.npz --epochs 1 --out r --optimizer sgd",
        "fcp --data data.npz --epochs 1 --out r --optimizer adam --seeds 0-0",
    ],
    "evaluate": ["v.npy --data data.npz", *(f"v.npy --data data.npz --split {part}" for part in ("train", "test"))],
    "connect": [
        *(
            f"p.npy:0 p.npy:1 --landscape option_energies:well --points 9 --steps 3 {rest}"
            for rest in (
                "--solver adam --objective sum",
                "--solver lbfgs-gss --objective sum --power 2 --offset -0.05",
                "--solver auto --objective maxflux",
                "--solver adam --objective smoothmax",
                "--method bezier --solver auto --objective sum",
                "--method polyline --solver lbfgs-gss --objective maxflux",
            )
        ),
        "p.npy:0 p.npy:1 --landscape option_energies:well --points 9 --steps 30 --method neb",
        "p.npy:0 p.npy:1 --landscape option_energies:well --points 9 --steps 30 --method autoneb",
        "p.npy:0 p.npy:1 --landscape option_energies:well --points 9 --method linear",
        "m.npy:0 m.npy:1 --landscape option_energies:well --saddle",
        "v.npy w.npy --data data.npz --limit 20 --points 9 --steps 3",
        "v.npy w.npy --data data.npz --limit 20 --points 9 --steps 3 --split test --solver lbfgs-gss",
        "v.npy w.npy --data data.npz --limit 20 --points 9 --method linear",
    ],
    "compare": [
        "p.npy:0 p.npy:1 --landscape option_energies:well --budget 200",
        "v.npy w.npy --data data.npz --limit 20 --budget 120 --points 20",
    ],
    "kpca": [f"s.npy p5.npy --kernel {kernel}" for kernel in ("linear", "polynomial", "sigmoid", "rbf")],
    "statistics": ["s.npy", "s.npy p5.npy", "s.npy p5.npy p.npy"],
    "curvature": [
        "wide.npy --landscape option_energies:wide --eigenvalues 1",
        "p.npy:0 --landscape option_energies:well",
    ],
    "surface": [
        "p.npy:0 --landscape option_energies:well --n 3",
        "p.npy:0 p.npy:1 --landscape option_energies:bowl --n 3",
        "p.npy:0 p.npy:1 p.npy:2 --landscape option_energies:bowl --n 3",
        "--path path.npz --landscape option_energies:well --n 3",
        "v.npy --data data.npz --limit 20 --n 2",
        "v.npy --data data.npz --limit 20 --n 2 --split test",
        "v.npy --data data.npz --train-size 50 --n 2",
    ],
    "figure3": ["--steps 3"],
    "info": [""],
}
#: Commands whose lines take long; what they refuse is tested beside what they do.
ELSEWHERE = {"barriers", "demo", "reproduce", "status", "report"}
#: A value for each option that is not its default.
VALUES: dict[str, str | dict[str, str]] = {
    "align": "",
    "batch_size": "32",
    "block": "conv1.*",
    "budget": "100",
    "calculator": "emt",
    "calculator_options": "charge=1",
    "centroids": "s.npy s.npy",
    "climb": "",
    "coef0": "2",
    "components": "1",
    "data": "other.npz",
    "degree": "2",
    "density": "",
    "dtype": {"curvature": "float32", "": "float64"},
    "eigenvalues": "2",
    "epochs": "3",
    "files": "s.npy",
    "fmax": "0.02",
    "from": "path.npz",
    "gamma": "0.7",
    "images": "5",
    "initial": "path.npz",
    "irc": "",
    "kernel": "linear",
    "lam": "0.3",
    "landscape": "option_energies:well",
    "limit": "7",
    "loss_floor": "9",
    "lr": "0.02",
    "margin": "0.7",
    "match": "",
    "method": "bezier",
    "n": "4",
    "objective": "smoothmax",
    "offset": "-0.1",
    "optimizer": "adam",
    "page": "plane.html",
    "path": "path.npz",
    "n_points": "7",
    "power": "1.5",
    "probes": "7",
    "radius": "0.3",
    "relax": "",
    "seed": "5",
    "seeds": "7-8",
    "saddle": "",
    "solver": "lbfgs-gss",
    "split": {"evaluate": "train", "": "test"},
    "split_at_minima": "",
    "step": "1e-4",
    "steps": "4",
    "n_terms": "2",
    "target_barrier": "1e9",
    "temperature": "300",
    "tolerance": "1e-8",
    "train_size": "30",
    "trajectory": "",
    "variant": "authors",
}
#: Where an answer goes, and options that only state what an input is, or where the same is computed.
NO_ANSWER = {"align", "as_json", "device", "model", "out", "page", "plot"}

#: What answers repeat of a line.
REPEATED = {
    "budget",
    "file",
    "kernel",
    "parameters",
    "power",
    "seed",
    "step",
    "steps",
    "train_size",
    "lr",
    "batch_size",
}

ENERGIES = """
import numpy as np
scale = np.arange(1.0, 101)
def well(x):
    a, b, c = x
    bend = b - 0.5 * a
    value = (a * a - 1) ** 2 + bend ** 2 + c * c + 0.1 * a * b
    return value, np.array([4 * a * (a * a - 1) - bend + 0.1 * b, 2 * bend + 0.1 * a, 2 * c])
def bowl(x): return float(x @ x + x[0] ** 4), 2 * x + np.r_[4 * x[0] ** 3, 0 * x[1:]]
def wide(x):
    k = x[::-1]
    return float(x @ (scale * x)) / 2 + 0.1 * float(np.sum(x ** 2 * k ** 2)) / 2, scale * x + 0.2 * x * k ** 2
"""


@pytest.fixture
def folder(tmp_path: Path, small_mnist: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, stride in (("data", 1), ("other", 2)):
        parts = {"train": small_mnist.train[:60], "test": small_mnist.test[:40]}
        arrays = {f"x_{part}": images.images[::stride] for part, images in parts.items()}
        np.savez(f"{name}.npz", **arrays, **{f"y_{part}": images.labels[::stride] for part, images in parts.items()})
    rng = np.random.default_rng(0)
    np.save("v.npy", initial_vector("fcp", 0))
    np.save("w.npy", initial_vector("fcp", 1))
    np.save("s.npy", rng.standard_normal((6, 3)))
    np.save("p5.npy", rng.standard_normal((5, 3)))
    points = np.array([[-1.0, -0.4, 0.1], [1.0, 0.6, 0.0], [0.3, 0.3, 1.0]])
    np.save("p.npy", points)
    minima = np.array([-0.98805364, 0.98805364])[:, None] * np.array([1, 0.45, 0])
    np.save("m.npy", minima)
    np.save("wide.npy", rng.standard_normal(100))
    Path("option_energies.py").write_text(ENERGIES)
    for name, ends in (
        ("path", points[:2]),
        ("of_minima", minima),
        ("of_networks", (np.load("v.npy"), np.load("w.npy"))),
    ):
        path = find_path(lambda x: (float(x @ x), 2 * x), *ends, steps=2, n_points=5)
        replace(path, coefficients=0.1 * rng.standard_normal(path.coefficients.shape)).save(f"{name}.npz")
    return tmp_path


def answer(line: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, Any]:
    """The exit code of a line, what it says, and its answer: the document and the arrays that it wrote."""
    before = set(Path().rglob("*"))
    with pytest.raises(SystemExit) as ended:
        main([*line.split(), "--json"])
    captured = capsys.readouterr()
    document = json.loads(captured.out) if ended.value.code == 0 else None
    written = {}
    for path in sorted(set(Path().rglob("*")) - before, reverse=True):
        if path.suffix == ".npy":
            written[str(path)] = path.read_bytes()
        path.rmdir() if path.is_dir() else path.unlink()
    return int(ended.value.code or 0), captured.err, (_numbers(document), written)


def _numbers(document: Any) -> Any:
    """A document without what merely repeats the line: names, and numbers of its options."""
    if isinstance(document, dict):
        return {k: _numbers(v) for k, v in document.items() if k not in REPEATED}
    return [_numbers(part) for part in document] if isinstance(document, list) else document


def lines(command: str) -> list[str]:
    return [f"{command} {line}".strip() for line in LINES[command]]


def test_every_command_is_looked_at() -> None:
    assert {*LINES, *ELSEWHERE} == set(COMMANDS)


@pytest.mark.parametrize("line", [line for command in LINES for line in lines(command)])
def test_an_option_changes_the_answer_or_is_refused(
    line: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = line.split()[0]
    few = partial(compare_methods, methods=("fourier, adam", "neb"))
    monkeypatch.setattr("minilandscape.paths.compare_methods", few)
    code, said, base = answer(line, capsys)
    assert code == 0, said
    for option in COMMANDS[command].params:
        flags = [name for name in option.opts if name.startswith("--")]
        if not flags or option.name in (*NO_ANSWER, "help") or set(flags) & set(line.split()):
            continue
        if option.name == "split_at_minima" and "v.npy" in line:  # of 42,200 coordinates: minutes
            continue
        flag = next(iter(option.secondary_opts), flags[0])  # of what is on, that which turns it off
        value = VALUES[option.name]
        if option.name in ("initial", "path"):
            value = "of_networks.npz" if "v.npy" in line else "of_minima.npz" if "m.npy" in line else value
        value = value if isinstance(value, str) else value.get(command, value[""])
        code, said, other = answer(f"{line} {flag} {value}", capsys)
        if code == 2:
            assert flags[0] in said or option.name in said, (line, said)
        else:
            assert code == 0 or "contradict" in said or option.name == "landscape", (line, flag, said)
            assert other != base, f"{line}: {flag} {value} has no effect and is accepted"


@pytest.mark.parametrize(
    ("methods", "name"),
    [
        (("neb",), "n_terms"),
        (("autoneb", "neb"), "n_points"),
        (("linear",), "n_terms"),
        (("linear", "autoneb"), "n_terms"),
        (("linear", "fourier, adam"), "images"),
    ],
)
def test_a_comparison_refuses_numbers_that_none_of_its_methods_takes(methods: tuple[str, ...], name: str) -> None:
    land = FunctionLandscape(lambda x: (float(x @ x), 2 * x), size=2)
    with pytest.raises(ValueError, match=f"^{name} has no effect on {', '.join(map(repr, methods))}; remove it"):
        compare_methods(land, np.zeros(2), np.ones(2), 500, methods=methods, **{name: 9})
    assert land.evaluations.values == land.evaluations.gradients == 0


@pytest.mark.parametrize("option", [{"batch_size": 64}, {"lr": 0.1}])
def test_a_quasi_newton_run_takes_no_options_of_batches(option: dict[str, Any], small_mnist: Any) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(option))} belongs to sgd and adam"):
        train("fcp", small_mnist, optimizer="lbfgs-gss", epochs=0, **option)


@pytest.mark.parametrize("others", [{"scheduler": "tcp://h:1"}, {"workers": 2}])
def test_tasks_run_in_one_place(others: dict[str, Any], tmp_path: Path) -> None:
    (name,) = others
    with (
        ThreadPoolExecutor(1) as executor,
        pytest.raises(ValueError, match=f"executor and {name} are given; expected one"),
    ):
        run_tasks([], Store(tmp_path), executor=executor, **others)
    with pytest.raises(ValueError, match="scheduler and workers are given"):
        run_tasks([], Store(tmp_path), scheduler="tcp://h:1", workers=2)
