"""PyTorch: a module, a loss and data as a landscape over the module's flat parameters."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch.func import functional_call, grad_and_value, vmap

from ..landscape import LandscapeDefaults, LandscapeError, describe_point, read_stack, real_numbers
from ..networks.parameters import Block
from .torch_align import aligned
from .torch_along import LOSS, TEST, AlongPath, check_metrics, usual_metrics
from .torch_buffers import Folded, Interpolated, Recomputed, counts_batches
from .torch_data import Batches, arguments, joined, mapped, read_samples
from .torch_kinks import kinks_of
from .torch_second import HessianProducts
from .torch_speed import at_a_time, bytes_kept, channels_last, together
from .torch_states import (
    copied,
    equal,
    listed,
    matched,
    names_of,
    not_persistent,
    read_checkpoint,
    under_keys_of,
    unwrapped,
)
from .torch_trial import TRIED, Trial, loss_of

#: Samples on which second derivatives are tried.
FEW = 4
#: Samples whose outputs prove that an alignment leaves the function unchanged.
PROOF = 16

State: TypeAlias = Mapping[str, Any] | torch.nn.Module | str | Path


class TorchLandscape(LandscapeDefaults):
    """The loss of a module over data, as a function of its parameters in the order of ``module.named_parameters()``.

    Module and data are copied, and a loss that is a module: what happens to them later does not change the landscape.

    Parameters
    ----------
    module
        Used in evaluation mode. Wrappers (DataParallel, torch.compile) are taken off; parameters of 16 bits become
        float32. Parameters with ``requires_grad=False`` are no coordinates: they stay as they are, as buffers do.
    loss
        ``loss(outputs, targets) -> one number``, such as ``torch.nn.functional.cross_entropy``; ``loss(outputs)``
        without targets; None where the module returns the loss itself, or an object with a ``loss``. A mean over
        samples, a sum, and a mean with weights that the targets give (class weights, an ignored index) do not depend on
        ``batch``. Other losses need ``batch=len(inputs)``.
    inputs
        A tensor, whose first axis counts the samples; a tuple or a dictionary of tensors, the module's arguments; or a
        Dataset or DataLoader, which is read once, in the data set's own order. Of a sample (x, y) or (x1, x2, y) the
        last is the target; a dictionary is the module's arguments by name.
    targets
        A tensor, or a tuple or dictionary of tensors; None where ``inputs`` holds them, or the loss needs none.
    batch
        Samples at a time at most, over all points together; bounds the memory.
    points
        Points at a time under ``torch.func.vmap``, each with ``batch / points`` samples; 1 turns it off. None takes as
        many, and as few samples, as the processor's caches hold. Modules that vmap cannot take are evaluated point by
        point, with a warning.
    buffers
        What becomes of buffers, such as the running statistics of batch normalisation, that are not those of the
        module. None refuses states that have others. ``"interpolate"`` takes them linearly between ``states``.
        ``"recompute"`` takes the statistics of batch normalisation from the data at every point (Garipov et al., 2018),
        a batch at a time, so that ``batch`` is a part of the definition.
    states
        The states, as :meth:`vector` takes them, between which buffers are interpolated.
    parameters
        Patterns of the names of the parameters that are coordinates, such as ``["head.*"]``; None takes all. The others
        stay as they are.
    test
        Data on which :meth:`measure` and :meth:`along` evaluate as well: ``(inputs, targets)``, or a Dataset or
        DataLoader.
    metrics
        Name -> ``metric(outputs, targets)``, one number of all samples of a data set; where the module returns an
        object of its own, the mean over batches. None takes the accuracy where outputs are (N, C, …) and targets are
        classes; an empty dictionary takes none.

    Attributes
    ----------
    blocks
        The parameters: ``name``, ``shape``, ``start`` and ``stop`` of each.
    frozen
        The names of parameters that are no coordinates.

    Raises
    ------
    ValueError
        If no parameter requires a gradient, parameters are of several precisions or devices; if inputs and targets do
        not fit, or change when they are read again; or if, on a few samples, module and loss cannot be evaluated,
        change from one evaluation to the next, or depend on the batch where there is more than one.
    TypeError
        If the module is no module, or inputs or targets are no tensors.
    LandscapeError
        On evaluation, if module or loss raise; it names the point.

    Examples
    --------
    >>> import torch
    >>> from minilandscape.adapters.torch import TorchLandscape
    >>> net = torch.nn.Linear(2, 1)
    >>> land = TorchLandscape(net, torch.nn.functional.mse_loss, torch.ones(5, 2), torch.zeros(5, 1))
    >>> land
    <TorchLandscape: 3 parameters in float32, 5 samples>
    """

    names_points = True
    quantity = "loss"

    def __init__(
        self,
        module: torch.nn.Module,
        loss: Callable[..., Any] | None,
        inputs: Any,
        targets: Any = None,
        *,
        batch: int = 1000,
        points: int | None = None,
        buffers: str | None = None,
        states: Sequence[State] = (),
        parameters: str | Sequence[str] | None = None,
        test: Any = None,
        metrics: Mapping[str, Callable[[Any, Any], Any]] | None = None,
    ) -> None:
        if not isinstance(module, torch.nn.Module):
            raise TypeError(f"module is {type(module).__name__}; expected a torch.nn.Module")
        if isinstance(module, torch.jit.ScriptModule):
            raise ValueError("module is compiled by torch.jit; give the module that it was made of")
        if not (callable(loss) or loss is None):
            raise TypeError(f"loss is {type(loss).__name__}; expected a function of outputs and targets")
        for name, number in (("batch", batch), ("points", 1 if points is None else points)):
            if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or number < 1:
                raise ValueError(f"{name} is {number!r}; expected a whole number, at least 1")
        if buffers not in (None, "interpolate", "recompute"):
            raise ValueError(f"buffers is {buffers!r}; expected None, 'interpolate' or 'recompute'")
        if len(states) and buffers != "interpolate":
            raise ValueError("states are given, between which buffers='interpolate' takes the buffers; give both")
        self._module = copied(unwrapped(module)).eval()
        half = _in_single_precision(self._module)
        # What a call leaves behind in the module reaches no state that is given out.
        self._called = copied(self._module)
        coordinates = _chosen(self._module, parameters)
        first = _first(coordinates)
        self._torch_dtype, self._torch_device = first.dtype, first.device
        self.blocks = _blocks(coordinates)
        self.frozen = tuple(name for name, _ in self._module.named_parameters() if name not in coordinates)
        self.size = self.blocks[-1].stop
        self.dtype = np.dtype(str(first.dtype).rpartition(".")[2])
        self._samples = read_samples(inputs, targets, first.device, half)
        self._loss = copy.deepcopy(loss) if isinstance(loss, torch.nn.Module) else loss
        self._buffers = buffers
        self._recomputed = Recomputed(self._module) if buffers == "recompute" else None
        self._interpolated: Interpolated | None = None
        self._folded = Folded(self._called)
        self._points, divide, micro, self._channels_last = 1, 1, int(batch), False
        if not self._recomputed:
            divide, micro = self._divided(int(batch), points)
        self._one_by_one: set[bool] = set()
        check_metrics(metrics)
        self._metrics = metrics
        with _differentiable_kernels():
            self._batches = Trial(self._called, self._loss, self._samples, int(batch), divide, micro).run()
            self._test: Batches | None = None
            if test is not None:
                samples = read_samples(*_pair(test), first.device, half)
                self._test = Trial(self._called, self._loss, samples, int(batch), divide, micro).run()
        self._second: HessianProducts | None = None
        if len(states):
            self._interpolated = self.between(*states)._interpolated

    def __repr__(self) -> str:
        """One line: coordinates, precision, samples, and parameters that stay as they are."""
        stay = f", {len(self.frozen)} parameter tensors stay as they are" if self.frozen else ""
        what = f", buffers {self._buffers}d" if self._buffers else ""
        return f"<TorchLandscape: {self.size:,} parameters in {self.dtype}, {self._samples.n:,} samples{what}{stay}>"

    @property
    def interpolates(self) -> bool:
        """Whether buffers are interpolated; :meth:`between` names the states between which they are."""
        return self._buffers == "interpolate"

    def read(self, file: str | Path) -> np.ndarray:
        """(D,) from a file of a checkpoint, as :meth:`vector` reads it."""
        return self.vector(file)

    def between(self, *states: State) -> TorchLandscape:
        """The landscape with ``buffers="interpolate"`` whose buffers are linear between some states.

        Of one state the buffers are constant. At a state that is one of several the landscape has a kink, since
        buffers are constant beyond it: take its curvature on the landscape of that state alone.

        Raises
        ------
        ValueError
            As for :meth:`vector`; if the landscape was not made with ``buffers="interpolate"``; or if the states'
            parameters do not tell them apart.
        """
        if self._buffers != "interpolate":
            raise ValueError(f"buffers is {self._buffers!r}; expected a landscape made with buffers='interpolate'")
        loaded = [self._loaded(state) for state in states]
        for k, module in enumerate(loaded):
            self._refuse_other_constants(f"state {k + 1}", self._frozen_of(module), {})
        other = copy.copy(self)
        other._interpolated = Interpolated(
            np.stack([self._flattened(module) for module in loaded]),
            [dict(module.named_buffers()) for module in loaded],
            dict(self._module.named_buffers()),
            torch.zeros(0, dtype=self._torch_dtype, device=self._torch_device),
        )
        other._second = None
        return other

    def vector(self, state: State | None = None) -> np.ndarray:
        """(D,) from a checkpoint; None takes the landscape's own module.

        Parameters
        ----------
        state
            A ``state_dict``; a dictionary that holds one, beside an optimiser and so on; a file of either, written by
            ``torch.save`` or safetensors, of which nothing but tensors is read; or a module. Keys may have what
            DataParallel, torch.compile and Lightning put before them.

        Raises
        ------
        ValueError
            If its keys or shapes are not those of the landscape's module, or if its buffers or its parameters with
            ``requires_grad=False`` are not the landscape's: no coordinate holds them, and the loss would be another
            than the state's own.
        TypeError
            If it is none of these.
        """
        if state is None:
            return self._flattened(self._module)
        what = f"{state}" if isinstance(state, (str, Path)) else "the state"
        loaded = self._loaded(state)
        flat = self._flattened(loaded)
        constants = dict(loaded.named_buffers())
        if isinstance(state, torch.nn.Module):
            constants |= not_persistent(unwrapped(state))
        self._refuse_other_constants(what, self._frozen_of(loaded), constants, self._buffers_at(flat))
        return flat

    def state_dict(self, vector: Any) -> dict[str, torch.Tensor]:
        """The whole state of a vector (D,): its parameters, its buffers, and the landscape's other parameters."""
        return self.load(vector).state_dict()

    def load(self, vector: Any, module: torch.nn.Module | None = None) -> torch.nn.Module:
        """Puts a vector (D,), its buffers and the landscape's other parameters into a module; returns it.

        Parameters
        ----------
        vector
            (D,).
        module
            None makes a new one, in evaluation mode; the module that the landscape was made of is never changed. One
            that is wrapped (DataParallel, torch.compile) is filled inside.

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
        parts = self._unflatten(self._tensor(flat)) | self._buffers_at(flat)
        with torch.no_grad():
            for name, own in (*filled.named_parameters(), *filled.named_buffers()):
                if name in parts:
                    own.copy_(parts[name])
        if module is None:
            return filled
        inside = unwrapped(module)
        matched("the module", inside, self._module)
        self._refuse_other_constants("the module", {}, not_persistent(inside))
        inside.load_state_dict(under_keys_of(inside, filled.state_dict()))
        return module

    def align(self, a: Any, b: Any, axes: Mapping[str, Any] | None = None) -> Any:
        """b with its hidden units in the order that brings it near to a; the function of the module stays the same.

        Weight matching (Ainsworth, Hayase and Srinivasa, 2023) of the units that the module's traced graph shows: those
        of linear and convolutional layers, whole heads of attention, residual streams, with normalisations and
        embeddings. Outputs on a few samples prove that the function is unchanged.

        Parameters
        ----------
        a, b
            Both vectors (D,), or both checkpoints as :meth:`vector` takes them, whose buffers are permuted too.
        axes
            For a module that cannot be traced, or is traced in part: name of a parameter or buffer -> for each axis
            None, the name of its group of units, or (name, outer, inner) of an axis of length outer · n · inner.

        Returns
        -------
        array or dict
            A vector of two vectors, a ``state_dict`` of two checkpoints.

        Raises
        ------
        ValueError
            If the module cannot be traced, the table does not fit, the outputs change, or buffers that no vector holds
            would have to be permuted.
        """
        vectors = [isinstance(x, (np.ndarray, torch.Tensor, list)) for x in (a, b)]
        if vectors[0] != vectors[1]:
            raise ValueError("one of a and b is a vector and the other a checkpoint; expected two of a kind")
        first, second = (self.state_dict(x) if vectors[0] else self._loaded(x).state_dict() for x in (a, b))
        with _differentiable_kernels():
            found = aligned(self._module, first, second, self._samples.rows(slice(0, PROOF))[0], axes)
        if not vectors[0]:
            return found
        try:
            return self.vector(found)
        except ValueError as error:
            raise ValueError(
                "the units of layers with buffers, such as running statistics, or with parameters that are no "
                "coordinates, cannot be permuted in a vector: align the checkpoints, land.align(state_a, state_b), or "
                f"make the landscape with buffers='recompute' ({error})"
            ) from error

    def values(self, points: Any) -> np.ndarray:
        """(P, D) -> (P,)."""
        return self._over(points, False)[0]

    def values_and_gradients(self, points: Any) -> tuple[np.ndarray, np.ndarray]:
        """(P, D) -> (P,), (P, D)."""
        values, gradients = self._over(points, True)
        assert gradients is not None
        return values, gradients

    def measure(self, points: Any) -> dict[str, np.ndarray]:
        """The loss and the metrics at points (P, D), over the landscape's data and over its test data: (P,) each.

        Names are ``"loss"`` and the metrics' own, with ``"test "`` before over the test data. With
        ``buffers="recompute"`` the statistics are those of the landscape's data, for the test data too.

        Raises
        ------
        LandscapeError
            If module, loss or a metric raise; it names the point.
        """
        points = read_stack(points, self.size, self.dtype)
        rows = []
        for point in points:
            try:
                with torch.no_grad(), _differentiable_kernels():
                    rows.append(self._measured(self._tensor(point)))
            except Exception as error:
                raise LandscapeError(
                    f"the module, the loss or a metric raised {type(error).__name__} at {describe_point(point)}: "
                    f"{error}",
                    point,
                ) from error
        return {name: np.array([row[name] for row in rows]) for name in rows[0]} if rows else {}

    def along(self, path: Any) -> AlongPath:
        """The loss and the metrics at the sample points of a path, and at the average of its endpoints.

        Raises
        ------
        LandscapeError
            As for :meth:`measure`.
        """
        average = 0.5 * (path.start.astype(np.float64) + path.end)
        found = self.measure(np.concatenate([path.points(path.t), average[None]]))
        samples = {"n_samples": self._samples.n} | ({} if self._test is None else {"n_test": self._test.samples.n})
        return AlongPath(
            np.array(path.t),
            {name: values[:-1] for name, values in found.items()},
            {name: float(values[-1]) for name, values in found.items()},
            samples,
        )

    def _measured(self, x: torch.Tensor) -> dict[str, float]:
        """Losses and metrics at one point (D,)."""
        state = {**self._state(x), **(self._statistics(x) if self._recomputed else {})}
        state = self._folded(state) if self._buffers else state
        row = {}
        for prefix, batches in (("", self._batches), (TEST, self._test)):
            if batches is None:
                continue
            loss, parts, sizes = 0.0, [], []
            for share, part, inputs, targets in batches(1, every=True):
                args, kwargs = arguments(inputs)
                outputs = functional_call(self._called, state, args, kwargs)
                loss += share * float(loss_of(self._loss, outputs, targets)) if share else 0.0
                parts.append((outputs, targets))
                sizes.append(part)
            row[prefix + LOSS] = loss
            if isinstance(parts[0][0], torch.Tensor) or type(parts[0][0]) in (tuple, list, dict):
                parts, sizes = [joined(parts)], [1.0]
            metrics = usual_metrics(*parts[0]) if self._metrics is None else self._metrics
            for name, metric in metrics.items():
                row[prefix + name] = sum(n * float(metric(*part)) for n, part in zip(sizes, parts, strict=True))
        return row

    @cached_property
    def kinks(self) -> tuple[str, ...]:
        """The operations of module and loss whose derivative jumps, such as ReLU; none of a smooth function."""
        few = self._samples.rows(slice(0, FEW))
        with _differentiable_kernels():
            return kinks_of(lambda: self._one(self._tensor(self.vector()), {}, *few))

    @property
    def hessian_products(self) -> Callable[[Any, Any], np.ndarray] | None:
        """Exact products with the Hessian at a point: a function of (D,) and (V, D) that returns (V, D).

        Forward over reverse differentiation, or reverse over reverse where a module's operations have no forward rule;
        None where they have neither. A network of ReLUs has the Hessian of the smooth piece that the point stands in.
        """
        if self._second is None:
            self._second = self._hessian()
        return self._hessian_products if self._second.possible else None

    def _hessian_products(self, point: Any, vectors: Any) -> np.ndarray:
        x = self._tensor(read_stack(np.asarray(point)[None], self.size, self.dtype)[0])
        V = self._tensor(read_stack(vectors, self.size, self.dtype))
        with _differentiable_kernels(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # PyTorch's own, of how it differentiates forward
            assert self._second is not None
            found: np.ndarray = self._second.products(x, V).cpu().numpy()
        return found

    def _hessian(self) -> HessianProducts:
        recomputed = self._recomputed
        statistics = None if recomputed is None else lambda x, inputs: recomputed.of_batch(self._state(x), inputs)
        few = self._samples.rows(slice(0, FEW))
        x = self._tensor(self.vector() if self._interpolated is None else self._interpolated.middle)
        with _differentiable_kernels(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            return HessianProducts(self._one, self._batches, self._points, statistics).tried(x, *few)

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.tensor(array, dtype=self._torch_dtype, device=self._torch_device)

    def _divided(self, batch: int, points: int | None) -> tuple[int, int]:
        """Into how many parts a batch is divided, and the samples of a part; settles how many points go together."""
        samples, device = self._samples, self._torch_device
        if points is not None:
            self._points = int(points)
            return self._points, max(1, batch // self._points)
        n = min(samples.n, TRIED)
        kept = bytes_kept(
            lambda: self._one(self._tensor(self.vector()).requires_grad_(), {}, *samples.rows(slice(0, n))), n
        )
        self._points = together(kept, min(samples.n, batch), device)
        micro = batch if self._points > 1 else at_a_time(kept, batch, device)
        if self._points == 1 and device.type == "cpu":
            self._try_channels_last(slice(0, min(n, FEW)))
        return 1, micro

    def _try_channels_last(self, few: slice) -> None:
        """Orders images by pixel where the module has convolutions and gives the same loss and gradient."""
        if not any(isinstance(part, torch.nn.Conv2d) for part in self._module.modules()):
            return
        plain, found = self._samples, []
        ordered = replace(plain, inputs=mapped(channels_last, plain.inputs))
        try:
            for self._channels_last, self._samples in ((False, plain), (True, ordered)):
                x = self._tensor(self.vector()).requires_grad_()
                with torch.enable_grad():
                    value = self._one(x, {}, *self._samples.rows(few), ordered=self._channels_last)
                found.append((value.detach(), torch.autograd.grad(value, x)[0]))
            (a, slope), (b, other) = found
            part = torch.finfo(x.dtype).eps ** 0.5
            fits = bool((a - b).abs() <= part * a.abs() and (slope - other).norm() <= part * slope.norm())
        except Exception:  # such as of view(), which wants the usual order
            fits = False
        if not fits:
            self._channels_last, self._samples = False, plain

    def _flattened(self, module: torch.nn.Module) -> np.ndarray:
        parameters = dict(module.named_parameters())
        flat = torch.cat([parameters[block.name].detach().reshape(-1) for block in self.blocks])
        return flat.cpu().numpy()

    def _frozen_of(self, module: torch.nn.Module) -> dict[str, torch.Tensor]:
        return {name: p for name, p in module.named_parameters() if name in self.frozen}

    def _loaded(self, state: State) -> torch.nn.Module:
        """A copy of the module with another state."""
        what = "the state"
        if isinstance(state, (str, Path)):
            what, state = str(state), read_checkpoint(state)
        own = matched(what, state, self._module)
        loaded = copied(self._module)
        loaded.load_state_dict(own)
        for key, found in loaded.state_dict().items():
            if isinstance(found, torch.Tensor) and not counts_batches(key) and not equal(found, own[key]):
                raise ValueError(
                    f"{key} of {what} is not what another of its keys holds, with which it is one parameter in the "
                    "landscape's module; expected both alike"
                )
        return loaded

    def _refuse_other_constants(
        self,
        what: str,
        frozen: Mapping[str, torch.Tensor],
        buffers: Mapping[str, torch.Tensor],
        expected: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        """ValueError where frozen parameters or buffers, which no coordinate holds, are not the landscape's.

        ``expected`` are buffers that belong to the point, known to rounding.
        """
        ours = {**dict(self._module.named_parameters()), **dict(self._module.named_buffers())}
        at_point = dict(expected or {})
        free = set(self._recomputed.names) if self._recomputed else set()

        def same(name: str, tensor: torch.Tensor) -> bool:
            if name in at_point:
                return bool(torch.allclose(at_point[name], tensor.to(at_point[name]), rtol=1e-4, atol=1e-6))
            return name in ours and equal(ours[name], tensor)

        for kind, found in (("buffers", buffers), ("parameters that are no coordinates", frozen)):
            others = [n for n, t in found.items() if not (counts_batches(n) or n in free or same(n, t))]
            if others:
                raise ValueError(
                    f"{what} has other {kind} than the landscape: {listed(others)}. With the landscape's the loss "
                    f"would be another than its own. {self._advice(kind, others)}"
                )

    def _advice(self, kind: str, names: Sequence[str]) -> str:
        if kind != "buffers":
            return (
                "Load this state into a module (module.load_state_dict) and make the landscape of that; two states "
                "with different ones lie on no common landscape, unless these are coordinates too"
            )
        if self._buffers == "interpolate":
            return "Name all states between which buffers are interpolated: land.between(a, b)"
        statistics = all(name.endswith(("running_mean", "running_var")) for name in names)
        recompute = "buffers='recompute' takes them from the data at every point, " if statistics else ""
        return (
            f"Choose what becomes of them: {recompute}buffers='interpolate' with states=(a, b) takes them linearly "
            "between two states; or load this state into a module and make the landscape of that"
        )

    def _buffers_at(self, flat: np.ndarray) -> dict[str, torch.Tensor]:
        """The buffers that belong to a point (D,), where they are not the landscape's."""
        with torch.no_grad(), _differentiable_kernels():
            x = self._tensor(flat)
            if self._recomputed:
                return self._statistics(x)
            return self._interpolated.at(x) if self._interpolated else {}

    def _unflatten(self, flat: torch.Tensor) -> dict[str, torch.Tensor]:
        return {block.name: flat[block.start : block.stop].reshape(block.shape) for block in self.blocks}

    def _state(self, flat: torch.Tensor, ordered: bool = False) -> dict[str, torch.Tensor]:
        between = self._interpolated.at(flat) if self._interpolated else {}
        parts = self._unflatten(flat)
        return {**(mapped(channels_last, parts) if ordered else parts), **between}

    def _one(
        self,
        flat: torch.Tensor,
        statistics: Mapping[str, torch.Tensor],
        inputs: Any,
        targets: Any,
        ordered: bool = False,
    ) -> torch.Tensor:
        """The loss of some samples at one point (D,), with batch-normalisation statistics."""
        args, kwargs = arguments(inputs)
        state = {**self._state(flat, ordered), **statistics}
        outputs = functional_call(self._called, self._folded(state) if self._buffers else state, args, kwargs)
        result: torch.Tensor = loss_of(self._loss, outputs, targets)
        return result

    def _statistics(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """The statistics of batch normalisation at a point (D,), without a gradient."""
        assert self._recomputed is not None
        total: dict[str, torch.Tensor] = {}
        with torch.no_grad():
            for _, part, inputs, _ in self._batches(1):
                for name, found in self._recomputed.of_batch(self._state(x), inputs).items():
                    total[name] = total.get(name, torch.zeros_like(found)) + part * found
        return total

    def _over(self, points: Any, gradient: bool) -> tuple[np.ndarray, np.ndarray | None]:
        points = read_stack(points, self.size, self.dtype)
        values, gradients = np.zeros(len(points)), np.zeros_like(points, dtype=self.dtype) if gradient else None
        start = 0
        while start < len(points):
            vmapped = self._points > 1 and gradient not in self._one_by_one
            value, slope = self._stack(points[start : start + (self._points if vmapped else 1)], gradient, vmapped)
            part = slice(start, start + len(value))
            values[part] = value
            if gradients is not None:
                gradients[part] = slope
            start = part.stop
        return values, gradients

    def _stack(self, points: np.ndarray, gradient: bool, together: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """Values and gradients of a few points under vmap, or of one; of the first alone where vmap cannot take it."""
        try:
            flat = self._tensor(points)
            with _differentiable_kernels(often=together):
                value, slope = (self._vmapped if together else self._plain)(flat, gradient)
            return value.cpu().numpy(), None if slope is None else slope.cpu().numpy()
        except Exception as error:
            # Whatever PyTorch raises: it has no common kind of error for what vmap does not know.
            failure = error
        if not together:
            raise LandscapeError(
                f"the module or the loss raised {type(failure).__name__} at {describe_point(points[0])}: {failure}",
                points[0],
            ) from failure
        found = self._stack(points[:1], gradient, False)
        if not self._one_by_one:
            warnings.warn(
                f"torch.func.vmap cannot take the {'gradients' if gradient else 'values'} of this module and loss "
                f"({_line(failure)}); they are computed point by point from here on, as with points=1",
                stacklevel=2,
            )
        self._one_by_one.add(gradient)
        return found

    def _vmapped(self, flat: torch.Tensor, gradient: bool) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Values and gradients of a few points (P, D), over all batches."""
        values = torch.zeros(len(flat), dtype=torch.float64, device=flat.device)
        gradients = torch.zeros_like(flat) if gradient else None
        for share, _, inputs, targets in self._batches(len(flat)):

            def one(x: torch.Tensor, inputs: Any = inputs, targets: Any = targets) -> torch.Tensor:
                return self._one(x, {}, inputs, targets)

            if gradients is None:
                with torch.no_grad():
                    values += share * vmap(one)(flat)
                continue
            with torch.enable_grad():
                slopes, found = vmap(grad_and_value(one))(flat)
            values += share * found.detach()
            gradients += share * slopes.detach()
        return values, gradients

    def _plain(self, flat: torch.Tensor, gradient: bool) -> tuple[torch.Tensor, torch.Tensor | None]:
        """One point (1, D), by what every module takes."""
        x = flat[0].requires_grad_(gradient)
        statistics = self._statistics(x) if self._recomputed else {}
        leaves = [x, *(s.requires_grad_(gradient) for s in statistics.values())]
        value = torch.zeros((), dtype=torch.float64, device=flat.device)
        slopes = [torch.zeros_like(leaf) for leaf in leaves] if gradient else []
        for share, _, inputs, targets in self._batches(1):
            with torch.set_grad_enabled(gradient):
                found = self._one(x, statistics, inputs, targets, ordered=self._channels_last)
            value += share * found.detach()
            if gradient:
                parts = torch.autograd.grad(found, leaves, allow_unused=True)
                for slope, part in zip(slopes, parts, strict=True):
                    if part is not None:
                        slope += share * part
        if not gradient:
            return value[None], None
        if self._recomputed:
            slopes[0] += self._through_statistics(x, dict(zip(statistics, slopes[1:], strict=True)))
        return value[None], slopes[0][None]

    def _through_statistics(self, x: torch.Tensor, slopes: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The gradient by x (D,) of what depends on it through the statistics, from the gradients by these."""
        assert self._recomputed is not None
        total = torch.zeros_like(x)
        for _, part, inputs, _ in self._batches(1):
            with torch.enable_grad():
                found = self._recomputed.of_batch(self._state(x), inputs)
                along = torch.stack([(found[name] * slopes[name]).sum() for name in found]).sum()
            total += part * torch.autograd.grad(along, x)[0]
        return total


@contextmanager
def _differentiable_kernels(often: bool = True) -> Iterator[None]:
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


def _pair(data: Any) -> tuple[Any, Any]:
    """Inputs and targets of ``(inputs, targets)``, or of a data set or loader that holds both."""
    if isinstance(data, (tuple, list)) and len(data) == 2:
        return data[0], data[1]
    return data, None


def _in_single_precision(module: torch.nn.Module) -> bool:
    """Whether a module had parameters of 16 bits, which are float32 now."""
    kinds = {p.dtype for p in module.parameters() if p.is_floating_point()}
    half = bool(kinds & {torch.float16, torch.bfloat16}) and torch.float64 not in kinds
    if half:
        module.float()
    return half


def _chosen(module: torch.nn.Module, patterns: str | Sequence[str] | None) -> dict[str, torch.nn.Parameter]:
    """The parameters that are coordinates."""
    coordinates = {name: p for name, p in module.named_parameters() if p.requires_grad}
    if patterns is None:
        return coordinates
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    tied = names_of(module)

    def fits(name: str, pattern: str) -> bool:
        return any(fnmatchcase(other, pattern) for other in (name, *tied.get(name, ())))

    for pattern in patterns:
        if not any(fits(name, pattern) for name in coordinates):
            raise ValueError(
                f"parameters names {pattern!r}, which is none that requires a gradient; there are {listed(coordinates)}"
            )
    return {name: p for name, p in coordinates.items() if any(fits(name, pattern) for pattern in patterns)}


def _blocks(coordinates: Mapping[str, torch.nn.Parameter]) -> tuple[Block, ...]:
    blocks, start = [], 0
    for name, p in coordinates.items():
        shape = tuple(p.shape)
        blocks.append(Block(name, shape, prod(shape[1:]), start, start + p.numel()))
        start += p.numel()
    return tuple(blocks)


def _first(coordinates: Mapping[str, torch.nn.Parameter]) -> torch.nn.Parameter:
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


def _line(error: Exception) -> str:
    """The first line of an error."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
