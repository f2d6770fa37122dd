"""The first stage of a search between networks: Adam on mini-batches of samples, at few random points of the path."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from math import ceil, cos, pi, sqrt
from typing import Any

import numpy as np

from ..backend import array_module, to_device, to_host
from ..optimizers import Adam
from .problem import PathProblem, PathState

#: Largest and least number of iterations of the first round; number of the next, each further one having twice as many.
FIRST_ITERATIONS, LEAST_ITERATIONS, ITERATIONS = 660, 60, 960
#: Number of points of an iteration, and bounds of the samples of a mini-batch, a hundredth of all of them.
POINTS, FEWEST, MOST = 6, 8, 64
#: In the first round: sections of the path in which values are estimated, part of the points that are drawn where these
#: are high, and weight of a new value in a section's estimate.
SECTIONS, FOCUS, NEW = 24, 0.8, 0.1
#: Fractions of the straight line's barrier: the learning rate of the first round falls once the mean of the estimates
#: is less than the one, and the round ends when their maximum is less than the other. Least part of the learning rate.
FALLS, ENDS, LEAST_RATE = 0.02, 0.004, 0.02
#: From the second round on, number of the points next to the endpoints, their least and largest distance in t, and
#: their weight. L hardly depends on barriers as narrow as those next to deep endpoints.
BESIDE_ENDS, NEAREST, FARTHEST, WEIGHT = 2, 1e-4, 0.05, 3.0
#: Weight of a new path in the mean of the last ones.
IN_MEAN = 0.03
#: Number of rounds after which one that costs more than a gradient of L follows only where a budget is given, without a
#: target barrier and with one.
ROUNDS, ROUNDS_TO_TARGET = 3, 6
#: With fewer samples a mini-batch is too large a part of them.
LEAST_SAMPLES = 400
#: Seconds of an iteration for each coordinate, besides the gradients: the updates of ten coefficients.
UPDATE = 1.4e-7
#: Mini-batches save time where a gradient over all samples takes so many times as long as an iteration, as estimated.
#: Measured: below it searches took 1.3 to 8 times as long with them, above it 0.5 to 0.85 times.
WORTHWHILE = 3.0
#: The learning rate at which the first round starts, in units of |end − start| / √D; each of the next starts at half.
RATE = 0.014
#: Power of the scale of the coefficients. At 1 all harmonics change the slope next to the endpoints alike, and their
#: noise adds up there.
POWER = 2
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
    if getattr(landscape, "batch_times", None) is None:
        return True
    return iterations_per_gradient(landscape) >= WORTHWHILE


def iterations_per_gradient(landscape: Any) -> float:
    """Estimate how many iterations take as long as a gradient over all samples, from the ``batch_times``."""
    sample, call = landscape.batch_times
    iteration = call + UPDATE * landscape.size + POINTS * _batch_size(landscape.n_samples) * sample
    return float(landscape.n_samples * sample / iteration)


def rounds(
    problem: PathProblem,
    state: PathState,
    values_of: Callable[[Any], np.ndarray],
    left: Callable[[PathState], float],
    to_target: bool = False,
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
    to_target
        Whether rounds follow until the budget is spent instead, or six of them without a budget, also one that does not
        lower L, whose path is left out.
    """
    before = np.inf if state.memory is None else state.memory.before
    while _may_follow(problem, state.step, before, left(state), to_target):  # a round is a step
        b = lowered_on_batches(problem, state.coefficients, state.height, state.step)
        values = values_of(b)
        lower = np.isfinite(values).all() and problem.terms(values, b).value < state.objective
        if not (lower or to_target):
            break
        if not lower:
            b, values = state.coefficients, state.values
        before, step = left(state), state.step + 1
        state = problem.state(step, b, values, memory=RoundMemory(step, before))
        yield state
    return state


def round_cost(n_samples: int, number: int) -> int:
    """Compute the largest cost of a round in gradients of one point over all samples."""
    return _cost(n_samples, _most(number))


def _most(number: int) -> int:
    return 2 ** (number - 1) * ITERATIONS if number else FIRST_ITERATIONS


def _cost(n_samples: int, iterations: int) -> int:
    return ceil(iterations * POINTS * _batch_size(n_samples) / n_samples)


def _may_follow(problem: PathProblem, number: int, before: float, left: float, to_target: bool) -> bool:
    """Decide whether a round follows, where so much was left before the last one (inf before the first) and is now."""
    meter, cost, n_points = problem.meter, round_cost(problem.landscape.n_samples, number), len(problem.curve.t)
    if meter.budget is not None and meter.spent + cost + n_points > meter.budget:
        return False
    costly = cost > n_points
    if costly and number >= (ROUNDS_TO_TARGET if to_target else ROUNDS) and meter.budget is None:
        return False
    return to_target or left < (LEFT_IF_COSTLY if costly else LEFT) * before


def lowered_on_batches(problem: PathProblem, b: Any, height: float, number: int) -> Any:
    r"""Lower a path of this height by a round of Adam on mini-batches; returns b (N, D).

    The variables are the scaled coefficients c_n of the path, such as n² b_n. An iteration takes P points, each with
    its own mini-batch, and the gradient

    .. math:: M \sum_p w_p \varphi_n(t_p)\, \nabla f_p(\omega(t_p))
              + \lambda \frac{\partial}{\partial c_n} \sum_m |\omega(t_{m+1}) - \omega(t_m)|^2 .

    Points are random, so that no barrier remains hidden between sample points; all samples are drawn once before any is
    drawn again. The result is a running mean of the paths. The random numbers are the same in every search.
    """
    land, curve = problem.landscape, problem.curve
    rng, n_batch = np.random.default_rng(number), _batch_size(land.n_samples)
    samples = _drawn_samples(rng, land.n_samples, n_batch)
    course = _LaterRound(_most(number)) if number else _FirstRound(height, float(problem.ends.max()))
    first = RATE / 2**number * problem.distance() / sqrt(land.size)
    adam, xp, scale = Adam(betas=BETAS, relative=True), array_module(b), curve.scale() ** POWER
    penalty = _penalty(problem, scale)
    factors = to_device(scale, land.device, land.dtype)[:, None]
    # The gradients of an iteration, and the rows that the penalty and the points are linear combinations of.
    stack = xp.concatenate(
        [
            xp.zeros_like(b, shape=(POINTS, land.size)),
            problem.displacement[None],
            b * factors,
            problem.start[None],
            problem.end[None],
        ]
    )
    gradients, of_points, of_gradient = stack[:POINTS], stack[POINTS + 1 :], stack[:-2]
    c = of_points[:-2]
    mean, done = c.copy(), 0
    while not course.is_over(done):
        t, weights = course.drawn(rng)
        C = curve.at(t)
        at = C[:, 2:] / scale
        points = to_device(np.hstack([at, C[:, :2]]), land.device, land.dtype) @ of_points
        found, gradients[...] = land.batch_values_and_gradients(points, next(samples))
        values, done = to_host(found), done + 1
        if not np.isfinite(values).all():
            break
        adam.lr = first * course.rate(values, done)
        pull = np.hstack([len(curve.t) * (weights[:, None] * at).T, penalty])
        adam.update(c, to_device(pull, land.device, land.dtype) @ of_gradient)
        mean += max(IN_MEAN, 1 / done) * (c - mean)
    problem.meter.count(_cost(land.n_samples, done), done)
    return mean / factors


class _FirstRound:
    """Lowers the path where it is high, as estimated by a running mean of values in each of its sections.

    Sections are equal in u, with t = (1 − cos πu) / 2; at first all estimates are the height of the straight line. The
    learning rate falls with the mean of the estimates above the higher endpoint, and the round ends when their maximum
    is low.
    """

    def __init__(self, height: float, higher: float) -> None:
        self._estimates, self._visits = np.full(SECTIONS, height - higher), np.zeros(SECTIONS)
        self._higher, self._barrier = higher, max(height - higher, 0.0)
        self._sections = np.zeros(POINTS, int)

    def is_over(self, done: int) -> bool:
        """Decide whether the round ends after so many iterations."""
        low = done >= LEAST_ITERATIONS and self._above().max() < ENDS * self._barrier
        return low or done >= FIRST_ITERATIONS

    def drawn(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw the points t (P,) of an iteration, and their weights (P,)."""
        above = self._above()
        total = above.sum()
        density = (1 - FOCUS) / SECTIONS + FOCUS * above / total if total else np.full(SECTIONS, 1 / SECTIONS)
        until = np.append(0.0, np.cumsum(density))
        u = np.interp((np.arange(POINTS) + rng.random()) / POINTS, until / until[-1], np.linspace(0, 1, SECTIONS + 1))
        self._sections = np.minimum((u * SECTIONS).astype(int), SECTIONS - 1)
        return (1 - np.cos(pi * u)) / 2, np.full(POINTS, 1 / POINTS)

    def rate(self, values: np.ndarray, done: int) -> float:
        """Take the values (P,) at the points into the estimates, and return the part of the learning rate."""
        for section, value in zip(self._sections, values - self._higher, strict=True):
            self._visits[section] += 1
            self._estimates[section] += max(NEW, 1 / self._visits[section]) * (value - self._estimates[section])
        falls = FALLS * self._barrier
        return min(1.0, max(LEAST_RATE, sqrt(self._above().mean() / falls))) if falls else 1.0

    def _above(self) -> np.ndarray:
        return np.maximum(self._estimates, 0.0)


class _LaterRound:
    """Lowers the path evenly and next to its endpoints, at a learning rate that falls to 0 as half a cosine.

    Two of the points are next to the endpoints, one at either, at a distance in t whose logarithm is uniform from
    log 1e-4 to log 0.05, with three times the weight. The others are at (p + u)/(P - 2) with a random 0 ≤ u < 1.
    """

    def __init__(self, iterations: int) -> None:
        self._iterations = iterations

    def is_over(self, done: int) -> bool:
        """Decide whether the round ends after so many iterations."""
        return done >= self._iterations

    def drawn(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw the points t (P,) of an iteration, and their weights (P,)."""
        n_evenly = POINTS - BESIDE_ENDS
        t = (np.arange(n_evenly) + rng.random()) / n_evenly
        away = FARTHEST * (NEAREST / FARTHEST) ** rng.random(BESIDE_ENDS)
        beside = np.where(np.arange(BESIDE_ENDS) < BESIDE_ENDS // 2, away, 1 - away)
        weights = np.concatenate([np.full(n_evenly, 1 / n_evenly), np.full(BESIDE_ENDS, WEIGHT / POINTS)])
        return np.concatenate([t, beside]), weights

    def rate(self, values: np.ndarray, done: int) -> float:
        """Return the part of the learning rate in an iteration."""
        return 0.5 * (1 + cos(pi * done / self._iterations))


def _drawn_samples(rng: np.random.Generator, n: int, n_batch: int) -> Iterator[np.ndarray]:
    """Yield the samples (P, B) of every iteration: all once, in random order, before any comes again."""
    rest = rng.permutation(n)
    while True:
        if len(rest) < POINTS * n_batch:
            rest = np.concatenate([rest, rng.permutation(n)])
        yield rest[: POINTS * n_batch].reshape(n_batch, POINTS).T
        rest = rest[POINTS * n_batch :]


def _penalty(problem: PathProblem, scale: np.ndarray) -> np.ndarray:
    """Return the matrix (N, 1 + N) that makes the derivatives of λ Σ |Δω|² by c of the rows (end − start, c)."""
    d = problem.curve.dC / np.append(1.0, scale)
    return 2 * (problem.objective.lam or 0.0) * d[:, 1:].T @ d


def _batch_size(n_samples: int) -> int:
    return int(np.clip(n_samples // 100, FEWEST, MOST))
