"""The first stage of a search between networks: Adam on mini-batches of samples, at few random points of the path."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from math import ceil, cos, pi, sqrt
from typing import Any

import numpy as np

from ..backend import array_module, to_device
from ..optimizers import Adam
from .problem import PathProblem, PathState

#: Number of iterations of the first round, each of the next having twice as many.
ITERATIONS = 480
#: Number of points of an iteration, and bounds of the samples of a mini-batch, a hundredth of all of them.
POINTS, FEWEST, MOST = 6, 8, 64
#: From the second round on, number of these points next to the endpoints, their least and largest distance in t, and
#: their weight. L hardly depends on barriers as narrow as those next to deep endpoints.
BESIDE_ENDS, NEAREST, FARTHEST, WEIGHT = 2, 1e-4, 0.05, 3.0
#: Number of rounds after which one that costs more than a gradient of L follows only where a budget is given.
ROUNDS = 3
#: With fewer samples a mini-batch is too large a part of them.
LEAST_SAMPLES = 400
#: Seconds of an iteration for each coordinate, besides the gradients: the updates of ten coefficients.
UPDATE = 1.4e-7
#: Mini-batches save time where a gradient over all samples takes so many times as long as an iteration, as estimated.
#: Measured: below 3.2 searches took two to three times as long with them, up to 4 between 0.4 and 1.4 times as long.
WORTHWHILE = 3.2
#: The learning rate at which the first round starts, in units of |end − start| / √D; each of the next starts at half.
RATE = 0.01
#: Decay rates of the moments of Adam.
BETAS = 0.9, 0.95
#: Another round follows one that leaves less than this fraction of what was left to lower; if it costs more than a
#: gradient of L, less than the second.
LEFT, LEFT_IF_COSTLY = 0.8, 0.5


@dataclass(frozen=True)
class RoundMemory:
    """The state of a search after a round on mini-batches: number of steps, and what was left to lower before it."""

    done: int
    before: float


def has_batches(landscape: Any) -> bool:
    """Decide whether the value is a mean over so many samples that mini-batches estimate its gradient in less time."""
    n = getattr(landscape, "n_samples", 0)
    if n < LEAST_SAMPLES or getattr(landscape, "batch_values_and_gradients", None) is None:
        return False
    times = getattr(landscape, "batch_times", None)
    if times is None:
        return True
    sample, call = times
    iteration = call + UPDATE * landscape.size + POINTS * _batch_size(n) * sample
    return bool(n * sample >= WORTHWHILE * iteration)


def rounds(
    problem: PathProblem,
    state: PathState,
    values_of: Callable[[Any], np.ndarray],
    left: Callable[[PathState], float],
) -> Generator[PathState, None, PathState]:
    """Yield the path after every round on mini-batches; returns the last one, which has the lowest L.

    Parameters
    ----------
    problem
        Whose objective is the sum of the values.
    state
        The path from which rounds start; with a memory, one after a round.
    values_of
        The values (M,) along the path b; infinite where the landscape cannot be evaluated.
    left
        What is left to lower in a state: another round follows one that lowered it by enough.
    """
    before = np.inf if state.memory is None else state.memory.before
    while _may_follow(problem, state.step, left(state), before):  # a round is a step
        b = lowered_on_batches(problem, state.coefficients, state.step)
        values = values_of(b)
        if not np.isfinite(values).all() or problem.terms(values, b).value >= state.objective:
            break
        before, step = left(state), state.step + 1
        state = problem.state(step, b, values, memory=RoundMemory(step, before))
        yield state
    return state


def round_cost(n_samples: int, number: int) -> int:
    """Compute the cost of a round in gradients of one point over all samples."""
    return ceil(2**number * ITERATIONS * POINTS * _batch_size(n_samples) / n_samples)


def _may_follow(problem: PathProblem, number: int, left: float, before: float) -> bool:
    """Decide whether a round follows, where so much is left and was before the last one; infinite before the first."""
    meter, cost, n_points = problem.meter, round_cost(problem.landscape.n_samples, number), len(problem.curve.t)
    if meter.budget is not None and meter.spent + cost + n_points > meter.budget:
        return False
    costly = cost > n_points
    if costly and number >= ROUNDS and meter.budget is None:
        return False
    return left < (LEFT_IF_COSTLY if costly else LEFT) * before


def lowered_on_batches(problem: PathProblem, b: Any, number: int) -> Any:
    r"""Lower a path by a round of Adam on mini-batches; returns b (N, D).

    The variables are the scaled coefficients c_n of the path, such as n b_n. An iteration estimates the gradient of L
    from P points, each with its own mini-batch,

    .. math:: \frac{\partial L}{\partial c_n} \approx \frac{M}{P} \sum_p \varphi_n(t_p)\, \nabla f_p(\omega(t_p))
              + \lambda \frac{\partial}{\partial c_n} \sum_m |\omega(t_{m+1}) - \omega(t_m)|^2,

    at :math:`t_p = (p + u)/P` with a random :math:`0 \le u < 1`. So no barrier remains hidden between sample points,
    and the path is fitted to all samples. From the second round on, two of the points are next to the endpoints
    instead, one at either, at a distance in t whose logarithm is uniform from log 1e-4 to log 0.05, with three times
    the weight. The learning rate falls to 0 as half a cosine. The random numbers are the same in every search.
    """
    land, curve, iterations = problem.landscape, problem.curve, 2**number * ITERATIONS
    rng, n_batch = np.random.default_rng(number), _batch_size(land.n_samples)
    first = RATE / 2**number * problem.distance() / sqrt(land.size)
    adam, xp, scale = Adam(betas=BETAS, relative=True), array_module(b), curve.scale()
    penalty = _penalty(problem, scale)
    factors = to_device(scale, land.device, land.dtype)[:, None]
    # The gradients of an iteration, and the rows that the penalty and the points are linear combinations of.
    ends = [problem.start[None], problem.end[None]]
    stack = xp.concatenate(
        [xp.zeros_like(b, shape=(POINTS, land.size)), problem.displacement[None], b * factors, *ends]
    )
    gradients, of_points, of_gradient = stack[:POINTS], stack[POINTS + 1 :], stack[:-2]
    c = of_points[:-2]
    for k in range(iterations):
        t, weights = _drawn(rng, BESIDE_ENDS if number else 0)
        C = curve.at(t)
        at = C[:, 2:] / scale
        samples = np.stack([rng.choice(land.n_samples, n_batch, replace=False) for _ in range(POINTS)])
        points = to_device(np.hstack([at, C[:, :2]]), land.device, land.dtype) @ of_points
        gradients[...] = land.batch_values_and_gradients(points, samples)[1]
        pull = np.hstack([len(curve.t) * (weights[:, None] * at).T, penalty])
        adam.lr = first * 0.5 * (1 + cos(pi * k / iterations))
        adam.update(c, to_device(pull, land.device, land.dtype) @ of_gradient)
    problem.meter.count(round_cost(problem.landscape.n_samples, number), iterations)
    return c / factors


def _penalty(problem: PathProblem, scale: np.ndarray) -> np.ndarray:
    """Return the matrix (N, 1 + N) that makes the derivatives of λ Σ |Δω|² by c of the rows (end − start, c)."""
    d = problem.curve.dC / np.append(1.0, scale)
    return 2 * (problem.objective.lam or 0.0) * d[:, 1:].T @ d


def _drawn(rng: np.random.Generator, n_beside: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the points t (P,) of an iteration, so many of them next to the endpoints, and their weights (P,)."""
    n_evenly = POINTS - n_beside
    t = (np.arange(n_evenly) + rng.random()) / n_evenly
    away = FARTHEST * (NEAREST / FARTHEST) ** rng.random(n_beside)
    beside = np.where(np.arange(n_beside) < n_beside // 2, away, 1 - away)
    weights = np.concatenate([np.full(n_evenly, 1 / n_evenly), np.full(n_beside, WEIGHT / POINTS)])
    return np.concatenate([t, beside]), weights


def _batch_size(n_samples: int) -> int:
    return int(np.clip(n_samples // 100, FEWEST, MOST))
