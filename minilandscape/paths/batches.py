"""The first stage of a search between networks: Adam on mini-batches of images, at few random points of the path."""

from __future__ import annotations

from math import ceil, cos, pi, sqrt
from typing import Any

import numpy as np

from ..backend import array_module, to_device
from ..optimizers import Adam
from .problem import PathProblem, PathState

#: Number of iterations of the first round, each of the next having twice as many.
ITERATIONS = 480
#: Number of points of an iteration, and bounds of the images of a mini-batch, a hundredth of all of them.
POINTS, FEWEST, MOST = 6, 16, 64
#: From the second round on, number of these points next to the endpoints, their least and largest distance in t, and
#: their weight. L hardly depends on barriers as narrow as those next to deep endpoints.
BESIDE_ENDS, NEAREST, FARTHEST, WEIGHT = 2, 1e-4, 0.05, 3.0
#: Number of rounds after which one that costs more than a gradient of L follows only where a budget is given.
ROUNDS = 3
#: With fewer images a mini-batch is too large a part of them.
LEAST_IMAGES = 400
#: The learning rate at which the first round starts, in units of |end − start| / √D; each of the next starts at half.
RATE = 0.01
#: Decay rates of the moments of Adam.
BETAS = 0.9, 0.99
#: Another round follows one that lowers the largest possible decrease of L to less than this fraction; if it costs more
#: than a gradient of L, to less than the second.
LEFT, LEFT_IF_COSTLY = 0.8, 0.5


def has_batches(problem: PathProblem) -> bool:
    """Decide whether L is a sum of means over enough images, so that mini-batches estimate its gradient."""
    land = problem.landscape
    enough = getattr(land, "n_images", 0) >= LEAST_IMAGES and hasattr(land, "batch_values_and_gradients")
    return enough and problem.objective.linear


def round_cost(n_images: int, number: int) -> int:
    """Compute the cost of a round in gradients of one point over all images."""
    return ceil(2**number * ITERATIONS * POINTS * _batch_size(n_images) / n_images)


def may_follow(problem: PathProblem, number: int, state: PathState, before: float) -> bool:
    """Decide whether a round follows a state.

    Parameters
    ----------
    before
        The largest possible decrease of L before the last round; infinite before the first.
    """
    meter, cost, n_points = problem.meter, round_cost(problem.landscape.n_images, number), len(problem.curve.t)
    if meter.budget is not None and meter.spent + cost + n_points > meter.budget:
        return False
    costly = cost > n_points
    if costly and number >= ROUNDS and meter.budget is None:
        return False
    return problem.remaining(state) < (LEFT_IF_COSTLY if costly else LEFT) * before


def lowered_on_batches(problem: PathProblem, b: Any, number: int) -> Any:
    r"""Lower a path by a round of Adam on mini-batches; returns b (N, D).

    The variables are the scaled coefficients c_n of the path, such as n b_n. An iteration estimates the gradient of L
    from P points, each with its own mini-batch,

    .. math:: \frac{\partial L}{\partial c_n} \approx \frac{M}{P} \sum_p \varphi_n(t_p)\, \nabla f_p(\omega(t_p))
              + \lambda \frac{\partial}{\partial c_n} \sum_m |\omega(t_{m+1}) - \omega(t_m)|^2,

    at :math:`t_p = (p + u)/P` with a random :math:`0 \le u < 1`. So no barrier remains hidden between sample points,
    and the path is fitted to all images. From the second round on, two of the points are next to the endpoints instead,
    one at either, at a distance in t whose logarithm is uniform from log 1e-4 to log 0.05, with three times the weight.
    The learning rate falls to 0 as half a cosine. The random numbers are the same in every search.
    """
    land, curve, iterations = problem.landscape, problem.curve, 2**number * ITERATIONS
    rng, n_batch = np.random.default_rng(number), _batch_size(land.n_images)
    first = RATE / 2**number * problem.distance() / sqrt(land.size)
    scale = to_device(curve.scale(), land.device, land.dtype)[:, None]
    c, adam, xp = b * scale, Adam(betas=BETAS, relative=True), array_module(b)
    for k in range(iterations):
        t, weights = _drawn(rng, BESIDE_ENDS if number else 0)
        C = curve.at(t)
        images = np.stack([rng.choice(land.n_images, n_batch, replace=False) for _ in range(POINTS)])
        rows = xp.concatenate([problem.start[None], problem.end[None], b])
        _, gradients = land.batch_values_and_gradients(to_device(C, land.device, land.dtype) @ rows, images)
        pull = to_device(len(curve.t) * (weights[:, None] * C[:, 2:]).T, land.device, land.dtype)
        adam.lr = first * 0.5 * (1 + cos(pi * k / iterations))
        adam.update(c, (pull @ gradients + problem.penalty_pullback(b)) / scale)
        b = c / scale
    problem.meter.count(round_cost(problem.landscape.n_images, number), iterations)
    return b


def _drawn(rng: np.random.Generator, n_beside: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the points t (P,) of an iteration, so many of them next to the endpoints, and their weights (P,)."""
    n_evenly = POINTS - n_beside
    t = (np.arange(n_evenly) + rng.random()) / n_evenly
    away = FARTHEST * (NEAREST / FARTHEST) ** rng.random(n_beside)
    beside = np.where(np.arange(n_beside) < n_beside // 2, away, 1 - away)
    weights = np.concatenate([np.full(n_evenly, 1 / n_evenly), np.full(n_beside, WEIGHT / POINTS)])
    return np.concatenate([t, beside]), weights


def _batch_size(n_images: int) -> int:
    return int(np.clip(n_images // 100, FEWEST, MOST))
