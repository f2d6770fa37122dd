"""Planes through landscapes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

import minilandscape as ml
from minilandscape.analysis.surface import Surface, SurfaceInterrupted, load_surface
from minilandscape.files import read_result, write_result
from minilandscape.potentials import LennardJones, MullerBrown


def square(x: Any) -> Any:
    return np.sum(x**2, axis=1), 2 * x


def test_three_points_span_it() -> None:
    land = ml.FunctionLandscape(square, 4, batched=True)
    points = np.random.default_rng(0).standard_normal((3, 4))
    rows: list[int] = []
    found = ml.surface(land, points, n=7, margin=0.1, callback=lambda row, n: rows.append(row))
    assert found.axes @ found.axes.T == pytest.approx(np.eye(2))
    assert found.points(*found.marks.T) == pytest.approx(points)
    x, y = np.meshgrid(found.x, found.y)
    assert found.values == pytest.approx(np.sum(found.points(x, y) ** 2, axis=-1))
    assert np.array_equal(found.points(x, y).reshape(49, 4), found.points(x.ravel(), y.ravel()))
    assert found.values.shape == (7, 7)
    assert rows == list(range(1, 8))
    low, high = found.marks.min(axis=0), found.marks.max(axis=0)
    margin = 0.1 * (high - low).max()
    assert [found.x[0], found.x[-1], found.y[0], found.y[-1]] == pytest.approx(
        [low[0] - margin, high[0] + margin, low[1] - margin, high[1] + margin]
    )


@pytest.mark.parametrize("wall", [False, True])
def test_an_interrupted_surface_keeps_its_rows_and_resumes(wall: bool, tmp_path: Path) -> None:
    """Bit-identical to one that was not interrupted, without evaluating a point twice but for one."""
    well, asked = MullerBrown(), 0

    def f(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        nonlocal asked
        asked += len(x)
        if wall and (x[:, 0] > 0.4).any():
            raise ml.LandscapeError("a wall")
        return well.values_and_gradients(x)

    def stop(rows: int, n: int) -> None:
        if rows == 4:
            raise KeyboardInterrupt

    land = ml.FunctionLandscape(f, 2, batched=True, memory=0)
    whole = ml.surface(land, well.minima, n=9)
    with pytest.raises(SurfaceInterrupted) as stopped:
        ml.surface(land, well.minima, n=9, callback=stop)
    stopped.value.best.save(tmp_path / "rows.npz")
    begun = load_surface(tmp_path / "rows.npz")
    assert np.array_equal(begun.values[:4], whole.values[:4], equal_nan=True)
    assert np.isnan(begun.values[4:]).all()
    asked = 0
    found = ml.surface(land, well.minima, n=9, resume=begun)
    assert wall or asked == 5 * 9 + 1
    for result, name in ((found, "found"), (whole, "whole")):
        result.save(tmp_path / f"{name}.npz")
    assert (tmp_path / "found.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()
    other = ml.FunctionLandscape(lambda x: tuple(2 * part for part in f(x)), 2, batched=True)
    for changed, options in ((land, {"n": 8}), (land, {"n": 9, "margin": 0.5}), (other, {"n": 9})):
        with pytest.raises(ValueError, match="resume is of another plane, grid or landscape"):
            ml.surface(changed, well.minima, resume=begun, **options)
    with pytest.raises(ValueError, match="resume is of another plane"):
        ml.surface(land, well.minima, n=9, resume=whole)


def test_a_plane_through_three_points_almost_on_a_line_has_right_angles() -> None:
    points = np.random.default_rng(1).standard_normal((3, 6))
    points[2] = points[0] + 0.3 * (points[1] - points[0]) + 1e-7 * points[2]
    axes = ml.surface(ml.FunctionLandscape(square, 6, batched=True), points, n=2).axes
    assert np.abs(axes @ axes.T - np.eye(2)).max() < 1e-14


def test_a_plane_through_a_path_holds_its_highest_point_though_another_is_farther() -> None:
    def f(x: Any) -> Any:
        return -((x[0] - 0.5) ** 2), np.array([1 - 2 * x[0], 0.0, 0.0])

    line = ml.find_path(f, np.zeros(3), np.array([1.0, 0.0, 0.0]), n_points=21, method="linear")
    path = replace(line, coefficients=np.array([[0.0, 0.3, 0.0], [0.0, 0.0, 0.5]]))  # highest in y, farthest in z
    found = ml.surface(f, path=path, n=2)
    assert np.abs(found.axes) == pytest.approx(np.eye(3)[:2], abs=1e-12)
    assert found.curve_distance == pytest.approx(0.5)


@pytest.mark.parametrize("scale", [1e-200, 1e-10, 1e10, 1e200])
def test_a_plane_scales_with_the_coordinates(scale: float) -> None:
    def f(x: np.ndarray) -> tuple[float, np.ndarray]:
        return float(np.sum(np.cos(x / scale))), -np.sin(x / scale) / scale

    points = np.random.default_rng(0).standard_normal((3, 4))
    for given in (points, points[:2]):
        found, unit = ml.surface(f, scale * given, n=5), ml.surface(lambda x: (np.cos(x).sum(), -np.sin(x)), given, n=5)
        assert found.axes == pytest.approx(unit.axes)
        assert found.x / scale == pytest.approx(unit.x)
        assert found.marks / scale == pytest.approx(unit.marks)
        assert found.values == pytest.approx(unit.values)


def test_a_path_lies_on_it() -> None:
    land = MullerBrown()
    path = ml.find_path(land, *land.minima[:2], solver="auto")
    found = ml.surface(land, None, path=path, n=60)
    assert found.curve_distance < 1e-12
    assert found.points(*found.curve.T) == pytest.approx(path.points(path.t))
    assert land.values(found.points(*found.curve.T)) == pytest.approx(found.curve_values, rel=1e-9)
    assert found.values.min() == pytest.approx(land.values(land.minima[:1])[0], rel=0.01)
    axes = found.plot()
    assert axes.get_title() == "solid: path, in the plane; dashed: straight line"


def test_a_path_on_one_line_is_seen_from_a_random_direction() -> None:
    land = ml.FunctionLandscape(square, 4, batched=True)
    endpoints = np.array([[-1.0, 0, 0, 0], [2.0, 0, 0, 0]])
    path = ml.find_path(land, *endpoints, method="linear")
    for points in (None, endpoints, endpoints[:1], 0.5 * endpoints[:1]):
        found = ml.surface(land, points, path=path, n=5, seed=1)
        assert found.axes @ found.axes.T == pytest.approx(np.eye(2))
        assert abs(found.axes[0, 0]) == pytest.approx(1)
        assert found.curve_distance < 1e-12
        assert np.ptp(found.y) == pytest.approx(np.ptp(found.x))
        assert found.plot().get_xlabel()


@pytest.mark.parametrize("end", [0, 1])
def test_beside_one_point_a_path_lies_inside_the_grid(end: int) -> None:
    land = MullerBrown()
    path = ml.find_path(land, *land.minima[:2], solver="auto")
    point = (path.start, path.end)[end]
    found = ml.surface(land, point, path=path, n=5)
    assert found.points(*found.marks.T) == pytest.approx(np.stack([point, (path.start, path.end)[1 - end]]))
    other = np.array([0.2, 1.9])
    beside = ml.surface(land, other, path=path, n=5)
    assert beside.points(*beside.marks.T) == pytest.approx(np.stack([other, path.start, path.end]))
    for surface in (found, beside):
        assert surface.curve_distance < 1e-12
        low, high = np.array([[surface.x[0], surface.y[0]], [surface.x[-1], surface.y[-1]]])
        assert ((surface.curve > low) & (surface.curve < high)).all()


def test_random_directions_of_a_network_are_as_long_as_its_weights(small_mnist: Any) -> None:
    land = ml.network_landscape("lenet", small_mnist.train[:20], "paper", dtype="float64")
    x = ml.initial_vector("lenet", 0, np.float64)
    found = ml.surface(land, x, n=3, seed=1)
    axis, reach = found.axes[0], found.x[-1]
    assert found.metadata["filter_normalised"] is True
    for block in land.network.layout.blocks:
        part, weights = (v[block.start : block.stop].reshape(block.shape[0], -1) for v in (reach * axis, x))
        expected = np.linalg.norm(weights, axis=1) if len(block.shape) > 1 else np.zeros(len(part))
        assert np.linalg.norm(part, axis=1) == pytest.approx(expected, abs=1e-9)
    assert found.values[1, 1] == pytest.approx(land.values(x[None])[0])
    u, v = np.meshgrid(found.x, found.y)
    assert found.values.ravel() == pytest.approx(land.values(found.points(u.ravel(), v.ravel())), rel=1e-9)
    assert np.array_equal(ml.surface(land, x, n=3, seed=1).values, found.values)
    assert not np.array_equal(ml.surface(land, x, n=3, seed=2).values, found.values)


def test_weights_of_nothing_are_seen_along_plain_directions(small_mnist: Any) -> None:
    land = ml.network_landscape("fcp", small_mnist.train[:20], dtype="float64")
    zeros = np.zeros(land.size)
    found = ml.surface(land, zeros, n=3, radius=2.0)
    assert found.metadata["filter_normalised"] is False
    assert found.axes @ found.axes.T == pytest.approx(np.eye(2))
    assert [found.x[-1], found.y[-1]] == pytest.approx([2, 2])
    assert found.values[1, 1] == pytest.approx(np.log(10))
    assert np.ptp(found.values) > 1e-6
    towards = ml.surface(land, [zeros, ml.initial_vector("fcp", 0)], n=3)
    assert np.isfinite(towards.values).all()


def plane(values: np.ndarray, marks: Any = ((0, 0), (1, 0))) -> Surface:
    """Values (n, n) on a plane that reaches from −2 to 2."""
    grid = np.linspace(-2, 2, len(values))
    return Surface(
        np.zeros(2), np.eye(2), grid, grid, values, np.array(marks, float), np.zeros((0, 2)), np.zeros(0), 0.0
    )


def drawn(axes: Any) -> np.ndarray:
    """The pixels (height, width, 3) of the figure, the lowest row first."""
    canvas = FigureCanvasAgg(axes.figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[::-1, :, :3].astype(int)


@pytest.mark.parametrize("value", [2.302585, 1e17, -1e17, 0.0, 1e-9])
@pytest.mark.filterwarnings("error")
def test_a_level_plane_is_drawn_in_one_colour(value: float) -> None:
    noise = np.random.default_rng(0).standard_normal((7, 7))
    for values in (np.full((7, 7), value), value * (1 + 1e-15 * noise)):
        axes = plane(values, np.zeros((0, 2))).plot()
        pixels = drawn(axes)
        x, y = axes.transData.transform([[-1.5, -1.5], [1.5, 1.5]]).astype(int).T
        inside = pixels[y[0] : y[1], x[0] : x[1]].reshape(-1, 3)
        assert np.ptp(inside, axis=0).max() == 0
        assert inside[0].min() < 200  # nothing but the page is white


@pytest.mark.parametrize("span", [1.0, 2e-7, 1e-12])
def test_the_colour_bar_tells_nearly_equal_values_apart(span: float) -> None:
    x, y = np.meshgrid(np.linspace(-1, 1, 9), np.linspace(-1, 1, 9))
    axes = plane(2.302585 + span * (x**2 + y)).plot()
    drawn(axes)
    ticks = [label.get_text() for label in axes.child_axes[0].get_yticklabels()]
    assert len(ticks) > 4
    assert len(set(ticks)) == len(ticks)


def test_labels_are_seen_on_values_and_on_the_bare_page() -> None:
    x, y = np.meshgrid(np.linspace(-1, 1, 9), np.linspace(-1, 1, 9))
    axes = plane(np.where(x > 0, np.nan, x**2 + y**2), [[-0.5, 0], [1, 0]]).plot()
    pixels = drawn(axes)
    for label in axes.texts:
        x0, y0, x1, y1 = np.round(label.get_window_extent().extents).astype(int)
        inside = pixels[y0:y1, x0:x1]
        assert inside.max(axis=2).min() < 100
        assert inside.min(axis=2).max() > 240


def test_points_that_cannot_be_evaluated_are_left_out() -> None:
    def f(x: np.ndarray) -> tuple[float, np.ndarray]:
        if x[0] > 1:
            raise ZeroDivisionError("beyond the wall")
        return (np.inf if x[0] < -1 else float(x @ x)), 2 * x

    found = ml.surface(f, np.zeros(2), n=21, radius=2.0, seed=0)
    x, y = np.meshgrid(found.x, found.y)
    outside = np.abs(found.points(x.ravel(), y.ravel())[:, 0]).reshape(21, 21) > 1
    assert np.array_equal(np.isnan(found.values), outside)
    found.plot()
    with pytest.raises(ml.LandscapeError, match=r"no point of the plane could be evaluated: .*beyond the wall"):
        ml.surface(f, np.full(2, 100.0), n=3)


def test_atoms_rise_without_bound_and_are_drawn_all_the_same() -> None:
    rng = np.random.default_rng(0)
    found = ml.surface(LennardJones(4), rng.standard_normal((2, 12)), n=15)
    assert found.values.max() > 1e6
    assert found.plot().get_xlabel()


def test_what_it_refuses() -> None:
    land = MullerBrown()
    with pytest.raises(ValueError, match="no points, path or trajectory"):
        ml.surface(land, None)
    with pytest.raises(ValueError, match="on one line"):
        ml.surface(land, [[0, 0], [1, 1], [2, 2]])
    with pytest.raises(ValueError, match="are equal"):
        ml.surface(land, [[0, 0], [0, 0], [2, 2]])
    with pytest.raises(ValueError, match="up to three"):
        ml.surface(land, np.zeros((4, 2)))
    with pytest.raises(ValueError, match="points hold values that are not finite"):
        ml.surface(land, [0.0, np.nan])
    with pytest.raises(
        ValueError, match="points: no array of numbers can be made of it, as of rows of different lengths"
    ):
        ml.surface(land, [[0, 0], [1, 0, 0]])
    with pytest.raises(ValueError, match="landscape has 2 coordinates, the point 3"):
        ml.surface(land, np.zeros(3))
    for points in ("abc", np.zeros(2) + 1j):
        with pytest.raises(TypeError, match=r"points is .* expected a vector of real numbers"):
            ml.surface(land, points)
    with pytest.raises(TypeError, match="path is str; expected a Path"):
        ml.surface(land, None, path="p.npz")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"n is 2\.5"):
        ml.surface(land, np.zeros(2), n=2.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="radius -1"):
        ml.surface(land, np.zeros(2), radius=-1)
    with pytest.raises(ValueError, match="radius inf"):
        ml.surface(land, np.zeros(2), radius=np.inf)
    for margin in (-0.1, np.inf, np.nan):
        with pytest.raises(ValueError, match=f"margin {margin}"):
            ml.surface(land, np.eye(2), margin=margin)


def test_arguments_that_would_change_nothing_are_refused() -> None:
    land = MullerBrown()
    path = ml.find_path(land, *land.minima[:2], steps=20)
    with pytest.raises(ValueError, match=r"margin is 0\.25, but has no effect around one point"):
        ml.surface(land, np.zeros(2), margin=0.25)
    for points, along in ((np.eye(2), None), (None, path), (np.zeros(2), path)):
        with pytest.raises(ValueError, match=r"radius is 1\.0, but has an effect around one point alone"):
            ml.surface(land, points, path=along, radius=1.0)
    for points, along in (([[0, 0], [1, 0], [0, 1]], None), (None, path), (np.zeros(2), path)):
        found = ml.surface(land, points, path=along, n=2)
        assert (found.metadata["seed"], found.metadata["filter_normalised"]) == (None, None)
        with pytest.raises(ValueError, match="seed is 3, but no direction of this plane is random"):
            ml.surface(land, points, path=along, n=2, seed=3)
    assert ml.surface(land, np.eye(2), n=2, seed=3).metadata["seed"] == 3
    assert ml.surface(land, np.eye(2), n=2).metadata["seed"] == 0


def test_it_saves_and_loads(tmp_path: Path) -> None:
    found = ml.surface(MullerBrown(), np.zeros(2), n=5)
    found.save(tmp_path / "s.npz")
    again = ml.load_surface(tmp_path / "s.npz")
    assert np.array_equal(again.values, found.values)
    assert (again.metadata, again.curve_distance) == (found.metadata, 0.0)
    arrays, numbers = read_result(tmp_path / "s.npz", "surface")
    numbers["facts"] = numbers.pop("metadata")  # the name in version 0.1
    for name in ("format", "kind"):
        numbers.pop(name, None)
    write_result(tmp_path / "old.npz", "surface", arrays, numbers)
    assert ml.load_surface(tmp_path / "old.npz").metadata == found.metadata


def test_a_plane_shows_itself(small_mnist: Any) -> None:
    land = MullerBrown()
    found = ml.surface(land, land.minima, n=7)
    assert repr(found).startswith("<Surface: 7 x 7 values from ")
    assert "7 x 7" in found.summary()
    assert "<svg" in found._repr_html_()
    network = ml.network_landscape("fcp", small_mnist.train[:20])
    around = ml.surface(network, ml.initial_vector("fcp", 0), n=3)
    assert around.metadata["quantity"] == "loss"
    axes = around.plot()
    assert axes.get_xlabel() == "first random direction (filter norms)"
    assert axes.child_axes[0].get_ylabel() == "loss"
    energy = replace(found, metadata={"quantity": "energy", "unit": "eV", "length_unit": "Å"}).plot()
    assert energy.get_xlabel() == "distance from A towards B (Å)"
    assert energy.child_axes[0].get_ylabel() == "energy (eV)"


@pytest.mark.parametrize(("width", "height"), [(1.0, 1.0), (1.0, 0.45), (100.0, 0.1), (0.1, 100.0)])
def test_a_plane_fills_its_figure(width: float, height: float) -> None:
    x, y = np.linspace(0, width, 9), np.linspace(0, height, 9)
    values = x / width + (y / height)[:, None]
    nothing = np.zeros((0, 2)), np.zeros(0)
    axes = Surface(np.zeros(2), np.eye(2), x, y, values, np.zeros((1, 2)), *nothing, 0.0).plot()
    drawn(axes)
    page, inside = axes.figure.bbox, axes.get_window_extent()
    assert inside.width * inside.height > 0.4 * page.width * page.height
    bar = axes.child_axes[0].get_window_extent()
    assert bar.height == pytest.approx(0.95 * inside.height, rel=0.06)  # less the tip for higher values


@pytest.mark.parametrize("high", [3.0, 40.0, 2e3, 4e9])
def test_ticks_of_the_colour_bar_are_round(high: float) -> None:
    grid = np.linspace(0, 1, 9)
    axes = plane(0.892e-3 + (high - 0.892e-3) * (grid + grid[:, None]) / 2).plot()
    drawn(axes)
    bar = axes.child_axes[0]
    low, top = bar.get_ylim()
    ticks = [tick for tick in bar.get_yticks() if low <= tick <= top]
    assert len(ticks) > 2
    for tick in ticks:
        digits = 40 * float(f"{tick:.9e}".split("e")[0])  # two figures, or quarters
        assert digits == pytest.approx(round(digits), abs=1e-6)


class Torus(ml.FunctionLandscape):
    """cos 2πx + cos 2πy + z² in a cell of length 1 along x and y."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

        def f(x: np.ndarray) -> tuple[float, np.ndarray]:
            x = x / scale
            angles = 2 * np.pi * x[:2]
            gradient = np.r_[-2 * np.pi * np.sin(angles), 2 * x[2]]
            return float(np.cos(angles).sum() + x[2] ** 2), gradient / scale

        super().__init__(f, 3)

    def displacement(self, a: Any, b: Any) -> np.ndarray:
        away = np.array(b, dtype=np.float64) - np.asarray(a, dtype=np.float64)
        away[:2] -= self.scale * np.round(away[:2] / self.scale)
        return away


@pytest.mark.parametrize("scale", [1.0, 1e-10, 1e10])
def test_the_projection_of_a_path_does_not_jump_by_a_period(scale: float) -> None:
    land = Torus(scale)
    t = np.linspace(0, 1, 41)
    for ahead in (0.8, 1.0, 1.7):  # farther than half the cell, all around it, and nearly twice
        points = np.stack([0.1 + ahead * t, 0.2 + 0.2 * np.sin(np.pi * t), 0 * t], axis=1) * scale
        path = piecewise_linear(land, points)
        for given in (None, points[0], points[[0, -1]]) if ahead != 1 else (None, points[0]):
            found = ml.surface(land, given, path=path, n=5)
            steps = np.linalg.norm(np.diff(found.curve, axis=0), axis=1)
            assert steps == pytest.approx(np.linalg.norm(np.diff(points, axis=0), axis=1))
            assert found.marks[1] == pytest.approx([ahead * scale, 0], abs=1e-9 * scale)
            assert found.curve_distance < 1e-9 * scale
            seen = land.values(found.points(*found.curve.T))
            assert seen == pytest.approx(path.values, abs=1e-6)
    again = ml.surface(land, 0.3 * points[:1] + 0.01 * scale, path=path, n=5)
    assert np.linalg.norm(np.diff(again.curve, axis=0), axis=1).max() < 0.1 * scale


def piecewise_linear(land: Torus, points: np.ndarray) -> Any:
    """A piecewise-linear path through points (M, 3)."""
    path = ml.find_path(Torus(), np.zeros(3), np.full(3, 0.1), method="linear", n_points=len(points))
    t = np.linspace(0, 1, len(points))
    line = (1 - t[:, None]) * points[0] + t[:, None] * points[-1]
    endpoints = {"start": points[0], "end": points[-1]}
    return replace(path, **endpoints, coefficients=(points - line)[1:-1], basis="hat", t=t, values=land.values(points))
