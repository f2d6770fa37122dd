"""Puts the results beside this file into the tables of docs/reproduction.md.

python docs/results/tables.py            writes the page's tables
python docs/results/tables.py CAMPAIGN   keeps a campaign's numbers here first, without vectors and curves
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from minilandscape.campaign.plan import image_counts, load_plan
from minilandscape.campaign.plan_tasks import plan_tasks
from minilandscape.campaign.statements import RULES
from minilandscape.campaign.store import Store
from minilandscape.figures import tables as result_tables
from minilandscape.reproduce import campaign_status

HERE = Path(__file__).parent
PAGE = HERE.parent / "reproduction.md"
NAMES = {"fcp": "fcp", "lenet": "LeNet", "autoencoder": "autoencoder", "lstm": "LSTM"}
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
        facts = {
            "plan": plan,
            "tasks": {"done": len(done), "of": len(every), "hours": hours},
            model: kept,
        }
        target = HERE / f"{model}-{plan['variant']}-{plan['scale']}.json"
        target.write_text(json.dumps(facts, indent=1) + "\n")
        print(f"wrote {target}")


def tables(scale: str = "small") -> dict[str, str]:
    """The page's tables by name."""
    found = []
    for model, variant in COLUMNS:
        path = HERE / f"{model}-{variant}-{scale}.json"
        if path.exists():
            facts = json.loads(path.read_text())
            label = NAMES[model] + (", paper" if variant == "paper" else "")
            found.append((label, model, facts["plan"], facts["tasks"], facts[model]))
    named = [(label, network) for label, *_, network in found]
    searches = found[0][4]["searches"]
    return {
        "campaigns": _campaigns(found),
        "rules": RULES,
        "statements": _statements(
            found, lambda says: not says.startswith(("kernel PCA", "heights do not")) and not _search(says, searches)
        ),
        **{
            f"barriers, {name}": _statements(
                found, lambda says, name=name: "barriers" in says and _search(says, searches) == name
            )
            for name in searches
        },
        "scan, statements": _statements(found, lambda says: says.startswith("heights do not depend")),
        "kernels": _statements(found, lambda says: says.startswith("kernel PCA")),
        "losses": _losses(found),
        "directions": _directions(found),
        "heights": _table(*result_tables.heights(named)),
        "scan": _table(*result_tables.scan(named)),
        "floors": _table(*result_tables.floors(named)),
    }


def _search(says: str, searches: dict[str, str]) -> str | None:
    """The search whose paths a statement is about."""
    return next((name for name, words in searches.items() if says.endswith(words)), None)


def with_tables(page: str) -> str:
    """The page with what stands between ``<!-- name -->`` and ``<!-- end -->`` made anew.

    Raises
    ------
    ValueError
        If the page has not a place for every table, and a table for every place.
    """
    made = tables()
    place = re.compile(r"<!-- ([^>]+) -->\n.*?<!-- end -->", re.DOTALL)
    places = place.findall(page)
    if sorted(places) != sorted(made):
        raise ValueError(f"the page has places for {sorted(places)}; expected {sorted(made)}")
    return place.sub(lambda found: f"<!-- {found[1]} -->\n\n{made[found[1]]}\n\n<!-- end -->", page)


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *([_cell(value) for value in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: Any) -> str:
    """A number's minus is a minus, not a hyphen; nothing is a dash."""
    return re.sub(r"(?<=\de)-(?=\d)|(?<!\w)-(?=\d)", "−", str(value)) or "–"


def _campaigns(found: list[Any]) -> str:
    rows = []
    for label, model, plan, tasks, network in found:
        n, counts = plan["networks"][model], image_counts(plan, model)
        rows.append(
            [
                label.removesuffix(", paper"),
                plan["variant"],
                "a GPU" if plan.get("device") == "gpu" else "a CPU",
                f"{counts['train']:,}",
                f"{counts['test_landscape']:,}, {counts['test_curves']:,}",
                f"{n['runs']}, {network['kept']}",
                n["pairs"],
                f"{tasks['done']} of {tasks['of']}",
                None if tasks["hours"] is None else f"{tasks['hours']:,.1f}",
            ]
        )
    head = ["runs an optimiser, kept", "pairs a set", "tasks", "hours of a process"]
    return _table(["network", "variant", "on", "training images", "test images: landscape, curves", *head], rows)


def _statements(found: list[Any], wanted: Callable[[str], bool]) -> str:
    """A row a statement: the verdict on each network, what the two numbers are, p, its least, and n."""
    by_network = [{entry["says"]: entry for entry in network["statements"]} for *_, network in found]
    every = list(dict.fromkeys(says for entries in by_network for says in entries))
    rows = []
    for says in filter(wanted, every):
        of = next(entries[says]["of"] for entries in by_network if says in entries)
        rows.append([f"{says} [{of}]", *(_verdict(entries.get(says)) for entries in by_network)])
    return _table(["the paper says [first, second number]", *(label for label, *_ in found)], rows)


def _verdict(entry: Any) -> str:
    if entry is None:
        return "–"
    here = f"**{entry['here']}**" if entry["here"] == "not seen" else entry["here"]
    if None in (entry["first"], entry["second"]):  # NaN, of a run that diverged
        return here
    numbers = f"{entry['first']:.3g}, {entry['second']:.3g}"
    n = "n " + " + ".join(map(str, entry["n"]))
    if entry["p"] is None:
        return f"{here} ({numbers}; no test; {n})"
    least = f"≥ {entry['least']:.2g}" if entry["p"] > entry["least"] * 1.01 else "least"
    return f"{here} ({numbers}; p {entry['p']:.2g}, {least}; {n})"


def _losses(found: list[Any]) -> str:
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
    return _table([*head, "mean length, train, test"], rows)


def _directions(found: list[Any]) -> str:
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
    return _table(head, rows)


def main() -> None:
    """Adds the campaign that is named, and writes the page's tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("campaign", type=Path, nargs="?", help="a folder of minilandscape reproduce, with its report")
    campaign = parser.parse_args().campaign
    if campaign is not None:
        if not (campaign / "results.json").exists():
            parser.error(f"{campaign} has no results.json; minilandscape report {campaign} makes it")
        add(campaign)
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
