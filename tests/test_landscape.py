"""FunctionLandscape, the default span, as_landscape and check_gradient."""

from __future__ import annotations

import re
import threading
from decimal import Decimal
from fractions import Fraction
from typing import Any, ClassVar

import autograd.numpy as anp
import numpy as np
import pytest

import minilandscape as ml
from minilandscape.landscape import (
    PATH_DEFAULTS,
    Evaluations,
    FunctionLandscape,
    LandscapeDefaults,
    LandscapeError,
    PointSpan,
    as_landscape,
    check_gradient,
)
from minilandscape.potentials import MullerBrown, rigid_motions

POINTS = np.random.default_rng(0).standard_normal((7, 3))


def f(x: Any) -> Any:
    return anp.sum(anp.sin(x) * x, axis=-1)


def gradient(x: Any) -> Any:
    return np.sin(x) + x * np.cos(x)


FORMS: dict[str, FunctionLandscape] = {
    "both": FunctionLandscape(lambda x: (f(x), gradient(x)), size=3),
    "apart": FunctionLandscape(f, size=3, gradient=gradient),
    "autograd": FunctionLandscape(f, size=3, gradient="autograd"),
    "batched": FunctionLandscape(lambda x: (f(x), gradient(x)), size=3, batched=True),
    "batched autograd": FunctionLandscape(f, gradient="autograd", batched=True),
    "workers": FunctionLandscape(lambda x: (f(x), gradient(x)), size=3, workers=3),
    "batched workers": FunctionLandscape(lambda x: (f(x), gradient(x)), size=3, batched=True, workers=3),
}


class Foreign:
    """An object of some other code with the required methods alone."""

    size = 3

    def values_and_gradients(self, points: np.ndarray) -> tuple[list[float], np.ndarray]:
        return list(f(points)), gradient(points)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_values_and_gradients(form: str) -> None:
    land = FORMS[form]
    values, gradients = land.values_and_gradients(POINTS)
    assert values == pytest.approx(f(POINTS), rel=1e-14)
    assert gradients == pytest.approx(gradient(POINTS), rel=1e-12)
    assert land.values(POINTS) == pytest.approx(f(POINTS), rel=1e-14)
    assert land.size == 3


def test_workers_run_side_by_side() -> None:
    both = threading.Barrier(2, timeout=20)

    def wait(x: np.ndarray) -> tuple[float, np.ndarray]:
        both.wait()
        return float(f(x)), gradient(x)

    FunctionLandscape(wait, size=3, workers=2).values(POINTS[:2])


def test_the_functions_argument_is_its_own() -> None:
    def spoil(x: np.ndarray) -> tuple[float, np.ndarray]:
        x[:] = 0
        return 0.0, x

    points = POINTS.copy()
    FunctionLandscape(spoil, size=3).values_and_gradients(points)
    assert np.array_equal(points, POINTS)


def test_a_function_may_return_the_same_arrays_every_time() -> None:
    value, slope = np.empty(()), np.empty(3)

    def same_arrays(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        value[...], slope[:] = f(x), gradient(x)
        return value, slope

    land = FunctionLandscape(same_arrays, size=3)
    assert land.values(POINTS) == pytest.approx(f(POINTS))
    values, gradients = land.values_and_gradients(POINTS)
    assert values == pytest.approx(f(POINTS))
    assert gradients == pytest.approx(gradient(POINTS))


def kept_list() -> Any:
    kept = [0.0] * 3
    return kept, lambda x: kept.__setitem__(slice(None), gradient(x).tolist())


def kept_list_of_arrays() -> Any:
    kept = [np.empty(()) for _ in range(3)]
    return kept, lambda x: [np.copyto(k, g) for k, g in zip(kept, gradient(x), strict=True)]


def kept_memoryview() -> Any:
    kept = np.empty(3)
    return memoryview(kept), lambda x: np.copyto(kept, gradient(x))


def kept_fractions() -> Any:
    kept = np.empty(3, dtype=object)
    return kept, lambda x: kept.__setitem__(slice(None), [Fraction(g) for g in gradient(x)])


def kept_series() -> Any:
    kept = pytest.importorskip("pandas").Series(np.zeros(3))
    return kept, lambda x: kept.__setitem__(slice(None), gradient(x))


def kept_tensor() -> Any:
    torch = pytest.importorskip("torch")
    kept = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    return kept, lambda x: kept.data.copy_(torch.tensor(gradient(x)))


@pytest.mark.parametrize(
    "make", [kept_list, kept_list_of_arrays, kept_memoryview, kept_fractions, kept_series, kept_tensor]
)
def test_gradients_belong_to_their_points_whatever_object_is_filled_again(make: Any) -> None:
    kept, fill = make()

    def slope(x: np.ndarray) -> Any:
        fill(x)
        return kept

    for land in (FunctionLandscape(lambda x: (f(x), slope(x)), size=3), FunctionLandscape(f, size=3, gradient=slope)):
        values, gradients = land.values_and_gradients(POINTS)
        assert values == pytest.approx(f(POINTS))
        assert gradients == pytest.approx(gradient(POINTS))


def test_an_object_may_return_the_same_array_every_time_and_write_into_its_points() -> None:
    class Same(Foreign):
        kept = np.empty((7, 3))

        def values_and_gradients(self, points: np.ndarray) -> Any:
            values = f(points)
            self.kept[:] = gradient(points)
            points[:] = 0
            return values, self.kept

    land, points = as_landscape(Same()), POINTS.copy()
    _, first = land.values_and_gradients(points)
    land.values_and_gradients(2 * POINTS)
    assert first == pytest.approx(gradient(POINTS))
    assert np.array_equal(points, POINTS)


def test_a_function_and_its_gradient_each_have_their_own_argument() -> None:
    def spoils(x: np.ndarray) -> float:
        value = float(f(x))
        x[:] = 0
        return value

    land = FunctionLandscape(spoils, size=3, gradient=gradient)
    assert land.values_and_gradients(POINTS)[1] == pytest.approx(gradient(POINTS))


MASKED = np.ma.masked_array([1.0, 2.0, 3.0], mask=[False, True, False])


@pytest.mark.parametrize(
    ("value", "slope", "message"),
    [
        (1 + 0.5j, np.ones(3), "the value at .* is complex, with an imaginary part"),
        (np.complex64(1j), np.ones(3), "the value at .* is complex, with an imaginary part"),
        (1.0, np.ones(3) + 1e-3j, "the gradient at .* is complex, with an imaginary part"),
        (1.0, [1.0, 2j, 3.0], "the gradient at .* is complex, with an imaginary part"),
        (1.0, MASKED, "the gradient at .* is a masked array with 1 of 3 numbers masked"),
        (np.ma.masked, np.ones(3), "the value at .* is a masked array"),
        ("1.5", np.ones(3), "the value at .* is str; expected a number"),
        (1.0, ["1", "2", "3"], "the gradient at .* is list; expected numbers"),
        (True, np.ones(3), "the value at .* is bool of dtype bool"),
        (1.0, np.ones(3) > 0, "the gradient at .* of dtype bool"),
        (1.0, [1.0, None, 3.0], "the gradient at .* is list with NoneType in it"),
        (1.0, {"x": 1.0}, "the gradient at .* is dict; expected numbers"),
        (1.0, [[1.0], [2.0, 3.0]], "the gradient at .* is list"),
        (1.0, (x for x in (1.0, 2.0, 3.0)), "the gradient at .* is generator"),
        (1.0, np.ones((3, 1)), r"the gradient at .* has shape \(3, 1\)"),
        (1.0, np.ones(3).view(np.matrix), r"the gradient at .* has shape \(1, 3\)"),
        (np.timedelta64(3, "s"), np.ones(3), r"the value at .* dtype timedelta64"),
    ],
)
@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_what_is_no_real_number_is_refused_by_name(value: Any, slope: Any, message: str) -> None:
    for land in (
        FunctionLandscape(lambda x: (value, slope), size=3),
        FunctionLandscape(lambda x: value, size=3, gradient=lambda x: slope),
    ):
        with pytest.raises(LandscapeError, match=message) as caught:
            land.values_and_gradients(POINTS)
        assert np.array_equal(caught.value.point, POINTS[0])

    class Same(Foreign):
        def values_and_gradients(self, points: np.ndarray) -> Any:
            return (f(points), [slope] * 7) if isinstance(value, float) else ([value] * 7, gradient(points))

    if not hasattr(slope, "send"):  # a generator
        with pytest.raises(LandscapeError) as caught:
            as_landscape(Same()).values_and_gradients(POINTS)
        assert np.array_equal(caught.value.point, POINTS[0])


@pytest.mark.parametrize(
    ("value", "slope"),
    [
        (2.0 + 0j, np.array([1.0, 2.0, 3.0], dtype=complex)),
        (Fraction(2), [Fraction(1), Decimal(2), 3]),
        (np.float16(2), np.array([1, 2, 3], dtype=np.int8)),
        (np.array([2]), np.array([1.0, 2.0, 3.0], dtype=">f4")),
        (np.ma.masked_array(2.0), np.ma.masked_array([1.0, 2.0, 3.0])),
    ],
)
def test_real_numbers_of_any_kind_are_taken(value: Any, slope: Any) -> None:
    values, gradients = FunctionLandscape(lambda x: (value, slope), size=3).values_and_gradients(POINTS[:1])
    assert values.tolist() == [2.0]
    assert gradients.tolist() == [[1.0, 2.0, 3.0]]
    assert values.dtype == gradients.dtype == np.float64


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: 1 / 0, "raised ZeroDivisionError at"),
        (lambda x: (f(x), gradient(x), "converged"), "returned tuple of 3; expected"),
        (lambda x: [f(x), gradient(x)], "returned list; expected"),
        (lambda x: (f(x), gradient(x)[:2]), r"gradient at .* has shape \(2,\); expected \(3,\)"),
        (lambda x: (x, gradient(x)), "expected one number"),
        (lambda x: ("low", gradient(x)), "expected a number"),
        (lambda x: (f(x), "steep"), "gradient at .* is str; expected numbers"),
        (lambda x: (None, gradient(x)), "is NoneType; expected a number"),
        (lambda x: f(x), "gradient='autograd'"),
    ],
)
def test_what_a_function_does_wrong_is_said_with_its_point(function: Any, message: str) -> None:
    with pytest.raises(LandscapeError, match=message) as caught:
        FunctionLandscape(function, size=3).values_and_gradients(POINTS)
    assert np.array_equal(caught.value.point, POINTS[0])


def test_the_point_that_went_wrong_is_named() -> None:
    def forgets(x: np.ndarray) -> Any:
        return f(x) if x[0] == POINTS[4, 0] else (f(x), gradient(x))

    def fails(x: np.ndarray) -> Any:
        if x[0] == POINTS[4, 0]:
            raise RuntimeError("no convergence")
        return f(x), gradient(x)

    for function, message in ((forgets, "returned float"), (fails, "raised RuntimeError at .*: no convergence")):
        for workers in (1, 2):
            with pytest.raises(LandscapeError, match=message) as caught:
                FunctionLandscape(function, size=3, workers=workers).values_and_gradients(POINTS)
            assert np.array_equal(caught.value.point, POINTS[4])
            assert f"{POINTS[4, 0]:.6g}" in str(caught.value)


def test_wrong_points_and_options_are_refused() -> None:
    land = FORMS["both"]
    with pytest.raises(ValueError, match=r"x\[None\]"):
        land.values(POINTS[0])
    with pytest.raises(ValueError, match=r"\(P, 3\)"):
        land.values(np.zeros((2, 4)))
    with pytest.raises(ValueError, match="'autograd'"):
        FunctionLandscape(f, gradient="numeric")
    with pytest.raises(TypeError, match="expected a function"):
        FunctionLandscape("x + y")
    with pytest.raises(ValueError, match="at least 1"):
        FunctionLandscape(f, workers=0)
    with pytest.raises(TypeError, match="gradient is bool"):
        FunctionLandscape(f, gradient=True)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="memory is nan"):
        FunctionLandscape(f, memory=float("nan"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"size is 2\.0"):
        FunctionLandscape(f, size=2.0)  # type: ignore[arg-type]


def test_the_default_span_is_points_and_plain_formulas() -> None:
    land, rng = FORMS["both"], np.random.default_rng(1)
    basis = rng.standard_normal((3, 3))
    span = land.span(basis)
    basis_now = basis.copy()
    basis[:] = 0  # rows were copied on the way in
    coefficients = rng.standard_normal((5, 3))

    def compare() -> None:
        points = coefficients @ basis_now
        assert span.basis == pytest.approx(basis_now)
        assert span.values(coefficients) == pytest.approx(f(points))
        for weights in (None, rng.random(5), lambda v: v**2):
            values, pullback = span.values_and_pullback(coefficients, weights, rows=[2, 0])
            factor = np.ones(5) if weights is None else weights(f(points)) if callable(weights) else weights
            expected = (factor[:, None] * coefficients).T @ gradient(points)
            assert values == pytest.approx(f(points))
            assert pullback == pytest.approx(expected[[2, 0]])

    compare()
    new = rng.standard_normal((1, 3))
    span.replace([1], new)
    basis_now[1] = new[0]
    compare()
    mix = np.array([[1.0, -0.5, 0.2], [0.0, 0.3, 1.0]])
    span.combine([0, 2], mix)
    basis_now[[0, 2]] = mix @ basis_now
    compare()
    assert (span.evaluations.values, span.evaluations.gradients) == (15, 45)


def test_a_span_needs_rows_of_the_landscapes_size() -> None:
    with pytest.raises(ValueError, match=r"shape \(2, 4\); expected \(R, 3\)"):
        FORMS["both"].span(np.ones((2, 4)))
    unknown = FunctionLandscape(lambda x: (f(x), gradient(x)))
    assert unknown.span(POINTS[:2]).values(np.eye(2)) == pytest.approx(f(POINTS[:2]))


def test_as_landscape_completes_foreign_objects() -> None:
    land = as_landscape(Foreign(), 3)
    assert land.values(POINTS) == pytest.approx(f(POINTS))
    assert land.span(POINTS[:2]).values(np.eye(2)) == pytest.approx(f(POINTS[:2]))
    assert land.displacement(POINTS[0], POINTS[1]) == pytest.approx(POINTS[1] - POINTS[0])
    assert land.zero_modes(POINTS[0]).shape == (0, 3)
    assert land.path_defaults["objective"] == "maxflux"
    assert as_landscape(land) is land
    assert as_landscape(lambda x: (f(x), gradient(x)), 3).values(POINTS) == pytest.approx(f(POINTS))
    with pytest.raises(ValueError, match="has 3 coordinates, the point 4"):
        as_landscape(Foreign(), 4)
    with pytest.raises(TypeError, match="is no landscape"):
        as_landscape(7)
    with pytest.raises(TypeError, match="Foreign is a class"):
        as_landscape(Foreign)


def test_foreign_objects_may_return_lists_but_not_other_shapes() -> None:
    class Lists(Foreign):
        def values_and_gradients(self, points: np.ndarray) -> Any:
            return f(points).tolist(), gradient(points).tolist()

    assert as_landscape(Lists()).values_and_gradients(POINTS)[1] == pytest.approx(gradient(POINTS))

    class Columns(Foreign):
        def values(self, points: np.ndarray) -> Any:
            return f(points)[:, None]

        def values_and_gradients(self, points: np.ndarray) -> Any:
            return f(points), gradient(points).T

    with pytest.raises(LandscapeError, match=r"shape \(7, 1\); expected \(7,\)"):
        as_landscape(Columns()).values(POINTS)
    with pytest.raises(LandscapeError, match=r"\(3, 7\)"):
        as_landscape(Columns()).values_and_gradients(POINTS)


class Failing(Foreign):
    """Raises in the second half of a path, as codes do where a calculation does not converge."""

    def __init__(self, error: type[Exception], own_span: bool) -> None:
        self.error, self.calls = error, 0
        if own_span:
            self.span = lambda basis: PointSpan(self, basis)
            self.device, self.dtype = "cpu", np.dtype(np.float64)

    def values(self, points: np.ndarray) -> Any:
        return self.values_and_gradients(points)[0]

    def values_and_gradients(self, points: np.ndarray) -> Any:
        self.calls += 1
        if self.calls > 3:
            raise self.error("no convergence")
        return f(points), gradient(points)


@pytest.mark.parametrize("own_span", [False, True])
@pytest.mark.parametrize("error", [RuntimeError, ValueError, LandscapeError])
def test_what_an_object_raises_names_a_point_and_keeps_the_best_path(error: type[Exception], own_span: bool) -> None:
    land = as_landscape(Failing(error, own_span))
    if own_span:
        span = land.span(POINTS[:2])
        assert span.values(np.eye(2)) == pytest.approx(f(POINTS[:2]))
        span.evaluations += Evaluations(1, 0)
        assert span.evaluations == Evaluations(3, 0)
    land = as_landscape(Failing(error, own_span))
    with pytest.raises(LandscapeError, match="no convergence") as caught:
        ml.find_path(land, POINTS[0], POINTS[1], solver="adam", n_points=5, n_terms=2)
    assert caught.value.best is not None
    failing = Failing(RuntimeError, own_span)
    failing.calls = 3
    for evaluate in (as_landscape(failing).values_and_gradients, as_landscape(failing).values):
        with pytest.raises(LandscapeError, match=r"raised RuntimeError at \(.*: no convergence") as caught:
            evaluate(POINTS[2:3])
        assert np.array_equal(caught.value.point, POINTS[2])
        with pytest.raises(LandscapeError, match="raised RuntimeError at the first of 5 points"):
            evaluate(POINTS[2:])


@pytest.mark.parametrize("rows", [None, [1, 0], [0]])
def test_a_span_of_ones_own_returns_the_rows_that_are_requested(rows: Any) -> None:
    class Short(PointSpan):
        def values_and_pullback(self, coefficients: Any, weights: Any = None, rows: Any = None) -> Any:
            values, pullback = super().values_and_pullback(coefficients, weights, rows)
            return values, pullback.sum(axis=0)  # NumPy would add it to every row

    for kind in (PointSpan, Short):
        inner = Foreign()
        inner.span = lambda basis, kind=kind: kind(as_landscape(Foreign()), basis)  # type: ignore[attr-defined]
        span = as_landscape(inner).span(POINTS[:2])
        if kind is Short:
            with pytest.raises(LandscapeError, match=r"a pullback of shape \(3,\); expected \(\d, 3\)"):
                span.values_and_pullback(np.eye(2), None, rows)
        else:
            expected = gradient(POINTS[:2])
            assert span.values_and_pullback(np.eye(2), None, rows)[1] == pytest.approx(expected[rows or [0, 1]])


def test_a_functions_own_landscape_error_is_told_its_point() -> None:
    def fails(x: np.ndarray) -> Any:
        raise LandscapeError("outside of the box")

    with pytest.raises(LandscapeError, match="outside of the box") as caught:
        FunctionLandscape(fails, size=3).values(POINTS[3:4])
    assert np.array_equal(caught.value.point, POINTS[3])


@pytest.mark.parametrize("size", [0, -1, 2.5, None, "3"])
def test_an_object_says_how_many_coordinates_it_has(size: Any) -> None:
    class Sized(Foreign):
        pass

    Sized.size = size
    with pytest.raises(TypeError, match=f"size of Sized is {size!r}"):
        as_landscape(Sized())


def test_a_landscape_of_ones_own_class_keeps_the_best_path_too() -> None:
    class Own(LandscapeDefaults):
        size, calls = 3, 0

        def values_and_gradients(self, points: Any) -> Any:
            self.calls += 1
            if self.calls > 3:
                raise RuntimeError("no convergence")
            return f(points), gradient(points)

    with pytest.raises(LandscapeError, match="no convergence") as caught:
        ml.find_path(Own(), POINTS[0], POINTS[1], solver="adam", n_points=5, n_terms=2)
    assert caught.value.best is not None


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (POINTS + 1j, "points are complex, with an imaginary part"),
        ([["1", "2", "3"]], "points are list; expected"),
        ([[1.0, None, 3.0]], "points are list with NoneType in it"),
        (np.ma.masked_array(np.ones((2, 3)), mask=np.eye(2, 3)), "masked array with 2 of 6"),
    ],
)
def test_points_are_real_numbers(points: Any, message: str) -> None:
    for evaluate in (FORMS["both"].values, FORMS["both"].values_and_gradients):
        with pytest.raises(TypeError, match=message):
            evaluate(points)


@pytest.mark.parametrize(
    ("attributes", "error", "message"),
    [
        ({"dtype": "int32"}, TypeError, "dtype of Named is int32; expected float32 or float64"),
        ({"dtype": np.float16}, TypeError, "dtype of Named is float16"),
        ({"path_defaults": {"lamda": 1.0}}, ValueError, "has 'lamda'; expected names of objective, lam"),
        ({"displacement": lambda self, a, b: (b - a)[:2]}, LandscapeError, r"displacement returned shape \(2,\)"),
        ({"displacement": lambda self, a, b: 1 / 0}, LandscapeError, "displacement raised ZeroDivisionError at"),
    ],
)
def test_attributes_that_cannot_be_are_named(attributes: dict[str, Any], error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        ml.find_path(type("Named", (Foreign,), attributes)(), POINTS[0], POINTS[1], n_points=5, n_terms=2, steps=1)


def test_results_are_forgotten_where_they_are_kept() -> None:
    """A change of what f reads shows after forget(), on every landscape."""
    factor = [1.0]

    def scaled(x: np.ndarray) -> Any:
        return factor[0] * f(x), factor[0] * gradient(x)

    class Remembers(Foreign):
        forgotten = False

        def forget(self) -> None:
            self.forgotten = True

    land = FunctionLandscape(scaled, size=3)
    assert land.values(POINTS) == pytest.approx(f(POINTS))
    factor[0] = 2.0
    land.forget()
    assert land.values(POINTS) == pytest.approx(2 * f(POINTS))
    MullerBrown().forget()
    as_landscape(Foreign()).forget()
    remembers = Remembers()
    as_landscape(remembers).forget()
    assert remembers.forgotten


def test_foreign_methods_and_defaults_are_kept() -> None:
    class Periodic(Foreign):
        dtype = "float32"
        path_defaults: ClassVar = {"lam": 0.5}

        def displacement(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
            return (b - a + 0.5) % 1 - 0.5

    land = as_landscape(Periodic())
    assert land.dtype == np.dtype(np.float32)
    assert land.path_defaults == {**PATH_DEFAULTS, "lam": 0.5}
    assert land.displacement(np.array([0.9]), np.array([0.1])) == pytest.approx([0.2])


def test_check_gradient_tells_right_from_wrong() -> None:
    assert check_gradient(FORMS["both"], POINTS, tolerance=1e-9).passed
    wrong = FunctionLandscape(f, size=3, gradient=lambda x: gradient(x) * np.array([1, 1, 1.001]))
    check = check_gradient(wrong, POINTS[0])
    assert not check.passed
    assert 1e-5 < check.relative_error.max() < 0.1
    tiny = FunctionLandscape(lambda x: 1e-12 * f(x), size=3, gradient=lambda x: 2e-12 * gradient(x))
    assert not check_gradient(tiny, POINTS[0]).passed
    nowhere = FunctionLandscape(lambda x: (float("nan"), gradient(x)))
    assert not check_gradient(nowhere, POINTS[0]).passed


def test_check_gradient_takes_directions_and_foreign_objects() -> None:
    check = check_gradient(Foreign(), POINTS[:2], directions=2 * np.eye(3))
    assert check.analytic == pytest.approx(gradient(POINTS[:2]))
    assert check.numeric == pytest.approx(gradient(POINTS[:2]), rel=1e-8)


class TestMemory:
    @staticmethod
    def counted(**options: Any) -> tuple[ml.FunctionLandscape, list[bytes]]:
        calls: list[bytes] = []

        def f(x: np.ndarray) -> tuple[float, np.ndarray]:
            calls.append(x.tobytes())
            return float(np.sum(x**2)), 2 * x

        return ml.FunctionLandscape(f, 3, **options), calls

    def test_no_point_is_evaluated_twice(self) -> None:
        land, calls = self.counted()
        points = np.arange(12.0).reshape(4, 3)
        values, gradients = land.values_and_gradients(points[[0, 1, 1, 2]])
        assert values == pytest.approx(np.sum(points**2, axis=1)[[0, 1, 1, 2]])
        assert np.array_equal(gradients, 2 * points[[0, 1, 1, 2]])
        assert np.array_equal(land.values(points), np.sum(points**2, axis=1))
        values, gradients = land.values_and_gradients(points[::-1])  # the last one's gradient came with its value
        assert np.array_equal(gradients, 2 * points[::-1])
        assert len(calls) == len(set(calls)) == 4
        assert land.evaluations == Evaluations(values=1, gradients=3)
        gradients[:] = 0  # the caller's
        assert np.array_equal(land.values_and_gradients(points)[1], 2 * points)

    def test_a_gradient_that_was_not_asked_for_is_asked_for_later(self) -> None:
        land = ml.FunctionLandscape(lambda x: float(np.sum(x**2)), 3, gradient=lambda x: 2 * x)
        points = np.ones((1, 3))
        assert land.values(points) == 3.0
        assert np.array_equal(land.values_and_gradients(points)[1], 2 * points)
        assert land.evaluations == Evaluations(values=1, gradients=1)

    @pytest.mark.parametrize("workers", [1, 2])
    def test_what_was_evaluated_before_a_failure_is_kept(self, workers: int) -> None:
        calls: list[float] = []

        def fails(x: np.ndarray) -> tuple[float, np.ndarray]:
            calls.append(x[0])
            if x[0] == 4:
                raise RuntimeError("no convergence")
            return float(np.sum(x**2)), 2 * x

        land = ml.FunctionLandscape(fails, 3, workers=workers)
        points = np.arange(6.0)[:, None] * np.ones(3)
        with pytest.raises(LandscapeError, match="no convergence"):
            land.values_and_gradients(points)
        assert np.array_equal(land.values_and_gradients(points[:4])[1], 2 * points[:4])
        assert np.array_equal(land.values(points[:4]), 3 * np.arange(4) ** 2)
        assert {0, 1, 2, 3} <= set(calls)
        assert all(calls.count(k) == 1 for k in range(4))

    def test_what_is_kept_is_bounded(self) -> None:
        land, calls = self.counted(memory=2000)  # four points
        points = np.arange(30.0).reshape(10, 3)
        values = [land.values(points[[k, 0]]) for k in range(10)]
        assert len(land._known) == 4
        assert np.array_equal(values, np.sum(points**2, axis=1)[[[k, 0] for k in range(10)]])
        assert len(calls) == 10  # the first point is asked for every time, and stays
        land.values(points[1:2])
        assert len(calls) == 11

    def test_nothing_is_kept_where_points_come_in_stacks_or_it_is_not_wanted(self) -> None:
        land, calls = self.counted(memory=0)
        for _ in range(2):
            land.values(np.ones((1, 3)))
        assert len(calls) == 2
        batches: list[int] = []

        def f(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            batches.append(len(x))
            return np.sum(x**2, axis=1), 2 * x

        batched = ml.FunctionLandscape(f, 3, batched=True)
        for _ in range(2):
            batched.values(np.ones((4, 3)))
        assert batches == [4, 4]
        with pytest.raises(ValueError, match="memory is -1"):
            self.counted(memory=-1)

    @pytest.mark.parametrize(
        "options", [{"solver": "auto", "steps": 30}, {"method": "neb", "steps": 30}, {"method": "linear"}]
    )
    def test_searches_call_nothing_twice(self, options: dict[str, Any]) -> None:
        surface, calls = MullerBrown(), []

        def f(x: np.ndarray) -> tuple[float, np.ndarray]:
            calls.append(x.tobytes())
            values, gradients = surface.values_and_gradients(x[None])
            return values[0], gradients[0]

        land = ml.FunctionLandscape(f, 2)
        path = ml.find_path(land, *surface.minima[:2], **options)
        ml.refine_saddle(land, path)
        assert len(calls) == len(set(calls)) == land.evaluations.values + land.evaluations.gradients


def test_zero_modes_of_a_function() -> None:
    land = ml.FunctionLandscape(lambda x: (0.0, 0 * x), 6, zero_modes=lambda x: rigid_motions(x.reshape(-1, 3)))
    assert land.zero_modes(np.arange(6.0)).shape == (5, 6)
    assert ml.FunctionLandscape(lambda x: (0.0, 0 * x), 6).zero_modes(np.zeros(6)).shape == (0, 6)
    wrong = ml.FunctionLandscape(lambda x: (0.0, 0 * x), 6, zero_modes=lambda x: x)
    with pytest.raises(LandscapeError, match=r"shape \(6,\); expected \(Z, 6\)"):
        wrong.zero_modes(np.zeros(6))
    for modes, message in (
        (lambda x: 1 / 0, "raised ZeroDivisionError at"),
        (lambda x: 1j * np.ones((1, 6)), "complex"),
    ):
        with pytest.raises(LandscapeError, match=message) as caught:
            ml.FunctionLandscape(lambda x: (0.0, 0 * x), 6, zero_modes=modes).zero_modes(np.ones(6))
        assert np.array_equal(caught.value.point, np.ones(6))
    assert ml.FunctionLandscape(lambda x: (0.0, 0 * x), 6, zero_modes=lambda x: []).zero_modes(np.ones(6)).shape == (
        0,
        6,
    )
    with pytest.raises(TypeError, match="zero_modes is ndarray"):
        ml.FunctionLandscape(lambda x: (0.0, 0 * x), 6, zero_modes=np.zeros((1, 6)))


@pytest.mark.parametrize(
    ("points", "options", "message"),
    [
        (np.ones(2), {"n_directions": 0}, "n_directions is 0"),
        (np.ones((0, 2)), {}, "at least one point"),
        (np.ones(2), {"directions": np.ones((0, 2))}, r"expected \(n, 2\), at least one"),
        (np.ones(2), {"directions": np.ones(3)}, r"expected \(n, 2\)"),
    ],
)
def test_a_check_of_nothing_is_refused(points: np.ndarray, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_gradient(lambda x: (x @ x, -x), points, **options)


@pytest.mark.parametrize("search", ["find_path", "find_saddle", "from_objective"])
def test_the_landscape_that_a_value_alone_is_told_to_make_works(search: str) -> None:
    """Wherever the function was given: gradient= is no option of these, nor of the command line."""
    from minilandscape.adapters.scipy import from_objective

    def f(x: Any) -> Any:
        return (x[0] ** 2 - 1) ** 2 + x[1] ** 2

    def df(x: Any) -> Any:
        return np.array([4 * x[0] * (x[0] ** 2 - 1), 2 * x[1]])

    a, b = np.array([-1.0, 0.0]), np.array([1.0, 0.0])
    calls = {"find_path": lambda: ml.find_path(f, a, b), "find_saddle": lambda: ml.find_saddle(f, a, b)}
    calls["from_objective"] = lambda: ml.find_path(from_objective(f, size=2), a, b)
    with pytest.raises(ml.LandscapeError) as raised:
        calls[search]()
    (advised,) = re.findall(r"ml\.FunctionLandscape\(.*?\)", str(raised.value))
    for each in (advised, advised.replace("gradient=df", "gradient='autograd'")):
        assert ml.find_path(eval(each, {"ml": ml, "f": f, "df": df}), a, b).maximum == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("name", ["curvature", "spectral_density", "measure_noise", "refine_saddle", "surface"])
@pytest.mark.parametrize(
    ("point", "message"),
    [
        ([0.0, np.nan], "not finite"),
        ([np.inf, 0.0], "not finite"),
        (np.zeros((4, 2)), r"shape \(4, 2\); expected"),
        (np.zeros(3), "has 2 coordinates, the point 3"),
        ([[0.0, 1.0], [2.0]], "rows of different lengths"),
    ],
)
def test_a_point_that_is_none_is_refused_for_what_is_wrong_with_it(name: str, point: Any, message: str) -> None:
    """A NaN was answered with the shape of the point, which was right."""
    with pytest.raises(ValueError, match=message) as raised:
        getattr(ml, name)(MullerBrown(), point)
    assert ("shape" in str(raised.value)) == message.startswith("shape")


@pytest.mark.parametrize("name", ["find_path", "find_saddle"])
@pytest.mark.parametrize(
    ("end", "message"),
    [
        ([0.0, np.nan], "end is not finite: coordinate 1 is nan"),
        (np.zeros((1, 2)), r"end has shape \(1, 2\); expected one vector"),
        (np.zeros(3), r"start and end have shapes \(2,\) and \(3,\)"),
        ([0.0, 1.0], "start and end are equal"),
    ],
)
def test_endpoints_that_are_none_are_refused_alike(name: str, end: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        getattr(ml, name)(MullerBrown(), [0.0, 1.0], end)
