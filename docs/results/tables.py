"""Makes the tables of docs/reproduction.md from the results beside this file, or adds a campaign's results to them.

python docs/results/tables.py            prints the tables
python docs/results/tables.py CAMPAIGN   keeps the numbers of a campaign's folder here, without vectors and curves
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from minilandscape.campaign.results import APART, expected_apart
from minilandscape.reproduce import campaign_status

HERE = Path(__file__).parent
NAMES = {"fcp": "fcp", "autoencoder": "autoencoder", "lstm": "LSTM", "lenet": "LeNet"}
COLUMNS = (
    ("fcp", "authors"),
    ("autoencoder", "authors"),
    ("lstm", "authors"),
    ("lenet", "authors"),
    ("fcp", "paper"),
    ("autoencoder", "paper"),
)
OPTIMIZERS = {"lbfgs-gss": "L-BFGS-GSS", "sgd": "SGD"}
SOLVERS = {"adam": "100 Adam steps", "still": "until it stands still"}
SETS = (("train", "train"), ("test", "train"), ("test", "test"))


def add(folder: Path) -> None:
    """Keeps a campaign's numbers, a file for each network."""
    results = json.loads((folder / "results.json").read_text())
    status = campaign_status(folder)
    groups = (status.done, status.running, status.failed, status.blocked, status.left)
    for model, network in results["networks"].items():
        done, every = ([n for group in part for n in group if n.startswith(model)] for part in (groups[:1], groups))
        separations = {
            weights: {kernel: found["separation"] for kernel, found in kernels.items() if "separation" in found}
            for weights, kernels in network["kpca"].items()
        }
        kept = {name: value for name, value in network.items() if name not in ("curves", "kpca")}
        plan = {**results["plan"], "data": "MNIST", "networks": {model: results["plan"]["networks"][model]}}
        facts = {
            "plan": plan,
            "tasks": {"done": len(done), "of": len(every)},
            model: {**kept, "kpca_separation": separations},
        }
        target = HERE / f"{model}-{plan['variant']}-{plan['scale']}.json"
        target.write_text(json.dumps(facts, indent=1) + "\n")
        print(f"wrote {target}")


def tables(scale: str = "small") -> str:
    """All tables of the page, in its order."""
    found = []
    for model, variant in COLUMNS:
        path = HERE / f"{model}-{variant}-{scale}.json"
        if path.exists():
            facts = json.loads(path.read_text())
            label = NAMES[model] + (", paper" if variant == "paper" else "")
            found.append((label, model, facts["plan"], facts["tasks"], facts[model]))
    parts = [_campaigns(found), _statements(found), _kernels(found), _losses(found), _heights(found)]
    for label, _, _, _, network in found:
        if network.get("scan"):
            parts += [f"### {label}", _scan(network), _floors(network)]
    return "\n\n".join(parts) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _minus(text: str) -> str:
    return text.replace("-", "−")


def _campaigns(found: list[Any]) -> str:
    rows = []
    for label, model, plan, tasks, network in found:
        n = plan["networks"][model]
        rows.append(
            [
                label.removesuffix(", paper"),
                plan["variant"],
                f"{n['train_size']:,}",
                f"{n['runs']}, {network['kept']}",
                n["pairs"],
                f"{tasks['done']} of {tasks['of']}",
            ]
        )
    return _table(["network", "variant", "images", "runs an optimiser, kept", "pairs a set", "tasks"], rows)


def _statements(found: list[Any]) -> str:
    asked = {
        "L-BFGS training losses far below SGD's": "train loss, L-BFGS less SGD",
        "test losses comparable (the autoencoder's lower, Table 1)": "test loss, L-BFGS less SGD",
        "L-BFGS test curves rise sharply after their minimum, except the autoencoder's": "rise",
        "L-BFGS vectors longer: training weights (Fig. 5)": "length, L-BFGS train",
        "the gap nearly closes in the test sets of fcp and LeNet, stays in the others (Fig. S3)": "length, L-BFGS test",
    }
    for solver, search in SOLVERS.items():
        for what in ("height", "excess"):
            for weights, where in SETS:
                of, on = (place.replace("train", "training") for place in (weights, where))
                said = f"barriers lower for SGD, except the autoencoder: {of} weights, {on} landscape"
                test = f"{what} ({solver}), L-BFGS less SGD, {weights} weights on the {where} landscape"
                asked[f"{said}; {what}, {search}"] = test
            for optimizer, name in (("lbfgs-gss", "L-BFGS"), ("sgd", "SGD")):
                asked[
                    f"{name} train-weight barriers above test-weight ones for fcp and LSTM only; {what}, {search}"
                ] = f"{what} ({solver}), {optimizer}, train less test weights on the train landscape"
    rows = [[text, *(_verdict(entry[-1], prefix) for entry in found)] for text, prefix in asked.items()]
    return _table(["the paper says", *(label for label, *_ in found)], rows)


def _verdict(network: Any, prefix: str) -> str:
    for name, test in network["statements"].items():
        if name.startswith(prefix):
            if test["difference"] is None:  # NaN, of a run that diverged
                return _strong(test["here"])
            difference = _minus(f"{test['difference']:.3g}")
            return f"{_strong(test['here'])} ({difference}; p {test['p']:.2g})"
    return "not run yet"


def _strong(verdict: str) -> str:
    return f"**{verdict}**" if verdict == "not seen" else verdict


def _kernels(found: list[Any]) -> str:
    rows = []
    for weights, figure in (("train", "Fig. 6"), ("test", "Fig. S4")):
        for kernel in ("rbf", "narrow-rbf", "linear", "polynomial", "sigmoid"):
            row = [f"kernel PCA, {kernel}, PC1: {figure}"]
            for _, model, _, _, network in found:
                separation = network["kpca_separation"][weights][kernel][0]
                said = expected_apart(model, weights, kernel)
                seen = _strong("seen" if said == (separation >= APART) else "not seen")
                row.append(f"{seen} ({'apart' if said else 'not apart'} said; {separation:.2f})")
            rows.append(row)
    return _table(["the paper says", *(label for label, *_ in found)], rows)


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
                    _minus(f"{losses['train']['mean']:.3g}"),
                    f"{losses['test']['mean']:.3g} ± {losses['test']['sd']:.2g}",
                    ", ".join(f"{components[weights]['sigma']:.3g}" for weights in ("train", "test")),
                    ", ".join("–" if x is None else f"{sum(x) / len(x):.3g}" for x in lengths),
                ]
            )
    head = ["", "training loss of train weights", "test loss of test weights", "σ of train, test weights"]
    return _table([*head, "mean length, train, test"], rows)


def _heights(found: list[Any]) -> str:
    rows = []
    for label, _, _, _, network in found:
        for entry in network["heights"]:
            if n := len(entry["height"]):
                rows.append(
                    [
                        label,
                        f"{entry['weights']} on {entry['landscape']}",
                        SOLVERS[entry["solver"]].removeprefix("until it "),
                        OPTIMIZERS[entry["optimizer"]],
                        _minus(f"{sum(entry['height']) / n:.4g}"),
                        _minus(f"{sum(entry['excess']) / n:.2g}"),
                        n,
                    ]
                )
    head = ["network", "weights, landscape", "search", "optimiser", "mean height", "mean excess", "paths"]
    return _table(head, rows)


def _scan(network: Any) -> str:
    lams = sorted({entry["lam"] for entry in network["scan"]})
    rows = []
    for optimizer in OPTIMIZERS:
        heights = {e["lam"]: e["height"][0] for e in network["scan"] if e["optimizer"] == optimizer and e["height"]}
        rows.append([optimizer, *(f"{heights[lam]:.4g}" if lam in heights else "" for lam in lams)])
    return _table(["pair", *(f"λ = {lam:.0e}" for lam in lams)], rows)


def _floors(network: Any) -> str:
    rows = []
    for entry in network["floors"]:
        heights = [entry.get(solver, {}).get("height") or [] for solver in SOLVERS]
        rows.append(
            [
                f"{entry['floor']:.0e}",
                _minus(f"{entry['loss']['mean']:.2g}"),
                f"{entry['sigma']:.3g}",
                f"{entry['length']['mean']:.3g}",
                *(_minus(f"{sum(x) / len(x):.3g}") if x else "not run yet" for x in heights),
            ]
        )
    head = ["loss floor of L-BFGS-GSS", "training loss", "σ", "length", "height, 100 Adam steps"]
    return _table([*head, "height, stands still"], rows)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        add(Path(sys.argv[1]))
    else:
        print(tables(), end="")
