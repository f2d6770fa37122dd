"""How a module is evaluated in the least time: points and samples together, the order of pixels, a quick module."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from .torch_coordinates import Coordinates
from .torch_data import Samples, mapped
from .torch_forward import Forward
from .torch_speed import at_a_time, bytes_kept, channels_last, together
from .torch_trial import TRIED
from .torch_workers import LONG, can_share_cores

#: Samples on which quicker ways are compared with the module itself.
FEW = 4


@dataclass(frozen=True)
class Plan:
    """How a module is evaluated.

    Attributes
    ----------
    forward
        The module and the loss.
    samples
        The samples, their pixels in the order that is quick.
    ordered
        Whether that is with the channels of a pixel side by side.
    points
        Points at a time under vmap.
    divide
        Into how many parts a batch of one point is divided for several.
    micro
        Samples at a time of one point.
    workers
        Threads.
    """

    forward: Forward
    samples: Samples
    ordered: bool
    points: int
    divide: int
    micro: int
    workers: int


def planned(
    coordinates: Coordinates,
    forward: Forward,
    samples: Samples,
    x: torch.Tensor,
    batch: int,
    points: int | None,
    recomputed: bool,
) -> Plan:
    """Choose how to evaluate a module.

    Parameters
    ----------
    x
        (D,): a point at which ways are compared.
    batch, points
        As :class:`~minilandscape.adapters.torch.TorchLandscape` takes them.
    recomputed
        Whether statistics are recomputed, to whose definition ``batch`` belongs.
    """
    n, device = min(samples.n, TRIED), x.device

    def kept_by(forward: Forward, samples: Samples, ordered: bool) -> float:
        state = coordinates.leaves(x, True, ordered)
        return bytes_kept(lambda: forward.value(state, *samples.rows(slice(0, n))), n)

    kept = kept_by(forward, samples, False)
    if recomputed:
        points = 1
    automatic = points is None
    points = together(kept, min(samples.n, batch), device) if points is None else points
    forward, samples, ordered = _quickest(coordinates, forward, samples, x, points == 1)
    if forward.quick is not None or ordered:
        kept = kept_by(forward, samples, ordered)
    workers = 1
    if device.type == "cpu" and can_share_cores() and kept * min(samples.n, batch) * points >= LONG:
        workers = torch.get_num_threads()
    plan = Plan(forward, samples, ordered, points, 1, batch, workers)
    if recomputed or (automatic and points > 1):
        return plan
    if not automatic:
        return replace(plan, divide=points, micro=max(1, batch // points))
    most = max(1, min(batch, samples.n) // workers)
    return replace(plan, micro=min(most, at_a_time(kept, batch, device)))


def _quickest(
    coordinates: Coordinates, forward: Forward, samples: Samples, x: torch.Tensor, alone: bool
) -> tuple[Forward, Samples, bool]:
    """The quickest of the ways that give the same loss and gradient as the module itself."""
    plain = _tried(coordinates, forward, samples, x, False)
    # Grouped convolutions in this order have destroyed memory on CPUs without AVX-512 (PyTorch 2.13, oneDNN).
    groups = {layer.groups for layer in forward.module.modules() if isinstance(layer, torch.nn.Conv2d)}
    by_pixel = alone and x.device.type == "cpu" and groups == {1}
    quick = forward.with_quick()
    for other in (quick, forward):
        for ordered in (True, False) if by_pixel else (False,):
            if other is forward and not ordered:
                continue
            given = replace(samples, inputs=mapped(channels_last, samples.inputs)) if ordered else samples
            found = _tried(coordinates, other, given, x, ordered)
            if plain is not None and found is not None and _same(plain, found):
                return other, given, ordered
    return forward, samples, False


def _tried(
    coordinates: Coordinates, forward: Forward, samples: Samples, x: torch.Tensor, ordered: bool
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """The loss of a few samples, and its gradient (D,); None where the module cannot be evaluated so."""
    state = coordinates.leaves(x, True, ordered)
    try:
        with torch.enable_grad():
            value = forward.value(state, *samples.rows(slice(0, FEW)))
        slopes = torch.autograd.grad(value, list(state.values()), allow_unused=True)
    except Exception:  # such as of view(), which takes the usual order alone
        return None
    found = [torch.zeros_like(p) if g is None else g for p, g in zip(state.values(), slopes, strict=True)]
    return value.detach(), torch.cat([g.reshape(-1) for g in found])


def _same(a: tuple[torch.Tensor, torch.Tensor], b: tuple[torch.Tensor, torch.Tensor]) -> bool:
    """Whether losses and gradients agree to half of the digits."""
    part = torch.finfo(a[0].dtype).eps ** 0.5
    return bool((a[0] - b[0]).abs() <= part * a[0].abs() and (a[1] - b[1]).norm() <= part * a[1].norm())
