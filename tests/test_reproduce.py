"""The paper's campaign: plan, statistics, and the smoke scale from nothing to a report, killed and gone on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import permutation_test

from minilandscape.campaign.plan import NetworkPlan, Plan
from minilandscape.campaign.results import compare_runs, compare_same_runs, heights_by_run, separation
from minilandscape.data import Mnist
from minilandscape.figures.report import render_report
from minilandscape.networks import MODELS
from minilandscape.reproduce import campaign_status


def test_the_full_plan_is_the_papers() -> None:
    plan = Plan.make("full", data="auto", data_key="mnist")
    assert list(plan.networks) == list(MODELS)
    assert plan.variant == "authors"
    for network in plan.networks.values():
        assert (network.runs, network.kept, network.pairs, network.train_size) == (75, 48, 300, 60_000)
        assert (network.sgd_epochs, network.iterations, network.steps, network.lam) == (75, 1000, 100, 1e-4)
    tasks = Plan.make("full", data="auto", data_key="mnist", only=("lstm",)).tasks()
    assert len(tasks) == 2 * (75 + 1) + 2 * 6 * 300
    assert len({task.id for task in tasks}) == len(tasks)
    pairs = plan.network_tasks("fcp").pairs("sgd", "train")
    assert len({frozenset(pair) for pair in pairs}) == 300
    assert pairs != plan.network_tasks("fcp").pairs("sgd", "test")
    assert Plan.from_facts(json.loads(json.dumps(plan.facts()))) == plan


def test_numbers_can_be_overridden_and_are_checked() -> None:
    common: dict[str, Any] = {"data": "auto", "data_key": "mnist"}
    plan = Plan.make("small", **common, overrides={"runs": 4, "fcp": {"pairs": 2, "lam": 1e-3}})
    assert [network.runs for network in plan.networks.values()] == [4] * 4
    assert (plan.networks["fcp"].pairs, plan.networks["lstm"].pairs) == (2, 4)
    for overrides, message in (
        ({"run": 3}, "a plan has no 'run'"),
        ({"runs": 0}, "expected at least 1"),
        ({"runs": 1}, "expected at least 2 runs to pair"),
        ({"runs": "many"}, "expected int"),
    ):
        with pytest.raises(ValueError, match=message):
            Plan.make("small", **common, overrides=overrides)
    with pytest.raises(ValueError, match="no network is called 'vgg'"):
        Plan.make("small", **common, only=("vgg",))
    with pytest.raises(ValueError, match="scale is 'big'"):
        Plan.make("big", **common)
    assert NetworkPlan(12, 20, 5000).sgd_epochs == 886


def test_tests_permute_runs() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal(6) + 1, rng.standard_normal(5)
    theirs = permutation_test((a, b), lambda x, y: x.mean() - y.mean(), n_resamples=np.inf).pvalue
    ours = compare_runs(a, b)
    assert ours.p == pytest.approx(theirs, abs=2 / 462)
    assert ours.difference == pytest.approx(a.mean() - b.mean())
    assert (
        compare_runs(np.arange(4) + 10.0, np.arange(4.0)).p == compare_runs(np.arange(4) + 10.0, np.arange(4.0)).least
    )
    assert compare_runs(np.arange(4) + 10.0, np.arange(4.0)).least == 2 / 70
    paired = compare_same_runs(np.arange(5) + 1.0, np.arange(5) * 1.0)
    assert (paired.p, paired.least, paired.difference) == (2 / 32, 2 / 32, 1)
    many = compare_runs(rng.standard_normal(40), rng.standard_normal(40) + 3)
    assert many.p == many.least < 1e-4
    assert heights_by_run([[0, 1], [1, 2]], [1.0, 3.0], 4)[:3].tolist() == [1, 2, 3]
    assert np.isnan(heights_by_run([[0, 1]], [1.0], 3)[2])
    first = np.array([True, True, False, False])
    assert separation(np.array([0.0, 1, 2, 3]), first) == separation(np.array([3.0, 2, 1, 0]), first) == 1
    assert separation(np.array([0.0, 3, 1, 2]), first) == 0.5


@pytest.fixture
def data_file(small_mnist: Mnist, tmp_path: Path) -> Path:
    path = tmp_path / "digits.npz"
    images = {f"x_{name}": (getattr(small_mnist, name).images * 255).astype(np.uint8) for name in ("train", "test")}
    np.savez(path, **images, **{f"y_{name}": getattr(small_mnist, name).labels for name in ("train", "test")})
    return path


def contents(folder: Path) -> dict[str, bytes]:
    files = [*(folder / "results").glob("[!.]*"), folder / "results.json", *(folder / "figures").glob("*.png")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_smoke_is_killed_again_and_again_and_comes_to_the_same_files(data_file: Path, tmp_path: Path) -> None:
    code = "from minilandscape_cli.main import main; main()"
    common = ["reproduce", "--scale", "smoke", "--data", str(data_file), "--workers", "2"]
    environment = {**os.environ, "PYTHONWARNINGS": "error::RuntimeWarning"}

    def start(out: str, *options: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", code, *common, "--out", str(tmp_path / out), *options]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)

    whole = start("whole", "--json")
    text, _ = whole.communicate()
    assert whole.returncode == 0
    summary = json.loads(text)
    assert [summary[name] for name in ("failed", "left", "blocked", "running")] == [[], [], [], []]
    for kills in range(4):
        process = start("killed")
        before = len(list((tmp_path / "killed/results").glob("[!.]*.npz"))) if kills else 0
        while process.poll() is None and len(list((tmp_path / "killed/results").glob("[!.]*.npz"))) < before + 5:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    last = start("killed")
    assert last.wait() == 0
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    results = json.loads((tmp_path / "whole/results.json").read_text())
    assert set(results["networks"]) == set(MODELS)
    for network in results["networks"].values():
        assert len(network["heights"]) == 12
        assert all(entry["height"] for entry in network["heights"])
    assert len(list((tmp_path / "whole/figures").glob("figure*.svg"))) >= 20
    page = (tmp_path / "whole/report.html").read_text()
    assert page.count("<img") == len(list((tmp_path / "whole/figures").glob("*.png")))
    assert "http" not in page.replace("http://www.w3.org", "")
    assert len(campaign_status(tmp_path / "whole").done) == len(summary["done"])


def test_text_in_the_report_is_escaped() -> None:
    plan = Plan.make("smoke", data="<script>", data_key="x", only=("fcp",))
    page = render_report({"plan": plan.facts(), "networks": {}}, {}, {"Data": "<script>alert(1)</script>"}, "<b>")
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
