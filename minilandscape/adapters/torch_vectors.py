"""Vectors of a module's parameters: from checkpoints, into modules, and brought near to each other."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np
import torch

from ..display import listed
from ..landscape import LandscapeDefaults, real_numbers
from .torch_align import aligned
from .torch_buffers import Interpolated, counts_batches, statistics_of
from .torch_coordinates import Coordinates
from .torch_data import Samples
from .torch_evaluate import Evaluation
from .torch_forward import differentiable_kernels
from .torch_second import HessianProducts
from .torch_states import copied, equal, matched, not_persistent, read_checkpoint, under_keys_of, unwrapped

#: How a function that ``--landscape`` names passes the choice of buffers, and how it takes parameters that are frozen.
CHOICE = """\
In the function that --landscape names, put the choice into what it returns:

    return {{"module": module, "loss": loss, "data": data, "buffers": {choice}"""
FROZEN = """\
In the function that --landscape names, load what both checkpoints have frozen, before the module is returned:

    state = {reader}
    module.load_state_dict(state)   # or state["state_dict"], where the file holds more than that"""
#: Samples whose outputs verify that an alignment leaves the function unchanged.
PROOF = 16


class OtherBuffers(ValueError):
    """A checkpoint has other buffers than the landscape's module.

    Attributes
    ----------
    statistics
        Whether they all are running statistics of batch normalisation, which can be recomputed.
    """

    def __init__(self, message: str, statistics: bool) -> None:
        super().__init__(message)
        self.statistics = statistics


class OtherFrozen(ValueError):
    """A checkpoint has other parameters that are no coordinates than the landscape's module."""


State: TypeAlias = Mapping[str, Any] | torch.nn.Module | str | Path


class ModuleVectors(LandscapeDefaults):
    """What a landscape of a module does with checkpoints and vectors; the base of TorchLandscape, which sets it up."""

    frozen: Sequence[str]
    _module: torch.nn.Module
    _buffers: str | None
    _coordinates: Coordinates
    _evaluation: Evaluation
    _second: HessianProducts | None

    @property
    def interpolates(self) -> bool:
        """Whether buffers are interpolated, between states that :meth:`between` names."""
        return self._buffers == "interpolate"

    @property
    def takes_buffers(self) -> bool:
        """Whether :meth:`between` one state takes its buffers: the module has some, and they are not recomputed."""
        return self._buffers != "recompute" and bool(self._statistics)

    @property
    def buffers_of_a_state(self) -> str:
        """Which buffers a single state has, in words; empty where the module has none."""
        if not self._statistics:
            return ""
        return "the checkpoint's own" if self.takes_buffers else "batch statistics recomputed from the data"

    @property
    def _statistics(self) -> list[str]:
        """Names of the buffers that may differ between states."""
        return [name for name, _ in self._module.named_buffers() if not counts_batches(name)]

    def read(self, file: str | Path) -> np.ndarray:
        """Read a vector (D,) from a file of a checkpoint, as :meth:`vector` does.

        Parameters
        ----------
        file
            Written by ``torch.save`` or safetensors.

        Returns
        -------
        ndarray
            (D,).

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            As for :meth:`vector`.

        Examples
        --------
        >>> import os, tempfile
        >>> import torch
        >>> from minilandscape.adapters.torch import TorchLandscape
        >>> net, x = torch.nn.Linear(2, 1), torch.ones(5, 2)
        >>> land = TorchLandscape(net, torch.nn.functional.mse_loss, x, torch.zeros(5, 1))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = os.path.join(folder, "a.pt")
        ...     torch.save({"model": net.state_dict(), "epoch": 3}, file)
        ...     bool((land.read(file) == land.vector(net)).all())
        True
        """
        try:
            return self.vector(file)
        except OtherBuffers as error:
            error.add_note(
                CHOICE.format(choice='"recompute"}   # or "interpolate"' if error.statistics else '"interpolate"}')
            )
            raise
        except OtherFrozen as error:
            safe = str(file).endswith(".safetensors")
            reader = f'safetensors.torch.load_file("{file}")' if safe else f'torch.load("{file}", weights_only=True)'
            error.add_note(FROZEN.format(reader=reader))
            raise

    def between(self, *states: State) -> Self:
        """Make the landscape whose buffers are linear between some states, with ``buffers="interpolate"``.

        Of one state the buffers are constant: its own, which a landscape without a choice of buffers takes too. At a
        state that is one of several the landscape has a kink, since buffers are constant beyond it: take its curvature
        on the landscape of that state alone.

        Parameters
        ----------
        states
            Checkpoints, as :meth:`vector` takes them.

        Returns
        -------
        TorchLandscape

        Raises
        ------
        ValueError
            As for :meth:`vector`; if the landscape recomputes buffers, or there are several states and it was not made
            with ``buffers="interpolate"``; or if the states' parameters do not tell them apart.

        Examples
        --------
        >>> import torch
        >>> from minilandscape.adapters.torch import TorchLandscape
        >>> def net():
        ...     module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 1))
        ...     module(torch.randn(9, 2))  # moves the running statistics
        ...     return module
        >>> a, b, x = net(), net(), torch.randn(9, 2)
        >>> land = TorchLandscape(a, torch.nn.functional.mse_loss, x, x[:, :1], buffers="interpolate").between(a, b)
        >>> middle = land.load((land.vector(a) + land.vector(b)) / 2)
        >>> torch.allclose(middle[1].running_mean, (a[1].running_mean + b[1].running_mean) / 2)
        True
        """
        if self._buffers == "recompute" or (self._buffers is None and len(states) != 1):
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
        other.__dict__.pop("_mini_batches", None)
        return other

    def vector(self, state: State | None = None) -> np.ndarray:
        """Read a vector (D,) from a checkpoint, in the landscape's precision.

        Parameters
        ----------
        state
            A ``state_dict``; a dictionary that holds one, beside an optimiser and so on; a file of either, written by
            ``torch.save`` or safetensors, of which nothing but tensors is read; or a module. Keys may have what
            DataParallel, torch.compile and Lightning put before them. None takes the landscape's own module.

        Returns
        -------
        ndarray
            (D,), the parameters in the order of ``module.named_parameters()``.

        Raises
        ------
        ValueError
            If its keys or shapes are not those of the landscape's module, or if its buffers or its parameters with
            ``requires_grad=False`` are not the landscape's: no coordinate holds them, and the loss would be another
            than the state's own.
        TypeError
            If it is none of these.

        Examples
        --------
        >>> import torch
        >>> from minilandscape.adapters.torch import TorchLandscape
        >>> net, x = torch.nn.Linear(2, 1), torch.ones(5, 2)
        >>> land = TorchLandscape(net, torch.nn.functional.mse_loss, x, torch.zeros(5, 1))
        >>> land.vector({"weight": torch.tensor([[1.0, 2.0]]), "bias": torch.tensor([3.0])})
        array([1., 2., 3.], dtype=float32)
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
        """Make the whole state of a vector: its parameters, its buffers, and the landscape's other parameters.

        Parameters
        ----------
        vector
            (D,).

        Returns
        -------
        dict
            As ``module.state_dict()`` of :meth:`load`.

        Raises
        ------
        ValueError
            If the vector has another shape.

        Examples
        --------
        >>> import torch
        >>> from minilandscape.adapters.torch import TorchLandscape
        >>> net, x = torch.nn.Linear(2, 1), torch.ones(5, 2)
        >>> land = TorchLandscape(net, torch.nn.functional.mse_loss, x, torch.zeros(5, 1))
        >>> land.state_dict([1.0, 2.0, 3.0])["bias"]
        tensor([3.])
        """
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

        Returns
        -------
        torch.nn.Module

        Raises
        ------
        ValueError
            If the module's keys or shapes are not those of the landscape's module; nothing has then been loaded.

        Examples
        --------
        >>> import torch
        >>> from minilandscape.adapters.torch import TorchLandscape
        >>> net, x = torch.nn.Linear(2, 1), torch.ones(5, 2)
        >>> land = TorchLandscape(net, torch.nn.functional.mse_loss, x, torch.zeros(5, 1))
        >>> land.load([1.0, 2.0, 3.0]).weight.tolist()
        [[1.0, 2.0]]
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
        """Permute the hidden units of b so that it is near to a; the function of the module stays the same.

        Weight matching (Ainsworth, Hayase and Srinivasa, 2023) of the units that the module's traced graph shows: those
        of linear and convolutional layers, whole heads of attention, residual streams, with normalisations and
        embeddings. Units of layers that compute their weights (weight_norm, spectral_norm, prune), and of parameters
        that are no coordinates, stay in their order. Outputs on a few samples verify that the function is unchanged.

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

        Examples
        --------
        >>> import numpy as np, torch
        >>> from minilandscape.adapters.torch import TorchLandscape
        >>> net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU(), torch.nn.Linear(2, 1))
        >>> land = TorchLandscape(net, torch.nn.functional.mse_loss, torch.randn(5, 2), torch.zeros(5, 1))
        >>> a = np.arange(9.0)
        >>> b = a[[2, 3, 0, 1, 5, 4, 7, 6, 8]]  # both units exchanged
        >>> np.array_equal(land.align(a, b), a)
        True
        """
        vectors = [isinstance(x, (np.ndarray, torch.Tensor, list)) for x in (a, b)]
        if vectors[0] != vectors[1]:
            raise ValueError("one of a and b is a vector and the other a checkpoint; expected two of a kind")
        first, second = (self.state_dict(x) if vectors[0] else self._loaded(x).state_dict() for x in (a, b))
        # Parameters that are no coordinates stay as they are, unless those of a and b differ already.
        held = self.frozen if all(equal(first[name], second[name]) for name in self.frozen) else ()
        with differentiable_kernels():
            found = aligned(self._module, first, second, self._samples.rows(slice(0, PROOF))[0], axes, held)
        if not vectors[0]:
            return found
        try:
            return self.vector(found)
        except ValueError as error:
            recompute = ", or make the landscape with buffers='recompute'" if statistics_of(self._module) else ""
            raise ValueError(
                "the units of layers with buffers, such as running statistics, cannot be permuted in a vector: align "
                f"the checkpoints, land.align(state_a, state_b){recompute} ({error})"
            ) from error

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
                said = (
                    f"{what} has other {kind} than the landscape: {listed(others)}. With the landscape's the loss "
                    "would be another than its own. "
                )
                if kind == "buffers":
                    statistics = set(others) <= set(statistics_of(self._module))
                    raise OtherBuffers(said + self._advice(statistics), statistics)
                raise OtherFrozen(
                    said + "Load this state into a module (module.load_state_dict) and make the landscape of that; two "
                    "states with different ones lie on no common landscape, unless these are coordinates too"
                )

    def _advice(self, statistics: bool) -> str:
        if self._buffers == "interpolate":
            return "Name all states between which buffers are interpolated: land.between(a, b)"
        recompute = "buffers='recompute' takes them from the data at every point, " if statistics else ""
        return (
            f"Choose what becomes of them: {recompute}buffers='interpolate' with states=(a, b) takes them linearly "
            "between two states; or load this state into a module and make the landscape of that"
        )

    def _buffers_at(self, flat: np.ndarray) -> dict[str, torch.Tensor]:
        """The buffers that belong to a point (D,), where they are not the landscape's."""
        with differentiable_kernels():
            return self._evaluation.buffers_at(self._coordinates.tensor(flat))
