"""A finished run, as it is kept."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data import Mnist
from ..files import read_json, read_vectors, sha256, write_json, write_vectors
from ..landscape import Evaluations


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
    """Reads what :func:`save_runs` wrote.

    Raises
    ------
    OSError
        If a file cannot be read.
    ValueError
        If ``run.json`` is no record of runs, or ``train.npy`` or ``test.npy`` hold other vectors than it records.
    """
    folder = Path(folder)
    documents = read_json(folder / "run.json")
    documents = documents if isinstance(documents, list) else [documents]
    sets = [np.atleast_2d(read_vectors(folder / f"{name}.npy")) for name in ("train", "test")]
    try:
        return _made_of(folder, documents, sets)
    except (KeyError, TypeError, AttributeError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{folder / 'run.json'} is no record of training runs, or is damaged: {reason}") from None


def _made_of(folder: Path, documents: list[Any], sets: list[np.ndarray]) -> list[Run]:
    for name, vectors in zip(("train", "test"), sets, strict=True):
        recorded = [facts["sha256"][name] for facts in documents]
        if [sha256(vector) for vector in vectors] != recorded:
            raise ValueError(
                f"{folder / f'{name}.npy'} holds other vectors than {folder / 'run.json'} records: "
                "bring those back, or name another folder"
            )
    runs = []
    for facts, train_weights, test_weights in zip(documents, *sets, strict=True):
        derived = ("data", "train_minimum", "test_minimum", "reason", "evaluations", "sha256", "curves")
        options = {name: value for name, value in facts.items() if name not in derived}
        curves = {name: np.array(curve, dtype=np.float64) for name, curve in facts["curves"].items()}
        counts = Evaluations(**facts["evaluations"])
        runs.append(Run(train_weights, test_weights, curves, facts["reason"], counts, options, facts["data"]))
    return runs


def cut_data(data: Mnist, train_size: int) -> Mnist:
    """Data with so many training images; TypeError where they are not what ``load_mnist`` returns."""
    if not isinstance(data, Mnist):
        raise TypeError(
            f"data is {type(data).__name__}; expected a training and a test set, as load_mnist returns them"
        )
    return data.cut(train_size)


def data_facts(data: Mnist) -> dict[str, Any]:
    """What a result records of the images that it comes from."""
    facts = {"key": data.key, "source": data.source, "n_train": len(data.train), "n_test": len(data.test)}
    return {**facts, "remark": data.remark} if data.remark else facts


def data_difference(has: dict[str, Any], wanted: dict[str, Any]) -> str | None:
    """How data differ, each as :func:`data_facts` gave it, in words; None where they are the same images.

    They may have been read from another place.
    """
    if has["key"] != wanted["key"]:
        return f"other data ({has['source']}, {has['key']}) than {wanted['source']}, {wanted['key']}"
    for name, what in (("n_train", "training"), ("n_test", "test")):
        if has[name] != wanted[name]:
            return f"other data: {has[name]:,} {what} images, not {wanted[name]:,}"
    return None
