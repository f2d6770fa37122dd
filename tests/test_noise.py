"""The noise of a landscape: rounding, single precision, random numbers, restarted iterations, any unit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minilandscape as ml
from minilandscape.landscape import LandscapeDefaults, LandscapeError
from minilandscape.potentials import LennardJones, MullerBrown

OCTAHEDRON = 0.79 * np.concatenate([np.eye(3), -np.eye(3)])
CLUSTER = OCTAHEDRON.ravel() + 0.05 * np.random.default_rng(5).standard_normal(18)


class Disturbed(LandscapeDefaults):
    """LJ6 in other units, with a noise of one's choice; counts its points."""

    def __init__(self, disturb: Any = None, energy: float = 1.0, length: float = 1.0, dtype: Any = np.float64) -> None:
        self.inner, self.disturb, self.energy, self.length = LennardJones(6), disturb, energy, length
        self.size, self.dtype, self.seen = 18, np.dtype(dtype), list[bytes]()

    def values_and_gradients(self, points: Any) -> Any:
        self.seen += [point.tobytes() for point in points]
        values, gradients = self.inner.values_and_gradients(np.asarray(points, dtype=np.float64) / self.length)
        if self.disturb is not None:
            values, gradients = self.disturb(values), self.disturb(gradients)
        return self.energy * values, (self.energy / self.length * gradients).astype(self.dtype)


def random(sigma: float) -> Any:
    rng = np.random.default_rng(1)
    return lambda numbers: numbers + sigma * rng.standard_normal(numbers.shape)


def restarted(sigma: float) -> Any:
    """Errors that follow those of the calculation before, as with a density that is used again."""
    rng, errors = np.random.default_rng(1), dict[int, Any]()

    def disturb(numbers: Any) -> Any:
        numbers = np.array(numbers)
        for row in numbers if numbers.ndim == 2 else numbers[:, None]:
            errors[row.size] = 0.5 * errors.get(row.size, 0) + sigma * 0.75**0.5 * rng.standard_normal(row.shape)
            row += errors[row.size]
        return numbers

    return disturb


def single(numbers: Any) -> Any:
    return numbers.astype(np.float32).astype(np.float64)


@pytest.mark.parametrize("kind", [random, restarted])
@pytest.mark.parametrize("sigma", [1e-10, 1e-6, 1e-3, 1e-1])
@pytest.mark.parametrize("scale", [None, 1.5])
def test_noise_that_was_put_in_is_found(sigma: float, kind: Any, scale: float | None) -> None:
    noise = ml.measure_noise(Disturbed(kind(sigma)), CLUSTER, scale=scale)
    assert noise.gradient == pytest.approx(sigma, rel=0.6)
    assert sigma / 5 < noise.value < 5 * sigma  # one series of seven
    assert noise.gradient <= noise.gradient_largest < 5 * sigma
    assert noise.evaluations.gradients <= 31


@pytest.mark.parametrize("energy", [1e-200, 1e-20, 1.0, 1e20, 1e200])
@pytest.mark.parametrize("length", [1e-10, 1.0, 1e10])
@pytest.mark.parametrize("disturb", [None, random])
def test_units_do_not_matter(energy: float, length: float, disturb: Any) -> None:
    def measured(energy: float, length: float) -> ml.Noise:
        land = Disturbed(disturb and disturb(1e-6), energy, length)
        return ml.measure_noise(land, CLUSTER * length, scale=1.5 * length)

    one, other = measured(1.0, 1.0), measured(energy, length)
    loose = 0.01 if disturb else 0.7  # rounding errors are others
    assert other.value / energy == pytest.approx(one.value, rel=loose)
    assert other.gradient / energy * length == pytest.approx(one.gradient, rel=loose)
    assert other.curvature / energy * length**2 == pytest.approx(one.curvature, rel=0.01)
    assert other.length / length == pytest.approx(one.length, rel=0.01)
    steps = np.array([ml.product_step(noise, 1.5 * unit) for noise, unit in ((one, 1.0), (other, length))])
    assert steps[1] / [length, energy / length**2] == pytest.approx(steps[0], rel=loose)


def test_exact_functions_have_the_noise_of_their_rounding() -> None:
    for land, x in ((LennardJones(6), CLUSTER), (MullerBrown(), MullerBrown().saddles[0])):
        noise = ml.measure_noise(land, x)
        values, gradients = land.values_and_gradients(x + 1e-3 * np.random.default_rng(0).uniform(-1, 1, (9, x.size)))
        eps = np.finfo(float).eps
        assert 0.1 * eps < noise.value / np.abs(values).max() < 100 * eps
        assert 0.1 * eps < noise.gradient / np.abs(gradients).max() < 1000 * eps  # sums of larger terms
        assert noise.evaluations == ml.Evaluations(gradients=7)
        assert 0.01 < noise.length < 1


def test_the_whole_curvature_is_that_of_the_hessian() -> None:
    """f = ½ c |x|²: |H u| = c for every unit vector, and no length over which it changes."""
    noise = ml.measure_noise(lambda x: (1.5 * (x @ x), 3 * x), np.array([0.3, -0.4, 2.0]))
    assert noise.curvature == pytest.approx(3, rel=1e-6)
    assert noise.length == np.inf


@pytest.mark.parametrize("where", ["numbers", "positions", "dtype"])
def test_single_precision_is_seen(where: str) -> None:
    """Also where the values do not change at all at tiny displacements, and the dtype says double."""
    land = Disturbed(single if where == "numbers" else None, dtype=np.float32 if where == "dtype" else np.float64)
    if where == "positions":
        inner = land.inner.values_and_gradients
        land.inner.values_and_gradients = lambda points: inner(single(points))  # type: ignore[method-assign]
    x = CLUSTER.astype(land.dtype)
    noise = ml.measure_noise(land, x)
    eps, (values, gradients) = float(np.finfo(np.float32).eps), land.inner.values_and_gradients(CLUSTER[None])
    assert 0.1 * eps * np.abs(gradients).max() < noise.gradient < 30 * eps * np.abs(gradients).max()
    assert 0.1 * eps * np.abs(values[0]) < noise.value < 100 * eps * np.abs(values[0])
    assert len(set(land.seen)) == len(land.seen) == noise.evaluations.gradients


@pytest.mark.parametrize("size", [1, 2, 18, 1000])
def test_the_step_gives_products_that_err_by_what_is_said(size: int) -> None:
    """f = Σ c x²/2 + sin x with noise: the error of H v over many draws and directions."""
    c, rng = np.linspace(1, 5, size), np.random.default_rng(0)
    disturb = random(1e-5)
    land = ml.FunctionLandscape(
        lambda X: (disturb((0.5 * c * X**2 + np.sin(X)).sum(axis=1)), disturb(c * X + np.cos(X))),
        size=size,
        batched=True,
    )
    x = rng.standard_normal(size)
    step, error = ml.product_step(ml.measure_noise(land, x, scale=1.0), 1.0)
    errors = []
    for _ in range(30):
        v = rng.standard_normal(size)
        v /= np.linalg.norm(v)
        (ahead, behind) = land.values_and_gradients(np.stack([x + step * v, x - step * v]))[1]
        errors.append(np.linalg.norm((ahead - behind) / (2 * step) - (c - np.sin(x)) * v))
    # Of one or two components the noise is known within a factor of about 3.
    assert 0.2 * error < np.sqrt(np.mean(np.square(errors))) < (4 if size < 3 else 2) * error


def test_a_point_far_from_the_origin_and_a_fine_structure() -> None:
    noise = ml.measure_noise(LennardJones(6), CLUSTER + 1e7)
    assert noise.curvature == pytest.approx(ml.measure_noise(LennardJones(6), CLUSTER).curvature, rel=0.01)
    assert 1e-9 < noise.gradient < 1e-5  # coordinates are rounded to 1e-9
    narrow = Disturbed(length=1e-6)
    assert ml.measure_noise(narrow, 1e-6 * CLUSTER, scale=1.0).length < 1e-6


@pytest.mark.parametrize("f", [lambda x: (0.0, 0 * x), lambda x: (1.0, 0 * x), lambda x: (x[0], np.eye(2)[0])])
def test_flat_and_linear_functions_have_a_noise_above_zero(f: Any) -> None:
    for x in (np.zeros(2), np.ones(2)):
        noise = ml.measure_noise(f, x)
        assert 0 < noise.value < 1e-15
        assert 0 < noise.gradient < 1e-15
        step, error = ml.product_step(noise)
        assert 0 < step < 1
        assert np.isfinite(error)


def test_known_values_are_not_asked_for_again_and_nothing_is_touched() -> None:
    land, x = Disturbed(), CLUSTER.copy()
    x.setflags(write=False)
    values, gradients = LennardJones(6).values_and_gradients(x[None])
    noise = ml.measure_noise(land, x, known=(values[0], gradients[0]))
    assert noise.evaluations.gradients == len(land.seen) == 6
    assert x.tobytes() not in land.seen
    assert ml.measure_noise(land, x.tolist()).gradient == noise.gradient


def test_walls_and_refusals() -> None:
    wall = ml.FunctionLandscape(lambda x: (np.nan if x[0] > 1e-9 else x @ x, 2 * x), size=2)
    assert ml.measure_noise(wall, np.zeros(2)).curvature == pytest.approx(2, rel=1e-3)
    with pytest.raises(LandscapeError, match="is not finite"):
        ml.measure_noise(wall, np.ones(2))

    def island(x: Any) -> Any:
        if x.any():
            raise RuntimeError("outside")
        return 0.0, 0 * x

    with pytest.raises(LandscapeError, match="cannot be evaluated next to"):
        ml.measure_noise(island, np.zeros(2))
    with pytest.raises(ValueError, match="expected one vector"):
        ml.measure_noise(wall, np.zeros((2, 2)))
    for scale in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="positive, finite length"):
            ml.measure_noise(wall, np.zeros(2), scale=scale)
