"""The paper's campaign: plan, statistics, and the smoke scale from nothing to a report, killed and resumed."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from html import escape, unescape
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from minilandscape_cli.main import main
from scipy.spatial.distance import pdist
from scipy.stats import norm, permutation_test
from sklearn.metrics import roc_auc_score

from minilandscape.analysis.curvature import curvature
from minilandscape.analysis.permutation import (
    PERMUTATIONS,
    Comparison,
    Separation,
    compare_centroids,
    compare_distances,
    compare_runs,
    compare_same_runs,
    relabelings,
    separation,
)
from minilandscape.backend import DeviceError, device_module, set_threads, thread_count
from minilandscape.data import Mnist, load_mnist
from minilandscape.figures.files import draw
from minilandscape.figures.heights import LEAST_BARRIER, plot_heights
from minilandscape.files import json_text
from minilandscape.landscape import FunctionLandscape
from minilandscape.networks import MODELS, model_size, network_landscape
from minilandscape.pairs import NamedRecipe, disjoint, draw_pairs
from minilandscape.pairs.connect import pair_task, set_task
from minilandscape.pairs.search import find_low
from minilandscape.paper import measures, tables, work
from minilandscape.paper import reproduce as reproduce_module
from minilandscape.paper.answer import plot_courses
from minilandscape.paper.figures import paper_figures
from minilandscape.paper.margin import against_margin
from minilandscape.paper.measures import relative
from minilandscape.paper.plan import (
    NO_BARRIER,
    OPTIMIZERS,
    NetworkPlan,
    Plan,
    image_counts,
    load_plan,
    read_overrides,
    save_plan,
)
from minilandscape.paper.plan_tasks import NetworkTasks, plan_tasks
from minilandscape.paper.plots import plot_figure1
from minilandscape.paper.report import render_report
from minilandscape.paper.reproduce import campaign_status, estimate, write_report
from minilandscape.paper.results import collect, isotropic
from minilandscape.paper.statements import TOPICS, of_kernels, of_paths, of_scans
from minilandscape.paper.verdicts import verdict, verdict_apart
from minilandscape.paths import find_path, methods
from minilandscape.paths.solvers import FewPointsFirst
from minilandscape.tasks import Store, Task, run_tasks
from minilandscape.training.options import run_options

#: What the paper prints of each network: Table 1's parameters, and mean training losses of L-BFGS-GSS and SGD.
PRINTED = {
    "fcp": (42_200, 1.26e-8, 6.21e-4),
    "lenet": (61_706, 3.35e-8, 1.76e-5),
    "autoencoder": (52_224, 1.69e-2, 4.57e-2),
    "lstm": (15_456, 1.63e-6, 1.35e-2),
}


@pytest.mark.parametrize("model", MODELS)
def test_every_number_of_the_full_plan_is_the_papers(model: str) -> None:
    """As its tasks have them, on the images that there are."""
    plan = Plan.make("full", "paper", data="auto", data_key="mnist", only=(model,)).within(60_000, 10_000)
    tasks = NetworkTasks(plan, model)
    n_prm, lbfgs, sgd = PRINTED[model]
    assert model_size(model) == n_prm
    seeds = []
    for optimizer, loss in (("lbfgs-gss", lbfgs), ("sgd", sgd)):
        runs = [task.options for task in tasks.runs(optimizer)]
        assert len(runs) == 75  # "75 different random initializations of weights and biases for each optimizer type"
        seeds += [run["train"]["seed"] for run in runs]
        assert {run["train"]["train_size"] for run in runs} == {50_000}
        assert {run["train"]["loss_floor"] for run in runs} == {loss}
        # Early stopping and test losses: all 10,000 test images; mini-batches of 64.
        assert {min(run["test_curve"], 10_000) for run in runs} == {10_000}
        used = run_options(model, **runs[0]["train"])
        assert used.get("batch_size") == (64 if optimizer == "sgd" else None)
    assert len(set(seeds)) == 150
    losses = [({"train": np.zeros(1), "test": np.zeros(1), "test_loss": np.zeros(1)}, _minima(k)) for k in range(75)]
    kept, _ = work.solution_set({"seeds": list(range(75))}, losses, Path())
    assert kept["seeds"].tolist() == list(range(48))  # "48 solutions with the lowest training loss"
    for landscape, optimizer, weights in tasks.sets:
        paths = [task.options for task in tasks.paths(landscape, optimizer, weights, "adam")]
        assert len({frozenset(path["pair"]) for path in paths}) == len(paths) == 300
        for path in paths:
            assert path["path"] == {"n_terms": 10, "n_points": 50, "lam": 1e-4, "solver": "adam", "steps": 100}
            assert path["images"] == 50_000  # of the test landscape all that there are
    # Fig. 4: four sets on the training landscape; Fig. S2: both sets of test weights on the test landscape.
    assert sorted(tasks.sets) == sorted(
        [("train", o, w) for o in OPTIMIZERS for w in ("train", "test")] + [("test", o, "test") for o in OPTIMIZERS]
    )
    assert image_counts(plan.as_dict(), model) == {"train": 50_000, "test_landscape": 10_000, "test_curves": 10_000}


def _minima(k: int) -> dict[str, Any]:
    """The record of a run whose losses are k."""
    minima = {f"{name}_minimum": {"loss": float(k), "epoch": 0} for name in ("train", "test")}
    return {**minima, "reason": "epochs", "data": {}}


def test_the_table_of_the_plan_has_the_papers_column() -> None:
    """Each number that the paper names is that of the full plan; the departures of the authors' variant are known."""
    for variant, departures in (("paper", set()), ("authors", {"training images"})):
        plan = Plan.make("full", variant, data="auto", data_key="mnist").within(60_000, 10_000)
        head, rows = tables.plan(plan.as_dict())
        assert head == ["", "paper", "FCP", "LeNet", "Autoencoder", "LSTM"]
        named = [(name, said.split(", "), own) for name, said, *own in rows if said not in ("–", "for each optimiser")]
        differ = {
            name
            for name, said, own in named
            if [text.replace(",", "") for text in own] != [text.replace(",", "") for text in (said * 4)[-4:]]
        }
        assert differ == departures
    small = Plan.make("small", data="auto", data_key="mnist").within(60_000, 10_000)
    for name, *cells in tables.plan(small.as_dict()).rows:
        assert all(cells), name
    network = next(iter(plan.networks.values()))
    numbers = {name: value for name, value in vars(network).items() if isinstance(value, (int, float))}
    assert len(numbers) == 20, "a number of the plan was added: the table must list it"


def test_the_full_plan_draws_pairs_at_random_and_tests_all_that_share_no_run() -> None:
    plan = Plan.make("full", data="auto", data_key="mnist")
    assert list(plan.networks) == list(MODELS)
    assert plan.variant == "authors"
    assert [n.sgd_epochs for n in plan.networks.values()] == [75] * 4
    tasks = plan_tasks(Plan.make("full", data="auto", data_key="mnist", only=("lstm",)))
    measures = 4 * (1 + 8) + 2 * 2 * (4 + 4)  # losses and Hessians of four sets, N_F and M on a pair of each optimiser
    assert len(tasks) == 2 * (75 + 1) + 2 * 6 * 300 + measures
    assert len({task.id for task in tasks}) == len(tasks)
    pairs = NetworkTasks(plan, "fcp").pairs("sgd")
    assert len({frozenset(pair) for pair in pairs}) == 300
    assert pairs != NetworkTasks(plan, "fcp").pairs("lbfgs-gss")
    uses = np.bincount(np.ravel(pairs), minlength=48)
    assert uses.max() > uses.min() + 2  # rounds would use all equally often
    assert abs(np.mean([i < j for i, j in pairs]) - 0.5) < 0.1
    for model, optimizer in itertools.product(MODELS, OPTIMIZERS):
        pairs = NetworkTasks(plan, model).pairs(optimizer)
        chosen = disjoint(pairs)
        assert len(chosen) == 24  # no more can be had of 48 vectors
        assert len(set(np.ravel([pairs[k] for k in chosen]))) == 48
    rounds = NetworkTasks(Plan.make("full", data="", data_key="", overrides={"pairing": "rounds"}), "fcp").pairs("sgd")
    assert disjoint(rounds) == list(range(24))
    uses = np.bincount(np.ravel(rounds), minlength=48)
    assert uses.min() >= 10
    assert uses.max() <= 15
    assert Plan.from_dict(json.loads(json.dumps(plan.as_dict()))) == plan


def test_as_many_pairs_as_possible_are_independent() -> None:
    star = [[0, k] for k in range(1, 5)]
    assert len(disjoint(star)) == 1
    path = [[1, 2], [0, 1], [2, 3]]  # the first alone would leave no other
    assert disjoint(path) == [1, 2]
    rng = np.random.default_rng(0)
    for _ in range(5):
        pairs = [tuple(map(int, rng.choice(9, 2, replace=False))) for _ in range(8)]
        most = max(
            len(some)
            for n in range(1, 5)
            for some in itertools.combinations(pairs, n)
            if len({run for pair in some for run in pair}) == 2 * n
        )
        chosen = [pairs[k] for k in disjoint(pairs)]
        assert len(chosen) == most
        assert len({run for pair in chosen for run in pair}) == 2 * most


def test_runs_end_at_losses_of_their_own_or_none() -> None:
    common: dict[str, Any] = {"data": "auto", "data_key": "mnist"}
    for scale in ("small", "full"):
        plan = Plan.make(scale, **common)
        assert {m: (n.target("lbfgs-gss"), n.target("sgd")) for m, n in plan.networks.items()} == {
            model: losses for model, (_, *losses) in PRINTED.items() for losses in [tuple(losses)]
        }
        for network in Plan.make(scale, **common, targets="none").networks.values():
            assert (network.target("lbfgs-gss"), network.target("sgd")) == (0, 0)
    with pytest.raises(ValueError, match="targets are 'paper'; expected one of table1, none"):
        Plan.make("small", **common, targets="paper")
    shared = NetworkTasks(Plan.make("full", **common, overrides={"initial": "shared"}), "lstm")
    assert [run.options["train"]["seed"] for run in shared.runs("sgd")] == list(range(75))
    for own, message in (({"initial": "mine"}, "initial is 'mine'; expected one of"), ({"pairing": 3}, "expected str")):
        with pytest.raises(ValueError, match=message):
            Plan.make("small", **common, overrides=own)


def test_pairs_depend_on_the_seed() -> None:
    chosen = []
    for seed in (0, 0, 1):
        tasks = NetworkTasks(Plan.make("small", data="auto", data_key="mnist", seed=seed), "fcp")
        chosen.append([tasks.pairs(optimizer) for optimizer in OPTIMIZERS])
    assert chosen[0] == chosen[1] != chosen[2]
    assert chosen[0][0] != chosen[0][1]


@pytest.mark.parametrize("variant", ["paper", "authors"])
def test_everything_of_the_full_plan_is_on_all_test_images(variant: str) -> None:
    plan = Plan.make("full", variant, data="auto", data_key="mnist").within(60_000, 10_000)
    n_train = {"paper": 50_000, "authors": 60_000}[variant]
    tasks = [task.options for task in plan_tasks(plan)]
    runs = [(options["test_curve"], options["train"]["train_size"]) for options in tasks if "train" in options]
    assert set(runs) == {(10_000, n_train)}
    assert {options["images"] for options in tasks if "landscape" in options} == {
        n_train
    }  # the first of so many, or all
    for model in MODELS:
        counts = image_counts(plan.as_dict(), model)
        assert counts == {"train": n_train, "test_landscape": 10_000, "test_curves": 10_000}
    small = Plan.make("small", data="auto", data_key="mnist5k").within(4000, 1000)
    assert image_counts(small.as_dict(), "fcp") == {"train": 4000, "test_landscape": 1000, "test_curves": 1000}
    assert image_counts(small.as_dict(), "lenet") == {"train": 500, "test_landscape": 500, "test_curves": 1000}


def test_pages_and_figures_say_on_how_many_test_images_they_are() -> None:
    plan = Plan.make("small", data="auto", data_key="mnist").within(60_000, 10_000)
    page = render_report({"plan": plan.as_dict(), "networks": {}}, {}, {}, "")
    for what, n in (("curves, early stopping", "2,000"), ("test landscape", "5,000")):
        assert re.search(rf"test images: {what}</td><td[^>]*>10,000</td><td>{n}</td>", page)
    one = {"mean": 0.1, "sd": 0.0, "n": 2}
    both = {o: {w: one for w in ("train", "test")} for o in OPTIMIZERS}
    network = {
        "kept": 40,
        "searches": {"adam": "100 Adam steps"},
        "curves": {},
        "table1": both,
        "tableS1": {o: {w: {"mu": 0.0, "sigma": 0.1} for w in ("train", "test")} for o in OPTIMIZERS},
        "lengths": {w: {"lbfgs-gss": [1.0, 2.0], "sgd": [1.5], "centroid_distance": 0.5} for w in ("train", "test")},
        "kpca": {"train": {}, "test": {}},
        "statements": [],
        "heights": [
            {
                "landscape": where,
                "solver": "adam",
                "optimizer": "sgd",
                "weights": "test",
                "height": [0.1],
                "barrier": [0.0],
            }
            | {name: [1] for name in ("maximum", "linear", "steps", "still")}
            | {"asked": 1}
            for where in ("train", "test")
        ],
    }
    results = {"plan": plan.as_dict(), "networks": {"fcp": network}}
    page = render_report(results, {}, {}, "")
    assert "FCP, at 5,000 images" in page
    assert "Test losses, and with them early stopping and the test weights, are of the first 2,000 test images" in page
    figures = paper_figures(results)
    for name, images in (("figure4", "5,000 images"), ("figureS2", "5,000 test images")):
        title = figures[name].axes[0].get_title()
        assert title == f"a  FCP: {images}, 40 of 62 runs\ntest curves of 2,000 images"


def test_tasks_depend_on_numbers_and_not_on_how_they_are_written(tmp_path: Path) -> None:
    common: dict[str, Any] = {"data": "auto", "data_key": "mnist", "only": ("fcp",)}
    (tmp_path / "whole.toml").write_text("lr = 1\nlam = 0\nsgd_floor = 0\nloss_floor = 0\n")
    (tmp_path / "real.toml").write_text("\ufefflr = 1.0\nlam = 0.0\nsgd_floor = 0.0\nloss_floor = 0e0\n")
    plans = [
        Plan.make("smoke", **common, overrides=read_overrides(tmp_path / f"{name}.toml")) for name in ("whole", "real")
    ]
    ours = {"lr": np.float32(1), "lam": np.int64(0), "sgd_floor": np.float64(0), "loss_floor": 0, "runs": np.int16(3)}
    plans.append(Plan.make("smoke", **common, seed=np.uint8(0), overrides=ours))
    first, *others = ([task.id for task in plan_tasks(plan)] for plan in plans)
    assert others == [first, first]
    for plan in plans:
        save_plan(plan, Store(tmp_path))  # none has other numbers
    assert json.loads(json.dumps(plans[2].as_dict())) == plans[0].as_dict()
    old = json.loads((tmp_path / "plan.json").read_text())
    old["networks"]["fcp"]["lr"] = 1  # as version 0.1 kept it
    (tmp_path / "plan.json").write_text(json.dumps(old))
    assert load_plan(Store(tmp_path)) == plans[0]
    options = {"k": 3, "x": 0.5, "rows": [1, 2]}
    theirs = {"k": np.int64(3), "x": np.float32(0.5), "rows": np.array([1, 2])}
    assert Task("a", "m:f", theirs).id == Task("a", "m:f", options).id
    with pytest.raises(TypeError, match=r"options hold .* a set; expected what JSON can hold"):
        _ = Task("a", "m:f", {"k": {1}}).id


@pytest.mark.parametrize(("scale", "digest"), [("smoke", "5f688b30b26e389b"), ("small", "4cd98cf25f913019")])
def test_runs_of_version_0_1_still_count(scale: str, digest: str) -> None:
    tasks = plan_tasks(Plan.make(scale, data="auto", data_key="mnist", overrides={"loss_floor": 1e-8}))
    ids = [task.id for task in tasks if "-seed" in task.name or task.name.endswith("-set")]
    assert hashlib.sha256(" ".join(ids).encode()).hexdigest()[:16] == digest


def test_folders_of_version_0_1_load_as_they_were(tmp_path: Path) -> None:
    """Their plans name none of what was added since, and none of it is run."""
    plan = Plan.make("small", data="auto", data_key="mnist", overrides={"loss_floor": 1e-8})
    metadata = plan.as_dict()
    added = ("initial", "pairing", "averages", "curvatures", "resolutions", "target_barrier", "still_gradients")
    for network in metadata["networks"].values():
        for name in added:
            del network[name]
    (tmp_path / "plan.json").write_text(json.dumps(metadata))
    old = load_plan(Store(tmp_path))
    ids = [task.id for task in plan_tasks(old)]
    assert hashlib.sha256(" ".join(ids).encode()).hexdigest()[:16] == "ca27f79b54e68ff4"
    assert "left" in vars(campaign_status(tmp_path))
    with pytest.raises(ValueError, match=r"other numbers: fcp's averages was False, is True, .* --change-plan"):
        save_plan(plan, Store(tmp_path))


def test_no_run_of_the_small_plan_is_in_two_pairs_of_a_set() -> None:
    plan = Plan.make("small", data="auto", data_key="mnist")
    for model, network in plan.networks.items():
        assert network.kept == 2 * network.pairs
        for optimizer in ("sgd", "lbfgs-gss"):
            assert sorted(np.ravel(NetworkTasks(plan, model).pairs(optimizer))) == list(range(network.kept))
    few = Plan.make("small", data="auto", data_key="mnist", overrides={"runs": 4, "pairs": 9})
    assert sorted(sorted(pair) for pair in NetworkTasks(few, "fcp").pairs("sgd")) == [[0, 1], [0, 2], [1, 2]]


def test_numbers_can_be_overridden_and_are_checked() -> None:
    common: dict[str, Any] = {"data": "auto", "data_key": "mnist"}
    plan = Plan.make("small", **common, overrides={"runs": 4, "fcp": {"pairs": 2, "lam": 1e-3}})
    assert [network.runs for network in plan.networks.values()] == [4] * 4
    assert (plan.networks["fcp"].pairs, plan.networks["autoencoder"].pairs) == (2, 8)
    for overrides, message in (
        ({"run": 3}, "a plan has no 'run'"),
        ({"runs": 0}, "expected at least 1"),
        ({"runs": 1}, "expected at least 2 runs to pair"),
        ({"runs": "many"}, "expected int"),
        ({"pairs": 0}, "pairs is 0; expected at least 1"),
        ({"lr": -5.0}, "lr is -5.0; expected a number above 0"),
        ({"lam": -3.0}, "lam is -3.0; expected at least 0"),
        ({"lam": float("nan")}, "lam is nan; expected at least 0"),
        ({"still_steps": -1}, "still_steps is -1; expected at least 0"),
        ({"fcp": 3}, r"fcp is 3; expected a table of numbers, \[fcp\]"),
    ):
        with pytest.raises(ValueError, match=message):
            Plan.make("small", **common, overrides=overrides)
    for seed in (-1, 1.5):
        with pytest.raises(ValueError, match=f"seed is {seed}; expected a whole number"):
            Plan.make("small", **common, seed=seed)
    for own, message in (({"runs": 8.5}, "runs is 8.5; expected int"), ({"lr": None}, "lr is None; expected float")):
        with pytest.raises(TypeError, match=message):
            NetworkPlan(**{"runs": 8, "pairs": 1, "train_size": 10, **own})
    with pytest.raises(ValueError, match="no network is called 'vgg'"):
        Plan.make("small", **common, only=("vgg",))
    with pytest.raises(ValueError, match="scale is 'big'"):
        Plan.make("big", **common)
    assert NetworkPlan(12, 20, 5000).sgd_epochs == 886
    few = plan.within(1000).networks
    assert (few["fcp"].train_size, few["lenet"].train_size) == (1000, 500)


def test_other_numbers_in_the_same_folder_are_named(tmp_path: Path) -> None:
    def plan(runs: int, *only: str) -> Plan:
        return Plan.make("small", data="auto", data_key="mnist", only=only, overrides={"runs": runs})

    store = Store(tmp_path)
    save_plan(plan(8, "fcp"), store)
    save_plan(plan(5, "lstm"), store)
    with pytest.raises(ValueError, match=r"other numbers: fcp's runs was 8, is 7; .* --change-plan"):
        save_plan(plan(7, "fcp", "lenet"), store)
    assert {m: n.runs for m, n in load_plan(store).networks.items()} == {"fcp": 8, "lstm": 5}
    save_plan(plan(7, "fcp", "lenet"), store, change=True)
    assert {m: n.runs for m, n in load_plan(store).networks.items()} == {"fcp": 7, "lstm": 5, "lenet": 7}


def test_damaged_plans_are_named_and_damaged_costs_done_without(tmp_path: Path) -> None:
    store = Store(tmp_path)
    save_plan(Plan.make("small", data="auto", data_key="mnist"), store)
    (tmp_path / "costs.json").write_text("cut o")
    assert len(campaign_status(tmp_path).left) > 600
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(ValueError, match=r"plan.json is no plan, or is damaged"):
        campaign_status(tmp_path)


def test_commands_that_begin_together_lose_no_network(tmp_path: Path) -> None:
    def save(model: str) -> None:
        save_plan(Plan.make("small", data="auto", data_key="mnist", only=(model,)), Store(tmp_path))

    with ThreadPoolExecutor(4) as executor:
        list(executor.map(save, MODELS))
    assert set(load_plan(Store(tmp_path)).networks) == set(MODELS)


def test_options_take_precedence_over_the_file(
    data_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "plan.toml").write_text("pairs = 3\n[fcp]\nruns = 7\nsteps = 9\n")
    options = ["reproduce", "--scale", "small", "--only", "fcp", "--data", str(data_file), "--out", str(tmp_path / "f")]
    with pytest.raises(SystemExit) as ended:
        main([*options, "--config", str(tmp_path / "plan.toml"), "--runs", "4", "--dry-run", "--json"])
    assert not ended.value.code
    out, err = capsys.readouterr()
    fcp = json.loads(out)["networks"]["fcp"]
    assert (fcp["runs"], fcp["steps"], fcp["pairs"]) == (4, 9, 3)
    n = len(np.load(data_file)["x_train"])
    assert fcp["train_size"] == n
    assert f"fcp: 5,000 training images were asked for; there are {n:,}" in err


def test_a_dry_run_says_what_it_costs_and_writes_nothing(
    data_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["reproduce", "--scale", "small", "--only", "fcp", "--data", str(data_file), "--out", str(tmp_path / "f")]
    with pytest.raises(SystemExit) as ended:
        main([*options, "--train-size", "100", "--dry-run", "--json"])
    assert not ended.value.code
    metadata = json.loads(capsys.readouterr().out)
    assert metadata["networks"]["fcp"]["train_size"] == 100
    assert metadata["core_seconds"] == metadata["core_seconds_by_network"]["fcp"] > 0
    assert not (tmp_path / "f").exists()
    save_plan(
        Plan.from_dict({k: v for k, v in metadata.items() if k in vars(Plan("", "", "", ""))}), Store(tmp_path / "f")
    )
    before = (tmp_path / "f" / "plan.json").read_bytes()
    for change, code in (((), 1), (("--change-plan",), 0)):
        with pytest.raises(SystemExit) as ended:
            main([*options, "--train-size", "90", "--dry-run", *change])
        assert int(ended.value.code or 0) == code
        assert ("fcp's train_size was 100, is 90" in capsys.readouterr().err) == bool(code)
    assert (tmp_path / "f" / "plan.json").read_bytes() == before


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_campaign_on_a_gpu_finds_the_same(optimizer: str, data_file: Path, tmp_path: Path, strict_cupy: Any) -> None:
    found = []
    few = {"iterations": 3, "sgd_updates": 4, "train_size": 64}
    data = load_mnist(data_file)
    for device in ("cpu", "gpu"):
        plan = Plan.make("smoke", data=str(data_file), data_key=data.key, only=("fcp",), device=device, overrides=few)
        set_threads(3)
        try:
            assert estimate(plan, data)["fcp"].path > 0
            assert thread_count() == 3  # measured on one, which is nobody else's concern
        finally:
            set_threads(None)
        tasks = NetworkTasks(plan, "fcp")

        def perform(task: Task, inputs: list[Any], place: Path = tmp_path / device) -> Any:
            return task.resolve()({**task.options, **task.hints}, inputs, place / task.id)

        (path,) = tasks.paths("train", optimizer, "train", "adam")
        kept = perform(path.needs[0], [perform(run, []) for run in tasks.runs(optimizer)])
        _, metadata = perform(path, [kept])
        losses, _ = perform(tasks.losses(optimizer, "train"), [kept])
        omega = kept[0]["train"][0].astype(np.float64)
        land = network_landscape("fcp", data.train[:64], plan.variant, device, "float64")
        at = relative(land, omega).values_and_gradients(np.full((1, omega.size), 1e-3))
        found.append((path.id, kept[0]["all_train_loss"], metadata["height"], metadata["length"]))
        found[-1] += (losses["test_vectors_loss"], losses["train_midpoints_loss"], at[0], np.linalg.norm(at[1]))
        save_plan(plan, Store(tmp_path / device))
        page = render_report({"plan": plan.as_dict(), "networks": {}}, {}, {}, "")
        assert ("on a GPU" in page) == (device == "gpu")
    (cpu_id, *cpu), (gpu_id, *gpu) = found
    assert cpu_id != gpu_id
    for on_gpu, on_cpu in zip(gpu, cpu, strict=True):
        assert on_gpu == pytest.approx(on_cpu, rel=1e-3)
    with pytest.raises(ValueError, match="holds a campaign with device 'cpu', not 'gpu'"):
        save_plan(plan, Store(tmp_path / "cpu"))


def test_a_gpu_that_is_missing_is_named(data_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.suppress(DeviceError):
        device_module("gpu")
        pytest.skip("there is one")
    options = ["reproduce", "--scale", "smoke", "--only", "fcp", "--device", "gpu", "--data", str(data_file)]
    options += ["--out", str(tmp_path / "f"), "--dry-run"]
    with pytest.raises(SystemExit) as ended:
        main(options)
    assert ended.value.code == 1
    assert "device 'gpu' needs CuPy" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:  # the workers may have one
        main([*options, "--scheduler", "tcp://localhost:1"])
    assert not ended.value.code
    assert "costs are not measured" in capsys.readouterr().err


def test_tests_permute_runs() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal(6) + 1, rng.standard_normal(5)
    theirs = permutation_test((a, b), lambda x, y: x.mean() - y.mean(), n_resamples=np.inf).pvalue
    ours = compare_runs(a, b)
    assert ours.p == pytest.approx(theirs, abs=2 / 462)
    assert (ours.first, ours.second) == pytest.approx((a.mean(), b.mean()))
    four = compare_runs(np.arange(4) + 10.0, np.arange(4.0))
    assert four.p == four.least == 2 / 70
    paired = compare_same_runs(np.arange(5) + 1.0, np.arange(5) * 1.0)
    assert (paired.p, paired.least, paired.first - paired.second) == (2 / 32, 2 / 32, 1)
    half = compare_same_runs([1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 3.0, 4.0])  # what is 0 has no sign to flip
    assert (half.p, half.least, half.n) == (0.5, 0.5, (4,))
    for nothing in (compare_same_runs(np.zeros(5), np.zeros(5)), compare_runs(np.zeros(5), np.zeros(5))):
        assert (nothing.p, nothing.least) == (1, 1)
    c = rng.standard_normal(6)
    theirs = permutation_test((a, c), lambda x, y: (x - y).mean(), permutation_type="samples", n_resamples=np.inf)
    assert compare_same_runs(a, c).p == pytest.approx(theirs.pvalue)
    many = compare_runs(rng.standard_normal(40), rng.standard_normal(40) + 3)
    assert many.p == many.least < 1e-4
    close, closer = 1 + 1e-8 * rng.random(6), 1 + 1e-8 * (3 + rng.random(6))  # rounding decides nothing
    assert compare_runs(close, closer).p == compare_runs(close, closer).least
    assert disjoint([[0, 1], [1, 2], [3, 2], [4, 3], [5, 4]]) == [0, 2, 4]


def test_runs_from_the_same_vector_are_swapped_within_the_pair() -> None:
    first, least = relabelings(3, 3, ([0, 1, 2], [1, 2, 5]))
    # Seeds 1 and 2 are in both groups, 0 and 5 in one each.
    assert len(first) == len({tuple(row) for row in first.tolist()}) == 2 * 2 * 2
    assert least == 2 / 8
    assert first[0].tolist() == [True] * 3 + [False] * 3
    assert (first[:, 1] != first[:, 3]).all()
    assert (first[:, 2] != first[:, 4]).all()
    assert (first[:, 0] != first[:, 5]).all()
    many, least = relabelings(40, 40, (range(40), range(10, 50)))
    assert (len(many), least) == (PERMUTATIONS + 1, 1 / (PERMUTATIONS + 1))
    assert (many[:, 10:40] != many[:, 40:70]).all()
    assert (many.sum(axis=1) == 40).all()
    assert many[1:].mean(axis=0) == pytest.approx(0.5, abs=0.02)
    same = compare_runs([1.0, 2, 3, 4], [1.1, 2.1, 3.1, 4.1], ([0, 1, 2, 3], [0, 1, 2, 3]))
    assert same.p == same.least == 2 / 16  # all differences are of one sign
    assert compare_runs([1.0, 2, 3, 4], [1.1, 2.1, 3.1, 4.1]).p > 0.5


def test_tests_against_a_margin_say_on_which_side_of_it() -> None:
    rng = np.random.default_rng(0)
    b = 1 + 0.02 * rng.standard_normal(12)
    for factor, claim, here in (
        (1.05, "comparable", "reproduced"),
        (1.05, "not higher", "reproduced"),
        (1.25, "comparable", "inconclusive"),
        (1.25, "not higher", "inconclusive"),
        (1.4, "comparable", "not reproduced"),
        (1.4, "not higher", "not reproduced"),
        (0.7, "comparable", "not reproduced"),
        (0.7, "not higher", "reproduced"),
    ):
        a = factor * (1 + 0.02 * rng.standard_normal(12))
        found = against_margin(compare_runs, a, b, both=claim == "comparable")
        assert (found.first, found.second) == pytest.approx((a.mean(), b.mean()))
        assert verdict(claim, found) == here, (factor, claim, found)
    wide = against_margin(compare_runs, [0.1, 2.0, 1.0], [1.0, 0.2, 1.9])
    assert verdict("comparable", wide) == "inconclusive"
    for negative in ([-1.0, -2.0, -1.5], [-1.0, 0.5, 0.2]):
        assert verdict("nearly the same", against_margin(compare_same_runs, negative, negative)) == "inconclusive"
    diverged = against_margin(compare_runs, [np.nan, 1.0], [1.0, 1.0])
    assert verdict("comparable", diverged) == "inconclusive"


@pytest.mark.parametrize("what", ["centroids", "distances"])
def test_sets_are_compared_as_a_permutation_test_does(what: str) -> None:
    rng = np.random.default_rng(5)
    a, b = rng.standard_normal((5, 30)), 0.8 * rng.standard_normal((4, 30)) + 0.5
    both = np.concatenate([a, b])

    def apart(k: np.ndarray, m: np.ndarray) -> float:
        if what == "centroids":
            return float(np.linalg.norm(both[k].mean(axis=0) - both[m].mean(axis=0)))
        return abs(float(pdist(both[k]).mean() - pdist(both[m]).mean()))

    test = permutation_test((np.arange(5), np.arange(5, 9)), apart, alternative="greater", n_resamples=np.inf)
    ours = (compare_centroids if what == "centroids" else compare_distances)(a, b)
    assert ours.p == pytest.approx(test.pvalue)
    if what == "distances":
        assert (ours.first, ours.second) == pytest.approx((pdist(a).mean(), pdist(b).mean()))
        return
    assert ours.first == pytest.approx(0.5 * test.statistic)
    own = [np.linalg.norm(x - s.mean(axis=0)) for s in (a, b) for x in s]
    assert ours.second == pytest.approx(np.mean(own))


def test_separations_have_the_areas_and_p_of_others() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal(6) + 1, rng.standard_normal(7)
    b[0] = a[0]  # ties count half
    found = separation(a, b)
    area = roc_auc_score([1] * 6 + [0] * 7, np.concatenate([a, b]))
    assert found.area == pytest.approx(max(area, 1 - area))

    def its(x: np.ndarray, y: np.ndarray) -> float:
        return abs(float((x[:, None] > y).mean() + 0.5 * (x[:, None] == y).mean()) - 0.5)

    theirs = permutation_test((a, b), its, alternative="greater", n_resamples=np.inf)
    assert found.p == pytest.approx(theirs.pvalue)
    wider = max(np.median(np.abs(x - np.median(x))) for x in (a, b)) / norm.ppf(0.75)
    assert found.gap == pytest.approx((np.median(a) - np.median(b)) / wider)
    far = np.append(rng.standard_normal(39), 1e4)
    assert separation(far, rng.standard_normal(40) - 9).gap > 5  # one far away hides nothing
    apart = separation(np.arange(4.0), np.arange(4.0) + 10)
    assert (apart.area, apart.p, apart.least) == (1, 2 / 70, 2 / 70)
    assert separation(np.zeros(3), np.ones(3)).gap == np.inf


def test_everything_that_is_measured_of_vectors(
    data_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Losses, averages, Hessians, N_F and M, and the courses of searches, of a campaign of a few images."""
    data = load_mnist(data_file)
    few = {"train_size": 24, "test_curve": 12, "iterations": 3, "sgd_updates": 5, "steps": 3, "still_steps": 2}
    few |= {"n_points": 6, "curvatures": 2, "resolutions": True, "scans": False, "pairs": 1}
    plan = Plan.make("smoke", data=str(data_file), data_key=data.key, only=("fcp",), overrides=few)
    store = Store(tmp_path)

    def quick(land: Any, point: np.ndarray, **options: Any) -> Any:
        value = float(land.values(point[None])[0])
        numbers = {"highest": [value], "lowest": [-value], "trace": 2 * value, "trace_error": 0.1, "reason": ""}
        return SimpleNamespace(**numbers, converged=True)

    with ThreadPoolExecutor(1) as threads, monkeypatch.context() as patched:
        patched.setattr(measures, "curvature", quick)  # 32 of them would take half a minute
        summary = run_tasks(plan_tasks(plan), store, executor=threads)
    assert not summary.failed, summary.reasons
    network = collect(plan, store)["networks"]["fcp"]
    tasks = NetworkTasks(plan, "fcp")
    kept = store.read(tasks.set_of("sgd"))
    assert kept is not None
    vectors = kept[0]["train"]
    of = network["averages"]["sgd"]["train"]
    land = network_landscape("fcp", data.test[:12], "authors")
    losses, accuracies = land.measure(vectors)
    assert of["test_vectors_loss"] == pytest.approx(losses)
    assert of["test_vectors_accuracy"] == pytest.approx(accuracies)
    (i, j), mean = of["pairs"][0], vectors.mean(axis=0)
    assert of["test_midpoints_loss"] == pytest.approx(land.values((0.5 * (vectors[i] + vectors[j]))[None]))
    assert of["test_mean_loss"] == pytest.approx(land.values(mean[None]))
    entries = {(e["optimizer"], e["weights"], e["landscape"], e["form"]): e for e in network["curvature"]}
    assert len(entries) == 2 * 2 * 2 * 2
    task = tasks.curvature("sgd", "train", 1)
    _, metadata = measures.vector_curvature({**task.options, **task.hints}, [kept], tmp_path)
    alone = curvature(network_landscape("fcp", data.train[:24], "authors", dtype="float64"), vectors[1], n=1, probes=10)
    assert metadata["train plain"]["highest"] == pytest.approx(alone.highest[0])
    assert metadata["train plain"]["trace"] == pytest.approx(alone.trace)
    assert metadata["train scaled"]["highest"] < np.abs(vectors[1]).max() ** 2 * alone.highest[0]
    for where, images in (("train", data.train[:24]), ("test", data.test[:12])):
        value = network_landscape("fcp", images, "authors", dtype="float64").values(vectors[1][None])[0]
        for form in ("plain", "scaled"):  # the same vector, whatever its coordinates
            assert entries["sgd", "train", where, form]["highest"][1] == pytest.approx(value)
    of_course = "adam", "sgd", "train"
    course = next(c for c in network["courses"] if (c["solver"], c["optimizer"], c["weights"]) == of_course)
    path = store.read(tasks.paths("train", "sgd", "train", "adam")[0])
    assert path is not None
    rise = np.maximum(path[0]["history_height"] - max(path[1]["height_ends"]), 0)
    assert course["steps"] == [0, 1, 2, 3]
    assert course["middle"] == pytest.approx(rise.tolist())
    counts = path[1]["evaluations"]
    assert course["cost"] == pytest.approx((counts["gradients"] + 0.4 * counts["values"]) / (6 * 3))
    varied = [(e["solver"], e["optimizer"], e.get("n_terms"), e.get("n_points")) for e in network["resolutions"]]
    assert len(varied) == len(set(varied)) == 2 * 2 * 10
    assert all(len(e["height"]) == 1 for e in network["resolutions"])
    says = Counter(entry["topic"] for entry in network["statements"])
    assert set(says) == set(TOPICS) - {"paths"}  # of one pair nothing is said
    assert says["curvature"] == 2 * 2 * 2 * 2
    for table in (tables.curvature, tables.averages, tables.resolutions, tables.isotropic):
        head, rows = table([("FCP", network)])
        assert rows
        assert all(len(row) == len(head) for row in rows)
    lines = plot_courses(Figure().subplots(), network).lines
    assert [len(line.get_xdata()) for line in lines[:4]] == [4, 4, 3, 3]
    assert lines[0].get_xdata()[0] == 1


def test_the_scale_free_hessian_knows_no_scale() -> None:
    """A ReLU network is the same function where a layer grows tenfold and the next one shrinks as much."""
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((20, 4)), [rng.standard_normal((5, 4)), rng.standard_normal((1, 5))]

    def loss(omega: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        a, b = omega[:, :20].reshape(-1, 5, 4), omega[:, 20:]
        z = np.einsum("pij,nj->pni", a, x)
        y = np.einsum("pni,pi->pn", np.maximum(z, 0), b)
        dy = 2 * (y - 1) / len(x)
        db = np.einsum("pn,pni->pi", dy, np.maximum(z, 0))
        da = np.einsum("pn,pi,pni,nj->pij", dy, b, (z > 0) * 1.0, x)
        return ((y - 1) ** 2).mean(axis=1), np.concatenate([da.reshape(len(omega), -1), db], axis=1)

    land = FunctionLandscape(loss, size=25, batched=True)
    found = []
    for factor in (1.0, 10.0):
        omega = np.concatenate([factor * w[0].ravel(), w[1].ravel() / factor])
        plain, scaled = curvature(land, omega, n=1), curvature(relative(land, omega), np.zeros(25), n=1)
        units = np.abs(omega)
        assert scaled.highest[0] <= plain.highest[0] * units.max() ** 2 * (1 + 1e-6)
        found.append((plain.highest[0], scaled.highest[0], scaled.trace))
    assert found[1][1:] == pytest.approx(found[0][1:], rel=1e-4)
    assert found[1][0] > 10 * found[0][0]


def test_lengths_alone_separate_one_network_of_four() -> None:
    """Of independent normal vectors of Table S1's σ, the RBF of 2σ² = N_prm tells the LSTM's apart along PC1, alone."""
    areas = {model: isotropic(model)["separation"][0]["area"] for model in MODELS}
    assert areas["lstm"] > 0.99
    assert max(area for model, area in areas.items() if model != "lstm") < 0.6


@pytest.fixture
def data_file(small_mnist: Mnist, tmp_path: Path) -> Path:
    path = tmp_path / "digits.npz"
    images = {f"x_{name}": (getattr(small_mnist, name).images * 255).astype(np.uint8) for name in ("train", "test")}
    np.savez(path, **images, **{f"y_{name}": getattr(small_mnist, name).labels for name in ("train", "test")})
    return path


BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
#: A frame as wide as the screen to be tried: windows of browsers are no narrower than 500 pixels.
FRAME = """<!doctype html><title>waiting</title><script>
var errors = 0
function look(frame) {
  const page = frame.contentDocument, images = [...page.images]
  document.title = JSON.stringify({title: page.querySelector("h1").textContent, images: images.length, errors,
    broken: images.filter(image => !image.naturalWidth).length, width: page.documentElement.scrollWidth})
}
</script><iframe style="border:0" width=WIDTH height=800 onload="look(this)" srcdoc="PAGE"></iframe>"""


def rendered(page: str, width: int, folder: Path) -> dict[str, Any]:
    """What a real browser makes of a page on a screen of some width."""
    assert BROWSER is not None
    watched = page.replace("<head>", "<head><script>onerror = () => { parent.errors++ }</script>", 1)
    assert watched != page
    frame = FRAME.replace("WIDTH", str(width)).replace("PAGE", escape(watched))
    (folder / "frame.html").write_text(frame, encoding="utf-8")
    options = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    options += f" --disable-component-update --disable-sync --user-data-dir={folder / 'browser'} --dump-dom"
    done = subprocess.run(
        [BROWSER, *options.split(), "--virtual-time-budget=20000", (folder / "frame.html").as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    (title,) = re.findall("<title>(.*?)</title>", done.stdout)[:1]
    seen: dict[str, Any] = json.loads(unescape(title))
    return seen


@pytest.mark.parametrize(
    ("killed_first", "joined", "n_tasks"),
    [("fcp", "fcp", 52), pytest.param("fcp,lstm", ",".join(MODELS), 52 + 24, marks=pytest.mark.long)],
)
def test_smoke_is_killed_again_and_again_and_comes_to_the_same_files(
    killed_first: str, joined: str, n_tasks: int, data_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = joined.split(",")
    code = "from minilandscape_cli.main import main; main()"
    common = ["reproduce", "--scale", "smoke", "--data", str(data_file), "--train-size", "64", "--workers", "2"]
    environment = {**os.environ, "PYTHONWARNINGS": "error::RuntimeWarning"}

    def start(out: str, *options: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", code, *common, "--out", str(tmp_path / out), *options]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)

    killed, whole = tmp_path / "killed", tmp_path / "whole"
    for _ in range(2):
        process = start("killed", "--only", killed_first)
        before = len(list(killed.glob("results/[!.]*.npz")))
        while process.poll() is None and len(list(killed.glob("results/[!.]*.npz"))) < before + 12:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    last = start("killed", "--only", joined, "--json")  # the other networks join the folder
    text, _ = last.communicate()
    assert last.returncode == 0
    summary = json.loads(text)
    assert [summary[name] for name in ("failed", "left", "blocked", "running")] == [[], [], [], []]
    plan = load_plan(Store(killed))
    assert list(plan.networks) == models
    some = replace(plan, networks={model: plan.networks[model] for model in killed_first.split(",")})
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")  # nor do bits depend on the number of cores
    run_tasks(plan_tasks(some), Store(whole), workers=2)
    made = {path.name: path.read_bytes() for path in whole.glob("results/[!.]*.npz")}
    assert len(made) == n_tasks
    assert made == {name: (killed / "results" / name).read_bytes() for name in made}
    results = json.loads((killed / "results.json").read_text())
    assert set(results["networks"]) == set(models)
    collected = json.loads(json_text(collect(some, Store(whole))))
    for model in some.networks:
        assert collected["networks"][model] == results["networks"][model]
    for network in results["networks"].values():
        assert len(network["heights"]) == 12
        assert all(entry["height"] for entry in network["heights"])
    figures = paper_figures(results)
    for name in ("answer", "figure6"):
        for kind, content in draw(figures[name], name).items():
            assert (killed / "figures" / f"{name}.{kind}").read_bytes() == content
    assert len(list(killed.glob("figures/*.svg"))) >= 22
    page = (killed / "report.html").read_text()
    assert page.count("<img") == len(list(killed.glob("figures/*.png")))
    assert "://" not in page.replace("http://www.w3.org", "")  # "http" alone may be part of a picture in base 64
    if BROWSER is not None:
        for width in (360, 1280):
            seen = rendered(page, width, tmp_path)
            assert seen["title"].startswith("Neural network optimization strategies")
            assert (seen["images"], seen["broken"]) == (page.count("<img"), 0)
            assert (seen["width"] <= width, seen["errors"]) == (True, 0), (
                "the page is wider than the screen, or has errors"
            )
    assert len(campaign_status(killed).done) == len(summary["done"])
    assert set(json.loads((killed / "costs.json").read_text())) == set(models)


def test_ctrl_c_twice_says_how_to_resume_and_nothing_else(
    data_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["reproduce", "--scale", "smoke", "--only", "fcp", "--data", str(data_file), "--workers", "2"]
    options += ["--out", str(tmp_path / "out")]
    # Shells have background jobs, and so these tests there, ignore Ctrl-C.
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += "from minilandscape_cli.main import script; script()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while process.poll() is None and len(list((tmp_path / "out/results").glob("[!.]*.npz"))) < 3:
        time.sleep(0.02)
    for _ in range(2):
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to the workers as well
        time.sleep(0.02)
    out, error = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    *_, how, last = error.splitlines()
    assert "are finished and kept; the same command resumes: minilandscape reproduce --scale smoke" in how
    assert last == "minilandscape: interrupted"
    assert "Traceback" not in error
    with pytest.raises(SystemExit) as ended:
        main([*options, "--dry-run"])
    assert not ended.value.code
    n = len(list((tmp_path / "out/results").glob("[!.]*.npz")))
    assert f"{52 - n} of 52 tasks left, on 2 processes, in all about" in capsys.readouterr().err


def test_a_report_does_without_images_that_are_gone(data_file: Path, tmp_path: Path) -> None:
    key = load_mnist(data_file).key
    plan = Plan.make("smoke", data=str(tmp_path / "gone"), data_key=key, only=("fcp",))
    save_plan(plan, Store(tmp_path / "f"))
    page = write_report(tmp_path / "f").read_text()
    assert "Fig. 1 is left out" in page
    assert not (tmp_path / "f/figures/figure1.png").exists()
    write_report(tmp_path / "f", str(data_file))
    assert (tmp_path / "f/figures/figure1.png").exists()
    with pytest.raises(ValueError, match="mnist5k holds the data"):
        write_report(tmp_path / "f", "mnist5k")


@pytest.mark.parametrize(
    ("first", "second", "p", "claim", "here"),
    [
        (2.0, 1.0, 0.01, "higher", "reproduced"),
        (1.0, 2.0, 0.01, "higher", "not reproduced"),
        (2.0, 1.0, 0.2, "higher", "inconclusive"),
        (1.0, 2.0, 0.01, "lower", "reproduced"),
        (2.0, 1.0, 0.01, "not higher", "not reproduced"),
        (1.0, 2.0, 0.01, "not higher", "reproduced"),
        (1.2, 1.0, 0.01, "not higher", "reproduced"),
        (1.2, 1.0, 0.3, "not higher", "inconclusive"),
        (1.2, 1.0, 0.01, "comparable", "reproduced"),
        (1.0, 1.2, 0.01, "comparable", "reproduced"),
        (1.2, 1.0, 0.2, "comparable", "inconclusive"),
        (1.3, 1.0, 0.01, "comparable", "not reproduced"),
        (1.0, 1.3, 0.01, "nearly the same", "not reproduced"),
        (10.0, 9.0, 0.01, "nearly the same", "reproduced"),
        (10.0, 2.0, 0.01, "less", "reproduced"),
        (2.0, 10.0, 0.01, "less", "not reproduced"),
        (2.0, 10.0, 0.2, "less", "inconclusive"),
        (1.3, 5.0, 0.01, "rises", "reproduced"),
        (1.2, 1.0, 0.01, "rises", "not reproduced"),
        (1.2, 1.0, 0.01, "does not rise", "reproduced"),
        (1.3, 1.0, 0.2, "does not rise", "inconclusive"),
        (1.0, 3.0, 0.01, "close", "reproduced"),
        (2.0, 3.0, 0.9, "close", "not reproduced"),
        (0.12, 0.1, 0.01, "no direction", "reproduced"),
        (0.2, 0.1, 0.3, "no direction", "not reproduced"),
        (0.12, 0.1, 1.0, "the same", "reproduced"),
        (0.2, 0.1, 1.0, "the same", "not reproduced"),
    ],
)
def test_verdicts_follow_from_numbers_and_p(first: float, second: float, p: float, claim: str, here: str) -> None:
    assert verdict(claim, Comparison(first, second, p, 0.001, (9, 9))) == here
    for groups in (([1.0, np.nan], [1.0, 2.0]), ([1.0, np.inf], [1.0, np.inf])):
        for diverged in (compare_runs(*groups), compare_same_runs(*groups)):
            assert verdict(claim, diverged) == "inconclusive"


@pytest.mark.parametrize(
    ("area", "gap", "p", "n", "apart", "not_apart"),
    [
        (1.0, 5.0, 0.001, 8, "reproduced", "not reproduced"),
        (1.0, 5.0, 0.1, 3, "inconclusive", "inconclusive"),
        (0.6, 0.1, 0.4, 8, "inconclusive", "inconclusive"),
        (0.6, 0.1, 0.4, 40, "not reproduced", "reproduced"),
        (0.8, 1.0, 0.01, 40, "not reproduced", "reproduced"),
        (0.96, 0.06, 0.001, 40, "not reproduced", "reproduced"),  # one set within the other, beside its middle
    ],
)
def test_what_few_vectors_do_not_show_is_not_said(
    area: float, gap: float, p: float, n: int, apart: str, not_apart: str
) -> None:
    found = Separation(area, gap, p, 0.001)
    assert (verdict_apart("apart", found, n), verdict_apart("not apart", found, n)) == (apart, not_apart)


def test_a_separation_that_was_not_there_cannot_disappear() -> None:
    def kernel(area: float) -> dict[str, Any]:
        first = vars(Separation(area, 5.0 if area == 1 else 0.1, 0.001 if area == 1 else 0.5, 0.001))
        return {"rbf": {"separation": [first, first], "n": 80, "n_first": 40}}

    for train, here in ((1.0, "reproduced"), (0.6, "inconclusive")):
        entries = of_kernels("fcp", {"kpca": {"train": kernel(train), "test": kernel(0.6)}})
        assert [(e["claim"], e["here"]) for e in entries if "PC1 (Fig. S4)" in e["says"]] == [("not apart", here)]
        # Separation is predominantly along PC1: not along PC2.
        second = "not reproduced" if train == 1 else "reproduced"
        assert [(e["claim"], e["here"]) for e in entries if "PC2 (Fig. 6)" in e["says"]] == [("not apart", second)]
    entries = of_kernels("lstm", {"kpca": {"train": kernel(0.6), "test": kernel(1.0)}})
    (seen,) = [e for e in entries if "PC1 (Fig. S4)" in e["says"]]
    assert (seen["claim"], seen["here"]) == ("apart", "reproduced")


def test_one_pair_says_whether_its_heights_depend_on_lambda() -> None:
    heights = {"adam": [1.0, 1.2], "still": [1e-8, 1e-6]}
    scan = [
        {"solver": solver, "optimizer": "sgd", "lam": lam, "height": [height]}
        for solver, two in heights.items()
        for lam, height in zip((1e-4, 1e-2), two, strict=True)
    ]
    found = of_scans({"scan": scan, "searches": {"adam": "100 Adam steps", "still": "run to convergence"}})
    assert [(e["here"], e["p"], e["n"]) for e in found] == [("reproduced", None, [1]), ("not reproduced", None, [1])]
    assert "from 1e-04 to 1e-02" in found[0]["says"]


def entry(optimizer: str, weights: str, barrier: list[float], still: bool = True) -> dict[str, Any]:
    n = len(barrier)
    pairs = [[2 * k, 2 * k + 1] for k in range(n)]
    common = {"landscape": "train", "solver": "still", "pairs": pairs, "still": [still] * n, "height": barrier}
    return {**common, "optimizer": optimizer, "weights": weights, "maximum": barrier, "barrier": barrier}


@pytest.mark.parametrize(
    ("barrier", "still", "model", "here"),
    [
        ([9e-6] * 5, True, "fcp", "no barrier on either side"),
        ([9e-6] * 5, True, "autoencoder", "no barrier on either side"),
        ([1e-3, 2e-3, 3e-3, 4e-3, 5e-3], True, "fcp", "reproduced"),
        ([1e-3, 2e-3, 3e-3, 4e-3, 5e-3], True, "autoencoder", "not reproduced"),
        ([1e-3, 2e-3, 3e-3, 4e-3, 5e-3], False, "fcp", "inconclusive"),  # searches that came to no end
        ([9e-6] * 5, False, "fcp", "no barrier on either side"),
    ],
)
def test_barriers_are_rises_of_searches_that_came_to_their_end(
    barrier: list[float], still: bool, model: str, here: str
) -> None:
    heights = [entry("lbfgs-gss", "train", barrier, still), entry("sgd", "train", [0.0, 0.0, 1e-7, 0.0, 0.0])]
    campaign = {"heights": heights, "searches": {"still": "run to convergence"}, "reasons": {"sgd": ["epochs"]}}
    campaign["table1"] = {"sgd": {"train": {"mean": 1.0}}}
    (found,) = [e for e in of_paths(model, campaign) if "are lower for SGD" in e["says"] and e["what"] == "barrier"]
    assert found["here"] == here
    assert found["n"] == [5, 5]


@pytest.mark.parametrize(
    ("reason", "lbfgs", "sgd", "here"),
    [
        ("target loss", 0.01, 0.25, "by construction"),  # below SGD's target loss of 0.1
        ("epochs", 0.01, 0.25, "not reproduced"),
        ("target loss", 0.12, 0.25, "not reproduced"),
        ("target loss", 0.5, 0.15, "reproduced"),  # in spite of it
    ],
)
def test_an_order_that_target_losses_leave_is_by_construction(reason: str, lbfgs: float, sgd: float, here: str) -> None:
    heights = [entry("lbfgs-gss", "train", [lbfgs] * 4 + [1.01 * lbfgs]), entry("sgd", "train", [sgd] * 5)]
    campaign = {"heights": heights, "searches": {"still": "run to convergence"}, "reasons": {"sgd": [reason]}}
    campaign["table1"] = {"sgd": {"train": {"mean": 0.1}}}
    found = [e for e in of_paths("fcp", campaign) if "are lower for SGD" in e["says"]]
    assert [e["here"] for e in found if e["what"] == "height"] == [here]


@pytest.mark.parametrize(("at", "here"), [(70, "by construction"), (20, "not reproduced")])
def test_test_weights_of_a_loss_that_was_still_falling_are_by_construction_too(at: int, here: str) -> None:
    heights = [entry("lbfgs-gss", "test", [0.01] * 5), entry("sgd", "test", [0.25] * 5)]
    campaign = {"heights": heights, "searches": {"still": "run to convergence"}, "reasons": {"sgd": ["target loss"]}}
    campaign |= {"table1": {"sgd": {"train": {"mean": 0.1}}}, "epochs": {"sgd": {"train": [71], "test": [at]}}}
    found = [e for e in of_paths("fcp", campaign) if "are lower for SGD" in e["says"]]
    assert [e["here"] for e in found if e["what"] == "height"] == [here]


@pytest.mark.parametrize(("higher_end", "here"), [(0.3, "reproduced"), (0.05, "inconclusive")])
def test_a_height_of_a_search_that_was_cut_off_counts_as_far_as_its_end(higher_end: float, here: str) -> None:
    first = entry("lbfgs-gss", "train", [0.4, 0.41, 0.42, 0.4, 0.4], still=False)
    first["barrier"] = [height - higher_end for height in first["height"]]
    heights = [first, entry("sgd", "train", [0.1, 0.11, 0.1, 0.12, 0.1])]
    campaign = {"heights": heights, "searches": {"still": "run to convergence"}, "reasons": {"sgd": ["epochs"]}}
    campaign["table1"] = {"sgd": {"train": {"mean": 0.1}}}
    found = [e for e in of_paths("fcp", campaign) if "are lower for SGD" in e["says"]]
    assert [e["here"] for e in found if e["what"] == "height"] == [here]


def test_an_under_resolved_search_is_resumed_with_more_points() -> None:
    def double_well(x: np.ndarray) -> tuple[float, np.ndarray]:
        return (x[0] ** 2 - 1) ** 2 + x[1] ** 2, np.array([4 * x[0] * (x[0] ** 2 - 1), 2 * x[1]])

    ends = np.array([[-1.0, 0.0], [1.0, 0.0]])
    options = {"solver": "auto", "objective": "sum", "lam": 1e-3, "n_points": 12, "steps": "auto"}
    first = find_path(double_well, *ends, **options)
    path, evaluations, steps = find_low(double_well, *ends, options)
    assert (first.under_resolved, path.under_resolved) == (True, False)
    assert (len(path.t), path.reason) == (23, "converged")
    assert path.height > 0.5
    assert evaluations.gradients > path.evaluations.gradients >= 23
    assert steps == sum(len(found.history["height"]) - 1 for found in (first, path))
    assert path.metadata["lam"] == pytest.approx(1e-3 * 23 * 22 / (12 * 11))
    few, _, _ = find_low(double_well, *ends, {**options, "steps": 26})  # as many as were asked for
    assert (len(few.t), few.under_resolved) == (12, True)


def test_a_search_that_is_cut_off_is_resumed_as_far_as_the_plan_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(methods, "FewPointsFirst", partial(FewPointsFirst, most_steps=12))  # of one search
    floor = 2 * np.cos(3.0)  # of the valley, which no path of few steps follows
    ends, options = np.array([[-1.0, floor], [1.0, floor]]), {"n_points": 25, "lam": 1e-3, "solver": "auto"}
    options |= {"steps": "auto", "objective": "sum"}

    def valley(x: np.ndarray) -> tuple[float, np.ndarray]:
        bend = x[1] - 2 * np.cos(3 * x[0])
        slope = np.array([6 * np.sin(3 * x[0]), 1.0])
        return 100 * bend**2, 200 * bend * slope

    def found(most: int | None) -> tuple[Any, int]:
        path, evaluations, steps = find_low(valley, *ends, options, most)
        assert evaluations.gradients > 20 * steps
        return path, steps

    (short, few), (longer, more), (longest, most), (still, all_steps) = (found(n) for n in (None, 20, 90, 1000))
    assert [path.reason for path in (short, longer, longest, still)] == [*["steps"] * 3, "converged"]
    assert (few, more, most) == (12, 24, 96)
    assert most < all_steps < 1000
    assert still.converged
    histories = [path.history for path in (short, longer, longest, still)]
    objectives = [(history["cumulative_loss"] + history["penalty"]).min() for history in histories]
    assert sorted(objectives, reverse=True) == objectives
    monkeypatch.setattr(work, "landscape_over", lambda *_: valley)
    task: dict[str, Any] = dict.fromkeys(("data", "data_key", "landscape", "images", "model", "variant"))
    task |= {"weights": "train", "pair": [0, 1], "path": options}
    for more, steps in (({}, 12), ({"most_steps": 20}, 24)):
        kept, metadata = work.pair_path({**task, **more}, [({"train": ends}, {})], tmp_path / "task.npz")
        assert metadata["steps"] == steps
        assert len(kept["history_height"]) == 12 + 1


@pytest.mark.parametrize(("still_steps", "most"), [(499, None), (500, None), (2000, 2000)])
def test_more_steps_than_a_search_takes_at_once_are_part_of_what_determines_a_path(
    still_steps: int, most: int | None
) -> None:
    (task, *_), (usual, *_) = second_searches({"still_steps": still_steps}), second_searches({})
    assert task.options.get("most_steps") == most
    assert (task.id == usual.id) == (still_steps == 500)


def second_searches(overrides: dict[str, Any]) -> list[Task]:
    plan = Plan.make("small", "paper", data="", data_key="", only=("lstm",), overrides=overrides)
    return [task for task in plan_tasks(plan) if task.name.startswith("lstm-sgd-train-on-train-still")]


def test_where_a_second_search_ends_is_part_of_what_determines_its_path() -> None:
    (usual, *_), (farther, *_) = second_searches({}), second_searches({"target_barrier": 0, "still_gradients": 0})
    assert usual.options["path"]["target_barrier"] == NO_BARRIER
    assert usual.options["path"]["budget"] == 100 * 50
    assert not {"target_barrier", "budget"} & set(farther.options["path"])
    assert usual.id != farther.id


def test_ids_are_those_of_version_0_1() -> None:
    """Folders that it wrote resume: the functions of tasks have moved since, and their results still count."""
    ids = "\n".join(task.id for task in plan_tasks(Plan.make("smoke", data="d", data_key="k")))
    assert hashlib.sha256(ids.encode()).hexdigest()[:16] == "47b7f6c1e94005f9"
    vectors = set_task("a", "17462fc9")
    (pair,) = draw_pairs(4, 1, "random", np.random.default_rng(0))
    path = pair_task("a-adam-pair0000", vectors, pair, {"steps": 3}, NamedRecipe("m:f"))
    assert [vectors.id, path.id] == ["a-vectors-9a468a4f53ef", "a-adam-pair0000-13299bb84e46"]
    assert all(callable(task.resolve()) for task in (vectors, path))
    assert all(callable(task.resolve()) for task in plan_tasks(Plan.make("full", data="d", data_key="k"))[::200])


@pytest.mark.parametrize("highest", [0.0, 2e-8, 3e-3])
def test_barriers_too_small_to_matter_share_one_bar(highest: float) -> None:
    entries = [
        {"name": "train", "colour": "navy", "barrier": [0.0, 1e-12, 0.0]},
        {"name": "test", "colour": "gold", "barrier": [0.0, 3e-10, highest]},
    ]
    axes = plot_heights(Figure().subplots(), entries, what="barrier")
    assert axes.get_xscale() == "log"
    assert f"up to {LEAST_BARRIER:g} in one bar" in axes.get_xlabel()
    first, second = ([bar.get_height() for bar in bars] for bars in axes.containers)
    assert (first[0], sum(first)) == (3, 3)
    assert (second[0], sum(second)) == (3 if highest < LEAST_BARRIER else 2, 3)


@pytest.mark.parametrize(
    "heights", [[6e-4] * 20, [0.0457] * 4, [0.0] * 3, [1.1e-4, 0.0319], [0.3, 0.30001], [-2.0, -1.0, 5.0]]
)
def test_heights_are_drawn_where_they_are(heights: list[float]) -> None:
    figure = Figure(figsize=(4.6, 3.3), layout="constrained")
    axes = plot_heights(figure.subplots(), [{"name": "sgd", "colour": "gold", "height": heights}])
    assert sum(bar.get_height() for bar in axes.containers[0]) == len(heights)
    bars = [bar for bar in axes.containers[0] if bar.get_height()]
    reach = max(map(abs, heights)) or 1.0
    assert all(bar.get_width() <= 0.3 * reach for bar in bars)
    figure.draw_without_rendering()
    low, high = axes.get_xlim()
    places = [label.get_window_extent() for label in axes.get_xticklabels() if low <= label.get_position()[0] <= high]
    assert len(places) >= 2
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(places))
    with pytest.raises(ValueError, match="height holds values that are not finite"):
        plot_heights(Figure().subplots(), [{"name": "sgd", "colour": "gold", "height": [1.0, np.inf]}])


def test_figure_1_is_drawn_of_few_images_and_its_minima_are_red() -> None:
    figure = Figure(figsize=(13, 4), layout="constrained")
    axes = [figure.add_subplot(131), figure.add_subplot(132), figure.add_subplot(133, projection="3d")]
    plot_figure1(axes, np.ones((10, 784)))
    assert axes[0].images[0].get_array().sum() == 10 * 784
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    red, green, blue = np.moveaxis(np.asarray(canvas.buffer_rgba())[..., :3].astype(int), -1, 0)
    assert ((red > 240) & (green < 20) & (blue < 20)).sum() > 50


def test_figures_of_results_that_are_gone_go(data_file: Path, tmp_path: Path) -> None:
    plan = Plan.make("smoke", data=str(data_file), data_key=load_mnist(data_file).key, only=("fcp",))
    save_plan(plan, Store(tmp_path))
    (tmp_path / "figures").mkdir()
    for name in ("figure5.png", "figure5.svg", "mine.png"):
        (tmp_path / "figures" / name).write_text("old")
    write_report(tmp_path)
    left = {path.name for path in (tmp_path / "figures").iterdir()}
    assert left == {"figure1.png", "figure1.svg", "figure3.png", "figure3.svg", "mine.png"}


def test_processes_draw_the_same_files(monkeypatch: pytest.MonkeyPatch) -> None:
    def figures() -> dict[str, Any]:
        made = {f"figure{k}": Figure(layout="constrained") for k in range(2)}
        for k, figure in enumerate(made.values()):
            plot_heights(figure.subplots(), [{"name": "sgd", "colour": "gold", "height": [0.1 * k, 0.2, 0.4]}])
        return made

    alone = reproduce_module._pictures(figures())
    monkeypatch.setattr(reproduce_module, "FIGURES_PER_WORKER", 1)
    monkeypatch.setattr(reproduce_module, "thread_count", lambda: 2)
    assert reproduce_module._pictures(figures()) == alone


def test_text_in_the_report_is_escaped() -> None:
    plan = Plan.make("smoke", data="<script>", data_key="x", only=("fcp",))
    page = render_report({"plan": plan.as_dict(), "networks": {}}, {}, {"Data": "<script>alert(1)</script>"}, "<b>")
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
