"""Checkpoints of one's own module on the command line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import run

import minilandscape as ml

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

MODULE = """
import torch
from torch import nn

generator = torch.Generator().manual_seed(0)
x = torch.randn(60, 4, generator=generator)
y = (x[:, 0] * x[:, 1] > 0).long()
loss = nn.functional.cross_entropy


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 2))


def make():
    train, test = (x[:40], y[:40]), (x[40:], y[40:])
    return {"module": net(), "loss": loss, "data": train, "test": test, "buffers": "interpolate"}


def recomputed():
    return dict(make(), buffers="recompute")


def normed():
    module = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 6)), nn.Tanh(), nn.Linear(6, 2))
    return {"module": module, "loss": loss, "data": (x, y)}


def pair():
    return net(), loss, x, y


def loader():
    return net(), loss, torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=9, shuffle=True)


def alone():
    return net()


def wrong():
    return {"module": net(), "loss": loss, "data": (x, y), "epochs": 3}


def none():
    return {"module": net(), "loss": loss}


def renamed():
    return {"model": net(), "loss": loss, "data": (x, y)}


def misspelt():
    return {"module": net(), "loss": loss, "data": (x, y), "buffer": "recompute"}


def exchanged():
    return nn.CrossEntropyLoss(), net(), x, y


def short():
    return net(), (x, y)
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = f"net_{abs(hash(str(tmp_path)))}"
    Path(f"{name}.py").write_text(MODULE)
    monkeypatch.setenv("NET", name)


def own(factory: str = "make") -> str:
    import os

    return f"{os.environ['NET']}:{factory}"


def trained(seed: int) -> nn.Module:
    import importlib
    import os

    code = importlib.import_module(os.environ["NET"])
    module = code.net()
    torch.manual_seed(seed)
    for p in module.parameters():
        nn.init.normal_(p, std=0.5)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.05)
    for _ in range(40):
        optimizer.zero_grad()
        code.loss(module(code.x[:40]), code.y[:40]).backward()
        optimizer.step()
    return module.eval()


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Two networks whose checkpoints are a.pt, in a dictionary, and b.pt, of a wrapped module."""
    monkeypatch.syspath_prepend(".")
    found = [trained(1), trained(2)]
    torch.save({"model": found[0].state_dict(), "epoch": 3}, "a.pt")
    torch.save({"module." + key: tensor for key, tensor in found[1].state_dict().items()}, "b.pt")
    return found


def run_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert run(*arguments, "--json") == 0
    return json.loads(capsys.readouterr().out)


def losses(modules: list[Any], rows: slice) -> list[float]:
    import importlib
    import os

    code = importlib.import_module(os.environ["NET"])
    with torch.no_grad():
        return [float(code.loss(module(code.x[rows]), code.y[rows])) for module in modules]


def test_connect_two_checkpoints(modules: Any, capsys: pytest.CaptureFixture[str]) -> None:
    found = run_json(
        capsys, "connect", "a.pt", "b.pt", "--landscape", own(), "--points", "9", "--terms", "2", "--steps", "5",
        "--out", "p.npz", "--plot", "p.png",
    )  # fmt: skip
    assert found["height_ends"] == pytest.approx(losses(modules, slice(0, 40)), rel=1e-5)
    test = found["along"]["values"]["test loss"]
    assert [test[0], test[-1]] == pytest.approx(losses(modules, slice(40, 60)), rel=1e-5)
    assert found["along"]["barriers"]["loss"]["barrier"] == pytest.approx(found["barrier"], rel=1e-4, abs=1e-6)
    assert set(found["along"]["average"]) == {"loss", "accuracy", "test loss", "test accuracy"}
    assert Path("p.png").stat().st_size > 0
    assert run("connect", "a.pt", "b.pt", "--landscape", own(), "--points", "5", "--method", "linear") == 0
    shown = capsys.readouterr().out
    assert "test accuracy" in shown
    assert "average of both" in shown
    assert "line between them" in shown


def test_the_other_commands_take_checkpoints(modules: Any, capsys: pytest.CaptureFixture[str]) -> None:
    rows = run_json(capsys, "evaluate", "a.pt", "b.pt", "--landscape", own())
    assert [row["loss"] for row in rows] == pytest.approx(losses(modules, slice(0, 40)), rel=1e-5)
    assert [row["test loss"] for row in rows] == pytest.approx(losses(modules, slice(40, 60)), rel=1e-5)
    found = run_json(capsys, "curvature", "a.pt", "--landscape", own(), "--eigenvalues", "2")
    assert found["points"][0]["value"] == pytest.approx(losses(modules, slice(0, 40))[0], rel=1e-5)
    plane = run_json(
        capsys, "surface", "a.pt", "b.pt", "--landscape", own(), "--n", "5", "--margin", "0", "--page", "plane.html"
    )
    assert "<canvas" in Path("plane.html").read_text("utf-8")
    assert plane["values"][2][0] == pytest.approx(losses(modules, slice(0, 40))[0], rel=1e-5)
    assert plane["values"][2][-1] == pytest.approx(losses(modules, slice(0, 40))[1], rel=1e-4)
    compared = run_json(
        capsys, "compare", "a.pt", "b.pt", "--landscape", own("recomputed"), "--budget", "60", "--points", "5"
    )
    assert len(compared["methods"]) > 2
    assert run("evaluate", "a.pt", "--landscape", own()) == 0
    assert "test accuracy" in capsys.readouterr().out


@pytest.mark.parametrize("factory", ["pair", "loader", "recomputed"])
def test_a_factory_may_return_a_module_with_its_loss_and_data(
    factory: str, modules: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    modules[0][1].reset_running_stats()
    torch.save(modules[0].state_dict(), "c.pt")
    row = run_json(capsys, "evaluate", "c.pt", "--landscape", own(factory))[0]
    if factory != "recomputed":
        assert row["loss"] == pytest.approx(losses(modules[:1], slice(0, 60))[0], rel=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("connect", "a.pt", "b.pt", "--landscape", "pair"), "buffers='recompute' takes them from the data"),
        (("connect", "a.pt", "v.npy", "--landscape", "make"), "interpolates buffers, which no .npy and no path holds"),
        (("evaluate", "a.pt", "--landscape", "alone"), "returned a module alone; expected (module, loss, data)"),
        (("evaluate", "a.pt", "--landscape", "wrong"), "a dictionary with 'epochs'; expected names of data, module"),
        (("evaluate", "a.pt", "--landscape", "none"), "a dictionary without inputs"),
        (("evaluate", "a.pt", "--landscape", "renamed"), "a dictionary with 'model'; expected names of data, module"),
        (("evaluate", "a.pt", "--landscape", "misspelt"), "metrics (did you mean buffers?)"),
        (("evaluate", "a.pt", "--landscape", "exchanged"), "expected (Sequential, CrossEntropyLoss, Tensor, Tensor)"),
        (("evaluate", "a.pt", "--landscape", "short"), "returned (Sequential, tuple); expected (module, loss, data)"),
        (("evaluate", "nowhere.pt", "--landscape", "make"), "nowhere.pt does not exist"),
        (("evaluate", "other2.pt", "--landscape", "make"), "other2.pt does not exist (did you mean other.pt?)"),
        (("evaluate", "a.pt"), "a.pt is a checkpoint of a module of your own: name what makes"),
        (("evaluate", "other.pt", "--landscape", "make"), "other.pt holds x; expected the keys"),
    ],
)
def test_what_goes_wrong_is_one_line(
    arguments: tuple[str, ...], message: str, modules: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save("v.npy", np.zeros(56, dtype=np.float32))
    torch.save({"x": torch.ones(3)}, "other.pt")
    *command, factory = arguments if "--landscape" in arguments else (*arguments, "")
    assert run(*command, *([own(factory)] if factory else [])) == 1
    shown = capsys.readouterr().err
    line, *hint = shown.strip().splitlines()
    assert message in line
    assert ("    def make():" in "\n".join(hint)) == ("--landscape" not in arguments)


def test_curvature_with_density_and_block(modules: Any, capsys: pytest.CaptureFixture[str]) -> None:
    point = ("curvature", "a.pt", "--landscape", own(), "--eigenvalues", "2")
    found = run_json(capsys, *point, "--density", "--plot", "d.png")["points"][0]
    assert found["exact"]
    assert not found["piecewise"]
    assert found["density"]["highest"] == pytest.approx(found["highest"][0], rel=1e-3)
    assert Path("d.png").stat().st_size > 0
    block = run_json(capsys, *point, "--block", "3.*")["points"][0]
    assert block["block"] == "3.*"
    assert block["highest"][0] <= found["highest"][0] * (1 + 1e-4)
    assert run(*point, "--density", "--block", "3.bias") == 0
    shown = capsys.readouterr().out
    assert "exact" in shown
    assert "spectral density" in shown
    assert run(*point, "--block", "9.*") == 2
    assert "block is '9.*'; the landscape has 0.weight" in capsys.readouterr().err


def test_connect_aligned(modules: Any, capsys: pytest.CaptureFixture[str]) -> None:
    ends = ("connect", "a.pt", "b.pt", "--method", "linear", "--points", "5")
    for factory in ("make", "recomputed"):
        found = run_json(capsys, *ends, "--landscape", own(factory), "--align")
        before = run_json(capsys, *ends, "--landscape", own(factory))
        assert found["data"]["aligned"]
        assert found["length"] < before["length"]
        assert found["height_ends"] == pytest.approx(before["height_ends"], rel=1e-4)


@pytest.mark.parametrize("aligned", [True, False])
def test_a_path_to_an_aligned_end_resumes_with_align(
    aligned: bool, modules: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ("connect", "a.pt", "b.pt", "--landscape", own(), "--points", "5", "--steps", "2", "--terms", "2")
    assert run(*line, "--out", "p.npz", *(["--align"] if aligned else [])) == 0
    assert run(*line, "--from", "p.npz", *(["--align"] if aligned else [])) == 0
    capsys.readouterr()
    assert run(*line, "--from", "p.npz", *([] if aligned else ["--align"])) == 2
    assert ("give --align too" if aligned else "remove --align") in capsys.readouterr().err


def test_a_path_is_no_checkpoint_and_names_a_landscape_that_is_not_its_own(
    modules: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """A path holds no buffers: without the checkpoints, those of the landscape's module are taken."""
    ends = ("a.pt", "b.pt", "--landscape", own())
    assert run("connect", *ends, "--method", "linear", "--points", "5", "--out", "p.npz") == 0
    capsys.readouterr()
    assert run("surface", *ends, "--path", "p.npz", "--n", "3") == 0
    assert "not those of the path" not in capsys.readouterr().err
    assert run("surface", "--path", "p.npz", "--landscape", own("pair"), "--n", "3") == 0
    said = capsys.readouterr().err
    found = ml.load_path("p.npz").values
    assert f"p.npz has {found[0]:.5g} and {found[-1]:.5g} at its endpoints, the landscape " in said
    assert run("curvature", "p.npz", "--landscape", own("pair")) == 1
    assert "p.npz holds a path" in capsys.readouterr().err


def test_layers_that_compute_their_weights_stay_as_they_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And what vmap has no rule for is no matter that the user should report to PyTorch."""
    import importlib
    import os

    monkeypatch.syspath_prepend(".")
    code = importlib.import_module(os.environ["NET"])
    for file in ("c.pt", "d.pt"):
        torch.save(code.normed()["module"].state_dict(), file)
    line = ("connect", "c.pt", "d.pt", "--landscape", own("normed"), "--method", "linear", "--points", "5")
    assert run(*line, "--align") == 0
    said = capsys.readouterr().err
    assert "aligned: the end stays as it is, " in said
    assert "performance drop" not in said


def test_a_landscape_of_ones_own_is_given_no_advice_that_it_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    """--dtype is an option of networks."""
    Path("kinks.py").write_text("def f(x):\n    return float(abs(x - 1e-3).sum()), 2.0 * (x > 1e-3) - 1\n")
    np.save("x.npy", np.zeros(3))
    assert run("curvature", "x.npy", "--landscape", "kinks:f", "--step", "0.01") == 0
    printed = capsys.readouterr()
    assert "not converged: an eigenvalue may be off by" in printed.err
    assert "dtype" not in printed.out + printed.err


@pytest.mark.parametrize("make", ["pair", "make", "recomputed"])
def test_single_checkpoints_are_measured_with_their_own_statistics(
    make: str, modules: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a choice of buffers too: nothing lies between the two."""
    which = "batch statistics recomputed from the data" if make == "recomputed" else "the checkpoint's own"
    assert run("evaluate", "a.pt", "b.pt", "--landscape", own(make), "--json") == 0
    found = [row["loss"] for row in json.loads(capsys.readouterr().out)]
    if make != "recomputed":
        assert found == pytest.approx(losses(modules, slice(60 if make == "pair" else 40)), rel=1e-5)
    assert run("evaluate", "a.pt", "--landscape", own(make)) == 0
    assert f"buffers  {which}" in capsys.readouterr().out
    assert run("curvature", "b.pt", "--landscape", own(make), "--eigenvalues", "1") == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("buffers"))
    assert line.split(maxsplit=1)[1] == which


def test_other_statistics_are_refused_with_the_line_that_chooses(
    modules: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("connect", "a.pt", "b.pt", "--landscape", own("pair")) == 1
    said = capsys.readouterr().err
    assert "a.pt has other buffers than the landscape" in said
    (line,) = (line.strip() for line in said.splitlines() if "return {" in line)
    assert '"buffers": "recompute"' in line
    module = os.environ["NET"]
    code = f"from {module} import *\n\n\ndef make():\n    module, data = net(), (x, y)\n    {line}\n"
    Path(f"{module}_chosen.py").write_text(code)
    assert run("connect", "a.pt", "b.pt", "--landscape", f"{module}_chosen:make", "--method", "linear") == 0


OTHERS = """
import torch
from torch import nn

x, y = torch.randn(30, 4, generator=torch.Generator().manual_seed(0)), torch.arange(30) % 2


class Net(nn.Module):
    def __init__(self, frozen):
        super().__init__()
        self.register_buffer("steps", torch.tensor(0))
        self.first, self.second = nn.Linear(4, 3).requires_grad_(not frozen), nn.Linear(3, 2)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))
"""


@pytest.mark.parametrize("kind", ["count", "frozen.pt", "frozen.safetensors"])
def test_what_the_advice_says_does(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of buffers that cannot be recomputed, and of parameters that both checkpoints have frozen."""
    import importlib

    monkeypatch.syspath_prepend(".")
    name = f"others_{abs(hash(str(tmp_path)))}"
    Path(f"{name}.py").write_text(OTHERS)
    code = importlib.import_module(name)
    frozen, suffix = kind != "count", Path(kind).suffix or ".pt"
    files, exact, first = [f"a{suffix}", f"b{suffix}"], [], code.Net(frozen).first
    for file in files:
        module = code.Net(frozen)
        module.first = first if frozen else module.first
        module.steps += 0 if frozen else 7
        exact.append(nn.functional.cross_entropy(module(code.x), code.y).item())
        if suffix == ".pt":
            torch.save(module.state_dict(), file)
        else:
            pytest.importorskip("safetensors.torch").save_file(module.state_dict(), file)
    needs = "import safetensors.torch" if suffix == ".safetensors" else ""
    choice = '{"module": module, "loss": nn.functional.cross_entropy, "data": (x, y)}'

    def written(place: str, before: str, chosen: str) -> str:
        head = f"from {name} import *\n{needs}\n\ndef make():\n    module = Net({frozen})\n"
        Path(f"{name}_{place}.py").write_text(
            f"{head}{before}\n    loss, data = nn.functional.cross_entropy, (x, y)\n{chosen}\n"
        )
        return f"{name}_{place}:make"

    assert run("connect", *files, "--landscape", written("plain", "", f"    return {choice}")) == 1
    said = capsys.readouterr().err
    block = "\n".join(line for line in said.splitlines() if line.startswith("    "))
    assert "recompute" not in said
    advised = written("advised", block, f"    return {choice}") if frozen else written("advised", "", block)
    assert run("connect", *files, "--landscape", advised, "--method", "linear", "--json") == 0
    assert json.loads(capsys.readouterr().out)["height_ends"] == pytest.approx(exact, rel=1e-5)
    if not frozen:
        assert run("evaluate", *files, "--landscape", f"{name}_plain:make", "--json") == 0
        assert [row["loss"] for row in json.loads(capsys.readouterr().out)] == pytest.approx(exact, rel=1e-5)


def test_the_straight_line_has_one_barrier(modules: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("connect", "a.pt", "b.pt", "--landscape", own(), "--method", "linear", "--points", "5") == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    (barrier,) = (words[1] for words in lines if words[0] == "barrier" and words[1] != "above")
    (loss, again) = (words for words in lines if words[0] == "loss")
    assert float(loss[1]) == pytest.approx(float(barrier), rel=1e-4)
    (largest,) = (words[1] for words in lines if words[0] == "maximum")
    assert float(again[4]) == pytest.approx(float(largest), rel=1e-4)
    assert not any("straight" in words and "(straight" in words for words in lines)
