"""A module in evaluation mode with batch normalisation put into the convolutions before it."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import fx, nn

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
#: By the number of axes of the weights.
CONVOLVE = {3: torch.conv1d, 4: torch.conv2d, 5: torch.conv3d}
#: Functions that compute ReLU, and those whose results nothing else needs for its gradient.
RELUS = (torch.relu, nn.functional.relu)
SUMS = (operator.add, torch.add)


def fused(module: nn.Module) -> nn.Module | None:
    """Make a module with the same function and parameters that takes less time and memory.

    In evaluation mode, normalisation after a convolution is w (W * x + c − m) / √(v + ε) + b, which is one convolution
    with the weights w W / √(v + ε) and the bias w (c − m) / √(v + ε) + b. ReLUs after such a convolution or a sum work
    in place.

    Parameters
    ----------
    module
        In evaluation mode; it is not changed.

    Returns
    -------
    Module
        With the parameters and buffers of the module, by the same names; None where torch.fx cannot trace the module,
        or no convolution is followed by batch normalisation.
    """
    try:
        traced = fx.symbolic_trace(module)
    except Exception:  # whatever a module raises that depends on the values of its inputs
        return None
    layers = dict(traced.named_modules())
    pairs = [node for node in traced.graph.nodes if _normalises_a_convolution(node, layers)]
    for node in pairs:
        _fuse(traced.graph, node, layers)
    if not pairs:
        return None
    for node in traced.graph.nodes:
        _work_in_place(node, layers)
    traced.recompile()
    return traced.eval()


def _layer(node: Any, layers: dict[str, nn.Module]) -> nn.Module | None:
    """The layer that a node calls on one tensor."""
    plain = isinstance(node, fx.Node) and node.op == "call_module" and len(node.args) == 1 and not node.kwargs
    return layers[str(node.target)] if plain else None


def _normalises_a_convolution(node: fx.Node, layers: dict[str, nn.Module]) -> bool:
    norm = _layer(node, layers)
    if not isinstance(norm, nn.modules.batchnorm._BatchNorm) or norm.running_mean is None or norm.running_var is None:
        return False
    before: Any = node.args[0]
    convolution: Any = _layer(before, layers)
    return (
        type(convolution) in CONVOLUTIONS
        and convolution.padding_mode == "zeros"
        and len(before.users) == 1
        and not has_hooks(norm)
        and not has_hooks(convolution)
    )


def has_hooks(layer: nn.Module) -> bool:
    """Whether more happens at a call than the layer's own forward pass."""
    return bool(layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks)


def _fuse(graph: fx.Graph, node: fx.Node, layers: dict[str, nn.Module]) -> None:
    """Put one call in the place of a convolution and the normalisation after it."""
    before: Any = node.args[0]
    convolution: Any = layers[str(before.target)]
    norm: Any = layers[str(node.target)]

    def tensor(layer: Any, target: Any, name: str) -> fx.Node | None:
        return None if getattr(layer, name) is None else graph.get_attr(f"{target}.{name}")

    with graph.inserting_before(node):
        own = [tensor(convolution, before.target, name) for name in ("weight", "bias")]
        statistics = [tensor(norm, node.target, name) for name in ("weight", "bias", "running_mean", "running_var")]
        how = (convolution.stride, convolution.padding, convolution.dilation, convolution.groups)
        call = (before.args[0], *own, *statistics, norm.eps, *how)
        new = graph.call_function(normalised_convolution, call)
    node.replace_all_uses_with(new)
    graph.erase_node(node)
    graph.erase_node(before)


def normalised_convolution(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    scale: torch.Tensor | None,
    shift: torch.Tensor | None,
    mean: torch.Tensor,
    variance: torch.Tensor,
    eps: float,
    *how: Any,
) -> torch.Tensor:
    """Convolve and normalise by running statistics: (N, C_in, …) -> (N, C, …)."""
    part = torch.rsqrt(variance + eps)
    part = part if scale is None else part * scale
    rest = -mean * part if bias is None else (bias - mean) * part
    rest = rest if shift is None else rest + shift
    found: torch.Tensor = CONVOLVE[weight.ndim](x, weight * part.reshape(-1, *([1] * (weight.ndim - 1))), rest, *how)
    return found


def _work_in_place(node: fx.Node, layers: dict[str, nn.Module]) -> None:
    """Let a ReLU write over its input, where that is a new tensor which nothing else reads."""
    is_function = node.op == "call_function" and node.target in RELUS and len(node.args) == 1 and not node.kwargs
    if not (is_function or type(_layer(node, layers)) is nn.ReLU):
        return
    source: Any = node.args[0]
    made = isinstance(source, fx.Node) and source.op == "call_function" and len(source.users) == 1
    if made and source.target in (normalised_convolution, *SUMS):
        node.op, node.target, node.kwargs = "call_function", torch.relu_, {}
