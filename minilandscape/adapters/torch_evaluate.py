"""Values and gradients of a module's loss over all batches, point by point or a few points together."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from torch.func import grad_and_value, vmap

from ..landscape import LandscapeError, describe_point
from .torch_buffers import Interpolated, Recomputed
from .torch_coordinates import Coordinates
from .torch_data import Batch, Batches
from .torch_forward import Forward, differentiable_kernels
from .torch_workers import Workers

T = TypeVar("T")
#: Of some points: values (k,), and gradients (k, D) if these are asked for.
Found = tuple[np.ndarray, np.ndarray | None]
#: Batch-normalisation statistics and other buffers that depend on the point, by name.
Buffers = dict[str, torch.Tensor]


@dataclass
class Evaluation:
    """The loss over batches as a function of points.

    Attributes
    ----------
    coordinates
        The parameters.
    workers
        Module and loss, for each thread.
    batches
        ``batches(k)`` yields ``(share, part, inputs, targets)`` for k points at a time.
    points
        Points at a time under vmap.
    ordered
        Whether images and kernels are ordered by pixel.
    recomputed, interpolated
        Where buffers that depend on the point come from.
    one_by_one
        Whether values (False) and gradients (True) are computed point by point, since vmap cannot take the module.
    """

    coordinates: Coordinates
    workers: Workers
    batches: Batches
    points: int
    ordered: bool
    recomputed: Recomputed | None = None
    interpolated: Interpolated | None = None
    one_by_one: set[bool] = field(default_factory=set)

    def each(self, points: np.ndarray, gradient: bool) -> Iterator[Found]:
        """Evaluate points (P, D), a few at a time, in their order.

        Raises
        ------
        LandscapeError
            If module or loss raise; it names the point.
        """
        start = 0
        while start < len(points):
            together = self.points > 1 and gradient not in self.one_by_one
            step = self.points if together else 1
            groups = (points[a : a + step] for a in range(start, len(points), step))
            work = ((group, self.batches(len(group))) for group in groups)
            try:
                for values, slopes in self._stream(work, gradient, together):
                    yield values, slopes
                    start += len(values)
            except Exception as error:
                # Whatever PyTorch raises: it has no common kind of error for what vmap does not know.
                failure = error
            else:
                return
            if not together:
                raise _raised(failure, points[start]) from failure
            yield from self._first_alone(points[start:], gradient, failure)
            start += 1

    def _first_alone(self, points: np.ndarray, gradient: bool, failure: Exception) -> Iterator[Found]:
        """The first of some points by itself; if that succeeds, vmap cannot take the module, and it stays so."""
        first = not self.one_by_one
        self.one_by_one.add(gradient)
        try:
            found = next(self.each(points[:1], gradient))
        except LandscapeError:
            self.one_by_one.discard(gradient)
            raise
        if first:
            warnings.warn(
                f"torch.func.vmap cannot take the {'gradients' if gradient else 'values'} of this module and loss "
                f"({_line(failure)}); they are computed point by point from here on, as with points=1",
                stacklevel=5,
            )
        yield found

    def over_few_together(self, points: np.ndarray, inputs: Any, targets: Any) -> Found:
        """Evaluate points (P, D) together by vmap with gradients, each over samples of its own (P, B, …)."""
        forward = self.workers.forward

        def one(x: torch.Tensor, some: Any, wanted: Any) -> torch.Tensor:
            return self.one(forward, x, {}, some, wanted)

        in_dims = 0, 0, None if targets is None else 0
        with differentiable_kernels(), torch.enable_grad():
            slopes, values = vmap(grad_and_value(one), in_dims)(self.coordinates.tensor(points), inputs, targets)
        return values.detach().double().cpu().numpy(), slopes.detach().cpu().numpy()

    def over_few(self, points: np.ndarray, few: Sequence[Iterable[Batch]]) -> Iterator[Found]:
        """Evaluate points (P, D) one by one with gradients, each over batches of its own.

        Raises
        ------
        LandscapeError
            If module or loss raise; it names the point.
        """
        start = 0
        try:
            for found in self._stream(zip(points[:, None], few, strict=True), True, False):
                yield found
                start += 1
        except Exception as error:
            raise _raised(error, points[start]) from error

    def _stream(
        self, work: Iterable[tuple[np.ndarray, Iterable[Batch]]], gradient: bool, together: bool
    ) -> Iterator[Found]:
        """Values and gradients of groups of points, whose batches are jobs of the workers."""
        kind = _Together if together else _Alone
        at_work: deque[tuple[Any, float, bool]] = deque()

        def jobs() -> Iterator[Callable[[Forward], Any]]:
            for group, batches in work:
                sums = kind(self, self.coordinates.tensor(group), gradient)
                for last, (share, _, inputs, targets) in _with_last(batches):
                    at_work.append((sums, share, last))
                    yield sums.job(inputs, targets)

        with differentiable_kernels(often=together):
            for parts in self.workers.run(jobs()):
                sums, share, last = at_work.popleft()
                sums.add(share, parts)
                if last:
                    yield sums.found()

    def state(self, flat: torch.Tensor) -> Buffers:
        """Parameters and interpolated buffers at a point (D,), as functions of it."""
        between = self.interpolated.at(flat) if self.interpolated else {}
        return {**self.coordinates.parts(flat), **between}

    def one(
        self, forward: Forward, flat: torch.Tensor, statistics: Mapping[str, torch.Tensor], inputs: Any, targets: Any
    ) -> torch.Tensor:
        """The loss of some samples at a point (D,), as a function of it and of batch-normalisation statistics."""
        return forward.value({**self.state(flat), **statistics}, inputs, targets)

    def buffers_at(self, x: torch.Tensor) -> Buffers:
        """The buffers that are not the module's, at a point (D,) and without a gradient."""
        with torch.no_grad():
            if self.recomputed:
                return self._averaged(x)
            return self.interpolated.at(x) if self.interpolated else {}

    @property
    def moving(self) -> Sequence[str]:
        """The names of the buffers that depend on the point."""
        source = self.recomputed or self.interpolated
        return source.names if source else ()

    def _averaged(self, x: torch.Tensor) -> Buffers:
        """The statistics of batch normalisation from all samples."""
        assert self.recomputed is not None
        total: Buffers = {}
        for _, part, inputs, _ in self.batches(1):
            for name, found in self.recomputed.of_batch(self.coordinates.parts(x), inputs).items():
                total[name] = total.get(name, torch.zeros_like(found)) + part * found
        return total

    def through_buffers(self, x: torch.Tensor, slopes: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The gradient (D,) of what depends on a point through its buffers, from the gradients by these."""

        def along(found: Mapping[str, torch.Tensor]) -> torch.Tensor:
            return torch.stack([torch.real(found[name] * slope.conj()).sum() for name, slope in slopes.items()]).sum()

        x, total = x.detach().requires_grad_(), torch.zeros_like(x)
        with torch.enable_grad():
            if self.interpolated:
                value = along(self.interpolated.at(x))
                return torch.autograd.grad(value, x)[0] if value.requires_grad else total
            assert self.recomputed is not None
            for _, part, inputs, _ in self.batches(1):
                found = self.recomputed.of_batch(self.coordinates.parts(x), inputs)
                total += part * torch.autograd.grad(along(found), x)[0]
        return total


class _Alone:
    """The sums over batches at one point (1, D), by what every module takes."""

    def __init__(self, evaluation: Evaluation, flat: torch.Tensor, gradient: bool) -> None:
        self.evaluation, self.x, self.gradient = evaluation, flat[0], gradient
        self.fixed = evaluation.buffers_at(self.x)
        moving = {n: self.fixed.pop(n) for n in evaluation.moving if n in self.fixed}
        self.buffers = {n: b.detach().requires_grad_(gradient) for n, b in moving.items()}
        leaves = evaluation.coordinates.leaves(self.x, gradient, evaluation.ordered)
        self.state = {**leaves, **self.buffers}
        self.value = torch.zeros((), dtype=torch.float64, device=flat.device)
        self.slope = torch.zeros_like(self.x)
        into = {**evaluation.coordinates.parts(self.slope), **{n: torch.zeros_like(b) for n, b in self.buffers.items()}}
        self.slopes = into

    def job(self, inputs: Any, targets: Any) -> Callable[[Forward], Any]:
        """A batch's loss, and its gradients by parameters and buffers."""

        def evaluate(forward: Forward) -> tuple[torch.Tensor, Iterable[torch.Tensor | None]]:
            with torch.set_grad_enabled(self.gradient):
                value = forward.value({**self.state, **self.fixed}, inputs, targets)
                wanted = list(self.state.values()) if self.gradient else []
                return value.detach(), torch.autograd.grad(value, wanted, allow_unused=True) if wanted else ()

        return evaluate

    def add(self, share: float, parts: Any) -> None:
        """Add a batch's, by its share of the whole."""
        self.value += share * parts[0]
        for into, slope in zip(self.slopes.values(), parts[1], strict=False):
            if slope is not None:
                into.add_(slope, alpha=share)

    def found(self) -> Found:
        """The sums."""
        if not self.gradient:
            return self.value[None].cpu().numpy(), None
        if self.buffers:
            slopes = {name: self.slopes[name] for name in self.buffers}
            self.slope += self.evaluation.through_buffers(self.x, slopes)
        return self.value[None].cpu().numpy(), self.slope[None].cpu().numpy()


class _Together:
    """The sums over batches at a few points (P, D), by vmap."""

    def __init__(self, evaluation: Evaluation, flat: torch.Tensor, gradient: bool) -> None:
        self.evaluation, self.flat, self.gradient = evaluation, flat, gradient
        self.values = torch.zeros(len(flat), dtype=torch.float64, device=flat.device)
        self.slopes = torch.zeros_like(flat) if gradient else None

    def job(self, inputs: Any, targets: Any) -> Callable[[Forward], Any]:
        """The losses of a batch at all points, and their gradients."""

        def evaluate(forward: Forward) -> tuple[torch.Tensor | None, torch.Tensor]:
            def one(x: torch.Tensor) -> torch.Tensor:
                return self.evaluation.one(forward, x, {}, inputs, targets)

            with torch.set_grad_enabled(self.gradient):
                if not self.gradient:
                    return None, vmap(one)(self.flat)
                slopes, values = vmap(grad_and_value(one))(self.flat)
                return slopes.detach(), values.detach()

        return evaluate

    def add(self, share: float, parts: Any) -> None:
        """Add a batch's, by its share of the whole."""
        self.values += share * parts[1]
        if self.slopes is not None:
            self.slopes.add_(parts[0], alpha=share)

    def found(self) -> Found:
        """The sums."""
        return self.values.cpu().numpy(), None if self.slopes is None else self.slopes.cpu().numpy()


def _raised(error: Exception, point: np.ndarray) -> LandscapeError:
    """The error that names the point at which module or loss raised another."""
    return LandscapeError(
        f"the module or the loss raised {type(error).__name__} at {describe_point(point)}: {error}", point
    )


def _with_last(batches: Iterable[T]) -> Iterator[tuple[bool, T]]:
    """Each batch, and whether it is the last."""
    batches = iter(batches)
    for batch in batches:
        for following in batches:
            yield False, batch
            batch = following
        yield True, batch


def _line(error: Exception) -> str:
    """The first line of an error."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
