"""What a user's factory returns for a module of one's own, as a landscape."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ..display import nearest
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
        return _of_tuple(made)
    if not (isinstance(made, Mapping) and any(isinstance(value, torch.nn.Module) for value in made.values())):
        return made
    return _of_options(dict(made))


def _of_tuple(made: Sequence[Any]) -> TorchLandscape:
    """Of (module, loss, data) or (module, loss, inputs, targets)."""
    if len(made) not in (3, 4):
        raise ValueError(f"returned ({', '.join(type(part).__name__ for part in made)}); {EXPECTED}")
    module, loss, *data = made
    if not list(module.parameters()) and isinstance(loss, torch.nn.Module) and list(loss.parameters()):
        names = ", ".join(type(part).__name__ for part in (loss, module, *data))
        raise ValueError(f"returned the loss before the module; expected ({names})")
    return TorchLandscape(module, loss, *data)


def _of_options(options: dict[str, Any]) -> TorchLandscape:
    """Of the arguments of TorchLandscape by name, with ``data`` in place of inputs and targets."""
    if "data" in options:
        data = options.pop("data")
        if "inputs" in options or "targets" in options:
            raise ValueError("returned data as well as inputs or targets; expected either")
        pair = isinstance(data, (tuple, list)) and len(data) == 2
        options["inputs"], options["targets"] = data if pair else (data, None)
    known = inspect.signature(TorchLandscape).parameters
    for name in options:
        if name not in known:
            names = ["data", *known]
            expected = f"expected names of {', '.join(names)}{nearest(name, names)}"
            raise ValueError(f"returned a dictionary with {name!r}; {expected}")
    missing = [name for name in ("module", "loss", "inputs") if name not in options]
    if missing:
        raise ValueError(f"returned a dictionary without {' and '.join(missing)}; {EXPECTED}")
    return TorchLandscape(**options)
