"""The golden section on brackets of every kind, against scipy and dense grids."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.optimize

from minilandscape.optimizers import golden_section


@pytest.mark.parametrize(("a", "b", "minimum"), [(0, 2, 1), (-4, -2, -3), (2, 0, 1), (-1, 1, 0), (10, 30, 20)])
def test_equal_values_on_either_side_are_not_the_end(a: float, b: float, minimum: float) -> None:
    """The first two inner points of a symmetric bracket are equally high, and far from the minimum."""
    assert golden_section(lambda u: (u - minimum) ** 2 + 1, a, b).u == pytest.approx(minimum, abs=1e-6 * abs(b - a))


@pytest.mark.parametrize("centre", [1e9, -1e6, 1e3, -40.0])
def test_a_bracket_far_from_zero_is_as_good_as_one_near_it(centre: float) -> None:
    found = golden_section(lambda u: (u - centre - 0.7) ** 2, centre, centre + 1)
    assert found.u - centre == pytest.approx(0.7, abs=1e-6)


def test_quadratics_anywhere() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        minimum = rng.normal() * 10 ** rng.uniform(-3, 6)
        a, b = minimum - 10 ** rng.uniform(-2, 2), minimum + 10 ** rng.uniform(-2, 2)
        a, b = (a, b) if rng.random() < 0.5 else (b, a)
        found = golden_section(lambda u, m=minimum: (u - m) ** 2, a, b)
        assert abs(found.u - minimum) <= 1e-6 * abs(b - a)


@pytest.mark.parametrize(
    "f",
    [lambda u: np.cosh(u - 0.7), lambda u: abs(u + 0.3), lambda u: u**4 - u, lambda u: -np.exp(-((u - 1) ** 2))],
)
def test_scipy_and_a_dense_grid_agree(f: Callable[[float], float]) -> None:
    found = golden_section(f, -2.0, 2.5)
    grid = np.linspace(-2.0, 2.5, 100_001)
    assert found.u == pytest.approx(grid[np.argmin([f(u) for u in grid])], abs=1e-4)
    assert found.u == pytest.approx(scipy.optimize.golden(f, brack=(-2.0, 2.5), tol=1e-9), abs=1e-4)


def test_close_values_end_it_where_that_is_asked_for() -> None:
    def f(u: float) -> float:
        return 1 + 1e-6 * (u - 0.3) ** 2

    assert golden_section(f, 0, 1, value_tolerance=1e-4).evaluations == 2
    assert golden_section(f, 0, 1).evaluations > 20


def test_an_empty_bracket_or_budget() -> None:
    assert golden_section(lambda u: u, 2, 2).evaluations == 0
    assert golden_section(lambda u: u, 0, 1, evaluations=0).value == np.inf
