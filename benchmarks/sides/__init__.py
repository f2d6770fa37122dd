"""The sides: one module each, with a class ``Side(task)`` and a method for each piece of work that it takes part in.

A method returns forms of the work, ``{how: call}``: different chunks, point by point or batched. All of them are
checked and the fastest is timed. A call returns ``{name: host array}``, the results that are compared.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

Results = dict[str, np.ndarray]
Forms = dict[str, Callable[[], Results]]

#: Module of each side, what it needs installed, and whether it runs on a GPU.
SIDES = {
    "minilandscape": ("ours", "minilandscape", True),
    "PyTorch": ("pytorch", "torch", True),
    "JAX": ("jax", "jax", False),
    "authors": ("authors", "torch", True),
}


def available(device: str) -> tuple[dict[str, Callable[[Any], Any]], dict[str, str]]:
    """The sides that can run, as ``{name: class}``, and why the others cannot."""
    present, missing = {}, {}
    for name, (module, package, on_gpu) in SIDES.items():
        if device == "gpu" and not on_gpu:
            missing[name] = "measured on a CPU only"
        elif importlib.util.find_spec(package) is None:
            missing[name] = f"{package} is not installed"
        elif device == "gpu" and package == "torch" and not import_module("torch").cuda.is_available():
            missing[name] = "this PyTorch finds no CUDA device"
        else:
            present[name] = import_module(f".{module}", __name__).Side
    return present, missing
