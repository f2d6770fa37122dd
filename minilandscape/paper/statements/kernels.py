"""Statements on kernel PCA: which kernels separate the optimisers' sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...analysis.permutation import Separation
from ..verdicts import Verdict, verdict_apart

#: Figs. 6 and S4: L-BFGS-GSS's training weights, or its test weights, against SGD's test weights.
KPCA_FIGURES = {"train": "Fig. 6", "test": "Fig. S4"}
OF_SEPARATION = "area under the ROC curve, distance of the medians in standard deviations of the wider set"
#: The names of kernels in statements, where these are others than the kernels' own.
NAMES = {"rbf": "RBF", "narrow-rbf": "beside the paper, RBF of 2σ² = N_prm / 64"}
#: The statements that answer one of the paper's main questions, by (kernel, weights, component).
HEADLINES = {
    ("rbf", "train", 0): "kernel PCA (RBF) separates the optimisers along PC1 (Fig. 6)",
    ("rbf", "test", 0): "… of early-stopping weights, the autoencoder's and the LSTM's alone (Fig. S4)",
}


def of_kernels(model: str, found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the statements on PC1 and PC2 of the paper's kernels and of a narrower RBF."""
    entries = []
    for weights, kernels in found["kpca"].items():
        for kernel, result in kernels.items():
            if "separation" not in result or (weights == "test" and not kernel.endswith("rbf")):
                continue  # of other kernels the paper speaks on Fig. 6 only
            entries += [_of_component(model, found, kernel, weights, k) for k in range(len(result["separation"]))]
    return entries


def _of_component(model: str, found: Mapping[str, Any], kernel: str, weights: str, k: int) -> dict[str, Any]:
    """Return the statement on one principal component."""
    result = found["kpca"][weights][kernel]
    n = [result["n_first"], result["n"] - result["n_first"]]
    component = Separation(**result["separation"][k])
    claim = _claim(model, kernel, weights, k)
    here = verdict_apart(claim, component, min(n))
    if weights == "test" and claim == "not apart" and k == 0 and not _apart_in_training(found, kernel, min(n)):
        here = Verdict.INCONCLUSIVE  # a separation that was not there cannot disappear
    entry = {
        "topic": "kernels",
        "says": f"kernel PCA, {NAMES.get(kernel, kernel)}, PC{k + 1} ({KPCA_FIGURES[weights]})",
        "claim": claim,
        "here": here,
        "of": OF_SEPARATION,
        "first": component.area,
        "second": component.gap,
        "p": component.p,
        "least": component.least,
        "n": n,
    }
    headline = HEADLINES.get((kernel, weights, k))
    return entry if headline is None else {**entry, "headline": headline}


def _apart_in_training(found: Mapping[str, Any], kernel: str, n: int) -> bool:
    """Return whether the kernel separates the training weights along PC1."""
    of_train = found["kpca"]["train"][kernel].get("separation")
    return of_train is not None and verdict_apart("apart", Separation(**of_train[0]), n) is Verdict.REPRODUCED


def _claim(model: str, kernel: str, weights: str, component: int) -> str:
    """Return the paper's claim on a component: the RBF kernel separates along the first, other kernels do not."""
    apart = component == 0 and kernel.endswith("rbf") and (weights == "train" or model in ("autoencoder", "lstm"))
    return "apart" if apart else "not apart"
