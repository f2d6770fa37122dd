"""The nudged elastic band with improved tangents, a climbing image, and insertion of images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..backend import norm, to_device, to_host
from ..landscape import Evaluations, LandscapeError
from ..optimizers import two_loop
from .curve import Curve
from .endings import Ending
from .meter import placing, refuse_not_finite
from .objectives import median_above
from .problem import PathProblem, PathState

#: Largest displacement of an image in one step, relative to the distance between neighbours.
LONGEST_MOVE = 0.3
#: Spring constant in units of (scale of the values) / distance²; it is reduced where the rise of the band is below this
#: fraction of the scale.
STIFFNESS, SOFT_RISE = 10.0, 0.1
#: The band is converged when no force component exceeds this fraction of (rise of the values) / distance.
FORCE_TOLERANCE = 2e-3
#: Smallest rise of the band above the endpoint interpolation, relative to the scale of the straight line.
LEAST_RISE = 1e-3
#: A band counts as relaxed after this many iterations without a lower force: where a tangent switches from one
#: neighbour to the other, the forces are discontinuous.
PATIENCE = 20
#: A relaxed (and climbing) band is stalled after this many iterations without a lower force.
STUCK = 300
#: Largest number of halvings of a displacement into a wall.
HALVINGS = 8
#: Largest displacement of an image in the first step, relative to the distance between the endpoints; number of L-BFGS
#: pairs; smallest cosine between the vectors of a pair.
FIRST_MOVE, PAIRS, LEAST_COSINE = 0.01, 20, 1e-3
#: Initial number of inner images of a growing band.
FIRST_IMAGES = 3


class Band:
    """Images between two endpoints, and their forces, in units of the problem.

    Attributes
    ----------
    images
        (K + 2, D), both endpoints included; in a periodic cell the end is the periodic image nearest to the start.
    values
        (K + 2,).
    gradients
        (K + 2, D), in units of ``scale``; the endpoints' are 0.
    scale
        Median of the values on the straight line above their minimum, which is insensitive to spikes.
    """

    def __init__(self, problem: PathProblem, images: np.ndarray) -> None:
        assert problem.line is not None
        finite = problem.line[np.isfinite(problem.line)]
        self.scale = median_above(problem.line) or float(np.ptp(finite)) or 1.0
        self.problem, self.distance = problem, problem.distance()
        self.images = images
        self.values = np.zeros(len(images))
        self.gradients = np.zeros_like(images)
        self.values[[0, -1]] = problem.ends

    @property
    def t(self) -> np.ndarray:
        """(K + 2,), equally spaced."""
        return np.linspace(0, 1, len(self.images))

    @property
    def rise(self) -> float:
        """Largest distance of the values from the endpoint interpolation, in units of ``scale``.

        The rise of a straight line through overlapping atoms is no measure of the barrier.
        """
        endpoint_interpolation = self.values[0] + self.t * (self.values[-1] - self.values[0])
        return float(np.clip(np.abs(self.values - endpoint_interpolation).max() / self.scale, LEAST_RISE, 1))

    @property
    def above(self) -> bool:
        """Whether an inner image lies above both endpoints."""
        return bool(self.values[1:-1].max() > self.values[[0, -1]].max())

    def evaluate(self) -> None:
        """Evaluate the inner images."""
        inner, t, problem = self.images[1:-1], self.t[1:-1], self.problem
        landscape = problem.landscape
        problem.meter.spend(len(inner))
        problem.meter.count(len(inner))
        with placing(t, lambda: inner):
            values, gradients = landscape.values_and_gradients(to_device(inner, landscape.device, landscape.dtype))
        gradients = to_host(gradients).astype(np.float64)
        refuse_not_finite("value", values, t, inner)
        refuse_not_finite("gradient", gradients, t, inner)
        self.values[1:-1], self.gradients[1:-1] = values, gradients / self.scale

    def moved(self, move: np.ndarray) -> bool:
        """Displace the inner images by (K, D), or by a fraction of that at a wall; returns whether it was the whole.

        Raises
        ------
        LandscapeError
            If no fraction of the displacement can be evaluated.
        """
        before, meter = self.images.copy(), self.problem.meter
        for halved in range(HALVINGS + 1):
            self.images[1:-1] = before[1:-1] + 0.5**halved * move
            try:
                self.evaluate()
            except LandscapeError as error:
                if halved == HALVINGS:
                    raise
                meter.note_wall(str(error))
            else:
                break
        return halved == 0

    def forces(self, climb: bool) -> np.ndarray:
        """Compute the NEB forces (K, D): the gradient perpendicular to the band, and springs along it.

        With ``climb``, the force along the band is reversed for the highest inner image. The tangents are those of
        Henkelman and Jónsson (2000): towards the higher neighbour, and at an extremum an average weighted by the
        differences in value.
        """
        V = (self.values - self.values[0]) / self.scale
        ahead, behind = np.diff(self.images, axis=0)[1:], np.diff(self.images, axis=0)[:-1]
        up = np.maximum(np.abs(V[2:] - V[1:-1]), np.abs(V[:-2] - V[1:-1]))
        down = np.minimum(np.abs(V[2:] - V[1:-1]), np.abs(V[:-2] - V[1:-1]))
        next_higher = V[2:] > V[:-2]
        at_extremum = ~((V[2:] > V[1:-1]) ^ (V[:-2] > V[1:-1]))
        weight_ahead = np.where(at_extremum, np.where(next_higher, up, down), next_higher.astype(float))
        weight_behind = np.where(at_extremum, np.where(next_higher, down, up), (~next_higher).astype(float))
        tangents = weight_ahead[:, None] * ahead + weight_behind[:, None] * behind
        sizes = np.linalg.norm(tangents, axis=1, keepdims=True)
        tangents = np.where(sizes > 0, tangents, ahead + behind) / np.where(sizes > 0, sizes, 1)
        tangents /= np.maximum(np.linalg.norm(tangents, axis=1, keepdims=True), np.finfo(float).tiny)
        g = self.gradients[1:-1]
        along = (g * tangents).sum(axis=1, keepdims=True)
        gaps = np.linalg.norm(ahead, axis=1) - np.linalg.norm(behind, axis=1)
        stiffness = STIFFNESS * min(1.0, self.rise / SOFT_RISE)
        springs = stiffness / self.distance**2 * gaps[:, None] * tangents
        forces: np.ndarray = -(g - along * tangents) + springs
        if climb:
            k = int(V[1:-1].argmax())
            forces[k] = -g[k] + 2 * along[k] * tangents[k]
        return forces

    def grown(self, move: np.ndarray) -> None:
        """Displace the inner images by (K, D), unless that leads into a wall, and insert another image."""
        before = self.images.copy(), self.values.copy(), self.gradients.copy()
        try:
            self.images[1:-1] += move
            self._insert()
            self.evaluate()
        except LandscapeError as error:
            self.problem.meter.note_wall(str(error))
            self.images, self.values, self.gradients = before
            self._insert()
            self.evaluate()

    def _insert(self) -> None:
        """Insert an image halfway between the two neighbours whose values differ most."""
        k = int(np.abs(np.diff(self.values)).argmax())
        self.images = np.insert(self.images, k + 1, 0.5 * (self.images[k] + self.images[k + 1]), axis=0)
        self.values = np.insert(self.values, k + 1, 0.5 * (self.values[k] + self.values[k + 1]))
        self.gradients = np.insert(self.gradients, k + 1, 0, axis=0)

    def state(self, step: int, reason: Ending | None = None, slope: float = float("nan")) -> PathState:
        """Make the state of the band as a piecewise-linear path; its L is its height, as a band has no objective."""
        return piecewise_linear(self.problem, self.images, self.values, step, reason, slope)


def piecewise_linear(
    problem: PathProblem,
    images: np.ndarray,
    values: np.ndarray,
    step: int = 0,
    reason: Ending | None = None,
    slope: float = float("nan"),
) -> PathState:
    """Make the state of a piecewise-linear path with vertices at images (K + 2, D)."""
    line = images[0] + np.linspace(0, 1, len(images))[:, None] * (images[-1] - images[0])
    height = float(values.max())
    return PathState(
        step=step,
        coefficients=(images - line)[1:-1],
        values=values.copy(),
        objective=height,
        cumulative_loss=float(values.sum()),
        height=height,
        penalty=0.0,
        length=float(np.linalg.norm(np.diff(images, axis=0), axis=1).sum()),
        evaluations=problem.meter.evaluations + Evaluations(),
        rounds=problem.meter.rounds,
        reason=reason,
        slope=slope,
    )


def with_images(problem: PathProblem, n_images: int) -> PathProblem:
    """Make the problem of a piecewise-linear path with a number of vertices, both endpoints included."""
    curve = Curve.of("hat", np.linspace(0, 1, n_images), n_images - 2)
    return problem if n_images == len(problem.curve.t) else replace(problem, curve=curve, line=None)


class LbfgsMoves:
    """Displacements of all images by L-BFGS without a line search: a band has no function to minimise."""

    def __init__(self, distance: float) -> None:
        self.distance = distance
        self.last: tuple[np.ndarray, np.ndarray] | None = None
        self.pairs: tuple[tuple[np.ndarray, np.ndarray], ...] = ()

    def __call__(self, images: np.ndarray, forces: np.ndarray, longest: float) -> np.ndarray:
        """Compute displacements (K, D), none longer than ``longest``."""
        inner = images[1:-1].copy()
        if self.last is not None:
            ds, dy = inner - self.last[0], self.last[1] - forces
            if float((ds * dy).sum()) > LEAST_COSINE * norm(ds) * norm(dy):
                self.pairs = (*self.pairs, (ds, dy))[-PAIRS:]
            else:
                self.pairs = ()
        self.last = inner, forces.copy()
        if self.pairs:
            s, y = zip(*self.pairs, strict=True)
            move = two_loop(forces, s, y)
        else:
            move = forces * (FIRST_MOVE * self.distance / (_longest(forces) or 1.0))
        shorter = min(1.0, longest / max(_longest(move), np.finfo(float).tiny))
        result: np.ndarray = move * shorter
        return result

    def forget(self) -> None:
        """Discard the pairs; the next step is along the forces."""
        self.last, self.pairs = None, ()


@dataclass(frozen=True)
class Relaxed:
    """A solver that moves the images of a band along their forces until these vanish.

    A band is relaxed once its largest force is a tenth of the first one or below the tolerance, once it no longer
    decreases, and in any case after half of the iterations. Then the highest inner image climbs, if it lies above both
    endpoints.

    Attributes
    ----------
    grows
        Whether the band starts with three images. Whenever it is relaxed, another one is inserted between the
        neighbours whose values differ most, and often enough for growing to take at most half of the iterations.
    climb
        Whether the highest inner image climbs. Without it, a relaxed band is converged.
    """

    grows: bool = False
    climb: bool = True
    least_steps: int = 0
    most_steps: int = 10_000
    patient: bool = False

    def states(self, problem: PathProblem, b: Any, last: int | None = None, memory: Any = None) -> Iterator[PathState]:
        """Yield the band with displacements b (K, D) from the straight line, then the band after every step.

        Yields
        ------
        PathState
            The last one has a reason where the band is converged, or where there is no barrier.
        """
        steps = self.most_steps if last is None else last
        images, n_images = _images(problem, to_host(b).astype(np.float64)), problem.curve.n_terms
        grows = self.grows and not to_host(b).any()
        band = Band(problem, images if not grows else _straight(images, min(FIRST_IMAGES, n_images) + 2))
        band.evaluate()
        moves, rest = LbfgsMoves(band.distance), _Rest(steps, max(1, steps // (2 * max(1, n_images - FIRST_IMAGES))))
        climbed = False
        for step in range(steps + 1):
            complete = len(band.images) - 2 == n_images
            forces, still = band.forces(climb=False), FORCE_TOLERANCE * band.rise / band.distance
            relaxed = rest.reached(step, float(np.abs(forces).max()), still)
            climbs = self.climb and complete and relaxed and band.above
            if climbs:
                forces = band.forces(climb=True)
            size = float(np.abs(forces).max())
            ending = self._ending(band, rest, relaxed, climbs, size <= still, size) if complete else None
            yield band.state(step) if ending is None else band.state(step, ending, size)
            if ending is not None or step == steps:
                return
            if climbs and not climbed:
                moves.forget()
            climbed = climbs
            move = moves(band.images, forces, LONGEST_MOVE * band.distance / (len(band.images) - 1))
            if not complete and (relaxed or rest.overdue(step)):
                band.grown(move)
                moves.forget()
                rest.begin_again(step + 1)
            elif not band.moved(move):
                moves.forget()

    def _ending(self, band: Band, rest: _Rest, relaxed: bool, climbs: bool, still: bool, size: float) -> Ending | None:
        """Return the reason why a complete band ends; None where it does not."""
        if relaxed and not band.above:
            return Ending.NO_BARRIER
        if climbs != self.climb:
            return None
        if still:
            return Ending.CONVERGED
        return Ending.STALLED if rest.stuck(size) else None


class _Rest:
    """The criterion for a relaxed band."""

    def __init__(self, steps: int, each: int) -> None:
        self.half, self.each = steps // 2, each
        self.first, self.last_lowest, self.stood = 0.0, float("inf"), 0
        self.begin_again(0)

    def begin_again(self, step: int) -> None:
        """Restart the count after an insertion."""
        self.lowest, self.waited, self.since = float("inf"), 0, step

    def reached(self, step: int, size: float, still: float) -> bool:
        """Add the largest force after a step; returns whether the band is relaxed."""
        self.first = self.first or size
        self.lowest, self.waited = (size, 0) if size < self.lowest else (self.lowest, self.waited + 1)
        return size <= max(0.1 * self.first, still) or self.waited >= PATIENCE or step >= self.half

    def stuck(self, size: float) -> bool:
        """Add the largest force, a climbing image included; returns whether it has stalled."""
        self.last_lowest, self.stood = (size, 0) if size < self.last_lowest else (self.last_lowest, self.stood + 1)
        return self.stood >= STUCK

    def overdue(self, step: int) -> bool:
        """Whether it is time for another image in any case."""
        return step + 1 - self.since >= self.each


def _longest(moves: np.ndarray) -> float:
    return float(np.linalg.norm(moves, axis=1).max())


def _images(problem: PathProblem, b: np.ndarray) -> np.ndarray:
    """(K + 2, D): the vertices of a piecewise-linear path, in float64."""
    start, end = (to_host(point).astype(np.float64) for point in (problem.start, problem.end))
    images = start + problem.curve.t[:, None] * (end - start)
    images[1:-1] += b
    return images


def _straight(images: np.ndarray, n: int) -> np.ndarray:
    return images[0] + np.linspace(0, 1, n)[:, None] * (images[-1] - images[0])
