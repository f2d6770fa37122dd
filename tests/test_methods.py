"""Path methods as objects: each with its own options, from which find_path and the command line follow."""

from __future__ import annotations

import doctest
import importlib
import itertools
import json
import re
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from minilandscape_cli.main import app, main

import minilandscape as ml
from minilandscape import paths as all_paths
from minilandscape.landscape import PATH_DEFAULTS, FunctionLandscape
from minilandscape.networks import initial_vector, network_landscape
from minilandscape.paths import ComparisonInterrupted
from minilandscape.paths import methods as of_paths
from minilandscape.paths.bands import HALVINGS
from minilandscape.paths.compare import ENTRIES
from minilandscape.paths.method import Choice, Switch, options_of
from minilandscape.paths.methods import METHODS, OBJECTIVES, SOLVERS
from minilandscape.paths.search import as_method
from minilandscape.potentials import MullerBrown

LAND = MullerBrown()
ENDS = LAND.minima[:2]
SADDLE = -40.664844
#: A name with options, and the same as an object.
PAIRS: list[tuple[str, dict[str, Any], Any]] = [
    ("fourier", {"n_terms": 4, "n_points": 12, "solver": "adam"}, ml.Fourier(n_terms=4, n_points=12, solver="adam")),
    ("fourier", {"n_terms": 4, "n_points": 12, "lam": 2}, ml.Fourier(n_terms=4, n_points=12, lam=2.0)),
    ("linear", {"n_points": 7}, ml.Linear(n_points=7)),
    ("bezier", {"n_terms": np.int8(3), "n_points": 12}, ml.Bezier(n_terms=3, n_points=12)),
    ("polyline", {"n_terms": 3, "n_points": 12, "lr": None}, ml.Polyline(n_terms=3, n_points=12)),
    ("neb", {"n_points": 7}, ml.Neb(images=7)),
    ("neb", {"images": 7, "climb": False}, ml.Neb(images=7, climb=False)),
    ("autoneb", {"n_points": 7}, ml.AutoNeb(images=7)),
]


@pytest.mark.parametrize(("name", "options", "method"), PAIRS, ids=lambda x: str(x) if isinstance(x, str) else "")
def test_a_name_with_options_is_the_object(name: str, options: dict[str, Any], method: Any) -> None:
    assert as_method(name, options) == method
    assert hash(as_method(name, options)) == hash(method)
    assert eval(repr(method), vars(all_paths)) == method
    objective = {"objective": "sum"} if "lam" in options else {}
    if objective:
        method = ml.Fourier(n_terms=4, n_points=12, lam=2.0, objective="sum")
    steps = {} if name == "linear" else {"steps": 3}
    paths = [
        ml.find_path(LAND, *ENDS, name, **options, **objective, **steps),
        ml.find_path(LAND, *ENDS, method, **steps),
    ]
    assert np.array_equal(paths[0].coefficients, paths[1].coefficients)
    assert paths[0].metadata == paths[1].metadata


@pytest.mark.parametrize(
    ("method", "given"),
    [
        *((method, {}) for method in METHODS),
        *((method, {"objective": "sum", "power": 2, "offset": -200.0}) for method in ("fourier", "bezier", "polyline")),
    ],
)
def test_the_metadata_of_a_path_are_the_options_that_find_it_again(method: str, given: dict[str, Any]) -> None:
    steps = {"steps": 4} if METHODS[method].searches else {}
    path = ml.find_path(LAND, *ENDS, method, **given, **steps)
    known = {name: value for name, value in path.metadata.items() if name != "beta"}
    assert {*known} == {"method", *options_of(METHODS[method]), *steps}
    again = ml.find_path(LAND, *ENDS, **known)
    assert np.array_equal(again.coefficients, path.coefficients)
    assert again.metadata == path.metadata


def test_options_left_open_are_the_landscapes_own_or_else_those_of_all_others(
    small_mnist: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Own:
        size = 2
        path_defaults = {"n_terms": 3, "n_points": 12, "images": 5}  # noqa: RUF012

        def values_and_gradients(self, points: Any) -> Any:
            return LAND.values_and_gradients(points)

    of_curves = {"TERMS": 4, "TERMS_TO_THE_TOP": 4, "POINTS": 14, "POINTS_TO_THE_TOP": 14}
    for name, constant in {**of_curves, "IMAGES": 6}.items():
        monkeypatch.setattr(of_paths, name, constant)
    network = network_landscape("fcp", small_mnist.train[:20])
    vectors = [initial_vector("fcp", seed) for seed in (0, 1)]
    for land, ends, n_terms, n_points, images in (
        (Own(), ENDS, 3, 12, 5),
        (LAND, ENDS, 4, 14, 6),
        (network, vectors, 10, 50, 6),
    ):
        for method in METHODS.values():
            steps = {"steps": 1} if method.searches else {}
            path = ml.find_path(land, *ends, method(), **steps)
            expected = {"n_terms": n_terms, "n_points": n_points, "images": images}
            own = {name: expected[name] for name in options_of(method) if name in expected}
            assert {name: path.metadata[name] for name in own} == own
            assert len(path.t) in (n_points, images, 5)  # a band that has just begun to grow
    path = ml.find_path(Own(), *ENDS, n_terms=7, steps=1)
    assert (len(path.coefficients), len(path.t)) == (7, 12)
    function = FunctionLandscape(double_well, size=2)
    function.path_defaults = {"n_points": 9}
    assert len(ml.find_path(function, *WELLS, solver="adam", steps=1).t) == 9
    assert len(ml.find_path(function, *WELLS, "linear").t) == 9
    function.path_defaults = {"n_point": 9}
    with pytest.raises(ValueError, match="path_defaults of FunctionLandscape has 'n_point'; expected names"):
        ml.find_path(function, *WELLS)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"method": "neb", "n_terms": 3, "lam": 1.0}, ValueError, "n_terms, lam have no effect on the method 'neb'"),
        ({"method": "linear", "climb": False}, ValueError, "climb has no effect on the method 'linear': remove it"),
        ({"images": 7}, ValueError, "images has no effect on the method 'fourier': remove it"),
        ({"method": "linear", "checkpoint": "c"}, ValueError, "checkpoint has no effect on the method 'linear'"),
        ({"method": "neb", "images": 7, "n_points": 7}, ValueError, "n_points and images are one option of the method"),
        ({"method": ml.Neb(images=7), "images": 9}, ValueError, r"images: .*; give them to Neb\(images=7\) itself"),
        ({"method": ml.Neb}, TypeError, r"method is the class Neb; expected an object, Neb\(\)"),
        ({"method": 3}, TypeError, "method is 3; expected one of fourier, "),
        ({"n_term": 3}, TypeError, "find_path has no option 'n_term'; the method 'fourier' takes n_terms, n_points"),
        ({"method": "neb", "climb": 1}, ValueError, "climb is 1; expected True or False"),
        ({"method": "neb", "images": 2}, ValueError, "images is 2; expected at least 3, both endpoints included"),
        ({"method": "bezier", "solver": ["auto"]}, ValueError, r"solver is \['auto'\]; expected one of adam"),
        ({"offset": 1.0}, ValueError, "offset has no effect at power 1"),
        ({"lam": 1.0, "objective": "maxflux"}, ValueError, "lam belongs to the objective 'sum'"),
    ],
)
def test_what_a_method_does_not_take_is_refused_before_anything_is_evaluated(
    arguments: dict[str, Any], error: Any, message: str
) -> None:
    land = FunctionLandscape(LAND.values_and_gradients, size=2, batched=True)
    with pytest.raises(error, match=message) as refused:
        ml.find_path(land, *ENDS, **arguments)
    assert "\n" not in str(refused.value)
    assert land.evaluations.values == land.evaluations.gradients == 0


def test_a_band_without_a_climbing_image_stays_below_the_saddle_at_its_images() -> None:
    climbing, plain = (ml.find_path(LAND, *ENDS, ml.Neb(images=9, climb=climb)) for climb in (True, False))
    assert climbing.converged
    assert climbing.height == pytest.approx(SADDLE, abs=1e-5)
    assert plain.height < SADDLE - 0.1
    assert plain.maximum > SADDLE
    assert (climbing.metadata["climb"], plain.metadata["climb"]) == (True, False)


@pytest.mark.parametrize("module", ["methods", "search", "fourier", "compare"])
def test_the_examples_of_the_docstrings_are_right(module: str) -> None:
    found = doctest.testmod(importlib.import_module(f"minilandscape.paths.{module}"))
    assert found.attempted > 0
    assert found.failed == 0


def test_algorithm_2_step_by_step_is_the_search() -> None:
    options: dict[str, Any] = {"objective": "sum", "lr": 0.02, "lam": 3.0}
    states = list(itertools.islice(ml.FourierPathFinder(LAND, 4, 12, **options).steps(*ENDS), 10))
    path = ml.find_path(LAND, *ENDS, n_terms=4, n_points=12, steps=9, **options)
    assert path.history["cumulative_loss"].tolist() == [state.cumulative_loss for state in states]
    assert path.best_step > 3
    assert np.array_equal(path.coefficients, states[path.best_step].coefficients)
    with pytest.raises(ValueError, match="lr belongs to the solver 'adam'"):
        ml.FourierPathFinder(LAND, solver="auto", lr=0.1)


@pytest.mark.parametrize("method", METHODS.values(), ids=[*METHODS])
def test_every_option_is_explained_and_is_an_option_of_the_command(method: Any) -> None:
    described = f"{method.__doc__}"
    (connect,) = [c for name, c in typer.main.get_command(app).commands.items() if name == "connect"]  # type: ignore[attr-defined]
    flags = {param.name: param for param in connect.params}
    meant = {own: name for name, own in method.synonyms.items()}
    for each in fields(method):
        assert re.search(rf"^    (\w+, )*{each.name}(, \w+)*$", described, re.MULTILINE), each.name
        flag, kind = flags[meant.get(each.name, each.name)], each.metadata["kind"]
        assert f"--{flag.name.removeprefix('n_')}" in flag.opts
        assert kind.help in flag.help
        assert flag.default is None
        if isinstance(kind, Switch):
            assert flag.secondary_opts == [f"--no-{flag.name}"]
    assert isinstance(options_of(ml.Fourier)["solver"], Choice)
    assert (options_of(ml.Fourier)["solver"].names, options_of(ml.Fourier)["objective"].names) == (SOLVERS, OBJECTIVES)


def test_the_page_of_landscapes_lists_methods_and_options() -> None:
    page = (Path(__file__).parent.parent / "docs" / "howto" / "methods.md").read_text(encoding="utf-8")
    for method in METHODS.values():
        assert f'`"{method.name}"`' in page
        assert f"`ml.{method.__name__}`" in page
        assert {name for name in options_of(method) if f"`{name}`" not in page} == set()
    assert {name for name in PATH_DEFAULTS if f"`{name}`" not in page} == set()


# Comparisons -------------------------------------------------------------------------------------------------------


def double_well(x: np.ndarray) -> tuple[float, np.ndarray]:
    return float((x[0] ** 2 - 1) ** 2 + x[1] ** 2), np.array([4 * x[0] * (x[0] ** 2 - 1), 2 * x[1]])


WELLS = np.array([[-1.0, 0.3], [1.0, -0.2]])


def test_a_comparison_takes_methods_as_objects() -> None:
    methods = ("linear", ml.Neb(images=7), ml.Neb(climb=False), ml.Fourier(n_terms=2, solver="auto"), "polyline")
    found = ml.compare_methods(double_well, *WELLS, 400, methods=methods, images=9, n_terms=3, n_points=20)
    labels = ["linear", "Neb(images=7)", "Neb(climb=False)", "Fourier(n_terms=2, solver='auto')", "polyline"]
    assert [*found.paths] == [*found.curves] == labels
    assert [len(path.t) for path in found.paths.values()] == [20, 7, 9, 20, 20]
    assert [found.paths[label].metadata["n_terms"] for label in labels[3:]] == [2, 3]
    assert not found.errors
    objectives = [path.metadata.get("objective") for path in found.paths.values()]
    assert objectives == [None, None, None, "maxflux", "maxflux"]
    found = ml.compare_methods(double_well, *WELLS, 400, methods=methods, objective="smoothmax", climb=True)
    assert [path.metadata.get("objective") for path in found.paths.values()][3:] == ["smoothmax"] * 2
    with pytest.raises(ValueError, match=r"images has no effect on 'Neb\(images=7\)'; remove it"):
        ml.compare_methods(double_well, *WELLS, 400, methods=ml.Neb(images=7), images=9)


def test_a_comparison_runs_every_method_and_the_papers_with_every_solver() -> None:
    assert {type(method) for method in ENTRIES.values()} == {*METHODS.values()}
    assert [method.solver for method in ENTRIES.values() if isinstance(method, ml.Fourier)] == [*SOLVERS]


@pytest.mark.parametrize("error", [ValueError("it broke"), ZeroDivisionError("it broke")])
def test_a_comparison_keeps_what_was_found_where_a_method_raises(error: Exception) -> None:
    fails = 0

    def f(x: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal fails
        if fails:
            fails -= 1
            raise error
        return double_well(x)

    def fail(label: str, state: Any) -> None:
        nonlocal fails
        if label == "neb" and state.step == 2:
            fails = 1 + HALVINGS  # no part of the next move can be evaluated

    found = ml.compare_methods(f, *WELLS, 400, methods=("linear", "neb", "bezier"), progress=fail)
    assert [*found.curves] == ["linear", "neb", "bezier"]
    assert [*found.paths] == ["linear", "bezier"]
    assert "it broke" in str(found.errors["neb"])
    assert len(found.curves["neb"]) == 3
    assert {line.get_label().partition(":")[0] for line in found.plot().lines} >= {"bezier", "straight line"}
    with pytest.raises(ml.LandscapeError, match="it broke"):  # none comes to its end
        ml.compare_methods(f, *WELLS, 400, methods=("neb",), progress=fail)


def test_an_interrupted_comparison_hands_over_what_has_come_to_an_end() -> None:
    def stop(label: str, state: Any) -> None:
        if label == "neb" and state.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(ComparisonInterrupted) as stopped:
        ml.compare_methods(double_well, *WELLS, 400, methods=("linear", "neb"), progress=stop)
    assert [*stopped.value.finished.paths] == ["linear"]
    with pytest.raises(KeyboardInterrupt) as without:
        ml.compare_methods(double_well, *WELLS, 400, methods=("neb",), progress=stop)
    assert not isinstance(without.value, ComparisonInterrupted)


# The command line ---------------------------------------------------------------------------------------------------

ENERGIES = """
import numpy as np
calls = 0
def well(x):
    return float((x[0]**2 - 1)**2 + x[1]**2), np.array([4*x[0]*(x[0]**2 - 1), 2*x[1]])
class Own:
    size, path_defaults = 2, {"objective": "sum", "n_terms": 3, "n_points": 11}
    def values_and_gradients(self, points):
        found = [well(x) for x in points]
        return np.array([f for f, _ in found]), np.array([g for _, g in found])
def fails_once(x):
    global calls
    calls += 1
    if calls == 30: raise RuntimeError("no license")
    return well(x)
def interrupted(x):
    global calls
    calls += 1
    if calls > 700: raise KeyboardInterrupt
    return well(x)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "method_energies", raising=False)
    (tmp_path / "method_energies.py").write_text(ENERGIES)
    np.save("p.npy", WELLS)
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], command: str, landscape: str, *options: str) -> tuple[Any, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([command, "p.npy:0", "p.npy:1", "--landscape", f"method_energies:{landscape}", *options])
    captured = capsys.readouterr()
    return ended.value.code, captured.out, captured.err


def test_a_landscapes_own_objective_decides_which_options_go_with_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, "connect", "Own", "--lam", "0.3", "--steps", "2", "--json")
    assert code == 0
    assert len(json.loads(out)["losses"]) == 11
    code, _, err = run(capsys, "connect", "well", "--lam", "0.3")
    assert (code, "lam belongs to the objective 'sum' (this one is maxflux" in err) == (2, True)
    for arguments, message in (
        (
            ("--method", "neb", "--terms", "3", "--lam", "1"),
            "--terms, --lam: without effect on the method neb; remove them",
        ),
        (("--method", "bezier", "--no-climb"), "--climb: without effect on the method bezier; remove it"),
        (("--method", "linear", "--steps", "3"), "--steps: without effect on the method linear"),
        (("--points", "2"), "--points is '2': "),
    ):
        code, _, err = run(capsys, "connect", "well", *arguments)
        assert (code, message in err) == (2, True), err


def test_a_band_climbs_unless_it_is_told_not_to(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    heights = []
    for option in ("--climb", "--no-climb"):
        code, out, _ = run(capsys, "connect", "well", "--method", "neb", "--points", "6", option, "--json")
        assert code == 0
        heights.append(json.loads(out)["height"])
    assert heights[0] == pytest.approx(1, abs=1e-6)
    assert heights[1] < 0.95


def test_a_comparison_has_a_line_for_a_method_that_raised(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "compare", "fails_once", "--budget", "150", "--plot", "c.png")
    assert code == 0
    first, *others, wrote = out.splitlines()[1:]
    assert wrote.split() == ["wrote", "c.png"]
    assert re.fullmatch(r"fourier, adam +(- +){5}no +error: .*RuntimeError.*no license", first)
    assert [line[:20].strip() for line in others] == list(ENTRIES)[1:]
    barriers = {line[:20].strip(): float(line[20:].split()[0]) for line in others}
    assert barriers["neb"] == pytest.approx(1 - 0.09, abs=1e-2)  # above the higher endpoint
    assert (folder / "c.png").exists()
    sys.modules["method_energies"].calls = 0  # type: ignore[attr-defined]
    code, out, _ = run(capsys, "compare", "fails_once", "--budget", "150", "--json")
    rows = json.loads(out)["methods"]
    assert {name: row["error"] is None for name, row in rows.items()} == {n: n != "fourier, adam" for n in ENTRIES}
    code, _, err = run(capsys, "compare", "well", "--budget", "20", "--images", "30")
    assert (code, "the budget is 20 points; expected at least the 50 of one path" in err) == (2, True)


def test_an_interrupted_comparison_prints_what_it_has(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "compare", "interrupted", "--budget", "300")
    assert code == 130
    names = [line[:20].strip() for line in out.splitlines()[1:]]
    assert names == list(ENTRIES)[: len(names)]
    assert names
    assert err.splitlines()[-1] == "minilandscape: interrupted"


def test_the_help_shows_options_beside_the_methods_that_take_them(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        main(["connect", "--help"])
    sections = {
        title.strip(): set(re.findall(r"^  (--[\w-]+)", text, re.MULTILINE))
        for title, text in re.findall(r"^(\S.*):\n((?:  .*\n|\n)+)", capsys.readouterr().out, re.MULTILINE)
    }
    curves = {"--terms", "--objective", "--power", "--offset", "--lam", "--solver", "--lr"}
    assert sections["Path, only --method fourier, bezier, polyline"] == curves
    assert sections["Path, only --method neb, autoneb"] == {"--climb"}
    assert {"--points", "--steps", "--from"} <= sections["Path"]
    assert sections["Network and data"] >= {"--model", "--data", "--limit"}
