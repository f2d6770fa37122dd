"""A module and its loss as functions of a state; each thread has a copy of its own."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch.func import functional_call

from .torch_attention import with_self_attention
from .torch_buffers import Folded
from .torch_data import arguments
from .torch_fused import fused
from .torch_states import copied
from .torch_trial import loss_of

State = Mapping[str, torch.Tensor]

#: A gradient by outputs is negligible below this number and below this part of the largest, ε² of single precision.
NEGLIGIBLE, NEGLIGIBLE_PART = 1e-30, float(torch.finfo(torch.float32).eps) ** 2


class Forward:
    """The outputs and the loss of a module at a state, for one thread at a time.

    Parameters
    ----------
    module
        In evaluation mode. What a call leaves behind in it reaches no state that is given out.
    loss
        As :class:`~minilandscape.adapters.torch.TorchLandscape` takes it.
    folds
        Whether states may have other statistics of batch normalisation, by which gradients are taken.

    Attributes
    ----------
    module
        The module that is called.
    quick
        A module that computes the same in less time; None where there is none.
    """

    def __init__(self, module: torch.nn.Module, loss: Callable[..., Any] | None, folds: bool) -> None:
        self.module, self.loss = module, loss
        self._folded = Folded(module) if folds else None
        self.quick: torch.nn.Module | None = None

    def with_quick(self) -> Forward:
        """A copy that computes losses by the quick module; itself where the module has none."""
        quick = fused(self.module) or with_self_attention(self.module)
        if quick is None:
            return self
        other = copy.copy(self)
        other.quick = quick
        return other

    def replica(self) -> Forward:
        """A copy for another thread."""
        loss = copy.deepcopy(self.loss) if isinstance(self.loss, torch.nn.Module) else self.loss
        other = Forward(copied(self.module), loss, self._folded is not None)
        other.quick = None if self.quick is None else copied(self.quick)
        return other

    def outputs(self, state: State, inputs: Any) -> Any:
        """The module's outputs, by the module itself."""
        args, kwargs = arguments(inputs)
        return functional_call(self.module, self._at(state), args, kwargs)

    def value(self, state: State, inputs: Any, targets: Any) -> torch.Tensor:
        """The loss of some samples."""
        if self.quick is None:
            outputs = self.outputs(state, inputs)
        else:  # which differentiates by statistics as it is
            args, kwargs = arguments(inputs)
            outputs = functional_call(self.quick, dict(state), args, kwargs)
        if isinstance(outputs, torch.Tensor) and _slow_if_subnormal(outputs):
            outputs.register_hook(without_negligible)
        result: torch.Tensor = loss_of(self.loss, outputs, targets)
        return result

    def _at(self, state: State) -> dict[str, torch.Tensor]:
        return dict(state) if self._folded is None else self._folded(dict(state))


def _slow_if_subnormal(outputs: torch.Tensor) -> bool:
    """Whether gradients by outputs of a module are in single precision on a CPU; a parameter would keep its hooks."""
    single = outputs.dtype == torch.float32 and outputs.device.type == "cpu" and outputs.layout == torch.strided
    return single and outputs.requires_grad and not outputs.is_leaf and outputs.numel() > 0


def without_negligible(slopes: torch.Tensor) -> torch.Tensor:
    """Set gradients by a module's outputs to 0 where they are negligible beside the largest and close to underflow.

    Where samples are fitted almost exactly, as the softmax of some classes, these and their products with weights are
    subnormal numbers, with which a CPU computes ten times more slowly. ``torch.set_flush_denormal`` reaches the calling
    thread alone. Second derivatives are those of the slopes as they were.
    """
    if slopes.layout != torch.strided:
        return slopes
    sizes = slopes.detach().abs()
    kept = (sizes >= NEGLIGIBLE) | (sizes >= NEGLIGIBLE_PART * sizes.max())
    return slopes - slopes.detach().masked_fill(kept, 0.0)


@contextmanager
def differentiable_kernels(often: bool = True) -> Iterator[None]:
    """Attention by kernels that take a gradient; if ``often``, by those that vmap and second derivatives take too.

    Evaluation mode has a faster one for values alone, whose rounding is another.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH) if often else nullcontext():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
