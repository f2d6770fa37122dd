"""The options that determine a training run."""

from __future__ import annotations

import operator
from contextlib import suppress
from numbers import Real
from typing import Any

import numpy as np

from ..networks import get_network, variant_train_size

OPTIMIZERS = ("lbfgs-gss", "sgd", "adam")
EPOCHS = {"lbfgs-gss": 1000, "sgd": 75, "adam": 75}
RATES = {"sgd": 0.1, "adam": 1e-3}
BATCH = 64
TARGET_LOSSES = {"lbfgs-gss": 1e-8, "sgd": 0.0, "adam": 0.0}


def run_options(
    model: str,
    *,
    optimizer: str = "lbfgs-gss",
    variant: str = "paper",
    train_size: int | None = None,
    epochs: int | None = None,
    lr: float | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    loss_floor: float | None = None,
    device: str = "cpu",
    dtype: str = "float32",
) -> dict[str, Any]:
    """Return every option that determines a run, with defaults filled in, as types that JSON has.

    Raises
    ------
    ValueError
        If options exclude each other, or a number is out of its range.
    TypeError
        If an option that must be a number is not.
    """
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"optimizer is {optimizer!r}; expected one of {', '.join(OPTIMIZERS)}")
    if optimizer == "lbfgs-gss" and lr is not None:
        raise ValueError("lr belongs to sgd and adam; lbfgs-gss finds its step lengths by line searches")
    if optimizer == "lbfgs-gss" and batch_size is not None:
        raise ValueError("batch_size belongs to sgd and adam; lbfgs-gss uses all images in every iteration")
    get_network(model, variant)
    with suppress(TypeError):  # an unknown name is refused by the landscape
        dtype = np.dtype(dtype).name
    options: dict[str, Any] = {
        "model": model,
        "variant": variant,
        "optimizer": optimizer,
        "epochs": EPOCHS[optimizer] if epochs is None else _whole("epochs", epochs, 0),
        "seed": _whole("seed", seed, 0),
        "train_size": variant_train_size(variant) if train_size is None else _whole("train_size", train_size, 1),
        "dtype": dtype,
        "device": device,
    }
    loss_floor = TARGET_LOSSES[optimizer] if loss_floor is None else _number("loss_floor", loss_floor)
    if not loss_floor >= 0:
        raise ValueError(f"loss_floor is {loss_floor}; expected a target loss, or 0, which turns it off")
    options["loss_floor"] = loss_floor
    if optimizer == "lbfgs-gss":
        return options
    lr = RATES[optimizer] if lr is None else _number("lr", lr)
    if not 0 < lr < np.inf:
        raise ValueError(f"lr is {lr}; expected a finite number above 0")
    return {**options, "lr": lr, "batch_size": BATCH if batch_size is None else _whole("batch_size", batch_size, 1)}


def as_used(options: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a run with the number of training images used: a smaller set is used whole.

    Parameters
    ----------
    options
        As :func:`run_options` returns them.
    data
        What :func:`~minilandscape.training.run.data_metadata` returns for the data cut to ``train_size``.
    """
    return {**options, "train_size": min(options["train_size"], data["n_train"])}


def _number(name: str, value: Any) -> float:
    value = value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
    if not isinstance(value, Real):
        raise TypeError(f"{name} is {value!r}; expected a number")
    return float(value)


def _whole(name: str, value: Any, least: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        if not _number(name, value).is_integer():
            raise TypeError(f"{name} is {value!r}; expected a whole number") from None
        number = int(value)
    if number < least:
        raise ValueError(f"{name} is {number}; expected at least {least}")
    return number
