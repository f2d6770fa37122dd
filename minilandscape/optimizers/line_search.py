"""Golden section search: on a bracket, and as the line search of L-BFGS-GSS."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, isfinite, sqrt
from typing import NamedTuple

GOLDEN = (3 - sqrt(5)) / 2  # 0.382, the smaller part of the golden section


class Minimum(NamedTuple):
    """The lowest point found, and what it cost."""

    u: float
    value: float
    evaluations: int


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
    """The minimum of a function of one variable between a and b.

    Each step keeps the part of the bracket that holds the lower of two inner points, which divide it by the golden
    ratio, so that one of them serves again.

    Parameters
    ----------
    f
        The function; values that are not finite count as +inf.
    a, b
        The ends, in either order and of any sign; they are not evaluated.
    inner
        A point between them and its value, where one is known: the first section starts there.
    evaluations
        The most evaluations of f.
    tolerance
        Stops when the bracket is shorter than this part of its first length.
    value_tolerance
        Stops when the values at the two inner points differ by less than this part of their size. 0 turns it off, since
        points on either side of a minimum may be equally high and far from it; a line search has no use for more.

    Returns
    -------
    Minimum
        The lowest point evaluated (or ``inner``); u is a and the value +inf if nothing was.

    Raises
    ------
    ValueError
        If an end is not finite or ``inner`` does not lie between them.
    """
    if not (isfinite(a) and isfinite(b)):
        raise ValueError(f"the bracket is [{a}, {b}]; expected finite ends")
    a, b = min(a, b), max(a, b)
    first_length, used = b - a, 0
    best = Minimum(a, inf, 0)

    def evaluate(u: float) -> float:
        nonlocal used, best
        used += 1
        value = _finite(float(f(u)))
        if value < best.value:
            best = Minimum(u, value, used)
        return value

    if inner is not None:
        x, fx = inner[0], _finite(inner[1])
        if not a < x < b:
            raise ValueError(f"the inner point {x} does not lie between {a} and {b}")
        best = Minimum(x, fx, 0)
    elif evaluations > 0 and first_length > 0:
        x = a + GOLDEN * first_length
        fx = evaluate(x)
    else:
        return best
    while used < evaluations:
        if b - a <= tolerance * first_length:
            break
        y = x + GOLDEN * (b - x) if b - x > x - a else x - GOLDEN * (x - a)
        if y in (x, a, b):  # the bracket is as short as rounding allows
            break
        fy = evaluate(y)
        finite = isfinite(fx) and isfinite(fy)
        close = value_tolerance > 0 and finite and abs(fx - fy) <= value_tolerance * max(abs(fx), abs(fy))
        # Between two walls the way is toward the lower end, where a line search comes from.
        nearer = fy < fx or (fx == inf and y < x)
        (lower, f_lower), upper = ((y, fy), x) if nearer else ((x, fx), y)
        if upper < lower:
            a = upper
        else:
            b = upper
        x, fx = lower, f_lower
        if close:
            break
    return Minimum(best.u, best.value, used)


def search_step(
    f: Callable[[float], float],
    f0: float,
    *,
    first: float = 0.2,
    budget: int = 6,
    tolerance: float = 1e-4,
) -> Minimum:
    """A step length along a descent direction, by bracketing and golden section (Algorithm 1's line search).

    The first trial ``first`` is doubled while the value falls and shrunk by 0.382 toward 0 while it is no lower than
    at 0; then the golden section goes on inside the bracket.

    Parameters
    ----------
    f
        u -> f(ω − u p).
    f0
        The value at u = 0.
    budget
        Evaluations in all, bracketing included.
    tolerance
        Relative, of the bracket and of the values in :func:`golden_section`.

    Returns
    -------
    Minimum
        The best step; u = 0 with f0 where nothing lies below f0.
    """
    used = 0

    def evaluate(u: float) -> float:
        nonlocal used
        used += 1
        return _finite(float(f(u)))

    low, middle, upper = 0.0, first, None
    f_middle = evaluate(middle)
    if f_middle < f0:
        while used < budget:
            u = 2 * middle
            fu = evaluate(u)
            if fu >= f_middle:
                upper = u
                break
            low, middle, f_middle = middle, u, fu
    else:
        while f_middle >= f0 and used < budget:
            upper, middle = middle, GOLDEN * middle
            f_middle = evaluate(middle)
        if f_middle >= f0:
            return Minimum(0.0, f0, used)
    if upper is None or used >= budget:
        return Minimum(middle, f_middle, used)
    found = golden_section(
        f,
        low,
        upper,
        inner=(middle, f_middle),
        evaluations=budget - used,
        tolerance=tolerance,
        value_tolerance=tolerance,
    )
    return Minimum(found.u, found.value, used + found.evaluations)
