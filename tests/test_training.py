"""Training: curves, minima, files, and runs that resume bit-identically."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minilandscape.backend import set_threads
from minilandscape.data import Mnist, load_mnist
from minilandscape.files import json_text, locked, read_json
from minilandscape.networks import network_landscape
from minilandscape.training import (
    load_runs,
    loop,
    remove_checkpoint,
    run_options,
    train,
    train_to_folder,
    train_together,
)
from minilandscape.training.records import Records


@pytest.mark.parametrize(("optimizer", "epochs"), [("sgd", 40), ("adam", 20), ("lbfgs-gss", 12)])
def test_curves_and_minima(optimizer: str, epochs: int, small_mnist: Any, tmp_path: Path) -> None:
    seen: list[int] = []
    run = train("fcp", small_mnist, optimizer=optimizer, epochs=epochs, progress=lambda epoch, *_: seen.append(epoch))
    assert seen == list(range(epochs + 1))
    assert run.reason == "epochs"
    land = network_landscape("fcp", small_mnist.train)
    assert land.values(run.train_weights[None])[0] == pytest.approx(run.train_minimum["loss"], rel=1e-6)
    test = network_landscape("fcp", small_mnist.test)
    assert test.values(run.test_weights[None])[0] == pytest.approx(run.test_minimum["loss"], rel=1e-6)
    assert run.train_minimum["loss"] < 0.8 * run.curves["train_loss"][0]
    assert len(run.curves["test_accuracy"]) == epochs + 1
    run.save(tmp_path)
    (again,) = load_runs(tmp_path)
    assert np.array_equal(again.train_weights, run.train_weights)
    assert again.metadata() == run.metadata()


@pytest.mark.parametrize(("optimizer", "epochs", "at"), [("sgd", 6, 3), ("adam", 6, 4), ("lbfgs-gss", 27, 24)])
def test_an_interrupted_run_goes_on_with_the_same_bits(
    optimizer: str, epochs: int, at: int, small_mnist: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY", 0)
    options: dict[str, Any] = {"optimizer": optimizer, "epochs": epochs, "seed": 2}
    whole = train("fcp", small_mnist, **options)
    checkpoint = tmp_path / "checkpoint.npz"

    def interrupt(epoch: int, *_: float) -> None:
        if epoch == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train("fcp", small_mnist, checkpoint=checkpoint, progress=interrupt, **options)
    assert checkpoint.exists()
    with pytest.raises(ValueError, match="seed 2, not 3"):
        train("fcp", small_mnist, checkpoint=checkpoint, **{**options, "seed": 3})
    with pytest.raises(ValueError, match=r"has reached epoch \d+, beyond 1: ask for \d+ epochs or more"):
        train("fcp", small_mnist, checkpoint=checkpoint, **{**options, "epochs": 1})
    sooner = {**options, "epochs": at}
    ended = train("fcp", small_mnist, checkpoint=checkpoint, **sooner)
    assert ended.metadata() == train("fcp", small_mnist, **sooner).metadata()
    resumed = train("fcp", small_mnist, checkpoint=checkpoint, **options)
    remove_checkpoint(checkpoint)
    assert list(tmp_path.iterdir()) == []
    assert np.array_equal(resumed.train_weights, whole.train_weights)
    assert np.array_equal(resumed.test_weights, whole.test_weights)
    assert resumed.metadata() == whole.metadata()


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(ValueError, match="finds its step lengths"):
        run_options("fcp", optimizer="lbfgs-gss", lr=0.1)
    with pytest.raises(ValueError, match="expected one of lbfgs-gss"):
        run_options("fcp", optimizer="newton")
    with pytest.raises(ValueError, match="expected one of paper"):
        run_options("fcp", variant="mine")
    for lr in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="expected a finite number above 0"):
            run_options("fcp", optimizer="sgd", lr=lr)


@pytest.mark.parametrize("model", ["fcp", "lenet", "autoencoder", "lstm"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_side_by_side_each_run_has_the_bits_it_has_alone(model: str, optimizer: str, small_mnist: Any) -> None:
    options: dict[str, Any] = {"optimizer": optimizer, "epochs": 2, "train_size": 150}
    together = train_together(model, small_mnist, [3, 5, 4], **options)
    for seed, run in zip([3, 5, 4], together, strict=True):
        alone = train(model, small_mnist, seed=seed, **options)
        assert np.array_equal(run.train_weights, alone.train_weights)
        assert np.array_equal(run.test_weights, alone.test_weights)
        assert run.metadata() == alone.metadata()
    assert not np.array_equal(together[0].train_weights, together[1].train_weights)


def test_an_interrupted_population_goes_on_with_the_same_bits(
    small_mnist: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY", 0)
    options: dict[str, Any] = {"optimizer": "adam", "epochs": 5}
    whole = train_together("fcp", small_mnist, [0, 1, 2], **options)

    def interrupt(seed: int, epoch: int, *_: float) -> None:
        if (seed, epoch) == (2, 3):
            raise KeyboardInterrupt

    set_threads(1)
    try:
        with pytest.raises(KeyboardInterrupt):
            train_to_folder(tmp_path / "out", "fcp", small_mnist, [0, 1, 2], progress=interrupt, **options)
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["checkpoint-0-2.npz"]
        runs, worked = train_to_folder(tmp_path / "out", "fcp", small_mnist, [0, 1, 2], **options)
    finally:
        set_threads(None)
    assert worked
    assert [run.metadata() for run in runs] == [run.metadata() for run in whole]


@pytest.mark.parametrize("optimizer", ["sgd", "lbfgs-gss"])
def test_worker_processes_give_the_same_bits(optimizer: str, small_mnist: Any, tmp_path: Path) -> None:
    seen: set[tuple[int, int]] = set()
    options: dict[str, Any] = {"optimizer": optimizer, "epochs": 3}
    set_threads(2)
    try:
        runs, worked = train_to_folder(
            tmp_path, "fcp", small_mnist, [1, 2, 3], progress=lambda seed, epoch, *_: seen.add((seed, epoch)), **options
        )
    finally:
        set_threads(None)
    assert worked
    assert seen == {(seed, epoch) for seed in (1, 2, 3) for epoch in range(4)}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.json", "test.npy", "train.npy"]
    for run in runs:
        alone = train("fcp", small_mnist, seed=run.options["seed"], **options)
        assert np.array_equal(run.train_weights, alone.train_weights)
        assert run.metadata() == alone.metadata()


def test_each_run_of_a_population_ends_at_its_own_floor(small_mnist: Any) -> None:
    whole = train_together("fcp", small_mnist, [0, 1, 2], optimizer="sgd", epochs=30)
    floor = float(np.median([run.curves["train_loss"][12] for run in whole]))
    options: dict[str, Any] = {"optimizer": "sgd", "epochs": 30, "loss_floor": floor}
    together = train_together("fcp", small_mnist, [0, 1, 2], **options)
    assert len({len(run.curves["train_loss"]) for run in together}) > 1
    for seed, run in enumerate(together):
        assert run.metadata() == train("fcp", small_mnist, seed=seed, **options).metadata()
        assert run.reason == "target loss"
        assert run.curves["train_loss"][-1] <= floor < run.curves["train_loss"][-2]


def test_a_run_that_overflows_ends_by_itself_without_warnings(small_mnist: Any, tmp_path: Path) -> None:
    options: dict[str, Any] = {"optimizer": "sgd", "lr": 20.0, "epochs": 6, "train_size": 150, "batch_size": 32}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        together = train_together("fcp", small_mnist, [0, 1, 3], **options)
        alone = [train("fcp", small_mnist, seed=seed, **options) for seed in (0, 1, 3)]
    assert [run.reason for run in together] == ["not finite", "epochs", "not finite"]
    assert len({len(run.curves["train_loss"]) for run in together}) == 3
    for run, other in zip(together, alone, strict=True):
        finite = np.isfinite(run.curves["train_loss"])
        assert finite[:-1].all()
        assert finite[-1] == (run.reason == "epochs")
        assert np.isfinite([run.train_weights, run.test_weights]).all()
        assert json_text(run.metadata()) == json_text(other.metadata())
    together[0].save(tmp_path)
    assert json_text(load_runs(tmp_path)[0].metadata()) == json_text(together[0].metadata())


def test_a_test_loss_that_is_not_finite_for_a_while_hides_no_lower_one() -> None:
    class Losses:
        def __init__(self, *losses: float) -> None:
            self.left = list(losses)

        def measure(self, points: np.ndarray) -> tuple[np.ndarray, None]:
            return np.array([self.left.pop(0)]), None

    records = Records(0.0)
    lands = [Losses(3.0, 2.0, 2.0, 2.0), Losses(3.0, np.nan, 2.5, 2.5)]
    for epoch in range(4):
        records.add(lands, np.full((1, 2), float(epoch)))
    assert records.best["test"][0, 0] == 2
    assert records.best["train"][0, 0] == 1  # the first of equals, whose epoch a run's minimum names
    assert not records.over().any()


NUMBERS: dict[str, tuple[Any, Any]] = {
    "seed": (np.int64(3), 3),
    "epochs": (np.array(4), 4),
    "lr": (np.float32(0.25), 0.25),
    "batch_size": (np.uint8(32), 32),
    "loss_floor": (np.float64(1e-3), 1e-3),
    "train_size": (200.0, 200),
    "dtype": (np.float32, "float32"),
}


def test_numpys_numbers_are_pythons_in_options_and_when_a_run_goes_on(
    small_mnist: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = {name: given for name, (given, _) in NUMBERS.items()}
    own = {name: plain for name, (_, plain) in NUMBERS.items()}
    options = run_options("fcp", optimizer="sgd", **theirs)
    assert options == run_options("fcp", optimizer="sgd", **own)
    assert json.loads(json.dumps(options)) == options
    assert [type(options[name]) for name in ("seed", "lr", "loss_floor")] == [int, float, float]
    assert type(run_options("fcp", optimizer="sgd", lr=1)["lr"]) is float
    assert run_options("fcp", seed=2**100)["seed"] == 2**100
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY", 0)
    del own["seed"], theirs["seed"]

    def interrupt(seed: int, epoch: int, *_: float) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    set_threads(1)
    try:
        with pytest.raises(KeyboardInterrupt):
            train_to_folder(tmp_path, "fcp", small_mnist, np.arange(2), progress=interrupt, optimizer="sgd", **theirs)
        runs, _ = train_to_folder(tmp_path, "fcp", small_mnist, [0, 1], optimizer="sgd", **own)
        again, worked = train_to_folder(tmp_path, "fcp", small_mnist, np.arange(2), optimizer="sgd", **theirs)
    finally:
        set_threads(None)
    assert not worked
    assert [run.metadata() for run in again] == [run.metadata() for run in runs]
    assert runs[1].metadata() == train("fcp", small_mnist, optimizer="sgd", seed=1, **own).metadata()


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"epochs": 2.5}, TypeError, "epochs is 2.5; expected a whole number"),
        ({"epochs": "3"}, TypeError, "epochs is '3'; expected a number"),
        ({"epochs": -1}, ValueError, "epochs is -1; expected at least 0"),
        ({"seed": -1}, ValueError, "seed is -1"),
        ({"seed": np.nan}, TypeError, "seed is nan"),
        ({"batch_size": 0}, ValueError, "batch_size is 0"),
        ({"train_size": 0}, ValueError, "train_size is 0"),
        ({"lr": "0.1"}, TypeError, "lr is '0.1'; expected a number"),
        ({"lr": [0.1]}, TypeError, "lr is"),
        ({"loss_floor": np.nan}, ValueError, "loss_floor is nan"),
    ],
)
def test_numbers_that_are_none_are_refused_by_name(given: dict[str, Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        run_options("fcp", optimizer="sgd", **given)


def test_a_set_that_is_smaller_than_asked_for_is_recorded_as_large_as_it_is(small_mnist: Mnist, tmp_path: Path) -> None:
    runs, _ = train_to_folder(tmp_path, "fcp", small_mnist, [0], epochs=1, optimizer="sgd")
    assert runs[0].options["train_size"] == read_json(tmp_path / "run.json")[0]["train_size"] == 300
    for size in (None, 300, 301, 70_000):  # all the same run
        again, worked = train_to_folder(tmp_path, "fcp", small_mnist, [0], epochs=1, optimizer="sgd", train_size=size)
        assert (worked, again[0].metadata()) == (False, runs[0].metadata())
    with pytest.raises(ValueError, match="299"):
        train_to_folder(tmp_path, "fcp", small_mnist, [0], epochs=1, optimizer="sgd", train_size=299)
    document = read_json(tmp_path / "run.json")  # as version 0.1 wrote it
    document[0]["train_size"] = 60_000
    (tmp_path / "run.json").write_text(json_text(document))
    _, worked = train_to_folder(tmp_path, "fcp", small_mnist, [0], epochs=1, optimizer="sgd", variant="paper")
    assert not worked


@pytest.mark.parametrize("optimizer", ["sgd", "lbfgs-gss"])
def test_a_run_goes_on_with_data_that_have_moved_and_with_no_others(
    optimizer: str, small_mnist: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY", 0)
    options: dict[str, Any] = {"optimizer": optimizer, "epochs": 20}

    def interrupt(seed: int, epoch: int, *_: float) -> None:
        if epoch == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_to_folder(tmp_path / "before", "fcp", small_mnist, [0], progress=interrupt, **options)
    (tmp_path / "before").rename(tmp_path / "after")
    monkeypatch.chdir(tmp_path)
    fewer = replace(small_mnist, test=small_mnist.test[:50])
    for other, message in (
        (fewer, "100 test images, not 50"),
        (replace(small_mnist, key="other"), "blobs made for the tests, blobs"),
    ):
        with pytest.raises(ValueError, match=f"checkpoint-0-0.npz is the checkpoint of a run on other data.*{message}"):
            train_to_folder("after", "fcp", other, [0], **options)
    moved = replace(small_mnist, source="the same blobs, elsewhere")
    seen: list[int] = []
    runs, _ = train_to_folder("after", "fcp", moved, [0], progress=lambda _, epoch, *__: seen.append(epoch), **options)
    assert seen[0] > 9
    whole = train("fcp", small_mnist, **options)
    assert np.array_equal(runs[0].train_weights, whole.train_weights)
    assert runs[0].metadata() == {**whole.metadata(), "data": {**whole.data, "source": "the same blobs, elsewhere"}}
    with pytest.raises(ValueError, match="after holds a run on other data: 100 test images, not 50"):
        train_to_folder("after", "fcp", fewer, [0], **options)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "lbfgs-gss"])
def test_finished_seeds_of_an_unfinished_set_go_on_with_other_epochs(
    optimizer: str, small_mnist: Mnist, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"optimizer": optimizer, "train_size": 100}

    def interrupt(seed: int, epoch: int, *_: float) -> None:
        if (seed, epoch) == (2, 1):
            raise KeyboardInterrupt

    def first(epochs: int) -> None:
        with pytest.raises(KeyboardInterrupt):
            train_to_folder(tmp_path, "fcp", small_mnist, [0, 1, 2], epochs=epochs, progress=interrupt, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minilandscape.training.folder._groups", lambda *_: [[0], [1], [2]])
        patch.setattr("minilandscape.training.folder.thread_count", lambda: 1)
        first(10)
        assert sorted(path.name for path in tmp_path.glob(".seed*")) == [".seed0", ".seed1"]
    set_threads(1)
    try:
        with pytest.raises(ValueError, match=r"seed 0 that has done 10 epochs, beyond 9: ask for 10 epochs or more"):
            train_to_folder(tmp_path, "fcp", small_mnist, [0, 1, 2], epochs=9, **options)
        seen: dict[int, list[int]] = {0: [], 1: [], 2: []}
        runs, _ = train_to_folder(
            tmp_path,
            "fcp",
            small_mnist,
            [0, 1, 2],
            epochs=20,
            progress=lambda seed, epoch, *_: seen[seed].append(epoch),
            **options,
        )
    finally:
        set_threads(None)
    assert [seen[seed][0] for seed in range(3)] == [11, 11, 0]  # from where they were
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.json", "test.npy", "train.npy"]
    for run in runs:
        assert run.metadata() == train("fcp", small_mnist, seed=run.options["seed"], epochs=20, **options).metadata()


def test_a_run_that_ended_by_itself_is_the_same_with_other_epochs(small_mnist: Mnist, tmp_path: Path) -> None:
    options: dict[str, Any] = {"optimizer": "lbfgs-gss", "train_size": 60, "loss_floor": 1.5}

    def interrupt(seed: int, epoch: int, *_: float) -> None:
        if seed == 1:
            raise KeyboardInterrupt

    set_threads(1)
    try:
        with pytest.raises(KeyboardInterrupt):
            train_to_folder(tmp_path, "fcp", small_mnist, [0, 1], epochs=500, progress=interrupt, **options)
        seen: set[int] = set()
        runs, _ = train_to_folder(
            tmp_path, "fcp", small_mnist, [0, 1], epochs=300, progress=lambda seed, *_: seen.add(seed), **options
        )
    finally:
        set_threads(None)
    assert seen == {1}
    assert runs[0].reason == "target loss"
    assert runs[0].metadata() == train("fcp", small_mnist, epochs=300, **options).metadata()


def test_work_on_other_seeds_is_kept(small_mnist: Mnist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_EVERY", 0)
    options: dict[str, Any] = {"optimizer": "sgd", "epochs": 3, "train_size": 100}

    def interrupt(seed: int, epoch: int, *_: float) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    set_threads(1)
    try:
        with pytest.raises(KeyboardInterrupt):
            train_to_folder(tmp_path, "fcp", small_mnist, [7, 2, 3], progress=interrupt, **options)
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        assert list(before) == ["checkpoint-7-3.npz"]
        for seeds, others in (([0, 1], "seeds 2, 3, 7"), ([7, 3], "seed 2")):
            with pytest.raises(ValueError, match=f"holds unfinished work on the {others}: repeat the command"):
                train_to_folder(tmp_path, "fcp", small_mnist, seeds, **options)
            assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
        seen: list[tuple[int, int]] = []
        more = [1, 2, 3, 5, 7]  # others beside them are welcome
        runs, _ = train_to_folder(
            tmp_path, "fcp", small_mnist, more, progress=lambda seed, epoch, *_: seen.append((seed, epoch)), **options
        )
    finally:
        set_threads(None)
    assert (2, 1) not in seen
    assert [run.options["seed"] for run in runs] == more
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut/checkpoint-0-0.npz").write_bytes(next(iter(before.values()))[:1000])
    with pytest.raises(
        ValueError, match=r"checkpoint-0-0\.npz is not .* remove it to train its seeds from their start"
    ):
        train_to_folder(tmp_path / "cut", "fcp", small_mnist, [0], **options)
    for seeds in ([], [1, 1]):
        with pytest.raises(ValueError, match="expected at least one, and none twice"):
            train_to_folder(tmp_path / "new", "fcp", small_mnist, seeds, **options)
    assert not (tmp_path / "new").exists()


def test_vectors_that_their_record_does_not_name_are_refused(small_mnist: Mnist, tmp_path: Path) -> None:
    options: dict[str, Any] = {"optimizer": "sgd", "epochs": 1, "train_size": 50}
    runs, _ = train_to_folder(tmp_path, "fcp", small_mnist, [0, 1], **options)
    whole = np.load(tmp_path / "test.npy")
    assert [run.metadata() for run in load_runs(tmp_path)] == [run.metadata() for run in runs]
    for other in (whole[::-1], whole[:1], whole * np.float32(2), whole.astype(np.float64)):
        np.save(tmp_path / "test.npy", other)
        with pytest.raises(ValueError, match=r"test\.npy holds other weights than .*run\.json records"):
            load_runs(tmp_path)
        with pytest.raises(ValueError, match="holds other weights"):  # which is not this run, finished
            train_to_folder(tmp_path, "fcp", small_mnist, [0, 1], **options)
    np.save(tmp_path / "test.npy", whole)
    for text in ("{}", "[1, 2]", "[]", "null"):
        (tmp_path / "run.json").write_text(text)
        with pytest.raises(ValueError, match=r"run\.json"):
            load_runs(tmp_path)
    with pytest.raises(TypeError, match="data is Images; expected a training and a test set"):
        train("fcp", small_mnist.train, epochs=0)
    with pytest.raises(TypeError, match="data is NoneType"):
        train_to_folder(tmp_path / "new", "fcp", None, [0])


def script(small_mnist: Mnist, folder: Path, *lines: str) -> subprocess.Popen[str]:
    """A process that has ``train_to_folder`` and the small data at hand."""
    parts = {"train": small_mnist.train, "test": small_mnist.test}
    if not (folder / "data.npz").exists():
        arrays = {f"{name}_{part}": getattr(split, long) for part, split in parts.items() for name, long in NAMES}
        np.savez(folder / "data.npz", **arrays)
    head = (
        "import signal, sys, time",
        "signal.signal(signal.SIGINT, signal.default_int_handler)",
        "from minilandscape.backend import set_threads",
        "from minilandscape.data import load_mnist",
        "from minilandscape.training import train_to_folder",
        "data = load_mnist('data.npz')",
    )
    text = "\n".join((*head, *lines))
    return subprocess.Popen([sys.executable, "-c", text], cwd=folder, stdout=subprocess.PIPE, text=True)


NAMES = (("x", "images"), ("y", "labels"))


def test_two_processes_on_one_folder_wait_for_each_other(small_mnist: Mnist, tmp_path: Path) -> None:
    line = "train_to_folder('out', 'fcp', data, [0, 1], epochs=40, optimizer='sgd', notify=said.append)[1]"
    command = ("set_threads(1)", "said = []", f"print({line}, *said)")
    processes = [script(small_mnist, tmp_path, *command) for _ in range(3)]
    answers = sorted(process.communicate(timeout=120)[0].split(" ", 1) for process in processes)
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert [answer[0].strip() for answer in answers] == ["False", "False", "True"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["run.json", "test.npy", "train.npy"]


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is locked there")
def test_who_waits_is_told_for_whom_and_a_dead_holder_frees_the_lock(small_mnist: Mnist, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    holder = script(
        small_mnist,
        tmp_path,
        "from minilandscape.files import locked",
        "with locked('out/.lock'): print('held', flush=True); time.sleep(600)",
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    waiter = script(
        small_mnist,
        tmp_path,
        "def say(text): print(text, flush=True)",
        "print(train_to_folder('out', 'fcp', data, [0], epochs=1, optimizer='sgd', notify=say)[1])",
    )
    assert waiter.stdout is not None
    assert f"waiting for process {holder.pid} on " in waiter.stdout.readline()
    assert waiter.poll() is None
    holder.kill()
    holder.wait()
    assert waiter.communicate(timeout=30)[0] == "True\n"
    assert sorted(path.name for path in out.iterdir()) == ["run.json", "test.npy", "train.npy"]
    finished = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    with locked(out / ".lock"):  # who has nothing to do waits for nobody
        data = load_mnist(tmp_path / "data.npz")
        assert not train_to_folder(out, "fcp", data, [0], epochs=1, optimizer="sgd")[1]
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == finished


@pytest.mark.skipif(sys.platform == "win32", reason="there are no POSIX signals")
def test_ctrl_c_ends_who_waits_for_a_lock(small_mnist: Mnist, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with locked(tmp_path / "out/.lock"):
        waiter = script(
            small_mnist,
            tmp_path,
            "def say(text): print(text, flush=True)",
            "train_to_folder('out', 'fcp', data, [0], epochs=1, notify=say)",
        )
        assert waiter.stdout is not None
        assert "waiting" in waiter.stdout.readline()
        waiter.send_signal(signal.SIGINT)
        assert waiter.wait(timeout=20) == -signal.SIGINT


def children(pid: int) -> list[int]:
    """The processes that a process has started, by what /proc says of their parents."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            number, rest = status.parent.name, status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(rest[1]) == pid and b"LokyProcess" in (status.parent / "cmdline").read_bytes():
            found.append(int(number))
    return found


def work_of(pid: int) -> int:
    """The ticks of a processor that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def until(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} within {seconds} s"
        time.sleep(0.05)


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc")
def test_ctrl_c_ends_whatever_a_killed_worker_held(small_mnist: Mnist, tmp_path: Path) -> None:
    """What shows the progress is slow, so that workers wait for it to read, and one of them is killed as it does."""
    process = script(
        small_mnist,
        tmp_path,
        "set_threads(2)",
        "def show(*_): time.sleep(0.05)",
        "from dataclasses import replace",
        "options = dict(optimizer='sgd', epochs=10**6, train_size=1, progress=show)",
        "train_to_folder('out', 'fcp', replace(data, test=data.test[:1]), [0, 1], **options)",
    )
    try:
        until(lambda: len(children(process.pid)) == 2, "two workers")
        workers = children(process.pid)

        def blocked() -> bool:
            before = [work_of(pid) for pid in workers]
            time.sleep(0.3)
            return before == [work_of(pid) for pid in workers] and min(before) > 30

        until(blocked, "workers wait")
        os.kill(workers[0], signal.SIGKILL)
        process.send_signal(signal.SIGINT)
        process.wait(timeout=20)
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), "no worker is left", 10)
    finally:
        process.kill()
        process.wait()


def test_what_shows_the_progress_may_fail_and_ends_the_training(small_mnist: Mnist, tmp_path: Path) -> None:
    def show(seed: int, *_: float) -> None:
        raise BrokenPipeError("the terminal is gone")

    set_threads(2)
    try:
        with pytest.raises(BrokenPipeError, match="the terminal is gone"):
            train_to_folder(
                tmp_path / "out",
                "fcp",
                small_mnist,
                [0, 1],
                optimizer="sgd",
                epochs=100_000,
                train_size=1,
                progress=show,
            )
    finally:
        set_threads(None)
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
