"""PyTorch: a module, a loss and data as a landscape over the module's flat parameters."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch

from ..landscape import LandscapeDefaults, LandscapeError, describe_point, read_stack, real_numbers
from .torch_align import aligned
from .torch_along import LOSS, TEST, AlongPath, check_metrics, measured_along, usual_metrics
from .torch_buffers import Interpolated, Recomputed, counts_batches
from .torch_coordinates import Coordinates, in_single_precision
from .torch_data import Batches, Samples, joined, read_samples
from .torch_evaluate import Evaluation
from .torch_forward import Forward, differentiable_kernels
from .torch_kinks import kinks_of
from .torch_plan import FEW, planned
from .torch_second import HessianProducts
from .torch_span import TorchSpan
from .torch_states import (
    copied,
    equal,
    listed,
    matched,
    not_persistent,
    read_checkpoint,
    under_keys_of,
    unwrapped,
)
from .torch_trial import Trial, loss_of
from .torch_workers import Workers

#: How a function that ``--landscape`` names passes the choice.
MAKE = """\
In the function that --landscape names, put the choice into what it returns:

    return {"module": module, "loss": loss, "data": data, "buffers": "recompute"}   # or "interpolate\""""
#: Samples whose outputs prove that an alignment leaves the function unchanged.
PROOF = 16


class OtherBuffers(ValueError):
    """A checkpoint has other buffers than the landscape's module."""


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
        half = in_single_precision(self._module)
        self._coordinates = Coordinates.of(self._module, parameters)
        self.blocks, self.frozen = self._coordinates.blocks, self._coordinates.frozen
        self.size, self.dtype = self._coordinates.size, self._coordinates.numpy_dtype
        device = self._coordinates.device
        samples = read_samples(inputs, targets, device, half)
        self._buffers = buffers
        recomputed = Recomputed(self._module) if buffers == "recompute" else None
        own_loss = copy.deepcopy(loss) if isinstance(loss, torch.nn.Module) else loss
        # What a call leaves behind in the module reaches no state that is given out.
        forward = Forward(copied(self._module), own_loss, buffers is not None)
        check_metrics(metrics)
        self._metrics = metrics
        with differentiable_kernels():
            x = self._coordinates.tensor(self._coordinates.flattened(self._module))
            plan = planned(self._coordinates, forward, samples, x, int(batch), points, recomputed is not None)
            trial = (forward.module, forward.loss, plan.samples, int(batch), plan.divide, plan.micro)
            batches = Trial(*trial).run()
            self._test: Batches | None = None
            if test is not None:
                samples = read_samples(*_pair(test), device, half)
                self._test = Trial(*trial[:2], samples, *trial[3:]).run()
        workers = Workers(plan.forward, plan.workers)
        self._evaluation = Evaluation(self._coordinates, workers, batches, plan.points, plan.ordered, recomputed)
        self._second: HessianProducts | None = None
        if len(states):
            self._evaluation = self.between(*states)._evaluation

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
        try:
            return self.vector(file)
        except OtherBuffers as error:
            error.add_note(MAKE)
            raise

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
        interpolated = Interpolated(
            np.stack([self._coordinates.flattened(module) for module in loaded]),
            [dict(module.named_buffers()) for module in loaded],
            dict(self._module.named_buffers()),
            torch.zeros(0, dtype=self._coordinates.dtype, device=self._coordinates.device),
        )
        other = copy.copy(self)
        other._evaluation = replace(self._evaluation, interpolated=interpolated)
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
            return self._coordinates.flattened(self._module)
        what = f"{state}" if isinstance(state, (str, Path)) else "the state"
        loaded = self._loaded(state)
        flat = self._coordinates.flattened(loaded)
        constants = dict(loaded.named_buffers())
        if isinstance(state, torch.nn.Module):
            constants |= not_persistent(unwrapped(state))
        self._refuse_other_constants(what, self._frozen_of(loaded), constants, self._buffers_at(flat))
        return flat

    def state_dict(self, vector: Any) -> dict[str, torch.Tensor]:
        """The whole state of a vector (D,): its parameters, its buffers, and the landscape's other parameters."""
        return self.load(vector).state_dict()

    def load(self, vector: Any, module: torch.nn.Module | None = None) -> torch.nn.Module:
        """Put a vector (D,), its buffers and the landscape's other parameters into a module, and return it.

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
        parts = self._coordinates.parts(self._coordinates.tensor(flat)) | self._buffers_at(flat)
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
        with differentiable_kernels():
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
        """Compute the values (P,) at points (P, D)."""
        points = read_stack(points, self.size, self.dtype)
        return np.concatenate([np.zeros(0), *(values for values, _ in self._evaluation.each(points, False))])

    def values_and_gradients(self, points: Any) -> tuple[np.ndarray, np.ndarray]:
        """Compute the values (P,) and gradients (P, D) at points (P, D)."""
        points = read_stack(points, self.size, self.dtype)
        values, gradients, start = np.zeros(len(points)), np.zeros_like(points, dtype=self.dtype), 0
        for value, slope in self.values_and_gradients_in_parts(points):
            part = slice(start, start + len(value))
            values[part], gradients[part], start = value, slope, part.stop
        return values, gradients

    def values_and_gradients_in_parts(self, points: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Values (k,) and gradients (k, D) of the points (P, D), a few at a time in their order."""
        for values, slopes in self._evaluation.each(points, True):
            assert slopes is not None
            yield values, slopes

    def span(self, basis: Any) -> TorchSpan:
        """Make the span of some rows (R, D), whose pullbacks take no memory for the gradients of all points."""
        return TorchSpan(self, basis)

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
                with torch.no_grad(), differentiable_kernels():
                    rows.append(self._measured(self._coordinates.tensor(point)))
            except Exception as error:
                raise LandscapeError(
                    f"the module, the loss or a metric raised {type(error).__name__} at {describe_point(point)}: "
                    f"{error}",
                    point,
                ) from error
        return {name: np.array([row[name] for row in rows]) for name in rows[0]} if rows else {}

    def along(self, path: Any) -> AlongPath:
        """The loss and the metrics along a path and along the straight line, and at the average of its endpoints.

        They are measured at the path's sample points and at its maximum, over training and test data.

        Raises
        ------
        LandscapeError
            As for :meth:`measure`.
        """
        n = {"n_samples": self._samples.n} | ({} if self._test is None else {"n_test": self._test.samples.n})
        return measured_along(self.measure, path, n)

    def _measured(self, x: torch.Tensor) -> dict[str, float]:
        """Losses and metrics at one point (D,)."""
        evaluation, forward = self._evaluation, self._evaluation.workers.forward
        state = {**self._coordinates.parts(x), **evaluation.buffers_at(x)}
        row = {}
        for prefix, batches in (("", evaluation.batches), (TEST, self._test)):
            if batches is None:
                continue
            loss, parts, sizes = 0.0, [], []
            for share, part, inputs, targets in batches(1, every=True):
                outputs = forward.outputs(state, inputs)
                loss += share * float(loss_of(forward.loss, outputs, targets)) if share else 0.0
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
        with differentiable_kernels():
            state = self._coordinates.parts(self._coordinates.tensor(self.vector()))
            return kinks_of(lambda: self._evaluation.workers.forward.value(state, *few))

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
        x = self._coordinates.tensor(read_stack(np.asarray(point)[None], self.size, self.dtype)[0])
        V = self._coordinates.tensor(read_stack(vectors, self.size, self.dtype))
        with differentiable_kernels(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # PyTorch's own, of how it differentiates forward
            assert self._second is not None
            found: np.ndarray = self._second.products(x, V).cpu().numpy()
        return found

    def _hessian(self) -> HessianProducts:
        evaluation = self._evaluation
        recomputed, between = evaluation.recomputed, evaluation.interpolated
        statistics = None if recomputed is None else lambda x, inputs: recomputed.of_batch(evaluation.state(x), inputs)
        few = self._samples.rows(slice(0, FEW))
        x = self._coordinates.tensor(self.vector() if between is None else between.middle)
        with differentiable_kernels(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            second = HessianProducts(
                evaluation.one, evaluation.workers, evaluation.batches, evaluation.points, statistics
            )
            return second.tried(x, *few)

    @property
    def _samples(self) -> Samples:
        return self._evaluation.batches.samples

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
        free = set(self._evaluation.recomputed.names) if self._evaluation.recomputed else set()

        def same(name: str, tensor: torch.Tensor) -> bool:
            if name in at_point:
                return bool(torch.allclose(at_point[name], tensor.to(at_point[name]), rtol=1e-4, atol=1e-6))
            return name in ours and equal(ours[name], tensor)

        for kind, found in (("buffers", buffers), ("parameters that are no coordinates", frozen)):
            others = [n for n, t in found.items() if not (counts_batches(n) or n in free or same(n, t))]
            if others:
                refusal = OtherBuffers if kind == "buffers" else ValueError
                raise refusal(
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
        with differentiable_kernels():
            return self._evaluation.buffers_at(self._coordinates.tensor(flat))


def _pair(data: Any) -> tuple[Any, Any]:
    """Inputs and targets of ``(inputs, targets)``, or of a data set or loader that holds both."""
    if isinstance(data, (tuple, list)) and len(data) == 2:
        return data[0], data[1]
    return data, None
