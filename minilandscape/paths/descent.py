"""The descent from beside a saddle to a minimum."""

from __future__ import annotations

import numpy as np

from ..landscape import LandscapeError
from ..optimizers.lbfgs import two_loop
from .modes import Modes

#: A descent ends where so many steps in a row had to be cut a thousandfold and more: it stands before a wall.
WALLS = 5
#: A descent leaves the saddle by this part of the distance of the ends.
PUSH = 0.005
#: Steps at most, and the longest as a part of the distance of the ends.
MOST_STEPS, LONGEST = 3000, 0.02
#: Saddles that a descent goes on from.
SADDLES = 5


def descend(
    surface: Modes, saddle: np.ndarray, way: np.ndarray, top: float, scale: float, tolerance: float
) -> tuple[np.ndarray, float, bool]:
    """Downhill from beside the saddle to a minimum: it, its value, and whether it is at rest."""
    push = PUSH * scale
    x = saddle + push * way
    value, g = surface.value_and_gradient(x)
    while not value < top and push > 1e-6 * scale:  # pushed beyond the valley: stay nearer
        push *= 0.5
        x = saddle + push * way
        value, g = surface.value_and_gradient(x)
    if not (np.isfinite(value) and np.isfinite(g).all()):
        return x, value, False
    for _ in range(SADDLES):
        x, value, g, ended = _relax(surface, x, value, g, scale, tolerance)
        if not ended:
            return x, value, False
        # Symmetry leads from a saddle to the next one as well as to a minimum.
        surface.known = None
        try:
            values, vectors = surface.lowest(x, surface.zero_modes(x), None, proved=1)
            if not (values[:1] < 0).any():
                return x, value, True
            beside = x + PUSH * scale * np.array([[1.0], [-1.0]]) * vectors[0]
            new_values, gradients = surface.stack(beside)
        except (LandscapeError, RuntimeError, np.linalg.LinAlgError):
            return x, value, False
        k = int(np.argmin(new_values))
        # Where a valley levels off its curvature may be negative, but nothing is gained by going on.
        if not new_values[k] < value - 2 * tolerance * PUSH * scale:
            return x, value, bool(np.isfinite(new_values).all())
        x, value, g = beside[k], float(new_values[k]), gradients[k]
    return x, value, False


def _relax(
    surface: Modes, x: np.ndarray, value: float, g: np.ndarray, scale: float, tolerance: float
) -> tuple[np.ndarray, float, np.ndarray, bool]:
    """L-BFGS with short steps that never rise: the point, its value and gradient, and whether it is at rest."""
    s: tuple[np.ndarray, ...] = ()
    y: tuple[np.ndarray, ...] = ()
    walls = 0
    for _ in range(MOST_STEPS):
        if np.abs(g).max() <= tolerance:
            return x, value, g, True
        p = two_loop(g, s, y)
        if not p @ g > 0:
            s, y, p = (), (), g
        step = -p if s else -g * (LONGEST * scale / np.linalg.norm(g))
        size = float(np.linalg.norm(step))
        step *= min(1.0, LONGEST * scale / size)
        full, moved = float(np.linalg.norm(step)), False
        for _ in range(40):
            new_value, new_g = surface.value_and_gradient(x + step)
            # At the bottom values no longer resolve what gradients do.
            flat = abs(new_value - value) <= 1e-14 * abs(value)
            lower = new_value <= value + 1e-4 * float(step @ g)
            if np.isfinite(new_g).all() and (lower or (flat and np.abs(new_g).max() < np.abs(g).max())):
                moved = np.isfinite(new_value)
                break
            step *= 0.3
        if not moved:
            if not s:
                break
            s, y = (), ()
            continue
        walls = walls + 1 if float(np.linalg.norm(step)) < 1e-3 * full else 0
        if walls == WALLS:
            break
        ds, dy = step, new_g - g
        if float(ds @ dy) > 1e-12 * float(np.linalg.norm(ds) * np.linalg.norm(dy)):
            s, y = (*s, ds)[-10:], (*y, dy)[-10:]
        x, value, g = x + step, new_value, new_g
    return x, value, g, bool(np.abs(g).max() <= tolerance)
