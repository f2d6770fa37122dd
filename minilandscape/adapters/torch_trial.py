"""A module and a loss tried on a few samples: what must hold of them to be a landscape, and how batches add up."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.func import functional_call

from .labels import rows_with_other_labels
from .torch_data import Batches, Samples, arguments, leaves, mapped

#: The samples on which a loss is tried when a landscape is made.
TRIED = 32
#: A loss of so many samples is what its parts make it within this part of it: rounding in float32. Where the module's
#: own rounding enters, which depends on the number of samples at a time, within more.
MEAN, MEAN_WITH_MODULE = 1e-5, 1e-4
#: Samples at most on which a loss is tried for the labels that those lack: by the numbers that outputs of all of them
#: would hold, and where the module itself has to be evaluated.
MOST_OUTPUTS, MOST_EVALUATED = 1 << 24, 1 << 10
#: Outputs of one sample differ by no more than this part of the largest, whatever is computed beside it.
ALONE = 1e-2
#: What is computed twice in the same way differs by no more than this part: some devices add in any order.
AGAIN = 1e-5

#: The places of two parts of some samples.
Parts = tuple[torch.Tensor, torch.Tensor]
#: The loss of some samples, and the sizes and the losses of two parts of them.
Tried = tuple[float, tuple[int, int], tuple[float, float]]


class Trial:
    """Module and loss on a few samples, with what must hold of them.

    Parameters
    ----------
    batch, points
        Samples at a time, over so many points.
    micro
        Samples at a time of one point.
    """

    def __init__(
        self, module: torch.nn.Module, loss: Any, samples: Samples, batch: int, points: int, micro: int
    ) -> None:
        self.module, self.loss, self.samples, self.batch, self.points = module, loss, samples, batch, points
        self.micro = micro
        # A loss may be one of all samples together where these are a batch.
        device = leaves(samples.inputs)[0].device
        self.everything = torch.arange(samples.n, device=device)
        if samples.n > self.micro:
            self.everything = _varied(samples, device)

    def run(self) -> Batches:
        """The samples in batches, whose losses add up.

        Raises
        ------
        ValueError
            With what to do, where module and loss are no function of the parameters, or depend on the batch.
        """
        everything = self.everything
        with torch.enable_grad():  # both times, since some operations are others without
            first = self._called(everything)
            outputs, value = self._with_loss(everything, first)
            has_gradient, value, first = value.requires_grad, value.detach(), _tensors(first)
            again = self._called(everything)
            second, again = self._with_loss(everything, again)[1].detach(), _tensors(again)
        if not has_gradient:
            raise ValueError(
                "the loss has no gradient by the parameters: module or loss leave PyTorch's record (detach, no_grad, "
                "item, numpy); expected operations of PyTorch alone"
            )
        random = len(again) != len(first) or any(_apart(a, b, AGAIN) for a, b in zip(again, first, strict=True))
        if random or not _close(value, second, AGAIN):
            raise ValueError(
                f"two evaluations at the same parameters differ (losses {float(value):.8g} and {float(second):.8g}): "
                "dropout, augmentation or another random layer acts in evaluation mode too; switch it off"
            )
        with torch.no_grad():
            if self.samples.n <= self.micro:
                return self._at_once(whole=False)
            try:
                bounds = bounds_of(self.samples.n, self.micro)
                return Batches(self.samples, bounds, self._shares(outputs, value, bounds), False, self.points)
            except ValueError:
                if self.samples.n <= self.batch:
                    return self._at_once(whole=True)
                raise

    def _at_once(self, whole: bool) -> Batches:
        return Batches(self.samples, np.array([0, self.samples.n]), np.array([0.0, 1.0]), whole, self.points)

    def _forward(self, rows: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor]:
        """The outputs, where each belongs to a sample, and the loss of some samples."""
        return self._with_loss(rows, self._called(rows))

    def _called(self, rows: torch.Tensor) -> Any:
        """The module's outputs of some samples."""
        inputs = self.samples.rows(rows)[0]
        args, kwargs = arguments(inputs)
        try:
            return functional_call(self.module, {}, args, kwargs)
        except Exception as error:
            raise ValueError(
                f"the module raised {type(error).__name__} on inputs {_described(inputs)}: {error}"
            ) from error

    def _with_loss(self, rows: torch.Tensor, outputs: Any) -> tuple[torch.Tensor | None, torch.Tensor]:
        by_sample = isinstance(outputs, torch.Tensor) and outputs.ndim and len(outputs) == len(rows)
        loss = self._loss(outputs, self.samples.rows(rows)[1])
        return (outputs.detach() if by_sample else None), loss

    def _loss(self, outputs: Any, targets: Any) -> torch.Tensor:
        try:
            value = loss_of(self.loss, outputs, targets)
        except Exception as error:
            of = f"outputs {_described(outputs)}" + ("" if targets is None else f" and targets {_described(targets)}")
            raise ValueError(f"the loss raised {type(error).__name__} on {of}: {error}") from error
        if not isinstance(value, torch.Tensor) or value.ndim or not value.is_floating_point():
            what = (
                "the loss" if self.loss is not None else "the module's output, which is the loss where none is given,"
            )
            raise ValueError(
                f"{what} is {_described(value)}; expected a tensor of one real number, such as the mean over the "
                "samples"
            )
        return value

    def _shares(self, outputs: torch.Tensor | None, value: torch.Tensor, bounds: np.ndarray) -> np.ndarray | None:
        """Of the mean over samples, their sum (None), or a mean with weights that the targets give."""
        part = _tolerance(value.dtype, MEAN_WITH_MODULE if outputs is None else MEAN)
        apart: list[Tried] = []
        is_sum = True
        for tried in self._tried(outputs, value):
            apart += [each for each in tried if not _fits(each, part, _as_mean)]
            is_sum = is_sum and all(_fits(each, part, _as_sum) for each in tried)
            if apart and not is_sum:
                break
        if not apart:
            return bounds / self.samples.n
        if is_sum:
            return None
        weights = self._weights(outputs, bounds)
        if weights is not None:
            return weights
        whole, (a, b), losses = apart[0]
        mean = (a * losses[0] + b * losses[1]) / (a + b)
        raise ValueError(
            f"the loss of {a + b} samples is {whole:.6g}, the mean over two parts of them {mean:.6g}: values would "
            f"depend on batch={self.batch}. Expected a mean over the samples, a sum, or a mean with weights that "
            f"depend on the targets alone; for any other loss give batch={self.samples.n}, all samples at once"
        )

    def _tried(self, outputs: torch.Tensor | None, value: torch.Tensor) -> Iterator[list[Tried]]:
        """Losses of the samples tried and of parts of them; then with some more at a time, until all labels are in."""
        n = len(self.everything)
        places = torch.arange(n, device=self.everything.device)
        for first in (places[: -(-n // 4)], places[: n // 2], places[::2]):
            yield self._parts(_parted(places, first), outputs, value)
        others = self._with_other_labels(outputs)
        for rows in others.split(TRIED) if len(others) else ():
            both = torch.cat([self.everything, rows])
            places = torch.arange(len(both), device=both.device)
            parts = [_parted(places, first) for first in (places[:n], places[n + len(rows) // 2 :], places[::2])]
            yield self._parts_by_forward(both, parts) if outputs is None else self._parts_by_loss(both, parts, outputs)

    def _with_other_labels(self, outputs: torch.Tensor | None) -> torch.Tensor:
        """Samples with labels that those tried lack; labels may be among the inputs where the module takes the loss."""
        trees, most = [self.samples.targets], MOST_EVALUATED
        if outputs is None:
            trees.append(self.samples.inputs)
        else:
            most = MOST_OUTPUTS * len(outputs) // max(1, outputs.numel())
        whole = [t for t in leaves(trees) if not (t.is_floating_point() or t.is_complex())]
        arrays = (tensor.cpu().numpy() for tensor in whole)
        found = rows_with_other_labels(arrays, self.everything.cpu().numpy(), max(TRIED, most))
        return torch.from_numpy(found).to(self.everything.device)

    def _parts(self, parts: Parts, outputs: torch.Tensor | None, value: torch.Tensor) -> list[Tried]:
        """The loss of all samples tried, and the sizes and losses of two parts of them; for several outputs."""
        rows = self.everything
        alone = [self._forward(rows[part]) for part in parts]
        if outputs is None:
            return [_of_losses(value, parts, [loss for _, loss in alone])]
        if any(_apart(found, outputs[part]) for part, (found, _) in zip(parts, alone, strict=True)):
            raise ValueError(
                "the module's output of a sample depends on the samples beside it, as in a normalisation without "
                f"running statistics, so that values would depend on batch={self.batch}; give batch={self.samples.n}, "
                "all samples at once, if that is meant"
            )
        return self._parts_by_loss(rows, [parts], outputs)

    def _parts_by_loss(self, rows: torch.Tensor, parts: Sequence[Parts], outputs: torch.Tensor) -> list[Tried]:
        """The losses of some samples and of parts of them, by outputs of the samples tried, one after the other."""
        found, targets = [], self.samples.rows(rows)[1]
        again = torch.arange(len(rows), device=rows.device) % len(outputs)
        # Outputs of other samples too: the loss of a trained module may be all but 0.
        for own in (outputs[again], outputs.roll(len(outputs) // 2, 0)[again]):
            whole = self._loss(own.clone(), targets)
            for each in parts:
                losses = [self._loss(own[part], self.samples.rows(rows[part])[1]) for part in each]
                found.append(_of_losses(whole, each, losses))
        return found

    def _parts_by_forward(self, rows: torch.Tensor, parts: Sequence[Parts]) -> list[Tried]:
        """The losses of some samples and of parts of them, by the module."""
        whole = self._forward(rows)[1]
        return [_of_losses(whole, each, [self._forward(rows[part])[1] for part in each]) for each in parts]

    def _weights(self, outputs: torch.Tensor | None, bounds: np.ndarray) -> np.ndarray | None:
        """(K + 1,): the weight of all samples before each bound, found by losses of outputs of samples tried.

        Where the loss is Σ w ℓ / Σ w with w of the targets alone, the losses of two sets and of both together give the
        ratio of their weights. None where that ratio is not the same for all outputs.
        """
        if outputs is None or self.samples.targets is None:
            return None
        # Some of every label: beside a large weight a small one is known to fewer digits.
        few = torch.cat([self.everything, self._with_other_labels(outputs)[:TRIED]])
        outputs, ours = self._doubled(outputs)[torch.arange(len(few)) % len(outputs)], self.samples.rows(few)[1]
        ratios = []
        for first, last in itertools.pairwise(bounds):
            ratio = self._ratio(outputs, ours, torch.arange(first, last, device=self.everything.device))
            if ratio is None:
                return None
            ratios.append(ratio)
        weights = np.append(0.0, np.cumsum(ratios))
        return weights / weights[-1] if weights[-1] > 0 else None

    def _doubled(self, outputs: torch.Tensor) -> torch.Tensor:
        """The outputs in double precision, with the loss too, where it takes them: ratios of weights are more exact."""
        loss = copy.deepcopy(self.loss).double() if isinstance(self.loss, torch.nn.Module) else self.loss
        try:
            loss_of(loss, outputs.double(), self.samples.rows(self.everything)[1])
        except Exception:  # whatever a loss raises that has numbers of single precision in it
            return outputs
        self.loss = loss
        return outputs.double()

    def _ratio(self, outputs: torch.Tensor, ours: Any, rows: torch.Tensor) -> float | None:
        """The weight of some samples in units of that of others, our targets; None where there is no such number."""
        theirs = self.samples.rows(rows)[1]
        both = _concatenated(theirs, ours)
        again = torch.arange(len(rows), device=rows.device) % len(outputs)
        rolled = outputs.roll(len(outputs) // 2, 0)
        difference, rise, size = [], [], 0.0
        for a in (outputs, rolled):
            first = float(self._loss(a[again], theirs))
            for b in (outputs, rolled):
                second = float(self._loss(b.clone(), ours))
                whole = float(self._loss(torch.cat([a[again], b]), both))
                size = max(size, abs(whole), abs(second))
                if np.isnan(first):  # no sample of weight, 0/0
                    first = second if _near(whole, second, size, outputs.dtype) else first
                difference.append(first - second)
                rise.append(whole - second)
        d, r = np.array(difference), np.array(rise)
        if not np.isfinite([*d, *r]).all():
            return None
        # whole = second + w (first - second), w the part of these samples in the weight of both.
        part = float(d @ r / (d @ d)) if d.any() else 0.0
        if (
            np.abs(r - part * d).max() > _tolerance(outputs.dtype, MEAN) * size
            or not -_tolerance(outputs.dtype, MEAN) <= part < 1
        ):
            return None
        return max(part, 0.0) / (1 - part)


def bounds_of(n: int, most: int) -> np.ndarray:
    """(K + 1,): where batches of so many samples at most begin and end.

    The last two share their samples where the last would have a single one, of which there is no variance.
    """
    bounds = np.append(np.arange(0, n, most), n)
    if most > 2 and n > most and n % most == 1:
        bounds[-2] = n - (most + 1) // 2
    return bounds


def loss_of(loss: Any, outputs: Any, targets: Any) -> Any:
    """The loss of outputs and targets; of outputs alone where there are no targets; the module's own without one."""
    if loss is None:
        return _own_loss(outputs)
    return loss(outputs) if targets is None else loss(outputs, targets)


def _own_loss(outputs: Any) -> Any:
    """The loss that a module returns: by itself, as the first of several, or by the name ``loss``."""
    if isinstance(outputs, Mapping):
        return outputs.get("loss", outputs)
    if isinstance(outputs, (tuple, list)) and outputs and isinstance(outputs[0], torch.Tensor) and not outputs[0].ndim:
        return outputs[0]
    return outputs if isinstance(outputs, torch.Tensor) else getattr(outputs, "loss", outputs)


def _parted(places: torch.Tensor, first: torch.Tensor) -> Parts:
    """Some places, and the others."""
    return first, places[~torch.isin(places, first)]


def _of_losses(whole: torch.Tensor, parts: Parts, losses: Sequence[torch.Tensor]) -> Tried:
    a, b = (len(part) for part in parts)
    return float(whole), (a, b), (float(losses[0]), float(losses[1]))


def _as_mean(a: int, b: int) -> np.ndarray:
    """The shares of the losses of two parts of so many samples."""
    return np.array([a, b]) / (a + b)


def _as_sum(a: int, b: int) -> np.ndarray:
    return np.ones(2)


def _fits(tried: Tried, part: float, shares: Any) -> bool:
    """Whether the loss of all is the losses of the parts times their shares; one that is not finite says nothing."""
    whole, sizes, losses = tried
    size = max(abs(whole), *map(abs, losses))
    return not np.isfinite(whole) or abs(whole - float(shares(*sizes) @ np.array(losses))) <= part * size


def _varied(samples: Samples, device: torch.device) -> torch.Tensor:
    """The rows of a few samples whose targets are as different as may be."""
    n = samples.n
    key = torch.zeros(n, dtype=torch.float64, device=device)
    for tensor in leaves(samples.targets):
        for a in range(0, n, 4096):
            flat = tensor[a : a + 4096].reshape(len(tensor[a : a + 4096]), -1).to(torch.float64)
            key[a : a + 4096] += flat @ torch.arange(1, flat.shape[1] + 1, dtype=torch.float64, device=device)
    order = torch.argsort(key, stable=True)
    return order[torch.linspace(0, n - 1, min(TRIED, n), device=device).round().long()]


def _concatenated(a: Any, b: Any) -> Any:
    """Two trees of the same form, their tensors one after the other."""
    following = iter(leaves(b))
    return mapped(lambda tensor: torch.cat([tensor, next(following)]), a)


def _tolerance(dtype: torch.dtype, part: float) -> float:
    return max(part, 10 * torch.finfo(dtype).eps) if dtype.is_floating_point else part


def _near(a: float, b: float, size: float, dtype: torch.dtype) -> bool:
    return abs(a - b) <= _tolerance(dtype, MEAN) * size


def _apart(a: Any, b: Any, part: float = ALONE) -> bool:
    """Whether outputs differ by more than a part of the largest."""
    if b is None:
        return False
    if not isinstance(a, torch.Tensor) or a.shape != b.shape:
        return True
    return (
        bool((a - b).abs().max() > _tolerance(b.dtype, part) * b.abs().max())
        if b.numel() and b.dtype.is_floating_point
        else False
    )


def _tensors(outputs: Any) -> list[torch.Tensor]:
    """Copies of the tensors among a module's outputs, those of an object included."""
    plain = isinstance(outputs, (torch.Tensor, tuple, list, Mapping))
    return [t.detach().clone() for t in leaves(outputs if plain else getattr(outputs, "__dict__", ()))]


def _close(a: torch.Tensor, b: torch.Tensor, part: float) -> bool:
    """Whether two losses are equal up to rounding; a loss that is not finite is what it is."""
    return not bool((a - b).abs() > _tolerance(a.dtype, part) * torch.maximum(a.abs(), b.abs()))


def _described(what: Any) -> str:
    """Shape and precision of a tensor, the type of anything else."""
    if not isinstance(what, torch.Tensor):
        inside = leaves(what)
        if inside and isinstance(what, (tuple, list, dict)):
            return f"of {len(inside)} tensors, the first {_described(inside[0])}"
        return f"of type {type(what).__name__}"
    return f"of shape {tuple(what.shape)} in {str(what.dtype).rpartition('.')[2]}"
