"""Buffers along a path: linear between the states that are given, or batch-normalisation statistics from the data."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.func import functional_call

from ..display import listed
from .torch_data import Batches, arguments
from .torch_states import copied, equal


def counts_batches(name: str) -> bool:
    """Whether a buffer is the count of batches, which has no part in evaluation mode."""
    return name.endswith("num_batches_tracked")


class Interpolated:
    """Buffers that are linear between some states, and constant beyond them.

    A point x has the weights λ of the states x_k that are nearest to its projection on their affine hull, λ ≥ 0 and
    Σ λ = 1: of two states, λ = (1 − s, s) with s = (x − x_0)·(x_1 − x_0) / |x_1 − x_0|², cut to [0, 1]. The buffers are
    Σ λ_k B_k, a function of x, so that the gradient is that of the value.

    Parameters
    ----------
    points
        (K, D).
    buffers
        Of each state.
    own
        Those of the module, which the states may have too.
    like
        A parameter, whose precision and device the buffers' weights have.

    Buffers that all states have alike are theirs, of whole numbers too.

    Attributes
    ----------
    names
        The buffers that differ between the states.
    middle
        (D,): the mean of the points, where the landscape has no kink of its own.

    Raises
    ------
    ValueError
        If points do not tell the states apart, or buffers of whole numbers differ between states.
    """

    def __init__(
        self,
        points: np.ndarray,
        buffers: Sequence[Mapping[str, torch.Tensor]],
        own: Mapping[str, torch.Tensor],
        like: torch.Tensor,
    ) -> None:
        points = points.astype(np.float64)
        differ = [name for name in own if not all(equal(own[name], other[name]) for other in buffers)]
        differ = [name for name in differ if not counts_batches(name)]
        between = [name for name in differ if not all(equal(buffers[0][name], other[name]) for other in buffers)]
        whole = [name for name in between if not (own[name].is_floating_point() or own[name].is_complex())]
        if whole:
            raise ValueError(
                f"the states have different buffers of whole numbers: {listed(whole)}; those cannot be interpolated. "
                "Make them alike: where the module does not use them in evaluation mode, as a count of steps, any "
                "number will do"
            )
        directions = points[1:] - points[0]
        inverse = np.linalg.pinv(directions).T if len(directions) else directions
        if not np.allclose(inverse @ directions.T, np.eye(len(directions)), atol=1e-6):
            raise ValueError(
                "the states' parameters are equal, or lie on one line, so that a point does not say which buffers are "
                "its own; give two states with different parameters, or three that span a plane"
            )
        self.names = between
        self.middle = points.mean(axis=0)
        self._origin, self._inverse = (
            torch.tensor(a, dtype=like.dtype, device=like.device) for a in (points[0], inverse)
        )
        # What all states have alike is taken as it is.
        self._alike = {name: buffers[0][name].to(like.device) for name in differ if name not in between}
        self._ends = {name: torch.stack([b[name].to(like.device) for b in buffers]) for name in between}

    def at(self, flat: torch.Tensor) -> dict[str, torch.Tensor]:
        """The buffers that are not the module's, at a point (D,)."""
        if not self.names:
            return dict(self._alike)
        inside = self._inverse @ (flat - self._origin)
        weights = _on_simplex(torch.cat([1 - inside.sum()[None], inside]))
        between = {name: torch.tensordot(weights.to(ends.dtype), ends, 1) for name, ends in self._ends.items()}
        return {**self._alike, **between}


def _on_simplex(x: torch.Tensor) -> torch.Tensor:
    """The nearest weights that are not negative and add to 1 (Held, Wolfe and Crowder, 1974)."""
    descending = torch.sort(x, descending=True)[0]
    excess = (torch.cumsum(descending, 0) - 1) / torch.arange(1, len(x) + 1, dtype=x.dtype, device=x.device)
    last = (descending > excess).sum() - 1
    return torch.clamp(x - torch.gather(excess, 0, last[None]), min=0)


def has_statistics(layer: torch.nn.Module) -> bool:
    """Whether a layer is batch normalisation with running statistics."""
    return isinstance(layer, torch.nn.modules.batchnorm._BatchNorm) and layer.running_mean is not None


def statistics_of(module: torch.nn.Module) -> list[str]:
    """The names of the running statistics of batch normalisation."""
    layers = [name for name, layer in module.named_modules() if has_statistics(layer)]
    return [f"{name}.{what}".removeprefix(".") for name in layers for what in ("running_mean", "running_var")]


class Folded:
    """Statistics of batch normalisation put into its weight and bias, by which PyTorch differentiates.

    w (x − m) / √(v + ε) + b = w' x + b' with w' = w / √(v + ε) and b' = b − m w', evaluated with mean 0 and variance
    1 − ε in their place.

    Parameters
    ----------
    module
        Layers without weight and bias are given them.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        self._layers: dict[str, float] = {}
        for name, layer in module.named_modules():
            if has_statistics(layer):
                self._layers[name] = layer.eps
                if layer.weight is None:
                    layer.weight = torch.nn.Parameter(torch.ones_like(layer.running_mean), requires_grad=False)
                    layer.bias = torch.nn.Parameter(torch.zeros_like(layer.running_mean), requires_grad=False)
        self._own = {**dict(module.named_parameters()), **dict(module.named_buffers())}

    def __call__(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """A state without running statistics of layers that have any in it."""
        folded = dict(state)
        for name, eps in self._layers.items():
            keys = [f"{name}.{what}" for what in ("running_mean", "running_var", "weight", "bias")]
            if not (keys[0] in state or keys[1] in state):
                continue
            mean, variance, weight, bias = (state[key] if key in state else self._own[key] for key in keys)
            scale = weight / torch.sqrt(variance + eps)
            new = torch.zeros_like(mean), torch.full_like(variance, 1 - eps), scale, bias - mean * scale
            folded.update(zip(keys, new, strict=True))
        return folded


class Recomputed:
    """Batch-normalisation statistics from the data, as Garipov et al. (2018) and ``torch.optim.swa_utils.update_bn``.

    All samples pass once, a batch at a time, each normalised by its own batch; a layer's running mean and variance
    become the means over batches of each batch's mean and unbiased variance, weighted by its samples, where
    ``update_bn`` weights all batches alike. Dropout stays off.

    Parameters
    ----------
    module
        In evaluation mode; it is copied.

    Attributes
    ----------
    names
        The buffers.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        self._module = copied(module)
        self._seen: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {}
        self._layers = []
        for name, layer in self._module.named_modules():
            if has_statistics(layer):
                self._layers.append(name)
                layer.train()
                layer.track_running_stats = False  # its statistics are seen by the hook, and written nowhere
                layer.register_forward_pre_hook(self._hook(name))
        if not self._layers:
            raise ValueError(
                "buffers='recompute' takes the statistics of batch normalisation from the data, but the module has no "
                "layer of it with running statistics; remove it"
            )
        self.names = [f"{name}.{what}" for name in self._layers for what in ("running_mean", "running_var")]

    def try_batches(self, batches: Batches, state: Mapping[str, torch.Tensor]) -> None:
        """ValueError where a batch has a single sample, and a layer no variance of one."""
        sizes = np.diff(batches.bounds)
        if sizes.min() > 1:
            return
        k = int(batches.bounds[int(sizes.argmin())])
        try:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # PyTorch's own, of a variance without a degree of freedom
                self.of_batch(state, batches.samples.rows(slice(k, k + 1))[0])
        except ValueError as error:
            raise ValueError(
                "buffers='recompute' takes statistics of each batch, and one of a single sample has no variance; "
                + ("give batch=3 or more" if batches.samples.n > 1 else "give more samples")
                + f" ({error})"
            ) from error

    def _hook(self, name: str) -> Callable[[Any, Any], None]:
        def see(layer: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> None:
            x = args[0]
            axes = [axis for axis in range(x.ndim) if axis != 1]
            self._seen.setdefault(name, []).append((x.mean(axes), x.var(axes)))

        return see

    def of_batch(self, state: Mapping[str, torch.Tensor], inputs: Any) -> dict[str, torch.Tensor]:
        """The statistics of one batch; layers that it does not pass through have none."""
        self._seen.clear()
        args, kwargs = arguments(inputs)
        functional_call(self._module, dict(state), args, kwargs)
        found = {}
        for name, calls in self._seen.items():
            for k, what in enumerate(("running_mean", "running_var")):
                found[f"{name}.{what}"] = torch.stack([call[k] for call in calls]).mean(0)
        self._seen.clear()
        return found
