"""What a user's factory returns for a module of one's own, as a landscape."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch

from .torch import TorchLandscape

EXPECTED = (
    "expected (module, loss, data), (module, loss, inputs, targets), or a dictionary of the arguments of "
    "TorchLandscape, such as module, loss, data, test"
)


def landscape_of(made: Any) -> Any:
    """A landscape of a module with its loss and data; anything else as it is.

    Parameters
    ----------
    made
        ``(module, loss, data)`` with a Dataset or DataLoader, ``(module, loss, inputs, targets)``, or a dictionary of
        the arguments of :class:`~minilandscape.adapters.torch.TorchLandscape`, in which ``data`` may stand for
        ``inputs`` and ``targets``: a Dataset, a DataLoader or ``(inputs, targets)``.

    Raises
    ------
    ValueError
        If it has a module but is of none of these forms, or the landscape refuses it.
    """
    if isinstance(made, torch.nn.Module):
        raise ValueError(f"returned a module alone; {EXPECTED}")
    if isinstance(made, (tuple, list)) and made and isinstance(made[0], torch.nn.Module):
        if len(made) not in (3, 4):
            raise ValueError(f"returned a module and {len(made) - 1} more; {EXPECTED}")
        return TorchLandscape(*made[:2], *made[2:])
    if not (isinstance(made, Mapping) and isinstance(made.get("module"), torch.nn.Module)):
        return made
    options = dict(made)
    if "data" in options:
        data = options.pop("data")
        if "inputs" in options or "targets" in options:
            raise ValueError("returned data as well as inputs or targets; expected either")
        pair = isinstance(data, (tuple, list)) and len(data) == 2
        options["inputs"], options["targets"] = data if pair else (data, None)
    known = inspect.signature(TorchLandscape).parameters
    unknown = [name for name in options if name not in known]
    if unknown:
        raise ValueError(f"returned a dictionary with {unknown[0]!r}; expected names of data, {', '.join(known)}")
    missing = [name for name in ("loss", "inputs") if name not in options]
    if missing:
        raise ValueError(f"returned a dictionary without {' and '.join(missing)}; {EXPECTED}")
    return TorchLandscape(**options)
