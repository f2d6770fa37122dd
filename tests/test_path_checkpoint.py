"""A search that is killed resumes bit-identically."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minilandscape.files import read_result, write_result
from minilandscape.landscape import FunctionLandscape, LandscapeDefaults
from minilandscape.networks import initial_vector, network_landscape
from minilandscape.pairs import search
from minilandscape.paths import checkpoint as checkpoints
from minilandscape.paths import find_path
from minilandscape.potentials import Fig3


class Killed(BaseException):
    """As a process is killed: nothing is tidied up."""


class KilledAfter(LandscapeDefaults):
    """A landscape whose process is killed after so many calls."""

    def __init__(self, inner: Any, calls: int) -> None:
        self.inner, self.left = inner, calls
        self.size, self.dtype, self.path_defaults = inner.size, inner.dtype, inner.path_defaults
        self.quantity, self.narrow_minima = inner.quantity, inner.narrow_minima

    def span(self, basis: Any) -> Any:
        span, owner = self.inner.span(basis), self

        class Counting:
            weighs_in_a_second_pass = getattr(span, "weighs_in_a_second_pass", False)

            def __getattr__(self, name: str) -> Any:
                if name in ("values", "values_and_pullback"):
                    owner.left -= 1
                    if owner.left < 0:
                        raise Killed
                return getattr(span, name)

        return Counting()

    def values_and_gradients(self, points: Any) -> Any:
        return self.inner.values_and_gradients(points)


def killed_again_and_again(run: Any, inner: Any, every: int) -> tuple[Any, int]:
    """The result of a search that is killed after so many calls, until it comes to its end."""
    kills = 0
    while True:
        try:
            return run(KilledAfter(inner, every)), kills
        except Killed:
            kills += 1
            assert kills < 200, "it does not get anywhere"


def assert_same(a: Any, b: Any) -> None:
    for name in ("coefficients", "values", "t"):
        assert np.array_equal(getattr(a, name), getattr(b, name)), name
    for name, curve in a.history.items():
        assert np.array_equal(curve, b.history[name]), name
    for name in ("best_step", "reason", "evaluations", "maximum", "maximum_t", "height_linear", "metadata", "rounds"):
        assert getattr(a, name) == getattr(b, name), name


@pytest.mark.parametrize(
    ("model", "options", "every"),
    [
        ("fcp", {"solver": "adam", "steps": 45}, 36),
        ("lstm", {"solver": "lbfgs-gss", "steps": 32}, 50),
        ("lstm", {"solver": "auto", "steps": 16}, 110),
        (None, {"solver": "adam", "steps": "auto", "objective": "sum"}, 60),
        (None, {"method": "bezier", "solver": "lbfgs-gss", "steps": 25, "objective": "sum"}, 30),
        (None, {"method": "polyline", "solver": "adam", "steps": 25, "objective": "sum"}, 20),
    ],
)
def test_a_search_that_is_killed_goes_on_with_the_same_bits(
    model: str | None,
    options: dict[str, Any],
    every: int,
    small_mnist: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    if model is None:
        land, ends = Fig3(), [np.array(Fig3.START), np.array(Fig3.END)]
    else:
        land = network_landscape(model, small_mnist.train[:40])
        ends = [initial_vector(model, np.random.default_rng(s)) for s in (1, 2)]
    options = {"n_terms": 4, "n_points": 12, **options}
    whole = find_path(land, *ends, **options)
    file = tmp_path / "search.npz"
    found, kills = killed_again_and_again(
        lambda dying: find_path(dying, *ends, checkpoint=file, **options), land, every
    )
    assert kills > 0
    assert_same(found, whole)
    with pytest.raises(ValueError, match="checkpoint of another search"):
        find_path(land, *ends, checkpoint=file, **{**options, "lam": 0.5})
    with pytest.raises(ValueError, match="checkpoint serves the objective 'sum'"):
        find_path(Fig3(), Fig3.START, Fig3.END, checkpoint=file)


def test_looks_at_the_maximum_are_counted_once_in_a_search_that_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No sample point shows the ridge, which no path avoids: every path is measured between the points."""
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)

    def hill(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        a, b = x.T
        ridge, top = 0.3 * np.exp(-((a - 0.5) ** 2) / 1e-3), np.exp(-((a - 0.5) ** 2) / 0.02 - b**2 / 0.18)
        slope = -ridge * (a - 0.5) / 5e-4 - top * (a - 0.5) / 0.01 - 0.3
        return ridge + top - 0.3 * a, np.stack([slope, -top * b / 0.09], 1)

    land = FunctionLandscape(hill, size=2, batched=True)
    ends = np.array([[0.0, 0.01], [1.0, 0.02]])
    options: dict[str, Any] = {"objective": "sum", "n_points": 12, "n_terms": 4, "lam": 1.0, "target_barrier": 0.0}
    options |= {"solver": "adam", "steps": 40, "lr": 0.1}  # at which L rises now and then
    whole = find_path(land, *ends, **options)
    assert whole.evaluations.values > 100
    file = tmp_path / "search.npz"
    found, kills = killed_again_and_again(lambda dying: find_path(dying, *ends, checkpoint=file, **options), land, 20)
    assert kills > 2
    assert_same(found, whole)


def test_searches_of_a_pair_that_are_killed_go_on_where_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An under-resolved path, and its continuation with twice as many sample points."""
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)

    class DoubleWell(LandscapeDefaults):
        size = 2

        def values_and_gradients(self, x: Any) -> Any:
            slope = np.stack([4 * x[:, 0] * (x[:, 0] ** 2 - 1), 2 * x[:, 1]], axis=1)
            return (x[:, 0] ** 2 - 1) ** 2 + x[:, 1] ** 2, slope

    ends = np.array([[-1.0, 0.0], [1.0, 0.0]])
    options: dict[str, Any] = {"solver": "auto", "objective": "sum", "lam": 1e-3, "n_points": 12, "steps": "auto"}
    whole = search.find_low(DoubleWell(), *ends, options, 100)
    assert len(whole[0].t) > 12
    file = tmp_path / "task.npz"
    found, kills = killed_again_and_again(
        lambda dying: search.find_low(dying, *ends, options, 100, file), DoubleWell(), 30
    )
    assert kills > 2
    assert_same(found[0], whole[0])
    assert found[1:] == whole[1:]
    (tmp_path / "task.npz.before.npz").write_bytes(b"damaged")  # begins anew
    again = search.find_low(DoubleWell(), *ends, options, 100, file)
    assert_same(again[0], whole[0])


def test_a_checkpoint_is_of_its_options_in_whatever_order_they_were_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    file, steps = tmp_path / "search.npz", []
    search = partial(find_path, Fig3(), Fig3.START, Fig3.END, objective="sum", steps=9, checkpoint=file)

    def kill(state: Any) -> None:
        if state.step == 6:
            raise Killed

    with pytest.raises(Killed):
        search(progress=kill)
    arrays, described = read_result(file, checkpoints.KIND)
    known = json.loads(described["known"])
    described["known"] = json.dumps(dict(reversed(known.items())))
    named = {name: value for name, value in described.items() if name not in ("format", "kind")}
    write_result(file, checkpoints.KIND, arrays, named)
    search(progress=lambda state: steps.append(state.step))
    assert steps == [6, 7, 8, 9]
