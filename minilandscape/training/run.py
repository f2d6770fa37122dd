"""A finished training run: its weights, curves and record."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Mnist
from ..display import Row, as_html, svg_of
from ..files import read_json, read_vectors, sha256, write_json, write_vectors
from ..landscape import Evaluations
from .records import renamed

#: Colours of the training and of the test loss that colour-blind people can tell apart (Okabe and Ito, 2008).
COLOURS = {"train": "#0072B2", "test": "#D55E00"}


@dataclass(frozen=True, repr=False)
class Run:
    """A finished training run, as :func:`train` returns it.

    Attributes
    ----------
    train_weights : numpy.ndarray, (D,)
        The parameter vector at the minimum of the training loss.
    test_weights : numpy.ndarray, (D,)
        The parameter vector at the minimum of the test loss (early stopping); it was trained on the training set, too.
        The paper calls it the test weights.
    curves : dict
        ``train_loss``, ``test_loss``, ``train_accuracy`` and ``test_accuracy``, (E + 1,) each: entry k was measured
        after k epochs (iterations of L-BFGS-GSS). Losses are means over the images, accuracies lie in [0, 1]. The
        autoencoder has no accuracies; its arrays are empty.
    reason : str
        Why the run ended: ``"epochs"`` (all done), ``"target loss"`` (the training loss has reached ``loss_floor``),
        ``"line search"`` (no lower loss along the gradient), ``"zero gradient"``, or ``"not finite"`` (the last
        training loss is infinite or NaN, a sign of too large an ``lr``).
    evaluations : Evaluations
        Points evaluated on the training loss: ``values`` without gradient, ``gradients`` with one (over mini-batches
        for SGD and Adam).
    options : dict
        Everything that determines the run: model, variant, optimiser, seed and the rest.
    data : dict
        The data set: ``key``, ``source``, ``n_train``, ``n_test``, and ``remark`` if there is one.

    See Also
    --------
    load_runs : Read the runs of a folder.

    Examples
    --------
    >>> import numpy as np
    >>> import minilandscape as ml
    >>> from minilandscape.data import Images, Mnist
    >>> rng = np.random.default_rng(0)
    >>> images = Images(rng.random((60, 784), dtype=np.float32), rng.integers(0, 10, 60))
    >>> data = Mnist(images[:40], images[40:], source="random pixels", key="random")
    >>> run = ml.train("fcp", data, optimizer="sgd", epochs=3)
    >>> run
    <Run: fcp (paper), sgd, seed 0: 3 epochs, lowest training loss 2.235, lowest test loss 2.3, ended: epochs>
    >>> run.train_weights.shape, run.curves["train_loss"].shape
    ((42200,), (4,))
    >>> run.train_minimum["epoch"]
    3
    """

    train_weights: NDArray[np.floating]
    test_weights: NDArray[np.floating]
    curves: dict[str, NDArray[np.float64]]
    reason: str
    evaluations: Evaluations
    options: dict[str, Any]
    data: dict[str, Any]

    @property
    def train_minimum(self) -> dict[str, Any]:
        """Return ``loss`` and ``epoch`` at the minimum of the training loss."""
        return _minimum(self.curves["train_loss"])

    @property
    def test_minimum(self) -> dict[str, Any]:
        """Return ``loss`` and ``epoch`` at the minimum of the test loss."""
        return _minimum(self.curves["test_loss"])

    @property
    def epochs(self) -> int:
        """Return the number of epochs done (iterations of L-BFGS-GSS)."""
        return len(self.curves["train_loss"]) - 1

    @property
    def unit(self) -> str:
        """Return what the curves count: ``"epoch"``, or ``"iteration"`` for L-BFGS-GSS."""
        return "iteration" if self.options["optimizer"] == "lbfgs-gss" else "epoch"

    def _title(self) -> str:
        model, variant, optimizer, seed = (self.options[name] for name in ("model", "variant", "optimizer", "seed"))
        return f"{model} ({variant}), {optimizer}, seed {seed}"

    def _rows(self) -> list[Row]:
        rows = {
            "ended": f"{self.reason}, after {self.epochs:,} {self.unit}s",
            "training images": f"{self.data['n_train']:,} ({self.data['source']})",
            "test images": f"{self.data['n_test']:,}",
        }
        for name, split in (("training", "train"), ("test", "test")):
            minimum = _minimum(self.curves[f"{split}_loss"])
            accuracy = self.curves[f"{split}_accuracy"]
            also = f", accuracy {accuracy[minimum['epoch']]:.4f}" if len(accuracy) else ""
            rows[f"lowest {name} loss"] = f"{minimum['loss']:.4g} at {self.unit} {minimum['epoch']:,}{also}"
        counts = self.evaluations
        rows["evaluations"] = f"{counts.values:,} losses without gradient, {counts.gradients:,} with gradient"
        return [(label, value, "") for label, value in rows.items()]

    def __repr__(self) -> str:
        return (
            f"<Run: {self._title()}: {self.epochs:,} {self.unit}s, lowest training loss "
            f"{self.train_minimum['loss']:.4g}, lowest test loss {self.test_minimum['loss']:.4g}, ended: {self.reason}>"
        )

    def summary(self) -> str:
        """Return the run's main numbers as a few lines of text."""
        rows = self._rows()
        width = max(len(label) for label, _, _ in rows)
        lines = (f"  {label:{width}}  {value}" for label, value, _ in rows)
        return "\n".join([f"Training run: {self._title()}", *lines])

    def _repr_html_(self) -> str:
        return as_html(f"Training run: {self._title()}", self._rows(), svg_of(self.plot()))

    def metadata(self) -> dict[str, Any]:
        """Return the record that ``run.json`` holds: options, data, minima, reason, counts, digests and curves."""
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
        """Write ``train.npy``, ``test.npy`` and ``run.json`` to a folder; :func:`load_runs` reads them."""
        save_runs(folder, [self], single=True)

    def plot(self, axes: Any = None) -> Any:
        """Draw the training and the test loss against the epochs, on a logarithmic scale.

        The minimum of the test loss, where ``test_weights`` were taken, is marked.

        Parameters
        ----------
        axes : matplotlib.axes.Axes, optional
            Where to draw; a new figure by default.

        Returns
        -------
        matplotlib.axes.Axes
        """
        if axes is None:
            from matplotlib.figure import Figure

            axes = Figure(figsize=(6, 4), layout="constrained").subplots()
        for split, name in (("train", "training loss"), ("test", "test loss")):
            curve = self.curves[f"{split}_loss"]
            shown = np.where(curve > 0, curve, np.nan)  # a loss that underflows to 0 has no logarithm
            axes.semilogy(shown, color=COLOURS[split], ls="-" if split == "train" else "--", label=name)
        lowest = self.test_minimum
        if lowest["loss"] > 0:
            where = f"lowest test loss {lowest['loss']:.3g}, {self.unit} {lowest['epoch']:,}"
            axes.plot(lowest["epoch"], lowest["loss"], "o", color=COLOURS["test"], label=where)
        low, high = axes.get_ylim()
        if high < 10 * low:  # within a decade, powers of ten say less than the numbers
            axes.yaxis.set_major_formatter("{x:.4g}")
            axes.yaxis.set_minor_formatter("{x:.4g}")
        loss = "squared error per pixel" if self.options["model"] == "autoencoder" else "cross-entropy (nats)"
        axes.set(xlabel=self.unit, ylabel=f"mean loss: {loss}", title=self._title())
        axes.legend(frameon=False)
        return axes


def _minimum(curve: NDArray[np.float64]) -> dict[str, Any]:
    k = int(np.nanargmin(curve)) if np.isfinite(curve).any() else 0
    return {"loss": float(curve[k]), "epoch": k}


def save_runs(folder: str | os.PathLike[str], runs: list[Run], single: bool = False) -> None:
    """Write runs to a folder: ``train.npy`` and ``test.npy`` (K, D), and ``run.json`` with a list of K records.

    With ``single`` the one run is written as (D,) and one record.
    """
    folder = Path(folder)
    for name in ("train", "test"):
        weights = np.stack([getattr(run, f"{name}_weights") for run in runs])
        write_vectors(folder / f"{name}.npy", weights[0] if single else weights)
    records = [run.metadata() for run in runs]
    write_json(folder / "run.json", records[0] if single else records)


def load_runs(folder: str | os.PathLike[str]) -> list[Run]:
    """Read the training runs of a folder, as :meth:`Run.save` or :func:`train_to_folder` wrote them.

    Parameters
    ----------
    folder : str or path
        Holds ``train.npy``, ``test.npy`` and ``run.json``.

    Returns
    -------
    list of Run
        One entry for each seed, in the order of the rows of ``train.npy``.

    Raises
    ------
    OSError
        If a file cannot be read.
    ValueError
        If ``run.json`` is not a record of training runs, or ``train.npy`` or ``test.npy`` hold other weights than it
        records (by their SHA-256).

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import minilandscape as ml
    >>> from minilandscape.data import Images, Mnist
    >>> rng = np.random.default_rng(0)
    >>> images = Images(rng.random((60, 784), dtype=np.float32), rng.integers(0, 10, 60))
    >>> data = Mnist(images[:40], images[40:], source="random pixels", key="random")
    >>> run = ml.train("fcp", data, optimizer="sgd", epochs=2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run.save(folder)
    ...     (again,) = ml.load_runs(folder)
    >>> bool((again.train_weights == run.train_weights).all())
    True
    """
    folder = Path(folder)
    documents = read_json(folder / "run.json")
    documents = documents if isinstance(documents, list) else [documents]
    sets = [np.atleast_2d(read_vectors(folder / f"{name}.npy")) for name in ("train", "test")]
    try:
        return _runs_from(folder, documents, sets)
    except (KeyError, TypeError, AttributeError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{folder / 'run.json'} is not a record of training runs, or is damaged: {reason}") from None


def _runs_from(folder: Path, documents: list[Any], sets: list[NDArray[np.floating]]) -> list[Run]:
    for name, weights in zip(("train", "test"), sets, strict=True):
        recorded = [record["sha256"][name] for record in documents]
        if [sha256(each) for each in weights] != recorded:
            raise ValueError(
                f"{folder / f'{name}.npy'} holds other weights than {folder / 'run.json'} records: "
                "restore those weights, or name another folder"
            )
    runs = []
    for record, train_weights, test_weights in zip(documents, *sets, strict=True):
        derived = ("data", "train_minimum", "test_minimum", "reason", "evaluations", "sha256", "curves")
        options = {name: value for name, value in record.items() if name not in derived}
        curves = {name: np.array(curve, dtype=np.float64) for name, curve in record["curves"].items()}
        counts, reason = Evaluations(**record["evaluations"]), renamed(record["reason"])
        runs.append(Run(train_weights, test_weights, curves, reason, counts, options, record["data"]))
    return runs


def cut_data(data: Mnist, train_size: int) -> Mnist:
    """Return the data with at most ``train_size`` training images.

    Raises
    ------
    TypeError
        If ``data`` is not what ``load_mnist`` returns.
    """
    if not isinstance(data, Mnist):
        raise TypeError(
            f"data is {type(data).__name__}; expected a training and a test set, as load_mnist returns them"
        )
    return data.cut(train_size)


def data_metadata(data: Mnist) -> dict[str, Any]:
    """Return what a result records of its data set: ``key``, ``source``, the numbers of images and any remark."""
    metadata = {"key": data.key, "source": data.source, "n_train": len(data.train), "n_test": len(data.test)}
    return {**metadata, "remark": data.remark} if data.remark else metadata


def data_difference(has: dict[str, Any], expected: dict[str, Any]) -> str | None:
    """Return how two data sets differ, in words, or None if they hold the same images.

    Both are described by :func:`data_metadata`. Where the images were read from makes no difference.
    """
    if has["key"] != expected["key"]:
        return f"other data ({has['source']}, {has['key']}) than {expected['source']}, {expected['key']}"
    for name, split in (("n_train", "training"), ("n_test", "test")):
        if has[name] != expected[name]:
            return f"other data: {has[name]:,} {split} images, not {expected[name]:,}"
    return None
