"""States of a module: copies, and what a state must share with a landscape's module."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch

#: Keys that messages list at most.
LISTED = 4


def copied(module: torch.nn.Module) -> torch.nn.Module:
    """A copy. Weights that weight_norm, spectral_norm and prune compute before every call are copied as numbers."""
    computed = {
        id(value): value.detach().clone()
        for part in module.modules()
        for value in vars(part).values()
        if isinstance(value, torch.Tensor) and not value.is_leaf
    }
    try:
        return copy.deepcopy(module, computed)
    except Exception as error:
        raise ValueError(
            f"the module cannot be copied ({type(error).__name__}: {error}); expected one whose attributes are "
            "parameters, buffers and what copy.deepcopy takes"
        ) from error


def not_persistent(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Buffers that the state_dict leaves out."""
    state = module.state_dict()
    return {name: buffer for name, buffer in module.named_buffers() if name not in state}


def equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether b in a's precision is a."""
    if a.shape != b.shape:
        return False
    b = b.to(a)
    return bool(((a == b) | ((a != a) & (b != b))).all())


def refuse_other_keys(what: str, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """ValueError where a state has other keys or shapes than expected, with those that were found."""
    missing, more = [key for key in expected if key not in found], [key for key in found if key not in expected]
    if missing or more:
        difference = [(name, keys) for name, keys in (("missing", missing), ("not known", more)) if keys]
        raise ValueError(
            f"{what} holds {listed(found)}; expected the keys of the landscape's module, {listed(expected)} ("
            + "; ".join(f"{name}: {listed(keys)}" for name, keys in difference)
            + ")"
            + _advice(found, expected)
        )
    for key, tensor in expected.items():
        if not isinstance(tensor, torch.Tensor):  # extra state
            continue
        other = found[key]
        if not isinstance(other, torch.Tensor):
            raise ValueError(f"{what} holds {type(other).__name__} for {key}; expected a tensor (torch.as_tensor)")
        if other.shape != tensor.shape:
            raise ValueError(f"{key} of {what} has shape {tuple(other.shape)}; expected {tuple(tensor.shape)}")
        if other.is_floating_point() != tensor.is_floating_point():
            raise ValueError(f"{key} of {what} is {other.dtype}; expected {tensor.dtype}")


def _advice(found: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """What to do about keys that are the expected ones in another dress."""
    nested = [
        repr(key)
        for key, inner in found.items()
        if isinstance(inner, Mapping) and any(isinstance(v, torch.Tensor) for v in inner.values())
    ]
    if nested:
        return f". Tensors are in its entry {' or '.join(nested)}: give that"
    for longer, shorter, give in (
        (
            found,
            expected,
            "give the module that is wrapped, or of a state_dict "
            "{{k.removeprefix({0!r}): v for k, v in state.items() if k.startswith({0!r})}}",
        ),
        (expected, found, "make the landscape of the module that is wrapped"),
    ):
        one = next(iter(shorter), "")
        for key in longer:
            prefix = str(key).removesuffix(one)
            if one and prefix not in (key, "") and all(prefix + k in longer for k in shorter):
                return f". One has the other's with {prefix!r} before, as wrappers put it: {give.format(prefix)}"
    return ""


def listed(keys: Any) -> str:
    """The first few keys, and how many there are."""
    keys = list(keys)
    head = ", ".join(map(str, keys[:LISTED]))
    return head if len(keys) <= LISTED else f"{head}, … ({len(keys)} in all)"
