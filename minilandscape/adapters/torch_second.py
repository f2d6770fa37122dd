"""Products with the Hessian of a module's loss, exact: reverse over reverse, or forward over reverse."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.func import grad, jvp, vjp, vmap

from .torch_evaluate import Evaluation
from .torch_forward import Forward, differentiable_kernels
from .torch_workers import Workers

#: A product and one by differences, which step over kinks, agree within this part.
ROUGHLY = 0.3
#: Steps of such differences, as parts of the length of the point.
STEPS = (1e-2, 1e-3, 1e-4, 1e-5)
#: Vectors of a trial.
TRIED = 4
#: Statistics of batch normalisation by name.
Statistics = dict[str, torch.Tensor]


class HessianProducts:
    """Products of the Hessian of F(x) = Σ_b share_b ℓ_b(x, S(x)) with vectors; S(x) = Σ_b part_b s_b(x) or nothing.

    Parameters
    ----------
    loss
        ``loss(forward, x, statistics, inputs, targets) -> ℓ_b`` of the samples of a batch.
    workers
        Module and loss, for each thread.
    batches
        ``batches(n)`` yields ``(share, part, inputs, targets)`` for n vectors at a time.
    together
        Vectors at a time, under vmap.
    statistics
        ``statistics(x, inputs) -> s_b``; None where the loss has none.
    held
        (D,): 0 for coordinates that are held, 1 for others; None where none is.
    """

    def __init__(
        self,
        loss: Callable[[Forward, torch.Tensor, Statistics, Any, Any], torch.Tensor],
        workers: Workers,
        batches: Callable[[int], Iterator[tuple[float, float, Any, Any]]],
        together: int,
        statistics: Callable[[torch.Tensor, Any], Statistics] | None = None,
        held: torch.Tensor | None = None,
    ) -> None:
        self._loss_of, self._workers = loss, workers
        self._batches, self._together, self._of_batch = batches, together, statistics
        self._held = held
        self._ways = [*([] if statistics else [self._twice]), self._forward]

    def tried(self, x: torch.Tensor, inputs: Any, targets: Any) -> HessianProducts:
        """Itself, without the ways that fail at a point with a few samples, or give other products than they should.

        The Hessian is symmetric; an operation whose second derivative leaves something out makes products that are
        not. Of the ways that are left, two that agree stay. Else the one stays that is nearer to differences of
        gradients, unless it is not near to these at all. Functions with a backward pass of their own may give zeros
        for second derivatives without a word.
        """
        batches, self._batches = self._batches, lambda n: iter([(1.0, 1.0, inputs, targets)])
        V = torch.randn(TRIED, len(x), generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(x)
        V /= V.norm(dim=1, keepdim=True)
        found = []
        for way in self._ways:
            try:
                products = self._by(way, x, V).detach()
            except Exception:
                # Whatever PyTorch raises: it has no common kind of error for what has no rule.
                continue
            if _symmetric(V, products):
                found.append((way, products[0]))
        self._batches = batches
        alike = len(found) > 1 and _distance(found[0][1], found[1][1]) <= torch.finfo(x.dtype).eps ** 0.4
        if not alike:
            v = self._moving(V[:1])[0]
            off = [self._off(x, v, product, inputs, targets) for _, product in found]
            found = [found[k] for k in np.argsort(off)[:1] if off[k] <= ROUGHLY]
        self._ways = [way for way, _ in found]
        return self

    def _off(self, x: torch.Tensor, v: torch.Tensor, product: torch.Tensor, inputs: Any, targets: Any) -> float:
        """How far a product is from the nearest of several finite differences of gradients, relative to that."""
        size = float(x.norm()) or 1.0

        def slope(point: torch.Tensor) -> torch.Tensor:
            point = point.detach().requires_grad_()
            with torch.enable_grad():
                statistics = {} if self._of_batch is None else self._of_batch(point, inputs)
                return torch.autograd.grad(self._loss(point, statistics, inputs, targets), point)[0]

        found = []
        for step in STEPS:
            ahead, behind = slope(x + step * size * v), slope(x - step * size * v)
            difference = (ahead - behind) / (2 * step * size)
            # Of the longest step, or noise would pass for a product of zero.
            noise = 10 * torch.finfo(x.dtype).eps * float(ahead.norm()) / (STEPS[0] * size)
            apart = max(float((difference - product).norm()) - noise, 0.0)
            found.append(apart / (float(difference.norm()) or 1.0) if apart else 0.0)
        return min(found)

    @property
    def possible(self) -> bool:
        """Whether the module can be differentiated twice."""
        return bool(self._ways)

    def products(self, x: torch.Tensor, V: torch.Tensor) -> torch.Tensor:
        """(D,), (V, D) -> (V, D), in the first way that the module takes."""
        return self._by(self._ways[0], x, V)

    def _by(
        self, way: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], x: torch.Tensor, V: torch.Tensor
    ) -> torch.Tensor:
        """The products in one way, with no part along coordinates that are held."""
        return self._moving(way(x, self._moving(V)))

    def _moving(self, V: torch.Tensor) -> torch.Tensor:
        """Vectors without their components along coordinates that are held."""
        return V if self._held is None else V * self._held

    def _forward(self, x: torch.Tensor, V: torch.Tensor) -> torch.Tensor:
        """Forward over reverse, a few vectors together."""
        return torch.cat([self._along(x, part) for part in V.split(self._together)]) if len(V) else V

    def _along(self, x: torch.Tensor, V: torch.Tensor) -> torch.Tensor:
        if self._of_batch is not None:
            return self._through_statistics(x, V)
        total = torch.zeros_like(V)
        for share, _, inputs, targets in self._batches(len(V)):
            slope = grad(lambda x, i=inputs, t=targets: self._loss(x, {}, i, t))
            total += share * vmap(lambda v, slope=slope: jvp(slope, (x,), (v,))[1])(V).detach()
        return total

    def _through_statistics(self, x: torch.Tensor, V: torch.Tensor) -> torch.Tensor:
        """As the gradient: forward for S, then ∂ℓ/∂x and ∂ℓ/∂S, then back through s; each with its tangent."""
        assert self._of_batch is not None
        of_batch = self._of_batch
        S: Statistics = {}
        dS: Statistics = {}
        for _, part, inputs, _ in self._batches(1):

            def statistics(x: torch.Tensor, inputs: Any = inputs) -> Statistics:
                return of_batch(x, inputs)

            tangents = vmap(lambda v, s=statistics: jvp(s, (x,), (v,))[1])(V)
            for name, value in statistics(x).items():
                S[name] = S.get(name, 0) + part * value.detach()
                dS[name] = dS.get(name, 0) + part * tangents[name].detach()
        total, slopes = torch.zeros_like(V), {name: torch.zeros_like(s) for name, s in S.items()}
        dslopes: Statistics = {}
        for share, _, inputs, targets in self._batches(1):
            both = grad(lambda x, s, i=inputs, t=targets: self._loss(x, s, i, t), argnums=(0, 1))
            dx, ds = vmap(lambda v, d, both=both: jvp(both, (x, S), (v, d))[1])(V, dS)
            total += share * dx.detach()
            for name, value in both(x, S)[1].items():
                slopes[name] += share * value.detach()
                dslopes[name] = dslopes.get(name, 0) + share * ds[name].detach()
        for _, part, inputs, _ in self._batches(1):

            def back(x: torch.Tensor, slopes: Statistics, inputs: Any = inputs) -> torch.Tensor:
                found: torch.Tensor = vjp(lambda x: of_batch(x, inputs), x)[1](slopes)[0]
                return found

            total += part * vmap(lambda v, d, back=back: jvp(back, (x, slopes), (v, d))[1])(V, dslopes).detach()
        return total

    def _loss(self, x: torch.Tensor, statistics: Statistics, inputs: Any, targets: Any) -> torch.Tensor:
        """The loss of a batch, in the caller's thread."""
        return self._loss_of(self._workers.forward, x, statistics, inputs, targets)

    def _twice(self, x: torch.Tensor, V: torch.Tensor) -> torch.Tensor:
        """Reverse over reverse, vector by vector through one graph of the gradient; batches side by side."""
        shares: deque[float] = deque()

        def jobs() -> Iterator[Callable[[Forward], torch.Tensor]]:
            for share, _, inputs, targets in self._batches(1):
                shares.append(share)
                yield partial(self._of_one_batch, x=x, V=V, inputs=inputs, targets=targets)

        total = torch.zeros_like(V)
        for found in self._workers.run(jobs()):
            total.add_(found, alpha=shares.popleft())
        return total

    def _of_one_batch(
        self, forward: Forward, x: torch.Tensor, V: torch.Tensor, inputs: Any, targets: Any
    ) -> torch.Tensor:
        products = torch.zeros_like(V)
        with torch.enable_grad():
            point = x.detach().requires_grad_()
            value = self._loss_of(forward, point, {}, inputs, targets)
            (slope,) = torch.autograd.grad(value, point, create_graph=True)
            for k, v in enumerate(V):
                if slope.requires_grad:  # a loss that is linear has none
                    (found,) = torch.autograd.grad(slope, point, v, retain_graph=k + 1 < len(V), allow_unused=True)
                    if found is not None:
                        products[k] = found
        return products


def _symmetric(V: torch.Tensor, products: torch.Tensor) -> bool:
    """Whether products HV with unit vectors are those of a symmetric matrix, to the precision of their sums."""
    crossed = V @ products.T
    rounding = torch.finfo(V.dtype).eps ** 0.4 * float(products.norm()) / V.shape[1] ** 0.5
    return bool((crossed - crossed.T).abs().max() <= rounding)


def _distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """|a − b| as a part of |b|."""
    return float((a - b).norm()) / (float(b.norm()) or 1.0)


def _held(evaluation: Evaluation, x: torch.Tensor, inputs: Any, targets: Any) -> torch.Tensor | None:
    """(D,): 0 along rows of embeddings that PyTorch gives no gradient (``padding_idx``), 1 elsewhere; None without any.

    The row of a table that the module uses elsewhere too has a gradient, and moves.
    """
    forward, parts = evaluation.workers.forward, evaluation.coordinates.parts
    rows = {
        f"{name}.weight": module.padding_idx
        for name, module in forward.module.named_modules()
        if isinstance(module, (torch.nn.Embedding, torch.nn.EmbeddingBag)) and module.padding_idx is not None
    }
    if not rows:
        return None
    point = x.detach().requires_grad_()
    with torch.enable_grad():
        slope = torch.autograd.grad(forward.value(evaluation.state(point), inputs, targets), point)[0]
    moves = torch.ones_like(x)
    for name, part in parts(moves).items():
        if name in rows and not parts(slope)[name][rows[name]].any():
            part[rows[name]] = 0
    return moves


def hessian_of(evaluation: Evaluation, x: torch.Tensor, inputs: Any, targets: Any) -> HessianProducts:
    """The products of a landscape, tried at a point (D,) with a few samples."""
    recomputed = evaluation.recomputed
    statistics = None if recomputed is None else lambda x, inputs: recomputed.of_batch(evaluation.state(x), inputs)
    with differentiable_kernels(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PyTorch's own, of how it differentiates forward
        held = _held(evaluation, x, inputs, targets)
        found = HessianProducts(
            evaluation.one, evaluation.workers, evaluation.batches, evaluation.points, statistics, held
        )
        return found.tried(x, inputs, targets)
