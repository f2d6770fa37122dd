"""How eigenvalues and spectral densities of the Hessian are printed and drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..display import Row, count, number
from ..drawing import LOGARITHMIC, OKABE_ITO, new_axes, round_ticks

if TYPE_CHECKING:
    from .curvature import Curvature
    from .density import SpectralDensity

#: Ritz values of smaller weight are rounding errors.
WEIGHT = 1e-12
#: An eigenvalue is negative beyond this part of the largest: finite differences, and float32, have no more digits.
NEGATIVE = 1e-6
#: Errors of products are named beyond this part of the largest eigenvalue.
NOISY = 1e-3
#: Eigenvalues that a summary names, at each end.
NAMED = 5
#: More eigenvalues than this at one end are drawn as small markers.
MANY = 40
#: Powers of ten that are named on either side of 0.
MOST_POWERS = 4
#: A logarithmic scale on both sides of 0 reaches down to this part of the largest eigenvalue.
SMALLEST = 1e-8


def curvature_rows(found: Curvature) -> list[Row]:
    """Describe eigenvalues, trace and accuracy in labelled values."""
    of_block = f" ({found.block})" if found.block else ""
    rows: list[Row] = [
        ("value", f"{found.value:.8g}", f"at a point of {count(found.point.size, 'coordinate')}{of_block}"),
        ("gradient norm", number(found.gradient_norm, 3), ""),
    ]
    for name, values in (("highest", found.highest), ("lowest", found.lowest)):
        shown = ", ".join(number(float(value)) for value in values[:NAMED])
        rows.append((name, shown + (", …" if len(values) > NAMED else ""), ""))
    negative = int((found.lowest < -found.lowest_residuals).sum())
    if 0 < negative == len(found.lowest) < found.point.size:  # there may be more
        rows.append(("negative", f"all {negative} computed at the low end" if negative > 1 else "the lowest", ""))
    else:
        rows.append(("negative", count(negative, "eigenvalue"), ""))
    if np.isfinite(found.trace):
        error = f" ± {found.trace_error:.2g}" if found.trace_error > 0 else ""
        rows.append(("trace", f"{number(found.trace)}{error}", ""))
    if found.zero_modes:
        rows.append(("zero modes", str(found.zero_modes), "removed"))
    if found.exact:
        rows.append(("products", str(found.products), "exact" + ", of one smooth region" * found.piecewise))
    else:
        rows.append(("step", number(found.step, 3), "of finite differences of gradients"))
    rows.append(("converged", "yes" if found.converged else "no", found.reason))
    rows.append(("cost", count(found.evaluations.gradients, "gradient evaluation"), ""))
    return rows


def plot_curvature(found: Curvature, axes: Any) -> Any:
    """Draw both ends of a spectrum over the rank on some axes, new ones if None."""
    axes = new_axes() if axes is None else axes
    blue, red = OKABE_ITO["blue"], OKABE_ITO["vermillion"]
    size = 3 if max(len(found.highest), len(found.lowest)) > MANY else 6
    for name, values, residuals, marker, colour, fill in (
        ("highest", found.highest, found.highest_residuals, "o", blue, blue),
        ("lowest", found.lowest, found.lowest_residuals, "s", red, "white"),
    ):
        ranks = np.arange(1, len(values) + 1)
        axes.errorbar(
            ranks, values, residuals, ls="none", marker=marker, ms=size, color=colour, mfc=fill, capsize=0, label=name
        )
    axes.axhline(0, color="0.6", lw=0.8, zorder=0)
    axes.set(xlabel="rank from the end of the spectrum", ylabel="eigenvalue of the Hessian")
    round_ticks(axes.xaxis)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.margins(x=0.06)
    symmetric_scale(axes, np.concatenate([found.highest, found.lowest]))
    axes.legend(frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2)
    return axes


def symmetric_scale(axes: Any, values: np.ndarray) -> None:
    """Make the y axis logarithmic on both sides of 0 where sizes of values span decades, else linear."""
    from matplotlib.ticker import LogFormatterMathtext, NullLocator

    sizes = np.abs(values[values != 0])
    if not sizes.size or sizes.max() <= LOGARITHMIC * sizes.min():
        round_ticks(axes.yaxis)
        return
    least = max(sizes.min(), SMALLEST * sizes.max())
    first, last = int(np.floor(np.log10(least))), int(np.floor(np.log10(sizes.max())))
    powers = 10.0 ** np.arange(last, first - 1, -max(1, -(-(last - first + 1) // MOST_POWERS)))
    axes.set_yscale("symlog", linthresh=10.0**first, linscale=0.5)
    negative = -powers if (values < 0).any() else powers[:0]
    ticks = [*negative, 0.0, *(powers if (values > 0).any() else powers[:0])]
    formatted = [LogFormatterMathtext()(tick) if tick else "0" for tick in ticks]
    axes.set_yticks(ticks, [text.replace("{-10", "{−10") for text in formatted])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylim(
        3 * values.min() if values.min() < 0 else -(10.0**first), 3 * values.max() if values.max() > 0 else 10.0**first
    )


def _below(found: SpectralDensity, bound: float) -> tuple[float, float]:
    """The least and the largest part of the eigenvalues below a bound that the Ritz values allow.

    For each random vector the weight below the bound is at least that of the Ritz values below it without the last one,
    and at most theirs with the next one (inequalities of Chebyshev, Markov and Stieltjes). Where all are on one side,
    so is the weight: the outermost Ritz values converge first. Exact eigenvalues count as they are.
    """
    k, n = found.deflated, len(found.nodes)
    least = most = float((found.weights[:, :k] * (found.nodes[:, :k] < bound)).sum())
    for nodes, weights in zip(found.nodes[:, k:], found.weights[:, k:], strict=True):
        order = np.argsort(nodes)
        order = order[weights[order] > WEIGHT]
        sums = np.concatenate([[0.0], np.cumsum(weights[order])])
        below = int((nodes[order] < bound).sum())
        both_sides = 0 < below < len(order)
        least += sums[below - both_sides]
        most += sums[below + both_sides]
    return least / n, most / n


def density_rows(found: SpectralDensity) -> list[Row]:
    """Describe a spectral density in labelled values."""
    mean, error = found.moment(1)
    second, _ = found.moment(2)
    block, whole = found.metadata.get("block"), found.deflated == found.size
    largest, noise = float(np.abs(found.nodes).max()), float(found.metadata.get("error", 0.0))
    zero = max(noise, NEGATIVE * largest)
    least, most = (f"{100 * part:.3g} %" for part in _below(found, -zero))
    rows: list[Row] = [
        ("eigenvalues", f"{found.size:,}", f"of the block {block}" if block else ""),
        ("range", f"{number(found.lowest)} to {number(found.highest)}", "" if whole else "of the Ritz values"),
        ("mean", f"{number(mean)} ± {error:.2g}" if 0 < error < np.inf else number(mean), "trace over eigenvalues"),
        ("deviation", number(float(np.sqrt(max(second - mean**2, 0.0)))), "standard deviation of the eigenvalues"),
        (
            "negative",
            least if least == most else f"{least} to {most}",
            f"of the eigenvalues; those within {zero:.2g} of 0 count as zero",
        ),
    ]
    if not whole:
        iterations = count(found.nodes.shape[1] - found.deflated, "Lanczos iteration")
        rows.append(("probes", str(len(found.nodes)), f"of {iterations} each"))
    if found.deflated:
        holds = "eigenvalues" if whole else "dimensions, which hold the outlying eigenvalues"
        rows.append(("exact", "all" if whole else str(found.deflated), holds))
    if found.zero_modes:
        rows.append(("zero modes", str(found.zero_modes), "removed"))
    accuracy = "exact" if found.exact else f"finite differences of gradients, step {number(found.step, 3)}"
    if noise > NOISY * largest:
        accuracy += f"; the noise of the gradients leaves errors of {noise:.2g} in each: compute them more accurately"
    rows.append(("products", str(found.products), accuracy))
    return rows


def plot_density(found: SpectralDensity, axes: Any, width: float | None) -> Any:
    """Draw a spectral density and its Ritz values on some axes, new ones if None."""
    axes = new_axes() if axes is None else axes
    width = found.width if width is None else width
    room = max(0.05 * (found.highest - found.lowest), 4 * width)
    x = np.linspace(found.lowest - room, found.highest + room, 2000)
    peak = 1 / (np.sqrt(2 * np.pi) * width)  # of the Gaussian in the place of a single eigenvalue, times its weight
    one = peak / found.size
    y = found.density(x, width)
    kept = found.weights > WEIGHT
    nodes, heights = found.nodes[kept], found.weights[kept] / len(found.nodes) * peak
    lowest = min(0.1 * one, max(heights.min(), 1e-3 * one))
    axes.set_yscale("log")
    axes.fill_between(x, lowest, np.maximum(y, lowest), color=OKABE_ITO["sky"], alpha=0.35, lw=0)
    smoothed = f"density, smoothed by {number(width, 2)}"
    axes.plot(x, np.maximum(y, lowest), color=OKABE_ITO["blue"], lw=1.3, label=smoothed)
    seen = heights >= lowest
    axes.plot(nodes[seen], heights[seen], ".", color=OKABE_ITO["vermillion"], ms=3, label="Ritz values", zorder=3)
    axes.axhline(one, color="0.4", lw=0.8, ls=":", label="one eigenvalue")
    axes.axvline(0, color="0.6", lw=0.8, zorder=0)
    axes.set(xlabel="eigenvalue of the Hessian, λ", ylabel="spectral density φ(λ)")
    axes.set(xlim=(x[0], x[-1]), ylim=(lowest, 3 * max(y.max(), heights.max())))
    round_ticks(axes.xaxis)
    weights = axes.secondary_yaxis("right", functions=(lambda h: h / peak, lambda w: w * peak))
    weights.set_ylabel("weight of a Ritz value")
    axes.legend(frameon=False, ncols=3, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2, fontsize="small")
    return axes
