"""How the plane of a landscape is printed and drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..display import Row, count, number
from ..drawing import LOGARITHMIC, SADDLE, label, round_ticks

if TYPE_CHECKING:
    from .surface import Surface

#: Contours are drawn up to this quantile of the values: energies of molecules rise without bound.
HIGHEST_DRAWN = 0.9
#: Values that span no more than this part of themselves differ by rounding, and are drawn as one.
FLAT = 1e-13
#: Contour levels at most, and how many of them are drawn as lines.
LEVELS, LINES = 26, 7
#: Both axes have the same scale up to this ratio of the plane's sides.
MOST_ELONGATED = 3.0
#: The longer side of the plane in a new figure, in inches.
SIDE = 4.6


def surface_rows(found: Surface) -> list[Row]:
    """Describe grid, values and path in labelled values."""
    ny, nx = found.values.shape
    missing = int(np.isnan(found.values).sum())
    size = " x ".join(number(float(np.ptp(side)), 3) for side in (found.x, found.y))
    low, high = (float(f(found.values)) for f in (np.nanmin, np.nanmax))
    rows: list[Row] = [
        ("grid", f"{nx} x {ny}", f"{size} {_unit_of_axes(found)}".rstrip()),
        (found.metadata.get("quantity", "value"), f"{number(low)} to {number(high)}", found.metadata.get("unit", "")),
        ("points", str(len(found.marks)), f"in {count(len(found.origin), 'dimension')}"),
    ]
    if missing:
        rows.append(("missing", str(missing), "of the grid could not be evaluated"))
    if len(found.curve):
        rows.append(("path", count(len(found.curve), "sample point"), off_plane(found)))
    if found.trajectory is not None:
        parts = " and ".join(f"{100 * part:.0f} %" for part in found.trajectory.variance)
        rows.append(
            ("trajectory", count(len(found.trajectory.points), "checkpoint"), f"{parts} of the variance on the axes")
        )
    if found.metadata.get("filter_normalised") is not None:
        kind = "filter-normalised" if found.metadata["filter_normalised"] else "of length 1"
        rows.append(("random", kind, f"directions, seed {found.metadata.get('seed')}"))
    return rows


def plot_surface(found: Surface, axes: Any, labels: Sequence[str]) -> Any:
    """Draw a plane as contours, with points and path, on some axes, new ones if None."""
    from matplotlib.patheffects import withStroke

    elongated = _sides(found)[2] > MOST_ELONGATED
    own, axes = axes is None, _new_axes(found, elongated) if axes is None else axes
    _draw_contours(found, axes)
    dark = [withStroke(linewidth=3, foreground="0.2")]  # makes white visible on the page, where there are no values
    if len(found.curve):
        axes.plot(*found.curve[[0, -1]].T, "--", color="w", lw=1.0, path_effects=dark)
        axes.plot(*found.curve.T, "-", color="w", lw=1.8, path_effects=dark)
        axes.set_title(f"solid: path, {off_plane(found)}; dashed: straight line", fontsize="small")
    if found.trajectory is not None:
        axes.plot(*found.trajectory.points.T, "-o", color="w", lw=1.4, ms=3.5, path_effects=dark)
    for mark, text in zip(found.marks, labels, strict=False):
        axes.plot(*mark, "o", color=SADDLE, mec="w", ms=7, zorder=3)
        axes.annotate(text, mark, (6, 6), textcoords="offset points", color="w", weight="bold", path_effects=dark)
    names = names_of_axes(found, labels)
    axes.set(xlabel=names[0], ylabel=names[1], aspect="auto" if elongated else "equal")
    for axis in (axes.xaxis, axes.yaxis):
        round_ticks(axis)
    if own:
        axes.figure.draw_without_rendering()  # the first layout does not know the colour bar's size, and may cut labels
    return axes


def _sides(found: Surface) -> tuple[float, float, float]:
    """Width, height, and the ratio of the longer to the shorter."""
    width, height = float(np.ptp(found.x)), float(np.ptp(found.y))
    return width, height, max(width, height) / (min(width, height) or 1.0)


def _new_axes(found: Surface, elongated: bool) -> Any:
    """Axes that the plane fills, beside room for labels and the colour bar."""
    from matplotlib.figure import Figure

    width, height, _ = _sides(found)
    longer = max(width, height)
    across, up = (SIDE, 0.65 * SIDE) if elongated else (SIDE * width / longer, SIDE * height / longer)
    return Figure(figsize=(max(across, 2.4) + 2.3, max(up, 1.8) + 0.9), layout="constrained").subplots()


def _draw_contours(found: Surface, axes: Any) -> None:
    """Draw filled contours at round levels, some of them as lines, and the colour bar."""
    import matplotlib

    values = np.ma.masked_invalid(found.values)
    known = values.compressed()
    levels, norm, extend = _levels(known)
    clipped = np.ma.clip(values, 0.999 * levels[0] if extend == "both" else levels[0], None)
    filled = axes.contourf(found.x, found.y, clipped, levels, norm=norm, cmap="viridis", extend=extend)
    lines = levels[:: max(1, -(-len(levels) // LINES))]
    lines = lines[(lines > known.min()) & (lines < known.max())]
    if lines.size:
        with matplotlib.rc_context({"contour.negative_linestyle": "solid"}):
            axes.contour(found.x, found.y, values, lines, colors="k", linewidths=0.4, alpha=0.5)
    quantity = label(found.metadata.get("quantity", "value"), found.metadata.get("unit", ""))
    # Within the axes, so that the bar is as long as the plane whatever its shape.
    beside = axes.inset_axes((1.03, 0.0, 0.045, 0.95))
    _bar_ticks(axes.figure.colorbar(filled, cax=beside, label=quantity), levels, norm)


def _levels(known: np.ndarray) -> tuple[np.ndarray, Any, str]:
    """Contour levels, the scale of the colours, and on which sides values lie beyond the levels."""
    from matplotlib.colors import LogNorm, Normalize
    from matplotlib.ticker import MaxNLocator

    low, high = float(known.min()), float(np.quantile(known, HIGHEST_DRAWN))
    if high - low <= FLAT * abs(low):  # one level region, in the middle of the scale
        reach = abs(low) or 1.0
        low, high = low - 0.45 * reach, low + 0.55 * reach
        return np.linspace(low, high, 25), Normalize(low, high), "max"
    positive = known[known > 0]
    least = float(positive.min()) if low == 0 and positive.size else low
    if least > 0 and high > LOGARITHMIC * least:
        a_decade = max(1, round(LEVELS / np.log10(high / least)))
        first, last = np.floor(a_decade * np.log10(least)), np.ceil(a_decade * np.log10(high))
        levels = 10 ** (np.arange(first, last + 1) / a_decade)
        return levels, LogNorm(levels[0], levels[-1]), "both" if low == 0 else "max"
    levels = MaxNLocator(nbins=LEVELS - 2, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    if len(set(levels)) < 3 or not (np.diff(levels) > 0).all():  # too close for round numbers
        levels = np.linspace(low, high, 25)
    return levels, Normalize(levels[0], levels[-1]), "max"


def _bar_ticks(bar: Any, levels: np.ndarray, norm: Any) -> None:
    """Put round ticks on a colour bar."""
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import FixedLocator, LogFormatterMathtext, NullLocator

    bar.ax.yaxis.set_minor_locator(NullLocator())
    if not isinstance(norm, LogNorm):
        round_ticks(bar.ax.yaxis)
        ticks = bar.ax.yaxis.get_major_locator().tick_values(levels[0], levels[-1])
        slack = 1e-6 * (levels[-1] - levels[0])
        ticks = ticks[(ticks >= levels[0] - slack) & (ticks <= levels[-1] + slack)]
        bar.ax.yaxis.set_major_locator(FixedLocator(ticks))
        bar.ax.yaxis.get_offset_text().set_horizontalalignment("left")  # beside the plane, not on it
        return
    first, last = int(np.ceil(np.log10(levels[0]) - 1e-9)), int(np.floor(np.log10(levels[-1]) + 1e-9))
    if last - first >= 2:
        ticks = 10.0 ** np.arange(first, last + 1, max(1, -(-(last - first + 1) // 8)))
        bar.set_ticks(list(ticks), labels=[LogFormatterMathtext()(tick) for tick in ticks])
        return
    ticks = np.array([m * 10.0**k for k in range(first - 1, last + 1) for m in (1, 2, 5)])
    ticks = ticks[(ticks >= levels[0] * (1 - 1e-9)) & (ticks <= levels[-1] * (1 + 1e-9))]
    bar.set_ticks(list(ticks), labels=[f"{tick:.3g}" for tick in ticks])


def _unit_of_axes(found: Surface) -> str:
    """The unit of the coordinates in the plane."""
    relative = np.abs(np.linalg.norm(found.axes, axis=1) - 1).max() > 1e-6
    return "filter norms" if relative else str(found.metadata.get("length_unit", ""))


def names_of_axes(found: Surface, labels: Sequence[str]) -> tuple[str, str]:
    """The labels of both axes: what they measure, where to, and the unit."""
    unit, normalised = _unit_of_axes(found), found.metadata.get("filter_normalised")
    if found.metadata.get("principal_components") and found.trajectory is not None:
        first, second = (f"{100 * part:.1f} %" for part in found.trajectory.variance)
        return f"principal component 1 ({first} of the variance)", f"principal component 2 ({second})"
    if len(found.marks) == 1 and not len(found.curve):
        if "filter_normalised" not in found.metadata:
            return label("first direction", unit), label("second direction", unit)
        return label("first random direction", unit), label("second random direction", unit)
    there = len(found.marks) > 1 and len(labels) > 1
    first = f"distance from {labels[0]} towards {labels[1]}" if there else "distance along the first direction"
    if normalised is not None:
        return label(first, unit), label("distance along a random direction", unit)
    return label(first, unit), label("distance from this line", unit)


def off_plane(found: Surface) -> str:
    """How far a path leaves the plane."""
    inside = found.curve_distance <= 1e-6 * float(np.ptp(found.x))
    return "in the plane" if inside else f"projected from at most {found.curve_distance:.3g} away"
