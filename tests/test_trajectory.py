"""Training trajectories and metrics on planes, and the page that shows them in three dimensions."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minilandscape as ml
from minilandscape.analysis.page import Curve, write_page
from minilandscape.potentials import MullerBrown

D = 6
AXES = np.linalg.qr(np.random.default_rng(3).standard_normal((D, 3)))[0].T


def square(x: Any) -> Any:
    return np.sum(x**2, axis=1), 2 * x


LAND = ml.FunctionLandscape(square, D, batched=True)


def run(n: int = 9, third: float = 0.0) -> np.ndarray:
    """Checkpoints that spiral in a plane towards 0.3 in all coordinates, and leave it a little."""
    t = np.linspace(0, 1, n)
    r = 2 * (1 - t)
    return 0.3 + (r * np.cos(t))[:, None] * AXES[0] + (0.4 * r * np.sin(4 * t))[:, None] * AXES[1] + (
        third * (-1) ** np.arange(n) * r
    )[:, None] * AXES[2]  # fmt: skip


def test_the_plane_of_a_trajectory_is_that_of_its_principal_components() -> None:
    sklearn = pytest.importorskip("sklearn.decomposition")
    checkpoints = run(third=0.05)
    found = ml.surface(LAND, trajectory=checkpoints, n=9)
    oracle = sklearn.PCA(2).fit(checkpoints)
    assert np.abs(np.sum(found.axes * oracle.components_, axis=1)) == pytest.approx([1, 1], abs=1e-9)
    assert found.trajectory.variance == pytest.approx(oracle.explained_variance_ratio_, rel=1e-9)
    assert found.origin == pytest.approx(checkpoints[-1])
    assert found.trajectory.points[-1] == pytest.approx([0, 0], abs=1e-12)
    assert found.trajectory.points[0, 0] < 0  # it runs to the right
    assert found.trajectory.values == pytest.approx(square(checkpoints)[0])
    rest = checkpoints - found.points(*found.trajectory.points.T)
    assert found.trajectory.distance == pytest.approx(np.linalg.norm(rest, axis=1).max())
    assert 0 < found.trajectory.distance < 0.2
    inside = (found.x[0] <= found.trajectory.points[:, 0]) & (found.trajectory.points[:, 0] <= found.x[-1])
    assert inside.all()


def test_a_trajectory_is_projected_onto_a_plane_through_points() -> None:
    checkpoints = run(third=0.2)
    points = checkpoints[-1] + np.stack([0 * AXES[0], AXES[0], AXES[1]])
    found = ml.surface(LAND, points, trajectory=list(checkpoints), n=5)
    t = found.trajectory
    assert t.points == pytest.approx((checkpoints - points[0]) @ found.axes.T)
    assert t.distance == pytest.approx(np.abs((checkpoints - points[0]) @ AXES[2]).max())
    assert found.x[0] < t.points[:, 0].min()
    assert found.y[-1] > t.points[:, 1].max()
    assert "principal" not in found.plot().get_xlabel()


def test_axes_say_how_much_of_the_variance_they_explain(tmp_path: Path) -> None:
    found = ml.surface(LAND, trajectory=run(), n=5)
    first, second = found.trajectory.variance
    assert first + second == pytest.approx(1)
    axes = found.plot()
    assert axes.get_xlabel() == f"principal component 1 ({100 * first:.1f} % of the variance)"
    assert f"{100 * second:.1f} %" in axes.get_ylabel()
    axes.figure.savefig(tmp_path / "plane.png")
    for axis in (axes.xaxis, axes.yaxis):
        box = axis.label.get_window_extent()
        assert box.x0 >= 0
        assert box.y0 >= 0
    found.save(tmp_path / "plane.npz")
    loaded = ml.load_surface(tmp_path / "plane.npz")
    for name in ("points", "values", "variance", "distance"):
        assert np.array_equal(getattr(loaded.trajectory, name), getattr(found.trajectory, name))
    assert loaded.plot().get_xlabel() == axes.get_xlabel()
    assert "9 checkpoints" in found.summary()


@pytest.mark.parametrize(
    ("trajectory", "message"),
    [
        (run()[:1], "at least two"),
        (np.outer(np.arange(4.0), np.ones(D)), "on one line"),
        (np.full((4, D), np.nan), "checkpoint 0 of the trajectory is not finite"),
        ([np.ones(D), np.ones(D + 1)], "equal size"),
        ([np.ones((2, D))], "expected one vector"),
    ],
)
def test_bad_trajectories_are_refused(trajectory: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ml.surface(LAND, trajectory=trajectory, n=3)
    with pytest.raises(TypeError, match="expected \\(K, D\\), or a list"):
        ml.surface(LAND, trajectory=3, n=3)


class Measured:
    size = 2

    def values_and_gradients(self, points: np.ndarray) -> Any:
        return square(points)

    def measure(self, points: np.ndarray) -> dict[str, np.ndarray]:
        return {"loss": square(points)[0], "accuracy": points[:, 0], "test loss": points[:, 1]}


def test_metrics_need_a_landscape_that_measures() -> None:
    with pytest.raises(ValueError, match="no method measure"):
        ml.surface(LAND, np.zeros((1, D)), metrics=True, n=3)
    with pytest.raises(ValueError, match="surface\\(…, metrics=True\\)"):
        ml.surface(LAND, np.zeros((1, D)), n=3).plot(quantity="accuracy")


def test_losses_and_accuracies_of_a_module_on_the_plane(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from minilandscape.adapters.torch import TorchLandscape

    torch.manual_seed(0)
    X = torch.randn(60, 3)
    Y = (X.sum(1) > 0).long()
    module = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 2))
    optimizer, states = torch.optim.Adam(module.parameters(), lr=0.05), []
    for _ in range(8):
        states.append({name: p.clone() for name, p in module.state_dict().items()})
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(module(X[:40]), Y[:40]).backward()
        optimizer.step()
    land = TorchLandscape(module, torch.nn.functional.cross_entropy, X[:40], Y[:40], test=(X[40:], Y[40:]))
    found = ml.surface(land, trajectory=states, metrics=True, n=5)
    plain = ml.surface(land, trajectory=np.stack([land.vector(s) for s in states]), n=5)
    assert found.values == pytest.approx(plain.values, rel=1e-5)
    assert set(found.metrics) == {"accuracy", "test loss", "test accuracy"}
    middle = land.load(found.points(found.x[1], found.y[3])[0])
    right = (middle(X[40:]).argmax(1) == Y[40:]).double().mean().item()
    assert found.metrics["test accuracy"][3, 1] == pytest.approx(right)
    found.save(tmp_path / "plane.npz")
    loaded = ml.load_surface(tmp_path / "plane.npz")
    assert all(np.array_equal(loaded.metrics[name], found.metrics[name]) for name in found.metrics)
    assert loaded.plot(quantity="test accuracy").figure is not None
    loaded.save_page(tmp_path / "plane.html")
    assert [q["name"] for q in content(tmp_path / "plane.html")["quantities"]] == ["loss", *found.metrics]


def content(file: Path) -> Any:
    """The numbers in a page."""
    return json.loads(re.search(r'<script id="data"[^>]*>(.*?)</script>', file.read_text("utf-8"), re.DOTALL).group(1))


def test_the_page_holds_all_that_it_shows_and_fetches_nothing(tmp_path: Path) -> None:
    file = tmp_path / "plane.html"
    land = MullerBrown()
    path = ml.find_path(land, *land.minima[:2], "linear", n_points=7)
    found = ml.surface(land, path=path, n=4)
    found.values[0, 0] = np.nan
    found.save_page(file, title="</script><b>&")
    text, held = file.read_text("utf-8"), content(file)
    assert not re.search(r"https?://|src=|@import|<link|fetch\(|XMLHttp", text)
    assert "</script><b>" not in text
    assert held["quantities"][0]["values"][0][0] is None
    expected = np.round(found.values, 2)
    shown = np.array([[np.nan if v is None else v for v in row] for row in held["quantities"][0]["values"]])
    assert np.round(shown, 2) == pytest.approx(expected, nan_ok=True, abs=0.011)
    assert held["curves"][0]["values"] == pytest.approx(path.values, rel=1e-6)
    assert [mark["name"] for mark in held["marks"]] == ["A", "B"]
    assert held["logarithmic"] is False

    class Tags(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.stack: list[str] = []

        def handle_starttag(self, tag: str, attrs: Any) -> None:
            if tag not in ("meta", "input"):
                self.stack.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert self.stack.pop() == tag

    parser = Tags()
    parser.feed(text)
    assert not parser.stack


def test_a_page_starts_with_logarithmic_heights_where_positive_values_span_decades(tmp_path: Path) -> None:
    x = np.linspace(-1, 1, 5)
    values = 1e-3 + x[:, None] ** 2 + x**2
    line = Curve("line", np.stack([x, x], axis=1), np.zeros(0), dots=True)
    write_page(tmp_path / "a.html", x, x, {"loss": values}, curves=[line])
    assert content(tmp_path / "a.html")["logarithmic"] is True
    with pytest.raises(ValueError, match="no finite value"):
        write_page(tmp_path / "a.html", x, x, {"loss": np.full((5, 5), np.nan)})
    with pytest.raises(ValueError, match="has shape"):
        write_page(tmp_path / "a.html", x, x, {"loss": values[1:]})
    with pytest.raises(ValueError, match="no quantity"):
        write_page(tmp_path / "a.html", x, x, {})


def test_a_trajectory_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from minilandscape_cli.main import main

    def command(*arguments: str) -> int:
        with pytest.raises(SystemExit) as ended:
            main(["surface", *arguments, "--landscape", "bowl_of_run:f", "--n", "5"])
        return int(ended.value.code or 0)

    monkeypatch.chdir(tmp_path)
    Path("bowl_of_run.py").write_text("def f(x):\n    return float(x @ x), 2 * x\n")
    checkpoints = run()
    np.save("run.npy", checkpoints)
    files = [f"{k}.npy" for k in range(len(checkpoints))]
    for file, checkpoint in zip(files, checkpoints, strict=True):
        np.save(file, checkpoint)
    expected = ml.surface(lambda x: (x @ x, 2 * x), trajectory=checkpoints, n=5)
    for given in (["run.npy"], files):
        assert command(*given, "--trajectory", "--json") == 0
        found = json.loads(capsys.readouterr().out)
        assert found["values"] == pytest.approx(expected.values)
        assert found["trajectory"]["points"] == pytest.approx(expected.trajectory.points)
    assert command("run.npy", "--trajectory", "--plot", "run.png") == 0
    assert "9 checkpoints" in capsys.readouterr().out
    for arguments, message in (
        (files, "--trajectory makes the plane of their principal components"),
        ([*files, "--trajectory", "--seed", "1"], "--seed: of random directions, which this plane does not have"),
        ([*files, "--trajectory", "--radius", "1"], "--radius: "),
        (["0.npy", "--trajectory"], "--trajectory: 1 checkpoint in FILE; a plane takes 3 or more"),
        (["--trajectory"], "nothing to lay a plane through"),
    ):
        assert command(*arguments) != 0
        assert message in " ".join(capsys.readouterr().err.split())
