"""PyTorch: a module, a loss and data as a landscape over the module's flat parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch.func import functional_call, grad_and_value, vmap

from ..landscape import LandscapeDefaults


class TorchLandscape(LandscapeDefaults):
    """The loss of a module over data, as a function of its parameters in the order of ``module.named_parameters()``.

    Parameters
    ----------
    module
        Used in evaluation mode, its buffers kept as they are; it is left in the mode that it was in.
    loss
        ``loss(outputs, targets) -> mean over the samples``, such as ``torch.nn.functional.cross_entropy``.
    inputs, targets
        Tensors whose first axis counts the samples, on the module's device.
    batch
        Samples at a time; bounds the memory.
    points
        Points at a time under ``torch.func.vmap``; 1 turns it off, for modules that it cannot take.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        loss: Callable[[Any, Any], Any],
        inputs: torch.Tensor,
        targets: torch.Tensor,
        *,
        batch: int = 1000,
        points: int = 8,
    ) -> None:
        if len(inputs) != len(targets) or not len(inputs):
            raise ValueError(f"there are {len(inputs)} inputs and {len(targets)} targets; expected as many of both")
        parameters = dict(module.named_parameters())
        self._shapes = {name: tuple(p.shape) for name, p in parameters.items()}
        first = next(iter(parameters.values()))
        self._torch_dtype, self._torch_device = first.dtype, first.device
        self.size = sum(p.numel() for p in parameters.values())
        self.dtype = np.dtype(str(first.dtype).rpartition(".")[2])
        self._module, self._loss, self._data = module, loss, (inputs, targets)
        self._batch, self._points = batch, points

    def vector(self, state: Mapping[str, Any] | torch.nn.Module | None = None) -> np.ndarray:
        """(D,) from a ``state_dict`` or a module; None takes the landscape's own module."""
        state = self._module if state is None else state
        known = dict(state.named_parameters()) if isinstance(state, torch.nn.Module) else state
        missing = [name for name in self._shapes if name not in known]
        if missing:
            raise ValueError(f"the state has no parameter {missing[0]!r}")
        return np.concatenate([known[name].detach().cpu().numpy().ravel() for name in self._shapes])

    def state_dict(self, vector: Any) -> dict[str, torch.Tensor]:
        """The parameters of a vector (D,) by name."""
        flat = torch.as_tensor(np.asarray(vector), dtype=self._torch_dtype, device=self._torch_device)
        return self._unflatten(flat)

    def load(self, vector: Any, module: torch.nn.Module | None = None) -> torch.nn.Module:
        """Puts a vector into a module, the landscape's own if None; returns it."""
        module = self._module if module is None else module
        module.load_state_dict(self.state_dict(vector), strict=False)
        return module

    def values(self, points: Any) -> np.ndarray:
        """(P, D) -> (P,)."""
        return self._over(points, False)[0]

    def values_and_gradients(self, points: Any) -> tuple[np.ndarray, np.ndarray]:
        """(P, D) -> (P,), (P, D)."""
        values, gradients = self._over(points, True)
        assert gradients is not None
        return values, gradients

    def _unflatten(self, flat: torch.Tensor) -> dict[str, torch.Tensor]:
        parts, start = {}, 0
        for name, shape in self._shapes.items():
            n = int(np.prod(shape))
            parts[name] = flat[start : start + n].reshape(shape)
            start += n
        return parts

    def _one(self, flat: torch.Tensor, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self._loss(functional_call(self._module, self._unflatten(flat), (inputs,)), targets)
        return result

    def _over(self, points: Any, gradient: bool) -> tuple[np.ndarray, np.ndarray | None]:
        points = np.asarray(points)
        if points.ndim != 2 or points.shape[1] != self.size:
            raise ValueError(f"points have shape {points.shape}; expected a stack (P, {self.size})")
        training = self._module.training
        self._module.eval()
        function: Any = grad_and_value(self._one) if gradient else self._one
        values, gradients = np.zeros(len(points)), np.zeros_like(points, dtype=self.dtype) if gradient else None
        try:
            with torch.enable_grad() if gradient else torch.no_grad():
                for start in range(0, len(points), self._points):
                    part = slice(start, start + self._points)
                    flat = torch.tensor(points[part], dtype=self._torch_dtype, device=self._torch_device)
                    for a in range(0, len(self._data[0]), self._batch):
                        inputs, targets = (tensor[a : a + self._batch] for tensor in self._data)
                        share = len(inputs) / len(self._data[0])
                        if self._points > 1:
                            found = vmap(function, in_dims=(0, None, None))(flat, inputs, targets)
                        else:
                            found = function(flat[0], inputs, targets)
                            found = tuple(f[None] for f in found) if gradient else found[None]
                        value = found[1] if gradient else found
                        values[part] += share * value.detach().cpu().numpy().astype(np.float64)
                        if gradients is not None:
                            gradients[part] += share * found[0].detach().cpu().numpy()
        finally:
            self._module.train(training)
        return values, gradients
