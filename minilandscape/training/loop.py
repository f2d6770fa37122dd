"""The loop of training: one run, or several side by side, epoch by epoch."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..data import Mnist
from ..landscape import Evaluations
from ..networks import initial_vector, network_landscape
from ..optimizers import LandscapeLine, LbfgsState, adam_batches, lbfgs_gss, sgd
from ..optimizers.lbfgs import REFRESH
from .checkpoint import read_checkpoint, write_checkpoint
from .options import as_used, run_options
from .records import Records
from .run import Run, cut_data, data_facts

#: Seconds between checkpoints, at least.
CHECKPOINT_EVERY = 10.0


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
        A file that the run resumes from where it exists, and leaves its state in on the way and at its end. The run is
        then bit-identical to one that was not interrupted. The data may be read from another place by then, and
        ``epochs`` may be another number, so that a run can be ended early, or made longer. Once the run is saved,
        :func:`remove_checkpoint` removes it.
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
    TypeError
        If what should be a number is none.
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
    if not settings:
        raise ValueError("there are no seeds; expected at least one")
    common, seeds = settings[0], [setting["seed"] for setting in settings]
    if common["optimizer"] == "lbfgs-gss" and len(seeds) != 1:
        raise ValueError(f"lbfgs-gss trains one seed at a time, and got {len(seeds)}; call it once a seed")
    data = cut_data(data, common["train_size"])
    facts = data_facts(data)
    settings = [as_used(setting, facts) for setting in settings]
    lands = [
        network_landscape(model, images, common["variant"], common["device"], common["dtype"])
        for images in (data.train, data.test)
    ]
    resumes = checkpoint is not None and Path(checkpoint).exists()
    saved, records = read_checkpoint(checkpoint, settings, facts) if resumes else (None, Records(common["loss_floor"]))
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
        ends = epoch >= common["epochs"] or records.over().all()
        may_resume = not isinstance(state, LbfgsState) or epoch % REFRESH == 0
        # One at the end, too: with more epochs it is not the end.
        if checkpoint is not None and may_resume and (ends or time.monotonic() - written > CHECKPOINT_EVERY):
            write_checkpoint(checkpoint, settings, facts, state, records)
            written = time.monotonic()
        if ends:
            break
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
