"""Draw barriers.svg: what the numbers of a path are, on the Müller–Brown potential. `python barriers_figure.py`."""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

import minilandscape as ml
from minilandscape.potentials import MullerBrown

matplotlib.rcParams["svg.hashsalt"] = "barriers"
BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "0.45"


def arrow(axes, x, low, high, text, colour, at, side=1):
    """Draw a double arrow from low to high at x, with its text beside it at some energy."""
    axes.annotate("", (x, high), (x, low), arrowprops={"arrowstyle": "<->", "color": colour, "lw": 1.3})
    axes.annotate(
        text,
        (x, at),
        (6 * side, 0),
        textcoords="offset points",
        ha="left" if side > 0 else "right",
        va="center",
        color=colour,
    )


def main():
    """Find the path, draw it with its three barriers, and print them."""
    land = MullerBrown()
    path = ml.find_path(land, *land.minima[:2], n_points=10)
    t = np.linspace(0, 1, 400)
    start, end = path.height_ends
    axes = Figure(figsize=(7, 4.2), layout="constrained").subplots()
    axes.plot(t, land.values(path.points(t)), color=BLUE, lw=2)
    axes.plot(path.t, path.values, "o", color=BLUE, ms=5)
    axes.plot([0, 1], [start, end], ls="--", color=GREY, lw=1)
    axes.axhline(path.maximum, color=ORANGE, lw=1, ls=":")
    axes.axhline(path.height, color=BLUE, lw=1, ls=":")
    axes.text(
        1.0, path.maximum + 1.5, f"maximum {path.maximum:.1f}", color=ORANGE, ha="right", va="bottom", size="small"
    )
    axes.text(1.0, path.height - 1.5, f"height {path.height:.1f}", color=BLUE, ha="right", va="top", size="small")
    arrow(axes, 0.0, start, path.maximum, f"barrier_forward {path.barrier_forward:.1f}", "k", -68)
    arrow(axes, 1.0, end, path.maximum, f"barrier = barrier_reverse\n{path.barrier_reverse:.1f}", "k", -58, -1)
    shares = land.values(path.points(t)) - (1 - t) * start - t * end
    at = float(t[shares.argmax()])
    line = (1 - at) * start + at * end
    arrow(axes, at, line, line + float(shares.max()), f"loss_barrier {path.loss_barrier:.1f}", GREY, -100)
    axes.set(xlabel="t", ylabel="energy", xlim=(-0.04, 1.04))
    axes.spines[["top", "right"]].set_visible(False)
    axes.figure.savefig(Path(__file__).with_name("barriers.svg"), metadata={"Date": None})
    for name in ("height", "maximum", "barrier", "barrier_forward", "barrier_reverse", "loss_barrier"):
        print(f"{name:16} {getattr(path, name):9.3f}")


if __name__ == "__main__":
    main()
