"""Puts the results beside this file into tables: those of docs/paper/reproduction.md, its figure, and CSV files.

python docs/paper/results/tables.py            writes them
python docs/paper/results/tables.py CAMPAIGN   keeps a campaign's numbers here first, without vectors and curves
"""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from minilandscape.files import write_atomic
from minilandscape.paper import tables as result_tables
from minilandscape.paper.plan import image_counts, load_plan
from minilandscape.paper.plan_tasks import plan_tasks
from minilandscape.paper.reproduce import campaign_status
from minilandscape.paper.verdicts import RULES
from minilandscape.tasks import Store

HERE = Path(__file__).parent
PAGE = HERE.parent / "reproduction.md"
NAMES = {"fcp": "FCP", "lenet": "LeNet", "autoencoder": "autoencoder", "lstm": "LSTM"}
COLUMNS = [(model, variant) for variant in ("authors", "paper") for model in NAMES]
OPTIMIZERS = {"lbfgs-gss": "L-BFGS-GSS", "sgd": "SGD"}


def add(folder: Path) -> None:
    """Keeps a campaign's numbers, a file for each network."""
    results = json.loads((folder / "results.json").read_text())
    status = campaign_status(folder)
    groups = (status.done, status.running, status.failed, status.blocked, status.left)
    store = Store(folder)
    tasks = plan_tasks(load_plan(store))
    for model, network in results["networks"].items():
        done, every = ([n for group in part for n in group if n.startswith(model)] for part in (groups[:1], groups))
        kept = {name: value for name, value in network.items() if name not in ("curves", "kpca")}
        plan = {**results["plan"], "data": "MNIST", "networks": {model: results["plan"]["networks"][model]}}
        seconds = [s for task in tasks if task.name.startswith(model) and (s := store.seconds(task)) is not None]
        hours = sum(seconds) / 3600 if len(seconds) >= len(done) else None  # times can be lost
        metadata = {
            "plan": plan,
            "tasks": {"done": len(done), "of": len(every), "hours": hours},
            model: kept,
        }
        target = HERE / f"{model}-{plan['variant']}-{plan['scale']}.json"
        target.write_text(json.dumps(metadata, indent=1) + "\n")
        print(f"wrote {target}")


def found_here() -> list[Any]:
    """Label, network, plan, tasks and numbers of each campaign whose results are here, those at full size first."""
    found = []
    for scale, (model, variant) in itertools.product(("full", "small"), COLUMNS):
        path = HERE / f"{model}-{variant}-{scale}.json"
        if path.exists():
            metadata = json.loads(path.read_text())
            label = NAMES[model] + (", paper" if variant == "paper" else "")
            label += f", {image_counts(metadata['plan'], model)['train']:,} images" if scale == "full" else ""
            found.append((label, model, metadata["plan"], metadata["tasks"], metadata[model]))
    return found


def page_tables() -> dict[str, str]:
    """The page's tables by name."""
    found = found_here()
    at = [(_at(label, image_counts(plan, model)["train"]), n) for label, model, plan, _, n in found]
    return {
        "answer": _markdown(*result_tables.headlines(at)),
        "counts": _markdown(*result_tables.counts([(label, network) for label, *_, network in found])),
        "campaigns": _markdown(*_campaigns(found)),
        "rules": "\n".join(f"- {rule}" for rule in RULES),
    }


def _at(label: str, images: int) -> str:
    """A label with the number of images, as "FCP, paper, at 5,000 images"."""
    return f"{label.removesuffix(f', {images:,} images')}, at {images:,} images"


def files() -> dict[str, str]:
    """All tables as CSV, by the names of their files."""
    found = found_here()
    named = [(label, network) for label, *_, network in found]
    made = {
        "statements": result_tables.statements(named),
        "heights": result_tables.heights(named),
        "lambda": result_tables.scan(named),
        "target-losses": result_tables.target_losses(named),
        "losses": _losses(found),
        "directions": _directions(found),
    }
    made |= {
        "sharpness": result_tables.curvature(named),
        "averages": result_tables.averages(named),
        "resolutions": result_tables.resolutions(named),
    }
    return {f"{name}.csv": _csv(*table) for name, table in made.items() if table.rows}


def with_tables(page: str) -> str:
    """The page with what stands between ``<!-- name -->`` and ``<!-- end -->`` made anew.

    Raises
    ------
    ValueError
        If the page has not a place for every table, and a table for every place.
    """
    made = page_tables()
    place = re.compile(r"<!-- ([^>]+) -->\n.*?<!-- end -->", re.DOTALL)
    places = place.findall(page)
    if sorted(places) != sorted(made):
        raise ValueError(f"the page has places for {sorted(places)}; expected {sorted(made)}")
    return place.sub(lambda found: f"<!-- {found[1]} -->\n\n{made[found[1]]}\n\n<!-- end -->", page)


def draw(target: Path) -> None:
    """The page's figure: barriers by search."""
    from matplotlib.figure import Figure

    from minilandscape.paper.answer import plot_answer

    found = [entry for entry in found_here() if entry[2]["variant"] == "authors"]
    columns = -(-len(found) // 2)
    figure = Figure(figsize=(4.6 * columns, 6.4), layout="constrained")
    axes = figure.subplots(2, columns, sharey=True)
    for ax, (label, model, plan, _, network) in zip(axes.flat, found, strict=False):
        plot_answer(ax, network, _at(label, image_counts(plan, model)["train"]))
    for ax in axes.flat[len(found) :]:
        ax.axis("off")
    highest = max(ax.dataLim.ymax for ax in axes.flat[: len(found)])
    axes.flat[0].set_ylim(top=4 * highest)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    write_atomic(target, buffer.getvalue())


def draw_courses(target: Path) -> None:
    """Barriers against the cost of the searches, of all results here that have them."""
    from matplotlib.figure import Figure

    from minilandscape.paper.answer import plot_courses

    shown = []
    for path in sorted(HERE.glob("*.json")):
        metadata = json.loads(path.read_text())
        (model,) = metadata["plan"]["networks"]
        if metadata[model].get("courses"):
            label = NAMES[model] + (", paper" if metadata["plan"]["variant"] == "paper" else "")
            shown.append((f"{label}, {image_counts(metadata['plan'], model)['train']:,} images", metadata[model]))
    columns = min(2, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(6.2 * columns, 4.2 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax, (label, network) in zip(axes.flat, shown, strict=False):
        plot_courses(ax, network, label)
    for ax in axes.flat[len(shown) :]:
        ax.axis("off")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    write_atomic(target, buffer.getvalue())


def _csv(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([head, *rows])
    return text.getvalue()


def _markdown(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *([_cell(value) for value in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: Any) -> str:
    """A number's minus is a minus, not a hyphen; nothing is a dash."""
    return re.sub(r"(?<=\de)-(?=\d)|(?<!\w)-(?=\d)", "−", str(value)) or "–"


def _campaigns(found: list[Any]) -> result_tables.Table:
    rows = []
    for label, model, plan, tasks, network in found:
        n, counts = plan["networks"][model], image_counts(plan, model)
        rows.append(
            [
                label.partition(",")[0],
                plan["variant"],
                "a GPU" if plan.get("device") == "gpu" else "a CPU",
                f"{counts['train']:,}",
                f"{counts['test_landscape']:,}, {counts['test_curves']:,}",
                f"{n['runs']}, {network['kept']}",
                n["pairs"],
                f"{n['loss_floor']:g}, {n['sgd_floor']:g}",
                f"{tasks['done']} of {tasks['of']}",
                None if tasks["hours"] is None else f"{tasks['hours']:,.1f}",
            ]
        )
    head = ["network", "variant", "on", "training images", "test images: landscape, curves", "runs per optimiser, kept"]
    return result_tables.Table(
        [*head, "pairs per set", "target losses: L-BFGS-GSS, SGD", "tasks", "process hours"], rows
    )


def _losses(found: list[Any]) -> result_tables.Table:
    rows = []
    for label, _, _, _, network in found:
        for optimizer, name in OPTIMIZERS.items():
            losses, components = network["table1"][optimizer], network["tableS1"][optimizer]
            lengths = [
                network["lengths"][weights][optimizer] if (optimizer, weights) != ("sgd", "train") else None
                for weights in ("train", "test")
            ]
            rows.append(
                [
                    f"{label}, {name}",
                    f"{losses['train']['mean']:.3g}",
                    f"{losses['test']['mean']:.3g} ± {losses['test']['sd']:.2g}",
                    ", ".join(f"{components[weights]['sigma']:.3g}" for weights in ("train", "test")),
                    ", ".join("–" if x is None else f"{sum(x) / len(x):.3g}" for x in lengths),
                ]
            )
    head = ["", "training loss of train weights", "test loss of test weights", "σ of train, test weights"]
    return result_tables.Table([*head, "mean length, train, test"], rows)


def _directions(found: list[Any]) -> result_tables.Table:
    rows = []
    for label, _, _, _, network in found:
        for optimizer, name in OPTIMIZERS.items():
            for weights in ("train", "test"):
                d = network["directions"][optimizer][weights]
                angle = network["angles"]["train" if (optimizer, weights) != ("lbfgs-gss", "test") else "test"]
                mean, spread = angle[optimizer]["angle"]
                shown = "–" if (optimizer, weights) == ("sgd", "train") else f"{mean:.1f}° ± {spread:.1f}°"
                row = [f"{label}, {name}, {weights} weights", f"{d['part']:.3f}", f"{d['random']:.3f}", f"{d['p']:.2g}"]
                rows.append([*row, shown, d["n"]])
    head = ["", "first eigenvalue's part", "with random signs", "p", "angles from the common origin", "vectors"]
    return result_tables.Table(head, rows)


def main() -> None:
    """Adds the campaign that is named, and writes the page's tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("campaign", type=Path, nargs="?", help="a folder of minilandscape reproduce, with its report")
    campaign = parser.parse_args().campaign
    if campaign is not None:
        if not (campaign / "results.json").exists():
            parser.error(f"{campaign} has no results.json; minilandscape report {campaign} makes it")
        add(campaign)
    for name, text in files().items():
        write_atomic(HERE / name, text.encode())
    draw(HERE / "answer.png")
    draw_courses(HERE / "steps.png")
    write_atomic(PAGE, with_tables(PAGE.read_text(encoding="utf-8")).encode())
    print(f"wrote {PAGE}, its figure, and tables in {HERE}")


if __name__ == "__main__":
    main()
