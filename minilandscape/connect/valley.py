"""Find the minimum downhill from a point."""

from __future__ import annotations

import numpy as np

from ..landscape import LandscapeError
from ..saddles import Descent, Known, Minimum, Model, Rescaled, Seen, Surface, unit_of

#: Finite-difference step for a curvature, relative to the length scale.
APART = 1e-3


def minimum_below(
    surface: Surface, x: np.ndarray, direction: np.ndarray, reach: float, tolerance: float, known: Known
) -> Minimum:
    """Follow the value downhill from x to a minimum, or give the reason why there is none.

    The first curvature is measured along ``direction``; ``reach`` is the unit of the step sizes.
    """
    assert surface.scale is not None
    if (unit := unit_of(tolerance * surface.scale)) != 1:
        inner = Surface(Rescaled(surface.landscape, unit), surface.scale)
        found = minimum_below(inner, x, direction, reach, tolerance / unit, known.times(1 / unit))
        surface.evaluations += inner.evaluations
        surface.rounds += inner.rounds
        return found.times(unit)
    here = Seen.at(surface, x)
    beside = Seen.at(surface, x + APART * surface.scale * direction / np.linalg.norm(direction))
    if not (here.finite and beside.finite):
        return Minimum(x, here.value, reason="the landscape cannot be evaluated there")
    try:
        if surface.noise is None:
            surface.measure(here.x, here.value, here.whole)
        model = Model.of(beside.x - here.x, beside.g - here.g).positive()
        return Descent(surface, here, model, reach, np.inf, tolerance, known).run()
    except LandscapeError as error:
        return Minimum(x, here.value, reason=str(error))
