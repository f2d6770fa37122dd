"""How paths and comparisons of methods are printed and drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..display import Row, aligned, count, number, with_unit
from ..drawing import (
    COLOURS,
    MARKERS,
    PATH,
    SADDLE,
    STRAIGHT,
    STYLES,
    count_ticks,
    foot_of,
    label,
    label_lines,
    logarithmic_from,
    new_axes,
    round_ticks,
    spans_decades,
    value_scale,
)
from .endings import Ending

if TYPE_CHECKING:
    from .compare import PathComparison
    from .result import Path

#: A straight line that rises by more than so many times the range of the path's values is cut off in a figure.
CUT_OFF = 3.0
#: Heights below so many rounding errors of the endpoints' values are drawn as 0.
ROUNDING = 16


def path_rows(path: Path, advice: str | None) -> list[Row]:
    """Describe a path in labelled values; ``advice`` replaces that of the reason."""
    counts, iterations = path.evaluations, count(len(path.history["height"]) - 1, "iteration")
    if rounds := path.metadata.get("minibatch_rounds"):
        iterations += f", of which {rounds} on mini-batches"
    quantity, unit = path.metadata.get("quantity", "value"), path.metadata.get("value_unit", "")
    higher, values = max(path.height_ends), path.values
    # The straight line itself has one number, its maximum; beside a path it is known at the sample points alone.
    straight = path.reason == Ending.STRAIGHT_LINE
    line = "" if straight else f" (straight line at least {number(path.height_linear - higher)})"
    place = "" if np.isnan(path.maximum_t) else f"at t = {path.maximum_t:.3f}"
    distance = float(np.linalg.norm(path.end.astype(np.float64) - path.start))
    rows = [
        ("barrier", with_unit(number(path.barrier), unit), f"above the higher endpoint{line}"),
        ("maximum", aligned(path.maximum, values), place),
    ]
    if path.metadata.get("objective") == "sum":
        points = f"at the {len(path.t)} sample points (straight line {aligned(path.height_linear, values)})"
        rows.append(("height", aligned(path.height, values), points))
    rows += [
        ("endpoints", ", ".join(aligned(value, values) for value in path.height_ends), ""),
        (
            "path length",
            with_unit(number(path.length, 3), path.metadata.get("length_unit", "")),
            "" if straight else f"(straight line {number(distance, 3)})",
        ),
    ]
    if path.converged:
        meaning = "" if path.reason == Ending.CONVERGED else f": {_meaning(path.reason)}"
        rows.append(("converged", "yes", f"in {iterations}{meaning}"))
    else:
        stopped = (
            f"stopped after {iterations}" if path.reason == Ending.STEPS else f"{_meaning(path.reason)} ({iterations})"
        )
        hint = advice if advice is not None else getattr(path.reason, "advice", "")
        rows.append(("converged", "no", f"{stopped}: the barrier is an upper bound{'; ' + hint if hint else ''}"))
    rows.append(("cost", f"{counts.gradients:,} gradient and {counts.values:,} {quantity} evaluations", ""))
    return rows


def plot_path(path: Path, axes: Any) -> Any:
    """Draw the values along a path and along the straight line on some axes, new ones if None."""
    axes = new_axes() if axes is None else axes
    quantity, unit = path.metadata.get("quantity", "value"), path.metadata.get("value_unit", "")
    t, values = path.t, path.values
    if np.isfinite(path.maximum_t):
        order = np.argsort(np.append(t, path.maximum_t), kind="stable")
        t, values = np.append(t, path.maximum_t)[order], np.append(values, path.maximum)[order]
    line = np.zeros(0) if path.line is None else np.asarray(path.line, dtype=np.float64)
    line = np.where(np.isfinite(line), line, np.nan)
    shown = np.concatenate([values, line[np.isfinite(line)]])
    if line.size:
        axes.plot(np.linspace(0, 1, len(line)), line, "--", color=STRAIGHT, lw=1.3, label="straight line", zorder=1)
    axes.plot(t, values, "-", color=PATH, lw=1.8, label="path")
    axes.plot(path.t, path.values, ".", color=PATH, ms=4, label="_samples")
    axes.axhline(max(path.height_ends), color="0.7", lw=0.8, ls=":", zorder=0)
    axes.plot([0, 1], path.height_ends, "o", color="black", ms=5, label="_endpoints")
    if np.isfinite(path.maximum_t):
        axes.plot([path.maximum_t], [path.maximum], "^", color=SADDLE, ms=8, label="maximum", zorder=3)
    axes.set(xlabel="position along the path, t", ylabel=label(quantity, unit), xlim=(-0.02, 1.02))
    if spans_decades(shown):
        axes.set_yscale("log")
    else:
        value_scale(axes, values)
        low, high = float(values.min()), float(values.max())
        highest = float(shown.max())
        cut = highest - high > CUT_OFF * (high - low) > 0
        top = high + 0.35 * (high - low) if cut else highest + 0.08 * (highest - low or 1.0)
        axes.set_ylim(min(low, float(shown.min())) - 0.08 * (top - low or 1.0), top)
    round_ticks(axes.xaxis)
    top_of_line = path.height_linear - max(path.height_ends)
    labels = [(path.maximum, f"path: barrier {number(path.barrier)}", SADDLE, "^")]
    if line.size:
        labels.append((path.height_linear, f"straight line: barrier ≥ {number(top_of_line)}", STRAIGHT, ""))
    labels.append((max(path.height_ends), "higher endpoint", "0.4", ""))
    top = axes.get_ylim()[1]
    label_lines(axes, [(min(y, top), *rest) for y, *rest in labels if not np.isnan(y)])
    return axes


def comparison_table(found: PathComparison) -> list[tuple[str, ...]]:
    """Describe the paths of some methods, a row each below the names of the columns."""
    columns = ("method", "barrier", "maximum", "iterations", "gradients", "values", "converged", "reason")
    rows: list[tuple[str, ...]] = [columns]
    for name in found.curves:
        if name in found.errors:
            error = " ".join(str(found.errors[name]).split())
            rows.append((name, "-", "-", "-", "-", "-", "no", f"error: {error}"))
            continue
        path = found.paths[name]
        rows.append(
            (
                name,
                number(path.barrier),
                aligned(path.maximum, path.values),
                f"{len(path.history['height']) - 1:,}",
                f"{path.evaluations.gradients:,}",
                f"{path.evaluations.values:,}",
                "yes" if path.converged else "no",
                str(path.reason),
            )
        )
    return rows


def plot_comparison(found: PathComparison, axes: Any) -> Any:
    """Draw height above the higher endpoint against function evaluations on some axes, new ones if None."""
    axes = new_axes(8.0, 4.8) if axes is None else axes
    first = next(iter(found.paths.values()))
    quantity, unit = first.metadata.get("quantity", "value"), first.metadata.get("value_unit", "")
    higher = max(first.height_ends)
    straight = first.height_linear - higher
    searched = {name: curve for name, curve in found.curves.items() if name in found.paths and len(curve) > 1}
    drawn = [straight]
    for name, curve in searched.items():
        drawn += [found.paths[name].maximum - higher, *(curve[:, 1] - higher)]
    heights = np.array(drawn)[np.isfinite(drawn)]
    foot = foot_of(heights, ROUNDING * float(np.finfo(first.start.dtype).eps) * abs(higher))
    labels = []
    for k, (name, curve) in enumerate(searched.items()):
        barrier, colour = found.paths[name].maximum - higher, COLOURS[k % len(COLOURS)]
        look = {"ls": STYLES[k % len(STYLES)], "marker": MARKERS[k % len(MARKERS)], "lw": 1.5, "ms": 6, "color": colour}
        drawn_at = np.maximum([*(curve[:, 1] - higher), barrier], foot)
        spent = curve[:, 0]
        axes.plot(spent, drawn_at[:-1], markevery=[], label=f"{name}: {number(max(barrier, 0), 4)}", **look)
        axes.plot([spent[-1]] * 2, drawn_at[-2:], markevery=[1], **look)
        labels.append((float(drawn_at[-1]), f"{name}: {number(max(barrier, 0), 4)}", colour, MARKERS[k % len(MARKERS)]))
    shown = max(straight, foot)
    text = f"straight line: {number(max(straight, 0), 4)}"
    axes.axhline(shown, color=STRAIGHT, lw=1, ls=":", label=text)
    axes.set(xlabel="function evaluations", xscale="log", ylabel=label(f"{quantity} above the higher endpoint", unit))
    count_ticks(axes.xaxis)
    axes.set_title("lines: height at the sample points; markers and numbers: barrier", fontsize="small")
    if foot > 0:
        logarithmic_from(axes, foot, heights)
    else:
        round_ticks(axes.yaxis)
    label_lines(axes, [*labels, (float(shown), text, STRAIGHT, "")])
    return axes


def _meaning(reason: Any) -> str:
    return str(getattr(reason, "meaning", reason))
