"""What determines a run."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..networks import get_network, variant_train_size

OPTIMIZERS = ("lbfgs-gss", "sgd", "adam")
EPOCHS = {"lbfgs-gss": 1000, "sgd": 75, "adam": 75}
RATES = {"sgd": 0.1, "adam": 1e-3}
FLOORS = {"lbfgs-gss": 1e-8, "sgd": 0.0, "adam": 0.0}


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
