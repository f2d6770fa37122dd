"""Training one run: epochs, both loss curves, the vectors at their minima, checkpoints."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .backend import thread_count, to_device, to_host
from .data import Mnist
from .files import read_json, read_result, read_vectors, sha256, write_json, write_result, write_vectors
from .landscape import Evaluations
from .networks import get_network, initial_vector, network_landscape, variant_train_size
from .optimizers import EpochState, LandscapeLine, LbfgsState, adam_batches, lbfgs_gss, sgd
from .optimizers.lbfgs import REFRESH
from .workers import worker_processes

OPTIMIZERS = ("lbfgs-gss", "sgd", "adam")
EPOCHS = {"lbfgs-gss": 1000, "sgd": 75, "adam": 75}
RATES = {"sgd": 0.1, "adam": 1e-3}
FLOORS = {"lbfgs-gss": 1e-8, "sgd": 0.0, "adam": 0.0}
CURVES = ("train_loss", "test_loss", "train_accuracy", "test_accuracy")
#: Seconds between checkpoints, at least.
CHECKPOINT_EVERY = 10.0
CHECKPOINTS = "checkpoint-*.npz"


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
        Why it ended: ``"epochs"``, ``"loss floor"``, ``"line search"``, ``"zero gradient"``, or ``"not finite"``: so
        is the last training loss, a sign of too large an ``lr``.
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
    loss_floor: float | None = None,
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
    if loss_floor is None:
        loss_floor = FLOORS[optimizer]
    if not loss_floor >= 0:
        raise ValueError(f"loss_floor is {loss_floor}; expected a loss, or 0, which turns it off")
    options["loss_floor"] = loss_floor
    if lr is not None and not 0 < lr < np.inf:
        raise ValueError(f"lr is {lr}; expected a finite number above 0")
    if optimizer == "lbfgs-gss":
        return options
    return {**options, "lr": RATES[optimizer] if lr is None else lr, "batch_size": batch_size}


def train(
    model: str,
    data: Mnist,
    *,
    seed: int = 0,
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
    seed
        Of the initial weights and of the order of the images.
    checkpoint
        A file that the run goes on from where it exists, and leaves its state in on the way. The run then has the same
        bits as one that was not interrupted. ``epochs`` may be another number by then, so that a run can be ended
        early, or made longer. Once the run is saved, :func:`remove_checkpoint` takes it away.
    progress
        Called with (epoch, training loss, test loss).
    **options
        ``optimizer`` ("lbfgs-gss", "sgd", "adam"), ``variant``, ``train_size``, ``epochs`` (1,000 iterations of
        L-BFGS-GSS, 75 epochs else), ``lr`` (0.1 for sgd, 1e-3 for adam), ``batch_size`` (64),
        ``loss_floor`` (a run ends at a training loss this low: 1e-8 for L-BFGS-GSS, else 0, which turns it off),
        ``device``, ``dtype``.

    Raises
    ------
    ValueError
        If options do not go together, or the checkpoint belongs to others.
    """
    show = None if progress is None else lambda _, *reached: progress(*reached)
    return train_together(model, data, [seed], checkpoint=checkpoint, progress=show, **options)[0]


def train_together(
    model: str,
    data: Mnist,
    seeds: list[int],
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int, float, float], None] | None = None,
    **options: Any,
) -> list[Run]:
    """Trains a run for each seed side by side, as one stack of vectors: on a GPU one batched product serves them all.

    Each run has its own start and order of the images, and on a CPU the bits that :func:`train` gives it alone.
    Line searches have nothing to share, so ``lbfgs-gss`` takes one seed at a time.

    Parameters
    ----------
    progress
        Called with (seed, epoch, training loss, test loss).
    **options
        Of :func:`train`, as are the other parameters.
    """
    settings = [run_options(model, seed=seed, **options) for seed in seeds]
    common = settings[0]
    if common["optimizer"] == "lbfgs-gss" and len(seeds) != 1:
        raise ValueError(f"lbfgs-gss trains one seed at a time, and got {len(seeds)}; call it once a seed")
    data = data.cut(common["train_size"])
    facts = data_facts(data)
    lands = [
        network_landscape(model, images, common["variant"], common["device"], common["dtype"])
        for images in (data.train, data.test)
    ]
    resumes = checkpoint is not None and Path(checkpoint).exists()
    saved, records = _read(checkpoint, settings, facts) if resumes else (None, _Records(common["loss_floor"]))
    reason, written = "epochs", time.monotonic()
    state: Any = None
    for state in _states(lands[0], settings, saved):
        epoch = state.iteration if isinstance(state, LbfgsState) else state.epoch
        if epoch == len(records.curves["train_loss"]):
            records.add(lands, state.x.reshape(len(seeds), -1))
            if progress is not None:
                for k, seed in enumerate(seeds):
                    progress(seed, epoch, *(float(records.curves[f"{name}_loss"][-1][k]) for name in ("train", "test")))
        if isinstance(state, LbfgsState) and state.reason:
            reason = state.reason
            break
        if epoch >= common["epochs"] or records.over().all():
            break
        may_resume = not isinstance(state, LbfgsState) or epoch % REFRESH == 0
        if checkpoint is not None and may_resume and time.monotonic() - written > CHECKPOINT_EVERY:
            _write(checkpoint, settings, facts, state, records)
            written = time.monotonic()
    runs = []
    for k, (why, end) in enumerate(zip(records.reasons(), records.ends(), strict=True)):
        counts = state.evaluations + Evaluations()
        if end < epoch:
            counts.gradients = counts.gradients // epoch * int(end)
        runs.append(
            Run(
                train_weights=records.best["train"][k],
                test_weights=records.best["test"][k],
                curves={name: np.array([at[k] for at in curve[: end + 1]]) for name, curve in records.curves.items()},
                reason=why or reason,
                evaluations=counts,
                options=settings[k],
                data=facts,
            )
        )
    return runs


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

    On a CPU, several seeds go to worker processes, as many as there are cores, in each of them a few seeds side by
    side where that is faster; on a GPU all go together. Each run has the bits that it has alone.

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
    facts = data_facts(data)
    if (folder / "run.json").exists():
        runs = load_runs(folder)
        _refuse_others(folder, [run.options for run in runs], [run.data for run in runs], wanted, facts)
        return runs, False
    done = {seed: folder / f".seed{seed}" for seed in seeds}
    left = []
    for seed, expected in zip(seeds, wanted, strict=True):
        if (done[seed] / "run.json").exists():
            (run,) = load_runs(done[seed])
            _refuse_others(done[seed], [run.options], [run.data], [expected], facts)
        else:
            left.append(seed)
    work = partial(_train_group, folder, model, options)
    groups = _groups(folder, seeds, left, wanted[0])
    n_workers = 1 if wanted[0]["device"] != "cpu" else min(thread_count(), len(groups))
    if n_workers <= 1:
        for group in groups:
            work(data, progress, group)
    else:
        _in_workers(work, data, progress, groups, n_workers)
    runs = [load_runs(done[seed])[0] for seed in seeds]
    save_runs(folder, runs, single)
    for path in done.values():
        shutil.rmtree(path, ignore_errors=True)
    for path in folder.glob(CHECKPOINTS):
        remove_checkpoint(path)
    return runs, True


def _groups(folder: Path, seeds: list[int], left: list[int], options: dict[str, Any]) -> list[list[int]]:
    """Seeds that are trained side by side: those of a checkpoint, then as many as gain by it and leave no core idle."""
    groups = []
    for checkpoint in sorted(folder.glob(CHECKPOINTS)):
        first, last = (int(number) for number in checkpoint.stem.split("-")[1:])
        group = [seed for seed in seeds if first <= seed <= last]
        if set(group) & set(left):
            groups.append(group)
            left = [seed for seed in left if seed not in group]
    together = 1
    if left and options["optimizer"] != "lbfgs-gss":
        together = get_network(options["model"], options["variant"]).together
        together = min(together, -(-len(left) // thread_count())) if options["device"] == "cpu" else len(left)
    return groups + [left[k : k + together] for k in range(0, len(left), together)]


def _train_group(
    folder: Path, model: str, options: dict[str, Any], data: Mnist, progress: Any, group: list[int]
) -> None:
    checkpoint = folder / CHECKPOINTS.replace("*", f"{group[0]}-{group[-1]}")
    for run in train_together(model, data, group, checkpoint=checkpoint, progress=progress, **options):
        run.save(folder / f".seed{run.options['seed']}")
    remove_checkpoint(checkpoint)


def _in_workers(work: Any, data: Mnist, progress: Any, groups: list[list[int]], n_workers: int) -> None:
    """Trains the groups in worker processes, which send what they reach back to be shown."""
    from loky.backend import get_context

    queue = get_context("loky").SimpleQueue()
    listener = threading.Thread(target=_listen, args=(queue, progress), daemon=True)
    listener.start()
    try:
        with worker_processes(n_workers, thread_count() // n_workers, _keep, (work, data, queue)) as executor:
            for future in [executor.submit(_train_kept, group) for group in groups]:
                future.result()
    finally:
        queue.put(None)
        listener.join()


def _listen(queue: Any, progress: Any) -> None:
    while (reached := queue.get()) is not None:
        if progress is not None:
            progress(*reached)


#: What a worker process trains with; sent to it once.
_kept: tuple[Any, Any, Any] | None = None


def _keep(*kept: Any) -> None:
    global _kept
    _kept = kept


def _train_kept(group: list[int]) -> None:
    assert _kept is not None
    work, data, queue = _kept
    work(data, lambda *reached: queue.put(reached), group)


def data_facts(data: Mnist) -> dict[str, Any]:
    """What a result says of the images it comes from."""
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


class _Records:
    """The curves of K runs, and their vectors at the curves' minima.

    Attributes
    ----------
    curves
        A list of (K,) arrays by name.
    best
        (K, D) for ``"train"`` and for ``"test"``.
    """

    def __init__(self, floor: float) -> None:
        self.floor = floor
        self.curves: dict[str, list[np.ndarray]] = {name: [] for name in CURVES}
        self.best: dict[str, np.ndarray] = {}

    def _ending(self) -> np.ndarray:
        """(epochs, K): where a training loss ends its run, at the floor or not finite."""
        losses = np.array(self.curves["train_loss"])
        return (losses <= (self.floor or -1.0)) | ~np.isfinite(losses)

    def over(self) -> np.ndarray:
        """(K,): which runs are over."""
        return np.asarray(self._ending().any(axis=0))

    def ends(self) -> np.ndarray:
        """(K,): the epochs at which the runs were over, the last one so far where they are not."""
        ending = self._ending()
        return np.where(self.over(), ending.argmax(axis=0), len(ending) - 1)

    def reasons(self) -> list[str | None]:
        """Why each run is over; None where it is not."""
        losses = np.array(self.curves["train_loss"])[self.ends(), range(len(self.ends()))]
        return [
            None if not over else "loss floor" if np.isfinite(loss) else "not finite"
            for over, loss in zip(self.over(), losses, strict=True)
        ]

    def add(self, lands: list[Any], points: Any) -> None:
        """Measures points (K, D), and keeps those that are the lowest so far, of the runs that are not over."""
        going = ~self.over() if self.best else True
        for name, landscape in zip(("train", "test"), lands, strict=True):
            losses, accuracies = landscape.measure(points)
            curve = self.curves[f"{name}_loss"]
            if curve:
                lower = (losses < np.fmin.reduce(curve, axis=0, initial=np.inf)) & going
                if lower.any():
                    self.best[name][lower] = to_host(points)[lower]
            else:
                self.best[name] = to_host(points).copy()
            curve.append(losses)
            if accuracies is not None:
                self.curves[f"{name}_accuracy"].append(accuracies)


def _states(landscape: Any, settings: list[dict[str, Any]], state: Any) -> Iterator[Any]:
    options = settings[0]
    seeds = [np.random.SeedSequence(setting["seed"]).spawn(2) for setting in settings]
    x = np.stack([initial_vector(options["model"], np.random.default_rng(s), options["dtype"]) for s, _ in seeds])
    if options["optimizer"] == "lbfgs-gss":
        line = LandscapeLine(landscape, x[0] if state is None else state.x)
        return lbfgs_gss(line, loss_floor=options["loss_floor"], state=state)
    rates = {name: options[name] for name in ("lr", "batch_size")}
    method = sgd if options["optimizer"] == "sgd" else adam_batches
    return method(landscape, x, [np.random.default_rng(b) for _, b in seeds], state=state, **rates)


def _write(path: Any, settings: list[dict[str, Any]], facts: Any, state: Any, records: _Records) -> None:
    arrays = {f"curve_{name}": np.array(curve) for name, curve in records.curves.items()}
    arrays |= {"best_train": records.best["train"], "best_test": records.best["test"], "x": to_host(state.x)}
    known: dict[str, Any] = {"options": settings, "data": facts, "evaluations": vars(state.evaluations).copy()}
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


def _read(path: Any, settings: list[dict[str, Any]], facts: dict[str, Any]) -> tuple[Any, _Records]:
    arrays, known = read_result(path, "checkpoint")
    found = known["options"]
    if len(found) != len(settings):
        raise ValueError(f"{path} is the checkpoint of {len(found)} runs, not {len(settings)}: remove it")
    for has, want in zip(found, json.loads(json.dumps(settings)), strict=True):
        has, want = {**has, "data": known["data"]}, {**want, "data": facts}
        for name in sorted((set(want) | set(has)) - {"epochs"}):
            if want.get(name) != has.get(name):
                raise ValueError(
                    f"{path} is the checkpoint of a run with {name} {has.get(name)}, not {want.get(name)}: "
                    "use its options, another folder, or remove it"
                )

    # The number of epochs has no part in what the first of them are: it may be another one, as long as it lies ahead.
    reached = known["iteration"] if "iteration" in known else known["epoch"]
    if reached > settings[0]["epochs"]:
        raise ValueError(
            f"{path} is the checkpoint of a run that has reached epoch {reached}, beyond {settings[0]['epochs']}: "
            f"ask for {reached} epochs or more, use another folder, or remove it"
        )

    def device(array: np.ndarray) -> Any:
        return to_device(array, settings[0]["device"])

    evaluations, x = Evaluations(**known["evaluations"]), device(arrays["x"])
    state: Any
    if "iteration" in known:
        s, y = (tuple(device(arrays[k]) for k in sorted(arrays) if k[0] == c and k[1:].isdigit()) for c in "sy")
        last = (device(arrays["last_x"]), device(arrays["last_g"])) if "last_x" in arrays else None
        state = LbfgsState(known["iteration"], x, known["value"], evaluations, s, y, last)
    else:
        moments = (known["count"], device(arrays["m"]), device(arrays["v"])) if "m" in arrays else ()
        state = EpochState(known["epoch"], x, evaluations, known["rng"], moments)
    records = _Records(settings[0]["loss_floor"])
    records.curves = {name: list(arrays[f"curve_{name}"]) for name in CURVES}
    records.best = {"train": arrays["best_train"], "test": arrays["best_test"]}
    return state, records
