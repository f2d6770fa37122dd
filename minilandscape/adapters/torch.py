"""PyTorch: a module, a loss and data as a landscape over the module's flat parameters."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.func import functional_call, grad_and_value, vmap

from ..landscape import LandscapeDefaults, LandscapeError, describe_point, read_stack, real_numbers

#: The samples on which a loss is tried when a landscape is made.
TRIED = 32
#: A loss of so many samples is the mean of the losses of its parts within this part of it: rounding in float32. Where
#: the module's own rounding enters, which depends on the number of samples at a time, within more.
MEAN, MEAN_WITH_MODULE = 1e-5, 1e-4
#: Outputs of one sample differ by no more than this part of the largest, whatever is computed beside it.
ALONE = 1e-2
#: Keys that messages list at most.
LISTED = 4


class TorchLandscape(LandscapeDefaults):
    """The loss of a module over data, as a function of its parameters in the order of ``module.named_parameters()``.

    Module, loss and data are copied: what happens to them later does not change the landscape.

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
        self._module = _copied(module).eval()
        # What a call leaves behind in the module reaches no state that is given out.
        self._called = _copied(self._module)
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
        _Trial(self._called, self._loss, *self._data, self._batch).run()

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
        filled = _copied(self._module)
        parts = self._unflatten(torch.tensor(flat, dtype=self._torch_dtype, device=self._torch_device))
        with torch.no_grad():
            for name, parameter in filled.named_parameters():
                if name in parts:
                    parameter.copy_(parts[name])
        if module is None:
            return filled
        _refuse_other_keys("the module", module.state_dict(), self._module.state_dict())
        self._refuse_other_constants("the module", {}, _not_persistent(module))
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
            constants, state = _not_persistent(state), state.state_dict()
        if not isinstance(state, Mapping):
            raise TypeError(
                f"the state is {type(state).__name__}; expected a state_dict, such as torch.load reads from a file, or "
                "a module"
            )
        _refuse_other_keys("the state", state, self._module.state_dict())
        loaded = _copied(self._module)
        loaded.load_state_dict(state)
        for key, found in loaded.state_dict().items():
            if isinstance(found, torch.Tensor) and not _equal(found, state[key]):
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
                if not name.endswith("num_batches_tracked") and not (name in ours and _equal(ours[name], tensor))
            ]
            if others:
                raise ValueError(
                    f"{what} has other {kind} than the landscape: {_listed(others)}. They are no coordinates, and with "
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


class _Trial:
    """Module and loss on a few samples, with what must hold of them."""

    def __init__(
        self, module: torch.nn.Module, loss: Any, inputs: torch.Tensor, targets: torch.Tensor, batch: int
    ) -> None:
        self.module, self.loss, self.batch, self.n = module, loss, batch, len(inputs)
        # With one batch the loss may be one of all samples together.
        rows = _varied(targets, batch) if self.n > batch else slice(None)
        self.inputs, self.targets = inputs[rows], targets[rows]

    def run(self) -> None:
        """ValueError, with what to do, where module and loss are not the mean over samples of a function."""
        everything = torch.arange(len(self.inputs), device=self.inputs.device)
        with torch.enable_grad():
            outputs, value = self._forward(everything)
        if not value.requires_grad:
            raise ValueError(
                "the loss has no gradient by the parameters: module or loss leave PyTorch's record (detach, no_grad, "
                "item, numpy); expected operations of PyTorch alone"
            )
        with torch.no_grad():
            again, second = self._forward(everything)
            if (outputs is not None and _apart(again, outputs)) or not _close(value, second, MEAN_WITH_MODULE):
                raise ValueError(
                    f"two evaluations at the same parameters differ ({float(value):.6g} and {float(second):.6g}): "
                    "dropout, augmentation or another random layer acts in evaluation mode too; switch it off"
                )
            if self.n > self.batch:
                self._refuse_dependence(everything, outputs, value)

    def _forward(self, rows: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor]:
        """The outputs, where each belongs to a sample, and the loss of some samples."""
        inputs = self.inputs[rows]
        try:
            outputs = functional_call(self.module, {}, (inputs,))
        except Exception as error:
            raise ValueError(
                f"the module raised {type(error).__name__} on inputs {_described(inputs)}: {error}"
            ) from error
        loss = self._loss(outputs, rows)
        by_sample = isinstance(outputs, torch.Tensor) and outputs.ndim and len(outputs) == len(rows)
        return (outputs.detach() if by_sample else None), loss

    def _loss(self, outputs: Any, rows: torch.Tensor) -> torch.Tensor:
        targets = self.targets[rows]
        try:
            value = self.loss(outputs, targets)
        except Exception as error:
            raise ValueError(
                f"the loss raised {type(error).__name__} on outputs {_described(outputs)} and targets "
                f"{_described(targets)}: {error}"
            ) from error
        if not isinstance(value, torch.Tensor) or value.ndim or not value.is_floating_point():
            raise ValueError(
                f"the loss is {_described(value)}; expected a tensor of one real number, the mean over the samples"
            )
        return value

    def _refuse_dependence(self, rows: torch.Tensor, outputs: torch.Tensor | None, value: torch.Tensor) -> None:
        """The loss of all samples tried against those of parts of them."""
        n = len(rows)
        for first in (rows[: -(-n // 4)], rows[: n // 2], rows[::2]):
            parts = first, rows[~torch.isin(rows, first)]
            alone = [self._forward(part) for part in parts]
            if outputs is None:
                self._mean(value, parts, [loss for _, loss in alone], MEAN_WITH_MODULE)
                continue
            if any(_apart(found, outputs[part]) for part, (found, _) in zip(parts, alone, strict=True)):
                raise ValueError(
                    "the module's output of a sample depends on the samples beside it, as in a normalisation without "
                    f"running statistics, so that values would depend on batch={self.batch}; give batch={self.n}, all "
                    "samples at once, if that is meant"
                )
            # Outputs of other samples too: the loss of a trained module may be all but 0.
            for own in (outputs, outputs.roll(n // 2, 0)):
                whole = self._loss(own.clone(), rows)
                self._mean(whole, parts, [self._loss(own[part], part) for part in parts], MEAN)

    def _mean(
        self, whole: torch.Tensor, parts: Sequence[torch.Tensor], losses: Sequence[torch.Tensor], tolerance: float
    ) -> None:
        tolerance = max(tolerance, 10 * torch.finfo(whole.dtype).eps)
        numbers = [float(loss) for loss in losses]
        mean = sum(len(part) * number for part, number in zip(parts, numbers, strict=True)) / len(self.inputs)
        if not torch.isfinite(whole) or abs(float(whole) - mean) <= tolerance * max(map(abs, [float(whole), *numbers])):
            return
        raise ValueError(
            f"the loss of {len(self.inputs)} samples is {float(whole):.6g}, the mean over two parts of them {mean:.6g}:"
            f" values would depend on batch={self.batch}. Expected a mean over the samples (reduction='mean', without "
            f"weights of classes and ignored targets); for any other loss give batch={self.n}, all samples at once"
        )


def _copied(module: torch.nn.Module) -> torch.nn.Module:
    """A copy. Weights that weight_norm, spectral_norm and prune compute before every call are copied as numbers."""
    computed = {
        id(value): value.detach().clone()
        for part in module.modules()
        for value in vars(part).values()
        if isinstance(value, torch.Tensor) and not value.is_leaf
    }
    try:
        return copy.deepcopy(module, computed)
    except Exception as error:
        raise ValueError(
            f"the module cannot be copied ({type(error).__name__}: {error}); expected one whose attributes are "
            "parameters, buffers and what copy.deepcopy takes"
        ) from error


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


def _varied(targets: torch.Tensor, batch: int) -> torch.Tensor:
    """The rows of a few samples whose targets are as different as may be, rare ones at either end included."""
    keys = []
    for part in targets.split(batch):
        flat = part.reshape(len(part), -1).to(torch.float64)
        keys.append(flat @ torch.arange(1, flat.shape[1] + 1, dtype=torch.float64, device=flat.device))
    order = torch.argsort(torch.cat(keys), stable=True)
    return order[torch.linspace(0, len(order) - 1, min(TRIED, len(order)), device=order.device).round().long()]


def _not_persistent(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Buffers that the state_dict leaves out."""
    state = module.state_dict()
    return {name: buffer for name, buffer in module.named_buffers() if name not in state}


def _equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether b in a's precision is a."""
    if a.shape != b.shape:
        return False
    b = b.to(a)
    return bool(((a == b) | ((a != a) & (b != b))).all())


def _apart(a: Any, b: torch.Tensor) -> bool:
    """Whether outputs differ by more than rounding."""
    if not isinstance(a, torch.Tensor) or a.shape != b.shape:
        return True
    return bool((a - b).abs().max() > ALONE * b.abs().max()) if b.numel() and b.dtype.is_floating_point else False


def _close(a: torch.Tensor, b: torch.Tensor, part: float) -> bool:
    """Whether two losses are one but for rounding; a loss that is not finite is what it is."""
    part = max(part, 10 * torch.finfo(a.dtype).eps)
    return not bool((a - b).abs() > part * torch.maximum(a.abs(), b.abs()))


def _refuse_other_keys(what: str, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """ValueError where a state has other keys or shapes than expected, with those that were found."""
    missing, more = [key for key in expected if key not in found], [key for key in found if key not in expected]
    if missing or more:
        difference = [(name, keys) for name, keys in (("missing", missing), ("not known", more)) if keys]
        raise ValueError(
            f"{what} holds {_listed(found)}; expected the keys of the landscape's module, {_listed(expected)} ("
            + "; ".join(f"{name}: {_listed(keys)}" for name, keys in difference)
            + ")"
            + _advice(found, expected)
        )
    for key, tensor in expected.items():
        if not isinstance(tensor, torch.Tensor):  # extra state
            continue
        other = found[key]
        if not isinstance(other, torch.Tensor):
            raise ValueError(f"{what} holds {type(other).__name__} for {key}; expected a tensor (torch.as_tensor)")
        if other.shape != tensor.shape:
            raise ValueError(f"{key} of {what} has shape {tuple(other.shape)}; expected {tuple(tensor.shape)}")
        if other.is_floating_point() != tensor.is_floating_point():
            raise ValueError(f"{key} of {what} is {other.dtype}; expected {tensor.dtype}")


def _advice(found: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """What to do about keys that are the expected ones in another dress."""
    nested = [
        repr(key)
        for key, inner in found.items()
        if isinstance(inner, Mapping) and any(isinstance(v, torch.Tensor) for v in inner.values())
    ]
    if nested:
        return f". Tensors are in its entry {' or '.join(nested)}: give that"
    for longer, shorter, give in (
        (
            found,
            expected,
            "give the module that is wrapped, or of a state_dict "
            "{{k.removeprefix({0!r}): v for k, v in state.items() if k.startswith({0!r})}}",
        ),
        (expected, found, "make the landscape of the module that is wrapped"),
    ):
        one = next(iter(shorter), "")
        for key in longer:
            prefix = key.removesuffix(one)
            if one and prefix not in (key, "") and all(prefix + k in longer for k in shorter):
                return f". One has the other's with {prefix!r} before, as wrappers put it: {give.format(prefix)}"
    return ""


def _listed(keys: Any) -> str:
    """The first few keys, and how many there are."""
    keys = list(keys)
    head = ", ".join(map(str, keys[:LISTED]))
    return head if len(keys) <= LISTED else f"{head}, … ({len(keys)} in all)"


def _described(what: Any) -> str:
    """Shape and precision of a tensor, the type of anything else."""
    if not isinstance(what, torch.Tensor):
        return f"of type {type(what).__name__}"
    return f"of shape {tuple(what.shape)} in {str(what.dtype).rpartition('.')[2]}"


def _line(error: Exception) -> str:
    """The first line of an error."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
