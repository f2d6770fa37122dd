"""The reasons that a search for a chain gives: texts of its errors, its result and its lines of progress."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..display import number, with_unit
from ..landscape import LandscapeError
from ..landscape.jumps import Jump
from ..saddles import Surface

#: The endpoints by their index among the known minima.
NAMES = {0: "start", 1: "end"}


def slope(landscape: Any, residual: float) -> str:
    """Format a gradient component with its unit."""
    energy, length = landscape.value_unit, landscape.length_unit
    return with_unit(number(residual, 3), f"{energy}/{length}" if energy and length else "")


def not_evaluated(surface: Surface, name: str, point: np.ndarray, value: float) -> LandscapeError:
    """Make the error of an endpoint that cannot be evaluated."""
    try:
        surface.stack(point[None])
    except LandscapeError as error:
        return LandscapeError(f"the {name} cannot be evaluated: {error}", point)
    return LandscapeError(f"the value or the gradient at the {name} is not finite ({value})", point)


def not_a_minimum(landscape: Any, name: str, residual: float, largest: float, apart: float, rises: bool) -> ValueError:
    """Make the error of an endpoint whose gradient is close to the largest on the first path."""
    return ValueError(
        f"the {name} is not a minimum: its largest gradient component, {slope(landscape, residual)}, is "
        f"{residual / largest:.0%} of the largest on the path to the other endpoint, "
        f"{with_unit(number(apart, 3), landscape.length_unit)} away; relax both endpoints first"
        + (", unless they are one minimum: the value does not rise between them" if not rises else "")
    )


def replaced(landscape: Any, end: int, points: list[np.ndarray], lower: float, saddle: bool) -> str:
    """Say by which minimum an endpoint was replaced; ``points`` are the two, ``lower`` the difference of values."""
    name, down = NAMES[end], with_unit(number(lower, 3), landscape.value_unit)
    if saddle:
        return (
            f"the {name} is a saddle itself, and no minimum: it was replaced by the minimum beyond it, {down} lower "
            f"than the {name} as given"
        )
    apart = float(np.linalg.norm(landscape.displacement(*points)))
    away = with_unit(number(apart, 3), landscape.length_unit)
    return (
        f"the {name} was replaced by the minimum below it, {away} away from the {name} as given and {down} lower than "
        "that: the barrier counts from the minimum"
    )


def not_relaxed(landscape: Any, end: int, residual: float, threshold: float) -> str:
    """Say that an endpoint has a larger gradient than the saddle may have."""
    return (
        f"the {NAMES[end]} is not relaxed to the saddle's threshold of {slope(landscape, threshold)}, its largest "
        f"gradient component is {slope(landscape, residual)}: the barrier counts from it as it is"
    )


def contradiction(landscape: Any, jump: Jump) -> str:
    """Say that values at two neighbouring points do not follow from the gradients there."""
    first, second = (with_unit(number(value), landscape.value_unit) for value in jump.values)
    apart = with_unit(number(jump.distance, 2), landscape.length_unit)
    allowed = with_unit(number(jump.allowed, 2), landscape.value_unit)
    return (
        f"values and gradients contradict each other: {first} and {second} at two points {apart} apart, where the "
        f"gradients allow a change of {allowed}. Either the gradient is wrong (check_gradient), or a value is not "
        "repeated: because of noise, or since a calculation starts from the result of the one before"
    )


def incomplete(reason: str | None, against: bool) -> str:
    """Say why a chain is incomplete; ``against`` is whether gradients contradict the values."""
    hint = "; the values increase where the gradient implies a decrease: does it return the force instead?"
    return f"the chain is incomplete: {reason}{hint if against else ''}"


def not_searched(pairs: int) -> str:
    """Say between how many pairs of minima no saddle was searched."""
    which = "one pair" if pairs == 1 else f"{pairs} pairs"
    return f"{which} of the chain not searched: a coarse path between them stays below the saddle"
