"""The command demo: the main job in about three minutes."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated, Any

import typer

from .lines import print_lines, print_table
from .options import OUTPUT, Data, Json
from .output import check_pictures, note, print_json, progress_bar, save_figure, wrote

#: What a demonstration says that it does, in turn.
STAGES = 4


def demo(
    data: Data = "mnist5k",
    out: Annotated[Path, typer.Option(help="Draw the paths here.", metavar="DEMO.png", rich_help_panel=OUTPUT)] = Path(
        "minilandscape-demo.png"
    ),
    as_json: Json = False,
) -> None:
    """Train two networks with each optimiser, connect each pair by a low-loss path: three minutes.

    Prints the training loss along the straight line and along the path, after the paper's 100 steps and at convergence.
    """
    from minilandscape.data import load_mnist
    from minilandscape.demo import plot_demo, run_demo

    check_pictures(out, inputs=(data,))
    mnist = load_mnist(data, notify=note)
    note(f"data: {mnist.describe()}")
    with progress_bar("demo", STAGES) as advance:
        begun = itertools.count()

        def say(stage: str) -> None:
            note(stage)
            advance(next(begun), stage)

        result = run_demo(mnist, say)
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
    print(
        f"fcp (authors' variant), the first {n_images:,} images; the largest training loss along paths between two "
        "networks"
    )
    table = [["trained by", "endpoints", "straight line", "path", "search", "converged"]]
    for optimizer, row in rows.items():
        for name, label in (("adam", "100 Adam steps"), ("auto", "to convergence")):
            found = row[name]
            said = f"yes, in {found['steps']} steps" if found["converged"] else f"no ({found['reason']})"
            losses = max(row["endpoints"]), row["height_linear"], found["maximum"]
            table.append([optimizer, *(f"{loss:.2e}" for loss in losses), label, said])
    print_table(table)
    print_lines(wrote(out))
    note("next: minilandscape train fcp --seeds 0-1 --out two; minilandscape connect two/train.npy:0 two/train.npy:1")
