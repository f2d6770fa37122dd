"""check_gradient: right gradients pass and wrong ones do not, at any point, scale and precision."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

import minilandscape as ml
from minilandscape.potentials import (
    Camelback,
    Fig3,
    LennardJones,
    Leps,
    LepsOscillator,
    MullerBrown,
    Rosenbrock,
)


class Changed:
    """A landscape with other units, or with a gradient that is changed."""

    def __init__(
        self,
        land: Any,
        change: Callable[[np.ndarray], np.ndarray] | None = None,
        *,
        length: float = 1,
        value: float = 1,
    ) -> None:
        self.land, self.change, self.length, self.value = land, change, length, value
        self.size, self.dtype = land.size, land.dtype

    def values(self, points: Any) -> np.ndarray:
        return self.value * np.asarray(self.land.values((points / self.length).astype(self.dtype)))

    def values_and_gradients(self, points: Any) -> tuple[np.ndarray, np.ndarray]:
        values, gradients = self.land.values_and_gradients((points / self.length).astype(self.dtype))
        gradients = np.array(gradients)
        if self.change is not None:
            gradients = self.change(gradients)
        return self.value * np.asarray(values), self.value / self.length * gradients


def one(factor: float) -> Callable[[np.ndarray], np.ndarray]:
    """The largest component times a factor."""

    def change(gradients: np.ndarray) -> np.ndarray:
        gradients[:, np.abs(gradients[0]).argmax() if gradients.shape[1] > 100 else 0] *= factor
        return gradients

    return change


#: Gradients that are wrong.
WRONG: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "a hundredth too long": lambda g: 1.01 * g,
    "a hundredth too short": lambda g: 0.99 * g,
    "2.5 times too long": lambda g: 2.5 * g,
    "of the other sign": lambda g: -g,
    "in the other order": lambda g: g[:, ::-1],
    "one component zero": one(0.0),
    "one component a tenth too long": one(1.1),
}


def cluster(n: int) -> np.ndarray:
    """A minimum of the Lennard-Jones potential."""
    land = LennardJones(n)
    start = np.array([[i, j, k] for i in range(2) for j in range(2) for k in range(2)], float)[:n]
    start = 1.1 * start + 0.05 * np.random.default_rng(n).standard_normal((n, 3))

    def f(x: np.ndarray) -> tuple[float, np.ndarray]:
        values, gradients = land.values_and_gradients(x[None])
        return values[0], gradients[0]

    return np.asarray(minimize(f, start.ravel(), jac=True, method="BFGS", options={"gtol": 1e-9}).x)


def places() -> list[tuple[str, Any, np.ndarray]]:
    """Minima, saddles and random points of all potentials."""
    found: list[tuple[str, Any, np.ndarray]] = []
    for land in (Fig3(), MullerBrown(), Camelback(), Leps(), LepsOscillator(), Rosenbrock(2), Rosenbrock(7)):
        random = np.random.default_rng(0).uniform(0.5, 1.6, (2, land.size))
        for kind, points in (("minimum", land.minima), ("saddle", land.saddles), ("point", random)):
            found += [(f"{type(land).__name__} {land.size}, {kind} {k}", land, x) for k, x in enumerate(points)]
    for n in (2, 4, 6):
        x = cluster(n)
        found.append((f"LJ{n}, minimum", LennardJones(n), x))
        found.append((f"LJ{n}, point", LennardJones(n), x + 0.05 * np.random.default_rng(0).standard_normal(x.size)))
    return found


PLACES = places()


@pytest.mark.parametrize(("land", "x"), [place[1:] for place in PLACES], ids=[place[0] for place in PLACES])
def test_at_minima_saddles_and_anywhere_in_any_units(land: Any, x: np.ndarray) -> None:
    for length, value in ((1, 1), (1e10, 1e-20), (1e-10, 1), (1, 1e20)):
        check = ml.check_gradient(Changed(land, length=length, value=value), length * x)
        assert check.passed, str(check)
    for name, change in WRONG.items():
        if name == "in the other order" and np.allclose(land.values_and_gradients(x[None])[1], 0, atol=1e-6):
            continue  # near some minima that is the gradient of another point of the same value
        check = ml.check_gradient(Changed(land, change), x)
        assert not check.agrees.all(), name
        assert "gradient check failed: at point 0 along direction" in str(check)


@pytest.mark.parametrize("model", ["fcp", "lenet", "autoencoder", "lstm"])
@pytest.mark.parametrize("variant", ["paper", "authors"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_networks_with_kinks_and_in_single_precision(model: str, variant: str, dtype: Any, small_mnist: Any) -> None:
    if (model, variant) == ("autoencoder", "authors"):
        pytest.skip("the same as paper")
    land = ml.network_landscape(model, small_mnist.train[:12], variant, dtype=dtype)
    x = ml.initial_vector(model, 0, dtype)
    check = ml.check_gradient(land, x)
    assert check.passed, str(check)
    assert check.tolerance == pytest.approx(float(np.finfo(dtype).eps) ** 0.5)
    error = float(str(check).partition("error ")[2].partition(" ")[0])
    assert error < 0.003
    assert ("not resolved: noise or kinks" in str(check)) == bool((check.uncertainty > 1e-3).any())
    for name in ("a hundredth too long", "in the other order"):
        assert not ml.check_gradient(Changed(land, WRONG[name]), x).passed, name
    block = next(block for block in land.network.layout.blocks[::-1] if len(block.shape) == 2)

    def transposed(gradients: np.ndarray) -> np.ndarray:
        part = slice(block.start, block.stop)
        gradients[:, part] = gradients[:, part].reshape(-1, *block.shape).swapaxes(-1, -2).reshape(len(gradients), -1)
        return gradients

    assert not ml.check_gradient(Changed(land, transposed), x).passed


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_coordinate_that_is_off_is_named(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    A = rng.standard_normal((50, 50))

    class Quadratic:
        size = 50

        def __init__(self) -> None:
            self.dtype = np.dtype(dtype)

        def values_and_gradients(self, points: Any) -> tuple[np.ndarray, np.ndarray]:
            gradients = points @ (A + A.T).astype(dtype)
            gradients[:, 17] *= 1.1
            return np.einsum("pi,ij,pj->p", points.astype(float), A, points.astype(float)), gradients

    check = ml.check_gradient(Quadratic(), rng.standard_normal((2, 50)).astype(dtype))
    assert not check.passed
    assert check.coordinate == 17
    assert str(check).endswith("; coordinate 17 of the gradient is wrong")


def single(land: Any) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """A code that computes in single precision and does not say so."""

    def f(x: np.ndarray) -> tuple[float, np.ndarray]:
        values, gradients = land.values_and_gradients(x[None])
        return float(np.float32(values[0])), gradients[0].astype(np.float32)

    return f


def noisy(level: float) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    rng = np.random.default_rng(1)

    def f(x: np.ndarray) -> tuple[float, np.ndarray]:
        return float(np.cosh(x).sum() + level * rng.standard_normal()), np.sinh(x) + level * rng.standard_normal(x.size)

    return f


def raises_beyond(x: np.ndarray) -> tuple[float, np.ndarray]:
    if x[0] > 1.001:
        raise ZeroDivisionError
    return float(x @ x), 2 * x


#: Functions f(x) -> (value, gradient) that are right, and points.
RIGHT: dict[str, tuple[Any, np.ndarray]] = {
    "at the origin": (lambda x: (x @ x, 2 * x), np.zeros(3)),
    "narrow at the origin": (lambda x: (np.exp(-1e20 * x @ x), -2e20 * x * np.exp(-1e20 * x @ x)), np.zeros(3)),
    "wide at the origin": (lambda x: (np.exp(-1e-20 * x @ x), -2e-20 * x * np.exp(-1e-20 * x @ x)), np.zeros(3)),
    "flat to third order": (lambda x: ((x**4).sum(), 4 * x**3), np.zeros(3)),
    "far from the origin": (
        lambda x: (np.exp(-(x - 1e7) @ (x - 1e7)), -2 * (x - 1e7) * np.exp(-(x - 1e7) @ (x - 1e7))),
        1e7 + np.array([0.3, 0.1, 0.2]),
    ),
    "a constant added": (lambda x: (x @ x + 1e6, 2 * x), np.ones(3)),
    "constant": (lambda x: (1.0, 0 * x), np.ones(3)),
    "one coordinate": (lambda x: (float(np.sin(x[0])), np.cos(x)), np.array([0.3])),
    "a kink beside it": (lambda x: (np.abs(x).sum(), np.sign(x)), np.array([1e-9, 2.0, -1])),
    "a wall beside it": (lambda x: ((1 / x).sum(), -1 / x**2), np.array([1e-3, 1.0, 2])),
    "raises beside it": (raises_beyond, np.ones(3)),
    "many waves": (lambda x: (np.sin(1e6 * x).sum(), 1e6 * np.cos(1e6 * x)), np.ones(3)),
    "noise": (noisy(1e-5), np.ones(3)),
    "noise at a minimum": (noisy(1e-5), np.zeros(3)),
    "single precision unsaid": (single(LennardJones(6)), cluster(6) + 0.02),
    "single precision unsaid at a minimum": (single(LennardJones(6)), cluster(6)),
    "1e300": (lambda x: (1e300 * (x @ x), 2e300 * x), np.ones(3)),
    "1e-300": (lambda x: (1e-300 * (x @ x), 2e-300 * x), np.ones(3)),
}


@pytest.mark.parametrize("name", RIGHT)
def test_functions_that_are_hard_to_differentiate(name: str) -> None:
    f, x = RIGHT[name]
    check = ml.check_gradient(f, x)
    assert check.passed, str(check)
    assert str(check).startswith("gradient check passed: 1 point")
    if name == "constant":
        assert not ml.check_gradient(lambda x: (1.0, np.full(3, 1e-9)), x).passed
        return
    assert not ml.check_gradient(lambda x: (f(x)[0], 1.01 * np.asarray(f(x)[1])), x).passed
    assert not ml.check_gradient(lambda x: (f(x)[0], np.r_[1.2, np.ones(x.size - 1)] * f(x)[1]), x).passed


def test_single_precision_of_jax() -> None:
    pytest.importorskip("jax")
    import jax.numpy as jnp

    from minilandscape.adapters.jax import JaxLandscape

    points = np.random.default_rng(0).standard_normal((3, 20))
    land = JaxLandscape(lambda x: jnp.sum(jnp.sin(x) * x) + jnp.sum(x) ** 2, 20)
    assert ml.check_gradient(land, points).passed
    assert not ml.check_gradient(Changed(land, WRONG["a hundredth too long"]), points).passed


def test_a_gradient_that_cannot_be_told_is_not_called_right() -> None:
    check = ml.check_gradient(lambda x: (np.abs(x).sum(), np.sign(x)), np.zeros(3))
    assert not check.passed
    rng = np.random.default_rng(0)
    check = ml.check_gradient(lambda x: (rng.standard_normal(), rng.standard_normal(3)), np.ones(3))
    assert not check.passed
    # An edge of a roof: neither side's slope is the gradient.
    check = ml.check_gradient(lambda x: (max(x[0], -x[0]), np.array([1.0, 0.0])), np.zeros(2))
    assert not check.passed


def test_what_is_not_finite_fails_and_says_so() -> None:
    for f in (
        lambda x: (np.nan, x),
        lambda x: (1.0, np.inf * np.ones(3)),
        lambda x: (x @ x, np.where(np.arange(3) == 1, np.nan, 2 * x)),
    ):
        check = ml.check_gradient(f, np.ones(3))
        assert not check.passed
        assert "the value or the gradient is not finite" in str(check)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tolerance": 0}, "tolerance is 0; expected a relative error above 0 and below 1"),
        ({"tolerance": -1e-6}, "tolerance is -1e-06"),
        ({"tolerance": np.nan}, "tolerance is nan; expected a relative error"),
        ({"tolerance": 1.0}, r"tolerance is 1\.0"),
        ({"step": 0}, "step is 0; expected a positive, finite number"),
        ({"step": np.inf}, "step is inf"),
        ({"tolerance": "1e-3"}, "tolerance is '1e-3'; expected a relative error"),
        ({"n_directions": 2.5}, r"n_directions is 2\.5; expected a whole number"),
        ({"directions": np.ones(2), "n_directions": 5}, "n_directions is 5, but the directions are given"),
        ({"directions": np.zeros(2)}, "a direction is zero"),
        ({"directions": [1, np.nan]}, "a direction is zero, or not finite"),
        ({"directions": np.ones(2), "seed": 1}, "seed is 1, but the directions are given"),
    ],
)
def test_options_that_say_nothing_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ml.check_gradient(lambda x: (x @ x, 2 * x), np.ones(2), **options)
    with pytest.raises(ValueError, match="points hold numbers that are not finite"):
        ml.check_gradient(lambda x: (x @ x, 2 * x), [1, np.nan])
    for points in ("abc", None, np.ones(2) + 1j):
        with pytest.raises(TypeError, match=r"points is .* expected a vector of real numbers"):
            ml.check_gradient(lambda x: (x @ x, 2 * x), points)


@pytest.mark.parametrize("noise", [0.0, 1e-8, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2])
@pytest.mark.parametrize("D", [1, 5, 40])
def test_a_passed_check_prints_no_error_above_what_it_allows(noise: float, D: int) -> None:
    rng = np.random.default_rng(D)
    check = ml.check_gradient(lambda x: (float(x @ x) + noise * rng.standard_normal(), 2 * x), np.linspace(1, 2, D))
    assert check.passed
    printed = [float(number) for number in re.findall(r"(?:error|tolerance|known to) ([0-9.e+-]+[0-9])", str(check))]
    assert printed[0] <= sum(printed[1:])
