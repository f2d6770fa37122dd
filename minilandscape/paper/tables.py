"""Tables of a campaign's results as text, for the report and for pages of documentation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ..networks import model_size
from ..training.options import BATCH
from . import printed
from .names import NAMES, OPTIMIZERS, SETS
from .plan import NetworkPlan, image_counts
from .verdicts import Verdict

#: A label, and what :func:`minilandscape.paper.results.collect` found of one network.
Networks = Iterable[tuple[str, Mapping[str, Any]]]


class Table(NamedTuple):
    """Heads of columns, and rows."""

    head: Sequence[str]
    rows: Sequence[Sequence[Any]]


def plan(plan: Mapping[str, Any]) -> Table:
    """Return every number that determines a result, with the paper's beside it; a dash if the paper names none."""
    networks = {model: NetworkPlan(**numbers) for model, numbers in plan["networks"].items()}
    counts = {model: image_counts(plan, model) for model in networks}

    def row(name: str, paper: Any, of: Any) -> list[str]:
        return [name, _said(paper), *(_said(of(model, network)) for model, network in networks.items())]

    def target(optimizer: str) -> list[str]:
        name = OPTIMIZERS[optimizer][0]
        label = f"{name}: target loss, which ends a run; in the paper, the mean it ends with"
        values = {model: printed.TABLE_1[model][optimizer][0] for model in networks}
        return row(
            label, ", ".join(f"{value:g}" for value in values.values()), lambda m, n: n.target(optimizer) or "none"
        )

    def seeds(network: NetworkPlan, optimizer: str) -> str:
        every = network.seeds(optimizer)
        return f"{every[0]} to {every[-1]}"

    rows = [
        row("parameters, N_prm", ", ".join(str(printed.N_PRM[m]) for m in networks), lambda m, n: model_size(m)),
        row("training images", printed.TRAIN_IMAGES, lambda m, n: counts[m]["train"]),
        row("test images: curves, early stopping", printed.TEST_IMAGES, lambda m, n: counts[m]["test_curves"]),
        row("test images: test landscape", printed.TEST_IMAGES, lambda m, n: counts[m]["test_landscape"]),
        row("runs per optimiser", printed.RUNS, lambda m, n: n.runs),
        row("runs kept: lowest training loss", printed.KEPT, lambda m, n: n.kept),
        row("initial vectors of the optimisers", "for each optimiser", lambda m, n: n.initial),
        row("seeds of L-BFGS-GSS", None, lambda m, n: seeds(n, "lbfgs-gss")),
        row("seeds of SGD", None, lambda m, n: seeds(n, "sgd")),
        row("SGD: images per mini-batch", printed.BATCH, lambda m, n: BATCH),
        row("SGD: learning rate", None, lambda m, n: n.lr),
        row("SGD: epochs at most", None, lambda m, n: n.sgd_epochs),
        target("sgd"),
        row("L-BFGS-GSS: iterations at most", None, lambda m, n: n.iterations),
        target("lbfgs-gss"),
        row("pairs per set", printed.PAIRS, lambda m, n: min(n.pairs, n.kept * (n.kept - 1) // 2)),
        row("how pairs are drawn", "random", lambda m, n: n.pairing),
        row("seed of the pairs", None, lambda m, n: plan["seed"]),
        row("path: terms, N_F", printed.TERMS, lambda m, n: n.n_terms),
        row("path: sample points, M", printed.POINTS, lambda m, n: n.n_points),
        row("path: λ", printed.LAM, lambda m, n: n.lam),
        row("path: Adam steps", None, lambda m, n: n.steps),
        row("Hessian: vectors per set", None, lambda m, n: n.curvatures or "none"),
        row("path: Adam learning rate", None, lambda m, n: PATH_RATE),
        row("second search, beside the paper", None, lambda m, n: n.searches["still"] if n.still_steps else "none"),
        row("second search: target barrier", None, lambda m, n: n.target_barrier or "none"),
    ]
    return Table(["", "paper", *(NAMES[model] for model in networks)], rows)


#: Adam's learning rate on paths, the default of networks.
PATH_RATE = 1e-3


def _said(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def headlines(networks: Networks) -> Table:
    """Return the statements on the paper's main questions: for each network the verdict and the two numbers."""
    networks = list(networks)
    by_network = [{e["headline"]: e for e in network["statements"] if "headline" in e} for _, network in networks]
    every = list(dict.fromkeys(headline for entries in by_network for headline in entries))
    rows = [[says, *(_short(entries.get(says)) for entries in by_network)] for says in every]
    return Table(["the paper says", *(label for label, _ in networks)], rows)


def _short(entry: Mapping[str, Any] | None) -> str:
    if entry is None:
        return "–"
    if None in (entry["first"], entry["second"]):
        return str(entry["here"])
    return f"{entry['here']}: {_plain(entry['first'])}, {_plain(entry['second'])}"


def _plain(value: float) -> str:
    """Return a number with two digits, or as a whole number up to thousands."""
    return f"{value:.0f}" if 10 <= abs(value) < 10_000 else f"{value:.2g}"


def statements(networks: Networks) -> Table:
    """Return every statement on every network: verdict, the two numbers, p, the smallest attainable p, and n."""
    rows = []
    for label, network in networks:
        for entry in network["statements"]:
            numbers = [_number(entry[k], d) for k, d in (("first", 3), ("second", 3), ("p", 2), ("least", 2))]
            n = " + ".join(map(str, entry["n"]))
            rows.append([entry["says"], label, entry["claim"], str(entry["here"]), *numbers, n, entry["of"]])
    head = ["the paper says", "network", "of this network", "verdict", "first", "second", "p", "smallest p", "n"]
    return Table([*head, "the two numbers"], rows)


def counts(networks: Networks) -> Table:
    """Return the number of statements with each verdict."""
    rows = []
    for label, network in networks:
        found = [entry["here"] for entry in network["statements"]]
        rows.append([label, *(str(found.count(kind)) for kind in Verdict), str(len(found))])
    return Table(["network", *map(str, Verdict), "statements"], rows)


def _number(value: float | None, digits: int) -> str:
    """Return a number as text; empty for None, which means no test, or NaN in results read from their file."""
    return "" if value is None else f"{value:.{digits}g}"


def heights(networks: Networks) -> Table:
    """Return means over the paths of every set (Figs. 4 and S2)."""
    rows = []
    for label, network in networks:
        for entry in network["heights"]:
            if n := len(entry["height"]):
                mean = {key: sum(entry[key]) / n for key in ("height", "maximum", "barrier", "linear", "steps")}
                row = [label, SETS[entry["optimizer"], entry["weights"]][0], entry["landscape"]]
                row += [network["searches"][entry["solver"]], f"{mean['height']:.4g}", f"{mean['maximum']:.4g}"]
                row += [f"{mean['barrier']:.2g}", f"{mean['linear']:.3g}", f"{mean['steps']:.0f}"]
                rows.append([*row, f"{sum(entry['still'])}/{n}", f"{n}/{entry['asked']}"])
    head = ["network", "set", "landscape", "search", "height", "maximum", "barrier", "height of the straight line"]
    return Table([*head, "steps", "converged", "paths"], rows)


def scan(networks: Networks) -> Table:
    """Return the paths of one pair of training weights of each optimiser against λ."""
    rows = []
    for label, network in networks:
        for entry in network.get("scan", ()):
            if entry["height"]:
                row = [label, OPTIMIZERS[entry["optimizer"]][0], network["searches"][entry["solver"]]]
                numbers = [entry[key][0] for key in ("height", "maximum", "barrier", "length", "distance", "sum")]
                rows.append([*row, f"{entry['lam']:.0e}", *(f"{number:.4g}" for number in numbers)])
    head = [
        "network",
        "pair",
        "search",
        "λ",
        "height",
        "maximum",
        "barrier",
        "length",
        "length of the straight line",
        "cumulative loss",
    ]
    return Table(head, rows)


def resolutions(networks: Networks) -> Table:
    """Return the paths of one pair of training weights of each optimiser against N_F and M."""
    rows = []
    for label, network in networks:
        for entry in network.get("resolutions", ()):
            if entry["height"]:
                name, symbol = next((n, s) for n, s in (("n_terms", "N_F"), ("n_points", "M")) if n in entry)
                row = [label, OPTIMIZERS[entry["optimizer"]][0], network["searches"][entry["solver"]]]
                numbers = [entry[key][0] for key in ("height", "maximum", "barrier", "length")]
                rows.append([*row, f"{symbol} = {entry[name]}", *(f"{number:.4g}" for number in numbers)])
    return Table(["network", "pair", "search", "varied", "height", "maximum", "barrier", "length"], rows)


def curvature(networks: Networks) -> Table:
    """Return means of the Hessian's eigenvalues and trace over the vectors of every set."""
    rows = []
    for label, network in networks:
        forms: dict[tuple[str, str, str], dict[str, Any]] = {}
        for entry in network.get("curvature", ()):
            forms.setdefault((entry["optimizer"], entry["weights"], entry["landscape"]), {})[entry["form"]] = entry
        n_prm = model_size(network["model"]) if forms else 1
        for (optimizer, weights, where), of in forms.items():
            plain, scaled = (
                {name: sum(entry[name]) / len(entry[name]) for name in ("highest", "lowest", "trace")}
                for entry in (of["plain"], of["scaled"])
            )
            row = [label, SETS[optimizer, weights][0], where, f"{plain['highest']:.3g}", f"{plain['lowest']:.2g}"]
            row += [f"{plain['trace']:.3g}", f"{plain['trace'] / n_prm:.2g}", f"{scaled['highest']:.3g}"]
            whole = sum(map(all, zip(of["plain"]["converged"], of["scaled"]["converged"], strict=True)))
            rows.append([*row, f"{scaled['trace']:.3g}", f"{whole}/{len(of['plain']['converged'])}"])
    head = ["network", "set", "loss", "largest eigenvalue", "lowest", "trace", "trace per parameter"]
    return Table([*head, "scale-free: largest eigenvalue", "scale-free: trace", "converged"], rows)


def averages(networks: Networks) -> Table:
    """Return losses and accuracies of every set's vectors, midpoints of pairs, and mean vector."""
    rows = []
    for label, network in networks:
        for optimizer, by_weights in network.get("averages", {}).items():
            for weights, of in by_weights.items():
                for split in ("train", "test"):
                    row = [label, SETS[optimizer, weights][0], split]
                    for what in ("vectors", "midpoints", "mean"):
                        loss, accuracy = (of[f"{split}_{what}_{name}"] for name in ("loss", "accuracy"))
                        row.append(f"{sum(loss) / len(loss):.3g}")
                        known = not any(value is None or value != value for value in accuracy)
                        row.append(f"{sum(accuracy) / len(accuracy):.2%}" if known else "–")
                    rows.append([*row, str(len(of[f"{split}_vectors_loss"])), str(len(of["pairs"]))])
    head = ["network", "set", "images", "loss", "accuracy", "midpoints: loss", "accuracy", "mean of the set: loss"]
    return Table([*head, "accuracy", "vectors", "pairs"], rows)


def isotropic(networks: Networks) -> Table:
    """Return the separation in Fig. 6 of independent normal vectors with Table S1's σ, and of the networks' weights."""
    rows = []
    for label, network in networks:
        if "isotropic" not in network:
            continue
        row = [label]
        for found in (network["isotropic"], network.get("kpca", {}).get("train", {}).get("rbf", {})):
            for part in found.get("separation", ()):
                row += [f"{part['area']:.2f}", f"{part['gap']:.2g}"]
        rows.append(row if len(row) == 9 else [*row, *["–"] * (9 - len(row))])
    head = ["network"]
    for of in ("isotropic", "this campaign"):
        head += [f"{of}: {name}, {what}" for name in ("PC1", "PC2") for what in ("area", "gap")]
    return Table(head, rows)


def target_losses(networks: Networks) -> Table:
    """Return L-BFGS-GSS's training weights against the target loss; p of the difference from the row before."""
    networks = [(label, network) for label, network in networks if network.get("floors")]
    searches = {text: None for _, network in networks for text in network["searches"].values()}
    rows = []
    for label, network in networks:
        solvers = {text: solver for solver, text in network["searches"].items()}
        for entry in network["floors"]:
            row = [label, f"{entry['floor']:.0e}", f"{entry['loss']['mean']:.2g}", f"{entry['sigma']:.3g}"]
            row += [f"{entry['length']['mean']:.3g}", _p(entry, "length")]
            for text in searches:
                found = entry.get(solvers.get(text), {}).get("maximum")
                row += [f"{sum(found) / len(found):.3g}" if found else "", _p(entry, solvers.get(text))]
            rows.append([*row, entry["loss"]["n"]])
    head = ["network", "target loss", "training loss", "σ", "length", "p"]
    return Table([*head, *(name for text in searches for name in (f"maximum: {text}", "p")), "runs"], rows)


def _p(entry: Mapping[str, Any], what: str | None) -> str:
    return f"{entry[f'p_{what}']:.2g}" if f"p_{what}" in entry else ""
