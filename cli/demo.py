"""The command demo: the main job in about two minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .options import Data, Json
from .output import check_pictures, note, print_json, progress_bar, save_figure


def demo(
    data: Data = "mnist5k",
    out: Annotated[Path, typer.Option(help="The figure.")] = Path("minilandscape-demo.png"),
    as_json: Json = False,
) -> None:
    """The main job, small: train two networks with each optimiser, join each pair by a low path, draw it all."""
    from minilandscape.data import load_mnist
    from minilandscape.demo import plot_demo, run_demo

    check_pictures(out, inputs=(data,))
    mnist = load_mnist(data, notify=note)
    note(f"data: {mnist.describe()}")
    with progress_bar("demo", None):
        result = run_demo(mnist, note)
    save_figure(plot_demo(result), out)
    rows: dict[str, dict[str, Any]] = {
        optimizer: {
            "ends": list(result.adam[optimizer].height_ends),
            "height_linear": result.adam[optimizer].height_linear,
            "height_adam_100": result.adam[optimizer].height,
            "height_standing_still": result.converged[optimizer].height,
            "steps_standing_still": len(result.converged[optimizer].history["height"]) - 1,
        }
        for optimizer in result.adam
    }
    if as_json:
        print_json({"paths": rows, "data": mnist.key, "figure": str(out)})
        return
    n_images = result.runs["sgd"][0].data["n_train"]  # a small data set has fewer than the demo would take
    print(f"fcp (authors' variant), the first {n_images:,} images; heights of the training loss along paths")
    print(f"{'optimizer':10} {'higher end':>11} {'straight':>10} {'Adam, 100':>10} {'lbfgs-gss, standing still':>26}")
    for optimizer, row in rows.items():
        print(
            f"{optimizer:10} {max(row['ends']):11.3e} {row['height_linear']:10.3e} {row['height_adam_100']:10.3e} "
            f"{row['height_standing_still']:14.3e} in {row['steps_standing_still']} steps"
        )
    print(f"wrote {out}")
