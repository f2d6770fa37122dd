"""Values that contradict the gradients are named: of wrong gradients, and of functions that remember."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minilandscape as ml
from minilandscape.landscape.jumps import largest_jump
from minilandscape.potentials import LennardJones, MullerBrown

BROWN = MullerBrown()


def scaled(factor: float) -> Any:
    """Müller and Brown's values, with gradients times a factor."""

    def f(x: np.ndarray) -> tuple[float, np.ndarray]:
        (value,), (gradient,) = BROWN.values_and_gradients(x[None])
        return value, factor * gradient

    return f


class Remembers:
    """Two wells, of which the one of the evaluation before is kept while it is less than ``gap`` above the other."""

    def __init__(self, gap: float) -> None:
        self.gap, self.well, self.calls = gap, None, 0

    def __call__(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        self.calls += 1
        away = x - np.array([[-1.0, 0], [1.0, 0]])
        values = (away**2).sum(axis=1)
        if self.well is None or values[self.well] > values.min() + self.gap:
            self.well = int(values.argmin())
        return float(values[self.well]), 2 * away[self.well]


@pytest.mark.parametrize("spread", [1e-6, 1e-3, 1e-1])
@pytest.mark.parametrize("land", [BROWN, LennardJones(4)], ids=["Müller-Brown", "LJ4"])
def test_a_smooth_function_has_no_jump(land: Any, spread: float) -> None:
    rng = np.random.default_rng(0)
    middle = np.array([-0.7, 0.6]) if land is BROWN else 0.4 * np.array([1.0, 1, 1, 1, -1, -1, -1, 1, -1, -1, -1, 1])
    points = middle + spread * rng.standard_normal((60, land.size))
    values, gradients = land.values_and_gradients(points)
    assert largest_jump(points, values, gradients, np.inf if spread < 0.1 else 0.05, 1e-9 * np.ptp(values)) is None


@pytest.mark.parametrize("height", [0.3, -2.0])
def test_a_step_is_found_with_its_numbers(height: float) -> None:
    points = np.linspace(-1, 1, 21)[:, None]
    values = points[:, 0] + np.where(points[:, 0] > 0.04, height, 0)
    found = largest_jump(points, values, np.ones_like(points), near=0.11, least=0.05)
    assert found is not None
    assert found.values == pytest.approx((0, 0.1 + height))
    assert (found.distance, found.allowed) == pytest.approx((0.1, 0.1))
    assert largest_jump(points, values, np.ones_like(points), near=0.09, least=0.05) is None
    assert largest_jump(points, values, np.ones_like(points), near=0.11, least=2.0) is None
    assert largest_jump([], [], [], 1.0, 0.0) is None
    values[3], slopes = np.inf, np.ones_like(points)
    slopes[5] = np.nan
    assert largest_jump(points, values, slopes, near=0.11, least=0.05) == found


@pytest.mark.parametrize("factor", [0.0, 0.3, -1.0])
def test_a_wrong_gradient_is_suspected(factor: float) -> None:
    land = ml.FunctionLandscape(scaled(factor), 2)
    found = ml.find_saddle(land, *BROWN.minima[:2])
    assert not found.converged
    assert "the gradient is wrong (check_gradient)" in found.reason or "does it return the force" in found.reason


@pytest.mark.parametrize("gap", [2.0, 3.9])
def test_a_function_that_remembers_is_not_searched_on(gap: float) -> None:
    f = Remembers(gap)
    found = ml.find_saddle(ml.FunctionLandscape(f, 2), [-1.0, 0], [1.0, 0])
    assert not found.converged
    assert "values and gradients contradict each other" in found.reason
    assert f.calls < 1000


@pytest.mark.parametrize("gap", [2.0, 3.9])
def test_all_calculations_are_counted(gap: float) -> None:
    """Values alone are calculations too, which the stage of paths asks for."""
    pytest.importorskip("ase")
    from ase import Atoms
    from ase.calculators.calculator import Calculator, all_changes
    from ase.constraints import FixAtoms

    from minilandscape.adapters.ase import barrier

    f = Remembers(gap)

    class Follows(Calculator):
        implemented_properties = ("energy", "forces")

        def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
            super().calculate(atoms, properties, system_changes)
            value, gradient = f(atoms.positions[1, :2])
            forces = np.zeros((4, 3))
            forces[1] = [*-gradient, -2 * (atoms.positions[1, 2] - 3)]
            self.results = {"energy": value + (atoms.positions[1, 2] - 3) ** 2, "forces": forces}

    def at(x: float) -> Atoms:
        places = [[0, 0, 0], [x, 0, 3], [0, 5, 1], [7, 1, 0]]
        return Atoms("HLiNB", places, constraint=FixAtoms([0, 2, 3]))

    found = barrier(at(-1), at(1), Follows)
    assert not found.converged
    assert "values and gradients contradict each other" in found.reason
    assert found.calls["total"] == f.calls
