"""Golden section search: on a bracket, and as the line search of L-BFGS-GSS."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, isfinite, sqrt
from typing import NamedTuple

GOLDEN = (3 - sqrt(5)) / 2  # 0.382, the smaller part of the golden section


class Minimum(NamedTuple):
    """The lowest point found and the number of evaluations."""

    u: float
    value: float
    evaluations: int


class _Trials:
    """A function of one variable that counts its evaluations and keeps the lowest; not finite counts as +inf."""

    def __init__(self, f: Callable[[float], float], best: Minimum) -> None:
        self._f = f
        self.best = best
        self.used = 0

    def __call__(self, u: float) -> float:
        self.used += 1
        value = _finite(float(self._f(u)))
        if value < self.best.value:
            self.best = Minimum(u, value, self.used)
        return value


def _finite(value: float) -> float:
    return value if isfinite(value) else inf


def golden_section(
    f: Callable[[float], float],
    a: float,
    b: float,
    *,
    inner: tuple[float, float] | None = None,
    evaluations: int = 100,
    tolerance: float = 1e-8,
    value_tolerance: float = 0.0,
) -> Minimum:
    """Find the minimum of a function of one variable between a and b.

    Each iteration keeps the part of the bracket around the lower of two inner points. They divide the bracket by the
    golden ratio, so that one of them is an inner point of the next bracket.

    Parameters
    ----------
    f
        The function; values that are not finite count as +inf.
    a, b
        The bracket, in either order; the function is not evaluated there.
    inner
        A point of the bracket and its value if one is known: the search starts there.
    evaluations
        The largest number of evaluations of f.
    tolerance
        The search stops when the bracket is shorter than this fraction of its first length.
    value_tolerance
        The search stops when the values at the two inner points differ by less than this fraction of their size. 0
        turns this off: points on either side of a minimum may have equal values and be far from it.

    Returns
    -------
    Minimum
        The lowest point evaluated (or ``inner``); u is a and the value +inf if none was.

    Raises
    ------
    ValueError
        If a or b is not finite, or ``inner`` does not lie between them.
    """
    if not (isfinite(a) and isfinite(b)):
        raise ValueError(f"the bracket is [{a}, {b}]; expected finite numbers")
    a, b = min(a, b), max(a, b)
    first_length = b - a
    trials = _Trials(f, Minimum(a, inf, 0))
    if inner is not None:
        x, fx = inner[0], _finite(inner[1])
        if not a < x < b:
            raise ValueError(f"the inner point {x} does not lie between {a} and {b}")
        trials.best = Minimum(x, fx, 0)
    elif evaluations > 0 and first_length > 0:
        x = a + GOLDEN * first_length
        fx = trials(x)
    else:
        return trials.best
    while trials.used < evaluations and b - a > tolerance * first_length:
        y = x + GOLDEN * (b - x) if b - x > x - a else x - GOLDEN * (x - a)
        if y in (x, a, b):  # the bracket is as short as rounding allows
            break
        fy = trials(y)
        close = _close(fx, fy, value_tolerance)
        # Between two walls of +inf the search moves to the lower end, where a line search starts.
        nearer = fy < fx or (fx == inf and y < x)
        (x, fx), other = ((y, fy), x) if nearer else ((x, fx), y)
        a, b = (other, b) if other < x else (a, other)
        if close:
            break
    return Minimum(trials.best.u, trials.best.value, trials.used)


def _close(fx: float, fy: float, tolerance: float) -> bool:
    """Return whether two finite values differ by at most a relative tolerance above 0."""
    if tolerance <= 0 or not (isfinite(fx) and isfinite(fy)):
        return False
    return abs(fx - fy) <= tolerance * max(abs(fx), abs(fy))


def search_step(
    f: Callable[[float], float],
    f0: float,
    *,
    first: float = 0.2,
    budget: int = 6,
    tolerance: float = 1e-4,
) -> Minimum:
    """Find a step length along a descent direction by bracketing and golden section search (Algorithm 1).

    The first trial step ``first`` is doubled while the value falls, or shrunk by the factor 0.382 while the value is
    not below f(0). The golden section search then starts from that bracket.

    Parameters
    ----------
    f
        The function u -> f(ω − u p).
    f0
        The value at u = 0.
    budget
        Number of evaluations, bracketing included.
    tolerance
        Relative tolerance of bracket and values in :func:`golden_section`.

    Returns
    -------
    Minimum
        The best step; u = 0 and f0 if no trial step has a value below f0.
    """
    trials = _Trials(f, Minimum(0.0, f0, 0))
    low, middle, upper = 0.0, first, None
    f_middle = trials(middle)
    if f_middle < f0:
        while trials.used < budget:
            u = 2 * middle
            fu = trials(u)
            if fu >= f_middle:
                upper = u
                break
            low, middle, f_middle = middle, u, fu
    else:
        while f_middle >= f0 and trials.used < budget:
            upper, middle = middle, GOLDEN * middle
            f_middle = trials(middle)
        if f_middle >= f0:
            return Minimum(0.0, f0, trials.used)
    if upper is None or trials.used >= budget:
        return Minimum(middle, f_middle, trials.used)
    found = golden_section(
        f,
        low,
        upper,
        inner=(middle, f_middle),
        evaluations=budget - trials.used,
        tolerance=tolerance,
        value_tolerance=tolerance,
    )
    return Minimum(found.u, found.value, trials.used + found.evaluations)
