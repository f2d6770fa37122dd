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
    """The main job, small: train two networks with each optimiser, connect each pair by a low-loss path."""
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
            "endpoints": list(adam.height_ends),
            "height_linear": adam.height_linear,
            **{
                name: {
                    "maximum": path.maximum,
                    "height": path.height,
                    "converged": path.converged,
                    "reason": path.reason,
                    "steps": len(path.history["height"]) - 1,
                }
                for name, path in (("adam", adam), ("auto", result.converged[optimizer]))
            },
        }
        for optimizer, adam in result.adam.items()
    }
    if as_json:
        print_json({"paths": rows, "data": mnist.key, "figure": str(out)})
        return
    n_images = result.runs["sgd"][0].data["n_train"]  # a small data set has fewer than the demo would take
    print(f"fcp (authors' variant), the first {n_images:,} images; the training loss along paths between two solutions")
    print(f"{'trained by':10} {'endpoint':>9} {'straight':>9}   {'search':22} {'maximum':>9}  converged")
    for optimizer, row in rows.items():
        for name, label in (("adam", "100 Adam steps"), ("auto", "to convergence (auto)")):
            found = row[name]
            said = f"yes, in {found['steps']} steps" if found["converged"] else f"no: {found['reason']}"
            print(
                f"{optimizer:10} {max(row['endpoints']):9.2e} {row['height_linear']:9.2e}   {label:22} "
                f"{found['maximum']:9.2e}  {said}"
            )
    print(f"wrote {out}")
