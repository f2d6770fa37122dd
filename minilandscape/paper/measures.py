"""The functions of tasks that measure vectors: losses of a set and of averages, curvature at a vector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..analysis.curvature import curvature
from ..backend import to_host
from ..landscape import FunctionLandscape
from ..pairs.networks import landscape_over
from ..tasks import Result

#: Random vectors with which the trace of a Hessian is estimated.
PROBES = 10
SPLITS = ("train", "test")


def set_losses(options: dict[str, Any], inputs: list[Result], checkpoint: Path) -> Result:
    """Measure losses and accuracies of a set's vectors, their mean, and midpoints of pairs, on both splits.

    Accuracies of the autoencoder are NaN.
    """
    (arrays, _), pairs = inputs[0], np.array(options["pairs"]).reshape(-1, 2)
    vectors = arrays[options["weights"]]
    mean = vectors.mean(axis=0, dtype=np.float64).astype(vectors.dtype)
    midpoints = 0.5 * (vectors[pairs[:, 0]] + vectors[pairs[:, 1]])
    measured = {}
    for split in SPLITS:
        land = _landscape(options, split, "float32")
        for name, points in (("vectors", vectors), ("mean", mean[None]), ("midpoints", midpoints)):
            losses, accuracies = land.measure(points)
            measured[f"{split}_{name}_loss"] = losses
            measured[f"{split}_{name}_accuracy"] = np.full(len(points), np.nan) if accuracies is None else accuracies
    return measured, {}


def vector_curvature(options: dict[str, Any], inputs: list[Result], checkpoint: Path) -> Result:
    """Measure the Hessian's largest and lowest eigenvalue and its trace at a vector, on both splits.

    Of the parameters, and in the scale-free form D H D, D = diag|ω| (the element-wise adaptive sharpness of Kwon et
    al., 2021). That form does not change if the incoming weights of a ReLU unit are multiplied by a factor and the
    outgoing ones divided by it. In double precision, since the Hessian is tiny where the loss is near 0.
    """
    (arrays, _) = inputs[0]
    omega = arrays[options["weights"]][options["place"]].astype(np.float64)
    metadata = {}
    for split in SPLITS:
        land = _landscape(options, split, "float64")
        for form, where, point in (("plain", land, omega), ("scaled", relative(land, omega), np.zeros(omega.size))):
            found = curvature(where, point, n=1, probes=PROBES)
            metadata[f"{split} {form}"] = {
                "highest": float(found.highest[0]) if len(found.highest) else float("nan"),
                "lowest": float(found.lowest[0]) if len(found.lowest) else float("nan"),
                "trace": found.trace,
                "trace_error": found.trace_error,
                "converged": found.converged,
                "reason": found.reason,
            }
    return {}, metadata


def relative(land: Any, omega: np.ndarray) -> FunctionLandscape:
    """Return the landscape around a vector ω in units of its components: f(ω + |ω| y) as a function of y."""
    units = np.abs(omega)

    def function(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, gradients = land.values_and_gradients(omega + units * y)
        return values, units * to_host(gradients)

    return FunctionLandscape(function, size=omega.size, batched=True)


def _landscape(options: dict[str, Any], split: str, dtype: str) -> Any:
    data = options["data"], options["data_key"]
    return landscape_over(
        options["model"],
        options["variant"],
        *data,
        split,
        options["images" if split == "train" else "test_images"],
        options.get("device", "cpu"),
        dtype,
    )
