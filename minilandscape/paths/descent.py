"""The descent from beside a saddle to a minimum."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..hessian import FEW_COORDINATES
from ..landscape import LandscapeError
from ..optimizers.lbfgs import two_loop
from .modes import Modes

#: A descent ends where so many steps in a row had to be cut a thousandfold and more: it stands before a wall.
WALLS = 5
#: A descent leaves the saddle by this part of the distance of the ends, and by so much if less shows no slope.
PUSH, FARTHEST = 0.005, 0.1
#: Steps at most, the longest as a part of the distance of the ends, and how often one is cut.
MOST_STEPS, LONGEST, CUTS = 3000, 0.025, 20
#: Points with a negative mode, such as saddles, that a descent goes on from.
SADDLES = 8
#: The values along a descent and its gradients agree within this part of the fall, over steps that change the gradient
#: by no more than this part of itself.
CONSISTENT, SMOOTH = 0.2, 0.5
#: A minimum may be so many times as far away as the next step, which sees little of soft modes.
SHORT = 3
#: A minimum is clear if its lowest eigenvalue is more than this part of the highest.
CLEAR = 1e-3
#: Where such a point is left, the residual that counts as small is lowered so many times.
CLOSER = 10


@dataclass(frozen=True)
class Descent:
    """Where a descent has ended.

    Attributes
    ----------
    point, value
        (D,), and f there.
    softest
        The lowest eigenvalue of the Hessian that is known there; NaN where none is.
    uncertainty, away
        How much lower f may be at the stationary point itself, and how far away that may be.
    reason
        Why the point is no verified minimum; None if it is.
    """

    point: np.ndarray
    value: float
    softest: float = float("nan")
    uncertainty: float = 0.0
    away: float = 0.0
    reason: str | None = None


def descend(
    surface: Modes, saddle: np.ndarray, way: np.ndarray, top: float, bends: float, scale: float, tolerance: float
) -> Descent:
    """Downhill from beside a saddle of value ``top``, where the curvature along the way is ``bends``, to a minimum."""
    # Far enough for a slope that is not small, and a fall that the noise does not hide.
    seen = max(2 * max(tolerance, surface.unseen) / abs(bends), float(np.sqrt(4 * surface.level / abs(bends))))
    push = min(max(PUSH * scale, seen), FARTHEST * scale)
    x = saddle + push * way
    value, g = surface.value_and_gradient(x)
    while not value < top and push > 1e-6 * scale:  # pushed beyond the valley: stay nearer
        push *= 0.5
        x = saddle + push * way
        value, g = surface.value_and_gradient(x)
    if not (np.isfinite(value) and np.isfinite(g).all()):
        return Descent(x, value, reason="the landscape cannot be evaluated where a descent begins")
    return settle(surface, x, value, g, scale, tolerance)


def settle(surface: Modes, x: np.ndarray, value: float, g: np.ndarray, scale: float, tolerance: float) -> Descent:
    """Downhill from a point with this value and gradient to a minimum.

    A point where the gradient is small is a minimum if no mode is negative there, except for curvatures that change
    the slope by no more than the tolerance over the distance of the ends, as in a valley that levels off.
    """
    for again in range(SADDLES):
        small = max(tolerance, surface.unseen)
        x, value, g, left, reason = _relax(surface, x, value, g, scale, small)
        if reason is not None:
            return Descent(x, value, reason=reason)
        try:
            zero = surface.zero_modes(x)
            values, vectors = _examine(surface, x, g, zero)
            softest = float(values[0]) if len(values) else float("nan")
            if not softest < -max(surface.error(values), small / scale):
                slope = float(np.linalg.norm(g - zero.T @ (zero @ g)))
                next_step = SHORT * float(np.linalg.norm(left - zero.T @ (zero @ left)))
                away = slope / softest if softest > 0 else next_step
                return Descent(x, value, softest, 0.5 * slope * away, away)
            beside = x + 2**again * PUSH * scale * np.array([[1.0], [-1.0]]) * vectors[0]
            new_values, gradients = surface.stack(beside)
        except (LandscapeError, RuntimeError, np.linalg.LinAlgError) as error:
            return Descent(x, value, reason=f"the Hessian where a descent ended could not be examined: {error}")
        # Symmetry leads from a saddle to the next one as well as to a minimum; a large tolerance ends beside the first.
        k = int(np.nanargmin(new_values)) if np.isfinite(new_values).any() else 0
        if not (new_values[k] < value + surface.level and np.isfinite(gradients[k]).all()):
            return Descent(
                x,
                value,
                softest,
                reason=f"a descent ended where an eigenvalue is {softest:.3g} and nothing lower lies beside: the "
                "valley levels off, or the gradient is not that of the values",
            )
        x, value, g = beside[k], float(new_values[k]), gradients[k]
        tolerance /= CLOSER
    return Descent(x, value, reason=f"a descent met {SADDLES} points with a negative eigenvalue and no minimum")


def _examine(surface: Modes, x: np.ndarray, g: np.ndarray, zero: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lowest modes of the Hessian at a point of known gradient; by one-sided differences where those are clear."""
    if x.size <= FEW_COORDINATES:
        surface.known = g
        values, vectors = surface.whole_spectrum(x, zero)
        if values[0] > CLEAR * values[-1]:
            return values, vectors
    surface.known = None
    return surface.lowest(x, zero, None, proved=1)


def _relax(
    surface: Modes, x: np.ndarray, value: float, g: np.ndarray, scale: float, tolerance: float
) -> tuple[np.ndarray, float, np.ndarray, np.ndarray, str | None]:
    """L-BFGS with short steps that never rise.

    Returns the point, its value and gradient, the step that the method would take next, and why the gradient is not
    small, None if it is.
    """
    fell = by_gradient = unsure = 0.0
    s: tuple[np.ndarray, ...] = ()
    y: tuple[np.ndarray, ...] = ()
    walls = 0
    ended = f"the valley goes on after {MOST_STEPS} steps"
    for _ in range(MOST_STEPS):
        if np.abs(g).max() <= tolerance:
            break
        p = two_loop(g, s, y)
        if not p @ g > 0:
            s, y, p = (), (), g
        step = -p if s else -g * (LONGEST * scale / np.linalg.norm(g))
        size = float(np.linalg.norm(step))
        step *= min(1.0, LONGEST * scale / size)
        full, moved = float(np.linalg.norm(step)), False
        for _ in range(CUTS):
            new_value, new_g = surface.value_and_gradient(x + step)
            # At the bottom values no longer resolve what gradients do.
            flat = min(abs(new_value - value), -float(step @ g)) <= max(1e-14 * abs(value), surface.level)
            lower = new_value <= value + 1e-4 * float(step @ g)
            if np.isfinite(new_g).all() and (lower or (flat and np.abs(new_g).max() < np.abs(g).max())):
                moved = np.isfinite(new_value)
                break
            step *= 0.3
        if not moved:
            if not s:
                ended = "the values do not fall along the gradient: it is not theirs, or the noise hides it"
                break
            s, y = (), ()
            continue
        walls = walls + 1 if float(np.linalg.norm(step)) < 1e-3 * full else 0
        if walls == WALLS:
            ended = "it stands before a wall, where the landscape rises at once or cannot be evaluated"
            break
        ds, dy = step, new_g - g
        if np.linalg.norm(dy) <= SMOOTH * np.linalg.norm(g):
            fell += value - new_value
            by_gradient -= 0.5 * float(step @ (g + new_g))
            unsure += surface.level
        if float(ds @ dy) > 1e-12 * float(np.linalg.norm(ds) * np.linalg.norm(dy)):
            s, y = (*s, ds)[-10:], (*y, dy)[-10:]
        x, value, g = x + step, new_value, new_g
    largest = float(np.abs(g).max())
    reason = None
    if abs(fell - by_gradient) > CONSISTENT * max(fell, by_gradient) + unsure:
        reason = (
            f"the gradient is not that of the values: along a descent these fell by {fell:.3g}, the gradient adds up "
            f"to {by_gradient:.3g}"
        )
    elif not largest <= tolerance:
        reason = f"a descent has not converged: its residual is {largest:.3g}, {tolerance:.3g} was expected; {ended}"
    return x, value, g, two_loop(g, s, y) if s else np.zeros_like(g), reason
