"""Which axes of a layer's parameters count which hidden units, and those of its outputs, one rule a kind of layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from .torch_groups import Axes, Axis, Groups

ELEMENTWISE = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh, nn.Sigmoid),
    *(nn.Softplus, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.LogSigmoid, nn.Softsign, nn.Identity, nn.Dropout),
    *(nn.Dropout1d, nn.Dropout2d, nn.Dropout3d),
)
POOLING = (
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.AdaptiveAvgPool1d),
    *(nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.Upsample),
)
#: Recurrent layers and their number of gates.
RECURRENT = {nn.RNN: 1, nn.GRU: 3, nn.LSTM: 4}

Rule = Callable[[Groups, str, Any, Axes], Axes | None]


def axes_of_layer(groups: Groups, name: str, layer: nn.Module, x: Axes) -> Axes | None:
    """Record the axes of a layer's parameters; return those of its outputs, None where no rule is known.

    Parameters
    ----------
    name
        The layer's name in the module.
    x
        The axes of its input.
    """
    for kinds, rule in RULES:
        if isinstance(layer, kinds):
            return rule(groups, name, layer, list(x))
    return None


def _same(groups: Groups, name: str, layer: Any, x: Axes) -> Axes:
    return x


def _pooled(groups: Groups, name: str, layer: Any, x: Axes) -> Axes:
    return [*x[:2], *([None] * (len(x) - 2))]


def _linear(groups: Groups, name: str, layer: Any, x: Axes) -> Axes:
    return [*x[:-1], _weights(groups, name, layer, x[-1])]


def _weights(groups: Groups, name: str, layer: Any, axis_in: Axis | None, rest: int = 0) -> Axis | None:
    """Of weight (out, in, …) and bias (out,); returns the axis of the outputs."""
    out = groups.new(f"{name}:out")
    groups.record(f"{name}.weight", [out, axis_in, *([None] * rest)])
    out_axis = groups.axes[f"{name}.weight"][0]
    if layer.bias is not None:
        groups.record(f"{name}.bias", [out_axis])
    return out_axis


def _convolution(groups: Groups, name: str, layer: Any, x: Axes) -> Axes | None:
    spatial = len(layer.kernel_size)
    if len(x) != spatial + 2:
        return None
    if layer.groups == 1:
        return [x[0], _weights(groups, name, layer, x[1], spatial), *([None] * spatial)]
    if layer.groups == layer.in_channels == layer.out_channels:  # each channel by itself
        groups.record(f"{name}.weight", [x[1], None, *([None] * spatial)])
        if layer.bias is not None:
            groups.record(f"{name}.bias", [x[1]])
        return [x[0], x[1], *([None] * spatial)]
    return None


def _batch_norm(groups: Groups, name: str, layer: Any, x: Axes) -> Axes:
    return _normalised(groups, name, layer, x, 1)


def _layer_norm(groups: Groups, name: str, layer: Any, x: Axes) -> Axes | None:
    return _normalised(groups, name, layer, x, -1) if len(layer.normalized_shape) == 1 else None


def _group_norm(groups: Groups, name: str, layer: Any, x: Axes) -> Axes | None:
    return _normalised(groups, name, layer, x, 1) if layer.num_groups in (1, layer.num_channels) else None


def _normalised(groups: Groups, name: str, layer: Any, x: Axes, axis: int) -> Axes:
    for what in ("weight", "bias", "running_mean", "running_var"):
        if getattr(layer, what, None) is not None:
            groups.record(f"{name}.{what}", [x[axis]])
    return x


def _embedding(groups: Groups, name: str, layer: Any, x: Axes) -> Axes:
    groups.record(f"{name}.weight", [None, groups.new(f"{name}.weight:1")])
    return [*x, groups.axes[f"{name}.weight"][1]]


def recurrent(groups: Groups, name: str, layer: Any, x: Axes) -> Axes:
    """Axes of a recurrent layer's outputs; a unit has a row in each gate.

    Units of two directions, and of projections, stay in their order.
    """
    gates, axis = RECURRENT[type(layer)], x[-1]
    if layer.bidirectional or layer.proj_size:
        groups.fix(axis)
        return [None] * len(x)
    for k in range(layer.num_layers):
        hidden = groups.new(f"{name}:{k}")
        rows = Axis(hidden.group, gates)
        groups.record(f"{name}.weight_ih_l{k}", [rows, axis])
        groups.record(f"{name}.weight_hh_l{k}", [rows, hidden])
        if layer.bias:
            groups.record(f"{name}.bias_ih_l{k}", [rows])
            groups.record(f"{name}.bias_hh_l{k}", [rows])
        axis = hidden
    return [*x[:-1], axis]


def _attention(groups: Groups, name: str, layer: nn.MultiheadAttention, x: Axis | None) -> Axis | None:
    """Of self-attention on a stream of features; heads are permuted as wholes."""
    heads = groups.new(f"{name}:heads")
    three, one = Axis(heads.group, 3, layer.head_dim), Axis(heads.group, 1, layer.head_dim)
    groups.record(f"{name}.in_proj_weight", [three, x])
    if layer.in_proj_bias is not None:
        groups.record(f"{name}.in_proj_bias", [three])
    out = groups.new(f"{name}.out_proj:out")
    groups.record(f"{name}.out_proj.weight", [out, one])
    if layer.out_proj.bias is not None:
        groups.record(f"{name}.out_proj.bias", [out])
    return out


def _encoder_layer(groups: Groups, name: str, layer: Any, x: Axes) -> Axes | None:
    attention = layer.self_attn
    if not attention._qkv_same_embed_dim or attention.bias_k is not None:
        return None
    for norm in ("norm1", "norm2"):
        _normalised(groups, f"{name}.{norm}", getattr(layer, norm), x, -1)
    x[-1] = groups.unite(x[-1], _attention(groups, f"{name}.self_attn", attention, x[-1]))
    hidden = _weights(groups, f"{name}.linear1", layer.linear1, x[-1])
    x[-1] = groups.unite(x[-1], _weights(groups, f"{name}.linear2", layer.linear2, hidden))
    return x


def _encoder(groups: Groups, name: str, layer: Any, x: Axes) -> Axes | None:
    for k, part in enumerate(layer.layers):
        following = _encoder_layer(groups, f"{name}.layers.{k}", part, x)
        if following is None:
            return None
        x = following
    return x if layer.norm is None else axes_of_layer(groups, f"{name}.norm", layer.norm, x)


#: The first that fits is taken.
RULES: tuple[tuple[Any, Rule], ...] = (
    (ELEMENTWISE, _same),
    (POOLING, _pooled),
    (nn.Linear, _linear),
    ((nn.Conv1d, nn.Conv2d, nn.Conv3d), _convolution),
    (nn.modules.batchnorm._BatchNorm, _batch_norm),
    (nn.LayerNorm, _layer_norm),
    (nn.GroupNorm, _group_norm),
    (nn.Embedding, _embedding),
    (nn.TransformerEncoderLayer, _encoder_layer),
    (nn.TransformerEncoder, _encoder),
)
