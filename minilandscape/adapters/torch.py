"""PyTorch: a module, a loss and data as a landscape over the module's flat parameters."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch

from ..landscape import LandscapeError, batch_times, describe_point, read_stack
from .along import AlongPath, check_metrics, load_along, measured_along
from .torch_buffers import Recomputed
from .torch_coordinates import Coordinates, in_single_precision
from .torch_data import Batches, read_samples
from .torch_evaluate import Evaluation
from .torch_forward import Forward, differentiable_kernels
from .torch_kinks import kinks_of
from .torch_measure import measured
from .torch_minibatches import CALL, CALL_TOGETHER, MiniBatches, work_of
from .torch_plan import FEW, planned
from .torch_second import HessianProducts, hessian_of
from .torch_span import TorchSpan
from .torch_states import copied, unwrapped
from .torch_trial import Trial
from .torch_vectors import ModuleVectors, State
from .torch_workers import Workers

__all__ = ["AlongPath", "State", "TorchLandscape", "load_along"]


class TorchLandscape(ModuleVectors):
    """The loss of a module over data, as a function of its parameters in the order of ``module.named_parameters()``.

    Module and data are copied, and a loss that is a module: what happens to them later does not change the landscape.

    Parameters
    ----------
    module
        Used in evaluation mode. Wrappers (DataParallel, torch.compile) are taken off; parameters of 16 bits become
        float32. Parameters with ``requires_grad=False`` are no coordinates: they stay as they are, as buffers do.
    loss
        ``loss(outputs, targets) -> one number``, such as ``torch.nn.functional.cross_entropy``; ``loss(outputs)``
        without targets; None where the module returns the loss itself, ``(loss, …)``, or an object or dictionary with a
        ``loss``. A mean over samples, a sum, and a mean with weights that the targets give (class weights, an ignored
        index) do not depend on ``batch``. Other losses need ``batch=len(inputs)``.
    inputs
        A tensor, whose first axis counts the samples; a tuple or a dictionary of tensors, the module's arguments; or a
        Dataset or DataLoader, which is read once: in the data set's own order, also where the loader shuffles, or by
        its own iterator with another sampler. Of a sample (x, y) or (x1, x2, y) the last is the target; a dictionary
        is the module's arguments by name.
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
        a batch at a time, so that ``batch`` is a part of the definition. Each batch counts by its samples, where
        ``torch.optim.swa_utils.update_bn`` counts all alike; the last two share theirs where one would be left over.
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
        object of its own, or tensors whose first axis does not count the samples, such as a loss, the mean over
        batches. None takes the accuracy where outputs are (N, C, …) and targets are
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
    narrow_minima = True
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
        if recomputed is not None:
            with differentiable_kernels():
                recomputed.try_batches(batches, self._coordinates.parts(x))
        self._second: HessianProducts | None = None
        self._batch = int(batch)
        if len(states):
            self._evaluation = self.between(*states)._evaluation

    def __repr__(self) -> str:
        """One line: coordinates, precision, samples, and parameters that stay as they are."""
        stay = f", {len(self.frozen)} parameter tensors stay as they are" if self.frozen else ""
        what = f", buffers {self._buffers}d" if self._buffers else ""
        return f"<TorchLandscape: {self.size:,} parameters in {self.dtype}, {self._samples.n:,} samples{what}{stay}>"

    def values(self, points: Any) -> np.ndarray:
        """Compute the loss at some points.

        Parameters
        ----------
        points
            (P, D).

        Returns
        -------
        ndarray
            (P,), in float64.

        Raises
        ------
        LandscapeError
            If module or loss raise; it names the point.

        Examples
        --------
        >>> import numpy as np, torch
        >>> from minilandscape.adapters.torch import TorchLandscape
        >>> x = torch.tensor([[-1.0], [0.0], [1.0], [2.0]])
        >>> land = TorchLandscape(torch.nn.Linear(1, 1), torch.nn.functional.mse_loss, x, 2 * x, test=(x[:1], x[:1]))
        >>> land.values([[2.0, 0.0], [2.0, 1.0]])
        array([0., 1.])
        """
        points = read_stack(points, self.size, self.dtype)
        return np.concatenate([np.zeros(0), *(values for values, _ in self._evaluation.each(points, False))])

    def values_and_gradients(self, points: Any) -> tuple[np.ndarray, np.ndarray]:
        """Compute the loss and its gradient at some points.

        Parameters
        ----------
        points
            (P, D).

        Returns
        -------
        values, gradients : ndarray
            (P,) in float64, and (P, D) in the landscape's precision.

        Raises
        ------
        LandscapeError
            If module or loss raise; it names the point.

        Examples
        --------
        >>> import numpy as np, torch
        >>> from minilandscape.adapters.torch import TorchLandscape
        >>> x = torch.tensor([[-1.0], [0.0], [1.0], [2.0]])
        >>> land = TorchLandscape(torch.nn.Linear(1, 1), torch.nn.functional.mse_loss, x, 2 * x, test=(x[:1], x[:1]))
        >>> values, gradients = land.values_and_gradients([[2.0, 1.0]])
        >>> values.tolist(), gradients.tolist()
        ([1.0], [[1.0, 2.0]])
        """
        points = read_stack(points, self.size, self.dtype)
        values, gradients, start = np.zeros(len(points)), np.zeros_like(points, dtype=self.dtype), 0
        for value, slope in self.values_and_gradients_in_parts(points):
            part = slice(start, start + len(value))
            values[part], gradients[part], start = value, slope, part.stop
        return values, gradients

    def values_and_gradients_in_parts(self, points: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Iterate over the loss and its gradient at some points, a few at a time in their order.

        Parameters
        ----------
        points
            (P, D), in the landscape's precision.

        Yields
        ------
        values, gradients : ndarray
            (k,) and (k, D) of the next k points.

        Examples
        --------
        >>> import numpy as np, torch
        >>> from minilandscape.adapters.torch import TorchLandscape
        >>> x = torch.tensor([[-1.0], [0.0], [1.0], [2.0]])
        >>> land = TorchLandscape(torch.nn.Linear(1, 1), torch.nn.functional.mse_loss, x, 2 * x, test=(x[:1], x[:1]))
        >>> points = np.ones((20, 2), dtype=np.float32)
        >>> sum(len(values) for values, gradients in land.values_and_gradients_in_parts(points))
        20
        """
        for values, slopes in self._evaluation.each(points, True):
            assert slopes is not None
            yield values, slopes

    def span(self, basis: Any) -> TorchSpan:
        """Make the span of some rows, whose pullbacks take no memory for the gradients of all points.

        Parameters
        ----------
        basis
            (R, D), of which points are linear combinations.

        Returns
        -------
        Span
            As in :class:`~minilandscape.landscape.Span`.

        Examples
        --------
        >>> import numpy as np, torch
        >>> from minilandscape.adapters.torch import TorchLandscape
        >>> x = torch.tensor([[-1.0], [0.0], [1.0], [2.0]])
        >>> land = TorchLandscape(torch.nn.Linear(1, 1), torch.nn.functional.mse_loss, x, 2 * x, test=(x[:1], x[:1]))
        >>> span = land.span([[2.0, 0.0], [0.0, 1.0]])
        >>> span.values([[1.0, 0.0], [1.0, 1.0]])
        array([0., 1.])
        """
        return TorchSpan(self, basis)

    def measure(self, points: Any) -> dict[str, np.ndarray]:
        """Measure the loss and the metrics at some points, over the landscape's data and over its test data.

        With ``buffers="recompute"`` the statistics are those of the landscape's data, for the test data too.

        Parameters
        ----------
        points
            (P, D).

        Returns
        -------
        dict
            Name -> (P,): ``"loss"`` and the metrics' own names, with ``"test "`` before over the test data.

        Raises
        ------
        LandscapeError
            If module, loss or a metric raise; it names the point.

        Examples
        --------
        >>> import numpy as np, torch
        >>> from minilandscape.adapters.torch import TorchLandscape
        >>> x = torch.tensor([[-1.0], [0.0], [1.0], [2.0]])
        >>> land = TorchLandscape(torch.nn.Linear(1, 1), torch.nn.functional.mse_loss, x, 2 * x, test=(x[:1], x[:1]))
        >>> {name: values.tolist() for name, values in land.measure([[2.0, 0.0]]).items()}
        {'loss': [0.0], 'test loss': [1.0]}
        """
        points = read_stack(points, self.size, self.dtype)
        rows = []
        for point in points:
            try:
                with torch.no_grad(), differentiable_kernels():
                    rows.append(measured(self._evaluation, self._test, self._metrics, self._coordinates.tensor(point)))
            except Exception as error:
                raise LandscapeError(
                    f"the module, the loss or a metric raised {type(error).__name__} at {describe_point(point)}: "
                    f"{error}",
                    point,
                ) from error
        return {name: np.array([row[name] for row in rows]) for name in rows[0]} if rows else {}

    def along(self, path: Any) -> AlongPath:
        """Measure the loss and the metrics along a path and the straight line, and at the average of its endpoints.

        They are measured at the path's sample points and at its maximum, over training and test data.

        Parameters
        ----------
        path : Path
            Of this landscape.

        Returns
        -------
        AlongPath

        Raises
        ------
        LandscapeError
            As for :meth:`measure`.

        Examples
        --------
        >>> import numpy as np, torch
        >>> from minilandscape.adapters.torch import TorchLandscape
        >>> x = torch.tensor([[-1.0], [0.0], [1.0], [2.0]])
        >>> land = TorchLandscape(torch.nn.Linear(1, 1), torch.nn.functional.mse_loss, x, 2 * x, test=(x[:1], x[:1]))
        >>> import minilandscape as ml
        >>> path = ml.find_path(land, [2.0, 0.0], [0.0, 0.0], "linear", n_points=5)
        >>> found = land.along(path)
        >>> found.values["test loss"].round(4).tolist()
        [1.0, 0.25, 0.0, 0.25, 1.0]
        """
        n = {"n_samples": self._samples.n} | ({} if self._test is None else {"n_test": self._test.samples.n})
        return measured_along(self.measure, path, n)

    @property
    def n_samples(self) -> int:
        """Number of samples.

        Examples
        --------
        >>> import torch
        >>> from minilandscape.adapters.torch import TorchLandscape
        >>> x = torch.ones(5, 1)
        >>> TorchLandscape(torch.nn.Linear(1, 1), torch.nn.functional.mse_loss, x, 2 * x).n_samples
        5
        """
        return self._samples.n

    @property
    def batch_values_and_gradients(self) -> Callable[[Any, Any], tuple[np.ndarray, np.ndarray]] | None:
        """Losses and gradients over mini-batches: a function of (P, D) and indices that returns (P,) and (P, D).

        Indices of samples are (B,), or (P, B) where every point has its own. Means and sums over samples are estimated
        without bias, weighted means nearly so. None where a few samples say nothing of the loss: with
        ``buffers="recompute"``, and for a loss of all samples together.

        Examples
        --------
        >>> import torch
        >>> from minilandscape.adapters.torch import TorchLandscape
        >>> x = torch.tensor([[-1.0], [0.0], [1.0], [2.0]])
        >>> land = TorchLandscape(torch.nn.Linear(1, 1), torch.nn.functional.mse_loss, x, 2 * x, test=(x[:1], x[:1]))
        >>> values, gradients = land.batch_values_and_gradients([[2.0, 1.0], [1.0, 0.0]], [[0, 1], [2, 3]])
        >>> values.tolist(), gradients.tolist()
        ([1.0, 2.5], [[-1.0, 2.0], [-5.0, -3.0]])
        """
        return None if self._mini_batches is None else self._mini_batches.values_and_gradients

    @cached_property
    def batch_times(self) -> tuple[float, float]:
        """Seconds of the gradient of one sample at one point, and of a call with a mini-batch besides, estimated.

        From a count of the floating-point operations of matrix products and convolutions. Searches begin on
        mini-batches where these save time.

        Examples
        --------
        >>> import torch
        >>> from minilandscape.adapters.torch import TorchLandscape
        >>> wide, x = torch.nn.Linear(200, 200), torch.ones(500, 200)
        >>> TorchLandscape(wide, torch.nn.functional.mse_loss, x, x).batch_times
        (6.03e-06, 0.0025)
        """
        with differentiable_kernels():
            operations = work_of(self._evaluation, self._coordinates.tensor(self.vector()))
        mini = self._mini_batches
        call = CALL_TOGETHER if mini is not None and mini.together else CALL
        return batch_times(operations, call, self._coordinates.device.type != "cpu")

    @cached_property
    def _mini_batches(self) -> MiniBatches | None:
        with differentiable_kernels():
            return MiniBatches.of(self._evaluation, self._batch)

    @cached_property
    def kinks(self) -> tuple[str, ...]:
        """Names of the operations of module and loss whose derivative jumps, such as ReLU; none of a smooth function.

        Examples
        --------
        >>> import torch
        >>> from minilandscape.adapters.torch import TorchLandscape
        >>> net = torch.nn.Sequential(torch.nn.Linear(1, 2), torch.nn.ReLU())
        >>> TorchLandscape(net, torch.nn.functional.mse_loss, torch.ones(3, 1), torch.ones(3, 2)).kinks
        ('relu',)
        """
        few = self._samples.rows(slice(0, FEW))
        with differentiable_kernels():
            state = self._coordinates.parts(self._coordinates.tensor(self.vector()))
            return kinks_of(lambda: self._evaluation.workers.forward.value(state, *few))

    @property
    def hessian_products(self) -> Callable[[Any, Any], np.ndarray] | None:
        """Exact Hessian-vector products at a point: a function of (D,) and (V, D) that returns (V, D).

        Forward over reverse differentiation, or reverse over reverse where a module's operations have no forward rule;
        None where they have neither. A network of ReLUs has the Hessian of the linear region that the point lies in.

        Examples
        --------
        >>> import numpy as np, torch
        >>> from minilandscape.adapters.torch import TorchLandscape
        >>> x = torch.tensor([[-1.0], [0.0], [1.0], [2.0]])
        >>> land = TorchLandscape(torch.nn.Linear(1, 1), torch.nn.functional.mse_loss, x, 2 * x, test=(x[:1], x[:1]))
        >>> land.hessian_products([2.0, 0.0], np.eye(2)).tolist()
        [[3.0, 1.0], [1.0, 2.0]]
        """
        if self._second is None:
            between = self._evaluation.interpolated
            x = self._coordinates.tensor(self.vector() if between is None else between.middle)
            self._second = hessian_of(self._evaluation, x, *self._samples.rows(slice(0, FEW)))
        return self._hessian_products if self._second.possible else None

    def _hessian_products(self, point: Any, vectors: Any) -> np.ndarray:
        x = self._coordinates.tensor(read_stack(np.asarray(point)[None], self.size, self.dtype)[0])
        V = self._coordinates.tensor(read_stack(vectors, self.size, self.dtype))
        with differentiable_kernels(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # PyTorch's own, of how it differentiates forward
            assert self._second is not None
            found: np.ndarray = self._second.products(x, V).cpu().numpy()
        return found


def _pair(data: Any) -> tuple[Any, Any]:
    """Inputs and targets of ``(inputs, targets)``, or of a data set or loader that holds both."""
    if isinstance(data, (tuple, list)) and len(data) == 2:
        return data[0], data[1]
    return data, None
