"""The nudged elastic band, with improved tangents and a climbing image, and with images inserted where it is worst."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..backend import to_device, to_host
from ..landscape import Evaluations, LandscapeError
from ..optimizers import two_loop
from .curve import Curve
from .endings import Ending
from .meter import placing, refuse_not_finite
from .objectives import median_above
from .problem import PathProblem, PathState, norm

#: The longest move of an image in a step, as a part of the distance between neighbours.
LONGEST_MOVE = 0.3
#: Springs, in units of (scale of the values) / distance², softer where the rise of the band is below this part of it.
STIFFNESS, SOFT_RISE = 10.0, 0.1
#: The band is converged when no image's force exceeds this part of (rise of the values) / distance.
STILL_FORCE = 2e-3
#: The rise is that of the band above its chord, but no less than this part of the straight line's.
LEAST_RISE = 1e-3
#: Steps without a lower force after which a band is as relaxed as it gets: it may rest where a tangent jumps from the
#: one neighbour to the other, and the forces with it.
PATIENCE = 20
#: Steps without a lower force after which a band that is relaxed, and climbs if it is to, gets no further.
STUCK = 300
#: How often a move into a wall is halved.
HALVINGS = 8
#: The longest first move of an image, as a part of the distance between the endpoints; pairs of L-BFGS, and the cosine
#: below which one says nothing.
FIRST_MOVE, PAIRS, LEAST_COSINE = 0.01, 20, 1e-3
#: Inner images that a growing band begins with.
FIRST_IMAGES = 3


class Band:
    """Images between two endpoints, and their forces, in units of the problem.

    Attributes
    ----------
    images
        (K + 2, D), both endpoints included, the end as the nearest image of itself where there is a periodic cell.
    values
        (K + 2,).
    gradients
        (K + 2, D), in units of ``scale``; the endpoints' are 0.
    scale
        The median of the straight line's values above its lowest, which no spike makes large.
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
        """How far the values lie from a straight line in value between the endpoints, in units of ``scale``.

        A straight line through a clash says nothing of the barrier: what is measured against it is small at once.
        """
        chord = self.values[0] + self.t * (self.values[-1] - self.values[0])
        return float(np.clip(np.abs(self.values - chord).max() / self.scale, LEAST_RISE, 1))

    @property
    def above(self) -> bool:
        """Whether an inner image lies above both endpoints."""
        return bool(self.values[1:-1].max() > self.values[[0, -1]].max())

    def evaluate(self) -> None:
        """Evaluates the inner images."""
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
        """Moves the inner images (K, D), or by a part of that where there is a wall; whether it went all the way.

        Raises
        ------
        LandscapeError
            If no part of the way can be evaluated.
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
        """(K, D): the gradient across the band, springs along it; uphill along it for the highest inner image.

        The improved tangent of Henkelman and Jónsson (2000): toward the higher neighbour, and at an extremum both
        neighbours weighed by how far their values lie from the image's.
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
        """Moves the inner images (K, D), unless that leads into a wall, and adds another."""
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
        """Adds an image halfway between the two neighbours whose values differ most: most may stand unseen there."""
        k = int(np.abs(np.diff(self.values)).argmax())
        self.images = np.insert(self.images, k + 1, 0.5 * (self.images[k] + self.images[k + 1]), axis=0)
        self.values = np.insert(self.values, k + 1, 0.5 * (self.values[k] + self.values[k + 1]))
        self.gradients = np.insert(self.gradients, k + 1, 0, axis=0)

    def state(self, step: int, reason: Ending | None = None, slope: float = float("nan")) -> PathState:
        """The band as a piecewise-linear path; its L is its height, for want of another."""
        return piecewise_linear(self.problem, self.images, self.values, step, reason, slope)


def piecewise_linear(
    problem: PathProblem,
    images: np.ndarray,
    values: np.ndarray,
    step: int = 0,
    reason: Ending | None = None,
    slope: float = float("nan"),
) -> PathState:
    """The state of a path through images (K + 2, D), whose vertices they are."""
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
    """The problem of a piecewise-linear path with so many vertices, both endpoints included."""
    curve = Curve.of("hat", np.linspace(0, 1, n_images), n_images - 2)
    return problem if n_images == len(problem.curve.t) else replace(problem, curve=curve, line=None)


class LbfgsMoves:
    """Moves of images by L-BFGS on all of them at once, without a line search: a band has no function that falls."""

    def __init__(self, distance: float) -> None:
        self.distance = distance
        self.last: tuple[np.ndarray, np.ndarray] | None = None
        self.pairs: tuple[tuple[np.ndarray, np.ndarray], ...] = ()

    def __call__(self, images: np.ndarray, forces: np.ndarray, longest: float) -> np.ndarray:
        """(K, D): how far to move, no image further than ``longest``."""
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
        """Begins anew, along the forces."""
        self.last, self.pairs = None, ()


@dataclass(frozen=True)
class Relaxed:
    """A band whose images move by their forces until these vanish, and whose highest inner image climbs in the end.

    A band is relaxed once its forces are a tenth of what they were or too small to move it, once they fall no more, and
    in any case after half of the steps. Then its highest inner image climbs, if it lies above both endpoints: below the
    higher endpoint there is no top to climb.

    Attributes
    ----------
    grows
        Begins with three images and, whenever it is relaxed, inserts another where the value between two neighbours may
        stand out most; so often in any case that growing takes no more than half of the steps.
    climb
        Whether the highest inner image climbs. Without it a relaxed band is converged.
    """

    grows: bool = False
    climb: bool = True
    least_steps: int = 0
    most_steps: int = 10_000
    patient: bool = False

    def states(self, problem: PathProblem, b: Any, last: int | None = None, memory: Any = None) -> Iterator[PathState]:
        """The band with the vertices b (K, D) away from the straight line, then the band after every step.

        Yields
        ------
        PathState
            The last has a reason where the band is converged, or where there is no barrier to climb.
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
            forces, still = band.forces(climb=False), STILL_FORCE * band.rise / band.distance
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
        """Why a band of all its images moves no more."""
        if relaxed and not band.above:
            return Ending.NO_BARRIER
        if climbs != self.climb:
            return None
        if still:
            return Ending.CONVERGED
        return Ending.STALLED if rest.stuck(size) else None


class _Rest:
    """Whether a band is relaxed."""

    def __init__(self, steps: int, each: int) -> None:
        self.half, self.each = steps // 2, each
        self.first, self.last_lowest, self.stood = 0.0, float("inf"), 0
        self.begin_again(0)

    def begin_again(self, step: int) -> None:
        """With another image."""
        self.lowest, self.waited, self.since = float("inf"), 0, step

    def reached(self, step: int, size: float, still: float) -> bool:
        """Takes the largest force after a step into account."""
        self.first = self.first or size
        self.lowest, self.waited = (size, 0) if size < self.lowest else (self.lowest, self.waited + 1)
        return size <= max(0.1 * self.first, still) or self.waited >= PATIENCE or step >= self.half

    def stuck(self, size: float) -> bool:
        """Whether the last forces, those of a climbing image included, have not fallen for long."""
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
