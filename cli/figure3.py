"""The command figure3: the paper's two-dimensional example."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .lines import print_lines
from .options import OUTPUT, PATH, Json
from .output import check_pictures, print_json, progress_bar, save_figure, wrote

#: The printed heights: of the straight line, and of paths by lambda.
PRINTED_LINE = 1.102
PRINTED = {10: 0.646, 100: 0.640, 1000: 0.652}


def figure3(
    power: Annotated[
        float,
        typer.Option(
            help="Power of f in the sum that the paths minimise. The paper's printed heights come from 2, which its "
            "authors' code uses; 1, as Eq. (4) reads, gives higher paths (about 0.68 to 0.73).",
            metavar="X",
            rich_help_panel=PATH,
        ),
    ] = 2.0,
    steps: Annotated[
        int, typer.Option(min=1, help="Adam steps at a learning rate of 0.01.", metavar="N", rich_help_panel=PATH)
    ] = 2000,
    out: Annotated[
        Path | None,
        typer.Option(help="Draw Fig. 3a and 3b here (.png, .svg, .pdf).", metavar="FIGURE.png", rich_help_panel=OUTPUT),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compute the paper's Fig. 3: paths on a two-dimensional landscape for three values of lambda."""
    from minilandscape.figures.figure3 import figure3 as compute
    from minilandscape.figures.figure3 import plot_figure3

    check_pictures(out)
    with progress_bar("figure 3", None):
        result = compute(power, steps)
    heights = {str(lam): path.height for lam, path in result.paths.items()}
    if out is not None:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(11, 4.6), layout="constrained")
        plot_figure3(result, figure.subplots(1, 2))
        save_figure(figure, out)
    if as_json:
        print_json({"height_linear": result.linear.height, "heights": heights, "power": power, "steps": steps})
        return
    print("heights: the largest value at the 100 sample points of each path, Eq. (5)")
    print_lines(
        [
            ("straight line", f"{result.linear.height:.3f}", f"H0; printed in the paper {PRINTED_LINE:.3f}"),
            *(
                (f"lambda {lam}", f"{result.paths[lam].height:.3f}", f"H{k}; printed in the paper {printed:.3f}")
                for k, (lam, printed) in enumerate(PRINTED.items(), 1)
            ),
            *wrote(out),
        ]
    )
