"""How many samples and points go together: as many as the processor's caches hold, which costs the least time."""

from __future__ import annotations

from collections.abc import Callable

import torch

#: Bytes of intermediate results: of all points that go together, and of the samples that one point takes at a time.
TOGETHER, AT_A_TIME = 8 << 20, 24 << 20
#: On a GPU, of all points that go together.
ON_GPU = 1 << 30
#: Points together at most, and samples at a time at least.
MOST_POINTS, FEWEST_SAMPLES = 8, 64


def bytes_kept(evaluate: Callable[[], torch.Tensor], n: int) -> float:
    """The bytes of intermediate results that one of n samples keeps for the gradient; 0 where that cannot be seen."""
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if not (tensor.is_leaf and tensor.requires_grad):
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    try:
        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            value = evaluate()
            del value
    except Exception:  # what is wrong with the module is told where it is tried
        return 0.0
    return sum(kept.values()) / n


def together(kept: float, samples: int, device: torch.device) -> int:
    """How many points go together under vmap, of so many samples at a time."""
    limit = TOGETHER if device.type == "cpu" else ON_GPU
    return max(1, min(MOST_POINTS, int(limit / max(kept * samples, 1.0))))


def at_a_time(kept: float, batch: int, device: torch.device) -> int:
    """How many samples one point takes at a time."""
    if device.type != "cpu":
        return batch
    return min(batch, max(FEWEST_SAMPLES, int(AT_A_TIME / max(kept, 1.0))))


def channels_last(tensor: torch.Tensor) -> torch.Tensor:
    """Copy images and kernels with the channels of a pixel side by side, in which convolutions on a CPU are faster.

    ``contiguous`` would leave images of one channel as they are, which are in both orders, and PyTorch would take them
    for the usual one: the results of the first convolution would then be reordered again and again.
    """
    return torch.empty_like(tensor, memory_format=torch.channels_last).copy_(tensor) if tensor.ndim == 4 else tensor
