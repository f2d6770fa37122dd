"""Which parameters of a module are coordinates, and where each lies in a vector (D,)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import prod

import numpy as np
import torch

from ..display import listed
from ..networks.parameters import Block
from .torch_speed import channels_last
from .torch_states import names_of


@dataclass(frozen=True)
class Coordinates:
    """The parameters of a module that are coordinates of a landscape.

    Attributes
    ----------
    blocks
        ``name``, ``shape``, ``start`` and ``stop`` of each.
    frozen
        The names of the other parameters.
    dtype, device
        Of all coordinates.
    """

    blocks: tuple[Block, ...]
    frozen: tuple[str, ...]
    dtype: torch.dtype
    device: torch.device

    @classmethod
    def of(cls, module: torch.nn.Module, patterns: str | Sequence[str] | None) -> Coordinates:
        """Choose the parameters that require gradients and fit patterns, all if None.

        Raises
        ------
        ValueError
            If there are none, a pattern fits none, or they are of several precisions or devices.
        """
        chosen = _chosen(module, patterns)
        first = _first(chosen)
        frozen = tuple(name for name, _ in module.named_parameters() if name not in chosen)
        return cls(_blocks(chosen, _transposed(module)), frozen, first.dtype, first.device)

    @property
    def size(self) -> int:
        """D."""
        return self.blocks[-1].stop

    @property
    def numpy_dtype(self) -> np.dtype:
        """The precision of vectors on the host."""
        return np.dtype(str(self.dtype).rpartition(".")[2])

    def tensor(self, array: np.ndarray) -> torch.Tensor:
        """A copy of an array where the module is."""
        return torch.tensor(array, dtype=self.dtype, device=self.device)

    def flattened(self, module: torch.nn.Module) -> np.ndarray:
        """(D,) of a module's parameters."""
        parameters = dict(module.named_parameters())
        flat = torch.cat([parameters[block.name].detach().reshape(-1) for block in self.blocks])
        return flat.cpu().numpy()

    def parts(self, flat: torch.Tensor) -> dict[str, torch.Tensor]:
        """The parameters by name, views of a vector (D,)."""
        return {block.name: flat[block.start : block.stop].reshape(block.shape) for block in self.blocks}

    def leaves(self, flat: torch.Tensor, gradient: bool, ordered: bool) -> dict[str, torch.Tensor]:
        """The parameters by name, as leaves of the gradient; kernels by pixel if ``ordered``."""
        order = channels_last if ordered else torch.Tensor.clone
        return {name: order(part).detach().requires_grad_(gradient) for name, part in self.parts(flat).items()}


def in_single_precision(module: torch.nn.Module) -> bool:
    """Make parameters of 16 bits float32; returns whether there were any."""
    kinds = {p.dtype for p in module.parameters() if p.is_floating_point()}
    half = bool(kinds & {torch.float16, torch.bfloat16}) and torch.float64 not in kinds
    if half:
        module.float()
    return half


def _chosen(module: torch.nn.Module, patterns: str | Sequence[str] | None) -> dict[str, torch.nn.Parameter]:
    """The parameters that are coordinates."""
    coordinates = {name: p for name, p in module.named_parameters() if p.requires_grad}
    if patterns is None:
        return coordinates
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    tied = names_of(module)

    def fits(name: str, pattern: str) -> bool:
        return any(fnmatchcase(other, pattern) for other in (name, *tied.get(name, ())))

    for pattern in patterns:
        if not any(fits(name, pattern) for name in coordinates):
            raise ValueError(
                f"parameters names {pattern!r}, which is none that requires a gradient; there are {listed(coordinates)}"
            )
    return {name: p for name, p in coordinates.items() if any(fits(name, pattern) for pattern in patterns)}


def _transposed(module: torch.nn.Module) -> set[str]:
    """The names of the weights (in, out, …) of transposed convolutions without groups."""
    kinds = torch.nn.ConvTranspose1d, torch.nn.ConvTranspose2d, torch.nn.ConvTranspose3d
    layers = module.named_modules()
    return {f"{name}.weight".lstrip(".") for name, layer in layers if isinstance(layer, kinds) and layer.groups == 1}


def _blocks(coordinates: Mapping[str, torch.nn.Parameter], transposed: set[str]) -> tuple[Block, ...]:
    blocks, start = [], 0
    for name, p in coordinates.items():
        shape = tuple(p.shape)
        blocks.append(Block(name, shape, prod(shape[1:]), start, start + p.numel(), int(name in transposed)))
        start += p.numel()
    return tuple(blocks)


def _first(coordinates: Mapping[str, torch.nn.Parameter]) -> torch.nn.Parameter:
    """A parameter of all, which agree in precision and device."""
    if not coordinates:
        raise ValueError(
            "the module has no parameter that requires a gradient, and those that do not are no coordinates; "
            "module.requires_grad_(True) makes all of them such"
        )
    for name, parameter in coordinates.items():
        if torch.nn.parameter.is_lazy(parameter):
            raise ValueError(f"the parameter {name} has no shape yet; call the module once on inputs")
    kinds = {str(p.dtype).rpartition(".")[2] for p in coordinates.values()}
    if not kinds <= {"float32", "float64"} or len(kinds) > 1:
        raise ValueError(
            f"the module's parameters are of {' and '.join(sorted(kinds))}; expected float32 or float64 alone: "
            "module.float() or module.double() makes them so, its inputs likewise"
        )
    devices = {str(p.device) for p in coordinates.values()}
    if len(devices) > 1:
        raise ValueError(f"the module's parameters lie on {' and '.join(sorted(devices))}; expected one device")
    return next(iter(coordinates.values()))
