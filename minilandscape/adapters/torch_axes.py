"""Which axes of a module's parameters belong to the same hidden units, from its traced graph."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from .torch_data import arguments


@dataclass(frozen=True)
class Axis:
    """An axis of a tensor that counts some units: of length ``outer · n · inner``, the units in the middle.

    Attributes
    ----------
    group
        The name of the units.
    outer, inner
        How often they are repeated, as in the gates of an LSTM and in the pixels of a channel that was flattened.
    """

    group: str
    outer: int = 1
    inner: int = 1


#: One axis a dimension; None where an axis counts no units that may be permuted.
Axes = list[Axis | None]

ELEMENTWISE = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh, nn.Sigmoid),
    *(nn.Softplus, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.LogSigmoid, nn.Softsign, nn.Identity, nn.Dropout),
    *(nn.Dropout1d, nn.Dropout2d, nn.Dropout3d),
)
POOLING = (
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.AdaptiveAvgPool1d),
    *(nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.Upsample),
)
RECURRENT = {nn.RNN: 1, nn.GRU: 3, nn.LSTM: 4}
#: By the names of functions and methods.
UNARY = {
    *("relu", "relu_", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "tanh", "sigmoid", "softplus"),
    *("hardtanh", "hardswish", "dropout", "dropout1d", "dropout2d", "exp", "log", "sqrt", "abs", "neg", "clamp"),
    *("contiguous", "clone", "detach", "float", "double", "square", "pow"),
}
POOLED = {
    *("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d"),
    *("adaptive_avg_pool2d", "adaptive_max_pool1d", "adaptive_max_pool2d", "interpolate"),
}
BINARY = {"add", "sub", "mul", "truediv", "div", "iadd", "imul", "add_", "mul_", "sub_", "maximum", "minimum"}
REDUCED = {"mean", "sum", "amax", "amin"}


class Groups:
    """Groups of units that are found to be one, and those that must stay in their order."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}
        self._fixed: set[str] = set()
        self.axes: dict[str, Axes] = {}

    def new(self, name: str) -> Axis:
        """An axis of units of their own."""
        self._parent[name] = name
        return Axis(name)

    def root(self, group: str) -> str:
        """The name of a group after all unions."""
        while self._parent[group] != group:
            group = self._parent[group]
        return group

    def fix(self, *axes: Axis | None) -> None:
        """These units stay in their order."""
        self._fixed.update(axis.group for axis in axes if axis is not None)

    def unite(self, a: Axis | None, b: Axis | None) -> Axis | None:
        """Two axes that count the same units; where they cannot, both stay in their order."""
        if a is None or b is None or (a.outer, a.inner) != (b.outer, b.inner):
            self.fix(a, b)
            return None
        self._parent[self.root(b.group)] = self.root(a.group)
        return a

    def record(self, name: str, axes: Axes) -> None:
        """The axes of a parameter or buffer; a second use of it has the same."""
        known = self.axes.get(name)
        self.axes[name] = axes if known is None else [self.unite(a, b) for a, b in zip(known, axes, strict=True)]

    def free(self) -> dict[str, Axes]:
        """The axes of all tensors by the names of united groups, those that stay in their order left out."""
        fixed = {self.root(group) for group in self._fixed}

        def named(axis: Axis | None) -> Axis | None:
            if axis is None or self.root(axis.group) in fixed:
                return None
            return Axis(self.root(axis.group), axis.outer, axis.inner)

        return {name: [named(axis) for axis in axes] for name, axes in self.axes.items()}


def traced_axes(module: nn.Module, inputs: Any) -> dict[str, Axes]:
    """The axes of a module's parameters and buffers by name, from its graph for some inputs.

    Linear, convolution, batch, layer and group normalisation, embedding, attention, transformer and recurrent layers,
    elementwise functions, pooling, residual additions, flattening and transposing are followed. Units that pass through
    anything else stay in their order, as inputs and outputs do.

    Raises
    ------
    ValueError
        If torch.fx cannot trace the module.
    """
    args, kwargs = arguments(inputs)
    signature = inspect.signature(module.forward)
    try:
        bound = signature.bind(*args, **kwargs).arguments
        given = {name: value for name, value in bound.items() if isinstance(value, torch.Tensor)}
        constants = {
            name: bound.get(name, parameter.default)
            for name, parameter in signature.parameters.items()
            if name not in given and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        }
        graph = fx.symbolic_trace(module, concrete_args=constants or None)
        names = [node.target for node in graph.graph.nodes if node.op == "placeholder"]
        ShapeProp(graph).propagate(*(given.get(name, constants.get(name)) for name in names))
    except Exception as error:
        raise ValueError(
            f"torch.fx cannot trace the module ({type(error).__name__}: {str(error).partition(chr(10))[0]}); name the "
            "axes of its parameters yourself: axes={'0.weight': ('hidden', None), '0.bias': ('hidden',), …}"
        ) from error
    tracer = _Follower(graph)
    for node in graph.graph.nodes:
        tracer.follow(node)
    return tracer.groups.free()


class _Follower:
    """Follows the axes of all tensors through a graph."""

    def __init__(self, graph: fx.GraphModule) -> None:
        self.graph, self.groups = graph, Groups()
        self.found: dict[fx.Node, Axes] = {}
        #: The outputs of recurrent layers, the first of what these return.
        self.sequences: dict[fx.Node, Axes] = {}

    def follow(self, node: fx.Node) -> None:
        """The axes of a node's output from those of its inputs."""
        rank = len(self._shape(node))
        if node.op == "placeholder" or (node.op != "output" and not node.users):
            self.found[node] = [None] * rank
        elif node.op == "get_attr":
            tensor: Any = self.graph
            for part in str(node.target).split("."):
                tensor = getattr(tensor, part)
            axes = [self.groups.new(f"{node.target}:{k}") if n > 1 else None for k, n in enumerate(tensor.shape)]
            self.groups.record(str(node.target), axes)
            self.found[node] = self.groups.axes[str(node.target)]
        elif node.op == "output":
            self._fix_inputs(node)
        else:
            found = self._module(node) if node.op == "call_module" else self._function(node)
            if found is None or len(found) != rank:
                self._fix_inputs(node)
                found = [None] * rank
            self.found[node] = found

    def _shape(self, node: fx.Node) -> tuple[int, ...]:
        shape = getattr(node.meta.get("tensor_meta"), "shape", None)
        return () if shape is None else tuple(shape)

    def _fix_inputs(self, node: fx.Node) -> None:
        for source in node.all_input_nodes:
            self.groups.fix(*self.found[source])

    # Modules

    def _module(self, node: fx.Node) -> Axes | None:
        layer = self.graph.get_submodule(str(node.target))
        inputs = [self.found[a] for a in node.args if isinstance(a, fx.Node)]
        if not inputs or any(isinstance(v, fx.Node) for v in node.kwargs.values()):
            return None
        if type(layer) in RECURRENT and len(inputs) == 1:
            self.sequences[node] = self._recurrent(str(node.target), layer, inputs[0])
            return []
        found = self._layer(str(node.target), layer, inputs)
        if isinstance(layer, nn.Flatten):
            source = next(a for a in node.args if isinstance(a, fx.Node))
            found = self._reshaped(inputs[0], self._shape(source), self._shape(node))
        return found

    def _layer(self, name: str, layer: nn.Module, inputs: Sequence[Axes]) -> Axes | None:
        x = list(inputs[0])
        if isinstance(layer, ELEMENTWISE):
            return x
        if isinstance(layer, POOLING):
            return [*x[:2], *([None] * (len(x) - 2))]
        if isinstance(layer, nn.Linear):
            return [*x[:-1], self._weights(name, layer, x[-1])]
        if isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            return self._convolution(name, layer, x)
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            return self._normalised(name, layer, x, 1)
        if isinstance(layer, nn.LayerNorm):
            return self._normalised(name, layer, x, -1) if len(layer.normalized_shape) == 1 else None
        if isinstance(layer, nn.GroupNorm):
            return self._normalised(name, layer, x, 1) if layer.num_groups in (1, layer.num_channels) else None
        if isinstance(layer, nn.Embedding):
            axis = self.groups.new(f"{name}.weight:1")
            self.groups.record(f"{name}.weight", [None, axis])
            return [*x, self._latest(f"{name}.weight", 1)]
        if isinstance(layer, nn.TransformerEncoderLayer):
            return self._encoder(name, layer, x)
        if isinstance(layer, nn.TransformerEncoder):
            for k, part in enumerate(layer.layers):
                following = self._encoder(f"{name}.layers.{k}", part, x)
                if following is None:
                    return None
                x = following
            return x if layer.norm is None else self._layer(f"{name}.norm", layer.norm, [x])
        return None

    def _latest(self, name: str, axis: int) -> Axis | None:
        return self.groups.axes[name][axis]

    def _weights(self, name: str, layer: Any, axis_in: Axis | None, rest: int = 0) -> Axis | None:
        """Of weight (out, in, …) and bias (out,); returns the axis of the outputs."""
        out = self.groups.new(f"{name}:out")
        self.groups.record(f"{name}.weight", [out, axis_in, *([None] * rest)])
        out_axis = self._latest(f"{name}.weight", 0)
        if layer.bias is not None:
            self.groups.record(f"{name}.bias", [out_axis])
        return out_axis

    def _convolution(self, name: str, layer: Any, x: Axes) -> Axes | None:
        spatial = len(layer.kernel_size)
        if len(x) != spatial + 2:
            return None
        if layer.groups == 1:
            return [x[0], self._weights(name, layer, x[1], spatial), *([None] * spatial)]
        if layer.groups == layer.in_channels == layer.out_channels:  # each channel by itself
            self.groups.record(f"{name}.weight", [x[1], None, *([None] * spatial)])
            if layer.bias is not None:
                self.groups.record(f"{name}.bias", [x[1]])
            return [x[0], x[1], *([None] * spatial)]
        return None

    def _normalised(self, name: str, layer: Any, x: Axes, axis: int) -> Axes:
        for what in ("weight", "bias", "running_mean", "running_var"):
            if getattr(layer, what, None) is not None:
                self.groups.record(f"{name}.{what}", [x[axis]])
        return x

    def _recurrent(self, name: str, layer: Any, x: Axes) -> Axes:
        """Of the outputs; a unit has a row in each gate. Two directions and projections stay in their order."""
        gates, axis = RECURRENT[type(layer)], x[-1]
        if layer.bidirectional or layer.proj_size:
            self.groups.fix(axis)
            return [None] * len(x)
        for k in range(layer.num_layers):
            hidden = self.groups.new(f"{name}:{k}")
            rows = Axis(hidden.group, gates)
            self.groups.record(f"{name}.weight_ih_l{k}", [rows, axis])
            self.groups.record(f"{name}.weight_hh_l{k}", [rows, hidden])
            if layer.bias:
                self.groups.record(f"{name}.bias_ih_l{k}", [rows])
                self.groups.record(f"{name}.bias_hh_l{k}", [rows])
            axis = hidden
        return [*x[:-1], axis]

    def _attention(self, name: str, layer: nn.MultiheadAttention, x: Axis | None) -> Axis | None:
        """Of self-attention on a stream of features; heads are permuted as wholes."""
        heads = self.groups.new(f"{name}:heads")
        three, one = Axis(heads.group, 3, layer.head_dim), Axis(heads.group, 1, layer.head_dim)
        self.groups.record(f"{name}.in_proj_weight", [three, x])
        if layer.in_proj_bias is not None:
            self.groups.record(f"{name}.in_proj_bias", [three])
        out = self.groups.new(f"{name}.out_proj:out")
        self.groups.record(f"{name}.out_proj.weight", [out, one])
        if layer.out_proj.bias is not None:
            self.groups.record(f"{name}.out_proj.bias", [out])
        return out

    def _encoder(self, name: str, layer: Any, x: Axes) -> Axes | None:
        attention = layer.self_attn
        if not attention._qkv_same_embed_dim or attention.bias_k is not None:
            return None
        for norm in ("norm1", "norm2"):
            self._normalised(f"{name}.{norm}", getattr(layer, norm), x, -1)
        x[-1] = self.groups.unite(x[-1], self._attention(f"{name}.self_attn", attention, x[-1]))
        hidden = self._weights(f"{name}.linear1", layer.linear1, x[-1])
        x[-1] = self.groups.unite(x[-1], self._weights(f"{name}.linear2", layer.linear2, hidden))
        return x

    # Functions and methods

    def _function(self, node: fx.Node) -> Axes | None:
        name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
        sources = [a for a in node.args if isinstance(a, fx.Node)]
        if not sources or any(isinstance(v, fx.Node) for v in node.kwargs.values()):
            return None
        x, shape = list(self.found[sources[0]]), self._shape(sources[0])
        if name in UNARY and len(sources) == 1:
            return x
        if name in POOLED:
            return [*x[:2], *([None] * (len(x) - 2))]
        if name in BINARY:
            return self._together(sources, len(self._shape(node)))
        if name in ("softmax", "log_softmax"):
            return x
        if name in ("flatten", "view", "reshape", "squeeze", "unsqueeze"):
            return self._reshaped(x, shape, self._shape(node))
        if name in REDUCED:
            return self._reduced(node, x)
        if name in ("transpose", "permute"):
            return self._turned(node, name, x)
        if node.target is operator.getitem:
            if sources[0] in self.sequences:
                if node.args[1] == 0:
                    return self.sequences[sources[0]]
                self.groups.fix(*self.sequences[sources[0]])
                return None
            return self._indexed(node.args[1], x)
        return None

    def _together(self, sources: Sequence[fx.Node], rank: int) -> Axes:
        """Elementwise of two, whose axes are aligned from the right; one of length 1 is repeated."""
        if len(sources) == 1:
            return list(self.found[sources[0]])
        found: Axes = []
        for k in range(1, rank + 1):
            both = [self.found[s][-k] for s in sources if len(self._shape(s)) >= k and self._shape(s)[-k] > 1]
            found.append(self.groups.unite(*both) if len(both) == 2 else (both[0] if both else None))
            if len(both) == 1:  # the other repeats one number along this axis
                found[-1] = both[0]
        return found[::-1]

    def _reshaped(self, x: Axes, before: tuple[int, ...], after: tuple[int, ...]) -> Axes | None:
        """Where axes are joined or stay; the units of one that is split stay in their order."""
        found: Axes = []
        i = j = 0
        while i < len(before) or j < len(after):
            if i < len(before) and j < len(after) and before[i] == after[j]:
                found.append(x[i])
                i, j = i + 1, j + 1
                continue
            if i < len(before) and before[i] == 1:
                i += 1
                continue
            if j < len(after) and after[j] == 1:
                found.append(None)
                j += 1
                continue
            start, product = i, 1
            while j < len(after) and i < len(before) and product < after[j]:
                product *= before[i]
                i += 1
            if j >= len(after) or product != after[j]:
                return None
            found.append(self._joined(x[start:i], before[start:i]))
            j += 1
        return found

    def _joined(self, axes: Sequence[Axis | None], lengths: Sequence[int]) -> Axis | None:
        units = [k for k, axis in enumerate(axes) if axis is not None]
        if len(units) != 1:
            self.groups.fix(*axes)
            return None
        k, axis = units[0], axes[units[0]]
        assert axis is not None
        outer, inner = axis.outer, axis.inner
        for length in lengths[:k]:
            outer *= length
        for length in lengths[k + 1 :]:
            inner *= length
        return Axis(axis.group, outer, inner)

    def _reduced(self, node: fx.Node, x: Axes) -> Axes | None:
        axes = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
        if axes is None:
            return []
        which = {a % len(x) for a in (axes if isinstance(axes, (tuple, list)) else (axes,)) if isinstance(a, int)}
        keep = node.kwargs.get("keepdim", node.args[2] if len(node.args) > 2 else False)
        return [None if k in which else axis for k, axis in enumerate(x) if keep or k not in which]

    def _turned(self, node: fx.Node, name: str, x: Axes) -> Axes | None:
        order: list[Any] = list(node.args[1:])
        if len(order) == 1 and isinstance(order[0], (tuple, list)):
            order = list(order[0])
        if not order or not all(isinstance(k, int) for k in order):
            return None
        if name == "permute":
            return [x[k] for k in order]
        a, b = order
        x[a], x[b] = x[b], x[a]
        return x

    def _indexed(self, index: Any, x: Axes) -> Axes | None:
        index = index if isinstance(index, tuple) else (index,)
        if len(index) > len(x):
            return None
        found: Axes = []
        for k, part in enumerate(index):
            if isinstance(part, int):
                self.groups.fix(x[k])
            elif part == slice(None):
                found.append(x[k])
            elif isinstance(part, slice) and not any(
                isinstance(p, fx.Node) for p in (part.start, part.stop, part.step)
            ):
                self.groups.fix(x[k])
                found.append(None)
            else:
                return None
        return [*found, *x[len(index) :]]


def given_axes(axes: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Axes]:
    """A user's own table: name -> one entry an axis, None, the name of a group, or (name, outer, inner).

    Raises
    ------
    ValueError
        If it names what the module has not, or entries do not fit the shapes.
    """
    found: dict[str, Axes] = {}
    sizes: dict[str, tuple[int, str]] = {}
    for name, entries in axes.items():
        if name not in shapes:
            raise ValueError(f"axes names {name!r}; expected names of the module's state, such as {next(iter(shapes))}")
        if len(entries) != len(shapes[name]):
            raise ValueError(f"axes of {name} are {len(entries)}; it has shape {shapes[name]}")
        found[name] = [None if e is None else Axis(*((e,) if isinstance(e, str) else e)) for e in entries]
        for axis, length in zip(found[name], shapes[name], strict=True):
            if axis is None:
                continue
            n, rest = divmod(length, axis.outer * axis.inner)
            known, where = sizes.setdefault(axis.group, (n, name))
            if rest or n != known:
                raise ValueError(
                    f"an axis of {name} has length {length}, which are not {axis.outer * axis.inner} times the {known} "
                    f"units of {axis.group!r} in {where}"
                )
    return found
