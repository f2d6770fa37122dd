"""The nudged elastic band, with improved tangents and a climbing image, and with images inserted where it is worst."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..backend import to_device, to_host
from ..landscape import Evaluations
from .problem import PathState, Problem, placing, refuse_not_finite

#: The longest move of an image in a step, as a part of the distance between neighbours.
LONGEST_MOVE = 0.3
#: Springs, in units of (range of the values on the straight line) / distance².
STIFFNESS = 5.0
#: The band is still when no image's force exceeds this part of (range of the values) / distance.
STILL_FORCE = 1e-3
#: Steps without a lower force after which a band is as relaxed as it gets: it may rest where a tangent jumps from the
#: one neighbour to the other, and the forces with it.
PATIENCE = 50
#: Inner images that a growing band begins with.
FIRST_IMAGES = 3


class Band:
    """Images between two ends, and their forces.

    Attributes
    ----------
    images
        (K + 2, D), both ends included, the end as the nearest image of itself where there is a periodic cell.
    values, gradients
        (K + 2,), (K + 2, D); the ends' gradients are 0.
    """

    def __init__(self, problem: Problem, n_images: int) -> None:
        self.problem, self.distance = problem, problem.distance()
        start, end = (to_host(point).astype(np.float64) for point in (problem.start, problem.end))
        t = np.linspace(0, 1, n_images + 2)[:, None]
        self.images = start + t * (end - start)
        self.values = np.zeros(n_images + 2)
        self.gradients = np.zeros_like(self.images)
        self.values[[0, -1]] = problem.ends

    @property
    def above(self) -> bool:
        """Whether an inner image lies above both ends."""
        return bool(self.values[1:-1].max() > self.values[[0, -1]].max())

    def evaluate(self) -> None:
        """Values and gradients of the inner images."""
        inner, t = self.images[1:-1], np.linspace(0, 1, len(self.images))[1:-1]
        landscape = self.problem.landscape
        self.problem.spend(len(inner))
        self.problem.span.evaluations.gradients += len(inner)
        with placing(t, lambda: inner):
            values, gradients = landscape.values_and_gradients(to_device(inner, landscape.device, landscape.dtype))
        gradients = to_host(gradients)
        refuse_not_finite("value", values, t, inner)
        refuse_not_finite("gradient", gradients, t, inner)
        self.values[1:-1], self.gradients[1:-1] = values, gradients

    def forces(self, stiffness: float, climb: bool) -> np.ndarray:
        """(K, D): the gradient across the band, springs along it; uphill along it for the highest inner image.

        The improved tangent of Henkelman and Jónsson (2000): toward the higher neighbour, and at an extremum both
        neighbours weighed by how far their values lie from the image's.
        """
        V, ahead, behind = self.values, np.diff(self.images, axis=0)[1:], np.diff(self.images, axis=0)[:-1]
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
        forces: np.ndarray = -(g - along * tangents) + stiffness * gaps[:, None] * tangents
        if climb:
            k = int(V[1:-1].argmax())
            forces[k] = -g[k] + 2 * along[k] * tangents[k]
        return forces

    def insert(self) -> None:
        """A new image halfway between the two neighbours whose values differ most: most may be hidden there."""
        k = int(np.abs(np.diff(self.values)).argmax())
        self.images = np.insert(self.images, k + 1, 0.5 * (self.images[k] + self.images[k + 1]), axis=0)
        self.values = np.insert(self.values, k + 1, 0.5 * (self.values[k] + self.values[k + 1]))
        self.gradients = np.insert(self.gradients, k + 1, 0, axis=0)

    def state(self, step: int, reason: str | None = None) -> PathState:
        """The band as a polygon; its L is its height, for want of another."""
        line = self.images[0] + np.linspace(0, 1, len(self.images))[:, None] * (self.images[-1] - self.images[0])
        height = float(self.values.max())
        return PathState(
            step=step,
            coefficients=(self.images - line)[1:-1],
            values=self.values.copy(),
            objective=height,
            cumulative_loss=float(self.values.sum()),
            height=height,
            penalty=0.0,
            length=float(np.linalg.norm(np.diff(self.images, axis=0), axis=1).sum()),
            evaluations=self.problem.span.evaluations + Evaluations(),
            reason=reason,
        )


def band_states(problem: Problem, n_images: int, steps: int, *, grows: bool = False) -> Iterator[PathState]:
    """Relaxes a band by FIRE (Bitzek et al., 2006); yields the straight line, then the band after every step.

    A band is relaxed once its forces are a tenth of what they were or too small to move it, once they fall no more, and
    in any case after half of the steps. Then its highest inner image climbs, if it lies above both ends: below the
    higher end there is no top to climb.

    Parameters
    ----------
    problem
        With a straight line.
    grows
        Begins with three images and, whenever it is relaxed, inserts another where the value between two neighbours may
        stand out most; so often in any case that growing takes no more than half of the steps.

    Yields
    ------
    PathState
        The last has a reason where the band is still: ``"stands still"``, or ``"no barrier"`` where none climbs.
    """
    band = Band(problem, min(FIRST_IMAGES, n_images) if grows else n_images)
    band.evaluate()
    scale = max(float(np.ptp(band.values)), np.finfo(float).tiny)
    stiffness, still = STIFFNESS * scale / band.distance**2, STILL_FORCE * scale / band.distance
    each = max(1, steps // (2 * max(1, n_images - FIRST_IMAGES)))
    first, largest, lowest, waited, inserted = 0.0, 0.0, float("inf"), 0, 0
    velocity, dt, mix, uphill_free = np.zeros_like(band.images[1:-1]), 0.1, 0.1, 0
    for step in range(steps + 1):
        complete = len(band.images) - 2 == n_images
        forces = band.forces(stiffness, climb=False)
        size = float(np.abs(forces).max())
        first = first or size
        if size < lowest:
            lowest, waited = size, 0
        else:
            waited += 1
        relaxed = size <= max(0.1 * first, still) or waited >= PATIENCE or step >= steps // 2
        climbs = complete and band.above and relaxed
        if climbs:
            forces = band.forces(stiffness, climb=True)
            size = float(np.abs(forces).max())
        if complete and size <= still and (climbs or not band.above):
            yield band.state(step, "stands still" if climbs else "no barrier")
            return
        yield band.state(step)
        if step == steps:
            return
        # FIRE in units in which the largest force moves an image by a hundredth of the distance.
        largest = max(largest, size)
        unit = band.distance / max(largest, np.finfo(float).tiny)
        power = float((forces * velocity).sum())
        if power > 0:
            norm = float(np.linalg.norm(velocity)) / max(float(np.linalg.norm(forces)), np.finfo(float).tiny)
            velocity = (1 - mix) * velocity + mix * norm * forces
            uphill_free += 1
            if uphill_free > 5:
                dt, mix = min(1.1 * dt, 0.5), 0.99 * mix
        else:
            velocity, dt, mix, uphill_free = np.zeros_like(forces), 0.5 * dt, 0.1, 0
        velocity = velocity + dt * unit * forces
        move = dt * velocity
        longest = float(np.linalg.norm(move, axis=1).max())
        most = LONGEST_MOVE * band.distance / (len(band.images) - 1)
        if longest > most:
            move *= most / longest
            velocity *= most / longest
        band.images[1:-1] += move
        if not complete and (relaxed or step + 1 - inserted >= each):
            band.insert()
            velocity, inserted, lowest, waited = np.zeros_like(band.images[1:-1]), step + 1, float("inf"), 0
        band.evaluate()
