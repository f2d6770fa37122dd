"""Which axes of a module's parameters belong to the same hidden units, from its traced graph."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Mapping
from typing import Any

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from .torch_data import arguments
from .torch_groups import Axes, Axis, Groups
from .torch_layers import RECURRENT, axes_of_layer, recurrent
from .torch_operations import Operation, axes_of_operation, reshaped


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

    def _module(self, node: fx.Node) -> Axes | None:
        name, layer = str(node.target), self.graph.get_submodule(str(node.target))
        sources = self._sources(node)
        if not sources:
            return None
        if type(layer) in RECURRENT and len(sources) == 1:
            self.sequences[node] = recurrent(self.groups, name, layer, self.found[sources[0]])
            return []
        x = self.found[sources[0]]
        if isinstance(layer, nn.Flatten):
            return reshaped(self.groups, x, self._shape(sources[0]), self._shape(node))
        return axes_of_layer(self.groups, name, layer, x)

    def _function(self, node: fx.Node) -> Axes | None:
        sources = self._sources(node)
        if not sources:
            return None
        if node.target is operator.getitem and sources[0] in self.sequences:
            return self._of_sequence(sources[0], node.args[1])
        inputs, shapes = [self.found[s] for s in sources], [self._shape(s) for s in sources]
        return axes_of_operation(Operation(self.groups, node, inputs, shapes, self._shape(node)))

    def _of_sequence(self, layer: fx.Node, index: Any) -> Axes | None:
        """Of what a recurrent layer returns: its outputs, and its last state, whose units stay in their order."""
        if index == 0:
            return self.sequences[layer]
        self.groups.fix(*self.sequences[layer])
        return None

    def _sources(self, node: fx.Node) -> list[fx.Node]:
        """The tensors that a node is called with; none where some are given by name, which no rule knows."""
        if any(isinstance(value, fx.Node) for value in node.kwargs.values()):
            return []
        return [a for a in node.args if isinstance(a, fx.Node)]


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
