"""What is given to a search is read as it is meant, or refused in a sentence that names it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minilandscape.paths import compare_methods, find_path
from minilandscape.potentials import MullerBrown

LAND = MullerBrown()
ENDS = LAND.minima[:2]


@pytest.mark.parametrize(
    ("name", "given"),
    [
        *(("n_terms", x) for x in (2.5, "3", True, [3])),
        *(("n_points", x) for x in (9.5, "9", float("nan"))),
        *(("lam", x) for x in ("a", [1, 2], float("inf"))),
        *(("lr", x) for x in ("x", [0.1])),
        *(("power", x) for x in ("2", [2], float("inf"))),
        *(("offset", x) for x in ("a", float("nan"))),
    ],
)
def test_an_option_that_is_no_number_is_refused_by_name(name: str, given: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{name} is .*; expected a (whole|finite) number"):
        find_path(LAND, *ENDS, steps=1, **{name: given})


def test_numpys_numbers_are_options_and_are_kept_as_they_were_used() -> None:
    options = {"n_terms": np.int8(4), "n_points": np.array(9), "lam": np.float32(0.5), "lr": np.float16(0.25)}
    path = find_path(LAND, *ENDS, steps=2, objective="sum", **options)
    assert path.coefficients.shape == (4, 2)
    assert len(path.t) == 9
    assert {name: path.metadata[name] for name in options} == {"n_terms": 4, "n_points": 9, "lam": 0.5, "lr": 0.25}


def test_a_comparison_names_the_option_that_is_no_number() -> None:
    with pytest.raises(ValueError, match="n_points is '9'; expected a whole number"):
        compare_methods(LAND, *ENDS, 100, n_points="9")  # type: ignore[arg-type]


def no_points() -> list[Any]:
    return [3, True, "p.npz", [], [[1, 2], [3]], np.zeros((3, 5)), [["a", "b"]], [[1j, 2]], lambda t: t, lambda t: None]


@pytest.mark.parametrize("method", ["fourier", "neb"])
@pytest.mark.parametrize("given", no_points(), ids=lambda given: "function" if callable(given) else repr(given))
def test_what_is_no_path_to_begin_from_is_refused(method: str, given: Any) -> None:
    with pytest.raises(ValueError, match=r"^initial .*expected a Path, points \(K, 2\), or a function of t"):
        find_path(LAND, *ENDS, method, n_points=9, steps=1, initial=given)


def test_points_that_are_not_finite_are_no_path() -> None:
    with pytest.raises(ValueError, match="initial holds points that are not finite"):
        find_path(LAND, *ENDS, steps=1, initial=[[np.nan, 1.0]])


def test_an_iterator_and_a_function_with_one_work_array_begin_as_points_do() -> None:
    points = np.array([ENDS[0], [-0.9, 0.6], [-0.3, 0.5], ENDS[1]])
    work = np.zeros(2)

    def along(t: float) -> np.ndarray:
        work[:] = (1 - t) * ENDS[0] + t * ENDS[1] + [0, 0.3 * t * (1 - t)]
        return work

    for given, same in ((iter(points), points), (along, lambda t: along(t).copy())):
        a, b = (find_path(LAND, *ENDS, "neb", n_points=9, steps=0, initial=x) for x in (given, same))
        assert np.array_equal(a.values, b.values)
        assert np.ptp(a.points(np.linspace(0, 1, 9))[:, 0]) > 0.5


def test_points_far_from_the_origin_are_no_endpoints() -> None:
    """A thousand kilometres from the origin a metre is less than a millionth."""
    far = np.array([5e6, 1e6])

    def f(x: np.ndarray) -> tuple[float, np.ndarray]:
        x = x - far
        away = x @ x - 1
        return float(away**2 + 0.2 * x[1]), 4 * away * x + np.array([0, 0.2])

    ends, inner = far + np.array([[-1.0, 0.0], [1.0, 0.0]]), far + np.array([[-0.9, 0.4], [0.0, 1.0], [0.9, 0.4]])
    path = find_path(f, *ends, "neb", n_points=9, steps=0, initial=inner)
    assert np.linalg.norm(path.points(0.5)[0] - inner[1]) < 0.05
    for other in (np.array([0.5, 0.0]), np.array([0.0, 0.5])):
        with pytest.raises(ValueError, match="another end"):
            find_path(f, ends[0], ends[1] + other, "neb", n_points=9, steps=0, initial=path)


def test_a_given_path_that_is_kept_is_described_at_its_own_points() -> None:
    """Four points on both sides of a ridge, the straight line of the search crosses it where it is higher."""

    def ridge(x: np.ndarray) -> tuple[float, np.ndarray]:
        wall = np.exp(-((x[0] / 0.05) ** 2))
        return float(wall * (2 - x[1])), np.array([-2 * x[0] / 0.05**2 * wall * (2 - x[1]), -wall])

    points = np.array([[-1.0, 0.0], [-0.3, 0.6], [0.3, 0.6], [1.0, 0.0]])
    path = find_path(ridge, points[0], points[-1], n_points=51, n_terms=0, initial=points)
    assert path.points(path.t) == pytest.approx(points, abs=1e-15)
    assert path.maximum == pytest.approx(1.4, abs=1e-4)
    assert path.under_resolved
    assert not path.converged
    line = points[0] + path.t[:, None] * (points[-1] - points[0])
    assert path.height_linear == pytest.approx(max(ridge(x)[0] for x in line), abs=1e-12)


@pytest.mark.parametrize("given", ["fourier", "neb", "polyline"])
@pytest.mark.parametrize("method", ["fourier", "neb", "autoneb", "bezier", "polyline"])
def test_a_path_of_another_family_is_never_made_worse(given: str, method: str) -> None:
    """Its fit in the family of the search may be."""

    def options(method: str, n: int) -> dict[str, Any]:
        return {"n_points": n + 4} if "neb" in method else {"n_points": 20, "n_terms": n}

    first = find_path(LAND, *ENDS, given, **options(given, 5))
    path = find_path(LAND, *ENDS, method, initial=first, steps=3, **options(method, 6))
    assert LAND.values(path.points(path.t)) == pytest.approx(path.values, rel=1e-11)
    dense = [LAND.values(p.points(np.linspace(0, 1, 20_001))).max() for p in (path, first)]
    assert dense[0] <= dense[1] + 1e-4
