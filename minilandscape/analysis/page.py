"""An interactive page of a surface in three dimensions: one HTML file that needs no network."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..files import write_atomic
from .shown_surface import names_of_axes, off_plane

if TYPE_CHECKING:
    from .surface import Surface

#: Positive values that span more than this ratio are drawn at logarithmic heights at first.
LOGARITHMIC = 50.0
#: Colours of the curves, and of their hidden parts.
COLOURS = (
    ("#D55E00", "rgba(213,94,0,0.45)"),
    ("#0072B2", "rgba(0,114,178,0.45)"),
    ("#CC79A7", "rgba(204,121,167,0.45)"),
)
#: Significant digits of the numbers in the page.
DIGITS = 7
#: Stops of the colour map.
STOPS = 24


@dataclass(frozen=True)
class Curve:
    """A line on a surface.

    Attributes
    ----------
    name
        As the legend has it.
    points
        (M, 2) in the plane.
    values
        (M,): the heights; an empty array draws the line on the surface.
    dots
        Whether its points are drawn, as those of a training trajectory.
    """

    name: str
    points: np.ndarray
    values: np.ndarray
    dots: bool = False


def write_page(
    file: str | os.PathLike[str],
    x: np.ndarray,
    y: np.ndarray,
    quantities: Mapping[str, np.ndarray],
    *,
    curves: Sequence[Curve] = (),
    marks: Mapping[str, np.ndarray] | None = None,
    labels: tuple[str, str] = ("x", "y"),
    title: str = "surface",
) -> None:
    """Write the page of some quantities on a grid.

    Parameters
    ----------
    file
        The ``.html``.
    x, y
        (nx,), (ny,), ascending.
    quantities
        (ny, nx) each by name, the first drawn at first; NaN where there is no value.
    curves
        Lines, at heights of the first quantity.
    marks
        (2,) each by name: points of the plane.
    labels
        Of the two axes.
    title
        Of the page.

    Raises
    ------
    ValueError
        If there is no quantity, or one has another shape than the grid or no finite value.
    """
    if not quantities:
        raise ValueError("there is no quantity to draw; expected at least one (ny, nx)")
    for name, values in quantities.items():
        if np.shape(values) != (len(y), len(x)):
            raise ValueError(f"{name} has shape {np.shape(values)}; expected {(len(y), len(x))}")
        if not np.isfinite(values).any():
            raise ValueError(f"{name} has no finite value; there is nothing to draw")
    first = next(iter(quantities.values()))
    known = first[np.isfinite(first)]
    content = {
        "x": _numbers(x),
        "y": _numbers(y),
        "quantities": [{"name": name, "values": [_numbers(row) for row in v]} for name, v in quantities.items()],
        "curves": [
            {
                "name": curve.name,
                "points": [_numbers(point) for point in curve.points],
                "values": _numbers(curve.values),
                "dots": curve.dots,
                "colour": COLOURS[k % len(COLOURS)][0],
                "faint": COLOURS[k % len(COLOURS)][1],
            }
            for k, curve in enumerate(curves)
        ],
        "marks": [{"name": name, "x": float(p[0]), "y": float(p[1])} for name, p in (marks or {}).items()],
        "labels": list(labels),
        "logarithmic": bool(known.min() > 0 and known.max() > LOGARITHMIC * known.min()),
        "colours": _colours(),
    }
    text = json.dumps(content, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    page = resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    # A "</script>" within a name would end the element that holds the numbers.
    page = page.replace("__TITLE__", escape(title)).replace("__DATA__", text.replace("<", "\\u003c"))
    write_atomic(Path(file), page.encode("utf-8"))


def write_surface_page(found: Surface, file: str | os.PathLike[str], labels: Sequence[str], title: str) -> None:
    """Write the page of a surface with its metrics, path, trajectory and points."""
    name = str(found.metadata.get("quantity", "value"))
    unit = found.metadata.get("unit", "")
    curves = []
    if len(found.curve):
        curves.append(Curve(f"path, {off_plane(found)}", found.curve, found.curve_values))
    if found.trajectory is not None:
        run = found.trajectory
        curves.append(Curve(f"trajectory, at most {run.distance:.3g} from the plane", run.points, run.values, True))
    write_page(
        file,
        found.x,
        found.y,
        {f"{name} ({unit})" if unit else name: found.values, **found.metrics},
        curves=curves,
        marks=dict(zip(labels, found.marks, strict=False)),
        labels=names_of_axes(found, labels),
        title=title,
    )


def _numbers(values: np.ndarray) -> list[float | None]:
    """Numbers in a few digits, None where one is not finite."""
    return [float(f"{v:.{DIGITS}g}") if np.isfinite(v) else None for v in np.asarray(values, dtype=np.float64)]


def _colours() -> list[list[int]]:
    """(STOPS, 3): viridis from 0 to 255."""
    import matplotlib

    found: Any = matplotlib.colormaps["viridis"](np.linspace(0, 1, STOPS))[:, :3]
    return [[round(255 * float(c)) for c in row] for row in found]
