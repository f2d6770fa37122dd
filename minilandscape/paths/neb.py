"""The nudged elastic band, with improved tangents and a climbing image, and with images inserted where it is worst."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import to_device, to_host
from ..landscape import Evaluations, LandscapeError
from .result import HISTORY, Path

#: The longest move of an image in a step, as a part of the distance between neighbours.
LONGEST_MOVE = 0.3
#: Springs, in units of (range of the values on the straight line) / distance².
STIFFNESS = 5.0
#: The band is still when no image's force exceeds this part of (range of the values) / distance.
STILL_FORCE = 1e-3
#: Inner images that "autoneb" begins with, and the part of its steps that each number of images gets.
FIRST_IMAGES = 3


class Band:
    """Images between two ends, and their forces.

    Attributes
    ----------
    images
        (K + 2, D), both ends included, the end as the nearest image of itself where there is a periodic cell.
    values
        (K + 2,).
    """

    def __init__(
        self, landscape: Any, start: np.ndarray, end: np.ndarray, end_values: np.ndarray, n_images: int
    ) -> None:
        self.landscape = landscape
        displacement = np.asarray(to_host(landscape.displacement(start, end)), dtype=np.float64)
        self.distance = float(np.linalg.norm(displacement))
        t = np.linspace(0, 1, n_images + 2)[:, None]
        self.images = start + t * displacement
        self.evaluations = Evaluations()
        self.values = np.zeros(n_images + 2)
        self.gradients = np.zeros_like(self.images)
        self.values[[0, -1]] = end_values

    def _device(self, points: np.ndarray) -> Any:
        return to_device(points, self.landscape.device, self.landscape.dtype)

    def _finite(self, values: np.ndarray, points: np.ndarray) -> np.ndarray:
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise LandscapeError(f"the value of an image is {values[bad[0]]}", points[bad[0]])
        return values

    def evaluate(self) -> None:
        """Values and gradients of the inner images."""
        inner = self.images[1:-1]
        self.evaluations.gradients += len(inner)
        values, gradients = self.landscape.values_and_gradients(self._device(inner))
        self.values[1:-1] = self._finite(values, inner)
        self.gradients[1:-1] = to_host(gradients)

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

    def insert(self, k: int) -> None:
        """A new image halfway between images k and k + 1."""
        self.images = np.insert(self.images, k + 1, 0.5 * (self.images[k] + self.images[k + 1]), axis=0)
        self.values = np.insert(self.values, k + 1, 0.5 * (self.values[k] + self.values[k + 1]))
        self.gradients = np.insert(self.gradients, k + 1, 0, axis=0)


def nudged_band(
    landscape: Any,
    start: np.ndarray,
    end: np.ndarray,
    end_values: np.ndarray,
    n_images: int,
    steps: int,
    *,
    grows: bool = False,
    progress: Callable[[Any], None] | None = None,
    state: Callable[..., Any],
) -> tuple[Band, list[Any], bool]:
    """Relaxes a band by FIRE (Bitzek et al., 2006); climbs once the forces are a tenth of what they were.

    Parameters
    ----------
    grows
        Begins with three images and inserts others where the value between two neighbours may stand out most.
    state
        Makes a history entry of ``(step, band)``.

    Returns
    -------
    band, states, converged
    """
    band = Band(landscape, start, end, end_values, min(FIRST_IMAGES, n_images) if grows else n_images)
    band.evaluate()
    scale = max(float(np.ptp(band.values)), np.finfo(float).tiny)
    states = [state(0, band)]
    stiffness = STIFFNESS * scale / band.distance**2
    each = max(1, steps // (n_images - len(band.images) + 3)) if grows else steps
    first, converged = None, False
    velocity, dt, mix, uphill_free = np.zeros_like(band.images[1:-1]), 0.1, 0.1, 0
    for step in range(1, steps + 1):
        if grows and step % each == 0 and len(band.images) - 2 < n_images:
            # Where values differ most between neighbours most may be hidden.
            band.insert(int(np.abs(np.diff(band.values)).argmax()))
            velocity = np.zeros_like(band.images[1:-1])
            band.evaluate()
        complete = len(band.images) - 2 == n_images
        forces = band.forces(stiffness, climb=False)
        size = float(np.abs(forces).max())
        first = size if first is None else first
        climbs = (complete and size < 0.1 * first) or step > steps // 2
        if climbs:
            forces = band.forces(stiffness, climb=True)
            size = float(np.abs(forces).max())
        if complete and climbs and size <= STILL_FORCE * scale / band.distance:
            converged = True
            break
        # FIRE in units in which the largest force moves an image by a hundredth of the distance.
        unit = band.distance / max(first, np.finfo(float).tiny)
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
        band.evaluate()
        states.append(state(step, band))
        if progress is not None:
            progress(states[-1])
    return band, states, converged


def band_path(band: Band, states: list[Any], converged: bool, evaluations: Evaluations, facts: dict[str, Any]) -> Path:
    """A band as a polygon."""
    n = len(band.images) - 2
    t = np.linspace(0, 1, n + 2)
    line = band.images[0] + t[:, None] * (band.images[-1] - band.images[0])
    top = int(band.values.argmax())
    return Path(
        start=band.images[0],
        end=band.images[-1],
        coefficients=(band.images - line)[1:-1],
        t=t,
        values=band.values.copy(),
        height_linear=states[0].height,
        length=float(np.linalg.norm(np.diff(band.images, axis=0), axis=1).sum()),
        history={name: np.array([getattr(s, name) for s in states]) for name in HISTORY},
        best_step=len(states) - 1,
        dense_height=float(band.values[top]),
        dense_t=float(t[top]),
        evaluations=evaluations,
        converged=converged,
        reason="stands still" if converged else "steps",
        facts=facts,
        basis="hat",
    )
