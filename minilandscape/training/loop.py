"""The training loop: one run, or several side by side, epoch by epoch."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data import Mnist
from ..landscape import Evaluations
from ..networks import NetworkLandscape, initial_vector, network_landscape
from ..optimizers import EpochState, LandscapeLine, LbfgsState, adam_batches, lbfgs_gss, sgd
from ..optimizers.lbfgs import REFRESH
from .checkpoint import read_checkpoint, write_checkpoint
from .options import as_used, run_options
from .records import Records
from .run import Run, cut_data, data_metadata

#: Least number of seconds between two checkpoints.
CHECKPOINT_EVERY = 10.0

State = EpochState | LbfgsState


def train(
    model: str,
    data: Mnist,
    *,
    seed: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Callable[[int, float, float], None] | None = None,
    **options: Any,
) -> Run:
    """Train a network from a random start and keep the weights at the minima of training and test loss.

    Parameters
    ----------
    model : str
        ``"fcp"`` (a multilayer perceptron 784-50-50-10), ``"lenet"``, ``"autoencoder"`` or ``"lstm"``.
    data : Mnist
        What :func:`load_mnist` returns. The training set is cut to ``train_size`` images; a smaller set is used whole.
    seed : int
        Seed of the initial weights and of the order of the images.
    checkpoint : str or path, optional
        A file that the run resumes from if it exists. The run writes its state there at most every 10 s, and at its
        end. A resumed run is bit-identical to one that was not interrupted. ``epochs`` may have changed, so that a run
        can be ended early or made longer; the data may be read from another place. Nothing removes the file.
    progress : callable, optional
        Called with (epoch, training loss, test loss) after every epoch.
    **options
        ``optimizer``: ``"lbfgs-gss"`` (the default), ``"sgd"`` or ``"adam"``;
        ``variant``: ``"paper"`` (the default) or ``"authors"``, as in :func:`network_landscape`;
        ``train_size``: 50,000 images for ``"paper"``, 60,000 for ``"authors"``;
        ``epochs``: 75; for ``"lbfgs-gss"`` 1,000 iterations;
        ``lr``: learning rate, 0.1 for ``"sgd"``, 1e-3 for ``"adam"``;
        ``batch_size``: 64 images; ``"lbfgs-gss"`` always uses all;
        ``loss_floor``: target loss; the run ends at a training loss this low (1e-8 for ``"lbfgs-gss"``, else 0, which
        turns it off);
        ``device``: ``"cpu"`` or ``"gpu"``; ``dtype``: ``"float32"`` or ``"float64"``.

    Returns
    -------
    Run
        Weights, curves and the reason for its end.

    Raises
    ------
    ValueError
        If options exclude each other, a number is out of its range, or the checkpoint belongs to another run.
    TypeError
        If an option that must be a number is not, or ``data`` is not what :func:`load_mnist` returns.

    References
    ----------
    L-BFGS-GSS is Algorithm 1 of arXiv:2602.21276.

    Examples
    --------
    >>> import numpy as np
    >>> import minilandscape as ml
    >>> from minilandscape.data import Images, Mnist
    >>> rng = np.random.default_rng(0)
    >>> images = Images(rng.random((60, 784), dtype=np.float32), rng.integers(0, 10, 60))
    >>> data = Mnist(images[:40], images[40:], source="random pixels", key="random")
    >>> run = ml.train("fcp", data, epochs=5, seed=3)  # L-BFGS-GSS
    >>> run.train_weights.shape, len(run.curves["train_loss"])
    ((42200,), 6)
    >>> bool(run.curves["train_loss"][-1] < run.curves["train_loss"][0])
    True

    With MNIST: ``ml.train("fcp", ml.load_mnist("auto"), optimizer="sgd")``.
    """
    show = None if progress is None else lambda _, *reached: progress(*reached)
    return train_together(model, data, [seed], checkpoint=checkpoint, progress=show, **options)[0]


def train_together(
    model: str,
    data: Mnist,
    seeds: Sequence[int],
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int, float, float], None] | None = None,
    **options: Any,
) -> list[Run]:
    """Train one run for each seed side by side, their K parameter vectors as one array (K, D).

    Batched products serve all runs at once, which is fastest on a GPU. Each run has its own start and order of the
    images; on a CPU it is bit-identical to :func:`train` of its seed. L-BFGS-GSS takes one seed at a time, since line
    searches share nothing.

    Parameters
    ----------
    model : str
        As for :func:`train`.
    data : Mnist
        As for :func:`train`.
    seeds : sequence of int
        One run for each.
    checkpoint : str or path, optional
        One file for all runs, as for :func:`train`.
    progress : callable, optional
        Called with (seed, epoch, training loss, test loss) after every epoch.
    **options
        As for :func:`train`.

    Returns
    -------
    list of Run
        In the order of ``seeds``.

    Raises
    ------
    ValueError
        If there is no seed, ``"lbfgs-gss"`` gets several, or :func:`train` would refuse the options.
    TypeError
        As for :func:`train`.

    Examples
    --------
    >>> import numpy as np
    >>> import minilandscape as ml
    >>> from minilandscape.data import Images, Mnist
    >>> rng = np.random.default_rng(0)
    >>> images = Images(rng.random((60, 784), dtype=np.float32), rng.integers(0, 10, 60))
    >>> data = Mnist(images[:40], images[40:], source="random pixels", key="random")
    >>> runs = ml.train_together("fcp", data, [0, 1], optimizer="sgd", epochs=2)
    >>> [run.options["seed"] for run in runs]
    [0, 1]
    """
    settings = [run_options(model, seed=seed, **options) for seed in seeds]
    if not settings:
        raise ValueError("there are no seeds; expected at least one")
    common = settings[0]
    if common["optimizer"] == "lbfgs-gss" and len(settings) != 1:
        raise ValueError(f"lbfgs-gss trains one seed at a time, and got {len(settings)}; call it once for each seed")
    data = cut_data(data, common["train_size"])
    metadata = data_metadata(data)
    settings = [as_used(setting, metadata) for setting in settings]
    landscapes = [
        network_landscape(model, images, common["variant"], common["device"], common["dtype"])
        for images in (data.train, data.test)
    ]
    saved: State | None = None
    records = Records(common["loss_floor"])
    if checkpoint is not None and Path(checkpoint).exists():
        saved, records = read_checkpoint(checkpoint, settings, metadata)
    keeper = None if checkpoint is None else _Keeper(checkpoint, settings, metadata)
    state: Any = None
    for state in _states(landscapes[0], settings, saved):
        _measure(landscapes, state, records, [setting["seed"] for setting in settings], progress)
        if isinstance(state, LbfgsState) and state.reason:
            break
        ends = _epoch(state) >= common["epochs"] or bool(records.over().all())
        if keeper is not None:
            keeper.write(state, records, ends)
        if ends:
            break
    return _runs(state, records, settings, metadata)


def _epoch(state: State) -> int:
    return state.iteration if isinstance(state, LbfgsState) else state.epoch


def _measure(
    landscapes: list[NetworkLandscape],
    state: State,
    records: Records,
    seeds: list[int],
    progress: Callable[[int, int, float, float], None] | None,
) -> None:
    """Add a state's losses to the records and report them; a state resumed from a checkpoint is there already."""
    epoch = _epoch(state)
    if epoch != len(records.curves["train_loss"]):
        return
    records.add(landscapes, state.x.reshape(len(seeds), -1))
    if progress is None:
        return
    for k, seed in enumerate(seeds):
        progress(seed, epoch, *(float(records.curves[f"{name}_loss"][-1][k]) for name in ("train", "test")))


@dataclass
class _Keeper:
    """Writes checkpoints at most every :data:`CHECKPOINT_EVERY` seconds."""

    path: str | os.PathLike[str]
    settings: list[dict[str, Any]]
    metadata: dict[str, Any]

    def __post_init__(self) -> None:
        self._written = time.monotonic()

    def write(self, state: State, records: Records, ends: bool) -> None:
        """Write a state if it is time, or the last: with more epochs the run continues from there.

        L-BFGS-GSS resumes bit-identical only where it computes its products afresh.
        """
        may_resume = not isinstance(state, LbfgsState) or state.iteration % REFRESH == 0
        if may_resume and (ends or time.monotonic() - self._written > CHECKPOINT_EVERY):
            write_checkpoint(self.path, self.settings, self.metadata, state, records)
            self._written = time.monotonic()


def _runs(state: State, records: Records, settings: list[dict[str, Any]], metadata: dict[str, Any]) -> list[Run]:
    """Make the finished runs; each ends at its own epoch, the last one at the latest."""
    epoch, runs = _epoch(state), []
    reason = str(state.reason) if isinstance(state, LbfgsState) and state.reason else "epochs"
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
                data=metadata,
            )
        )
    return runs


def _states(landscape: NetworkLandscape, settings: list[dict[str, Any]], state: Any) -> Iterator[State]:
    """Start the optimiser, or resume it from a state; yields its states."""
    options = settings[0]
    seeds = [np.random.SeedSequence(setting["seed"]).spawn(2) for setting in settings]
    x = np.stack([initial_vector(options["model"], np.random.default_rng(s), options["dtype"]) for s, _ in seeds])
    if options["optimizer"] == "lbfgs-gss":
        line = LandscapeLine(landscape, x[0] if state is None else state.x)
        return lbfgs_gss(line, loss_floor=options["loss_floor"], state=state)
    rates = {name: options[name] for name in ("lr", "batch_size")}
    method = sgd if options["optimizer"] == "sgd" else adam_batches
    return method(landscape, x, [np.random.default_rng(b) for _, b in seeds], state=state, **rates)
