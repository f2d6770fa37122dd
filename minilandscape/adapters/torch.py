"""PyTorch: a module, a loss and data as a landscape over the module's flat parameters."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch.func import functional_call, grad_and_value, vmap

from ..landscape import LandscapeDefaults, LandscapeError, describe_point, read_stack, real_numbers
from .torch_states import copied, equal, listed, not_persistent, refuse_other_keys
from .torch_trial import Trial


class TorchLandscape(LandscapeDefaults):
    """The loss of a module over data, as a function of its parameters in the order of ``module.named_parameters()``.

    Module and data are copied, and a loss that is a module: what happens to them later does not change the landscape.

    Parameters
    ----------
    module
        Used in evaluation mode. Parameters with ``requires_grad=False`` are no coordinates: they stay as they are, as
        the buffers do.
    loss
        ``loss(outputs, targets) -> mean over the samples``, such as ``torch.nn.functional.cross_entropy``. A loss that
        is none (a sum, class weights, an ignored index) depends on how the samples are divided into batches, and needs
        ``batch=len(inputs)``.
    inputs, targets
        Tensors whose first axis counts the samples, on the module's device.
    batch
        Samples at a time; bounds the memory.
    points
        Points at a time under ``torch.func.vmap``; 1 turns it off. Modules that it cannot take are evaluated point by
        point, with a warning.

    Raises
    ------
    ValueError
        If no parameter requires a gradient, parameters are of several precisions or devices, or none of float32 and
        float64; if inputs and targets do not fit; or if, on a few samples, module and loss cannot be evaluated, change
        from one evaluation to the next, or depend on the batch where there is more than one.
    TypeError
        If the module is no module, or inputs or targets are no tensors.
    LandscapeError
        On evaluation, if module or loss raise; it names the point.

    Notes
    -----
    Random directions of :func:`~minilandscape.analysis.surface.surface` are not filter-normalised here: the plane
    depends on the scale of each layer. Give it points, or a path, to span the plane.
    """

    names_points = True

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
        if not isinstance(module, torch.nn.Module):
            raise TypeError(f"module is {type(module).__name__}; expected a torch.nn.Module")
        if isinstance(module, (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)):
            raise ValueError(f"module is {type(module).__name__}; give the module that it wraps, module.module")
        if isinstance(module, torch.jit.ScriptModule):
            raise ValueError("module is compiled by torch.jit; give the module that it was made of")
        if not callable(loss):
            raise TypeError(f"loss is {type(loss).__name__}; expected a function of outputs and targets")
        for name, number in (("batch", batch), ("points", points)):
            if not isinstance(number, (int, np.integer)) or number < 1:
                raise ValueError(f"{name} is {number!r}; expected a whole number, at least 1")
        self._module = copied(module).eval()
        # What a call leaves behind in the module reaches no state that is given out.
        self._called = copied(self._module)
        coordinates = {name: p for name, p in self._module.named_parameters() if p.requires_grad}
        first = _first(coordinates)
        self._torch_dtype, self._torch_device = first.dtype, first.device
        self._shapes = {name: tuple(p.shape) for name, p in coordinates.items()}
        self.size = sum(p.numel() for p in coordinates.values())
        self.dtype = np.dtype(str(first.dtype).rpartition(".")[2])
        self._data = _samples(inputs, targets, first.device)
        self._loss = copy.deepcopy(loss) if isinstance(loss, torch.nn.Module) else loss
        self._batch, self._points = int(batch), int(points)
        self._one_by_one: set[bool] = set()
        Trial(self._called, self._loss, *self._data, self._batch).run()

    def vector(self, state: Mapping[str, Any] | torch.nn.Module | None = None) -> np.ndarray:
        """(D,) from a ``state_dict`` or a module; None takes the landscape's own module.

        Raises
        ------
        ValueError
            If its keys or shapes are not those of the landscape's module, or if its buffers or its parameters with
            ``requires_grad=False`` are not the landscape's: no coordinate holds them, and the loss would be another
            than the state's own.
        TypeError
            If it is neither.
        """
        own = self._module
        if state is not None:
            own = self._loaded(state)
        parameters = dict(own.named_parameters())
        return np.concatenate([parameters[name].detach().cpu().numpy().ravel() for name in self._shapes])

    def state_dict(self, vector: Any) -> dict[str, torch.Tensor]:
        """The whole state of a vector (D,): its parameters, and the landscape's buffers and other parameters."""
        return self.load(vector).state_dict()

    def load(self, vector: Any, module: torch.nn.Module | None = None) -> torch.nn.Module:
        """Puts a vector (D,), and the landscape's buffers and other parameters, into a module; returns it.

        Parameters
        ----------
        vector
            (D,).
        module
            None makes a new one, in evaluation mode; the module that the landscape was made of is never changed.

        Raises
        ------
        ValueError
            If the module's keys or shapes are not those of the landscape's module; nothing has then been loaded.
        """
        try:
            flat = real_numbers(vector, self.dtype)
        except TypeError as error:
            raise TypeError(f"the vector is {error}; expected ({self.size},) real numbers") from None
        if flat.shape != (self.size,):
            raise ValueError(f"the vector has shape {flat.shape}; expected ({self.size},)")
        filled = copied(self._module)
        parts = self._unflatten(torch.tensor(flat, dtype=self._torch_dtype, device=self._torch_device))
        with torch.no_grad():
            for name, parameter in filled.named_parameters():
                if name in parts:
                    parameter.copy_(parts[name])
        if module is None:
            return filled
        refuse_other_keys("the module", module.state_dict(), self._module.state_dict())
        self._refuse_other_constants("the module", {}, not_persistent(module))
        module.load_state_dict(filled.state_dict())
        return module

    def values(self, points: Any) -> np.ndarray:
        """(P, D) -> (P,)."""
        return self._over(points, False)[0]

    def values_and_gradients(self, points: Any) -> tuple[np.ndarray, np.ndarray]:
        """(P, D) -> (P,), (P, D)."""
        values, gradients = self._over(points, True)
        assert gradients is not None
        return values, gradients

    def _loaded(self, state: Mapping[str, Any] | torch.nn.Module) -> torch.nn.Module:
        """A copy of the module with another state, which differs in coordinates alone."""
        constants: dict[str, torch.Tensor] = {}
        if isinstance(state, torch.nn.Module):
            constants, state = not_persistent(state), state.state_dict()
        if not isinstance(state, Mapping):
            raise TypeError(
                f"the state is {type(state).__name__}; expected a state_dict, such as torch.load reads from a file, or "
                "a module"
            )
        refuse_other_keys("the state", state, self._module.state_dict())
        loaded = copied(self._module)
        loaded.load_state_dict(state)
        for key, found in loaded.state_dict().items():
            if isinstance(found, torch.Tensor) and not equal(found, state[key]):
                raise ValueError(
                    f"the state's {key} is not what another of its keys holds, with which it is one parameter in the "
                    "landscape's module; expected both alike"
                )
        frozen = {name: p for name, p in loaded.named_parameters() if name not in self._shapes}
        self._refuse_other_constants("the state", frozen, {**dict(loaded.named_buffers()), **constants})
        return loaded

    def _refuse_other_constants(
        self, what: str, frozen: Mapping[str, torch.Tensor], buffers: Mapping[str, torch.Tensor]
    ) -> None:
        """ValueError where frozen parameters or buffers, which no coordinate holds, are not the landscape's."""
        ours = {**dict(self._module.named_parameters()), **dict(self._module.named_buffers())}
        for kind, found in (("buffers", buffers), ("parameters with requires_grad=False", frozen)):
            # The count of batches takes no part in evaluation mode.
            others = [
                name
                for name, tensor in found.items()
                if not name.endswith("num_batches_tracked") and not (name in ours and equal(ours[name], tensor))
            ]
            if others:
                raise ValueError(
                    f"{what} has other {kind} than the landscape: {listed(others)}. They are no coordinates, and with "
                    "the landscape's the loss would be another than its own. Load this state into a module "
                    "(module.load_state_dict) and make the landscape of that. Two states with different ones lie on no "
                    "common landscape: give both the same, or train with layers that keep none, such as GroupNorm"
                )

    def _unflatten(self, flat: torch.Tensor) -> dict[str, torch.Tensor]:
        parts, start = {}, 0
        for name, shape in self._shapes.items():
            n = int(np.prod(shape))
            parts[name] = flat[start : start + n].reshape(shape)
            start += n
        return parts

    def _one(self, flat: torch.Tensor, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self._loss(functional_call(self._called, self._unflatten(flat), (inputs,)), targets)
        return result

    def _over(self, points: Any, gradient: bool) -> tuple[np.ndarray, np.ndarray | None]:
        points = read_stack(points, self.size, self.dtype)
        values, gradients = np.zeros(len(points)), np.zeros_like(points, dtype=self.dtype) if gradient else None
        start = 0
        while start < len(points):
            together = self._points > 1 and gradient not in self._one_by_one
            value, slope = self._stack(points[start : start + (self._points if together else 1)], gradient, together)
            part = slice(start, start + len(value))
            values[part] = value
            if gradients is not None:
                gradients[part] = slope
            start = part.stop
        return values, gradients

    def _stack(self, points: np.ndarray, gradient: bool, together: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """Values and gradients of a few points under vmap, or of one; of the first alone where vmap cannot take it."""
        try:
            return self._summed(points, gradient, together)
        except Exception as error:
            # Whatever PyTorch raises: it has no common kind of error for what vmap does not know.
            failure = error
        if not together:
            raise LandscapeError(
                f"the module or the loss raised {type(failure).__name__} at {describe_point(points[0])}: {failure}",
                points[0],
            ) from failure
        found = self._stack(points[:1], gradient, False)
        self._one_by_one.add(gradient)
        warnings.warn(
            f"torch.func.vmap cannot take the {'gradients' if gradient else 'values'} of this module and loss "
            f"({_line(failure)}); they are computed point by point from here on, as with points=1",
            stacklevel=2,
        )
        return found

    def _summed(self, points: np.ndarray, gradient: bool, together: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """Values and gradients over all batches."""
        values, gradients = np.zeros(len(points)), np.zeros_like(points, dtype=self.dtype) if gradient else None
        flat = torch.tensor(points, dtype=self._torch_dtype, device=self._torch_device)
        for share, inputs, targets in self._batches():
            value, slope = (self._vmapped if together else self._plain)(flat, inputs, targets, gradient)
            values += share * value.detach().cpu().numpy().astype(np.float64)
            if gradients is not None and slope is not None:
                gradients += share * slope.detach().cpu().numpy()
        return values, gradients

    def _batches(self) -> Iterator[tuple[float, torch.Tensor, torch.Tensor]]:
        """Samples, with their share of all."""
        for a in range(0, len(self._data[0]), self._batch):
            # Copies, since layers may work in place.
            inputs, targets = (tensor[a : a + self._batch].clone() for tensor in self._data)
            yield len(inputs) / len(self._data[0]), inputs, targets

    def _vmapped(
        self, flat: torch.Tensor, inputs: torch.Tensor, targets: torch.Tensor, gradient: bool
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        if not gradient:
            with torch.no_grad():
                return vmap(self._one, in_dims=(0, None, None))(flat, inputs, targets), None
        with torch.enable_grad():
            slopes, values = vmap(grad_and_value(self._one), in_dims=(0, None, None))(flat, inputs, targets)
        return values, slopes

    def _plain(
        self, flat: torch.Tensor, inputs: torch.Tensor, targets: torch.Tensor, gradient: bool
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """One point (1, D), by what every module takes."""
        x = flat[0].requires_grad_(gradient)
        with torch.set_grad_enabled(gradient):
            value = self._one(x, inputs, targets)
            slope = torch.autograd.grad(value, x)[0] if gradient else None
        return value[None], None if slope is None else slope[None]


def _first(coordinates: dict[str, torch.nn.Parameter]) -> torch.nn.Parameter:
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


def _samples(inputs: Any, targets: Any, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Copies of inputs and targets."""
    for name, tensor in (("inputs", inputs), ("targets", targets)):
        if not isinstance(tensor, torch.Tensor) or not tensor.ndim:
            raise TypeError(
                f"{name} is {type(tensor).__name__}; expected one tensor whose first axis counts the samples: "
                "torch.as_tensor of an array, torch.cat of the batches of a data loader"
            )
        if tensor.device != device:
            raise ValueError(f"{name} lie on {tensor.device}, the module on {device}; {name}.to({str(device)!r})")
    if len(inputs) != len(targets) or not len(inputs):
        raise ValueError(f"there are {len(inputs)} inputs and {len(targets)} targets; expected as many of both")
    return inputs.detach().clone(), targets.detach().clone()


def _line(error: Exception) -> str:
    """The first line of an error."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
