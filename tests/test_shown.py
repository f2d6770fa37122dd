"""Results that show themselves: one line, a summary, HTML, and figures with the straight line and labelled axes."""

from __future__ import annotations

import numpy as np
import pytest

import minilandscape as ml
from minilandscape.display import aligned, as_html, text_lines
from minilandscape.drawing import apart, spans_decades
from minilandscape.potentials import MullerBrown

LAND = MullerBrown()


class Energy(MullerBrown):
    """The same surface with names and units."""

    quantity, value_unit, length_unit = "energy", "kJ/mol", "Å"


def test_a_path_shows_itself() -> None:
    path = ml.find_path(Energy(), *LAND.minima[:2])
    lines = path.summary().splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        "barrier",
        "maximum",
        "endpoints",
        "path length",
        "converged",
        "cost",
    ]
    assert "67.502 kJ/mol" in lines[0]
    assert "-146.6995, -108.1667" in lines[2]
    assert f"{path.evaluations.gradients} gradient and {path.evaluations.values} energy evaluations" in lines[-1]
    stopped = ml.find_path(LAND, *LAND.minima[:2], n_terms=3, steps=5, solver="adam")
    assert "upper bound; try auto" in stopped.summary("try auto")
    html = path._repr_html_()
    assert "<svg" in html
    assert "67.502 kJ/mol" in html


def test_the_figure_of_a_path_has_the_straight_line_and_units() -> None:
    path = ml.find_path(Energy(), *LAND.minima[:2])
    assert path.line is not None
    assert path.line.max() == path.height_linear
    axes = path.plot()
    lines = {line.get_label(): line for line in axes.lines}
    assert np.array_equal(lines["straight line"].get_ydata(), path.line)
    assert path.maximum in lines["path"].get_ydata()
    assert (axes.get_ylabel(), axes.get_yscale()) == ("energy (kJ/mol)", "linear")


def test_losses_over_decades_are_drawn_on_a_logarithmic_scale_and_a_wall_does_not_flatten_the_path() -> None:
    path = ml.find_path(LAND, *LAND.minima[:2])
    losses = 10.0 ** ((path.values - path.values.max()) / 20)
    scaled = ml.Path(**{**vars(path), "values": losses, "maximum": float(losses.max()), "line": None})
    assert scaled.plot().get_yscale() == "log"
    wall = ml.Path(**{**vars(path), "line": np.where(path.line > 0, 1e12, path.line)})
    low, high = wall.plot().get_ylim()
    assert low < path.values.min() < path.maximum < high < 100


def test_connections_saddles_and_comparisons_show_themselves() -> None:
    found = ml.find_saddle(Energy(), *LAND.minima[:2])
    assert found.saddle is not None
    assert "67.502 reverse" in found.summary()
    assert "one negative eigenvalue" in found.saddle.summary()
    axes = found.plot()
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("length along the path (Å)", "energy (kJ/mol)")
    assert {"-40.6648", "-146.6995", "-80.7678", "-108.1667"} == {text.get_text() for text in axes.texts}
    assert "<svg" in found._repr_html_()
    assert "<table" in found.saddle._repr_html_()
    compared = ml.compare_methods(LAND, *LAND.minima[:2], 400, methods=("linear", "neb"))
    assert [line.split()[0] for line in compared.summary().splitlines()] == ["method", "linear", "neb"]
    assert "<svg" in compared._repr_html_()


def test_minima_and_saddles_of_equal_values_are_drawn_where_the_path_passes_them() -> None:
    """A symmetric reaction: cos x from well to well, with minima of -1 at every odd π and saddles of 1 between."""

    def wells(r: np.ndarray) -> tuple[float, np.ndarray]:
        x, y = r
        return np.cos(x) + y**2, np.array([-np.sin(x), 2 * y])

    for n in (1, 2, 3):
        found = ml.find_saddle(wells, [-np.pi, 0.0], [(2 * n - 1) * np.pi, 0.0], every=True)
        assert found.converged
        curve, minima, saddles = found.plot().lines
        points = found.path.points(found.path.t)
        for drawn, expected in ((minima, found.minima), (saddles, [saddle.point for saddle in found.saddles])):
            places = np.searchsorted(curve.get_xdata(), drawn.get_xdata())
            np.testing.assert_allclose(points[places], expected, atol=1e-6)


def test_numbers_are_written_with_the_digits_that_matter() -> None:
    assert aligned(-146.69951721, [-146.7, -40.66]) == "-146.6995"
    assert aligned(7.0226e-09, [7e-9, 2e-3]) == "7.0226e-09"
    assert aligned(float("nan"), [1.0, 2.0]) == "nan"
    assert text_lines([("a", "1", "x"), ("long", "-2", "")]) == "a      1   x\nlong  -2"
    assert "&lt;b&gt;" in as_html("<b>", [("a", "1", "")])
    assert spans_decades([1e-3, 1.0])
    assert not spans_decades([0.0, 1.0])


@pytest.mark.parametrize("places", [[0.5, 0.5, 0.5], [0.0, 0.01, 0.99, 1.0], [0.9, 0.1]])
def test_labels_do_not_overlap(places: list[float]) -> None:
    moved = apart(places, 0.1, 0.0, 1.0)
    assert np.diff(np.sort(moved)).min() >= 0.1 - 1e-12
    assert moved.min() >= 0
    assert moved.max() <= 1
    assert list(np.argsort(moved)) == list(np.argsort(places, kind="stable"))
