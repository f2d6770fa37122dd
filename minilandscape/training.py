"""Training one run: epochs, both loss curves, the vectors at their minima, checkpoints."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .backend import to_device, to_host
from .data import Mnist
from .files import read_json, read_result, read_vectors, sha256, write_json, write_result, write_vectors
from .landscape import Evaluations
from .networks import get_network, initial_vector, network_landscape, variant_train_size
from .optimizers import EpochState, LandscapeLine, LbfgsState, adam_batches, lbfgs_gss, sgd
from .optimizers.lbfgs import REFRESH

OPTIMIZERS = ("lbfgs-gss", "sgd", "adam")
EPOCHS = {"lbfgs-gss": 1000, "sgd": 75, "adam": 75}
RATES = {"sgd": 0.1, "adam": 1e-3}
CURVES = ("train_loss", "test_loss", "train_accuracy", "test_accuracy")
#: Seconds between checkpoints, at least.
CHECKPOINT_EVERY = 10.0


@dataclass(frozen=True)
class Run:
    """A training run.

    Attributes
    ----------
    train_weights, test_weights
        (D,): the vectors at the minimum of the training and of the test loss curve.
    curves
        ``train_loss``, ``test_loss``, ``train_accuracy``, ``test_accuracy``, one entry an epoch (iteration of
        L-BFGS-GSS), the first before any step; no accuracies for the autoencoder.
    reason
        Why it ended: ``"epochs"``, ``"loss floor"``, ``"line search"``, ``"zero gradient"``, ``"not finite"``.
    evaluations
        Points on the training landscape: values, and gradients (over mini-batches for SGD and Adam).
    options
        Everything that determines the run.
    data
        What it was trained on.
    """

    train_weights: np.ndarray
    test_weights: np.ndarray
    curves: dict[str, np.ndarray]
    reason: str
    evaluations: Evaluations
    options: dict[str, Any]
    data: dict[str, Any]

    @property
    def train_minimum(self) -> dict[str, Any]:
        """``loss`` and ``epoch`` at the minimum of the training loss curve."""
        return _minimum(self.curves["train_loss"])

    @property
    def test_minimum(self) -> dict[str, Any]:
        """``loss`` and ``epoch`` at the minimum of the test loss curve."""
        return _minimum(self.curves["test_loss"])

    def facts(self) -> dict[str, Any]:
        """The record that ``run.json`` holds."""
        return {
            **self.options,
            "data": self.data,
            "train_minimum": self.train_minimum,
            "test_minimum": self.test_minimum,
            "reason": self.reason,
            "evaluations": vars(self.evaluations).copy(),
            "sha256": {"train": sha256(self.train_weights), "test": sha256(self.test_weights)},
            "curves": {name: curve.tolist() for name, curve in self.curves.items()},
        }

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes ``train.npy``, ``test.npy`` and ``run.json``."""
        save_runs(folder, [self], single=True)

    def plot(self, axes: Any = None) -> Any:
        """Draws both loss curves, their minima marked, on some axes, new ones if None; returns them."""
        if axes is None:
            from matplotlib.figure import Figure

            axes = Figure(figsize=(6, 4), layout="constrained").subplots()
        for name, colour in (("train", "tab:blue"), ("test", "tab:orange")):
            curve = self.curves[f"{name}_loss"]
            axes.semilogy(np.maximum(curve, np.finfo(float).tiny), color=colour, label=f"{name} loss")
            axes.axvline(_minimum(curve)["epoch"], color=colour, ls="--", lw=0.8)
        axes.set(xlabel="epoch", ylabel="loss", title=f"{self.options['model']}, {self.options['optimizer']}")
        axes.legend(frameon=False)
        return axes


def _minimum(curve: np.ndarray) -> dict[str, Any]:
    k = int(np.nanargmin(curve)) if np.isfinite(curve).any() else 0
    return {"loss": float(curve[k]), "epoch": k}


def save_runs(folder: str | os.PathLike[str], runs: list[Run], single: bool = False) -> None:
    """Writes runs as ``train.npy``, ``test.npy`` (K, D) and ``run.json`` (a list); of one run, as (D,) and a record."""
    folder = Path(folder)
    for name in ("train", "test"):
        vectors = np.stack([getattr(run, f"{name}_weights") for run in runs])
        write_vectors(folder / f"{name}.npy", vectors[0] if single else vectors)
    facts = [run.facts() for run in runs]
    write_json(folder / "run.json", facts[0] if single else facts)


def load_runs(folder: str | os.PathLike[str]) -> list[Run]:
    """Reads what :func:`save_runs` wrote."""
    folder = Path(folder)
    documents = read_json(folder / "run.json")
    documents = documents if isinstance(documents, list) else [documents]
    sets = [np.atleast_2d(read_vectors(folder / f"{name}.npy")) for name in ("train", "test")]
    runs = []
    for facts, train_weights, test_weights in zip(documents, *sets, strict=True):
        derived = ("data", "train_minimum", "test_minimum", "reason", "evaluations", "sha256", "curves")
        options = {name: value for name, value in facts.items() if name not in derived}
        curves = {name: np.array(curve, dtype=np.float64) for name, curve in facts["curves"].items()}
        counts = Evaluations(**facts["evaluations"])
        runs.append(Run(train_weights, test_weights, curves, facts["reason"], counts, options, facts["data"]))
    return runs


def run_options(
    model: str,
    *,
    optimizer: str = "lbfgs-gss",
    variant: str = "paper",
    train_size: int | None = None,
    epochs: int | None = None,
    lr: float | None = None,
    batch_size: int = 64,
    seed: int = 0,
    loss_floor: float = 1e-8,
    device: str = "cpu",
    dtype: str = "float32",
) -> dict[str, Any]:
    """Everything that determines a run, defaults filled in; ValueError where options do not go together."""
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"optimizer is {optimizer!r}; expected one of {', '.join(OPTIMIZERS)}")
    if optimizer == "lbfgs-gss" and lr is not None:
        raise ValueError("lr belongs to sgd and adam; lbfgs-gss finds its own steps")
    get_network(model, variant)
    epochs = EPOCHS[optimizer] if epochs is None else epochs
    if epochs < 0:
        raise ValueError(f"epochs is {epochs}; expected at least 0")
    if train_size is not None and train_size < 1:
        raise ValueError(f"train_size is {train_size}; expected at least 1")
    options: dict[str, Any] = {
        "model": model,
        "variant": variant,
        "optimizer": optimizer,
        "epochs": epochs,
        "seed": seed,
        "train_size": variant_train_size(variant) if train_size is None else train_size,
        "dtype": dtype,
        "device": device,
    }
    if optimizer == "lbfgs-gss":
        return {**options, "loss_floor": loss_floor}
    return {**options, "lr": RATES[optimizer] if lr is None else lr, "batch_size": batch_size}


def train(
    model: str,
    data: Mnist,
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Callable[[int, float, float], None] | None = None,
    **options: Any,
) -> Run:
    """Trains a network from a random start; keeps both loss curves and the vectors at their minima.

    Parameters
    ----------
    model
        ``"fcp"``, ``"lenet"``, ``"autoencoder"`` or ``"lstm"``.
    data
        Cut to ``train_size``, or the variant's size; a smaller set is used whole.
    checkpoint
        A file that the run goes on from where it exists, and leaves its state in on the way. The run then has the same
        bits as one that was not interrupted. Once the run is saved, :func:`remove_checkpoint` takes it away.
    progress
        Called with (epoch, training loss, test loss).
    **options
        ``optimizer`` ("lbfgs-gss", "sgd", "adam"), ``variant``, ``train_size``, ``epochs`` (1,000 iterations of
        L-BFGS-GSS, 75 epochs else), ``lr`` (0.1 for sgd, 1e-3 for adam), ``batch_size`` (64), ``seed`` (0),
        ``loss_floor`` (1e-8: ends L-BFGS-GSS; 0 turns it off), ``device``, ``dtype``.

    Raises
    ------
    ValueError
        If options do not go together, or the checkpoint belongs to others.
    """
    options = run_options(model, **options)
    data = data.cut(options["train_size"])
    facts = _data_facts(data)
    common = {name: options[name] for name in ("variant", "device", "dtype")}
    lands = [network_landscape(model, images, **common) for images in (data.train, data.test)]
    saved = None if checkpoint is None or not Path(checkpoint).exists() else _read(checkpoint, options, facts)
    curves: dict[str, list[float]] = {name: [] for name in CURVES}
    best: dict[str, Any] = {"train": None, "test": None}
    if saved is not None:
        curves, best = saved[1], saved[2]
    reason, written = "epochs", time.monotonic()
    state: Any = None
    for state in _states(lands[0], options, saved[0] if saved else None):
        epoch = state.iteration if isinstance(state, LbfgsState) else state.epoch
        if epoch == len(curves["train_loss"]):
            _measure(lands, state.x, curves, best)
            if progress is not None:
                progress(epoch, curves["train_loss"][-1], curves["test_loss"][-1])
        if getattr(state, "reason", None):
            reason = state.reason
            break
        if epoch >= options["epochs"]:
            break
        may_resume = not isinstance(state, LbfgsState) or epoch % REFRESH == 0
        if checkpoint is not None and may_resume and time.monotonic() - written > CHECKPOINT_EVERY:
            _write(checkpoint, options, facts, state, curves, best)
            written = time.monotonic()
    return Run(
        train_weights=best["train"],
        test_weights=best["test"],
        curves={name: np.array(curve) for name, curve in curves.items()},
        reason=reason,
        evaluations=state.evaluations,
        options=options,
        data=facts,
    )


def train_to_folder(
    folder: str | os.PathLike[str],
    model: str,
    data: Mnist,
    seeds: list[int],
    *,
    single: bool = False,
    progress: Callable[[int, int, float, float], None] | None = None,
    **options: Any,
) -> tuple[list[Run], bool]:
    """Trains a run for each seed into a folder; goes on where an interrupted call stopped.

    Finished seeds are kept, each in a folder of its own, until all are; then ``train.npy`` and ``test.npy`` hold one
    row a seed and ``run.json`` a list (with ``single``, one vector and one record), and nothing else is left.

    Parameters
    ----------
    progress
        Called with (seed, epoch, training loss, test loss).
    **options
        Of :func:`train`.

    Returns
    -------
    runs, worked : list of Run, bool
        ``worked`` is False where all was finished already.

    Raises
    ------
    ValueError
        If the folder holds runs with other options or on other data.
    """
    folder = Path(folder)
    wanted = [run_options(model, seed=seed, **options) for seed in seeds]
    data = data.cut(wanted[0]["train_size"])
    facts = _data_facts(data)
    if (folder / "run.json").exists():
        runs = load_runs(folder)
        _refuse_others(folder, [run.options for run in runs], [run.data for run in runs], wanted, facts)
        return runs, False
    runs = []
    for seed, expected in zip(seeds, wanted, strict=True):
        done, checkpoint = folder / f".seed{seed}", folder / f"checkpoint-{seed}.npz"
        if (done / "run.json").exists():
            runs += load_runs(done)
            _refuse_others(done, [runs[-1].options], [runs[-1].data], [expected], facts)
            continue
        show = None if progress is None else partial(progress, seed)
        runs.append(train(model, data, seed=seed, checkpoint=checkpoint, progress=show, **options))
        if not single:
            runs[-1].save(done)
            remove_checkpoint(checkpoint)
    save_runs(folder, runs, single)
    for seed in seeds:
        remove_checkpoint(folder / f"checkpoint-{seed}.npz")
        shutil.rmtree(folder / f".seed{seed}", ignore_errors=True)
    return runs, True


def _data_facts(data: Mnist) -> dict[str, Any]:
    return {"key": data.key, "source": data.source, "n_train": len(data.train), "n_test": len(data.test)}


def _refuse_others(folder: Path, found: list[Any], data: list[Any], wanted: list[Any], facts: dict[str, Any]) -> None:
    """Refuses a folder whose finished runs are not the ones that are wanted."""
    if len(found) != len(wanted):
        raise ValueError(f"{folder} holds {len(found)} finished runs, not {len(wanted)}; name another folder")
    for has, on, want in zip(found, data, wanted, strict=True):
        for name in sorted(set(has) | set(want)):
            if has.get(name) != want.get(name):
                raise ValueError(
                    f"{folder} holds a finished run with other options: {name} is {has.get(name)}, not "
                    f"{want.get(name)}; name another folder"
                )
        if on["key"] != facts["key"]:
            raise ValueError(f"{folder} holds a run on other data ({on['source']}); name another folder")


def remove_checkpoint(path: str | os.PathLike[str]) -> None:
    """Removes a checkpoint, and what a killed process left of one that it was writing."""
    path = Path(path)
    for file in (path, *path.parent.glob(f".{path.name}.*.tmp")):
        file.unlink(missing_ok=True)


def _states(landscape: Any, options: dict[str, Any], state: Any) -> Iterator[Any]:
    start_seed, batch_seed = np.random.SeedSequence(options["seed"]).spawn(2)
    x = initial_vector(options["model"], np.random.default_rng(start_seed), options["dtype"])
    if options["optimizer"] == "lbfgs-gss":
        line = LandscapeLine(landscape, x if state is None else state.x)
        return lbfgs_gss(line, loss_floor=options["loss_floor"], state=state)
    rates = {name: options[name] for name in ("lr", "batch_size")}
    method = sgd if options["optimizer"] == "sgd" else adam_batches
    return method(landscape, x, np.random.default_rng(batch_seed), state=state, **rates)


def _measure(lands: list[Any], x: Any, curves: dict[str, list[float]], best: dict[str, Any]) -> None:
    """Adds an epoch to the curves and keeps its vector where it is the lowest so far."""
    for name, landscape in zip(("train", "test"), lands, strict=True):
        losses, accuracies = landscape.measure(x[None])
        curve = curves[f"{name}_loss"]
        if not curve or losses[0] < min(curve):
            best[name] = to_host(x).copy()
        curve.append(float(losses[0]))
        if accuracies is not None:
            curves[f"{name}_accuracy"].append(float(accuracies[0]))


def _write(path: Any, options: Any, facts: Any, state: Any, curves: Any, best: Any) -> None:
    arrays = {f"curve_{name}": np.array(curve) for name, curve in curves.items()}
    arrays |= {"best_train": best["train"], "best_test": best["test"], "x": to_host(state.x)}
    known: dict[str, Any] = {"options": options, "data": facts, "evaluations": vars(state.evaluations).copy()}
    if isinstance(state, LbfgsState):
        known |= {"iteration": state.iteration, "value": state.value}
        for name in ("s", "y"):
            for k, vector in enumerate(getattr(state, name)):
                arrays[f"{name}{k:03d}"] = to_host(vector)
        if state.last is not None:
            arrays["last_x"], arrays["last_g"] = (to_host(a) for a in state.last)
    else:
        known |= {"epoch": state.epoch, "rng": state.rng, "count": state.moments[0] if state.moments else 0}
        if state.moments:
            arrays["m"], arrays["v"] = (to_host(a) for a in state.moments[1:])
    write_result(path, "checkpoint", arrays, known)


def _read(path: Any, options: dict[str, Any], facts: dict[str, Any]) -> tuple[Any, Any, Any]:
    arrays, known = read_result(path, "checkpoint")
    wanted = json.loads(json.dumps({**options, "data": facts}))
    found = {**known["options"], "data": known["data"]}
    for name in sorted(set(wanted) | set(found)):
        if wanted.get(name) != found.get(name):
            raise ValueError(
                f"{path} is the checkpoint of a run with {name} {found.get(name)}, not {wanted.get(name)}: "
                "use its options, another folder, or remove it"
            )

    def device(array: np.ndarray) -> Any:
        return to_device(array, options["device"])

    evaluations, x = Evaluations(**known["evaluations"]), device(arrays["x"])
    state: Any
    if "iteration" in known:
        s, y = (tuple(device(arrays[k]) for k in sorted(arrays) if k[0] == c and k[1:].isdigit()) for c in "sy")
        last = (device(arrays["last_x"]), device(arrays["last_g"])) if "last_x" in arrays else None
        state = LbfgsState(known["iteration"], x, known["value"], evaluations, s, y, last)
    else:
        moments = (known["count"], device(arrays["m"]), device(arrays["v"])) if "m" in arrays else ()
        state = EpochState(known["epoch"], x, evaluations, known["rng"], moments)
    curves = {name: arrays[f"curve_{name}"].tolist() for name in CURVES}
    return state, curves, {"train": arrays["best_train"], "test": arrays["best_test"]}
